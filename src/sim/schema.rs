//! Small helpers on JSON Schemas: a plain valid value, and a neighbour of a value that is still valid.

use serde_json::{Map, Number, Value};

/// Deepest nesting that is followed.
const DEPTH_MAX: usize = 16;
/// Keywords whose rules a changed text or number might break: such values are left alone.
const TEXT_RULES: &[&str] = &["pattern", "format", "maxLength", "minLength", "const"];

/// The plainest value that a schema of the usual keywords admits: required keys only, smallest numbers.
#[must_use]
pub fn example(schema: &Value) -> Value {
    example_at(schema, DEPTH_MAX)
}

fn example_at(schema: &Value, depth: usize) -> Value {
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let Some(depth) = depth.checked_sub(1) else { return Value::Null };
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[key].as_array().and_then(|choices| choices.first()) {
            return example_at(first, depth);
        }
    }
    match type_of(schema) {
        Some("object") => Value::Object(example_object(schema, depth)),
        Some("array") => {
            let count = schema["minItems"].as_u64().unwrap_or(0).min(8);
            (0..count).map(|_| example_at(&schema["items"], depth)).collect()
        }
        Some("integer") => Value::from(lowest(schema).ceil() as i64),
        Some("number") => Number::from_f64(lowest(schema)).map_or(Value::from(1), Value::Number),
        Some("boolean") => Value::Bool(true),
        Some("null") => Value::Null,
        _ => {
            let least = schema["minLength"].as_u64().unwrap_or(0).min(1_000) as usize;
            let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
            let mut text = "example".to_owned();
            text.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            while text.len() < least {
                text.push('x');
            }
            Value::String(text)
        }
    }
}

fn example_object(schema: &Value, depth: usize) -> Map<String, Value> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    required.map(|key| (key.to_owned(), example_at(&schema["properties"][key], depth))).collect()
}

fn lowest(schema: &Value) -> f64 {
    let strictly = schema["exclusiveMinimum"].as_f64().map(|x| x + 1.0);
    let least = schema["minimum"].as_f64().or(strictly);
    least.unwrap_or_else(|| schema["maximum"].as_f64().map_or(1.0, |most| most.min(1.0)))
}

/// The (first) type that a schema names, or that its keywords imply.
#[must_use]
pub fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(one) => Some(one),
        Value::Array(several) => several.iter().filter_map(Value::as_str).find(|t| *t != "null"),
        _ if schema["properties"].is_object() => Some("object"),
        _ if schema.get("items").is_some() => Some("array"),
        _ => None,
    }
}

/// Whether a schema surely refuses strings.
#[must_use]
pub fn refuses_text(schema: &Value) -> bool {
    let plain = ["anyOf", "oneOf", "allOf", "enum", "const", "$ref"].iter().all(|key| schema.get(*key).is_none());
    plain
        && match &schema["type"] {
            Value::String(one) => one != "string",
            Value::Array(several) => !several.iter().any(|t| t == "string"),
            _ => false,
        }
}

/// Another value that the schema admits too; `None` where that is not certain.
#[must_use]
pub fn neighbour(value: &Value, schema: &Value) -> Option<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().find(|other| *other != value).cloned();
    }
    if ["anyOf", "oneOf", "allOf", "not", "$ref", "multipleOf"].iter().any(|key| schema.get(*key).is_some()) {
        return None;
    }
    match value {
        Value::Bool(flag) => Some(Value::Bool(!flag)),
        Value::Number(number) if number.is_i64() => {
            let number = number.as_i64()?;
            [number.checked_add(1), number.checked_sub(1)]
                .into_iter()
                .flatten()
                .find(|n| within(*n as f64, schema))
                .map(Value::from)
        }
        Value::Number(number) => {
            let number = number.as_f64()?;
            [number * 1.5 + 1.0, number / 2.0 - 1.0]
                .into_iter()
                .find(|n| within(*n, schema))
                .and_then(Number::from_f64)
                .map(Value::Number)
        }
        Value::String(text) if TEXT_RULES.iter().all(|rule| schema.get(*rule).is_none()) => {
            Some(Value::String(format!("not {text}")))
        }
        _ => None,
    }
}

fn within(number: f64, schema: &Value) -> bool {
    let bound = |key: &str| schema[key].as_f64();
    bound("minimum").is_none_or(|least| number >= least)
        && bound("maximum").is_none_or(|most| number <= most)
        && bound("exclusiveMinimum").is_none_or(|least| number > least)
        && bound("exclusiveMaximum").is_none_or(|most| number < most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn examples_satisfy_their_schemas() {
        let schema = json!({"type": "object", "required": ["a", "b", "c", "d", "e"], "properties": {
            "a": {"type": "integer", "exclusiveMinimum": 3}, "b": {"enum": ["x", "y"]},
            "c": {"type": "array", "items": {"type": "object", "required": ["t"], "properties": {"t": {"type": "string", "minLength": 9}}}, "minItems": 2},
            "d": {"type": ["null", "boolean"]}, "e": {"anyOf": [{"const": 5}, {"type": "string"}]}}});
        let validator = jsonschema::validator_for(&schema).unwrap();
        let value = example(&schema);
        assert!(validator.is_valid(&value), "{value}");
    }

    #[test]
    fn neighbours_differ_and_stay_valid() {
        for (value, schema) in [
            (json!(3), json!({"type": "integer", "maximum": 3})),
            (json!(2.5), json!({"type": "number", "minimum": 0})),
            (json!("Oslo"), json!({"type": "string"})),
            (json!("x"), json!({"enum": ["x", "y"]})),
            (json!(true), json!({"type": "boolean"})),
        ] {
            let other = neighbour(&value, &schema).unwrap();
            assert_ne!(other, value);
            assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&other), "{other} {schema}");
        }
        assert_eq!(neighbour(&json!("2026-01-01"), &json!({"format": "date"})), None);
        assert_eq!(neighbour(&json!("x"), &json!({"enum": ["x"]})), None);
        assert_eq!(neighbour(&json!(3), &json!({"minimum": 3, "maximum": 3})), None);
    }

    #[test]
    fn endless_schemas_end() {
        let mut schema = json!({"type": "string"});
        for _ in 0..100 {
            schema = json!({"type": "object", "required": ["a"], "properties": {"a": schema}});
        }
        assert!(example(&schema).is_object());
    }
}
