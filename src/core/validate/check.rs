//! The findings of one object, gathered as its fields are looked at.

use kube::Resource;

use super::shape::nearest;
use crate::api::ObjectRef;
use crate::core::finding::{Code, Finding, ObjectKey, Severity};
use crate::core::snapshot::Sourced;

/// One object under examination.
pub(super) struct Check<'a, T> {
    sourced: &'a Sourced<T>,
    findings: Vec<Finding>,
}

/// A finding that can still be given its help.
pub(super) struct Found<'a>(&'a mut Finding);

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

impl Found<'_> {
    /// Says what would work.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Says what would work, and names the nearest thing that exists.
    pub(super) fn near<'n>(
        self,
        text: &str,
        names: impl IntoIterator<Item = &'n str>,
        otherwise: &str,
    ) -> Self {
        match nearest(text, names.into_iter()) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self.help(otherwise),
        }
    }

    /// Names the object that is referred to, and cannot be found.
    pub(super) fn missing(self, kind: &str, reference: impl Into<Missing>) -> Self {
        let Missing { namespace, name } = reference.into();
        self.0.missing = Some(ObjectKey::new(kind, namespace.as_deref(), &name));
        self
    }

    /// Makes it a reason to leave the object out.
    pub(super) fn error(self) -> Self {
        self.0.severity = Severity::Error;
        self
    }

    /// Makes it worth knowing, and no reason to leave the object out.
    pub(super) fn warning(self) -> Self {
        self.0.severity = Severity::Warning;
        self
    }
}

impl<'a, T: Resource<DynamicType = ()>> Check<'a, T> {
    pub(super) fn new(sourced: &'a Sourced<T>) -> Self {
        Self { sourced, findings: Vec::new() }
    }

    /// The object.
    pub(super) fn object(&self) -> &'a T {
        &self.sourced.object
    }

    /// Notes a finding about a field; `""` means the object as a whole.
    pub(super) fn finding(&mut self, code: Code, field: &str, message: impl Into<String>) -> Found<'_> {
        self.findings.push(self.sourced.finding(code, field, message));
        let last = self.findings.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "pushed on the line above")]
        Found(&mut self.findings[last])
    }

    /// Whether the object can be used, and what was found.
    pub(super) fn done(self) -> (bool, Vec<Finding>) {
        let accepted = !self.findings.iter().any(Finding::is_error);
        (accepted, self.findings)
    }
}
