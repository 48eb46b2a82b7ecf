//! Frameworks: national rules, loaded and sorted by what they do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cedar_policy::{Effect, Entities, EntityUid, Policy, PolicyId, PolicySet, PolicySetError};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::annotations::{Asked, RuleText, Tier};
use super::authorize::Question;
use super::clauses::Clauses;
use super::entities::{Value, long, record, text, texts};
use super::load::{Rule, load};
use super::problem::PolicyProblem;
use super::reads::Reads;
use super::{lint, names, time_dependence};
use crate::terms;
use concordat_api::{FrameworkRef, PolicyFrameworkSpec, PurposeDefinition};

/// A framework whose policies are loaded.
#[derive(Clone, Debug)]
pub struct Framework {
    pub reference: FrameworkRef,
    pub spec: PolicyFrameworkSpec,
    /// `sha256:` and the digest of the spec's canonical JSON.
    pub digest: String,
    /// The agreement gate.
    pub gate: PolicySet,
    /// Guardrails and floor.
    pub national: PolicySet,
    /// The agreement permits, which are asked together with local rules.
    pub agreement: Vec<Policy>,
    /// What the rules of the access gate read: guardrails, floor and agreement permits.
    pub(super) access: RuleSet,
    /// The rules by the question that they are asked in.
    pub(super) asked: BTreeMap<Asked, RuleSet>,
    /// The rules of the gate that do not say what they are asked of, as they are asked of each row for each purpose.
    pub(super) unasked: RuleSet,
    /// Every entity that a rule of it names.
    pub(super) literals: BTreeSet<EntityUid>,
    /// The zone in which rules read the day of the week and the minute of the day.
    pub(super) time_zone: TimeZone,
    /// What it says as data: the words and limits that rules read.
    pub(super) terms: Value,
    /// What each rule says of itself, by `@id`.
    pub rules: BTreeMap<String, RuleText>,
    /// What each rule needs, or what keeps it from firing.
    pub(super) clauses: BTreeMap<String, Clauses>,
}

/// Rules that are asked together, and what they read.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleSet {
    pub(super) policies: PolicySet,
    pub(super) reads: Reads,
    /// What each of them reads, by `@id`.
    pub(super) by_rule: BTreeMap<String, Reads>,
    /// The organisations that one of them names.
    pub(super) named_orgs: BTreeSet<String>,
    /// Whether one of them permits, so that silence is a no.
    pub(super) permits: bool,
}

impl RuleSet {
    pub(super) fn add(&mut self, policy: &Policy, reads: &Reads) -> Result<(), Box<PolicySetError>> {
        self.policies.add(policy.clone())?;
        self.reads.merge(reads);
        let named = policy.entity_literals();
        self.named_orgs.extend(named.iter().filter_map(names::org_of).map(str::to_owned));
        self.permits |= policy.effect() == Effect::Permit;
        self.by_rule.insert(names::rule_id(policy), reads.clone());
        Ok(())
    }

    /// Whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.by_rule.is_empty()
    }

    /// Without the rules that exceptions lift.
    pub(super) fn without(&self, lifted: &BTreeSet<String>) -> Cow<'_, PolicySet> {
        without(&self.policies, lifted)
    }
}

impl Framework {
    /// The purposes of individual care.
    pub fn individual_care(&self) -> impl Iterator<Item = &str> {
        self.purposes().filter(|purpose| purpose.individual_care).map(|purpose| purpose.code.as_str())
    }

    /// The purposes that are never allowed.
    pub fn prohibited(&self) -> impl Iterator<Item = &str> {
        self.purposes().filter(|purpose| purpose.prohibited).map(|purpose| purpose.code.as_str())
    }

    /// A purpose of the vocabulary.
    pub fn purpose(&self, code: &str) -> Option<&PurposeDefinition> {
        self.purposes().find(|purpose| purpose.code == code)
    }

    /// The purposes of the vocabulary.
    pub fn purposes(&self) -> impl Iterator<Item = &PurposeDefinition> + Clone {
        self.spec.vocabulary.purposes.iter()
    }

    /// The smallest cell that a suppressed table may show.
    pub fn min_cell(&self) -> i64 {
        self.spec.limits.min_cell
    }

    /// Why a rule is there, in its own words.
    pub fn reason(&self, rule: &str) -> &str {
        self.rules.get(rule).map_or("", |text| text.reason.as_str())
    }

    /// What a rule saw that made it refuse, where one value tells it.
    pub(super) fn saw(&self, rule: &str, question: &Question, entities: &Entities) -> Option<String> {
        let failed = self.clauses.get(rule)?.iter().find(|clause| !clause.holds(question, entities))?;
        failed.saw(question, entities)
    }

    /// The national set without the rules that an exception lifts.
    pub fn national_without(&self, lifted: &BTreeSet<String>) -> Cow<'_, PolicySet> {
        without(&self.national, lifted)
    }

    /// The rules that are asked of something.
    pub(super) fn rules_of(&self, asked: Asked) -> &RuleSet {
        static NONE: LazyLock<RuleSet> = LazyLock::new(RuleSet::default);
        self.asked.get(&asked).unwrap_or_else(|| &NONE)
    }

    /// What a rule of the gate reads that does not say what it is asked of; none where it does say.
    pub(super) fn reads_unasked(&self, rule: &str) -> Option<&Reads> {
        self.rules.get(rule).filter(|said| said.asked.is_none())?;
        self.rules_of(Asked::Row).by_rule.get(rule)
    }

    /// The dates that its rules hold themselves.
    pub(super) fn dates(&self) -> impl Iterator<Item = Timestamp> {
        self.asked.values().flat_map(|rules| rules.reads.literal_dates()).filter_map(time_dependence::parse)
    }

    /// Whether a rule of it may turn only after a date.
    pub(super) fn turns_late(&self) -> bool {
        self.access.reads.turns_late() || self.asked.values().any(|rules| rules.reads.turns_late())
    }

    /// Whether only dates that are known change what it says of a request.
    pub(super) fn access_keeps_time(&self) -> bool {
        self.access.reads.keeps_time()
    }

    /// Whether it may say another thing to one account of a recipient than to the next, or to its function.
    pub(super) fn tells_accounts_apart(&self) -> bool {
        self.access.reads.tells_accounts_apart()
    }

    /// Whether only dates that are known change what it says of an agreement.
    pub(super) fn is_plain(&self) -> bool {
        // each rule of the gate is asked of something
        !self.asked.values().any(|rules| rules.reads.calculates())
    }

    /// Whether an exception may lift a rule.
    pub(super) fn lets_lift(&self, rule: &str) -> bool {
        self.spec.exceptable.iter().any(|exceptable| exceptable == rule)
    }

    /// Whether, with `accession`, a rule keeps out those that it refuses, and no one else.
    pub(super) fn keeps_out(&self, rule: &str) -> bool {
        self.rules.get(rule).is_some_and(|text| text.keeps_out)
    }
}

fn without<'a>(set: &'a PolicySet, rules: &BTreeSet<String>) -> Cow<'a, PolicySet> {
    if rules.is_empty() {
        return Cow::Borrowed(set);
    }
    let mut set = set.clone();
    for rule in rules {
        // a rule of the other set is not there to be removed
        let _ = set.remove_static(PolicyId::new(rule));
    }
    Cow::Owned(set)
}

static LOADED: LazyLock<Mutex<BTreeMap<String, Arc<Framework>>>> = LazyLock::new(Mutex::default);

/// Loads a framework: parses and validates its policies and sorts them by `@tier`. The result is remembered by the
/// framework's digest, as loading is the dear part of judging.
pub fn load_framework(spec: &PolicyFrameworkSpec) -> Result<Arc<Framework>, Vec<PolicyProblem>> {
    let digest = framework_digest(spec);
    let cache = || LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(framework) = cache().get(&digest) {
        return Ok(Arc::clone(framework));
    }
    let framework = Arc::new(build(spec, digest.clone())?);
    let mut cache = cache();
    // a cluster holds a handful; something that makes them by the hundred must not fill the memory
    if cache.len() >= 64 {
        cache.clear();
    }
    cache.insert(digest, Arc::clone(&framework));
    Ok(framework)
}

fn framework_digest(spec: &PolicyFrameworkSpec) -> String {
    // a spec always serializes; an empty digest would equal no other framework's
    terms::digest(&json!(spec)).unwrap_or_default()
}

fn build(spec: &PolicyFrameworkSpec, digest: String) -> Result<Framework, Vec<PolicyProblem>> {
    let mut problems = Vec::new();
    let zone = &spec.limits.time_zone;
    let time_zone = TimeZone::get(zone).unwrap_or_else(|_| {
        problems.push(PolicyProblem::time_zone(zone));
        TimeZone::UTC
    });
    let mut policies: BTreeMap<String, (String, Rule)> = BTreeMap::new();
    for (file, text) in &spec.policies {
        match load(text, |rules| rules.iter().flat_map(lint::can_fail).collect()) {
            Ok(loaded) => {
                for rule in loaded {
                    let id = names::rule_id(&rule.policy);
                    if policies.contains_key(&id) {
                        problems.push(PolicyProblem::duplicate(&id, file));
                    }
                    policies.insert(id, (file.clone(), rule));
                }
            }
            Err(found) => problems.extend(found.into_iter().map(|problem| problem.in_file(file))),
        }
    }
    let mut framework = Framework {
        reference: FrameworkRef { name: spec.name.clone(), version: spec.version.clone() },
        spec: spec.clone(),
        digest,
        gate: PolicySet::new(),
        national: PolicySet::new(),
        agreement: Vec::new(),
        access: RuleSet::default(),
        asked: BTreeMap::new(),
        unasked: RuleSet::default(),
        literals: BTreeSet::new(),
        time_zone,
        terms: text(""),
        rules: BTreeMap::new(),
        clauses: BTreeMap::new(),
    };
    for (id, (file, rule)) in policies {
        let reads = Reads::of(&rule.json);
        let (said, wrong) = RuleText::read(&rule, &reads);
        problems.extend(wrong.into_iter().map(|problem| problem.in_file(&file)));
        let Some(said) = said else {
            continue;
        };
        let Rule { policy, clauses, literals, .. } = rule;
        framework.literals.extend(literals.iter().cloned());
        framework.clauses.insert(id.clone(), clauses);
        if framework.sort_in(&policy, &said, &reads).is_err() {
            problems.push(PolicyProblem::duplicate(&id, &file));
        }
        framework.rules.insert(id, said);
    }
    // a rule that could not be loaded is there all the same
    let is_whole = problems.is_empty();
    for rule in spec.exceptable.iter().filter(|_| is_whole) {
        match framework.rules.get(rule) {
            None => problems.push(PolicyProblem::exceptable(rule, "which is no rule of this framework")),
            Some(said) if said.never_lifted => {
                problems.push(PolicyProblem::exceptable(rule, "which says `@lift(\"never\")`"));
            }
            Some(said) if said.tier == Tier::Agreement => {
                problems.push(PolicyProblem::exceptable(rule, "which permits what agreements list"));
            }
            Some(_) => {}
        }
    }
    let permits = |policy: &Policy| policy.effect() == Effect::Permit;
    if is_whole && !framework.gate.policies().any(permits) {
        problems.push(PolicyProblem::no_gate_permit());
    }
    if is_whole && !framework.agreement.iter().any(permits) {
        problems.push(PolicyProblem::no_agreement_permit());
    }
    framework.terms = terms(&framework);
    if problems.is_empty() { Ok(framework) } else { Err(problems) }
}

impl Framework {
    /// Puts a rule into the sets that it is asked in.
    fn sort_in(
        &mut self,
        policy: &Policy,
        said: &RuleText,
        reads: &Reads,
    ) -> Result<(), Box<PolicySetError>> {
        match said.tier {
            Tier::Gate => self.gate.add(policy.clone())?,
            Tier::Ceiling | Tier::Floor => self.national.add(policy.clone())?,
            Tier::Agreement => self.agreement.push(policy.clone()),
        }
        if said.tier != Tier::Gate {
            self.access.add(policy, reads)?;
        }
        if let Some(asked) = said.asked {
            self.asked.entry(asked).or_default().add(policy, reads)?;
        } else if said.tier == Tier::Gate {
            // asked of every row; and of every purpose, unless it says the same of each
            self.asked.entry(Asked::Row).or_default().add(policy, reads)?;
            if policy.effect() == Effect::Forbid || reads.paths().next().is_some() {
                self.unasked.add(policy, reads)?;
            }
        }
        Ok(())
    }
}

fn terms(framework: &Framework) -> Value {
    record([
        ("individualCare", texts(framework.individual_care())),
        ("prohibited", texts(framework.prohibited())),
        ("assuranceSchemes", texts(framework.spec.vocabulary.assurance_schemes.clone())),
        ("minCell", long(framework.min_cell())),
    ])
}

/// The built-in framework's spec: `england` 1.0.0.
pub fn built_in_spec() -> &'static PolicyFrameworkSpec {
    &BUILT_IN_SPEC
}

/// The built-in framework.
pub fn built_in() -> &'static Arc<Framework> {
    &BUILT_IN
}

static BUILT_IN_SPEC: LazyLock<PolicyFrameworkSpec> = LazyLock::new(|| {
    let policies: BTreeMap<&str, &str> = BTreeMap::from([
        ("agreement-gate.cedar", include_str!("../../../policies/national/agreement-gate.cedar")),
        ("agreement.cedar", include_str!("../../../policies/national/agreement.cedar")),
        ("floor.cedar", include_str!("../../../policies/national/floor.cedar")),
        ("guardrails.cedar", include_str!("../../../policies/national/guardrails.cedar")),
    ]);
    #[expect(clippy::expect_used, reason = "constant texts, parsed by every test")]
    let spec = serde_json::from_str(include_str!("../../../policies/national/england.json"))
        .and_then(|mut spec: serde_json::Value| {
            if let Some(fields) = spec.as_object_mut() {
                fields.insert("policies".to_owned(), json!(policies));
            }
            serde_json::from_value(spec)
        })
        .expect("the built-in framework");
    spec
});

static BUILT_IN: LazyLock<Arc<Framework>> = LazyLock::new(|| {
    #[expect(clippy::panic, reason = "constant texts, loaded by every test")]
    load_framework(built_in_spec()).unwrap_or_else(|problems| panic!("the built-in framework: {problems:?}"))
});
