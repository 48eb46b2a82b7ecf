//! What is told of parties: what they have said, what is still asked of them, and why a path is closed.

use concordat_api::{SignatureEnd, SignatureState};
use concordat_core::endings::endings;
use concordat_core::evaluate::Judgement;
use concordat_core::explain::explain;
use concordat_core::finding::Code;
use serde_json::{Value, json};

use super::world::{EVERYBODY, NOW, World, care, care_2, moment};

fn emergency(signed_by: &[&str]) -> World {
    World::emergency().signed_by(signed_by)
}

/// The status and message of the condition `Signed`.
fn signed(world: &World) -> String {
    let plan = world.now().0.plan();
    let found = plan.statuses.iter().find(|it| it.object.name == "care").unwrap();
    let status = serde_json::to_value(&found.status).unwrap();
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|it| it["type"] == "Signed").unwrap();
    format!("{} {}", found["status"].as_str().unwrap(), found["message"].as_str().unwrap())
}

/// Why the paths of an organisation are closed, each reason once.
fn closed(world: &World, org: &str) -> Vec<String> {
    let judged = world.now().0;
    let closed = judged.assessments.agreements[&care()].closed.iter();
    let mut reasons: Vec<String> = closed.filter(|it| it.org == org).map(|it| it.reason.clone()).collect();
    reasons.dedup();
    reasons
}

#[test]
fn who_has_not_signed_in_an_emergency_is_not_said_to_have() {
    let world = emergency(&["ash-practice", "birch-practice"]);
    assert_eq!(
        signed(&world),
        "True every Controller has signed, and in an emergency no one else has to; no signature on these terms by \
         `board`, `hospital`"
    );
    assert_eq!(signed(&emergency(&EVERYBODY)), "True every party has signed");
    assert_eq!(signed(&world.withdrawn("board").signed_by(&["hospital"])), "True `board` has withdrawn");
}

#[test]
fn nothing_ends_by_a_date_of_somebody_who_is_out_by_then() {
    let (gone, lapses) = ("2026-12-01T00:00:00Z", "2026-12-05T00:00:00Z");
    let ends = |world: &World| {
        let judged = world.now();
        let flows = &judged.0.assessments.agreements[&care()].flows;
        flows
            .iter()
            .filter(|it| it.product.namespace == "birch-practice")
            .map(|it| it.not_after)
            .max()
            .unwrap()
    };
    let lapsing = World::signed().with_org("ash-practice", "/spec/ico/validUntil", json!(lapses));
    assert_eq!(ends(&lapsing), moment(lapses), "it is a party then");
    let dissolved = lapsing.clone().with_org("ash-practice", "/spec/endsOn", json!(gone));
    assert!(ends(&dissolved) > moment(lapses));
    let mut word = lapsing.signature(&care(), "ash-practice");
    word.spec.ends = vec![SignatureEnd { purpose: None, on: moment(gone) }];
    assert!(ends(&lapsing.putting(word)) > moment(lapses));
}

#[test]
fn who_is_not_active_is_named_before_who_has_withdrawn() {
    let world = World::signed().withdrawn("board").with_org("hospital", "/spec/state", json!("Suspended"));
    assert_eq!(
        signed(&world),
        "False no Controller or no Recipient is signed and active: `hospital` is suspended; `board` has withdrawn"
    );
    // where none is left it is who has said no
    assert_eq!(
        signed(&World::signed().withdrawn("board").withdrawn("hospital")),
        "False `board` has withdrawn; `hospital` has withdrawn"
    );
}

#[test]
fn a_path_that_is_closed_by_what_was_signed_is_not_said_to_be_unsigned() {
    let partly = emergency(&EVERYBODY).signed_for("hospital", &["Planning"]);
    let why = "`hospital` has signed, but not for `DirectCare`";
    assert_eq!(closed(&partly, "hospital"), [why]);
    // on terms that have changed since
    let other = partly.with("/spec/retention/days", json!(31)).signed_by(&["ash-practice", "birch-practice"]);
    let why = "`hospital` has signed other terms, and not for `DirectCare`";
    assert_eq!(closed(&other, "hospital"), [why]);
    let mut ending = World::signed().signature(&care(), "hospital");
    ending.spec.ends = vec![SignatureEnd { purpose: Some("DirectCare".to_owned()), on: moment(NOW) }];
    ending.spec.purposes = Some(vec!["DirectCare".to_owned(), "Planning".to_owned()]);
    let ended = emergency(&EVERYBODY).putting(ending);
    assert_eq!(closed(&ended, "hospital"), ["`hospital` has ended its part in `DirectCare`"]);
    let shared = World::written().with("/spec/accession", json!(true)).signed_by(&EVERYBODY);
    let other = shared.with("/spec/retention/days", json!(31)).signed_by(&["ash-practice", "board"]);
    assert_eq!(closed(&other, "hospital"), ["`hospital` has signed other terms"]);
}

fn ending(world: World, on: &str) -> World {
    let mut signature = world.signature(&care(), "hospital");
    signature.spec.ends = vec![SignatureEnd { purpose: None, on: moment(on) }];
    world.putting(signature)
}

#[test]
fn a_signature_that_is_proposed_drops_no_end_that_was_written_down() {
    let proposed = |world: &World| {
        let judgement = Judgement::new(&world.0, moment(NOW));
        let told = explain(&world.0, &judgement, &care()).unwrap();
        let party = told.parties.into_iter().find(|it| it.org == "hospital").unwrap();
        let helps = judgement
            .findings
            .iter()
            .filter(|it| it.code == Code::OtherTerms && it.message.contains("hospital"));
        let mut helps = helps.map(|it| it.help.clone().unwrap_or_default());
        let says = |text: Option<String>| text.is_some_and(|it| it.contains("concordat sign"));
        (party.signature.is_some(), says(party.needed), says(helps.next()))
    };
    let changed = |world: World| world.with("/spec/retention/days", json!(31));
    assert_eq!(proposed(&changed(World::signed())), (true, true, true));
    assert_eq!(proposed(&changed(ending(World::signed(), "2027-01-01T00:00:00Z"))), (false, false, false));
    assert_eq!(proposed(&World::signed().without_signature_of("hospital")), (true, true, false));
}

#[test]
fn nobody_is_counted_as_signed_who_is_not_asked() {
    let delegation = json!([{ "to": "board", "purposes": ["DirectCare"], "until": "2026-12-30T00:00:00Z" }]);
    let world = emergency(&["ash-practice", "birch-practice", "board"]);
    let world = world.with_org("hospital", "/spec/delegatedSigning", delegation);
    let mut no = world.signature(&care(), "hospital");
    no.spec.state = Some(SignatureState::Withdrawn);
    no.metadata.namespace = Some("board".to_owned());
    let plan = world.putting(no).now().0.plan();
    let found = plan.statuses.iter().find(|it| it.object.name == "care").unwrap();
    assert_eq!(serde_json::to_value(&found.status).unwrap()["parties"], "3/3");
}

/// A delegate's word is repeated for the purposes that it covered, too.
#[test]
fn sign_again_repeats_what_a_delegate_had_signed_for() {
    let delegation =
        json!([{ "to": "board", "purposes": ["DirectCare", "Planning"], "until": "2026-12-30T00:00:00Z" }]);
    let world = World::signed().with_org("hospital", "/spec/delegatedSigning", delegation);
    let mut signature = world.signature(&care(), "hospital");
    signature.metadata.namespace = Some("board".to_owned());
    signature.spec.purposes = Some(vec!["DirectCare".to_owned()]);
    let world =
        world.without_signature_of("hospital").putting(signature).with("/spec/retention/days", json!(31));
    let needed = world.now().needed("hospital").unwrap();
    assert!(needed.ends_with("--party hospital --purposes DirectCare"), "{needed}");
}

/// What would help the hospital to read, and who could do it.
fn help(world: &World) -> (String, String) {
    let near = world.now().near_miss();
    (near.saw, near.who)
}

#[test]
fn who_has_said_no_is_not_asked_to_sign_as_if_it_had_said_nothing() {
    let said = |state: SignatureState| {
        let mut signature = World::signed().signature(&care(), "hospital");
        signature.spec.state = Some(state);
        help(&World::signed().putting(signature))
    };
    let who = "`hospital`, by signing (`concordat sign`), if it wants to take part after all";
    assert_eq!(said(SignatureState::Withdrawn), ("withdrawn from by `hospital`".to_owned(), who.to_owned()));
    assert_eq!(said(SignatureState::Declined), ("declined by `hospital`".to_owned(), who.to_owned()));
    let unsigned = help(&World::signed().without_signature_of("hospital"));
    let who = "`hospital`, by signing (`concordat sign`)";
    assert_eq!(unsigned, ("not signed by `hospital`".to_owned(), who.to_owned()));
    let other = World::written().with("/spec/accession", json!(true)).signed_by(&EVERYBODY);
    let other = other.with("/spec/retention/days", json!(31)).signed_by(&["ash-practice", "board"]);
    assert_eq!(help(&other), ("signed on other terms by `hospital`".to_owned(), who.to_owned()));
}

#[test]
fn an_agreement_that_says_too_soon_that_it_has_been_replaced_is_told_so() {
    let by = |name: &str| json!({ "namespace": "board", "name": name });
    let told = |world: &World| {
        let judgement = Judgement::new(&world.0, moment(NOW));
        let found = endings(&world.0, &judgement, 0);
        let found = found.into_iter().filter(|it| it.code == Code::SuccessorNotInForce);
        found.map(|it| format!("{}; {}", it.message, it.help.unwrap_or_default())).collect::<Vec<_>>()
    };
    let good = World::signed().followed_and_signed_from("2026-11-10T00:00:00Z");
    let saying = |world: &World, value: Value| world.clone().with("/spec/supersededBy", value);
    assert_eq!(told(&saying(&good, by("care-2"))), [""; 0]);
    assert_eq!(
        told(&saying(&good, by("care2"))),
        [
            "there is no agreement `board/care2`; it keeps `board/care` closed all the same; did you mean `board/care-2`?"
        ]
    );
    assert_eq!(
        told(&saying(&World::signed(), by("something-else"))),
        [
            "there is no agreement `board/something-else`; it keeps `board/care` closed all the same; leave it if that one \
          has been deleted since; if it was never in force, take it out"
        ]
    );
    let soon = World::signed().followed_and_signed_from("2026-12-10T00:00:00Z");
    assert_eq!(
        told(&saying(&soon, by("care-2"))),
        [
            "`board/care-2` is Scheduled and shares nothing now; it keeps `board/care` closed all the same; take it out \
          until that one is in force: the old one ends by itself then"
        ]
    );
    let stranger = good.with_next("/spec/supersedes", Value::Null).signed_on(&care_2(), &EVERYBODY);
    assert_eq!(
        told(&saying(&stranger, by("care-2"))),
        [
            "`board/care-2` does not say that it replaces `board/care`; it keeps `board/care` closed all the same; name \
          the agreement whose `supersedes` names this one, or take it out"
        ]
    );
}
