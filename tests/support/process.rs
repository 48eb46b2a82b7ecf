//! Child processes that cannot outlive us, and waits that cannot last for ever.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where set, servers append their logs to this file, and it is kept.
const LOG_VARIABLE: &str = "CONCORDAT_TEST_LOG";

/// How much of a log an error message shows.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 25;

static STOPPING: AtomicBool = AtomicBool::new(false);

/// Makes every wait of this module end now with an error: for use when a signal has come.
pub fn stop() {
    STOPPING.store(true, Ordering::Relaxed);
}

/// Whether [`stop`] was called.
pub fn stopping() -> bool {
    STOPPING.load(Ordering::Relaxed)
}

/// A line on standard error that the test harness does not hold back.
pub fn note(line: &str) {
    // No one may be listening, and that is no reason to fail.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Asks `probe` every 20 ms until it gives a value. `what` completes "waited 30 s for …" in the error.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>, String>,
) -> Result<T, String> {
    let begun = Instant::now();
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if stopping() {
            return Err(format!("stopped while waiting for {what}"));
        }
        if begun.elapsed() >= limit {
            return Err(format!("waited {:.1} s for {what}", begun.elapsed().as_secs_f64()));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A server that runs as long as this value lives, and no longer than this process.
///
/// The guarantee is its standard input: a pipe that we alone hold open. It closes when this process ends, even
/// by `kill -9`, and the server ends with it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    log: File,
}

impl Process {
    /// Starts a binary as the operator of a cluster. Only a test knows where cargo has put the binary.
    pub fn operator(binary: &str, kubeconfig: &Path) -> Result<Self, String> {
        let mut command = Command::new(binary);
        command.arg("run").arg("--kubeconfig").arg(kubeconfig).args(["--health-addr", "127.0.0.1:0"]);
        Self::start("operator", &mut command)
    }

    /// Starts a program that ends by itself when its standard input does.
    pub fn start(name: &str, command: &mut Command) -> Result<Self, String> {
        let log = log_file().map_err(|error| format!("the log of {name}: {error}"))?;
        let stderr = log.try_clone().map_err(|error| format!("the log of {name}: {error}"))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| format!("{name} did not start: {error}"))?;
        let stdin = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, stdin, log })
    }

    /// Starts a program that knows nothing of this arrangement: a shell next to it watches the pipe and kills it.
    pub fn start_guarded(
        name: &str,
        program: &std::path::Path,
        arguments: &[String],
    ) -> Result<Self, String> {
        // `$$` stays the first shell's process id in the subshell, and `exec` gives that id to the program.
        const GUARD: &str = r#"
            exec 3<&0 >&2
            (cat <&3 >/dev/null; kill -9 $$) &
            exec "$@" </dev/null 3<&-"#;
        Self::start(name, Command::new("sh").args(["-c", GUARD, name]).arg(program).args(arguments))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the program prints. Given once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for something the program should do. Fails early if the program ends, and shows the end of its log.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut() -> Result<Option<T>, String>,
    ) -> Result<T, String> {
        let (name, child) = (&self.name, &mut self.child);
        let answer = until(what, limit, || match probe() {
            Ok(None) => match child.try_wait() {
                Ok(None) => Ok(None),
                Ok(Some(status)) => Err(format!("{name} ended ({status}) before {what}")),
                Err(error) => Err(format!("{name}: {error}")),
            },
            answer => answer,
        });
        answer.map_err(|message| format!("{message}\n{}", self.tail()))
    }

    /// Closes the pipe, as the end of this process would, and waits for the program to notice.
    pub fn abandon(&mut self, limit: Duration) -> Result<(), String> {
        self.stdin = None;
        let child = &mut self.child;
        until(&format!("{} to end", self.name), limit, || {
            child.try_wait().map(|status| status.map(drop)).map_err(|error| error.to_string())
        })
    }

    /// The end of the log, for an error message.
    pub fn tail(&self) -> String {
        let length = self.log.metadata().map(|data| data.len()).unwrap_or(0);
        let start = length.saturating_sub(TAIL_BYTES);
        let mut bytes = vec![0; usize::try_from(length - start).unwrap_or(0)];
        let read = self.log.read_at(&mut bytes, start).unwrap_or(0);
        bytes.truncate(read);
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or(&lines);
        if shown.is_empty() {
            return format!("{} logged nothing", self.name);
        }
        format!("the end of the log of {}:\n  {}", self.name, shown.join("\n  "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        // A destructor does not wait by `until`: it must finish also while stopping.
        for _ in 0..150 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without a name, so that it is gone when the last process that has it open is.
fn log_file() -> std::io::Result<File> {
    match std::env::var_os(LOG_VARIABLE) {
        Some(path) => OpenOptions::new().create(true).append(true).read(true).open(path),
        None => tempfile::tempfile(),
    }
}
