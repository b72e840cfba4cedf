//! What lies ahead of a model, for people: explanations of its endpoints. Reads; changes nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::runtime::{ModelRuntime, Runtime};
use super::steps;
use super::sweeper::SweepError;
use crate::curation::forecast::Tags;
use crate::curation::{self, Base, Explanation, ModelState, Scene, Tagged};
use crate::domain::{Allowlist, Capability, CaseId, EndpointId, Micros, ModelId, Policy, SuiteName};
use crate::store::Store;

/// A model's state in line with the configuration, and the rhythm in which it is swept.
pub(super) struct Ahead {
    pub(super) state: ModelState,
    pub(super) policy: Policy,
    pub(super) order: Vec<EndpointId>,
    pub(super) sizes: BTreeMap<SuiteName, u32>,
    pub(super) now_us: Micros,
    pub(super) sweeps_per_year: Option<f64>,
    /// How many cases carry the tags of the model's capabilities.
    pub(super) tags: Tags,
    /// Of a capability: how many cases of each suite carry its tag.
    tagged: Option<BTreeMap<SuiteName, u32>>,
}

impl Ahead {
    /// Of a stored state. What the configuration has changed since is taken over here only; the next sweep stores it.
    pub(super) fn of(runtime: &Runtime, model: &ModelRuntime, state: &ModelState, now_us: Micros) -> Ahead {
        let setting = steps::setting(runtime, model);
        let order: Vec<EndpointId> = setting.endpoints.iter().map(|e| e.id.clone()).collect();
        let (state, _) = curation::sync_endpoints(state, &order, setting.reference.as_ref(), now_us);
        let (mut state, _) = curation::sync_suites(&state, &setting.suites, now_us);
        // The end of the next sweep will tell of it.
        let _ = curation::align_margins(&mut state, &setting.policy, now_us);
        let lists = setting.capabilities.keys();
        let lists = lists.filter_map(|c| {
            let mut of_list = curation::capability_state(&state, &setting, c, now_us)?;
            let _ = curation::align_margins(&mut of_list, &setting.policy, now_us);
            Some((c.clone(), of_list))
        });
        state.capabilities = lists.collect();
        let tags =
            setting.capabilities.iter().map(|(capability, tagged)| (capability.clone(), counts(tagged))).collect();
        let size = |name: &SuiteName| runtime.drawers.get(name).map(|d| d.suite().cases.len());
        let sizes = setting.suites.keys().filter_map(|n| Some((n.clone(), u32::try_from(size(n)?).ok()?))).collect();
        let sweeps_per_year = Some(runtime.sweeps_per_year(&model.config, now_us)).filter(|n| *n > 0.0);
        Ahead { state, policy: setting.policy, order, sizes, now_us, sweeps_per_year, tags, tagged: None }
    }

    /// The same of one of the model's capabilities; `None` when its policy does not ask for it.
    pub(super) fn of_capability(self, capability: &Capability) -> Option<Ahead> {
        let state = self.state.capabilities.get(capability)?.clone();
        let tagged = self.tags.get(capability)?.clone();
        Some(Ahead { state, tagged: Some(tagged), ..self })
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            state: &self.state,
            policy: &self.policy,
            order: &self.order,
            sizes: &self.sizes,
            now_us: self.now_us,
            sweeps_per_year: self.sweeps_per_year,
            tagged: self.tagged.as_ref(),
        }
    }
}

/// How many cases of each suite carry a tag.
fn counts(tagged: &Tagged) -> BTreeMap<SuiteName, u32> {
    let count = |cases: &Vec<CaseId>| u32::try_from(cases.len()).unwrap_or(u32::MAX);
    tagged.iter().map(|(suite, cases)| (suite.clone(), count(cases))).collect()
}

/// A model's endpoints, explained.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// The model.
    pub model: ModelId,
    /// The capability whose list is explained; `null`: the model's own.
    pub capability: Option<Capability>,
    /// Sweeps a day by its schedules; `null` without one.
    pub sweeps_per_day: Option<f64>,
    /// Revision of the list in force.
    pub revision: Option<u64>,
    /// The endpoints: listed ones in routing order, then the others in configuration order.
    pub endpoints: Vec<ExplainedEndpoint>,
}

/// One endpoint: its place on the list, and why.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedEndpoint {
    /// Its place in routing order; `null`: not listed.
    pub rank: Option<u32>,
    /// Its weight.
    pub weight: Option<u32>,
    /// All of it in one line.
    pub explanation: String,
    /// The same in parts.
    #[serde(flatten)]
    pub parts: Explanation,
}

/// Explains a model's endpoints, or one of them, on its own list or on that of a capability. Without a store nothing has been measured yet.
///
/// # Errors
/// [`SweepError`] when the stored state cannot be read.
pub async fn explained(
    store: Option<&Store>,
    runtime: &Runtime,
    model: &ModelRuntime,
    (only, capability): (Option<&EndpointId>, Option<&Capability>),
    now_us: Micros,
) -> Result<Explained, SweepError> {
    let base = match store {
        Some(store) => steps::base(store, &model.config.id).await?,
        None => Base::default(),
    };
    let ahead = Ahead::of(runtime, model, &base.state, now_us);
    let (ahead, list) = match capability {
        None => (ahead, base.list),
        Some(capability) => {
            let unknown = || SweepError::State {
                model: model.config.id.clone(),
                reason: format!("its policy does not ask for capability {capability}"),
            };
            let list = base.lists.get(capability).cloned();
            (ahead.of_capability(capability).ok_or_else(unknown)?, list)
        }
    };
    let scene = ahead.scene();
    let entry = |id: &EndpointId| list.as_ref().and_then(|l| l.providers.iter().find(|p| p.id == *id));
    let mut endpoints: Vec<ExplainedEndpoint> = ahead
        .order
        .iter()
        .filter(|id| only.is_none_or(|only| only == *id))
        .filter_map(|id| {
            let parts = curation::explain(&scene, id)?;
            let entry = entry(id);
            let (rank, weight) = (entry.map(|e| e.rank), entry.map(|e| e.weight));
            Some(ExplainedEndpoint { rank, weight, explanation: parts.sentence(), parts })
        })
        .collect();
    endpoints.sort_by_key(|e| e.rank.unwrap_or(u32::MAX));
    Ok(Explained {
        model: model.config.id.clone(),
        capability: capability.cloned(),
        sweeps_per_day: scene.sweeps_per_day(),
        revision: list.map(|l| l.version),
        endpoints,
    })
}

/// A model's state and list, as far as there is a store.
pub(super) async fn stored(
    store: Option<&Store>,
    model: &ModelId,
) -> Result<(ModelState, Option<Allowlist>), SweepError> {
    let Some(store) = store else { return Ok((ModelState::default(), None)) };
    let base = steps::base(store, model).await?;
    Ok((base.state, base.list))
}
