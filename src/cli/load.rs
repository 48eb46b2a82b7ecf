//! Manifests to a snapshot, with the talk about it.

use std::path::PathBuf;

use jiff::Timestamp;

use super::arguments::Moment;
use super::output::report::{self, Texts};
use super::output::{Printer, count};
use crate::core::finding::{Code, Finding};
use crate::core::snapshot::Snapshot;
use crate::source::files::{self, FilesReport};

/// What the files of some paths hold.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    /// What is wrong with the files themselves and the shape of the objects.
    pub(super) findings: Vec<Finding>,
    pub(super) report: FilesReport,
    pub(super) texts: Texts,
}

/// Reads what is under some paths.
pub(super) fn load(paths: &[PathBuf], printer: &mut Printer) -> Loaded {
    let progress = printer.progress("reading manifests");
    let (snapshot, findings, mut report) = files::read(paths);
    drop(progress);
    let texts = Texts::new(report.stdin.take());
    Loaded { snapshot, findings, report, texts }
}

impl Loaded {
    /// Whether something was not read at all, so that what is found may be wrong and what is not found there.
    pub(super) fn is_partial(&self) -> bool {
        self.findings.iter().any(|finding| {
            matches!(finding.code, Code::UnreadableFile | Code::InvalidYaml | Code::TooLarge)
                && finding.origin.object.is_none()
        })
    }

    /// Says that nothing of ours is there, where that is so.
    pub(super) fn is_empty(&self, paths: &[PathBuf], printer: &mut Printer) -> bool {
        if self.report.objects > 0 {
            return false;
        }
        let paths: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        let FilesReport { files, .. } = self.report;
        let paint = printer.talk_paint();
        let what = if files == 0 {
            "no YAML or JSON file".to_owned()
        } else {
            format!("no object of `concordat.dev` in {}", count(files, "file"))
        };
        printer.talk(format!("{} {what} under {}", paint.red("nothing to judge:"), paths.join(", ")));
        printer.talk(format!("{} name a folder of manifests, such as `concordat check examples`", paint.cyan("help:")));
        true
    }

    /// Shows errors in the files on stderr, and reminds of `check` where there is more to see.
    pub(super) fn talk_about(&mut self, judged: &[Finding], printer: &mut Printer) {
        let broken: Vec<&Finding> = self.findings.iter().filter(|finding| finding.is_error()).collect();
        if !broken.is_empty() {
            let text = report::render(&broken, &mut self.texts, printer.talk_paint(), printer.width());
            printer.talk(text.trim_end());
        }
        let errors = judged.iter().filter(|finding| finding.is_error()).count() + broken.len();
        if errors > 0 {
            let paint = printer.talk_paint();
            printer.talk(format!(
                "{} {} in the manifests; `concordat check` shows {}",
                paint.yellow("note:"),
                count(errors, "error"),
                if errors == 1 { "it" } else { "them" },
            ));
        }
    }
}

/// Says which moment is judged at, and returns it.
pub(super) fn moment(moment: Moment, printer: &mut Printer) -> Timestamp {
    let at = moment.timestamp();
    let default = if moment.is_default() { ", which is now; `--at TIME` chooses another" } else { "" };
    let paint = printer.talk_paint();
    printer.talk(paint.dim(format!("judged as of {at}{default}")));
    at
}
