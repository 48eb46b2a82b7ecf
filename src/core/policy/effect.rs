//! Local permits that can never take effect, and the national rules that see to it.
//!
//! Found by asking: each purpose, product, recipient function and action that the named agreement lists, at each level,
//! with every value of what the permit reads that its conditions leave. It says how things are at this moment, every
//! signature taken as given. It says nothing of a permit about workloads by name or about the time of day, nor where
//! there is too much to ask: a text has a number of questions, whatever it says.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, Entities, PolicySet};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::authorize::{Outcome, Question};
use super::clauses::{conjuncts, path};
use super::constant;
use super::context::AccessContext;
use super::entities::{self, EntityStore, Signed};
use super::exceptions::{About, Lifts};
use super::framework::Framework;
use super::load::Rule;
use super::{lint, names, rule_order};
use crate::model::{Agreement, FunctionRef, Model, Product};
use concordat_api::{DataAction, Identifiability, ObjectRef};

/// How many questions are asked about all permits of one text.
const MOST_QUESTIONS: usize = 2_000;
/// More than any count that hides anything.
const LARGE: i64 = 1_000_000;

/// Why a permit has no effect, and what would help.
pub(super) struct NoEffect {
    pub(super) message: String,
    pub(super) help: String,
}

/// The questions that are left for a text.
#[derive(Debug)]
pub(super) struct Questions(usize);

impl Default for Questions {
    fn default() -> Self {
        Self(MOST_QUESTIONS)
    }
}

impl Questions {
    /// None where there are none left.
    fn take(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

/// Why a rule of a local policy for `footprint` can never take effect; none where it can, or where that is not seen.
pub(super) fn no_effect(
    model: &Model,
    store: &EntityStore,
    footprint: &str,
    rule: &Rule,
    now: Timestamp,
    questions: &mut Questions,
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
    let reads = Reads::new(&rule.json, agreement, framework);
    let choices = reads.choices(questions)?;
    if choices.are_none() {
        return reads.applies_to_nothing(&reference);
    }
    let asking = Asking { model, store, footprint, agreement, framework, now };
    asking.ask(rule, &reads, &choices, questions)?
}

/// What a permit reads, and what it can be.
struct Reads {
    /// Attributes of the context.
    context: BTreeSet<String>,
    texts: BTreeSet<String>,
    numbers: BTreeSet<i64>,
    /// Whether it reads what is not tried with every value.
    more_than_is_tried: bool,
    /// What has to hold for the permit to apply, one by one.
    conditions: Vec<Json>,
    /// The roles of the vocabulary, of the agreement and of the permit.
    roles: BTreeSet<String>,
}

impl Reads {
    fn new(rule: &Json, agreement: &Agreement, framework: &Framework) -> Self {
        let own = agreement.spec.purposes.iter().filter_map(|purpose| purpose.roles.as_ref()).flatten();
        let mut reads = Self {
            context: BTreeSet::new(),
            texts: BTreeSet::new(),
            numbers: BTreeSet::new(),
            more_than_is_tried: false,
            conditions: conditions(rule),
            roles: framework.spec.vocabulary.roles.iter().chain(own).cloned().collect(),
        };
        reads.look(rule);
        let clock = ["now", "weekday", "localMinute"];
        reads.more_than_is_tried |= clock.iter().any(|name| reads.context.contains(*name));
        reads.roles.extend(reads.texts.iter().cloned());
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

    /// The values that each attribute is tried with: those that the conditions about it alone leave.
    fn choices(&self, questions: &mut Questions) -> Option<Choices> {
        let reads = |name: &str| self.context.contains(name);
        let truths = |name: &str, liked: bool| if reads(name) { vec![liked, !liked] } else { vec![liked] };
        let words = |name: &str, liked: &str, other: &str| {
            let mut words = vec![liked.to_owned()];
            if reads(name) {
                words.extend([other.to_owned()].into_iter().chain(self.texts.iter().cloned()));
            }
            words
        };
        let mut counts = vec![0, LARGE];
        if reads("minCellCount") {
            // one may be as large as a number can be
            let near = |number: &i64| [number.saturating_sub(1), *number, number.saturating_add(1)];
            counts.extend(self.numbers.iter().flat_map(near).filter(|count| *count >= 0));
            counts.sort_unstable();
            counts.dedup();
        }
        let mut roles = vec![self.roles.iter().cloned().collect::<Vec<_>>()];
        if reads("roles") {
            roles.push(Vec::new());
        }
        let mut left = |name: &str, value: Json| -> Option<bool> {
            if !reads(name) {
                return Some(true);
            }
            for condition in &self.conditions {
                if alone(condition, name) {
                    questions.take()?;
                    if constant::holds(&with(condition, name, &value)) == Some(false) {
                        return Some(false);
                    }
                }
            }
            Some(true)
        };
        Some(Choices {
            levels: kept(LEVELS.to_vec(), |level| left("identifiability", literal(level.rank())))?,
            counts: kept(counts, |count| left("minCellCount", literal(*count)))?,
            roles: kept(roles, |roles| {
                let texts: Vec<Json> = roles.iter().map(|role| literal(role.as_str())).collect();
                left("roles", json!({ "Set": texts }))
            })?,
            references: kept(words("caseReference", "CASE-1", ""), |text| {
                left("caseReference", literal(text.as_str()))
            })?,
            regions: kept(words("region", "GB", "ZZ"), |text| left("region", literal(text.as_str())))?,
            relationship: kept(truths("legitimateRelationship", true), |it| {
                left("legitimateRelationship", literal(*it))
            })?,
            consent: kept(truths("explicitConsent", true), |it| left("explicitConsent", literal(*it)))?,
            opt_outs: kept(truths("optOutsApplied", true), |it| left("optOutsApplied", literal(*it)))?,
            break_glass: kept(truths("breakGlass", false), |it| left("breakGlass", literal(*it)))?,
        })
    }

    fn applies_to_nothing(&self, reference: &ObjectRef) -> Option<NoEffect> {
        (!self.more_than_is_tried).then(|| NoEffect {
            message: format!("it applies to nothing that `{reference}` lists"),
            help: "compare its conditions with the purposes, recipients and actions of the agreement"
                .to_owned(),
        })
    }
}

const LEVELS: [Identifiability; 4] = [
    Identifiability::AggregateSuppressed,
    Identifiability::AggregateSmallNumbers,
    Identifiability::Pseudonymised,
    Identifiability::Identifiable,
];

fn literal(value: impl Into<Json>) -> Json {
    json!({ "Value": value.into() })
}

/// The values that are kept; none where that cannot be said of one.
fn kept<T>(values: Vec<T>, mut keep: impl FnMut(&T) -> Option<bool>) -> Option<Vec<T>> {
    let mut left = Vec::new();
    for value in values {
        if keep(&value)? {
            left.push(value);
        }
    }
    Some(left)
}

/// Everything that has to hold for a rule to apply.
fn conditions(rule: &Json) -> Vec<Json> {
    let conditions = rule.get("conditions").and_then(Json::as_array).into_iter().flatten();
    conditions
        .filter_map(|condition| {
            let body = condition.get("body")?;
            let when = condition.get("kind").and_then(Json::as_str) == Some("when");
            Some(if when {
                conjuncts(body).into_iter().cloned().collect()
            } else {
                vec![json!({ "!": { "arg": body } })]
            })
        })
        .flatten()
        .collect()
}

/// Whether a condition reads one attribute of the context and nothing else.
fn alone(condition: &Json, name: &str) -> bool {
    fn look(body: &Json, attribute: &str, found: &mut bool) -> bool {
        if path(body).as_deref() == Some(attribute) {
            *found = true;
            return true;
        }
        match body {
            Json::Object(fields) => {
                !fields.contains_key("Var") && fields.values().all(|value| look(value, attribute, found))
            }
            Json::Array(items) => items.iter().all(|value| look(value, attribute, found)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => true,
        }
    }
    let mut found = false;
    look(condition, &format!("context.{name}"), &mut found) && found
}

/// A condition with a value in place of an attribute of the context.
fn with(condition: &Json, name: &str, value: &Json) -> Json {
    if path(condition).is_some_and(|path| path.strip_prefix("context.") == Some(name)) {
        return value.clone();
    }
    match condition {
        Json::Object(fields) => {
            fields.iter().map(|(key, field)| (key.clone(), with(field, name, value))).collect()
        }
        Json::Array(items) => items.iter().map(|item| with(item, name, value)).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => condition.clone(),
    }
}

/// What each attribute is tried with, what guardrails like best first.
struct Choices {
    levels: Vec<Identifiability>,
    counts: Vec<i64>,
    roles: Vec<Vec<String>>,
    references: Vec<String>,
    regions: Vec<String>,
    relationship: Vec<bool>,
    consent: Vec<bool>,
    opt_outs: Vec<bool>,
    break_glass: Vec<bool>,
}

/// What a question holds beside action and level.
#[derive(Clone)]
struct Rest<'c> {
    count: i64,
    roles: &'c [String],
    reference: &'c str,
    region: &'c str,
    relationship: bool,
    consent: bool,
    opt_outs: bool,
    break_glass: bool,
}

impl Choices {
    fn are_none(&self) -> bool {
        let Self { levels, counts, roles, references, regions, relationship, consent, opt_outs, break_glass } =
            self;
        let truths = [relationship, consent, opt_outs, break_glass];
        [levels.len(), counts.len(), roles.len(), references.len(), regions.len()].contains(&0)
            || truths.iter().any(|truths| truths.is_empty())
    }

    /// Every combination.
    fn every(&self) -> impl Iterator<Item = Rest<'_>> {
        let sizes = [
            self.counts.len(),
            self.roles.len(),
            self.references.len(),
            self.regions.len(),
            self.relationship.len(),
            self.consent.len(),
            self.opt_outs.len(),
            self.break_glass.len(),
        ];
        let combinations = sizes.iter().fold(1_usize, |all, size| all.saturating_mul(*size));
        (0..combinations).filter_map(move |number| {
            // the digits of the number, each in the base of its attribute
            let mut rest = number;
            let mut next = |size: usize| {
                let digit = rest.checked_rem(size)?;
                rest = rest.checked_div(size)?;
                Some(digit)
            };
            Some(Rest {
                count: *self.counts.get(next(self.counts.len())?)?,
                roles: self.roles.get(next(self.roles.len())?)?,
                reference: self.references.get(next(self.references.len())?)?,
                region: self.regions.get(next(self.regions.len())?)?,
                relationship: *self.relationship.get(next(self.relationship.len())?)?,
                consent: *self.consent.get(next(self.consent.len())?)?,
                opt_outs: *self.opt_outs.get(next(self.opt_outs.len())?)?,
                break_glass: *self.break_glass.get(next(self.break_glass.len())?)?,
            })
        })
    }
}

/// The national rules that deny what a permit permits.
#[derive(Default)]
struct Denied {
    /// How often the permit applied, and how often each guardrail denied it then.
    applied: usize,
    by: BTreeMap<String, usize>,
}

struct Asking<'a> {
    model: &'a Model,
    store: &'a EntityStore,
    footprint: &'a str,
    agreement: &'a Agreement,
    framework: &'a Framework,
    now: Timestamp,
}

/// A question that a permit applies to.
struct Applied<'a> {
    purpose: &'a str,
    product: &'a ObjectRef,
    recipient: FunctionRef,
    action: DataAction,
    level: Identifiability,
    rest: Rest<'a>,
}

impl<'a> Asking<'a> {
    /// The outer nothing: there is too much to ask. The inner: the permit can take effect.
    fn ask(
        &self,
        rule: &Rule,
        reads: &Reads,
        choices: &'a Choices,
        questions: &mut Questions,
    ) -> Option<Option<NoEffect>> {
        let Self { model, store, footprint, agreement, framework, now } = *self;
        let spec = &agreement.spec;
        let alone = PolicySet::from_policies([rule.policy.clone()]).ok()?;
        let everybody: BTreeSet<String> = agreement.orgs().into_iter().map(str::to_owned).collect();
        let by_purpose = spec.purposes.iter().map(|it| (it.code.clone(), everybody.clone())).collect();
        let signed = Signed { orgs: everybody, by_purpose };
        let entity = entities::agreement(model, agreement, &signed)?;
        let lifts = Lifts::new(model, agreement, framework, &signed);
        let national = |product: &Product, recipient: &FunctionRef| {
            let about = About::Path { controller: &product.spec.controller, recipient: &recipient.org };
            framework.national_without(&lifts.lifted(about, now))
        };
        let onward = spec.onward_sharing.to.first().map(String::as_str);
        let slice = |product: &Product, recipient: &FunctionRef| {
            let named = framework.literals.iter().chain(&*rule.literals).cloned();
            let asking = names::function(recipient);
            store.access_slice(&asking, &product.reference, &entity, onward, named).ok()
        };
        let mut denied = Denied::default();
        let mut all_applied: Vec<Applied<'_>> = Vec::new();
        // first what guardrails like best, which as a rule ends the search
        for purpose in &spec.purposes {
            let recipients = agreement.recipients(purpose, &model.orgs);
            let products = purpose.products.iter().filter_map(|product| model.products.get(product));
            for product in products.filter(|it| model.org_lies_in(&it.spec.controller, footprint)) {
                for recipient in &recipients {
                    questions.take()?;
                    let entities = slice(product, recipient)?;
                    let national = national(product, recipient);
                    for (action, level) in heads(&purpose.actions, &choices.levels) {
                        for rest in choices.every() {
                            if !reads.context.contains("minCellCount")
                                && (rest.count == 0) == is_table(action)
                            {
                                continue;
                            }
                            let applied = Applied {
                                purpose: &purpose.code,
                                product: &product.reference,
                                recipient: recipient.clone(),
                                action,
                                level,
                                rest,
                            };
                            questions.take()?;
                            let question = self.question(&applied, onward)?;
                            match question.ask(&alone, &entities) {
                                Outcome::Allowed(_) => {}
                                Outcome::Forbidden(_) | Outcome::Silent => continue,
                                Outcome::Error(_) => return None,
                            }
                            if !denied.is_denied(&question, &national, &entities)? {
                                return Some(None);
                            }
                            all_applied.push(applied);
                        }
                    }
                }
            }
        }
        if all_applied.is_empty() {
            return Some(reads.applies_to_nothing(&agreement.reference));
        }
        // then everything that the permit does not read, and guardrails may
        for applied in &all_applied {
            let product = model.products.get(applied.product)?;
            questions.take()?;
            let entities = slice(product, &applied.recipient)?;
            let national = national(product, &applied.recipient);
            for rest in applied.rest.others(&reads.context) {
                questions.take()?;
                let question = self
                    .question(&Applied { recipient: applied.recipient.clone(), rest, ..*applied }, onward)?;
                if !denied.is_denied(&question, &national, &entities)? {
                    return Some(None);
                }
            }
        }
        Some(denied.conclude(&agreement.reference, reads))
    }

    fn question(&self, applied: &Applied<'_>, onward_to: Option<&str>) -> Option<Question> {
        let Applied { purpose, product, recipient, action, level, rest } = applied;
        let context = AccessContext {
            agreement: &self.agreement.reference,
            framework: self.framework,
            now: self.now,
            purpose,
            identifiability: *level,
            roles: rest.roles.to_vec(),
            legitimate_relationship: rest.relationship,
            explicit_consent: rest.consent,
            opt_outs_applied: rest.opt_outs,
            min_cell_count: rest.count,
            case_reference: rest.reference.to_owned(),
            break_glass: rest.break_glass,
            region: rest.region.to_owned(),
            onward_to,
        };
        Question::new(
            names::function(recipient),
            names::action(*action),
            names::product(product),
            context.pairs(),
        )
        .ok()
    }
}

/// Actions and levels that go together.
fn heads(actions: &[DataAction], levels: &[Identifiability]) -> Vec<(DataAction, Identifiability)> {
    let about_persons = |action| matches!(action, DataAction::ReadRecord | DataAction::Reidentify);
    actions
        .iter()
        .flat_map(|action| levels.iter().map(|level| (*action, *level)))
        .filter(|(action, level)| !about_persons(*action) || *level >= Identifiability::Pseudonymised)
        .collect()
}

/// Whether a request is about a table, which has a smallest count.
fn is_table(action: DataAction) -> bool {
    matches!(action, DataAction::QueryAggregate | DataAction::Extract | DataAction::ShareOnward)
}

impl<'c> Rest<'c> {
    /// The same with every other value of the truths and of the reference that the permit does not read.
    fn others(&self, read: &BTreeSet<String>) -> Vec<Self> {
        let open = |name: &str| !read.contains(name);
        let mut all = vec![self.clone()];
        let mut vary = |name: &str, change: fn(&mut Self)| {
            if open(name) {
                let changed: Vec<Self> = all
                    .iter()
                    .map(|rest| {
                        let mut rest = rest.clone();
                        change(&mut rest);
                        rest
                    })
                    .collect();
                all.extend(changed);
            }
        };
        vary("legitimateRelationship", |rest| rest.relationship = !rest.relationship);
        vary("explicitConsent", |rest| rest.consent = !rest.consent);
        vary("optOutsApplied", |rest| rest.opt_outs = !rest.opt_outs);
        vary("breakGlass", |rest| rest.break_glass = !rest.break_glass);
        vary("caseReference", |rest| rest.reference = "");
        all.into_iter().skip(1).collect()
    }
}

impl Denied {
    /// Whether a guardrail denies what the permit permits; none where nothing can be said.
    fn is_denied(&mut self, question: &Question, national: &PolicySet, entities: &Entities) -> Option<bool> {
        self.applied += 1;
        match question.ask(national, entities) {
            Outcome::Forbidden(rules) => {
                for rule in rules {
                    *self.by.entry(rule).or_default() += 1;
                }
                Some(true)
            }
            Outcome::Allowed(_) | Outcome::Silent => Some(false),
            Outcome::Error(_) => None,
        }
    }

    fn conclude(self, reference: &ObjectRef, reads: &Reads) -> Option<NoEffect> {
        let Self { applied, by } = self;
        if reads.context.contains("now") {
            return None;
        }
        let mut always: Vec<&str> =
            by.iter().filter(|(_, times)| **times == applied).map(|(rule, _)| rule.as_str()).collect();
        let every = always.is_empty();
        if every {
            always = by.keys().map(String::as_str).collect();
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
