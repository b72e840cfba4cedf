//! Bodies of commands: JSON, bounded, read strictly.

use axum::body::{Body, to_bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::limits::BODY_BYTES_MAX;
use super::problem::Problem;

/// Reads a body. `hint` shows what one looks like.
pub async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body, hint: &str) -> Result<T, Problem> {
    let json_type = |value: &http::HeaderValue| {
        value
            .to_str()
            .is_ok_and(|v| v.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case("application/json")))
    };
    if !headers.get(CONTENT_TYPE).is_some_and(json_type) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-json",
            "body is not JSON",
            "the body must be sent as application/json",
        )
        .hint("add the header `Content-Type: application/json`"));
    }
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "body too large",
            format!("the body is larger than {BODY_BYTES_MAX} bytes, or broke off"),
        )
        .hint(hint)
    })?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { String::new() } else { format!("`{path}`: ") };
        bad(format!("{at}{}", error.inner()), hint)
    })?;
    json.end().map_err(|error| bad(error.to_string(), hint))?;
    Ok(read)
}

/// A body that cannot be meant.
pub fn bad(detail: String, hint: &str) -> Problem {
    Problem::bad_request("bad-body", "bad body", detail).hint(hint)
}
