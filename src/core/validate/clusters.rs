//! Clusters, where files are looked at without naming one: what names no cluster beside others that do is used in none,
//! as the operator of a named cluster refuses it.

use std::collections::BTreeSet;

use kube::Resource;

use super::listed;
use crate::clusters;
use crate::finding::{Code, Finding};
use crate::snapshot::{ClusterView, Snapshot, Sourced};

/// What leaves its cluster out, one finding for each workload and product. With a view of one cluster it is an error,
/// and reported where the object is read.
pub(super) fn check(snapshot: &Snapshot) -> Vec<Finding> {
    let homes = clusters::homes(snapshot);
    if snapshot.cluster != ClusterView::Any || homes.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for org in &snapshot.orgs {
        for (index, function) in org.object.spec.functions.iter().enumerate() {
            for (at, workload) in function.workloads.iter().enumerate() {
                if workload.cluster.is_none() {
                    let field = format!("spec.functions[{index}].workloads[{at}]");
                    findings.push(left_out(org, &field, "workload", &homes));
                }
            }
        }
    }
    for product in &snapshot.products {
        if product.object.spec.cluster.is_none() {
            findings.push(left_out(product, "spec", "product", &homes));
        }
    }
    findings
}

fn left_out<T>(sourced: &Sourced<T>, field: &str, what: &str, homes: &BTreeSet<String>) -> Finding
where
    T: Resource<DynamicType = ()>,
{
    let message = format!(
        "this {what} names no cluster, and others do: the operator of a named cluster refuses the whole object"
    );
    sourced
        .finding(Code::ClusterLeftOut, field, message)
        .help(format!("add `cluster`; other objects name {}", listed(homes.iter().map(String::as_str))))
}
