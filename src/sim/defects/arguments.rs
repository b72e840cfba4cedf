//! Defects of tool-call arguments (catalogue, section 2).

use serde_json::{Map, Value};

use super::Need::{Calls, Stream, TwoCalls};
use super::{Act, Defect, Effect, Expected, Scene};
use crate::domain::Fault::{InvalidJson, SchemaMismatch, WireShape, WrongAnswer};
use crate::sim::answer::{Answer, Arguments, floor_boundary};
use crate::sim::draws::Draw;
use crate::sim::schema::{refuses_text, type_of};

pub(super) const ROWS: &[Defect] = &[
    Defect {
        id: "args_truncated_finish_tool_calls",
        needs: &[Calls],
        act: Act::Answer(truncated),
        quality: &[InvalidJson],
        wire: &[InvalidJson],
        shows: "arguments end in the middle of a token, finish reason tool_calls",
    },
    Defect {
        id: "args_duplicated",
        needs: &[Calls, Stream],
        act: Act::Answer(duplicated),
        quality: &[InvalidJson],
        wire: &[InvalidJson],
        shows: "the same object twice in one string",
    },
    Defect {
        id: "args_lost_after_empty_call",
        needs: &[TwoCalls],
        act: Act::Answer(lost),
        quality: &[InvalidJson, SchemaMismatch, WrongAnswer],
        wire: &[InvalidJson, SchemaMismatch],
        shows: "after a call with empty arguments a later call has none",
    },
    Defect {
        id: "stream_type_not_coerced",
        needs: &[Calls, Stream],
        act: Act::Answer(not_coerced),
        quality: &[SchemaMismatch],
        wire: &[SchemaMismatch],
        shows: "numbers and booleans as strings, in streams only",
    },
    Defect {
        id: "args_object_not_string",
        needs: &[Calls],
        act: Act::Answer(as_object),
        quality: &[],
        wire: &[WireShape],
        shows: "arguments are a JSON object, not a string",
    },
    Defect {
        id: "args_double_encoded",
        needs: &[Calls],
        act: Act::Answer(double_encoded),
        quality: &[SchemaMismatch],
        wire: &[SchemaMismatch],
        shows: "arguments, or objects in them, are strings that hold JSON",
    },
    Defect {
        id: "args_python_literal",
        needs: &[Calls],
        act: Act::Answer(python_literal),
        quality: &[InvalidJson],
        wire: &[InvalidJson],
        shows: "a Python dict literal",
    },
    Defect {
        id: "args_schema_invalid",
        needs: &[Calls],
        act: Act::Answer(schema_invalid),
        quality: &[SchemaMismatch],
        wire: &[SchemaMismatch],
        shows: "arguments parse and break the tool's schema",
    },
];

/// Calls whose arguments are an object, with that object.
fn objects(answer: &Answer) -> Vec<(usize, Map<String, Value>)> {
    let object = |arguments: &Arguments| match arguments.parsed() {
        Some(Value::Object(map)) => Some(map),
        _ => None,
    };
    answer.calls.iter().enumerate().filter_map(|(i, call)| Some((i, object(&call.arguments)?))).collect()
}

fn set(answer: &mut Answer, call: usize, text: String) {
    answer.calls[call].arguments = Arguments::Text(text);
}

fn truncated(answer: &mut Answer, _: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let last = answer.calls.len().checked_sub(1)?;
    let text = answer.calls[last].arguments.text();
    if text.len() < 2 {
        return None;
    }
    // Anything shorter than the whole object does not parse; half at least remains.
    let keep = text.len() / 2 + draw.below(text.len() - text.len() / 2);
    let keep = floor_boundary(&text, keep).max(1);
    set(answer, last, text[..keep].to_owned());
    Some(Effect::both(InvalidJson))
}

fn duplicated(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let last = answer.calls.len().checked_sub(1)?;
    let text = answer.calls[last].arguments.text();
    set(answer, last, format!("{text}{text}"));
    Some(Effect::both(InvalidJson))
}

fn lost(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let found = objects(answer);
    let empty = found.iter().find(|(_, map)| map.is_empty())?.0;
    let (later, map) = found.into_iter().find(|(i, _)| *i > empty)?;
    if map.is_empty() || draw.chance(0.5) {
        set(answer, later, String::new());
        return Some(Effect::both(InvalidJson));
    }
    let schema = scene.prompt.parameters(&answer.calls[later].name)?;
    let needed = schema["required"].as_array().is_some_and(|keys| !keys.is_empty());
    set(answer, later, "{}".to_owned());
    Some(if needed { Effect::both(SchemaMismatch) } else { Effect::quality(WrongAnswer) })
}

fn not_coerced(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let mut hit = false;
    for (i, mut map) in objects(answer) {
        let Some(schema) = scene.prompt.parameters(&answer.calls[i].name) else { continue };
        let mut changed = false;
        for (key, value) in &mut map {
            if (value.is_number() || value.is_boolean()) && refuses_text(&schema["properties"][key.as_str()]) {
                *value = Value::String(value.to_string());
                changed = true;
            }
        }
        if changed {
            set(answer, i, Value::Object(map).to_string());
            hit = true;
        }
    }
    hit.then(|| Effect::both(SchemaMismatch))
}

fn as_object(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let found = objects(answer);
    let hit = !found.is_empty();
    for (i, map) in found {
        answer.calls[i].arguments = Arguments::Value(Value::Object(map));
    }
    hit.then(|| Effect::wire(WireShape))
}

fn double_encoded(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let found = objects(answer);
    let (i, mut map) = draw.pick(&found)?.clone();
    let schema = scene.prompt.parameters(&answer.calls[i].name);
    let inner = schema.and_then(|schema| {
        let composite = |(_, v): &(&String, &Value)| v.is_object() || v.is_array();
        let strict = |(k, _): &(&String, &Value)| refuses_text(&schema["properties"][k.as_str()]);
        map.iter().filter(composite).find(strict).map(|(key, _)| key.clone())
    });
    match inner.and_then(|key| map.get_mut(&key)) {
        Some(value) => {
            *value = Value::String(value.to_string());
            set(answer, i, Value::Object(map).to_string());
        }
        None => {
            let text = Value::String(Value::Object(map).to_string()).to_string();
            set(answer, i, text);
        }
    }
    Some(Effect::both(SchemaMismatch))
}

fn python_literal(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    // The empty dict reads the same in both languages.
    let (i, map) = objects(answer).into_iter().find(|(_, map)| !map.is_empty())?;
    set(answer, i, python(&Value::Object(map)));
    Some(Effect::both(InvalidJson))
}

fn python(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(items) => format!("[{}]", list(items.iter().map(python).collect())),
        Value::Object(map) => {
            let entry = |(key, v): (&String, &Value)| format!("{}: {}", python(&Value::String(key.clone())), python(v));
            format!("{{{}}}", list(map.iter().map(entry).collect()))
        }
    }
}

fn schema_invalid(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let mut broken = Vec::new();
    for (i, map) in objects(answer) {
        let Some(schema) = scene.prompt.parameters(&answer.calls[i].name) else { continue };
        broken.extend(breaches(&map, schema).into_iter().map(|map| (i, map)));
    }
    let (i, map) = draw.pick(&broken)?.clone();
    set(answer, i, Value::Object(map).to_string());
    Some(Effect { quality: Expected::Fault(SchemaMismatch), ..Effect::both(SchemaMismatch) })
}

/// Every way that is certain to break the schema: a required key gone, a wrong type, an enum left, an extra key.
fn breaches(map: &Map<String, Value>, schema: &Value) -> Vec<Map<String, Value>> {
    let mut out = Vec::new();
    let mut change = |edit: &dyn Fn(&mut Map<String, Value>)| {
        let mut changed = map.clone();
        edit(&mut changed);
        out.push(changed);
    };
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if map.contains_key(key) {
            change(&|map| {
                map.shift_remove(key);
            });
        }
    }
    for key in map.keys() {
        let property = &schema["properties"][key.as_str()];
        if refuses_text(property) {
            change(&|map| {
                map.insert(key.clone(), Value::String("unspecified".to_owned()));
            });
        } else if property["type"] == "string" && property.get("enum").is_none() {
            change(&|map| {
                map.insert(key.clone(), Value::Array(vec![map[key].clone()]));
            });
        } else if property["enum"].is_array() && type_of(property) == Some("string") {
            change(&|map| {
                map.insert(key.clone(), Value::String("something_else_entirely".to_owned()));
            });
        }
    }
    if schema["additionalProperties"] == false {
        change(&|map| {
            map.insert("note_to_self".to_owned(), Value::Bool(true));
        });
    }
    out
}
