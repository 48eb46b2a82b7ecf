//! The operator on a real API server, beside only applying the same objects with the same client.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use concordat_api::{API_VERSION, custom_resource_definitions};
use concordat_core::evaluate::Judgement;
use concordat_core::plan::{FIELD_MANAGER, MANAGED_BY, PlannedObject};
use concordat_operator::Options;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::process::{median, memory, rounded};
use crate::support;
use crate::world::{Fate, Size, World};

/// The field manager of what people apply.
const PEOPLE: &str = "people";
/// As many calls at once as the operator makes.
const AT_ONCE: usize = 8;
/// What has been silent for so long has settled.
const SILENCE: Duration = Duration::from_secs(4);
/// How often one agreement is changed.
const CHANGES: usize = 5;

pub fn measure(size: Size) -> Value {
    let runtime = Runtime::new().expect("a runtime");
    let kubeconfig = support::kubeconfig().expect("an API server");
    let options = Options { kubeconfig: Some(kubeconfig.to_owned()), ..Options::default() };
    runtime.block_on(async {
        let client = concordat_operator::client(&options).await.expect("a client");
        let world = World::new(size);
        let cluster = Cluster { client };
        let prepared = cluster.prepare(&world).await;
        eprintln!("prepared: {prepared}");
        let seen = cluster.watch();
        let raw = cluster.raw(&world, size).await;
        eprintln!("raw: {raw}");
        // the operator begins where `raw` began: an object that has a status already is more work to write to
        cluster.clear(&world).await;
        cluster.apply(PEOPLE, world.manifests().cloned(), false).await;
        seen.silent(Instant::now()).await;

        let operator = Operator::start(kubeconfig);
        let converged = cluster.converge(&world, &seen, &operator, &raw).await;
        eprintln!("converged: {converged}");
        let changed = cluster.change(&world, &seen).await;
        let memory = operator.memory();
        operator.stop();

        // once more, with everything in place
        let operator = Operator::start(kubeconfig);
        let writes = seen.writes();
        while operator.read_after().is_none() {
            sleep(Duration::from_millis(50)).await;
        }
        // time to judge as well
        sleep(operator.began.elapsed()).await;
        seen.silent(Instant::now()).await;
        let restarted = json!({
            "secondsUntilRead": operator.read_after().map(|it| rounded(it.as_secs_f64())),
            "writes": seen.writes() - writes,
            "memory": operator.memory(),
        });
        operator.stop();
        json!({
            "agreements": size.agreements, "prepare": prepared, "raw": raw, "converge": converged,
            "oneChange": changed, "memory": memory, "restart": restarted,
        })
    })
}

struct Cluster {
    client: Client,
}

fn resource(kind: &str) -> ApiResource {
    // made once for each kind: a definition takes longer to write down than an object to apply
    static MADE: Mutex<BTreeMap<String, ApiResource>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().expect("no panic");
    made.entry(kind.to_owned()).or_insert_with(|| describe(kind)).clone()
}

fn describe(kind: &str) -> ApiResource {
    let (group, version) = match kind {
        "NetworkPolicy" => ("networking.k8s.io", "v1"),
        "Event" => ("events.k8s.io", "v1"),
        "Namespace" => ("", "v1"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1"),
        _ => API_VERSION.split_once('/').expect("group and version"),
    };
    let plural = custom_resource_definitions().into_iter().find(|it| it.spec.names.kind == kind);
    let gvk = GroupVersionKind::gvk(group, version, kind);
    plural.map_or_else(
        || ApiResource::from_gvk(&gvk),
        |it| ApiResource::from_gvk_with_plural(&gvk, &it.spec.names.plural),
    )
}

impl Cluster {
    fn api(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let resource = resource(text("/kind").expect("a kind"));
        let api = match text("/metadata/namespace") {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        (api, text("/metadata/name").expect("a name").to_owned())
    }

    /// Applies objects, as many at once as the operator does, and says how many a second that were.
    async fn apply(
        &self,
        manager: &str,
        objects: impl Iterator<Item = Value>,
        status: bool,
    ) -> (usize, Duration) {
        let began = Instant::now();
        let params = PatchParams::apply(manager).force();
        let count = futures::stream::iter(objects)
            .map(|object| {
                let params = &params;
                async move {
                    let (api, name) = self.api(&object);
                    let patch = Patch::Apply(&object);
                    if status {
                        api.patch_status(&name, params, &patch).await.map(drop)
                    } else {
                        api.patch(&name, params, &patch).await.map(drop)
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_fold(0, |count, ()| async move { Ok(count + 1) })
            .await
            .expect("the objects are applied");
        (count, began.elapsed())
    }

    async fn prepare(&self, world: &World) -> Value {
        let definitions = custom_resource_definitions();
        let names: Vec<String> = definitions.iter().map(kube::ResourceExt::name_any).collect();
        let definitions = definitions.into_iter().map(|it| {
            let mut value = json!(it);
            value["apiVersion"] = json!("apiextensions.k8s.io/v1");
            value["kind"] = json!("CustomResourceDefinition");
            value
        });
        self.apply(PEOPLE, definitions, false).await;
        let api: Api<DynamicObject> =
            Api::all_with(self.client.clone(), &resource("CustomResourceDefinition"));
        for name in names {
            loop {
                let conditions =
                    api.get(&name).await.expect("a definition").data["status"]["conditions"].clone();
                let established = |it: &Value| it["type"] == "Established" && it["status"] == "True";
                if conditions.as_array().into_iter().flatten().any(established) {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        let namespaces = world
            .namespaces
            .iter()
            .map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
        self.apply(PEOPLE, namespaces, false).await;
        let (count, took) = self.apply(PEOPLE, world.manifests().cloned(), false).await;
        rate(count, took)
    }

    /// Applies what the operator would, without it, and under its name: a field that changes hands is more work.
    async fn raw(&self, world: &World, size: Size) -> Value {
        let plan = Judgement::new(&world.snapshot().expect("objects"), size.at).plan();
        let objects = plan.objects.iter().map(|it| {
            let mut object = json!(it);
            let kind = it.key().kind;
            object["apiVersion"] = json!(resource(&kind).api_version);
            object["kind"] = json!(kind);
            object
        });
        let (objects, writing) = self.apply(FIELD_MANAGER, objects, false).await;
        let statuses = plan.statuses.iter().filter(|it| it.object.kind != "PolicyFramework").map(|it| {
            let mut status = json!(it.status);
            // not what the operator will say, so that it has as much to write
            status["observedGeneration"] = json!(999);
            if status.get("reason").is_some() {
                status["reason"] = json!("Bench");
            }
            json!({
                "apiVersion": API_VERSION, "kind": it.object.kind,
                "metadata": { "name": it.object.name, "namespace": it.object.namespace }, "status": status,
            })
        });
        // the operator says of each grant whether it stands
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "Bench", "message": "1 grant and 1 network policy are written",
            "observedGeneration": 1, "lastTransitionTime": size.at,
        });
        let grants = plan.objects.iter().map(PlannedObject::key).filter(|key| key.kind == "DataAccessGrant");
        let grants = grants.map(|key| {
            json!({
                "apiVersion": API_VERSION, "kind": key.kind,
                "metadata": { "name": key.name, "namespace": key.namespace },
                "status": { "conditions": [condition] },
            })
        });
        let (statuses, reporting) = self.apply(FIELD_MANAGER, statuses.chain(grants), true).await;
        let mut raw = rate(objects + statuses, writing + reporting);
        raw["objects"] = rate(objects, writing);
        raw["statuses"] = rate(statuses, reporting);
        raw
    }

    /// Takes away every object of ours and what `raw` has made of them.
    async fn clear(&self, world: &World) {
        let (delete, every) = (&DeleteParams::default(), &ListParams::default());
        let definitions = custom_resource_definitions();
        let (namespaced, global): (Vec<_>, Vec<_>) =
            definitions.iter().partition(|it| it.spec.scope == "Namespaced");
        let kinds = namespaced.iter().map(|it| it.spec.names.kind.as_str()).chain(["NetworkPolicy"]);
        for resource in kinds.map(resource) {
            for namespace in &world.namespaces {
                let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
                api.delete_collection(delete, every).await.expect("deleted");
            }
        }
        for resource in global.iter().map(|it| resource(&it.spec.names.kind)) {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            api.delete_collection(delete, every).await.expect("deleted");
        }
    }

    fn watch(&self) -> Seen {
        let seen = Seen::default();
        for kind in [
            "NetworkPolicy",
            "DataAccessGrant",
            "DataSharingAgreement",
            "AgreementSignature",
            "PartnerOrg",
            "DataProduct",
            "PlaceFootprint",
            "LocalPolicy",
            "Event",
        ] {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(kind));
            let mut config = watcher::Config::default();
            if kind == "NetworkPolicy" {
                config = config.labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
            }
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut events = watcher(api, config).boxed();
                while let Some(event) = events.next().await {
                    match event {
                        Ok(watcher::Event::Apply(object)) => seen.put(kind, &object, true),
                        Ok(watcher::Event::InitApply(object)) => seen.put(kind, &object, false),
                        Ok(watcher::Event::Delete(object)) => seen.take(kind, &object),
                        Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                        // what was written until it is listed anew is not counted
                        Err(error) => seen.missed(kind, &error),
                    }
                }
            });
        }
        seen
    }

    async fn converge(&self, world: &World, seen: &Seen, operator: &Operator, raw: &Value) -> Value {
        let began = operator.began;
        let (before, counted, cut) = (seen.writes(), seen.counts(), seen.cut());
        let active = world.agreements.iter().filter(|it| it.fate == Fate::Active).count();
        let deadline = Duration::from_secs(3600);
        while seen.ready() < active {
            assert!(began.elapsed() < deadline, "{} of {active} are ready", seen.ready());
            sleep(Duration::from_millis(100)).await;
        }
        seen.silent(began).await;
        let took = seen.last().expect("a write").duration_since(began);
        let mut converged = rate(seen.writes() - before, took);
        let seconds = took.as_secs_f64();
        converged["ready"] = json!(seen.ready());
        converged["watchesCut"] = json!(seen.cut() - cut);
        converged["byKind"] = json!(
            seen.counts()
                .into_iter()
                .map(|(kind, count)| (kind, count - counted.get(kind).unwrap_or(&0)))
                .collect::<BTreeMap<_, _>>()
        );
        converged["secondsUntilRead"] = json!(operator.read_after().map(|it| rounded(it.as_secs_f64())));
        let share = |own: f64, theirs: &Value| json!(rounded(own / theirs.as_f64().unwrap_or(1.0)));
        converged["rateOverRaw"] = share(converged["perSecond"].as_f64().unwrap_or(0.0), &raw["perSecond"]);
        converged["secondsOverRaw"] = share(seconds, &raw["seconds"]);
        converged
    }

    /// Suspends an agreement and lets it go on, and says how long it takes until the last write of each.
    async fn change(&self, world: &World, seen: &Seen) -> Value {
        let (mut closing, mut opening) = (Vec::new(), Vec::new());
        let active = world.agreements.iter().filter(|it| it.fate == Fate::Active).step_by(7).take(CHANGES);
        for signed in active {
            for suspend in [true, false] {
                let (api, name) = self.api(&signed.agreement);
                let ready = seen.ready();
                let began = Instant::now();
                let patch = json!({ "spec": { "suspend": suspend } });
                api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("a change");
                while (seen.ready() == ready) || (began.elapsed() < Duration::from_millis(20)) {
                    assert!(began.elapsed() < Duration::from_secs(120), "the change has no effect");
                    sleep(Duration::from_millis(5)).await;
                }
                seen.silent(began).await;
                let took = seen.last().expect("a write").duration_since(began).as_secs_f64();
                if suspend { closing.push(took) } else { opening.push(took) }
            }
        }
        json!({ "closeSeconds": rounded(median(closing)), "openSeconds": rounded(median(opening)), "times": CHANGES })
    }
}

fn rate(count: usize, took: Duration) -> Value {
    let per_second = count as f64 / took.as_secs_f64();
    json!({ "writes": count, "seconds": rounded(took.as_secs_f64()), "perSecond": rounded(per_second) })
}

/// What the watches have brought.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    writes: usize,
    last: Option<Instant>,
    ready: BTreeSet<String>,
    count: BTreeMap<&'static str, usize>,
    /// How often a watch was cut, so that writes went by uncounted.
    cut: usize,
}

impl Seen {
    fn put(&self, kind: &'static str, object: &DynamicObject, is_write: bool) {
        let mut state = self.0.lock().expect("no panic");
        if is_write {
            state.writes += 1;
            state.last = Some(Instant::now());
        }
        if kind == "DataSharingAgreement" {
            let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let name = object.name_any();
            if conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == "True") {
                state.ready.insert(name);
            } else {
                state.ready.remove(&name);
            }
        }
        *state.count.entry(kind).or_default() += 1;
    }

    fn take(&self, kind: &'static str, _: &DynamicObject) {
        let mut state = self.0.lock().expect("no panic");
        state.writes += 1;
        state.last = Some(Instant::now());
        *state.count.entry(kind).or_default() += 1;
    }

    fn missed(&self, kind: &str, error: &watcher::Error) {
        eprintln!("a watch of {kind} was cut: {error}");
        self.0.lock().expect("no panic").cut += 1;
    }

    fn cut(&self) -> usize {
        self.0.lock().expect("no panic").cut
    }

    fn writes(&self) -> usize {
        self.0.lock().expect("no panic").writes
    }

    fn ready(&self) -> usize {
        self.0.lock().expect("no panic").ready.len()
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().expect("no panic").count.clone()
    }

    fn last(&self) -> Option<Instant> {
        self.0.lock().expect("no panic").last
    }

    /// Waits until nothing has been written for a while.
    async fn silent(&self, since: Instant) {
        loop {
            let last = self.last().unwrap_or(since).max(since);
            if last.elapsed() > SILENCE {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The operator, as a process of its own.
struct Operator {
    child: Child,
    began: Instant,
    read: Arc<Mutex<Option<Instant>>>,
}

impl Operator {
    fn start(kubeconfig: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_concordat"))
            .args(["run", "--log-format", "json", "--kubeconfig"])
            .arg(kubeconfig)
            .args(["--health-addr", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the operator");
        let began = Instant::now();
        let read = Arc::new(Mutex::new(None));
        let (log, told) = (child.stderr.take().expect("its log"), Arc::clone(&read));
        let is_loud = std::env::var_os("RUST_LOG").is_some();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if line.contains("every kind is read") {
                    told.lock().expect("no panic").get_or_insert_with(Instant::now);
                }
                if is_loud || line.contains("\"level\":\"WARN\"") || line.contains("\"level\":\"ERROR\"") {
                    eprintln!("{line}");
                }
            }
        });
        Self { child, began, read }
    }

    fn read_after(&self) -> Option<Duration> {
        self.read.lock().expect("no panic").map(|at| at.duration_since(self.began))
    }

    fn memory(&self) -> Value {
        let id = self.child.id();
        json!({ "residentMiB": memory(id, "VmRSS"), "peakMiB": memory(id, "VmHWM") })
    }

    fn stop(mut self) {
        self.child.kill().expect("the operator ends");
        self.child.wait().expect("the operator has ended");
    }
}
