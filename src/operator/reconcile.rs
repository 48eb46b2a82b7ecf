//! The loop: waits for a change or for the next moment, judges, carries out, reports, and waits again.
//!
//! While a judgement is carried out, the loop goes on listening. What others change meanwhile is judged beside the
//! writes. As soon as that judgement is there the writes stop, and once they have come back it is judged again, which
//! takes little, and carried out, its closings first. So a withdrawal does not wait for the end of a long round of
//! openings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch as signal;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info};

use super::backoff::Backoff;
use super::changes::Changes;
use super::execute::Executor;
use super::health::Heartbeat;
use super::lease::Leadership;
use super::metrics::Metrics;
use super::relist::Relist;
use concordat_core::plan::Judge;
use concordat_core::plan::{Observed, Plan, Step, report, steps};
use concordat_core::snapshot::{ClusterView, Snapshot, Unreadable};
use concordat_source::cluster::Stores;

/// A clock can be set: look again this often, whatever the plan says.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Writes come back through the watches within milliseconds; what has not come by then is looked at all the same.
const OWN_EVENT: Duration = Duration::from_secs(1);

/// The loop, and all that it looks at.
pub(super) struct Loop {
    executor: Executor,
    source: Source,
    heartbeat: Heartbeat,
    leadership: Leadership,
    stopping: signal::Receiver<bool>,
    backoff: Backoff,
}

/// Where judgements come from.
pub(super) struct Source {
    pub(super) stores: Stores,
    pub(super) view: ClusterView,
    pub(super) changes: Changes,
    pub(super) relist: Relist,
    pub(super) metrics: Metrics,
    /// Remembers the last judgement, so that the next takes less time.
    pub(super) judge: Arc<Judge>,
}

/// A snapshot, judged: what ought to be, what is, and the writes in between.
struct Judged {
    plan: Plan,
    observed: Observed,
    steps: Vec<Step>,
}

/// Judging has failed, and that has been said.
struct Broken;

/// What became of carrying a judgement out.
enum Outcome {
    /// It was carried out to its end.
    Done {
        next: Option<Timestamp>,
        /// Whether anything but statuses was written whose effect is still to be seen.
        wrote: bool,
        /// Whether every write succeeded.
        settled: bool,
    },
    /// Others have changed something, and there is a newer judgement.
    Newer,
    /// The operator ends, or another replica may lead.
    CutShort,
}

impl Loop {
    pub(super) fn new(
        executor: Executor,
        source: Source,
        heartbeat: Heartbeat,
        leadership: Leadership,
        stopping: signal::Receiver<bool>,
    ) -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        Self { executor, source, heartbeat, leadership, stopping, backoff }
    }

    /// Runs until told to stop.
    pub(super) async fn run(mut self) {
        let mut first = true;
        let mut last = None;
        while !*self.stopping.borrow() {
            self.heartbeat.turn();
            let term = self.leadership.term();
            self.source.metrics.lead(term.is_some());
            if term.is_some() && term != last {
                last = term;
                if self.leadership.is_contested() {
                    // another replica has written meanwhile, and what is known here may be older than that
                    self.source.relist.ask();
                }
            }
            // asked before the stores are read
            let term = term.filter(|_| self.source.relist.has_come());
            let mut own_events = false;
            let wait = match self.source.settled().await {
                None => LOOK_AGAIN,
                Some((snapshot, observed)) => {
                    if first {
                        info!(agreements = snapshot.agreements.len(), "every kind is read");
                        first = false;
                    }
                    if let Some(term) = term {
                        let wait;
                        (wait, own_events) = self.lead(term, snapshot, observed).await;
                        wait
                    } else {
                        self.heartbeat.ok();
                        LOOK_AGAIN
                    }
                }
            };
            // who does not lead has nothing to do about a change; once it leads it reads everything
            let leads = self.leadership.holds();
            let comes = !self.source.relist.has_come();
            tokio::select! {
                () = sleep(wait) => {}
                () = self.source.relist.come(), if comes => {}
                () = self.source.changes.foreign(), if leads || first => {}
                // what was written is there: now it can be said
                () = self.source.changes.own_events(OWN_EVENT), if own_events => {}
                () = self.leadership.changed() => {}
                // an error means that nobody is left to say so, which is the same
                _ = self.stopping.changed() => {}
            }
        }
    }

    /// Judges and carries out, until there is nothing newer; gives back how long to wait, and whether for the events of its own writes too.
    async fn lead(&mut self, term: u64, snapshot: Snapshot, observed: Observed) -> (Duration, bool) {
        let mut undecodable = self.note_undecodable(&snapshot);
        let mut judged = self.source.judge(snapshot, observed).await;
        loop {
            let Ok(current) = judged else {
                self.heartbeat.fail("judging has failed");
                return (self.backoff.wait(), false);
            };
            let began = Instant::now();
            let outcome = self.carry_out(term, current).await;
            self.source.metrics.round(outcome.name(), began.elapsed());
            if matches!(outcome, Outcome::Done { .. }) {
                // after what opens and closes, which must not wait for it
                self.executor.tell_undecodable(&undecodable).await;
            }
            match outcome {
                Outcome::Newer => {
                    debug!("others have changed something: going on with a new plan");
                    // judged again: what was just written was not all there when the newer judgement was begun
                    judged = match self.source.settled().await {
                        Some((snapshot, observed)) => {
                            undecodable = self.note_undecodable(&snapshot);
                            self.source.judge(snapshot, observed).await
                        }
                        None => Err(Broken),
                    };
                }
                Outcome::Done { next, wrote, settled: true } => {
                    self.backoff.reset();
                    self.heartbeat.ok();
                    return (until(next), wrote);
                }
                Outcome::Done { next, wrote, settled: false } => {
                    self.heartbeat.ok();
                    return (until(next).min(self.backoff.wait()), wrote);
                }
                Outcome::CutShort => return (Duration::ZERO, false),
            }
        }
    }

    /// Counts the objects that cannot be decoded, and remembers to tell people of them.
    fn note_undecodable(&self, snapshot: &Snapshot) -> Vec<Unreadable> {
        self.source.metrics.undecodable(&snapshot.unreadable);
        snapshot.unreadable.clone()
    }

    /// Carries one judgement out, and says so in the statuses, unless a newer one is there first.
    async fn carry_out(&mut self, term: u64, judged: Judged) -> Outcome {
        let Judged { plan, mut observed, steps } = judged;
        let Self { executor, source, heartbeat, leadership, stopping, backoff: _ } = self;
        let superseded = AtomicBool::new(false);
        // a judgement of an earlier term is void: another replica may have led in between
        let is_over = || *stopping.borrow() || leadership.term() != Some(term);
        let is_cut_short = || superseded.load(Ordering::Relaxed) || is_over();
        // whether the newer judgement has begun, and with it taken what woke it
        let begun = AtomicBool::new(false);
        let newer = async {
            source.changes.foreign().await;
            begun.store(true, Ordering::Relaxed);
            match source.read() {
                Some((snapshot, observed)) => source.judge(snapshot, observed).await,
                // there was one before, and a store is never unread again
                None => std::future::pending().await,
            }
        };
        let work = async {
            let failures = executor.carry_out(&steps, &observed, heartbeat, is_cut_short).await;
            // what was refused has no effect to wait for: the next try waits for its back-off
            let done = || steps.iter().filter(|step| !failures.contains_key(&step.object()));
            // what has been written is there before anybody says so
            let mut wrote = done().next().is_some();
            if wrote && source.seen(is_cut_short).await {
                let (policies, grants) = source.stores.effects();
                observed = observed.with_effects(policies, grants);
                // what is gone may let go of more
                wrote = done().any(Step::takes_away);
            }
            if is_cut_short() {
                return Outcome::CutShort;
            }
            let statuses = report(&plan, &observed, &failures);
            let unreported = executor.carry_out(&statuses, &observed, heartbeat, is_cut_short).await;
            if is_cut_short() {
                return Outcome::CutShort;
            }
            executor.forget_all_but(&[&failures, &unreported]);
            let failed = failures.len() + unreported.len();
            if failed > 0 {
                debug!(failed, "not everything could be written");
            }
            Outcome::Done { next: plan.next, wrote, settled: failed == 0 }
        };
        tokio::pin!(work, newer);
        tokio::select! {
            outcome = &mut work => {
                if begun.load(Ordering::Relaxed) {
                    source.changes.anything();
                }
                outcome
            }
            _judged = &mut newer => {
                superseded.store(true, Ordering::Relaxed);
                // calls under way are finished, not dropped
                let _cut_short = work.await;
                Outcome::Newer
            }
        }
    }
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Done { settled: true, .. } => "settled",
            Self::Done { settled: false, .. } => "unsettled",
            Self::Newer => "superseded",
            Self::CutShort => "cut short",
        }
    }
}

impl Source {
    /// Everything as it stands; nothing before every kind has been read once.
    fn read(&self) -> Option<(Snapshot, Observed)> {
        // what changes from here on wakes the loop again
        self.changes.take();
        self.stores.read(self.view.clone())
    }

    /// The same, once what was written here has come back through the watches: a plan made from what stood before
    /// would take a finalizer for set that was just taken off.
    async fn settled(&self) -> Option<(Snapshot, Observed)> {
        self.changes.own_events(OWN_EVENT).await;
        self.read()
    }

    /// Whether what was written here has come back; waits for it a while.
    async fn seen(&self, is_cut_short: impl Fn() -> bool) -> bool {
        const TURN: Duration = Duration::from_millis(50);
        let began = Instant::now();
        while began.elapsed() < OWN_EVENT && !is_cut_short() {
            if timeout(TURN, self.changes.back()).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// Judges, and counts.
    async fn judge(&self, snapshot: Snapshot, observed: Observed) -> Result<Judged, Broken> {
        let began = Instant::now();
        let judged = judge(Arc::clone(&self.judge), snapshot, observed).await;
        if let Ok(judged) = &judged {
            self.metrics.judged(&judged.plan, began.elapsed());
        }
        judged
    }
}

/// From the snapshot to the steps, in one go. Judging is work for a processor; elsewhere, it does not hold up the
/// watches, and a panic ends just this round.
async fn judge(judge: Arc<Judge>, snapshot: Snapshot, observed: Observed) -> Result<Judged, Broken> {
    let at = Timestamp::now();
    let judged = tokio::task::spawn_blocking(move || {
        let plan = judge.plan(&snapshot, at);
        let steps = steps(&plan, &observed);
        Judged { plan, observed, steps }
    });
    match judged.await {
        Ok(judged) => {
            let took = Timestamp::now().duration_since(at);
            debug!(
                steps = judged.steps.len(),
                objects = judged.plan.objects.len(),
                ms = took.as_millis(),
                "judged"
            );
            Ok(judged)
        }
        Err(panic) => {
            error!(%panic, "judging has failed; nothing is written");
            Err(Broken)
        }
    }
}

/// How long to wait for a moment.
fn until(moment: Option<Timestamp>) -> Duration {
    let Some(moment) = moment else { return LOOK_AGAIN };
    let left = moment.duration_since(Timestamp::now());
    // a moment that is just past is met by the next round
    let left = left.max(SignedDuration::from_millis(1)).unsigned_abs();
    left.min(LOOK_AGAIN)
}
