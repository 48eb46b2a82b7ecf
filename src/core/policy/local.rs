//! Local policies: a place's own rules, loaded only when they parse, validate and pass their own tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cedar_policy::{Effect, EntityUid, Policy, PolicyId};
use jiff::Timestamp;
use serde_json::Value;

use super::asked::asked_flow;
use super::assess::{Assessments, Listings};
use super::clauses::Clause;
use super::decide::decide;
use super::effect::{NoEffect, no_effect};
use super::entities::EntityStore;
use super::load::{PolicyProblem, Rule, load};
use super::moments::add_months;
use super::near_miss::{closed, closed_agreement};
use super::signing::Signing;
use super::{lint, names, test};
use crate::api::{FrameworkRef, LocalPolicy as WirePolicy, ObjectRef, Phase, PolicyTestCase};
use crate::core::finding::{Code, Finding, Severity};
use crate::core::model::{Agreement, Footprints, Model};
use crate::core::snapshot::{Snapshot, Sourced};
use crate::core::terms;

/// A local policy that is loaded, wholly or in part.
#[derive(Clone, Debug)]
pub struct LocalPolicy {
    pub reference: ObjectRef,
    pub footprint: String,
    pub rules: Vec<LocalRule>,
    /// The text that the rules come from.
    pub text: String,
    /// Why its permits are left out, where they are.
    pub held_back: Option<String>,
    /// Its own tests.
    pub tests: Vec<PolicyTestCase>,
}

impl LocalPolicy {
    /// The rules that bind on the path from a product of `controller` to a function of `recipient`, by construction:
    /// all of them where the controller lies in its footprint; where only the recipient does, and the agreement too,
    /// its forbids.
    pub(super) fn binding_rules<'a>(
        &'a self,
        model: &Model,
        agreement: &Agreement,
        controller: &str,
        recipient: &str,
    ) -> impl Iterator<Item = &'a LocalRule> + use<'a> {
        let own_data = model.org_lies_in(controller, &self.footprint);
        let own_people = model.org_lies_in(recipient, &self.footprint)
            && model.footprints.agreement_lies_in(&agreement.spec, &self.footprint);
        self.rules.iter().filter(move |rule| match rule.policy.effect() {
            Effect::Permit => own_data,
            Effect::Forbid => own_data || own_people,
        })
    }
}

/// One rule of a local policy.
#[derive(Clone, Debug)]
pub struct LocalRule {
    /// `namespace/name#id`.
    pub id: String,
    pub reason: String,
    pub policy: Policy,
    /// What it needs, or what keeps it from firing.
    pub(super) clauses: Arc<Vec<Clause>>,
    /// The entities that it names.
    pub(super) literals: Arc<BTreeSet<EntityUid>>,
}

/// Loads the local policies that validation let through into the model.
///
/// A policy that does not parse or validate, or that fails a test of its own, is not loaded; if an earlier text of
/// it was, that text's forbids stay. What it refers to and is not there yet, or a review date that has passed,
/// holds back its permits and not its forbids.
pub fn load_local_policies(
    model: &mut Model,
    store: &Arc<EntityStore>,
    snapshot: &Snapshot,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) {
    let mut wire: BTreeMap<ObjectRef, &Sourced<WirePolicy>> = BTreeMap::new();
    for sourced in &snapshot.policies {
        let key = sourced.key();
        if model.accepted(&key) {
            wire.insert(ObjectRef { namespace: key.namespace.unwrap_or_default(), name: key.name }, sourced);
        }
    }
    // one that is refused for something beside its text has had a text before, perhaps
    let kept: Vec<LocalPolicy> =
        snapshot.policies.iter().filter_map(|sourced| kept_forbids(model, sourced)).collect();
    model.policies.extend(kept.into_iter().map(|policy| (policy.reference.clone(), policy)));
    let mut refused: BTreeSet<ObjectRef> = BTreeSet::new();
    let mut read: Vec<LocalPolicy> = Vec::new();
    let in_use = InUse::new(model);
    for (reference, sourced) in &wire {
        let spec = &sourced.object.spec;
        let parsed = parse(&spec.cedar).and_then(|loaded| {
            let problems = lint::national_ids(model, &loaded);
            if problems.is_empty() { Ok(loaded) } else { Err(problems) }
        });
        match parsed {
            Ok(policies) => {
                let missing = missing_references(model, &policies);
                let held_back = held_back(&in_use, sourced, &missing, now, findings);
                read.push(LocalPolicy {
                    reference: reference.clone(),
                    footprint: spec.footprint.clone(),
                    rules: rules(reference, &policies, held_back.is_none()),
                    text: spec.cedar.clone(),
                    held_back,
                    tests: spec.tests.clone(),
                });
            }
            Err(problems) => {
                refused.insert(reference.clone());
                findings.extend(problems.into_iter().map(|problem| text_finding(sourced, problem)));
            }
        }
    }
    model.policies.extend(read.into_iter().map(|policy| (policy.reference.clone(), policy)));
    let Tested { failing, waiting } = test_all(model, store, &wire, now, findings);
    for (reference, sourced) in &wire {
        let whole = model.policies.get(reference).is_some_and(|policy| policy.held_back.is_none());
        if whole && !failing.contains(reference) && !waiting.contains_key(reference) {
            without_effect(model, store, sourced, now, findings);
        }
    }
    refused.extend(failing);
    for (reference, why) in waiting {
        if let Some(policy) = model.policies.get_mut(&reference) {
            policy.rules.retain(|rule| rule.policy.effect() == Effect::Forbid);
            policy.held_back = Some(why);
        }
    }
    for reference in refused {
        model.policies.remove(&reference);
        if let Some(earlier) = wire.get(&reference).and_then(|sourced| earlier_forbids(&reference, sourced)) {
            model.policies.insert(reference, earlier);
        }
    }
}

/// Parsed texts by digest: the same text is parsed once, however often the world around it is judged.
static PARSED: LazyLock<Mutex<BTreeMap<String, Parsed>>> = LazyLock::new(Mutex::default);
type Parsed = Result<Arc<Vec<Rule>>, Vec<PolicyProblem>>;

fn parse(text: &str) -> Parsed {
    let digest = terms::text_digest(text);
    let cache = || PARSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(parsed) = cache().get(&digest) {
        return parsed.clone();
    }
    let parsed = load(text, lint::rules).map(Arc::new);
    let mut cache = cache();
    if cache.len() >= 4096 {
        cache.clear();
    }
    cache.insert(digest, parsed.clone());
    parsed
}

/// Says of permits that they can never take effect.
fn without_effect(
    model: &Model,
    store: &EntityStore,
    sourced: &Sourced<WirePolicy>,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) {
    let spec = &sourced.object.spec;
    for rule in parse(&spec.cedar).iter().flat_map(|rules| rules.iter()) {
        if let Some(NoEffect { message, help }) = no_effect(model, store, &spec.footprint, rule, now) {
            let problem = PolicyProblem::lint(Code::PolicyNoEffect, rule, message, help);
            findings.push(text_finding(sourced, problem));
        }
    }
}

fn rules(reference: &ObjectRef, rules: &[Rule], permits: bool) -> Vec<LocalRule> {
    let mut rules: Vec<LocalRule> = rules
        .iter()
        .filter(|rule| permits || rule.policy.effect() == Effect::Forbid)
        .map(|Rule { policy, clauses, literals, .. }| {
            let id = format!("{reference}#{}", policy.id());
            LocalRule {
                reason: policy.annotation("reason").unwrap_or_default().to_owned(),
                policy: policy.new_id(PolicyId::new(&id)),
                clauses: Arc::clone(clauses),
                literals: Arc::clone(literals),
                id,
            }
        })
        .collect();
    rules.sort_by(|a, b| names::rule_order(&a.id, &b.id));
    rules
}

/// Why permits are held back: the policy is on its way out, something referred to is missing, or the review date has
/// passed.
fn held_back(
    in_use: &InUse<'_>,
    sourced: &Sourced<WirePolicy>,
    missing: &BTreeSet<String>,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> Option<String> {
    let spec = &sourced.object.spec;
    // what a finalizer holds is as good as gone where it could give access
    if sourced.object.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted".to_owned());
    }
    if !missing.is_empty() {
        let listed = missing.iter().map(|uid| format!("`{uid}`")).collect::<Vec<_>>().join(", ");
        findings.push(
            sourced
                .finding(Code::PolicyWaiting, "spec.cedar", format!("refers to {listed}, which is not there"))
                .help("its forbids are loaded, its permits once it is there"),
        );
        return Some(format!("waits for {listed}"));
    }
    if spec.review_by <= now {
        findings.push(
            sourced
                .finding(
                    Code::PolicyReview,
                    "spec.reviewBy",
                    format!("the review was due on {}", spec.review_by),
                )
                .help("its forbids stay, its permits are not loaded until it is reviewed and the date moved"),
        );
        return Some(format!("its review was due on {}", spec.review_by));
    }
    let months = in_use.review_months(&spec.footprint);
    if add_months(now, months).is_some_and(|latest| spec.review_by > latest) {
        let mut finding = sourced
            .finding(
                Code::PolicyReview,
                "spec.reviewBy",
                format!("the review is more than {months} months ahead"),
            )
            .help("set a date within that time; until then its forbids stay, and its permits are not loaded");
        finding.severity = Severity::Error;
        findings.push(finding);
        return Some("its review is too far ahead".to_owned());
    }
    None
}

/// How far ahead a review may be set where no framework says it.
const REVIEW_MONTHS: i64 = 12;

/// Where frameworks are in use.
struct InUse<'m> {
    model: &'m Model,
    by_framework: BTreeMap<&'m FrameworkRef, Where<'m>>,
}

/// Where one framework is in use: the footprints of the agreements that name it, and the controllers of their products.
#[derive(Default)]
struct Where<'m> {
    footprints: BTreeSet<&'m str>,
    controllers: BTreeSet<&'m str>,
}

impl<'m> InUse<'m> {
    fn new(model: &'m Model) -> Self {
        let mut by_framework: BTreeMap<&FrameworkRef, Where<'_>> = BTreeMap::new();
        for Agreement { spec, .. } in model.agreements.values() {
            let Where { footprints, controllers } = by_framework.entry(&spec.framework).or_default();
            footprints.extend(Footprints::of_agreement(spec));
            let listed = spec.purposes.iter().flat_map(|purpose| &purpose.products);
            let products = listed.filter_map(|product| model.products.get(product));
            controllers.extend(products.map(|product| product.spec.controller.as_str()));
        }
        Self { model, by_framework }
    }

    /// How far ahead a review may be set: the least of what the frameworks say that are in use in the footprint.
    fn review_months(&self, footprint: &str) -> i64 {
        let Self { model, by_framework } = self;
        let here = by_framework.iter().filter(|(_, Where { footprints, controllers })| {
            footprints.iter().any(|inner| model.footprints.lies_in(inner, footprint))
                || controllers.iter().any(|org| model.org_lies_in(org, footprint))
        });
        here.filter_map(|(framework, _)| {
            Some(model.frameworks.get(*framework)?.spec.limits.local_policy_review_months)
        })
        .min()
        .unwrap_or(REVIEW_MONTHS)
    }
}

/// The forbids that a policy had which cannot be used now, if it is for a footprint that there is, in one of its policy
/// namespaces.
fn kept_forbids(model: &Model, sourced: &Sourced<WirePolicy>) -> Option<LocalPolicy> {
    let key = sourced.key();
    let footprint = model.footprints.get(&sourced.object.spec.footprint).filter(|_| !model.accepted(&key))?;
    let reference = ObjectRef { namespace: key.namespace.unwrap_or_default(), name: key.name };
    let stands = footprint.policy_namespaces.contains(&reference.namespace);
    stands.then(|| earlier_forbids(&reference, sourced)).flatten()
}

/// The entities that a policy names and that the model does not have.
fn missing_references(model: &Model, rules: &[Rule]) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    for rule in rules {
        named_entities(&rule.json, &mut |type_name, id| {
            if !exists(model, type_name, id) {
                missing.insert(format!("{type_name}::\"{id}\""));
            }
        });
    }
    missing
}

/// Calls `each` with every entity that a policy's JSON names: `{"type": …, "id": …}`.
fn named_entities(json: &Value, each: &mut impl FnMut(&str, &str)) {
    match json {
        Value::Object(fields) => {
            if let (Some(Value::String(type_name)), Some(Value::String(id))) =
                (fields.get("type"), fields.get("id"))
            {
                each(type_name, id);
            }
            fields.values().for_each(|value| named_entities(value, each));
        }
        Value::Array(items) => items.iter().for_each(|value| named_entities(value, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn exists(model: &Model, type_name: &str, id: &str) -> bool {
    let reference = || {
        id.split_once('/')
            .map(|(namespace, name)| ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() })
    };
    match type_name {
        "Concordat::Agreement" => {
            reference().is_some_and(|reference| model.agreements.contains_key(&reference))
        }
        "Concordat::DataProduct" => {
            reference().is_some_and(|reference| model.products.contains_key(&reference))
        }
        "Concordat::PartnerOrg" => model.orgs.contains_key(id),
        "Concordat::Footprint" => model.footprints.get(id).is_some(),
        "Concordat::OrgFunction" => {
            id.split_once('/').and_then(|(org, function)| model.orgs.get(org)?.function(function)).is_some()
        }
        // actions are the schema's; a workload is whoever asks, and need not exist
        _ => true,
    }
}

fn text_finding(sourced: &Sourced<WirePolicy>, problem: PolicyProblem) -> Finding {
    const FIELD: &str = "spec.cedar";
    let PolicyProblem { rule, message, help, position, code } = problem;
    let in_file = position.and_then(|position| sourced.source.within(FIELD, position));
    // what the origin does not show is said
    let line = position.filter(|_| in_file.is_none());
    let line = line.map(|(line, column)| format!("line {line}, column {column} of the text"));
    let rule = rule.filter(|rule| line.is_some() || !message.contains(&format!("`{rule}`")));
    let place: Vec<String> = rule.map(|rule| format!("rule `{rule}`")).into_iter().chain(line).collect();
    let colon = if place.is_empty() { "" } else { ": " };
    let mut finding = sourced.finding(code, FIELD, format!("{}{colon}{message}", place.join(", ")));
    finding.help = help.or_else(|| {
        Some("what actions, entities and attributes there are is in `policies/schema.cedarschema`".to_owned())
    });
    if let Some((line, column)) = in_file {
        (finding.origin.line, finding.origin.column) = (Some(line), Some(column));
    }
    finding
}

/// What the policies' own tests have shown.
#[derive(Default)]
struct Tested {
    failing: BTreeSet<ObjectRef>,
    /// Policies that cannot be judged yet, and why.
    waiting: BTreeMap<ObjectRef, String>,
}

/// Runs the policies' own tests, on the whole model with every agreement taken as signed.
///
/// Each is judged without the other local policies: were it not, a place that adds a forbid could make another
/// policy's test fail, and with that unload that policy's forbids. `concordat test` runs the same tests with all.
/// A test about an agreement that is refused or superseded says nothing of the policy, which waits until that is
/// mended, and not because of a draft that would supersede it.
fn test_all(
    model: &Model,
    store: &Arc<EntityStore>,
    wire: &BTreeMap<ObjectRef, &Sourced<WirePolicy>>,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> Tested {
    let mut tested = Tested::default();
    let listings = Listings::new(model);
    let mut assessed = BTreeMap::new();
    let mut assessed_whole = BTreeMap::new();
    for (reference, sourced) in wire {
        // a policy that waits has rules left out, so that its tests say nothing yet
        let Some(policy) = model.policies.get(reference).filter(|policy| policy.held_back.is_none()) else {
            continue;
        };
        for (index, case) in sourced.object.spec.tests.iter().enumerate() {
            let at = case.at.unwrap_or(now);
            let ask = |assessments: &Assessments| {
                let verdict = decide(model, [policy], assessments, &case.request, at);
                test::compare(verdict.answer, &case.expect)
            };
            // whatever lists another product, or another recipient, has no part in the answer
            let flow = asked_flow(model, &case.request);
            let assessments = assessed.entry((at, flow.clone())).or_insert_with(|| match &flow {
                Some((product, function)) => {
                    listings.assess(product, Some(function), store, at, Signing::Assumed)
                }
                None => Assessments { store: Arc::clone(store), ..Assessments::default() },
            });
            if ask(assessments).passed {
                continue;
            }
            // what to say about it takes a wider look
            let id = case.request.resource.id.split_once('/');
            let product = id.map(|(namespace, name)| ObjectRef {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            });
            let wide = |signing| product.as_ref().map(|it| listings.assess(it, None, store, at, signing));
            let assessments = &*assessed_whole
                .entry((at, product.clone()))
                .or_insert_with(|| wide(Signing::Assumed).unwrap_or_default());
            let outcome = ask(assessments);
            let field = format!("spec.tests[{index}]");
            let named = case.expect.agreement.clone().and_then(|named| closed(assessments, named));
            let asked = || closed_agreement(model, assessments, &case.request);
            if let Some((agreement, phase)) = named.or_else(asked) {
                let (is, once) = if phase == Phase::Superseded {
                    ("superseded", "its tests ask about the one that took its place")
                } else {
                    ("refused", "the agreement is mended")
                };
                let why = format!("`{agreement}`, which its tests ask about, is {is}");
                if tested.waiting.insert(reference.clone(), why.clone()).is_none() {
                    let found = sourced.finding(Code::PolicyWaiting, &field, why);
                    findings.push(found.help(format!("its forbids are loaded, its permits once {once}")));
                }
                continue;
            }
            tested.failing.insert(reference.clone());
            let message = format!("test `{}` fails: {}", case.name, outcome.mismatches.join(", "));
            let help = format!("the answer was: {}", outcome.answer.context.reason);
            findings.push(sourced.finding(Code::PolicyTestFailed, &field, message).help(help));
        }
    }
    tested
}

/// The forbids of the text that was loaded before, as the status remembers it.
fn earlier_forbids(reference: &ObjectRef, sourced: &Sourced<WirePolicy>) -> Option<LocalPolicy> {
    let text = sourced.object.status.as_ref()?.loaded.clone()?;
    let policies = parse(&text).ok()?;
    Some(LocalPolicy {
        reference: reference.clone(),
        footprint: sourced.object.spec.footprint.clone(),
        rules: rules(reference, &policies, false),
        text,
        held_back: Some("a later text is refused".to_owned()),
        tests: Vec::new(),
    })
}
