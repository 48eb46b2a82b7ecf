//! The command as a user runs it: exit code, answer and talk together, read in review as prose.
//!
//! Each test runs the binary in the package's folder, so that no path of a machine shows.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

use std::fmt::Write as _;
use std::fs;
use std::process::Output;

use assert_cmd::Command;

const AT: &str = "--at=2026-11-22T12:00:00Z";
const GOOD: &str = "tests/cli/good";

/// Runs the command on some standard input.
fn run_with(arguments: &[&str], stdin: &str) -> Output {
    Command::cargo_bin("concordat")
        .unwrap()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .args(arguments)
        .write_stdin(stdin)
        .output()
        .unwrap()
}

fn run(arguments: &[&str]) -> Output {
    run_with(arguments, "")
}

/// What a user sees.
fn shown(arguments: &[&str], output: &Output) -> String {
    let Output { status, stdout, stderr } = output;
    let mut text = format!("$ concordat {}\n", arguments.join(" "));
    let _ = writeln!(text, "exit: {}", status.code().unwrap_or(-1));
    for (name, bytes) in [("stdout", stdout), ("stderr", stderr)] {
        let _ = write!(text, "----- {name} -----\n{}", String::from_utf8(bytes.clone()).unwrap());
    }
    text
}

macro_rules! snapshot {
    ($text:expr) => {
        insta::with_settings!({ snapshot_path => "cli/snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($text)
        })
    };
}

/// A test of what a user sees, named for what it is about.
macro_rules! shows {
    ($($name:ident: [$($argument:expr),* $(,)?];)*) => {
        $(
            #[test]
            fn $name() {
                let arguments = [$($argument),*];
                snapshot!(shown(&arguments, &run(&arguments)));
            }
        )*
    };
}

shows! {
    check_finds_nothing_wrong_in_a_good_folder: ["check", GOOD, AT];
    check_shows_where_yaml_breaks: ["check", GOOD, "tests/cli/bad/bad-yaml.yaml", AT];
    check_shows_a_doubled_key: ["check", GOOD, "tests/cli/bad/duplicate-key.yaml", AT];
    check_shows_unknown_fields_and_what_was_meant: ["check", GOOD, "tests/cli/bad/unknown-field.yaml", AT];
    check_shows_kinds_versions_and_names_that_there_are_not: ["check", GOOD, "tests/cli/bad/other-kinds.yaml", AT];
    check_shows_references_that_lead_nowhere: ["check", GOOD, "tests/cli/bad/bad-reference.yaml", AT];
    check_says_of_a_broken_object_that_it_is_there: ["check", GOOD, "tests/cli/bad/broken-org.yaml", AT];
    check_shows_which_national_rules_refuse_an_agreement: ["check", GOOD, "tests/cli/bad/refused.yaml", AT];
    check_speaks_json: ["check", GOOD, "tests/cli/bad/duplicate-key.yaml", "--format=json", AT];
    check_of_a_path_that_is_not_there_cannot_tell: ["check", "tests/cli/nowhere", AT];
    check_of_nothing_of_ours_cannot_tell: ["check", "tests/cli/requests", AT];
    check_of_nothing_of_ours_speaks_json: ["check", "tests/cli/requests", "--format=json", AT];
    check_refuses_a_moment_that_is_none: ["check", GOOD, "--at=tomorrow"];

    plan_tells_what_opens: ["plan", GOOD, AT];
    plan_tells_who_has_to_sign: ["plan", "tests/cli/good/registry.yaml", "tests/cli/good/agreement.yaml", AT];
    plan_tells_of_an_agreement_to_come: ["plan", GOOD, "--at=2026-03-15"];
    plan_tells_of_an_agreement_that_has_ended: ["plan", GOOD, "--at=2027-03-01"];
    plan_goes_on_beside_a_broken_object: ["plan", GOOD, "tests/cli/bad/duplicate-key.yaml", AT];
    plan_of_a_folder_that_cannot_be_read_whole_cannot_tell: ["plan", GOOD, "tests/cli/bad/bad-yaml.yaml", AT];
    plan_speaks_yaml: ["plan", GOOD, "-o=yaml", AT];

    explain_says_why_a_request_is_allowed: ["explain", GOOD, "--request=tests/cli/requests/read.yaml", AT];
    explain_says_what_would_change_a_denial: ["explain", GOOD, "--request=tests/cli/requests/analyst.yaml", AT];
    explain_names_the_closest_agreement: ["explain", GOOD, "--request=tests/cli/requests/read.yaml", "--at=2027-03-01"];
    explain_speaks_json: ["explain", GOOD, "--request=tests/cli/requests/analyst.yaml", "-o=json", AT];
    explain_shows_what_is_wrong_with_a_request: ["explain", GOOD, "--request=tests/cli/requests/wrong.yaml", AT];
    explain_without_a_request_file_cannot_tell: ["explain", GOOD, "--request=tests/cli/requests/none.yaml", AT];

    policy_tests_are_counted: ["test", GOOD, "tests/cli/tests/pass.yaml", AT];
    policy_tests_show_which_rules_they_reached: ["test", GOOD, "tests/cli/tests/pass.yaml", "--coverage", AT];
    policy_tests_speak_json: ["test", GOOD, "tests/cli/tests", "-o=json", AT];
    policy_tests_that_reach_too_few_rules_fail_when_asked_to: ["test", GOOD, "tests/cli/tests/pass.yaml", "--require-coverage=50", AT];
    policy_tests_that_fail_say_why: ["test", GOOD, "tests/cli/tests", AT];
    policy_tests_that_are_not_there_tell_nothing: ["test", GOOD, AT];
    policy_tests_fail_where_an_object_could_not_be_read: ["test", GOOD, "tests/cli/tests/pass.yaml", "tests/cli/bad/duplicate-key.yaml", AT];

    sign_prints_a_signature: ["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party=millbeck-council", "--purposes=DirectCare", "--acting-role=siro", "--signed-on=2026-03-20"];
    sign_prints_a_withdrawal: ["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party=millbeck-council", "--withdraw", "--signed-on=2026-03-20"];
    sign_knows_the_agreement_that_was_meant: ["sign", GOOD, "--agreement=millbeck-practice/warm-meal", "--party=millbeck-council"];
    sign_knows_the_parties: ["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party=millbeck"];
    sign_knows_the_purposes: ["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party=millbeck-council", "--purposes=Planning"];
    sign_shows_what_could_not_be_read: ["sign", "tests/cli/bad/other-kinds.yaml", "--agreement=millbeck-practice/warm-meals", "--party=millbeck-council"];

    help_of_check_says_how: ["check", "--help"];
}

#[cfg(feature = "controller")]
shows! {
    help_says_what_there_is: ["--help"];
}

#[test]
fn strict_fails_on_warnings_and_only_strict() {
    let folder = tempfile::tempdir().unwrap();
    let old = fs::read_to_string(format!("{GOOD}/agreement.yaml")).unwrap().replace("days: 30", "days: 31");
    fs::write(folder.path().join("agreement.yaml"), old).unwrap();
    let changed = folder.path().to_str().unwrap();
    let arguments = ["check", "tests/cli/good/registry.yaml", "tests/cli/good/signatures.yaml", changed, AT];
    assert_eq!(run(&arguments).status.code(), Some(0), "a signature on other terms is a warning");
    assert_eq!(run(&[&arguments[..], &["--strict"]].concat()).status.code(), Some(1));
}

#[test]
fn manifests_and_requests_come_from_standard_input_too() {
    let whole: Vec<String> = ["registry", "agreement", "signatures"]
        .iter()
        .map(|name| fs::read_to_string(format!("{GOOD}/{name}.yaml")).unwrap())
        .collect();
    let output = run_with(&["check", "-", AT], &whole.join("---\n"));
    assert_eq!(output.status.code(), Some(0), "{}", shown(&[], &output));
    let request = fs::read_to_string("tests/cli/requests/read.yaml").unwrap();
    let output = run_with(&["explain", GOOD, "--request=-", AT], &request);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&[], &output));
}

#[test]
fn a_line_of_standard_input_is_shown() {
    let arguments = ["check", "-", AT];
    let text = fs::read_to_string("tests/cli/bad/duplicate-key.yaml").unwrap();
    snapshot!(shown(&arguments, &run_with(&arguments, &text)));
}

#[test]
fn json_and_yaml_plans_are_the_same_plan() {
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["plan", GOOD, AT, "-o=json"]).stdout).unwrap();
    let yaml = run(&["plan", GOOD, AT, "-o=yaml"]).stdout;
    let yaml: serde_json::Value = serde_saphyr::from_str(&String::from_utf8(yaml).unwrap()).unwrap();
    assert_eq!(json, yaml);
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["at", "cluster", "objects", "statuses", "waiting", "findings"]);
}

#[test]
fn a_printed_signature_is_read_back_and_opens_what_it_signs() {
    let folder = tempfile::tempdir().unwrap();
    for party in ["millbeck-practice", "millbeck-council"] {
        let output = run(&["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party", party]);
        fs::write(folder.path().join(format!("{party}.yaml")), output.stdout).unwrap();
    }
    let signatures = folder.path().to_str().unwrap();
    let unsigned = ["tests/cli/good/registry.yaml", "tests/cli/good/agreement.yaml"];
    let explain = |paths: &[&str]| {
        run(&[&["explain"][..], paths, &["--request=tests/cli/requests/read.yaml", AT]].concat())
            .status
            .code()
    };
    assert_eq!(explain(&unsigned), Some(1));
    assert_eq!(explain(&[&unsigned[..], &[signatures]].concat()), Some(0));
}

#[test]
fn definitions_are_written_checked_and_found_out_of_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(run(&["crds", "--check", path]).status.code(), Some(1));
    assert_eq!(run(&["crds", "--write", path]).status.code(), Some(0));
    assert_eq!(run(&["crds", "--check", path]).status.code(), Some(0));
    let file = folder.path().join("concordat.dev_partnerorgs.yaml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + "# changed\n").unwrap();
    let output = run(&["crds", "--check", path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "`concordat.dev_partnerorgs.yaml` is out of date\n"
    );
    assert_eq!(run(&["crds", "--check", &format!("{path}/none")]).status.code(), Some(2));
}

#[test]
fn the_examples_hold_together() {
    for folder in ["examples/s01-chorley-assisted-bins", "examples/s25-shared-care-record"] {
        for command in ["check", "test"] {
            let arguments = [command, folder, AT];
            let output = run(&arguments);
            assert_eq!(output.status.code(), Some(0), "{}", shown(&arguments, &output));
        }
    }
}

#[test]
fn colours_are_there_when_asked_for_and_only_then() {
    let escape = |arguments: &[&str]| run(arguments).stdout.contains(&0x1b);
    assert!(!escape(&["check", GOOD, AT]));
    assert!(escape(&["check", GOOD, AT, "--color=always"]));
}

#[test]
fn what_a_file_holds_does_not_reach_the_terminal_as_a_command() {
    let output = run_with(
        &["check", "-", AT, "--color=never"],
        "kind: X\u{202e}\napiVersion: concordat.dev/v1alpha1\n",
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("CON009"), "{text}");
    assert!(!text.contains('\u{202e}'), "{text}");
}
