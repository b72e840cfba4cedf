//! Output quality and identity (catalogue, section 11).

use super::Need::{History, Text};
use super::{Act, Defect, Effect, Expected, Scene};
use crate::domain::Fault::{self, CorruptText, Degenerate, MissingCall, ToolChoiceIgnored};
use crate::sim::answer::Answer;
use crate::sim::draws::Draw;
use crate::sim::spec::Format;
use crate::sim::wrong::{make_wrong, reword};

/// A wrong answer fails as the case's counter-example does, so with any Fault of an answer.
pub(super) const WRONG: &[Fault] = Fault::ALL;
/// Letters that a text needs before a single foreign one stands out.
const LETTERS_MIN: usize = 12;
/// Repeats of a loop.
const LOOPS: usize = 40;

const fn wrong_row(id: &'static str, needs: &'static [super::Need], shows: &'static str) -> Defect {
    Defect { id, needs, act: Act::Content(wrong), quality: WRONG, wire: &[], shows }
}

pub(super) const ROWS: &[Defect] = &[
    Defect {
        id: "kv_quant_garbage",
        needs: &[History],
        act: Act::Answer(garbage),
        quality: &[Degenerate, MissingCall, ToolChoiceIgnored],
        wire: &[Degenerate, ToolChoiceIgnored],
        shows: "multi-turn output turns to garbage",
    },
    Defect {
        id: "repeated_tokens",
        needs: &[Text],
        act: Act::Answer(repeated),
        quality: &[Degenerate],
        wire: &[Degenerate],
        shows: "the text ends in a loop",
    },
    wrong_row("compressed_model", &[], "well formed, and wrong more often"),
    wrong_row("engine_gap", &[], "well formed, and wrong a little more often"),
    Defect {
        id: "model_substituted",
        needs: &[],
        act: Act::Content(substituted),
        quality: WRONG,
        wire: &[],
        shows: "another model answers under the same name: other fingerprint, other mistakes",
    },
    wrong_row("partial_sticky_misroute", &[], "a share of requests reaches a pool that answers worse"),
    Defect {
        id: "wrong_script_chars",
        needs: &[Text],
        act: Act::Answer(foreign_character),
        quality: &[CorruptText],
        wire: &[CorruptText],
        shows: "a single character of a foreign script inside a text",
    },
    Defect {
        id: "served_by_other",
        needs: &[],
        act: Act::Answer(served_by_other),
        quality: &[],
        wire: &[],
        shows: "the response names another provider",
    },
    Defect {
        id: "cache_hit",
        needs: &[],
        act: Act::Answer(cache_hit),
        quality: &[],
        wire: &[],
        shows: "the response says that it comes from a cache",
    },
    Defect {
        id: "healed_response",
        needs: &[],
        act: Act::Answer(healed),
        quality: &[],
        wire: &[],
        shows: "the response says that it was repaired on the way",
    },
];

/// A plausible wrong answer.
pub(super) fn wrong(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    if scene.judged_by("wire") {
        reword(answer);
        return Some(Effect::none());
    }
    make_wrong(answer, scene.prompt, draw).map(|fault| scene.wrong(Some(fault)))
}

fn substituted(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    answer.fingerprint = Some("fp_5b57".to_owned());
    Some(wrong(answer, scene, draw).unwrap_or(Effect::none()))
}

fn garbage(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.say(" the of the of".repeat(LOOPS));
    let degenerate = Effect::both(Degenerate).instead();
    if !scene.call_due {
        return Some(degenerate);
    }
    let missing = scene.call_missing();
    let wire = if missing.wire == Expected::Pass { degenerate.wire } else { missing.wire };
    Some(Effect { wire, ..missing })
}

fn repeated(answer: &mut Answer, scene: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    if scene.prompt.format != Format::Text {
        return None;
    }
    answer.content.as_mut()?.push_str(&" and then again".repeat(LOOPS));
    // Where JSON was due, that it is none comes first.
    let is_json = ["json", "json-schema"].iter().any(|kind| scene.judged_by(kind));
    let quality = if is_json { Expected::NoPass } else { Expected::Fault(Degenerate) };
    Some(Effect { quality, ..Effect::both(Degenerate) })
}

fn foreign_character(answer: &mut Answer, scene: &Scene<'_>, draw: &mut Draw) -> Option<Effect> {
    let content = answer.content.as_mut()?;
    let letters: Vec<usize> =
        content.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()).map(|(at, _)| at + 1).collect();
    if letters.len() < LETTERS_MIN || scene.prompt.format != Format::Text {
        return None;
    }
    content.insert(*draw.pick(&letters)?, *draw.pick(&['ก', '的', 'ส', '是'])?);
    Some(Effect::both(CorruptText))
}

fn served_by_other(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.served_by = Some("another-provider".to_owned());
    Some(Effect::none())
}

fn cache_hit(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.headers.push(("x-cache", "HIT"));
    Some(Effect::none())
}

fn healed(answer: &mut Answer, _: &Scene<'_>, _: &mut Draw) -> Option<Effect> {
    answer.headers.push(("x-response-healed", "true"));
    Some(Effect::none())
}
