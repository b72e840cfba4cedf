//! The effective options of a scorer: its own table over the keys of `expected`.

use serde_json::{Map, Value};

use super::budget::PatternBudget;
use super::error::ScorerError;
use super::kinds::{self, Kind, Needs};
use super::schema::Draft;
use super::spec;
use crate::domain::ScorerSpec;

/// Options of one scorer, checked: every value has its form, every required one is there.
pub(super) struct Options<'a> {
    /// The kind.
    pub kind: &'static Kind,
    /// `not-` stands before it.
    pub negated: bool,
    /// What is left for the regular expressions of the case.
    pub patterns: &'a PatternBudget,
    own: &'a Map<String, Value>,
    expected: &'a Map<String, Value>,
}

impl<'a> Options<'a> {
    /// Looks up the kind and checks everything.
    ///
    /// # Errors
    /// The first problem.
    pub fn new(
        scorer: &'a ScorerSpec,
        expected: &'a Map<String, Value>,
        patterns: &'a PatternBudget,
    ) -> Result<Self, ScorerError> {
        let (kind, negated) = kinds::find(&scorer.kind).ok_or_else(|| {
            ScorerError::scorer(&scorer.kind, "there is no such scorer; the suite's check names the known ones")
        })?;
        let options = Options { kind, negated, patterns, own: &scorer.options, expected };
        if let Some(key) = scorer.options.keys().find(|k| kind.form(k).is_none()) {
            return Err(options.error(format!("it has no option `{key}`")));
        }
        // What is only checked here is compiled, and counted, by the scorer.
        let checked = PatternBudget::default();
        for key in kind.key_names() {
            if let (Some(value), Some(form)) = (options.get(key), kind.form(key)) {
                spec::check_form(form, value, &checked).map_err(|e| options.error(format!("`{key}`: {e}")))?;
            }
        }
        spec::needs_met(kind, &scorer.options, expected).map_err(|e| options.error(e))?;
        Ok(options)
    }

    /// An error of this scorer.
    pub fn error(&self, message: impl Into<String>) -> ScorerError {
        ScorerError::scorer(self.kind.name, message)
    }

    /// An option's value. Weight and threshold are the scorer's alone; `expected` is shared by several.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        let own = self.own.get(key);
        if own.is_some()
            || kinds::COMMON.iter().any(|(k, _)| *k == key)
            || !self.kind.keys.iter().any(|(k, _)| *k == key)
        {
            return own;
        }
        if let Needs::OneOf(keys) = self.kind.needs
            && keys.contains(&key)
            && keys.iter().any(|k| self.own.contains_key(*k))
        {
            return None;
        }
        self.expected.get(key)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(spec::text)
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn required_text(&self, key: &str) -> Result<String, ScorerError> {
        self.text(key).ok_or_else(|| self.error(format!("`{key}` is missing")))
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Option<Vec<String>> {
        Some(self.get(key)?.as_array()?.iter().filter_map(spec::text).collect())
    }

    /// A list of texts that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn required_texts(&self, key: &str) -> Result<Vec<String>, ScorerError> {
        self.texts(key).ok_or_else(|| self.error(format!("`{key}` is missing")))
    }

    /// A truth value with its default.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    /// The draft by which schemas are read, where one is named.
    pub fn draft(&self) -> Option<Draft> {
        self.text("draft").and_then(|word| Draft::of(&word))
    }

    /// A whole number.
    pub fn count(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(spec::count)
    }

    /// A number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key).and_then(spec::number)
    }
}
