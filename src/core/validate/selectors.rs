//! Label selectors: the API server takes them, and they ask for something.

use kube::Resource;

use super::check::Check;
use crate::finding::Code;
use crate::names::{LABEL_VALUE, QUALIFIED, is_label_value, is_qualified};
use crate::selectors::{Selector, label_selector};
use concordat_api::{PodSelector, SelectorOperator};

/// Looks at the selector in a field.
pub(super) fn check<T>(check: &mut Check<'_, T>, selector: &PodSelector, field: &str)
where
    T: Resource<DynamicType = ()>,
{
    let PodSelector { match_labels, match_expressions } = selector;
    let labels = match_labels
        .iter()
        .map(|(key, value)| (format!("{field}.matchLabels.{key}"), key, std::slice::from_ref(value)));
    let expressions = match_expressions.iter().enumerate().map(|(index, requirement)| {
        (format!("{field}.matchExpressions[{index}]"), &requirement.key, requirement.values.as_slice())
    });
    let mut applicable = true;
    for (at, key, values) in labels.chain(expressions) {
        if !is_qualified(key) {
            applicable = false;
            check
                .finding(Code::InvalidSelector, &at, format!("`{key}` is no key of a label"))
                .help(QUALIFIED);
        }
        for value in values.iter().filter(|value| !is_label_value(value)) {
            applicable = false;
            check
                .finding(Code::InvalidSelector, &at, format!("`{value}` is no value of a label"))
                .help(LABEL_VALUE);
        }
    }
    for (index, requirement) in match_expressions.iter().enumerate() {
        let compares = matches!(requirement.operator, SelectorOperator::In | SelectorOperator::NotIn);
        if compares == requirement.values.is_empty() {
            applicable = false;
            let (message, help) = if compares {
                ("operators `In` and `NotIn` need a value to compare with", "add `values`")
            } else {
                ("operators `Exists` and `DoesNotExist` compare with nothing", "leave `values` out")
            };
            check
                .finding(Code::InvalidSelector, &format!("{field}.matchExpressions[{index}].values"), message)
                .help(help);
        }
    }
    if !applicable || selector.is_empty() {
        return;
    }
    let selected = Selector::new(&label_selector(selector));
    if !selected.is_possible() {
        check
            .finding(
                Code::InvalidSelector,
                field,
                "no pod can be selected: the requirements of this `podSelector` contradict each other",
            )
            .help("take out the requirement that is not meant")
            .warning();
    } else if !selected.demands_a_label() {
        check
            .finding(
                Code::BroadSelector,
                field,
                "this `podSelector` says only what a pod must not be: it selects every other pod of the namespace, also those to come",
            )
            .help("select by a label that the pods have, with `matchLabels` or operator `In`");
    }
}
