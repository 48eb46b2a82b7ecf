//! Why an agreement is or is not in force: what each party still has to do, what is open, and what the clock brings.
//!
//! Nothing is judged here a second time. What happens next is found by judging the same snapshot at that moment.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::evaluate::Judgement;
use super::finding::{Code, Finding};
use super::model::{Agreement, FunctionRef, Model, Remembered};
use super::needed::Needed;
use super::policy::{Assessment, BrokenRule, ClosedFlow, LocalWord, PartyState, Reach, reach, written_dates};
use super::report::{self, NOT_OBSERVED};
use super::sign::{self, SignatureRequest};
use super::snapshot::Snapshot;
use super::validate::shape::nearest;
use concordat_api::{
    AgreementSignature, Condition, ConditionStatus, DataAction, DataSharingAgreement,
    DataSharingAgreementStatus, Identifiability, ObjectRef, PartyRole, Phase, Standing,
};

/// How many moments ahead are judged before it is said that nothing is in sight.
const LOOKED_AT: usize = 24;

/// The state of an agreement, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    #[serde(serialize_with = "as_text")]
    pub agreement: ObjectRef,
    pub title: String,
    pub reference: String,
    /// The moment that this is about.
    pub at: Timestamp,
    pub in_force: bool,
    pub phase: Phase,
    /// The phase in a sentence.
    pub reason: String,
    pub conditions: Vec<ExplainedCondition>,
    /// National rules that refuse it or, with accession, keep one party out.
    pub broken: Vec<ExplainedRule>,
    pub parties: Vec<ExplainedParty>,
    pub open: Vec<OpenPath>,
    pub closed: Vec<ClosedPath>,
    /// The next moment at which the clock changes something about it, everything else staying as it is.
    pub next: Option<NextChange>,
    /// When it ends at the latest, and the date that says so.
    pub ends: Option<NamedMoment>,
    /// What else is found wrong with the agreement's own object.
    pub findings: Vec<Finding>,
}

/// A condition of its status.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: ConditionStatus,
    pub reason: String,
    pub message: String,
}

/// A broken rule, and what would fix it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedRule {
    pub rule: String,
    pub party: Option<String>,
    pub purpose: Option<String>,
    pub reason: String,
    pub field: Option<String>,
    pub help: String,
    /// Whether it keeps out only that party, and the agreement carries on without it.
    pub keeps_out_only: bool,
}

/// A party, and what it still has to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedParty {
    pub org: String,
    /// Such as `Controller`, or `Recipient (meals)`.
    pub roles: Vec<String>,
    pub standing: Standing,
    /// The purposes that it stands signed for.
    pub purposes: Vec<String>,
    /// The hash that its signature has to carry.
    pub terms_hash: String,
    pub needed: Option<String>,
    /// The signature that would do, where one is needed, ready to be applied by an account of its namespace.
    pub signature: Option<AgreementSignature>,
    /// The purposes that it has to name, where that is not all.
    #[serde(skip)]
    pub signs_for: Option<Vec<String>>,
}

/// A path that is open.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenPath {
    #[serde(serialize_with = "as_text")]
    pub product: ObjectRef,
    pub recipient: String,
    pub purpose: String,
    /// What may be done at this level; nothing where every request for this purpose is denied.
    pub actions: Vec<DataAction>,
    pub roles: Option<Vec<String>>,
    /// The highest level for these actions that neither the terms nor a national rule stand in the way of.
    pub max_identifiability: Identifiability,
    pub until: Timestamp,
    /// The local rule that denies every request, where it is one.
    pub denied_by: Option<LocalWord>,
}

/// A path that the terms list and that is closed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClosedPath {
    #[serde(serialize_with = "as_text")]
    pub product: ObjectRef,
    pub recipient: String,
    pub purpose: String,
    /// Who keeps it closed; none where the agreement as a whole is not in force.
    pub org: Option<String>,
    pub reason: String,
}

/// A moment, and the fields that name it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedMoment {
    pub at: Timestamp,
    /// Such as `spec.term.end`, or `spec.ico.validUntil of PartnerOrg x`.
    pub causes: Vec<String>,
}

/// What the clock brings.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NextChange {
    pub at: Timestamp,
    pub causes: Vec<String>,
    /// Its state from then on.
    pub phase: Phase,
    pub reason: String,
    /// `product -> recipient, purpose`.
    pub opens: Vec<String>,
    pub closes: Vec<String>,
}

/// An agreement that is not there, or not read.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{}", .unreadable.as_ref().map_or_else(
    || format!("there is no agreement `{}`", .agreement),
    |error| format!("agreement `{}` exists, but cannot be used: {error}", .agreement)
))]
pub struct UnknownAgreement {
    pub agreement: ObjectRef,
    /// Why it cannot be read, where it exists.
    pub unreadable: Option<String>,
    /// The one that was probably meant.
    pub near: Option<String>,
}

fn as_text<S: Serializer>(reference: &ObjectRef, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reference)
}

/// Explains the state of an agreement at the moment of a judgement, which has to be one of the same snapshot.
pub fn explain(
    snapshot: &Snapshot,
    judgement: &Judgement,
    reference: &ObjectRef,
) -> Result<Explanation, UnknownAgreement> {
    let named = |object: &DataSharingAgreement| {
        object.name_any() == reference.name
            && object.namespace().as_deref() == Some(reference.namespace.as_str())
    };
    let wire = snapshot.agreements.iter().map(|sourced| &sourced.object).find(|object| named(object));
    let Some(wire) = wire else {
        let names: Vec<String> = snapshot
            .agreements
            .iter()
            .map(|sourced| {
                format!("{}/{}", sourced.object.namespace().unwrap_or_default(), sourced.object.name_any())
            })
            .collect();
        let near = nearest(&reference.to_string(), names.iter().map(String::as_str)).map(str::to_owned);
        let key = report::agreement_key(reference);
        let unreadable = snapshot.unreadable.iter().find(|it| it.key() == key).map(|it| it.error.clone());
        let near = near.filter(|_| unreadable.is_none());
        return Err(UnknownAgreement { agreement: reference.clone(), unreadable, near });
    };
    let own: Vec<&Finding> = judgement
        .findings
        .iter()
        .filter(|finding| finding.origin.object.as_ref() == Some(&report::agreement_key(reference)))
        .collect();
    let model = &judgement.model;
    let found = model.agreements.get(reference).zip(judgement.assessments.agreements.get(reference));
    let status = match found {
        Some((agreement, assessment)) => report::agreement_status(model, agreement, assessment),
        None => {
            let deleting = wire.metadata.deletion_timestamp.is_some();
            report::invalid_status(None, deleting, &Remembered::default(), &own)
        }
    };
    let DataSharingAgreementStatus { phase, mut conditions, .. } = status;
    // what has become of it is known to a cluster alone, as its operator wrote it there
    let observed = wire.status.iter().flat_map(|status| &status.conditions);
    let is_effect =
        |it: &Condition| it.reason == NOT_OBSERVED || matches!(it.type_.as_str(), "Reconciling" | "Stalled");
    let has_effect = conditions.iter().any(|it| it.reason == NOT_OBSERVED);
    for seen in observed.filter(|seen| has_effect && seen.observed_generation == wire.metadata.generation) {
        let ours = conditions.iter_mut().find(|it| it.type_ == seen.type_ && is_effect(it));
        if let Some(ours) = ours {
            ours.clone_from(seen);
        }
    }
    let phase = phase.unwrap_or(Phase::Invalid);
    let conditions: Vec<ExplainedCondition> = conditions
        .into_iter()
        .map(|condition| ExplainedCondition {
            type_: condition.type_,
            status: condition.status,
            reason: condition.reason,
            message: condition.message,
        })
        .collect();
    let reason = conditions
        .iter()
        .find(|condition| condition.type_ == "InForce")
        .map(|condition| condition.message.clone())
        .unwrap_or_default();
    let mut explanation = Explanation {
        agreement: reference.clone(),
        title: wire.spec.title.clone(),
        reference: wire.spec.reference.clone(),
        at: judgement.at,
        in_force: phase == Phase::Active,
        phase,
        reason,
        conditions,
        broken: Vec::new(),
        parties: Vec::new(),
        open: Vec::new(),
        closed: Vec::new(),
        next: None,
        ends: None,
        findings: own
            .into_iter()
            .filter(|finding| !matches!(finding.code, Code::RuleBroken | Code::FrameworkNotEffective))
            .cloned()
            .collect(),
    };
    if let Some((agreement, assessment)) = found {
        let rule = |broken: &BrokenRule, keeps_out_only| rule(model, wire, broken, keeps_out_only);
        explanation.broken.extend(assessment.broken.iter().map(|broken| rule(broken, false)));
        explanation.broken.extend(assessment.kept_out.iter().map(|broken| rule(broken, true)));
        explanation.parties = parties((snapshot, &judgement.model), agreement, assessment);
        explanation.open = open(judgement, agreement, assessment);
        explanation.closed = closed(model, agreement, assessment);
        explanation.ends = Some(NamedMoment {
            at: assessment.ends,
            causes: named_dates(model, agreement)
                .into_iter()
                .filter(|(date, cause)| *date == assessment.ends && ENDS.contains(&cause.as_str()))
                .map(|(_, cause)| cause)
                .collect(),
        });
        explanation.next = next(snapshot, judgement, agreement, assessment);
    }
    Ok(explanation)
}

/// The fields that end an agreement, whatever else holds.
const ENDS: [&str; 3] = ["spec.term.end", "spec.confidentiality.validUntil", "spec.emergency.expires"];

fn rule(
    model: &Model,
    wire: &DataSharingAgreement,
    broken: &BrokenRule,
    keeps_out_only: bool,
) -> ExplainedRule {
    let (field, help) = report::how_to_fix(model, &wire.spec, broken);
    let BrokenRule { rule, org, row: _, purpose, controller: _, reason: _, saw: _ } = broken.clone();
    ExplainedRule {
        rule,
        party: org,
        purpose,
        reason: broken.why(),
        field: Some(field).filter(|field| !field.is_empty()),
        help,
        keeps_out_only,
    }
}

fn parties(
    (snapshot, model): (&Snapshot, &Model),
    agreement: &Agreement,
    assessment: &Assessment,
) -> Vec<ExplainedParty> {
    // no one waits for a signature on what is over
    let over = matches!(assessment.phase, Phase::Expired | Phase::Superseded | Phase::Terminating);
    let party = |(org, state): (&String, &PartyState)| {
        let mut party = party((snapshot, model), agreement, org, state);
        if over {
            (party.needed, party.signature) = (None, None);
        }
        party
    };
    assessment.parties.iter().map(party).collect()
}

fn party(
    (snapshot, model): (&Snapshot, &Model),
    agreement: &Agreement,
    org: &str,
    state: &PartyState,
) -> ExplainedParty {
    let rows = agreement.spec.parties.iter().filter(|row| row.org == org);
    let roles: BTreeSet<(PartyRole, Option<&str>)> =
        rows.map(|row| (row.role, row.function.as_deref())).collect();
    let needed = Needed::of(model, agreement, org, state);
    let (signature, signs_for) = match &needed {
        Some(Needed::Signature { purposes, again: _ }) => {
            let mut request = SignatureRequest::new(agreement.reference.clone(), org.to_owned());
            request.purposes.clone_from(purposes);
            (sign::signature(snapshot, &request).ok(), purposes.clone())
        }
        _ => (None, None),
    };
    ExplainedParty {
        org: org.to_owned(),
        roles: roles
            .into_iter()
            .map(|(role, function)| match function {
                Some(function) => format!("{} ({function})", role.as_str()),
                None => role.as_str().to_owned(),
            })
            .collect(),
        standing: state.standing,
        purposes: state.purposes.iter().cloned().collect(),
        terms_hash: state.terms_hash.clone(),
        needed: needed.map(|it| it.text(&agreement.reference, org)),
        signature,
        signs_for,
    }
}

/// What is open, at the levels that the ceiling allows.
fn open(judgement: &Judgement, agreement: &Agreement, assessment: &Assessment) -> Vec<OpenPath> {
    let mut paths = Vec::new();
    for flow in &assessment.flows {
        for purpose in &flow.purposes {
            let Reach { mut by_level, denied_by } = reach(judgement, agreement, flow, purpose);
            let denied_by = denied_by.into_iter().next();
            if by_level.is_empty() {
                // the path is open, and no one can go it
                by_level.insert(purpose.max_identifiability, Vec::new());
            }
            for (max_identifiability, actions) in by_level.into_iter().rev() {
                paths.push(OpenPath {
                    product: flow.product.clone(),
                    recipient: flow.recipient.to_string(),
                    purpose: purpose.code.clone(),
                    denied_by: denied_by.clone().filter(|_| actions.is_empty()),
                    actions,
                    roles: purpose.roles.clone(),
                    max_identifiability,
                    until: purpose.not_after,
                });
            }
        }
    }
    paths
}

/// What the terms list and is not open: all of it while the agreement is not in force.
fn closed(model: &Model, agreement: &Agreement, assessment: &Assessment) -> Vec<ClosedPath> {
    if assessment.in_force() {
        let closed = assessment.closed.iter().map(|flow| {
            let ClosedFlow { product, recipient, purpose, org, rule: _, reason } = flow.clone();
            ClosedPath { product, recipient: recipient.to_string(), purpose, org: Some(org), reason }
        });
        return closed.collect();
    }
    let reason = format!("the agreement is {}", assessment.phase.as_str());
    let mut closed = Vec::new();
    for purpose in &agreement.spec.purposes {
        for product in &purpose.products {
            for recipient in agreement.recipients(purpose, &model.orgs) {
                closed.push(ClosedPath {
                    product: product.clone(),
                    recipient: recipient.to_string(),
                    purpose: purpose.code.clone(),
                    org: None,
                    reason: reason.clone(),
                });
            }
        }
    }
    closed
}

/// The next moment at which its phase or its paths change, found by judging the snapshot at each moment ahead.
fn next(
    snapshot: &Snapshot,
    judgement: &Judgement,
    agreement: &Agreement,
    assessment: &Assessment,
) -> Option<NextChange> {
    let reference = &agreement.reference;
    let before = paths(assessment);
    let mut ahead = upcoming(judgement, reference);
    for _ in 0..LOOKED_AT {
        let at = ahead?;
        let then = Judgement::new(snapshot, at);
        let later = then.assessments.agreements.get(reference)?;
        let after = paths(later);
        if later.phase != assessment.phase || before != after {
            let reason = then
                .model
                .agreements
                .get(reference)
                .map(|agreement| report::agreement_status(&then.model, agreement, later).conditions)
                .into_iter()
                .flatten()
                .find(|condition| condition.type_ == "InForce")
                .map(|condition| condition.message)
                .unwrap_or_default();
            let causes = named_dates(&judgement.model, agreement);
            return Some(NextChange {
                at,
                causes: causes.into_iter().filter(|(date, _)| *date == at).map(|(_, cause)| cause).collect(),
                phase: later.phase,
                reason,
                opens: after.difference(&before).cloned().collect(),
                closes: before.difference(&after).cloned().collect(),
            });
        }
        ahead = upcoming(&then, reference);
    }
    None
}

/// The next moment that an agreement, or one that would take its place, reads.
fn upcoming(judgement: &Judgement, reference: &ObjectRef) -> Option<Timestamp> {
    let successors = judgement
        .model
        .agreements
        .values()
        .filter(|agreement| agreement.spec.supersedes.as_ref() == Some(reference))
        .map(|agreement| &agreement.reference);
    successors
        .chain([reference])
        .filter_map(|reference| judgement.assessments.agreements.get(reference)?.next)
        .min()
}

fn paths(assessment: &Assessment) -> BTreeSet<String> {
    let paths = assessment.flows.iter().flat_map(|flow| {
        let path = |product: &ObjectRef, recipient: &FunctionRef, purpose: &str| {
            format!("{product} -> {recipient}, {purpose}")
        };
        flow.purposes.iter().map(move |purpose| path(&flow.product, &flow.recipient, &purpose.code))
    });
    paths.collect()
}

/// The dates that bear on an agreement, a successor's start among them, with the field that says each.
pub fn named_dates(model: &Model, agreement: &Agreement) -> Vec<(Timestamp, String)> {
    let written = written_dates(model, agreement).into_iter().map(|date| (date.at, date.to_string()));
    let successors = model
        .agreements
        .values()
        .filter(|successor| successor.spec.supersedes.as_ref() == Some(&agreement.reference));
    let starts = successors.map(|successor| {
        let cause = format!("spec.term.start of DataSharingAgreement {}", successor.reference);
        (successor.spec.term.start, cause)
    });
    let withdrawals = agreement.signers.iter().flat_map(|(org, signer)| {
        signer.words.ends().map(move |on| (on, format!("spec.ends[].on of a signature of {org}")))
    });
    written.chain(starts).chain(withdrawals).collect()
}
