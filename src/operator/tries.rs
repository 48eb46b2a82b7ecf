//! What has been tried to write and has failed, and when to try it again.
//!
//! The same write is never tried again before it is due, whatever else changes. Another write of the same object is another
//! matter, and what has only waited for something else is tried as soon as that is there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::backoff::Backoff;
use concordat_core::finding::ObjectKey;
use concordat_core::plan::{Act, Failure, FailureReason, Failures, Stage, Step};

/// How long to wait before a write is tried again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Every write that failed when it was last tried. Each has a back-off of its own, so that one trouble never slows another
/// thing down.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<BTreeMap<Target, Tried>>);

/// An object, and whether it is its status that is written.
type Target = (ObjectKey, bool);

#[derive(Debug)]
struct Tried {
    act: Act,
    failure: Failure,
    backoff: Backoff,
    /// None for what was held up by something else: it is tried as soon as that is there.
    due: Option<Instant>,
}

/// Steps in the order in which they are tried.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) first: Vec<Step>,
    /// What was refused, or had no answer: it is tried when everything else is done and said.
    pub(super) last: Vec<Step>,
    /// Why each has failed that is left for later, or comes last.
    pub(super) known: Failures,
}

impl Tries {
    /// Sorts steps by how they fared the last time. What was refused is tried again when everything else is done, so that
    /// thousands of refusals hold up nothing; what closes is tried with the others. After that comes what had no answer: it is
    /// not the API server as a whole that hangs, as whoever leads has just renewed its lease.
    pub(super) fn sort(&self, steps: Vec<Step>) -> Sorted {
        let (tries, now) = (self.lock(), Instant::now());
        let mut sorted = Sorted::default();
        for step in steps {
            let Some(tried) = tries.get(&target(&step)) else {
                sorted.first.push(step);
                continue;
            };
            let is_later = tried.due.is_some_and(|due| due > now) && tried.act.is_same_write(&step.act);
            let closes = matches!(step.stage, Stage::Close | Stage::Revoke);
            let comes_last = tried.hangs() || tried.failure.reason.is_refusal() && !closes;
            if is_later || comes_last {
                sorted.known.insert(step.object(), tried.failure.clone());
            }
            match (is_later, comes_last) {
                (true, _) => {}
                (false, true) => sorted.last.push(step),
                (false, false) => sorted.first.push(step),
            }
        }
        sorted.last.sort_by_key(|step| tries.get(&target(step)).is_some_and(Tried::hangs));
        sorted
    }

    /// How soon something is due again.
    pub(super) fn patience(&self) -> Duration {
        let due = self.lock().values().filter_map(|tried| tried.due).min();
        let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
        wait.unwrap_or(LONGEST_WAIT).max(FIRST_WAIT)
    }

    /// Whether this step failed when it was last tried.
    pub(super) fn has_failed(&self, step: &Step) -> bool {
        self.lock().contains_key(&target(step))
    }

    /// Whether the last try to write an object, not its status, ended so.
    pub(super) fn have_ended(&self, object: &ObjectKey, failure: &Failure) -> bool {
        self.lock().get(&(object.clone(), false)).is_some_and(|tried| tried.failure == *failure)
    }

    /// Why the last try to write an object, not its status, failed.
    pub(super) fn reason(&self, object: &ObjectKey) -> Option<FailureReason> {
        self.lock().get(&(object.clone(), false)).map(|tried| tried.failure.reason)
    }

    pub(super) fn succeeded(&self, step: &Step) {
        self.lock().remove(&target(step));
    }

    /// Notes a failure, and logs it unless it is the same as before.
    pub(super) fn failed(&self, step: &Step, failure: &Failure) {
        let mut tries = self.lock();
        let before = tries.remove(&target(step));
        log(step, failure, before.as_ref());
        // another trouble may be over sooner
        let before = before.filter(|tried| tried.failure.reason == failure.reason);
        let mut backoff =
            before.map_or_else(|| Backoff::new(FIRST_WAIT, LONGEST_WAIT), |tried| tried.backoff);
        let due = Some(Instant::now() + backoff.wait());
        let act = step.act.clone();
        tries.insert(target(step), Tried { act, failure: failure.clone(), backoff, due });
    }

    /// Notes that a write was not even tried, as something else has failed.
    pub(super) fn held_up(&self, step: &Step, failure: &Failure) {
        let mut tries = self.lock();
        log(step, failure, tries.get(&target(step)));
        let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let act = step.act.clone();
        tries.insert(target(step), Tried { act, failure: failure.clone(), backoff, due: None });
    }

    /// Forgets what has not failed again: should it come back, it is logged, and tried soon.
    pub(super) fn forget_all_but(&self, writes: &Failures, statuses: &Failures) {
        self.lock().retain(|(object, is_status), tried| {
            let failures = if *is_status { statuses } else { writes };
            failures.get(object) == Some(&tried.failure)
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Target, Tried>> {
        // held for a moment, never across a call, and nothing panics meanwhile
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tried {
    /// Whether it had no answer.
    fn hangs(&self) -> bool {
        self.failure.reason == FailureReason::Unreachable
    }
}

fn log(step: &Step, failure: &Failure, before: Option<&Tried>) {
    if before.is_none_or(|tried| tried.failure != *failure) {
        warn!(object = %step.object(), reason = failure.reason.as_str(), "not written: {}", failure.message);
    }
}

fn target(step: &Step) -> Target {
    (step.object(), matches!(step.act, Act::SetStatus { .. }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use concordat_api::{Condition, ConditionStatus, ObjectStatus};
    use concordat_core::plan::StatusBody;
    use jiff::Timestamp;

    use super::*;

    fn step(name: &str, stage: Stage) -> Step {
        let object = ObjectKey::new("NetworkPolicy", Some("council"), name);
        Step { stage, act: Act::Delete { object, uid: None }, after: BTreeSet::new() }
    }

    fn failure(reason: FailureReason) -> Failure {
        Failure { reason, message: String::new() }
    }

    fn names(steps: &[Step]) -> Vec<String> {
        steps.iter().map(|step| step.object().name).collect()
    }

    /// As many tries as an outage brings.
    fn outage(tries: &Tries, step: &Step) {
        for _ in 0..10 {
            tries.failed(step, &failure(FailureReason::Unreachable));
        }
    }

    #[test]
    fn another_trouble_does_not_wait_as_long_as_the_first_has_come_to() {
        let tries = Tries::default();
        let (old, new) = (step("old", Stage::Open), step("new", Stage::Open));
        outage(&tries, &old);
        assert!(tries.patience() > FIRST_WAIT * 2);
        tries.failed(&new, &failure(FailureReason::Conflict));
        assert_eq!(tries.patience(), FIRST_WAIT);
        tries.succeeded(&new);
        assert!(tries.patience() > FIRST_WAIT * 2);
        tries.failed(&old, &failure(FailureReason::Conflict));
        assert_eq!(tries.patience(), FIRST_WAIT);
    }

    #[test]
    fn the_same_write_waits_until_it_is_due_and_another_of_the_same_object_does_not() {
        let tries = Tries::default();
        let all = || vec![step("refused", Stage::Close), step("new", Stage::Open)];
        tries.failed(&step("refused", Stage::Close), &failure(FailureReason::Rejected));
        let sorted = tries.sort(all());
        assert_eq!(names(&sorted.first), ["new"]);
        assert_eq!((sorted.last.len(), sorted.known.len()), (0, 1));
        std::thread::sleep(FIRST_WAIT);
        assert_eq!(tries.sort(all()).first.len(), 2);
        let object = step("refused", Stage::Close).object();
        let other = Act::Delete { object, uid: Some("another".to_owned()) };
        tries
            .failed(&Step { act: other, ..step("refused", Stage::Close) }, &failure(FailureReason::Rejected));
        assert_eq!(tries.sort(all()).first.len(), 2);
    }

    #[test]
    fn a_status_that_only_a_later_moment_tells_apart_is_the_same_write() {
        let status = |message: &str, at: i64| {
            let ready = Condition {
                type_: "Ready".to_owned(),
                status: ConditionStatus::True,
                reason: "Written".to_owned(),
                message: message.to_owned(),
                observed_generation: None,
                last_transition_time: Some(Timestamp::from_second(at).unwrap()),
            };
            let status = ObjectStatus { observed_generation: None, conditions: vec![ready] };
            let object = ObjectKey::new("PartnerOrg", None, "council");
            let status = StatusBody::Simple(status);
            let act = Act::SetStatus { object, uid: None, status, was: None };
            Step { stage: Stage::Report, act, after: BTreeSet::new() }
        };
        let tries = Tries::default();
        tries.failed(&status("all is well", 1), &failure(FailureReason::Rejected));
        assert_eq!(tries.sort(vec![status("all is well", 2)]).known.len(), 1);
        let other = tries.sort(vec![status("it is not", 2)]);
        assert_eq!(other.last.len(), 1, "{other:?}");
    }

    #[test]
    fn what_was_held_up_is_tried_as_soon_as_nothing_holds_it_up() {
        let tries = Tries::default();
        let (cause, held) = (step("cause", Stage::Grant), step("held", Stage::Open));
        outage(&tries, &cause);
        tries.held_up(&held, &failure(FailureReason::Waiting));
        assert!(tries.patience() > FIRST_WAIT * 2, "it sets no pace of its own");
        assert_eq!(names(&tries.sort(vec![cause, held]).first), ["held"]);
    }

    #[test]
    fn refusals_come_last_and_what_hangs_after_them_but_a_closing_that_is_refused_does_not() {
        let tries = Tries::default();
        let all = ["hangs", "refused", "closes", "new"]
            .map(|name| step(name, if name == "closes" { Stage::Close } else { Stage::Open }));
        tries.failed(&all[0], &failure(FailureReason::Unreachable));
        tries.failed(&all[1], &failure(FailureReason::Rejected));
        tries.failed(&all[2], &failure(FailureReason::Rejected));
        std::thread::sleep(FIRST_WAIT);
        let sorted = tries.sort(all.to_vec());
        assert_eq!(names(&sorted.first), ["closes", "new"]);
        assert_eq!(names(&sorted.last), ["refused", "hangs"]);
    }

    #[test]
    fn what_has_not_failed_again_is_forgotten() {
        let tries = Tries::default();
        let (kept, gone) = (step("kept", Stage::Open), step("gone", Stage::Open));
        let why = failure(FailureReason::Rejected);
        tries.failed(&kept, &why);
        tries.failed(&gone, &why);
        let still = Failures::from([(kept.object(), why.clone())]);
        tries.forget_all_but(&still, &Failures::new());
        assert!(tries.has_failed(&kept) && !tries.has_failed(&gone));
        // a status of the same object is another write
        tries.forget_all_but(&Failures::new(), &still);
        assert!(!tries.has_failed(&kept));
    }
}
