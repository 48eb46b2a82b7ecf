//! What is in the cluster, of all that the operator writes. One value, made from the same read as the snapshot.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt as _};

use crate::finding::ObjectKey;
use crate::plan::StatusBody;
use crate::shared::Shared;
use crate::snapshot::{Snapshot, Sourced, reference};
use concordat_api::{DataAccessGrant, Egress, ObjectRef};

/// What is in the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The network policies that carry the operator's label.
    pub policies: BTreeMap<ObjectRef, Shared<NetworkPolicy>>,
    /// Every grant: no one else writes the kind.
    pub grants: BTreeMap<ObjectRef, Shared<DataAccessGrant>>,
    pub agreements: BTreeMap<ObjectRef, ObservedAgreement>,
    /// Every object of a kind with a status.
    pub statuses: BTreeMap<ObjectKey, ObservedStatus>,
    /// Functions, `org/function`, whether their organisation can be used or not, and whether they say that they are Managed.
    pub functions: BTreeMap<String, bool>,
    /// Organisations that are in the cluster and cannot be decoded.
    pub undecodable_orgs: BTreeSet<String>,
    /// Products that are in the cluster and cannot be decoded, `namespace/name`.
    pub undecodable_products: BTreeSet<String>,
    /// Grants that are in the cluster and cannot be decoded, with their uid.
    pub undecodable_grants: BTreeMap<ObjectRef, Option<String>>,
}

/// What is needed of an agreement to hold it and to let it go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObservedAgreement {
    pub uid: Option<String>,
    pub generation: Option<i64>,
    pub resource_version: Option<String>,
    /// Whether somebody has deleted it, and finalizers hold it.
    pub deleting: bool,
    pub finalizers: Vec<String>,
}

/// An object's status as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedStatus {
    pub uid: Option<String>,
    pub generation: Option<i64>,
    pub status: Option<StatusBody>,
}

impl Observed {
    /// Brings together a snapshot and what the operator has written, read at the same moment.
    pub fn new(
        snapshot: &Snapshot,
        policies: Vec<Shared<NetworkPolicy>>,
        grants: Vec<Shared<DataAccessGrant>>,
    ) -> Self {
        // a new kind of the snapshot has to be given a place here
        let Snapshot {
            cluster: _,
            frameworks,
            exceptions,
            footprints,
            orgs,
            products,
            agreements,
            signatures,
            policies: local_policies,
            tests: _,
            unreadable,
            unknown_texts: _,
        } = snapshot;

        let unreadable = |kind: &str| {
            let found = unreadable.iter().filter(|it| it.kind == kind);
            found.map(|it| (place(&it.meta), &it.meta)).collect::<Vec<_>>()
        };
        // one that cannot be read opens nothing, and must not be held for ever either
        let unreadable_agreements = unreadable("DataSharingAgreement")
            .into_iter()
            .map(|(at, meta)| (at, ObservedAgreement::of(meta)));

        let functions = orgs.iter().flat_map(|org| org.object.spec.functions.iter().map(move |it| (org, it)));
        let functions = functions.map(|(org, function)| {
            let name = format!("{}/{}", org.object.name_any(), function.name);
            (name, function.egress == Some(Egress::Managed))
        });

        let mut statuses = BTreeMap::new();
        collect(&mut statuses, frameworks, |it| it.status.clone().map(StatusBody::Simple));
        collect(&mut statuses, exceptions, |it| it.status.clone().map(StatusBody::Simple));
        collect(&mut statuses, footprints, |it| it.status.clone().map(StatusBody::Simple));
        collect(&mut statuses, orgs, |it| it.status.clone().map(StatusBody::Simple));
        collect(&mut statuses, products, |it| it.status.clone().map(StatusBody::Simple));
        collect(&mut statuses, signatures, |it| it.status.clone().map(StatusBody::Simple));
        collect(&mut statuses, local_policies, |it| it.status.clone().map(StatusBody::Policy));
        collect(&mut statuses, agreements, |it| {
            it.status.clone().map(|status| StatusBody::Agreement(Box::new(status)))
        });

        Self {
            policies: by_name(policies),
            grants: by_name(grants),
            agreements: agreements
                .iter()
                .map(|Sourced { object, source: _ }| {
                    (reference(&**object), ObservedAgreement::of(&object.metadata))
                })
                .chain(unreadable_agreements)
                .collect(),
            statuses,
            functions: functions.collect(),
            undecodable_orgs: unreadable("PartnerOrg").into_iter().map(|(at, _)| at.name).collect(),
            undecodable_products: unreadable("DataProduct")
                .into_iter()
                .map(|(at, _)| at.to_string())
                .collect(),
            undecodable_grants: unreadable("DataAccessGrant")
                .into_iter()
                .map(|(at, meta)| (at, meta.uid.clone()))
                .collect(),
        }
    }
}

impl Observed {
    /// The same objects, with the policies and grants that are there by now. Everything else stays as it was judged: what
    /// is recreated under the name of an object is not what a plan was about.
    pub fn with_effects(
        self,
        policies: Vec<Shared<NetworkPolicy>>,
        grants: Vec<Shared<DataAccessGrant>>,
    ) -> Self {
        Self { policies: by_name(policies), grants: by_name(grants), ..self }
    }
}

impl ObservedAgreement {
    fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.clone(),
            generation: meta.generation,
            resource_version: meta.resource_version.clone(),
            deleting: meta.deletion_timestamp.is_some(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
        }
    }
}

fn place(meta: &ObjectMeta) -> ObjectRef {
    ObjectRef {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

fn by_name<K: Resource>(objects: Vec<Shared<K>>) -> BTreeMap<ObjectRef, Shared<K>> {
    objects.into_iter().map(|object| (reference(&*object), object)).collect()
}

fn collect<K: Resource<DynamicType = ()>>(
    statuses: &mut BTreeMap<ObjectKey, ObservedStatus>,
    objects: &[Sourced<K>],
    status: impl Fn(&K) -> Option<StatusBody>,
) {
    statuses.extend(objects.iter().map(|sourced| {
        let meta = sourced.object.meta();
        let observed = ObservedStatus {
            uid: meta.uid.clone(),
            generation: meta.generation,
            status: status(&sourced.object),
        };
        (sourced.key(), observed)
    }));
}
