//! What a valid configuration becomes: clients, limits, suites and timetables. Replaced whole on reload.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tracing::warn;

use super::relay;
use super::schedule::Timetable;
use crate::clock::Clock;
use crate::config::{Config, ExecConfig, JudgeConfig, ModelConfig, ScheduleConfig};
use crate::diagnostics::Diagnostics;
use crate::domain::jury::JudgeId;
use crate::domain::probes::is_probe;
use crate::domain::{Endpoint, EndpointId, ModelId, Price, Provider, Suite, SuiteName};
use crate::provider::{Client, ClientError, EndpointLimiter};
use crate::runner::{JudgeLane, JudgingProgram, Lane, Programs, is_endpoint};
use crate::scoring::judges_of;
use crate::signing::{KeyError, KeyRing};
use crate::suites::{self, DrawError, Drawer};

/// Reads a config file. Of a wrong one the suites are read as well, so that all there is to mend is told at once; those
/// of a right one are [`Runtime::build`]'s.
///
/// # Errors
/// All problems of the config and of its suites.
pub fn read_config(path: &Path) -> Result<Config, Diagnostics> {
    let refused = match Config::read(path) {
        Ok(config) => return Ok(config),
        Err(refused) => refused,
    };
    let mut problems = refused.problems.clone();
    if refused.names_suites() {
        problems.0.extend(match suites::load_all(&refused.suites) {
            Ok(known) => refused.check_suites(&known.iter().map(|s| s.name.clone()).collect::<Vec<_>>()).0,
            Err(broken) => broken.0,
        });
    }
    problems.into_result(()).and_then(|()| Err(refused.problems))
}

/// Why a configuration that reads well cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Suites do not load, or the config names unknown ones.
    #[error("{0}")]
    Files(#[from] Diagnostics),
    /// A suite's templates do not compile.
    #[error("failed to prepare suite {suite}: {source}")]
    Suite {
        /// The suite.
        suite: SuiteName,
        /// Why.
        source: DrawError,
    },
    /// A suite bears a name that is ours.
    #[error("the suite {suite} bears the name of the program's own prompts for fingerprints: give it another one")]
    Reserved {
        /// The suite.
        suite: SuiteName,
    },
    /// A suite would have an endpoint judged by itself.
    #[error(
        "suite {suite} asks {judge} to judge, and that is endpoint {endpoint} of model {model}, which the suite tests: name \
         another judge in the suite, or leave the suite out of that model's schedules"
    )]
    JudgesItself {
        /// The suite.
        suite: SuiteName,
        /// The judge.
        judge: String,
        /// The model.
        model: ModelId,
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// A provider's client cannot be made.
    #[error("failed to prepare the client of provider {provider}: {source}")]
    Client {
        /// The provider.
        provider: String,
        /// Why.
        source: ClientError,
    },
    /// The private keys cannot be used.
    #[error("`[signing] keys`: {0}")]
    Keys(#[from] KeyError),
    /// The keys that a relay is to believe cannot be used.
    #[error("`[[relay]] keys_file`: {0}")]
    RelayKeys(String),
    /// A cron line is none (the config's check and the scheduler disagree).
    #[error("failed to read the cron line of schedule {name:?}: {reason}")]
    Cron {
        /// The schedule.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A model, its endpoints and the ways to them.
pub struct ModelRuntime {
    /// Its configuration.
    pub config: ModelConfig,
    /// By endpoint.
    pub lanes: BTreeMap<EndpointId, Lane>,
}

/// A schedule and its timetable.
pub struct ScheduleRuntime {
    /// Its configuration.
    pub config: ScheduleConfig,
    /// When it fires.
    pub timetable: Timetable,
}

/// Everything made from one version of the configuration.
pub struct Runtime {
    /// The configuration.
    pub config: Arc<Config>,
    /// Loaded suites, by name.
    pub drawers: BTreeMap<SuiteName, Arc<Drawer>>,
    /// The program's own prompts for fingerprints, by name: they are no suites.
    pub probes: BTreeMap<SuiteName, Arc<Drawer>>,
    /// Models, by id.
    pub models: BTreeMap<ModelId, Arc<ModelRuntime>>,
    /// Models that judge answers.
    pub judges: Arc<BTreeMap<JudgeId, JudgeLane>>,
    /// Programs that judge answers.
    pub programs: Arc<Programs>,
    /// Schedules, in file order.
    pub schedules: Vec<ScheduleRuntime>,
    /// The keys that sign what is published.
    pub keys: KeyRing,
    /// Sweeps per year of each model, counted when first asked for.
    per_year: BTreeMap<ModelId, OnceLock<f64>>,
}

impl Runtime {
    /// Loads the suites and prepares clients and timetables.
    ///
    /// # Errors
    /// [`RuntimeError`]; nothing is changed then.
    pub fn build(config: Config, clock: &Arc<dyn Clock>) -> Result<Runtime, RuntimeError> {
        Runtime::build_with(config, clock, None)
    }

    /// As [`Runtime::build`], in place of another: what was learnt and used up of limits that stay the same is kept.
    ///
    /// # Errors
    /// [`RuntimeError`]; nothing is changed then.
    pub fn build_after(config: Config, clock: &Arc<dyn Clock>, old: &Runtime) -> Result<Runtime, RuntimeError> {
        Runtime::build_with(config, clock, Some(old))
    }

    fn build_with(config: Config, clock: &Arc<dyn Clock>, old: Option<&Runtime>) -> Result<Runtime, RuntimeError> {
        let suites = suites::load_all(&config.suites)?;
        let names: Vec<SuiteName> = suites.iter().map(|s| s.name.clone()).collect();
        config.check_suites(&names).into_result(())?;
        if let Some(suite) = names.into_iter().find(is_probe) {
            return Err(RuntimeError::Reserved { suite });
        }
        let probes = suites::probes()?.into_iter().map(drawer).collect::<Result<_, _>>()?;
        let drawers = suites.into_iter().map(drawer).collect::<Result<_, _>>()?;
        let models = config
            .models
            .iter()
            .map(|m| Ok((m.id.clone(), Arc::new(model_runtime(m, clock, old)?))))
            .collect::<Result<_, RuntimeError>>()?;
        let schedules = config
            .schedules
            .iter()
            .map(|s| {
                let cron =
                    s.evaluator().map_err(|e| RuntimeError::Cron { name: s.name.clone(), reason: e.to_string() })?;
                let timetable = Timetable::new(&s.name, cron, s.timezone, s.jitter);
                Ok(ScheduleRuntime { config: s.clone(), timetable })
            })
            .collect::<Result<_, RuntimeError>>()?;
        let keys = config.signing.as_ref().map(KeyRing::read).transpose()?.unwrap_or_default();
        for path in config.relays.iter().filter_map(|relay| relay.keys_file.as_deref()) {
            relay::read_keys(path).map_err(RuntimeError::RelayKeys)?;
        }
        let per_year = config.models.iter().map(|m| (m.id.clone(), OnceLock::new())).collect();
        let judges = Arc::new(judges(&config, clock, old)?);
        let programs = Arc::new(programs(&config));
        let config = Arc::new(config);
        let runtime = Runtime { config, drawers, probes, models, judges, programs, schedules, keys, per_year };
        runtime.nobody_judges_itself()?;
        runtime.config.check_capabilities(|model| runtime.tags_of(model)).into_result(())?;
        Ok(runtime)
    }

    /// The prices of the judges that have one.
    #[must_use]
    pub fn judge_prices(&self) -> BTreeMap<JudgeId, Price> {
        self.judges.iter().filter_map(|(id, judge)| Some((id.clone(), judge.price?))).collect()
    }

    /// Refuses suites by which an endpoint would judge its own answers, as far as schedules say who is tested by what.
    /// What a command asks is checked when it is asked. A judge that is not configured is told in the log.
    fn nobody_judges_itself(&self) -> Result<(), RuntimeError> {
        for model in &self.config.models {
            for suite in self.suites_of(model) {
                let Some(drawer) = self.drawers.get(&suite) else { continue };
                let used: BTreeSet<JudgeId> =
                    drawer.suite().cases.iter().flat_map(|c| judges_of(&c.scorers)).map(|used| used.judge).collect();
                for judge in used {
                    let url = self.judges.get(&judge).map(|lane| &lane.client.provider().base_url);
                    if url.is_none() {
                        warn!(%suite, %judge, "the suite's judge is not configured: its cases stay unscored; see [[judge]]");
                    }
                    let mut reached = model.endpoints.iter().zip(&model.providers);
                    if let Some((endpoint, _)) = reached.find(|(e, provider)| is_endpoint(&judge, url, e, provider)) {
                        let (model, endpoint) = (model.id.clone(), endpoint.id.clone());
                        return Err(RuntimeError::JudgesItself { suite, judge: judge.to_string(), model, endpoint });
                    }
                }
            }
        }
        Ok(())
    }

    /// The tags of the cases by which a model is judged.
    fn tags_of(&self, model: &ModelConfig) -> BTreeSet<String> {
        let suites = self.suites_of(model).into_iter().filter_map(|name| self.drawers.get(&name));
        suites.flat_map(|drawer| &drawer.suite().cases).flat_map(|case| case.tags.iter().cloned()).collect()
    }

    /// Everything that a plan may name: suites and prompts for fingerprints.
    #[must_use]
    pub fn askable(&self) -> BTreeMap<SuiteName, Arc<Drawer>> {
        self.drawers.iter().chain(&self.probes).map(|(name, drawer)| (name.clone(), Arc::clone(drawer))).collect()
    }

    /// The loaded suites.
    pub fn suites(&self) -> impl Iterator<Item = &Arc<Suite>> + Clone {
        self.drawers.values().map(|d| d.suite())
    }

    /// The suites that judge a model: those of its schedules, or all that are asked by default when no schedule covers it.
    #[must_use]
    pub fn suites_of(&self, model: &ModelConfig) -> Vec<SuiteName> {
        let covering: Vec<&ScheduleConfig> =
            self.schedules.iter().map(|s| &s.config).filter(|s| s.covers_model(model)).collect();
        let suites = self.suites();
        let judging = suites.filter(|suite| {
            if covering.is_empty() { suite.by_default } else { covering.iter().any(|s| takes(s, suite)) }
        });
        judging.map(|suite| suite.name.clone()).collect()
    }

    /// The suites that a schedule asks; those that judge the model when there is no such schedule (any more).
    #[must_use]
    pub fn suites_of_schedule(&self, model: &ModelConfig, schedule: &str) -> Vec<SuiteName> {
        match self.schedules.iter().find(|s| s.config.name == schedule) {
            Some(schedule) => {
                self.suites().filter(|suite| takes(&schedule.config, suite)).map(|suite| suite.name.clone()).collect()
            }
            None => self.suites_of(model),
        }
    }

    /// Whether a schedule asks a suite.
    #[must_use]
    pub fn schedule_takes(&self, schedule: &ScheduleConfig, suite: &SuiteName) -> bool {
        self.drawers.get(suite).is_some_and(|drawer| takes(schedule, drawer.suite()))
    }

    /// Sweeps per year of a model by its schedules, counted over the 28 days (a year, if they hold none) after it is first
    /// asked for; 0 without a schedule.
    #[must_use]
    pub fn sweeps_per_year(&self, model: &ModelConfig, now_us: i64) -> f64 {
        let count = || {
            let rates = [28, 366].into_iter().map(|days| self.rate_over(model, now_us, days));
            rates.into_iter().find(|rate| *rate > 0.0).unwrap_or(0.0)
        };
        self.per_year.get(&model.id).map_or_else(count, |kept| *kept.get_or_init(count))
    }

    /// How many ticks of a model's schedules were due between two times, counted up to a hundred.
    #[must_use]
    pub fn ticks_due(&self, model: &ModelConfig, from_us: i64, to_us: i64) -> usize {
        const TICKS_MAX: usize = 100;
        let covering = self.schedules.iter().filter(|s| s.config.covers_model(model));
        covering.map(|s| s.timetable.due_between(from_us, to_us, TICKS_MAX)).sum()
    }

    fn rate_over(&self, model: &ModelConfig, now_us: i64, days: i64) -> f64 {
        const FIRES_MAX: usize = 100_000;
        let until_us = now_us + days * 86_400_000_000;
        let fires: usize = self
            .schedules
            .iter()
            .filter(|s| s.config.covers_model(model))
            .map(|s| s.timetable.between(now_us, until_us, FIRES_MAX))
            .sum();
        fires as f64 * 365.25 / days as f64
    }
}

fn takes(schedule: &ScheduleConfig, suite: &Suite) -> bool {
    schedule.covers_suite(&suite.name, suite.by_default)
}

fn drawer(suite: Arc<Suite>) -> Result<(SuiteName, Arc<Drawer>), RuntimeError> {
    let name = suite.name.clone();
    match Drawer::new(suite) {
        Ok(drawer) => Ok((name, Arc::new(drawer))),
        Err(source) => Err(RuntimeError::Suite { suite: name, source }),
    }
}

/// The programs that the config allows scorers to name.
#[must_use]
pub fn programs(config: &Config) -> Programs {
    let allowed = config.programs.iter().cloned();
    Programs::new(
        allowed
            .map(|ExecConfig { name, command, folder, time_limit, memory_bytes }| {
                (name, JudgingProgram { command, folder, time_limit, memory_bytes })
            })
            .collect(),
    )
}

fn judges(
    config: &Config,
    clock: &Arc<dyn Clock>,
    old: Option<&Runtime>,
) -> Result<BTreeMap<JudgeId, JudgeLane>, RuntimeError> {
    let lane = |judge: &JudgeConfig| {
        let client = Client::new(Arc::clone(&judge.provider), Arc::clone(clock))
            .map_err(|source| RuntimeError::Client { provider: judge.provider.id.to_string(), source })?;
        let before = old.and_then(|old| old.judges.get(&judge.id));
        let before = before.filter(|lane| lane.client.provider().limits == judge.provider.limits);
        let limiter = before.map_or_else(|| EndpointLimiter::new(judge.provider.limits), |lane| lane.limiter.clone());
        Ok((judge.id.clone(), JudgeLane { client: Arc::new(client), limiter, price: judge.price }))
    };
    config.judges.iter().map(lane).collect()
}

fn model_runtime(
    model: &ModelConfig,
    clock: &Arc<dyn Clock>,
    old: Option<&Runtime>,
) -> Result<ModelRuntime, RuntimeError> {
    let mut lanes = BTreeMap::new();
    for (endpoint, provider) in model.endpoints.iter().zip(&model.providers) {
        let client = Client::new(Arc::clone(provider), Arc::clone(clock))
            .map_err(|source| RuntimeError::Client { provider: provider.id.to_string(), source })?;
        let lane = Lane {
            endpoint: endpoint.clone(),
            client: Arc::new(client),
            limiter: old
                .and_then(|old| same_limiter(old, model, endpoint, provider))
                .unwrap_or_else(|| EndpointLimiter::new(provider.limits)),
            concurrency: provider.limits.concurrency,
        };
        lanes.insert(endpoint.id.clone(), lane);
    }
    Ok(ModelRuntime { config: model.clone(), lanes })
}

/// The endpoint's limiter of the configuration before, when it has the same provider and limits as then. A new one would
/// begin with full buckets and forget the provider's refusals.
fn same_limiter(
    old: &Runtime,
    model: &ModelConfig,
    endpoint: &Endpoint,
    provider: &Provider,
) -> Option<EndpointLimiter> {
    let old = old.models.get(&model.id)?;
    let (_, before) = old.config.endpoint(&endpoint.id)?;
    let same = before.id == provider.id && before.base_url == provider.base_url && before.limits == provider.limits;
    same.then(|| old.lanes.get(&endpoint.id).map(|lane| lane.limiter.clone())).flatten()
}
