//! Policy tests as JUnit XML: a suite for each file or local policy, a case for each test.

use std::collections::BTreeSet;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{Own, OwnOutcome, expected, got};
use crate::output::unique;
use concordat_api::PolicyTestCase;
use concordat_core::finding::Finding;
use concordat_core::policy::TestOutcome;
use concordat_core::snapshot::{Snapshot, TestFile};
use concordat_core::text::visible;

/// What did not pass, of a file: which test, and what became of it.
pub(super) type Failure<'a> = (&'a TestFile, usize, &'a PolicyTestCase, TestOutcome);

pub(super) fn document(
    snapshot: &Snapshot,
    failures: &[Failure<'_>],
    own: &Own,
    findings: &[Finding],
) -> Result<String, SerializeError> {
    let mut report = Report::new("concordat test");
    let mut names = BTreeSet::new();
    let mut suites = Vec::new();
    for file in &snapshot.tests {
        let name = file.source.file.clone().unwrap_or_else(|| file.name.clone());
        let mut suite = TestSuite::new(visible(&name));
        for (index, case) in file.spec.tests.iter().enumerate() {
            let failed = failures.iter().find(|(of, at, _, _)| std::ptr::eq(*of, file) && *at == index);
            let status = failed.map_or_else(TestCaseStatus::success, |(_, _, case, outcome)| {
                let wanted = expected(&case.expect);
                let answer = got(&outcome.answer, &outcome.fired, &case.expect);
                let text =
                    format!("expected: {wanted}\ngot: {answer}\nbecause: {}", outcome.answer.context.reason);
                failure(&format!("expected {wanted}, got {answer}"), &text)
            });
            let name = unique(&format!("{}: {}", file.name, case.name), &mut names);
            let mut case = TestCase::new(name, status);
            case.set_classname(visible(&file.name));
            suite.add_test_case(case);
        }
        suites.push(suite);
    }
    for policy in &snapshot.policies {
        let key = policy.key();
        let mut suite = TestSuite::new(visible(&key.to_string()));
        let about = |of: &&OwnOutcome| match of {
            OwnOutcome::Failed { policy, .. } | OwnOutcome::Skipped { policy, .. } => *policy == key,
        };
        for (index, case) in policy.object.spec.tests.iter().enumerate() {
            let field = format!("spec.tests[{index}]");
            let status = own.outcomes.iter().filter(about).find_map(|outcome| match outcome {
                OwnOutcome::Skipped { why, .. } => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(visible(why));
                    Some(status)
                }
                OwnOutcome::Failed { finding, .. } => {
                    let at = finding.origin.field.as_deref().unwrap_or_default();
                    let help = finding.help.as_deref().unwrap_or_default();
                    let is_this = at == field || at.starts_with(&format!("{field}."));
                    is_this.then(|| failure(&finding.message, &format!("{}\nhelp: {help}", finding.message)))
                }
            });
            let name = unique(&format!("{key}: {}", case.name), &mut names);
            let mut case = TestCase::new(name, status.unwrap_or_else(TestCaseStatus::success));
            case.set_classname("LocalPolicy");
            suite.add_test_case(case);
        }
        suites.push(suite);
    }
    // a file that cannot be read may hold tests, and they are not green
    let errors = findings.iter().filter(|finding| finding.is_error());
    let mut files = TestSuite::new("files");
    for finding in errors {
        let Finding { code, message, help, origin, .. } = finding;
        let place = origin.file.clone().unwrap_or_default();
        let name = unique(&format!("{place}: {code}"), &mut names);
        let text = format!("{message}\nhelp: {}", help.as_deref().unwrap_or_default());
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(visible(message)).set_description(visible(&text));
        let mut case = TestCase::new(name, status);
        case.set_classname("files");
        files.add_test_case(case);
    }
    if !files.test_cases.is_empty() {
        suites.push(files);
    }
    report.add_test_suites(suites);
    report.to_string()
}

fn failure(message: &str, text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(visible(message)).set_description(visible(text));
    status
}
