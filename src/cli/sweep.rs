//! `sweep`: one now, or back to back until decided.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::args::{Cli, SweepArgs};
use super::bars::Bars;
use super::output::{self, CliError, Exit};
use super::setup;
use crate::config::ModelConfig;
use crate::daemon::{self, ModelRuntime, Runtime, Service, SweepError, SweepOutcome, SweepRequest};
use crate::domain::{EndpointId, Standing, SuiteName, SweepId, SweepKind};
use crate::store::MeasuredRow;

/// Sweeps of one `--until-decided` run, at most: beyond the cap of any sensible policy.
const SWEEPS_MAX: u32 = 1000;

/// Pause before a held sweep is looked at again.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// One endpoint of the document.
#[derive(Debug, Default, Serialize)]
struct EndpointRow {
    id: String,
    standing: String,
    attempts: u64,
    pass: u64,
    fail: u64,
    unscored: u64,
    faults: BTreeMap<String, u64>,
    secondary_faults: BTreeMap<String, u64>,
    first_try_ok: u64,
    tokens_in: u64,
    tokens_out: u64,
    cost_usd: f64,
    #[serde(skip)]
    cost_nanousd: i64,
}

/// The document of one model.
#[derive(Debug, Serialize)]
struct Document {
    sweep: Option<String>,
    sweeps: u32,
    model: String,
    decided: bool,
    endpoints: Vec<EndpointRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// How the sweeps of one model ended.
struct Ended {
    sweeps: Vec<SweepId>,
    interrupted: bool,
    note: Option<String>,
}

/// Runs it.
pub async fn run(cli: &Cli, args: &SweepArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let models: Vec<ModelConfig> = match &args.model {
        Some(name) => vec![setup::model(&config, Some(name))?.clone()],
        None => config.models.clone(),
    };
    let request = request(args, &models)?;
    let service = setup::service(config).await?;
    let models = match request.goes_on {
        Some(sweep) => model_of(&service, models, sweep).await?,
        None => models,
    };
    let known: Vec<SuiteName> = service.runtime.load().drawers.keys().cloned().collect();
    if let Some(unknown) = request.suites.iter().flatten().find(|s| !known.contains(s)) {
        let names = known.iter().map(SuiteName::as_str).collect::<Vec<_>>().join(", ");
        return Err(CliError::Usage(format!(
            "no suite {unknown:?} is loaded (loaded: {names})",
            unknown = unknown.as_str()
        )));
    }
    if args.until_decided
        && let Some(suites) = &request.suites
    {
        refuse_missing_suites(&service, &models, suites)?;
    }
    let drain = service.runtime.load().config.server.drain_timeout;
    setup::end_on_signals(&service.signals, move || drain);
    let result = sweep_all(&service, &models, &request, args).await;
    let report = service.close().await;
    let lost = (report.lost > 0).then(|| {
        let why = report.status.last_error.unwrap_or_default();
        format!("{} answered attempts could not be stored and will be asked again: {why}", report.lost)
    });
    let (documents, interrupted) = match result {
        // What could not be done in the end matters less than that it was stopped.
        Err(error) if service.signals.stop.is_cancelled() => {
            output::note(&format!("interrupted: {error}"));
            (Vec::new(), true)
        }
        result => result?,
    };
    if !(interrupted && documents.is_empty()) {
        print(&documents, cli.json)?;
    }
    match lost {
        Some(lost) if interrupted => output::note(&lost),
        Some(lost) => return Err(CliError::Failed(lost)),
        None => {}
    }
    if interrupted {
        return Ok(Exit::Interrupted);
    }
    let complete = documents.iter().all(|d| d.sweep.is_some() && (!args.until_decided || d.decided));
    Ok(if complete { Exit::Yes } else { Exit::No })
}

/// The model that a sweep asked.
async fn model_of(service: &Service, models: Vec<ModelConfig>, sweep: SweepId) -> Result<Vec<ModelConfig>, CliError> {
    let stored = service.sweeper.store.sweep(sweep).await.map_err(CliError::failed)?;
    let of = |model: &ModelConfig| stored.as_ref().is_some_and(|stored| stored.record.model == model.id);
    let models: Vec<ModelConfig> = models.into_iter().filter(of).collect();
    match models.is_empty() {
        true => Err(CliError::Usage(format!("--extend {sweep}: no model of the config has such a sweep"))),
        false => Ok(models),
    }
}

fn request(args: &SweepArgs, models: &[ModelConfig]) -> Result<SweepRequest, CliError> {
    let goes_on = match &args.extend {
        None => None,
        Some(text) => Some(text.parse::<SweepId>().map_err(|e| CliError::Usage(format!("--extend {text:?}: {e}")))?),
    };
    let mut endpoints = Vec::new();
    for text in &args.endpoints {
        let id = EndpointId::new(text).map_err(|e| CliError::Usage(format!("--endpoint {text:?}: {e}")))?;
        if !models.iter().any(|m| m.endpoints.iter().any(|e| e.id == id)) {
            let known: BTreeSet<&str> = models.iter().flat_map(|m| &m.endpoints).map(|e| e.id.as_str()).collect();
            let near = setup::did_you_mean(text, known.iter().copied(), known.iter().copied());
            return Err(CliError::Usage(format!("no endpoint {text:?} in the chosen model(s) ({near})")));
        }
        endpoints.push(id);
    }
    let suites = args
        .suites
        .iter()
        .map(|text| SuiteName::new(text).map_err(|e| CliError::Usage(format!("--suite {text:?}: {e}"))))
        .collect::<Result<Vec<_>, _>>()?;
    if args.until_decided && !endpoints.is_empty() {
        return Err(CliError::Usage(
            "--until-decided cannot be told --endpoint: endpoints are decided by comparison with the others, so all of \
             the model are asked; leave --endpoint out (the decided ones are asked few cases)"
                .to_owned(),
        ));
    }
    if args.limit == Some(0) {
        return Err(CliError::Usage("--limit 0 would ask nothing: give at least 1".to_owned()));
    }
    Ok(SweepRequest {
        goes_on,
        kind: if args.full || goes_on.is_some() { SweepKind::Full } else { SweepKind::Manual },
        suites: (!suites.is_empty()).then_some(suites),
        endpoints,
        limit: args.limit,
        epochs: args.epochs.map(|epochs| epochs.max(1)),
        include_broken: args.include_broken,
        back_to_back: args.until_decided,
        ..daemon::manual_request(Duration::from_secs(7200))
    })
}

/// Admission needs every suite that judges the model.
fn refuse_missing_suites(service: &Service, models: &[ModelConfig], given: &[SuiteName]) -> Result<(), CliError> {
    let runtime = service.runtime.load();
    for model in models {
        let missing: Vec<SuiteName> = runtime.suites_of(model).into_iter().filter(|s| !given.contains(s)).collect();
        if !missing.is_empty() {
            let names = missing.iter().map(SuiteName::as_str).collect::<Vec<_>>().join(", ");
            return Err(CliError::Usage(format!(
                "--until-decided needs every suite that judges {}: add {names} with --suite, or leave --suite out",
                model.id
            )));
        }
    }
    Ok(())
}

async fn sweep_all(
    service: &Service,
    models: &[ModelConfig],
    request: &SweepRequest,
    args: &SweepArgs,
) -> Result<(Vec<Document>, bool), CliError> {
    let mut documents = Vec::new();
    let mut interrupted = false;
    for model in models {
        let bars = Bars::start(&service.sweeper.progress);
        let ended = sweep_model(service, model, request, args.until_decided).await;
        bars.finish().await;
        let ended = ended?;
        interrupted |= ended.interrupted;
        documents.push(document(service, model, ended).await?);
        if interrupted {
            break;
        }
    }
    Ok((documents, interrupted))
}

async fn sweep_model(
    service: &Service,
    model: &ModelConfig,
    request: &SweepRequest,
    until_decided: bool,
) -> Result<Ended, CliError> {
    let runtime = service.runtime.load_full();
    let Some(lanes) = runtime.models.get(&model.id) else {
        return Err(CliError::Failed(format!("model {} is not loaded", model.id)));
    };
    let request = SweepRequest { deadline: service.deadline_of(&model.id), ..request.clone() };
    let mut ended = Ended { sweeps: Vec::new(), interrupted: false, note: None };
    for _ in 0..SWEEPS_MAX {
        match run_when_free(service, &runtime, lanes, &request).await? {
            SweepOutcome::Done { sweep, resumed } => {
                ended.sweeps.push(sweep);
                // A single sweep that was interrupted is the sweep that was asked for.
                if !until_decided {
                    if resumed {
                        ended.note = Some("finished the interrupted sweep".to_owned());
                    }
                    break;
                }
            }
            SweepOutcome::Parked { sweep } => {
                ended.sweeps.push(sweep);
                ended.interrupted = true;
                break;
            }
            SweepOutcome::NotStarted { why } => {
                ended.interrupted = service.signals.stop.is_cancelled();
                ended.note = Some(why);
                break;
            }
        }
        if let Some(sweep) = ended.sweeps.last()
            && !gave_evidence(service, *sweep).await?
        {
            ended.note =
                Some("stopped: the last sweep gave no evidence, so further ones would decide nothing".to_owned());
            break;
        }
        let standings = daemon::standings(&service.sweeper, &model.id).await.map_err(CliError::failed)?;
        let open = |s: &Standing| !s.is_decided() && *s != Standing::Provisional;
        let open: Vec<EndpointId> = standings.iter().filter(|(_, s)| open(s)).map(|(id, _)| id.clone()).collect();
        if until_decided && open.is_empty() {
            break;
        }
        let given_up = daemon::fruitless(&service.sweeper.store, &model.id, &open).await.map_err(CliError::failed)?;
        if until_decided && given_up.len() == open.len() {
            let n = daemon::FRUITLESS_SWEEPS_MAX;
            ended.note =
                Some(format!("stopped: {n} sweeps in a row brought no scored answer of the undecided endpoints"));
            break;
        }
    }
    Ok(ended)
}

/// Whether a sweep that ended was planned to give evidence.
async fn gave_evidence(service: &Service, sweep: SweepId) -> Result<bool, CliError> {
    let stored = service.sweeper.store.sweep(sweep).await.map_err(CliError::failed)?;
    Ok(stored.and_then(|s| s.plan).is_some_and(|plan| plan.gives_evidence))
}

/// Runs a sweep; while another process holds the model's sweep, waits for it as long as a lease lasts.
async fn run_when_free(
    service: &Service,
    runtime: &Runtime,
    model: &ModelRuntime,
    request: &SweepRequest,
) -> Result<SweepOutcome, CliError> {
    let patience = Duration::from_secs_f64(daemon::LEASE_SECONDS) + BUSY_PAUSE;
    let since = tokio::time::Instant::now();
    loop {
        match Box::pin(service.sweeper.run(runtime, model, request, &service.signals)).await {
            Err(SweepError::Busy { .. }) if since.elapsed() < patience && !service.signals.stop.is_cancelled() => {
                output::note("another process holds this model's sweep; waiting for it or for the end of its lease");
                tokio::select! {
                    () = tokio::time::sleep(BUSY_PAUSE) => {}
                    () = service.signals.stop.cancelled() => {}
                }
            }
            Err(SweepError::Busy { .. }) if service.signals.stop.is_cancelled() => {
                let why = "interrupted while another process holds this model's sweep".to_owned();
                return Ok(SweepOutcome::NotStarted { why });
            }
            result => return result.map_err(CliError::failed),
        }
    }
}

async fn document(service: &Service, model: &ModelConfig, ended: Ended) -> Result<Document, CliError> {
    let standings = daemon::standings(&service.sweeper, &model.id).await.map_err(CliError::failed)?;
    let mut rows: BTreeMap<EndpointId, EndpointRow> = BTreeMap::new();
    for endpoint in &model.endpoints {
        let standing = standings.get(&endpoint.id).copied().unwrap_or(Standing::Unknown);
        let row = EndpointRow { id: endpoint.id.to_string(), standing: standing.to_string(), ..EndpointRow::default() };
        rows.insert(endpoint.id.clone(), row);
    }
    for sweep in &ended.sweeps {
        for measured in service.sweeper.store.sweep_rows(*sweep).await.map_err(CliError::failed)? {
            if let Some(row) = rows.get_mut(&measured.key.endpoint) {
                row.count(&measured);
            }
        }
    }
    let note = match (ended.note, ended.sweeps.last()) {
        (None, Some(last)) => {
            let stored = service.sweeper.store.sweep(*last).await.map_err(CliError::failed)?;
            stored.map(|s| s.record.note).filter(|note| !note.is_empty())
        }
        (note, _) => note,
    };
    Ok(Document {
        sweep: ended.sweeps.last().map(ToString::to_string),
        sweeps: u32::try_from(ended.sweeps.len()).unwrap_or(u32::MAX),
        model: model.id.to_string(),
        decided: standings.values().all(|s| s.is_decided()),
        endpoints: model.endpoints.iter().filter_map(|e| rows.remove(&e.id)).collect(),
        note,
    })
}

impl EndpointRow {
    fn count(&mut self, measured: &MeasuredRow) {
        self.attempts += 1;
        match measured.verdict.kind() {
            "pass" => self.pass += 1,
            "fail" => self.fail += 1,
            _ => self.unscored += 1,
        }
        if let Some(fault) = measured.fault {
            *self.faults.entry(fault.name().to_owned()).or_default() += 1;
        }
        for fault in &measured.secondary {
            *self.secondary_faults.entry(fault.name().to_owned()).or_default() += 1;
        }
        self.first_try_ok += u64::from(measured.first_try_ok);
        self.tokens_in += measured.tokens_in.unwrap_or(0);
        self.tokens_out += measured.tokens_out.unwrap_or(0);
        self.cost_nanousd += measured.cost_nanousd;
        self.cost_usd = self.cost_nanousd as f64 / 1e9;
    }
}

fn print(documents: &[Document], as_json: bool) -> Result<(), CliError> {
    if as_json {
        return match documents {
            [only] => output::json(only),
            several => output::json(&several),
        };
    }
    for d in documents {
        let mut table = output::table(&[
            "endpoint",
            "standing",
            "attempts",
            "pass",
            "fail",
            "unscored",
            "first try ok",
            "cost $",
            "faults",
        ]);
        for e in &d.endpoints {
            let faults = e.faults.iter().map(|(f, n)| format!("{f} {n}")).collect::<Vec<_>>().join(", ");
            table.add_row([
                e.id.clone(),
                e.standing.clone(),
                e.attempts.to_string(),
                e.pass.to_string(),
                e.fail.to_string(),
                e.unscored.to_string(),
                e.first_try_ok.to_string(),
                format!("{:.4}", e.cost_usd),
                faults,
            ]);
        }
        output::line(&format!("{} ({} sweep(s){})", d.model, d.sweeps, if d.decided { ", all decided" } else { "" }))?;
        output::line(&table.to_string())?;
        if let Some(note) = &d.note {
            output::note(note);
        }
    }
    Ok(())
}
