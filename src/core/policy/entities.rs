//! The model as Cedar entities, each under the names of the schema. What is left out gets the safe value.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression};
use jiff::Timestamp;

use super::{names, schema::schema};
use crate::api::{
    Assurance, DataProductSpec, DataSharingAgreementSpec, IcoStatus, ObjectRef, PartnerOrgSpec, People,
    Purpose, RetentionMethod,
};
use crate::core::model::{Agreement, FunctionRef, Model, Organisation};
use crate::core::terms;

/// An attribute or context value.
pub(super) type Value = RestrictedExpression;

pub(super) fn text(value: impl Into<String>) -> Value {
    Value::new_string(value.into())
}

pub(super) fn flag(value: bool) -> Value {
    Value::new_bool(value)
}

pub(super) fn long(value: i64) -> Value {
    Value::new_long(value)
}

pub(super) fn texts<T: Into<String>>(values: impl IntoIterator<Item = T>) -> Value {
    Value::new_set(values.into_iter().map(text))
}

pub(super) fn uids(values: impl IntoIterator<Item = EntityUid>) -> Value {
    Value::new_set(values.into_iter().map(Value::new_entity_uid))
}

pub(super) fn moment(value: Timestamp) -> Value {
    thread_local! {
        /// The dates of agreements are mostly the same few, and Cedar parses a name anew for each that is made.
        static MADE: RefCell<HashMap<Timestamp, Value>> = RefCell::default();
    }
    const MOST: usize = 1024;
    MADE.with_borrow_mut(|made| {
        if made.len() >= MOST {
            made.clear();
        }
        made.entry(value).or_insert_with(|| Value::new_datetime(terms::date(value))).clone()
    })
}

/// A date that a rule reads; one that is missing counts as long past.
fn date(value: Option<Timestamp>) -> Value {
    moment(value.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A record. Names are constants, so that none stands twice and building cannot fail; were it to fail, the empty
/// record would not validate, and the question would be answered with an error.
pub(super) fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::new_record(fields.map(|(name, value)| (name.to_owned(), value)))
        .unwrap_or_else(|_| Value::new_set(Vec::new()))
}

fn entity<const N: usize>(
    uid: EntityUid,
    attributes: [(&str, Value); N],
    parents: impl IntoIterator<Item = EntityUid>,
) -> Option<Entity> {
    tagged(uid, attributes, parents, Vec::new())
}

/// An entity that fits the schema, or none. Its absence is an error when a rule reads it: a deny.
fn tagged<const N: usize>(
    uid: EntityUid,
    attributes: [(&str, Value); N],
    parents: impl IntoIterator<Item = EntityUid>,
    tags: Vec<(String, Value)>,
) -> Option<Entity> {
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value));
    let entity = Entity::new_with_tags(uid, attributes, parents, tags).ok()?;
    // held to the schema here, once, so that slices need not be, each time
    Entities::from_entities([entity.clone()], Some(schema())).ok()?;
    Some(entity)
}

/// What products hold together.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct DataFlags {
    pub personal_data: bool,
    pub special_category: bool,
    pub confidential_patient_info: bool,
    pub legally_restricted: bool,
    pub childrens_data: bool,
}

impl DataFlags {
    /// The union of products' flags.
    pub fn union<'a>(products: impl IntoIterator<Item = &'a DataProductSpec>) -> Self {
        products.into_iter().fold(Self::default(), |flags, product| Self {
            personal_data: flags.personal_data || product.personal_data,
            special_category: flags.special_category || product.special_category,
            confidential_patient_info: flags.confidential_patient_info || product.confidential_patient_info,
            legally_restricted: flags.legally_restricted || product.legally_restricted,
            childrens_data: flags.childrens_data || product.childrens_data,
        })
    }

    pub(super) fn value(self) -> Value {
        let Self {
            personal_data,
            special_category,
            confidential_patient_info,
            legally_restricted,
            childrens_data,
        } = self;
        record([
            ("personalData", flag(personal_data)),
            ("specialCategory", flag(special_category)),
            ("confidentialPatientInfo", flag(confidential_patient_info)),
            ("legallyRestricted", flag(legally_restricted)),
            ("childrensData", flag(childrens_data)),
        ])
    }
}

/// The entities of everything but agreements, made once, and handed out in small slices.
#[derive(Clone, Debug, Default)]
pub struct EntityStore {
    footprints: BTreeMap<String, Entity>,
    orgs: BTreeMap<String, (Entity, BTreeSet<String>)>,
    functions: BTreeMap<FunctionRef, Entity>,
    products: BTreeMap<ObjectRef, Entity>,
}

impl EntityStore {
    /// The entities of a model.
    pub fn new(model: &Model, at: Timestamp) -> Self {
        let mut store = Self::default();
        for (name, spec) in model.footprints.iter() {
            let tier = format!("{:?}", spec.tier);
            let parents = spec.parents.iter().map(|parent| names::footprint(parent));
            let made = entity(names::footprint(name), [("tier", text(tier))], parents);
            store.footprints.extend(made.map(|entity| (name.clone(), entity)));
        }
        for (name, org) in &model.orgs {
            let within = model
                .footprints
                .iter()
                .map(|(footprint, _)| footprint)
                .filter(|outer| model.footprints.org_lies_in(&org.spec, outer))
                .cloned()
                .collect();
            store.orgs.extend(org_entity(org, at).map(|entity| (name.clone(), (entity, within))));
            for function in &org.spec.functions {
                let reference = FunctionRef { org: name.clone(), function: function.name.clone() };
                let made =
                    actor(names::function(&reference), &reference, function.provides_care, names::org(name));
                store.functions.extend(made.map(|entity| (reference, entity)));
            }
        }
        for (reference, product) in &model.products {
            let made = product_entity(reference, &product.spec);
            store.products.extend(made.map(|entity| (reference.clone(), entity)));
        }
        store
    }

    /// The organisation's entity with the footprints that it lies in.
    fn org(&self, name: &str) -> impl Iterator<Item = Entity> {
        let found = self.orgs.get(name);
        let footprints =
            found.into_iter().flat_map(|(_, within)| within).filter_map(|name| self.footprints.get(name));
        found.map(|(entity, _)| entity.clone()).into_iter().chain(footprints.cloned())
    }

    /// What the agreement gate needs: the agreement and its parties.
    pub fn gate_slice<'a>(
        &self,
        orgs: impl IntoIterator<Item = &'a str>,
        agreement: &Entity,
    ) -> Result<Entities, String> {
        slice(orgs.into_iter().flat_map(|org| self.org(org)).chain([agreement.clone()]))
    }

    /// What an agreement's flows need: its parties, their functions, and its products.
    pub fn flows_slice<'a>(
        &self,
        orgs: impl IntoIterator<Item = &'a str>,
        functions: &BTreeSet<&FunctionRef>,
        products: &BTreeSet<&ObjectRef>,
        agreement: &Entity,
    ) -> Result<Entities, String> {
        let functions = functions.iter().filter_map(|function| self.functions.get(*function));
        let products = products.iter().filter_map(|product| self.products.get(*product));
        slice(
            orgs.into_iter()
                .flat_map(|org| self.org(org))
                .chain(functions.chain(products).cloned())
                .chain([agreement.clone()]),
        )
    }

    /// What the access gate needs for one request and one candidate.
    pub fn access_slice(
        &self,
        principal: Option<Entity>,
        function: &FunctionRef,
        product: &ObjectRef,
        controller: &str,
        agreement: &Entity,
        onward: Option<&str>,
    ) -> Result<Entities, String> {
        let onward = onward.into_iter().flat_map(|org| self.org(org));
        slice(
            principal
                .into_iter()
                .chain(self.functions.get(function).cloned())
                .chain(self.products.get(product).cloned())
                .chain(self.org(&function.org))
                .chain(self.org(controller))
                .chain(onward)
                .chain([agreement.clone()]),
        )
    }
}

/// The actions with their group, which every slice needs.
static ACTIONS: LazyLock<Vec<Entity>> = LazyLock::new(|| {
    schema().action_entities().map(|actions| actions.into_iter().collect()).unwrap_or_default()
});

fn slice(entities: impl Iterator<Item = Entity>) -> Result<Entities, String> {
    // one organisation can stand in several places; one copy of it is enough
    let unique: HashMap<EntityUid, Entity> = entities.map(|entity| (entity.uid(), entity)).collect();
    Entities::from_entities(unique.into_values().chain(ACTIONS.iter().cloned()), None)
        .map_err(|error| error.to_string())
}

/// A workload's entity: it speaks for a function.
pub(super) fn workload(id: &str, function: &FunctionRef, provides_care: bool) -> Option<Entity> {
    actor(names::workload(id), function, provides_care, names::function(function))
}

fn actor(uid: EntityUid, function: &FunctionRef, provides_care: bool, parent: EntityUid) -> Option<Entity> {
    entity(
        uid,
        [
            ("org", Value::new_entity_uid(names::org(&function.org))),
            ("function", Value::new_entity_uid(names::function(function))),
            ("providesCare", flag(provides_care)),
        ],
        [parent],
    )
}

fn org_entity(org: &Organisation, at: Timestamp) -> Option<Entity> {
    let Organisation { name, spec } = org;
    let PartnerOrgSpec { sector, public_authority, footprints, assurance, ico, people, .. } = spec;
    let Assurance { dspt, equivalent } = assurance.clone().unwrap_or_default();
    let People { siro, caldicott_guardian, dpo, ig_lead } = people.clone().unwrap_or_default();
    let dspt = record([
        ("status", text(dspt.as_ref().map_or("NotPublished", |dspt| dspt.status.as_str()))),
        ("validUntil", date(dspt.and_then(|dspt| dspt.valid_until))),
    ]);
    let equivalent = record([
        ("scheme", text(equivalent.as_ref().map_or("", |equivalent| equivalent.scheme.as_str()))),
        ("validUntil", date(equivalent.map(|equivalent| equivalent.valid_until))),
    ]);
    let ico_status = ico.as_ref().map_or("", |ico| match ico.status {
        IcoStatus::Registered => "Registered",
        IcoStatus::Exempt => "Exempt",
    });
    let named = |mailbox: Option<String>| flag(mailbox.is_some_and(|mailbox| !mailbox.is_empty()));
    entity(
        names::org(name),
        [
            ("sector", text(sector.as_str())),
            ("publicAuthority", flag(*public_authority)),
            ("state", text(org.state(at).as_str())),
            ("assurance", record([("dspt", dspt), ("equivalent", equivalent)])),
            (
                "ico",
                record([
                    ("status", text(ico_status)),
                    ("validUntil", date(ico.as_ref().and_then(|ico| ico.valid_until))),
                ]),
            ),
            (
                "people",
                record([
                    ("siro", named(siro)),
                    ("caldicottGuardian", named(caldicott_guardian)),
                    ("dpo", named(dpo)),
                    ("igLead", named(ig_lead)),
                ]),
            ),
        ],
        footprints.iter().map(|footprint| names::footprint(footprint)),
    )
}

fn product_entity(reference: &ObjectRef, spec: &DataProductSpec) -> Option<Entity> {
    let suppression = spec.suppression.as_ref().and_then(|suppression| suppression.min_cell).unwrap_or(0);
    entity(
        names::product(reference),
        [
            ("controller", Value::new_entity_uid(names::org(&spec.controller))),
            ("categories", texts(spec.categories.clone())),
            ("personalData", flag(spec.personal_data)),
            ("specialCategory", flag(spec.special_category)),
            ("confidentialPatientInfo", flag(spec.confidential_patient_info)),
            ("legallyRestricted", flag(spec.legally_restricted)),
            ("childrensData", flag(spec.childrens_data)),
            ("identifiability", long(spec.identifiability.rank())),
            ("suppression", record([("minCell", long(suppression))])),
        ],
        [],
    )
}

/// What is said where an agreement has no entity.
pub(super) const UNWRITABLE: &str = "the agreement's terms cannot be written for Cedar";

/// Who stands signed in an agreement, and for which purposes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Signed {
    pub orgs: BTreeSet<String>,
    pub by_purpose: BTreeMap<String, BTreeSet<String>>,
}

impl Signed {
    /// Whether an organisation stands signed for a purpose.
    pub fn for_purpose(&self, purpose: &str, org: &str) -> bool {
        self.by_purpose.get(purpose).is_some_and(|orgs| orgs.contains(org))
    }
}

/// An agreement's entity: its terms as attributes, and the terms of each purpose as a tag.
pub fn agreement(model: &Model, agreement: &Agreement, signed: &Signed) -> Option<Entity> {
    let spec = &agreement.spec;
    let DataSharingAgreementSpec {
        footprint, cross_boundary, confidentiality, term, dpia, retention, ..
    } = spec;
    let cross = cross_boundary.iter().flat_map(|cross| &cross.footprints);
    let method = retention.method.map_or("", |method| match method {
        RetentionMethod::Destroy => "Destroy",
        RetentionMethod::Return => "Return",
        RetentionMethod::Anonymise => "Anonymise",
    });
    let territories = spec.territories.clone().unwrap_or_else(|| vec!["GB".to_owned()]);
    let tags = spec
        .purposes
        .iter()
        .map(|purpose| (purpose.code.clone(), purpose_terms(model, agreement, purpose, signed)))
        .collect();
    tagged(
        names::agreement(&agreement.reference),
        [
            ("footprint", Value::new_entity_uid(names::footprint(footprint))),
            ("crossBoundary", uids(cross.map(|name| names::footprint(name)))),
            ("signed", uids(signed.orgs.iter().map(|org| names::org(org)))),
            (
                "term",
                record([
                    ("start", moment(term.start)),
                    ("end", moment(term.end)),
                    ("reviewBy", moment(term.review_by)),
                ]),
            ),
            (
                "confidentiality",
                record([
                    ("basis", text(confidentiality.basis.as_str())),
                    ("reference", text(confidentiality.reference.clone().unwrap_or_default())),
                    ("validUntil", moment(confidentiality.valid_until)),
                    ("optOutExempt", flag(confidentiality.opt_out_exempt)),
                ]),
            ),
            (
                "dpia",
                record([
                    ("approvedOn", date(dpia.as_ref().map(|dpia| dpia.approved_on))),
                    ("reviewBy", date(dpia.as_ref().map(|dpia| dpia.review_by))),
                ]),
            ),
            ("retention", record([("days", long(retention.days)), ("method", text(method))])),
            (
                "onwardSharing",
                record([
                    ("allowed", flag(spec.onward_sharing.allowed)),
                    ("to", uids(spec.onward_sharing.to.iter().map(|org| names::org(org)))),
                ]),
            ),
            ("territories", texts(territories)),
            ("privacyNotice", text(spec.privacy_notice.clone().unwrap_or_default())),
            (
                "register",
                record([("publish", flag(spec.register.as_ref().is_some_and(|register| register.publish)))]),
            ),
            ("publicInvolvement", count(spec.public_involvement.len())),
            ("outcomeMeasures", count(spec.outcome_measures.len())),
        ],
        [names::footprint(footprint)],
        tags,
    )
}

fn count(value: usize) -> Value {
    long(i64::try_from(value).unwrap_or(i64::MAX))
}

fn purpose_terms(model: &Model, agreement: &Agreement, purpose: &Purpose, signed: &Signed) -> Value {
    let recipients = agreement.recipients(purpose, &model.orgs);
    let signed = signed.by_purpose.get(&purpose.code).into_iter().flatten();
    record([
        ("products", uids(purpose.products.iter().map(names::product))),
        ("recipients", uids(recipients.iter().map(names::function))),
        ("actions", uids(purpose.actions.iter().map(|action| names::action(*action)))),
        ("roles", texts(purpose.roles.clone().unwrap_or_default())),
        ("maxIdentifiability", long(purpose.max_identifiability.rank())),
        ("signed", uids(signed.map(|org| names::org(org)))),
    ])
}
