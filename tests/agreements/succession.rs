//! A fact once reached stays: what has replaced an agreement, and what undoes it (nothing).

use concordat_api::{ObjectRef, Phase, SignatureEnd, SignatureState};
use concordat_core::finding::{Code, Origin};
use concordat_core::snapshot::Unreadable;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::world::{ALL, EVERYBODY, Judged, World, care, care_2, just_before, moment, nothing, set};

const START: &str = "2026-11-01T00:00:00Z";

type Change = Box<dyn Fn(World) -> World>;

fn replaced() -> World {
    World::signed().followed_and_signed_from(START)
}

fn with_state(mut world: World, party: &str, state: SignatureState) -> World {
    let found = world
        .0
        .signatures
        .iter_mut()
        .find(|it| it.object.spec.agreement == care_2() && it.object.spec.party == party);
    found.unwrap().object.spec.state = Some(state);
    world
}

/// The signature of a party on the successor is being deleted, and a finalizer keeps it.
fn unsigning(mut world: World, party: &str) -> World {
    let found = world
        .0
        .signatures
        .iter_mut()
        .find(|it| it.object.spec.agreement == care_2() && it.object.spec.party == party);
    set(&mut found.unwrap().object, "/metadata/deletionTimestamp", json!("2026-11-21T00:00:00Z"));
    world
}

/// Flows of the old agreement alone.
fn old_flows(judged: &Judged) -> usize {
    judged.0.assessments.agreements[&care()].flows.len()
}

#[test]
fn nothing_that_becomes_of_the_successor_revives_the_old_one() {
    let changes: Vec<(&str, Change)> = vec![
        ("suspended", Box::new(|it| it.with_next("/spec/suspend", json!(true)))),
        ("expired", Box::new(|it| it.with_next("/spec/term/end", json!("2026-11-10T00:00:00Z")))),
        (
            "without its review",
            Box::new(|it| it.with_next("/spec/term/reviewBy", json!("2026-11-10T00:00:00Z"))),
        ),
        ("without its DPIA", Box::new(|it| it.with_next("/spec/dpia", Value::Null))),
        ("with other terms", Box::new(|it| it.with_next("/spec/title", json!("Care, and more")))),
        ("its controller withdrew", Box::new(|it| with_state(it, "ash-practice", SignatureState::Withdrawn))),
        ("its recipient withdrew", Box::new(|it| with_state(it, "hospital", SignatureState::Withdrawn))),
        (
            "all withdrew",
            Box::new(|it| {
                EVERYBODY.iter().fold(it, |it, party| with_state(it, party, SignatureState::Withdrawn))
            }),
        ),
        (
            "its product is gone",
            Box::new(|mut it| {
                let gone = it.0.products.pop().unwrap();
                assert!(
                    gone.object.spec.controller == "birch-practice"
                        || gone.object.spec.controller == "ash-practice"
                );
                it
            }),
        ),
        ("a controller's signature is being deleted", Box::new(|it| unsigning(it, "birch-practice"))),
        ("a recipient's signature is being deleted", Box::new(|it| unsigning(it, "hospital"))),
        (
            "all signatures are being deleted",
            Box::new(|it| EVERYBODY.iter().fold(it, |it, party| unsigning(it, party))),
        ),
        (
            "its terms have changed and a signature is being deleted",
            Box::new(|it| unsigning(it.with_next("/spec/title", json!("Care, and more")), "birch-practice")),
        ),
        ("its footprint is unknown", Box::new(|it| it.with_next("/spec/footprint", json!("nowhere")))),
        (
            "it is being deleted",
            Box::new(|it| it.with_next("/metadata/deletionTimestamp", json!("2026-11-21T00:00:00Z"))),
        ),
    ];
    assert_eq!(replaced().now().phase(), Phase::Superseded);
    for (what, change) in changes {
        let judged = change(replaced()).now();
        assert_eq!(old_flows_or_none(&judged), 0, "{what}");
    }
}

fn old_flows_or_none(judged: &Judged) -> usize {
    judged.0.assessments.agreements.get(&care()).map_or(0, |it| it.flows.len())
}

#[test]
fn a_successor_that_was_never_in_force_ends_nothing() {
    let all = |judged: Judged| (judged.phase(), old_flows(&judged));
    let everything = (Phase::Active, ALL.len());
    let early = World::signed().followed_and_signed_from("2026-12-01T00:00:00Z");
    assert_eq!(all(early.now()), everything, "it has not started");
    let one_is_missing = World::signed()
        .followed_from(START)
        .signed_on(&care_2(), &["ash-practice", "birch-practice", "board"]);
    assert_eq!(all(one_is_missing.now()), everything, "a recipient has not signed it");
    let declined = with_state(replaced(), "birch-practice", SignatureState::Declined);
    assert_eq!(all(declined.now()), everything, "a Controller has declined it");
    let refused = replaced().with_next("/spec/outcomeMeasures", json!([])).signed_on(&care_2(), &EVERYBODY);
    assert_eq!(all(refused.now()), everything, "a national rule has always refused it");
}

#[test]
fn the_first_past_moment_at_which_it_was_in_force_is_enough() {
    // in force for three days, then past its own review
    let world = World::signed()
        .followed_from(START)
        .with_next("/spec/term/reviewBy", json!("2026-11-04T00:00:00Z"))
        .signed_on(&care_2(), &EVERYBODY);
    assert_eq!(world.at("2026-10-31T23:59:59.999Z").phase(), Phase::Active);
    assert_eq!(world.at(START).phase(), Phase::Superseded);
    assert_eq!(world.now().phase(), Phase::Superseded);
    assert_eq!(world.now().phase_of(&care_2()), Phase::Refused);
}

#[test]
fn what_the_old_one_names_closes_it_whether_that_exists_or_not_and_changes_no_terms() {
    let named = World::signed().with("/spec/supersededBy", json!({ "namespace": "nobody", "name": "ever" }));
    let judged = named.now();
    assert_eq!((judged.phase(), judged.open()), (Phase::Superseded, nothing()));
    let again = named.with("/spec/supersededBy", Value::Null).now();
    assert_eq!((again.phase(), again.codes()), (Phase::Active, vec![]));
}

#[test]
fn with_accession_each_controller_goes_over_by_itself() {
    let world = World::written().with("/spec/accession", json!(true)).signed_by(&EVERYBODY);
    let world = world.followed_from(START).signed_on(&care_2(), &["ash-practice", "hospital", "board"]);
    let judged = world.now();
    assert_eq!(judged.phase(), Phase::Active);
    let ended: Vec<&String> = judged.0.assessments.agreements[&care()].succession.ended.keys().collect();
    assert_eq!(ended, ["ash-practice"]);
    let old: Vec<String> =
        judged.0.assessments.agreements[&care()].flows.iter().map(|flow| flow.product.to_string()).collect();
    assert_eq!(old, ["birch-practice/record", "birch-practice/record"]);
    let both = world.signed_on(&care_2(), &["birch-practice"]).now();
    assert_eq!((both.phase(), both.phase_of(&care_2())), (Phase::Superseded, Phase::Active));
}

/// With accession, and a successor that one practice and the hospital have signed.
fn gone_over(start: &str) -> World {
    let world = World::written().with("/spec/accession", json!(true)).signed_by(&EVERYBODY);
    world.followed_from(start).signed_on(&care_2(), &["ash-practice", "hospital"])
}

#[test]
fn a_successor_whose_end_is_moved_before_its_start_has_replaced_the_old_one_all_the_same() {
    for field in ["/spec/confidentiality/validUntil", "/spec/term/end"] {
        for end in [START, "2026-10-01T00:00:00Z"] {
            let judged = replaced().with_next(field, json!(end)).now();
            assert_eq!(old_flows_or_none(&judged), 0, "{field} {end}");
        }
    }
    // signed with that end by everybody it was never in force
    let never = replaced().with_next("/spec/confidentiality/validUntil", json!(START));
    assert_eq!(old_flows(&never.signed_on(&care_2(), &EVERYBODY).now()), ALL.len());
}

#[test]
fn with_accession_a_broken_successor_is_held_whatever_is_broken_of_it() {
    let shared = |broken: &dyn Fn(&mut Unreadable)| {
        let mut world = gone_over(START);
        let next = world.0.agreements.pop().unwrap().object;
        let mut unreadable = Unreadable {
            kind: "DataSharingAgreement".to_owned(),
            meta: next.metadata.clone(),
            error: "broken".to_owned(),
            spec: json!({ "supersedes": care(), "accession": true, "term": { "start": START } }),
            source: std::sync::Arc::default(),
        };
        broken(&mut unreadable);
        world.0.unreadable.push(unreadable);
        let judged = world.now();
        let flows = &judged.0.assessments.agreements[&care()].flows;
        flows.iter().filter(|it| it.product.namespace == "ash-practice").count()
    };
    assert_eq!(shared(&|_| {}), 0);
    assert_eq!(shared(&|it| it.meta.name = None), 0, "it has no name");
    assert_eq!(shared(&|it| it.spec["accession"] = json!("true")), 0);
    assert_eq!(shared(&|it| it.spec["supersedes"] = json!(care_2())), 2, "it takes another's place");
    let misspelt = |it: &mut Unreadable| {
        it.spec = json!({ "supersedes": care(), "accessio": true, "term": { "start": START } });
    };
    assert_eq!(shared(&misspelt), 0, "a field is misspelt");
}

#[test]
fn with_accession_a_recipient_that_had_signed_other_terms_and_leaves_later_revives_nothing() {
    let world = World::written().with("/spec/accession", json!(true)).signed_by(&EVERYBODY);
    // what a rule refuses today was something else when the hospital signed it
    let world = world.followed_from(START).with_next("/spec/outcomeMeasures", json!([]));
    let world = world.signed_on(&care_2(), &["ash-practice", "birch-practice", "hospital"]);
    let leaves = moment("2026-11-20T00:00:00Z");
    let mut word = world.signature(&care_2(), "hospital");
    word.spec.terms_hash = format!("sha256:{}", "1".repeat(64));
    word.spec.ends = vec![SignatureEnd { purpose: None, on: leaves }];
    let world = world.putting(word);
    for at in [moment(START), just_before(leaves), leaves] {
        assert_eq!(world.at_moment(at).open(), nothing(), "{at}");
    }
    assert!(!world.at_moment(just_before(moment(START))).open().is_empty());
}

#[test]
fn with_accession_who_has_gone_over_stays_so_when_the_terms_of_a_recipient_change() {
    let sharing_in_old = |world: &World| {
        let judged = world.now();
        let flows = &judged.0.assessments.agreements[&care()].flows;
        flows.iter().filter(|it| it.product.namespace == "ash-practice").count()
    };
    assert_eq!(sharing_in_old(&gone_over(START)), 0);
    let changed = gone_over(START).with_next("/spec/parties/2/article9", json!("9(2)(g)"));
    assert_eq!(sharing_in_old(&changed), 0, "the hospital has to sign again, and had signed");
    // its own terms are another's business only where that one has signed: the board's never were
    let other = gone_over(START).with_next("/spec/parties/3/article9", json!("9(2)(g)"));
    assert_eq!(sharing_in_old(&other), 0);
}

#[test]
fn a_path_ends_when_a_successor_starts_that_cannot_be_used() {
    let start = "2026-12-01T00:00:00Z";
    let world = World::signed().followed_and_signed_from(start);
    let broken = world.with_next("/spec/retention/days", json!(-1));
    let judged = broken.now();
    let flows = &judged.0.assessments.agreements[&care()].flows;
    assert!(!flows.is_empty() && flows.iter().all(|it| it.not_after == moment(start)), "{flows:?}");
    assert_eq!(broken.at(start).open(), nothing());
}

#[test]
fn a_path_ends_when_a_successor_starts_that_was_signed_on_other_terms() {
    let start = "2026-12-01T00:00:00Z";
    let judged = gone_over(start).with_next("/spec/parties/2/article9", json!("9(2)(g)")).now();
    let flows = &judged.0.assessments.agreements[&care()].flows;
    let mut ends: Vec<_> = flows.iter().filter(|it| it.not_after == moment(start)).collect();
    ends.retain(|it| it.product.namespace == "ash-practice");
    assert_eq!(ends.len(), 2, "{flows:?}");
}

#[test]
fn what_all_had_signed_before_they_were_dissolved_has_replaced_the_old_one() {
    let ended = ["ash-practice", "birch-practice"]
        .iter()
        .fold(replaced(), |world, org| world.with_org(org, "/spec/endsOn", json!("2026-11-20T00:00:00Z")));
    let judged = ended.with_next("/spec/title", json!("Care, and more")).now();
    assert_eq!(judged.phase(), Phase::Superseded);
}

#[test]
fn who_signed_by_a_delegate_that_is_suspended_since_has_signed() {
    let delegating = World::signed().followed_from(START).with_org(
        "ash-practice",
        "/spec/delegatedSigning",
        json!([{ "to": "board", "purposes": ["DirectCare", "Planning"], "until": "2027-06-01T00:00:00Z" }]),
    );
    let mut by_delegate = delegating.signature(&care_2(), "ash-practice");
    by_delegate.metadata.namespace = Some("board".to_owned());
    let world =
        delegating.signed_on(&care_2(), &["birch-practice", "board", "hospital"]).putting_beside(by_delegate);
    assert_eq!(world.now().phase(), Phase::Superseded);
    for state in ["Suspended", "Dissolved"] {
        let judged = world.clone().with_org("board", "/spec/state", json!(state)).now();
        assert_eq!(judged.phase(), Phase::Superseded, "{state}");
    }
}

#[test]
fn a_successor_that_cannot_be_used_is_held_once_every_controller_has_signed_it() {
    let nowhere = |world: World| world.with_next("/spec/framework/version", json!("9.9.9"));
    let signed = |by: &[&str]| World::signed().followed_from(START).signed_on(&care_2(), by);
    let controllers = ["ash-practice", "birch-practice"];
    assert_eq!(nowhere(signed(&controllers)).now().open(), nothing());
    assert_eq!(nowhere(signed(&controllers[..1])).now().open(), ALL);
}

#[test]
fn an_organisation_that_cannot_be_used_has_not_gone_over() {
    let broken = gone_over(START).with_org("birch-practice", "/spec/footprints", json!(["nowhere"]));
    let judged = broken.now();
    assert_eq!(judged.phase(), Phase::Active);
    assert_eq!(judged.0.assessments.agreements[&care()].succession.by, None, "nothing to remember for ever");
}

#[test]
fn a_successor_that_was_never_in_force_ends_nothing_when_one_of_its_parties_ends() {
    // refused for its DPIA, and one that signed it ends on a date
    let refused = World::signed().followed_from(START).with_next("/spec/dpia", Value::Null);
    let refused = refused.signed_on(&care_2(), &EVERYBODY);
    assert_eq!(refused.now().phase(), Phase::Active);
    let ended = refused.with_org("board", "/spec/endsOn", json!("2026-11-20T00:00:00Z"));
    assert_eq!(ended.now().phase(), Phase::Active, "the past shows that it was not");
}

#[test]
fn nobody_ends_an_agreement_by_an_emergency_a_circle_or_a_draft_of_their_own() {
    let emergency = World::signed()
        .followed_from(START)
        .with_next("/spec/emergency", json!({ "reason": "flood", "expires": "2026-11-28T00:00:00Z" }))
        .signed_on(&care_2(), &EVERYBODY)
        .now();
    assert_eq!((emergency.phase(), old_flows(&emergency)), (Phase::Active, ALL.len()));
    assert_eq!(emergency.codes(), [Code::EmergencySupersedes]);

    // the old one names an ancestor in somebody else's namespace, who writes it again, and closes the circle
    let mut circle = World::written()
        .with("/spec/supersedes", json!({ "namespace": "elsewhere", "name": "x" }))
        .signed_by(&EVERYBODY);
    let mut stranger = circle.0.agreements[0].clone();
    set(&mut stranger.object, "/metadata/namespace", json!("elsewhere"));
    set(&mut stranger.object, "/metadata/name", json!("x"));
    set(&mut stranger.object, "/spec/reference", json!("VALE-2026-009"));
    set(&mut stranger.object, "/spec/supersedes", json!({ "namespace": "board", "name": "care" }));
    circle.0.agreements.push(stranger);
    let judged = circle.now();
    assert_eq!((judged.phase(), judged.open()), (Phase::Active, ALL.map(str::to_owned).to_vec()));
    assert_eq!(judged.codes(), [Code::SupersedesCycle]);
}

#[test]
fn whoever_wrote_an_early_agreement_undoes_nothing_that_later_ones_have_ended() {
    let closed = |world: World| {
        let judged = world.now();
        (judged.phase(), old_flows(&judged))
    };
    // a circle that everybody has signed, link by link, ends nothing
    let circle = replaced().with("/spec/supersedes", json!(care_2())).signed_by(&EVERYBODY);
    assert_eq!(circle.now().codes(), [Code::SupersedesCycle]);
    assert_eq!(circle.now().phase_of(&care_2()), Phase::Active);
    assert_eq!(closed(circle), (Phase::Active, ALL.len()));
    // one that an ancestor closes, and no one has signed so, undoes nothing, whatever the dates say
    let dates = ["2026-10-01T00:00:00Z", START, "2026-11-15T00:00:00Z"];
    for at in 0..27 {
        let (first, second, third) = (dates[at / 9], dates[at / 3 % 3], dates[at % 3]);
        let ancestor = json!({ "namespace": "elsewhere", "name": "x" });
        let mut together = World::signed()
            .with("/spec/term/start", json!(second))
            .with("/spec/supersedes", ancestor)
            .signed_by(&EVERYBODY)
            .followed_from(third)
            .with_next("/spec/supersedes", json!(care()))
            .signed_on(&care_2(), &EVERYBODY);
        let mut earlier = together.0.agreements[0].clone();
        for (field, value) in [
            ("/metadata/namespace", json!("elsewhere")),
            ("/metadata/name", json!("x")),
            ("/spec/reference", json!("VALE-2026-009")),
            ("/spec/term/start", json!(first)),
            ("/spec/supersedes", json!(care_2())),
        ] {
            set(&mut earlier.object, field, value);
        }
        together.0.agreements.push(earlier);
        assert_eq!(closed(together), (Phase::Superseded, 0), "{first} {second} {third}");
    }
}

#[test]
fn in_an_emergency_what_a_recipient_says_against_it_counts_on_any_terms() {
    let emergency = |world: World| {
        world
            .with("/spec/emergency", json!({ "reason": "flood", "expires": "2026-12-10T00:00:00Z" }))
            .with("/spec/term/start", json!("2026-11-20T00:00:00Z"))
            .signed_by(&["ash-practice", "birch-practice"])
    };
    let open = |world: &World| world.now().open();
    let assumed = emergency(World::written());
    assert_eq!(open(&assumed), ALL, "recipients need not sign");
    let said = |change: &dyn Fn(&mut concordat_api::AgreementSignature)| {
        let mut world = assumed.clone();
        let mut signature = world.signature(&care(), "hospital");
        signature.spec.terms_hash = format!("sha256:{}", "0".repeat(64));
        change(&mut signature);
        world = world.putting(signature);
        open(&world)
    };
    assert_eq!(said(&|_| {}), ALL, "a yes on other terms takes nothing away");
    let others = [ALL[0].to_owned(), ALL[2].to_owned()];
    assert_eq!(said(&|it| it.spec.state = Some(SignatureState::Withdrawn)), others);
    assert_eq!(said(&|it| it.spec.state = Some(SignatureState::Declined)), others);
    assert_eq!(said(&|it| it.spec.purposes = Some(vec!["Planning".to_owned()])), others);
}

#[test]
fn an_organisation_that_ends_closes_its_flows_to_the_moment() {
    let world = World::signed().with_org("hospital", "/spec/endsOn", json!("2027-01-01T00:00:00Z"));
    assert_eq!(world.at("2026-12-31T23:59:59.999Z").open(), ALL);
    let others = [ALL[0].to_owned(), ALL[2].to_owned()];
    assert_eq!(world.at("2027-01-01T00:00:00Z").open(), others);
    assert_eq!(world.now().next(), Some(moment("2027-01-01T00:00:00Z")));
}

#[test]
fn a_text_that_cannot_be_read_keeps_everything_closed() {
    let mut world = World::signed();
    world.0.unknown_texts.push(Origin { file: Some("signatures/x.yaml".to_owned()), ..Origin::default() });
    let judged = world.now();
    assert_eq!((judged.phase(), judged.open()), (Phase::Active, nothing()));
    assert!(
        judged.0.plan().objects.iter().all(|it| !format!("{it:?}").contains("Grant(")),
        "no grant is planned"
    );
}

#[test]
fn a_copy_that_cannot_be_read_voids_like_one_that_can() {
    let copies = [
        ("PartnerOrg", None, "hospital"),
        ("DataProduct", Some("ash-practice"), "record"),
        ("DataSharingAgreement", Some("board"), "care"),
    ];
    for (kind, namespace, name) in copies {
        let mut world = World::signed();
        let meta = json!({ "namespace": namespace, "name": name });
        world.0.unreadable.push(Unreadable {
            kind: kind.to_owned(),
            meta: serde_json::from_value(meta).unwrap(),
            error: "a field from the future".to_owned(),
            spec: Value::Null,
            source: std::sync::Arc::default(),
        });
        let judged = world.now();
        assert!(judged.codes().contains(&Code::DuplicateObject), "{kind}");
        assert_eq!(judged.open(), nothing(), "{kind}");
    }
}

/// Who is at home in no namespace that matters.
#[test]
fn a_stranger_who_writes_anything_at_all_closes_nothing_and_opens_nothing() {
    let here = |reference: &ObjectRef| json!({ "namespace": reference.namespace, "name": reference.name });
    let base = World::signed();
    let good = base.signature(&care(), "hospital");
    let mut strangers: Vec<World> = Vec::new();
    for state in [SignatureState::Signed, SignatureState::Withdrawn, SignatureState::Declined] {
        let mut signature = good.clone();
        signature.metadata.namespace = Some("stranger".to_owned());
        signature.spec.state = Some(state);
        strangers.push(base.clone().putting(signature));
    }
    for kind in ["AgreementSignature", "DataSharingAgreement", "DataProduct", "LocalPolicy"] {
        for spec in [
            Value::Null,
            json!({ "agreement": here(&care()), "party": "hospital", "supersedes": here(&care()), "footprint": "vale" }),
        ] {
            let mut world = base.clone();
            world.0.unreadable.push(Unreadable {
                kind: kind.to_owned(),
                meta: serde_json::from_value(json!({ "namespace": "stranger", "name": "x" })).unwrap(),
                error: "broken".to_owned(),
                spec,
                source: std::sync::Arc::default(),
            });
            strangers.push(world);
        }
    }
    let mut world = base.clone();
    let mut next = world.0.agreements[0].clone();
    set(&mut next.object, "/metadata/namespace", json!("stranger"));
    set(&mut next.object, "/spec/supersedes", here(&care()));
    world.0.agreements.push(next);
    strangers.push(world);
    for (number, world) in strangers.iter().enumerate() {
        let judged = world.now();
        assert_eq!(
            (judged.phase(), judged.open()),
            (Phase::Active, ALL.map(str::to_owned).to_vec()),
            "{number}"
        );
    }
}

#[test]
fn a_path_ends_with_the_first_thing_that_ends_it_also_where_a_successor_does() {
    let ends = |world: &World| -> Vec<String> {
        let judged = world.now();
        let flows = &judged.0.assessments.agreements[&care()].flows;
        flows.iter().map(|flow| format!("{} {}", flow.product.namespace, flow.not_after)).collect()
    };
    // a successor that has started, and is in force once its review is near enough
    let review = World::signed()
        .followed_from(START)
        .with_next("/spec/term/reviewBy", json!("2027-12-22T00:00:00Z"))
        .signed_on(&care_2(), &EVERYBODY);
    let end = "2026-12-22T00:00:00Z";
    assert_eq!(review.now().0.assessments.agreements[&care()].ends, moment(end));
    assert!(ends(&review).iter().all(|it| it.ends_with(end)), "{:?}", ends(&review));
    assert_eq!(review.at(end).phase(), Phase::Superseded);
    assert_eq!(review.at("2026-12-21T23:59:59.999Z").phase(), Phase::Active);

    // a withdrawal with a date from one that is not in force closes one Controller's paths
    let world = World::signed().followed_from(START);
    let mut signature = world.signature(&care_2(), "ash-practice");
    signature.spec.ends = serde_json::from_value(json!([{ "on": "2026-12-01T00:00:00Z" }])).unwrap();
    let dated = world.putting(signature);
    for end in ends(&dated) {
        let (controller, at) = end.split_once(' ').unwrap();
        assert_eq!(at == "2026-12-01T00:00:00Z", controller == "ash-practice", "{end}");
    }
    assert_eq!(dated.at("2026-12-01T00:00:00Z").open(), [ALL[2].to_owned(), ALL[3].to_owned()]);
}

#[test]
fn what_becomes_of_who_has_signed_a_successor_revives_nothing() {
    let over = |world: &World| -> Vec<String> {
        world.now().0.assessments.agreements[&care()].succession.ended.keys().cloned().collect()
    };
    let world = gone_over(START);
    assert_eq!(over(&world), ["ash-practice"]);
    let mut gone = world.clone();
    gone.0.orgs.retain(|it| it.object.name_any() != "hospital");
    assert_eq!(over(&gone), ["ash-practice"], "without its PartnerOrg");
    let next = world.0.agreements.iter().find(|it| it.object.name_any() == care_2().name).unwrap();
    let mut parties = json!(next.object.spec.parties);
    parties.as_array_mut().unwrap().retain(|row| row["org"] != "hospital");
    let rowless = world.with_next("/spec/parties", parties);
    assert_eq!(over(&rowless), ["ash-practice"], "without its row");
}

#[test]
fn a_successor_that_is_made_an_emergency_after_it_was_signed_is_held_as_one_that_is_broken() {
    let emergency = json!({ "reason": "flood", "expires": "2026-11-28T00:00:00Z" });
    let changed = replaced().with_next("/spec/emergency", emergency.clone());
    assert_eq!(old_flows_or_none(&changed.now()), 0);
    // signed as an emergency it never replaced anything
    assert_eq!(old_flows(&changed.signed_on(&care_2(), &EVERYBODY).now()), ALL.len());
}
