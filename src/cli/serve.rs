//! `serve`: the daemon.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tracing::info;

use super::args::Cli;
use super::output::{CliError, Exit};
use super::setup;
use crate::api;

fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), CliError> {
    let listener = api::listen(listen)
        .map_err(|e| CliError::Failed(format!("failed to listen on {listen}: {e}; is another daemon running?")))?;
    let address = listener.local_addr().map_err(CliError::failed)?;
    Ok((listener, address))
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(cli: &Cli) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    // Bind before the store is touched: a second daemon on the same port ends here.
    let (listener, address) = bind(config.server.listen)?;
    let agent = match config.server.agent_listen {
        Some(listen) => Some(bind(listen)?),
        None => None,
    };
    let service = setup::service(config).await?;
    let (agent, agent_address) = agent.unzip();
    if let Some(address) = agent_address {
        info!(%address, "agent-checks are answered");
    }
    info!(%address, store = service.sweeper.store.place(), "exactod is up");
    let runtime = Arc::clone(&service.runtime);
    setup::end_on_signals(&service.signals, move || runtime.load().config.server.drain_timeout);
    let served = service.serve(listener, agent).await.map_err(setup::service_error);
    let report = service.close().await;
    served?;
    if report.lost > 0 {
        return Err(CliError::Failed(format!(
            "{} answered attempts could not be stored and will be asked again: {}",
            report.lost,
            report.status.last_error.unwrap_or_default()
        )));
    }
    info!("stopped; nothing is lost");
    Ok(Exit::Yes)
}
