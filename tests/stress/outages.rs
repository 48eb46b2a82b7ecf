//! An API server that is away, one that is slow, and one that has nothing to say.

use concordat_api::Phase;

use super::*;

fn outage(line: Line, length: Duration) {
    let audit = Audit::default();
    let world = signed("outage");
    let observer = Observer::begin(&world);
    let proxy = Proxy::start("operator", &audit);
    let operator = Replica::start(&proxy);
    let mut story = Story::begin(&world, &observer);
    story.step("opened", everything(), || {});
    proxy.line(line);
    let (mut took, mut back) = (Duration::ZERO, None);
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
        let since = Instant::now();
        back = Some(since);
        world.until("the charity is closed", || !is_open(&world).contains("charity>bins"));
        took = since.elapsed();
    });
    let silent = falls_silent(&audit, Duration::from_secs(1)).unwrap();
    operator.until_ready();
    let revisions = story.verify();
    let silent = silent.saturating_duration_since(back.unwrap());
    note(&format!(
        "{line:?} for {length:?}: closed {took:?} after the API server was back, and silent after {silent:?}, \
         {revisions} revisions"
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

#[test]
fn while_something_cannot_be_read_what_is_known_closes_and_nothing_opens() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (proxy, operator) = started(&audit);
    let world = signed("unread");
    world.until("everything is open", || is_open(&world) == everything());
    proxy.forbid_reading(Some("/agreementsignatures"));
    // the watch that is under way ends within ten seconds
    std::thread::sleep(Duration::from_secs(13));
    world.change(json!({"suspend": true}));
    world.until("what is known closes", || is_open(&world).is_empty());
    // no one hears of it
    world.withdraw("council");
    world.change(json!({"suspend": false}));
    world.until("it says why nothing opens", || {
        world.message("Enforced").is_some_and(|it| {
            it.contains("nothing is opened meanwhile") && it.contains("`AgreementSignature` may not be read")
        })
    });
    assert_eq!(is_open(&world), nothing());
    proxy.forbid_reading(None);
    world.phase(Phase::Withdrawn);
    assert_eq!(is_open(&world), nothing());
    world.sign("council");
    world.until("everything is open again", || is_open(&world) == everything());
    drop(world);
    operator.terminate();
}

#[test]
fn a_server_that_fails_at_some_writes_holds_up_no_other_closing() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (proxy, operator) = started(&audit);
    let stuck: Vec<World> = (0..2).map(|_| signed("stuck")).collect();
    let world = signed("free");
    for it in stuck.iter().chain([&world]) {
        it.until("everything is open", || is_open(it) == everything());
    }
    proxy.fail(Some("stuck-"));
    stuck.iter().for_each(|it| drop(it.withdraw("council")));
    world.withdraw("council");
    let began = Instant::now();
    world.until("what can be closed is closed", || is_open(&world).is_empty());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let first = &stuck[0];
    first.until("it says what stands in the way", || {
        first.message("Enforced").is_some_and(|it| it.contains("down.example.org"))
    });
    assert_eq!(first.condition("Enforced").map(|(status, _)| status).as_deref(), Some("False"));
    proxy.fail(None);
    for it in &stuck {
        it.until("everything is closed once it can be", || is_open(it).is_empty());
    }
    drop((world, stuck));
    operator.terminate();
}
