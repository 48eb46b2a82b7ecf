//! `concordat check`: everything that is wrong.

mod github;
mod junit;
mod repository;
mod sarif;

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use super::Exit;
use super::arguments::{Cluster, DnsServers, Input, Moment};
use super::live::Connection;
use super::load;
use super::output::Printer;
use super::output::report::{self, Texts};
use concordat_api::FrameworkRef;
use concordat_core::endings::endings;
use concordat_core::evaluate::Judgement;
use concordat_core::finding::{self, Code, Finding};
use concordat_core::gateways;
use concordat_core::snapshot::Snapshot;
use concordat_core::{live, snapshot::ClusterView};
use concordat_source::files::STDIN;
use concordat_source::live::Live;
use repository::Repository;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) input: Input,

    /// How to show what is found.
    #[arg(short, long, visible_alias = "format", value_enum, default_value_t)]
    output: Format,

    /// Fail on warnings too.
    #[arg(long)]
    strict: bool,

    /// Warn of what ends by itself within so many days.
    #[arg(long, value_name = "N", default_value_t = 90)]
    days: u32,

    #[command(flatten)]
    at: Moment,

    #[command(flatten)]
    cluster: Cluster,

    #[command(flatten)]
    dns: DnsServers,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people: the line itself, a mark, and what would help.
    #[default]
    Human,
    /// For scripts: `{at, frameworks, counts, findings: […]}`.
    Json,
    /// SARIF 2.1.0, for code scanning services.
    Sarif,
    /// JUnit XML, for CI systems that show tests.
    Junit,
    /// Workflow commands, which GitHub shows beside the line.
    Github,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    if let Some(connection) = arguments.input.cluster() {
        return run_live(connection, arguments, printer);
    }
    let Arguments { input, output, strict, days, at, cluster, dns: _ } = arguments;
    let Some(mut loaded) = load::load(input, cluster.view().unwrap_or(ClusterView::Any), printer) else {
        return Exit::Unknown;
    };
    let unknown = |texts: &mut Texts, printer: &mut Printer| {
        if *output == Format::Human {
            Exit::Unknown
        } else {
            Shown::nothing(at.timestamp(), *strict).write(*output, texts, printer)
        }
    };
    if loaded.is_empty(input, printer) || !cluster.is_known(&loaded.snapshot, printer) {
        return unknown(&mut loaded.texts, printer);
    }
    let at = load::moment(*at, &loaded.snapshot, printer);
    let progress = printer.progress("judging");
    let mut judgement = Judgement::new(&loaded.snapshot, at);
    let mut findings = std::mem::take(&mut judgement.findings);
    findings.extend(endings(&loaded.snapshot, &judgement, *days));
    findings.extend(gateways::findings(&loaded.snapshot, &judgement));
    drop(progress);

    loaded.point_at_errors(&mut findings);
    findings.extend(loaded.findings.iter().cloned());
    finding::sort(&mut findings);
    let exit = if loaded.is_partial() || findings.iter().any(|it| it.code == Code::UnreadableFile) {
        Exit::Unknown
    } else if findings.iter().any(|finding| finding.is_error() || *strict) {
        Exit::No
    } else {
        Exit::Yes
    };
    let summary = report::summary(&findings, &loaded.report, printer.stdout_paint());
    let frameworks = frameworks(&loaded.snapshot, &judgement);
    let objects = loaded.report.objects;
    let shown = Shown { at, frameworks, objects, findings: &findings, strict: *strict, exit, summary };
    let exit = shown.write(*output, &mut loaded.texts, printer);
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
        printer.note("some text could not be read, and what is said not to be there may be in it");
    }
    exit
}

/// Everything wrong with a live cluster.
fn run_live(connection: Connection<'_>, arguments: &Arguments, printer: &mut Printer) -> Exit {
    let Arguments { input: _, output, strict, days, at, cluster, dns } = arguments;
    let view = cluster.view().unwrap_or(ClusterView::Unnamed);
    let Some(Live { objects, context, findings: unread, count: read }) = connection.read(view, printer)
    else {
        return Exit::Unknown;
    };
    let mut findings = unread;
    let (mut moment, mut used) = (at.timestamp(), Vec::new());
    if let Some((snapshot, observed)) = &objects {
        if !cluster.is_known(snapshot, printer) {
            return Exit::Unknown;
        }
        moment = load::moment(*at, snapshot, printer);
        let progress = printer.progress("judging");
        let judgement = Judgement::new(snapshot, moment);
        findings.extend(endings(snapshot, &judgement, *days));
        findings.extend(live::findings(&judgement, &dns.servers(), observed, &context));
        used = frameworks(snapshot, &judgement);
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
    let summary = report::live_summary(&findings, read, printer.stdout_paint());
    let shown = Shown {
        at: moment,
        frameworks: used,
        objects: read,
        findings: &findings,
        strict: *strict,
        exit,
        summary,
    };
    let exit = shown.write(*output, &mut Texts::default(), printer);
    let others = live::not_compared(&context);
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(|group| format!("`{group}`")).collect();
        printer.note(format!(
            "policies of {} can let through more too, and are not compared",
            others.join(", "),
        ));
    }
    exit
}

/// A framework that something was judged by.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Used {
    name: String,
    version: String,
    /// Whether it is the command's own, and no object holds it.
    built_in: bool,
}

/// The frameworks that agreements name and that can be used.
fn frameworks(snapshot: &Snapshot, judgement: &Judgement) -> Vec<Used> {
    let named: BTreeSet<&FrameworkRef> =
        snapshot.agreements.iter().map(|agreement| &agreement.object.spec.framework).collect();
    let held = |name: &str, version: &str| {
        snapshot.frameworks.iter().any(|framework| {
            let spec = &framework.object.spec;
            spec.name == name && spec.version == version
        })
    };
    let usable = named.into_iter().filter(|reference| judgement.model.frameworks.contains_key(*reference));
    usable
        .map(|FrameworkRef { name, version }| Used {
            name: name.clone(),
            version: version.clone(),
            built_in: !held(name, version),
        })
        .collect()
}

/// The answer for scripts.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    at: Timestamp,
    frameworks: Vec<Used>,
    counts: Counts,
    findings: &'a [Finding],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    objects: usize,
    errors: usize,
    warnings: usize,
    by_code: BTreeMap<&'static str, usize>,
}

impl Counts {
    fn new(objects: usize, findings: &[Finding]) -> Self {
        let errors = findings.iter().filter(|finding| finding.is_error()).count();
        let mut by_code = BTreeMap::new();
        for finding in findings {
            *by_code.entry(finding.code.as_str()).or_default() += 1;
        }
        Self { objects, errors, warnings: findings.len() - errors, by_code }
    }
}

/// What is found, and what it comes to.
struct Shown<'a> {
    at: Timestamp,
    frameworks: Vec<Used>,
    objects: usize,
    findings: &'a [Finding],
    strict: bool,
    exit: Exit,
    summary: String,
}

impl Shown<'_> {
    /// There was nothing to judge.
    fn nothing(at: Timestamp, strict: bool) -> Self {
        let (frameworks, summary) = (Vec::new(), String::new());
        Self { at, frameworks, objects: 0, findings: &[], strict, exit: Exit::Unknown, summary }
    }

    /// Writes it out, and returns how the command ends.
    fn write(self, output: Format, texts: &mut Texts, printer: &mut Printer) -> Exit {
        let Self { at, frameworks, objects, findings, strict, exit, summary } = self;
        let complete = exit != Exit::Unknown;
        let repository = || {
            let files = findings.iter().filter_map(|finding| finding.origin.file.as_deref());
            Repository::of(files.filter(|file| *file != STDIN))
        };
        match output {
            Format::Human => {
                let all: Vec<&Finding> = findings.iter().collect();
                let text = report::render(&all, texts, printer.stdout_paint(), printer.width());
                if !text.is_empty() {
                    printer.stdout(text.trim_end());
                    printer.stdout("");
                }
                printer.stdout(summary);
            }
            Format::Json => {
                let counts = Counts::new(objects, findings);
                printer.stdout_json(&Answer { at, frameworks, counts, findings });
            }
            Format::Sarif => printer.stdout_json(&sarif::document(findings, texts, &repository(), complete)),
            Format::Junit => match junit::document(findings, strict, complete) {
                Ok(text) => printer.stdout(text.trim_end()),
                Err(error) => {
                    printer.error(format!("the findings cannot be written as XML: {error}"), None);
                    return Exit::Unknown;
                }
            },
            Format::Github => {
                for line in github::lines(findings, &repository()) {
                    printer.stdout_command(&line);
                }
            }
        }
        exit
    }
}
