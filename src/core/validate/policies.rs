//! Local policies: they stand where their footprint says, and are reviewed in time.

use jiff::Timestamp;

use super::{Checked, listed, namespace};
use crate::api::DataSharingAgreementSpec;
use crate::core::finding::Code;
use crate::core::model::Model;
use crate::core::policy::add_months;
use crate::core::snapshot::Snapshot;

/// How far ahead a review may be set where no framework says it.
const REVIEW_MONTHS: i64 = 12;

pub(super) fn check(snapshot: &Snapshot, now: Timestamp, checked: &mut Checked<'_>) {
    for sourced in &snapshot.policies {
        let Some(mut check) = checked.start(sourced) else {
            continue;
        };
        let spec = &sourced.object.spec;
        match checked.model.footprints.get(&spec.footprint) {
            None => {
                let names = checked.model.footprints.iter().map(|(name, _)| name.as_str());
                check
                    .finding(
                        Code::FootprintNotFound,
                        "spec.footprint",
                        format!("there is no footprint `{}` that can be used", spec.footprint),
                    )
                    .missing("PlaceFootprint", spec.footprint.as_str())
                    .near(&spec.footprint, names, "name the footprint that the policy is for");
            }
            Some(footprint) => {
                let stands_in = namespace(&sourced.object);
                if !footprint.policy_namespaces.contains(&stands_in) {
                    let message = format!("`{stands_in}` is not a policy namespace of `{}`", spec.footprint);
                    check.finding(Code::PolicyNamespace, "metadata.namespace", message).help(format!(
                        "its policies stand in {}, as `policyNamespaces` of the footprint says",
                        listed(footprint.policy_namespaces.iter().map(String::as_str))
                    ));
                }
            }
        }
        let months = review_months(&checked.model, &spec.footprint);
        if add_months(now, months).is_some_and(|latest| spec.review_by > latest) {
            check
                .finding(
                    Code::PolicyReview,
                    "spec.reviewBy",
                    format!("the review is more than {months} months ahead"),
                )
                .help("set a date within that time")
                .error();
        }
        checked.finish(check);
    }
}

/// How far ahead a review may be set: the least of what the frameworks say that are in use in the footprint.
fn review_months(model: &Model, footprint: &str) -> i64 {
    let concerns = |spec: &DataSharingAgreementSpec| {
        let listed = spec.purposes.iter().flat_map(|purpose| &purpose.products);
        let mut products = listed.filter_map(|product| model.products.get(product));
        model.footprints.agreement_lies_in(spec, footprint)
            || products.any(|product| model.org_lies_in(&product.spec.controller, footprint))
    };
    model
        .agreements
        .values()
        .map(|agreement| &agreement.spec)
        .filter(|spec| concerns(spec))
        .filter_map(|spec| model.frameworks.get(&spec.framework)?.spec.limits.local_policy_review_months)
        .min()
        .unwrap_or(REVIEW_MONTHS)
}
