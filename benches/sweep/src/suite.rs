//! Writes a suite: templated cases with one to three tools each, of the shape and size of the shipped ones.
//!
//! Every case has tools of its own, with schemas like no other's, so that no cache makes the figures look better than a
//! suite of that many different cases would.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::Failure;

/// The suite's name, and the folder's.
pub const NAME: &str = "bench";

/// Writes the suite's folder.
///
/// # Errors
/// The folder cannot be written.
pub fn write(folder: &Path, cases: u32, stream: bool) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let mut lines = String::new();
    for number in 0..cases {
        writeln!(lines, "{}", case(number))?;
    }
    fs::write(folder.join("cases.jsonl"), lines)?;
    fs::write(folder.join("suite.toml"), header(stream))?;
    Ok(())
}

fn header(stream: bool) -> String {
    format!(
        "version = 1\nname = \"{NAME}\"\nkind = [\"tool_use\"]\nrevision = \"1\"\n\n\
         [request]\ntemperature = 0\nmax_tokens = 1024\nstream = {stream}\n\n\
         [[scorers]]\ntype = \"tool-calls\"\n\n\
         [[scorers]]\ntype = \"finish-reason\"\nfinish_reason = \"tool_calls\"\n"
    )
}

/// The fake provider reads the due call out of the message: `call NAME with [[ARGUMENTS]]`.
fn case(number: u32) -> Value {
    let name = format!("book_delivery_{number}");
    let wire = r#"{"city":"{{city}}","date":"{{date}}","crates":{{crates}},"fragile":true}"#;
    let due = json!({"city": "{{city}}", "date": "{{date}}", "crates": "{{crates}}", "fragile": true});
    let mut tools = vec![tool(&name, number)];
    tools.extend((1..=number % 3).map(|other| tool(&format!("change_delivery_{number}_{other}"), number + other)));
    // The right one is not always the first.
    let turns = number as usize / 3 % tools.len();
    tools.rotate_left(turns);
    let message = |arguments: &str| {
        json!({"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
               "function": {"name": name, "arguments": arguments}}]})
    };
    json!({
        "id": format!("delivery-{number:05}"),
        "category": "deliveries",
        "tags": ["tools"],
        "params": {
            "city": {"one_of": ["Oslo", "Lima", "Busan", "Nairobi", "Porto", "Quebec", "Tbilisi", "Hobart"]},
            "day": {"int": [10, 28]},
            "crates": {"int": [2, 900]},
        },
        "derive": {"date": "'2027-03-' + str(day)"},
        "messages": [
            {"role": "system", "content": "You are the dispatcher of a small haulage firm. Use the tools that you are given, \
              keep to what the customer says, and ask nothing in return."},
            {"role": "user", "content": format!("Customer {number} wants {{{{crates}}}} crates of glassware brought to \
              {{{{city}}}} on {{{{date}}}}. Everything in them breaks easily. Please call {name} with [[{wire}]] now.")},
        ],
        "tools": tools,
        "expected": {"calls": [{"name": name, "arguments": due}]},
        "reference": message(wire),
        "counterexample": {
            "message": {"role": "assistant", "content": "The crates will be on their way to {{city}} soon."},
            "fault": "MissingCall",
        },
    })
}

/// A tool of the suite.
pub fn tool(name: &str, number: u32) -> Value {
    json!({"type": "function", "function": {
        "name": name,
        "description": "Books or changes the delivery of goods to one town on one day.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": format!("Town served by depot {number}"), "minLength": 2},
                "date": {"type": "string", "description": "Day as YYYY-MM-DD"},
                "crates": {"type": "integer", "minimum": 1, "maximum": 1000 + number},
                "fragile": {"type": "boolean"},
                "speed": {"type": "string", "enum": ["normal", "express", "overnight"]},
            },
            "required": ["city", "date", "crates", "fragile"],
            "additionalProperties": false,
        },
    }})
}
