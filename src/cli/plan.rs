//! `plan`: how long and how much, before any money is spent.

use std::fmt::Write as _;
use std::time::Duration;

use super::args::{Cli, PlanArgs};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::config::durations;
use crate::curation::days_text;
use crate::daemon::{self, CapabilityPlan, Limit, Load, ModelPlan, Plan, UntilDecided};

const ALONE: &str = "is there a peer to compare with?";
const RARE: &str = "few cases carry the tag, or there is no peer to compare with";

/// Runs it.
pub async fn run(cli: &Cli, args: &PlanArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let only = args.model.as_deref().map(|name| setup::model(&config, Some(name))).transpose()?.map(|m| m.id.clone());
    let clock = setup::clock();
    let store = setup::store_if_any(&config).await?;
    let runtime = setup::runtime(config, &clock)?;
    let plan = daemon::plan(store.as_ref(), &runtime, only.as_ref(), clock.now_us()).await;
    if let Some(store) = &store {
        store.close().await;
    }
    let plan = plan.map_err(CliError::failed)?;
    if cli.json {
        output::json(&plan)?;
    } else {
        output::line(&text(&plan))?;
    }
    Ok(Exit::Yes)
}

fn text(plan: &Plan) -> String {
    let mut out: Vec<String> = plan.models.iter().map(model_text).collect();
    let budget = &plan.budget;
    let cap = |cap: Option<f64>| cap.map_or("none".to_owned(), |usd| format!("${usd}"));
    out.push(format!(
        "budget: {} a day, {} a sweep; {} spent and held today\n  {}",
        cap(budget.usd_per_day),
        cap(budget.usd_per_sweep),
        usd(budget.today_usd),
        budget.advice.join("\n  ")
    ));
    out.join("\n\n")
}

fn model_text(plan: &ModelPlan) -> String {
    let rhythm = match plan.sweeps_per_day {
        Some(n) => format!("{} sweeps a day", figure(n)),
        None => "no schedule: sweeps by hand only".to_owned(),
    };
    let schedules: Vec<String> =
        plan.schedules.iter().map(|s| format!("{} ({} {})", s.name, s.cron, s.timezone)).collect();
    let mut out = format!("{}: {rhythm}", plan.model);
    if !schedules.is_empty() {
        let _ = write!(out, " by {}", schedules.join(", "));
    }
    let mut table = output::table(&["endpoint", "standing", "next sweep", "requests", "worst", "expected"]);
    for row in &plan.endpoints {
        let cases: Vec<String> = row.cases.iter().map(|(suite, n)| format!("{suite} {n}")).collect();
        let anchor = if row.anchor { ", anchor" } else { "" };
        table.add_row([
            row.id.to_string(),
            format!("{}{anchor}", row.standing),
            cases.join(", "),
            row.load.requests.to_string(),
            if row.free { "no price".to_owned() } else { usd(row.load.worst_usd) },
            row.load.expected_usd.map_or("not measured yet".to_owned(), usd),
        ]);
    }
    let _ = write!(out, "\n{table}\n  next sweep  {}", load_text(&plan.next_sweep));
    if let Some(undecided) = &plan.undecided {
        let ids: Vec<&str> = undecided.endpoints.iter().map(|id| id.as_str()).collect();
        let _ = write!(out, "\n  undecided   {}: {}", ids.join(", "), until_text(undecided, ALONE));
        out.push_str(&pace_text(plan.undecided.as_ref()));
    }
    if let Some(onboarding) = &plan.onboarding {
        let _ = write!(out, "\n  onboarding  a new endpoint: {}", until_text(onboarding, ALONE));
        out.push_str(&pace_text(plan.onboarding.as_ref()));
    }
    plan.capabilities.iter().for_each(|of| out.push_str(&capability_text(of)));
    if let Some(month) = &plan.month {
        let _ = write!(out, "\n  a month     once all are decided: {}", load_text(month));
    }
    if let Some(routing) = &plan.routing {
        let _ = write!(
            out,
            "\n  routing     by the list's weights ${} a million tokens (3 in to 1 out); with even weights ${}, the cheapest \
             listed ${}",
            figure(routing.usd_per_mtok),
            figure(routing.even_usd_per_mtok),
            figure(routing.cheapest_usd_per_mtok)
        );
    }
    for row in &plan.fingerprints {
        let _ = write!(
            out,
            "\n  besides     {}: every {} days {} requests in {} sweeps, at most {}",
            row.prompts,
            figure(row.every_days),
            row.requests,
            row.sweeps,
            usd(row.worst_usd)
        );
    }
    let _ = write!(
        out,
        "\n  assumed     endpoints as good as the anchors, each failing {} % of cases by itself; worse ones are decided \
         sooner, those near the margin later",
        figure(plan.failing * 100.0)
    );
    out
}

fn load_text(load: &Load) -> String {
    let mut out = format!("{} requests", load.requests);
    if let Some(tokens) = load.tokens {
        let _ = write!(out, ", {tokens} tokens");
    }
    let _ = write!(out, ", at most {}", usd(load.worst_usd));
    match load.expected_usd {
        Some(expected) => {
            let _ = write!(out, ", about {}", usd(expected));
        }
        None => out.push_str(", nothing measured yet to expect by"),
    }
    out
}

/// `otherwise`: what to think of when the end cannot be seen.
fn until_text(until: &UntilDecided, otherwise: &str) -> String {
    let Some(sweeps) = until.sweeps else {
        return match until.sweeps_at_most {
            Some(n) => format!("not decided within sight; Provisional after at most {n} sweeps (policy.cases.cap)"),
            None => format!("not decided within sight: {otherwise}"),
        };
    };
    let mut out = format!("decided after about {sweeps} sweeps");
    if let Some(days) = until.days {
        let _ = write!(out, ", {} by the schedule", days_text(days));
    }
    if let Some(hours) = until.hours_back_to_back {
        let _ = write!(out, ", {} back to back", days_text(hours / 24.0));
    }
    let _ = write!(out, "; {}", load_text(&until.load));
    out
}

/// A capability's list, on lines of its own.
fn capability_text(plan: &CapabilityPlan) -> String {
    let name = plan.capability.as_str();
    let tagged: Vec<String> = plan.tagged.iter().map(|(suite, n)| format!("{n} cases of {suite}")).collect();
    let mut out = format!("\n  list of     {name} ({})", tagged.join(", "));
    match &plan.undecided {
        None => out.push_str(": all decided"),
        Some(undecided) => {
            let ids: Vec<&str> = undecided.endpoints.iter().map(|id| id.as_str()).collect();
            let _ = write!(out, "\n              undecided {}: {}", ids.join(", "), until_text(undecided, RARE));
        }
    }
    if let Some(onboarding) = &plan.onboarding {
        let _ = write!(out, "\n              a new endpoint: {}", until_text(onboarding, RARE));
    }
    out
}

/// By onboarding sweeps, on a line of its own.
fn pace_text(until: Option<&UntilDecided>) -> String {
    let Some(pace) = until.and_then(|u| u.at_pace.as_ref()) else { return String::new() };
    let pause = durations::show(Duration::from_secs(pace.pause_s));
    let how = match (pace.sweeps, pace.hours) {
        (Some(sweeps), Some(hours)) => {
            // While nothing was measured, every sweep is taken to cost its worst case.
            let about = if pace.load.expected_usd.is_some() { "about" } else { "at most" };
            format!("first standings after {about} {sweeps} sweeps, {}", days_text(hours / 24.0))
        }
        _ => "first standings are not within sight".to_owned(),
    };
    let by = match pace.limited_by {
        Limit::Pause => "",
        Limit::UsdPerSweep => ", limited by usd_per_sweep",
        Limit::UsdPerDay => ", limited by usd_per_day",
    };
    let left = match pace.held_for_ticks_usd {
        Some(held) if pace.limited_by == Limit::UsdPerDay => {
            format!(", of which {} a day is left to the ticks", usd(held))
        }
        _ => String::new(),
    };
    format!(
        "\n              at the onboarding pace ({pause} between sweeps): {how}{by}{left}; {}",
        load_text(&pace.load)
    )
}

/// Three significant digits at least, no needless zeros.
fn figure(x: f64) -> String {
    let text = if x.abs() < 1.0 { format!("{x:.4}") } else { format!("{x:.2}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn usd(x: f64) -> String {
    if x != 0.0 && x < 1.0 { format!("${x:.4}") } else { format!("${x:.2}") }
}
