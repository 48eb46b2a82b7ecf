//! The plan: from a judgement to the objects, statuses and finalizers that ought to exist.

mod dns;
mod grants;
mod judge;
mod network;
mod steps;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use dns::{Dns, DnsServer, NoServer};
use grants::grants;
pub use judge::Judge;
pub use network::NetworkNames;
pub use steps::*;
pub use types::*;

use super::evaluate::Judgement;
use super::finding::{Code, Finding, ObjectKey};
use super::gateways;
use super::model::{Agreement, Model};
use super::needed::Needed;
use super::parallel;
use super::policy::{Assessment, ContextFree, Flow, LocalRules};
use super::report;
use super::shared::Shared;
use super::snapshot::ClusterView;
use concordat_api::{LocalPolicyStatus, ObjectRef, ObjectStatus, Phase};

/// Plans what ought to exist at the moment of a judgement. What an earlier plan drafted for an agreement that is as
/// it stood is taken over.
pub fn plan(judgement: &Judgement, dns: &Dns, earlier: &PlanCache) -> (Plan, PlanCache) {
    let Judgement { at, model, findings, assessments, moments } = judgement;
    let network = network::Network { model, dns };
    let drafts = PlanCache::new(judgement, &network, earlier);
    // isolation first: a product is isolated from the moment it exists, a Managed function as long as it is Managed
    let isolation = network.product_isolation().chain(network.function_isolation());
    let mut objects: Vec<PlannedObject> =
        isolation.map(|policy| PlannedObject::Isolation(policy.into())).collect();
    let mut finalizers = BTreeSet::new();
    let mut findings = findings.clone();
    for (reference, draft) in &drafts.agreements {
        if draft.is_held {
            finalizers.insert(reference.clone());
        }
        objects.extend(draft.grants.iter().cloned());
        findings.extend(draft.findings.iter().cloned());
    }
    objects.extend(drafts.agreements.values().flat_map(|draft| draft.allows.iter().cloned()));
    super::finding::sort(&mut findings);
    let statuses = statuses(judgement, &drafts, &findings);
    let waiting = waiting(judgement);
    let transitions = assessments.agreements.values().filter_map(|assessment| assessment.next);
    let moments = moments.iter().copied().filter(|moment| moment > at);
    let plan = Plan {
        at: *at,
        cluster: model.cluster.name().map(str::to_owned),
        objects,
        statuses,
        finalizers,
        waiting,
        findings,
        next: transitions.chain(moments).min(),
    };
    (plan, drafts)
}

impl Judgement {
    /// What ought to exist, where names are resolved as is usual.
    pub fn plan(&self) -> Plan {
        self.plan_with(&Dns::default())
    }

    /// What ought to exist.
    pub fn plan_with(&self, dns: &Dns) -> Plan {
        plan(self, dns, &PlanCache::default()).0
    }
}

/// The part of each agreement in a plan.
#[derive(Debug, Default)]
pub struct PlanCache {
    cluster: ClusterView,
    local: LocalRules,
    agreements: BTreeMap<ObjectRef, Arc<Draft>>,
}

impl PlanCache {
    fn new(judgement: &Judgement, network: &network::Network<'_>, earlier: &Self) -> Self {
        let Judgement { model, assessments, .. } = judgement;
        let local = LocalRules::of(model);
        // a grant says what local rules leave open to who states no context
        let is_seen_as_before = earlier.cluster == model.cluster && earlier.local == local;
        let agreements: Vec<_> = assessments.agreements.iter().collect();
        let drafts = parallel::map(&agreements, |(reference, assessment)| {
            let kept = earlier.agreements.get(*reference).filter(|draft| {
                // an assessment holds as long as nothing that it reads has changed, and a draft reads nothing else but local
                // rules
                is_seen_as_before && Arc::ptr_eq(&draft.assessment, assessment)
            });
            let drawn = || {
                let agreement = model.agreements.get(*reference)?;
                Some(Arc::new(Draft::new(judgement, network, agreement, assessment)))
            };
            kept.cloned().or_else(drawn)
        });
        let drafts = agreements.into_iter().zip(drafts);
        let agreements = drafts.filter_map(|((reference, _), draft)| Some((reference.clone(), draft?)));
        Self { cluster: model.cluster.clone(), local, agreements: agreements.collect() }
    }
}

/// What ought to exist because of one agreement, and what its status says.
///
/// Made of the agreement, its framework, its parties, and its products with their controllers: of what an assessment
/// reads, and of local rules.
#[derive(Debug)]
struct Draft {
    assessment: Arc<Assessment>,
    is_held: bool,
    grants: Vec<PlannedObject>,
    allows: Vec<PlannedObject>,
    findings: Vec<Finding>,
    status: Shared<StatusBody>,
}

impl Draft {
    fn new(
        judgement: &Judgement,
        network: &network::Network<'_>,
        agreement: &Agreement,
        assessment: &Arc<Assessment>,
    ) -> Self {
        let (mut opened, mut allows) = (Vec::new(), Vec::new());
        let context_free = ContextFree::new(judgement, agreement);
        let by_product: Vec<_> = assessment.flows.chunk_by(|a, b| a.product == b.product).collect();
        let drawn = |flows: &&[Flow]| grants(judgement, network, agreement, &context_free, flows);
        for of_product in parallel::map(&by_product, drawn) {
            opened.extend(of_product.grants);
            allows.extend(of_product.allows);
        }
        allows.extend(network.egress(&agreement.reference, &assessment.flows));
        let mut status = report::agreement_status(&judgement.model, agreement, assessment);
        status.grants = Some(i64::try_from(opened.len()).unwrap_or(i64::MAX));
        Self {
            assessment: Arc::clone(assessment),
            is_held: !assessment.flows.is_empty(),
            grants: opened,
            allows,
            findings: gateways::of_agreement(&judgement.model, &agreement.reference, &assessment.flows),
            status: StatusBody::Agreement(Box::new(status)).into(),
        }
    }
}

fn statuses(judgement: &Judgement, drafts: &PlanCache, findings: &[Finding]) -> Vec<PlannedStatus> {
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
            "DataSharingAgreement" => match drafts.agreements.get(&reference) {
                Some(draft) => draft.status.clone(),
                None => {
                    let status =
                        report::invalid_status(generation, looked.deleting, &looked.remembered, findings);
                    StatusBody::Agreement(Box::new(status)).into()
                }
            },
            "LocalPolicy" => StatusBody::Policy(LocalPolicyStatus {
                observed_generation: generation,
                loaded: judgement
                    .model
                    .policies
                    .get(&reference)
                    .map(|policy| policy.text.clone())
                    .or_else(|| looked.remembered.loaded.clone()),
                conditions: report::simple_conditions(&key.kind, generation, looked.deleting, findings),
            })
            .into(),
            _ => StatusBody::Simple(ObjectStatus {
                observed_generation: generation,
                conditions: report::simple_conditions(&key.kind, generation, looked.deleting, findings),
            })
            .into(),
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
        waiting.extend(waiting_for_parties(&judgement.model, reference, agreement, assessment));
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
    model: &Model,
    reference: &ObjectRef,
    agreement: &Agreement,
    assessment: &Assessment,
) -> Vec<Waiting> {
    // no one waits for a signature on what is over
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
                reason: Needed::of(model, agreement, org, party)?.text(reference, org),
            })
        })
        .collect()
}
