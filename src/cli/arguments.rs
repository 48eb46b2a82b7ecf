//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::live::Connection;
use super::output::Printer;
use concordat_api::ObjectRef;
use concordat_core::clusters;
use concordat_core::names::{LABEL_VALUE, is_label_value};
use concordat_core::plan::{Dns, DnsServer};
use concordat_core::snapshot::{ClusterView, Snapshot};
use concordat_core::validate::shape::nearest;

/// What is judged: files, or a live cluster.
#[derive(Args, Clone, Debug)]
pub(super) struct Input {
    /// Files and folders of manifests; `-` is standard input [default: .].
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Read a live cluster, and not files.
    #[arg(long, conflicts_with = "paths")]
    live: bool,

    /// The kubeconfig of the cluster to read; implies `--live` [default: KUBECONFIG, the usual file, or the pod's own
    /// account].
    #[arg(long, value_name = "FILE", conflicts_with = "paths")]
    kubeconfig: Option<PathBuf>,

    /// The context within the kubeconfig; implies `--live` [default: its current one].
    #[arg(long, value_name = "NAME", conflicts_with = "paths")]
    context: Option<String>,
}

impl Input {
    /// Reads the current context where nothing else is named, as a plugin of kubectl does.
    pub(super) fn default_to_live(&mut self) {
        self.live |= self.paths.is_empty();
    }

    /// The cluster to read; none where files are.
    pub(super) fn cluster(&self) -> Option<Connection<'_>> {
        let Self { paths: _, live, kubeconfig, context } = self;
        (*live || kubeconfig.is_some() || context.is_some())
            .then_some(Connection { kubeconfig: kubeconfig.as_deref(), context: context.as_deref() })
    }

    /// The files and folders to read.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        if self.paths.is_empty() { vec![PathBuf::from(".")] } else { self.paths.clone() }
    }

    /// Whether standard input is among what is read.
    pub(super) fn reads_stdin(&self) -> bool {
        self.paths.iter().any(|path| is_stdin(path))
    }

    /// The arguments as they are typed, each after a blank; those that say what holds anyway are left out.
    pub(super) fn as_typed(&self) -> String {
        let named = self.paths.iter().filter(|path| path.as_os_str() != "." && !is_stdin(path));
        let mut typed: String =
            named.map(|path| format!(" {}", shell(&path.display().to_string()))).collect();
        if self.live {
            typed.push_str(" --live");
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            typed.push_str(&format!(" --kubeconfig {}", shell(&kubeconfig.display().to_string())));
        }
        if let Some(context) = &self.context {
            typed.push_str(&format!(" --context {}", shell(context)));
        }
        typed
    }
}

/// The name of a cluster, as workloads and products can have it: an empty shell variable is none.
pub(super) fn cluster_name(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && is_label_value(text);
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| format!("the name of a cluster is written like a label: {LABEL_VALUE}"))
}

/// The cluster that is looked from.
#[derive(Args, Clone, Debug)]
pub(super) struct Cluster {
    /// Look as the operator of this cluster does: its own name, as `run --cluster` has it [default: everything as one
    /// cluster].
    #[arg(long, value_name = "NAME", value_parser = cluster_name)]
    cluster: Option<String>,
}

impl Cluster {
    /// The view, where a cluster is named.
    pub(super) fn view(&self) -> Option<ClusterView> {
        self.cluster.clone().map(ClusterView::Named)
    }

    /// Whether an object names the cluster, or none is asked for. A name that no object bears is a slip, of which an
    /// answer about nothing would say nothing.
    pub(super) fn is_known(&self, snapshot: &Snapshot, printer: &mut Printer) -> bool {
        let Some(wanted) = &self.cluster else {
            return true;
        };
        let names = clusters::names(snapshot);
        if names.contains(wanted) {
            return true;
        }
        let all = || names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let help = match nearest(wanted, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`? the objects name {}", all()),
            None if names.is_empty() => {
                "no object names any cluster: leave `--cluster` out, or name it in each workload and product"
                    .to_owned()
            }
            None => format!("the objects name {}", all()),
        };
        printer.error(format!("no object names cluster `{wanted}`"), Some(&help));
        false
    }
}

/// Where the cluster that is looked at resolves names.
#[derive(Args, Clone, Debug)]
pub(super) struct DnsServers {
    /// Where Managed functions may resolve names: `NAMESPACE:PORT`, with `,LABEL=VALUE` for some of its pods, or
    /// `ADDRESS:PORT`. May be repeated. On OpenShift: `openshift-dns:5353` [default: kube-system:53 and 169.254.20.10:53].
    #[arg(long, value_name = "SERVER")]
    dns: Vec<DnsServer>,
}

impl DnsServers {
    pub(super) fn servers(&self) -> Dns {
        Dns::new(self.dns.clone())
    }
}

/// The moment that everything is judged at.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The moment to judge at, such as 2026-04-01T00:00:00Z, or a date for its first moment in UTC [default: now].
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
}

impl Moment {
    /// Whether no one chose the moment.
    pub(super) fn is_default(self) -> bool {
        self.at.is_none()
    }

    /// The moment that was asked for, or now, to the second.
    pub(super) fn timestamp(self) -> Timestamp {
        self.at.unwrap_or_else(now)
    }
}

/// Now, to the second.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Reads a moment, or a date for its first moment in UTC.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    // a time without an offset would be read as its date alone
    let date: Option<Date> = if text.contains(['T', 't', ' ']) { None } else { text.parse().ok() };
    date.and_then(|date| date.to_zoned(TimeZone::UTC).ok())
        .map(|moment| moment.timestamp())
        .ok_or_else(|| "write a moment as 2026-04-01T00:00:00Z or +01:00, or a date as 2026-04-01".to_owned())
}

/// Reads the name of a namespaced object.
pub(super) fn reference(text: &str) -> Result<ObjectRef, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err("write it as namespace/name, such as chorley-council/assisted-bins".to_owned()),
    }
}

/// Whether a path means standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A word as a shell reads it.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_timestamp_or_a_date() {
        let midnight: Timestamp = "2026-04-01T00:00:00Z".parse().unwrap();
        for text in ["2026-04-01T00:00:00Z", "2026-04-01T01:00:00+01:00", "2026-04-01"] {
            assert_eq!(moment(text), Ok(midnight), "{text}");
        }
        for text in ["", "now", "tomorrow", "2026-13-01", "2026-04-01T25:00:00Z", "2026-04-01T00:00:00"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_agreement_is_named_with_its_namespace() {
        assert_eq!(reference("a/b"), Ok(ObjectRef { namespace: "a".to_owned(), name: "b".to_owned() }));
        for text in ["a", "a/", "/b", "a/b/c", ""] {
            assert!(reference(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_is_written_as_a_shell_reads_it() {
        assert_eq!(shell("examples/s01-a_b"), "examples/s01-a_b");
        assert_eq!(shell("it's here"), "'it'\\''s here'");
        assert_eq!(shell(""), "''");
    }

    #[test]
    fn what_is_read_is_typed_again() {
        let paths = [".", "a b", "-"].map(PathBuf::from).to_vec();
        let files = Input { paths, live: false, kubeconfig: None, context: None };
        assert_eq!(files.as_typed(), " 'a b'");
        let (kubeconfig, context) = (Some(PathBuf::from("k c")), Some("north".to_owned()));
        let live = Input { paths: Vec::new(), live: true, kubeconfig, context };
        assert_eq!(live.as_typed(), " --live --kubeconfig 'k c' --context north");
    }
}
