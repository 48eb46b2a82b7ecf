//! What a rule reads: the one walk over a rule's structure that says so.

use std::collections::BTreeSet;

use serde_json::Value;

use jiff::{SignedDuration, Timestamp};

use super::names;
use super::time_dependence::{is_now, is_plain};

/// The attribute paths that a rule reads.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Reads {
    /// From a variable, such as `principal.org.state`, each as far as it goes. A variable that is read as a whole is
    /// there alone, and an attribute of what is no variable, such as of an entity by name, begins with `?`.
    paths: BTreeSet<String>,
    /// The dates that are written into the rule itself.
    dates: BTreeSet<String>,
    /// Whether it holds the moment against a date so that it turns only after it, as in `context.now > date`.
    turns_late: bool,
    /// Whether it reads the moment in another way than by holding it against a date, and may turn at any time.
    calculates: bool,
    /// Whether it looks at who asks itself, and not only at what that one lies in.
    tells_accounts_apart: bool,
}

impl Reads {
    /// What a rule reads, from its JSON: in its scope and in its conditions.
    pub(super) fn of(rule: &Value) -> Self {
        let mut reads = Self { calculates: !is_plain(rule), ..Self::default() };
        let conditions = rule.get("conditions").and_then(Value::as_array).into_iter().flatten();
        conditions.filter_map(|condition| condition.get("body")).for_each(|body| reads.look(body));
        reads.tells_accounts_apart = reads.paths.contains("principal") || names_an_account(rule);
        for variable in ["principal", "action", "resource"] {
            let scope = rule.get(variable);
            let operator = scope.and_then(|scope| scope.get("op")).and_then(Value::as_str);
            // `is` alone asks for a type, which the question has in any case
            let is_named = scope.is_some_and(|scope| scope.get("in").is_some())
                || operator.is_some_and(|operator| operator == "==" || operator == "in");
            if is_named && variable != "action" {
                reads.paths.insert(variable.to_owned());
            }
        }
        reads
    }

    /// Everything that either reads.
    pub(super) fn merge(
        &mut self,
        Self { paths, dates, turns_late, calculates, tells_accounts_apart }: &Self,
    ) {
        self.paths.extend(paths.iter().cloned());
        self.dates.extend(dates.iter().cloned());
        self.turns_late |= turns_late;
        self.calculates |= calculates;
        self.tells_accounts_apart |= tells_accounts_apart;
    }

    /// The moments at which the rule may turn for a date: the date, and where it turns only after it, the next moment that
    /// Cedar tells apart from it, a millisecond later.
    pub(super) fn turns(&self, date: Timestamp) -> impl Iterator<Item = Timestamp> + use<> {
        let after = date.checked_add(SignedDuration::from_millis(1)).ok().filter(|_| self.turns_late);
        [date].into_iter().chain(after)
    }

    /// Whether a path or something in it is read, or something that it is part of, as a whole.
    pub(super) fn touches(&self, path: &str) -> bool {
        let within = |outer: &str, inner: &str| {
            inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
        };
        self.paths.iter().any(|read| within(path, read) || within(read, path))
    }

    /// Whether it may turn only after a date.
    pub(super) fn turns_late(&self) -> bool {
        self.turns_late
    }

    /// Whether it may turn at any time, and not only for a date that is known.
    pub(super) fn calculates(&self) -> bool {
        self.calculates
    }

    /// Whether it may say another thing to one account of a recipient than to the next, or to its function.
    pub(super) fn tells_accounts_apart(&self) -> bool {
        self.tells_accounts_apart
    }

    /// Whether nothing but dates that are known before changes what it says of a request.
    pub(super) fn keeps_time(&self) -> bool {
        !self.calculates && !self.touches("context.weekday") && !self.touches("context.localMinute")
    }

    /// The paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// The dates that are written into the rule itself, as they are written.
    pub(super) fn literal_dates(&self) -> impl Iterator<Item = &str> {
        self.dates.iter().map(String::as_str)
    }

    /// Whether a date field, such as `term.end`, may be read, whosever it is.
    pub(super) fn may_read_date(&self, field: &str) -> bool {
        let field: Vec<&str> = field.rsplit('.').collect();
        self.paths.iter().any(|path| {
            let mut attributes: Vec<&str> = path.rsplit('.').collect();
            attributes.pop();
            // a whole record may be read, and then part of it
            let shorter = attributes.len().min(field.len());
            let is_end = attributes.get(..shorter) == field.get(..shorter) && shorter > 0;
            let is_record = attributes.first().is_some_and(|last| field.iter().skip(1).any(|it| it == last));
            is_end || is_record
        })
    }

    fn look(&mut self, expression: &Value) {
        match expression {
            Value::Object(fields) => {
                if let Some(path) = self.path(expression) {
                    self.paths.insert(path);
                    return;
                }
                if let Some(record) = fields.get("Record").and_then(Value::as_object) {
                    // its names are the author's own
                    record.values().for_each(|value| self.look(value));
                    return;
                }
                let side = |operator: &str, side: &str| {
                    fields.get(operator).and_then(|it| it.get(side)).is_some_and(is_now)
                };
                self.turns_late |=
                    side(">", "left") || side("<=", "left") || side("<", "right") || side(">=", "right");
                if let Some(arguments) = fields.get("datetime").and_then(Value::as_array) {
                    let texts = arguments.iter().filter_map(|argument| argument.get("Value")?.as_str());
                    self.dates.extend(texts.map(str::to_owned));
                }
                fields.iter().filter(|(name, _)| *name != "Value").for_each(|(_, value)| self.look(value));
            }
            Value::Array(items) => items.iter().for_each(|value| self.look(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The path of an expression that is a variable or an attribute. Below what is neither, the walk goes on.
    fn path(&mut self, expression: &Value) -> Option<String> {
        if let Some(name) = expression.get("Var").and_then(Value::as_str) {
            return Some(name.to_owned());
        }
        let access = expression.get(".").or_else(|| expression.get("has"))?;
        let (left, name) = (access.get("left")?, access.get("attr")?.as_str()?);
        let root = self.path(left).unwrap_or_else(|| {
            self.look(left);
            "?".to_owned()
        });
        Some(format!("{root}.{name}"))
    }
}

/// Whether the scope of a rule looks at who asks itself.
fn names_an_account(rule: &Value) -> bool {
    let scope = rule.get("principal");
    match scope.and_then(|scope| scope.get("op")).and_then(Value::as_str) {
        Some("All") => false,
        // an account lies in whatever its function lies in, and in its function
        Some("in") => {
            let named = scope.and_then(|scope| scope.pointer("/entity/type")).and_then(Value::as_str);
            named.is_none_or(names::is_workload_type)
        }
        _ => true,
    }
}

/// Whether a rule reads an attribute, a tag or the place of an agreement that it names. Only the agreement that is asked
/// about is there when a rule is asked.
pub(super) fn looks_into_an_agreement(rule: &Value) -> bool {
    match rule {
        Value::Object(fields) => fields.iter().any(|(name, value)| match name.as_str() {
            "." | "has" | "in" | "getTag" | "hasTag" => {
                value.get("left").is_some_and(may_be_agreement) || looks_into_an_agreement(value)
            }
            "is" => {
                value.get("in").is_some() && value.get("left").is_some_and(may_be_agreement)
                    || looks_into_an_agreement(value)
            }
            "Value" => false,
            _ => looks_into_an_agreement(value),
        }),
        Value::Array(items) => items.iter().any(looks_into_an_agreement),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether the value of an expression may be an agreement by name.
fn may_be_agreement(expression: &Value) -> bool {
    if let Some(choice) = expression.get("if-then-else") {
        return ["then", "else"].iter().filter_map(|side| choice.get(side)).any(may_be_agreement);
    }
    let entity = expression.get("Value").and_then(|value| value.get("__entity"));
    let entity_type = entity.and_then(|entity| entity.get("type")).and_then(Value::as_str);
    // of a record by name, one field may be one
    let of_a_record = || {
        let access = expression.get(".")?.get("left")?.get("Record")?.as_object()?;
        Some(access.values().any(may_be_agreement))
    };
    entity_type.is_some_and(names::is_agreement) || of_a_record().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::*;

    fn reads(rule: &str) -> Reads {
        Reads::of(&Policy::parse(None, rule).unwrap().to_json().unwrap())
    }

    fn paths(condition: &str) -> Vec<String> {
        let reads = reads(&format!("forbid (principal, action, resource) when {{ {condition} }};"));
        reads.paths().map(str::to_owned).collect()
    }

    #[test]
    fn a_path_goes_as_far_as_it_goes() {
        assert_eq!(
            paths("principal.org.state == \"Active\" && context has onwardTo"),
            ["context.onwardTo", "principal.org.state"]
        );
        assert_eq!(
            paths("context.agreement.getTag(context.purpose).roles.isEmpty()"),
            ["?.roles", "context.agreement", "context.purpose"]
        );
        assert_eq!(paths("PartnerOrg::\"a\".state == \"Active\""), ["?.state"]);
        assert_eq!(paths("{\"Var\": context.now} == {\"Var\": resource.at}"), ["context.now", "resource.at"]);
        assert_eq!(paths("principal in resource.footprint"), ["principal", "resource.footprint"]);
        assert_eq!(paths("context == {}"), ["context"]);
    }

    #[test]
    fn who_asks_is_looked_at_itself_or_by_what_it_lies_in() {
        let tells = |scope: &str, condition: &str| {
            reads(&format!("forbid ({scope}, action, resource) when {{ {condition} }};"))
                .tells_accounts_apart()
        };
        for scope in ["principal", "principal in Concordat::OrgFunction::\"pcn/team\""] {
            assert!(!tells(scope, "principal.providesCare && principal.org.sector == \"Nhs\""), "{scope}");
        }
        for scope in [
            "principal is Concordat::Workload",
            "principal is Concordat::OrgFunction in Concordat::OrgFunction::\"pcn/team\"",
            "principal == Concordat::OrgFunction::\"pcn/team\"",
            "principal in Concordat::Workload::\"north/pcn/main\"",
        ] {
            assert!(tells(scope, "true"), "{scope}");
        }
        assert!(tells("principal", "principal is Concordat::Workload"));
        assert!(tells("principal", "[principal].contains(Concordat::OrgFunction::\"pcn/team\")"));
    }

    #[test]
    fn an_agreement_by_name_is_only_compared() {
        let looks = |condition: &str| {
            let rule = format!("forbid (principal, action, resource) when {{ {condition} }};");
            looks_into_an_agreement(&Policy::parse(None, rule).unwrap().to_json().unwrap())
        };
        let named = "Concordat::Agreement::\"a/b\"";
        assert!(!looks(&format!("context.agreement == {named} && [{named}].contains(context.agreement)")));
        assert!(!looks("context.agreement in Concordat::Footprint::\"vale\""));
        assert!(looks(&format!("{named} in Concordat::Footprint::\"vale\"")));
        assert!(looks(&format!("{named}.publicInvolvement > 0")));
        assert!(looks(&format!("{named}.hasTag(\"X\")")));
        assert!(looks(&format!("(if true then {named} else context.agreement).publicInvolvement > 0")));
        assert!(looks(&format!("{{a: {named}}}.a.publicInvolvement > 0")));
    }

    #[test]
    fn a_scope_that_names_somebody_reads_it() {
        let scope = |scope: &str| reads(&format!("forbid ({scope}, action, resource);"));
        assert!(!scope("principal").touches("principal"));
        assert!(!scope("principal is PartnerOrg").touches("principal"));
        assert!(scope("principal == PartnerOrg::\"a\"").touches("principal"));
        assert!(scope("principal is PartnerOrg in Footprint::\"a\"").touches("principal"));
    }

    #[test]
    fn a_rule_that_turns_only_after_a_date_is_asked_after_it() {
        let date: Timestamp = "2027-03-01T00:00:00Z".parse().unwrap();
        let turns = |condition: &str| {
            let rule = format!("forbid (principal, action, resource) when {{ {condition} }};");
            let json = Policy::parse(None, rule).unwrap().to_json().unwrap();
            Reads::of(&json).turns(date).count()
        };
        let literal = r#"datetime("2027-03-01")"#;
        for late in [format!("context.now > {literal}"), format!("{literal} < context.now")] {
            assert_eq!(turns(&late), 2, "{late}");
        }
        for late in [format!("!(context.now <= {literal})"), format!("!({literal} >= context.now)")] {
            assert_eq!(turns(&late), 2, "{late}");
        }
        for at in [format!("context.now >= {literal}"), format!("!(context.now < {literal})")] {
            assert_eq!(turns(&at), 1, "{at}");
        }
    }

    #[test]
    fn a_date_is_read_alone_or_in_its_record() {
        let condition =
            |condition: &str| reads(&format!("forbid (principal, action, resource) when {{ {condition} }};"));
        let rule = condition("context.agreement.dpia.reviewBy <= context.now");
        assert!(rule.may_read_date("dpia.reviewBy") && !rule.may_read_date("term.reviewBy"));
        let rule = condition("(if true then principal.ico else principal.ico).validUntil <= context.now");
        assert!(rule.may_read_date("ico.validUntil") && rule.may_read_date("confidentiality.validUntil"));
        let rule = condition("context.now >= datetime(\"2027-01-01\")");
        assert_eq!(rule.literal_dates().collect::<Vec<_>>(), ["2027-01-01"]);
        assert!(!rule.may_read_date("term.end"));
    }
}
