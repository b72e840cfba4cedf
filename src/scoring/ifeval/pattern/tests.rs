//! What patterns mean in Python, and what is refused.

use super::*;

const ANY_CASE: Flags = Flags { ignore_case: true, multiline: false };
const LINES: Flags = Flags { ignore_case: false, multiline: true };

fn found(pattern: &str, text: &str) -> bool {
    Pattern::compile(pattern, ANY_CASE, &PatternBudget::default()).unwrap().is_match(text)
}

#[test]
fn patterns_mean_what_they_mean_in_python() {
    let table: &[(&str, &str, bool)] = &[
        ("cat", "conCATenate", true),
        (r"\bcat\b", "concatenate", false),
        (r"\bcat\b", "a cat, sat", true),
        (r"\bcat\b", "cat²", false),
        (r"\bcat\b", "cat\u{301}", true),
        (r"\bशांत\b", "वह शांत था", true),
        (r"\bशा\b", "वह शांत था", false),
        (r"\bx²\b", "so x² it is", true),
        (r"\bx²\b", "so x³ it is", false),
        (r"a\wb", "a\u{301}b", false),
        (r"a\wb", "a½b", true),
        (r"a\sb", "a\u{1f}b", true),
        (r"a[\s]b", "a\u{1c}b", true),
        (r"a[^\W]b", "a b", false),
        ("title", "tİtle", true),
        ("[a-z]dea", "ıdea", true),
        ("straße", "STRAẞE", true),
        ("$100", "it is $100", false),
        ("end$", "the end\n", true),
        ("end$", "the end\n\n", false),
        (r"\bUS$\b", "made in the US\n", true),
        (r"\bUS$\b", "made in the US", true),
        (r"\bUS$\b", "the US\nmade it", false),
        ("(a|end$)", "the end\n", true),
        ("b|end$", "the end\n", true),
        ("a{,2}b", "b", true),
        ("a{x}", "a{x}", true),
        ("c++", "c and cc", true),
        (r"\bc++\b", "ccc", true),
        ("(a|b)c", "bc", true),
        ("(?P<n>a)c", "ac", true),
        (r"\x41\u0042", "ab", true),
        ("[]a]", "]", true),
        ("[a-]", "-", true),
        ("[[]", "[", true),
        ("[a&&b]", "&", true),
        ("a.b", "a\nb", false),
        ("a.b", "a\rb", true),
    ];
    for (pattern, text, expected) in table {
        assert_eq!(found(pattern, text), *expected, "{pattern:?} in {text:?}");
    }
}

#[test]
fn what_cannot_be_matched_is_refused() {
    for pattern in
        ["(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?P<n>a)(?P=n)", "(?>a)", "(a)(?(1)b)", "a*+b", "(ab)++"]
    {
        assert!(
            Pattern::compile(pattern, ANY_CASE, &PatternBudget::default()).unwrap_err().contains("linear"),
            "{pattern}"
        );
    }
    for pattern in [
        "(",
        ")",
        "[a",
        "*a",
        "a**",
        "a|*b",
        r"\b*x",
        "^+",
        "\\",
        r"\q",
        r"\xg1",
        "(?i)a",
        "[b-a]",
        "a{99999}{99999}",
        "a{3,2}",
    ] {
        assert!(Pattern::compile(pattern, ANY_CASE, &PatternBudget::default()).is_err(), "{pattern}");
    }
    assert!(Pattern::compile(&"a".repeat(PATTERN_BYTES_MAX + 1), ANY_CASE, &PatternBudget::default()).is_err());
    assert!(Pattern::compile(&"(".repeat(1000), ANY_CASE, &PatternBudget::default()).is_err());
    assert!(
        Pattern::compile(r"(\w{500}){500}", ANY_CASE, &PatternBudget::default()).unwrap_err().contains("too large")
    );
}

#[test]
fn matches_are_counted_as_by_findall() {
    let count =
        |pattern: &str, text: &str| Pattern::compile(pattern, ANY_CASE, &PatternBudget::default()).unwrap().count(text);
    assert_eq!(count("aa", "aaaaa"), Some(2));
    assert_eq!(count("a*", "baac"), Some(4));
    assert_eq!(count("", "añ"), Some(3));
    let lines = Pattern::compile(r"^\s*-.*$", LINES, &PatternBudget::default()).unwrap();
    assert_eq!(lines.count("- a\n\n - b\r\n-c\rd"), Some(3));
}

#[test]
fn what_python_counts_otherwise_is_refused() {
    let counted = |pattern: &str| Pattern::compile_counted(pattern, ANY_CASE, &PatternBudget::default());
    for pattern in ["|a", "a??", "a*?", "(a|b*)c?", "x*|y", r"\b|a", "a$", "(|a)(|b)"] {
        assert!(counted(pattern).is_err(), "{pattern}");
    }
    for pattern in ["cat|dog", "a*", "(ab)?", r"\w+?x", r"\bcat\b", "^a|b", "x{2}"] {
        assert!(counted(pattern).is_ok(), "{pattern}: {:?}", counted(pattern).err());
    }
    for pattern in ["a$.", "a$b*", "(a$)+", r"a$\n", r"a$|b\Z", "(a$|b)c"] {
        assert!(Pattern::compile(pattern, ANY_CASE, &PatternBudget::default()).is_err(), "{pattern}");
    }
}

#[test]
fn counting_ends_on_patterns_that_look_through_the_whole_text_for_every_match() {
    let counted = |pattern: &str| Pattern::compile_counted(pattern, ANY_CASE, &PatternBudget::default()).unwrap();
    let pattern = counted("a[^b]*b|a");
    assert_eq!(pattern.count(&"a".repeat(1_000)), Some(1_000));
    // Counted to the end this would be 10^11 steps.
    assert_eq!(pattern.count(&"a".repeat(500_000)), None);
    // What cannot look further than it is long is counted in a text of any length.
    assert_eq!(counted("ab|a").count(&"a".repeat(500_000)), Some(500_000));
}
