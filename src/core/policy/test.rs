//! Policy tests: a question, and whether the answer is the expected one.

use crate::api::{AccessAnswer, Expectation, PolicyTestCase};
use crate::core::judge::Judgement;

/// How a test went.
#[derive(Clone, Debug, PartialEq)]
pub struct TestOutcome {
    pub passed: bool,
    pub answer: AccessAnswer,
    /// Such as "`tier` is `Ceiling`, expected `Floor`".
    pub mismatches: Vec<String>,
}

/// Runs a test on a judgement, which has to be made at the test's moment.
pub fn run_test(judgement: &Judgement, test: &PolicyTestCase) -> TestOutcome {
    compare(judgement.decide(&test.request).answer, &test.expect)
}

/// Holds an answer to what was expected of it.
pub(super) fn compare(answer: AccessAnswer, expected: &Expectation) -> TestOutcome {
    let Expectation { decision, tier, rule, agreement, fires: _ } = expected;
    let mut mismatches = Vec::new();
    let mut hold = |name: &str, expected: Option<String>, seen: String| {
        if let Some(expected) = expected
            && expected != seen
        {
            mismatches.push(format!("`{name}` is `{seen}`, expected `{expected}`"));
        }
    };
    let none = || "null".to_owned();
    hold("decision", decision.map(|decision| decision.to_string()), answer.decision.to_string());
    hold("tier", tier.map(|tier| tier.as_str().to_owned()), answer.context.tier.as_str().to_owned());
    hold("rule", rule.clone(), answer.context.rule.clone().unwrap_or_else(none));
    hold("agreement", agreement.clone(), answer.context.agreement.clone().unwrap_or_else(none));
    TestOutcome { passed: mismatches.is_empty(), answer, mismatches }
}
