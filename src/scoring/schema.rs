//! Compiled JSON Schema validators and their bounded cache.
//!
//! The draft is that of `$schema`, else 2020-12. Remote references are refused, patterns run on a linear-time
//! engine, references that multiply are refused ([`extent`]), so that a suite can neither reach the network nor stall a
//! sweep.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::PatternOptions;
use serde_json::Value;

use super::extent::{self, Extent};
use super::finding::{EXCERPT_CHARS_MAX, shorten};
use crate::domain::canonical::sha256_parts;

/// Compiled validators kept.
pub const VALIDATORS_MAX: usize = 512;
/// Longest schema accepted, in bytes of JSON text.
pub const SCHEMA_BYTES_MAX: usize = 256 * 1024;
/// Size limit of one compiled pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Memory of all compiled patterns of one schema, in bytes.
pub const SCHEMA_PATTERNS_BYTES_MAX: usize = 16 << 20;
/// What a pattern of a schema usually fits into, in bytes.
const SMALL_PATTERN_BYTES: usize = SCHEMA_PATTERNS_BYTES_MAX / extent::SCHEMA_PATTERNS_MAX;
/// Memory of the compiled patterns of all schemas kept, in bytes.
const KEPT_PATTERNS_BYTES_MAX: usize = 128 << 20;
/// Most steps to find out where a value breaks a schema that refers to itself.
const EXPLAINED_STEPS_MAX: u64 = 1_000_000;
/// Levels of schema times levels of value, at most, for a schema that refers to itself. Beyond it the value is refused,
/// since each of them takes a part of the stack.
const NESTED_LEVELS_MAX: usize = 2_048;

/// Whether `format` is asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Formats {
    /// As an annotation, the default of the newest draft: arguments of tools.
    Annotated,
    /// Checked: answers that were asked to follow a schema.
    Asserted,
}

/// Values of `draft`: by which version of JSON Schema a schema is read, whatever its `$schema` says.
pub(super) const DRAFTS: &[&str] = &["4", "6", "7", "2019-09", "2020-12"];

/// A version of JSON Schema: its place in [`DRAFTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draft(u8);

impl Draft {
    /// The draft of this name.
    pub fn of(word: &str) -> Option<Draft> {
        DRAFTS.iter().zip(0..).find(|(known, _)| **known == word).map(|(_, place)| Draft(place))
    }

    fn library(self) -> jsonschema::Draft {
        match self.0 {
            0 => jsonschema::Draft::Draft4,
            1 => jsonschema::Draft::Draft6,
            2 => jsonschema::Draft::Draft7,
            3 => jsonschema::Draft::Draft201909,
            _ => jsonschema::Draft::Draft202012,
        }
    }
}

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Validator {
    compiled: jsonschema::Validator,
    extent: Extent,
    /// Memory of its patterns, at most, in bytes.
    bytes: usize,
}

impl Validator {
    /// Whether a value is valid.
    pub fn is_valid(&self, value: &Value) -> bool {
        self.fits_stack(value) && self.compiled.is_valid(value)
    }

    /// Whether a value is not nested too deeply for a schema that refers to itself.
    fn fits_stack(&self, value: &Value) -> bool {
        self.extent.loops == 0 || self.extent.levels.saturating_mul(depth(value)) <= NESTED_LEVELS_MAX
    }

    /// Whether it can be said in bounded time where a value breaks the schema. Whether it does is known in any case: the
    /// compiled schema remembers what it found about a part of the value, but not while it looks for the place.
    fn explains(&self, value: &Value) -> bool {
        let Extent { looks, returns, loops, .. } = self.extent;
        if loops == 0 || returns <= 1 {
            return true;
        }
        let levels = u32::try_from(depth(value)).unwrap_or(u32::MAX).saturating_add(1);
        looks.saturating_mul(returns.saturating_pow(levels.saturating_mul(loops))) <= EXPLAINED_STEPS_MAX
    }
}

/// How deep a value nests; 1 for a scalar.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 1,
    }
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
    /// Memory of all their patterns, at most, in bytes.
    bytes: usize,
}

impl Validators {
    /// As [`Validators::get_under`], by the schema's own draft.
    #[cfg(test)]
    pub fn get(&self, schema: &Value, formats: Formats) -> Result<Arc<Validator>, String> {
        self.get_under(schema, formats, None)
    }

    /// Compiles a schema, or takes it from the cache. `draft`: how it is read; `None`: by the draft that `$schema` names,
    /// else by the newest.
    ///
    /// # Errors
    /// A sentence that says why the schema does not compile.
    pub fn get_under(&self, schema: &Value, formats: Formats, draft: Option<Draft>) -> Result<Arc<Validator>, String> {
        self.get_or_compile(&schema.to_string(), (formats, draft), || schema.clone())
    }

    /// As [`Validators::get_under`], of a schema's text: it is parsed only when it has to be compiled.
    ///
    /// # Errors
    /// As [`Validators::get_under`]; the text is not JSON.
    pub fn get_text(&self, text: &str, formats: Formats, draft: Option<Draft>) -> Result<Arc<Validator>, String> {
        self.get_or_compile(text, (formats, draft), || serde_json::from_str(text).unwrap_or_default())
    }

    /// Whether a schema's text was compiled and is kept.
    pub fn has(&self, text: &str, formats: Formats, draft: Option<Draft>) -> bool {
        self.lock().by_hash.contains_key(&hash_of(text, (formats, draft)))
    }

    fn get_or_compile(
        &self,
        text: &str,
        (formats, draft): (Formats, Option<Draft>),
        schema: impl FnOnce() -> Value,
    ) -> Result<Arc<Validator>, String> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(too_long(text.len()));
        }
        let hash = hash_of(text, (formats, draft));
        if let Some(found) = self.lock().by_hash.get(&hash) {
            return Ok(Arc::clone(found));
        }
        // Compiled outside the lock: two threads may do it twice, none waits for another's compilation.
        let compiled = Arc::new(compile(&schema(), (formats, draft), "the JSON Schema does not compile")?);
        let mut inner = self.lock();
        if inner.by_hash.insert(hash, Arc::clone(&compiled)).is_none() {
            inner.oldest_first.push_back(hash);
            inner.bytes += compiled.bytes;
        }
        while inner.oldest_first.len() > VALIDATORS_MAX || inner.bytes > KEPT_PATTERNS_BYTES_MAX {
            let Some(oldest) = inner.oldest_first.pop_front() else { break };
            let freed = inner.by_hash.remove(&oldest).map_or(0, |v| v.bytes);
            inner.bytes = inner.bytes.saturating_sub(freed);
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

fn hash_of(text: &str, (formats, draft): (Formats, Option<Draft>)) -> [u8; 32] {
    let reading = [u8::from(formats == Formats::Asserted), draft.map_or(u8::MAX, |draft| draft.0)];
    sha256_parts(&[&reading, text.as_bytes()])
}

/// Whether a schema can be judged by.
///
/// # Errors
/// A sentence that says why it cannot.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    if let Some(target) = foreign_reference(schema) {
        let target = shorten(target, EXCERPT_CHARS_MAX);
        return Err(format!("the schema refers to `{target}`: only references within it (#/...) are followed"));
    }
    match schema.to_string().len() {
        bytes if bytes > SCHEMA_BYTES_MAX => Err(too_long(bytes)),
        _ => compile(schema, (Formats::Annotated, None), "not a JSON Schema").map(|_| ()),
    }
}

/// A reference that leads out of a schema.
fn foreign_reference(schema: &Value) -> Option<&str> {
    match schema {
        Value::Object(map) => map.iter().find_map(|(key, value)| match value {
            Value::String(target) if matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") => {
                (!target.starts_with('#')).then_some(target.as_str())
            }
            other => foreign_reference(other),
        }),
        Value::Array(items) => items.iter().find_map(foreign_reference),
        _ => None,
    }
}

fn too_long(bytes: usize) -> String {
    format!("the schema has {bytes} bytes, at most {SCHEMA_BYTES_MAX} are accepted")
}

/// Compiles a schema without any resolver; `failed` begins the sentence that says why it does not compile.
fn compile(schema: &Value, reading: (Formats, Option<Draft>), failed: &str) -> Result<Validator, String> {
    if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
        return Err("a JSON Schema is an object (or true or false)".to_owned());
    }
    let extent = extent::measure(schema)?;
    // Few patterns may be large, many may not: together they stay within the schema's memory.
    let largest = (SCHEMA_PATTERNS_BYTES_MAX / extent.patterns.max(1)).min(PATTERN_BYTES_MAX);
    let built = build(schema, reading, SMALL_PATTERN_BYTES).map(|compiled| (compiled, SMALL_PATTERN_BYTES));
    let built = match built {
        Err(_) if extent.patterns > 0 && largest > SMALL_PATTERN_BYTES => {
            build(schema, reading, largest).map(|compiled| (compiled, largest))
        }
        other => other,
    };
    let (compiled, bytes) = built.map_err(|why| format!("{failed}{why}"))?;
    Ok(Validator { compiled, extent, bytes: bytes * extent.patterns })
}

/// The error is the end of a sentence.
fn build(
    schema: &Value,
    (formats, draft): (Formats, Option<Draft>),
    pattern_bytes: usize,
) -> Result<jsonschema::Validator, String> {
    let mut options =
        jsonschema::options().offline().with_pattern_options(PatternOptions::regex().size_limit(pattern_bytes));
    if let Some(draft) = draft {
        options = options.with_draft(draft.library());
    }
    if formats == Formats::Asserted {
        options = options.should_validate_formats(true);
    }
    options.build(schema).map_err(|e| {
        let at = e.instance_path().to_string();
        let place = if at.is_empty() { String::new() } else { format!(" at {at}") };
        format!(
            "{place}: {} (remote references and look-around are refused)",
            shorten(&e.to_string(), EXCERPT_CHARS_MAX)
        )
    })
}

/// The first breach of a schema, as a phrase; `None` when the value is valid.
pub(super) fn breach(validator: &Validator, value: &Value) -> Option<String> {
    if !validator.fits_stack(value) {
        return Some("it is nested too deeply".to_owned());
    }
    if validator.compiled.is_valid(value) {
        return None;
    }
    if !validator.explains(value) {
        return Some("it does not fit the schema, in a part that is nested too deeply to be told".to_owned());
    }
    let error = validator.compiled.validate(value).err()?;
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
    fn a_named_draft_reads_the_schema_whatever_the_schema_says() {
        let cache = Validators::default();
        let under = |schema: &Value, draft: &str| {
            cache.get_under(schema, Formats::Annotated, Some(Draft::of(draft).unwrap())).unwrap()
        };
        // `prefixItems` came with 2020-12; a list under `items` left with it.
        let new = json!({"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": [{"type": "integer"}]});
        assert!(breach(&under(&new, "2020-12"), &json!(["x"])).is_some());
        assert_eq!(breach(&under(&new, "7"), &json!(["x"])), None);
        // Draft 4 knows no 1.0 that is an integer, and a bound that excludes is a truth value there.
        let whole = json!({"type": "integer"});
        assert!(breach(&under(&whole, "4"), &json!(1.0)).is_some());
        assert_eq!(breach(&under(&whole, "6"), &json!(1.0)), None);
        assert_eq!(DRAFTS.iter().filter_map(|word| Draft::of(word)).count(), DRAFTS.len());
        assert_eq!(Draft::of("3"), None);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let cache = Validators::default();
        let tree = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": false});
        let v = cache.get(&tree, Formats::Annotated).unwrap();
        assert_eq!(breach(&v, &json!({"next": {"next": {}}})), None);
        assert!(breach(&v, &json!({"next": {"nxt": {}}})).is_some());
    }
    #[test]
    fn references_that_multiply_and_thousands_of_patterns_are_refused() {
        let cache = Validators::default();
        let mut defs = serde_json::Map::new();
        defs.insert("a0".to_owned(), json!({"type": "object"}));
        for n in 1..64 {
            let to = json!({"$ref": format!("#/$defs/a{}", n - 1)});
            defs.insert(format!("a{n}"), json!({"allOf": [to, to]}));
        }
        let doubling = json!({"$defs": defs, "$ref": "#/$defs/a63"});
        assert!(cache.get(&doubling, Formats::Annotated).err().unwrap().contains("multiply"));
        let patterns: serde_json::Map<String, Value> = (0..3_000).map(|n| (format!("^p{n}"), json!({}))).collect();
        let error = cache.get(&json!({"patternProperties": patterns}), Formats::Annotated).err().unwrap();
        assert!(error.contains("3000 patterns"), "{error}");
    }

    #[test]
    fn many_patterns_share_the_memory_that_few_may_have() {
        let cache = Validators::default();
        let large = |n: usize| json!({"pattern": format!(r"^\p{{L}}{{20}}a{n}$")});
        assert!(cache.get(&large(0), Formats::Annotated).is_ok());
        let many: Vec<Value> = (0..200).map(large).collect();
        assert!(cache.get(&json!({"allOf": many}), Formats::Annotated).err().unwrap().contains("compile"));
    }

    #[test]
    fn a_million_breaches_are_not_collected() {
        let cache = Validators::default();
        let v = cache.get(&json!({"items": {"type": "string"}}), Formats::Annotated).unwrap();
        let wrong = Value::Array(vec![json!(1); 1_000_000]);
        assert_eq!(breach(&v, &wrong).unwrap(), "1 is not of type \"string\" at /0");
    }

    #[test]
    fn a_schema_that_branches_into_itself_is_judged_at_any_depth() {
        let cache = Validators::default();
        let inner = json!({"properties": {"x": {"$ref": "#"}}});
        let schema = json!({"type": "object", "anyOf": [inner, inner]});
        let v = cache.get(&schema, Formats::Annotated).unwrap();
        let deep = |last: Value, levels| (0..levels).fold(last, |value, _| json!({"x": value}));
        // Each level looked at twice would be 2^100 steps, to judge as well as to explain.
        assert_eq!(breach(&v, &deep(json!({}), 100)), None);
        assert!(breach(&v, &deep(json!(1), 100)).unwrap().contains("too deeply to be told"));
        assert!(breach(&v, &deep(json!(1), 2)).unwrap().contains("not valid under any"));
    }

    #[test]
    fn a_deep_value_and_a_deep_schema_do_not_exhaust_the_stack() {
        let cache = Validators::default();
        let nested = (0..50).fold(json!({"properties": {"x": {"$ref": "#"}}}), |inner, _| json!({"allOf": [inner]}));
        let v = cache.get(&nested, Formats::Annotated).unwrap();
        let deep = |levels| (0..levels).fold(json!(1), |value, _| json!({"x": value}));
        for levels in [1, 20, 37, 38, 60, 120] {
            let judged = std::thread::Builder::new().stack_size(2 << 20);
            let (v, value) = (Arc::clone(&v), deep(levels));
            let valid = judged.spawn(move || breach(&v, &value).is_none()).unwrap().join().unwrap();
            assert_eq!(valid, levels <= 37, "{levels}");
        }
    }
}
