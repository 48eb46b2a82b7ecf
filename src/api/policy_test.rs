//! `PolicyTest`: a file for `concordat test`. Never applied to a cluster, so it has no CRD.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AccessRequest, shape};

/// The kind's name in a file.
pub const POLICY_TEST_KIND: &str = "PolicyTest";

/// A file of policy tests.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTestSpec {
    /// Questions and the answers that are expected.
    #[schemars(transform = shape::keyed(1, 4096, &["name"]))]
    pub tests: Vec<PolicyTestCase>,
}

/// One question and the answer that is expected.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTestCase {
    /// A sentence that says what must hold, once per list.
    #[schemars(transform = shape::line)]
    pub name: String,
    /// The moment of asking. Required in a PolicyTest file. Left out elsewhere, the moment at which the test runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The question: an AuthZEN evaluation.
    pub request: AccessRequest,
    /// The answer that is expected.
    pub expect: Expectation,
}

/// What a test expects of the answer; what is left out is not looked at.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// Whether access is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<bool>,
    /// Which layer of rules decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::values)]
    pub tier: Option<DecisionTier>,
    /// The `@id` of the rule that decides; of a local rule `namespace/name#id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::entity_id)]
    pub rule: Option<String>,
    /// The agreement that the answer rests on, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::entity_id)]
    pub agreement: Option<String>,
    /// The local rules that match the request, exactly these and whoever decides, each as `namespace/name#id`. An empty list:
    /// none matches. Left out, they are not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::set(0, 64, shape::entity_id))]
    pub fires: Option<Vec<String>>,
}

/// Which layer of rules decided.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize, Hash)]
pub enum DecisionTier {
    /// A national guardrail denied.
    Ceiling,
    /// The national floor allowed; no local rule can take that away.
    Floor,
    /// A rule of the place allowed or denied.
    Local,
    /// The framework's permit for agreements allowed.
    Agreement,
    /// Nothing permits.
    None,
    /// A rule could not be evaluated, which denies.
    Error,
}

impl DecisionTier {
    /// The value in YAML and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ceiling => "Ceiling",
            Self::Floor => "Floor",
            Self::Local => "Local",
            Self::Agreement => "Agreement",
            Self::None => "None",
            Self::Error => "Error",
        }
    }
}
