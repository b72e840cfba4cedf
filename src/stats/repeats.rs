//! Repeats of one task: the chance that all of some tries succeed.

/// pass^k of one task: the share of all choices of `k` of its `n` tries in which every try passed, C(c,k) / C(n,k), with `c`
/// passed tries. `None` with fewer than `k` tries: too few are no failure. (Suites, section 9; as tau-bench counts it.)
#[must_use]
pub fn pass_k(passed: u64, tries: u64, k: u32) -> Option<f64> {
    if u64::from(k) > tries || passed > tries {
        return None;
    }
    Some((0..u64::from(k)).map(|i| passed.saturating_sub(i) as f64 / (tries - i) as f64).product())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All choices of `k` among the tries, the first `passed` of which passed.
    fn counted(passed: u64, tries: u64, k: u32) -> f64 {
        let choices = (0u32..1 << tries).filter(|set| set.count_ones() == k);
        let (mut all, mut good) = (0u32, 0u32);
        for set in choices {
            all += 1;
            good += u32::from(set >> passed == 0);
        }
        f64::from(good) / f64::from(all)
    }

    #[test]
    fn it_is_the_share_of_choices_in_which_all_pass() {
        for tries in 1..=8u64 {
            for passed in 0..=tries {
                for k in 1..=tries as u32 {
                    let value = pass_k(passed, tries, k).unwrap();
                    assert!((value - counted(passed, tries, k)).abs() < 1e-12, "{passed} of {tries}, {k}: {value}");
                }
            }
        }
        assert_eq!(pass_k(2, 2, 3), None);
        assert_eq!(pass_k(0, 0, 1), None);
    }
}
