//! Whether the money suffices, and what to write instead.

use super::pace::Limit;
use super::{BudgetRow, ModelPlan};
use crate::config::Budget;
use crate::curation::days_text;

pub(super) fn budget_row(budget: &Budget, models: &[ModelPlan], today_usd: f64) -> BudgetRow {
    let mut advice = Vec::new();
    let free: Vec<&str> = models.iter().flat_map(|m| &m.endpoints).filter(|e| e.free).map(|e| e.id.as_str()).collect();
    if let Some(cap) = budget.usd_per_sweep {
        for model in models.iter().filter(|m| m.dearest_sweep.worst_usd > cap) {
            let worst = model.dearest_sweep.worst_usd;
            advice.push(format!(
                "sweeps of {} are shrunk to about {:.0} % of their cases: one may cost ${worst:.2}, usd_per_sweep is {cap}; \
                 what is told above takes about {} times as long then; set usd_per_sweep = {:.2}, or lower policy.cases",
                model.model,
                cap / worst * 100.0,
                times(worst / cap),
                round_up(worst)
            ));
        }
    }
    if let Some(cap) = budget.usd_per_day {
        let day = day_need(budget, models);
        if day > cap {
            advice.push(format!(
                "usd_per_day = {cap} does not suffice for a day's sweeps, which need ${day:.2}: the later ones are shrunk or \
                 not started, and all takes about {} times as long; set usd_per_day = {:.2}, sweep less often, or lower \
                 policy.cases",
                times(day / cap),
                round_up(day)
            ));
        }
    }
    let suffices = advice.is_empty();
    if budget.usd_per_day.is_none() && budget.usd_per_sweep.is_none() {
        advice.push("no cap is set: see [budget] usd_per_day and usd_per_sweep".to_owned());
    } else if suffices {
        advice.push("the budget suffices: no sweep is shrunk".to_owned());
    }
    advice.extend(models.iter().filter_map(|m| onboarding_advice(budget, m)));
    if !free.is_empty() {
        advice.push(format!("no price is set for {}: its money is not counted", free.join(", ")));
    }
    BudgetRow { usd_per_day: budget.usd_per_day, usd_per_sweep: budget.usd_per_sweep, today_usd, suffices, advice }
}

/// What the cap of a day must hold: what its sweeps cost (in the worst case while nothing was measured), and the whole
/// reservation of the dearest one, since what is reserved counts until a sweep has ended.
fn day_need(budget: &Budget, models: &[ModelPlan]) -> f64 {
    let of_sweep = |m: &ModelPlan| {
        let worst = budget.usd_per_sweep.map_or(m.dearest_sweep.worst_usd, |cap| cap.min(m.dearest_sweep.worst_usd));
        (worst, m.dearest_sweep.expected_usd.unwrap_or(worst).min(worst))
    };
    let spent: f64 = models.iter().map(|m| of_sweep(m).1 * m.sweeps_per_day.unwrap_or(1.0).max(1.0)).sum();
    let held = models.iter().map(|m| of_sweep(m).0 - of_sweep(m).1).fold(0.0, f64::max);
    spent + held
}

/// How many times as long, for people.
fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.1}") } else { format!("{ratio:.0}") }
}

/// A cap to write into a config: up to the next two significant digits.
pub(super) fn round_up(usd: f64) -> f64 {
    if usd <= 0.0 || !usd.is_finite() {
        return 0.01;
    }
    let unit = 10f64.powi(usd.log10().floor() as i32 - 1).max(0.01);
    (usd / unit).ceil() * unit
}

/// Where the budget, not the pause, says how long the first standings take.
fn onboarding_advice(budget: &Budget, model: &ModelPlan) -> Option<String> {
    let pace = model.undecided.as_ref()?.at_pace.as_ref()?;
    let (key, cap, enough) = match pace.limited_by {
        Limit::Pause => return None,
        Limit::UsdPerSweep => ("usd_per_sweep", budget.usd_per_sweep?, model.dearest_sweep.worst_usd),
        Limit::UsdPerDay => {
            ("usd_per_day", budget.usd_per_day?, pace.load.worst_usd + pace.held_for_ticks_usd.unwrap_or(0.0))
        }
    };
    let about = if pace.load.expected_usd.is_some() { "about" } else { "at most" };
    let ends = match pace.hours {
        Some(hours) => format!("it takes {about} {} then", days_text(hours / 24.0)),
        None => "it does not come to an end so".to_owned(),
    };
    Some(format!(
        "{key} = {cap} holds up the onboarding of {}: {ends}; {key} = {:.2} never would",
        model.model,
        round_up(enough)
    ))
}
