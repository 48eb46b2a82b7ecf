//! A second framework with other ids, words and rules than `england`: whatever holds for one holds for any.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use concordat_api::{
    DataSharingAgreementSpec, DecisionTier, FrameworkException, ObjectRef, OrgState, PartyRole, Phase,
    PolicyFramework, PolicyFrameworkSpec, RecipientRef,
};
use concordat_core::evaluate::Judgement;
use concordat_core::finding::Finding;
use concordat_core::plan::PlannedObject;
use concordat_core::policy::{Assessment, load_framework};
use concordat_core::snapshot::{Snapshot, Sourced};
use concordat_source::files;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use super::world::{at, sign, signed};

fn written() -> Snapshot {
    let (snapshot, findings, _) = files::read(&[PathBuf::from("tests/framework/caledonia")]);
    assert_eq!(findings, Vec::<Finding>::new());
    snapshot
}

fn ward_round() -> ObjectRef {
    ObjectRef { namespace: "lochside".to_owned(), name: "ward-round".to_owned() }
}

/// The world with a change, signed by all.
fn changed(change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    let mut snapshot = written();
    change(&mut snapshot);
    signed(snapshot)
}

fn spec(snapshot: &mut Snapshot) -> &mut DataSharingAgreementSpec {
    &mut snapshot.agreements[0].object.spec
}

fn framework() -> PolicyFrameworkSpec {
    written().frameworks[0].object.spec.clone()
}

fn assessed(judgement: &Judgement) -> &Assessment {
    let found = judgement.assessments.agreements.get(&ward_round());
    found.unwrap_or_else(|| panic!("{:#?}", judgement.findings))
}

/// What is open: controller, recipient, purpose, until when.
fn open(snapshot: &Snapshot) -> Vec<String> {
    let judgement = Judgement::new(snapshot, at());
    let flows = judgement.assessments.agreements.values().flat_map(|it| &it.flows);
    let purposes = flows.flat_map(|flow| {
        let path = format!("{} {}", flow.product.namespace, flow.recipient.org);
        flow.purposes.iter().map(move |it| format!("{path} {} {}", it.code, it.not_after))
    });
    let mut open: Vec<String> = purposes.collect();
    open.sort();
    open
}

fn phase_and_rules(snapshot: &Snapshot) -> (Phase, Vec<String>) {
    let judgement = Judgement::new(snapshot, at());
    let assessment = assessed(&judgement);
    (assessment.phase, assessment.broken.iter().map(|it| it.rule.clone()).collect())
}

#[test]
fn it_opens_what_it_lists_until_the_first_date_that_a_rule_of_its_own_reads() {
    let world = changed(|_| ());
    let judgement = Judgement::new(&world, at());
    assert_eq!(
        judgement.findings.iter().filter(|it| it.is_error()).collect::<Vec<_>>(),
        Vec::<&Finding>::new()
    );
    let until = "2027-03-01T00:00:00Z";
    assert_eq!(
        open(&world),
        [format!("lochside brae Bedside {until}"), format!("lochside brae Tally {until}")],
        "the mark of the recipient comes first"
    );
    let later = changed(|world| {
        for org in &mut world.orgs {
            let assurance = org.object.spec.assurance.as_mut().unwrap();
            assurance.equivalent.as_mut().unwrap().valid_until = "2029-01-01T00:00:00Z".parse().unwrap();
        }
    });
    assert!(open(&later)[0].ends_with("2027-04-30T00:00:00Z"), "then the review: {:?}", open(&later));
}

#[test]
fn each_rule_refuses_what_it_is_about_and_nothing_else() {
    let refused = |rule: &str| (Phase::Refused, vec![rule.to_owned()]);
    let late = changed(|world| spec(world).term.review_by = "2027-10-01T00:00:00Z".parse().unwrap());
    assert_eq!(phase_and_rules(&late), refused("C7-1"));
    let unled = changed(|world| world.orgs[1].object.spec.ico.as_mut().unwrap().valid_until = Some(at()));
    assert_eq!(phase_and_rules(&unled), refused("C7-2"));
    let baseless = changed(|world| spec(world).parties[1].article6 = None);
    assert_eq!(phase_and_rules(&baseless), refused("C7-3"));
    let named = changed(|world| {
        let purposes = &mut spec(world).purposes;
        purposes[1].max_identifiability = purposes[0].max_identifiability;
    });
    assert_eq!(phase_and_rules(&named), refused("C7-4"));
    let supplier = changed(|world| {
        let mut row = spec(world).parties[1].clone();
        row.org = "glen".to_owned();
        spec(world).parties.push(row);
    });
    assert_eq!(phase_and_rules(&supplier), refused("C7-5"));
    let sold = changed(|world| spec(world).purposes[1].code = "Hawking".to_owned());
    assert_eq!(open(&sold), ["lochside brae Bedside 2027-03-01T00:00:00Z"]);
}

#[test]
fn an_exception_serves_those_who_lie_in_its_place() {
    let exception = |rule: &str, place: &str| -> Sourced<FrameworkException> {
        let spec = json!({ "rule": rule, "footprint": place, "approvedBy": "the board", "reason": "a trial",
            "from": "2026-11-01T00:00:00Z", "until": "2027-02-01T00:00:00Z", "evaluationDue": "2027-02-01T00:00:00Z" });
        Sourced::live(FrameworkException::new("trial", serde_json::from_value(spec).unwrap()))
    };
    let lapsed = |place: &'static str| {
        changed(move |world| {
            world.exceptions.push(exception("C7-12", "highland"));
            let brae = &mut world.orgs[1].object.spec;
            brae.footprints = vec![place.to_owned()];
            brae.assurance.as_mut().unwrap().equivalent.as_mut().unwrap().valid_until = at();
        })
    };
    let until = "2027-02-01T00:00:00Z";
    assert_eq!(
        open(&lapsed("highland")),
        [format!("lochside brae Bedside {until}"), format!("lochside brae Tally {until}")]
    );
    assert_eq!(open(&lapsed("lowland")), Vec::<String>::new(), "naming the place is not lying in it");
    // a rule of the agreement: for all who have signed, and not before anybody has
    let late = |place: &'static str| {
        move |world: &mut Snapshot| {
            world.exceptions.push(exception("C7-1", "highland"));
            world.orgs[1].object.spec.footprints = vec![place.to_owned()];
            spec(world).term.review_by = "2027-10-01T00:00:00Z".parse().unwrap();
        }
    };
    assert_eq!(phase_and_rules(&changed(late("highland"))).0, Phase::Active);
    assert_eq!(phase_and_rules(&changed(late("lowland"))).0, Phase::Refused);
    let mut unsigned = written();
    late("highland")(&mut unsigned);
    assert_eq!(phase_and_rules(&unsigned).0, Phase::Refused);
}

#[test]
fn with_accession_one_member_harms_itself_alone() {
    let joined = |change: &dyn Fn(&mut Snapshot)| {
        changed(|world| {
            let mut glen = world.products[0].clone();
            glen.object.metadata.namespace = Some("glen".to_owned());
            glen.object.spec.controller = "glen".to_owned();
            world.products.push(glen);
            let spec = spec(world);
            spec.accession = true;
            let mut row = spec.parties[0].clone();
            row.org = "glen".to_owned();
            spec.parties.push(row);
            for purpose in &mut spec.purposes {
                let mut product = purpose.products[0].clone();
                product.namespace = "glen".to_owned();
                purpose.products.push(product);
            }
            change(world);
        })
    };
    let of = |snapshot: &Snapshot, controller: &str| -> Vec<String> {
        open(snapshot).into_iter().filter(|it| it.starts_with(controller)).collect()
    };
    let whole = joined(&|_| ());
    let (ours, theirs) = (of(&whole, "lochside"), of(&whole, "glen"));
    assert_eq!((ours.len(), theirs.len()), (2, 2));
    let glen =
        |world: &mut Snapshot| world.orgs.iter().position(|it| it.object.name_any() == "glen").unwrap();
    let harms: [(&str, &dyn Fn(&mut Snapshot)); 6] = [
        ("product gone", &|world| drop(world.products.pop())),
        ("organisation gone", &|world| {
            let index = glen(world);
            drop(world.orgs.remove(index));
        }),
        ("dissolved", &|world| {
            let index = glen(world);
            world.orgs[index].object.spec.state = OrgState::Dissolved;
        }),
        ("lapsed", &|world| {
            let index = glen(world);
            world.orgs[index].object.spec.ico.as_mut().unwrap().valid_until = Some(at());
        }),
        ("without a basis", &|world| spec(world).parties.last_mut().unwrap().article6 = None),
        ("a product under another's control", &|world| {
            world.products.last_mut().unwrap().object.spec.controller = "brae".to_owned();
        }),
    ];
    for (what, harm) in harms {
        let mut world = written();
        // signed while all was well, except for what is signed itself
        let signed_before = whole.signatures.clone();
        world.clone_from(&whole);
        world.signatures = signed_before;
        harm(&mut world);
        assert_eq!(of(&world, "lochside"), ours, "{what}");
        assert_eq!(of(&world, "glen"), Vec::<String>::new(), "{what}");
        // and whoever wants to leave can
        for party in ["lochside", "brae"] {
            assert_eq!(sign(&world, &ward_round(), party).object.spec.party, party, "{what}");
        }
    }
    // a purpose that one controller's product may not serve is closed for that one
    let flags = joined(&|world| {
        world.products[0].object.spec.special_category = false;
        let level = spec(world).purposes[0].max_identifiability;
        spec(world).purposes[1].max_identifiability = level;
    });
    assert_eq!((of(&flags, "lochside").len(), of(&flags, "glen").len()), (2, 1), "{:?}", open(&flags));
}

#[test]
fn the_rows_of_whoever_is_no_more_are_asked_of_nobody() {
    let world = changed(|world| {
        let mut row = spec(world).parties[1].clone();
        (row.org, row.role, row.article6) = ("glen".to_owned(), PartyRole::Processor, None);
        spec(world).parties.push(row);
        world.orgs[2].object.spec.state = OrgState::Dissolved;
    });
    assert_eq!(phase_and_rules(&world), (Phase::Active, vec![]));
}

#[test]
fn taking_anything_away_opens_nothing_and_order_changes_nothing() {
    let world = changed(|_| ());
    let paths = |snapshot: &Snapshot| -> BTreeSet<String> {
        open(snapshot).iter().map(|it| it.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let whole = paths(&world);
    assert_eq!(whole.len(), 2);
    let mut without: Vec<Snapshot> = Vec::new();
    macro_rules! each {
        ($list:ident) => {
            for index in 0..world.$list.len() {
                let mut less = world.clone();
                less.$list.remove(index);
                without.push(less);
            }
        };
    }
    each!(signatures);
    each!(orgs);
    each!(products);
    each!(footprints);
    each!(frameworks);
    each!(agreements);
    let mut closed = 0;
    for less in &without {
        assert!(paths(less).is_subset(&whole));
        closed += usize::from(paths(less).is_empty());
    }
    assert!(closed >= 6, "{closed}");
    let mut turned = world.clone();
    turned.orgs.reverse();
    turned.signatures.reverse();
    turned.footprints.reverse();
    assert_eq!(open(&turned), open(&world));
}

fn ask(
    world: &Snapshot,
    purpose: &str,
    action: &str,
    level: &str,
    relationship: bool,
) -> (bool, DecisionTier, String) {
    let request = serde_json::from_value(json!({
        "subject": { "type": "OrgFunction", "id": "brae/ward" },
        "action": { "name": action },
        "resource": { "type": "DataProduct", "id": "lochside/case-notes" },
        "context": { "purpose": purpose, "identifiability": level, "roles": ["Howdie"],
                     "legitimateRelationship": relationship, "region": "GB" },
    }))
    .unwrap();
    let answer = Judgement::new(world, at()).decide(&request).answer;
    (answer.decision, answer.context.tier, answer.context.rule.unwrap_or_default())
}

#[test]
fn its_floor_stands_and_its_ceiling_holds() {
    let world = changed(|_| ());
    let floor = (true, DecisionTier::Floor, "C7-floor".to_owned());
    assert_eq!(ask(&world, "Bedside", "readRecord", "Identifiable", true), floor);
    let agreed = (true, DecisionTier::Agreement, "C7-terms".to_owned());
    assert_eq!(ask(&world, "Bedside", "readRecord", "Identifiable", false), agreed);
    let ceiling = (false, DecisionTier::Ceiling, "C7-10".to_owned());
    assert_eq!(ask(&world, "Tally", "queryAggregate", "Identifiable", false), ceiling);
    assert_eq!(ask(&world, "Tally", "readRecord", "Identifiable", true), ceiling);
}

fn problems(change: impl Fn(&mut PolicyFrameworkSpec)) -> Vec<(String, bool)> {
    let mut spec = framework();
    change(&mut spec);
    let found = load_framework(&spec).err().unwrap_or_default();
    found.into_iter().map(|problem| (problem.message, problem.help.is_some())).collect()
}

/// A rule added to the framework, and the start of what is wrong with it.
fn refused(annotations: &str, rule: &str) -> Vec<String> {
    let text = format!("@id(\"C7-99\") @reason(\"a test\") {annotations}\n{rule};");
    let found = problems(|spec| drop(spec.policies.insert("more.cedar".to_owned(), text.clone())));
    found
        .into_iter()
        .map(|(message, has_help)| {
            assert!(has_help, "{message}");
            let (place, said) = message.split_once(": rule `C7-99` ").unwrap_or_else(|| panic!("{message}"));
            assert_eq!(place, "`more.cedar:1:1`");
            said.to_owned()
        })
        .collect()
}

#[test]
fn a_rule_that_reads_what_its_question_does_not_have_is_refused_by_file_rule_and_fix() {
    let gate = |asked: &str, condition: &str| {
        let rule = format!(
            "forbid (principal, action == Concordat::Action::\"activateAgreement\", resource) when {{ {condition} }}"
        );
        refused(&format!("@tier(\"Gate\") {asked}"), &rule)
    };
    let flow = |condition: &str| {
        let rule = format!(
            "forbid (principal, action in Concordat::Action::\"useData\", resource) when {{ {condition} }}"
        );
        refused("@tier(\"Ceiling\") @asked(\"flow\")", &rule)
    };
    let lacks = |path: &str| vec![format!("reads `{path}`, which its question does not have")];
    assert_eq!(gate("@asked(\"agreement\")", "principal.publicAuthority"), lacks("principal"));
    assert_eq!(gate("@asked(\"agreement\")", "context.purpose == \"Tally\""), lacks("context.purpose"));
    assert_eq!(gate("@asked(\"party\")", "context.role == \"Recipient\""), lacks("context.role"));
    assert_eq!(gate("@asked(\"row\")", "context.purposeData.personalData"), lacks("context.purposeData"));
    assert_eq!(gate("@asked(\"purpose\")", "context.article6 == \"\""), lacks("context.article6"));
    assert_eq!(gate("@asked(\"purpose\")", "principal in resource.footprint"), lacks("principal"));
    assert_eq!(flow("context.explicitConsent"), lacks("context.explicitConsent"));
    assert_eq!(flow("context.weekday == 7"), lacks("context.weekday"));
    assert_eq!(flow("context has onwardTo"), lacks("context.onwardTo"));
    // and those that read what there is are loaded
    let none = Vec::<String>::new();
    assert_eq!(gate("", "context.purpose == \"Tally\" && principal.publicAuthority"), none);
    assert_eq!(gate("@asked(\"party\")", "principal.publicAuthority && context.data.childrensData"), none);
    assert_eq!(flow("context.region != \"GB\" && resource.controller.sector == \"Police\""), none);
}

#[test]
fn annotations_that_are_not_known_or_do_not_fit_are_refused() {
    let gate = "forbid (principal, action == Concordat::Action::\"activateAgreement\", resource)";
    let access = "forbid (principal, action in Concordat::Action::\"useData\", resource)";
    let first =
        |annotations: &str, rule: &str| refused(annotations, rule).into_iter().next().unwrap_or_default();
    assert_eq!(
        first("@tier(\"Gate\") @asked(\"everyone\")", gate),
        "has `@asked(\"everyone\")`, which is not known"
    );
    assert_eq!(
        first("@tier(\"Gate\") @asked(\"party\") @accession(\"keepsIn\")", gate),
        "has `@accession(\"keepsIn\")`, which is not known"
    );
    assert_eq!(
        first("@tier(\"Gate\") @asked(\"agreement\") @accession(\"keepsOut\")", gate),
        "has `@accession(\"keepsOut\")`, and is not asked of a party or row"
    );
    assert_eq!(
        first("@tier(\"Ceiling\") @lift(\"rarely\")", access),
        "has `@lift(\"rarely\")`, which is not known"
    );
    assert_eq!(
        first("@tier(\"Gate\") @field(\"term.end\")", gate),
        "has `@field(\"term.end\")`, which is not known"
    );
    assert_eq!(
        first("@tier(\"Gate\") @asked(\"flow\")", gate),
        "has `@asked(\"flow\")`, and is no guardrail"
    );
    assert_eq!(
        first("@tier(\"Ceiling\") @asked(\"row\")", access),
        "has an `@asked` that only rules of the gate have"
    );
    assert_eq!(
        first("@tier(\"Gate\")", access),
        "is about an action that its tier is never asked about",
        "it would be passed over in silence"
    );
    let lifts = |rule: &str| problems(|spec| spec.exceptable.push(rule.to_owned()));
    assert!(lifts("C7-44")[0].0.contains("no rule of this framework"), "{:?}", lifts("C7-44"));
    assert!(lifts("C7-13")[0].0.contains("@lift"), "{:?}", lifts("C7-13"));
}

#[test]
fn every_command_works_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = "tests/framework/caledonia";
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_concordat")).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said, wrong)
    };
    for party in ["lochside", "brae"] {
        let (code, said, wrong) = run(&["sign", world, "--agreement=lochside/ward-round", "--party", party]);
        assert_eq!(code, Some(0), "{wrong}");
        std::fs::write(folder.path().join(format!("{party}.yaml")), said).unwrap();
    }
    let request = json!({
        "subject": { "type": "Workload", "id": "north/brae/app" }, "action": { "name": "readRecord" },
        "resource": { "type": "DataProduct", "id": "lochside/case-notes" },
        "context": { "purpose": "Bedside", "legitimateRelationship": true, "region": "GB" },
    });
    let asked = tempfile::tempdir().unwrap();
    let request_file = asked.path().join("request.json");
    std::fs::write(&request_file, request.to_string()).unwrap();
    let test = json!({
        "apiVersion": "concordat.dev/v1alpha1", "kind": "PolicyTest", "metadata": { "name": "ward" },
        "spec": { "tests": [{ "name": "bedside", "at": "2026-11-28T12:00:00Z", "request": request,
                              "expect": { "decision": true, "tier": "Floor", "rule": "C7-floor" } }] },
    });
    std::fs::write(asked.path().join("test.yaml"), test.to_string()).unwrap();
    let signed = folder.path().to_str().unwrap();
    let (request_file, tests) = (request_file.to_str().unwrap(), asked.path().join("test.yaml"));
    let when = "--at=2026-11-28T12:00:00Z";
    let (code, said, wrong) = run(&["check", world, signed, when]);
    assert_eq!(code, Some(0), "{said}{wrong}");
    let (code, said, wrong) = run(&["plan", world, signed, when]);
    assert!(code == Some(0) && said.contains("Active"), "{said}{wrong}");
    let (code, said, wrong) = run(&["explain", world, signed, "--request", request_file, when]);
    assert!(code == Some(0) && said.contains("C7-floor"), "{said}{wrong}");
    let (code, said, wrong) = run(&["explain", world, signed, "--agreement=lochside/ward-round", when]);
    assert_eq!(code, Some(0), "{said}{wrong}");
    let (code, said, wrong) = run(&["test", world, signed, tests.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}{wrong}");
    let (code, said, wrong) = run(&["who-can", world, signed, when]);
    assert!(code == Some(0) && said.contains("Bedside"), "{said}{wrong}");
}

/// The lines of a source file that are code: without comments, and without its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_rule_and_no_purpose_of_any_framework_is_named_in_the_code() {
    let mut words: BTreeSet<String> = BTreeSet::new();
    for spec in [framework(), concordat_core::policy::built_in_spec().clone()] {
        let loaded = load_framework(&spec).unwrap();
        words.extend(loaded.rules.keys().cloned());
        words.extend(spec.vocabulary.purposes.into_iter().map(|purpose| purpose.code));
    }
    let mut open = vec![PathBuf::from("src")];
    let (mut found, mut files) = (Vec::new(), 0);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.to_string_lossy().into_owned();
        // a file of tests, and what people read as an example of a field
        if !name.ends_with(".rs") || name.ends_with("tests.rs") || name.ends_with("slices.rs") {
            continue;
        }
        files += 1;
        let code = code(&path);
        // as a whole text, in quotes: `Employment` is also a word
        found.extend(
            words
                .iter()
                .filter(|word| code.contains(&format!("\"{word}\"")))
                .map(|word| format!("{name}: {word}")),
        );
    }
    assert!(files > 50, "{files}");
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_rule_that_holds_a_date_of_its_own_ends_what_it_closes() {
    let mut world = written();
    let mut spec = framework();
    spec.version = "3.3.0".to_owned();
    let rule = "@id(\"C7-30\") @tier(\"Ceiling\") @asked(\"flow\") @reason(\"the registers change\")\n\
                forbid (principal, action in Concordat::Action::\"useData\", resource)\n\
                when { context.now >= datetime(\"2027-01-15\") };";
    spec.policies.insert("more.cedar".to_owned(), rule.to_owned());
    world.frameworks.push(Sourced::live(PolicyFramework::new("caledonia-3.3.0", spec)));
    self::spec(&mut world).framework.version = "3.3.0".to_owned();
    let until: Timestamp = "2027-01-15T00:00:00Z".parse().unwrap();
    assert!(open(&signed(world))[0].ends_with(&until.to_string()));
}

/// The text of one of its rules, by its id.
fn rule(spec: &PolicyFrameworkSpec, id: &str) -> String {
    let text = spec.policies.values().find(|text| text.contains(&format!("@id(\"{id}\")"))).unwrap();
    let rules = text.split("\n\n").find(|rule| rule.contains(&format!("@id(\"{id}\")")));
    rules.unwrap().to_owned()
}

fn without(spec: &mut PolicyFrameworkSpec, id: &str) {
    let gone = rule(spec, id);
    spec.policies.values_mut().for_each(|text| *text = text.replace(&gone, ""));
}

#[test]
fn what_is_not_signed_is_never_allowed_also_without_a_guardrail_that_says_so() {
    let world = changed(|world| {
        let mut framework = (*world.frameworks[0].object).clone();
        without(&mut framework.spec, "C7-10");
        // and a floor that asks for nothing
        let floor = rule(&framework.spec, "C7-floor");
        let wide = floor.replace("action == Concordat::Action::\"readRecord\"", "action");
        let wide = wide.split("when").next().unwrap().trim_end().to_owned() + ";";
        framework.spec.policies.values_mut().for_each(|text| *text = text.replace(&floor, &wide));
        world.frameworks[0].object = framework.into();
    });
    let floor = (true, DecisionTier::Floor, "C7-floor".to_owned());
    assert_eq!(ask(&world, "Bedside", "readRecord", "Identifiable", false), floor);
    assert_eq!(ask(&world, "Tally", "queryAggregate", "AggregateSmallNumbers", false), floor);
    let not_listed = (false, DecisionTier::Ceiling, String::new());
    for (purpose, action, level) in [
        ("Bedside", "extract", "Identifiable"),
        ("Bedside", "queryAggregate", "AggregateSuppressed"),
        ("Tally", "readRecord", "Identifiable"),
        ("Tally", "queryAggregate", "Pseudonymised"),
        ("Tally", "shareOnward", "AggregateSuppressed"),
    ] {
        assert_eq!(ask(&world, purpose, action, level, true), not_listed, "{purpose} {action} {level}");
    }
    let elsewhere = changed(|world| {
        let mut framework = (*world.frameworks[0].object).clone();
        without(&mut framework.spec, "C7-10");
        world.frameworks[0].object = framework.into();
        // the organisation has signed for all, and this function of it is listed for another purpose
        let brae = world.orgs.iter_mut().find(|it| it.object.name_any() == "brae").unwrap();
        let mut org = (*brae.object).clone();
        let office = serde_json::from_value(json!({ "name": "office", "providesCare": false }));
        org.spec.functions.push(office.unwrap());
        brae.object = org.into();
        let office = RecipientRef { org: "brae".to_owned(), function: Some("office".to_owned()) };
        spec(world).purposes[1].recipients = Some(vec![office]);
    });
    let answer = ask(&elsewhere, "Tally", "queryAggregate", "AggregateSmallNumbers", false);
    assert_eq!(answer, not_listed);
}

#[test]
fn a_purpose_that_it_prohibits_is_closed_also_without_a_rule_that_says_so() {
    for with_rule in [true, false] {
        let world = changed(|world| {
            let mut sold = spec(world).purposes[1].clone();
            sold.code = "Hawking".to_owned();
            spec(world).purposes.push(sold);
            let mut framework = (*world.frameworks[0].object).clone();
            if !with_rule {
                without(&mut framework.spec, "C7-13");
            }
            world.frameworks[0].object = framework.into();
        });
        let judgement = Judgement::new(&world, at());
        let closed: Vec<(&str, Option<&str>, &str)> = (assessed(&judgement).closed.iter())
            .map(|it| (it.purpose.as_str(), it.rule.as_deref(), it.reason.as_str()))
            .collect();
        let expected = if with_rule {
            ("Hawking", Some("C7-13"), "C7-13: nothing is sold")
        } else {
            ("Hawking", None, "framework `caledonia-3.2.0` never allows `Hawking`")
        };
        assert_eq!(closed, [expected]);
        let request = serde_json::from_value(json!({
            "subject": { "type": "OrgFunction", "id": "brae/ward" }, "action": { "name": "queryAggregate" },
            "resource": { "type": "DataProduct", "id": "lochside/case-notes" },
            "context": { "purpose": "Hawking", "identifiability": "AggregateSmallNumbers", "region": "GB" },
        }));
        let answer = judgement.decide(&request.unwrap()).answer;
        assert_eq!((answer.decision, answer.context.tier), (false, DecisionTier::Ceiling), "{answer:?}");
    }
}

#[test]
fn a_framework_that_permits_nothing_is_refused() {
    let said = |id: &str| problems(|spec| without(spec, id));
    let gate = "no rule permits `activateAgreement`, so that no agreement can be in force";
    assert_eq!(said("C7-entry"), [(gate.to_owned(), true)]);
    let terms = "no rule permits what an agreement lists, so that no agreement can open anything";
    assert_eq!(said("C7-terms"), [(terms.to_owned(), true)]);
    let both = problems(|spec| spec.policies.clear());
    let lifted = problems(|spec| spec.exceptable.push("C7-terms".to_owned()));
    assert_eq!(
        lifted,
        [("`exceptable` names `C7-terms`, which permits what agreements list".to_owned(), true)]
    );
    assert_eq!(both.iter().filter(|(message, _)| message == gate || message == terms).count(), 2, "{both:?}");
}

#[test]
fn what_a_rule_of_its_denies_to_one_account_needs_a_gateway() {
    let context_free = |more: &str| {
        let world = changed(|world| {
            let mut framework = (*world.frameworks[0].object).clone();
            let text = "@id(\"C7-99\") @tier(\"Ceiling\") @reason(\"a test\")\nforbid (principal";
            let text = format!("{text}{more}, action in Concordat::Action::\"useData\", resource);");
            if !more.is_empty() {
                framework.spec.policies.insert("more.cedar".to_owned(), text);
            }
            world.frameworks[0].object = framework.into();
        });
        let plan = Judgement::new(&world, at()).plan();
        let grants = plan.objects.iter().filter_map(|object| match object {
            PlannedObject::Grant(grant) => Some(&grant.spec),
            _ => None,
        });
        let purposes = grants.flat_map(|grant| &grant.recipients).flat_map(|it| &it.purposes);
        purposes.map(|it| (it.code.clone(), it.context_free)).collect::<BTreeMap<_, _>>()
    };
    let said = |tally: bool| BTreeMap::from([("Bedside".to_owned(), false), ("Tally".to_owned(), tally)]);
    assert_eq!(context_free(""), said(true));
    for scope in [" is Concordat::Workload", " == Concordat::Workload::\"loch/brae/night\""] {
        assert_eq!(context_free(scope), said(false), "{scope}");
    }
}
