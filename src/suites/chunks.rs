//! Work on many cases, spread over the machine's processors.

use std::num::NonZero;
use std::thread;

/// Fewer items than this are not worth a thread.
const CHUNK_ITEMS_MIN: usize = 128;
/// Threads at most.
const THREADS_MAX: usize = 8;

/// Splits a list into as many pieces as there are processors, works on them side by side, and gives the results in the
/// list's order.
///
/// The pieces depend on the machine: `work` must give results that, joined, do not depend on where the list is cut.
pub(super) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let size = items.len().div_ceil(processors).max(CHUNK_ITEMS_MIN);
    let mut pieces = items.chunks(size);
    let Some(first) = pieces.next() else { return Vec::new() };
    thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = pieces.map(|piece| scope.spawn(move || work(piece))).collect();
        let mut results = vec![work(first)];
        for other in others {
            results.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn the_results_are_in_order_and_complete() {
        for n in [0, 1, 127, 128, 129, 5_000] {
            let items: Vec<usize> = (0..n).collect();
            assert_eq!(map(&items, <[usize]>::to_vec).concat(), items);
        }
    }
}
