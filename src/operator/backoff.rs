//! A wait that doubles, up to a bound.

use std::time::Duration;

/// Doubles from `first` to `most`. Each user has its own, so that one trouble never slows another thing down.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The wait that is due now.
    pub(super) fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        wait
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_bound_and_begins_anew_when_reset() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::new(millis(100), millis(350));
        let waits = [backoff.wait(), backoff.wait(), backoff.wait(), backoff.wait()];
        assert_eq!(waits, [millis(100), millis(200), millis(350), millis(350)]);
        backoff.reset();
        assert_eq!(backoff.wait(), millis(100));
    }
}
