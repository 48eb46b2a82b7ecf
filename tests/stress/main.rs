//! The operator under stress: the real binary, on a real API server, with the rights of its chart, and somebody who
//! looks on at every revision.
//!
//! Whatever happens, nothing is ever reachable that neither the old nor the new agreement allows; default deny is
//! there before the first allow and outlives the last; nothing is left over; and an operator that has nothing to do
//! writes nothing. `CONCORDAT_STRESS=long` adds what takes minutes.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

#[path = "../support/mod.rs"]
mod support;

mod kills;
mod leaders;
mod life;
mod lists;
mod observer;
mod operator;
mod outages;
mod proxy;
mod reach;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Api;
use observer::{Observer, Open, Story, everything, is_as_planned, is_open, is_told, nothing, open};
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

/// Waits until nothing has been written for a while, and then makes sure that nothing is. Gives back when the last
/// write was.
fn falls_silent(audit: &Audit, silence: Duration) -> Option<Instant> {
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
    let refused = audit.all().into_iter().filter_map(|write| Some((write.what, write.refused?)));
    let refused: Vec<_> = refused.filter(|(_, said)| said.contains(r#"\" cannot "#)).collect();
    assert!(refused.is_empty(), "the chart's rights do not suffice: {refused:?}");
    audit.writes().last().map(|write| write.at)
}

fn last(audit: &Audit, count: usize) -> Vec<Write> {
    let mut writes = audit.writes();
    writes.split_off(writes.len().saturating_sub(count))
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
