//! The pure core: wire objects to a snapshot, a model, findings, decisions and a plan.
//!
//! Nothing here knows a client, a clock or a runtime: time is an argument, and every arrow is a function that a
//! test can call. This crate depends on `concordat-api` and on no other of ours.
//!
//! ```text
//! wire objects ─► Snapshot ─► validate ─► Model + findings ─► engine (Cedar) ─► Plan ─► effects
//!  files in Git │  one value   pure         pure                 pure            pure    operator | command output
//!  API caches   ┘                            └────────► decide(request, now) ◄──────── policy tests, explain
//! ```

pub mod clusters;
pub mod endings;
pub mod evaluate;
pub mod explain;
pub mod finding;
pub mod gateways;
pub mod live;
pub mod model;
pub mod names;
pub mod needed;
pub mod parallel;
pub mod placing;
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
