//! Several replicas, of which one writes: killed, told to end, cut off, stopped and woken, robbed of their lease.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, Patch, PatchParams};

use super::*;

/// A stretch of writes of one replica.
#[derive(Debug)]
struct Reign {
    replica: &'static str,
    begins: Instant,
    ends: Instant,
}

/// Who wrote, one after the other.
fn reigns(audit: &Audit) -> Vec<Reign> {
    let mut reigns: Vec<Reign> = Vec::new();
    for write in audit.writes() {
        match reigns.last_mut() {
            Some(reign) if reign.replica == write.replica => reign.ends = write.at,
            _ => reigns.push(Reign { replica: write.replica, begins: write.at, ends: write.at }),
        }
    }
    reigns
}

/// How long no one wrote, each time that another began to.
fn gaps(audit: &Audit) -> Vec<Duration> {
    let reigns = reigns(audit);
    reigns.windows(2).map(|pair| pair[1].begins.duration_since(pair[0].ends)).collect()
}

/// Waits for longer than a new lease does.
fn patiently(what: &str, holds: impl Fn() -> bool) {
    support::until(what, Duration::from_secs(90), || Ok(holds().then_some(()))).unwrap();
}

/// Gives the leader something to write, until something holds. A signature that comes and goes is a status to write,
/// and opens nothing where the council has withdrawn.
fn busy(world: &World, most: Duration, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        world.sign("charity");
        std::thread::sleep(Duration::from_millis(100));
        world.withdraw("charity");
        std::thread::sleep(Duration::from_millis(100));
        assert!(began.elapsed() < most, "it never holds");
    }
}

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.client.clone(), &account().namespace)
}

/// Who leads, in a world in which nothing is open and no one but the council has a say.
fn closed(stem: &str) -> World {
    let world = World::new(stem);
    world.apply_all();
    world.sign("council");
    world.withdraw("council");
    world
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
    let began = Instant::now();
    let second = Replica::start_electing(&two);
    second.until_ready();
    assert!(began.elapsed() < Duration::from_secs(20), "who stands by is ready once it has judged");
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
            assert!(began.elapsed() < Duration::from_secs(60), "no one leads:\n{}", fourth.log());
        }
        took = began.elapsed();
        // and goes on having nothing to say when it can ask for its lease again
        one.lose_lease(false);
        for _ in 0..30 {
            world.sign("charity");
            world.withdraw("charity");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    note(&format!("the leader cut off from its lease: the other writes after {took:?}"));
    story.verify();

    let reigns = reigns(&audit);
    let order: Vec<&str> = reigns.iter().map(|reign| reign.replica).collect();
    assert_eq!(order, ["one", "two", "one", "two"], "never two writers at once");
    let gap = reigns[3].begins.duration_since(reigns[2].ends);
    note(&format!("between the last write of the one and the first of the other: {gap:?}"));
    assert!(gap > Duration::from_secs(2), "{gap:?}");
    drop((third, fourth));
}

/// A process that is stopped knows nothing of the time that passes: it wakes in the midst of a round of writes.
#[test]
fn a_leader_that_was_stopped_does_not_write_when_it_wakes_while_another_leads() {
    if !is_long() {
        return;
    }
    let _cluster = cluster();
    let audit = Audit::default();
    let _first = World::new("definitions");
    let (one, two) = (Proxy::start("one", &audit), Proxy::start("two", &audit));
    let first = Replica::start_electing(&one);
    first.until_ready();
    let world = closed("stopped");
    let turn = || reigns(&audit).last().map(|reign| reign.replica);
    patiently("the first to write", || turn() == Some("one"));
    falls_silent(&audit, Duration::from_millis(100));
    let second = Replica::start_electing(&two);
    second.until_ready();
    // a round that lasts: what is to be written is queued in the process when it is stopped
    let worlds: Vec<World> = (0..4).map(|_| signed("queued")).collect();
    one.slow(Duration::from_millis(150));
    let before = audit.writes().len();
    worlds[0].annotate("wake", "up");
    patiently("the round to begin", || audit.writes().len() > before + 4);
    let stopped = Instant::now();
    first.signal("STOP");
    busy(&world, Duration::from_secs(60), || turn() == Some("two"));
    let took = stopped.elapsed();
    busy(&world, Duration::from_secs(60), || stopped.elapsed() > Duration::from_secs(22));
    first.signal("CONT");
    let woke = Instant::now();
    busy(&world, Duration::from_secs(60), || woke.elapsed() > Duration::from_secs(8));
    for queued in &worlds {
        patiently("what was queued to be opened by the other", || is_open(queued) == everything());
    }
    let late: Vec<Write> =
        audit.writes().into_iter().filter(|it| it.replica == "one" && it.at > woke).collect();
    let reigns = reigns(&audit);
    let order: Vec<&str> = reigns.iter().map(|reign| reign.replica).collect();
    let still = reigns[0].ends.saturating_duration_since(stopped);
    note(&format!(
        "the leader stopped for {:?}: the other writes after {took:?}; what had been sent arrived within {still:?}, \
         and after it woke it wrote {} times",
        woke.duration_since(stopped),
        late.len()
    ));
    assert_eq!((order.as_slice(), late.len()), (["one", "two"].as_slice(), 0), "{late:?}");
    drop((worlds, world));
    second.terminate();
    first.terminate();
}

#[test]
fn whoever_deletes_or_clears_the_lease_does_not_make_two_leaders() {
    if !is_long() {
        return;
    }
    let _cluster = cluster();
    let audit = Audit::default();
    let _first = World::new("definitions");
    let (one, two) = (Proxy::start("one", &audit), Proxy::start("two", &audit));
    let first = Replica::start_electing(&one);
    first.until_ready();
    let world = closed("robbed");
    let turn = || reigns(&audit).last().map(|reign| reign.replica);
    patiently("the first to write", || turn() == Some("one"));
    let second = Replica::start_electing(&two);
    second.until_ready();
    let leases = leases(&world);
    let rob = |what: &str| {
        patiently("somebody to hold the lease", || {
            let lease = world.block(leases.get_opt("concordat-operator")).unwrap();
            lease.and_then(|it| it.spec?.holder_identity).is_some_and(|it| !it.is_empty())
        });
        if what == "deleted" {
            world.block(leases.delete("concordat-operator", &DeleteParams::default())).unwrap();
        } else {
            let nobody = json!({"spec": {"holderIdentity": ""}});
            let params = PatchParams::default();
            world.block(leases.patch("concordat-operator", &params, &Patch::Merge(&nobody))).unwrap();
        }
    };
    for (what, times) in [("deleted", 4), ("cleared", 4)] {
        for _ in 0..times {
            rob(what);
            let robbed = Instant::now();
            busy(&world, Duration::from_secs(60), || robbed.elapsed() > Duration::from_millis(3700));
        }
    }
    // the leader is cut off in the very moment: no one tells it, and the other must not begin before it has stopped
    rob("deleted");
    let (leader, other) = if turn() == Some("one") { (&one, "two") } else { (&two, "one") };
    leader.lose_lease(true);
    let robbed = Instant::now();
    busy(&world, Duration::from_secs(60), || turn() == Some(other));
    let took = robbed.elapsed();
    leader.lose_lease(false);
    busy(&world, Duration::from_secs(60), || robbed.elapsed() > took + Duration::from_secs(4));
    let gaps: Vec<Duration> = gaps(&audit);
    note(&format!(
        "the lease deleted four times and cleared four times, and deleted while the leader is cut off from it, after \
         which the other writes after {took:?}; between the writes of two leaders: {gaps:?}"
    ));
    assert!(gaps.iter().all(|gap| *gap > Duration::from_secs(2)), "two write at once: {:?}", reigns(&audit));
    drop(world);
    second.terminate();
    first.terminate();
}

/// A replica that stands by may be behind, and must not undo what the leader before it has done.
#[test]
fn whoever_takes_over_reads_everything_anew_before_it_writes() {
    let _cluster = cluster();
    let audit = Audit::default();
    let _first = World::new("definitions");
    let (one, two) = (Proxy::start("one", &audit), Proxy::start("two", &audit));
    let first = Replica::start_electing(&one);
    first.until_ready();
    let world = signed("behind");
    let observer = Observer::begin(&world);
    let mut story = Story::begin(&world, &observer);
    story.step("the first opens", everything(), || {});
    let second = Replica::start_electing(&two);
    second.until_ready();
    // the one that stands by hears nothing of signatures any more
    two.deafen(Some("/agreementsignatures"));
    story.step("the charity withdraws", open(&["pcn>bins", "pcn>contacts"]), || {
        world.withdraw("charity");
    });
    let began = Instant::now();
    story.step("the leader ends", open(&["pcn>bins", "pcn>contacts"]), || {
        first.terminate();
        patiently("the other to lead", || {
            let lease = world.block(leases(&world).get("concordat-operator")).unwrap();
            lease.spec.unwrap().holder_identity.is_some()
        });
        // it would take what it does not know for something to put right
        std::thread::sleep(Duration::from_secs(4));
    });
    two.deafen(None);
    story.step("the council withdraws", nothing(), || {
        world.withdraw("council");
    });
    note(&format!("one that was behind took over, and closed after {:?}", began.elapsed()));
    story.verify();
    drop(world);
    second.terminate();
}
