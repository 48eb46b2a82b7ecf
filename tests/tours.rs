//! The tours that need no cluster, and the README: every transcript is what its commands print.

#![cfg(feature = "cli")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly, its helpers too"
)]

#[path = "tours/transcript.rs"]
mod transcript;

#[test]
fn the_tour_of_an_information_governance_lead_is_true() {
    transcript::holds("docs/tours/information-governance.md", &[]);
}

#[test]
fn the_tour_of_a_pipeline_is_true() {
    transcript::holds("docs/tours/pipeline.md", &[]);
}
