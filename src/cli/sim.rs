//! `sim`: the provider simulator on its own.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpListener;

use super::args::SimArgs;
use super::output::{self, CliError, Exit};
use super::setup;
use crate::sim::{self, Library, RunningSim, SimSpec};
use crate::suites::{self, Drawer};

/// Opens the control; its address as a URL.
async fn control(address: SocketAddr, running: &Arc<RunningSim>) -> Result<String, CliError> {
    let refused = |error| CliError::Failed(format!("failed to listen on {address} for the control: {error}"));
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    tokio::spawn(sim::control::control(listener, Arc::clone(running)));
    Ok(format!("http://{address}"))
}

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
    // Who reads the addresses may end it from then on.
    let mut interrupts = setup::Interrupts::new();
    let endpoints: Vec<_> =
        running.endpoints().map(|(id, url)| json!({"id": id, "base_url": url, "model": spec.model})).collect();
    let running = Arc::new(running);
    let control = match args.control {
        Some(address) => Some(control(address, &running).await?),
        None => None,
    };
    if as_json {
        output::json(&json!({"model": spec.model, "seed": seed, "endpoints": endpoints, "control": control}))?;
    } else {
        for e in &endpoints {
            output::line(&format!(
                "{}  {}",
                e["base_url"].as_str().unwrap_or_default(),
                e["id"].as_str().unwrap_or_default()
            ))?;
        }
        if let Some(control) = &control {
            output::line(&format!("{control}  (control)"))?;
        }
    }
    output::note("simulating; interrupt to stop");
    interrupts.next().await;
    running.stop().await;
    Ok(Exit::Yes)
}
