//! The plan: from a judgement to the objects, statuses and finalizers that ought to exist.

mod network;
mod steps;
mod types;

use std::collections::{BTreeMap, BTreeSet};

pub use network::NetworkNames;
pub use steps::*;
pub use types::*;

use super::finding::{Code, Finding, ObjectKey};
use super::judge::Judgement;
use super::model::Agreement;
use super::parallel;
use super::policy::{Assessment, Flow};
use super::report;
use crate::api::{
    DataAccessGrant, DataAccessGrantSpec, GrantAgreement, GrantFramework, GrantPurpose, GrantRecipient,
    LocalPolicyStatus, ObjectRef, ObjectStatus, Phase,
};

/// Plans what ought to exist at the moment of a judgement.
pub fn plan(judgement: &Judgement) -> Plan {
    let Judgement { at, model, findings, assessments, reviews } = judgement;
    let network = network::Network { model };
    let mut findings = findings.clone();
    // isolation first: a product is isolated from the moment it exists, a Managed function as long as it is Managed
    let mut objects: Vec<PlannedObject> = Vec::new();
    objects.extend(network.product_isolation().map(PlannedObject::Isolation));
    objects.extend(network.function_isolation().map(PlannedObject::Isolation));
    let mut finalizers = BTreeSet::new();
    let mut allows = Vec::new();
    let agreements: Vec<_> = assessments.agreements.iter().collect();
    let effects = parallel::map(&agreements, |(reference, assessment)| {
        let agreement = model.agreements.get(*reference)?;
        Some(effect(judgement, &network, agreement, assessment))
    });
    for ((reference, _), effect) in agreements.into_iter().zip(effects) {
        let Some(Effect { is_held, grants, allows: opened, findings: found }) = effect else {
            continue;
        };
        if is_held {
            finalizers.insert(reference.clone());
        }
        objects.extend(grants);
        allows.extend(opened);
        findings.extend(found);
    }
    objects.extend(allows);
    super::finding::sort(&mut findings);
    let statuses = statuses(judgement, &findings);
    let waiting = waiting(judgement);
    let transitions = assessments.agreements.values().filter_map(|assessment| assessment.next);
    let reviews = reviews.iter().copied().filter(|review| review > at);
    Plan {
        at: *at,
        cluster: model.cluster.name().map(str::to_owned),
        objects,
        statuses,
        finalizers,
        waiting,
        findings,
        next: transitions.chain(reviews).min(),
    }
}

/// What ought to exist because of one agreement.
#[derive(Default)]
struct Effect {
    is_held: bool,
    grants: Vec<PlannedObject>,
    allows: Vec<PlannedObject>,
    findings: Vec<Finding>,
}

fn effect(
    judgement: &Judgement,
    network: &network::Network<'_>,
    agreement: &Agreement,
    assessment: &Assessment,
) -> Effect {
    let mut effect = Effect::default();
    for flow in &assessment.flows {
        let Some(grant) = grant(judgement, agreement, flow) else {
            continue;
        };
        effect.is_held = true;
        let (policies, unreachable) = network.allow(agreement, flow, &grant);
        effect.findings.extend(unreachable.into_iter().map(|message| {
            let origin = super::finding::Origin {
                object: Some(report::agreement_key(&agreement.reference)),
                ..Default::default()
            };
            Finding::new(Code::NoGateway, origin, message)
                .help("give the organisation a gateway with `gateways[]` for that cluster")
        }));
        if network.is_product_local(&flow.product) {
            effect.grants.push(PlannedObject::Grant(grant));
        }
        effect.allows.extend(policies);
    }
    effect
}

/// The grant of a flow, in the controller's namespace; none where the product is not there any more.
fn grant(judgement: &Judgement, agreement: &Agreement, flow: &Flow) -> Option<DataAccessGrant> {
    let framework = judgement.model.frameworks.get(&agreement.spec.framework)?;
    let Flow { product, recipient, purposes, not_before, not_after } = flow;
    let controller = &judgement.model.products.get(product)?.spec.controller;
    // with accession the hash differs by signer: the grant shows the one that the controller signed
    let terms_hash = agreement.signers.get(controller).map(|signer| signer.terms_hash.clone())?;
    let spec = DataAccessGrantSpec {
        agreement: GrantAgreement {
            namespace: agreement.reference.namespace.clone(),
            name: agreement.reference.name.clone(),
            uid: agreement.uid.clone(),
            generation: agreement.generation,
            terms_hash,
        },
        product: product.clone(),
        recipient: GrantRecipient { org: recipient.org.clone(), function: recipient.function.clone() },
        purposes: purposes
            .iter()
            .map(|purpose| GrantPurpose {
                code: purpose.code.clone(),
                actions: purpose.actions.clone(),
                roles: purpose.roles.clone(),
                max_identifiability: purpose.max_identifiability,
            })
            .collect(),
        not_before: *not_before,
        not_after: *not_after,
        framework: GrantFramework {
            name: framework.reference.name.clone(),
            version: framework.reference.version.clone(),
            digest: framework.digest.clone(),
        },
    };
    let name = NetworkNames::flow(&agreement.reference, product, recipient);
    let mut grant = DataAccessGrant::new(&name, spec);
    grant.metadata.namespace = Some(product.namespace.clone());
    grant.metadata.labels = Some(network::labels("grant"));
    grant.metadata.annotations = Some(network::flow_annotations(&agreement.reference, flow));
    Some(grant)
}

fn statuses(judgement: &Judgement, findings: &[Finding]) -> Vec<PlannedStatus> {
    let mut by_object: BTreeMap<&ObjectKey, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        if let Some(object) = &finding.origin.object {
            by_object.entry(object).or_default().push(finding);
        }
    }
    let none = Vec::new();
    let objects: Vec<_> = judgement.model.objects.iter().collect();
    parallel::map(&objects, |(key, looked)| {
        let findings = by_object.get(key).unwrap_or(&none);
        let reference =
            ObjectRef { namespace: key.namespace.clone().unwrap_or_default(), name: key.name.clone() };
        let generation = looked.generation;
        let status = match key.kind.as_str() {
            "DataSharingAgreement" => {
                let assessed = judgement.model.agreements.get(&reference);
                let assessment = judgement.assessments.agreements.get(&reference);
                StatusBody::Agreement(Box::new(match (assessed, assessment) {
                    (Some(agreement), Some(assessment)) => {
                        report::agreement_status(&judgement.model, agreement, assessment)
                    }
                    _ => report::invalid_status(generation, looked.deleting, findings),
                }))
            }
            "LocalPolicy" => StatusBody::Policy(LocalPolicyStatus {
                observed_generation: generation,
                loaded: judgement.model.policies.get(&reference).map(|policy| policy.text.clone()),
                conditions: report::simple_conditions(generation, findings),
            }),
            _ => StatusBody::Simple(ObjectStatus {
                observed_generation: generation,
                conditions: report::simple_conditions(generation, findings),
            }),
        };
        PlannedStatus { object: (*key).clone(), status }
    })
}

/// What does not exist yet because somebody has to do something.
fn waiting(judgement: &Judgement) -> Vec<Waiting> {
    let mut waiting = BTreeSet::new();
    for (reference, assessment) in &judgement.assessments.agreements {
        let Some(agreement) = judgement.model.agreements.get(reference) else {
            continue;
        };
        waiting.extend(waiting_for_parties(reference, agreement, assessment));
        if assessment.phase == Phase::Scheduled {
            let start = agreement.spec.term.start;
            waiting.insert(Waiting {
                object: report::agreement_key(reference),
                awaited: start.to_string(),
                reason: "it starts then".to_owned(),
            });
        }
    }
    for finding in &judgement.findings {
        if let (Some(missing), Some(object)) = (missing(finding.code), &finding.origin.object) {
            waiting.insert(Waiting {
                object: object.clone(),
                awaited: missing.to_owned(),
                reason: finding.message.clone(),
            });
        }
    }
    waiting.into_iter().collect()
}

/// The kind of what a finding says is missing, where it says that something is.
fn missing(code: Code) -> Option<&'static str> {
    match code {
        Code::OrgNotFound | Code::FunctionNotFound => Some("PartnerOrg"),
        Code::ProductNotFound => Some("DataProduct"),
        Code::FootprintNotFound => Some("PlaceFootprint"),
        Code::FrameworkNotFound => Some("PolicyFramework"),
        Code::AgreementNotFound => Some("DataSharingAgreement"),
        Code::PolicyWaiting => Some("what it names"),
        _ => None,
    }
}

fn waiting_for_parties(
    reference: &ObjectRef,
    agreement: &Agreement,
    assessment: &Assessment,
) -> Vec<Waiting> {
    // nobody waits for a signature on what is over
    if assessment.phase.is_over() {
        return Vec::new();
    }
    assessment
        .parties
        .iter()
        .filter_map(|(org, party)| {
            Some(Waiting {
                object: report::agreement_key(reference),
                awaited: org.clone(),
                reason: report::needed(agreement, org, party)?,
            })
        })
        .collect()
}
