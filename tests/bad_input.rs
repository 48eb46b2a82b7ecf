//! Bad input, whatever it is: it is refused, or warned of, in words that say where it is and what would work; and it
//! opens nothing, and breaks nothing beside it.
//!
//! `tests/bad_input/*.yaml` are changes to a good world, which is two examples side by side. What is said about them
//! is in the snapshots beside them, to be read as prose.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

#[path = "bad_input/clusters.rs"]
mod clusters;
#[path = "bad_input/mutations.rs"]
mod mutations;
#[path = "bad_input/numbers.rs"]
mod numbers;
#[path = "bad_input/texts.rs"]
mod texts;
#[path = "bad_input/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use concordat_core::finding::{Code, Finding};
use jiff::Timestamp;
use serde::Deserialize;
use world::{Seen, World};

/// A change to the good world, and what has to be said about it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    /// By file: what is written there, and what is put in its place, once.
    #[serde(default)]
    swap: BTreeMap<String, Vec<(String, String)>>,
    /// A file more.
    #[serde(default)]
    add: Option<String>,
    /// A file of the world, once more.
    #[serde(default)]
    copy: Option<String>,
    /// A file of the package, to be added.
    #[serde(default)]
    file: Option<String>,
    /// What differs in that file.
    #[serde(default)]
    rename: Vec<(String, String)>,
    #[serde(default)]
    at: Option<Timestamp>,
    /// Codes that have to be among the new findings.
    codes: Vec<String>,
    /// Whether the world elsewhere is rightly touched.
    #[serde(default)]
    elsewhere: bool,
    /// Why this may open more, where it may.
    #[serde(default)]
    opens_more: Option<String>,
}

impl Case {
    fn applied(&self, good: &World) -> World {
        let mut world = good.clone();
        for (file, swaps) in &self.swap {
            world.swap(file, swaps);
        }
        let more = match (&self.add, &self.copy, &self.file) {
            (Some(text), None, None) => Some(text.clone()),
            (None, Some(copy), None) => Some(good.text(copy).to_owned()),
            (None, None, Some(file)) => Some(std::fs::read_to_string(file).unwrap()),
            _ => None,
        };
        if let Some(text) = more {
            world.put("new.yaml", text);
            world.swap("new.yaml", &self.rename);
        }
        world
    }
}

fn cases(group: &str) -> Vec<Case> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/bad_input/{group}.yaml"));
    serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

const GROUPS: [&str; 10] = [
    "agreements",
    "frameworks",
    "identity",
    "organisations",
    "places",
    "policies",
    "products",
    "references",
    "rules",
    "signatures",
];

fn at() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().unwrap()
}

/// What is wrong with how a finding is told.
fn faults(finding: &Finding) -> Vec<String> {
    let Finding { code, message, help, origin, .. } = finding;
    let mut faults = Vec::new();
    let mut fault = |what: &str| faults.push(format!("{code} {what}: {origin} {message}"));
    if origin.file.is_none() {
        fault("names no file");
    }
    // a file that cannot be opened, or of which the whole is too much, has no line
    let whole_file = matches!(code, Code::UnreadableFile) || message.contains("is larger than");
    if !whole_file && (origin.line.is_none() || origin.column.is_none()) {
        fault("names no line");
    }
    // text that cannot be read, and comments, are no one's fields; a kind that is not known has no name to go by
    let text = matches!(
        code,
        Code::InvalidYaml
            | Code::TooLarge
            | Code::UnreadableFile
            | Code::DuplicateKey
            | Code::NhsNumber
            | Code::OtherMeaning
            | Code::WrappedObject
            | Code::Encrypted
            | Code::IgnoredManifest
            | Code::IgnorePattern
    ) || message.starts_with("kubectl reads");
    // nor is there a field for a rule about a name and a spec together
    if !text && *code != Code::ShapeRule && origin.field.is_none() {
        fault("names no field");
    }
    if !text && !matches!(code, Code::UnknownKind | Code::InvalidField) && origin.object.is_none() {
        fault("names no object");
    }
    match help {
        None => fault("helps no one"),
        Some(help) if help.trim().is_empty() || help.ends_with('.') => fault("has a help of the wrong form"),
        Some(_) => {}
    }
    let first = message.chars().next().unwrap_or(' ');
    // the id of a national rule is written in capitals
    let capital = first.is_uppercase() && *code != Code::RuleBroken;
    if capital || first.is_whitespace() || message.ends_with('.') {
        fault("has a message of the wrong form");
    }
    if ["Some(", "Ok(", "Err(", "src/", "serde", "ObjectRef", "BTreeMap"]
        .iter()
        .any(|rust| message.contains(rust))
    {
        fault("speaks Rust");
    }
    faults
}

/// What is found in one world and not in another.
fn new_findings<'s>(seen: &'s Seen, before: &Seen) -> Vec<&'s Finding> {
    seen.findings.iter().filter(|finding| !before.findings.contains(finding)).collect()
}

fn told(findings: &[&Finding]) -> String {
    let mut out = String::new();
    for Finding { code, severity, message, help, origin, .. } in findings {
        let severity = format!("{severity:?}").to_lowercase();
        let _ = writeln!(out, "  {severity} {code} {origin}\n      {message}");
        if let Some(help) = help {
            let _ = writeln!(out, "      help: {help}");
        }
    }
    out
}

/// Compares a world with bad input in it to the good one, and adds up what is wrong.
fn compared(
    name: &str,
    seen: &Seen,
    good: &Seen,
    elsewhere: bool,
    opens_more: bool,
    wrong: &mut Vec<String>,
) -> String {
    let findings = new_findings(seen, good);
    if findings.is_empty() {
        wrong.push(format!("{name}: nothing is said"));
    }
    for finding in &findings {
        wrong.extend(faults(finding).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    let more: Vec<&String> = seen.access.difference(&good.access).collect();
    if !more.is_empty() && !opens_more {
        wrong.push(format!("{name} opens more: {more:?}"));
    }
    if opens_more && more.is_empty() {
        wrong.push(format!("{name} is said to open more, and does not"));
    }
    // an object that cannot be read isolates nothing; one that is moved is isolated where it is
    if seen.isolation.len() < good.isolation.len() && !findings.iter().any(|finding| is_unread(finding)) {
        wrong.push(format!("{name} loses isolation: {:?}", seen.isolation));
    }
    let of = |seen: &Seen, place: &str| -> BTreeSet<String> {
        seen.access.iter().filter(|it| it.contains(place)).cloned().collect()
    };
    let (there, untouched) = (of(seen, "practice"), of(good, "practice"));
    if (there == untouched) == elsewhere {
        wrong.push(format!(
            "{name}: the world elsewhere is {}",
            if elsewhere { "untouched" } else { "touched" }
        ));
    }
    let here = of(seen, "chorley").len();
    let stays = match (here, of(good, "chorley").len()) {
        (0, _) => "nothing stays open here".to_owned(),
        (now, before) if now == before => "all stays open here".to_owned(),
        (now, before) => format!("{now} of {before} paths and permissions stay open here"),
    };
    let elsewhere = if there == untouched {
        "all"
    } else if there.is_empty() {
        "nothing"
    } else {
        "some"
    };
    format!("# {name}\n{}  {stays}, {elsewhere} elsewhere\n\n", told(&findings))
}

/// Whether a finding is the reason why an object did not get as far as the registry.
fn is_unread(finding: &Finding) -> bool {
    // nor as far as the cluster, whose API server would refuse the policy
    finding.is_error() && (finding.code <= Code::OperatorOwned || finding.code == Code::InvalidSelector)
}

macro_rules! snapshot {
    ($name:expr, $text:expr) => {
        insta::with_settings!({ snapshot_path => "bad_input/snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($name, $text)
        })
    };
}

fn check_group(group: &str) {
    let good = World::good();
    let mut before: BTreeMap<Timestamp, Seen> = BTreeMap::new();
    let (mut story, mut wrong) = (String::new(), Vec::new());
    for case in cases(group) {
        let at = case.at.unwrap_or_else(at);
        let good_seen = before.entry(at).or_insert_with(|| good.seen(at));
        let world = case.applied(&good);
        let terms = case.swap.keys().any(|file| file.contains("agreement") || file.contains("product"));
        let world = if terms { world.signed_as(good_seen, at) } else { world };
        let seen = world.seen(at);
        let codes: BTreeSet<&str> =
            new_findings(&seen, good_seen).iter().map(|it| it.code.as_str()).collect();
        let missing: Vec<&String> = case.codes.iter().filter(|code| !codes.contains(code.as_str())).collect();
        if !missing.is_empty() {
            wrong.push(format!("{}: {missing:?} is missing from {codes:?}", case.case));
        }
        story +=
            &compared(&case.case, &seen, good_seen, case.elsewhere, case.opens_more.is_some(), &mut wrong);
    }
    snapshot!(group, story);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! groups {
    ($($test:ident $group:literal;)*) => { $(#[test] fn $test() { check_group($group); })* };
}

groups! {
    names_that_lead_nowhere_are_told "references";
    agreements_that_contradict_themselves_are_told "agreements";
    agreements_that_the_rules_refuse_are_told "rules";
    signatures_that_prove_nothing_are_told "signatures";
    organisations_that_claim_what_is_anothers_are_told "organisations";
    places_that_cannot_be_are_told "places";
    products_that_say_too_little_are_told "products";
    frameworks_and_exceptions_that_cannot_be_are_told "frameworks";
    local_policies_that_cannot_be_are_told "policies";
    objects_that_do_not_say_what_they_are_are_told "identity";
}

#[test]
fn texts_that_no_file_of_cases_can_hold_are_told() {
    let good = World::good();
    let before = good.seen(at());
    let (mut story, mut wrong) = (String::new(), Vec::new());
    for (name, file, bytes) in texts::all() {
        let mut world = good.clone();
        world.put(file, bytes);
        story += &compared(name, &world.seen(at()), &before, false, false, &mut wrong);
    }
    snapshot!("texts", story);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each of these says something new of the same good world; what an earlier one said is not said again.
#[test]
fn what_no_file_can_hold_is_told() {
    let mut story = String::new();
    let mut before: Vec<Finding> = Vec::new();
    for (name, findings) in clusters::all() {
        let new: Vec<&Finding> = findings.iter().filter(|finding| !before.contains(finding)).collect();
        assert!(!new.is_empty(), "{name}: nothing is said");
        assert!(new.iter().all(|finding| finding.help.is_some()), "{name}: {new:?}");
        let _ = writeln!(story, "# {name}\n{}", told(&new));
        before.extend(findings);
    }
    snapshot!("clusters", story);
}

#[test]
fn there_are_many_of_them_and_each_has_a_name() {
    let files = std::fs::read_dir("tests/bad_input").unwrap().map(|it| it.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "yaml")).count();
    assert_eq!(files, GROUPS.len(), "a file of cases is not asked");
    let names: Vec<String> = GROUPS.into_iter().flat_map(cases).map(|case| case.case).collect();
    assert!(names.len() >= 150, "only {} cases", names.len());
    for group in GROUPS {
        let own: Vec<String> = cases(group).into_iter().map(|case| case.case).collect();
        assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), own.len(), "a name stands twice in {group}");
    }
}

#[test]
fn the_good_world_has_nothing_wrong_and_something_open_on_both_sides() {
    let seen = World::good().seen(at());
    assert_eq!(seen.findings, []);
    for place in ["chorley", "practice"] {
        assert!(seen.access.iter().any(|it| it.contains(place)), "{:?}", seen.access);
    }
    assert_eq!(seen.isolation.len(), 7);
}
