//! The tests that local policies bring with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::ActionConstraint;
use jiff::Timestamp;

use super::assess::Listings;
use super::assessment::Assessments;
use super::entities::EntityStore;
use super::local::{LocalPolicy, parse, text_finding};
use super::near_miss::{closed, closed_agreement};
use super::problem::PolicyProblem;
use super::resolve::asked_flow;
use super::signing::Signing;
use super::{names, test};
use crate::finding::{Code, Finding};
use crate::model::{FunctionRef, Model};
use crate::snapshot::Sourced;
use concordat_api::{LocalPolicy as WirePolicy, ObjectRef, Phase, PolicyTestCase};

/// What the policies' own tests have shown.
#[derive(Default)]
pub(super) struct Tested {
    /// Policies whose tests fail, and why their permits do not count.
    pub(super) failing: BTreeMap<ObjectRef, String>,
    /// Policies that cannot be judged yet, and why.
    pub(super) waiting: BTreeMap<ObjectRef, String>,
}

/// Runs the policies' own tests, on the whole model with every agreement taken as signed.
///
/// Each is judged without the other local policies: were it not, a place that adds a forbid could make another
/// policy's test fail, and with that take that policy's permits away. A test about an agreement that is refused or
/// superseded says nothing of the policy, which waits until that is fixed.
pub(super) fn test_all(
    model: &Model,
    store: &Arc<EntityStore>,
    wire: &BTreeMap<ObjectRef, &Sourced<WirePolicy>>,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> Tested {
    let mut tester = Tester {
        model,
        store,
        now,
        listings: Listings::new(model),
        stores: BTreeMap::new(),
        assessed: BTreeMap::new(),
        assessed_whole: BTreeMap::new(),
    };
    let mut tested = Tested::default();
    for (reference, sourced) in wire {
        // a policy that waits has rules left out, so that its tests say nothing yet
        let Some(policy) = model.policies.get(reference).filter(|policy| policy.permits_disabled.is_none())
        else {
            continue;
        };
        let mut fired: BTreeSet<String> = BTreeSet::new();
        let mut all_passed = true;
        for (index, case) in sourced.object.spec.tests.iter().enumerate() {
            let field = format!("spec.tests[{index}]");
            match tester.run(policy, case) {
                Went::Passed(rules) => fired.extend(rules),
                Went::Waits { why, once } => {
                    all_passed = false;
                    if tested.waiting.insert(reference.clone(), why.clone()).is_none() {
                        let found = sourced.finding(Code::PolicyWaiting, &field, why);
                        findings.push(found.help(format!("its forbids are loaded, its permits once {once}")));
                    }
                }
                Went::Failed { why, help } => {
                    all_passed = false;
                    let message = format!("test `{}` fails: {why}", case.name);
                    findings.push(sourced.finding(Code::PolicyTestFailed, &field, message).help(help));
                    tested
                        .failing
                        .entry(reference.clone())
                        .or_insert_with(|| "a test of its own fails".to_owned());
                }
            }
        }
        // that there has to be a test is for the shape to say
        if all_passed && !sourced.object.spec.tests.is_empty() {
            untested(sourced, policy, &fired, findings);
        }
    }
    tested
}

/// How one test went.
enum Went {
    /// With the rules of the policy that matched.
    Passed(BTreeSet<String>),
    Failed {
        why: String,
        help: String,
    },
    /// It says nothing of the policy until something else is fixed.
    Waits {
        why: String,
        once: &'static str,
    },
}

type Flow = Option<(ObjectRef, FunctionRef)>;

struct Tester<'m> {
    model: &'m Model,
    store: &'m Arc<EntityStore>,
    now: Timestamp,
    listings: Listings<'m>,
    /// Entities at moments at which an organisation had another state than now.
    stores: BTreeMap<Timestamp, Arc<EntityStore>>,
    assessed: BTreeMap<(Timestamp, Flow), Assessments>,
    assessed_whole: BTreeMap<(Timestamp, Option<ObjectRef>), Assessments>,
}

impl Tester<'_> {
    fn run(&mut self, policy: &LocalPolicy, case: &PolicyTestCase) -> Went {
        let Self { model, store, now, listings, stores, assessed, assessed_whole } = self;
        let at = case.at.unwrap_or(*now);
        let stands_alike = model.orgs.values().all(|org| org.state(at) == org.state(*now));
        let store: &Arc<EntityStore> = if stands_alike {
            store
        } else {
            stores.entry(at).or_insert_with(|| Arc::new(EntityStore::new(model, at)))
        };
        let ask = |assessments: &Assessments| test::run(model, &[policy], assessments, case, at);
        // whatever lists another product, or another recipient, has no part in the answer
        let flow = asked_flow(model, &case.request);
        let assessments = assessed.entry((at, flow.clone())).or_insert_with(|| match &flow {
            Some((product, function)) => {
                listings.assess(product, Some(function), store, at, Signing::Assumed)
            }
            None => Assessments { store: Arc::clone(store), ..Assessments::default() },
        });
        let outcome = ask(assessments);
        if outcome.passed && test::over(model, assessments, &case.request, &case.expect, at).is_none() {
            return Went::Passed(outcome.fired);
        }
        if !outcome.shows_nothing.is_empty() {
            return Went::Failed {
                why: outcome.shows_nothing.join(", "),
                help: "ask about what is there: a test about nothing shows nothing".to_owned(),
            };
        }
        if let Some(why) = test::gone(model, &case.request, at) {
            return Went::Waits { why, once: "its tests ask about bodies that there still are" };
        }
        // what to say about it takes a wider look
        let product = flow.map(|(product, _)| product);
        let assessments = &*assessed_whole.entry((at, product.clone())).or_insert_with(|| {
            let all = product.as_ref().map(|it| listings.assess(it, None, store, at, Signing::Assumed));
            all.unwrap_or_default()
        });
        let over = test::over(model, assessments, &case.request, &case.expect, at);
        if outcome.passed && over.is_none() {
            return Went::Passed(outcome.fired);
        }
        // a draft that would replace it has done so only here, where signatures are assumed
        let in_place =
            product.as_ref().map(|it| listings.assess(it, None, store, at, Signing::AssumedInPlace));
        if let Some(all) = &in_place {
            let outcome = ask(all);
            if outcome.passed && test::over(model, all, &case.request, &case.expect, at).is_none() {
                return Went::Passed(outcome.fired);
            }
        }
        let named = case.expect.agreement.clone().and_then(|named| closed(assessments, named));
        let asked = || closed_agreement(model, assessments, &case.request);
        if let Some((agreement, phase)) = named.or_else(asked) {
            let (is, once) = if phase == Phase::Superseded {
                ("superseded", "its tests ask about the one that took its place")
            } else {
                ("refused", "the agreement is fixed")
            };
            return Went::Waits { why: format!("`{agreement}`, which its tests ask about, is {is}"), once };
        }
        if let Some(over) = over {
            let help =
                "ask at a moment when it is in force: a test about what is over shows nothing".to_owned();
            return Went::Failed { why: over, help };
        }
        let outcome = ask(assessments);
        let help = format!("the answer was: {}", outcome.answer.context.reason);
        Went::Failed { why: outcome.mismatches.join(", "), help }
    }
}

/// Says of which rules no test shows anything.
fn untested(
    sourced: &Sourced<WirePolicy>,
    policy: &LocalPolicy,
    fired: &BTreeSet<String>,
    findings: &mut Vec<Finding>,
) {
    let text = parse(&sourced.object.spec.cedar);
    for rule in text.iter().flat_map(|rules| rules.iter()) {
        let id = format!("{}#{}", policy.reference, names::rule_id(&rule.policy));
        if fired.contains(&id) {
            continue;
        }
        let about_data = match rule.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(action) => action != names::activate_agreement(),
            ActionConstraint::In(actions) => {
                actions.iter().any(|action| *action != names::activate_agreement())
            }
        };
        let (message, help) = if about_data {
            (
                "no test makes it fire",
                "write a test whose request it matches, and expect it by `fires`, whoever decides",
            )
        } else {
            (
                "it never fires: no local rule is asked about `activateAgreement`",
                "write it about `action in Concordat::Action::\"useData\"`, or take it out",
            )
        };
        findings.push(text_finding(sourced, PolicyProblem::lint(Code::PolicyUntested, rule, message, help)));
    }
}
