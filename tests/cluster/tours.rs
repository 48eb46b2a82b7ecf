//! The tour of a platform engineer, and the README: every transcript is what its commands print, on an API server of
//! their own with nothing else in it.
//!
//! There is no kubelet, so no pod runs. The operator runs as a process, with the arguments of the chart's Deployment and a
//! token of the chart's account. The real clock goes on, so the dates of the example are moved to today.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::folders::today::Today;
use crate::support::{ControlPlane, Origin, Process};
use crate::transcript::Bed;
use crate::{support, transcript, turn};

#[test]
fn kubectl_is_at_hand() {
    assert!(support::kubectl::program().unwrap().components().count() > 0);
}

#[test]
fn the_tour_of_a_platform_engineer_is_true() {
    holds("docs/tours/platform.md", Rights::OfTheChart);
}

#[test]
fn the_readme_is_true() {
    holds("README.md", Rights::OfTheReader);
}

/// Whose rights the operator of a page has.
#[derive(Clone, Copy)]
enum Rights {
    /// The account that Helm installed.
    OfTheChart,
    /// Whoever types the commands.
    OfTheReader,
}

/// Runs a page. The operator runs while there is a file `operator.wanted`, which a command of the page makes and removes,
/// and there is `operator.runs` as long as it does.
fn holds(page: &str, rights: Rights) {
    let _turn = turn();
    let Some(plane) = own_control_plane() else {
        support::note(&format!("{page} is not run: it wants a cluster with nothing else in it"));
        return;
    };
    let today = Today::of_folder(Path::new("examples/s01-chorley-assisted-bins"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubectl = support::kubectl::program().unwrap();
    let programs = tempfile::tempdir().unwrap();
    command(kubectl, &programs.path().join("kubectl"));
    command(support::helm::program().unwrap(), &programs.path().join("helm"));
    let concordat = Path::new(env!("CARGO_BIN_EXE_concordat"));
    let path = [programs.path(), concordat.parent().unwrap()].map(|folder| folder.display().to_string());
    let path = format!("{}:{}", path.join(":"), std::env::var("PATH").unwrap_or_default());
    let kubeconfig = plane.kubeconfig().display().to_string();

    let ended = AtomicBool::new(false);
    let shared: Mutex<Option<std::path::PathBuf>> = Mutex::new(None);
    let prepare = |folder: &Path| {
        std::fs::copy(Path::new("tests/tours/values.yaml"), folder.join("values.yaml")).unwrap();
        *shared.lock().unwrap() = Some(folder.to_owned());
    };
    let bed = Bed {
        environment: vec![
            ("PATH", path),
            ("KUBECONFIG", kubeconfig),
            ("OPERATOR", format!("http://127.0.0.1:{port}")),
        ],
        prepare: Some(&prepare),
        today: Some(&today),
    };
    std::thread::scope(|scope| {
        let operator = scope.spawn(|| {
            let mut running: Option<Process> = None;
            while !ended.load(Ordering::Relaxed) {
                if let Some(folder) = shared.lock().unwrap().clone() {
                    let runs = folder.join("operator.runs");
                    match (folder.join("operator.wanted").exists(), &running) {
                        (true, None) => {
                            running = Some(start(kubectl, plane.kubeconfig(), &folder, port, rights));
                            std::fs::write(runs, "").unwrap();
                        }
                        (false, Some(_)) => {
                            running = None;
                            // at the end of a page its folder goes
                            let _ = std::fs::remove_file(runs);
                        }
                        (true, Some(_)) | (false, None) => {}
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            running.map(|running| running.tail())
        });
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| transcript::holds(page, &bed)));
        ended.store(true, Ordering::Relaxed);
        let tail = operator.join().unwrap();
        if let Err(panic) = outcome {
            support::note(&tail.unwrap_or_default());
            std::panic::resume_unwind(panic);
        }
    });
}

/// A control plane that no one else uses. None where tests are told to use somebody's cluster.
fn own_control_plane() -> Option<ControlPlane> {
    let shared = support::control_plane().unwrap();
    (shared.origin() == Origin::Embedded).then(|| ControlPlane::start_embedded().unwrap())
}

/// A command of that name which runs the program.
fn command(program: &Path, name: &Path) {
    std::fs::write(name, format!("#!/bin/sh\nexec {} \"$@\"\n", program.display())).unwrap();
    std::fs::set_permissions(name, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The operator as a page has it.
fn start(kubectl: &Path, kubeconfig: &Path, folder: &Path, port: u16, rights: Rights) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concordat"));
    match rights {
        Rights::OfTheReader => {
            command.arg("run").arg("--kubeconfig").arg(kubeconfig);
        }
        Rights::OfTheChart => {
            let ask = |arguments: &[&str]| {
                let mut command = Command::new(kubectl);
                command.arg("--kubeconfig").arg(kubeconfig).args(["-n", "concordat-system"]).args(arguments);
                let output = command.output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                String::from_utf8(output.stdout).unwrap()
            };
            let deployed = ask(&["get", "deployment", "concordat-operator", "-o", "json"]);
            let deployed: Value = serde_json::from_str(&deployed).unwrap();
            let arguments = deployed.pointer("/spec/template/spec/containers/0/args").unwrap();
            let arguments: Vec<String> = serde_json::from_value(arguments.clone()).unwrap();
            let token = ask(&["create", "token", "concordat-operator"]);
            let mut file: Value =
                serde_saphyr::from_str(&std::fs::read_to_string(kubeconfig).unwrap()).unwrap();
            for user in file["users"].as_array_mut().unwrap() {
                user["user"] = json!({ "token": token.trim() });
            }
            let account = folder.join("operator.kubeconfig");
            std::fs::write(&account, file.to_string()).unwrap();
            command.args(arguments.iter().filter(|it| !it.starts_with("--health-addr")));
            command.arg("--kubeconfig").arg(account);
        }
    }
    command.arg(format!("--health-addr=127.0.0.1:{port}"));
    Process::start("operator", &mut command).unwrap()
}
