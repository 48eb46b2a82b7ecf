//! The pages of `docs/` that are generated equal what the types give. `UPDATE=1 cargo test --test docs` writes them
//! anew.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly, its helpers too"
)]

#[path = "docs/api.rs"]
mod api;
#[path = "docs/finding_codes.rs"]
mod finding_codes;

use std::path::Path;

const REGENERATE: &str = "write it again with `UPDATE=1 cargo test --test docs` and read the difference";

/// Compares a page with what is committed, or writes it where `UPDATE` is set.
fn committed(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("docs/ can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{page} is out of date: {REGENERATE}");
}

#[test]
fn the_api_reference_is_what_the_definitions_say() {
    committed("docs/api.md", &api::page());
}

#[test]
fn the_page_of_finding_codes_is_what_the_codes_say() {
    committed("docs/finding-codes.md", &finding_codes::page());
}
