//! Policy text to policies: bounds before parsing, strict validation, warnings as errors.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::{Effect, EntityUid, Policy, PolicyId, PolicySet};
use miette::Diagnostic;
use serde_json::Value;

use super::clauses::{Clauses, lazily};
use super::large_stack::on_large_stack;
use super::problem::{PolicyProblem, position};
use super::validator;
use super::{names, reads};
use crate::finding::Code;
use crate::text::is_blank;

/// The longest text that is parsed, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// The deepest nesting of brackets that is parsed. Two hundred overflow a stack of 2 MiB.
pub const MAX_DEPTH: usize = 32;
/// The most operators in one rule (`&&` counts twice): long chains parse, and then meet the evaluator's limit.
pub const MAX_OPERATORS_IN_A_RULE: usize = 400;
/// A rule as it was loaded.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Its id is its `@id`.
    pub(super) policy: Policy,
    /// Its structure, as Cedar's JSON has it.
    pub(super) json: Arc<Value>,
    /// Where it begins in the text, from 1.
    pub(super) position: Option<(u32, u32)>,
    /// What a permit needs, or what keeps a forbid from firing.
    pub(super) clauses: Clauses,
    /// The entities that it names.
    pub(super) literals: Arc<BTreeSet<EntityUid>>,
}

/// Parses and strictly validates a text. Each policy's id becomes its `@id`.
///
/// All problems are returned, never only the first. Runs on a thread with a large stack, as parsing is recursive;
/// so does `lint`, which looks at rules that are otherwise right.
pub(super) fn load(
    text: &str,
    lint: fn(&[Rule]) -> Vec<PolicyProblem>,
) -> Result<Vec<Rule>, Vec<PolicyProblem>> {
    bounds(text).map_err(|problem| vec![problem])?;
    on_large_stack(|| {
        let rules = parse_and_validate(text)?;
        let problems = lint(&rules);
        if problems.is_empty() { Ok(rules) } else { Err(problems) }
    })
    .unwrap_or_else(|problem| Err(vec![problem]))
}

/// Whether a text may forbid something: it cannot be parsed, or a rule of it does.
pub(super) fn may_forbid(text: &str) -> bool {
    let only_permits = || {
        let set = PolicySet::from_str(text).ok()?;
        let permits = set.policies().all(|policy| policy.effect() == Effect::Permit);
        (permits && set.num_of_templates() == 0).then_some(())
    };
    bounds(text).is_err() || !matches!(on_large_stack(only_permits), Ok(Some(())))
}

/// Refuses what could exhaust the parser or the evaluator: size, depth of brackets, operators in one rule.
fn bounds(text: &str) -> Result<(), PolicyProblem> {
    if text.len() > MAX_BYTES {
        return Err(PolicyProblem::new(format!("the text is {} bytes long", text.len()))
            .with_help(format!("up to {MAX_BYTES} bytes are read: split it into several policies")));
    }
    let (mut depth, mut operators) = (0_usize, 0_usize);
    for Token { text: token, at } in tokens(text) {
        match token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        match token {
            ";" => operators = 0,
            // an index is written with a bracket, and a chain of them is as deep as it is long
            "[" | "&" | "|" | "+" | "-" | "*" | "." | "!" | "if" => operators += 1,
            _ => {}
        }
        let what = if depth > MAX_DEPTH {
            "nested more deeply"
        } else if operators > MAX_OPERATORS_IN_A_RULE {
            "longer"
        } else {
            continue;
        };
        let mut problem = PolicyProblem::new(format!("a rule is {what} than can be evaluated safely")).with_help(
            format!(
                "up to {MAX_DEPTH} brackets inside each other and {MAX_OPERATORS_IN_A_RULE} operators in a rule are \
                 read: split it, or test membership in a set"
            ),
        );
        problem.position = Some(at);
        return Err(problem);
    }
    Ok(())
}

/// A word or a sign, and where it begins: line and column from 1, the column in characters.
struct Token<'text> {
    text: &'text str,
    at: (u32, u32),
}

/// The words and signs of a text. A string is one token, on however many lines it is; comments are left out.
fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let (mut rest, mut at) = (text, (1_u32, 1_u32));
    std::iter::from_fn(move || {
        loop {
            let first = rest.chars().next()?;
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = match first {
                '"' => string_length(rest),
                '/' if rest.starts_with("//") => rest.find(['\n', '\r']).unwrap_or(rest.len()),
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            let (token, tail) = rest.split_at(length);
            let begins = at;
            rest = tail;
            for c in token.chars() {
                at = if c == '\n' { (at.0.saturating_add(1), 1) } else { (at.0, at.1.saturating_add(1)) };
            }
            if !first.is_whitespace() && !token.starts_with("//") {
                return Some(Token { text: token, at: begins });
            }
        }
    })
}

/// Where each rule of a text begins, in order.
fn rule_positions(text: &str) -> Vec<(u32, u32)> {
    let mut positions = Vec::new();
    let mut between = true;
    for Token { text, at } in tokens(text) {
        if between {
            positions.push(at);
        }
        between = text == ";";
    }
    positions
}

/// The length of the string that a text starts with, its quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return index + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

fn parse_and_validate(text: &str) -> Result<Vec<Rule>, Vec<PolicyProblem>> {
    let set = PolicySet::from_str(text)
        .map_err(|errors| errors.iter().map(|error| from_parser(error, text)).collect::<Vec<_>>())?;
    let mut problems = Vec::new();
    if set.num_of_templates() > 0 {
        problems.push(
            PolicyProblem::new("templates cannot be loaded")
                .with_help("name the principal and the resource".into()),
        );
    }
    // ids as the parser gives them are `policy0`, `policy1`, …: the annotation is what people know
    let mut ids: BTreeMap<PolicyId, String> = BTreeMap::new();
    let mut rules: Vec<Rule> = Vec::new();
    let mut positions = rule_positions(text).into_iter();
    let mut parsed: Vec<&Policy> = set.policies().collect();
    parsed.sort_by_key(|policy| super::rule_sort_key(policy.id().as_ref()));
    for (number, policy) in (1..).zip(parsed) {
        let position = positions.next();
        let id = policy.annotation("id").filter(|id| !is_blank(id)).map(str::to_owned);
        let called = id.as_ref().map_or_else(|| number.to_string(), |id| format!("`{id}`"));
        let mut lacks = |what: &str, help: &str| {
            let mut problem =
                PolicyProblem::new(format!("rule {called} has no `{what}`")).with_help(help.into());
            (problem.rule, problem.position, problem.code) = (id.clone(), position, Code::PolicyAnnotation);
            problems.push(problem);
        };
        if id.is_none() {
            lacks("@id", "write `@id(\"…\")` above it, a name that stays");
        }
        if policy.annotation("reason").is_none_or(is_blank) {
            lacks("@reason", "write `@reason(\"…\")` above it, in plain English");
        }
        // without a name it goes by its place in the text, and is not loaded
        let Some(id) = id else {
            continue;
        };
        if ids.values().any(|other| *other == id) {
            let mut problem = PolicyProblem::new(format!("two rules have the id `{id}`"))
                .with_help("give each rule an `@id` of its own".into());
            (problem.rule, problem.position, problem.code) =
                (Some(id.clone()), position, Code::PolicyAnnotation);
            problems.push(problem);
        }
        ids.insert(policy.id().clone(), id.clone());
        match policy.to_json() {
            Ok(json) => {
                let json = Arc::new(json);
                rules.push(Rule {
                    policy: policy.new_id(PolicyId::new(&id)),
                    clauses: lazily(Arc::clone(&json)),
                    literals: Arc::new(policy.entity_literals().into_iter().collect()),
                    json,
                    position,
                });
            }
            Err(error) => {
                let mut problem = PolicyProblem::new(error.to_string());
                (problem.rule, problem.position) = (Some(id), position);
                problems.push(problem);
            }
        }
    }
    problems.extend(validator::problems(&set, text, &ids));
    for rule in rules.iter().filter(|rule| reads::looks_into_an_agreement(&rule.json)) {
        problems.push(PolicyProblem::lint(
            Code::PolicyText,
            rule,
            format!("rule `{}` looks into an agreement that it names", names::rule_id(&rule.policy)),
            "an agreement by name can only be compared: read the one that is asked about, `context.agreement`",
        ));
    }
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

fn from_parser(error: &impl Diagnostic, text: &str) -> PolicyProblem {
    let mut problem = PolicyProblem::new(error.to_string());
    problem.help = error.help().map(|help| help.to_string());
    let label = error.labels().and_then(|mut labels| labels.next());
    problem.position = label.and_then(|label| position(text, label.offset()));
    problem
}

impl PolicyProblem {
    /// What a lint finds in a rule.
    pub(super) fn lint(code: Code, rule: &Rule, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            rule: Some(names::rule_id(&rule.policy)),
            message: message.into(),
            help: Some(help.into()),
            position: rule.position,
            code,
        }
    }

    /// Two files of a framework hold a rule with the same id.
    pub(super) fn duplicate(rule: &str, file: &str) -> Self {
        let mut problem = Self::new(format!("`{file}` has a rule `{rule}`, which another file has too"))
            .with_help("give each rule an `@id` of its own".to_owned());
        problem.rule = Some(rule.to_owned());
        problem
    }

    /// A time zone that nothing is known of.
    pub(super) fn time_zone(zone: &str) -> Self {
        Self::new(format!("there is no time zone `{zone}`")).with_help(
            "write one of the IANA database in `limits.timeZone`, such as `Europe/London`".to_owned(),
        )
    }

    /// A framework whose gate permits nothing: silence is a no.
    pub(super) fn no_gate_permit() -> Self {
        Self::new("no rule permits `activateAgreement`, so that no agreement can be in force").with_help(
            "write a rule with `@tier(\"Gate\")`: `permit (principal, action == \
             Concordat::Action::\"activateAgreement\", resource);`"
                .to_owned(),
        )
    }

    /// A framework under which an agreement permits nothing.
    pub(super) fn no_agreement_permit() -> Self {
        Self::new("no rule permits what an agreement lists, so that no agreement can open anything").with_help(
            "write a rule with `@tier(\"Agreement\")` that permits the listed recipients, products and actions"
                .to_owned(),
        )
    }

    /// An annotation of a national rule that does not fit.
    pub(super) fn annotation(rule: &Rule, message: &str, help: &str) -> Self {
        let id = rule.policy.id();
        Self::lint(Code::PolicyAnnotation, rule, format!("rule `{id}` {message}"), help)
    }

    /// `exceptable` names something that no exception can lift.
    pub(super) fn exceptable(rule: &str, message: &str) -> Self {
        let mut problem = Self::new(format!("`exceptable` names `{rule}`, {message}"))
            .with_help("name rules of this framework that an exception may lift".to_owned());
        problem.rule = Some(rule.to_owned());
        problem
    }

    /// The same problem, with the file of a framework that it is in.
    pub(super) fn in_file(mut self, file: &str) -> Self {
        let place = self.position.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        self.message = format!("`{file}{place}`: {}", self.message);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: &str) -> String {
        format!(
            "@id(\"x\") @reason(\"y\")\nforbid (principal, action in Concordat::Action::\"useData\", resource)\n\
             when {{ {condition} }};"
        )
    }

    fn problems(text: &str) -> Vec<PolicyProblem> {
        load(text, |_| Vec::new()).err().unwrap_or_default()
    }

    /// Every text is answered with a problem that says what would work, and nothing ends the process.
    fn is_refused(text: &str, message: &str) {
        let found = problems(text);
        let first = found.first().map(|problem| problem.message.as_str()).unwrap_or_default();
        assert!(first.contains(message), "`{first}` is not `{message}`");
        assert!(found[0].help.is_some(), "{first}");
    }

    #[test]
    fn what_is_within_bounds_is_read() {
        assert_eq!(problems(&rule("context.breakGlass")), []);
        let terms = vec!["context.breakGlass"; 100].join(" && ");
        assert_eq!(problems(&rule(&terms)), []);
        let brackets =
            format!("{}context.breakGlass{}", "(".repeat(MAX_DEPTH - 1), ")".repeat(MAX_DEPTH - 1));
        assert_eq!(problems(&rule(&brackets)), []);
    }

    #[test]
    fn a_text_is_at_most_64_kib_long() {
        let text = rule("context.breakGlass");
        let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
        assert_eq!(problems(&padded(MAX_BYTES)), []);
        is_refused(&padded(MAX_BYTES + 1), "the text is 65537 bytes long");
    }

    #[test]
    fn depth_and_length_are_bounded_before_anything_is_parsed() {
        is_refused(&rule(&format!("{}true{}", "(".repeat(200), ")".repeat(200))), "nested more deeply");
        is_refused(&rule(&format!("{}1{} == 1", "[".repeat(200), "]".repeat(200))), "nested more deeply");
        is_refused(&"(".repeat(60_000), "nested more deeply");
        is_refused(&rule(&vec!["context.breakGlass"; 500].join(" && ")), "longer");
        is_refused(&rule(&vec!["context.breakGlass"; 500].join(" || ")), "longer");
        let ifs = "if true then true else ".repeat(2_000);
        is_refused(&rule(&format!("{ifs} true")), "longer");
        is_refused(&rule(&format!("{}true", "!".repeat(4_000))), "longer");
        is_refused(&rule(&format!("context{}", "[\"a\"]".repeat(4_000))), "longer");
        is_refused(&rule(&format!("context{}", ".a".repeat(4_000))), "longer");
        is_refused(&rule(&format!("1{} == 1", " + 1".repeat(4_000))), "longer");
    }

    #[test]
    fn four_thousand_nested_ifs_are_an_error() {
        let ifs = "if a then b else ".repeat(4_000);
        let text = rule(&format!("{ifs} c"));
        assert!(!problems(&text).is_empty());
    }

    #[test]
    fn a_string_over_several_lines_hides_nothing() {
        // the second quote opens a string for whoever reads line by line, and ends one for Cedar
        let deep = format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000));
        is_refused(&rule(&format!("context.purpose == \"a\nb\" && {deep}")), "nested more deeply");
        is_refused(&rule(&format!("context.purpose == \"// \\\"\n\" && {deep}")), "nested more deeply");
        let long = vec!["context.breakGlass"; 2_000].join(" && ");
        is_refused(&rule(&format!("context.purpose == \"a\nb\" && {long}")), "longer");
        // and what is in a string is no bracket
        let text = rule(&format!("context.purpose == \"{}\n{}\"", "(".repeat(50), "[".repeat(50)));
        assert_eq!(problems(&text), []);
    }

    #[test]
    fn long_names_and_strange_characters_are_errors_and_nothing_worse() {
        for condition in [
            format!("principal in {}\"x\"", "A::".repeat(15_000)),
            format!("context.purpose == \"{}", "x".repeat(1_000)),
            "context.purpose == \u{0}".to_owned(),
            "context.\u{202e}purpose == \"x\"".to_owned(),
            "\u{feff}".to_owned(),
            String::new(),
            format!("{} 1", "- ".repeat(300)),
            format!("{}.contains(1)", ["[1"; 1].join("")),
        ] {
            assert!(
                !problems(&rule(&condition)).is_empty(),
                "{}",
                condition.chars().take(60).collect::<String>()
            );
        }
    }

    #[test]
    fn a_mistake_is_told_once_by_the_rules_own_id() {
        let found = problems(&rule("context.purpos == \"x\""));
        assert_eq!(
            found,
            [PolicyProblem {
                rule: Some("x".to_owned()),
                message: "attribute `purpos` in context not found".to_owned(),
                help: Some("did you mean `purpose`?".to_owned()),
                position: Some((3, 8)),
                code: Code::PolicyText,
            }]
        );
        let found = problems(&rule("context.purpose == 3"));
        assert!(!format!("{found:?}").contains("policy0"), "{found:?}");
        // what follows from an unknown name is not reported beside it
        let found = problems(
            "@id(\"x\") @reason(\"y\") forbid (principal, action == Concordat::Action::\"read\", resource);",
        );
        let messages: Vec<&str> = found.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages, ["unrecognized action `Concordat::Action::\"read\"`"]);
    }

    #[test]
    fn a_rule_about_every_action_is_told_to_name_those_that_are_asked_about() {
        let found = problems(
            "@id(\"x\") @reason(\"y\") forbid (principal, action, resource) when { context.breakGlass };",
        );
        let [problem] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            problem.message,
            "attribute `breakGlass` in context not found, as the rule is about `activateAgreement` too"
        );
        assert!(problem.help.as_deref().unwrap().contains("Concordat::Action::\"useData\""), "{problem:?}");
    }

    #[test]
    fn a_rule_without_an_id_goes_by_its_place_in_the_text() {
        let found = problems("forbid (principal, action, resource);");
        let messages: Vec<&str> = found.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages, ["rule 1 has no `@id`", "rule 1 has no `@reason`"]);
        // a text of blanks is an empty one
        let blank = problems("@id(\"  \") @reason(\"\u{3164}\") forbid (principal, action, resource);");
        assert!(blank.iter().map(|problem| &problem.message).eq(messages), "{blank:?}");
    }

    #[test]
    fn a_problem_says_where_its_rule_begins() {
        let text = "// a ; b\n@id(\"a\") @reason(\"; \n ;\")\nforbid (principal, action, resource);\n\n  @id(\"b\")\n\
                    forbid (principal, action, resource);";
        let found = problems(text);
        let places: Vec<_> = found.iter().filter(|it| it.code == Code::PolicyAnnotation).collect();
        assert_eq!(places.len(), 1, "{found:?}");
        assert_eq!((places[0].rule.as_deref(), places[0].position), (Some("b"), Some((6, 3))));
    }
}
