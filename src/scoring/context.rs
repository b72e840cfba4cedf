//! What a case itself shows: markers, scripts and repetitions that an answer may therefore contain.

use std::sync::OnceLock;

use serde_json::Value;

use super::corrupt::REPLACEMENT;
use super::degenerate::find_loop;
use super::leak::Shown;
use super::script::{self, ScriptSet};
use crate::domain::CaseInstance;

/// What the text checks must not hold against an answer.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// Markers in the case.
    pub shown: Shown,
    /// Scripts in the case, and those of languages that it names.
    pub scripts: ScriptSet,
    /// U+FFFD stands in the case.
    pub replacement: bool,
    /// The reference answer, or a text of `expected`, is itself a repetition.
    pub loops: bool,
}

/// The context of an instance, read when an answer first has something that it could excuse: most never have.
#[derive(Debug)]
pub(super) struct LazyContext {
    instance: CaseInstance,
    /// Scripts that scorers ask for.
    asked: ScriptSet,
    read: OnceLock<Context>,
}

impl LazyContext {
    /// `asked`: the scripts that scorers of the case ask for.
    pub fn new(instance: CaseInstance, asked: ScriptSet) -> Self {
        LazyContext { instance, asked, read: OnceLock::new() }
    }

    /// The context.
    pub fn get(&self) -> &Context {
        self.read.get_or_init(|| {
            let mut context = Context::new(&self.instance);
            context.scripts.insert_all(self.asked);
            context
        })
    }
}

impl Context {
    /// Reads everything that the model is shown or that counts as right; never the counter-example.
    pub fn new(instance: &CaseInstance) -> Self {
        let mut context = Context::default();
        context.read(&instance.messages.value(), true);
        // What the tools of a world give back is made of these.
        for source in instance.world.iter().flat_map(|_| instance.case.files.values()) {
            context.read_text(source, false);
        }
        for shown in instance.tools.iter().chain(&instance.response_format).chain(&instance.world) {
            context.read(&shown.value(), true);
        }
        for value in instance.case.request.values() {
            context.read(value, true);
        }
        for right in instance.expected.iter().chain(&instance.reference) {
            let value = right.value();
            context.read(&value, false);
            context.read_loops(&value);
        }
        for value in instance.scorers.iter().flat_map(|s| s.options.values()) {
            context.read(value, false);
            context.read_loops(value);
        }
        context
    }

    /// Reads all strings of a value; `prompt` texts may name languages.
    fn read(&mut self, value: &Value, prompt: bool) {
        match value {
            Value::String(text) => self.read_text(text, prompt),
            Value::Array(items) => items.iter().for_each(|v| self.read(v, prompt)),
            Value::Object(map) => {
                for (key, value) in map {
                    self.read_text(key, false);
                    self.read(value, prompt);
                }
            }
            _ => {}
        }
    }

    fn read_text(&mut self, text: &str, prompt: bool) {
        self.shown.insert_text(text);
        self.scripts.insert_text(text);
        self.replacement |= text.contains(REPLACEMENT);
        if prompt {
            self.read_languages(text);
        }
    }

    fn read_languages(&mut self, text: &str) {
        let lower = text.to_ascii_lowercase();
        for script in script::ALL {
            if script.languages().iter().any(|l| lower.contains(l)) {
                self.scripts.insert(script);
            }
        }
    }

    fn read_loops(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.loops = self.loops || find_loop(text).is_some(),
            Value::Array(items) => items.iter().for_each(|v| self.read_loops(v)),
            Value::Object(map) => map.values().for_each(|v| self.read_loops(v)),
            _ => {}
        }
    }
}
