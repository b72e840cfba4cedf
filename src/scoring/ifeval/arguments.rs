//! Reading an instruction's arguments as the official harness does: what is false in Python counts as not given.

use serde_json::{Map, Value};
use thiserror::Error;

use super::pattern::{Flags, Pattern};
use crate::scoring::budget::PatternBudget;

/// Why an instruction has no verdict.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unscorable {
    /// No such instruction type is implemented.
    #[error("instruction type `{id}` is not implemented")]
    UnknownType {
        /// The id as given.
        id: String,
    },
    /// An argument is missing, null, zero or empty: the official checker would draw a value at random.
    #[error("`{key}` is not given, so the official checker would draw it at random")]
    Missing {
        /// The argument.
        key: &'static str,
    },
    /// An argument has a value that the official checker refuses or replaces by a random one.
    #[error("`{key}` must be {wanted}")]
    Invalid {
        /// The argument.
        key: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// The occurrences of a keyword in an answer cannot be counted in bounded time.
    #[error("the keyword cannot be counted in so long an answer: every search may go through all of it")]
    TooLong,
    /// A keyword cannot be searched for as a regular expression.
    #[error("`{key}` cannot be searched for as a regular expression: {why}")]
    Pattern {
        /// The argument.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// How a count is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// `at least`.
    AtLeast(f64),
    /// `less than`.
    LessThan(f64),
}

impl Bound {
    /// Whether a count keeps to the bound.
    pub(super) fn holds(self, count: usize) -> bool {
        let count = count as f64;
        match self {
            Bound::AtLeast(limit) => count >= limit,
            Bound::LessThan(limit) => count < limit,
        }
    }
}

/// The arguments of one instruction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arguments<'a> {
    /// As given.
    pub map: &'a Map<String, Value>,
    /// What is left for the keywords of the case.
    pub budget: &'a PatternBudget,
}

impl<'a> Arguments<'a> {
    fn given(self, key: &'static str) -> Result<&'a Value, Unscorable> {
        let is_false = |v: &Value| match v {
            Value::Null => true,
            Value::Bool(b) => !b,
            Value::Number(n) => n.as_f64() == Some(0.0),
            Value::String(s) => s.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
        };
        self.map.get(key).filter(|v| !is_false(v)).ok_or(Unscorable::Missing { key })
    }

    /// A text.
    pub(super) fn text(self, key: &'static str) -> Result<&'a str, Unscorable> {
        self.given(key)?.as_str().ok_or(Unscorable::Invalid { key, wanted: "a text" })
    }

    /// A number, of any sign.
    pub(super) fn number(self, key: &'static str) -> Result<f64, Unscorable> {
        self.given(key)?.as_f64().ok_or(Unscorable::Invalid { key, wanted: "a number" })
    }

    /// A number above zero.
    pub(super) fn amount(self, key: &'static str) -> Result<f64, Unscorable> {
        let number = self.number(key)?;
        if number > 0.0 { Ok(number) } else { Err(Unscorable::Invalid { key, wanted: "a number above zero" }) }
    }

    /// A number with its relation.
    pub(super) fn bound(self, amount: f64, relation: &'static str) -> Result<Bound, Unscorable> {
        match self.text(relation)? {
            "at least" => Ok(Bound::AtLeast(amount)),
            "less than" => Ok(Bound::LessThan(amount)),
            _ => Err(Unscorable::Invalid { key: relation, wanted: "`at least` or `less than`" }),
        }
    }

    /// A list of keywords, each a pattern made by `wrap`.
    pub(super) fn patterns(self, key: &'static str, wrap: impl Fn(&str) -> String) -> Result<Vec<Pattern>, Unscorable> {
        let wanted = "a list of texts";
        let items = self.given(key)?.as_array().ok_or(Unscorable::Invalid { key, wanted })?;
        items
            .iter()
            .map(|item| self.pattern(key, &wrap(item.as_str().ok_or(Unscorable::Invalid { key, wanted })?), true))
            .collect()
    }

    /// Compiles a keyword whose occurrences are counted.
    pub(super) fn counted(self, key: &'static str, text: &str, ignore_case: bool) -> Result<Pattern, Unscorable> {
        let flags = Flags { ignore_case, multiline: false };
        Pattern::compile_counted(text, flags, self.budget).map_err(|why| Unscorable::Pattern { key, why })
    }

    /// Compiles a keyword.
    pub(super) fn pattern(self, key: &'static str, text: &str, ignore_case: bool) -> Result<Pattern, Unscorable> {
        let flags = Flags { ignore_case, multiline: false };
        Pattern::compile(text, flags, self.budget).map_err(|why| Unscorable::Pattern { key, why })
    }
}
