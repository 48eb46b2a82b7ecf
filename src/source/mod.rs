//! Where snapshots come from: folders of manifests, the stores of a cluster's watches, or a cluster read once.

#[cfg(feature = "controller")]
pub mod cluster;
#[cfg(feature = "cli")]
pub mod files;
#[cfg(feature = "controller")]
pub mod live;
