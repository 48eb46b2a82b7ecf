//! `concordat test`: policy tests, and which rules they cover.

mod coverage;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Exit;
use super::arguments::{Moment, Paths};
use super::load;
use super::output::wrap::wrap;
use super::output::{Printer, count};
use crate::api::{AccessAnswer, AnswerContext, Expectation, NearMiss, ObjectRef, PolicyTestCase};
use crate::core::finding::{Code, Finding};
use crate::core::judge::Judgement;
use crate::core::policy::{TestOutcome, run_test};
use crate::core::snapshot::{Snapshot, Sourced, TestFile};
use coverage::Coverage;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    paths: Paths,

    #[command(flatten)]
    at: Moment,
}

/// How the tests went.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    /// Tests of local policies that are not loaded, or wait.
    not_run: usize,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    let Arguments { paths: Paths { paths }, at } = arguments;
    let mut loaded = load::load(paths, printer);
    if loaded.is_empty(paths, printer) {
        return Exit::Unknown;
    }
    let at = load::moment(*at, &loaded.snapshot, printer);
    let mut judgements = Judgements { snapshot: &loaded.snapshot, by_moment: BTreeMap::new() };
    let mut tally = Tally::default();
    let mut coverage = Coverage::default();

    let progress = printer.progress("testing");
    let mut failures = Vec::new();
    for file in &loaded.snapshot.tests {
        for (index, case) in file.spec.tests.iter().enumerate() {
            let judgement = judgements.at(case.at.unwrap_or(at));
            let outcome = run_test(judgement, case);
            coverage.take(judgement, &outcome);
            if outcome.passed {
                tally.passed += 1;
            } else {
                tally.failed += 1;
                failures.push((file, index, case, outcome));
            }
        }
    }
    drop(progress);
    for (file, index, case, outcome) in &failures {
        show(file, *index, case, outcome, printer);
    }

    let judgement = judgements.at(at);
    let own = own_tests(&loaded.snapshot.policies, judgement, &mut tally, printer);
    let Tally { passed, failed, not_run } = tally;
    let total = passed + failed + not_run;
    if total == 0 {
        loaded.talk_about(&[], printer);
        let help = "write them as `kind: PolicyTest`, or into a LocalPolicy's `spec.tests`";
        printer.error("there are no policy tests", Some(help));
        return if loaded.findings.iter().any(Finding::is_error) { Exit::No } else { Exit::Unknown };
    }
    let paint = printer.answer_paint();
    let mut line = paint.green(format!("{passed} passed"));
    if failed > 0 {
        line.push_str(&format!(", {}", paint.red(format!("{failed} failed"))));
    }
    if not_run > 0 {
        line.push_str(&format!(", {}", paint.yellow(format!("{not_run} not run"))));
    }
    let own = if own > 0 { format!(", {own} of them local policies' own") } else { String::new() };
    printer.answer(format!("{line} of {}{own}", count(total, "test")));
    coverage.show(printer);

    let broken = loaded.findings.iter().any(Finding::is_error);
    loaded.talk_about(&[], printer);
    if failed > 0 || not_run > 0 || broken { Exit::No } else { Exit::Yes }
}

/// One judgement for each moment that a test asks about.
struct Judgements<'snapshot> {
    snapshot: &'snapshot Snapshot,
    by_moment: BTreeMap<Timestamp, Judgement>,
}

impl Judgements<'_> {
    fn at(&mut self, moment: Timestamp) -> &Judgement {
        self.by_moment.entry(moment).or_insert_with(|| Judgement::new(self.snapshot, moment))
    }
}

fn show(file: &TestFile, index: usize, case: &PolicyTestCase, outcome: &TestOutcome, printer: &mut Printer) {
    let paint = printer.answer_paint();
    let TestOutcome { passed: _, answer, mismatches: _ } = outcome;
    let AnswerContext { tier: _, rule: _, rules: _, agreement: _, reason, near_miss } = &answer.context;
    let origin = file.source.origin(None, &format!("spec.tests[{index}]"));
    let place = match (&origin.file, origin.line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        _ => file.name.clone(),
    };
    printer.answer(format!(
        "{} {} {}",
        paint.red("FAIL"),
        paint.bold(&case.name),
        paint.dim(format!("({place})"))
    ));
    let mut line = |name: &str, text: &str| {
        const COLUMN: usize = 15;
        let padding = " ".repeat(COLUMN.saturating_sub(5 + name.len()));
        let text = wrap(text, printer.width().saturating_sub(COLUMN), COLUMN);
        printer.answer(format!("     {}{padding}{text}", paint.dim(name)));
    };
    line("expected", &expected(&case.expect));
    line("got", &got(answer, &case.expect));
    line("because", reason);
    if let Some(NearMiss { agreement: _, rule: _, clause, saw, wants, who }) = near_miss {
        if ![saw, wants].iter().all(|part| reason.contains(part.as_str())) {
            line("nearest", &format!("{clause} is {saw}, and has to be {wants}"));
        }
        line("up to", who);
    }
    printer.answer("");
}

/// What a test asks for, as far as it says.
fn expected(expect: &Expectation) -> String {
    let Expectation { decision, tier, rule, agreement } = expect;
    let mut parts = vec![word(*decision).to_owned()];
    parts.extend(tier.map(|tier| format!("tier {}", tier.as_str())));
    parts.extend(rule.as_ref().map(|rule| format!("rule {rule}")));
    parts.extend(agreement.as_ref().map(|agreement| format!("agreement {agreement}")));
    parts.join(", ")
}

/// The answer, as far as the test asked.
fn got(answer: &AccessAnswer, expect: &Expectation) -> String {
    let AccessAnswer { decision, context } = answer;
    let mut parts = vec![word(*decision).to_owned(), format!("tier {}", context.tier.as_str())];
    let named = |name: &str, value: &Option<String>| match value {
        Some(value) => format!("{name} {value}"),
        None => format!("no {name}"),
    };
    if expect.rule.is_some() || context.rule.is_some() {
        parts.push(named("rule", &context.rule));
    }
    if expect.agreement.is_some() {
        parts.push(named("agreement", &context.agreement));
    }
    parts.join(", ")
}

fn word(decision: bool) -> &'static str {
    if decision { "allowed" } else { "denied" }
}

/// Reports local policies' own tests, which were run when the policies were loaded, and counts them.
fn own_tests(
    policies: &[Sourced<crate::api::LocalPolicy>],
    judgement: &Judgement,
    tally: &mut Tally,
    printer: &mut Printer,
) -> usize {
    let paint = printer.answer_paint();
    let mut own = 0;
    for policy in policies {
        let key = policy.key();
        let reference =
            ObjectRef { namespace: key.namespace.clone().unwrap_or_default(), name: key.name.clone() };
        let tests = &policy.object.spec.tests;
        own += tests.len();
        let failed: Vec<&Finding> = judgement
            .findings
            .iter()
            .filter(|finding| {
                finding.code == Code::PolicyTestFailed && finding.origin.object.as_ref() == Some(&key)
            })
            .collect();
        let ran = judgement.model.policies.get(&reference).is_some_and(|loaded| loaded.held_back.is_none());
        if !ran && failed.is_empty() {
            tally.not_run += tests.len();
            let why = judgement
                .findings
                .iter()
                .find(|finding| finding.origin.object.as_ref() == Some(&key))
                .map_or_else(|| "it is not loaded".to_owned(), |finding| finding.message.clone());
            printer.answer(format!("{} the tests of {}: {why}", paint.yellow("SKIP"), paint.bold(&key)));
            printer.answer("");
            continue;
        }
        tally.failed += failed.len();
        tally.passed += tests.len().saturating_sub(failed.len());
        for Finding { message, help, origin, .. } in failed {
            let place = match (&origin.file, origin.line) {
                (Some(file), Some(line)) => format!(" ({file}:{line})"),
                _ => String::new(),
            };
            printer.answer(format!("{} {}{}", paint.red("FAIL"), paint.bold(&key), paint.dim(place)));
            let width = printer.width().saturating_sub(5);
            printer.answer(format!("     {}", wrap(message, width, 5)));
            if let Some(help) = help {
                printer.answer(format!("     {}", wrap(help, width, 5)));
            }
            printer.answer("");
        }
    }
    own
}
