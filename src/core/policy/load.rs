//! Policy text to policies: bounds before parsing, strict validation, warnings as errors.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::thread;

use cedar_policy::{Policy, PolicyId, PolicySet, ValidationMode, Validator};
use miette::Diagnostic;

use super::schema::schema;

/// The longest text that is parsed, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// The deepest nesting of brackets that is parsed. Two hundred overflow a stack of 2 MiB.
pub const MAX_DEPTH: usize = 32;
/// The most operators in one rule (`&&` counts twice): long chains parse, and then meet the evaluator's limit.
pub const MAX_OPERATORS_IN_A_RULE: usize = 400;
/// The stack that parsing and validating get, in bytes.
const STACK: usize = 64 * 1024 * 1024;

/// Why a text is not loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyProblem {
    /// The rule, where it is known.
    pub rule: Option<String>,
    pub message: String,
    pub help: Option<String>,
    /// Line and column in the text, from 1.
    pub position: Option<(u32, u32)>,
    /// Whether what is wrong is an annotation.
    pub annotation: bool,
}

impl PolicyProblem {
    fn new(message: impl Into<String>) -> Self {
        Self { rule: None, message: message.into(), help: None, position: None, annotation: false }
    }
}

/// Parses and strictly validates a text. Each policy's id becomes its `@id`.
///
/// All problems are returned, never only the first. Runs on a thread with a large stack, as parsing is recursive.
pub fn load(text: &str) -> Result<Vec<Policy>, Vec<PolicyProblem>> {
    bounds(text).map_err(|problem| vec![problem])?;
    thread::scope(|scope| {
        let worker =
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || parse_and_validate(text));
        match worker.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(vec![PolicyProblem::new("the policy parser gave up on this text")]),
            Err(error) => Err(vec![PolicyProblem::new(format!("no thread to parse on: {error}"))]),
        }
    })
}

/// Refuses what could exhaust the parser or the evaluator: size, depth of brackets, operators in one rule.
fn bounds(text: &str) -> Result<(), PolicyProblem> {
    if text.len() > MAX_BYTES {
        return Err(PolicyProblem::new(format!("the text is {} bytes long", text.len()))
            .with_help(format!("up to {MAX_BYTES} bytes are read: split it into several policies")));
    }
    let (mut depth, mut operators) = (0_usize, 0_usize);
    for (line, token) in tokens(text) {
        match token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            ";" => operators = 0,
            "&" | "|" | "+" | "-" | "*" | "." | "!" | "if" => operators += 1,
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
        problem.position = Some((line, 1));
        return Err(problem);
    }
    Ok(())
}

/// The words and signs of a text with their lines, strings and comments left out.
fn tokens(text: &str) -> impl Iterator<Item = (u32, &str)> {
    text.lines().zip(1_u32..).flat_map(|(line, number)| {
        let mut rest = line;
        std::iter::from_fn(move || {
            rest = rest.trim_start();
            if rest.is_empty() || rest.starts_with("//") {
                return None;
            }
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = match rest.chars().next()? {
                '"' => string_length(rest),
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            let (token, tail) = rest.split_at(length);
            rest = tail;
            Some((number, token))
        })
    })
}

/// The length of the string that a text starts with, its quotes included; Cedar's strings may not span lines here.
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

impl PolicyProblem {
    fn with_help(mut self, help: String) -> Self {
        self.help = Some(help);
        self
    }
}

fn parse_and_validate(text: &str) -> Result<Vec<Policy>, Vec<PolicyProblem>> {
    let set = PolicySet::from_str(text).map_err(|errors| {
        errors.iter().map(|error| from_diagnostic(error, text, None)).collect::<Vec<_>>()
    })?;
    let mut problems = Vec::new();
    if set.num_of_templates() > 0 {
        problems.push(
            PolicyProblem::new("templates cannot be loaded")
                .with_help("name the principal and the resource".into()),
        );
    }
    // ids as the parser gives them are `policy0`, `policy1`, …: the annotation is what people know
    let mut ids: BTreeMap<PolicyId, String> = BTreeMap::new();
    let mut policies: Vec<Policy> = Vec::new();
    let mut parsed: Vec<&Policy> = set.policies().collect();
    parsed.sort_by_key(|policy| super::rule_sort_key(policy.id().as_ref()));
    for policy in parsed {
        let id = match policy.annotation("id") {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => {
                let mut problem = PolicyProblem::new(format!("rule {} has no `@id`", policies.len() + 1))
                    .with_help("write `@id(\"…\")` above it, a name that stays".into());
                problem.annotation = true;
                problems.push(problem);
                policy.id().to_string()
            }
        };
        if policy.annotation("reason").is_none_or(str::is_empty) {
            let mut problem = PolicyProblem::new(format!("rule `{id}` has no `@reason`"))
                .with_help("write `@reason(\"…\")` above it, in plain English".into());
            (problem.rule, problem.annotation) = (Some(id.clone()), true);
            problems.push(problem);
        }
        if ids.values().any(|other| *other == id) {
            let mut problem = PolicyProblem::new(format!("two rules have the id `{id}`"))
                .with_help("give each rule an `@id` of its own".into());
            (problem.rule, problem.annotation) = (Some(id.clone()), true);
            problems.push(problem);
        }
        ids.insert(policy.id().clone(), id.clone());
        policies.push(policy.new_id(PolicyId::new(&id)));
    }
    let result = Validator::new(schema().clone()).validate(&set, ValidationMode::Strict);
    let rule = |id: &PolicyId| ids.get(id).cloned();
    for error in result.validation_errors() {
        problems.push(from_diagnostic(error, text, rule(error.policy_id())));
    }
    // "policy is impossible" and the like are only warnings to Cedar; a rule that does nothing is a mistake here
    for warning in result.validation_warnings() {
        problems.push(from_diagnostic(warning, text, rule(warning.policy_id())));
    }
    if problems.is_empty() { Ok(policies) } else { Err(problems) }
}

fn from_diagnostic(error: &impl Diagnostic, text: &str, rule: Option<String>) -> PolicyProblem {
    let position =
        error.labels().and_then(|mut labels| labels.next()).and_then(|label| position(text, label.offset()));
    PolicyProblem {
        rule,
        message: error.to_string(),
        help: error.help().map(|help| help.to_string()),
        position,
        annotation: false,
    }
}

/// Line and column of a byte offset, from 1, the column in characters.
fn position(text: &str, offset: usize) -> Option<(u32, u32)> {
    let before = text.get(..offset)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next()?.chars().count() + 1;
    Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
}

impl PolicyProblem {
    /// Two files of a framework hold a rule with the same id.
    pub(super) fn duplicate(rule: &str, file: &str) -> Self {
        let mut problem = Self::new(format!("`{file}` has a rule `{rule}`, which another file has too"))
            .with_help("give each rule an `@id` of its own".to_owned());
        problem.rule = Some(rule.to_owned());
        problem
    }

    /// A national rule without a fitting tier.
    pub(super) fn tier(rule: &str) -> Self {
        let mut problem = Self::new(format!("rule `{rule}` has no `@tier` that fits it")).with_help(
            "write `@tier(\"Gate\")`, `@tier(\"Ceiling\")` for a forbid, `@tier(\"Floor\")` or \
             `@tier(\"Agreement\")` for a permit"
                .to_owned(),
        );
        (problem.rule, problem.annotation) = (Some(rule.to_owned()), true);
        problem
    }

    /// The same problem, with the file of a framework that it is in.
    pub(super) fn in_file(mut self, file: &str) -> Self {
        let place = self.position.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        self.message = format!("`{file}{place}`: {}", self.message);
        self
    }
}
