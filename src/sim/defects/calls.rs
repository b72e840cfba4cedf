//! Defects of names, ids and indexes (catalogue, section 3).

use super::Need::{Calls, History, Stream, TwoCalls};
use super::{Act, Defect, Effect, Expected, Instead, Scene};
use crate::domain::Fault::{BadCallId, BadCallIndex, MissingCall, Rejected, UnknownName, WireShape, WrongAnswer};
use crate::sim::answer::Answer;
use crate::sim::draws::Draw;
use crate::sim::frames::{CallDelta, Frame};

pub(super) const ROWS: &[Defect] = &[
    Defect {
        id: "name_undeclared",
        needs: &[Calls],
        act: Act::Answer(undeclared),
        quality: &[UnknownName],
        wire: &[UnknownName],
        shows: "a call to a tool that was not offered",
    },
    Defect {
        id: "name_template_tokens",
        needs: &[Calls],
        act: Act::Answer(template_tokens),
        quality: &[UnknownName],
        wire: &[UnknownName],
        shows: "template tokens inside the name",
    },
    Defect {
        id: "name_concatenated",
        needs: &[Calls, Stream],
        act: Act::Frames(concatenated),
        quality: &[UnknownName],
        wire: &[WireShape],
        shows: "the full name is sent again in a later delta",
    },
    Defect {
        id: "call_id_missing",
        needs: &[Calls],
        act: Act::Answer(id_missing),
        quality: &[],
        wire: &[BadCallId],
        shows: "no id, in some answers only from the second call on",
    },
    Defect {
        id: "call_id_empty",
        needs: &[Calls],
        act: Act::Answer(id_empty),
        quality: &[],
        wire: &[BadCallId],
        shows: "id is the empty string",
    },
    Defect {
        id: "call_id_duplicate",
        needs: &[TwoCalls],
        act: Act::Answer(id_duplicate),
        quality: &[],
        wire: &[BadCallId],
        shows: "two calls share an id",
    },
    Defect {
        id: "history_id_format_required",
        needs: &[History],
        act: Act::Http(history_ids),
        quality: &[Rejected],
        wire: &[Rejected],
        shows: "400 on a history whose call ids are not functions.name:0",
    },
    Defect {
        id: "call_index_all_zero",
        needs: &[TwoCalls, Stream],
        act: Act::Frames(index_zero),
        quality: &[BadCallIndex],
        wire: &[BadCallIndex],
        shows: "all parallel calls carry index 0",
    },
    Defect {
        id: "call_index_missing",
        needs: &[Calls, Stream],
        act: Act::Frames(index_missing),
        quality: &[BadCallIndex],
        wire: &[BadCallIndex],
        shows: "no index in tool-call deltas",
    },
    Defect {
        id: "parallel_calls_dropped",
        needs: &[TwoCalls],
        act: Act::Answer(parallel_dropped),
        quality: &[MissingCall, WrongAnswer],
        wire: &[],
        shows: "only the first of several calls is sent",
    },
];

fn undeclared(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let i = draw.below(answer.calls.len());
    let call = answer.calls.get_mut(i)?;
    let endings = ["_v2", "_tool", "_now", "s_api"];
    let name = format!("{}{}", call.name, draw.pick(&endings)?);
    if scene.prompt.tool_names().any(|offered| offered == name) {
        return None;
    }
    call.name = name;
    Some(Effect::both(UnknownName))
}

fn template_tokens(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.calls.first_mut()?.name.push_str("<|channel|>commentary");
    Some(Effect::both(UnknownName))
}

fn concatenated(frames: &mut Vec<Frame>, _: &Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let at = call_heads(frames).next()?;
    let Frame::Chunk(mut again) = frames[at].clone() else { return None };
    for call in &mut again.calls {
        *call = CallDelta { index: call.index, name: call.name.clone(), ..CallDelta::default() };
    }
    frames.insert(at + 1, Frame::Chunk(again));
    let quality = Effect::both(UnknownName).quality;
    Some(Effect { quality, ..Effect::wire(WireShape) })
}

/// Positions of the chunks that begin a call.
fn call_heads(frames: &[Frame]) -> impl Iterator<Item = usize> {
    let heads = |frame: &Frame| matches!(frame, Frame::Chunk(chunk) if chunk.calls.iter().any(|c| c.name.is_some()));
    frames.iter().enumerate().filter(move |(_, frame)| heads(frame)).map(|(at, _)| at)
}

fn id_missing(answer: &mut Answer, _: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let from = if answer.calls.len() >= 2 { draw.below(2) } else { 0 };
    answer.calls.iter_mut().skip(from).for_each(|call| call.id = None);
    Some(Effect::wire(BadCallId))
}

fn id_empty(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.calls.iter_mut().for_each(|call| call.id = Some(String::new()));
    Some(Effect::wire(BadCallId))
}

fn id_duplicate(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let first = answer.calls.first()?.id.clone();
    answer.calls.iter_mut().for_each(|call| call.id = first.clone());
    Some(Effect::wire(BadCallId))
}

fn history_ids(scene: &Scene<'_>, _: &mut Draw) -> Option<(Instead, Effect)> {
    let refused = scene.prompt.history_calls && !scene.prompt.history_ids_indexed;
    let message = "tool_call_id must have the form functions.name:index";
    refused.then(|| (Instead::error(400, "invalid_request_error", message), Effect::both(Rejected)))
}

#[expect(clippy::ptr_arg, reason = "the table wants one type; others add and remove frames")]
fn index_zero(frames: &mut Vec<Frame>, _: &Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    each_call(frames, |call| call.index = Some(0));
    Some(Effect::both(BadCallIndex))
}

#[expect(clippy::ptr_arg, reason = "the table wants one type; others add and remove frames")]
fn index_missing(frames: &mut Vec<Frame>, answer: &Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    each_call(frames, |call| call.index = None);
    Some(if answer.calls.len() > 1 { Effect::both(BadCallIndex) } else { Effect::wire(BadCallIndex) })
}

fn each_call(frames: &mut [Frame], mut change: impl FnMut(&mut CallDelta)) {
    for frame in frames {
        if let Frame::Chunk(chunk) = frame {
            chunk.calls.iter_mut().for_each(&mut change);
        }
    }
}

fn parallel_dropped(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.calls.truncate(1);
    let fault = if scene.judged_by("parallel-calls") { MissingCall } else { WrongAnswer };
    let judged = scene.judged_by("parallel-calls") || scene.judged_by("tool-calls");
    Some(if judged { Effect::quality(fault) } else { Effect { quality: Expected::Unknown, ..Effect::none() } })
}
