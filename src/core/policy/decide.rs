//! The access gate: one request, decided against the agreements in force that list its product and recipient.

use std::collections::BTreeSet;

use cedar_policy::{Effect, Entities, PolicySet};
use jiff::Timestamp;
use serde::Serialize;

use super::assessment::{Assessment, Assessments};
use super::authorize::{NoAnswer, Outcome, Question};
use super::context::AccessContext;
use super::entities::Value;
use super::exceptions::{About, Lifts};
use super::flows::{Obstacle, Parties, never_allowed};
use super::framework::Framework;
use super::local::PolicyInDoubt;
use super::near_miss::{closest_agreement, miss, nothing_permits};
use super::remedy::wire;
use super::resolve::ResolvedRequest;
use super::step::Step;
use super::{LocalPolicy, LocalRule, LocalWord, names, rule_order};
use crate::model::{Agreement, Model};
use crate::text::is_blank;
use concordat_api::{
    AccessAnswer, AccessRequest, AnswerContext, DataAction, DecisionTier, Identifiability, NearMiss,
    ObjectRef, RequestContext,
};

/// The answer to a request, and what each candidate said.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub answer: AccessAnswer,
    pub candidates: Vec<CandidateVerdict>,
}

impl Verdict {
    /// The same where texts that cannot be read may hold a no: the answer is not known, and it is denied.
    fn in_doubt(mut self, texts: &[String]) -> Self {
        let Some(text) = texts.first().filter(|_| self.answer.decision) else {
            return self;
        };
        let fix = |text: &String| Step {
            clause: text.clone(),
            saw: "a text that cannot be read".to_owned(),
            wants: "one that can, or no text at all".to_owned(),
            who: "the owner of that file".to_owned(),
        };
        let Step { clause, saw, wants, who } = fix(text);
        let mut first = *miss(&clause, saw, wants, &who);
        first.then = texts.iter().skip(1).map(|text| wire(fix(text))).collect();
        first.agreement.clone_from(&self.answer.context.agreement);
        let context = &mut self.answer.context;
        context.tier = DecisionTier::Error;
        context.reason = format!("could not be decided: `{text}` is not read, and may hold a withdrawal");
        context.rule = None;
        context.rules.clear();
        context.near_miss = Some(first);
        self.answer.decision = false;
        self
    }

    /// Whether there was no answer, because a text cannot be read.
    pub fn is_in_doubt(&self, model: &Model) -> bool {
        self.answer.context.tier == DecisionTier::Error && !model.unknown_texts.is_empty()
    }
}

/// What one candidate said.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateVerdict {
    /// `namespace/name`.
    pub agreement: String,
    pub decision: bool,
    pub tier: DecisionTier,
    pub rule: Option<String>,
    /// Every rule that decided likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    #[serde(skip)]
    pub(super) reason: String,
    #[serde(skip)]
    pub(super) near_miss: Option<NearMiss>,
    /// Whether a national rule, and not a local one, could not be evaluated.
    #[serde(skip)]
    national_error: bool,
}

/// Decides a request at `now`, under these local policies.
pub fn decide<'m>(
    model: &'m Model,
    policies: impl IntoIterator<Item = &'m LocalPolicy>,
    assessments: &Assessments,
    request: &AccessRequest,
    now: Timestamp,
) -> Verdict {
    readable(model, policies, assessments, request, now).in_doubt(&model.unknown_texts)
}

/// The same by what can be read.
fn readable<'m>(
    model: &'m Model,
    policies: impl IntoIterator<Item = &'m LocalPolicy>,
    assessments: &Assessments,
    request: &AccessRequest,
    now: Timestamp,
) -> Verdict {
    let asked = match ResolvedRequest::resolve(model, request) {
        Ok(asked) => asked,
        Err(near_miss) => return nothing_permits(*near_miss),
    };
    let listed = (asked.product.reference.clone(), asked.function.clone());
    let candidates: Vec<&ObjectRef> = assessments.candidates.get(&listed).into_iter().flatten().collect();
    if candidates.is_empty() {
        return nothing_permits(*closest_agreement(model, assessments, &asked));
    }
    let policies: Vec<&LocalPolicy> = policies.into_iter().collect();
    let verdicts: Vec<CandidateVerdict> = candidates
        .into_iter()
        .filter_map(|reference| {
            let agreement = model.agreements.get(reference)?;
            let assessment = assessments.agreements.get(reference)?;
            let framework = model.frameworks.get(&agreement.spec.framework)?;
            let candidate = Candidate {
                model,
                policies: &policies,
                assessments,
                agreement,
                assessment,
                framework,
                asked: &asked,
                now,
            };
            Some(candidate.decide())
        })
        .collect();
    conclude(verdicts)
}

/// What stands in the way of a request under one agreement in force, whatever else it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Bar {
    /// A guardrail of the national framework.
    Ceiling,
    /// What a place says of every such request.
    Place(LocalWord),
}

/// What stands in the way of a request under one agreement in force: the ceiling, or what the place says of every request
/// like it. A local rule with conditions may let others through and bars nothing.
pub(super) fn bar(
    model: &Model,
    assessments: &Assessments,
    agreement: &Agreement,
    request: &AccessRequest,
    now: Timestamp,
) -> Option<Bar> {
    let barred = || {
        let asked = ResolvedRequest::resolve(model, request).ok()?;
        let listed = (asked.product.reference.clone(), asked.function.clone());
        assessments.candidates.get(&listed)?.get(&agreement.reference)?;
        let policies: Vec<&LocalPolicy> = model.policies.values().collect();
        let candidate = Candidate {
            model,
            policies: &policies,
            assessments,
            agreement,
            assessment: assessments.agreements.get(&agreement.reference)?,
            framework: model.frameworks.get(&agreement.spec.framework)?,
            asked: &asked,
            now,
        };
        candidate.bar().ok()
    };
    barred().unwrap_or(Some(Bar::Ceiling))
}

/// The local rules, of these policies, that match a request under one agreement: the permits that apply and the forbids
/// that fire, whoever decides.
pub(super) fn matching_rules<'m>(
    model: &'m Model,
    policies: impl IntoIterator<Item = &'m LocalPolicy>,
    assessments: &Assessments,
    request: &AccessRequest,
    agreement: &ObjectRef,
    now: Timestamp,
) -> Result<BTreeSet<String>, NoAnswer> {
    let policies: Vec<&LocalPolicy> = policies.into_iter().collect();
    let Ok(asked) = ResolvedRequest::resolve(model, request) else {
        return Ok(BTreeSet::new());
    };
    let found = model.agreements.get(agreement).and_then(|it| {
        let assessment = assessments.agreements.get(agreement)?;
        Some((it, assessment, model.frameworks.get(&it.spec.framework)?))
    });
    let Some((agreement, assessment, framework)) = found else {
        return Ok(BTreeSet::new());
    };
    let asked = &asked;
    let policies = policies.as_slice();
    Candidate { model, policies, assessments, agreement, assessment, framework, asked, now }.matching_rules()
}

/// Chooses the candidate that speaks for all: an error of a national rule, the floor, an error of a local rule, then
/// what allows, then what denies.
fn conclude(mut verdicts: Vec<CandidateVerdict>) -> Verdict {
    let rank = |verdict: &CandidateVerdict| match (verdict.decision, verdict.tier) {
        (_, DecisionTier::Error) if verdict.national_error => 0,
        (true, DecisionTier::Floor) => 1,
        (_, DecisionTier::Error) => 2,
        (true, DecisionTier::Agreement) => 3,
        (true, _) => 4,
        (false, DecisionTier::Local) => 5,
        (false, DecisionTier::None) => 6,
        (false, _) => 7,
    };
    verdicts.sort_by(|a, b| a.agreement.cmp(&b.agreement));
    let Some(decided) = verdicts.iter().min_by_key(|verdict| rank(verdict)) else {
        return nothing_permits(NearMiss {
            agreement: None,
            rule: None,
            clause: "an agreement in force".to_owned(),
            saw: "none".to_owned(),
            wants: "one that lists this product and this recipient".to_owned(),
            who: "the parties".to_owned(),
            then: Vec::new(),
            or: Vec::new(),
            obstacles: Vec::new(),
        });
    };
    let answer = AccessAnswer {
        decision: decided.decision,
        context: AnswerContext {
            tier: decided.tier,
            rule: decided.rule.clone(),
            rules: decided.rules.clone(),
            agreement: Some(decided.agreement.clone()),
            reason: decided.reason.clone(),
            near_miss: decided.near_miss.clone(),
        },
    };
    Verdict { answer, candidates: verdicts }
}

/// One agreement in force that lists the product and the recipient.
pub(super) struct Candidate<'a> {
    pub(super) model: &'a Model,
    pub(super) policies: &'a [&'a LocalPolicy],
    pub(super) assessments: &'a Assessments,
    pub(super) agreement: &'a Agreement,
    pub(super) assessment: &'a Assessment,
    pub(super) framework: &'a Framework,
    pub(super) asked: &'a ResolvedRequest<'a>,
    pub(super) now: Timestamp,
}

impl Candidate<'_> {
    pub(super) fn decide(&self) -> CandidateVerdict {
        let local = self.local_rules();
        let national = self.national(&local);
        let national_error = matches!(national, Err(_) | Ok((_, _, Outcome::Error(_))));
        let outcome = national.and_then(|national| self.evaluate(&local, national));
        outcome.unwrap_or_else(|error| {
            let reason = format!("denied because of an error: {error}");
            let verdict = self.verdict(false, DecisionTier::Error, Vec::new(), reason);
            CandidateVerdict { national_error, ..verdict }
        })
    }

    pub(super) fn verdict(
        &self,
        decision: bool,
        tier: DecisionTier,
        rules: Vec<String>,
        reason: String,
    ) -> CandidateVerdict {
        CandidateVerdict {
            agreement: self.agreement.reference.to_string(),
            decision,
            tier,
            rule: rules.first().cloned(),
            rules,
            reason,
            near_miss: None,
            national_error: false,
        }
    }

    /// The question, and what the national set says to it: nothing below it is asked once it has spoken.
    pub(super) fn national(&self, local: &[&LocalRule]) -> Result<(Question, Entities, Outcome), NoAnswer> {
        let asked = self.asked;
        let entity = self.assessment.entity.as_ref().ok_or(NoAnswer::Terms)?;
        let principal = match asked.workload {
            Some(id) => names::workload(id),
            None => names::function(&asked.function),
        };
        let product = &asked.product.reference;
        let named = self.framework.literals.iter().chain(local.iter().flat_map(|rule| &*rule.literals));
        let entities =
            self.assessments.store.access_slice(&principal, product, entity, asked.onward, named.cloned())?;
        let action = names::action(asked.action);
        let question = Question::new(principal, action, names::product(product), self.context())?;
        let about =
            About::Path { controller: &asked.product.spec.controller, recipient: &asked.function.org };
        let lifts = Lifts::new(self.model, self.agreement, self.framework, &self.assessment.signed);
        let outcome =
            question.ask(&self.framework.national_without(&lifts.lifted(about, self.now)), &entities);
        Ok((question, entities, outcome))
    }

    /// A deny where the path is closed, also if no guardrail of the framework says so.
    fn closed(&self) -> Option<CandidateVerdict> {
        let ResolvedRequest { function, product, purpose, action, identifiability, .. } = self.asked;
        let parties = Parties { model: self.model, agreement: self.agreement, assessment: self.assessment };
        let terms = (*action, *identifiability);
        let not_listed = || {
            let is_listed = self.agreement.lists(purpose, &product.reference, function, terms);
            (!is_listed).then(|| Obstacle {
                org: product.spec.controller.clone(),
                rule: None,
                reason:
                    "the agreement does not list this recipient, product, purpose, action and level together"
                        .to_owned(),
            })
        };
        let Obstacle { org: _, rule, reason } = parties
            .obstacle(self.framework, self.now, purpose, product, function)
            .or_else(|| never_allowed(self.framework, purpose, product))
            .or_else(not_listed)?;
        Some(self.verdict(false, DecisionTier::Ceiling, rule.into_iter().collect(), reason))
    }

    fn evaluate(
        &self,
        local: &[&LocalRule],
        (question, entities, outcome): (Question, Entities, Outcome),
    ) -> Result<CandidateVerdict, NoAnswer> {
        // 1. the national set
        match outcome {
            Outcome::Error(error) => return Err(error),
            Outcome::Forbidden(rules) => {
                let reason = self.national_reason(&rules);
                let near_miss = self.way_out(&rules, &question, &entities);
                let mut verdict = self.verdict(false, DecisionTier::Ceiling, rules, reason);
                verdict.near_miss = near_miss;
                return Ok(verdict);
            }
            Outcome::Allowed(_) | Outcome::Silent if self.asked.unknown_onward.is_some() => {
                return Ok(self.for_nobody());
            }
            Outcome::Allowed(rules) => {
                if let Some(closed) = self.closed() {
                    return Ok(closed);
                }
                let reason = self.national_reason(&rules);
                return Ok(self.verdict(true, DecisionTier::Floor, rules, reason));
            }
            Outcome::Silent => {}
        }
        if let Some(closed) = self.closed() {
            return Ok(closed);
        }
        // 2. the place set
        if let Some(doubt) = self.doubt() {
            return Err(NoAnswer::Doubt(doubt.clone()));
        }
        let policies = self.place_set(local)?;
        Ok(match question.ask(&policies, &entities) {
            Outcome::Error(error) => return Err(error),
            Outcome::Forbidden(rules) => {
                let reason = local_reason(local, &rules);
                self.verdict(false, DecisionTier::Local, rules, reason)
            }
            Outcome::Allowed(rules) => {
                let (national, own): (Vec<String>, Vec<String>) =
                    rules.into_iter().partition(|rule| self.framework.rules.contains_key(rule));
                if national.is_empty() {
                    let reason = local_reason(local, &own);
                    self.verdict(true, DecisionTier::Local, own, reason)
                } else {
                    let reason = self.national_reason(&national);
                    self.verdict(true, DecisionTier::Agreement, national, reason)
                }
            }
            Outcome::Silent => self.nothing_permits(local, &question, &entities),
        })
    }

    /// A deny where what is asked for is for a body that is not known.
    fn for_nobody(&self) -> CandidateVerdict {
        let near_miss = self.asked.unknown_onward.as_deref().cloned();
        let mut verdict = self.verdict(
            false,
            DecisionTier::None,
            Vec::new(),
            near_miss.iter().map(|it| format!("{} is {}", it.clause, it.saw)).collect(),
        );
        verdict.near_miss = near_miss;
        verdict
    }

    /// The context that rules read: what the caller said, with the safe value for what it left out.
    pub(super) fn context(&self) -> Vec<(&'static str, Value)> {
        let RequestContext {
            purpose: _,         // resolved
            identifiability: _, // resolved
            roles,
            legitimate_relationship,
            explicit_consent,
            opt_outs_applied,
            min_cell_count,
            case_reference,
            break_glass,
            region,
            onward_to: _, // resolved
        } = self.asked.context;
        let is_table = match self.asked.action {
            DataAction::QueryAggregate => true,
            DataAction::Extract | DataAction::ShareOnward => {
                self.asked.identifiability == Identifiability::AggregateSuppressed
            }
            DataAction::ReadRecord | DataAction::Reidentify => false,
        };
        // no count is below zero: what says so is taken for the smallest that there is
        let smallest = min_cell_count.map_or(i64::from(is_table), |count| if count < 0 { 1 } else { count });
        AccessContext {
            agreement: &self.agreement.reference,
            framework: self.framework,
            now: self.now,
            purpose: self.asked.purpose,
            identifiability: self.asked.identifiability,
            roles: roles.iter().filter(|role| !is_blank(role)).cloned().collect(),
            legitimate_relationship: *legitimate_relationship,
            explicit_consent: *explicit_consent,
            opt_outs_applied: *opt_outs_applied,
            min_cell_count: smallest,
            case_reference: case_reference.clone().filter(|text| !is_blank(text)).unwrap_or_default(),
            break_glass: *break_glass,
            region: region.clone().filter(|text| !is_blank(text)).unwrap_or_else(|| "ZZ".to_owned()),
            onward_to: self.asked.onward,
        }
        .pairs()
    }

    /// A local policy that cannot be loaded and may forbid this.
    fn doubt(&self) -> Option<&PolicyInDoubt> {
        let (controller, recipient) = (&self.asked.product.spec.controller, &self.asked.function.org);
        let mut doubts = self.model.policies_in_doubt.iter();
        doubts.find(|doubt| doubt.binds(self.model, self.agreement, controller, recipient))
    }

    fn bar(&self) -> Result<Option<Bar>, NoAnswer> {
        let local = self.local_rules();
        let (question, entities, outcome) = self.national(&local)?;
        match outcome {
            Outcome::Error(_) | Outcome::Forbidden(_) => return Ok(Some(Bar::Ceiling)),
            // the floor: no place has a say
            Outcome::Allowed(_) => return Ok(None),
            Outcome::Silent => {}
        }
        if let Some(doubt) = self.doubt() {
            return Ok(Some(Bar::Place(doubt.into())));
        }
        let always = local.iter().filter(|rule| rule.forbids_whatever_is_said());
        let set = PolicySet::from_policies(always.map(|rule| rule.policy.clone()));
        let Outcome::Forbidden(rules) = question.ask(&set.map_err(NoAnswer::refused)?, &entities) else {
            return Ok(None);
        };
        let reason = local_reason(&local, &rules);
        Ok(rules.into_iter().next().map(|rule| Bar::Place(LocalWord { rule, reason, until: None })))
    }

    /// The local rules that bind here.
    pub(super) fn local_rules(&self) -> Vec<&LocalRule> {
        let (controller, recipient) = (&self.asked.product.spec.controller, &self.asked.function.org);
        self.policies
            .iter()
            .flat_map(|policy| policy.binding_rules(self.model, self.agreement, controller, recipient))
            .collect()
    }

    /// The local rules that match, whoever decides. Cedar names all permits that apply only where nothing forbids.
    fn matching_rules(&self) -> Result<BTreeSet<String>, NoAnswer> {
        let local = self.local_rules();
        let (question, entities, _) = self.national(&local)?;
        let mut matching = BTreeSet::new();
        for effect in [Effect::Permit, Effect::Forbid] {
            let rules = local.iter().map(|rule| &rule.policy).filter(|policy| policy.effect() == effect);
            let set = PolicySet::from_policies(rules.cloned()).map_err(NoAnswer::refused)?;
            match question.ask(&set, &entities) {
                Outcome::Allowed(rules) | Outcome::Forbidden(rules) => matching.extend(rules),
                Outcome::Silent => {}
                Outcome::Error(error) => return Err(error),
            }
        }
        Ok(matching)
    }

    /// The agreement permits with the local rules that bind here.
    fn place_set(&self, local: &[&LocalRule]) -> Result<PolicySet, NoAnswer> {
        let mut set = PolicySet::new();
        let local = local.iter().map(|rule| &rule.policy);
        for policy in self.framework.agreement.iter().chain(local) {
            set.add(policy.clone()).map_err(NoAnswer::refused)?;
        }
        Ok(set)
    }

    fn national_reason(&self, rules: &[String]) -> String {
        rules.first().map(|rule| self.framework.reason(rule).to_owned()).unwrap_or_default()
    }
}

fn local_reason(local: &[&LocalRule], rules: &[String]) -> String {
    let mut rules: Vec<&String> = rules.iter().collect();
    rules.sort_by(|a, b| rule_order(a, b));
    rules
        .first()
        .and_then(|id| local.iter().find(|rule| rule.id == **id))
        .map(|rule| rule.reason.clone())
        .unwrap_or_default()
}
