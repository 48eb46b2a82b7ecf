//! Findings as people read them: what, where, the line itself with a mark, and what would help.
//!
//! What is drawn here has colours of its own, so that everything in it is made harmless first.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::wrap::wrap;
use super::{Paint, count};
use concordat_core::finding::{Finding, Origin, Severity};
use concordat_core::text::{in_one_line, masked, visible};
use concordat_source::files::{FilesReport, STDIN};

/// The texts of the files that findings are about, read when they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    by_file: BTreeMap<String, Option<Arc<str>>>,
}

impl Texts {
    /// No texts yet, but for that of standard input, which cannot be read again.
    pub(crate) fn new(stdin: Option<String>) -> Self {
        let stdin = stdin.map(|text| (STDIN.to_owned(), Some(lines(&text))));
        Self { by_file: stdin.into_iter().collect() }
    }

    fn get(&mut self, file: &str) -> Option<Arc<str>> {
        let read = || fs::read_to_string(file).ok().map(|text| lines(&text));
        self.by_file.entry(file.to_owned()).or_insert_with(read).clone()
    }
}

impl Texts {
    /// How many characters are marked at a line and column, where the text can be read.
    pub(crate) fn width(&mut self, file: &str, line: u32, column: u32) -> Option<u32> {
        let text = self.get(file)?;
        let (start, length) = span(&text, line, column)?;
        u32::try_from(text.get(start..start.checked_add(length)?)?.chars().count()).ok()
    }
}

/// A text without NHS numbers, as what is shown ends in the logs of pipelines, with as many lines and columns as before.
fn lines(text: &str) -> Arc<str> {
    Arc::from(masked(text).replace("\r\n", "\n"))
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
pub(crate) fn render(findings: &[&Finding], texts: &mut Texts, paint: Paint, width: usize) -> String {
    let theme = if paint.is_on() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_links(false)
        .with_context_lines(1)
        .with_wrap_lines(false); // it would break names at their hyphens
    let mut out = String::new();
    for (finding, alike) in grouped(findings) {
        let report = Report::new(finding, texts, paint, width);
        // a formatter that writes to a string does not fail
        let _ = handler.render_report(&mut out, &report);
        if !alike.is_empty() {
            let text = format!("  {}", paint.dim(wrap(&more(&alike), width.saturating_sub(2), 2)));
            out.push_str(&text);
            out.push('\n');
        }
        out.push('\n');
    }
    paint.sealed(&out)
}

/// The findings of which each says something of its own, with those that say the same of other places.
fn grouped<'a>(findings: &[&'a Finding]) -> Vec<(&'a Finding, Vec<&'a Finding>)> {
    let mut groups: Vec<(&Finding, Vec<&Finding>)> = Vec::new();
    let mut first: BTreeMap<_, usize> = BTreeMap::new();
    for finding in findings {
        let Finding { code, severity, message, help, origin: _, missing: _ } = finding;
        let index = *first.entry((code, severity, message, help)).or_insert(groups.len());
        match groups.get_mut(index) {
            Some((_, alike)) => alike.push(finding),
            None => groups.push((finding, Vec::new())),
        }
    }
    groups
}

/// How many more say the same, and of what.
fn more(alike: &[&Finding]) -> String {
    const NAMED: usize = 5;
    let place = |finding: &&Finding| {
        let Origin { file, line, column: _, object, field } = &finding.origin;
        let object = object.as_ref().map(ToString::to_string);
        let file = file.as_ref().map(|file| match line {
            Some(line) => format!("{file}:{line}"),
            None => file.clone(),
        });
        let parts: Vec<String> = object.or(file).into_iter().chain(field.clone()).collect();
        in_one_line(&parts.join(" ")).into_owned()
    };
    let named: Vec<String> = alike.iter().take(NAMED).map(place).collect();
    let others = alike.len() - named.len();
    let others = if others > 0 { format!(" and {others} others") } else { String::new() };
    format!("and {} more like it: {}{others}", alike.len(), named.join(", "))
}

impl Report {
    fn new(finding: &Finding, texts: &mut Texts, paint: Paint, width: usize) -> Self {
        let Finding { code, severity, message, help, origin, missing: _ } = finding;
        let message = visible(message);
        let code = match severity {
            Severity::Error => paint.red(code),
            Severity::Warning => paint.yellow(code),
        };
        let (text, label) = place(origin, texts, width).unzip();
        let mut message = wrap(&format!("{code} {message}"), width.saturating_sub(4), 0);
        // without a line to show, the place goes into the message
        let named = origin.file.as_ref().is_some_and(|file| message.contains(file.as_str()))
            && origin.object.is_none();
        let origin = origin.to_string();
        let origin = in_one_line(&origin);
        if text.is_none() && !origin.is_empty() && !named {
            message.push_str(&format!("\n{}", paint.dim(format!("in {origin}"))));
        }
        Self {
            severity: *severity,
            message,
            help: help.as_deref().map(|help| wrap(&visible(help), width.saturating_sub(8), 0)),
            text,
            label,
        }
    }
}

/// Longer lines would fill the screen, so that only their place is shown.
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
    let label = label.map(|label| in_one_line(&label).into_owned());
    let (text, start, length) = spelt_out(text, start, length);
    Some((
        NamedSource::new(in_one_line(file), text),
        LabeledSpan::new_primary_with_span(label, (start, length)),
    ))
}

/// A text with what no one would see spelt out, and where a mark in it has moved to.
fn spelt_out(text: Arc<str>, start: usize, length: usize) -> (Arc<str>, usize, usize) {
    if let Cow::Borrowed(_) = visible(&text) {
        return (text, start, length);
    }
    let end = start.saturating_add(length);
    let part = |range: Option<&str>| visible(range.unwrap_or_default()).into_owned();
    let (before, marked, after) =
        (part(text.get(..start)), part(text.get(start..end)), part(text.get(end..)));
    (Arc::from(format!("{before}{marked}{after}")), before.len(), marked.len())
}

/// The bytes of what is at a line and column: a word, or a single mark.
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
pub(crate) fn summary(findings: &[Finding], report: &FilesReport, paint: Paint) -> String {
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
pub(crate) fn live_summary(findings: &[Finding], objects: usize, paint: Paint) -> String {
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
