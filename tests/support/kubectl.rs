//! kubectl: the program that `KUBECTL` names, the one on the path, or one that is built from source the first time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::binary::kubectl_binary;

/// Where kubectl is.
pub fn program() -> Result<&'static Path, String> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(find).as_deref().map_err(Clone::clone)
}

fn find() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("KUBECTL").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|folder| folder.join("kubectl")).find(|path| answers(path));
    found.map_or_else(kubectl_binary, Ok)
}

fn answers(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(["version", "--client"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
