//! The life of an agreement: who has signed for whom, what opens and closes with it, and at which moment.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

#[path = "agreements/held.rs"]
mod held;
#[path = "agreements/signing.rs"]
mod signing;
#[path = "agreements/succession.rs"]
mod succession;
#[path = "agreements/told.rs"]
mod told;
#[path = "agreements/world.rs"]
mod world;

use concordat_api::{AgreementSignature, ObjectRef, Phase, SignatureState};
use concordat_core::finding::{Code, Finding};
use concordat_core::policy::{Filter, who_can};
use concordat_core::snapshot::{ClusterView, Unreadable};
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use world::{ALL, EVERYBODY, NOW, World, care, care_2, just_before, moment, nothing, set};

#[test]
fn everything_listed_is_open_once_everybody_has_signed() {
    let judged = World::signed().now();
    assert_eq!(judged.phase(), Phase::Active);
    assert_eq!(judged.open(), ALL);
    assert_eq!(judged.codes(), []);
    for party in EVERYBODY {
        let judged = World::signed().without_signature_of(party).now();
        assert_eq!((judged.phase(), judged.open()), (Phase::AwaitingSignatures, nothing()), "{party}");
        assert_eq!(
            judged.needed(party).as_deref(),
            Some(format!("has not signed: concordat sign --agreement board/care --party {party}").as_str())
        );
    }
}

#[test]
fn a_party_that_leaves_a_purpose_closes_its_own_flows_of_that_purpose_and_no_other() {
    let judged = World::signed().signed_for("ash-practice", &["DirectCare"]).now();
    assert_eq!(judged.phase(), Phase::Active);
    assert_eq!(judged.open(), [ALL[1], ALL[2], ALL[3]]);
    let judged = World::signed().signed_for("board", &["DirectCare"]).now();
    assert_eq!(judged.open(), [ALL[1], ALL[3]]);
}

#[test]
fn a_party_that_withdraws_closes_its_own_flows_whatever_the_hash_and_no_other() {
    let judged = World::signed().withdrawn("birch-practice").now();
    assert_eq!((judged.phase(), judged.open()), (Phase::Active, vec![ALL[0].to_owned(), ALL[1].to_owned()]));
    // the terms change: everybody else's signature is on other terms, the withdrawal stands
    let judged = World::signed().withdrawn("birch-practice").with("/spec/retention/days", json!(31)).now();
    assert_eq!((judged.phase(), judged.open()), (Phase::AwaitingSignatures, nothing()));
    assert_eq!(judged.needed("birch-practice"), None);
    assert!(judged.needed("hospital").unwrap().starts_with("has signed other terms"));
}

#[test]
fn without_a_controller_or_without_a_recipient_nothing_is_in_force() {
    let nobody = World::signed().withdrawn("ash-practice").withdrawn("birch-practice").now();
    assert_eq!((nobody.phase(), nobody.open()), (Phase::Withdrawn, nothing()));
    let nobody = World::signed().withdrawn("hospital").withdrawn("board").now();
    assert_eq!((nobody.phase(), nobody.open()), (Phase::Withdrawn, nothing()));
}

/// Ash Practice lets the board sign for it.
fn delegating(purposes: &[&str], until: &str) -> World {
    let delegation = json!([{ "to": "board", "purposes": purposes, "until": until }]);
    World::signed()
        .with_org("ash-practice", "/spec/delegatedSigning", delegation)
        .signed_in("ash-practice", "board")
}

#[test]
fn a_delegate_signs_for_the_purposes_that_it_was_given() {
    let judged = delegating(&["DirectCare", "Planning"], "2027-01-01T00:00:00Z").now();
    assert_eq!((judged.open(), judged.codes()), (ALL.map(str::to_owned).to_vec(), vec![]));
    let judged = delegating(&["DirectCare"], "2027-01-01T00:00:00Z").now();
    assert_eq!(judged.open(), [ALL[1], ALL[2], ALL[3]]);
}

#[test]
fn a_delegation_ends_to_the_moment_and_the_clock_knows() {
    let until = "2027-01-01T00:00:00Z";
    let world = delegating(&["DirectCare", "Planning"], until);
    assert_eq!(world.now().next(), Some(moment(until)));
    assert_eq!(world.at_moment(just_before(moment(until))).open(), ALL);
    let after = world.at(until);
    assert_eq!((after.phase(), after.open()), (Phase::AwaitingSignatures, nothing()));
    assert_eq!(after.codes(), [Code::SignatureNamespace]);
}

#[test]
fn nobody_signs_for_another_without_being_asked_to() {
    let world = World::signed().signed_in("ash-practice", "board");
    assert_eq!((world.now().phase(), world.now().open()), (Phase::AwaitingSignatures, nothing()));
    assert_eq!(world.now().codes(), [Code::SignatureNamespace]);
    // asked, but somebody else
    let delegation =
        json!([{ "to": "hospital", "purposes": ["DirectCare"], "until": "2027-01-01T00:00:00Z" }]);
    let world = world.with_org("ash-practice", "/spec/delegatedSigning", delegation);
    assert_eq!(world.now().open(), nothing());
    // a signature that does not count does not void the party's own either
    let own = world.signature(&care(), "ash-practice");
    assert_eq!(world.putting(own).now().open(), ALL);
}

#[test]
fn what_a_party_says_itself_goes_before_what_a_delegate_says() {
    let world = delegating(&["DirectCare", "Planning"], "2027-01-01T00:00:00Z");
    let mut own = world.signature(&care(), "ash-practice");
    own.spec.purposes = Some(vec!["DirectCare".to_owned()]);
    let judged = world.putting(own).now();
    let narrowed: Vec<String> = ALL
        .iter()
        .map(|it| (*it).to_owned())
        .filter(|it| !it.starts_with("ash-practice/record -> board"))
        .collect();
    assert_eq!((judged.open(), judged.codes()), (narrowed, vec![Code::SecondSignature]));
    assert!(judged.0.findings.iter().all(|it| !it.is_error()), "{:?}", judged.0.findings);
}

#[test]
fn a_delegate_that_is_no_more_signs_for_nobody() {
    for state in ["Suspended", "Dissolved", "Merged"] {
        let delegation = json!([{ "to": "hospital", "purposes": ["DirectCare", "Planning"], "until": "2027-01-01T00:00:00Z" }]);
        let world = World::signed()
            .with_org("ash-practice", "/spec/delegatedSigning", delegation)
            .signed_in("ash-practice", "hospital");
        assert_eq!(world.now().open(), ALL, "{state}");
        let world = world.with_org("hospital", "/spec/successor", json!("board")).with_org(
            "hospital",
            "/spec/state",
            json!(state),
        );
        let judged = world.now();
        assert_eq!((judged.phase(), judged.open()), (Phase::AwaitingSignatures, nothing()), "{state}");
        let told = judged.told(Code::SignatureNamespace);
        assert!(told.contains("delegated to `hospital`"), "{told}");
        assert!(told.contains(&state.to_lowercase()), "{told}");
    }
}

#[test]
fn a_delegate_that_signs_for_nothing_that_it_was_given_has_not_signed() {
    let delegation = json!([{ "to": "board", "purposes": ["Planning"], "until": "2027-01-01T00:00:00Z" }]);
    let world = World::signed().with_org("ash-practice", "/spec/delegatedSigning", delegation);
    let mut signature = world.signature(&care(), "ash-practice");
    signature.metadata.namespace = Some("board".to_owned());
    signature.spec.purposes = Some(vec!["DirectCare".to_owned()]);
    let judged = world.without_signature_of("ash-practice").putting(signature).now();
    // nothing of the others' opens either: the practice has not signed the terms
    assert_eq!((judged.phase(), judged.open()), (Phase::AwaitingSignatures, nothing()));
    assert_eq!(judged.codes(), [Code::PurposeNotDelegated]);
    assert!(judged.0.findings.iter().all(Finding::is_error), "{:?}", judged.0.findings);
}

#[test]
fn with_accession_nobody_waits_for_the_last_one() {
    let world = World::written().with("/spec/accession", json!(true));
    assert_eq!(world.clone().now().phase(), Phase::AwaitingSignatures);
    let world = world.signed_by(&["ash-practice", "hospital"]);
    let judged = world.now();
    assert_eq!((judged.phase(), judged.open()), (Phase::Active, vec![ALL[1].to_owned()]));
    // the next one joins, and no one signs again
    let world = world.signed_by(&["birch-practice"]);
    assert_eq!(world.now().open(), [ALL[1], ALL[3]]);
    // the last row goes: the others' terms are what they were
    let world = world.with("/spec/purposes/1", Value::Null).with("/spec/parties/3", Value::Null);
    assert_eq!(world.now().open(), nothing(), "a purpose that goes is a change of everybody's terms");
}

#[test]
fn with_accession_a_row_more_changes_nobody_elses_terms() {
    let world = World::written()
        .with("/spec/purposes/1", Value::Null)
        .with("/spec/parties/1", Value::Null)
        .with("/spec/purposes/0/products/1", Value::Null)
        .with("/spec/accession", json!(true))
        .signed_by(&["ash-practice", "hospital"]);
    assert_eq!(world.now().open(), [ALL[1]]);
    let joined = world
        .with("/spec/parties/-", json!({ "org": "birch-practice", "role": "Controller", "article6": "6(1)(e)", "article9": "9(2)(h)" }))
        .with("/spec/purposes/0/products/-", json!({ "namespace": "birch-practice", "name": "record" }));
    // until the new one has signed, everything is as it was
    assert_eq!((joined.now().phase(), joined.now().open()), (Phase::Active, vec![ALL[1].to_owned()]));
    assert_eq!(joined.now().codes(), []);
    let joined = joined.signed_by(&["birch-practice"]);
    assert_eq!(joined.now().open(), [ALL[1], ALL[3]]);
}

#[test]
fn with_accession_a_row_that_breaks_a_rule_gets_nothing_and_what_its_party_shares_stays_open() {
    let row = json!({ "org": "ash-practice", "role": "Recipient", "article6": "6(1)(e)" });
    let world = World::written()
        .with("/spec/accession", json!(true))
        .with("/spec/purposes/0/recipients", Value::Null)
        .with("/spec/parties/-", row)
        .signed_by(&EVERYBODY);
    let judged = world.now();
    let open = judged.open();
    assert!(open.contains(&ALL[1].to_owned()), "{open:?}");
    assert!(open.iter().all(|it| !it.contains("-> ash-practice")), "{open:?}");
}

#[test]
fn with_accession_nothing_is_left_where_every_purpose_that_somebody_shares_for_is_refused() {
    // one purpose lists only the products of somebody who has not signed
    let only_birch = json!([{ "namespace": "birch-practice", "name": "record" }]);
    let world = World::written()
        .with("/spec/accession", json!(true))
        .with("/spec/purposes/0/products", only_birch)
        .with("/spec/publicInvolvement", Value::Null)
        .signed_by(&["ash-practice", "board", "hospital"]);
    assert_eq!(world.now().phase(), Phase::Refused);
}

#[test]
fn with_accession_a_party_that_breaks_a_rule_of_its_own_is_not_in_and_nobody_else_minds() {
    let world = World::written().with("/spec/accession", json!(true)).signed_by(&EVERYBODY).with_org(
        "birch-practice",
        "/spec/people/dpo",
        Value::Null,
    );
    let judged = world.now();
    assert_eq!((judged.phase(), judged.open()), (Phase::Active, vec![ALL[0].to_owned(), ALL[1].to_owned()]));
    assert_eq!(judged.codes(), [Code::RuleBroken]);
    assert!(judged.0.findings.iter().all(|finding| !finding.is_error()), "{:?}", judged.0.findings);
    // without accession the same refuses the agreement
    let judged = World::signed().with_org("birch-practice", "/spec/people/dpo", Value::Null).now();
    assert_eq!((judged.phase(), judged.open()), (Phase::Refused, nothing()));
}

#[test]
fn in_an_emergency_the_controllers_signatures_suffice_and_it_ends_by_itself() {
    let world = World::emergency().signed_by(&["ash-practice"]);
    assert_eq!(world.now().phase(), Phase::AwaitingSignatures, "not every controller has signed");
    let world = world.signed_by(&["birch-practice"]);
    assert_eq!((world.now().phase(), world.now().open()), (Phase::Active, ALL.map(str::to_owned).to_vec()));
    let expires = moment("2026-12-10T00:00:00Z");
    assert_eq!(world.now().next(), Some(expires));
    assert_eq!(world.at_moment(just_before(expires)).open(), ALL);
    let after = world.at_moment(expires);
    assert_eq!((after.phase(), after.open()), (Phase::Expired, nothing()));
}

#[test]
fn in_an_emergency_a_recipient_may_still_say_no() {
    let judged = World::emergency().signed_by(&["ash-practice", "birch-practice"]).withdrawn("board").now();
    assert_eq!((judged.phase(), judged.open()), (Phase::Active, vec![ALL[1].to_owned(), ALL[3].to_owned()]));
}

/// In an emergency a recipient need not sign. On any doubt whether it has withdrawn, it has.
#[test]
fn in_an_emergency_a_no_that_is_in_doubt_is_a_no() {
    let closed = [ALL[0], ALL[2]];
    let signed = World::emergency().signed_by(&EVERYBODY).withdrawn("hospital");
    assert_eq!(signed.now().open(), closed);
    // beside the withdrawal stands a signature
    let mut other = signed.signature(&care(), "hospital");
    other.metadata.name = Some("other".to_owned());
    let twice = signed.clone().putting(other.clone()).now();
    assert_eq!(
        (twice.open(), twice.codes()),
        (closed.map(str::to_owned).to_vec(), vec![Code::SecondSignature])
    );
    // the withdrawal stands twice, as in two files
    let mut doubled = signed.clone();
    let withdrawal =
        doubled.0.signatures.iter().find(|it| it.object.spec.party == "hospital").unwrap().clone();
    doubled.0.signatures.push(withdrawal);
    assert_eq!(
        (doubled.now().open(), doubled.now().codes()),
        (closed.map(str::to_owned).to_vec(), vec![Code::DuplicateObject])
    );
    // a text in it is refused
    let mut marred = signed.clone();
    for signature in marred.0.signatures.iter_mut().filter(|it| it.object.spec.party == "hospital") {
        signature.object.metadata.annotations = Some([("note".to_owned(), "a\u{202e}b".to_owned())].into());
    }
    assert_eq!(marred.now().open(), closed);
    // who may read it and who may not is not known
    let mut unread = World::emergency().signed_by(&["ash-practice", "birch-practice"]);
    unread.0.unreadable.push(Unreadable {
        error: String::new(),
        kind: "AgreementSignature".to_owned(),
        meta: ObjectMeta {
            namespace: Some("hospital".to_owned()),
            name: Some("a-withdrawal".to_owned()),
            ..ObjectMeta::default()
        },
        spec: json!({ "agreement": care(), "party": "hospital" }),
        source: std::sync::Arc::default(),
    });
    assert_eq!(unread.now().open(), closed);
}

#[test]
fn what_a_delegate_withdrew_stays_withdrawn_when_the_delegation_ends() {
    let until = "2026-12-01T00:00:00Z";
    let delegation = json!([{ "to": "board", "purposes": ["DirectCare", "Planning"], "until": until }]);
    let world = World::emergency().signed_by(&["ash-practice", "birch-practice"]).with_org(
        "hospital",
        "/spec/delegatedSigning",
        delegation,
    );
    let mut withdrawal = world.signature(&care(), "hospital");
    withdrawal.metadata.namespace = Some("board".to_owned());
    withdrawal.spec.state = Some(SignatureState::Withdrawn);
    let world = world.putting(withdrawal);
    assert_eq!(world.now().open(), [ALL[0], ALL[2]]);
    assert_eq!(world.at(until).open(), [ALL[0], ALL[2]]);
}

#[test]
fn the_old_ends_the_moment_the_new_is_in_force_and_nothing_is_shut_between() {
    let start = moment("2027-01-01T00:00:00Z");
    let world = World::signed().followed_and_signed_from("2027-01-01T00:00:00Z");
    let before = world.at_moment(just_before(start));
    assert_eq!((before.phase(), before.phase_of(&care_2())), (Phase::Active, Phase::Scheduled));
    let after = world.at_moment(start);
    assert_eq!((after.phase(), after.phase_of(&care_2())), (Phase::Superseded, Phase::Active));
    assert_eq!(
        (before.open(), after.open()),
        (ALL.map(str::to_owned).to_vec(), ALL.map(str::to_owned).to_vec())
    );
    // whoever asks for the next moment of anything is woken for it, and the old one's status names it
    assert!(before.0.plan().next <= Some(start));
    assert_eq!(before.next(), Some(start));
    assert_eq!(after.next(), World::signed().at_moment(start).next());
}

#[test]
fn the_old_goes_on_until_all_its_controllers_have_signed_the_new() {
    for missing in EVERYBODY {
        let others: Vec<&str> = EVERYBODY.into_iter().filter(|party| *party != missing).collect();
        let world = World::signed().followed_from("2026-07-01T00:00:00Z").signed_on(&care_2(), &others);
        let judged = world.now();
        assert_eq!(
            (judged.phase(), judged.phase_of(&care_2())),
            (Phase::Active, Phase::AwaitingSignatures),
            "{missing}"
        );
        assert_eq!(judged.open(), ALL);
    }
    // a new one that breaks a rule is not in force either
    let world =
        World::signed().followed_and_signed_from("2026-07-01T00:00:00Z").with_next("/spec/dpia", Value::Null);
    let world = world.signed_on(&care_2(), &EVERYBODY);
    assert_eq!((world.now().phase(), world.now().phase_of(&care_2())), (Phase::Active, Phase::Refused));
}

#[test]
fn nothing_that_happens_to_the_new_revives_the_old() {
    let world = World::signed().followed_and_signed_from("2026-07-01T00:00:00Z");
    let suspended = world.clone().with_next("/spec/suspend", json!(true)).now();
    assert_eq!((suspended.phase(), suspended.open()), (Phase::Superseded, nothing()));
    let shorter = World::signed()
        .followed_from("2026-07-01T00:00:00Z")
        .with_next("/spec/term/end", json!("2026-11-01T00:00:00Z"))
        .signed_on(&care_2(), &EVERYBODY)
        .now();
    assert_eq!((shorter.phase(), shorter.phase_of(&care_2())), (Phase::Superseded, Phase::Expired));
    assert_eq!(shorter.open(), nothing());
    // its dates pass, one after the other: it has been in force all the same
    let lapses = |pointer: &str, date: &str| {
        World::signed()
            .followed_from("2026-07-01T00:00:00Z")
            .with_next(pointer, json!(date))
            .signed_on(&care_2(), &EVERYBODY)
    };
    for (pointer, phase) in [("/spec/term/reviewBy", Phase::Refused), ("/spec/dpia/reviewBy", Phase::Refused)]
    {
        let world = lapses(pointer, "2026-11-01T00:00:00Z");
        assert_eq!(world.at("2026-10-31T23:59:59Z").phase_of(&care_2()), Phase::Active, "{pointer}");
        let judged = world.now();
        assert_eq!((judged.phase(), judged.phase_of(&care_2())), (Phase::Superseded, phase), "{pointer}");
        assert_eq!(judged.open(), nothing());
        let over = world.with_next("/spec/term/end", json!("2026-11-15T00:00:00Z"));
        let judged = over.signed_on(&care_2(), &EVERYBODY).now();
        assert_eq!(
            (judged.phase(), judged.phase_of(&care_2())),
            (Phase::Superseded, Phase::Expired),
            "{pointer}"
        );
    }
    // one that lapsed before it was approved never was in force, nor one whose basis ended before its start
    let never = lapses("/spec/dpia/approvedOn", "2026-11-10T00:00:00Z")
        .with_next("/spec/dpia/reviewBy", json!("2026-12-01T00:00:00Z"))
        .with_next("/spec/term/reviewBy", json!("2026-11-05T00:00:00Z"))
        .signed_on(&care_2(), &EVERYBODY);
    assert_eq!((never.now().phase(), never.now().phase_of(&care_2())), (Phase::Active, Phase::Refused));
    let never = lapses("/spec/confidentiality/validUntil", "2026-06-15T00:00:00Z")
        .with_next("/spec/confidentiality/basis", json!("Statutory"))
        .signed_on(&care_2(), &EVERYBODY);
    assert_eq!((never.now().phase(), never.now().phase_of(&care_2())), (Phase::Active, Phase::Expired));
    // deleted: the status of the old remembers
    let mut deleted = world.clone();
    deleted.0.agreements.remove(1);
    deleted.0.signatures.retain(|it| it.object.spec.agreement == care());
    set(
        &mut deleted.0.agreements[0].object,
        "/status",
        json!({ "supersededBy": { "namespace": "board", "name": "care-2" } }),
    );
    assert_eq!((deleted.now().phase(), deleted.now().open()), (Phase::Superseded, nothing()));
}

/// A later agreement that no one can read. What it says is known as far as it can be told.
#[test]
fn one_that_cannot_be_read_may_have_taken_the_place_once_every_controller_may_have_signed_it() {
    let start = "2026-11-01T00:00:00Z";
    let controllers = ["ash-practice", "birch-practice"];
    let unread = |signed: &[&str], supersedes: Option<ObjectRef>, start: Option<&str>| {
        let mut world = World::signed().followed_from("2026-11-01T00:00:00Z").signed_on(&care_2(), signed);
        let next = world.0.agreements.pop().unwrap().object;
        let mut spec = json!({ "term": { "start": start.map(moment) } });
        if let Some(old) = supersedes {
            spec["supersedes"] = json!(old);
        }
        world.0.unreadable.push(Unreadable {
            kind: "DataSharingAgreement".to_owned(),
            meta: next.metadata.clone(),
            error: "a field from the future".to_owned(),
            spec,
            source: std::sync::Arc::default(),
        });
        world
    };
    let closed = |world: &World| {
        let judged = world.now();
        (judged.codes().contains(&Code::SuccessorUnreadable), judged.open() == nothing())
    };
    assert_eq!(closed(&unread(&controllers, Some(care()), Some(start))), (true, true));
    assert_eq!(closed(&unread(&controllers, Some(care()), None)), (true, true), "it may have started");
    let open = (false, false);
    assert_eq!(closed(&unread(&controllers, None, Some(start))), open, "it takes no place");
    assert_eq!(closed(&unread(&controllers, Some(care_2()), Some(start))), open, "it takes another's place");
    let later = unread(&controllers, Some(care()), Some("2026-12-01T00:00:00Z"));
    assert_eq!(closed(&later), open, "later");
    assert_eq!(later.now().0.plan().next, Some(moment("2026-12-01T00:00:00Z")), "and to the moment");
    assert_eq!(
        closed(&unread(&["ash-practice", "board"], Some(care()), Some(start))),
        open,
        "one has not signed"
    );

    let change = |change: &dyn Fn(&mut AgreementSignature)| {
        let mut world = unread(&controllers, Some(care()), Some(start));
        let is_it =
            |it: &AgreementSignature| it.spec.agreement == care_2() && it.spec.party == "birch-practice";
        change(&mut world.0.signatures.iter_mut().find(|it| is_it(&it.object)).unwrap().object);
        world
    };
    let withdrawn = change(&|it| it.spec.state = Some(SignatureState::Withdrawn));
    assert_eq!(closed(&withdrawn), (true, true), "who has withdrawn had signed");
    assert_eq!(closed(&change(&|it| it.spec.state = Some(SignatureState::Declined))), open);
    assert_eq!(closed(&change(&|it| it.metadata.namespace = Some("elsewhere".to_owned()))), open);
    // a signature that cannot be read, either, may be the one that is missing
    let mut world = unread(&["ash-practice"], Some(care()), Some(start));
    let home = world.signature(&care(), "birch-practice").metadata.namespace;
    let mut signature = world.0.unreadable[0].clone();
    signature.kind = "AgreementSignature".to_owned();
    signature.meta.namespace = home;
    signature.spec = json!({ "agreement": care_2() });
    world.0.unreadable.push(signature);
    assert_eq!(closed(&world), (true, true));
}

#[test]
fn the_kill_switch_closes_whatever_else_is_so_and_asks_for_no_new_signature() {
    let world = World::signed().with("/spec/suspend", json!(true));
    assert_eq!((world.now().phase(), world.now().open()), (Phase::Suspended, nothing()));
    let world = world.with("/spec/suspend", json!(false));
    assert_eq!((world.now().phase(), world.now().open()), (Phase::Active, ALL.map(str::to_owned).to_vec()));
}

#[test]
fn an_organisation_that_is_not_active_closes_its_own_flows() {
    for state in ["Suspended", "Dissolved"] {
        let judged = World::signed().with_org("ash-practice", "/spec/state", json!(state)).now();
        assert_eq!(
            (judged.phase(), judged.open()),
            (Phase::Active, vec![ALL[2].to_owned(), ALL[3].to_owned()])
        );
    }
}

#[test]
fn a_successor_never_signs_by_itself() {
    let merged = World::signed()
        .with_org("ash-practice", "/spec/successor", json!("birch-practice"))
        .with_org("ash-practice", "/spec/state", json!("Merged"));
    assert_eq!(merged.now().open(), [ALL[2], ALL[3]]);
    let why = &merged.now().0.assessments.agreements[&care()].closed[0].reason.clone();
    assert_eq!(
        why,
        "`ash-practice` is merged; its successor `birch-practice` has to be a party and sign itself"
    );
    // what it signs for the one that is gone counts nowhere
    let judged = merged.signed_in("ash-practice", "birch-practice").now();
    assert_eq!((judged.open(), judged.codes()), (nothing(), vec![Code::SignatureNamespace]));
}

#[test]
fn whoever_writes_no_function_means_every_function_of_the_organisation() {
    let world = World::written().with("/spec/purposes/0/recipients", json!([{ "org": "hospital" }]));
    let open = world.signed_by(&EVERYBODY).now().open();
    assert!(open.contains(&"ash-practice/record -> hospital/wards: DirectCare".to_owned()), "{open:?}");
    let world = World::written()
        .with("/spec/purposes/0/recipients", json!([{ "org": "hospital" }]))
        .with("/spec/parties/2", Value::Null)
        .with("/spec/parties/-", json!({ "org": "hospital", "role": "Recipient", "function": "wards", "article6": "6(1)(e)", "article9": "9(2)(h)" }));
    let open = world.signed_by(&EVERYBODY).now().open();
    assert!(open.contains(&"ash-practice/record -> hospital/wards: DirectCare".to_owned()), "{open:?}");
    assert!(!open.iter().any(|flow| flow.contains("emergency")), "{open:?}");
}

#[test]
fn the_lawful_basis_is_each_partys_own() {
    let judged = World::written().with("/spec/parties/2/article6", Value::Null).signed_by(&EVERYBODY).now();
    assert_eq!(judged.phase(), Phase::Refused);
    let broken: Vec<_> = judged.0.assessments.agreements[&care()]
        .broken
        .iter()
        .map(|broken| (broken.rule.as_str(), broken.org.as_deref()))
        .collect();
    assert_eq!(broken, [("NF-03a", Some("hospital"))]);
    // of several rows of one organisation, the one that lacks it is named
    let row = json!({ "org": "hospital", "role": "Recipient", "function": "emergency" });
    let judged = World::written().with("/spec/parties/-", row).signed_by(&EVERYBODY).now();
    let fields: Vec<_> = judged.0.findings.iter().map(|it| it.origin.field.as_deref()).collect();
    assert_eq!(fields, [Some("spec.parties[4]")]);
    // what is wrong with the organisation is told once, however often it stands there
    let judged = World::written()
        .with("/spec/parties/-", json!({ "org": "hospital", "role": "Recipient", "function": "emergency", "article6": "6(1)(e)", "article9": "9(2)(h)" }))
        .with_org("hospital", "/spec/people/dpo", Value::Null)
        .signed_by(&EVERYBODY)
        .now();
    let fields: Vec<_> = judged.0.findings.iter().map(|it| it.origin.field.as_deref()).collect();
    assert_eq!(fields, [Some("spec.parties[2]")]);
}

#[test]
fn a_product_that_grows_is_not_what_was_signed() {
    let more = json!({ "name": "diagnoses", "justification": "to know more" });
    let judged = World::signed().with_product("ash-practice", "/spec/dataItems/-", more).now();
    assert_eq!((judged.phase(), judged.open()), (Phase::AwaitingSignatures, nothing()));
    // where its gateway listens is no matter of the terms
    let judged =
        World::signed().with_product("ash-practice", "/spec/endpoint/ports/0/port", json!(9443)).now();
    assert_eq!(judged.open(), ALL);
}

#[test]
fn what_is_made_from_patient_information_is_patient_information() {
    let parent = json!([{ "namespace": "birch-practice", "name": "record" }]);
    let world = World::written().with_product("ash-practice", "/spec/derivedFrom", parent);
    assert_eq!(world.clone().signed_by(&EVERYBODY).now().open(), ALL);
    let world = world.with_product("ash-practice", "/spec/confidentialPatientInfo", json!(false));
    let judged = world.signed_by(&EVERYBODY).now();
    assert!(judged.codes().contains(&Code::DerivedFlags), "{:?}", judged.codes());
    assert_eq!(judged.open(), nothing());
}

/// The dates that an agreement reads, each set so that it comes first; what is open just before and from then on.
#[test]
fn the_clock_knows_every_date_to_the_moment() {
    let first = "2027-02-01T00:00:00Z";
    let dspt =
        json!({ "status": "StandardsMet", "publishedOn": "2026-06-01T00:00:00Z", "validUntil": first });
    let planning = [ALL[0], ALL[2]];
    let care_only = [ALL[1], ALL[3]];
    let lapses: Vec<(&str, World, Phase, Vec<&str>)> = vec![
        ("end", World::written().with("/spec/term/end", json!(first)), Phase::Expired, vec![]),
        (
            "basis",
            World::written().with("/spec/confidentiality/validUntil", json!(first)),
            Phase::Expired,
            vec![],
        ),
        ("review", World::written().with("/spec/term/reviewBy", json!(first)), Phase::Refused, vec![]),
        ("dpia", World::written().with("/spec/dpia/reviewBy", json!(first)), Phase::Refused, vec![]),
        (
            "ico",
            World::written().with_org("hospital", "/spec/ico/validUntil", json!(first)),
            Phase::Refused,
            vec![],
        ),
        (
            "dspt of the analysts",
            World::written().with_org("board", "/spec/assurance/dspt", dspt.clone()),
            Phase::Active,
            care_only.to_vec(),
        ),
        (
            "dspt of the hospital",
            World::written().with_org("hospital", "/spec/assurance/dspt", dspt),
            Phase::Active,
            planning.to_vec(),
        ),
    ];
    for (name, world, phase, open) in lapses {
        let world = world.signed_by(&EVERYBODY);
        assert_eq!(world.now().next(), Some(moment(first)), "{name}");
        let before = world.at_moment(just_before(moment(first)));
        assert_eq!(
            (before.phase(), before.open()),
            (Phase::Active, ALL.map(str::to_owned).to_vec()),
            "{name}"
        );
        let after = world.at(first);
        assert_eq!(
            (after.phase(), after.open()),
            (phase, open.iter().map(ToString::to_string).collect()),
            "{name}"
        );
    }
}

#[test]
fn what_lies_ahead_opens_to_the_moment() {
    let first = "2027-02-01T00:00:00Z";
    let reviewed = |at: &str| {
        World::written()
            .with("/spec/term/reviewBy", json!(at))
            .with("/spec/dpia/reviewBy", json!("2028-10-01T00:00:00Z"))
    };
    let cases = [
        ("start", World::written().with("/spec/term/start", json!(first)), Phase::Scheduled, first),
        ("dpia", World::written().with("/spec/dpia/approvedOn", json!(first)), Phase::Refused, first),
        // twelve months before it, the review is near enough
        ("review", reviewed("2028-02-01T00:00:00Z"), Phase::Refused, first),
        // from 28 February, twelve months reach 28 February
        ("leap day", reviewed("2028-02-29T10:00:00Z"), Phase::Refused, "2027-03-01T00:00:00Z"),
    ];
    for (name, world, phase, first) in cases {
        let world = world.signed_by(&EVERYBODY);
        assert_eq!((world.now().phase(), world.now().open()), (phase, nothing()), "{name}");
        assert_eq!(world.now().next(), Some(moment(first)), "{name}");
        assert_eq!(world.at_moment(just_before(moment(first))).open(), nothing(), "{name}");
        let after = world.at(first);
        assert_eq!((after.phase(), after.open()), (Phase::Active, ALL.map(str::to_owned).to_vec()), "{name}");
    }
}

/// Who may write in a namespace signs for whoever is at home there, and acts for whoever works there.
#[test]
fn nobody_works_in_anothers_home() {
    let world = World::signed().with_org(
        "hospital",
        "/spec/functions/0/workloads/0/namespace",
        json!("ash-practice"),
    );
    let judged = world.now();
    assert_eq!(judged.open(), nothing());
    let told = judged.told(Code::NamespaceClaimedTwice);
    assert!(told.starts_with("namespace `ash-practice` is the home of `ash-practice`; "), "{told}");
}

#[test]
fn what_stands_in_another_cluster_is_not_told_of_this_one() {
    let mut world = World::signed();
    for product in &mut world.0.products {
        product.object.spec.cluster = Some("north".to_owned());
    }
    for function in world.0.orgs.iter_mut().flat_map(|org| &mut org.object.spec.functions) {
        function.workloads[0].cluster = Some("north".to_owned());
    }
    let told = |cluster: &str| {
        let mut world = world.clone();
        world.0.cluster = ClusterView::Named(cluster.to_owned());
        let judged = world.now();
        assert_eq!((judged.phase(), judged.codes()), (Phase::Active, vec![]));
        let plan = judged.0.plan();
        let status = plan.statuses.iter().find(|it| it.object.name == "care").unwrap();
        let status = serde_json::to_value(&status.status).unwrap();
        let grants = plan.objects.iter().filter(|it| it.key().kind == "DataAccessGrant").count();
        let listed = who_can(&judged.0, &Filter::default()).unwrap().grants.len();
        (grants, status["grants"].as_u64().unwrap(), listed)
    };
    assert_eq!(told("north"), (2, 2, 4));
    assert_eq!(told("south"), (0, 0, 0));
}

#[test]
fn of_the_phases_that_hold_the_first_is_told() {
    let refused = World::written().with("/spec/dpia", Value::Null).signed_by(&EVERYBODY);
    assert_eq!(refused.now().phase(), Phase::Refused);
    let expired = refused.with("/spec/term/end", json!("2026-11-01T00:00:00Z"));
    assert_eq!(expired.now().phase(), Phase::Expired);
    let suspended = expired.clone().with("/spec/suspend", json!(true));
    assert_eq!(suspended.now().phase(), Phase::Suspended);
    let mut deleting = suspended;
    deleting.0.agreements[0].object.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(moment(NOW)));
    assert_eq!(deleting.now().phase(), Phase::Terminating);
}

#[test]
fn a_copied_reference_is_an_error_and_closes_nothing() {
    let mut world = World::signed().followed_from("2026-06-01T00:00:00Z");
    world =
        world.with_next("/spec/reference", json!("VALE-2026-001")).with_next("/spec/supersedes", Value::Null);
    let judged = world.now();
    assert_eq!((judged.phase(), judged.open()), (Phase::Active, ALL.map(str::to_owned).to_vec()));
    assert_eq!(judged.codes(), [Code::DuplicateReference]);
    assert!(judged.0.findings.iter().all(Finding::is_error), "{:?}", judged.0.findings);
}

#[test]
fn with_accession_what_would_help_is_the_rule_that_keeps_an_end_of_the_path_out_or_its_own_signature() {
    let needs = |world: World| {
        let near = world.now().near_miss();
        assert_eq!((near.then, near.or), (vec![], vec![]), "it is all that is needed");
        format!("{}: {}", near.clause, near.who)
    };
    let shared = World::written().with("/spec/accession", json!(true));
    let kept_out = shared.clone().signed_by(&["ash-practice", "hospital"]).with_org(
        "hospital",
        "/spec/people",
        json!({ "siro": "siro@hospital.example" }),
    );
    assert_eq!(needs(kept_out), "people of `hospital`: the organisation `hospital`, in its PartnerOrg");
    // the board and the other practice have not signed either, and no one waits for them
    let unsigned = shared.signed_by(&["ash-practice"]);
    assert_eq!(needs(unsigned), "`board/care`: `hospital`, by signing (`concordat sign`)");
}

#[test]
fn what_is_being_deleted_and_what_is_missing_is_not_said_to_be_there() {
    let status = |world: &World, kind: &str, name: &str| {
        let plan = world.now().0.plan();
        let found = plan.statuses.iter().find(|it| it.object.kind == kind && it.object.name == name).unwrap();
        let status = serde_json::to_value(&found.status).unwrap();
        let told = |type_: &str| {
            let conditions = status["conditions"].as_array().unwrap();
            let found = conditions.iter().find(|it| it["type"] == type_).unwrap().clone();
            format!("{} {}", found["status"].as_str().unwrap(), found["message"].as_str().unwrap())
        };
        (told("Valid"), told("Ready"))
    };
    let world = World::signed();
    assert!(status(&world, "PartnerOrg", "hospital").1.starts_with("True"));
    let deleting = world.with_org("hospital", "/metadata/deletionTimestamp", json!("2026-11-21T00:00:00Z"));
    let ready = status(&deleting, "PartnerOrg", "hospital").1;
    assert_eq!(ready, "False it is being deleted, and opens nothing any more");
    // with accession a member that is not there is out, and said to be
    let mut shared = World::written().with("/spec/accession", json!(true)).signed_by(&EVERYBODY);
    shared.0.orgs.retain(|it| it.object.metadata.name.as_deref() != Some("birch-practice"));
    let valid = status(&shared, "DataSharingAgreement", "care").0;
    assert_eq!(
        valid,
        "True everything else that it names exists; not in, as it cannot be used: organisation `birch-practice`, \
         product `birch-practice/record`"
    );
}
