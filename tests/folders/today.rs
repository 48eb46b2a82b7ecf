//! Examples as they would have been written today.
//!
//! The operator goes by the real clock, and the dates of an example end. So whatever runs it on an example runs it on a
//! copy, in which every date is as many whole days later as have gone by since the moment that the example is judged at
//! offline, and every signature is on the terms with these dates. What is said of the copy, moved back, is what is said
//! of the example: `tests/scenarios.rs` holds that, for years ahead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use concordat_api::{DataProductSpec, ObjectRef};
use concordat_core::snapshot::Snapshot;
use concordat_core::terms::terms_hash;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::{Scenario, scenario};

/// A copy of a scenario with its dates moved. The files go with it.
#[derive(Debug)]
pub struct Today {
    pub scenario: Scenario,
    /// How many days later every date is.
    pub days: i64,
    original: PathBuf,
    hashes: BTreeMap<String, String>,
    _folder: tempfile::TempDir,
}

impl Today {
    /// The copy for now: what is judged now in it is judged within a day of the moment of the original.
    pub fn of(original: &Scenario) -> Self {
        let moments: Vec<Timestamp> = original.states.iter().map(super::State::at).collect();
        assert!(moments.windows(2).all(|two| two[0] == two[1]), "{}: one moment", original.folder.display());
        let gone_by = Timestamp::now().duration_since(moments[0]);
        Self::moved(original, gone_by.as_hours().div_euclid(24))
    }

    /// The copy of a folder of `examples/`, by its path.
    pub fn of_folder(folder: &Path) -> Self {
        Self::of(&scenario(folder.to_owned()))
    }

    /// The copy with its dates so many days later.
    pub fn moved(original: &Scenario, days: i64) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join(original.folder.file_name().unwrap());
        let mut files = Vec::new();
        copy(&original.folder, &folder, days, &mut files);
        let copied = scenario(folder);
        let mut hashes = BTreeMap::new();
        for (before, after) in original.states.iter().zip(&copied.states) {
            signed_terms(&before.read(), &after.read(), &mut hashes);
        }
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, replaced(text, hashes.iter())).unwrap();
        }
        Self { scenario: copied, days, original: original.folder.clone(), hashes, _folder: temporary }
    }

    /// The folder of the copy.
    pub fn folder(&self) -> &Path {
        &self.scenario.folder
    }

    /// What is said of the copy, as it would be said of the original.
    pub fn back(&self, text: &str) -> String {
        let text = moved(text, -self.days);
        let text = text.replace(&self.folder().display().to_string(), &self.original.display().to_string());
        replaced(text, self.hashes.iter().map(|(before, after)| (after, before)))
    }
}

/// Copies a folder, and moves the dates in what the command reads.
fn copy(from: &Path, to: &Path, days: i64, files: &mut Vec<PathBuf>) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target, days, files);
        } else {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            std::fs::write(&target, moved(&text, days)).unwrap();
            files.push(target);
        }
    }
}

/// The hash of each party's terms, before and after.
fn signed_terms(before: &Snapshot, after: &Snapshot, hashes: &mut BTreeMap<String, String>) {
    let products = |snapshot: &Snapshot| -> BTreeMap<ObjectRef, DataProductSpec> {
        let products = snapshot.products.iter().map(|it| &it.object);
        products
            .map(|it| {
                let reference = ObjectRef { namespace: it.namespace().unwrap(), name: it.name_any() };
                (reference, it.spec.clone())
            })
            .collect()
    };
    let (products_before, products_after) = (products(before), products(after));
    let products_before = products_before.iter().map(|(key, spec)| (key.clone(), spec)).collect();
    let products_after = products_after.iter().map(|(key, spec)| (key.clone(), spec)).collect();
    for (one, other) in before.agreements.iter().zip(&after.agreements) {
        let (one, other) = (&one.object, &other.object);
        assert_eq!((one.namespace(), one.name_any()), (other.namespace(), other.name_any()));
        for party in &one.spec.parties {
            let then = terms_hash(&one.spec, &products_before, &party.org);
            let now = terms_hash(&other.spec, &products_after, &party.org);
            if let (Ok(then), Ok(now)) = (then, now) {
                hashes.insert(then, now);
            }
        }
    }
}

fn replaced<'a>(mut text: String, with: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    for (from, to) in with {
        text = text.replace(from, to);
    }
    text
}

/// A text with every RFC 3339 timestamp in it so many days later.
pub fn moved(text: &str, days: i64) -> String {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let bytes = text.as_bytes();
    let digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    let mut out = String::with_capacity(text.len());
    let (mut copied, mut index) = (0, 0);
    while index + FORM.len() <= bytes.len() {
        let end = index + FORM.len();
        let formed = bytes[index..end].iter().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        });
        if !formed || index > 0 && digit(index - 1) || digit(end) {
            index += 1;
            continue;
        }
        // whole days leave alone whatever follows the seconds: a fraction, `Z`, an offset
        let stands = format!("{}Z", &text[index..end]);
        if let Ok(moment) = stands.parse::<Timestamp>() {
            let later = (moment + SignedDuration::from_hours(24 * days)).to_string();
            out.push_str(&text[copied..index]);
            out.push_str(later.trim_end_matches('Z'));
            copied = end;
        }
        index = end;
    }
    out.push_str(&text[copied..]);
    out
}
