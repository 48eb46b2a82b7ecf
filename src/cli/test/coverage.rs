//! Which rules decided a test, and which national rules never did.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::output::Printer;
use crate::cli::output::wrap::wrap;
use crate::core::judge::Judgement;
use crate::core::policy::{Framework, TestOutcome, rule_order};

/// Rules and how many tests each decided.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    decided: BTreeMap<String, usize>,
    /// The rules of the access gate, of each framework that judged a test.
    national: BTreeMap<String, BTreeSet<String>>,
}

impl Coverage {
    /// Takes up a test. One that failed shows nothing of the rule that answered it.
    pub(super) fn take(&mut self, judgement: &Judgement, outcome: &TestOutcome) {
        for (reference, framework) in &judgement.model.frameworks {
            self.national.entry(reference.to_string()).or_insert_with(|| rules(framework));
        }
        if let (true, Some(rule)) = (outcome.passed, &outcome.answer.context.rule) {
            *self.decided.entry(rule.clone()).or_default() += 1;
        }
    }

    pub(super) fn show(&self, printer: &mut Printer) {
        let width = printer.width();
        let paint = printer.answer_paint();
        if !self.decided.is_empty() {
            let mut decided: Vec<(&String, &usize)> = self.decided.iter().collect();
            decided.sort_by(|(a, _), (b, _)| rule_order(a, b));
            let text: Vec<String> = decided.iter().map(|(rule, tests)| format!("{rule} ({tests})")).collect();
            printer.answer(wrap(&format!("rules that decided a test: {}", text.join(", ")), width, 2));
        }
        for (framework, rules) in &self.national {
            let mut never: Vec<&str> =
                rules.iter().map(String::as_str).filter(|rule| !self.decided.contains_key(*rule)).collect();
            never.sort_by(|a, b| rule_order(a, b));
            let text = if never.is_empty() {
                format!("every rule of {framework} decided a test")
            } else {
                format!(
                    "rules of {framework} that decided none ({} of {}): {}",
                    never.len(),
                    rules.len(),
                    never.join(", ")
                )
            };
            printer.answer(paint.dim(wrap(&text, width, 2)));
        }
    }
}

/// The rules that a request can meet: guardrails, floor and agreement permits, but not the agreement gate.
fn rules(framework: &Framework) -> BTreeSet<String> {
    framework.national.policies().chain(&framework.agreement).map(|policy| policy.id().to_string()).collect()
}
