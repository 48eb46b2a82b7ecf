//! What a monitor sees: `/metrics`, in the text format of Prometheus.
//!
//! What a replica knows only while it leads, it says only while it leads.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use concordat_core::plan::{Plan, StatusBody};
use concordat_core::snapshot::Unreadable;

pub(super) use prometheus_text::CONTENT_TYPE;

/// The numbers, shared by whoever counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics(Arc<Mutex<Numbers>>);

/// So many labels, each a name and a value.
type Labels<const N: usize> = [(&'static str, String); N];

#[derive(Debug)]
struct Numbers {
    /// What every replica says.
    every: Registry,
    /// What the leader says alone: every replica judges, and reported by each it would count several times.
    leaders: Registry,
    leading: bool,
    leader: Gauge,
    rounds: Family<Labels<1>, Counter>,
    judged: Histogram,
    carried_out: Histogram,
    writes: Family<Labels<2>, Counter>,
    heard: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    findings: Family<Labels<2>, Gauge>,
    phases: Family<Labels<1>, Gauge>,
    still_open: Gauge,
    undecodable: Family<Labels<1>, Gauge>,
}

impl Default for Numbers {
    fn default() -> Self {
        // from a millisecond to a minute
        let seconds = || Histogram::new(exponential_buckets(0.001, 3.0, 11));
        let mut numbers = Self {
            every: Registry::with_prefix("concordat"),
            leaders: Registry::with_prefix("concordat"),
            leading: false,
            leader: Gauge::default(),
            rounds: Family::default(),
            judged: seconds(),
            carried_out: seconds(),
            writes: Family::default(),
            heard: Family::default(),
            findings: Family::default(),
            phases: Family::default(),
            still_open: Gauge::default(),
            undecodable: Family::default(),
        };
        let every = &mut numbers.every;
        every.register("leader", "whether this replica writes", numbers.leader.clone());
        every.register("rounds", "judgements carried out, by how it went", numbers.rounds.clone());
        every.register("judging_seconds", "time to judge a snapshot", numbers.judged.clone());
        every.register("round_seconds", "time to carry a judgement out", numbers.carried_out.clone());
        every.register("writes", "writes, by kind and result", numbers.writes.clone());
        let heard = "how long ago the API server was last heard, by watch";
        every.register("heard_seconds", heard, numbers.heard.clone());
        let leaders = &mut numbers.leaders;
        let findings = "what is wrong or worth knowing, by code";
        leaders.register("findings", findings, numbers.findings.clone());
        leaders.register("agreements", "agreements, by phase", numbers.phases.clone());
        let still_open = "network policies that let through what should be closed, and could not be written";
        leaders.register("still_open", still_open, numbers.still_open.clone());
        let undecodable = "objects that cannot be decoded, by kind";
        leaders.register("undecodable", undecodable, numbers.undecodable.clone());
        numbers
    }
}

impl Metrics {
    /// A snapshot was judged.
    pub(super) fn judged(&self, plan: &Plan, took: Duration) {
        let numbers = self.numbers();
        numbers.judged.observe(took.as_secs_f64());
        numbers.findings.clear();
        for finding in &plan.findings {
            let severity = if finding.is_error() { "error" } else { "warning" };
            let labels = [("code", finding.code.as_str().to_owned()), ("severity", severity.to_owned())];
            numbers.findings.get_or_create(&labels).inc();
        }
        numbers.phases.clear();
        for planned in &plan.statuses {
            if let StatusBody::Agreement(status) = &*planned.status
                && let Some(phase) = status.phase
            {
                numbers.phases.get_or_create(&[("phase", phase.as_str().to_owned())]).inc();
            }
        }
    }

    /// Objects that are there and cannot be decoded.
    pub(super) fn undecodable(&self, objects: &[Unreadable]) {
        let numbers = self.numbers();
        numbers.undecodable.clear();
        for object in objects {
            numbers.undecodable.get_or_create(&[("kind", object.kind.clone())]).inc();
        }
    }

    /// A judgement was carried out, or not to its end.
    pub(super) fn round(&self, outcome: &'static str, took: Duration) {
        let numbers = self.numbers();
        numbers.rounds.get_or_create(&[("outcome", outcome.to_owned())]).inc();
        numbers.carried_out.observe(took.as_secs_f64());
    }

    /// Something was written, or could not be.
    pub(super) fn wrote(&self, kind: &str, result: &'static str) {
        let labels = [("kind", kind.to_owned()), ("result", result.to_owned())];
        self.numbers().writes.get_or_create(&labels).inc();
    }

    /// So many policies let through what should be closed.
    pub(super) fn still_open(&self, policies: usize) {
        self.numbers().still_open.set(i64::try_from(policies).unwrap_or(i64::MAX));
    }

    /// Whether this replica leads.
    pub(super) fn lead(&self, leading: bool) {
        let mut numbers = self.numbers();
        numbers.leading = leading;
        numbers.leader.set(i64::from(leading));
    }

    /// The page. `heard` is how long ago each watch was last answered; nothing, if never.
    pub(super) fn page(&self, heard: &BTreeMap<String, Option<Duration>>) -> String {
        let numbers = self.numbers();
        for (watch, heard) in heard {
            let seconds = heard.map_or(f64::INFINITY, |heard| heard.as_secs_f64());
            numbers.heard.get_or_create(&[("watch", watch.clone())]).set(seconds);
        }
        let mut page = String::new();
        // writing to a string does not fail
        let _ok = prometheus_text::encode(&mut page, &numbers.every);
        if numbers.leading {
            let _ok = prometheus_text::encode(&mut page, &numbers.leaders);
        }
        page
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        // nothing panics while it holds the lock, and each change is whole
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        let lines: BTreeSet<&str> = page.lines().collect();
        for line in [
            "# TYPE concordat_writes_total counter",
            "concordat_leader 1",
            "concordat_rounds_total{outcome=\"settled\"} 1",
            "concordat_judging_seconds_count 0",
            "concordat_round_seconds_sum 0.25",
            "concordat_round_seconds_count 1",
            "concordat_round_seconds_bucket{le=\"+Inf\"} 1",
            "concordat_writes_total{kind=\"NetworkPolicy\",result=\"done\"} 2",
            "concordat_still_open 2",
            "concordat_undecodable{kind=\"PartnerOrg\"} 1",
            "concordat_heard_seconds{watch=\"DataProduct\"} 1.5",
            "concordat_heard_seconds{watch=\"LocalPolicy\"} +Inf",
        ] {
            assert!(lines.contains(line), "{line} in {page}");
        }
        metrics.lead(false);
        assert!(!metrics.page(&heard).contains("PartnerOrg"), "who leads tells of it");
    }
}
