//! Money of a day that belongs to its ticks: onboarding, of whichever model, leaves it to them.

use super::budget::next_day;
use super::runtime::{ModelRuntime, Runtime};
use crate::domain::{Micros, SweepKind, SweepState};
use crate::store::{Store, StoreError};

/// Newest sweeps of a model from which the cost of its next is expected.
const SWEEPS_LOOKED_AT: usize = 20;
/// Ticks of a schedule that are counted up to the end of the day.
const TICKS_COUNTED_MAX: usize = 10_000;

/// What a model's scheduled sweeps have cost lately, on average, in billionths of a dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    spent: i64,
    reserved: i64,
}

/// What is to be left, in billionths of a dollar, for the ticks of all models from now to the end of the UTC day: what
/// their sweeps cost as a rule, and room for one reservation of each model, so that also the last ticks, which may come at
/// the same time, begin whole.
///
/// # Errors
/// [`StoreError`] of the database.
pub(super) async fn held_back(store: &Store, runtime: &Runtime, now_us: Micros) -> Result<i64, StoreError> {
    let mut ahead = Vec::new();
    for model in runtime.models.values() {
        let ticks = ticks_today(runtime, model, now_us);
        if ticks > 0 {
            ahead.push((ticks, cost(store, model).await?));
        }
    }
    Ok(sum(&ahead))
}

/// A model that the schedule has not swept yet costs as much as the dearest of the others.
fn sum(ahead: &[(i64, Option<Cost>)]) -> i64 {
    let known = || ahead.iter().filter_map(|(_, cost)| *cost);
    let dearest = known().max_by_key(|cost| cost.spent).unwrap_or(Cost { spent: 0, reserved: 0 });
    let of = |(ticks, cost): &(i64, Option<Cost>)| {
        let Cost { spent, reserved } = cost.unwrap_or(dearest);
        ticks.saturating_mul(spent).saturating_add((reserved - spent).max(0))
    };
    ahead.iter().map(of).fold(0, i64::saturating_add)
}

fn ticks_today(runtime: &Runtime, model: &ModelRuntime, now_us: Micros) -> i64 {
    let covering = runtime.schedules.iter().filter(|s| s.config.covers_model(&model.config));
    let ticks = covering.map(|s| s.timetable.between(now_us, next_day(now_us), TICKS_COUNTED_MAX));
    i64::try_from(ticks.sum::<usize>()).unwrap_or(i64::MAX)
}

async fn cost(store: &Store, model: &ModelRuntime) -> Result<Option<Cost>, StoreError> {
    let newest = store.newest_sweeps(&model.config.id, SWEEPS_LOOKED_AT).await?;
    let swept = || newest.iter().filter(|s| s.kind == SweepKind::Scheduled && s.state == SweepState::Done);
    let n = i64::try_from(swept().count()).unwrap_or(i64::MAX);
    let mean = |of: fn(&crate::store::SweepRecord) -> i64| swept().map(of).fold(0, i64::saturating_add) / n.max(1);
    Ok((n > 0).then(|| Cost { spent: mean(|s| s.spent_nanousd), reserved: mean(|s| s.reserved_nanousd) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticks_of_all_models_count_and_each_model_has_room_for_a_reservation() {
        let cost = |spent, reserved| Some(Cost { spent, reserved });
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[(2, cost(10, 100))]), 2 * 10 + 90);
        assert_eq!(sum(&[(2, cost(10, 100)), (3, cost(20, 50))]), 2 * 10 + 90 + 3 * 20 + 30);
        assert_eq!(sum(&[(2, cost(10, 100)), (1, None)]), 3 * 10 + 2 * 90, "not swept yet: as the dearest");
        assert_eq!(sum(&[(4, None)]), 0, "nothing is known");
    }
}
