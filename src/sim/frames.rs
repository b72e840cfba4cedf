//! An answer cut into the frames of a stream: what streaming defects damage.

use super::answer::{Answer, Arguments, floor_boundary};
use super::spec::{Benign, ContentWithCalls, Deltas};

/// Characters of a delta when a text is cut finely.
const FINE_CHARS: usize = 4;
/// Most deltas of one text.
const DELTAS_MAX: usize = 24;
/// Deltas of one text when it is cut coarsely.
const FEW: usize = 3;

/// One line group of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A chunk with one choice.
    Chunk(Chunk),
    /// The last chunk: empty `choices` and the usage.
    Usage,
    /// A chunk with a top-level error object.
    Error,
    /// A comment line.
    Comment,
    /// `[DONE]`.
    Done,
}

/// A chunk with one choice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chunk {
    /// Index of the choice.
    pub choice: u32,
    /// The role is sent.
    pub role: bool,
    /// `content`: `Some(None)` is sent as `null`.
    pub content: Option<Option<String>>,
    /// Reasoning text.
    pub reasoning: Option<String>,
    /// Pieces of calls.
    pub calls: Vec<CallDelta>,
    /// Finish reason.
    pub finish: Option<String>,
}

/// A piece of a call.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallDelta {
    /// `index`; absent when `None`.
    pub index: Option<u32>,
    /// `id`; absent when `None`.
    pub id: Option<String>,
    /// `type: "function"` is sent.
    pub kind: bool,
    /// `function.name`; absent when `None`.
    pub name: Option<String>,
    /// `function.arguments`; absent when `None`.
    pub arguments: Option<Arguments>,
}

impl Chunk {
    fn of(choice: u32) -> Self {
        Chunk { choice, ..Chunk::default() }
    }
}

/// Cuts an answer into the frames of a conformant stream.
#[must_use]
pub fn cut(answer: &Answer, benign: &Benign, include_usage: bool) -> Vec<Frame> {
    let mut frames = Vec::with_capacity(16);
    for choice in 0..answer.choices.max(1) {
        cut_choice(answer, benign, choice, &mut frames);
    }
    if include_usage {
        frames.push(Frame::Usage);
    }
    frames.push(Frame::Done);
    if benign.comments {
        frames.insert(frames.len() / 2, Frame::Comment);
    }
    if benign.keep_alives {
        frames.insert(0, Frame::Comment);
    }
    frames
}

fn cut_choice(answer: &Answer, benign: &Benign, choice: u32, frames: &mut Vec<Frame>) {
    let first = match (answer.calls.is_empty(), benign.content_with_calls) {
        (true, _) | (false, ContentWithCalls::Empty) => Some(Some(String::new())),
        (false, ContentWithCalls::Null) => Some(None),
        (false, ContentWithCalls::Absent) => None,
    };
    frames.push(Frame::Chunk(Chunk { role: true, content: first, ..Chunk::of(choice) }));
    let pieces = |text: &str| pieces(text, benign.deltas);
    for piece in answer.reasoning.as_deref().map(pieces).unwrap_or_default() {
        frames.push(Frame::Chunk(Chunk { reasoning: Some(piece), ..Chunk::of(choice) }));
    }
    for piece in answer.content.as_deref().map(pieces).unwrap_or_default() {
        frames.push(Frame::Chunk(Chunk { content: Some(Some(piece)), ..Chunk::of(choice) }));
    }
    for (index, call) in answer.calls.iter().enumerate() {
        let index = Some(index as u32);
        let whole = !matches!((&call.arguments, benign.deltas), (Arguments::Text(_), Deltas::Many | Deltas::Few));
        let head = CallDelta {
            index,
            id: call.id.clone(),
            kind: true,
            name: Some(call.name.clone()),
            arguments: Some(if whole { call.arguments.clone() } else { Arguments::Text(String::new()) }),
        };
        frames.push(Frame::Chunk(Chunk { calls: vec![head], ..Chunk::of(choice) }));
        let rest = if whole { Vec::new() } else { pieces(&call.arguments.text()) };
        for piece in rest {
            let delta = CallDelta { index, arguments: Some(Arguments::Text(piece)), ..CallDelta::default() };
            frames.push(Frame::Chunk(Chunk { calls: vec![delta], ..Chunk::of(choice) }));
        }
    }
    let finish = Some(answer.finish.clone());
    frames.push(Frame::Chunk(Chunk { finish, role: benign.role_in_every_delta, ..Chunk::of(choice) }));
    if benign.role_in_every_delta {
        for frame in frames.iter_mut() {
            if let Frame::Chunk(chunk) = frame {
                chunk.role = true;
            }
        }
    }
}

/// Cuts a text between characters; the pieces joined give the text.
fn pieces(text: &str, style: Deltas) -> Vec<String> {
    let count = match style {
        Deltas::One => 1,
        Deltas::Few => FEW,
        Deltas::Many => (text.len() / FINE_CHARS + 1).min(DELTAS_MAX),
    };
    let step = text.len().div_ceil(count).max(1);
    let (mut out, mut at) = (Vec::with_capacity(count), 0);
    while at < text.len() {
        let mut end = floor_boundary(text, at + step);
        if end <= at {
            end = at + text[at..].chars().next().map_or(1, char::len_utf8);
        }
        out.push(text[at..end].to_owned());
        at = end;
    }
    out
}

/// The tokens of a text, as logprobs list them.
#[must_use]
pub(super) fn tokens(text: &str) -> Vec<String> {
    pieces(text, Deltas::Many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text_and_respect_characters() {
        for text in ["", "a", "héllo wörld, 你好吗 ไทย 🎉🎉🎉", &"long text ".repeat(100)] {
            for style in [Deltas::One, Deltas::Few, Deltas::Many] {
                let cut = pieces(text, style);
                assert_eq!(cut.concat(), text);
                assert!(cut.iter().all(|piece| !piece.is_empty()));
                assert!(cut.len() <= DELTAS_MAX + 24, "{}", cut.len());
            }
        }
    }
}
