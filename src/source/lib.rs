//! Where snapshots come from: folders of manifests, the stores of a cluster's watches, or a cluster read once.

pub mod cluster;
pub mod files;
pub mod live;
