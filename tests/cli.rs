//! The command as a user runs it: exit code, answer and talk together, read in review as prose.
//!
//! Each test runs the binary in the package's folder, so that no path of a machine shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::Output;

use assert_cmd::Command;

#[path = "cli/outputs.rs"]
mod outputs;

const AT: &str = "--at=2026-11-22T12:00:00Z";
const GOOD: &str = "tests/cli/good";
const MEALS: &str = "--agreement=millbeck-practice/warm-meals";
const S01: &str = "examples/s01-chorley-assisted-bins";
const S25: &str = "examples/s25-shared-care-record";

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

    check_asks_that_what_has_been_replaced_says_so: [
        "check",
        "examples/s15-foundation-group/base",
        "examples/s15-foundation-group/trusts-sign",
        "--at=2026-11-28",
    ];
    explain_of_a_folder_of_requests_asks_for_one: ["explain", GOOD, "--request", "tests/cli/requests", AT];
    check_speaks_sarif: ["check", GOOD, "tests/cli/bad/refused.yaml", "--format=sarif", AT];
    check_speaks_junit: ["check", GOOD, "tests/cli/bad/refused.yaml", "tests/cli/bad/bad-yaml.yaml", "--format=junit", AT];
    check_speaks_github: ["check", GOOD, "tests/cli/bad/refused.yaml", "--format=github", AT];
    check_of_a_good_folder_speaks_junit: ["check", GOOD, "--format=junit", AT];
    check_of_a_good_folder_says_nothing_to_github: ["check", GOOD, "--format=github", AT];
    check_of_nothing_of_ours_speaks_sarif: ["check", "tests/cli/requests", "--format=sarif", AT];
    check_of_nothing_of_ours_speaks_junit: ["check", "tests/cli/requests", "--format=junit", AT];
    check_knows_the_format_that_was_meant: ["check", GOOD, "--format=jsn"];
    check_knows_the_cluster_that_was_meant: ["check", S01, "--cluster=nroth", AT];
    who_can_knows_the_cluster_that_was_meant: ["who-can", S01, "--cluster=nroth", AT];
    policy_tests_speak_junit: ["test", GOOD, "tests/cli/tests", "-o=junit", AT];

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

    explain_needs_a_request_or_an_agreement: ["explain", GOOD];
    explain_says_why_an_agreement_is_in_force: ["explain", GOOD, MEALS, AT];
    explain_says_who_has_to_sign_what: ["explain", "tests/cli/good/registry.yaml", "tests/cli/good/agreement.yaml", MEALS, AT];
    explain_says_that_an_agreement_starts_by_itself: ["explain", GOOD, MEALS, "--at=2026-03-15"];
    explain_says_that_an_agreement_has_ended: ["explain", GOOD, MEALS, "--at=2027-03-01"];
    explain_says_which_rules_refuse_an_agreement: ["explain", GOOD, "tests/cli/bad/refused.yaml", "--agreement=millbeck-practice/quick-meals", AT];
    explain_says_that_an_agreement_cannot_be_used: ["explain", GOOD, "tests/cli/bad/bad-reference.yaml", "--agreement=millbeck-practice/cold-meals", AT];
    explain_of_an_agreement_speaks_json: ["explain", "tests/cli/good/registry.yaml", "tests/cli/good/agreement.yaml", MEALS, "-o=json", AT];
    explain_knows_the_agreement_that_was_meant: ["explain", GOOD, "--agreement=millbeck-practice/warm-meal", AT];
    explain_says_who_keeps_paths_closed: ["explain", S25, "--agreement=west-yorkshire-icb/shared-care-record", AT];

    who_can_lists_what_is_open: ["who-can", GOOD, AT];
    who_can_of_a_whole_scenario: ["who-can", S25, AT];
    who_can_names_local_rules: ["who-can", S01, AT];
    who_can_takes_filters: ["who-can", S25, "--purpose=Planning", "--action=extract", AT];
    who_can_speaks_json: ["who-can", S01, "-o=json", AT];
    who_can_of_nothing_open_names_what_lists_it: ["who-can", GOOD, "--at=2026-03-15"];
    who_can_knows_the_product_that_was_meant: ["who-can", GOOD, "--product=millbeck-practice/home-visit", AT];
    who_can_knows_the_purpose_that_was_meant: ["who-can", GOOD, "--purpose=DirectCar", AT];
    who_can_knows_the_organisation_that_was_meant: ["who-can", GOOD, "--org=millbeck-counsel", AT];
    who_can_knows_the_function_that_was_meant: ["who-can", GOOD, "--function=meal", AT];
    who_can_knows_the_actions: ["who-can", GOOD, "--action=readRecords", AT];

    a_folder_that_is_not_there_cannot_be_planned: ["plan", "tests/cli/nowhere", AT];
    a_moment_without_an_offset_is_refused: ["plan", GOOD, "--at=2026-04-01T00:00:00"];
    a_flag_that_is_not_there_is_refused: ["plan", GOOD, "--formt=json"];
    a_command_that_is_not_there_is_refused: ["chekc"];
    man_knows_the_commands: ["man", "chekc"];

    policy_tests_are_counted: ["test", GOOD, "tests/cli/tests/pass.yaml", AT];
    policy_tests_show_which_rules_they_reached: ["test", GOOD, "tests/cli/tests/pass.yaml", "--coverage", AT];
    policy_tests_speak_json: ["test", GOOD, "tests/cli/tests", "-o=json", AT];
    policy_tests_that_reach_too_few_rules_fail_when_asked_to: ["test", GOOD, "tests/cli/tests/pass.yaml", "--require-coverage=50", AT];
    policy_tests_that_fail_say_why: ["test", GOOD, "tests/cli/tests", AT];
    policy_tests_that_are_not_there_tell_nothing: ["test", GOOD, AT];
    policy_tests_fail_where_an_object_could_not_be_read: ["test", GOOD, "tests/cli/tests/pass.yaml", "tests/cli/bad/duplicate-key.yaml", AT];

    sign_prints_a_signature: ["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party=millbeck-council", "--purposes=DirectCare", "--acting-role=siro", "--at=2026-03-20"];
    sign_prints_a_withdrawal: ["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party=millbeck-council", "--withdraw", "--at=2026-03-20"];
    sign_says_that_an_agreement_is_over: ["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party=millbeck-council", "--at=2035-03-20"];
    sign_knows_the_purpose_that_was_meant: ["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party=millbeck-council", "--purposes=DirectCar"];
    sign_knows_the_agreement_that_was_meant: ["sign", GOOD, "--agreement=millbeck-practice/warm-meal", "--party=millbeck-council"];
    sign_knows_the_parties: ["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party=millbeck"];
    sign_knows_the_purposes: ["sign", GOOD, "--agreement=millbeck-practice/warm-meals", "--party=millbeck-council", "--purposes=Planning"];
    sign_shows_what_could_not_be_read: ["sign", "tests/cli/bad/other-kinds.yaml", "--agreement=millbeck-practice/warm-meals", "--party=millbeck-council"];

    help_of_check_says_how: ["check", "--help"];
}

shows! {
    help_says_what_there_is: ["--help"];
    check_looks_at_files_or_at_a_cluster: ["check", GOOD, "--live"];
    plan_looks_at_files_or_at_a_cluster: ["plan", GOOD, "--context=north"];
    who_can_names_the_kubeconfig_that_is_not_there: ["who-can", "--kubeconfig=tests/cli/nowhere.yaml"];
    quiet_leaves_the_answer: ["plan", GOOD, "--quiet", AT];
    quiet_leaves_errors: ["who-can", S01, "--cluster=nroth", "--quiet", AT];
    check_of_a_cluster_needs_a_kubeconfig_that_is_there: ["check", "--live", "--kubeconfig=tests/cli/nowhere.yaml"];
    check_of_a_cluster_needs_a_kubeconfig_that_is_one: ["check", "--live", "--kubeconfig=tests/cli/bad/bad-yaml.yaml"];
    a_kubeconfig_without_a_cluster_is_refused: ["check", "--kubeconfig=x"];
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

/// The request as the design writes it out, every value of the context given.
#[test]
fn a_request_may_say_in_full_what_it_leaves_out() {
    let request = |purpose: &str| {
        format!(
            "subject:  {{type: Workload, id: north/northvale-pcn/care-team}}\n\
             action:   {{name: readRecord}}\n\
             resource: {{type: DataProduct, id: chorley-council/assisted-bin-collections}}\n\
             context:  {{purpose: {purpose}, identifiability: Identifiable, roles: [CareCoordinator], \
             legitimateRelationship: true, explicitConsent: false, optOutsApplied: false, minCellCount: 0, \
             caseReference: \"\", breakGlass: false, region: GB}}\n"
        )
    };
    let output = run_with(&["explain", S01, "--request=-", AT], &request("ProactiveCare"));
    assert_eq!(output.status.code(), Some(0), "{}", shown(&[], &output));
    // no purpose is answered, and denied
    let output = run_with(&["explain", S01, "--request=-", "-o=json", AT], &request("\"\""));
    assert_eq!(output.status.code(), Some(1), "{}", shown(&[], &output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["context"]["tier"], "None");
    assert!(answer["context"]["reason"].as_str().unwrap().contains("the purpose is left out"), "{answer}");
}

#[test]
fn a_purpose_on_the_command_line_does_not_take_the_path_for_another() {
    let arguments = [
        "sign",
        "--agreement=chorley-council/assisted-bins",
        "--party=northvale-pcn",
        "--purposes",
        "ProactiveCare",
        S01,
    ];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&arguments, &output));
}

/// `who-can`, `plan` and `explain --agreement` name the same level: what the ceiling leaves of the terms.
#[test]
fn a_plan_and_an_explanation_show_no_more_than_who_can_does() {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Level {
        product: String,
        purpose: String,
        actions: Vec<String>,
        max_identifiability: String,
    }
    let grants: serde_json::Value = answer(&["who-can", S01, "-o=json", AT]);
    let listed: Vec<Level> = serde_json::from_value(grants["grants"].clone()).unwrap();
    let bins = "--agreement=chorley-council/assisted-bins";
    let explained: serde_json::Value = answer(&["explain", S01, bins, "-o=json", AT]);
    let open: Vec<Level> = serde_json::from_value(explained["open"].clone()).unwrap();
    let told = |levels: &[Level]| -> std::collections::BTreeSet<String> {
        levels
            .iter()
            .map(|it| {
                let Level { product, purpose, actions, max_identifiability } = it;
                format!("{product} {purpose}: {}, at most {max_identifiability}", actions.join(", "))
            })
            .collect()
    };
    assert_eq!(told(&listed), told(&open));
    // NF-14b: a list of names is re-identified one by one, and not read
    let frailty = "northvale-pcn/frailty-register ProactiveCare: readRecord, at most Pseudonymised";
    assert!(told(&open).contains(frailty), "{:?}", told(&open));
    let plan = String::from_utf8(run(&["plan", S01, AT]).stdout).unwrap();
    let plan: String = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in listed {
        let Level { product: _, purpose, actions, max_identifiability } = line;
        let line = format!("{purpose}: {}, at most {max_identifiability}", actions.join(", "));
        assert!(plan.contains(&line), "no `{line}` in {plan}");
    }
}

/// A policy's own test is asked at its moment, at which an organisation that has ended since was there.
#[test]
fn the_end_of_one_organisation_takes_no_permit_from_another() {
    let base = "examples/s23-north-kensington/base";
    let folder = tempfile::tempdir().unwrap();
    let orgs = fs::read_to_string(format!("{base}/organisations.yaml")).unwrap();
    let (before, after) = orgs.split_once("  name: north-kensington-panel\n").unwrap();
    let after = after.replacen("  state: Active\n", "  state: Active\n  endsOn: 2026-11-25T00:00:00Z\n", 1);
    fs::write(
        folder.path().join("organisations.yaml"),
        format!("{before}  name: north-kensington-panel\n{after}"),
    )
    .unwrap();
    let rest = ["agreement.yaml", "local-policy.yaml", "places.yaml", "products.yaml", "signatures"];
    let rest = rest.map(|it| format!("{base}/{it}"));
    let paths = rest.iter().map(String::as_str).chain([folder.path().to_str().unwrap()]);
    let check = ["check"].into_iter().chain(paths).chain(["--at=2026-11-26", "--format=json"]);
    let answer: serde_json::Value = serde_json::from_slice(&run(&check.collect::<Vec<_>>()).stdout).unwrap();
    let told = answer["findings"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap());
    let told: Vec<&str> = told.filter(|code| code.starts_with("CON70")).collect();
    assert_eq!(told, [""; 0], "{answer:#}");
}

/// A line that ends a document cuts off the rest of an object: a withdrawal would be a signature, and kubectl refuses it.
#[test]
fn what_a_stray_line_cuts_off_an_object_is_not_taken_for_something_foreign() {
    let folder = tempfile::tempdir().unwrap();
    let (file, path) = (folder.path().join("northvale-pcn.yaml"), folder.path().to_str().unwrap());
    let agreement = "--agreement=chorley-council/assisted-bins";
    let signed = ["sign", S01, agreement, "--party=northvale-pcn", "--withdraw"];
    let withdrawal = String::from_utf8(run(&signed).stdout).unwrap();
    let theirs = format!("{S01}/signatures/chorley-council.yaml");
    let world: Vec<String> =
        ["agreement", "organisations", "places", "products"].map(|it| format!("{S01}/{it}.yaml")).into();
    for line in ["", "---\n", "...\n", "--- |\n", "--- # a part of its own\n"] {
        fs::write(&file, withdrawal.replace("  state:", &format!("{line}  state:"))).unwrap();
        let read: Vec<&str> = world.iter().map(String::as_str).chain([theirs.as_str(), path]).collect();
        let check = [vec!["check"], read.clone(), vec![AT]].concat();
        let request = ["--request", "examples/s01-chorley-assisted-bins/requests/read-bin-list.yaml", AT];
        let explain = [vec!["explain"], read, request.to_vec()].concat();
        assert_eq!(run(&check).status.code() == Some(0), line.is_empty(), "{line:?}");
        assert_ne!(run(&explain).status.code(), Some(0), "{line:?} opens what the withdrawal closes");
    }
}

/// The bins of Chorley, with these rules of the place in the place of its own.
fn chorley_with(cedar: &str) -> String {
    let mut texts = Vec::new();
    for folder in [S01.to_owned(), format!("{S01}/signatures")] {
        let files = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path());
        let files = files
            .filter(|it| it.extension().is_some_and(|it| it == "yaml") && !it.ends_with("local-policy.yaml"));
        texts.extend(files.map(|it| fs::read_to_string(it).unwrap()));
    }
    let test = serde_json::json!({
        "name": "nothing is sold", "at": "2026-11-22T09:00:00Z", "expect": { "decision": false },
        "request": {
            "subject": { "type": "OrgFunction", "id": "northvale-pcn/care-team" }, "action": { "name": "extract" },
            "resource": { "type": "DataProduct", "id": "northvale-pcn/frailty-register" },
            "context": { "purpose": "Marketing", "region": "GB" },
        },
    });
    let policy = serde_json::json!({
        "apiVersion": "concordat.dev/v1alpha1", "kind": "LocalPolicy",
        "metadata": { "namespace": "chorley-place", "name": "ours" },
        "spec": {
            "footprint": "chorley", "owner": "The board", "reason": "we want it so",
            "reviewBy": "2027-11-22T00:00:00Z", "cedar": cedar, "tests": [test],
        },
    });
    texts.push(policy.to_string());
    texts.join("\n---\n")
}

/// A rule of the place that denies whatever a request says keeps its path out of every list, and one that may let a request
/// through is named beside it.
#[test]
fn what_a_place_denies_whatever_is_asked_is_listed_by_nobody() {
    let bins = "chorley-council/assisted-bin-collections ProactiveCare";
    let frailty = "northvale-pcn/frailty-register ProactiveCare";
    let forbid = |resource: &str, condition: &str| {
        format!(
            "@id(\"no\") @reason(\"Not here\") forbid (principal, action in Concordat::Action::\"useData\", {resource}) {condition};"
        )
    };
    let the_bins = r#"resource == Concordat::DataProduct::"chorley-council/assisted-bin-collections""#;
    let cases = [
        ("cannot be read", "forbid (".to_owned(), vec![], "chorley-place/ours"),
        ("everything", forbid("resource", ""), vec![], "chorley-place/ours#no"),
        (
            "a name with a mark",
            forbid("resource", "").replace("@id(\"no\")", "@id(\"don't\")"),
            vec![],
            "chorley-place/ours#don't",
        ),
        ("one product", forbid(the_bins, ""), vec![frailty], "chorley-place/ours#no"),
        (
            "one purpose",
            forbid("resource", r#"when { context.purpose == "ProactiveCare" }"#),
            vec![],
            "chorley-place/ours#no",
        ),
        ("another", forbid("resource", r#"when { context.purpose == "Planning" }"#), vec![bins, frailty], ""),
        (
            "whoever lies in something",
            forbid("resource", "")
                .replace("principal,", r#"principal in Concordat::PartnerOrg::"northvale-pcn","#),
            vec![],
            "chorley-place/ours#no",
        ),
        (
            "some accounts",
            forbid("resource", r#"when { principal is Concordat::Workload }"#),
            vec![bins, frailty],
            "",
        ),
        ("some requests", forbid("resource", "unless { context.explicitConsent }"), vec![bins, frailty], ""),
    ];
    for (what, cedar, expected, denied_by) in cases {
        let world = chorley_with(&cedar);
        let output = run_with(&["who-can", "-", "-o=json", AT], &world);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let grants = answer["grants"].as_array().unwrap().iter();
        let listed: std::collections::BTreeSet<String> = grants
            .map(|it| format!("{} {}", it["product"].as_str().unwrap(), it["purpose"].as_str().unwrap()))
            .collect();
        assert_eq!(listed.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{what}");
        let denying = answer["deniedBy"].as_array().unwrap().iter().map(|it| it["rule"].as_str().unwrap());
        assert_eq!(denying.collect::<Vec<_>>().join(" "), denied_by, "{what}");

        let plan = String::from_utf8(run_with(&["plan", "-", AT], &world).stdout).unwrap();
        let plan = plan.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            plan.contains(&format!("nothing, because of {denied_by}: ")),
            !denied_by.is_empty(),
            "{what}: {plan}"
        );
        let human = run_with(&["who-can", "-", AT], &world);
        let told = String::from_utf8(human.stderr).unwrap();
        let is_told = told.contains("local rules deny some of what the terms open");
        assert_eq!(is_told && told.contains(denied_by), !denied_by.is_empty(), "{what}: {told}");
    }
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
fn check_finds_what_a_plan_finds_in_every_view_of_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(GOOD).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        // two clusters, and no gateway between them
        let text = text
            .replace(
                "{namespace: millbeck-practice, podSelector",
                "{cluster: south, namespace: millbeck-practice, podSelector",
            )
            .replace(
                "{namespace: millbeck-council, podSelector",
                "{cluster: north, namespace: millbeck-council, podSelector",
            )
            .replace("  endpoint:\n", "  cluster: south\n  endpoint:\n");
        fs::write(folder.path().join(path.file_name().unwrap()), text).unwrap();
    }
    let folder = folder.path().to_str().unwrap();
    let found = |command: &str, cluster: &str| -> BTreeSet<String> {
        let output = run(&[&[command, folder, AT, "-o=json"][..], &[cluster]].concat());
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = json["findings"].as_array().unwrap();
        let told = findings.iter().map(|it| format!("{} {}", it["code"], it["message"]));
        told.filter(|it| !it.contains("CON441")).collect()
    };
    let mut gateways = BTreeSet::new();
    for cluster in ["--cluster=north", "--cluster=south", "--quiet"] {
        let checked = found("check", cluster);
        assert_eq!(checked, found("plan", cluster), "{cluster}");
        gateways.extend(checked.into_iter().filter(|it| it.contains("CON207")));
    }
    assert_eq!(gateways.len(), 2, "the traffic goes out here and comes in there: {gateways:?}");
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

/// The fields that the design names, in the shapes that scripts rely on: each has to be there, and nothing renamed.
mod shapes {
    #![allow(dead_code, reason = "that a field is there is what is tested")]

    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    pub struct Check {
        pub findings: Vec<Finding>,
    }

    #[derive(Debug, Deserialize)]
    pub struct Finding {
        pub code: String,
        pub severity: String,
        pub message: String,
        #[serde(deserialize_with = "Option::deserialize")]
        pub help: Option<String>,
        pub origin: Origin,
    }

    /// Fields that may be null have to be there all the same.
    #[derive(Debug, Deserialize)]
    pub struct Origin {
        #[serde(deserialize_with = "Option::deserialize")]
        pub file: Option<String>,
        #[serde(deserialize_with = "Option::deserialize")]
        pub line: Option<u32>,
        #[serde(deserialize_with = "Option::deserialize")]
        pub column: Option<u32>,
        #[serde(deserialize_with = "Option::deserialize")]
        pub object: Option<Object>,
        #[serde(deserialize_with = "Option::deserialize")]
        pub field: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    pub struct Object {
        pub kind: String,
        #[serde(deserialize_with = "Option::deserialize")]
        pub namespace: Option<String>,
        pub name: String,
    }

    #[derive(Debug, Deserialize)]
    pub struct WhoCan {
        pub grants: Vec<Grant>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Grant {
        pub org: String,
        pub function: String,
        pub product: String,
        pub purpose: String,
        pub actions: Vec<String>,
        pub max_identifiability: String,
        pub agreement: String,
        pub until: String,
    }

    #[derive(Debug, Deserialize)]
    pub struct Plan {
        pub at: String,
        #[serde(deserialize_with = "Option::deserialize")]
        pub cluster: Option<String>,
        pub objects: Vec<serde_json::Value>,
        pub statuses: Vec<Status>,
        pub waiting: Vec<Waiting>,
        pub findings: Vec<Finding>,
    }

    #[derive(Debug, Deserialize)]
    pub struct Status {
        pub kind: String,
        #[serde(deserialize_with = "Option::deserialize")]
        pub namespace: Option<String>,
        pub name: String,
        pub status: serde_json::Value,
    }

    #[derive(Debug, Deserialize)]
    pub struct Waiting {
        pub object: Object,
        pub r#for: String,
        pub reason: String,
    }

    #[derive(Debug, Deserialize)]
    pub struct Answer {
        pub decision: bool,
        pub context: Context,
        pub candidates: Vec<Candidate>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Context {
        pub tier: String,
        #[serde(deserialize_with = "Option::deserialize")]
        pub rule: Option<String>,
        #[serde(deserialize_with = "Option::deserialize")]
        pub agreement: Option<String>,
        pub reason: String,
        #[serde(deserialize_with = "Option::deserialize")]
        pub near_miss: Option<serde_json::Value>,
    }

    #[derive(Debug, Deserialize)]
    pub struct Candidate {
        pub agreement: String,
        pub tier: String,
        #[serde(deserialize_with = "Option::deserialize")]
        pub rule: Option<String>,
    }
}

fn answer<T: serde::de::DeserializeOwned>(arguments: &[&str]) -> T {
    let output = run(arguments);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}", shown(arguments, &output)))
}

#[test]
fn json_has_the_fields_that_scripts_rely_on() {
    let shapes::Check { findings } = answer(&[
        "check",
        GOOD,
        "tests/cli/bad/refused.yaml",
        "tests/cli/bad/bad-yaml.yaml",
        "--format=json",
        AT,
    ]);
    let refused = findings.iter().find(|it| it.code == "CON410").unwrap();
    assert_eq!(refused.severity, "Error");
    assert!(refused.message.starts_with("NF-") && refused.help.is_some());
    let shapes::Origin { file, line, column, object, field } = &refused.origin;
    let object = object.as_ref().unwrap();
    assert_eq!(
        (file.as_deref(), object.kind.as_str(), object.namespace.as_deref(), object.name.as_str()),
        (
            Some("tests/cli/bad/refused.yaml"),
            "DataSharingAgreement",
            Some("millbeck-practice"),
            "quick-meals"
        )
    );
    assert!(line.is_some() && column.is_some() && field.is_some());

    let shapes::WhoCan { grants } = answer(&["who-can", GOOD, "-o=json", AT]);
    let [shapes::Grant { org, function, product, purpose, actions, max_identifiability, agreement, until }] =
        grants.as_slice()
    else {
        panic!("{grants:?}");
    };
    assert_eq!((org.as_str(), function.as_str()), ("millbeck-council", "meals"));
    assert_eq!((product.as_str(), purpose.as_str()), ("millbeck-practice/home-visits", "DirectCare"));
    assert_eq!(
        (actions.as_slice(), max_identifiability.as_str()),
        (&["readRecord".to_owned()][..], "Identifiable")
    );
    assert_eq!(
        (agreement.as_str(), until.as_str()),
        ("millbeck-practice/warm-meals", "2027-03-01T00:00:00Z")
    );

    let unsigned = ["tests/cli/good/registry.yaml", "tests/cli/good/agreement.yaml"];
    let shapes::Plan { at, cluster, objects, statuses, waiting, findings } =
        answer(&["plan", unsigned[0], unsigned[1], "-o=json", AT]);
    assert_eq!((at.as_str(), cluster, objects.len(), findings.len()), ("2026-11-22T12:00:00Z", None, 2, 0));
    assert!(statuses.iter().any(|it| it.kind == "DataSharingAgreement"
        && it.namespace.is_some()
        && it.name == "warm-meals"
        && it.status["phase"] == "AwaitingSignatures"));
    let waited: Vec<&str> = waiting.iter().map(|it| it.r#for.as_str()).collect();
    assert_eq!(waited, ["millbeck-council", "millbeck-practice"]);
    assert!(waiting.iter().all(|it| it.object.name == "warm-meals" && !it.reason.is_empty()));

    let shapes::Answer { decision, context, candidates } =
        answer(&["explain", GOOD, "--request=tests/cli/requests/analyst.yaml", "-o=json", AT]);
    assert!(!decision && !context.reason.is_empty());
    assert_eq!((context.tier.as_str(), context.rule), ("None", None));
    assert!(context.near_miss.is_some());
    assert_eq!(context.agreement.as_deref(), Some("millbeck-practice/warm-meals"));
    assert_eq!(
        candidates
            .iter()
            .map(|it| (it.agreement.as_str(), it.tier.as_str(), it.rule.as_deref()))
            .collect::<Vec<_>>(),
        [("millbeck-practice/warm-meals", "None", None)]
    );
}

/// `who-can` and the access gate are two ways through the same terms: what the one lists, the other allows to whoever
/// brings everything that rules ask for; and what is not listed is allowed to no one.
#[test]
fn who_can_lists_what_the_access_gate_allows_and_nothing_else() {
    use concordat_api::{AccessRequest, DataAction, Identifiability};
    use concordat_core::evaluate::Judgement;
    use concordat_core::policy::{Filter, who_can};

    let (mut allowed, mut denied) = (0, 0);
    for folder in [GOOD, S01, S25] {
        let (snapshot, findings, _) = concordat_source::files::read(&[folder.into()]);
        assert_eq!(findings, []);
        let judgement = Judgement::new(&snapshot, "2026-11-22T12:00:00Z".parse().unwrap());
        let listed = who_can(&judgement, &Filter::default()).unwrap().grants;
        assert!(!listed.is_empty(), "{folder}");
        let model = &judgement.model;
        let vocabulary = &model.frameworks.values().next().unwrap().spec.vocabulary;
        let functions =
            model.orgs.values().flat_map(|org| org.spec.functions.iter().map(move |it| (org, it)));
        for (org, function) in functions {
            for product in model.products.keys() {
                for purpose in &vocabulary.purposes {
                    for action in DataAction::ALL {
                        let found = listed.iter().find(|it| {
                            (it.org.as_str(), it.function.as_str())
                                == (org.name.as_str(), function.name.as_str())
                                && it.product == *product
                                && it.purpose == purpose.code
                                && it.actions.contains(&action)
                        });
                        let level = found.map_or(Identifiability::Pseudonymised, |it| it.max_identifiability);
                        let request: AccessRequest = serde_json::from_value(serde_json::json!({
                            "subject": {"type": "OrgFunction", "id": format!("{}/{}", org.name, function.name)},
                            "action": {"name": action.as_str()},
                            "resource": {"type": "DataProduct", "id": product.to_string()},
                            "context": {
                                "purpose": purpose.code, "identifiability": format!("{level:?}"),
                                "roles": vocabulary.roles, "legitimateRelationship": true, "explicitConsent": true,
                                "optOutsApplied": true, "minCellCount": 100, "caseReference": "CASE-1",
                                "breakGlass": false, "region": "GB",
                            },
                        }))
                        .unwrap();
                        let answer = judgement.decide(&request).answer;
                        assert_eq!(answer.decision, found.is_some(), "{folder}: {request:?} {answer:?}");
                        if answer.decision { allowed += 1 } else { denied += 1 }
                    }
                }
            }
        }
        for permission in listed {
            let then = Judgement::new(&snapshot, permission.until);
            let still = who_can(&then, &Filter::default()).unwrap().grants;
            let same = |it: &concordat_core::policy::Permission| {
                (&it.org, &it.function, &it.product, &it.purpose)
                    == (&permission.org, &permission.function, &permission.product, &permission.purpose)
            };
            assert!(!still.iter().any(same), "{permission:?} is over by then");
        }
    }
    assert!(allowed > 5 && denied > 100, "{allowed} {denied}");
}

#[test]
fn sarif_keeps_the_rules_of_its_standard() {
    let arguments = ["check", GOOD, "tests/cli/bad", "--format=sarif", AT];
    let log: serde_json::Value = answer(&arguments);
    assert_eq!(log["version"], "2.1.0");
    let [run] = log["runs"].as_array().unwrap().as_slice() else { panic!("one run") };
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for rule in rules {
        assert!(rule["shortDescription"]["text"].is_string() && rule["help"]["text"].is_string(), "{rule}");
    }
    let results = run["results"].as_array().unwrap();
    assert!(results.len() > 5);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()), "{result}");
        assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
        for location in result["locations"].as_array().into_iter().flatten() {
            let place = &location["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            assert!(uri.starts_with("tests/cli/"), "{uri} is relative");
            for number in place["region"].as_object().into_iter().flat_map(|region| region.values()) {
                assert!(number.as_u64().unwrap() >= 1);
            }
        }
    }
}

#[test]
fn strict_makes_warnings_fail_in_junit_too() {
    let folder = tempfile::tempdir().unwrap();
    let old = fs::read_to_string(format!("{GOOD}/agreement.yaml")).unwrap().replace("days: 30", "days: 31");
    fs::write(folder.path().join("agreement.yaml"), old).unwrap();
    let changed = folder.path().to_str().unwrap();
    let arguments = [
        "check",
        "tests/cli/good/registry.yaml",
        "tests/cli/good/signatures.yaml",
        changed,
        AT,
        "--format=junit",
    ];
    let text = |arguments: &[&str]| String::from_utf8(run(arguments).stdout).unwrap();
    assert!(!text(&arguments).contains("<failure"));
    assert!(text(&[&arguments[..], &["--strict"]].concat()).contains("<failure"));
}

#[test]
fn completions_and_manual_pages_speak_of_every_command() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        // a description that goes on in the next line stands further in
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let script = String::from_utf8(output.stdout).unwrap();
        for name in &commands {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", "--write", folder.path().to_str().unwrap()]).status.code(), Some(0));
    for name in &commands {
        let page = fs::read_to_string(folder.path().join(format!("concordat-{name}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains("SYNOPSIS"), "{page}");
        assert_eq!(String::from_utf8(run(&["man", name]).stdout).unwrap().trim_end(), page.trim_end());
    }
    assert!(fs::read_to_string(folder.path().join("concordat.1")).unwrap().contains("concordat"));
}

/// A server on this machine that answers every request the same, or never.
fn server(answer: Option<&'static str>) -> (tempfile::TempDir, String, String) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    fs::write(
        &file,
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \"http://127.0.0.1:{port}\"}}}}]\n\
             users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        ),
    )
    .unwrap();
    if let Some(answer) = answer {
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
                // without an answer the connection has to stay open
                open.push(stream);
            }
        });
    }
    (folder, file.to_str().unwrap().to_owned(), port)
}

/// What a user sees of a check of a cluster, without what differs from run to run.
fn check_cluster(answer: Option<&'static str>) -> String {
    let (_folder, kubeconfig, port) = server(answer);
    let flag = format!("--kubeconfig={kubeconfig}");
    let output = run(&["check", "--live", &flag, AT]);
    assert_eq!(output.status.code(), Some(2));
    shown(&["check", "--live", "--kubeconfig=FILE", AT], &output).replace(&port, "PORT")
}

#[test]
fn a_cluster_that_cannot_be_reached_cannot_be_told_of() {
    snapshot!(check_cluster(None));
}

#[test]
fn a_cluster_that_does_not_answer_is_given_up() {
    let start = std::time::Instant::now();
    let text = check_cluster(Some(""));
    assert!(start.elapsed() < std::time::Duration::from_secs(30));
    snapshot!(text);
}

/// Of a cluster that serves nothing of ours.
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 19\r\n\r\n404 page not found\n";

#[test]
fn a_cluster_without_the_definitions_is_told_what_it_lacks() {
    snapshot!(check_cluster(Some(NOT_FOUND)));
}

#[cfg(unix)]
#[test]
fn an_operator_that_can_read_nothing_ends_when_it_is_told_to() {
    use std::io::BufRead as _;
    let (_folder, kubeconfig, _port) = server(Some(NOT_FOUND));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_concordat"));
    command.args(["run", "--health-addr=127.0.0.1:0", "--kubeconfig", &kubeconfig]).env_remove("RUST_LOG");
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.next().is_some_and(|line| line.contains("starting")));
    // it tries, and waits for kinds that do not come
    std::thread::sleep(std::time::Duration::from_millis(500));
    let rest = std::thread::spawn(move || lines.collect::<Vec<_>>());
    let told = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(told.unwrap().success());
    let began = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > std::time::Duration::from_secs(10) {
            child.kill().unwrap();
            panic!("it still runs: {:?}", rest.join().unwrap());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");
}

/// Runs the command under another name, as kubectl runs a plugin.
#[cfg(unix)]
fn run_plugin(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-concordat");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_concordat"), &plugin).unwrap();
    std::process::Command::new(&plugin)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("HOME", "/nowhere")
        .args(arguments)
        .output()
        .unwrap()
}

#[cfg(unix)]
#[test]
fn as_a_plugin_of_kubectl_it_reads_the_current_context_unless_told_otherwise() {
    let plugin = |arguments: &[&str]| shown(arguments, &run_plugin(arguments));
    let (_folder, kubeconfig, port) = server(None);
    let flag = format!("--kubeconfig={kubeconfig}");
    let of_cluster = plugin(&["who-can", &flag, AT]);
    let of_cluster = of_cluster.replace(&kubeconfig, "FILE").replace(&port, "PORT");
    let of_files = plugin(&["plan", GOOD, "--quiet", AT]);
    snapshot!([of_cluster, of_files, plugin(&["plan", AT]), plugin(&["plan", "--at"])].join("\n"));
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
