//! A process, its time and its memory.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a process ran.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    pub wall: Duration,
    /// The most memory that it held, in MiB; nothing where the system does not say.
    pub peak_mib: Option<u64>,
}

/// Runs a command to its end. Its answer is thrown away.
pub fn run(command: &mut Command) -> Ran {
    let began = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a process");
    let mut peak_mib = None;
    loop {
        // a high-water mark: the last one seen is the highest
        peak_mib = memory(child.id(), "VmHWM").or(peak_mib);
        if child.try_wait().expect("a status").is_some() {
            return Ran { wall: began.elapsed(), peak_mib };
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A figure of a process's memory, in MiB.
pub fn memory(process: u32, figure: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? / 1024)
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// With three decimals.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
