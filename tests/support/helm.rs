//! Helm, and what the charts give with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::binary::helm_binary;

/// The oldest version that is good enough: older ones read values schemas differently.
const OLDEST: (u32, u32) = (3, 18);

/// The operator's chart.
pub fn operator_chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/concordat")
}

/// The chart of the definitions.
pub fn definitions_chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/concordat-crds")
}

/// Runs Helm, and gives what it printed, or what it said.
///
/// Helm is the program that `HELM` names, the `helm` on the path if it is new enough, or one that is built from source
/// the first time.
pub fn helm<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<String, String> {
    let mut command = Command::new(program()?);
    command.args(arguments).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("helm: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(said(&output.stdout))
    } else {
        Err(format!("{}{}", said(&output.stdout), said(&output.stderr)))
    }
}

/// The objects that a chart gives for a release `concordat`, without asking a cluster.
pub fn template(chart: &Path, namespace: &str, more: &[&str]) -> Result<Vec<Value>, String> {
    let chart = chart.display().to_string();
    let mut arguments = vec!["template", "concordat", &chart, "--namespace", namespace];
    arguments.extend(more);
    let text = helm(arguments)?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).map_err(|error| format!("what Helm printed: {error}"))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Where Helm is.
pub fn program() -> Result<&'static Path, String> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(find).as_deref().map_err(Clone::clone)
}

fn find() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("HELM").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        let version = version(&named)
            .ok_or_else(|| format!("HELM is `{}`, which does not say its version", named.display()))?;
        if version < OLDEST {
            let ((major, minor), (least, from)) = (version, OLDEST);
            return Err(format!("HELM is version {major}.{minor}, and {least}.{from} is needed"));
        }
        return Ok(named);
    }
    let usual = PathBuf::from("helm");
    if version(&usual).is_some_and(|version| version >= OLDEST) {
        return Ok(usual);
    }
    helm_binary()
}

fn version(program: &Path) -> Option<(u32, u32)> {
    let mut command = Command::new(program);
    command.args(["version", "--template", "{{.Version}}"]).stdin(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.trim().trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
