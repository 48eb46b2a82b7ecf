//! What is written: nothing that acts in a terminal, and the shapes that scripts rely on.

use std::fs;

use super::{AT, GOOD, MEALS, S01, answer as answer_of, run, shown};

/// Cedar's strings have escapes of their own, so that a file of plain letters brings a character that acts in a
/// terminal. Whatever it is, no command writes it.
#[test]
fn what_acts_in_a_terminal_never_leaves_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let world = folder.path().to_str().unwrap();
    for name in ["registry", "agreement", "signatures"] {
        fs::copy(format!("{GOOD}/{name}.yaml"), folder.path().join(format!("{name}.yaml"))).unwrap();
    }
    let acts = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    // all in one text, as each run takes its time
    for escape in [r"\u{1b}[2K\u{1b}[32;1m\u{202e}\u{2066}x\r\u{9b}2J\u{200b}\u{7f}"] {
        let policy = format!(
            "apiVersion: concordat.dev/v1alpha1\nkind: LocalPolicy\nmetadata: {{name: acts, namespace: millbeck-practice}}\n\
             spec:\n  footprint: millbeck\n  owner: ig@millbeck.example\n  reason: a text that acts\n  \
             reviewBy: 2027-01-31T00:00:00Z\n  cedar: |\n    @id(\"acts{escape}\")\n    @reason(\"it acts{escape}allowed\")\n    \
             forbid (principal, action, resource) when {{ context.caseReference == \"{escape}\" }};\n    \
             permit (principal, action in [], resource) when {{ \"{escape}\" }};\n  \
             tests:\n    - name: one\n      at: 2026-11-22T12:00:00Z\n      request: {{subject: {{type: OrgFunction, id: a/b}}, action: {{name: readRecord}}, resource: {{type: DataProduct, id: a/b}}}}\n      expect: {{decision: false}}\n"
        );
        fs::write(folder.path().join("policy.yaml"), policy).unwrap();
        let raw = "apiVersion: concordat.dev/v1alpha1\nkind: PartnerOrg\nmetadata: {name: \"x\\e[2K\\u202ey\"}\nspec: {\"a\\u2067b\": \"\\x9b\"}\n";
        fs::write(folder.path().join("raw.yaml"), raw).unwrap();
        let request = "--request=tests/cli/requests/read.yaml";
        for arguments in [
            &["check", world, AT][..],
            &["check", world, AT, "-o=json"],
            &["check", world, AT, "-o=sarif"],
            &["check", world, AT, "-o=junit"],
            &["check", world, AT, "-o=github"],
            &["plan", world, AT],
            &["plan", world, AT, "-o=yaml"],
            &["plan", world, AT, "-o=json"],
            &["explain", world, request, AT],
            &["explain", world, request, AT, "-o=json"],
            &["who-can", world, AT],
            &["who-can", world, AT, "-o=json"],
            &["test", world, AT],
            &["test", world, AT, "-o=json"],
            &["test", world, AT, "-o=junit"],
            &["sign", world, MEALS, "--party=millbeck-council"],
        ] {
            let output = run(arguments);
            for bytes in [&output.stdout, &output.stderr] {
                let text = String::from_utf8(bytes.clone()).unwrap();
                assert!(!text.contains(acts), "{escape}: {}", shown(arguments, &output).escape_debug());
            }
            if arguments.contains(&"-o=json") || arguments.contains(&"-o=sarif") {
                serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
            }
            // with colours, only ours: none of them moves the cursor
            let output = run(&[arguments, &["--color=always"]].concat());
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            for part in text.split('\u{1b}').skip(1) {
                let colour = part.strip_prefix('[').and_then(|part| part.split_once('m'));
                let is_colour = |code: &str| code.chars().all(|c| c.is_ascii_digit() || c == ';');
                assert!(colour.is_some_and(|(code, _)| is_colour(code)), "{arguments:?}: {part:?}");
            }
            assert!(!text.replace('\u{1b}', "").contains(acts), "{arguments:?}: {}", text.escape_debug());
        }
    }
}

#[test]
fn the_answer_of_a_check_for_scripts_says_when_by_what_and_how_much() {
    let answer: serde_json::Value = answer_of(&["check", GOOD, "-o=json", AT]);
    assert_eq!(answer["at"], "2026-11-22T12:00:00Z");
    assert_eq!(
        answer["frameworks"],
        serde_json::json!([{ "name": "england", "version": "1.0.0", "builtIn": true }])
    );
    assert_eq!((&answer["counts"]["errors"], &answer["counts"]["warnings"]), (&0.into(), &0.into()));
    let grants: serde_json::Value = answer_of(&["who-can", S01, "-o=json", AT]);
    for grant in grants["grants"].as_array().unwrap() {
        assert!(!grant["workloads"].as_array().unwrap().is_empty(), "{grant}");
        assert!(grant["clusters"].is_array() && grant["serviceAccounts"].is_array(), "{grant}");
    }
}
