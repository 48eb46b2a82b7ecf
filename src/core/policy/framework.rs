//! Frameworks: national rules, loaded and sorted by what they do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet};
use jiff::tz::TimeZone;
use serde_json::json;

use super::clauses::Clauses;
use super::entities::{Value, long, record, text, texts};
use super::load::{PolicyProblem, Rule, load};
use crate::api::{FrameworkRef, PolicyFrameworkSpec, PurposeDefinition};
use crate::core::terms;

/// What a rule says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RuleText {
    pub reason: String,
    pub source: String,
    /// What would help whoever meets the rule, where the text says it.
    pub help: String,
    /// The field of the agreement that could mend it: a path, `party` or `purpose` with what follows in their entry.
    pub field: String,
}

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
    /// The agreement permits, which stand beside local rules.
    pub agreement: Vec<Policy>,
    /// The guardrails that are asked of a flow before there is a request.
    pub flow_guardrails: PolicySet,
    /// The zone in which rules read the day of the week and the minute of the day.
    pub(super) time_zone: TimeZone,
    /// What it says as data: the words and limits that rules read.
    pub(super) terms: Value,
    /// What each rule says of itself, by `@id`.
    pub rules: BTreeMap<String, RuleText>,
    /// What each rule needs, or what keeps it from firing.
    pub(super) clauses: BTreeMap<String, Clauses>,
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
    pub fn purposes(&self) -> impl Iterator<Item = &PurposeDefinition> {
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

    /// The national set without the rules that an exception lifts.
    pub fn national_without(&self, lifted: &BTreeSet<String>) -> Cow<'_, PolicySet> {
        without(&self.national, lifted)
    }

    /// The guardrails of flows without the rules that an exception lifts.
    pub fn flow_guardrails_without(&self, lifted: &BTreeSet<String>) -> Cow<'_, PolicySet> {
        without(&self.flow_guardrails, lifted)
    }

    /// The gate without the rules that an exception lifts.
    pub fn gate_without(&self, lifted: &BTreeSet<String>) -> Cow<'_, PolicySet> {
        without(&self.gate, lifted)
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

/// Guardrails that no request can escape: a flow that they would always deny is not opened.
const FLOW_GUARDRAILS: [&str; 2] = ["NF-13", "NF-19a"];

/// The tiers that a national rule can name in its `@tier`.
const TIERS: [(&str, Option<Effect>); 4] = [
    ("Gate", None),
    ("Ceiling", Some(Effect::Forbid)),
    ("Floor", Some(Effect::Permit)),
    ("Agreement", Some(Effect::Permit)),
];

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
    let mut policies: BTreeMap<String, Rule> = BTreeMap::new();
    for (file, text) in &spec.policies {
        match load(text, |_| Vec::new()) {
            Ok(loaded) => {
                for rule in loaded {
                    let id = rule.policy.id().to_string();
                    if policies.contains_key(&id) {
                        problems.push(PolicyProblem::duplicate(&id, file));
                    }
                    policies.insert(id, rule);
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
        flow_guardrails: PolicySet::new(),
        time_zone,
        terms: text(""),
        rules: BTreeMap::new(),
        clauses: BTreeMap::new(),
    };
    for (id, Rule { policy, clauses, .. }) in policies {
        framework.clauses.insert(id.clone(), clauses);
        let text = |key| policy.annotation(key).unwrap_or_default().to_owned();
        let said = RuleText {
            reason: text("reason"),
            source: text("source"),
            help: text("help"),
            field: text("field"),
        };
        framework.rules.insert(id.clone(), said);
        let tier = policy.annotation("tier").unwrap_or_default();
        let fits = TIERS
            .iter()
            .any(|(name, effect)| *name == tier && effect.is_none_or(|effect| effect == policy.effect()));
        let asked_of_flows =
            !FLOW_GUARDRAILS.contains(&id.as_str()) || framework.flow_guardrails.add(policy.clone()).is_ok();
        let added = match tier {
            "Gate" => framework.gate.add(policy),
            "Ceiling" | "Floor" => framework.national.add(policy),
            _ => {
                framework.agreement.push(policy);
                Ok(())
            }
        };
        if !fits || added.is_err() || !asked_of_flows {
            problems.push(PolicyProblem::tier(&id));
        }
    }
    framework.terms = terms(&framework);
    if problems.is_empty() { Ok(framework) } else { Err(problems) }
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
