//! A council that controls bins and contacts, a primary care network and a charity that receive them: one agreement,
//! with everything that it needs, in namespaces and under names that no one else has.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use concordat_api::{
    AgreementSignature, DataAccessGrant, DataAccessGrantSpec, DataProduct, DataSharingAgreement,
    FrameworkException, ObjectRef, PartnerOrg, Phase, PlaceFootprint, PolicyFramework,
    custom_resource_definitions,
};
use concordat_core::evaluate::Judgement;
use concordat_core::plan::{PART, Plan, PlannedObject};
use concordat_core::sign::{SignatureRequest, signature};
use concordat_core::snapshot::{ClusterView, Snapshot, Sourced};
use concordat_source::cluster::{Incoming, Stores};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Namespace};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, NamespaceResourceScope};
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// The longest that anything here may take; most take a tenth of a second.
pub const SOON: Duration = Duration::from_secs(30);

/// A client for the control plane of this process.
pub async fn connect() -> Client {
    let kubeconfig = Kubeconfig::read_from(super::kubeconfig().unwrap()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Specs of policies, and of grants.
type Effects = (BTreeMap<ObjectRef, Option<NetworkPolicySpec>>, BTreeMap<ObjectRef, DataAccessGrantSpec>);

/// A council that controls bins and contacts, a primary care network and a charity that receive them.
pub struct World {
    pub stem: String,
    pub client: Client,
    /// How the operator sees the cluster.
    pub cluster: ClusterView,
    runtime: Runtime,
}

impl World {
    pub fn new(stem: &str) -> Self {
        if std::env::var_os("RUST_LOG").is_some() {
            let lines =
                tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env());
            let _set_before = lines.with_writer(std::io::stderr).try_init();
        }
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(connect());
        let cluster = ClusterView::Unnamed;
        let world = Self { stem: super::unique(stem), client, cluster, runtime };
        world.definitions();
        for place in ["council", "pcn", "charity"] {
            world.namespace(&world.ns(place));
        }
        world
    }

    /// Waits until everything is open and has been said to be.
    pub fn opened(self) -> Self {
        self.apply_all();
        self.sign_all();
        self.ready();
        self.until("every grant is ready", || {
            self.mine::<DataAccessGrant>().into_iter().all(|it| it.status.is_some())
        });
        self
    }

    pub fn ns(&self, of: &str) -> String {
        format!("{}-{of}", self.stem)
    }

    pub fn org(&self, of: &str) -> String {
        format!("{}-{of}", self.stem)
    }

    pub fn agreement(&self) -> ObjectRef {
        ObjectRef { namespace: self.ns("council"), name: "sharing".to_owned() }
    }

    /// Installs the kinds, once.
    pub fn definitions(&self) {
        static ONCE: OnceLock<()> = OnceLock::new();
        ONCE.get_or_init(|| {
            for definition in custom_resource_definitions() {
                self.apply::<CustomResourceDefinition>(json!(definition));
            }
            self.until("the kinds are served", || {
                let listed = self.block(
                    Api::<DataSharingAgreement>::all(self.client.clone()).list(&ListParams::default()),
                );
                let grants =
                    self.block(Api::<DataAccessGrant>::all(self.client.clone()).list(&ListParams::default()));
                listed.is_ok() && grants.is_ok()
            });
        });
    }

    pub fn namespace(&self, name: &str) {
        self.apply::<Namespace>(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    }

    pub fn apply_all(&self) {
        self.apply_all_with(json!({}));
    }

    /// Everything but the signatures; the agreement's spec with these fields instead.
    pub fn apply_all_with(&self, fields: Value) {
        for manifest in self.manifests(fields) {
            self.apply_manifest(&manifest);
        }
    }

    /// Everything but the signatures and the namespaces; the agreement's spec with these fields instead.
    pub fn manifests(&self, fields: Value) -> Vec<Value> {
        let mut manifests = Vec::new();
        let now = Timestamp::now();
        let days = |days: i64| now + SignedDuration::from_hours(24 * days);
        // the same all day: an organisation that is applied again has not changed
        let midnight = Timestamp::from_second(now.as_second().div_euclid(86_400) * 86_400).unwrap();
        let midnights = |days: i64| midnight + SignedDuration::from_hours(24 * days);
        let place = self.org("place");
        manifests.push(json!({
            "apiVersion": "concordat.dev/v1alpha1", "kind": "PlaceFootprint", "metadata": {"name": place},
            "spec": {"tier": "Place", "leadOrg": self.org("council")},
        }));
        for (of, sector, function, care, egress) in [
            ("council", "LocalAuthority", "waste", false, "Unmanaged"),
            ("pcn", "Nhs", "care-team", true, "Managed"),
            ("charity", "Vcse", "befriending", false, "Unmanaged"),
        ] {
            manifests.push(json!({
                "apiVersion": "concordat.dev/v1alpha1", "kind": "PartnerOrg", "metadata": {"name": self.org(of)},
                "spec": {
                    "displayName": format!("{of} of {}", self.stem), "sector": sector,
                    "identifiers": [{"scheme": "OrgId", "value": format!("GB-TEST-{}", self.org(of))}],
                    "publicAuthority": of != "charity", "homeNamespace": self.ns(of), "state": "Active",
                    "footprints": [place],
                    "functions": [{
                        "name": function, "providesCare": care, "egress": egress,
                        "workloads": [{"namespace": self.ns(of), "podSelector": {"matchLabels": {"app": function}}}],
                    }],
                    "assurance": {"dspt": {
                        "status": "StandardsMet", "publishedOn": midnights(-150),
                        "validUntil": midnights(1000),
                    }},
                    "ico": {"status": "Registered", "validUntil": midnights(1000)},
                    "people": {
                        "siro": "siro@example.org", "caldicottGuardian": "cg@example.org",
                        "dpo": "dpo@example.org", "igLead": "ig@example.org",
                    },
                },
            }));
        }
        for (name, category) in [("bins", "Waste"), ("contacts", "Contact")] {
            manifests.push(json!({
                "apiVersion": "concordat.dev/v1alpha1", "kind": "DataProduct",
                "metadata": {"namespace": self.ns("council"), "name": name},
                "spec": {
                    "controller": self.org("council"), "title": name, "categories": [category],
                    "personalData": true, "specialCategory": false, "confidentialPatientInfo": false,
                    "legallyRestricted": false, "childrensData": false, "identifiability": "Identifiable",
                    "dataItems": [{"name": "address", "justification": "finds the household"}],
                    "endpoint": {
                        "podSelector": {"matchLabels": {"app": format!("{name}-gateway")}},
                        "ports": [{"port": 8443}],
                    },
                },
            }));
        }
        let mut spec = json!({
            "title": "Bins and contacts", "reference": self.reference(),
            "framework": {"name": "england", "version": "1.0.0"}, "footprint": place,
            "controllerModel": "Independent",
            "parties": self.parties(), "purposes": self.purposes(),
            "confidentiality": {"basis": "ExplicitConsent", "validUntil": days(300)},
            "term": {"start": days(-2), "end": days(200), "reviewBy": days(220)},
            "dpia": {"reference": "DPIA-1", "approvedOn": days(-30), "reviewBy": days(300)},
            "retention": {"days": 30, "method": "Destroy"}, "onwardSharing": {"allowed": false},
            "privacyNotice": "https://example.org/privacy", "register": {"publish": true},
            "publicInvolvement": [{"who": "residents", "method": "letter", "date": days(-60), "changed": "fewer fields"}],
            "outcomeMeasures": [{"name": "falls", "baseline": "10", "target": "5", "reviewOn": days(100)}],
        });
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        manifests.push(json!({
            "apiVersion": "concordat.dev/v1alpha1", "kind": "DataSharingAgreement",
            "metadata": {"namespace": self.ns("council"), "name": "sharing"},
            "spec": spec,
        }));
        manifests
    }

    /// A reference that no other world has.
    pub fn reference(&self) -> String {
        let mut letters = String::new();
        let mut number = self.stem.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        for _ in 0..8 {
            letters.push(char::from(b'A' + u8::try_from(number % 26).unwrap()));
            number /= 26;
        }
        format!("{letters}-2026-{:05}", number % 100_000)
    }

    pub fn parties(&self) -> Vec<Value> {
        let party = |of: &str, role: &str, function: Option<&str>| {
            let mut party = json!({
                "org": self.org(of), "role": role, "article6": "6(1)(e)", "article9": "9(2)(h)",
                "schedule1": "Part 1 paragraph 2",
            });
            if let Some(function) = function {
                party["function"] = json!(function);
            }
            party
        };
        vec![
            party("council", "Controller", None),
            party("pcn", "Recipient", Some("care-team")),
            party("charity", "Recipient", Some("befriending")),
        ]
    }

    pub fn purposes(&self) -> Vec<Value> {
        let product = |name: &str| json!({"namespace": self.ns("council"), "name": name});
        let purpose = |code: &str, product: Value, recipients: Value| {
            json!({
                "code": code, "justification": "helps people early", "products": [product],
                "recipients": recipients, "actions": ["readRecord"], "roles": ["CareCoordinator"],
                "maxIdentifiability": "Identifiable",
            })
        };
        let pcn = json!({"org": self.org("pcn"), "function": "care-team"});
        let charity = json!({"org": self.org("charity"), "function": "befriending"});
        vec![
            purpose("ProactiveCare", product("bins"), json!([pcn, charity])),
            purpose("DirectCare", product("contacts"), json!([pcn])),
        ]
    }

    /// Changes fields of the agreement's spec.
    pub fn change(&self, spec: Value) {
        self.patch::<DataSharingAgreement>(&self.ns("council"), "sharing", &json!({"spec": spec}));
    }

    pub fn annotate(&self, key: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {format!("example.org/{key}"): value}}});
        self.patch::<DataSharingAgreement>(&self.ns("council"), "sharing", &patch);
    }

    pub fn sign(&self, of: &str) -> String {
        self.signed(of, false)
    }

    pub fn withdraw(&self, of: &str) -> String {
        self.signed(of, true)
    }

    pub fn sign_all(&self) {
        for of in ["council", "pcn", "charity"] {
            self.sign(of);
        }
    }

    fn signed(&self, of: &str, withdraw: bool) -> String {
        let signature = self.signature(&self.snapshot(), of, withdraw);
        let name = signature["metadata"]["name"].as_str().unwrap().to_owned();
        self.apply::<AgreementSignature>(signature);
        name
    }

    /// The signature of a party on the agreement as a snapshot has it.
    pub fn signature(&self, snapshot: &Snapshot, of: &str, withdraw: bool) -> Value {
        self.signature_on(snapshot, &self.agreement(), of, withdraw)
    }

    /// The signature of a party on another agreement of this world.
    pub fn signature_on(&self, snapshot: &Snapshot, on: &ObjectRef, of: &str, withdraw: bool) -> Value {
        let request = SignatureRequest { withdraw, ..SignatureRequest::new(on.clone(), self.org(of)) };
        let mut signature = json!(signature(snapshot, &request).unwrap());
        signature.as_object_mut().unwrap().remove("status");
        signature
    }

    /// The same terms in an agreement that takes the place of the world's own.
    pub fn successor(&self) -> Value {
        let mut successor = json!(self.get_agreement());
        let number = successor["spec"]["reference"].as_str().unwrap().to_owned();
        successor["apiVersion"] = json!("concordat.dev/v1alpha1");
        successor["kind"] = json!("DataSharingAgreement");
        successor["metadata"] = json!({"namespace": self.ns("council"), "name": "sharing-2"});
        // no world's own has so low a number
        successor["spec"]["reference"] = json!(format!("{}000", &number[..number.len() - 5]));
        successor["spec"]["supersedes"] = json!(self.agreement());
        successor.as_object_mut().unwrap().remove("status");
        successor
    }

    pub fn signatures_of_successor(&self) -> Vec<Value> {
        let snapshot = self.snapshot();
        let agreement = ObjectRef { namespace: self.ns("council"), name: "sharing-2".to_owned() };
        ["council", "pcn", "charity"].map(|of| self.signature_on(&snapshot, &agreement, of, false)).to_vec()
    }

    /// Manifests as a source of files would give them.
    pub fn snapshot_of(&self, manifests: &[Value]) -> Snapshot {
        fn of<K: Resource<DynamicType = ()> + DeserializeOwned>(manifests: &[Value]) -> Vec<Sourced<K>> {
            let mine = manifests.iter().filter(|it| it["kind"] == *K::kind(&()));
            mine.map(|it| Sourced::live(serde_json::from_value(it.clone()).unwrap())).collect()
        }
        Snapshot {
            cluster: self.cluster.clone(),
            frameworks: of(manifests),
            exceptions: of(manifests),
            footprints: of(manifests),
            orgs: of(manifests),
            products: of(manifests),
            agreements: of(manifests),
            signatures: of(manifests),
            policies: of(manifests),
            ..Snapshot::default()
        }
    }

    // ---- what there is ----

    /// The objects of this world, as the operator would read them.
    pub fn snapshot(&self) -> Snapshot {
        let stores = Stores::default();
        stores.frameworks.replace(self.incoming());
        stores.exceptions.replace(self.incoming());
        stores.footprints.replace(self.incoming());
        stores.orgs.replace(self.incoming());
        stores.products.replace(self.incoming());
        stores.agreements.replace(self.incoming());
        stores.signatures.replace(self.incoming());
        stores.policies.replace(self.incoming());
        // what the operator wrote is no part of it
        stores.grants.replace(Vec::new());
        stores.network_policies.replace(Vec::new());
        stores.read(self.cluster.clone()).unwrap().0
    }

    /// Every object of a kind that can be decoded.
    pub fn mine<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        self.incoming().into_iter().filter_map(|it| it.0.ok()).collect()
    }

    fn incoming<K>(&self) -> Vec<Incoming<K>>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let all = Api::<Incoming<K>>::all(self.client.clone());
        let all = self.block(all.list(&ListParams::default())).unwrap();
        let mine = all.into_iter().filter(|it| {
            it.name_any().starts_with(&self.stem)
                || it.namespace().is_some_and(|it| it.starts_with(&self.stem))
        });
        mine.collect()
    }

    pub fn offline_plan(&self) -> Plan {
        Judgement::new(&self.snapshot(), Timestamp::now()).plan()
    }

    /// Compares whole specs, and that nothing else is there. The writes of one round are seen one after the other.
    pub fn is_as_planned(&self, plan: &Plan) {
        let began = Instant::now();
        let (mut stands, planned) = self.effects_beside(plan);
        while stands != planned && began.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(30));
            (stands, _) = self.effects_beside(plan);
        }
        assert_eq!(stands, planned);
    }

    /// The specs of what stands, and of what is planned.
    fn effects_beside(&self, plan: &Plan) -> (Effects, Effects) {
        let mut planned_policies = BTreeMap::new();
        let mut planned_grants = BTreeMap::new();
        for object in &plan.objects {
            match object {
                PlannedObject::Isolation(policy) | PlannedObject::Allow { policy, .. } => {
                    planned_policies.insert(place(&**policy), policy.spec.clone());
                }
                PlannedObject::Grant(grant) => {
                    let mut spec = grant.spec.clone();
                    let agreement = self.get_agreement();
                    spec.agreement.uid = agreement.uid();
                    spec.agreement.generation = agreement.metadata.generation;
                    planned_grants.insert(place(&**grant), spec);
                }
            }
        }
        let policies: BTreeMap<_, _> = self.policies().into_iter().map(|it| (place(&it), it.spec)).collect();
        let grants: BTreeMap<_, _> =
            self.mine::<DataAccessGrant>().into_iter().map(|it| (place(&it), it.spec)).collect();
        ((policies, grants), (planned_policies, planned_grants))
    }

    /// The operator's policies of this world.
    pub fn policies(&self) -> Vec<NetworkPolicy> {
        let all = self.mine::<NetworkPolicy>().into_iter();
        all.filter(|it| it.labels().contains_key(PART)).collect()
    }

    /// How many policies there are of each part.
    pub fn parts(&self) -> BTreeMap<String, usize> {
        let mut parts = BTreeMap::new();
        for policy in self.policies() {
            *parts.entry(policy.labels()[PART].clone()).or_default() += 1;
        }
        parts
    }

    pub fn until_parts(&self, parts: &[(&str, usize)]) {
        let parts: BTreeMap<String, usize> =
            parts.iter().map(|(part, count)| ((*part).to_owned(), *count)).collect();
        self.until(&format!("the policies are {parts:?}"), || self.parts() == parts);
    }

    /// Waits until nothing is open and all that denies still stands.
    pub fn closed(&self) {
        self.until_parts(&[("isolation", 3)]);
        self.until("the grants are gone", || self.grants().is_empty());
    }

    pub fn grants(&self) -> Vec<ObjectRef> {
        self.mine::<DataAccessGrant>().iter().map(place).collect()
    }

    /// To whom products are open, one entry for each flow, of those that a grant lists and the policy beside it lets in.
    pub fn open_to(&self) -> Vec<&'static str> {
        let mut open: Vec<&str> = Vec::new();
        let policies = self.policies();
        for grant in self.mine::<DataAccessGrant>() {
            let Some(policy) = policies.iter().find(|it| place(*it) == place(&grant)) else { continue };
            let peers = json!(policy.spec).to_string();
            for recipient in &grant.spec.recipients {
                let mut known = ["council", "pcn", "charity"].into_iter();
                let of = known.find(|of| self.org(of) == recipient.org).unwrap();
                if peers.contains(&json!(self.ns(of)).to_string()) {
                    open.push(of);
                }
            }
        }
        open.sort_unstable();
        open
    }

    /// The version of every object that the operator may write.
    pub fn versions(&self) -> BTreeMap<String, String> {
        fn versions<K: Resource<DynamicType = ()>>(objects: Vec<K>) -> Vec<(String, String)> {
            let version = |it: K| {
                let at = place(&it);
                (format!("{} {at}", K::kind(&())), it.resource_version().unwrap())
            };
            objects.into_iter().map(version).collect()
        }
        let mut all = versions(self.mine::<NetworkPolicy>());
        all.extend(versions(self.mine::<DataAccessGrant>()));
        all.extend(versions(self.mine::<DataSharingAgreement>()));
        all.extend(versions(self.mine::<AgreementSignature>()));
        all.extend(versions(self.mine::<DataProduct>()));
        all.extend(versions(self.mine::<PartnerOrg>()));
        all.extend(versions(self.mine::<PlaceFootprint>()));
        all.extend(versions(self.mine::<Event>()));
        all.into_iter().collect()
    }

    /// Reason and note of each event about the agreement.
    pub fn events(&self) -> Vec<(String, String)> {
        self.events_about("sharing")
    }

    /// Reason and note of each event about an agreement.
    pub fn events_about(&self, name: &str) -> Vec<(String, String)> {
        let about = self.mine::<Event>().into_iter().filter(|it| {
            let object = &it.involved_object;
            object.kind.as_deref() == Some("DataSharingAgreement") && object.name.as_deref() == Some(name)
        });
        about.map(|it| (it.reason.unwrap_or_default(), it.message.unwrap_or_default())).collect()
    }

    pub fn get_agreement(&self) -> DataSharingAgreement {
        self.get(&self.ns("council"), "sharing").unwrap()
    }

    pub fn condition(&self, type_: &str) -> Option<(String, String)> {
        let conditions = self.get_agreement().status?.conditions;
        let condition = conditions.into_iter().find(|it| it.type_ == type_)?;
        Some((format!("{:?}", condition.status), condition.message))
    }

    pub fn message(&self, type_: &str) -> Option<String> {
        self.condition(type_).map(|(_, message)| message)
    }

    pub fn phase(&self, phase: Phase) {
        self.until(&format!("the phase is {}", phase.as_str()), || {
            let agreement = self.get_agreement();
            agreement.status.is_some_and(|it| {
                it.phase == Some(phase) && it.observed_generation == agreement.metadata.generation
            })
        });
    }

    /// Waits until the agreement is in force and that has been seen to stand.
    pub fn ready(&self) {
        self.until("the agreement is ready", || {
            let agreement = self.get_agreement();
            let generation = agreement.metadata.generation;
            agreement.status.is_some_and(|it| {
                let ready = it.conditions.iter().find(|it| it.type_ == "Ready");
                it.phase == Some(Phase::Active)
                    && ready.is_some_and(|it| {
                        format!("{:?}", it.status) == "True" && it.observed_generation == generation
                    })
            })
        });
    }

    pub fn not_ready(&self) {
        assert_eq!(self.condition("Ready").map(|(status, _)| status), Some("False".to_owned()));
        assert_eq!(self.condition("Enforced").map(|(status, _)| status), Some("False".to_owned()));
    }

    // ---- calls ----

    pub fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            if began.elapsed() > SOON {
                let status =
                    self.get::<DataSharingAgreement>(&self.ns("council"), "sharing").and_then(|it| it.status);
                let status = serde_json::to_string_pretty(&status).unwrap();
                panic!("never: {what}\nopen to {:?}, parts {:?}\n{status}", self.open_to(), self.parts());
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    pub fn block<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    pub fn apply<K>(&self, object: Value)
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        self.apply_as(&object, &ApiResource::erase::<K>(&()));
    }

    /// Applies an object of a kind that no type here has: its plural says where.
    pub fn apply_any(&self, object: &Value, plural: &str) {
        self.apply_as(object, &any(object, plural));
    }

    /// Deletes one, if it is there.
    pub fn delete_any(&self, object: &Value, plural: &str) {
        let name = object["metadata"]["name"].as_str().unwrap();
        drop(self.block(self.api_of(object, &any(object, plural)).delete(name, &DeleteParams::default())));
    }

    /// Applies an object of our kinds, whichever it is.
    pub fn apply_manifest(&self, object: &Value) {
        self.apply_as(object, &resource(object));
    }

    /// Applies an object of our kinds, and says whether the API server takes it.
    pub fn is_admitted(&self, object: &Value) -> bool {
        let name = object["metadata"]["name"].as_str().unwrap();
        let params = PatchParams::apply("test").force();
        self.block(self.api_of(object, &resource(object)).patch(name, &params, &Patch::Apply(object))).is_ok()
    }

    /// Deletes an object of our kinds, whichever it is.
    pub fn delete_manifest(&self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let deleted =
            self.block(self.api_of(object, &resource(object)).delete(name, &DeleteParams::default()));
        deleted.unwrap_or_else(|error| panic!("{name} could not be deleted: {error}"));
    }

    fn apply_as(&self, object: &Value, resource: &ApiResource) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let params = PatchParams::apply("test").force();
        let api = self.api_of(object, resource);
        if let Err(error) = self.block(api.patch(name, &params, &Patch::Apply(object))) {
            panic!("{name} was refused: {error}");
        }
    }

    fn api_of(&self, object: &Value, resource: &ApiResource) -> Api<DynamicObject> {
        let client = self.client.clone();
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        }
    }

    pub fn get<K>(&self, namespace: &str, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        self.block(Api::<K>::namespaced(self.client.clone(), namespace).get_opt(name)).unwrap()
    }

    pub fn get_cluster<K>(&self, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        self.block(Api::<K>::all(self.client.clone()).get_opt(name)).unwrap()
    }

    pub fn patch<K>(&self, namespace: &str, name: &str, patch: &Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        self.block(api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).unwrap();
    }

    pub fn patch_cluster<K>(&self, name: &str, patch: &Value)
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api = Api::<K>::all(self.client.clone());
        self.block(api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).unwrap();
    }

    /// Deletes everything of a kind that has no namespace.
    fn drop_all<K>(&self)
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let all = Api::<K>::all(self.client.clone());
        let listed = self.block(all.list(&ListParams::default()));
        let mine = listed.into_iter().flatten().map(|it| it.name_any());
        for name in mine.filter(|name| name.starts_with(&self.stem)) {
            // what is not there, or cannot be deleted, must not hide why a test has failed
            let _gone = self.block(all.delete(&name, &DeleteParams::default()));
        }
    }

    pub fn delete<K>(&self, namespace: &str, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        self.block(api.delete(name, &DeleteParams::default())).unwrap();
    }
}

/// Leaves the cluster as it was found, so that a run's hundredth agreement is judged as fast as its first.
impl Drop for World {
    fn drop(&mut self) {
        let params = DeleteParams::default();
        let agreements = Api::<DataSharingAgreement>::namespaced(self.client.clone(), &self.ns("council"));
        // what is not there, or cannot be deleted, must not hide why a test has failed
        let _gone = self.block(agreements.delete("sharing", &params));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10)
            && self.block(agreements.get_opt("sharing")).is_ok_and(|it| it.is_some())
        {
            std::thread::sleep(Duration::from_millis(30));
        }
        self.drop_all::<PlaceFootprint>();
        self.drop_all::<FrameworkException>();
        self.drop_all::<PolicyFramework>();
        self.drop_all::<PartnerOrg>();
        for of in ["council", "pcn", "charity"] {
            let _gone = self.block(Api::<Namespace>::all(self.client.clone()).delete(&self.ns(of), &params));
        }
    }
}

fn any(object: &Value, plural: &str) -> ApiResource {
    let text = |field: &str| object[field].as_str().unwrap();
    let (group, version) = text("apiVersion").split_once('/').unwrap();
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, text("kind")), plural)
}

/// The resource of an object of our kinds.
fn resource(object: &Value) -> ApiResource {
    let kind = object["kind"].as_str().unwrap();
    let definitions = custom_resource_definitions();
    let definition = definitions.iter().find(|it| it.spec.names.kind == kind).unwrap();
    let version = &definition.spec.versions[0].name;
    let gvk = GroupVersionKind::gvk(&definition.spec.group, version, kind);
    ApiResource::from_gvk_with_plural(&gvk, &definition.spec.names.plural)
}

pub fn place<K: Resource>(object: &K) -> ObjectRef {
    ObjectRef { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}
