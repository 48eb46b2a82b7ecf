//! Judging again after a change gives just what judging from scratch does; and the made-up country that the benches
//! measure is what it says it is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

#[path = "../benches/world/mod.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use concordat_api::{
    DataProductSpec, DsptStatus, Egress, FrameworkException, FrameworkExceptionSpec, ObjectRef, OrgState,
    Phase, PolicyFramework, SignatureState,
};
use concordat_core::plan::Plan;
use concordat_core::policy::{Assessment, built_in_spec};
use concordat_core::snapshot::{Snapshot, Sourced};
use concordat_core::terms::terms_hash;
use concordat_core::{evaluate::Judgement, plan::Judge};
use concordat_source::files;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use proptest::prelude::*;
use proptest::sample::Index;
use serde::Serialize;

use world::{Fate, Size, World};

fn at() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().unwrap()
}

fn small(seed: u64) -> World {
    World::new(Size { agreements: 50, seed, at: at() })
}

/// Few agreements, with their parties and no one else, as it is judged many times over.
fn tiny(agreements: usize, seed: u64) -> Snapshot {
    let mut world = World::new(Size { agreements, seed, at: at() }).snapshot().unwrap();
    let rows = world.agreements.iter().flat_map(|it| &it.object.spec.parties);
    let parties: BTreeSet<String> = rows.map(|row| row.org.clone()).collect();
    world.orgs.retain(|it| parties.contains(&it.object.name_any()));
    world.products.retain(|it| parties.contains(&it.object.spec.controller));
    world
}

#[test]
fn the_folder_and_the_objects_of_a_world_are_the_same_and_stand_as_they_were_meant_to() {
    let world = small(1);
    let folder = tempfile::tempdir().unwrap();
    world.write(folder.path()).unwrap();
    let (read, findings, report) = files::read(&[folder.path().to_owned()]);
    assert_eq!(findings, vec![]);
    assert_eq!(report.objects, world.manifests().count());

    let live = world.snapshot().unwrap();
    let (from_files, from_objects) = (Judgement::new(&read, at()), Judgement::new(&live, at()));
    assert_eq!(from_files.plan().objects, from_objects.plan().objects);

    let phase = |fate| match fate {
        Fate::Active => Phase::Active,
        Fate::AwaitingSignatures => Phase::AwaitingSignatures,
        Fate::Scheduled => Phase::Scheduled,
        Fate::Expired => Phase::Expired,
        Fate::Refused => Phase::Refused,
        Fate::Suspended => Phase::Suspended,
    };
    let meant: Vec<Phase> = world.agreements.iter().map(|it| phase(it.fate)).collect();
    let by_name: BTreeMap<&str, Phase> =
        from_objects.assessments.agreements.iter().map(|(at, it)| (at.name.as_str(), it.phase)).collect();
    assert_eq!(by_name.into_values().collect::<Vec<_>>(), meant);
    assert!(meant.iter().filter(|phase| **phase == Phase::Active).count() > 30);

    // every local policy of it is loaded, so that its tests have been run and have passed
    assert_eq!(from_objects.model.policies.len(), world.policies.len());
    assert!(world.policies.len() > 5);
}

/// Something that happens to a world.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes, or somebody sets the clock.
    Hours(i32),
    /// Time passes until the next thing happens by itself.
    UntilNext,
    Suspend(Index, bool),
    Withdraw(Index),
    SignAgain(Index),
    Unsign(Index),
    End(Index, i32),
    Supersede(Index, Index),
    Remember(Index, Index),
    RemoveAgreement(Index),
    /// A text with an invisible character, or without.
    Text(Index, bool),
    State(Index, bool),
    Assurance(Index, bool, i32),
    RemoveOrg(Index),
    Endpoint(Index, i32),
    Confidential(Index, bool),
    RemoveProduct(Index),
    Footprint(Index),
    Exception(i32, i32),
    /// Another version of the framework, with one more rule.
    Framework(bool, i32),
    /// An agreement that names that version, signed anew.
    Adopt(Index),
    Review(Index, i32),
}

fn event() -> impl Strategy<Value = Event> {
    let index = any::<Index>;
    let hours = || prop_oneof![-24 * 40..24 * 400_i32, -30..30_i32];
    prop_oneof![
        hours().prop_map(Event::Hours),
        Just(Event::UntilNext),
        Just(Event::UntilNext),
        (index(), any::<bool>()).prop_map(|(a, b)| Event::Suspend(a, b)),
        index().prop_map(Event::Withdraw),
        index().prop_map(Event::SignAgain),
        index().prop_map(Event::Unsign),
        (index(), hours()).prop_map(|(a, b)| Event::End(a, b)),
        (index(), index()).prop_map(|(a, b)| Event::Supersede(a, b)),
        (index(), index()).prop_map(|(a, b)| Event::Remember(a, b)),
        index().prop_map(Event::RemoveAgreement),
        (index(), any::<bool>()).prop_map(|(a, b)| Event::Text(a, b)),
        (index(), any::<bool>()).prop_map(|(a, b)| Event::State(a, b)),
        (index(), any::<bool>(), hours()).prop_map(|(a, b, c)| Event::Assurance(a, b, c)),
        index().prop_map(Event::RemoveOrg),
        (index(), 1..9000_i32).prop_map(|(a, b)| Event::Endpoint(a, b)),
        (index(), any::<bool>()).prop_map(|(a, b)| Event::Confidential(a, b)),
        index().prop_map(Event::RemoveProduct),
        index().prop_map(Event::Footprint),
        (hours(), hours()).prop_map(|(a, b)| Event::Exception(a, b)),
        (any::<bool>(), hours()).prop_map(|(a, b)| Event::Framework(a, b)),
        index().prop_map(Event::Adopt),
        index().prop_map(Event::Adopt),
        (index(), hours()).prop_map(|(a, b)| Event::Review(a, b)),
    ]
}

fn later(from: Timestamp, hours: i32) -> Timestamp {
    from.checked_add(SignedDuration::from_hours(i64::from(hours))).unwrap()
}

fn pick<T>(list: &mut [T], index: Index) -> Option<&mut T> {
    if list.is_empty() { None } else { Some(&mut list[index.index(list.len())]) }
}

fn remove<T>(list: &mut Vec<T>, index: Index) {
    if !list.is_empty() {
        list.remove(index.index(list.len()));
    }
}

fn happen(world: &mut Snapshot, now: &mut Timestamp, event: &Event, next: Option<Timestamp>) {
    match *event {
        Event::Hours(hours) => *now = later(*now, hours),
        Event::UntilNext => *now = next.unwrap_or(*now),
        Event::Suspend(index, suspend) => {
            pick(&mut world.agreements, index).into_iter().for_each(|it| it.object.spec.suspend = suspend);
        }
        Event::Withdraw(index) => pick(&mut world.signatures, index)
            .into_iter()
            .for_each(|it| it.object.spec.state = Some(SignatureState::Withdrawn)),
        Event::SignAgain(index) => {
            pick(&mut world.signatures, index).into_iter().for_each(|it| it.object.spec.state = None);
        }
        Event::Unsign(index) => remove(&mut world.signatures, index),
        Event::End(index, hours) => {
            let end = later(*now, hours);
            pick(&mut world.agreements, index).into_iter().for_each(|it| it.object.spec.term.end = end);
            sign(world, index);
        }
        Event::Supersede(new, old) => {
            let old = pick(&mut world.agreements, old).map(|it| reference(&*it.object));
            pick(&mut world.agreements, new)
                .into_iter()
                .for_each(|it| it.object.spec.supersedes = old.clone());
            sign(world, new);
        }
        Event::Remember(old, new) => {
            let new = pick(&mut world.agreements, new).map(|it| reference(&*it.object));
            pick(&mut world.agreements, old).into_iter().for_each(|it| {
                it.object.status.get_or_insert_default().superseded_by = new.clone();
            });
        }
        Event::RemoveAgreement(index) => remove(&mut world.agreements, index),
        Event::Text(index, refused) => {
            let title = if refused { "a\u{202e}b" } else { "ab" };
            pick(&mut world.products, index)
                .into_iter()
                .for_each(|it| it.object.spec.title = title.to_owned());
        }
        Event::State(index, active) => {
            let state = if active { OrgState::Active } else { OrgState::Suspended };
            pick(&mut world.orgs, index).into_iter().for_each(|it| it.object.spec.state = state);
        }
        Event::Assurance(index, met, hours) => {
            let until = later(*now, hours);
            let org = pick(&mut world.orgs, index);
            if let Some(dspt) = org.and_then(|org| org.object.spec.assurance.as_mut()?.dspt.as_mut()) {
                dspt.status = if met { DsptStatus::StandardsMet } else { DsptStatus::StandardsNotMet };
                dspt.valid_until = Some(until);
            }
        }
        Event::RemoveOrg(index) => remove(&mut world.orgs, index),
        Event::Endpoint(index, port) => pick(&mut world.products, index)
            .into_iter()
            .for_each(|it| it.object.spec.endpoint.ports.iter_mut().for_each(|it| it.port = port)),
        Event::Confidential(index, confidential) => pick(&mut world.products, index)
            .into_iter()
            .for_each(|it| it.object.spec.confidential_patient_info = confidential),
        Event::RemoveProduct(index) => remove(&mut world.products, index),
        Event::Footprint(index) => {
            pick(&mut world.footprints, index).into_iter().for_each(|it| it.object.spec.parents.clear());
        }
        Event::Exception(from, until) => {
            let spec = FrameworkExceptionSpec {
                rule: "NF-07".to_owned(),
                footprint: "north".to_owned(),
                approved_by: "approver@nation.example".to_owned(),
                reason: "a trial".to_owned(),
                from: later(*now, from.min(until)),
                until: later(*now, from.max(until)),
                evaluation_due: later(*now, from.max(until)),
            };
            world.exceptions = vec![Sourced::live(FrameworkException::new("trial", spec))];
        }
        Event::Framework(own_date, hours) => {
            let mut spec = built_in_spec().clone();
            let date = later(*now, hours).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let condition = if own_date {
                // a moment that is nowhere but here
                format!("context.now >= datetime(\"{date}\")")
            } else {
                "context.now >= resource.dpia.approvedOn && resource.retention.days > 30".to_owned()
            };
            let rule = format!(
                "@id(\"NF-90\")\n@tier(\"Gate\")\n@reason(\"a trial\")\n@source(\"nowhere\")\nforbid (principal, \
                 action == Concordat::Action::\"activateAgreement\", resource) when {{ {condition} }};"
            );
            spec.policies.insert("more.cedar".to_owned(), rule);
            spec.version = "2.0.0".to_owned();
            world.frameworks = vec![Sourced::live(PolicyFramework::new("england-2.0.0", spec))];
        }
        Event::Adopt(index) => {
            pick(&mut world.agreements, index)
                .into_iter()
                .for_each(|it| it.object.spec.framework.version = "2.0.0".to_owned());
            sign(world, index);
        }
        Event::Review(index, hours) => {
            let review = later(*now, hours);
            pick(&mut world.policies, index).into_iter().for_each(|it| it.object.spec.review_by = review);
        }
    }
}

/// Whoever has signed an agreement signs it again as it stands.
fn sign(world: &mut Snapshot, index: Index) {
    let Some(agreement) = pick(&mut world.agreements, index).map(|it| it.object.clone()) else { return };
    let products: BTreeMap<ObjectRef, &DataProductSpec> =
        world.products.iter().map(|it| (reference(&*it.object), &it.object.spec)).collect();
    let own = reference(&*agreement);
    for signature in world.signatures.iter_mut().filter(|it| it.object.spec.agreement == own) {
        let spec = &mut signature.object.spec;
        // without one of its products there is nothing to sign
        spec.terms_hash = terms_hash(&agreement.spec, &products, &spec.party).unwrap_or_default();
    }
}

/// As an API server does: another content is another version.
fn version(world: &mut Snapshot) {
    fn each<T: kube::Resource<DynamicType = ()> + Clone + Serialize>(objects: &mut [Sourced<T>]) {
        for sourced in objects {
            sourced.object.meta_mut().resource_version = None;
            let mut hasher = DefaultHasher::new();
            serde_json::to_string(&sourced.object).unwrap().hash(&mut hasher);
            sourced.object.meta_mut().uid = Some(sourced.key().to_string());
            sourced.object.meta_mut().resource_version = Some(hasher.finish().to_string());
        }
    }
    each(&mut world.frameworks);
    each(&mut world.exceptions);
    each(&mut world.footprints);
    each(&mut world.orgs);
    each(&mut world.products);
    each(&mut world.agreements);
    each(&mut world.signatures);
    each(&mut world.policies);
}

fn reference(object: &impl kube::Resource) -> ObjectRef {
    ObjectRef { namespace: object.namespace().unwrap(), name: object.name_any() }
}

/// All that a judgement says, as text where there is no comparing it; but not when each part of it was judged.
fn said(judgement: &Judgement) -> (Plan, Vec<String>, String) {
    let assessments = judgement.assessments.agreements.iter().map(|(reference, assessment)| {
        let mut assessment = Assessment::clone(assessment);
        assessment.at = judgement.at;
        let entity = assessment.entity.take().map(|entity| entity.to_json().unwrap().to_string());
        format!("{reference}: {assessment:?} {entity:?}")
    });
    let rest = format!("{:?} {:?}", judgement.assessments.candidates, judgement.findings);
    (judgement.plan(), assessments.collect(), rest)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn judging_again_says_what_judging_from_scratch_says(
        seed in 0..8_u64,
        events in proptest::collection::vec(event(), 1..12),
    ) {
        let mut world = tiny(12, seed);
        let mut now = at();
        version(&mut world);
        let mut judged = Judgement::new(&world, now);
        let judge = Judge::default();
        judge.plan(&world, now);
        for event in events {
            let next = judged.plan().next;
            happen(&mut world, &mut now, &event, next);
            version(&mut world);
            judged = judged.again(&world, now);
            let scratch = Judgement::new(&world, now);
            let ((plan, agreements, rest), (right_plan, right_agreements, right_rest)) = (said(&judged), said(&scratch));
            prop_assert_eq!(agreements, right_agreements, "after {:?}", &event);
            prop_assert_eq!(rest, right_rest, "after {:?}", &event);
            prop_assert!(plan == right_plan, "another plan after {:?}", &event);
            prop_assert!(judge.plan(&world, now) == right_plan, "another plan, drawn up again, after {:?}", &event);
        }
    }
}

/// A change of each thing that agreements read, one at a time, whatever chance would have picked.
#[test]
fn whatever_an_agreement_reads_is_seen_when_it_changes() {
    let mut written = tiny(6, 1);
    written.policies.clear();
    version(&mut written);
    let before = Judgement::new(&written, at());
    let mut changes: Vec<(String, Snapshot)> = Vec::new();
    let mut change = |what: String, with: &dyn Fn(&mut Snapshot)| {
        let mut world = written.clone();
        with(&mut world);
        version(&mut world);
        changes.push((what, world));
    };
    let gateway = serde_json::json!([{ "cluster": "elsewhere", "cidrs": ["192.0.2.0/24"] }]);
    for index in 0..written.orgs.len() {
        let name = written.orgs[index].object.name_any();
        change(format!("`{name}` is suspended"), &|it| {
            it.orgs[index].object.spec.state = OrgState::Suspended
        });
        change(format!("`{name}` has no assurance"), &|it| it.orgs[index].object.spec.assurance = None);
        change(format!("`{name}` is behind another gateway"), &|it| {
            it.orgs[index].object.spec.gateways = serde_json::from_value(gateway.clone()).unwrap();
        });
        change(format!("`{name}` is Managed"), &|it| {
            let functions = it.orgs[index].object.spec.functions.iter_mut();
            functions.for_each(|function| function.egress = Some(Egress::Managed));
        });
        change(format!("`{name}` has left every place"), &|it| it.orgs[index].object.spec.footprints.clear());
        change(format!("`{name}` is gone"), &|it| drop(it.orgs.remove(index)));
    }
    for index in 0..written.products.len() {
        let name = reference(&*written.products[index].object);
        change(format!("`{name}` is at another port"), &|it| {
            it.products[index].object.spec.endpoint.ports.iter_mut().for_each(|it| it.port += 1);
        });
        change(format!("`{name}` is no patient information"), &|it| {
            it.products[index].object.spec.confidential_patient_info = false;
        });
        change(format!("`{name}` is gone"), &|it| drop(it.products.remove(index)));
    }
    for index in 0..written.signatures.len() {
        change(format!("signature {index} is withdrawn"), &|it| {
            it.signatures[index].object.spec.state = Some(SignatureState::Withdrawn);
        });
        change(format!("signature {index} is gone"), &|it| drop(it.signatures.remove(index)));
    }
    for index in 0..written.footprints.len() {
        change(format!("place {index} is gone"), &|it| drop(it.footprints.remove(index)));
    }
    let mut telling = 0;
    for (what, world) in changes {
        let right = said(&Judgement::new(&world, at()));
        assert!(said(&before.again(&world, at())) == right, "{what}");
        let judge = Judge::default();
        judge.plan(&written, at());
        assert!(judge.plan(&world, at()) == right.0, "the plan where {what}");
        telling += usize::from(right.1 != said(&before).1);
    }
    assert!(telling > 20, "only {telling} changes tell");
}

#[test]
fn one_change_leaves_every_other_agreement_as_it_was_judged() {
    let mut world = small(1).snapshot().unwrap();
    let before = Judgement::new(&world, at());
    let changed = reference(&*world.agreements[7].object);
    world.agreements[7].object.spec.suspend = !world.agreements[7].object.spec.suspend;
    let after = before.again(&world, later(at(), 1));
    for (reference, assessment) in &after.assessments.agreements {
        let kept = Arc::ptr_eq(assessment, &before.assessments.agreements[reference]);
        assert_eq!(kept, *reference != changed, "{reference}");
    }
}
