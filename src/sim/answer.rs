//! An answer before it is written to the wire: what defects damage.

use serde_json::Value;

use super::draws::Draw;
use super::library::Known;
use super::prompt::{BYTES_PER_TOKEN, Effort, Prompt};
use super::spec::{ArgumentStyle, Benign, CallIds, Choice, Format};
use crate::domain::Json;

/// A text that a model without an opinion gives; an unmatched request gets it.
const POLITE: &str = "Thank you for the question. I have read it carefully and here is a short answer: \
    it depends on a few details that you may want to add, and I am glad to go on from there.";
const THOUGHT: &str =
    "The request has several parts, so I take them one after the other and check each before I go on. ";

/// A whole answer to one request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Visible text.
    pub content: Option<String>,
    /// Reasoning text.
    pub reasoning: Option<String>,
    /// Tool calls.
    pub calls: Vec<Call>,
    /// Finish reason.
    pub finish: String,
    /// Number of choices sent.
    pub choices: u32,
    /// Token usage.
    pub usage: UsageNote,
    /// `provider`, as aggregators send it.
    pub served_by: Option<String>,
    /// Further response headers.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The content is known to be wrong already.
    pub wrong: bool,
    /// Another fingerprint than the endpoint's usual one.
    pub fingerprint: Option<String>,
    /// Log-probability of the first token, where the model's way of speaking says it.
    pub logprob: Option<f64>,
}

/// One tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its id; `None` is sent as an absent key.
    pub id: Option<String>,
    /// The called name.
    pub name: String,
    /// The arguments.
    pub arguments: Arguments,
}

/// Arguments as they are sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Arguments {
    /// A string, as the contract says.
    Text(String),
    /// A JSON value in its place.
    Value(Value),
}

impl Arguments {
    /// The text, or the value's JSON text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Arguments::Text(text) => text.clone(),
            Arguments::Value(value) => value.to_string(),
        }
    }

    /// Parsed, when it is JSON.
    #[must_use]
    pub fn parsed(&self) -> Option<Value> {
        match self {
            Arguments::Text(text) => serde_json::from_str(text).ok(),
            Arguments::Value(value) => Some(value.clone()),
        }
    }
}

/// What is said about token usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageNote {
    /// Form of the field.
    pub form: UsageForm,
    /// Prompt tokens claimed.
    pub prompt: u64,
    /// Reasoning tokens are counted where reasoning is sent.
    pub reasoning_counted: bool,
    /// Claims no completion tokens.
    pub nothing_billed: bool,
}

/// Form of the usage field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageForm {
    /// Right numbers.
    Counted,
    /// `null`.
    Null,
    /// Zeros.
    Zero,
}

impl Default for UsageNote {
    fn default() -> Self {
        UsageNote { form: UsageForm::Counted, prompt: 0, reasoning_counted: true, nothing_billed: false }
    }
}

impl Answer {
    /// A text answer that takes the place of whatever was there.
    pub fn say(&mut self, text: impl Into<String>) {
        self.content = Some(text.into());
        self.calls.clear();
        "stop".clone_into(&mut self.finish);
    }

    /// Neither text nor call.
    pub fn say_nothing(&mut self) {
        self.say("");
    }

    /// Bytes of all that was generated.
    #[must_use]
    pub fn generated_bytes(&self) -> usize {
        let calls: usize = self.calls.iter().map(|c| c.name.len() + c.arguments.text().len()).sum();
        self.content.as_deref().map_or(0, str::len) + self.reasoning.as_deref().map_or(0, str::len) + calls
    }
}

/// Estimated tokens of a number of bytes.
#[must_use]
pub fn tokens_of(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

/// The answer of a message in the wire's own form (a reference or a counter-example).
#[must_use]
pub fn from_message(message: &Value, prompt: &Prompt) -> Answer {
    let text = |key: &str| message.get(key).and_then(Value::as_str).map(str::to_owned);
    let calls: Vec<Call> =
        message.get("tool_calls").and_then(Value::as_array).into_iter().flatten().map(read_call).collect();
    let usual = if calls.is_empty() { "stop" } else { "tool_calls" };
    Answer {
        content: text("content"),
        reasoning: text("reasoning_content").or_else(|| text("reasoning")),
        finish: text("finish_reason").unwrap_or_else(|| usual.to_owned()),
        calls,
        choices: prompt.choices,
        usage: UsageNote { prompt: prompt.tokens, ..UsageNote::default() },
        ..Answer::default()
    }
}

fn read_call(call: &Value) -> Call {
    let function = call.get("function").unwrap_or(call);
    let arguments = match function.get("arguments") {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "{}".to_owned(),
        Some(value) => value.to_string(),
    };
    Call {
        id: None,
        name: function.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        arguments: Arguments::Text(arguments),
    }
}

/// The right answer of a known case; a polite text for anything else.
#[must_use]
pub fn right(prompt: &Prompt, draw: &mut Draw) -> Answer {
    match prompt.known.as_ref().and_then(|known| known.answer.as_ref()) {
        Some(reference) => from_message(&reference.value(), prompt),
        None => polite(prompt, draw),
    }
}

/// What a well-mannered model says that does not know the case: it keeps to the contract all the same.
fn polite(prompt: &Prompt, draw: &mut Draw) -> Answer {
    let mut answer = from_message(&Value::Null, prompt);
    if prompt.is_forced() && !prompt.tools.is_empty() {
        let named = prompt.named.clone();
        let name = named.or_else(|| prompt.tool_names().next().map(str::to_owned)).unwrap_or_default();
        answer.calls = vec![example_call(prompt, &name)];
        "tool_calls".clone_into(&mut answer.finish);
        return answer;
    }
    let mut text = match prompt.format {
        Format::JsonSchema => super::schema::example(prompt.schema.as_ref().unwrap_or(&Value::Null)).to_string(),
        Format::JsonObject => "{\"answer\":\"It depends on a few details.\"}".to_owned(),
        Format::Text => {
            let closing = draw.pick(&["", " Please ask again if more is needed.", " I hope that this helps."]);
            format!("{POLITE}{}", closing.copied().unwrap_or_default())
        }
    };
    if let Some(end) = prompt.stop.iter().filter_map(|stop| text.find(stop.as_str())).min() {
        text.truncate(end);
    }
    let limit = prompt.max_tokens.unwrap_or(u64::MAX).saturating_mul(BYTES_PER_TOKEN);
    if text.len() as u64 > limit {
        text.truncate(floor_boundary(&text, limit as usize));
        "length".clone_into(&mut answer.finish);
    }
    answer.content = Some(text);
    answer
}

/// A call of an offered tool with the plainest valid arguments.
#[must_use]
pub fn example_call(prompt: &Prompt, name: &str) -> Call {
    let arguments = super::schema::example(prompt.parameters(name).unwrap_or(&Value::Null));
    let arguments = if arguments.is_object() { arguments.to_string() } else { "{}".to_owned() };
    Call { id: None, name: name.to_owned(), arguments: Arguments::Text(arguments) }
}

/// The reasoning of a healthy endpoint: longer with more effort.
#[must_use]
pub fn reasoning(effort: Effort) -> String {
    THOUGHT.repeat(match effort {
        Effort::Low => 1,
        Effort::Medium => 2,
        Effort::High => 5,
    })
}

/// Whether a call is due: the right answer has one, or the choice forces one.
#[must_use]
pub fn is_call_due(prompt: &Prompt) -> bool {
    let reference = prompt.known.as_ref().and_then(|k: &Known| k.answer.as_ref()).map(Json::value);
    let has_calls = reference.is_some_and(|r| r["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty()));
    prompt.choice != Choice::None && (has_calls || prompt.is_forced()) && !prompt.tools.is_empty()
}

/// The largest boundary of a character at or below a byte.
#[must_use]
pub fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Gives the calls their ids and the arguments their style: harmless differences between endpoints.
pub fn dress(answer: &mut Answer, benign: &Benign, draw: &mut Draw) {
    for (index, call) in answer.calls.iter_mut().enumerate() {
        call.id = Some(call_id(benign.call_ids, &call.name, index, draw));
        if benign.arguments != ArgumentStyle::AsGiven
            && let Some(Value::Object(map)) = call.arguments.parsed()
        {
            call.arguments = Arguments::Text(match benign.arguments {
                ArgumentStyle::Spaced => spaced(&Value::Object(map)),
                _ => Value::Object(map.into_iter().rev().collect()).to_string(),
            });
        }
    }
}

fn call_id(style: CallIds, name: &str, index: usize, draw: &mut Draw) -> String {
    let mut hex = |n: usize| {
        let text = format!("{:016x}{:016x}", draw.word(), draw.word());
        text[..n.min(text.len())].to_owned()
    };
    match style {
        CallIds::CallHex => format!("call_{}", hex(24)),
        CallIds::Uuid => format!("{}-{}-4{}-a{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12)),
        CallIds::FunctionsNameIndex => format!("functions.{name}:{index}"),
        CallIds::Short => hex(9),
        CallIds::ToolHex => format!("chatcmpl-tool-{}", hex(32)),
    }
}

/// JSON with a space after commas and colons.
fn spaced(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, v)| format!("{}: {}", Value::String(key.clone()), spaced(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn prompt(body: Value) -> Prompt {
        Prompt::read(1, body.as_object().unwrap()).unwrap()
    }

    #[test]
    fn a_polite_answer_keeps_to_the_contract() {
        let message = json!([{"role": "user", "content": "x"}]);
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters":
            {"type": "object", "properties": {"n": {"type": "integer", "minimum": 4}}, "required": ["n"]}}}]);
        let mut draw = Draw::new([1; 4]);
        let forced = right(&prompt(json!({"messages": message, "tools": tools, "tool_choice": "required"})), &mut draw);
        assert_eq!(forced.calls[0].arguments, Arguments::Text("{\"n\":4}".to_owned()));
        assert_eq!(forced.finish, "tool_calls");
        let stopped = right(&prompt(json!({"messages": message, "stop": ["read"]})), &mut draw);
        assert_eq!(stopped.content.as_deref(), Some("Thank you for the question. I have "));
        let short = right(&prompt(json!({"messages": message, "max_tokens": 2})), &mut draw);
        assert_eq!((short.content.as_deref(), short.finish.as_str()), (Some("Thank yo"), "length"));
    }

    #[test]
    fn styles_change_the_form_and_keep_the_value() {
        let message = json!({"tool_calls": [{"function": {"name": "f", "arguments": "{\"a\":[1,{\"b\":\"x, y: z\"}],\"c\":2}"}}]});
        for style in [ArgumentStyle::AsGiven, ArgumentStyle::Spaced, ArgumentStyle::Reversed] {
            let mut answer = from_message(&message, &prompt(json!({"messages": [1]})));
            dress(&mut answer, &Benign { arguments: style, ..Benign::default() }, &mut Draw::new([2; 4]));
            assert_eq!(
                answer.calls[0].arguments.parsed(),
                Some(json!({"c": 2, "a": [1, {"b": "x, y: z"}]})),
                "{style:?}"
            );
        }
        for style in [CallIds::CallHex, CallIds::Uuid, CallIds::FunctionsNameIndex, CallIds::Short, CallIds::ToolHex] {
            let mut draw = Draw::new([3; 4]);
            assert_ne!(call_id(style, "f", 0, &mut draw), call_id(style, "f", 1, &mut draw), "{style:?}");
        }
    }
}
