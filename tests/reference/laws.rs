//! Laws on generated worlds: what may be done to a world, and what must then be as it was.

use std::collections::{BTreeMap, BTreeSet};

use concordat_core::evaluate::Judgement;
use concordat_core::plan::PlannedObject;
use concordat_core::policy::{Filter, who_can};
use concordat_core::snapshot::Snapshot;
use concordat_source::files;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::access::Tier;
use super::door;
use super::force::FlowKey;
use super::generate::{Generated, National, generate};
use super::generate_local::request;
use super::model::Model;
use super::random::Random;
use super::terms;
use super::world::{World, rank, text};

/// What can be had in a world: the open paths, and which of some requests are allowed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Open {
    pub(super) paths: BTreeSet<FlowKey>,
    allowed: BTreeSet<usize>,
}

impl Open {
    fn of(manifests: &[Value], requests: &[Value], at: Timestamp) -> Self {
        Self::in_snapshot(&door::snapshot(manifests), requests, at)
    }

    pub(super) fn in_snapshot(snapshot: &Snapshot, requests: &[Value], at: Timestamp) -> Self {
        let judgement = Judgement::new(snapshot, at);
        let allowed = requests.iter().enumerate().filter(|(_, it)| door::decide(&judgement, it).decision);
        Self {
            paths: door::open(&judgement).into_keys().map(|(_, flow)| flow).collect(),
            allowed: allowed.map(|(index, _)| index).collect(),
        }
    }

    /// What is open here and was not before.
    pub(super) fn beyond(&self, before: &Self, requests: &[Value]) -> Option<String> {
        let paths: Vec<_> = self.paths.difference(&before.paths).collect();
        let allowed: Vec<_> = self.allowed.difference(&before.allowed).map(|it| &requests[*it]).collect();
        (!paths.is_empty() || !allowed.is_empty()).then(|| format!("paths {paths:?}\nrequests {allowed:?}"))
    }
}

/// A world with the library's hashes, and requests about it.
pub(super) struct Case {
    pub(super) generated: Generated,
    pub(super) manifests: Vec<Value>,
    pub(super) requests: Vec<Value>,
    random: Random,
}

/// Worlds that broke a law once.
const ONCE_WRONG: [u64; 2] = [30, 87];

/// So many worlds, or `CONCORDAT_REFERENCE_LAWS`.
pub(super) fn cases(count: u64) -> impl Iterator<Item = Case> {
    let national = National::read();
    let more = std::env::var("CONCORDAT_REFERENCE_LAWS").ok().map(|it| it.parse().expect("a number"));
    let count = more.unwrap_or(count);
    (0..count).chain(ONCE_WRONG.into_iter().filter(move |it| *it >= count)).map(move |number| {
        let generated = generate(number + 1_000_000, &national);
        let world = World::read(&generated.manifests);
        let model = Model::new(&world, &national.built_in);
        let manifests = door::translated(&generated.manifests, &model, generated.at);
        let mut random = Random::new(number);
        let agreements: Vec<Value> = of_kind(&manifests, "DataSharingAgreement").cloned().collect();
        let requests = (0..10).map(|_| request(&mut random, &agreements)).collect();
        Case { generated, manifests, requests, random }
    })
}

impl Case {
    fn open(&self, manifests: &[Value]) -> Open {
        Open::of(manifests, &self.requests, self.generated.at)
    }

    fn never_opens(&self, before: &Open, changed: &[Value], what: &str) {
        if let Some(opened) = self.open(changed).beyond(before, &self.requests) {
            panic!("seed {} at {}: {what} opened {opened}", self.generated.seed, self.generated.at);
        }
    }
}

pub(super) fn of_kind<'a>(manifests: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    manifests.iter().filter(move |it| it["kind"] == kind)
}

pub(super) fn name(manifest: &Value) -> String {
    let metadata = &manifest["metadata"];
    format!("{} {}/{}", text(&manifest["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
}

/// Whether something about succession can be lost with an object: what today's objects no longer show is remembered by a
/// status, which a world of files does not have.
pub(super) fn has_successors(manifests: &[Value]) -> bool {
    of_kind(manifests, "DataSharingAgreement").any(|it| !it["spec"]["supersedes"].is_null())
}

/// Whether an object is there to deny: without it more may be open, and that is right.
fn denies(manifests: &[Value], object: &Value) -> bool {
    let spec = &object["spec"];
    match object["kind"].as_str().unwrap() {
        "LocalPolicy" => true,
        "AgreementSignature" => {
            let same = |it: &&Value| {
                it["spec"]["party"] == spec["party"] && it["spec"]["agreement"] == spec["agreement"]
            };
            let emergency = of_kind(manifests, "DataSharingAgreement").any(|it| {
                it["metadata"]["name"] == spec["agreement"]["name"] && !it["spec"]["emergency"].is_null()
            });
            emergency || of_kind(manifests, "AgreementSignature").filter(same).count() > 1
        }
        // with accession, what is not in stands in no question
        "PartnerOrg" | "DataProduct" => {
            of_kind(manifests, "DataSharingAgreement").any(|it| it["spec"]["accession"] == true)
        }
        _ => false,
    }
}

/// Lists that may deny by what is in them, and deny nothing when they are empty.
pub(super) const NONE_WHEN_EMPTY: [&str; 6] =
    ["ends", "footprints", "parents", "policyNamespaces", "delegatedSigning", "derivedFrom"];

#[test]
fn taking_an_object_or_an_entry_of_a_list_away_never_opens_anything() {
    // fewer tests or frameworks' texts are another matter
    let denies_by = |part: &str| NONE_WHEN_EMPTY.contains(&part) || ["tests", "policies"].contains(&part);
    for mut case in cases(60) {
        if has_successors(&case.manifests) {
            continue;
        }
        let before = case.open(&case.manifests);
        for index in 0..case.manifests.len() {
            let object = &case.manifests[index];
            if denies(&case.manifests, object) {
                continue;
            }
            if case.random.chance(25) {
                let mut fewer = case.manifests.clone();
                fewer.remove(index);
                case.never_opens(&before, &fewer, &format!("without {}", name(object)));
            }
            let mut lists = Vec::new();
            lists_in(&object["spec"], String::new(), &mut lists);
            lists.retain(|path| !path.split('/').any(denies_by));
            if !lists.is_empty() && case.random.chance(60) {
                let path = case.random.pick(&lists);
                let mut changed = case.manifests.clone();
                let list = changed[index]["spec"].pointer_mut(&path).unwrap().as_array_mut().unwrap();
                let at = case.random.below(list.len());
                list.remove(at);
                case.never_opens(&before, &changed, &format!("{} without an entry of {path}", name(object)));
            }
        }
    }
}

fn lists_in(value: &Value, path: String, lists: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                lists_in(item, format!("{path}/{index}"), lists);
            }
            if !items.is_empty() {
                lists.push(path);
            }
        }
        Value::Object(fields) => {
            for (field, value) in fields {
                lists_in(value, format!("{path}/{}", field.replace('/', "~1")), lists);
            }
        }
        _ => {}
    }
}

#[test]
fn moving_an_object_to_another_namespace_opens_nothing() {
    for mut case in cases(40) {
        if has_successors(&case.manifests) {
            continue;
        }
        let before = case.open(&case.manifests);
        for index in 0..case.manifests.len() {
            let object = case.manifests[index].clone();
            if object["metadata"]["namespace"].is_null()
                || denies(&case.manifests, &object)
                || !case.random.chance(50)
            {
                continue;
            }
            let mut changed = case.manifests.clone();
            changed[index]["metadata"]["namespace"] =
                json!(case.random.pick(&["elsewhere", "help", "alder-desk"]));
            case.never_opens(&before, &changed, &format!("{} moved", name(&object)));
        }
    }
}

#[test]
fn a_stranger_changes_nothing() {
    for mut case in cases(80) {
        let before = case.open(&case.manifests);
        let object = case.random.pick(&case.manifests);
        if object["metadata"]["namespace"].is_null() {
            continue;
        }
        let mut foreign = object.clone();
        foreign["metadata"] = json!({"namespace": "stranger", "name": "anything"});
        match case.random.below(4) {
            0 => foreign["spec"] = json!([]),
            1 => {
                let fields: Vec<String> = foreign["spec"].as_object().unwrap().keys().cloned().collect();
                foreign["spec"][case.random.pick(&fields)] = json!({"not": "this"});
            }
            2 if foreign["kind"] == "AgreementSignature" => foreign["spec"]["state"] = json!("Withdrawn"),
            _ if foreign["kind"] == "DataSharingAgreement" => {
                foreign["spec"]["supersedes"] =
                    json!({"namespace": "alder", "name": object["metadata"]["name"]});
            }
            _ => {}
        }
        let mut more = case.manifests.clone();
        more.push(foreign.clone());
        let after = case.open(&more);
        assert_eq!(after, before, "seed {}: {foreign}", case.generated.seed);
    }
}

#[test]
fn the_order_of_objects_changes_nothing() {
    for mut case in cases(30) {
        let mut shuffled = case.manifests.clone();
        for index in (1..shuffled.len()).rev() {
            shuffled.swap(index, case.random.below(index + 1));
        }
        let at = case.generated.at;
        let plan = |manifests: &[Value]| Judgement::new(&door::snapshot(manifests), at).plan();
        assert_eq!(plan(&shuffled), plan(&case.manifests), "seed {}", case.generated.seed);
        assert_eq!(case.open(&shuffled), case.open(&case.manifests), "seed {}", case.generated.seed);
    }
}

#[test]
fn other_names_change_nothing_but_names() {
    let national = National::read();
    for case in cases(40) {
        let original = &case.generated.manifests;
        let names: BTreeSet<String> = original
            .iter()
            .filter(|it| {
                !["PolicyFramework", "AgreementSignature", "LocalPolicy"]
                    .contains(&it["kind"].as_str().unwrap())
            })
            .map(|it| text(&it["metadata"]["name"]))
            .collect();
        let mut renamed: Vec<Value> = original.iter().map(|it| rename(it, &names)).collect();
        // who has signed the terms has signed the renamed ones
        let (old, new) = (World::read(original), World::read(&renamed));
        let (old, new) = (Model::new(&old, &national.built_in), Model::new(&new, &national.built_in));
        let mut hashes = BTreeMap::new();
        for (before, after) in old.world.agreements.iter().zip(&new.world.agreements) {
            for row in &before.spec.parties {
                let was = terms::hash(before, &row.org, &|it| old.products.get(it).map(|it| (*it).clone()));
                let renamed = rename_text(&row.org, &names);
                let is = terms::hash(after, &renamed, &|it| new.products.get(it).map(|it| (*it).clone()));
                if let (Some(was), Some(is)) = (was, is) {
                    hashes.insert(was, is);
                }
            }
        }
        for signature in renamed.iter_mut().filter(|it| it["kind"] == "AgreementSignature") {
            if let Some(hash) = hashes.get(&text(&signature["spec"]["termsHash"])) {
                signature["spec"]["termsHash"] = json!(hash);
            }
        }
        let renamed_world = World::read(&renamed);
        let model = Model::new(&renamed_world, &national.built_in);
        let renamed = door::translated(&renamed, &model, case.generated.at);
        let requests: Vec<Value> = case.requests.iter().map(|it| rename(it, &names)).collect();
        let before = case.open(&case.manifests);
        let after = Open::of(&renamed, &requests, case.generated.at);
        assert_eq!(after.allowed, before.allowed, "seed {}", case.generated.seed);
        let paths: BTreeSet<String> =
            before.paths.iter().map(|it| rename_text(&format!("{it:?}"), &names)).collect();
        let now: BTreeSet<String> = after.paths.iter().map(|it| format!("{it:?}")).collect();
        assert_eq!(now, paths, "seed {}", case.generated.seed);
    }
}

fn rename(value: &Value, names: &BTreeSet<String>) -> Value {
    match value {
        Value::String(it) => json!(rename_text(it, names)),
        Value::Array(items) => Value::Array(items.iter().map(|it| rename(it, names)).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), rename(value, names))).collect())
        }
        _ => value.clone(),
    }
}

fn rename_text(text: &str, names: &BTreeSet<String>) -> String {
    let mut renamed = String::new();
    let mut word = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_alphanumeric() {
            word.push(letter);
            continue;
        }
        // the key of an annotation is no name
        if names.contains(&word) && !renamed.ends_with('@') {
            renamed.push('x');
        }
        renamed.push_str(&word);
        word.clear();
        renamed.push(letter);
    }
    renamed.pop();
    renamed
}

#[test]
fn files_say_the_same_however_they_are_cut_and_the_same_as_a_cluster() {
    for mut case in cases(25) {
        let mut manifests = case.manifests.clone();
        // a status is what a cluster has
        manifests.iter_mut().for_each(|it| drop(it.as_object_mut().unwrap().remove("status")));
        let cluster = case.open(&manifests);
        let one = vec![manifests.clone()];
        let mut several: Vec<Vec<Value>> = vec![Vec::new(); 4];
        for it in &manifests {
            several[case.random.below(4)].push(it.clone());
        }
        for files in [one, several] {
            let folder = tempfile::tempdir().unwrap();
            for (index, file) in files.iter().enumerate().filter(|(_, it)| !it.is_empty()) {
                let documents: Vec<String> = file.iter().map(Value::to_string).collect();
                std::fs::write(folder.path().join(format!("{index}.yaml")), documents.join("\n---\n"))
                    .unwrap();
            }
            let (snapshot, _, _) = files::read(&[folder.path().to_owned()]);
            let judgement = Judgement::new(&snapshot, case.generated.at);
            let paths: BTreeSet<FlowKey> = door::open(&judgement).into_keys().map(|(_, it)| it).collect();
            assert_eq!(paths, cluster.paths, "seed {}", case.generated.seed);
            let asked = case.requests.iter().enumerate();
            let allowed: BTreeSet<usize> = asked
                .filter(|(_, it)| door::decide(&judgement, it).decision)
                .map(|(index, _)| index)
                .collect();
            assert_eq!(allowed, cluster.allowed, "seed {}", case.generated.seed);
        }
    }
}

#[test]
fn whatever_is_allowed_is_said_by_who_can_and_open_where_it_is_asked_at_its_level() {
    let mut seen = 0;
    for case in cases(150) {
        let judgement = Judgement::new(&door::snapshot(&case.manifests), case.generated.at);
        let permissions = who_can(&judgement, &Filter::default()).unwrap().grants;
        let open = door::open(&judgement);
        for request in &case.requests {
            let answer = door::decide(&judgement, request);
            if !answer.decision || request["subject"]["type"] != "OrgFunction" {
                continue;
            }
            seen += 1;
            let id = text(&request["subject"]["id"]);
            let (org, function) = id.split_once('/').unwrap();
            let level = request["context"]["identifiability"].as_str().map_or(3, rank);
            let listed = permissions.iter().any(|it| {
                it.org == org
                    && it.function == function
                    && it.product.to_string() == text(&request["resource"]["id"])
                    && it.purpose == text(&request["context"]["purpose"])
                    && it.actions.iter().any(|it| it.as_str() == text(&request["action"]["name"]))
                    && level <= it.max_identifiability.rank()
                    && Some(it.agreement.to_string()) == answer.agreement
            });
            assert!(
                listed,
                "seed {}: {request} is allowed, and who-can does not say so",
                case.generated.seed
            );
            let agreement = of_kind(&case.manifests, "DataSharingAgreement")
                .find(|it| Some(format!("alder/{}", text(&it["metadata"]["name"]))) == answer.agreement)
                .unwrap();
            let purposes = agreement["spec"]["purposes"].as_array().unwrap();
            let purpose = purposes.iter().find(|it| it["code"] == request["context"]["purpose"]).unwrap();
            if rank(&text(&purpose["maxIdentifiability"])) == level {
                let is_open = open.keys().any(|(key, flow)| {
                    Some(key.to_string()) == answer.agreement
                        && flow.recipient.org == org
                        && flow.recipient.function == function
                        && flow.product.to_string() == text(&request["resource"]["id"])
                        && flow.purpose == text(&purpose["code"])
                });
                assert!(is_open, "seed {}: {request} is allowed over a closed path", case.generated.seed);
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn whatever_who_can_lists_is_allowed_to_who_brings_everything_but_for_a_local_rule_that_it_names() {
    let (mut allowed, mut denied) = (0, 0);
    for case in cases(400) {
        let judgement = Judgement::new(&door::snapshot(&case.manifests), case.generated.at);
        for permission in who_can(&judgement, &Filter::default()).unwrap().grants {
            let may_forbid: Vec<&str> = permission.may_forbid.iter().map(|it| it.rule.as_str()).collect();
            let agreement = judgement.model.agreements.get(&permission.agreement).unwrap();
            let onward = &agreement.spec.onward_sharing.to;
            for action in &permission.actions {
                let request = |onward_to: Option<&String>| {
                    json!({
                        "subject": {"type": "OrgFunction", "id": format!("{}/{}", permission.org, permission.function)},
                        "action": {"name": action},
                        "resource": {"type": "DataProduct", "id": permission.product.to_string()},
                        "context": {
                            "purpose": permission.purpose, "identifiability": permission.max_identifiability,
                            "roles": permission.roles.clone().unwrap_or_default(), "region": "GB",
                            "legitimateRelationship": true, "explicitConsent": true, "optOutsApplied": true,
                            "minCellCount": 1000, "caseReference": "CASE-1", "onwardTo": onward_to,
                        },
                    })
                };
                // to one of those to whom it may be passed on
                let receivers: Vec<Option<&String>> = if action.as_str() == "shareOnward" {
                    onward.iter().map(Some).collect()
                } else {
                    vec![None]
                };
                let agreement = permission.agreement.to_string();
                let answers: Vec<_> = receivers
                    .into_iter()
                    .map(|it| door::decide_by(&judgement, &request(it), &agreement))
                    .collect();
                let answer = answers.iter().find(|it| it.decision).or(answers.first()).unwrap();
                let is_named = || answer.rules.iter().all(|rule| may_forbid.contains(&rule.as_str()));
                let right = answer.decision || (answer.tier == Tier::Local && is_named());
                let seed = case.generated.seed;
                assert!(right, "seed {seed}: {permission:?} is listed, and {action} is {answer:?}");
                if answer.decision { allowed += 1 } else { denied += 1 }
            }
        }
    }
    eprintln!("{allowed} allowed, {denied} denied by a local rule that is named");
    assert!(allowed > 100, "{allowed}");
}

/// Rules by which a request is denied only for what the caller says or leaves out, and never for the path.
const OF_THE_CALLER: [&str; 11] =
    ["NF-14b", "NF-14c", "NF-15", "NF-16", "NF-17", "NF-18", "NF-19b", "NF-19c", "NF-20", "NF-21", "NF-22"];

#[test]
fn a_grant_opens_no_path_that_is_denied_and_whatever_is_allowed_lies_in_a_grant() {
    let (mut granted, mut allowed) = (0, 0);
    for case in cases(150) {
        let at = case.generated.at;
        let judgement = Judgement::new(&door::snapshot(&case.manifests), at);
        let grants = grants(&judgement);
        for Granted { agreement, product, recipient, purpose, action, level, roles, .. } in &grants {
            // these two ask for more than a table of counts, whoever asks
            if matches!(action.as_str(), "readRecord" | "reidentify") && rank(level) < 2 {
                continue;
            }
            let request = json!({
                "subject": {"type": "OrgFunction", "id": recipient},
                "action": {"name": action},
                "resource": {"type": "DataProduct", "id": product},
                "context": {
                    "purpose": purpose, "identifiability": level, "roles": roles, "region": "GB",
                    "legitimateRelationship": true, "explicitConsent": true, "optOutsApplied": true,
                    "minCellCount": 1000, "caseReference": "CASE-1",
                },
            });
            let answer = door::decide_by(&judgement, &request, agreement);
            granted += 1;
            let by_the_caller = || answer.rules.iter().all(|rule| OF_THE_CALLER.contains(&rule.as_str()));
            let right = match answer.tier {
                Tier::Ceiling => !answer.decision && by_the_caller(),
                Tier::Local | Tier::Error => true,
                Tier::Floor | Tier::Agreement => answer.decision,
                Tier::None => false,
            };
            assert!(
                right,
                "seed {}: {agreement} grants {request}, and it is {answer:?}",
                case.generated.seed
            );
        }
        for request in &case.requests {
            let answer = door::decide(&judgement, request);
            if !answer.decision || request["subject"]["type"] != "OrgFunction" {
                continue;
            }
            allowed += 1;
            let asked = request["context"]["identifiability"].as_str().map_or(3, rank);
            let is_granted = |it: &Granted| {
                Some(&it.agreement) == answer.agreement.as_ref()
                    && it.product == text(&request["resource"]["id"])
                    && it.recipient == text(&request["subject"]["id"])
                    && it.purpose == text(&request["context"]["purpose"])
                    && it.action == text(&request["action"]["name"])
                    && asked <= rank(&it.level)
            };
            // a path may be closed at the level of its purpose, and open below it
            let lower = |it: &Value| {
                it["code"] == request["context"]["purpose"] && asked < rank(&text(&it["maxIdentifiability"]))
            };
            let agreements = of_kind(&case.manifests, "DataSharingAgreement");
            let mut purposes = agreements.flat_map(|it| it["spec"]["purposes"].as_array().unwrap());
            assert!(
                grants.iter().any(is_granted) || purposes.any(lower),
                "seed {}: {request} is allowed, and no grant says so",
                case.generated.seed
            );
        }
    }
    assert!(granted > 100 && allowed > 10, "{granted} granted, {allowed} allowed");
}

#[test]
fn what_a_grant_calls_context_free_is_allowed_without_a_context_until_it_ends() {
    let (mut free, mut tied) = (0, 0);
    for case in cases(260) {
        let snapshot = door::snapshot(&case.manifests);
        let judgement = Judgement::new(&snapshot, case.generated.at);
        for Granted {
            agreement, product, recipient, purpose, action, level, not_after, context_free, ..
        } in grants(&judgement)
        {
            if !context_free {
                tied += 1;
                continue;
            }
            free += 1;
            let request = json!({
                "subject": {"type": "OrgFunction", "id": recipient},
                "action": {"name": action},
                "resource": {"type": "DataProduct", "id": product},
                "context": {"purpose": purpose, "identifiability": level, "region": "GB"},
            });
            let seconds = not_after.duration_since(case.generated.at).as_secs();
            for part in [0, 1, 2, 5, 9, 10] {
                let later = case.generated.at + SignedDuration::from_secs(seconds * part / 10);
                if later >= not_after {
                    continue;
                }
                let answer = door::decide_by(&Judgement::new(&snapshot, later), &request, &agreement);
                let seed = case.generated.seed;
                assert!(answer.decision, "seed {seed}: {agreement} at {later}: {request} is {answer:?}");
            }
        }
    }
    eprintln!("{free} free of a context, {tied} not");
    assert!(free > 20 && tied > 20, "{free} {tied}");
}

/// One action that a planned grant opens.
struct Granted {
    agreement: String,
    product: String,
    recipient: String,
    purpose: String,
    action: String,
    level: String,
    roles: Vec<String>,
    not_after: Timestamp,
    context_free: bool,
}

fn grants(judgement: &Judgement) -> Vec<Granted> {
    let plan = judgement.plan();
    let grants = plan.objects.iter().filter_map(|object| match object {
        PlannedObject::Grant(grant) => Some(serde_json::to_value(&grant.spec).unwrap()),
        _ => None,
    });
    let named = |it: &Value| format!("{}/{}", text(&it["namespace"]), text(&it["name"]));
    let mut all = Vec::new();
    for grant in grants {
        let recipients = grant["recipients"].as_array().unwrap().iter();
        let purposes =
            recipients.flat_map(|it| it["purposes"].as_array().unwrap().iter().map(move |of| (it, of)));
        for (recipient, purpose) in purposes {
            for action in purpose["actions"].as_array().unwrap() {
                all.push(Granted {
                    agreement: named(&grant["agreement"]),
                    product: named(&grant["product"]),
                    recipient: format!("{}/{}", text(&recipient["org"]), text(&recipient["function"])),
                    purpose: text(&purpose["code"]),
                    action: text(action),
                    level: text(&purpose["maxIdentifiability"]),
                    roles: purpose["roles"].as_array().into_iter().flatten().map(text).collect(),
                    not_after: text(&purpose["notAfter"]).parse().unwrap(),
                    context_free: purpose["contextFree"].as_bool().unwrap(),
                });
            }
        }
    }
    all
}

#[test]
fn the_two_agree_on_which_terms_are_the_same() {
    let national = National::read();
    for mut case in cases(25) {
        let hashes = |manifests: &[Value]| {
            let world = World::read(manifests);
            let model = Model::new(&world, &national.built_in);
            door::hashes(manifests, &model, case.generated.at)
        };
        let original = case.generated.manifests.clone();
        let mut all = hashes(&original);
        for _ in 0..6 {
            let mut changed = original.clone();
            let index = case.random.below(changed.len());
            let mut lists = Vec::new();
            lists_in(&changed[index]["spec"], String::new(), &mut lists);
            if let Some(path) = (!lists.is_empty()).then(|| case.random.pick(&lists)) {
                let list = changed[index]["spec"].pointer_mut(&path).unwrap().as_array_mut().unwrap();
                if case.random.chance(50) {
                    list.reverse();
                } else {
                    list.pop();
                }
            }
            for (ours, theirs) in hashes(&changed) {
                let known = all.insert(ours.clone(), theirs.clone());
                assert!(
                    known.is_none_or(|it| it == theirs),
                    "seed {}: {ours} is two hashes",
                    case.generated.seed
                );
            }
        }
        let distinct: BTreeSet<&String> = all.values().collect();
        assert_eq!(distinct.len(), all.len(), "seed {}: one hash for two terms", case.generated.seed);
    }
}

#[test]
fn the_laws_see_what_opens() {
    let mut paths = 0;
    let mut allowed = 0;
    for case in cases(100) {
        let open = case.open(&case.manifests);
        paths += open.paths.len();
        allowed += open.allowed.len();
    }
    assert!(paths > 30 && allowed > 10, "{paths} paths, {allowed} requests allowed");
}
