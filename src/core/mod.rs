//! The pure core: wire objects to a snapshot, a model, findings, decisions and a plan.
//!
//! Nothing here knows a client, a clock or a runtime: time is an argument, and every arrow is a function that a
//! test can call. `core` imports `api` and nothing else of this crate.

pub mod clusters;
pub mod endings;
pub mod explain;
pub mod finding;
pub mod judge;
pub mod live;
pub mod model;
pub(crate) mod names;
pub(crate) mod parallel;
pub mod plan;
pub mod policy;
pub mod report;
pub(crate) mod selectors;
pub mod shared;
pub mod sign;
pub mod snapshot;
pub mod terms;
pub mod text;
pub mod validate;
