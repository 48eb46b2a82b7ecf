//! `DataSharingAgreement`: what is shared, between whom, for what, until when.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, DataAction, FrameworkRef, Identifiability, ObjectRef, common::is_false, shape};

/// What is shared, between whom, for what and until when. All but `suspend`, `register` and `outcomeMeasures[].reported` are
/// terms: a change to them stops sharing until all have signed again.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "concordat.dev",
    version = "v1alpha1",
    kind = "DataSharingAgreement",
    doc = "DataSharingAgreement says what is shared, between whom, for what and until when. Once every party has signed its terms it opens exactly those flows; withdraw, suspend or let it lapse, and they close.",
    namespaced,
    status = "DataSharingAgreementStatus",
    derive = "PartialEq",
    shortname = "dsa",
    category = "concordat",
    printcolumn = r#"{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Enforced", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Enforced\")].status"}"#,
    printcolumn = r#"{"name": "Parties", "type": "string", "jsonPath": ".status.parties"}"#,
    printcolumn = r#"{"name": "Purposes", "type": "string", "jsonPath": ".status.purposes"}"#,
    printcolumn = r#"{"name": "Ends", "type": "string", "jsonPath": ".status.ends"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.reason"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.emergency) || self.term.start < self.emergency.expires")
        .message("`emergency.expires` must be after `term.start`"),
    validation = Rule::new("!has(self.crossBoundary) || !self.crossBoundary.footprints.exists(f, f == self.footprint)")
        .message("`crossBoundary.footprints` must not list `footprint` itself: name the places beyond it")
)]
pub struct DataSharingAgreementSpec {
    /// What people call it, such as `Assisted bin collections for proactive care`.
    #[schemars(transform = shape::line)]
    pub title: String,
    /// What it is about, in plain English, for the public. Left out, the title must do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::text)]
    pub summary: Option<String>,
    /// Its reference, such as `CHOR-2026-001`: 2 to 8 capital letters, 4 digits, 3 to 5 digits. Once per cluster. Immutable.
    #[schemars(transform = shape::reference)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("`reference` cannot be changed: write another agreement that `supersedes` this one"))]
    pub reference: String,
    /// The national rules that it is judged by, by name and version.
    pub framework: FrameworkRef,
    /// Name of the PlaceFootprint that it is for. Every party must belong to it, or `crossBoundary` says why not.
    #[schemars(transform = shape::object_name)]
    pub footprint: String,
    /// The places beyond `footprint` that it reaches, and why (NHS England's shared care record framework, journey 2). Left
    /// out, it stays inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_boundary: Option<CrossBoundary>,
    /// Whether parties join one by one, as the practices of a shared care record do. Then a party that has not signed is
    /// simply not in yet, and who signs accepts later joiners. Left out, all must sign before anything opens.
    #[serde(default, skip_serializing_if = "is_false")]
    pub accession: bool,
    /// How control of the data is shared out (UK GDPR, articles 24 to 28).
    #[schemars(transform = shape::values)]
    pub controller_model: ControllerModel,
    /// The organisations that take part, at least two rows, each organisation once per role and function.
    #[schemars(transform = shape::list(2, 2048, shape::choice))]
    pub parties: Vec<Party>,
    /// How the common-law duty of confidence is met, which is a test apart from the UK GDPR.
    pub confidentiality: Confidentiality,
    /// What the data is shared for, at least one, each code once.
    #[schemars(transform = shape::list(1, 32, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.code == a.code))").message("`purposes` has two entries of one `code`: keep one"))]
    pub purposes: Vec<Purpose>,
    /// When it runs.
    pub term: Term,
    /// The data protection impact assessment (UK GDPR, article 35). Left out, none, and a framework may refuse personal
    /// data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpia: Option<Dpia>,
    /// The signed document that this object stands for. Left out, none is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
    /// How long a recipient keeps what it receives.
    pub retention: Retention,
    /// Whether recipients may pass data on.
    pub onward_sharing: OnwardSharing,
    /// The countries where the data may be processed, as ISO 3166-1 alpha-2 writes them. Left out, `GB` alone. A
    /// framework may allow personal data no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::list(1, 64, shape::country))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`territories` lists one country twice: keep one"))]
    pub territories: Option<Vec<String>>,
    /// Address of the notice that tells people about it. Left out, none, and a framework may refuse personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::uri)]
    pub privacy_notice: Option<String>,
    /// Whether it is in the public register. Left out, it does not, and a framework may refuse personal data. Not
    /// part of the terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<Register>,
    /// Whom it was talked over with. Left out, no one, and a framework may refuse uses beyond individual care.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`publicInvolvement` lists one entry twice: keep one"))]
    pub public_involvement: Vec<PublicInvolvement>,
    /// How anybody will know that it does good. Left out, none, and a framework may refuse it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.name == a.name))").message("`outcomeMeasures` has two entries of one `name`: keep one"))]
    pub outcome_measures: Vec<OutcomeMeasure>,
    /// Makes it an emergency agreement: the controllers' signatures suffice, and it ends early. Left out, it is an ordinary
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,
    /// The agreement that this one replaces. That one ends at the moment this one is in force. Left out, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<ObjectRef>,
    /// The agreement that has replaced this one. This one is closed while the field is set, whether that agreement exists or
    /// not. Not part of the terms. Left out, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ObjectRef>,
    /// The agreement of another place that it was copied from. Signatures do not travel. Left out, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_from: Option<PromotedFrom>,
    /// The kill switch: true closes every flow at once. Left out, false. Not part of the terms.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}

/// The places beyond its footprint that an agreement reaches.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CrossBoundary {
    /// Why it must reach beyond, in words that the public may read.
    #[schemars(transform = shape::text)]
    pub reason: String,
    /// Names of the PlaceFootprints that it reaches, at least one.
    #[schemars(transform = shape::list(1, 64, shape::object_name))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`crossBoundary.footprints` lists one footprint twice: keep one"))]
    pub footprints: Vec<String>,
}

/// How control of the data is shared out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ControllerModel {
    /// Each controller decides on its own what it does with the data.
    Independent,
    /// The controllers decide together (UK GDPR, article 26).
    Joint,
    /// Each place controls its own instance of a common product.
    Federated,
    /// The recipients act only on the instructions of the controllers (UK GDPR, article 28).
    ProcessorOnly,
}

/// One organisation in one role.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Party {
    /// Name of the PartnerOrg.
    #[schemars(transform = shape::object_name)]
    pub org: String,
    /// The role in which it takes part. An organisation may be in several rows.
    #[schemars(transform = shape::values)]
    pub role: PartyRole,
    /// Name of the function that takes part, such as `care-team`. Left out, every function of the organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::label)]
    pub function: Option<String>,
    /// Its lawful basis, such as `6(1)(e)` (UK GDPR, article 6). Left out, none, and a framework may refuse
    /// personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::article6)]
    pub article6: Option<String>,
    /// Its condition for special category data, such as `9(2)(h)` (UK GDPR, article 9). Left out, none, and a framework
    /// may refuse such data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::article9)]
    pub article9: Option<String>,
    /// Its condition in Schedule 1 of the Data Protection Act 2018, such as `Part 1 paragraph 2`. For the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::line)]
    pub schedule1: Option<String>,
}

/// The role of an organisation in an agreement.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum PartyRole {
    /// It decides why and how data is used, and shares its products.
    Controller,
    /// It receives data.
    Recipient,
    /// It handles data on behalf of the others.
    Processor,
}

impl PartyRole {
    /// The value in YAML and Cedar.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Controller => "Controller",
            Self::Recipient => "Recipient",
            Self::Processor => "Processor",
        }
    }
}

/// How the common-law duty of confidence is met.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Confidentiality {
    /// On what the sharing of confidential patient information rests.
    #[schemars(transform = shape::values)]
    pub basis: ConfidentialityBasis,
    /// Evidence for it, such as the number of the Confidentiality Advisory Group. Left out, none, and a framework may
    /// refuse `Section251`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::line)]
    pub reference: Option<String>,
    /// When the basis lapses. Sharing ends then, whatever the term says.
    pub valid_until: Timestamp,
    /// Whether the national data opt-out is set aside, as a letter of the Confidentiality Advisory Group may. Left out, it
    /// holds.
    #[serde(default, skip_serializing_if = "is_false")]
    pub opt_out_exempt: bool,
}

/// On what the sharing of confidential patient information rests.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConfidentialityBasis {
    /// People expect it, for their own care and nothing else.
    ImpliedConsent,
    /// People were asked and agreed.
    ExplicitConsent,
    /// Approval under section 251 of the NHS Act 2006.
    Section251,
    /// A law or direction requires it.
    Statutory,
    /// An overriding public interest, decided case by case.
    PublicInterest,
    /// Nothing in it is confidential patient information.
    NotConfidential,
}

impl ConfidentialityBasis {
    /// The value in YAML and Cedar.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImpliedConsent => "ImpliedConsent",
            Self::ExplicitConsent => "ExplicitConsent",
            Self::Section251 => "Section251",
            Self::Statutory => "Statutory",
            Self::PublicInterest => "PublicInterest",
            Self::NotConfidential => "NotConfidential",
        }
    }
}

/// One purpose and what may be done for it.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Purpose {
    /// The purpose, in a word of the framework, such as `ProactiveCare`.
    #[schemars(transform = shape::code)]
    pub code: String,
    /// Why the data is needed for it (Caldicott principle 1: justify the purpose).
    #[schemars(transform = shape::text)]
    pub justification: String,
    /// The products that are shared for it, at least one. Each one's controller must be a Controller here.
    #[schemars(transform = shape::keyed(1, 2048, &["namespace", "name"]))]
    pub products: Vec<ObjectRef>,
    /// Who receives it. Left out, every Recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::list(1, 2048, shape::choice))]
    pub recipients: Option<Vec<RecipientRef>>,
    /// What may be done, at least one.
    #[schemars(transform = shape::list(1, 8, shape::values))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`actions` lists one action twice: keep one"))]
    pub actions: Vec<DataAction>,
    /// The roles of people who may ask, such as `CareCoordinator`. Left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::list(1, 64, shape::code))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`roles` lists one role twice: keep one"))]
    pub roles: Option<Vec<String>>,
    /// The closest that an answer may be tied to a person.
    #[schemars(transform = shape::values)]
    pub max_identifiability: Identifiability,
}

/// An organisation that receives data, or a function of it.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecipientRef {
    /// Name of the PartnerOrg, which must be a Recipient here.
    #[schemars(transform = shape::object_name)]
    pub org: String,
    /// Name of its function. Left out, every function that it takes part with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::label)]
    pub function: Option<String>,
}

/// When an agreement runs.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.start < self.end")
        .message("`term.end` must be after `term.start`"),
    validation = Rule::new("self.start <= self.reviewBy")
        .message("`term.reviewBy` must not be before `term.start`")
)]
pub struct Term {
    /// When it begins. Nothing opens before.
    pub start: Timestamp,
    /// When it ends. The framework's `limits.termMonths` say how long it may last.
    pub end: Timestamp,
    /// When it must be looked at again. Past it, a framework may refuse the agreement.
    pub review_by: Timestamp,
}

/// A data protection impact assessment.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.approvedOn <= self.reviewBy")
        .message("`dpia.reviewBy` must not be before `dpia.approvedOn`")
)]
pub struct Dpia {
    /// Its reference, such as `CHOR-DPIA-2026-014`.
    #[schemars(transform = shape::line)]
    pub reference: String,
    /// When it was approved.
    pub approved_on: Timestamp,
    /// When it must be looked at again. Past it, a framework may refuse personal data.
    pub review_by: Timestamp,
}

/// The signed document that an agreement stands for.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Where it is. Nothing fetches it.
    #[schemars(transform = shape::uri)]
    pub uri: String,
    /// SHA-256 digest of the file, 64 hex digits, with or without `sha256:` before them.
    #[schemars(transform = shape::file_digest)]
    pub sha256: String,
}

/// How long a recipient keeps what it receives.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Days that it may keep a copy, such as 90. 0 means view only: it keeps none.
    #[schemars(transform = shape::between(0, 36_525))]
    pub days: i64,
    /// What happens to the copy then. Left out, none, and a framework may refuse more than 0 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::values)]
    pub method: Option<RetentionMethod>,
}

/// What happens to a copy in the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RetentionMethod {
    /// It is destroyed.
    Destroy,
    /// It is given back.
    Return,
    /// It is made anonymous.
    Anonymise,
}

/// Whether recipients may pass data on.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.allowed || !has(self.to) || self.to.size() == 0")
        .message("`onwardSharing.to` must be left out while `onwardSharing.allowed` is false")
)]
pub struct OnwardSharing {
    /// Whether they may at all.
    pub allowed: bool,
    /// Names of the PartnerOrgs that they may pass it on to. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 256, shape::object_name))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`onwardSharing.to` lists one organisation twice: keep one"))]
    pub to: Vec<String>,
}

/// How an agreement appears in the public register.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    /// Whether it is published there. Left out, it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub publish: bool,
}

/// One occasion on which people were asked.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicInvolvement {
    /// Who was asked, such as `patients of two practices`. Groups, never names of people.
    #[schemars(transform = shape::line)]
    pub who: String,
    /// How, such as `two workshops`.
    #[schemars(transform = shape::line)]
    pub method: String,
    /// When.
    pub date: Timestamp,
    /// What changed because of it.
    #[schemars(transform = shape::text)]
    pub changed: String,
}

/// How anybody will know that an agreement does good.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeMeasure {
    /// What is measured, such as `emergency admissions per care-home bed`.
    #[schemars(transform = shape::line)]
    pub name: String,
    /// Where it stood before.
    #[schemars(transform = shape::line)]
    pub baseline: String,
    /// Where it should be.
    #[schemars(transform = shape::line)]
    pub target: String,
    /// When it will be looked at.
    pub review_on: Timestamp,
    /// What was found, so far. Not part of the terms. Left out, nothing yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 256, shape::choice))]
    pub reported: Vec<ReportedOutcome>,
}

/// What a measure showed.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedOutcome {
    /// What was found.
    #[schemars(transform = shape::line)]
    pub value: String,
    /// When it was found.
    pub on: Timestamp,
}

/// What makes an agreement an emergency one.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Emergency {
    /// What the emergency is, in words that the public may read.
    #[schemars(transform = shape::text)]
    pub reason: String,
    /// When it ends, at the latest.
    pub expires: Timestamp,
}

/// The agreement of another place that one was copied from.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotedFrom {
    /// Reference of that agreement, such as `CHOR-2026-001`.
    #[schemars(transform = shape::reference)]
    pub reference: String,
    /// Digest of its terms when it was copied, `sha256:` and 64 hex digits.
    #[schemars(transform = shape::digest)]
    pub terms_hash: String,
}

/// The state of the agreement. Written by the operator, and never a source of access.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSharingAgreementStatus {
    /// The generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::count)]
    pub observed_generation: Option<i64>,
    /// Its state, in one word: the first that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::values)]
    pub phase: Option<Phase>,
    /// The cause of the phase, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::word)]
    pub reason: Option<String>,
    /// `2/3`: organisations that stand signed, of those that are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::word)]
    pub parties: Option<String>,
    /// The purposes, with commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::text)]
    pub purposes: Option<String>,
    /// When sharing ends unless something else ends it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
    /// What signatures sign. Left out with `accession`, where it differs by signer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::digest)]
    pub terms_hash: Option<String>,
    /// The part of each organisation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 2048, shape::choice))]
    pub standings: Vec<PartyStanding>,
    /// How many grants are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::count)]
    pub grants: Option<i64>,
    /// The next moment at which something here can change by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_transition: Option<Timestamp>,
    /// The agreement that took this one's place, remembered after that one is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ObjectRef>,
    /// The Controllers whose part of it has ended because another agreement, which they have joined, has replaced it for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 2048, shape::choice))]
    pub superseded_for: Vec<SupersededFor>,
    /// `Valid`, `Compliant`, `Signed`, `InForce`, `Enforced` and `Ready`: what holds, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(transform = shape::list(0, 16, shape::choice))]
    pub conditions: Vec<Condition>,
}

/// A Controller whose part of an agreement another one has replaced.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SupersededFor {
    /// Name of the PartnerOrg.
    #[schemars(transform = shape::object_name)]
    pub org: String,
    /// The agreement that it has joined.
    pub by: ObjectRef,
    /// Whether it has withdrawn from that one, which closes its flows here for as long as that signature is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}

/// The state of an agreement, in one word: the first that holds, top to bottom.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Phase {
    /// It is being deleted.
    Terminating,
    /// Something in it cannot be right.
    Invalid,
    /// Somebody pulled the kill switch.
    Suspended,
    /// Another agreement took its place.
    Superseded,
    /// Its term, its basis or its emergency has ended.
    Expired,
    /// No Controller or no Recipient is left that has not withdrawn or declined.
    Withdrawn,
    /// A national rule refuses it.
    Refused,
    /// Somebody has yet to sign its terms.
    AwaitingSignatures,
    /// All is well, and its term has yet to begin.
    Scheduled,
    /// It is in force.
    Active,
}

impl Phase {
    /// Whether it has ended for good, so that no one has anything left to do about it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Terminating | Self::Superseded | Self::Expired)
    }

    /// The value in YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminating => "Terminating",
            Self::Invalid => "Invalid",
            Self::Suspended => "Suspended",
            Self::Superseded => "Superseded",
            Self::Expired => "Expired",
            Self::Withdrawn => "Withdrawn",
            Self::Refused => "Refused",
            Self::AwaitingSignatures => "AwaitingSignatures",
            Self::Scheduled => "Scheduled",
            Self::Active => "Active",
        }
    }
}

/// The part of one organisation in the agreement.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartyStanding {
    /// Name of the PartnerOrg.
    #[schemars(transform = shape::object_name)]
    pub org: String,
    /// The state of its signature.
    #[schemars(transform = shape::values)]
    pub standing: Standing,
    /// Purposes that it has signed for. Left out, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::list(0, 64, shape::code))]
    pub purposes: Option<Vec<String>>,
    /// The digest that its signature needs, with `accession`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::digest)]
    pub terms_hash: Option<String>,
    /// What it has to do, where it has to do something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::message)]
    pub needed: Option<String>,
}

/// The state of a party's signature.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Standing {
    /// A signature on the current terms counts.
    Signed,
    /// The party has withdrawn.
    Withdrawn,
    /// The party has said no without having signed.
    Declined,
    /// There is a signature, but on other terms.
    OtherTerms,
    /// There is no signature that counts.
    NotSigned,
}

impl Standing {
    /// Whether the party takes no part, by its own word.
    pub fn is_out(self) -> bool {
        matches!(self, Self::Withdrawn | Self::Declined)
    }

    /// In words that follow the party's name.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Signed => "has signed",
            Self::Withdrawn => "has withdrawn",
            Self::Declined => "has declined",
            Self::OtherTerms => "has signed other terms",
            Self::NotSigned => "has not signed",
        }
    }
}
