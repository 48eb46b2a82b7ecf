//! What the agreement gate says of one agreement, and what follows from it: its phase, and the flows that are open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::Entity;
use jiff::Timestamp;

use super::assess::Assessment;
use super::entities::{self, EntityStore, Signed};
use super::flows::Flows;
use super::framework::Framework;
use super::gate::{Forms, questions};
use super::moments::next_transition;
use super::names;
use super::signing::{PartyState, Signing, all_are_out, fully_signed, party_state, standing_signed};
use super::succession::Succession;
use crate::api::Phase;
use crate::core::model::{Agreement, Model};

/// A rule of the agreement gate that refuses.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct BrokenRule {
    pub rule: String,
    /// The party that it was asked of, where the rule is about a party.
    pub org: Option<String>,
    /// The row of `parties[]`, where the rule is about one row and not about the organisation.
    pub row: Option<usize>,
    /// The purpose, where the rule is about a purpose.
    pub purpose: Option<String>,
    /// Why the rule is there, or what went wrong in asking.
    pub reason: String,
}

/// What the agreement gate says, and who stands signed, before one agreement's fate touches another's.
#[derive(Clone)]
pub(super) struct Gate {
    parties: BTreeMap<String, PartyState>,
    pub(super) signed: Signed,
    pub(super) fully_signed: bool,
    pub(super) broken: Vec<BrokenRule>,
    pub(super) kept_out: Vec<BrokenRule>,
    framework: Option<Arc<Framework>>,
    lifted: BTreeSet<String>,
    /// The agreement as Cedar sees it.
    entity: Option<Entity>,
}

/// Rules that are asked of a party, and with `accession` keep only that party out.
pub(super) fn is_per_party(rule: &str) -> bool {
    ["NF-03", "NF-06", "NF-11"].iter().any(|prefix| rule.starts_with(prefix))
}

impl Gate {
    pub(super) fn ask(
        model: &Model,
        store: &EntityStore,
        forms: &Forms,
        agreement: &Agreement,
        now: Timestamp,
        signing: Signing,
    ) -> Self {
        let spec = &agreement.spec;
        let mut parties: BTreeMap<String, PartyState> = agreement
            .signers
            .keys()
            .map(|org| (org.clone(), party_state(agreement, org, signing, now)))
            .collect();
        let framework = model.frameworks.get(&spec.framework).cloned();
        let lifted = lifted(model, agreement, framework.as_deref(), now);
        // with accession the gate itself may keep a party from standing signed
        let expected = standing_signed(agreement, &parties);
        let entity = entities::agreement(model, agreement, &expected);
        let mut broken = Vec::new();
        match &framework {
            None => broken.push(BrokenRule {
                rule: "framework".to_owned(),
                org: None,
                row: None,
                purpose: None,
                reason: format!("there is no framework `{}`", spec.framework),
            }),
            Some(framework) => {
                broken.extend(out_of_effect(framework, now));
                let entities = match &entity {
                    Some(entity) => store.gate_slice(agreement.orgs(), entity),
                    None => Err(entities::UNWRITABLE.to_owned()),
                };
                let questions = questions(model, agreement, framework, &parties, now);
                let policies = framework.gate_without(&lifted);
                for question in questions {
                    broken.extend(question.ask(&policies, &entities, framework, agreement, forms));
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
        // with accession such a party is simply not in yet
        let (kept_out, mut broken): (Vec<_>, Vec<_>) = broken
            .into_iter()
            .partition(|broken| spec.accession && is_per_party(&broken.rule) && broken.org.is_some());
        broken.sort_by(|a, b| (names::rule_sort_key(&a.rule), a).cmp(&(names::rule_sort_key(&b.rule), b)));
        broken.dedup();
        // what is wrong with the agreement as a whole is not also told of each purpose
        let whole: BTreeSet<String> = broken
            .iter()
            .filter(|broken| broken.org.is_none() && broken.purpose.is_none())
            .map(|broken| broken.rule.clone())
            .collect();
        broken.retain(|broken| broken.purpose.is_none() || !whole.contains(&broken.rule));
        let signed = standing_signed(agreement, &parties);
        let fully_signed = fully_signed(model, agreement, &parties, &signed, now);
        let entity = if signed == expected { entity } else { entities::agreement(model, agreement, &signed) };
        Self { parties, signed, fully_signed, broken, kept_out, framework, lifted, entity }
    }

    pub(super) fn conclude(
        self,
        model: &Model,
        store: &EntityStore,
        agreement: &Agreement,
        succession: Succession,
        now: Timestamp,
        signing: Signing,
    ) -> Assessment {
        let Self { parties, signed, fully_signed, broken, kept_out, framework, lifted, entity } = self;
        let spec = &agreement.spec;
        let ends = agreement.ends();
        // the first that holds
        let phase = if agreement.deleting {
            Phase::Terminating
        } else if spec.suspend && signing == Signing::AsSigned {
            Phase::Suspended
        } else if succession.by.is_some() {
            Phase::Superseded
        } else if now >= ends {
            Phase::Expired
        } else if all_are_out(agreement, &parties) {
            Phase::Withdrawn
        } else if !broken.is_empty() {
            Phase::Refused
        } else if !fully_signed {
            Phase::AwaitingSignatures
        } else if now < spec.term.start {
            Phase::Scheduled
        } else {
            Phase::Active
        };
        let next = next_transition(model, agreement, framework.as_deref(), now);
        let next = next.into_iter().chain(succession.starts).min();
        let mut assessment = Assessment {
            at: now,
            phase,
            parties,
            signed,
            fully_signed,
            broken,
            kept_out,
            ends,
            next,
            succession,
            flows: Vec::new(),
            closed: Vec::new(),
            entity,
            lifted,
        };
        if let (Phase::Active, Some(framework)) = (phase, framework) {
            let flows =
                Flows { model, store, agreement, framework: &framework, assessment: &assessment, now };
            (assessment.flows, assessment.closed) = flows.open();
        }
        assessment
    }
}

/// The rules that exceptions lift for an agreement: those that its own framework lets be lifted.
pub(super) fn lifted(
    model: &Model,
    agreement: &Agreement,
    framework: Option<&Framework>,
    now: Timestamp,
) -> BTreeSet<String> {
    model
        .exceptions_for(agreement)
        .filter(|exception| exception.from <= now && now < exception.until)
        .map(|exception| &exception.rule)
        // another framework may let a rule be lifted; this agreement is judged by its own
        .filter(|rule| framework.is_some_and(|own| own.spec.exceptable.contains(rule)))
        .cloned()
        .collect()
}

/// A framework before its first or after its last day refuses every agreement that names it.
fn out_of_effect(framework: &Framework, now: Timestamp) -> Option<BrokenRule> {
    let refuse = |reason: String| BrokenRule {
        rule: "framework".to_owned(),
        org: None,
        row: None,
        purpose: None,
        reason,
    };
    let spec = &framework.spec;
    if now < spec.effective_from {
        return Some(refuse(format!(
            "framework `{}` takes effect on {}",
            framework.reference, spec.effective_from
        )));
    }
    match spec.retires_on {
        Some(retired) if retired <= now => {
            Some(refuse(format!("framework `{}` was retired on {retired}", framework.reference)))
        }
        _ => None,
    }
}
