//! `concordat test`: policy tests, and which rules they cover.

mod coverage;
mod junit;

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Exit;
use super::arguments::{Cluster, Input, Moment};
use super::explain::ways;
use super::load;
use super::output::wrap::wrap;
use super::output::{Printer, count};
use concordat_api::{AccessAnswer, AnswerContext, Expectation, ObjectRef, PolicyTestCase};
use concordat_core::evaluate::Judgement;
use concordat_core::finding::{Code, Finding, ObjectKey};
use concordat_core::policy::{Assessments, Signing, TestOutcome, assess, run_own_test, run_test};
use concordat_core::snapshot::{Snapshot, Sourced, TestFile};
use concordat_core::text::in_one_line;
use coverage::Coverage;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) input: Input,

    #[command(flatten)]
    cluster: Cluster,

    #[command(flatten)]
    at: Moment,

    /// Lists every rule that requests can meet, and how many tests made it fire.
    #[arg(long)]
    coverage: bool,

    /// Fails unless at least this share of the rules fired in a test.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    require_coverage: Option<u8>,

    /// How to show the outcome.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Human,
    /// For scripts: the counts, what failed, and every rule with its figures.
    Json,
    /// JUnit XML, for CI systems that show tests.
    Junit,
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
    let Arguments { input, cluster, at, coverage: listed, require_coverage, output } = arguments;
    let Some(mut loaded) = load::load_to_judge(input, cluster, printer) else {
        return Exit::Unknown;
    };
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
            coverage.know(judgement);
            if outcome.passed {
                coverage.take(judgement, &outcome.answer, &outcome.fired);
                tally.passed += 1;
            } else {
                tally.failed += 1;
                failures.push((file, index, case, outcome));
            }
        }
    }
    let judgement = judgements.at(at);
    coverage.know(judgement);
    for outcome in own_outcomes(judgement) {
        coverage.take(judgement, &outcome.answer, &outcome.fired);
    }
    drop(progress);
    let own = own_tests(&loaded.snapshot.policies, judgement, &mut tally);
    let human = *output == Format::Human;
    if human {
        for (file, index, case, outcome) in &failures {
            show(file, *index, case, outcome, printer);
        }
        for outcome in &own.outcomes {
            outcome.show(printer);
        }
    }
    let Tally { passed, failed, not_run } = tally;
    let total = passed + failed + not_run;
    if total == 0 {
        // whoever reads the report finds one, and in it what kept tests from being read
        match output {
            Format::Human => {}
            Format::Junit => {
                if let Ok(text) = junit::document(&loaded.snapshot, &failures, &own, &loaded.findings) {
                    printer.stdout(text.trim_end());
                }
            }
            Format::Json => printer.stdout_json(&json!({
                "passed": 0, "failed": 0, "notRun": 0, "failures": [], "findings": findings(&loaded.findings),
            })),
        }
        loaded.report_errors(&[], printer);
        let help = "write them as `kind: PolicyTest`, or into a LocalPolicy's `spec.tests`";
        printer.error("there are no policy tests", Some(help));
        return if loaded.findings.iter().any(Finding::is_error) { Exit::No } else { Exit::Unknown };
    }
    let (reached, all) = coverage.share();
    // rounded down, so that 100 means every rule
    let percent = (reached * 100).checked_div(all).unwrap_or(100);
    if human {
        let paint = printer.stdout_paint();
        let mut line = paint.green(format!("{passed} passed"));
        if failed > 0 {
            line.push_str(&format!(", {}", paint.red(format!("{failed} failed"))));
        }
        if not_run > 0 {
            line.push_str(&format!(", {}", paint.yellow(format!("{not_run} not run"))));
        }
        let own = if own.count > 0 {
            format!(", {} of them local policies' own", own.count)
        } else {
            String::new()
        };
        printer.stdout(format!("{line} of {}{own}", count(total, "test")));
        if *listed {
            coverage.table(printer);
        } else {
            coverage.summary(printer);
        }
    } else if *output == Format::Junit {
        match junit::document(&loaded.snapshot, &failures, &own, &loaded.findings) {
            Ok(text) => printer.stdout(text.trim_end()),
            Err(error) => {
                printer.error(format!("the tests cannot be written as XML: {error}"), None);
                return Exit::Unknown;
            }
        }
    } else {
        let failures: Vec<Value> = failures
            .iter()
            .map(|(file, index, case, outcome)| {
                let origin = file.source.origin(None, &format!("spec.tests[{index}]"));
                json!({
                    "test": case.name, "origin": origin, "mismatches": outcome.mismatches,
                    "showsNothing": outcome.shows_nothing, "fired": outcome.fired, "answer": outcome.answer,
                })
            })
            .chain(own.outcomes.iter().map(OwnOutcome::json))
            .collect();
        let answer = json!({
            "passed": passed, "failed": failed, "notRun": not_run, "failures": failures,
            "findings": findings(&loaded.findings),
            "coverage": { "fired": reached, "rules": all, "percent": percent, "each": coverage.rules() },
        });
        printer.stdout_json(&answer);
    }

    let broken = loaded.findings.iter().any(Finding::is_error);
    loaded.report_errors(&[], printer);
    let short = require_coverage.filter(|wanted| percent < usize::from(*wanted));
    if let Some(wanted) = short {
        printer.error(
            format!("{percent} percent of the rules fired in a test, and {wanted} are required"),
            Some("`--coverage` lists the rules that no test made fire"),
        );
    }
    if failed > 0 || not_run > 0 || broken || short.is_some() { Exit::No } else { Exit::Yes }
}

/// The errors of files, which may keep tests from being read.
fn findings(all: &[Finding]) -> Vec<&Finding> {
    all.iter().filter(|finding| finding.is_error()).collect()
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
    let paint = printer.stdout_paint();
    let TestOutcome { answer, shows_nothing, fired, .. } = outcome;
    let AnswerContext { tier: _, rule: _, rules: _, agreement: _, reason, near_miss } = &answer.context;
    let origin = file.source.origin(None, &format!("spec.tests[{index}]"));
    let place = match (&origin.file, origin.line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        _ => file.name.clone(),
    };
    printer.stdout(format!(
        "{} {} {}",
        paint.red("FAIL"),
        paint.bold(in_one_line(&case.name)),
        paint.dim(format!("({place})"))
    ));
    let mut line = |name: &str, text: &str| {
        const COLUMN: usize = 15;
        let padding = " ".repeat(COLUMN.saturating_sub(5 + name.len()));
        let text = wrap(text, printer.width().saturating_sub(COLUMN), COLUMN);
        printer.stdout(format!("     {}{padding}{text}", paint.dim(name)));
    };
    for problem in shows_nothing {
        line("shows", &format!("nothing: {problem}"));
    }
    line("expected", &expected(&case.expect));
    line("got", &got(answer, fired, &case.expect));
    line("because", reason);
    if let Some(near_miss) = near_miss {
        for (name, text) in ways(near_miss) {
            line(name, &text);
        }
    }
    printer.stdout("");
}

/// What a test asks for, as far as it says.
fn expected(expect: &Expectation) -> String {
    let Expectation { decision, tier, rule, agreement, fires } = expect;
    let mut parts: Vec<String> = decision.iter().map(|decision| word(*decision).to_owned()).collect();
    parts.extend(tier.map(|tier| format!("tier {}", tier.as_str())));
    parts.extend(rule.as_ref().map(|rule| format!("rule {rule}")));
    parts.extend(agreement.as_ref().map(|agreement| format!("agreement {agreement}")));
    parts.extend(fires.as_ref().map(|rules| firing(rules.iter())));
    if parts.is_empty() { "nothing, so that it cannot fail".to_owned() } else { parts.join(", ") }
}

/// The answer, as far as the test asked.
fn got(answer: &AccessAnswer, fired: &BTreeSet<String>, expect: &Expectation) -> String {
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
    parts.extend(expect.fires.as_ref().map(|_| firing(fired.iter())));
    parts.join(", ")
}

/// The local rules that match.
fn firing<'a>(rules: impl Iterator<Item = &'a String>) -> String {
    let rules: Vec<&str> = rules.map(String::as_str).collect();
    if rules.is_empty() { "no local rule fires".to_owned() } else { format!("fires {}", rules.join(", ")) }
}

fn word(decision: bool) -> &'static str {
    if decision { "allowed" } else { "denied" }
}

/// The local policies' own tests.
#[derive(Debug, Default)]
struct Own {
    count: usize,
    /// What did not pass.
    outcomes: Vec<OwnOutcome>,
}

/// A test of a local policy that failed, or tests that were not run.
#[derive(Debug)]
enum OwnOutcome {
    Failed { policy: ObjectKey, finding: Box<Finding> },
    Skipped { policy: ObjectKey, why: String },
}

impl OwnOutcome {
    fn show(&self, printer: &mut Printer) {
        let paint = printer.stdout_paint();
        match self {
            Self::Skipped { policy, why } => {
                printer.stdout(format!(
                    "{} the tests of {}: {why}",
                    paint.yellow("SKIP"),
                    paint.bold(policy)
                ));
            }
            Self::Failed { policy, finding } => {
                let Finding { message, help, origin, .. } = finding.as_ref();
                let place = match (&origin.file, origin.line) {
                    (Some(file), Some(line)) => format!(" ({file}:{line})"),
                    _ => String::new(),
                };
                printer.stdout(format!("{} {}{}", paint.red("FAIL"), paint.bold(policy), paint.dim(place)));
                let width = printer.width().saturating_sub(5);
                printer.stdout(format!("     {}", wrap(message, width, 5)));
                if let Some(help) = help {
                    printer.stdout(format!("     {}", wrap(help, width, 5)));
                }
            }
        }
        printer.stdout("");
    }

    fn json(&self) -> Value {
        match self {
            Self::Skipped { policy, why } => json!({ "policy": policy, "notRun": why }),
            Self::Failed { policy, finding } => json!({ "policy": policy, "finding": finding }),
        }
    }
}

/// Counts local policies' own tests, which were run when the policies were loaded.
fn own_tests(
    policies: &[Sourced<concordat_api::LocalPolicy>],
    judgement: &Judgement,
    tally: &mut Tally,
) -> Own {
    let mut own = Own::default();
    for policy in policies {
        let key = policy.key();
        let reference =
            ObjectRef { namespace: key.namespace.clone().unwrap_or_default(), name: key.name.clone() };
        let tests = &policy.object.spec.tests;
        own.count += tests.len();
        let about = |finding: &&Finding| finding.origin.object.as_ref() == Some(&key);
        let failed: Vec<&Finding> = judgement
            .findings
            .iter()
            .filter(about)
            .filter(|finding| finding.code == Code::PolicyTestFailed)
            .collect();
        let ran =
            judgement.model.policies.get(&reference).is_some_and(|loaded| loaded.permits_disabled.is_none());
        if !ran && failed.is_empty() {
            tally.not_run += tests.len();
            let why = judgement
                .findings
                .iter()
                .find(about)
                .map_or_else(|| "it is not loaded".to_owned(), |finding| finding.message.clone());
            own.outcomes.push(OwnOutcome::Skipped { policy: key.clone(), why });
            continue;
        }
        tally.failed += failed.len();
        tally.passed += tests.len().saturating_sub(failed.len());
        own.outcomes.extend(
            failed.into_iter().map(|finding| OwnOutcome::Failed {
                policy: key.clone(),
                finding: Box::new(finding.clone()),
            }),
        );
    }
    own
}

/// The outcomes of the own tests of the policies that are loaded whole, put as they are when the policy is loaded.
fn own_outcomes(judgement: &Judgement) -> Vec<TestOutcome> {
    let mut moments: BTreeMap<Timestamp, Assessments> = BTreeMap::new();
    let mut outcomes = Vec::new();
    let model = &judgement.model;
    for policy in model.policies.values().filter(|policy| policy.permits_disabled.is_none()) {
        for case in &policy.tests {
            let at = case.at.unwrap_or(judgement.at);
            let store = &judgement.assessments.store;
            let assessments = moments.entry(at).or_insert_with(|| assess(model, store, at, Signing::Assumed));
            outcomes.push(run_own_test(model, policy, assessments, case, at));
        }
    }
    outcomes
}
