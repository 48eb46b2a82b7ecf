//! One watch for each kind, each by itself: its own back-off, its own deadlines, its own heartbeat.
//!
//! Not `kube`'s watcher, for one reason: it keeps bookmarks and quiet reconnections to itself, so that a watch that
//! is up to date and one that has gone deaf look alike. Here every answer of the API server is a heartbeat, and a
//! connection that has died in silence is given up after [`SESSION`] and a little.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::call::{chain, deadline};
use super::changes::Changes;
use super::health::{Heartbeat, Heartbeats};
use super::relist::{Reader, Relist};
use concordat_core::plan::MANAGED_BY;
use concordat_source::cluster::{Incoming, Store, Stores, Undecoded};

/// How long one watch request lasts. The API server ends it, and so shows that it is there. A connection that has died
/// in silence is found out no later than that, and a withdrawal must not wait long: hence one request a second in all.
const SESSION: Duration = Duration::from_secs(10);
/// How much longer we wait for it to end.
const MARGIN: Duration = Duration::from_secs(3);
/// A session that lasted this long was no failure.
const WORTHWHILE: Duration = Duration::from_secs(1);
/// An open trouble is logged when it changes, and this often.
const REMIND: Duration = Duration::from_secs(60);
/// After this many failures in a row the version is no longer trusted: a cluster that was restored from a backup
/// has forgotten it, and does not say so.
const STUBBORN: u32 = 3;
const PAGE: u32 = 500;

/// Starts every watch.
pub(super) fn all(
    client: &Client,
    stores: &Stores,
    heartbeats: &Heartbeats,
    changes: &Changes,
    relist: &Relist,
    tasks: &mut JoinSet<()>,
) {
    let Stores {
        frameworks,
        exceptions,
        footprints,
        orgs,
        products,
        agreements,
        signatures,
        policies,
        grants,
        network_policies,
    } = stores;
    let start = Start { client, heartbeats, changes, relist };
    start.watch(frameworks, None, tasks);
    start.watch(exceptions, None, tasks);
    start.watch(footprints, None, tasks);
    start.watch(orgs, None, tasks);
    start.watch(products, None, tasks);
    start.watch(agreements, None, tasks);
    start.watch(signatures, None, tasks);
    start.watch(policies, None, tasks);
    start.watch(grants, None, tasks);
    let (label, value) = MANAGED_BY;
    start.watch::<NetworkPolicy>(network_policies, Some(format!("{label}={value}")), tasks);
}

struct Start<'a> {
    client: &'a Client,
    heartbeats: &'a Heartbeats,
    changes: &'a Changes,
    relist: &'a Relist,
}

impl Start<'_> {
    fn watch<K>(&self, store: &Store<K>, labels: Option<String>, tasks: &mut JoinSet<()>)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let kind = K::kind(&()).into_owned();
        let reader = self.relist.add(&kind);
        let watch = Watch {
            api: Api::all(self.client.clone()),
            labels,
            store: store.clone(),
            heartbeat: self.heartbeats.add_watch(&kind),
            changes: self.changes.clone(),
            kind,
        };
        tasks.spawn(watch.run(reader));
    }
}

/// Why a list or a watch has ended early.
#[derive(Debug, Error)]
enum WatchError {
    #[error("the API server did not answer in time")]
    Silent,
    #[error("the API server ended the watch at once")]
    Cut,
    #[error("the list has no resource version")]
    NoVersion,
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    #[error("the API server could not be asked")]
    Client(#[source] Box<kube::Error>),
}

impl From<kube::Error> for WatchError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            error => Self::Client(Box::new(error)),
        }
    }
}

impl WatchError {
    /// Whether only a fresh list helps.
    fn needs_list(&self) -> bool {
        match self {
            Self::Refused(status) => status.code == 410,
            // an event that cannot be read would come again at the same version
            Self::Client(error) => matches!(**error, kube::Error::SerdeError(_)),
            Self::Silent | Self::Cut | Self::NoVersion => false,
        }
    }
}

struct Watch<K> {
    api: Api<Incoming<K>>,
    kind: String,
    labels: Option<String>,
    store: Store<K>,
    heartbeat: Heartbeat,
    changes: Changes,
}

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Lists, then watches, for ever; lists again when that is asked for.
    async fn run(self, mut reader: Reader) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut reported: Option<(String, Instant)> = None;
        let mut version: Option<String> = None;
        let mut failed = 0;
        loop {
            self.heartbeat.turn();
            let outcome = match &mut version {
                None => {
                    let begun = reader.begin();
                    self.list().await.map(|listed| {
                        version = Some(listed);
                        reader.end(begun);
                    })
                }
                Some(followed) => tokio::select! {
                    outcome = self.session(followed) => outcome,
                    () = reader.asked() => {
                        version = None;
                        continue;
                    }
                },
            };
            match outcome {
                Ok(()) => {
                    self.heartbeat.ok();
                    if reported.take().is_some() {
                        info!(kind = self.kind, "reading again");
                    }
                    backoff.reset();
                    failed = 0;
                }
                Err(error) => {
                    failed += 1;
                    if error.needs_list() || failed >= STUBBORN {
                        version = None;
                    }
                    let trouble = self.trouble(&error);
                    self.heartbeat.fail(&trouble);
                    self.tell(&mut reported, trouble);
                    sleep(backoff.wait()).await;
                }
            }
        }
    }

    /// Reads every object, page by page, and takes them together.
    async fn list(&self) -> Result<String, WatchError> {
        let mut objects = Vec::new();
        let mut params =
            ListParams { label_selector: self.labels.clone(), ..ListParams::default() }.limit(PAGE);
        loop {
            let page = deadline(self.api.list(&params)).await.ok_or(WatchError::Silent)??;
            self.heartbeat.turn();
            objects.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => {
                    let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                    let version = version.ok_or(WatchError::NoVersion)?;
                    debug!(kind = self.kind, objects = objects.len(), "listed");
                    self.store.replace(objects);
                    for (object, error) in self.store.undecodable() {
                        self.name_undecodable(&object, &error);
                    }
                    self.changes.anything();
                    return Ok(version);
                }
            }
        }
    }

    /// Follows changes until the API server ends the request.
    async fn session(&self, version: &mut String) -> Result<(), WatchError> {
        let params = WatchParams {
            label_selector: self.labels.clone(),
            timeout: u32::try_from(SESSION.as_secs()).ok(),
            ..WatchParams::default()
        };
        let events = deadline(self.api.watch(&params, version)).await.ok_or(WatchError::Silent)??;
        self.heartbeat.ok();
        let began = Instant::now();
        let mut events = events.boxed();
        loop {
            let next = timeout(SESSION + MARGIN, events.try_next()).await.map_err(|_| WatchError::Silent)?;
            let Some(event) = next? else {
                // a server that ends every session at once must not be asked without a pause
                return if began.elapsed() < WORTHWHILE { Err(WatchError::Cut) } else { Ok(()) };
            };
            self.heartbeat.ok();
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version_of(&object, version);
                    if let Err(undecoded) = &object.0 {
                        let Undecoded { meta, error, .. } = &**undecoded;
                        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
                        self.name_undecodable(&place(namespace, name), error);
                    }
                    let meta = object.meta().clone();
                    self.store.apply(object);
                    self.changes.seen(&meta);
                }
                WatchEvent::Deleted(object) => {
                    version_of(&object, version);
                    self.store.delete(&object);
                    self.changes.seen_gone(object.meta());
                }
                WatchEvent::Bookmark(bookmark) => *version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(WatchError::Refused(status)),
            }
        }
    }

    fn name_undecodable(&self, object: &str, error: &str) {
        warn!(
            kind = self.kind,
            object, error, "cannot be decoded: left out, and held against what it may be about"
        );
    }

    /// The error, with what helps.
    fn trouble(&self, error: &WatchError) -> String {
        let kind = &self.kind;
        match error {
            // for a kind that it does not know, the answer is plain text, and the code is all there is
            WatchError::Refused(status) if status.code == 404 => format!(
                "the cluster does not know `{kind}`; help: apply the definitions with \
                 `concordat crds | kubectl apply --server-side -f -`"
            ),
            WatchError::Refused(status) if status.code == 403 => {
                format!(
                    "`{kind}` may not be read: {}; help: bind the operator's account to its role",
                    status.message
                )
            }
            error => format!("`{kind}` cannot be read: {}", chain(error)),
        }
    }

    fn tell(&self, reported: &mut Option<(String, Instant)>, trouble: String) {
        let known = reported.as_ref().is_some_and(|(text, at)| *text == trouble && at.elapsed() < REMIND);
        if !known {
            warn!("{trouble}; trying again");
            *reported = Some((trouble, Instant::now()));
        }
    }
}

fn place(namespace: Option<&str>, name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

fn version_of<K: Resource>(object: &Incoming<K>, version: &mut String) {
    if let Some(seen) = &object.meta().resource_version {
        version.clone_from(seen);
    }
}
