//! Defects of the finish reason (catalogue, section 4).

use super::Need::Calls;
use super::{Act, Defect, Effect, Expected, Scene};
use crate::domain::Fault::{MissingCall, ToolChoiceIgnored, WrongFinishReason};
use crate::sim::answer::Answer;
use crate::sim::draws::Draw;
use crate::sim::spec::Choice;

pub(super) const ROWS: &[Defect] = &[
    Defect {
        id: "finish_stop_with_calls",
        needs: &[Calls],
        act: Act::Answer(stop_with_calls),
        quality: &[WrongFinishReason],
        wire: &[WrongFinishReason],
        shows: "finish reason stop though there are calls",
    },
    Defect {
        id: "finish_tool_calls_empty",
        needs: &[Calls],
        act: Act::Answer(calls_empty),
        quality: &[MissingCall, ToolChoiceIgnored],
        wire: &[ToolChoiceIgnored, WrongFinishReason],
        shows: "finish reason tool_calls, and no calls",
    },
    Defect {
        id: "finish_raw_token",
        needs: &[],
        act: Act::Answer(raw_token),
        quality: &[WrongFinishReason],
        wire: &[WrongFinishReason],
        shows: "a raw token as finish reason",
    },
    Defect {
        id: "finish_unknown",
        needs: &[],
        act: Act::Answer(unknown),
        quality: &[WrongFinishReason],
        wire: &[WrongFinishReason],
        shows: "finish reason other",
    },
];

/// Secondary in quality suites unless the case judges the finish reason.
fn reason(answer: &mut Answer, scene: &Scene<'_>, reason: String) -> Option<Effect> {
    answer.finish = reason;
    let judged = scene.judged_by("finish-reason");
    Some(if judged { Effect::both(WrongFinishReason) } else { Effect::wire(WrongFinishReason) })
}

fn stop_with_calls(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let effect = reason(answer, scene, "stop".to_owned())?;
    // After a named choice this is what the contract's author sends.
    let is_right = scene.prompt.choice == Choice::Named && !scene.judged_by("finish-reason");
    Some(if is_right { Effect::none() } else { effect })
}

fn raw_token(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let token = 100_000 + draw.below(100_000);
    reason(answer, scene, format!("stop_{token}"))
}

fn unknown(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    reason(answer, scene, "other".to_owned())
}

fn calls_empty(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    if !scene.call_due {
        return None;
    }
    answer.say("Let me look that up for you.");
    "tool_calls".clone_into(&mut answer.finish);
    let wire = match scene.text_for_call() {
        ToolChoiceIgnored => ToolChoiceIgnored,
        _ => WrongFinishReason,
    };
    Some(Effect { wire: Expected::Fault(wire), ..scene.call_missing() })
}
