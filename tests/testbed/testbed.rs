//! Runs a command against a real Kubernetes API server, and leaves nothing behind.
//!
//! ```sh
//! cargo run --example testbed -- cargo test
//! cargo run --example testbed -- kubectl get namespaces
//! ```
//!
//! The command finds the API server in `CONCORDAT_TEST_KUBECONFIG`, and in `KUBECONFIG` if that was not set.
//! Its exit code is passed on. An interrupt stops both.

#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use support::{ControlPlane, KUBECONFIG_VARIABLE, ORIGIN_VARIABLE, note};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).peekable();
    words.next_if(|word| word == "--");
    let Some(program) = words.next() else {
        note(
            "usage: testbed [--] COMMAND [ARGUMENT…]\n\nRuns the command with CONCORDAT_TEST_KUBECONFIG set.",
        );
        return ExitCode::from(2);
    };
    let arguments = words.collect();

    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(run(program, arguments)));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            note(&format!("testbed: {message}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(program: OsString, arguments: Vec<OsString>) -> Result<u8, String> {
    let mut signals = Signals::new().map_err(|error| format!("signals: {error}"))?;

    let mut start = tokio::task::spawn_blocking(ControlPlane::start);
    let plane = tokio::select! {
        plane = &mut start => plane.map_err(|error| error.to_string())??,
        number = signals.next() => {
            support::stop();
            // It cleans up, and says why it ended, which we know.
            let _ = start.await;
            return Ok(128 + number);
        }
    };

    let mut command = command(&program, arguments, &plane);
    // Under a terminal the command must stay in the foreground group, where Ctrl-C reaches it. Elsewhere a
    // group of its own lets us stop all that it started.
    let own_group = !std::io::stdin().is_terminal();
    if own_group {
        command.process_group(0);
    }
    let mut child =
        command.spawn().map_err(|error| format!("`{}` did not start: {error}", program.display()))?;
    let group = own_group.then(|| child.id()).flatten();
    let mut guard = group.map(guard).transpose().map_err(|error| format!("the guard: {error}"))?;

    let code = tokio::select! {
        status = child.wait() => exit_code(status.map_err(|error| error.to_string())?),
        number = signals.next() => {
            end(&mut child, group, number).await;
            128 + number
        }
    };
    if let Some(group) = group {
        // Whatever the command left running.
        send("KILL", &format!("-{group}")).await;
    }
    if let Some(guard) = &mut guard {
        // It must not act later, when the group's number may be somebody else's.
        let _ = guard.kill().await;
    }
    drop(plane);
    Ok(code)
}

fn command(program: &OsString, arguments: Vec<OsString>, plane: &ControlPlane) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command.env(KUBECONFIG_VARIABLE, plane.kubeconfig()).env(ORIGIN_VARIABLE, plane.origin().name());
    if std::env::var_os("KUBECONFIG").is_none_or(|value| value.is_empty()) {
        command.env("KUBECONFIG", plane.kubeconfig());
    }
    // What `cargo run` told us about ourselves would make a `cargo` below us compile dependencies again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"]
            .iter()
            .any(|own| text.starts_with(own))
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Ends the group if we are ended in a way that leaves us no time: the pipe to the guard closes with us.
fn guard(group: u32) -> std::io::Result<Child> {
    Command::new("sh")
        .args(["-c", "cat >/dev/null; kill -s KILL -- \"-$1\"", "sh", &group.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Asks the command to end, then makes it.
async fn end(child: &mut Child, group: Option<u32>, number: u8) {
    let Some(id) = child.id() else { return };
    let target = group.map_or_else(|| id.to_string(), |group| format!("-{group}"));
    // A terminal has sent its interrupt to the command as well.
    if group.is_some() || number != 2 {
        send("TERM", &target).await;
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        send("KILL", &target).await;
        let _ = child.wait().await;
    }
}

/// Sends a signal by the shell, which every system has. The target may be gone, which is what we want.
async fn send(name: &str, target: &str) {
    let _ = Command::new("sh")
        .args(["-c", "kill -s \"$1\" -- \"$2\" 2>/dev/null", "sh", name, target])
        .status()
        .await;
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hangup.recv() => 1,
        }
    }
}
