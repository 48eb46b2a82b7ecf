//! One plan after another, each in the light of the one before.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::{Dns, Plan, PlanCache, plan};
use crate::evaluate::Judgement;
use crate::snapshot::Snapshot;

/// Judges one snapshot after another, each in the light of the one before.
#[derive(Debug, Default)]
pub struct Judge {
    dns: Dns,
    last: Mutex<Option<(Arc<Judgement>, PlanCache)>>,
}

impl Judge {
    /// A judge of a cluster in which names are resolved by some servers.
    pub fn new(dns: Dns) -> Self {
        Self { dns, last: Mutex::default() }
    }

    /// How a snapshot is judged, and what ought to exist, as [`Judgement::new`] and [`Judgement::plan`] say it, in less time.
    pub fn judge(&self, snapshot: &Snapshot, at: Timestamp) -> (Arc<Judgement>, Plan) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // taken out for as long: should judging fail, the next starts from nothing
        let (judgement, drafts) = match last.take() {
            Some((earlier, drafts)) => (earlier.again(snapshot, at), drafts),
            None => (Judgement::new(snapshot, at), PlanCache::default()),
        };
        let judgement = Arc::new(judgement);
        let (plan, drafts) = plan(&judgement, &self.dns, &drafts);
        *last = Some((Arc::clone(&judgement), drafts));
        (judgement, plan)
    }

    /// What ought to exist.
    pub fn plan(&self, snapshot: &Snapshot, at: Timestamp) -> Plan {
        self.judge(snapshot, at).1
    }
}
