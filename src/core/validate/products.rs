//! Data products: they stand with their controller, and a derived one carries its parents' flags.

use std::collections::BTreeMap;

use kube::ResourceExt as _;

use super::check::Check;
use super::{Checked, listed, namespace, orgs};
use crate::api::{DataProduct, DataProductSpec, ObjectRef};
use crate::core::finding::Code;
use crate::core::model::{Organisation, Product};
use crate::core::snapshot::Snapshot;

pub(super) fn check(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    let all: BTreeMap<ObjectRef, &DataProductSpec> = snapshot
        .products
        .iter()
        .map(|product| {
            let reference =
                ObjectRef { namespace: namespace(&product.object), name: product.object.name_any() };
            (reference, &product.object.spec)
        })
        .collect();
    checked.model.isolated.products =
        all.iter().map(|(reference, spec)| (reference.clone(), (*spec).clone())).collect();
    for sourced in &snapshot.products {
        let Some(mut check) = checked.start(sourced) else {
            continue;
        };
        let reference = ObjectRef { namespace: namespace(&sourced.object), name: sourced.object.name_any() };
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
                    .near(&spec.controller, names, "add a PartnerOrg of that name, or mend it");
            }
            Some(org) => {
                let namespaces = namespaces(org);
                if !namespaces.contains(&reference.namespace.as_str()) {
                    let message =
                        format!("`{}` is not a namespace of `{}`", reference.namespace, spec.controller);
                    check
                        .finding(Code::ProductNamespace, "metadata.namespace", message)
                        .help(format!("a product stands in one of its controller's: {}", listed(namespaces)));
                }
            }
        }
        orgs::cluster(&mut check, &checked.model.cluster, spec.cluster.as_deref(), "spec.cluster");
        derived(&mut check, &all);
        if checked.finish(check) {
            checked.model.products.insert(reference.clone(), Product { reference, spec: spec.clone() });
        }
    }
}

/// The namespaces of an organisation: its home, and those of its workloads.
fn namespaces(org: &Organisation) -> Vec<&str> {
    let workloads = org.spec.functions.iter().flat_map(|function| &function.workloads);
    std::iter::once(org.spec.home_namespace.as_str())
        .chain(workloads.map(|workload| workload.namespace.as_str()))
        .collect()
}

/// A product made from others has at least the union of their flags: waste data joined to a frailty code is
/// confidential patient information.
fn derived(check: &mut Check<'_, DataProduct>, all: &BTreeMap<ObjectRef, &DataProductSpec>) {
    let spec = &check.object().spec;
    for (index, parent) in spec.derived_from.iter().enumerate() {
        let Some(above) = all.get(parent) else {
            check
                .finding(
                    Code::ProductNotFound,
                    &format!("spec.derivedFrom[{index}]"),
                    format!("there is no product `{parent}`"),
                )
                .help("name the product that this one is made from, as `namespace` and `name`");
            continue;
        };
        let flags = [
            ("personalData", spec.personal_data, above.personal_data),
            ("specialCategory", spec.special_category, above.special_category),
            ("confidentialPatientInfo", spec.confidential_patient_info, above.confidential_patient_info),
            ("legallyRestricted", spec.legally_restricted, above.legally_restricted),
            ("childrensData", spec.childrens_data, above.childrens_data),
        ];
        for (flag, own, theirs) in flags {
            if theirs && !own {
                check
                    .finding(
                        Code::DerivedFlags,
                        &format!("spec.{flag}"),
                        format!("`{parent}`, which this is made from, has `{flag}`"),
                    )
                    .help(format!("set `{flag}: true`: what is made from such data is such data"));
            }
        }
    }
}
