//! Objects that must be admitted and objects that must be refused, one broken rule each.
//!
//! A file for each kind: `good` is the least there can be, `full` fills in every optional field, each of `refused`
//! changes the good one so that it breaks one rule, and each of `unchangeable` is a change to a good one that
//! exists. Changes are JSON merge patches: null takes a field away, a list is replaced whole.
//! `field` has to be named by the refusal; `says`, where given, as well.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    pub good: Value,
    #[serde(default)]
    pub full: Option<Value>,
    pub refused: Vec<Case>,
    #[serde(default)]
    pub unchangeable: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub case: String,
    pub change: Value,
    pub field: String,
    #[serde(default)]
    pub says: Option<String>,
}

impl Cases {
    pub fn kind(&self) -> &str {
        self.good.get("kind").and_then(Value::as_str).expect("a good object has a kind")
    }

    /// The least and, where there is one, the fullest object that is admitted.
    pub fn admitted(&self) -> Vec<Value> {
        let full = self.full.as_ref().map(|full| patched(&self.good, full));
        [self.good.clone()].into_iter().chain(full).collect()
    }
}

impl Case {
    pub fn applied_to(&self, good: &Value) -> Value {
        patched(good, &self.change)
    }

    /// What is missing from a refusal, if anything.
    pub fn missing_from(&self, refusal: &str) -> Option<String> {
        let wanted = [Some(self.field.as_str()), self.says.as_deref()];
        let missing = wanted.into_iter().flatten().find(|text| !refusal.contains(text))?;
        Some(format!("{}: the refusal does not say `{missing}`: {refusal}", self.case))
    }
}

/// The cases of every kind, in the order of the file names.
pub fn all() -> Vec<Cases> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/admission_cases");
    let entries = std::fs::read_dir(folder).expect("the folder of cases is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let read = |file: &Path| {
        let text = std::fs::read_to_string(file).expect("a file of cases can be read");
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    files.iter().map(|file| read(file)).collect()
}

/// A JSON merge patch, RFC 7396.
pub fn patched(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut target = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            let before = target.remove(key).unwrap_or(Value::Null);
            target.insert(key.clone(), patched(&before, value));
        }
    }
    Value::Object(target)
}
