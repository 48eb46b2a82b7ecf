//! The operator: watches the cluster, carries out the plan, and says what has become of it.
//!
//! It adds nothing to what the core says. The watches fill the stores; any change, or the next moment that the plan
//! names, wakes the judging, which reads the stores as a snapshot, judges it and publishes that; the leader carries out
//! the steps that lead from what is there to what is planned. The plan is the one that `concordat plan` prints. Nothing is
//! written when nothing has changed, and nothing before every kind has been read once.

mod backoff;
mod call;
mod changes;
mod event_queue;
mod events;
mod execute;
mod health;
mod judging;
mod lease;
mod logs;
mod metrics;
mod reconcile;
mod relist;
mod tries;
mod watch;
mod written_meta;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::info;

use self::lease::{Candidate, Leadership};
pub use self::lease::{DEFAULT_LEASE_NAME, Election};
use concordat_core::plan::Dns;
use concordat_core::plan::Judge;
use concordat_core::snapshot::ClusterView;
use concordat_source::cluster::Stores;

/// Where the health checks answer, unless another address is given: this machine only.
pub const DEFAULT_HEALTH_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// How long the last events may take at the end.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// How the operator runs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// The name of this cluster. Without one, objects that name a cluster are refused.
    pub cluster: Option<String>,
    /// Where `/livez` and `/readyz` answer; nowhere without one.
    pub health_addr: Option<SocketAddr>,
    /// Where Managed functions resolve names.
    pub dns: Dns,
    pub log_format: LogFormat,
    /// The lease that decides which of several replicas writes; without one, this is the only one.
    pub election: Option<Election>,
    /// The kubeconfig file; without one, `KUBECONFIG`, the usual file, or the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// The context within the kubeconfig.
    pub context: Option<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    #[default]
    Human,
    Json,
}

/// Why the operator could not run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    #[error("could not start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("could not read the kubeconfig")]
    Kubeconfig(#[source] KubeconfigError),
    #[error("found neither a kubeconfig nor a pod's own account")]
    InferConfig(#[source] InferConfigError),
    #[error("could not make a client for the API server")]
    Client(#[source] Box<kube::Error>),
    #[error("could not answer health checks on `{addr}`")]
    Health {
        addr: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("could not listen for signals")]
    Signals(#[source] std::io::Error),
}

/// Runs the operator in a runtime of its own, until the process is asked to end.
pub fn run_blocking(options: Options) -> Result<(), RunError> {
    logs::init(options.log_format);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Runtime)?;
    runtime.block_on(async {
        let client = client(&options).await?;
        run(client, options).await
    })
}

/// Makes a client as the options say.
pub async fn client(options: &Options) -> Result<Client, RunError> {
    client_of(config(options).await?)
}

/// Where the cluster is and who we are there, as the options say.
pub async fn config(options: &Options) -> Result<Config, RunError> {
    let Options { kubeconfig, context, .. } = options;
    let selection = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(path), _) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(RunError::Kubeconfig)?;
            Config::from_custom_kubeconfig(kubeconfig, &selection).await.map_err(RunError::Kubeconfig)?
        }
        (None, Some(_)) => Config::from_kubeconfig(&selection).await.map_err(RunError::Kubeconfig)?,
        (None, None) => Config::infer().await.map_err(RunError::InferConfig)?,
    };
    // the client would sleep for as long as a server's Retry-After says; the loop retries by itself
    config.default_retry = false;
    Ok(config)
}

/// Makes a client of where it goes.
pub fn client_of(config: Config) -> Result<Client, RunError> {
    Client::try_from(config).map_err(|error| RunError::Client(Box::new(error)))
}

/// Runs the operator until the process is asked to end.
pub async fn run(client: Client, options: Options) -> Result<(), RunError> {
    let end = shutdown_signal()?;
    run_until(client, options, end).await
}

/// Runs the operator until `end`. The calls under way are finished, then nothing more is written, and the lease is
/// let go.
pub async fn run_until(
    client: Client,
    options: Options,
    end: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let Options { cluster, health_addr, dns, log_format: _, election, kubeconfig: _, context: _ } = options;
    let view = cluster.clone().map_or(ClusterView::Unnamed, ClusterView::Named);
    info!(cluster, "starting");

    let stores = Stores::default();
    let heartbeats = health::Heartbeats::default();
    let changes = changes::Changes::default();
    let relist = relist::Relist::default();
    let metrics = metrics::Metrics::default();
    let (stop, stopping) = signal::channel(false);
    let (retire, retiring) = signal::channel(false);

    // dropped on the way out, which ends what still runs
    let mut tasks = JoinSet::new();
    let mut candidates = JoinSet::new();
    if let Some(addr) = health_addr {
        let listener = health::bind(addr).await?;
        tasks.spawn(health::serve(listener, heartbeats.clone(), metrics.clone()));
    }
    watch::all(&client, &stores, &heartbeats, &changes, &relist, &mut tasks);
    let leadership = match &election {
        None => Leadership::alone(),
        Some(election) => {
            let (candidate, leadership) = Candidate::new(&client, election, heartbeats.add("lease"));
            candidates.spawn(candidate.run(retiring));
            leadership
        }
    };

    // whoever does not lead watches and judges, and writes nothing
    let (events, sending) = event_queue::EventQueue::new(client.clone());
    let sending = tokio::spawn(sending);
    let executor =
        execute::Executor::new(client, leadership.clone(), changes.clone(), metrics.clone(), events);
    let (judging, judgements) = judging::Judging::new(
        stores.clone(),
        view,
        changes.clone(),
        metrics.clone(),
        heartbeats.add("judging"),
        Judge::new(dns),
    );
    tasks.spawn(judging.run());
    let heartbeat = heartbeats.add("loop");
    let leader = reconcile::Leader {
        judgements,
        executor,
        stores,
        changes,
        relist,
        leadership,
        stopping,
        heartbeat,
        heartbeats,
        metrics,
    };
    let reconcile = leader.run();
    tokio::pin!(reconcile, end);
    tokio::select! {
        () = &mut reconcile => {}
        () = &mut end => {
            info!("stopping: finishing the calls under way");
            // an error means that the loop is over already
            let _ended = stop.send(true);
            reconcile.await;
        }
    }
    // not before the last write is done; an error means that no one stands for election
    let _ended = retire.send(true);
    while candidates.join_next().await.is_some() {}
    // whoever waits to lead does not wait for this
    let _in_time = timeout(LAST_EVENTS, sending).await;
    info!("ended");
    Ok(())
}

/// Ends with the first signal that asks the process to.
#[cfg(unix)]
fn shutdown_signal() -> Result<impl Future<Output = ()> + Send, RunError> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Ends when the process is interrupted.
#[cfg(not(unix))]
fn shutdown_signal() -> Result<impl Future<Output = ()> + Send, RunError> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
