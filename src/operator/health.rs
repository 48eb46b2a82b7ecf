//! `/livez` and `/readyz`: whether the operator turns, and whether it hears; beside them, `/metrics`.
//!
//! An operator can look healthy and be deaf: a watch whose connection has died without a word. So each watch keeps
//! two moments: when it last *turned* (began or ended any attempt) and when it last *heard* from the API server.
//! Not hearing makes the operator unready at once; restarting it would not bring an API server back, so liveness
//! fails only when something is stuck, or when it has been deaf for so long that a fresh start may help.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::warn;

use super::RunError;
use super::metrics::{CONTENT_TYPE, Metrics};

/// Something that has not turned for this long is stuck: the loop turns every 30 s, a watch every 13 s or so.
const STUCK: Duration = Duration::from_secs(90);
/// A watch that was cut off is back within this time, as a rule.
const BLINK: Duration = Duration::from_secs(1);
/// Not having heard for this long is not being ready.
const UNHEARD: Duration = Duration::from_secs(60);
/// Not having heard for this long, a fresh start may help.
const DEAF: Duration = Duration::from_secs(600);

/// The heartbeats of all that has to keep turning.
#[derive(Clone, Debug, Default)]
pub(super) struct Heartbeats(Arc<Mutex<BTreeMap<String, Beat>>>);

#[derive(Clone, Debug)]
struct Beat {
    turned: Instant,
    heard: Option<Instant>,
    trouble: Option<String>,
    /// Since when every attempt has failed.
    failing: Option<Instant>,
    /// Whether it reads what is judged.
    reads: bool,
}

/// The heartbeat of one thing.
#[derive(Clone, Debug)]
pub(super) struct Heartbeat {
    name: String,
    all: Heartbeats,
}

impl Heartbeats {
    /// A heartbeat that starts to be looked at now.
    pub(super) fn add(&self, name: &str) -> Heartbeat {
        self.add_one(name, false)
    }

    /// That of a watch.
    pub(super) fn add_watch(&self, kind: &str) -> Heartbeat {
        self.add_one(kind, true)
    }

    fn add_one(&self, name: &str, reads: bool) -> Heartbeat {
        let beat = Beat { turned: Instant::now(), heard: None, trouble: None, failing: None, reads };
        self.beats().insert(name.to_owned(), beat);
        Heartbeat { name: name.to_owned(), all: self.clone() }
    }

    /// Why something cannot be read now that is judged: what has changed there meanwhile is not known.
    pub(super) fn unread(&self) -> Option<String> {
        let now = Instant::now();
        let lasts = |it: &&Beat| it.failing.is_some_and(|since| now.saturating_duration_since(since) > BLINK);
        let beats = self.beats();
        beats.values().filter(|it| it.reads).find(lasts).and_then(|it| it.trouble.clone())
    }

    fn beats(&self) -> MutexGuard<'_, BTreeMap<String, Beat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago each was last all right; nothing, if never.
    fn heard(&self, now: Instant) -> BTreeMap<String, Option<Duration>> {
        let ago = |beat: &Beat| beat.heard.map(|heard| now.saturating_duration_since(heard));
        self.beats().iter().map(|(name, beat)| (name.clone(), ago(beat))).collect()
    }

    fn report(&self, now: Instant, fails: impl Fn(&Beat, Instant) -> Option<String>) -> (StatusCode, String) {
        let mut code = StatusCode::OK;
        let mut text = String::new();
        for (name, beat) in self.beats().iter() {
            let line = fails(beat, now);
            if line.is_some() {
                code = StatusCode::SERVICE_UNAVAILABLE;
            }
            // writing to a string does not fail
            let _ok = writeln!(text, "{name}: {}", line.as_deref().unwrap_or("ok"));
        }
        (code, text)
    }
}

impl Heartbeat {
    /// An attempt begins or ends.
    pub(super) fn turn(&self) {
        self.beat(|beat| beat.turned = Instant::now());
    }

    /// All is well.
    pub(super) fn ok(&self) {
        self.beat(|beat| {
            (beat.turned, beat.heard) = (Instant::now(), Some(Instant::now()));
            (beat.trouble, beat.failing) = (None, None);
        });
    }

    /// An attempt has failed.
    pub(super) fn fail(&self, trouble: &str) {
        self.beat(|beat| {
            beat.turned = Instant::now();
            beat.trouble = Some(trouble.to_owned());
            beat.failing.get_or_insert_with(Instant::now);
        });
    }

    fn beat(&self, change: impl FnOnce(&mut Beat)) {
        if let Some(beat) = self.all.beats().get_mut(&self.name) {
            change(beat);
        }
    }
}

/// Why something is not alive.
fn dead(beat: &Beat, now: Instant) -> Option<String> {
    let still = now.saturating_duration_since(beat.turned);
    if still > STUCK {
        return Some(format!("stuck for {} s", still.as_secs()));
    }
    let deaf = now.saturating_duration_since(beat.heard?);
    (deaf > DEAF).then(|| unheard(beat, deaf))
}

/// Why something is not ready.
fn unready(beat: &Beat, now: Instant) -> Option<String> {
    let Some(heard) = beat.heard else {
        return Some(beat.trouble.clone().unwrap_or_else(|| "not read yet".to_owned()));
    };
    let deaf = now.saturating_duration_since(heard);
    (deaf > UNHEARD).then(|| unheard(beat, deaf))
}

fn unheard(beat: &Beat, deaf: Duration) -> String {
    let trouble = beat.trouble.as_deref().unwrap_or("no answer");
    format!("nothing heard for {} s: {trouble}", deaf.as_secs())
}

/// Takes the address, so that one that is taken already is an error at the start.
pub(super) async fn bind(addr: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(addr).await.map_err(|source| RunError::Health { addr, source })
}

/// Answers health checks, and says the numbers.
pub(super) async fn serve(listener: TcpListener, heartbeats: Heartbeats, metrics: Metrics) {
    let answer = Router::new()
        .route(
            "/livez",
            get(|State(heartbeats): State<Heartbeats>| async move { heartbeats.report(Instant::now(), dead) }),
        )
        .route(
            "/readyz",
            get(|State(heartbeats): State<Heartbeats>| async move { heartbeats.report(Instant::now(), unready) }),
        )
        .route(
            "/metrics",
            get(|State(heartbeats): State<Heartbeats>| async move {
                let text = [("content-type", CONTENT_TYPE)];
                (text, metrics.page(&heartbeats.heard(Instant::now())))
            }),
        )
        .with_state(heartbeats);
    if let Err(error) = axum::serve(listener, answer).await {
        warn!(%error, "health checks have ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn what_has_not_been_read_is_alive_and_not_ready() {
        let heartbeats = Heartbeats::default();
        heartbeats.add("watch");
        assert_eq!(heartbeats.report(after(0), dead), (StatusCode::OK, "watch: ok\n".to_owned()));
        let unread = (StatusCode::SERVICE_UNAVAILABLE, "watch: not read yet\n".to_owned());
        assert_eq!(heartbeats.report(after(0), unready), unread);
    }

    #[test]
    fn a_watch_that_fails_for_a_while_is_alive_and_not_ready() {
        let heartbeats = Heartbeats::default();
        let heartbeat = heartbeats.add("watch");
        heartbeat.ok();
        heartbeat.fail("connection refused");
        let deaf = "watch: nothing heard for 61 s: connection refused\n".to_owned();
        assert_eq!(heartbeats.report(after(61), unready), (StatusCode::SERVICE_UNAVAILABLE, deaf));
        assert_eq!(heartbeats.report(after(61), dead), (StatusCode::OK, "watch: ok\n".to_owned()));
    }

    #[test]
    fn what_is_judged_and_cannot_be_read_for_longer_than_a_blink_is_unread() {
        let heartbeats = Heartbeats::default();
        let (lease, watch) = (heartbeats.add("lease"), heartbeats.add_watch("LocalPolicy"));
        lease.fail("taken");
        watch.fail("may not be read");
        assert_eq!(heartbeats.unread(), None, "just now");
        let long_ago = Instant::now().checked_sub(2 * BLINK);
        for beat in heartbeats.beats().values_mut() {
            beat.failing = long_ago;
        }
        assert_eq!(heartbeats.unread(), Some("may not be read".to_owned()));
        watch.fail("still not");
        assert_eq!(heartbeats.unread(), Some("still not".to_owned()), "it goes on failing");
        watch.ok();
        assert_eq!(heartbeats.unread(), None);
    }

    #[test]
    fn what_does_not_turn_is_dead() {
        let heartbeats = Heartbeats::default();
        heartbeats.add("loop").ok();
        let stuck = "loop: stuck for 91 s\n".to_owned();
        assert_eq!(heartbeats.report(after(91), dead), (StatusCode::SERVICE_UNAVAILABLE, stuck));
    }

    #[test]
    fn what_turns_without_ever_hearing_is_dead_in_the_end() {
        let heartbeats = Heartbeats::default();
        let heartbeat = heartbeats.add("watch");
        heartbeat.ok();
        let mut beat = heartbeats.beats().get("watch").cloned().unwrap();
        beat.turned = after(601);
        assert_eq!(dead(&beat, after(601)), Some("nothing heard for 601 s: no answer".to_owned()));
    }
}
