//! A scenario of `examples/` on a real cluster: applied as its people would, watched, and taken away again.
//!
//! Blocking, as the rest of this module. Signatures are applied as an account of the signing party's namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use concordat_api::{
    AgreementSignature, DataAccessGrant, DataSharingAgreement, LocalPolicy, custom_resource_definitions,
};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::until;

/// The field manager of what a scenario applies.
const MANAGER: &str = "scenario";
/// The account that signs for a party, in the party's own namespace.
const SIGNER: &str = "ig-lead";

/// A cluster, and what has been put into it.
pub struct Cluster {
    runtime: Runtime,
    config: Config,
    client: Client,
    /// What was not there before, in the order in which it was made.
    made: Vec<(kube::api::ApiResource, Option<String>, String)>,
}

/// An error as text: what was tried, and what the server said.
type Attempt<T> = Result<T, String>;

fn failed(what: impl std::fmt::Display) -> impl FnOnce(kube::Error) -> String {
    move |error| format!("{what}: {error}")
}

impl Cluster {
    /// Connects as the kubeconfig says.
    pub fn connect(kubeconfig: &Path) -> Attempt<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let config = runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig).map_err(|error| error.to_string())?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| error.to_string())
        })?;
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config.clone()).map_err(|error| error.to_string())?
        };
        Ok(Self { runtime, config, client, made: Vec::new() })
    }

    /// Installs the definitions of all kinds, and waits until they are served.
    pub fn install_definitions(&mut self) -> Attempt<usize> {
        let definitions = custom_resource_definitions();
        for definition in &definitions {
            self.apply_typed(definition)?;
        }
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for definition in &definitions {
            let name = definition.name_any();
            eventually(&format!("`{name}` to be served"), Duration::from_secs(30), || {
                let conditions = self.runtime.block_on(api.get(&name)).ok()?.status?.conditions?;
                conditions.iter().any(|it| it.type_ == "Established" && it.status == "True").then_some(())
            })?;
        }
        Ok(definitions.len())
    }

    /// Applies the manifests of a folder as `kubectl apply -f FOLDER` does: its files in order, no folders below.
    pub fn apply_folder(&mut self, folder: &Path) -> Attempt<usize> {
        let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        let mut count = 0;
        for file in files {
            for object in documents(&file)? {
                self.apply(object)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Applies one object.
    pub fn apply(&mut self, object: Value) -> Attempt<()> {
        let object: DynamicObject = serde_json::from_value(object).map_err(|error| error.to_string())?;
        let types = object.types.clone().ok_or("an object without apiVersion and kind")?;
        let kind = GroupVersionKind::try_from(&types).map_err(|error| error.to_string())?;
        let (resource, _) = self
            .runtime
            .block_on(kube::discovery::pinned_kind(&self.client, &kind))
            .map_err(failed(format!("kind `{}`", kind.kind)))?;
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let (namespace, name) = (object.namespace(), object.name_any());
        let is_new = self
            .runtime
            .block_on(api.get_opt(&name))
            .map_err(failed(format!("{} `{name}`", kind.kind)))?
            .is_none();
        let parameters = PatchParams::apply(MANAGER).force();
        self.runtime
            .block_on(api.patch(&name, &parameters, &Patch::Apply(&object)))
            .map_err(failed(format!("apply {} `{name}`", kind.kind)))?;
        if is_new {
            self.made.push((resource, namespace, name));
        }
        Ok(())
    }

    /// Applies one object of a known type.
    pub fn apply_typed<K>(&mut self, object: &K) -> Attempt<()>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let mut value = serde_json::to_value(object).map_err(|error| error.to_string())?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("apiVersion".to_owned(), json!(K::api_version(&())));
            fields.insert("kind".to_owned(), json!(K::kind(&())));
        }
        self.apply(value)
    }

    /// Gives a party's namespace an account that may write signatures there, and nothing else.
    pub fn make_signer(&mut self, namespace: &str) -> Attempt<()> {
        let meta = json!({ "name": SIGNER, "namespace": namespace });
        let objects: [Value; 3] = [
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta }),
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": [
                { "apiGroups": ["concordat.dev"], "resources": ["agreementsignatures"],
                  "verbs": ["get", "create", "patch", "delete"] }
            ]}),
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": SIGNER },
                "subjects": [{ "kind": "ServiceAccount", "name": SIGNER, "namespace": namespace }] }),
        ];
        // what these types are is checked before the server sees them
        let _: ServiceAccount = typed(&objects[0])?;
        let _: Role = typed(&objects[1])?;
        let _: RoleBinding = typed(&objects[2])?;
        for object in objects {
            self.apply(object)?;
        }
        Ok(())
    }

    /// Applies a signature as the signing account of a namespace.
    pub fn sign_as(&mut self, account_of: &str, signature: &AgreementSignature) -> Attempt<()> {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(format!("system:serviceaccount:{account_of}:{SIGNER}"));
        let client = {
            let _inside = self.runtime.enter();
            Client::try_from(config).map_err(|error| error.to_string())?
        };
        let namespace = signature.namespace().ok_or("a signature without a namespace")?;
        let api: Api<AgreementSignature> = Api::namespaced(client, &namespace);
        let parameters = PatchParams::apply(MANAGER).force();
        self.runtime
            .block_on(api.patch(&signature.name_any(), &parameters, &Patch::Apply(signature)))
            .map(|_| ())
            .map_err(failed(format!("sign as `{account_of}/{SIGNER}` in `{namespace}`")))
    }

    /// The one agreement of a name.
    pub fn agreement(&self, namespace: &str, name: &str) -> Attempt<DataSharingAgreement> {
        let api: Api<DataSharingAgreement> = Api::namespaced(self.client.clone(), namespace);
        self.runtime.block_on(api.get(name)).map_err(failed(format!("get `{namespace}/{name}`")))
    }

    /// Reads a local policy.
    pub fn local_policy(&self, namespace: &str, name: &str) -> Attempt<LocalPolicy> {
        let api: Api<LocalPolicy> = Api::namespaced(self.client.clone(), namespace);
        self.runtime.block_on(api.get(name)).map_err(failed(format!("get `{namespace}/{name}`")))
    }

    /// The grants in some namespaces, in order.
    pub fn grants(&self, namespaces: &BTreeSet<String>) -> Attempt<Vec<DataAccessGrant>> {
        self.owned(namespaces)
    }

    /// The operator's network policies in some namespaces, in order.
    pub fn policies(&self, namespaces: &BTreeSet<String>) -> Attempt<Vec<NetworkPolicy>> {
        self.owned(namespaces)
    }

    fn owned<K>(&self, namespaces: &BTreeSet<String>) -> Attempt<Vec<K>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let labelled = ListParams::default().labels("app.kubernetes.io/managed-by=concordat");
        let list = self.runtime.block_on(api.list(&labelled)).map_err(failed("list"))?;
        let mut items: Vec<K> = list.items;
        items.retain(|item| {
            item.meta().namespace.as_ref().is_some_and(|namespace| namespaces.contains(namespace))
        });
        items.sort_by_key(|item| (item.meta().namespace.clone(), item.meta().name.clone()));
        Ok(items)
    }

    /// Takes away the agreements that were made here, and waits until they are gone.
    pub fn delete_agreements(&mut self) -> Attempt<()> {
        let made = std::mem::take(&mut self.made);
        let (agreements, rest): (Vec<_>, Vec<_>) =
            made.into_iter().partition(|(resource, ..)| resource.kind == "DataSharingAgreement");
        self.made = rest;
        self.delete_all(agreements)
    }

    /// Takes away what was made here but for the definitions, last things first, and waits until it is gone.
    pub fn clear(&mut self) -> Attempt<()> {
        // agreements first, while the operator is there to close what they opened
        self.delete_agreements()?;
        let made = std::mem::take(&mut self.made);
        let (definitions, rest): (Vec<_>, Vec<_>) =
            made.into_iter().partition(|(resource, ..)| resource.kind == "CustomResourceDefinition");
        self.made = definitions;
        self.delete_all(rest.into_iter().rev().collect())
    }

    /// Takes away everything that was made here, and waits until it is gone.
    pub fn clean_up(&mut self) -> Attempt<()> {
        self.clear()?;
        let definitions = std::mem::take(&mut self.made);
        self.delete_all(definitions)
    }

    fn delete_all(&self, objects: Vec<(kube::api::ApiResource, Option<String>, String)>) -> Attempt<()> {
        let apis: Vec<(String, Api<DynamicObject>)> = objects
            .into_iter()
            .map(|(resource, namespace, name)| {
                let api = match namespace {
                    Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
                    None => Api::all_with(self.client.clone(), &resource),
                };
                (name, api)
            })
            .collect();
        for (name, api) in &apis {
            match self.runtime.block_on(api.delete(name, &DeleteParams::background())) {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(format!("delete `{name}`: {error}")),
            }
        }
        for (name, api) in &apis {
            eventually(&format!("`{name}` to be gone"), Duration::from_secs(60), || {
                match self.runtime.block_on(api.get_opt(name)) {
                    Ok(None) => Some(()),
                    _ => None,
                }
            })?;
        }
        Ok(())
    }
}

fn typed<T: DeserializeOwned>(value: &Value) -> Attempt<T> {
    serde_json::from_value(value.clone()).map_err(|error| error.to_string())
}

/// The documents of a YAML file.
pub fn documents(file: &Path) -> Attempt<Vec<Value>> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_saphyr::from_multiple(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// The signature that a file holds.
pub fn signature(file: &Path) -> Attempt<AgreementSignature> {
    let documents = documents(file)?;
    typed(documents.first().ok_or_else(|| format!("{} is empty", file.display()))?)
}

/// The namespaces of a scenario's `00-namespaces.yaml`.
pub fn namespaces(folder: &Path) -> Attempt<BTreeSet<String>> {
    documents(&folder.join("00-namespaces.yaml"))?
        .iter()
        .map(|document| typed::<Namespace>(document).map(|namespace| namespace.name_any()))
        .collect()
}

/// What is compared of objects on a cluster with a plan: all that the operator wrote, by kind, namespace and name,
/// without what only a cluster knows.
pub fn effects(grants: &[DataAccessGrant], policies: &[NetworkPolicy]) -> BTreeMap<String, Value> {
    let grants = grants.iter().map(|grant| effect("DataAccessGrant", &json!(grant)));
    let policies = policies.iter().map(|policy| effect("NetworkPolicy", &json!(policy)));
    grants.chain(policies).collect()
}

/// One object as [`effects`] has it.
pub fn effect(kind: &str, object: &Value) -> (String, Value) {
    let at = |pointer: &str| object.pointer(pointer).cloned().unwrap_or(Value::Null);
    let text = |pointer: &str| at(pointer).as_str().unwrap_or_default().to_owned();
    let mut spec = at("/spec");
    if let Some(agreement) = spec.get_mut("agreement").and_then(Value::as_object_mut) {
        agreement.remove("uid");
        agreement.remove("generation");
    }
    let what = json!({
        "labels": at("/metadata/labels"),
        "annotations": at("/metadata/annotations"),
        "spec": spec,
    });
    (format!("{kind} {}/{}", text("/metadata/namespace"), text("/metadata/name")), what)
}

/// Waits until a look finds something, for at most `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Attempt<T> {
    until(what, limit, || Ok(look()))
}
