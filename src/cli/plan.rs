//! `concordat plan`: what would exist, and who is waited for.

mod story;

use clap::ValueEnum;

use super::Exit;
use super::arguments::{Cluster, DnsServers, Input, Moment};
use super::load;
use super::output::Printer;
use concordat_core::evaluate::Judgement;
use concordat_core::finding;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) input: Input,

    #[command(flatten)]
    cluster: Cluster,

    #[command(flatten)]
    dns: DnsServers,

    #[command(flatten)]
    at: Moment,

    /// How to show the plan.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people: the state of each agreement, what opens, who is waited for.
    #[default]
    Human,
    /// The whole plan as YAML.
    Yaml,
    /// The whole plan as JSON.
    Json,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    let Arguments { input, cluster, dns, at, output } = arguments;
    let Some(mut loaded) = load::load_to_judge(input, cluster, printer) else {
        return Exit::Unknown;
    };
    let at = load::moment(*at, &loaded.snapshot, printer);
    let progress = printer.progress("planning");
    let judgement = Judgement::new(&loaded.snapshot, at);
    let mut plan = judgement.plan_with(&dns.servers());
    drop(progress);

    loaded.report_errors(&plan.findings, printer);
    loaded.point_at_errors(&mut plan.findings);
    plan.findings.extend(loaded.findings.iter().cloned());
    finding::sort(&mut plan.findings);
    match output {
        Format::Human => story::tell(&plan, &judgement, &loaded.snapshot, printer),
        Format::Json => printer.stdout_json(&plan),
        Format::Yaml => {
            if let Err(error) = printer.stdout_yaml(&plan) {
                printer.error(format!("the plan cannot be written out: {error}"), None);
                return Exit::Unknown;
            }
        }
    }
    let exit = if loaded.is_partial() { Exit::Unknown } else { Exit::Yes };
    // the process is about to end, and to take ten thousand agreements apart takes a sixth of all the time
    std::mem::forget((plan, judgement, loaded));
    exit
}
