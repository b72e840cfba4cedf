//! Limits and parameters that are not kept (catalogue, section 10).

use serde_json::{Map, Value, json};

use super::Need::{History, JsonSchema, Reasoning, Seed, Stop, Text};
use super::{Act, Defect, Effect, Expected, Instead, Scene};
use crate::domain::Fault::{
    BadUsage, ContextTruncated, Degenerate, LimitLowered, MissingCall, ParameterIgnored, Rejected,
    ResponseFormatIgnored, ToolChoiceIgnored, WrongAnswer,
};
use crate::sim::answer::{Answer, Arguments, floor_boundary};
use crate::sim::draws::Draw;

/// Prompts of fewer tokens are never cut.
const CONTEXT_TOKENS_MIN: u64 = 1_000;
/// Texts of fewer bytes are never cut by an output limit.
const OUTPUT_BYTES_MIN: usize = 8;

pub(super) const ROWS: &[Defect] = &[
    Defect {
        id: "context_silently_truncated",
        needs: &[],
        act: Act::Answer(context_truncated),
        quality: &[ContextTruncated, MissingCall, ToolChoiceIgnored, WrongAnswer],
        wire: &[ToolChoiceIgnored],
        shows: "low prompt_tokens, and what stood in the middle is unknown (prompts over 1000 tokens)",
    },
    Defect {
        id: "max_tokens_capped",
        needs: &[Text],
        act: Act::Answer(capped),
        quality: &[],
        wire: &[LimitLowered],
        shows: "the text is cut below the limit that was asked for, finish reason length",
    },
    Defect {
        id: "max_tokens_low_default",
        needs: &[Text],
        act: Act::Answer(low_default),
        quality: &[],
        wire: &[LimitLowered],
        shows: "the text is cut though no limit was sent",
    },
    Defect {
        id: "json_schema_downgraded",
        needs: &[JsonSchema, Text],
        act: Act::Answer(downgraded),
        quality: &[ResponseFormatIgnored],
        wire: &[ResponseFormatIgnored],
        shows: "valid JSON that breaks the requested schema",
    },
    Defect {
        id: "seed_ignored",
        needs: &[Seed],
        act: Act::Answer(seed_ignored),
        quality: &[],
        wire: &[],
        shows: "same seed, another wording each time",
    },
    Defect {
        id: "stop_overrun",
        needs: &[Stop, Text],
        act: Act::Answer(stop_overrun),
        quality: &[ParameterIgnored],
        wire: &[ParameterIgnored],
        shows: "the text goes on past the stop sequence",
    },
    Defect {
        id: "sampling_ignored",
        needs: &[],
        act: Act::Answer(sampling_ignored),
        quality: &[],
        wire: &[ParameterIgnored],
        shows: "one choice although several were asked for",
    },
    Defect {
        id: "top_k_missing_wrong_language",
        needs: &[Text],
        act: Act::Answer(wrong_language),
        quality: &[Degenerate],
        wire: &[Degenerate],
        shows: "a text in another script than asked",
    },
    Defect {
        id: "replay_rejected",
        needs: &[History],
        act: Act::Http(replay_rejected),
        quality: &[Rejected],
        wire: &[Rejected],
        shows: "400 on a history with calls",
    },
    Defect {
        id: "prompt_tokens_off",
        needs: &[],
        act: Act::Answer(prompt_tokens_off),
        quality: &[],
        wire: &[BadUsage],
        shows: "prompt_tokens far from the right number",
    },
    Defect {
        id: "reasoning_tokens_uncounted",
        needs: &[Reasoning],
        act: Act::Answer(reasoning_uncounted),
        quality: &[],
        wire: &[BadUsage],
        shows: "reasoning is sent, and its tokens are not in the usage",
    },
];

fn context_truncated(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    if scene.prompt.tokens < CONTEXT_TOKENS_MIN || scene.prompt.known.is_none() {
        return None;
    }
    answer.usage.prompt = scene.prompt.tokens / 4 + draw.below(16) as u64;
    if scene.call_due {
        answer.say("I do not see what this refers to. Could you send the details again?");
        return Some(scene.call_missing());
    }
    answer.say("The text that you sent does not say anything about that.");
    let fault = if scene.judged_by("needle") { ContextTruncated } else { WrongAnswer };
    Some(Effect::quality(fault).instead())
}

/// Cuts the text in two; how a quality suite judges the first half depends on the case.
fn shorten(answer: &mut Answer) -> Option<Effect> {
    let content = answer.content.as_mut().filter(|text| text.len() >= OUTPUT_BYTES_MIN)?;
    let half = floor_boundary(content, content.len() / 2);
    content.truncate(half);
    "length".clone_into(&mut answer.finish);
    Some(Effect { quality: Expected::Unknown, ..Effect::wire(LimitLowered) })
}

fn capped(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let bytes = answer.content.as_deref().map_or(0, str::len) as u64;
    scene.prompt.max_tokens.filter(|limit| *limit > bytes)?;
    shorten(answer)
}

fn low_default(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    if scene.prompt.max_tokens.is_some() {
        return None;
    }
    shorten(answer)
}

fn downgraded(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let value: Value = serde_json::from_str(answer.content.as_deref()?).ok()?;
    let schema = scene.prompt.schema.as_ref()?;
    let required = schema["required"].as_array().is_some_and(|keys| !keys.is_empty());
    let closed = schema["additionalProperties"] == false;
    if !value.is_object() || !(required || closed) || schema["properties"].get("answer_object").is_some() {
        return None;
    }
    // The right content under a key of its own: plain JSON mode does not know the schema.
    answer.content = Some(Value::Object(Map::from_iter([("answer_object".to_owned(), value)])).to_string());
    Some(Effect::both(ResponseFormatIgnored))
}

fn seed_ignored(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    // What may vary without being wrong: the white space of arguments, the wording of a free answer.
    for call in &mut answer.calls {
        if let Some(Value::Object(map)) = call.arguments.parsed() {
            let text = if draw.chance(0.5) { format!("{:#}", json!(map)) } else { json!(map).to_string() };
            call.arguments = Arguments::Text(text);
        }
    }
    if scene.prompt.known.is_none()
        && let Some(content) = &mut answer.content
    {
        content.push_str(draw.pick(&["", " So far so good.", " That is all for now."])?);
    }
    answer.fingerprint = Some(format!("fp_{:08x}", draw.word() as u32));
    Some(Effect::none())
}

fn stop_overrun(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let stop = scene.prompt.stop.first()?;
    let content = answer.content.as_mut()?;
    content.push_str(stop);
    content.push_str(" and so on, and so forth.");
    let quality = if scene.judged_by("stop") { Expected::Fault(ParameterIgnored) } else { Expected::Unknown };
    Some(Effect { quality, ..Effect::wire(ParameterIgnored) })
}

fn sampling_ignored(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    if answer.choices < 2 {
        return None;
    }
    answer.choices = 1;
    Some(Effect::wire(ParameterIgnored))
}

fn wrong_language(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    let content = answer.content.as_ref()?;
    // Latin with its extensions, those for Vietnamese included.
    let latin = |c: char| matches!(c as u32, 0..0x250 | 0x1E00..0x1F00);
    let is_latin = content.chars().filter(|c| c.is_alphabetic()).all(latin);
    let other = if is_latin {
        "对不起，这个问题我只能用中文来回答，请您谅解。"
    } else {
        "I am afraid that this is all I can say about it."
    };
    answer.content = Some(other.to_owned());
    let judged = scene.judged_by("script");
    let quality = match (judged, scene.prompt.known.is_some()) {
        (true, _) => Expected::Fault(Degenerate),
        (false, true) => Expected::NoPass,
        (false, false) => Expected::Unknown,
    };
    Some(Effect { quality, wire: Expected::Unknown, instead: true })
}

fn replay_rejected(scene: &Scene<'_>, _: &mut Draw) -> Option<(Instead, Effect)> {
    let message = "the conversation holds a message that cannot be replayed";
    let error = || (Instead::error(400, "invalid_request_error", message), Effect::both(Rejected));
    scene.prompt.history_calls.then(error)
}

fn prompt_tokens_off(answer: &mut Answer, _: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    answer.usage.prompt = answer.usage.prompt * 2 + 100 + draw.below(50) as u64;
    Some(Effect { wire: Expected::Unknown, ..Effect::none() })
}

fn reasoning_uncounted(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.usage.reasoning_counted = false;
    Some(Effect::wire(BadUsage))
}
