//! Defects of streams (catalogue, section 8).

use super::Need::{Calls, Reasoning, Stream, Text, Tools};
use super::quality::{WRONG, wrong};
use super::{Act, Defect, Effect, Scene};
use crate::domain::Fault::{BadUsage, CorruptText, EmptyAnswer, MalformedBody, StreamError, Truncated, WireShape};
use crate::sim::answer::{Answer, UsageForm};
use crate::sim::draws::Draw;
use crate::sim::frames::{Chunk, Frame};

pub(super) const ROWS: &[Defect] = &[
    Defect {
        id: "empty_stream_with_tools",
        needs: &[Stream, Tools],
        act: Act::Frames(empty_stream),
        quality: &[MalformedBody, EmptyAnswer],
        wire: &[MalformedBody, EmptyAnswer],
        shows: "200 and a stream without text or call",
    },
    Defect {
        id: "content_dropped_tools_reasoning",
        needs: &[Tools, Reasoning],
        act: Act::Answer(content_dropped),
        quality: &[EmptyAnswer],
        wire: &[EmptyAnswer],
        shows: "finish stop and empty text, with tools and reasoning together",
    },
    Defect {
        id: "args_single_final_delta",
        needs: &[Stream, Calls],
        act: Act::Frames(single_delta),
        quality: &[],
        wire: &[],
        shows: "all arguments in one delta",
    },
    Defect {
        id: "stream_differs",
        needs: &[Stream],
        act: Act::Content(wrong),
        quality: WRONG,
        wire: &[],
        shows: "another answer in streams than without",
    },
    Defect {
        id: "midstream_error_frame",
        needs: &[Stream],
        act: Act::Frames(error_frame),
        quality: &[StreamError],
        wire: &[StreamError],
        shows: "an error frame in the middle of the stream",
    },
    Defect {
        id: "done_missing",
        needs: &[Stream],
        act: Act::Frames(done_missing),
        quality: &[],
        wire: &[WireShape],
        shows: "a finish reason, and no [DONE]",
    },
    Defect {
        id: "stream_cut",
        needs: &[Stream],
        act: Act::Frames(cut),
        quality: &[Truncated],
        wire: &[Truncated],
        shows: "the stream ends without a finish reason",
    },
    Defect {
        id: "usage_null_or_zero",
        needs: &[Stream],
        act: Act::Answer(usage),
        quality: &[],
        wire: &[BadUsage],
        shows: "usage null or zero in the last frame",
    },
    Defect {
        id: "utf8_split",
        needs: &[Stream, Text],
        act: Act::Frames(utf8_split),
        quality: &[CorruptText],
        wire: &[CorruptText],
        shows: "a character split over two deltas becomes U+FFFD",
    },
];

fn empty_stream(frames: &mut Vec<Frame>, _: &Answer, _: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let with_choice = draw.chance(0.5);
    frames.retain(|frame| !matches!(frame, Frame::Chunk(_)));
    if !with_choice {
        return Some(Effect::both(MalformedBody).instead());
    }
    let first = Chunk { role: true, content: Some(Some(String::new())), ..Chunk::default() };
    let last = Chunk { finish: Some("stop".to_owned()), ..Chunk::default() };
    frames.splice(0..0, [Frame::Chunk(first), Frame::Chunk(last)]);
    Some(Effect::both(EmptyAnswer).instead())
}

fn content_dropped(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.reasoning = None;
    answer.say_nothing();
    Some(Effect::both(EmptyAnswer).instead())
}

fn single_delta(frames: &mut Vec<Frame>, answer: &Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let continues = |f: &Frame| matches!(f, Frame::Chunk(c) if c.calls.iter().any(|call| call.name.is_none()));
    frames.retain(|frame| !continues(frame));
    for frame in frames {
        let Frame::Chunk(chunk) = frame else { continue };
        for delta in &mut chunk.calls {
            let call = delta.index.and_then(|i| answer.calls.get(i as usize));
            delta.arguments = call.map(|call| call.arguments.clone());
        }
    }
    Some(Effect::none())
}

/// The place of the first finish reason.
fn finish_at(frames: &[Frame]) -> Option<usize> {
    frames.iter().position(|frame| matches!(frame, Frame::Chunk(chunk) if chunk.finish.is_some()))
}

fn error_frame(frames: &mut Vec<Frame>, _: &Answer, _: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let finish = finish_at(frames)?;
    frames.truncate(1 + draw.below(finish));
    frames.push(Frame::Error);
    frames.push(Frame::Done);
    Some(Effect::both(StreamError).instead())
}

fn done_missing(frames: &mut Vec<Frame>, _: &Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    frames.retain(|frame| *frame != Frame::Done);
    Some(Effect::wire(WireShape))
}

fn cut(frames: &mut Vec<Frame>, _: &Answer, _: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let finish = finish_at(frames)?;
    // Something arrives: the role at least.
    frames.truncate(1 + draw.below(finish));
    if !frames.iter().any(|frame| matches!(frame, Frame::Chunk(_))) {
        frames.push(Frame::Chunk(Chunk { role: true, ..Chunk::default() }));
    }
    Some(Effect::both(Truncated).instead())
}

fn usage(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    if !scene.prompt.include_usage {
        return None;
    }
    answer.usage.form = if draw.chance(0.5) { UsageForm::Null } else { UsageForm::Zero };
    Some(Effect::wire(BadUsage))
}

fn utf8_split(frames: &mut Vec<Frame>, _: &Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let wide = |frame: &Frame| match frame {
        Frame::Chunk(Chunk { content: Some(Some(text)), .. }) => text.char_indices().find(|(_, c)| c.len_utf8() > 1),
        _ => None,
    };
    let (at, (byte, wide)) = frames.iter().enumerate().find_map(|(at, frame)| Some((at, wide(frame)?)))?;
    let Frame::Chunk(chunk) = &mut frames[at] else { return None };
    let mut rest = chunk.clone();
    if let Some(Some(text)) = &mut rest.content {
        *text = format!("\u{FFFD}{}", &text[byte + wide.len_utf8()..]);
    }
    if let Some(Some(text)) = &mut chunk.content {
        text.truncate(byte);
        text.push('\u{FFFD}');
    }
    frames.insert(at + 1, Frame::Chunk(rest));
    Some(Effect::both(CorruptText))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::answer::{Arguments, Call};
    use crate::sim::frames;
    use crate::sim::spec::Benign;

    #[test]
    fn a_single_delta_keeps_the_arguments() {
        let call = |name: &str| Call {
            id: None,
            name: name.to_owned(),
            arguments: Arguments::Text("{\"a\":12345678}".to_owned()),
        };
        let answer = Answer { calls: vec![call("f"), call("g")], finish: "tool_calls".to_owned(), ..Answer::default() };
        let mut frames = frames::cut(&answer, &Benign::default(), false);
        let prompt =
            crate::sim::prompt::Prompt::read(0, serde_json::json!({"messages": [1]}).as_object().unwrap()).unwrap();
        let scene = Scene { prompt: &prompt, call_due: true, ordinal: 0, idle_us: None };
        single_delta(&mut frames, &answer, &scene, &mut Draw::new([0; 4])).unwrap();
        let calls: Vec<_> = frames
            .iter()
            .filter_map(|f| match f {
                Frame::Chunk(chunk) => chunk.calls.first(),
                _ => None,
            })
            .collect();
        assert_eq!(calls.len(), 2);
        assert!(calls.iter().all(|c| c.arguments == Some(Arguments::Text("{\"a\":12345678}".to_owned()))));
    }
}
