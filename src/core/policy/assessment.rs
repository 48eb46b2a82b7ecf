//! The state of an agreement, as a value: what assessing it comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::broken_rule::{BrokenRule, Lapse};
use super::entities::{EntityStore, Linked, Signed};
use super::signing::PartyState;
use super::succession::{Ended, Succession};
use crate::model::{FunctionRef, Model};
use concordat_api::{DataAction, Identifiability, ObjectRef, Phase};

/// The state of an agreement.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// The moment that it was made for. It holds from then on until `next`.
    pub at: Timestamp,
    pub phase: Phase,
    pub parties: BTreeMap<String, PartyState>,
    pub signed: Signed,
    /// Whether signatures suffice: the signature clause of "in force".
    pub fully_signed: bool,
    pub broken: Vec<BrokenRule>,
    /// Rules that, with `accession`, keep a party out and no one else.
    pub kept_out: Vec<BrokenRule>,
    /// When it ends: of one in force, the first moment at which it is so no more by itself.
    pub ends: Timestamp,
    /// The next moment at which something about it changes by itself.
    pub next: Option<Timestamp>,
    /// What other agreements that replace it have done to it.
    pub succession: Succession,
    pub flows: Vec<Flow>,
    pub closed: Vec<ClosedFlow>,
    /// The agreement as Cedar sees it.
    pub entity: Option<Linked>,
    /// The rules that will refuse once a date that they read is reached, in the order of time; reported of an agreement that
    /// is in force.
    pub lapses: Vec<Lapse>,
}

impl Assessment {
    /// Whether the agreement is in force.
    pub fn in_force(&self) -> bool {
        self.phase == Phase::Active
    }

    /// Whatever ends the agreement ends its flows.
    pub(super) fn ends_by(&mut self, end: Timestamp) {
        self.ends = end;
        for flow in &mut self.flows {
            flow.not_after = flow.not_after.min(end);
            for purpose in &mut flow.purposes {
                purpose.not_after = purpose.not_after.min(end);
            }
        }
    }

    /// Whatever successors will end ends with that; and whatever ends is the next thing to change.
    pub(super) fn ends_ahead(&mut self, model: &Model) {
        let ahead = &self.succession.ahead;
        for flow in &mut self.flows {
            let controller = model.products.get(&flow.product).map(|product| &product.spec.controller);
            let Some(end) = controller.and_then(|it| ahead.ends(it, &flow.recipient.org)) else { continue };
            flow.not_after = flow.not_after.min(end);
            for purpose in &mut flow.purposes {
                purpose.not_after = purpose.not_after.min(end);
            }
        }
        let purposes = self.flows.iter().flat_map(|flow| &flow.purposes).map(|purpose| purpose.not_after);
        let ends = purposes.chain([self.ends]).filter(|at| self.at < *at);
        self.next = self.next.into_iter().chain(ends).min();
    }

    /// Why a path has ended here although the agreement is in force: its controller has gone over to another agreement, or
    /// one of the two has withdrawn from one that replaces this.
    pub fn ended(
        &self,
        model: &Model,
        product: &ObjectRef,
        recipient: &FunctionRef,
    ) -> Option<(String, Ended<'_>)> {
        let Succession { ended, withdrawn, in_doubt, .. } = &self.succession;
        if ended.is_empty() && withdrawn.is_empty() {
            return None;
        }
        let controller = model.products.get(product).map(|product| &product.spec.controller);
        let has_withdrawn = |org: &String| {
            let by = withdrawn.get(org)?;
            let ended = if in_doubt.contains(org) { Ended::InDoubt(by) } else { Ended::Withdrawn(by) };
            Some((org.clone(), ended))
        };
        let is_over = |org: &String| Some((org.clone(), Ended::GoneOver(ended.get(org)?)));
        let by_controller = controller.and_then(|org| has_withdrawn(org).or_else(|| is_over(org)));
        by_controller.or_else(|| has_withdrawn(&recipient.org))
    }
}

/// The state of every agreement, with an index of those in force.
#[derive(Clone, Debug, Default)]
pub struct Assessments {
    pub agreements: BTreeMap<ObjectRef, Arc<Assessment>>,
    /// Agreements in force by what they list: product and recipient function.
    pub candidates: BTreeMap<(ObjectRef, FunctionRef), BTreeSet<ObjectRef>>,
    /// Entities of everything but agreements.
    pub store: Arc<EntityStore>,
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
    /// When this purpose ends by itself; the flow as a whole ends with the last of them.
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
    /// The national rule that does, which the reason names too.
    pub rule: Option<String>,
    pub reason: String,
}
