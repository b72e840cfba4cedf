//! The right answers: finds the case that a request asks for by its messages and tools alone, as a model
//! would have to, and the reference answer to it.

mod pattern;
mod resolve;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::draws::Hash64;
use super::exam;
use super::prompt::Prompt;
use crate::domain::{Case, CaseId, CaseInstance, Json, Suite, SuiteName};
use crate::suites::Drawer;
use pattern::Pattern;
use resolve::Dependencies;

/// Different requests remembered, in each of two generations.
const CACHE_ENTRIES_MAX: usize = 1024;

/// Where cases come from and how they are filled: [`Drawer`] in practice.
pub trait Source: Send + Sync {
    /// The suite.
    fn suite(&self) -> &Arc<Suite>;
    /// The case with its parameters filled in; `None` when they do not fit.
    fn instantiate(&self, case: &CaseId, params: &Map<String, Value>) -> Option<CaseInstance>;
}

/// The case that a request asks for, and its answers.
#[derive(Debug, Clone)]
pub struct Known {
    /// The suite.
    pub suite: SuiteName,
    /// The case with its values; its messages and tools are left out, for the request has them.
    pub instance: CaseInstance,
    /// The right answer to this request: the reference, or of a conversation its next message.
    pub answer: Option<Json>,
}

impl Known {
    /// The case's category.
    #[must_use]
    pub fn category(&self) -> Option<&str> {
        self.instance.case.category.as_deref()
    }

    /// Whether a scorer of this kind judges the case (inside groups too).
    #[must_use]
    pub fn judges(&self, kind: &str) -> bool {
        fn in_group(options: &Map<String, Value>, kind: &str) -> bool {
            let children = options.get("scorers").and_then(Value::as_array).into_iter().flatten();
            children.filter_map(Value::as_object).any(|c| c.get("type").is_some_and(|t| t == kind) || in_group(c, kind))
        }
        self.instance.scorers.iter().any(|s| s.kind == kind || in_group(&s.options, kind))
    }

    /// The calls that the case expects, when a `tool-calls` scorer judges them.
    #[must_use]
    pub fn expected_calls(&self) -> Option<Vec<Value>> {
        let scorer = self.instance.scorers.iter().find(|s| s.kind == "tool-calls")?;
        let own = scorer.options.get("calls").cloned();
        match own.or_else(|| self.instance.expected.as_ref()?.value().get("calls").cloned())? {
            Value::Array(calls) => Some(calls),
            _ => None,
        }
    }
}

/// One template, compiled.
struct Template {
    source: usize,
    case: Arc<Case>,
    messages: Vec<Pattern>,
    tools: Vec<Pattern>,
    dependencies: Dependencies,
    weight: usize,
}

/// How many messages and tools a request has: the first sieve.
type Shape = (usize, usize);

/// All cases of some suites, indexed by what a request shows of them.
pub struct Library {
    sources: Vec<Arc<dyn Source>>,
    exact: HashMap<u64, Vec<(usize, CaseInstance)>>,
    templates: HashMap<Shape, Vec<Template>>,
    /// How many messages conversations begin with.
    beginnings: BTreeSet<usize>,
    cache: Mutex<Generations>,
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let templates: usize = self.templates.values().map(Vec::len).sum();
        let exact: usize = self.exact.values().map(Vec::len).sum();
        f.debug_struct("Library").field("exact", &exact).field("templates", &templates).finish_non_exhaustive()
    }
}

/// Two generations of remembered requests: when the young one is full, the old one is forgotten.
#[derive(Default)]
struct Generations {
    young: HashMap<u64, Arc<Prompt>>,
    old: HashMap<u64, Arc<Prompt>>,
}

impl Generations {
    fn get(&mut self, hash: u64) -> Option<Arc<Prompt>> {
        if let Some(found) = self.young.get(&hash) {
            return Some(found.clone());
        }
        let found = self.old.get(&hash)?.clone();
        self.put(hash, found.clone());
        Some(found)
    }

    fn put(&mut self, hash: u64, prompt: Arc<Prompt>) {
        if self.young.len() >= CACHE_ENTRIES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, prompt);
    }
}

impl Source for Drawer {
    fn suite(&self) -> &Arc<Suite> {
        Drawer::suite(self)
    }

    fn instantiate(&self, case: &CaseId, params: &Map<String, Value>) -> Option<CaseInstance> {
        // Guessed parameters that do not fit are no error here: the next guess is tried.
        Drawer::instantiate(self, case, params).ok()
    }
}

impl Library {
    /// Indexes the cases of some suites.
    #[must_use]
    pub fn new(drawers: Vec<Arc<Drawer>>) -> Self {
        Library::from_sources(drawers.into_iter().map(|drawer| drawer as Arc<dyn Source>).collect())
    }

    /// A library without cases: every request is answered as unmatched.
    #[must_use]
    pub fn empty() -> Self {
        Library::from_sources(Vec::new())
    }

    /// Indexes the cases of some sources.
    #[must_use]
    pub fn from_sources(sources: Vec<Arc<dyn Source>>) -> Self {
        let mut exact: HashMap<u64, Vec<(usize, CaseInstance)>> = HashMap::new();
        let mut templates: HashMap<Shape, Vec<Template>> = HashMap::new();
        let mut beginnings = BTreeSet::new();
        for (number, source) in sources.iter().enumerate() {
            for case in &source.suite().cases {
                if case.world.is_some() {
                    beginnings.insert(case.messages.items().len());
                }
                if !case.is_template() {
                    let Some(instance) = source.instantiate(&case.id, &Map::new()) else { continue };
                    let key = exact_key(&instance.messages.items(), &items(instance.tools.as_ref()));
                    exact.entry(key).or_default().push((number, without_prompt(instance)));
                    continue;
                }
                let template = Template::new(number, case);
                templates.entry((template.messages.len(), template.tools.len())).or_default().push(template);
            }
        }
        // The most literal text first: a template that is all placeholders fits everything.
        templates.values_mut().for_each(|list| list.sort_by_key(|t| std::cmp::Reverse(t.weight)));
        Library { sources, exact, templates, beginnings, cache: Mutex::default() }
    }

    /// The remembered form of a request, if it was seen lately.
    #[must_use]
    pub fn recall(&self, hash: u64) -> Option<Arc<Prompt>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(hash)
    }

    /// Finds the case that a request asks for and remembers the request.
    pub fn learn(&self, mut prompt: Prompt, body: &Map<String, Value>) -> Arc<Prompt> {
        prompt.known = self.find(body);
        if prompt.known.is_none() {
            prompt.exam = exam::read(self, body);
        }
        let prompt = Arc::new(prompt);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(prompt.hash, prompt.clone());
        prompt
    }

    /// The case that a request body asks for.
    ///
    /// Several cases may show the same messages and tools; then the one whose other request keys agree best is meant.
    #[must_use]
    pub fn find(&self, body: &Map<String, Value>) -> Option<Known> {
        let empty = Vec::new();
        let list = |key: &str| body.get(key).and_then(Value::as_array).unwrap_or(&empty);
        let (messages, tools) = (list("messages"), list("tools"));
        let mut found = self.that_begin(messages, tools, 0);
        if found.is_empty() {
            // A conversation goes on from what the assistant said.
            let is_later = |at: usize| messages.get(at).is_some_and(|message| message["role"] == "assistant");
            for at in self.beginnings.iter().copied().filter(|at| is_later(*at)) {
                let said = messages[at..].iter().filter(|message| message["role"] == "assistant").count();
                found.extend(self.that_begin(&messages[..at], tools, said));
            }
        }
        // The first of equals: `max_by_key` would take the last.
        found.into_iter().rev().max_by_key(|known| agreement(&known.instance, body))
    }

    /// Cases that begin with these messages, after so many answers; a case that is no conversation is over after one.
    fn that_begin(&self, messages: &[Value], tools: &[Value], answers: usize) -> Vec<Known> {
        let goes_on = |case: &Case| answers == 0 || case.world.is_some();
        let exact = self.exact.get(&exact_key(messages, tools)).into_iter().flatten();
        let exact = exact.filter(|(_, instance)| goes_on(&instance.case));
        let mut found: Vec<Known> =
            exact.map(|(source, instance)| self.known(*source, instance.clone(), answers)).collect();
        if found.is_empty() {
            let bucket = self.templates.get(&(messages.len(), tools.len()));
            for template in bucket.into_iter().flatten().filter(|template| goes_on(&template.case)) {
                let Some(instance) = self.fill(template, messages, tools) else { continue };
                found.push(self.known(template.source, instance, answers));
            }
        }
        found
    }

    fn known(&self, source: usize, instance: CaseInstance, answers: usize) -> Known {
        let answer = match instance.case.world.is_some() {
            true => instance.reference.as_ref().and_then(|reference| step_of(&reference.value(), answers)),
            false => instance.reference.clone(),
        };
        Known { suite: self.sources[source].suite().name.clone(), instance, answer }
    }

    fn fill(&self, template: &Template, messages: &[Value], tools: &[Value]) -> Option<CaseInstance> {
        let patterns = template.messages.iter().chain(&template.tools);
        let source = &self.sources[template.source];
        let (mut filled, mut checks) = (None, 0);
        pattern::solve(patterns.zip(messages.iter().chain(tools)), &template.case.params, &mut |captures| {
            let mut check = |params: &Map<String, Value>| {
                let instance = source.instantiate(&template.case.id, params)?;
                let fits = instance.messages.items() == messages && items(instance.tools.as_ref()) == tools;
                Some((instance, fits))
            };
            filled = resolve::resolve(&template.case, &template.dependencies, captures, &mut checks, &mut check)
                .map(without_prompt);
            if filled.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        filled
    }
}

impl Template {
    fn new(source: usize, case: &Arc<Case>) -> Self {
        let compile = |value: &Value| Pattern::compile(value, &case.params, &case.derive);
        let messages: Vec<Pattern> = case.messages.items().iter().map(compile).collect();
        let tools: Vec<Pattern> = items(case.tools.as_ref()).iter().map(compile).collect();
        let weight = messages.iter().chain(&tools).map(Pattern::weight).sum();
        Template { source, case: case.clone(), messages, tools, dependencies: Dependencies::of(case), weight }
    }
}

/// The message of a conversation's reference after so many answers; the last one for ever after.
fn step_of(reference: &Value, answers: usize) -> Option<Json> {
    let messages = reference.get("messages")?.as_array()?;
    messages.get(answers).or_else(|| messages.last()).map(Json::from)
}

/// Messages and tools are the bulk of an instance, and the request has them already.
fn without_prompt(mut instance: CaseInstance) -> CaseInstance {
    instance.messages = Json::from(Vec::new());
    instance.tools = None;
    instance
}

/// How many of a case's request keys (and the response format) a body shares.
fn agreement(instance: &CaseInstance, body: &Map<String, Value>) -> usize {
    let keys = instance.case.request.iter().filter(|(key, value)| body.get(*key) == Some(*value)).count();
    let choice = body.get("tool_choice") == instance.tool_choice();
    let format = body.get("response_format").filter(|v| !v.is_null())
        == instance.response_format.as_ref().map(Json::value).as_ref();
    keys + usize::from(choice) + 2 * usize::from(format)
}

fn items(list: Option<&Json>) -> Vec<Value> {
    list.map(Json::items).unwrap_or_default()
}

fn exact_key(messages: &[Value], tools: &[Value]) -> u64 {
    let hash = Hash64::default().number(messages.len() as u64);
    messages.iter().chain(tools).fold(hash, |hash, value| hash.number(hash_value(value))).value()
}

/// Hash of a JSON value; the order of keys does not matter.
fn hash_value(value: &Value) -> u64 {
    let tagged = |tag: u64| Hash64::default().number(tag);
    match value {
        Value::Null => tagged(0).value(),
        Value::Bool(flag) => tagged(1).number(u64::from(*flag)).value(),
        Value::Number(number) => tagged(2).bytes(number.to_string().as_bytes()).value(),
        Value::String(text) => tagged(3).bytes(text.as_bytes()).value(),
        Value::Array(items) => items.iter().fold(tagged(4), |hash, item| hash.number(hash_value(item))).value(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| tagged(5).bytes(key.as_bytes()).number(hash_value(value)).value())
            .fold(map.len() as u64, u64::wrapping_add),
    }
}
