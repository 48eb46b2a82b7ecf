//! Signatures: who may sign for whom, on which terms; one for each agreement and party.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::check::Check;
use super::{Checked, listed, namespace, reference};
use crate::api::{
    AgreementSignature, DataProductSpec, DataSharingAgreementSpec, DelegatedSigning, ObjectRef, OrgState,
    PartnerOrgSpec, SignatureState,
};
use crate::core::finding::{Code, ObjectKey};
use crate::core::model::{Agreement, Model, Signature, Signer};
use crate::core::parallel;
use crate::core::snapshot::{Snapshot, Sourced, Unreadable};
use crate::core::terms;

/// Whose signature on what.
pub(super) type Slot = (ObjectRef, String);

pub(super) fn check(snapshot: &Snapshot, now: Timestamp, checked: &mut Checked<'_>) {
    let hashes = hashes(checked);
    let specs: BTreeMap<ObjectRef, &DataSharingAgreementSpec> = snapshot
        .agreements
        .iter()
        .map(|agreement| (reference(&*agreement.object), &agreement.object.spec))
        .collect();
    // where a signature stands decides whether it counts at all; only those that do can void each other
    let mut counting: BTreeMap<Slot, Vec<(&Sourced<AgreementSignature>, Authority)>> = BTreeMap::new();
    let mut doubts =
        Doubts { unreadable: &snapshot.unreadable, refused: BTreeMap::new(), lapsed: BTreeSet::new() };
    for sourced in &snapshot.signatures {
        let spec = &sourced.object.spec;
        let slot = (spec.agreement.clone(), spec.party.clone());
        let Some(mut check) = checked.start(sourced) else {
            // refused before it was looked at, and not because it is on its way out
            let refused = !checked.model.accepted(&sourced.key());
            if refused && may_speak(&namespace(&*sourced.object), &slot.1, &checked.model) {
                doubts.refused.insert(slot, sourced.key());
            }
            continue;
        };
        let authority = examine(&mut check, &checked.model, &specs, now);
        match (checked.finish(check), authority) {
            (true, Some(authority)) => counting.entry(slot).or_default().push((sourced, authority)),
            (false, Some(_)) => {
                doubts.refused.insert(slot, sourced.key());
            }
            (_, None) if has_lapsed(sourced, &checked.model, now) => {
                doubts.lapsed.insert(slot);
            }
            (_, None) => {}
        }
    }
    let mut signatures: BTreeMap<Slot, Signature> = BTreeMap::new();
    for (slot, found) in counting {
        let doubt = doubts.about(&slot, &checked.model);
        let signature = match (found.as_slice(), doubt) {
            // a second one, for all that can be told
            ([(sourced, _)], Some(doubt)) => {
                let message = format!(
                    "{doubt}, and may withdraw what `{}` has signed on `{}`: neither counts",
                    slot.1, slot.0
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
        let slot = (reference.clone(), org.clone());
        let signature = signatures.remove(&slot).unwrap_or_else(|| {
            let doubt = doubts.lapsed.contains(&slot) || doubts.about(&slot, &checked.model).is_some();
            if doubt { Signature::InDoubt } else { Signature::Missing }
        });
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

/// What may be a party's word on an agreement, and does not count.
struct Doubts<'a> {
    unreadable: &'a [Unreadable],
    /// Signatures that stand where they would count, and are refused for something else.
    refused: BTreeMap<Slot, ObjectKey>,
    /// What a delegate withdrew whose delegation has ended. It voids nothing that the party says itself.
    lapsed: BTreeSet<Slot>,
}

impl Doubts<'_> {
    fn about(&self, slot: &Slot, model: &Model) -> Option<String> {
        let refused = self.refused.get(slot).map(|key| format!("{key} cannot be used"));
        refused.or_else(|| {
            let unreadable = self.unreadable.iter().find(|it| may_be_about(it, slot, model))?;
            Some(format!("{} cannot be read", unreadable.key()))
        })
    }
}

/// Whether a signature that cannot be read may be the party's word on the agreement: it says so, or does not say
/// otherwise, and stands where the party's signatures count.
fn may_be_about(unreadable: &Unreadable, (agreement, party): &Slot, model: &Model) -> bool {
    unreadable.kind == "AgreementSignature"
        && unreadable.agreement().is_none_or(|about| about == *agreement)
        && unreadable.party().is_none_or(|of| of == party)
        && unreadable.meta.namespace.as_ref().is_some_and(|namespace| may_speak(namespace, party, model))
}

/// Whether a namespace is the home of a party, or of somebody who may sign for it.
fn may_speak(namespace: &str, party: &str, model: &Model) -> bool {
    let is_home = |org: &str| model.orgs.get(org).is_some_and(|org| org.spec.home_namespace == namespace);
    let delegates = model.orgs.get(party).into_iter().flat_map(|org| &org.spec.delegated_signing);
    delegates.map(|it| it.to.as_str()).chain([party]).any(is_home)
}

/// Whether this is a withdrawal by a delegate that might sign once and may not any more.
fn has_lapsed(sourced: &Sourced<AgreementSignature>, model: &Model, now: Timestamp) -> bool {
    let spec = &sourced.object.spec;
    spec.state == Some(SignatureState::Withdrawn)
        && model.orgs.get(&spec.party).is_some_and(|org| {
            invalid_delegation(model, &org.spec, &namespace(&*sourced.object), now).is_some()
        })
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
            && meta.namespace.as_ref().is_some_and(|namespace| may_speak(namespace, party, model))
    });
    signed || snapshot.unreadable.iter().any(|it| may_be_about(it, slot, model))
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
        check
            .finding(
                Code::AgreementNotFound,
                "spec.agreement",
                format!("there is no agreement `{}`", spec.agreement),
            )
            .missing("DataSharingAgreement", &spec.agreement)
            .near(
                &spec.agreement.to_string(),
                specs.keys().map(ToString::to_string),
                "the signature counts once the agreement is there",
            );
        return None;
    };
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
        return Some(Authority::Own);
    }
    let delegated = delegation(model, &org.spec, &stands_in, now);
    let Some(Authority::Delegated { purposes, .. }) = &delegated else {
        let home = &org.spec.home_namespace;
        let message = format!("a signature of `{}` in namespace `{stands_in}` proves nothing", spec.party);
        let found = check.finding(Code::SignatureNamespace, "metadata.namespace", message);
        match invalid_delegation(model, &org.spec, &stands_in, now) {
            Some((to, Invalid::Ended(until))) => found.help(format!(
                "the delegation to `{to}` ended at {until}: put it into `{home}`, its home namespace, or give the \
                 delegation a later `until`"
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
        return None;
    };
    let asked = agreement.purposes.iter().map(|purpose| &purpose.code);
    let covered: BTreeSet<&String> =
        asked.filter(|code| spec.purposes.as_ref().is_none_or(|own| own.contains(code))).collect();
    let beyond: BTreeSet<&str> =
        covered.iter().filter(|code| !purposes.contains(**code)).map(|code| code.as_str()).collect();
    if !beyond.is_empty() && spec.state != Some(SignatureState::Withdrawn) {
        let nothing_left = covered.len() == beyond.len();
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
        if nothing_left {
            found.error();
            return None;
        }
    }
    delegated
}

/// Why a delegation does not count.
enum Invalid {
    Ended(Timestamp),
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
    let state = model.orgs.get(&last.to)?.spec.state;
    if state != OrgState::Active {
        return Some((&last.to, Invalid::NotActive(state)));
    }
    (last.until <= now).then_some((&last.to, Invalid::Ended(last.until)))
}

/// What a party has delegated to the organisation whose home the namespace is.
fn delegations<'o>(
    model: &Model,
    org: &'o PartnerOrgSpec,
    stands_in: &str,
) -> impl Iterator<Item = &'o DelegatedSigning> {
    let is_delegate =
        move |to: &str| model.orgs.get(to).is_some_and(|delegate| delegate.spec.home_namespace == stands_in);
    org.delegated_signing.iter().filter(move |it| is_delegate(&it.to))
}

/// The delegations in date to the organisation whose home the namespace is, together: the purposes of all, until the
/// first of them ends, when this is asked again. One that is not active signs for nobody.
fn delegation(model: &Model, org: &PartnerOrgSpec, stands_in: &str, now: Timestamp) -> Option<Authority> {
    let is_active = |to: &str| model.orgs.get(to).is_some_and(|it| it.spec.state == OrgState::Active);
    let in_date: Vec<_> =
        delegations(model, org, stands_in).filter(|it| now < it.until && is_active(&it.to)).collect();
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
    if spec.state.is_some_and(|state| state != SignatureState::Signed) {
        let until = match authority {
            Authority::Own => None,
            Authority::Delegated { until, .. } => Some(*until),
        };
        return Signature::Withdrawn { until };
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
