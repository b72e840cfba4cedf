//! How long the first standings take by onboarding sweeps and the ticks between them, the budget included: the days are
//! gone through sweep by sweep, by the rules of `daemon::onboarding`, `daemon::ticks_ahead` and `daemon::budget`.

use std::time::Duration;

use serde::Serialize;

use super::super::budget::{day_start, next_day};
use super::super::runtime::{ModelRuntime, Runtime};
use super::super::ticks_ahead;
use super::{Costs, Load, NANO, Rhythm, hours, load};
use crate::config::Budget;
use crate::curation::Scene;
use crate::curation::forecast::{self, Tags};

/// Sweeps and waits gone through at most.
const STEPS_MAX: u32 = 20_000;
/// Days gone through at most.
const DAYS_MAX: i64 = 366;
const DAY_US: i64 = 86_400_000_000;
const HOUR_US: f64 = 3_600e6;

/// What says how long onboarding takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The pause between sweeps, and the time that their calls are spread over.
    Pause,
    /// Sweeps are shrunk to the cap of one.
    UsdPerSweep,
    /// Sweeps are shrunk to, or wait for, the money of a day.
    UsdPerDay,
}

/// Onboarding at the configured pace, with the ticks that come meanwhile: their sweeps serve as well, and onboarding leaves
/// them their money.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtPace {
    /// Seconds from the end of a sweep to the start of the next.
    pub pause_s: u64,
    /// Sweeps until none is Unknown any more, those that the budget adds included; `null`: not within sight.
    pub sweeps: Option<u64>,
    /// Hours that they take; `null`: not within sight.
    pub hours: Option<f64>,
    /// What says so.
    pub limited_by: Limit,
    /// What a whole day's `usd_per_day` leaves to the ticks of all models, in US dollars; `null` without such a cap.
    pub held_for_ticks_usd: Option<f64>,
    /// All of these sweeps, everybody who takes part included.
    #[serde(flatten)]
    pub load: Load,
}

/// `None`: there is no onboarding, or nobody waits for it.
pub(super) fn at_pace(rhythm: &Rhythm<'_>, scene: &Scene<'_>, costs: &Costs<'_>) -> Option<AtPace> {
    let pace = rhythm.pace.as_ref()?;
    // Without a schedule sweeps are back to back, as onboarding sweeps are.
    let course = forecast::course(&Scene { sweeps_per_year: None, ..*scene }, &Tags::new(), rhythm.failing);
    let until = course.own.none_unknown_after.unwrap_or(course.each.len() as u64);
    let each = &course.each[..usize::try_from(until).unwrap_or(usize::MAX).min(course.each.len())];
    if each.is_empty() {
        return None;
    }
    let spread_h = pace.schedule.config.spread.as_secs_f64() / 3600.0;
    let sweeps: Vec<Sweep> = (each.iter())
        .map(|cases| {
            let load = load(cases, costs.units);
            let hours = hours(rhythm.model, cases, costs.trails).max(spread_h);
            Sweep { worst_usd: load.worst_usd, expected_usd: load.expected_usd.unwrap_or(load.worst_usd), hours }
        })
        .collect();
    let ticks = ModelTicks { runtime: rhythm.runtime, model: rhythm.model, costs: rhythm.ticks };
    let pauses = Pauses { pause_us: micros(pace.pause), spread_us: micros(pace.schedule.config.spread) };
    let mut walk = Walk::begin(rhythm.budget, rhythm.today_usd, scene.now_us, pauses);
    walk.tick_at_once = scene.state.sweeps_folded == 0;
    let done = sweeps.iter().all(|sweep| walk.sweep(sweep, &ticks)) && course.own.none_unknown_after.is_some();
    Some(AtPace {
        pause_s: pace.pause.as_secs(),
        sweeps: done.then_some(walk.sweeps),
        hours: done.then_some(walk.hours()),
        limited_by: walk.limited_by,
        held_for_ticks_usd: rhythm.budget.usd_per_day.map(|_| ticks.held_usd(next_day(scene.now_us))),
        load: load(&course.cases_of(until), costs.units),
    })
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// The ticks of the coming days and their money.
trait Ticks {
    /// The first tick of the model after a time.
    fn next_after(&self, at_us: i64) -> Option<i64>;
    /// What is to be left at a time for the ticks of all models up to the end of its day.
    fn held_usd(&self, at_us: i64) -> f64;
    /// What the ticks of the other models between two times cost.
    fn others_usd(&self, from_us: i64, to_us: i64) -> f64;
}

struct ModelTicks<'a> {
    runtime: &'a Runtime,
    model: &'a ModelRuntime,
    costs: &'a ticks_ahead::Costs,
}

impl Ticks for ModelTicks<'_> {
    fn next_after(&self, at_us: i64) -> Option<i64> {
        let covering = self.runtime.schedules.iter().filter(|s| s.config.covers_model(&self.model.config));
        covering.filter_map(|s| Some(s.timetable.next_after(at_us)?.nominal_us)).min()
    }

    fn held_usd(&self, at_us: i64) -> f64 {
        ticks_ahead::held_back_by(self.costs, self.runtime, at_us) as f64 / NANO
    }

    fn others_usd(&self, from_us: i64, to_us: i64) -> f64 {
        let others = self.runtime.models.values().filter(|model| model.config.id != self.model.config.id);
        let spent = |model: &ModelRuntime| self.costs.get(&model.config.id).map_or(0, |cost| cost.spent);
        let of = |model: &ModelRuntime| {
            ticks_ahead::ticks_between(self.runtime, model, from_us, to_us).saturating_mul(spent(model))
        };
        others.map(|model| of(model)).fold(0, i64::saturating_add) as f64 / NANO
    }
}

/// A sweep by the plan.
#[derive(Debug, Clone, Copy)]
struct Sweep {
    worst_usd: f64,
    expected_usd: f64,
    hours: f64,
}

/// What lies between sweeps.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    pause_us: i64,
    /// A tick that comes so soon serves instead of an onboarding sweep.
    spread_us: i64,
}

/// The coming days.
#[derive(Debug)]
struct Walk {
    per_sweep_usd: f64,
    per_day_usd: f64,
    pauses: Pauses,
    /// Left of the day before the other models' ticks.
    left_usd: f64,
    begun_us: i64,
    /// From when the day's money is counted.
    day_us: i64,
    /// The last tick that was gone through.
    tick_us: i64,
    /// A model that was never swept is swept at once, for the tick before.
    tick_at_once: bool,
    /// When the next onboarding sweep is due.
    due_us: i64,
    /// End of the last sweep.
    ended_us: i64,
    sweeps: u64,
    steps: u32,
    limited_by: Limit,
}

impl Walk {
    fn begin(budget: &Budget, today_usd: f64, now_us: i64, pauses: Pauses) -> Walk {
        let per_day_usd = budget.usd_per_day.unwrap_or(f64::INFINITY);
        Walk {
            per_sweep_usd: budget.usd_per_sweep.unwrap_or(f64::INFINITY),
            per_day_usd,
            pauses,
            left_usd: (per_day_usd - today_usd).max(0.0),
            begun_us: now_us,
            day_us: now_us,
            tick_us: now_us,
            tick_at_once: false,
            due_us: now_us,
            ended_us: now_us,
            sweeps: 0,
            steps: 0,
            limited_by: Limit::Pause,
        }
    }

    /// Goes through a sweep, in several if the budget shrinks it; `false`: it does not come to an end.
    fn sweep(&mut self, whole: &Sweep, ticks: &impl Ticks) -> bool {
        let mut rest = 1.0;
        while rest > 1e-9 {
            self.steps += 1;
            if self.steps > STEPS_MAX || self.due_us - self.begun_us > DAYS_MAX * DAY_US {
                return false;
            }
            let near_us = self.due_us.saturating_add(self.pauses.spread_us);
            let at_once = std::mem::take(&mut self.tick_at_once).then_some(self.begun_us);
            let tick_us = at_once.or_else(|| ticks.next_after(self.tick_us)).filter(|at_us| *at_us <= near_us);
            // A tick waits for the sweep in flight; of several that do, one is left.
            let begin_us = tick_us.map_or(self.due_us, |at_us| at_us.max(self.ended_us));
            self.enter(begin_us);
            let share = match tick_us {
                Some(_) => {
                    self.tick_us = begin_us;
                    self.share_of_tick(whole, ticks)
                }
                None => self.share_between_ticks(whole, ticks),
            };
            let Some(share) = share else {
                self.limited_by = Limit::UsdPerDay;
                if tick_us.is_none() {
                    self.due_us = next_day(begin_us);
                }
                continue;
            };
            rest -= share.min(rest);
            self.sweeps += 1;
            self.left_usd -= whole.expected_usd.min(whole.worst_usd) * share;
            self.ended_us = begin_us.saturating_add((whole.hours * HOUR_US) as i64);
            self.due_us = self.ended_us.saturating_add(self.pauses.pause_us);
        }
        true
    }

    /// The day of a time: with fresh money when it is another.
    fn enter(&mut self, at_us: i64) {
        if at_us >= next_day(self.day_us) {
            self.day_us = day_start(at_us);
            self.left_usd = self.per_day_usd;
        }
    }

    /// How much of a sweep a tick may make; `None`: nothing is left.
    fn share_of_tick(&mut self, whole: &Sweep, ticks: &impl Ticks) -> Option<f64> {
        self.share(whole, self.left_usd - self.others_usd(self.tick_us, ticks)).filter(|share| *share > 0.0)
    }

    /// How much of one an onboarding sweep may make beside the ticks of the day, as `budget::is_worth_it` decides; `None`:
    /// it is not worth it.
    fn share_between_ticks(&mut self, whole: &Sweep, ticks: &impl Ticks) -> Option<f64> {
        let at_us = self.due_us;
        let held_usd = if self.per_day_usd.is_finite() { ticks.held_usd(at_us) } else { 0.0 };
        let left_usd = self.left_usd - self.others_usd(at_us, ticks) - held_usd;
        let fresh = self.per_sweep_usd.min(self.per_day_usd);
        let worth = whole.worst_usd <= left_usd.min(self.per_sweep_usd)
            || 2.0 * left_usd.min(self.per_sweep_usd) >= fresh.min(whole.worst_usd);
        if worth { self.share(whole, left_usd).filter(|share| *share > 0.0) } else { None }
    }

    /// What the other models' ticks have cost of the day up to a time.
    fn others_usd(&self, at_us: i64, ticks: &impl Ticks) -> f64 {
        if self.per_day_usd.is_finite() { ticks.others_usd(self.day_us, at_us) } else { 0.0 }
    }

    fn share(&mut self, whole: &Sweep, left_usd: f64) -> Option<f64> {
        let allowance = self.per_sweep_usd.min(left_usd);
        if whole.worst_usd <= allowance {
            return Some(1.0);
        }
        let by_day = left_usd < self.per_sweep_usd;
        self.limited_by = if by_day { Limit::UsdPerDay } else { Limit::UsdPerSweep };
        Some((allowance / whole.worst_usd).max(0.0))
    }

    fn hours(&self) -> f64 {
        (self.ended_us - self.begun_us) as f64 / HOUR_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = HOUR_US as i64;
    const PAUSES: Pauses = Pauses { pause_us: HOUR / 2, spread_us: 0 };
    const SWEEP: Sweep = Sweep { worst_usd: 4.0, expected_usd: 1.0, hours: 0.5 };

    struct NoTicks;

    impl Ticks for NoTicks {
        fn next_after(&self, _: i64) -> Option<i64> {
            None
        }
        fn held_usd(&self, _: i64) -> f64 {
            0.0
        }
        fn others_usd(&self, _: i64, _: i64) -> f64 {
            0.0
        }
    }

    /// At six, twelve and eighteen; another model at the same times.
    struct SixHourly {
        usd: f64,
        others_usd: f64,
    }

    impl SixHourly {
        fn between(from_us: i64, to_us: i64) -> f64 {
            (1..).map(|n| n * 6 * HOUR).skip_while(|at| *at <= from_us).take_while(|at| *at < to_us).count() as f64
        }
    }

    impl Ticks for SixHourly {
        fn next_after(&self, at_us: i64) -> Option<i64> {
            Some((at_us.div_euclid(6 * HOUR) + 1) * 6 * HOUR)
        }
        fn held_usd(&self, at_us: i64) -> f64 {
            Self::between(at_us, next_day(at_us)) * (self.usd + self.others_usd)
        }
        fn others_usd(&self, from_us: i64, to_us: i64) -> f64 {
            Self::between(from_us, to_us) * self.others_usd
        }
    }

    fn walked_with(ticks: &impl Ticks, budget: Budget, today_usd: f64, sweeps: usize) -> Option<(u64, f64, Limit)> {
        let mut walk = Walk::begin(&budget, today_usd, 0, PAUSES);
        let done = (0..sweeps).all(|_| walk.sweep(&SWEEP, ticks));
        done.then_some((walk.sweeps, walk.hours(), walk.limited_by))
    }

    fn walked(budget: Budget, today_usd: f64, sweeps: usize) -> Option<(u64, f64, Limit)> {
        walked_with(&NoTicks, budget, today_usd, sweeps)
    }

    #[test]
    fn money_that_suffices_leaves_the_pause_to_say_how_long() {
        assert_eq!(walked(Budget::default(), 0.0, 10), Some((10, 9.5, Limit::Pause)));
        let plenty = Budget { usd_per_day: Some(100.0), usd_per_sweep: Some(5.0) };
        assert_eq!(walked(plenty, 0.0, 10), Some((10, 9.5, Limit::Pause)));
    }

    #[test]
    fn a_cap_of_a_sweep_makes_more_of_them() {
        let half = Budget { usd_per_day: None, usd_per_sweep: Some(2.0) };
        assert_eq!(walked(half, 0.0, 3), Some((6, 5.5, Limit::UsdPerSweep)));
    }

    #[test]
    fn a_day_without_money_is_waited_for() {
        // Whole sweeps while 4 are left of 7 (four of them), then a shrunk one each while it is half of one: 3, 2.25.
        let week = Budget { usd_per_day: Some(7.0), usd_per_sweep: None };
        let (_, hours, by) = walked(week, 0.0, 7).expect("it ends");
        assert!(hours > 24.0 && hours < 26.0 && by == Limit::UsdPerDay, "{hours} {by:?}");
        // Nothing is left of today.
        let (sweeps, hours, by) = walked(week, 7.0, 1).expect("it ends");
        assert_eq!((sweeps, hours, by), (1, 24.5, Limit::UsdPerDay));
        let nothing = Budget { usd_per_day: Some(0.0), usd_per_sweep: None };
        assert_eq!(walked(nothing, 0.0, 1), None);
    }

    #[test]
    fn ticks_serve_as_well_and_their_money_is_left_to_them() {
        let ticks = SixHourly { usd: 1.0, others_usd: 0.0 };
        // Without a cap: at 0, 1, .. 5; the tick at six serves in the place of the seventh; then on.
        assert_eq!(walked_with(&ticks, Budget::default(), 0.0, 8), Some((8, 7.5, Limit::Pause)));
        // Of seven dollars three are the ticks': one whole sweep of four, then shrunk ones while half of one is left.
        let seven = Budget { usd_per_day: Some(7.0), usd_per_sweep: None };
        let (_, alone, _) = walked(seven, 0.0, 4).expect("it ends");
        let (_, hours, by) = walked_with(&ticks, seven, 0.0, 4).expect("it ends");
        assert!(hours > alone && by == Limit::UsdPerDay, "{hours} {alone} {by:?}");
        // Where the ticks need all of it, they alone sweep: one every six hours, after midnight again.
        let three = Budget { usd_per_day: Some(4.5), usd_per_sweep: None };
        let dear = SixHourly { usd: 1.5, others_usd: 0.0 };
        let (_, hours, by) = walked_with(&dear, three, 0.0, 6).expect("it ends");
        assert!(hours > 24.0 && by == Limit::UsdPerDay, "{hours} {by:?}");
        // Another model's ticks take their part as well.
        let others = SixHourly { usd: 1.0, others_usd: 1.0 };
        let (_, later, _) = walked_with(&others, seven, 0.0, 4).expect("it ends");
        assert!(later > hours.min(alone), "{later}");
    }
}
