//! Turns ticks into requests: due, missed, overlapping and duplicate ones.
//!
//! A tick is a row unique by (schedule, nominal time, model), written with the sweep that it starts: any number of daemons
//! may try. Of the ticks missed while no daemon ran, or while the machine slept, the last one is made up for.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{info, warn};

use super::onboarding::Onboarding;
use super::runtime::{Runtime, ScheduleRuntime};
use super::schedule::Fire as Tick;
use super::sweeper::{Signals, SweepRequest, Sweeper};
use super::waits;
use super::workers::{Handed, Workers};
use crate::domain::{Micros, ModelId, SweepKind};
use crate::store::{Fire, StoreError};

/// Missed ticks are counted up to this many.
const MISSED_COUNTED_MAX: usize = 10_000;
/// A tick that comes so late, in seconds of the machine, was slept through. Cron lines have whole minutes.
const LATE_AFTER_S: f64 = 60.0;
/// Without any schedule the scheduler looks for a new configuration this often, in microseconds of the clock.
const IDLE_US: i64 = 60_000_000;

/// Hands every due tick to the workers until stopped.
#[derive(Clone)]
pub struct Scheduler {
    /// Notes ticks.
    pub sweeper: Arc<Sweeper>,
    /// The current configuration.
    pub runtime: Arc<ArcSwap<Runtime>>,
    /// Takes the requests.
    pub workers: Arc<Workers>,
    /// Ends the loop.
    pub signals: Signals,
    /// Changes when the configuration was replaced.
    pub reloaded: watch::Receiver<u64>,
    /// Changes when anybody has written to the store.
    pub news: watch::Receiver<u64>,
}

impl Scheduler {
    /// Runs until stopped.
    pub async fn run(self) {
        let cursor = match self.catch_up(Micros::MIN).await {
            Ok(now_us) => now_us,
            Err(error) => {
                warn!(%error, "failed to look for missed ticks; going on with the coming ones");
                self.sweeper.clock.now_us()
            }
        };
        // After the missed ticks were handed over: a model's first sweep is that of a tick.
        let onboarding = Onboarding {
            sweeper: Arc::clone(&self.sweeper),
            runtime: Arc::clone(&self.runtime),
            workers: Arc::clone(&self.workers),
            signals: self.signals.clone(),
            reloaded: self.reloaded.clone(),
            news: self.news.clone(),
        };
        tokio::join!(onboarding.run(), self.ticks(cursor));
    }

    /// Hands over the ticks after a time as they are due.
    async fn ticks(mut self, mut cursor: Micros) {
        while !self.signals.stop.is_cancelled() {
            self.reloaded.mark_unchanged();
            let next = self.next_due(cursor);
            let due_us = next.unwrap_or(cursor + IDLE_US);
            let clock = Arc::clone(&self.sweeper.clock);
            let due = tokio::select! {
                due = waits::until(clock.as_ref(), due_us, &self.signals.stop) => due,
                // New schedules count from now.
                _ = self.reloaded.changed() => false,
            };
            if due && next.is_some() {
                cursor = self.pass(cursor, due_us).await;
            } else {
                cursor = replaced_at(cursor, due_us, clock.now_us());
            }
        }
    }

    /// The earliest due time after a time, over all schedules.
    fn next_due(&self, after_us: Micros) -> Option<Micros> {
        let runtime = self.runtime.load();
        runtime.schedules.iter().filter_map(|s| next_tick(s, after_us)).map(|t| t.due_us).min()
    }

    /// Hands over what is due at a time; until when all is handed over. Far too late, as after a suspend of the machine,
    /// ticks count as missed: only the last one is made up for.
    async fn pass(&self, after_us: Micros, due_us: Micros) -> Micros {
        let clock = &self.sweeper.clock;
        let late_us = clock.now_us() - due_us;
        if late_us as f64 > LATE_AFTER_S * clock.rate() {
            match self.catch_up(after_us).await {
                Ok(now_us) => return now_us,
                Err(error) => warn!(%error, "failed to look for missed ticks; each has its turn"),
            }
        }
        self.fire(after_us, due_us).await;
        due_us
    }

    /// Hands over every tick that is due in (after, until].
    async fn fire(&self, after_us: Micros, until_us: Micros) {
        let runtime = self.runtime.load_full();
        for schedule in &runtime.schedules {
            if let Some(tick) = next_tick(schedule, after_us).filter(|t| t.due_us <= until_us) {
                for model in covered(&runtime, schedule) {
                    self.hand(schedule, &model, tick).await;
                }
            }
        }
    }

    async fn hand(&self, schedule: &ScheduleRuntime, model: &ModelId, tick: Tick) {
        let fire = fire_of(schedule, model, tick);
        if let Handed::Overlaps = self.workers.hand(model, request(schedule, fire.clone())) {
            info!(schedule = schedule.timetable.name(), %model, "tick skipped: the sweep before it is still running");
            if let Err(error) = self.sweeper.store.skip_fire(&fire, "overlapping").await {
                warn!(%error, "failed to note a skipped tick");
            }
        }
    }

    /// Makes up for the last missed tick of every schedule and model, of those due after a time. A model that was never
    /// swept is swept now.
    async fn catch_up(&self, after_us: Micros) -> Result<Micros, StoreError> {
        let now_us = self.sweeper.clock.now_us();
        let runtime = self.runtime.load_full();
        for schedule in &runtime.schedules {
            let last = schedule.timetable.last_due(now_us).filter(|tick| tick.due_us > after_us);
            let Some(last) = last else { continue };
            for model in covered(&runtime, schedule) {
                let seen = self.sweeper.store.last_fire(schedule.timetable.name(), &model).await?;
                if seen.is_some_and(|seen| seen >= last.nominal_us) {
                    continue;
                }
                if let Some(seen) = seen {
                    let missed = schedule.timetable.between(seen, last.nominal_us, MISSED_COUNTED_MAX);
                    let name = schedule.timetable.name();
                    info!(schedule = name, %model, skipped = missed, "ticks were missed: making up for the last one");
                }
                self.hand(schedule, &model, last).await;
            }
        }
        Ok(now_us)
    }
}

/// From when on the ticks of replaced schedules count: from now, but a tick that fell due at that very moment lies ahead
/// still.
fn replaced_at(cursor: Micros, due_us: Micros, now_us: Micros) -> Micros {
    cursor.max(now_us.min(due_us - 1))
}

/// The first tick whose due time is after a time.
pub(super) fn next_tick(schedule: &ScheduleRuntime, after_us: Micros) -> Option<Tick> {
    // Jitter moves a tick by up to its window: begin that much earlier.
    let window_us = i64::try_from(schedule.config.jitter.as_micros()).unwrap_or(0);
    let mut at = after_us - window_us;
    loop {
        let tick = schedule.timetable.next_after(at)?;
        if tick.due_us > after_us {
            return Some(tick);
        }
        at = tick.nominal_us;
    }
}

fn covered(runtime: &Runtime, schedule: &ScheduleRuntime) -> Vec<ModelId> {
    runtime.models.values().filter(|m| schedule.config.covers_model(&m.config)).map(|m| m.config.id.clone()).collect()
}

fn fire_of(schedule: &ScheduleRuntime, model: &ModelId, tick: Tick) -> Fire {
    Fire { schedule: schedule.timetable.name().to_owned(), fire_at_us: tick.nominal_us, model: model.clone() }
}

fn request(schedule: &ScheduleRuntime, fire: Fire) -> SweepRequest {
    let suites = &schedule.config.suites;
    SweepRequest {
        kind: SweepKind::Scheduled,
        suites: (!suites.is_empty()).then(|| suites.clone()),
        endpoints: Vec::new(),
        limit: None,
        epochs: None,
        include_broken: false,
        goes_on: None,
        back_to_back: false,
        fire: Some(fire),
        spread: schedule.config.spread,
        deadline: schedule.config.deadline,
        resume_only: false,
    }
}

#[cfg(test)]
mod tests {
    use super::replaced_at;

    #[test]
    fn a_reload_loses_no_tick() {
        let (before, due, after) = (100, 200, 300);
        assert_eq!(
            replaced_at(before, due, 150),
            150,
            "what was due before now under new schedules is not made up for"
        );
        assert!(replaced_at(before, due, due) < due, "a tick that is due now has its turn");
        assert!(replaced_at(before, due, after) < due, "and one that fell due unnoticed");
        assert_eq!(replaced_at(before, due, 50), before, "a clock that was set back repeats nothing");
    }
}
