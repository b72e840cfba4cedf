//! Lists put into gateways by their admin APIs, again and again: whatever is changed there by hand is changed back.
//!
//! One round reads the gateway, makes a plan (`publish::push`), writes down what was there before, sends, reads again and
//! must find nothing left to change. Killed at any moment, the next round begins with what the gateway says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::Method;
use reqwest::header::RETRY_AFTER;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::conclude;
use super::runtime::Runtime;
use super::sweeper::{Signals, Sweeper};
use crate::api;
use crate::config::PushConfig;
use crate::domain::ModelId;
use crate::publish::exports::Scene;
use crate::publish::file;
use crate::publish::push::{self, Adapter, Call, NotPlanned, Plan};

/// Kind of the alarm of a gateway that is not as the list says.
const ALARM: &str = "push";
/// Pause before a round that failed is tried again; it doubles with every failure.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest such pause, and the longest that a gateway may ask for.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most of an answer's words that are repeated.
const WORDS_CHARS_MAX: usize = 500;
/// Requests of one round: more deployments than any model has.
const CALLS_MAX: usize = 1_000;

/// Why a gateway is not as the list says.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// There is no plan.
    #[error("{0}; nothing was changed")]
    NotPlanned(#[from] NotPlanned),
    /// The gateway does not answer.
    #[error("{call}: {why}")]
    NoAnswer {
        /// Method and path.
        call: String,
        /// Why, without the address.
        why: String,
    },
    /// The gateway refuses.
    #[error("{call}: status {status}: {words}")]
    Refused {
        /// Method and path.
        call: String,
        /// The status.
        status: u16,
        /// The answer's own words.
        words: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// It has taken the change, and reads as before.
    #[error("it took the change, but reads otherwise: {0}")]
    NotTaken(String),
    /// What was there before cannot be written down or read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Nothing was written down.
    #[error("nothing is remembered of {0}: it was never changed from here")]
    NothingRemembered(String),
}

/// One gateway.
pub struct Pusher<'a> {
    http: &'a reqwest::Client,
    config: &'a PushConfig,
    adapter: Adapter,
}

/// The client that speaks to admin APIs.
///
/// # Errors
/// When the machine's TLS cannot be set up.
pub fn push_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        // A token goes to the address of the configuration and to no other.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("exactod/", env!("CARGO_PKG_VERSION")))
        .build()
}

impl<'a> Pusher<'a> {
    /// For a configured gateway; `None` when its adapter is unknown.
    #[must_use]
    pub fn new(http: &'a reqwest::Client, config: &'a PushConfig) -> Option<Self> {
        Some(Pusher { http, config, adapter: Adapter::by_name(&config.adapter)? })
    }

    /// What is different from the list. Changes nothing.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn diff(&self, scene: &Scene<'_>) -> Result<Vec<String>, PushError> {
        let current = self.current().await?;
        Ok(push::plan(self.adapter, &self.config.target, scene, &current)?.diff)
    }

    /// Makes the gateway as the list says, and verifies it. The differences that there were.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(&self, scene: &Scene<'_>) -> Result<Vec<String>, PushError> {
        let current = self.current().await?;
        let plan = push::plan(self.adapter, &self.config.target, scene, &current)?;
        if plan.diff.is_empty() {
            return Ok(plan.diff);
        }
        self.remember(&push::memory(self.adapter, scene, &current)?)?;
        self.send(&plan).await?;
        let left = push::plan(self.adapter, &self.config.target, scene, &self.current().await?)?;
        if left.diff.is_empty() { Ok(plan.diff) } else { Err(PushError::NotTaken(left.diff.join("; "))) }
    }

    /// Makes the gateway as it was before the last change, and holds it there. The differences that there were.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn roll_back(&self) -> Result<Vec<String>, PushError> {
        let remembered = match std::fs::read(self.file("previous.json")) {
            Ok(text) => serde_json::from_slice::<Value>(&text).map_err(std::io::Error::from)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(PushError::NothingRemembered(self.config.name.clone()));
            }
            Err(error) => return Err(error.into()),
        };
        // First: the daemon must not push again in between.
        file::replace(&self.file("held"), b"")?;
        let plan = push::restore(self.adapter, &self.config.target, &self.current().await?, &remembered)?;
        self.send(&plan).await?;
        let left = push::restore(self.adapter, &self.config.target, &self.current().await?, &remembered)?;
        if left.diff.is_empty() { Ok(plan.diff) } else { Err(PushError::NotTaken(left.diff.join("; "))) }
    }

    /// Whether it was rolled back, and stays so.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.file("held").exists()
    }

    /// Ends the hold of a roll back.
    ///
    /// # Errors
    /// [`PushError::Io`].
    pub fn resume(&self) -> Result<(), PushError> {
        match std::fs::remove_file(self.file("held")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn file(&self, ending: &str) -> std::path::PathBuf {
        self.config.folder.join(format!("{}.{ending}", self.config.name))
    }

    /// Keeps what is there, unless it is what was kept last.
    fn remember(&self, memory: &Value) -> Result<(), PushError> {
        std::fs::create_dir_all(&self.config.folder)?;
        Ok(file::replace(&self.file("previous.json"), memory.to_string().as_bytes())?)
    }

    async fn current(&self) -> Result<Value, PushError> {
        self.call(&push::read(self.adapter, &self.config.target), None).await
    }

    async fn send(&self, plan: &Plan) -> Result<(), PushError> {
        let mut before = None;
        for call in plan.calls.iter().take(CALLS_MAX) {
            before = Some(self.call(call, before.as_ref()).await?);
        }
        Ok(())
    }

    async fn call(&self, call: &Call, before: Option<&Value>) -> Result<Value, PushError> {
        let named = || format!("{} {}", call.method, call.path);
        let no_answer = |why: String| PushError::NoAnswer { call: named(), why };
        let mut body = call.body.clone();
        if let (Some((pointer, key)), Some(body)) = (call.takes, body.as_mut()) {
            let taken = before.and_then(|before| before.pointer(pointer)).cloned();
            body[key] =
                taken.ok_or_else(|| NotPlanned::Form(format!("`{pointer}` is missing in the answer before")))?;
        }
        let url = format!("{}{}", self.config.url.as_str().trim_end_matches('/'), call.path);
        let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::GET);
        let mut request = self.http.request(method, url).timeout(self.config.timeout);
        if let Some(token) = &self.config.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| no_answer(words(&error.without_url().to_string())))?;
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let text = read(answer).await.map_err(no_answer)?;
        if !status.is_success() {
            let (retry_after, words) = (retry_after.map(Duration::from_secs), words(&String::from_utf8_lossy(&text)));
            return Err(PushError::Refused { call: named(), status: status.as_u16(), words, retry_after });
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&text).map_err(|error| NotPlanned::Form(format!("{}: {error}", named())).into())
    }
}

async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
        text.extend_from_slice(&piece);
        if text.len() > ANSWER_BYTES_MAX {
            return Err(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
        }
    }
    Ok(text)
}

fn words(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_CHARS_MAX).collect()
}

/// How a gateway fares.
#[derive(Debug, Clone)]
struct Round {
    /// When it is looked at next, whatever happens.
    next: Instant,
    /// Before this nothing is changed again.
    quiet_until: Instant,
    failures: u32,
    why: Option<String>,
    /// The revision that was looked at last.
    seen: Option<u64>,
    /// What a dry run told last.
    told: Vec<String>,
}

/// The task that pushes.
#[derive(Clone)]
pub struct Pushes {
    /// Board and alarms.
    pub sweeper: Arc<Sweeper>,
    /// The current configuration.
    pub runtime: Arc<ArcSwap<Runtime>>,
    /// Told when the configuration was replaced.
    pub reloaded: watch::Receiver<u64>,
    /// Ends the loop.
    pub signals: Signals,
}

impl Pushes {
    /// Runs until stopped.
    pub async fn run(mut self) {
        let http = match push_client() {
            Ok(http) => http,
            Err(error) => {
                warn!(%error, "no HTTP client for gateways; trying again");
                return;
            }
        };
        let mut changes = self.sweeper.board.subscribe();
        let mut rounds: BTreeMap<String, Round> = BTreeMap::new();
        let mut told = BTreeSet::new();
        loop {
            changes.borrow_and_update();
            self.reloaded.borrow_and_update();
            let runtime = self.runtime.load_full();
            rounds.retain(|name, _| runtime.config.pushes.iter().any(|push| push.name == *name));
            for push in &runtime.config.pushes {
                tokio::select! {
                    () = self.keep(&http, &runtime, push, &mut rounds) => {}
                    () = self.signals.stop.cancelled() => return,
                }
            }
            self.tell(&runtime, &rounds, &mut told).await;
            let next = rounds.values().map(|round| round.next).min();
            let later = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                changed = self.reloaded.changed() => if changed.is_err() { return },
                () = later => {}
                () = self.signals.stop.cancelled() => return,
            }
        }
    }

    async fn keep(
        &self,
        http: &reqwest::Client,
        runtime: &Runtime,
        config: &PushConfig,
        rounds: &mut BTreeMap<String, Round>,
    ) {
        let (Some(list), Some(pusher)) = (self.sweeper.board.get(config.model.as_str()), Pusher::new(http, config))
        else {
            return;
        };
        let now = Instant::now();
        let known = rounds.get(&config.name).cloned();
        let mut round = known.unwrap_or(Round {
            next: now,
            quiet_until: now,
            failures: 0,
            why: None,
            seen: None,
            told: Vec::new(),
        });
        // A new list is due at once, but for the rest that a gateway is given after a change or a failure.
        let is_news = round.seen != Some(list.revision);
        if now < round.quiet_until || (now < round.next && !is_news) {
            round.next = if is_news { round.quiet_until } else { round.next };
            rounds.insert(config.name.clone(), round);
            return;
        }
        let scene = match runtime.models.get(&config.model) {
            Some(model) => api::scene(&model.config, &list.list),
            None => Scene::of_list(&list.list),
        };
        let held = pusher.is_held();
        let done = match config.dry_run || held {
            true => pusher.diff(&scene).await,
            false => pusher.push(&scene).await,
        };
        let now = Instant::now();
        match done {
            Ok(diff) => {
                let only_told = config.dry_run || held;
                if !diff.is_empty() && (!only_told || diff != round.told) {
                    let diff = diff.join("; ");
                    info!(push = config.name, model = %config.model, only_told, diff, "gateway and list differed");
                }
                let quiet = if diff.is_empty() || only_told { Duration::ZERO } else { config.pause };
                round = Round {
                    next: now + config.every,
                    quiet_until: now + quiet,
                    failures: 0,
                    why: held
                        .then(|| "it was rolled back by hand and is held; `exactod push NAME --resume`".to_owned()),
                    seen: Some(list.revision),
                    told: diff,
                };
            }
            Err(error) => {
                let doubled = RETRY_FIRST.saturating_mul(1 << round.failures.min(16)).min(RETRY_MAX);
                let asked = match &error {
                    PushError::Refused { retry_after, .. } => retry_after.unwrap_or_default().min(RETRY_MAX),
                    _ => Duration::ZERO,
                };
                let pause = doubled.max(asked);
                warn!(push = config.name, %error, retry_s = pause.as_secs(), "the gateway is not as the list says");
                round.failures = round.failures.saturating_add(1);
                (round.next, round.quiet_until) = (now + pause, now + pause);
                round.why = Some(error.to_string());
            }
        }
        rounds.insert(config.name.clone(), round);
    }

    /// One alarm for each model of which a gateway is not as the list says.
    async fn tell(&self, runtime: &Runtime, rounds: &BTreeMap<String, Round>, told: &mut BTreeSet<ModelId>) {
        let mut texts: BTreeMap<ModelId, Vec<String>> = told.iter().map(|model| (model.clone(), Vec::new())).collect();
        for push in &runtime.config.pushes {
            let why = rounds.get(&push.name).and_then(|round| round.why.as_ref());
            let of = texts.entry(push.model.clone()).or_default();
            of.extend(why.map(|why| format!("{}: {why}", push.name)));
        }
        *told = runtime.config.pushes.iter().map(|push| push.model.clone()).collect();
        for (model, texts) in texts {
            let noted = match texts.is_empty() {
                true => conclude::clear(&self.sweeper, &model, ALARM).await,
                false => conclude::raise(&self.sweeper, &model, ALARM, &texts.join("; ")).await,
            };
            if let Err(error) = noted {
                warn!(%model, %error, "failed to note an alarm; trying again with the next change");
            }
        }
    }
}
