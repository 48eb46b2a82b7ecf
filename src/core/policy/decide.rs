//! The access gate: one request, decided against the agreements in force that list its product and recipient.

use cedar_policy::{Effect, Entities, PolicySet};
use jiff::Timestamp;
use serde::Serialize;

use super::assess::{Assessment, Assessments};
use super::authorize::{Outcome, Question};
use super::clauses::{Clause, Seen, asker_says};
use super::context::AccessContext;
use super::entities::{self, Value};
use super::framework::Framework;
use super::{LocalPolicy, LocalRule, names, rule_order};
use crate::api::{
    AccessAnswer, AccessRequest, AnswerContext, DataAction, DecisionTier, Identifiability, NearMiss,
    ObjectRef, Phase, RequestContext, SubjectType,
};
use crate::core::model::{Agreement, FunctionRef, Model, Product};

/// The answer to a request, and what each candidate said.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub answer: AccessAnswer,
    pub candidates: Vec<CandidateVerdict>,
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
    reason: String,
    #[serde(skip)]
    near_miss: Option<NearMiss>,
}

/// Decides a request at `now`, under these local policies.
pub fn decide<'m>(
    model: &'m Model,
    policies: impl IntoIterator<Item = &'m LocalPolicy>,
    assessments: &Assessments,
    request: &AccessRequest,
    now: Timestamp,
) -> Verdict {
    let asked = match Asked::resolve(model, request) {
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

/// Whether the ceiling lets a request through under one agreement in force, whatever its place says.
pub(super) fn passes_ceiling(
    model: &Model,
    assessments: &Assessments,
    agreement: &Agreement,
    request: &AccessRequest,
    now: Timestamp,
) -> bool {
    let passes = || {
        let asked = Asked::resolve(model, request).ok()?;
        let listed = (asked.product.reference.clone(), asked.function.clone());
        assessments.candidates.get(&listed)?.get(&agreement.reference)?;
        let candidate = Candidate {
            model,
            policies: &[],
            assessments,
            agreement,
            assessment: assessments.agreements.get(&agreement.reference)?,
            framework: model.frameworks.get(&agreement.spec.framework)?,
            asked: &asked,
            now,
        };
        let (_, _, outcome) = candidate.national().ok()?;
        Some(matches!(outcome, Outcome::Allowed(_) | Outcome::Silent))
    };
    passes().unwrap_or(false)
}

/// Chooses the candidate that speaks for all: an error before anything, then what allows, then what denies.
fn conclude(mut verdicts: Vec<CandidateVerdict>) -> Verdict {
    let rank = |verdict: &CandidateVerdict| match (verdict.decision, verdict.tier) {
        (_, DecisionTier::Error) => 0,
        (true, DecisionTier::Floor) => 1,
        (true, DecisionTier::Agreement) => 2,
        (true, _) => 3,
        (false, DecisionTier::Local) => 4,
        (false, DecisionTier::None) => 5,
        (false, _) => 6,
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

/// A deny for want of any permit: tier None.
fn nothing_permits(near_miss: NearMiss) -> Verdict {
    let reason = format!(
        "nothing permits this: {} is {}, and has to be {}",
        near_miss.clause, near_miss.saw, near_miss.wants
    );
    let context = AnswerContext {
        tier: DecisionTier::None,
        rule: None,
        rules: Vec::new(),
        agreement: None,
        reason,
        near_miss: Some(near_miss),
    };
    Verdict { answer: AccessAnswer { decision: false, context }, candidates: Vec::new() }
}

/// A request whose names have been found.
struct Asked<'a> {
    function: FunctionRef,
    provides_care: bool,
    /// The workload's id, where a workload asks.
    workload: Option<&'a str>,
    action: DataAction,
    product: &'a Product,
    purpose: &'a str,
    identifiability: Identifiability,
    context: &'a RequestContext,
}

fn miss(clause: &str, saw: impl Into<String>, wants: impl Into<String>, who: &str) -> Box<NearMiss> {
    Box::new(NearMiss {
        agreement: None,
        rule: None,
        clause: clause.to_owned(),
        saw: saw.into(),
        wants: wants.into(),
        who: who.to_owned(),
    })
}

const CALLER: &str = "whoever asks: the enforcement point in front of the product";

impl<'a> Asked<'a> {
    fn resolve(model: &'a Model, request: &'a AccessRequest) -> Result<Self, Box<NearMiss>> {
        let AccessRequest { subject, action, resource, context } = request;
        let function = match subject.type_ {
            SubjectType::Workload => resolve_workload(model, &subject.id),
            SubjectType::OrgFunction => subject
                .id
                .split_once('/')
                .map(|(org, function)| FunctionRef { org: org.to_owned(), function: function.to_owned() }),
        };
        let found = function.and_then(|reference| {
            let provides_care = model.orgs.get(&reference.org)?.function(&reference.function)?.provides_care;
            Some((reference, provides_care))
        });
        let (function, provides_care) = found.ok_or_else(|| {
            let wants = match subject.type_ {
                SubjectType::Workload => {
                    "`cluster/namespace/serviceAccount` of a workload that one function has"
                }
                SubjectType::OrgFunction => "`org/function` of an organisation",
            };
            miss(
                "the subject",
                format!("`{}`, which nobody has", subject.id),
                wants,
                "the registry of the system",
            )
        })?;
        let known = DataAction::ALL.into_iter().find(|known| known.as_str() == action.name);
        let action = known.ok_or_else(|| {
            let names: Vec<String> = DataAction::ALL.iter().map(|action| format!("`{action}`")).collect();
            miss("the action", format!("`{}`", action.name), format!("one of {}", names.join(", ")), CALLER)
        })?;
        let product = (resource.type_ == "DataProduct")
            .then(|| resource.id.split_once('/'))
            .flatten()
            .and_then(|(namespace, name)| {
                model.products.get(&ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() })
            })
            .ok_or_else(|| {
                let saw = format!("`{}` `{}`, which does not exist", resource.type_, resource.id);
                miss("the resource", saw, "`DataProduct` and `namespace/name` of a product", CALLER)
            })?;
        let purpose = context
            .purpose
            .as_deref()
            .filter(|code| model.frameworks.values().any(|framework| framework.purpose(code).is_some()))
            .ok_or_else(|| {
                let saw = context.purpose.as_deref().filter(|code| !code.is_empty()).map_or_else(
                    || "left out".to_owned(),
                    |code| format!("`{code}`, which no framework lists"),
                );
                miss("the purpose", saw, "a purpose of the framework's vocabulary", CALLER)
            })?;
        let identifiability = context.identifiability.unwrap_or(Identifiability::Identifiable);
        let about_persons = matches!(action, DataAction::ReadRecord | DataAction::Reidentify);
        if about_persons && identifiability < Identifiability::Pseudonymised {
            let saw = format!("`{identifiability:?}` with `{action}`");
            return Err(miss(
                "the level",
                saw,
                "`Pseudonymised` or `Identifiable`, as a record is about a person",
                CALLER,
            ));
        }
        let workload = (subject.type_ == SubjectType::Workload).then_some(subject.id.as_str());
        Ok(Self { function, provides_care, workload, action, product, purpose, identifiability, context })
    }
}

fn resolve_workload(model: &Model, id: &str) -> Option<FunctionRef> {
    let mut parts = id.split('/');
    let (cluster, namespace, account) = (parts.next()?, parts.next()?, parts.next()?);
    // a claim that names no cluster or account means any, and no workload is without either
    if parts.next().is_some() || [cluster, namespace, account].contains(&"") {
        return None;
    }
    model.workloads.resolve(cluster, namespace, account).cloned()
}

/// The product and the function that a request is about, where the model has both.
pub(super) fn asked_flow(model: &Model, request: &AccessRequest) -> Option<(ObjectRef, FunctionRef)> {
    let Asked { product, function, .. } = Asked::resolve(model, request).ok()?;
    Some((product.reference.clone(), function))
}

/// The agreement that would be asked if it were not refused or superseded, where there is no other to ask.
pub(super) fn closed_agreement(
    model: &Model,
    assessments: &Assessments,
    request: &AccessRequest,
) -> Option<(String, Phase)> {
    let asked = Asked::resolve(model, request).ok()?;
    let listed = (asked.product.reference.clone(), asked.function.clone());
    if assessments.candidates.contains_key(&listed) {
        return None;
    }
    let near_miss = closest_agreement(model, assessments, &asked);
    closed(assessments, near_miss.agreement?)
}

/// An agreement with its phase, if it is refused or superseded.
pub(super) fn closed(assessments: &Assessments, reference: String) -> Option<(String, Phase)> {
    let (namespace, name) = reference.split_once('/')?;
    let found = ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() };
    let phase = assessments.agreements.get(&found)?.phase;
    matches!(phase, Phase::Refused | Phase::Superseded).then_some((reference, phase))
}

/// Why there is no candidate: the agreement that comes closest, and what keeps it from being one.
fn closest_agreement(model: &Model, assessments: &Assessments, asked: &Asked<'_>) -> Box<NearMiss> {
    let lists_product = |agreement: &Agreement| {
        agreement.spec.purposes.iter().any(|purpose| purpose.products.contains(&asked.product.reference))
    };
    let lists_both = |agreement: &Agreement| {
        agreement.spec.purposes.iter().any(|purpose| {
            purpose.products.contains(&asked.product.reference)
                && agreement.recipients(purpose, &model.orgs).contains(&asked.function)
        })
    };
    let both = assessments
        .agreements
        .iter()
        .filter(|(reference, _)| model.agreements.get(*reference).is_some_and(lists_both))
        .max_by_key(|(_, assessment)| assessment.phase);
    if let Some((reference, assessment)) = both {
        let mut near_miss = miss(
            "the agreement",
            format!("`{}`", assessment.phase.as_str()),
            "in force",
            who_moves(assessment.phase),
        );
        near_miss.agreement = Some(reference.to_string());
        return near_miss;
    }
    let product_only = model.agreements.values().find(|agreement| lists_product(agreement));
    let mut near_miss = miss(
        "the recipient",
        format!("`{}`, which no agreement lists for `{}`", asked.function, asked.product.reference),
        "a recipient in an agreement in force that lists this product",
        "the parties, in the terms of an agreement",
    );
    near_miss.agreement = product_only.map(|agreement| agreement.reference.to_string());
    near_miss
}

/// Who can bring an agreement in a phase nearer to being in force.
fn who_moves(phase: Phase) -> &'static str {
    match phase {
        Phase::AwaitingSignatures => "the parties that have not signed",
        Phase::Suspended => "whoever may write the agreement, by `spec.suspend: false`",
        Phase::Refused | Phase::Invalid => "whoever drafts the agreement",
        Phase::Expired | Phase::Superseded | Phase::Terminating => "the parties, by a new agreement",
        Phase::Withdrawn => "the parties that have withdrawn or declined, by signing",
        Phase::Scheduled => "nobody: it starts by itself",
        Phase::Active => "the parties",
    }
}

/// One agreement in force that lists the product and the recipient.
struct Candidate<'a> {
    model: &'a Model,
    policies: &'a [&'a LocalPolicy],
    assessments: &'a Assessments,
    agreement: &'a Agreement,
    assessment: &'a Assessment,
    framework: &'a Framework,
    asked: &'a Asked<'a>,
    now: Timestamp,
}

impl Candidate<'_> {
    fn decide(&self) -> CandidateVerdict {
        let outcome = self.evaluate();
        outcome.unwrap_or_else(|error| {
            self.verdict(
                false,
                DecisionTier::Error,
                Vec::new(),
                format!("denied because of an error: {error}"),
            )
        })
    }

    fn verdict(
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
        }
    }

    /// The question, and what the national set says to it: nothing below it is asked once it has spoken.
    fn national(&self) -> Result<(Question, Entities, Outcome), String> {
        let asked = self.asked;
        let entity = self.assessment.entity.as_ref().ok_or(entities::UNWRITABLE)?;
        let (principal_uid, principal) = match asked.workload {
            Some(id) => (names::workload(id), entities::workload(id, &asked.function, asked.provides_care)),
            None => (names::function(&asked.function), None),
        };
        let entities = self.assessments.store.access_slice(
            principal,
            &asked.function,
            &asked.product.reference,
            &asked.product.spec.controller,
            entity,
            asked.context.onward_to.as_deref(),
        )?;
        let question = Question::new(
            principal_uid,
            names::action(asked.action),
            names::product(&asked.product.reference),
            self.context(),
        )?;
        let outcome = question.ask(&self.framework.national_without(&self.assessment.lifted), &entities);
        Ok((question, entities, outcome))
    }

    fn evaluate(&self) -> Result<CandidateVerdict, String> {
        // 1. the national set
        let (question, entities, outcome) = self.national()?;
        match outcome {
            Outcome::Error(error) => return Err(error),
            Outcome::Forbidden(rules) => {
                let reason = self.national_reason(&rules);
                let near_miss = self.way_out(&rules, &question, &entities);
                let mut verdict = self.verdict(false, DecisionTier::Ceiling, rules, reason);
                verdict.near_miss = near_miss;
                return Ok(verdict);
            }
            Outcome::Allowed(rules) => {
                let reason = self.national_reason(&rules);
                return Ok(self.verdict(true, DecisionTier::Floor, rules, reason));
            }
            Outcome::Silent => {}
        }
        // 2. the place set
        let (policies, local) = self.place_set()?;
        Ok(match question.ask(&policies, &entities) {
            Outcome::Error(error) => return Err(error),
            Outcome::Forbidden(rules) => {
                let reason = local_reason(&local, &rules);
                self.verdict(false, DecisionTier::Local, rules, reason)
            }
            Outcome::Allowed(rules) => {
                let (national, own): (Vec<String>, Vec<String>) =
                    rules.into_iter().partition(|rule| self.framework.rules.contains_key(rule));
                if national.is_empty() {
                    let reason = local_reason(&local, &own);
                    self.verdict(true, DecisionTier::Local, own, reason)
                } else {
                    let reason = self.national_reason(&national);
                    self.verdict(true, DecisionTier::Agreement, national, reason)
                }
            }
            Outcome::Silent => self.nothing_permits(&local, &question, &entities),
        })
    }

    /// The context that rules read: what the caller said, with the safe value for what it left out.
    fn context(&self) -> Vec<(&'static str, Value)> {
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
            onward_to,
        } = self.asked.context;
        let is_table = self.asked.action == DataAction::QueryAggregate;
        // no count is below zero: what says so is taken for the smallest that there is
        let smallest = min_cell_count.map_or(i64::from(is_table), |count| if count < 0 { 1 } else { count });
        AccessContext {
            agreement: &self.agreement.reference,
            framework: self.framework,
            now: self.now,
            purpose: self.asked.purpose,
            identifiability: self.asked.identifiability,
            roles: roles.clone(),
            legitimate_relationship: *legitimate_relationship,
            explicit_consent: *explicit_consent,
            opt_outs_applied: *opt_outs_applied,
            min_cell_count: smallest,
            case_reference: case_reference.clone().unwrap_or_default(),
            break_glass: *break_glass,
            region: region.clone().unwrap_or_else(|| "ZZ".to_owned()),
            onward_to: onward_to.as_deref(),
        }
        .pairs()
    }

    /// The agreement permits with the local rules that bind here.
    fn place_set(&self) -> Result<(PolicySet, Vec<&LocalRule>), String> {
        let mut set = PolicySet::new();
        for policy in &self.framework.agreement {
            set.add(policy.clone()).map_err(|error| error.to_string())?;
        }
        let (controller, recipient) = (&self.asked.product.spec.controller, &self.asked.function.org);
        let local: Vec<&LocalRule> = self
            .policies
            .iter()
            .flat_map(|policy| policy.binding_rules(self.model, self.agreement, controller, recipient))
            .collect();
        for rule in &local {
            set.add(rule.policy.clone()).map_err(|error| error.to_string())?;
        }
        Ok((set, local))
    }

    fn national_reason(&self, rules: &[String]) -> String {
        rules.first().map(|rule| self.framework.reason(rule).to_owned()).unwrap_or_default()
    }

    /// What would have kept the first guardrail that fired from firing.
    fn way_out(&self, rules: &[String], question: &Question, entities: &Entities) -> Option<NearMiss> {
        let rule = rules.first()?;
        let clauses = self.framework.clauses.get(rule)?;
        let Seen { subject, saw, wants } =
            clauses.iter().find(|clause| !clause.holds(question, entities))?.seen(question, entities);
        Some(NearMiss {
            agreement: Some(self.agreement.reference.to_string()),
            rule: Some(rule.clone()),
            who: who_says(&subject).to_owned(),
            clause: subject,
            saw,
            wants,
        })
    }

    /// No permit: the one that came closest, and every clause of it that failed. A local permit for another agreement
    /// is not close.
    fn nothing_permits(
        &self,
        local: &[&LocalRule],
        question: &Question,
        entities: &Entities,
    ) -> CandidateVerdict {
        let failing = |clauses: &[Clause]| -> Option<Vec<Seen>> {
            let failing: Vec<&Clause> =
                clauses.iter().filter(|clause| !clause.holds(question, entities)).collect();
            let elsewhere = failing.iter().any(|clause| clause.names_agreement());
            (!elsewhere).then(|| failing.iter().map(|clause| clause.seen(question, entities)).collect())
        };
        let national = self.framework.agreement.iter().filter_map(|policy| {
            let id = policy.id().to_string();
            let failing = failing(self.framework.clauses.get(&id)?)?;
            Some(Permit { id, local: false, failing })
        });
        let own: Vec<Permit> = local
            .iter()
            .filter(|rule| rule.policy.effect() == Effect::Permit)
            .filter_map(|rule| {
                Some(Permit { id: rule.id.clone(), local: true, failing: failing(&rule.clauses)? })
            })
            .collect();
        let permits = own.len();
        // of equals the first: the terms before the place's rules
        let nearest = national.chain(own).filter(|permit| !permit.failing.is_empty());
        let Some(Permit { id, local, failing }) = nearest.min_by_key(Permit::distance) else {
            let mut near_miss = *miss(
                "a permit",
                "none that is about this agreement",
                "one that applies",
                "the place, with a local permit",
            );
            near_miss.agreement = Some(self.agreement.reference.to_string());
            return self.silent("nothing permits this".to_owned(), near_miss);
        };
        let also = match permits {
            _ if local => String::new(),
            0 => String::new(),
            1 => ", and the one local permit here does not apply".to_owned(),
            several => format!(", and none of the {several} local permits here applies"),
        };
        let sentences: Vec<String> = failing.iter().map(Seen::sentence).collect();
        let reason = format!("nothing permits this: {}{also}", sentences.join("; "));
        let Some(Seen { subject, saw, wants }) = failing.into_iter().next() else {
            return self.verdict(false, DecisionTier::None, Vec::new(), reason);
        };
        let says = who_says(&subject);
        let who = match (local, subject.as_str()) {
            (false, "context.roles") => {
                "the parties, in `purposes[].roles`; or the place, with a local permit".to_owned()
            }
            (false, _) => format!("{says}; or the parties, in the terms of the agreement"),
            (true, _) => {
                let policy = id.split_once('#').map_or(id.as_str(), |(policy, _)| policy);
                let place = format!("the place, in local policy `{policy}`");
                if asker_says(&subject) { format!("{says}; or {place}") } else { place }
            }
        };
        let near_miss = NearMiss {
            agreement: Some(self.agreement.reference.to_string()),
            rule: Some(id),
            clause: subject,
            saw,
            wants,
            who,
        };
        self.silent(reason, near_miss)
    }

    fn silent(&self, reason: String, near_miss: NearMiss) -> CandidateVerdict {
        let mut verdict = self.verdict(false, DecisionTier::None, Vec::new(), reason);
        verdict.near_miss = Some(near_miss);
        verdict
    }
}

/// A permit that does not apply, and which of its clauses fail.
struct Permit {
    id: String,
    local: bool,
    failing: Vec<Seen>,
}

impl Permit {
    fn distance(&self) -> usize {
        self.failing.iter().map(Seen::distance).sum()
    }
}

/// Who says what a clause looked at.
fn who_says(subject: &str) -> &'static str {
    if subject.starts_with("context.agreement") {
        "the parties, in the terms of the agreement"
    } else if subject.starts_with("context.now") {
        "nobody: it is a matter of time"
    } else if subject.starts_with("principal") {
        "the organisation that asks, in its PartnerOrg"
    } else if subject.starts_with("resource") {
        "the controller, in its DataProduct"
    } else {
        CALLER
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
