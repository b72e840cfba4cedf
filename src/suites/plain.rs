//! Common messages, tools and expected values, looked at in their text.
//!
//! Nearly all of what a suite sends is as it should be, and a tree of it would be made for this question alone. What is
//! accepted here has nothing wrong in it for certain; all else is looked at as a tree by [`super::check`], which says what
//! is wrong, and where.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::check::is_tool_name;
use super::keys;
use crate::domain::Json;
use crate::scoring::is_plain_schema;

/// Whether a list of messages is well formed for certain.
pub(super) fn are_messages(json: &Json) -> bool {
    #[derive(Deserialize)]
    struct Message<'a> {
        role: &'a str,
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let is_good = |text: &&RawValue| {
        object::<Message<'_>>(text).is_some_and(|message| {
            keys::ROLES.contains(&message.role) && message.content.get().starts_with(['"', '[', 'n'])
        })
    };
    serde_json::from_str::<Vec<&RawValue>>(json.text()).is_ok_and(|messages| messages.iter().all(is_good))
}

/// Whether a list of tools is well formed for certain, and its schemas compile.
pub(super) fn are_tools(json: &Json) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tool<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(borrow)]
        function: &'a RawValue,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Function<'a> {
        name: &'a str,
        #[serde(borrow, default, deserialize_with = "given")]
        description: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        parameters: Option<&'a RawValue>,
        #[serde(default, rename = "strict")]
        _strict: bool,
    }
    let Ok(tools) = serde_json::from_str::<Vec<&RawValue>>(json.text()) else { return false };
    let mut names: Vec<&str> = Vec::with_capacity(tools.len());
    tools.iter().all(|tool| {
        let Some(tool) = object::<Tool<'_>>(tool).filter(|tool| tool.kind == "function") else { return false };
        let Some(function) = object::<Function<'_>>(tool.function) else { return false };
        let Function { name, description, parameters, _strict: _ } = function;
        let is_new = !names.contains(&name);
        names.push(name);
        is_new
            && is_tool_name(name)
            && description.is_none_or(|text| text.get().starts_with('"'))
            && parameters.is_none_or(|schema| schema.get().starts_with('{') && is_plain_schema(schema.get()))
    })
}

/// An object read from its text: a derived reader takes a list, too.
fn object<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Option<T> {
    serde_json::from_str(text.get()).ok().filter(|_| text.get().starts_with('{'))
}

/// A key that is there has a value, be it `null`.
fn given<'de: 'a, 'a, D: Deserializer<'de>>(reader: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(reader).map(Some)
}

/// Expected values without the items of the lists under `unread`, into which the checks of a suite do not look.
pub(super) fn outlined(json: &Json, unread: &[&str]) -> Value {
    struct Outline<'u>(&'u [&'u str]);
    impl<'de> Visitor<'de> for Outline<'_> {
        type Value = Map<String, Value>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut outline = Map::new();
            while let Some(key) = map.next_key::<String>()? {
                let text = map.next_value::<&RawValue>()?.get();
                let is_unread = self.0.contains(&key.as_str()) && text.starts_with('[');
                let value = match is_unread {
                    true => Value::Array(Vec::new()),
                    false => serde_json::from_str(text).map_err(serde::de::Error::custom)?,
                };
                outline.insert(key, value);
            }
            Ok(outline)
        }
    }
    if unread.is_empty() || !json.text().starts_with('{') {
        return json.value();
    }
    let outline = serde_json::Deserializer::from_str(json.text()).deserialize_map(Outline(unread));
    outline.map_or_else(|_| json.value(), Value::Object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_right_for_certain_is_taken() {
        let function = |function: Value| Json::from(json!([{"type": "function", "function": function}]));
        for good in [
            json!({"name": "f"}),
            json!({"name": "f", "description": "d", "strict": true, "parameters": {"type": "object"}}),
        ] {
            assert!(are_tools(&function(good.clone())), "{good}");
        }
        for bad in [
            json!({}),
            json!(["f"]),
            json!({"name": "a b"}),
            json!({"name": ""}),
            json!({"name": "f", "description": null}),
            json!({"name": "f", "strict": null}),
            json!({"name": "f", "parameters": null}),
            json!({"name": "f", "parameters": {"type": "obj"}}),
            json!({"name": "f", "extra": 1}),
        ] {
            assert!(!are_tools(&function(bad.clone())), "{bad}");
        }
        let tool = json!({"type": "function", "function": {"name": "f"}});
        for bad in [json!([tool, tool]), json!([["function", {"name": "f"}]]), json!([{"type": "x", "function": {}}])] {
            assert!(!are_tools(&Json::from(&bad)), "{bad}");
        }
        for (message, is_good) in [
            (json!({"role": "user", "content": "x"}), true),
            (json!({"role": "assistant", "content": null, "tool_calls": []}), true),
            (json!({"role": "user", "content": 1}), false),
            (json!({"role": "usr", "content": "x"}), false),
            (json!({"role": "assistant", "tool_calls": []}), false),
            (json!(["user", "x"]), false),
        ] {
            assert_eq!(are_messages(&Json::from(vec![message.clone()])), is_good, "{message}");
        }
    }

    #[test]
    fn an_outline_leaves_out_items_alone() {
        let value = json!({"a": [1, 2], "b": [3], "c": {"a": [4]}});
        assert_eq!(outlined(&Json::from(&value), &["a"]), json!({"a": [], "b": [3], "c": {"a": [4]}}));
        assert_eq!(outlined(&Json::from(&value), &["c"]), value, "only lists");
        assert_eq!(outlined(&Json::from(json!([1])), &["a"]), json!([1]));
    }
}
