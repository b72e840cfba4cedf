//! Scored attempts by case, in bounded space: what the interval of a rate needs (statistics, 2.2).
//!
//! A case is known by 16 bits of a hash of its id. As long as there are few cases each has a cluster of its own, and the
//! interval is that of a scorecard over the same attempts. When there are more than [`CLUSTERS_MAX`], keys are cut short
//! bit by bit until few enough differ: clusters of several independent cases keep the clustered standard error valid.

/// Clusters kept at most: the shipped suites have fewer cases.
pub const CLUSTERS_MAX: usize = 192;
/// Bits of a whole key.
pub(super) const KEY_BITS: u8 = 16;
/// Bits of a key in the compact form: of 200 cases five share one.
pub(super) const KEY_BITS_COMPACT: u8 = 12;
/// Fewest bits of a key: those of the 32 clusters that version 1 of the codec kept.
pub(super) const KEY_BITS_MIN: u8 = 5;

/// Scores of the cases that share a key.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cluster {
    /// Sum of scores.
    pub sum: f64,
    /// Attempts.
    pub count: u64,
}

impl Cluster {
    fn take(&mut self, new: Cluster) {
        self.sum += new.sum;
        self.count += new.count;
    }
}

/// Scores by cluster. What it holds depends on the attempts alone, not on the batches they came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    bits: u8,
    /// By key, ascending: so few that a search among neighbours in memory is faster than a tree.
    cells: Vec<(u16, Cluster)>,
}

impl Default for Clusters {
    fn default() -> Self {
        Clusters { bits: KEY_BITS, cells: Vec::new() }
    }
}

impl Clusters {
    /// From stored parts; `None` when they could not have come about.
    pub(super) fn from_parts(bits: u8, cells: Vec<(u16, Cluster)>) -> Option<Clusters> {
        let known = (KEY_BITS_MIN..=KEY_BITS).contains(&bits) && cells.len() <= CLUSTERS_MAX;
        let whole = cells.iter().all(|(key, _)| u32::from(*key) < 1 << bits);
        let ascends = cells.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (known && whole && ascends).then_some(Clusters { bits, cells })
    }

    /// The clusters of version 1 of the codec: 32, by the five lowest bits of the hash.
    pub(super) fn from_version_1(clusters: [Cluster; 32]) -> Clusters {
        let key = |i: u8| u16::from(i.reverse_bits() >> (8 - KEY_BITS_MIN));
        let mut cells: Vec<(u16, Cluster)> =
            (0u8..).zip(clusters).filter(|(_, c)| c.count > 0).map(|(i, c)| (key(i), c)).collect();
        cells.sort_unstable_by_key(|(key, _)| *key);
        if cells.is_empty() { Clusters::default() } else { Clusters { bits: KEY_BITS_MIN, cells } }
    }

    /// Bits of the keys in use.
    pub(super) fn bits(&self) -> u8 {
        self.bits
    }

    /// The clusters with their keys, in order.
    pub(super) fn cells(&self) -> impl ExactSizeIterator<Item = (u16, Cluster)> {
        self.cells.iter().copied()
    }

    /// Takes the score of one attempt at a case.
    pub fn add(&mut self, case: &str, score: f64) {
        self.add_key(key_of(case), score);
    }

    /// As [`Clusters::add`], by the case's [`key_of`].
    pub(super) fn add_key(&mut self, key: u16, score: f64) {
        self.put(key >> (KEY_BITS - self.bits), Cluster { sum: score, count: 1 });
        self.bound();
    }

    /// Takes all that another one holds.
    pub fn merge(&mut self, other: &Clusters) {
        self.shorten_to(other.bits);
        self.cells.reserve(other.cells.len());
        for (key, cluster) in &other.cells {
            self.put(key >> (other.bits - self.bits), *cluster);
        }
        self.bound();
    }

    /// The cluster of a case, by its [`key_of`].
    pub(super) fn of_key(&self, key: u16) -> Cluster {
        let at = self.cells.binary_search_by_key(&(key >> (KEY_BITS - self.bits)), |(key, _)| *key);
        at.map_or_else(|_| Cluster::default(), |at| self.cells[at].1)
    }

    /// Cuts keys to what the compact form keeps.
    pub(super) fn settle(&mut self) {
        self.shorten_to(KEY_BITS_COMPACT);
    }

    /// Sums and counts of the clusters.
    pub fn iter(&self) -> impl Iterator<Item = (f64, f64)> + Clone {
        self.cells.iter().map(|(_, c)| (c.sum, c.count as f64))
    }

    /// Attempts.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.cells.iter().map(|(_, c)| c.count).sum()
    }

    /// Sum of scores.
    #[must_use]
    pub fn score_sum(&self) -> f64 {
        self.cells.iter().map(|(_, c)| c.sum).sum()
    }

    fn put(&mut self, key: u16, new: Cluster) {
        let at = self.cells.binary_search_by_key(&key, |(key, _)| *key).unwrap_or_else(|at| {
            self.cells.insert(at, (key, Cluster::default()));
            at
        });
        self.cells[at].1.take(new);
    }

    fn bound(&mut self) {
        while self.cells.len() > CLUSTERS_MAX && self.bits > KEY_BITS_MIN {
            self.shorten_to(self.bits - 1);
        }
    }

    fn shorten_to(&mut self, bits: u8) {
        if bits >= self.bits {
            return;
        }
        let cut = self.bits - bits;
        self.bits = bits;
        // Keys stay in order when they are cut: those that become one are neighbours.
        self.cells.iter_mut().for_each(|(key, _)| *key >>= cut);
        self.cells.dedup_by(|next, first| {
            let is_same = next.0 == first.0;
            if is_same {
                first.1.take(next.1);
            }
            is_same
        });
    }
}

/// Key of a case: from FNV-1a of its id, so that the state means the same in every build. The bits stand in reverse, so
/// that a shorter key of this version is a cluster of version 1 of the codec.
pub(super) fn key_of(case: &str) -> u16 {
    let hash = case.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    ((hash ^ (hash >> 32)) as u16).reverse_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::clustered::{clustered, from_clusters, wilson_clustered};
    use crate::stats::intervals::Z95;

    fn interval(clusters: &Clusters) -> (f64, f64) {
        wilson_clustered(&from_clusters(clusters.iter()).unwrap(), Z95).0
    }

    #[test]
    fn the_interval_is_that_of_a_scorecard_over_the_same_attempts() {
        let hundred: Vec<(String, f64)> = (0..100).map(|i| (format!("case-{i}"), 1.0)).collect();
        let asked_again: Vec<(String, f64)> =
            (0..600).map(|i| (format!("case-{}", i % 150), f64::from(u8::from(i % 7 != 0 && i % 150 != 3)))).collect();
        for rows in [hundred, asked_again] {
            let mut clusters = Clusters::default();
            rows.iter().for_each(|(case, score)| clusters.add(case, *score));
            let (lo, hi) = interval(&clusters);
            let (scorecard, _) = wilson_clustered(&clustered(rows.iter().map(|(c, y)| (c, *y))).unwrap(), Z95);
            // Two of some hundred cases may share a key.
            assert!((lo - scorecard.0).abs() < 0.003 && (hi - scorecard.1).abs() < 0.003, "{lo} {hi} {scorecard:?}");
        }
    }

    #[test]
    fn more_cases_than_there_is_room_for_share_clusters_whatever_their_order() {
        let score = |i: u32| f64::from(u8::from(!i.is_multiple_of(9)));
        let add = |into: &mut Clusters, i: u32| into.add(&format!("case-{i}"), score(i));
        let (mut forwards, mut backwards, mut batches) =
            (Clusters::default(), Clusters::default(), Clusters::default());
        (0..2500).for_each(|i| add(&mut forwards, i));
        (0..2500).rev().for_each(|i| add(&mut backwards, i));
        for batch in 0..100 {
            let mut tally = Clusters::default();
            (0..25).for_each(|i| add(&mut tally, batch * 25 + i));
            batches.merge(&tally);
        }
        assert_eq!(forwards, backwards);
        assert_eq!(forwards, batches);
        let (count, sum) = (forwards.cells().len(), forwards.score_sum());
        assert!((CLUSTERS_MAX / 2..=CLUSTERS_MAX).contains(&count), "{count}");
        assert_eq!((forwards.attempts(), sum), (2500, (0..2500).map(score).sum()));
        let rows = (0..2500).map(|i| (i, score(i)));
        let (scorecard, _) = wilson_clustered(&clustered(rows).unwrap(), Z95);
        let (lo, hi) = interval(&forwards);
        assert!((lo - scorecard.0).abs() < 0.01 && (hi - scorecard.1).abs() < 0.01, "{lo} {hi} {scorecard:?}");
    }

    #[test]
    fn old_clusters_go_on_with_the_same_cases() {
        let case = "case-77";
        let mut old = [Cluster::default(); 32];
        let hash = |case: &str| {
            let hash =
                case.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
            ((hash ^ (hash >> 32)) % 32) as usize
        };
        old[hash(case)] = Cluster { sum: 3.0, count: 4 };
        let mut clusters = Clusters::from_version_1(old);
        clusters.add(case, 1.0);
        assert_eq!(clusters.cells().map(|(_, c)| c).collect::<Vec<_>>(), [Cluster { sum: 4.0, count: 5 }]);
        assert_eq!(Clusters::from_version_1([Cluster::default(); 32]), Clusters::default());
    }
}
