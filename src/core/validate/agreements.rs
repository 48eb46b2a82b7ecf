//! Agreements: everything they name exists and plays the part that it is given.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::Value;

use super::check::Check;
use super::{Checked, listed, reference as key};
use crate::finding::Code;
use crate::model::{Agreement, Model, Remembered, Successor, Word, Words};
use crate::names::is_subdomain;
use crate::policy::Framework;
use crate::report::agreement_key;
use crate::snapshot::{Snapshot, Unreadable};
use crate::terms;
use concordat_api::{
    DataProductSpec, DataSharingAgreement, DataSharingAgreementSpec, ObjectRef, OrgState, PartyRole, Purpose,
    RecipientRef, SignatureState,
};

const KIND: &str = "DataSharingAgreement";

pub(super) fn check(snapshot: &Snapshot, now: Timestamp, checked: &mut Checked<'_>) {
    let references = doubled_references(snapshot);
    let successions: BTreeMap<ObjectRef, &ObjectRef> = snapshot
        .agreements
        .iter()
        .filter_map(|agreement| Some((key(&*agreement.object), agreement.object.spec.supersedes.as_ref()?)))
        .collect();
    let all: BTreeSet<ObjectRef> =
        snapshot.agreements.iter().map(|agreement| key(&*agreement.object)).collect();
    checked.model.successors = successors(snapshot, &checked.model, &successions);
    let mut pending: Vec<(Check<'_, DataSharingAgreement>, Agreement)> = Vec::new();
    for sourced in &snapshot.agreements {
        let Some(mut check) = checked.start(sourced) else {
            continue;
        };
        let object = &*sourced.object;
        let (own, spec) = (key(object), &object.spec);
        let model = &checked.model;
        check_places(&mut check, model);
        check_parties(&mut check, model);
        let framework = check_framework(&mut check, model);
        let mut codes = BTreeSet::new();
        for (index, purpose) in spec.purposes.iter().enumerate() {
            let field = format!("spec.purposes[{index}]");
            if !codes.insert(&purpose.code) {
                check
                    .finding(
                        Code::DuplicateParty,
                        &format!("{field}.code"),
                        format!("purpose `{}` is listed twice", purpose.code),
                    )
                    .help("put both into one purpose: an agreement lists a purpose once");
            }
            check_purpose(&mut check, model, framework, purpose, &field);
        }
        if let Some(others) = references.get(&own) {
            let message = format!(
                "reference `{}` is taken by {}",
                spec.reference,
                listed(others.iter().map(String::as_str))
            );
            check
                .finding(Code::DuplicateReference, "spec.reference", message)
                .help("give each agreement a reference of its own; a new version of one is a new agreement that `supersedes` it");
        }
        if let Some(old) = &spec.supersedes {
            if own == *old {
                check
                    .finding(Code::SupersedesItself, "spec.supersedes", format!("`{own}` supersedes itself"))
                    .help("name the older agreement that this one replaces, or leave the field out");
            } else if spec.emergency.is_some() {
                check
                    .finding(
                        Code::EmergencySupersedes,
                        "spec.supersedes",
                        format!("an emergency agreement cannot replace `{old}`"),
                    )
                    .help("take `supersedes` out: an emergency is in force beside the old agreement");
            } else if circle(&own, &successions).is_some() {
                check
                    .finding(
                        Code::SupersedesCycle,
                        "spec.supersedes",
                        format!("`{own}` supersedes itself, over `{old}`"),
                    )
                    .help(
                        "an agreement replaces an older one: take one of the links out; until then what no one has signed as \
                         it is ends nothing, and nothing does where all are signed",
                    );
            } else if !all.contains(old) {
                check
                    .finding(
                        Code::AgreementNotFound,
                        "spec.supersedes",
                        format!("there is no agreement `{old}`"),
                    )
                    .missing("DataSharingAgreement", old)
                    .near(
                        &old.to_string(),
                        all.iter().filter(|it| **it != own).map(ToString::to_string),
                        "it ends nothing; leave it as a record if the old one was deleted, and say `supersededBy` in what that \
                         one had replaced, which is in force again without it",
                    );
            }
        }
        let agreement = Agreement {
            reference: own.clone(),
            spec: spec.clone(),
            uid: object.uid(),
            generation: object.metadata.generation,
            deleting: object.metadata.deletion_timestamp.is_some(),
            remembered: Remembered::of(object.status.as_ref()),
            held_from: None,
            same_reference: references.get(&own).cloned().unwrap_or_default(),
            signers: BTreeMap::new(),
        };
        pending.push((check, agreement));
    }
    // what cannot be used, for whatever reason, may have replaced another
    let refused: BTreeSet<ObjectRef> = pending
        .iter()
        .filter(|(check, _)| !check.is_sound_but_for(&[]))
        .map(|(_, agreement)| agreement.reference.clone())
        .collect();
    let replaced = |agreement: &Agreement, at| replaced_by(snapshot, &checked.model, agreement, &refused, at);
    // what cannot be used and has not begun yet
    let unreadable = checked.model.held(snapshot).filter(|it| it.kind == KIND).filter_map(Unreadable::start);
    let starts: BTreeSet<Timestamp> = unreadable.filter(|start| now < *start).collect();
    let replaced: Vec<(Option<String>, Option<Timestamp>)> = pending
        .iter()
        .map(|(_, agreement)| {
            let successors = checked.model.successors.get(&agreement.reference).into_iter().flatten();
            let broken = successors.filter(|it| refused.contains(&it.reference)).map(|it| it.starts);
            let ahead: BTreeSet<Timestamp> =
                broken.filter(|start| now < *start).chain(starts.iter().copied()).collect();
            let held_from = ahead.into_iter().find(|start| replaced(agreement, *start).is_some());
            (replaced(agreement, now), held_from)
        })
        .collect();
    for ((mut check, mut agreement), (replaced, held_from)) in pending.into_iter().zip(replaced) {
        agreement.held_from = held_from;
        if let Some(new) = replaced {
            let message = format!(
                "{new}, and may have replaced it, by what can be read of it: every Controller may have signed it"
            );
            check
                .finding(Code::SuccessorUnreadable, "metadata.name", message)
                .help("fix it or delete it, or run a version of concordat that can read it");
        }
        if checked.finish(check) {
            checked.model.agreements.insert(agreement.reference.clone(), agreement);
        }
    }
}

/// Agreements whose reference another one has, with the others' names. It closes nothing: anybody can copy a reference.
fn doubled_references(snapshot: &Snapshot) -> BTreeMap<ObjectRef, Vec<String>> {
    let mut by_reference: BTreeMap<&str, Vec<ObjectRef>> = BTreeMap::new();
    for agreement in &snapshot.agreements {
        by_reference.entry(&agreement.object.spec.reference).or_default().push(key(&*agreement.object));
    }
    let mut doubled = BTreeMap::new();
    for owners in by_reference.into_values().filter(|owners| owners.len() > 1) {
        for own in &owners {
            let others = owners.iter().filter(|other| *other != own).map(ToString::to_string).collect();
            doubled.insert(own.clone(), others);
        }
    }
    doubled
}

/// Everything that says it replaces an agreement, by that agreement; what cannot be used is there as well.
fn successors(
    snapshot: &Snapshot,
    model: &Model,
    successions: &BTreeMap<ObjectRef, &ObjectRef>,
) -> BTreeMap<ObjectRef, Vec<Successor>> {
    let mut successors: BTreeMap<ObjectRef, Vec<Successor>> = BTreeMap::new();
    let links = Links::new(snapshot, model, successions);
    for agreement in &snapshot.agreements {
        let (reference, spec) = (key(&*agreement.object), &agreement.object.spec);
        let Some(old) = &spec.supersedes else {
            continue;
        };
        successors.entry(old.clone()).or_default().push(Successor {
            starts: spec.term.start,
            ends: Agreement::ends_of(spec),
            accession: spec.accession,
            is_void: links.is_void(&reference, spec, old),
            lacks_something: lacks_something(model, spec),
            reference,
        });
    }
    // what cannot be read may have taken the place of another, and who has withdrawn from it has said so
    for unreadable in model.held(snapshot).filter(|it| it.kind == KIND) {
        let names = names_of(model, unreadable);
        for old in &snapshot.agreements {
            let (old, spec) = (key(&*old.object), &old.object.spec);
            if !may_supersede(unreadable, &old) {
                continue;
            }
            for reference in names.iter().filter(|it| **it != old) {
                successors.entry(old.clone()).or_default().push(Successor {
                    reference: reference.clone(),
                    starts: unreadable.start().unwrap_or(Timestamp::MIN),
                    ends: Timestamp::MAX,
                    accession: spec.accession && may_have_accession(unreadable),
                    is_void: false,
                    lacks_something: false,
                });
            }
        }
    }
    successors
}

/// Whether an organisation or product that an agreement names is not there, or cannot be used.
fn lacks_something(model: &Model, spec: &DataSharingAgreementSpec) -> bool {
    let mut products = spec.purposes.iter().flat_map(|purpose| &purpose.products);
    spec.parties.iter().any(|party| !model.orgs.contains_key(&party.org))
        || products.any(|product| !model.products.contains_key(product))
}

const ACCESSION: &str = "accession";

/// Whether a field is another one, misspelt.
fn is_nearly(field: &str, meant: &str) -> bool {
    field != meant && strsim::osa_distance(&field.to_lowercase(), meant) <= 2
}

/// Whether an agreement that cannot be read has `accession`, or may have it.
fn may_have_accession(unreadable: &Unreadable) -> bool {
    match unreadable.spec.as_object() {
        Some(fields) => match fields.get(ACCESSION) {
            Some(said) => *said != Value::Bool(false),
            None => fields.keys().any(|field| is_nearly(field, ACCESSION)),
        },
        None => true,
    }
}

/// What may have replaced an agreement and cannot be read, or cannot be used for another reason than a missing product or
/// organisation: it says that it does and not that it starts later, and every Controller of the old one may have signed it.
/// No one else can close the old one by writing something broken.
fn replaced_by(
    snapshot: &Snapshot,
    model: &Model,
    old: &Agreement,
    refused: &BTreeSet<ObjectRef>,
    now: Timestamp,
) -> Option<String> {
    let own = &old.reference;
    let carries_on = |org: &str| {
        model
            .orgs
            .get(org)
            .is_some_and(|org| !matches!(org.state(now), OrgState::Dissolved | OrgState::Merged))
    };
    let purposes = old.purposes();
    // whoever has said no to the old one is not signed in it, whatever its terms
    let takes_part = |org: &str| {
        let words = model.words.get(&(own.clone(), org.to_owned()));
        words.is_none_or(|words| !words.at(now, &purposes, "").standing.is_out())
    };
    let controllers: BTreeSet<&str> =
        controllers(&old.spec).filter(|org| carries_on(org) && takes_part(org)).collect();
    let all_may_have_signed = |new: &ObjectRef| {
        let may_have_signed = |org: &&str| {
            let words = model.words.get(&(new.clone(), (*org).to_owned()));
            words.is_some_and(Words::may_have_signed)
        };
        new != own && !controllers.is_empty() && controllers.iter().all(may_have_signed)
    };
    let unreadable = model.held(snapshot).find(|it| {
        it.kind == KIND
            && !(old.spec.accession && may_have_accession(it))
            && may_supersede(it, own)
            && it.start().is_none_or(|start| start <= now)
            && names_of(model, it).iter().any(&all_may_have_signed)
    });
    if let Some(unreadable) = unreadable {
        return Some(format!("{} cannot be read", unreadable.key()));
    }
    let successors = model.successors.get(own).into_iter().flatten();
    let mut refused = successors.filter(|it| {
        refused.contains(&it.reference)
            && !(it.is_void || it.lacks_something || (old.spec.accession && it.accession))
            && it.starts <= now
            && all_may_have_signed(&it.reference)
    });
    refused.next().map(|it| format!("{KIND} {} cannot be used", it.reference))
}

/// What an agreement that cannot be read may be called: its name, or where that is none each that signatures of its namespace
/// give to what is not there.
fn names_of(model: &Model, unreadable: &Unreadable) -> Vec<ObjectRef> {
    let own = unreadable.reference();
    if is_subdomain(&own.name) {
        return vec![own];
    }
    let signed: BTreeSet<&ObjectRef> = model.words.keys().map(|(agreement, _)| agreement).collect();
    let is_absent =
        |it: &&ObjectRef| it.namespace == own.namespace && !model.objects.contains_key(&agreement_key(it));
    signed.into_iter().filter(is_absent).cloned().collect()
}

/// Whether an agreement that cannot be read may replace another one: what it names may be that one, or its field is
/// misspelt. A spec without such a field replaces none; one that has it and says nothing there may have said anything.
fn may_supersede(unreadable: &Unreadable, old: &ObjectRef) -> bool {
    const FIELD: &str = "supersedes";
    // an emergency ends no other agreement
    if unreadable.spec.get("emergency").is_some_and(Value::is_object) {
        return false;
    }
    match unreadable.spec.as_object() {
        Some(fields) if fields.contains_key(FIELD) => unreadable.may_mean("/supersedes", old),
        // no other field of a spec is as close
        Some(fields) => fields.keys().any(|field| is_nearly(field, FIELD)),
        None => true,
    }
}

fn controllers(spec: &DataSharingAgreementSpec) -> impl Iterator<Item = &str> {
    spec.parties.iter().filter(|party| party.role == PartyRole::Controller).map(|party| party.org.as_str())
}

/// The agreements that following `supersedes` leads over before it leads back, the first of them what this one names.
fn circle<'a>(
    own: &ObjectRef,
    successions: &BTreeMap<ObjectRef, &'a ObjectRef>,
) -> Option<Vec<&'a ObjectRef>> {
    let (mut over, mut seen) = (Vec::new(), BTreeSet::new());
    let mut at = own;
    while let Some(next) = successions.get(at) {
        if !seen.insert(*next) {
            return None;
        }
        over.push(*next);
        if *next == own {
            return Some(over);
        }
        at = next;
    }
    None
}

/// The agreements that say that they replace others, for asking who has signed that.
struct Links<'a> {
    model: &'a Model,
    successions: &'a BTreeMap<ObjectRef, &'a ObjectRef>,
    snapshot: &'a Snapshot,
    /// Made when first asked for: few worlds have a circle.
    specs: OnceCell<BTreeMap<ObjectRef, &'a DataSharingAgreementSpec>>,
    products: OnceCell<BTreeMap<ObjectRef, &'a DataProductSpec>>,
}

impl<'a> Links<'a> {
    fn new(
        snapshot: &'a Snapshot,
        model: &'a Model,
        successions: &'a BTreeMap<ObjectRef, &'a ObjectRef>,
    ) -> Self {
        Self { model, successions, snapshot, specs: OnceCell::new(), products: OnceCell::new() }
    }

    fn spec(&self, agreement: &ObjectRef) -> Option<&'a DataSharingAgreementSpec> {
        let specs =
            || self.snapshot.agreements.iter().map(|it| (key(&*it.object), &it.object.spec)).collect();
        self.specs.get_or_init(specs).get(agreement).copied()
    }

    fn products(&self) -> &BTreeMap<ObjectRef, &'a DataProductSpec> {
        let all = || self.model.products.iter().map(|(at, product)| (at.clone(), &product.spec)).collect();
        self.products.get_or_init(all)
    }

    /// Whether the link of an agreement to the one that it replaces ends nothing: in an emergency, or on a circle whose every
    /// link has been signed. Of another circle it is the links that no one has signed as they are: whoever writes one later
    /// undoes nothing that the others have ended.
    fn is_void(&self, new: &ObjectRef, spec: &DataSharingAgreementSpec, old: &ObjectRef) -> bool {
        if spec.emergency.is_some() {
            // unless it had been signed otherwise before it was made one
            return !self.of_old(old).any(|org| self.signed_as_it_is(new, org) == Some(false));
        }
        circle(new, self.successions).is_some_and(|circle| {
            !self.is_signed(new, old)
                || circle
                    .iter()
                    .all(|it| self.successions.get(*it).is_some_and(|then| self.is_signed(it, then)))
        })
    }

    fn of_old(&self, old: &ObjectRef) -> impl Iterator<Item = &'a str> {
        self.spec(old).into_iter().flat_map(controllers)
    }

    /// Whether every Controller of the old one has signed the new one as it is.
    fn is_signed(&self, new: &ObjectRef, old: &ObjectRef) -> bool {
        let mut of_old = self.of_old(old).peekable();
        of_old.peek().is_some() && of_old.all(|org| self.signed_as_it_is(new, org) == Some(true))
    }

    /// Whether what a party has itself signed, or withdrawn from, is the agreement as it is; nothing where it has not.
    fn signed_as_it_is(&self, agreement: &ObjectRef, org: &str) -> Option<bool> {
        let words = self.model.words.get(&(agreement.clone(), org.to_owned()))?;
        let [Word::Said(said)] = words.own.as_slice() else { return None };
        let hash = terms::terms_hash(self.spec(agreement)?, self.products(), org).ok();
        (said.state != SignatureState::Declined).then(|| hash.as_ref() == Some(&said.terms_hash))
    }
}

fn check_framework<'m>(
    check: &mut Check<'_, DataSharingAgreement>,
    model: &'m Model,
) -> Option<&'m Framework> {
    let wanted = &check.object().spec.framework;
    let framework = model.frameworks.get(wanted);
    if framework.is_none() {
        let names: Vec<String> = model.frameworks.keys().map(ToString::to_string).collect();
        let help = format!("what there is: {}", listed(names.iter().map(String::as_str)));
        check
            .finding(
                Code::FrameworkNotFound,
                "spec.framework",
                format!("there is no framework `{wanted}` that can be used"),
            )
            .missing("PolicyFramework", wanted.to_string().as_str())
            .help(help);
    }
    framework.map(AsRef::as_ref)
}

fn check_places(check: &mut Check<'_, DataSharingAgreement>, model: &Model) {
    let spec = &check.object().spec;
    let cross = spec.cross_boundary.iter().flat_map(|cross| cross.footprints.iter().enumerate());
    let named = std::iter::once(("spec.footprint".to_owned(), &spec.footprint))
        .chain(cross.map(|(index, name)| (format!("spec.crossBoundary.footprints[{index}]"), name)));
    for (field, name) in named {
        if model.footprints.get(name).is_none() {
            check
                .finding(
                    Code::FootprintNotFound,
                    &field,
                    format!("there is no footprint `{name}` that can be used"),
                )
                .missing("PlaceFootprint", name.as_str())
                .near(
                    name,
                    model.footprints.iter().map(|(name, _)| name.as_str()),
                    "add a PlaceFootprint of that name, or fix it",
                );
        }
    }
}

fn check_parties(check: &mut Check<'_, DataSharingAgreement>, model: &Model) {
    let spec = &check.object().spec;
    let mut rows = BTreeSet::new();
    for (index, party) in spec.parties.iter().enumerate() {
        let field = format!("spec.parties[{index}]");
        if !rows.insert((&party.org, party.role, &party.function)) {
            check
                .finding(
                    Code::DuplicateParty,
                    &field,
                    format!("`{}` is listed twice as {}", party.org, party.role.as_str()),
                )
                .help("list an organisation once per role and function");
        }
        check_org(check, model, &party.org, party.function.as_deref(), &field);
    }
    for (index, org) in spec.onward_sharing.to.iter().enumerate() {
        if !model.orgs.contains_key(org) {
            org_not_found(check, model, org, &format!("spec.onwardSharing.to[{index}]"));
        }
    }
}

fn org_not_found(check: &mut Check<'_, DataSharingAgreement>, model: &Model, org: &str, field: &str) {
    let accession = check.object().spec.accession;
    check
        .finding(Code::OrgNotFound, field, format!("there is no organisation `{org}` that can be used"))
        .missing("PartnerOrg", org)
        .near(org, model.orgs.keys().map(String::as_str), "add a PartnerOrg of that name, or fix it")
        .harms_one_member(accession);
}

fn check_org(
    check: &mut Check<'_, DataSharingAgreement>,
    model: &Model,
    org: &str,
    function: Option<&str>,
    field: &str,
) {
    let accession = check.object().spec.accession;
    match (model.orgs.get(org), function) {
        (None, _) => org_not_found(check, model, org, &format!("{field}.org")),
        (Some(found), Some(function)) if found.function(function).is_none() => {
            let names = found.spec.functions.iter().map(|function| function.name.as_str());
            check
                .finding(
                    Code::FunctionNotFound,
                    &format!("{field}.function"),
                    format!("`{org}` has no function `{function}`"),
                )
                .near(function, names, "leave it out to mean every function of the organisation")
                .harms_one_member(accession);
        }
        (Some(_), _) => {}
    }
}

fn check_purpose(
    check: &mut Check<'_, DataSharingAgreement>,
    model: &Model,
    framework: Option<&Framework>,
    purpose: &Purpose,
    field: &str,
) {
    if let Some(framework) = framework {
        match framework.purpose(&purpose.code) {
            None => {
                let codes = framework.purposes().map(|purpose| purpose.code.as_str());
                let otherwise = format!("use one of {}", listed(codes.clone()));
                check
                    .finding(
                        Code::UnknownPurpose,
                        &format!("{field}.code"),
                        format!("framework `{}` has no purpose `{}`", framework.reference, purpose.code),
                    )
                    .near(&purpose.code, codes, &otherwise);
            }
            Some(definition) if definition.prohibited => {
                check
                    .finding(
                        Code::ProhibitedPurpose,
                        &format!("{field}.code"),
                        format!("framework `{}` never allows `{}`", framework.reference, purpose.code),
                    )
                    .help(
                        "every request for it is denied, and no path is opened for it: take the purpose out",
                    );
            }
            Some(_) => {}
        }
        for (index, role) in purpose.roles.iter().flatten().enumerate() {
            let roles = &framework.spec.vocabulary.roles;
            if !roles.contains(role) {
                check
                    .finding(
                        Code::UnlistedRole,
                        &format!("{field}.roles[{index}]"),
                        format!("framework `{}` does not list role `{role}`", framework.reference),
                    )
                    .near(
                        role,
                        roles.iter().map(String::as_str),
                        "use a listed role, so that every gateway knows it",
                    );
            }
        }
    }
    // an empty list never means "all"; the API server refuses it, and so do we
    let empty = [
        ("roles", purpose.roles.as_ref().is_some_and(Vec::is_empty)),
        ("recipients", purpose.recipients.as_ref().is_some_and(Vec::is_empty)),
    ];
    for (name, _) in empty.into_iter().filter(|(_, empty)| *empty) {
        check
            .finding(Code::InvalidField, &format!("{field}.{name}"), format!("`{name}` is empty"))
            .help("leave it out to mean all, or name those that are meant");
    }
    for (index, reference) in purpose.products.iter().enumerate() {
        check_product(check, model, framework, reference, &format!("{field}.products[{index}]"));
    }
    for (index, recipient) in purpose.recipients.iter().flatten().enumerate() {
        check_recipient(check, model, recipient, &format!("{field}.recipients[{index}]"));
    }
}

fn check_product(
    check: &mut Check<'_, DataSharingAgreement>,
    model: &Model,
    framework: Option<&Framework>,
    reference: &ObjectRef,
    field: &str,
) {
    let accession = check.object().spec.accession;
    let Some(product) = model.products.get(reference) else {
        check
            .finding(
                Code::ProductNotFound,
                field,
                format!("there is no product `{reference}` that can be used"),
            )
            .missing("DataProduct", reference)
            .near(
                &reference.to_string(),
                model.products.keys().map(ToString::to_string),
                "add a DataProduct of that name, or fix it",
            )
            .harms_one_member(accession);
        return;
    };
    let controller = &product.spec.controller;
    let spec = &check.object().spec;
    let stands =
        spec.parties.iter().any(|party| party.role == PartyRole::Controller && party.org == *controller);
    if !stands {
        check
            .finding(
                Code::ProductControllerNotParty,
                field,
                format!("`{controller}` controls `{reference}`, and is not a Controller here"),
            )
            .help(format!(
                "add `{controller}` to the parties with role Controller: no organisation shares the data of another"
            ))
            .harms_one_member(accession);
    }
    if let Some(framework) = framework {
        let listed = &framework.spec.vocabulary.categories;
        for category in product.spec.categories.iter().filter(|category| !listed.contains(category)) {
            check
                .finding(
                    Code::UnlistedCategory,
                    field,
                    format!(
                        "`{reference}` has category `{category}`, which `{}` does not list",
                        framework.reference
                    ),
                )
                .near(category, listed.iter().map(String::as_str), "use a listed category in the product");
        }
    }
}

fn check_recipient(
    check: &mut Check<'_, DataSharingAgreement>,
    model: &Model,
    recipient: &RecipientRef,
    field: &str,
) {
    check_org(check, model, &recipient.org, recipient.function.as_deref(), field);
    let spec = &check.object().spec;
    let mut rows =
        spec.parties.iter().filter(|party| party.role == PartyRole::Recipient && party.org == recipient.org);
    let covered = rows.any(|party| {
        party.function.is_none() || recipient.function.is_none() || party.function == recipient.function
    });
    if !covered {
        let name = recipient
            .function
            .as_ref()
            .map_or_else(|| recipient.org.clone(), |function| format!("{}/{function}", recipient.org));
        check
            .finding(Code::RecipientNotParty, field, format!("`{name}` is not a Recipient here"))
            .help("add it to the parties with role Recipient, or take it out of the purpose");
    }
}
