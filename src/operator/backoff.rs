//! A wait that doubles, up to a bound.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// Doubles from `first` to `most`, for as long as it takes. Each user has its own, so that one trouble never slows another
/// thing down.
#[derive(Debug)]
pub(super) struct Backoff {
    whole: ExponentialBuilder,
    rest: ExponentialBackoff,
    most: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        let whole = ExponentialBuilder::new().with_min_delay(first).with_max_delay(most).without_max_times();
        Self { whole, rest: whole.build(), most }
    }

    /// The wait that is due now.
    pub(super) fn wait(&mut self) -> Duration {
        self.rest.next().unwrap_or(self.most)
    }

    pub(super) fn reset(&mut self) {
        self.rest = self.whole.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_bound_and_begins_anew_when_reset() {
        let (first, most) = (Duration::from_secs(1), Duration::from_millis(3500));
        let mut backoff = Backoff::new(first, most);
        let waits = [backoff.wait(), backoff.wait(), backoff.wait(), backoff.wait()];
        assert_eq!(waits, [first, Duration::from_secs(2), most, most]);
        backoff.reset();
        assert_eq!(backoff.wait(), first);
    }
}
