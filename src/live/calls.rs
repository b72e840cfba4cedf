//! Whether the tool calls of an answer are valid, from what a gateway logged of request and answer.
//!
//! Three states. A call that cannot be judged (no tools logged, no schema, content that somebody took out) is not
//! invalid; one that is invalid for certain makes the answer so.

use std::borrow::Cow;

use serde_json::Value;

use super::observation::Invalid;
use crate::scoring::ArgumentSchemas;

/// Schemas that are compiled for one body; calls of further ones are not judged.
pub const COMPILATIONS_PER_BODY: u32 = 64;
/// Longest text in which a sign of removed content is looked for, in bytes: such signs are short.
const MARKER_BYTES_MAX: usize = 256;

/// A tool as it was offered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tool<'a> {
    pub name: Cow<'a, str>,
    /// Its schema as JSON text.
    pub schema: Option<Cow<'a, str>>,
}

/// A call as it was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call<'a> {
    pub name: Option<Cow<'a, str>>,
    /// The arguments as text; `None`: not logged.
    pub arguments: Option<Cow<'a, str>>,
}

/// Compiled schemas, and how many more may be compiled for this body.
pub(super) struct Schemas<'a> {
    pub schemas: &'a ArgumentSchemas,
    pub compilations: u32,
}

/// What a text tells that a logger put in place of what it had to leave out, such as `redacted-by-litellm`.
pub(super) fn is_redacted(text: &str) -> bool {
    let has = |word: &str| text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    text.len() <= MARKER_BYTES_MAX && (has("redacted") || has("[filtered]") || has("[removed]"))
}

/// Judges all calls of an answer: invalid if one is for certain, valid if all are, else not judged.
pub(super) fn judge(
    tools: Option<&[Tool<'_>]>,
    calls: &[Call<'_>],
    by: &mut Schemas<'_>,
) -> Option<Result<(), Invalid>> {
    let tools = tools.filter(|tools| !tools.is_empty())?;
    let mut all_valid = !calls.is_empty();
    for call in calls {
        match one(tools, call, by) {
            Some(Err(why)) => return Some(Err(why)),
            Some(Ok(())) => {}
            None => all_valid = false,
        }
    }
    all_valid.then_some(Ok(()))
}

fn one(tools: &[Tool<'_>], call: &Call<'_>, by: &mut Schemas<'_>) -> Option<Result<(), Invalid>> {
    let name = call.name.as_deref().filter(|name| !is_redacted(name))?;
    let text = call.arguments.as_deref()?;
    let Some(tool) = tools.iter().find(|tool| tool.name == name) else {
        // Where names were taken out, nobody knows what was offered.
        return if tools.iter().any(|tool| is_redacted(&tool.name)) { None } else { Some(Err(Invalid::UnknownTool)) };
    };
    // Some providers write no arguments as nothing at all.
    let text = if text.trim().is_empty() { "{}" } else { text };
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) if is_redacted(text) => return None,
        Err(_) => return Some(Err(Invalid::Json)),
    };
    if value.as_str().is_some_and(is_redacted) {
        return None;
    }
    if !value.is_object() {
        return Some(Err(Invalid::Json));
    }
    let schema = tool.schema.as_deref().filter(|schema| !is_redacted(schema))?;
    match by.schemas.is_valid(schema, &value, &mut by.compilations)? {
        true => Some(Ok(())),
        false => Some(Err(Invalid::Schema)),
    }
}
