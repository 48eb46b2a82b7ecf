//! The gateways that open paths between clusters need, and that no organisation has: what is agreed, and cannot be gone.

use std::collections::BTreeSet;

use super::evaluate::Judgement;
use super::finding::{Code, Finding, Origin};
use super::model::{Model, Organisation, Product};
use super::policy::Flow;
use super::report::agreement_key;
use super::snapshot::Snapshot;
use concordat_api::{Egress, ObjectRef, Workload};

/// A warning for each agreement with open paths that lack a gateway, at the agreement.
pub fn findings(snapshot: &Snapshot, judgement: &Judgement) -> Vec<Finding> {
    let mut findings = Vec::new();
    for sourced in &snapshot.agreements {
        let key = sourced.key();
        let reference = ObjectRef { namespace: key.namespace.unwrap_or_default(), name: key.name };
        let Some(assessment) = judgement.assessments.agreements.get(&reference) else { continue };
        let missing = missing(&judgement.model, &assessment.flows).into_iter();
        findings.extend(
            missing.map(|message| sourced.finding(Code::NoGateway, "spec.parties", message).help(HELP)),
        );
    }
    findings
}

/// The same for one agreement, without a place in a file.
pub(super) fn of_agreement(model: &Model, agreement: &ObjectRef, flows: &[Flow]) -> Vec<Finding> {
    let origin = Origin { object: Some(agreement_key(agreement)), ..Origin::default() };
    let missing = missing(model, flows).into_iter();
    missing.map(|message| Finding::new(Code::NoGateway, origin.clone(), message).help(HELP)).collect()
}

const HELP: &str = "give the organisation a gateway with `gateways[]` for that cluster";

/// What is missing at the ends that lie in the cluster which is looked at.
fn missing(model: &Model, flows: &[Flow]) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    for flow in flows {
        let Some((product, org)) = model.products.get(&flow.product).zip(model.orgs.get(&flow.recipient.org))
        else {
            continue;
        };
        let Some(function) = org.function(&flow.recipient.function) else { continue };
        for workload in &function.workloads {
            let Some((from, to)) = apart(workload, product) else { continue };
            if model.cluster.is_local(Some(to)) && !has_gateway(org, from) {
                let name = &org.name;
                missing.insert(format!(
                    "`{name}` has no gateway for cluster `{from}`, so that its traffic cannot be let in"
                ));
            }
            let leaves = function.egress == Some(Egress::Managed) && model.cluster.is_local(Some(from));
            let controller = model.orgs.get(&product.spec.controller);
            if leaves && !controller.is_some_and(|it| has_gateway(it, to)) {
                missing.insert(format!(
                    "`{}` has no gateway for the cluster of `{}`, so that it cannot be reached",
                    product.spec.controller, product.reference
                ));
            }
        }
    }
    missing
}

/// The clusters of a workload and of a product, where they are two.
fn apart<'a>(workload: &'a Workload, product: &'a Product) -> Option<(&'a str, &'a str)> {
    let clusters = workload.cluster.as_deref().zip(product.spec.cluster.as_deref());
    clusters.filter(|(from, to)| from != to)
}

fn has_gateway(org: &Organisation, cluster: &str) -> bool {
    org.spec.gateways.iter().any(|it| it.cluster == cluster && !it.cidrs.is_empty())
}
