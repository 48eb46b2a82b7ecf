//! Why a policy text is not loaded, and where in it that is.

use crate::finding::Code;

/// Why a text is not loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyProblem {
    /// The rule, where it is known.
    pub rule: Option<String>,
    pub message: String,
    pub help: Option<String>,
    /// Line and column in the text, from 1.
    pub position: Option<(u32, u32)>,
    /// What kind of thing is wrong, for a local policy.
    pub code: Code,
}

impl PolicyProblem {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { rule: None, message: message.into(), help: None, position: None, code: Code::PolicyText }
    }

    pub(super) fn with_help(mut self, help: String) -> Self {
        self.help = Some(help);
        self
    }
}

/// Line and column of a byte offset, from 1, the column in characters.
pub(super) fn position(text: &str, offset: usize) -> Option<(u32, u32)> {
    let before = text.get(..offset)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next()?.chars().count() + 1;
    Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
}
