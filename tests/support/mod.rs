//! What tests and examples share: a real Kubernetes API server, and names that keep tests apart.
//!
//! Blocking, and only the standard library plus small helpers, so that anything can use it. Integration tests
//! say `mod support;`, examples `#[path = "../support/mod.rs"] mod support;`.
//!
//! ```ignore
//! let kubeconfig = support::kubeconfig()?;          // one control plane for all tests of this binary
//! let namespace = support::unique("chorley");       // never seen before, also not by an earlier run
//! ```
//!
//! Nothing here waits without a deadline, and nothing it starts outlives the process that started it, however
//! that process ends.

#![allow(dead_code, unused_imports, reason = "each test binary and example uses its part")]

mod assets;
mod binary;
mod control_plane;
pub mod helm;
pub mod kubectl;
mod process;
pub mod scenario;
pub mod world;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub use binary::{binary_in, controlplane_binary, kubernetes_version, prune, yaml_reader_binary};
pub use control_plane::{ControlPlane, KUBECONFIG_VARIABLE, ORIGIN_VARIABLE, Origin};
pub use process::{Process, note, stop, until};

/// The control plane that all tests of this process share. The first call starts it, or finds the one that
/// `testbed` started for the whole run.
///
/// It ends with the process: nothing needs to be dropped. Use [`ControlPlane::start`] to hold it yourself.
pub fn control_plane() -> Result<&'static ControlPlane, String> {
    static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    SHARED.get_or_init(ControlPlane::start).as_ref().map_err(Clone::clone)
}

/// The kubeconfig of [`control_plane`].
pub fn kubeconfig() -> Result<&'static Path, String> {
    control_plane().map(ControlPlane::kubeconfig)
}

/// A name that starts with `stem` and that nothing else has: for namespaces and cluster-scoped objects.
///
/// It is a DNS label of at most 63 characters if `stem` consists of lower case letters, digits and hyphens and
/// starts with a letter.
pub fn unique(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // The standard library's only source of randomness: a new key for each `RandomState`.
    let random = RandomState::new().build_hasher().finish() & 0xff_ffff;
    let stem: String = stem.chars().take(40).collect();
    format!("{stem}-{:x}-{random:06x}{count:x}", std::process::id())
}
