//! `GET /v1/models/{model}/live` and `/v1/models/{model}/endpoints/{endpoint}/live`: what live traffic said.

use std::collections::BTreeMap;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::guard::App;
use super::limits::{LIVE_SPANS_MAX, SERIES_BUCKETS_DEFAULT, SERIES_BUCKETS_MAX};
use super::models::ModelRef;
use super::params::{Param, Params, SINCE, STEP, STRATUM, bad};
use super::problem::Problem;
use super::series::known_endpoint;
use super::state::ApiSetup;
use crate::clock::rfc3339;
use crate::domain::Micros;
use crate::live::{Cell, Count, Stratum, WIDTHS_S};
use crate::stats::Z95;
use crate::stats::intervals::wilson;

/// Parameters of an endpoint's series.
pub const PARAMS: &[Param] = &[SINCE, STEP, STRATUM];
/// Parameters of a model's summary.
pub const MODEL_PARAMS: &[Param] = &[SINCE, STRATUM];

const SECOND_US: i64 = 1_000_000;

/// The time that is told of, in spans that begin at multiples of their width since the epoch.
#[derive(Debug, Clone, Copy)]
struct Span {
    from_us: Micros,
    to_us: Micros,
    step_us: i64,
    /// Of what is read.
    width_s: u32,
}

impl Span {
    /// The widest stored spans that fit the step, and the step if none is asked for: a 28th of the window, rounded up to
    /// whole minutes, hours or days.
    fn new(asked_us: Option<i64>, since_us: Micros, now_us: Micros) -> Result<Span, Problem> {
        let window_us = now_us - since_us;
        let least_us = window_us.div_euclid(SERIES_BUCKETS_DEFAULT as i64).max(1);
        let width_us = |width_s: u32| i64::from(width_s) * SECOND_US;
        let rounded_us = || {
            let unit =
                WIDTHS_S.into_iter().rev().map(width_us).find(|unit| *unit <= least_us).unwrap_or(60 * SECOND_US);
            (least_us + unit - 1).div_euclid(unit) * unit
        };
        let step_us = asked_us.unwrap_or_else(rounded_us);
        let fits = WIDTHS_S.into_iter().rev().find(|width_s| step_us > 0 && step_us % width_us(*width_s) == 0);
        let Some(width_s) = fits else {
            return Err(bad(STEP.name, "it is no number of whole minutes").hint("such as 1m, 15m, 1h or 1d"));
        };
        let spans = window_us / width_us(width_s);
        if window_us / step_us > SERIES_BUCKETS_MAX as i64 || spans > LIVE_SPANS_MAX {
            return Err(bad(STEP.name, "the window would have too many buckets").hint(format!(
                "at most {SERIES_BUCKETS_MAX} buckets: a longer step (whole hours or days are read from sums) or a \
                 shorter window"
            )));
        }
        let from_us = since_us.div_euclid(step_us) * step_us;
        Ok(Span { from_us, to_us: now_us, step_us, width_s })
    }
}

/// Counts by stratum and beginning of their bucket.
type Buckets = BTreeMap<String, BTreeMap<Micros, Cell>>;

/// The answers of one endpoint over time.
pub async fn of_endpoint(
    app: &App,
    setup: &ApiSetup,
    model: &ModelRef,
    endpoint: &str,
    query: Option<&str>,
) -> Result<Response, Problem> {
    let params = Params::read(query, PARAMS)?;
    let now_us = app.state.clock.now_us();
    let span = Span::new(params.step_us()?, params.since_us(now_us)?, now_us)?;
    let only = stratum(&params)?;
    let id = known_endpoint(setup, model, endpoint)?;
    let question = format!("live {} {id} {}", model.id, query.unwrap_or_default());
    let make = async {
        let read = read(app, (model, Some(id.as_str())), span, only).await?;
        let buckets = read.into_values().next().unwrap_or_default();
        let all = || buckets.values().flatten();
        let mut merged: BTreeMap<Micros, Cell> = BTreeMap::new();
        all().for_each(|(at, cell)| merged.entry(*at).or_default().merge(cell));
        let items: Vec<Value> = merged.iter().map(|(at, cell)| with_time(*at, span.step_us, cell)).collect();
        Ok(json!({
            "model": model.id, "endpoint": id, "from": rfc3339(span.from_us), "from_us": span.from_us,
            "to": rfc3339(span.to_us), "to_us": span.to_us, "step_us": span.step_us,
            "total": told(&sum(all().map(|(_, cell)| cell))), "strata": by_stratum(&buckets), "buckets": items,
        }))
    };
    app.reports.answer(question, make).await
}

/// The answers of all endpoints of a model in one window.
pub async fn of_model(app: &App, setup: &ApiSetup, model: &ModelRef, query: Option<&str>) -> Result<Response, Problem> {
    let params = Params::read(query, MODEL_PARAMS)?;
    let now_us = app.state.clock.now_us();
    let since_us = params.since_us(now_us)?;
    let span = Span::new(Some(summary_step(now_us - since_us)), since_us, now_us)?;
    let only = stratum(&params)?;
    let question = format!("live {} {}", model.id, query.unwrap_or_default());
    let make = async {
        let mut read = read(app, (model, None), span, only).await?;
        let unattributed = read.remove("").unwrap_or_default();
        let configured = setup.models.iter().find(|m| m.id == model.id);
        let ids = configured.into_iter().flat_map(|m| m.endpoints.iter().map(|e| e.id.to_string()));
        let mut items: Vec<Value> = ids.map(|id| one(&id, &read.remove(&id).unwrap_or_default())).collect();
        // Those that were configured once.
        items.extend(read.iter().map(|(id, buckets)| one(id, buckets)));
        let nameless = sum(unattributed.values().flat_map(BTreeMap::values));
        Ok(json!({
            "model": model.id, "from": rfc3339(span.from_us), "from_us": span.from_us, "to": rfc3339(span.to_us),
            "to_us": span.to_us, "endpoints": items, "unattributed": nameless.get(Count::Requests),
        }))
    };
    app.reports.answer(question, make).await
}

/// The width of what is read for a sum: minutes for a few hours, days for months.
fn summary_step(window_us: i64) -> i64 {
    let seconds = match window_us / SECOND_US {
        i64::MIN..=21_600 => 60,
        21_601..=1_209_600 => 3_600,
        _ => 86_400,
    };
    seconds * SECOND_US
}

fn stratum(params: &Params) -> Result<Option<Stratum>, Problem> {
    let Some(name) = params.text(STRATUM) else { return Ok(None) };
    let known = Stratum::parse(name).ok_or_else(|| bad(STRATUM.name, "it is not known").hint(STRATUM.text))?;
    Ok(Some(known))
}

/// By endpoint; of unattributed answers by the empty name.
async fn read(
    app: &App,
    (model, endpoint): (&ModelRef, Option<&str>),
    span: Span,
    only: Option<Stratum>,
) -> Result<BTreeMap<String, Buckets>, Problem> {
    let window = (span.from_us, span.to_us);
    let mut out: BTreeMap<String, Buckets> = BTreeMap::new();
    for stored in app.state.store.live((model.id.as_str(), endpoint), span.width_s, window).await? {
        if only.is_some_and(|only| only.name() != stored.series.stratum) {
            continue;
        }
        let cell = Cell::decode(&stored.bytes).map_err(|error| Problem::internal("reading live traffic", &error))?;
        let at = stored.start_us.div_euclid(span.step_us) * span.step_us;
        let buckets = out.entry(stored.series.endpoint).or_default().entry(stored.series.stratum).or_default();
        buckets.entry(at).or_default().merge(&cell);
    }
    Ok(out)
}

fn sum<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Cell {
    let mut sum = Cell::default();
    cells.into_iter().for_each(|cell| sum.merge(cell));
    sum
}

fn one(id: &str, buckets: &Buckets) -> Value {
    let all = sum(buckets.values().flat_map(BTreeMap::values));
    let mut out = told(&all);
    out.insert("endpoint".to_owned(), json!(id));
    out.insert("strata".to_owned(), by_stratum(buckets));
    Value::Object(out)
}

fn by_stratum(buckets: &Buckets) -> Value {
    let one = |(name, buckets): (&String, &BTreeMap<Micros, Cell>)| (name.clone(), json!(told(&sum(buckets.values()))));
    Value::Object(buckets.iter().map(one).collect())
}

fn with_time(at_us: Micros, step_us: i64, cell: &Cell) -> Value {
    let mut out = told(cell);
    out.insert("from".to_owned(), json!(rfc3339(at_us)));
    out.insert("from_us".to_owned(), json!(at_us));
    out.insert("to_us".to_owned(), json!(at_us + step_us));
    Value::Object(out)
}

/// A share with its Wilson interval; `None` of nothing. For people to read: it decides nothing.
fn share(of: u64, all: u64) -> Value {
    if all == 0 {
        return Value::Null;
    }
    let (lo, hi) = wilson(of as f64, all as f64, Z95);
    json!({"rate": of as f64 / all as f64, "lo": lo, "hi": hi})
}

/// What was counted, in words.
fn told(cell: &Cell) -> Map<String, Value> {
    let n = |count: Count| cell.get(count);
    let counts: Map<String, Value> =
        Count::ALL.iter().filter(|c| n(**c) > 0).map(|c| (c.name().to_owned(), json!(n(*c)))).collect();
    let per_second = (n(Count::TimedUs) > 0).then(|| n(Count::TimedTokens) as f64 * 1e6 / n(Count::TimedUs) as f64);
    let quantiles = |sketch: &crate::live::Sketch| {
        let at = |q| sketch.quantile_us(q).map(|us| us as f64 / 1000.0);
        json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99)})
    };
    let fields = [
        ("requests", json!(n(Count::Requests))),
        ("scored", json!(cell.scored())),
        ("bad", json!(cell.bad())),
        ("failure", share(cell.bad(), cell.scored())),
        ("tool_errors", tool_errors(cell)),
        ("latency_ms", quantiles(&cell.latency)),
        ("ttft_ms", quantiles(&cell.ttft)),
        ("tokens_per_second", json!(per_second)),
        ("cost_usd", json!(n(Count::CostNanousd) as f64 / 1e9)),
        ("counts", Value::Object(counts)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The request-level rate of Auto Exacto and its three classes: answers with at least one bad call among those with
/// finish reason `tool_calls`. A call that was not judged counts as right there, as a missing schema does.
fn tool_errors(cell: &Cell) -> Value {
    let n = |count: Count| cell.get(count);
    let [json_, unknown, schema] = [Count::CalledInvalidJson, Count::CalledUnknownTool, Count::CalledSchema].map(n);
    let errors = json_ + unknown + schema;
    json!({
        "requests": n(Count::Called), "judged": n(Count::CalledJudged), "errors": errors,
        "InvalidJson": json_, "UnknownName": unknown, "SchemaMismatch": schema,
        "rate": share(errors, n(Count::Called)), "rate_of_judged": share(errors, n(Count::CalledJudged)),
    })
}
