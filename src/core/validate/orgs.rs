//! Organisations: their namespaces are their own, their footprints exist, their clusters fit the view.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use ipnet::IpNet;
use kube::{Resource, ResourceExt as _};
use serde_json::Value;

use super::check::Check;
use super::{Checked, listed, selectors};
use crate::finding::Code;
use crate::model::{Claim, FunctionRef, Organisation, clusters_meet};
use crate::snapshot::{ClusterView, Snapshot, Unreadable};
use concordat_api::PartnerOrg;

pub(super) fn check(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    let names: BTreeSet<String> = snapshot.orgs.iter().map(|org| org.object.name_any()).collect();
    let mut homes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for org in &snapshot.orgs {
        homes.entry(&org.object.spec.home_namespace).or_default().push(org.object.name_any());
    }
    // a claim that clashes clashes as well when it is broken
    for org in snapshot.unreadable_of("PartnerOrg") {
        if let Some(home) = org.name("/homeNamespace") {
            homes.entry(home).or_default().push(org.key().name);
        }
    }
    let successors: BTreeMap<String, &str> = snapshot
        .orgs
        .iter()
        .filter_map(|org| Some((org.object.name_any(), org.object.spec.successor.as_deref()?)))
        .collect();
    let claims = all_claims(snapshot);
    checked.model.claimed = snapshot
        .unreadable_of("PartnerOrg")
        .flat_map(claims_of)
        .map(|(namespace, _, of)| (namespace.to_owned(), of.org))
        .collect();
    checked.model.isolated.orgs =
        snapshot.orgs.iter().map(|org| (org.object.name_any(), org.object.spec.clone())).collect();
    for sourced in &snapshot.orgs {
        let Some(mut check) = checked.start(sourced) else {
            continue;
        };
        let name = sourced.object.name_any();
        let spec = &sourced.object.spec;
        let home = spec.home_namespace.as_str();
        let sharing = homes.get(home).into_iter().flatten().filter(|other| **other != name);
        let others: Vec<&str> = sharing.map(String::as_str).collect();
        if !others.is_empty() {
            let message = format!("`{home}` is the home namespace of {} too", listed(others));
            check
                .finding(Code::HomeNamespaceShared, "spec.homeNamespace", message)
                .help("give each organisation a namespace of its own: who may write there signs for it");
        }
        for (index, footprint) in spec.footprints.iter().enumerate() {
            if checked.model.footprints.get(footprint).is_none() {
                check
                    .finding(
                        Code::FootprintNotFound,
                        &format!("spec.footprints[{index}]"),
                        format!("there is no footprint `{footprint}` that can be used"),
                    )
                    .missing("PlaceFootprint", footprint.as_str())
                    .near(
                        footprint,
                        checked.model.footprints.iter().map(|(name, _)| name.as_str()),
                        "add a PlaceFootprint of that name, or fix it",
                    );
            }
        }
        if let Some(successor) = &spec.successor {
            if !names.contains(successor) {
                check
                    .finding(
                        Code::OrgNotFound,
                        "spec.successor",
                        format!("there is no organisation `{successor}`"),
                    )
                    .missing("PartnerOrg", successor.as_str())
                    .near(successor, names.iter().map(String::as_str), "add a PartnerOrg of that name")
                    .warning();
            } else if leads_back(&name, &successors) {
                let message = if *successor == name {
                    format!("`{name}` is its own successor")
                } else {
                    format!("`{name}` is its own successor, over `{successor}`")
                };
                check.finding(Code::SuccessorCycle, "spec.successor", message).help(
                    "name the organisation that carries on; no one signs for one that is merged in a circle",
                );
            }
        }
        for (index, delegation) in spec.delegated_signing.iter().enumerate() {
            if !names.contains(&delegation.to) {
                check
                    .finding(
                        Code::OrgNotFound,
                        &format!("spec.delegatedSigning[{index}].to"),
                        format!("there is no organisation `{}` to sign for `{name}`", delegation.to),
                    )
                    .missing("PartnerOrg", delegation.to.as_str())
                    .near(
                        &delegation.to,
                        names.iter().map(String::as_str),
                        "add a PartnerOrg of that name, or take the delegation out",
                    )
                    .warning();
            }
        }
        delegated_twice(&mut check);
        check_workloads(&mut check, &checked.model.cluster, &claims, &homes);
        for (index, gateway) in spec.gateways.iter().enumerate() {
            for (at, cidr) in gateway.cidrs.iter().enumerate() {
                let field = format!("spec.gateways[{index}].cidrs[{at}]");
                match IpNet::from_str(cidr) {
                    Err(_) => {
                        check
                            .finding(
                                Code::InvalidCidr,
                                &field,
                                format!("`{cidr}` is not a block of IP addresses"),
                            )
                            .help("write it as `192.0.2.0/24` or `2001:db8::/32`");
                    }
                    Ok(net) if net.trunc().to_string() != *cidr => {
                        let message = format!("`{cidr}` is not written as everybody reads it");
                        check
                            .finding(Code::InvalidCidr, &field, message)
                            .help(format!("write it as `{}`", net.trunc()));
                    }
                    Ok(_) => {}
                }
            }
        }
        if checked.finish(check) {
            for function in &spec.functions {
                let reference = FunctionRef { org: name.clone(), function: function.name.clone() };
                for workload in &function.workloads {
                    checked
                        .model
                        .workloads
                        .add(Claim { function: reference.clone(), workload: workload.clone() });
                }
            }
            checked.model.orgs.insert(name.clone(), Organisation { name, spec: spec.clone() });
        }
    }
}

/// Whether following `successor` leads back to an organisation.
fn leads_back(org: &str, successors: &BTreeMap<String, &str>) -> bool {
    let mut seen = BTreeSet::new();
    let mut at = org;
    while let Some(next) = successors.get(at).filter(|next| seen.insert(**next)) {
        if *next == org {
            return true;
        }
        at = next;
    }
    false
}

/// Every claim on a namespace, by any organisation, used or not, and whether it can be read as a whole or not.
fn all_claims(snapshot: &Snapshot) -> BTreeMap<&str, Vec<(FunctionRef, Option<&str>)>> {
    let mut claims: BTreeMap<&str, Vec<(FunctionRef, Option<&str>)>> = BTreeMap::new();
    for (namespace, cluster, function) in snapshot.unreadable_of("PartnerOrg").flat_map(claims_of) {
        claims.entry(namespace).or_default().push((function, cluster));
    }
    for org in &snapshot.orgs {
        for function in &org.object.spec.functions {
            let reference = FunctionRef { org: org.object.name_any(), function: function.name.clone() };
            for workload in &function.workloads {
                let claim = (reference.clone(), workload.cluster.as_deref());
                claims.entry(&workload.namespace).or_default().push(claim);
            }
        }
    }
    claims
}

/// The claims of an organisation that cannot be read, as far as they can: namespace, cluster and function.
fn claims_of(org: &Unreadable) -> Vec<(&str, Option<&str>, FunctionRef)> {
    let mut claims = Vec::new();
    for (index, function) in entries(&org.spec, "functions").iter().enumerate() {
        let name = function["name"].as_str().map_or_else(|| format!("functions[{index}]"), str::to_owned);
        for workload in entries(function, "workloads") {
            if let Some(namespace) = workload["namespace"].as_str() {
                let function = FunctionRef { org: org.key().name, function: name.clone() };
                claims.push((namespace, workload["cluster"].as_str(), function));
            }
        }
    }
    claims
}

/// The entries of a list in a value of which nothing is certain.
fn entries<'v>(value: &'v Value, list: &str) -> &'v [Value] {
    value[list].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// One purpose may be delegated to an organisation once: which of two ends would hold?
fn delegated_twice(check: &mut Check<'_, PartnerOrg>) {
    let mut seen = BTreeSet::new();
    for (index, delegation) in check.object().spec.delegated_signing.iter().enumerate() {
        for (at, purpose) in delegation.purposes.iter().enumerate() {
            if !seen.insert((&delegation.to, purpose)) {
                check
                    .finding(
                        Code::DelegatedTwice,
                        &format!("spec.delegatedSigning[{index}].purposes[{at}]"),
                        format!("`{purpose}` is delegated to `{}` twice", delegation.to),
                    )
                    .help("keep one, with the `until` that is meant");
            }
        }
    }
}

fn check_workloads(
    check: &mut Check<'_, PartnerOrg>,
    view: &ClusterView,
    claims: &BTreeMap<&str, Vec<(FunctionRef, Option<&str>)>>,
    homes: &BTreeMap<&str, Vec<String>>,
) {
    let org = check.object().name_any();
    for (index, function) in check.object().spec.functions.iter().enumerate() {
        let own = FunctionRef { org: org.clone(), function: function.name.clone() };
        let mut seen = BTreeSet::new();
        for (at, workload) in function.workloads.iter().enumerate() {
            let field = format!("spec.functions[{index}].workloads[{at}]");
            let rivals: Vec<String> = claims
                .get(workload.namespace.as_str())
                .into_iter()
                .flatten()
                .filter(|(function, cluster)| {
                    *function != own && clusters_meet(*cluster, workload.cluster.as_deref())
                })
                .map(|(function, _)| function.to_string())
                .collect();
            if !rivals.is_empty() {
                let message = format!(
                    "namespace `{}` is claimed by {} too",
                    workload.namespace,
                    listed(rivals.iter().map(String::as_str))
                );
                check
                    .finding(Code::NamespaceClaimedTwice, &format!("{field}.namespace"), message)
                    .help("a namespace belongs to one function of one organisation: give each its own");
            }
            // a shared home, or a claim by somebody else's function, has been reported
            let is_reported = !rivals.is_empty() || check.object().spec.home_namespace == workload.namespace;
            let hosts = homes.get(workload.namespace.as_str()).into_iter().flatten();
            if let Some(host) = hosts.filter(|host| !is_reported && **host != org).min() {
                let message = format!("namespace `{}` is the home of `{host}`", workload.namespace);
                check
                    .finding(Code::NamespaceClaimedTwice, &format!("{field}.namespace"), message)
                    .help("a namespace belongs to one organisation: run the workloads in one of its own");
            }
            if !seen.insert((&workload.cluster, &workload.namespace, &workload.pod_selector)) {
                check
                    .finding(
                        Code::WorkloadTwice,
                        &field,
                        format!("`{own}` lists the same pods of namespace `{}` twice", workload.namespace),
                    )
                    .help("keep one entry, with all service accounts in it");
            }
            if let Some(selector) = &workload.pod_selector {
                selectors::check(check, selector, &format!("{field}.podSelector"));
            }
            if workload.service_accounts.is_some() && workload.pod_selector.is_none() {
                check
                    .finding(
                        Code::ServiceAccountsNotSelected,
                        &format!("{field}.serviceAccounts"),
                        "a network policy cannot see service accounts: it will let in every pod of the namespace",
                    )
                    .help("add a `podSelector` that selects the same pods; decisions do look at the service account");
            }
            cluster(check, view, workload.cluster.as_deref(), &format!("{field}.cluster"));
        }
    }
}

/// Whether what an object says of its cluster fits the cluster that is looked at.
pub(super) fn cluster<T>(check: &mut Check<'_, T>, view: &ClusterView, named: Option<&str>, field: &str)
where
    T: Resource<DynamicType = ()>,
{
    match (view, named) {
        (ClusterView::Unnamed, Some(cluster)) => {
            check
                .finding(
                    Code::ClusterNamed,
                    field,
                    format!(
                        "this names cluster `{cluster}`, and the operator does not know which cluster this is"
                    ),
                )
                .help("start the operator with `--cluster NAME`, or take the cluster out everywhere");
        }
        (ClusterView::Named(own), None) => {
            check
                .finding(
                    Code::ClusterMissing,
                    field,
                    format!("this names no cluster, and would count in every one; here it is `{own}`"),
                )
                .help(
                    "name the cluster, or a namespace of the same name elsewhere would have the same access",
                );
        }
        (ClusterView::Any, _) | (ClusterView::Unnamed, None) | (ClusterView::Named(_), Some(_)) => {}
    }
}
