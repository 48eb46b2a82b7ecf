//! The programs that tests need and that come from Go modules: built once per machine, then kept.

use std::fs::{self, File, TryLockError};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};

use super::process::{note, stopping, until};

/// A program, and the module that it is built from.
struct Program {
    name: &'static str,
    /// The folder with its `go.mod`, and the package in it.
    folder: &'static str,
    package: &'static str,
    /// What is built, and how long that takes.
    about: &'static str,
    /// What helps where there is no Go.
    without_go: &'static str,
}

/// etcd, kube-apiserver and a few controllers.
const CONTROL_PLANE: Program = Program {
    name: "control plane",
    folder: "tests/controlplane",
    package: ".",
    about: "building etcd and kube-apiserver from source, a one-off on this machine (about 8 minutes on two cores)",
    without_go: "the test control plane is built from source: install Go 1.26 or newer, or set KUBECONFIG to a \
                 cluster that tests may change, or KUBEBUILDER_ASSETS",
};

/// Helm's own command, at the version that `tests/helm/go.mod` pins.
const HELM: Program = Program {
    name: "helm",
    folder: "tests/helm",
    package: "helm.sh/helm/v4/cmd/helm",
    about: "building it from source, a one-off on this machine (about 2 minutes on two cores after the control plane)",
    without_go: "the charts are tested with Helm, which is built from source: install Go 1.26 or newer, or Helm 3.18 \
                 or newer, and set HELM if it is not on the path",
};

/// kubectl, of the same version as the control plane, whose module it shares.
const KUBECTL: Program = Program {
    name: "kubectl",
    folder: "tests/controlplane",
    package: "k8s.io/kubernetes/cmd/kubectl",
    about: "building it from source, a one-off on this machine (half a minute on two cores after the control plane)",
    without_go: "the tour of the platform is run with kubectl: install kubectl, or Go 1.26 or newer, which builds it",
};

/// kubectl's reader of files on its own, for holding ours to it.
const YAML_READER: Program = Program {
    name: "yaml reader",
    folder: "tests/yaml",
    package: ".",
    about: "building kubectl's reader of files from source, a one-off on this machine (some seconds)",
    without_go: "our reading of files is held to kubectl's, which is built from source: install Go 1.26 or newer",
};

impl Program {
    /// What its files in the cache begin with.
    fn prefix(&self) -> String {
        format!("{}-", self.name.replace(' ', ""))
    }

    fn sources(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.folder)
    }
}

/// How a tool is built that needs no version of its own.
const TOOL_FLAGS: [&str; 3] = ["-mod=readonly", "-trimpath", "-ldflags=-s -w"];

/// Binaries are 60 to 110 MB each: the one in use, and the one of the branch you just came from.
const KEPT: usize = 2;

/// Eight minutes on two idle cores. Far more than that is a machine that will never finish.
const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);

/// How often a build that no one watches on a terminal says that it goes on.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// The control plane, built if this machine has not built it yet, with progress on standard error.
pub fn controlplane_binary() -> Result<PathBuf, String> {
    binary_in(&cache_folder()?)
}

/// The same, with the folder to keep it in.
pub fn binary_in(cache: &Path) -> Result<PathBuf, String> {
    program_in(cache, &CONTROL_PLANE, &build_flags(&CONTROL_PLANE.sources())?)
}

/// Helm, built likewise.
pub fn helm_binary() -> Result<PathBuf, String> {
    program_in(&cache_folder()?, &HELM, &TOOL_FLAGS.map(str::to_owned))
}

/// kubectl, built likewise.
pub fn kubectl_binary() -> Result<PathBuf, String> {
    program_in(&cache_folder()?, &KUBECTL, &TOOL_FLAGS.map(str::to_owned))
}

/// The reader of `tests/yaml`, built likewise.
pub fn yaml_reader_binary() -> Result<PathBuf, String> {
    program_in(&cache_folder()?, &YAML_READER, &TOOL_FLAGS.map(str::to_owned))
}

fn program_in(cache: &Path, program: &Program, flags: &[String]) -> Result<PathBuf, String> {
    let binary = cache.join(format!("{}{}", program.prefix(), key(program, flags)?));
    if use_again(&binary) {
        return Ok(binary);
    }

    fs::create_dir_all(cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    let _lock = lock(cache)?;
    // Another process may have built it while we waited.
    if !use_again(&binary) {
        build(program, flags, cache, &binary)?;
        prune_all(cache, program)?;
    }
    Ok(binary)
}

/// The version of Kubernetes that `go.mod` asks for, such as `v1.36.3`.
pub fn kubernetes_version() -> Result<String, String> {
    version_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane"))
}

/// Removes all control planes but the two used last.
pub fn prune(cache: &Path) -> Result<(), String> {
    prune_all(cache, &CONTROL_PLANE)
}

fn prune_all(cache: &Path, program: &Program) -> Result<(), String> {
    let mut binaries: Vec<(SystemTime, PathBuf)> = entries(cache, &program.prefix())?
        .into_iter()
        .filter_map(|path| Some((fs::metadata(&path).and_then(|data| data.modified()).ok()?, path)))
        .collect();
    binaries.sort();
    for (_, path) in binaries.iter().rev().skip(KEPT) {
        fs::remove_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn cache_folder() -> Result<PathBuf, String> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("concordat"))
        .ok_or_else(|| "there is no place for a cache: set `XDG_CACHE_HOME` or `HOME`".to_owned())
}

/// Whether the binary is there. Its time then says that it was used.
fn use_again(binary: &Path) -> bool {
    let Ok(file) = File::open(binary) else {
        return false;
    };
    // Only matters for which binaries are kept.
    let _ = file.set_modified(SystemTime::now());
    true
}

/// Everything the binary depends on: sources, modules, toolchain, flags.
fn key(program: &Program, flags: &[String]) -> Result<String, String> {
    let sources = &program.sources();
    let mut names = vec!["go.mod".to_owned(), "go.sum".to_owned()];
    for path in entries(sources, "")? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".go") && !name.ends_with("_test.go") {
            names.push(name);
        }
    }
    names.sort();

    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    };
    for name in &names {
        let path = sources.join(name);
        add(name.as_bytes());
        add(&fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    add(go_version(program)?.as_bytes());
    for flag in flags {
        add(flag.as_bytes());
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn go_version(program: &Program) -> Result<String, String> {
    let output = Command::new("go")
        .arg("version")
        .current_dir(program.sources())
        .output()
        .map_err(|error| format!("`go` did not start: {error}\n  help: {}", program.without_go))?;
    if !output.status.success() {
        return Err(format!("`go version` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn version_in(sources: &Path) -> Result<String, String> {
    let path = sources.join("go.mod");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .map(|version| version.trim().to_owned())
        .ok_or_else(|| format!("{}: no version of `k8s.io/kubernetes`", path.display()))
}

/// Without the version flags, clients would see `v0.0.0-master`.
fn build_flags(sources: &Path) -> Result<Vec<String>, String> {
    let version = version_in(sources)?;
    let mut numbers = version.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return Err(format!("`{version}` is not a version of Kubernetes"));
    };
    let package = "k8s.io/component-base/version";
    Ok(vec![
        "-mod=readonly".to_owned(),
        "-trimpath".to_owned(),
        format!(
            "-ldflags=-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} \
             -X {package}.gitMinor={minor}"
        ),
    ])
}

/// Held until dropped; the kernel drops it for us if we are killed.
fn lock(cache: &Path) -> Result<File, String> {
    let path = cache.join("lock");
    let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut told = false;
    until("another process to build from source", BUILD_LIMIT, || match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => {
            if !told {
                note("another process is building from source, waiting");
                told = true;
            }
            Ok(None)
        }
        Err(TryLockError::Error(error)) => Err(format!("{}: {error}", path.display())),
    })?;
    Ok(file)
}

/// Builds in a folder next to the result, so that a rename puts a whole binary in place or none.
fn build(program: &Program, flags: &[String], cache: &Path, binary: &Path) -> Result<(), String> {
    note(&format!("{}: {}", program.name, program.about));
    let sources = program.sources();
    // We hold the lock: whatever lies here was left by a build that was killed.
    for leftover in entries(cache, "building-")? {
        let _ = fs::remove_dir_all(leftover);
    }
    let folder = tempfile::Builder::new()
        .prefix("building-")
        .tempdir_in(cache)
        .map_err(|error| format!("{}: {error}", cache.display()))?;
    let go = |verb: &str, flags: &[String]| {
        let mut command = Command::new("go");
        // Its scratch space goes with the folder, also when we must kill it.
        command.arg(verb).args(flags).current_dir(&sources).env("GOTMPDIR", folder.path());
        command
    };

    let mut progress = Progress::new(program.name);
    let mut total = 0;
    let mut downloaded = 0;
    run(go("list", &["-mod=readonly", "-deps", program.package].map(str::to_owned)), |line| {
        match line {
            Some(Line::Out(_)) => total += 1,
            Some(Line::Err(text)) if text.starts_with("go: downloading ") => downloaded += 1,
            Some(Line::Err(_)) | None => {}
        }
        progress.show(&format!("downloading modules, {downloaded} so far"));
    })?;

    let target = folder.path().join("program");
    let mut arguments = flags.to_vec();
    arguments.extend(["-v", "-o", &target.display().to_string(), program.package].map(str::to_owned));
    let mut compiled = 0;
    run(go("build", &arguments), |line| {
        if let Some(Line::Err(text)) = line
            && !text.starts_with("go: ")
        {
            compiled += 1;
        }
        progress.show(&format!("compiled {compiled} of at most {total} packages"));
    })?;
    fs::rename(&target, binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    progress.end("built");
    Ok(())
}

enum Line {
    Out(String),
    Err(String),
}

/// Runs a command to its end. `seen` gets each line of its output, and now and then none, to show the time.
fn run(mut command: Command, mut seen: impl FnMut(Option<&Line>)) -> Result<(), String> {
    let what = format!(
        "`go {}`",
        command.get_args().next().map(|verb| verb.to_string_lossy().into_owned()).unwrap_or_default()
    );
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{what}: {error}"))?;
    let lines = read_lines(&mut child);
    let begun = Instant::now();
    let mut said: Vec<String> = Vec::new();
    loop {
        match lines.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => {
                seen(Some(&line));
                if let Line::Err(text) = line {
                    said.push(text);
                }
            }
            Err(RecvTimeoutError::Timeout) => seen(None),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if stopping() || begun.elapsed() > BUILD_LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{what} was stopped after {} s", begun.elapsed().as_secs()));
        }
    }
    let status = child.wait().map_err(|error| format!("{what}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let last = said.get(said.len().saturating_sub(25)..).unwrap_or(&said);
    Err(format!("{what} failed ({status}); it said last:\n  {}", last.join("\n  ")))
}

fn read_lines(child: &mut Child) -> Receiver<Line> {
    let (sender, lines) = channel();
    let forward = |stream: Option<Box<dyn Read + Send>>, wrap: fn(String) -> Line| {
        let sender = sender.clone();
        thread::spawn(move || {
            for text in stream.into_iter().flat_map(|stream| BufReader::new(stream).lines()) {
                // A line that is not UTF-8, or a reader that has gone: there is nothing more to show.
                let Ok(text) = text else { break };
                if sender.send(wrap(text)).is_err() {
                    break;
                }
            }
        });
    };
    forward(child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>), Line::Out);
    forward(child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>), Line::Err);
    lines
}

/// One line that is rewritten on a terminal; elsewhere a new line twice a minute.
struct Progress {
    name: &'static str,
    terminal: bool,
    begun: Instant,
    shown: Instant,
}

impl Progress {
    fn new(name: &'static str) -> Self {
        let now = Instant::now();
        Self { name, terminal: std::io::stderr().is_terminal(), begun: now, shown: now }
    }

    fn show(&mut self, message: &str) {
        let every = if self.terminal { Duration::from_millis(100) } else { REPORT_EVERY };
        if self.shown.elapsed() >= every {
            self.shown = Instant::now();
            self.write(message, !self.terminal);
        }
    }

    fn end(&mut self, message: &str) {
        self.write(message, true);
    }

    fn write(&self, message: &str, newline: bool) {
        let start = if self.terminal { "\r\x1b[2K" } else { "" };
        let end = if newline { "\n" } else { "" };
        let seconds = self.begun.elapsed().as_secs();
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "{start}{}: {message}, {seconds} s{end}", self.name);
        let _ = stderr.flush();
    }
}

fn entries(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}
