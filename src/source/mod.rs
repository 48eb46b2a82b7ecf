//! Where snapshots come from: folders of manifests, or the stores of a cluster's watches.

#[cfg(feature = "controller")]
pub mod cluster;
#[cfg(feature = "cli")]
pub mod files;
