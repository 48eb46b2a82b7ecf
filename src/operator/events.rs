//! What people are told when something has changed: a line in the log, and an Event on the object.
//!
//! Told is a change of meaning (the phase of an agreement, or its cause; whether an object is used), never a round; and
//! once, that an object cannot be decoded.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use tracing::{debug, info};

use super::call::{chain, deadline};
use concordat_api::{API_VERSION, Condition, ConditionStatus, Phase};
use concordat_core::finding::ObjectKey;
use concordat_core::plan::{FIELD_MANAGER, STILL_OPEN, StatusBody};
use concordat_core::report::explaining_condition;
use concordat_core::snapshot::Unreadable;
use concordat_core::text::{masked, visible};

/// An Event's note may hold 1 kB.
const NOTE: usize = 1000;
/// The recorder names an event after its object, a dot and sixteen digits, and a name has 253 characters.
const LONGEST_NAME: usize = 236;

/// Tells people.
pub(super) struct EventPublisher {
    client: Client,
    recorder: Recorder,
}

/// What is told.
#[derive(Debug, Eq, PartialEq)]
struct News {
    good: bool,
    reason: String,
    note: String,
}

impl EventPublisher {
    pub(super) fn new(client: Client) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: None };
        Self { client: client.clone(), recorder: Recorder::new(client, reporter) }
    }

    /// Tells that an object cannot be decoded, and gives back whether that has been told. It has no status to say it in.
    pub(super) async fn tell_undecodable(&self, object: &Unreadable, api_version: String) -> bool {
        let (key, news) = (object.key(), undecodable(object));
        self.publish(&key, api_version, object.meta.uid.clone(), news).await
    }

    /// Tells what has changed in a status that was just written. That nobody could be told is no failure.
    pub(super) async fn tell(
        &self,
        object: &ObjectKey,
        uid: Option<&str>,
        was: Option<&StatusBody>,
        is: &StatusBody,
    ) {
        for news in still_open(was, is).into_iter().chain(news(was, is)) {
            info!(%object, reason = news.reason, "{}", news.note);
            let _nobody_may_hear =
                self.publish(object, API_VERSION.to_owned(), uid.map(str::to_owned), news).await;
        }
    }

    async fn publish(
        &self,
        object: &ObjectKey,
        api_version: String,
        uid: Option<String>,
        news: News,
    ) -> bool {
        let News { good, reason, note } = news;
        let event = Event {
            type_: if good { EventType::Normal } else { EventType::Warning },
            reason,
            note: Some(visible(&note).chars().take(NOTE).collect()),
            action: "Judge".to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference {
            api_version: Some(api_version),
            kind: Some(object.kind.clone()),
            namespace: object.namespace.clone(),
            name: Some(object.name.clone()),
            uid,
            ..ObjectReference::default()
        };
        let published = if object.name.len() > LONGEST_NAME {
            deadline(self.create(event, regarding)).await
        } else {
            deadline(self.recorder.publish(&event, &regarding)).await
        };
        match published {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                debug!(%object, error = chain(&error), "no event was made");
                false
            }
            None => false,
        }
    }

    /// Makes an event whose name is not made of its object's.
    async fn create(&self, event: Event, regarding: ObjectReference) -> Result<(), kube::Error> {
        let Event { type_, reason, note, action, secondary: _ } = event;
        let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let type_ = match type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let made = v1::Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{FIELD_MANAGER}-")),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            action: Some(action),
            event_time: Some(MicroTime(Timestamp::now())),
            note,
            reason: Some(reason),
            regarding: Some(regarding),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(FIELD_MANAGER.to_owned()),
            type_: Some(type_.to_owned()),
            ..v1::Event::default()
        };
        let events: Api<v1::Event> = Api::namespaced(self.client.clone(), &namespace);
        events.create(&PostParams::default(), &made).await.map(drop)
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
    let told = |status: &StatusBody| match status {
        StatusBody::Agreement(status) => {
            status.conditions.iter().find(|it| it.reason == STILL_OPEN).map(|it| it.message.clone())
        }
        StatusBody::Policy(_) | StatusBody::Simple(_) => None,
    };
    let note = told(is).filter(|_| was.and_then(told).is_none())?;
    Some(News { good: false, reason: STILL_OPEN.to_owned(), note })
}

/// What there is to tell of a change of status.
fn news(was: Option<&StatusBody>, is: &StatusBody) -> Option<News> {
    match is {
        StatusBody::Agreement(is) => {
            let was = match was {
                Some(StatusBody::Agreement(was)) => (was.phase, was.reason.clone()),
                _ => (None, None),
            };
            let phase = is.phase?;
            if was == (is.phase, is.reason.clone()) {
                return None;
            }
            let good = !matches!(phase, Phase::Invalid | Phase::Refused);
            let why = is
                .conditions
                .iter()
                .find(|it| it.type_ == explaining_condition(phase))
                .map(|it| it.message.as_str());
            let note = match why {
                Some(why) if !why.is_empty() => format!("{}: {why}", phase.as_str()),
                _ => phase.as_str().to_owned(),
            };
            Some(News { good, reason: phase.as_str().to_owned(), note })
        }
        StatusBody::Policy(is) => validity(was, &is.conditions),
        StatusBody::Simple(is) => validity(was, &is.conditions),
    }
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
    use concordat_api::{DataSharingAgreementStatus, ObjectStatus};

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
        let told = News {
            good: false,
            reason: "Refused".to_owned(),
            note: "Refused: GR-03 fires for the council".to_owned(),
        };
        assert_eq!(news(Some(&agreement(Phase::Active, "")), &refused), Some(told));
        assert_eq!(news(Some(&refused), &refused), None);
    }

    #[test]
    fn that_a_new_object_is_used_is_no_news_and_that_it_is_not_is() {
        assert_eq!(news(None, &simple(ConditionStatus::True)), None);
        assert!(news(None, &simple(ConditionStatus::False)).is_some_and(|told| !told.good));
        let again = news(Some(&simple(ConditionStatus::False)), &simple(ConditionStatus::True));
        assert!(again.is_some_and(|told| told.good));
    }
}
