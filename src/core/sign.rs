//! Signing: the AgreementSignature that a party applies, with the right hash.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt as _;
use thiserror::Error;

use super::snapshot::Snapshot;
use super::terms::{self, NO_TERMS, TermsError};
use super::validate::shape::nearest;
use crate::api::{
    ActingRole, AgreementSignature, AgreementSignatureSpec, DataProductSpec, DataSharingAgreement, ObjectRef,
    SignatureState,
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
    pub acting_role: Option<ActingRole>,
    pub signed_on: Option<Timestamp>,
}

impl SignatureRequest {
    /// A signature for all purposes, which says neither when nor in which role it was made.
    pub fn new(agreement: ObjectRef, party: String) -> Self {
        Self { agreement, party, purposes: None, withdraw: false, acting_role: None, signed_on: None }
    }
}

/// Why nothing can be signed.
#[derive(Debug, Error)]
pub enum SignError {
    #[error("there is no agreement `{agreement}`{}", did_you_mean(.near.as_deref()))]
    AgreementNotFound { agreement: ObjectRef, near: Option<String> },
    #[error("`{agreement}` stands {count} times in what was read")]
    AgreementTwice { agreement: ObjectRef, count: usize },
    #[error("`{party}` is not a party of `{agreement}`; its parties are {parties}")]
    NotAParty { party: String, agreement: ObjectRef, parties: String },
    #[error("there is no organisation `{party}`, so its home namespace is not known")]
    OrgNotFound { party: String },
    #[error("`{agreement}` has no purpose `{purpose}`; its purposes are {purposes}")]
    PurposeNotFound { agreement: ObjectRef, purpose: String, purposes: String },
    #[error(
        "a withdrawal is from the whole agreement and takes no purposes; to leave one purpose, sign for the others"
    )]
    WithdrawnWithPurposes,
    #[error("no purpose is named; leave `--purposes` out to sign for all")]
    NoPurposes,
    #[error("the terms of `{agreement}` have no digest")]
    Terms {
        agreement: ObjectRef,
        #[source]
        source: TermsError,
    },
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// The signature. It reads the agreement, its products and the party's home namespace, and nothing else, so that
/// it works whatever else is wrong.
pub fn signature(snapshot: &Snapshot, request: &SignatureRequest) -> Result<AgreementSignature, SignError> {
    let SignatureRequest { agreement: reference, party, purposes, withdraw, acting_role, signed_on } =
        request;
    let agreement = find_agreement(snapshot, reference)?;
    let parties: Vec<&str> = agreement.spec.parties.iter().map(|party| party.org.as_str()).collect();
    if !parties.contains(&party.as_str()) {
        let parties = listed(parties.iter().copied());
        return Err(SignError::NotAParty { party: party.clone(), agreement: reference.clone(), parties });
    }
    if *withdraw && purposes.is_some() {
        return Err(SignError::WithdrawnWithPurposes);
    }
    if purposes.as_ref().is_some_and(Vec::is_empty) {
        return Err(SignError::NoPurposes);
    }
    let codes: Vec<&str> = agreement.spec.purposes.iter().map(|purpose| purpose.code.as_str()).collect();
    if let Some(unknown) = purposes.iter().flatten().find(|purpose| !codes.contains(&purpose.as_str())) {
        return Err(SignError::PurposeNotFound {
            agreement: reference.clone(),
            purpose: unknown.clone(),
            purposes: listed(codes.iter().copied()),
        });
    }
    let home = snapshot
        .orgs
        .iter()
        .find(|org| org.object.name_any() == *party)
        .map(|org| org.object.spec.home_namespace.clone())
        .ok_or_else(|| SignError::OrgNotFound { party: party.clone() })?;
    let products: BTreeMap<ObjectRef, &DataProductSpec> = snapshot
        .products
        .iter()
        .filter_map(|product| {
            let (namespace, name) = (product.object.namespace()?, product.object.name_any());
            Some((ObjectRef { namespace, name }, &product.object.spec))
        })
        .collect();
    let terms_hash = match terms::terms_hash(&agreement.spec, &products, party) {
        Ok(hash) => hash,
        // withdrawing works whatever is wrong with the terms
        Err(_) if *withdraw => NO_TERMS.to_owned(),
        Err(source) => return Err(SignError::Terms { agreement: reference.clone(), source }),
    };
    let mut signature = AgreementSignature::new(
        &signature_name(reference, party),
        AgreementSignatureSpec {
            agreement: reference.clone(),
            party: party.clone(),
            terms_hash,
            state: withdraw.then_some(SignatureState::Withdrawn),
            purposes: purposes.clone(),
            ends: Vec::new(),
            acting_role: *acting_role,
            signed_on: *signed_on,
        },
    );
    signature.metadata.namespace = Some(home);
    Ok(signature)
}

fn find_agreement<'a>(
    snapshot: &'a Snapshot,
    reference: &ObjectRef,
) -> Result<&'a DataSharingAgreement, SignError> {
    let named = |agreement: &DataSharingAgreement| ObjectRef {
        namespace: agreement.namespace().unwrap_or_default(),
        name: agreement.name_any(),
    };
    let found: Vec<&DataSharingAgreement> = snapshot
        .agreements
        .iter()
        .map(|sourced| &*sourced.object)
        .filter(|agreement| named(agreement) == *reference)
        .collect();
    match found.as_slice() {
        [agreement] => Ok(agreement),
        [] => {
            let names: Vec<String> =
                snapshot.agreements.iter().map(|sourced| named(&sourced.object).to_string()).collect();
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
