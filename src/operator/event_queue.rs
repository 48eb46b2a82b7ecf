//! Sends events beside everything else: one that hangs or is refused holds up no write, and is sent again for a while.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::events::v1::Event;
use kube::api::PostParams;
use kube::{Api, Client, Error, ResourceExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::backoff::Backoff;
use super::call::{chain, deadline};

/// How many wait at most. Whoever has that many has no use for one more.
const MOST: usize = 20_000;
/// How many calls are under way at once. What waits for its next try is none.
const AT_ONCE: usize = 8;
/// How long one is tried: after that it is no news.
const WORTHWHILE: Duration = Duration::from_secs(600);

/// Where events are put.
#[derive(Clone, Debug)]
pub(super) struct EventQueue(mpsc::Sender<Event>);

impl EventQueue {
    /// The queue, and the task that sends what is in it until the queue is gone and empty.
    pub(super) fn new(client: Client) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, events) = mpsc::channel(MOST);
        (Self(queue), send_all(client, events))
    }

    /// Puts one at the end. It has a name, so that it is made once however often it is sent.
    pub(super) fn put(&self, event: Event) {
        if self.0.try_send(event).is_err() {
            warn!("no event is sent: too many wait, or the operator ends");
        }
    }
}

async fn send_all(client: Client, mut events: mpsc::Receiver<Event>) {
    let calls = Semaphore::new(AT_ONCE);
    let mut under_way = FuturesUnordered::new();
    let mut is_over = false;
    while !is_over || !under_way.is_empty() {
        tokio::select! {
            event = events.recv(), if !is_over && under_way.len() < MOST => match event {
                Some(event) => under_way.push(send(&client, &calls, event)),
                None => is_over = true,
            },
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
        }
    }
}

/// Sends one, as often as it takes.
async fn send(client: &Client, calls: &Semaphore, event: Event) {
    let api: Api<Event> = Api::namespaced(client.clone(), &event.namespace().unwrap_or_default());
    let begun = Instant::now();
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    while begun.elapsed() < WORTHWHILE {
        let made = {
            // the semaphore is never closed
            let _call = calls.acquire().await.ok();
            deadline(api.create(&PostParams::default(), &event)).await
        };
        match made {
            Some(Ok(_made)) => return,
            // its answer was lost
            Some(Err(Error::Api(status))) if status.is_already_exists() => return,
            // its namespace is gone, and with it whoever would hear of it
            Some(Err(Error::Api(status))) if status.is_not_found() => return,
            Some(Err(error)) => debug!(event = event.name_any(), error = chain(&error), "no event was made"),
            None => debug!(event = event.name_any(), "no event was made in time"),
        }
        sleep(backoff.wait()).await;
    }
    warn!(reason = event.reason, note = event.note, "this event could not be made");
}
