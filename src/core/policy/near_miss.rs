//! Why a request is denied: what came closest to allowing it, and what would keep the rule that denied it silent.
//!
//! What is said here explains a decision; it never takes part in one.

use std::collections::BTreeSet;

use cedar_policy::{Effect, Entities};
use jiff::Timestamp;

use super::LocalRule;
use super::assessment::{Assessment, Assessments};
use super::authorize::Question;
use super::clauses::{Clause, Seen, asker_says};
use super::decide::{Candidate, CandidateVerdict, Verdict};
use super::names;
use super::resolve::ResolvedRequest;
use super::words::country_meant;
use crate::model::{Agreement, Model};
use crate::validate::shape::nearest;
use concordat_api::{AccessAnswer, AccessRequest, AnswerContext, DecisionTier, NearMiss, ObjectRef, Phase};

/// A deny for want of any permit: tier None.
pub(super) fn nothing_permits(near_miss: NearMiss) -> Verdict {
    let reason = format!(
        "nothing permits this: {} is {}, and has to be {}",
        near_miss.clause, near_miss.saw, near_miss.wants
    );
    let context = AnswerContext {
        tier: DecisionTier::None,
        rule: None,
        rules: Vec::new(),
        agreement: None,
        reason,
        near_miss: Some(near_miss),
    };
    Verdict { answer: AccessAnswer { decision: false, context }, candidates: Vec::new() }
}

pub(super) fn miss(
    clause: &str,
    saw: impl Into<String>,
    wants: impl Into<String>,
    who: &str,
) -> Box<NearMiss> {
    Box::new(NearMiss {
        agreement: None,
        rule: None,
        clause: clause.to_owned(),
        saw: saw.into(),
        wants: wants.into(),
        who: who.to_owned(),
        then: Vec::new(),
        or: Vec::new(),
        obstacles: Vec::new(),
    })
}

/// Who says what a request says.
pub(super) const CALLER: &str = "the caller";

/// Who can help where nothing that was tried helps.
pub(super) const NO_CHANGE: &str = "no single change was found";

pub(super) const SUBJECT: &str = "the subject";
pub(super) const ACTION: &str = "the action";
pub(super) const RESOURCE: &str = "the resource";
pub(super) const PURPOSE: &str = "the purpose";
pub(super) const LEVEL: &str = "the level";

/// What is said of an exception that lifted a rule here, or will, and does not now: the one that ended last, else the
/// one that starts first.
pub(crate) fn exception_over(
    model: &Model,
    agreement: &Agreement,
    rule: &str,
    now: Timestamp,
) -> Option<String> {
    let own = || model.exceptions_for(agreement).filter(|exception| exception.rule == rule);
    let ended = own().filter(|exception| exception.until <= now).max_by_key(|exception| exception.until);
    let starts = own().filter(|exception| now < exception.from).min_by_key(|exception| exception.from);
    ended
        .map(|it| {
            format!(
                "exception `{}`, which lifted {rule} for `{}`, ended on {}",
                it.name, it.footprint, it.until
            )
        })
        .or_else(|| {
            starts.map(|it| {
                format!(
                    "exception `{}`, which lifts {rule} for `{}` until {}, starts on {}",
                    it.name, it.footprint, it.until, it.from
                )
            })
        })
}

/// The words of a request that no vocabulary has, where one of nearly that name exists.
pub(super) fn misspelt(model: &Model, request: &AccessRequest) -> String {
    let context = &request.context;
    let mut roles: BTreeSet<&str> = BTreeSet::new();
    roles.extend(model.frameworks.values().flat_map(|it| &it.spec.vocabulary.roles).map(String::as_str));
    let purposes = || model.agreements.values().flat_map(|agreement| &agreement.spec.purposes);
    roles.extend(purposes().flat_map(|purpose| purpose.roles.iter().flatten()).map(String::as_str));
    let mut regions: BTreeSet<&str> = BTreeSet::from(["GB"]);
    regions.extend(
        model.agreements.values().flat_map(|it| it.spec.territories.iter().flatten()).map(String::as_str),
    );
    let mut said = String::new();
    for role in context.roles.iter().filter(|role| !roles.contains(role.as_str())) {
        if let Some(near) = nearest(role, roles.iter().copied()) {
            said.push_str(&format!("; the role `{role}` is not known: did you mean `{near}`?"));
        }
    }
    if let Some(region) = context.region.as_deref().filter(|region| !regions.contains(region)) {
        let near = country_meant(region).or_else(|| nearest(region, regions.iter().copied()));
        if let Some(near) = near {
            said.push_str(&format!("; the region is `{region}`: did you mean `{near}`?"));
        }
    }
    // what is there is not misspelt
    if let Some(org) = context.onward_to.as_deref().filter(|org| !model.has_org(org))
        && let Some(near) = nearest(org, model.orgs.keys().map(String::as_str))
    {
        said.push_str(&format!("; there is no organisation `{org}`: did you mean `{near}`?"));
    }
    said
}

/// Whether a party has said no to the agreement.
pub(super) fn is_out(assessment: &Assessment, org: &str) -> bool {
    assessment.parties.get(org).is_some_and(|party| party.standing.is_out())
}

/// The agreement that would be asked if it were not refused or superseded, where there is no other to ask.
pub(super) fn closed_agreement(
    model: &Model,
    assessments: &Assessments,
    request: &AccessRequest,
) -> Option<(String, Phase)> {
    let asked = ResolvedRequest::resolve(model, request).ok()?;
    let listed = (asked.product.reference.clone(), asked.function.clone());
    if assessments.candidates.contains_key(&listed) {
        return None;
    }
    let near_miss = closest_agreement(model, assessments, &asked);
    closed(assessments, near_miss.agreement?)
}

/// The agreement that comes closest to being in force, of those that list what a request is about, and its phase; none
/// where one is in force, or where none lists both.
pub(super) fn closest_phase(
    model: &Model,
    assessments: &Assessments,
    request: &AccessRequest,
) -> Option<(ObjectRef, Phase)> {
    let asked = ResolvedRequest::resolve(model, request).ok()?;
    let listed = (asked.product.reference.clone(), asked.function.clone());
    if assessments.candidates.contains_key(&listed) {
        return None;
    }
    let near_miss = closest_agreement(model, assessments, &asked);
    let agreement = near_miss.agreement.as_deref().and_then(|it| it.split_once('/'));
    let (namespace, name) = agreement.filter(|_| near_miss.clause == "the agreement")?;
    let found = ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() };
    let phase = assessments.agreements.get(&found)?.phase;
    Some((found, phase))
}

/// An agreement with its phase, if it is refused or superseded.
pub(super) fn closed(assessments: &Assessments, reference: String) -> Option<(String, Phase)> {
    let (namespace, name) = reference.split_once('/')?;
    let found = ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() };
    let phase = assessments.agreements.get(&found)?.phase;
    matches!(phase, Phase::Refused | Phase::Superseded).then_some((reference, phase))
}

/// Why there is no candidate: the agreement that comes closest, and what keeps it from being one.
pub(super) fn closest_agreement(
    model: &Model,
    assessments: &Assessments,
    asked: &ResolvedRequest<'_>,
) -> Box<NearMiss> {
    let lists_product = |agreement: &Agreement| {
        agreement.spec.purposes.iter().any(|purpose| purpose.products.contains(&asked.product.reference))
    };
    let lists_both = |agreement: &Agreement| {
        agreement.spec.purposes.iter().any(|purpose| {
            purpose.products.contains(&asked.product.reference)
                && agreement.recipients(purpose, &model.orgs).contains(&asked.function)
        })
    };
    let both = assessments
        .agreements
        .iter()
        .filter(|(reference, _)| model.agreements.get(*reference).is_some_and(lists_both))
        .max_by_key(|(_, assessment)| assessment.phase);
    if let Some((reference, assessment)) = both {
        if let Some((org, ended)) = assessment.ended(model, &asked.product.reference, &asked.function) {
            let wants = format!("open, or one under `{}`", ended.by());
            let who = "the parties, in the agreement that replaces it";
            let saw = format!("closed, as {}", ended.reason(&org));
            let mut near_miss = miss("the path", saw, wants, who);
            near_miss.agreement = Some(reference.to_string());
            return near_miss;
        }
        let mut near_miss = miss(
            "the agreement",
            format!("`{}`", assessment.phase.as_str()),
            "in force",
            who_moves(assessment.phase),
        );
        near_miss.agreement = Some(reference.to_string());
        return near_miss;
    }
    let product_only = model.agreements.values().find(|agreement| lists_product(agreement));
    let mut near_miss = miss(
        "the recipient",
        format!(
            "`{}`, which no agreement that can be used lists for `{}`",
            asked.function, asked.product.reference
        ),
        "a recipient in an agreement in force that lists this product",
        "the parties, in the terms of an agreement",
    );
    near_miss.agreement = product_only.map(|agreement| agreement.reference.to_string());
    near_miss
}

/// Who can bring an agreement in a phase nearer to being in force.
fn who_moves(phase: Phase) -> &'static str {
    match phase {
        Phase::AwaitingSignatures => "the parties that have not signed",
        Phase::Suspended => "the lead, who writes the agreement, by `spec.suspend: false`",
        Phase::Refused | Phase::Invalid => "the lead, who drafts the agreement",
        Phase::Expired | Phase::Superseded | Phase::Terminating => "the parties, by a new agreement",
        Phase::Withdrawn => "the parties that have withdrawn or declined, by signing",
        Phase::Scheduled => "no one: it starts by itself",
        Phase::Active => "the parties",
    }
}

impl Candidate<'_> {
    /// What would have kept the first guardrail that fired from firing.
    pub(super) fn way_out(
        &self,
        rules: &[String],
        question: &Question,
        entities: &Entities,
    ) -> Option<NearMiss> {
        let rule = rules.first()?;
        let clauses = self.framework.clauses.get(rule)?;
        let Seen { subject, saw, wants } =
            clauses.iter().find(|clause| !clause.holds(question, entities))?.seen(question, entities);
        Some(NearMiss {
            agreement: Some(self.agreement.reference.to_string()),
            rule: Some(rule.clone()),
            who: who_says(&subject).to_owned(),
            clause: subject,
            saw,
            wants,
            then: Vec::new(),
            or: Vec::new(),
            obstacles: Vec::new(),
        })
    }

    /// No permit: the one that came closest, and every clause of it that failed. A local permit for another agreement
    /// is not close.
    pub(super) fn nothing_permits(
        &self,
        local: &[&LocalRule],
        question: &Question,
        entities: &Entities,
    ) -> CandidateVerdict {
        let failing = |clauses: &[Clause]| -> Option<Vec<Seen>> {
            let failing: Vec<&Clause> =
                clauses.iter().filter(|clause| !clause.holds(question, entities)).collect();
            let elsewhere = failing.iter().any(|clause| clause.names_agreement());
            (!elsewhere).then(|| failing.iter().map(|clause| clause.seen(question, entities)).collect())
        };
        let national = self.framework.agreement.iter().filter_map(|policy| {
            let id = names::rule_id(policy);
            let failing = failing(self.framework.clauses.get(&id)?)?;
            Some(Permit { id, local: false, failing })
        });
        let own: Vec<Permit> = local
            .iter()
            .filter(|rule| rule.policy.effect() == Effect::Permit)
            .filter_map(|rule| {
                Some(Permit { id: rule.id.clone(), local: true, failing: failing(&rule.clauses)? })
            })
            .collect();
        let permits = own.len();
        // of equals the first: the terms before the place's rules
        let nearest = national.chain(own).filter(|permit| !permit.failing.is_empty());
        let Some(Permit { id, local, failing }) = nearest.min_by_key(Permit::distance) else {
            let mut near_miss = *miss(
                "a permit",
                "none that is about this agreement",
                "one that applies",
                "the place, with a local permit",
            );
            near_miss.agreement = Some(self.agreement.reference.to_string());
            return self.silent("nothing permits this".to_owned(), near_miss);
        };
        let also = match permits {
            _ if local => String::new(),
            0 => String::new(),
            1 => ", and the one local permit here does not apply".to_owned(),
            several => format!(", and none of the {several} local permits here applies"),
        };
        let sentences: Vec<String> = failing.iter().map(Seen::sentence).collect();
        let reason = format!("nothing permits this: {}{also}", sentences.join("; "));
        let Some(Seen { subject, saw, wants }) = failing.into_iter().next() else {
            return self.verdict(false, DecisionTier::None, Vec::new(), reason);
        };
        let says = who_says(&subject);
        let who = match (local, subject.as_str()) {
            (false, "context.roles") => {
                "the parties, in `purposes[].roles`; or the place, with a local permit".to_owned()
            }
            (false, _) => format!("{says}; or the parties, in the terms of the agreement"),
            (true, _) => {
                let policy = id.split_once('#').map_or(id.as_str(), |(policy, _)| policy);
                let place = format!("the place, in local policy `{policy}`");
                if asker_says(&subject) { format!("{says}; or {place}") } else { place }
            }
        };
        let near_miss = NearMiss {
            agreement: Some(self.agreement.reference.to_string()),
            rule: Some(id),
            clause: subject,
            saw,
            wants,
            who,
            then: Vec::new(),
            or: Vec::new(),
            obstacles: Vec::new(),
        };
        self.silent(reason, near_miss)
    }

    fn silent(&self, reason: String, near_miss: NearMiss) -> CandidateVerdict {
        let mut verdict = self.verdict(false, DecisionTier::None, Vec::new(), reason);
        verdict.near_miss = Some(near_miss);
        verdict
    }
}

/// A permit that does not apply, and which of its clauses fail.
struct Permit {
    id: String,
    local: bool,
    failing: Vec<Seen>,
}

impl Permit {
    fn distance(&self) -> usize {
        self.failing.iter().map(Seen::distance).sum()
    }
}

/// Who says what a clause looked at.
fn who_says(subject: &str) -> &'static str {
    if subject.starts_with("context.agreement") {
        "the parties, in the terms of the agreement"
    } else if subject.starts_with("context.now") {
        "no one: it is a matter of time"
    } else if subject.starts_with("principal") {
        "the organisation that asks, in its PartnerOrg"
    } else if subject.starts_with("resource") {
        "the controller, in its DataProduct"
    } else {
        CALLER
    }
}
