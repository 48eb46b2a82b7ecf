//! The flows of an agreement in force: which are open, and who keeps the others closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::Entities;
use jiff::Timestamp;

use super::annotations::Asked;
use super::assessment::{Assessment, ClosedFlow, Flow, FlowPurpose};
use super::authorize::{NoAnswer, Outcome, Question};
use super::broken_rule::{BrokenRule, Lapse};
use super::context::AccessContext;
use super::dates::dates_read;
use super::entities::EntityStore;
use super::exceptions::{About, Lifts};
use super::framework::{Framework, RuleSet};
use super::names;
use super::signing::{PartyState, Signing, party_state, standing_signed};
use crate::model::{Agreement, FunctionRef, Model, Product};
use concordat_api::{ObjectRef, OrgState, Purpose, Standing};

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
    rules: &'a RuleSet,
    lifts: Lifts<'a>,
    entities: Result<Entities, NoAnswer>,
    /// A question for each purpose and moment, of one of its flows.
    questions: Mutex<FlowQuestions<'a>>,
}

/// Questions by purpose and moment.
type FlowQuestions<'a> = BTreeMap<(&'a str, Timestamp), Result<Arc<Question>, NoAnswer>>;

/// One purpose of one listed flow.
#[derive(Clone, Copy)]
struct Path<'a> {
    purpose: &'a Purpose,
    product: &'a Product,
    recipient: &'a FunctionRef,
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
                    let path = Path { purpose, product, recipient };
                    if let Some(Obstacle { org, rule, reason }) = self.obstacle(&ceiling, path) {
                        let reason = match &rule {
                            Some(rule) => format!("{rule}: {reason}"),
                            None => reason,
                        };
                        closed.push(ClosedFlow {
                            product: product.reference.clone(),
                            recipient: recipient.clone(),
                            purpose: purpose.code.clone(),
                            org,
                            rule,
                            reason,
                        });
                        continue;
                    }
                    let until = self.not_after(&ceiling, path);
                    let flow =
                        flows.entry((product.reference.clone(), recipient.clone())).or_insert_with(|| Flow {
                            product: product.reference.clone(),
                            recipient: recipient.clone(),
                            purposes: Vec::new(),
                            not_before: self.agreement.spec.term.start,
                            not_after: until,
                        });
                    flow.not_after = flow.not_after.max(until);
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
    fn obstacle(&self, ceiling: &Ceiling<'a>, path: Path<'a>) -> Option<Obstacle> {
        let Path { purpose, product, recipient } = path;
        if let Some(text) = self.model.unknown_texts.first() {
            let reason = format!("`{text}` is not read, and may hold a withdrawal");
            return Some(Obstacle { org: product.spec.controller.clone(), rule: None, reason });
        }
        let parties = Parties { model: self.model, agreement: self.agreement, assessment: self.assessment };
        let by_parties = parties.obstacle(self.framework, self.now, &purpose.code, product, recipient);
        let by_rules = || {
            let Closed { rule, reason } = self.guardrail(ceiling, path, self.now)?;
            Some(Obstacle { org: recipient.org.clone(), rule, reason })
        };
        by_parties.or_else(by_rules).or_else(|| never_allowed(self.framework, &purpose.code, product))
    }

    /// Whether, with `accession`, a rule of the gate closes a path.
    fn closes(&self, broken: &BrokenRule, Path { purpose, product, recipient }: Path<'_>) -> bool {
        let keeps_out = self.framework.keeps_out(&broken.rule);
        broken.closes(self.agreement, keeps_out, &purpose.code, &product.spec.controller, recipient)
    }

    fn ceiling(&self, listed: &[Listed<'a>]) -> Ceiling<'a> {
        let Self { model, store, agreement, framework, assessment, now: _ } = *self;
        let products: BTreeSet<&ObjectRef> = listed.iter().flat_map(|it| &it.purpose.products).collect();
        let functions: BTreeSet<&FunctionRef> = listed.iter().flat_map(|it| &it.recipients).collect();
        let entities = match &assessment.entity {
            Some(entity) => {
                store.flows_slice(&functions, &products, entity, framework.literals.iter().cloned())
            }
            None => Err(NoAnswer::Terms),
        };
        Ceiling {
            rules: framework.rules_of(Asked::Flow),
            lifts: Lifts::new(model, agreement, framework, &assessment.signed),
            entities,
            questions: Mutex::default(),
        }
    }

    /// What can be asked about a flow before there is a request: its purpose, at the highest level.
    fn question(
        &self,
        Path { purpose, product, recipient }: Path<'_>,
        now: Timestamp,
    ) -> Result<Question, NoAnswer> {
        let action = purpose.actions.first().copied().ok_or(NoAnswer::NoAction)?;
        let context = AccessContext {
            agreement: &self.agreement.reference,
            framework: self.framework,
            now,
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
        Question::new(
            names::function(recipient),
            names::action(action),
            names::product(&product.reference),
            context.pairs(),
        )
    }

    /// Asks the guardrails of a flow as they will be at a moment, and says which of them keeps it closed, and why.
    fn guardrail(&self, ceiling: &Ceiling<'a>, path: Path<'a>, at: Timestamp) -> Option<Closed> {
        let Ceiling { rules, lifts, entities, questions } = ceiling;
        if rules.is_empty() {
            return None;
        }
        let Path { purpose, product, recipient } = path;
        let outcome = (|| {
            let question = {
                let mut questions = questions.lock().unwrap_or_else(PoisonError::into_inner);
                let made = || self.question(path, at).map(Arc::new);
                questions.entry((purpose.code.as_str(), at)).or_insert_with(made).clone()?
            };
            let question = question.alike(names::function(recipient), names::product(&product.reference))?;
            let about = About::Path { controller: &product.spec.controller, recipient: &recipient.org };
            let rules = rules.without(&lifts.lifted(about, at));
            Ok::<_, NoAnswer>(question.ask(&rules, entities.as_ref().map_err(Clone::clone)?))
        })()
        .unwrap_or_else(Outcome::Error);
        match outcome {
            // guardrails that do not fire leave silence
            Outcome::Silent | Outcome::Allowed(_) => None,
            Outcome::Forbidden(rules) => {
                let rule = rules.into_iter().next();
                let reason = rule.as_ref().map_or("a guardrail", |rule| self.framework.reason(rule));
                Some(Closed { reason: reason.to_owned(), rule })
            }
            Outcome::Error(error) => {
                Some(Closed { rule: None, reason: format!("a rule could not be evaluated: {error}") })
            }
        }
    }

    /// When a flow ends by itself: the first moment at which the agreement ends, a signature that it rests on ends, or a
    /// rule closes it that reads a date.
    fn not_after(&self, ceiling: &Ceiling<'a>, path: Path<'a>) -> Timestamp {
        let Self { model, agreement, assessment, now, .. } = *self;
        let Path { purpose, product, recipient } = path;
        let accession = agreement.spec.accession;
        let orgs = [product.spec.controller.as_str(), recipient.org.as_str()];
        let gone = orgs.iter().filter_map(|org| model.orgs.get(*org)?.spec.ends_on).filter(|at| now < *at);
        let unsigned = self.unsigned_from(&orgs, &purpose.code);
        let closes = |lapse: &&Lapse| !accession || self.closes(&lapse.broken, path);
        let gate = assessment.lapses.iter().find(closes).map(|lapse| lapse.at);
        let until =
            gone.chain(unsigned).chain(gate).chain([assessment.ends]).min().unwrap_or(assessment.ends);
        let dates = dates_read(model, agreement, ceiling.rules, &orgs, (now, until));
        let guardrail = dates.into_iter().find(|at| self.guardrail(ceiling, path, *at).is_some());
        guardrail.unwrap_or(until)
    }

    /// The first moment at which one of two organisations no longer stands signed for a purpose.
    fn unsigned_from(&self, orgs: &[&str], purpose: &str) -> Option<Timestamp> {
        let Self { agreement, now, .. } = *self;
        let signers = || orgs.iter().filter_map(|org| agreement.signers.get_key_value(*org));
        let moments = signers().flat_map(|(_, signer)| signer.words.moments()).filter(|at| now < *at);
        let moments: BTreeSet<Timestamp> = moments.collect();
        moments.into_iter().find(|at| {
            let parties = signers()
                .map(|(org, _)| (org.clone(), party_state(agreement, org, Signing::AsSigned, *at)))
                .collect();
            let signed = standing_signed(agreement, &parties);
            signers().any(|(org, _)| !signed.for_purpose(purpose, org))
        })
    }
}

/// Why a guardrail closes a path.
struct Closed {
    /// The rule, unless one could not be evaluated.
    rule: Option<String>,
    reason: String,
}

/// Why a path is closed.
pub(super) struct Obstacle {
    /// The organisation that keeps it closed.
    pub(super) org: String,
    /// The national rule, where one does.
    pub(super) rule: Option<String>,
    pub(super) reason: String,
}

/// Why a party does not stand signed for a purpose, in words that follow its name.
fn not_signed_for(purpose: &str, party: &PartyState) -> String {
    let PartyState { standing, broken, in_doubt, against, ended, .. } = party;
    match standing {
        Standing::Withdrawn => "has withdrawn".to_owned(),
        Standing::Declined => "has declined".to_owned(),
        _ if *in_doubt => "has said something that cannot be used, and may have withdrawn".to_owned(),
        Standing::Signed if !broken.is_empty() => format!("breaks {}", broken.join(", ")),
        _ if ended.contains(purpose) => format!("has ended its part in `{purpose}`"),
        Standing::Signed => format!("has signed, but not for `{purpose}`"),
        Standing::OtherTerms if against.contains(purpose) => {
            format!("has signed other terms, and not for `{purpose}`")
        }
        Standing::OtherTerms => "has signed other terms".to_owned(),
        Standing::NotSigned if against.contains(purpose) => {
            format!("takes no part in `{purpose}`, by its own word")
        }
        Standing::NotSigned => "has not signed".to_owned(),
    }
}

/// The two ends of a path under an agreement in force.
pub(super) struct Parties<'a> {
    pub(super) model: &'a Model,
    pub(super) agreement: &'a Agreement,
    pub(super) assessment: &'a Assessment,
}

/// That a framework prohibits a purpose closes it, also where no rule of its says so.
pub(super) fn never_allowed(framework: &Framework, purpose: &str, product: &Product) -> Option<Obstacle> {
    framework.purpose(purpose).filter(|it| it.prohibited)?;
    let reason = format!("framework `{}` never allows `{purpose}`", framework.reference);
    Some(Obstacle { org: product.spec.controller.clone(), rule: None, reason })
}

impl Parties<'_> {
    /// Whether both ends of a path are active and have signed for the purpose, and no rule of the gate closes it.
    pub(super) fn obstacle(
        &self,
        framework: &Framework,
        now: Timestamp,
        purpose: &str,
        product: &Product,
        recipient: &FunctionRef,
    ) -> Option<Obstacle> {
        let Self { model, agreement, assessment } = *self;
        if let Some((org, ended)) = assessment.ended(model, &product.reference, recipient) {
            let reason = ended.reason(&org);
            return Some(Obstacle { org, rule: None, reason });
        }
        for org in [&product.spec.controller, &recipient.org] {
            let found = model.orgs.get(org);
            let state = found.map(|org| org.state(now));
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
                let reason = format!("`{org}` is {state}{successor}");
                return Some(Obstacle { org: org.clone(), rule: None, reason });
            }
            if !assessment.signed.for_purpose(purpose, org) {
                let said = assessment.parties.get(org).map(|party| not_signed_for(purpose, party));
                let reason = said.unwrap_or_else(|| "has not signed".to_owned());
                let reason = format!("`{org}` {reason}");
                return Some(Obstacle { org: org.clone(), rule: None, reason });
            }
        }
        let closes = assessment.kept_out.iter().find(|broken| {
            let keeps_out = framework.keeps_out(&broken.rule);
            broken.closes(agreement, keeps_out, purpose, &product.spec.controller, recipient)
        });
        let BrokenRule { rule, org, reason, .. } = closes?;
        let org = org.as_ref().unwrap_or(&product.spec.controller).clone();
        Some(Obstacle { org, rule: Some(rule.clone()), reason: reason.clone() })
    }
}
