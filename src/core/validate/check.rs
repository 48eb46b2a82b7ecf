//! The findings of one object, gathered as its fields are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::Resource;

use super::shape::nearest;
use crate::finding::{Code, Finding, ObjectKey, Severity};
use crate::snapshot::{Sourced, Unreadable};
use concordat_api::ObjectRef;

/// One object under examination.
pub(super) struct Check<'a, T> {
    sourced: &'a Sourced<T>,
    findings: Vec<Finding>,
    guesses: Guesses,
}

/// A finding that can still be given its help.
pub(super) struct FindingDraft<'a> {
    finding: &'a mut Finding,
    guesses: &'a Guesses,
}

/// How many names may still be held against mistyped ones. Thousands of objects that each name one which is not there
/// would hold everything against everything, and no one reads that many guesses.
#[derive(Clone, Debug)]
pub(super) struct Guesses(Arc<AtomicUsize>);

impl Default for Guesses {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(200_000)))
    }
}

impl Guesses {
    fn nearest<N: AsRef<str>>(&self, text: &str, names: impl Iterator<Item = N>) -> Option<N> {
        let left = self.0.load(Ordering::Relaxed);
        if left == 0 {
            return None;
        }
        let mut looked_at = 0;
        let near = nearest(text, names.inspect(|_| looked_at += 1));
        self.0.store(left.saturating_sub(looked_at), Ordering::Relaxed);
        near
    }
}

/// The name of what cannot be found, with its namespace where it has one.
pub(super) struct Missing {
    namespace: Option<String>,
    name: String,
}

impl From<&ObjectRef> for Missing {
    fn from(ObjectRef { namespace, name }: &ObjectRef) -> Self {
        Self { namespace: Some(namespace.clone()), name: name.clone() }
    }
}

impl From<&str> for Missing {
    fn from(name: &str) -> Self {
        Self { namespace: None, name: name.to_owned() }
    }
}

impl FindingDraft<'_> {
    /// Says what would work.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        self.finding.help = Some(help.into());
        self
    }

    /// Says what would work, and names the nearest thing that exists.
    pub(super) fn near<N: AsRef<str>>(
        self,
        text: &str,
        names: impl IntoIterator<Item = N>,
        otherwise: &str,
    ) -> Self {
        match self.guesses.nearest(text, names.into_iter()) {
            Some(near) => self.help(format!("did you mean `{}`?", near.as_ref())),
            None => self.help(otherwise),
        }
    }

    /// Names the object that is referred to, and cannot be found.
    pub(super) fn missing(self, kind: &str, reference: impl Into<Missing>) -> Self {
        let Missing { namespace, name } = reference.into();
        self.finding.missing = Some(ObjectKey::new(kind, namespace.as_deref(), &name));
        self
    }

    /// Makes it a reason to leave the object out.
    pub(super) fn error(self) -> Self {
        self.finding.severity = Severity::Error;
        self
    }

    /// With `accession` a member that cannot be used is out, and no one else: worth knowing, and no error.
    pub(super) fn harms_one_member(self, accession: bool) -> Self {
        if accession { self.warning() } else { self }
    }

    /// Makes it worth knowing, and no reason to leave the object out.
    pub(super) fn warning(self) -> Self {
        self.finding.severity = Severity::Warning;
        self
    }
}

/// Says of what is referred to, exists and cannot be used, that it is there, and what is wrong with it first.
pub(super) fn name_what_exists<'a>(
    findings: &mut [Finding],
    unreadable: &[Unreadable],
    going: impl Iterator<Item = &'a ObjectKey>,
) {
    let mut wrong: BTreeMap<ObjectKey, String> = BTreeMap::new();
    for unreadable in unreadable {
        wrong.entry(unreadable.key()).or_insert_with(|| unreadable.error.clone());
    }
    for finding in findings.iter().filter(|finding| finding.is_error()) {
        if let Some(object) = &finding.origin.object {
            wrong.entry(object.clone()).or_insert_with(|| finding.message.clone());
        }
    }
    let going: BTreeSet<&ObjectKey> = going.collect();
    for key in &going {
        wrong.entry((*key).clone()).or_insert_with(|| "it is being deleted".to_owned());
    }
    for finding in findings {
        let Some(missing) = &finding.missing else { continue };
        let Some(error) = wrong.get(missing) else { continue };
        let Some(what) = finding.message.strip_prefix("there is no ") else { continue };
        // the name is in backticks, and what follows it says that there is none
        let end = what.match_indices('`').nth(1).map(|(at, _)| at + 1);
        let what = end.and_then(|end| what.get(..end)).unwrap_or(what);
        finding.message = format!("{what} exists, but cannot be used: {error}");
        if going.contains(missing) {
            finding.help = Some("create it again once it is gone, or no longer name it".to_owned());
        }
        // another of nearly that name is not what was meant
        if finding.help.as_ref().is_some_and(|help| help.starts_with("did you mean")) {
            finding.help = Some("fix that object".to_owned());
        }
    }
}

impl<'a, T: Resource<DynamicType = ()>> Check<'a, T> {
    pub(super) fn new(sourced: &'a Sourced<T>) -> Self {
        Self::guessing(sourced, Guesses::default())
    }

    /// One of many objects, which guess at names together.
    pub(super) fn guessing(sourced: &'a Sourced<T>, guesses: Guesses) -> Self {
        Self { sourced, findings: Vec::new(), guesses }
    }

    /// The object.
    pub(super) fn object(&self) -> &'a T {
        &self.sourced.object
    }

    /// Notes a finding about a field; `""` means the object as a whole.
    pub(super) fn finding(
        &mut self,
        code: Code,
        field: &str,
        message: impl Into<String>,
    ) -> FindingDraft<'_> {
        self.findings.push(self.sourced.finding(code, field, message));
        let last = self.findings.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "pushed on the line above")]
        let finding = &mut self.findings[last];
        FindingDraft { finding, guesses: &self.guesses }
    }

    /// Whether nothing but these keeps the object from being used.
    pub(super) fn is_sound_but_for(&self, codes: &[Code]) -> bool {
        self.findings.iter().filter(|finding| finding.refuses()).all(|finding| codes.contains(&finding.code))
    }

    /// Whether the object can be used, and what was found.
    pub(super) fn done(self) -> (bool, Vec<Finding>) {
        let accepted = !self.findings.iter().any(Finding::refuses);
        (accepted, self.findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_come_to_an_end() {
        let guesses = Guesses(Arc::new(AtomicUsize::new(5)));
        let names = ["chorley", "preston", "lancaster", "garstang"];
        assert_eq!(guesses.nearest("chorly", names.into_iter()), Some("chorley"));
        assert_eq!(guesses.nearest("prestn", names.into_iter()), Some("preston"), "one name is left");
        assert_eq!(guesses.nearest("lancastr", names.into_iter()), None);
    }
}
