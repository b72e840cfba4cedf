//! What the API shows of curation and report, which it may not reach itself.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::conclude;
use super::live;
use super::operate::Desk;
use super::outlook;
use super::pairs;
use super::runtime::Runtime;
use super::steps;
use super::sweeper::Sweeper;
use crate::api::{ApiSetup, ApiState, EndpointView, ScorecardSource, StandingsView, SuiteInfo, SweepCommand};
use crate::curation;
use crate::domain::{Capability, Micros, ModelId, Scorecard};
use crate::live::Intake;
use crate::report;

/// Reads standings and scorecards for the API.
struct Views {
    sweeper: Arc<Sweeper>,
    runtime: Arc<ArcSwap<Runtime>>,
}

impl StandingsView for Views {
    fn of(&self, model: ModelId, capability: Option<Capability>) -> BoxFuture<'_, Result<Vec<EndpointView>, String>> {
        Box::pin(async move {
            let runtime = self.runtime.load_full();
            let Some(configured) = runtime.models.get(&model) else { return Ok(Vec::new()) };
            let state = steps::state(&self.sweeper.store, &model).await.map_err(|e| e.to_string())?;
            let policy = &configured.config.policy;
            let ahead = outlook::Ahead::of(&runtime, configured, &state, self.sweeper.clock.now_us());
            // What a capability has not taken over from the configuration yet, the next sweep gives it.
            let Some((state, ahead)) = (match capability {
                None => Some((state, ahead)),
                Some(capability) => ahead.of_capability(&capability).map(|a| (a.state.clone(), a)),
            }) else {
                return Ok(Vec::new());
            };
            let view = |(id, endpoint): (&crate::domain::EndpointId, &curation::EndpointState)| EndpointView {
                id: id.clone(),
                standing: endpoint.standing,
                override_: endpoint.override_,
                since_us: endpoint.since_us,
                reason: reason(&state, policy, id, endpoint),
                evidence: with_explanation(curation::evidence(&state, policy, endpoint), &ahead, id),
            };
            Ok(state.endpoints.iter().filter(|(_, e)| e.configured).map(view).collect())
        })
    }
}

/// The evidence with what `exactod explain` says about it.
fn with_explanation(mut evidence: Value, ahead: &outlook::Ahead, id: &crate::domain::EndpointId) -> Value {
    if let (Some(explanation), Value::Object(map)) = (curation::explain(&ahead.scene(), id), &mut evidence) {
        map.insert("explanation".to_owned(), json!(explanation.sentence()));
        map.insert("explained".to_owned(), json!(explanation));
    }
    evidence
}

/// Why it stands where it stands: the sentence of its decision, or how far an undecided one is.
fn reason(
    state: &curation::ModelState,
    policy: &crate::domain::Policy,
    id: &crate::domain::EndpointId,
    endpoint: &curation::EndpointState,
) -> String {
    let now = || curation::explain_now(state, policy, id);
    if endpoint.standing.is_decided() {
        endpoint.last_reason.clone()
    } else {
        now().unwrap_or_else(|| endpoint.last_reason.clone())
    }
}

impl ScorecardSource for Views {
    fn of(&self, model: ModelId, from_us: Micros, to_us: Micros) -> BoxFuture<'_, Result<Vec<Scorecard>, String>> {
        Box::pin(async move {
            let standings = conclude::standings(&self.sweeper, &model).await.map_err(|e| e.to_string())?;
            let runtime = self.runtime.load_full();
            let reference = runtime.models.get(&model).and_then(|model| model.config.reference.clone());
            let notes = report::SuiteNotes::of(runtime.suites(), reference);
            let window = (from_us, to_us);
            let cards = report::scorecards(&self.sweeper.store, &model, &standings, &notes, window).await;
            let mut cards = cards.map_err(|e| e.to_string())?;
            let found = pairs::pair_cards(&self.sweeper.store, &model, (runtime.suites(), &cards), window).await;
            pairs::add_to(&mut cards, found.map_err(|e| e.to_string())?);
            Ok(cards)
        })
    }
}

/// The API's state over a running service.
pub(super) fn api_state(
    sweeper: &Arc<Sweeper>,
    runtime: &Arc<ArcSwap<Runtime>>,
    mut reloaded: watch::Receiver<u64>,
    sweeps: mpsc::Sender<SweepCommand>,
) -> ApiState {
    let setup = Arc::new(ArcSwap::from_pointee(api_setup(&runtime.load(), &sweeper.intake)));
    let views = Arc::new(Views { sweeper: Arc::clone(sweeper), runtime: Arc::clone(runtime) });
    tokio::spawn({
        let (setup, runtime, board) = (Arc::clone(&setup), Arc::clone(runtime), Arc::clone(&sweeper.board));
        let intake = Arc::clone(&sweeper.intake);
        async move {
            // Ends with the reloader, which holds the other side.
            while reloaded.changed().await.is_ok() {
                setup.store(Arc::new(api_setup(&runtime.load(), &intake)));
                board.touch();
            }
        }
    });
    ApiState {
        store: sweeper.store.clone(),
        writer: sweeper.writer.clone(),
        board: Arc::clone(&sweeper.board),
        metrics: Arc::clone(&sweeper.metrics),
        progress: Arc::clone(&sweeper.progress),
        intake: Arc::clone(&sweeper.intake),
        clock: Arc::clone(&sweeper.clock),
        // Who knows the listener and the tasks says otherwise.
        loopback_only: false,
        ready: watch::channel(false).1,
        setup,
        standings: Arc::clone(&views) as Arc<dyn StandingsView>,
        scorecards: views,
        stopping: tokio_util::sync::CancellationToken::new(),
        operators: Arc::new(Desk { sweeper: Arc::clone(sweeper), runtime: Arc::clone(runtime) }),
        sweeps,
    }
}

fn api_setup(runtime: &Runtime, intake: &Intake) -> ApiSetup {
    let suite = |s: &Arc<crate::domain::Suite>| SuiteInfo {
        name: s.name.clone(),
        revision: s.revision.clone(),
        digest: s.digest.clone(),
        cases: s.cases.len(),
    };
    let relays = runtime.config.relays.iter();
    let relayed = relays.flat_map(|relay| relay.models.iter().map(|model| (model.clone(), relay.from.to_string())));
    ApiSetup {
        models: runtime.config.models.clone(),
        server: runtime.config.server.clone(),
        relayed: relayed.collect(),
        directory: Arc::new(live::directory(intake, &runtime.config.models)),
        suites: runtime.suites().map(suite).collect(),
    }
}
