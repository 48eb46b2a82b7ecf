//! Whoever looks on: every version of every policy, grant and agreement, in the order in which etcd took them, and
//! at each of them the question what was reachable.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use concordat_api::{ConditionStatus, DataAccessGrant, DataSharingAgreement, PartnerOrg, Phase};
use concordat_core::plan::{PlannedObject, StatusBody};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::proxy::runtime;
use crate::reach::{Direction, Pod, Port, allows, connects, governs, isolates, pod, selects, stranger};
use crate::support::world::{SOON, World};

const FINALIZER: &str = "concordat.dev/grants";
const AGREEMENT: &str = "concordat.dev/agreement";
/// What products listen at in these worlds, and how a flow to it is told.
const PORTS: [(Port, &str); 2] = [(Port("TCP", 8443), ""), (Port("TCP", 8444), ":8444")];
/// What no one ever agreed to.
const NEVER: [Port; 2] = [Port("TCP", 9999), Port("UDP", 8443)];

/// Who reaches what, as `recipient>product`, with the port where it is not the usual one.
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

/// The names in a world.
#[derive(Clone, Debug)]
struct Cast {
    stem: String,
}

impl Cast {
    fn of(world: &World) -> Self {
        Self { stem: world.stem.clone() }
    }

    fn ns(&self, of: &str) -> String {
        format!("{}-{of}", self.stem)
    }

    fn products(&self) -> Vec<(&'static str, Pod)> {
        ["bins", "contacts"].map(|name| (name, pod(&self.ns("council"), &format!("{name}-gateway")))).to_vec()
    }

    /// The recipients' pods, and some that no one ever agreed to.
    fn sources(&self) -> Vec<(&'static str, Pod)> {
        vec![
            ("pcn", pod(&self.ns("pcn"), "care-team")),
            ("night", pod(&self.ns("pcn"), "night-team")),
            ("charity", pod(&self.ns("charity"), "befriending")),
            ("there", stranger([10, 1, 0, 7])),
            ("there too", stranger([10, 2, 0, 7])),
            ("the controller's own", pod(&self.ns("council"), "waste")),
            ("another pod of the network", pod(&self.ns("pcn"), "other")),
            ("another pod of the charity", pod(&self.ns("charity"), "other")),
            ("a namesake elsewhere", pod("elsewhere", "care-team")),
            ("no one", stranger([192, 0, 2, 1])),
        ]
    }

    /// The pods whose way out may be Managed.
    fn managed(&self) -> [(&'static str, Pod); 2] {
        [("pcn", pod(&self.ns("pcn"), "care-team")), ("night", pod(&self.ns("pcn"), "night-team"))]
    }

    /// Who reaches what, by a set of policies.
    fn open(&self, policies: &[&Value]) -> Open {
        let mut open = Open::new();
        for (product, to) in self.products() {
            for (name, from) in self.sources() {
                for (port, told) in PORTS {
                    if isolates(policies, Direction::Ingress, &to) && connects(policies, &from, &to, port) {
                        open.insert(format!("{name}>{product}{told}"));
                    }
                }
            }
        }
        open
    }

    /// Whether every recipient of a grant is covered by what may be open.
    fn covers(&self, allowed: &Open, grant: &Value) -> bool {
        let product = grant["spec"]["product"]["name"].as_str().unwrap_or_default();
        let mut recipients = grant["spec"]["recipients"].as_array().into_iter().flatten();
        recipients.all(|recipient| {
            let org = recipient["org"].as_str().unwrap_or_default();
            let org = org.strip_prefix(&format!("{}-", self.stem)).unwrap_or(org);
            allowed.iter().any(|flow| {
                let (who, what) = flow.split_once('>').unwrap_or_default();
                let of = if ["night", "there", "there too"].contains(&who) { "pcn" } else { who };
                of == org && what.split(':').next() == Some(product)
            })
        })
    }
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

fn resources() -> [(&'static str, ApiResource); 5] {
    [
        ("NetworkPolicy", ApiResource::erase::<NetworkPolicy>(&())),
        ("DataAccessGrant", ApiResource::erase::<DataAccessGrant>(&())),
        ("DataSharingAgreement", ApiResource::erase::<DataSharingAgreement>(&())),
        ("PartnerOrg", ApiResource::erase::<PartnerOrg>(&())),
        ("Namespace", ApiResource::erase::<Namespace>(&())),
    ]
}

impl Seen {
    fn is_of(&self, stem: &str) -> bool {
        let (_, namespace, name) = &self.key;
        let whose = if namespace.is_empty() { name } else { namespace };
        whose.strip_prefix(stem).is_some_and(|rest| rest.starts_with('-'))
    }
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

    /// How many versions of a world's objects have been seen.
    pub fn count(&self, world: &World) -> usize {
        self.of(world).len()
    }

    /// All of one world, oldest first, once everything that there is has been seen.
    fn of(&self, world: &World) -> Vec<Seen> {
        let began = Instant::now();
        loop {
            let mine = |it: &&Seen| it.is_of(&world.stem);
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
        let found = list.items.iter().map(|it| seen(kind, it, false));
        all.extend(found.filter(|it| it.is_of(&world.stem)));
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
    let live = live(world);
    let policies = live.iter().filter(|it| it.key.0 == "NetworkPolicy");
    let policies: Vec<&Value> = policies.filter_map(|it| it.object.as_ref()).collect();
    Cast::of(world).open(&policies)
}

/// Whether a world's policies, grants and finalizers are just those that `plan` prints for it. A Managed function
/// that has lost its last workload keeps its isolation: what denies may be left over, what opens may not.
pub fn is_as_planned(world: &World) -> bool {
    let mut planned: BTreeMap<Key, Value> = BTreeMap::new();
    let plan = world.offline_plan();
    for object in &plan.objects {
        let kind = match object {
            PlannedObject::Grant(_) => "DataAccessGrant",
            PlannedObject::Isolation(_) | PlannedObject::Allow { .. } => "NetworkPolicy",
        };
        let key = object.key();
        planned.insert((kind, key.namespace.unwrap_or_default(), key.name), compared(&json!(object)));
    }
    let live = live(world);
    let held = live.iter().filter(|it| it.key.0 == "DataSharingAgreement");
    let held = held.filter(|it| it.object.as_ref().is_some_and(is_held));
    let held: BTreeSet<(&str, &str)> = held.map(|it| (it.key.1.as_str(), it.key.2.as_str())).collect();
    let to_hold = plan.finalizers.iter().map(|it| (it.namespace.as_str(), it.name.as_str()));
    let ours = live.iter().filter(|it| ["NetworkPolicy", "DataAccessGrant"].contains(&it.key.0));
    let ours = ours.filter(|it| part(it.object.as_ref()).is_some());
    let ours =
        ours.filter(|it| planned.contains_key(&it.key) || part(it.object.as_ref()) != Some("isolation"));
    let present: BTreeMap<Key, Value> =
        ours.map(|it| (it.key.clone(), compared(&it.object.clone().unwrap_or_default()))).collect();
    planned == present && held == to_hold.collect()
}

/// Whether the agreements' statuses say what `plan` says, and that it has come to pass.
pub fn is_told(world: &World) -> bool {
    let agreements = world.mine::<DataSharingAgreement>();
    let plan = world.offline_plan();
    let told = |at: &DataSharingAgreement| {
        let planned = plan.statuses.iter().find(|it| {
            it.object.kind == "DataSharingAgreement"
                && it.object.namespace == at.namespace()
                && it.object.name == at.name_any()
        });
        let Some(StatusBody::Agreement(planned)) = planned.map(|it| &*it.status) else { return false };
        let Some(status) = &at.status else { return false };
        let is = |type_: &str| {
            let condition = status.conditions.iter().find(|it| it.type_ == type_);
            condition.map(|it| it.status == ConditionStatus::True)
        };
        let active = planned.phase == Some(Phase::Active);
        status.phase == planned.phase
            && status.observed_generation == at.metadata.generation
            && is("Enforced") == Some(active)
            && is("Ready") == Some(active)
            && is("Reconciling") == Some(false)
    };
    agreements.iter().all(told)
}

fn part(object: Option<&Value>) -> Option<&str> {
    object?["metadata"]["labels"]["concordat.dev/part"].as_str()
}

fn is_held(agreement: &Value) -> bool {
    let finalizers = agreement["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|it| it.contains(&json!(FINALIZER)))
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

    /// Does something after which just this is open. Until then, what was open may be, too. Gives back how long it
    /// took once it had been done.
    pub fn step(&mut self, what: &str, then: Open, act: impl FnOnce()) -> Duration {
        self.window(what, &self.open | &then, false);
        act();
        let took = self.until(what, |story| is_open(story.world) == then && is_as_planned(story.world));
        self.window(&format!("after: {what}"), then.clone(), false);
        self.open = then;
        took
    }

    /// Meddles with what the operator wrote, until it has put it right. Gives back how long that took.
    pub fn meddle(&mut self, what: &str, act: impl FnOnce()) -> Duration {
        self.window(what, self.open.clone(), true);
        act();
        let open = self.open.clone();
        let took = self.until(what, |story| is_open(story.world) == open && is_as_planned(story.world));
        self.window(&format!("after: {what}"), open, false);
        took
    }

    fn window(&mut self, what: &str, allowed: Open, meddled: bool) {
        let from = revision(self.world);
        self.windows.push(Window { what: what.to_owned(), from, allowed, meddled });
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
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
        began.elapsed()
    }

    /// Looks at every revision, and fails with all that was wrong. Gives back how many there were.
    pub fn verify(self) -> usize {
        self.until("the statuses say so", |story| is_told(story.world));
        let all = self.observer.of(self.world);
        let wrong = faults(&Cast::of(self.world), &self.windows, &all);
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), self.trace());
        all.len()
    }

    fn trace(&self) -> String {
        let mut text = String::new();
        for seen in self.observer.of(self.world) {
            let gone = if seen.object.is_none() { "gone" } else { "" };
            let _ = writeln!(text, "{} {:?} {gone}", seen.revision, seen.key);
        }
        text
    }
}

/// All that was wrong at any revision.
fn faults(cast: &Cast, windows: &[Window], all: &[Seen]) -> Vec<String> {
    let mut look = Look { cast, state: BTreeMap::new(), isolated: BTreeSet::new() };
    let mut wrong = Vec::new();
    for seen in all {
        match &seen.object {
            Some(object) => look.state.insert(seen.key.clone(), object.clone()),
            None => look.state.remove(&seen.key),
        };
        let Some(window) = windows.iter().rev().find(|it| it.from < seen.revision) else { continue };
        look.at(window, &mut |what| {
            wrong.push(format!("revision {} ({:?}), {}: {what}", seen.revision, seen.key, window.what));
        });
    }
    wrong
}

/// What stands at one revision, and which default deny has stood.
struct Look<'a> {
    cast: &'a Cast,
    state: BTreeMap<Key, Value>,
    isolated: BTreeSet<&'static str>,
}

impl Look<'_> {
    fn at(&mut self, window: &Window, say: &mut impl FnMut(String)) {
        let state = self.state.clone();
        let policies: Vec<&Value> =
            state.iter().filter(|(key, _)| key.0 == "NetworkPolicy").map(|(_, object)| object).collect();
        for (product, to) in self.cast.products() {
            self.isolation(&policies, Direction::Ingress, product, &to, window, say);
            if window.meddled || !isolates(&policies, Direction::Ingress, &to) {
                continue;
            }
            for (name, from) in self.cast.sources() {
                for (port, told) in PORTS {
                    let flow = format!("{name}>{product}{told}");
                    if !window.allowed.contains(&flow)
                        && allows(&policies, Direction::Ingress, &to, &from, port)
                    {
                        say(format!("`{flow}` is let in"));
                    }
                }
                for port in NEVER {
                    if allows(&policies, Direction::Ingress, &to, &from, port) {
                        say(format!("`{name}>{product}` is let in at {port:?}"));
                    }
                }
            }
        }
        for (name, from) in self.cast.managed() {
            self.isolation(&policies, Direction::Egress, name, &from, window, say);
            if window.meddled || !isolates(&policies, Direction::Egress, &from) {
                continue;
            }
            for (product, to) in self.cast.products() {
                for (port, told) in PORTS {
                    let flow = format!("{name}>{product}{told}");
                    if !window.allowed.contains(&flow)
                        && allows(&policies, Direction::Egress, &from, &to, port)
                    {
                        say(format!("`{flow}` is let out"));
                    }
                }
            }
            for to in [pod("elsewhere", "x"), stranger([192, 0, 2, 1])] {
                if allows(&policies, Direction::Egress, &from, &to, PORTS[0].0) {
                    say(format!("`{name}` reaches what it likes"));
                }
            }
        }
        if !window.meddled {
            self.effects(window, say);
        }
    }

    /// No policy lets in without its grant, no grant stands for what is not open, nothing without a held agreement.
    fn effects(&self, window: &Window, say: &mut impl FnMut(String)) {
        for ((kind, namespace, name), object) in &self.state {
            let part = part(Some(object));
            // what stands in a namespace that is going goes in an order of its own
            if !matches!(part, Some("ingress" | "egress" | "grant")) || !self.stands(namespace) {
                continue;
            }
            let agreement = object["metadata"]["annotations"][AGREEMENT].as_str().unwrap_or_default();
            let (at, called) = agreement.split_once('/').unwrap_or_default();
            let key = ("DataSharingAgreement", at.to_owned(), called.to_owned());
            if !self.state.get(&key).is_some_and(is_held) {
                say(format!("{kind} `{name}` stands, and its agreement is not held"));
            }
            if part == Some("ingress")
                && !self.state.contains_key(&("DataAccessGrant", namespace.clone(), name.clone()))
            {
                say(format!("`{name}` lets in without a grant"));
            }
            if part == Some("grant") && !self.cast.covers(&window.allowed, object) {
                say(format!("grant `{name}` stands for what no one may"));
            }
        }
    }

    /// Default deny is there before the first allow, and as long as any; and as long as a function is Managed.
    fn isolation(
        &mut self,
        policies: &[&Value],
        direction: Direction,
        name: &'static str,
        pod: &Pod,
        window: &Window,
        say: &mut impl FnMut(String),
    ) {
        let governing: Vec<&&Value> = policies.iter().filter(|it| governs(it, direction, pod)).collect();
        let denies = governing.iter().any(|it| opens_nothing(it, direction));
        let outlives = direction == Direction::Ingress || !governing.is_empty() || self.is_managed(pod);
        if !self.stands(pod.namespace.as_deref().unwrap_or_default()) {
            // its policies go with it, in an order that is not the operator's
            self.isolated.remove(name);
        } else if denies {
            self.isolated.insert(name);
        } else if window.meddled {
            // somebody else wrote it: what becomes of it is asserted where they did
        } else if outlives && self.isolated.contains(name) {
            say(format!("{name}: default deny is gone"));
        } else if !governing.is_empty() {
            say(format!("{name}: something is allowed before default deny stands"));
        } else {
            self.isolated.remove(name);
        }
    }

    /// Whether a namespace is there, and stays.
    fn stands(&self, namespace: &str) -> bool {
        let found = self.state.get(&("Namespace", String::new(), namespace.to_owned()));
        found.is_some_and(|it| it["metadata"]["deletionTimestamp"].is_null())
    }

    /// Whether an organisation says that a pod is of a Managed function.
    fn is_managed(&self, pod: &Pod) -> bool {
        let orgs = self.state.iter().filter(|(key, _)| key.0 == "PartnerOrg");
        let functions = orgs.flat_map(|(_, org)| org["spec"]["functions"].as_array().into_iter().flatten());
        let managed = functions.filter(|function| function["egress"] == "Managed");
        let mut workloads = managed.flat_map(|it| it["workloads"].as_array().into_iter().flatten());
        workloads.any(|workload| {
            workload["namespace"].as_str() == pod.namespace.as_deref()
                && selects(workload.get("podSelector"), &pod.labels)
        })
    }
}

/// Whether a policy denies all but, on the way out, the names of domains.
fn opens_nothing(policy: &Value, direction: Direction) -> bool {
    let rules = ["ingress", "egress"].map(|it| policy["spec"][it].as_array().cloned().unwrap_or_default());
    rules.iter().flatten().all(|rule| {
        let ports = rule["ports"].as_array();
        direction == Direction::Egress
            && ports.is_some_and(|ports| !ports.is_empty() && ports.iter().all(|it| it["port"] == 53))
    })
}

/// The observer's own faults: a story in which each promise is broken once has to be told as such.
#[cfg(test)]
mod tests {
    use super::*;

    fn cast() -> Cast {
        Cast { stem: "w".to_owned() }
    }

    /// A history, one object after the other; nothing in the place of one that goes.
    struct History(Vec<Seen>);

    impl History {
        /// Three namespaces, an agreement that is held, and a function that is Managed.
        fn begin() -> Self {
            let history = Self(Vec::new());
            let history = ["council", "pcn", "charity"].iter().fold(history, |history, of| {
                history.then("Namespace", "", &format!("w-{of}"), Some(json!({"metadata": {}})))
            });
            let workload =
                json!({"namespace": "w-pcn", "podSelector": {"matchLabels": {"app": "care-team"}}});
            let function = json!({"egress": "Managed", "workloads": [workload]});
            history
                .then("PartnerOrg", "", "w-pcn", Some(json!({"spec": {"functions": [function]}})))
                .held(true)
        }

        fn then(mut self, kind: &'static str, namespace: &str, name: &str, object: Option<Value>) -> Self {
            let revision = u64::try_from(self.0.len()).unwrap() + 1;
            let key = (kind, namespace.to_owned(), name.to_owned());
            let object = object.map(|mut object| {
                object["metadata"]["namespace"] = json!(namespace);
                object
            });
            self.0.push(Seen { revision, key, object });
            self
        }

        fn held(self, held: bool) -> Self {
            let finalizers = if held { json!([FINALIZER]) } else { json!([]) };
            let agreement = json!({"metadata": {"finalizers": finalizers}});
            self.then("DataSharingAgreement", "w-council", "sharing", Some(agreement))
        }

        fn deny(self) -> Self {
            let deny = policy("isolation", "bins-gateway", "Ingress", Value::Null);
            self.then("NetworkPolicy", "w-council", "isolate", Some(deny))
        }

        fn deny_out(self) -> Self {
            let deny = policy("isolation", "care-team", "Egress", Value::Null);
            self.then("NetworkPolicy", "w-pcn", "isolate-out", Some(deny))
        }

        fn grant(self) -> Self {
            let mut grant = part_of("grant");
            grant["spec"] = json!({"recipients": [{"org": "w-pcn"}], "product": {"name": "bins"}});
            self.then("DataAccessGrant", "w-council", "flow", Some(grant))
        }

        fn allow(self, app: &str, port: u64) -> Self {
            let peer = json!({
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "w-pcn"}},
                "podSelector": {"matchLabels": {"app": app}},
            });
            let rule = json!([{"from": [peer], "ports": [{"port": port}]}]);
            let allow = policy("ingress", "bins-gateway", "Ingress", rule);
            self.then("NetworkPolicy", "w-council", "flow", Some(allow))
        }

        fn allow_out(self) -> Self {
            let peer = json!({
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "w-council"}},
                "podSelector": {"matchLabels": {"app": "bins-gateway"}},
            });
            let rule = json!([{"to": [peer], "ports": [{"port": 8443}]}]);
            let allow = policy("egress", "care-team", "Egress", rule);
            self.then("NetworkPolicy", "w-pcn", "flow-out", Some(allow))
        }

        fn gone(self, namespace: &str, name: &str) -> Self {
            self.then("NetworkPolicy", namespace, name, None)
        }

        /// What is wrong, where just this may be open.
        fn told(&self, allowed: &[&str]) -> Vec<String> {
            let window = Window { what: "all".to_owned(), from: 0, allowed: open(allowed), meddled: false };
            let faults = faults(&cast(), &[window], &self.0);
            faults.iter().map(|it| it.rsplit_once("all: ").unwrap().1.to_owned()).collect()
        }
    }

    fn part_of(part: &str) -> Value {
        json!({"metadata": {
            "labels": {"concordat.dev/part": part}, "annotations": {AGREEMENT: "w-council/sharing"},
        }})
    }

    fn policy(part: &str, app: &str, type_: &str, rules: Value) -> Value {
        let mut policy = part_of(part);
        policy["spec"] = json!({"podSelector": {"matchLabels": {"app": app}}, "policyTypes": [type_]});
        policy["spec"][type_.to_lowercase()] = rules;
        policy
    }

    const PCN: [&str; 1] = ["pcn>bins"];

    /// Isolated, then open both ways.
    fn opened() -> History {
        History::begin().deny().deny_out().grant().allow("care-team", 8443).allow_out()
    }

    #[test]
    fn what_is_done_in_order_is_no_fault() {
        let closed = opened()
            .gone("w-pcn", "flow-out")
            .gone("w-council", "flow")
            .then("DataAccessGrant", "w-council", "flow", None)
            .held(false);
        assert_eq!(closed.told(&PCN), Vec::<String>::new());
    }

    #[test]
    fn what_nobody_may_is_a_fault_at_either_end() {
        assert_eq!(
            opened().told(&[]),
            [
                "grant `flow` stands for what no one may",
                "`pcn>bins` is let in",
                "grant `flow` stands for what no one may",
                "`pcn>bins` is let in",
                "`pcn>bins` is let out",
                "grant `flow` stands for what no one may",
            ]
        );
        let begun = || History::begin().deny().grant();
        assert_eq!(begun().allow("other", 8443).told(&PCN), ["`another pod of the network>bins` is let in"]);
        assert_eq!(begun().allow("care-team", 8444).told(&PCN), ["`pcn>bins:8444` is let in"]);
        let told = begun().allow("care-team", 9999).told(&PCN);
        assert_eq!(told, [format!("`pcn>bins` is let in at {:?}", NEVER[0])]);
    }

    #[test]
    fn an_allow_before_the_deny_is_a_fault_and_so_is_a_deny_that_goes_first() {
        let told = History::begin().grant().allow("care-team", 8443).deny().told(&PCN);
        assert_eq!(told, ["bins: something is allowed before default deny stands"]);
        let told = History::begin().allow_out().deny_out().told(&PCN);
        assert_eq!(told, ["pcn: something is allowed before default deny stands"]);
        let gone = "bins: default deny is gone";
        assert_eq!(opened().gone("w-council", "isolate").told(&PCN), [gone]);
        assert_eq!(History::begin().deny().gone("w-council", "isolate").told(&[]), [gone]);
        let gone = "pcn: default deny is gone";
        assert_eq!(opened().gone("w-pcn", "isolate-out").told(&PCN), [gone]);
        assert_eq!(History::begin().deny_out().gone("w-pcn", "isolate-out").told(&[]), [gone]);
        // once the function is Managed no longer, it may go, and after the last allow at that
        let free = |history: History| history.then("PartnerOrg", "", "w-pcn", Some(json!({"spec": {}})));
        let none = Vec::<String>::new();
        assert_eq!(free(History::begin().deny_out()).gone("w-pcn", "isolate-out").told(&[]), none);
        let both = free(opened()).gone("w-pcn", "isolate-out").gone("w-pcn", "flow-out");
        assert_eq!(both.told(&PCN), [gone]);
    }

    #[test]
    fn an_allow_without_its_grant_or_its_held_agreement_is_a_fault() {
        assert_eq!(
            History::begin().deny().allow("care-team", 8443).told(&PCN),
            ["`flow` lets in without a grant"]
        );
        let unheld = History::begin().held(false).deny().grant();
        assert_eq!(unheld.told(&PCN), ["DataAccessGrant `flow` stands, and its agreement is not held"]);
    }

    #[test]
    fn what_others_have_meddled_with_is_theirs_until_it_is_put_right() {
        let history = opened().gone("w-council", "isolate").deny().gone("w-council", "isolate");
        let length = u64::try_from(history.0.len()).unwrap();
        let window =
            |from: u64, meddled: bool| Window { what: "all".to_owned(), from, allowed: open(&PCN), meddled };
        let windows = [window(0, false), window(length - 3, true), window(length - 1, false)];
        let faults = faults(&cast(), &windows, &history.0);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(&format!("revision {length} ")), "{faults:?}");
    }
}
