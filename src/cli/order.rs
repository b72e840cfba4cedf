//! `pin`, `unpin`, `ban`, `unban`, `reset`, `note`, `ack`: operators' orders on the store, beside a running daemon or
//! without one.

use super::args::{AckArgs, Cli, OrderArgs, WhyArgs};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::api::{Refusal, Ruling, views};
use crate::clock::rfc3339;
use crate::config::{Config, ModelConfig};
use crate::daemon;
use crate::domain::{AllowlistMode, EndpointId, Order, Verb};

/// An order about one endpoint.
pub async fn endpoint(cli: &Cli, verb: Verb, args: &OrderArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let model = setup::model(&config, Some(&args.model))?.clone();
    let id = setup::endpoint(&model, &args.endpoint)?;
    give(cli, config, &model, order(verb, Some(id), &args.why)?).await
}

/// An order about a model.
pub async fn model(cli: &Cli, args: &AckArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let model = setup::model(&config, Some(&args.model))?.clone();
    give(cli, config, &model, order(Verb::Ack, None, &args.why)?).await
}

fn order(verb: Verb, endpoint: Option<EndpointId>, why: &WhyArgs) -> Result<Order, CliError> {
    let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    let by = why.by.clone().or_else(user).unwrap_or_else(|| "operator".to_owned());
    Order::new(verb, endpoint, &by, &why.note).map_err(|e| CliError::Usage(format!("{e} (see --by and --note)")))
}

async fn give(cli: &Cli, config: Config, model: &ModelConfig, order: Order) -> Result<Exit, CliError> {
    let service = setup::service(config).await?;
    let runtime = service.runtime.load_full();
    let ruling = daemon::operate(&service.sweeper, &runtime, &model.id, &order).await;
    service.close().await;
    match ruling {
        Ok(ruling) => show(cli, &ruling),
        Err(refusal @ Refusal::NothingHeld(_)) => {
            output::note(&refusal.to_string());
            Ok(Exit::No)
        }
        Err(refusal) => Err(CliError::failed(refusal)),
    }
}

fn show(cli: &Cli, ruling: &Ruling) -> Result<Exit, CliError> {
    if cli.json {
        output::json(&views::ruling(ruling))?;
        return Ok(Exit::Yes);
    }
    for d in &ruling.decisions {
        output::line(&format!("{}  {}  {} -> {}\n    {}", rfc3339(d.at_us), d.endpoint, d.from, d.to, d.reason))?;
    }
    if ruling.decisions.is_empty() {
        output::line(&ruling.message)?;
    }
    let Some(list) = &ruling.list else {
        output::line("no list is published yet")?;
        return Ok(Exit::Yes);
    };
    let ids = list.providers.iter().map(|p| p.id.as_str()).collect::<Vec<_>>().join(", ");
    let what = if ruling.published { "is published" } else { "stays" };
    output::line(&format!("{} revision {} {what}: {ids}", list.model, list.version))?;
    if list.mode == AllowlistMode::Frozen {
        output::note("the list is held (mode frozen): see the decision, and GET /v1/alarms?open=true");
    }
    Ok(Exit::Yes)
}
