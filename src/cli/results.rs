//! `results`: attempts as the result files of other tools.

use serde_json::{Value, json};

use super::args::{Cli, ResultsArgs, ResultsFormat};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::config::durations;
use crate::domain::{EndpointId, SuiteName, SweepId};
use crate::provider::read_kept;
use crate::report::{ResultRow, junit, promptfoo};
use crate::store::{AttemptFilter, PAGE_ITEMS_MAX, Store, StoredAttempt};

/// Most attempts of one file.
const RESULTS_MAX: usize = 50_000;

/// Runs it.
pub async fn run(cli: &Cli, args: &ResultsArgs) -> Result<Exit, CliError> {
    if cli.json && args.format == ResultsFormat::Junit {
        return Err(CliError::Usage("--json prints JSON, --format junit is XML: leave --json out".to_owned()));
    }
    let config = setup::config(cli)?;
    let now_us = setup::clock().now_us();
    let since = durations::parse(&args.since).map_err(|e| CliError::Usage(format!("--since {:?}: {e}", args.since)))?;
    let model = match &args.model {
        Some(name) => Some(setup::model(&config, Some(name))?.id.clone()),
        None => None,
    };
    let filter = AttemptFilter {
        sweep: parsed::<SweepId>("--sweep", args.sweep.as_deref(), |text| text.parse().map_err(|e| format!("{e}")))?,
        model,
        endpoint: parsed("--endpoint", args.endpoint.as_deref(), |text| {
            EndpointId::new(text).map_err(|e| e.to_string())
        })?,
        suite: parsed("--suite", args.suite.as_deref(), |text| SuiteName::new(text).map_err(|e| e.to_string()))?,
        // A sweep is asked for whole, however old it is.
        since_us: args.sweep.is_none().then(|| now_us - i64::try_from(since.as_micros()).unwrap_or(now_us)),
        ..AttemptFilter::default()
    };
    let store = setup::existing_store(&config).await?;
    let rows = rows(&store, &filter, args.format).await;
    store.close().await;
    let rows = rows?;
    if rows.is_empty() {
        output::note("no attempts are stored that this asks for; `exactod attempts` lists them");
    }
    let text = match args.format {
        ResultsFormat::Junit => junit(&rows),
        ResultsFormat::Promptfoo => {
            serde_json::to_string_pretty(&promptfoo(&rows, now_us)).map_err(CliError::failed)? + "\n"
        }
    };
    match &args.out {
        None => output::raw(text.as_bytes())?,
        Some(path) => {
            std::fs::write(path, text)
                .map_err(|e| CliError::Failed(format!("failed to write {}: {e}", path.display())))?;
            output::line(&path.display().to_string())?;
        }
    }
    Ok(Exit::Yes)
}

fn parsed<T>(
    option: &str,
    text: Option<&str>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, CliError> {
    text.map(|text| read(text).map_err(|e| CliError::Usage(format!("{option} {text:?}: {e}")))).transpose()
}

/// The attempts, oldest first. Transcripts are read where the format tells of them.
async fn rows(store: &Store, filter: &AttemptFilter, format: ResultsFormat) -> Result<Vec<ResultRow>, CliError> {
    let mut rows = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = store.attempts(filter, PAGE_ITEMS_MAX, cursor.as_deref()).await.map_err(CliError::failed)?;
        for stored in page.items {
            if rows.len() >= RESULTS_MAX {
                let hint = "narrow it with --sweep, --suite, --endpoint or --since";
                return Err(CliError::Usage(format!("there are more than {RESULTS_MAX} attempts: {hint}")));
            }
            rows.push(match format {
                ResultsFormat::Junit => ResultRow { stored, messages: None, output: None },
                ResultsFormat::Promptfoo => with_texts(store, stored).await?,
            });
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    rows.reverse();
    Ok(rows)
}

async fn with_texts(store: &Store, listed: StoredAttempt) -> Result<ResultRow, CliError> {
    let found = store.attempt(listed.attempt.id).await.map_err(CliError::failed)?;
    // Pruned meanwhile: what was listed is told.
    let Some(mut stored) = found else { return Ok(ResultRow { stored: listed, messages: None, output: None }) };
    let Some(transcript) = stored.attempt.transcript.take() else {
        return Ok(ResultRow { stored, messages: None, output: None });
    };
    let request: Option<Value> = serde_json::from_slice(&transcript.request).ok();
    let messages = request.and_then(|mut request| Some(request.get_mut("messages")?.take()));
    Ok(ResultRow { stored, messages, output: answer(&transcript.response) })
}

/// The text of an answer, or its calls; of a conversation the last one.
fn answer(body: &[u8]) -> Option<Value> {
    let steps = serde_json::from_slice::<Value>(body).ok();
    let last = steps.as_ref().and_then(|steps| steps.get("steps")?.as_array()?.last()?.as_str());
    let completion = read_kept(last.map_or(body, str::as_bytes)).ok()?;
    if completion.tool_calls.is_empty() {
        return completion.content.map(Value::String);
    }
    let calls = completion.tool_calls.into_iter().map(
        |call| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}),
    );
    Some(calls.collect())
}
