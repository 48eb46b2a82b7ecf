//! Concordat makes a data sharing agreement between health and care organisations the thing that is enforced.
//!
//! Facts flow one way:
//!
//! ```text
//! wire objects ─► Snapshot ─► validate ─► Model + findings ─► engine (Cedar) ─► Plan ─► effects
//!  files in Git │  one value   pure         pure                 pure            pure    operator | command output
//!  API caches   ┘                            └────────► decide(request, now) ◄──────── policy tests, explain
//! ```
//!
//! [`api`] is the wire, [`core`] is pure and knows no client, clock or runtime; [`source`] makes a snapshot of files
//! or of a cluster; `controller` carries plans out, and `cli` shows them. The core compiles without any feature.

pub mod api;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "controller")]
pub mod controller;
pub mod core;
pub mod source;
