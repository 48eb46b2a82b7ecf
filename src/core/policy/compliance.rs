//! What the agreement gate says of one agreement, and what follows from it: its phase, and the flows that are open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::Entities;
use jiff::Timestamp;

use super::assessment::Assessment;
use super::authorize::NoAnswer;
use super::broken_rule::{BrokenRule, Lapse};
use super::dates::next_transition;
use super::entities::{self, EntityStore, Linked, Signed};
use super::exceptions::Lifts;
use super::flows::Flows;
use super::framework::Framework;
use super::gate::{GateQuestion, Gatekeeper, Members, QuestionCache};
use super::names;
use super::signing::{PartyState, Signing, all_are_out, fully_signed, party_state, standing_signed};
use super::succession::Succession;
use crate::model::{Agreement, Model};
use concordat_api::{OrgState, PartyRole, Phase};

/// What the agreement gate says, and who has signed, before one agreement's fate touches another's.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) parties: BTreeMap<String, PartyState>,
    pub(super) signed: Signed,
    pub(super) fully_signed: bool,
    pub(super) broken: Vec<BrokenRule>,
    pub(super) kept_out: Vec<BrokenRule>,
    framework: Option<Arc<Framework>>,
    /// The agreement as Cedar sees it.
    entity: Option<Linked>,
    /// The questions that no rule refuses, for asking them again at later dates.
    passed: Vec<GateQuestion>,
    entities: Arc<Result<Entities, NoAnswer>>,
    forms: QuestionCache,
}

/// The first answer of the gate: whom it keeps out, and what it refuses.
#[derive(Default)]
struct Answers {
    broken: Vec<BrokenRule>,
    passed: Vec<GateQuestion>,
}

impl Answers {
    fn ask(
        &mut self,
        keeper: &Gatekeeper<'_>,
        questions: Vec<GateQuestion>,
        lifts: &Lifts<'_>,
        now: Timestamp,
    ) {
        for question in questions {
            let broken = keeper.ask(&question, lifts, now);
            if broken.is_empty() {
                self.passed.push(question);
            } else {
                self.broken.extend(broken);
            }
        }
    }
}

impl Gate {
    pub(super) fn ask(
        model: &Model,
        store: &EntityStore,
        forms: &QuestionCache,
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
        // with accession the gate itself may keep a party out
        let expected = standing_signed(agreement, &parties);
        let entity = entities::agreement(model, agreement, &expected);
        let Some(framework) = framework else {
            let reason = format!("there is no framework `{}`", spec.framework);
            let fully_signed = fully_signed(model, agreement, &parties, &expected, now);
            return Self {
                parties,
                signed: expected,
                fully_signed,
                broken: vec![BrokenRule::of_all("framework", reason)],
                kept_out: Vec::new(),
                framework: None,
                entity,
                passed: Vec::new(),
                entities: Arc::new(Err(NoAnswer::Terms)),
                forms: forms.clone(),
            };
        };
        let slice = |entity: &Option<Linked>| match entity {
            Some(entity) => store.gate_slice(agreement.orgs(), entity, framework.literals.iter().cloned()),
            None => Err(NoAnswer::Terms),
        };
        let mut entities = Arc::new(slice(&entity));
        let members = Members::new(model, agreement, &framework, now, |org| {
            let is_out = parties.get(org).is_some_and(|party| party.standing.is_out());
            !is_out && (!spec.accession || expected.orgs.contains(org))
        });
        let mut answers = Answers::default();
        {
            let keeper = Gatekeeper { model, agreement, framework: &framework, entities: &entities, forms };
            let lifts = Lifts::new(model, agreement, &framework, &expected);
            answers.ask(&keeper, members.of_parties(), &lifts, now);
        }
        // without accession a rule is reported for its party and refuses; with it, it keeps the party out
        let out = if spec.accession {
            kept_out(&framework, agreement, &members, &answers)
        } else {
            BTreeSet::new()
        };
        for broken in &answers.broken {
            let keeps_out = framework.keeps_out(&broken.rule);
            if let Some(org) =
                broken.org.as_ref().filter(|org| keeps_out && (!spec.accession || out.contains(*org)))
                && let Some(party) = parties.get_mut(org)
                && !party.broken.contains(&broken.rule)
            {
                party.broken.push(broken.rule.clone());
            }
        }
        let signed = standing_signed(agreement, &parties);
        let fully_signed = fully_signed(model, agreement, &parties, &signed, now);
        let (entity, members) = if signed == expected {
            (entity, members)
        } else {
            let entity = entities::agreement(model, agreement, &signed);
            entities = Arc::new(slice(&entity));
            (entity, members.without(|org| out.contains(org)))
        };
        {
            let keeper = Gatekeeper { model, agreement, framework: &framework, entities: &entities, forms };
            let lifts = Lifts::new(model, agreement, &framework, &signed);
            answers.ask(&keeper, members.of_the_agreement(), &lifts, now);
        }
        let Answers { broken, passed } = answers;
        let (kept_out, mut broken): (Vec<_>, Vec<_>) =
            broken.into_iter().partition(|broken| spec.accession && !broken.is_of_all());
        let (kept_out, of_all) = narrowed(kept_out, &members, &out);
        broken.extend(of_all);
        broken.extend(out_of_effect(&framework, now));
        sort(&mut broken);
        // what is wrong with the agreement as a whole is not also reported for each purpose
        let whole: BTreeSet<String> =
            broken.iter().filter(|broken| broken.is_of_all()).map(|broken| broken.rule.clone()).collect();
        broken.retain(|broken| broken.purpose.is_none() || !whole.contains(&broken.rule));
        Self {
            parties,
            signed,
            fully_signed,
            broken,
            kept_out,
            framework: Some(framework),
            entity,
            passed,
            entities,
            forms: forms.clone(),
        }
    }

    /// Every rule that will refuse once a date that it reads is reached, before the agreement ends.
    fn lapses(&self, model: &Model, agreement: &Agreement, now: Timestamp) -> Vec<Lapse> {
        let Some(framework) = &self.framework else {
            return Vec::new();
        };
        let ends = agreement.ends();
        let lifts = Lifts::new(model, agreement, framework, &self.signed);
        let keeper = Gatekeeper { model, agreement, framework, entities: &self.entities, forms: &self.forms };
        let mut lapses: Vec<Lapse> = framework
            .spec
            .retires_on
            .filter(|retired| now < *retired && *retired < ends)
            .and_then(|at| Some(Lapse { at, broken: out_of_effect(framework, at)? }))
            .into_iter()
            .collect();
        for question in &self.passed {
            if let Some((at, broken)) = keeper.lapses(question, &lifts, (now, ends)) {
                lapses.extend(broken.into_iter().map(|broken| Lapse { at, broken }));
            }
        }
        // whoever is out by then is asked nothing
        let is_out = |lapse: &Lapse| {
            lapse.broken.org.as_deref().is_some_and(|org| {
                let is_active = model.orgs.get(org).is_some_and(|it| it.state(lapse.at) == OrgState::Active);
                !is_active || party_state(agreement, org, Signing::AsSigned, lapse.at).standing.is_out()
            })
        };
        lapses.retain(|lapse| !is_out(lapse));
        lapses.sort();
        lapses.dedup();
        lapses
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
        let ahead = || self.lapses(model, agreement, now);
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
        } else if all_are_out(agreement, &self.parties) {
            Phase::Withdrawn
        } else if !self.broken.is_empty() {
            Phase::Refused
        } else if !self.fully_signed {
            Phase::AwaitingSignatures
        } else if now < spec.term.start {
            Phase::Scheduled
        } else {
            Phase::Active
        };
        let lapses = if phase == Phase::Active { ahead() } else { Vec::new() };
        let Self { parties, signed, fully_signed, broken, kept_out, framework, entity, .. } = self;
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
            lapses,
        };
        if let (Phase::Active, Some(framework)) = (phase, framework) {
            let flows =
                Flows { model, store, agreement, framework: &framework, assessment: &assessment, now };
            (assessment.flows, assessment.closed) = flows.open();
        }
        assessment
    }
}

/// The parties that rules keep out of an agreement with `accession`: a Controller that fails by what it controls, and whoever
/// else has no row left that gets anything from a Controller who is in. Whom a rule refuses in one row, or for some
/// controllers' products, stays, and does not get those.
fn kept_out(
    framework: &Framework,
    agreement: &Agreement,
    members: &Members<'_>,
    answers: &Answers,
) -> BTreeSet<String> {
    let keeping: Vec<&BrokenRule> =
        answers.broken.iter().filter(|broken| framework.keeps_out(&broken.rule)).collect();
    if keeping.is_empty() {
        return BTreeSet::new();
    }
    // for what one controller shares, or for anything at all
    let fails = |org: &str, row: usize, controller: Option<&str>| {
        keeping.iter().any(|broken| {
            let of = broken.controller.as_deref();
            broken.org.as_deref() == Some(org)
                && broken.row.is_none_or(|own| own == row)
                && (of.is_none() || controller.is_none() || of == controller)
        })
    };
    let parties = || agreement.spec.parties.iter().enumerate();
    let controls = agreement.orgs_as(PartyRole::Controller);
    let asked = agreement.orgs().into_iter().filter(|org| members.contains(org));
    let (controllers, others): (BTreeSet<&str>, BTreeSet<&str>) =
        asked.partition(|org| controls.contains(org));
    let fails_as_controller = |org: &&str| {
        parties().any(|(index, row)| {
            row.org == *org && row.role == PartyRole::Controller && fails(org, index, Some(org))
        })
    };
    let (out, sharing): (BTreeSet<&str>, BTreeSet<&str>) =
        controllers.into_iter().partition(fails_as_controller);
    // a row that gets nothing from those who share is left unless a rule refuses it all the same
    let is_left = |org: &str, row: usize| {
        let given = members.controllers_for(row);
        let mut sharing = given.intersection(&sharing).peekable();
        if sharing.peek().is_some() {
            sharing.any(|controller| !fails(org, row, Some(controller)))
        } else {
            !fails(org, row, None)
        }
    };
    let has_nothing = |org: &&str| !parties().any(|(index, row)| row.org == *org && is_left(org, index));
    let refused = |org: &&str| keeping.iter().any(|broken| broken.org.as_deref() == Some(*org));
    let without = others.into_iter().filter(refused).filter(has_nothing);
    out.into_iter().chain(without).map(str::to_owned).collect()
}

/// What, with `accession`, closes some paths only; and what closes every purpose, and with that the agreement.
fn narrowed(
    mut narrow: Vec<BrokenRule>,
    members: &Members<'_>,
    out: &BTreeSet<String>,
) -> (Vec<BrokenRule>, Vec<BrokenRule>) {
    // of a party that is out it is enough to say that, and why
    for broken in narrow.iter_mut().filter(|broken| broken.org.as_ref().is_some_and(|org| out.contains(org)))
    {
        broken.controller = None;
    }
    // a purpose for which no member shares does not count
    let asked: BTreeMap<&str, BTreeSet<&str>> =
        members.controllers().filter(|(_, controllers)| !controllers.is_empty()).collect();
    let mut of_purposes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for broken in &narrow {
        if let (None, Some(purpose), controller) = (&broken.org, &broken.purpose, &broken.controller) {
            let refused = of_purposes.entry(purpose).or_default();
            match controller {
                Some(controller) => drop(refused.insert(controller)),
                None => refused.extend(asked.get(purpose.as_str()).into_iter().flatten()),
            }
        }
    }
    let is_closed = |(purpose, controllers): (&&str, &BTreeSet<&str>)| {
        of_purposes.get(*purpose).is_some_and(|refused| controllers.is_subset(refused))
    };
    let nothing_left = !asked.is_empty() && asked.iter().all(is_closed);
    sort(&mut narrow);
    if nothing_left {
        let (of_purposes, narrow) =
            narrow.into_iter().partition(|broken| broken.org.is_none() && broken.purpose.is_some());
        let mut of_purposes: Vec<BrokenRule> = of_purposes;
        of_purposes.iter_mut().for_each(|broken| broken.controller = None);
        return (narrow, of_purposes);
    }
    (narrow, Vec::new())
}

fn sort(broken: &mut Vec<BrokenRule>) {
    broken.sort_by(|a, b| (names::rule_sort_key(&a.rule), a).cmp(&(names::rule_sort_key(&b.rule), b)));
    broken.dedup_by(|later, first| later.says_as(first));
}

/// A framework before its first or after its last day refuses every agreement that names it.
fn out_of_effect(framework: &Framework, now: Timestamp) -> Option<BrokenRule> {
    let refuse = |reason: String| BrokenRule::of_all("framework", reason);
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
