//! What network policies let through, from the semantics of Kubernetes, and nothing of the code under test.
//!
//! A pod is isolated for ingress once any policy of its namespace with that type selects it, and then lets in what
//! any rule of those policies lets in; likewise for egress. A connection needs both ends. Policies are plain JSON.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

/// A pod, as policies see it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// None in another cluster: only its address is known here.
    pub namespace: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub address: Ipv4Addr,
}

/// What is knocked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Port(pub &'static str, pub u64);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    fn type_(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        }
    }

    fn rules(self) -> (&'static str, &'static str) {
        match self {
            Self::Ingress => ("/spec/ingress", "from"),
            Self::Egress => ("/spec/egress", "to"),
        }
    }
}

/// A pod of this cluster. Its address is one that no gateway has.
pub fn pod(namespace: &str, app: &str) -> Pod {
    Pod {
        namespace: Some(namespace.to_owned()),
        labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        address: Ipv4Addr::new(10, 244, 0, 1),
    }
}

/// Somebody in another cluster, or nowhere that is known.
pub fn stranger(address: [u8; 4]) -> Pod {
    Pod { namespace: None, labels: BTreeMap::new(), address: address.into() }
}

/// Whether a connection from one pod to another arrives.
pub fn connects(policies: &[&Value], from: &Pod, to: &Pod, port: Port) -> bool {
    allows(policies, Direction::Egress, from, to, port)
        && allows(policies, Direction::Ingress, to, from, port)
}

/// Whether one end lets a connection through. `here` is the pod that the policies are about.
pub fn allows(policies: &[&Value], direction: Direction, here: &Pod, there: &Pod, port: Port) -> bool {
    let mut isolated = false;
    for policy in policies.iter().filter(|policy| governs(policy, direction, here)) {
        isolated = true;
        let (rules, peers) = direction.rules();
        let rules = policy.pointer(rules).and_then(Value::as_array);
        if rules.into_iter().flatten().any(|rule| {
            each(rule.get(peers), |peer| is_peer(peer, here, there))
                && each(rule.get("ports"), |it| is_port(it, port))
        }) {
            return true;
        }
    }
    !isolated
}

/// Whether any policy isolates the pod.
pub fn isolates(policies: &[&Value], direction: Direction, pod: &Pod) -> bool {
    policies.iter().any(|policy| governs(policy, direction, pod))
}

/// Whether a policy selects the pod for a direction.
pub fn governs(policy: &Value, direction: Direction, pod: &Pod) -> bool {
    let text = |pointer: &str| policy.pointer(pointer).and_then(Value::as_str);
    let types: Vec<&str> = match policy.pointer("/spec/policyTypes").and_then(Value::as_array) {
        Some(types) => types.iter().filter_map(Value::as_str).collect(),
        // left out: ingress always, egress where there are rules for it
        None if policy.pointer("/spec/egress").is_some() => vec!["Ingress", "Egress"],
        None => vec!["Ingress"],
    };
    text("/metadata/namespace").is_some_and(|namespace| pod.namespace.as_deref() == Some(namespace))
        && types.contains(&direction.type_())
        && selects(policy.pointer("/spec/podSelector"), &pod.labels)
}

/// Any entry, or everything where there is none.
fn each(list: Option<&Value>, is: impl Fn(&Value) -> bool) -> bool {
    match list.and_then(Value::as_array) {
        Some(list) if !list.is_empty() => list.iter().any(is),
        _ => true,
    }
}

fn is_peer(peer: &Value, here: &Pod, there: &Pod) -> bool {
    if let Some(block) = peer.get("ipBlock") {
        let within = |cidr: &Value| is_within(cidr.as_str().unwrap_or_default(), there.address);
        let except = block.get("except").and_then(Value::as_array);
        return within(&block["cidr"]) && !except.into_iter().flatten().any(within);
    }
    let Some(namespace) = &there.namespace else { return false };
    let name = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), namespace.clone())]);
    let namespace = match peer.get("namespaceSelector") {
        Some(selector) => selects(Some(selector), &name),
        None => there.namespace == here.namespace,
    };
    namespace && selects(peer.get("podSelector"), &there.labels)
}

/// Whether an address lies in a block. These worlds have none of version 6.
fn is_within(block: &str, address: Ipv4Addr) -> bool {
    let (base, length) = block.split_once('/').unwrap_or_else(|| panic!("no block of addresses: {block:?}"));
    let (base, length): (Ipv4Addr, u32) = (base.parse().unwrap(), length.parse().unwrap());
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    u32::from(base) & mask == u32::from(address) & mask
}

fn is_port(entry: &Value, Port(protocol, number): Port) -> bool {
    let end = entry.get("endPort").and_then(Value::as_u64);
    let same = entry.get("protocol").and_then(Value::as_str).unwrap_or("TCP") == protocol;
    same && match entry.get("port").map(Value::as_u64) {
        None => true,
        Some(Some(begin)) => (begin..=end.unwrap_or(begin)).contains(&number),
        // a named port may be any
        Some(None) => true,
    }
}

/// A label selector; an empty one, or none, selects everything.
pub fn selects(selector: Option<&Value>, labels: &BTreeMap<String, String>) -> bool {
    let Some(selector) = selector else { return true };
    let equal = selector.get("matchLabels").and_then(Value::as_object);
    let equal =
        equal.into_iter().flatten().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    equal
        && expressions.into_iter().flatten().all(|expression| {
            let key = expression["key"].as_str().unwrap_or_default();
            let values: Vec<&str> =
                expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let label = labels.get(key).map(String::as_str);
            match expression["operator"].as_str() {
                Some("In") => label.is_some_and(|label| values.contains(&label)),
                Some("NotIn") => label.is_none_or(|label| !values.contains(&label)),
                Some("Exists") => label.is_some(),
                Some("DoesNotExist") => label.is_none(),
                other => panic!("an operator that Kubernetes does not know: {other:?}"),
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(spec: Value) -> Value {
        json!({"metadata": {"namespace": "here"}, "spec": spec})
    }

    const TCP: Port = Port("TCP", 8443);

    #[test]
    fn nothing_selected_is_open_and_what_is_selected_is_closed_but_for_the_rules() {
        let (gateway, team) = (pod("here", "gateway"), pod("there", "team"));
        assert!(connects(&[], &team, &gateway, TCP));
        let deny =
            policy(json!({"podSelector": {"matchLabels": {"app": "gateway"}}, "policyTypes": ["Ingress"]}));
        assert!(!connects(&[&deny], &team, &gateway, TCP));
        assert!(connects(&[&deny], &team, &pod("here", "other"), TCP), "another pod");
        let peer = json!({
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "there"}},
            "podSelector": {"matchLabels": {"app": "team"}},
        });
        let rule = json!({"from": [peer], "ports": [{"port": 8443}]});
        let allow = policy(json!({
            "podSelector": {"matchLabels": {"app": "gateway"}}, "policyTypes": ["Ingress"], "ingress": [rule],
        }));
        let both = [&deny, &allow];
        assert!(connects(&both, &team, &gateway, TCP));
        assert!(!connects(&both, &team, &gateway, Port("TCP", 8444)), "another port");
        assert!(!connects(&both, &team, &gateway, Port("UDP", 8443)), "another protocol");
        assert!(!connects(&both, &pod("there", "x"), &gateway, TCP), "another pod of that namespace");
        assert!(!connects(&both, &pod("here", "team"), &gateway, TCP), "another namespace");
        assert!(!connects(&both, &stranger([10, 1, 0, 1]), &gateway, TCP), "somebody who is not here");
        let all = policy(json!({"podSelector": {}, "ingress": [{}]}));
        assert!(connects(&[&allow, &all], &pod("x", "y"), &gateway, Port("TCP", 1)));
    }

    #[test]
    fn a_list_that_is_empty_or_missing_means_everything() {
        let gateway = pod("here", "gateway");
        let (any, none) = (pod("x", "y"), stranger([192, 0, 2, 1]));
        for rule in [json!({}), json!({"from": [], "ports": []}), json!({"ports": [{"protocol": "TCP"}]})] {
            let all = policy(json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]}));
            assert!(connects(&[&all], &any, &gateway, TCP) && connects(&[&all], &none, &gateway, TCP));
        }
        let namespaces = json!({"from": [{"namespaceSelector": {}}]});
        let all = policy(json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [namespaces]}));
        assert!(connects(&[&all], &any, &gateway, TCP) && !connects(&[&all], &none, &gateway, TCP));
        let pods = json!({"from": [{"podSelector": {}}]});
        let all = policy(json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [pods]}));
        assert!(
            connects(&[&all], &pod("here", "y"), &gateway, TCP) && !connects(&[&all], &any, &gateway, TCP)
        );
        // a policy that does not say its types is about ingress, and about egress if it has rules for that
        let left_out = policy(json!({"podSelector": {}, "egress": [{}]}));
        assert!(isolates(&[&left_out], Direction::Ingress, &gateway));
        assert!(isolates(&[&left_out], Direction::Egress, &gateway));
        assert!(!isolates(&[&policy(json!({"podSelector": {}}))], Direction::Egress, &gateway));
    }

    #[test]
    fn a_block_lets_in_its_addresses_but_for_its_exceptions() {
        let block = json!({"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}});
        let rule = json!({"from": [block]});
        let allow = policy(json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]}));
        let lets_in = |address| connects(&[&allow], &stranger(address), &pod("here", "gateway"), TCP);
        assert!(lets_in([10, 1, 0, 7]) && lets_in([10, 1, 3, 7]));
        assert!(!lets_in([10, 1, 2, 7]) && !lets_in([10, 2, 0, 7]));
        assert!(is_within("0.0.0.0/0", Ipv4Addr::new(192, 0, 2, 1)));
    }

    #[test]
    fn both_ends_have_to_let_it_through() {
        let (team, gateway) = (pod("here", "team"), pod("there", "gateway"));
        let out = policy(json!({"podSelector": {}, "policyTypes": ["Egress"]}));
        assert!(!connects(&[&out], &team, &gateway, TCP));
        assert!(connects(&[&out], &gateway, &team, TCP), "it governs just one direction");
        let all = policy(json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}));
        assert!(connects(&[&out, &all], &team, &gateway, TCP));
    }
}
