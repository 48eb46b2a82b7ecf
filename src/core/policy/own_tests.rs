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
use crate::model::{Agreement, FunctionRef, Model};
use crate::snapshot::Sourced;
use concordat_api::{LocalPolicy as WirePolicy, ObjectRef, PartnerOrgSpec, Phase, PolicyTestCase, Standing};

/// What the policies' own tests have shown.
#[derive(Default)]
pub(super) struct Tested {
    /// Policies whose tests fail, and why their permits do not count.
    pub(super) failing: BTreeMap<ObjectRef, String>,
    /// Policies that cannot be judged yet, and why.
    pub(super) waiting: BTreeMap<ObjectRef, String>,
}

/// Runs the policies' own tests, on the whole model with every agreement taken as signed that is the place's business.
///
/// Each is judged without the other local policies: were it not, a place that adds a forbid could make another
/// policy's test fail, and with that take that policy's permits away. Nor does a stranger's draft: see [`is_grounds`]. A test
/// about an agreement that is refused or superseded says nothing of the policy, which waits until that is fixed.
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
        homes: model.orgs.values().map(|org| (org.spec.home_namespace.as_str(), &org.spec)).collect(),
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

/// Whether an agreement that a test takes as signed may be: anybody can write one that no one signs, and a place's permits
/// must not depend on it. It may where it lies at home with the controller of the product or with an organisation of the
/// place, where that controller has signed it, on whatever terms, or where the policy or the test names it.
fn is_grounds(
    model: &Model,
    homes: &BTreeMap<&str, &PartnerOrgSpec>,
    (policy, case): (&LocalPolicy, &PolicyTestCase),
    product: &ObjectRef,
    agreement: &Agreement,
    now: Timestamp,
) -> bool {
    let reference = &agreement.reference;
    let Some(product) = model.products.get(product) else { return false };
    let controller = product.spec.controller.as_str();
    let author = homes.get(reference.namespace.as_str());
    let is_at_home = author.is_some_and(|author| {
        let mut places = policy.footprints.iter();
        let is_controller =
            model.orgs.get(controller).is_some_and(|it| it.spec.home_namespace == author.home_namespace);
        is_controller || places.any(|place| model.footprints.org_lies_in(author, place))
    });
    let has_signed = || {
        let signer = agreement.signers.get(controller);
        let voice = signer.map(|it| it.words.at(now, &agreement.purposes(), &it.terms_hash));
        voice.is_some_and(|it| matches!(it.standing, Standing::Signed | Standing::OtherTerms))
    };
    let is_named = || {
        case.expect.agreement.as_ref() == Some(&reference.to_string())
            || policy.text.contains(&names::agreement(reference).to_string())
    };
    is_at_home || has_signed() || is_named()
}

struct Tester<'m> {
    model: &'m Model,
    store: &'m Arc<EntityStore>,
    now: Timestamp,
    listings: Listings<'m>,
    /// The organisations by their home namespaces.
    homes: BTreeMap<&'m str, &'m PartnerOrgSpec>,
    /// Entities at moments at which an organisation had another state than now.
    stores: BTreeMap<Timestamp, Arc<EntityStore>>,
    /// By moment, path, and the agreements that count.
    assessed: BTreeMap<(Timestamp, Flow, BTreeSet<ObjectRef>), Assessments>,
    assessed_whole: BTreeMap<(Timestamp, Option<ObjectRef>, BTreeSet<ObjectRef>), Assessments>,
}

impl Tester<'_> {
    fn run(&mut self, policy: &LocalPolicy, case: &PolicyTestCase) -> Went {
        let Self { model, store: store_now, now, listings, homes, stores, assessed, assessed_whole } = self;
        let at = case.at.unwrap_or(*now);
        let stands_alike = model.orgs.values().all(|org| org.state(at) == org.state(*now));
        let store: &Arc<EntityStore> = if stands_alike {
            store_now
        } else {
            stores.entry(at).or_insert_with(|| Arc::new(EntityStore::new(model, at)))
        };
        let ask = |assessments: &Assessments| test::run(model, &[policy], assessments, case, at);
        // whatever lists another product, or another recipient, has no part in the answer
        let flow = asked_flow(model, &case.request);
        let listing =
            || flow.iter().flat_map(|(product, _)| listings.listing(product).map(move |it| (product, it)));
        let counts = |(product, it): &(&ObjectRef, &Agreement)| {
            is_grounds(model, homes, (policy, case), product, it, *now)
        };
        let counting: BTreeSet<ObjectRef> =
            listing().filter(counts).map(|(_, it)| it.reference.clone()).collect();
        let key = (at, flow.clone(), counting.clone());
        let assessments = assessed.entry(key).or_insert_with(|| match &flow {
            Some((product, function)) => {
                listings.assess(product, Some(function), &counting, store, at, Signing::Assumed)
            }
            None => Assessments { store: Arc::clone(store), ..Assessments::default() },
        });
        let outcome = ask(assessments);
        if outcome.passed && test::over(model, assessments, &case.request, &case.expect, at).is_none() {
            return Went::Passed(outcome.fired);
        }
        if let Some((_, drawn)) = listing().next().filter(|_| counting.is_empty()) {
            return Went::Waits {
                why: format!(
                    "`{}`, which its tests ask about, is a draft of somebody outside its place",
                    drawn.reference
                ),
                once: "the controller of the data has signed it",
            };
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
        let assess =
            |signing| product.as_ref().map(|it| listings.assess(it, None, &counting, store, at, signing));
        let key = (at, product.clone(), counting.clone());
        let assessments =
            &*assessed_whole.entry(key).or_insert_with(|| assess(Signing::Assumed).unwrap_or_default());
        let over = test::over(model, assessments, &case.request, &case.expect, at);
        if outcome.passed && over.is_none() {
            return Went::Passed(outcome.fired);
        }
        // a draft that would replace it has done so only here, where signatures are assumed
        if let Some(all) = &assess(Signing::AssumedInPlace) {
            let outcome = ask(all);
            if outcome.passed && test::over(model, all, &case.request, &case.expect, at).is_none() {
                return Went::Passed(outcome.fired);
            }
        }
        let named = case.expect.agreement.clone().and_then(|named| closed(assessments, named));
        let asked = || closed_agreement(model, assessments, &case.request);
        if let Some((agreement, phase)) = named.or_else(asked) {
            let today = || {
                let product = product.as_ref()?;
                Some(listings.assess(product, None, &counting, store_now, *now, Signing::Assumed))
            };
            // what complies now does not have to be fixed: not the agreement, but the test's moment is wrong
            if phase == Phase::Refused
                && today().is_some_and(|today| closed(&today, agreement.clone()).is_none())
            {
                let why = format!(
                    "`{agreement}`, which it asks about, is refused at {at}{}",
                    by(assessments, &agreement)
                );
                let help = format!(
                    "ask at a moment when it complies, as at {now}: a test about what is refused shows nothing"
                );
                return Went::Failed { why, help };
            }
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

/// By which rules an agreement is refused, in words.
fn by(assessments: &Assessments, agreement: &str) -> String {
    let found = assessments.agreements.iter().find(|(reference, _)| reference.to_string() == agreement);
    let rules: BTreeSet<&str> =
        found.iter().flat_map(|(_, it)| &it.broken).map(|it| it.rule.as_str()).collect();
    if rules.is_empty() {
        return String::new();
    }
    format!(", by {}", rules.into_iter().collect::<Vec<_>>().join(", "))
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
