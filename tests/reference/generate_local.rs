//! Local policies and requests for generated worlds.

use serde_json::{Value, json};

use super::generate::{ACTIONS, LEVELS, PLACES, RECIPIENTS, ROLES, days, manifest, middle};
use super::local::{Clause, Rule, Rules, print};
use super::random::Random;
use super::world::{Ref, rank, text};

/// Some local policies, and what their texts say.
pub fn policies(random: &mut Random, agreements: &[Value]) -> (Vec<Value>, Rules) {
    let (mut made, mut known) = (Vec::new(), Rules::new());
    for index in 0..random.pick(&[0, 0, 0, 1, 1, 2]) {
        let place = random.pick(&PLACES);
        let rules: Vec<Rule> = (0..random.pick(&[1, 1, 2]))
            .map(|number| Rule {
                id: format!("rule-{index}-{number}"),
                permits: random.chance(35).then(|| Ref {
                    namespace: "alder".to_owned(),
                    name: text(&random.pick(agreements)["metadata"]["name"]),
                }),
                when: clause(random, 2),
            })
            .collect();
        let mut cedar = print(&rules);
        if random.chance(6) {
            cedar.push_str("\nforbid (");
        } else {
            known.insert(cedar.clone(), rules);
        }
        let mut request = request(random, agreements);
        request["context"]["region"] = json!("FR");
        let mut spec = json!({
            "footprint": place, "owner": "The board", "reason": "we want it so", "reviewBy": days(200),
            "cedar": cedar,
            "tests": [{"name": "abroad is refused", "at": middle(), "request": request,
                       "expect": {"decision": random.chance(15)}}],
        });
        if random.chance(8) {
            spec["reviewBy"] = json!(random.beside(random.clone().pick(&[middle(), days(365)])));
        }
        if random.chance(3) {
            spec.as_object_mut().unwrap().remove("reason");
            spec["tests"] = json!([]);
        }
        let namespace = if random.chance(92) { format!("{place}-rules") } else { "county-rules".to_owned() };
        made.push(manifest("LocalPolicy", &namespace, &format!("policy-{index}"), spec));
    }
    (made, known)
}

fn clause(random: &mut Random, depth: usize) -> Clause {
    if depth > 0 && random.chance(45) {
        let a = Box::new(clause(random, depth - 1));
        return match random.below(4) {
            0 => Clause::Not(a),
            1 => Clause::Or(a, Box::new(clause(random, depth - 1))),
            _ => {
                let b = Box::new(clause(random, depth - 1));
                // one action that is two makes a rule impossible, which Cedar does not take
                if a.is_about_action() && b.is_about_action() { Clause::Or(a, b) } else { Clause::And(a, b) }
            }
        };
    }
    let org = random.pick(&["alder", "care", "help"]).to_owned();
    let place = random.pick(&PLACES).to_owned();
    match random.below(20) {
        0 => Clause::Purpose(random.pick(&["DirectCare", "ProactiveCare", "Planning"]).to_owned()),
        1 => Clause::LevelAtLeast(random.pick(&[1, 2, 3])),
        2 => Clause::CellBelow(random.pick(&[8, 10, 12])),
        3 => Clause::Consent,
        4 => Clause::Relationship,
        5 => Clause::OptOuts,
        6 => Clause::BreakGlass,
        7 => Clause::CaseGiven,
        8 => Clause::Role(random.pick(&ROLES).to_owned()),
        9 => Clause::Region(random.pick(&["GB", "FR"]).to_owned()),
        10 => Clause::Action(random.pick(&ACTIONS).to_owned()),
        11 => Clause::Product(Ref {
            namespace: "alder".to_owned(),
            name: random.pick(&["bins", "frailty"]).to_owned(),
        }),
        12 => Clause::Patient,
        13 => Clause::Care,
        14 => Clause::RecipientIs(org),
        15 => Clause::RecipientIn(place),
        16 => Clause::ControllerIn(place),
        17 => Clause::AgreementIn(place),
        18 => Clause::Weekday(random.pick(&[6, 7])),
        _ => Clause::MinuteBelow(random.pick(&[480, 540, 541, 600])),
    }
}

/// A request that some agreement lists, mostly, and what may be wrong with it.
pub fn request(random: &mut Random, agreements: &[Value]) -> Value {
    let agreement = random.pick(agreements);
    let purposes = agreement["spec"]["purposes"].as_array().unwrap();
    let purpose = random.pick(purposes);
    let product = random.pick(purpose["products"].as_array().unwrap());
    let orgs: Vec<String> = purpose["recipients"].as_array().map_or_else(
        || {
            let rows = agreement["spec"]["parties"].as_array().unwrap().iter();
            rows.filter(|it| it["role"] == "Recipient").map(|it| text(&it["org"])).collect()
        },
        |listed| listed.iter().map(|it| text(&it["org"])).collect(),
    );
    let org = if random.chance(93) && !orgs.is_empty() {
        random.pick(&orgs)
    } else {
        random.pick(&RECIPIENTS).to_owned()
    };
    let function = match org.as_str() {
        "care" => random.pick(&["team", "team", "planning"]),
        "help" => "support",
        "watch" => "review",
        "force" => "hub",
        _ => "desk",
    };
    let subject = match random.below(20) {
        0 => json!({"type": "OrgFunction", "id": format!("{org}/nothing")}),
        1..=4 => {
            json!({"type": "Workload", "id": format!("east/{org}-{function}/{}", random.pick(&["reader", "other"]))})
        }
        _ => json!({"type": "OrgFunction", "id": format!("{org}/{function}")}),
    };
    let listed: Vec<String> = purpose["actions"].as_array().unwrap().iter().map(text).collect();
    let action = if random.chance(92) { random.pick(&listed) } else { random.pick(&ACTIONS).to_owned() };
    let most = usize::try_from(rank(&text(&purpose["maxIdentifiability"]))).unwrap();
    let level = if random.chance(85) { LEVELS[random.below(most + 1)] } else { random.pick(&LEVELS) };
    let individual = ["readRecord", "reidentify"].contains(&action.as_str());
    let level = if individual && random.chance(80) { LEVELS[most] } else { level };
    let mut context = json!({
        "purpose": purpose["code"], "identifiability": level, "region": "GB",
        "legitimateRelationship": random.chance(80), "explicitConsent": random.chance(40),
        "optOutsApplied": random.chance(80), "caseReference": "CASE-1",
    });
    let roles: Vec<String> =
        purpose["roles"].as_array().map_or_else(Vec::new, |it| it.iter().map(text).collect());
    if !roles.is_empty() && random.chance(85) {
        context["roles"] = json!([random.pick(&roles)]);
    } else if random.chance(50) {
        context["roles"] = json!([random.pick(&ROLES)]);
    }
    if random.chance(60) {
        context["minCellCount"] = json!(random.pick(&[0, 1, 7, 8, 9, 11, 12, 50]));
    }
    if action == "shareOnward" || random.chance(3) {
        context["onwardTo"] = json!(random.pick(&["shire", "force", "care", "unheard-of"]));
    }
    for _ in 0..random.pick(&[0, 0, 0, 1, 2]) {
        match random.below(7) {
            0 => {
                context["purpose"] =
                    json!(random.pick(&["Planning", "DirectCare", "Marketing", "Nonsense", " "]))
            }
            1 => context["region"] = json!("FR"),
            2 => context["breakGlass"] = json!(true),
            3 => context["caseReference"] = json!(" "),
            4 => context["roles"] = json!(["Clinician", "Analyst"]),
            _ => {
                let names: Vec<String> = context.as_object().unwrap().keys().cloned().collect();
                let name = random.pick(&names);
                context.as_object_mut().unwrap().remove(&name);
            }
        }
    }
    let id = format!("{}/{}", text(&product["namespace"]), text(&product["name"]));
    let id = if random.chance(97) { id } else { "alder/nothing".to_owned() };
    json!({
        "subject": subject, "action": {"name": action}, "resource": {"type": "DataProduct", "id": id},
        "context": context,
    })
}
