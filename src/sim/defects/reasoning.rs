//! Defects of reasoning (catalogue, section 7).

use super::Need::{History, Reasoning, Stream, Text, Tools};
use super::quality::{WRONG, wrong};
use super::{Act, Defect, Effect, Expected, Scene};
use crate::domain::Fault::{BadUsage, ParameterIgnored, ReasoningOnly, ToolChoiceIgnored, WireShape};
use crate::sim::answer::{self, Answer};
use crate::sim::draws::Draw;
use crate::sim::prompt::Effort;

pub(super) const ROWS: &[Defect] = &[
    Defect {
        id: "answer_in_reasoning",
        needs: &[Text],
        act: Act::Answer(answer_in_reasoning),
        quality: &[ReasoningOnly],
        wire: &[],
        shows: "the answer stands in the reasoning, the text is empty",
    },
    Defect {
        id: "reasoning_only",
        needs: &[],
        act: Act::Answer(reasoning_only),
        quality: &[ReasoningOnly],
        wire: &[BadUsage, ToolChoiceIgnored],
        shows: "reasoning, and neither text nor call; in some answers no token billed",
    },
    Defect {
        id: "reasoning_missing_in_stream",
        needs: &[Stream, Reasoning],
        act: Act::Answer(missing_in_stream),
        quality: &[],
        wire: &[WireShape],
        shows: "no reasoning in streams",
    },
    Defect {
        id: "reasoning_not_replayed",
        needs: &[History, Tools],
        act: Act::Content(wrong),
        quality: WRONG,
        wire: &[],
        shows: "worse answers in multi-turn tool use",
    },
    Defect {
        id: "effort_ignored",
        needs: &[Reasoning],
        act: Act::Answer(effort_ignored),
        quality: &[],
        wire: &[ParameterIgnored],
        shows: "reasoning of the same length whatever the effort",
    },
];

fn answer_in_reasoning(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let text = answer.content.take()?;
    answer.reasoning.get_or_insert_default().push_str(&text);
    answer.say_nothing();
    Some(Effect::quality(ReasoningOnly).instead())
}

fn reasoning_only(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    answer.reasoning.get_or_insert_with(|| answer::reasoning(Effort::Medium));
    answer.say_nothing();
    // The form is kept, unless a call was forced.
    let is_forced = scene.prompt.is_forced() && !scene.prompt.tools.is_empty();
    let wire = if is_forced { Expected::Fault(ToolChoiceIgnored) } else { Expected::Pass };
    let effect = Effect { wire, ..Effect::quality(ReasoningOnly).instead() };
    if draw.chance(0.5) {
        answer.usage.nothing_billed = true;
        return Some(Effect { wire: wire.and(Expected::Fault(BadUsage)), ..effect });
    }
    Some(effect)
}

fn missing_in_stream(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.reasoning.take()?;
    Some(Effect::wire(WireShape))
}

fn effort_ignored(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    // Visible over a group of requests with different efforts only.
    scene.prompt.effort.filter(|effort| *effort != Effort::Medium)?;
    answer.reasoning = Some(answer::reasoning(Effort::Medium));
    Some(Effect { wire: Expected::Unknown, ..Effect::none() })
}
