//! What a plan is: the objects, statuses and finalizers that ought to exist, and what is being waited for.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::finding::{Finding, ObjectKey};
use crate::shared::Shared;
use concordat_api::{
    DataAccessGrant, DataSharingAgreementStatus, LocalPolicyStatus, ObjectRef, ObjectStatus,
};

/// The field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "concordat";
/// The label that marks an object as the operator's.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "concordat");
/// The label that says what an object is for: `isolation`, `grant`, `ingress` or `egress`.
pub const PART: &str = "concordat.dev/part";
/// The annotation that names the agreement, `namespace/name`.
pub const AGREEMENT: &str = "concordat.dev/agreement";
/// The annotation that names the product, `namespace/name`.
pub const PRODUCT: &str = "concordat.dev/product";
/// The annotation that names the recipient, `org/function`.
pub const RECIPIENT: &str = "concordat.dev/recipient";
/// The finalizer on an agreement whose grants have to be taken away before it goes.
pub const FINALIZER: &str = "concordat.dev/grants";

/// What ought to exist at a moment. It leaves no choice to whoever carries it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub at: Timestamp,
    pub cluster: Option<String>,
    /// In the order in which they may be written: isolation, grants, what grants allow.
    pub objects: Vec<PlannedObject>,
    pub statuses: Vec<PlannedStatus>,
    /// Agreements that carry the finalizer.
    pub finalizers: BTreeSet<ObjectRef>,
    pub waiting: Vec<Waiting>,
    pub findings: Vec<Finding>,
    /// The next moment at which the plan changes by itself.
    pub next: Option<Timestamp>,
}

/// An object that ought to exist.
#[derive(Clone, Debug, PartialEq)]
pub enum PlannedObject {
    /// Denies what no other policy allows: applied before the first allow, and outlives the last.
    Isolation(Shared<NetworkPolicy>),
    /// The visible effect.
    Grant(Shared<DataAccessGrant>),
    /// Opens paths to `products`. `grant` is the grant beside it that owns it, for a policy in the grant's namespace.
    Allow { policy: Shared<NetworkPolicy>, grant: Option<String>, products: BTreeSet<ObjectRef> },
}

impl PlannedObject {
    /// Kind, namespace and name.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Isolation(policy) | Self::Allow { policy, .. } => {
                ObjectKey::new("NetworkPolicy", policy.namespace().as_deref(), &policy.name_any())
            }
            Self::Grant(grant) => {
                ObjectKey::new("DataAccessGrant", grant.namespace().as_deref(), &grant.name_any())
            }
        }
    }
}

/// The status that an object of ours ought to have. Times of transitions are stamped by whoever writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedStatus {
    pub object: ObjectKey,
    pub status: Shared<StatusBody>,
}

/// The body of a status, by kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum StatusBody {
    Agreement(Box<DataSharingAgreementStatus>),
    Policy(LocalPolicyStatus),
    Simple(ObjectStatus),
}

impl Serialize for PlannedObject {
    /// The whole object as it is applied.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Isolation(policy) | Self::Allow { policy, .. } => policy.serialize(serializer),
            Self::Grant(grant) => grant.serialize(serializer),
        }
    }
}

impl Serialize for PlannedStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { object: ObjectKey { kind, namespace, name }, status } = self;
        let mut out = serializer.serialize_struct("PlannedStatus", 4)?;
        out.serialize_field("kind", kind)?;
        out.serialize_field("namespace", namespace)?;
        out.serialize_field("name", name)?;
        out.serialize_field("status", status)?;
        out.end()
    }
}

/// Something that does not exist yet because somebody has to do something.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Waiting {
    pub object: ObjectKey,
    /// Whom or what is waited for: a party, a product, a moment.
    #[serde(rename = "for")]
    pub awaited: String,
    pub reason: String,
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // finalizers and the next moment are the executor's business, not part of the shape that scripts rely on
        let Self { at, cluster, objects, statuses, finalizers: _, waiting, findings, next: _ } = self;
        let mut out = serializer.serialize_struct("Plan", 6)?;
        out.serialize_field("at", at)?;
        out.serialize_field("cluster", cluster)?;
        out.serialize_field("objects", objects)?;
        out.serialize_field("statuses", statuses)?;
        out.serialize_field("waiting", waiting)?;
        out.serialize_field("findings", findings)?;
        out.end()
    }
}
