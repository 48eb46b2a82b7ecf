//! What cannot be used is held against what it may be about, in files as in a cluster: it may have been a no.

use concordat_api::{
    AgreementSignature, DataSharingAgreementStatus, PartnerOrg, Phase, SignatureState, SupersededFor,
};
use concordat_core::finding::{Code, Origin};
use concordat_core::placing::place;
use concordat_core::plan::StatusBody;
use concordat_core::sign::{SignatureRequest, signature};
use concordat_core::snapshot::Sourced;
use concordat_core::text::visible;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::world::{ALL, EVERYBODY, World, care, care_2, nothing, set, unreadable};

/// What is done to a spec, in words and in deed.
type Breach = (&'static str, Box<dyn Fn(&mut Value)>);

const START: &str = "2026-11-01T00:00:00Z";

/// In an emergency, so that nothing but a no of the hospital's closes what it receives.
fn emergency() -> World {
    World::emergency().signed_by(&["ash-practice", "birch-practice"])
}

fn without_the_hospital() -> [String; 2] {
    [ALL[0].to_owned(), ALL[2].to_owned()]
}

fn of_hospital(world: &World, change: &dyn Fn(&mut AgreementSignature)) -> World {
    let mut signature = world.signature(&care(), "hospital");
    signature.spec.state = Some(SignatureState::Withdrawn);
    change(&mut signature);
    world.clone().putting(signature)
}

/// The same with the signature of the hospital as text that no type takes.
fn unread(mut world: World) -> World {
    let index =
        world.0.signatures.iter().position(|it| {
            it.object.spec.party != "ash-practice" && it.object.spec.party != "birch-practice"
        });
    let signature = world.0.signatures.remove(index.unwrap()).object;
    world.0.unreadable.push(unreadable(
        "AgreementSignature",
        json!(signature.metadata),
        serde_json::to_value(&signature.spec).unwrap(),
    ));
    world
}

#[test]
fn a_no_that_names_what_nothing_can_be_called_is_still_a_no() {
    type Change = fn(&mut AgreementSignature);
    let changes: [Change; 6] = [
        |it| it.spec.party = String::new(),
        |it| it.spec.party = "Hospital".to_owned(),
        |it| it.spec.party = "hospital ".to_owned(),
        |it| it.spec.agreement.name = String::new(),
        |it| it.spec.agreement.name = "CARE".to_owned(),
        |it| it.spec.agreement.namespace = "board ".to_owned(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let world = of_hospital(&emergency(), change);
        // stored under a definition that lets it in, and as a text that is refused
        assert_eq!(world.now().open(), without_the_hospital(), "{number} in a cluster");
        assert_eq!(unread(world).now().open(), without_the_hospital(), "{number} in a file");
    }
    let elsewhere = of_hospital(&emergency(), &|it| it.metadata.namespace = Some("stranger".to_owned()));
    assert_eq!(unread(elsewhere).now().open(), ALL, "who has no say closes nothing");
}

#[test]
fn an_object_without_a_namespace_counts_where_it_could_say_something_and_nowhere_else() {
    let with = |kind: &str, name: &str, spec: Value| {
        let mut world = emergency();
        world.0.unreadable.push(unreadable(kind, json!({ "name": name }), spec));
        place(&mut world.0);
        world.now().open()
    };
    let on = |name: &str, party: &str| {
        let agreement = json!({ "namespace": "board", "name": name });
        json!({ "agreement": agreement, "party": party, "state": "Withdrawn" })
    };
    assert_eq!(with("AgreementSignature", "x", on("care", "hospital")), without_the_hospital());
    assert_eq!(with("AgreementSignature", "x", on("care", "hosptial")), nothing(), "any party's");
    assert_eq!(with("AgreementSignature", "x", Value::Null), nothing(), "any party's, on anything");
    assert_eq!(with("AgreementSignature", "x", on("other", "hospital")), ALL);
    assert_eq!(with("DataSharingAgreement", "care", json!({ "suspend": true })), nothing());
    assert_eq!(with("DataSharingAgreement", "other", json!({ "suspend": true })), ALL);
    assert_eq!(with("DataProduct", "x", Value::Null), ALL, "one that is not there opens nothing");
    assert_eq!(with("LocalPolicy", "x", json!({ "footprint": "nowhere", "cedar": "forbid" })), ALL);
}

#[test]
fn a_delegate_whose_leave_had_ended_before_the_agreement_began_closes_nothing() {
    let with = |until: &str| {
        let delegation = json!([{ "to": "board", "purposes": ["DirectCare", "Planning"], "until": until }]);
        let world = emergency().with_org("hospital", "/spec/delegatedSigning", delegation);
        let mut word = world.signature(&care(), "hospital");
        word.spec.state = Some(SignatureState::Withdrawn);
        word.metadata.namespace = Some("board".to_owned());
        world.putting(word).now().open()
    };
    assert_eq!(with("2027-11-01T00:00:00Z"), without_the_hospital());
    assert_eq!(with("2026-11-21T00:00:00Z"), without_the_hospital(), "no passing of time takes a no away");
    assert_eq!(with("2026-11-20T00:00:00Z"), ALL, "it could never speak of this agreement");
}

#[test]
fn a_no_with_a_mistyped_party_is_still_a_no_of_whose_home_it_lies_in() {
    let mistyped = |namespace: &'static str| {
        of_hospital(&emergency(), &move |it| {
            it.spec.party = "hosptial".to_owned();
            it.metadata.namespace = Some(namespace.to_owned());
        })
    };
    assert_eq!(mistyped("hospital").now().open(), without_the_hospital());
    assert_eq!(mistyped("stranger").now().open(), ALL, "who has no say closes nothing");
    // another's name is no slip
    let anothers = of_hospital(&emergency(), &|it| it.spec.party = "ash-practice".to_owned());
    assert_eq!(anothers.now().open(), ALL);
}

#[test]
fn a_dated_withdrawal_from_a_misspelt_purpose_is_not_lost() {
    let mut world = World::signed();
    let mut signature = world.signature(&care(), "ash-practice");
    signature.spec.ends = serde_json::from_value(json!([{ "purpose": "Directcare", "on": START }])).unwrap();
    world = world.putting(signature);
    let judged = world.now();
    assert_eq!(judged.open(), nothing());
    let told = judged.told(Code::PurposeNotInAgreement);
    assert!(told.contains("`DirectCare`"), "{told}");
}

/// The successor, so that nothing but its spec can be read.
fn broken_successor(signed: &[&str], change: &dyn Fn(&mut Value)) -> World {
    let mut world = World::signed().followed_from(START).signed_on(&care_2(), signed);
    let next = world.0.agreements.pop().unwrap().object;
    let mut spec = serde_json::to_value(&next.spec).unwrap();
    change(&mut spec);
    world.0.unreadable.push(unreadable("DataSharingAgreement", json!(next.metadata), spec));
    world
}

#[test]
fn a_successor_that_all_have_signed_closes_the_old_one_also_where_what_it_replaces_is_what_is_broken() {
    let old = json!({ "namespace": "board", "name": "care" });
    let closing: Vec<Breach> = vec![
        ("as text", Box::new(|it| it["supersedes"] = json!("board/care"))),
        ("as nothing", Box::new(|it| it["supersedes"] = Value::Null)),
        ("without a name", Box::new(|it| it["supersedes"] = json!({ "namespace": "board" }))),
        ("with a blank name", Box::new(|it| it["supersedes"]["name"] = json!(""))),
        ("with a name that none can have", Box::new(|it| it["supersedes"]["name"] = json!("Care"))),
        (
            "misspelt",
            Box::new(|it| {
                let fields = it.as_object_mut().unwrap();
                let value = fields.remove("supersedes").unwrap();
                fields.insert("superSedes".to_owned(), value);
            }),
        ),
        ("whole", Box::new(|it| it["title"] = json!(7))),
        ("with no spec", Box::new(|it| *it = json!([]))),
    ];
    for (what, change) in &closing {
        assert_eq!(broken_successor(&EVERYBODY, change).now().open(), nothing(), "{what}");
        let one = broken_successor(&["ash-practice", "hospital"], change);
        assert_eq!(one.now().open(), ALL, "{what}, not signed by all");
    }
    let open: Vec<Breach> = vec![
        ("another's", Box::new(|it| it["supersedes"]["name"] = json!("elsewhere"))),
        ("nothing", Box::new(|it| drop(it.as_object_mut().unwrap().remove("supersedes")))),
        (
            "nothing, and is suspended",
            Box::new(move |it| *it = json!({ "suspend": true, "supersededBy": old })),
        ),
    ];
    for (what, change) in &open {
        assert_eq!(broken_successor(&EVERYBODY, change).now().open(), ALL, "it replaces {what}");
    }
}

#[test]
fn a_successor_that_cannot_have_its_name_may_be_any_that_its_namespace_has_signed() {
    let called = |meta: Value, signed: &[&str]| {
        let mut world = broken_successor(signed, &|_| {});
        world.0.unreadable[0].meta = serde_json::from_value(meta).unwrap();
        world.now().open()
    };
    for meta in [
        json!({ "namespace": "board", "name": "Care-2" }),
        json!({ "namespace": "board" }),
        json!({ "namespace": "board", "generateName": "care-" }),
    ] {
        assert_eq!(called(meta.clone(), &EVERYBODY), nothing(), "{meta}");
        assert_eq!(called(meta, &["ash-practice", "hospital"]), ALL, "not signed by all");
    }
    let elsewhere = json!({ "namespace": "hospital", "name": "Care-2" });
    assert_eq!(called(elsewhere, &EVERYBODY), ALL, "no one has signed anything there");
}

#[test]
fn what_an_agreement_says_of_its_own_end_is_remembered_by_nothing_but_its_spec() {
    let by = json!({ "namespace": "board", "name": "typo" });
    let said = World::signed().with("/spec/supersededBy", by);
    let judged = said.now();
    assert_eq!((judged.phase(), judged.open()), (Phase::Superseded, nothing()));
    let plan = judged.0.plan();
    let status = plan.statuses.iter().find(|it| it.object.name == "care").unwrap();
    let StatusBody::Agreement(status) = &*status.status else { panic!("it is one of an agreement") };
    assert_eq!(status.superseded_by, None);
    // and what objects show is, whatever it says
    let both = World::signed().followed_and_signed_from(START);
    let both = both.with("/spec/supersededBy", json!({ "namespace": "board", "name": "typo" }));
    let shown = both.now().0.assessments.agreements[&care()].succession.shown.clone();
    assert_eq!(shown, Some(care_2()));
}

#[test]
fn who_has_withdrawn_from_a_successor_has_whatever_becomes_of_that_one() {
    let withdrawn = |world: World| {
        let mut signature = world.signature(&care_2(), "ash-practice");
        signature.spec.state = Some(SignatureState::Withdrawn);
        world.putting(signature)
    };
    let world = withdrawn(World::signed().followed_from(START));
    let others = [ALL[2].to_owned(), ALL[3].to_owned()];
    assert_eq!(world.now().open(), others);
    let plan = world.now().0.plan();
    let status = plan.statuses.iter().find(|it| it.object.name == "care").unwrap();
    let StatusBody::Agreement(status) = &*status.status else { panic!("a status of an agreement") };
    let remembered = vec![SupersededFor { org: "ash-practice".to_owned(), by: care_2(), withdrawn: true }];
    assert_eq!(status.superseded_for, remembered);

    // the lead deletes it, or takes `supersedes` out: the withdrawal stands
    let mut deleted = world.clone();
    set(&mut deleted.0.agreements[0].object, "/status", json!({ "supersededFor": remembered }));
    deleted.0.agreements.pop();
    assert_eq!(deleted.now().open(), others);
    // who takes it back takes back the no
    let is_it = |it: &AgreementSignature| it.spec.agreement == care_2() && it.spec.party == "ash-practice";
    deleted.0.signatures.retain(|it| !is_it(&it.object));
    assert_eq!(deleted.now().open(), ALL);

    // what cannot be read may have been it
    let mut broken = world;
    let index = broken.0.signatures.iter().position(|it| is_it(&it.object)).unwrap();
    let signature = broken.0.signatures.remove(index).object;
    broken.0.unreadable.push(unreadable("AgreementSignature", json!(signature.metadata), Value::Null));
    assert_eq!(broken.now().open(), nothing(), "it may be about the old one too");
}

#[test]
fn what_a_status_remembers_outlives_a_time_in_which_its_object_cannot_be_used() {
    let remembered = json!({
        "supersededBy": { "namespace": "board", "name": "care-2" },
        "supersededFor": [{ "org": "ash-practice", "by": { "namespace": "board", "name": "care-2" } }],
    });
    let mut world = World::signed();
    set(&mut world.0.agreements[0].object, "/status", remembered.clone());
    world.0.footprints.clear();
    let judged = world.now();
    assert!(!judged.0.assessments.agreements.contains_key(&care()), "it cannot be used");
    let plan = judged.0.plan();
    let status = plan.statuses.iter().find(|it| it.object.name == "care").unwrap();
    let StatusBody::Agreement(status) = &*status.status else { panic!("a status of an agreement") };
    let DataSharingAgreementStatus { phase, superseded_by, superseded_for, .. } = &**status;
    assert_eq!(*phase, Some(Phase::Invalid));
    let said = json!({ "supersededBy": superseded_by, "supersededFor": superseded_for });
    assert_eq!(said, remembered);
}

#[test]
fn the_old_agreement_ends_only_where_all_had_signed_the_new_one_while_it_was_in_force() {
    // the new one has come and gone before the Controller that had not signed it leaves the old one
    let world = World::signed()
        .followed_from("2026-09-01T00:00:00Z")
        .with_next("/spec/term/end", json!("2026-10-01T00:00:00Z"))
        .signed_on(&care_2(), &["ash-practice", "board", "hospital"]);
    let mut signature = world.signature(&care(), "birch-practice");
    signature.spec.ends = serde_json::from_value(json!([{ "on": START }])).unwrap();
    let world = world.putting(signature);
    assert_eq!(world.now().phase(), Phase::Active);
    assert_eq!(world.now().open(), [ALL[0].to_owned(), ALL[1].to_owned()]);
}

#[test]
fn a_delegate_that_cannot_be_used_has_said_what_it_said() {
    let delegating = |world: World| {
        world.with_org(
            "hospital",
            "/spec/delegatedSigning",
            json!([{ "to": "board", "purposes": ["DirectCare", "Planning"], "until": "2027-06-01T00:00:00Z" }]),
        )
    };
    let world = delegating(emergency());
    let mut signature = world.signature(&care(), "hospital");
    signature.metadata.namespace = Some("board".to_owned());
    signature.spec.state = Some(SignatureState::Withdrawn);
    let world = world.putting(signature);
    assert_eq!(world.now().open(), without_the_hospital());
    let refused = world.with_org("board", "/spec/footprints", json!(["nowhere"]));
    assert!(!refused.now().open().iter().any(|it| it.contains("hospital")), "{:?}", refused.now().open());
}

#[test]
fn an_end_of_what_was_never_signed_is_no_withdrawal() {
    // a delegate for one purpose signs for another, and ends that
    let delegating = World::signed().with_org(
        "birch-practice",
        "/spec/delegatedSigning",
        json!([{ "to": "ash-practice", "purposes": ["DirectCare"], "until": "2027-06-01T00:00:00Z" }]),
    );
    let mut word = delegating.signature(&care(), "birch-practice");
    word.metadata.namespace = Some("ash-practice".to_owned());
    word.spec.purposes = Some(vec!["Planning".to_owned()]);
    word.spec.ends =
        serde_json::from_value(json!([{ "purpose": "Planning", "on": "2026-11-10T00:00:00Z" }])).unwrap();
    let world = delegating.without_signature_of("birch-practice").putting_beside(word);
    assert_eq!(world.at("2026-11-09T00:00:00Z").phase(), Phase::AwaitingSignatures);
    assert_eq!(world.now().phase(), Phase::AwaitingSignatures);
}

#[test]
fn what_a_delegate_said_in_time_outlasts_its_delegation_also_where_it_cannot_be_used() {
    let delegating = emergency().with_org(
        "hospital",
        "/spec/delegatedSigning",
        json!([{ "to": "board", "purposes": ["DirectCare"], "until": "2026-11-21T00:00:00Z" }]),
    );
    let mut no = delegating.signature(&care(), "hospital");
    no.metadata.namespace = Some("board".to_owned());
    no.spec.state = Some(SignatureState::Withdrawn);
    let world = delegating.putting_beside(no);
    let closed = |world: &World| world.now().open().iter().all(|it| !it.contains("hospital"));
    assert!(closed(&world));
    assert!(closed(&world.with_org("board", "/spec/footprints", json!(["nowhere"]))));
}

#[test]
fn a_broken_no_of_a_delegate_closes_what_a_whole_one_closes_whatever_becomes_of_the_delegate() {
    let (in_date, lapsed) = ("2027-06-01T00:00:00Z", "2026-11-21T00:00:00Z");
    for until in [in_date, lapsed] {
        for state in ["Active", "Suspended", "Dissolved", "Gone"] {
            let delegation = json!([{ "to": "board", "purposes": ["DirectCare"], "until": until }]);
            let mut world = emergency().with_org("hospital", "/spec/delegatedSigning", delegation);
            if state == "Gone" {
                world.0.orgs.retain(|it| it.object.name_any() != "board");
            } else {
                world = world.with_org("board", "/spec/state", json!(state));
            }
            let mut no = world.signature(&care(), "hospital");
            no.metadata.namespace = Some("board".to_owned());
            no.spec.state = Some(SignatureState::Withdrawn);
            let whole = world.putting_beside(no);
            for (what, world) in [("whole", whole.clone()), ("broken", unread(whole))] {
                let open = world.now().open();
                assert!(!open.iter().any(|it| it.contains("hospital")), "{what} {state} {until}: {open:?}");
            }
        }
    }
}

#[test]
fn in_an_emergency_nobody_waits_for_a_recipient_and_what_one_has_said_is_told() {
    let waits = |world: &World| {
        let waiting = world.now().0.plan().waiting;
        waiting.into_iter().map(|it| it.awaited).collect::<Vec<_>>()
    };
    let world = emergency();
    assert!(world.now().open().len() == ALL.len() && waits(&world).is_empty(), "{:?}", waits(&world));
    let controller = World::emergency().signed_by(&["ash-practice"]);
    assert_eq!(waits(&controller), ["birch-practice"]);
    assert_eq!(waits(&unread(of_hospital(&world, &|_| {}))), ["hospital"], "it may have said no");
}

#[test]
fn with_accession_nobody_signs_without_a_product_of_its_own_that_cannot_be_used() {
    let world = World::written().with("/spec/accession", json!(true)).signed_by(&EVERYBODY);
    let mut broken = world.clone();
    let lost =
        broken.0.products.iter().position(|it| it.object.namespace().as_deref() == Some("ash-practice"));
    let lost = broken.0.products.remove(lost.unwrap()).object;
    broken.0.unreadable.push(unreadable("DataProduct", json!(lost.metadata), json!({})));
    let signs = |world: &World, party: &str| {
        signature(&world.0, &SignatureRequest::new(care(), party.to_owned())).map(|it| it.spec.terms_hash)
    };
    assert!(signs(&broken, "ash-practice").is_err());
    assert_eq!(signs(&broken, "birch-practice").unwrap(), signs(&world, "birch-practice").unwrap());
    let waiting = broken.now().0.plan().waiting;
    let told = waiting.iter().find(|it| it.awaited == "ash-practice").unwrap();
    assert!(
        told.reason.contains("`ash-practice/record`") && !told.reason.contains("concordat sign"),
        "{}",
        told.reason
    );
}

#[test]
fn a_text_that_cannot_be_read_is_no_yes_in_any_answer() {
    let mut world = World::signed();
    let request = serde_json::from_value(json!({
        "subject": { "type": "OrgFunction", "id": "hospital/emergency" },
        "action": { "name": "readRecord" },
        "resource": { "type": "DataProduct", "id": "ash-practice/record" },
        "context": { "purpose": "DirectCare", "roles": ["Clinician"], "legitimateRelationship": true, "region": "GB" },
    }))
    .unwrap();
    assert!(world.now().0.explain(&request).answer.decision);
    world.0.unknown_texts.push(Origin { file: Some("signatures/x.yaml".to_owned()), ..Origin::default() });
    let judged = world.now();
    for verdict in [judged.0.decide(&request), judged.0.explain(&request)] {
        assert!(!verdict.answer.decision);
        assert!(verdict.is_in_doubt(&judged.0.model));
        assert_eq!(verdict.answer.context.near_miss.unwrap().clause, "signatures/x.yaml");
    }
}

#[test]
fn an_object_that_was_let_in_without_the_shape_of_its_kind_is_not_used_and_says_so() {
    let mut world = World::signed().with("/spec/onwardSharing", json!({ "allowed": false, "to": ["board"] }));
    // a file would not have been read
    world.0.agreements[0] = Sourced::live((*world.0.agreements[0].object).clone());
    let judged = world.now();
    assert!(!judged.0.assessments.agreements.contains_key(&care()));
    assert_eq!(judged.open(), nothing());
    let plan = judged.0.plan();
    let status = plan.statuses.iter().find(|it| it.object.name == "care").unwrap();
    let status = serde_json::to_value(&status.status).unwrap();
    assert_eq!(status["phase"], "Invalid");
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("onwardSharing"), "{message}");
    assert_eq!(judged.0.model.misshapen.len(), 1);
}

#[test]
fn a_successor_that_a_delegate_has_withdrawn_from_closes_by_the_leave_that_it_had_in_its_life() {
    let delegated_until = |until: &str| {
        let world = World::signed().followed_from(START).with_org(
            "ash-practice",
            "/spec/delegatedSigning",
            json!([{ "to": "board", "purposes": ["DirectCare", "Planning"], "until": until }]),
        );
        let mut no = world.signature(&care_2(), "ash-practice");
        no.metadata.namespace = Some("board".to_owned());
        no.spec.state = Some(SignatureState::Withdrawn);
        world.putting_beside(no)
    };
    let others = [ALL[2].to_owned(), ALL[3].to_owned()];
    assert_eq!(delegated_until("2027-06-01T00:00:00Z").now().open(), others, "in date");
    assert_eq!(
        delegated_until("2026-11-10T00:00:00Z").now().open(),
        others,
        "lapsed since: it revives nothing"
    );
    assert_eq!(delegated_until(START).now().open(), ALL, "lapsed before it began: no one's word");
}

#[test]
fn a_rival_claim_on_a_home_or_a_namespace_counts_as_well_when_it_is_broken() {
    let claims: [Breach; 2] = [
        ("a home", Box::new(|it| it["homeNamespace"] = json!("hospital"))),
        (
            "a namespace",
            Box::new(|it| it["functions"][0]["workloads"][0]["namespace"] = json!("hospital-emergency")),
        ),
    ];
    for (what, claim) in &claims {
        let world = World::signed();
        let board = world.0.orgs.iter().find(|it| it.object.metadata.name.as_deref() == Some("board"));
        let mut rival = serde_json::to_value(&*board.unwrap().object).unwrap();
        rival["metadata"]["name"] = json!("rival");
        rival["spec"]["homeNamespace"] = json!("rival");
        rival["spec"]["functions"][0]["workloads"] = json!([{ "namespace": "rival-work" }]);
        claim(&mut rival["spec"]);
        let closed = |world: &World| world.now().open().iter().all(|it| !it.contains("hospital"));
        let (mut whole, mut broken) = (world.clone(), world);
        let org: PartnerOrg = serde_json::from_value(rival.clone()).unwrap();
        whole.0.orgs.push(Sourced::live(org));
        assert!(closed(&whole), "{what}: two claims void each other");
        broken.0.unreadable.push(unreadable("PartnerOrg", rival["metadata"].clone(), rival["spec"].clone()));
        assert!(closed(&broken), "{what}: a broken one as well");
    }
}

#[test]
fn no_status_carries_text_that_acts_where_it_is_shown() {
    const NASTY: &str = "ash\u{1b}[31m\u{202e}-practice\u{200b}";
    let fields: [(&str, &str); 9] = [
        ("agreement", "/spec/title"),
        ("agreement", "/spec/footprint"),
        ("agreement", "/spec/purposes/0/code"),
        ("agreement", "/spec/parties/0/org"),
        ("agreement", "/spec/parties/0/function"),
        ("agreement", "/spec/framework/name"),
        ("organisation", "/spec/displayName"),
        ("organisation", "/spec/homeNamespace"),
        ("signature", "/spec/party"),
    ];
    for (kind, field) in fields {
        let mut world = World::signed();
        match kind {
            "agreement" => {
                set(&mut world.0.agreements[0].object, field, json!(NASTY));
                world.0.agreements[0] = Sourced::live((*world.0.agreements[0].object).clone());
            }
            "organisation" => {
                set(&mut world.0.orgs[0].object, field, json!(NASTY));
                world.0.orgs[0] = Sourced::live((*world.0.orgs[0].object).clone());
            }
            _ => {
                set(&mut world.0.signatures[0].object, field, json!(NASTY));
                world.0.signatures[0] = Sourced::live((*world.0.signatures[0].object).clone());
            }
        }
        for status in &world.now().0.plan().statuses {
            let conditions = serde_json::to_value(&status.status).unwrap()["conditions"].clone();
            for condition in conditions.as_array().into_iter().flatten() {
                let message = condition["message"].as_str().unwrap();
                assert_eq!(visible(message), message, "{kind} {field}");
            }
        }
    }
}

#[test]
fn a_framework_that_cannot_be_read_counts_by_its_name_and_by_what_it_says_that_it_is() {
    let with = |name: &str, spec: Value| {
        let mut world = World::signed();
        world.0.unreadable.push(unreadable("PolicyFramework", json!({ "name": name }), spec));
        world.now().open()
    };
    assert_eq!(with("england-1.0.0", Value::Null), nothing());
    assert_eq!(with("england-1", json!({ "name": "england", "version": "1.0.0" })), nothing());
    assert_eq!(with("england-9.0.0", json!({ "name": "england", "version": "9.0.0" })), ALL);
}

#[test]
fn a_subject_or_product_that_is_there_and_cannot_be_used_is_told_so_and_no_other_is_guessed() {
    let asked = |world: &World, id: &str, product: &str| {
        let request = serde_json::from_value(json!({
            "subject": { "type": "Workload", "id": id },
            "action": { "name": "readRecord" },
            "resource": { "type": "DataProduct", "id": product },
            "context": { "purpose": "DirectCare", "region": "GB" },
        }));
        let near = world.now().0.explain(&request.unwrap()).answer.context.near_miss.unwrap();
        assert!(near.then.is_empty() && near.or.is_empty(), "{near:?}");
        format!("{}; {}", near.saw, near.wants)
    };
    let mut world = World::signed();
    let hospital =
        world.0.orgs.iter().position(|it| it.object.metadata.name.as_deref() == Some("hospital")).unwrap();
    let hospital = world.0.orgs.remove(hospital).object;
    world.0.unreadable.push(unreadable(
        "PartnerOrg",
        json!(hospital.metadata),
        serde_json::to_value(&hospital.spec).unwrap(),
    ));
    let told = asked(&world, "east/hospital-emergency/reader", "ash-practice/record");
    assert!(told.contains("in a namespace of `hospital`, which exists, but cannot be used"), "{told}");
    assert!(!told.contains("did you mean"), "{told}");
    let broken = World::signed().with_product("ash-practice", "/spec/controller", json!("nobody"));
    let told = asked(&broken, "east/board-analysts/reader", "ash-practice/record");
    assert!(told.contains("which exists, but cannot be used") && !told.contains("did you mean"), "{told}");
}
