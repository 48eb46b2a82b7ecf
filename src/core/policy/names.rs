//! Entity ids, built from typed values and never from policy text, and the order of rule ids.

use std::str::FromStr as _;
use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Policy, PolicyId};

use crate::model::FunctionRef;
use concordat_api::{DataAction, ObjectRef};

/// The entity types of the schema.
struct Types {
    action: EntityTypeName,
    agreement: EntityTypeName,
    footprint: EntityTypeName,
    function: EntityTypeName,
    org: EntityTypeName,
    product: EntityTypeName,
    workload: EntityTypeName,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "constant names, parsed by every test")]
    let name = |text| EntityTypeName::from_str(text).expect("a constant entity type name");
    Types {
        action: name("Concordat::Action"),
        agreement: name("Concordat::Agreement"),
        footprint: name("Concordat::Footprint"),
        function: name("Concordat::OrgFunction"),
        org: name("Concordat::PartnerOrg"),
        product: name("Concordat::DataProduct"),
        workload: name("Concordat::Workload"),
    }
});

fn uid(type_name: &EntityTypeName, id: impl AsRef<str>) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

/// The `@id` of a rule as its author wrote it. Printed, Cedar's own would have its quotes escaped.
pub(super) fn rule_id(policy: &Policy) -> String {
    id_text(policy.id())
}

/// An `@id` as its author wrote it.
pub(super) fn id_text(id: &PolicyId) -> String {
    let text: &str = id.as_ref();
    text.to_owned()
}

pub(super) fn action(action: DataAction) -> EntityUid {
    uid(&TYPES.action, action.as_str())
}

pub(super) fn activate_agreement() -> EntityUid {
    uid(&TYPES.action, "activateAgreement")
}

/// The group of all actions of the access gate.
pub(super) fn use_data() -> EntityUid {
    uid(&TYPES.action, "useData")
}

pub(super) fn agreement(reference: &ObjectRef) -> EntityUid {
    uid(&TYPES.agreement, reference.to_string())
}

pub(super) fn footprint(name: &str) -> EntityUid {
    uid(&TYPES.footprint, name)
}

pub(super) fn function(reference: &FunctionRef) -> EntityUid {
    uid(&TYPES.function, reference.to_string())
}

pub(super) fn org(name: &str) -> EntityUid {
    uid(&TYPES.org, name)
}

pub(super) fn product(reference: &ObjectRef) -> EntityUid {
    uid(&TYPES.product, reference.to_string())
}

/// The organisation that an entity is, or is part of; none where it is something else.
pub(super) fn org_of(uid: &EntityUid) -> Option<&str> {
    let id = uid.id().unescaped();
    if *uid.type_name() == TYPES.org {
        return Some(id);
    }
    (*uid.type_name() == TYPES.function).then(|| id.split('/').next()).flatten()
}

/// The product that an entity is; none where it is something else.
pub(super) fn product_of(uid: &EntityUid) -> Option<ObjectRef> {
    let (namespace, name) =
        uid.id().unescaped().split_once('/').filter(|_| *uid.type_name() == TYPES.product)?;
    Some(ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// Whether a type is that of workloads.
pub(super) fn is_workload_type(name: &str) -> bool {
    name == "Concordat::Workload"
}

/// Whether an entity type is that of agreements.
pub(super) fn is_agreement(type_name: &str) -> bool {
    type_name == "Concordat::Agreement"
}

/// The id of a workload; none where an entity is something else.
pub(super) fn workload_id(uid: &EntityUid) -> Option<&str> {
    (*uid.type_name() == TYPES.workload).then(|| uid.id().unescaped())
}

pub(super) fn workload(id: &str) -> EntityUid {
    uid(&TYPES.workload, id)
}

/// A rule id in pieces that compare in natural order: `GR-2` before `GR-12`, `GR-12` before `GR-12b`.
pub fn rule_sort_key(id: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = id;
    while !rest.is_empty() {
        let text_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(text_end);
        let digits_end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (digits, tail) = tail.split_at(digits_end);
        key.push((0, text.to_owned()));
        key.push((digits.parse().unwrap_or(0), String::new()));
        rest = tail;
    }
    key
}

/// Compares rule ids in natural order.
pub fn rule_order(a: &str, b: &str) -> std::cmp::Ordering {
    rule_sort_key(a).cmp(&rule_sort_key(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_in_natural_order() {
        let mut ids = vec!["GR-22", "GR-12c", "GR-2", "GR-14a", "GR-12", "GR-03a", "GR-12b"];
        ids.sort_by(|a, b| rule_order(a, b));
        assert_eq!(ids, ["GR-2", "GR-03a", "GR-12", "GR-12b", "GR-12c", "GR-14a", "GR-22"]);
    }
}
