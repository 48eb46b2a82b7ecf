//! A Kubernetes API server for a test run, from wherever there is one.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::assets;
use super::binary::controlplane_binary;
use super::process::{Process, note};

/// Where set, the kubeconfig of a control plane that is running already and that others own. `testbed` sets it.
pub const KUBECONFIG_VARIABLE: &str = "CONCORDAT_TEST_KUBECONFIG";

/// Next to [`KUBECONFIG_VARIABLE`], the name of that control plane's [`Origin`].
pub const ORIGIN_VARIABLE: &str = "CONCORDAT_TEST_ORIGIN";

/// Four seconds when nothing else runs.
const START_LIMIT: Duration = Duration::from_secs(150);

/// Where a control plane came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `KUBECONFIG`: somebody's cluster. Never stopped.
    External,
    /// `KUBEBUILDER_ASSETS`: etcd and kube-apiserver from there. No controllers: a deleted namespace stays.
    Assets,
    /// Our own program, with the controllers that matter.
    Embedded,
}

impl Origin {
    /// As [`ORIGIN_VARIABLE`] has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Assets => "assets",
            Self::Embedded => "embedded",
        }
    }

    fn of(name: &OsStr) -> Self {
        [Self::Assets, Self::Embedded]
            .into_iter()
            .find(|origin| name == origin.name())
            .unwrap_or(Self::External)
    }
}

/// A control plane, stopped when dropped if we started it.
#[derive(Debug)]
pub struct ControlPlane {
    origin: Origin,
    kubeconfig: PathBuf,
    // In the order in which they are to stop; the folder goes last.
    processes: Vec<Process>,
    folder: Option<tempfile::TempDir>,
}

impl ControlPlane {
    /// Takes the first there is: the one `testbed` shares, the cluster of `KUBECONFIG`, the programs in
    /// `KUBEBUILDER_ASSETS`, our own program. Waits until it answers. Building our own takes minutes the first
    /// time, with progress on standard error.
    ///
    /// # Errors
    ///
    /// Says what could not be started or was waited for, with the end of the log.
    pub fn start() -> Result<Self, String> {
        if let Some(path) = variable(KUBECONFIG_VARIABLE) {
            let origin = variable(ORIGIN_VARIABLE).unwrap_or_default();
            return Self::existing(Origin::of(&origin), KUBECONFIG_VARIABLE, &path);
        }
        if let Some(path) = variable("KUBECONFIG") {
            let plane = Self::existing(Origin::External, "KUBECONFIG", &path)?;
            note(&format!("control plane: the cluster of KUBECONFIG, {}", plane.kubeconfig.display()));
            return Ok(plane);
        }
        if let Some(folder) = variable("KUBEBUILDER_ASSETS") {
            return Self::start_assets(Path::new(&folder));
        }
        Self::start_embedded()
    }

    /// Starts our own program, whatever the environment says.
    pub fn start_embedded() -> Result<Self, String> {
        let program = controlplane_binary()?;
        let folder = temporary_folder()?;
        let mut process = Process::start(
            "the control plane",
            Command::new(program).arg("--dir").arg(folder.path()).env_remove("KUBECONFIG"),
        )?;

        let (sender, first_line) = channel();
        if let Some(stdout) = process.stdout() {
            thread::spawn(move || sender.send(BufReader::new(stdout).lines().next()));
        }
        let line =
            process.wait_for("its ready line", START_LIMIT, || Ok(first_line.try_recv().ok().flatten()))?;
        let line = line.map_err(|error| format!("the ready line of the control plane: {error}"))?;
        let ready: serde_json::Value = serde_json::from_str(&line)
            .map_err(|error| format!("the ready line of the control plane, `{line}`: {error}"))?;
        let kubeconfig = ready
            .get("kubeconfig")
            .and_then(serde_json::Value::as_str)
            .map(PathBuf::from)
            .ok_or_else(|| format!("no `kubeconfig` in the ready line of the control plane, `{line}`"))?;
        Ok(Self { origin: Origin::Embedded, kubeconfig, processes: vec![process], folder: Some(folder) })
    }

    /// Starts etcd and kube-apiserver from a folder as `setup-envtest` makes it.
    pub fn start_assets(programs: &Path) -> Result<Self, String> {
        let folder = temporary_folder()?;
        let (kubeconfig, processes) = assets::start(programs, folder.path())?;
        Ok(Self { origin: Origin::Assets, kubeconfig, processes, folder: Some(folder) })
    }

    /// Its kubeconfig, with an administrator as the current context.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where it came from, also if it is another process that started it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Its processes, if we started them.
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// Lets go of it as the sudden end of this process would, and waits for it to end by itself.
    pub fn abandon(mut self, limit: Duration) -> Result<(), String> {
        self.processes.iter_mut().try_for_each(|process| process.abandon(limit))
    }

    fn existing(origin: Origin, name: &str, value: &OsStr) -> Result<Self, String> {
        // KUBECONFIG may be a list. Merging it is the client's business; a test needs the one in front.
        let kubeconfig = std::env::split_paths(value)
            .find(|path| path.is_file())
            .ok_or_else(|| format!("{name} is `{}`, which is not a file", value.display()))?;
        Ok(Self { origin, kubeconfig, processes: Vec::new(), folder: None })
    }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn temporary_folder() -> Result<tempfile::TempDir, String> {
    tempfile::Builder::new()
        .prefix("concordat-")
        .tempdir()
        .map_err(|error| format!("a folder for the control plane: {error}"))
}
