//! Defects of tool choice and of the propensity to call (catalogue, section 6).

use super::Need::{Calls, Forbidden, Forced, Named, Text, Tools};
use super::{Act, Defect, Effect, Expected, Instead, Scene};
use crate::domain::Fault::{EmptyAnswer, MissingCall, Rejected, ToolChoiceIgnored, WrongAnswer};
use crate::sim::answer::{Answer, example_call};
use crate::sim::draws::Draw;
use crate::sim::spec::Choice;

const NO_TOOL: &str = "I can answer this without a tool: it depends on what you have in mind.";

pub(super) const ROWS: &[Defect] = &[
    Defect {
        id: "tool_choice_required_ignored",
        needs: &[Forced, Calls],
        act: Act::Answer(required_ignored),
        quality: &[ToolChoiceIgnored],
        wire: &[ToolChoiceIgnored],
        shows: "a text although a call was required",
    },
    Defect {
        id: "tool_choice_none_deletes_content",
        needs: &[Forbidden, Text],
        act: Act::Answer(none_deletes),
        quality: &[EmptyAnswer],
        wire: &[EmptyAnswer],
        shows: "tool_choice none gives an empty text",
    },
    Defect {
        id: "tool_choice_named_ignored",
        needs: &[Named, Calls],
        act: Act::Content(named_ignored),
        quality: &[ToolChoiceIgnored],
        wire: &[ToolChoiceIgnored],
        shows: "another tool, or none, although one was named",
    },
    Defect {
        id: "tool_choice_required_rejected",
        needs: &[Forced],
        act: Act::Http(required_rejected),
        quality: &[Rejected],
        wire: &[Rejected],
        shows: "400 for tool_choice required",
    },
    Defect {
        id: "under_calling",
        needs: &[Tools, Calls],
        act: Act::Content(under_calling),
        quality: &[MissingCall],
        wire: &[],
        shows: "a text where a call was due and the choice is auto",
    },
    Defect {
        id: "over_calling",
        needs: &[Tools, Text],
        act: Act::Content(over_calling),
        quality: &[WrongAnswer],
        wire: &[],
        shows: "a call where none was due and the choice is auto",
    },
];

fn required_ignored(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.say(NO_TOOL);
    Some(Effect::both(ToolChoiceIgnored).instead())
}

fn none_deletes(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.say_nothing();
    Some(Effect::both(EmptyAnswer).instead())
}

fn named_ignored(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let named = scene.prompt.named.as_deref()?;
    match scene.prompt.tool_names().find(|name| *name != named) {
        Some(other) => {
            let other = other.to_owned();
            answer.calls = vec![example_call(scene.prompt, &other)];
        }
        None => answer.say(NO_TOOL),
    }
    Some(Effect::both(ToolChoiceIgnored).instead())
}

fn required_rejected(scene: &Scene<'_>, _: &mut Draw) -> Option<(Instead, Effect)> {
    let refused = scene.prompt.choice == Choice::Required;
    let message = "tool_choice `required` is not supported while thinking is on";
    refused.then(|| (Instead::error(400, "invalid_request_error", message), Effect::both(Rejected)))
}

/// A text in place of a call, where the choice is the model's. Also used for the calling propensity.
pub(in crate::sim) fn under_calling(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    if scene.prompt.choice != Choice::Auto || !scene.call_due {
        return None;
    }
    answer.say(NO_TOOL);
    Some(scene.call_missing())
}

/// A call where none was due. Also used for the calling propensity.
pub(in crate::sim) fn over_calling(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    if scene.prompt.choice != Choice::Auto || scene.call_due {
        return None;
    }
    let names: Vec<&str> = scene.prompt.tool_names().collect();
    answer.calls = vec![example_call(scene.prompt, draw.pick(&names)?)];
    answer.content = None;
    "tool_calls".clone_into(&mut answer.finish);
    let quality = if scene.prompt.known.is_some() { Expected::Fault(WrongAnswer) } else { Expected::Unknown };
    Some(Effect { quality, ..Effect::none() }.instead())
}
