//! What a local rule may not say, judged on its structure and never on its spelling.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Effect;
use serde_json::{Value, json};

use super::clauses::conjuncts;
use super::constant;
use super::load::Rule;
use super::parity;
use super::problem::PolicyProblem;
use crate::finding::Code;
use crate::model::Model;

/// What can be said of the rules of a text by themselves.
pub(super) fn rules(rules: &[Rule]) -> Vec<PolicyProblem> {
    let mut problems = Vec::new();
    let steps = parity::Steps::default();
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
        problems.extend(can_fail(rule));
        problems.extend(parity::problems(rule, &steps));
    }
    problems
}

/// Whether a rule can fail when it is evaluated: Cedar skips a rule that does, and a forbid that is skipped forbids
/// nothing.
pub(super) fn can_fail(rule: &Rule) -> Vec<PolicyProblem> {
    let mut found: BTreeMap<String, &'static str> = BTreeMap::new();
    rule.json.get("conditions").into_iter().for_each(|conditions| what_can_fail(conditions, &mut found));
    found
        .into_iter()
        .map(|(what, help)| {
            PolicyProblem::lint(
                Code::PolicyCanFail,
                rule,
                format!("{what} can fail when the rule is evaluated"),
                help,
            )
        })
        .collect()
}

fn what_can_fail(body: &Value, found: &mut BTreeMap<String, &'static str>) {
    const NUMBERS: &str =
        "compare with a number that is written out: what is more than a number can be is no answer";
    const DATES: &str = "compare with a date that is written out, such as `datetime(\"2027-03-31T23:00:00Z\")`; for hours \
                         and days there are `context.localMinute` and `context.weekday`";
    const WRITTEN: &str = "write the value out, in a form that Cedar reads";
    const NAMED: &str = "compare the entity itself: what is named and does not exist has no attributes";
    let fields = match body {
        Value::Object(fields) => fields,
        Value::Array(items) => return items.iter().for_each(|item| what_can_fail(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    for (operator, operands) in fields {
        match operator.as_str() {
            "+" | "-" | "*" | "neg" => {
                let sign = if operator == "neg" { "-" } else { operator };
                found.insert(format!("the arithmetic of `{sign}`"), NUMBERS);
            }
            "offset" | "durationSince" | "toDate" => {
                found.insert(format!("`{operator}`"), DATES);
            }
            "datetime" | "duration" | "decimal" | "ip" => {
                let written = json!({ operator: operands });
                let is_read = !constant::reads(&written)
                    && constant::holds(&json!({ "==": { "left": written, "right": written } })) == Some(true);
                if !is_read {
                    found.insert(format!("the conversion of a text by `{operator}`"), WRITTEN);
                }
            }
            "." if operands.get("left").is_some_and(may_be_named) => {
                let attribute = operands.get("attr").and_then(Value::as_str).unwrap_or_default();
                found.insert(format!("reading `{attribute}` of an entity that is named"), NAMED);
            }
            // its keys are names, and no operators
            "Record" => {
                operands
                    .as_object()
                    .into_iter()
                    .flat_map(serde_json::Map::values)
                    .for_each(|it| what_can_fail(it, found));
                continue;
            }
            _ => {}
        }
        what_can_fail(operands, found);
    }
}

/// Whether an expression can be an entity that the rule names, and not one that the question brings with it.
fn may_be_named(body: &Value) -> bool {
    let part = |of: &Value, name: &str| of.get(name).is_some_and(may_be_named);
    if let Some(branches) = body.get("if-then-else") {
        return part(branches, "then") || part(branches, "else");
    }
    if let Some(access) = body.get(".") {
        return part(access, "left");
    }
    if let Some(Value::Object(fields)) = body.get("Record") {
        return fields.values().any(may_be_named);
    }
    body.get("Value").is_some_and(|value| value.get("__entity").is_some())
}

/// Rules for which who asks is to be one function: a workload lies in its function and is never the same, so that such a
/// forbid denies nothing to whoever really asks.
pub(super) fn one_function(rules: &[Rule]) -> Vec<PolicyProblem> {
    let is_function = |entity: Option<&Value>| {
        let kind = entity.and_then(|it| it.get("type")).and_then(Value::as_str);
        kind.is_some_and(|it| it.ends_with("::OrgFunction"))
    };
    let is_one = |rule: &&Rule| {
        let head = rule.json.get("principal");
        let equals = head.and_then(|it| it.get("op")).and_then(Value::as_str) == Some("==");
        let in_head = equals && is_function(head.and_then(|it| it.get("entity")));
        in_head || rule.json.get("conditions").is_some_and(|it| compares_principal(it, &is_function))
    };
    let problem = |rule: &Rule| {
        PolicyProblem::lint(
            Code::PolicyOneFunction,
            rule,
            "it compares who asks with a function, and a workload is never the same as its function",
            "write `principal in Concordat::OrgFunction::\"…\"`: a workload lies in its function",
        )
    };
    rules.iter().filter(is_one).map(problem).collect()
}

/// Whether somewhere in a condition it is asked whether who asks is one such entity, or is not.
fn compares_principal(json: &Value, is_such: &dyn Fn(Option<&Value>) -> bool) -> bool {
    let is_principal = |side: &Value| side.get("Var").and_then(Value::as_str) == Some("principal");
    let is_entity = |side: &Value| is_such(side.pointer("/Value/__entity"));
    match json {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let sides = value.get("left").zip(value.get("right"));
            let is_one = ["==", "!="].contains(&name.as_str())
                && sides.is_some_and(|(left, right)| {
                    (is_principal(left) && is_entity(right)) || (is_entity(left) && is_principal(right))
                });
            is_one || compares_principal(value, is_such)
        }),
        Value::Array(items) => items.iter().any(|item| compares_principal(item, is_such)),
        _ => false,
    }
}

/// What is wrong with the ids of local rules beside the national ones: an answer names rules by their ids.
pub(super) fn national_ids(model: &Model, rules: &[Rule]) -> Vec<PolicyProblem> {
    // what an answer names where no rule of a text decided
    const OWN: [&str; 3] = ["framework", "gate", "error"];
    let lower = |id: &str| id.trim().to_ascii_lowercase();
    let frameworks = model.frameworks.values();
    let national: BTreeSet<String> =
        frameworks.flat_map(|framework| framework.rules.keys().map(|id| lower(id))).collect();
    // `GR-` of `GR-13`
    let series: BTreeSet<&str> = national
        .iter()
        .filter_map(|id| id.split_once(|c: char| c.is_ascii_digit()).map(|(series, _)| series))
        .filter(|series| series.ends_with(|c: char| !c.is_alphanumeric()))
        .collect();
    rules
        .iter()
        .filter_map(|rule| {
            let id = lower(rule.policy.id().as_ref());
            let series = series.iter().find(|series| id.starts_with(**series));
            (series.is_some() || national.contains(&id) || OWN.contains(&id.as_str())).then(|| {
                let own = series
                    .map(|series| format!(", which does not begin with `{}`", series.to_ascii_uppercase()));
                PolicyProblem::lint(
                    Code::PolicyNationalId,
                    rule,
                    "its `@id` reads like a national rule",
                    format!("give it a name of its own{}", own.unwrap_or_default()),
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
        .filter_map(parity::required_agreement)
        .collect()
}
