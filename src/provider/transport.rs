//! One try: send, read within the limits of time and size, tell what came of it.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION};
use tokio::time::Instant;

use super::chat_completions::{Delivery, Parsed, Progress, StreamAssembler, message_of_error_body, parse_plain};
use super::retry::retry_after;
use super::scrub::Scrubber;
use crate::domain::{Breach, Completion, Fault, Micros, Timeouts};

/// Longest body of a plain answer that is read, in bytes.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Longest stream that is read, in bytes; frames cost about ten times their content.
pub const STREAM_BYTES_MAX: usize = 64 << 20;
/// Longest body that is read of an answer with another status than success, in bytes.
const ERROR_BODY_BYTES_MAX: usize = 64 << 10;
/// How long the end of a stream is awaited after `[DONE]`, so that the connection can be used again.
const DONE_GRACE: Duration = Duration::from_secs(1);
/// Longest header value kept, in characters.
const HEADER_CHARS_MAX: usize = 256;
/// Longest detail text, in characters.
pub const DETAIL_CHARS_MAX: usize = 400;
/// Most headers kept.
const HEADERS_MAX: usize = 48;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    /// The request asks for a stream.
    pub(super) stream: bool,
    /// The answer owes usage.
    pub(super) usage: bool,
}

/// What came of one try.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) status: Option<u16>,
    pub(super) headers: String,
    pub(super) response: Bytes,
    pub(super) outcome: Parsed,
    pub(super) retry_after: Option<Duration>,
    /// From sending to the first content (streams) or the first byte.
    pub(super) first_content: Option<Duration>,
    pub(super) took: Duration,
}

/// Sends a request and reads its answer.
pub(super) async fn exchange(
    http: &reqwest::Client,
    request: reqwest::Request,
    want: Want,
    limits: &Timeouts,
    scrubber: &Scrubber,
    now_us: Micros,
) -> Exchange {
    let start = Instant::now();
    let nothing = |delivery: Delivery| Exchange {
        status: None,
        headers: String::new(),
        response: Bytes::new(),
        outcome: Err(delivery),
        retry_after: None,
        first_content: None,
        took: start.elapsed(),
    };
    let until = start + limits.first_byte.min(limits.total);
    let response = match tokio::time::timeout_at(until, http.execute(request)).await {
        Err(_) => return nothing(too_late(Waiting::FirstByte, limits)),
        Ok(Err(error)) => return nothing(unsent(error, limits, scrubber)),
        Ok(Ok(response)) => response,
    };
    let status = response.status();
    let kept = kept_headers(response.headers(), scrubber);
    let asked = retry_after(response.headers(), now_us);
    let refusal = (!status.is_success()).then(|| Refusal::new(status, response.headers()));
    let encoded = response.headers().get(CONTENT_ENCODING).is_some_and(|value| value != "identity");
    let form = if refusal.is_some() { Form::Plain } else { Form::announced(response.headers(), want) };
    let max = if refusal.is_some() { ERROR_BODY_BYTES_MAX } else { BODY_BYTES_MAX };

    let mut reader = Reader::new(form, want, max);
    let body = response.bytes_stream().map(|piece| piece.map_err(|error| Broken::new(error, scrubber)));
    let end = reader.read(body, start, limits).await;
    let took = reader.finished_at.map_or_else(|| start.elapsed(), |at| at - start);
    let first_content = reader.first_content_at.map(|at| at - start);
    let (mut response, outcome) = match refusal {
        Some(refusal) => {
            let response = scrubber.clean_bytes(reader.into_raw());
            let outcome = Err(refusal.into_delivery(&response));
            (response, outcome)
        }
        None => reader.conclude(end, limits, want, encoded, scrubber),
    };
    let outcome = clean(outcome, scrubber, &mut response);
    Exchange {
        status: Some(status.as_u16()),
        headers: kept,
        response,
        outcome,
        retry_after: asked,
        first_content,
        took,
    }
}

/// The form in which an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Stream,
}

impl Form {
    /// By the content type, or else by what was asked for; the first byte has the last word.
    fn announced(headers: &HeaderMap, want: Want) -> Form {
        let is_events = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("text/event-stream"));
        if is_events || want.stream { Form::Stream } else { Form::Plain }
    }
}

/// A body that broke off.
#[derive(Debug)]
pub(super) struct Broken {
    /// The peer closed the connection in order, only too early; otherwise it was reset.
    closed_early: bool,
    detail: String,
}

impl Broken {
    fn new(error: reqwest::Error, scrubber: &Scrubber) -> Self {
        let error = error.without_url();
        let closed_early = sources(&error).any(|source| {
            source.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof)
                || source.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
        });
        Broken { closed_early, detail: scrubber.clean(&chain(&error)).into_owned() }
    }
}

/// Why reading ended.
#[derive(Debug)]
enum End {
    /// The body came to its end.
    Whole,
    /// The outcome is settled before the end, or `[DONE]` came.
    Enough,
    /// A limit of size was reached.
    TooLarge(usize),
    /// A time limit was exceeded.
    TooLate(Waiting),
    Broken(Broken),
}

/// Which time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    FirstByte,
    Idle,
    Total,
}

/// Reads one body.
struct Reader {
    form: Form,
    /// The first byte that is no white space has been seen, and the form settled by it.
    is_form_sure: bool,
    raw: Raw,
    assembler: Option<StreamAssembler>,
    want: Want,
    plain_max: usize,
    first_content_at: Option<Instant>,
    finished_at: Option<Instant>,
}

/// The bytes as received; a body that comes in one piece is not copied.
enum Raw {
    One(Bytes),
    Many(Vec<u8>),
}

impl Raw {
    fn len(&self) -> usize {
        match self {
            Raw::One(bytes) => bytes.len(),
            Raw::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, piece: Bytes) {
        match self {
            Raw::One(first) if first.is_empty() => *self = Raw::One(piece),
            Raw::One(first) => *self = Raw::Many([first.as_ref(), piece.as_ref()].concat()),
            Raw::Many(bytes) => bytes.extend_from_slice(&piece),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Raw::One(bytes) => bytes,
            Raw::Many(bytes) => bytes.into(),
        }
    }
}

impl Reader {
    fn new(form: Form, want: Want, plain_max: usize) -> Self {
        Reader {
            form,
            is_form_sure: false,
            raw: Raw::One(Bytes::new()),
            assembler: None,
            want,
            plain_max,
            first_content_at: None,
            finished_at: None,
        }
    }

    fn into_raw(self) -> Bytes {
        self.raw.into_bytes()
    }

    async fn read<B>(&mut self, body: B, start: Instant, limits: &Timeouts) -> End
    where
        B: Stream<Item = Result<Bytes, Broken>>,
    {
        let mut body = std::pin::pin!(body);
        let last = start + limits.total;
        let mut waiting = Waiting::FirstByte;
        let timer = tokio::time::sleep_until((start + limits.first_byte).min(last));
        let mut timer = std::pin::pin!(timer);
        loop {
            let piece = tokio::select! {
                biased;
                piece = body.next() => piece,
                () = &mut timer => {
                    let is_done = self.assembler.as_ref().is_some_and(|a| a.progress().is_done);
                    let is_last = timer.deadline() >= last;
                    return if is_done { End::Enough } else { End::TooLate(if is_last { Waiting::Total } else { waiting }) };
                }
            };
            let now = Instant::now();
            match piece {
                None => {
                    self.finished_at.get_or_insert(now);
                    return End::Whole;
                }
                Some(Err(broken)) => return End::Broken(broken),
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => {
                    if let Some(end) = self.take(piece, now) {
                        return end;
                    }
                }
            }
            waiting = Waiting::Idle;
            let patience = self.finished_at.map_or(limits.idle, |_| DONE_GRACE.min(limits.idle));
            timer.as_mut().reset((now + patience).min(last));
        }
    }

    /// Takes a piece; `Some` when nothing more need be read.
    fn take(&mut self, piece: Bytes, now: Instant) -> Option<End> {
        self.raw.push(piece.clone());
        let mut piece = piece.as_ref();
        let all: &[u8] = match &self.raw {
            Raw::One(bytes) => bytes,
            Raw::Many(bytes) => bytes,
        };
        if !self.is_form_sure
            && let Some(first) = all.trim_ascii_start().first()
        {
            self.is_form_sure = true;
            if matches!(first, b'{' | b'[') {
                self.form = Form::Plain;
            }
            piece = all;
        }
        let max = if self.form == Form::Stream { STREAM_BYTES_MAX } else { self.plain_max };
        if self.form == Form::Plain {
            self.first_content_at.get_or_insert(now);
        } else if self.is_form_sure {
            let usage = self.want.usage;
            let progress = self.assembler.get_or_insert_with(|| StreamAssembler::new(usage)).push(piece);
            self.note(progress, now);
            if progress.is_settled {
                return Some(End::Enough);
            }
        }
        (self.raw.len() > max).then_some(End::TooLarge(max))
    }

    fn note(&mut self, progress: Progress, now: Instant) {
        if progress.has_content {
            self.first_content_at.get_or_insert(now);
        }
        if progress.is_done || progress.is_settled {
            self.finished_at.get_or_insert(now);
        }
    }

    /// What the bytes amount to, given how they ended.
    fn conclude(self, end: End, limits: &Timeouts, want: Want, encoded: bool, scrubber: &Scrubber) -> (Bytes, Parsed) {
        let progress = self.assembler.as_ref().map(StreamAssembler::progress).unwrap_or_default();
        let has_choice = self.assembler.as_ref().is_some_and(StreamAssembler::has_choice);
        let undelivered = match end {
            End::Whole | End::Enough => None,
            End::TooLarge(max) => {
                Some(Delivery::new(Fault::MalformedBody, format!("the answer is longer than {max} bytes")))
            }
            // The answer was whole before the stream went wrong.
            End::TooLate(_) | End::Broken(_) if progress.is_complete => None,
            End::TooLate(waiting) => Some(too_late(waiting, limits)),
            // The stream was closed in its midst: a truncated answer, not an open error.
            End::Broken(broken) if broken.closed_early && has_choice => None,
            End::Broken(broken) => {
                Some(Delivery::new(Fault::Unreachable, format!("the connection broke off: {}", broken.detail)))
            }
        };
        let response = scrubber.clean_bytes(self.raw.into_bytes());
        let outcome = match (undelivered, self.form, self.assembler) {
            (Some(delivery), _, _) => Err(delivery),
            (None, Form::Stream, assembler) => assembler.unwrap_or_else(|| StreamAssembler::new(want.usage)).finish(),
            (None, Form::Plain, _) => parse_plain(&response),
        };
        (response, in_the_asked_form(outcome, want, self.form, encoded))
    }
}

/// Notes an answer in the other form than asked for, and says so where nothing could be read because of an encoding.
pub(super) fn in_the_asked_form(outcome: Parsed, want: Want, form: Form, encoded: bool) -> Parsed {
    match outcome {
        Ok(mut completion) => {
            let what = match (want.stream, form) {
                (true, Form::Plain) => Some("a plain answer though a stream was asked for"),
                (false, Form::Stream) => Some("a stream though a plain answer was asked for"),
                _ => None,
            };
            completion.breaches.extend(what.map(|what| Breach { fault: Fault::WireShape, what: what.to_owned() }));
            Ok(completion)
        }
        Err(mut delivery) => {
            if encoded && delivery.fault == Fault::MalformedBody {
                delivery.detail.push_str(" (it has a content-encoding though none was asked for)");
            }
            Err(delivery)
        }
    }
}

/// An answer with another status than success.
struct Refusal {
    status: StatusCode,
    location: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Refusal { status, location }
    }

    fn into_delivery(self, body: &[u8]) -> Delivery {
        let code = self.status.as_u16();
        let fault = match code {
            429 => Fault::RateLimited,
            408 => Fault::TimedOut,
            500.. => Fault::ServerError,
            _ => Fault::Rejected,
        };
        let words = message_of_error_body(body);
        let mut detail = match self.status.canonical_reason() {
            Some(reason) => format!("status {code} {reason}"),
            None => format!("status {code}"),
        };
        if !words.is_empty() {
            detail = format!("{detail}: {words}");
        }
        if self.status.is_redirection() {
            let target = self.location.unwrap_or_else(|| "an unnamed place".to_owned());
            detail =
                format!("{detail}; redirects are not followed: set the provider's base_url to where {target} leads");
        }
        Delivery::new(fault, detail)
    }
}

fn too_late(waiting: Waiting, limits: &Timeouts) -> Delivery {
    let detail = match waiting {
        Waiting::FirstByte if limits.total < limits.first_byte => {
            format!("no byte within {:?} (total)", limits.total)
        }
        Waiting::FirstByte => format!("no byte within {:?} (first_byte)", limits.first_byte),
        Waiting::Idle => format!("no further byte for {:?} (idle)", limits.idle),
        Waiting::Total => format!("not whole within {:?} (total)", limits.total),
    };
    Delivery::new(Fault::TimedOut, detail)
}

/// A request that got no answer at all.
fn unsent(error: reqwest::Error, limits: &Timeouts, scrubber: &Scrubber) -> Delivery {
    let error = error.without_url();
    if error.is_timeout() {
        return Delivery::new(Fault::TimedOut, format!("not connected within {:?} (connect)", limits.connect));
    }
    let what = if error.is_connect() { "no connection" } else { "the connection broke off" };
    Delivery::new(Fault::Unreachable, format!("{what}: {}", scrubber.clean(&chain(&error))))
}

fn sources<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| (*error).source())
}

/// An error with its causes, those left out that repeat what was said.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut out = String::new();
    for source in sources(error) {
        let text = source.to_string();
        if out.is_empty() {
            out = text;
        } else if !out.contains(&text) {
            out = format!("{out}: {text}");
        }
    }
    out
}

/// Removes secrets from an outcome. When the answer holds one that does not stand in one piece in the transcript (a
/// stream that spells it over several deltas), the transcript is given up as well.
fn clean(mut outcome: Parsed, scrubber: &Scrubber, response: &mut Bytes) -> Parsed {
    match &mut outcome {
        Err(delivery) => {
            scrubber.clean_in_place(&mut delivery.detail);
            // Only now: a cut before the cleaning could leave half a secret.
            shorten(&mut delivery.detail);
        }
        Ok(completion) => {
            if clean_completion(completion, scrubber) && completion.streamed {
                *response = Bytes::from_static(b"[redacted: the stream spelt out a credential]");
            }
        }
    }
    outcome
}

fn shorten(text: &mut String) {
    if let Some((cut, _)) = text.char_indices().nth(DETAIL_CHARS_MAX) {
        text.truncate(cut);
        text.push('\u{2026}');
    }
}

fn clean_completion(completion: &mut Completion, scrubber: &Scrubber) -> bool {
    let Completion { content, refusal, reasoning, tool_calls, finish_reason, model, served_by, fingerprint, .. } =
        completion;
    let mut found = false;
    for text in [content, refusal, reasoning, finish_reason, model, served_by, fingerprint].into_iter().flatten() {
        found |= scrubber.clean_in_place(text);
    }
    for call in tool_calls {
        found |= scrubber.clean_in_place(&mut call.name);
        for text in [&mut call.id, &mut call.arguments].into_iter().flatten() {
            found |= scrubber.clean_in_place(text);
        }
    }
    found
}

/// Headers worth keeping: what tells requests, limits, caches and who served apart. Never credentials or cookies.
fn is_kept(name: &str) -> bool {
    const NAMES: [&str; 19] = [
        "age",
        "cf-ray",
        "content-encoding",
        "content-type",
        "date",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "server",
        "server-timing",
        "via",
        "x-cache",
        "x-cache-hit",
        "x-cache-status",
        "x-generation-id",
        "x-openrouter-cache-status",
        "x-request-id",
        "x-response-healed",
        "x-served-by",
    ];
    const PREFIXES: [&str; 12] = [
        "cf-aig-",
        "cf-cache-",
        "helicone-",
        "openai-",
        "ratelimit-",
        "x-backend",
        "x-envoy-",
        "x-inference-",
        "x-litellm-",
        "x-model",
        "x-provider",
        "x-ratelimit-",
    ];
    NAMES.binary_search(&name).is_ok() || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn kept_headers(headers: &HeaderMap, scrubber: &Scrubber) -> String {
    let mut out = String::new();
    for (name, value) in headers.iter().filter(|(name, _)| is_kept(name.as_str())).take(HEADERS_MAX) {
        let value = String::from_utf8_lossy(value.as_bytes());
        out.push_str(name.as_str());
        out.push_str(": ");
        out.extend(scrubber.clean(&value).chars().take(HEADER_CHARS_MAX));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests;
