//! Requests and endpoints for the tests.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

use crate::domain::{CaseInstance, EndpointId};
use crate::sim::Library;
use crate::sim::play::{Player, Response};
use crate::sim::schedule::HasHeader;
use crate::sim::spec::{EndpointSpec, Injection};
use crate::suites::{Drawer, load_suite};

pub const MODEL: &str = "lab/m";
pub const NOW_US: i64 = 1_700_000_000_000_000;

/// The shipped suites, compiled once.
pub static DRAWERS: LazyLock<Vec<Arc<Drawer>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval_suites");
    let load = |name: &str| {
        let suite = load_suite(&folder.join(name)).expect("the shipped suite loads");
        Arc::new(Drawer::new(Arc::new(suite)).expect("and compiles"))
    };
    ["output-quality", "tool-use"].map(load).into()
});

/// Their library; its memory of requests is shared, as between endpoints.
pub static LIBRARY: LazyLock<Arc<Library>> = LazyLock::new(|| Arc::new(Library::new(DRAWERS.clone())));

pub struct NoHeaders;

impl HasHeader for NoHeaders {
    fn has(&self, _: &str) -> bool {
        false
    }
}

/// The body that a client sends for an instance.
pub fn body_of(instance: &CaseInstance) -> Map<String, Value> {
    let mut body = Map::clone(&instance.case.request);
    body.insert("model".to_owned(), json!(MODEL));
    body.insert("messages".to_owned(), instance.messages.value());
    if let Some(tools) = &instance.tools {
        body.insert("tools".to_owned(), tools.value());
    }
    if let Some(format) = &instance.response_format {
        body.insert("response_format".to_owned(), format.value());
    }
    if instance.stream() {
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    body
}

/// Every case of the shipped suites that is over after one answer, drawn from a seed.
pub fn instances(seed: u32) -> Vec<(Arc<Drawer>, CaseInstance)> {
    let seed = format!("{seed:032x}");
    let all = DRAWERS.iter().flat_map(|drawer| drawer.suite().cases.iter().map(move |case| (drawer, case)));
    let all = all.filter(|(_, case)| case.world.is_none());
    all.map(|(drawer, case)| (drawer.clone(), drawer.draw(&case.id, &seed, 0).expect("a draw"))).collect()
}

pub fn spec(injections: Vec<Injection>) -> EndpointSpec {
    EndpointSpec { injections, ..EndpointSpec::healthy(EndpointId::new("alder").expect("a name")) }
}

pub fn player(spec: EndpointSpec, seed: u64) -> Player {
    Player::new(spec, MODEL, seed, LIBRARY.clone(), NOW_US)
}

pub fn ask(player: &Player, body: &Value) -> Response {
    player.answer(body.to_string().as_bytes(), &NoHeaders, 0, NOW_US)
}

/// A call as it came: its id, index, name and arguments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeenCall {
    pub id: Option<String>,
    pub name: String,
    pub arguments: String,
    pub as_value: bool,
}

/// A response read by hand, without the project's own client.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub status: u16,
    pub text: String,
    /// JSON chunks of a stream, or the one body.
    pub chunks: Vec<Value>,
    pub content: Option<String>,
    pub reasoning: Option<String>,
    pub calls: Vec<SeenCall>,
    pub finish: Vec<String>,
    pub usage: Option<Value>,
    pub done: bool,
}

impl Seen {
    pub fn of(response: &Response) -> Seen {
        let text = String::from_utf8(response.body()).expect("valid UTF-8");
        let mut seen = Seen { status: response.status, text: text.clone(), ..Seen::default() };
        if response.is_stream {
            for block in text.replace("\r\n", "\n").split_terminator("\n\n") {
                seen.block(block);
            }
        } else if let Ok(body) = serde_json::from_str::<Value>(&text) {
            seen.usage = body.get("usage").cloned();
            for choice in body["choices"].as_array().into_iter().flatten() {
                seen.piece(&choice["message"], choice);
            }
            seen.chunks.push(body);
        }
        seen
    }

    fn block(&mut self, block: &str) {
        for line in block.lines().filter(|line| !line.starts_with(':')) {
            let data = line.strip_prefix("data: ").expect("a data line");
            assert!(!self.done, "nothing comes after [DONE]");
            if data == "[DONE]" {
                self.done = true;
                continue;
            }
            let chunk: Value = serde_json::from_str(data).expect("a chunk of JSON");
            for choice in chunk["choices"].as_array().into_iter().flatten() {
                self.piece(&choice["delta"], choice);
            }
            if let Some(usage) = chunk.get("usage") {
                self.usage = Some(usage.clone());
            }
            self.chunks.push(chunk);
        }
    }

    /// Only the first choice is put together.
    fn piece(&mut self, delta: &Value, choice: &Value) {
        if choice["index"] != 0 {
            return;
        }
        if let Some(text) = delta["content"].as_str() {
            self.content.get_or_insert_default().push_str(text);
        }
        if let Some(text) = delta["reasoning_content"].as_str().or_else(|| delta["reasoning"].as_str()) {
            self.reasoning.get_or_insert_default().push_str(text);
        }
        for (place, call) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let index = call["index"].as_u64().map_or(place, |i| i as usize);
            if self.calls.len() <= index {
                self.calls.resize(index + 1, SeenCall::default());
            }
            let slot = &mut self.calls[index];
            if let Some(id) = call["id"].as_str() {
                slot.id = Some(id.to_owned());
            }
            slot.name.push_str(call["function"]["name"].as_str().unwrap_or_default());
            match &call["function"]["arguments"] {
                Value::String(text) => slot.arguments.push_str(text),
                Value::Null => {}
                value => {
                    slot.as_value = true;
                    slot.arguments.push_str(&value.to_string());
                }
            }
        }
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.finish.push(finish.to_owned());
        }
    }

    /// The pieces of calls, in order.
    pub fn call_deltas(&self) -> Vec<&Value> {
        let choices = self.chunks.iter().filter_map(|chunk| chunk["choices"].as_array()).flatten();
        choices.filter_map(|choice| choice["delta"]["tool_calls"].as_array()).flatten().collect()
    }
}
