//! What the regular expressions of one case, or of one row of a file, may take together.
//!
//! Each pattern is bounded by itself; a list of thousands of them is bounded here.

use std::cell::Cell;

use regex::{Regex, RegexBuilder};

/// Most regular expressions of one case, or of one row.
pub const PATTERNS_MAX: usize = 256;
/// Memory that they may take once compiled, all together, in bytes.
pub const PATTERNS_BYTES_MAX: usize = 16 << 20;
/// What a compiled pattern is counted as: the first of these sizes into which it fits, in bytes.
const SIZES: [usize; 4] = [PATTERNS_BYTES_MAX / PATTERNS_MAX, 256 << 10, 1 << 20, 2 << 20];
/// Most memory for what a search remembers, in bytes; a small pattern gets four times its size.
const SEARCH_BYTES_MAX: usize = 2 << 20;

/// What is left for the patterns of one case.
#[derive(Debug)]
pub(super) struct PatternBudget {
    bytes_left: Cell<usize>,
}

/// Why a pattern was not compiled.
#[derive(Debug)]
pub(super) enum NotCompiled {
    /// It is too large by itself.
    TooLarge,
    /// Nothing is left for it.
    Spent,
    /// It is no regular expression.
    Syntax(regex::Error),
}

impl Default for PatternBudget {
    fn default() -> Self {
        PatternBudget { bytes_left: Cell::new(PATTERNS_BYTES_MAX) }
    }
}

impl PatternBudget {
    /// Compiles a pattern of at most `bytes_max` once compiled.
    ///
    /// # Errors
    /// [`NotCompiled`].
    pub fn compile(&self, builder: &mut RegexBuilder, bytes_max: usize) -> Result<Regex, NotCompiled> {
        let mut why = NotCompiled::TooLarge;
        for size in SIZES.into_iter().filter(|size| *size <= bytes_max) {
            // The smallest size is a fixed share, so that this also bounds the number of patterns.
            if size > self.bytes_left.get() {
                return Err(NotCompiled::Spent);
            }
            match builder.size_limit(size).dfa_size_limit((4 * size).min(SEARCH_BYTES_MAX)).build() {
                Ok(regex) => {
                    self.bytes_left.set(self.bytes_left.get() - size);
                    return Ok(regex);
                }
                Err(regex::Error::CompiledTooBig(_)) => why = NotCompiled::TooLarge,
                Err(other) => return Err(NotCompiled::Syntax(other)),
            }
        }
        Err(why)
    }
}

/// [`NotCompiled::Spent`] in words.
pub(super) fn spent() -> String {
    format!(
        "the regular expressions take too much together: at most {PATTERNS_MAX}, and {} MiB once compiled; use fewer or simpler ones",
        PATTERNS_BYTES_MAX >> 20
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_patterns_or_few_large_ones_use_it_up() {
        let budget = PatternBudget::default();
        let mut small = RegexBuilder::new("a+b");
        for _ in 0..PATTERNS_MAX {
            budget.compile(&mut small, 1 << 20).unwrap();
        }
        assert!(matches!(budget.compile(&mut RegexBuilder::new("a"), 1 << 20), Err(NotCompiled::Spent)));

        let budget = PatternBudget::default();
        let large = || budget.compile(&mut RegexBuilder::new(r"\w{40}"), 2 << 20);
        let fitted = std::iter::repeat_with(large).take_while(Result::is_ok).count();
        assert!((8..=64).contains(&fitted), "{fitted}");
        assert!(matches!(large(), Err(NotCompiled::Spent)));
    }

    #[test]
    fn a_pattern_is_still_bounded_by_itself() {
        let budget = PatternBudget::default();
        assert!(matches!(
            budget.compile(&mut RegexBuilder::new(r"(\w{500}){50}"), 1 << 20),
            Err(NotCompiled::TooLarge)
        ));
        let open = "(".to_owned();
        assert!(matches!(budget.compile(&mut RegexBuilder::new(&open), 1 << 20), Err(NotCompiled::Syntax(_))));
        assert!(budget.compile(&mut RegexBuilder::new("a"), 1 << 20).is_ok());
    }
}
