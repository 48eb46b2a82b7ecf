//! `concordat run`: the operator.

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;

use super::Exit;
use super::arguments::{DnsServers, cluster_name};
use super::output::Printer;
use concordat_operator::{DEFAULT_HEALTH_ADDR, DEFAULT_LEASE_NAME, Election, Options};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of this cluster; every workload and product has to name its own then [default: none].
    #[arg(long, value_name = "NAME", value_parser = cluster_name)]
    cluster: Option<String>,

    #[command(flatten)]
    dns: DnsServers,

    /// Where /livez and /readyz answer.
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_HEALTH_ADDR)]
    health_addr: SocketAddr,

    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,

    /// Several replicas run: only the one that holds a lease writes, the others watch and wait.
    #[arg(long)]
    leader_elect: bool,

    /// The namespace of the lease [default: the pod's own, or that of the kubeconfig's context].
    #[arg(long, value_name = "NAMESPACE", requires = "leader_elect")]
    lease_namespace: Option<String>,

    /// The name of the lease.
    #[arg(long, value_name = "NAME", requires = "leader_elect", default_value = DEFAULT_LEASE_NAME)]
    lease_name: String,

    /// The kubeconfig [default: KUBECONFIG, the usual file, or the pod's own account].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The context within the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    let Arguments {
        cluster,
        dns,
        health_addr,
        log_format,
        leader_elect,
        lease_namespace,
        lease_name,
        kubeconfig,
        context,
    } = arguments;
    let options = Options {
        cluster: cluster.clone(),
        health_addr: Some(*health_addr),
        dns: dns.servers(),
        log_format: match log_format {
            LogFormat::Human => concordat_operator::LogFormat::Human,
            LogFormat::Json => concordat_operator::LogFormat::Json,
        },
        election: leader_elect
            .then(|| Election { namespace: lease_namespace.clone(), name: lease_name.clone() }),
        kubeconfig: kubeconfig.clone(),
        context: context.clone(),
    };
    match concordat_operator::run_blocking(options) {
        Ok(()) => Exit::Yes,
        Err(error) => {
            let mut message = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                message.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            printer.error(message, None);
            Exit::No
        }
    }
}
