//! When an agreement is in force, which phase it is in, and which flows are open.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::gate::{Refusals, Standings};
use super::model::{Model, Recipient, has_role};
use super::signing::Kind;
use super::succession::Succession;
use super::world::{Agreement, Object, Org, Product, Purpose, Ref, rank, state};

/// What is known of one agreement at one moment.
pub struct Assessment<'a> {
    pub agreement: &'a Object<Agreement>,
    pub phase: &'static str,
    pub standings: Standings,
    pub refusals: Refusals,
    pub succession: Succession,
    pub flows: BTreeSet<FlowKey>,
}

/// Product, recipient function and purpose.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FlowKey {
    pub product: Ref,
    pub recipient: Recipient,
    pub purpose: String,
}

/// Whether the clauses of "in force" that need no successor hold, and if not, the first phase that says why.
pub struct Clauses {
    pub phase: &'static str,
    pub refusals: Refusals,
}

/// How a moment is looked at: as it is, or as the past of a successor, where whoever has withdrawn since had signed.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum View {
    Now,
    Past,
}

impl<'a> Model<'a> {
    pub fn assess(&self, agreement: &'a Object<Agreement>, at: Timestamp) -> Assessment<'a> {
        let spec = &agreement.spec;
        let standings = self.standings(agreement, at, View::Now);
        let succession = self.succession(agreement, at);
        let clauses = self.clauses(agreement, &standings, at);
        let phase = if agreement.deleted {
            "Terminating"
        } else if self.invalid.contains(&agreement.key) || succession.held {
            "Invalid"
        } else if spec.suspend && !self.as_signed {
            "Suspended"
        } else if succession.ended {
            "Superseded"
        } else {
            clauses.phase
        };
        let mut assessment = Assessment {
            agreement,
            phase,
            standings,
            refusals: clauses.refusals,
            succession,
            flows: BTreeSet::new(),
        };
        if phase == "Active" {
            assessment.flows = self.flows(&assessment, at);
        }
        assessment
    }

    pub fn standings(&self, agreement: &Object<Agreement>, at: Timestamp, view: View) -> Standings {
        let orgs: BTreeSet<&str> = agreement.spec.parties.iter().map(|it| it.org.as_str()).collect();
        let mut standings = Standings::new();
        for org in orgs {
            let mut standing = match view {
                View::Now => self.standing(agreement, org, at),
                View::Past => self.standing_then(agreement, org, at),
            };
            if view == View::Past && (standing.kind == Kind::Withdrawn || standing.doubt) {
                standing.kind = Kind::Signed;
                standing.purposes = agreement.spec.purposes.iter().map(|it| it.code.clone()).collect();
            }
            standings.insert(org.to_owned(), standing);
        }
        standings
    }

    /// The phase by everything but deletion, validity, the kill switch and successors.
    pub fn clauses(&self, agreement: &Object<Agreement>, standings: &Standings, at: Timestamp) -> Clauses {
        let spec = &agreement.spec;
        let refusals = self.gate(spec, standings, at);
        let framework = &self.framework;
        let effective = framework.effective_from <= at && framework.retires_on.is_none_or(|it| at < it);
        let nobody_left = ["Controller", "Recipient"].iter().any(|role| {
            let mut rows = spec.parties.iter().filter(|it| it.role == *role);
            rows.all(|it| standings.get(&it.org).is_some_and(|it| it.is_out()))
        });
        let one_in = |role: &str| {
            spec.parties.iter().any(|it| {
                it.role == role
                    && standings.get(&it.org).is_some_and(|it| it.kind == Kind::Signed)
                    && self.is_active(&it.org, at)
                    && (!spec.accession || refusals.members.contains(&it.org))
            })
        };
        let waits_for = |org: &str| spec.emergency.is_none() || has_role(spec, org, "Controller");
        let all_said = spec.accession
            || standings.iter().all(|(org, it)| it.kind == Kind::Signed || it.is_out() || !waits_for(org));
        let phase = if at >= ends(spec) {
            "Expired"
        } else if nobody_left {
            "Withdrawn"
        } else if !effective || !refusals.whole.is_empty() {
            "Refused"
        } else if !all_said || !one_in("Controller") || !one_in("Recipient") {
            "AwaitingSignatures"
        } else if at < spec.term.start {
            "Scheduled"
        } else {
            "Active"
        };
        Clauses { phase, refusals }
    }

    fn flows(&self, assessment: &Assessment<'_>, at: Timestamp) -> BTreeSet<FlowKey> {
        let agreement = &assessment.agreement.spec;
        let mut flows = BTreeSet::new();
        for purpose in &agreement.purposes {
            for (key, product) in self.products_of(purpose) {
                for recipient in self.recipients(agreement, purpose) {
                    if assessment.is_signed(&product.controller, &purpose.code)
                        && assessment.is_signed(&recipient.org, &purpose.code)
                        && self.is_active(&product.controller, at)
                        && self.is_active(&recipient.org, at)
                        && has_role(agreement, &product.controller, "Controller")
                        && !assessment.is_over(product, &recipient)
                        && assessment.refused(product, &recipient, purpose).is_empty()
                        && self.asked_of_flows(agreement, product, &recipient, purpose, at)
                    {
                        flows.insert(FlowKey {
                            product: key.clone(),
                            recipient,
                            purpose: purpose.code.clone(),
                        });
                    }
                }
            }
        }
        flows
    }

    /// The products of a purpose that can be used, with their controllers in their rows.
    pub fn products_of<'b>(&'b self, purpose: &'b Purpose) -> Vec<(&'b Ref, &'b Product)> {
        purpose.products.iter().filter_map(|it| Some((it, &self.products.get(it)?.spec))).collect()
    }

    /// NF-13 and NF-19a, asked for the purpose at its level.
    fn asked_of_flows(
        &self,
        agreement: &Agreement,
        product: &Product,
        recipient: &Recipient,
        purpose: &Purpose,
        at: Timestamp,
    ) -> bool {
        let definitions = &self.framework.vocabulary.purposes;
        let prohibited = definitions.iter().any(|it| it.code == purpose.code && it.prohibited);
        let about = [product.controller.as_str(), recipient.org.as_str()];
        let assured = !self.wants_assurance(product, purpose)
            || self.is_lifted("NF-13", agreement, &about, at)
            || self.orgs.get(recipient.org.as_str()).is_some_and(|it| self.assured_until(&it.spec) > at);
        !prohibited && assured
    }

    fn wants_assurance(&self, product: &Product, purpose: &Purpose) -> bool {
        product.confidential_patient_info && rank(&purpose.max_identifiability) >= 2
    }

    /// Until when the assurance of an organisation counts.
    pub fn assured_until(&self, org: &Org) -> Timestamp {
        let dspt = org
            .assurance
            .dspt
            .as_ref()
            .filter(|it| matches!(it.status.as_str(), "StandardsMet" | "StandardsExceeded"));
        let dspt = dspt.and_then(|it| it.valid_until);
        let schemes = &self.framework.vocabulary.assurance_schemes;
        let equivalent = org.assurance.equivalent.as_ref().filter(|it| schemes.contains(&it.scheme));
        dspt.max(equivalent.map(|it| it.valid_until)).unwrap_or(Timestamp::MIN)
    }
}

impl Assessment<'_> {
    /// Whether an organisation stands signed in the agreement for a purpose.
    pub fn is_signed(&self, org: &str, purpose: &str) -> bool {
        self.is_party(org) && self.standings.get(org).is_some_and(|it| it.purposes.contains(purpose))
    }

    /// Whether an organisation stands signed in the agreement at all.
    pub fn is_party(&self, org: &str) -> bool {
        let in_it = !self.agreement.spec.accession || self.refusals.members.contains(org);
        in_it && self.standings.get(org).is_some_and(|it| it.kind == Kind::Signed)
    }

    /// Whether a path has ended here although the agreement is in force: its controller has gone over to a successor, or one
    /// of the two has withdrawn from one.
    pub fn is_over(&self, product: &Product, recipient: &Recipient) -> bool {
        let Succession { ended_for, closed, .. } = &self.succession;
        let controller = &product.controller;
        ended_for.contains(controller) || closed.contains(controller) || closed.contains(&recipient.org)
    }

    /// With accession: the rules that keep this controller's flows from this recipient, for this purpose.
    pub fn refused(&self, product: &Product, recipient: &Recipient, purpose: &Purpose) -> Vec<&'static str> {
        let agreement = &self.agreement.spec;
        let controller = &product.controller;
        if !agreement.accession {
            return Vec::new();
        }
        let rows = agreement.parties.iter().enumerate().filter(|(_, row)| {
            row.role == "Recipient"
                && row.org == recipient.org
                && row.function.as_ref().is_none_or(|it| *it == recipient.function)
        });
        let of_rows: Vec<_> =
            rows.map(|(index, _)| self.refusals.rows.get(&(controller.clone(), index))).collect();
        let mut rules = Vec::new();
        if of_rows.iter().all(Option::is_some) {
            rules.extend(of_rows.into_iter().flatten().flatten());
        }
        let of_purpose = self.refusals.purposes.get(&(controller.clone(), purpose.code.clone()));
        rules.extend(of_purpose.into_iter().flatten());
        rules
    }
}

/// The least of the dates that end an agreement.
pub fn ends(agreement: &Agreement) -> Timestamp {
    let least = agreement.term.end.min(agreement.confidentiality.valid_until);
    agreement.emergency.as_ref().map_or(least, |it| least.min(it.expires))
}

/// Whether an organisation has ended for good.
pub fn is_over(org: &Org, at: Timestamp) -> bool {
    matches!(state(org, at), "Dissolved" | "Merged")
}
