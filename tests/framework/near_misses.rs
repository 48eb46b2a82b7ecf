//! What a deny says of the permit that came closest.

use concordat_api::{AccessRequest, DataAction};
use concordat_core::evaluate::Judgement;
use concordat_core::snapshot::{Snapshot, Sourced};
use kube::ResourceExt as _;
use serde_json::Value;

use super::world::{BINS, SIGNED, access_cases, at, merge, only, permit};

/// The agreements that list a product.
fn world_agreements(snapshot: &Snapshot, product: &str) -> Vec<String> {
    let lists = |it: &&Sourced<concordat_api::DataSharingAgreement>| {
        let mut products = it.object.spec.purposes.iter().flat_map(|purpose| &purpose.products);
        products.any(|listed| listed.to_string() == product)
    };
    snapshot.agreements.iter().filter(lists).map(|it| it.object.name_any()).collect()
}

/// `rule: clause is saw, and has to be wants`, then who can change it.
fn near_miss(snapshot: &Snapshot, case: &str, context: Value) -> (String, String) {
    let mut request = access_cases().into_iter().find(|it| it.name == case).unwrap().request;
    let mut value = serde_json::to_value(&request.context).unwrap();
    merge(&mut value, &context);
    request.context = serde_json::from_value(value).unwrap();
    let agreements: Vec<String> = world_agreements(snapshot, &request.resource.id);
    let agreements: Vec<&str> = agreements.iter().map(String::as_str).collect();
    let policies: Vec<String> = snapshot.policies.iter().map(|it| it.object.name_any()).collect();
    let policies: Vec<&str> =
        if snapshot.policies.len() > 1 { Vec::new() } else { policies.iter().map(String::as_str).collect() };
    let snapshot = &only(snapshot, &agreements, &policies);
    let answer = Judgement::new(snapshot, at()).decide(&request).answer;
    assert!(!answer.decision);
    let near = answer.context.near_miss.unwrap();
    (
        format!(
            "{}: {} is {}, and has to be {}",
            near.rule.unwrap_or_default(),
            near.clause,
            near.saw,
            near.wants
        ),
        near.who,
    )
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const CARE: &str = "LV-01: a care coordinator reads the council's list";
const ASKER: &str = "the caller";

#[test]
fn a_deny_says_which_permit_came_closest_and_what_it_lacked() {
    let world = only(&SIGNED, &["assisted-bins"], &["lv-01"]);
    let missing = r#"{"legitimateRelationship": false, "identifiability": "Pseudonymised"}"#;
    assert_eq!(
        near_miss(&world, CARE, json(missing)),
        (
            "chorley-council/lv-01#care-coordinators: context.legitimateRelationship is false, and has to be true"
                .to_owned(),
            format!("{ASKER}; or the place, in local policy `chorley-council/lv-01`")
        )
    );
    let roles = "agreement-permit: context.roles is `Analyst`, and has to be one of `Clinician`";
    let parties = "the parties, in `purposes[].roles`; or the place, with a local permit";
    assert_eq!(
        near_miss(&world, CARE, json(r#"{"roles": ["Analyst"]}"#)),
        (roles.to_owned(), parties.to_owned())
    );
    assert_eq!(
        near_miss(&world, CARE, json(r#"{"roles": null}"#)).0,
        "agreement-permit: context.roles is none, and has to be one of `Clinician`"
    );
}

#[test]
fn each_kind_of_clause_is_told_in_plain_words() {
    let nearest = |condition: &str| {
        let mut world = only(&SIGNED, &["assisted-bins"], &["lv-01"]);
        world.policies[0].object.spec.cedar = permit("x", &format!("{BINS} && {condition}"));
        world.policies[0].object.spec.tests.clear();
        let (text, _) = near_miss(&world, CARE, json("{}"));
        text.strip_prefix("chorley-council/lv-01#x: ").map(str::to_owned)
    };
    for (condition, text) in [
        ("context.explicitConsent", "context.explicitConsent is false, and has to be true"),
        ("!context.legitimateRelationship", "context.legitimateRelationship is true, and has to be false"),
        ("context.region == \"FR\"", "context.region is `GB`, and has to be `FR`"),
        (
            "context.identifiability > 2",
            "context.identifiability is `Pseudonymised`, and has to be at least `Identifiable`",
        ),
        (
            "3 <= context.identifiability",
            "context.identifiability is `Pseudonymised`, and has to be at least `Identifiable`",
        ),
        ("context.caseReference != \"\"", "context.caseReference is left out, and has to be given"),
        (
            "[\"A\", \"B\"].contains(context.caseReference)",
            "context.caseReference is left out, and has to be one of `A`, `B`",
        ),
        ("context.minCellCount >= 8", "context.minCellCount is 0, and has to be at least 8"),
        (
            "(context.breakGlass || context.explicitConsent)",
            "context.breakGlass is false, and has to be true, or context.explicitConsent (now false) true",
        ),
        (
            "(if context.breakGlass then true else false)",
            "`if context.breakGlass then true else false` is false, and has to be true",
        ),
    ] {
        let seen = nearest(condition);
        // what is said of something other than the request lies further off than another role
        if condition.starts_with("(if") {
            assert_eq!(seen, None, "{condition}");
        } else {
            assert_eq!(seen.as_deref(), Some(text), "{condition}");
        }
    }
}

#[test]
fn a_permit_for_another_agreement_is_not_close() {
    let mut world = only(&SIGNED, &["assisted-bins", "ward-activity"], &["lv-01"]);
    let other = r#"context.agreement == Concordat::Agreement::"uh-dorset/ward-activity""#;
    world.policies[0].object.spec.cedar = permit("x", other);
    world.policies[0].object.spec.tests.clear();
    let (text, _) = near_miss(&world, CARE, json("{}"));
    assert_eq!(
        text,
        "agreement-permit: context.roles is `CareCoordinator`, and has to be one of `Clinician`"
    );
}

#[test]
fn a_guardrail_that_denies_says_what_would_have_kept_it_silent() {
    assert_eq!(
        near_miss(&SIGNED, "NF-15: section 251 without opt-outs", json("{}")),
        (
            "NF-15: context.optOutsApplied is false, and has to be true, or context.explicitConsent (now false) true, \
             or context.identifiability (now `Identifiable`) at most `Pseudonymised`"
                .to_owned(),
            ASKER.to_owned()
        )
    );
    assert_eq!(
        near_miss(&SIGNED, "NF-12: a purpose that is not listed", json("{}")).0.split(" is ").next(),
        Some("NF-12: context.purpose")
    );
    assert_eq!(
        near_miss(&SIGNED, "LV-12: analysts do not get small counts", json("{}")).0,
        "NF-16: context.minCellCount is 5, and has to be at least 8, or at most 0, or context.identifiability (now \
         `AggregateSuppressed`) anything but `AggregateSuppressed`"
    );
}

/// Changes a request as a step says, where it says something of the request; none where it is about the world.
fn applied(request: &AccessRequest, clause: &str, wants: &str) -> Option<AccessRequest> {
    let name = clause.strip_prefix("context.")?;
    let mut value = serde_json::to_value(request).unwrap();
    let context = &mut value["context"];
    let word = wants.split('`').nth(1);
    match name {
        "roles" => {
            let mut roles = request.context.roles.clone();
            roles.push(word?.to_owned());
            context["roles"] = roles.into();
        }
        "minCellCount" => {
            context[name] = wants.strip_prefix("at least ")?.parse::<i64>().unwrap().into();
        }
        "caseReference" => context[name] = word.unwrap_or("a case").into(),
        "purpose" | "identifiability" | "region" | "onwardTo" => context[name] = word?.into(),
        _ => context[name] = (wants == "true").into(),
    }
    Some(serde_json::from_value(value).unwrap())
}

#[test]
fn what_an_explanation_says_of_the_request_allows_it_once_done() {
    let (mut known, mut whole) = (0, 0);
    let judgement = Judgement::new(&SIGNED, at());
    for case in access_cases() {
        let answer = judgement.explain(&case.request).answer;
        let Some(near) = answer.context.near_miss else {
            assert!(answer.decision, "{}: a deny is explained", case.name);
            continue;
        };
        if !near.obstacles.is_empty() {
            assert!(near.then.is_empty() && near.or.is_empty(), "{}", case.name);
            continue;
        }
        known += 1;
        let first = std::iter::once((near.clause.clone(), near.wants.clone()));
        let main: Vec<_> =
            first.chain(near.then.iter().map(|step| (step.clause.clone(), step.wants.clone()))).collect();
        let others =
            near.or.iter().map(|way| way.iter().map(|it| (it.clause.clone(), it.wants.clone())).collect());
        for way in std::iter::once(main).chain(others) {
            let change =
                |request: AccessRequest, (clause, wants): &(String, String)| applied(&request, clause, wants);
            let Some(changed) = way.iter().try_fold(case.request.clone(), change) else { continue };
            whole += 1;
            let answer = judgement.decide(&changed).answer;
            assert!(answer.decision, "{}: {way:?} and still {:?}", case.name, answer.context);
        }
    }
    assert!(known > 20 && whole > 20, "{known} explanations, {whole} of them about the request alone");
}

#[test]
fn a_lapsed_toolkit_is_renewed_by_the_organisation() {
    let case = access_cases().into_iter().find(|it| it.name.starts_with("NF-13")).unwrap();
    let judgement = Judgement::new(&SIGNED, at());
    let near = judgement.explain(&case.request).answer.context.near_miss.unwrap();
    let ways: Vec<(String, String)> = std::iter::once((near.clause, near.who))
        .chain(near.or.into_iter().flatten().map(|step| (step.clause, step.who)))
        .collect();
    let toolkit = ways.iter().find(|(clause, _)| clause.starts_with("assurance.dspt of ")).unwrap();
    assert!(toolkit.1.starts_with("the organisation `"), "{toolkit:?}");
}

#[test]
fn each_of_several_obstacles_is_named_with_who_can_take_it_away() {
    let case = access_cases().into_iter().find(|it| it.name == CARE).unwrap();
    let mut world = SIGNED.clone();
    for agreement in &mut world.agreements {
        let lists = |it: &concordat_api::Purpose| {
            it.products.iter().any(|product| product.to_string() == case.request.resource.id)
        };
        if agreement.object.spec.purposes.iter().any(lists) {
            let mut object = (*agreement.object).clone();
            object.spec.suspend = true;
            agreement.object = object.into();
        }
    }
    let mut request = case.request;
    request.context.legitimate_relationship = false;
    let near = Judgement::new(&world, at()).explain(&request).answer.context.near_miss.unwrap();
    assert!(near.clause.starts_with("`spec.suspend` of "), "{near:?}");
    let then: Vec<&str> = near.then.iter().map(|step| step.clause.as_str()).collect();
    assert_eq!(then, ["context.legitimateRelationship"], "{near:?}");
}

#[test]
fn a_misspelt_name_of_a_request_says_which_was_meant() {
    let judgement = Judgement::new(&SIGNED, at());
    let case = access_cases().into_iter().find(|it| it.name == CARE).unwrap();
    let reason = |change: fn(&mut AccessRequest)| {
        let mut request = case.request.clone();
        change(&mut request);
        judgement.explain(&request).answer.context.reason
    };
    let onward = |org: &str| {
        let mut request = case.request.clone();
        request.action.name = DataAction::ShareOnward.as_str().to_owned();
        request.context.onward_to = Some(org.to_owned());
        judgement.explain(&request).answer.context.reason
    };
    for (reason, meant) in [
        (reason(|it| it.context.purpose = Some("Proactivecare".to_owned())), "`ProactiveCare`"),
        (reason(|it| it.action.name = "readrecord".to_owned()), "`readRecord`"),
        (reason(|it| it.resource.id.push('x')), "did you mean `"),
        (reason(|it| it.subject.id.push('x')), "did you mean `"),
        (reason(|it| it.context.roles = vec!["CareCordinator".to_owned()]), "`CareCoordinator`"),
        (onward("uh-dorsett"), "`uh-dorset`"),
    ] {
        assert!(reason.contains("did you mean") && reason.contains(meant), "{reason}");
    }
}
