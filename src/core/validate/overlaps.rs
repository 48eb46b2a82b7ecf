//! Things that overlap: what opens one of them opens the other. Warnings all, as each may be meant.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use ipnet::IpNet;
use jiff::Unit;
use jiff::tz::TimeZone;
use kube::ResourceExt as _;

use super::{Checked, listed, reference};
use crate::finding::Code;
use crate::model::clusters_meet;
use crate::selectors::{Selector, is_applicable, label_selector};
use crate::snapshot::{Snapshot, Sourced};
use concordat_api::{DataProduct, EndpointPort, FrameworkExceptionSpec, ObjectRef, PodSelector};

/// How many selectors of one namespace are held against each other. Thousands of products beside each other would hold
/// everything against everything, and no one reads that many warnings.
const MOST_PAIRS: usize = 100_000;

/// How many exceptions from one rule are held against another.
const MOST_EXCEPTIONS: usize = 1_000;

/// How many names are listed in one warning.
const MOST_NAMES: usize = 20;

/// After how many years an exception is as good as a change of the rule.
const LONG_YEARS: f64 = 2.0;

pub(super) fn check(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    products(snapshot, checked);
    gateways(snapshot, checked);
    exceptions(snapshot, checked);
}

/// The products of one namespace that select by the same words.
struct Endpoint<'a> {
    selector: Selector,
    products: Vec<&'a Sourced<DataProduct>>,
}

fn products(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    let mut namespaces: BTreeMap<String, BTreeMap<&PodSelector, Endpoint<'_>>> = BTreeMap::new();
    for sourced in &snapshot.products {
        let selector = &sourced.object.spec.endpoint.pod_selector;
        if checked.model.accepted(&sourced.key()) && is_applicable(selector) {
            let namespace = sourced.object.namespace().unwrap_or_default();
            let endpoint = namespaces.entry(namespace).or_default().entry(selector);
            let empty =
                || Endpoint { selector: Selector::new(&label_selector(selector)), products: Vec::new() };
            endpoint.or_insert_with(empty).products.push(sourced);
        }
    }
    let mut others: BTreeMap<ObjectRef, BTreeSet<String>> = BTreeMap::new();
    for endpoints in namespaces.values() {
        let endpoints: Vec<&Endpoint<'_>> = endpoints.values().collect();
        let pairs = endpoints
            .iter()
            .enumerate()
            .flat_map(|(index, a)| endpoints.iter().skip(index).map(move |b| (*a, *b)));
        for (a, b) in pairs.take(MOST_PAIRS).filter(|(a, b)| a.selector.and(&b.selector).is_possible()) {
            for (one, other) in
                a.products.iter().flat_map(|one| b.products.iter().map(move |other| (one, other)))
            {
                let (own, theirs) = (reference(&*one.object), reference(&*other.object));
                if own == theirs || !share_a_port(&one.object, &other.object) {
                    continue;
                }
                others.entry(own.clone()).or_default().insert(theirs.to_string());
                others.entry(theirs).or_default().insert(own.to_string());
            }
        }
    }
    for sourced in &snapshot.products {
        let Some(others) = others.get(&reference(&*sourced.object)) else { continue };
        let Some(mut check) = checked.start(sourced) else { continue };
        let message = format!(
            "this `podSelector` may select pods of {} on the same port: for the network, what opens one product opens the other",
            first(others.iter().map(String::as_str), others.len())
        );
        check
            .finding(Code::EndpointsOverlap, "spec.endpoint.podSelector", message)
            .help("give the pods of each product a label value or a port of their own, unless one gateway that asks for every request is in front of both");
        checked.finish(check);
    }
}

/// Whether an opening for one product lets through to the other, where both select the same pods.
fn share_a_port(a: &DataProduct, b: &DataProduct) -> bool {
    let key = |port: &EndpointPort| (port.port, port.protocol.unwrap_or_default());
    let ports = |product: &DataProduct| product.spec.endpoint.ports.iter().map(key).collect::<BTreeSet<_>>();
    clusters_meet(a.spec.cluster.as_deref(), b.spec.cluster.as_deref()) && !ports(a).is_disjoint(&ports(b))
}

/// Blocks of addresses from which the traffic of several organisations may come.
fn gateways(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    let mut owners: BTreeMap<IpNet, BTreeSet<String>> = BTreeMap::new();
    for sourced in snapshot.orgs.iter().filter(|sourced| checked.model.accepted(&sourced.key())) {
        for cidr in sourced.object.spec.gateways.iter().flat_map(|gateway| &gateway.cidrs) {
            if let Ok(net) = IpNet::from_str(cidr) {
                owners.entry(net.trunc()).or_default().insert(sourced.object.name_any());
            }
        }
    }
    let mut inside: BTreeMap<IpNet, BTreeSet<IpNet>> = BTreeMap::new();
    for net in owners.keys() {
        let wider = std::iter::successors(net.supernet(), IpNet::supernet);
        for outer in wider.filter(|outer| owners.contains_key(outer)) {
            inside.entry(outer).or_default().insert(*net);
            inside.entry(*net).or_default().insert(outer);
        }
    }
    for sourced in &snapshot.orgs {
        let Some(mut check) = checked.start(sourced) else { continue };
        let own = sourced.object.name_any();
        for (index, gateway) in sourced.object.spec.gateways.iter().enumerate() {
            let nets: Vec<IpNet> =
                gateway.cidrs.iter().filter_map(|cidr| IpNet::from_str(cidr).ok()).collect();
            for (at, cidr) in gateway.cidrs.iter().enumerate() {
                let Ok(net) = IpNet::from_str(cidr).map(|net| net.trunc()) else { continue };
                let field = format!("spec.gateways[{index}].cidrs[{at}]");
                if let Some(outer) = nets.iter().find(|outer| **outer != net && outer.contains(&net)) {
                    check
                        .finding(Code::GatewaysOverlap, &field, format!("`{cidr}` lies in `{outer}` of the same list"))
                        .help("take out the narrower one, which adds nothing, or the wider one where less was meant");
                }
                let near = inside.get(&net).into_iter().flatten().chain([&net]);
                let others: BTreeSet<&str> = near
                    .filter_map(|net| owners.get(net))
                    .flatten()
                    .map(String::as_str)
                    .filter(|other| *other != own)
                    .collect();
                if !others.is_empty() {
                    let message = format!(
                        "`{cidr}` overlaps with addresses of {}: a network policy cannot tell their traffic apart",
                        first(others.iter().copied(), others.len())
                    );
                    check
                        .finding(Code::GatewaysOverlap, &field, message)
                        .help("give each organisation addresses of its own to come from; where they share a gateway, what opens for one opens for all, and only the decision point tells them apart");
                }
            }
        }
        checked.finish(check);
    }
}

fn exceptions(snapshot: &Snapshot, checked: &mut Checked<'_>) {
    let all: Vec<(String, &FrameworkExceptionSpec)> = snapshot
        .exceptions
        .iter()
        .filter(|sourced| checked.model.accepted(&sourced.key()))
        .map(|sourced| (sourced.object.name_any(), &sourced.object.spec))
        .collect();
    let mut by_rule: BTreeMap<&str, Vec<&(String, &FrameworkExceptionSpec)>> = BTreeMap::new();
    for exception in &all {
        by_rule.entry(&exception.1.rule).or_default().push(exception);
    }
    for sourced in &snapshot.exceptions {
        let Some(mut check) = checked.start(sourced) else { continue };
        let (name, spec) = (sourced.object.name_any(), &sourced.object.spec);
        let from = spec.from.to_zoned(TimeZone::UTC);
        let span = spec.from.until(spec.until);
        let years = span.ok().and_then(|span| span.total((Unit::Year, &from)).ok());
        if years.is_none_or(|years| years > LONG_YEARS) {
            check
                .finding(
                    Code::ExceptionLong,
                    "spec.until",
                    format!("rule `{}` is lifted for more than {LONG_YEARS} years", spec.rule),
                )
                .help("let it end earlier, and renew it once it has been evaluated; what is to stay is a change of the framework");
        }
        let footprints = &checked.model.footprints;
        let meets = |other: &FrameworkExceptionSpec| {
            let places = footprints.lies_in(&spec.footprint, &other.footprint)
                || footprints.lies_in(&other.footprint, &spec.footprint);
            places && spec.from < other.until && other.from < spec.until
        };
        let others: BTreeSet<&str> = by_rule
            .get(spec.rule.as_str())
            .into_iter()
            .flatten()
            .take(MOST_EXCEPTIONS)
            .filter(|(other, theirs)| *other != name && meets(theirs))
            .map(|(other, _)| other.as_str())
            .collect();
        if !others.is_empty() {
            let message = format!(
                "rule `{}` is lifted at the same time and in the same place by {}: the end of one ends nothing",
                spec.rule,
                first(others.iter().copied(), others.len())
            );
            check
                .finding(Code::ExceptionsOverlap, "spec.until", message)
                .help("keep one, or let one begin when the other ends");
        }
        checked.finish(check);
    }
}

/// The first names of many.
fn first<'a>(names: impl Iterator<Item = &'a str>, count: usize) -> String {
    let shown = listed(names.take(MOST_NAMES));
    if count > MOST_NAMES { format!("{shown}, and {} more", count - MOST_NAMES) } else { shown }
}
