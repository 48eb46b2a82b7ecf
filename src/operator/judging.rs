//! Judging, as a task of its own on every replica: whenever something changes, or a moment comes that the last judgement
//! names, the cluster is judged again, and the judgement is published. Who leads carries it out; whoever else wants to
//! know how things are reads the same value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch as signal;
use tokio::time::sleep;
use tracing::{debug, error, info};

use super::backoff::Backoff;
use super::changes::{Changes, Taken};
use super::health::Heartbeat;
use super::metrics::Metrics;
use concordat_api::{DataSharingAgreement, ObjectRef, SupersededFor};
use concordat_core::evaluate::Judgement;
use concordat_core::finding::ObjectKey;
use concordat_core::plan::{Judge, Observed, Plan, PlannedStatus, StatusBody};
use concordat_core::snapshot::{ClusterView, Snapshot, Unreadable};
use concordat_source::cluster::Stores;

/// A clock can be set: judge again this often, whatever the last judgement says.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Writes come back through the watches within milliseconds; what has not come by then is looked at all the same.
pub(super) const OWN_EVENT: Duration = Duration::from_secs(1);

/// The cluster as it stood once, judged: what ought to be, and what is.
#[derive(Debug)]
pub(super) struct Judged {
    /// How often was judged until then.
    pub(super) number: u64,
    /// How often because others had changed something, or a moment had come.
    pub(super) news: u64,
    /// What of this replica's own writes it has seen: as many as there were, or none while more were under way.
    pub(super) writes: Option<u64>,
    /// How often it had been asked for when the cluster was read.
    asked: u64,
    pub(super) judgement: Arc<Judgement>,
    pub(super) plan: Plan,
    pub(super) observed: Observed,
    pub(super) undecodable: Vec<Unreadable>,
}

/// What is published: the last judgement; nothing before every kind has been read once.
#[derive(Clone, Debug, Default)]
enum Published {
    #[default]
    Nothing,
    /// Judging has failed for the last time that it was tried.
    Broken,
    Judged(Arc<Judged>),
}

/// Judging has failed, and that has been said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

/// The judgements, for whoever reads them.
#[derive(Clone, Debug)]
pub(super) struct Judgements {
    published: signal::Receiver<Published>,
    asked: signal::Sender<u64>,
}

impl Judgements {
    /// Whether there is one.
    pub(super) fn are_there(&self) -> bool {
        matches!(&*self.published.borrow(), Published::Judged(_))
    }

    /// Asks for a judgement of how things are from now on.
    pub(super) fn ask(&self) -> u64 {
        self.asked.send_modify(|asked| *asked += 1);
        *self.asked.borrow()
    }

    /// Waits for what was asked for.
    pub(super) async fn answer(&self, asked: u64) -> Result<Arc<Judged>, Broken> {
        first(&mut self.published.clone(), |judged| judged.asked >= asked).await
    }

    /// The first that is later than one, whatever becomes of those in between.
    pub(super) async fn later(&self, number: u64) -> Arc<Judged> {
        self.sooner_or_later(|judged| judged.number > number).await
    }

    /// Waits until there is one.
    pub(super) async fn come(&self) {
        self.sooner_or_later(|_| true).await;
    }

    /// The first with more news, likewise.
    pub(super) async fn news(&self, news: u64) -> Arc<Judged> {
        self.sooner_or_later(|judged| judged.news > news).await
    }

    async fn sooner_or_later(&self, is_it: impl Fn(&Judged) -> bool) -> Arc<Judged> {
        let mut published = self.published.clone();
        loop {
            if let Ok(judged) = first(&mut published, &is_it).await {
                return judged;
            }
            if published.changed().await.is_err() {
                // no one judges any more, and that comes when the process ends
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Waits for the first that is it, or until judging fails.
async fn first(
    published: &mut signal::Receiver<Published>,
    is_it: impl Fn(&Judged) -> bool,
) -> Result<Arc<Judged>, Broken> {
    let ends = |published: &Published| match published {
        Published::Nothing => false,
        Published::Broken => true,
        Published::Judged(judged) => is_it(judged),
    };
    // an error means that no one judges any more
    match published.wait_for(ends).await.as_deref() {
        Ok(Published::Judged(judged)) => Ok(Arc::clone(judged)),
        Ok(Published::Nothing | Published::Broken) | Err(_) => Err(Broken),
    }
}

/// The task.
pub(super) struct Judging {
    stores: Stores,
    view: ClusterView,
    changes: Changes,
    metrics: Metrics,
    heartbeat: Heartbeat,
    /// Remembers the last judgement, so that the next takes less time.
    judge: Arc<Judge>,
    shown: Shown,
    published: signal::Sender<Published>,
    asked: signal::Receiver<u64>,
}

/// What successors have taken from agreements, as judgements have shown it: where a status may not be written, nothing is
/// forgotten for as long as the process lives.
#[derive(Debug, Default)]
struct Shown(BTreeMap<ObjectKey, Succession>);

/// What one has taken from an agreement.
#[derive(Debug)]
struct Succession {
    /// Of the very agreement that it was taken from.
    uid: Option<String>,
    by: Option<ObjectRef>,
    apart: Vec<SupersededFor>,
}

impl Shown {
    /// Puts into a snapshot what its statuses do not say.
    fn recall(&self, snapshot: &mut Snapshot) {
        for sourced in &mut snapshot.agreements {
            let Some(Succession { uid, by, apart }) = self.0.get(&sourced.key()) else { continue };
            if sourced.object.metadata.uid != *uid {
                continue;
            }
            let status = sourced.object.status.clone().unwrap_or_default();
            let more: Vec<SupersededFor> =
                apart.iter().filter(|it| !status.superseded_for.contains(it)).cloned().collect();
            if more.is_empty() && (by.is_none() || status.superseded_by.is_some()) {
                continue;
            }
            let mut status = status;
            status.superseded_by = status.superseded_by.or_else(|| by.clone());
            status.superseded_for.extend(more);
            let agreement = DataSharingAgreement { status: Some(status), ..(*sourced.object).clone() };
            sourced.object = agreement.into();
        }
    }

    /// Takes from a plan what is to be remembered, and nothing of what is gone.
    fn learn(&mut self, plan: &Plan, observed: &Observed, undecodable: &[Unreadable]) {
        self.0.retain(|object, known| match observed.statuses.get(object) {
            Some(present) => present.uid == known.uid,
            None => undecodable.iter().any(|it| it.key() == *object),
        });
        for PlannedStatus { object, status } in &plan.statuses {
            let StatusBody::Agreement(status) = &**status else { continue };
            let (by, apart) = (status.superseded_by.clone(), status.superseded_for.clone());
            if by.is_some() || !apart.is_empty() {
                let uid = observed.statuses.get(object).and_then(|it| it.uid.clone());
                self.0.insert(object.clone(), Succession { uid, by, apart });
            }
        }
    }
}

/// Why the cluster is judged again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cause {
    /// Others have changed something, or a moment has come.
    News,
    /// It was asked for, or is looked at again for safety's sake.
    Look,
}

impl Judging {
    pub(super) fn new(
        stores: Stores,
        view: ClusterView,
        changes: Changes,
        metrics: Metrics,
        heartbeat: Heartbeat,
        judge: Judge,
    ) -> (Self, Judgements) {
        let (publish, published) = signal::channel(Published::default());
        let (ask, asked) = signal::channel(0);
        let judge = Arc::new(judge);
        let shown = Shown::default();
        let judging =
            Self { stores, view, changes, metrics, heartbeat, judge, shown, published: publish, asked };
        (judging, Judgements { published, asked: ask })
    }

    /// Judges until no one reads judgements any more.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let (mut number, mut news, mut cause) = (0, 0, Cause::News);
        while !self.published.is_closed() {
            self.heartbeat.turn();
            number += 1;
            let (wait, at_the_end) = match self.judge(number, &mut news, cause).await {
                Ok(None) => (LOOK_AGAIN, Cause::Look),
                Ok(Some(judged)) => {
                    if matches!(&*self.published.borrow(), Published::Nothing) {
                        info!(agreements = judged.judgement.model.agreements.len(), "every kind is read");
                    }
                    let wait = until(judged.plan.next);
                    let at_the_end = if wait < LOOK_AGAIN { Cause::News } else { Cause::Look };
                    self.published.send_replace(Published::Judged(Arc::new(judged)));
                    self.heartbeat.ok();
                    backoff.reset();
                    (wait, at_the_end)
                }
                Err(Broken) => {
                    self.published.send_replace(Published::Broken);
                    self.heartbeat.fail("judging has failed");
                    (backoff.wait(), Cause::News)
                }
            };
            cause = tokio::select! {
                () = sleep(wait) => at_the_end,
                () = self.changes.foreign() => Cause::News,
                // an error means that no one is left to ask, and the end has come
                _ = self.asked.changed() => Cause::Look,
                () = self.published.closed() => break,
            };
        }
    }

    /// Judges the cluster as it is; nothing before every kind has been read once.
    ///
    /// What is written here has to be there before: a plan made from what stood before would take a finalizer for set that
    /// was just taken off. Only while more is being written no one waits: others' changes must not.
    async fn judge(&mut self, number: u64, news: &mut u64, cause: Cause) -> Result<Option<Judged>, Broken> {
        self.changes.own_events(OWN_EVENT).await;
        let asked = *self.asked.borrow_and_update();
        // what changes from here on wakes this task again
        let Taken { foreign, writes } = self.changes.take();
        *news += u64::from(foreign || cause == Cause::News);
        let Some((mut snapshot, observed)) = self.stores.read(self.view.clone()) else { return Ok(None) };
        self.shown.recall(&mut snapshot);
        let began = Instant::now();
        let undecodable = snapshot.unreadable.clone();
        self.metrics.undecodable(&undecodable);
        let (judgement, plan) = judge(Arc::clone(&self.judge), snapshot).await?;
        self.shown.learn(&plan, &observed, &undecodable);
        self.metrics.judged(&plan, began.elapsed());
        debug!(objects = plan.objects.len(), ms = began.elapsed().as_millis(), "judged");
        Ok(Some(Judged { number, news: *news, writes, asked, judgement, plan, observed, undecodable }))
    }
}

/// Judging is work for a processor; elsewhere, it does not hold up the watches, and a panic ends just this round.
async fn judge(judge: Arc<Judge>, snapshot: Snapshot) -> Result<(Arc<Judgement>, Plan), Broken> {
    let at = Timestamp::now();
    let judged = tokio::task::spawn_blocking(move || judge.judge(&snapshot, at));
    judged.await.map_err(|panic| {
        error!(%panic, "judging has failed; nothing is written");
        Broken
    })
}

/// How long to wait for a moment.
fn until(moment: Option<Timestamp>) -> Duration {
    let Some(moment) = moment else { return LOOK_AGAIN };
    let left = moment.duration_since(Timestamp::now());
    // a moment that is just past is met by the next judgement
    let left = left.max(SignedDuration::from_millis(1)).unsigned_abs();
    left.min(LOOK_AGAIN)
}
