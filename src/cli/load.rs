//! Manifests to a snapshot, with the talk about it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use super::arguments::{Cluster, Input, Moment};
use super::output::report::{self, Texts};
use super::output::{Printer, count};
use concordat_core::finding::{Finding, ObjectKey, Origin};
use concordat_core::policy;
use concordat_core::snapshot::{ClusterView, Snapshot};
use concordat_source::files::{self, FilesReport};
use concordat_source::live::Judged;

/// What was read, of files or of a cluster.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    /// What is wrong with the files themselves and the shape of the objects; of a cluster, what could not be read.
    pub(super) findings: Vec<Finding>,
    pub(super) report: FilesReport,
    pub(super) texts: Texts,
}

/// Reads what a command judges, looked at from a cluster. None where there is nothing that can be judged, which is
/// said.
pub(super) fn load_to_judge(input: &Input, cluster: &Cluster, printer: &mut Printer) -> Option<Loaded> {
    let loaded = load(input, cluster.view().unwrap_or(ClusterView::Any), printer)?;
    (!loaded.is_empty(input, printer) && cluster.is_known(&loaded.snapshot, printer)).then_some(loaded)
}

/// Reads files or a cluster. None where a cluster cannot be read, which is said.
pub(super) fn load(input: &Input, view: ClusterView, printer: &mut Printer) -> Option<Loaded> {
    let Some(connection) = input.cluster() else {
        let mut loaded = read_files(&input.paths(), printer);
        loaded.snapshot.cluster = view;
        return Some(loaded);
    };
    let Judged { snapshot, findings, count } = connection.read_judged(view, printer)?;
    let Some(snapshot) = snapshot else {
        for finding in &findings {
            printer.error(&finding.message, finding.help.as_deref());
        }
        return None;
    };
    let report = FilesReport { objects: count, ..FilesReport::default() };
    Some(Loaded { snapshot, findings, report, texts: Texts::default() })
}

/// Reads what is under some paths.
fn read_files(paths: &[PathBuf], printer: &mut Printer) -> Loaded {
    let progress = printer.progress("reading manifests");
    let (snapshot, findings, mut report) = files::read(paths);
    drop(progress);
    for note in notes(&report) {
        printer.note(note);
    }
    let texts = Texts::new(report.stdin.take());
    Loaded { snapshot, findings, report, texts }
}

/// What would make manifests of what was skipped.
fn notes(report: &FilesReport) -> Vec<String> {
    [
        (report.templates, "template", "render them with `helm template` first, and check that"),
        (report.kustomizations, "kustomization", "run `kustomize build`, and check that"),
        (report.encrypted, "SOPS document", "decrypt them first, and check that"),
    ]
    .into_iter()
    .filter(|(number, ..)| *number > 0)
    .map(|(number, what, help)| format!("{} skipped: {help}", count(number, what)))
    .collect()
}

impl Loaded {
    /// Whether something was not read at all, so that what is found may be wrong and what is not found there.
    pub(super) fn is_partial(&self) -> bool {
        self.findings.iter().any(files::is_left_out)
    }

    /// Whether there is nothing to judge, and nothing wrong to speak of instead. Says so.
    pub(super) fn is_empty(&self, input: &Input, printer: &mut Printer) -> bool {
        if self.report.objects > 0 || !self.findings.is_empty() {
            return false;
        }
        let (what, help) = if input.cluster().is_some() {
            let what = "no object of `concordat.dev` in the cluster".to_owned();
            (what, "apply manifests, or name a folder that holds them in place of `--live`")
        } else {
            let paths: Vec<String> =
                input.paths().iter().map(|path| format!("`{}`", path.display())).collect();
            let what = match self.report.files {
                0 => "no YAML or JSON file".to_owned(),
                files => format!("no object of `concordat.dev` in {}", count(files, "file")),
            };
            (format!("{what} under {}", paths.join(", ")), "name a folder that holds manifests")
        };
        let paint = printer.stderr_paint();
        printer.say(format!("{} {what}", paint.red("nothing to judge:")));
        printer.say(format!("{} {help}", paint.cyan("help:")));
        true
    }

    /// Shows errors in the files on stderr, and reminds of `check` where the core has found more.
    pub(super) fn report_errors(&mut self, judged: &[Finding], printer: &mut Printer) {
        let paint = printer.stderr_paint();
        let is_told = |finding: &&Finding| finding.is_error() || files::is_left_out(finding);
        let broken: Vec<&Finding> = self.findings.iter().filter(is_told).collect();
        if !broken.is_empty() {
            let text = report::render(&broken, &mut self.texts, paint, printer.width());
            printer.say(text.trim_end());
        }
        let errors = judged.iter().filter(|finding| finding.is_error()).count();
        if errors > 0 {
            if !broken.is_empty() {
                printer.stderr("");
            }
            let errors_found = count(errors, if broken.is_empty() { "error" } else { "more error" });
            let them = if errors == 1 { "it" } else { "them" };
            printer.note(format!("{errors_found} in the manifests; `concordat check` shows {them}"));
        }
    }

    /// Says of what is not found, but is there, that it has an error of its own.
    pub(super) fn point_at_errors(&self, judged: &mut [Finding]) {
        let errors = self.findings.iter().chain(judged.iter()).filter(|finding| finding.is_error());
        let mut broken: BTreeMap<ObjectKey, Origin> = BTreeMap::new();
        for Finding { origin, .. } in errors {
            if let Some(object) = &origin.object {
                broken.entry(object.clone()).or_insert_with(|| origin.clone());
            }
        }
        for finding in judged {
            let found = finding.missing.as_ref().and_then(|missing| broken.get(missing));
            if let Some(Origin { file: Some(file), line: Some(line), .. }) = found {
                finding.help = Some(format!("it is there, but has an error of its own at {file}:{line}"));
            }
        }
    }
}

/// Says which moment is judged at, and by what where no manifest says it, and returns the moment.
pub(super) fn moment(moment: Moment, snapshot: &Snapshot, printer: &mut Printer) -> Timestamp {
    let at = moment.timestamp();
    let default = if moment.is_default() { " (now; `--at TIME` chooses another)" } else { "" };
    let built_in = &policy::built_in().reference;
    let named = snapshot.agreements.iter().any(|agreement| agreement.object.spec.framework == *built_in);
    let held = snapshot.frameworks.iter().any(|framework| {
        let spec = &framework.object.spec;
        (&spec.name, &spec.version) == (&built_in.name, &built_in.version)
    });
    let by = if named && !held { format!(" by the built-in framework {built_in}") } else { String::new() };
    let paint = printer.stderr_paint();
    printer.stderr(paint.dim(format!("judged as of {at}{default}{by}")));
    at
}
