//! Tells webhooks of decisions and alarms: in order, at least once, each event under one id.
//!
//! What is to be told stands in the outbox, written with what it is about; what was told is crossed off after the receiver
//! took it. Killed in between, the event is sent again under the same id. One process tells at a time, by a lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::owner;
use super::runtime::Runtime;
use super::sweeper::{Signals, Sweeper};
use crate::api::views;
use crate::config::WebhookConfig;
use crate::domain::ModelId;
use crate::publish::webhook::{self, Told};
use crate::store::{Alarm, AlarmKey, DeliveryOutcome, Event, EventKind, EventSubject, StoreError};

/// How often the outbox is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events of one look; the rest waits for the next.
const EVENTS_PER_LOOK: usize = 50;
/// A webhook's look ends after this long, so that the lease is renewed in time.
const LOOK_TIME_MAX: Duration = Duration::from_secs(10);
/// A claim on the telling holds for so many looks, each with its last try.
const LEASE_LOOKS: u32 = 2;
/// Name of that claim.
const LEASE: &str = "webhooks";
/// Pause before an event that was not taken is sent again; it doubles with every failure.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// Failures in a row from which on it is an alarm.
const ALARM_AFTER: u32 = 3;
/// Kind of that alarm.
const ALARM: &str = "webhook";

/// The task that tells webhooks.
#[derive(Clone)]
pub struct Webhooks {
    /// Store and clock.
    pub sweeper: Arc<Sweeper>,
    /// The current configuration.
    pub runtime: Arc<ArcSwap<Runtime>>,
    /// Ends the loop.
    pub signals: Signals,
}

/// How a webhook fares: failures in a row, and when it is tried again.
#[derive(Debug, Clone, Default)]
struct Failing {
    times: u32,
    until: Option<Instant>,
    why: String,
}

/// Notes from when on the webhooks of the configuration are told: before anything happens that they are to be told of.
pub(super) async fn begin(sweeper: &Sweeper, runtime: &Runtime) -> Result<(), StoreError> {
    for webhook in &runtime.config.webhooks {
        since(sweeper, webhook).await?;
    }
    Ok(())
}

/// From when on a webhook is told: from when it was first configured.
async fn since(sweeper: &Sweeper, webhook: &WebhookConfig) -> Result<i64, StoreError> {
    let key = format!("webhook:{}:since", webhook.name);
    if let Some(known) = sweeper.store.fact(&key).await?.and_then(|text| text.parse().ok()) {
        return Ok(known);
    }
    let now_us = sweeper.clock.now_us();
    sweeper.store.set_fact(&key, &now_us.to_string()).await?;
    Ok(now_us)
}

impl Webhooks {
    /// Runs until stopped.
    pub async fn run(self) {
        let http = match client() {
            Ok(http) => http,
            Err(error) => {
                warn!(%error, "no HTTP client for webhooks; trying again");
                return;
            }
        };
        let mut failing: BTreeMap<String, Failing> = BTreeMap::new();
        // Whether the alarm is open; an earlier run may have left it so.
        let mut alarmed = true;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.signals.stop.cancelled() => return,
            }
            let runtime = self.runtime.load_full();
            let webhooks = &runtime.config.webhooks;
            failing.retain(|name, _| webhooks.iter().any(|webhook| webhook.name == *name));
            if webhooks.is_empty() && !alarmed {
                continue;
            }
            if let Err(error) = self.look(&http, &runtime, &mut failing, &mut alarmed).await {
                debug!(%error, "the outbox cannot be read; trying again");
            }
        }
    }

    async fn look(
        &self,
        http: &reqwest::Client,
        runtime: &Runtime,
        failing: &mut BTreeMap<String, Failing>,
        alarmed: &mut bool,
    ) -> Result<(), StoreError> {
        if !self.is_due(runtime, failing).await? {
            return self.tell_of_failures(failing, alarmed).await;
        }
        if !self.claim(runtime).await? {
            return Ok(());
        }
        let looks = runtime.config.webhooks.iter().map(|webhook| {
            let before = failing.get(&webhook.name).cloned().unwrap_or_default();
            async move {
                let after = self.tell(http, runtime, webhook, before).await;
                (webhook.name.clone(), after)
            }
        });
        for (name, after) in join_all(looks).await {
            failing.insert(name, after?);
        }
        self.tell_of_failures(failing, alarmed).await
    }

    /// Whether this process is the one that tells. A process of this machine that was killed holds nothing.
    async fn claim(&self, runtime: &Runtime) -> Result<bool, StoreError> {
        let (store, owner) = (&self.sweeper.store, &self.sweeper.owner);
        let longest = runtime.config.webhooks.iter().map(|webhook| webhook.timeout).max().unwrap_or_default();
        let now_us = self.sweeper.clock.now_us();
        let until_us =
            now_us + i64::try_from(((LOOK_TIME_MAX + longest) * LEASE_LOOKS).as_micros()).unwrap_or(i64::MAX / 2);
        match store.lease(LEASE, owner, now_us, until_us).await? {
            None => Ok(true),
            Some(holder) if owner::has_ended(&holder) => store.take_over_lease(LEASE, owner, until_us, &holder).await,
            Some(_) => Ok(false),
        }
    }

    /// Whether any webhook has something to be told and is not waiting after a failure. Only reads: most looks end here.
    async fn is_due(&self, runtime: &Runtime, failing: &BTreeMap<String, Failing>) -> Result<bool, StoreError> {
        for webhook in &runtime.config.webhooks {
            let until = failing.get(&webhook.name).and_then(|failing| failing.until);
            let waits = until.is_some_and(|until| Instant::now() < until);
            let since_us = since(&self.sweeper, webhook).await?;
            if !waits && !self.sweeper.store.undelivered(&webhook.name, since_us, 1).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends what a webhook has not been told, oldest first, up to the first that it does not take.
    async fn tell(
        &self,
        http: &reqwest::Client,
        runtime: &Runtime,
        webhook: &WebhookConfig,
        before: Failing,
    ) -> Result<Failing, StoreError> {
        if before.until.is_some_and(|until| Instant::now() < until) {
            return Ok(before);
        }
        let store = &self.sweeper.store;
        let begun = Instant::now();
        let since_us = since(&self.sweeper, webhook).await?;
        let mut failing = before;
        for event in store.undelivered(&webhook.name, since_us, EVENTS_PER_LOOK).await? {
            let now_us = self.sweeper.clock.now_us();
            let outcome = if !wants(runtime, webhook, &event) {
                DeliveryOutcome::Skipped
            } else if now_us - event.at_us > i64::try_from(webhook.give_up.as_micros()).unwrap_or(i64::MAX) {
                warn!(webhook = webhook.name, event = event.id, "given up: the webhook did not take it in time");
                DeliveryOutcome::GivenUp
            } else {
                match send(http, webhook, &event, now_us).await {
                    Ok(()) => DeliveryOutcome::Delivered,
                    Err(why) => return Ok(failed(webhook, failing, why)),
                }
            };
            store.delivered(&webhook.name, &event.id, outcome, now_us).await?;
            if outcome == DeliveryOutcome::Delivered {
                if failing.times > 0 {
                    info!(webhook = webhook.name, "the webhook takes events again");
                }
                failing = Failing::default();
            }
            if begun.elapsed() > LOOK_TIME_MAX || self.signals.stop.is_cancelled() {
                break;
            }
        }
        Ok(failing)
    }

    /// One alarm for all webhooks that take nothing.
    async fn tell_of_failures(
        &self,
        failing: &BTreeMap<String, Failing>,
        alarmed: &mut bool,
    ) -> Result<(), StoreError> {
        let bad: Vec<String> = (failing.iter())
            .filter(|(_, failing)| failing.times >= ALARM_AFTER)
            .map(|(name, failing)| format!("{name}: {}", failing.why))
            .collect();
        let key = AlarmKey { model: None, endpoint: None, capability: None, kind: ALARM.to_owned() };
        let now_us = self.sweeper.clock.now_us();
        if bad.is_empty() {
            if *alarmed {
                self.sweeper.store.set_alarms(&[], &[key], now_us).await?;
                *alarmed = false;
            }
            return Ok(());
        }
        if *alarmed && self.sweeper.store.open_alarms().await?.iter().any(|alarm| alarm.key == key) {
            return Ok(());
        }
        let text = format!("webhooks that do not take their events: {}", bad.join("; "));
        let id = self.sweeper.ids.uuid(now_us);
        let alarm = Alarm { id, key, text, opened_at_us: now_us, closed_at_us: None };
        self.sweeper.store.set_alarms(&[alarm], &[], now_us).await?;
        *alarmed = true;
        Ok(())
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        // What is told, is told to the address of the configuration and to no other.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("exactod/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn failed(webhook: &WebhookConfig, before: Failing, why: String) -> Failing {
    let times = before.times.saturating_add(1);
    let pause = RETRY_FIRST.saturating_mul(1 << before.times.min(16)).min(RETRY_MAX);
    warn!(webhook = webhook.name, why, times, retry_s = pause.as_secs(), "the webhook did not take an event");
    Failing { times, until: Some(Instant::now() + pause), why }
}

fn model_of(event: &Event) -> Option<&ModelId> {
    match &event.subject {
        EventSubject::Decision(decision) => Some(&decision.model),
        EventSubject::Alarm(alarm) => alarm.key.model.as_ref(),
    }
}

fn wants(runtime: &Runtime, webhook: &WebhookConfig, event: &Event) -> bool {
    webhook.events.iter().any(|name| name == event.kind.name())
        && webhook.covers(&runtime.config.models, model_of(event))
}

/// Sends an event; why it was not taken. The address is not part of the words: it may hold a key.
async fn send(http: &reqwest::Client, webhook: &WebhookConfig, event: &Event, now_us: i64) -> Result<(), String> {
    let told = told(event);
    let body = match webhook.form.as_str() {
        "slack" => webhook::slack_body(&told),
        _ => webhook::json_body(&event.id, event.kind.name(), event.at_us, &told),
    };
    let timestamp_s = now_us.div_euclid(1_000_000);
    let mut request = http
        .post(webhook.url.expose_secret())
        .timeout(webhook.timeout)
        .header("content-type", "application/json")
        .header(webhook::ID_HEADER, &event.id)
        .header(webhook::TIMESTAMP_HEADER, timestamp_s);
    if let Some(secret) = &webhook.secret {
        let signature = webhook::sign(secret, &event.id, timestamp_s, &body);
        request = request.header(webhook::SIGNATURE_HEADER, signature);
    }
    match request.body(body).send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("it answered {}", answer.status())),
        Err(error) if error.is_timeout() => Err(format!("no answer within {} s", webhook.timeout.as_secs_f64())),
        Err(error) if error.is_connect() => Err("it cannot be connected to".to_owned()),
        Err(error) => Err(error.without_url().to_string()),
    }
}

fn told(event: &Event) -> Told<'_> {
    match &event.subject {
        EventSubject::Decision(decision) => Told::Decision(decision),
        EventSubject::Alarm(alarm) => {
            let key = &alarm.key;
            let about = [
                key.model.as_ref().map(ToString::to_string),
                key.capability.as_ref().map(ToString::to_string),
                key.endpoint.as_ref().map(ToString::to_string),
            ];
            Told::Alarm {
                kind: &key.kind,
                about: about.into_iter().flatten().collect::<Vec<_>>().join(" "),
                text: &alarm.text,
                closed: event.kind == EventKind::AlarmClosed,
                view: views::alarm(alarm),
            }
        }
    }
}
