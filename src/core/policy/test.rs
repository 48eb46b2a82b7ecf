//! Policy tests: a question, and whether the answer is the expected one.
//!
//! A test about something that does not exist, or that is over at its moment, shows nothing and has not passed.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::assessment::Assessments;
use super::authorize::NoAnswer;
use super::decide::{decide, matching_rules};
use super::local::LocalPolicy;
use super::near_miss::closest_phase;
use super::resolve::{asked_flow, function_of};
use super::words::{is_object, misspelling_of, names};
use crate::evaluate::Judgement;
use crate::model::Model;
use crate::text::is_blank;
use concordat_api::{
    AccessAnswer, AccessRequest, DataAction, DecisionTier, Expectation, ObjectRef, OrgState, Phase,
    PolicyTestCase, SubjectType,
};

/// How a test went.
#[derive(Clone, Debug, PartialEq)]
pub struct TestOutcome {
    pub passed: bool,
    pub answer: AccessAnswer,
    /// Such as "`tier` is `Ceiling`, expected `Floor`".
    pub mismatches: Vec<String>,
    /// Why it shows nothing, such as "there is no data product `north/registr`; did you mean `north/register`?".
    pub shows_nothing: Vec<String>,
    /// Whether a name is nearly one that there is.
    misspelt: bool,
    /// The local rules that match, whoever decides.
    pub fired: BTreeSet<String>,
}

/// Runs a test on a judgement, which has to be made at the test's moment.
pub fn run_test(judgement: &Judgement, test: &PolicyTestCase) -> TestOutcome {
    let Judgement { at, model, findings: _, assessments, moments: _ } = judgement;
    let policies: Vec<&LocalPolicy> = model.policies.values().collect();
    let mut outcome = run(model, &policies, assessments, test, *at);
    let PolicyTestCase { name: _, at: _, request, expect } = test;
    // who says that nothing permits means what is not there or over; who misspells a name does not
    if expect.tier == Some(DecisionTier::None) && !outcome.misspelt {
        outcome.shows_nothing.clear();
    } else if expect.tier.is_none() && expect.rule.is_none() {
        outcome.shows_nothing.extend(over(model, assessments, request, expect, *at));
    }
    outcome.passed = outcome.mismatches.is_empty() && outcome.shows_nothing.is_empty();
    if !outcome.mismatches.is_empty() {
        // only what failed is worth the time that an explanation takes
        outcome.answer = judgement.explain(request).answer;
    }
    outcome
}

/// Runs a test of a policy's own, with no other policy beside it.
pub fn run_own_test(
    model: &Model,
    policy: &LocalPolicy,
    assessments: &Assessments,
    test: &PolicyTestCase,
    now: Timestamp,
) -> TestOutcome {
    run(model, &[policy], assessments, test, now)
}

/// Asks a test's question under these policies, and holds the answer to what is expected of it.
pub(super) fn run(
    model: &Model,
    policies: &[&LocalPolicy],
    assessments: &Assessments,
    test: &PolicyTestCase,
    now: Timestamp,
) -> TestOutcome {
    let PolicyTestCase { name: _, at: _, request, expect } = test;
    let answer = decide(model, policies.iter().copied(), assessments, request, now).answer;
    let agreement = expect.agreement.as_ref().or(answer.context.agreement.as_ref());
    let agreement = agreement.and_then(|agreement| reference(agreement));
    let fired = agreement.map_or(Ok(BTreeSet::new()), |agreement| {
        matching_rules(model, policies.iter().copied(), assessments, request, &agreement, now)
    });
    let Unknown { shows_nothing, misspelt } = unknown(model, request, expect);
    let (mismatches, fired) = compare(&answer, expect, fired);
    let passed = mismatches.is_empty() && shows_nothing.is_empty();
    TestOutcome { passed, answer, mismatches, shows_nothing, misspelt, fired }
}

/// What of an answer is not as expected.
fn compare(
    answer: &AccessAnswer,
    expected: &Expectation,
    fired: Result<BTreeSet<String>, NoAnswer>,
) -> (Vec<String>, BTreeSet<String>) {
    let Expectation { decision, tier, rule, agreement, fires } = expected;
    let mut mismatches = Vec::new();
    let mut hold = |name: &str, expected: Option<String>, seen: String| {
        if let Some(expected) = expected
            && expected != seen
        {
            mismatches.push(format!("`{name}` is `{seen}`, expected `{expected}`"));
        }
    };
    let none = || "null".to_owned();
    hold("decision", decision.map(|decision| decision.to_string()), answer.decision.to_string());
    hold("tier", tier.map(|tier| tier.as_str().to_owned()), answer.context.tier.as_str().to_owned());
    hold("rule", rule.clone(), answer.context.rule.clone().unwrap_or_else(none));
    hold("agreement", agreement.clone(), answer.context.agreement.clone().unwrap_or_else(none));
    let listed = |rules: &BTreeSet<String>| match rules.len() {
        0 => "nothing".to_owned(),
        _ => rules.iter().cloned().collect::<Vec<_>>().join(", "),
    };
    let fires = fires.as_ref().map(|rules| rules.iter().cloned().collect::<BTreeSet<String>>());
    match (&fired, &fires) {
        (Ok(fired), Some(fires)) => hold("fires", Some(listed(fires)), listed(fired)),
        (Err(error), Some(_)) => mismatches.push(format!("which rules fire is not known: {error}")),
        (_, None) => {}
    }
    if *expected == (Expectation { decision: None, tier: None, rule: None, agreement: None, fires: None }) {
        mismatches.push(
            "it expects nothing: write a `decision`, a `tier`, a `rule`, an `agreement` or what `fires`"
                .to_owned(),
        );
    }
    (mismatches, fired.unwrap_or_default())
}

fn reference(text: &str) -> Option<ObjectRef> {
    let (namespace, name) = text.split_once('/')?;
    Some(ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// What a test names that does not exist, each with the name that was probably meant.
#[derive(Default)]
struct Unknown {
    shows_nothing: Vec<String>,
    misspelt: bool,
}

fn unknown(model: &Model, request: &AccessRequest, expected: &Expectation) -> Unknown {
    let AccessRequest { subject, action, resource, context } = request;
    let mut unknown = Unknown::default();
    let mut say = |what: &str, plain: &str, name: &str, names: Vec<String>| {
        if is_object(model, plain, name) {
            unknown.shows_nothing.push(format!("{what} `{name}` exists, but cannot be used"));
            return;
        }
        let near = misspelling_of(name, names.iter().map(String::as_str));
        let help = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        unknown.misspelt |= near.is_some();
        unknown.shows_nothing.push(format!("there is no {what} `{name}`{help}"));
    };
    if function_of(model, subject).is_none() {
        let (what, plain) = match subject.type_ {
            SubjectType::Workload => ("workload", "Workload"),
            SubjectType::OrgFunction => ("function", "OrgFunction"),
        };
        say(what, plain, &subject.id, names(model, plain, &subject.id));
    }
    if !DataAction::ALL.iter().any(|known| known.as_str() == action.name) {
        say(
            "action",
            "Action",
            &action.name,
            DataAction::ALL.iter().map(|action| action.as_str().to_owned()).collect(),
        );
    }
    let product = reference(&resource.id).filter(|_| resource.type_ == "DataProduct");
    if !product.is_some_and(|product| model.products.contains_key(&product)) {
        say("data product", "DataProduct", &resource.id, names(model, "DataProduct", &resource.id));
    }
    let purpose = context.purpose.as_deref().filter(|code| !is_blank(code));
    let mut frameworks = model.frameworks.values();
    if let Some(purpose) = purpose
        && !frameworks.any(|framework| framework.purpose(purpose).is_some())
    {
        let purposes = model.frameworks.values().flat_map(|framework| framework.purposes());
        say("purpose", "Purpose", purpose, purposes.map(|purpose| purpose.code.clone()).collect());
    }
    // a role that no one has may be what a test is about, one that is nearly a known one is a slip
    let roles: BTreeSet<&String> = model
        .frameworks
        .values()
        .flat_map(|framework| &framework.spec.vocabulary.roles)
        .chain(
            model
                .agreements
                .values()
                .flat_map(|it| &it.spec.purposes)
                .flat_map(|it| it.roles.iter().flatten()),
        )
        .collect();
    for role in context.roles.iter().filter(|role| !roles.contains(role)) {
        if misspelling_of(role, roles.iter().map(|it| it.as_str())).is_some() {
            say("role", "Role", role, roles.iter().map(|it| (*it).clone()).collect());
        }
    }
    if let Some(org) =
        context.onward_to.as_deref().filter(|org| !is_blank(org) && !model.orgs.contains_key(*org))
    {
        say("organisation", "PartnerOrg", org, names(model, "PartnerOrg", org));
    }
    // a test can ask for no agreement
    if let Some(agreement) = expected.agreement.as_deref().filter(|agreement| *agreement != "null")
        && !reference(agreement).is_some_and(|it| model.agreements.contains_key(&it))
    {
        say("agreement", "Agreement", agreement, names(model, "Agreement", agreement));
    }
    unknown
}

/// What a test is about that is over at its moment: the agreement that it names, those that list the path, or a body
/// that is no more.
pub(super) fn over(
    model: &Model,
    assessments: &Assessments,
    request: &AccessRequest,
    expected: &Expectation,
    now: Timestamp,
) -> Option<String> {
    let is_over = |phase: Phase| matches!(phase, Phase::Terminating | Phase::Superseded | Phase::Expired);
    if let Some(agreement) = expected.agreement.as_deref().and_then(reference) {
        let phase = assessments.agreements.get(&agreement).map(|assessment| assessment.phase);
        return phase.filter(|phase| is_over(*phase)).map(|phase| ended(&agreement, phase, now));
    }
    if let Some(gone) = gone(model, request, now) {
        return Some(gone);
    }
    let (agreement, phase) = closest_phase(model, assessments, request)?;
    is_over(phase).then(|| ended(&agreement, phase, now))
}

/// A body that a request is about and that is no more at its moment.
pub(super) fn gone(model: &Model, request: &AccessRequest, now: Timestamp) -> Option<String> {
    let (product, function) = asked_flow(model, request)?;
    let controller = model.products.get(&product).map(|product| product.spec.controller.as_str());
    [Some(function.org.as_str()), controller].into_iter().flatten().find_map(|org| {
        let state = model.orgs.get(org)?.state(now);
        matches!(state, OrgState::Dissolved | OrgState::Merged)
            .then(|| format!("`{org}`, which the test asks about, is {state:?}"))
    })
}

fn ended(agreement: &ObjectRef, phase: Phase, now: Timestamp) -> String {
    format!("`{agreement}` is {} at {now}", phase.as_str())
}
