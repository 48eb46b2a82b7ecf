//! `concordat explain`: whether a request is allowed or an agreement is in force, why, and what would change it.

mod agreement;

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;

use super::Exit;
use super::arguments::{Cluster, Input, Moment, is_stdin, reference};
use super::load::{self, Loaded};
use super::output::wrap::wrap;
use super::output::{Printer, report};
use concordat_api::{
    AccessAnswer, AccessRequest, AnswerContext, DecisionTier, NearMiss, NearMissStep, ObjectRef,
};
use concordat_core::evaluate::Judgement;
use concordat_core::finding::Finding;
use concordat_core::policy::{CandidateVerdict, Verdict};
use concordat_source::files::{self, ReadRequest};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) input: Input,

    /// The request, an AuthZEN evaluation as YAML or JSON; `-` is standard input.
    #[arg(long, value_name = "FILE", group = "what")]
    request: Option<PathBuf>,

    /// The agreement: whether it is in force, and what each party still has to do.
    #[arg(long, value_name = "NS/NAME", value_parser = reference, group = "what")]
    agreement: Option<ObjectRef>,

    #[command(flatten)]
    cluster: Cluster,

    #[command(flatten)]
    at: Moment,

    /// How to show the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Human,
    /// For scripts: the answer, with what each candidate said; or the state of the agreement.
    Json,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    let Arguments { input, request, agreement, cluster, at, output } = arguments;
    if request.as_deref().is_some_and(is_stdin) && input.reads_stdin() {
        printer.error(
            "standard input cannot be both the request and the manifests",
            Some("put one of them into a file"),
        );
        return Exit::Unknown;
    }
    let Some(mut loaded) = load::load_to_judge(input, cluster, printer) else {
        return Exit::Unknown;
    };
    match (request, agreement) {
        (Some(request), _) => explain_request(request, &mut loaded, *at, *output, printer),
        (None, Some(named)) => agreement::run(named, input, &mut loaded, *at, *output, printer),
        // clap asks for one of the two
        (None, None) => Exit::Unknown,
    }
}

fn explain_request(
    request: &PathBuf,
    loaded: &mut Loaded,
    at: Moment,
    output: Format,
    printer: &mut Printer,
) -> Exit {
    let request = match files::read_request(request) {
        Ok(ReadRequest { request, notes }) => {
            for note in notes {
                printer.note(note);
            }
            request
        }
        Err(findings) => {
            let findings: Vec<&Finding> = findings.iter().collect();
            let text = report::render(&findings, &mut loaded.texts, printer.stderr_paint(), printer.width());
            printer.say(text.trim_end());
            return Exit::Unknown;
        }
    };
    let at = load::moment(at, &loaded.snapshot, printer);
    let progress = printer.progress("judging");
    let judgement = Judgement::new(&loaded.snapshot, at);
    let verdict = judgement.explain(&request);
    drop(progress);
    loaded.report_errors(&judgement.findings, printer);
    match output {
        Format::Human => human(&request, &verdict, &judgement, printer),
        Format::Json => {
            let Verdict { answer: AccessAnswer { decision, context }, candidates } = &verdict;
            let answer = json!({ "decision": decision, "context": context, "candidates": candidates });
            printer.stdout_json(&answer);
        }
    }
    if loaded.is_partial() || verdict.is_in_doubt(&judgement.model) {
        Exit::Unknown
    } else if verdict.answer.decision {
        Exit::Yes
    } else {
        Exit::No
    }
}

fn human(request: &AccessRequest, verdict: &Verdict, judgement: &Judgement, printer: &mut Printer) {
    let paint = printer.stdout_paint();
    let width = printer.width();
    let Verdict { answer: AccessAnswer { decision, context }, candidates } = verdict;
    let AnswerContext { tier, rule, rules, agreement, reason, near_miss } = context;
    let (word, may) =
        if *decision { (paint.green("allowed"), "may") } else { (paint.red("denied"), "may not") };
    let purpose = request
        .context
        .purpose
        .as_deref()
        .map_or("for no purpose that it names".to_owned(), |purpose| format!("for `{purpose}`"));
    printer.stdout(wrap(
        &format!(
            "{word}: `{}` {may} `{}` on `{}` {purpose}",
            request.subject.id, request.action.name, request.resource.id
        ),
        width,
        2,
    ));
    printer.stdout("");

    let mut fact = |name: &str, text: &str| {
        const COLUMN: usize = 14;
        let padding = " ".repeat(COLUMN.saturating_sub(2 + name.len()));
        printer.stdout(format!(
            "  {}{padding}{}",
            paint.dim(name),
            wrap(text, width.saturating_sub(COLUMN), COLUMN)
        ));
    };
    fact("because", reason);
    fact("tier", &format!("{}: {}", tier.as_str(), meaning(*tier, *decision)));
    if let Some(rule) = rule {
        let others: Vec<&str> = rules.iter().filter(|other| *other != rule).map(String::as_str).collect();
        let more = match others.as_slice() {
            [] => String::new(),
            [other] => format!(", and so does {other}"),
            several => format!(", and so do {}", several.join(", ")),
        };
        let until = judgement.permit_ends(rule).filter(|_| *decision);
        let until = until.map_or_else(String::new, |until| format!(", until its review is due on {until}"));
        fact("rule", &format!("{rule} decides{more}{until}"));
    }
    if let Some(agreement) = agreement {
        fact("agreement", &describe(agreement, request, judgement));
    }
    if let Some(help) = rule.as_deref().zip(agreement.as_deref()).and_then(|(rule, agreement)| {
        let (namespace, name) = agreement.split_once('/')?;
        let reference = ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() };
        let framework = &judgement.model.agreements.get(&reference)?.spec.framework;
        let text = judgement.model.frameworks.get(framework)?.rules.get(rule)?;
        (!decision && !text.help.is_empty()).then_some(text.help.as_str())
    }) {
        fact("helps", help);
    }
    if let Some(near_miss) = near_miss {
        let NearMiss { agreement, rule, clause: _, saw: _, wants: _, who: _, then: _, or: _, obstacles: _ } =
            near_miss;
        match (rule, agreement) {
            // what denied is no near miss
            _ if *tier == DecisionTier::Ceiling || *tier == DecisionTier::Local => {}
            (Some(rule), Some(agreement)) => {
                fact("nearest", &format!("rule `{rule}` of `{agreement}` came closest"));
            }
            (Some(rule), None) => fact("nearest", &format!("rule `{rule}` came closest")),
            (None, Some(agreement)) => fact("nearest", &format!("agreement `{agreement}` came closest")),
            (None, None) => {}
        }
        for (name, text) in ways(near_miss) {
            fact(name, &text);
        }
    }
    if candidates.len() > 1 {
        printer.stdout("");
        printer.stdout(format!("  {}", paint.dim("what each agreement in force said")));
        for candidate in candidates {
            let CandidateVerdict { agreement, decision, tier, rule, .. } = candidate;
            let word = if *decision { paint.green("allows") } else { paint.red("denies") };
            let rule = rule.as_deref().map_or(String::new(), |rule| format!(" by {rule}"));
            printer.stdout(format!("    {agreement} {word}, {}{rule}", tier.as_str()));
        }
    }
}

/// What would allow a denied request, line by line: what has to change, and who can change it.
pub(super) fn ways(near_miss: &NearMiss) -> Vec<(&'static str, String)> {
    let NearMiss { agreement: _, rule: _, clause, saw, wants, who, then, or, obstacles } = near_miss;
    if !obstacles.is_empty() {
        let few = "no change that was tried would allow it; in the way:".to_owned();
        let all = obstacles.iter().map(|obstacle| ("", obstacle.clone()));
        return std::iter::once(("needs", few)).chain(all).collect();
    }
    let change = |clause: &str, saw: &str, wants: &str| format!("{clause} is {saw}, and has to be {wants}");
    let mut lines = vec![("needs", change(clause, saw, wants)), ("fixed by", who.clone())];
    for NearMissStep { clause, saw, wants, who } in then {
        lines.extend([("and then", change(clause, saw, wants)), ("fixed by", who.clone())]);
    }
    for way in or {
        let mut name = "or";
        for NearMissStep { clause, saw, wants, who } in way {
            lines.extend([(name, change(clause, saw, wants)), ("fixed by", who.clone())]);
            name = "and then";
        }
    }
    lines
}

/// What a tier means to somebody who has not read the design.
fn meaning(tier: DecisionTier, allowed: bool) -> &'static str {
    match (tier, allowed) {
        (DecisionTier::Ceiling, _) => "a national rule forbids it, and no local rule can change that",
        (DecisionTier::Floor, _) => "a national rule guarantees it, and no local rule can take it away",
        (DecisionTier::Local, true) => "a rule of the place permits it",
        (DecisionTier::Local, false) => "a rule of the place forbids it",
        (DecisionTier::Agreement, _) => "the terms that the parties signed permit it",
        (DecisionTier::None, _) => "nothing permits it",
        (DecisionTier::Error, _) => "it could not be decided, and what is in doubt is denied",
    }
}

/// An agreement by its name, with its title, and the end of the path that is asked about, or its own.
fn describe(agreement: &str, request: &AccessRequest, judgement: &Judgement) -> String {
    let Some((namespace, name)) = agreement.split_once('/') else {
        return format!("`{agreement}`");
    };
    let reference = ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() };
    let found =
        judgement.model.agreements.get(&reference).zip(judgement.assessments.agreements.get(&reference));
    match found {
        Some((found, assessment)) => {
            let title = &found.spec.title;
            match judgement.path_ends(request, &reference) {
                Some(end) => format!("`{agreement}`, {title}; this path ends on {end} at the latest"),
                None => format!("`{agreement}`, {title}, which ends on {} at the latest", assessment.ends),
            }
        }
        None => format!("`{agreement}`"),
    }
}
