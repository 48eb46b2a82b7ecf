//! Which rules read the clock in no other way than by holding it against a date of an entity or of their own.
//!
//! The answer of such a rule changes only when one of those dates is reached, and each of them is known before. A rule
//! that calculates with the moment can change its answer at any time.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

const COMPARISONS: [&str; 6] = ["<", "<=", ">", ">=", "==", "!="];

/// Whether the moments at which a rule, as JSON, or a part of one changes its mind are all dates of entities or its own.
pub(super) fn is_plain(expression: &Value) -> bool {
    match expression {
        Value::Object(fields) => comparison(fields).unwrap_or_else(|| {
            !is_now(expression)
                && !is_whole_context(expression)
                && fields.iter().all(|(name, value)| match (name.as_str(), value) {
                    // an attribute of the context other than the moment
                    ("." | "has", Value::Object(access)) => {
                        access.get("left").is_some_and(|left| is_whole_context(left) || is_plain(left))
                    }
                    _ => is_plain(value),
                })
        }),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Whether a comparison is plain; none if this is not one.
fn comparison(fields: &Map<String, Value>) -> Option<bool> {
    let (_, sides) = fields.iter().find(|(name, _)| COMPARISONS.contains(&name.as_str()))?;
    let (left, right) = (sides.get("left")?, sides.get("right")?);
    Some(match (is_now(left), is_now(right)) {
        (false, false) => is_plain(left) && is_plain(right),
        (true, false) => is_attribute(right) || is_date(right),
        (false, true) => is_attribute(left) || is_date(left),
        (true, true) => true,
    })
}

/// `context.now`.
pub(super) fn is_now(expression: &Value) -> bool {
    let access = expression.get(".");
    access.and_then(|access| access.get("attr")).is_some_and(|name| name == "now")
        && access.and_then(|access| access.get("left")).is_some_and(is_whole_context)
}

fn is_whole_context(expression: &Value) -> bool {
    expression.get("Var").is_some_and(|name| name == "context")
}

/// A date that is written into a rule: a day, or a moment.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let day = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    text.parse().ok().or_else(day)
}

/// Such as `datetime("2027-01-01")`.
fn is_date(expression: &Value) -> bool {
    let argument = expression.get("datetime").and_then(|arguments| arguments.get(0));
    let text = argument.and_then(|argument| argument.get("Value")?.as_str());
    text.and_then(parse).is_some()
}

/// Such as `resource.term.end`.
fn is_attribute(expression: &Value) -> bool {
    if let Some(name) = expression.get("Var") {
        return name == "principal" || name == "resource";
    }
    expression.get(".").and_then(|access| access.get("left")).is_some_and(is_attribute)
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::*;
    use crate::policy::built_in;

    fn rule(condition: &str) -> bool {
        let text = format!("forbid (principal, action, resource) when {{ {condition} }};");
        is_plain(&text.parse::<Policy>().unwrap().to_json().unwrap())
    }

    #[test]
    fn a_date_of_an_entity_is_plain() {
        assert!(rule("resource.term.end <= context.now"));
        assert!(rule(
            "context.now < principal.org.assurance.dspt.validUntil && context.role == \"Controller\""
        ));
        assert!(rule("context.data.personalData && !(resource.dpia.reviewBy > context.now)"));
    }

    #[test]
    fn a_date_of_its_own_is_plain_and_known() {
        assert!(rule("context.now >= datetime(\"2027-01-01\")"));
        assert!(rule("datetime(\"2027-01-01T10:00:00Z\") > context.now"));
        assert_eq!(parse("2027-01-01"), "2027-01-01T00:00:00Z".parse().ok());
        assert_eq!(parse("2027-01-01T10:00:00.250Z"), "2027-01-01T10:00:00.25Z".parse().ok());
        assert_eq!(parse("2027-01-01T10:00:00+0100"), "2027-01-01T09:00:00Z".parse().ok());
    }

    #[test]
    fn a_calculation_is_not() {
        assert!(!rule("context.now.offset(duration(\"30d\")) >= resource.term.end"));
        assert!(!rule("resource.term.end.durationSince(context.now) < duration(\"30d\")"));
        assert!(!rule("resource.term.end <= context.now.toDate()"));
        assert!(!rule(
            "if context.now > resource.term.end then true else [context.now].contains(resource.term.end)"
        ));
        assert!(!rule("context == {}"));
    }

    #[test]
    fn the_built_in_framework_is_plain() {
        let framework = built_in();
        assert!(framework.is_plain());
    }
}
