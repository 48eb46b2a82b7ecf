//! Label selectors as sets: whether two can meet, and whether one lies in the other, whatever labels there are.
//!
//! Pods choose their own labels and new ones come, so what counts is what a selector can select, not what it does.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::names::{is_label_value, is_qualified};
use concordat_api::{PodSelector, SelectorOperator};

/// A selector of ours as Kubernetes has it.
pub(crate) fn label_selector(selector: &PodSelector) -> LabelSelector {
    let PodSelector { match_labels, match_expressions } = selector;
    let expressions = match_expressions.iter().map(|requirement| LabelSelectorRequirement {
        key: requirement.key.clone(),
        operator: match requirement.operator {
            SelectorOperator::In => "In",
            SelectorOperator::NotIn => "NotIn",
            SelectorOperator::Exists => "Exists",
            SelectorOperator::DoesNotExist => "DoesNotExist",
        }
        .to_owned(),
        values: (!requirement.values.is_empty()).then(|| requirement.values.clone()),
    });
    LabelSelector {
        match_labels: (!match_labels.is_empty()).then(|| match_labels.clone()),
        match_expressions: (!match_expressions.is_empty()).then(|| expressions.collect()),
    }
}

/// Whether the API server takes a selector.
pub(crate) fn is_applicable(selector: &PodSelector) -> bool {
    let PodSelector { match_labels, match_expressions } = selector;
    match_labels.iter().all(|(key, value)| is_qualified(key) && is_label_value(value))
        && match_expressions.iter().all(|requirement| {
            let compares = matches!(requirement.operator, SelectorOperator::In | SelectorOperator::NotIn);
            is_qualified(&requirement.key)
                && requirement.values.iter().all(|value| is_label_value(value))
                && compares != requirement.values.is_empty()
        })
}

/// What a selector demands, by key. A key that is not there may be anything, or absent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Selector(BTreeMap<String, Demand>);

/// What is demanded of one key.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Demand {
    /// Whether the label may be absent.
    absent: bool,
    values: Values,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Values {
    Only(BTreeSet<String>),
    AllBut(BTreeSet<String>),
}

impl Selector {
    /// The selector that selects everything, as an empty one does.
    pub(crate) fn everything() -> Self {
        Self::default()
    }

    /// One key with one of some values.
    pub(crate) fn one_of(key: &str, values: impl IntoIterator<Item = String>) -> Self {
        let demand = Demand { absent: false, values: Values::Only(values.into_iter().collect()) };
        Self(BTreeMap::from([(key.to_owned(), demand)]))
    }

    pub(crate) fn new(selector: &LabelSelector) -> Self {
        let LabelSelector { match_labels, match_expressions } = selector;
        let labels = match_labels.iter().flatten().map(|(key, value)| Self::one_of(key, [value.clone()]));
        let expressions = match_expressions.iter().flatten().map(expression);
        labels.chain(expressions).fold(Self::everything(), |all, one| all.and(&one))
    }

    /// What both select.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (key, demand) in &other.0 {
            let demand = both.0.get(key).map_or_else(|| demand.clone(), |own| own.and(demand));
            both.0.insert(key.clone(), demand);
        }
        both
    }

    /// Whether a pod must carry some label to be selected. Where it need not, every pod that says nothing is.
    pub(crate) fn demands_a_label(&self) -> bool {
        self.0.values().any(|demand| !demand.absent)
    }

    /// Whether anything can be selected.
    pub(crate) fn is_possible(&self) -> bool {
        self.0.values().all(|demand| demand.absent || demand.values != Values::Only(BTreeSet::new()))
    }

    /// Whether whatever this selects, the other does.
    pub(crate) fn lies_in(&self, other: &Self) -> bool {
        let anything = Demand { absent: true, values: Values::AllBut(BTreeSet::new()) };
        !self.is_possible()
            || other.0.iter().all(|(key, demand)| self.0.get(key).unwrap_or(&anything).lies_in(demand))
    }
}

fn expression(requirement: &LabelSelectorRequirement) -> Selector {
    let LabelSelectorRequirement { key, operator, values } = requirement;
    let listed: BTreeSet<String> = values.iter().flatten().cloned().collect();
    let demand = match operator.as_str() {
        "In" => Demand { absent: false, values: Values::Only(listed) },
        "NotIn" => Demand { absent: true, values: Values::AllBut(listed) },
        "Exists" => Demand { absent: false, values: Values::AllBut(BTreeSet::new()) },
        "DoesNotExist" => Demand { absent: true, values: Values::Only(BTreeSet::new()) },
        // the API server knows no other
        _ => Demand { absent: true, values: Values::AllBut(BTreeSet::new()) },
    };
    Selector(BTreeMap::from([(key.clone(), demand)]))
}

impl Demand {
    fn and(&self, other: &Self) -> Self {
        let values = match (&self.values, &other.values) {
            (Values::Only(a), Values::Only(b)) => Values::Only(a & b),
            (Values::Only(only), Values::AllBut(but)) | (Values::AllBut(but), Values::Only(only)) => {
                Values::Only(only - but)
            }
            (Values::AllBut(a), Values::AllBut(b)) => Values::AllBut(a | b),
        };
        Self { absent: self.absent && other.absent, values }
    }

    fn lies_in(&self, other: &Self) -> bool {
        let values = match (&self.values, &other.values) {
            (Values::Only(a), Values::Only(b)) => a.is_subset(b),
            (Values::Only(only), Values::AllBut(but)) => only.is_disjoint(but),
            (Values::AllBut(a), Values::AllBut(b)) => b.is_subset(a),
            (Values::AllBut(_), Values::Only(_)) => false,
        };
        (other.absent || !self.absent) && values
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selector(value: Value) -> Selector {
        Selector::new(&serde_json::from_value(value).unwrap())
    }

    fn expressions(list: &[(&str, &str, &[&str])]) -> Selector {
        let list: Vec<Value> = list
            .iter()
            .map(|(key, operator, values)| json!({"key": key, "operator": operator, "values": values}))
            .collect();
        selector(json!({ "matchExpressions": list }))
    }

    /// Every set of labels over two keys and two values, and one that no one names.
    fn worlds() -> Vec<BTreeMap<&'static str, &'static str>> {
        let values = [None, Some("1"), Some("2"), Some("other")];
        values
            .iter()
            .flat_map(|a| values.iter().map(move |b| [("a", *a), ("b", *b)]))
            .map(|pairs| pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
            .collect()
    }

    fn selects(list: &[(&str, &str, &[&str])], labels: &BTreeMap<&str, &str>) -> bool {
        list.iter().all(|(key, operator, values)| match (*operator, labels.get(key)) {
            ("In", Some(value)) => values.contains(value),
            ("NotIn", value) => value.is_none_or(|value| !values.contains(value)),
            ("Exists", value) => value.is_some(),
            ("DoesNotExist", value) => value.is_none(),
            _ => false,
        })
    }

    #[test]
    fn sets_agree_with_what_kubernetes_selects() {
        let one: [(&str, &str, &[&str]); 8] = [
            ("a", "In", &["1"]),
            ("a", "In", &["1", "2"]),
            ("a", "NotIn", &["1"]),
            ("a", "NotIn", &["1", "2"]),
            ("a", "Exists", &[]),
            ("a", "DoesNotExist", &[]),
            ("b", "In", &["2"]),
            ("b", "NotIn", &["2"]),
        ];
        let mut lists: Vec<Vec<(&str, &str, &[&str])>> = vec![vec![]];
        lists.extend(one.iter().map(|it| vec![*it]));
        lists.extend(one.iter().flat_map(|a| one.iter().map(move |b| vec![*a, *b])));
        for first in &lists {
            for second in &lists {
                let (a, b) = (expressions(first), expressions(second));
                let meet = worlds().iter().any(|world| selects(first, world) && selects(second, world));
                assert_eq!(a.and(&b).is_possible(), meet, "{first:?} and {second:?}");
                let within = worlds().iter().all(|world| !selects(first, world) || selects(second, world));
                assert_eq!(a.lies_in(&b), within, "{first:?} in {second:?}");
            }
        }
    }

    #[test]
    fn an_empty_selector_selects_everything_and_labels_are_equations() {
        assert_eq!(selector(json!({})), Selector::everything());
        assert!(selector(json!({"matchLabels": {"a": "1"}})).lies_in(&Selector::everything()));
        assert!(!Selector::everything().lies_in(&selector(json!({"matchLabels": {"a": "1"}}))));
        assert_eq!(selector(json!({"matchLabels": {"a": "1"}})), expressions(&[("a", "In", &["1"])]));
    }
}
