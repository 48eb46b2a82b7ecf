//! The law of slices: what a rule says on the entities that a question is given is what it would say on all of them.
//!
//! The rules are generated from the schema: every attribute path and every hierarchy, from every variable, and from an
//! entity of every type by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::{Entities, EntityUid, Policy, PolicySet, SchemaFragment};
use jiff::Timestamp;
use serde_json::Value;

use super::assess::assess;
use super::authorize::{NoAnswer, Question};
use super::context::AccessContext;
use super::entities::{EntityStore, Linked};
use super::schema::SCHEMA_TEXT;
use super::signing::Signing;
use super::test_world::england;
use super::{built_in, names};
use crate::model::{FunctionRef, Model};
use crate::snapshot::Snapshot;
use crate::validate;
use concordat_api::{DataAction, Identifiability, ObjectRef};

fn at() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().unwrap()
}

/// A type of the schema.
#[derive(Clone, Debug)]
enum Type {
    Entity(String),
    Set(Box<Type>),
    Record(BTreeMap<String, Type>),
    Plain(String),
}

struct Schema(Value);

impl Schema {
    fn new() -> Self {
        let (fragment, _) = SchemaFragment::from_cedarschema_str(SCHEMA_TEXT).unwrap();
        Self(fragment.to_json_value().unwrap()["Concordat"].clone())
    }

    fn read(&self, shape: &Value) -> Type {
        let name = shape["name"].as_str().or_else(|| shape["type"].as_str()).unwrap();
        let name = name.trim_start_matches("Concordat::");
        let name = name.trim_start_matches("__cedar::").to_owned();
        match shape["type"].as_str().unwrap() {
            "Record" => {
                let fields = shape["attributes"].as_object().unwrap();
                Type::Record(fields.iter().map(|(name, it)| (name.clone(), self.read(it))).collect())
            }
            "Set" => Type::Set(Box::new(self.read(&shape["element"]))),
            _ if self.0["commonTypes"].get(&name).is_some() => self.read(&self.0["commonTypes"][&name]),
            _ if self.0["entityTypes"].get(&name).is_some() || name == "Action" => Type::Entity(name),
            _ => Type::Plain(name),
        }
    }

    fn attributes(&self, entity: &str) -> Type {
        let shape = &self.0["entityTypes"][entity]["shape"];
        if shape.is_null() { Type::Record(BTreeMap::new()) } else { self.read(shape) }
    }

    /// The types that an entity can lie in, itself included.
    fn ancestors(&self, entity: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([entity.to_owned()]);
        let mut open = vec![entity.to_owned()];
        while let Some(next) = open.pop() {
            let above = self.0["entityTypes"][&next]["memberOfTypes"].as_array().cloned().unwrap_or_default();
            for name in above.iter().filter_map(Value::as_str) {
                let name = name.trim_start_matches("Concordat::").to_owned();
                if found.insert(name.clone()) {
                    open.push(name);
                }
            }
        }
        found
    }

    /// Conditions about everything that can be reached from an expression. `{T}` stands for an entity of type T.
    fn conditions(&self, expression: &str, of: &Type, hops: usize, found: &mut Vec<String>) {
        match of {
            Type::Plain(name) => found.push(match name.as_str() {
                "Bool" | "Boolean" => expression.to_owned(),
                "Long" => format!("{expression} <= 1"),
                "datetime" => format!("{expression} <= context.now"),
                "String" => format!("[\"Active\", \"Place\", \"Nhs\"].contains({expression})"),
                other => panic!("{other}"),
            }),
            Type::Set(element) => match &**element {
                Type::Entity(name) if name == "Action" => {
                    found.push(format!("{expression}.contains(action)"))
                }
                Type::Entity(name) => {
                    found.push(format!("{expression}.contains({{{name}}})"));
                    found.push(format!("{{{name}}} in {expression}"));
                    found.push(format!("principal in {expression}"));
                }
                _ => found.push(format!("{expression}.isEmpty()")),
            },
            Type::Record(fields) => {
                for (name, field) in fields {
                    self.conditions(&format!("{expression}.{name}"), field, hops, found);
                }
            }
            Type::Entity(name) => {
                for above in self.ancestors(name) {
                    found.push(format!("{expression} in {{{above}}}"));
                }
                if hops == 0 {
                    return;
                }
                self.conditions(expression, &self.attributes(name), hops - 1, found);
                let tags = &self.0["entityTypes"][name]["tags"];
                if !tags.is_null() {
                    let mut of_tags = Vec::new();
                    let tag = format!("{expression}.getTag(\"DirectCare\")");
                    self.conditions(&tag, &self.read(tags), hops - 1, &mut of_tags);
                    found.extend(
                        of_tags.iter().map(|it| format!("{expression}.hasTag(\"DirectCare\") && {it}")),
                    );
                }
            }
        }
    }

    fn context(&self, action: &str) -> Type {
        let context = &self.0["actions"][action]["appliesTo"]["context"];
        self.read(context)
    }
}

/// A whole world, with every entity that it has.
struct World {
    model: Model,
    store: Arc<EntityStore>,
    agreements: BTreeMap<ObjectRef, Linked>,
    everything: Entities,
    by_type: BTreeMap<String, Vec<EntityUid>>,
}

impl World {
    fn new(snapshot: &Snapshot) -> Self {
        let (model, _) = validate::validate(snapshot, at());
        let store = Arc::new(EntityStore::new(&model, at()));
        let assessments = assess(&model, &store, at(), Signing::Assumed);
        let agreements: BTreeMap<ObjectRef, Linked> = assessments
            .agreements
            .iter()
            .filter_map(|(reference, it)| Some((reference.clone(), it.entity.clone()?)))
            .collect();
        let mut workloads = BTreeSet::new();
        for (namespace, claims) in model.workloads.iter() {
            let cluster = claims.iter().find_map(|claim| claim.workload.cluster.clone());
            let cluster = cluster.unwrap_or_else(|| "north".to_owned());
            let accounts = claims.iter().filter_map(|claim| claim.workload.service_accounts.clone());
            let account = accounts.flatten().next().unwrap_or_else(|| "any".to_owned());
            workloads.insert(names::workload(&format!("{cluster}/{namespace}/{account}")));
        }
        let everything = store.everything(agreements.values().cloned(), workloads.iter().cloned());
        let mut by_type: BTreeMap<String, Vec<EntityUid>> = BTreeMap::new();
        for entity in everything.iter() {
            by_type.entry(entity.uid().type_name().basename().to_owned()).or_default().push(entity.uid());
        }
        by_type.values_mut().for_each(|uids| uids.sort_by_key(ToString::to_string));
        Self { model, store, agreements, everything, by_type }
    }

    /// Rules for these conditions, each `{T}` filled in, now with this entity and now with that.
    fn rules(&self, conditions: &[String]) -> Vec<Policy> {
        let mut rules = Vec::new();
        for (index, condition) in conditions.iter().enumerate() {
            for turn in 0..2 {
                let mut text = condition.clone();
                for (name, uids) in &self.by_type {
                    let uid = &uids[(index * 7 + turn * 13) % uids.len()];
                    text = text.replace(&format!("{{{name}}}"), &uid.to_string());
                }
                assert!(!text.contains('{'), "{text}");
                let rule = format!("forbid (principal, action, resource) when {{ {text} }};");
                rules.push(Policy::parse(None, rule).unwrap());
            }
        }
        rules
    }
}

/// Holds each rule to the law, and says how many fired.
fn hold(
    world: &World,
    question: &Question,
    rules: &[Policy],
    slice: impl Fn(Vec<EntityUid>) -> Result<Entities, NoAnswer>,
) -> usize {
    let mut fired = 0;
    for rule in rules {
        let alone = PolicySet::from_policies([rule.clone()]).unwrap();
        let entities = slice(rule.entity_literals()).unwrap();
        let said = question.ask(&alone, &entities);
        assert_eq!(said, question.ask(&alone, &world.everything), "{rule}");
        fired += usize::from(matches!(said, super::authorize::Outcome::Forbidden(_)));
    }
    fired
}

#[test]
fn a_gate_slice_says_what_everything_says() {
    let (schema, world) = (Schema::new(), World::new(&england()));
    let mut conditions = Vec::new();
    schema.conditions("principal", &Type::Entity("PartnerOrg".into()), 3, &mut conditions);
    schema.conditions("resource", &Type::Entity("Agreement".into()), 3, &mut conditions);
    schema.conditions("context", &schema.context("activateAgreement"), 3, &mut conditions);
    for name in ["Footprint", "PartnerOrg", "OrgFunction", "Workload", "DataProduct"] {
        schema.conditions(&format!("{{{name}}}"), &Type::Entity(name.into()), 3, &mut conditions);
    }
    let rules = world.rules(&conditions);
    let framework = built_in();
    let mut fired = 0;
    for (reference, agreement) in world.agreements.iter().take(12) {
        let spec = &world.model.agreements[reference];
        let orgs = spec.orgs();
        let org = orgs.iter().next().unwrap();
        let data = super::entities::DataFlags::default();
        let context = vec![
            ("now", super::entities::moment(at())),
            ("framework", framework.terms.clone()),
            ("role", super::entities::text("Controller")),
            ("article6", super::entities::text("")),
            ("article9", super::entities::text("")),
            ("data", data.value()),
            ("purpose", super::entities::text("DirectCare")),
            ("purposeData", data.value()),
            ("purposeMaxIdentifiability", super::entities::long(3)),
            ("termWithinLimits", super::entities::flag(true)),
            ("reviewWithinLimits", super::entities::flag(true)),
        ];
        let action = names::activate_agreement();
        let question = Question::new(names::org(org), action, names::agreement(reference), context).unwrap();
        fired += hold(&world, &question, &rules, |named| {
            world.store.gate_slice(orgs.iter().copied(), agreement, named)
        });
    }
    assert!(fired > 300, "{fired}");
}

#[test]
fn slices_of_flows_and_requests_say_what_everything_says() {
    let (schema, world) = (Schema::new(), World::new(&england()));
    let mut conditions = Vec::new();
    schema.conditions("principal", &Type::Entity("OrgFunction".into()), 3, &mut conditions);
    schema.conditions("resource", &Type::Entity("DataProduct".into()), 3, &mut conditions);
    schema.conditions("context", &schema.context("readRecord"), 3, &mut conditions);
    for name in ["Footprint", "PartnerOrg", "OrgFunction", "Workload", "DataProduct"] {
        schema.conditions(&format!("{{{name}}}"), &Type::Entity(name.into()), 3, &mut conditions);
    }
    let rules = world.rules(&conditions);
    let (mut fired, mut asked) = (0, 0);
    let onwards: Vec<&String> = world.model.orgs.keys().collect();
    for (index, (reference, entity)) in world.agreements.iter().enumerate().take(12) {
        let agreement = &world.model.agreements[reference];
        let purpose = &agreement.spec.purposes[0];
        let product = &world.model.products[&purpose.products[0]];
        let recipients = agreement.recipients(purpose, &world.model.orgs);
        let recipient = recipients.iter().next().unwrap();
        let onward = onwards[index % onwards.len()];
        let context = AccessContext {
            agreement: reference,
            framework: built_in(),
            now: at(),
            purpose: &purpose.code,
            identifiability: Identifiability::Identifiable,
            roles: Vec::new(),
            legitimate_relationship: true,
            explicit_consent: true,
            opt_outs_applied: true,
            min_cell_count: 0,
            case_reference: String::new(),
            break_glass: false,
            region: "GB".to_owned(),
            onward_to: Some(onward),
        };
        let of_recipient = |uid: &&EntityUid| {
            world.store.entity_of(uid).is_some_and(|it| it.starts_with(&format!("{}/", recipient.org)))
        };
        let workload = world.by_type["Workload"].iter().find(of_recipient).cloned();
        for principal in [Some(names::function(recipient)), workload].into_iter().flatten() {
            let action = names::action(DataAction::ReadRecord);
            let (resource, pairs) = (names::product(&product.reference), context.clone().pairs());
            let question = Question::new(principal.clone(), action, resource, pairs).unwrap();
            fired += hold(&world, &question, &rules, |named| {
                let onward = Some(onward.as_str());
                world.store.access_slice(&principal, &product.reference, entity, onward, named)
            });
            asked += 1;
            if principal == names::function(recipient) {
                let functions: BTreeSet<&FunctionRef> = recipients.iter().collect();
                let products: BTreeSet<&ObjectRef> = purpose.products.iter().collect();
                hold(&world, &question, &rules_without_onward(&rules), |named| {
                    world.store.flows_slice(&functions, &products, entity, named)
                });
            }
        }
    }
    assert!(fired > 300 && asked > 12, "{fired} {asked}");
}

/// A flow goes on to no one.
fn rules_without_onward(rules: &[Policy]) -> Vec<Policy> {
    rules.iter().filter(|rule| !rule.to_string().contains("onwardTo")).cloned().collect()
}
