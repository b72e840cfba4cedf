//! Sweeps between the ticks while an endpoint waits for its first standing (docs/config.md, Onboarding).
//!
//! Everything is read from the store: who waits, when the last sweep ended, what was tried and did not fit the budget. So
//! any number of daemons come to the same next sweep, a row unique by its due time, and a restart changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{info, warn};

use super::budget::next_day;
use super::outlook::Ahead;
use super::runtime::{ModelRuntime, Runtime, ScheduleRuntime};
use super::scheduler::next_tick;
use super::sweeper::{Signals, SweepError, SweepRequest, Sweeper};
use super::workers::Workers;
use super::{conclude, steps, waits};
use crate::config::ONBOARDING_NAME;
use crate::curation::ModelState;
use crate::curation::allowlist::CLOCK_TOLERANCE_US;
use crate::domain::{EndpointId, Micros, ModelId, Policy, Standing, SuiteName, SweepKind, SweepState};
use crate::store::{Fire, Store, StoreError};

/// Kind of the alarm that onboarding was given up.
pub(super) const ALARM: &str = "onboarding";
/// An endpoint of which so many sweeps in a row brought no scored answer is left to the schedule.
pub const FRUITLESS_SWEEPS_MAX: u32 = 3;
/// Newest sweeps among which those are looked for.
const SWEEPS_LOOKED_AT: usize = 20;
/// A tick that was due so long ago, in microseconds of the clock, is not waited for: no sweep has come of it.
const TICK_GRACE_US: i64 = 60_000_000;
/// How often the store is looked at when nothing was heard: a sweep that failed or was left behind is taken up then.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How a model is onboarded: the quickest of its schedules that do so.
#[derive(Clone)]
pub(super) struct Pace<'a> {
    /// Its spread and deadline hold, and its ticks are what a model waits for that was never swept.
    pub(super) schedule: &'a ScheduleRuntime,
    /// From the end of a sweep to the start of the next.
    pub(super) pause: Duration,
    /// Suites that are asked; `None`: all that judge the model.
    pub(super) suites: Option<Vec<SuiteName>>,
}

impl<'a> Pace<'a> {
    /// `None`: the model is swept at ticks, or by hand, only.
    pub(super) fn of(runtime: &'a Runtime, model: &ModelRuntime) -> Option<Pace<'a>> {
        let covering = || runtime.schedules.iter().filter(|s| s.config.covers_model(&model.config));
        let on = || covering().filter_map(|s| Some((s, s.config.onboarding?)));
        // The first in file order among equals.
        let (schedule, pause) = on().min_by_key(|(_, pause)| *pause)?;
        let all = covering().count() == on().count();
        let asked = |suite: &SuiteName| on().any(|(s, _)| runtime.schedule_takes(&s.config, suite));
        let suites = (!all).then(|| runtime.suites_of(&model.config).into_iter().filter(asked).collect());
        Some(Pace { schedule, pause, suites })
    }
}

/// Endpoints that wait for their first standing: Unknown, in service, and asked fewer cases than the cap of a suite. While
/// a guard holds the list nothing is decided, so nobody waits.
pub(super) fn waiting(state: &ModelState, policy: &Policy, suites: Option<&[SuiteName]>) -> Vec<EndpointId> {
    if state.frozen.is_some() {
        return Vec::new();
    }
    let judged = || state.suites.keys().filter(|s| suites.is_none_or(|suites| suites.contains(s)));
    let below_cap = |e: &crate::curation::EndpointState| e.effort(judged()) < u64::from(policy.cases.cap);
    let waits = |e: &crate::curation::EndpointState| {
        e.is_in_service() && e.standing == Standing::Unknown && judged().next().is_some() && below_cap(e)
    };
    state.endpoints.iter().filter(|(_, e)| waits(e)).map(|(id, _)| id.clone()).collect()
}

/// Those of some endpoints that were asked in at least [`FRUITLESS_SWEEPS_MAX`] sweeps, the last of which brought no
/// scored answer: further ones at once would be no better.
///
/// # Errors
/// [`StoreError`] of the database.
pub async fn fruitless(
    store: &Store,
    model: &ModelId,
    endpoints: &[EndpointId],
) -> Result<BTreeSet<EndpointId>, StoreError> {
    let mut open: BTreeMap<&EndpointId, u32> = endpoints.iter().map(|id| (id, 0)).collect();
    let mut out = BTreeSet::new();
    if open.is_empty() {
        return Ok(out);
    }
    let newest = store.newest_sweeps(model, SWEEPS_LOOKED_AT).await?;
    for record in newest.iter().filter(|s| s.state != SweepState::Running) {
        for counts in store.progress(record.id).await? {
            let Some(sweeps) = open.get_mut(&counts.endpoint) else { continue };
            *sweeps += 1;
            // Also of a closed sweep: it gives no evidence, and yet the endpoint answers.
            let scored = counts.pass + counts.fail > 0;
            if scored || *sweeps == FRUITLESS_SWEEPS_MAX {
                open.remove(&counts.endpoint);
                if !scored {
                    out.insert(counts.endpoint);
                }
            }
        }
        if open.is_empty() {
            break;
        }
    }
    Ok(out)
}

/// When the next onboarding sweep is due, the same for every process that reads the same rows: a pause after the last
/// sweep's end (or, without one, at the last tick). What was due before and led to no sweep did not fit the budget: then
/// with the next UTC day.
///
/// A last sweep that has ended after now was made by a clock that has been set back since: the pause then begins with the
/// last tick, or with the last try after it.
fn due_at(
    last_end_us: Option<Micros>,
    pause_us: i64,
    last_fire_us: Option<Micros>,
    last_tick_us: Micros,
    now_us: Micros,
) -> Micros {
    if last_end_us.is_some_and(|end_us| end_us > now_us.saturating_add(CLOCK_TOLERANCE_US)) {
        return last_tick_us.max(last_fire_us.unwrap_or(last_tick_us)).saturating_add(pause_us);
    }
    let due_us = last_end_us.map_or(last_tick_us, |end_us| end_us.saturating_add(pause_us));
    match last_fire_us {
        Some(tried_us) if tried_us >= due_us => next_day(tried_us),
        _ => due_us,
    }
}

/// Whether an onboarding sweep that was due has become needless: while it waited for another process, a sweep has ended,
/// after which the pause holds.
pub(super) async fn is_overtaken(
    store: &Store,
    model: &ModelId,
    request: &SweepRequest,
    now_us: Micros,
) -> Result<bool, StoreError> {
    let Some(fire) = request.fire.as_ref().filter(|_| request.kind == SweepKind::Onboarding) else { return Ok(false) };
    let newest = store.newest_sweeps(model, 1).await?.pop();
    // An end that lies ahead was made by a clock that has been set back since.
    let known = fire.fire_at_us + 1..=now_us.saturating_add(CLOCK_TOLERANCE_US);
    Ok(newest.and_then(|s| s.finished_at_us).is_some_and(|end_us| known.contains(&end_us)))
}

/// The task that starts onboarding sweeps.
pub(super) struct Onboarding {
    /// Store, clock, metrics.
    pub(super) sweeper: Arc<Sweeper>,
    /// The current configuration.
    pub(super) runtime: Arc<ArcSwap<Runtime>>,
    /// Takes the requests.
    pub(super) workers: Arc<Workers>,
    /// Ends the loop.
    pub(super) signals: Signals,
    /// Changes when the configuration was replaced.
    pub(super) reloaded: watch::Receiver<u64>,
    /// Changes when anybody has written to the store: orders, sweeps of other processes.
    pub(super) news: watch::Receiver<u64>,
}

impl Onboarding {
    /// Runs until stopped.
    pub(super) async fn run(mut self) {
        let clock = Arc::clone(&self.sweeper.clock);
        let mut served = self.workers.subscribe();
        let mut told = BTreeMap::new();
        while !self.signals.stop.is_cancelled() {
            self.reloaded.mark_unchanged();
            served.mark_unchanged();
            self.news.mark_unchanged();
            let next_us = self.look(&mut told).await;
            let due = async {
                match next_us {
                    Some(due_us) => waits::until(clock.as_ref(), due_us, &self.signals.stop).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = due => {}
                _ = self.reloaded.changed() => {}
                _ = served.changed() => {}
                _ = self.news.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.signals.stop.cancelled() => {}
            }
        }
    }

    /// Hands over every onboarding sweep that is due; when the next is.
    async fn look(&self, told: &mut BTreeMap<ModelId, usize>) -> Option<Micros> {
        let runtime = self.runtime.load_full();
        let mut next: Option<Micros> = None;
        for (id, model) in &runtime.models {
            match self.look_after(&runtime, model, told).await {
                Ok(due_us) => next = [next, due_us].into_iter().flatten().min(),
                Err(error) => warn!(model = %id, %error, "failed to look who waits for a first standing; trying again"),
            }
        }
        told.retain(|id, _| {
            let configured = runtime.models.contains_key(id);
            if !configured {
                self.sweeper.metrics.set_onboarding(id, 0);
            }
            configured
        });
        next
    }

    async fn look_after(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        told: &mut BTreeMap<ModelId, usize>,
    ) -> Result<Option<Micros>, SweepError> {
        let (store, id) = (&self.sweeper.store, &model.config.id);
        let Some(pace) = Pace::of(runtime, model) else {
            self.tell(id, 0, &BTreeSet::new(), told).await?;
            return Ok(None);
        };
        let now_us = self.sweeper.clock.now_us();
        let ahead = Ahead::of(runtime, model, &steps::state(store, id).await?, now_us);
        let waiting = waiting(&ahead.state, &ahead.policy, pace.suites.as_deref());
        let fruitless = fruitless(store, id, &waiting).await?;
        let hopeful = waiting.len() - fruitless.len();
        self.tell(id, hopeful, &fruitless, told).await?;
        if hopeful == 0 || !self.workers.is_idle(id) {
            return Ok(None);
        }
        if let Some(running) = store.running_sweeps(Some(id)).await?.pop() {
            // Held by a living process it ends by itself; given back or left behind, it is finished here.
            if running.record.lease_until_us.is_none_or(|until_us| until_us <= now_us) {
                self.hand(id, SweepRequest { resume_only: true, ..request(&pace, None) });
            }
            return Ok(None);
        }
        let Some(due_us) = self.due(id, &pace, now_us).await? else { return Ok(None) };
        if due_us > now_us {
            return Ok(Some(due_us));
        }
        if self.tick_is_near(runtime, model, &pace, now_us).await? {
            return Ok(None);
        }
        let fire = Fire { schedule: ONBOARDING_NAME.to_owned(), fire_at_us: due_us, model: id.clone() };
        if self.hand(id, request(&pace, Some(fire))) {
            info!(model = %id, waiting = hopeful, "onboarding: a sweep between the ticks");
        }
        Ok(None)
    }

    /// Whether a tick that nobody has taken yet comes before an onboarding sweep would be over: its sweep serves as well.
    async fn tick_is_near(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        pace: &Pace<'_>,
        now_us: Micros,
    ) -> Result<bool, StoreError> {
        let spread_us = i64::try_from(pace.schedule.config.spread.as_micros()).unwrap_or(i64::MAX);
        for schedule in runtime.schedules.iter().filter(|s| s.config.covers_model(&model.config)) {
            let tick = next_tick(schedule, now_us.saturating_sub(TICK_GRACE_US));
            let Some(tick) = tick.filter(|t| t.due_us <= now_us.saturating_add(spread_us)) else { continue };
            let taken = self.sweeper.store.last_fire(schedule.timetable.name(), &model.config.id).await?;
            if taken.is_none_or(|taken| taken < tick.nominal_us) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn due(&self, model: &ModelId, pace: &Pace<'_>, now_us: Micros) -> Result<Option<Micros>, StoreError> {
        let store = &self.sweeper.store;
        let newest = store.newest_sweeps(model, 1).await?.pop();
        let last_end_us = newest.map(|s| s.finished_at_us.unwrap_or(s.planned_at_us));
        // What was tried by a clock that ran ahead says nothing about now.
        let until_us = now_us.saturating_add(CLOCK_TOLERANCE_US);
        let last_fire_us = store.last_fire_until(ONBOARDING_NAME, model, until_us).await?;
        let Some(tick) = pace.schedule.timetable.last_due(now_us) else { return Ok(None) };
        let pause_us = i64::try_from(pace.pause.as_micros()).unwrap_or(i64::MAX);
        Ok(Some(due_at(last_end_us, pause_us, last_fire_us, tick.nominal_us, now_us)))
    }

    fn hand(&self, model: &ModelId, request: SweepRequest) -> bool {
        self.workers.hand_if_idle(model, request)
    }

    /// Keeps metric, log and alarm in line with who waits and who was given up.
    async fn tell(
        &self,
        model: &ModelId,
        waiting: usize,
        given_up: &BTreeSet<EndpointId>,
        told: &mut BTreeMap<ModelId, usize>,
    ) -> Result<(), StoreError> {
        self.sweeper.metrics.set_onboarding(model, waiting);
        let before = told.insert(model.clone(), waiting).unwrap_or(0);
        if before == 0 && waiting > 0 {
            info!(%model, endpoints = waiting, "onboarding begins: sweeps between the ticks until all have a first standing");
        } else if before > 0 && waiting == 0 {
            info!(%model, "onboarding ends: the schedule alone holds");
        }
        let open = self.sweeper.store.open_alarms().await?;
        let open = open.into_iter().find(|a| a.key.model.as_ref() == Some(model) && a.key.kind == ALARM);
        let text = (!given_up.is_empty()).then(|| given_up_text(given_up));
        match (open.map(|alarm| alarm.text), text) {
            (None, None) => Ok(()),
            (Some(_), None) => conclude::clear(&self.sweeper, model, ALARM).await,
            (Some(said), Some(text)) if said == text => Ok(()),
            // Others than those it named by now.
            (_, Some(text)) => conclude::raise(&self.sweeper, model, ALARM, &text).await,
        }
    }
}

fn given_up_text(endpoints: &BTreeSet<EndpointId>) -> String {
    let names: Vec<&str> = endpoints.iter().map(EndpointId::as_str).collect();
    format!(
        "{FRUITLESS_SWEEPS_MAX} sweeps in a row brought no scored answer of {}: asked again at the schedule's ticks only; \
         look at its faults, or ban it",
        names.join(", ")
    )
}

fn request(pace: &Pace<'_>, fire: Option<Fire>) -> SweepRequest {
    SweepRequest {
        kind: SweepKind::Onboarding,
        suites: pace.suites.clone(),
        endpoints: Vec::new(),
        limit: None,
        epochs: None,
        include_broken: false,
        goes_on: None,
        back_to_back: true,
        fire,
        spread: pace.schedule.config.spread,
        deadline: pace.schedule.config.deadline,
        resume_only: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn the_next_sweep_is_a_pause_after_the_last_and_waits_for_a_day_when_there_was_no_money() {
        let pause = HOUR / 2;
        assert_eq!(due_at(None, pause, None, 6 * HOUR, DAY), 6 * HOUR, "never swept: for the tick that passed");
        assert_eq!(due_at(Some(7 * HOUR), pause, None, 6 * HOUR, DAY), 7 * HOUR + pause);
        // What was due before the last sweep has led to it, or is overtaken by it.
        assert_eq!(due_at(Some(7 * HOUR), pause, Some(6 * HOUR), 6 * HOUR, DAY), 7 * HOUR + pause);
        // Tried without a sweep since: the day is over for it, and so on from day to day.
        assert_eq!(due_at(Some(7 * HOUR), pause, Some(7 * HOUR + pause), 6 * HOUR, DAY), DAY);
        assert_eq!(due_at(Some(7 * HOUR), pause, Some(DAY), 6 * HOUR, DAY), 2 * DAY);
        assert_eq!(due_at(None, pause, Some(6 * HOUR), 6 * HOUR, DAY), DAY);
        // The schedule's sweep in between had money: so may the next.
        assert_eq!(due_at(Some(13 * HOUR), pause, Some(7 * HOUR + pause), 12 * HOUR, DAY), 13 * HOUR + pause);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_make_it_wait_until_it_has_caught_up() {
        let pause = HOUR / 2;
        let ahead = 100 * DAY;
        // The last tick was at six; it is seven.
        assert_eq!(due_at(Some(ahead), pause, None, 6 * HOUR, 7 * HOUR), 6 * HOUR + pause);
        // Tried since, without a sweep: a pause after that, and not with the day after the one that has not come.
        let tried = 6 * HOUR + pause;
        assert_eq!(due_at(Some(ahead), pause, Some(tried), 6 * HOUR, 7 * HOUR), 7 * HOUR);
        // Two machines' clocks may differ a little.
        assert_eq!(due_at(Some(7 * HOUR + 1), pause, None, 6 * HOUR, 7 * HOUR), 7 * HOUR + 1 + pause);
    }
}
