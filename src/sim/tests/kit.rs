//! Requests and endpoints for the tests.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

use crate::domain::{CaseInstance, EndpointId};
use crate::sim::Library;
use crate::sim::play::{Player, Response};
use crate::sim::schedule::HasHeader;
use crate::sim::spec::{EndpointSpec, Injection};
use crate::suites::{Drawer, shipped};

pub const MODEL: &str = "lab/m";
pub const NOW_US: i64 = 1_700_000_000_000_000;

/// The shipped suites, compiled once.
pub static DRAWERS: LazyLock<Vec<Arc<Drawer>>> = LazyLock::new(|| {
    let suites = shipped().expect("the shipped suites load");
    suites.into_iter().map(|suite| Arc::new(Drawer::new(suite).expect("and compile"))).collect()
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
    let mut body = instance.case.request.clone();
    body.insert("model".to_owned(), json!(MODEL));
    body.insert("messages".to_owned(), Value::Array(instance.messages.clone()));
    if let Some(tools) = &instance.tools {
        body.insert("tools".to_owned(), Value::Array(tools.clone()));
    }
    if let Some(format) = &instance.response_format {
        body.insert("response_format".to_owned(), format.clone());
    }
    if instance.stream() {
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    body
}

/// Every case of the shipped suites, drawn from a seed.
pub fn instances(seed: u32) -> Vec<(Arc<Drawer>, CaseInstance)> {
    let seed = format!("{seed:032x}");
    let all = DRAWERS.iter().flat_map(|drawer| drawer.suite().cases.iter().map(move |case| (drawer, case)));
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
