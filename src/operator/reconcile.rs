//! The leader's task: takes the last judgement, carries it out, says in the statuses what has become of it, and waits for
//! the next.
//!
//! Judging goes on beside it. As soon as there is a judgement with news the writes stop, and once they have come back the
//! newest is carried out, its closings first. So a withdrawal does not wait for the end of a long round of openings.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch as signal;
use tokio::time::{Instant as Moment, sleep, sleep_until, timeout};
use tracing::{debug, error};

use super::backoff::Backoff;
use super::call::DEADLINE;
use super::changes::Changes;
use super::execute::{Executor, without_numbers};
use super::health::{Heartbeat, Heartbeats};
use super::judging::{Broken, Judged, Judgements, OWN_EVENT};
use super::lease::Leadership;
use super::metrics::Metrics;
use super::relist::Relist;
use super::tries::{Part, Sorted};
use concordat_core::plan::{Failure, FailureReason, Failures, Step, report, steps, still_open};
use concordat_source::cluster::Stores;

/// How often to turn where there is nothing to do.
const TURN: Duration = Duration::from_secs(30);

/// The task, and all that it looks at.
pub(super) struct Leader {
    pub(super) judgements: Judgements,
    pub(super) executor: Executor,
    pub(super) stores: Stores,
    pub(super) changes: Changes,
    pub(super) relist: Relist,
    pub(super) leadership: Leadership,
    pub(super) stopping: signal::Receiver<bool>,
    pub(super) heartbeat: Heartbeat,
    pub(super) heartbeats: Heartbeats,
    pub(super) metrics: Metrics,
}

/// What became of carrying a judgement out.
enum Outcome {
    /// It was carried out to its end.
    Done {
        /// Whether anything was written whose effect is still to be seen.
        wrote: bool,
        /// Whether every write succeeded.
        settled: bool,
    },
    /// There is a judgement with news.
    Newer,
    /// The operator ends, or another replica may lead.
    CutShort,
    /// What ought to be could not be compared with what is.
    Broken,
}

impl Leader {
    /// Runs until asked to stop.
    pub(super) async fn run(mut self) {
        let mut last = None;
        while !*self.stopping.borrow() {
            self.heartbeat.turn();
            let term = self.leadership.term();
            self.metrics.lead(term.is_some());
            if term.is_some() && term != last {
                last = term;
                if self.leadership.is_contested() {
                    // another replica has written meanwhile, and what is known here may be older than that
                    self.relist.ask();
                }
            }
            if let Some(term) = term.filter(|_| self.relist.has_come()) {
                self.lead(term).await;
                continue;
            }
            // who stands by is ready as soon as there is something to carry out
            let judged = self.judgements.are_there();
            if judged {
                self.heartbeat.ok();
            }
            let comes = !self.relist.has_come();
            tokio::select! {
                () = sleep(TURN) => {}
                () = self.judgements.come(), if !judged => {}
                () = self.relist.come(), if comes => {}
                () = self.leadership.changed() => {}
                // an error means that no one is left to say so, which is the same
                _ = self.stopping.changed() => {}
            }
        }
    }

    /// Carries out one judgement after the other, as long as a term lasts.
    async fn lead(&mut self, term: u64) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut last = None;
        // of how things are after all that an earlier leader has written
        let mut next = self.next(term, None, Some(Duration::ZERO)).await;
        while !self.is_over(term) {
            self.heartbeat.turn();
            // how soon there has to be another, whether anything changes or not
            let again = match next {
                Err(Broken) => {
                    self.heartbeat.fail("judging has failed");
                    Some(backoff.wait())
                }
                Ok(judged) if judged.writes != Some(self.changes.writes()) => {
                    debug!("judged from before the last own write: once more");
                    Some(Duration::ZERO)
                }
                Ok(judged) => {
                    last = Some(judged.number);
                    self.executor.tell_unanswered(&judged.observed);
                    let began = Instant::now();
                    let outcome = self.carry_out(term, &judged).await;
                    self.metrics.round(outcome.name(), began.elapsed());
                    match outcome {
                        Outcome::CutShort => return,
                        Outcome::Newer => {
                            debug!("others have changed something: going on with a new plan");
                            Some(Duration::ZERO)
                        }
                        Outcome::Broken => Some(backoff.wait()),
                        Outcome::Done { wrote, settled } => {
                            // after what opens and closes, which must not wait for it
                            self.executor.tell_undecodable(&judged.undecodable);
                            self.heartbeat.ok();
                            backoff.reset();
                            match (wrote, settled) {
                                (true, _) => Some(Duration::ZERO),
                                (false, true) => None,
                                (false, false) => Some(self.executor.tries.patience()),
                            }
                        }
                    }
                }
            };
            next = self.next(term, last, again).await;
        }
    }

    /// The next judgement to carry out: any that is later than the last, or after a while one of how things are then.
    async fn next(
        &mut self,
        term: u64,
        last: Option<u64>,
        again: Option<Duration>,
    ) -> Result<Arc<Judged>, Broken> {
        let due = again.map(|wait| Moment::now() + wait);
        let mut asked = None;
        while !self.is_over(term) {
            let Self { judgements, leadership, stopping, heartbeat, .. } = self;
            tokio::select! {
                () = sleep_until(due.unwrap_or_else(Moment::now)), if due.is_some() && asked.is_none() => {
                    asked = Some(judgements.ask());
                }
                judged = judgements.answer(asked.unwrap_or_default()), if asked.is_some() => return judged,
                judged = judgements.later(last.unwrap_or_default()), if last.is_some() => return Ok(judged),
                () = sleep(TURN) => heartbeat.turn(),
                () = leadership.changed() => {}
                // an error means that no one is left to say so, which is the same
                _ = stopping.changed() => {}
            }
        }
        Err(Broken)
    }

    /// Whether another replica may lead by now, or the operator ends.
    fn is_over(&self, term: u64) -> bool {
        is_over(&self.stopping, &self.leadership, term)
    }

    /// Carries one judgement out, and says so in the statuses, unless one with news is there first.
    async fn carry_out(&mut self, term: u64, judged: &Arc<Judged>) -> Outcome {
        let Self {
            judgements,
            executor,
            stores,
            changes,
            relist: _,
            leadership,
            stopping,
            heartbeat,
            heartbeats,
            metrics,
        } = self;
        let Some(steps) = steps_of(Arc::clone(judged)).await else {
            return Outcome::Broken;
        };
        let Judged { plan, observed, .. } = &**judged;
        // a withdrawal may lie in what cannot be read: what is known closes, and nothing opens
        let unread = heartbeats.unread();
        let (held, steps): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|step| unread.is_some() && step.opens());
        let why = unread.map_or(String::new(), |why| without_numbers(&why));
        let why = format!("nothing is opened meanwhile: {why}");
        let held = held
            .into_iter()
            .map(|step| (step.object(), Failure { reason: FailureReason::CannotRead, message: why.clone() }));
        let held: Failures = held.collect();
        let Sorted { first: steps, last: again, known } = executor.tries.sort(Part::Object, steps);
        let superseded = AtomicBool::new(false);
        // a judgement of an earlier term is void: another replica may have led in between
        let is_cut_short = || superseded.load(Ordering::Relaxed) || is_over(stopping, leadership, term);
        let work = async {
            let mut failures = executor.carry_out(&steps, observed, known, heartbeat, is_cut_short).await;
            // what was refused has no effect to wait for: the next try waits for its back-off
            let done = || steps.iter().filter(|step| !failures.contains_key(&step.object()));
            // what has been written is there before anybody says so
            let mut wrote = done().next().is_some();
            let mut seen = Cow::Borrowed(observed);
            if wrote && come_back(changes, is_cut_short).await {
                let (policies, grants) = stores.effects();
                seen = Cow::Owned(observed.clone().with_effects(policies, grants));
                // what is gone or written down may let go of more
                wrote = done().any(Step::may_release);
            }
            if is_cut_short() {
                return Outcome::CutShort;
            }
            for (object, failure) in held {
                failures.entry(object).or_insert(failure);
            }
            metrics.still_open(still_open(plan, &seen, &failures));
            let reports = report(plan, &seen, &failures);
            let Sorted { first, last, known } = executor.tries.sort(Part::Status, reports);
            let statuses = [first, last].concat();
            let unreported = executor.carry_out(&statuses, &seen, known, heartbeat, is_cut_short).await;
            if is_cut_short() {
                return Outcome::CutShort;
            }
            // what failed before is tried when everything else is done and said, and as long as it holds up little
            let began = Instant::now();
            let is_enough = || is_cut_short() || began.elapsed() > DEADLINE;
            failures = executor.carry_out(&again, &seen, failures, heartbeat, is_enough).await;
            if is_cut_short() {
                return Outcome::CutShort;
            }
            wrote |= again.iter().any(|step| !failures.contains_key(&step.object()));
            executor.tries.forget_all_but(&failures, &unreported);
            let failed = failures.len() + unreported.len();
            if failed > 0 {
                debug!(failed, "not everything could be written");
            }
            Outcome::Done { wrote, settled: failed == 0 }
        };
        tokio::pin!(work);
        tokio::select! {
            outcome = &mut work => outcome,
            _news = judgements.news(judged.news) => {
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
            Self::Broken => "broken",
        }
    }
}

fn is_over(stopping: &signal::Receiver<bool>, leadership: &Leadership, term: u64) -> bool {
    *stopping.borrow() || leadership.term() != Some(term)
}

/// The writes between what ought to be and what is; none where that has failed, which is said.
async fn steps_of(judged: Arc<Judged>) -> Option<Vec<Step>> {
    let compared = tokio::task::spawn_blocking(move || steps(&judged.plan, &judged.observed));
    compared.await.inspect_err(|panic| error!(%panic, "comparing has failed; nothing is written")).ok()
}

/// Whether what was written here has come back; waits for it a while.
async fn come_back(changes: &Changes, is_cut_short: impl Fn() -> bool) -> bool {
    const LOOK: Duration = Duration::from_millis(50);
    let began = Instant::now();
    while began.elapsed() < OWN_EVENT && !is_cut_short() {
        if timeout(LOOK, changes.back()).await.is_ok() {
            return true;
        }
    }
    false
}
