//! One change to a request or to the world: what it is, who can make it, and how it is made in a copy.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{EvalResult, Policy, PolicyId};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::broken_rule::BrokenRule;
use super::clauses::{Demand, Wanted, lazily};
use super::dates::add_months;
use super::framework::Framework;
use super::near_miss::{ACTION, LEVEL, PURPOSE, RESOURCE, SUBJECT};
use super::remedy::World;
use super::resolve::{ResolvedRequest, near_function, near_workload, unusable_product, unusable_subject};
use super::{LocalPolicy, LocalRule, names};
use crate::model::{Agreement, FunctionRef, Said, Signer, Word, Words};
use crate::validate::shape::nearest;
use concordat_api::{
    Assurance, ConfidentialityBasis, DataAction, Dspt, DsptStatus, EquivalentAssurance, Ico, IcoStatus,
    Identifiability, ObjectRef, OrgState, Party, PartyRole, People, RecipientRef, SignatureState,
    SubjectType,
};

/// A change. The order of the variants has no meaning but to compare sets of them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Change {
    Subject(String),
    Resource(String),
    Action(DataAction),
    Purpose(String),
    Level(Identifiability),
    Role(String),
    Fact(Fact, bool),
    Count(i64),
    Case(String),
    Region(String),
    OnwardTo(String),
    /// What lies ahead is there.
    Wait(Timestamp),
    /// An organisation's DSPT is met and in date.
    Dspt(String),
    /// An organisation shows an assurance of this scheme that is in date.
    Equivalent(String, String),
    Ico(String),
    People(String),
    /// A suspended organisation takes part again.
    Reinstate(String),
    Sign {
        agreement: ObjectRef,
        orgs: BTreeSet<String>,
        purpose: Option<String>,
    },
    Resume(ObjectRef),
    ListRecipient {
        agreement: ObjectRef,
        purpose: String,
        function: FunctionRef,
    },
    ListProduct {
        agreement: ObjectRef,
        purpose: String,
        product: ObjectRef,
    },
    ListAction {
        agreement: ObjectRef,
        purpose: String,
        action: DataAction,
    },
    ListRole {
        agreement: ObjectRef,
        purpose: String,
        role: String,
    },
    /// Under a purpose that is not listed: everything that the request asks for.
    ListPurpose {
        agreement: ObjectRef,
        purpose: String,
    },
    RaiseLevel {
        agreement: ObjectRef,
        purpose: String,
        level: Identifiability,
    },
    Basis(ObjectRef, Basis),
    AllowOnward(ObjectRef, String),
    ReviewDpia(ObjectRef),
    Review(ObjectRef),
    WithoutLocalRule(String),
    LocalPermit {
        agreement: ObjectRef,
        product: ObjectRef,
        action: DataAction,
        purpose: String,
    },
}

/// What a caller says of a request, as a flag.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fact {
    LegitimateRelationship,
    ExplicitConsent,
    OptOutsApplied,
    BreakGlass,
}

/// A basis of confidentiality, with an order for sets of changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Basis(ConfidentialityBasis);

impl Basis {
    pub(super) fn name(self) -> &'static str {
        self.0.as_str()
    }
}

impl Ord for Basis {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name().cmp(other.name())
    }
}

impl PartialOrd for Basis {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Fact {
    fn named(name: &str) -> Option<Self> {
        let all =
            [Self::LegitimateRelationship, Self::ExplicitConsent, Self::OptOutsApplied, Self::BreakGlass];
        all.into_iter().find(|fact| fact.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LegitimateRelationship => "legitimateRelationship",
            Self::ExplicitConsent => "explicitConsent",
            Self::OptOutsApplied => "optOutsApplied",
            Self::BreakGlass => "breakGlass",
        }
    }
}

const LEVELS: [Identifiability; 4] = [
    Identifiability::AggregateSuppressed,
    Identifiability::AggregateSmallNumbers,
    Identifiability::Pseudonymised,
    Identifiability::Identifiable,
];

/// How many values are tried of a list.
const MOST_VALUES: usize = 6;

fn word(value: &EvalResult) -> Option<String> {
    match value {
        EvalResult::String(text) => Some(text.clone()),
        EvalResult::EntityUid(uid) => Some(AsRef::<str>::as_ref(uid.id()).to_owned()),
        _ => None,
    }
}

fn words(values: &[EvalResult]) -> impl Iterator<Item = String> {
    values.iter().filter_map(word).filter(|word| !word.is_empty()).take(MOST_VALUES)
}

impl Change {
    /// How much it asks of people: what a caller can show before what an organisation does, and that before new terms.
    /// Another purpose comes last: no one is asked to name a purpose that is not theirs.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::Subject(_) | Self::Resource(_) | Self::Wait(_) => 5,
            Self::Fact(Fact::BreakGlass, _) => 19,
            Self::Fact(..) | Self::Count(_) | Self::Case(_) | Self::Region(_) | Self::OnwardTo(_) => 10,
            Self::Level(_) => 12,
            Self::Role(_) => 15,
            Self::Dspt(_) | Self::Ico(_) | Self::Sign { .. } | Self::Resume(_) | Self::Review(_) => 20,
            Self::Equivalent(..) | Self::Reinstate(_) | Self::People(_) | Self::ReviewDpia(_) => 22,
            Self::ListRole { .. } => 24,
            Self::LocalPermit { .. } | Self::WithoutLocalRule(_) => 26,
            Self::ListRecipient { .. } | Self::ListProduct { .. } | Self::ListAction { .. } => 40,
            Self::ListPurpose { .. } | Self::RaiseLevel { .. } | Self::AllowOnward(..) => 40,
            Self::Basis(..) => 45,
            Self::Action(_) => 50,
            Self::Purpose(_) => 60,
        }
    }

    /// What may have been meant where a name of the request is not known.
    pub(super) fn of_names(world: &World, clause: &str) -> Vec<Self> {
        let World { model, request, at: _ } = world;
        match clause {
            SUBJECT if unusable_subject(model, &request.subject).is_some() => Vec::new(),
            RESOURCE if unusable_product(model, request) => Vec::new(),
            SUBJECT => near_subject(world).map(Self::Subject).into_iter().collect(),
            RESOURCE => {
                let names = model.products.keys().map(ToString::to_string);
                nearest(&request.resource.id, names).map(Self::Resource).into_iter().collect()
            }
            ACTION => {
                let near = nearest(&request.action.name, DataAction::ALL.iter().map(|it| it.as_str()));
                near.and_then(action).map(Self::Action).into_iter().collect()
            }
            LEVEL => {
                vec![Self::Level(Identifiability::Pseudonymised), Self::Level(Identifiability::Identifiable)]
            }
            PURPOSE => {
                let known: BTreeSet<&str> = model
                    .frameworks
                    .values()
                    .flat_map(|it| it.purposes())
                    .map(|it| it.code.as_str())
                    .collect();
                match request.context.purpose.as_deref().filter(|code| !code.trim().is_empty()) {
                    Some(code) => nearest(code, known.into_iter())
                        .map(|code| Self::Purpose(code.to_owned()))
                        .into_iter()
                        .collect(),
                    None => {
                        let listed: BTreeSet<&String> = model
                            .agreements
                            .values()
                            .flat_map(|agreement| &agreement.spec.purposes)
                            .filter(|it| it.products.iter().any(|it| it.to_string() == request.resource.id))
                            .map(|purpose| &purpose.code)
                            .collect();
                        listed.into_iter().take(MOST_VALUES).cloned().map(Self::Purpose).collect()
                    }
                }
            }
            _ => Vec::new(),
        }
    }

    /// A permit of the place for what the terms list, whatever the role.
    pub(super) fn local_permit(asked: &ResolvedRequest<'_>, agreement: &ObjectRef) -> Self {
        Self::LocalPermit {
            agreement: agreement.clone(),
            product: asked.product.reference.clone(),
            action: asked.action,
            purpose: asked.purpose.to_owned(),
        }
    }

    /// What would meet a demand of a clause.
    pub(super) fn of_demand(
        demand: &Demand,
        world: &World,
        agreement: &Agreement,
        framework: &Framework,
        asked: &ResolvedRequest<'_>,
    ) -> Vec<Self> {
        let Demand { subject, wanted } = demand;
        let controller = asked.product.spec.controller.as_str();
        let org = |prefix: &str, org: &str| Some((subject.strip_prefix(prefix)?.to_owned(), org.to_owned()));
        let org_of =
            org("principal.org.", &asked.function.org).or_else(|| org("resource.controller.", controller));
        if let Some((attribute, org)) = org_of {
            return of_org(&attribute, org, framework, world);
        }
        if let Some(attribute) = subject.strip_prefix("context.agreement[context.purpose].") {
            return of_terms(attribute, wanted, agreement, asked);
        }
        if let Some(attribute) = subject.strip_prefix("context.agreement.") {
            return of_agreement(attribute, wanted, agreement, asked);
        }
        of_caller(subject, wanted, agreement, asked)
    }

    /// What would fix a rule of the agreement gate, as far as it is known without reading it.
    pub(super) fn of_broken(world: &World, agreement: &Agreement, broken: &BrokenRule) -> Vec<Self> {
        let mut changes = vec![Self::Review(agreement.reference.clone())];
        if agreement.spec.dpia.is_some() {
            changes.push(Self::ReviewDpia(agreement.reference.clone()));
        }
        for org in broken.org.iter().filter(|org| world.model.orgs.contains_key(*org)) {
            changes.extend([Self::Ico(org.clone()), Self::Dspt(org.clone()), Self::People(org.clone())]);
        }
        changes
    }

    /// Makes the change in a copy.
    pub(super) fn apply(&self, world: &mut World) {
        let World { model, request, at } = world;
        let context = &mut request.context;
        let later = at.checked_add(SignedDuration::from_hours(24 * 365)).unwrap_or(Timestamp::MAX);
        match self {
            Self::Subject(id) => request.subject.id.clone_from(id),
            Self::Resource(id) => {
                request.resource.id.clone_from(id);
                request.resource.type_ = "DataProduct".to_owned();
            }
            Self::Action(action) => request.action.name = action.to_string(),
            Self::Purpose(code) => context.purpose = Some(code.clone()),
            Self::Level(level) => context.identifiability = Some(*level),
            Self::Role(role) => context.roles.push(role.clone()),
            Self::Fact(Fact::LegitimateRelationship, value) => context.legitimate_relationship = *value,
            Self::Fact(Fact::ExplicitConsent, value) => context.explicit_consent = *value,
            Self::Fact(Fact::OptOutsApplied, value) => context.opt_outs_applied = *value,
            Self::Fact(Fact::BreakGlass, value) => context.break_glass = *value,
            Self::Count(count) => context.min_cell_count = Some(*count),
            Self::Case(case) => context.case_reference = Some(case.clone()),
            Self::Region(region) => context.region = Some(region.clone()),
            Self::OnwardTo(org) => context.onward_to = Some(org.clone()),
            Self::Wait(moment) => *at = *moment,
            Self::Dspt(org) => {
                if let Some(org) = model.orgs.get_mut(org) {
                    let assurance =
                        org.spec.assurance.get_or_insert(Assurance { dspt: None, equivalent: None });
                    assurance.dspt = Some(Dspt {
                        status: met(assurance),
                        published_on: assurance.dspt.as_ref().and_then(|dspt| dspt.published_on),
                        valid_until: Some(later),
                    });
                }
            }
            Self::Equivalent(org, scheme) => {
                if let Some(org) = model.orgs.get_mut(org) {
                    let assurance =
                        org.spec.assurance.get_or_insert(Assurance { dspt: None, equivalent: None });
                    assurance.equivalent = Some(EquivalentAssurance {
                        scheme: scheme.clone(),
                        reference: "reference".to_owned(),
                        valid_until: later,
                    });
                }
            }
            Self::Ico(org) => {
                if let Some(org) = model.orgs.get_mut(org) {
                    let number = org.spec.ico.as_ref().and_then(|ico| ico.number.clone());
                    let status = IcoStatus::Registered;
                    org.spec.ico = Some(Ico { status, number, valid_until: Some(later) });
                }
            }
            Self::People(org) => {
                if let Some(org) = model.orgs.get_mut(org) {
                    let role = || Some("role@organisation.example".to_owned());
                    org.spec.people = Some(People {
                        siro: role(),
                        caldicott_guardian: role(),
                        dpo: role(),
                        ig_lead: role(),
                    });
                }
            }
            Self::Reinstate(org) => {
                if let Some(org) = model.orgs.get_mut(org) {
                    org.spec.state = OrgState::Active;
                }
            }
            Self::WithoutLocalRule(id) => {
                for policy in model.policies.values_mut() {
                    policy.rules.retain(|rule| rule.id != *id);
                }
            }
            Self::LocalPermit { product, .. } => {
                let controller = model.products.get(product).map(|product| product.spec.controller.clone());
                let place = controller
                    .and_then(|org| model.orgs.get(&org)?.spec.footprints.first().cloned())
                    .zip(self.permit());
                if let Some((footprint, policy)) = place {
                    let reference = ObjectRef { namespace: footprint.clone(), name: "permit".to_owned() };
                    let json = Arc::new(policy.to_json().unwrap_or_default());
                    let rule = LocalRule {
                        id: format!("{reference}#permit"),
                        reason: "a permit of the place".to_owned(),
                        literals: Arc::new(policy.entity_literals().into_iter().collect()),
                        policy,
                        clauses: lazily(Arc::clone(&json)),
                        json,
                    };
                    let policy = LocalPolicy {
                        reference: reference.clone(),
                        footprints: vec![footprint],
                        rules: vec![rule],
                        text: String::new(),
                        permits_disabled: None,
                        permits_until: None,
                        tests: Vec::new(),
                    };
                    model.policies.insert(reference, policy);
                }
            }
            Self::Sign { agreement, .. }
            | Self::Resume(agreement)
            | Self::ListRecipient { agreement, .. }
            | Self::ListProduct { agreement, .. }
            | Self::ListAction { agreement, .. }
            | Self::ListRole { agreement, .. }
            | Self::ListPurpose { agreement, .. }
            | Self::RaiseLevel { agreement, .. }
            | Self::Basis(agreement, _)
            | Self::AllowOnward(agreement, _)
            | Self::ReviewDpia(agreement)
            | Self::Review(agreement) => self.apply_to_agreement(agreement, world),
        }
    }

    fn apply_to_agreement(&self, reference: &ObjectRef, world: &mut World) {
        let asked = ResolvedRequest::resolve(&world.model, &world.request).ok();
        let asked = asked
            .map(|it| (it.function.clone(), it.product.reference.clone(), it.action, it.identifiability));
        let World { model, at, .. } = world;
        let Some(agreement) = model.agreements.get_mut(reference) else { return };
        let spec = &mut agreement.spec;
        let code = match self {
            Self::ListRecipient { purpose, .. }
            | Self::ListProduct { purpose, .. }
            | Self::ListAction { purpose, .. }
            | Self::ListRole { purpose, .. }
            | Self::RaiseLevel { purpose, .. } => Some(purpose.as_str()),
            _ => None,
        };
        let terms = spec.purposes.iter_mut().find(|purpose| Some(purpose.code.as_str()) == code);
        match (self, terms) {
            (Self::Sign { orgs, purpose, .. }, _) => {
                for org in orgs {
                    let Some(signer) = agreement.signers.get_mut(org) else { continue };
                    // who signed for some purposes signs for this one too
                    let purposes = signer.named().zip(purpose.as_ref()).map(|(named, purpose)| {
                        let mut all = named.clone();
                        all.insert(purpose.clone());
                        all
                    });
                    signer.words = signed(&signer.terms_hash, purposes);
                }
            }
            (Self::Resume(_), _) => spec.suspend = false,
            (Self::ListRecipient { function, .. }, Some(terms)) => {
                let FunctionRef { org, function } = function.clone();
                if let Some(named) = &mut terms.recipients {
                    named.push(RecipientRef { org: org.clone(), function: Some(function.clone()) });
                }
                let row = |party: &Party| {
                    party.org == org
                        && party.role == PartyRole::Recipient
                        && party.function.as_ref().is_none_or(|own| *own == function)
                };
                if !spec.parties.iter().any(row) {
                    let same = spec.parties.iter().find(|party| party.role == PartyRole::Recipient).cloned();
                    spec.parties.extend(same.map(|row| Party {
                        org: org.clone(),
                        function: Some(function),
                        ..row
                    }));
                    agreement
                        .signers
                        .entry(org)
                        .or_insert_with(|| Signer { terms_hash: String::new(), words: signed("", None) });
                }
            }
            (Self::ListProduct { product, .. }, Some(terms)) => terms.products.push(product.clone()),
            (Self::ListAction { action, .. }, Some(terms)) => terms.actions.push(*action),
            (Self::ListRole { role, .. }, Some(terms)) => {
                terms.roles.get_or_insert_default().push(role.clone());
            }
            (Self::RaiseLevel { level, .. }, Some(terms)) => terms.max_identifiability = *level,
            (Self::ListPurpose { purpose, .. }, _) => {
                let Some((function, product, action, level)) = asked else { return };
                let Some(first) = spec.purposes.first().cloned() else { return };
                let FunctionRef { org, function } = function;
                let recipients = Some(vec![RecipientRef { org, function: Some(function) }]);
                spec.purposes.push(concordat_api::Purpose {
                    code: purpose.clone(),
                    products: vec![product],
                    recipients,
                    actions: vec![action],
                    roles: None,
                    max_identifiability: level,
                    ..first
                });
            }
            (Self::Basis(_, Basis(basis)), _) => {
                spec.confidentiality.basis = *basis;
                spec.confidentiality.reference.get_or_insert_with(|| "reference".to_owned());
            }
            (Self::AllowOnward(_, org), _) => {
                spec.onward_sharing.allowed = true;
                if !spec.onward_sharing.to.contains(org) {
                    spec.onward_sharing.to.push(org.clone());
                }
            }
            (Self::ReviewDpia(_), _) => {
                let later = add_months(*at, 6).unwrap_or(*at);
                if let Some(dpia) = &mut spec.dpia {
                    dpia.review_by = later.max(dpia.review_by);
                    dpia.approved_on = dpia.approved_on.min(*at);
                }
            }
            (Self::Review(_), _) => {
                spec.term.review_by = add_months(*at, 6).unwrap_or(*at);
            }
            _ => {}
        }
    }

    /// A permit of a place for one action on one product under one agreement. Its names are data, and not text.
    fn permit(&self) -> Option<Policy> {
        let Self::LocalPermit { agreement, product, action, purpose } = self else { return None };
        let entity = |uid: cedar_policy::EntityUid| json!({ "type": uid.type_name().to_string(), "id": AsRef::<str>::as_ref(uid.id()) });
        let of_context = |name: &str| json!({ ".": { "left": { "Var": "context" }, "attr": name } });
        let equal = |name: &str, value: serde_json::Value| json!({ "kind": "when", "body": { "==": { "left": of_context(name), "right": { "Value": value } } } });
        let rule = json!({
            "effect": "permit",
            "principal": { "op": "All" },
            "action": { "op": "==", "entity": entity(names::action(*action)) },
            "resource": { "op": "==", "entity": entity(names::product(product)) },
            "conditions": [
                equal("agreement", json!({ "__entity": entity(names::agreement(agreement)) })),
                equal("purpose", json!(purpose)),
            ],
        });
        Policy::from_json(Some(PolicyId::new("permit")), rule).ok()
    }
}

/// The one word of a party that signs.
fn signed(terms_hash: &str, purposes: Option<BTreeSet<String>>) -> Words {
    let said = Said {
        state: SignatureState::Signed,
        terms_hash: terms_hash.to_owned(),
        purposes,
        ends: Vec::new(),
        leaving: false,
    };
    Words { own: vec![Word::Said(said)], delegated: Vec::new() }
}

/// A case reference that stands for any.
pub(super) const GIVEN: &str = "a case reference";

/// The status that meets the standards: its own, where it does already.
pub(super) fn met(assurance: &Assurance) -> DsptStatus {
    match assurance.dspt.as_ref().map(|dspt| dspt.status) {
        Some(DsptStatus::StandardsExceeded) => DsptStatus::StandardsExceeded,
        _ => DsptStatus::StandardsMet,
    }
}

fn action(name: &str) -> Option<DataAction> {
    DataAction::ALL.into_iter().find(|action| action.as_str() == name)
}

/// The subject that a mistyped one was probably meant to be.
pub(super) fn near_subject(world: &World) -> Option<String> {
    let World { model, request, at: _ } = world;
    match request.subject.type_ {
        SubjectType::OrgFunction => near_function(model, &request.subject.id),
        SubjectType::Workload => near_workload(model, &request.subject.id),
    }
}

fn of_org(attribute: &str, org: String, framework: &Framework, world: &World) -> Vec<Change> {
    let Some(found) = world.model.orgs.get(&org) else { return Vec::new() };
    match attribute.split('.').next().unwrap_or_default() {
        "assurance" if attribute.starts_with("assurance.dspt") => vec![Change::Dspt(org)],
        "assurance" => {
            let schemes = framework.spec.vocabulary.assurance_schemes.iter().take(MOST_VALUES);
            schemes.map(|scheme| Change::Equivalent(org.clone(), scheme.clone())).collect()
        }
        "ico" => vec![Change::Ico(org)],
        "people" => vec![Change::People(org)],
        // one that is dissolved or merged does not come back
        "state" if found.spec.state == OrgState::Suspended => vec![Change::Reinstate(org)],
        _ => Vec::new(),
    }
}

fn of_terms(
    attribute: &str,
    wanted: &Wanted,
    agreement: &Agreement,
    asked: &ResolvedRequest<'_>,
) -> Vec<Change> {
    let (agreement, purpose) = (agreement.reference.clone(), asked.purpose.to_owned());
    match (attribute, wanted) {
        ("signed", Wanted::Holding(orgs)) => {
            let sign = |org| Change::Sign {
                agreement: agreement.clone(),
                orgs: BTreeSet::from([org]),
                purpose: Some(purpose.clone()),
            };
            words(orgs).map(sign).collect()
        }
        ("recipients", Wanted::Holding(_)) => {
            vec![Change::ListRecipient { agreement, purpose, function: asked.function.clone() }]
        }
        ("products", Wanted::Holding(_)) => {
            vec![Change::ListProduct { agreement, purpose, product: asked.product.reference.clone() }]
        }
        ("actions", Wanted::Holding(_)) => {
            vec![Change::ListAction { agreement, purpose, action: asked.action }]
        }
        ("roles", Wanted::Holding(roles)) => words(roles)
            .map(|role| Change::ListRole { agreement: agreement.clone(), purpose: purpose.clone(), role })
            .collect(),
        ("maxIdentifiability", Wanted::AtLeast(_)) => {
            vec![Change::RaiseLevel { agreement, purpose, level: asked.identifiability }]
        }
        _ => Vec::new(),
    }
}

fn of_agreement(
    attribute: &str,
    wanted: &Wanted,
    agreement: &Agreement,
    asked: &ResolvedRequest<'_>,
) -> Vec<Change> {
    let reference = agreement.reference.clone();
    match (attribute, wanted) {
        ("signed", Wanted::Holding(orgs)) => {
            let sign = |org| Change::Sign {
                agreement: reference.clone(),
                orgs: BTreeSet::from([org]),
                purpose: Some(asked.purpose.to_owned()),
            };
            words(orgs).map(sign).collect()
        }
        ("confidentiality.basis", Wanted::OneOf(bases)) => words(bases)
            .filter_map(|basis| serde_json::from_value(json!(basis)).ok())
            .map(|basis| Change::Basis(reference.clone(), Basis(basis)))
            .collect(),
        (attribute, _) if attribute.starts_with("onwardSharing") => {
            let to = asked.context.onward_to.clone();
            to.map(|org| Change::AllowOnward(reference, org)).into_iter().collect()
        }
        (attribute, _) if attribute.starts_with("dpia") => vec![Change::ReviewDpia(reference)],
        ("term.reviewBy", _) => vec![Change::Review(reference)],
        _ => Vec::new(),
    }
}

fn of_caller(
    subject: &str,
    wanted: &Wanted,
    agreement: &Agreement,
    asked: &ResolvedRequest<'_>,
) -> Vec<Change> {
    let purposes = || {
        let lists = |purpose: &&concordat_api::Purpose| purpose.products.contains(&asked.product.reference);
        agreement.spec.purposes.iter().filter(lists).map(|purpose| purpose.code.clone())
    };
    match (subject.strip_prefix("context.").unwrap_or(subject), wanted) {
        ("purpose", Wanted::Listed) => {
            let list = Change::ListPurpose {
                agreement: agreement.reference.clone(),
                purpose: asked.purpose.to_owned(),
            };
            purposes().map(Change::Purpose).chain([list]).collect()
        }
        ("purpose", Wanted::OneOf(codes)) => words(codes).map(Change::Purpose).collect(),
        ("purpose", Wanted::NoneOf(codes)) => {
            let not: Vec<String> = words(codes).collect();
            purposes().filter(|code| !not.contains(code)).map(Change::Purpose).collect()
        }
        ("identifiability", Wanted::AtMost(most)) => {
            let highest = LEVELS.iter().rev().find(|level| level.rank() <= *most);
            highest.copied().map(Change::Level).into_iter().collect()
        }
        ("identifiability", Wanted::AtLeast(least)) => {
            let lowest = LEVELS.iter().find(|level| level.rank() >= *least);
            lowest.copied().map(Change::Level).into_iter().collect()
        }
        ("identifiability", Wanted::OneOf(levels)) => {
            let is = |level: &&Identifiability| levels.contains(&EvalResult::Long(level.rank()));
            LEVELS.iter().filter(is).copied().map(Change::Level).collect()
        }
        ("roles", Wanted::Holding(roles)) => words(roles).map(Change::Role).collect(),
        ("minCellCount", Wanted::AtLeast(count)) => vec![Change::Count(*count)],
        ("caseReference", Wanted::NoneOf(_)) => vec![Change::Case(GIVEN.to_owned())],
        ("caseReference", Wanted::OneOf(cases)) => words(cases).map(Change::Case).collect(),
        ("region", Wanted::OneOf(regions)) => words(regions).map(Change::Region).collect(),
        ("onwardTo", Wanted::OneOf(orgs)) => words(orgs).map(Change::OnwardTo).collect(),
        ("action", Wanted::OneOf(actions)) => {
            words(actions).filter_map(|name| action(&name)).map(Change::Action).collect()
        }
        ("action", Wanted::NoneOf(actions)) => {
            let not: Vec<String> = words(actions).collect();
            let others = DataAction::ALL.into_iter().filter(|action| !not.contains(&action.to_string()));
            others.map(Change::Action).collect()
        }
        (name, Wanted::Flag(value)) => {
            Fact::named(name).map(|fact| Change::Fact(fact, *value)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}
