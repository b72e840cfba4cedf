//! A histogram of durations that can be added to another one (docs/adr/0025).
//!
//! Buckets are 32 to a power of two, found by shifts alone: the same on every machine, off by 1.6 % at most. Only buckets
//! that hold something are kept.

/// Buckets to a power of two, as a power of two.
const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// Longest duration told apart, in microseconds: about 71 minutes. Longer ones count as that long.
pub const LONGEST_US: u64 = (1 << 32) - 1;

/// Durations in microseconds, by bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sketch {
    /// Bucket and count, by bucket; no count is 0.
    buckets: Vec<(u16, u64)>,
}

impl Sketch {
    /// Counts a duration.
    pub fn add(&mut self, us: u64) {
        self.add_many(bucket_of(us), 1);
    }

    fn add_many(&mut self, bucket: u16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// Counts what another one has counted.
    pub fn merge(&mut self, other: &Sketch) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
            return;
        }
        for &(bucket, count) in &other.buckets {
            self.add_many(bucket, count);
        }
    }

    /// Durations counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| *count).fold(0, u64::saturating_add)
    }

    /// The duration that a share `q` (0 to 1) of all does not exceed, in microseconds, off by 1.6 % at most. `None` of
    /// nothing.
    #[must_use]
    pub fn quantile_us(&self, q: f64) -> Option<u64> {
        let total = self.total();
        let rank = ((total as f64 * q.clamp(0.0, 1.0)).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0u64;
        for &(bucket, count) in &self.buckets {
            seen = seen.saturating_add(count);
            if seen >= rank {
                return Some(middle_of(bucket));
            }
        }
        None
    }

    /// Buckets with their counts, for whoever writes them down.
    #[must_use]
    pub fn buckets(&self) -> &[(u16, u64)] {
        &self.buckets
    }

    /// From buckets in ascending order. `None` when they are not, or hold nothing.
    #[must_use]
    pub fn of_buckets(buckets: Vec<(u16, u64)>) -> Option<Sketch> {
        let ascending = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let known = buckets.iter().all(|(bucket, count)| *bucket <= bucket_of(LONGEST_US) && *count > 0);
        (ascending && known).then_some(Sketch { buckets })
    }
}

fn bucket_of(us: u64) -> u16 {
    let us = us.min(LONGEST_US);
    let bucket = if us < SUB {
        us
    } else {
        let shift = u64::from(63 - us.leading_zeros() - SUB_BITS);
        (shift + 1) * SUB + ((us >> shift) & (SUB - 1))
    };
    // At most 28 * 32 buckets.
    bucket as u16
}

fn middle_of(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    let low = (SUB + bucket % SUB) << shift;
    low + ((1 << shift) - 1) / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_those_of_the_durations() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.quantile_us(0.5), None);
        (1..=1000u64).for_each(|ms| sketch.add(ms * 1000));
        for (q, ms) in [(0.0, 1.0), (0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (1.0, 1000.0)] {
            let us = sketch.quantile_us(q).unwrap() as f64;
            assert!((us / (ms * 1000.0) - 1.0).abs() <= 0.016, "{q}: {us}");
        }
        assert_eq!(sketch.total(), 1000);
    }

    proptest! {
        #[test]
        fn every_duration_is_near_the_middle_of_its_bucket(us in 0u64..=LONGEST_US) {
            let middle = middle_of(bucket_of(us));
            prop_assert!(middle.abs_diff(us) as f64 <= us as f64 * 0.016, "{us} {middle}");
        }

        #[test]
        fn merging_is_counting_both(a in prop::collection::vec(0u64..10_000_000_000, 0..40), b in prop::collection::vec(0u64..10_000_000_000, 0..40)) {
            let of = |all: &[u64]| { let mut s = Sketch::default(); all.iter().for_each(|us| s.add(*us)); s };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let both: Vec<u64> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(&merged, &of(&both));
            prop_assert_eq!(Sketch::of_buckets(merged.buckets().to_vec()), Some(merged));
        }
    }
}
