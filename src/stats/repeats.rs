//! Repeats of one task: how they fold into one value (suites, section 9).

/// pass^k of one task: the share of all choices of `k` of its `n` tries in which every try passed, C(c,k) / C(n,k), with `c`
/// passed tries. `None` with fewer than `k` tries: too few are no failure. (Suites, section 9; as tau-bench counts it.)
#[must_use]
pub fn pass_k(passed: u64, tries: u64, k: u32) -> Option<f64> {
    if u64::from(k) > tries || passed > tries {
        return None;
    }
    Some((0..u64::from(k)).map(|i| passed.saturating_sub(i) as f64 / (tries - i) as f64).product())
}

/// pass@k of one task: the share of all choices of `k` of its tries in which some try passed, 1 - C(n-c,k) / C(n,k). `None`
/// with fewer than `k` tries.
#[must_use]
pub fn pass_at(passed: u64, tries: u64, k: u32) -> Option<f64> {
    Some(1.0 - pass_k(tries.checked_sub(passed)?, tries, k)?)
}

/// How the scored repeats of a case fold into one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reducer {
    /// Their mean.
    Mean,
    /// Their median; of an even number the mean of the two in the middle.
    Median,
    /// The most frequent value; of several the smallest.
    Mode,
    /// The best.
    Max,
    /// 1 when at least so many passed, else 0.
    AtLeast(u32),
    /// [`pass_at`].
    PassAt(u32),
    /// [`pass_k`].
    PassK(u32),
}

impl Reducer {
    /// Reads `mean`, `median`, `mode`, `max`, `at_least(k)`, `pass_at(k)` or `pass_k(k)`, k from 1.
    #[must_use]
    pub fn parse(text: &str) -> Option<Reducer> {
        match text {
            "mean" => return Some(Reducer::Mean),
            "median" => return Some(Reducer::Median),
            "mode" => return Some(Reducer::Mode),
            "max" => return Some(Reducer::Max),
            _ => {}
        }
        let (word, k) = text.strip_suffix(')')?.split_once('(')?;
        let k = k.parse::<u32>().ok().filter(|k| *k >= 1)?;
        match word {
            "at_least" => Some(Reducer::AtLeast(k)),
            "pass_at" => Some(Reducer::PassAt(k)),
            "pass_k" => Some(Reducer::PassK(k)),
            _ => None,
        }
    }

    /// The value of a case with these scored repeats: the value of each in \[0,1\], and whether it passed. `None` with fewer
    /// than k of them, or with none: the case is unscored then, never 0 or 1.
    #[must_use]
    pub fn value(self, repeats: &[(f64, bool)]) -> Option<f64> {
        let mut values: Vec<f64> = repeats.iter().map(|(value, _)| *value).collect();
        let (tries, passed) = (repeats.len() as u64, repeats.iter().filter(|(_, passed)| *passed).count() as u64);
        if values.is_empty() {
            return None;
        }
        values.sort_unstable_by(f64::total_cmp);
        match self {
            Reducer::Mean => Some(values.iter().sum::<f64>() / values.len() as f64),
            Reducer::Median => {
                let middle = values.len() / 2;
                let lower = if values.len().is_multiple_of(2) { middle - 1 } else { middle };
                Some((values[lower] + values[middle]) / 2.0)
            }
            Reducer::Mode => {
                let mut best: Option<(usize, f64)> = None;
                for run in values.chunk_by(|a, b| a == b) {
                    if best.is_none_or(|(often, _)| run.len() > often) {
                        best = run.first().map(|value| (run.len(), *value));
                    }
                }
                best.map(|(_, value)| value)
            }
            Reducer::Max => values.last().copied(),
            Reducer::AtLeast(k) if u64::from(k) <= tries => Some(f64::from(u8::from(passed >= u64::from(k)))),
            Reducer::AtLeast(_) => None,
            Reducer::PassAt(k) => pass_at(passed, tries, k),
            Reducer::PassK(k) => pass_k(passed, tries, k),
        }
    }
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

    #[test]
    fn pass_at_is_the_share_of_choices_in_which_some_pass() {
        for (passed, tries) in (1..=8u64).flat_map(|tries| (0..=tries).map(move |passed| (passed, tries))) {
            for k in 1..=tries as u32 {
                let none = counted(tries - passed, tries, k);
                assert!((pass_at(passed, tries, k).unwrap() - (1.0 - none)).abs() < 1e-12, "{passed} of {tries}, {k}");
            }
        }
        assert_eq!(pass_at(1, 1, 2), None);
    }

    #[test]
    fn repeats_fold_as_their_reducer_is_named() {
        let repeats: Vec<(f64, bool)> = [0.5, 1.0, 0.0, 1.0].map(|value| (value, value == 1.0)).to_vec();
        for (text, value) in [
            ("mean", Some(0.625)),
            ("median", Some(0.75)),
            ("mode", Some(1.0)),
            ("max", Some(1.0)),
            ("at_least(2)", Some(1.0)),
            ("at_least(3)", Some(0.0)),
            ("at_least(5)", None),
            ("pass_at(1)", Some(0.5)),
            ("pass_k(2)", Some(1.0 / 6.0)),
            ("pass_k(5)", None),
        ] {
            let folded = Reducer::parse(text).unwrap().value(&repeats);
            assert_eq!(folded.is_some(), value.is_some(), "{text}");
            assert!(folded.zip(value).is_none_or(|(a, b)| (a - b).abs() < 1e-12), "{text}: {folded:?}");
        }
        assert_eq!(Reducer::Median.value(&repeats[..3]), Some(0.5));
        assert_eq!(Reducer::Mode.value(&repeats[..3]), Some(0.0), "of several the smallest");
        assert_eq!(Reducer::Mean.value(&[]), None);
        for text in ["", "means", "pass_k", "pass_k()", "pass_k(0)", "pass_k(x)", "best(2)"] {
            assert_eq!(Reducer::parse(text), None, "{text}");
        }
    }
}
