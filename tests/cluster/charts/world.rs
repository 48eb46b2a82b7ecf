//! A cluster with the charts installed, what is tried on it, and how charts are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::Scope;
use kube::{Api, Client, Config, Discovery, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::Process;
use crate::support::helm::{definitions_chart, helm, operator_chart};
use crate::support::scenario::{effect, eventually};
use crate::{SOON, support, turn};

pub const OPERATOR: &str = "concordat-operator";
pub const IMAGE: [&str; 2] = ["--set", "image.repository=registry.example/concordat"];
/// A cluster administrator, whom no role binds.
pub const ROOT: (&str, &str) = ("root@example.org", "system:masters");

/// A cluster with the charts installed. The operator's chart goes when this does.
pub struct World {
    runtime: Runtime,
    config: Config,
    pub kubeconfig: PathBuf,
    pub namespace: String,
    places: Mutex<Vec<String>>,
    /// One at a time.
    _turn: MutexGuard<'static, ()>,
}

impl World {
    pub fn new(more: &[&str]) -> Self {
        static DEFINED: OnceLock<()> = OnceLock::new();
        let turn = turn();
        let kubeconfig = support::kubeconfig().unwrap().to_owned();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = runtime.block_on(async {
            let file = Kubeconfig::read_from(&kubeconfig).unwrap();
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap()
        });
        let namespace = support::unique("concordat-system");
        let world = Self { runtime, config, kubeconfig, namespace, places: Mutex::default(), _turn: turn };
        DEFINED.get_or_init(|| world.install_definitions());
        let chart = operator_chart().display().to_string();
        let caretakers = world.caretakers();
        let mut arguments =
            vec!["install", "concordat", &chart, "--namespace", &world.namespace, "--create-namespace"];
        arguments.extend(IMAGE);
        arguments.extend(["--set-json", &caretakers]);
        arguments.extend(more);
        world.helm(&arguments).unwrap();
        // for a moment the API server may go by the policies of a release that is gone, and so by its account
        let probe = owned_policy("default", "probe");
        eventually("the API server to know this release's account", SOON, || {
            world.apply_dry(&world.operator(), &probe).ok()
        })
        .unwrap();
        world
    }

    /// The usual ones, and whom this cluster's controllers run as: in our own control plane that is its administrator.
    pub fn caretakers(&self) -> String {
        let values = std::fs::read_to_string(operator_chart().join("values.yaml")).unwrap();
        let values: Value = serde_saphyr::from_str(&values).unwrap();
        let mut caretakers: Vec<String> = texts(&values["admissionPolicy"]["caretakers"]).collect();
        let api: Api<SelfSubjectReview> = Api::all(self.admin());
        let me = self.run(api.create(&PostParams::default(), &SelfSubjectReview::default())).unwrap();
        caretakers.push(me.status.unwrap().user_info.unwrap().username.unwrap());
        format!("admissionPolicy.caretakers={}", json!(caretakers))
    }

    pub fn install_definitions(&self) {
        let chart = definitions_chart().display().to_string();
        let release =
            ["upgrade", "--install", "concordat-crds", &chart, "--namespace", "default", "--take-ownership"];
        self.helm(&release).unwrap();
        let name = "datasharingagreements.concordat.dev";
        eventually("the definitions to be served", SOON, || {
            let read = self.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, name)?;
            assert_eq!(read["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
            let conditions = read["status"]["conditions"].as_array()?.clone();
            conditions.iter().find(|it| it["type"] == "Established" && it["status"] == "True").map(drop)
        })
        .unwrap();
    }

    pub fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        let kubeconfig = self.kubeconfig.display().to_string();
        helm(arguments.iter().copied().chain(["--kubeconfig", &kubeconfig]))
    }

    pub fn upgrade(&self, more: &[&str]) -> Result<String, String> {
        let chart = operator_chart().display().to_string();
        let mut arguments =
            vec!["upgrade", "concordat", &chart, "--namespace", &self.namespace, "--reuse-values"];
        arguments.extend(more);
        self.helm(&arguments)
    }

    pub fn uninstall(&self) -> Result<String, String> {
        self.helm(&["uninstall", "concordat", "--namespace", &self.namespace, "--ignore-not-found"])
    }

    pub fn run<T>(&self, future: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
        self.runtime.block_on(future).map_err(|error| error.to_string())
    }

    // who

    pub fn client(&self, change: impl FnOnce(&mut Config)) -> Client {
        let mut config = self.config.clone();
        change(&mut config);
        let _inside = self.runtime.enter();
        Client::try_from(config).unwrap()
    }

    pub fn admin(&self) -> Client {
        self.client(|_| {})
    }

    pub fn acting(&self, user: &str, groups: &[&str]) -> Client {
        self.client(|config| {
            config.auth_info.impersonate = Some(user.to_owned());
            let groups = groups.iter().copied().chain(["system:authenticated"]);
            config.auth_info.impersonate_groups = Some(groups.map(str::to_owned).collect());
        })
    }

    pub fn account(&self) -> String {
        format!("system:serviceaccount:{}:{OPERATOR}", self.namespace)
    }

    pub fn account_groups(&self) -> Vec<String> {
        let namespace = &self.namespace;
        vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ]
    }

    pub fn operator(&self) -> Client {
        let groups = self.account_groups();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        self.acting(&self.account(), &groups)
    }

    /// Starts the real binary as the Deployment would, with a token of the chart's account.
    pub fn start_operator(&self) -> Process {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin(), &self.namespace);
        let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}})).unwrap();
        let token =
            self.run(accounts.create_token_request(OPERATOR, &PostParams::default(), &request)).unwrap();
        let mut file: Value =
            serde_saphyr::from_str(&std::fs::read_to_string(&self.kubeconfig).unwrap()).unwrap();
        file["users"].as_array_mut().unwrap().iter_mut().for_each(|user| {
            user["user"] = json!({"token": token.status.as_ref().unwrap().token});
        });
        let path = self.kubeconfig.with_file_name(format!("{}.kubeconfig", self.namespace));
        std::fs::write(&path, file.to_string()).unwrap();

        let deployed = self.get("apps/v1", "Deployment", Some(&self.namespace), OPERATOR).unwrap();
        let arguments = arguments(&[deployed]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_concordat"));
        // ours answers no one
        command.args(arguments.iter().filter(|it| !it.starts_with("--health-addr")));
        command.args(["--health-addr=127.0.0.1:0", "--kubeconfig"]).arg(&path);
        Process::start("operator", &mut command).unwrap()
    }

    // what there is

    /// A namespace that goes with this world.
    pub fn place(&self, stem: &str, labels: Value) -> String {
        let name = support::unique(stem);
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.apply(&self.admin(), &object).unwrap();
        self.places.lock().unwrap().push(name.clone());
        name
    }

    pub fn bind(&self, place: &str, role: &str, user: &str) {
        self.apply(&self.admin(), &role_binding(place, role, user)).unwrap();
    }

    pub fn dynamic(&self, client: &Client, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let api_version = text("/apiVersion").unwrap();
        let kind = text("/kind").unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = GroupVersionKind::gvk(group, version, kind);
        let (resource, capabilities) =
            self.runtime.block_on(kube::discovery::pinned_kind(&self.admin(), &kind)).unwrap();
        let namespace = text("/metadata/namespace").unwrap_or(&self.namespace);
        let api = match capabilities.scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        (api, text("/metadata/name").unwrap_or_default().to_owned())
    }

    pub fn get(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
        let (api, name) = self.dynamic(&self.admin(), &object);
        self.run(api.get_opt(&name)).unwrap().map(|found| json!(found))
    }

    pub fn objects(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<Value> {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace}});
        let (api, _) = self.dynamic(&self.admin(), &object);
        self.run(api.list(&ListParams::default())).unwrap().items.iter().map(|it| json!(it)).collect()
    }

    // doing

    pub fn patch(&self, client: &Client, object: &Value, params: &PatchParams) -> Result<(), String> {
        let (api, name) = self.dynamic(client, object);
        self.run(api.patch(&name, params, &Patch::Apply(object))).map(drop)
    }

    pub fn apply(&self, client: &Client, object: &Value) -> Result<(), String> {
        self.patch(client, object, &PatchParams::apply("charts-test").force())
    }

    pub fn apply_dry(&self, client: &Client, object: &Value) -> Result<(), String> {
        self.patch(
            client,
            object,
            &PatchParams { dry_run: true, ..PatchParams::apply("charts-test").force() },
        )
    }

    pub fn api<K: Kind>(&self, client: &Client, place: &str) -> Api<K> {
        Api::namespaced(client.clone(), place)
    }

    pub fn merge<K: Kind>(
        &self,
        client: &Client,
        place: &str,
        name: &str,
        change: &Value,
    ) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        self.run(api.patch(name, &PatchParams::default(), &Patch::Merge(change))).map(drop)
    }

    pub fn merge_dry<K: Kind>(
        &self,
        client: &Client,
        place: &str,
        name: &str,
        change: &Value,
    ) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        self.run(api.patch(name, &params, &Patch::Merge(change))).map(drop)
    }

    pub fn status_dry<K: Kind>(
        &self,
        client: &Client,
        place: &str,
        name: &str,
        change: &Value,
    ) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        self.run(api.patch_status(name, &params, &Patch::Merge(change))).map(drop)
    }

    pub fn delete<K: Kind>(&self, client: &Client, place: &str, name: &str) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        self.run(api.delete(name, &DeleteParams::default())).map(drop)
    }

    pub fn delete_dry<K: Kind>(&self, client: &Client, place: &str, name: &str) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        self.run(api.delete(name, &DeleteParams { dry_run: true, ..DeleteParams::default() })).map(drop)
    }

    pub fn delete_all<K: Kind>(&self, client: &Client, place: &str) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        self.run(api.delete_collection(&DeleteParams::default(), &ListParams::default())).map(drop)
    }

    pub fn try_list<K: Kind>(&self, client: &Client, place: &str) -> Result<Vec<String>, String> {
        let api: Api<K> = self.api(client, place);
        let list = self.run(api.list(&ListParams::default()))?;
        Ok(list.items.iter().map(kube::ResourceExt::name_any).collect())
    }

    pub fn list<K: Kind>(&self, client: &Client, place: &str) -> Vec<String> {
        self.try_list::<K>(client, place).unwrap()
    }

    /// Tries until a policy refuses, as a new one takes a moment to be known, and gives back what it said.
    pub fn denied(&self, policy: &str, attempt: impl Fn() -> Result<(), String>) -> String {
        let by = format!("ValidatingAdmissionPolicy '{policy}'");
        let mut last = String::new();
        let refused = eventually(&format!("`{policy}` to refuse"), Duration::from_secs(10), || {
            last = attempt().err().unwrap_or_else(|| "it was let through".to_owned());
            last.contains(&by).then_some(())
        });
        assert!(refused.is_ok(), "{policy}: {last}");
        last
    }

    // asking

    pub fn review(&self, user: &str, groups: &[String], attributes: ResourceAttributes) -> bool {
        self.runtime.block_on(reviewed(&self.admin(), user, groups, attributes))
    }

    pub fn may(&self, namespace: &str, group: &str, resource: &str, name: Option<&str>, verb: &str) -> bool {
        let attributes = attributes(namespace, group, resource, name, verb);
        self.review(&self.account(), &self.account_groups(), attributes)
    }

    /// All that the operator's account may do in a namespace, by asking about everything that the API server knows.
    pub fn everything_allowed(&self, namespace: &str) -> BTreeSet<String> {
        let client = self.admin();
        let (user, groups) = (self.account(), self.account_groups());
        let verbs = [
            "get",
            "list",
            "watch",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
            "impersonate",
            "bind",
            "escalate",
            "approve",
            "sign",
            "use",
        ];
        self.runtime.block_on(async {
            let discovery = Discovery::new(client.clone()).run().await.unwrap();
            let mut resources: BTreeSet<(String, String)> = BTreeSet::new();
            for group in discovery.groups() {
                for (ApiResource { group, plural, .. }, capabilities) in group.resources_by_stability() {
                    resources.insert((group.clone(), plural.clone()));
                    for (below, _) in capabilities.subresources {
                        resources.insert((group.clone(), format!("{plural}/{}", below.plural)));
                    }
                }
            }
            for virtual_one in ["users", "groups"] {
                resources.insert((String::new(), virtual_one.to_owned()));
            }
            assert!(resources.len() > 100, "{resources:?}");
            assert!(resources.contains(&(String::new(), "serviceaccounts/token".to_owned())));
            let questions =
                resources.iter().flat_map(|(group, resource)| verbs.map(|verb| (group, resource, verb)));
            let answers = futures::stream::iter(questions).map(|(group, resource, verb)| {
                let (client, user, groups) = (&client, &user, &groups);
                async move {
                    let attributes = attributes(namespace, group, resource, None, verb);
                    let may = reviewed(client, user, groups, attributes).await;
                    may.then(|| format!("{verb} {group}/{resource}"))
                }
            });
            answers.buffer_unordered(16).filter_map(|answer| async { answer }).collect().await
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // a test that has failed says so itself; what is left here would only confuse the next
        let _gone = self.uninstall();
        // for a moment the API server still goes by its policies
        let (root, probe) = (self.acting(ROOT.0, &[ROOT.1]), owned_policy("default", "probe"));
        let _forgotten =
            eventually("the policies to be forgotten", SOON, || self.apply_dry(&root, &probe).ok());
        let api: Api<Namespace> = Api::all(self.admin());
        let places = std::mem::take(&mut *self.places.lock().unwrap_or_else(PoisonError::into_inner));
        for place in places.iter().chain([&self.namespace]) {
            let _gone = self.run(api.delete(place, &DeleteParams::background()));
        }
    }
}

pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
}
impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned> Kind
    for K
{
}

async fn reviewed(client: &Client, user: &str, groups: &[String], attributes: ResourceAttributes) -> bool {
    let spec = SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        groups: Some(groups.to_vec()),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    api.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

pub fn attributes(
    namespace: &str,
    group: &str,
    resource: &str,
    name: Option<&str>,
    verb: &str,
) -> ResourceAttributes {
    let (resource, subresource) =
        resource.split_once('/').map_or((resource, None), |(of, it)| (of, Some(it)));
    ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        name: name.map(str::to_owned),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    }
}

/// A policy as the operator writes them.
pub fn owned_policy(place: &str, stem: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {
            "name": format!("{stem}-abcdefabcd"), "namespace": place,
            "labels": {"app.kubernetes.io/managed-by": "concordat", "concordat.dev/part": "ingress"},
        },
        "spec": {
            "podSelector": {"matchLabels": {"app": "x"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [their_peer()], "ports": [{"port": 443, "protocol": "TCP"}]}],
        },
    })
}

pub fn their_peer() -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}})
}

/// A policy as anybody may write it.
pub fn their_policy(place: &str, name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": place, "labels": {"app.kubernetes.io/managed-by": "somebody"}},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]},
    })
}

pub fn grant(place: &str) -> Value {
    let hash = format!("sha256:{}", "0".repeat(64));
    json!({
        "apiVersion": "concordat.dev/v1alpha1", "kind": "DataAccessGrant",
        "metadata": {
            "name": "grant", "namespace": place,
            "labels": {"app.kubernetes.io/managed-by": "concordat", "concordat.dev/part": "grant"},
        },
        "spec": {
            "agreement": {"namespace": place, "name": "a", "uid": "u", "generation": 1, "termsHash": hash},
            "product": {"namespace": place, "name": "p"},
            "recipients": [{
                "org": "o", "function": "f", "notAfter": "2026-02-01T00:00:00Z",
                "purposes": [{
                    "code": "DirectCare", "actions": ["readRecord"], "maxIdentifiability": "Identifiable",
                    "notAfter": "2026-02-01T00:00:00Z", "contextFree": false,
                }],
            }],
            "notBefore": "2026-01-01T00:00:00Z", "notAfter": "2026-02-01T00:00:00Z",
            "framework": {"name": "england", "version": "1.0.0", "digest": hash},
        },
    })
}

pub fn role_binding(place: &str, role: &str, user: &str) -> Value {
    let group = "rbac.authorization.k8s.io";
    json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": {"name": format!("{role}-for-{}", user.replace('@', "-at-")), "namespace": place},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    })
}

/// An object with a merge patch applied.
pub fn changed(object: &Value, change: &Value) -> Value {
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            let mut merged = object.clone();
            for (key, change) in change {
                match change {
                    Value::Null => {
                        merged.remove(key);
                    }
                    _ => {
                        let value = changed(object.get(key).unwrap_or(&Value::Null), change);
                        merged.insert(key.clone(), value);
                    }
                }
            }
            Value::Object(merged)
        }
        _ => change.clone(),
    }
}

/// The effects that the committed plan of a scenario names.
pub fn planned(folder: &Path) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder.join("expected/plan.json")).unwrap();
    let plan: Value = serde_json::from_str(&text).unwrap();
    let objects = plan["objects"].as_array().unwrap();
    objects.iter().map(|object| effect(object["kind"].as_str().unwrap(), object)).collect()
}

pub fn deployment(objects: &[Value]) -> Value {
    objects.iter().find(|it| it["kind"] == "Deployment").expect("a Deployment").clone()
}

pub fn arguments(objects: &[Value]) -> Vec<String> {
    texts(&deployment(objects)["spec"]["template"]["spec"]["containers"][0]["args"]).collect()
}

pub fn texts(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().cloned().unwrap_or_default().into_iter().map(|it| it.as_str().expect("a text").to_owned())
}

/// The sets of values that a chart is tested with.
pub fn value_files(chart: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(chart.join("ci")).unwrap();
    let mut files: Vec<String> = entries.map(|entry| entry.unwrap().path().display().to_string()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", chart.display());
    files
}

/// Each value with its default and what the schema says of it.
pub fn values_table(chart: &Path) -> String {
    let values: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(chart.join("values.yaml")).unwrap()).unwrap();
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(chart.join("values.schema.json")).unwrap()).unwrap();
    let mut rows = String::from("| Value | Default | What it is |\n|---|---|---|\n");
    let mut fill = |path: &str, value: &Value, schema: &Value| {
        let description = schema["description"].as_str().unwrap_or_else(|| panic!("{path} is not described"));
        rows.push_str(&format!("| `{path}` | `{value}` | {description} |\n"));
    };
    fn walk(path: &str, values: &Value, schema: &Value, fill: &mut impl FnMut(&str, &Value, &Value)) {
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let named = values.as_object().cloned().unwrap_or_default();
        for name in named.keys() {
            assert!(properties.contains_key(name), "the schema does not know `{path}{name}`");
        }
        for (name, schema) in &properties {
            let path = format!("{path}{name}");
            match (name.as_str(), named.get(name)) {
                ("global", None) => {}
                (_, None) => panic!("`{path}` has no default"),
                (_, Some(value)) if schema["properties"].is_object() && name != "resources" => {
                    walk(&format!("{path}."), value, schema, fill);
                }
                (_, Some(value)) => fill(&path, value, schema),
            }
        }
    }
    walk("", &values, &schema, &mut fill);
    rows
}
