//! Cases that ask the very instance of another one, the other way.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::digest;
use crate::domain::Case;

const STREAM: &str = "stream";

/// The other case, streamed where it is plain and plain where it is streamed, under the name and with the labels of `own`.
pub(super) fn asked_the_other_way(other: &Case, own: &Case) -> Case {
    let mut request: Map<String, Value> = Map::clone(&other.request);
    let streamed = request.get(STREAM).and_then(Value::as_bool).unwrap_or(false);
    request.insert(STREAM.to_owned(), Value::Bool(!streamed));
    if streamed {
        request.shift_remove("stream_options");
    }
    let mut case = Case {
        id: own.id.clone(),
        category: own.category.clone().or_else(|| other.category.clone()),
        tags: own.tags.clone(),
        request: Arc::new(request),
        metadata: own.metadata.clone(),
        answers: own.answers.clone(),
        pair: own.pair.clone(),
        ..other.clone()
    };
    case.hash = digest::case_hash(&case);
    case
}
