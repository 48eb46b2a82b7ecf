//! What is wrong with an object's shape.

use crate::finding::Code;

/// Something wrong with an object's shape.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShapeProblem {
    /// Such as `spec.parties[1].org`; empty for the object as a whole.
    pub field: String,
    pub code: Code,
    pub message: String,
    pub help: Option<String>,
}

impl ShapeProblem {
    pub(super) fn new(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), code, message: message.into(), help: None }
    }

    /// Whether a field that has to be there is not.
    pub fn is_missing(&self) -> bool {
        self.code == Code::InvalidField && self.message.ends_with(" is missing")
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
