//! HAProxy's agent-check: one line comes in, `<model or alias>/<endpoint>`, one goes out, and the connection ends.
//!
//! What is listed is `up ready` with its weight; `ready` ends an earlier `drain`. What is not listed is `drain`. Whoever asks
//! for what nobody knows here gets `up ready 100%`: a slip in HAProxy's configuration must not take traffic away.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::limits::{ACCEPT_PAUSE, AGENT_CONNECTIONS_MAX, AGENT_LINE_BYTES_MAX, AGENT_TIMEOUT};
use super::state::{ApiSetup, ApiState};
use crate::config::ModelConfig;
use crate::domain::{Allowlist, EndpointId, ModelId};
use crate::metrics::WordLabel;

/// Key of `slugs` by which HAProxy may know an endpoint.
const SLUG: &str = "haproxy";

/// What is said about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Listed, with its weight.
    Up(u32),
    /// Not listed.
    Drain,
    /// Nobody knows it here.
    Unknown,
}

impl Word {
    fn name(self) -> &'static str {
        match self {
            Word::Up(_) => "up",
            Word::Drain => "drain",
            Word::Unknown => "unknown",
        }
    }

    /// As HAProxy reads it: a percentage is one of the server's own weight.
    fn line(self) -> String {
        match self {
            Word::Up(weight) => format!("up ready {weight}%\n"),
            Word::Drain => "drain\n".to_owned(),
            Word::Unknown => "up ready 100%\n".to_owned(),
        }
    }
}

/// Answers agent-checks until `shutdown`.
pub async fn serve_agent(listener: Arc<TcpListener>, state: ApiState, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(AGENT_CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accept = async {
            // The semaphore is never closed, so there is always a permit in the end.
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            listener.accept().await.map(|(stream, _)| (stream, permit))
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let state = state.clone();
                connections.spawn(async move {
                    // A client that goes away is its own business.
                    let _ = timeout(AGENT_TIMEOUT * 2, check(stream, &state)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept an agent-check");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn check(mut stream: TcpStream, state: &ApiState) -> std::io::Result<()> {
    // Without a line, or with an endless one, there is no answer: HAProxy then keeps the state that it has.
    let Some(line) = line(&mut stream).await? else { return Ok(()) };
    let word = said(state, &line);
    state.metrics.agent_checks.get_or_create(&WordLabel { result: word.name().to_owned() }).inc();
    stream.write_all(word.line().as_bytes()).await?;
    stream.shutdown().await
}

/// Reads to the end of the line; a client that sends no line feed is understood when it pauses.
async fn line(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut read = Vec::new();
    let mut piece = [0; 256];
    while !read.contains(&b'\n') {
        let Ok(more) = timeout(AGENT_TIMEOUT, stream.read(&mut piece)).await else { break };
        let more = more?;
        read.extend_from_slice(&piece[..more]);
        if read.len() > AGENT_LINE_BYTES_MAX {
            return Ok(None);
        }
        if more == 0 {
            break;
        }
    }
    let line = String::from_utf8_lossy(&read);
    let line = line.split(['\n', '\r']).next().unwrap_or_default().trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

fn said(state: &ApiState, line: &str) -> Word {
    let setup = state.setup.load();
    let Some((model, config, endpoint)) = named(&setup, line) else { return Word::Unknown };
    let Some(published) = state.board.get(model.as_str()) else {
        // Known, and no list yet: nobody is left out before anybody was measured.
        return match config.is_some_and(|config| configured(config, endpoint).is_some()) {
            true => Word::Up(100),
            false => Word::Unknown,
        };
    };
    let id = config.and_then(|config| configured(config, endpoint));
    on_list(&published.list, id, endpoint)
}

/// The model of the longest name that begins the line, and what follows it.
fn named<'a>(setup: &'a ApiSetup, line: &'a str) -> Option<(&'a ModelId, Option<&'a ModelConfig>, &'a str)> {
    let own = setup.models.iter().flat_map(|model| {
        let names = std::iter::once(model.id.as_str()).chain(model.aliases.iter().map(ModelId::as_str));
        names.chain([model.public_name.as_str()]).map(move |name| (name, &model.id, Some(model)))
    });
    let relayed = setup.relayed.keys().map(|id| (id.as_str(), id, None));
    let fits = own.chain(relayed).filter_map(|(name, id, config)| {
        let endpoint = line.strip_prefix(name)?.strip_prefix('/')?;
        Some((name.len(), (id, config, endpoint)))
    });
    fits.max_by_key(|(length, _)| *length).map(|(_, found)| found)
}

/// A configured endpoint, by id or by its name in HAProxy.
fn configured<'a>(config: &'a ModelConfig, name: &str) -> Option<&'a EndpointId> {
    let by_id = config.endpoints.iter().find(|e| e.id.as_str() == name);
    let by_slug = || config.endpoints.iter().find(|e| e.slugs.get(SLUG).is_some_and(|slug| slug == name));
    by_id.or_else(by_slug).map(|e| &e.id)
}

/// What a list says about an endpoint: a configured one of an id, or one that only the list knows.
fn on_list(list: &Allowlist, id: Option<&EndpointId>, name: &str) -> Word {
    let is_it = |entry: &EndpointId| id.map_or_else(|| entry.as_str() == name, |id| id == entry);
    let by_slug = |slug: Option<&String>| id.is_none() && slug.is_some_and(|slug| slug == name);
    let listed = list.providers.iter().find(|entry| is_it(&entry.id) || by_slug(entry.slugs.get(SLUG)));
    if let Some(entry) = listed {
        return Word::Up(entry.weight);
    }
    let excluded = list.excluded.iter().any(|entry| is_it(&entry.id));
    if id.is_some() || excluded { Word::Drain } else { Word::Unknown }
}
