//! The flows of an agreement in force: which are open, and who keeps the others closed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Entities, PolicySet};
use jiff::Timestamp;

use super::assess::Assessment;
use super::authorize::{Outcome, Question};
use super::context::AccessContext;
use super::entities::{self, EntityStore};
use super::framework::Framework;
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
    pub(super) assessment: &'a Assessment,
    pub(super) now: Timestamp,
}

/// A purpose, and the functions that receive for it.
struct Listed<'a> {
    purpose: &'a Purpose,
    recipients: BTreeSet<FunctionRef>,
}

/// What the guardrails are asked with: the same for every flow, or for every flow of a purpose.
struct Ceiling<'a> {
    guardrails: Cow<'a, PolicySet>,
    entities: Result<Entities, String>,
    /// A question for each purpose, of one of its flows.
    questions: BTreeMap<&'a str, Result<Question, String>>,
}

impl<'a> Flows<'a> {
    pub(super) fn open(&self) -> (Vec<Flow>, Vec<ClosedFlow>) {
        let mut flows: BTreeMap<(ObjectRef, FunctionRef), Flow> = BTreeMap::new();
        let mut closed = Vec::new();
        let purposes = self.agreement.spec.purposes.iter();
        let listed: Vec<Listed<'_>> = purposes
            .map(|purpose| Listed {
                purpose,
                recipients: self.agreement.recipients(purpose, &self.model.orgs),
            })
            .collect();
        let ceiling = self.ceiling(&listed);
        for Listed { purpose, recipients } in &listed {
            for product in purpose.products.iter().filter_map(|reference| self.model.products.get(reference))
            {
                for recipient in recipients {
                    if let Some((org, reason)) = self.obstacle(&ceiling, purpose, product, recipient) {
                        closed.push(ClosedFlow {
                            product: product.reference.clone(),
                            recipient: recipient.clone(),
                            purpose: purpose.code.clone(),
                            org,
                            reason,
                        });
                        continue;
                    }
                    let until = self.not_after(purpose, product, recipient);
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
        ceiling: &Ceiling<'_>,
        purpose: &Purpose,
        product: &Product,
        recipient: &FunctionRef,
    ) -> Option<(String, String)> {
        if let Some(text) = self.model.unknown_texts.first() {
            let reason = format!("`{text}` cannot be read, and may hold a withdrawal");
            return Some((product.spec.controller.clone(), reason));
        }
        if let Some((org, ended)) = self.assessment.ended(self.model, &product.reference, recipient) {
            let reason = if ended.withdrawn {
                format!("`{org}` has withdrawn from `{}`, which replaces this agreement", ended.by)
            } else {
                format!("`{}` has replaced this agreement for `{org}`", ended.by)
            };
            return Some((org, reason));
        }
        for org in [&product.spec.controller, &recipient.org] {
            let found = self.model.orgs.get(org);
            let state = found.map(|org| org.state(self.now));
            let found = found.map(|org| &org.spec);
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
            if !self.assessment.signed.for_purpose(&purpose.code, org) {
                let reason = match self.assessment.parties.get(org) {
                    Some(party) if party.standing == Standing::Withdrawn => format!("`{org}` has withdrawn"),
                    Some(party) if party.standing == Standing::Declined => format!("`{org}` has declined"),
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
        self.guardrail(ceiling, purpose, product, recipient).map(|reason| (recipient.org.clone(), reason))
    }

    fn ceiling(&self, listed: &[Listed<'a>]) -> Ceiling<'a> {
        let Self { model: _, store, agreement, framework, assessment, now: _ } = *self;
        let products: BTreeSet<&ObjectRef> = listed.iter().flat_map(|it| &it.purpose.products).collect();
        let functions: BTreeSet<&FunctionRef> = listed.iter().flat_map(|it| &it.recipients).collect();
        let entities = match &assessment.entity {
            Some(entity) => store.flows_slice(agreement.orgs(), &functions, &products, entity),
            None => Err(entities::UNWRITABLE.to_owned()),
        };
        Ceiling {
            guardrails: framework.flow_guardrails_without(&assessment.lifted),
            entities,
            questions: listed
                .iter()
                .filter_map(|listed| Some((listed.purpose.code.as_str(), self.question(listed)?)))
                .collect(),
        }
    }

    /// What can be asked about a flow before there is a request: its purpose, at the highest level.
    fn question(&self, Listed { purpose, recipients }: &Listed<'_>) -> Option<Result<Question, String>> {
        let action = purpose.actions.first().copied()?;
        let recipient = recipients.first()?;
        let context = AccessContext {
            agreement: &self.agreement.reference,
            framework: self.framework,
            now: self.now,
            purpose: &purpose.code,
            identifiability: purpose.max_identifiability,
            roles: Vec::new(),
            legitimate_relationship: false,
            explicit_consent: false,
            opt_outs_applied: false,
            min_cell_count: 0,
            case_reference: String::new(),
            break_glass: false,
            region: "GB".to_owned(),
            onward_to: None,
        };
        let product = purpose.products.first()?;
        Some(Question::new(
            names::function(recipient),
            names::action(action),
            names::product(product),
            context.pairs(),
        ))
    }

    /// Asks the guardrails of a flow, and says which of them keeps it closed, and why.
    fn guardrail(
        &self,
        Ceiling { guardrails, entities, questions }: &Ceiling<'_>,
        purpose: &Purpose,
        product: &Product,
        recipient: &FunctionRef,
    ) -> Option<String> {
        let outcome = (|| {
            let question = questions.get(purpose.code.as_str()).ok_or("the purpose lists no flow")?;
            let question = question.as_ref().map_err(Clone::clone)?;
            let question = question.alike(names::function(recipient), names::product(&product.reference))?;
            Ok::<_, String>(question.ask(guardrails, entities.as_ref().map_err(Clone::clone)?))
        })()
        .unwrap_or_else(Outcome::Error);
        match outcome {
            // guardrails that do not fire leave silence
            Outcome::Silent | Outcome::Allowed(_) => None,
            Outcome::Forbidden(rules) => {
                let rule = rules.first().map_or("a guardrail", String::as_str);
                Some(format!("{rule}: {}", self.framework.reason(rule)))
            }
            Outcome::Error(error) => Some(format!("a rule could not be evaluated: {error}")),
        }
    }

    /// When a flow ends by itself: the least of term end, review, basis, emergency, DPIA and assurance.
    fn not_after(&self, purpose: &Purpose, product: &Product, recipient: &FunctionRef) -> Timestamp {
        let (spec, assessment) = (&self.agreement.spec, self.assessment);
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
