//! Local policies: a place's own rules. What forbids is loaded whatever else is wrong, and what cannot be loaded may have
//! forbidden.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cedar_policy::{Effect, EntityUid, Policy, PolicyId};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::clauses::Clauses;
use super::dates::add_months;
use super::effect::{self, NoEffect, no_effect};
use super::entities::EntityStore;
use super::framework::Framework;
use super::load::{Rule, load, may_forbid};
use super::own_tests::{Tested, test_all};
use super::problem::PolicyProblem;
use super::reads::Reads;
use super::words::{self, Word};
use super::{lint, names};
use crate::finding::{Code, Finding, Severity};
use crate::model::{Agreement, Footprints, Model, Organisation, Product};
use crate::snapshot::{Snapshot, Sourced};
use crate::terms;
use crate::text::is_blank;
use concordat_api::{FrameworkRef, LocalPolicy as WirePolicy, ObjectRef, PlaceFootprintSpec, PolicyTestCase};

/// A local policy that is loaded, wholly or in part.
#[derive(Clone, Debug)]
pub struct LocalPolicy {
    pub reference: ObjectRef,
    /// The footprint that it is for; where it names none that exists, all that it could be for.
    pub footprints: Vec<String>,
    pub rules: Vec<LocalRule>,
    /// The text that the rules come from.
    pub text: String,
    /// Why its permits are left out, where they are.
    pub permits_disabled: Option<String>,
    /// When its review is due, and its permits end.
    pub permits_until: Option<Timestamp>,
    /// Its own tests.
    pub tests: Vec<PolicyTestCase>,
}

/// A local policy that cannot be loaded, and may forbid.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PolicyInDoubt {
    pub reference: ObjectRef,
    /// What it could be for, by its namespace and as far as it says.
    pub footprints: Vec<String>,
}

impl fmt::Display for PolicyInDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local policy `{}` cannot be loaded, and may forbid this", self.reference)
    }
}

impl PolicyInDoubt {
    /// Whether a forbid of it would bind on the path from a product of `controller` to a function of `recipient`.
    pub(super) fn binds(
        &self,
        model: &Model,
        agreement: &Agreement,
        controller: &str,
        recipient: &str,
    ) -> bool {
        let Bound { data, people } = Bound::new(model, &self.footprints, agreement, controller, recipient);
        data || people
    }
}

impl LocalPolicy {
    /// Why permits of its text do not count on the data of an organisation, where it has some.
    pub(super) fn left_out(&self, model: &Model, controller: &str) -> Option<&str> {
        let why = self.permits_disabled.as_deref()?;
        let binds = self.footprints.iter().any(|place| model.org_lies_in(controller, place));
        let permits = || {
            parse(&self.text)
                .iter()
                .flat_map(|rules| rules.iter())
                .any(|rule| rule.policy.effect() == Effect::Permit)
        };
        (binds && permits()).then_some(why)
    }

    /// Whether a rule of it permits something.
    pub(crate) fn permits(&self) -> bool {
        self.rules.iter().any(|rule| rule.policy.effect() == Effect::Permit)
    }

    /// The rules that bind on the path from a product of `controller` to a function of `recipient`, by construction.
    pub(super) fn binding_rules<'a>(
        &'a self,
        model: &Model,
        agreement: &Agreement,
        controller: &str,
        recipient: &str,
    ) -> impl Iterator<Item = &'a LocalRule> + use<'a> {
        let Bound { data, people } = Bound::new(model, &self.footprints, agreement, controller, recipient);
        self.rules.iter().filter(move |rule| match rule.policy.effect() {
            Effect::Permit => data,
            Effect::Forbid => data || people,
        })
    }
}

/// What of a path a place may rule over.
struct Bound {
    /// The place's own data: permits and forbids bind.
    data: bool,
    /// The hands of its own people: forbids bind.
    people: bool,
}

impl Bound {
    fn new(
        model: &Model,
        places: &[String],
        agreement: &Agreement,
        controller: &str,
        recipient: &str,
    ) -> Self {
        let data = places.iter().any(|place| model.org_lies_in(controller, place));
        let people = places.iter().any(|place| binds_people(model, place, agreement, recipient));
        Self { data, people }
    }
}

/// Whether a place's forbids bind its own people under an agreement: where the agreement lies in the place, or the place
/// in the agreement's and the recipient is nowhere else in it. So a charity of five places does not carry each place's
/// rules everywhere, and naming the county sheds none: neither in the agreement nor beside the place in the recipient.
fn binds_people(model: &Model, place: &str, agreement: &Agreement, recipient: &str) -> bool {
    let Some(recipient) = model.orgs.get(recipient) else {
        return false;
    };
    let Model { footprints, .. } = model;
    let named = &recipient.spec.footprints;
    // a county is no other place than those in it that are named beside it
    let is_around = |outer: &String| named.iter().any(|it| it != outer && footprints.lies_in(it, outer));
    let in_agreement =
        |inner: &str| Footprints::of_agreement(&agreement.spec).any(|outer| footprints.lies_in(inner, outer));
    footprints.org_lies_in(&recipient.spec, place)
        && (footprints.agreement_lies_in(&agreement.spec, place)
            || in_agreement(place)
                && named
                    .iter()
                    .filter(|inner| in_agreement(inner) && !is_around(inner))
                    .all(|inner| footprints.lies_in(inner, place)))
}

/// One rule of a local policy.
#[derive(Clone, Debug)]
pub struct LocalRule {
    /// `namespace/name#id`.
    pub id: String,
    pub reason: String,
    pub policy: Policy,
    /// Its structure, as Cedar's JSON has it.
    pub(super) json: Arc<Json>,
    /// What it needs, or what keeps it from firing.
    pub(super) clauses: Clauses,
    /// The entities that it names.
    pub(super) literals: Arc<BTreeSet<EntityUid>>,
}

/// What local policies say, to be held against what they said before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalRules {
    policies: BTreeMap<ObjectRef, Binding>,
    in_doubt: Vec<PolicyInDoubt>,
    /// What rules name besides the path that they are asked about, as it is.
    orgs: BTreeMap<String, Option<Organisation>>,
    products: BTreeMap<ObjectRef, Option<Product>>,
}

/// Where a policy binds, and its rules by id.
type Binding = (Vec<String>, BTreeMap<String, Arc<Json>>);

impl LocalRules {
    pub fn of(model: &Model) -> Self {
        let policies = model.policies.values().map(|policy| {
            let rules = policy.rules.iter().map(|rule| (rule.id.clone(), Arc::clone(&rule.json)));
            (policy.reference.clone(), (policy.footprints.clone(), rules.collect()))
        });
        let literals = || model.policies.values().flat_map(|it| &it.rules).flat_map(|it| it.literals.iter());
        let orgs = literals().filter_map(names::org_of);
        let products = literals().filter_map(names::product_of);
        Self {
            policies: policies.collect(),
            in_doubt: model.policies_in_doubt.clone(),
            orgs: orgs.map(|org| (org.to_owned(), model.orgs.get(org).cloned())).collect(),
            products: products.map(|it| (it.clone(), model.products.get(&it).cloned())).collect(),
        }
    }
}

impl LocalRule {
    /// Whether it forbids a path whatever a request says beside its purpose and level: it reads nothing else of the context,
    /// and nothing by which one account of a recipient differs from another.
    pub(super) fn forbids_whatever_is_said(&self) -> bool {
        const SETTLED: [&str; 5] = ["agreement", "framework", "now", "purpose", "identifiability"];
        let reads = self.reads_in_conditions();
        let is_settled = |path: &str| match path.strip_prefix("context") {
            Some(rest) => rest.split('.').nth(1).is_some_and(|name| SETTLED.contains(&name)),
            None => true,
        };
        self.policy.effect() == Effect::Forbid
            && !Reads::of(&self.json).tells_accounts_apart()
            && reads.paths().all(is_settled)
    }

    fn reads_in_conditions(&self) -> Reads {
        let conditions = self.json.get("conditions").cloned().unwrap_or_default();
        Reads::of(&json!({ "conditions": conditions }))
    }
}

/// Loads the local policies of a snapshot into the model.
///
/// The forbids of a text that parses, validates and passes the lints are loaded, whatever else is wrong: that keeps its
/// permits out. A text that does not is in doubt: until it loads, whatever its forbids could bind on is denied, and the
/// forbids of an earlier text stay. A policy does nothing outside the footprints that list its namespace.
pub fn load_local_policies(
    model: &mut Model,
    store: &Arc<EntityStore>,
    snapshot: &Snapshot,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) {
    // a text elsewhere that cannot be read closes everything, and fails no test
    let unknown_texts = std::mem::take(&mut model.unknown_texts);
    let mut loading = Loading::default();
    let in_use = InUse::new(model);
    for sourced in &snapshot.policies {
        loading.load(&in_use, sourced, now, findings);
    }
    for unreadable in snapshot.unreadable_of("LocalPolicy") {
        let reference = unreadable.reference();
        let footprints = footprints(model, &reference.namespace, unreadable.text("/footprint"));
        loading.doubt(reference, footprints);
    }
    let Loading { policies, in_doubt, whole } = loading;
    model.policies = policies;
    let Tested { failing, waiting } = test_all(model, store, &whole, now, findings);
    for (reference, sourced) in &whole {
        if !failing.contains_key(reference) && !waiting.contains_key(reference) {
            without_effect(model, store, sourced, now, findings);
        }
    }
    for (reference, why) in failing.into_iter().chain(waiting) {
        if let Some(policy) = model.policies.get_mut(&reference) {
            policy.rules.retain(|rule| rule.policy.effect() == Effect::Forbid);
            policy.permits_disabled = Some(why);
        }
    }
    // last, as what is wrong with one policy fails no test of another
    model.policies_in_doubt = in_doubt;
    model.unknown_texts = unknown_texts;
}

/// Local policies on their way into the model.
#[derive(Default)]
struct Loading<'s> {
    policies: BTreeMap<ObjectRef, LocalPolicy>,
    in_doubt: Vec<PolicyInDoubt>,
    /// Those that nothing but their tests can keep from counting.
    whole: BTreeMap<ObjectRef, &'s Sourced<WirePolicy>>,
}

impl<'s> Loading<'s> {
    fn load(
        &mut self,
        in_use: &InUse<'_>,
        sourced: &'s Sourced<WirePolicy>,
        now: Timestamp,
        findings: &mut Vec<Finding>,
    ) {
        let model = in_use.model;
        let (key, spec) = (sourced.key(), &sourced.object.spec);
        let accepted = model.accepted(&key);
        let reference = ObjectRef { namespace: key.namespace.unwrap_or_default(), name: key.name };
        let named = footprints(model, &reference.namespace, Some(&spec.footprint));
        match parse(&spec.cedar) {
            Ok(_) if named.is_empty() => {}
            Ok(text) => {
                let mut permits_disabled = permits_disabled(in_use, sourced, &text, now, findings);
                if !accepted {
                    permits_disabled.get_or_insert_with(|| "the object is refused".to_owned());
                }
                if permits_disabled.is_none() {
                    self.whole.insert(reference.clone(), sourced);
                }
                self.add(LocalPolicy {
                    rules: rules(&reference, &text, permits_disabled.is_none()),
                    reference,
                    footprints: named,
                    text: spec.cedar.clone(),
                    permits_disabled,
                    permits_until: Some(spec.review_by),
                    tests: spec.tests.clone(),
                });
            }
            Err(Unloadable { problems, may_forbid }) => {
                if !named.is_empty() {
                    findings.extend(problems.into_iter().map(|problem| text_finding(sourced, problem)));
                }
                // where the earlier text bound is not remembered, and may have been each place that it could be for
                let earlier = footprints(model, &reference.namespace, None);
                if let Some((text, kept)) = earlier_text(sourced).filter(|_| !earlier.is_empty()) {
                    self.add(LocalPolicy {
                        reference: reference.clone(),
                        footprints: earlier,
                        rules: rules(&reference, &kept, false),
                        text: text.to_owned(),
                        permits_disabled: Some("a later text cannot be loaded".to_owned()),
                        permits_until: None,
                        tests: Vec::new(),
                    });
                }
                if may_forbid {
                    self.doubt(reference, named);
                }
            }
        }
    }

    /// Adds a policy. Of a second one with the same name the forbids count beside those of the first.
    fn add(&mut self, policy: LocalPolicy) {
        let Some(first) = self.policies.get_mut(&policy.reference) else {
            self.policies.insert(policy.reference.clone(), policy);
            return;
        };
        for footprint in policy.footprints {
            if !first.footprints.contains(&footprint) {
                first.footprints.push(footprint);
            }
        }
        let copies = first.rules.iter().map(|rule| rule.id.clone()).collect::<BTreeSet<_>>();
        for mut rule in policy.rules {
            let known = |known: &LocalRule| known.json == rule.json;
            if first.rules.iter().any(known) {
                continue;
            }
            let copy = (2..).map(|copy| format!("{} (copy {copy})", rule.id));
            let free = std::iter::once(rule.id.clone()).chain(copy).find(|id| !copies.contains(id));
            rule.id = free.unwrap_or_default();
            rule.policy = rule.policy.new_id(PolicyId::new(&rule.id));
            first.rules.push(rule);
        }
    }

    fn doubt(&mut self, reference: ObjectRef, footprints: Vec<String>) {
        if !footprints.is_empty() {
            self.in_doubt.push(PolicyInDoubt { reference, footprints });
        }
    }
}

/// The footprints that a policy may be for: the one that it names, if that lists its namespace, and else each that does.
fn footprints(model: &Model, namespace: &str, named: Option<&str>) -> Vec<String> {
    let lists = |spec: &PlaceFootprintSpec| spec.policy_namespaces.iter().any(|it| it == namespace);
    let named = named.filter(|named| model.footprints.get(named).is_some_and(lists));
    let all = model.footprints.iter().filter(|(_, spec)| lists(spec)).map(|(name, _)| name);
    all.filter(|name| named.is_none_or(|named| named == *name)).cloned().collect()
}

/// Parsed texts by digest: the same text is parsed once, however often the world around it is judged.
static PARSED: LazyLock<Mutex<BTreeMap<String, Parsed>>> = LazyLock::new(Mutex::default);
type Parsed = Result<Arc<Vec<Rule>>, Unloadable>;

/// Why a text is not loaded, and whether that may lose a forbid.
#[derive(Clone, Debug)]
pub(super) struct Unloadable {
    problems: Vec<PolicyProblem>,
    may_forbid: bool,
}

pub(super) fn parse(text: &str) -> Parsed {
    if is_blank(text) {
        // of a text of blanks, which its kind refuses, nothing is known but that it is broken
        return Err(Unloadable { problems: Vec::new(), may_forbid: true });
    }
    let digest = terms::text_digest(text);
    let cache = || PARSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(parsed) = cache().get(&digest) {
        return parsed.clone();
    }
    let unloadable = |problems| Unloadable { problems, may_forbid: may_forbid(text) };
    let parsed = load(text, lint::rules).map(Arc::new).map_err(unloadable);
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
    let mut questions = effect::Questions::default();
    for rule in parse(&spec.cedar).iter().flat_map(|rules| rules.iter()) {
        let found = no_effect(model, store, &spec.footprint, rule, now, &mut questions);
        if let Some(NoEffect { message, help }) = found {
            let problem = PolicyProblem::lint(Code::PolicyNoEffect, rule, message, help);
            findings.push(text_finding(sourced, problem));
        }
    }
}

fn rules(reference: &ObjectRef, rules: &[Rule], permits: bool) -> Vec<LocalRule> {
    let mut rules: Vec<LocalRule> = rules
        .iter()
        .filter(|rule| permits || rule.policy.effect() == Effect::Forbid)
        .map(|Rule { policy, json, clauses, literals, position: _ }| {
            let id = format!("{reference}#{}", names::rule_id(policy));
            LocalRule {
                reason: policy.annotation("reason").unwrap_or_default().to_owned(),
                policy: policy.new_id(PolicyId::new(&id)),
                json: Arc::clone(json),
                clauses: Arc::clone(clauses),
                literals: Arc::clone(literals),
                id,
            }
        })
        .collect();
    rules.sort_by(|a, b| names::rule_order(&a.id, &b.id));
    rules
}

/// Why permits are left out: the policy is on its way out, something that it refers to is missing, a word is misspelt,
/// an id is a national rule's, or the review date has passed.
fn permits_disabled(
    in_use: &InUse<'_>,
    sourced: &Sourced<WirePolicy>,
    text: &[Rule],
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> Option<String> {
    let spec = &sourced.object.spec;
    let mut why = None;
    // what a finalizer holds is as good as gone where it could give access
    if sourced.object.metadata.deletion_timestamp.is_some() {
        why.get_or_insert_with(|| "it is being deleted".to_owned());
    }
    for problem in lint::one_function(text) {
        why.get_or_insert_with(|| "a rule of it never applies to a workload".to_owned());
        findings.push(text_finding(sourced, problem));
    }
    for problem in lint::national_ids(in_use.model, text) {
        why.get_or_insert_with(|| "an `@id` reads like a national rule".to_owned());
        findings.push(text_finding(sourced, problem));
    }
    let frameworks = in_use.frameworks(&spec.footprint);
    let words::Unknown { missing, unusable, words } = words::unknown(in_use.model, &frameworks, text);
    for Word { problem, misspelt } in words {
        let mut finding = text_finding(sourced, problem);
        if misspelt {
            finding.severity = Severity::Error;
            why.get_or_insert_with(|| finding.message.clone());
        }
        findings.push(finding);
    }
    if !missing.is_empty() {
        let listed = missing.iter().map(|uid| format!("`{uid}`")).collect::<Vec<_>>().join(", ");
        let why_not =
            if missing == unusable { "which exists, but cannot be used" } else { "which is not there" };
        findings.push(
            sourced
                .finding(Code::PolicyWaiting, "spec.cedar", format!("refers to {listed}, {why_not}"))
                .help("its forbids are loaded, its permits once it is there"),
        );
        why.get_or_insert_with(|| format!("waits for {listed}"));
    }
    let months = in_use.review_months(&spec.footprint);
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
        why.get_or_insert_with(|| format!("its review was due on {}", spec.review_by));
    } else if add_months(now, months).is_some_and(|latest| spec.review_by > latest) {
        let mut finding = sourced
            .finding(
                Code::PolicyReview,
                "spec.reviewBy",
                format!("the review is more than {months} months ahead"),
            )
            .help("set a date within that time; until then its forbids stay, and its permits are not loaded");
        finding.severity = Severity::Error;
        findings.push(finding);
        why.get_or_insert_with(|| "its review is too far ahead".to_owned());
    }
    why
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

    /// The frameworks that are in use in a footprint.
    fn here(&self, footprint: &str) -> impl Iterator<Item = &'m Framework> {
        let Self { model, by_framework } = self;
        let here = by_framework.iter().filter(|(_, Where { footprints, controllers })| {
            footprints.iter().any(|inner| model.footprints.lies_in(inner, footprint))
                || controllers.iter().any(|org| model.org_lies_in(org, footprint))
        });
        here.filter_map(|(framework, _)| model.frameworks.get(*framework).map(AsRef::as_ref))
    }

    /// How far ahead a review may be set: the least of what the frameworks say that are in use in the footprint.
    fn review_months(&self, footprint: &str) -> i64 {
        let months = self.here(footprint).map(|framework| framework.spec.limits.local_policy_review_months);
        months.min().unwrap_or(REVIEW_MONTHS)
    }

    /// The frameworks whose words a policy can use: those in use in its footprint, or, where none is, all that there are.
    fn frameworks(&self, footprint: &str) -> Vec<&'m Framework> {
        let here: Vec<&Framework> = self.here(footprint).collect();
        if here.is_empty() { self.model.frameworks.values().map(AsRef::as_ref).collect() } else { here }
    }
}

pub(super) fn text_finding(sourced: &Sourced<WirePolicy>, problem: PolicyProblem) -> Finding {
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

/// The text that was loaded before, as the status remembers it, where it still loads.
fn earlier_text(sourced: &Sourced<WirePolicy>) -> Option<(&str, Arc<Vec<Rule>>)> {
    let text = sourced.object.status.as_ref()?.loaded.as_deref()?;
    Some((text, parse(text).ok()?))
}
