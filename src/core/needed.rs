//! What a party still has to do before it takes part in an agreement.

use super::model::{Agreement, Model, Word};
use super::policy::PartyState;
use super::sign;
use concordat_api::{ObjectRef, PartyRole, Standing};

/// What a party still has to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Needed {
    /// Fix its PartnerOrg, which is missing or cannot be used.
    PartnerOrg,
    /// Meet these rules, which keep it out although it has signed.
    Rules(Vec<String>),
    /// Fix a product that may be its own. Signed without it, the fixed one would be left out.
    Product(ObjectRef),
    /// Delete one of two signatures, which void each other.
    OneOf,
    /// Fix what it has said and cannot be used: it may be a withdrawal.
    Word,
    /// Read the new terms, and sign for what is to go on: it had signed the old ones until a date, which a new signature
    /// would not hold, or for purposes that are gone.
    InPart,
    /// Wait until its signature, which is being deleted, is gone, and sign again.
    Gone,
    /// Sign for these purposes, or for all: for no more than it had signed for.
    Signature { purposes: Option<Vec<String>>, again: bool },
}

impl Needed {
    /// What it is, where it has to do something.
    pub fn of(model: &Model, agreement: &Agreement, org: &str, party: &PartyState) -> Option<Self> {
        if !model.orgs.contains_key(org) {
            return Some(Self::PartnerOrg);
        }
        let signature = |again| {
            let has_end = || agreement.signers.get(org).is_some_and(|it| it.words.ends().next().is_some());
            let listed = |code: &&String| agreement.spec.purposes.iter().any(|it| it.code == **code);
            let named = agreement.signers.get(org).and_then(|signer| signer.named());
            let purposes: Option<Vec<String>> = named.map(|it| it.iter().filter(listed).cloned().collect());
            if again && (has_end() || purposes.as_ref().is_some_and(Vec::is_empty)) {
                return Self::InPart;
            }
            Self::Signature { purposes: purposes.filter(|it| !it.is_empty()), again }
        };
        match party.standing {
            Standing::Withdrawn | Standing::Declined => None,
            _ if party.twice => Some(Self::OneOf),
            _ if party.in_doubt => Some(Self::Word),
            Standing::Signed => (!party.broken.is_empty()).then(|| Self::Rules(party.broken.clone())),
            _ if !is_asked(agreement, org) => None,
            Standing::NotSigned if is_going(agreement, org) => Some(Self::Gone),
            Standing::NotSigned => Some(signature(false)),
            Standing::OtherTerms => Some(match unusable_product(model, agreement, org) {
                Some(product) => Self::Product(product.clone()),
                None => signature(true),
            }),
        }
    }

    /// It in words that follow the party's name.
    pub fn text(&self, agreement: &ObjectRef, org: &str) -> String {
        let command = |purposes: &Option<Vec<String>>| sign::command(agreement, org, purposes.as_deref());
        match self {
            Self::PartnerOrg => {
                "cannot take part: its PartnerOrg is missing or cannot be used; fix that first".to_owned()
            }
            Self::Rules(rules) => {
                format!("has signed, and breaks {}: fix its PartnerOrg or its row", rules.join(", "))
            }
            Self::Product(product) => format!(
                "signs the terms of `{product}` too, which is not there or cannot be used: fix that first, and what was \
                 signed may count again"
            ),
            Self::OneOf => "has several signatures, so that none counts: delete all but one".to_owned(),
            Self::Gone => "has a signature that is being deleted and counts no more: once it is gone, which a finalizer of it \
                           may hold up, sign again"
                .to_owned(),
            Self::Word => {
                "has said something that cannot be used, and may have withdrawn: fix it; or delete it and sign again, for no \
                 more than it covered"
                    .to_owned()
            }
            Self::InPart => {
                "has signed other terms, until a date or for purposes that are gone: read what changed, and sign again for \
                 what is to go on"
                    .to_owned()
            }
            Self::Signature { purposes, again: true } => {
                format!("has signed other terms; read what changed and sign again: {}", command(purposes))
            }
            Self::Signature { purposes, again: false } => format!("has not signed: {}", command(purposes)),
        }
    }
}

/// Whether a party's own signature is being deleted.
fn is_going(agreement: &Agreement, org: &str) -> bool {
    let own = agreement.signers.get(org).map(|it| it.words.own.as_slice());
    matches!(own, Some([Word::Said(said)]) if said.leaving)
}

/// Whether an agreement waits for a party's signature: in an emergency for its Controllers' alone.
pub(crate) fn is_asked(agreement: &Agreement, org: &str) -> bool {
    agreement.spec.emergency.is_none() || agreement.orgs_as(PartyRole::Controller).contains(org)
}

/// A product of the agreement that cannot be used and may be a party's own.
fn unusable_product<'a>(model: &Model, agreement: &'a Agreement, org: &str) -> Option<&'a ObjectRef> {
    let spec = &model.orgs.get(org)?.spec;
    let mut products = agreement.spec.purposes.iter().flat_map(|purpose| &purpose.products);
    products
        .find(|product| !model.products.contains_key(*product) && sign::may_be_of(spec, &product.namespace))
}
