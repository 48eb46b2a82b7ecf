//! What cannot be used opens nothing that it closed when it was whole: each field of each kind, in files and in a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use concordat_core::snapshot::Snapshot;
use concordat_source::files;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::door;
use super::laws::{Case, NONE_WHEN_EMPTY, Open, cases, has_successors, name};
use super::world::text;
use crate::folders;

/// One way to break one field.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Harm {
    /// Another kind of value.
    Mistyped,
    /// Nothing in it.
    Blank,
    /// `null`, as an editor leaves it behind. A cluster keeps none.
    Null,
}

const HARMS: [Harm; 3] = [Harm::Mistyped, Harm::Blank, Harm::Null];

/// A world that is broken, and what is open in it while it is whole.
struct World<'a> {
    name: String,
    manifests: &'a [Value],
    requests: &'a [Value],
    at: Timestamp,
    is_folder: bool,
    before: Open,
}

impl<'a> World<'a> {
    fn new(
        name: String,
        manifests: &'a [Value],
        requests: &'a [Value],
        at: Timestamp,
        is_folder: bool,
    ) -> Self {
        let before = Open::in_snapshot(&snapshot(manifests, is_folder), requests, at);
        Self { name, manifests, requests, at, is_folder, before }
    }

    /// What opens when the world is changed to this.
    fn opened(&self, changed: &[Value]) -> Option<String> {
        let snapshot = snapshot(changed, self.is_folder);
        Open::in_snapshot(&snapshot, self.requests, self.at).beyond(&self.before, self.requests)
    }
}

fn snapshot(manifests: &[Value], is_folder: bool) -> Snapshot {
    if is_folder { door::folder(manifests) } else { door::snapshot(manifests) }
}

/// A kind, a field of it whatever its place in lists, a way to break it, and whether it lies in a file.
type Breach = (String, String, Harm, bool);

/// What has been broken, and how often; and what opened.
struct Breaking {
    /// How often each breach is tried, each time in another object.
    times: usize,
    tried: BTreeMap<Breach, usize>,
    wrong: Vec<String>,
}

impl Breaking {
    /// So many times, or `CONCORDAT_REFERENCE_BREACHES`.
    fn new(times: usize) -> Self {
        let more = std::env::var("CONCORDAT_REFERENCE_BREACHES").ok().map(|it| it.parse().expect("a number"));
        Self { times: more.unwrap_or(times), tried: BTreeMap::new(), wrong: Vec::new() }
    }

    /// Breaks each field of each object that is to be broken in each way, but for what has been tried often enough.
    fn break_each(&mut self, world: &World<'_>, is_to_be_broken: impl Fn(usize) -> bool) {
        for (index, object) in world.manifests.iter().enumerate() {
            if object["kind"] == "PolicyFramework" || !is_to_be_broken(index) {
                continue;
            }
            let mut paths = Vec::new();
            fields(&object["spec"], ("/spec", "spec"), &mut paths);
            for (path, plain) in paths {
                for harm in HARMS.into_iter().filter(|it| world.is_folder || *it != Harm::Null) {
                    let breach = (text(&object["kind"]), plain.clone(), harm, world.is_folder);
                    let tried = self.tried.entry(breach).or_default();
                    let Some(value) = harmed(&plain, object.pointer(&path).unwrap(), harm) else { continue };
                    if *tried == self.times {
                        continue;
                    }
                    *tried += 1;
                    let mut changed = world.manifests.to_vec();
                    *changed[index].pointer_mut(&path).unwrap() = value;
                    if let Some(opened) = world.opened(&changed) {
                        let (World { name: of, at, .. }, object) = (world, name(object));
                        let road = if world.is_folder { "in a file" } else { "in a cluster" };
                        self.wrong.push(format!(
                            "{of} at {at}, {road}: {object}, {path} {harm:?}, opened {opened}"
                        ));
                    }
                }
            }
        }
    }

    fn done(self) {
        let count: usize = self.tried.values().sum();
        let Self { tried, wrong, .. } = self;
        eprintln!("{count} breaches of {} kinds", tried.len());
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        assert!(count > 200, "{count}");
    }
}

/// What a field is after a harm; none where it then says the same as a field that was left out, which takes a statement back
/// and breaks nothing.
fn harmed(field: &str, value: &Value, harm: Harm) -> Option<Value> {
    let name = field.rsplit('.').next().unwrap();
    let may_be_empty = NONE_WHEN_EMPTY.contains(&name) || NOTHING_IN_IT.contains(&name);
    match (harm, value) {
        (Harm::Mistyped, Value::Object(_)) => Some(json!("something else")),
        (Harm::Mistyped, _) => Some(json!({"not": "this"})),
        (Harm::Null, _) => Some(Value::Null),
        (Harm::Blank, Value::Array(_)) => (!may_be_empty).then(|| json!([])),
        (Harm::Blank, Value::Object(_)) => (!may_be_empty).then(|| json!({})),
        (Harm::Blank, Value::String(_)) => Some(json!(" ")),
        // there is no blank number and no blank truth
        (Harm::Blank, _) => None,
    }
}

/// Other lists and objects that say nothing when they are empty, by the design page.
const NOTHING_IN_IT: [&str; 8] = [
    "to",
    "publicInvolvement",
    "outcomeMeasures",
    "suppression",
    "assurance",
    "people",
    "governance",
    "register",
];

/// Every field below a value, with those inside lists and objects: its JSON pointer, and its path without places in lists.
fn fields(value: &Value, (path, plain): (&str, &str), found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(inside) => {
            for (field, value) in inside {
                let path = format!("{path}/{}", field.replace('~', "~0").replace('/', "~1"));
                let plain = format!("{plain}.{field}");
                found.push((path.clone(), plain.clone()));
                fields(value, (&path, &plain), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let (path, plain) = (format!("{path}/{index}"), format!("{plain}[]"));
                found.push((path.clone(), plain.clone()));
                fields(item, (&path, &plain), found);
            }
        }
        _ => {}
    }
}

#[test]
fn no_field_of_an_example_opens_anything_when_it_is_broken() {
    let mut breaking = Breaking::new(1);
    for (name, manifests, at) in examples() {
        for is_folder in [true, false] {
            let world = World::new(name.clone(), &manifests, &[], at, is_folder);
            assert!(!world.before.paths.is_empty(), "{name}");
            breaking.break_each(&world, |_| true);
        }
    }
    breaking.done();
}

/// A line that ends a document cuts an object in two, and what is cut off may have been what keeps something closed.
#[test]
fn a_stray_line_in_a_file_opens_nothing() {
    const STRAY: [&str; 4] = ["---\n", "...\n", "--- |\n", "--- # a part of its own\n"];
    let (mut tried, mut wrong) = (0, Vec::new());
    for scenario in folders::scenarios() {
        let state = &scenario.states[0];
        let folder = tempfile::tempdir().unwrap();
        let texts = state.paths.iter().flat_map(|path| texts_in(path));
        let texts: Vec<(PathBuf, String)> =
            texts.filter(|(_, text)| text.contains("concordat.dev/")).collect();
        let names: Vec<PathBuf> =
            (0..texts.len()).map(|index| folder.path().join(format!("{index}.yaml"))).collect();
        for (name, (_, text)) in names.iter().zip(&texts) {
            std::fs::write(name, text).unwrap();
        }
        let open = || {
            let (snapshot, _, _) = files::read(&[folder.path().to_owned()]);
            Open::in_snapshot(&snapshot, &[], state.at())
        };
        let before = open();
        for (name, (of, text)) in names.iter().zip(&texts) {
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            for at in (tried % 5..lines.len()).step_by(5) {
                let cut = [&lines[..at], &[STRAY[tried % STRAY.len()]], &lines[at..]].concat().concat();
                std::fs::write(name, cut).unwrap();
                if let Some(opened) = open().beyond(&before, &[]) {
                    wrong.push(format!("{}, line {}: opened {opened}", of.display(), at + 1));
                }
                tried += 1;
            }
            std::fs::write(name, text).unwrap();
        }
    }
    eprintln!("{tried} stray lines");
    assert!(wrong.is_empty() && tried > 200, "{tried}:\n{}", wrong.join("\n"));
}

/// The texts of the YAML files below a folder.
fn texts_in(folder: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let paths =
        walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(|it| it.unwrap().into_path());
    let yaml = paths.filter(|it| it.extension().is_some_and(|it| it == "yaml"));
    yaml.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    })
}

/// The objects of each example, in its first state, and the moment at which it is judged.
fn examples() -> Vec<(String, Vec<Value>, Timestamp)> {
    folders::scenarios()
        .into_iter()
        .map(|scenario| {
            let state = &scenario.states[0];
            let mut manifests = Vec::new();
            state.paths.iter().for_each(|path| manifests_in(path, &mut manifests));
            (scenario.folder.display().to_string(), manifests, state.at())
        })
        .collect()
}

fn manifests_in(folder: &Path, manifests: &mut Vec<Value>) {
    for (_, text) in texts_in(folder) {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let ours = |it: &Value| it["apiVersion"] == "concordat.dev/v1alpha1" && it["kind"] != "PolicyTest";
        manifests.extend(documents.into_iter().filter(ours));
    }
}

#[test]
fn no_field_of_an_object_that_keeps_something_closed_opens_it_when_it_is_broken() {
    let mut breaking = Breaking::new(1);
    let mut closing = 0;
    for (number, case) in cases(60).enumerate() {
        let Case { generated, manifests, requests, .. } = &case;
        let name = format!("seed {}", generated.seed);
        let world = World::new(name, manifests, requests, generated.at, number % 2 == 0);
        // what would be open if the object had not been written is where it shows whether a broken one counts as none
        let closes = |index: usize| {
            let kind = manifests[index]["kind"].as_str().unwrap();
            if RESTS_ON.contains(&kind) && has_successors(manifests) {
                return false;
            }
            let mut fewer = manifests.clone();
            fewer.remove(index);
            world.opened(&fewer).is_some()
        };
        let closes: Vec<bool> = (0..manifests.len()).map(closes).collect();
        closing += closes.iter().filter(|it| **it).count();
        breaking.break_each(&world, |index| closes[index]);
    }
    assert!(closing > 10, "{closing}");
    breaking.done();
}

/// Somebody has deleted it, and a finalizer keeps it: neither its going nor what it said opens anything.
#[test]
fn an_object_that_is_being_deleted_opens_nothing() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for (number, case) in cases(30).enumerate() {
        let Case { generated, manifests, requests, .. } = &case;
        let is_folder = number % 2 == 0;
        let world =
            World::new(format!("seed {}", generated.seed), manifests, requests, generated.at, is_folder);
        for (index, object) in manifests.iter().enumerate() {
            // question 24
            let kind = object["kind"].as_str().unwrap();
            if RESTS_ON.contains(&kind) && has_successors(manifests) {
                continue;
            }
            let mut changed = manifests.clone();
            changed[index]["metadata"]["deletionTimestamp"] = json!(generated.at);
            changed[index]["metadata"]["finalizers"] = json!(["example.org/keep"]);
            tried += 1;
            if let Some(opened) = world.opened(&changed) {
                wrong.push(format!("{} {is_folder}: {} opened {opened}", world.name, name(object)));
            }
        }
    }
    assert!(wrong.is_empty() && tried > 500, "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a successor rests on, so that it is not known any more what it was where one of these cannot be used (question 24).
const RESTS_ON: [&str; 4] = ["PartnerOrg", "DataProduct", "PlaceFootprint", "FrameworkException"];

#[test]
fn an_object_of_which_nothing_can_be_read_and_one_that_is_there_twice_open_nothing() {
    let mut wrong = Vec::new();
    for (number, case) in cases(12).enumerate() {
        let Case { generated, manifests, requests, .. } = &case;
        // in a cluster there is one of each name
        let is_folder = number % 2 == 0;
        let world =
            World::new(format!("seed {}", generated.seed), manifests, requests, generated.at, is_folder);
        let mut look = |changed: &[Value], what: &str| {
            if let Some(opened) = world.opened(changed) {
                wrong.push(format!("{} {is_folder}: {what} opened {opened}", world.name));
            }
        };
        for (index, object) in manifests.iter().enumerate() {
            if object["kind"] == "PolicyFramework" {
                continue;
            }
            let illegible = [json!([]), json!({}), Value::Null, json!("spec")];
            let spec = &illegible[(index + number) % illegible.len()];
            let mut changed = manifests.clone();
            changed[index]["spec"] = spec.clone();
            look(&changed, &format!("{} with the spec {spec}", name(object)));
            if is_folder {
                let kind = text(&object["kind"]);
                let slips = [
                    ("kind", json!(kind.to_lowercase())),
                    ("kind", json!(format!("{kind}s"))),
                    ("kind", Value::Null),
                    ("apiVersion", json!("concordat.dev/v1")),
                ];
                let (field, slip) = &slips[(index + number / 2) % slips.len()];
                let mut changed = manifests.clone();
                changed[index][field] = slip.clone();
                look(&changed, &format!("{} with the {field} {slip}", name(object)));
                let mut broken = object.clone();
                broken["spec"]["unheardOf"] = json!(1);
                for (second, what) in [(object.clone(), "twice"), (broken, "and a broken copy")] {
                    let mut doubled = manifests.clone();
                    doubled.push(second);
                    look(&doubled, &format!("{} {what}", name(object)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
