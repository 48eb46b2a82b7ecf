//! Where the command writes: the answer to stdout, the talk to stderr, colours only for a terminal that wants them.
//!
//! All that is written goes through here, and whatever objects hold, nothing in it acts on a terminal or hides in
//! a page: what no one would see is spelt out.

pub(super) mod paint;
pub(super) mod progress;
pub(super) mod report;
pub(super) mod wrap;
pub(super) mod yaml;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use clap::ValueEnum;
use owo_colors::{OwoColorize as _, Stream};
use serde::Serialize;

pub(super) use paint::Paint;
use progress::Progress;

use concordat_core::text::{visible, visible_json};

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum ColorChoice {
    /// Where a terminal wants it (`NO_COLOR` and its like are heard).
    #[default]
    Auto,
    Always,
    Never,
}

/// The text without a line that begins with `::`: a workflow of GitHub's would act on it, and none of our own lines does.
fn without_commands(text: &str) -> Cow<'_, str> {
    if !text.lines().any(|line| line.trim_start().starts_with("::")) {
        return Cow::Borrowed(text);
    }
    let lines = text.split('\n').map(|line| match line.trim_start().strip_prefix("::") {
        Some(rest) => {
            let indent = line.len() - line.trim_start().len();
            format!("{}\\u{{3a}}:{rest}", " ".repeat(indent))
        }
        None => line.to_owned(),
    });
    Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
}

/// How wide text is set where no terminal says how wide it is.
const DEFAULT_WIDTH: usize = 100;
/// Wider lines are hard to read.
const MAX_WIDTH: usize = 120;

/// Writes answer and talk.
#[derive(Debug)]
pub(super) struct Printer {
    answer: Paint,
    talk: Paint,
    width: usize,
    quiet: bool,
    failed: Option<io::Error>,
}

impl Printer {
    pub(super) fn new(color: ColorChoice, quiet: bool) -> Self {
        let paint = |stream| {
            Paint::new(match color {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                // the crate knows the conventions, and tells them by what it does
                ColorChoice::Auto => " ".if_supports_color(stream, |text| text.bold()).to_string() != " ",
            })
        };
        let width = terminal_size::terminal_size_of(io::stdout())
            .or_else(|| terminal_size::terminal_size_of(io::stderr()))
            .map_or(DEFAULT_WIDTH, |(width, _)| usize::from(width.0));
        Self {
            answer: paint(Stream::Stdout),
            talk: paint(Stream::Stderr),
            width: width.clamp(40, MAX_WIDTH),
            quiet,
            failed: None,
        }
    }

    /// Colours for the answer.
    pub(super) fn stdout_paint(&self) -> Paint {
        self.answer
    }

    /// Colours for the talk.
    pub(super) fn stderr_paint(&self) -> Paint {
        self.talk
    }

    /// How many characters go on a line.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Writes a line of the answer.
    pub(super) fn stdout(&mut self, text: impl Display) {
        let text = self.answer.shown(&text.to_string());
        self.write(&without_commands(&text));
    }

    /// Writes a line that a workflow of GitHub's acts on.
    pub(super) fn stdout_command(&mut self, line: &str) {
        self.write(&self.answer.shown(line));
    }

    /// Writes an answer as JSON, as it comes: it may be too long to be put together first.
    pub(super) fn stdout_json(&mut self, value: &impl Serialize) {
        if self.failed.is_none() {
            let mut out = VisibleJson(BufWriter::with_capacity(1 << 16, io::stdout().lock()));
            let written = serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from);
            self.failed = written.and_then(|()| writeln!(out)).and_then(|()| out.flush()).err();
        }
    }

    /// Writes an answer as YAML. Where a text in it has to be spelt out, it is written as JSON, which is YAML too: a
    /// plain scalar knows no escapes.
    pub(super) fn stdout_yaml(&mut self, value: &impl Serialize) -> Result<(), serde_saphyr::SerializeError> {
        let text = yaml::to_yaml(value)?;
        if visible(&text) == text {
            self.write(text.trim_end());
        } else {
            self.stdout_json(value);
        }
        Ok(())
    }

    fn write(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = writeln!(io::stdout().lock(), "{text}").err();
        }
    }

    /// Writes a line of the talk, unless quiet is wanted.
    pub(super) fn stderr(&mut self, text: impl Display) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Writes a note of the talk.
    pub(super) fn note(&mut self, text: impl Display) {
        self.stderr(format!("{} {text}", self.talk.yellow("note:")));
    }

    /// Writes an error and what would help.
    pub(super) fn error(&mut self, message: impl Display, help: Option<&str>) {
        let paint = self.talk;
        self.say(format!("{} {message}", paint.red("error:")));
        if let Some(help) = help {
            self.say(format!("{} {help}", paint.cyan("help:")));
        }
    }

    /// Writes a line about an error to stderr. That no one may hear it changes nothing.
    pub(super) fn say(&mut self, text: impl Display) {
        let text = self.talk.shown(&text.to_string());
        let _ = writeln!(io::stderr().lock(), "{}", without_commands(&text));
    }

    /// Shows on a terminal that something is going on, once it has taken a second, until the result is dropped.
    pub(super) fn progress(&self, doing: &'static str) -> Option<Progress> {
        (!self.quiet && io::stderr().is_terminal()).then(|| Progress::start(doing))
    }

    /// Whether the whole answer was written. A reader that has seen enough (`| head`) is no failure.
    pub(super) fn finish(mut self) -> bool {
        let failed = self.failed.take().or_else(|| io::stdout().lock().flush().err());
        match failed {
            None => true,
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => true,
            Some(error) => {
                self.error(format!("the answer could not be written: {error}"), None);
                false
            }
        }
    }
}

/// Writes JSON on, with what no one would see spelt out. The serializer hands over texts in whole characters.
struct VisibleJson<W>(W);

impl<W: Write> Write for VisibleJson<W> {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(json).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.0.write_all(visible_json(text).as_bytes())?;
        Ok(json.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A name that no other case of a report has, and keeps it: systems that show tests take cases of one name for one.
pub(super) fn unique(name: &str, names: &mut BTreeSet<String>) -> String {
    let first = visible(name).into_owned();
    let name = (2..)
        .map(|number| format!("{first} ({number})"))
        .find(|numbered| !names.contains(numbered))
        .filter(|_| names.contains(&first))
        .unwrap_or(first);
    names.insert(name.clone());
    name
}

/// A number and its noun.
pub(super) fn count(number: usize, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'o']) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{count, without_commands};

    #[test]
    fn nouns_follow_their_number() {
        let counts = [count(0, "error"), count(1, "error"), count(2, "network policy"), count(3, "key")];
        assert_eq!(counts, ["0 errors", "1 error", "2 network policies", "3 keys"]);
    }

    #[test]
    fn no_line_that_somebody_else_has_written_commands_a_workflow() {
        let said = without_commands("because a::b\n   ::error::forged\n::stop-commands::x");
        assert_eq!(said, "because a::b\n   \\u{3a}:error::forged\n\\u{3a}:stop-commands::x");
    }
}
