//! Writes answers and frames as bytes. JSON is written by hand, in one pass: the simulator shares its
//! cores with whoever measures it.

use super::answer::{Answer, Arguments, Call, UsageForm, tokens_of};
use super::frames::{CallDelta, Chunk, Frame};
use super::spec::{Benign, ContentWithCalls};

/// What stands in every body of one response.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// Id of the completion, without its prefix.
    pub id: u64,
    /// Unix time in seconds.
    pub created: i64,
    /// The model's name.
    pub model: &'a str,
    /// `system_fingerprint`.
    pub fingerprint: Option<String>,
    /// Harmless differences.
    pub benign: &'a Benign,
    /// Top logprobs per token, when logprobs are asked for.
    pub logprobs: Option<u8>,
}

/// Text of the message in an error frame.
const STREAM_ERROR: &str = "the upstream connection was lost";

/// The body of a plain completion.
#[must_use]
pub fn plain(answer: &Answer, envelope: &Envelope<'_>) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(600 + answer.generated_bytes() * 2));
    envelope.open("chat.completion", &mut out);
    out.raw("\"choices\":[");
    for choice in 0..answer.choices.max(1) {
        if choice > 0 {
            out.raw(",");
        }
        out.raw(&format!("{{\"index\":{choice},\"message\":"));
        message(answer, envelope.benign, &mut out);
        if let Some(top) = envelope.logprobs {
            out.raw(",\"logprobs\":");
            logprobs(answer.content.as_deref().unwrap_or_default(), answer.logprob, top, &mut out);
        }
        out.raw(",\"finish_reason\":");
        out.text(&answer.finish);
        if envelope.benign.extra_fields {
            out.raw(",\"native_finish_reason\":\"done\"");
        }
        out.raw("}");
    }
    out.raw("],\"usage\":");
    usage(answer, envelope.benign, &mut out);
    close(answer, envelope.benign, &mut out);
    out.0
}

fn close(answer: &Answer, benign: &Benign, out: &mut Out) {
    if let Some(provider) = &answer.served_by {
        out.raw(",\"provider\":");
        out.text(provider);
    }
    if benign.extra_fields {
        out.raw(",\"x_timing\":{\"queue_ms\":1}");
    }
    out.raw("}");
}

fn message(answer: &Answer, benign: &Benign, out: &mut Out) {
    out.raw("{\"role\":\"assistant\"");
    match (&answer.content, benign.content_with_calls) {
        (Some(content), _) => {
            out.raw(",\"content\":");
            out.text(content);
        }
        (None, ContentWithCalls::Null) => out.raw(",\"content\":null"),
        (None, ContentWithCalls::Empty) => out.raw(",\"content\":\"\""),
        (None, ContentWithCalls::Absent) => {}
    }
    if let Some(reasoning) = &answer.reasoning {
        out.raw(&format!(",\"{}\":", benign.reasoning_field.key()));
        out.text(reasoning);
    }
    if !answer.calls.is_empty() {
        out.raw(",\"tool_calls\":[");
        for (i, call) in answer.calls.iter().enumerate() {
            if i > 0 {
                out.raw(",");
            }
            plain_call(call, out);
        }
        out.raw("]");
    }
    if benign.extra_fields {
        out.raw(",\"refusal\":null,\"annotations\":[]");
    }
    out.raw("}");
}

fn plain_call(call: &Call, out: &mut Out) {
    out.raw("{");
    if let Some(id) = &call.id {
        out.raw("\"id\":");
        out.text(id);
        out.raw(",");
    }
    out.raw("\"type\":\"function\",\"function\":{\"name\":");
    out.text(&call.name);
    out.raw(",\"arguments\":");
    out.arguments(&call.arguments);
    out.raw("}}");
}

/// The bytes of each frame of a stream.
#[must_use]
pub fn stream(frames: &[Frame], answer: &Answer, envelope: &Envelope<'_>) -> Vec<Vec<u8>> {
    let mut head = Out(Vec::with_capacity(160));
    envelope.open("chat.completion.chunk", &mut head);
    frames
        .iter()
        .map(|frame| {
            let mut out = Out(Vec::with_capacity(head.0.len() + 200));
            write_frame(frame, &head.0, answer, envelope, &mut out);
            out.raw(if envelope.benign.crlf { "\r\n\r\n" } else { "\n\n" });
            out.0
        })
        .collect()
}

fn write_frame(frame: &Frame, head: &[u8], answer: &Answer, envelope: &Envelope<'_>, out: &mut Out) {
    match frame {
        Frame::Comment => out.raw(": still at work"),
        Frame::Done => out.raw("data: [DONE]"),
        Frame::Chunk(chunk) => {
            out.raw("data: ");
            out.0.extend_from_slice(head);
            out.raw("\"choices\":[");
            write_chunk(chunk, envelope, out);
            out.raw("]");
            close(answer, envelope.benign, out);
        }
        Frame::Usage => {
            out.raw("data: ");
            out.0.extend_from_slice(head);
            out.raw("\"choices\":[],\"usage\":");
            usage(answer, envelope.benign, out);
            out.raw("}");
        }
        Frame::Error => {
            out.raw("data: ");
            out.0.extend_from_slice(head);
            out.raw("\"error\":{\"code\":\"server_error\",\"message\":");
            out.text(STREAM_ERROR);
            out.raw("},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}");
        }
    }
}

fn write_chunk(chunk: &Chunk, envelope: &Envelope<'_>, out: &mut Out) {
    out.raw(&format!("{{\"index\":{},\"delta\":{{", chunk.choice));
    let mut first = true;
    let mut key = |out: &mut Out, key: &str| {
        out.raw(if std::mem::take(&mut first) { "\"" } else { ",\"" });
        out.raw(key);
        out.raw("\":");
    };
    if chunk.role {
        key(out, "role");
        out.raw("\"assistant\"");
    }
    match &chunk.content {
        Some(Some(content)) => {
            key(out, "content");
            out.text(content);
        }
        Some(None) => {
            key(out, "content");
            out.raw("null");
        }
        None => {}
    }
    if let Some(reasoning) = &chunk.reasoning {
        key(out, envelope.benign.reasoning_field.key());
        out.text(reasoning);
    }
    if !chunk.calls.is_empty() {
        key(out, "tool_calls");
        out.raw("[");
        for (i, call) in chunk.calls.iter().enumerate() {
            if i > 0 {
                out.raw(",");
            }
            delta_call(call, out);
        }
        out.raw("]");
    }
    out.raw("}");
    if let (Some(top), Some(Some(text))) = (envelope.logprobs, &chunk.content) {
        out.raw(",\"logprobs\":");
        logprobs(text, None, top, out);
    }
    out.raw(",\"finish_reason\":");
    match &chunk.finish {
        Some(finish) => out.text(finish),
        None => out.raw("null"),
    }
    out.raw("}");
}

fn delta_call(call: &CallDelta, out: &mut Out) {
    let CallDelta { index, id, kind, name, arguments } = call;
    out.raw("{");
    if let Some(index) = index {
        out.raw(&format!("\"index\":{index},"));
    }
    if let Some(id) = id {
        out.raw("\"id\":");
        out.text(id);
        out.raw(",");
    }
    if *kind {
        out.raw("\"type\":\"function\",");
    }
    out.raw("\"function\":{");
    if let Some(name) = name {
        out.raw("\"name\":");
        out.text(name);
    }
    if let Some(arguments) = arguments {
        out.raw(if name.is_some() { ",\"arguments\":" } else { "\"arguments\":" });
        out.arguments(arguments);
    }
    out.raw("}}");
}

fn usage(answer: &Answer, benign: &Benign, out: &mut Out) {
    let note = answer.usage;
    let reasoning = answer.reasoning.as_deref().map(|text| tokens_of(text.len()));
    let choices = u64::from(answer.choices.max(1));
    let all = tokens_of(answer.generated_bytes()) * choices;
    let uncounted = if note.reasoning_counted { 0 } else { reasoning.unwrap_or(0) * choices };
    let generated = if note.nothing_billed { 0 } else { all.saturating_sub(uncounted) };
    match note.form {
        UsageForm::Null => return out.raw("null"),
        UsageForm::Zero => return out.raw("{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}"),
        UsageForm::Counted => out.raw(&format!(
            "{{\"prompt_tokens\":{},\"completion_tokens\":{generated},\"total_tokens\":{}",
            note.prompt,
            note.prompt + generated
        )),
    }
    let shown = reasoning.filter(|_| note.reasoning_counted).map(|tokens| tokens * choices);
    if shown.is_some() || (benign.usage_details && reasoning.is_none()) {
        let counted = if note.nothing_billed { 0 } else { shown.unwrap_or(0) };
        out.raw(&format!(",\"completion_tokens_details\":{{\"reasoning_tokens\":{counted}}}"));
    }
    if benign.usage_details {
        out.raw(",\"prompt_tokens_details\":{\"cached_tokens\":0}");
    }
    out.raw("}");
}

/// Log-probabilities of a text's tokens: made up, but the same for the same text.
fn logprobs(text: &str, first: Option<f64>, top: u8, out: &mut Out) {
    out.raw("{\"content\":[");
    for (i, token) in super::frames::tokens(text).iter().enumerate() {
        if i > 0 {
            out.raw(",");
        }
        let spread = super::draws::hash_text(token) % 1000;
        token_logprob(token, first.filter(|_| i == 0).unwrap_or(spread as f64 / -2000.0), out);
        out.raw(",\"top_logprobs\":[");
        for rank in 0..top {
            if rank > 0 {
                out.raw(",");
            }
            let other = if rank == 0 { token.clone() } else { format!("{token}{rank}") };
            token_logprob(&other, spread as f64 / -2000.0 - f64::from(rank) * 1.5, out);
            out.raw("}");
        }
        out.raw("]}");
    }
    out.raw("]}");
}

fn token_logprob(token: &str, logprob: f64, out: &mut Out) {
    out.raw("{\"token\":");
    out.text(token);
    out.raw(&format!(",\"logprob\":{logprob:.4},\"bytes\":{:?}", token.as_bytes()));
}

impl Envelope<'_> {
    fn open(&self, object: &str, out: &mut Out) {
        out.raw(&format!(
            "{{\"id\":\"chatcmpl-{:016x}\",\"object\":\"{object}\",\"created\":{},\"model\":",
            self.id, self.created
        ));
        out.text(self.model);
        out.raw(",");
        if let Some(fingerprint) = &self.fingerprint {
            out.raw("\"system_fingerprint\":");
            out.text(fingerprint);
            out.raw(",");
        }
    }
}

/// The bytes of a body in the making.
struct Out(Vec<u8>);

impl Out {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A JSON string. Written by hand, for a serializer could fail and a string cannot.
    fn text(&mut self, text: &str) {
        self.0.push(b'"');
        let mut clean = 0;
        for (i, byte) in text.bytes().enumerate() {
            let escape: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0..0x20 => b"",
                _ => continue,
            };
            self.0.extend_from_slice(&text.as_bytes()[clean..i]);
            if escape.is_empty() {
                self.raw(&format!("\\u{byte:04x}"));
            } else {
                self.0.extend_from_slice(escape);
            }
            clean = i + 1;
        }
        self.0.extend_from_slice(&text.as_bytes()[clean..]);
        self.0.push(b'"');
    }

    fn arguments(&mut self, arguments: &Arguments) {
        match arguments {
            Arguments::Text(text) => self.text(text),
            Arguments::Value(value) => self.raw(&value.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_written_as_json(text in "\\PC*|[\\x00-\\x7f]*") {
            let mut out = Out(Vec::new());
            out.text(&text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out.0).unwrap(), text);
        }
    }
}
