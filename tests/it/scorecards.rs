//! `scorecard`: whatever the format, the figures are those of the sweep.

use std::collections::BTreeMap;
use std::fs::File;

use polars::prelude::{AnyValue, DataFrame};
use polars_io::SerReader;
use polars_io::parquet::read::ParquetReader;
use serde_json::Value;

use crate::world::{World, broken, good, weak};

/// What all formats tell of one endpoint: attempts, passed, failed, unscored, delivered at first, tokens in and out.
type Counts = [u64; 7];
const COLUMNS: [&str; 7] = ["attempts", "pass", "fail", "unscored", "first_try_ok", "tokens_in", "tokens_out"];

type Table = BTreeMap<String, Counts>;

fn add(table: &mut Table, endpoint: &str, counts: Counts) {
    let sums = table.entry(endpoint.to_owned()).or_default();
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

fn counts_of(row: &Value) -> Counts {
    COLUMNS.map(|column| row[column].as_u64().unwrap_or_else(|| panic!("{column}: {row}")))
}

/// A table of texts, summed over the suites: the header names the columns.
fn sum_rows<'a>(mut rows: impl Iterator<Item = Vec<&'a str>>) -> Table {
    let header = rows.next().unwrap();
    let column = |name: &str| header.iter().position(|h| *h == name).unwrap_or_else(|| panic!("{name}: {header:?}"));
    let (endpoint, counted) = (column("endpoint"), COLUMNS.map(column));
    let mut table = Table::new();
    for row in rows {
        assert_eq!(row.len(), header.len(), "{row:?}");
        add(&mut table, row[endpoint], counted.map(|c| row[c].parse().unwrap()));
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_tells_the_figures_of_the_sweep() {
    let world = World::new(vec![
        good("alder"),
        weak("birch", 0.2),
        broken("cedar", &[("args_python_literal", 0.5)]),
        exactod::sim::EndpointSpec { error_rate: 0.8, ..good("dogwood") },
    ])
    .await;
    let swept = world.json(&["sweep", "--full", "--json"]).await;
    let mut expected = Table::new();
    for row in swept["endpoints"].as_array().unwrap() {
        add(&mut expected, row["id"].as_str().unwrap(), counts_of(row));
    }
    assert!(expected["birch"][2] > 0 && expected["dogwood"][4] < expected["dogwood"][0], "{expected:?}");

    let mut from_json = Table::new();
    let cards = world.json(&["scorecard", "--since", "1h", "--json"]).await;
    for card in cards["items"].as_array().unwrap() {
        for suite in card["suites"].as_array().unwrap() {
            add(&mut from_json, card["endpoint"].as_str().unwrap(), counts_of(suite));
            check_intervals(suite);
        }
        // Faults by kind are those of the sweep, too.
        let of_sweep = swept["endpoints"].as_array().unwrap().iter().find(|r| r["id"] == card["endpoint"]).unwrap();
        let mut faults: BTreeMap<String, u64> = BTreeMap::new();
        for (fault, n) in card["suites"].as_array().unwrap().iter().flat_map(|s| s["faults"].as_object().unwrap()) {
            *faults.entry(fault.clone()).or_default() += n.as_u64().unwrap();
        }
        assert_eq!(serde_json::to_value(&faults).unwrap(), of_sweep["faults"], "{card}");
    }
    assert_eq!(from_json, expected);

    let csv = world.run(&["scorecard", "--since", "1h", "--format", "csv", "--out", "-"]).await;
    assert_eq!(sum_rows(csv.stdout.lines().map(|line| line.split(',').collect())), expected, "{csv:?}");

    // Without --out the file stands under reports/ beside the config, and its name is told.
    let md = world.run(&["scorecard", "--since", "1h", "--format", "md"]).await;
    assert_eq!(md.code, 0, "{md:?}");
    assert_eq!(md.stdout.trim_end(), world.path("reports/scorecards.md").display().to_string());
    let text = std::fs::read_to_string(world.path("reports/scorecards.md")).unwrap();
    let cells = |line: &'_ str| line.trim_matches('|').split('|').map(str::trim).map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = text.lines().filter(|line| !line.starts_with("|---")).map(cells).collect();
    assert_eq!(sum_rows(rows.iter().map(|row| row.iter().map(String::as_str).collect())), expected, "{text}");

    let table = world.run(&["scorecard", "--since", "1h"]).await;
    assert_eq!(table.code, 0);
    assert!(expected.keys().all(|id| table.stdout.contains(id.as_str())), "{table:?}");

    in_parquet(&world, &csv.stdout, &expected).await;
}

/// Parquet holds the table of the CSV, or the attempts themselves; all models in one file.
async fn in_parquet(world: &World, csv: &str, expected: &Table) {
    // A second model, of which nothing is known: its file must not take the place of the first one's.
    let config = std::fs::read_to_string(world.config_path()).unwrap();
    let another = "\n[[model]]\nid = \"lab/n\"\n[[model.endpoint]]\nprovider = \"alder\"\n";
    std::fs::write(world.config_path(), config + another).unwrap();
    let out = world.path("out.parquet").display().to_string();
    let parquet = ["scorecard", "--since", "1h", "--format", "parquet"];
    let frame = async |more: &[&str]| {
        let written = world.run(&[&parquet[..], more, &["--out", &out]].concat()).await;
        assert_eq!((written.code, written.stdout.trim_end()), (0, out.as_str()), "{written:?}");
        ParquetReader::new(File::open(&out).unwrap()).finish().unwrap()
    };
    let cards = frame(&[]).await;
    let names: Vec<&str> = cards.get_column_names().into_iter().map(|name| name.as_str()).collect();
    assert_eq!(names.join(","), csv.lines().next().unwrap());
    assert_eq!(sum_frame(&cards, false), *expected);
    let rate = cards.column("rate").unwrap().get(0).unwrap();
    assert!(matches!(rate, AnyValue::Float64(_)), "a number is a number: {rate:?}");
    assert_eq!(sum_frame(&frame(&["--attempts"]).await, true), *expected);

    for (wrong, hint) in [
        (&["--out", "-"][..], "stdout"),
        (&["--json"], "--json"),
        (&["--format", "csv", "--attempts"], "--format parquet"),
    ] {
        let args = if wrong.contains(&"csv") { vec!["scorecard"] } else { parquet.to_vec() };
        let refused = world.run(&[&args[..], wrong].concat()).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
        assert!(refused.stderr.contains(hint), "{refused:?}");
    }
    assert!(!std::path::Path::new("-").exists());
}

/// Rates lie in their intervals, and these in [0, 1].
fn check_intervals(suite: &Value) {
    let (Some(rate), interval) = (suite["rate"].as_f64(), &suite["interval"]) else { return };
    let (lo, hi) = (interval["lo"].as_f64().unwrap(), interval["hi"].as_f64().unwrap());
    assert!(0.0 <= lo && lo <= rate && rate <= hi && hi <= 1.0, "{suite}");
}

/// The counts of a frame with a row per suite or per attempt.
fn sum_frame(frame: &DataFrame, of_attempts: bool) -> Table {
    let value = |column: &str, row: usize| frame.column(column).unwrap().get(row).unwrap();
    let number = |column: &str, row: usize| match value(column, row) {
        AnyValue::Null => 0,
        other => other.extract::<u64>().unwrap(),
    };
    let mut table = Table::new();
    for row in 0..frame.height() {
        let endpoint = value("endpoint", row).get_str().unwrap().to_owned();
        let counts = COLUMNS.map(|column| if of_attempts && column == "attempts" { 1 } else { number(column, row) });
        add(&mut table, &endpoint, counts);
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_before_the_window_is_left_out() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    world.json(&["sweep", "--json"]).await;
    // A window that ends when it begins holds nothing.
    let cards = world.json(&["scorecard", "--since", "1ms", "--json"]).await;
    for card in cards["items"].as_array().unwrap() {
        assert_eq!(card["suites"], Value::Array(vec![]), "{card}");
    }
    let wrong = world.run(&["scorecard", "--since", "soon"]).await;
    assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""), "{wrong:?}");
}
