//! A plan in words: the state of each agreement, what opens, what guards it, who is waited for.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;

use crate::output::wrap::wrap;
use crate::output::{Paint, Printer, count};
use concordat_api::{
    DataAccessGrant, DataSharingAgreementStatus, GrantRecipient, ObjectRef, PartyStanding, Phase, Standing,
};
use concordat_core::evaluate::Judgement;
use concordat_core::finding::ObjectKey;
use concordat_core::plan::{Plan, PlannedObject, PlannedStatus, StatusBody, Waiting};
use concordat_core::policy::{Flow, Reach, reach};
use concordat_core::report::explaining_condition;
use concordat_core::snapshot::Snapshot;

pub(super) fn tell(plan: &Plan, judgement: &Judgement, snapshot: &Snapshot, printer: &mut Printer) {
    let Plan { at: _, cluster, objects, statuses, finalizers: _, waiting, findings: _, next } = plan;
    let titles: BTreeMap<ObjectRef, &str> = snapshot
        .agreements
        .iter()
        .map(|sourced| {
            let object = &sourced.object;
            let reference =
                ObjectRef { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
            (reference, object.spec.title.as_str())
        })
        .collect();
    let paint = printer.stdout_paint();
    if let Some(cluster) = cluster {
        printer.stdout(format!("for cluster {}", paint.bold(cluster)));
        printer.stdout("");
    }
    agreements(statuses, &titles, printer);
    paths(objects, judgement, printer);
    policies(objects, printer);
    let shown: BTreeSet<(&ObjectKey, &str)> = statuses.iter().flat_map(parties).collect();
    let waiting: Vec<&Waiting> = waiting
        .iter()
        .filter(|waiting| !shown.contains(&(&waiting.object, waiting.awaited.as_str())))
        .collect();
    waits(&waiting, printer);
    match next {
        Some(next) => printer.stdout(format!("{} at {next}", paint.bold("may next change by itself"))),
        None => printer.stdout("nothing changes by itself"),
    }
}

fn agreements(statuses: &[PlannedStatus], titles: &BTreeMap<ObjectRef, &str>, printer: &mut Printer) {
    let paint = printer.stdout_paint();
    let width = printer.width();
    let mut any = false;
    for PlannedStatus { object, status } in statuses {
        let StatusBody::Agreement(status) = &**status else {
            continue;
        };
        any = true;
        let reference =
            ObjectRef { namespace: object.namespace.clone().unwrap_or_default(), name: object.name.clone() };
        let DataSharingAgreementStatus { phase, standings, ends, .. } = status.as_ref();
        let phase = *phase;
        printer.stdout(format!(
            "{}  {}",
            paint.bold(&reference),
            phase.map_or(String::new(), |phase| shade(phase, paint))
        ));
        if let Some(title) = titles.get(&reference) {
            printer.stdout(format!("  {}", wrap(title, width.saturating_sub(2), 2)));
        }
        // who has to sign is said with the parties
        if let Some(why) = why(status).filter(|_| phase != Some(Phase::AwaitingSignatures)) {
            printer.stdout(format!("  {}", wrap(why, width.saturating_sub(2), 2)));
        }
        if let (Some(ends), Some(Phase::Scheduled | Phase::AwaitingSignatures)) = (ends, phase) {
            printer.stdout(format!("  ends on {ends} at the latest"));
        }
        let longest = standings.iter().map(|standing| standing.org.chars().count()).max().unwrap_or_default();
        for PartyStanding { org, standing, purposes, terms_hash: _, needed } in standings {
            let padding = " ".repeat(longest.saturating_sub(org.chars().count()));
            let word = match standing {
                Standing::Signed => paint.green("signed"),
                Standing::Withdrawn => paint.red("withdrawn"),
                Standing::Declined => paint.red("declined"),
                Standing::OtherTerms => paint.yellow("signed other terms"),
                Standing::NotSigned => paint.yellow("not signed"),
            };
            let purposes = match purposes {
                Some(purposes) if *standing == Standing::Signed => format!(" for {}", purposes.join(", ")),
                Some(_) | None => String::new(),
            };
            printer.stdout(format!("    {org}{padding}  {word}{purposes}"));
            if let Some(needed) = needed {
                let indent = longest + 6;
                let text = wrap(needed, width.saturating_sub(indent), indent);
                printer.stdout(format!("{}{}", " ".repeat(indent), paint.dim(text)));
            }
        }
        printer.stdout("");
    }
    if !any {
        printer.stdout("no agreements");
        printer.stdout("");
    }
}

/// The parties of an agreement that have to do something, as its story has said.
fn parties(status: &PlannedStatus) -> Vec<(&ObjectKey, &str)> {
    let StatusBody::Agreement(agreement) = &*status.status else {
        return Vec::new();
    };
    let needed = agreement.standings.iter().filter(|standing| standing.needed.is_some());
    needed.map(|standing| (&status.object, standing.org.as_str())).collect()
}

fn shade(phase: Phase, paint: Paint) -> String {
    match phase {
        Phase::Active => paint.green(phase.as_str()),
        Phase::Scheduled | Phase::AwaitingSignatures => paint.yellow(phase.as_str()),
        Phase::Terminating
        | Phase::Invalid
        | Phase::Suspended
        | Phase::Superseded
        | Phase::Expired
        | Phase::Withdrawn
        | Phase::Refused => paint.red(phase.as_str()),
    }
}

/// The message of the condition that makes the phase what it is.
fn why(status: &DataSharingAgreementStatus) -> Option<&str> {
    let telling = explaining_condition(status.phase?);
    let message = |name: &str| {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == name)
            .map(|condition| condition.message.as_str())
    };
    message(telling).or_else(|| message("Ready")).filter(|message| !message.is_empty())
}

/// What is open, at the levels that the ceiling allows, which may be lower than those of the terms.
fn paths(objects: &[PlannedObject], judgement: &Judgement, printer: &mut Printer) {
    let paint = printer.stdout_paint();
    let width = printer.width();
    let grants: Vec<&DataAccessGrant> = objects
        .iter()
        .filter_map(|object| match object {
            PlannedObject::Grant(grant) => Some(&**grant),
            PlannedObject::Isolation(_) | PlannedObject::Allow { .. } => None,
        })
        .collect();
    if grants.is_empty() {
        printer.stdout(paint.bold("no path is open"));
        printer.stdout("");
        return;
    }
    let paths = grants.iter().flat_map(|grant| grant.spec.recipients.iter().map(move |it| (*grant, it)));
    let paths: Vec<(&DataAccessGrant, &GrantRecipient)> = paths.collect();
    printer.stdout(paint.bold(if paths.len() == 1 {
        "1 path is open".to_owned()
    } else {
        format!("{} paths are open", paths.len())
    }));
    for (grant, recipient) in paths {
        let GrantRecipient { org, function, purposes: _, not_after } = recipient;
        printer.stdout(format!(
            "  {} -> {org}/{function}  {}",
            grant.spec.product,
            paint.dim(format!("until {not_after}")),
        ));
        for (code, said) in purposes(grant, recipient, judgement) {
            printer.stdout(format!("    {}", wrap(&format!("{code}: {said}"), width.saturating_sub(4), 6)));
        }
    }
    printer.stdout("");
}

/// What a recipient of a grant may do for each purpose.
fn purposes(
    grant: &DataAccessGrant,
    recipient: &GrantRecipient,
    judgement: &Judgement,
) -> Vec<(String, String)> {
    let spec = &grant.spec;
    let reference =
        ObjectRef { namespace: spec.agreement.namespace.clone(), name: spec.agreement.name.clone() };
    let found =
        judgement.model.agreements.get(&reference).zip(judgement.assessments.agreements.get(&reference));
    let Some((agreement, assessment)) = found else {
        return Vec::new();
    };
    let is_granted = |flow: &&Flow| {
        flow.product == spec.product
            && (&flow.recipient.org, &flow.recipient.function) == (&recipient.org, &recipient.function)
    };
    let flows = assessment.flows.iter().filter(is_granted);
    let mut said = Vec::new();
    for (flow, purpose) in flows.flat_map(|flow| flow.purposes.iter().map(move |purpose| (flow, purpose))) {
        let roles =
            purpose.roles.as_ref().map_or(String::new(), |roles| format!(", by {}", roles.join(" or ")));
        let Reach { by_level, denied_by } = reach(judgement, agreement, flow, purpose);
        if by_level.is_empty() {
            let nothing = match denied_by.first() {
                Some(word) => format!("nothing, because of {word}"),
                None => "nothing, as national rules deny every request for it".to_owned(),
            };
            said.push((purpose.code.clone(), nothing));
        }
        for (level, actions) in by_level.into_iter().rev() {
            let actions: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
            said.push((purpose.code.clone(), format!("{}, at most {level:?}{roles}", actions.join(", "))));
        }
    }
    said
}

fn policies(objects: &[PlannedObject], printer: &mut Printer) {
    let paint = printer.stdout_paint();
    let mut by_namespace: BTreeMap<String, Vec<(&str, String)>> = BTreeMap::new();
    for object in objects {
        let (does, policy) = match object {
            PlannedObject::Isolation(policy) => ("isolates", policy),
            PlannedObject::Allow { policy, .. } => ("opens", policy),
            PlannedObject::Grant(_) => continue,
        };
        by_namespace
            .entry(policy.namespace().unwrap_or_default())
            .or_default()
            .push((does, policy.name_any()));
    }
    let total: usize = by_namespace.values().map(Vec::len).sum();
    if total == 0 {
        return;
    }
    printer.stdout(paint.bold(count(total, "network policy")));
    for (namespace, policies) in by_namespace {
        printer.stdout(format!("  in {namespace}"));
        for (does, name) in policies {
            printer.stdout(format!("    {does:<8}  {}", paint.dim(name)));
        }
    }
    printer.stdout("");
}

fn waits(waiting: &[&Waiting], printer: &mut Printer) {
    if waiting.is_empty() {
        return;
    }
    let paint = printer.stdout_paint();
    let width = printer.width();
    printer.stdout(paint.bold("waiting"));
    for Waiting { object, awaited, reason } in waiting {
        let text = format!("for {}: {reason} ({object})", paint.yellow(awaited));
        printer.stdout(format!("  {}", wrap(&text, width.saturating_sub(2), 4)));
    }
    printer.stdout("");
}
