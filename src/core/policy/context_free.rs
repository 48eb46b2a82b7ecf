//! What is open to whoever states a purpose, a level and a region, and nothing else.
//!
//! A store sees no relationship, no consent and no opt-out. It opens only what the access gate allows without them, now and
//! at every moment until the path ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{Effect, Entities, PolicyId, PolicySet};
use jiff::Timestamp;

use super::authorize::{Outcome, Question};
use super::decide::Candidate;
use super::exceptions::{About, Lifts};
use super::framework::{Framework, RuleSet};
use super::local::LocalRule;
use super::reads::Reads;
use super::resolve::ResolvedRequest;
use super::{Assessment, Flow, FlowPurpose, dates, names};
use crate::evaluate::Judgement;
use crate::model::{Agreement, FunctionRef};
use concordat_api::{
    AccessRequest, DataAction, ObjectRef, RequestAction, RequestContext, RequestResource, Subject,
    SubjectType,
};

/// The rules by which the flows of one agreement are known to need a context or none.
#[derive(Debug)]
pub struct ContextFree<'a> {
    judgement: &'a Judgement,
    agreement: &'a Agreement,
    /// None where nothing is free of a context: what it is judged by is not there, reads the clock on the wall, or may tell
    /// one account of a recipient from another.
    gate: Option<Gate<'a>>,
}

/// What is the same for all flows of an agreement.
#[derive(Debug)]
struct Gate<'a> {
    framework: &'a Framework,
    assessment: &'a Assessment,
    entities: Entities,
    lifts: Lifts<'a>,
    /// The floor and the agreement permits: what none of them allows needs no look at what forbids.
    permits: PolicySet,
    /// A question for each purpose, action and moment, of one of its flows.
    questions: Mutex<BTreeMap<(String, DataAction, Timestamp), Arc<Question>>>,
    /// The guardrail that denied the last flow of a purpose. As a rule it denies the next one, too.
    denied: Mutex<BTreeMap<String, (String, PolicySet)>>,
}

impl<'a> ContextFree<'a> {
    /// For the flows of an agreement.
    pub fn new(judgement: &'a Judgement, agreement: &'a Agreement) -> Self {
        Self { judgement, agreement, gate: Gate::new(judgement, agreement) }
    }

    /// Whether every action of a purpose is allowed at its level, to a function that says nothing else, at every moment
    /// until it ends.
    pub fn holds(&self, flow: &Flow, purpose: &FlowPurpose) -> bool {
        let Some(gate) = &self.gate else { return false };
        let Judgement { at, model, findings: _, assessments: _, moments: _ } = self.judgement;
        let Some(controller) = model.products.get(&flow.product).map(|it| it.spec.controller.as_str()) else {
            return false;
        };
        let recipient = flow.recipient.org.as_str();
        let policies = model.policies.values();
        let local: Vec<&LocalRule> =
            policies.flat_map(|it| it.binding_rules(model, self.agreement, controller, recipient)).collect();
        let mut in_doubt = model.policies_in_doubt.iter();
        let path = Path {
            flow,
            purpose,
            controller,
            local: &local,
            in_doubt: in_doubt.any(|it| it.binds(model, self.agreement, controller, recipient)),
        };
        let allows =
            |at: Timestamp| purpose.actions.iter().all(|action| self.allows(gate, &path, *action, at));
        if !allows(*at) {
            return false;
        }
        let Some(forbids) = forbids(&local) else { return false };
        let until = (*at, purpose.not_after);
        let orgs = [controller, recipient];
        let mut ahead = dates::dates_read(model, self.agreement, &gate.framework.access, &orgs, until);
        ahead.extend(dates::dates_read(model, self.agreement, &forbids, &orgs, until));
        let mut ahead = ahead.into_iter();
        ahead.all(allows)
    }

    /// Whether the floor or the terms allow it at a moment, and nothing forbids it.
    fn allows(&self, gate: &Gate<'a>, path: &Path<'_>, action: DataAction, now: Timestamp) -> bool {
        let Gate { framework, assessment: _, entities, lifts, permits, questions: _, denied } = gate;
        let Path { flow, purpose, controller, local, in_doubt } = *path;
        let denied = || denied.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = || {
            let principal = names::function(&flow.recipient);
            let question = self
                .question(gate, path, action, now)?
                .alike(principal, names::product(&flow.product))
                .ok()?;
            if !matches!(question.ask(permits, entities), Outcome::Allowed(_)) {
                return None;
            }
            let lifted = lifts.lifted(About::Path { controller, recipient: &flow.recipient.org }, now);
            let last = denied().get(&purpose.code).filter(|(rule, _)| !lifted.contains(rule)).cloned();
            if last.is_some_and(|(_, rule)| question.ask(&rule, entities) != Outcome::Silent) {
                return None;
            }
            match question.ask(&framework.national_without(&lifted), entities) {
                Outcome::Forbidden(rules) => {
                    let rule = framework.national.policy(&PolicyId::new(rules.first()?))?.clone();
                    let named = (names::rule_id(&rule), PolicySet::from_policies([rule]).ok()?);
                    denied().insert(purpose.code.clone(), named);
                    return None;
                }
                Outcome::Error(_) => return None,
                Outcome::Allowed(_) => return Some(()),
                Outcome::Silent if in_doubt => return None,
                Outcome::Silent => {}
            }
            let set = framework.agreement.iter().chain(local.iter().map(|rule| &rule.policy)).cloned();
            match question.ask(&PolicySet::from_policies(set).ok()?, entities) {
                // what only the place permits may go when its review is due
                Outcome::Allowed(rules) => {
                    rules.iter().any(|it| framework.rules.contains_key(it)).then_some(())
                }
                Outcome::Forbidden(_) | Outcome::Silent | Outcome::Error(_) => None,
            }
        };
        allowed().is_some()
    }

    /// The question that a bare request is, with the context that the access gate gives it.
    fn question(
        &self,
        gate: &Gate<'a>,
        Path { flow, purpose, .. }: &Path<'_>,
        action: DataAction,
        now: Timestamp,
    ) -> Option<Arc<Question>> {
        let mut questions = gate.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (purpose.code.clone(), action, now);
        if let Some(question) = questions.get(&key) {
            return Some(Arc::clone(question));
        }
        let Judgement { at: _, model, findings: _, assessments, moments: _ } = self.judgement;
        let Gate { framework, assessment, .. } = *gate;
        let request = bare(flow, purpose, action);
        let asked = &ResolvedRequest::resolve(model, &request).ok()?;
        let agreement = self.agreement;
        let candidate =
            Candidate { model, policies: &[], assessments, agreement, assessment, framework, asked, now };
        let principal = names::function(&flow.recipient);
        let action = names::action(action);
        let resource = names::product(&flow.product);
        let question = Arc::new(Question::new(principal, action, resource, candidate.context()).ok()?);
        questions.insert(key, Arc::clone(&question));
        Some(question)
    }
}

/// One purpose of one flow, and what its place says of it.
struct Path<'p> {
    flow: &'p Flow,
    purpose: &'p FlowPurpose,
    controller: &'p str,
    local: &'p [&'p LocalRule],
    /// Whether a local policy that cannot be loaded may forbid it.
    in_doubt: bool,
}

impl<'a> Gate<'a> {
    fn new(judgement: &'a Judgement, agreement: &'a Agreement) -> Option<Self> {
        let Judgement { at: _, model, findings: _, assessments, moments: _ } = judgement;
        let framework = model.frameworks.get(&agreement.spec.framework).map(|it| &**it)?;
        let assessment = assessments.agreements.get(&agreement.reference).map(|it| &**it)?;
        if assessment.flows.is_empty()
            || !framework.access_keeps_time()
            || framework.tells_accounts_apart()
            || !model.unknown_texts.is_empty()
        {
            return None;
        }
        let functions: BTreeSet<&FunctionRef> = assessment.flows.iter().map(|flow| &flow.recipient).collect();
        let products: BTreeSet<&ObjectRef> = assessment.flows.iter().map(|flow| &flow.product).collect();
        let local = model.policies.values().flat_map(|policy| &policy.rules);
        let named = framework.literals.iter().chain(local.flat_map(|rule| &*rule.literals)).cloned();
        let entity = assessment.entity.as_ref()?;
        let entities = assessments.store.flows_slice(&functions, &products, entity, named).ok()?;
        let lifts = Lifts::new(model, agreement, framework, &assessment.signed);
        let floor = framework.national.policies().filter(|rule| rule.effect() == Effect::Permit);
        let permits = PolicySet::from_policies(floor.chain(&framework.agreement).cloned()).ok()?;
        let (questions, denied) = (Mutex::default(), Mutex::default());
        Some(Self { framework, assessment, entities, lifts, permits, questions, denied })
    }
}

/// A request that says nothing but its purpose, its level and where the answer goes.
fn bare(flow: &Flow, purpose: &FlowPurpose, action: DataAction) -> AccessRequest {
    AccessRequest {
        subject: Subject { type_: SubjectType::OrgFunction, id: flow.recipient.to_string() },
        action: RequestAction { name: action.as_str().to_owned() },
        resource: RequestResource { type_: "DataProduct".to_owned(), id: flow.product.to_string() },
        context: RequestContext {
            purpose: Some(purpose.code.clone()),
            identifiability: Some(purpose.max_identifiability),
            region: Some("GB".to_owned()),
            ..RequestContext::default()
        },
    }
}

/// The local forbids of a path; none where one of them reads the clock in another way, or may tell one account of the
/// recipient from another, which a store does not.
fn forbids(rules: &[&LocalRule]) -> Option<RuleSet> {
    let mut forbids = RuleSet::default();
    for rule in rules.iter().filter(|rule| rule.policy.effect() == Effect::Forbid) {
        let reads = Reads::of(&rule.json);
        if !reads.keeps_time() || reads.tells_accounts_apart() {
            return None;
        }
        forbids.add(&rule.policy, &reads).ok()?;
    }
    Some(forbids)
}
