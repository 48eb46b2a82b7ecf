//! `concordat check`: everything that is wrong.

mod github;
mod junit;
mod sarif;

use clap::ValueEnum;
use serde_json::json;

use super::Exit;
use super::arguments::{Moment, Paths};
#[cfg(feature = "controller")]
use super::live::Connection;
use super::load;
use super::output::Printer;
use super::output::report::{self, Texts};
use crate::core::finding::{self, Code, Finding};
use crate::core::judge::Judgement;
#[cfg(feature = "controller")]
use crate::core::{live, snapshot::ClusterView};
#[cfg(feature = "controller")]
use crate::source::live::Live;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    paths: Paths,

    /// How to show what is found.
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Fail on warnings too.
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    at: Moment,

    #[cfg(feature = "controller")]
    #[command(flatten)]
    live: Connection,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people: the line itself, a mark, and what would help.
    #[default]
    Human,
    /// For scripts: `{findings: […]}`.
    Json,
    /// SARIF 2.1.0, for code scanning services.
    Sarif,
    /// JUnit XML, for CI systems that show tests.
    Junit,
    /// Workflow commands, which GitHub shows beside the line.
    Github,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    #[cfg(feature = "controller")]
    if let Some(view) = arguments.live.view() {
        return run_live(arguments, view, printer);
    }
    let Arguments { paths: Paths { paths }, format, strict, at, .. } = arguments;
    let mut loaded = load::load(paths, printer);
    if loaded.is_empty(paths, printer) {
        return if *format == Format::Human {
            Exit::Unknown
        } else {
            let shown = Shown { findings: &[], strict: *strict, exit: Exit::Unknown, summary: String::new() };
            shown.write(*format, &mut loaded.texts, printer)
        };
    }
    let at = load::moment(*at, &loaded.snapshot, printer);
    let progress = printer.progress("judging");
    let mut findings = Judgement::new(&loaded.snapshot, at).findings;
    drop(progress);

    loaded.mend_help(&mut findings);
    findings.extend(loaded.findings.iter().cloned());
    finding::sort(&mut findings);
    let exit = if findings.iter().any(|finding| finding.code == Code::UnreadableFile) {
        Exit::Unknown
    } else if findings.iter().any(|finding| finding.is_error() || *strict) {
        Exit::No
    } else {
        Exit::Yes
    };
    let summary = report::summary(&findings, &loaded.report, printer.answer_paint());
    let shown = Shown { findings: &findings, strict: *strict, exit, summary };
    let exit = shown.write(*format, &mut loaded.texts, printer);
    let missing = |finding: &Finding| {
        matches!(
            finding.code,
            Code::OrgNotFound
                | Code::ProductNotFound
                | Code::FootprintNotFound
                | Code::FrameworkNotFound
                | Code::AgreementNotFound
        )
    };
    if loaded.is_partial() && findings.iter().any(missing) {
        let paint = printer.talk_paint();
        printer.talk(format!(
            "{} some text could not be read, and what is said not to be there may stand in it",
            paint.yellow("note:")
        ));
    }
    exit
}

/// Everything wrong with a live cluster.
#[cfg(feature = "controller")]
fn run_live(arguments: &Arguments, view: ClusterView, printer: &mut Printer) -> Exit {
    let Arguments { paths: _, format, strict, at, live } = arguments;
    let Some(Live { objects, surroundings, findings: unread, count: read }) = live.read(view, printer) else {
        return Exit::Unknown;
    };
    let mut findings = unread;
    if let Some((snapshot, observed)) = &objects {
        let at = load::moment(*at, snapshot, printer);
        let progress = printer.progress("judging");
        let judgement = Judgement::new(snapshot, at);
        findings.extend(live::findings(&judgement, observed, &surroundings));
        drop(progress);
    }
    finding::sort(&mut findings);
    let unreadable =
        |finding: &Finding| finding.code == Code::ClusterUnreadable && (finding.is_error() || *strict);
    let exit = if findings.iter().any(unreadable) {
        Exit::Unknown
    } else if findings.iter().any(|finding| finding.is_error() || *strict) {
        Exit::No
    } else {
        Exit::Yes
    };
    let summary = report::live_summary(&findings, read, printer.answer_paint());
    let shown = Shown { findings: &findings, strict: *strict, exit, summary };
    let exit = shown.write(*format, &mut Texts::default(), printer);
    let others = live::not_compared(&surroundings);
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(|group| format!("`{group}`")).collect();
        let paint = printer.talk_paint();
        printer.talk(format!(
            "{} policies of {} can let through more too, and are not compared",
            paint.yellow("note:"),
            others.join(", "),
        ));
    }
    exit
}

/// What is found, and what it comes to.
struct Shown<'a> {
    findings: &'a [Finding],
    strict: bool,
    exit: Exit,
    summary: String,
}

impl Shown<'_> {
    /// Writes it out, and returns how the command ends.
    fn write(self, format: Format, texts: &mut Texts, printer: &mut Printer) -> Exit {
        let Self { findings, strict, exit, summary } = self;
        let told = exit != Exit::Unknown;
        match format {
            Format::Human => {
                let all: Vec<&Finding> = findings.iter().collect();
                let text = report::render(&all, texts, printer.answer_paint(), printer.width());
                if !text.is_empty() {
                    printer.answer(text.trim_end());
                    printer.answer("");
                }
                printer.answer(summary);
            }
            Format::Json => printer.answer_json(&json!({ "findings": findings })),
            Format::Sarif => printer.answer_json(&sarif::document(findings, told)),
            Format::Junit => match junit::document(findings, strict, told) {
                Ok(text) => printer.answer(text.trim_end()),
                Err(error) => {
                    printer.error(format!("the findings cannot be written as XML: {error}"), None);
                    return Exit::Unknown;
                }
            },
            Format::Github => {
                for line in github::lines(findings) {
                    printer.answer(line);
                }
            }
        }
        exit
    }
}
