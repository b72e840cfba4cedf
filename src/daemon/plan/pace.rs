//! How long the first standings take by onboarding sweeps, the budget included: the days are gone through sweep by sweep,
//! by the rules of `daemon::onboarding` and `daemon::budget`.

use serde::Serialize;

use super::super::budget::{day_start, next_day};
use super::{Costs, Load, Rhythm, hours, load};
use crate::config::Budget;
use crate::curation::Scene;
use crate::curation::forecast::{self, Cases};

/// Sweeps and waits gone through at most.
const STEPS_MAX: u32 = 20_000;
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

/// Onboarding at the configured pace, if nothing else spends of the budget.
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
    /// All of these sweeps, everybody who takes part included.
    #[serde(flatten)]
    pub load: Load,
}

/// `None`: there is no onboarding, or nobody waits for it.
pub(super) fn at_pace(rhythm: &Rhythm<'_>, scene: &Scene<'_>, costs: &Costs<'_>) -> Option<AtPace> {
    let pace = rhythm.pace.as_ref()?;
    // Without a schedule sweeps are back to back, as onboarding sweeps are.
    let course = forecast::course(&Scene { sweeps_per_year: None, ..*scene }, rhythm.failing);
    let until = usize::try_from(course.none_unknown_after.unwrap_or(course.sweeps)).unwrap_or(usize::MAX);
    let each = &course.each[..until.min(course.each.len())];
    if each.is_empty() {
        return None;
    }
    let mut all = Cases::new();
    each.iter().for_each(|cases| forecast::add(&mut all, cases));
    let spread_h = pace.schedule.config.spread.as_secs_f64() / 3600.0;
    let sweeps: Vec<Sweep> = (each.iter())
        .map(|cases| {
            let load = load(cases, costs.units);
            let hours = hours(rhythm.model, cases, costs.trails).max(spread_h);
            Sweep { worst_usd: load.worst_usd, expected_usd: load.expected_usd.unwrap_or(load.worst_usd), hours }
        })
        .collect();
    let mut walk = Walk::begin(rhythm.budget, rhythm.today_usd, scene.now_us);
    let done = sweeps.iter().all(|sweep| walk.sweep(sweep, pace.pause.as_secs_f64() / 3600.0));
    let done = done && course.none_unknown_after.is_some();
    Some(AtPace {
        pause_s: pace.pause.as_secs(),
        sweeps: done.then_some(walk.sweeps),
        hours: done.then_some(walk.ended_h),
        limited_by: walk.limited_by,
        load: load(&all, costs.units),
    })
}

/// A sweep by the plan.
#[derive(Debug, Clone, Copy)]
struct Sweep {
    worst_usd: f64,
    expected_usd: f64,
    hours: f64,
}

/// The coming days.
#[derive(Debug)]
struct Walk {
    per_sweep_usd: f64,
    per_day_usd: f64,
    /// Left of the day.
    left_usd: f64,
    begun_us: i64,
    /// Start of the day that is gone through.
    day_us: i64,
    /// Hours from the beginning to the start of the next sweep.
    at_h: f64,
    /// Hours from the beginning to the end of the last one.
    ended_h: f64,
    sweeps: u64,
    steps: u32,
    limited_by: Limit,
}

impl Walk {
    fn begin(budget: &Budget, today_usd: f64, now_us: i64) -> Walk {
        let per_day_usd = budget.usd_per_day.unwrap_or(f64::INFINITY);
        Walk {
            per_sweep_usd: budget.usd_per_sweep.unwrap_or(f64::INFINITY),
            per_day_usd,
            left_usd: (per_day_usd - today_usd).max(0.0),
            begun_us: now_us,
            day_us: day_start(now_us),
            at_h: 0.0,
            ended_h: 0.0,
            sweeps: 0,
            steps: 0,
            limited_by: Limit::Pause,
        }
    }

    /// Goes through a sweep, in several if the budget shrinks it; `false`: it does not come to an end.
    fn sweep(&mut self, whole: &Sweep, pause_h: f64) -> bool {
        let mut rest = 1.0;
        while rest > 1e-9 {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return false;
            }
            let allowance = self.per_sweep_usd.min(self.left_usd);
            let fresh = self.per_sweep_usd.min(self.per_day_usd);
            let share = if whole.worst_usd > allowance { allowance / whole.worst_usd } else { 1.0 };
            // As `budget::is_worth_it` decides.
            if share < 1.0 && 2.0 * allowance < fresh.min(whole.worst_usd) || share <= 0.0 {
                self.limited_by = Limit::UsdPerDay;
                self.next_day();
                continue;
            }
            if share < 1.0 {
                let by_day = self.left_usd < self.per_sweep_usd;
                self.limited_by = if by_day { Limit::UsdPerDay } else { Limit::UsdPerSweep };
            }
            rest -= share.min(rest);
            self.sweeps += 1;
            self.left_usd -= whole.expected_usd.min(whole.worst_usd) * share;
            self.ended_h = self.at_h + whole.hours;
            self.at_h = self.ended_h + pause_h;
            while self.now_us() >= next_day(self.day_us) {
                self.day_us = next_day(self.day_us);
                self.left_usd = self.per_day_usd;
            }
        }
        true
    }

    fn now_us(&self) -> i64 {
        self.begun_us.saturating_add((self.at_h * HOUR_US) as i64)
    }

    fn next_day(&mut self) {
        self.day_us = next_day(self.day_us);
        self.at_h = (self.day_us - self.begun_us) as f64 / HOUR_US;
        self.left_usd = self.per_day_usd;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_HOUR: f64 = 0.5;

    fn walked(budget: Budget, today_usd: f64, sweeps: usize) -> Option<(u64, f64, Limit)> {
        let sweep = Sweep { worst_usd: 4.0, expected_usd: 1.0, hours: 0.5 };
        let mut walk = Walk::begin(&budget, today_usd, 0);
        let done = (0..sweeps).all(|_| walk.sweep(&sweep, HALF_HOUR));
        done.then_some((walk.sweeps, walk.ended_h, walk.limited_by))
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
}
