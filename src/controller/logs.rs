//! Log lines, on stderr: for people on a terminal, or as JSON for machines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::LogFormat;

/// Sets up logging for the process. `RUST_LOG` chooses what is shown. A second call changes nothing.
pub(super) fn init(format: LogFormat) {
    // the client's own lines say once more what the watches and the executor say with its meaning
    let usual = || EnvFilter::new("warn,concordat=info,kube_client=off");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| usual());
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _set_before = match format {
        LogFormat::Human => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
