//! A second engine, small and slow, that judges generated worlds by the design page alone, and laws on the same worlds.
//!
//! It shares no code with the library but the door: no model, no Cedar, no terms. What the design page leaves open is in
//! `QUESTIONS.md` beside this file, with the reading that was chosen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::type_complexity,
    clippy::collapsible_if,
    reason = "a test may fail loudly, and says how far it has come"
)]

mod access;
mod corruption;
mod differential;
mod door;
mod force;
mod gate;
mod generate;
mod generate_local;
mod laws;
mod local;
mod model;
mod random;
mod signing;
mod succession;
mod terms;
mod world;
