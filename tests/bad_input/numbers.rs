//! NHS numbers, made as the tests run from the rule of the check digit, as no file may hold one.

use std::collections::BTreeSet;

use concordat_core::finding::Code;
use concordat_core::text::holds_nhs_number;
use concordat_core::validate::shape;
use serde_json::Value;

use super::world::World;
use super::{at, faults};
use crate::admission_cases;

/// Numbers of the range that is kept for tests: nine digits, and the check digit by weights of 10 to 2, modulus 11.
pub fn numbers() -> impl Iterator<Item = String> {
    (0..).step_by(7919).filter_map(|serial: u32| {
        let body = format!("999{serial:06}");
        let sum: u32 =
            body.bytes().zip((2..=10).rev()).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum();
        match 11 - sum % 11 {
            10 => None,
            11 => Some(body + "0"),
            check => Some(format!("{body}{check}")),
        }
    })
}

/// A number as people write it.
fn written(number: &str) -> Vec<String> {
    let (a, b, c) = (&number[..3], &number[3..6], &number[6..]);
    let grouped =
        [" ", "-", ".", "/", "_", "  ", " - ", "\t", "\n", "\u{a0}", "\u{2009}", "\u{2013}", "\u{2011}"];
    let mut written = vec![number.to_owned(), format!("NHS no. {number}, seen"), format!("({number})")];
    written.extend(grouped.map(|gap| format!("{a}{gap}{b}{gap}{c}")));
    written.push(format!("{a}\u{200b}{b}\u{2060}{c}"));
    written.push(number.chars().map(|c| char::from_u32(u32::from(c) - 0x30 + 0xff10).unwrap()).collect());
    written
}

/// Calls `each` with a copy of an object for each of its texts, that text replaced, and its path.
fn each_text(object: &Value, new: &str, each: &mut impl FnMut(String, Value)) {
    fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::String(_) => found.push(path.to_owned()),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, it)| paths(it, &format!("{path}/{index}"), found));
            }
            Value::Object(fields) => fields.iter().for_each(|(key, it)| {
                paths(it, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = Vec::new();
    for part in ["metadata", "spec"] {
        paths(&object[part], &format!("/{part}"), &mut found);
    }
    for path in found {
        let mut object = object.clone();
        *object.pointer_mut(&path).unwrap() = Value::String(new.to_owned());
        each(path, object);
    }
}

fn found_in(kind: &str, object: &Value) -> BTreeSet<String> {
    let problems = shape::problems(kind, object);
    for problem in &problems {
        assert!(!holds_nhs_number(problem.help.as_deref().unwrap_or_default()), "{problem:?}");
    }
    problems.into_iter().filter(|it| it.code == Code::NhsNumber).map(|it| it.field).collect()
}

#[test]
fn a_number_is_found_in_every_text_of_every_kind() {
    let number = numbers().next().unwrap();
    let mut seen = 0;
    for cases in admission_cases::all() {
        let mut object = cases.admitted().pop().unwrap();
        object["metadata"]["labels"] = serde_json::json!({ "team": "bins", "uid": "a" });
        object["metadata"]["annotations"] = serde_json::json!({ "note": "b", "digest": "c" });
        each_text(&object, &number, &mut |path, object| {
            assert_eq!(found_in(cases.kind(), &object).len(), 1, "{} {path}", cases.kind());
            seen += 1;
        });
    }
    assert!(seen > 200, "only {seen} texts");
}

#[test]
fn a_number_is_found_as_a_key_and_as_a_number() {
    let number = numbers().nth(3).unwrap();
    for part in ["labels", "annotations"] {
        let object = serde_json::json!({ "metadata": { "name": "a", part: { number.as_str(): "x" } } });
        assert_eq!(found_in("PlaceFootprint", &object).len(), 1, "{part}");
    }
    let object = serde_json::json!({ "spec": { "glossary": { number.as_str(): "x" } } });
    assert_eq!(found_in("PlaceFootprint", &object).len(), 1);
    let object = serde_json::json!({ "spec": { "population": { "value": number.parse::<u64>().unwrap() } } });
    assert_eq!(found_in("PlaceFootprint", &object).len(), 1);
}

#[test]
fn a_number_is_found_however_it_is_written() {
    for number in numbers().take(50) {
        for text in written(&number) {
            assert!(holds_nhs_number(&text), "{}", text.escape_unicode());
        }
        // with another check digit, or among other digits, it is none
        let wrong = (number[9..].parse::<u32>().unwrap() + 1) % 10;
        assert!(!holds_nhs_number(&format!("{}{wrong}", &number[..9])));
        assert!(!holds_nhs_number(&format!("1{number}")) && !holds_nhs_number(&format!("{number}a")));
    }
}

#[test]
fn a_number_in_a_file_is_told_with_its_place_and_never_repeated() {
    let number = numbers().nth(5).unwrap();
    let good = World::good();
    let before = good.seen(at());
    let agreement = "chorley/agreement.yaml";
    let title = "title: Assisted bin collections for proactive care";
    for (from, to, object) in [
        (title, format!("title: about {number}"), true),
        (title, format!("title: about {} {} {}", &number[..3], &number[3..6], &number[6..]), true),
        ("controllerModel: Independent", format!("controllerModel: '{number}'"), true),
        ("footprint: chorley", format!("footprint: '{number}'"), true),
        ("org: northvale-pcn, role: Recipient", format!("org: '{number}', role: Recipient"), true),
        ("name: frailty-register}", format!("name: a.{number}}}"), true),
        ("days: 90", format!("days: {number}"), true),
        (
            "  namespace: chorley-council\n",
            format!("  namespace: chorley-council\n  labels: {{'{number}': x}}\n"),
            true,
        ),
        ("spec:\n", format!("spec:\n  '{number}': x\n"), true),
        (title, format!("{title} # about {number}"), false),
        (title, format!("# about {number}\n  {title}"), false),
    ] {
        let mut world = good.clone();
        world.swap(agreement, &[(from.to_owned(), to.clone())]);
        let seen = world.seen(at());
        let found: Vec<_> = seen.findings.iter().filter(|it| it.code == Code::NhsNumber).collect();
        assert_eq!(found.len(), 1, "{to}: {:?}", seen.findings);
        assert!(found[0].is_error() && found[0].origin.object.is_some() == object, "{:?}", found[0]);
        let lines: Vec<&str> = world.text(agreement).lines().collect();
        let line = lines[usize::try_from(found[0].origin.line.unwrap()).unwrap() - 1];
        assert!(holds_nhs_number(line), "{line}");
        for finding in &seen.findings {
            let said = format!("{} {}", finding.message, finding.help.as_deref().unwrap_or_default());
            assert!(!holds_nhs_number(&said), "{said}");
            assert_eq!(faults(finding), [""; 0]);
        }
        // an object that holds one has no effect; one in a comment has to go, and no object has it
        let here = |access: &BTreeSet<String>| access.iter().filter(|it| it.contains("chorley")).count();
        assert_eq!(here(&seen.access), if object { 0 } else { here(&before.access) }, "{to}");
    }
}

#[test]
fn no_file_of_this_package_holds_one() {
    let folders = ["src", "tests", "examples", "policies", "crds", "charts", "docs", "benches"];
    let mut folders = folders.map(std::path::PathBuf::from).to_vec();
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                files += 1;
                // lock files hold digests of a machine, which are not grouped like this by anybody
                let line = text.lines().find(|line| holds_nhs_number(line));
                assert!(line.is_none(), "{}: {}", path.display(), line.unwrap_or_default());
            }
        }
    }
    assert!(files > 150, "only {files} files");
}
