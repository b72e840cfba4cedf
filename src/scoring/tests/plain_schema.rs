//! Reading without compiling, held against the compiled validator on schemas and values of any kind.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::super::plain_schema::PlainSchema;
use super::super::schema::{Formats, Validators};

/// Values near what the schemas below ask for: the same few names, words and numbers.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..6i64).prop_map(Value::from),
        select(vec![
            "1.0",
            "2.5",
            "1e3",
            "-0.0",
            "3.0000000000000000001",
            "18446744073709551616",
            "9007199254740993",
            "-9223372036854775809"
        ])
        .prop_map(|text| serde_json::from_str(text).unwrap()),
        select(vec!["", "a", "ab", "é", "red", "blue", "2027-01-01"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((select(vec!["a", "b", "c", "d"]), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

/// A keyword with a value that fits it more often than not.
fn keyword(inner: BoxedStrategy<Value>) -> impl Strategy<Value = (String, Value)> {
    let types = select(vec!["array", "boolean", "integer", "null", "number", "object", "string", "text"]);
    let names = prop::collection::vec(select(vec!["a", "b", "c"]), 0..3).prop_map(Value::from);
    let properties = prop::collection::vec((select(vec!["a", "b", "c"]), inner.clone()), 0..3)
        .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>()));
    let named = |name: &'static str, value: BoxedStrategy<Value>| value.prop_map(move |v| (name.to_owned(), v)).boxed();
    let count = prop_oneof![9 => (0..4i64).prop_map(Value::from), 1 => any_value()].boxed();
    let bound = prop_oneof![9 => (-3..6i64).prop_map(Value::from), 1 => any_value()].boxed();
    let type_ = prop_oneof![
        6 => types.clone().prop_map(Value::from),
        1 => prop::collection::vec(types, 0..3).prop_map(Value::from),
        1 => any_value()
    ];
    prop_oneof![
        4 => named("type", type_.boxed()),
        4 => named("properties", properties.boxed()),
        2 => named("required", prop_oneof![9 => names, 1 => any_value()].boxed()),
        2 => named("additionalProperties", prop_oneof![2 => any::<bool>().prop_map(Value::from), 1 => inner.clone()].boxed()),
        2 => named("items", inner),
        2 => named("enum", prop::collection::vec(any_value(), 0..4).prop_map(Value::from).boxed()),
        1 => (select(vec!["minimum", "maximum"]), bound).prop_map(|(k, v)| (k.to_owned(), v)),
        1 => (select(vec!["minLength", "maxLength", "minItems", "maxItems"]), count).prop_map(|(k, v)| (k.to_owned(), v)),
        1 => (select(vec!["title", "description", "format"]), prop_oneof![Just(json!("date")), any_value()])
            .prop_map(|(k, v)| (k.to_owned(), v)),
        1 => (select(vec!["default", "examples", "const", "pattern", "$ref", "not", "nullable", "uniqueItems"]), any_value())
            .prop_map(|(k, v)| (k.to_owned(), v)),
    ]
}

fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![8 => Just(json!({})), 1 => any::<bool>().prop_map(Value::from), 1 => any_value()].boxed();
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop::collection::vec(keyword(inner.boxed()), 0..5)
            .prop_map(|keywords| Value::Object(keywords.into_iter().collect()))
            .boxed()
    })
}

/// All its numbers are small and whole.
fn is_common(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64().is_some(),
        Value::Array(items) => items.iter().all(is_common),
        Value::Object(map) => map.values().all(is_common),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// What is read compiles; what is accepted is valid.
    #[test]
    fn it_never_says_more_than_the_validator(schema in any_schema(), values in prop::collection::vec(any_value(), 1..6)) {
        let Some(plain) = PlainSchema::read(&schema.to_string()) else { return Ok(()) };
        let validator = Validators::default().get(&schema, Formats::Annotated);
        prop_assert!(validator.is_ok(), "{schema} was read, and {:?}", validator.err());
        let validator = validator.unwrap();
        for value in values {
            prop_assert!(!plain.surely_accepts(&value) || validator.is_valid(&value), "{schema} accepts {value}");
        }
    }

    /// Where all numbers are whole it says all that the validator says.
    #[test]
    fn without_fractions_it_says_as_much(schema in any_schema(), value in any_value()) {
        let Some(plain) = PlainSchema::read(&schema.to_string()) else { return Ok(()) };
        if !is_common(&value) {
            return Ok(());
        }
        let validator = Validators::default().get(&schema, Formats::Annotated).unwrap();
        prop_assert_eq!(plain.surely_accepts(&value), validator.is_valid(&value), "{} and {}", schema, value);
    }
}

#[test]
fn the_schema_of_a_common_tool_is_read_and_a_right_call_accepted() {
    let schema = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where", "minLength": 2},
            "days": {"type": "integer", "minimum": 1, "maximum": 7, "default": 1},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "at": {"type": ["number", "null"], "maximum": 90},
            "stops": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}},
                "required": ["name"], "additionalProperties": false}, "maxItems": 3},
        },
        "required": ["city"],
        "additionalProperties": false,
    });
    let plain = PlainSchema::read(&schema.to_string()).unwrap();
    let accepted = |value: Value| plain.surely_accepts(&value);
    assert!(accepted(json!({"city": "Oslo", "days": 7, "unit": "celsius", "at": 52.5, "stops": [{"name": "Bø"}]})));
    assert!(accepted(json!({"city": "Oslo", "at": null})));
    assert!(!accepted(json!({"city": "Ø"})));
    assert!(!accepted(json!({"city": "Oslo", "days": 8})));
    assert!(!accepted(json!({"city": "Oslo", "at": 90.0})), "equal after rounding: the validator is asked");
    assert!(!accepted(json!({"city": "Oslo", "unit": "kelvin"})));
    assert!(!accepted(json!({"city": "Oslo", "town": "Oslo"})));
    assert!(!accepted(json!({"city": "Oslo", "stops": [{"name": "a", "is": 1}]})));
    assert!(!accepted(json!({})));
}

#[test]
fn what_is_not_known_for_certain_is_left_to_the_validator() {
    for text in [
        r##"{"$ref": "#"}"##,
        r#"{"type": "string", "pattern": "a"}"#,
        r#"{"type": "integer", "minimum": 1.5}"#,
        r#"{"enum": [1]}"#,
        r#"{"type": "string", "type": "object"}"#,
        r#"{"properties": {"a": {}, "a": {}}}"#,
        r#"{"required": ["a", "a"]}"#,
        r#"{"required": null}"#,
        r#"{"type": "text"}"#,
        r#"{"type": []}"#,
        r#"{"maxLength": -1}"#,
        r#"{"type": {"string": null}}"#,
        r#"{"items": []}"#,
        "[]",
        "true",
        "{",
    ] {
        assert!(PlainSchema::read(text).is_none(), "{text}");
    }
}
