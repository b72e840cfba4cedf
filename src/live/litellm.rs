//! LiteLLM's `StandardLoggingPayload`, as its `generic_api` callback sends it (gateways, C.3; fields of 1.106.2).
//!
//! Nothing in it is relied on to have a type: fields come and go between versions. Records whose content was taken out
//! (`turn_off_message_logging`) keep what they say of delivery; their calls are not judged.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::calls::{self, Call, Schemas, is_redacted};
use super::directory::{Directory, Named};
use super::intake::Names;
use super::loose::{Raw, flag, json_text, number, read as value, text, tools, whole};
use super::native::{hash, milliseconds, tokens, unreadable};
use super::observation::{Class, Invalid, Observation, Outcome, Refusal, TimeWindow};
use crate::domain::Micros;

/// Longest id or name, in bytes; what is longer is cut.
const NAME_BYTES_MAX: usize = 512;

#[derive(Debug, Deserialize)]
struct Payload<'a> {
    #[serde(borrow, default)]
    id: Raw<'a>,
    #[serde(borrow, default)]
    litellm_call_id: Raw<'a>,
    #[serde(borrow, default)]
    status: Raw<'a>,
    #[serde(borrow, default)]
    stream: Raw<'a>,
    #[serde(borrow, default)]
    cache_hit: Raw<'a>,
    #[serde(borrow, default)]
    custom_llm_provider: Raw<'a>,
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(borrow, default)]
    model_group: Raw<'a>,
    #[serde(borrow, default)]
    model_id: Raw<'a>,
    #[serde(borrow, default)]
    api_base: Raw<'a>,
    #[serde(borrow, default, rename = "startTime")]
    start: Raw<'a>,
    #[serde(borrow, default, rename = "endTime")]
    end: Raw<'a>,
    #[serde(borrow, default, rename = "completionStartTime")]
    first_token: Raw<'a>,
    #[serde(borrow, default)]
    response_time: Raw<'a>,
    #[serde(borrow, default)]
    prompt_tokens: Raw<'a>,
    #[serde(borrow, default)]
    completion_tokens: Raw<'a>,
    #[serde(borrow, default)]
    response_cost: Raw<'a>,
    #[serde(borrow, default)]
    model_parameters: Raw<'a>,
    #[serde(borrow, default)]
    response: Raw<'a>,
    #[serde(borrow, default)]
    error_information: Raw<'a>,
}

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow, default)]
    tools: Raw<'a>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    choices: Raw<'a>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    finish_reason: Raw<'a>,
    #[serde(borrow, default)]
    message: Raw<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    tool_calls: Raw<'a>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    function: Raw<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Raw<'a>,
    #[serde(borrow, default)]
    arguments: Raw<'a>,
}

#[derive(Deserialize)]
struct ErrorInformation<'a> {
    #[serde(borrow, default)]
    error_code: Raw<'a>,
    #[serde(borrow, default)]
    error_class: Raw<'a>,
}

/// Reads a record.
pub(super) fn read(
    bytes: &[u8],
    (directory, window): (&Directory, &TimeWindow),
    names: &mut Names,
    schemas: &mut Schemas<'_>,
) -> Result<Observation, Refusal> {
    let payload: Payload<'_> =
        serde_json::from_slice(bytes).map_err(|error| unreadable::<Payload<'_>>(bytes, &error, &[]))?;
    let start = number(payload.start);
    let at = number(payload.end).or(start).ok_or(Refusal::in_field("missing", "endTime"))?;
    let at_us = micros(at).ok_or(Refusal::in_field("bad_value", "endTime"))?;
    window.check(at_us)?;
    let call = text(payload.litellm_call_id).or(text(payload.id)).ok_or(Refusal::in_field("missing", "id"))?;
    let model = text(payload.model_group).or(text(payload.model)).ok_or(Refusal::in_field("missing", "model_group"))?;
    let place = attribute(&payload, cut(&model), directory, names);
    let (tool_call, called, offered) = judged(&payload, schemas);
    let stream = flag(payload.stream).unwrap_or(false);
    let ttft = start.zip(number(payload.first_token)).filter(|_| stream).map(|(start, first)| first - start);
    let milliseconds_of = |seconds: Option<f64>| {
        milliseconds(seconds.filter(|s| *s >= 0.0).map(|s| s * 1000.0), "response_time").ok().flatten()
    };
    let tokens_in = tokens(whole(payload.prompt_tokens), "prompt_tokens")?;
    let cost = number(payload.response_cost).filter(|usd| (0.0..1e5).contains(usd)).unwrap_or(0.0);
    Ok(Observation {
        id: hash(&[cut(&call), &text(payload.model_id).unwrap_or_default(), payload.start.map_or("", RawValue::get)]),
        at_us,
        place,
        stratum: Observation::stratum_of(offered, tokens_in),
        outcome: outcome(&payload, tool_call),
        tool_call,
        called,
        stream,
        retried: false,
        ttft_us: milliseconds_of(ttft),
        latency_us: milliseconds_of(number(payload.response_time).or(start.map(|start| at - start))),
        tokens_in,
        tokens_out: tokens(whole(payload.completion_tokens), "completion_tokens")?,
        cost_nanousd: (cost * 1e9).round() as u64,
    })
}

/// Seconds since the epoch.
fn micros(seconds: f64) -> Option<Micros> {
    (0.0..1e11).contains(&seconds).then_some((seconds * 1e6).round() as Micros)
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or(text)
}

/// By the deployment, then by its host. What kind of API it speaks names nobody where a host is known.
fn attribute(payload: &Payload<'_>, model: &str, directory: &Directory, names: &mut Names) -> super::PlaceId {
    let (id, host) = (text(payload.model_id), text(payload.api_base));
    let kind = text(payload.custom_llm_provider).filter(|_| host.is_none());
    let mut named = Vec::with_capacity(3);
    named.extend(id.as_deref().map(|id| Named::Name(cut(id))));
    named.extend(host.as_deref().map(|host| Named::Host(cut(host))));
    named.extend(kind.as_deref().map(|kind| Named::Name(cut(kind))));
    let place = directory.find(model, &named);
    if !directory.is_attributed(place) {
        names.note(model, named.first().map_or("", |name| name.text()));
    }
    place
}

fn outcome(payload: &Payload<'_>, tool_call: Option<Result<(), Invalid>>) -> Outcome {
    if flag(payload.cache_hit) == Some(true) {
        // Nobody was asked.
        return Outcome::Unscored(Class::Other);
    }
    let error: Option<ErrorInformation<'_>> = value(payload.error_information);
    let (class, code) = error.map_or((None, None), |error| (text(error.error_class), number(error.error_code)));
    let ok = text(payload.status).map(|status| status == "success");
    let class = class.map(|class| Class::of_name(&class)).filter(|_| ok != Some(true));
    let status = code.filter(|code| (100.0..600.0).contains(code)).map(|code| code as u16);
    Outcome::of(ok, class, status, tool_call)
}

/// Whether the calls are valid, whether the answer says that it calls, and how many tools were offered.
fn judged(payload: &Payload<'_>, schemas: &mut Schemas<'_>) -> (Option<Result<(), Invalid>>, bool, Option<u64>) {
    let parameters = json_text(payload.model_parameters).filter(|text| !is_redacted(text));
    let known: Option<Parameters<'_>> = parameters.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let listed = known.as_ref().and_then(|parameters| parameters.tools);
    let offered = known.as_ref().map(|_| value::<Vec<Raw<'_>>>(listed).map_or(0, |tools| tools.len() as u64));
    let response = json_text(payload.response);
    let response: Option<Response<'_>> = response.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let choices: Vec<Raw<'_>> = response.and_then(|response| value(response.choices)).unwrap_or_default();
    let choices: Vec<Choice<'_>> = choices.into_iter().filter_map(value).collect();
    let called = choices.first().and_then(|choice| text(choice.finish_reason)).is_some_and(|why| why == "tool_calls");
    let calls: Vec<Call<'_>> = choices.iter().flat_map(calls_of).collect();
    if calls.is_empty() {
        return (None, called, offered);
    }
    (calls::judge(tools(listed).as_deref(), &calls, schemas), called, offered)
}

fn calls_of<'a>(choice: &Choice<'a>) -> Vec<Call<'a>> {
    let message: Option<Message<'a>> = value(choice.message);
    let calls: Vec<Raw<'a>> = message.and_then(|message| value(message.tool_calls)).unwrap_or_default();
    let one = |raw: Raw<'a>| {
        let function: Option<Function<'a>> = value::<ToolCall<'a>>(raw).and_then(|call| value(call.function));
        let (name, arguments) = function.map_or((None, None), |f| (f.name, f.arguments));
        Call { name: text(name), arguments: argument_text(arguments) }
    };
    calls.into_iter().map(one).collect()
}

/// Arguments as text; absent ones are not logged, but a text may be empty.
fn argument_text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    json_text(raw)
}
