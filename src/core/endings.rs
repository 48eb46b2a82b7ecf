//! What ends by itself within a time: agreements in force, and paths that end before their agreement does.
//!
//! Warned of by `check`, so that a lapse is seen before it closes something that people rely on.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::evaluate::Judgement;
use super::explain::named_dates;
use super::finding::{Code, Finding};
use super::model::{Agreement, Model};
use super::policy::Assessment;
use super::report::agreement_key;
use super::snapshot::{Snapshot, Sourced};
use super::validate::shape::nearest;
use concordat_api::{DataSharingAgreement, LocalPolicy, ObjectRef, Phase};

/// A warning for each agreement in force, and each date of its paths, that ends within so many days; for each local policy
/// whose permits do; for each agreement that has been replaced and does not say so, and for each that says so too soon.
pub fn endings(snapshot: &Snapshot, judgement: &Judgement, days: u32) -> Vec<Finding> {
    let span = SignedDuration::from_hours(i64::from(days).saturating_mul(24));
    let until = judgement.at.checked_add(span).unwrap_or(Timestamp::MAX);
    let mut findings = Vec::new();
    for sourced in &snapshot.agreements {
        let key = sourced.key();
        let reference = ObjectRef { namespace: key.namespace.unwrap_or_default(), name: key.name };
        let found = judgement.model.agreements.get(&reference);
        let Some((agreement, assessment)) = found.zip(judgement.assessments.agreements.get(&reference))
        else {
            continue;
        };
        match (&agreement.spec.superseded_by, &assessment.succession.by) {
            (Some(by), _) => findings.extend(said_too_soon(sourced, judgement, &reference, by)),
            (None, Some(by)) => findings.push(not_said(sourced, &reference, by)),
            (None, None) => {}
        }
        if assessment.in_force() {
            findings.extend(of_agreement(sourced, &judgement.model, agreement, assessment, until));
        }
    }
    for sourced in &snapshot.policies {
        findings.extend(of_policy(sourced, &judgement.model, judgement.at, until));
    }
    findings
}

/// A policy whose permits count, and that falls due for review.
fn of_policy(
    sourced: &Sourced<LocalPolicy>,
    model: &Model,
    now: Timestamp,
    until: Timestamp,
) -> Option<Finding> {
    let key = sourced.key();
    let reference = ObjectRef { namespace: key.namespace.unwrap_or_default(), name: key.name };
    let at = sourced.object.spec.review_by;
    let permits = model.policies.get(&reference).filter(|it| it.permits_disabled.is_none() && it.permits());
    permits.filter(|_| now < at && at <= until)?;
    let message = format!("the permits of `{reference}` end on {at}, when it is due for review");
    let help = "review it, and move `reviewBy`: its forbids go on, its permits do not";
    Some(sourced.finding(Code::EndsSoon, "spec.reviewBy", message).help(help))
}

/// What is signed may be gone one day, and only what the old one says itself keeps it closed then.
fn not_said(sourced: &Sourced<DataSharingAgreement>, old: &ObjectRef, by: &ObjectRef) -> Finding {
    let message = format!("`{by}` has replaced `{old}`, which does not say so");
    sourced.finding(Code::NotSaidReplaced, "spec", message).help(format!(
        "write `supersededBy: {{namespace: {}, name: {}}}` into its spec, so that it stays closed whatever becomes of the \
         other one; no one has to sign again",
        by.namespace, by.name
    ))
}

/// What an agreement says that has replaced it closes it, whether that is so or not: a word too soon is a gap.
fn said_too_soon(
    sourced: &Sourced<DataSharingAgreement>,
    judgement: &Judgement,
    old: &ObjectRef,
    by: &ObjectRef,
) -> Option<Finding> {
    const RECORD: &str = "leave it if that one has been deleted since; if it was never in force, take it out";
    let of = |message: String| sourced.finding(Code::SuccessorNotInForce, "spec.supersededBy", message);
    let closed = format!("it keeps `{old}` closed all the same");
    let all = &judgement.model.agreements;
    let Some((successor, assessment)) = all.get(by).zip(judgement.assessments.agreements.get(by)) else {
        let key = agreement_key(by);
        if judgement.model.objects.contains_key(&key) {
            return Some(of(format!("`{by}` cannot be used; {closed}")).help("fix that one first"));
        }
        let others = all.keys().filter(|it| *it != old).map(ToString::to_string);
        let near = nearest(&by.to_string(), others);
        let help = near.map_or_else(|| RECORD.to_owned(), |near| format!("did you mean `{near}`?"));
        return Some(of(format!("there is no agreement `{by}`; {closed}")).help(help));
    };
    if successor.spec.supersedes.as_ref() != Some(old) {
        let help = "name the agreement whose `supersedes` names this one, or take it out";
        return Some(of(format!("`{by}` does not say that it replaces `{old}`; {closed}")).help(help));
    }
    let was_never = matches!(
        assessment.phase,
        Phase::Scheduled | Phase::AwaitingSignatures | Phase::Refused | Phase::Invalid
    );
    was_never.then(|| {
        let phase = assessment.phase.as_str();
        of(format!("`{by}` is {phase} and shares nothing now; {closed}"))
            .help("take it out until that one is in force: the old one ends by itself then")
    })
}

fn of_agreement(
    sourced: &Sourced<DataSharingAgreement>,
    model: &Model,
    agreement: &Agreement,
    assessment: &Assessment,
    until: Timestamp,
) -> Vec<Finding> {
    let causes = |at: Timestamp| -> Vec<String> {
        let named = named_dates(model, agreement).into_iter();
        let causes: BTreeSet<String> =
            named.filter(|(date, _)| *date == at).map(|(_, cause)| cause).collect();
        causes.into_iter().collect()
    };
    let because = |at: Timestamp| match causes(at).as_slice() {
        [] => String::new(),
        causes => format!(", by {}", causes.join(" and ")),
    };
    // own fields first: the finding is where somebody can move the date
    let field = |at: Timestamp| {
        let own = causes(at).into_iter().find(|cause| !cause.contains(" of "));
        own.unwrap_or_default()
    };
    let mut findings = Vec::new();
    if assessment.ends <= until {
        let at = assessment.ends;
        let message = format!("`{}` ends on {at}{}", agreement.reference, because(at));
        let help = if field(at).is_empty() {
            "to carry on without a gap, move the date where it is written; no one has to sign this agreement again for that"
        } else {
            "to carry on without a gap, move the date and sign again, or sign a new agreement that `supersedes` this one"
        };
        findings.push(sourced.finding(Code::EndsSoon, &field(at), message).help(help));
    }
    let mut paths: BTreeMap<Timestamp, BTreeSet<String>> = BTreeMap::new();
    for flow in &assessment.flows {
        for purpose in &flow.purposes {
            if purpose.not_after <= until && purpose.not_after < assessment.ends {
                let path = format!("`{}` to `{}` for {}", flow.product, flow.recipient, purpose.code);
                paths.entry(purpose.not_after).or_default().insert(path);
            }
        }
    }
    for (at, paths) in paths {
        let first = paths.first().cloned().unwrap_or_default();
        let more = match paths.len() {
            0 | 1 => String::new(),
            2 => " and 1 more path".to_owned(),
            several => format!(" and {} more paths", several - 1),
        };
        let message = format!("{first}{more} of `{}` end on {at}{}", agreement.reference, because(at));
        findings.push(
            sourced
                .finding(Code::EndsSoon, &field(at), message)
                .help("who is named there renews it, and moves the date; until then the rest carries on"),
        );
    }
    findings
}
