//! `GET /v1/models/{model}/allowlist/watch`: the list as server-sent events, one for each revision.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::access::{self, Need};
use super::allowlist::{self, WHICH_PARAMS};
use super::guard::Shared;
use super::limits::{HEARTBEAT_EVERY, RECONNECT_MS, RETRY_AFTER_S};
use super::models::resolve;
use super::params::{CAPABILITY, Params};
use super::problem::Problem;
use crate::domain::{Capability, Revision};
use crate::publish::Published;

/// Carries the last revision that a client has.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Keeps a connection from being taken for dead.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// One client's stream. It holds no document: what is sent is shared by all.
struct Watcher {
    app: Shared,
    parts: Parts,
    model: String,
    capability: Option<Capability>,
    list: watch::Receiver<Option<Arc<Published>>>,
    sent: Option<Revision>,
    greeted: bool,
    heartbeat_at: Instant,
    _permit: OwnedSemaphorePermit,
}

/// Opens a stream.
pub fn open(app: &Shared, parts: Parts, name: &str) -> Result<Response, Problem> {
    access::check(&app.state, &parts, Need::Allowlist)?;
    let params = Params::read(parts.uri.query(), WHICH_PARAMS)?;
    let setup = app.state.setup.load();
    let model = resolve(&app.state, &setup, name)?;
    let capability =
        params.text(CAPABILITY).map(|name| allowlist::known_capability(&setup, &model, name)).transpose()?;
    // A list that is not there yet is waited for; one that is withdrawn is not.
    match allowlist::find(&app.state.board, &setup, &model, capability.as_ref().map(Capability::as_str)) {
        Err(problem) if !problem.is("no-allowlist") => return Err(problem),
        _ => {}
    }
    let Ok(permit) = Arc::clone(&app.watchers).try_acquire_owned() else {
        return Err(Problem::unavailable("busy", "too many watchers", "as many clients watch as this server takes")
            .hint(format!("try again in {RETRY_AFTER_S} s, or poll the list: that is not limited")));
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if parts.method == Method::GET {
        let sent = parts.headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.trim().parse().ok());
        let watcher = Watcher {
            app: Arc::clone(app),
            list: app.state.board.watch(&model.id, capability.as_ref()),
            parts,
            model: name.to_owned(),
            capability,
            sent,
            greeted: false,
            heartbeat_at: Instant::now() + HEARTBEAT_EVERY,
            _permit: permit,
        };
        let events = stream::unfold(Box::new(watcher), |mut watcher| async move {
            watcher.next().await.map(|bytes| (Ok::<_, Infallible>(bytes), watcher))
        });
        *response.body_mut() = Body::from_stream(events);
    }
    Ok(response)
}

impl Watcher {
    /// What is sent next; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(Bytes::from(format!("retry: {RECONNECT_MS}\n\n")));
        }
        loop {
            let current = self.list.borrow_and_update().clone();
            if let Some(published) = current.filter(|published| self.sent != Some(published.revision)) {
                if !self.may_go_on() {
                    return None;
                }
                self.sent = Some(published.revision);
                self.heartbeat_at = Instant::now() + HEARTBEAT_EVERY;
                return Some(published.event.clone());
            }
            tokio::select! {
                // The board outlives every stream.
                _ = self.list.changed() => {}
                () = sleep_until(self.heartbeat_at) => {
                    self.heartbeat_at = Instant::now() + HEARTBEAT_EVERY;
                    return self.may_go_on().then_some(HEARTBEAT);
                }
                () = self.app.state.stopping.cancelled() => return None,
            }
        }
    }

    /// Token, model and capability may be gone since the stream began.
    fn may_go_on(&self) -> bool {
        let setup = self.app.state.setup.load();
        let stays = || {
            let model = resolve(&self.app.state, &setup, &self.model)?;
            let capability = self.capability.as_ref().map(Capability::as_str);
            allowlist::find(&self.app.state.board, &setup, &model, capability)
        };
        access::check(&self.app.state, &self.parts, Need::Allowlist).is_ok()
            && stays().map_or_else(|problem| problem.is("no-allowlist"), |_| true)
    }
}
