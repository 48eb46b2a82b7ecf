//! The wire: one file per kind, as users write them. Serde, schema and field docs; no behaviour.
//!
//! Field docs are the text of `kubectl explain`. Shape rules are CEL on the CRD, so that the API server and
//! `concordat check` refuse the same things; whatever needs a second object is a finding (`core::validate`).

mod agreement_signature;
mod common;
mod crd;
mod data_access_grant;
mod data_product;
mod data_sharing_agreement;
mod framework_exception;
mod local_policy;
mod partner_org;
mod place_footprint;
mod policy_framework;
mod policy_test;
mod request;
pub mod shape;

pub use agreement_signature::*;
pub use common::*;
pub use crd::*;
pub use data_access_grant::*;
pub use data_product::*;
pub use data_sharing_agreement::*;
pub use framework_exception::*;
pub use local_policy::*;
pub use partner_org::*;
pub use place_footprint::*;
pub use policy_framework::*;
pub use policy_test::*;
pub use request::*;

/// The API group of every kind.
pub const GROUP: &str = "concordat.dev";
/// The one served version.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` as a manifest has it.
pub const API_VERSION: &str = "concordat.dev/v1alpha1";
