//! What other people's network policies allow beyond the plan.
//!
//! A network policy only ever adds: whoever may write one beside ours can let in more. Each that can select the pods
//! of a product, or for egress those of a Managed function, is held against what the plan allows for the same pods.
//! In doubt it is named: a peer by other labels than a namespace's name, or a port by its name, lies in nothing.

use std::collections::BTreeSet;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;

use crate::selectors::Selector;
use crate::shared::Shared;

/// The label that the API server writes on each namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Which way traffic goes, seen from the pods that a policy selects.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

/// Something that a policy allows, and the plan does not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Widening {
    /// Such as `spec.ingress[0].from[1]`.
    pub(super) field: String,
    /// Who or what is let through, in words.
    pub(super) peer: String,
    /// On which ports, in words.
    pub(super) ports: String,
    /// Whether only pods of namespaces that are the target's own are let through.
    pub(super) own_only: bool,
}

/// What is compared: the pods that an isolation policy of ours selects.
#[derive(Clone, Debug)]
pub(super) struct Target<'a> {
    pub(super) isolation: &'a NetworkPolicy,
    pub(super) direction: Direction,
    /// Namespaces whose pods are the owner's own people.
    pub(super) own_namespaces: BTreeSet<String>,
}

/// Whether a policy governs a direction. Left out, `policyTypes` means ingress, and egress where it has such rules.
pub(super) fn governs(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    let name = match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    };
    match spec.policy_types.as_deref() {
        Some(types) if !types.is_empty() => types.iter().any(|it| it == name),
        _ => direction == Direction::Ingress || spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
    }
}

/// What a policy adds for a target, beyond what our own policies (the whole plan) allow the same pods.
pub(super) fn widenings(
    other: &NetworkPolicy,
    target: &Target<'_>,
    ours: &[Shared<NetworkPolicy>],
) -> Vec<Widening> {
    let Target { isolation, direction, own_namespaces } = target;
    let (Some(spec), Some(isolated)) = (&other.spec, &isolation.spec) else {
        return Vec::new();
    };
    let both = pods_of(spec).and(&pods_of(isolated));
    if other.namespace() != isolation.namespace() || !governs(spec, *direction) || !both.is_possible() {
        return Vec::new();
    }
    let planned: Vec<(Peer, Port)> = ours
        .iter()
        .filter(|policy| policy.namespace() == other.namespace())
        .filter_map(|policy| Some((policy, policy.spec.as_ref()?)))
        .filter(|(_, spec)| governs(spec, *direction) && both.lies_in(&pods_of(spec)))
        .flat_map(|(policy, spec)| rules(policy, spec, *direction))
        .flat_map(|rule| {
            let Rule { peers, ports, .. } = rule;
            peers
                .into_iter()
                .flat_map(move |(_, peer)| ports.clone().into_iter().map(move |port| (peer.clone(), port)))
        })
        .collect();
    let own = Peer::Pods {
        namespaces: Selector::one_of(NAMESPACE_NAME, own_namespaces.iter().cloned()),
        pods: Selector::everything(),
        words: String::new(),
    };
    let mut widenings = Vec::new();
    for Rule { field, peers, ports, said } in rules(other, spec, *direction) {
        for (index, peer) in peers {
            let extra: Vec<String> = ports
                .iter()
                .zip(&said)
                .filter(|(port, _)| !is_covered(&peer, port, &planned))
                .map(|(_, said)| said.clone())
                .collect();
            if extra.is_empty() {
                continue;
            }
            let list = match direction {
                Direction::Ingress => "from",
                Direction::Egress => "to",
            };
            widenings.push(Widening {
                field: index.map_or_else(|| field.clone(), |index| format!("{field}.{list}[{index}]")),
                peer: peer.words(),
                ports: extra.join(", "),
                own_only: peer.lies_in(&[&own]),
            });
        }
    }
    widenings
}

fn pods_of(spec: &NetworkPolicySpec) -> Selector {
    spec.pod_selector.as_ref().map(Selector::new).unwrap_or_default()
}

/// One rule: each of its peers on each of its ports.
struct Rule {
    field: String,
    /// With the index in its list; none where the list is left out and means all.
    peers: Vec<(Option<usize>, Peer)>,
    ports: Vec<Port>,
    /// The ports in words.
    said: Vec<String>,
}

fn rules(policy: &NetworkPolicy, spec: &NetworkPolicySpec, direction: Direction) -> Vec<Rule> {
    let namespace = policy.namespace().unwrap_or_default();
    let rule = |field: String,
                peers: &Option<Vec<NetworkPolicyPeer>>,
                ports: &Option<Vec<NetworkPolicyPort>>| {
        // an empty list is as none: all
        let peers = match peers.as_deref() {
            None | Some([]) => vec![(None, Peer::Everybody)],
            Some(list) => {
                list.iter().enumerate().map(|(at, peer)| (Some(at), Peer::new(peer, &namespace))).collect()
            }
        };
        let (ports, said) = match ports.as_deref() {
            None | Some([]) => (vec![Port::Every], vec!["every port".to_owned()]),
            Some(list) => (list.iter().map(Port::new).collect(), list.iter().map(port_words).collect()),
        };
        Rule { field, peers, ports, said }
    };
    match direction {
        Direction::Ingress => {
            let rules = spec.ingress.iter().flatten().enumerate();
            rules.map(|(at, it)| rule(format!("spec.ingress[{at}]"), &it.from, &it.ports)).collect()
        }
        Direction::Egress => {
            let rules = spec.egress.iter().flatten().enumerate();
            rules.map(|(at, it)| rule(format!("spec.egress[{at}]"), &it.to, &it.ports)).collect()
        }
    }
}

/// Whom a rule lets through.
#[derive(Clone, Debug)]
enum Peer {
    Everybody,
    /// Pods of namespaces: both selectors of one item have to fit.
    Pods {
        namespaces: Selector,
        pods: Selector,
        words: String,
    },
    Block {
        block: IpNet,
        except: Vec<IpNet>,
        words: String,
    },
    /// Something that cannot be read; it lies in nothing, and nothing in it.
    Unread(String),
}

impl Peer {
    fn new(peer: &NetworkPolicyPeer, namespace: &str) -> Self {
        let NetworkPolicyPeer { ip_block, namespace_selector, pod_selector } = peer;
        if let Some(block) = ip_block {
            let excepted = block.except.clone().unwrap_or_default();
            let but =
                if excepted.is_empty() { String::new() } else { format!(" but {}", excepted.join(", ")) };
            let words = format!("addresses {}{but}", block.cidr);
            let except: Result<Vec<IpNet>, _> = excepted.iter().map(|net| net.parse::<IpNet>()).collect();
            return match (block.cidr.parse::<IpNet>(), except) {
                (Ok(block), Ok(except)) => Self::Block { block: block.trunc(), except, words },
                _ => Self::Unread(words),
            };
        }
        let pods = pod_selector.as_ref().map(Selector::new).unwrap_or_default();
        let of = if pods == Selector::everything() { "every pod" } else { "some pods" };
        let (namespaces, words) = match namespace_selector {
            None => {
                let own = Selector::one_of(NAMESPACE_NAME, [namespace.to_owned()]);
                (own, format!("{of} of namespace `{namespace}`"))
            }
            Some(selector) => {
                let namespaces = Selector::new(selector);
                let named = selector.match_labels.iter().flatten().collect::<Vec<_>>();
                let words = match named.as_slice() {
                    _ if namespaces == Selector::everything() => format!("{of} of every namespace"),
                    [(key, name)] if *key == NAMESPACE_NAME && selector.match_expressions.is_none() => {
                        format!("{of} of namespace `{name}`")
                    }
                    _ => format!("{of} of the namespaces with some labels"),
                };
                (namespaces, words)
            }
        };
        Self::Pods { namespaces, pods, words }
    }

    fn words(&self) -> String {
        match self {
            Self::Everybody => "everybody".to_owned(),
            Self::Pods { words, .. } | Self::Block { words, .. } | Self::Unread(words) => words.clone(),
        }
    }

    /// Whether all of it lies in what some others let through together.
    fn lies_in(&self, others: &[&Self]) -> bool {
        if others.iter().any(|other| matches!(other, Self::Everybody)) {
            return true;
        }
        match self {
            Self::Everybody | Self::Unread(_) => false,
            Self::Pods { namespaces, pods, .. } => others.iter().any(|other| match other {
                Self::Pods { namespaces: wider, pods: more, .. } => {
                    namespaces.lies_in(wider) && pods.lies_in(more)
                }
                _ => false,
            }),
            Self::Block { block, except, .. } => {
                let blocks: Vec<(IpNet, &[IpNet])> = others
                    .iter()
                    .filter_map(|other| match other {
                        Self::Block { block, except, .. } => Some((*block, except.as_slice())),
                        _ => None,
                    })
                    .collect();
                is_block_in(*block, except, &blocks)
            }
        }
    }
}

/// Whether every address of a block, but for those excepted, lies in one of some others.
fn is_block_in(block: IpNet, except: &[IpNet], others: &[(IpNet, &[IpNet])]) -> bool {
    let is_in = |outer: &IpNet| outer.contains(&block);
    let meets = |net: &IpNet| net.contains(&block) || block.contains(net);
    if except.iter().any(is_in) {
        return true;
    }
    if others.iter().any(|(outer, gaps)| is_in(outer) && !gaps.iter().any(meets)) {
        return true;
    }
    // only where something smaller lies in it can halves differ
    let smaller = |net: &IpNet| block.contains(net) && *net != block;
    let differ = except.iter().any(smaller)
        || others.iter().any(|(outer, gaps)| smaller(outer) || gaps.iter().any(smaller));
    let longer = block.prefix_len().saturating_add(1);
    match block.subnets(longer) {
        Ok(mut halves) if differ && block.prefix_len() < block.max_prefix_len() => {
            halves.all(|half| is_block_in(half, except, others))
        }
        _ => false,
    }
}

/// The ports of one item.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Port {
    /// Every port of every protocol.
    Every,
    /// From and to, both included.
    Range { protocol: String, from: i32, to: i32 },
    /// A port of the pod by its name, which only the pod can tell.
    Named { protocol: String, name: String },
}

impl Port {
    fn new(port: &NetworkPolicyPort) -> Self {
        let NetworkPolicyPort { port, end_port, protocol } = port;
        let protocol = protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        match port {
            None => Self::Range { protocol, from: 0, to: 65535 },
            Some(IntOrString::Int(from)) => {
                Self::Range { protocol, from: *from, to: end_port.unwrap_or(*from) }
            }
            Some(IntOrString::String(name)) => Self::Named { protocol, name: name.clone() },
        }
    }

    /// Whether it includes the whole of a range.
    fn includes(&self, of: &str, first: i32, last: i32) -> bool {
        match self {
            Self::Every => true,
            Self::Range { protocol, from, to } => protocol == of && *from <= first && last <= *to,
            Self::Named { .. } => false,
        }
    }
}

fn port_words(port: &NetworkPolicyPort) -> String {
    match Port::new(port) {
        Port::Every => "every port".to_owned(),
        Port::Range { protocol, from: 0, to: 65535 } => format!("every {protocol} port"),
        Port::Range { protocol, from, to } if from == to => format!("{protocol} {from}"),
        Port::Range { protocol, from, to } => format!("{protocol} {from} to {to}"),
        Port::Named { protocol, name } => format!("{protocol} `{name}`"),
    }
}

/// Whether a peer on a port is allowed by what is planned.
fn is_covered(peer: &Peer, port: &Port, planned: &[(Peer, Port)]) -> bool {
    let within = |fits: &dyn Fn(&Port) -> bool| {
        let peers: Vec<&Peer> = planned.iter().filter(|(_, port)| fits(port)).map(|(peer, _)| peer).collect();
        peer.lies_in(&peers)
    };
    match port {
        Port::Every => within(&|planned| *planned == Port::Every),
        Port::Named { .. } => within(&|planned| *planned == Port::Every || planned == port),
        Port::Range { protocol, from, to } => {
            // between two cuts every port is as good as the first
            let mut cuts = BTreeSet::from([*from]);
            for (_, port) in planned {
                if let Port::Range { from: first, to: last, .. } = port {
                    cuts.extend([*first, last.saturating_add(1)]);
                }
            }
            let cuts: Vec<i32> = cuts.into_iter().filter(|cut| from <= cut && cut <= to).collect();
            cuts.iter().enumerate().all(|(at, first)| {
                let last = cuts.get(at + 1).map_or(*to, |next| next - 1);
                within(&|planned| planned.includes(protocol, *first, last))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(namespace: &str, spec: Value) -> NetworkPolicy {
        let object = json!({"metadata": {"namespace": namespace, "name": "p"}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    fn isolation(direction: &str) -> NetworkPolicy {
        let app = json!({"matchLabels": {"app": "pep"}});
        policy("council", json!({"podSelector": app, "policyTypes": [direction]}))
    }

    fn named(namespace: &str) -> Value {
        json!({"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}}})
    }

    /// What the plan allows: namespace `pcn` and two blocks on TCP 8443.
    fn ours() -> Vec<Shared<NetworkPolicy>> {
        let app = json!({"matchLabels": {"app": "pep"}});
        let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
        let rule = json!({
            "from": [named("pcn"), block("10.0.0.0/17"), block("10.0.128.0/17")],
            "ports": [{"port": 8443, "protocol": "TCP"}],
        });
        vec![
            isolation("Ingress").into(),
            policy("council", json!({"podSelector": app, "policyTypes": ["Ingress"], "ingress": [rule]}))
                .into(),
        ]
    }

    /// What a policy with this spec adds, as `field: peer on ports`.
    fn adds(spec: Value) -> Vec<String> {
        let isolation = isolation("Ingress");
        let target = Target {
            isolation: &isolation,
            direction: Direction::Ingress,
            own_namespaces: BTreeSet::from(["council".to_owned()]),
        };
        let shown = |it: Widening| {
            let Widening { field, peer, ports, own_only } = it;
            format!("{field}: {peer} on {ports}{}", if own_only { ", own" } else { "" })
        };
        widenings(&policy("council", spec), &target, &ours()).into_iter().map(shown).collect()
    }

    fn on_8443(from: Value) -> Value {
        json!({"podSelector": {}, "ingress": [{"from": from, "ports": [{"port": 8443}]}]})
    }

    #[test]
    fn what_the_plan_allows_too_adds_nothing() {
        let nothing: [String; 0] = [];
        let pods = json!({"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: "pcn"}}, "podSelector": {"matchLabels": {"app": "x"}}});
        for spec in [
            json!({"podSelector": {}}),
            json!({"podSelector": {}, "ingress": []}),
            on_8443(json!([named("pcn")])),
            on_8443(json!([pods])),
            on_8443(json!([{"ipBlock": {"cidr": "10.0.3.0/24"}}])),
            // the two halves together
            on_8443(json!([{"ipBlock": {"cidr": "10.0.0.0/16"}}])),
            // what sticks out is excepted
            on_8443(json!([{"ipBlock": {"cidr": "10.0.0.0/15", "except": ["10.1.0.0/16"]}}])),
            // not these pods
            json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{}]}),
            json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["pep"]}]}, "ingress": [{}]}),
            // not this direction
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}),
            json!({"podSelector": {}, "policyTypes": ["Egress"], "ingress": [{}]}),
        ] {
            assert_eq!(adds(spec.clone()), nothing, "{spec}");
        }
    }

    #[test]
    fn whatever_goes_beyond_the_plan_is_named() {
        let every = |namespace: &str| format!("every pod of namespace `{namespace}`");
        let at = "spec.ingress[0].from[0]";
        for (spec, wanted) in [
            (
                json!({"podSelector": {}, "ingress": [{}]}),
                "spec.ingress[0]: everybody on every port".to_owned(),
            ),
            (
                json!({"podSelector": {}, "ingress": [{"from": [], "ports": []}]}),
                "spec.ingress[0]: everybody on every port".to_owned(),
            ),
            (on_8443(json!([named("other")])), format!("{at}: {} on TCP 8443", every("other"))),
            (on_8443(json!([{"podSelector": {}}])), format!("{at}: {} on TCP 8443, own", every("council"))),
            (
                on_8443(json!([{"namespaceSelector": {}}])),
                format!("{at}: every pod of every namespace on TCP 8443"),
            ),
            // a tenant can put any other label on a namespace
            (
                on_8443(json!([{"namespaceSelector": {"matchLabels": {"team": "pcn"}}}])),
                format!("{at}: every pod of the namespaces with some labels on TCP 8443"),
            ),
            (
                on_8443(json!([{"ipBlock": {"cidr": "10.0.0.0/15", "except": ["10.1.0.0/17"]}}])),
                format!("{at}: addresses 10.0.0.0/15 but 10.1.0.0/17 on TCP 8443"),
            ),
            (
                json!({"podSelector": {}, "ingress": [{"from": [named("pcn")]}]}),
                format!("{at}: {} on every port", every("pcn")),
            ),
            (
                json!({"podSelector": {}, "ingress": [{"from": [named("pcn")], "ports": [{"port": 8443}, {"port": 22}, {"port": 8443, "protocol": "UDP"}, {"port": "metrics"}, {"protocol": "SCTP"}]}]}),
                format!("{at}: {} on TCP 22, UDP 8443, TCP `metrics`, every SCTP port", every("pcn")),
            ),
            (
                json!({"podSelector": {}, "ingress": [{"from": [named("pcn")], "ports": [{"port": 8443, "endPort": 8444}]}]}),
                format!("{at}: {} on TCP 8443 to 8444", every("pcn")),
            ),
            // two items are "or": the second is another peer
            (
                on_8443(json!([named("pcn"), {"podSelector": {"matchLabels": {"app": "x"}}}])),
                "spec.ingress[0].from[1]: some pods of namespace `council` on TCP 8443, own".to_owned(),
            ),
            // it only has to be able to select the pods
            (
                json!({"podSelector": {"matchLabels": {"tier": "front"}}, "ingress": [{}]}),
                "spec.ingress[0]: everybody on every port".to_owned(),
            ),
        ] {
            assert_eq!(adds(spec.clone()), [wanted], "{spec}");
        }
    }

    #[test]
    fn a_policy_of_another_namespace_selects_no_pods_here() {
        let isolation = isolation("Ingress");
        let target =
            Target { isolation: &isolation, direction: Direction::Ingress, own_namespaces: BTreeSet::new() };
        let other = policy("elsewhere", json!({"podSelector": {}, "ingress": [{}]}));
        assert_eq!(widenings(&other, &target, &ours()), []);
    }

    #[test]
    fn egress_counts_without_policy_types_only_where_there_is_a_rule() {
        let isolation = isolation("Egress");
        let target =
            Target { isolation: &isolation, direction: Direction::Egress, own_namespaces: BTreeSet::new() };
        let adds = |spec| widenings(&policy("council", spec), &target, &[isolation.clone().into()]).len();
        assert_eq!(adds(json!({"podSelector": {}, "egress": [{}]})), 1);
        assert_eq!(adds(json!({"podSelector": {}, "policyTypes": ["Ingress"], "egress": [{}]})), 0);
        assert_eq!(adds(json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}]})), 1);
        assert_eq!(adds(json!({"podSelector": {}, "ingress": [{}]})), 0);
    }

    #[test]
    fn what_ours_except_is_not_covered() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let gaps = [net("10.0.1.0/24")];
        let ours = [(net("10.0.0.0/16"), gaps.as_slice())];
        assert!(is_block_in(net("10.0.2.0/24"), &[], &ours));
        assert!(!is_block_in(net("10.0.0.0/16"), &[], &ours));
        assert!(is_block_in(net("10.0.0.0/16"), &gaps, &ours));
        assert!(!is_block_in(net("10.0.1.7/32"), &[], &ours));
        assert!(!is_block_in(net("::/0"), &[], &ours));
    }
}
