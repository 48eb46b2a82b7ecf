//! Which rules the tests reached, and which none ever made fire.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::output::Printer;
use crate::output::wrap::wrap;
use concordat_api::{AccessAnswer, FrameworkRef};
use concordat_core::evaluate::Judgement;
use concordat_core::policy::{Framework, rule_order};

/// How often tests reached a rule.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Reached {
    /// It fired, perhaps among others.
    fired: usize,
    /// It is the one that the answer names.
    decided: usize,
    /// It fired and no other rule did.
    alone: usize,
}

/// A rule and who wrote it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RuleCoverage<'a> {
    /// The framework; none for a rule of a place.
    framework: Option<&'a str>,
    rule: &'a str,
    #[serde(flatten)]
    reached: Reached,
}

/// Rules and how many tests reached each. The rules of the agreement gate are not among them: no request meets them.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// By framework.
    national: BTreeMap<String, BTreeMap<String, Reached>>,
    local: BTreeMap<String, Reached>,
}

impl Coverage {
    /// Takes up the rules that a judgement knows: those of frameworks that agreements name, and the local ones.
    pub(super) fn know(&mut self, judgement: &Judgement) {
        let model = &judgement.model;
        for agreement in model.agreements.values() {
            let reference: &FrameworkRef = &agreement.spec.framework;
            if let Some(framework) = model.frameworks.get(reference) {
                self.national.entry(reference.to_string()).or_insert_with(|| rules(framework));
            }
        }
        for rule in model.policies.values().flat_map(|policy| &policy.rules) {
            self.local.entry(rule.id.clone()).or_default();
        }
    }

    /// Takes up the answer to a test that passed. One that failed shows nothing of the rules that answered it.
    pub(super) fn take(&mut self, judgement: &Judgement, answer: &AccessAnswer, fired: &BTreeSet<String>) {
        let context = &answer.context;
        let framework = context
            .agreement
            .as_deref()
            .and_then(|agreement| agreement.split_once('/'))
            .and_then(|(namespace, name)| {
                let mut agreements = judgement.model.agreements.iter();
                agreements.find(|(at, _)| at.namespace == namespace && at.name == name)
            })
            .map(|(_, agreement)| agreement.spec.framework.to_string());
        for rule in &context.rules {
            let national =
                framework.as_ref().and_then(|framework| self.national.get_mut(framework)?.get_mut(rule));
            if let Some(reached) = national.or_else(|| self.local.get_mut(rule)) {
                reached.fired += 1;
                reached.decided += usize::from(context.rule.as_ref() == Some(rule));
                reached.alone += usize::from(context.rules.len() == 1);
            }
        }
        // a local rule that matches where another one decides has been reached all the same
        for rule in fired.iter().filter(|rule| !context.rules.contains(rule)) {
            if let Some(reached) = self.local.get_mut(rule) {
                reached.fired += 1;
            }
        }
    }

    /// Every rule, the national ones first, in natural order.
    pub(super) fn rules(&self) -> Vec<RuleCoverage<'_>> {
        let mut all = Vec::new();
        for (framework, rules) in &self.national {
            all.extend(listed(Some(framework), rules));
        }
        all.extend(listed(None, &self.local));
        all
    }

    /// How many rules some test made fire, of how many.
    pub(super) fn share(&self) -> (usize, usize) {
        let rules = self.rules();
        (rules.iter().filter(|rule| rule.reached.fired > 0).count(), rules.len())
    }

    /// One line on what decided, and one on what never did.
    pub(super) fn summary(&self, printer: &mut Printer) {
        let (width, paint) = (printer.width(), printer.stdout_paint());
        let decided = |rule: &RuleCoverage<'_>| rule.reached.decided;
        let mut rules = self.rules();
        rules.sort_by(|a, b| rule_order(a.rule, b.rule));
        let text: Vec<String> = rules
            .iter()
            .filter(|rule| decided(rule) > 0)
            .map(|rule| format!("{} ({})", rule.rule, decided(rule)))
            .collect();
        if !text.is_empty() {
            printer.stdout(wrap(&format!("rules that decided a test: {}", text.join(", ")), width, 2));
        }
        for (framework, rules) in &self.national {
            let never: Vec<&str> = listed(Some(framework), rules)
                .into_iter()
                .filter(|rule| decided(rule) == 0)
                .map(|rule| rule.rule)
                .collect();
            let text = if never.is_empty() {
                format!("every rule of {framework} decided a test")
            } else {
                let (count, all) = (never.len(), rules.len());
                format!("rules of {framework} that decided none ({count} of {all}): {}", never.join(", "))
            };
            printer.stdout(paint.dim(wrap(&text, width, 2)));
        }
    }

    /// Every rule with its figures.
    pub(super) fn table(&self, printer: &mut Printer) {
        let paint = printer.stdout_paint();
        let rules = self.rules();
        let longest = rules.iter().map(|rule| rule.rule.len()).max().unwrap_or_default();
        let mut owner = None;
        for RuleCoverage { framework, rule, reached: Reached { fired, decided: _, alone } } in rules {
            if owner != Some(framework) {
                owner = Some(framework);
                printer.stdout("");
                printer.stdout(framework.map_or_else(
                    || "rules of places".to_owned(),
                    |framework| format!("rules of {framework} that requests meet"),
                ));
            }
            let padding = " ".repeat(longest.saturating_sub(rule.len()));
            let tests = if fired == 1 { "test" } else { "tests" };
            let text = match (fired, alone) {
                (0, _) => paint.yellow("no test"),
                (_, 0) => format!("fired in {fired} {tests}, never alone"),
                (_, _) => format!("fired in {fired} {tests}, alone in {alone}"),
            };
            printer.stdout(format!("  {rule}{padding}  {text}"));
        }
        let (reached, all) = self.share();
        printer.stdout("");
        printer.stdout(format!("{reached} of {all} rules fired in a test"));
    }
}

fn listed<'a>(framework: Option<&'a str>, rules: &'a BTreeMap<String, Reached>) -> Vec<RuleCoverage<'a>> {
    let mut all: Vec<RuleCoverage<'a>> =
        rules.iter().map(|(rule, reached)| RuleCoverage { framework, rule, reached: *reached }).collect();
    all.sort_by(|a, b| rule_order(a.rule, b.rule));
    all
}

/// The rules that a request can meet: guardrails, floor and agreement permits, but not the agreement gate.
fn rules(framework: &Framework) -> BTreeMap<String, Reached> {
    let policies = framework.national.policies().chain(&framework.agreement);
    policies.map(|policy| (policy.id().to_string(), Reached::default())).collect()
}
