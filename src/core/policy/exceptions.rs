//! Which rules exceptions lift, for whom.
//!
//! An exception serves the place that it was given to, and those in it: not whoever names that place.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::entities::Signed;
use super::framework::Framework;
use crate::model::{Agreement, Exception, Model};
use concordat_api::{PartyRole, Sector};

/// Whom a rule is about when it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum About<'a> {
    /// One organisation.
    Party(&'a str),
    /// The controller and the recipient of a request or a flow.
    Path { controller: &'a str, recipient: &'a str },
    /// Every Controller and Recipient that has signed.
    All,
    /// One organisation, and with it everybody who has signed.
    PartyAndAll(&'a str),
}

/// The exceptions that may lift a rule for an agreement: those for its place, of rules that its own framework lets be
/// lifted.
#[derive(Clone, Debug)]
pub(super) struct Lifts<'a> {
    model: &'a Model,
    exceptions: Vec<&'a Exception>,
    /// The Controllers and Recipients that have signed.
    signed: BTreeSet<&'a str>,
}

impl<'a> Lifts<'a> {
    pub(super) fn new(
        model: &'a Model,
        agreement: &'a Agreement,
        framework: &Framework,
        signed: &Signed,
    ) -> Self {
        let exceptions =
            model.exceptions_for(agreement).filter(|exception| framework.lets_lift(&exception.rule));
        let parties = [PartyRole::Controller, PartyRole::Recipient].into_iter();
        let signed =
            parties.flat_map(|role| agreement.orgs_as(role)).filter(|org| signed.orgs.contains(*org));
        Self { model, exceptions: exceptions.collect(), signed: signed.collect() }
    }

    /// The rules that are lifted at a moment for those whom they are about.
    pub(super) fn lifted(&self, about: About<'_>, now: Timestamp) -> BTreeSet<String> {
        let in_effect = self.exceptions.iter().filter(|it| it.from <= now && now < it.until);
        in_effect.filter(|it| self.serves(it, about)).map(|it| it.rule.clone()).collect()
    }

    fn serves(&self, exception: &Exception, about: About<'_>) -> bool {
        let lies_in = |org: &str| self.model.org_lies_in(org, &exception.footprint);
        let is_national =
            |org: &str| self.model.orgs.get(org).is_some_and(|org| org.spec.sector == Sector::National);
        let all =
            || !self.signed.is_empty() && self.signed.iter().all(|org| is_national(org) || lies_in(org));
        match about {
            About::Party(org) => lies_in(org),
            About::Path { controller, recipient } => lies_in(controller) && lies_in(recipient),
            About::All => all(),
            About::PartyAndAll(org) => lies_in(org) && all(),
        }
    }
}
