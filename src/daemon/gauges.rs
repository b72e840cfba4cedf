//! Standings and alarms as metrics: set when they change, and from the store when the process begins.

use std::collections::{BTreeMap, BTreeSet};

use tracing::info;

use super::runtime::Runtime;
use super::steps;
use super::sweeper::{SweepError, Sweeper};
use crate::curation::{AlarmKind, ModelState};
use crate::domain::ModelId;
use crate::metrics::Metrics;
use crate::store::{AlarmKey, StoreError};

/// Sets the standings of a model's configured endpoints; the others have none any more.
pub(super) fn show_standings(metrics: &Metrics, model: &ModelId, state: &ModelState) {
    for (id, endpoint) in &state.endpoints {
        if endpoint.configured {
            metrics.set_standing(model, id, endpoint.standing);
        } else {
            metrics.forget_standing(model, id);
        }
    }
}

/// Sets the alarms that steps govern, as the store has them.
pub(super) async fn show_stored_alarms(sweeper: &Sweeper, model: &ModelId) -> Result<(), StoreError> {
    let open = sweeper.store.open_alarms().await?;
    for kind in AlarmKind::ALL {
        let of = open.iter().filter(|a| a.key.model.as_ref() == Some(model) && a.key.kind == kind.name());
        sweeper.metrics.set_alarms(model, kind.name(), of.count());
    }
    Ok(())
}

/// Forgets the lists of models and capabilities that are not configured any more: they are withdrawn, and nothing renews them.
pub(super) fn forget_removed(sweeper: &Sweeper, runtime: &Runtime) {
    for list in sweeper.board.all() {
        if runtime.config.relays.iter().any(|relay| relay.models.contains(&list.model)) {
            continue;
        }
        let model = runtime.models.get(&list.model);
        let is_wanted = |name| model.is_some_and(|model| model.config.policy.capabilities.contains(name));
        if model.is_none() || !list.capability.as_ref().is_none_or(is_wanted) {
            sweeper.metrics.forget_list(&list.model, list.capability.as_ref());
        }
    }
}

/// Closes the alarms of models that are not configured any more: nobody looks after them.
pub(super) async fn close_alarms_of_removed(sweeper: &Sweeper, runtime: &Runtime) -> Result<(), StoreError> {
    let relayed = |model: &ModelId| runtime.config.relays.iter().any(|relay| relay.models.contains(model));
    let is_gone = |model: &ModelId| !runtime.models.contains_key(model) && !relayed(model);
    let removed = |key: &AlarmKey| key.model.as_ref().is_some_and(is_gone);
    let open = sweeper.store.open_alarms().await?.into_iter().map(|alarm| alarm.key);
    let keys: Vec<AlarmKey> = open.filter(removed).collect();
    if keys.is_empty() {
        return Ok(());
    }
    sweeper.store.set_alarms(&[], &keys, sweeper.clock.now_us()).await?;
    for key in &keys {
        if let Some(model) = &key.model {
            info!(%model, kind = key.kind, "alarm closed: the model is not configured any more");
            sweeper.metrics.set_alarms(model, &key.kind, 0);
        }
    }
    Ok(())
}

/// Sets all of it as the store has it: a process that begins knows of nothing else.
pub(super) async fn seed(sweeper: &Sweeper, runtime: &Runtime) -> Result<(), SweepError> {
    forget_removed(sweeper, runtime);
    for model in runtime.models.keys() {
        show_standings(&sweeper.metrics, model, &steps::state(&sweeper.store, model).await?);
    }
    let mut open: BTreeMap<(ModelId, String), BTreeSet<(String, String)>> = BTreeMap::new();
    for alarm in sweeper.store.open_alarms().await? {
        let endpoint = alarm.key.endpoint.map(|e| e.to_string()).unwrap_or_default();
        if let Some(model) = alarm.key.model {
            let capability = alarm.key.capability.map(|c| c.to_string()).unwrap_or_default();
            open.entry((model, alarm.key.kind)).or_default().insert((capability, endpoint));
        }
    }
    for ((model, kind), endpoints) in open {
        sweeper.metrics.set_alarms(&model, &kind, endpoints.len());
    }
    Ok(())
}
