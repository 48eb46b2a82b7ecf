//! The operator under stress: the real binary, on a real API server, with the rights of its chart, and somebody who
//! looks on at every revision.
//!
//! Whatever happens, nothing is ever reachable that neither the old nor the new agreement allows; default deny is
//! there before the first allow and outlives the last; nothing is left over; and an operator that has nothing to do
//! writes nothing. `CONCORDAT_STRESS=long` adds what takes minutes.

#![cfg(all(unix, feature = "cli", feature = "controller"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

#[path = "../support/mod.rs"]
mod support;

mod observer;
mod operator;
mod proxy;
mod reach;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use concordat::api::{DataAccessGrant, DataProduct, DataSharingAgreement, PartnerOrg};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use observer::{Observer, Open, Story, everything, is_as_planned, is_open, nothing, open};
use operator::{Replica, account};
use proxy::{Audit, Line, Proxy, Write};
use serde_json::{Value, json};
use support::world::World;

/// An operator sees its whole cluster: one test at a time has it.
fn cluster() -> MutexGuard<'static, ()> {
    static CLUSTER: Mutex<()> = Mutex::new(());
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there is time.
fn is_long() -> bool {
    std::env::var("CONCORDAT_STRESS").is_ok_and(|it| it == "long")
}

fn note(line: &str) {
    support::note(&format!("stress: {line}"));
}

/// Random numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        // xorshift: good enough to shuffle ten things
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(most).unwrap()).unwrap()
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
    }
}

/// A world whose every object is there, and everybody has signed.
fn signed(stem: &str) -> World {
    let world = World::new(stem);
    world.apply_all();
    world.sign_all();
    world
}

fn started(audit: &Audit) -> (Proxy, Replica) {
    let _first = World::new("definitions");
    let proxy = Proxy::start("operator", audit);
    let operator = Replica::start(&proxy);
    operator.until_ready();
    (proxy, operator)
}

/// Waits until nothing has been written for a while, and then makes sure that nothing is.
fn falls_silent(audit: &Audit, silence: Duration) {
    let began = Instant::now();
    loop {
        let before = audit.writes().len();
        // a status follows what it tells of by up to a second for each missing echo
        std::thread::sleep(Duration::from_secs(4));
        if audit.writes().len() == before {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it never falls silent: {:?}", last(audit, 10));
    }
    let before = audit.writes().len();
    std::thread::sleep(silence);
    assert_eq!(audit.writes().len(), before, "{:?}", last(audit, 10));
    // a namespace that is going, and a policy that has been let go, refuse writes for reasons of their own
    let refused = audit.all().into_iter().filter_map(|write| Some((write.what, write.forbidden?)));
    let refused: Vec<_> = refused.filter(|(_, said)| said.contains(" cannot ")).collect();
    assert!(refused.is_empty(), "the chart's rights do not suffice: {refused:?}");
}

fn last(audit: &Audit, count: usize) -> Vec<Write> {
    let mut writes = audit.writes();
    writes.split_off(writes.len().saturating_sub(count))
}

#[test]
fn in_whatever_order_things_come_nothing_opens_before_the_last() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (_proxy, operator) = started(&audit);
    let worlds: Vec<World> = (0..5).map(|_| World::new("order")).collect();
    let observer = Observer::begin(&worlds[0]);
    let revisions: usize = std::thread::scope(|scope| {
        let runs: Vec<_> = worlds
            .iter()
            .zip(1..)
            .map(|(world, seed)| {
                let observer = &observer;
                scope.spawn(move || {
                    let mut all = world.manifests(json!({}));
                    let snapshot = world.snapshot_of(&all);
                    for of in ["council", "pcn", "charity"] {
                        all.push(world.signature(&snapshot, of, false));
                    }
                    Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)).shuffle(&mut all);
                    let mut story = Story::begin(world, observer);
                    let (last, before) = all.split_last().unwrap();
                    story.step("all but the last", nothing(), || {
                        for object in before {
                            world.apply_manifest(object);
                            std::thread::sleep(Duration::from_millis(40));
                        }
                    });
                    story.step("the last", everything(), || world.apply_manifest(last));
                    story.verify()
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    falls_silent(&audit, Duration::from_secs(4));
    note(&format!("five orders, {revisions} revisions, {} writes, then silence", audit.writes().len()));
    drop(worlds);
    operator.terminate();
}

/// Every list within a value, by its JSON pointer, with its length.
fn lists(value: &Value, at: &str, found: &mut Vec<(String, usize)>) {
    match value {
        Value::Array(list) => {
            found.push((at.to_owned(), list.len()));
            for (index, entry) in list.iter().enumerate() {
                lists(entry, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                lists(field, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// Takes each entry of each list of an object's spec out, one by one, and puts it back.
fn without_each<K>(
    story: &mut Story<'_>,
    api: &Api<K>,
    name: &str,
    mut check: impl FnMut(&str, &Open),
) -> (usize, usize)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + serde::Serialize,
{
    let world = story.world;
    let whole = json!(world.block(api.get(name)).unwrap())["spec"].clone();
    let mut found = Vec::new();
    lists(&whole, "", &mut found);
    let (mut taken, mut refused) = (0, 0);
    for (at, length) in found {
        for index in 0..length {
            let mut spec = whole.clone();
            spec.pointer_mut(&at).unwrap().as_array_mut().unwrap().remove(index);
            let set = |spec: &Value| {
                let patch = json!([{"op": "replace", "path": "/spec", "value": spec}]);
                let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
                world.block(api.patch(name, &PatchParams::default(), &patch))
            };
            match set(&spec) {
                Err(kube::Error::Api(status)) if status.code == 422 => refused += 1,
                Err(error) => panic!("{error}"),
                Ok(_) => {
                    taken += 1;
                    let what = format!("{name}: {at}/{index} is taken out");
                    // it is out already; the story begins with what the operator makes of it
                    let left = story.less(&what, || {});
                    check(&format!("{at}/{index}"), &left);
                    story.step(&format!("{what}, and put back"), everything(), || {
                        set(&whole).unwrap();
                    });
                }
            }
        }
    }
    (taken, refused)
}

#[test]
fn every_entry_of_every_list_that_is_taken_out_closes_and_opens_nothing() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (_proxy, operator) = started(&audit);
    let (agreement, others) = (World::new("terms"), World::new("others"));
    let observer = Observer::begin(&agreement);
    let begin = |world| {
        let mut story = Story::begin(world, &observer);
        story.step("everybody signs", everything(), || {
            world.apply_all();
            world.sign_all();
        });
        story
    };
    std::thread::scope(|scope| {
        let terms = scope.spawn(|| {
            let mut story = begin(&agreement);
            let api: Api<DataSharingAgreement> =
                Api::namespaced(agreement.client.clone(), &agreement.ns("council"));
            // what is signed is changed: nothing is open until all have signed again
            let counts = without_each(&mut story, &api, "sharing", |at, left| {
                assert_eq!(left, &nothing(), "{at}");
            });
            (counts, story.verify())
        });
        let rest = scope.spawn(|| {
            let mut story = begin(&others);
            let council = others.ns("council");
            let products: Api<DataProduct> = Api::namespaced(others.client.clone(), &council);
            let mut counts = vec![without_each(&mut story, &products, "bins", |_, _| {})];
            let orgs: Api<PartnerOrg> = Api::all(others.client.clone());
            for of in ["council", "pcn", "charity"] {
                counts.push(without_each(&mut story, &orgs, &others.org(of), |at, left| {
                    let gone = matches!(at, "/functions/0" | "/functions/0/workloads/0");
                    let of_it = left.iter().any(|flow| flow.starts_with(of));
                    assert!(!(gone && of_it), "{of} {at}: {left:?}");
                }));
            }
            (counts, story.verify())
        });
        let (((taken, refused), revisions), (counts, more)) = (terms.join().unwrap(), rest.join().unwrap());
        note(&format!(
            "agreement: {taken} entries taken out ({refused} refused), {revisions} revisions; bins and the \
             organisations: {counts:?}, {more} revisions"
        ));
        assert!(taken >= 9 && refused >= 7, "{taken} taken out, {refused} refused");
    });
    drop((agreement, others));
    operator.terminate();
}

#[test]
fn what_is_edited_suspended_withdrawn_or_deleted_closes_and_what_others_meddle_with_is_put_right() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (_proxy, operator) = started(&audit);
    let (life, hands) = (World::new("life"), World::new("hands"));
    let observer = Observer::begin(&life);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut story = Story::begin(&life, &observer);
            story.step("everybody signs", everything(), || {
                life.apply_all();
                life.sign_all();
            });
            story.step("the charity withdraws", open(&["pcn>bins", "pcn>contacts"]), || {
                life.withdraw("charity");
            });
            story.step("the charity signs again", everything(), || {
                life.sign("charity");
            });
            story.step("suspended", nothing(), || life.change(json!({"suspend": true})));
            story.step("resumed", everything(), || life.change(json!({"suspend": false})));
            story.step("new terms", nothing(), || life.change(json!({"title": "Bins and more"})));
            story.step("signed again", everything(), || life.sign_all());
            let ports = json!({"spec": {"endpoint": {"ports": [{"port": 8444}]}}});
            let council = life.ns("council");
            story.step("another port", open(&["pcn>contacts"]), || {
                life.patch::<DataProduct>(&council, "bins", &ports);
            });
            let ports = json!({"spec": {"endpoint": {"ports": [{"port": 8443}]}}});
            story.step("the old port", everything(), || {
                life.patch::<DataProduct>(&council, "bins", &ports);
            });
            let state = |state: &str| {
                life.patch_cluster::<PartnerOrg>(&life.org("pcn"), &json!({"spec": {"state": state}}));
            };
            story.step("the network is suspended", open(&["charity>bins"]), || state("Suspended"));
            story.step("the network is back", everything(), || state("Active"));
            story.step("the agreement is deleted", nothing(), || {
                life.delete::<DataSharingAgreement>(&council, "sharing");
            });
            note(&format!("a life in {} revisions", story.verify()));
        });
        scope.spawn(|| {
            let mut story = Story::begin(&hands, &observer);
            story.step("everybody signs", everything(), || {
                hands.apply_all();
                hands.sign_all();
            });
            for policy in hands.policies() {
                let (namespace, name) = (policy.namespace().unwrap(), policy.name_any());
                story.meddle("a policy is deleted", || hands.delete::<NetworkPolicy>(&namespace, &name));
                let all =
                    json!({"spec": {"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}});
                story.meddle("a policy is opened", || hands.patch::<NetworkPolicy>(&namespace, &name, &all));
                let none = json!({"metadata": {"labels": null}});
                story.meddle("a policy loses its labels", || {
                    hands.patch::<NetworkPolicy>(&namespace, &name, &none);
                });
            }
            for grant in hands.grants() {
                story.meddle("a grant is deleted", || {
                    hands.delete::<DataAccessGrant>(&grant.namespace, &grant.name);
                });
                let longer = json!({"spec": {"notAfter": "2099-01-01T00:00:00Z"}});
                story.meddle("a grant is edited", || {
                    hands.patch::<DataAccessGrant>(&grant.namespace, &grant.name, &longer);
                });
            }
            story.step("everybody withdraws", nothing(), || {
                for of in ["council", "pcn", "charity"] {
                    hands.withdraw(of);
                }
            });
            note(&format!("meddled with in {} revisions", story.verify()));
        });
    });
    falls_silent(&audit, Duration::from_secs(3));
    drop((life, hands));
    operator.terminate();
}

#[test]
fn a_namespace_that_is_made_again_under_the_same_name_starts_closed() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (_proxy, operator) = started(&audit);
    let world = World::new("again");
    let observer = Observer::begin(&world);
    let mut story = Story::begin(&world, &observer);
    story.step("everybody signs", everything(), || {
        world.apply_all();
        world.sign_all();
    });
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let charity = world.ns("charity");
    story.step("the charity's namespace is deleted", nothing(), || {
        world.block(namespaces.delete(&charity, &DeleteParams::default())).unwrap();
        world.until("it is gone", || world.block(namespaces.get_opt(&charity)).unwrap().is_none());
    });
    story.step("it is made again, and is another", nothing(), || world.namespace(&charity));
    story.step("the charity signs again", everything(), || {
        world.sign("charity");
    });
    note(&format!("a namespace made again in {} revisions", story.verify()));
    falls_silent(&audit, Duration::from_secs(1));
    // now the controller's own, with the agreement, the products, the grants and the policies in it
    let council = world.ns("council");
    world.block(namespaces.delete(&council, &DeleteParams::default())).unwrap();
    world.until("it is gone", || world.block(namespaces.get_opt(&council)).unwrap().is_none());
    world.until("only the network's isolation is left", || {
        world.grants().is_empty() && world.policies().len() == 1
    });
    world.namespace(&council);
    let objects = world.manifests(json!({}));
    for object in objects.iter().filter(|it| it["metadata"]["namespace"] == council.as_str()) {
        world.apply_manifest(object);
    }
    world.until("it is as planned", || is_as_planned(&world));
    // the council's own signature went with its namespace, and the agreement's dates are other terms
    assert_eq!(is_open(&world), nothing());
    world.sign_all();
    world.until("everything is open again", || is_open(&world) == everything() && is_as_planned(&world));
    falls_silent(&audit, Duration::from_secs(1));
    drop(world);
    operator.terminate();
}

/// Lets the operator make one write, kills it, starts another, and so on until one has nothing left to do.
fn one_write_at_a_time(proxy: &Proxy, audit: &Audit, world: &World, answered: usize, then: &Open) -> usize {
    let mut crashes = 0;
    loop {
        proxy.trip_after(answered);
        let operator = Replica::start(proxy);
        let began = Instant::now();
        let mut quiet = (audit.writes().len(), Instant::now());
        while !proxy.has_tripped() {
            let written = audit.writes().len();
            if written != quiet.0 {
                quiet = (written, Instant::now());
            }
            let settled =
                quiet.1.elapsed() > Duration::from_millis(1200) && operator.asked("/readyz") == Some(200);
            if settled && is_open(world) == *then && is_as_planned(world) {
                operator.terminate();
                return crashes;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it does nothing:\n{}", operator.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        operator.kill();
        crashes += 1;
        assert!(crashes < 200, "it never ends: {:?}", last(audit, 10));
    }
}

#[test]
fn an_operator_that_is_killed_at_each_of_its_writes_gets_there_all_the_same() {
    let _cluster = cluster();
    let audit = Audit::default();
    let world = signed("killed");
    let observer = Observer::begin(&world);
    let proxy = Proxy::start("operator", &audit);
    let mut story = Story::begin(&world, &observer);
    let mut counts = Vec::new();
    let began = Instant::now();
    let path = |story: &mut Story<'_>, counts: &mut Vec<usize>, what: &str, then: Open, act: &dyn Fn()| {
        story.step(what, then.clone(), || {
            act();
            // each write is one that the operator never learns of
            counts.push(one_write_at_a_time(&proxy, &audit, &world, 0, &then));
        });
    };
    path(&mut story, &mut counts, "opening", everything(), &|| {});
    path(&mut story, &mut counts, "closing one", open(&["pcn>bins", "pcn>contacts"]), &|| {
        world.withdraw("charity");
    });
    path(&mut story, &mut counts, "opening one", everything(), &|| {
        world.sign("charity");
    });
    path(&mut story, &mut counts, "deleting", nothing(), &|| {
        world.delete::<DataSharingAgreement>(&world.ns("council"), "sharing");
    });
    assert!(world.get::<DataSharingAgreement>(&world.ns("council"), "sharing").is_none(), "it is let go");
    let revisions = story.verify();
    note(&format!(
        "killed at each of its writes: {counts:?} times (opening, closing one, opening one, deleting), \
         {revisions} revisions, {:?}",
        began.elapsed()
    ));
    assert!(counts.iter().all(|&count| count >= 4), "{counts:?}");
}

/// Kills the operator after its first write, its second, …, each time from the beginning.
#[test]
fn an_operator_that_is_killed_after_so_many_writes_gets_there_all_the_same() {
    let counts: &[usize] = &[2, 5, 9];
    let counts: Vec<usize> = if is_long() { (0..40).collect() } else { counts.to_vec() };
    let _cluster = cluster();
    for answered in counts {
        let audit = Audit::default();
        let world = signed("killed-after");
        let observer = Observer::begin(&world);
        let proxy = Proxy::start("operator", &audit);
        let mut story = Story::begin(&world, &observer);
        for (what, then) in [("opening", everything()), ("closing", nothing())] {
            story.step(what, then.clone(), || {
                if what == "closing" {
                    world.withdraw("council");
                }
                proxy.trip_after(answered);
                let operator = Replica::start(&proxy);
                let began = Instant::now();
                while !(proxy.has_tripped() || is_open(&world) == then && is_as_planned(&world)) {
                    assert!(began.elapsed() < Duration::from_secs(60), "{}", operator.log());
                    std::thread::sleep(Duration::from_millis(5));
                }
                operator.kill();
                proxy.trip_after(usize::MAX);
                let operator = Replica::start(&proxy);
                world.until("it gets there", || is_open(&world) == then && is_as_planned(&world));
                operator.kill();
            });
        }
        story.verify();
    }
}

#[test]
fn when_the_leader_dies_another_closes_and_never_do_two_write() {
    let _cluster = cluster();
    let audit = Audit::default();
    let world = signed("leader");
    let observer = Observer::begin(&world);
    let (one, two) = (Proxy::start("one", &audit), Proxy::start("two", &audit));
    let first = Replica::start_electing(&one);
    first.until_ready();
    let mut story = Story::begin(&world, &observer);
    story.step("the first opens", everything(), || {});
    let second = Replica::start_electing(&two);
    second.until_ready();
    std::thread::sleep(Duration::from_secs(3));
    assert!(audit.writes().iter().all(|write| write.replica == "one"), "the standby writes nothing");

    // killed: the lease has to run out
    let began = Instant::now();
    let mut took = Duration::ZERO;
    story.step(
        "the leader is killed, and the charity withdraws",
        open(&["pcn>bins", "pcn>contacts"]),
        || {
            first.kill();
            world.withdraw("charity");
            world.until("the charity is closed", || !is_open(&world).contains("charity>bins"));
            took = began.elapsed();
        },
    );
    note(&format!("the leader killed: closed by the other after {took:?}"));
    assert!(took < Duration::from_secs(15 + 2 + 6), "{took:?}");

    // told to end: the lease is let go
    let third = Replica::start_electing(&one);
    third.until_ready();
    let began = Instant::now();
    story.step("the leader ends, and the council withdraws", nothing(), || {
        second.terminate();
        world.withdraw("council");
        world.until("everything is closed", || is_open(&world).is_empty());
        took = began.elapsed();
    });
    note(&format!("the leader told to end: closed by the other after {took:?}"));
    assert!(took < Duration::from_secs(2 + 6), "{took:?}");

    // cut off from its lease, and from nothing else: it has to stop by itself before the other begins
    let fourth = Replica::start_electing(&two);
    fourth.until_ready();
    one.lose_lease(true);
    let began = Instant::now();
    let turns = || audit.writes().last().map(|write| write.replica);
    story.step("the leader loses its lease while there is always something to write", nothing(), || {
        let mut state = false;
        while turns() != Some("two") {
            state = !state;
            // a signature that comes and goes is a status to write, and opens nothing
            if state {
                world.sign("charity")
            } else {
                world.withdraw("charity")
            };
            std::thread::sleep(Duration::from_millis(100));
            assert!(began.elapsed() < Duration::from_secs(60), "nobody leads:\n{}", fourth.log());
        }
        // and goes on having nothing to say when it can ask for its lease again
        one.lose_lease(false);
        for _ in 0..30 {
            world.sign("charity");
            world.withdraw("charity");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    note(&format!("the leader cut off from its lease: the other writes after {:?}", began.elapsed()));
    story.verify();

    let writes = audit.writes();
    let mut reigns: Vec<(&str, Instant, Instant)> = Vec::new();
    for write in &writes {
        match reigns.last_mut() {
            Some((replica, _, end)) if *replica == write.replica => *end = write.at,
            _ => reigns.push((write.replica, write.at, write.at)),
        }
    }
    let order: Vec<&str> = reigns.iter().map(|(replica, ..)| *replica).collect();
    assert_eq!(order, ["one", "two", "one", "two"], "never two writers at once");
    let gap = reigns[3].1.duration_since(reigns[2].2);
    note(&format!("between the last write of the one and the first of the other: {gap:?}"));
    assert!(gap > Duration::from_secs(2), "{gap:?}");
    drop((third, fourth));
}

fn outage(line: Line, length: Duration) {
    let audit = Audit::default();
    let world = signed("outage");
    let observer = Observer::begin(&world);
    let proxy = Proxy::start("operator", &audit);
    let operator = Replica::start(&proxy);
    let mut story = Story::begin(&world, &observer);
    story.step("opened", everything(), || {});
    proxy.line(line);
    let mut took = Duration::ZERO;
    story.step("withdrawn while the API server is away", open(&["pcn>bins", "pcn>contacts"]), || {
        world.withdraw("charity");
        let ended = Instant::now() + length;
        while Instant::now() < ended {
            assert_eq!(operator.asked("/livez"), Some(200), "an API server that is away is no reason to die");
            std::thread::sleep(Duration::from_millis(500));
        }
        if length > Duration::from_secs(75) {
            assert_eq!(operator.asked("/readyz"), Some(503), "it says that it hears nothing");
        }
        proxy.line(Line::Open);
        let back = Instant::now();
        world.until("the charity is closed", || !is_open(&world).contains("charity>bins"));
        took = back.elapsed();
    });
    operator.until_ready();
    let revisions = story.verify();
    note(&format!(
        "{line:?} for {length:?}: closed {took:?} after the API server was back, {revisions} revisions"
    ));
    let most = if line == Line::Refuse { 6 } else { 14 };
    assert!(took < Duration::from_secs(most), "{took:?}");
    operator.terminate();
}

#[test]
fn what_was_withdrawn_while_the_api_server_was_away_closes_when_it_is_back() {
    let _cluster = cluster();
    let lengths: &[u64] = if is_long() { &[10, 60, 130] } else { &[10] };
    for &length in lengths {
        for line in [Line::Refuse, Line::Silence] {
            outage(line, Duration::from_secs(length));
        }
    }
}

#[test]
fn a_withdrawal_does_not_wait_for_the_end_of_a_round_of_openings() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (proxy, operator) = started(&audit);
    let world = World::new("urgent");
    let observer = Observer::begin(&world);
    let mut story = Story::begin(&world, &observer);
    story.step("everybody signs", everything(), || {
        world.apply_all();
        world.sign_all();
    });
    falls_silent(&audit, Duration::from_millis(100));
    operator.terminate();
    let others: Vec<World> = (0..4).map(|_| signed("patient")).collect();
    proxy.slow(Duration::from_millis(120));
    let before = audit.writes().len();
    let operator = Replica::start(&proxy);
    let mut took = Duration::ZERO;
    story.step("the council withdraws", nothing(), || {
        let written = || audit.writes().len() - before;
        world.until("the round has begun", || written() > 6);
        let began = Instant::now();
        world.withdraw("council");
        world.until("everything is closed", || is_open(&world).is_empty());
        took = began.elapsed();
    });
    let others_open = || others.iter().filter(|it| is_open(it) == everything()).count();
    for other in &others {
        other.until("the others open", || is_open(other) == everything());
    }
    assert_eq!(others_open(), 4);
    let writes = audit.writes().split_off(before);
    let is_closing = |write: &Write| write.what.starts_with("DELETE") && write.what.contains(&world.stem);
    let is_opening = |write: &Write| {
        write.what.starts_with("PATCH")
            && write.what.contains("networkpolicies")
            && !write.what.contains("isolate-")
    };
    let closed = writes.iter().rposition(is_closing).unwrap();
    let left = writes.iter().skip(closed).filter(|write| is_opening(write)).count();
    note(&format!("withdrawn in the midst of openings: closed after {took:?}, before {left} openings"));
    assert!(left >= 4, "{left} openings came after it");
    story.verify();
    drop((world, others));
    operator.terminate();
}

#[test]
fn an_operator_with_nothing_to_do_writes_nothing() {
    let _cluster = cluster();
    let audit = Audit::default();
    let world = signed("idle");
    let proxy = Proxy::start("operator", &audit);
    let operator = Replica::start(&proxy);
    world.until("everything is open", || is_open(&world) == everything() && is_as_planned(&world));
    falls_silent(&audit, Duration::from_secs(4));
    operator.terminate();
    // another one finds everything as it should be
    let before = audit.writes().len();
    let operator = Replica::start(&proxy);
    operator.until_ready();
    let idle = if is_long() { Duration::from_secs(600) } else { Duration::from_secs(5) };
    std::thread::sleep(idle);
    assert_eq!(audit.writes().len(), before, "{:?}", last(&audit, 10));
    note(&format!("idle for {idle:?}: no writes"));
    drop(world);
    operator.terminate();
}

/// The rights are those of the chart: the operator's account can do nothing else.
#[test]
fn the_operator_is_no_administrator() {
    let _cluster = cluster();
    let world = World::new("rights");
    let user = format!("system:serviceaccount:{}:concordat-operator", account().namespace);
    let refused: BTreeSet<&str> = [
        ("secrets", "", "get"),
        ("networkpolicies", "networking.k8s.io", "deletecollection"),
        ("agreementsignatures", "concordat.dev", "create"),
        ("datasharingagreements", "concordat.dev", "update"),
        ("partnerorgs", "concordat.dev", "patch"),
        ("namespaces", "", "delete"),
    ]
    .into_iter()
    .filter(|(resource, group, verb)| {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": {
                "resource": resource, "group": group, "verb": verb, "namespace": world.ns("council"),
            }},
        });
        let review: k8s_openapi::api::authorization::v1::SubjectAccessReview =
            serde_json::from_value(review).unwrap();
        let api = Api::all(world.client.clone());
        let answer = world.block(api.create(&kube::api::PostParams::default(), &review)).unwrap();
        !answer.status.unwrap().allowed
    })
    .map(|(resource, ..)| resource)
    .collect();
    assert_eq!(refused.len(), 6, "{refused:?}");
}
