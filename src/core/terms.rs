//! The terms of an agreement: their normal form and their digest, which signatures sign.
//!
//! The digest is `sha256:` and the hex of SHA-256 over RFC 8785 canonical JSON of
//! `{"agreement": …, "products": {"namespace/name": …}}`. The first part is the agreement's `spec` without
//! `suspend`, `supersededBy`, `register` and `outcomeMeasures[].reported`; the second holds, of each listed product,
//! `dataItems`, `categories`, the flags and `identifiability`. Nulls, empty lists and fields at their default
//! are left out, dates are in UTC with milliseconds, lists stay in written order.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use concordat_api::{
    Confidentiality, CrossBoundary, DataItem, DataProductSpec, DataSharingAgreementSpec, Document, Dpia,
    Emergency, ObjectRef, OnwardSharing, OutcomeMeasure, Party, PartyRole, PromotedFrom, PublicInvolvement,
    Purpose, RecipientRef, Retention, Term,
};

/// A hash of no terms, for a withdrawal where nothing else can be said: a withdrawal counts on any hash.
pub const NO_TERMS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Why the terms have no digest.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum TermsError {
    /// A listed product is not there, so what would be signed is not known.
    #[error("the agreement lists product `{0}`, which does not exist, or cannot be used")]
    ProductNotFound(ObjectRef),
    /// A number or text that canonical JSON cannot carry.
    #[error("the terms cannot be written as canonical JSON: {0}")]
    Canonical(String),
}

/// The digest of an agreement's terms as one signer signs them, `sha256:` and 64 hex digits.
///
/// Without `accession` it is the same for every signer. With it, it leaves out the other parties' rows, and each
/// purpose's products and recipients that are not the signer's own, so that a later joiner changes nothing.
pub fn terms_hash(
    spec: &DataSharingAgreementSpec,
    products: &BTreeMap<ObjectRef, &DataProductSpec>,
    signer: &str,
) -> Result<String, TermsError> {
    let view = Signer::of(spec, products, signer);
    let mut listed: Vec<&ObjectRef> = view.purposes.iter().flat_map(|purpose| &purpose.products).collect();
    listed.sort();
    listed.dedup();
    let products: Map<String, Value> = listed
        .into_iter()
        .map(|reference| Ok((reference.to_string(), product_terms(find(products, reference)?))))
        .collect::<Result<_, TermsError>>()?;
    let terms = json!({ "agreement": agreement_terms(spec, &view), "products": products });
    digest(&terms)
}

/// `sha256:` and the hex digest of a value's canonical JSON.
pub fn digest(value: &Value) -> Result<String, TermsError> {
    let canonical =
        serde_json_canonicalizer::to_vec(value).map_err(|error| TermsError::Canonical(error.to_string()))?;
    Ok(format!("sha256:{}", hex(&Sha256::digest(canonical))))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The rows and purposes that one signer signs.
struct Signer {
    parties: Vec<Party>,
    purposes: Vec<Purpose>,
}

impl Signer {
    fn of(
        spec: &DataSharingAgreementSpec,
        products: &BTreeMap<ObjectRef, &DataProductSpec>,
        signer: &str,
    ) -> Self {
        if !spec.accession {
            return Self { parties: spec.parties.clone(), purposes: spec.purposes.clone() };
        }
        let parties: Vec<Party> = spec.parties.iter().filter(|party| party.org == signer).cloned().collect();
        let receives = |party: &&Party| party.role == PartyRole::Recipient;
        let mut purposes = spec.purposes.clone();
        for purpose in &mut purposes {
            // a product that is gone is no one's: what others have signed stays, and its controller signs again
            purpose.products.retain(|reference| {
                products.get(reference).is_some_and(|product| product.controller == signer)
            });
            // no list means every Recipient, of which the signer's own rows are this signer's part
            purpose.recipients = Some(match purpose.recipients.take() {
                Some(named) => named.into_iter().filter(|recipient| recipient.org == signer).collect(),
                None => parties
                    .iter()
                    .filter(receives)
                    .map(|party| RecipientRef { org: party.org.clone(), function: party.function.clone() })
                    .collect(),
            });
        }
        Self { parties, purposes }
    }
}

fn find<'a>(
    products: &BTreeMap<ObjectRef, &'a DataProductSpec>,
    reference: &ObjectRef,
) -> Result<&'a DataProductSpec, TermsError> {
    products.get(reference).copied().ok_or_else(|| TermsError::ProductNotFound(reference.clone()))
}

/// A JSON object from which what is absent is left out.
#[derive(Default)]
struct Terms(Map<String, Value>);

impl Terms {
    fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let absent = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if !absent {
            self.0.insert(key.to_owned(), value);
        }
        self
    }

    /// An optional boolean, whose default is false.
    fn flag(self, key: &str, value: bool) -> Self {
        if value { self.set(key, true) } else { self }
    }

    /// An enumerated or nested value, as YAML has it.
    fn name(self, key: &str, value: &impl serde::Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.set(key, value)
    }

    fn date(self, key: &str, value: Timestamp) -> Self {
        self.set(key, date(value))
    }

    fn list<T>(self, key: &str, items: &[T], each: impl Fn(&T) -> Value) -> Self {
        self.set(key, items.iter().map(each).collect::<Vec<_>>())
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// A date in UTC with milliseconds, as canonical terms and Cedar have it.
pub(crate) fn date(value: Timestamp) -> String {
    // truncated, as canonical dates carry milliseconds and no more
    format!("{:.3}", Timestamp::from_millisecond(value.as_millisecond()).unwrap_or(value))
}

fn agreement_terms(spec: &DataSharingAgreementSpec, view: &Signer) -> Value {
    let DataSharingAgreementSpec {
        title,
        summary,
        reference,
        framework,
        footprint,
        cross_boundary,
        accession,
        controller_model,
        parties: _,  // the signer's own view of them
        purposes: _, // likewise
        confidentiality,
        term,
        dpia,
        document,
        retention,
        onward_sharing,
        territories,
        privacy_notice,
        register: _, // not material
        public_involvement,
        outcome_measures,
        emergency,
        supersedes,
        superseded_by: _, // not material
        promoted_from,
        suspend: _, // not material
    } = spec;
    let default_territories = territories.as_deref() == Some(&["GB".to_owned()]);
    Terms::default()
        .set("title", title.as_str())
        .set("summary", summary.clone())
        .set("reference", reference.as_str())
        .name("framework", framework)
        .set("footprint", footprint.as_str())
        .set("crossBoundary", cross_boundary.as_ref().map(cross_boundary_terms))
        .flag("accession", *accession)
        .name("controllerModel", controller_model)
        .list("parties", &view.parties, party_terms)
        .set("confidentiality", confidentiality_terms(confidentiality))
        .list("purposes", &view.purposes, purpose_terms)
        .set("term", term_terms(term))
        .set("dpia", dpia.as_ref().map(dpia_terms))
        .set("document", document.as_ref().map(document_terms))
        .set("retention", retention_terms(retention))
        .set("onwardSharing", onward_terms(onward_sharing))
        .set("territories", if default_territories { None } else { territories.clone() })
        .set("privacyNotice", privacy_notice.clone())
        .list("publicInvolvement", public_involvement, involvement_terms)
        .list("outcomeMeasures", outcome_measures, outcome_terms)
        .set("emergency", emergency.as_ref().map(emergency_terms))
        .set("supersedes", supersedes.as_ref().map(reference_terms))
        .set("promotedFrom", promoted_from.as_ref().map(promoted_terms))
        .done()
}

fn cross_boundary_terms(CrossBoundary { reason, footprints }: &CrossBoundary) -> Value {
    Terms::default().set("reason", reason.as_str()).set("footprints", footprints.clone()).done()
}

fn party_terms(Party { org, role, function, article6, article9, schedule1 }: &Party) -> Value {
    Terms::default()
        .set("org", org.as_str())
        .name("role", role)
        .set("function", function.clone())
        .set("article6", article6.clone())
        .set("article9", article9.clone())
        .set("schedule1", schedule1.clone())
        .done()
}

fn confidentiality_terms(value: &Confidentiality) -> Value {
    let Confidentiality { basis, reference, valid_until, opt_out_exempt } = value;
    Terms::default()
        .name("basis", basis)
        .set("reference", reference.clone())
        .date("validUntil", *valid_until)
        .flag("optOutExempt", *opt_out_exempt)
        .done()
}

fn purpose_terms(value: &Purpose) -> Value {
    let Purpose { code, justification, products, recipients, actions, roles, max_identifiability } = value;
    Terms::default()
        .set("code", code.as_str())
        .set("justification", justification.as_str())
        .list("products", products, reference_terms)
        .set(
            "recipients",
            recipients.as_ref().map(|list| list.iter().map(recipient_terms).collect::<Vec<_>>()),
        )
        .name("actions", actions)
        .set("roles", roles.clone())
        .name("maxIdentifiability", max_identifiability)
        .done()
}

fn reference_terms(ObjectRef { namespace, name }: &ObjectRef) -> Value {
    Terms::default().set("namespace", namespace.as_str()).set("name", name.as_str()).done()
}

fn recipient_terms(RecipientRef { org, function }: &RecipientRef) -> Value {
    Terms::default().set("org", org.as_str()).set("function", function.clone()).done()
}

fn term_terms(Term { start, end, review_by }: &Term) -> Value {
    Terms::default().date("start", *start).date("end", *end).date("reviewBy", *review_by).done()
}

fn dpia_terms(Dpia { reference, approved_on, review_by }: &Dpia) -> Value {
    Terms::default()
        .set("reference", reference.as_str())
        .date("approvedOn", *approved_on)
        .date("reviewBy", *review_by)
        .done()
}

fn document_terms(Document { uri, sha256 }: &Document) -> Value {
    Terms::default().set("uri", uri.as_str()).set("sha256", sha256.as_str()).done()
}

fn retention_terms(Retention { days, method }: &Retention) -> Value {
    Terms::default().set("days", *days).name("method", method).done()
}

fn onward_terms(OnwardSharing { allowed, to }: &OnwardSharing) -> Value {
    Terms::default().set("allowed", *allowed).set("to", to.clone()).done()
}

fn involvement_terms(PublicInvolvement { who, method, date, changed }: &PublicInvolvement) -> Value {
    Terms::default()
        .set("who", who.as_str())
        .set("method", method.as_str())
        .date("date", *date)
        .set("changed", changed.as_str())
        .done()
}

fn outcome_terms(value: &OutcomeMeasure) -> Value {
    let OutcomeMeasure { name, baseline, target, review_on, reported: _ /* not material */ } = value;
    Terms::default()
        .set("name", name.as_str())
        .set("baseline", baseline.as_str())
        .set("target", target.as_str())
        .date("reviewOn", *review_on)
        .done()
}

fn emergency_terms(Emergency { reason, expires }: &Emergency) -> Value {
    Terms::default().set("reason", reason.as_str()).date("expires", *expires).done()
}

fn promoted_terms(PromotedFrom { reference, terms_hash }: &PromotedFrom) -> Value {
    Terms::default().set("reference", reference.as_str()).set("termsHash", terms_hash.as_str()).done()
}

fn product_terms(spec: &DataProductSpec) -> Value {
    let DataProductSpec {
        data_items,
        categories,
        personal_data,
        special_category,
        confidential_patient_info,
        legally_restricted,
        childrens_data,
        identifiability,
        // how and where it is served is not what was signed
        controller: _,
        title: _,
        description: _,
        derived_from: _,
        suppression: _,
        cluster: _,
        endpoint: _,
        pep: _,
        store: _,
    } = spec;
    Terms::default()
        .list("dataItems", data_items, |DataItem { name, justification }| {
            Terms::default().set("name", name.as_str()).set("justification", justification.as_str()).done()
        })
        .set("categories", categories.clone())
        // required fields have no default, so false is written
        .set("personalData", *personal_data)
        .set("specialCategory", *special_category)
        .set("confidentialPatientInfo", *confidential_patient_info)
        .set("legallyRestricted", *legally_restricted)
        .set("childrensData", *childrens_data)
        .name("identifiability", identifiability)
        .done()
}

/// The hex digest of a text.
pub fn text_digest(text: &str) -> String {
    hex(&Sha256::digest(text))
}
