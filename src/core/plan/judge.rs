//! One plan after another, each in the light of the one before.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::{Dns, Plan, PlanCache, plan};
use crate::evaluate::Judgement;
use crate::snapshot::Snapshot;

/// Judges one snapshot after another, each in the light of the one before.
#[derive(Debug, Default)]
pub struct Judge {
    dns: Dns,
    last: Mutex<Option<(Judgement, PlanCache)>>,
}

impl Judge {
    /// A judge of a cluster in which names are resolved by some servers.
    pub fn new(dns: Dns) -> Self {
        Self { dns, last: Mutex::default() }
    }

    /// What ought to exist, as [`Judgement::plan`] says it, in less time.
    pub fn plan(&self, snapshot: &Snapshot, at: Timestamp) -> Plan {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // taken out for as long: should judging fail, the next starts from nothing
        let (judgement, drafts) = match last.take() {
            Some((earlier, drafts)) => (earlier.again(snapshot, at), drafts),
            None => (Judgement::new(snapshot, at), PlanCache::default()),
        };
        let (plan, drafts) = plan(&judgement, &self.dns, &drafts);
        *last = Some((judgement, drafts));
        plan
    }
}
