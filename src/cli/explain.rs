//! `explain`: why an endpoint stands where it stands, in words and numbers that a person can check.

use super::args::{Cli, ExplainArgs};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::daemon::{self, Explained};

/// Runs it.
pub async fn run(cli: &Cli, args: &ExplainArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let model = setup::model(&config, Some(&args.model))?;
    let only = args.endpoint.as_deref().map(|name| setup::endpoint(model, name)).transpose()?;
    let capability = args.capability.as_deref().map(|name| setup::capability(model, name)).transpose()?;
    let id = model.id.clone();
    let clock = setup::clock();
    let store = setup::store_if_any(&config).await?;
    let runtime = setup::runtime(config, &clock)?;
    let Some(model) = runtime.models.get(&id) else { return Err(CliError::Failed(format!("{id} is not configured"))) };
    let explained =
        daemon::explained(store.as_ref(), &runtime, model, (only.as_ref(), capability.as_ref()), clock.now_us()).await;
    if let Some(store) = &store {
        store.close().await;
    }
    let explained = explained.map_err(CliError::failed)?;
    if cli.json {
        output::json(&explained)?;
    } else {
        output::line(&text(&explained))?;
    }
    Ok(Exit::Yes)
}

fn text(explained: &Explained) -> String {
    let rhythm = match explained.sweeps_per_day {
        Some(n) => format!("{n:.1} sweeps a day"),
        None => "no schedule".to_owned(),
    };
    let list = explained.revision.map_or("no list yet".to_owned(), |n| format!("list revision {n}"));
    let of = explained.capability.as_ref().map(|c| format!(", capability {c}")).unwrap_or_default();
    let mut out = format!("{}{of}: {rhythm}, {list}", explained.model);
    for endpoint in &explained.endpoints {
        out.push_str("\n\n");
        let text = endpoint.parts.text();
        let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
        out.push_str(head);
        match (endpoint.rank, endpoint.weight) {
            (Some(rank), Some(weight)) => out.push_str(&format!("; listed, rank {rank}, weight {weight}")),
            _ => out.push_str("; not listed"),
        }
        out.push('\n');
        out.push_str(rest);
    }
    out
}
