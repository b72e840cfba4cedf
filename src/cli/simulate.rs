//! `simulate`: what a policy costs and how often it errs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::args::SimulateArgs;
use super::output::{self, CliError, Exit};
use super::setup;
use crate::config;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::domain::Policy;
use crate::simulate::report::Figures;
use crate::simulate::{self, Control, Report, Request, Scenario, SimulateError};

/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);
/// Longest scenario file, in bytes.
const SCENARIO_BYTES_MAX: u64 = 1 << 20;
/// Showings between two plain lines.
const LINE_EVERY: u32 = 20;

/// Runs a scenario.
pub async fn run(args: &SimulateArgs, as_json: bool) -> Result<Exit, CliError> {
    let request = request(args)?;
    let control = Arc::new(Control::default());
    let worker = {
        let control = Arc::clone(&control);
        tokio::task::spawn_blocking(move || simulate::simulate(&request, &control))
    };
    let result = tokio::select! {
        result = watch(&control, worker) => result,
        _ = setup::interrupted() => {
            control.stop.store(true, Ordering::Relaxed);
            output::note("interrupted");
            return Ok(Exit::Interrupted);
        }
    };
    let report = result.map_err(|error| match error {
        SimulateError::Stopped(_) => CliError::failed(error),
        _ => CliError::Usage(error.to_string()),
    })?;
    if as_json {
        output::json(&report)?;
    } else {
        output::line(&readable(&report))?;
    }
    Ok(Exit::Yes)
}

fn request(args: &SimulateArgs) -> Result<Request, CliError> {
    let mut policy = match &args.policy {
        Some(path) => config::load_policy(path)?,
        None => Policy::default(),
    };
    if let Some(alpha) = args.alpha {
        policy.alpha = alpha;
    }
    let scenario = match Scenario::named(&args.scenario) {
        Ok(scenario) => scenario,
        Err(_) if looks_like_file(&args.scenario) => scenario_file(Path::new(&args.scenario))?,
        Err(unknown) => return Err(CliError::Usage(unknown.to_string())),
    };
    let (reps, seed, only) = (args.reps, args.seed, args.only.clone());
    Ok(Request { scenario, policy, reps, seed, only, threads: simulate::threads_here() })
}

async fn watch(
    control: &Arc<Control>,
    mut worker: tokio::task::JoinHandle<Result<Report, SimulateError>>,
) -> Result<Report, SimulateError> {
    let bar = if output::is_watched() { bar() } else { ProgressBar::hidden() };
    let mut shown = 0u32;
    let result = loop {
        tokio::select! {
            result = &mut worker => break result,
            () = tokio::time::sleep(SHOW_EVERY) => {}
        }
        let (done, planned) = (control.done.load(Ordering::Relaxed), control.planned.load(Ordering::Relaxed));
        bar.set_length(planned);
        bar.set_position(done);
        shown += 1;
        if !output::is_watched() && shown.is_multiple_of(LINE_EVERY) {
            output::note(&format!("{done} of {planned} repetitions"));
        }
    };
    bar.finish_and_clear();
    // The worker does not panic; were it lost, nothing would have been simulated.
    result.unwrap_or(Err(SimulateError::Stopped(simulate::Stopped)))
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} repetitions {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

// ------------------------------------------------------------------------------------------------------------ table

fn readable(report: &Report) -> String {
    let Report { scenario, about, reps, seed, alpha, margin, policies } = report;
    let mut out =
        format!("{scenario}: {about}\n{reps} repetitions, seed {seed}, alpha {alpha}, margin {}\n", rounded(*margin));
    let rows: Vec<(String, &Figures)> = policies.iter().map(|p| (p.policy.clone(), &p.figures)).collect();
    out.push_str(&table_of(&rows).to_string());
    let cells: Vec<(String, &Figures)> =
        policies.iter().flat_map(|p| p.cells.iter().map(|c| (p.policy.clone(), c))).collect();
    if !cells.is_empty() {
        out.push('\n');
        out.push_str(&table_of(&cells).to_string());
    }
    out
}

/// One row per policy; columns are the figures that any of them has.
fn table_of(rows: &[(String, &Figures)]) -> Table {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(|(_, figures)| figures.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let words: Vec<String> =
        std::iter::once("policy".to_owned()).chain(names.iter().map(|n| n.replace('_', " "))).collect();
    let mut table = output::table(&words.iter().map(String::as_str).collect::<Vec<_>>());
    for (policy, figures) in rows {
        let cells = names.iter().map(|name| figures.get(*name).map_or(String::new(), shown));
        table.add_row(std::iter::once(policy.clone()).chain(cells));
    }
    table
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(n) => n.as_f64().map_or_else(|| n.to_string(), rounded),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        Value::Object(map) => map.iter().map(|(k, v)| format!("{k}: {}", shown(v))).collect::<Vec<_>>().join("  "),
        Value::Bool(b) => b.to_string(),
    }
}

/// As many digits as people compare.
fn rounded(x: f64) -> String {
    let digits =
        if x == 0.0 || x.abs() >= 1000.0 { 0 } else { (2.0 - x.abs().log10().floor()).clamp(0.0, 5.0) as usize };
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

// ------------------------------------------------------------------------------------------------------------- file

fn looks_like_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == "toml") || name.contains(std::path::MAIN_SEPARATOR)
}

fn scenario_file(path: &Path) -> Result<Scenario, CliError> {
    let problem = |message: String| {
        let hint = "name a scenario, or the path of a TOML file with [[suite]] and [[endpoint]]";
        CliError::Files(Diagnostics(vec![Diagnostic::file(path, message).hint(hint)]))
    };
    let size = std::fs::metadata(path).map_err(|e| problem(format!("cannot read the scenario: {e}")))?.len();
    if size > SCENARIO_BYTES_MAX {
        return Err(problem(format!("a scenario has at most {SCENARIO_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| problem(format!("cannot read the scenario: {e}")))?;
    Ok(simulate::file::parse(path, &text)?)
}
