//! `AgreementSignature`: one party's yes, narrowed yes, or withdrawal.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ObjectRef, ObjectStatus, shape};

/// Which agreement, for which organisation, on which terms.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "concordat.dev",
    version = "v1alpha1",
    kind = "AgreementSignature",
    doc = "AgreementSignature is one organisation's yes to an agreement, its yes to some purposes, or its withdrawal. It lives in that organisation's own namespace: who may write there has signed. `concordat sign` prints one with the right hash.",
    namespaced,
    status = "ObjectStatus",
    derive = "PartialEq",
    shortname = "dsasig",
    category = "concordat",
    printcolumn = r#"{"name": "Agreement", "type": "string", "jsonPath": ".spec.agreement.name"}"#,
    printcolumn = r#"{"name": "Party", "type": "string", "jsonPath": ".spec.party"}"#,
    printcolumn = r#"{"name": "State", "type": "string", "jsonPath": ".spec.state"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.state) || self.state != 'Declined' || (has(oldSelf.state) && oldSelf.state == 'Declined')")
        .message("`state` cannot become `Declined` after `Signed` or `Withdrawn`: write `Withdrawn` to withdraw")
)]
pub struct AgreementSignatureSpec {
    /// The agreement that is signed. Immutable: another agreement is another signature.
    #[x_kube(validation = Rule::new("self == oldSelf").message("`agreement` cannot be changed: write another signature"))]
    pub agreement: ObjectRef,
    /// Name of the PartnerOrg that signs. This namespace must be its `homeNamespace`, or that of an organisation that it
    /// allowed to sign for it. One signature covers all its rows and roles. Immutable.
    #[schemars(transform = shape::object_name)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("`party` cannot be changed: write another signature"))]
    pub party: String,
    /// Digest of the terms that are signed, `sha256:` and 64 hex digits. A signature on other terms does not count.
    #[schemars(transform = shape::digest)]
    pub terms_hash: String,
    /// Whether the organisation signs, withdraws or declines. A withdrawal counts on any terms. Left out, `Signed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::values)]
    pub state: Option<SignatureState>,
    /// The purposes that it signs for, such as `DirectCare`. Left out, all of the agreement. Ignored unless
    /// `Signed`: a withdrawal is from every purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::list(1, 64, shape::code))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`purposes` lists one purpose twice: keep one"))]
    pub purposes: Option<Vec<String>>,
    /// Withdrawals with a date: from `on` the signature counts as withdrawn, for one purpose or for all. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, (has(a.purpose) ? a.purpose : '') == (has(b.purpose) ? b.purpose : '')))").message("`ends` has two entries for one purpose: keep one"))]
    pub ends: Vec<SignatureEnd>,
    /// The role in which the signer acted. For the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::values)]
    pub acting_role: Option<ActingRole>,
    /// When it was signed. For the record: it opens and closes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_on: Option<Timestamp>,
}

/// A withdrawal that is written down before it takes effect.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignatureEnd {
    /// The purpose that it withdraws from, such as `Planning`. Left out, all of the agreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::code)]
    pub purpose: Option<String>,
    /// The moment from which it counts.
    pub on: Timestamp,
}

/// Whether an organisation signs, withdraws or declines.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SignatureState {
    /// It agrees to the terms.
    #[default]
    Signed,
    /// It no longer takes part. Its flows close at once.
    Withdrawn,
    /// It has not signed and does not take part. It counts nowhere as having signed.
    Declined,
}

/// The role in which somebody signs for an organisation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ActingRole {
    /// Senior information risk owner.
    Siro,
    /// Caldicott Guardian.
    CaldicottGuardian,
    /// Data protection officer.
    Dpo,
    /// The person who leads for the controller, such as a practice partner.
    ControllerLead,
    /// A lay member.
    Lay,
}
