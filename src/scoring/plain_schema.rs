//! The part of JSON Schema that most tools are written in, read without compiling.
//!
//! A compiled validator costs a hundred times what it takes to look at a right answer once, and a suite of many cases has
//! many schemas that are needed a few times each. What this module accepts is valid for certain; whatever it does not
//! know or does not accept goes to the compiled validator, whose word counts and who says what is wrong. So it can save
//! time and never change a verdict (docs/adr/0019; the tests compare it with the validator).

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::schema::SCHEMA_BYTES_MAX;

/// Most properties of one object; more are looked up better by a compiled validator.
const PROPERTIES_MAX: usize = 64;

/// Whether a schema's text is of the part of JSON Schema that is read without compiling: then it compiles for certain.
#[must_use]
pub fn is_plain_schema(text: &str) -> bool {
    PlainSchema::read(text).is_some()
}

/// A schema of which every keyword is known here, and every keyword's value is as the meta-schema asks for: it compiles,
/// and what it means is plain. Absent keywords ask for nothing.
#[derive(Debug)]
pub(super) struct PlainSchema(Keywords);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Keywords {
    #[serde(default, rename = "type", deserialize_with = "types")]
    types: Option<Vec<Type>>,
    #[serde(default, deserialize_with = "given")]
    properties: Option<Properties>,
    #[serde(default, deserialize_with = "names")]
    required: Vec<String>,
    #[serde(default, deserialize_with = "given")]
    additional_properties: Option<Additional>,
    #[serde(default, deserialize_with = "given")]
    items: Option<Box<PlainSchema>>,
    #[serde(default, rename = "enum", deserialize_with = "given")]
    choices: Option<Vec<Choice>>,
    #[serde(default, deserialize_with = "given")]
    minimum: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    maximum: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    min_length: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    max_length: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    min_items: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    max_items: Option<u64>,
    // Annotations: nothing is asked by them, but their form is.
    #[serde(default, rename = "title", deserialize_with = "given")]
    _title: Option<Text>,
    #[serde(default, rename = "description", deserialize_with = "given")]
    _description: Option<Text>,
    #[serde(default, rename = "format", deserialize_with = "given")]
    _format: Option<Text>,
    #[serde(default, rename = "default", deserialize_with = "given")]
    _default: Option<IgnoredAny>,
    #[serde(default, rename = "examples", deserialize_with = "given")]
    _examples: Option<Vec<IgnoredAny>>,
}

/// A type's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
enum Type {
    Array,
    Boolean,
    Integer,
    Null,
    Number,
    Object,
    String,
}

/// `additionalProperties`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Additional {
    Any(bool),
    Of(Box<PlainSchema>),
}

/// A value of `enum` whose equality is beyond doubt. Numbers are not among them: `1` equals `1.0`.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Choice {
    Flag(bool),
    Text(String),
}

/// A text that nobody looks at.
#[derive(Debug)]
struct Text;

/// `properties`, in their order.
#[derive(Debug)]
struct Properties(Vec<(Box<str>, PlainSchema)>);

impl PlainSchema {
    /// Reads a schema's text; `None` when anything in it is not known here, or the text is too long to be a schema at
    /// all.
    #[must_use]
    pub fn read(text: &str) -> Option<PlainSchema> {
        if text.len() > SCHEMA_BYTES_MAX {
            return None;
        }
        serde_json::from_str(text).ok()
    }

    /// Whether a value is valid for certain. `false` says nothing.
    #[must_use]
    pub fn surely_accepts(&self, value: &Value) -> bool {
        let known = self.0.types.as_ref().is_none_or(|types| types.iter().any(|t| t.surely_has(value)));
        let chosen = self.0.choices.as_ref().is_none_or(|choices| choices.iter().any(|choice| choice.is(value)));
        known
            && chosen
            && match value {
                Value::Null | Value::Bool(_) => true,
                Value::Number(number) => self.surely_bounds(number),
                Value::String(text) => self.measures(text),
                Value::Array(items) => self.accepts_items(items),
                Value::Object(map) => self.accepts_members(map),
            }
    }

    /// Rounding keeps the order, so what lies strictly within whole bounds after rounding lies within them.
    fn surely_bounds(&self, number: &Number) -> bool {
        if let Some(n) = number.as_i64() {
            return self.0.minimum.is_none_or(|min| n >= min) && self.0.maximum.is_none_or(|max| n <= max);
        }
        if self.0.minimum.is_none() && self.0.maximum.is_none() {
            return true;
        }
        let Some(x) = number.as_f64() else { return false };
        self.0.minimum.is_none_or(|min| is_exact(min) && x > min as f64)
            && self.0.maximum.is_none_or(|max| is_exact(max) && x < max as f64)
    }

    fn measures(&self, text: &str) -> bool {
        if self.0.min_length.is_none() && self.0.max_length.is_none() {
            return true;
        }
        let length = text.chars().count() as u64;
        self.0.min_length.is_none_or(|min| length >= min) && self.0.max_length.is_none_or(|max| length <= max)
    }

    fn accepts_items(&self, items: &[Value]) -> bool {
        let length = items.len() as u64;
        self.0.min_items.is_none_or(|min| length >= min)
            && self.0.max_items.is_none_or(|max| length <= max)
            && self.0.items.as_ref().is_none_or(|schema| items.iter().all(|item| schema.surely_accepts(item)))
    }

    fn accepts_members(&self, map: &Map<String, Value>) -> bool {
        self.0.required.iter().all(|name| map.contains_key(name))
            && map.iter().all(|(name, value)| match (self.property(name), &self.0.additional_properties) {
                (Some(schema), _) => schema.surely_accepts(value),
                (None, None | Some(Additional::Any(true))) => true,
                (None, Some(Additional::Any(false))) => false,
                (None, Some(Additional::Of(schema))) => schema.surely_accepts(value),
            })
    }

    fn property(&self, name: &str) -> Option<&PlainSchema> {
        let Properties(all) = self.0.properties.as_ref()?;
        all.iter().find(|(known, _)| **known == *name).map(|(_, schema)| schema)
    }
}

/// Whether a double holds the number exactly.
fn is_exact(bound: i64) -> bool {
    bound.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS
}

impl Type {
    fn surely_has(self, value: &Value) -> bool {
        match (self, value) {
            (Type::Array, Value::Array(_))
            | (Type::Boolean, Value::Bool(_))
            | (Type::Null, Value::Null)
            | (Type::Number, Value::Number(_))
            | (Type::Object, Value::Object(_))
            | (Type::String, Value::String(_)) => true,
            // 1.0 and 1e3 are integers, too: not for us to say.
            (Type::Integer, Value::Number(number)) => number.as_i64().is_some(),
            _ => false,
        }
    }
}

impl Choice {
    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Choice::Flag(flag), Value::Bool(b)) => flag == b,
            (Choice::Text(text), Value::String(s)) => text == s,
            _ => false,
        }
    }
}

/// A keyword that is there has a value: `null` is none.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(reader: D) -> Result<Option<T>, D::Error> {
    T::deserialize(reader).map(Some)
}

fn types<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Vec<Type>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(Type),
        Many(Vec<Type>),
    }
    let types = match OneOrMany::deserialize(reader)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    };
    let distinct: HashSet<Type> = types.iter().copied().collect();
    if types.is_empty() || distinct.len() < types.len() {
        return Err(D::Error::custom("a list of distinct types"));
    }
    Ok(Some(types))
}

fn names<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(reader)?;
    let is_distinct = |(at, name): (usize, &String)| !names[..at].contains(name);
    if names.len() > PROPERTIES_MAX || !names.iter().enumerate().all(is_distinct) {
        return Err(D::Error::custom("a short list of distinct names"));
    }
    Ok(names)
}

impl TryFrom<String> for Type {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "array" => Ok(Type::Array),
            "boolean" => Ok(Type::Boolean),
            "integer" => Ok(Type::Integer),
            "null" => Ok(Type::Null),
            "number" => Ok(Type::Number),
            "object" => Ok(Type::Object),
            "string" => Ok(Type::String),
            _ => Err("not a type of JSON Schema"),
        }
    }
}

/// Only of an object: a derived reader takes a list of the keywords' values, too.
impl<'de> Deserialize<'de> for PlainSchema {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = PlainSchema;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a schema that is an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PlainSchema, A::Error> {
                Keywords::deserialize(MapAccessDeserializer::new(map)).map(PlainSchema)
            }
        }
        reader.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Text;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, _: &str) -> Result<Text, E> {
                Ok(Text)
            }
        }
        reader.deserialize_str(Any)
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Properties;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of schemas")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
                let mut all: Vec<(Box<str>, PlainSchema)> = Vec::new();
                while let Some((name, schema)) = map.next_entry::<Box<str>, PlainSchema>()? {
                    // Of a name that stands twice the last one counts; who writes so is read by the validator.
                    if all.len() >= PROPERTIES_MAX || all.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("few, distinct properties"));
                    }
                    all.push((name, schema));
                }
                Ok(Properties(all))
            }
        }
        reader.deserialize_map(Members)
    }
}
