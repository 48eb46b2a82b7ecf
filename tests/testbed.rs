//! The test bed keeps what it promises: a real API server, built once, that never outlives a run.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail as loudly as the test")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use support::{ControlPlane, KUBECONFIG_VARIABLE, Origin, Process};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn the_shared_control_plane_answers() {
    let version = version(support::kubeconfig().unwrap());
    assert_eq!(version.major, "1", "{version:?}");
}

#[test]
fn our_own_is_the_version_that_go_mod_names_and_ends_when_its_parent_does() {
    if !ours() {
        return;
    }
    let plane = ControlPlane::start_embedded().unwrap();
    assert_eq!(plane.origin(), Origin::Embedded);
    let version = version(plane.kubeconfig());
    assert_eq!(version.git_version, support::kubernetes_version().unwrap());

    let folder = plane.kubeconfig().parent().unwrap().to_owned();
    assert!(folder.join("etcd").is_dir());
    // The end of the pipe is all it gets: no signal.
    plane.abandon(SOON).unwrap();
    assert!(!folder.exists(), "{} is left", folder.display());
}

#[test]
fn a_second_start_uses_the_binary_that_the_first_one_built() {
    if !ours() {
        return;
    }
    let first = support::controlplane_binary().unwrap();
    let inode = fs::metadata(&first).unwrap().ino();
    let second = support::controlplane_binary().unwrap();
    assert_eq!((&second, fs::metadata(&second).unwrap().ino()), (&first, inode));
}

#[test]
fn of_the_binaries_the_two_used_last_are_kept() {
    let cache = tempfile::tempdir().unwrap();
    for (name, age) in [("controlplane-a", 1), ("controlplane-b", 3), ("controlplane-c", 2), ("lock", 9)] {
        let file = fs::File::create(cache.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age * 3600)).unwrap();
    }
    support::prune(cache.path()).unwrap();
    let mut left: Vec<String> = fs::read_dir(cache.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["controlplane-a", "controlplane-c", "lock"]);
}

#[test]
fn a_wait_ends_with_what_it_waited_for_and_the_end_of_the_log() {
    let mut command = Command::new("sh");
    let mut process =
        Process::start("the server", command.args(["-c", "echo disk on fire >&2; cat >/dev/null"])).unwrap();
    let error = process.wait_for("its readiness", Duration::from_millis(300), || Ok(None::<()>)).unwrap_err();
    assert!(error.starts_with("waited 0.3 s for its readiness\n"), "{error}");
    assert!(error.ends_with("the end of the log of the server:\n  disk on fire"), "{error}");
}

#[test]
fn a_wait_ends_early_when_the_server_does() {
    let mut command = Command::new("sh");
    let mut process =
        Process::start("the server", command.args(["-c", "echo no such flag >&2; exit 3"])).unwrap();
    let error = process.wait_for("its readiness", SOON, || Ok(None::<()>)).unwrap_err();
    assert_eq!(
        error,
        "the server ended (exit status: 3) before its readiness\n\
         the end of the log of the server:\n  no such flag"
    );
}

#[test]
fn a_program_that_does_not_watch_its_input_is_ended_all_the_same() {
    let arguments = ["-c".to_owned(), "exec sleep 600".to_owned()];
    let mut process = Process::start_guarded("a sleeper", Path::new("/bin/sh"), &arguments).unwrap();
    let pid = process.pid();
    assert!(runs(pid));
    process.abandon(SOON).unwrap();
    assert!(!runs(pid));
}

#[test]
fn unique_names_are_labels_that_differ() {
    let long = support::unique(&"a".repeat(60));
    assert!(long.len() <= 63, "{long}");
    let [first, second] = [support::unique("chorley"), support::unique("chorley")];
    assert_ne!(first, second);
    for name in [&first, &second, &long] {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
    }
}

#[test]
fn testbed_passes_the_exit_code_and_the_kubeconfig_on() {
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let path = kubeconfig.path().to_str().unwrap();
    let print = "echo $CONCORDAT_TEST_KUBECONFIG $KUBECONFIG; exit 7";

    let output = testbed(path, &["--", "sh", "-c", print]).env_remove("KUBECONFIG").output().unwrap();
    assert_eq!(said(&output), (Some(7), format!("{path} {path}\n")));

    let output = testbed(path, &["sh", "-c", print]).env("KUBECONFIG", "mine").output().unwrap();
    assert_eq!(said(&output), (Some(7), format!("{path} mine\n")));
}

#[test]
fn testbed_stops_what_the_command_started_when_it_is_told_to_stop() {
    assert_eq!(stopped_by("TERM"), (Some(128 + 15), None));
}

#[test]
fn testbed_leaves_nothing_running_when_it_is_killed() {
    assert_eq!(stopped_by("KILL"), (None, Some(9)));
}

/// What a newcomer types first. It starts a control plane of its own, as it does for them.
#[test]
fn the_demonstration_shows_what_opens_and_closes_and_leaves_nothing() {
    if !ours() {
        return;
    }
    let mut demo = Command::new(built("demo"));
    demo.env_remove(KUBECONFIG_VARIABLE).env_remove("KUBECONFIG").stdin(Stdio::null());
    let (code, text) = said(&demo.output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    let shown =
        ["everything is written after", "closed after", "everything that this demonstration made is gone"];
    let places: Vec<Option<usize>> = shown.iter().map(|words| text.find(words)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {text}");
    let pid =
        text.split("the operator runs as process ").nth(1).and_then(|rest| rest.split_whitespace().next());
    assert!(!runs(pid.unwrap().parse().unwrap()), "the operator still runs");
}

/// Sends a signal to a testbed whose command has started another, and waits until all of them have ended.
fn stopped_by(signal: &str) -> (Option<i32>, Option<i32>) {
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let path = kubeconfig.path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script = format!("sleep 600 & echo $$ $! >{0}.new; mv {0}.new {0}; wait", pids.display());
    let mut child = testbed(path, &["--", "sh", "-c", &script]).spawn().unwrap();

    let text = support::until("the command to run", SOON, || Ok(fs::read_to_string(&pids).ok())).unwrap();
    let pids: Vec<u32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");

    let kill = format!("kill -s {signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let status = support::until("testbed to end", 3 * SOON, || child.try_wait().map_err(|e| e.to_string()));
    support::until("the command to end", SOON, || Ok((!pids.iter().any(|pid| runs(*pid))).then_some(())))
        .unwrap();
    let status = status.unwrap();
    (status.code(), status.signal())
}

/// Whether this run uses our own program. Where it uses another cluster, Go need not be there.
fn ours() -> bool {
    let ours = support::control_plane().unwrap().origin() == Origin::Embedded;
    if !ours {
        support::note("skipped: this run does not use the control plane that is tested here");
    }
    ours
}

fn version(kubeconfig: &Path) -> k8s_openapi::apimachinery::pkg::version::Info {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let file = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap().apiserver_version().await.unwrap()
    })
}

/// An example that `cargo test` has built next to us.
fn built(example: &str) -> PathBuf {
    let examples = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples");
    let program = examples.join(example);
    assert!(program.is_file(), "first run `cargo build --example {example}`");
    program
}

/// The test bed. It gets a kubeconfig, and so starts nothing of its own.
fn testbed(kubeconfig: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(built("testbed"));
    command.args(arguments).env(KUBECONFIG_VARIABLE, kubeconfig).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A process that ended and was not yet waited for does not run.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}
