//! A cluster as a source: what the watches have brought, as one snapshot.
//!
//! A store takes the place of its contents only by a full list, so a half-read kind is never seen; and there is no
//! snapshot before every kind has been read once. An object that cannot be decoded is left out, counted and named,
//! and does not stop the others.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::{Resource, ResourceExt as _};

use crate::api::{
    AgreementSignature, DataAccessGrant, DataProduct, DataSharingAgreement, FrameworkException, LocalPolicy,
    PartnerOrg, PlaceFootprint, PolicyFramework,
};
use crate::core::plan::Observed;
use crate::core::snapshot::{ClusterView, Snapshot, Sourced};

/// The objects of one kind, as last seen.
#[derive(Debug)]
pub struct Store<K>(Arc<Mutex<Contents<K>>>);

type Name = (Option<String>, String);

#[derive(Debug)]
struct Contents<K> {
    synced: bool,
    objects: BTreeMap<Name, K>,
    /// Objects that cannot be decoded, with the reason.
    undecodable: BTreeMap<Name, String>,
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
    pub fn replace(&self, objects: Vec<DeserializeGuard<K>>) {
        let mut fresh = Contents { synced: true, objects: BTreeMap::new(), undecodable: BTreeMap::new() };
        for object in objects {
            fresh.put(object);
        }
        *self.contents() = fresh;
    }

    /// Takes one object that is new or has changed.
    pub fn apply(&self, object: DeserializeGuard<K>) {
        self.contents().put(object);
    }

    /// Forgets an object that is gone.
    pub fn delete(&self, object: &DeserializeGuard<K>) {
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
    pub fn objects(&self) -> Vec<K> {
        self.contents().objects.values().cloned().collect()
    }

    /// The objects that cannot be decoded, as `namespace/name`, with the reason.
    pub fn undecodable(&self) -> Vec<(String, String)> {
        let shown = |(namespace, name): &Name| match namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.clone(),
        };
        self.contents().undecodable.iter().map(|(name, error)| (shown(name), error.clone())).collect()
    }

    fn contents(&self) -> MutexGuard<'_, Contents<K>> {
        // nothing panics while it holds the lock, and each change is whole
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Resource + Clone> Contents<K> {
    fn put(&mut self, object: DeserializeGuard<K>) {
        let name = name(&object);
        match object.0 {
            Ok(mut object) => {
                object.managed_fields_mut().clear();
                self.undecodable.remove(&name);
                self.objects.insert(name, object);
            }
            Err(InvalidObject { error, metadata: _ }) => {
                self.objects.remove(&name);
                self.undecodable.insert(name, error);
            }
        }
    }
}

fn name<K: Resource>(object: &DeserializeGuard<K>) -> Name {
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
        };
        let mut observed = Observed::new(&snapshot, self.network_policies.objects(), self.grants.objects());
        observed.undecodable_orgs = self.orgs.undecodable().into_iter().map(|(name, _)| name).collect();
        Some((snapshot, observed))
    }
}

fn live<K: Resource<DynamicType = ()> + Clone>(store: &Store<K>) -> Vec<Sourced<K>> {
    store.objects().into_iter().map(Sourced::live).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn product(name: &str, title: Value) -> DeserializeGuard<DataProduct> {
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
