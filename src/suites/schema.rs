//! JSON Schemas of the two files, for completion in editors. A test keeps them in step with the loader.

use serde_json::{Map, Value, json};

use crate::domain::Fault;
use crate::domain::suite::MetricName;
use crate::worlds::STEPS_MAX;

use super::limits::{
    ANSWERS_MAX, CHOICES_MAX, DECIMAL_DIGITS_MAX, DERIVE_MAX, EPOCHS_MAX, EXPRESSION_BYTES_MAX, MESSAGES_MAX,
    PARAMS_MAX, SCORERS_MAX, TAGS_MAX, TOOLS_MAX, VARS_MAX,
};
use super::{header, keys};

/// Both schemas, by file name.
#[must_use]
pub fn schema() -> Value {
    json!({"suite.toml": header_schema(), "cases.jsonl": case_schema()})
}

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of `suite.toml`.
#[must_use]
pub fn header_schema() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let reducer = format!("^({}|({})\\([1-9][0-9]*\\))$", keys::REDUCERS.join("|"), keys::REDUCERS_OF_K.join("|"));
    let mut schema = object(
        json!({
            "version": {"const": header::FORMAT_VERSION, "description": "Version of the format."},
            "name": text("Name of the suite: equals the folder's name."),
            "kind": {"type": "array", "items": {"enum": keys::KINDS}, "minItems": 1, "uniqueItems": true,
                "description": "What the suite measures."},
            "revision": text("Label of the content: change it with every change of the cases."),
            "license": text("SPDX expression."),
            "default": {"type": "boolean", "default": true,
                "description": "Asked wherever no suites are named; false: only where a schedule or a command names it."},
            "exclude": {"type": "array", "items": {"type": "string"}, "description": "Ids of known-broken cases."},
            "source": object(json!({"url": {"type": "string"}, "sha256": {"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}}), &[]),
            "request": request("Sent with every case; a case may override each key."),
            "epochs": object(json!({
                "count": {"type": "integer", "minimum": 1, "maximum": EPOCHS_MAX},
                "reducer": {"type": "string", "pattern": reducer},
            }), &[]),
            "sampling": object(json!({
                "limit": {"type": "integer", "minimum": 1},
                "strategy": {"enum": keys::STRATEGIES},
                "by": {"const": "category"},
                "seed": {"type": "integer", "minimum": 0},
            }), &[]),
            "fresh": object(json!({"fixed_share": {"type": "number", "minimum": 0, "maximum": 1}}), &[]),
            "vars": {"type": "object", "maxProperties": VARS_MAX, "propertyNames": {"pattern": NAME},
                "description": "Texts and values that cases share: {{name}}."},
            "scorers": scorers(),
            "metrics": {"type": "array", "items": object(json!({
                "name": {"enum": MetricName::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>()},
                "group_by": {"const": "category"}, "of": {"enum": keys::DENOMINATORS},
            }), &["name"])},
        }),
        &["version", "name", "kind", "revision"],
    );
    title(&mut schema, "exactod suite header (suite.toml)");
    schema
}

/// The schema of one line of `cases.jsonl`. Where a placeholder may stand for a whole value, a string is allowed.
#[must_use]
pub fn case_schema() -> Value {
    let mut schema = object(
        json!({
            "id": {"type": "string", "minLength": 1, "description": "Unique in the suite."},
            "category": {"type": "string", "description": "For grouping and stratification."},
            "tags": {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": TAGS_MAX, "uniqueItems": true},
            "messages": or_placeholder(json!({"type": "array", "minItems": 1, "maxItems": MESSAGES_MAX,
                "items": or_placeholder(message())})),
            "input": {"type": "string", "description": "One user message, instead of `messages`."},
            "tools": or_placeholder(json!({"type": "array", "maxItems": TOOLS_MAX, "items": or_placeholder(tool())})),
            "response_format": or_placeholder(object(json!({
                "type": {"enum": keys::RESPONSE_FORMATS},
                "json_schema": or_placeholder(object(json!({
                    "name": {"type": "string"}, "description": {"type": "string"},
                    "schema": or_placeholder(json!({"type": "object"})), "strict": {"type": "boolean"},
                }), &["name", "schema"])),
            }), &["type"])),
            "request": request("Overrides the suite's request key by key."),
            "expected": {"description": "What the scorers compare with."},
            "scorers": or_placeholder(scorers()),
            "assert": or_placeholder(asserts()),
            "metadata": {"type": "object", "description": "Stored, never judged."},
            "params": {"type": "object", "maxProperties": PARAMS_MAX, "propertyNames": {"pattern": NAME},
                "additionalProperties": param(), "description": "Values that are drawn."},
            "derive": {"type": "object", "maxProperties": DERIVE_MAX, "propertyNames": {"pattern": NAME},
                "additionalProperties": {"type": "string", "maxLength": EXPRESSION_BYTES_MAX},
                "description": "Starlark expressions over parameters and earlier derived values."},
            "world": or_placeholder(world()),
            "reference": or_placeholder(answer("The message that must pass.")),
            "counterexample": object(json!({
                "message": or_placeholder(answer("A message that must fail.")),
                "fault": {"enum": Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>()},
            }), keys::COUNTEREXAMPLE),
            "answers": or_placeholder(json!({"type": "array", "maxItems": ANSWERS_MAX, "description":
                "Further answers: those with a fault must fail so, the others must pass.", "items": further_answer()})),
            "pair": object(json!({
                "with": {"type": "string", "description": "The case that is asked the other way: streamed, or plain."},
                "content": {"type": "boolean", "description": "Content and arguments must be equal, too."},
            }), &["with"]),
        }),
        &["id"],
    );
    title(&mut schema, "exactod case (one line of cases.jsonl)");
    if let Value::Object(map) = &mut schema {
        map.insert(
            "oneOf".to_owned(),
            json!([{"required": ["messages"]}, {"required": ["input"]}, {"required": ["pair"]}]),
        );
        map.insert("not".to_owned(), json!({"required": ["scorers", "assert"]}));
    }
    schema
}

const NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

/// An object that holds the given keys and no other.
fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn title(schema: &mut Value, title: &str) {
    let Value::Object(map) = schema else { return };
    let rest = std::mem::replace(map, Map::new());
    map.insert("$schema".to_owned(), json!(DIALECT));
    map.insert("title".to_owned(), json!(title));
    map.extend(rest);
}

fn or_placeholder(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "string", "pattern": "^\\{\\{ *[A-Za-z_][A-Za-z0-9_]* *\\}\\}$"}]})
}

fn request(description: &str) -> Value {
    let refused: Map<String, Value> =
        keys::NOT_IN_REQUEST.iter().map(|(key, _)| ((*key).to_owned(), json!({"not": {}}))).collect();
    let mut properties = json!({
        "stream": {"type": "boolean"},
        "logprobs": {"type": "boolean"},
        "parallel_tool_calls": {"type": "boolean"},
        "max_tokens": {"type": "integer", "minimum": 1},
        "max_completion_tokens": {"type": "integer", "minimum": 1},
        "temperature": {"type": "number"},
        "top_p": {"type": "number"},
        "seed": {"type": "integer"},
        "stop": {"anyOf": [{"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}]},
        "tool_choice": {"anyOf": [{"enum": keys::TOOL_CHOICES}, {"type": "object", "required": ["type", "function"]}]},
    });
    if let Value::Object(map) = &mut properties {
        map.extend(refused);
    }
    json!({"type": "object", "properties": properties, "description": description})
}

/// A conversation over a state.
fn world() -> Value {
    let texts = |description: &str| json!({"type": "array", "items": {"type": "string"}, "description": description});
    object(
        json!({
            "file": {"type": "string", "description": "The Starlark file in the suite's folder."},
            "setup": {"description": "What the state is made from."},
            "turns": texts("What the user says after answers without calls."),
            "max_steps": {"type": "integer", "minimum": 1, "maximum": STEPS_MAX},
            "goal": {"type": "string", "description": "A function of the file that judges the final state."},
            "required": {"type": "array", "items": {"type": "object", "required": ["name"]},
                "description": "Calls that must have been made."},
            "outputs": texts("Texts that the assistant must have said."),
        }),
        &["file"],
    )
}

fn scorers() -> Value {
    json!({"type": "array", "maxItems": SCORERS_MAX, "items": {"type": "object", "required": ["type"],
        "properties": {"type": {"type": "string"}, "weight": {"type": "number"}, "threshold": {"type": "number"}}}})
}

/// promptfoo's asserts, in place of `scorers`.
fn asserts() -> Value {
    let types: Vec<String> =
        keys::ASSERT_TYPES.iter().flat_map(|name| [(*name).to_owned(), format!("not-{name}")]).collect();
    let assert = |more: Value| {
        let mut properties = json!({
            "type": {"enum": types}, "value": {}, "threshold": {"type": "number"},
            "weight": {"type": "number", "minimum": 0},
            "metric": {"type": "string", "description": "A label without effect."},
        });
        if let (Value::Object(map), Value::Object(more)) = (&mut properties, more) {
            map.extend(more);
        }
        object(properties, &["type"])
    };
    let list = |items: Value| json!({"type": "array", "maxItems": SCORERS_MAX, "items": items});
    let mut all = list(assert(json!({"assert": list(assert(json!({})))})));
    if let Value::Object(map) = &mut all {
        map.insert("description".to_owned(), json!("promptfoo's asserts, in place of `scorers`."));
    }
    all
}

fn message() -> Value {
    json!({"type": "object", "required": ["role"], "properties": {
        "role": {"enum": keys::ROLES}, "content": {"type": ["string", "array", "null"]}}})
}

fn answer(description: &str) -> Value {
    json!({"type": "object", "description": description, "properties": {
        "content": {"type": ["string", "null"]}, "tool_calls": {"type": ["array", "null"]},
        "finish_reason": {"type": "string"}}})
}

fn further_answer() -> Value {
    let faults = Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>();
    let mut schema = object(
        json!({
            "message": answer("As for `reference`."),
            "stream": {"type": ["array", "string"], "description": "Frames (objects, or text such as [DONE]), or all bytes as one text."},
            "body": {"description": "A plain answer: the JSON, or its text."},
            "fault": {"enum": faults, "description": "It must fail with this Fault; without it, it must pass."},
            "note": {"type": "string"},
        }),
        &[],
    );
    if let Value::Object(map) = &mut schema {
        let forms = keys::ANSWER_FORMS.iter().map(|form| json!({"required": [form]})).collect::<Vec<_>>();
        map.insert("oneOf".to_owned(), json!(forms));
    }
    schema
}

fn tool() -> Value {
    object(
        json!({
            "type": {"const": "function"},
            "function": or_placeholder(object(json!({
                "name": {"type": "string"}, "description": {"type": "string"},
                "parameters": or_placeholder(json!({"type": "object"})), "strict": {"type": "boolean"},
            }), &["name"])),
        }),
        keys::TOOL,
    )
}

fn param() -> Value {
    let values = or_placeholder(json!({"type": "array", "minItems": 1, "maxItems": CHOICES_MAX, "uniqueItems": true}));
    let number = json!({"type": "number"});
    let integer = json!({"type": "integer"});
    let list = |items: Value| json!({"type": "array", "prefixItems": items, "items": false});
    let digits = json!({"type": "integer", "minimum": 1, "maximum": DECIMAL_DIGITS_MAX});
    json!({"anyOf": [
        object(json!({"one_of": values}), &["one_of"]),
        object(json!({"int": list(json!([integer, integer]))}), &["int"]),
        object(json!({"decimal": list(json!([number, number, digits]))}), &["decimal"]),
        object(json!({"sample": list(json!([values, {"type": "integer", "minimum": 1}]))}), &["sample"]),
    ]})
}
