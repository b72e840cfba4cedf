//! Scorecards as CSV, Markdown and a frame; frames as Parquet.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use polars::prelude::{Column, DataFrame};
use polars_io::parquet::write::ParquetWriter;

use super::ReportError;
use crate::domain::suite::Denominator;
use crate::domain::{Scorecard, SuiteCard};

/// Number of columns.
const COUNT: usize = 52;

const COLUMNS: [&str; COUNT] = [
    "model",
    "endpoint",
    "standing",
    "suite",
    "attempts",
    "pass",
    "fail",
    "unscored",
    "rate",
    "rate_lo",
    "rate_hi",
    "gap",
    "gap_lo",
    "gap_hi",
    "first_try_ok",
    "delivered",
    "latency_p50_ms",
    "latency_p99_ms",
    "ttft_p50_ms",
    "ttft_p99_ms",
    "tokens_in",
    "tokens_out",
    "cost_usd",
    "faults",
    "trigger_f1",
    "trigger_disagreement",
    "trigger_lo",
    "trigger_hi",
    "trigger_reference_f1",
    "trigger_reference_disagreement",
    "trigger_noise_f1",
    "trigger_noise_disagreement",
    "stream_pairs",
    "stream_pairs_differing",
    "pass_k2",
    "pass_k3",
    "pass_k4",
    "pass_k5",
    "pass_k6",
    "pass_k7",
    "pass_k8",
    "reducer",
    "reduced",
    "reduced_cases",
    "official_rate",
    "strict_rate",
    "malformed_calls",
    "rate_with_broken",
    "metrics",
    "asked",
    "first_try",
    "delivery",
];

fn cells(card: &Scorecard, suite: &SuiteCard) -> [String; COUNT] {
    let number = |n: Option<f64>| n.map(|n| format!("{n:.5}")).unwrap_or_default();
    let ms = |us: Option<i64>| us.map(|us| format!("{:.1}", us as f64 / 1e3)).unwrap_or_default();
    let trigger = suite.trigger;
    let (expected, against) = (trigger.map(|t| t.expectation), trigger.and_then(|t| t.reference));
    let noise = trigger.and_then(|t| t.noise);
    let faults = suite.faults.iter().map(|(f, n)| format!("{f} {n}")).collect::<Vec<_>>().join("; ");
    [
        card.model.to_string(),
        card.endpoint.to_string(),
        card.standing.to_string(),
        suite.suite.to_string(),
        suite.attempts.to_string(),
        suite.pass.to_string(),
        suite.fail.to_string(),
        suite.unscored.to_string(),
        number(suite.rate),
        number(suite.interval.map(|i| i.lo)),
        number(suite.interval.map(|i| i.hi)),
        number(suite.gap.map(|g| g.mean)),
        number(suite.gap.map(|g| g.interval.lo)),
        number(suite.gap.map(|g| g.interval.hi)),
        suite.first_try_ok.to_string(),
        suite.delivered.to_string(),
        ms(suite.latency.map(|q| q.p50_us)),
        ms(suite.latency.map(|q| q.p99_us)),
        ms(suite.ttft.map(|q| q.p50_us)),
        ms(suite.ttft.map(|q| q.p99_us)),
        suite.tokens_in.to_string(),
        suite.tokens_out.to_string(),
        format!("{:.6}", suite.cost_usd),
        faults,
        number(expected.and_then(|t| t.f1)),
        number(expected.and_then(|t| t.disagreement)),
        number(expected.and_then(|t| t.interval).map(|i| i.lo)),
        number(expected.and_then(|t| t.interval).map(|i| i.hi)),
        number(against.and_then(|t| t.f1)),
        number(against.and_then(|t| t.disagreement)),
        number(noise.and_then(|t| t.f1)),
        number(noise.and_then(|t| t.disagreement)),
        suite.pairs.as_ref().map(|p| p.pairs.to_string()).unwrap_or_default(),
        suite.pairs.as_ref().map(|p| p.differing.to_string()).unwrap_or_default(),
        pass_k(suite, 2),
        pass_k(suite, 3),
        pass_k(suite, 4),
        pass_k(suite, 5),
        pass_k(suite, 6),
        pass_k(suite, 7),
        pass_k(suite, 8),
        suite.reduced.as_ref().map(|r| r.reducer.clone()).unwrap_or_default(),
        number(suite.reduced.as_ref().and_then(|r| r.value)),
        suite.reduced.as_ref().map(|r| r.cases.to_string()).unwrap_or_default(),
        number(suite.abstention.map(|a| a.official)),
        number(suite.abstention.map(|a| a.strict)),
        suite.abstention.map(|a| a.malformed.to_string()).unwrap_or_default(),
        number(suite.broken.and_then(|b| b.rate_with)),
        metrics(suite),
        suite.asked.to_string(),
        number(suite.first_try),
        number(suite.delivery),
    ]
}

fn pass_k(suite: &SuiteCard, k: u32) -> String {
    let found = suite.pass_k.iter().find(|p| p.k == k);
    found.map(|p| format!("{:.5}", p.value)).unwrap_or_default()
}

/// The suite's own metrics: `accuracy[simple] 0.95000; schema_accuracy/calls 0.99000`.
fn metrics(suite: &SuiteCard) -> String {
    let told = suite.metrics.iter().map(|metric| {
        let of = if metric.of == Some(Denominator::Calls) { "/calls" } else { "" };
        let category = metric.category.as_deref().map(|name| format!("[{name}]")).unwrap_or_default();
        let value = metric.value.map(|value| format!("{value:.5}")).unwrap_or_default();
        format!("{}{of}{category} {value}", metric.name.name())
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Comma-separated values with a header (RFC 4180), one row per endpoint and suite.
#[must_use]
pub fn csv(cards: &[Scorecard]) -> String {
    let mut out = COLUMNS.join(",");
    out.push_str("\r\n");
    for card in cards {
        for suite in &card.suites {
            let row: Vec<String> = cells(card, suite).iter().map(|c| csv_cell(c)).collect();
            out.push_str(&row.join(","));
            out.push_str("\r\n");
        }
    }
    out
}

fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// A Markdown table, one row per endpoint and suite.
#[must_use]
pub fn markdown(cards: &[Scorecard]) -> String {
    let mut out = format!("| {} |\n|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for card in cards {
        for suite in &card.suites {
            let row: Vec<String> = cells(card, suite).iter().map(|c| c.replace('|', "\\|")).collect();
            let _ = writeln!(out, "| {} |", row.join(" | "));
        }
    }
    out
}

/// The table of [`csv()`] with numbers as numbers; what is unknown is null.
///
/// # Errors
/// [`ReportError::Frame`].
pub fn card_frame(cards: &[Scorecard]) -> Result<DataFrame, ReportError> {
    let rows: Vec<(&Scorecard, &SuiteCard)> = cards.iter().flat_map(|c| c.suites.iter().map(move |s| (c, s))).collect();
    let mut columns = Vec::with_capacity(COLUMNS.len());
    for (index, name) in COLUMNS.into_iter().enumerate() {
        // Each cell is read from the text of the other formats, so that all of them say the same.
        let texts: Vec<String> = rows.iter().map(|(card, suite)| cells(card, suite)[index].clone()).collect();
        columns.push(match name {
            "model" | "endpoint" | "standing" | "suite" | "faults" | "reducer" | "metrics" => {
                Column::new(name.into(), texts)
            }
            "attempts"
            | "pass"
            | "fail"
            | "unscored"
            | "first_try_ok"
            | "delivered"
            | "tokens_in"
            | "tokens_out"
            | "stream_pairs"
            | "stream_pairs_differing"
            | "asked"
            | "reduced_cases"
            | "malformed_calls" => {
                Column::new(name.into(), texts.iter().map(|t| t.parse::<i64>().ok()).collect::<Vec<_>>())
            }
            _ => Column::new(name.into(), texts.iter().map(|t| t.parse::<f64>().ok()).collect::<Vec<_>>()),
        });
    }
    Ok(DataFrame::new(rows.len(), columns)?)
}

/// Writes a frame as Parquet.
///
/// # Errors
/// [`ReportError::Output`] when the file cannot be made, [`ReportError::Frame`] when it cannot be written.
pub fn parquet(frame: &mut DataFrame, path: &Path) -> Result<(), ReportError> {
    let file = File::create(path)?;
    ParquetWriter::new(file).finish(frame)?;
    Ok(())
}
