//! Stored attempts as a polars frame, one row each.

use polars::prelude::*;

use super::ReportError;
use crate::domain::{Fault, Micros, ModelId, UnscoredWhy, Verdict};
use crate::store::{AttemptColumns, Store};

/// Reads a window whole. A year of one model at the default budgets is some 400,000 rows, about 100 MB.
///
/// # Errors
/// [`ReportError::Store`].
pub async fn read_window(
    store: &Store,
    model: &ModelId,
    from_us: Micros,
    to_us: Micros,
) -> Result<Vec<AttemptColumns>, ReportError> {
    let mut window = store.window(model, from_us, to_us);
    let mut pages = Vec::new();
    while let Some(page) = window.next().await? {
        pages.push(page);
    }
    Ok(pages)
}

/// One row per attempt. Counts are 0/1 columns, so that sums are counts; durations are null for undelivered attempts,
/// and for answers that cannot be attributed to the endpoint.
///
/// # Errors
/// [`ReportError::Frame`].
pub fn attempt_frame(pages: &[AttemptColumns]) -> Result<DataFrame, ReportError> {
    let rows = || pages.iter().flat_map(|p| (0..p.len()).map(move |i| (p, i)));
    let text = |name: &str, f: &dyn Fn(&AttemptColumns, usize) -> Option<String>| {
        Column::new(name.into(), rows().map(|(p, i)| f(p, i)).collect::<Vec<Option<String>>>())
    };
    let number = |name: &str, f: &dyn Fn(&AttemptColumns, usize) -> Option<i64>| {
        Column::new(name.into(), rows().map(|(p, i)| f(p, i)).collect::<Vec<Option<i64>>>())
    };
    let flag = |name: &str, f: &dyn Fn(&AttemptColumns, usize) -> bool| number(name, &|p, i| Some(i64::from(f(p, i))));
    let delivered = |p: &AttemptColumns, i: usize, of: Option<i64>| of.filter(|_| p.is_its_own_answer(i));
    let columns = vec![
        text("id", &|p, i| Some(p.id[i].to_string())),
        text("sweep", &|p, i| Some(p.sweep[i].to_string())),
        text("endpoint", &|p, i| Some(p.endpoint[i].to_string())),
        text("suite", &|p, i| Some(p.suite[i].to_string())),
        text("case", &|p, i| Some(p.case[i].to_string())),
        number("epoch", &|p, i| Some(i64::from(p.epoch[i]))),
        number("started_at_us", &|p, i| Some(p.started_at_us[i]))
            .cast(&DataType::Datetime(TimeUnit::Microseconds, None))?,
        text("verdict", &|p, i| Some(p.verdict[i].kind().to_owned())),
        text("fault", &|p, i| p.fault[i].map(|f| f.name().to_owned())),
        text("secondary_faults", &|p, i| secondary(&p.secondary[i])),
        Column::new("score".into(), rows().map(|(p, i)| p.score[i]).collect::<Vec<Option<f64>>>()),
        flag("pass", &|p, i| p.verdict[i] == Verdict::Pass),
        flag("fail", &|p, i| matches!(p.verdict[i], Verdict::Fail(_))),
        flag("unscored", &|p, i| matches!(p.verdict[i], Verdict::Unscored(_))),
        flag("undelivered", &|p, i| p.verdict[i] == Verdict::Unscored(UnscoredWhy::Provider)),
        flag("first_try_ok", &|p, i| p.first_try_ok[i]),
        flag("delivered", &|p, i| p.delivered[i]),
        number("latency_us", &|p, i| delivered(p, i, Some(p.total_us[i]))),
        number("ttft_us", &|p, i| delivered(p, i, p.ttft_us[i])),
        number("tokens_in", &|p, i| p.tokens_in[i].and_then(|n| i64::try_from(n).ok())),
        number("tokens_out", &|p, i| p.tokens_out[i].and_then(|n| i64::try_from(n).ok())),
        number("cost_nanousd", &|p, i| Some(p.cost_nanousd[i])),
    ];
    Ok(DataFrame::new(rows().count(), columns)?)
}

/// The attempts of several models in one frame, with the model as its first column.
///
/// # Errors
/// [`ReportError::Frame`].
pub fn attempts_of_models(models: &[(ModelId, Vec<AttemptColumns>)]) -> Result<DataFrame, ReportError> {
    let mut all: Option<DataFrame> = None;
    for (model, pages) in models {
        let mut frame = attempt_frame(pages)?;
        let names = vec![model.as_str(); frame.height()];
        frame.insert_column(0, Column::new("model".into(), names))?;
        match &mut all {
            None => all = Some(frame),
            Some(all) => {
                all.vstack_mut(&frame)?;
            }
        }
    }
    Ok(all.unwrap_or_default())
}

fn secondary(faults: &[Fault]) -> Option<String> {
    (!faults.is_empty()).then(|| faults.iter().map(|f| f.name()).collect::<Vec<_>>().join("|"))
}
