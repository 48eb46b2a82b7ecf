//! `concordat check`: everything that is wrong.

mod github;
mod junit;
mod sarif;

use clap::ValueEnum;
use serde_json::json;

use super::Exit;
use super::arguments::{Moment, Paths};
use super::load::{self, Loaded};
use super::output::{Printer, report};
use crate::core::finding::{self, Code, Finding};
use crate::core::judge::Judgement;

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
    let Arguments { paths: Paths { paths }, format, strict, at } = arguments;
    let mut loaded = load::load(paths, printer);
    if loaded.is_empty(paths, printer) {
        return if *format == Format::Human {
            Exit::Unknown
        } else {
            show(&[], *format, *strict, Exit::Unknown, &mut loaded, printer)
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
    let exit = show(&findings, *format, *strict, exit, &mut loaded, printer);
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

/// Writes findings out, and returns how the command ends.
fn show(
    findings: &[Finding],
    format: Format,
    strict: bool,
    exit: Exit,
    loaded: &mut Loaded,
    printer: &mut Printer,
) -> Exit {
    let told = exit != Exit::Unknown;
    match format {
        Format::Human => human(findings, loaded, printer),
        Format::Json => printer.answer(format!("{:#}", json!({ "findings": findings }))),
        Format::Sarif => printer.answer(format!("{:#}", sarif::document(findings, told))),
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

fn human(findings: &[Finding], loaded: &mut Loaded, printer: &mut Printer) {
    let all: Vec<&Finding> = findings.iter().collect();
    let text = report::render(&all, &mut loaded.texts, printer.answer_paint(), printer.width());
    if !text.is_empty() {
        printer.answer(text.trim_end());
        printer.answer("");
    }
    printer.answer(report::summary(findings, &loaded.report, printer.answer_paint()));
}
