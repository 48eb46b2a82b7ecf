//! One call to the API server: how long it may take, and what its error says.

use std::error::Error;
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::timeout;

/// How long one call may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// Waits for a call, but not for ever; nothing if it took too long.
pub(super) async fn deadline<T>(call: impl Future<Output = T>) -> Option<T> {
    within(DEADLINE, call).await
}

/// Goes on with a call for so long. The time is looked at before the call is: one that was about to be sent when the
/// process was stopped is not sent when it wakes.
async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Option<T> {
    let until = Instant::now() + limit;
    let mut call = pin!(call);
    let call = poll_fn(|context| {
        if Instant::now() < until { call.as_mut().poll(context).map(Some) } else { Poll::Ready(None) }
    });
    timeout(limit, call).await.ok().flatten()
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            // writing to a string does not fail
            let _ok = write!(text, ": {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_was_under_way_when_the_process_was_stopped_is_not_gone_on_with() {
        let limit = Duration::from_millis(20);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut polls = 0;
        let call = poll_fn(|context| {
            polls += 1;
            // as if the process had been stopped here, and something had come for the call meanwhile
            std::thread::sleep(limit * 2);
            context.waker().wake_by_ref();
            if polls == 1 { Poll::Pending } else { Poll::Ready(()) }
        });
        assert_eq!(runtime.block_on(within(limit, call)), None);
        assert_eq!(polls, 1);
        assert_eq!(runtime.block_on(within(limit, async { 7 })), Some(7));
    }
}
