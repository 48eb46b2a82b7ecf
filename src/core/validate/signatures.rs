//! Signatures: who may sign for whom, on which terms; one for each agreement and party.
//!
//! What was said is collected before agreements are looked at, for agreements that cannot be used too: they may have
//! replaced others. What it comes to at a moment is the model's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::check::Check;
use super::shape::nearest;
use super::{Checked, listed, namespace, reference};
use crate::finding::Code;
use crate::model::{Agreement, DelegatedWord, Delegation, Model, Said, Signer, Slot, Voice, Word, Words};
use crate::parallel;
use crate::sign;
use crate::snapshot::{Snapshot, Sourced, Unreadable};
use crate::terms;
use concordat_api::{
    AgreementSignature, DataProductSpec, DataSharingAgreementSpec, DelegatedSigning, ObjectRef, OrgState,
    PartnerOrgSpec, SignatureState, Standing,
};

/// The signature objects behind the words, for findings about them.
pub(super) type Objects<'s> = BTreeMap<Slot, Vec<&'s Sourced<AgreementSignature>>>;

/// Collects what was said, by whoever may speak.
pub(super) fn collect<'s>(snapshot: &'s Snapshot, now: Timestamp, checked: &mut Checked<'_>) -> Objects<'s> {
    let specs: BTreeMap<ObjectRef, &DataSharingAgreementSpec> = snapshot
        .agreements
        .iter()
        .map(|agreement| (reference(&*agreement.object), &agreement.object.spec))
        .collect();
    let homes: BTreeMap<String, String> =
        snapshot.homes().map(|(org, home)| (org.to_owned(), home.to_owned())).collect();
    let unreadable = snapshot.unreadable_of("PartnerOrg");
    checked.model.homeless =
        unreadable.map(|it| it.key().name).filter(|name| !homes.contains_key(name)).collect();
    checked.model.homes = homes;
    let mut objects = Objects::new();
    let mut words: BTreeMap<Slot, Words> = BTreeMap::new();
    let mut misaddressed: Vec<Unreadable> = Vec::new();
    for sourced in &snapshot.signatures {
        if checked.model.misshapen.contains_key(&sourced.key()) {
            continue;
        }
        if !checked.model.has_org(&sourced.object.spec.party) {
            // the name may be what is wrong with it
            misaddressed.push(Unreadable {
                kind: "AgreementSignature".to_owned(),
                meta: sourced.object.metadata.clone(),
                error: "it names no organisation".to_owned(),
                spec: serde_json::to_value(&sourced.object.spec).unwrap_or_default(),
                source: Arc::clone(&sourced.source),
            });
        }
        let spec = &sourced.object.spec;
        let slot = (spec.agreement.clone(), spec.party.clone());
        let usable = match checked.start(sourced) {
            Some(mut check) => {
                examine(&mut check, &checked.model, &specs, now);
                // where it lies, and whether its party and agreement are there, says whether it counts, and not whether it
                // can be read
                let elsewhere = [
                    Code::SignatureNamespace,
                    Code::PurposeNotDelegated,
                    Code::NotAParty,
                    Code::OrgNotFound,
                    Code::AgreementNotFound,
                ];
                let is_sound = check.is_sound_but_for(&elsewhere);
                checked.finish(check);
                is_sound
            }
            // refused before it was looked at: it may have been a no
            None => checked.model.accepted(&sourced.key()),
        };
        let word = if usable { Word::Said(said(&sourced.object)) } else { Word::Unknown };
        if speak(&checked.model, &namespace(&*sourced.object), &slot, word, &mut words) {
            objects.entry(slot).or_default().push(sourced);
        }
    }
    let model = &checked.model;
    let unread = model.held(snapshot).filter(|it| it.kind == "DataSharingAgreement");
    let unread = unread.map(|it| (it.reference(), None));
    let agreements = unread.chain(specs.iter().map(|(key, spec)| (key.clone(), Some(*spec)))).collect();
    let held = model.held(snapshot).filter(|it| it.kind == "AgreementSignature");
    for unreadable in held.chain(&misaddressed) {
        for slot in may_be_about(unreadable, &agreements, model) {
            let namespace = unreadable.meta.namespace.as_deref().unwrap_or_default();
            speak(model, namespace, &slot, Word::Unknown, &mut words);
        }
    }
    checked.model.words = words;
    objects
}

fn said(signature: &AgreementSignature) -> Said {
    let spec = &signature.spec;
    Said {
        state: spec.state.unwrap_or_default(),
        terms_hash: spec.terms_hash.clone(),
        purposes: spec.purposes.as_ref().map(|purposes| purposes.iter().cloned().collect()),
        ends: spec.ends.clone(),
        leaving: signature.metadata.deletion_timestamp.is_some(),
    }
}

/// Puts a word where it counts; tells whether it counts anywhere.
fn speak(model: &Model, stands_in: &str, slot: &Slot, word: Word, words: &mut BTreeMap<Slot, Words>) -> bool {
    if model.may_be_home(stands_in, &slot.1) {
        // of one whose home cannot be read, it is not known to be the word
        let word = if model.homeless.contains(&slot.1) { Word::Unknown } else { word };
        words.entry(slot.clone()).or_default().own.push(word);
        return true;
    }
    let Some(org) = model.orgs.get(&slot.1) else {
        return false;
    };
    let mut is_usable = true;
    let delegations: Vec<Delegation> = delegations(model, &org.spec, stands_in)
        .map(|it| {
            let delegate = model.orgs.get(&it.to).map(|org| &org.spec);
            // of one that is not there any more, a no stays
            let is_gone = !model.has_org(&it.to);
            is_usable &= delegate.is_some() || is_gone;
            Delegation {
                purposes: it.purposes.iter().cloned().collect(),
                until: it.until,
                delegate_ends: delegate.and_then(|org| org.ends_on),
                is_inactive: is_gone || delegate.is_some_and(|org| org.state != OrgState::Active),
            }
        })
        .collect();
    if delegations.is_empty() {
        return false;
    }
    let namespace = stands_in.to_owned();
    words.entry(slot.clone()).or_default().delegated.push(DelegatedWord {
        namespace,
        delegations,
        word,
        is_usable,
    });
    true
}

/// What a signature that cannot be used may be about: the party that it names, or where there is no such organisation,
/// each that its namespace may speak for; and of agreements, those that what can be read of it does not rule out.
fn may_be_about(
    unreadable: &Unreadable,
    agreements: &BTreeMap<ObjectRef, Option<&DataSharingAgreementSpec>>,
    model: &Model,
) -> BTreeSet<Slot> {
    let namespace = unreadable.meta.namespace.as_deref().unwrap_or_default();
    let speaks_for = |org: &&str| may_speak(namespace, org, model);
    let parties: Vec<&str> = match unreadable.party().filter(|party| model.has_org(party)) {
        // for another party no one speaks there, whole or broken
        Some(party) => Some(party).filter(speaks_for).into_iter().collect(),
        None => model.orgs.keys().map(String::as_str).filter(speaks_for).collect(),
    };
    let mut slots = BTreeSet::new();
    for party in parties {
        if let Some(agreement) = unreadable.agreement() {
            slots.insert((agreement, party.to_owned()));
            continue;
        }
        let is_party = |spec: &Option<&DataSharingAgreementSpec>| {
            spec.is_none_or(|spec| spec.parties.iter().any(|row| row.org == party))
        };
        let meant = agreements
            .iter()
            .filter(|(agreement, spec)| is_party(spec) && unreadable.may_mean("/agreement", agreement));
        slots.extend(meant.map(|(agreement, _)| (agreement.clone(), party.to_owned())));
    }
    slots
}

/// Whether a namespace is the home of a party, or of somebody who may sign for it.
fn may_speak(namespace: &str, party: &str, model: &Model) -> bool {
    let delegates = model.orgs.get(party).into_iter().flat_map(|org| &org.spec.delegated_signing);
    delegates.map(|it| it.to.as_str()).chain([party]).any(|org| model.may_be_home(namespace, org))
}

/// Gives each agreement what was said of it, and says of signatures that do not count why.
pub(super) fn check(snapshot: &Snapshot, objects: &Objects<'_>, now: Timestamp, checked: &mut Checked<'_>) {
    for ((reference, org), terms_hash) in hashes(checked) {
        let slot = (reference.clone(), org.clone());
        // a party that cannot be used signs nothing now; what it said of a successor holds
        let is_usable = checked.model.orgs.contains_key(&org);
        let words = checked.model.words.get(&slot).filter(|_| is_usable).cloned().unwrap_or_default();
        let Some(agreement) = checked.model.agreements.get_mut(&reference) else {
            continue;
        };
        let words = words.since(agreement.spec.term.start);
        let voice = words.at(now, &agreement.purposes(), &terms_hash);
        agreement.signers.insert(org, Signer { terms_hash: terms_hash.clone(), words });
        let about = objects.get(&slot).map(Vec::as_slice).unwrap_or_default();
        uncounted(snapshot, &slot, &terms_hash, &voice, about, checked);
    }
}

/// Findings about signatures that void each other, or are on other terms.
fn uncounted(
    snapshot: &Snapshot,
    slot: &Slot,
    terms_hash: &str,
    voice: &Voice,
    objects: &[&Sourced<AgreementSignature>],
    checked: &mut Checked<'_>,
) {
    let (agreement, party) = slot;
    let used: Vec<_> = objects.iter().filter(|it| checked.model.accepted(&it.key())).collect();
    if voice.twice {
        let unreadable = checked.model.held(snapshot).find(|it| {
            it.kind == "AgreementSignature"
                && it.may_mean("/agreement", agreement)
                && it.meta.namespace.as_ref().is_some_and(|home| {
                    may_speak(home, party, &checked.model)
                        && it.party().is_none_or(|of| of == party || !checked.model.homes.contains_key(of))
                })
        });
        let refused = objects.iter().find(|it| !checked.model.accepted(&it.key()));
        let doubt = match (refused, unreadable) {
            (Some(refused), _) => Some(format!("{} cannot be used", refused.key())),
            (None, Some(unreadable)) => Some(format!("{} cannot be read", unreadable.key())),
            // one that names no organisation is not among them
            (None, None) if objects.len() < 2 => {
                Some("a signature that names no organisation is there, too".to_owned())
            }
            (None, None) => None,
        };
        for sourced in used {
            let mut check = Check::new(sourced);
            match &doubt {
                Some(doubt) => check
                    .finding(
                        Code::SecondSignature,
                        "metadata.name",
                        format!(
                            "{doubt}, and may withdraw what `{party}` has signed on `{agreement}`: neither counts"
                        ),
                    )
                    .help("fix it or delete it, or run a version of concordat that can read it"),
                None => check
                    .finding(
                        Code::SecondSignature,
                        "metadata.name",
                        format!(
                            "`{party}` has {} signatures on `{agreement}`, and none counts: {}",
                            objects.len(),
                            each(objects)
                        ),
                    )
                    .help(
                        "keep one of them; `concordat sign` always gives the same name, so that a later one \
                         replaces it",
                    ),
            };
            checked.finish(check);
        }
        return;
    }
    let home = checked.model.orgs.get(party).map(|org| org.spec.home_namespace.clone());
    let is_own = |sourced: &Sourced<AgreementSignature>| Some(namespace(&*sourced.object)) == home;
    let (own, others): (Vec<&Sourced<_>>, Vec<&Sourced<_>>) =
        used.into_iter().copied().partition(|sourced| is_own(sourced));
    if !own.is_empty() {
        for sourced in &others {
            let mut check = Check::new(sourced);
            check
                .finding(
                    Code::SecondSignature,
                    "metadata.name",
                    format!(
                        "`{party}` speaks for itself on `{agreement}`, and this signature does not count"
                    ),
                )
                .help("delete it: what a party says itself goes before what a delegate says")
                .warning();
            checked.finish(check);
        }
    }
    let used: Vec<_> = own.into_iter().chain(others).collect();
    if voice.standing == Standing::OtherTerms {
        // of a product that is gone no one knows the terms: once it is back, what was signed may fit again
        let listed = checked.model.agreements.get(agreement).map(|it| it.spec.clone());
        let lost = listed.iter().flat_map(|spec| &spec.purposes).flat_map(|purpose| &purpose.products);
        let lost = lost.filter(|product| !checked.model.products.contains_key(*product)).min().cloned();
        let first = lost.map_or_else(
            || "read what changed and sign again".to_owned(),
            |product| {
                format!(
                    "put `{product}` right first, whose description is part of the terms; if it has changed, sign again"
                )
            },
        );
        for sourced in used.iter().filter(|it| it.object.spec.terms_hash != terms_hash) {
            // "sign again" never widens what was signed
            let spec = &sourced.object.spec;
            let help = if spec.ends.is_empty() {
                let command = sign::command(agreement, party, spec.purposes.as_deref());
                format!("{first}: `{command}` (the hash of the terms is {terms_hash})")
            } else {
                format!("{first} for what is to go on: it had signed until a date")
            };
            let mut check = Check::new(sourced);
            check
                .finding(
                    Code::OtherTerms,
                    "spec.termsHash",
                    format!("`{party}` has signed other terms than those of `{agreement}` now"),
                )
                .help(help);
            checked.finish(check);
        }
    }
}

/// Each of several signatures, with what it says.
fn each(objects: &[&Sourced<AgreementSignature>]) -> String {
    let one = |it: &&Sourced<AgreementSignature>| {
        let state = it.object.spec.state.unwrap_or_default();
        format!("`{}/{}` says {state:?}", namespace(&*it.object), it.key().name)
    };
    objects.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The hash that each organisation has to sign, for each agreement that can be used.
fn hashes(checked: &Checked<'_>) -> BTreeMap<Slot, String> {
    let model = &checked.model;
    let products: BTreeMap<ObjectRef, &DataProductSpec> =
        model.products.iter().map(|(reference, product)| (reference.clone(), &product.spec)).collect();
    let agreements: Vec<_> = model.agreements.iter().collect();
    let hashes = parallel::map(&agreements, |(reference, agreement)| {
        let mut hashes = Vec::new();
        let mut common: Option<String> = None;
        let before = checked.earlier.and_then(|earlier| same_terms(agreement, model, earlier));
        for org in agreement.orgs() {
            let known = before.and_then(|before| before.signers.get(org)).map(|signer| &signer.terms_hash);
            let hash = match common.as_ref().or(known) {
                Some(hash) => hash.clone(),
                // products have been found, so that only text which canonical JSON cannot carry has no digest; no
                // signature matches an empty one
                None => terms::terms_hash(&agreement.spec, &products, org).unwrap_or_default(),
            };
            if !agreement.spec.accession {
                common = Some(hash.clone());
            }
            hashes.push((((*reference).clone(), org.to_owned()), hash));
        }
        hashes
    });
    hashes.into_iter().flatten().collect()
}

/// The agreement as an earlier model has it, if its terms are the same, those of its products among them.
fn same_terms<'e>(agreement: &Agreement, model: &Model, earlier: &'e Model) -> Option<&'e Agreement> {
    let before = earlier.agreements.get(&agreement.reference)?;
    let mut products = agreement.spec.purposes.iter().flat_map(|purpose| &purpose.products);
    let same = products.all(|product| model.products.get(product) == earlier.products.get(product));
    (same && before.spec == agreement.spec).then_some(before)
}

/// Notes what is wrong with a signature, whatever the terms.
fn examine(
    check: &mut Check<'_, AgreementSignature>,
    model: &Model,
    specs: &BTreeMap<ObjectRef, &DataSharingAgreementSpec>,
    now: Timestamp,
) {
    let object = check.object();
    let spec = &object.spec;
    let Some(agreement) = specs.get(&spec.agreement) else {
        let says_no = spec.state.unwrap_or_default() != SignatureState::Signed || !spec.ends.is_empty();
        let named = spec.agreement.to_string();
        let names = || specs.keys().map(ToString::to_string);
        let finding = check
            .finding(
                Code::AgreementNotFound,
                "spec.agreement",
                format!("there is no agreement `{}`", spec.agreement),
            )
            .missing("DataSharingAgreement", &spec.agreement);
        // it may be about another, which stays open: a name that is gone is seldom so near to one that is there
        match says_no.then(|| nearest(&named, names())).flatten() {
            Some(near) => finding.help(format!("did you mean `{near}`?")).error(),
            None => finding.near(&named, names(), "the signature counts once the agreement is there"),
        };
        return;
    };
    let is_signed = spec.state.unwrap_or_default() == SignatureState::Signed;
    // a no is from every purpose, whatever else it names; a withdrawal with a date from what is misspelt would be lost
    let listed_purposes = spec.purposes.iter().flatten().enumerate();
    let listed_purposes = listed_purposes.map(|(index, it)| {
        (format!("spec.purposes[{index}]"), it, "name purposes of the agreement, or none for all")
    });
    let ended = spec.ends.iter().enumerate().filter_map(|(index, end)| Some((index, end.purpose.as_ref()?)));
    let ended = ended.map(|(index, it)| {
        (format!("spec.ends[{index}].purpose"), it, "name a purpose of the agreement, or none for all")
    });
    for (field, purpose, help) in listed_purposes.chain(ended).filter(|_| is_signed) {
        if !agreement.purposes.iter().any(|known| known.code == *purpose) {
            check
                .finding(
                    Code::PurposeNotInAgreement,
                    &field,
                    format!("`{}` has no purpose `{purpose}`", spec.agreement),
                )
                .near(purpose, agreement.purposes.iter().map(|purpose| purpose.code.as_str()), help);
        }
    }
    let Some(org) = model.orgs.get(&spec.party) else {
        check
            .finding(
                Code::OrgNotFound,
                "spec.party",
                format!("there is no organisation `{}` that can be used", spec.party),
            )
            .missing("PartnerOrg", spec.party.as_str())
            .near(
                &spec.party,
                model.orgs.keys().map(String::as_str),
                "add a PartnerOrg of that name, or fix it",
            );
        return;
    };
    let parties: Vec<&str> = agreement.parties.iter().map(|party| party.org.as_str()).collect();
    if !parties.contains(&spec.party.as_str()) {
        check
            .finding(
                Code::NotAParty,
                "spec.party",
                format!("`{}` is not a party of `{}`", spec.party, spec.agreement),
            )
            .help(format!("its parties are {}", listed(parties.iter().copied())));
    }
    let stands_in = namespace(object);
    if stands_in == org.spec.home_namespace {
        return;
    }
    let Some(purposes) = delegated_purposes(model, &org.spec, &stands_in, now) else {
        let home = &org.spec.home_namespace;
        let message = format!("a signature of `{}` in namespace `{stands_in}` proves nothing", spec.party);
        let found = check.finding(Code::SignatureNamespace, "metadata.namespace", message);
        match invalid_delegation(model, &org.spec, &stands_in, now) {
            Some((to, Invalid::Ended(until))) => found.help(format!(
                "the delegation to `{to}` ended at {until}: put it into `{home}`, its home namespace, or give the \
                 delegation a later `until`"
            )),
            Some((to, Invalid::Gone)) => found.help(format!(
                "signing is delegated to `{to}`, and there is no such organisation: put it into `{home}`, its home \
                 namespace, or add the PartnerOrg of `{to}`"
            )),
            Some((to, Invalid::NotActive(state))) => found.help(format!(
                "signing is delegated to `{to}`, which is {}: put it into `{home}`, its home namespace, or delegate \
                 to an organisation that is active",
                state.as_str().to_lowercase()
            )),
            None => found.help(format!(
                "put it into `{home}`, its home namespace, or delegate signing with `delegatedSigning` in its \
                 PartnerOrg"
            )),
        };
        return;
    };
    let asked = agreement.purposes.iter().map(|purpose| &purpose.code);
    let covered: BTreeSet<&String> =
        asked.filter(|code| spec.purposes.as_ref().is_none_or(|own| own.contains(code))).collect();
    let beyond: BTreeSet<&str> =
        covered.iter().filter(|code| !purposes.contains(**code)).map(|code| code.as_str()).collect();
    if !beyond.is_empty() && is_signed {
        let field = if spec.purposes.is_some() { "spec.purposes" } else { "metadata.namespace" };
        let message = format!(
            "`{}` has not delegated signing for {} to the organisation at home in `{stands_in}`",
            spec.party,
            listed(beyond.iter().copied())
        );
        let found = check.finding(Code::PurposeNotDelegated, field, message).help(format!(
            "what is delegated is {}: for the others sign in `{}`, its home namespace",
            listed(purposes.iter().map(String::as_str)),
            org.spec.home_namespace
        ));
        // who signs for nothing that it may sign for has not signed the terms
        if covered.len() == beyond.len() {
            found.error();
        }
    }
}

/// Why a delegation does not count.
enum Invalid {
    Ended(Timestamp),
    Gone,
    NotActive(OrgState),
}

/// The organisation whose home the namespace is, if it may not sign for the party any more, and why; of several
/// delegations the one that ended last.
fn invalid_delegation<'o>(
    model: &Model,
    org: &'o PartnerOrgSpec,
    stands_in: &str,
    now: Timestamp,
) -> Option<(&'o str, Invalid)> {
    let last = delegations(model, org, stands_in).max_by_key(|it| it.until)?;
    if !model.has_org(&last.to) {
        return Some((&last.to, Invalid::Gone));
    }
    let state = model.orgs.get(&last.to)?.state(now);
    if state != OrgState::Active {
        return Some((&last.to, Invalid::NotActive(state)));
    }
    (last.until <= now).then_some((&last.to, Invalid::Ended(last.until)))
}

/// What a party has delegated to the organisation whose home the namespace is, or may have been.
fn delegations<'o>(
    model: &Model,
    org: &'o PartnerOrgSpec,
    stands_in: &str,
) -> impl Iterator<Item = &'o DelegatedSigning> {
    org.delegated_signing.iter().filter(move |it| model.may_be_home(stands_in, &it.to))
}

/// The purposes of all delegations in date to the organisation whose home the namespace is; none where there is none.
fn delegated_purposes(
    model: &Model,
    org: &PartnerOrgSpec,
    stands_in: &str,
    now: Timestamp,
) -> Option<BTreeSet<String>> {
    let is_active = |to: &str| model.orgs.get(to).is_some_and(|it| it.state(now) == OrgState::Active);
    let in_date: Vec<_> =
        delegations(model, org, stands_in).filter(|it| now < it.until && is_active(&it.to)).collect();
    (!in_date.is_empty()).then(|| in_date.iter().flat_map(|it| it.purposes.iter().cloned()).collect())
}
