//! Frameworks beside each other, and exceptions from their rules.

use concordat_api::{
    DecisionTier, FrameworkException, FrameworkExceptionSpec, ObjectRef, Phase, PolicyFramework, Sector,
};
use concordat_core::evaluate::Judgement;
use concordat_core::finding::{Code, Finding, ObjectKey};
use concordat_core::policy::{built_in_spec, load_framework};
use concordat_core::snapshot::{Snapshot, Sourced};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::Value;

use super::world::{AT, BINS, SIGNED, WRITTEN, at, only, permit, said, signed};

/// A stricter version: larger cells, shorter terms, no extracts.
fn stricter() -> PolicyFramework {
    let mut spec = built_in_spec().clone();
    spec.version = "1.1.0".to_owned();
    spec.limits.min_cell = 10;
    spec.limits.term_months = 12;
    spec.limits.local_policy_review_months = 3;
    let rule = "@id(\"NF-30\") @tier(\"Ceiling\") @reason(\"nothing is extracted\") @source(\"a test\")\n\
                forbid (principal, action == Concordat::Action::\"extract\", resource);\n\
                @id(\"NF-31\") @tier(\"Gate\") @reason(\"a test of one's own words\") @source(\"a test\")\n\
                @help(\"write a longer title\") @field(\"spec.title\")\n\
                forbid (principal, action == Concordat::Action::\"activateAgreement\", resource)\n\
                when { resource.retention.days > 700 };";
    spec.policies.insert("more.cedar".to_owned(), rule.to_owned());
    PolicyFramework::new("england-1.1.0", spec)
}

fn insights() -> ObjectRef {
    ObjectRef { namespace: "derby-and-derbyshire-icb".to_owned(), name: "insights".to_owned() }
}

/// The world, where one agreement has moved to a framework and `change` has been made to it.
fn moved(
    framework: PolicyFramework,
    change: impl Fn(&mut concordat_api::DataSharingAgreementSpec),
) -> Snapshot {
    let mut snapshot = only(&WRITTEN, &["assisted-bins", "insights", "mdt"], &["lv-01", "lv-04"]);
    let agreement = snapshot.agreements.iter_mut().find(|it| it.object.name_any() == "insights").unwrap();
    agreement.object.spec.framework.name.clone_from(&framework.spec.name);
    agreement.object.spec.framework.version.clone_from(&framework.spec.version);
    change(&mut agreement.object.spec);
    snapshot.frameworks.push(Sourced::live(framework));
    signed(snapshot)
}

fn ask(judgement: &Judgement, resource: &str, count: i64) -> (DecisionTier, Vec<String>) {
    let org = resource.split_once('/').unwrap().0;
    let request = serde_json::from_value(serde_json::json!({
        "subject": { "type": "OrgFunction", "id": format!("{org}/main") },
        "action": { "name": "queryAggregate" },
        "resource": { "type": "DataProduct", "id": resource },
        "context": { "purpose": "Planning", "identifiability": "AggregateSuppressed", "roles": ["Analyst"],
                     "minCellCount": count, "region": "GB" },
    }))
    .unwrap();
    let context = judgement.decide(&request).answer.context;
    (context.tier, context.rules)
}

#[test]
fn each_agreement_is_judged_by_the_framework_that_it_names() {
    let short = |spec: &mut concordat_api::DataSharingAgreementSpec| {
        spec.term.end = "2027-03-31T00:00:00Z".parse().unwrap();
        spec.term.review_by = "2027-03-30T00:00:00Z".parse().unwrap();
    };
    let judgement = Judgement::new(&moved(stricter(), short), at());
    let phase = |reference: &ObjectRef| judgement.assessments.agreements[reference].phase;
    assert_eq!(phase(&insights()), Phase::Active, "{:?}", judgement.findings);
    let library = "derby-and-derbyshire-icb/experience-library";
    assert_eq!(ask(&judgement, library, 9), (DecisionTier::Ceiling, vec!["NF-16".to_owned()]));
    // the others stay where they are: a term of 24 months is none of 1.1.0's business
    let before =
        Judgement::new(&only(&SIGNED, &["assisted-bins", "insights", "mdt"], &["lv-01", "lv-04"]), at());
    for (reference, assessment) in &before.assessments.agreements {
        assert_eq!((phase(reference), assessment.phase), (Phase::Active, Phase::Active), "{reference}");
    }
    assert_eq!(ask(&before, library, 9).0, DecisionTier::Agreement, "1.0.0 hides what is below 8");
    assert_eq!(
        ask(&judgement, "whittington-health/mdt-activity", 9).0,
        ask(&before, "whittington-health/mdt-activity", 9).0
    );
    // and with the term that 1.0.0 allows, 1.1.0 refuses it
    let judgement = Judgement::new(&moved(stricter(), |_| ()), at());
    let assessment = &judgement.assessments.agreements[&insights()];
    assert_eq!(assessment.phase, Phase::Refused);
    assert_eq!(assessment.broken.iter().map(|it| it.rule.as_str()).collect::<Vec<_>>(), ["NF-02"]);
}

#[test]
fn what_would_help_is_in_the_words_of_the_framework_that_judges() {
    let long = |spec: &mut concordat_api::DataSharingAgreementSpec| {
        spec.term.end = "2027-03-31T00:00:00Z".parse().unwrap();
        spec.retention.days = 800;
    };
    let judgement = Judgement::new(&moved(stricter(), long), at());
    let found: Vec<&Finding> = judgement.findings.iter().filter(|it| it.message.starts_with("NF-")).collect();
    let said: Vec<_> = found
        .iter()
        .filter(|it| it.origin.object.as_ref().is_some_and(|key| key.name == "insights"))
        .map(|it| (it.message.as_str(), it.help.as_deref(), it.origin.field.as_deref()))
        .collect();
    // a rule that reads nothing of a party is about the agreement, also where it does not say so
    let fixed = |message| (message, Some("write a longer title"), Some("spec.title"));
    assert_eq!(said, [fixed("NF-31: a test of one's own words; here `retention.days` is 800")]);
}

#[test]
fn a_local_policy_is_held_to_the_frameworks_in_use_in_its_footprint_and_no_others() {
    let judgement = Judgement::new(&moved(stricter(), |_| ()), at());
    let codes = |name: &str| -> Vec<String> {
        let policy = SIGNED.policies.iter().find(|policy| policy.object.name_any() == name).unwrap();
        said(&judgement, &policy.key())
            .into_iter()
            .map(|(code, message)| format!("{code} {message}"))
            .collect()
    };
    // its review in April is more than the three months ahead that 1.1.0 allows
    assert_eq!(codes("lv-04"), ["CON706 the review is more than 3 months ahead"]);
    assert_eq!(codes("lv-01"), Vec::<String>::new());
    // the ids of every framework are national
    let mut snapshot = moved(stricter(), |_| ());
    let policy = snapshot.policies.iter_mut().find(|policy| policy.object.name_any() == "lv-01").unwrap();
    policy.object.spec.cedar = permit("NF-30", BINS);
    policy.object.spec.tests.clear();
    let key = policy.key();
    assert_eq!(said(&Judgement::new(&snapshot, at()), &key)[0].0, "CON707");
}

#[test]
fn a_framework_before_its_time_or_past_it_refuses_every_agreement_that_names_it() {
    let date = |text: &str| text.parse::<Timestamp>().unwrap();
    let phase = |effective: &str, retires: Option<&str>| {
        let mut framework = stricter();
        framework.spec.limits = built_in_spec().limits.clone();
        framework.spec.effective_from = date(effective);
        framework.spec.retires_on = retires.map(date);
        let judgement = Judgement::new(&moved(framework, |_| ()), at());
        let assessment = &judgement.assessments.agreements[&insights()];
        let codes: Vec<&str> = judgement
            .findings
            .iter()
            .filter(|it| it.origin.object.as_ref().is_some_and(|key| key.name == "insights"))
            .map(|it| it.code.as_str())
            .collect();
        (assessment.phase, codes, assessment.next)
    };
    let refused = |next| (Phase::Refused, vec!["CON409"], next);
    assert_eq!(phase("2026-11-22T09:00:01Z", None), refused(Some(date("2026-11-22T09:00:01Z"))));
    let review = Some(date("2027-04-01T00:00:00Z"));
    assert_eq!(phase(AT, None), (Phase::Active, vec![], review));
    assert_eq!(phase("2026-01-01T00:00:00Z", Some(AT)), refused(review));
    let (active, codes, next) = phase("2026-01-01T00:00:00Z", Some("2026-11-22T09:00:01Z"));
    assert_eq!((active, codes, next), (Phase::Active, vec![], Some(date("2026-11-22T09:00:01Z"))));
}

#[test]
fn another_text_under_the_same_name_and_version_is_refused_with_all_that_names_it() {
    let mut framework = PolicyFramework::new("england-1.0.0", built_in_spec().clone());
    framework.spec.limits.min_cell = 1;
    let judgement = Judgement::new(&moved(framework, |_| ()), at());
    assert!(judgement.findings.iter().any(|finding| finding.code.as_str() == "CON603"));
    assert!(judgement.model.frameworks.is_empty());
    assert!(judgement.assessments.agreements.values().all(|assessment| !assessment.in_force()));
}

#[test]
fn a_framework_whose_policies_go_past_the_bounds_is_refused_and_nothing_aborts() {
    let deep = format!("{}true{}", "(".repeat(200), ")".repeat(200));
    let long = vec!["context.breakGlass"; 500].join(" && ");
    let ifs = format!("{}true", "if true then true else ".repeat(2_000));
    for condition in [deep, long, ifs, "\u{0}".to_owned(), "\u{202e}".to_owned()] {
        let mut framework = stricter();
        let text = permit("NF-32", &condition).replace("permit", "forbid");
        framework.spec.policies.insert("bad.cedar".to_owned(), text);
        let judgement = Judgement::new(&moved(framework, |_| ()), at());
        let key = ObjectKey::new("PolicyFramework", None, "england-1.1.0");
        let said = said(&judgement, &key);
        assert!(!said.is_empty() && !judgement.model.accepted(&key), "{said:?}");
        assert_ne!(judgement.assessments.agreements.get(&insights()).map(|it| it.phase), Some(Phase::Active));
    }
}

#[test]
fn an_exception_lifts_its_rule_in_its_place_between_its_dates_and_nowhere_else() {
    let outcome = |change: &dyn Fn(&mut FrameworkExceptionSpec)| {
        let mut snapshot = only(&WRITTEN, &["insights"], &[]);
        let agreement = &mut snapshot.agreements[0];
        agreement.object.spec.outcome_measures.clear();
        let mut exception = snapshot.exceptions[0].clone();
        let FrameworkException { metadata, spec, status: _ } = &mut *exception.object;
        metadata.name = Some("derby-measures".to_owned());
        spec.rule = "NF-10".to_owned();
        spec.footprint = "derby-and-derbyshire".to_owned();
        spec.approved_by = "NHS England, Director of Privacy".to_owned();
        change(spec);
        snapshot.exceptions.push(exception);
        let judgement = Judgement::new(&signed(snapshot), at());
        let key = ObjectKey::new("FrameworkException", None, "derby-measures");
        let codes: Vec<&str> = said(&judgement, &key).iter().map(|(code, _)| *code).collect();
        (judgement.assessments.agreements[&insights()].phase, codes)
    };
    let date = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(outcome(&|_| ()), (Phase::Active, vec![]));
    assert_eq!(outcome(&|it| it.until = at()), (Phase::Refused, vec![]), "it has ended");
    assert_eq!(outcome(&|it| it.until = date("2026-11-22T09:00:01Z")), (Phase::Active, vec![]));
    assert_eq!(outcome(&|it| it.from = date("2026-11-22T09:00:01Z")), (Phase::Refused, vec![]), "not yet");
    assert_eq!(outcome(&|it| it.from = at()), (Phase::Active, vec![]));
    assert_eq!(outcome(&|it| it.footprint = "dorset".to_owned()), (Phase::Refused, vec![]), "elsewhere");
    assert_eq!(outcome(&|it| it.footprint = "nowhere".to_owned()), (Phase::Refused, vec!["CON104"]));
    for rule in
        ["NF-05", "NF-12", "NF-12b", "NF-14a", "NF-19c", "NF-21", "NF-01", "agreement-permit", "NF-99"]
    {
        assert_eq!(outcome(&|it| it.rule = rule.to_owned()), (Phase::Refused, vec!["CON604"]), "{rule}");
    }
    for own in ["derby-and-derbyshire-icb", "Joined-Up-Care-Alliance"] {
        assert_eq!(outcome(&|it| it.approved_by = own.to_owned()), (Phase::Refused, vec!["CON604"]), "{own}");
    }
}

#[test]
fn an_exception_without_an_end_is_refused_by_its_schema() {
    let mut value = serde_json::to_value(&WRITTEN.exceptions[0].object).unwrap();
    let missing =
        |value: &Value| concordat_core::validate::shape::problems("FrameworkException", value).len();
    assert_eq!(missing(&value), 0);
    value["spec"].as_object_mut().unwrap().remove("until");
    assert_eq!(missing(&value), 1);
}

#[test]
fn a_place_approves_no_exception_of_its_own_and_a_part_of_a_name_is_no_name() {
    let refused = |approver: &str| {
        let mut snapshot = only(&WRITTEN, &["assisted-bins"], &[]);
        let mut exception = WRITTEN.exceptions[0].object.clone();
        exception.spec.approved_by = approver.to_owned();
        let mut own = WRITTEN.orgs[0].object.clone();
        own.metadata.name = Some("land".to_owned());
        own.spec.display_name = "England".to_owned();
        own.spec.home_namespace = "land".to_owned();
        own.spec.footprints = vec![exception.spec.footprint.clone()];
        own.spec.sector = Sector::Nhs;
        own.spec.functions = Vec::new();
        snapshot.exceptions = vec![Sourced { object: exception, source: Default::default() }];
        snapshot.orgs.push(Sourced { object: own, source: Default::default() });
        let findings = Judgement::new(&snapshot, at()).findings;
        findings.iter().any(|finding| finding.code == Code::ExceptionRefused)
    };
    for own in ["England", "land", " england "] {
        assert!(refused(own), "{own}");
    }
    for other in ["NHS England", "England, national board", "Land registry"] {
        assert!(!refused(other), "{other}");
    }
}

#[test]
fn a_slip_in_an_annotation_is_refused_and_a_rule_that_did_not_load_is_not_called_absent() {
    let problems = |from: &str, to: &str| {
        let mut spec = built_in_spec().clone();
        let text = spec.policies.get_mut("guardrails.cedar").unwrap();
        assert!(text.contains(from), "{from}");
        *text = text.replacen(from, to, 1);
        let problems = load_framework(&spec).err().unwrap_or_default();
        problems.into_iter().map(|it| format!("{}; {}", it.message, it.help.unwrap_or_default())).collect()
    };
    let slip: Vec<String> = problems("@lift(\"never\")", "@lifts(\"never\")");
    assert!(
        slip.len() == 1 && slip[0].ends_with("has `@lifts`, which is not known; did you mean `@lift`?"),
        "{slip:?}"
    );
    assert_eq!(problems("@lift(\"never\")", "@lift(\"never\") @author(\"a board\")"), Vec::<String>::new());
    let broken: Vec<String> = problems("@tier(", "@@tier(");
    assert!(!broken.is_empty() && broken.iter().all(|it| !it.contains("exceptable")), "{broken:?}");
}
