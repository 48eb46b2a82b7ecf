//! Whoever looks on: every version of every policy, grant and agreement, in the order in which etcd took them, and
//! at each of them the question what was reachable.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use concordat::api::{DataAccessGrant, DataSharingAgreement};
use concordat::core::plan::PlannedObject;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::proxy::runtime;
use crate::reach::{Direction, Pod, allows, connects, governs, isolates, pod};
use crate::support::world::{SOON, World};

const FINALIZER: &str = "concordat.dev/grants";
const PORT: u64 = 8443;
const OTHER_PORT: u64 = 9999;

/// Who reaches what, as `recipient>product`.
pub type Open = BTreeSet<String>;

/// Everything that a world's agreement opens.
pub fn everything() -> Open {
    open(&["pcn>bins", "charity>bins", "pcn>contacts"])
}

pub fn open(flows: &[&str]) -> Open {
    flows.iter().map(|&it| it.to_owned()).collect()
}

pub fn nothing() -> Open {
    Open::new()
}

type Key = (&'static str, String, String);

#[derive(Clone, Debug)]
struct Seen {
    revision: u64,
    key: Key,
    /// Nothing, once it is gone.
    object: Option<Value>,
}

/// Looks on from the moment that it is made.
pub struct Observer {
    began: Vec<Seen>,
    events: Arc<Mutex<Vec<Seen>>>,
}

fn resources() -> [(&'static str, ApiResource); 3] {
    [
        ("NetworkPolicy", ApiResource::erase::<NetworkPolicy>(&())),
        ("DataAccessGrant", ApiResource::erase::<DataAccessGrant>(&())),
        ("DataSharingAgreement", ApiResource::erase::<DataSharingAgreement>(&())),
    ]
}

fn seen(kind: &'static str, object: &DynamicObject, gone: bool) -> Seen {
    let revision = object.resource_version().unwrap().parse().unwrap();
    let key = (kind, object.namespace().unwrap_or_default(), object.name_any());
    Seen { revision, key, object: (!gone).then(|| json!(object)) }
}

impl Observer {
    pub fn begin(world: &World) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let mut began = Vec::new();
        for (kind, resource) in resources() {
            let api: Api<DynamicObject> = Api::all_with(world.client.clone(), &resource);
            let list = runtime().block_on(api.list(&ListParams::default())).unwrap();
            began.extend(list.items.iter().map(|it| seen(kind, it, false)));
            let from = list.metadata.resource_version.unwrap();
            runtime().spawn(follow(api, kind, from, Arc::clone(&events)));
        }
        Self { began, events }
    }

    fn events(&self) -> Vec<Seen> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of one world, oldest first, once everything that there is has been seen.
    fn of(&self, world: &World) -> Vec<Seen> {
        let began = Instant::now();
        loop {
            let mine = |it: &&Seen| it.key.1.starts_with(&world.stem);
            let mut all: Vec<Seen> = self.began.iter().filter(mine).cloned().collect();
            all.extend(self.events().iter().filter(mine).cloned());
            all.sort_by_key(|it| it.revision);
            let mut state: BTreeMap<&Key, u64> = BTreeMap::new();
            for seen in &all {
                match seen.object {
                    Some(_) => state.insert(&seen.key, seen.revision),
                    None => state.remove(&seen.key),
                };
            }
            let now: Vec<Seen> = live(world);
            let now: BTreeMap<&Key, u64> = now.iter().map(|it| (&it.key, it.revision)).collect();
            if state == now {
                return all;
            }
            assert!(began.elapsed() < SOON, "the observer has missed something: {state:?} {now:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

async fn follow(
    api: Api<DynamicObject>,
    kind: &'static str,
    mut from: String,
    events: Arc<Mutex<Vec<Seen>>>,
) {
    loop {
        let Ok(stream) = api.watch(&WatchParams::default(), &from).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut stream = stream.boxed();
        while let Ok(Some(event)) = stream.try_next().await {
            let (object, gone) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(bookmark) => {
                    from = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(error) => panic!("the observer's watch has failed: {error:?}"),
            };
            from = object.resource_version().unwrap();
            events.lock().unwrap_or_else(PoisonError::into_inner).push(seen(kind, &object, gone));
        }
    }
}

/// What there is of a world now.
fn live(world: &World) -> Vec<Seen> {
    let mut all = Vec::new();
    for (kind, resource) in resources() {
        let api: Api<DynamicObject> = Api::all_with(world.client.clone(), &resource);
        let list = world.block(api.list(&ListParams::default())).unwrap();
        let mine =
            list.items.iter().filter(|it| it.namespace().is_some_and(|it| it.starts_with(&world.stem)));
        all.extend(mine.map(|it| seen(kind, it, false)));
    }
    all
}

/// The revision that etcd is at.
pub fn revision(world: &World) -> u64 {
    let api: Api<NetworkPolicy> = Api::all(world.client.clone());
    let list = world.block(api.list(&ListParams::default().limit(1))).unwrap();
    list.metadata.resource_version.unwrap().parse().unwrap()
}

/// Who reaches what in a world now.
pub fn is_open(world: &World) -> Open {
    let policies: Vec<Value> =
        live(world).into_iter().filter(|it| it.key.0 == "NetworkPolicy").filter_map(|it| it.object).collect();
    let policies: Vec<&Value> = policies.iter().collect();
    let mut open = Open::new();
    for (product, to) in products(world) {
        for (name, from) in sources(world) {
            if isolates(&policies, Direction::Ingress, &to) && connects(&policies, &from, &to, PORT) {
                open.insert(format!("{name}>{product}"));
            }
        }
    }
    open
}

/// Whether a world's policies and grants are just those that `plan` prints for it. A Managed function that has lost
/// its last workload keeps its isolation: what denies may be left over, what opens may not.
pub fn is_as_planned(world: &World) -> bool {
    let mut planned: BTreeMap<Key, Value> = BTreeMap::new();
    for object in &world.offline_plan().objects {
        let kind = match object {
            PlannedObject::Grant(_) => "DataAccessGrant",
            PlannedObject::Isolation(_) | PlannedObject::Allow { .. } => "NetworkPolicy",
        };
        let key = object.key();
        planned.insert((kind, key.namespace.unwrap_or_default(), key.name), compared(&object.manifest()));
    }
    let present = live(world).into_iter().filter(|it| it.key.0 != "DataSharingAgreement");
    let ours = present.filter(|it| {
        it.object.as_ref().is_some_and(|it| it["metadata"]["labels"]["concordat.dev/part"].is_string())
    });
    let is_isolation = |it: &Seen| {
        it.object.as_ref().is_some_and(|it| it["metadata"]["labels"]["concordat.dev/part"] == "isolation")
    };
    let ours = ours.filter(|it| planned.contains_key(&it.key) || !is_isolation(it));
    let present: BTreeMap<Key, Value> =
        ours.map(|it| (it.key, compared(&it.object.unwrap_or_default()))).collect();
    planned == present
}

/// What is compared: the spec, without what only a cluster knows.
fn compared(object: &Value) -> Value {
    let mut spec = object["spec"].clone();
    if let Some(agreement) = spec.get_mut("agreement").and_then(Value::as_object_mut) {
        agreement.remove("uid");
        agreement.remove("generation");
    }
    spec
}

fn products(world: &World) -> Vec<(&'static str, Pod)> {
    ["bins", "contacts"].map(|name| (name, pod(&world.ns("council"), &format!("{name}-gateway")))).to_vec()
}

/// The recipients' pods, and some that nobody ever agreed to.
fn sources(world: &World) -> Vec<(&'static str, Pod)> {
    vec![
        ("pcn", pod(&world.ns("pcn"), "care-team")),
        ("charity", pod(&world.ns("charity"), "befriending")),
        ("the controller's own", pod(&world.ns("council"), "waste")),
        ("another pod of the network", pod(&world.ns("pcn"), "other")),
        ("another pod of the charity", pod(&world.ns("charity"), "other")),
        ("a namesake elsewhere", pod("elsewhere", "care-team")),
    ]
}

/// A stretch of revisions, and what may be open in it.
#[derive(Clone, Debug)]
struct Window {
    what: String,
    /// The first revision after this one belongs to it.
    from: u64,
    allowed: Open,
    /// Whether others have meddled with the operator's objects, so that its own promises cannot hold.
    meddled: bool,
}

/// What happens to a world, step by step.
pub struct Story<'a> {
    pub world: &'a World,
    observer: &'a Observer,
    windows: Vec<Window>,
    open: Open,
}

impl<'a> Story<'a> {
    pub fn begin(world: &'a World, observer: &'a Observer) -> Self {
        let mut story = Self { world, observer, windows: Vec::new(), open: is_open(world) };
        story.window("before", story.open.clone(), false);
        story
    }

    /// Does something after which just this is open. Until then, what was open may be, too.
    pub fn step(&mut self, what: &str, then: Open, act: impl FnOnce()) {
        self.window(what, &self.open | &then, false);
        act();
        self.until(what, |story| is_open(story.world) == then && is_as_planned(story.world));
        self.window(&format!("after: {what}"), then.clone(), false);
        self.open = then;
    }

    /// Takes something away, after which nothing is open that was not. What is, the plan says.
    pub fn less(&mut self, what: &str, act: impl FnOnce()) -> Open {
        self.window(what, self.open.clone(), false);
        act();
        self.until(what, |story| is_as_planned(story.world));
        self.open = is_open(self.world);
        self.window(&format!("after: {what}"), self.open.clone(), false);
        self.open.clone()
    }

    /// Meddles with what the operator wrote, until it has put it right.
    pub fn meddle(&mut self, what: &str, act: impl FnOnce()) {
        self.window(what, self.open.clone(), true);
        act();
        let open = self.open.clone();
        self.until(what, |story| is_open(story.world) == open && is_as_planned(story.world));
        self.window(&format!("after: {what}"), open, false);
    }

    fn window(&mut self, what: &str, allowed: Open, meddled: bool) {
        let from = revision(self.world);
        self.windows.push(Window { what: what.to_owned(), from, allowed, meddled });
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        // what has not been seen to change yet may look as if it were done
        std::thread::sleep(Duration::from_millis(20));
        while !holds(self) {
            assert!(
                began.elapsed() < SOON * 3,
                "never done: {what}; open to {:?}; {}",
                is_open(self.world),
                self.trace()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Looks at every revision, and fails with all that was wrong. Gives back how many there were.
    pub fn verify(self) -> usize {
        let (count, wrong) = self.faults();
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), self.trace());
        count
    }

    fn trace(&self) -> String {
        let mut text = String::new();
        for seen in self.observer.of(self.world) {
            let gone = if seen.object.is_none() { "gone" } else { "" };
            let _ = writeln!(text, "{} {:?} {gone}", seen.revision, seen.key);
        }
        text
    }

    fn faults(&self) -> (usize, Vec<String>) {
        let mut state: BTreeMap<Key, Value> = BTreeMap::new();
        let mut isolated: BTreeSet<&str> = BTreeSet::new();
        let mut wrong = Vec::new();
        let all = self.observer.of(self.world);
        for seen in &all {
            match &seen.object {
                Some(object) => state.insert(seen.key.clone(), object.clone()),
                None => state.remove(&seen.key),
            };
            let Some(window) = self.windows.iter().rev().find(|it| it.from < seen.revision) else { continue };
            let mut say = |what: String| {
                wrong.push(format!("revision {} ({:?}), {}: {what}", seen.revision, seen.key, window.what));
            };
            self.look(&state, window, &mut isolated, &mut say);
        }
        (all.len(), wrong)
    }

    fn look(
        &self,
        state: &BTreeMap<Key, Value>,
        window: &Window,
        isolated: &mut BTreeSet<&'static str>,
        say: &mut impl FnMut(String),
    ) {
        let policies: Vec<&Value> =
            state.iter().filter(|(key, _)| key.0 == "NetworkPolicy").map(|(_, object)| object).collect();
        let sources = sources(self.world);
        let products = products(self.world);
        for (product, to) in &products {
            self.isolation(&policies, Direction::Ingress, product, to, window, isolated, say);
            if window.meddled || !isolates(&policies, Direction::Ingress, to) {
                continue;
            }
            for (name, from) in &sources {
                let flow = format!("{name}>{product}");
                if !window.allowed.contains(&flow) && allows(&policies, Direction::Ingress, to, from, PORT) {
                    say(format!("`{flow}` is let in"));
                }
                if allows(&policies, Direction::Ingress, to, from, OTHER_PORT) {
                    say(format!("`{flow}` is let in on another port"));
                }
            }
        }
        let team = pod(&self.world.ns("pcn"), "care-team");
        self.isolation(&policies, Direction::Egress, "the care team", &team, window, isolated, say);
        if !window.meddled && isolates(&policies, Direction::Egress, &team) {
            for (product, to) in &products {
                let flow = format!("pcn>{product}");
                if !window.allowed.contains(&flow) && allows(&policies, Direction::Egress, &team, to, PORT) {
                    say(format!("`{flow}` is let out"));
                }
            }
            if allows(&policies, Direction::Egress, &team, &pod("elsewhere", "x"), PORT) {
                say("the care team reaches what it likes".to_owned());
            }
        }
        if window.meddled {
            return;
        }
        let held = state.iter().any(|(key, object)| {
            let finalizers = object["metadata"]["finalizers"].as_array();
            key.0 == "DataSharingAgreement" && finalizers.is_some_and(|it| it.contains(&json!(FINALIZER)))
        });
        for ((kind, namespace, name), object) in state {
            let part = object["metadata"]["labels"]["concordat.dev/part"].as_str();
            if part == Some("ingress")
                && !state.contains_key(&("DataAccessGrant", namespace.clone(), name.clone()))
            {
                say(format!("`{name}` lets in without a grant"));
            }
            if matches!(part, Some("ingress" | "egress" | "grant")) && !held {
                say(format!("{kind} `{name}` stands, and no agreement is held"));
            }
        }
    }

    /// Default deny is there before the first allow, and as long as any.
    #[expect(clippy::too_many_arguments, reason = "one look, from one place")]
    fn isolation(
        &self,
        policies: &[&Value],
        direction: Direction,
        name: &'static str,
        pod: &Pod,
        window: &Window,
        isolated: &mut BTreeSet<&'static str>,
        say: &mut impl FnMut(String),
    ) {
        let governing: Vec<&&Value> = policies.iter().filter(|it| governs(it, direction, pod)).collect();
        let denies = governing.iter().any(|it| opens_nothing(it));
        if denies {
            isolated.insert(name);
        } else if window.meddled {
            // somebody else wrote it: what becomes of it is asserted where they did
        } else if direction == Direction::Egress && governing.is_empty() {
            // a function that is Managed no longer, with no allow left that would need a deny below it
            isolated.remove(name);
        } else if isolated.contains(name) {
            say(format!("{name}: default deny is gone"));
        } else if !governing.is_empty() {
            say(format!("{name}: something is allowed before default deny stands"));
        }
    }
}

/// Whether a policy denies all but, at most, the names of domains.
fn opens_nothing(policy: &Value) -> bool {
    let rules = ["ingress", "egress"].map(|it| policy["spec"][it].as_array().cloned().unwrap_or_default());
    rules.iter().flatten().all(|rule| {
        let ports = rule["ports"].as_array();
        ports.is_some_and(|ports| !ports.is_empty() && ports.iter().all(|it| it["port"] == 53))
    })
}
