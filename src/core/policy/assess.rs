//! How each agreement stands at a moment: who has signed, whether it is compliant, in force, and what flows.
//!
//! A pure function of (model, moment). It is the only place that knows what "in force" and "open" mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::{Entity, PolicySet};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::authorize::{Outcome, Question};
use super::entities::{self, DataFlags, EntityStore, Signed, Value, flag, long, moment, record, text, texts};
use super::framework::Framework;
use super::names;
use crate::api::{
    DataAction, Identifiability, ObjectRef, OrgState, Party, PartyRole, Phase, Purpose,
    Standing,
};
use crate::core::model::{Agreement, FunctionRef, Model, Product, Signature};

/// Whose word is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signing {
    /// Signatures as they stand.
    AsSigned,
    /// Every agreement is taken as signed by all and unsuspended: for the tests of local policies.
    Assumed,
}

/// A rule of the agreement gate that refuses.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct BrokenRule {
    pub rule: String,
    /// The party that it was asked of, where the rule is about a party.
    pub org: Option<String>,
    /// The purpose, where the rule is about a purpose.
    pub purpose: Option<String>,
    /// Why the rule is there, or what went wrong in asking.
    pub reason: String,
}

/// How one organisation stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartyState {
    pub standing: Standing,
    /// The purposes it stands signed for.
    pub purposes: BTreeSet<String>,
    /// The hash that its signature needs.
    pub terms_hash: String,
    /// Whether two signatures void each other.
    pub twice: bool,
    /// Per-party rules that it breaks; with `accession` they keep it out.
    pub broken: Vec<String>,
}

/// An open path: one product, one recipient function, and the purposes that are open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flow {
    pub product: ObjectRef,
    pub recipient: FunctionRef,
    pub purposes: Vec<FlowPurpose>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// A purpose of a flow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowPurpose {
    pub code: String,
    pub actions: Vec<DataAction>,
    pub roles: Option<Vec<String>>,
    pub max_identifiability: Identifiability,
}

/// A listed flow that is not open, and why.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ClosedFlow {
    pub product: ObjectRef,
    pub recipient: FunctionRef,
    pub purpose: String,
    /// The organisation that keeps it closed.
    pub org: String,
    pub reason: String,
}

/// How an agreement stands.
#[derive(Clone, Debug)]
pub struct Assessment {
    pub phase: Phase,
    pub parties: BTreeMap<String, PartyState>,
    pub signed: Signed,
    /// Whether signatures suffice: the signature clause of "in force" (NF-01).
    pub fully_signed: bool,
    pub broken: Vec<BrokenRule>,
    /// When it ends unless something ends it first.
    pub ends: Timestamp,
    /// The next moment at which something about it changes by itself.
    pub next: Option<Timestamp>,
    pub superseded_by: Option<ObjectRef>,
    pub flows: Vec<Flow>,
    pub closed: Vec<ClosedFlow>,
    /// The agreement as Cedar sees it.
    pub entity: Option<Entity>,
    /// Rules lifted here by an exception.
    pub lifted: BTreeSet<String>,
}

impl Assessment {
    /// Whether the agreement is in force.
    pub fn in_force(&self) -> bool {
        self.phase == Phase::Active
    }
}

/// How every agreement stands, with an index of those in force.
#[derive(Clone, Debug, Default)]
pub struct Assessments {
    pub agreements: BTreeMap<ObjectRef, Assessment>,
    /// Agreements in force by what they list: product and recipient function.
    pub candidates: BTreeMap<(ObjectRef, FunctionRef), BTreeSet<ObjectRef>>,
    /// Entities of everything but agreements.
    pub store: Arc<EntityStore>,
}

/// Assesses every agreement of the model at `now`. The store is made of the same model; it knows no time.
pub fn assess(model: &Model, store: &Arc<EntityStore>, now: Timestamp, signing: Signing) -> Assessments {
    let first: BTreeMap<&ObjectRef, (&Agreement, Gate)> = model
        .agreements
        .iter()
        .map(|(reference, agreement)| (reference, (agreement, Gate::ask(model, store, agreement, now, signing))))
        .collect();
    let mut successors: BTreeMap<ObjectRef, ObjectRef> = BTreeMap::new();
    for (reference, (agreement, gate)) in &first {
        if let Some(old) = &agreement.spec.supersedes
            && gate.supersedes(agreement, model.agreements.get(old), now)
        {
            successors.entry(old.clone()).or_insert_with(|| (*reference).clone());
        }
    }
    let mut assessments = Assessments { store: Arc::clone(store), ..Assessments::default() };
    for (reference, (agreement, gate)) in first {
        let successor = successors.get(reference).or_else(|| remembered(agreement, signing)).cloned();
        let assessment = gate.conclude(model, &assessments.store, agreement, successor, now, signing);
        if assessment.in_force() {
            for purpose in &agreement.spec.purposes {
                for recipient in agreement.recipients(purpose, &model.orgs) {
                    for product in &purpose.products {
                        let listed = (product.clone(), recipient.clone());
                        assessments.candidates.entry(listed).or_default().insert(reference.clone());
                    }
                }
            }
        }
        assessments.agreements.insert(reference.clone(), assessment);
    }
    assessments
}

/// A successor that the status remembers counts also after it is gone: status may close, and never open.
fn remembered(agreement: &Agreement, signing: Signing) -> Option<&ObjectRef> {
    match signing {
        Signing::AsSigned => agreement.remembered_successor.as_ref(),
        Signing::Assumed => None,
    }
}

/// What the agreement gate says, and who stands signed, before one agreement's fate touches another's.
struct Gate {
    parties: BTreeMap<String, PartyState>,
    signed: Signed,
    fully_signed: bool,
    broken: Vec<BrokenRule>,
    framework: Option<Arc<Framework>>,
    lifted: BTreeSet<String>,
}

/// Rules that are asked of a party, and with `accession` keep only that party out.
fn is_per_party(rule: &str) -> bool {
    ["NF-03", "NF-06", "NF-11"].iter().any(|prefix| rule.starts_with(prefix))
}

impl Gate {
    fn ask(model: &Model, store: &EntityStore, agreement: &Agreement, now: Timestamp, signing: Signing) -> Self {
        let spec = &agreement.spec;
        let mut parties: BTreeMap<String, PartyState> = agreement
            .signers
            .keys()
            .map(|org| (org.clone(), party_state(agreement, org, signing)))
            .collect();
        let lifted: BTreeSet<String> = model
            .exceptions
            .iter()
            .filter(|exception| exception.from <= now && now < exception.until)
            .filter(|exception| model.footprints.lies_in(&spec.footprint, &exception.footprint))
            .map(|exception| exception.rule.clone())
            .collect();
        let framework = model.frameworks.get(&spec.framework).cloned();
        let mut broken = Vec::new();
        match &framework {
            None => broken.push(BrokenRule {
                rule: "framework".to_owned(),
                org: None,
                purpose: None,
                reason: format!("there is no framework `{}`", spec.framework),
            }),
            Some(framework) => {
                broken.extend(out_of_effect(framework, now));
                let entity = entities::agreement(model, agreement, &Signed::default());
                let questions = questions(model, agreement, framework, &parties, now);
                let policies = framework.gate_without(&lifted);
                for question in questions {
                    broken.extend(question.ask(store, &policies, entity.as_ref(), framework, agreement));
                }
            }
        }
        for rule in broken.iter().filter(|broken| is_per_party(&broken.rule)) {
            if let Some(party) = rule.org.as_ref().and_then(|org| parties.get_mut(org))
                && !party.broken.contains(&rule.rule)
            {
                party.broken.push(rule.rule.clone());
            }
        }
        if spec.accession {
            // such a party is simply not in yet
            broken.retain(|broken| !(is_per_party(&broken.rule) && broken.org.is_some()));
        }
        broken.sort_by(|a, b| (names::rule_sort_key(&a.rule), a).cmp(&(names::rule_sort_key(&b.rule), b)));
        broken.dedup();
        let signed = standing_signed(agreement, &parties);
        let fully_signed = fully_signed(agreement, &parties, &signed);
        Self { parties, signed, fully_signed, broken, framework, lifted }
    }

    /// Whether this agreement takes the place of `old`: from specs and signatures alone, so that suspending it or
    /// its expiry revives nothing.
    fn supersedes(&self, agreement: &Agreement, old: Option<&Agreement>, now: Timestamp) -> bool {
        self.broken.is_empty()
            && self.fully_signed
            && agreement.spec.term.start <= now
            && old.is_some_and(|old| {
                old.reference != agreement.reference
                    && old.orgs_as(PartyRole::Controller).iter().all(|org| self.signed.orgs.contains(*org))
            })
    }

    fn conclude(
        self,
        model: &Model,
        store: &EntityStore,
        agreement: &Agreement,
        superseded_by: Option<ObjectRef>,
        now: Timestamp,
        signing: Signing,
    ) -> Assessment {
        let Self { parties, signed, fully_signed, broken, framework, lifted } = self;
        let spec = &agreement.spec;
        let ends = [Some(spec.term.end), Some(spec.confidentiality.valid_until), spec.emergency.as_ref().map(|e| e.expires)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(spec.term.end);
        // the first that holds
        let phase = if agreement.deleting {
            Phase::Terminating
        } else if spec.suspend && signing == Signing::AsSigned {
            Phase::Suspended
        } else if superseded_by.is_some() {
            Phase::Superseded
        } else if now >= ends {
            Phase::Expired
        } else if !broken.is_empty() {
            Phase::Refused
        } else if !fully_signed {
            Phase::AwaitingSignatures
        } else if now < spec.term.start {
            Phase::Scheduled
        } else {
            Phase::Active
        };
        let entity = entities::agreement(model, agreement, &signed);
        let next = next_transition(model, agreement, framework.as_deref(), now);
        let mut assessment = Assessment {
            phase,
            parties,
            signed,
            fully_signed,
            broken,
            ends,
            next,
            superseded_by,
            flows: Vec::new(),
            closed: Vec::new(),
            entity,
            lifted,
        };
        if let (Phase::Active, Some(framework)) = (phase, framework) {
            let flows = Flows { model, store, agreement, framework: &framework, now };
            (assessment.flows, assessment.closed) = flows.open(&assessment);
        }
        assessment
    }
}

/// A framework before its first or after its last day refuses every agreement that names it.
fn out_of_effect(framework: &Framework, now: Timestamp) -> Option<BrokenRule> {
    let refuse = |reason: String| BrokenRule { rule: "framework".to_owned(), org: None, purpose: None, reason };
    let spec = &framework.spec;
    if now < spec.effective_from {
        return Some(refuse(format!("framework `{}` takes effect on {}", framework.reference, spec.effective_from)));
    }
    match spec.retires_on {
        Some(retired) if retired <= now => {
            Some(refuse(format!("framework `{}` was retired on {retired}", framework.reference)))
        }
        _ => None,
    }
}

fn party_state(agreement: &Agreement, org: &str, signing: Signing) -> PartyState {
    let all = || agreement.spec.purposes.iter().map(|purpose| purpose.code.clone()).collect::<BTreeSet<_>>();
    let Some(signer) = agreement.signers.get(org) else {
        return PartyState {
            standing: Standing::NotSigned,
            purposes: BTreeSet::new(),
            terms_hash: String::new(),
            twice: false,
            broken: Vec::new(),
        };
    };
    let (standing, purposes) = match (&signer.signature, signing) {
        (_, Signing::Assumed) => (Standing::Signed, all()),
        (Signature::Signed { purposes: None, .. }, _) => (Standing::Signed, all()),
        (Signature::Signed { purposes: Some(named), .. }, _) => {
            (Standing::Signed, all().intersection(named).cloned().collect())
        }
        (Signature::Withdrawn, _) => (Standing::Withdrawn, BTreeSet::new()),
        (Signature::OtherTerms, _) => (Standing::OtherTerms, BTreeSet::new()),
        (Signature::Missing | Signature::Twice, _) => (Standing::NotSigned, BTreeSet::new()),
    };
    let twice = signer.signature == Signature::Twice && signing == Signing::AsSigned;
    PartyState { standing, purposes, terms_hash: signer.terms_hash.clone(), twice, broken: Vec::new() }
}

/// Who stands signed, for what.
fn standing_signed(agreement: &Agreement, parties: &BTreeMap<String, PartyState>) -> Signed {
    let spec = &agreement.spec;
    let controllers = agreement.orgs_as(PartyRole::Controller);
    let mut signed = Signed::default();
    for (org, party) in parties {
        // in an emergency a recipient counts as signed unless it withdrew
        let assumed = spec.emergency.is_some()
            && !controllers.contains(org.as_str())
            && !matches!(party.standing, Standing::Signed | Standing::Withdrawn);
        let kept_out = spec.accession && !party.broken.is_empty();
        if kept_out || !(party.standing == Standing::Signed || assumed) {
            continue;
        }
        signed.orgs.insert(org.clone());
        for purpose in &spec.purposes {
            if assumed || party.purposes.contains(&purpose.code) {
                signed.by_purpose.entry(purpose.code.clone()).or_default().insert(org.clone());
            }
        }
    }
    signed
}

/// The signature clause of "in force" (NF-01).
fn fully_signed(agreement: &Agreement, parties: &BTreeMap<String, PartyState>, signed: &Signed) -> bool {
    let has = |role| agreement.orgs_as(role).iter().any(|org| signed.orgs.contains(*org));
    let everybody = agreement.spec.accession
        || parties
            .iter()
            .all(|(org, party)| party.standing == Standing::Withdrawn || signed.orgs.contains(org));
    everybody && has(PartyRole::Controller) && has(PartyRole::Recipient)
}

/// One question of the agreement gate.
struct GateQuestion {
    org: String,
    /// The purpose that it is about; none when it is about the party's row.
    purpose: Option<String>,
    context: Vec<(&'static str, Value)>,
}

impl GateQuestion {
    fn ask(
        self,
        store: &EntityStore,
        policies: &PolicySet,
        entity: Option<&Entity>,
        framework: &Framework,
        agreement: &Agreement,
    ) -> Vec<BrokenRule> {
        let Self { org, purpose, context } = self;
        let outcome = (|| {
            let entity = entity.ok_or("the agreement's terms cannot be written for Cedar")?;
            let entities = store.gate_slice(&org, entity).map_err(|error| error.to_string())?;
            let question = Question::new(
                names::org(&org),
                names::activate_agreement(),
                names::agreement(&agreement.reference),
                context,
            )?;
            Ok::<_, String>(question.ask(policies, &entities))
        })()
        .unwrap_or_else(Outcome::Error);
        let broken = |rule: String, reason: String| BrokenRule {
            // a rule about the agreement as a whole is the same for every party
            org: (purpose.is_none() && is_about_party(&rule)).then(|| org.clone()),
            purpose: purpose.clone(),
            rule,
            reason,
        };
        match outcome {
            Outcome::Allowed(_) => Vec::new(),
            Outcome::Forbidden(rules) => rules
                .into_iter()
                .filter(|rule| purpose.is_none() || is_about_purpose(rule))
                .map(|rule| {
                    let reason = framework.reason(&rule).to_owned();
                    broken(rule, reason)
                })
                .collect(),
            Outcome::Silent => vec![broken("gate".to_owned(), "no rule of the framework permits it".to_owned())],
            Outcome::Error(error) => vec![broken("error".to_owned(), format!("a rule could not be evaluated: {error}"))],
        }
    }
}

/// Rules that are asked again for each purpose. Every other one has been asked of the row.
fn is_about_purpose(rule: &str) -> bool {
    ["NF-04a", "NF-04b", "NF-09"].contains(&rule)
}

/// Rules whose answer differs by party.
fn is_about_party(rule: &str) -> bool {
    is_per_party(rule) || !["NF-02", "NF-05", "NF-07", "NF-08", "NF-09", "NF-10"].contains(&rule)
}

fn questions(
    model: &Model,
    agreement: &Agreement,
    framework: &Framework,
    parties: &BTreeMap<String, PartyState>,
    now: Timestamp,
) -> Vec<GateQuestion> {
    let spec = &agreement.spec;
    let limits = &framework.spec.limits;
    let within = |from: Timestamp, months: Option<i64>, date: Timestamp| {
        months.is_none_or(|months| add_months(from, months).is_some_and(|latest| date <= latest))
    };
    let term_within = within(spec.term.start, limits.term_months, spec.term.end);
    let review_within = within(now.max(spec.term.start), limits.review_months, spec.term.review_by);
    let flags = |references: &mut dyn Iterator<Item = &ObjectRef>| {
        DataFlags::union(references.filter_map(|reference| model.products.get(reference)).map(|product| &product.spec))
    };
    let context = |row: &Party, data: DataFlags, purpose: Option<&Purpose>| {
        let purpose_data = purpose.map(|purpose| flags(&mut purpose.products.iter())).unwrap_or_default();
        vec![
            ("now", moment(now)),
            ("framework", framework_terms(framework)),
            ("role", text(row.role.as_str())),
            ("article6", text(row.article6.clone().unwrap_or_default())),
            ("article9", text(row.article9.clone().unwrap_or_default())),
            ("data", data.value()),
            ("purpose", text(purpose.map(|purpose| purpose.code.clone()).unwrap_or_default())),
            ("purposeData", purpose_data.value()),
            ("purposeMaxIdentifiability", long(purpose.map_or(0, |purpose| purpose.max_identifiability.rank()))),
            ("termWithinLimits", flag(term_within)),
            ("reviewWithinLimits", flag(review_within)),
        ]
    };
    let mut asked = Vec::new();
    let mut any_row = None;
    for row in &spec.parties {
        // the rows of a party that has withdrawn are asked of nobody
        if parties.get(&row.org).is_some_and(|party| party.standing == Standing::Withdrawn) {
            continue;
        }
        let data = flags(&mut spec.purposes.iter().flat_map(|purpose| row_products(model, agreement, row, purpose)));
        asked.push(GateQuestion { org: row.org.clone(), purpose: None, context: context(row, data, None) });
        any_row.get_or_insert((row, data));
    }
    if let Some((row, data)) = any_row {
        asked.extend(spec.purposes.iter().map(|purpose| GateQuestion {
            org: row.org.clone(),
            purpose: Some(purpose.code.clone()),
            context: context(row, data, Some(purpose)),
        }));
    }
    asked
}

/// The products of a purpose that a row controls or receives; a Processor's are all.
fn row_products<'a>(
    model: &'a Model,
    agreement: &'a Agreement,
    row: &'a Party,
    purpose: &'a Purpose,
) -> Vec<&'a ObjectRef> {
    let controls = |reference: &&ObjectRef| {
        model.products.get(*reference).is_some_and(|product| product.spec.controller == row.org)
    };
    match row.role {
        PartyRole::Processor => purpose.products.iter().collect(),
        PartyRole::Controller => purpose.products.iter().filter(controls).collect(),
        PartyRole::Recipient => {
            let receives = agreement.recipients(purpose, &model.orgs).into_iter().any(|recipient| {
                recipient.org == row.org && row.function.as_ref().is_none_or(|function| *function == recipient.function)
            });
            if receives { purpose.products.iter().collect() } else { Vec::new() }
        }
    }
}

/// What the framework says as data.
pub(super) fn framework_terms(framework: &Framework) -> Value {
    record([
        ("individualCare", texts(framework.individual_care())),
        ("prohibited", texts(framework.prohibited())),
        ("assuranceSchemes", texts(framework.spec.vocabulary.assurance_schemes.clone())),
        ("minCell", long(framework.min_cell())),
    ])
}

/// Calendar months later, in UTC; none where the calendar ends.
pub(crate) fn add_months(from: Timestamp, months: i64) -> Option<Timestamp> {
    let span = Span::new().try_months(months).ok()?;
    Some(from.to_zoned(TimeZone::UTC).checked_add(span).ok()?.timestamp())
}

/// Every moment that an agreement's standing reads, and the first of them that lies ahead.
fn next_transition(
    model: &Model,
    agreement: &Agreement,
    framework: Option<&Framework>,
    now: Timestamp,
) -> Option<Timestamp> {
    let spec = &agreement.spec;
    let review_months = framework.and_then(|framework| framework.spec.limits.review_months);
    let mut dates = vec![
        Some(spec.term.start),
        Some(spec.term.end),
        Some(spec.term.review_by),
        // from when on the review is near enough
        review_months.and_then(|months| add_months(spec.term.review_by, -months)),
        Some(spec.confidentiality.valid_until),
        spec.emergency.as_ref().map(|emergency| emergency.expires),
        spec.dpia.as_ref().map(|dpia| dpia.approved_on),
        spec.dpia.as_ref().map(|dpia| dpia.review_by),
        framework.map(|framework| framework.spec.effective_from),
        framework.and_then(|framework| framework.spec.retires_on),
    ];
    for org in agreement.orgs().into_iter().filter_map(|org| model.orgs.get(org)) {
        let assurance = org.spec.assurance.as_ref();
        dates.push(assurance.and_then(|assurance| assurance.dspt.as_ref()?.valid_until));
        dates.push(assurance.and_then(|assurance| Some(assurance.equivalent.as_ref()?.valid_until)));
        dates.push(org.spec.ico.as_ref().and_then(|ico| ico.valid_until));
    }
    for signer in agreement.signers.values() {
        if let Signature::Signed { until, .. } = &signer.signature {
            dates.push(*until);
        }
    }
    for exception in &model.exceptions {
        if model.footprints.lies_in(&spec.footprint, &exception.footprint) {
            dates.extend([Some(exception.from), Some(exception.until)]);
        }
    }
    dates.into_iter().flatten().filter(|date| *date > now).min()
}

/// The flows of one agreement in force.
struct Flows<'a> {
    model: &'a Model,
    store: &'a EntityStore,
    agreement: &'a Agreement,
    framework: &'a Framework,
    now: Timestamp,
}

impl Flows<'_> {
    fn open(&self, assessment: &Assessment) -> (Vec<Flow>, Vec<ClosedFlow>) {
        let mut flows: BTreeMap<(ObjectRef, FunctionRef), Flow> = BTreeMap::new();
        let mut closed = Vec::new();
        for purpose in &self.agreement.spec.purposes {
            let recipients = self.agreement.recipients(purpose, &self.model.orgs);
            for product in purpose.products.iter().filter_map(|reference| self.model.products.get(reference)) {
                for recipient in &recipients {
                    if let Some((org, reason)) = self.obstacle(assessment, purpose, product, recipient) {
                        closed.push(ClosedFlow {
                            product: product.reference.clone(),
                            recipient: recipient.clone(),
                            purpose: purpose.code.clone(),
                            org,
                            reason,
                        });
                        continue;
                    }
                    let until = self.not_after(assessment, purpose, product, recipient);
                    let flow = flows.entry((product.reference.clone(), recipient.clone())).or_insert_with(|| Flow {
                        product: product.reference.clone(),
                        recipient: recipient.clone(),
                        purposes: Vec::new(),
                        not_before: self.agreement.spec.term.start,
                        not_after: until,
                    });
                    flow.not_after = flow.not_after.min(until);
                    flow.purposes.push(FlowPurpose {
                        code: purpose.code.clone(),
                        actions: purpose.actions.clone(),
                        roles: purpose.roles.clone(),
                        max_identifiability: purpose.max_identifiability,
                    });
                }
            }
        }
        closed.sort();
        (flows.into_values().collect(), closed)
    }

    /// Who keeps a listed flow closed, and why.
    fn obstacle(
        &self,
        assessment: &Assessment,
        purpose: &Purpose,
        product: &Product,
        recipient: &FunctionRef,
    ) -> Option<(String, String)> {
        for org in [&product.spec.controller, &recipient.org] {
            let state = self.model.orgs.get(org).map(|org| org.spec.state);
            if state != Some(OrgState::Active) {
                let state = state.map_or("unknown", OrgState::as_str).to_lowercase();
                return Some((org.clone(), format!("`{org}` is {state}")));
            }
            if !assessment.signed.for_purpose(&purpose.code, org) {
                let reason = match assessment.parties.get(org) {
                    Some(party) if party.standing == Standing::Withdrawn => format!("`{org}` has withdrawn"),
                    Some(party) if party.standing == Standing::Signed && !party.broken.is_empty() => {
                        format!("`{org}` breaks {}", party.broken.join(", "))
                    }
                    Some(party) if party.standing == Standing::Signed => {
                        format!("`{org}` has signed, but not for `{}`", purpose.code)
                    }
                    _ => format!("`{org}` has not signed"),
                };
                return Some((org.clone(), reason));
            }
        }
        self.framework
            .flow_guardrails
            .iter()
            .filter(|(rule, _)| !assessment.lifted.contains(rule))
            .find_map(|rule| self.guardrail(assessment, rule, purpose, product, recipient))
            .map(|reason| (recipient.org.clone(), reason))
    }

    /// Asks one guardrail of a flow before there is a request: at the purpose's highest level.
    fn guardrail(
        &self,
        assessment: &Assessment,
        (rule, alone): &(String, PolicySet),
        purpose: &Purpose,
        product: &Product,
        recipient: &FunctionRef,
    ) -> Option<String> {
        let action = purpose.actions.first().copied()?;
        let outcome = (|| {
            let entity = assessment.entity.as_ref().ok_or("the agreement's terms cannot be written for Cedar")?;
            let controller = &product.spec.controller;
            let entities = self
                .store
                .access_slice(None, recipient, &product.reference, controller, entity, None)
                .map_err(|error| error.to_string())?;
            let context = vec![
                ("agreement", Value::new_entity_uid(names::agreement(&self.agreement.reference))),
                ("framework", framework_terms(self.framework)),
                ("now", moment(self.now)),
                ("purpose", text(purpose.code.clone())),
                ("identifiability", long(purpose.max_identifiability.rank())),
                ("roles", texts(Vec::<String>::new())),
                ("legitimateRelationship", flag(false)),
                ("explicitConsent", flag(false)),
                ("optOutsApplied", flag(false)),
                ("minCellCount", long(0)),
                ("caseReference", text("")),
                ("breakGlass", flag(false)),
                ("region", text("GB")),
            ];
            let question = Question::new(
                names::function(recipient),
                names::action(action),
                names::product(&product.reference),
                context,
            )?;
            Ok::<_, String>(question.ask(alone, &entities))
        })()
        .unwrap_or_else(Outcome::Error);
        match outcome {
            // alone in its set, a guardrail that does not fire leaves silence
            Outcome::Silent | Outcome::Allowed(_) => None,
            Outcome::Forbidden(_) => Some(format!("{rule}: {}", self.framework.reason(rule))),
            Outcome::Error(error) => Some(format!("{rule} could not be evaluated: {error}")),
        }
    }

    /// When a flow ends by itself: the least of term end, review, basis, emergency, DPIA and assurance.
    fn not_after(
        &self,
        assessment: &Assessment,
        purpose: &Purpose,
        product: &Product,
        recipient: &FunctionRef,
    ) -> Timestamp {
        let spec = &self.agreement.spec;
        let assured = product.spec.confidential_patient_info
            && purpose.max_identifiability >= Identifiability::Pseudonymised;
        let assurance = self.model.orgs.get(&recipient.org).filter(|_| assured).and_then(|org| {
            let assurance = org.spec.assurance.as_ref()?;
            let dspt = assurance.dspt.as_ref().and_then(|dspt| dspt.valid_until);
            let schemes = &self.framework.spec.vocabulary.assurance_schemes;
            let equivalent =
                assurance.equivalent.as_ref().filter(|one| schemes.contains(&one.scheme)).map(|one| one.valid_until);
            // either serves, so the later one bounds
            dspt.max(equivalent)
        });
        [
            Some(assessment.ends),
            Some(spec.term.review_by),
            spec.dpia.as_ref().filter(|_| product.spec.personal_data).map(|dpia| dpia.review_by),
            assurance,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(assessment.ends)
    }
}
