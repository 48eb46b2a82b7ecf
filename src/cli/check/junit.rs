//! Findings as JUnit XML, for CI systems that show tests: a suite for each file or object, a case for each finding.

use std::collections::BTreeMap;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::core::finding::{Finding, Origin};

/// Errors fail, and with `strict` warnings do too. Nothing wrong is one case that passes, as a report without cases
/// is an error to some readers.
pub(super) fn document(findings: &[Finding], strict: bool, told: bool) -> Result<String, SerializeError> {
    let mut suites: BTreeMap<String, Vec<TestCase>> = BTreeMap::new();
    for finding in findings {
        suites.entry(suite(&finding.origin)).or_default().push(case(finding, strict));
    }
    if suites.is_empty() {
        let (name, status) = if told {
            ("nothing wrong", TestCaseStatus::success())
        } else {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message("there was nothing to judge");
            ("something to judge", status)
        };
        suites.insert("concordat check".to_owned(), vec![TestCase::new(name, status)]);
    }
    let mut report = Report::new("concordat check");
    report.add_test_suites(suites.into_iter().map(|(name, cases)| {
        let mut suite = TestSuite::new(name);
        suite.add_test_cases(cases);
        suite
    }));
    report.to_string()
}

fn suite(origin: &Origin) -> String {
    match (&origin.file, &origin.object) {
        (Some(file), _) => file.clone(),
        (None, Some(object)) => object.to_string(),
        (None, None) => "concordat check".to_owned(),
    }
}

fn case(finding: &Finding, strict: bool) -> TestCase {
    let Finding { code, severity: _, message, help, origin, missing: _ } = finding;
    let help = help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    let text = format!("{message}\nat {origin}{help}");
    let fails = finding.is_error() || strict;
    let status = if fails {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type(code.as_str()).set_message(message.as_str()).set_description(text.as_str());
        status
    } else {
        TestCaseStatus::success()
    };
    let mut case = TestCase::new(format!("{code} {origin}"), status);
    case.set_classname(code.reason());
    if !fails {
        case.set_system_out(format!("warning: {text}"));
    }
    case
}
