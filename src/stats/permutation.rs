//! A permutation test on pairs of small samples: do two sides agree within every group (statistics, 9)?

/// Added to the variance of a difference of means: values that repeat to the last digit are not infinitely precise.
pub const VARIANCE_FLOOR: f64 = 1e-6;

/// Shufflings at least as large as what was found after which the answer is clear: the sides agree.
pub const ENOUGH: u32 = 10;

/// The values of both sides in one group.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// One side.
    pub x: &'a [f64],
    /// The other.
    pub y: &'a [f64],
}

/// p-value of the sum over the groups of the squared difference of means, in units of its variance, when the sides are
/// shuffled within each group: `(1 + shufflings at least as large) / (1 + shufflings)`, valid at any number of them. After
/// [`ENOUGH`] such shufflings it ends early with their share so far, which is as valid (Besag and Clifford, 1991).
///
/// Groups with fewer than two values on a side are left out; `None` when none is left. The result is a function of the
/// values and the seed.
#[must_use]
pub fn permutation_p(pairs: &[Pair<'_>], shuffles: u32, seed: u64) -> Option<f64> {
    let mut groups: Vec<(Vec<f64>, usize)> = pairs
        .iter()
        .filter(|pair| pair.x.len() >= 2 && pair.y.len() >= 2)
        .map(|pair| (pair.x.iter().chain(pair.y).copied().collect(), pair.x.len()))
        .collect();
    if groups.is_empty() {
        return None;
    }
    let statistic = |groups: &[(Vec<f64>, usize)]| -> f64 {
        groups.iter().map(|(values, at)| squared_z(&values[..*at], &values[*at..])).sum()
    };
    // Sums of equal terms in another order may differ in the last digits: a tie is a tie.
    let found = statistic(&groups) * (1.0 - 1e-9);
    let mut state = seed;
    let mut as_large = 0u32;
    for done in 1..=shuffles {
        for (values, _) in &mut groups {
            for i in (1..values.len()).rev() {
                values.swap(i, below(&mut state, i as u64 + 1) as usize);
            }
        }
        as_large += u32::from(statistic(&groups) >= found);
        if as_large == ENOUGH {
            return Some(f64::from(ENOUGH) / f64::from(done));
        }
    }
    Some((1.0 + f64::from(as_large)) / (1.0 + f64::from(shuffles)))
}

fn squared_z(x: &[f64], y: &[f64]) -> f64 {
    let moments = |values: &[f64]| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0) / n)
    };
    let ((a, va), (b, vb)) = (moments(x), moments(y));
    (a - b) * (a - b) / (va + vb + VARIANCE_FLOOR)
}

/// Uniform below `n` (SplitMix64; the bias is below 2^-50 for the sizes used here).
pub(super) fn below(state: &mut u64, n: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((u128::from(z) * u128::from(n)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sum of twelve uniform numbers: normal enough.
    fn normal(state: &mut u64) -> f64 {
        (0..12).map(|_| below(state, 1 << 40) as f64 / (1u64 << 40) as f64).sum::<f64>() - 6.0
    }

    fn p(shift: f64, seed: u64) -> f64 {
        let mut state = seed;
        let groups: Vec<(Vec<f64>, Vec<f64>)> = (0..24)
            .map(|_| {
                let base = -3.0 * normal(&mut state).abs();
                let mut five = |shift: f64| (0..5).map(|_| base + shift + 0.03 * normal(&mut state)).collect();
                (five(0.0), five(shift))
            })
            .collect();
        let pairs: Vec<Pair<'_>> = groups.iter().map(|(x, y)| Pair { x, y }).collect();
        permutation_p(&pairs, 199, seed).unwrap()
    }

    #[test]
    fn sides_that_agree_are_called_different_as_often_as_the_level_says() {
        let found = (0..2000).filter(|seed| p(0.0, *seed) <= 0.05).count();
        // Binomial(2000, 0.05): standard deviation 9.7; four of them.
        assert!((61..=139).contains(&found), "{found}");
    }

    #[test]
    fn a_shift_of_a_few_standard_errors_is_found() {
        assert!((0..20).all(|seed| p(0.08, seed) <= 0.005));
    }

    #[test]
    fn nothing_to_compare_has_no_p_value_and_equal_values_have_one() {
        assert_eq!(permutation_p(&[], 99, 1), None);
        assert_eq!(permutation_p(&[Pair { x: &[1.0], y: &[1.0, 2.0] }], 99, 1), None);
        assert_eq!(permutation_p(&[Pair { x: &[1.0, 1.0], y: &[1.0, 1.0] }], 99, 1), Some(1.0));
    }
}
