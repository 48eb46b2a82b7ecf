//! The pages of `docs/` that are generated equal what the types give. `UPDATE=1 cargo test --test offline docs` writes them
//! anew. And what the threat model says of tests, and of the sources, is so.

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

const REGENERATE: &str =
    "write it again with `UPDATE=1 cargo test --test offline docs` and read the difference";

/// Compares a page with what is committed, or writes it where `UPDATE` is set.
fn committed(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("docs/ can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{page} is out of date: {REGENERATE}");
}

/// The texts of all Rust sources in some folders.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let files = folders.iter().flat_map(|folder| {
        let entries = walkdir::WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        entries.into_iter().map(|entry| entry.expect("a folder can be read").into_path())
    });
    let rust = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("a source is a text")))
        .collect()
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threat-model.md");
    let page = std::fs::read_to_string(page).expect("there is one");
    let held: String = page.lines().filter(|line| line.starts_with('>')).collect();
    let named: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
    let protects = page.split("## What protects it").nth(1).and_then(|rest| rest.split("\n## ").next());
    let parts = protects.expect("what protects").matches("\n**").count();
    let told = page.lines().filter(|line| line.starts_with("> Held by ")).count();
    assert_eq!(parts, told, "a part without a test");
    let sources = sources(&["src", "tests"]);
    // a test of its own, or a line of a macro that makes tests
    let exists = |name: &str| {
        let forms = [format!("fn {name}("), format!("    {name} \"")];
        sources.iter().any(|(_, text)| forms.iter().any(|form| text.contains(form)))
    };
    let missing: Vec<&&str> = named.iter().filter(|name| !exists(name)).collect();
    assert!(named.len() > 30 && missing.is_empty(), "{missing:?}");
}

/// Whoever reads a URL from an object and goes there has to come past here.
#[test]
fn nothing_here_connects_but_the_client_of_the_cluster() {
    const CONNECTS: [&str; 8] =
        ["TcpStream", "UdpSocket", "UnixStream", "ToSocketAddrs", "lookup_host", "reqwest", "hyper", "curl"];
    for (path, text) in sources(&["src"]) {
        let own = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in CONNECTS {
            assert!(!own.contains(word), "{path} speaks of `{word}`");
        }
    }
}

#[test]
fn the_api_reference_is_what_the_definitions_say() {
    committed("docs/api.md", &api::page());
}

#[test]
fn the_page_of_finding_codes_is_what_the_codes_say() {
    committed("docs/finding-codes.md", &finding_codes::page());
}

#[test]
fn no_source_names_a_rule_of_a_framework() {
    let cedar = ["policies/national", "tests/framework/caledonia"].into_iter().flat_map(|folder| {
        let entries = walkdir::WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        entries.into_iter().map(|entry| entry.expect("a folder can be read").into_path())
    });
    let texts = cedar.filter(|path| path.is_file()).filter_map(|path| std::fs::read_to_string(path).ok());
    let ids: std::collections::BTreeSet<String> = texts
        .flat_map(|text| {
            let after = text.split("@id(").skip(1).map(|it| it.trim_start_matches(['\\', '"']).to_owned());
            after.filter_map(|it| Some(it.split(['\\', '"']).next()?.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    assert!(ids.len() > 30 && ids.contains("NF-13"), "{ids:?}");
    for (path, text) in sources(&["src"]) {
        let named: Vec<&String> = ids.iter().filter(|id| text.contains(id.as_str())).collect();
        assert!(named.is_empty(), "{path} names {named:?}: a framework's rules are its own");
    }
}
