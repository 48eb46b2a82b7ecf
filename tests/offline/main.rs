//! Every test that needs no API server, in one program: it is linked once.
//!
//! A module's tests alone: `cargo test --test offline docs::`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail loudly, its helpers too"
)]

#[path = "../admission_cases/mod.rs"]
mod admission_cases;
#[path = "../agreements.rs"]
mod agreements;
#[path = "../bad_input.rs"]
mod bad_input;
#[path = "../cli.rs"]
mod cli;
#[path = "../docs.rs"]
mod docs;
#[path = "../drift.rs"]
mod drift;
#[path = "../folders/mod.rs"]
mod folders;
#[path = "../framework.rs"]
mod framework;
#[path = "../laws.rs"]
mod laws;
#[path = "../reference/mod.rs"]
mod reference;
#[path = "../scale.rs"]
mod scale;
#[path = "../scenarios.rs"]
mod scenarios;
#[path = "../shape.rs"]
mod shape;
#[path = "../tours.rs"]
mod tours;
#[path = "../tours/transcript.rs"]
mod transcript;
