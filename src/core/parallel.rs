//! Work that can be shared out: the same pure function for each of many values.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

/// Fewer values than this for each thread are not worth one.
const WORTHWHILE: usize = 32;
/// As much stack as a program starts with: how deep a rule may nest must not depend on who evaluates it.
const STACK: usize = 8 << 20;

/// Calls a function with every value, on every processor, and returns what it said in the order of the values.
pub fn map<T: Sync, R: Send>(values: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let share = values.len().div_ceil(processors).max(WORTHWHILE);
    let mut shares = values.chunks(share);
    let own = shares.next().unwrap_or_default();
    let each = &each;
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| {
                let work = move || share.iter().map(each).collect::<Vec<R>>();
                // a system without another thread to give leaves the work to this one
                (share, thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).ok())
            })
            .collect();
        let mut said: Vec<R> = own.iter().map(each).collect();
        for (share, other) in others {
            match other.map(thread::ScopedJoinHandle::join) {
                Some(Ok(theirs)) => said.extend(theirs),
                Some(Err(panic)) => resume_unwind(panic),
                None => said.extend(share.iter().map(each)),
            }
        }
        said
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_values_however_many_there_are() {
        for count in [0, 1, 31, 32, 33, 64, 1000] {
            let values: Vec<usize> = (0..count).collect();
            assert_eq!(map(&values, |value| value * 2), values.iter().map(|it| it * 2).collect::<Vec<_>>());
        }
    }
}
