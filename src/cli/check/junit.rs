//! Findings as JUnit XML, for CI systems that show tests: a suite for each file or object, a case for each finding.

use std::collections::{BTreeMap, BTreeSet};

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::output::unique;
use concordat_core::finding::{Finding, Origin};
use concordat_core::text::visible;

/// Errors fail, and with `strict` warnings do too. Nothing wrong is one case that passes, as a report without cases
/// is an error to some readers.
pub(super) fn document(findings: &[Finding], strict: bool, complete: bool) -> Result<String, SerializeError> {
    let mut suites: BTreeMap<String, Vec<TestCase>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for finding in findings {
        suites.entry(suite(&finding.origin)).or_default().push(case(finding, strict, &mut names));
    }
    if suites.is_empty() {
        let (name, status) = if complete {
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
        let mut suite = TestSuite::new(visible(&name));
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

/// A name of its own, in which a broken rule is named.
fn name(finding: &Finding, names: &mut BTreeSet<String>) -> String {
    const LONGEST: usize = 100;
    let Finding { code, message, origin, .. } = finding;
    let mut what: String = message.chars().take(LONGEST).collect();
    if what.len() < message.len() {
        what.push('…');
    }
    let place = Some(origin.to_string()).filter(|place| !place.is_empty());
    let place = place.map(|place| format!(" {place}")).unwrap_or_default();
    unique(&format!("{code}{place}: {what}"), names)
}

fn case(finding: &Finding, strict: bool, names: &mut BTreeSet<String>) -> TestCase {
    let Finding { code, severity: _, message, help, origin, missing: _ } = finding;
    let help = help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    let text = visible(&format!("{message}\nat {origin}{help}")).into_owned();
    let fails = finding.is_error() || strict;
    let status = if fails {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type(code.as_str()).set_message(visible(message)).set_description(text.as_str());
        status
    } else {
        TestCaseStatus::success()
    };
    let mut case = TestCase::new(name(finding, names), status);
    case.set_classname(code.reason());
    if !fails {
        case.set_system_out(format!("warning: {text}"));
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use concordat_core::finding::Code;

    #[test]
    fn no_two_cases_have_one_name_and_a_broken_rule_is_in_it() {
        let long = "x".repeat(200);
        let messages = ["GR-03: one", "GR-04: two", &format!("{long}1"), &format!("{long}2"), "GR-03: one"];
        let findings = messages.map(|message| Finding::new(Code::RuleBroken, Origin::default(), message));
        let mut names = BTreeSet::new();
        let all: Vec<String> = findings.iter().map(|finding| name(finding, &mut names)).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), messages.len(), "{all:?}");
        assert_eq!(all[0], "CON410: GR-03: one");
        assert_eq!(all[4], "CON410: GR-03: one (2)");
    }
}
