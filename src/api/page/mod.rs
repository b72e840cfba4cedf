//! `/`: the page for people, rendered here, kept live by a small script that fetches `/page/fragment`.
//!
//! Everything that a provider, a suite or an operator wrote is escaped by the templates; only the drawings of [`plot`],
//! which hold numbers and fixed words alone, go in as they are.

mod cache;
mod format;
mod plot;
mod view;

use askama::Template as _;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::guard::Shared;
use super::params::Params;
use super::problem::Problem;

pub use cache::PageCache;

/// Files that the page loads: name, type, bytes.
const ASSETS: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

/// The page around the part that changes.
#[derive(askama::Template)]
#[template(path = "page.html")]
struct Page<'a> {
    live: &'a str,
}

/// `GET /`
pub async fn whole(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    Params::read(request.uri().query(), &[])?;
    let live = app.page.fragment(&app.state).await?;
    let live = std::str::from_utf8(&live).unwrap_or_default();
    let page = Page { live }.render().map_err(|error| Problem::internal("rendering the page", &error))?;
    Ok(html(page.into()))
}

/// `GET /page/fragment`
pub async fn fragment(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    Params::read(request.uri().query(), &[])?;
    Ok(html(app.page.fragment(&app.state).await?))
}

/// `GET /page/{asset}`
pub async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let Some((_, kind, text)) = ASSETS.iter().find(|(known, _, _)| *known == name) else {
        return Err(Problem::not_found("unknown-path", "unknown path", format!("the page has no file {name:?}"))
            .hint("the page is at /"));
    };
    let mut response = Response::new(Body::from(*text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    Ok(response)
}

fn html(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}
