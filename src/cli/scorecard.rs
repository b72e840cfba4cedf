//! `scorecard`: rates, intervals, faults, latency and cost per endpoint and suite.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{CardFormat, Cli, ScorecardArgs};
use super::output::{self, CliError, Exit};
use super::{names, setup};
use crate::clock::rfc3339;
use crate::config::{Config, ModelConfig, durations};
use crate::domain::scorecard::{Gap, TriggerFigures};
use crate::domain::suite::Denominator;
use crate::domain::{EndpointId, Micros, Scorecard, SuiteCard};
use crate::report;
use crate::store::Store;

/// Runs it.
pub async fn run(cli: &Cli, args: &ScorecardArgs) -> Result<Exit, CliError> {
    check(cli, args)?;
    let config = setup::config(cli)?;
    let since = durations::parse(&args.since).map_err(|e| CliError::Usage(format!("--since {:?}: {e}", args.since)))?;
    let models: Vec<ModelConfig> = match &args.model {
        Some(name) => vec![setup::model(&config, Some(name))?.clone()],
        None => config.models.clone(),
    };
    let to_us = setup::clock().now_us();
    let from_us = to_us - i64::try_from(since.as_micros()).unwrap_or(to_us);
    let store = setup::store(&config).await?;
    let result = write_all(cli, args, &config, &store, &models, (from_us, to_us)).await;
    store.close().await;
    result
}

async fn write_all(
    cli: &Cli,
    args: &ScorecardArgs,
    config: &Config,
    store: &Store,
    models: &[ModelConfig],
    (from_us, to_us): (Micros, Micros),
) -> Result<Exit, CliError> {
    let format = if cli.json { CardFormat::Json } else { args.format };
    let only = match &args.suite {
        Some(text) => Some(names::suite(config, store, text).await?),
        None => None,
    };
    if args.attempts {
        let mut attempts = Vec::new();
        for model in models {
            let mut pages = report::read_window(store, &model.id, from_us, to_us).await.map_err(CliError::failed)?;
            for page in pages.iter_mut().filter(|_| only.is_some()) {
                let keep: Vec<bool> = page.suite.iter().map(|suite| only.as_ref() == Some(suite)).collect();
                page.keep(&keep);
            }
            attempts.push((model.id.clone(), pages));
        }
        let mut frame = report::attempts_of_models(&attempts).map_err(CliError::failed)?;
        return write_parquet(&mut frame, target(args, config, "attempts", "parquet")?);
    }
    let suites = crate::suites::load_all(&config.suites).unwrap_or_else(|_| {
        output::note("suites do not load (`exactod suite check` says why): triggers and pairs are left out");
        Vec::new()
    });
    let mut cards = Vec::new();
    for model in models {
        let notes = report::SuiteNotes::of(suites.iter(), model.reference.clone());
        let standings = crate::daemon::stored_standings(store, model).await.map_err(CliError::failed)?;
        let of_model = report::scorecards(store, &model.id, &standings, &notes, (from_us, to_us)).await;
        let mut of_model = of_model.map_err(CliError::failed)?;
        for card in &mut of_model {
            card.suites.retain(|told| only.as_ref().is_none_or(|only| *only == told.suite));
        }
        let pairs = crate::daemon::pair_cards(store, &model.id, (suites.iter(), &of_model), (from_us, to_us)).await;
        crate::daemon::add_pairs(&mut of_model, pairs.map_err(CliError::failed)?);
        cards.extend(of_model);
    }
    let text = match format {
        CardFormat::Table => return table(&cards, args.metrics).map(|()| Exit::Yes),
        CardFormat::Json if args.out.is_none() => return output::json(&json!({"items": cards})).map(|()| Exit::Yes),
        CardFormat::Json => serde_json::to_string_pretty(&json!({"items": cards})).map_err(CliError::failed)?,
        CardFormat::Csv => report::csv(&cards),
        CardFormat::Md => report::markdown(&cards),
        CardFormat::Parquet => {
            let mut frame = report::card_frame(&cards).map_err(CliError::failed)?;
            return write_parquet(&mut frame, target(args, config, "scorecards", "parquet")?);
        }
    };
    if args.out.as_deref() == Some(Path::new("-")) {
        return output::raw(text.as_bytes()).map(|()| Exit::Yes);
    }
    let extension = match format {
        CardFormat::Csv => "csv",
        CardFormat::Json => "json",
        _ => "md",
    };
    let path = target(args, config, "scorecards", extension)?;
    std::fs::write(&path, text).map_err(|e| CliError::Failed(format!("failed to write {}: {e}", path.display())))?;
    told(&[path])
}

/// `--out`, or a file under `reports/` beside the config.
fn target(args: &ScorecardArgs, config: &Config, name: &str, extension: &str) -> Result<PathBuf, CliError> {
    if let Some(out) = &args.out {
        return Ok(out.clone());
    }
    let folder = config.path.parent().unwrap_or(Path::new("")).join("reports");
    std::fs::create_dir_all(&folder)
        .map_err(|e| CliError::Failed(format!("failed to make {}: {e}", folder.display())))?;
    Ok(folder.join(format!("{name}.{extension}")))
}

fn write_parquet(frame: &mut report::Frame, path: PathBuf) -> Result<Exit, CliError> {
    report::parquet(frame, &path).map_err(CliError::failed)?;
    told(&[path])
}

/// What cannot be meant together, before anything is read.
fn check(cli: &Cli, args: &ScorecardArgs) -> Result<(), CliError> {
    let wrong = |text: &str| Err(CliError::Usage(text.to_owned()));
    match args.format {
        CardFormat::Csv | CardFormat::Md | CardFormat::Parquet if cli.json => {
            wrong("--json prints JSON, --format asks for something else: give one of them")
        }
        CardFormat::Parquet if args.out.as_deref() == Some(Path::new("-")) => {
            wrong("parquet is not written to stdout: give --out a file, or leave it out for one under reports/")
        }
        CardFormat::Parquet => Ok(()),
        CardFormat::Csv | CardFormat::Md | CardFormat::Json if args.metrics => {
            wrong("--metrics goes with the table; the other formats hold them anyway")
        }
        _ if args.attempts => wrong("--attempts goes with --format parquet; `exactod attempts` lists attempts"),
        _ => Ok(()),
    }
}

fn told(paths: &[PathBuf]) -> Result<Exit, CliError> {
    for path in paths {
        output::line(&path.display().to_string())?;
    }
    Ok(Exit::Yes)
}

fn table(cards: &[Scorecard], metrics: bool) -> Result<(), CliError> {
    let mut by_model: BTreeMap<&str, Vec<&Scorecard>> = BTreeMap::new();
    for card in cards {
        by_model.entry(card.model.as_str()).or_default().push(card);
    }
    for (model, cards) in by_model {
        let mut table = output::table(&[
            "endpoint",
            "standing",
            "suite",
            "n",
            "rate % [95 %]",
            "gap to anchors, points",
            "first try %",
            "p50 / p99 ms",
            "$",
            "faults",
        ]);
        let mut changes = String::new();
        for card in cards {
            if card.suites.is_empty() {
                table.add_row([card.endpoint.as_str(), card.standing.name(), "no attempts in the window"]);
            }
            for s in &card.suites {
                changes += &change_text(&card.endpoint, s).unwrap_or_default();
                changes += &pass_k_text(&card.endpoint, s);
                changes += &figures_text(&card.endpoint, s, metrics);
                changes += &trigger_text(&card.endpoint, s).unwrap_or_default();
                changes += &pair_text(&card.endpoint, s).unwrap_or_default();
                let rate = match (s.rate, s.interval) {
                    (Some(r), Some(i)) => format!("{:.1} [{:.1}, {:.1}]", r * 100.0, i.lo * 100.0, i.hi * 100.0),
                    _ => "-".to_owned(),
                };
                let gap = s.gap.map_or_else(
                    || "-".to_owned(),
                    |g| {
                        format!("{:+.1} [{:+.1}, {:+.1}]", g.mean * 100.0, g.interval.lo * 100.0, g.interval.hi * 100.0)
                    },
                );
                let first = s.first_try.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", share * 100.0));
                let latency = s.latency.map_or_else(
                    || "-".to_owned(),
                    |q| format!("{:.0} / {:.0}", q.p50_us as f64 / 1e3, q.p99_us as f64 / 1e3),
                );
                let faults = s.faults.iter().map(|(f, n)| format!("{f} {n}")).collect::<Vec<_>>().join(", ");
                table.add_row([
                    card.endpoint.to_string(),
                    card.standing.to_string(),
                    s.suite.to_string(),
                    s.attempts.to_string(),
                    rate,
                    gap,
                    first,
                    latency,
                    format!("{:.4}", s.cost_usd),
                    faults,
                ]);
            }
        }
        output::line(&format!("{model}\n{table}{changes}"))?;
    }
    Ok(())
}

/// pass^k of repeated cases, on a line of its own; empty where nothing was repeated.
fn pass_k_text(endpoint: &EndpointId, card: &SuiteCard) -> String {
    if card.pass_k.is_empty() {
        return String::new();
    }
    let each = card.pass_k.iter().map(|p| format!("pass^{} {:.1} % ({} cases)", p.k, p.value * 100.0, p.cases));
    format!("\n{endpoint}: {} {}", card.suite, each.collect::<Vec<_>>().join(", "))
}

/// What the suite itself asks for, a line each. `metrics`: those of its `[[metrics]]`, too.
fn figures_text(endpoint: &EndpointId, card: &SuiteCard, metrics: bool) -> String {
    let percent = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0));
    let mut text = String::new();
    if let Some(reduced) = &card.reduced {
        let (value, cases, unscored) = (percent(reduced.value), reduced.cases, reduced.unscored);
        text += &format!("\n{endpoint}: {} {} {value} ({cases} cases", card.suite, reduced.reducer);
        text += &if unscored > 0 { format!(", {unscored} with too few scored repeats)") } else { ")".to_owned() };
    }
    if let Some(both) = &card.abstention {
        let (official, strict) = (percent(Some(both.official)), percent(Some(both.strict)));
        text += &format!(
            "\n{endpoint}: {} {official} as the official checker counts, {strict} when malformed calls fail: {} of {} \
             answers where no call was due",
            card.suite, both.malformed, both.cases
        );
    }
    if let Some((held, gap, interval)) =
        card.hold_out.as_ref().filter(|held| held.finding || metrics).and_then(|h| Some((h, h.gap?, h.interval?)))
    {
        let (fixed, fresh) = (percent(held.fixed.rate), percent(held.fresh.rate));
        let finding = if held.finding { ": it may know what stays" } else { "" };
        text += &format!(
            "\n{endpoint}: {} cases that stay {fixed}, fresh ones {fresh}: {:+.1} points [{:+.1}, {:+.1}]{finding}",
            card.suite,
            gap * 100.0,
            interval.lo * 100.0,
            interval.hi * 100.0
        );
    }
    if let Some(broken) = &card.broken {
        let (pass, all) = (broken.pass, broken.pass + broken.fail + broken.unscored);
        let rate = percent(broken.rate_with);
        text += &format!("\n{endpoint}: {} excluded as broken: {pass} of {all} passed; {rate} with them", card.suite);
    }
    for figure in card.metrics.iter().filter(|_| metrics) {
        let of = if figure.of == Some(Denominator::Calls) { " of the answers with calls" } else { "" };
        let category = figure.category.as_deref().map(|name| format!(" [{name}]")).unwrap_or_default();
        let (name, value) = (figure.name.name(), percent(figure.value));
        text += &format!("\n{endpoint}: {} {name}{category} {value}{of} ({})", card.suite, figure.count);
    }
    text
}

/// Where it calls a tool, on a line of its own; `None` for suites that do not judge that.
fn trigger_text(endpoint: &EndpointId, card: &SuiteCard) -> Option<String> {
    let trigger = card.trigger.as_ref()?;
    let figures = |of: &TriggerFigures| {
        let f1 = of.f1.map_or_else(|| "-".to_owned(), |f1| format!("{:.1}", f1 * 100.0));
        let differs = of.disagreement.zip(of.interval).map_or_else(String::new, |(share, i)| {
            format!(", differs on {:.1} % [{:.1}, {:.1}]", share * 100.0, i.lo * 100.0, i.hi * 100.0)
        });
        format!("F1 {f1}{differs} of {}", of.samples)
    };
    let mut text = format!("\n{endpoint}: {} calls tools as expected: {}", card.suite, figures(&trigger.expectation));
    if let Some(reference) = &trigger.reference {
        text += &format!("; as the reference: {}", figures(reference));
    }
    if let Some(noise) = &trigger.noise {
        text += &format!("; the reference as itself: {}", figures(noise));
    }
    Some(text)
}

/// Whether streams say what plain answers say, on a line of its own; `None` for suites without pairs.
fn pair_text(endpoint: &EndpointId, card: &SuiteCard) -> Option<String> {
    let pairs = card.pairs.as_ref()?;
    let kinds = pairs.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ");
    let kinds = if kinds.is_empty() { kinds } else { format!(" ({kinds})") };
    Some(format!(
        "\n{endpoint}: {} asked both ways: streams differ from plain answers in {} of {} pairs [{:.1}, {:.1}] %{kinds}",
        card.suite,
        pairs.differing,
        pairs.pairs,
        pairs.interval.lo * 100.0,
        pairs.interval.hi * 100.0
    ))
}

/// What a new version of the suite did, on a line of its own; `None` without one in the window.
fn change_text(endpoint: &EndpointId, card: &SuiteCard) -> Option<String> {
    let change = card.change.as_ref()?;
    let percent = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
    let common = change.overlap.map_or_else(String::new, |overlap| {
        let Gap { mean, interval, cases } = overlap.difference;
        format!(
            "; on {cases} cases that are the same {} -> {}, {:+.1} points [{:+.1}, {:+.1}]",
            percent(Some(overlap.before)),
            percent(Some(overlap.after)),
            mean * 100.0,
            interval.lo * 100.0,
            interval.hi * 100.0
        )
    });
    Some(format!(
        "\n{endpoint}: {} has a new version since {}, counted from there: {} -> {}{common}: {}",
        card.suite,
        rfc3339(change.at_us),
        percent(change.before.rate),
        percent(change.after.rate),
        change.reading.text()
    ))
}
