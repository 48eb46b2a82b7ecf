//! Colours, or none.

use std::fmt::Display;

use owo_colors::Style;

/// Paints text where colours are wanted, and leaves it alone where they are not.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Paint {
    on: bool,
}

impl Paint {
    pub(super) fn new(on: bool) -> Self {
        Self { on }
    }

    pub(in crate::cli) fn is_on(self) -> bool {
        self.on
    }

    pub(in crate::cli) fn bold(self, text: impl Display) -> String {
        self.style(Style::new().bold(), text)
    }

    pub(in crate::cli) fn dim(self, text: impl Display) -> String {
        self.style(Style::new().dimmed(), text)
    }

    pub(in crate::cli) fn red(self, text: impl Display) -> String {
        self.style(Style::new().red().bold(), text)
    }

    pub(in crate::cli) fn green(self, text: impl Display) -> String {
        self.style(Style::new().green().bold(), text)
    }

    pub(in crate::cli) fn yellow(self, text: impl Display) -> String {
        self.style(Style::new().yellow().bold(), text)
    }

    pub(in crate::cli) fn cyan(self, text: impl Display) -> String {
        self.style(Style::new().cyan(), text)
    }

    fn style(self, style: Style, text: impl Display) -> String {
        if self.on { style.style(text).to_string() } else { text.to_string() }
    }
}
