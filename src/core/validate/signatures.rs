//! Signatures: who may sign for whom, on which terms; one for each agreement and party.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::check::Check;
use super::{Checked, listed, namespace, reference};
use crate::api::{
    AgreementSignature, DataProductSpec, DataSharingAgreementSpec, ObjectRef, PartnerOrgSpec, SignatureState,
};
use crate::core::finding::Code;
use crate::core::model::{Agreement, Model, Signature, Signer};
use crate::core::snapshot::{Snapshot, Sourced, Unreadable};
use crate::core::terms;

/// Whose signature on what.
pub(super) type Slot = (ObjectRef, String);

pub(super) fn check(snapshot: &Snapshot, now: Timestamp, checked: &mut Checked<'_>) {
    let hashes = hashes(checked);
    let specs: BTreeMap<ObjectRef, &DataSharingAgreementSpec> = snapshot
        .agreements
        .iter()
        .map(|agreement| (reference(&agreement.object), &agreement.object.spec))
        .collect();
    // where a signature stands decides whether it counts at all; only those that do can void each other
    let mut counting: BTreeMap<Slot, Vec<(&Sourced<AgreementSignature>, Authority)>> = BTreeMap::new();
    for sourced in &snapshot.signatures {
        let Some(mut check) = checked.start(sourced) else {
            continue;
        };
        let authority = examine(&mut check, &checked.model, &specs, now);
        if checked.finish(check)
            && let Some(authority) = authority
        {
            let spec = &sourced.object.spec;
            counting
                .entry((spec.agreement.clone(), spec.party.clone()))
                .or_default()
                .push((sourced, authority));
        }
    }
    let mut signatures: BTreeMap<Slot, Signature> = BTreeMap::new();
    for (slot, found) in counting {
        let doubt = snapshot.unreadable.iter().find(|it| may_be_about(it, &slot, &checked.model));
        let signature = match (found.as_slice(), doubt) {
            // a second one, for all that can be told
            ([(sourced, _)], Some(doubt)) => {
                let message = format!(
                    "{} cannot be read, and may withdraw what `{}` has signed on `{}`: neither counts",
                    doubt.key(),
                    slot.1,
                    slot.0
                );
                let help = "mend it or delete it, or run a version of concordat that can read it";
                void(sourced, message, help, checked);
                Signature::Twice
            }
            ([(sourced, authority)], None) => {
                read(sourced, authority, hashes.get(&slot).map(String::as_str), checked)
            }
            (several, _) => {
                for (sourced, _) in several {
                    let message = format!(
                        "`{}` has {} signatures on `{}`, and none counts",
                        slot.1,
                        several.len(),
                        slot.0
                    );
                    let help = "keep one of them; `concordat sign` always gives the same name, so that a later one replaces it";
                    void(sourced, message, help, checked);
                }
                Signature::Twice
            }
        };
        signatures.insert(slot, signature);
    }
    for ((reference, org), terms_hash) in hashes {
        let signature = signatures.remove(&(reference.clone(), org.clone())).unwrap_or(Signature::Missing);
        if let Some(agreement) = checked.model.agreements.get_mut(&reference) {
            agreement.signers.insert(org, Signer { terms_hash, signature });
        }
    }
}

/// Says of a signature that it does not count beside another.
fn void(sourced: &Sourced<AgreementSignature>, message: String, help: &str, checked: &mut Checked<'_>) {
    let mut check = Check::new(sourced);
    check.finding(Code::SecondSignature, "metadata.name", message).help(help);
    checked.finish(check);
}

/// Whether a signature that cannot be read may be the party's word on the agreement: it says so, or does not say
/// otherwise, and stands where the party's signatures count.
fn may_be_about(unreadable: &Unreadable, (agreement, party): &Slot, model: &Model) -> bool {
    let Unreadable { kind, meta, error: _, agreement: about, party: of, supersedes: _, start: _ } =
        unreadable;
    kind == "AgreementSignature"
        && about.as_ref().is_none_or(|about| about == agreement)
        && of.as_ref().is_none_or(|of| of == party)
        && may_stand_in(meta.namespace.as_ref(), party, model)
}

/// Whether signatures of a party, or of somebody who may sign for it, count in a namespace.
fn may_stand_in(namespace: Option<&String>, party: &str, model: &Model) -> bool {
    let home = |org: &str| model.orgs.get(org).map(|org| &org.spec.home_namespace);
    let delegates = model.orgs.get(party).into_iter().flat_map(|org| &org.spec.delegated_signing);
    let mut signers = delegates.map(|it| it.to.as_str()).chain([party]);
    signers.any(|org| home(org) == namespace)
}

/// Whether a party may have signed an agreement that cannot be read, and so has no hash to hold a signature to.
pub(super) fn may_have_signed(snapshot: &Snapshot, model: &Model, slot: &Slot) -> bool {
    let (agreement, party) = slot;
    let signed = snapshot.signatures.iter().map(|it| &it.object).any(|signature| {
        let (meta, spec) = (&signature.metadata, &signature.spec);
        spec.agreement == *agreement
            && spec.party == *party
            && spec.state != Some(SignatureState::Withdrawn)
            && meta.deletion_timestamp.is_none()
            && may_stand_in(meta.namespace.as_ref(), party, model)
    });
    signed || snapshot.unreadable.iter().any(|it| may_be_about(it, slot, model))
}

/// The hash that each organisation has to sign, for each agreement that can be used.
fn hashes(checked: &Checked<'_>) -> BTreeMap<Slot, String> {
    let model = &checked.model;
    let products: BTreeMap<ObjectRef, &DataProductSpec> =
        model.products.iter().map(|(reference, product)| (reference.clone(), &product.spec)).collect();
    let mut hashes = BTreeMap::new();
    for (reference, agreement) in &model.agreements {
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
            hashes.insert((reference.clone(), org.to_owned()), hash);
        }
    }
    hashes
}

/// The agreement as an earlier model has it, if its terms are the same, those of its products among them.
fn same_terms<'e>(agreement: &Agreement, model: &Model, earlier: &'e Model) -> Option<&'e Agreement> {
    let before = earlier.agreements.get(&agreement.reference)?;
    let mut products = agreement.spec.purposes.iter().flat_map(|purpose| &purpose.products);
    let same = products.all(|product| model.products.get(product) == earlier.products.get(product));
    (same && before.spec == agreement.spec).then_some(before)
}

/// By what right a signature stands where it does.
enum Authority {
    /// In the party's home namespace.
    Own,
    /// In a delegate's, for these purposes, until then.
    Delegated { purposes: BTreeSet<String>, until: Timestamp },
}

/// Whether a signature counts, whatever the terms; none where the agreement is not there.
fn examine(
    check: &mut Check<'_, AgreementSignature>,
    model: &Model,
    specs: &BTreeMap<ObjectRef, &DataSharingAgreementSpec>,
    now: Timestamp,
) -> Option<Authority> {
    let object = check.object();
    let spec = &object.spec;
    let Some(agreement) = specs.get(&spec.agreement) else {
        let names: Vec<String> = specs.keys().map(ToString::to_string).collect();
        check
            .finding(
                Code::AgreementNotFound,
                "spec.agreement",
                format!("there is no agreement `{}`", spec.agreement),
            )
            .missing("DataSharingAgreement", &spec.agreement)
            .near(
                &spec.agreement.to_string(),
                names.iter().map(String::as_str),
                "the signature counts once the agreement is there",
            );
        return None;
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
    for (index, purpose) in spec.purposes.iter().flatten().enumerate() {
        if !agreement.purposes.iter().any(|known| known.code == *purpose) {
            check
                .finding(
                    Code::PurposeNotInAgreement,
                    &format!("spec.purposes[{index}]"),
                    format!("`{}` has no purpose `{purpose}`", spec.agreement),
                )
                .near(
                    purpose,
                    agreement.purposes.iter().map(|purpose| purpose.code.as_str()),
                    "name purposes of the agreement, or none for all",
                );
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
                "add a PartnerOrg of that name, or mend it",
            );
        return None;
    };
    let stands_in = namespace(object);
    if stands_in == org.spec.home_namespace {
        return Some(Authority::Own);
    }
    let delegated = delegation(model, &org.spec, &stands_in, now);
    let Some(Authority::Delegated { purposes, .. }) = &delegated else {
        let home = &org.spec.home_namespace;
        let message = format!("a signature of `{}` in namespace `{stands_in}` proves nothing", spec.party);
        let found = check.finding(Code::SignatureNamespace, "metadata.namespace", message);
        match ended_delegation(model, &org.spec, &stands_in, now) {
            Some((to, until)) => found.help(format!(
                "the delegation to `{to}` ended at {until}: put it into `{home}`, its home namespace, or give the \
                 delegation a later `until`"
            )),
            None => found.help(format!(
                "put it into `{home}`, its home namespace, or delegate signing with `delegatedSigning` in its \
                 PartnerOrg"
            )),
        };
        return None;
    };
    let asked = agreement.purposes.iter().map(|purpose| &purpose.code);
    let beyond: BTreeSet<&str> = asked
        .filter(|code| {
            spec.purposes.as_ref().is_none_or(|own| own.contains(code)) && !purposes.contains(*code)
        })
        .map(String::as_str)
        .collect();
    if !beyond.is_empty() && spec.state != Some(SignatureState::Withdrawn) {
        let field = if spec.purposes.is_some() { "spec.purposes" } else { "metadata.namespace" };
        let message = format!(
            "`{}` has not delegated signing for {} to the organisation at home in `{stands_in}`",
            spec.party,
            listed(beyond.iter().copied())
        );
        check.finding(Code::PurposeNotDelegated, field, message).help(format!(
            "what is delegated is {}: for the others sign in `{}`, its home namespace",
            listed(purposes.iter().map(String::as_str)),
            org.spec.home_namespace
        ));
    }
    delegated
}

/// The delegation to the organisation whose home the namespace is that ended last.
fn ended_delegation<'o>(
    model: &Model,
    org: &'o PartnerOrgSpec,
    stands_in: &str,
    now: Timestamp,
) -> Option<(&'o str, Timestamp)> {
    let is_delegate =
        |to: &str| model.orgs.get(to).is_some_and(|delegate| delegate.spec.home_namespace == stands_in);
    let ended = org.delegated_signing.iter().filter(|it| it.until <= now && is_delegate(&it.to));
    ended.map(|it| (it.to.as_str(), it.until)).max_by_key(|(_, until)| *until)
}

/// The delegations in date to the organisation whose home the namespace is, together: the purposes of all, until the
/// first of them ends, when this is asked again.
fn delegation(model: &Model, org: &PartnerOrgSpec, stands_in: &str, now: Timestamp) -> Option<Authority> {
    let is_delegate =
        |to: &str| model.orgs.get(to).is_some_and(|delegate| delegate.spec.home_namespace == stands_in);
    let in_date: Vec<_> =
        org.delegated_signing.iter().filter(|it| now < it.until && is_delegate(&it.to)).collect();
    Some(Authority::Delegated {
        until: in_date.iter().map(|it| it.until).min()?,
        purposes: in_date.iter().flat_map(|it| it.purposes.iter().cloned()).collect(),
    })
}

/// What the one signature of a party says.
fn read(
    sourced: &Sourced<AgreementSignature>,
    authority: &Authority,
    current: Option<&str>,
    checked: &mut Checked,
) -> Signature {
    let spec = &sourced.object.spec;
    if spec.state == Some(SignatureState::Withdrawn) {
        return Signature::Withdrawn;
    }
    if let Some(current) = current
        && spec.terms_hash != current
    {
        let mut check = Check::new(sourced);
        check
            .finding(Code::OtherTerms, "spec.termsHash", format!("`{}` has signed other terms than those of `{}` now", spec.party, spec.agreement))
            .help(format!(
                "read what changed and sign again: `concordat sign --agreement {} --party {}` (the terms' hash is {current})",
                spec.agreement, spec.party
            ));
        checked.finish(check);
        return Signature::OtherTerms;
    }
    if current.is_none_or(str::is_empty) {
        return Signature::OtherTerms;
    }
    let own: Option<BTreeSet<String>> =
        spec.purposes.as_ref().map(|purposes| purposes.iter().cloned().collect());
    match authority {
        Authority::Own => Signature::Signed { purposes: own, until: None },
        Authority::Delegated { purposes, until } => Signature::Signed {
            purposes: Some(match own {
                Some(own) => own.intersection(purposes).cloned().collect(),
                None => purposes.clone(),
            }),
            until: Some(*until),
        },
    }
}
