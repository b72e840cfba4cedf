//! Markup that leaks into text (catalogue, section 5).

use super::Need::{Calls, Text, Tools};
use super::{Act, Defect, Effect, Expected, Scene};
use crate::domain::Fault::{MarkupLeak, MissingCall, ToolChoiceIgnored};
use crate::sim::answer::{Answer, Call};
use crate::sim::draws::Draw;

pub(super) const ROWS: &[Defect] = &[
    Defect {
        id: "leak_section_markers",
        needs: &[Tools, Calls],
        act: Act::Answer(section_markers),
        quality: &[MarkupLeak, MissingCall, ToolChoiceIgnored],
        wire: &[MarkupLeak, ToolChoiceIgnored],
        shows: "<|tool_calls_section_begin|> in the text, beside the calls or in their place",
    },
    Defect {
        id: "leak_tool_call_tags",
        needs: &[Tools, Calls],
        act: Act::Answer(tool_call_tags),
        quality: &[MissingCall, ToolChoiceIgnored],
        wire: &[MarkupLeak, ToolChoiceIgnored],
        shows: "<tool_call> as text in place of the call, in some answers never closed",
    },
    Defect {
        id: "leak_harmony_channels",
        needs: &[Text],
        act: Act::Answer(harmony_channels),
        quality: &[MarkupLeak],
        wire: &[MarkupLeak],
        shows: "channel markup round the text",
    },
    Defect {
        id: "leak_args_as_text",
        needs: &[Tools, Calls],
        act: Act::Answer(args_as_text),
        quality: &[MissingCall, ToolChoiceIgnored],
        wire: &[ToolChoiceIgnored],
        shows: "the arguments object is the text, and no call is made",
    },
];

/// Markup in place of a call: the missing call is primary in quality suites, the leak in the wire suite.
fn leaked_call(answer: &mut Answer, scene: &Scene<'_>, text: String) -> Option<Effect> {
    if !scene.call_due {
        return None;
    }
    answer.say(text);
    let fault = scene.text_for_call();
    let wire = if fault == ToolChoiceIgnored { fault } else { MarkupLeak };
    Some(Effect { wire: Expected::Fault(wire), ..scene.call_missing() })
}

fn section(calls: &[Call]) -> String {
    let calls: String = calls
        .iter()
        .enumerate()
        .map(|(i, call)| {
            let (name, arguments) = (&call.name, call.arguments.text());
            format!("<|tool_call_begin|>functions.{name}:{i}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>")
        })
        .collect();
    format!("<|tool_calls_section_begin|>{calls}<|tool_calls_section_end|>")
}

fn section_markers(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let text = section(&answer.calls);
    if draw.chance(0.5) && scene.call_due {
        return leaked_call(answer, scene, text);
    }
    match (&mut answer.reasoning, draw.chance(0.5)) {
        (Some(reasoning), true) => reasoning.push_str("<|tool_calls_section_begin|>"),
        _ => answer.content = Some("<|tool_calls_section_begin|>".to_owned()),
    }
    Some(Effect::both(MarkupLeak))
}

fn tool_call_tags(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let end = if draw.chance(0.5) { "\n</tool_call>" } else { "" };
    let call = answer.calls.first()?;
    let name = serde_json::Value::String(call.name.clone());
    let text = format!("<tool_call>\n{{\"name\": {name}, \"arguments\": {}}}{end}", call.arguments.text());
    leaked_call(answer, scene, text)
}

fn harmony_channels(answer: &mut Answer, _: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let content = answer.content.as_mut()?;
    *content = format!(
        "<|channel|>analysis<|message|>A short answer will do.<|end|><|start|>assistant<|channel|>final<|message|>{content}"
    );
    // Variant: what the markup cost is not billed.
    answer.usage.nothing_billed = draw.chance(0.25);
    Some(Effect::both(MarkupLeak))
}

fn args_as_text(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    if !scene.call_due {
        return None;
    }
    let text = answer.calls.first()?.arguments.text();
    answer.say(text);
    Some(scene.call_missing())
}
