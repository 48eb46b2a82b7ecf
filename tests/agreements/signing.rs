//! What `sign` prints: a no is never refused, whatever is wrong with what it is about.

use concordat_api::{ObjectRef, SignatureState};
use concordat_core::finding::Origin;
use concordat_core::sign::{SignError, SignatureRequest, remarks, signature};
use concordat_core::snapshot::Sourced;
use serde_json::{Value, json};

use super::world::{World, care, set, unreadable};

fn request(party: &str) -> SignatureRequest {
    SignatureRequest::new(care(), party.to_owned())
}

fn withdrawal(party: &str) -> SignatureRequest {
    SignatureRequest { withdraw: true, ..request(party) }
}

#[test]
fn a_no_works_whatever_is_wrong_with_the_agreement() {
    let mut broken = World::signed();
    broken.0.agreements.clear();
    let lost = broken.clone();
    let metadata = json!({ "namespace": "board", "name": "care" });
    broken.0.unreadable.push(unreadable("DataSharingAgreement", metadata, json!({})));
    let mut unread = lost.clone();
    unread.0.unknown_texts.push(Origin::default());
    let mut twice = World::signed();
    twice.0.agreements.push(twice.0.agreements[0].clone());
    for (what, world) in [("broken", &broken), ("in a text that cannot be read", &unread), ("twice", &twice)]
    {
        for no in [withdrawal("hospital"), SignatureRequest { decline: true, ..request("hospital") }] {
            let signed = signature(&world.0, &no).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_ne!(signed.spec.state, Some(SignatureState::Signed));
            assert_eq!(signed.metadata.namespace.as_deref(), Some("hospital"));
            assert!(remarks(&world.0, &signed)[0].contains("could not be read"), "{what}");
        }
        let dated =
            SignatureRequest { on: Some("2027-01-01T00:00:00Z".parse().unwrap()), ..withdrawal("hospital") };
        assert_eq!(signature(&world.0, &dated).unwrap().spec.ends.len(), 1, "{what}");
        // to sign, the terms have to be known
        assert!(signature(&world.0, &request("hospital")).is_err(), "{what}");
    }
    let told = signature(&broken.0, &request("hospital")).unwrap_err().to_string();
    assert_eq!(told, "agreement `board/care` exists, but cannot be used: `spec.title` is missing");
    // what no one has heard of is rather a slip of the pen
    assert!(matches!(signature(&lost.0, &withdrawal("hospital")), Err(SignError::AgreementNotFound { .. })));
}

#[test]
fn whoever_has_signed_may_withdraw_also_where_the_terms_do_not_name_it_any_more() {
    let mut world = World::signed();
    let rows = world.0.agreements[0].object.spec.parties.len();
    let hospital =
        (0..rows).rev().filter(|it| world.0.agreements[0].object.spec.parties[*it].org == "hospital");
    for index in hospital.collect::<Vec<_>>() {
        set(&mut world.0.agreements[0].object, &format!("/spec/parties/{index}"), Value::Null);
    }
    let signed = signature(&world.0, &withdrawal("hospital")).unwrap();
    assert_eq!(signed.spec.state, Some(SignatureState::Withdrawn));
    let never = world.without_signature_of("hospital");
    assert!(matches!(signature(&never.0, &withdrawal("hospital")), Err(SignError::NotAParty { .. })));
}

#[test]
fn the_home_is_read_also_of_an_organisation_that_cannot_be_used_and_never_guessed() {
    let without = || {
        let mut world = World::written();
        world.0.orgs.retain(|it| it.object.metadata.name.as_deref() != Some("hospital"));
        world
    };
    let org = |spec: Value| unreadable("PartnerOrg", json!({ "name": "hospital" }), spec);
    let mut broken = without();
    broken.0.unreadable.push(org(json!({ "homeNamespace": "hospital", "unheardOf": 1 })));
    for asked in [request("hospital"), withdrawal("hospital")] {
        assert_eq!(signature(&broken.0, &asked).unwrap().metadata.namespace.as_deref(), Some("hospital"));
    }
    let mut homeless = without();
    homeless.0.unreadable.push(org(json!({ "homeNamespace": 7 })));
    assert!(matches!(signature(&homeless.0, &withdrawal("hospital")), Err(SignError::OrgUnreadable { .. })));
    let mut several = World::written();
    several.0.unreadable.push(org(json!({ "homeNamespace": "elsewhere" })));
    let told = signature(&several.0, &withdrawal("hospital")).unwrap_err().to_string();
    assert!(told.ends_with("with the home namespaces `elsewhere`, `hospital`"), "{told}");
    assert!(matches!(signature(&without().0, &withdrawal("hospital")), Err(SignError::OrgNotFound { .. })));
}

#[test]
fn a_dated_withdrawal_goes_on_from_what_the_party_signed_itself_and_from_no_copy() {
    let on = Some("2027-01-01T00:00:00Z".parse().unwrap());
    let dated = SignatureRequest { on, ..withdrawal("hospital") };
    let mut copy = World::written().signature(&care(), "hospital");
    copy.metadata.namespace = Some("stranger".to_owned());
    copy.spec.purposes = Some(vec!["Planning".to_owned()]);
    let mut world = World::written();
    world.0.signatures.push(Sourced::live(copy.clone()));
    assert!(matches!(signature(&world.0, &dated), Err(SignError::NothingToEnd { .. })), "a stranger's");
    let mut world = World::signed();
    world.0.signatures.insert(0, Sourced::live(copy));
    let signed = signature(&world.0, &dated).unwrap();
    assert_eq!(signed.spec.purposes.unwrap(), ["DirectCare", "Planning"], "its own, and not the copy");
    assert_eq!(signed.spec.agreement, ObjectRef { namespace: "board".to_owned(), name: "care".to_owned() });
}

#[test]
fn a_dated_withdrawal_puts_no_other_off() {
    let on = |date: &str| SignatureRequest { on: Some(date.parse().unwrap()), ..withdrawal("hospital") };
    let ended = |ends: Value| {
        let mut word = World::signed().signature(&care(), "hospital");
        word.spec.ends = serde_json::from_value(ends).unwrap();
        World::signed().putting(word)
    };
    for (ends, purposes) in [
        (json!([{ "on": "2026-11-20T00:00:00Z" }]), None),
        (json!([{ "purpose": "Planning", "on": "2026-11-20T00:00:00Z" }]), Some(vec!["Planning".to_owned()])),
        (json!([{ "on": "2026-11-20T00:00:00Z" }]), Some(vec!["Planning".to_owned()])),
    ] {
        let world = ended(ends.clone());
        let before = world.now().open();
        let later = SignatureRequest { purposes, ..on("2027-02-01T00:00:00Z") };
        let signed = signature(&world.0, &later).unwrap();
        assert!(world.putting(signed.clone()).now().open().len() <= before.len(), "{ends}");
        let kept = signed.spec.ends.iter().any(|end| end.on.to_string() == "2026-11-20T00:00:00Z");
        assert!(kept, "{ends}: {:?}", signed.spec.ends);
    }
    let sooner =
        signature(&ended(json!([{ "on": "2027-02-01T00:00:00Z" }])).0, &on("2026-12-01T00:00:00Z")).unwrap();
    assert_eq!(sooner.spec.ends[0].on.to_string(), "2026-12-01T00:00:00Z");
}

#[test]
fn what_is_left_out_of_a_signature_does_not_widen_it() {
    let ended = |purpose: Value| {
        let mut word = World::signed().signature(&care(), "hospital");
        let end = json!([{ "purpose": purpose, "on": "2026-12-20T00:00:00Z" }]);
        word.spec.ends = serde_json::from_value(end).unwrap();
        World::signed().putting(word)
    };
    let told = |world: &World, purpose: &str| {
        let only = SignatureRequest { purposes: Some(vec![purpose.to_owned()]), ..request("hospital") };
        remarks(&world.0, &signature(&world.0, &only).unwrap()).join("\n")
    };
    assert_eq!(told(&ended(json!("Planning")), "DirectCare"), "", "what had an end ends at once");
    let planning = told(&ended(json!("Planning")), "Planning");
    assert!(planning.contains("this widens what was signed for `Planning`"), "{planning}");
    let all = told(&ended(json!(null)), "DirectCare");
    assert!(all.contains("this widens what was signed for `DirectCare`"), "{all}");
}

#[test]
fn a_broken_signature_beside_the_new_one_is_told_of() {
    let mut world = World::written();
    let metadata = json!({ "namespace": "hospital", "name": "mine" });
    let spec = json!({ "party": "", "agreement": { "namespace": "board", "name": "care" } });
    world.0.unreadable.push(unreadable("AgreementSignature", metadata, spec));
    let signed = signature(&world.0, &request("hospital")).unwrap();
    let told = remarks(&world.0, &signed);
    assert!(
        told.iter().any(|it| it.starts_with("AgreementSignature hospital/mine cannot be used")),
        "{told:?}"
    );
    let other = signature(&world.0, &request("ash-practice")).unwrap();
    assert_eq!(remarks(&world.0, &other), Vec::<String>::new());
}

#[test]
fn what_is_printed_replaces_the_signature_that_is_there_whatever_its_name() {
    let mut own = World::signed().signature(&care(), "hospital");
    own.metadata.name = Some("mine".to_owned());
    let world = World::written().signed_by(&["ash-practice", "birch-practice", "board"]).putting(own.clone());
    let expected = World::signed().withdrawn("hospital").now().open();
    let no = signature(&world.0, &withdrawal("hospital")).unwrap();
    assert_eq!(no.metadata.name.as_deref(), Some("mine"));
    assert_eq!(world.clone().putting(no).now().open(), expected, "it closes its own, and no one else's");
    assert!(!expected.is_empty());
    // of two it can replace one, and says so
    own.metadata.name = Some("other".to_owned());
    let twice = world.clone().putting_beside(own);
    let no = signature(&twice.0, &withdrawal("hospital")).unwrap();
    let told = remarks(&twice.0, &no).join("\n");
    assert!(told.contains("of several none counts: delete `mine`, `other`"), "{told}");
}

#[test]
fn a_broken_signature_that_is_replaced_is_not_told_as_absent() {
    let mut world = World::written();
    let own = world.signature(&care(), "hospital");
    let mut spec = json!(own.spec);
    spec["more"] = json!(1);
    world.0.unreadable.push(unreadable("AgreementSignature", json!(own.metadata), spec));
    let told = |request: &SignatureRequest| match signature(&world.0, request) {
        Ok(signature) => remarks(&world.0, &signature).join("\n"),
        Err(error) => error.help().unwrap_or_default(),
    };
    let no = told(&withdrawal("hospital"));
    assert!(no.contains("whatever it said, this withdraws it") && !no.contains("--decline"), "{no}");
    let declined = told(&SignatureRequest { decline: true, ..request("hospital") });
    assert!(declined.contains("--withdraw"), "{declined}");
    let dated =
        SignatureRequest { on: Some("2027-01-01T00:00:00Z".parse().unwrap()), ..withdrawal("hospital") };
    assert!(told(&dated).contains("cannot be used, and may be its signature"), "{}", told(&dated));
}

#[test]
fn nothing_is_printed_that_the_api_server_refuses() {
    let world = World::signed();
    let twice = Some(["Planning", "Planning"].map(str::to_owned).to_vec());
    let yes = SignatureRequest { purposes: twice.clone(), ..request("hospital") };
    assert_eq!(signature(&world.0, &yes).unwrap().spec.purposes.unwrap(), ["Planning"]);
    let on = |date: &str| Some(date.parse().unwrap());
    let dated =
        SignatureRequest { purposes: twice, on: on("2027-01-01T00:00:00Z"), ..withdrawal("hospital") };
    assert_eq!(signature(&world.0, &dated).unwrap().spec.ends.len(), 1);
    let early = SignatureRequest { on: on("0001-01-01T00:00:00Z"), ..withdrawal("hospital") };
    assert!(matches!(signature(&world.0, &early), Err(SignError::DateOutOfRange { .. })));
}
