//! A cluster as a source: what the watches have brought, as one snapshot.
//!
//! A store takes the place of its contents only by a full list, so a half-read kind is never seen; and there is no
//! snapshot before every kind has been read once. An object that cannot be decoded does not stop the others: it is
//! left out, named, and held against what it may be about.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use concordat_api::{
    AgreementSignature, DataAccessGrant, DataProduct, DataSharingAgreement, FrameworkException, LocalPolicy,
    PartnerOrg, PlaceFootprint, PolicyFramework,
};
use concordat_core::plan::Observed;
use concordat_core::shared::Shared;
use concordat_core::snapshot::{ClusterView, Snapshot, Sourced, Unreadable};

/// An object as the API server sent it, decoded or not.
#[derive(Clone, Debug)]
pub struct Incoming<K>(pub Result<K, Box<Undecoded>>);

/// What is known of an object that cannot be decoded.
#[derive(Clone, Debug)]
pub struct Undecoded {
    pub meta: ObjectMeta,
    pub error: String,
    spec: Value,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Incoming<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        // who wrote which field is half of many an object, and nobody asks
        if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.remove("managedFields");
        }
        let error = match K::deserialize(&value) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error.to_string(),
        };
        let meta = value.get("metadata").cloned().unwrap_or_default();
        let meta = serde_json::from_value(meta).map_err(D::Error::custom)?;
        let spec = Unreadable::legible(value.get_mut("spec").map(Value::take).unwrap_or_default());
        Ok(Self(Err(Box::new(Undecoded { meta, error, spec }))))
    }
}

impl<K: Resource> Resource for Incoming<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(undecoded) => &undecoded.meta,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(undecoded) => &mut undecoded.meta,
        }
    }
}

/// The objects of one kind, as last seen.
#[derive(Debug)]
pub struct Store<K>(Arc<Mutex<Contents<K>>>);

type Name = (Option<String>, String);

#[derive(Debug)]
struct Contents<K> {
    synced: bool,
    objects: BTreeMap<Name, Shared<K>>,
    /// Objects that cannot be decoded, with what is known of them.
    undecodable: BTreeMap<Name, Undecoded>,
}

// not derived: a derive would ask the same of K
impl<K> Clone for Store<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        let contents = Contents { synced: false, objects: BTreeMap::new(), undecodable: BTreeMap::new() };
        Self(Arc::new(Mutex::new(contents)))
    }
}

impl<K: Resource + Clone> Store<K> {
    /// Takes a full list in place of all that was there.
    pub fn replace(&self, objects: Vec<Incoming<K>>) {
        let mut fresh = Contents { synced: true, objects: BTreeMap::new(), undecodable: BTreeMap::new() };
        for object in objects {
            fresh.put(object);
        }
        *self.contents() = fresh;
    }

    /// Takes one object that is new or has changed.
    pub fn apply(&self, object: Incoming<K>) {
        self.contents().put(object);
    }

    /// Forgets an object that is gone.
    pub fn delete(&self, object: &Incoming<K>) {
        let name = name(object);
        let mut contents = self.contents();
        contents.objects.remove(&name);
        contents.undecodable.remove(&name);
    }

    /// Whether there has been a full list.
    pub fn is_synced(&self) -> bool {
        self.contents().synced
    }

    /// Every object, by namespace and name.
    pub fn objects(&self) -> Vec<Shared<K>> {
        self.contents().objects.values().cloned().collect()
    }

    /// The objects that cannot be decoded, as `namespace/name`, with the reason.
    pub fn undecodable(&self) -> Vec<(String, String)> {
        let shown = |(namespace, name): &Name| match namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.clone(),
        };
        self.contents().undecodable.iter().map(|(name, it)| (shown(name), it.error.clone())).collect()
    }

    fn contents(&self) -> MutexGuard<'_, Contents<K>> {
        // nothing panics while it holds the lock, and each change is whole
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Resource + Clone> Contents<K> {
    fn put(&mut self, object: Incoming<K>) {
        let name = name(&object);
        match object.0 {
            Ok(object) => {
                self.undecodable.remove(&name);
                self.objects.insert(name, object.into());
            }
            Err(undecoded) => {
                // it is not taken for what it was before
                self.objects.remove(&name);
                self.undecodable.insert(name, *undecoded);
            }
        }
    }
}

fn name<K: Resource>(object: &Incoming<K>) -> Name {
    let meta = object.meta();
    (meta.namespace.clone(), meta.name.clone().unwrap_or_default())
}

/// A store for each kind that is read.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    pub frameworks: Store<PolicyFramework>,
    pub exceptions: Store<FrameworkException>,
    pub footprints: Store<PlaceFootprint>,
    pub orgs: Store<PartnerOrg>,
    pub products: Store<DataProduct>,
    pub agreements: Store<DataSharingAgreement>,
    pub signatures: Store<AgreementSignature>,
    pub policies: Store<LocalPolicy>,
    pub grants: Store<DataAccessGrant>,
    /// Only those with the operator's label.
    pub network_policies: Store<NetworkPolicy>,
}

impl Stores {
    /// Whether every kind has been read once.
    pub fn are_synced(&self) -> bool {
        let Self {
            frameworks,
            exceptions,
            footprints,
            orgs,
            products,
            agreements,
            signatures,
            policies,
            grants,
            network_policies,
        } = self;
        frameworks.is_synced()
            && exceptions.is_synced()
            && footprints.is_synced()
            && orgs.is_synced()
            && products.is_synced()
            && agreements.is_synced()
            && signatures.is_synced()
            && policies.is_synced()
            && grants.is_synced()
            && network_policies.is_synced()
    }

    /// All that there is, and what the operator has written of it; nothing until every kind has been read once.
    pub fn read(&self, cluster: ClusterView) -> Option<(Snapshot, Observed)> {
        if !self.are_synced() {
            return None;
        }
        let snapshot = Snapshot {
            cluster,
            frameworks: live(&self.frameworks),
            exceptions: live(&self.exceptions),
            footprints: live(&self.footprints),
            orgs: live(&self.orgs),
            products: live(&self.products),
            agreements: live(&self.agreements),
            signatures: live(&self.signatures),
            policies: live(&self.policies),
            tests: Vec::new(),
            unreadable: self.unreadable(),
            unknown_texts: Vec::new(),
        };
        let observed = Observed::new(&snapshot, self.network_policies.objects(), self.grants.objects());
        Some((snapshot, observed))
    }

    /// What the operator has written, as it is by now.
    pub fn effects(&self) -> (Vec<Shared<NetworkPolicy>>, Vec<Shared<DataAccessGrant>>) {
        (self.network_policies.objects(), self.grants.objects())
    }

    /// Everything of every kind that cannot be decoded.
    fn unreadable(&self) -> Vec<Unreadable> {
        fn of<K>(store: &Store<K>, all: &mut Vec<Unreadable>)
        where
            K: Resource<DynamicType = ()> + Clone,
        {
            let kind = K::kind(&());
            all.extend(store.contents().undecodable.values().map(|it| {
                let Undecoded { meta, error, spec } = it.clone();
                Unreadable { kind: kind.to_string(), meta, error, spec, source: Arc::default() }
            }));
        }
        let Self {
            frameworks,
            exceptions,
            footprints,
            orgs,
            products,
            agreements,
            signatures,
            policies,
            grants,
            network_policies,
        } = self;
        let mut all = Vec::new();
        of(frameworks, &mut all);
        of(exceptions, &mut all);
        of(footprints, &mut all);
        of(orgs, &mut all);
        of(products, &mut all);
        of(agreements, &mut all);
        of(signatures, &mut all);
        of(policies, &mut all);
        of(grants, &mut all);
        of(network_policies, &mut all);
        all
    }
}

fn live<K: Resource<DynamicType = ()> + Clone>(store: &Store<K>) -> Vec<Sourced<K>> {
    let objects = store.objects().into_iter();
    objects.map(|object| Sourced { object, source: Arc::default() }).collect()
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use serde_json::json;

    use super::*;

    fn product(name: &str, title: Value) -> Incoming<DataProduct> {
        let spec = json!({
            "controller": "council", "title": title, "personalData": false, "specialCategory": false,
            "confidentialPatientInfo": false, "legallyRestricted": false, "childrensData": false,
            "identifiability": "Identifiable", "dataItems": [],
            "endpoint": {"podSelector": {"matchLabels": {"app": "x"}}, "ports": []},
        });
        let meta = json!({"namespace": "council", "name": name});
        let object = json!({
            "apiVersion": "concordat.dev/v1alpha1", "kind": "DataProduct", "metadata": meta, "spec": spec,
        });
        serde_json::from_value(object).unwrap()
    }

    fn names(store: &Store<DataProduct>) -> Vec<String> {
        store.objects().iter().map(|it| it.name_any()).collect()
    }

    #[test]
    fn an_object_that_cannot_be_decoded_is_left_out_and_named_and_the_others_are_not() {
        let store = Store::default();
        store.replace(vec![product("bins", json!("Bins")), product("broken", json!(7))]);
        assert_eq!(names(&store), ["bins"]);
        assert_eq!(
            store.undecodable().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["council/broken"]
        );

        store.apply(product("broken", json!("Mended")));
        assert_eq!(names(&store), ["bins", "broken"]);
        assert_eq!(store.undecodable(), []);

        // it is not taken for what it was before
        store.apply(product("bins", json!(7)));
        assert_eq!(names(&store), ["broken"]);
        store.delete(&product("bins", json!(7)));
        assert_eq!(store.undecodable(), []);
    }

    #[test]
    fn who_wrote_which_field_is_not_kept() {
        let mut object = json!({
            "apiVersion": "concordat.dev/v1alpha1", "kind": "PlaceFootprint",
            "metadata": {"name": "north", "labels": {"a": "b"}, "managedFields": [{
                "manager": "kubectl", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}},
            }]},
            "spec": {"tier": "Place", "leadOrg": "council"},
        });
        let decoded: Incoming<PlaceFootprint> = serde_json::from_value(object.clone()).unwrap();
        assert_eq!((decoded.managed_fields(), decoded.labels().len()), (&[][..], 1));
        object["spec"]["tier"] = json!(7);
        let undecoded: Incoming<PlaceFootprint> = serde_json::from_value(object).unwrap();
        assert_eq!((undecoded.0.is_err(), undecoded.managed_fields()), (true, &[][..]));
    }

    #[test]
    fn a_full_list_takes_the_place_of_everything() {
        let store = Store::default();
        store.replace(vec![product("bins", json!("Bins")), product("broken", json!(7))]);
        store.replace(vec![product("contacts", json!("Contacts"))]);
        assert_eq!((names(&store), store.undecodable()), (vec!["contacts".to_owned()], vec![]));
    }

    #[test]
    fn there_is_no_snapshot_before_every_kind_has_been_read() {
        let stores = Stores::default();
        stores.frameworks.replace(Vec::new());
        stores.exceptions.replace(Vec::new());
        stores.footprints.replace(Vec::new());
        stores.orgs.replace(Vec::new());
        stores.products.replace(Vec::new());
        stores.agreements.replace(Vec::new());
        stores.policies.replace(Vec::new());
        stores.grants.replace(Vec::new());
        stores.network_policies.replace(Vec::new());
        assert_eq!(stores.read(ClusterView::Unnamed), None);
        stores.signatures.replace(Vec::new());
        assert!(stores.read(ClusterView::Unnamed).is_some());
    }
}
