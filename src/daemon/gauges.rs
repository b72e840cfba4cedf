//! Standings and alarms as metrics: set when they change, and from the store when the process begins.

use std::collections::{BTreeMap, BTreeSet};

use super::runtime::Runtime;
use super::steps;
use super::sweeper::{SweepError, Sweeper};
use crate::curation::{AlarmKind, ModelState};
use crate::domain::ModelId;
use crate::metrics::Metrics;
use crate::store::StoreError;

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

/// Forgets the lists of models that are not configured any more: they are withdrawn, and nothing renews them.
pub(super) fn forget_removed(sweeper: &Sweeper, runtime: &Runtime) {
    for list in sweeper.board.all() {
        if !runtime.models.contains_key(&list.model) {
            sweeper.metrics.forget_list(&list.model);
        }
    }
}

/// Sets all of it as the store has it: a process that begins knows of nothing else.
pub(super) async fn seed(sweeper: &Sweeper, runtime: &Runtime) -> Result<(), SweepError> {
    forget_removed(sweeper, runtime);
    for model in runtime.models.keys() {
        show_standings(&sweeper.metrics, model, &steps::state(&sweeper.store, model).await?);
    }
    let mut open: BTreeMap<(ModelId, String), BTreeSet<String>> = BTreeMap::new();
    for alarm in sweeper.store.open_alarms().await? {
        let endpoint = alarm.key.endpoint.map(|e| e.to_string()).unwrap_or_default();
        if let Some(model) = alarm.key.model {
            open.entry((model, alarm.key.kind)).or_default().insert(endpoint);
        }
    }
    for ((model, kind), endpoints) in open {
        sweeper.metrics.set_alarms(&model, &kind, endpoints.len());
    }
    Ok(())
}
