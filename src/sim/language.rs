//! How a model speaks where nobody asks it a case: words that its weights alone decide, and that other weights change.

use super::answer::Answer;
use super::draws::{Draw, hash_text};
use super::prompt::Prompt;
use super::spec::Language;

/// Words of an answer without a limit.
const WORDS: u64 = 30;
/// Most words of an answer.
const WORDS_MAX: u64 = 200;
/// Smallest log-probability of a first token.
const LOGPROB_MIN: f64 = -4.0;
/// A drifted endpoint is off by so many times the noise.
const DRIFT_IN_JITTERS: f64 = 10.0;

const VOCABULARY: [&str; 32] = [
    "amber", "bell", "cinder", "dune", "ember", "fern", "gale", "harbour", "ink", "juniper", "kite", "lantern", "moss",
    "needle", "orchard", "pebble", "quill", "river", "salt", "thimble", "umber", "velvet", "willow", "xylem", "yarrow",
    "zinc", "anchor", "bramble", "copper", "drift", "echo", "flint",
];

/// Says what the model would say to a prompt. `home`: the endpoint; `draw`: this request.
pub(super) fn speak(
    language: Language,
    answer: &mut Answer,
    (model, home): (&str, [u64; 2]),
    prompt: &Prompt,
    mut draw: Draw,
) {
    let model = hash_text(model);
    let mut own = Draw::new([home[0], home[1], prompt.hash, 5]);
    let has_drifted = own.chance(language.drift);
    let off = (own.unit() - 0.5) * 2.0 * DRIFT_IN_JITTERS * language.jitter;
    let count = prompt.max_tokens.unwrap_or(WORDS).min(WORDS_MAX);
    let fork = |draw: &mut Draw| draw.below(count.max(1) as usize) as u64;
    let leaves_at = if draw.chance(language.fork) { fork(&mut draw) } else { u64::MAX };
    let drifts_at = if has_drifted { fork(&mut own) } else { u64::MAX };
    let word = |at: u64| {
        let seed = if at >= leaves_at {
            [draw.clone().word(), 1, prompt.hash, at]
        } else if at >= drifts_at {
            [home[1], 2, prompt.hash, at]
        } else {
            [model, 3, prompt.hash, at]
        };
        VOCABULARY[Draw::new(seed).below(VOCABULARY.len())]
    };
    let words: Vec<&str> = (0..count).map(word).collect();
    answer.say(words.join(" "));
    "length".clone_into(&mut answer.finish);
    let base = LOGPROB_MIN * Draw::new([model, 4, prompt.hash, 0]).unit();
    let shift = if language.drift > 0.0 { off } else { 0.0 };
    answer.logprob = Some((base + shift + (draw.unit() - 0.5) * 2.0 * language.jitter).min(0.0));
}
