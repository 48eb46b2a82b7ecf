//! The model as Cedar entities, each under the names of the schema. What is left out gets the safe value.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use cedar_policy::{Entities, Entity, EntityUid, EvalResult, RestrictedExpression};
use jiff::Timestamp;

use super::authorize::NoAnswer;
use super::{names, schema::schema};
use crate::model::{Agreement, Footprints, FunctionRef, Model, Organisation, WorkloadIndex};
use crate::terms;
use concordat_api::{
    Assurance, DataProductSpec, DataSharingAgreementSpec, IcoStatus, ObjectRef, PartnerOrgSpec, People,
    Purpose, RetentionMethod,
};

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
        /// The dates of agreements are mostly the same few, and Cedar parses a name again for each that is made.
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

/// A record. Names are constants, so that none is there twice and building cannot fail; were it to fail, the empty
/// record would not validate, and the question would be answered with an error.
pub(super) fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::new_record(fields.map(|(name, value)| (name.to_owned(), value)))
        .unwrap_or_else(|_| Value::new_set(Vec::new()))
}

/// An entity, and those that a rule can reach from it: its parents and its attributes that are entities.
///
/// A set of entities is no way on, as Cedar cannot take one of it.
#[derive(Clone, Debug)]
pub struct Linked {
    entity: Entity,
    links: Vec<EntityUid>,
}

impl Linked {
    /// The entity as JSON, for those who compare.
    pub fn to_json(&self) -> Option<serde_json::Value> {
        self.entity.to_json_value().ok()
    }
}

/// An entity that fits the schema, or none. Its absence is an error when a rule reads it: a deny.
fn linked<const N: usize>(
    uid: EntityUid,
    attributes: [(&str, Value); N],
    parents: Vec<EntityUid>,
    others: Vec<EntityUid>,
    tags: Vec<(String, Value)>,
) -> Option<Linked> {
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value));
    let entity = Entity::new_with_tags(uid, attributes, parents.clone(), tags).ok()?;
    // held to the schema here, once, so that slices need not be, each time
    Entities::from_entities([entity.clone()], Some(schema())).ok()?;
    let links = parents.into_iter().chain(others).collect();
    Some(Linked { entity, links })
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
        let mut all = Self::default();
        for product in products {
            all.add(Self {
                personal_data: product.personal_data,
                special_category: product.special_category,
                confidential_patient_info: product.confidential_patient_info,
                legally_restricted: product.legally_restricted,
                childrens_data: product.childrens_data,
            });
        }
        all
    }

    /// Adds what others hold.
    pub(super) fn add(&mut self, other: Self) {
        let Self {
            personal_data,
            special_category,
            confidential_patient_info,
            legally_restricted,
            childrens_data,
        } = other;
        self.personal_data |= personal_data;
        self.special_category |= special_category;
        self.confidential_patient_info |= confidential_patient_info;
        self.legally_restricted |= legally_restricted;
        self.childrens_data |= childrens_data;
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
///
/// A slice holds whatever the rules that are asked can reach: what they say on it is what they would say on everything.
#[derive(Clone, Debug, Default)]
pub struct EntityStore {
    entities: HashMap<EntityUid, Linked>,
    /// Workloads have no entities of their own until somebody names one.
    workloads: WorkloadIndex,
}

impl EntityStore {
    /// The entities of a model.
    pub fn new(model: &Model, at: Timestamp) -> Self {
        let mut store = Self { entities: HashMap::new(), workloads: model.workloads.clone() };
        for (name, spec) in model.footprints.iter() {
            let tier = format!("{:?}", spec.tier);
            let parents = spec.parents.iter().map(|parent| names::footprint(parent)).collect();
            store.add(linked(
                names::footprint(name),
                [("tier", text(tier))],
                parents,
                Vec::new(),
                Vec::new(),
            ));
        }
        for (name, org) in &model.orgs {
            store.add(org_entity(org, at));
            for function in &org.spec.functions {
                let reference = FunctionRef { org: name.clone(), function: function.name.clone() };
                let uid = names::function(&reference);
                store.add(actor(uid, &reference, function.provides_care, names::org(name)));
            }
        }
        for (reference, product) in &model.products {
            store.add(product_entity(reference, &product.spec));
        }
        store
    }

    fn add(&mut self, made: Option<Linked>) {
        self.entities.extend(made.map(|linked| (linked.entity.uid(), linked)));
    }

    /// What rules that name these entities can reach in the agreement gate: the agreement and its parties.
    pub fn gate_slice<'a>(
        &self,
        orgs: impl IntoIterator<Item = &'a str>,
        agreement: &Linked,
        named: impl IntoIterator<Item = EntityUid>,
    ) -> Result<Entities, NoAnswer> {
        self.slice([agreement.clone()], orgs.into_iter().map(names::org).chain(named))
    }

    /// What they can reach from an agreement's flows: its functions, and its products.
    pub fn flows_slice(
        &self,
        functions: &BTreeSet<&FunctionRef>,
        products: &BTreeSet<&ObjectRef>,
        agreement: &Linked,
        named: impl IntoIterator<Item = EntityUid>,
    ) -> Result<Entities, NoAnswer> {
        let functions = functions.iter().copied().map(names::function);
        let products = products.iter().copied().map(names::product);
        self.slice([agreement.clone()], functions.chain(products).chain(named))
    }

    /// What they can reach in the access gate, for one request and one candidate.
    pub fn access_slice(
        &self,
        principal: &EntityUid,
        product: &ObjectRef,
        agreement: &Linked,
        onward: Option<&str>,
        named: impl IntoIterator<Item = EntityUid>,
    ) -> Result<Entities, NoAnswer> {
        let asked = [principal.clone(), names::product(product)];
        let onward = onward.map(names::org);
        self.slice([agreement.clone()], asked.into_iter().chain(onward).chain(named))
    }

    /// Every entity that there is, with these agreements and workloads.
    #[cfg(test)]
    pub(super) fn everything(
        &self,
        agreements: impl Iterator<Item = Linked>,
        workloads: impl Iterator<Item = EntityUid>,
    ) -> Entities {
        let workloads = workloads.filter_map(|uid| self.workload(&uid));
        let all = self.entities.values().cloned().chain(agreements).chain(workloads);
        let all = all.map(|Linked { entity, .. }| entity).chain(ACTIONS.iter().cloned());
        Entities::from_entities(all, Some(schema())).unwrap()
    }

    /// The function that a workload speaks for.
    #[cfg(test)]
    pub(super) fn entity_of(&self, workload: &EntityUid) -> Option<String> {
        Some(self.workloads.function(names::workload_id(workload)?)?.to_string())
    }

    /// These entities, and everything that can be reached from them and from the roots.
    fn slice(
        &self,
        given: impl IntoIterator<Item = Linked>,
        roots: impl IntoIterator<Item = EntityUid>,
    ) -> Result<Entities, NoAnswer> {
        let mut open: Vec<EntityUid> = roots.into_iter().collect();
        let mut found: HashMap<EntityUid, Entity> = HashMap::new();
        for Linked { entity, links } in given {
            open.extend(links);
            found.insert(entity.uid(), entity);
        }
        while let Some(uid) = open.pop() {
            if found.contains_key(&uid) {
                continue;
            }
            let made;
            let linked = match self.entities.get(&uid) {
                Some(linked) => linked,
                None => {
                    let Some(workload) = self.workload(&uid) else {
                        continue;
                    };
                    made = workload;
                    &made
                }
            };
            open.extend(linked.links.iter().cloned());
            found.insert(uid, linked.entity.clone());
        }
        Entities::from_entities(found.into_values().chain(ACTIONS.iter().cloned()), None)
            .map_err(NoAnswer::refused)
    }

    /// A workload's entity: it speaks for a function.
    fn workload(&self, uid: &EntityUid) -> Option<Linked> {
        let function = self.workloads.function(names::workload_id(uid)?)?;
        let Linked { entity, .. } = self.entities.get(&names::function(function))?;
        let provides_care = entity.attr("providesCare")?.ok()?;
        actor(uid.clone(), function, provides_care == EvalResult::Bool(true), names::function(function))
    }
}

/// The actions with their group, which every slice needs.
static ACTIONS: LazyLock<Vec<Entity>> = LazyLock::new(|| {
    schema().action_entities().map(|actions| actions.into_iter().collect()).unwrap_or_default()
});

fn actor(uid: EntityUid, function: &FunctionRef, provides_care: bool, parent: EntityUid) -> Option<Linked> {
    let (org, own) = (names::org(&function.org), names::function(function));
    linked(
        uid,
        [
            ("org", Value::new_entity_uid(org.clone())),
            ("function", Value::new_entity_uid(own.clone())),
            ("providesCare", flag(provides_care)),
        ],
        vec![parent],
        vec![org, own],
        Vec::new(),
    )
}

fn org_entity(org: &Organisation, at: Timestamp) -> Option<Linked> {
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
    linked(
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
        footprints.iter().map(|footprint| names::footprint(footprint)).collect(),
        Vec::new(),
        Vec::new(),
    )
}

fn product_entity(reference: &ObjectRef, spec: &DataProductSpec) -> Option<Linked> {
    let suppression = spec.suppression.as_ref().and_then(|suppression| suppression.min_cell).unwrap_or(0);
    linked(
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
        Vec::new(),
        vec![names::org(&spec.controller)],
        Vec::new(),
    )
}

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
pub fn agreement(model: &Model, agreement: &Agreement, signed: &Signed) -> Option<Linked> {
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
    linked(
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
        // it lies in each place that it says it is for
        Footprints::of_agreement(spec).map(names::footprint).collect(),
        Vec::new(),
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
