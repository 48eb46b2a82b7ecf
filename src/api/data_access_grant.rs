//! `DataAccessGrant`: the visible effect of an agreement. Written by the operator only.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{DataAction, Identifiability, ObjectRef, ObjectStatus, shape};

/// What is open, for whom, by which agreement and until when.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "concordat.dev",
    version = "v1alpha1",
    kind = "DataAccessGrant",
    doc = "DataAccessGrant is the visible effect of an agreement in force, for one product. Only the operator writes it; it owns the network policy beside it.",
    namespaced,
    status = "ObjectStatus",
    derive = "PartialEq",
    shortname = "dag",
    category = "concordat",
    printcolumn = r#"{"name": "Agreement", "type": "string", "jsonPath": ".spec.agreement.name"}"#,
    printcolumn = r#"{"name": "Product", "type": "string", "jsonPath": ".spec.product.name"}"#,
    printcolumn = r#"{"name": "Recipients", "type": "string", "jsonPath": ".spec.recipients[*].org", "priority": 1}"#,
    printcolumn = r#"{"name": "Until", "type": "string", "jsonPath": ".spec.notAfter"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.notBefore < self.notAfter")
        .message("`notAfter` must be after `notBefore`")
)]
pub struct DataAccessGrantSpec {
    /// The agreement that opened it.
    pub agreement: GrantAgreement,
    /// The DataProduct that is open.
    pub product: ObjectRef,
    /// Who it is open to, each function of an organisation once. Further ones are in parts of their own, whose names end
    /// in `-2`, `-3` and so on.
    #[schemars(transform = shape::list(1, 512, shape::choice))]
    pub recipients: Vec<GrantRecipient>,
    /// When it opens: the start of the term.
    pub not_before: Timestamp,
    /// When it closes for the last of its recipients, unless something closes it before.
    pub not_after: Timestamp,
    /// The framework that the agreement was judged by.
    pub framework: GrantFramework,
}

/// The agreement that opened a grant, as it stood then.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantAgreement {
    /// Namespace of the DataSharingAgreement.
    #[schemars(transform = shape::label)]
    pub namespace: String,
    /// Name of the DataSharingAgreement.
    #[schemars(transform = shape::object_name)]
    pub name: String,
    /// Its `metadata.uid`: an agreement recreated under the same name is another one. Left out offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::word)]
    pub uid: Option<String>,
    /// Its `metadata.generation`. Left out offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::count)]
    pub generation: Option<i64>,
    /// Digest of the terms that the recipient signed, `sha256:` and 64 hex digits.
    #[schemars(transform = shape::digest)]
    pub terms_hash: String,
}

/// Who a grant is open to.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantRecipient {
    /// Name of the PartnerOrg.
    #[schemars(transform = shape::object_name)]
    pub org: String,
    /// Name of its function, such as `care-team`.
    #[schemars(transform = shape::label)]
    pub function: String,
    /// What it is open for, each purpose once.
    #[schemars(transform = shape::list(1, 64, shape::choice))]
    pub purposes: Vec<GrantPurpose>,
    /// When it closes unless something closes it before: the earliest of the dates that it rests on.
    pub not_after: Timestamp,
}

/// One purpose that a grant is open for.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantPurpose {
    /// The purpose, such as `DirectCare`.
    #[schemars(transform = shape::code)]
    pub code: String,
    /// What may be done.
    #[schemars(transform = shape::list(1, 8, shape::values))]
    pub actions: Vec<DataAction>,
    /// The roles that may ask. Left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::list(1, 64, shape::code))]
    pub roles: Option<Vec<String>>,
    /// The closest that answers may be tied to a person.
    #[schemars(transform = shape::values)]
    pub max_identifiability: Identifiability,
    /// When this purpose closes unless something closes it before.
    pub not_after: Timestamp,
    /// Whether every action listed is allowed at that level to whoever states the purpose, the level and the region `GB`,
    /// and nothing else, at every moment until `notAfter`. A store cannot see more, and opens nothing else.
    pub context_free: bool,
}

/// The framework that an agreement was judged by.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantFramework {
    /// Name of the framework, such as `england`.
    #[schemars(transform = shape::label)]
    pub name: String,
    /// Its version, such as `1.0.0`.
    #[schemars(transform = shape::version)]
    pub version: String,
    /// Digest of its text, `sha256:` and 64 hex digits.
    #[schemars(transform = shape::digest)]
    pub digest: String,
}
