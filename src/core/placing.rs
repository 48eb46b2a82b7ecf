//! Objects that do not name their namespace: where they could belong.
//!
//! Only files have them. kubectl would put such an object where its caller happens to be, so it counts in each namespace
//! in which it could say something, as an object there that cannot be used, and nowhere else.

use std::collections::BTreeSet;

use kube::{Resource, ResourceExt as _};

use super::names::is_label;
use super::snapshot::{Snapshot, Sourced, Unreadable, reference};

/// Puts each object that does not name its namespace into those in which it could say something.
pub fn place(snapshot: &mut Snapshot) {
    let copies: Vec<Unreadable> = snapshot
        .unreadable
        .iter()
        .filter(|it| !it.meta.namespace.as_deref().is_some_and(is_label))
        .flat_map(|it| {
            namespaces(it, snapshot).into_iter().map(|namespace| {
                let mut copy = it.clone();
                copy.meta.namespace = Some(namespace);
                copy
            })
        })
        .collect();
    snapshot.unreadable.extend(copies);
}

fn namespaces(object: &Unreadable, snapshot: &Snapshot) -> BTreeSet<String> {
    match object.kind.as_str() {
        "AgreementSignature" => of_signature(object, snapshot),
        "DataSharingAgreement" => of_agreement(object, snapshot),
        "LocalPolicy" => of_policy(object, snapshot),
        // one more of a name voids the other
        "DataProduct" => of_the_name(object, &snapshot.products, snapshot),
        _ => BTreeSet::new(),
    }
}

/// The homes of those for whom it may speak.
fn of_signature(signature: &Unreadable, snapshot: &Snapshot) -> BTreeSet<String> {
    let named = signature.party().filter(|party| snapshot.homes().any(|(org, _)| org == *party));
    let parties: Option<BTreeSet<&str>> = match (named, signature.agreement()) {
        (Some(party), _) => Some([party].into()),
        (None, Some(agreement)) => {
            let mut agreements = snapshot.agreements.iter();
            let agreement = agreements.find(|it| reference(&*it.object) == agreement);
            // of an agreement that cannot be read, anybody may be a party
            agreement.map(|it| it.object.spec.parties.iter().map(|row| row.org.as_str()).collect())
        }
        (None, None) => None,
    };
    let may_speak = |org: &str| parties.as_ref().is_none_or(|parties| parties.contains(org));
    snapshot.homes().filter(|(org, _)| may_speak(org)).map(|(_, home)| home.to_owned()).collect()
}

/// Where another of its name is, and where signatures say that one of its name is.
fn of_agreement(agreement: &Unreadable, snapshot: &Snapshot) -> BTreeSet<String> {
    let mut found = of_the_name(agreement, &snapshot.agreements, snapshot);
    let Some(name) = agreement.meta.name.as_deref() else { return found };
    let read = snapshot.signatures.iter().map(|it| it.object.spec.agreement.clone());
    let unread = snapshot.unreadable_of("AgreementSignature").filter_map(Unreadable::agreement);
    found.extend(read.chain(unread).filter(|signed| signed.name == name).map(|signed| signed.namespace));
    found
}

/// Where its footprint lets policies be, or, where it names none, where any does.
fn of_policy(policy: &Unreadable, snapshot: &Snapshot) -> BTreeSet<String> {
    let named = policy.name("/footprint");
    let known = |name: &str| snapshot.footprints.iter().any(|it| it.object.name_any() == name);
    let named = named.filter(|name| known(name));
    let places = snapshot.footprints.iter();
    let places = places.filter(|place| named.is_none_or(|name| place.object.name_any() == name));
    places.flat_map(|place| place.object.spec.policy_namespaces.iter().cloned()).collect()
}

fn of_the_name<K>(object: &Unreadable, read: &[Sourced<K>], snapshot: &Snapshot) -> BTreeSet<String>
where
    K: Resource<DynamicType = ()>,
{
    let name = object.meta.name.as_deref();
    let read = read.iter().filter(|it| it.object.meta().name.as_deref() == name);
    let unread = snapshot.unreadable_of(&object.kind).filter(|it| it.meta.name.as_deref() == name);
    let namespaces = read.map(|it| it.object.namespace()).chain(unread.map(|it| it.meta.namespace.clone()));
    namespaces.flatten().filter(|it| name.is_some() && is_label(it)).collect()
}
