//! What has changed since the cluster was last judged, without the events of its own writes.
//!
//! Each write of the operator comes back through a watch, and must not wake the judging as if somebody else had made
//! it. The executor says which versions it has written, the watches say which they have seen; what is in both is a
//! write of its own, whichever comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::core::ObjectMeta;
use tokio::sync::{Notify, watch as signal};
use tokio::time::{sleep, timeout};

use concordat_core::finding::ObjectKey;

/// Changes come in bursts: wait this long for the next of one.
const QUIET: Duration = Duration::from_millis(50);
/// But not longer than this in all.
const BURST: Duration = Duration::from_millis(250);

/// Namespace and name.
type Name = (Option<String>, Option<String>);

/// One version of one object.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Version {
    /// With a resource version: those of other objects differ, but for rare set-ups.
    Written(Name, String),
    /// With the uid of an object that is gone.
    Deleted(Name, String),
}

impl Version {
    fn name(&self) -> &Name {
        match self {
            Self::Written(name, _) | Self::Deleted(name, _) => name,
        }
    }
}

/// Shared by the watches, the executor, the judging and the leading.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something that others did.
    foreign: Notify,
    /// An event of its own, for everybody who waits for one.
    own_event: signal::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Something has changed that has no version: a fresh list.
    anything: bool,
    /// Seen, and written by no one here as far as is known.
    seen: BTreeSet<Version>,
    /// Written here, and not seen yet.
    awaited: BTreeMap<Version, Instant>,
    /// How many writes have begun.
    writes: u64,
    /// Objects that are being written, and how often: the answer says whose version a watch sees meanwhile.
    under_way: BTreeMap<Name, usize>,
}

impl State {
    fn is_foreign(&self) -> bool {
        let is_claimed = |version: &Version| self.under_way.contains_key(version.name());
        self.anything || !self.seen.iter().all(is_claimed)
    }
}

/// What will be found in the stores.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Taken {
    /// Whether others have changed something.
    pub(super) foreign: bool,
    /// How many writes of this replica: all that have begun, or none while some are under way.
    pub(super) writes: Option<u64>,
}

/// A write under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    changes: Changes,
    name: Name,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.changes.state();
        if let Some(count) = state.under_way.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                state.under_way.remove(&self.name);
            }
        }
        // the answer has claimed what was its own
        if state.seen.iter().any(|version| *version.name() == self.name) {
            self.changes.0.foreign.notify_one();
        }
    }
}

impl Changes {
    /// Something has changed, and there is no telling what.
    pub(super) fn anything(&self) {
        self.state().anything = true;
        self.0.foreign.notify_one();
    }

    /// A watch has seen a version of an object.
    pub(super) fn seen(&self, object: &ObjectMeta) {
        match version(object) {
            Some(version) => self.see(version),
            None => self.anything(),
        }
    }

    /// A watch has seen that an object is gone.
    pub(super) fn seen_gone(&self, object: &ObjectMeta) {
        match &object.uid {
            Some(uid) => self.see(Version::Deleted(name(object), uid.clone())),
            None => self.anything(),
        }
    }

    /// The executor begins to write an object.
    pub(super) fn writing(&self, object: &ObjectKey) -> UnderWay {
        let name = name_of(object);
        let mut state = self.state();
        state.writes += 1;
        *state.under_way.entry(name.clone()).or_default() += 1;
        drop(state);
        UnderWay { changes: self.clone(), name }
    }

    /// The executor has written a version of an object.
    pub(super) fn written(&self, object: &ObjectMeta) {
        if let Some(version) = version(object) {
            self.write(version);
        }
    }

    /// The executor has deleted an object.
    pub(super) fn deleted(&self, object: &ObjectKey, uid: Option<&str>) {
        if let Some(uid) = uid {
            self.write(Version::Deleted(name_of(object), uid.to_owned()));
        }
    }

    /// How many writes have begun.
    pub(super) fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Forgets what has been seen: the stores are about to be read. What is being written has yet to be claimed.
    pub(super) fn take(&self) -> Taken {
        let mut state = self.state();
        let foreign = state.is_foreign();
        let State { anything, seen, awaited, writes, under_way } = &mut *state;
        *anything = false;
        seen.retain(|version| under_way.contains_key(version.name()));
        Taken { foreign, writes: (under_way.is_empty() && awaited.is_empty()).then_some(*writes) }
    }

    /// Waits until others have changed something, and for the end of the burst that it belongs to.
    pub(super) async fn foreign(&self) {
        loop {
            if self.is_foreign() {
                self.settle().await;
                // what looked like somebody else's may have turned out to be an event of its own
                if self.is_foreign() {
                    return;
                }
            }
            self.0.foreign.notified().await;
        }
    }

    /// Waits until every write has come back, but not longer than `most`, and not while more is being written.
    pub(super) async fn own_events(&self, most: Duration) {
        // an apply that changed nothing has no event of its own; no one waits for it twice, and should one come after all, it is
        // looked at as if others had made it
        let back = self.until(|state| state.awaited.is_empty() || !state.under_way.is_empty());
        let _some_may_be_missing = timeout(most, back).await;
        self.state().awaited.retain(|_, at| at.elapsed() < most);
    }

    /// Waits until every write has come back.
    pub(super) async fn back(&self) {
        self.until(|state| state.awaited.is_empty()).await;
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        let mut news = self.0.own_event.subscribe();
        while !is_so(&self.state()) {
            // the sender is here
            let _event = news.changed().await;
        }
    }

    /// Waits for the end of a burst.
    async fn settle(&self) {
        let burst = async { while timeout(QUIET, self.0.foreign.notified()).await.is_ok() {} };
        // a burst that does not end is met in its midst; its writes may still be on their way to being known
        if timeout(BURST, burst).await.is_err() {
            sleep(QUIET).await;
        }
    }

    fn is_foreign(&self) -> bool {
        self.state().is_foreign()
    }

    fn see(&self, version: Version) {
        let mut state = self.state();
        if state.awaited.remove(&version).is_some() {
            self.0.own_event.send_replace(());
        } else {
            state.seen.insert(version);
            self.0.foreign.notify_one();
        }
    }

    fn write(&self, version: Version) {
        let mut state = self.state();
        if !state.seen.remove(&version) {
            state.awaited.insert(version, Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // nothing panics while it holds the lock, and each change is whole
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version(object: &ObjectMeta) -> Option<Version> {
    Some(Version::Written(name(object), object.resource_version.clone()?))
}

fn name(object: &ObjectMeta) -> Name {
    (object.namespace.clone(), object.name.clone())
}

fn name_of(ObjectKey { kind: _, namespace, name }: &ObjectKey) -> Name {
    (namespace.clone(), Some(name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, version: &str) -> ObjectMeta {
        let (name, resource_version) = (Some(name.to_owned()), Some(version.to_owned()));
        ObjectMeta { name, resource_version, uid: Some("uid".to_owned()), ..ObjectMeta::default() }
    }

    fn wakes(changes: &Changes) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { timeout(BURST * 2, changes.foreign()).await.is_ok() })
    }

    #[test]
    fn an_own_event_does_not_wake_whichever_comes_first() {
        let changes = Changes::default();
        changes.written(&object("bins", "7"));
        changes.seen(&object("bins", "7"));
        changes.seen(&object("contacts", "8"));
        changes.written(&object("contacts", "8"));
        changes.deleted(&ObjectKey::new("NetworkPolicy", None, "bins"), Some("uid"));
        changes.seen_gone(&object("bins", "9"));
        assert!(!wakes(&changes));
    }

    #[test]
    fn what_a_watch_sees_before_the_answer_wakes_only_once_the_answer_has_not_claimed_it() {
        let changes = Changes::default();
        let key = ObjectKey::new("NetworkPolicy", None, "bins");
        let under_way = changes.writing(&key);
        changes.seen(&object("bins", "7"));
        assert!(!wakes(&changes), "it may be the own event");
        // the stores are read meanwhile, and the own event is still one
        changes.take();
        changes.written(&object("bins", "7"));
        drop(under_way);
        assert!(!wakes(&changes));
        assert!(changes.state().awaited.is_empty());

        let under_way = changes.writing(&key);
        changes.seen(&object("bins", "8"));
        changes.written(&object("bins", "9"));
        drop(under_way);
        assert!(wakes(&changes), "the eighth was somebody else's");
        assert!(changes.state().under_way.is_empty());
    }

    #[test]
    fn what_others_wrote_wakes_until_it_is_taken() {
        let changes = Changes::default();
        changes.written(&object("bins", "7"));
        changes.seen(&object("bins", "9"));
        assert!(wakes(&changes));
        assert!(wakes(&changes));
        changes.take();
        assert!(!wakes(&changes));
        changes.anything();
        assert!(wakes(&changes));
    }
}
