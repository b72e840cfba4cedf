//! Two tiny suites, most of their cases templates. They bear the names of the shipped ones and so take their place: a
//! program that loads them has nothing else to ask.

use std::path::Path;
use std::sync::Arc;

use exactod::sim::Library;
use exactod::suites::{Drawer, load_suite};
use serde_json::{Value, json};

/// Cases of `tool-use`.
pub const TOOL_CASES: usize = 8;
/// Cases of `output-quality`.
pub const TEXT_CASES: usize = 6;
/// Cases of both.
pub const CASES: usize = TOOL_CASES + TEXT_CASES;

/// Writes both suites into a folder, and gives the simulator's knowledge of them.
pub fn write(folder: &Path) -> Arc<Library> {
    write_suite(folder, "tool-use", "tool_use", "[[scorers]]\ntype = \"tool-calls\"\n", &tool_cases());
    write_suite(folder, "output-quality", "output_quality", "", &text_cases());
    let drawers = ["tool-use", "output-quality"].map(|name| {
        let suite = load_suite(&folder.join(name)).unwrap_or_else(|problems| panic!("{problems}"));
        Arc::new(Drawer::new(Arc::new(suite)).unwrap())
    });
    Arc::new(Library::new(drawers.to_vec()))
}

/// Writes one suite of many small cases, texts and calls, and gives the simulator's knowledge of it.
pub fn write_long(folder: &Path, cases: usize) -> Arc<Library> {
    let one = |n| if n % 4 == 0 { book_case(n) } else { sum_case(n) };
    let cases: Vec<Value> = (1..=cases).map(one).collect();
    write_suite(folder, "tool-use", "tool_use", "[[scorers]]\ntype = \"tool-calls\"\n", &cases);
    let suite = load_suite(&folder.join("tool-use")).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(Library::new(vec![Arc::new(Drawer::new(Arc::new(suite)).unwrap())]))
}

fn write_suite(folder: &Path, name: &str, kind: &str, scorers: &str, cases: &[Value]) {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let header = format!(
        "version = 1\nname = \"{name}\"\nkind = [\"{kind}\"]\nrevision = \"1\"\n\
         [request]\ntemperature = 0\nmax_tokens = 256\n[fresh]\nfixed_share = 0.2\n{scorers}"
    );
    std::fs::write(folder.join("suite.toml"), header).unwrap();
    let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
    std::fs::write(folder.join("cases.jsonl"), lines.join("\n") + "\n").unwrap();
}

fn book_case(n: usize) -> Value {
    let reference = call("{\"city\": \"{{city}}\", \"nights\": {{nights}}}");
    let wrong = call("{\"city\": \"{{city}}\", \"nights\": 1}");
    let mut case = json!({
        "id": format!("book-{n}"), "category": "simple",
        "params": {"city": {"one_of": ["Oslo", "Lima", "Busan", "Porto", "Quebec"]}, "nights": {"int": [2, 99]}},
        "messages": [{"role": "user", "content": format!("Desk {n}: book {{{{nights}}}} nights in {{{{city}}}}, please.")}],
        "tools": [book_tool()],
        "expected": {"calls": [{"name": "book", "arguments": {"city": "{{city}}", "nights": "{{nights}}"}}]},
        "reference": reference,
        "counterexample": {"fault": "WrongAnswer", "message": wrong},
    });
    case["tags"] = json!(["tools"]);
    if n.is_multiple_of(3) {
        case["request"] = json!({"stream": true});
        case["tags"] = json!(["tools", "streaming"]);
    }
    case
}

fn tool_cases() -> Vec<Value> {
    let mut cases: Vec<Value> = (1..TOOL_CASES).map(book_case).collect();
    // One case without parameters, for which no call is due.
    cases.push(json!({
        "id": "no-call", "category": "no-call",
        "messages": [{"role": "user", "content": "Do not book anything; only say good morning."}],
        "tools": [book_tool()],
        "expected": {"calls": []},
        "reference": {"role": "assistant", "content": "Good morning!", "finish_reason": "stop"},
        "counterexample": {"fault": "WrongAnswer", "message": call("{\"city\": \"Oslo\", \"nights\": 2}")},
    }));
    cases
}

fn call(arguments: &str) -> Value {
    let function = json!({"name": "book", "arguments": arguments});
    let calls = json!([{"id": "call_1", "type": "function", "function": function}]);
    json!({"role": "assistant", "content": null, "tool_calls": calls, "finish_reason": "tool_calls"})
}

fn book_tool() -> Value {
    let properties = json!({"city": {"type": "string"}, "nights": {"type": "integer"}});
    let parameters = json!({"type": "object", "properties": properties, "required": ["city", "nights"],
                            "additionalProperties": false});
    json!({"type": "function",
           "function": {"name": "book", "description": "Books a stay.", "parameters": parameters}})
}

fn sum_case(n: usize) -> Value {
    let mut case = json!({
        "id": format!("sum-{n}"), "category": "arithmetic",
        "params": {"a": {"int": [10, 9999]}, "b": {"int": [10, 9999]}},
        "derive": {"sum": "a + b", "wrong": "a + b + 1"},
        "messages": [{"role": "user", "content": format!("Sum {n}: how much is {{{{a}}}} plus {{{{b}}}}? Answer in the form `= number`.")}],
        "scorers": [{"type": "equals", "value": "= {{sum}}"}],
        "reference": {"role": "assistant", "content": "= {{sum}}", "finish_reason": "stop"},
        "counterexample": {"fault": "WrongAnswer",
                           "message": {"role": "assistant", "content": "= {{wrong}}", "finish_reason": "stop"}},
    });
    if n == 2 {
        case["tags"] = json!(["streaming"]);
        case["request"] = json!({"stream": true});
    }
    case
}

fn text_cases() -> Vec<Value> {
    let mut cases: Vec<Value> = (1..TEXT_CASES).map(sum_case).collect();
    cases.push(json!({
        "id": "capital", "category": "facts",
        "messages": [{"role": "user", "content": "What is the capital of Peru? One word."}],
        "scorers": [{"type": "equals", "value": "Lima"}],
        "reference": {"role": "assistant", "content": "Lima", "finish_reason": "stop"},
        "counterexample": {"fault": "WrongAnswer",
                           "message": {"role": "assistant", "content": "Quito", "finish_reason": "stop"}},
    }));
    cases
}
