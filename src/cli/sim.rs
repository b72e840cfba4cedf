//! `sim`: the provider simulator on its own.

use std::sync::Arc;

use serde_json::json;

use super::args::SimArgs;
use super::output::{self, CliError, Exit};
use super::setup;
use crate::sim::{self, Library, SimSpec};
use crate::suites::{self, Drawer};

/// Runs until interrupted.
pub async fn run(args: &SimArgs, as_json: bool) -> Result<Exit, CliError> {
    let mut spec = SimSpec::load(&args.spec)?;
    if args.listen.port() != 0 {
        for (offset, endpoint) in (0u16..).zip(&mut spec.endpoints) {
            endpoint.port = args.listen.port().checked_add(offset).ok_or_else(|| {
                CliError::Usage(format!("--listen {}: not enough ports above for all endpoints", args.listen))
            })?;
        }
    }
    let drawers = suites::load_all(std::slice::from_ref(&args.suites))?
        .into_iter()
        .map(|suite| Drawer::new(suite).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(CliError::failed)?;
    let library = Arc::new(Library::new(drawers));
    let seed = args.seed.unwrap_or(spec.seed);
    let running = sim::start(&spec, library, seed, args.listen.ip()).await.map_err(CliError::failed)?;
    let endpoints: Vec<_> =
        running.endpoints().map(|(id, url)| json!({"id": id, "base_url": url, "model": spec.model})).collect();
    if as_json {
        output::json(&json!({"model": spec.model, "seed": seed, "endpoints": endpoints}))?;
    } else {
        for e in &endpoints {
            output::line(&format!(
                "{}  {}",
                e["base_url"].as_str().unwrap_or_default(),
                e["id"].as_str().unwrap_or_default()
            ))?;
        }
    }
    output::note("simulating; interrupt to stop");
    setup::interrupted().await;
    running.stop().await;
    Ok(Exit::Yes)
}
