//! Which part of a network policy's change closes something, and which part opens something.
//!
//! What a policy allows is a set of flows, one for each pair of a peer and a port. A change that takes flows away is
//! written before anything opens, even where the same change also adds some.

use k8s_openapi::api::networking::v1::{
    NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};

/// How a policy's text differs from the planned one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// Both say the same.
    None,
    /// The planned text allows nothing that the present one does not.
    Narrower,
    /// The planned text allows all that the present one does, and more.
    Wider,
    /// Some flows go and some come. These stay.
    Mixed(NetworkPolicySpec),
    /// No flow stays.
    Other,
}

/// Compares a policy's text as it stands with the planned one.
pub(super) fn change(present: &NetworkPolicySpec, planned: &NetworkPolicySpec) -> Change {
    // as a rule they are equal as they stand
    if present == planned {
        return Change::None;
    }
    let (present, planned) = (normal(present), normal(planned));
    if present == planned {
        return Change::None;
    }
    if present.pod_selector != planned.pod_selector || present.policy_types != planned.policy_types {
        return Change::Other;
    }
    let (ingress, egress) = (Flows::ingress(&planned), Flows::egress(&planned));
    let (old_ingress, old_egress) = (Flows::ingress(&present), Flows::egress(&present));
    if ingress.within(&old_ingress) && egress.within(&old_egress) {
        return Change::Narrower;
    }
    if old_ingress.within(&ingress) && old_egress.within(&egress) {
        return Change::Wider;
    }
    let (ingress, egress) = (ingress.and(&old_ingress), egress.and(&old_egress));
    if ingress.0.is_empty() && egress.0.is_empty() {
        return Change::Other;
    }
    Change::Mixed(NetworkPolicySpec {
        ingress: some(ingress.0.into_iter().map(ingress_rule).collect()),
        egress: some(egress.0.into_iter().map(egress_rule).collect()),
        pod_selector: planned.pod_selector,
        policy_types: planned.policy_types,
    })
}

/// Whether a policy's text allows anything at all.
pub(super) fn allows(spec: &NetworkPolicySpec) -> bool {
    !Flows::ingress(spec).0.is_empty() || !Flows::egress(spec).0.is_empty()
}

/// The same text with nothing allowed: what it selects stays denied.
pub(super) fn voided(spec: &NetworkPolicySpec) -> NetworkPolicySpec {
    let NetworkPolicySpec { ingress, egress, pod_selector, policy_types } = spec.clone();
    NetworkPolicySpec {
        // written as empty lists, so that the apply takes the fields from whoever holds them
        ingress: ingress.map(|_| Vec::new()),
        egress: egress.map(|_| Vec::new()),
        pod_selector,
        policy_types,
    }
}

/// The text as the API server hands it back: an empty list of rules is no list.
pub(super) fn normal(spec: &NetworkPolicySpec) -> NetworkPolicySpec {
    let NetworkPolicySpec { ingress, egress, pod_selector, policy_types } = spec.clone();
    NetworkPolicySpec {
        ingress: ingress.and_then(some),
        egress: egress.and_then(some),
        pod_selector: Some(pod_selector.unwrap_or_default()),
        policy_types,
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}

/// A peer and a port; none of either means every one.
type Flow = (Option<NetworkPolicyPeer>, Option<NetworkPolicyPort>);

struct Flows(Vec<Flow>);

impl Flows {
    fn ingress(spec: &NetworkPolicySpec) -> Self {
        let rules = spec.ingress.iter().flatten();
        Self(rules.flat_map(|NetworkPolicyIngressRule { from, ports }| pairs(from, ports)).collect())
    }

    fn egress(spec: &NetworkPolicySpec) -> Self {
        let rules = spec.egress.iter().flatten();
        Self(rules.flat_map(|NetworkPolicyEgressRule { to, ports }| pairs(to, ports)).collect())
    }

    fn within(&self, other: &Self) -> bool {
        self.0.iter().all(|flow| other.0.contains(flow))
    }

    fn and(self, other: &Self) -> Self {
        Self(self.0.into_iter().filter(|flow| other.0.contains(flow)).collect())
    }
}

fn pairs(peers: &Option<Vec<NetworkPolicyPeer>>, ports: &Option<Vec<NetworkPolicyPort>>) -> Vec<Flow> {
    let (peers, ports) = (each(peers), each(ports));
    peers.iter().flat_map(|peer| ports.iter().map(move |port| (peer.clone(), port.clone()))).collect()
}

/// Each entry, or the one that means all.
fn each<T: Clone>(list: &Option<Vec<T>>) -> Vec<Option<T>> {
    match list {
        Some(list) if !list.is_empty() => list.iter().cloned().map(Some).collect(),
        _ => vec![None],
    }
}

fn ingress_rule((peer, port): Flow) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: peer.map(|peer| vec![peer]), ports: port.map(|port| vec![port]) }
}

fn egress_rule((peer, port): Flow) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: peer.map(|peer| vec![peer]), ports: port.map(|port| vec![port]) }
}
