//! Traces of OpenTelemetry (OTLP/HTTP, protobuf and JSON): the spans that stand for one answer of a model.
//!
//! Counted are spans with a model (`gen_ai.request.model` or `litellm.model_group`), each request once: a span within one
//! that is counted is a part of it. The endpoint is never taken from `gen_ai.provider.name` or `gen_ai.system`: these
//! name the kind of API (gateways, C.4).

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::calls::{self, Call, Schemas, Tool, is_redacted};
use super::directory::{Directory, Named, PlaceId};
use super::intake::Names;
use super::loose::{self, Raw, json_text, text, tools, whole_of};
use super::native::{hash, milliseconds, tokens};
use super::observation::{Class, Invalid, Observation, Outcome, Refusal, TimeWindow};
use super::protobuf::{Fields, NoMessage, Wire};
use crate::domain::Micros;

/// Most attributes of a span that are looked at.
const ATTRIBUTES_MAX: usize = 512;
/// Most calls, and most functions offered, in numbered attributes.
const NUMBERED_MAX: usize = 64;
/// `STATUS_CODE_ERROR`
const STATUS_ERROR: u64 = 2;

/// The value of an attribute, as far as any is needed.
#[derive(Debug, Clone, PartialEq)]
enum Attribute<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Flag(bool),
    Texts(Vec<Cow<'a, str>>),
}

/// A span, from either encoding.
#[derive(Debug, Default)]
pub(super) struct Span<'a> {
    trace: Cow<'a, str>,
    id: Cow<'a, str>,
    parent: Cow<'a, str>,
    start_ns: u64,
    end_ns: u64,
    is_error: bool,
    attributes: Vec<(Cow<'a, str>, Attribute<'a>)>,
}

impl<'a> Span<'a> {
    fn get(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Attribute::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn first_text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.text(name))
    }

    fn number(&self, names: &[&str]) -> Option<f64> {
        names.iter().find_map(|name| match self.get(name)? {
            Attribute::Number(number) => Some(*number),
            Attribute::Text(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
            _ => None,
        })
    }

    fn model(&self) -> Option<&str> {
        self.first_text(&["litellm.model_group", "gen_ai.request.model"])
    }

    fn key(&self) -> (&str, &str) {
        (&self.trace, &self.id)
    }
}

/// Reads the spans of a body that stand for answers, each request once.
///
/// # Errors
/// `not_json` or `not_protobuf`: the body cannot be read.
pub(super) fn spans(body: &[u8], is_json: bool) -> Result<Vec<Span<'_>>, Refusal> {
    let all = if is_json {
        of_json(body).map_err(|_| Refusal::of("not_json"))?
    } else {
        of_protobuf(body).map_err(|_| Refusal::of("not_protobuf"))?
    };
    let counted: Vec<Span<'_>> = all.into_iter().filter(|span| span.model().is_some()).collect();
    let keys: HashSet<(String, String)> =
        counted.iter().map(Span::key).map(|(trace, id)| (trace.to_owned(), id.to_owned())).collect();
    let is_part = |span: &Span<'_>| {
        !span.parent.is_empty() && keys.contains(&(span.trace.clone().into_owned(), span.parent.clone().into_owned()))
    };
    Ok(counted.into_iter().filter(|span| !is_part(span)).collect())
}

/// What a span says.
pub(super) fn read(
    span: &Span<'_>,
    (directory, window): (&Directory, &TimeWindow),
    names: &mut Names,
    schemas: &mut Schemas<'_>,
) -> Result<Observation, Refusal> {
    if span.id.is_empty() {
        return Err(Refusal::in_field("missing", "span_id"));
    }
    let at_ns = if span.end_ns > 0 { span.end_ns } else { span.start_ns };
    let at_us = Micros::try_from(at_ns / 1000).map_err(|_| Refusal::in_field("bad_value", "end_time_unix_nano"))?;
    window.check(at_us)?;
    let place = attribute(span, directory, names);
    let (tool_call, offered) = judged(span, schemas);
    let tokens_in = whole(span, &["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"]);
    let ttft_s = span.number(&["gen_ai.response.time_to_first_chunk"]);
    let lasted_ns = span.end_ns.checked_sub(span.start_ns).filter(|_| span.start_ns > 0);
    let cost = span.number(&["gen_ai.cost.total_cost"]).filter(|usd| (0.0..1e5).contains(usd)).unwrap_or(0.0);
    let duration = |ms: Option<f64>| milliseconds(ms.filter(|ms| *ms >= 0.0), "duration").ok().flatten();
    Ok(Observation {
        id: hash(&[&span.trace, &span.id]),
        at_us,
        place,
        stratum: Observation::stratum_of(offered, tokens_in),
        outcome: outcome(span, tool_call),
        tool_call,
        called: finish_reason(span).is_some_and(|reason| reason == "tool_calls"),
        stream: matches!(span.get("gen_ai.request.stream"), Some(Attribute::Flag(true))),
        retried: false,
        ttft_us: duration(ttft_s.map(|s| s * 1000.0)),
        latency_us: duration(lasted_ns.map(|ns| ns as f64 / 1e6)),
        tokens_in: tokens(tokens_in, "input_tokens")?,
        tokens_out: tokens(
            whole(span, &["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"]),
            "output_tokens",
        )?,
        cost_nanousd: (cost * 1e9).round() as u64,
    })
}

fn whole(span: &Span<'_>, names: &[&str]) -> Option<u64> {
    span.number(names).and_then(whole_of)
}

/// LiteLLM tells the deployment in a text of JSON alone.
#[derive(Deserialize)]
struct HiddenParams<'a> {
    #[serde(borrow, default)]
    model_id: Raw<'a>,
    #[serde(borrow, default)]
    api_base: Raw<'a>,
}

fn attribute(span: &Span<'_>, directory: &Directory, names: &mut Names) -> PlaceId {
    let hidden = span.first_text(&["hidden_params", "llm.hidden_params", "litellm.hidden_params"]);
    let hidden: Option<HiddenParams<'_>> = hidden.and_then(|text| serde_json::from_str(text).ok());
    let (id, base) = hidden.map_or((None, None), |hidden| (text(hidden.model_id), text(hidden.api_base)));
    let address = span.text("server.address").map(|host| match span.number(&["server.port"]) {
        Some(port) if port != 443.0 => format!("{host}:{port}"),
        _ => host.to_owned(),
    });
    let mut named = Vec::with_capacity(4);
    named.extend(span.text("exacto.provider").map(Named::Name));
    named.extend(id.as_deref().map(Named::Name));
    named.extend(base.as_deref().map(Named::Host));
    named.extend(address.as_deref().map(Named::Host));
    let model = span.model().unwrap_or_default();
    let place = directory.find(model, &named);
    if !directory.is_attributed(place) {
        names.note(cut(model), cut(named.first().map_or("", |name| name.text())));
    }
    place
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(512)).unwrap_or(text)
}

fn outcome(span: &Span<'_>, tool_call: Option<Result<(), Invalid>>) -> Outcome {
    let told = span.first_text(&["error.type", "error.code"]);
    let ok = !span.is_error && told.is_none();
    let status = |n: f64| (100.0..600.0).contains(&n).then_some(n as u16);
    let code = span.number(&["http.response.status_code", "http.status_code", "error.code", "error.type"]);
    // `openai.RateLimitError`: the last part says what it is.
    let class = told.map(|name| Class::of_name(name.rsplit('.').next().unwrap_or(name)));
    Outcome::of(Some(ok), class.filter(|_| !ok), code.and_then(status), tool_call)
}

/// An array, or the text of one.
fn finish_reason<'a>(span: &'a Span<'_>) -> Option<Cow<'a, str>> {
    match span.get("gen_ai.response.finish_reasons")? {
        Attribute::Texts(all) => all.first().map(|reason| Cow::Borrowed(reason.as_ref())),
        Attribute::Text(text) => match serde_json::from_str::<Vec<String>>(text) {
            Ok(all) => all.into_iter().next().map(Cow::Owned),
            Err(_) => Some(Cow::Borrowed(text)),
        },
        _ => None,
    }
}

#[derive(Deserialize)]
struct OutputMessage<'a> {
    #[serde(borrow, default)]
    parts: Raw<'a>,
}

#[derive(Deserialize)]
struct OutputPart<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow, default)]
    name: Raw<'a>,
    #[serde(borrow, default)]
    arguments: Raw<'a>,
}

/// Whether the calls are valid, and how many tools were offered.
fn judged(span: &Span<'_>, schemas: &mut Schemas<'_>) -> (Option<Result<(), Invalid>>, Option<u64>) {
    let definitions = span.text("gen_ai.tool.definitions").filter(|text| !is_redacted(text));
    let definitions: Option<&RawValue> = definitions.and_then(|text| serde_json::from_str(text).ok());
    let offered = tools(definitions).or_else(|| numbered_tools(span));
    let count = offered.as_ref().map(|offered| offered.len() as u64);
    let messages = span.text("gen_ai.output.messages").and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
    let mut calls: Vec<Call<'_>> = messages_calls(messages);
    if calls.is_empty() {
        calls = numbered_calls(span);
    }
    if calls.is_empty() { (None, count) } else { (calls::judge(offered.as_deref(), &calls, schemas), count) }
}

fn messages_calls(messages: Raw<'_>) -> Vec<Call<'_>> {
    let messages: Vec<Raw<'_>> = loose::read(messages).unwrap_or_default();
    let parts = messages.into_iter().filter_map(loose::read::<OutputMessage<'_>>);
    let parts = parts.flat_map(|message| loose::read::<Vec<Raw<'_>>>(message.parts).unwrap_or_default());
    let parts = parts.filter_map(loose::read::<OutputPart<'_>>);
    let calls = parts.filter(|part| text(part.kind).is_some_and(|kind| kind == "tool_call"));
    calls.map(|part| Call { name: text(part.name), arguments: json_text(part.arguments) }).collect()
}

/// `llm.request.functions.N.*`
fn numbered_tools<'a>(span: &'a Span<'_>) -> Option<Vec<Tool<'a>>> {
    let one = |n: usize| {
        let name = span.text(&format!("llm.request.functions.{n}.name"))?;
        let schema = span.text(&format!("llm.request.functions.{n}.parameters"));
        Some(Tool { name: name.into(), schema: schema.map(Cow::Borrowed) })
    };
    let all: Vec<Tool<'a>> = (0..NUMBERED_MAX).map_while(one).collect();
    (!all.is_empty()).then_some(all)
}

/// `gen_ai.completion.N.function_call.*` and `gen_ai.completion.0.tool_calls.N.*`
fn numbered_calls<'a>(span: &'a Span<'_>) -> Vec<Call<'a>> {
    let one = |prefix: String| {
        let name = span.text(&format!("{prefix}.name"));
        let arguments = match span.get(&format!("{prefix}.arguments")) {
            Some(Attribute::Text(text)) => Some(Cow::Borrowed(text.as_ref())),
            _ => None,
        };
        (name.is_some() || arguments.is_some()).then_some(Call { name: name.map(Cow::Borrowed), arguments })
    };
    let functions = (0..NUMBERED_MAX).map_while(|n| one(format!("gen_ai.completion.{n}.function_call")));
    functions.chain((0..NUMBERED_MAX).map_while(|n| one(format!("gen_ai.completion.0.tool_calls.{n}")))).collect()
}

/// `ExportTraceServiceRequest` as protobuf: resource spans (1), scope spans (2), spans (2).
fn of_protobuf(body: &[u8]) -> Result<Vec<Span<'_>>, NoMessage> {
    let mut out = Vec::new();
    for resource in messages(body, 1) {
        for scope in messages(resource?, 2) {
            for span in messages(scope?, 2) {
                out.push(protobuf_span(span?)?);
            }
        }
    }
    Ok(out)
}

/// The messages under one field's number.
fn messages(bytes: &[u8], wanted: u32) -> impl Iterator<Item = Result<&[u8], NoMessage>> {
    Fields(bytes).filter_map(move |field| match field {
        Ok((number, value)) if number == wanted => Some(value.bytes().ok_or(NoMessage)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

fn protobuf_span(bytes: &[u8]) -> Result<Span<'_>, NoMessage> {
    let mut span = Span::default();
    for field in Fields(bytes) {
        match field? {
            (1, value) => span.trace = hex(value),
            (2, value) => span.id = hex(value),
            (4, value) => span.parent = hex(value),
            (7, Wire::Fixed64(ns)) => span.start_ns = ns,
            (8, Wire::Fixed64(ns)) => span.end_ns = ns,
            (9, Wire::Bytes(pair)) if span.attributes.len() < ATTRIBUTES_MAX => {
                span.attributes.extend(protobuf_pair(pair)?);
            }
            (15, Wire::Bytes(status)) => {
                for field in Fields(status) {
                    if let (3, Wire::Varint(code)) = field? {
                        span.is_error = code == STATUS_ERROR;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(span)
}

fn hex(value: Wire<'_>) -> Cow<'static, str> {
    crate::domain::canonical::hex(value.bytes().unwrap_or_default()).into()
}

type Pair<'a> = (Cow<'a, str>, Attribute<'a>);

fn protobuf_pair(bytes: &[u8]) -> Result<Option<Pair<'_>>, NoMessage> {
    let (mut key, mut attribute) = (None, None);
    for field in Fields(bytes) {
        match field? {
            (1, value) => key = value.text(),
            (2, Wire::Bytes(value)) => attribute = protobuf_value(value)?,
            _ => {}
        }
    }
    Ok(key.map(Cow::Borrowed).zip(attribute))
}

/// `AnyValue`: text (1), flag (2), whole number (3), number (4), array (5).
fn protobuf_value(bytes: &[u8]) -> Result<Option<Attribute<'_>>, NoMessage> {
    let mut found = None;
    for field in Fields(bytes) {
        match field? {
            (1, value) => found = value.text().map(|text| Attribute::Text(text.into())),
            (2, Wire::Varint(flag)) => found = Some(Attribute::Flag(flag != 0)),
            (3, Wire::Varint(n)) => found = Some(Attribute::Number(n.cast_signed() as f64)),
            (4, Wire::Fixed64(bits)) => {
                found = Some(Attribute::Number(f64::from_bits(bits))).filter(|_| f64::from_bits(bits).is_finite());
            }
            (5, Wire::Bytes(array)) => {
                let mut texts = Vec::new();
                for value in messages(array, 1) {
                    // Arrays of arrays are of no use here.
                    let text = Fields(value?).find_map(|field| match field {
                        Ok((1, value)) => value.text(),
                        _ => None,
                    });
                    texts.extend(text.map(Cow::Borrowed));
                }
                found = Some(Attribute::Texts(texts));
            }
            _ => {}
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonBody<'a> {
    #[serde(borrow, default, alias = "resource_spans")]
    resource_spans: Vec<JsonResource<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResource<'a> {
    #[serde(borrow, default, alias = "scope_spans")]
    scope_spans: Vec<JsonScope<'a>>,
}

#[derive(Deserialize)]
struct JsonScope<'a> {
    #[serde(borrow, default)]
    spans: Vec<JsonSpan<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    #[serde(borrow, default, alias = "trace_id")]
    trace_id: Raw<'a>,
    #[serde(borrow, default, alias = "span_id")]
    span_id: Raw<'a>,
    #[serde(borrow, default, alias = "parent_span_id")]
    parent_span_id: Raw<'a>,
    #[serde(borrow, default, alias = "start_time_unix_nano")]
    start_time_unix_nano: Raw<'a>,
    #[serde(borrow, default, alias = "end_time_unix_nano")]
    end_time_unix_nano: Raw<'a>,
    #[serde(borrow, default)]
    attributes: Raw<'a>,
    #[serde(borrow, default)]
    status: Raw<'a>,
}

#[derive(Deserialize)]
struct JsonStatus<'a> {
    #[serde(borrow, default)]
    code: Raw<'a>,
}

#[derive(Deserialize)]
struct JsonPair<'a> {
    #[serde(borrow, default)]
    key: Raw<'a>,
    #[serde(borrow, default)]
    value: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonValue<'a> {
    #[serde(borrow, default, alias = "string_value")]
    string_value: Raw<'a>,
    #[serde(borrow, default, alias = "bool_value")]
    bool_value: Raw<'a>,
    #[serde(borrow, default, alias = "int_value")]
    int_value: Raw<'a>,
    #[serde(borrow, default, alias = "double_value")]
    double_value: Raw<'a>,
    #[serde(borrow, default, alias = "array_value")]
    array_value: Raw<'a>,
}

#[derive(Deserialize)]
struct JsonArray<'a> {
    #[serde(borrow, default)]
    values: Raw<'a>,
}

fn of_json(body: &[u8]) -> Result<Vec<Span<'_>>, serde_json::Error> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let body: JsonBody<'_> = serde_json::from_slice(body)?;
    let scopes = body.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    Ok(scopes.flat_map(|scope| scope.spans).map(json_span).collect())
}

fn json_span(span: JsonSpan<'_>) -> Span<'_> {
    let pairs: Vec<Raw<'_>> = loose::read(span.attributes).unwrap_or_default();
    let code = loose::read::<JsonStatus<'_>>(span.status).and_then(|status| status.code);
    let is_error = loose::whole(code) == Some(STATUS_ERROR) || text(code).is_some_and(|c| c == "STATUS_CODE_ERROR");
    Span {
        trace: text(span.trace_id).unwrap_or_default(),
        id: text(span.span_id).unwrap_or_default(),
        parent: text(span.parent_span_id).unwrap_or_default(),
        start_ns: nanoseconds(span.start_time_unix_nano),
        end_ns: nanoseconds(span.end_time_unix_nano),
        is_error,
        attributes: pairs.into_iter().take(ATTRIBUTES_MAX).filter_map(json_pair).collect(),
    }
}

/// A 64-bit number, which JSON writes as a text.
fn nanoseconds(raw: Raw<'_>) -> u64 {
    loose::read::<u64>(raw).or_else(|| text(raw)?.parse().ok()).unwrap_or(0)
}

fn json_pair(raw: Raw<'_>) -> Option<Pair<'_>> {
    let pair: JsonPair<'_> = loose::read(raw)?;
    let value: JsonValue<'_> = loose::read(pair.value)?;
    let number = || loose::number(value.int_value).or_else(|| loose::number(value.double_value)).map(Attribute::Number);
    let texts = || {
        let values: Vec<Raw<'_>> = loose::read(loose::read::<JsonArray<'_>>(value.array_value)?.values)?;
        let one = |raw| text(loose::read::<JsonValue<'_>>(raw)?.string_value);
        Some(Attribute::Texts(values.into_iter().filter_map(one).collect()))
    };
    let attribute = (value.string_value.and_then(|raw| json_text(Some(raw))).map(Attribute::Text))
        .or_else(|| loose::read::<bool>(value.bool_value).map(Attribute::Flag))
        .or_else(number)
        .or_else(texts)?;
    Some((text(pair.key)?, attribute))
}
