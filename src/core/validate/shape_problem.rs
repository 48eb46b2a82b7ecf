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
    /// Whether it is that a field is not there.
    pub is_missing: bool,
}

impl ShapeProblem {
    pub(super) fn new(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), code, message: message.into(), help: None, is_missing: false }
    }

    /// A field that has to be there is not.
    pub(super) fn missing(field: String) -> Self {
        let message = format!("`{field}` is missing");
        Self { is_missing: true, ..Self::new(Code::InvalidField, field, message) }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
