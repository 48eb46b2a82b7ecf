//! An operator that is killed: after each of its writes, one by one, before it learns of it; and started again.

use concordat_api::{DataProduct, DataSharingAgreement, PartnerOrg};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::DeleteParams;

use super::*;

/// Lets the operator make one write, kills it, starts another, and so on until one has nothing left to do.
fn one_write_at_a_time(proxy: &Proxy, audit: &Audit, world: &World, then: &Open) -> usize {
    let mut crashes = 0;
    loop {
        proxy.trip_after(0);
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
            if settled && is_open(world) == *then && is_as_planned(world) && is_told(world) {
                proxy.trip_after(usize::MAX);
                operator.terminate();
                return crashes;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "it does nothing:\n{}", operator.log());
            assert!(!operator.has_ended(), "it has ended by itself:\n{}", operator.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        operator.kill();
        crashes += 1;
        assert!(crashes < 200, "it never ends: {:?}", last(audit, 10));
    }
}

/// A scenario under the kill loop: what happens, what is open afterwards, and how.
struct Scenario<'a> {
    what: &'static str,
    then: Open,
    act: Box<dyn Fn(&World) + 'a>,
    long: bool,
}

fn scenario<'a>(what: &'static str, then: Open, act: impl Fn(&World) + 'a) -> Scenario<'a> {
    Scenario { what, then, act: Box::new(act), long: true }
}

/// In the order in which they follow on each other.
fn scenarios() -> Vec<Scenario<'static>> {
    let ports = |world: &World, ports: Value| {
        let patch = json!({"spec": {"endpoint": {"ports": ports}}});
        world.patch::<DataProduct>(&world.ns("council"), "bins", &patch);
    };
    let egress = |world: &World, egress: &str| {
        let org = world.get_cluster::<PartnerOrg>(&world.org("pcn")).unwrap();
        let mut functions = json!(org.spec.functions);
        functions[0]["egress"] = json!(egress);
        world.patch_cluster::<PartnerOrg>(&world.org("pcn"), &json!({"spec": {"functions": functions}}));
    };
    let elsewhere = open(&["pcn>bins:8444", "charity>bins:8444", "pcn>contacts"]);
    let both = &everything() | &elsewhere;
    let in_short = |scenario: Scenario<'static>| Scenario { long: false, ..scenario };
    vec![
        in_short(scenario("everything opens", everything(), |_| {})),
        in_short(scenario("the charity withdraws", open(&["pcn>bins", "pcn>contacts"]), |world| {
            world.withdraw("charity");
        })),
        scenario("the charity signs again", everything(), |world| {
            world.sign("charity");
        }),
        scenario("a port comes", both.clone(), move |world| {
            ports(world, json!([{"port": 8443}, {"port": 8444}]));
        }),
        scenario("a port goes", elsewhere.clone(), move |world| ports(world, json!([{"port": 8444}]))),
        scenario("the port is another", everything(), move |world| ports(world, json!([{"port": 8443}]))),
        scenario("a recipient is taken out", nothing(), |world| {
            let mut purposes = world.purposes();
            purposes[0]["recipients"].as_array_mut().unwrap().remove(1);
            world.change(json!({"purposes": purposes}));
        }),
        scenario("what is left is signed", open(&["pcn>bins", "pcn>contacts"]), |world| world.sign_all()),
        scenario("the old terms come back, signed", everything(), |world| {
            world.change(json!({"purposes": world.purposes()}));
            world.sign_all();
        }),
        scenario("the team is Managed no longer", everything(), move |world| egress(world, "Unmanaged")),
        scenario("the team is Managed again", everything(), move |world| egress(world, "Managed")),
        scenario("another agreement takes its place", everything(), |world| {
            world.apply_manifest(&world.successor());
            for signature in world.signatures_of_successor() {
                world.apply_manifest(&signature);
            }
        }),
        scenario("that one is suspended, and revives nothing", nothing(), |world| {
            let patch = json!({"spec": {"suspend": true}});
            world.patch::<DataSharingAgreement>(&world.ns("council"), "sharing-2", &patch);
        }),
        scenario("and goes on", everything(), |world| {
            let patch = json!({"spec": {"suspend": false}});
            world.patch::<DataSharingAgreement>(&world.ns("council"), "sharing-2", &patch);
        }),
        scenario("a product is deleted", nothing(), |world| {
            world.delete::<DataProduct>(&world.ns("council"), "bins");
        }),
        scenario("the product is back", everything(), |world| {
            let manifests = world.manifests(json!({}));
            let is_it = |it: &&Value| it["kind"] == "DataProduct" && it["metadata"]["name"] == "bins";
            world.apply_manifest(manifests.iter().find(is_it).unwrap());
        }),
        scenario("the charity's namespace is deleted, and made again", nothing(), |world| {
            let (namespaces, name) = (Api::<Namespace>::all(world.client.clone()), world.ns("charity"));
            world.block(namespaces.delete(&name, &DeleteParams::default())).unwrap();
            world.until("it is gone", || world.block(namespaces.get_opt(&name)).unwrap().is_none());
            world.namespace(&name);
        }),
        scenario("the charity signs in it", everything(), |world| {
            for signature in world.signatures_of_successor() {
                world.apply_manifest(&signature);
            }
        }),
        in_short(scenario("everything is deleted", nothing(), |world| {
            let agreements: Api<DataSharingAgreement> =
                Api::namespaced(world.client.clone(), &world.ns("council"));
            for agreement in world.mine::<DataSharingAgreement>() {
                let name = agreement.name_any();
                world.block(agreements.delete(&name, &DeleteParams::default())).unwrap();
            }
        })),
    ]
}

#[test]
fn an_operator_that_is_killed_at_each_of_its_writes_gets_there_all_the_same() {
    let _cluster = cluster();
    let audit = Audit::default();
    let world = signed("killed");
    let observer = Observer::begin(&world);
    let proxy = Proxy::start("operator", &audit);
    let mut story = Story::begin(&world, &observer);
    let mut total = 0;
    let began = Instant::now();
    for Scenario { what, then, act, long } in scenarios() {
        if long && !is_long() {
            continue;
        }
        let (mut crashes, seen) = (0, observer.count(&world));
        story.step(what, then.clone(), || {
            act(&world);
            // each write is one that the operator never learns of
            crashes = one_write_at_a_time(&proxy, &audit, &world, &then);
        });
        let revisions = observer.count(&world) - seen;
        note(&format!("killed {crashes} times, at each write: {what}; {revisions} revisions"));
        assert!(crashes >= 2, "{what}: {crashes}");
        total += crashes;
    }
    assert!(world.mine::<DataSharingAgreement>().is_empty(), "they are let go");
    note(&format!("killed {total} times in {:?}, {} revisions in all", began.elapsed(), story.verify()));
}

/// Kills the operator after its first write, its second, …, each time from the beginning; and then lets one finish.
#[test]
fn an_operator_that_is_killed_after_so_many_writes_gets_there_all_the_same() {
    let _cluster = cluster();
    let counts: Vec<usize> = if is_long() { (0..60).collect() } else { vec![2, 9] };
    let (mut points, mut revisions) = ([0, 0], 0);
    for answered in counts {
        let audit = Audit::default();
        let world = signed("killed-after");
        let observer = Observer::begin(&world);
        let proxy = Proxy::start("operator", &audit);
        let mut story = Story::begin(&world, &observer);
        let mut tripped = false;
        for (at, (what, then)) in [("opening", everything()), ("closing", nothing())].into_iter().enumerate()
        {
            story.step(what, then.clone(), || {
                if what == "closing" {
                    world.withdraw("council");
                }
                proxy.trip_after(answered);
                let operator = Replica::start(&proxy);
                let began = Instant::now();
                let done = || is_open(&world) == then && is_as_planned(&world) && is_told(&world);
                while !(proxy.has_tripped() || done()) {
                    assert!(began.elapsed() < Duration::from_secs(60), "{}", operator.log());
                    std::thread::sleep(Duration::from_millis(5));
                }
                operator.kill();
                if proxy.has_tripped() {
                    tripped = true;
                    points[at] += 1;
                }
                proxy.trip_after(usize::MAX);
                let operator = Replica::start(&proxy);
                world.until("it gets there", || is_open(&world) == then && is_as_planned(&world));
                operator.kill();
            });
        }
        // the last operator was killed as soon as it had got there
        let operator = Replica::start(&proxy);
        revisions += story.verify();
        operator.kill();
        if !tripped {
            break;
        }
    }
    note(&format!(
        "killed once, after so many writes: {points:?} points (opening, closing), {revisions} revisions"
    ));
}
