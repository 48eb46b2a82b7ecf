//! Who writes, where several replicas run: whoever holds a Lease of `coordination.k8s.io`.
//!
//! No replica believes another's clock. The holder counts from the moment *before* it asked to renew, and stops
//! writing [`VALID`] later. The others count from the moment *after* they saw the renewal, and take the lease no
//! sooner than its duration later. Between the two lies the time that one call may take: a write that was begun in
//! time is given up before anybody else can begin.
//!
//! A lease that is not there, or that no one holds, may have been taken from its holder by somebody's hand, and for
//! all that is known the holder still writes: the others wait as for one that was just renewed. Only one that was
//! let go in order ([`RELEASED`]) is taken at once. The first installation waits, too: once.
//!
//! What remains is a request that is given up here and yet arrives at the API server later. It can only say what was
//! planned when it was sent, and the new holder, which watches, takes it back. And a machine that sleeps as a whole,
//! so that its clock stops: it has as long to write when it wakes as it had left.
//!
//! A leader that dies takes the lease's duration and one [`RETRY`] with it: for so long a withdrawal may wait for the
//! next leader. One that ends in order lets go of the lease, and then it is one [`RETRY`].

use std::fmt::Debug;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use tokio::sync::watch as signal;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::call::{DEADLINE, chain, deadline};
use super::health::Heartbeat;
use concordat_core::plan::FIELD_MANAGER;

/// How long a lease lasts after its last renewal: long enough for a short outage, short enough for a withdrawal.
const DURATION: Duration = Duration::from_secs(15);
/// How long the holder may begin writes after its last renewal.
const VALID: Duration = DURATION.saturating_sub(DEADLINE);
/// How often the holder renews, and the others look.
const RETRY: Duration = Duration::from_secs(2);
/// The duration of a lease that its holder has let go of, by which that is known from one that somebody has cleared.
const RELEASED: i32 = 1;

/// The name of the lease, unless another is given.
pub const DEFAULT_LEASE_NAME: &str = "concordat-operator";

/// Which lease is held by whoever leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Election {
    /// The namespace of the lease; without one, that of the pod or of the kubeconfig's context.
    pub namespace: Option<String>,
    pub name: String,
}

/// Whether this replica may write.
#[derive(Clone, Debug)]
pub(super) struct Leadership(Option<signal::Receiver<Held>>);

/// The lease as far as it is this replica's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Held {
    /// Until when a write may begin; nothing once the lease is lost.
    until: Option<Instant>,
    /// How often it has been won.
    term: u64,
}

impl Leadership {
    /// There is no other replica.
    pub(super) fn alone() -> Self {
        Self(None)
    }

    /// Whether there may be another replica.
    pub(super) fn is_contested(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a write may begin now.
    pub(super) fn holds(&self) -> bool {
        self.term().is_some()
    }

    /// The term that lasts now. As long as it is the same, no one else has led.
    pub(super) fn term(&self) -> Option<u64> {
        let Some(held) = &self.0 else { return Some(0) };
        let Held { until, term } = *held.borrow();
        until.is_some_and(|until| Instant::now() < until).then_some(term)
    }

    /// Waits until the lease is won or lost.
    pub(super) async fn changed(&mut self) {
        let changed = match &mut self.0 {
            None => false,
            Some(held) => held.changed().await.is_ok(),
        };
        if !changed {
            // no one else, or the election is over, and that comes when the process ends
            std::future::pending::<()>().await;
        }
    }
}

/// Takes part in the election.
pub(super) struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    held: signal::Sender<Held>,
    heartbeat: Heartbeat,
    /// The lease as it was last seen here, or that there was none, and when that was first seen.
    seen: Option<(Option<Lease>, Instant)>,
    /// Until when its own last lease lasts, whatever has become of it since: no one else begins before.
    own: Option<Instant>,
    /// Whether a write of it may have arrived of which nothing is known, so that it has to be read first.
    stale: bool,
    /// What was last said about who leads.
    said: String,
}

/// What to do about a lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Move {
    Create,
    Take,
    Renew,
    Wait,
}

impl Candidate {
    pub(super) fn new(client: &Client, election: &Election, heartbeat: Heartbeat) -> (Self, Leadership) {
        let namespace = election.namespace.as_deref().unwrap_or(client.default_namespace());
        let (held, leadership) = signal::channel(Held::default());
        let candidate = Self {
            api: Api::namespaced(client.clone(), namespace),
            name: election.name.clone(),
            identity: identity(),
            held,
            heartbeat,
            seen: None,
            own: None,
            stale: false,
            said: String::new(),
        };
        info!(
            lease = format!("{namespace}/{}", candidate.name),
            identity = candidate.identity,
            "standing for election"
        );
        (candidate, Leadership(Some(leadership)))
    }

    /// Stands for election until asked to stop, and then lets go of the lease.
    pub(super) async fn run(mut self, mut stopping: signal::Receiver<bool>) {
        while !*stopping.borrow() {
            self.heartbeat.turn();
            match self.turn().await {
                Ok(()) => self.heartbeat.ok(),
                Err(trouble) => {
                    self.heartbeat.fail(&trouble);
                    self.tell(format!("the lease cannot be read or written: {trouble}; trying again"), true);
                    self.stale = true;
                }
            }
            if self.held.borrow().until.is_some_and(|until| until <= Instant::now()) {
                self.hold(None);
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                // an error means that no one is left to say so, which is the same
                _ = stopping.changed() => {}
            }
        }
        self.release().await;
    }

    async fn turn(&mut self) -> Result<(), String> {
        let asked = Instant::now();
        // the holder knows the lease from its own last write; the others have to look
        let holds = self.held.borrow().until.is_some();
        if self.stale || !holds || self.seen.is_none() {
            let read = deadline(self.api.get_opt(&self.name)).await.ok_or("no answer in time")?;
            let lease = read.map_err(|error| trouble(&error))?;
            self.see(lease);
            self.stale = false;
        }
        let (lease, seen) = match &self.seen {
            Some((lease, at)) => (lease.as_ref(), at.elapsed()),
            None => (None, Duration::ZERO),
        };
        let is_ours = self.own.is_some_and(|until| asked < until);
        let next = next(lease, seen, &self.identity, is_ours);
        debug!(?next, "the lease");
        let written = match next {
            Move::Wait => {
                let now = match lease.and_then(holder) {
                    Some(holder) => format!("standing by: `{holder}` leads"),
                    None => {
                        "standing by: no one holds the lease, and the last holder may still write".to_owned()
                    }
                };
                self.hold(None);
                self.tell(now, false);
                return Ok(());
            }
            Move::Create => {
                let lease = self.lease(None);
                deadline(self.api.create(&params(), &lease)).await
            }
            Move::Take | Move::Renew => {
                let lease = self.lease(lease);
                deadline(self.api.replace(&self.name, &params(), &lease)).await
            }
        };
        match written.ok_or("no answer in time")? {
            Ok(lease) => {
                self.see(Some(lease));
                self.own = Some(asked + VALID);
                self.hold(self.own);
                self.tell("leading".to_owned(), false);
                Ok(())
            }
            // somebody was faster, or has deleted it: what is there is read next
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                self.hold(None);
                self.stale = true;
                Ok(())
            }
            Err(error) => Err(trouble(&error)),
        }
    }

    /// Lets go of the lease, so that no one has to wait for it to run out.
    async fn release(&mut self) {
        let held = self.held.borrow().until.is_some();
        self.hold(None);
        let Some((Some(lease), _)) = self.seen.take().filter(|_| held) else { return };
        let mut spec = lease.spec.clone().unwrap_or_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(RELEASED);
        let lease = Lease { metadata: meta(&lease), spec: Some(spec) };
        match deadline(self.api.replace(&self.name, &params(), &lease)).await {
            Some(Ok(_)) => info!("let go of the lease"),
            Some(Err(error)) => warn!("the lease is left to run out: {}", chain(&error)),
            None => warn!("the lease is left to run out: no answer in time"),
        }
    }

    fn see(&mut self, lease: Option<Lease>) {
        let version = |lease: &Lease| (lease.metadata.uid.clone(), lease.metadata.resource_version.clone());
        let known = self.seen.take();
        let since = known.filter(|(known, _)| known.as_ref().map(version) == lease.as_ref().map(version));
        self.seen = Some((lease, since.map_or_else(Instant::now, |(_, since)| since)));
    }

    fn hold(&self, until: Option<Instant>) {
        self.held.send_if_modified(|held| {
            let turned = held.until.is_some() != until.is_some();
            held.until = until;
            match until {
                Some(_) if turned => held.term += 1,
                None if turned => warn!("leading no longer: nothing more is written here"),
                Some(_) | None => {}
            }
            turned
        });
    }

    /// The lease as this replica writes it. The times in it are for people.
    fn lease(&self, present: Option<&Lease>) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let was = present.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let renewed = present.and_then(holder) == Some(self.identity.as_str());
        let transitions = was.lease_transitions.unwrap_or_default();
        let metadata = present
            .map_or_else(|| ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }, meta);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if renewed { was.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: match present {
                Some(_) if !renewed => Some(transitions.saturating_add(1)),
                _ => Some(transitions),
            },
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    fn tell(&mut self, what: String, bad: bool) {
        if self.said == what {
            return;
        }
        if bad {
            warn!("{what}");
        } else {
            info!("{what}");
        }
        self.said = what;
    }
}

fn trouble(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "{}; help: let the operator's account get, create and update leases in that namespace",
            status.message
        ),
        error => chain(error),
    }
}

/// What to do about the lease, or about that there is none, which was first seen so long ago. `is_ours` says whether
/// this replica's own last lease still lasts.
fn next(lease: Option<&Lease>, seen: Duration, identity: &str, is_ours: bool) -> Move {
    let Some(lease) = lease else {
        return if is_ours || seen >= DURATION { Move::Create } else { Move::Wait };
    };
    let says = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    match holder(lease) {
        None if is_ours || says == Some(RELEASED) => Move::Take,
        Some(holder) if holder == identity => Move::Renew,
        _ => {
            let says = Duration::from_secs(says.and_then(|it| u64::try_from(it).ok()).unwrap_or_default());
            if seen < says.max(DURATION) { Move::Wait } else { Move::Take }
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// What has to come back with a write, so that it is refused if somebody else wrote in between.
fn meta(lease: &Lease) -> ObjectMeta {
    let ObjectMeta { name, namespace, uid, resource_version, labels, annotations, .. } =
        lease.metadata.clone();
    ObjectMeta { name, namespace, uid, resource_version, labels, annotations, ..ObjectMeta::default() }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// The pod's name, for people, and something that no other process has.
fn identity() -> String {
    let from = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let file = || std::fs::read_to_string("/etc/hostname").ok().map(|it| it.trim().to_owned());
    let host =
        from("POD_NAME").or_else(|| from("HOSTNAME")).or_else(file).unwrap_or_else(|| "concordat".to_owned());
    // each `RandomState` has keys of its own, from the system's randomness
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{host}_{random:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: Option<&str>, seconds: i32) -> Lease {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn a_lease_is_taken_when_it_was_let_go_or_has_not_moved_for_its_duration() {
        let after = |lease: &Lease, seconds| next(Some(lease), Duration::from_secs(seconds), "me", false);
        let other = lease(Some("other"), 15);
        assert_eq!(after(&lease(None, RELEASED), 0), Move::Take);
        assert_eq!(after(&lease(Some(""), RELEASED), 0), Move::Take);
        assert_eq!(after(&lease(Some("me"), 15), 99), Move::Renew);
        assert_eq!(after(&other, 14), Move::Wait);
        assert_eq!(after(&other, 15), Move::Take);
        // one that promises itself longer is given it, and one that promises itself less is given ours
        assert_eq!(after(&lease(Some("other"), 60), 59), Move::Wait);
        assert_eq!(after(&lease(Some("other"), 1), 14), Move::Wait);
    }

    #[test]
    fn a_lease_that_somebody_has_deleted_or_cleared_is_taken_no_sooner_than_one_that_is_held() {
        let seconds = Duration::from_secs;
        let cleared = lease(None, 15);
        assert_eq!(next(Some(&cleared), seconds(14), "me", false), Move::Wait);
        assert_eq!(next(Some(&cleared), seconds(15), "me", false), Move::Take);
        assert_eq!(next(None, seconds(14), "me", false), Move::Wait);
        assert_eq!(next(None, seconds(15), "me", false), Move::Create);
        // whoever held it knows that no one else does
        assert_eq!(next(None, seconds(0), "me", true), Move::Create);
        assert_eq!(next(Some(&cleared), seconds(0), "me", true), Move::Take);
        let other = lease(Some("other"), 15);
        assert_eq!(next(Some(&other), seconds(0), "me", true), Move::Wait);
    }

    #[test]
    fn the_holder_stops_before_another_can_begin() {
        assert!(VALID + DEADLINE <= DURATION);
        assert!(VALID >= RETRY * 2 + DEADLINE, "one renewal may fail");
    }

    #[test]
    fn leading_ends_by_itself() {
        let until = Some(Instant::now() + Duration::from_millis(20));
        let (held, receiver) = signal::channel(Held { until, term: 3 });
        let leadership = Leadership(Some(receiver));
        assert_eq!(leadership.term(), Some(3));
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!((leadership.term(), leadership.holds()), (None, false));
        held.send(Held { until: None, term: 3 }).unwrap();
        assert!(!leadership.holds());
        assert!(Leadership::alone().holds());
    }

    #[test]
    fn no_two_replicas_have_one_identity() {
        assert_ne!(identity(), identity());
    }
}
