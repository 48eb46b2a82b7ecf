//! What a local rule may not say, judged on its structure and never on its spelling.

use std::collections::BTreeSet;

use cedar_policy::Effect;
use serde_json::Value;

use super::clauses::{conjuncts, path};
use super::load::{PolicyProblem, Rule};
use super::parity;
use crate::core::finding::Code;
use crate::core::model::Model;

/// What can be said of the rules of a text by themselves.
pub(super) fn rules(rules: &[Rule]) -> Vec<PolicyProblem> {
    let mut problems = Vec::new();
    for rule in rules {
        let id: &str = rule.policy.id().as_ref();
        if !id.is_ascii() {
            problems.push(PolicyProblem::lint(
                Code::PolicyAnnotation,
                rule,
                "its `@id` has letters that can look like others",
                "write it with the letters a to z, digits and hyphens: people compare it by eye",
            ));
        }
        let names_agreement = !agreements(&rule.json).is_empty();
        if rule.policy.effect() == Effect::Permit && !names_agreement {
            problems.push(PolicyProblem::lint(
                Code::PolicyAgreement,
                rule,
                "a permit names the agreement that it adds to",
                "put `context.agreement == Concordat::Agreement::\"namespace/name\" &&` first in its `when`; inside an \
                 `||`, an `if` or an `unless` it does not count",
            ));
        }
        problems.extend(parity::problems(rule));
    }
    problems
}

/// No local rule goes by the name of a national one.
pub(super) fn national_ids(model: &Model, rules: &[Rule]) -> Vec<PolicyProblem> {
    // what an answer names where no rule of a text decided
    const OWN: [&str; 3] = ["framework", "gate", "error"];
    let national: BTreeSet<&str> =
        model.frameworks.values().flat_map(|framework| framework.rules.keys().map(String::as_str)).collect();
    rules
        .iter()
        .filter_map(|rule| {
            let id: &str = rule.policy.id().as_ref();
            let same = |other: &&str| other.eq_ignore_ascii_case(id.trim());
            // such as `XY-` where a framework numbers its rules `XY-1`, `XY-2`
            let series = |other: &&str| {
                let (prefix, number) = other.split_once('-')?;
                let own = id.trim().split_once('-')?.0;
                (number.starts_with(|c: char| c.is_ascii_digit()) && own.eq_ignore_ascii_case(prefix))
                    .then_some(())
            };
            let in_series = national.iter().any(|other| series(other).is_some());
            (in_series || national.iter().any(same) || OWN.iter().any(same)).then(|| {
                PolicyProblem::lint(
                    Code::PolicyNationalId,
                    rule,
                    "its `@id` reads like a national rule",
                    "give it a name of its own",
                )
            })
        })
        .collect()
}

/// The agreements that a rule requires at the top level of a `when`, each in `context.agreement == …`.
pub(super) fn agreements(rule: &Value) -> BTreeSet<String> {
    let conditions = rule.get("conditions").and_then(Value::as_array).into_iter().flatten();
    conditions
        .filter(|condition| condition.get("kind").and_then(Value::as_str) == Some("when"))
        .filter_map(|condition| condition.get("body"))
        .flat_map(conjuncts)
        .filter_map(required_agreement)
        .collect()
}

/// The agreement of `context.agreement == Concordat::Agreement::"…"`, whichever way round.
pub(super) fn required_agreement(condition: &Value) -> Option<String> {
    let equal = condition.get("==")?;
    let (left, right) = (equal.get("left")?, equal.get("right")?);
    let entity = |value: &Value| {
        let entity = value.get("Value")?.get("__entity")?;
        (entity.get("type")?.as_str()? == "Concordat::Agreement")
            .then(|| entity.get("id")?.as_str().map(str::to_owned))
            .flatten()
    };
    let is_candidate = |value: &Value| path(value).as_deref() == Some("context.agreement");
    if is_candidate(left) { entity(right) } else { entity(left).filter(|_| is_candidate(right)) }
}
