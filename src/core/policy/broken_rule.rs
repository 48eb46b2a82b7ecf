//! A rule that refuses, now or once a date is reached, and what it closes.

use jiff::Timestamp;

use crate::model::{Agreement, FunctionRef};
use concordat_api::PartyRole;

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
    /// With `accession`, the controller whose products it is about; none means everybody's.
    pub controller: Option<String>,
    /// Why the rule is there, or what went wrong in asking.
    pub reason: String,
    /// What it saw that made it refuse, in words, where that is one thing.
    pub saw: Option<String>,
}

impl BrokenRule {
    /// A refusal of the whole agreement.
    pub(super) fn of_all(rule: &str, reason: String) -> Self {
        Self {
            rule: rule.to_owned(),
            org: None,
            row: None,
            purpose: None,
            controller: None,
            reason,
            saw: None,
        }
    }

    /// Why it refuses, and what it saw.
    pub fn why(&self) -> String {
        let saw = self.saw.as_ref().map(|saw| format!("; here {saw}")).unwrap_or_default();
        format!("{}{saw}", self.reason)
    }

    /// Whether another says the same, whatever each saw.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        let what = |it: &Self| Self { saw: None, ..it.clone() };
        what(self) == what(other)
    }

    /// Whether it is about the agreement as a whole.
    pub(super) fn is_of_all(&self) -> bool {
        self.org.is_none() && self.purpose.is_none()
    }

    /// Whether, with `accession`, it closes a path from a controller to a function for a purpose.
    pub(super) fn closes(
        &self,
        agreement: &Agreement,
        keeps_out: bool,
        purpose: &str,
        controller: &str,
        recipient: &FunctionRef,
    ) -> bool {
        let Self { rule: _, org, row, purpose: for_purpose, controller: of, reason: _, saw: _ } = self;
        if for_purpose.as_ref().is_some_and(|own| own != purpose)
            || of.as_ref().is_some_and(|own| own != controller)
        {
            return false;
        }
        let Some(org) = org else {
            return true;
        };
        let row = row.and_then(|row| agreement.spec.parties.get(row));
        let receives = *org == recipient.org
            && row.and_then(|row| row.function.as_ref()).is_none_or(|own| *own == recipient.function);
        match row.map(|row| row.role) {
            Some(PartyRole::Controller) => org == controller,
            Some(PartyRole::Recipient) => receives,
            // a processor that is out takes nothing with it; what else a rule says of one is about all that it handles
            Some(PartyRole::Processor) => !keeps_out,
            None => org == controller || receives || !(keeps_out || agreement.is_flow_party(org)),
        }
    }
}

/// A rule that will refuse once a date that it reads is reached.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Lapse {
    pub at: Timestamp,
    pub broken: BrokenRule,
}
