//! What Cedar makes of a condition that reads nothing but constants.

use std::str::FromStr as _;
use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, Policy, PolicyId, PolicySet, Request,
};
use serde_json::{Value, json};

/// Whether a condition holds; none where it cannot be evaluated.
pub(super) fn holds(body: &Value) -> Option<bool> {
    let open = json!({ "op": "All" });
    let rule = json!({
        "effect": "permit", "principal": open, "action": open, "resource": open,
        "conditions": [{ "kind": "when", "body": body }],
    });
    let policy = Policy::from_json(Some(PolicyId::new("constant")), rule).ok()?;
    let alone = PolicySet::from_policies([policy]).ok()?;
    let response = Authorizer::new().is_authorized(NOBODY.as_ref()?, &alone, &Entities::empty());
    let errors = response.diagnostics().errors().next().is_some();
    (!errors).then(|| response.decision() == Decision::Allow)
}

/// Whether a condition reads the request.
pub(super) fn reads(body: &Value) -> bool {
    match body {
        Value::Object(fields) => fields.contains_key("Var") || fields.values().any(reads),
        Value::Array(items) => items.iter().any(reads),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A request that no condition reads.
static NOBODY: LazyLock<Option<Request>> = LazyLock::new(|| {
    let nobody = EntityUid::from_str("Nobody::\"\"").ok()?;
    Request::new(nobody.clone(), nobody.clone(), nobody, Context::empty(), None).ok()
});
