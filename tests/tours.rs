//! The tours that need no cluster: every transcript is what its commands print. The others, and the README, are in
//! `cluster/tours.rs`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly, its helpers too"
)]

use crate::transcript::{self, Bed};

#[test]
fn the_tour_of_an_information_governance_lead_is_true() {
    transcript::holds("docs/tours/information-governance.md", &Bed::default());
}

#[test]
fn the_tour_of_a_pipeline_is_true() {
    transcript::holds("docs/tours/pipeline.md", &Bed::default());
}

#[test]
fn what_is_said_of_the_wishes_of_a_place_is_true() {
    transcript::holds("policies/local/README.md", &Bed::default());
}
