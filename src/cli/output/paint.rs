//! Colours, or none.

use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::hash::BuildHasher as _;
use std::sync::LazyLock;

use owo_colors::Style;

use concordat_core::text::visible;

/// Paints text where colours are wanted, and leaves it alone where they are not.
///
/// Each colour of ours bears a number that no one knows beforehand, and [`Paint::shown`] takes it off again. What looks
/// like a colour without it stood in somebody's text, and is spelt out like all that would act in a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    seal: Option<u64>,
}

/// A hasher has random keys.
static SEAL: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(ESCAPE));

/// How a colour begins.
const ESCAPE: &str = "\x1b[";

impl Paint {
    pub(super) fn new(on: bool) -> Self {
        Self { seal: on.then(|| *SEAL) }
    }

    pub(crate) fn is_on(self) -> bool {
        self.seal.is_some()
    }

    /// Text as it may go to a terminal: our own colours, and nothing else that acts there.
    pub(super) fn shown(self, text: &str) -> String {
        let Some(seal) = self.seal else {
            return visible(text).into_owned();
        };
        let sealed = format!("{ESCAPE}{seal};");
        text.split(sealed.as_str()).map(visible).collect::<Vec<_>>().join(ESCAPE)
    }

    /// Seals the colours of a text that holds no other text's: somebody else has painted what is harmless.
    pub(super) fn sealed(self, text: &str) -> String {
        let Some(seal) = self.seal else {
            return text.to_owned();
        };
        let sealed = format!("{ESCAPE}{seal};");
        text.split(sealed.as_str())
            .map(|part| part.replace(ESCAPE, &sealed))
            .collect::<Vec<_>>()
            .join(&sealed)
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.style(Style::new().bold(), text)
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.style(Style::new().dimmed(), text)
    }

    pub(crate) fn red(self, text: impl Display) -> String {
        self.style(Style::new().red().bold(), text)
    }

    pub(crate) fn green(self, text: impl Display) -> String {
        self.style(Style::new().green().bold(), text)
    }

    pub(crate) fn yellow(self, text: impl Display) -> String {
        self.style(Style::new().yellow().bold(), text)
    }

    pub(crate) fn cyan(self, text: impl Display) -> String {
        self.style(Style::new().cyan(), text)
    }

    fn style(self, style: Style, text: impl Display) -> String {
        if !self.is_on() {
            return text.to_string();
        }
        let (before, after) = (style.prefix_formatter().to_string(), style.suffix_formatter().to_string());
        format!("{}{text}{}", self.sealed(&before), self.sealed(&after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_colours_are_shown_and_those_of_a_text_are_spelt_out() {
        let theirs = "\x1b[32;1mallowed\x1b[0m\x1b[2K";
        let spelt = theirs.replace('\x1b', "\\u{1b}");
        let paint = Paint::new(true);
        let painted = paint.bold(format!("a {} b", paint.red(theirs)));
        let seen = paint.shown(&painted);
        assert!(seen.starts_with("\x1b[1ma \x1b[") && seen.contains(&spelt), "{seen:?}");
        assert_eq!(seen.matches('\x1b').count(), 4, "{seen:?}");
        // sealing twice changes nothing
        assert_eq!(paint.sealed(&painted.replace(theirs, "")), painted.replace(theirs, ""));
        let plain = Paint::new(false);
        assert_eq!(plain.shown(&plain.bold(theirs)), spelt);
    }
}
