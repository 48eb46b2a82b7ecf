//! `concordat who-can`: who may do what to which product, for what, and until when.

use std::collections::BTreeSet;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde::Serialize;
use serde_json::json;

use super::Exit;
use super::arguments::{Cluster, Input, Moment, reference};
use super::load;
use super::output::wrap::wrap;
use super::output::{Printer, count};
use concordat_api::{DataAction, ObjectRef, Workload};
use concordat_core::evaluate::Judgement;
use concordat_core::policy::{Filter, LocalWord, Permission, UnknownName, WhoCan, who_can};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) input: Input,

    /// Only this product.
    #[arg(long, value_name = "NS/NAME", value_parser = reference)]
    product: Option<ObjectRef>,

    /// Only this organisation as the recipient.
    #[arg(long, value_name = "ORG")]
    org: Option<String>,

    /// Only this function of the recipient.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,

    /// Only this purpose.
    #[arg(long, value_name = "CODE")]
    purpose: Option<String>,

    /// Only this action.
    #[arg(
        long,
        value_name = "ACTION",
        value_parser = PossibleValuesParser::new(DataAction::ALL.map(DataAction::as_str)).map(action),
    )]
    action: Option<DataAction>,

    /// Only under this agreement.
    #[arg(long, value_name = "NS/NAME", value_parser = reference)]
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
    /// For scripts: `{grants: […], deniedBy: […]}`.
    Json,
}

/// The action of a name that clap has let through.
fn action(name: String) -> DataAction {
    DataAction::ALL.into_iter().find(|action| action.as_str() == name).unwrap_or(DataAction::ReadRecord)
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    let Arguments { input, product, org, function, purpose, action, agreement, cluster, at, output } =
        arguments;
    let Some(mut loaded) = load::load_to_judge(input, cluster, printer) else {
        return Exit::Unknown;
    };
    let at = load::moment(*at, &loaded.snapshot, printer);
    let filter = Filter {
        product: product.clone(),
        org: org.clone(),
        function: function.clone(),
        purpose: purpose.clone(),
        action: *action,
        agreement: agreement.clone(),
    };
    let progress = printer.progress("judging");
    let judgement = Judgement::new(&loaded.snapshot, at);
    let answer = who_can(&judgement, &filter);
    drop(progress);

    loaded.report_errors(&judgement.findings, printer);
    let WhoCan { grants, denied_by } = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let UnknownName { near, .. } = &error;
            let help = near.as_ref().map(|near| format!("did you mean `{near}`?"));
            printer.error(&error, help.as_deref());
            return Exit::Unknown;
        }
    };
    match output {
        Format::Human => human(&grants, printer),
        Format::Json => {
            let grants: Vec<Grant<'_>> =
                grants.iter().map(|permission| Grant::new(permission, &judgement)).collect();
            printer.stdout_json(&json!({ "grants": grants, "deniedBy": denied_by }));
        }
    }
    talk_about_denied(&denied_by, printer);
    talk_about_closed(&judgement, &filter, printer);
    if loaded.is_partial() { Exit::Unknown } else { Exit::Yes }
}

/// A permission for scripts, with who of the recipient comes for it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Grant<'a> {
    #[serde(flatten)]
    permission: &'a Permission,
    /// The clusters that the workloads name.
    clusters: BTreeSet<&'a str>,
    /// As the organisation has them: cluster, namespace, and which accounts and pods of it.
    workloads: &'a [Workload],
    /// `namespace/name`, with `*` for the name where every account of a namespace counts.
    service_accounts: BTreeSet<String>,
}

impl<'a> Grant<'a> {
    fn new(permission: &'a Permission, judgement: &'a Judgement) -> Self {
        let function =
            judgement.model.orgs.get(&permission.org).and_then(|org| org.function(&permission.function));
        let workloads = function.map(|function| function.workloads.as_slice()).unwrap_or_default();
        let accounts = |workload: &Workload| -> Vec<String> {
            let Workload { cluster: _, namespace, service_accounts, pod_selector: _ } = workload;
            match service_accounts {
                None => vec![format!("{namespace}/*")],
                Some(names) => names.iter().map(|name| format!("{namespace}/{name}")).collect(),
            }
        };
        Self {
            permission,
            clusters: workloads.iter().filter_map(|workload| workload.cluster.as_deref()).collect(),
            workloads,
            service_accounts: workloads.iter().flat_map(accounts).collect(),
        }
    }
}

fn human(permissions: &[Permission], printer: &mut Printer) {
    let paint = printer.stdout_paint();
    let width = printer.width();
    if permissions.is_empty() {
        printer.stdout(paint.bold("no one"));
        return;
    }
    let mut product = None;
    for permission in permissions {
        let Permission {
            org,
            function,
            product: of,
            purpose,
            actions,
            roles,
            max_identifiability,
            agreement,
            until,
            may_add,
            may_forbid,
        } = permission;
        if product != Some(of) {
            if product.is_some() {
                printer.stdout("");
            }
            printer.stdout(paint.bold(of));
            product = Some(of);
        }
        let actions: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
        let roles = match roles {
            Some(roles) => format!("in the role of {}", roles.join(" or ")),
            None => "in any role".to_owned(),
        };
        let text = format!(
            "{} for {purpose}: {}, at most {max_identifiability:?}, {roles}",
            paint.cyan(format!("{org}/{function}")),
            actions.join(", "),
        );
        printer.stdout(format!("  {}", wrap(&text, width.saturating_sub(2), 4)));
        let text = format!("until {until} at the latest, under {agreement}");
        printer.stdout(format!("    {}", wrap(&text, width.saturating_sub(4), 6)));
        let words = may_add.iter().map(|word| ("may add roles", word));
        for (may, LocalWord { rule, reason, until }) in
            words.chain(may_forbid.iter().map(|word| ("may deny", word)))
        {
            let until = until.map_or_else(String::new, |until| format!(", until {until} at the latest"));
            let text = format!("local rule {rule} {may}{until}: {reason}");
            printer.stdout(format!("    {}", paint.dim(wrap(&text, width.saturating_sub(4), 6))));
        }
    }
    let local = permissions.iter().any(|one| !one.may_add.is_empty() || !one.may_forbid.is_empty());
    if local {
        printer.note(
            "whether a local rule applies depends on the request; `concordat explain --request FILE` decides one",
        );
    }
}

/// Names the local rules that keep out of the list what the terms open.
fn talk_about_denied(denied_by: &BTreeSet<LocalWord>, printer: &mut Printer) {
    if denied_by.is_empty() {
        return;
    }
    printer.note("local rules deny some of what the terms open, whatever a request says; that is not listed");
    for word in denied_by {
        printer.stderr(format!("      {word}"));
    }
}

/// Names the agreements that list what is asked about and are not in force, as an empty answer begs the question.
fn talk_about_closed(judgement: &Judgement, filter: &Filter, printer: &mut Printer) {
    let Judgement { model, assessments, .. } = judgement;
    let lists = |reference: &ObjectRef| {
        let Some(agreement) = model.agreements.get(reference) else {
            // what cannot be used is named where it was asked for
            return filter.agreement.as_ref() == Some(reference);
        };
        agreement.spec.purposes.iter().any(|purpose| {
            filter.action.is_none_or(|action| purpose.actions.contains(&action))
                && purpose.products.iter().any(|product| {
                    let recipients = agreement.recipients(purpose, &model.orgs);
                    recipients
                        .iter()
                        .any(|recipient| filter.matches(reference, product, recipient, &purpose.code))
                })
        })
    };
    let mut closed: BTreeSet<(ObjectRef, &str)> = assessments
        .agreements
        .iter()
        .filter(|(reference, assessment)| !assessment.in_force() && lists(reference))
        .map(|(reference, assessment)| (reference.clone(), assessment.phase.as_str()))
        .collect();
    if let Some(wanted) = filter.agreement.as_ref().filter(|wanted| !model.agreements.contains_key(*wanted)) {
        closed.insert((wanted.clone(), "Invalid"));
    }
    if closed.is_empty() {
        return;
    }
    const NAMED: usize = 5;
    printer.note(format!(
        "{} not in force; `concordat explain --agreement NS/NAME` says why",
        if closed.len() == 1 {
            "1 agreement lists such paths, and is".to_owned()
        } else {
            format!("{} list such paths, and are", count(closed.len(), "agreement"))
        },
    ));
    for (reference, phase) in closed.iter().take(NAMED) {
        printer.stderr(format!("      {reference} is {phase}"));
    }
    if closed.len() > NAMED {
        printer.stderr(format!("      and {} more", closed.len() - NAMED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_can_be_asked_for() {
        for known in DataAction::ALL {
            assert_eq!(action(known.as_str().to_owned()), known);
        }
    }
}
