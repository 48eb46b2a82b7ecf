//! The laws: properties that hold for every world, whatever is in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use crate::folders;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use concordat_api::{
    AccessRequest, DataAction, Identifiability, ObjectRef, RequestAction, RequestContext, RequestResource,
    SignatureState, Subject, SubjectType,
};
use concordat_core::evaluate::Judgement;
use concordat_core::plan::PlannedObject;
use concordat_core::snapshot::Snapshot;
use jiff::Timestamp;
use kube::ResourceExt as _;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Two agreements with all that agreements have: small, as each law is asked of it many times.
static WORLD: LazyLock<Snapshot> =
    LazyLock::new(|| folders::world_of(|name| name.starts_with("s01-") || name.starts_with("s25-")));

fn at() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().unwrap()
}

/// What is open: product, recipient, purpose.
fn open(snapshot: &Snapshot) -> BTreeSet<String> {
    let judgement = Judgement::new(snapshot, at());
    let flows = judgement.assessments.agreements.values().flat_map(|it| &it.flows);
    flows
        .flat_map(|flow| {
            flow.purposes.iter().map(move |it| format!("{} {} {}", flow.product, flow.recipient, it.code))
        })
        .collect()
}

/// One thing that may be taken away from a world. None of them may ever add access.
#[derive(Clone, Debug)]
enum Loss {
    Signature(Index),
    Withdrawal(Index),
    Party(Index, Index),
    Purpose(Index, Index),
    Product(Index, Index, Index),
    Action(Index, Index, Index),
    Org(Index),
    WholeProduct(Index),
    Footprint(Index),
    Suspension(Index),
}

fn loss() -> impl Strategy<Value = Loss> {
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Loss::Signature),
        index().prop_map(Loss::Withdrawal),
        (index(), index()).prop_map(|(a, b)| Loss::Party(a, b)),
        (index(), index()).prop_map(|(a, b)| Loss::Purpose(a, b)),
        (index(), index(), index()).prop_map(|(a, b, c)| Loss::Product(a, b, c)),
        (index(), index(), index()).prop_map(|(a, b, c)| Loss::Action(a, b, c)),
        index().prop_map(Loss::Org),
        index().prop_map(Loss::WholeProduct),
        index().prop_map(Loss::Footprint),
        index().prop_map(Loss::Suspension),
    ]
}

fn take<T>(list: &mut Vec<T>, index: Index) {
    if !list.is_empty() {
        let at = index.index(list.len());
        list.remove(at);
    }
}

fn lose(world: &mut Snapshot, loss: &Loss) {
    let agreement = |world: &mut Snapshot, index: &Index| {
        let at = index.index(world.agreements.len());
        world.agreements[at].object.spec.clone()
    };
    let put = |world: &mut Snapshot, index: &Index, spec| {
        let at = index.index(world.agreements.len());
        world.agreements[at].object.spec = spec;
    };
    match loss {
        Loss::Signature(index) => take(&mut world.signatures, *index),
        Loss::Withdrawal(index) if !world.signatures.is_empty() => {
            let at = index.index(world.signatures.len());
            world.signatures[at].object.spec.state = Some(SignatureState::Withdrawn);
        }
        Loss::Withdrawal(_) => {}
        Loss::Party(a, b) => {
            let mut spec = agreement(world, a);
            take(&mut spec.parties, *b);
            put(world, a, spec);
        }
        Loss::Purpose(a, b) => {
            let mut spec = agreement(world, a);
            take(&mut spec.purposes, *b);
            put(world, a, spec);
        }
        Loss::Product(a, b, c) => {
            let mut spec = agreement(world, a);
            if !spec.purposes.is_empty() {
                let at = b.index(spec.purposes.len());
                take(&mut spec.purposes[at].products, *c);
            }
            put(world, a, spec);
        }
        Loss::Action(a, b, c) => {
            let mut spec = agreement(world, a);
            if !spec.purposes.is_empty() {
                let at = b.index(spec.purposes.len());
                take(&mut spec.purposes[at].actions, *c);
            }
            put(world, a, spec);
        }
        Loss::Org(index) => take(&mut world.orgs, *index),
        Loss::WholeProduct(index) => take(&mut world.products, *index),
        Loss::Footprint(index) => take(&mut world.footprints, *index),
        Loss::Suspension(index) => {
            let mut spec = agreement(world, index);
            spec.suspend = true;
            put(world, index, spec);
        }
    }
}

fn request() -> impl Strategy<Value = AccessRequest> {
    let subjects: Vec<String> = WORLD
        .orgs
        .iter()
        .flat_map(|org| {
            let name = org.object.name_any();
            org.object.spec.functions.iter().map(move |function| format!("{name}/{}", function.name))
        })
        .collect();
    let products: Vec<String> = WORLD
        .products
        .iter()
        .map(|it| {
            let reference =
                ObjectRef { namespace: it.object.namespace().unwrap(), name: it.object.name_any() };
            reference.to_string()
        })
        .collect();
    let purposes = vec!["DirectCare", "ProactiveCare", "Planning", "Research", "Marketing", "Nonsense"];
    let roles = vec!["Clinician", "CareCoordinator", "LinkWorker", "Analyst"];
    let levels = vec![
        Identifiability::AggregateSuppressed,
        Identifiability::AggregateSmallNumbers,
        Identifiability::Pseudonymised,
        Identifiability::Identifiable,
    ];
    let asked = (
        select(subjects),
        select(products),
        select(DataAction::ALL.to_vec()),
        select(purposes),
        select(levels),
    );
    let said = (select(roles), any::<[bool; 4]>(), select(vec![0_i64, 1, 8, 20]), select(vec!["GB", "US"]));
    (asked, said).prop_map(|((subject, product, action, purpose, level), (role, flags, cell, region))| {
        let [relationship, consent, opt_outs, break_glass] = flags;
        AccessRequest {
            subject: Subject { type_: SubjectType::OrgFunction, id: subject },
            action: RequestAction { name: action.as_str().to_owned() },
            resource: RequestResource { type_: "DataProduct".to_owned(), id: product },
            context: RequestContext {
                purpose: Some(purpose.to_owned()),
                identifiability: Some(level),
                roles: vec![role.to_owned()],
                legitimate_relationship: relationship,
                explicit_consent: consent,
                opt_outs_applied: opt_outs,
                min_cell_count: Some(cell),
                case_reference: Some("CASE-1".to_owned()),
                break_glass,
                region: Some(region.to_owned()),
                onward_to: None,
            },
        }
    })
}

/// A forbid of a place, for everything that it can reach.
fn forbid_all(world: &mut Snapshot) {
    let mut policy = world.policies.first().expect("S01 has a local policy").clone();
    policy.object.metadata.name = Some("forbid-all".to_owned());
    policy.object.spec.cedar =
        "@id(\"all\") @reason(\"a law of the tests\") forbid (principal, action, resource) \
                                when { context.purpose != \"\" };"
            .to_owned();
    policy.object.spec.tests.truncate(1);
    policy.object.spec.tests[0].expect.decision = Some(false);
    policy.object.spec.tests[0].expect.tier = None;
    policy.object.spec.tests[0].expect.rule = None;
    policy.object.spec.tests[0].expect.agreement = None;
    world.policies.push(policy);
}

static HERE: LazyLock<Judgement> = LazyLock::new(|| Judgement::new(&WORLD, at()));
static FORBIDDEN: LazyLock<Judgement> = LazyLock::new(|| {
    let mut world = WORLD.clone();
    forbid_all(&mut world);
    let judgement = Judgement::new(&world, at());
    assert_eq!(judgement.model.policies.len(), WORLD.policies.len() + 1, "{:?}", judgement.findings);
    judgement
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn taking_anything_away_never_opens_anything(losses in proptest::collection::vec(loss(), 1..4)) {
        let mut world = WORLD.clone();
        let before = open(&world);
        for loss in &losses {
            lose(&mut world, loss);
        }
        let after = open(&world);
        prop_assert!(after.is_subset(&before), "{:?} opened {:?}", losses, after.difference(&before).collect::<Vec<_>>());
    }

    #[test]
    fn the_order_of_objects_does_not_matter(seed in any::<u64>()) {
        let mut world = WORLD.clone();
        let turn = |length: usize| usize::try_from(seed % 97).unwrap() % length.max(1);
        macro_rules! rotate { ($($list:ident)*) => { $( let by = turn(world.$list.len()); world.$list.rotate_left(by); )* } }
        rotate!(footprints orgs products agreements signatures policies);
        prop_assert_eq!(Judgement::new(&world, at()).plan(), HERE.plan());
    }

    #[test]
    fn the_same_question_has_the_same_answer(request in request()) {
        prop_assert_eq!(HERE.decide(&request), HERE.decide(&request));
    }

    #[test]
    fn a_local_forbid_never_adds_access_and_never_takes_the_floor(request in request()) {
        let (without, with) = (HERE.decide(&request).answer, FORBIDDEN.decide(&request).answer);
        prop_assert!(without.decision || !with.decision, "{:?} became {:?}", without, with);
        if without.context.tier == concordat_api::DecisionTier::Floor {
            prop_assert_eq!(with, without);
        }
    }
}

#[test]
fn what_is_being_deleted_gives_no_access_whatever_holds_it() {
    let now = || Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at()));
    let before = open(&WORLD);
    for index in 0..WORLD.signatures.len() {
        let mut world = WORLD.clone();
        let signature = &mut world.signatures[index].object;
        signature.metadata.deletion_timestamp = now();
        let (agreement, party) = (signature.spec.agreement.clone(), signature.spec.party.clone());
        let after = open(&world);
        assert!(after.is_subset(&before) && after.len() < before.len(), "{agreement} {party}: {after:?}");
    }
    for index in 0..WORLD.products.len() {
        let mut world = WORLD.clone();
        world.products[index].object.metadata.deletion_timestamp = now();
        let product = world.products[index].key();
        let name = format!("{}/{} ", product.namespace.unwrap(), product.name);
        assert!(!open(&world).iter().any(|flow| flow.starts_with(&name)), "{name}");
    }
}

#[test]
fn changed_terms_close_everything_until_they_are_signed_again() {
    for index in 0..WORLD.agreements.len() {
        let mut world = WORLD.clone();
        world.agreements[index].object.spec.retention.days += 1;
        let key = world.agreements[index].key();
        let agreement = ObjectRef { namespace: key.namespace.unwrap(), name: key.name };
        let before = &HERE.assessments.agreements[&agreement].flows;
        assert!(!before.is_empty(), "{agreement}");
        let judgement = Judgement::new(&world, at());
        assert_eq!(judgement.assessments.agreements[&agreement].flows, [], "{agreement}");
    }
    // a product that grows is not what was signed either
    let mut world = WORLD.clone();
    for product in &mut world.products {
        product.object.spec.categories.push("Housing".to_owned());
    }
    assert_eq!(open(&world), BTreeSet::new());
    // what is not material may change
    let mut world = WORLD.clone();
    for product in &mut world.products {
        product.object.spec.title.push_str(", renamed");
    }
    assert_eq!(open(&world), open(&WORLD));
}

#[test]
fn the_forbid_of_the_laws_does_deny_what_it_can() {
    let request = AccessRequest {
        subject: Subject { type_: SubjectType::OrgFunction, id: "northvale-pcn/care-team".to_owned() },
        action: RequestAction { name: "readRecord".to_owned() },
        resource: RequestResource {
            type_: "DataProduct".to_owned(),
            id: "chorley-council/assisted-bin-collections".to_owned(),
        },
        context: RequestContext {
            purpose: Some("ProactiveCare".to_owned()),
            roles: vec!["CareCoordinator".to_owned()],
            legitimate_relationship: true,
            region: Some("GB".to_owned()),
            ..RequestContext::default()
        },
    };
    assert!(HERE.decide(&request).answer.decision);
    let denied = FORBIDDEN.decide(&request).answer;
    assert_eq!(denied.context.rule.as_deref(), Some("chorley-place/forbid-all#all"));
}

#[test]
fn what_cannot_be_used_is_isolated_all_the_same() {
    let isolation = |world: &Snapshot| -> BTreeSet<String> {
        let plan = Judgement::new(world, at()).plan();
        let isolating = plan.objects.iter().filter(|it| matches!(it, PlannedObject::Isolation(_)));
        isolating.map(|it| it.key().to_string()).collect()
    };
    let before = isolation(&WORLD);
    assert_eq!(before.len(), 7);
    // without their footprints no organisation, and so no product, can be used
    let mut world = WORLD.clone();
    world.footprints.clear();
    assert_eq!(open(&world), BTreeSet::new());
    assert_eq!(isolation(&world), before);
}

/// Requests with everything said that could help them: who from every function, for what, at which level.
fn asked() -> Vec<AccessRequest> {
    let functions = WORLD.orgs.iter().flat_map(|org| {
        let name = org.object.name_any();
        org.object.spec.functions.iter().map(move |function| format!("{name}/{}", function.name))
    });
    let subjects: Vec<String> = functions.collect();
    let mut asked = Vec::new();
    for subject in &subjects {
        for product in &WORLD.products {
            let key = product.key();
            for (action, purpose, level) in [
                ("readRecord", "ProactiveCare", Identifiability::Identifiable),
                ("reidentify", "ProactiveCare", Identifiability::Identifiable),
                ("readRecord", "DirectCare", Identifiability::Identifiable),
                ("extract", "Planning", Identifiability::Pseudonymised),
                ("queryAggregate", "Planning", Identifiability::AggregateSuppressed),
            ] {
                asked.push(AccessRequest {
                    subject: Subject { type_: SubjectType::OrgFunction, id: subject.clone() },
                    action: RequestAction { name: action.to_owned() },
                    resource: RequestResource {
                        type_: "DataProduct".to_owned(),
                        id: format!("{}/{}", key.namespace.as_deref().unwrap(), key.name),
                    },
                    context: RequestContext {
                        purpose: Some(purpose.to_owned()),
                        identifiability: Some(level),
                        roles: ["Clinician", "CareCoordinator", "LinkWorker", "Analyst"]
                            .map(str::to_owned)
                            .to_vec(),
                        legitimate_relationship: true,
                        explicit_consent: true,
                        opt_outs_applied: true,
                        min_cell_count: Some(20),
                        case_reference: Some("CASE-1".to_owned()),
                        break_glass: false,
                        region: Some("GB".to_owned()),
                        onward_to: None,
                    },
                });
            }
        }
    }
    asked
}

/// Everything that is open or allowed in a world: purposes of flows, actions, roles, and sampled requests.
fn access(judgement: &Judgement) -> BTreeSet<String> {
    let mut access = BTreeSet::new();
    for flow in judgement.assessments.agreements.values().flat_map(|it| &it.flows) {
        for purpose in &flow.purposes {
            for action in &purpose.actions {
                for role in purpose.roles.as_deref().unwrap_or(&["any role".to_owned()]) {
                    let level = purpose.max_identifiability;
                    access.insert(format!(
                        "{} {} {} {action:?} {role} {level:?}",
                        flow.product, flow.recipient, purpose.code
                    ));
                }
            }
        }
    }
    static ASKED: LazyLock<Vec<AccessRequest>> = LazyLock::new(|| {
        // those that are allowed as things stand, and a sample of the others
        let (allowed, denied): (Vec<_>, Vec<_>) =
            asked().into_iter().partition(|request| HERE.decide(request).answer.decision);
        assert!(!allowed.is_empty());
        allowed.into_iter().chain(denied.into_iter().step_by(11)).collect()
    });
    let allowed = ASKED.iter().filter(|request| judgement.decide(request).answer.decision);
    access.extend(allowed.map(|AccessRequest { subject, action, resource, context }| {
        let purpose = context.purpose.as_deref().unwrap_or_default();
        format!("{} may {} {} for {purpose}", subject.id, action.name, resource.id)
    }));
    access
}

/// Every signature that held is put on the terms as they are now, so that what closes is not just the changed hash.
fn sign_again(world: &mut Snapshot) {
    let judgement = Judgement::new(world, at());
    for signature in &mut world.signatures {
        let spec = &mut signature.object.spec;
        let agreement = judgement.model.agreements.get(&spec.agreement);
        if let Some(signer) = agreement.and_then(|agreement| agreement.signers.get(&spec.party)) {
            spec.terms_hash.clone_from(&signer.terms_hash);
        }
    }
}

/// The places of all lists in a value.
fn lists(value: &serde_json::Value, path: &str, found: &mut Vec<(String, usize)>) {
    match value {
        serde_json::Value::Array(items) => {
            found.push((path.to_owned(), items.len()));
            items.iter().enumerate().for_each(|(index, it)| lists(it, &format!("{path}/{index}"), found));
        }
        serde_json::Value::Object(fields) => {
            fields.iter().for_each(|(key, it)| lists(it, &format!("{path}/{key}"), found));
        }
        _ => {}
    }
}

#[test]
fn taking_any_entry_out_of_any_list_of_an_agreement_adds_nothing_though_all_sign_again() {
    let before = access(&HERE);
    assert!(before.len() > 20, "{before:?}");
    let (mut tried, mut closing) = (0, 0);
    for index in 0..WORLD.agreements.len() {
        let spec = serde_json::to_value(&WORLD.agreements[index].object.spec).unwrap();
        let mut found = Vec::new();
        lists(&spec, "", &mut found);
        for (path, length) in found {
            for entry in 0..length {
                let mut spec = spec.clone();
                spec.pointer_mut(&path).unwrap().as_array_mut().unwrap().remove(entry);
                let mut world = WORLD.clone();
                world.agreements[index].object.spec = serde_json::from_value(spec).unwrap();
                sign_again(&mut world);
                let after = access(&Judgement::new(&world, at()));
                let more: Vec<&String> = after.difference(&before).collect();
                assert!(more.is_empty(), "{path}/{entry} taken out opens {more:?}");
                tried += 1;
                closing += usize::from(after.len() < before.len());
            }
        }
    }
    assert!(tried > 30 && closing > 20, "{tried} tried, {closing} close something");
}

#[test]
fn an_organisation_that_is_no_longer_active_or_signs_for_less_adds_nothing() {
    use concordat_api::OrgState;
    let before = access(&HERE);
    for index in 0..WORLD.orgs.len() {
        for state in [OrgState::Suspended, OrgState::Dissolved, OrgState::Merged] {
            let mut world = WORLD.clone();
            world.orgs[index].object.spec.state = state;
            world.orgs[index].object.spec.successor = Some(world.orgs[0].key().name);
            let name = world.orgs[index].key().name;
            let after = access(&Judgement::new(&world, at()));
            assert!(after.is_subset(&before), "{name}");
            assert!(!after.iter().any(|it| it.contains(&format!("{name}/"))), "{name} {state:?} {after:?}");
        }
    }
    for index in 0..WORLD.signatures.len() {
        let mut world = WORLD.clone();
        world.signatures[index].object.spec.purposes = Some(vec!["DirectCare".to_owned()]);
        assert!(access(&Judgement::new(&world, at())).is_subset(&before));
    }
}

#[test]
fn an_exception_that_goes_adds_nothing() {
    // agreements that only an exception keeps open: no one measures what comes of them
    let mut world = WORLD.clone();
    for agreement in &mut world.agreements {
        agreement.object.spec.outcome_measures.clear();
    }
    sign_again(&mut world);
    let without = access(&Judgement::new(&world, at()));
    let exception = |rule: &str| {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "concordat.dev/v1alpha1", "kind": "FrameworkException", "metadata": { "name": rule.to_lowercase() },
            "spec": { "rule": rule, "footprint": "chorley", "approvedBy": "x", "reason": "y", "from": "2026-01-01T00:00:00Z",
                      "until": "2027-01-01T00:00:00Z", "evaluationDue": "2026-12-01T00:00:00Z" }
        }))
        .unwrap()
    };
    let mut opened = 0;
    for rule in ["NF-02", "NF-08", "NF-09", "NF-10", "NF-11", "NF-13", "NF-16"] {
        let mut lifted = world.clone();
        lifted.exceptions.push(concordat_core::snapshot::Sourced::live(exception(rule)));
        let with = access(&Judgement::new(&lifted, at()));
        assert!(without.is_subset(&with), "{rule}");
        opened += usize::from(with.len() > without.len());
        // nothing of another place
        assert!(with.difference(&without).all(|it| !it.contains("practice")), "{rule}");
        let over = "2027-01-01T00:00:00Z".parse().unwrap();
        assert!(
            access(&Judgement::new(&lifted, over)).is_subset(&access(&Judgement::new(&world, over))),
            "{rule}"
        );
    }
    assert!(opened > 0, "no exception opened anything, so that nothing was shown");
}

#[test]
fn a_local_policy_changes_nothing_in_another_place() {
    let mut changed = 0;
    for request in asked() {
        let (without, with) = (HERE.decide(&request).answer, FORBIDDEN.decide(&request).answer);
        if request.resource.id.contains("practice") {
            assert_eq!(without, with);
        } else {
            changed += usize::from(without != with);
        }
    }
    assert!(changed > 0);
}

/// What is allowed to a link worker, which a local policy adds.
fn allowed_to_link_workers(world: &Snapshot) -> BTreeSet<String> {
    let judgement = Judgement::new(world, at());
    let asked = asked().into_iter().map(|mut request| {
        request.context.roles = vec!["LinkWorker".to_owned()];
        request
    });
    let allowed = asked.filter(|request| judgement.decide(request).answer.decision);
    allowed.map(|it| format!("{} {} {}", it.subject.id, it.action.name, it.resource.id)).collect()
}

#[test]
fn a_draft_that_a_stranger_writes_and_nobody_signs_changes_no_answer() {
    let mut failing = WORLD.clone();
    for policy in &mut failing.policies {
        // what it then expects is what a draft without roles would allow, and what no one allows now
        let case = &mut policy.object.spec.tests[0];
        case.request.context.roles = vec!["Somebody".to_owned()];
        case.expect = serde_json::from_value(serde_json::json!({ "decision": true })).unwrap();
    }
    assert!(!allowed_to_link_workers(&WORLD).is_empty(), "a local policy permits");
    assert!(allowed_to_link_workers(&failing).is_empty(), "a test of its own fails");
    for world in [&*WORLD, &failing] {
        let before = allowed_to_link_workers(world);
        for of in &WORLD.agreements {
            for namespace in ["a-stranger", "z-stranger"] {
                for suspend in [false, true] {
                    let mut draft = of.clone();
                    draft.object.metadata.namespace = Some(namespace.to_owned());
                    draft.object.metadata.name = Some("draft".to_owned());
                    let spec = &mut draft.object.spec;
                    spec.reference = "STRA-2026-001".to_owned();
                    spec.suspend = suspend;
                    spec.purposes.iter_mut().for_each(|it| it.roles = None);
                    let mut world = world.clone();
                    world.agreements.push(draft);
                    assert_eq!(allowed_to_link_workers(&world), before, "{namespace} {suspend}");
                }
            }
        }
    }
}

#[test]
fn judged_and_planned_again_nothing_differs_also_with_its_own_statuses_in_place() {
    use concordat_core::plan::StatusBody;
    let first = HERE.plan();
    assert_eq!(Judgement::new(&WORLD, at()).plan(), first);
    let mut world = WORLD.clone();
    for planned in &first.statuses {
        match &*planned.status {
            StatusBody::Agreement(status) => {
                let found = world.agreements.iter_mut().find(|it| it.key() == planned.object).unwrap();
                found.object.status = Some((**status).clone());
            }
            StatusBody::Policy(status) => {
                let found = world.policies.iter_mut().find(|it| it.key() == planned.object).unwrap();
                found.object.status = Some(status.clone());
            }
            StatusBody::Simple(_) => {}
        }
    }
    assert_eq!(Judgement::new(&world, at()).plan(), first);
}

#[test]
fn between_two_moments_that_the_plan_names_nothing_changes() {
    let mut now: Timestamp = "2026-01-15T00:00:00Z".parse().unwrap();
    let (mut moments, mut changes) = (0, 0);
    let mut last = BTreeSet::new();
    while let Some(next) = Judgement::new(&WORLD, now).plan().next {
        assert!(next > now, "the plan looks back");
        let here = access(&Judgement::new(&WORLD, now));
        let just_before = Timestamp::from_millisecond(next.as_millisecond() - 1).unwrap();
        let halfway =
            Timestamp::from_millisecond(i64::midpoint(now.as_millisecond(), next.as_millisecond())).unwrap();
        for moment in [halfway, just_before] {
            assert_eq!(
                access(&Judgement::new(&WORLD, moment)),
                here,
                "between {now} and {next}, at {moment}"
            );
        }
        changes += usize::from(here != last);
        last = here;
        now = next;
        moments += 1;
        assert!(moments < 100, "the plan never comes to an end");
    }
    assert!(moments > 5 && changes > 3, "{moments} moments, {changes} changes");
    assert_eq!(open_at(now), BTreeSet::new(), "something stays open for ever");
}

fn open_at(now: Timestamp) -> BTreeSet<String> {
    let judgement = Judgement::new(&WORLD, now);
    judgement
        .assessments
        .agreements
        .values()
        .flat_map(|it| &it.flows)
        .map(|it| it.product.to_string())
        .collect()
}

#[test]
fn no_policy_holds_an_empty_list_and_what_opens_stands_on_what_denies() {
    let plan = HERE.plan();
    let mut isolated = BTreeSet::new();
    let mut opening = 0;
    for object in &plan.objects {
        let manifest = serde_json::json!(object);
        let spec = &manifest["spec"];
        let who = |way: &str| format!("{} {} {way}", manifest["metadata"]["namespace"], spec["podSelector"]);
        let types = || -> Vec<&str> {
            spec["policyTypes"]
                .as_array()
                .expect("policyTypes are written")
                .iter()
                .map(|it| it.as_str().unwrap())
                .collect()
        };
        match object {
            PlannedObject::Isolation(_) => {
                assert_eq!(types().len(), 1);
                isolated.insert(who(types()[0]));
            }
            PlannedObject::Allow { .. } => {
                assert_eq!(types().len(), 1);
                let way = types()[0];
                let (rules, peers) = if way == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
                let rules = spec[rules].as_array().expect("what allows has rules");
                assert!(!rules.is_empty());
                for rule in rules {
                    for list in [&rule[peers], &rule["ports"]] {
                        assert!(list.as_array().is_some_and(|it| !it.is_empty()), "{manifest}");
                    }
                    for peer in rule[peers].as_array().unwrap() {
                        assert!(peer.as_object().is_some_and(|it| !it.is_empty()), "{manifest}");
                        assert_ne!(peer["namespaceSelector"], serde_json::json!({}), "{manifest}");
                    }
                }
                // isolation comes first in the plan, too
                assert!(isolated.contains(&who(way)), "{manifest}");
                opening += 1;
            }
            PlannedObject::Grant(_) => {}
        }
    }
    assert!(opening > 3);
}
