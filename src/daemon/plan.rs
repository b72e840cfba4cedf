//! How long and how much: what the coming sweeps of the models will ask, take and cost. Reads; changes nothing.
//!
//! The sweeps come from the code that plans them (`curation::forecast`); the worst case from the one that reserves it
//! (`runner::WorstCase`); what is expected from the attempts of the last seven days.

mod fingerprints;
mod money;
mod pace;

use std::collections::BTreeMap;

use serde::Serialize;

pub use fingerprints::FingerprintRow;
use money::budget_row;
pub use pace::{AtPace, Limit};

use super::budget;
use super::onboarding::Pace;
use super::outlook::{Ahead, stored};
use super::runtime::{ModelRuntime, Runtime};
use super::sweeper::SweepError;
use super::ticks_ahead;
use crate::config::Budget;
use crate::curation::forecast::{self, Cases, FAILING_TYPICAL, Reached, Tags};
use crate::curation::{ModelState, Scene};
use crate::domain::{
    Allowlist, BudgetedEndpoint, Capability, EndpointId, Micros, ModelId, Price, Standing, SuiteName, SweepId,
    SweepKind,
};
use crate::runner::{PlanInput, SuiteBudget, WorstCase, build_plan};
use crate::store::{Store, StoreError};

const NANO: f64 = 1e9;
/// Trailing attempts that count.
const WINDOW_US: i64 = 7 * 86_400_000_000;
/// Days of a month.
const DAYS_PER_MONTH: f64 = 365.25 / 12.0;
/// Parts of answer and prompt tokens in the price of a million mixed tokens, as in ranking by price.
const MIX: (f64, f64) = (0.75, 0.25);
/// Draws of the estimate; those of a sweep differ and cost about the same.
const SEED: &str = "00000000000000000000000000000001";
/// Seconds of an answer while nothing was measured.
const ANSWER_S_DEFAULT: f64 = 2.0;

/// Requests with their tokens and money.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Load {
    /// Requests, retries not counted.
    pub requests: u64,
    /// Prompt and answer tokens expected; `null`: nothing was measured yet.
    pub tokens: Option<u64>,
    /// Worst case, in US dollars: what is reserved.
    pub worst_usd: f64,
    /// Expected, in US dollars; `null`: nothing was measured yet.
    pub expected_usd: Option<f64>,
}

/// One schedule that covers a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleRow {
    /// Its name.
    pub name: String,
    /// Its cron line.
    pub cron: String,
    /// Its time zone.
    pub timezone: String,
    /// Suites that it asks; empty: all.
    pub suites: Vec<SuiteName>,
}

/// One endpoint in the next sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointRow {
    /// The endpoint.
    pub id: EndpointId,
    /// Where it stands.
    pub standing: Standing,
    /// It is an anchor of the sweep.
    pub anchor: bool,
    /// Cases of each suite in the next sweep.
    pub cases: BTreeMap<SuiteName, u64>,
    /// All of them.
    #[serde(flatten)]
    pub load: Load,
    /// It has no price: its money is not counted.
    pub free: bool,
}

/// How long until the undecided have a standing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UntilDecided {
    /// Endpoints that are Unknown or Provisional.
    pub endpoints: Vec<EndpointId>,
    /// Sweeps until all are decided, if each is as good as the anchors and fails as many cases as is usual; `null`: not
    /// within sight.
    pub sweeps: Option<u64>,
    /// Sweeps until none is Unknown any more, at the latest by the cap of cases.
    pub sweeps_at_most: Option<u64>,
    /// Days by the schedules.
    pub days: Option<f64>,
    /// Hours when sweeps follow each other (`exactod sweep --until-decided`), as the providers' limits allow; `null` for a
    /// capability, which they do not wait for.
    pub hours_back_to_back: Option<f64>,
    /// By onboarding sweeps, from now on; `null`: `onboarding = "off"`, nobody is Unknown, or a capability's list, which
    /// they do not wait for.
    pub at_pace: Option<AtPace>,
    /// What it takes by the schedules.
    #[serde(flatten)]
    pub load: Load,
}

/// How long until the list of a capability has decided about everybody.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CapabilityPlan {
    /// The capability.
    pub capability: Capability,
    /// Cases that carry its tag, by suite.
    pub tagged: BTreeMap<SuiteName, u32>,
    /// The endpoints that are undecided there, whatever they are on the model's own list; `null`: there are none.
    pub undecided: Option<UntilDecided>,
    /// A new endpoint.
    pub onboarding: Option<UntilDecided>,
}

/// One model's plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelPlan {
    /// The model.
    pub model: ModelId,
    /// Its schedules.
    pub schedules: Vec<ScheduleRow>,
    /// Sweeps a day by all of them; `null` without one.
    pub sweeps_per_day: Option<f64>,
    /// Share of cases that an endpoint is taken to fail, from the ranking estimates.
    pub failing: f64,
    /// Who is asked how much in the next sweep.
    pub endpoints: Vec<EndpointRow>,
    /// The next sweep in all.
    pub next_sweep: Load,
    /// The dearest sweep in the worst case until the undecided have a standing; the next one when there are none.
    pub dearest_sweep: Load,
    /// The undecided; `null`: there are none.
    pub undecided: Option<UntilDecided>,
    /// A new endpoint, from its first sweep until it is decided, its anchors' further cases included.
    pub onboarding: Option<UntilDecided>,
    /// The lists of the capabilities that its policy asks for.
    pub capabilities: Vec<CapabilityPlan>,
    /// A month once all are decided and nothing changes; `null` without a schedule.
    pub month: Option<Load>,
    /// What routing by the list's weights costs.
    pub routing: Option<Routing>,
    /// The program's own prompts, which the figures above leave out; empty while fingerprints are off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fingerprints: Vec<FingerprintRow>,
}

/// What a million tokens (three prompt tokens to one answer token) cost by the list's weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Routing {
    /// By the weights of the list in force.
    pub usd_per_mtok: f64,
    /// If every listed endpoint had the same weight.
    pub even_usd_per_mtok: f64,
    /// The cheapest listed endpoint alone.
    pub cheapest_usd_per_mtok: f64,
}

/// Whether the money suffices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetRow {
    /// Cap of a UTC day.
    pub usd_per_day: Option<f64>,
    /// Cap of a sweep.
    pub usd_per_sweep: Option<f64>,
    /// Spent and held today.
    pub today_usd: f64,
    /// Every coming sweep fits whole.
    pub suffices: bool,
    /// What happens, and what to change.
    pub advice: Vec<String>,
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The models, in file order.
    pub models: Vec<ModelPlan>,
    /// The money.
    pub budget: BudgetRow,
}

/// Money and tokens of one case.
#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    worst_usd: f64,
    tokens: Option<f64>,
    expected_usd: Option<f64>,
}

/// What a case costs, by suite and endpoint.
type Units = BTreeMap<(SuiteName, EndpointId), Unit>;

/// Sums of trailing attempts.
#[derive(Debug, Clone, Copy, Default)]
struct Trail {
    attempts: u64,
    tokens_in: u64,
    tokens_out: u64,
    cost_nanousd: i64,
    took_us: i64,
}

type Trails = BTreeMap<(SuiteName, EndpointId), Trail>;

/// Plans the models, or one of them. Without a store nothing has been measured yet.
///
/// # Errors
/// [`SweepError`] when the store cannot be read.
pub async fn plan(
    store: Option<&Store>,
    runtime: &Runtime,
    only: Option<&ModelId>,
    now_us: Micros,
) -> Result<Plan, SweepError> {
    let today = match store {
        Some(store) => store.spend_since(budget::day_start(now_us)).await?,
        None => crate::store::Spend::default(),
    };
    let today_usd = (today.spent_nanousd + today.reserved_nanousd) as f64 / NANO;
    let mut ticks = match store {
        Some(store) => ticks_ahead::costs(store, runtime).await?,
        None => ticks_ahead::Costs::new(),
    };
    let mut models = Vec::new();
    for config in &runtime.config.models {
        let Some(model) = runtime.models.get(&config.id).filter(|_| only.is_none_or(|only| *only == config.id)) else {
            continue;
        };
        let (state, list) = stored(store, &config.id).await?;
        let trails = match store {
            Some(store) => trails(store, &config.id, now_us).await?,
            None => Trails::new(),
        };
        let ahead = Ahead::of(runtime, model, &state, now_us);
        models.push(model_plan(runtime, model, &ahead, list.as_ref(), (&trails, today_usd, &mut ticks)));
    }
    let budget = budget_row(&runtime.config.budget, &models, today_usd);
    Ok(Plan { models, budget })
}

async fn trails(store: &Store, model: &ModelId, now_us: Micros) -> Result<Trails, StoreError> {
    let mut out = Trails::new();
    let mut window = store.window(model, now_us - WINDOW_US, now_us);
    while let Some(page) = window.next().await? {
        for i in 0..page.len() {
            let trail = out.entry((page.suite[i].clone(), page.endpoint[i].clone())).or_default();
            trail.attempts += 1;
            trail.tokens_in += page.tokens_in[i].unwrap_or(0);
            trail.tokens_out += page.tokens_out[i].unwrap_or(0);
            trail.cost_nanousd += page.cost_nanousd[i];
            trail.took_us += page.total_us[i];
        }
    }
    Ok(out)
}

// ------------------------------------------------------------------------------------------------------ calculations

fn model_plan(
    runtime: &Runtime,
    model: &ModelRuntime,
    ahead: &Ahead,
    list: Option<&Allowlist>,
    (trails, today_usd, ticks): (&Trails, f64, &mut ticks_ahead::Costs),
) -> ModelPlan {
    let scene = ahead.scene();
    let units = units(runtime, model, &scene, trails);
    let failing = failing(&scene);
    let costs = Costs { units: &units, trails };
    let next = forecast::asked(&scene, 0);
    let next_sweep = load(&next.cases, &units);
    // The first sweep of a model is small: those after it are what the caps must hold.
    let course = forecast::course(&scene, &ahead.tags, failing);
    let dearer = |a: Load, b: Load| if b.worst_usd > a.worst_usd { b } else { a };
    let dearest_sweep = course.each.iter().map(|cases| load(cases, &units)).fold(next_sweep, dearer);
    // As long as the schedule has not swept it, a tick costs what is planned.
    ticks.entry(model.config.id.clone()).or_insert_with(|| tick_cost(&dearest_sweep));
    let rhythm = Rhythm {
        runtime,
        model,
        pace: Pace::of(runtime, model),
        budget: &runtime.config.budget,
        today_usd,
        failing,
        tags: &ahead.tags,
        ticks,
    };
    let row = |id: &EndpointId| {
        let cases: BTreeMap<SuiteName, u64> =
            next.cases.iter().map(|(suite, of)| (suite.clone(), of.get(id).copied().unwrap_or(0))).collect();
        let own: Cases = cases.iter().map(|(s, n)| (s.clone(), BTreeMap::from([(id.clone(), *n)]))).collect();
        EndpointRow {
            id: id.clone(),
            standing: ahead.state.endpoints.get(id).map_or(Standing::Unknown, |e| e.standing),
            anchor: next.anchors.contains(id),
            cases,
            load: load(&own, &units),
            free: model.config.endpoint(id).is_none_or(|(e, _)| e.price.is_none()),
        }
    };
    let newcomer = Newcomer::of(&rhythm, &scene);
    let covering = runtime.schedules.iter().map(|s| &s.config).filter(|s| s.covers_model(&model.config));
    ModelPlan {
        model: model.config.id.clone(),
        schedules: covering
            .map(|s| ScheduleRow {
                name: s.name.clone(),
                cron: s.cron.clone(),
                timezone: s.timezone.name().to_owned(),
                suites: s.suites.clone(),
            })
            .collect(),
        sweeps_per_day: scene.sweeps_per_day(),
        failing,
        endpoints: ahead.order.iter().map(row).collect(),
        next_sweep,
        dearest_sweep,
        undecided: undecided(&rhythm, &scene, &course, &costs),
        onboarding: newcomer.as_ref().map(|newcomer| newcomer.onboarding(&rhythm, &scene, &costs)),
        capabilities: capabilities(&rhythm, &scene, (&course, newcomer.as_ref()), &costs),
        month: month(&scene, &units),
        routing: list.and_then(|list| routing(model, list)),
        fingerprints: fingerprints::rows(runtime, model, &scene),
    }
}

/// Share of cases that the model's endpoints fail: that of its decided ones, or what is usual.
fn failing(scene: &Scene<'_>) -> f64 {
    let measured: Vec<f64> = scene
        .order
        .iter()
        .filter(|id| {
            scene.state.endpoints.get(*id).is_some_and(|e| {
                matches!(e.standing, Standing::Admitted | Standing::Suspect)
                    && e.suites.values().any(|s| s.ranking.count >= 100.0)
            })
        })
        .map(|id| 1.0 - scene.state.ranking(scene.policy, id))
        .collect();
    if measured.is_empty() {
        return FAILING_TYPICAL;
    }
    (measured.iter().sum::<f64>() / measured.len() as f64).clamp(0.001, 0.2)
}

/// Worst case and expectation of a case, by suite and endpoint. What an endpoint has not been asked yet takes as many
/// tokens as the others took, at its own price.
fn units(runtime: &Runtime, model: &ModelRuntime, scene: &Scene<'_>, trails: &Trails) -> Units {
    let tariffs = budget::tariffs(model);
    let mut out = Units::new();
    for (suite, size) in scene.sizes {
        let Some(drawer) = runtime.drawers.get(suite) else { continue };
        let everybody = scene.order.iter().map(|id| BudgetedEndpoint { id: id.clone(), cases: *size }).collect();
        let whole = build_plan(PlanInput {
            id: SweepId(uuid::Uuid::nil()),
            model: model.config.id.clone(),
            kind: SweepKind::Scheduled,
            ordinal: 1,
            seed: SEED.to_owned(),
            planned_at_us: scene.now_us,
            anchors: Vec::new(),
            suites: vec![SuiteBudget { suite: drawer.suite().clone(), cases: everybody, only: None, epochs: 1 }],
            aside: Vec::new(),
            gives_evidence: true,
            probes: Vec::new(),
        });
        let worst = WorstCase::with_judges(&whole, &runtime.drawers, &tariffs, &runtime.judge_prices());
        let known = trails.iter().filter(|((s, _), t)| s == suite && t.attempts > 0).map(|(_, t)| *t);
        let others = known.fold(Trail::default(), |a, b| Trail {
            attempts: a.attempts + b.attempts,
            tokens_in: a.tokens_in + b.tokens_in,
            tokens_out: a.tokens_out + b.tokens_out,
            cost_nanousd: a.cost_nanousd + b.cost_nanousd,
            took_us: a.took_us + b.took_us,
        });
        for id in scene.order {
            let mut own = whole.clone();
            own.suites.iter_mut().flat_map(|s| &mut s.endpoints).filter(|e| e.id != *id).for_each(|e| e.cases = 0);
            let worst_usd = worst.of_shorter(&own) as f64 / NANO / f64::from((*size).max(1));
            let price = model.config.endpoint(id).and_then(|(e, _)| e.price);
            let trail = trails.get(&(suite.clone(), id.clone())).filter(|t| t.attempts > 0);
            out.insert((suite.clone(), id.clone()), unit(worst_usd, price, trail, &others));
        }
    }
    out
}

fn unit(worst_usd: f64, price: Option<Price>, own: Option<&Trail>, others: &Trail) -> Unit {
    let per = |sum: f64, trail: &Trail| sum / trail.attempts as f64;
    let tokens = |t: &Trail| per((t.tokens_in + t.tokens_out) as f64, t);
    match own {
        Some(t) => {
            Unit { worst_usd, tokens: Some(tokens(t)), expected_usd: Some(per(t.cost_nanousd as f64, t) / NANO) }
        }
        None if others.attempts > 0 => {
            let cost = |p: Price| p.cost_nanousd(others.tokens_in, others.tokens_out) as f64;
            let expected_usd = Some(price.map_or(0.0, |p| per(cost(p), others) / NANO));
            Unit { worst_usd, tokens: Some(tokens(others)), expected_usd }
        }
        None => Unit { worst_usd, tokens: None, expected_usd: None },
    }
}

/// What cases cost. An endpoint that is not configured yet costs as much as the others do on average.
fn load(cases: &Cases, units: &Units) -> Load {
    let mut out = Load { tokens: Some(0), expected_usd: Some(0.0), ..Load::default() };
    let mut tokens = Some(0.0);
    for (suite, endpoints) in cases {
        for (id, n) in endpoints.iter().filter(|(_, n)| **n > 0) {
            let unit = units.get(&(suite.clone(), id.clone())).copied().unwrap_or_else(|| mean(suite, units));
            out.requests += n;
            out.worst_usd += unit.worst_usd * *n as f64;
            tokens = tokens.zip(unit.tokens).map(|(sum, per)| sum + per * *n as f64);
            out.expected_usd = out.expected_usd.zip(unit.expected_usd).map(|(sum, per)| sum + per * *n as f64);
        }
    }
    out.tokens = tokens.map(|t: f64| t.round() as u64);
    out
}

fn mean(suite: &SuiteName, units: &Units) -> Unit {
    let of: Vec<&Unit> = units.iter().filter(|((s, _), _)| s == suite).map(|(_, unit)| unit).collect();
    let n = of.len().max(1) as f64;
    let mean = |f: fn(&Unit) -> Option<f64>| of.iter().map(|u| f(u)).sum::<Option<f64>>().map(|sum| sum / n);
    Unit {
        worst_usd: of.iter().map(|u| u.worst_usd).sum::<f64>() / n,
        tokens: mean(|u| u.tokens),
        expected_usd: mean(|u| u.expected_usd),
    }
}

fn tick_cost(load: &Load) -> ticks_ahead::Cost {
    let nano = |usd: f64| (usd * NANO) as i64;
    ticks_ahead::Cost { spent: nano(load.expected_usd.unwrap_or(load.worst_usd)), reserved: nano(load.worst_usd) }
}

/// How a model is swept, and for how much.
struct Rhythm<'a> {
    runtime: &'a Runtime,
    model: &'a ModelRuntime,
    pace: Option<Pace<'a>>,
    budget: &'a Budget,
    today_usd: f64,
    failing: f64,
    tags: &'a Tags,
    /// What the ticks of all models cost.
    ticks: &'a ticks_ahead::Costs,
}

/// What cases cost and how long they take.
struct Costs<'a> {
    units: &'a Units,
    trails: &'a Trails,
}

fn open_of(state: &ModelState, order: &[EndpointId]) -> Vec<EndpointId> {
    let open =
        |id: &&EndpointId| state.endpoints.get(*id).is_some_and(|e| e.is_in_service() && !e.standing.is_decided());
    order.iter().filter(open).cloned().collect()
}

fn undecided(
    rhythm: &Rhythm<'_>,
    scene: &Scene<'_>,
    course: &forecast::Course,
    costs: &Costs<'_>,
) -> Option<UntilDecided> {
    let endpoints = open_of(scene.state, scene.order);
    if endpoints.is_empty() {
        return None;
    }
    let cases = course.cases_of(course.sweeps_of(&course.own));
    let hours_back_to_back = course.own.decided_after.map(|_| hours(rhythm.model, &cases, costs.trails));
    let at_pace = pace::at_pace(rhythm, scene, costs);
    Some(UntilDecided {
        hours_back_to_back,
        at_pace,
        ..until(scene, endpoints, &course.own, load(&cases, costs.units))
    })
}

/// An endpoint more, among others that are all decided.
struct Newcomer {
    id: EndpointId,
    /// Without it.
    settled: ModelState,
    joined: ModelState,
    order: Vec<EndpointId>,
    course: forecast::Course,
}

impl Newcomer {
    fn of(rhythm: &Rhythm<'_>, scene: &Scene<'_>) -> Option<Newcomer> {
        let id = EndpointId::new("new-endpoint").ok()?;
        let settled = forecast::settled(scene);
        let joined = forecast::with_newcomer(&settled, &id, scene.now_us);
        let order: Vec<EndpointId> = scene.order.iter().cloned().chain([id.clone()]).collect();
        let with = Scene { state: &joined, order: &order, ..*scene };
        let course = forecast::course(&with, rhythm.tags, rhythm.failing);
        Some(Newcomer { id, settled, joined, order, course })
    }

    /// By the schedule what it takes beyond what the others would take without it, at the onboarding pace all of the
    /// further sweeps.
    fn onboarding(&self, rhythm: &Rhythm<'_>, scene: &Scene<'_>, costs: &Costs<'_>) -> UntilDecided {
        let cases = self.course.cases_of(self.course.sweeps_of(&self.course.own));
        let hours_back_to_back = self.course.own.decided_after.map(|_| hours(rhythm.model, &cases, costs.trails));
        let with = Scene { state: &self.joined, order: &self.order, ..*scene };
        let at_pace = pace::at_pace(rhythm, &with, costs);
        UntilDecided { hours_back_to_back, at_pace, ..self.until(scene, &self.course.own, costs) }
    }

    fn until(&self, scene: &Scene<'_>, reached: &Reached, costs: &Costs<'_>) -> UntilDecided {
        let sweeps = self.course.sweeps_of(reached);
        let without = Scene { state: &self.settled, ..*scene };
        let mut usual = Cases::new();
        (0..sweeps).for_each(|n| forecast::add(&mut usual, &forecast::asked(&without, n).cases));
        let mut more = self.course.cases_of(sweeps);
        for (suite, endpoints) in &mut more {
            for (id, n) in endpoints.iter_mut() {
                *n = n.saturating_sub(usual.get(suite).and_then(|of| of.get(id)).copied().unwrap_or(0));
            }
        }
        until(scene, vec![self.id.clone()], reached, load(&more, costs.units))
    }
}

/// The lists of capabilities: an endpoint that one of them has not decided about is asked more, whatever it is on the
/// model's own list.
fn capabilities(
    rhythm: &Rhythm<'_>,
    scene: &Scene<'_>,
    (course, newcomer): (&forecast::Course, Option<&Newcomer>),
    costs: &Costs<'_>,
) -> Vec<CapabilityPlan> {
    let of = |(capability, tagged): (&Capability, &BTreeMap<SuiteName, u32>)| {
        let reached = course.capabilities.get(capability)?;
        let open = open_of(scene.state.capabilities.get(capability)?, scene.order);
        let cases = course.cases_of(course.sweeps_of(reached));
        let of_newcomer = |n: &Newcomer| Some(n.until(scene, n.course.capabilities.get(capability)?, costs));
        Some(CapabilityPlan {
            capability: capability.clone(),
            tagged: tagged.clone(),
            undecided: (!open.is_empty()).then(|| until(scene, open, reached, load(&cases, costs.units))),
            onboarding: newcomer.and_then(of_newcomer),
        })
    };
    rhythm.tags.iter().filter_map(of).collect()
}

fn until(scene: &Scene<'_>, endpoints: Vec<EndpointId>, reached: &Reached, load: Load) -> UntilDecided {
    let days = |n: u64| scene.sweeps_per_day().map(|per_day| n as f64 / per_day);
    UntilDecided {
        endpoints,
        sweeps: reached.decided_after,
        sweeps_at_most: reached.none_unknown_after,
        days: reached.decided_after.and_then(days),
        hours_back_to_back: None,
        at_pace: None,
        load,
    }
}

/// Hours that so many cases take one after another, as the limits allow: those of the slowest endpoint.
fn hours(model: &ModelRuntime, cases: &Cases, trails: &Trails) -> f64 {
    let mut of: BTreeMap<&EndpointId, u64> = BTreeMap::new();
    for (id, n) in cases.values().flatten() {
        *of.entry(id).or_default() += n;
    }
    let seconds = |(id, n): (&&EndpointId, &u64)| {
        let own = trails.iter().filter(|((_, e), _)| e == *id).map(|(_, t)| (t.took_us, t.attempts));
        let (took_us, attempts) = own.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let answer_s = if attempts > 0 { took_us as f64 / 1e6 / attempts as f64 } else { ANSWER_S_DEFAULT };
        let limits = model.config.endpoint(id).map(|(_, p)| p.limits).unwrap_or_default();
        let by_concurrency = *n as f64 * answer_s / f64::from(limits.concurrency.max(1));
        let by_rate = limits.requests_per_minute.map_or(0.0, |rpm| *n as f64 * 60.0 / f64::from(rpm.max(1)));
        by_concurrency.max(by_rate)
    };
    of.iter().map(seconds).fold(0.0, f64::max) / 3600.0
}

/// A month of sweeps once all are decided.
fn month(scene: &Scene<'_>, units: &Units) -> Option<Load> {
    let per_day = scene.sweeps_per_day()?;
    let settled = forecast::settled(scene);
    let scene = Scene { state: &settled, ..*scene };
    // A day's first sweep, in which the Excluded take part, and another one.
    let first = load(&forecast::asked(&scene, 0).cases, units);
    let other_at = (1..=1000).find(|n| !scene.occasion(*n).first_of_utc_day);
    let other = other_at.map_or(first, |n| load(&forecast::asked(&scene, n).cases, units));
    let (firsts, others) = (per_day.min(1.0) * DAYS_PER_MONTH, (per_day - 1.0).max(0.0) * DAYS_PER_MONTH);
    let sum = |f: fn(&Load) -> f64| f(&first) * firsts + f(&other) * others;
    let known = |known: bool, value: f64| known.then_some(value);
    Some(Load {
        requests: sum(|l| l.requests as f64).round() as u64,
        tokens: known(first.tokens.is_some(), sum(|l| l.tokens.unwrap_or(0) as f64)).map(|t| t.round() as u64),
        worst_usd: sum(|l| l.worst_usd),
        expected_usd: known(first.expected_usd.is_some(), sum(|l| l.expected_usd.unwrap_or(0.0))),
    })
}

/// `None` when no listed endpoint has a price.
fn routing(model: &ModelRuntime, list: &Allowlist) -> Option<Routing> {
    let mixed = |p: Price| MIX.0 * p.input_per_mtok + MIX.1 * p.output_per_mtok;
    let priced: Vec<(f64, f64)> = list
        .providers
        .iter()
        .filter_map(|entry| {
            let (endpoint, _) = model.config.endpoint(&entry.id)?;
            Some((f64::from(entry.weight), mixed(endpoint.price?)))
        })
        .collect();
    let weights: f64 = priced.iter().map(|(w, _)| w).sum();
    if priced.is_empty() || weights <= 0.0 {
        return None;
    }
    Some(Routing {
        usd_per_mtok: priced.iter().map(|(w, p)| w * p).sum::<f64>() / weights,
        even_usd_per_mtok: priced.iter().map(|(_, p)| p).sum::<f64>() / priced.len() as f64,
        cheapest_usd_per_mtok: priced.iter().map(|(_, p)| *p).fold(f64::INFINITY, f64::min),
    })
}
