//! Whether arguments fit a tool's schema, for whoever judges calls outside of suites.

use serde_json::Value;

use super::plain_schema::PlainSchema;
use super::schema::{Formats, Validators};

/// Judges arguments by schemas that somebody else wrote; compiled ones are kept, as many as a suite's.
#[derive(Default)]
pub struct ArgumentSchemas(Validators);

impl std::fmt::Debug for ArgumentSchemas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ArgumentSchemas")
    }
}

impl ArgumentSchemas {
    /// Whether a value is valid by a schema's text. `None`: the schema does not compile, or it would have to be compiled
    /// and `compilations`, which counts down, is used up.
    #[must_use]
    pub fn is_valid(&self, schema: &str, value: &Value, compilations: &mut u32) -> Option<bool> {
        if PlainSchema::read(schema).is_some_and(|plain| plain.surely_accepts(value)) {
            return Some(true);
        }
        if !self.0.has(schema, Formats::Annotated, None) {
            *compilations = compilations.checked_sub(1)?;
        }
        self.0.get_text(schema, Formats::Annotated, None).ok().map(|validator| validator.is_valid(value))
    }
}
