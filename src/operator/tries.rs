//! What has been tried to write and has failed, and when to try it again.
//!
//! The same write is never tried again before it is due, whatever else changes. Another write of the same object is another
//! matter, and what has only waited for something else is tried as soon as that is there.
//!
//! A write that went well and is asked for again was undone, or somebody answers for the API server. That is a failure too.
//! It is progress at first, like a conflict, and counts as refused once it has come a few times in a row.

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
/// How long at most where it was undone: whoever undoes a closing must not win time by it.
const LONGEST_WHERE_UNDONE: Duration = Duration::from_secs(1);
/// How often in a row the same write may end in a conflict, or be undone, and is still progress.
const PROGRESS: u32 = 2;

/// Every write that failed when it was last tried, and those of the last round. Each has a back-off of its own, so that one
/// trouble never slows another thing down.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<BTreeMap<Target, Tried>>);

type Target = (ObjectKey, Part);

/// What of an object is written.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Part {
    /// All but its status.
    Object,
    Status,
}

#[derive(Debug)]
struct Tried {
    act: Act,
    ended: Ended,
    /// How often in a row the same write has ended so.
    times: u32,
    backoff: Backoff,
    /// None for what was held up by something else: it is tried as soon as that is there.
    due: Option<Instant>,
}

/// What came of a write.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Ended {
    /// It went well, as far as is known by now.
    Well,
    /// It went well, and was asked for again.
    Undone,
    Failed(Failure),
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
    /// Sorts all steps of a part by how they fared the last time. What was refused is tried again when everything else is
    /// done, so that thousands of refusals hold up nothing; what closes is tried with the others. After that comes what had no
    /// answer: it is not the API server as a whole that hangs, as whoever leads has just renewed its lease.
    pub(super) fn sort(&self, part: Part, steps: Vec<Step>) -> Sorted {
        let (mut tries, now) = (self.lock(), Instant::now());
        let asked: BTreeMap<Target, &Act> = steps.iter().map(|step| (target(step), &step.act)).collect();
        tries.retain(|target, tried| {
            let is_same = asked.get(target).is_some_and(|act| tried.act.is_same_write(act));
            if tried.ended == Ended::Well && is_same {
                tried.ended = Ended::Undone;
            }
            tried.ended != Ended::Well || target.1 != part
        });
        let mut sorted = Sorted::default();
        for step in steps {
            let tried = tries.get(&target(&step));
            let Some((tried, failure)) = tried.and_then(|it| Some((it, it.failure()?))) else {
                sorted.first.push(step);
                continue;
            };
            let is_later = tried.due.is_some_and(|due| due > now) && tried.act.is_same_write(&step.act);
            let closes = matches!(step.stage, Stage::Close | Stage::Revoke);
            let comes_last = tried.hangs() || failure.reason.is_refusal() && !closes;
            if is_later || comes_last {
                sorted.known.insert(step.object(), failure);
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
        let tries = self.lock();
        let failed = tries.values().filter(|tried| tried.ended != Ended::Well);
        let due = failed.filter_map(|tried| tried.due).min();
        let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
        wait.unwrap_or(LONGEST_WAIT).max(FIRST_WAIT)
    }

    /// Whether this step failed when it was last tried.
    pub(super) fn has_failed(&self, step: &Step) -> bool {
        self.lock().get(&target(step)).is_some_and(|tried| tried.ended != Ended::Well)
    }

    /// Whether this very write went well, and was undone.
    pub(super) fn is_undone(&self, step: &Step) -> bool {
        let tries = self.lock();
        let tried = tries.get(&target(step)).filter(|tried| tried.ended == Ended::Undone);
        tried.is_some_and(|tried| tried.act.is_same_write(&step.act))
    }

    /// Whether the last try to write an object, not its status, ended so.
    pub(super) fn have_ended(&self, object: &ObjectKey, failure: &Failure) -> bool {
        let ended = |tried: &Tried| matches!(&tried.ended, Ended::Failed(known) if known == failure);
        self.lock().get(&(object.clone(), Part::Object)).is_some_and(ended)
    }

    /// Why the last try to write an object, not its status, failed.
    pub(super) fn reason(&self, object: &ObjectKey) -> Option<FailureReason> {
        match &self.lock().get(&(object.clone(), Part::Object))?.ended {
            Ended::Well | Ended::Undone => None,
            Ended::Failed(failure) => Some(failure.reason),
        }
    }

    /// Notes that a write went well. One that had been undone has failed all the same, until it is not asked for any more.
    pub(super) fn succeeded(&self, step: &Step) -> Option<Failure> {
        let mut tries = self.lock();
        let before = tries.remove(&target(step));
        let undone =
            before.filter(|tried| tried.ended == Ended::Undone && tried.act.is_same_write(&step.act));
        let (ended, times, mut backoff) = match undone {
            Some(tried) => (Ended::Undone, tried.times.saturating_add(1), tried.backoff),
            None => (Ended::Well, 1, Backoff::new(FIRST_WAIT, LONGEST_WHERE_UNDONE)),
        };
        let due = Some(Instant::now() + backoff.wait());
        let tried = Tried { act: step.act.clone(), ended, times, backoff, due };
        let failure = tried.failure();
        if let Some(failure) = failure.as_ref().filter(|it| it.reason.is_refusal()) {
            log(step, failure, times == PROGRESS + 1);
        }
        tries.insert(target(step), tried);
        failure
    }

    /// Notes a failure, and logs it unless it is the same as before. Gives back what it counts as.
    pub(super) fn failed(&self, step: &Step, failure: &Failure) -> Failure {
        let mut tries = self.lock();
        let before = tries.remove(&target(step));
        let known = before.as_ref().and_then(Tried::failure);
        // another trouble may be over sooner
        let before = before.filter(|tried| match &tried.ended {
            Ended::Well | Ended::Undone => false,
            Ended::Failed(known) => known.reason == failure.reason,
        });
        let times =
            before.as_ref().filter(|tried| tried.act.is_same_write(&step.act)).map_or(0, |it| it.times);
        let mut backoff =
            before.map_or_else(|| Backoff::new(FIRST_WAIT, LONGEST_WAIT), |tried| tried.backoff);
        let due = Some(Instant::now() + backoff.wait());
        let (act, ended) = (step.act.clone(), Ended::Failed(failure.clone()));
        let tried = Tried { act, ended, times: times.saturating_add(1), backoff, due };
        let counts_as = tried.failure().unwrap_or_else(|| failure.clone());
        log(step, &counts_as, known.as_ref() != Some(&counts_as));
        tries.insert(target(step), tried);
        counts_as
    }

    /// Notes that a write was not even tried, as something else has failed.
    pub(super) fn held_up(&self, step: &Step, failure: &Failure) {
        let mut tries = self.lock();
        let known = tries.get(&target(step)).and_then(Tried::failure);
        log(step, failure, known.as_ref() != Some(failure));
        let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let (act, ended) = (step.act.clone(), Ended::Failed(failure.clone()));
        tries.insert(target(step), Tried { act, ended, times: 1, backoff, due: None });
    }

    /// Forgets what has not failed again: should it come back, it is logged, and tried soon.
    pub(super) fn forget_all_but(&self, writes: &Failures, statuses: &Failures) {
        self.lock().retain(|(object, part), tried| {
            let failures = match part {
                Part::Object => writes,
                Part::Status => statuses,
            };
            // what went well is known to have done so when nobody asks for it again
            tried.ended == Ended::Well || failures.get(object) == tried.failure().as_ref()
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Target, Tried>> {
        // held for a moment, never across a call, and nothing panics meanwhile
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tried {
    /// What it counts as; none where it went well.
    fn failure(&self) -> Option<Failure> {
        let is_progress = self.times <= PROGRESS;
        let reason = if is_progress { FailureReason::Conflict } else { FailureReason::Rejected };
        match &self.ended {
            Ended::Well => None,
            Ended::Undone => {
                let message = "it has been written several times and is not as written: something undoes it, or answers \
                               in place of the API server";
                Some(Failure { reason, message: message.to_owned() })
            }
            Ended::Failed(failure) if failure.reason == FailureReason::Conflict && !is_progress => {
                Some(Failure { reason, message: format!("each try ends in a conflict: {}", failure.message) })
            }
            Ended::Failed(failure) => Some(failure.clone()),
        }
    }

    /// Whether it had no answer.
    fn hangs(&self) -> bool {
        matches!(&self.ended, Ended::Failed(failure) if failure.reason == FailureReason::Unreachable)
    }
}

fn log(step: &Step, failure: &Failure, is_new: bool) {
    if is_new {
        warn!(object = %step.object(), reason = failure.reason.as_str(), "not written: {}", failure.message);
    }
}

fn target(step: &Step) -> Target {
    let part = if matches!(step.act, Act::SetStatus { .. }) { Part::Status } else { Part::Object };
    (step.object(), part)
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
        let sorted = tries.sort(Part::Object, all());
        assert_eq!(names(&sorted.first), ["new"]);
        assert_eq!((sorted.last.len(), sorted.known.len()), (0, 1));
        std::thread::sleep(FIRST_WAIT);
        assert_eq!(tries.sort(Part::Object, all()).first.len(), 2);
        let object = step("refused", Stage::Close).object();
        let other = Act::Delete { object, uid: Some("another".to_owned()) };
        tries
            .failed(&Step { act: other, ..step("refused", Stage::Close) }, &failure(FailureReason::Rejected));
        assert_eq!(tries.sort(Part::Object, all()).first.len(), 2);
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
        assert_eq!(tries.sort(Part::Status, vec![status("all is well", 2)]).known.len(), 1);
        let other = tries.sort(Part::Status, vec![status("it is not", 2)]);
        assert_eq!(other.last.len(), 1, "{other:?}");
    }

    #[test]
    fn what_was_held_up_is_tried_as_soon_as_nothing_holds_it_up() {
        let tries = Tries::default();
        let (cause, held) = (step("cause", Stage::Grant), step("held", Stage::Open));
        outage(&tries, &cause);
        tries.held_up(&held, &failure(FailureReason::Waiting));
        assert!(tries.patience() > FIRST_WAIT * 2, "it sets no pace of its own");
        assert_eq!(names(&tries.sort(Part::Object, vec![cause, held]).first), ["held"]);
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
        let sorted = tries.sort(Part::Object, all.to_vec());
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

    #[test]
    fn what_went_well_and_is_asked_for_again_waits_and_counts_as_refused_in_the_end() {
        let tries = Tries::default();
        let all = || vec![step("undone", Stage::Close), step("new", Stage::Open)];
        assert_eq!(tries.succeeded(&all()[0]), None);
        let mut counts_as = FailureReason::Conflict;
        for then in [FailureReason::Conflict, FailureReason::Rejected, FailureReason::Rejected] {
            let sorted = tries.sort(Part::Object, all());
            assert_eq!(names(&sorted.first), ["new"], "it is not due");
            assert_eq!(sorted.known.values().map(|it| it.reason).collect::<Vec<_>>(), [counts_as]);
            assert!(tries.is_undone(&all()[0]) && tries.patience() <= LONGEST_WHERE_UNDONE);
            assert_eq!(tries.succeeded(&all()[0]).map(|it| it.reason), Some(then));
            counts_as = then;
        }
        // the statuses of a round say nothing of its other writes
        tries.sort(Part::Status, Vec::new());
        assert!(tries.is_undone(&all()[0]));
        // another write of the object is no repetition
        let Act::Delete { object, .. } = all()[0].act.clone() else { unreachable!() };
        let other = Step { act: Act::Delete { object, uid: Some("another".to_owned()) }, ..all()[0].clone() };
        assert_eq!(tries.succeeded(&other), None);
        // and what is not asked for again has done what it should
        assert_eq!(names(&tries.sort(Part::Object, vec![step("new", Stage::Open)]).first), ["new"]);
        assert_eq!(names(&tries.sort(Part::Object, all()).first), ["undone", "new"]);
    }

    #[test]
    fn the_same_write_that_ends_in_a_conflict_each_time_counts_as_refused() {
        let tries = Tries::default();
        let (closing, conflict) = (step("closing", Stage::Close), failure(FailureReason::Conflict));
        let counts_as = |step: &Step| tries.failed(step, &conflict).reason;
        let three = [counts_as(&closing), counts_as(&closing), counts_as(&closing)];
        assert_eq!(three, [FailureReason::Conflict, FailureReason::Conflict, FailureReason::Rejected]);
        // what is written against another version each time is another write
        let version = |version: usize| {
            let act = Act::Delete { object: closing.object(), uid: Some(version.to_string()) };
            Step { act, ..closing.clone() }
        };
        for each in 0..5 {
            assert_eq!(counts_as(&version(each)), FailureReason::Conflict);
        }
    }
}
