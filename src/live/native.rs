//! exactod's own record (docs/live.md): one flat JSON object per answer.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::directory::{Directory, Named};
use super::intake::Names;
use super::observation::{Class, Invalid, Observation, Outcome, Refusal, TimeWindow};
use crate::domain::Micros;

/// Largest record of any kind, in bytes: a gateway's log of a long conversation. Larger ones are skipped.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest id, model or provider, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Version of the record.
const VERSION: u64 = 1;
/// Longest duration that is believed, in milliseconds: a day.
const DURATION_MS_MAX: f64 = 86_400_000.0;
/// Most tokens that are believed of one answer.
const TOKENS_MAX: u64 = 1_000_000_000;
/// Most money that is believed of one answer, in US dollars.
const COST_USD_MAX: f64 = 100_000.0;

/// A text that is borrowed where it holds no escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Borrow)
    }
}

impl Text<'_> {
    pub(super) fn get(&self) -> &str {
        &self.0
    }
}

/// The record as it comes. Fields that are not known are left out; `null` is as absent.
#[derive(Debug, Deserialize)]
struct Wire<'a> {
    v: Option<u64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    ts: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    provider: Option<Text<'a>>,
    ok: Option<bool>,
    #[serde(borrow)]
    error_class: Option<Text<'a>>,
    http_status: Option<u16>,
    tools_offered: Option<u64>,
    tool_call_valid: Option<bool>,
    #[serde(borrow)]
    invalid_reason: Option<Text<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    ttft_ms: Option<f64>,
    latency_ms: Option<f64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cost_usd: Option<f64>,
    attempt: Option<u64>,
    stream: Option<bool>,
}

/// Names of the fields, for what a reply says of a field that is no such thing.
const FIELDS: [&str; 19] = [
    "v",
    "id",
    "ts",
    "model",
    "provider",
    "ok",
    "error_class",
    "http_status",
    "tools_offered",
    "tool_call_valid",
    "invalid_reason",
    "finish_reason",
    "ttft_ms",
    "latency_ms",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "attempt",
    "stream",
];

/// Reads a record.
pub(super) fn read(
    bytes: &[u8],
    (directory, window): (&Directory, &TimeWindow),
    names: &mut Names,
) -> Result<Observation, Refusal> {
    let wire: Wire<'_> =
        serde_json::from_slice(bytes).map_err(|error| unreadable::<Wire<'_>>(bytes, &error, &FIELDS))?;
    if wire.v.is_some_and(|v| v != VERSION) {
        return Err(Refusal::in_field("unknown_version", "v"));
    }
    let at_us = time(name(&wire.ts, "ts")?).ok_or(Refusal::in_field("bad_value", "ts"))?;
    window.check(at_us)?;
    let (id, model) = (name(&wire.id, "id")?, name(&wire.model, "model")?);
    let provider = wire.provider.as_ref().map(Text::get).filter(|p| !p.is_empty());
    if provider.is_some_and(|p| p.len() > NAME_BYTES_MAX) {
        return Err(Refusal::in_field("too_long", "provider"));
    }
    let place = match provider {
        Some(provider) => directory.find(model, &[Named::Name(provider)]),
        None => directory.find(model, &[]),
    };
    if !directory.is_attributed(place) {
        names.note(model, provider.unwrap_or_default());
    }
    let tool_call = wire.tool_call_valid.map(|valid| match valid {
        true => Ok(()),
        false => Err(Invalid::of_name(wire.invalid_reason.as_ref().map(Text::get))),
    });
    let class = wire.error_class.as_ref().map(|class| Class::of_name(class.get()));
    Ok(Observation {
        id: hash(&[id]),
        at_us,
        place,
        stratum: Observation::stratum_of(wire.tools_offered, wire.input_tokens),
        outcome: Outcome::of(wire.ok, class, wire.http_status, tool_call),
        tool_call,
        called: wire.finish_reason.as_ref().is_some_and(|reason| reason.get() == "tool_calls"),
        stream: wire.stream.unwrap_or(false),
        retried: wire.attempt.is_some_and(|n| n > 1),
        ttft_us: milliseconds(wire.ttft_ms, "ttft_ms")?,
        latency_us: milliseconds(wire.latency_ms, "latency_ms")?,
        tokens_in: tokens(wire.input_tokens, "input_tokens")?,
        tokens_out: tokens(wire.output_tokens, "output_tokens")?,
        cost_nanousd: cost(wire.cost_usd)?,
    })
}

/// What is wrong with bytes that are no record: by a second, slower reading that knows where it is.
pub(super) fn unreadable<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    error: &serde_json::Error,
    fields: &[&'static str],
) -> Refusal {
    if !error.is_data() {
        return Refusal::of("not_json");
    }
    let told = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(bytes)).err();
    let path = told.map(|told| told.path().to_string()).unwrap_or_default();
    match fields.iter().find(|field| **field == path) {
        Some(field) => Refusal::in_field("bad_type", field),
        None if path == "." => Refusal::of("not_an_object"),
        None => Refusal::of("bad_type"),
    }
}

fn name<'a>(text: &'a Option<Text<'_>>, field: &'static str) -> Result<&'a str, Refusal> {
    match text.as_ref().map(Text::get) {
        None | Some("") => Err(Refusal::in_field("missing", field)),
        Some(text) if text.len() > NAME_BYTES_MAX => Err(Refusal::in_field("too_long", field)),
        Some(text) => Ok(text),
    }
}

/// A time in RFC 3339.
fn time(text: &str) -> Option<Micros> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros())
}

/// Hash of what tells a record from all others. Not secret: whoever has a token may only spoil their own records.
pub(super) fn hash(parts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.iter().for_each(|part| part.hash(&mut hasher));
    hasher.finish()
}

/// A duration in microseconds.
pub(super) fn milliseconds(ms: Option<f64>, field: &'static str) -> Result<Option<u64>, Refusal> {
    match ms {
        None => Ok(None),
        Some(ms) if (0.0..=DURATION_MS_MAX).contains(&ms) => Ok(Some((ms * 1000.0).round() as u64)),
        Some(_) => Err(Refusal::in_field("bad_value", field)),
    }
}

pub(super) fn tokens(n: Option<u64>, field: &'static str) -> Result<Option<u64>, Refusal> {
    if n.is_some_and(|n| n > TOKENS_MAX) { Err(Refusal::in_field("bad_value", field)) } else { Ok(n) }
}

/// Money in billionths of a US dollar.
pub(super) fn cost(usd: Option<f64>) -> Result<u64, Refusal> {
    match usd {
        None => Ok(0),
        Some(usd) if (0.0..=COST_USD_MAX).contains(&usd) => Ok((usd * 1e9).round() as u64),
        Some(_) => Err(Refusal::in_field("bad_value", "cost_usd")),
    }
}
