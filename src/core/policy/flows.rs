//! The flows of an agreement in force: which are open, and who keeps the others closed.

use std::collections::BTreeMap;

use cedar_policy::PolicySet;
use jiff::Timestamp;

use super::assess::Assessment;
use super::authorize::{Outcome, Question};
use super::entities::{EntityStore, Value, flag, long, moment, text, texts};
use super::framework::Framework;
use super::gate::framework_terms;
use super::names;
use crate::api::{DataAction, Dspt, DsptStatus, Identifiability, ObjectRef, OrgState, Purpose, Standing};
use crate::core::model::{Agreement, FunctionRef, Model, Product};

/// The rule that asks for assurance.
const ASSURANCE: &str = "NF-13";

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
    /// When this purpose ends by itself; the flow as a whole ends with the first of them.
    pub not_after: Timestamp,
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

/// The flows of one agreement in force.
pub(super) struct Flows<'a> {
    pub(super) model: &'a Model,
    pub(super) store: &'a EntityStore,
    pub(super) agreement: &'a Agreement,
    pub(super) framework: &'a Framework,
    pub(super) now: Timestamp,
}

impl Flows<'_> {
    pub(super) fn open(&self, assessment: &Assessment) -> (Vec<Flow>, Vec<ClosedFlow>) {
        let mut flows: BTreeMap<(ObjectRef, FunctionRef), Flow> = BTreeMap::new();
        let mut closed = Vec::new();
        for purpose in &self.agreement.spec.purposes {
            let recipients = self.agreement.recipients(purpose, &self.model.orgs);
            for product in purpose.products.iter().filter_map(|reference| self.model.products.get(reference))
            {
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
                    let flow =
                        flows.entry((product.reference.clone(), recipient.clone())).or_insert_with(|| Flow {
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
                        not_after: until,
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
            let found = self.model.orgs.get(org).map(|org| &org.spec);
            let state = found.map(|org| org.state);
            if state != Some(OrgState::Active) {
                let state = state.map_or("unknown", OrgState::as_str).to_lowercase();
                // a successor never signs by itself
                let successor = found
                    .and_then(|org| org.successor.as_ref())
                    .map(|successor| {
                        format!("; its successor `{successor}` has to be a party and sign itself")
                    })
                    .unwrap_or_default();
                return Some((org.clone(), format!("`{org}` is {state}{successor}")));
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
                    Some(party) if party.in_doubt => {
                        format!("what `{org}` says cannot be used, and may be that it has withdrawn")
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
            let entity =
                assessment.entity.as_ref().ok_or("the agreement's terms cannot be written for Cedar")?;
            let controller = &product.spec.controller;
            let entities =
                self.store.access_slice(None, recipient, &product.reference, controller, entity, None)?;
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
            let met = |dspt: &&Dspt| {
                matches!(dspt.status, DsptStatus::StandardsMet | DsptStatus::StandardsExceeded)
            };
            let dspt = assurance.dspt.as_ref().filter(met).and_then(|dspt| dspt.valid_until);
            let schemes = &self.framework.spec.vocabulary.assurance_schemes;
            let equivalent = assurance
                .equivalent
                .as_ref()
                .filter(|one| schemes.contains(&one.scheme))
                .map(|one| one.valid_until);
            // either serves, so the later one bounds
            dspt.max(equivalent)
        });
        // while an exception lifts the rule nobody asks for assurance
        let excepted = self
            .model
            .exceptions_for(self.agreement)
            .filter(|exception| {
                assured && exception.rule == ASSURANCE && assessment.lifted.contains(ASSURANCE)
            })
            .filter(|exception| exception.from <= self.now)
            .map(|exception| exception.until)
            .max();
        // one product with personal data brings the whole agreement under the rule on the DPIA
        let personal = spec
            .purposes
            .iter()
            .flat_map(|purpose| &purpose.products)
            .filter_map(|product| self.model.products.get(product))
            .any(|product| product.spec.personal_data);
        [
            Some(assessment.ends),
            Some(spec.term.review_by),
            spec.dpia.as_ref().filter(|_| personal).map(|dpia| dpia.review_by),
            assurance.max(excepted),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(assessment.ends)
    }
}
