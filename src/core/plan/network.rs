//! Network policies: isolation first, and then exactly the agreed paths.
//!
//! A policy says only the one direction that it governs, `policyTypes` is always written, and a list of peers or
//! ports is never empty: left out or empty, each would mean "all".

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;
use serde_json::json;

use super::dns::{Dns, DnsPeer};
use super::types::{AGREEMENT, MANAGED_BY, PART, PRODUCT, PlannedObject, RECIPIENT};
use crate::model::{FunctionRef, Model, Organisation, Product};
use crate::policy::Flow;
use crate::selectors::{is_applicable, label_selector};
use crate::terms;
use concordat_api::{Egress, EndpointPort, ObjectRef, PodSelector, Protocol, Workload};

/// The label by which a namespace is selected: the API server writes it, tenants cannot.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The labels of what the operator owns. Labels of parents are never copied.
pub(super) fn labels(part: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned()), (PART.to_owned(), part.to_owned())])
}

/// What a grant, or the policy beside it, is about.
pub(super) fn product_annotations(agreement: &ObjectRef, product: &ObjectRef) -> BTreeMap<String, String> {
    BTreeMap::from([(AGREEMENT.to_owned(), agreement.to_string()), (PRODUCT.to_owned(), product.to_string())])
}

/// The names of what the operator writes: readable, and unique by a digest of what they are for.
#[derive(Debug)]
pub struct NetworkNames;

impl NetworkNames {
    /// The name of the grant of a product under an agreement, and of the network policy beside it. Of several parts the
    /// first has no number.
    pub fn grant(agreement: &ObjectRef, product: &ObjectRef, part: usize) -> String {
        let readable = format!("{}-{}", product.name, agreement.name);
        let identity = json!([agreement.to_string(), product.to_string()]).to_string();
        numbered(named(&readable, &identity), part)
    }
}

/// The name of a part, from 0.
fn numbered(name: String, part: usize) -> String {
    if part == 0 { name } else { format!("{name}-{}", part + 1) }
}

/// A DNS label of at most 63 characters: the readable part, cut, and ten digits of a digest.
fn named(readable: &str, identity: &str) -> String {
    let readable: String = readable.chars().map(|c| if c == '.' { '-' } else { c }).take(52).collect();
    let digest = terms::text_digest(identity);
    let short = digest.get(..10).unwrap_or_default();
    format!("{}-{short}", readable.trim_end_matches('-'))
}

/// Builds the network policies of a model.
pub(super) struct Network<'a> {
    pub(super) model: &'a Model,
    pub(super) dns: &'a Dns,
}

impl<'a> Network<'a> {
    /// Denies ingress to every product here. Named by its selector too, so that a product recreated with another
    /// selector cannot overwrite an older denial.
    pub(super) fn product_isolation(&self) -> impl Iterator<Item = NetworkPolicy> + use<'a> {
        let model = self.model;
        model
            .isolated
            .products
            .iter()
            .filter(|(_, spec)| model.cluster.is_local(spec.cluster.as_deref()))
            // what the API server refuses is an error of the product, and isolates nothing
            .filter(|(_, spec)| is_applicable(&spec.endpoint.pod_selector))
            .map(|(reference, spec)| {
                let selector = json!(spec.endpoint.pod_selector).to_string();
                policy(
                    &reference.namespace,
                    named(&format!("isolate-{}", reference.name), &format!("{reference} {selector}")),
                    "isolation",
                    BTreeMap::from([(PRODUCT.to_owned(), reference.to_string())]),
                    NetworkPolicySpec {
                        pod_selector: Some(label_selector(&spec.endpoint.pod_selector)),
                        policy_types: Some(vec!["Ingress".to_owned()]),
                        ingress: None,
                        egress: None,
                    },
                )
            })
    }

    /// Denies egress but for DNS to the workloads of every Managed function here.
    pub(super) fn function_isolation(&self) -> impl Iterator<Item = NetworkPolicy> + use<'a> {
        let model = self.model;
        let servers = self.dns;
        model.isolated.orgs.iter().flat_map(move |(name, spec)| {
            let managed = spec.functions.iter().filter(|function| function.egress == Some(Egress::Managed));
            managed.flat_map(move |function| {
                let recipient = FunctionRef { org: name.clone(), function: function.name.clone() };
                let local = function
                    .workloads
                    .iter()
                    .filter(move |workload| model.cluster.is_local(workload.cluster.as_deref()))
                    .filter(|workload| workload.pod_selector.as_ref().is_none_or(is_applicable));
                local.map(move |workload| {
                    let selector = workload.pod_selector.clone().unwrap_or_default();
                    let identity = format!("{recipient} {} {}", workload.namespace, json!(selector));
                    policy(
                        &workload.namespace,
                        named(&format!("isolate-{}-{}", recipient.org, recipient.function), &identity),
                        "isolation",
                        BTreeMap::from([(RECIPIENT.to_owned(), recipient.to_string())]),
                        NetworkPolicySpec {
                            pod_selector: Some(label_selector(&selector)),
                            policy_types: Some(vec!["Egress".to_owned()]),
                            ingress: None,
                            egress: Some(dns(servers)),
                        },
                    )
                })
            })
        })
    }

    /// Whether a product is in the cluster that is looked at.
    pub(super) fn is_product_local(&self, product: &ObjectRef) -> bool {
        self.model.is_local(product)
    }

    /// Lets recipients in to a product here: the policy beside a grant. None where no one can be let in.
    pub(super) fn ingress(
        &self,
        agreement: &ObjectRef,
        product: &Product,
        grant: &str,
        peers: impl IntoIterator<Item = NetworkPolicyPeer>,
    ) -> Option<PlannedObject> {
        let peers = sorted(peers.into_iter().collect());
        let ports = ports(product)?;
        if peers.is_empty() {
            return None;
        }
        let rule = NetworkPolicyIngressRule { from: Some(peers), ports: Some(ports) };
        let policy = policy(
            &product.reference.namespace,
            grant.to_owned(),
            "ingress",
            product_annotations(agreement, &product.reference),
            NetworkPolicySpec {
                pod_selector: Some(label_selector(&product.spec.endpoint.pod_selector)),
                policy_types: Some(vec!["Ingress".to_owned()]),
                ingress: Some(vec![rule]),
                egress: None,
            },
        );
        let products = BTreeSet::from([product.reference.clone()]);
        Some(PlannedObject::Allow { policy: policy.into(), grant: Some(grant.to_owned()), products })
    }

    /// Who comes in: the recipient's workloads in the product's cluster, and the gateways of those elsewhere.
    pub(super) fn recipient_peers(
        &self,
        product: &Product,
        recipient: &FunctionRef,
    ) -> Vec<NetworkPolicyPeer> {
        let Some(org) = self.model.orgs.get(&recipient.org) else {
            return Vec::new();
        };
        let workloads = org
            .function(&recipient.function)
            .map(|function| function.workloads.as_slice())
            .unwrap_or_default();
        let mut peers = Vec::new();
        for workload in workloads {
            if self.same_cluster(workload.cluster.as_deref(), product.spec.cluster.as_deref()) {
                peers.push(namespace_peer(&workload.namespace, workload.pod_selector.as_ref()));
            } else if let Some(cluster) = &workload.cluster {
                peers.extend(gateway_peers(org, cluster));
            }
        }
        sorted(peers)
    }

    /// What Managed functions may reach under an agreement: one policy for each of their workloads here, to the products
    /// of these flows.
    pub(super) fn egress(&self, agreement: &ObjectRef, flows: &[Flow]) -> Vec<PlannedObject> {
        let mut by_recipient: BTreeMap<&FunctionRef, Vec<&Product>> = BTreeMap::new();
        for flow in flows {
            let products = by_recipient.entry(&flow.recipient).or_default();
            products.extend(self.model.products.get(&flow.product));
        }
        let mut objects = Vec::new();
        for (recipient, products) in by_recipient {
            let org = self.model.orgs.get(&recipient.org);
            let function = org.and_then(|org| org.function(&recipient.function));
            let Some(function) = function.filter(|it| it.egress == Some(Egress::Managed)) else {
                continue;
            };
            let local =
                function.workloads.iter().filter(|it| self.model.cluster.is_local(it.cluster.as_deref()));
            for workload in local {
                let ways: Vec<Way> = products.iter().filter_map(|it| self.way(workload, it)).collect();
                objects.extend(egress_of(agreement, recipient, workload, ways));
            }
        }
        objects
    }

    /// The way from a workload to a product; none where there is none.
    fn way(&self, workload: &Workload, product: &Product) -> Option<Way> {
        let ports = ports(product)?;
        let near = self.same_cluster(workload.cluster.as_deref(), product.spec.cluster.as_deref());
        let peers = if near {
            vec![namespace_peer(&product.reference.namespace, Some(&product.spec.endpoint.pod_selector))]
        } else {
            let controller = self.model.orgs.get(&product.spec.controller);
            let cluster = product.spec.cluster.as_deref().unwrap_or_default();
            controller.map(|org| gateway_peers(org, cluster)).unwrap_or_default()
        };
        if peers.is_empty() {
            return None;
        }
        Some((
            product.reference.clone(),
            NetworkPolicyEgressRule { to: Some(sorted(peers)), ports: Some(ports) },
        ))
    }

    /// Whether two things are in one cluster, as far as the view tells clusters apart.
    fn same_cluster(&self, a: Option<&str>, b: Option<&str>) -> bool {
        match &self.model.cluster {
            crate::snapshot::ClusterView::Named(_) => a == b,
            crate::snapshot::ClusterView::Any | crate::snapshot::ClusterView::Unnamed => true,
        }
    }
}

/// A product, and the rule that lets somebody reach it.
type Way = (ObjectRef, NetworkPolicyEgressRule);

fn egress_of(
    agreement: &ObjectRef,
    recipient: &FunctionRef,
    workload: &Workload,
    ways: Vec<Way>,
) -> impl Iterator<Item = PlannedObject> {
    let selector = workload.pod_selector.clone().unwrap_or_default();
    let identity = json!([agreement.to_string(), recipient.to_string(), workload.namespace, selector]);
    let readable = format!("{}-{}-{}", agreement.name, recipient.org, recipient.function);
    let name = named(&readable, &identity.to_string());
    let annotations = BTreeMap::from([
        (AGREEMENT.to_owned(), agreement.to_string()),
        (RECIPIENT.to_owned(), recipient.to_string()),
    ]);
    let parts = parts(ways, |(product, _)| product.to_string(), |ways| ways.len() <= EGRESS_RULES);
    let namespace = workload.namespace.clone();
    parts.into_iter().map(move |(part, ways)| {
        let (products, rules) = ways.into_iter().unzip();
        let policy = policy(
            &namespace,
            numbered(name.clone(), part),
            "egress",
            annotations.clone(),
            NetworkPolicySpec {
                pod_selector: Some(label_selector(&selector)),
                policy_types: Some(vec!["Egress".to_owned()]),
                ingress: None,
                egress: Some(rules),
            },
        );
        PlannedObject::Allow { policy: policy.into(), grant: None, products }
    })
}

/// The most rules of one egress policy, so that it stays far below what an API server stores.
const EGRESS_RULES: usize = 1024;

/// The ports of a product; none where it lists none, as an empty list would mean all.
fn ports(product: &Product) -> Option<Vec<NetworkPolicyPort>> {
    let ports: Vec<NetworkPolicyPort> = product.spec.endpoint.ports.iter().map(port).collect();
    (!ports.is_empty()).then_some(ports)
}

/// Splits a list that is too long for one object, with the number of each part from 0.
///
/// Where an entry goes is said by a digest of its name, so that whoever comes or goes moves no one else until a part is
/// full. An entry that is too long by itself has a part of its own.
pub(super) fn parts<T>(
    entries: Vec<T>,
    name: impl Fn(&T) -> String,
    fits: impl Fn(&[T]) -> bool,
) -> Vec<(usize, Vec<T>)> {
    let mut count = 1;
    let mut split = vec![entries];
    while !split.iter().all(|part| part.len() <= 1 || fits(part)) && count < MOST_PARTS {
        count *= 2;
        let mut more: Vec<Vec<T>> = std::iter::repeat_with(Vec::new).take(count).collect();
        for entry in split.into_iter().flatten() {
            let digest = terms::text_digest(&name(&entry));
            let digits = digest.trim_start_matches("sha256:").get(..8).unwrap_or_default();
            let place = usize::from_str_radix(digits, 16).unwrap_or_default() % count;
            if let Some(part) = more.get_mut(place) {
                part.push(entry);
            }
        }
        split = more;
    }
    split.into_iter().enumerate().filter(|(_, part)| !part.is_empty()).collect()
}

/// No list of ours is so long that it needs more.
const MOST_PARTS: usize = 1 << 20;

fn policy(
    namespace: &str,
    name: String,
    part: &str,
    annotations: BTreeMap<String, String>,
    spec: NetworkPolicySpec,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels(part)),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    }
}

/// Pods of one namespace: one peer with two selectors, which is "and".
fn namespace_peer(namespace: &str, pods: Option<&PodSelector>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(NAMESPACE_NAME.to_owned(), namespace.to_owned())])),
            match_expressions: None,
        }),
        pod_selector: pods.filter(|pods| !pods.is_empty()).map(label_selector),
        ip_block: None,
    }
}

fn gateway_peers(org: &Organisation, cluster: &str) -> Vec<NetworkPolicyPeer> {
    let gateways = org.spec.gateways.iter().filter(|gateway| gateway.cluster == cluster);
    gateways
        .flat_map(|gateway| &gateway.cidrs)
        .map(|cidr| NetworkPolicyPeer {
            ip_block: Some(IPBlock { cidr: cidr.clone(), except: None }),
            namespace_selector: None,
            pod_selector: None,
        })
        .collect()
}

/// Peers in a stable order, each once.
fn sorted(mut peers: Vec<NetworkPolicyPeer>) -> Vec<NetworkPolicyPeer> {
    let key = |peer: &NetworkPolicyPeer| {
        let mut key = String::new();
        // writing to a String cannot fail
        let _ = write!(key, "{}", json!(peer));
        key
    };
    peers.sort_by_cached_key(key);
    peers.dedup();
    peers
}

/// Domain names are resolved over both protocols, by the cluster's own servers: a rule for each of their ports. A port
/// to anywhere would be a way out.
fn dns(dns: &Dns) -> Vec<NetworkPolicyEgressRule> {
    let rule = |(number, peers): (u16, Vec<&DnsPeer>)| {
        let ports = [Protocol::Udp, Protocol::Tcp]
            .map(|protocol| port(&EndpointPort { port: i32::from(number), protocol: Some(protocol) }));
        NetworkPolicyEgressRule {
            to: Some(peers.into_iter().map(dns_peer).collect()),
            ports: Some(ports.to_vec()),
        }
    };
    dns.by_port().into_iter().map(rule).collect()
}

fn dns_peer(peer: &DnsPeer) -> NetworkPolicyPeer {
    match peer {
        DnsPeer::Pods { namespace, labels } => {
            let pods = PodSelector { match_labels: labels.clone(), match_expressions: Vec::new() };
            namespace_peer(namespace, Some(&pods))
        }
        DnsPeer::Address(address) => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            NetworkPolicyPeer {
                ip_block: Some(IPBlock { cidr: format!("{address}/{bits}"), except: None }),
                namespace_selector: None,
                pod_selector: None,
            }
        }
    }
}

fn port(EndpointPort { port, protocol }: &EndpointPort) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(*port)),
        end_port: None,
        protocol: Some(protocol.unwrap_or_default().as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_by_name_so_that_who_comes_and_goes_moves_nobody_else() {
        let names = |count: usize| (0..count).map(|it| format!("org-{it}/desk")).collect::<Vec<_>>();
        let split = |names: Vec<String>| parts(names, String::clone, |part| part.len() <= 8);
        assert_eq!(split(names(8)), [(0, names(8))]);
        assert_eq!(split(Vec::new()), []);
        let many = split(names(60));
        assert!(many.len() > 4 && many.iter().all(|(_, part)| part.len() <= 8), "{many:?}");
        assert_eq!(many.iter().map(|(_, part)| part.len()).sum::<usize>(), 60);
        let fewer = split(names(60).into_iter().filter(|it| it != "org-7/desk").collect());
        for (part, names) in fewer {
            let before = many.iter().find(|(it, _)| *it == part).unwrap();
            let left: Vec<&String> = before.1.iter().filter(|it| *it != "org-7/desk").collect();
            assert_eq!(names.iter().collect::<Vec<_>>(), left);
        }
        // one that is too long by itself has a part of its own
        assert_eq!(
            parts(vec![9], ToString::to_string, |part| part.iter().sum::<usize>() <= 8),
            [(0, vec![9])]
        );
    }

    #[test]
    fn the_first_part_has_no_number() {
        let at = |name: &str| ObjectRef { namespace: "a".to_owned(), name: name.to_owned() };
        let first = NetworkNames::grant(&at("sharing"), &at("record"), 0);
        assert!(first.starts_with("record-sharing-"), "{first}");
        assert_eq!(NetworkNames::grant(&at("sharing"), &at("record"), 1), format!("{first}-2"));
        let long = NetworkNames::grant(&at(&"b".repeat(253)), &at(&"a".repeat(253)), 99);
        assert!(long.len() <= 253 && long.ends_with("-100"), "{long}");
    }
}
