//! An answer and the variants of it that loose judging looks at.

use super::python;

/// Opens a block of reasoning in the visible text.
const THINK_OPEN: &str = "<think>";
/// Closes it.
const THINK_CLOSE: &str = "</think>";

/// The text after a leading block `<think>..</think>`, white space between them dropped; the text itself where there is
/// no such block, or none that ends.
#[must_use]
pub fn without_reasoning(text: &str) -> &str {
    let block = text.trim_start_matches(python::is_space).strip_prefix(THINK_OPEN);
    match block.and_then(|rest| rest.split_once(THINK_CLOSE)) {
        Some((_, answer)) => answer.trim_start_matches(python::is_space),
        None => text,
    }
}

/// An answer, prepared for judging.
#[derive(Debug, Clone)]
pub struct Response {
    /// The answer itself first; then the other variants that are neither blank nor equal to an earlier one.
    variants: Vec<String>,
}

impl Response {
    /// Prepares an answer. The caller removes a block of reasoning first ([`without_reasoning`]).
    #[must_use]
    pub fn new(text: &str) -> Self {
        let lines: Vec<&str> = text.split('\n').collect();
        let joined = |from: usize, to: usize| {
            let part = lines.get(from..to).unwrap_or_default().join("\n");
            python::strip(&part).to_owned()
        };
        let count = lines.len();
        let cut = [text.to_owned(), joined(1, count), joined(0, count - 1), joined(1, count.saturating_sub(1))];
        let mut variants: Vec<String> = vec![text.to_owned()];
        for plain in cut {
            let bare = plain.replace('*', "");
            for variant in [plain, bare] {
                if !python::is_blank(&variant) && !variants.contains(&variant) {
                    variants.push(variant);
                }
            }
        }
        Response { variants }
    }

    /// The answer as it is; `None` when it is blank.
    pub(super) fn text(&self) -> Option<&str> {
        self.variants.first().map(String::as_str).filter(|t| !python::is_blank(t))
    }

    /// Every text that loose judging accepts, none of them blank.
    pub(super) fn variants(&self) -> impl Iterator<Item = &str> {
        self.text().into_iter().chain(self.variants.iter().skip(1).map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leading_closed_block_of_reasoning_goes() {
        assert_eq!(without_reasoning("<think>\nhm\n</think>\n\nYes."), "Yes.");
        assert_eq!(without_reasoning(" \n<think></think>Yes. "), "Yes. ");
        assert_eq!(without_reasoning("<think>a</think>b</think>c"), "b</think>c");
        for text in ["<think>for ever", "Yes. <think>x</think>", "  Yes.\n", "", "</think>Yes."] {
            assert_eq!(without_reasoning(text), text);
        }
    }

    #[test]
    fn eight_variants_less_the_blank_and_the_equal() {
        let variants = |text: &str| Response::new(text).variants().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            variants("Sure:\n*a* b \nc\nBye"),
            [
                "Sure:\n*a* b \nc\nBye",
                "Sure:\na b \nc\nBye",
                "*a* b \nc\nBye",
                "a b \nc\nBye",
                "Sure:\n*a* b \nc",
                "Sure:\na b \nc",
                "*a* b \nc",
                "a b \nc"
            ]
        );
        assert_eq!(variants("one line"), ["one line"]);
        assert_eq!(variants("a\nb"), ["a\nb", "b", "a"]);
        assert!(variants(" \n\u{1f}").is_empty() && variants("").is_empty());
        // Removing the asterisks does not strip again.
        assert_eq!(variants("x\n* y"), ["x\n* y", "x\n y", "* y", " y", "x"]);
        // Only the variants may hold something: the answer is blank as a whole when all of them are.
        assert_eq!(variants("*"), ["*"]);
    }
}
