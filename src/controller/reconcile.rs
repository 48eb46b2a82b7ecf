//! The loop: waits for a change or for the next moment, judges, carries out, reports, and waits again.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch as signal;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info};

use super::backoff::Backoff;
use super::execute::Executor;
use super::health::{Pulse, Pulses};
use super::watch::Changed;
use crate::core::judge::Judge;
use crate::core::plan::{Observed, Plan, Step, report, steps};
use crate::core::snapshot::{ClusterView, Snapshot};
use crate::source::cluster::Stores;

/// Changes come in bursts: wait this long for the next of one.
const QUIET: Duration = Duration::from_millis(50);
/// But not longer than this in all.
const BURST: Duration = Duration::from_millis(250);
/// A clock can be set: look again this often, whatever the plan says.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Runs until told to stop.
pub(super) async fn run(
    mut executor: Executor,
    stores: Stores,
    view: ClusterView,
    pulses: Pulses,
    changed: Changed,
    mut stopping: signal::Receiver<bool>,
) {
    let pulse = pulses.add("loop");
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let judge = Arc::new(Judge::default());
    let mut first = true;
    while !*stopping.borrow() {
        pulse.turn();
        let wait = match stores.read(view.clone()) {
            None => LOOK_AGAIN,
            Some((snapshot, observed)) => {
                if first {
                    info!(agreements = snapshot.agreements.len(), "every kind is read");
                    first = false;
                }
                match round(&mut executor, &judge, snapshot, observed, &pulse, &stopping).await {
                    Round::Settled { next } => {
                        backoff.reset();
                        pulse.hear();
                        until(next)
                    }
                    Round::Unsettled { next } => {
                        pulse.hear();
                        until(next).min(backoff.wait())
                    }
                    Round::Broken => {
                        pulse.fail("judging has failed");
                        backoff.wait()
                    }
                }
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = changed.notified() => settle(&changed).await,
            // an error means that nobody is left to say so, which is the same
            _ = stopping.changed() => {}
        }
    }
}

/// How a round went.
enum Round {
    /// Every write succeeded, or none was needed.
    Settled { next: Option<Timestamp> },
    /// Some write failed, or the round was cut short.
    Unsettled { next: Option<Timestamp> },
    /// There is no plan.
    Broken,
}

async fn round(
    executor: &mut Executor,
    judge: &Arc<Judge>,
    snapshot: Snapshot,
    observed: Observed,
    pulse: &Pulse,
    stopping: &signal::Receiver<bool>,
) -> Round {
    let at = Timestamp::now();
    // judging is work for a processor; elsewhere, it does not hold up the watches, and a panic ends just this round
    let judge = Arc::clone(judge);
    let judged = tokio::task::spawn_blocking(move || judged(&judge, &snapshot, observed, at)).await;
    let (plan, observed, steps) = match judged {
        Ok(judged) => judged,
        Err(panic) => {
            error!(%panic, "judging has failed; nothing is written");
            return Round::Broken;
        }
    };
    let took = Timestamp::now().duration_since(at);
    debug!(steps = steps.len(), objects = plan.objects.len(), ms = took.as_millis(), "judged");
    let failures = executor.carry_out(&steps, &observed, pulse, stopping).await;
    let statuses = report(&plan, &observed, &failures);
    let unreported = executor.carry_out(&statuses, &observed, pulse, stopping).await;
    executor.forget_all_but(&[&failures, &unreported]);
    let next = plan.next;
    if failures.is_empty() && unreported.is_empty() {
        Round::Settled { next }
    } else {
        debug!(failed = failures.len() + unreported.len(), "not everything could be written");
        Round::Unsettled { next }
    }
}

/// From the snapshot to the steps, in one go.
fn judged(
    judge: &Judge,
    snapshot: &Snapshot,
    observed: Observed,
    at: Timestamp,
) -> (Plan, Observed, Vec<Step>) {
    let plan = judge.plan(snapshot, at);
    let steps = steps(&plan, &observed);
    (plan, observed, steps)
}

/// How long to wait for a moment.
fn until(moment: Option<Timestamp>) -> Duration {
    let Some(moment) = moment else { return LOOK_AGAIN };
    let left = moment.duration_since(Timestamp::now());
    // a moment that is just past is met by the next round
    let left = left.max(SignedDuration::from_millis(1)).unsigned_abs();
    left.min(LOOK_AGAIN)
}

/// Waits for the end of a burst of changes.
async fn settle(changed: &Changed) {
    let burst = async { while timeout(QUIET, changed.notified()).await.is_ok() {} };
    // a burst that does not end is met in its midst
    let _cut_short = timeout(BURST, burst).await;
}
