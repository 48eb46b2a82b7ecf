//! Who has signed an agreement, for what, and whether that suffices: the signature clause of "in force", which is no
//! rule of a framework.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::entities::Signed;
use crate::model::{Agreement, Model, Voice};
use concordat_api::{OrgState, PartyRole, Standing};

/// Whose word is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signing {
    /// Signatures as they are.
    AsSigned,
    /// Every agreement is taken as signed by all and unsuspended, successors too: for the tests of local policies.
    Assumed,
    /// Likewise, but what has replaced what is as signed: a draft that no one has signed replaces nothing.
    AssumedInPlace,
    /// Signatures as they were: who has withdrawn since, or is deleting a signature, had signed. For whether an agreement was
    /// in force once.
    Past,
}

/// The part of one organisation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartyState {
    pub standing: Standing,
    /// The purposes it stands signed for.
    pub purposes: BTreeSet<String>,
    /// The purposes that it has said no to, or may have, on whatever terms.
    pub against: BTreeSet<String>,
    /// Those of them that it had signed for until a date which it wrote down.
    pub ended: BTreeSet<String>,
    /// The hash that its signature needs.
    pub terms_hash: String,
    /// Whether two signatures void each other.
    pub twice: bool,
    /// Whether something that cannot be used may be its word, such as a withdrawal.
    pub in_doubt: bool,
    /// Rules that it breaks and that keep a party out; with `accession` it is then not in.
    pub broken: Vec<String>,
}

/// The part of an organisation at a moment.
pub(super) fn party_state(agreement: &Agreement, org: &str, signing: Signing, at: Timestamp) -> PartyState {
    let all = agreement.purposes();
    let signer = agreement.signers.get(org);
    let terms_hash = signer.map(|signer| signer.terms_hash.clone()).unwrap_or_default();
    let signed = |terms_hash: String| PartyState {
        standing: Standing::Signed,
        purposes: all.clone(),
        against: BTreeSet::new(),
        ended: BTreeSet::new(),
        terms_hash,
        twice: false,
        in_doubt: false,
        broken: Vec::new(),
    };
    if matches!(signing, Signing::Assumed | Signing::AssumedInPlace) {
        return signed(terms_hash);
    }
    let voice = signer.map(|signer| match signing {
        Signing::Past => signer.words.was_at(at, &all, &terms_hash),
        _ => signer.words.at(at, &all, &terms_hash),
    });
    let voice = voice.unwrap_or_else(Voice::silent);
    let Voice { standing, purposes, against, ended, twice, in_doubt } = voice;
    // what cannot be read may have signed, or withdrawn since
    if signing == Signing::Past && (standing == Standing::Withdrawn || in_doubt) {
        return signed(terms_hash);
    }
    PartyState { standing, purposes, against, ended, terms_hash, twice, in_doubt, broken: Vec::new() }
}

/// Who stands signed, for what.
pub(super) fn standing_signed(agreement: &Agreement, parties: &BTreeMap<String, PartyState>) -> Signed {
    let spec = &agreement.spec;
    let controllers = agreement.orgs_as(PartyRole::Controller);
    let mut signed = Signed::default();
    for (org, party) in parties {
        if spec.accession && !party.broken.is_empty() {
            continue;
        }
        // in an emergency a recipient counts as signed, but for what it has said against it
        let assumed = spec.emergency.is_some() && !controllers.contains(org.as_str());
        let covers = |purpose: &String| {
            if assumed { !party.against.contains(purpose) } else { party.purposes.contains(purpose) }
        };
        let mut purposes =
            spec.purposes.iter().map(|purpose| &purpose.code).filter(|code| covers(code)).peekable();
        let stands = if assumed { purposes.peek().is_some() } else { party.standing == Standing::Signed };
        if !stands {
            continue;
        }
        signed.orgs.insert(org.clone());
        for purpose in purposes {
            signed.by_purpose.entry(purpose.clone()).or_default().insert(org.clone());
        }
    }
    signed
}

/// Whether the signatures suffice at a moment: every party has signed, or takes no part by its own word, and at least one
/// Controller and one Recipient stand signed and are active.
pub(super) fn fully_signed(
    model: &Model,
    agreement: &Agreement,
    parties: &BTreeMap<String, PartyState>,
    signed: &Signed,
    at: Timestamp,
) -> bool {
    let is_active = |org: &str| model.orgs.get(org).is_some_and(|org| org.state(at) == OrgState::Active);
    let has = |role| agreement.orgs_as(role).iter().any(|org| signed.orgs.contains(*org) && is_active(org));
    let controllers = agreement.orgs_as(PartyRole::Controller);
    let is_asked = |org: &str| agreement.spec.emergency.is_none() || controllers.contains(org);
    let everybody = agreement.spec.accession
        || parties
            .iter()
            .filter(|(org, _)| is_asked(org))
            .all(|(org, party)| party.standing.is_out() || signed.orgs.contains(org));
    everybody && has(PartyRole::Controller) && has(PartyRole::Recipient)
}

/// Whether no Controller or no Recipient is left that has not withdrawn or declined.
pub(super) fn all_are_out(agreement: &Agreement, parties: &BTreeMap<String, PartyState>) -> bool {
    let out = |org: &str| parties.get(org).is_some_and(|party| party.standing.is_out());
    [PartyRole::Controller, PartyRole::Recipient].into_iter().any(|role| {
        let orgs = agreement.orgs_as(role);
        !orgs.is_empty() && orgs.iter().all(|org| out(org))
    })
}
