//! Maximum mean discrepancy with the Hamming kernel: a fingerprint of sampled completions (statistics, 9).

use super::permutation::{ENOUGH, below};

/// Share of equal positions among the first `length`. A position beyond the end of a sequence holds a pad, which
/// equals a pad only. 1 for `length` 0.
#[must_use]
pub fn hamming_kernel<T: PartialEq>(x: &[T], y: &[T], length: usize) -> f64 {
    if length == 0 {
        return 1.0;
    }
    let equal = (0..length).filter(|&i| x.get(i) == y.get(i)).count();
    equal as f64 / length as f64
}

fn mean_within<T: PartialEq>(xs: &[Vec<T>], length: usize) -> f64 {
    let n = xs.len();
    let pairs = (0..n).flat_map(|i| (0..n).filter(move |&j| j != i).map(move |j| (i, j)));
    pairs.map(|(i, j)| hamming_kernel(&xs[i], &xs[j], length)).sum::<f64>() / (n * (n - 1)) as f64
}

/// Unbiased squared maximum mean discrepancy; `None` with fewer than two sequences on a side. May be negative.
#[must_use]
pub fn mmd2_hamming<T: PartialEq>(xs: &[Vec<T>], ys: &[Vec<T>], length: usize) -> Option<f64> {
    if xs.len() < 2 || ys.len() < 2 {
        return None;
    }
    let across: f64 = xs.iter().flat_map(|x| ys.iter().map(move |y| hamming_kernel(x, y, length))).sum();
    let cross = across / (xs.len() * ys.len()) as f64;
    Some(mean_within(xs, length) + mean_within(ys, length) - 2.0 * cross)
}

/// Sequences of both sides in one group: the answers to one prompt.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a, T> {
    /// One side.
    pub x: &'a [Vec<T>],
    /// The other.
    pub y: &'a [Vec<T>],
}

/// How far two sides are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Discrepancy {
    /// Mean over the groups of the unbiased squared discrepancy; around 0, and possibly below, when the sides agree.
    pub mmd2: f64,
    /// Its p-value when the sides are shuffled within each group.
    pub p: f64,
    /// Sequences compared, on the side that has fewer.
    pub count: u64,
}

/// The mean over the groups of [`mmd2_hamming`], and its p-value when the sides are shuffled within each group:
/// `(1 + shufflings at least as large) / (1 + shufflings)`. After [`ENOUGH`] such shufflings it ends early with their share
/// so far, which is as valid (Besag and Clifford, 1991).
///
/// Groups with fewer than two sequences on a side are left out; `None` when none is left. A function of the sequences, in
/// whatever order their caller keeps, and the seed.
#[must_use]
pub fn permuted_mmd2<T: PartialEq>(
    groups: &[Sides<'_, T>],
    length: usize,
    shuffles: u32,
    seed: u64,
) -> Option<Discrepancy> {
    let mut tables: Vec<Table> = groups.iter().filter_map(|group| Table::of(group, length)).collect();
    if tables.is_empty() {
        return None;
    }
    let statistic = |tables: &[Table]| tables.iter().map(Table::mmd2).sum::<f64>() / tables.len() as f64;
    let mmd2 = statistic(&tables);
    // Sums of equal terms in another order may differ in the last digits: a tie is a tie.
    let found = mmd2 - TIE;
    let mut state = seed;
    let mut as_large = 0u32;
    let count = tables.iter().map(|t| t.split.min(t.order.len() - t.split) as u64).sum();
    for done in 1..=shuffles {
        tables.iter_mut().for_each(|table| table.shuffle(&mut state));
        as_large += u32::from(statistic(&tables) >= found);
        if as_large == ENOUGH {
            return Some(Discrepancy { mmd2, p: f64::from(ENOUGH) / f64::from(done), count });
        }
    }
    Some(Discrepancy { mmd2, p: (1.0 + f64::from(as_large)) / (1.0 + f64::from(shuffles)), count })
}

/// Statistics that differ by less are the same.
const TIE: f64 = 1e-12;

/// The equal positions of all pairs of a group's sequences: computed once, summed anew for every shuffling.
struct Table {
    /// Equal positions by pair, as rows of `order.len()`; 0 of a sequence with itself.
    equal: Vec<u32>,
    /// Sum of each row.
    rows: Vec<u64>,
    /// Sum over all pairs.
    all: u64,
    /// Who is where: the first `split` are one side.
    order: Vec<usize>,
    split: usize,
    length: usize,
}

impl Table {
    fn of<T: PartialEq>(group: &Sides<'_, T>, length: usize) -> Option<Table> {
        if group.x.len() < 2 || group.y.len() < 2 || length == 0 {
            return None;
        }
        let both: Vec<&[T]> = group.x.iter().chain(group.y).map(Vec::as_slice).collect();
        let n = both.len();
        let mut equal = vec![0; n * n];
        for i in 0..n {
            for j in 0..i {
                let same = equal_positions(both[i], both[j], length);
                (equal[i * n + j], equal[j * n + i]) = (same, same);
            }
        }
        let rows: Vec<u64> = equal.chunks(n).map(|row| row.iter().map(|e| u64::from(*e)).sum()).collect();
        let all = rows.iter().sum::<u64>() / 2;
        Some(Table { equal, rows, all, order: (0..n).collect(), split: group.x.len(), length })
    }

    /// Draws anew who is on the first side, all choices being equally likely.
    fn shuffle(&mut self, state: &mut u64) {
        let n = self.order.len();
        for i in 0..self.split {
            let j = i + below(state, (n - i) as u64) as usize;
            self.order.swap(i, j);
        }
    }

    fn mmd2(&self) -> f64 {
        let (x, y) = self.order.split_at(self.split);
        let (mut xx, mut of_rows) = (0, 0);
        for (at, &i) in x.iter().enumerate() {
            let row = &self.equal[i * self.order.len()..];
            of_rows += self.rows[i];
            for &j in &x[..at] {
                xx += u64::from(row[j]);
            }
        }
        // A row of the first side counts its pairs inside twice and those across once.
        let xy = of_rows - 2 * xx;
        let yy = self.all - xx - xy;
        let (n, m) = (x.len() as f64, y.len() as f64);
        let of_one = |sum: u64, n: f64| 2.0 * sum as f64 / (n * (n - 1.0));
        (of_one(xx, n) + of_one(yy, m) - 2.0 * xy as f64 / (n * m)) / self.length as f64
    }
}

/// Equal positions among the first `length`; beyond both ends all are equal.
fn equal_positions<T: PartialEq>(x: &[T], y: &[T], length: usize) -> u32 {
    let (x, y) = (&x[..x.len().min(length)], &y[..y.len().min(length)]);
    let mut equal = length - x.len().max(y.len());
    for (a, b) in x.iter().zip(y) {
        equal += usize::from(a == b);
    }
    equal as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequences of ten symbols of four; the first symbol is a 0 with probability `zero`.
    fn side(state: &mut u64, count: usize, zero: f64) -> Vec<Vec<u8>> {
        let one = |state: &mut u64| {
            let mut sequence: Vec<u8> = (0..10).map(|_| below(state, 4) as u8).collect();
            sequence[0] = u8::from((below(state, 1 << 30) as f64) >= zero * (1u64 << 30) as f64);
            sequence
        };
        (0..count).map(|_| one(state)).collect()
    }

    fn p(difference: f64, seed: u64) -> f64 {
        let mut state = seed;
        let groups: Vec<_> =
            (0..5).map(|_| (side(&mut state, 10, 0.5 - difference), side(&mut state, 10, 0.5 + difference))).collect();
        let sides: Vec<_> = groups.iter().map(|(x, y)| Sides { x, y }).collect();
        permuted_mmd2(&sides, 10, 199, seed).unwrap().p
    }

    #[test]
    fn the_statistic_is_the_mean_of_the_groups_discrepancies() {
        let mut state = 3;
        let groups: Vec<_> = (0..4).map(|n| (side(&mut state, 3 + n, 0.3), side(&mut state, 6 - n, 0.7))).collect();
        let sides: Vec<_> = groups.iter().map(|(x, y)| Sides { x, y }).collect();
        let mean = groups.iter().map(|(x, y)| mmd2_hamming(x, y, 12).unwrap()).sum::<f64>() / 4.0;
        let found = permuted_mmd2(&sides, 12, 9, 1).unwrap();
        assert!((found.mmd2 - mean).abs() < 1e-12, "{found:?} {mean}");
        assert_eq!(found.count, 3 + 4 + 4 + 3);
        assert_eq!(permuted_mmd2(&sides, 12, 9, 1), Some(found), "a function of the seed");
    }

    #[test]
    fn sides_that_agree_are_called_different_as_often_as_the_level_says() {
        let found = (0..1000).filter(|seed| p(0.0, *seed) <= 0.05).count();
        // Binomial(1000, 0.05): standard deviation 6.9; four of them.
        assert!((22..=78).contains(&found), "{found}");
    }

    #[test]
    fn one_position_that_differs_is_found() {
        assert!((0..20).all(|seed| p(0.45, seed) <= 0.005));
    }

    #[test]
    fn nothing_to_compare_has_no_p_value_and_equal_sides_have_one() {
        let (one, two) = (vec![vec![1u8]], vec![vec![1u8], vec![1]]);
        assert_eq!(permuted_mmd2::<u8>(&[], 5, 99, 1), None);
        assert_eq!(permuted_mmd2(&[Sides { x: &one, y: &two }], 5, 99, 1), None);
        let equal = permuted_mmd2(&[Sides { x: &two, y: &two }], 5, 99, 1).unwrap();
        assert_eq!((equal.mmd2, equal.p, equal.count), (0.0, 1.0, 2));
    }
}
