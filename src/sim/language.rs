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

/// Words that may stand at a place where words are drawn.
const CANDIDATES: usize = 6;
/// Each is so many times as likely as the one before it, at a heat of 1.
const NEXT_LIKELIHOOD: f64 = 0.5;
/// Smallest heat.
const HEAT_MIN: f64 = 0.01;

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
    let words: Vec<&str> = if prompt.draws {
        (0..count).map(|at| drawn(language, [model, prompt.hash, at], &mut draw)).collect()
    } else {
        (0..count).map(word).collect()
    };
    answer.say(words.join(" "));
    "length".clone_into(&mut answer.finish);
    let base = LOGPROB_MIN * Draw::new([model, 4, prompt.hash, 0]).unit();
    let shift = if language.drift > 0.0 { off } else { 0.0 };
    answer.logprob = Some((base + shift + (draw.unit() - 0.5) * 2.0 * language.jitter).min(0.0));
}

/// A word at a place, drawn from the model's distribution there, made hotter or colder.
fn drawn(language: Language, [model, prompt, at]: [u64; 3], draw: &mut Draw) -> &'static str {
    let ratio = NEXT_LIKELIHOOD.powf(1.0 / language.heat.max(HEAT_MIN));
    let weights: [f64; CANDIDATES] = std::array::from_fn(|place| ratio.powi(place as i32));
    let mut left = draw.unit() * weights.iter().sum::<f64>();
    let place = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    let place = place.unwrap_or(CANDIDATES - 1) as u64;
    VOCABULARY[Draw::new([model, 6 + place, prompt, at]).below(VOCABULARY.len())]
}
