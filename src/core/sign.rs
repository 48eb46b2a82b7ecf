//! Signing: the AgreementSignature that a party applies, with the right hash.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt as _;
use thiserror::Error;

use super::evaluate::Judgement;
use super::explain::{Explanation, explain};
use super::finding::ObjectKey;
use super::names::is_subdomain;
use super::snapshot::{Snapshot, Sourced, Unreadable, reference as reference_of};
use super::terms::{self, NO_TERMS, TermsError};
use super::validate::shape::{is_beyond_clocks, nearest};
use concordat_api::{
    ActingRole, AgreementSignature, AgreementSignatureSpec, DataProductSpec, DataSharingAgreement, ObjectRef,
    PartnerOrgSpec, Phase, SignatureEnd, SignatureState,
};

/// What is to be signed, by whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignatureRequest {
    pub agreement: ObjectRef,
    pub party: String,
    /// The purposes that the signature covers; none named means all.
    pub purposes: Option<Vec<String>>,
    /// Withdraw instead of signing.
    pub withdraw: bool,
    /// Say no to what was never signed, instead of signing.
    pub decline: bool,
    /// The moment from which a withdrawal counts; none means at once.
    pub on: Option<Timestamp>,
    pub acting_role: Option<ActingRole>,
    pub signed_on: Option<Timestamp>,
}

impl SignatureRequest {
    /// A signature for all purposes, which says neither when nor in which role it was made.
    pub fn new(agreement: ObjectRef, party: String) -> Self {
        Self {
            agreement,
            party,
            purposes: None,
            withdraw: false,
            decline: false,
            on: None,
            acting_role: None,
            signed_on: None,
        }
    }
}

/// Why nothing can be signed.
#[derive(Debug, Error)]
pub enum SignError {
    #[error("there is no agreement `{agreement}`{}", did_you_mean(.near.as_deref()))]
    AgreementNotFound { agreement: ObjectRef, near: Option<String> },
    #[error("agreement `{agreement}` exists, but cannot be used: {error}")]
    AgreementUnreadable { agreement: ObjectRef, error: String },
    #[error("`{agreement}` was read {count} times")]
    AgreementTwice { agreement: ObjectRef, count: usize },
    #[error("`{party}` is not a party of `{agreement}`; its parties are {parties}{}", did_you_mean(.near.as_deref()))]
    NotAParty { party: String, agreement: ObjectRef, parties: String, near: Option<Box<str>> },
    #[error("there is no organisation `{party}`, so its home namespace is not known")]
    OrgNotFound { party: String },
    #[error("organisation `{party}` exists, but its home namespace cannot be read: {error}")]
    OrgUnreadable { party: String, error: String },
    #[error("organisation `{party}` was read several times, with the home namespaces {homes}")]
    SeveralHomes { party: String, homes: String },
    #[error("`{agreement}` has no purpose `{purpose}`; its purposes are {purposes}{}", did_you_mean(.near.as_deref()))]
    PurposeNotFound { agreement: ObjectRef, purpose: String, purposes: String, near: Option<Box<str>> },
    #[error("a withdrawal that counts at once is from the whole agreement and takes no purposes")]
    WithdrawnWithPurposes { instead: String },
    #[error("who declines takes no part in the whole agreement, so `--decline` takes no purposes")]
    DeclinedWithPurposes { instead: String },
    #[error("`{party}` has no signature of its own on `{agreement}` that could end on a date")]
    NothingToEnd { party: String, agreement: ObjectRef, instead: String },
    #[error("`--on` is for a withdrawal: a signature counts from the start of the term, and a no at once")]
    DateWithoutWithdrawal,
    #[error("`{on}` is no date that a signature can name")]
    DateOutOfRange { on: Timestamp },
    #[error("no purpose is named; leave `--purposes` out to sign for all")]
    NoPurposes,
    #[error("the terms of `{agreement}` have no digest")]
    Terms {
        agreement: ObjectRef,
        #[source]
        source: TermsError,
    },
}

impl SignError {
    /// What would work.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::WithdrawnWithPurposes { instead }
            | Self::DeclinedWithPurposes { instead }
            | Self::NothingToEnd { instead, .. } => Some(instead.clone()),
            Self::DateWithoutWithdrawal => Some("say `--withdraw --on DATE`".to_owned()),
            Self::DateOutOfRange { .. } => Some("name one between the years 1000 and 9999".to_owned()),
            Self::NoPurposes => Some("name the purposes, such as `--purposes DirectCare`".to_owned()),
            Self::SeveralHomes { .. } => Some("read only the folder of the right one".to_owned()),
            _ => None,
        }
    }
}

/// Whether a product in a namespace may be an organisation's own: it lies in its home, or where it works.
pub(crate) fn may_be_of(org: &PartnerOrgSpec, namespace: &str) -> bool {
    let mut works = org.functions.iter().flat_map(|function| &function.workloads);
    org.home_namespace == namespace || works.any(|workload| workload.namespace == namespace)
}

fn orgs_of<'a>(snapshot: &'a Snapshot, party: &'a str) -> impl Iterator<Item = &'a PartnerOrgSpec> {
    snapshot.orgs.iter().filter(move |org| org.object.name_any() == party).map(|org| &org.object.spec)
}

/// The command by which a party signs: for these purposes, or for all.
pub fn command(agreement: &ObjectRef, party: &str, purposes: Option<&[String]>) -> String {
    let purposes = purposes.filter(|purposes| !purposes.is_empty());
    let purposes = purposes.map_or(String::new(), |purposes| format!(" --purposes {}", purposes.join(",")));
    format!("concordat sign --agreement {agreement} --party {party}{purposes}")
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// The signature. It reads the agreement, its products and the party's home namespace, and nothing else, so that
/// it works whatever else is wrong. A no reads of the agreement only that it exists.
pub fn signature(snapshot: &Snapshot, request: &SignatureRequest) -> Result<AgreementSignature, SignError> {
    let SignatureRequest {
        agreement: reference,
        party,
        purposes,
        withdraw,
        decline,
        on,
        acting_role,
        signed_on,
    } = request;
    let says_no = *withdraw || *decline;
    // what is named twice is named once: the API server takes no list that holds a thing twice
    let purposes = &purposes.as_ref().map(|purposes| once_each(purposes));
    let spec = match find_agreement(snapshot, reference) {
        Ok(agreement) => Some(&agreement.spec),
        // a no is never refused, whatever is wrong with what it is about
        Err(SignError::AgreementUnreadable { .. } | SignError::AgreementTwice { .. }) if says_no => None,
        Err(SignError::AgreementNotFound { .. }) if says_no && !snapshot.unknown_texts.is_empty() => None,
        Err(error) => return Err(error),
    };
    let own = own_word(snapshot, reference, party);
    // whoever has signed may take it back, also where it has been taken out since
    let parties = spec
        .filter(|_| !says_no || own.is_none())
        .map(|spec| spec.parties.iter().map(|party| party.org.as_str()).collect::<Vec<_>>());
    if let Some(parties) = parties.filter(|parties| !parties.contains(&party.as_str())) {
        let near = nearest(party, parties.iter().copied()).map(Box::from);
        let (party, agreement) = (party.clone(), reference.clone());
        return Err(SignError::NotAParty { party, agreement, parties: listed(parties.into_iter()), near });
    }
    if purposes.as_ref().is_some_and(Vec::is_empty) {
        return Err(SignError::NoPurposes);
    }
    let codes =
        spec.map(|spec| spec.purposes.iter().map(|purpose| purpose.code.as_str()).collect::<Vec<_>>());
    let is_unknown =
        |purpose: &&String| codes.as_ref().is_some_and(|codes| !codes.contains(&purpose.as_str()));
    let unknown = purposes.iter().flatten().find(is_unknown);
    let codes = codes.unwrap_or_default();
    if let Some(unknown) = unknown {
        return Err(SignError::PurposeNotFound {
            agreement: reference.clone(),
            purpose: unknown.clone(),
            purposes: listed(codes.iter().copied()),
            near: nearest(unknown, codes.iter().copied()).map(Box::from),
        });
    }
    if on.is_some() && !*withdraw {
        return Err(SignError::DateWithoutWithdrawal);
    }
    if let Some(on) = on.filter(|on| is_beyond_clocks(&on.to_string())) {
        return Err(SignError::DateOutOfRange { on });
    }
    if let Some(left) = purposes.as_ref().filter(|_| (*withdraw && on.is_none()) || *decline) {
        let instead = instead(request, left, &codes);
        return Err(if *decline {
            SignError::DeclinedWithPurposes { instead }
        } else {
            SignError::WithdrawnWithPurposes { instead }
        });
    }
    let home = home(snapshot, party)?.to_owned();
    let products: BTreeMap<ObjectRef, &DataProductSpec> = snapshot
        .products
        .iter()
        .filter_map(|product| {
            let (namespace, name) = (product.object.namespace()?, product.object.name_any());
            Some((ObjectRef { namespace, name }, &product.object.spec))
        })
        .collect();
    // with accession the digest leaves out a product that is not there, and would close it once it is there again
    let is_own =
        |product: &&ObjectRef| orgs_of(snapshot, party).any(|org| may_be_of(org, &product.namespace));
    let mut listed_products =
        spec.iter().flat_map(|spec| &spec.purposes).flat_map(|purpose| &purpose.products);
    let missing = listed_products.find(|product| !products.contains_key(*product) && is_own(product));
    if let Some(product) = missing.filter(|_| !says_no) {
        let source = TermsError::ProductNotFound(product.clone());
        return Err(SignError::Terms { agreement: reference.clone(), source });
    }
    let terms_hash = match spec.map(|spec| terms::terms_hash(spec, &products, party)) {
        Some(Ok(hash)) => hash,
        Some(Err(source)) if !says_no => {
            return Err(SignError::Terms { agreement: reference.clone(), source });
        }
        // a no counts on any
        _ => NO_TERMS.to_owned(),
    };
    // what is left out would be whatever another field manager has written there, so everything is written out
    let all = || codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>();
    let mut spec = AgreementSignatureSpec {
        agreement: reference.clone(),
        party: party.clone(),
        terms_hash,
        state: Some(SignatureState::Signed),
        purposes: Some(purposes.clone().unwrap_or_else(all)),
        ends: Vec::new(),
        acting_role: *acting_role,
        signed_on: *signed_on,
    };
    if *decline {
        (spec.state, spec.purposes) = (Some(SignatureState::Declined), None);
    } else if let (true, Some(on)) = (*withdraw, on) {
        let signed = own.filter(|own| own.state.unwrap_or_default() == SignatureState::Signed);
        let Some(signed) = signed else {
            let instead = instead_of_ending(snapshot, request, own);
            let (party, agreement) = (party.clone(), reference.clone());
            return Err(SignError::NothingToEnd { party, agreement, instead });
        };
        // what is signed goes on as it was until then, on the terms that were signed
        let ending: Vec<Option<String>> = match purposes {
            Some(purposes) => purposes.iter().cloned().map(Some).collect(),
            None => vec![None],
        };
        let kept = signed.ends.iter().filter(|end| !ending.contains(&end.purpose)).cloned();
        // a withdrawal puts no other off: what ends sooner ends then
        let sooner = |purpose: &Option<String>| {
            let same = signed.ends.iter().filter(|end| end.purpose == *purpose).map(|end| end.on);
            same.chain([*on]).min().unwrap_or(*on)
        };
        let ends =
            ending.iter().map(|purpose| SignatureEnd { purpose: purpose.clone(), on: sooner(purpose) });
        spec.ends = kept.chain(ends).collect();
        spec.terms_hash.clone_from(&signed.terms_hash);
        spec.purposes = Some(signed.purposes.clone().unwrap_or_else(all)).filter(|it| !it.is_empty());
        spec.acting_role = acting_role.or(signed.acting_role);
        spec.signed_on = signed.signed_on.or(*signed_on);
    } else if *withdraw {
        (spec.state, spec.purposes) = (Some(SignatureState::Withdrawn), None);
    }
    let name = name_in_use(snapshot, reference, party).unwrap_or_else(|| signature_name(reference, party));
    let mut signature = AgreementSignature::new(&name, spec);
    signature.metadata.namespace = Some(home);
    Ok(signature)
}

/// Each purpose once, in the order in which they are named.
pub fn once_each(purposes: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    purposes.iter().filter(|purpose| seen.insert(*purpose)).cloned().collect()
}

/// The name of the one signature that a party has in its home, which what is printed has to replace: beside it, it would
/// void both. None where there is none, or more than one.
fn name_in_use(snapshot: &Snapshot, agreement: &ObjectRef, party: &str) -> Option<String> {
    let mut names = own_names(snapshot, agreement, party).into_iter();
    names.next().filter(|_| names.next().is_none())
}

/// The names of the signatures that a party has in its home.
fn own_names(snapshot: &Snapshot, agreement: &ObjectRef, party: &str) -> BTreeSet<String> {
    let home = home_of(snapshot, party);
    let read = words(snapshot, agreement, party).filter(|it| it.metadata.namespace.as_deref() == home);
    let read = read.map(|it| it.name_any());
    // one that may be about another agreement is not this one's
    let certain = unusable(snapshot, agreement, party)
        .filter(|it| it.agreement().as_ref() == Some(agreement) && it.party() == Some(party));
    read.chain(certain.map(|it| it.key().name)).filter(|name| is_subdomain(name)).collect()
}

/// What cannot be used and may be a party's own signature on an agreement.
fn unusable<'s>(
    snapshot: &'s Snapshot,
    agreement: &ObjectRef,
    party: &str,
) -> impl Iterator<Item = &'s Unreadable> {
    let home = home_of(snapshot, party);
    snapshot.unreadable_of("AgreementSignature").filter(move |it| {
        it.meta.namespace.as_deref() == home
            && it.may_mean("/agreement", agreement)
            && it.party().is_none_or(|of| of == party)
    })
}

/// The command for what was probably meant by a no to some purposes.
fn instead(request: &SignatureRequest, left: &[String], codes: &[&str]) -> String {
    let SignatureRequest { agreement, party, .. } = request;
    let others: Vec<String> = codes
        .iter()
        .filter(|code| !left.iter().any(|it| it == *code))
        .map(|code| (*code).to_owned())
        .collect();
    if others.is_empty() {
        let word = if request.decline { "--decline" } else { "--withdraw" };
        return format!("these are all its purposes: {}", again(agreement, party, word));
    }
    format!("sign for the others: `{}`", command(agreement, party, Some(&others)))
}

/// What to do where a party has no signature of its own that could end on a date.
fn instead_of_ending(
    snapshot: &Snapshot,
    request: &SignatureRequest,
    own: Option<&AgreementSignatureSpec>,
) -> String {
    let SignatureRequest { agreement, party, .. } = request;
    let again = |word: &str| again(agreement, party, word);
    match own.map(|own| own.state.unwrap_or_default()) {
        Some(SignatureState::Withdrawn) => {
            return "it has withdrawn already, which counts at once".to_owned();
        }
        Some(_) => return "it has declined already, which counts at once".to_owned(),
        None => {}
    }
    if let Some(broken) = unusable(snapshot, agreement, party).next() {
        return format!(
            "{} cannot be used, and may be its signature: fix that; to withdraw at once: {}",
            broken.key(),
            again("--withdraw")
        );
    }
    match earlier(snapshot, agreement, party) {
        Some(_) => format!("another has signed for it; to withdraw at once: {}", again("--withdraw")),
        None => format!("to say no to it: {}", again("--decline")),
    }
}

/// The command with another word, in backticks.
fn again(agreement: &ObjectRef, party: &str, word: &str) -> String {
    format!("`{} {word}`", command(agreement, party, None))
}

/// What a party has said of an agreement itself, as far as the snapshot shows it: in its home namespace and nowhere else.
fn own_word<'a>(
    snapshot: &'a Snapshot,
    agreement: &ObjectRef,
    party: &str,
) -> Option<&'a AgreementSignatureSpec> {
    let home = home_of(snapshot, party)?;
    let mut words = words(snapshot, agreement, party);
    words.find(|it| it.metadata.namespace.as_deref() == Some(home)).map(|it| &it.spec)
}

/// The same, or what a delegate has said for it: of the purposes that were delegated, and of no others.
fn earlier(snapshot: &Snapshot, agreement: &ObjectRef, party: &str) -> Option<AgreementSignatureSpec> {
    if let Some(own) = own_word(snapshot, agreement, party) {
        return Some(own.clone());
    }
    let delegations = &org(snapshot, party)?.delegated_signing;
    words(snapshot, agreement, party).find_map(|AgreementSignature { metadata, spec, .. }| {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let to_it = delegations.iter().filter(|it| home_of(snapshot, &it.to) == Some(namespace));
        let may: Vec<&String> = to_it.flat_map(|it| &it.purposes).collect();
        let covered = |purpose: &&&String| spec.purposes.as_ref().is_none_or(|own| own.contains(purpose));
        let purposes = may.iter().filter(covered).map(|it| (*it).clone()).collect();
        (!may.is_empty()).then(|| AgreementSignatureSpec { purposes: Some(purposes), ..spec.clone() })
    })
}

/// The signatures of a party on an agreement, wherever they lie.
fn words<'s>(
    snapshot: &'s Snapshot,
    agreement: &ObjectRef,
    party: &str,
) -> impl Iterator<Item = &'s AgreementSignature> {
    let all = snapshot.signatures.iter().map(|it| &*it.object);
    all.filter(move |it| it.spec.agreement == *agreement && it.spec.party == party)
}

fn org<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a PartnerOrgSpec> {
    snapshot.orgs.iter().find(|org| org.object.name_any() == name).map(|org| &org.object.spec)
}

/// Where an organisation signs, as far as that can be read, whatever else is wrong with it; none where two copies say two.
fn home_of<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a str> {
    home(snapshot, name).ok()
}

fn home<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a str, SignError> {
    let party = || name.to_owned();
    let mut broken = snapshot.unreadable_of("PartnerOrg").filter(|it| it.key().name == name);
    let homes = snapshot.homes().filter(|(org, _)| *org == name);
    let homes: BTreeSet<&str> = homes.map(|(_, home)| home).collect();
    let mut all = homes.iter();
    match (all.next(), all.next(), broken.next()) {
        (Some(home), None, _) => Ok(home),
        (Some(_), Some(_), _) => {
            Err(SignError::SeveralHomes { party: party(), homes: listed(homes.into_iter()) })
        }
        (None, _, Some(broken)) => {
            Err(SignError::OrgUnreadable { party: party(), error: broken.error.clone() })
        }
        (None, _, None) => Err(SignError::OrgNotFound { party: party() }),
    }
}

/// What is worth saying of a signature beside the one that it replaces: where it widens what was signed, and where
/// another word was probably meant.
pub fn remarks(snapshot: &Snapshot, signature: &AgreementSignature) -> Vec<String> {
    let AgreementSignatureSpec { agreement, party, purposes, ends, state, .. } = &signature.spec;
    let before = earlier(snapshot, agreement, party);
    let was = before.as_ref().map(|before| before.state.unwrap_or_default());
    let again = |word: &str| again(agreement, party, word);
    let mut remarks = Vec::new();
    if find_agreement(snapshot, agreement).is_err() {
        remarks
            .push(format!("`{agreement}` could not be read: this says no to it all the same, on any terms"));
    }
    let name = signature.metadata.name.as_ref();
    let others = own_names(snapshot, agreement, party).into_iter().filter(|other| Some(other) != name);
    let others: Vec<String> = others.collect();
    if !others.is_empty() {
        remarks.push(format!(
            "`{party}` has signatures of other names too, and of several none counts: delete {}",
            listed(others.iter().map(String::as_str))
        ));
    }
    let beside = unusable(snapshot, agreement, party).find(|it| {
        let other = it.meta.name.as_ref();
        other != name && other.is_none_or(|other| !others.contains(other))
    });
    if let Some(broken) = &beside {
        remarks.push(format!(
            "{} cannot be used, and may be a word of `{party}` too: delete it, or neither counts",
            broken.key()
        ));
    }
    let replaced = unusable(snapshot, agreement, party).find(|it| it.meta.name.as_ref() == name);
    match (state.unwrap_or_default(), was) {
        (SignatureState::Withdrawn, None) if replaced.is_some() => remarks.push(
            "the signature that this replaces could not be used: whatever it said, this withdraws it".to_owned(),
        ),
        (SignatureState::Declined, None) if replaced.is_some() => remarks.push(format!(
            "the signature that this replaces could not be used, and may have signed: then a withdrawal is meant, {}",
            again("--withdraw")
        )),
        (SignatureState::Signed, None) if replaced.is_some() || beside.is_some() => remarks.push(
            "what it has said already cannot be read: if that was for fewer purposes, or a withdrawal, this widens it".to_owned(),
        ),
        (SignatureState::Withdrawn, None | Some(SignatureState::Declined)) => remarks.push(format!(
            "what was read holds no signature of `{party}` that could be withdrawn; to say no to what was never \
             signed: {}",
            again("--decline")
        )),
        (SignatureState::Declined, Some(SignatureState::Signed | SignatureState::Withdrawn)) => {
            remarks.push(format!(
                "`{party}` has signed before, and the API server refuses `Declined` over that; to withdraw: {}",
                again("--withdraw")
            ));
        }
        (SignatureState::Signed, Some(SignatureState::Withdrawn)) => {
            remarks.push(format!("this widens what was signed: `{party}` had withdrawn"));
        }
        (SignatureState::Signed, Some(SignatureState::Declined)) => {
            remarks.push(format!("this widens what was signed: `{party}` had declined"));
        }
        (SignatureState::Signed, Some(SignatureState::Signed)) => {
            let (Some(before), Some(now)) = (&before, purposes) else { return remarks };
            let covered = |code: &&String| before.purposes.as_ref().is_none_or(|it| it.contains(code));
            let more: Vec<&str> = now.iter().filter(|code| !covered(code)).map(String::as_str).collect();
            if let Some(kept) = before.purposes.as_ref().filter(|_| !more.is_empty()) {
                remarks.push(format!(
                    "this widens what was signed by {}; to sign for the same as before: `{}`",
                    listed(more.into_iter()),
                    command(agreement, party, Some(kept))
                ));
            }
            // nothing that is left out goes on for longer
            let ended_sooner = |code: &&String| {
                let was = first_end(&before.ends, code);
                was.is_some_and(|was| first_end(ends, code).is_none_or(|now| was < now))
            };
            let longer: Vec<&str> =
                now.iter().filter(covered).filter(ended_sooner).map(String::as_str).collect();
            if !longer.is_empty() {
                remarks.push(format!(
                    "this widens what was signed for {}: it ended on a date, and now ends later or not at all",
                    listed(longer.into_iter())
                ));
            }
        }
        _ => {}
    }
    remarks
}

/// When a signature with these ends says no for a purpose.
fn first_end(ends: &[SignatureEnd], code: &str) -> Option<Timestamp> {
    let ends = ends.iter().filter(|end| end.purpose.as_deref().is_none_or(|purpose| purpose == code));
    ends.map(|end| end.on).min()
}

/// Why what is signed at a moment opens nothing, with this signature too: the agreement is over, suspended, replaced, refused or cannot be
/// used. A no needs no agreement that is in force.
pub fn in_vain(snapshot: &Snapshot, signature: &AgreementSignature, at: Timestamp) -> Option<String> {
    let AgreementSignatureSpec { agreement, state, .. } = &signature.spec;
    if state.unwrap_or_default() != SignatureState::Signed {
        return None;
    }
    let mut signed = snapshot.clone();
    let place = |it: &AgreementSignature| (it.namespace(), it.name_any());
    signed.signatures.retain(|it| place(&it.object) != place(signature));
    signed.signatures.push(Sourced::live(signature.clone()));
    let Explanation { phase, reason, .. } = explain(&signed, &Judgement::new(&signed, at), agreement).ok()?;
    let waits =
        matches!(phase, Phase::AwaitingSignatures | Phase::Scheduled | Phase::Active | Phase::Withdrawn);
    (!waits).then(|| format!("`{agreement}` is {phase:?}, so that this opens nothing: {reason}"))
}

fn find_agreement<'a>(
    snapshot: &'a Snapshot,
    reference: &ObjectRef,
) -> Result<&'a DataSharingAgreement, SignError> {
    let found: Vec<&DataSharingAgreement> = snapshot
        .agreements
        .iter()
        .map(|sourced| &*sourced.object)
        .filter(|agreement| reference_of(*agreement) == *reference)
        .collect();
    match found.as_slice() {
        [agreement] => Ok(agreement),
        [] => {
            let key = ObjectKey::new("DataSharingAgreement", Some(&reference.namespace), &reference.name);
            if let Some(unreadable) = snapshot.unreadable.iter().find(|it| it.key() == key) {
                let error = unreadable.error.clone();
                return Err(SignError::AgreementUnreadable { agreement: reference.clone(), error });
            }
            let names: Vec<String> = snapshot
                .agreements
                .iter()
                .map(|sourced| reference_of(&*sourced.object).to_string())
                .collect();
            let near = nearest(&reference.to_string(), names.iter().map(String::as_str)).map(str::to_owned);
            Err(SignError::AgreementNotFound { agreement: reference.clone(), near })
        }
        several => Err(SignError::AgreementTwice { agreement: reference.clone(), count: several.len() }),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

/// The name of a party's signature: from the agreement and the party alone, so that a later one replaces it.
///
/// Readable as far as 253 characters go, and made unique by a digest, as `a.b/c` and `a/b.c` would read the same.
pub fn signature_name(agreement: &ObjectRef, party: &str) -> String {
    let readable: String =
        format!("{}.{}.{party}", agreement.namespace, agreement.name).chars().take(240).collect();
    let digest = terms::text_digest(&format!("{agreement}/{party}"));
    let short = digest.get(..8).unwrap_or_default();
    format!("{}-{short}", readable.trim_end_matches(['.', '-']))
}
