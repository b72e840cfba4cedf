//! `rescore`: stored answers judged by the suites as they are now.

use super::args::{Cli, RescoreArgs};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::config::{Config, durations};
use crate::daemon::{self, RescoreReport, Runtime};
use crate::domain::{Micros, ModelId, SuiteName};
use crate::store::Store;

/// Runs it.
pub async fn run(cli: &Cli, args: &RescoreArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let since = durations::parse(&args.since).map_err(|e| CliError::Usage(format!("--since {:?}: {e}", args.since)))?;
    let models = models(&config, args)?;
    let clock = setup::clock();
    let store = setup::existing_store(&config).await?;
    let runtime = setup::runtime(config, &clock)?;
    let now_us = clock.now_us();
    let from_us = now_us - i64::try_from(since.as_micros()).unwrap_or(now_us);
    let reports = all(&store, &runtime, &models, args, (from_us, now_us)).await;
    store.close().await;
    let reports = reports?;
    if cli.json {
        output::json(&reports)?;
    } else {
        for report in &reports {
            output::line(&text(report))?;
        }
    }
    Ok(Exit::Yes)
}

fn models(config: &Config, args: &RescoreArgs) -> Result<Vec<ModelId>, CliError> {
    Ok(match &args.model {
        Some(name) => vec![setup::model(config, Some(name))?.id.clone()],
        None => config.models.iter().map(|model| model.id.clone()).collect(),
    })
}

async fn all(
    store: &Store,
    runtime: &Runtime,
    models: &[ModelId],
    args: &RescoreArgs,
    (from_us, now_us): (Micros, Micros),
) -> Result<Vec<RescoreReport>, CliError> {
    let mut names = Vec::new();
    for text in &args.suites {
        let name = SuiteName::new(text).map_err(|e| CliError::Usage(format!("--suite {text:?}: {e}")))?;
        if !runtime.drawers.contains_key(&name) {
            let known: Vec<&str> = runtime.drawers.keys().map(SuiteName::as_str).collect();
            return Err(CliError::Usage(format!("no suite `{name}` is loaded; there are {}", known.join(", "))));
        }
        names.push(name);
    }
    let wanted = || runtime.drawers.iter().filter(|(name, _)| names.is_empty() || names.contains(name));
    // As in a sweep: one label never stands for two contents, or their verdicts could not be told apart by it.
    let suites = wanted().map(|(_, drawer)| drawer.suite());
    daemon::register_suites(store, suites, now_us).await.map_err(setup::service_error)?;
    let mut reports = Vec::new();
    for model in models {
        for (_, drawer) in wanted() {
            let report =
                daemon::rescore(store, model, drawer.suite(), &runtime.programs, (from_us, now_us), now_us).await;
            let report = report.map_err(CliError::failed)?;
            if report.attempts > 0 || !names.is_empty() {
                reports.push(report);
            }
        }
    }
    Ok(reports)
}

fn text(report: &RescoreReport) -> String {
    let RescoreReport { model, suite, revision, attempts, rescored, new, changed, .. } = report;
    let mut out = format!(
        "{model}, {suite} {revision}: {rescored} of {attempts} answers judged again, {new} verdicts added, {changed} are \
         others than the first"
    );
    for (why, n) in &report.skipped {
        out.push_str(&format!("\n  {n} not: {why}"));
    }
    if report.endpoints.is_empty() {
        return out;
    }
    let mut table = output::table(&["endpoint", "answers", "passed before", "pass now"]);
    for (id, overlap) in &report.endpoints {
        let before = share(overlap.passed_before, overlap.scored_before);
        let now = share(overlap.passes_now, overlap.scored_now);
        table.add_row([id.to_string(), overlap.answers.to_string(), before, now]);
    }
    out.push_str(&format!("\n{table}"));
    for changed in &report.examples {
        out.push_str(&format!(
            "\n  {} {} {}: {} -> {} {}",
            changed.attempt, changed.endpoint, changed.case, changed.before, changed.now, changed.explanation
        ));
    }
    out
}

/// Of the answers that have a score.
fn share(passed: u64, scored: u64) -> String {
    match scored {
        0 => "none scored".to_owned(),
        _ => format!("{passed} of {scored} ({:.1} %)", 100.0 * passed as f64 / scored as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_score_is_not_counted_as_failed() {
        assert_eq!(share(2, 2), "2 of 2 (100.0 %)");
        assert_eq!(share(1, 3), "1 of 3 (33.3 %)");
        assert_eq!(share(0, 0), "none scored");
    }
}
