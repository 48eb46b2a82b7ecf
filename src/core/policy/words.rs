//! Words in Cedar: texts and entity names of local rules, held to the vocabulary and to what there is.
//!
//! A forbid about a word that no request has forbids nothing, and Cedar says nothing of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::clauses::path;
use super::framework::Framework;
use super::load::Rule;
use super::problem::PolicyProblem;
use crate::finding::{Code, ObjectKey};
use crate::model::{Claim, Model};
use crate::validate::shape::is_contrary;
use concordat_api::{ObjectRef, Sector};

/// How many words of a text are looked at: what a text can cost is bounded.
const MOST_WORDS: usize = 512;
/// How many names are held against everything that has a name.
const MOST_GUESSES: usize = 16;

/// What a text says that there is not.
pub(super) struct Unknown {
    /// Entities that are named and may come to be there.
    pub(super) missing: BTreeSet<String>,
    /// Those of them that are there, and cannot be used.
    pub(super) unusable: BTreeSet<String>,
    pub(super) words: Vec<Word>,
}

/// A word that there is not, and whether it is nearly one that there is.
pub(super) struct Word {
    pub(super) problem: PolicyProblem,
    pub(super) misspelt: bool,
}

/// What the words of a text are compared with.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    Purpose,
    Role,
    Category,
    AssuranceScheme,
    Sector,
    OrgState,
    DsptStatus,
    IcoStatus,
    Basis,
    RetentionMethod,
    Tier,
    Country,
}

impl Kind {
    /// What an attribute of the schema holds; none where it can be any text.
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "context.purpose" => Self::Purpose,
            "context.roles" => Self::Role,
            "context.region" => Self::Country,
            path if path.ends_with(".sector") => Self::Sector,
            path if path.ends_with(".state") => Self::OrgState,
            path if path.ends_with(".dspt.status") => Self::DsptStatus,
            path if path.ends_with(".ico.status") => Self::IcoStatus,
            path if path.ends_with(".equivalent.scheme") => Self::AssuranceScheme,
            path if path.ends_with(".confidentiality.basis") => Self::Basis,
            path if path.ends_with(".retention.method") => Self::RetentionMethod,
            path if path.ends_with(".categories") => Self::Category,
            path if path.ends_with(".territories") => Self::Country,
            path if path.ends_with(".tier") => Self::Tier,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Purpose => "purpose",
            Self::Role => "role",
            Self::Category => "category",
            Self::AssuranceScheme => "assurance scheme",
            Self::Sector => "sector",
            Self::OrgState => "state of an organisation",
            Self::DsptStatus => "DSPT status",
            Self::IcoStatus => "ICO status",
            Self::Basis => "basis of confidentiality",
            Self::RetentionMethod => "method of retention",
            Self::Tier => "tier of a footprint",
            Self::Country => "country of ISO 3166",
        }
    }

    /// Everything that it can be; none where only the form is known.
    fn words(self, model: &Model, frameworks: &[&Framework]) -> Option<BTreeSet<String>> {
        let written = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let vocabularies = frameworks.iter().map(|framework| &framework.spec.vocabulary);
        match self {
            Self::Purpose => {
                let purposes = frameworks.iter().flat_map(|framework| framework.purposes());
                Some(purposes.map(|purpose| purpose.code.clone()).collect())
            }
            Self::Role => {
                // an agreement may list a role of its own
                let agreements = model.agreements.values().flat_map(|agreement| &agreement.spec.purposes);
                let own = agreements.filter_map(|purpose| purpose.roles.as_ref()).flatten();
                Some(vocabularies.flat_map(|it| &it.roles).chain(own).cloned().collect())
            }
            Self::Category => {
                let own = model.products.values().flat_map(|product| &product.spec.categories);
                Some(vocabularies.flat_map(|it| &it.categories).chain(own).cloned().collect())
            }
            Self::AssuranceScheme => {
                Some(vocabularies.flat_map(|it| &it.assurance_schemes).cloned().collect())
            }
            Self::Sector => Some(Sector::ALL.iter().map(|sector| sector.as_str().to_owned()).collect()),
            Self::OrgState => written(&["Active", "Suspended", "Dissolved", "Merged"]),
            Self::DsptStatus => written(&[
                "StandardsExceeded",
                "StandardsMet",
                "ApproachingStandards",
                "StandardsNotMet",
                "NotPublished",
            ]),
            Self::IcoStatus => written(&["Registered", "Exempt"]),
            Self::Basis => written(&[
                "ImpliedConsent",
                "ExplicitConsent",
                "Section251",
                "Statutory",
                "PublicInterest",
                "NotConfidential",
            ]),
            Self::RetentionMethod => written(&["Destroy", "Return", "Anonymise"]),
            Self::Tier => written(&["Neighbourhood", "Place", "System", "Region", "ProviderCollaborative"]),
            Self::Country => None,
        }
    }
}

/// What the rules of a text say that there is not.
pub(super) fn unknown(model: &Model, frameworks: &[&Framework], rules: &[Rule]) -> Unknown {
    let mut unknown = Unknown { missing: BTreeSet::new(), unusable: BTreeSet::new(), words: Vec::new() };
    let mut known: BTreeMap<Kind, Option<BTreeSet<String>>> = BTreeMap::new();
    let mut seen: BTreeSet<(Kind, String)> = BTreeSet::new();
    let mut named: BTreeSet<(String, String)> = BTreeSet::new();
    for rule in rules {
        let conditions = rule.json.get("conditions").unwrap_or(&Value::Null);
        compared(conditions, &mut |kind, word| {
            // the safe value for what is left out
            if word.is_empty() || seen.len() >= MOST_WORDS || !seen.insert((kind, word.to_owned())) {
                return;
            }
            let words = known.entry(kind).or_insert_with(|| kind.words(model, frameworks));
            if let Some(word) = unknown_word(rule, kind, word, words.as_ref()) {
                unknown.words.push(word);
            }
        });
        named_entities(&rule.json, &mut |type_name, id| {
            if named.len() < MOST_WORDS && !exists(model, type_name, id) {
                named.insert((type_name.to_owned(), id.to_owned()));
            }
        });
    }
    for (number, (type_name, id)) in named.into_iter().enumerate() {
        let plain = type_name.trim_start_matches("Concordat::");
        let near = if number < MOST_GUESSES && !is_object(model, plain, &id) {
            misspelling_of(&id, names(model, plain, &id).iter().map(String::as_str)).map(str::to_owned)
        } else {
            None
        };
        let is_workload = plain == "Workload";
        if near.is_none() && !is_workload {
            let name = format!("{type_name}::\"{id}\"");
            if is_object(model, plain, &id) {
                unknown.unusable.insert(name.clone());
            }
            unknown.missing.insert(name);
            continue;
        }
        let mut named = false;
        let first = rules.iter().find(|rule| {
            named_entities(&rule.json, &mut |of, name| named |= of == type_name && name == id);
            named
        });
        let Some(rule) = first else {
            continue;
        };
        let message = if is_workload {
            format!("no function has the workload `{id}`")
        } else {
            format!("there is no {plain} `{id}`")
        };
        let help = match &near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a workload of an organisation's function, as `cluster/namespace/serviceAccount`"
                .to_owned(),
        };
        let problem = PolicyProblem::lint(Code::PolicyWord, rule, message, help);
        unknown.words.push(Word { problem, misspelt: near.is_some() });
    }
    unknown
}

/// The country that is meant by what people write for it and ISO 3166 does not: it reserves `UK`.
pub(super) fn country_meant(word: &str) -> Option<&'static str> {
    (word == "UK").then_some("GB")
}

fn unknown_word(rule: &Rule, kind: Kind, word: &str, words: Option<&BTreeSet<String>>) -> Option<Word> {
    let Some(words) = words else {
        let is_country = word.len() == 2 && word.bytes().all(|letter| letter.is_ascii_uppercase());
        let meant = country_meant(word);
        return (!is_country || meant.is_some()).then(|| {
            let message = format!("`{word}` is no {}", kind.name());
            let help = meant.map_or("write two capital letters, such as `GB`", |_| "did you mean `GB`?");
            let misspelt = word.len() == 2;
            Word { problem: PolicyProblem::lint(Code::PolicyWord, rule, message, help), misspelt }
        });
    };
    if words.contains(word) {
        return None;
    }
    let near = misspelling_of(word, words.iter().map(String::as_str));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "what there is: {}",
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        ),
    };
    let problem =
        PolicyProblem::lint(Code::PolicyWord, rule, format!("there is no {} `{word}`", kind.name()), help);
    Some(Word { problem, misspelt: near.is_some() })
}

/// Calls `each` with every text that a condition compares with an attribute of known words.
fn compared(body: &Value, each: &mut impl FnMut(Kind, &str)) {
    let fields = match body {
        Value::Object(fields) => fields,
        Value::Array(items) => return items.iter().for_each(|item| compared(item, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    for (operator, operands) in fields {
        let sides = (operands.get("left"), operands.get("right"));
        if let (Some(left), Some(right)) = sides {
            match operator.as_str() {
                "==" | "!=" | "contains" | "containsAll" | "containsAny" => {
                    for (attribute, texts) in [(left, right), (right, left)] {
                        if let Some(kind) = attribute_kind(attribute) {
                            literals(texts, &mut |text| each(kind, text));
                        }
                    }
                }
                // the terms of a purpose
                "hasTag" | "getTag" => literals(right, &mut |text| each(Kind::Purpose, text)),
                _ => {}
            }
        }
        compared(operands, each);
    }
}

/// What an attribute holds, or the attributes that a set is written of.
fn attribute_kind(body: &Value) -> Option<Kind> {
    if let Some(path) = path(body) {
        return Kind::of(&path);
    }
    body.get("Set")?.as_array()?.iter().find_map(attribute_kind)
}

/// Calls `each` with a text, or with the texts of a set, or of the branches of an `if`.
fn literals(body: &Value, each: &mut impl FnMut(&str)) {
    if let Some(text) = body.get("Value").and_then(Value::as_str) {
        each(text);
    }
    for item in body.get("Set").and_then(Value::as_array).into_iter().flatten() {
        literals(item, each);
    }
    if let Some(branches) = body.get("if-then-else") {
        ["then", "else"].iter().filter_map(|branch| branches.get(branch)).for_each(|it| literals(it, each));
    }
}

/// Calls `each` with every entity that a policy's JSON names: `{"type": …, "id": …}`.
fn named_entities(json: &Value, each: &mut impl FnMut(&str, &str)) {
    match json {
        Value::Object(fields) => {
            if let (Some(Value::String(type_name)), Some(Value::String(id))) =
                (fields.get("type"), fields.get("id"))
            {
                each(type_name, id);
            }
            fields.values().for_each(|value| named_entities(value, each));
        }
        Value::Array(items) => items.iter().for_each(|value| named_entities(value, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn reference(id: &str) -> Option<ObjectRef> {
    let (namespace, name) = id.split_once('/')?;
    Some(ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// Whether an entity of the schema is there.
fn exists(model: &Model, type_name: &str, id: &str) -> bool {
    match type_name {
        "Concordat::Agreement" => reference(id).is_some_and(|it| model.agreements.contains_key(&it)),
        "Concordat::DataProduct" => reference(id).is_some_and(|it| model.products.contains_key(&it)),
        "Concordat::PartnerOrg" => model.orgs.contains_key(id),
        "Concordat::Footprint" => model.footprints.get(id).is_some(),
        "Concordat::OrgFunction" => {
            id.split_once('/').and_then(|(org, function)| model.orgs.get(org)?.function(function)).is_some()
        }
        "Concordat::Workload" => match id.split('/').collect::<Vec<_>>().as_slice() {
            [cluster, namespace, account] => model.workloads.resolve(cluster, namespace, account).is_some(),
            _ => false,
        },
        // actions are the schema's
        _ => true,
    }
}

/// Whether there is an object by this name, used or not: a name that is spelt right.
pub(super) fn is_object(model: &Model, plain: &str, id: &str) -> bool {
    let key = |kind: &str| match reference(id) {
        Some(ObjectRef { namespace, name }) => ObjectKey::new(kind, Some(&namespace), &name),
        None => ObjectKey::new(kind, None, id),
    };
    let key = match (plain, reference(id)) {
        ("Agreement", _) => key("DataSharingAgreement"),
        ("Footprint", _) => key("PlaceFootprint"),
        // its organisation is there, and what functions it has is not known
        ("OrgFunction", Some(ObjectRef { namespace: org, .. })) if !model.orgs.contains_key(&org) => {
            ObjectKey::new("PartnerOrg", None, &org)
        }
        _ => key(plain),
    };
    model.exists(&key)
}

/// The names of everything of a kind: of Cedar's entities, and what a request can name.
pub(super) fn names(model: &Model, plain: &str, like: &str) -> Vec<String> {
    match plain {
        "Agreement" => model.agreements.keys().map(ToString::to_string).collect(),
        "DataProduct" => model.products.keys().map(ToString::to_string).collect(),
        "PartnerOrg" => model.orgs.keys().cloned().collect(),
        "Footprint" => model.footprints.iter().map(|(name, _)| name.clone()).collect(),
        "OrgFunction" => {
            let functions = |(org, it): (&String, &crate::model::Organisation)| {
                it.spec
                    .functions
                    .iter()
                    .map(|function| format!("{org}/{}", function.name))
                    .collect::<Vec<_>>()
            };
            model.orgs.iter().flat_map(functions).collect()
        }
        "Workload" => {
            model.workloads.iter().flat_map(|(_, claims)| claims).flat_map(|it| workloads(it, like)).collect()
        }
        _ => Vec::new(),
    }
}

/// The workloads of a claim; what it leaves open is as in `like`.
fn workloads(claim: &Claim, like: &str) -> Vec<String> {
    let mut parts = like.split('/');
    let (cluster, _, account) = (parts.next(), parts.next(), parts.next());
    let Claim { function: _, workload } = claim;
    let cluster = workload.cluster.as_deref().or(cluster).unwrap_or_default();
    let any = [account.unwrap_or_default().to_owned()];
    let accounts = workload.service_accounts.as_deref().unwrap_or(&any);
    accounts.iter().map(|account| format!("{cluster}/{}/{account}", workload.namespace)).collect()
}

/// The name that a word was most likely meant to be: one or two letters away. Names that differ in their numbers alone
/// are different names, and short words are hardly ever misspelt.
pub(super) fn misspelling_of<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let lower = word.to_lowercase();
    let length = lower.chars().count();
    let most = match length {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    };
    let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    names
        .filter(|name| *name != word && name.len().abs_diff(word.len()) <= 2 + most)
        .filter(|name| !is_contrary(word, name))
        .filter_map(|name| {
            let other = name.to_lowercase();
            let only_numbers = other != lower && letters(&other) == letters(&lower);
            let distance = strsim::osa_distance(&lower, &other);
            (!only_numbers && distance <= most).then_some((distance, name))
        })
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_is_a_letter_or_two_away() {
        let names = ["ProactiveCare", "Planning", "SocialWorker", "LinkWorker", "Nhs", "practice-16"];
        let near = |word| misspelling_of(word, names.into_iter());
        assert_eq!(near("ProactivCare"), Some("ProactiveCare"));
        assert_eq!(near("proactivecare"), Some("ProactiveCare"));
        assert_eq!(near("LinkWroker"), Some("LinkWorker"));
        assert_eq!(near("Planing"), Some("Planning"));
        assert_eq!(near("NHS"), Some("Nhs"));
        assert_eq!(near("SupportWorker"), None, "a role of its own");
        assert_eq!(near("practice-17"), None, "another practice");
        assert_eq!(near("Nhd"), None);
        assert_eq!(near("Planning"), None, "what is spelt right has no misspelling");
    }
}
