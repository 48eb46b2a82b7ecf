//! Local permits that can never take effect, and the national rules that see to it.
//!
//! Found by asking: each purpose, product, recipient function and action that the named agreement lists, at each level,
//! with every value of what the permit reads. It tells how things stand at this moment, every signature taken as given.
//! It says nothing of a permit about workloads by name or about the time of day, nor where there is too much to ask.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, Entities, PolicySet};
use jiff::Timestamp;
use serde_json::Value as Json;

use super::authorize::{Outcome, Question};
use super::context::AccessContext;
use super::entities::{self, EntityStore, Signed, Value};
use super::exceptions::{About, Lifts};
use super::framework::Framework;
use super::load::Rule;
use super::{lint, names, rule_order};
use crate::api::{DataAction, Identifiability, ObjectRef, Purpose};
use crate::core::model::{Agreement, FunctionRef, Model, Product};

/// How many questions are asked of one permit.
const MOST_QUESTIONS: usize = 20_000;
/// More than any count that hides anything.
const LARGE: i64 = 1_000_000;

/// Why a permit has no effect, and what would help.
pub(super) struct NoEffect {
    pub(super) message: String,
    pub(super) help: String,
}

/// Why a rule of a local policy for `footprint` can never take effect; none where it can, or where that is not seen.
pub(super) fn no_effect(
    model: &Model,
    store: &EntityStore,
    footprint: &str,
    rule: &Rule,
    now: Timestamp,
) -> Option<NoEffect> {
    if rule.policy.effect() != Effect::Permit {
        return None;
    }
    let named = lint::agreements(&rule.json);
    let mut agreements = named
        .iter()
        .filter_map(|id| id.split_once('/'))
        .map(|(namespace, name)| ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() });
    let reference = agreements.next()?;
    if let Some(other) = agreements.next() {
        return Some(NoEffect {
            message: format!("it asks for the agreements `{reference}` and `{other}` at once"),
            help: "write a permit for each agreement".to_owned(),
        });
    }
    let agreement = model.agreements.get(&reference)?;
    let framework = model.frameworks.get(&agreement.spec.framework)?;
    let (spec, ends) = (&agreement.spec, agreement.ends());
    if ends <= now {
        return Some(NoEffect {
            message: format!("`{reference}` ended on {ends}, and no rule is asked about it any more"),
            help: "write it for the agreement that takes its place".to_owned(),
        });
    }
    let own = |product: &Product| model.org_lies_in(&product.spec.controller, footprint);
    let listed = spec.purposes.iter().flat_map(|purpose| &purpose.products);
    if !listed.filter_map(|product| model.products.get(product)).any(own) {
        return Some(NoEffect {
            message: format!("no product of `{reference}` has its controller in `{footprint}`"),
            help: "a place opens its own data: ask the place of the controller for this permit".to_owned(),
        });
    }
    let mut alone = PolicySet::new();
    alone.add(rule.policy.clone()).ok()?;
    let signed = Signed {
        orgs: agreement.orgs().into_iter().map(str::to_owned).collect(),
        by_purpose: spec
            .purposes
            .iter()
            .map(|purpose| (purpose.code.clone(), agreement.orgs().into_iter().map(str::to_owned).collect()))
            .collect(),
    };
    let entity = entities::agreement(model, agreement, &signed)?;
    let lifts = Lifts::new(model, agreement, framework, &signed);
    let reads = Reads::new(&rule.json);
    let mut tried = Tried::default();
    // first what guardrails like best, which as a rule ends the search; then everything
    for thorough in [false, true] {
        for purpose in &spec.purposes {
            let products = purpose.products.iter().filter_map(|product| model.products.get(product));
            for product in products.filter(|product| own(product)) {
                for recipient in agreement.recipients(purpose, &model.orgs) {
                    let to = &spec.onward_sharing.to;
                    let controller = &product.spec.controller;
                    let onward = to.first().map(String::as_str);
                    let named = framework.literals.iter().chain(&*rule.literals).cloned();
                    let asking = names::function(&recipient);
                    let entities =
                        store.access_slice(&asking, &product.reference, &entity, onward, named).ok()?;
                    let about = About::Path { controller, recipient: &recipient.org };
                    let national = framework.national_without(&lifts.lifted(about, now));
                    let question = Questions {
                        agreement,
                        framework,
                        purpose,
                        product,
                        recipient: &recipient,
                        onward,
                        now,
                    };
                    for context in question.contexts(&reads, thorough) {
                        if !tried.ask(&question, context, &alone, &national, &entities)? {
                            return None;
                        }
                    }
                }
            }
        }
    }
    tried.conclude(&reference, &reads)
}

/// What came of the questions.
#[derive(Default)]
struct Tried {
    asked: usize,
    /// How often the permit applied, and how often each guardrail denied it then.
    applied: usize,
    denied: BTreeMap<String, usize>,
}

impl Tried {
    /// Whether to go on: not once the permit takes effect. None where nothing can be said.
    fn ask(
        &mut self,
        question: &Questions<'_>,
        (action, context): (DataAction, Vec<(&'static str, Value)>),
        alone: &PolicySet,
        national: &PolicySet,
        entities: &Entities,
    ) -> Option<bool> {
        self.asked += 1;
        if self.asked > MOST_QUESTIONS {
            return None;
        }
        let question = Question::new(
            names::function(question.recipient),
            names::action(action),
            names::product(&question.product.reference),
            context,
        )
        .ok()?;
        match question.ask(alone, entities) {
            Outcome::Allowed(_) => self.applied += 1,
            Outcome::Forbidden(_) | Outcome::Silent => return Some(true),
            Outcome::Error(_) => return None,
        }
        match question.ask(national, entities) {
            Outcome::Forbidden(rules) => {
                for rule in rules {
                    *self.denied.entry(rule).or_default() += 1;
                }
                Some(true)
            }
            Outcome::Allowed(_) | Outcome::Silent => Some(false),
            Outcome::Error(_) => None,
        }
    }

    fn conclude(self, reference: &ObjectRef, reads: &Reads) -> Option<NoEffect> {
        let Self { asked: _, applied, denied } = self;
        if applied == 0 {
            return (!reads.more_than_is_tried).then(|| NoEffect {
                message: format!("it applies to nothing that `{reference}` lists"),
                help: "compare its conditions with the purposes, recipients and actions of the agreement"
                    .to_owned(),
            });
        }
        if reads.context.contains("now") {
            return None;
        }
        let mut always: Vec<&str> =
            denied.iter().filter(|(_, times)| **times == applied).map(|(rule, _)| rule.as_str()).collect();
        let every = always.is_empty();
        if every {
            always = denied.keys().map(String::as_str).collect();
        }
        always.sort_by(|a, b| rule_order(a, b));
        let which = if every { "one or another of " } else { "" };
        Some(NoEffect {
            message: format!(
                "whatever it permits under `{reference}` is denied by {which}{}",
                always.join(", ")
            ),
            help: "no local rule lifts a national one: narrow the permit to what they leave, or take it out"
                .to_owned(),
        })
    }
}

/// What a permit reads, and the texts and numbers that it compares with.
struct Reads {
    /// Attributes of the context.
    context: BTreeSet<String>,
    texts: BTreeSet<String>,
    numbers: BTreeSet<i64>,
    /// Whether it reads what is not tried with every value.
    more_than_is_tried: bool,
}

impl Reads {
    fn new(rule: &Json) -> Self {
        let mut reads = Self {
            context: BTreeSet::new(),
            texts: BTreeSet::new(),
            numbers: BTreeSet::new(),
            more_than_is_tried: false,
        };
        reads.look(rule);
        reads.more_than_is_tried |= reads.context.contains("now");
        reads
    }

    fn look(&mut self, body: &Json) {
        match body {
            Json::Object(fields) => {
                let access = fields.get(".").or_else(|| fields.get("has"));
                if let Some(access) = access
                    && access.get("left").and_then(|left| left.get("Var")).and_then(Json::as_str)
                        == Some("context")
                    && let Some(name) = access.get("attr").and_then(Json::as_str)
                {
                    self.context.insert(name.to_owned());
                }
                let entity_type =
                    fields.get("type").or_else(|| fields.get("entity_type")).and_then(Json::as_str);
                self.more_than_is_tried |=
                    fields.contains_key("like") || entity_type == Some("Concordat::Workload");
                match fields.get("Value") {
                    Some(Json::String(text)) => {
                        self.texts.insert(text.clone());
                    }
                    Some(Json::Number(number)) => self.numbers.extend(number.as_i64()),
                    _ => {}
                }
                fields.values().for_each(|value| self.look(value));
            }
            Json::Array(items) => items.iter().for_each(|value| self.look(value)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    /// Both truths of what is read, and otherwise the one that guardrails like.
    fn truths(&self, name: &str, liked: bool, thorough: bool) -> Vec<bool> {
        if thorough || self.context.contains(name) { vec![liked, !liked] } else { vec![liked] }
    }

    fn words(&self, name: &str, liked: &str, other: &str, thorough: bool) -> BTreeSet<String> {
        let mut words = BTreeSet::from([liked.to_owned()]);
        if self.context.contains(name) {
            words.extend(self.texts.iter().cloned());
        }
        if thorough || self.context.contains(name) {
            words.insert(other.to_owned());
        }
        words
    }
}

/// The questions about one purpose, product and recipient.
struct Questions<'a> {
    agreement: &'a Agreement,
    framework: &'a Framework,
    purpose: &'a Purpose,
    product: &'a Product,
    recipient: &'a FunctionRef,
    onward: Option<&'a str>,
    now: Timestamp,
}

type Asked = (DataAction, Vec<(&'static str, Value)>);

impl Questions<'_> {
    fn contexts<'s>(&'s self, reads: &'s Reads, thorough: bool) -> impl Iterator<Item = Asked> + 's {
        let levels = [
            Identifiability::AggregateSuppressed,
            Identifiability::AggregateSmallNumbers,
            Identifiability::Pseudonymised,
            Identifiability::Identifiable,
        ];
        let actions = self.purpose.actions.iter().copied();
        let heads = actions.flat_map(move |action| levels.map(move |level| (action, level)));
        let about_persons = |action| matches!(action, DataAction::ReadRecord | DataAction::Reidentify);
        heads
            .filter(move |(action, level)| {
                !about_persons(*action) || *level >= Identifiability::Pseudonymised
            })
            .flat_map(move |(action, level)| {
                self.rest(action, reads, thorough).map(move |rest| (action, self.context(level, rest)))
            })
    }

    /// Everything but action and level.
    fn rest<'s>(
        &'s self,
        action: DataAction,
        reads: &'s Reads,
        thorough: bool,
    ) -> impl Iterator<Item = Rest> + 's {
        let mut counts = BTreeSet::from([if action == DataAction::QueryAggregate { LARGE } else { 0 }]);
        if reads.context.contains("minCellCount") {
            counts.extend([0, LARGE]);
            counts.extend(reads.numbers.iter().flat_map(|number| {
                // one may be as large as a number can be
                [number.saturating_sub(1), *number, number.saturating_add(1)]
            }));
            counts.retain(|count| *count >= 0);
        }
        let known = self.framework.spec.vocabulary.roles.iter().chain(self.purpose.roles.iter().flatten());
        let all: BTreeSet<String> = known.chain(&reads.texts).cloned().collect();
        let roles = if reads.context.contains("roles") { vec![all, BTreeSet::new()] } else { vec![all] };
        let references = reads.words("caseReference", "CASE-1", "", thorough);
        let regions = reads.words("region", "GB", "ZZ", false);
        let mut rests = Vec::new();
        for relationship in reads.truths("legitimateRelationship", true, thorough) {
            for consent in reads.truths("explicitConsent", true, thorough) {
                for opt_outs in reads.truths("optOutsApplied", true, thorough) {
                    for break_glass in reads.truths("breakGlass", false, thorough) {
                        rests.push([relationship, consent, opt_outs, break_glass]);
                    }
                }
            }
        }
        rests.into_iter().flat_map(move |truths| {
            let (roles, references, regions) = (roles.clone(), references.clone(), regions.clone());
            counts.clone().into_iter().flat_map(move |count| {
                let (references, regions) = (references.clone(), regions.clone());
                roles.clone().into_iter().flat_map(move |roles| {
                    let regions = regions.clone();
                    references.clone().into_iter().flat_map(move |reference| {
                        let roles = roles.clone();
                        regions.clone().into_iter().map(move |region| Rest {
                            truths,
                            count,
                            roles: roles.clone(),
                            reference: reference.clone(),
                            region,
                        })
                    })
                })
            })
        })
    }

    fn context(&self, level: Identifiability, rest: Rest) -> Vec<(&'static str, Value)> {
        let Rest { truths: [relationship, consent, opt_outs, break_glass], count, roles, reference, region } =
            rest;
        AccessContext {
            agreement: &self.agreement.reference,
            framework: self.framework,
            now: self.now,
            purpose: &self.purpose.code,
            identifiability: level,
            roles: roles.into_iter().collect(),
            legitimate_relationship: relationship,
            explicit_consent: consent,
            opt_outs_applied: opt_outs,
            min_cell_count: count,
            case_reference: reference,
            break_glass,
            region,
            onward_to: self.onward,
        }
        .pairs()
    }
}

/// What a question holds beside action and level.
struct Rest {
    /// Legitimate relationship, explicit consent, opt-outs applied, break-glass.
    truths: [bool; 4],
    count: i64,
    roles: BTreeSet<String>,
    reference: String,
    region: String,
}
