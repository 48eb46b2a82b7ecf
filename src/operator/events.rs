//! What people hear when something has changed: a line in the log, and an Event on the object.
//!
//! Reported is a change of meaning (the phase of an agreement, its cause, or how a party stands; whether an object is used),
//! never a round; and once, that an object cannot be decoded. Each change is an event of its own: kube's recorder folds
//! those with the same reason into one, which keeps the words of the first.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tracing::info;

use super::event_queue::EventQueue;
use concordat_api::{API_VERSION, Condition, ConditionStatus, DataSharingAgreementStatus, Phase, Standing};
use concordat_core::finding::ObjectKey;
use concordat_core::plan::{FIELD_MANAGER, STILL_OPEN, StatusBody};
use concordat_core::report::explaining_condition;
use concordat_core::snapshot::Unreadable;
use concordat_core::text::{masked, visible};

/// An Event's note may hold 1 kB, in bytes.
const NOTE: usize = 1000;
/// How many parties a note names.
const NAMED: usize = 5;

/// Makes events of news.
pub(super) struct EventPublisher {
    queue: EventQueue,
    /// How many were made: part of each one's name.
    made: AtomicU64,
}

/// What is reported.
#[derive(Debug, Eq, PartialEq)]
struct News {
    good: bool,
    reason: String,
    note: String,
}

impl EventPublisher {
    pub(super) fn new(queue: EventQueue) -> Self {
        Self { queue, made: AtomicU64::new(0) }
    }

    /// Reports that an object cannot be decoded. It has no status to say it in.
    pub(super) fn tell_undecodable(&self, object: &Unreadable, api_version: String) {
        self.publish(&object.key(), api_version, object.meta.uid.clone(), undecodable(object));
    }

    /// Reports what has changed in a status that was just written.
    pub(super) fn tell(
        &self,
        object: &ObjectKey,
        uid: Option<&str>,
        was: Option<&StatusBody>,
        is: &StatusBody,
    ) {
        for news in still_open(was, is).into_iter().chain(news(was, is)) {
            info!(%object, reason = news.reason, "{}", news.note);
            self.publish(object, API_VERSION.to_owned(), uid.map(str::to_owned), news);
        }
    }

    fn publish(&self, object: &ObjectKey, api_version: String, uid: Option<String>, news: News) {
        let regarding = ObjectReference {
            api_version: Some(api_version),
            kind: Some(object.kind.clone()),
            namespace: object.namespace.clone(),
            name: Some(object.name.clone()),
            uid,
            ..ObjectReference::default()
        };
        let (now, made) = (Timestamp::now(), self.made.fetch_add(1, Ordering::Relaxed));
        let mut note = visible(&news.note).into_owned();
        note.truncate(note.floor_char_boundary(NOTE));
        self.queue.put(Event {
            metadata: ObjectMeta {
                // no other moment of no other process has it
                name: Some(format!("{FIELD_MANAGER}-{:x}-{made:x}", now.as_nanosecond())),
                namespace: Some(object.namespace.clone().unwrap_or_else(|| "default".to_owned())),
                ..ObjectMeta::default()
            },
            action: Some("Judge".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(note),
            reason: Some(news.reason),
            regarding: Some(regarding),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(FIELD_MANAGER.to_owned()),
            type_: Some(if news.good { "Normal" } else { "Warning" }.to_owned()),
            ..Event::default()
        });
    }
}

/// What there is to tell of an object that cannot be decoded.
fn undecodable(object: &Unreadable) -> News {
    let Unreadable { kind: _, meta: _, error, spec: _, source: _ } = object;
    News {
        good: false,
        reason: "Undecodable".to_owned(),
        note: format!(
            "cannot be decoded and is left out; related access stays closed: {error}; help: fix it or \
             delete it, or run a version of concordat that can read it",
            error = masked(error)
        ),
    }
}

/// That something should be closed and is not, which nothing else is louder than.
fn still_open(was: Option<&StatusBody>, is: &StatusBody) -> Option<News> {
    let text = |status: &StatusBody| match status {
        StatusBody::Agreement(status) => {
            status.conditions.iter().find(|it| it.reason == STILL_OPEN).map(|it| it.message.clone())
        }
        StatusBody::Policy(_) | StatusBody::Simple(_) => None,
    };
    let note = text(is).filter(|_| was.and_then(text).is_none())?;
    Some(News { good: false, reason: STILL_OPEN.to_owned(), note })
}

/// What there is to tell of a change of status.
fn news(was: Option<&StatusBody>, is: &StatusBody) -> Option<News> {
    match is {
        StatusBody::Agreement(is) => {
            let was = match was {
                Some(StatusBody::Agreement(was)) => Some(was),
                _ => None,
            };
            let phase = is.phase?;
            if let Some(was) = was.filter(|was| (was.phase, &was.reason) == (is.phase, &is.reason)) {
                return standings(was, is);
            }
            let good = !matches!(phase, Phase::Invalid | Phase::Refused);
            let note = match why(is, phase) {
                Some(why) => format!("{}: {why}", phase.as_str()),
                None => phase.as_str().to_owned(),
            };
            Some(News { good, reason: phase.as_str().to_owned(), note })
        }
        StatusBody::Policy(is) => validity(was, &is.conditions),
        StatusBody::Simple(is) => validity(was, &is.conditions),
    }
}

/// Why an agreement is in its phase.
fn why(status: &DataSharingAgreementStatus, phase: Phase) -> Option<&str> {
    let condition = status.conditions.iter().find(|it| it.type_ == explaining_condition(phase))?;
    Some(condition.message.as_str()).filter(|message| !message.is_empty())
}

/// Parties that have signed, withdrawn or ended a part, where the agreement goes on as it was.
fn standings(was: &DataSharingAgreementStatus, is: &DataSharingAgreementStatus) -> Option<News> {
    let mut changed = is.standings.iter().filter_map(|party| {
        let before = was.standings.iter().find(|before| before.org == party.org);
        let is_same =
            before.is_some_and(|it| (it.standing, &it.purposes) == (party.standing, &party.purposes));
        let purposes = party.purposes.as_ref().filter(|_| party.standing == Standing::Signed);
        let purposes = purposes.map(|it| format!(" for {}", it.join(", "))).unwrap_or_default();
        (!is_same).then(|| format!("`{}` {}{purposes}", party.org, party.standing.in_words()))
    });
    let named: Vec<String> = changed.by_ref().take(NAMED).collect();
    if named.is_empty() {
        return None;
    }
    let more = match changed.count() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let why = why(is, is.phase?).map(|it| format!(". {it}")).unwrap_or_default();
    Some(News {
        good: true,
        reason: "StandingChanged".to_owned(),
        note: format!("{}{more}{why}", named.join("; ")),
    })
}

/// An object that is used no longer, or again.
fn validity(was: Option<&StatusBody>, is: &[Condition]) -> Option<News> {
    let valid = |conditions: &[Condition]| conditions.iter().find(|it| it.type_ == "Valid").cloned();
    let before = was.and_then(|was| match was {
        StatusBody::Agreement(_) => None,
        StatusBody::Policy(was) => valid(&was.conditions),
        StatusBody::Simple(was) => valid(&was.conditions),
    });
    let Condition { status, reason, message, .. } = valid(is)?;
    let good = status == ConditionStatus::True;
    let same = before.as_ref().is_some_and(|before| before.status == status && before.reason == reason);
    // that a new object is used as it should be is no news
    if same || (good && before.is_none()) {
        return None;
    }
    Some(News { good, reason, note: message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use concordat_api::{ObjectStatus, PartyStanding};

    fn agreement(phase: Phase, message: &str) -> StatusBody {
        StatusBody::Agreement(Box::new(DataSharingAgreementStatus {
            phase: Some(phase),
            conditions: vec![condition("Compliant", ConditionStatus::False, message)],
            ..DataSharingAgreementStatus::default()
        }))
    }

    fn condition(type_: &str, status: ConditionStatus, message: &str) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status,
            reason: "Because".to_owned(),
            message: message.to_owned(),
            observed_generation: None,
            last_transition_time: None,
        }
    }

    fn simple(status: ConditionStatus) -> StatusBody {
        let conditions = vec![condition("Valid", status, "is it used")];
        StatusBody::Simple(ObjectStatus { observed_generation: None, conditions })
    }

    #[test]
    fn a_refusal_is_told_with_its_cause_once() {
        let refused = agreement(Phase::Refused, "GR-03 fires for the council");
        let reported = News {
            good: false,
            reason: "Refused".to_owned(),
            note: "Refused: GR-03 fires for the council".to_owned(),
        };
        assert_eq!(news(Some(&agreement(Phase::Active, "")), &refused), Some(reported));
        assert_eq!(news(Some(&refused), &refused), None);
    }

    #[test]
    fn a_withdrawal_that_leaves_an_agreement_in_force_is_told() {
        let party = |org: &str, standing| PartyStanding {
            org: org.to_owned(),
            standing,
            purposes: None,
            terms_hash: None,
            needed: None,
        };
        let agreement = |standing| {
            StatusBody::Agreement(Box::new(DataSharingAgreementStatus {
                phase: Some(Phase::Active),
                standings: vec![party("council", standing), party("pcn", Standing::Signed)],
                conditions: vec![condition("InForce", ConditionStatus::True, "1 open flow")],
                ..DataSharingAgreementStatus::default()
            }))
        };
        let (signed, withdrawn) = (agreement(Standing::Signed), agreement(Standing::Withdrawn));
        let reported = news(Some(&signed), &withdrawn).map(|it| (it.reason, it.note));
        let note = "`council` has withdrawn. 1 open flow";
        assert_eq!(reported, Some(("StandingChanged".to_owned(), note.to_owned())));
        assert_eq!(news(Some(&withdrawn), &withdrawn), None);
    }

    #[test]
    fn that_a_new_object_is_used_is_no_news_and_that_it_is_not_is() {
        assert_eq!(news(None, &simple(ConditionStatus::True)), None);
        assert!(news(None, &simple(ConditionStatus::False)).is_some_and(|news| !news.good));
        let again = news(Some(&simple(ConditionStatus::False)), &simple(ConditionStatus::True));
        assert!(again.is_some_and(|news| news.good));
    }
}
