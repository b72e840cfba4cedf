//! A router over a SQLite store in a temporary folder, with a clock that stands and a fake daemon.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::api::{
    ApiSetup, ApiState, EndpointView, Operators, Refusal, Ruling, ScorecardSource, StandingsView, SuiteInfo,
    SweepCommand, router,
};
use crate::clock::{ManualClock, rfc3339};
use crate::config::{Config, Role, SystemEnv, Token, tokens};
use crate::domain::scorecard::Gap;
use crate::domain::*;
use crate::live::Intake;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::publish::{Board, Document, Origin, Published};
use crate::signing::KeyRing;
use crate::store::{BatchWriter, Created, Store, StoreOptions, WriterOptions};

pub const NOW: Micros = 1_790_000_000_000_000;
pub const SECOND: Micros = 1_000_000;
pub const MODEL: &str = "lab/m:free";

const CONFIG: &str = r#"
[[provider]]
id = "good"
base_url = "https://api.good.example/v1"
headers = { X-Org = "it's secret" }
[[provider]]
id = "bad"
base_url = "https://api.bad.example/v1/"

[[model]]
id = "lab/m:free"
aliases = ["kimi"]
[[model.endpoint]]
provider = "good"
tag = "fp8"
slugs = { litellm = "g" }
[[model.endpoint]]
provider = "bad"

[[model]]
id = "lab/other"
[[model.endpoint]]
provider = "good"
"#;

/// Answers with what the test has put in.
#[derive(Default)]
pub struct FakeDaemon {
    pub standings: Mutex<Vec<EndpointView>>,
    pub of_capabilities: Mutex<Vec<EndpointView>>,
    pub cards: Mutex<Vec<Scorecard>>,
    pub broken: Mutex<bool>,
    pub asked: Mutex<Vec<(Micros, Micros)>>,
    pub orders: Mutex<Vec<Order>>,
    pub refusal: Mutex<Option<Refusal>>,
}

impl FakeDaemon {
    fn answer<T: Clone>(&self, of: &Mutex<Vec<T>>, model: &ModelId) -> Result<Vec<T>, String> {
        match (*self.broken.lock().unwrap(), model.as_str() == MODEL) {
            (true, _) => Err("the disk says: secret path".to_owned()),
            (false, true) => Ok(of.lock().unwrap().clone()),
            (false, false) => Ok(vec![]),
        }
    }
}

impl StandingsView for FakeDaemon {
    fn of(&self, model: ModelId, capability: Option<Capability>) -> BoxFuture<'_, Result<Vec<EndpointView>, String>> {
        let views = if capability.is_some() { &self.of_capabilities } else { &self.standings };
        Box::pin(async move { self.answer(views, &model) })
    }
}

impl ScorecardSource for FakeDaemon {
    fn of(&self, model: ModelId, from_us: Micros, to_us: Micros) -> BoxFuture<'_, Result<Vec<Scorecard>, String>> {
        self.asked.lock().unwrap().push((from_us, to_us));
        Box::pin(async move { self.answer(&self.cards, &model) })
    }
}

impl Operators for FakeDaemon {
    fn act(&self, model: ModelId, order: Order) -> BoxFuture<'_, Result<Ruling, Refusal>> {
        Box::pin(async move {
            self.orders.lock().unwrap().push(order.clone());
            if let Some(refusal) = self.refusal.lock().unwrap().clone() {
                return Err(refusal);
            }
            let (verb, message) = (order.verb, format!("operator {}: done", order.by));
            Ok(Ruling { model, verb, changed: true, message, decisions: vec![], published: false, list: None })
        })
    }
}

pub struct Kit {
    pub state: ApiState,
    pub router: Router,
    pub daemon: Arc<FakeDaemon>,
    pub ready: watch::Sender<bool>,
    pub commands: Mutex<Option<mpsc::Receiver<SweepCommand>>>,
    _folder: tempfile::TempDir,
}

/// An answer, taken apart.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The answer is a problem of this kind.
    pub fn is_problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:exactod:problem:{kind}"));
        assert_eq!(problem["status"], status);
        for key in ["title", "detail", "hint"] {
            assert!(problem[key].as_str().is_some_and(|s| !s.is_empty()), "{key} of {problem}");
        }
        problem
    }
}

impl Kit {
    pub async fn new() -> Kit {
        Kit::with_tokens(&[]).await
    }

    pub async fn with_tokens(tokens: &[(Role, &str)]) -> Kit {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("store.db").display());
        let store = Store::open_migrated(&url, &StoreOptions::default()).await.unwrap();
        let config = Config::parse(CONFIG, Path::new("exactod.toml"), &SystemEnv).unwrap();
        let mut server = config.server;
        let token =
            |(role, text): &(Role, &str)| Token { name: role.to_string(), role: *role, sha256: tokens::hash(text) };
        server.tokens = tokens.iter().map(token).collect();
        let suites = vec![SuiteInfo {
            name: suite(),
            revision: "1".to_owned(),
            digest: SuiteDigest::new("abc").unwrap(),
            cases: 3,
        }];
        let daemon = Arc::new(FakeDaemon::default());
        let (ready, is_ready) = watch::channel(true);
        let (sweeps, commands) = mpsc::channel(1);
        // A batch that is never full nor old: what is appended waits until a test flushes it.
        let options = WriterOptions { max_age: Duration::from_secs(3600), ..WriterOptions::default() };
        let intake = Arc::new(Intake::new(1));
        let directory = Arc::new(crate::daemon::live::directory(&intake, &config.models));
        let state = ApiState {
            intake,
            writer: BatchWriter::start(store.clone(), options),
            store,
            board: Arc::new(Board::default()),
            metrics: Arc::new(Metrics::new()),
            progress: Arc::new(Progress::default()),
            clock: Arc::new(ManualClock::at(NOW)),
            loopback_only: true,
            setup: Arc::new(ArcSwap::from_pointee(ApiSetup {
                models: config.models,
                server,
                relayed: Default::default(),
                directory,
                suites,
            })),
            standings: Arc::clone(&daemon) as Arc<dyn StandingsView>,
            scorecards: Arc::clone(&daemon) as Arc<dyn ScorecardSource>,
            operators: Arc::clone(&daemon) as Arc<dyn Operators>,
            sweeps,
            ready: is_ready,
            stopping: CancellationToken::new(),
        };
        let router = router(state.clone());
        let commands = Mutex::new(Some(commands));
        Kit { state, router, daemon, ready, commands, _folder: folder }
    }

    /// The same daemon behind a listener that the network reaches.
    pub fn on_the_network(self) -> Kit {
        let state = ApiState { loopback_only: false, ..self.state };
        Kit { router: router(state.clone()), state, ..self }
    }

    /// The same daemon with another intake.
    pub fn with_intake(self, intake: Intake) -> Kit {
        let mut setup = ApiSetup::clone(&self.state.setup.load());
        setup.directory = Arc::new(crate::daemon::live::directory(&intake, &setup.models));
        self.state.setup.store(Arc::new(setup));
        let state = ApiState { intake: Arc::new(intake), ..self.state };
        Kit { router: router(state.clone()), state, ..self }
    }

    /// Opens allowlists to all.
    pub fn public_read(&self) {
        let mut setup = ApiSetup::clone(&self.state.setup.load());
        setup.server.public_read = true;
        self.state.setup.store(Arc::new(setup));
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    pub async fn post(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method("POST").uri(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// Puts a list of the model up: one endpoint listed, one excluded.
    pub fn publish(&self, revision: Revision) -> Arc<Published> {
        let document = Document::read(Kit::own_list(revision)).unwrap();
        self.state.board.publish(document, Origin::Own)
    }

    /// Makes the board sign with these keys.
    pub fn sign_with(&self, ids: &[&str]) {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let keys = ids.iter().fold(KeyRing::default(), |ring, id| ring.with_new(Some(id), &mut rng).unwrap());
        self.state.board.set_keys(keys);
    }

    pub fn own_list(revision: Revision) -> Bytes {
        let list = Allowlist {
            schema: allowlist::ALLOWLIST_SCHEMA.to_owned(),
            model: MODEL.to_owned(),
            capability: None,
            version: revision,
            issued_at: rfc3339(NOW - 3600 * SECOND),
            expires_at: rfc3339(NOW + 3600 * SECOND),
            mode: AllowlistMode::Normal,
            providers: vec![ListedEntry {
                id: endpoint(0),
                rank: 1,
                weight: 100,
                tier: "admitted".to_owned(),
                slugs: [("litellm".to_owned(), "g".to_owned())].into(),
            }],
            excluded: vec![ExcludedEntry { id: endpoint(1), reason: "calls".to_owned(), since: rfc3339(NOW) }],
        };
        Bytes::from(serde_json::to_vec(&list).unwrap())
    }

    /// Makes the model's policy ask for capabilities.
    pub fn ask_for(&self, capabilities: &[&str]) {
        let mut setup = ApiSetup::clone(&self.state.setup.load());
        setup.models[0].policy.capabilities = capabilities.iter().map(|c| Capability::new(c).unwrap()).collect();
        self.state.setup.store(Arc::new(setup));
    }

    /// Puts a list of a capability up.
    pub fn publish_for(&self, capability: &str, revision: Revision) -> Arc<Published> {
        let capability = Capability::new(capability).unwrap();
        let mut list: Allowlist = serde_json::from_slice(&Kit::own_list(revision)).unwrap();
        list.capability = Some(capability);
        let body = Bytes::from(serde_json::to_vec(&list).unwrap());
        self.state.board.publish(Document::read(body).unwrap(), Origin::Own)
    }

    /// Until so many clients wait for the model's own list.
    pub async fn waiters(&self, count: usize) {
        while self.state.board.watching(&model()) != count {
            tokio::task::yield_now().await;
        }
    }

    /// A stored, running sweep.
    pub async fn sweep(&self, ordinal: u64) -> SweepId {
        let planned_at_us = NOW - 1000 * SECOND + ordinal as i64 * SECOND;
        let id = SweepId(id_at(planned_at_us, ordinal));
        let plan = SweepPlan {
            id,
            model: model(),
            kind: SweepKind::Scheduled,
            ordinal,
            seed: "00112233445566778899aabbccddeeff".to_owned(),
            planned_at_us,
            anchors: vec![endpoint(0)],
            suites: vec![SuitePlan {
                suite: suite(),
                digest: SuiteDigest::new("abc").unwrap(),
                cases: vec![CaseId::new("case-1").unwrap(), CaseId::new("case-2").unwrap()],
                epochs: 1,
                endpoints: vec![
                    BudgetedEndpoint { id: endpoint(0), cases: 2 },
                    BudgetedEndpoint { id: endpoint(1), cases: 2 },
                ],
                stable: None,
            }],
            reserved_nanousd: 2_000_000,
            gives_evidence: true,
            capabilities: Default::default(),
            aside: Vec::new(),
            probes: Vec::new(),
            goes_on: None,
            samples: None,
            upstreams: Default::default(),
        };
        assert_eq!(self.state.store.create_sweep(&plan, None, None).await.unwrap(), Created::Created);
        id
    }

    pub async fn store(&self, attempts: Vec<Attempt>) {
        let sent = attempts.len() as u64;
        assert_eq!(self.state.store.append_attempts(attempts).await.unwrap().new, sent);
    }
}

pub fn model() -> ModelId {
    ModelId::new(MODEL).unwrap()
}

pub fn suite() -> SuiteName {
    SuiteName::new("tool-use").unwrap()
}

/// 0: the good one, 1: the bad one.
pub fn endpoint(n: usize) -> EndpointId {
    EndpointId::new(["good/fp8", "bad"][n]).unwrap()
}

pub fn id_at(at_us: Micros, n: u64) -> Uuid {
    let base = u128::from((at_us / 1000) as u64) << 80 | 7 << 76;
    Uuid::from_u128(base | 0b10 << 62 | u128::from(n))
}

/// The `n`th attempt of a sweep: even ones of the good endpoint pass, odd ones of the bad one fail.
pub fn attempt(sweep: SweepId, n: u64) -> Attempt {
    let started_at_us = NOW - 900 * SECOND + n as i64 * SECOND;
    let judgement = if n % 2 == 1 {
        Judgement::fail(Fault::InvalidJson, 0.0, "tool_calls:invalid_json", "the arguments are no JSON")
    } else {
        Judgement::pass(1.0)
    };
    let answered = Try {
        started_at_us,
        took_us: 700,
        status: Some(200),
        fault: None,
        detail: String::new(),
        retry_after_us: None,
    };
    Attempt {
        id: AttemptId(id_at(started_at_us, n)),
        key: AttemptKey {
            sweep,
            endpoint: endpoint(n as usize % 2),
            suite: suite(),
            case: CaseId::new(&format!("case-{n}")).unwrap(),
            epoch: 0,
        },
        judgement,
        tries: vec![answered],
        started_at_us,
        ttft_us: Some(300),
        total_us: 700,
        usage: Usage { tokens_in: Some(210), tokens_out: Some(30), tokens_reasoning: None },
        cost_nanousd: 1_500_000,
        finish_reason: Some("stop".to_owned()),
        draw: None,
        observed: None,
        sampled: None,
        transcript: Some(Transcript {
            request: Bytes::from(
                json!({"model": "m", "messages": [{"role": "user", "content": "it's $HOME"}]}).to_string(),
            ),
            response: Bytes::from_static(b"{\"choices\":[]}"),
            headers: "content-type: application/json\n".to_owned(),
        }),
    }
}

pub fn view(n: usize, standing: Standing, reason: &str) -> EndpointView {
    EndpointView {
        id: endpoint(n),
        standing,
        override_: None,
        since_us: NOW - 7200 * SECOND,
        reason: reason.to_owned(),
        evidence: json!({"tool-use": {"gap": 0.01}}),
    }
}

pub fn card(n: usize, rate: f64) -> Scorecard {
    Scorecard {
        model: model(),
        endpoint: endpoint(n),
        standing: Standing::Unknown,
        from_us: NOW - 1000 * SECOND,
        to_us: NOW,
        suites: vec![SuiteCard {
            suite: suite(),
            attempts: 100,
            pass: 90,
            fail: 10,
            unscored: 0,
            rate: Some(rate),
            interval: Some(Interval { lo: rate - 0.05, hi: (rate + 0.03).min(1.0) }),
            worst_case: None,
            gap: Some(Gap { mean: 0.012, interval: Interval { lo: -0.01, hi: 0.034 }, cases: 50 }),
            faults: [("InvalidJson".to_owned(), 7), ("WrongAnswer".to_owned(), 3)].into(),
            secondary_faults: [].into(),
            first_try_ok: 99,
            delivered: 100,
            asked: 100,
            first_try: Some(0.99),
            delivery: Some(1.0),
            latency: None,
            ttft: None,
            tokens_in: 1,
            tokens_out: 1,
            cost_usd: 0.1,
            pass_k: vec![],
            reduced: None,
            metrics: vec![],
            abstention: None,
            hold_out: None,
            broken: None,
            trigger: None,
            pairs: None,
            change: None,
        }],
    }
}

pub fn decision(n: u64, reason: &str) -> Decision {
    Decision {
        id: id_at(NOW - 500 * SECOND + n as i64 * SECOND, n),
        model: model(),
        endpoint: endpoint(n as usize % 2),
        capability: None,
        sweep: None,
        at_us: NOW - 500 * SECOND + n as i64 * SECOND,
        kind: DecisionKind::Transition,
        from: Standing::Unknown,
        to: Standing::Excluded,
        suite: Some(suite()),
        reason: reason.to_owned(),
        evidence: json!({"e": 120.0}),
    }
}
