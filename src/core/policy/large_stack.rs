//! Work that goes as deep as the text that it is about.

use std::thread;

use super::problem::PolicyProblem;

/// The stack that parsing and validating get, in bytes.
const STACK: usize = 64 * 1024 * 1024;

/// Does some work on a thread with a large stack.
pub(super) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, PolicyProblem> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        match worker.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(PolicyProblem::new("the policy parser crashed")),
            Err(error) => Err(PolicyProblem::new(format!("no thread to parse on: {error}"))),
        }
    })
}
