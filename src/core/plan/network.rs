//! Network policies: isolation first, and then exactly the agreed paths.
//!
//! A policy says only the one direction that it governs, `policyTypes` is always written, and a list of peers or
//! ports is never empty: left out or empty, each would mean "all".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use kube::core::ObjectMeta;
use serde_json::json;

use super::dns::{Dns, DnsPeer};
use super::types::{AGREEMENT, MANAGED_BY, PART, PRODUCT, PlannedObject, RECIPIENT};
use crate::model::{Agreement, FunctionRef, Model, Organisation, Product};
use crate::policy::Flow;
use crate::selectors::{is_applicable, label_selector};
use crate::terms;
use concordat_api::{DataAccessGrant, Egress, EndpointPort, ObjectRef, PodSelector, Protocol};

/// The label by which a namespace is selected: the API server writes it, tenants cannot.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The labels of what the operator owns. Labels of parents are never copied.
pub(super) fn labels(part: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned()), (PART.to_owned(), part.to_owned())])
}

/// What an object of a flow is about.
pub(super) fn flow_annotations(agreement: &ObjectRef, flow: &Flow) -> BTreeMap<String, String> {
    BTreeMap::from([
        (AGREEMENT.to_owned(), agreement.to_string()),
        (PRODUCT.to_owned(), flow.product.to_string()),
        (RECIPIENT.to_owned(), flow.recipient.to_string()),
    ])
}

/// The names of what the operator writes: readable, and unique by a digest of what they are for.
#[derive(Debug)]
pub struct NetworkNames;

impl NetworkNames {
    /// The name of a flow's grant, and of the network policies beside it.
    pub fn flow(agreement: &ObjectRef, product: &ObjectRef, recipient: &FunctionRef) -> String {
        let readable = format!("{}-{}-{}", product.name, recipient.org, recipient.function);
        named(
            &readable,
            &json!([agreement.to_string(), product.to_string(), recipient.to_string()]).to_string(),
        )
    }
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
    /// Denies ingress to every product here. Named by its selector too, so that a product made anew with another
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

    /// The policies that open a flow here, and what cannot be opened because no gateway is known.
    pub(super) fn allow(
        &self,
        agreement: &Agreement,
        flow: &Flow,
        grant: &DataAccessGrant,
    ) -> (Vec<PlannedObject>, Vec<String>) {
        let (mut objects, mut unreachable) = (Vec::new(), Vec::new());
        let found = (self.model.products.get(&flow.product), self.model.orgs.get(&flow.recipient.org));
        let (Some(product), Some(recipient)) = found else {
            return (objects, unreachable);
        };
        let annotations = flow_annotations(&agreement.reference, flow);
        let ports: Vec<NetworkPolicyPort> = product.spec.endpoint.ports.iter().map(port).collect();
        if ports.is_empty() {
            return (objects, unreachable);
        }
        if self.is_product_local(&flow.product) {
            let peers = self.recipient_peers(product, recipient, &flow.recipient, &mut unreachable);
            if !peers.is_empty() {
                let rule = NetworkPolicyIngressRule { from: Some(peers), ports: Some(ports.clone()) };
                let policy = policy(
                    &flow.product.namespace,
                    grant.name_any(),
                    "ingress",
                    annotations.clone(),
                    NetworkPolicySpec {
                        pod_selector: Some(label_selector(&product.spec.endpoint.pod_selector)),
                        policy_types: Some(vec!["Ingress".to_owned()]),
                        ingress: Some(vec![rule]),
                        egress: None,
                    },
                );
                objects.push(PlannedObject::Allow { policy: policy.into(), grant: Some(grant.name_any()) });
            }
        }
        objects.extend(self.egress(
            agreement,
            flow,
            product,
            recipient,
            &ports,
            &annotations,
            &mut unreachable,
        ));
        unreachable.sort();
        unreachable.dedup();
        (objects, unreachable)
    }

    /// Who comes in: the recipient's workloads in the product's cluster, and the gateways of those elsewhere.
    fn recipient_peers(
        &self,
        product: &Product,
        org: &Organisation,
        recipient: &FunctionRef,
        unreachable: &mut Vec<String>,
    ) -> Vec<NetworkPolicyPeer> {
        let workloads = org
            .function(&recipient.function)
            .map(|function| function.workloads.as_slice())
            .unwrap_or_default();
        let mut peers = Vec::new();
        for workload in workloads {
            if self.same_cluster(workload.cluster.as_deref(), product.spec.cluster.as_deref()) {
                peers.push(namespace_peer(&workload.namespace, workload.pod_selector.as_ref()));
            } else if let Some(cluster) = &workload.cluster {
                let blocks = gateway_peers(org, cluster);
                if blocks.is_empty() {
                    unreachable.push(format!(
                        "`{}` has no gateway for cluster `{cluster}`, so that its traffic cannot be let in",
                        org.name
                    ));
                }
                peers.extend(blocks);
            }
        }
        sorted(peers)
    }

    /// What a Managed function may reach: the product's pods, from each of its workloads here.
    #[expect(clippy::too_many_arguments, reason = "the parts of one flow, all of which are needed")]
    fn egress(
        &self,
        agreement: &Agreement,
        flow: &Flow,
        product: &Product,
        recipient: &Organisation,
        ports: &[NetworkPolicyPort],
        annotations: &BTreeMap<String, String>,
        unreachable: &mut Vec<String>,
    ) -> Vec<PlannedObject> {
        let function = recipient.function(&flow.recipient.function);
        let Some(function) = function.filter(|function| function.egress == Some(Egress::Managed)) else {
            return Vec::new();
        };
        let local = function
            .workloads
            .iter()
            .filter(|workload| self.model.cluster.is_local(workload.cluster.as_deref()));
        let mut objects = Vec::new();
        for workload in local {
            let near = self.same_cluster(workload.cluster.as_deref(), product.spec.cluster.as_deref());
            let peers = if near {
                vec![namespace_peer(&flow.product.namespace, Some(&product.spec.endpoint.pod_selector))]
            } else {
                let controller = self.model.orgs.get(&product.spec.controller);
                let cluster = product.spec.cluster.as_deref().unwrap_or_default();
                controller.map(|org| gateway_peers(org, cluster)).unwrap_or_default()
            };
            if peers.is_empty() {
                unreachable.push(format!(
                    "`{}` has no gateway for the cluster of `{}`, so that it cannot be reached",
                    product.spec.controller, flow.product
                ));
                continue;
            }
            let selector = workload.pod_selector.clone().unwrap_or_default();
            let identity = json!([
                agreement.reference.to_string(),
                flow.product.to_string(),
                flow.recipient.to_string(),
                workload.namespace,
                selector
            ]);
            let readable =
                format!("{}-{}-{}", flow.product.name, flow.recipient.org, flow.recipient.function);
            let rule = NetworkPolicyEgressRule { to: Some(sorted(peers)), ports: Some(ports.to_vec()) };
            let policy = policy(
                &workload.namespace,
                named(&readable, &identity.to_string()),
                "egress",
                annotations.clone(),
                NetworkPolicySpec {
                    pod_selector: Some(label_selector(&selector)),
                    policy_types: Some(vec!["Egress".to_owned()]),
                    ingress: None,
                    egress: Some(vec![rule]),
                },
            );
            objects.push(PlannedObject::Allow { policy: policy.into(), grant: None });
        }
        objects
    }

    /// Whether two things are in one cluster, as far as the view tells clusters apart.
    fn same_cluster(&self, a: Option<&str>, b: Option<&str>) -> bool {
        match &self.model.cluster {
            crate::snapshot::ClusterView::Named(_) => a == b,
            crate::snapshot::ClusterView::Any | crate::snapshot::ClusterView::Unnamed => true,
        }
    }
}

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
