//! An agreement explained: whether it is in force, why, who has to do what, and what the clock brings.

use std::collections::BTreeMap;

use kube::ResourceExt as _;

use super::Format;
use crate::Exit;
use crate::arguments::{Input, Moment};
use crate::load::{self, Loaded};
use crate::output::wrap::wrap;
use crate::output::{Printer, count};
use concordat_api::{ConditionStatus, ObjectRef, Phase, Standing};
use concordat_core::evaluate::Judgement;
use concordat_core::explain::{
    ClosedPath, ExplainedCondition, ExplainedParty, ExplainedRule, Explanation, NamedMoment, NextChange,
    OpenPath, UnknownAgreement, explain,
};
use concordat_core::finding::Finding;

pub(super) fn run(
    named: &ObjectRef,
    input: &Input,
    loaded: &mut Loaded,
    at: Moment,
    output: Format,
    printer: &mut Printer,
) -> Exit {
    let at = load::moment(at, &loaded.snapshot, printer);
    let progress = printer.progress("judging");
    let judgement = Judgement::new(&loaded.snapshot, at);
    let explained = explain(&loaded.snapshot, &judgement, named);
    drop(progress);
    loaded.report_errors(&judgement.findings, printer);
    let mut explanation = match explained {
        Ok(explanation) => explanation,
        Err(error) => {
            let UnknownAgreement { near, .. } = &error;
            let help = near.as_ref().map(|near| format!("did you mean `{near}`?"));
            let help = help.or_else(|| {
                loaded.is_partial().then(|| {
                    "some text could not be read, and the agreement may be in it: fix that".to_owned()
                })
            });
            printer.error(&error, help.as_deref());
            return Exit::Unknown;
        }
    };
    loaded.point_at_errors(&mut explanation.findings);
    match output {
        Format::Human => human(&explanation, input, printer),
        Format::Json => match serde_json::to_string_pretty(&explanation) {
            Ok(text) => printer.stdout(text),
            Err(error) => {
                printer.error(format!("the answer cannot be written out: {error}"), None);
                return Exit::Unknown;
            }
        },
    }
    if loaded.is_partial() {
        Exit::Unknown
    } else if explanation.in_force {
        Exit::Yes
    } else {
        Exit::No
    }
}

fn human(explanation: &Explanation, input: &Input, printer: &mut Printer) {
    let Explanation {
        agreement,
        title,
        reference,
        at: _,
        in_force,
        phase,
        reason,
        conditions,
        broken,
        parties,
        open,
        closed,
        next,
        ends,
        findings,
    } = explanation;
    let paint = printer.stdout_paint();
    let word = if *in_force { paint.green("in force") } else { paint.red("not in force") };
    line(printer, 0, &format!("{word}: {agreement} ({reference}), {title}"));
    // what is said in full further down is not said twice
    let refusing = broken.iter().filter(|rule| !rule.keeps_out_only).count();
    let unsigned = parties.iter().filter(|party| party.needed.is_some()).count();
    let short = match phase {
        Phase::Refused => format!("{} refuse it", count(refusing, "national rule")),
        Phase::AwaitingSignatures if unsigned > 0 => {
            let has = if unsigned == 1 { "has" } else { "have" };
            format!("{} {has} something to do yet", count(unsigned, "party"))
        }
        Phase::Invalid => "it cannot be used until it is fixed".to_owned(),
        _ => reason.clone(),
    };
    line(printer, 2, &format!("{}: {short}", phase.as_str()));
    let unusable: Vec<&Finding> = findings.iter().filter(|finding| finding.is_error()).collect();
    if !unusable.is_empty() {
        heading(printer, "what is wrong with it");
        for Finding { code, message, help, origin, .. } in unusable {
            let place = origin.field.as_ref().map_or(String::new(), |field| format!(" at `{field}`"));
            line(printer, 2, &format!("{}{place}: {message}", paint.red(code)));
            if let Some(help) = help {
                line(printer, 4, &format!("{} {help}", paint.cyan("help:")));
            }
        }
    }
    rules(broken, printer);
    parties_of(agreement, parties, input, refusing > 0, printer);
    opened(open, printer);
    closed_paths(closed, *in_force, printer);
    heading(printer, "conditions");
    for ExplainedCondition { type_, status, reason: _, message } in conditions {
        let said = message == reason
            || (*status != ConditionStatus::True
                && matches!(type_.as_str(), "Valid" | "Compliant" | "Signed"));
        let message = if said { "" } else { message };
        let word = match status {
            ConditionStatus::True => paint.green("yes"),
            ConditionStatus::False => paint.red("no"),
            ConditionStatus::Unknown => paint.yellow("not known"),
        };
        let comma = if message.is_empty() { "" } else { ", " };
        line(printer, 2, &format!("{type_}: {word}{comma}{message}"));
    }
    clock(next.as_ref(), ends.as_ref(), printer);
    let warnings = findings.iter().filter(|finding| !finding.is_error()).count();
    if warnings > 0 {
        let them = if warnings == 1 { "it" } else { "them" };
        let warnings = count(warnings, "warning");
        printer.note(format!("{warnings} on this agreement; `concordat check` shows {them}"));
    }
}

fn heading(printer: &mut Printer, text: &str) {
    let paint = printer.stdout_paint();
    printer.stdout("");
    printer.stdout(paint.bold(text));
}

/// A paragraph that starts at a column and goes on two further in.
fn line(printer: &mut Printer, indent: usize, text: &str) {
    let text = wrap(text, printer.width().saturating_sub(indent), indent + 2);
    printer.stdout(format!("{}{text}", " ".repeat(indent)));
}

fn rules(broken: &[ExplainedRule], printer: &mut Printer) {
    let paint = printer.stdout_paint();
    for (title, only) in
        [("national rules that refuse it", false), ("national rules that keep a party out", true)]
    {
        let mut rules = broken.iter().filter(|rule| rule.keeps_out_only == only).peekable();
        if rules.peek().is_none() {
            continue;
        }
        heading(printer, title);
        for ExplainedRule { rule, party, purpose, reason, field, help, keeps_out_only: _ } in rules {
            let about = match (party, purpose) {
                (Some(party), _) => format!(" for {party}"),
                (None, Some(purpose)) => format!(" for purpose {purpose}"),
                (None, None) => String::new(),
            };
            line(printer, 2, &format!("{}{about}: {reason}", paint.red(rule)));
            let field = field.as_ref().map_or(String::new(), |field| format!("in `{field}`: "));
            line(printer, 4, &format!("{} {field}{help}", paint.cyan("help:")));
        }
    }
}

fn parties_of(
    agreement: &ObjectRef,
    parties: &[ExplainedParty],
    input: &Input,
    refused: bool,
    printer: &mut Printer,
) {
    if parties.is_empty() {
        return;
    }
    let paint = printer.stdout_paint();
    heading(printer, "parties");
    for ExplainedParty { org, roles, standing, purposes, terms_hash, needed, signature, signs_for } in parties
    {
        let word = match standing {
            Standing::Signed => paint.green(standing.in_words()),
            Standing::Withdrawn | Standing::Declined => paint.red(standing.in_words()),
            Standing::OtherTerms | Standing::NotSigned => paint.yellow(standing.in_words()),
        };
        let purposes = match standing {
            Standing::Signed if purposes.is_empty() => " for no purpose".to_owned(),
            Standing::Signed => format!(" for {}", purposes.join(", ")),
            Standing::Withdrawn | Standing::Declined | Standing::OtherTerms | Standing::NotSigned => {
                String::new()
            }
        };
        line(printer, 2, &format!("{org}, {}: {word}{purposes}", roles.join(" and ")));
        match (signature, needed) {
            (Some(_), _) if refused => {
                line(
                    printer,
                    4,
                    "it has to sign once the rules above are fixed, as other terms have another hash",
                );
            }
            (Some(signature), _) => {
                let from = input.as_typed();
                // who signs again signs for no more than before
                let some =
                    signs_for.as_ref().map_or(String::new(), |it| format!(" --purposes {}", it.join(",")));
                let namespace = signature.namespace().unwrap_or_default();
                line(printer, 4, &format!("it has to sign {terms_hash}"));
                line(printer, 4, &format!("somebody who may write in namespace `{namespace}` runs"));
                // one line, so that it can be copied
                printer.stdout(format!(
                    "      concordat sign{from} --agreement {agreement} --party {org}{some} | kubectl apply -f -"
                ));
            }
            (None, Some(needed)) => line(printer, 4, needed),
            (None, None) => {}
        }
    }
}

fn opened(open: &[OpenPath], printer: &mut Printer) {
    if open.is_empty() {
        return;
    }
    heading(printer, "open");
    for OpenPath { product, recipient, purpose, actions, roles, max_identifiability, until, denied_by } in
        open
    {
        let actions: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
        let roles = roles.as_ref().map_or(String::new(), |roles| format!(", by {}", roles.join(" or ")));
        line(printer, 2, &format!("{product} -> {recipient} for {purpose}, until {until} at the latest"));
        let what = if actions.is_empty() {
            match denied_by {
                Some(word) => format!("nothing, because of {word}"),
                None => "nothing: national rules deny every request for it".to_owned(),
            }
        } else {
            format!("{}, at most {max_identifiability:?}{roles}", actions.join(", "))
        };
        line(printer, 4, &what);
    }
}

fn closed_paths(closed: &[ClosedPath], in_force: bool, printer: &mut Printer) {
    if closed.is_empty() {
        return;
    }
    if !in_force {
        heading(printer, &format!("closed, as it is not in force: {}", count(closed.len(), "path")));
        for ClosedPath { product, recipient, purpose, .. } in closed {
            line(printer, 2, &format!("{product} -> {recipient} for {purpose}"));
        }
        return;
    }
    heading(printer, "listed, and kept closed");
    let mut by_reason: BTreeMap<(&Option<String>, &str), Vec<&ClosedPath>> = BTreeMap::new();
    for path in closed {
        by_reason.entry((&path.org, &path.reason)).or_default().push(path);
    }
    for ((org, reason), paths) in by_reason {
        let who = org.as_ref().map_or(String::new(), |org| format!("by {org}: "));
        line(printer, 2, &format!("{who}{reason}"));
        for ClosedPath { product, recipient, purpose, .. } in paths {
            line(printer, 4, &format!("{product} -> {recipient} for {purpose}"));
        }
    }
}

fn clock(next: Option<&NextChange>, ends: Option<&NamedMoment>, printer: &mut Printer) {
    if next.is_none() && ends.is_none() {
        return;
    }
    heading(printer, "the clock");
    match next {
        Some(NextChange { at, causes, phase, reason, opens, closes }) => {
            line(printer, 2, &format!("next on {at}{}: {}, {reason}", because(causes), phase.as_str()));
            for (word, paths) in [("opens", opens), ("closes", closes)] {
                for path in paths {
                    line(printer, 4, &format!("{word} {path}"));
                }
            }
        }
        None => line(printer, 2, "nothing changes by itself"),
    }
    if let Some(NamedMoment { at, causes }) = ends {
        line(printer, 2, &format!("it ends on {at} at the latest{}", because(causes)));
    }
}

fn because(causes: &[String]) -> String {
    if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) }
}
