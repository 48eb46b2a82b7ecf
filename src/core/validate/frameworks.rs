//! Frameworks and the exceptions from them.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt as _;

use super::{Checked, listed};
use crate::finding::Code;
use crate::model::{Exception, Model};
use crate::policy::{self, built_in, built_in_spec, load_framework};
use crate::snapshot::Snapshot;
use concordat_api::{FrameworkRef, Sector};

pub(super) fn check(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    let own = built_in();
    let mut refused: BTreeSet<FrameworkRef> = BTreeSet::new();
    for sourced in &snapshot.frameworks {
        let spec = &sourced.object.spec;
        let reference = FrameworkRef { name: spec.name.clone(), version: spec.version.clone() };
        let Some(mut check) = checked.start(sourced) else {
            refused.insert(reference);
            continue;
        };
        if reference == own.reference && spec != built_in_spec() {
            check
                .finding(
                    Code::FrameworkText,
                    "spec",
                    format!("this is not the text of `{reference}` that this version of concordat has"),
                )
                .help(
                    "give a changed framework a version of its own; nothing that names this one is in force",
                );
        }
        match load_framework(spec) {
            Ok(framework) => {
                if checked.finish(check) {
                    checked.model.frameworks.insert(reference, framework);
                } else {
                    refused.insert(reference);
                }
            }
            Err(problems) => {
                for problem in problems {
                    let found = check.finding(Code::FrameworkPolicies, "spec.policies", problem.message);
                    if let Some(help) = problem.help {
                        found.help(help);
                    }
                }
                checked.finish(check);
                refused.insert(reference);
            }
        }
    }
    // one that is there and cannot be read may have another text; what it says that it is counts like what it is called
    for unreadable in snapshot.unreadable_of("PolicyFramework") {
        if unreadable.key().name == own.reference.to_string() {
            refused.insert(own.reference.clone());
        }
        if let (Some(name), Some(version)) = (unreadable.text("/name"), unreadable.text("/version")) {
            let reference = FrameworkRef { name: name.to_owned(), version: version.to_owned() };
            checked.model.frameworks.remove(&reference);
            refused.insert(reference);
        }
    }
    // what names the built-in one without holding it is judged by it
    if !refused.contains(&own.reference) {
        checked.model.frameworks.entry(own.reference.clone()).or_insert_with(|| Arc::clone(own));
    }
    exceptions(snapshot, checked);
}

fn exceptions(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    let mut exceptions = Vec::new();
    for sourced in &snapshot.exceptions {
        let Some(mut check) = checked.start(sourced) else {
            continue;
        };
        let spec = &sourced.object.spec;
        let exceptable: BTreeSet<&str> = checked
            .model
            .frameworks
            .values()
            .flat_map(|framework| framework.spec.exceptable.iter().map(String::as_str))
            .collect();
        if !exceptable.contains(spec.rule.as_str()) {
            check
                .finding(
                    Code::ExceptionRefused,
                    "spec.rule",
                    format!("rule `{}` cannot be lifted", spec.rule),
                )
                .help(format!("what can be lifted is {}", listed(exceptable.iter().copied())));
        }
        if checked.model.footprints.get(&spec.footprint).is_none() {
            check
                .finding(
                    Code::FootprintNotFound,
                    "spec.footprint",
                    format!("there is no footprint `{}` that can be used", spec.footprint),
                )
                .missing("PlaceFootprint", spec.footprint.as_str())
                .near(
                    &spec.footprint,
                    checked.model.footprints.iter().map(|(name, _)| name.as_str()),
                    "name the footprint that the rule is lifted for",
                );
        }
        if let Some(own) = approves_itself(snapshot, &checked.model, &spec.approved_by, &spec.footprint) {
            check
                .finding(
                    Code::ExceptionRefused,
                    "spec.approvedBy",
                    format!(
                        "`{own}` lies in `{}`, and a place does not approve its own exception",
                        spec.footprint
                    ),
                )
                .help("the national body approves it");
        }
        let exception = Exception {
            name: sourced.object.name_any(),
            rule: spec.rule.clone(),
            footprint: spec.footprint.clone(),
            from: spec.from,
            until: spec.until,
        };
        if checked.finish(check) {
            exceptions.push(exception);
        }
    }
    exceptions.sort_by(|a, b| {
        (policy::rule_sort_key(&a.rule), &a.name).cmp(&(policy::rule_sort_key(&b.rule), &b.name))
    });
    checked.model.exceptions = exceptions;
}

/// The organisation of the place that stands as the approver: its name, or the name that people know.
fn approves_itself<'a>(
    snapshot: &'a Snapshot,
    model: &Model,
    approved_by: &str,
    footprint: &str,
) -> Option<&'a str> {
    // a part of a name is no name: "England" is not "NHS England"
    let approver = approved_by.trim().to_lowercase();
    snapshot
        .orgs
        .iter()
        .map(|org| (org.object.metadata.name.as_deref().unwrap_or_default(), &org.object.spec))
        .filter(|(_, spec)| spec.sector != Sector::National)
        .filter(|(_, spec)| model.footprints.org_lies_in(spec, footprint))
        .find(|(name, spec)| {
            [*name, spec.display_name.trim()].iter().any(|own| own.to_lowercase() == approver)
        })
        .map(|(name, _)| name)
}
