//! Findings as people read them: what, where, the line itself with a mark, and what would help.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::wrap::wrap;
use super::{Paint, count};
use crate::core::finding::{Finding, Origin, Severity};
use crate::core::text::masked;
use crate::source::files::{FilesReport, STDIN};

/// The texts of the files that findings are about, read when they are asked for.
#[derive(Debug, Default)]
pub(in crate::cli) struct Texts {
    by_file: BTreeMap<String, Option<Arc<str>>>,
}

impl Texts {
    /// No texts yet, but for that of standard input, which cannot be read again.
    pub(in crate::cli) fn new(stdin: Option<String>) -> Self {
        let stdin = stdin.map(|text| (STDIN.to_owned(), Some(Arc::from(harmless(&text)))));
        Self { by_file: stdin.into_iter().collect() }
    }

    fn get(&mut self, file: &str) -> Option<Arc<str>> {
        let read = || fs::read_to_string(file).ok().map(|text| Arc::from(harmless(&text)));
        self.by_file.entry(file.to_owned()).or_insert_with(read).clone()
    }
}

/// Text in which nothing moves a terminal's cursor or turns its writing round, and without NHS numbers, as what is
/// shown ends in the logs of pipelines; with as many characters as before.
fn harmless(text: &str) -> String {
    let harms = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    masked(text).chars().map(|c| if harms(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A finding as miette shows it.
struct Report {
    severity: Severity,
    message: String,
    help: Option<String>,
    text: Option<NamedSource<Arc<str>>>,
    label: Option<LabeledSpan>,
}

/// Sets findings for a reader, one after the other.
pub(in crate::cli) fn render(findings: &[&Finding], texts: &mut Texts, paint: Paint, width: usize) -> String {
    let theme = if paint.is_on() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_links(false)
        .with_context_lines(1)
        .with_wrap_lines(false); // it would break names at their hyphens
    let mut out = String::new();
    for finding in findings {
        let report = Report::new(finding, texts, paint, width);
        // a formatter that writes to a string does not fail
        let _ = handler.render_report(&mut out, &report);
        out.push('\n');
    }
    out
}

impl Report {
    fn new(finding: &Finding, texts: &mut Texts, paint: Paint, width: usize) -> Self {
        let Finding { code, severity, message, help, origin, missing: _ } = finding;
        let message = harmless(message);
        let code = match severity {
            Severity::Error => paint.red(code),
            Severity::Warning => paint.yellow(code),
        };
        let (text, label) = place(origin, texts, width).unzip();
        let mut message = wrap(&format!("{code} {message}"), width.saturating_sub(4), 0);
        // without a line to show, the place goes into the message
        let named = origin.file.as_ref().is_some_and(|file| message.contains(file.as_str()))
            && origin.object.is_none();
        let origin = harmless(&origin.to_string());
        if text.is_none() && !origin.is_empty() && !named {
            message.push_str(&format!("\n{}", paint.dim(format!("in {origin}"))));
        }
        Self {
            severity: *severity,
            message,
            help: help.as_deref().map(|help| wrap(&harmless(help), width.saturating_sub(8), 0)),
            text,
            label,
        }
    }
}

/// Longer lines would fill the screen, so that only their place is told.
const LONGEST_LINE: usize = 400;

/// The text that a finding is about, and where in it.
fn place(origin: &Origin, texts: &mut Texts, width: usize) -> Option<(NamedSource<Arc<str>>, LabeledSpan)> {
    let Origin { file, line, column, object, field } = origin;
    let (file, line, column) = (file.as_deref()?, (*line)?, (*column)?);
    let text = texts.get(file)?;
    let around = text.lines().skip(usize::try_from(line).ok()?.saturating_sub(2)).take(3);
    if around.map(|line| line.chars().take(LONGEST_LINE + 1).count()).any(|length| length > LONGEST_LINE) {
        return None;
    }
    let (start, length) = span(&text, line, column)?;
    // gutter, column and the hook of the label
    let room = width.saturating_sub(usize::try_from(column).ok()? + length / 2 + 12);
    let label = match (object, field) {
        (Some(object), Some(field)) => Some(format!("{field} of {object}"))
            .filter(|label| label.chars().count() <= room)
            .or_else(|| Some(field.clone())),
        (None, Some(field)) => Some(field.clone()),
        (Some(object), None) => Some(object.to_string()),
        (None, None) => None,
    };
    let label = label.map(|label| harmless(&label));
    Some((NamedSource::new(harmless(file), text), LabeledSpan::new_primary_with_span(label, (start, length))))
}

/// The bytes of what stands at a line and column: a word, or a single mark.
fn span(text: &str, line: u32, column: u32) -> Option<(usize, usize)> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    // a byte order mark has no column
    let mark = if line == 0 && text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let from = text.split_inclusive('\n').take(line).map(str::len).sum::<usize>() + mark;
    let rest = text.get(from..).filter(|rest| !rest.is_empty())?.split(['\n', '\r']).next()?;
    let before: usize = rest.chars().take(column).map(char::len_utf8).sum();
    let here = rest.get(before..)?;
    let quote = here.chars().next().filter(|c| matches!(c, '"' | '\''));
    let length = match quote {
        Some(quote) => {
            here.char_indices().skip(1).find(|(_, c)| *c == quote).map(|(at, c)| at + c.len_utf8())
        }
        None => None,
    };
    let word = || {
        here.char_indices()
            .find(|(_, c)| !(c.is_alphanumeric() || "-_./".contains(*c)))
            .map_or(here.len(), |(at, _)| at)
    };
    let one = here.chars().next().map_or(0, char::len_utf8);
    Some((from + before, length.unwrap_or_else(word).max(one)))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.text.as_ref().map(|text| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.label
            .clone()
            .map(|label| Box::new(std::iter::once(label)) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

/// The last line: how much was found in how much.
pub(in crate::cli) fn summary(findings: &[Finding], report: &FilesReport, paint: Paint) -> String {
    let FilesReport {
        files,
        objects,
        skipped,
        templates,
        foreign,
        ignored,
        kustomizations,
        encrypted,
        links,
        stdin: _,
    } = report;
    let verdict = verdict(findings, paint);
    let mut line = format!("{verdict} in {}, {}", count(*files, "file"), count(*objects, "object"));
    let others: usize = skipped.values().sum();
    let mut left_out = Vec::new();
    if others > 0 {
        const NAMED: usize = 3;
        let mut kinds: Vec<(&String, &usize)> = skipped.iter().collect();
        kinds.sort_by_key(|(kind, number)| (std::cmp::Reverse(**number), (*kind).clone()));
        let named: Vec<String> = kinds
            .iter()
            .take(NAMED)
            .map(|(kind, number)| {
                format!("{number} {}", if kind.as_str() == "none" { "without a kind" } else { kind })
            })
            .collect();
        let more = if kinds.len() > NAMED { ", …" } else { "" };
        left_out.push(format!("{} of other kinds ({}{more})", count(others, "document"), named.join(", ")));
    }
    for (number, what) in [
        (templates, "template"),
        (kustomizations, "kustomization"),
        (encrypted, "SOPS document"),
        (foreign, "other file"),
        (ignored, "ignored file"),
        (links, "symbolic link"),
    ] {
        if *number > 0 {
            left_out.push(count(*number, what));
        }
    }
    if !left_out.is_empty() {
        line.push_str(&paint.dim(format!("; {} skipped", left_out.join(", "))));
    }
    line
}

/// The last line about a live cluster.
#[cfg(feature = "controller")]
pub(in crate::cli) fn live_summary(findings: &[Finding], objects: usize, paint: Paint) -> String {
    format!("{} in a cluster with {}", verdict(findings, paint), count(objects, "object"))
}

/// How much was found.
fn verdict(findings: &[Finding], paint: Paint) -> String {
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let warnings = findings.len() - errors;
    match (errors, warnings) {
        (0, 0) => paint.green("nothing wrong"),
        (0, _) => paint.yellow(count(warnings, "warning")),
        (_, 0) => paint.red(count(errors, "error")),
        (_, _) => {
            format!("{}, {}", paint.red(count(errors, "error")), paint.yellow(count(warnings, "warning")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn a_mark_covers_the_word_at_its_column() {
        let text = "a: b\r\né: {kind: \"x y\", z}\n";
        for (line, column, marked) in [
            (1, 1, "a"),
            (1, 4, "b"),
            (2, 1, "é"),
            (2, 4, "{"),
            (2, 5, "kind"),
            (2, 11, "\"x y\""),
            (2, 18, "z"),
        ] {
            let (start, length) = span(text, line, column).unwrap();
            assert_eq!(&text[start..start + length], marked, "{line}:{column}");
        }
        assert_eq!(span(text, 9, 1), None);
        assert_eq!(span(text, 1, 5), Some((4, 0)));
        assert_eq!(span("", 1, 1), None);
    }
}
