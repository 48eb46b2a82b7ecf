//! What has a whole API server to itself: the charts, the operator on the examples and on the local variations,
//! `check --live`, the README and the tour of the platform.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

#[path = "../folders/mod.rs"]
mod folders;
#[path = "../support/mod.rs"]
mod support;
#[path = "../tours/transcript.rs"]
mod transcript;

mod charts;
mod check;
mod local_variations;
mod scenarios;
mod signing;
mod tours;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use support::scenario::Cluster;

/// The longest that anything may take that a test waits for.
const SOON: Duration = Duration::from_secs(60);

/// An operator sees its whole cluster, and its policies rule it: one test at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shared cluster, with the definitions in it, until the turn is over.
fn shared_cluster() -> (MutexGuard<'static, ()>, &'static Path, Cluster) {
    let turn = turn();
    let kubeconfig = support::kubeconfig().unwrap();
    let mut cluster = Cluster::connect(kubeconfig).unwrap();
    cluster.install_definitions().unwrap();
    (turn, kubeconfig, cluster)
}
