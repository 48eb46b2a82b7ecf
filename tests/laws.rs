//! The laws: properties that hold for every world, whatever is in it.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod folders;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use concordat::api::{
    AccessRequest, DataAction, Identifiability, ObjectRef, RequestAction, RequestContext, RequestResource,
    SignatureState, Subject, SubjectType,
};
use concordat::core::judge::Judgement;
use concordat::core::plan::PlannedObject;
use concordat::core::snapshot::Snapshot;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{Index, select};

static WORLD: LazyLock<Snapshot> = LazyLock::new(folders::one_world);

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
            let name = kube::ResourceExt::name_any(&org.object);
            org.object.spec.functions.iter().map(move |function| format!("{name}/{}", function.name))
        })
        .collect();
    let products: Vec<String> = WORLD
        .products
        .iter()
        .map(|it| {
            let reference = ObjectRef {
                namespace: kube::ResourceExt::namespace(&it.object).unwrap(),
                name: kube::ResourceExt::name_any(&it.object),
            };
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
    policy.object.spec.tests[0].expect.decision = false;
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
        if without.context.tier == concordat::api::DecisionTier::Floor {
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
        let spec = &mut world.agreements[index].object.spec;
        spec.retention.days += 1;
        let products: BTreeSet<String> =
            spec.purposes.iter().flat_map(|it| &it.products).map(ToString::to_string).collect();
        let left: Vec<String> = open(&world)
            .into_iter()
            .filter(|flow| products.contains(flow.split(' ').next().unwrap()))
            .collect();
        assert_eq!(left, Vec::<String>::new());
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
