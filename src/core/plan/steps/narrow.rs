//! Which part of a change closes something, and which part opens something, of a network policy and of a grant.
//!
//! What a policy allows is a set of flows, one for each pair of a peer and a port; what a grant allows is said for each of
//! its recipients. A change that takes something away is written before anything opens, even where the same change also
//! adds something.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use serde::Serialize;
use serde_json::json;

use concordat_api::{DataAccessGrantSpec, GrantPurpose, GrantRecipient};

/// How a grant's recipients differ from the planned ones.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum GrantChange {
    /// The planned grant takes nothing away.
    Wider,
    /// Something goes. This stays.
    Narrower(Box<DataAccessGrantSpec>),
    /// Nothing stays.
    Other,
}

/// Compares a grant as it is with the planned one.
pub(super) fn grant_change(present: &DataAccessGrantSpec, planned: &DataAccessGrantSpec) -> GrantChange {
    let recipients: Vec<GrantRecipient> = present
        .recipients
        .iter()
        .filter_map(|present| {
            let mut planned = planned.recipients.iter();
            let same = |it: &&GrantRecipient| (&it.org, &it.function) == (&present.org, &present.function);
            in_both_recipients(present, planned.find(same)?)
        })
        .collect();
    if recipients.is_empty() || present.product != planned.product {
        return GrantChange::Other;
    }
    let not_before = present.not_before.max(planned.not_before);
    let not_after = present.not_after.min(planned.not_after);
    if recipients == present.recipients && (not_before, not_after) == (present.not_before, present.not_after)
    {
        return GrantChange::Wider;
    }
    let spec = DataAccessGrantSpec { recipients, not_before, not_after, ..planned.clone() };
    GrantChange::Narrower(Box::new(spec))
}

fn in_both_recipients(present: &GrantRecipient, planned: &GrantRecipient) -> Option<GrantRecipient> {
    let purposes: Vec<GrantPurpose> = present
        .purposes
        .iter()
        .filter_map(|present| {
            let mut planned = planned.purposes.iter();
            in_both_purposes(present, planned.find(|planned| planned.code == present.code)?)
        })
        .collect();
    let not_after = present.not_after.min(planned.not_after);
    (!purposes.is_empty()).then(|| GrantRecipient { purposes, not_after, ..present.clone() })
}

fn in_both_purposes(present: &GrantPurpose, planned: &GrantPurpose) -> Option<GrantPurpose> {
    let GrantPurpose { code, actions, roles, max_identifiability, not_after, context_free } = present;
    let actions: Vec<_> = actions.iter().filter(|it| planned.actions.contains(it)).copied().collect();
    let roles = match (roles, &planned.roles) {
        (None, roles) | (roles, None) => roles.clone(),
        (Some(present), Some(planned)) => {
            let roles: Vec<String> = present.iter().filter(|it| planned.contains(it)).cloned().collect();
            // none of them is not any of them
            if roles.is_empty() {
                return None;
            }
            Some(roles)
        }
    };
    (!actions.is_empty()).then(|| GrantPurpose {
        code: code.clone(),
        actions,
        roles,
        max_identifiability: (*max_identifiability).min(planned.max_identifiability),
        not_after: (*not_after).min(planned.not_after),
        context_free: *context_free && planned.context_free,
    })
}

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

/// Compares a policy's text as it is with the planned one.
pub(super) fn change(present: &NetworkPolicySpec, planned: &NetworkPolicySpec) -> Change {
    // as a rule they are equal as they are
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
        ingress: some(ingress.rules(|from, ports| NetworkPolicyIngressRule { from, ports })),
        egress: some(egress.rules(|to, ports| NetworkPolicyEgressRule { to, ports })),
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

/// Flows by what they say, as there can be thousands in one policy.
struct Flows(BTreeMap<(String, String), Flow>);

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
        self.0.keys().all(|flow| other.0.contains_key(flow))
    }

    fn and(mut self, other: &Self) -> Self {
        self.0.retain(|flow, _| other.0.contains_key(flow));
        self
    }

    /// The flows as rules, one for all peers that come by the same ports.
    fn rules<R>(
        self,
        rule: impl Fn(Option<Vec<NetworkPolicyPeer>>, Option<Vec<NetworkPolicyPort>>) -> R,
    ) -> Vec<R> {
        let mut by_peer: BTreeMap<String, (Option<NetworkPolicyPeer>, Vec<Option<NetworkPolicyPort>>)> =
            BTreeMap::new();
        for ((key, _), (peer, port)) in self.0 {
            by_peer.entry(key).or_insert_with(|| (peer, Vec::new())).1.push(port);
        }
        let mut by_ports: BTreeMap<(bool, String), (Vec<Option<NetworkPolicyPeer>>, _)> = BTreeMap::new();
        for (peer, ports) in by_peer.into_values() {
            // everybody is no one of several peers
            let key = (peer.is_some(), text(&ports));
            by_ports.entry(key).or_insert_with(|| (Vec::new(), ports)).0.push(peer);
        }
        // where one of them means all, the list is left out
        let rules = by_ports.into_values();
        rules.map(|(peers, ports)| rule(peers.into_iter().collect(), ports.into_iter().collect())).collect()
    }
}

fn text(value: &impl Serialize) -> String {
    json!(value).to_string()
}

fn pairs(
    peers: &Option<Vec<NetworkPolicyPeer>>,
    ports: &Option<Vec<NetworkPolicyPort>>,
) -> Vec<((String, String), Flow)> {
    let (peers, ports) = (each(peers), each(ports));
    peers
        .iter()
        .flat_map(|(said, peer)| {
            ports.iter().map(move |(by, port)| ((said.clone(), by.clone()), (peer.clone(), port.clone())))
        })
        .collect()
}

/// Each entry with what it says, or the one that means all.
fn each<T: Clone + Serialize>(list: &Option<Vec<T>>) -> Vec<(String, Option<T>)> {
    match list {
        Some(list) if !list.is_empty() => list.iter().map(|it| (text(it), Some(it.clone()))).collect(),
        _ => vec![(String::new(), None)],
    }
}
