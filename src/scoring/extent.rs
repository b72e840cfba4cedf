//! How far a JSON Schema reaches when its references are followed, measured without following them again and again.
//!
//! A schema of a few hundred bytes can ask for more looks at one value than there are atoms: `a1` is `allOf` of `a0` and
//! `a0`, `a2` of `a1` and `a1`, and so on. Validators share the compiled parts, and look at the value all the same. Such
//! schemas are refused before they are compiled.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// Most looks at one value that a schema may ask for, its references followed.
pub const LOOKS_MAX: u64 = 100_000;
/// Most levels of a schema, its references followed until they come back.
pub const LEVELS_MAX: usize = 512;
/// Most patterns of one schema.
pub const SCHEMA_PATTERNS_MAX: usize = 256;

/// The size of a schema with its references followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Looks at one value, at most, before a reference comes back to where it came from.
    pub looks: u64,
    /// References that come back, as many as one value can meet.
    pub returns: u64,
    /// Levels.
    pub levels: usize,
    /// Different places that references come back to.
    pub loops: u32,
    /// Patterns, wherever they stand.
    pub patterns: usize,
}

/// Measures a schema.
///
/// # Errors
/// What it has too much of.
pub(super) fn measure(schema: &Value) -> Result<Extent, String> {
    let mut anchors = HashMap::new();
    let mut patterns = 0;
    index(schema, &mut anchors, &mut patterns);
    if patterns > SCHEMA_PATTERNS_MAX {
        return Err(format!("the schema has {patterns} patterns, at most {SCHEMA_PATTERNS_MAX} are compiled"));
    }
    let mut walk = Walk { root: schema, anchors, targets: HashMap::new(), loops: HashSet::new() };
    let part = walk.target(schema, 0)?;
    Ok(Extent {
        looks: part.looks,
        returns: part.returns,
        levels: part.levels,
        loops: walk.loops.len() as u32,
        patterns,
    })
}

/// Finds the named places of a schema and counts its patterns.
fn index<'s>(value: &'s Value, anchors: &mut HashMap<&'s str, &'s Value>, patterns: &mut usize) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| index(item, anchors, patterns)),
        Value::Object(map) => {
            for (key, inner) in map {
                match (key.as_str(), inner) {
                    ("$anchor" | "$dynamicAnchor" | "$id" | "id", Value::String(name)) => {
                        anchors.insert(name.trim_start_matches('#'), value);
                    }
                    ("pattern", Value::String(_)) => *patterns += 1,
                    ("patternProperties", Value::Object(inner)) => *patterns += inner.len(),
                    _ => {}
                }
                index(inner, anchors, patterns);
            }
        }
        _ => {}
    }
}

/// What a part of a schema asks for.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    looks: u64,
    returns: u64,
    levels: usize,
}

impl Part {
    /// Beside another part, of the same value.
    fn and(self, other: Part) -> Part {
        Part {
            looks: self.looks.saturating_add(other.looks),
            returns: self.returns.saturating_add(other.returns),
            levels: self.levels.max(other.levels),
        }
    }

    /// Beside another part, of another value.
    fn or(self, other: Part) -> Part {
        Part {
            looks: self.looks.max(other.looks),
            returns: self.returns.max(other.returns),
            levels: self.levels.max(other.levels),
        }
    }
}

struct Walk<'s> {
    root: &'s Value,
    anchors: HashMap<&'s str, &'s Value>,
    /// Targets of references: `None` while they are being measured.
    targets: HashMap<*const Value, Option<Part>>,
    loops: HashSet<*const Value>,
}

impl<'s> Walk<'s> {
    fn target(&mut self, schema: &'s Value, level: usize) -> Result<Part, String> {
        let key = std::ptr::from_ref(schema);
        match self.targets.get(&key) {
            Some(Some(part)) if level + part.levels <= LEVELS_MAX => return Ok(*part),
            Some(Some(_)) => return Err(too_deep()),
            Some(None) => {
                self.loops.insert(key);
                return Ok(Part { looks: 1, returns: 1, levels: 1 });
            }
            None => {}
        }
        self.targets.insert(key, None);
        let part = self.schema(schema, level)?;
        self.targets.insert(key, Some(part));
        Ok(part)
    }

    fn schema(&mut self, schema: &'s Value, level: usize) -> Result<Part, String> {
        let Value::Object(map) = schema else { return Ok(Part::default()) };
        if level >= LEVELS_MAX {
            return Err(too_deep());
        }
        let mut all = Part { looks: 1, returns: 0, levels: 0 };
        for (key, value) in map {
            let part = match (key.as_str(), value) {
                // Data, and what is looked at only where something refers to it.
                ("$defs" | "definitions" | "enum" | "const" | "default" | "examples", _) => continue,
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to)) => match self.find(to) {
                    Some(target) => self.target(target, level + 1)?,
                    None => Part { looks: 1, ..Part::default() },
                },
                // Each member of a value meets one of these.
                ("properties", Value::Object(members)) => self.each(members.values(), level, Part::or)?,
                ("items" | "prefixItems", Value::Array(items)) => self.each(items.iter(), level, Part::or)?,
                ("patternProperties" | "dependentSchemas" | "dependencies", Value::Object(members)) => {
                    self.each(members.values(), level, Part::and)?
                }
                (_, Value::Object(_)) => self.schema(value, level + 1)?,
                (_, Value::Array(items)) => self.each(items.iter(), level, Part::and)?,
                _ => continue,
            };
            all = all.and(part);
            if all.looks > LOOKS_MAX {
                return Err(format!(
                    "the schema's references multiply: one value would be looked at more than {LOOKS_MAX} times"
                ));
            }
        }
        all.levels += 1;
        Ok(all)
    }

    fn each(
        &mut self,
        schemas: impl Iterator<Item = &'s Value>,
        level: usize,
        join: fn(Part, Part) -> Part,
    ) -> Result<Part, String> {
        let mut all = Part::default();
        for schema in schemas {
            all = join(all, self.schema(schema, level + 1)?);
        }
        Ok(all)
    }

    /// What a reference refers to; `None` when it is not in this schema (the compiler says so).
    fn find(&self, to: &str) -> Option<&'s Value> {
        if let Some(found) = self.anchors.get(to.trim_start_matches('#')) {
            return Some(found);
        }
        let (base, fragment) = to.split_once('#').unwrap_or((to, ""));
        let base = if base.is_empty() { self.root } else { self.anchors.get(base).copied()? };
        let fragment = percent_decoded(fragment)?;
        if fragment.is_empty() { Some(base) } else { base.pointer(&fragment) }
    }
}

/// A fragment of a reference as it is meant: `%25` is a percent sign.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |b: Option<u8>| char::from(b?).to_digit(16).and_then(|d| u8::try_from(d).ok());
        bytes.push(if byte == b'%' { digit(rest.next())? * 16 + digit(rest.next())? } else { byte });
    }
    String::from_utf8(bytes).ok()
}

fn too_deep() -> String {
    format!("the schema's parts and references nest more than {LEVELS_MAX} deep")
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn doubled(times: usize, wrap: impl Fn(Value) -> Value) -> Value {
        let mut defs = Map::new();
        defs.insert("a0".to_owned(), json!({"type": "object"}));
        for n in 1..=times {
            let to = json!({"$ref": format!("#/$defs/a{}", n - 1)});
            defs.insert(format!("a{n}"), json!({"allOf": [wrap(to.clone()), wrap(to)]}));
        }
        json!({"$defs": defs, "$ref": format!("#/$defs/a{times}")})
    }

    #[test]
    fn references_that_double_are_refused() {
        for wrap in [(|v| v) as fn(Value) -> Value, |v| json!({"properties": {"x": v}}), |v| json!({"not": v})] {
            // 2^64 looks, found in 64 steps.
            assert!(measure(&doubled(64, wrap)).unwrap_err().contains("multiply"));
            assert!(measure(&doubled(6, wrap)).is_ok());
        }
    }

    #[test]
    fn what_is_only_large_is_not() {
        let to = json!({"$ref": "#/$defs/leaf"});
        let members: Map<String, Value> = (0..5_000).map(|n| (format!("p{n}"), to.clone())).collect();
        let leaf = json!({"anyOf": [{"type": "string"}, {"type": "integer"}]});
        assert!(measure(&json!({"$defs": {"leaf": leaf}, "properties": members})).is_ok());
        let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
        let extent = measure(&tree).unwrap();
        assert_eq!((extent.returns, extent.loops), (1, 1));
    }

    #[test]
    fn patterns_and_levels_are_counted() {
        let patterns: Map<String, Value> = (0..=SCHEMA_PATTERNS_MAX).map(|n| (format!("^p{n}"), json!({}))).collect();
        assert!(measure(&json!({"patternProperties": patterns})).unwrap_err().contains("patterns"));
        let chain: Map<String, Value> =
            (0..2_000).map(|n| (format!("a{n}"), json!({"$ref": format!("#/$defs/a{}", n + 1)}))).collect();
        assert!(measure(&json!({"$defs": chain, "$ref": "#/$defs/a0"})).unwrap_err().contains("deep"));
    }
}
