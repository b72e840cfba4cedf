//! Work on many cases, spread over the machine's processors.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Fewer items than this are not worth a thread.
const CHUNK_ITEMS_MIN: usize = 128;
/// Threads at most.
const THREADS_MAX: usize = 8;

/// Pieces for each thread: one that is slower than the others, or shares its processor with somebody else, takes fewer.
const PIECES_PER_THREAD: usize = 6;

/// Cuts a list into pieces, of which every processor takes the next one whenever it is done with one, and gives the
/// results in the list's order.
///
/// The pieces depend on the machine: `work` must give results that, joined, do not depend on where the list is cut.
pub(super) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let wanted = if processors == 1 { 1 } else { processors * PIECES_PER_THREAD };
    let size = items.len().div_ceil(wanted).max(CHUNK_ITEMS_MIN);
    let pieces: Vec<&[T]> = items.chunks(size).collect();
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(place) else { return done };
            done.push((place, work(piece)));
        }
    };
    let mut results = thread::scope(|scope| {
        let others: Vec<_> = (1..processors.min(pieces.len())).map(|_| scope.spawn(take)).collect();
        let mut results = take();
        for other in others {
            results.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    });
    results.sort_unstable_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn the_results_are_in_order_and_complete() {
        for n in [0, 1, 127, 128, 129, 255, 257, 5_000] {
            let items: Vec<usize> = (0..n).collect();
            assert_eq!(map(&items, <[usize]>::to_vec).concat(), items);
        }
    }
}
