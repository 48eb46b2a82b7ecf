//! What network policies let through, from the semantics of Kubernetes, and nothing of the code under test.
//!
//! A pod is isolated for ingress once any policy of its namespace with that type selects it, and then lets in what
//! any rule of those policies lets in; likewise for egress. A connection needs both ends. Policies are plain JSON.

use std::collections::BTreeMap;

use serde_json::Value;

/// A pod, as policies see it.
#[derive(Clone, Debug)]
pub struct Pod {
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
}

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

pub fn pod(namespace: &str, app: &str) -> Pod {
    Pod { namespace: namespace.to_owned(), labels: BTreeMap::from([("app".to_owned(), app.to_owned())]) }
}

/// Whether a connection from one pod to another arrives.
pub fn connects(policies: &[&Value], from: &Pod, to: &Pod, port: u64) -> bool {
    allows(policies, Direction::Egress, from, to, port)
        && allows(policies, Direction::Ingress, to, from, port)
}

/// Whether one end lets a connection through. `here` is the pod that the policies are about.
pub fn allows(policies: &[&Value], direction: Direction, here: &Pod, there: &Pod, port: u64) -> bool {
    let mut isolated = false;
    for policy in policies.iter().filter(|policy| governs(policy, direction, here)) {
        isolated = true;
        let (rules, peers) = direction.rules();
        let rules = policy.pointer(rules).and_then(Value::as_array);
        if rules.into_iter().flatten().any(|rule| {
            each(rule.get(peers), |peer| is_peer(peer, &here.namespace, there))
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
    text("/metadata/namespace") == Some(&pod.namespace)
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

fn is_peer(peer: &Value, here: &str, there: &Pod) -> bool {
    if peer.get("ipBlock").is_some() {
        // pods of this world have no addresses
        return false;
    }
    let name = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), there.namespace.clone())]);
    let namespace = match peer.get("namespaceSelector") {
        Some(selector) => selects(Some(selector), &name),
        None => there.namespace == here,
    };
    namespace && selects(peer.get("podSelector"), &there.labels)
}

fn is_port(entry: &Value, port: u64) -> bool {
    let end = entry.get("endPort").and_then(Value::as_u64);
    let tcp = entry.get("protocol").and_then(Value::as_str).unwrap_or("TCP") == "TCP";
    tcp && match entry.get("port").map(Value::as_u64) {
        None => true,
        Some(Some(begin)) => (begin..=end.unwrap_or(begin)).contains(&port),
        // a named port may be any
        Some(None) => true,
    }
}

/// A label selector; an empty one, or none, selects everything.
fn selects(selector: Option<&Value>, labels: &BTreeMap<String, String>) -> bool {
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

mod tests {
    use serde_json::json;

    use super::*;

    fn policy(spec: Value) -> Value {
        json!({"metadata": {"namespace": "here"}, "spec": spec})
    }

    #[test]
    fn nothing_selected_is_open_and_what_is_selected_is_closed_but_for_the_rules() {
        let (gateway, team) = (pod("here", "gateway"), pod("there", "team"));
        assert!(connects(&[], &team, &gateway, 1));
        let deny =
            policy(json!({"podSelector": {"matchLabels": {"app": "gateway"}}, "policyTypes": ["Ingress"]}));
        assert!(!connects(&[&deny], &team, &gateway, 8443));
        assert!(connects(&[&deny], &team, &pod("here", "other"), 8443), "another pod");
        let peer = json!({
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "there"}},
            "podSelector": {"matchLabels": {"app": "team"}},
        });
        let rule = json!({"from": [peer], "ports": [{"port": 8443}]});
        let allow = policy(json!({
            "podSelector": {"matchLabels": {"app": "gateway"}}, "policyTypes": ["Ingress"], "ingress": [rule],
        }));
        assert!(connects(&[&deny, &allow], &team, &gateway, 8443));
        assert!(!connects(&[&deny, &allow], &team, &gateway, 8444), "another port");
        assert!(
            !connects(&[&deny, &allow], &pod("there", "x"), &gateway, 8443),
            "another pod of that namespace"
        );
        assert!(!connects(&[&deny, &allow], &pod("here", "team"), &gateway, 8443), "another namespace");
        assert!(connects(
            &[&allow, &policy(json!({"podSelector": {}, "ingress": [{}]}))],
            &pod("x", "y"),
            &gateway,
            1
        ));
    }

    #[test]
    fn both_ends_have_to_let_it_through() {
        let (team, gateway) = (pod("here", "team"), pod("there", "gateway"));
        let out = policy(json!({"podSelector": {}, "policyTypes": ["Egress"]}));
        assert!(!connects(&[&out], &team, &gateway, 8443));
        assert!(connects(&[&out], &gateway, &team, 8443), "it governs just one direction");
        let all = policy(json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}));
        assert!(connects(&[&out, &all], &team, &gateway, 8443));
    }
}
