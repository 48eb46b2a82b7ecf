//! What a monitor sees: `/metrics`, in the text format of Prometheus.
//!
//! A dozen numbers, and the format is lines of text: no crate is needed for that. What a replica knows only while it
//! leads, it says only while it leads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use concordat_core::plan::{Plan, StatusBody};
use concordat_core::snapshot::Unreadable;

/// The numbers, shared by whoever counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics(Arc<Mutex<Numbers>>);

#[derive(Debug, Default)]
struct Numbers {
    rounds: BTreeMap<&'static str, u64>,
    judged: Timed,
    carried_out: Timed,
    /// By kind and result.
    writes: BTreeMap<(String, &'static str), u64>,
    /// By code and severity.
    findings: BTreeMap<(&'static str, &'static str), u64>,
    phases: BTreeMap<&'static str, u64>,
    /// By kind.
    undecodable: BTreeMap<String, u64>,
    still_open: u64,
    leading: bool,
}

#[derive(Debug, Default)]
struct Timed {
    count: u64,
    sum: Duration,
}

impl Timed {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.sum += took;
    }
}

impl Metrics {
    /// A snapshot was judged.
    pub(super) fn judged(&self, plan: &Plan, took: Duration) {
        let mut numbers = self.numbers();
        numbers.judged.add(took);
        numbers.findings.clear();
        for finding in &plan.findings {
            let severity = if finding.is_error() { "error" } else { "warning" };
            *numbers.findings.entry((finding.code.as_str(), severity)).or_default() += 1;
        }
        numbers.phases.clear();
        for planned in &plan.statuses {
            if let StatusBody::Agreement(status) = &*planned.status
                && let Some(phase) = status.phase
            {
                *numbers.phases.entry(phase.as_str()).or_default() += 1;
            }
        }
    }

    /// Objects that stand and cannot be decoded.
    pub(super) fn undecodable(&self, objects: &[Unreadable]) {
        let mut numbers = self.numbers();
        numbers.undecodable.clear();
        for object in objects {
            *numbers.undecodable.entry(object.kind.clone()).or_default() += 1;
        }
    }

    /// A judgement was carried out, or not to its end.
    pub(super) fn round(&self, outcome: &'static str, took: Duration) {
        let mut numbers = self.numbers();
        *numbers.rounds.entry(outcome).or_default() += 1;
        numbers.carried_out.add(took);
    }

    /// Something was written, or could not be.
    pub(super) fn wrote(&self, kind: &str, result: &'static str) {
        *self.numbers().writes.entry((kind.to_owned(), result)).or_default() += 1;
    }

    /// So many policies let through what should be closed.
    pub(super) fn still_open(&self, policies: usize) {
        self.numbers().still_open = u64::try_from(policies).unwrap_or(u64::MAX);
    }

    /// Whether this replica leads.
    pub(super) fn lead(&self, leading: bool) {
        self.numbers().leading = leading;
    }

    /// The page. `heard` is how long ago each watch was last answered; nothing, if never.
    pub(super) fn page(&self, heard: &BTreeMap<String, Option<Duration>>) -> String {
        let Numbers {
            rounds,
            judged,
            carried_out,
            writes,
            findings,
            phases,
            undecodable,
            still_open,
            leading,
        } = &*self.numbers();
        let mut page = Page(String::new());
        page.head("concordat_leader", "gauge", "whether this replica writes");
        page.line("concordat_leader", &[], f64::from(u8::from(*leading)));
        page.head("concordat_rounds_total", "counter", "judgements carried out, by how it went");
        for (outcome, count) in rounds {
            page.line("concordat_rounds_total", &[("outcome", outcome)], number(*count));
        }
        page.timed("concordat_judging_seconds", "time to judge a snapshot", judged);
        page.timed("concordat_round_seconds", "time to carry a judgement out", carried_out);
        page.head("concordat_writes_total", "counter", "writes, by kind and result");
        for ((kind, result), count) in writes {
            page.line("concordat_writes_total", &[("kind", kind), ("result", result)], number(*count));
        }
        page.head("concordat_findings", "gauge", "what is wrong or worth knowing, by code");
        // every replica judges; told by each, everything would count several times
        for ((code, severity), count) in findings.iter().filter(|_| *leading) {
            page.line("concordat_findings", &[("code", code), ("severity", severity)], number(*count));
        }
        page.head("concordat_agreements", "gauge", "agreements, by phase");
        for (phase, count) in phases.iter().filter(|_| *leading) {
            page.line("concordat_agreements", &[("phase", phase)], number(*count));
        }
        page.head(
            "concordat_still_open",
            "gauge",
            "network policies that let through what should be closed, and could not be written",
        );
        if *leading {
            page.line("concordat_still_open", &[], number(*still_open));
        }
        page.head("concordat_undecodable", "gauge", "objects that cannot be decoded, by kind");
        for (kind, count) in undecodable.iter().filter(|_| *leading) {
            page.line("concordat_undecodable", &[("kind", kind)], number(*count));
        }
        page.head("concordat_heard_seconds", "gauge", "how long ago the API server was last heard, by watch");
        for (name, heard) in heard {
            let seconds = heard.map_or(f64::INFINITY, |heard| heard.as_secs_f64());
            page.line("concordat_heard_seconds", &[("watch", name)], seconds);
        }
        page.0
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        // nothing panics while it holds the lock, and each change is whole
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts of this size are exact.
#[expect(clippy::cast_precision_loss, reason = "the format knows floating-point numbers only")]
fn number(count: u64) -> f64 {
    count as f64
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, type_: &str, help: &str) {
        // writing to a string does not fail
        let _ok = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {type_}");
    }

    /// One line. No label value needs escapes: kinds, codes, phases and words of ours.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let value = if value.is_infinite() { "+Inf".to_owned() } else { value.to_string() };
        let _ok = writeln!(self.0, "{name}{labels} {value}");
    }

    fn timed(&mut self, name: &str, help: &str, Timed { count, sum }: &Timed) {
        self.head(name, "summary", help);
        self.line(&format!("{name}_sum"), &[], sum.as_secs_f64());
        self.line(&format!("{name}_count"), &[], number(*count));
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;

    use super::*;

    #[test]
    fn the_page_says_what_was_counted_in_lines_that_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.lead(true);
        metrics.round("settled", Duration::from_millis(250));
        metrics.wrote("NetworkPolicy", "done");
        metrics.wrote("NetworkPolicy", "done");
        metrics.still_open(2);
        metrics.undecodable(&[Unreadable {
            kind: "PartnerOrg".to_owned(),
            meta: ObjectMeta::default(),
            error: "a field from the future".to_owned(),
            spec: serde_json::Value::Null,
            source: std::sync::Arc::default(),
        }]);
        let heard = BTreeMap::from([
            ("DataProduct".to_owned(), Some(Duration::from_millis(1500))),
            ("LocalPolicy".to_owned(), None),
        ]);
        let page = metrics.page(&heard);
        let lines: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "concordat_leader 1",
                "concordat_rounds_total{outcome=\"settled\"} 1",
                "concordat_judging_seconds_sum 0",
                "concordat_judging_seconds_count 0",
                "concordat_round_seconds_sum 0.25",
                "concordat_round_seconds_count 1",
                "concordat_writes_total{kind=\"NetworkPolicy\",result=\"done\"} 2",
                "concordat_still_open 2",
                "concordat_undecodable{kind=\"PartnerOrg\"} 1",
                "concordat_heard_seconds{watch=\"DataProduct\"} 1.5",
                "concordat_heard_seconds{watch=\"LocalPolicy\"} +Inf",
            ]
        );
        metrics.lead(false);
        assert!(!metrics.page(&heard).contains("PartnerOrg"), "who leads tells of it");
    }
}
