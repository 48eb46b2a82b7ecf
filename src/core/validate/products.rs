//! Data products: they are with their controller, and a derived one carries its parents' flags.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Check;
use super::stores::Stores;
use super::{Checked, listed, orgs, reference, selectors};
use crate::finding::Code;
use crate::model::{Organisation, Product};
use crate::snapshot::Snapshot;
use concordat_api::{DataProduct, DataProductSpec, ObjectRef};

pub(super) fn check(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    let all: BTreeMap<ObjectRef, &DataProductSpec> =
        snapshot.products.iter().map(|product| (reference(&*product.object), &product.object.spec)).collect();
    checked.model.isolated.products =
        all.iter().map(|(reference, spec)| (reference.clone(), (*spec).clone())).collect();
    let stores = Stores::new(snapshot);
    for sourced in &snapshot.products {
        let Some(mut check) = checked.start(sourced) else {
            continue;
        };
        let reference = reference(&*sourced.object);
        let spec = &sourced.object.spec;
        match checked.model.orgs.get(&spec.controller) {
            None => {
                let names = checked.model.orgs.keys().map(String::as_str);
                check
                    .finding(
                        Code::OrgNotFound,
                        "spec.controller",
                        format!("there is no organisation `{}` that can be used", spec.controller),
                    )
                    .missing("PartnerOrg", spec.controller.as_str())
                    .near(&spec.controller, names, "add a PartnerOrg of that name, or fix it");
            }
            Some(org) => {
                let namespaces = namespaces(org);
                if !namespaces.contains(&reference.namespace.as_str()) {
                    let message =
                        format!("`{}` is not a namespace of `{}`", reference.namespace, spec.controller);
                    check.finding(Code::ProductNamespace, "metadata.namespace", message).help(format!(
                        "a product belongs in one of its controller's: {}",
                        listed(namespaces)
                    ));
                }
            }
        }
        implied_flags(&mut check);
        orgs::cluster(&mut check, &checked.model.cluster, spec.cluster.as_deref(), "spec.cluster");
        derived(&mut check, &all);
        selectors::check(&mut check, &spec.endpoint.pod_selector, "spec.endpoint.podSelector");
        stores.check(&mut check, checked);
        if checked.finish(check) {
            checked.model.products.insert(reference.clone(), Product { reference, spec: spec.clone() });
        }
    }
}

/// Flags that imply each other. A cluster whose definitions are older than this rule holds objects that break it.
fn implied_flags(check: &mut Check<'_, DataProduct>) {
    let spec = &check.object().spec;
    let special = spec.special_category || spec.confidential_patient_info;
    let implied = [
        ("specialCategory", spec.special_category, spec.confidential_patient_info),
        ("personalData", spec.personal_data, special || spec.legally_restricted || spec.childrens_data),
    ];
    for (flag, _, _) in implied.into_iter().filter(|(_, is, has_to_be)| *has_to_be && !is) {
        check
            .finding(
                Code::ShapeRule,
                &format!("spec.{flag}"),
                format!("`{flag}` is false, and other flags imply it"),
            )
            .help(format!("write `{flag}: true`, or take the flag out that implies it"));
    }
}

/// The namespaces of an organisation: its home, and those of its workloads.
fn namespaces(org: &Organisation) -> Vec<&str> {
    let workloads = org.spec.functions.iter().flat_map(|function| &function.workloads);
    std::iter::once(org.spec.home_namespace.as_str())
        .chain(workloads.map(|workload| workload.namespace.as_str()))
        .collect()
}

/// A product made from others has at least the union of their flags, and of what those are made from: waste data
/// joined to a frailty code is confidential patient information, however many products lie between.
fn derived(check: &mut Check<'_, DataProduct>, all: &BTreeMap<ObjectRef, &DataProductSpec>) {
    let own = reference(check.object());
    let spec = &check.object().spec;
    for (index, parent) in spec.derived_from.iter().enumerate() {
        let field = format!("spec.derivedFrom[{index}]");
        if !all.contains_key(parent) {
            check
                .finding(Code::ProductNotFound, &field, format!("there is no product `{parent}`"))
                .missing("DataProduct", parent)
                .near(
                    &parent.to_string(),
                    all.keys().map(ToString::to_string),
                    "name the product that this one is made from, as `namespace` and `name`",
                );
        } else if ancestors(parent, all).contains(&own) {
            let message = if *parent == own {
                format!("`{own}` is made from itself")
            } else {
                format!("`{own}` is made from itself, over `{parent}`")
            };
            check
                .finding(Code::DerivedCycle, &field, message)
                .help("name what it was made from first, and take this link out there or here");
        }
    }
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    for above in spec.derived_from.iter().flat_map(|parent| ancestors(parent, all)) {
        let Some(above_spec) = all.get(&above) else {
            continue;
        };
        for ((flag, own), (_, theirs)) in flags(spec).into_iter().zip(flags(above_spec)) {
            if theirs && !own && asked.insert(flag) {
                check
                    .finding(
                        Code::DerivedFlags,
                        &format!("spec.{flag}"),
                        format!("`{above}`, which this is made from, has `{flag}`"),
                    )
                    .help(format!("set `{flag}: true`: what is made from such data is such data"));
            }
        }
    }
}

/// A product and all that it is made from, nearest first, as far as it is there.
fn ancestors(product: &ObjectRef, all: &BTreeMap<ObjectRef, &DataProductSpec>) -> Vec<ObjectRef> {
    let mut found = vec![product.clone()];
    let mut seen = BTreeSet::from([product]);
    let mut layer = vec![product];
    while !layer.is_empty() {
        let parents = layer.iter().filter_map(|it| all.get(*it)).flat_map(|spec| &spec.derived_from);
        layer = parents.filter(|parent| seen.insert(parent)).collect();
        found.extend(layer.iter().map(|it| (*it).clone()));
    }
    found
}

fn flags(spec: &DataProductSpec) -> [(&'static str, bool); 5] {
    [
        ("personalData", spec.personal_data),
        ("specialCategory", spec.special_category),
        ("confidentialPatientInfo", spec.confidential_patient_info),
        ("legallyRestricted", spec.legally_restricted),
        ("childrensData", spec.childrens_data),
    ]
}
