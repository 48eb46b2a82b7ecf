//! What would turn a denied request into an allowed one, found by doing it.
//!
//! Every change that is named has been made in a copy of the request or of the world, and the copy has been decided
//! again: what does not change the answer is not said. Nothing here takes part in a decision.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::{cmp::Reverse, mem};

use jiff::Timestamp;

use super::assess::assess;
use super::assessment::{Assessment, Assessments};
use super::broken_rule::BrokenRule;
use super::change::Change;
use super::clauses::{Clause, Demand};
use super::decide::{Candidate, Verdict, decide};
use super::entities::EntityStore;
use super::near_miss;
use super::resolve::ResolvedRequest;
use super::signing::Signing;
use super::step::Step;
use super::{names, rule_order};
use crate::model::{Agreement, Model};
use concordat_api::{AccessRequest, DecisionTier, NearMiss, NearMissStep, ObjectRef, OrgState, Phase};

/// How many copies are decided before it is said that nothing was found.
const MOST_TRIALS: usize = 240;

/// How many parties are assessed over all copies: an agreement of a thousand practices is not tried a hundred times.
const MOST_PARTIES: usize = 20_000;

/// How many changes may be needed together.
const MOST_CHANGES: usize = 6;

/// How many other ways are named beside the first.
const MOST_OTHERS: usize = 2;

/// Decides a request, and where it is denied finds what would allow it.
pub fn explain_request(
    model: &Model,
    assessments: &Assessments,
    request: &AccessRequest,
    now: Timestamp,
) -> Verdict {
    let mut verdict = decide(model, model.policies.values(), assessments, request, now);
    if verdict.answer.decision || verdict.is_in_doubt(model) {
        return verdict;
    }
    let Remedies { ways, obstacles } = search(World::around(model, request, now));
    let context = &mut verdict.answer.context;
    context.reason.push_str(&near_miss::misspelt(model, request));
    if context.tier == DecisionTier::None {
        context.reason.push_str(&left_out(model, request));
    }
    if let Some(over) = over(model, context.agreement.as_deref(), &context.rules, now) {
        context.reason.push_str(&format!("; {over}"));
    }
    let known = context.near_miss.take();
    let is_explained = known.is_some();
    let mut near = known.unwrap_or_else(|| NearMiss {
        agreement: context.agreement.clone(),
        rule: context.rule.clone(),
        clause: "the request".to_owned(),
        saw: "denied".to_owned(),
        wants: "another".to_owned(),
        who: near_miss::NO_CHANGE.to_owned(),
        then: Vec::new(),
        or: Vec::new(),
        obstacles: Vec::new(),
    });
    let mut ways = ways.into_iter();
    let way = ways.next();
    let is_known = way.is_some();
    let mut steps = way.into_iter().flatten();
    if let Some(Step { clause, saw, wants, who }) = steps.next() {
        (near.clause, near.saw, near.wants, near.who) = (clause, saw, wants, who);
    } else if let Some(obstacle) = obstacles.first().filter(|_| !is_explained) {
        // what was tried and does not help is not said
        near.clause.clone_from(obstacle);
        (near.saw, near.wants) = ("in the way".to_owned(), "out of the way".to_owned());
    }
    if is_known {
        near.then = steps.map(wire).collect();
        near.or = ways.map(|way| way.into_iter().map(wire).collect()).collect();
    } else {
        near.who = near_miss::NO_CHANGE.to_owned();
        near.obstacles = obstacles;
    }
    context.near_miss = Some(near);
    verdict
}

/// Why permits of the place do not count that may have been meant.
fn left_out(model: &Model, request: &AccessRequest) -> String {
    let Ok(asked) = ResolvedRequest::resolve(model, request) else { return String::new() };
    let controller = &asked.product.spec.controller;
    let policies =
        model.policies.values().filter_map(|policy| Some((policy, policy.left_out(model, controller)?)));
    let reasons =
        policies.map(|(policy, why)| format!("; the permits of `{}` do not count: {why}", policy.reference));
    reasons.collect()
}

pub(super) fn wire(Step { clause, saw, wants, who }: Step) -> NearMissStep {
    NearMissStep { clause, saw, wants, who }
}

/// What is said of an exception that lifted one of the rules, or will, and does not now.
fn over(model: &Model, agreement: Option<&str>, rules: &[String], now: Timestamp) -> Option<String> {
    let (namespace, name) = agreement?.split_once('/')?;
    let reference = ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() };
    let agreement = model.agreements.get(&reference)?;
    rules.iter().find_map(|rule| near_miss::exception_over(model, agreement, rule, now))
}

/// What a search came to.
struct Remedies {
    /// Each a set of changes that together allow the request, in the order in which they meet what is in the way.
    ways: Vec<Vec<Step>>,
    /// What is in the way, where no way was found.
    obstacles: Vec<String>,
}

/// A copy of the request, and of that part of the world that has to do with it.
#[derive(Clone)]
pub(super) struct World {
    pub(super) model: Model,
    pub(super) request: AccessRequest,
    pub(super) at: Timestamp,
}

impl World {
    /// The agreements that list the product, those that they replace or that replace them, and whom these name.
    fn around(model: &Model, request: &AccessRequest, at: Timestamp) -> Self {
        let mut model = model.clone();
        let product = request
            .resource
            .id
            .split_once('/')
            .map(|(namespace, name)| ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() });
        let lists = |agreement: &Agreement| {
            let mut products = agreement.spec.purposes.iter().flat_map(|purpose| &purpose.products);
            product.as_ref().is_none_or(|product| products.any(|listed| listed == product))
        };
        // where the product is misspelt, what it may have been is not known yet
        let known = product.as_ref().is_some_and(|product| model.products.contains_key(product));
        if known && ResolvedRequest::resolve(&model, request).is_ok() {
            let listed: BTreeSet<ObjectRef> =
                model.agreements.values().filter(|it| lists(it)).map(|it| it.reference.clone()).collect();
            let chain = |agreement: &Agreement| {
                let near = |other: &Option<ObjectRef>| other.as_ref().is_some_and(|it| listed.contains(it));
                listed.contains(&agreement.reference) || near(&agreement.spec.supersedes)
            };
            model.agreements.retain(|_, agreement| chain(agreement));
            let mut orgs: BTreeSet<String> =
                model.agreements.values().flat_map(Agreement::orgs).map(str::to_owned).collect();
            let products: BTreeSet<ObjectRef> = model
                .agreements
                .values()
                .flat_map(|agreement| agreement.spec.purposes.iter().flat_map(|purpose| &purpose.products))
                .cloned()
                .chain(product)
                .collect();
            model.products.retain(|reference, _| products.contains(reference));
            orgs.extend(model.products.values().map(|product| product.spec.controller.clone()));
            orgs.extend(model.agreements.values().flat_map(|it| it.spec.onward_sharing.to.iter().cloned()));
            orgs.extend(request.context.onward_to.clone());
            if let Ok(asked) = ResolvedRequest::resolve(&model, request) {
                orgs.insert(asked.function.org.clone());
            }
            model.orgs.retain(|name, _| orgs.contains(name));
        }
        Self { model, request: request.clone(), at }
    }

    fn parties(&self) -> usize {
        self.model.agreements.values().map(|agreement| agreement.signers.len()).sum::<usize>().max(1)
    }

    /// Decides the copy, and looks at what is in the way.
    fn look(&self) -> Look {
        let Self { model, request, at } = self;
        let store = Arc::new(EntityStore::new(model, *at));
        let assessments = assess(model, &store, *at, Signing::AsSigned);
        let verdict = decide(model, model.policies.values(), &assessments, request, *at);
        if verdict.answer.decision {
            return Look { allowed: true, ..Look::default() };
        }
        let mut look = Look::default();
        match ResolvedRequest::resolve(model, request) {
            Ok(asked) => look.candidates(self, &assessments, &asked),
            Err(miss) => {
                look.obstacle(format!("{} is {}", miss.clause, miss.saw));
                look.changes.extend(Change::of_names(self, &miss.clause));
            }
        }
        look
    }
}

/// What deciding a copy showed.
#[derive(Default)]
struct Look {
    allowed: bool,
    /// What is in the way, in the order of meeting it.
    obstacles: Vec<String>,
    /// What may help against some of that.
    changes: Vec<Change>,
}

impl Look {
    fn obstacle(&mut self, text: String) {
        if !self.obstacles.contains(&text) {
            self.obstacles.push(text);
        }
    }

    fn candidates(&mut self, world: &World, assessments: &Assessments, asked: &ResolvedRequest<'_>) {
        let listed = (asked.product.reference.clone(), asked.function.clone());
        let candidates = assessments.candidates.get(&listed);
        for reference in candidates.into_iter().flatten() {
            self.candidate(world, assessments, asked, reference);
        }
        if candidates.is_none() {
            self.no_candidate(world, assessments, asked);
        }
    }

    fn candidate(
        &mut self,
        world: &World,
        assessments: &Assessments,
        asked: &ResolvedRequest<'_>,
        reference: &ObjectRef,
    ) {
        let model = &world.model;
        let policies: Vec<_> = model.policies.values().collect();
        let found = model.agreements.get(reference).zip(assessments.agreements.get(reference));
        let Some((agreement, assessment)) = found else { return };
        let Some(framework) = model.frameworks.get(&agreement.spec.framework) else { return };
        let candidate = Candidate {
            model,
            policies: &policies,
            assessments,
            agreement,
            assessment,
            framework,
            asked,
            now: world.at,
        };
        let verdict = candidate.decide();
        let Ok((question, entities, _)) = candidate.national(&candidate.local_rules()) else {
            self.obstacle(format!("`{reference}`: {}", verdict.reason));
            return;
        };
        let mut demands: Vec<Demand> = Vec::new();
        let mut failing = |clauses: &[Clause]| {
            let failing: Vec<&Clause> =
                clauses.iter().filter(|clause| !clause.holds(&question, &entities)).collect();
            demands.extend(failing.iter().flat_map(|clause| clause.demands(&question, &entities)));
            failing.into_iter().map(|clause| clause.text.clone()).collect::<Vec<_>>()
        };
        let (controller, recipient) = (&asked.product.spec.controller, &asked.function.org);
        let mut rules = verdict.rules.clone();
        rules.sort_by(|a, b| rule_order(a, b));
        match verdict.tier {
            DecisionTier::Ceiling => {
                for rule in &rules {
                    let clauses = framework.clauses.get(rule).map(|clauses| clauses.as_slice());
                    failing(clauses.unwrap_or_default());
                    self.obstacle(format!("{rule} of `{reference}`: {}", framework.reason(rule)));
                }
            }
            DecisionTier::Local => {
                let local = policies
                    .iter()
                    .flat_map(|policy| policy.binding_rules(model, agreement, controller, recipient));
                for rule in local.filter(|rule| rules.contains(&rule.id)) {
                    failing(&rule.clauses);
                    self.obstacle(format!("{}: {}", rule.id, rule.reason));
                    self.changes.push(Change::WithoutLocalRule(rule.id.clone()));
                }
            }
            DecisionTier::None => {
                let national = framework.agreement.iter().filter_map(|policy| {
                    framework.clauses.get(&names::rule_id(policy)).map(|it| it.as_slice())
                });
                let local = policies
                    .iter()
                    .flat_map(|policy| policy.binding_rules(model, agreement, controller, recipient))
                    .map(|rule| rule.clauses.as_slice())
                    .filter(|clauses| {
                        let elsewhere =
                            |clause: &Clause| clause.names_agreement() && !clause.holds(&question, &entities);
                        !clauses.iter().any(elsewhere)
                    });
                for clauses in national.chain(local) {
                    for text in failing(clauses) {
                        self.obstacle(format!("`{reference}`: no permit, as not {text}"));
                    }
                }
                self.changes.push(Change::local_permit(asked, reference));
            }
            DecisionTier::Error | DecisionTier::Floor | DecisionTier::Agreement => {
                self.obstacle(format!("`{reference}`: {}", verdict.reason));
            }
        }
        for demand in demands {
            self.changes.extend(Change::of_demand(&demand, world, agreement, framework, asked));
        }
    }

    /// No agreement in force lists both: what keeps each that does from being in force, or the terms of those that list
    /// the product.
    fn no_candidate(&mut self, world: &World, assessments: &Assessments, asked: &ResolvedRequest<'_>) {
        let model = &world.model;
        let mut listed = false;
        for (reference, agreement) in &model.agreements {
            let purposes = agreement
                .spec
                .purposes
                .iter()
                .filter(|purpose| purpose.products.contains(&asked.product.reference));
            let mut recipients = purposes.clone().map(|purpose| agreement.recipients(purpose, &model.orgs));
            let Some(assessment) = assessments.agreements.get(reference) else { continue };
            if recipients.any(|recipients| recipients.contains(&asked.function)) {
                listed = true;
                self.not_in_force(world, agreement, assessment, asked);
            } else if let Some(purpose) = purposes.clone().find(|purpose| purpose.code == asked.purpose) {
                self.changes.push(Change::ListRecipient {
                    agreement: reference.clone(),
                    purpose: purpose.code.clone(),
                    function: asked.function.clone(),
                });
            }
        }
        if !listed {
            let (function, product) = (&asked.function, &asked.product.reference);
            self.obstacle(format!("no agreement that can be used lists `{function}` for `{product}`"));
        }
    }

    fn not_in_force(
        &mut self,
        world: &World,
        agreement: &Agreement,
        assessment: &Assessment,
        asked: &ResolvedRequest<'_>,
    ) {
        let reference = &agreement.reference;
        let ends = [asked.product.spec.controller.as_str(), asked.function.org.as_str()];
        self.obstacle(format!("`{reference}` is {}", assessment.phase.as_str()));
        match assessment.phase {
            Phase::Suspended => self.changes.push(Change::Resume(reference.clone())),
            Phase::Scheduled => self.changes.push(Change::Wait(agreement.spec.term.start)),
            Phase::AwaitingSignatures | Phase::Withdrawn => {
                for org in &assessment.signed.orgs {
                    let Some(found) = world.model.orgs.get(org) else { continue };
                    match found.state(world.at) {
                        OrgState::Active => {}
                        OrgState::Suspended => self.changes.push(Change::Reinstate(org.clone())),
                        state @ (OrgState::Dissolved | OrgState::Merged) => {
                            self.obstacle(format!("`{org}` is {}", state.as_str().to_lowercase()));
                        }
                    }
                }
                let missing = assessment.parties.keys().filter(|org| {
                    let signed = assessment.signed.orgs.contains(*org);
                    !signed && (assessment.phase == Phase::Withdrawn || !near_miss::is_out(assessment, org))
                });
                let missing: BTreeSet<String> = missing.cloned().collect();
                // with accession, who has a part in the path is enough
                let of_path = missing.iter().filter(|org| ends.contains(&org.as_str())).cloned();
                let of_path: BTreeSet<String> = of_path.filter(|_| agreement.spec.accession).collect();
                let missing = if of_path.is_empty() { missing } else { of_path };
                for broken in assessment.kept_out.iter().filter(|it| keeps_out(it, ends)) {
                    self.broken(world, agreement, broken);
                }
                if !missing.is_empty() {
                    self.changes.push(Change::Sign {
                        agreement: reference.clone(),
                        orgs: missing.clone(),
                        purpose: None,
                    });
                }
            }
            Phase::Refused => {
                for broken in &assessment.broken {
                    self.broken(world, agreement, broken);
                }
            }
            Phase::Terminating | Phase::Invalid | Phase::Superseded | Phase::Expired | Phase::Active => {}
        }
    }

    /// A rule of the gate that is in the way.
    fn broken(&mut self, world: &World, agreement: &Agreement, broken: &BrokenRule) {
        let about = broken.org.as_ref().map_or(String::new(), |org| format!(" for `{org}`"));
        self.obstacle(format!("{}{about} of `{}`: {}", broken.rule, agreement.reference, broken.reason));
        self.changes.extend(Change::of_broken(world, agreement, broken));
    }
}

/// Whether a rule that keeps a party out is about one end of a path.
fn keeps_out(broken: &BrokenRule, ends: [&str; 2]) -> bool {
    broken.org.as_deref().is_some_and(|org| ends.contains(&org))
}

/// A set of changes on the way.
struct State {
    changes: Vec<Change>,
    steps: Vec<Step>,
    /// What was in the way before the last change.
    before: BTreeSet<String>,
}

/// The cheapest sets of changes first: what the caller shows before what the parties sign.
fn search(world: World) -> Remedies {
    let mut states: BTreeMap<usize, State> = BTreeMap::new();
    let mut queue: BinaryHeap<Reverse<(u32, usize)>> = BinaryHeap::new();
    let mut tried: BTreeSet<Vec<Change>> = BTreeSet::new();
    let mut found: Vec<(Vec<Change>, Vec<Step>)> = Vec::new();
    let mut obstacles = Vec::new();
    states.insert(0, State { changes: Vec::new(), steps: Vec::new(), before: BTreeSet::new() });
    queue.push(Reverse((0, 0)));
    let (mut trials, mut number) = (0, 1);
    let most = MOST_TRIALS.min((MOST_PARTIES / world.parties()).max(12));
    while let Some(Reverse((cost, id))) = queue.pop() {
        let Some(State { changes, steps, before }) = states.remove(&id) else { continue };
        let includes = |(found, _): &(Vec<Change>, Vec<Step>)| found.iter().all(|it| changes.contains(it));
        if found.iter().any(includes) || found.first().is_some_and(|(way, _)| way.len() < changes.len()) {
            continue;
        }
        // of ways with several steps the first is enough to read
        let several = found.first().is_some_and(|(way, _)| way.len() > 1);
        if trials >= most || several || found.len() > MOST_OTHERS {
            break;
        }
        trials += 1;
        let mut copy = world.clone();
        changes.iter().for_each(|change| change.apply(&mut copy));
        let look = copy.look();
        if look.allowed {
            let (changes, steps) = needed(&world, changes, steps);
            found.push((changes, steps));
            continue;
        }
        let now: BTreeSet<String> = look.obstacles.iter().cloned().collect();
        if changes.is_empty() {
            obstacles = look.obstacles;
        } else if before.is_subset(&now) {
            // nothing that was in the way has gone
            continue;
        }
        if changes.len() >= MOST_CHANGES {
            continue;
        }
        for change in look.changes {
            let Some(step) = change.step(&copy) else { continue };
            let mut extended = changes.clone();
            extended.push(change);
            let mut key = extended.clone();
            key.sort();
            key.dedup();
            if key.len() != extended.len() || !tried.insert(key) {
                continue;
            }
            let mut further = steps.clone();
            further.push(step);
            let cost = cost + extended.last().map_or(0, Change::cost);
            states.insert(number, State { changes: extended, steps: further, before: now.clone() });
            queue.push(Reverse((cost, number)));
            number += 1;
        }
    }
    Remedies { ways: found.into_iter().map(|(_, steps)| steps).collect(), obstacles }
}

/// Without the changes that turn out not to be needed.
fn needed(world: &World, mut changes: Vec<Change>, mut steps: Vec<Step>) -> (Vec<Change>, Vec<Step>) {
    let mut index = 0;
    while changes.len() > 1 && index < changes.len() {
        let mut copy = world.clone();
        let others = changes.iter().enumerate().filter(|(other, _)| *other != index);
        others.for_each(|(_, change)| change.apply(&mut copy));
        if copy.look().allowed {
            mem::drop((changes.remove(index), steps.remove(index)));
        } else {
            index += 1;
        }
    }
    (changes, steps)
}
