//! Compiled JSON Schema validators and their bounded cache.
//!
//! The draft is that of `$schema`, else 2020-12. Remote references are refused, patterns run on a linear-time
//! engine, so that a suite can neither reach the network nor stall a sweep.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::finding::{EXCERPT_CHARS_MAX, shorten};
use crate::domain::canonical::sha256_parts;

/// Compiled validators kept.
pub const VALIDATORS_MAX: usize = 512;
/// Longest schema accepted, in bytes of JSON text.
pub const SCHEMA_BYTES_MAX: usize = 256 * 1024;
/// Size limit of one compiled pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Whether `format` is asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Formats {
    /// As an annotation, the default of the newest draft: arguments of tools.
    Annotated,
    /// Checked: answers that were asked to follow a schema.
    Asserted,
}

/// Compiled schemas by the hash of their text; the oldest leaves when it is full.
#[derive(Default)]
pub(super) struct Validators {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_hash: HashMap<[u8; 32], Arc<Validator>>,
    oldest_first: VecDeque<[u8; 32]>,
}

impl Validators {
    /// Compiles a schema, or takes it from the cache.
    ///
    /// # Errors
    /// A sentence that says why the schema does not compile.
    pub fn get(&self, schema: &Value, formats: Formats) -> Result<Arc<Validator>, String> {
        self.get_or_compile(&schema.to_string(), formats, || schema.clone())
    }

    /// As [`Validators::get`], of a schema's text: it is parsed only when it has to be compiled.
    ///
    /// # Errors
    /// As [`Validators::get`]; the text is not JSON.
    pub fn get_text(&self, text: &str, formats: Formats) -> Result<Arc<Validator>, String> {
        self.get_or_compile(text, formats, || serde_json::from_str(text).unwrap_or_default())
    }

    fn get_or_compile(
        &self,
        text: &str,
        formats: Formats,
        schema: impl FnOnce() -> Value,
    ) -> Result<Arc<Validator>, String> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(format!("the schema has {} bytes, at most {SCHEMA_BYTES_MAX} are accepted", text.len()));
        }
        let hash = sha256_parts(&[&[u8::from(formats == Formats::Asserted)], text.as_bytes()]);
        if let Some(found) = self.lock().by_hash.get(&hash) {
            return Ok(Arc::clone(found));
        }
        // Compiled outside the lock: two threads may do it twice, none waits for another's compilation.
        let compiled = Arc::new(compile(&schema(), formats)?);
        let mut inner = self.lock();
        if inner.by_hash.insert(hash, Arc::clone(&compiled)).is_none() {
            inner.oldest_first.push_back(hash);
        }
        if inner.oldest_first.len() > VALIDATORS_MAX
            && let Some(oldest) = inner.oldest_first.pop_front()
        {
            inner.by_hash.remove(&oldest);
        }
        Ok(compiled)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().by_hash.len()
    }
}

/// Compiles a schema without any resolver.
fn compile(schema: &Value, formats: Formats) -> Result<Validator, String> {
    if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
        return Err("a JSON Schema is an object (or true or false)".to_owned());
    }
    let mut options =
        jsonschema::options().offline().with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX));
    if formats == Formats::Asserted {
        options = options.should_validate_formats(true);
    }
    options.build(schema).map_err(|e| {
        let at = e.instance_path().to_string();
        let place = if at.is_empty() { String::new() } else { format!(" at {at}") };
        format!(
            "the JSON Schema does not compile{place}: {} (remote references and look-around are refused)",
            shorten(&e.to_string(), EXCERPT_CHARS_MAX)
        )
    })
}

/// The first breach of a schema, as a phrase; `None` when the value is valid.
pub(super) fn breach(validator: &Validator, value: &Value) -> Option<String> {
    if validator.is_valid(value) {
        return None;
    }
    let error = validator.iter_errors(value).next()?;
    let path = error.instance_path().to_string();
    let place = if path.is_empty() { String::new() } else { format!(" at {path}") };
    Some(format!("{}{place}", shorten(&error.to_string(), EXCERPT_CHARS_MAX)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_compiled_once_and_the_cache_is_bounded() {
        let cache = Validators::default();
        let first = cache.get(&json!({"type": "object"}), Formats::Annotated).unwrap();
        let again = cache.get(&json!({"type": "object"}), Formats::Annotated).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        for n in 0..=VALIDATORS_MAX {
            cache.get(&json!({"minimum": n}), Formats::Annotated).unwrap();
        }
        assert_eq!(cache.len(), VALIDATORS_MAX);
        assert!(!Arc::ptr_eq(&first, &cache.get(&json!({"type": "object"}), Formats::Annotated).unwrap()));
    }

    #[test]
    fn remote_references_look_around_and_broken_schemas_are_refused() {
        let cache = Validators::default();
        for schema in [
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/hostname"}),
            json!({"$ref": "#/$defs/none"}),
            json!({"type": "text"}),
            json!({"pattern": "(?=a)b"}),
            json!({"pattern": "("}),
            json!({"$schema": "https://example.com/draft-99"}),
            json!("object"),
        ] {
            let error = cache.get(&schema, Formats::Annotated).expect_err(&schema.to_string());
            assert!(!error.is_empty());
        }
    }

    #[test]
    fn the_draft_follows_the_schema_and_formats_are_asserted_on_demand() {
        let cache = Validators::default();
        let seven = json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]});
        let v = cache.get(&seven, Formats::Annotated).unwrap();
        assert!(breach(&v, &json!(["x"])).unwrap().contains("/0"));
        let date = json!({"type": "string", "format": "date"});
        assert_eq!(breach(&cache.get(&date, Formats::Annotated).unwrap(), &json!("soon")), None);
        assert!(breach(&cache.get(&date, Formats::Asserted).unwrap(), &json!("soon")).is_some());
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let cache = Validators::default();
        let tree = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": false});
        let v = cache.get(&tree, Formats::Annotated).unwrap();
        assert_eq!(breach(&v, &json!({"next": {"next": {}}})), None);
        assert!(breach(&v, &json!({"next": {"nxt": {}}})).is_some());
    }
}
