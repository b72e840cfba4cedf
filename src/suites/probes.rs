//! The program's own prompts for fingerprints, as suites that are asked like any other.
//!
//! Short starts without one natural way to go on: a small change of the weights soon leads elsewhere.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::load::parse_suite;
use crate::diagnostics::Diagnostics;
use crate::domain::Suite;
use crate::domain::probes::{GREEDY, SAMPLE_PROMPTS, SAMPLES, TOKENS};

/// Of these the first token is observed.
const TOKEN_PROMPTS: usize = 24;
/// Repeats of each of them.
pub const TOKEN_REPEATS: u32 = 5;

const PROMPTS: [&str; 60] = [
    "Name an object that nobody would expect in a lighthouse, and say who left it there.",
    "Go on: The third drawer was locked, but the sound inside",
    "Invent a proverb about rain and wheels.",
    "What would a retired clock say to a new one?",
    "Write the first line of a letter to a mountain.",
    "Give a colour a surname and a trade.",
    "Go on: On the night market of the moon they sell",
    "Describe the smell of a number of your choice.",
    "Make up a village and its oldest quarrel.",
    "Which two animals would make a bad orchestra, and why?",
    "Go on: My grandmother's recipe began with a stolen",
    "Invent a holiday for left-handed sailors.",
    "Write a warning sign for a library of dreams.",
    "What does the echo do on its day off?",
    "Go on: The bridge remembered only one of us,",
    "Name a tool for mending promises and explain its handle.",
    "Tell a rumour about the sea in one sentence.",
    "Invent an insult that a teapot would use.",
    "Go on: After the comet, bread began to",
    "Describe a door to somebody who has only known curtains.",
    "What is written on the back of the wind?",
    "Make up a law of the smallest kingdom.",
    "Go on: There were eleven keys, and the twelfth was",
    "Which weather would you lend to an enemy?",
    "Invent the rules of a game played with shadows and spoons.",
    "Write a classified advertisement for a used horizon.",
    "Go on: The tailor of silence measured",
    "Give a short history of an imaginary button.",
    "What do statues trade at midnight?",
    "Name a song that only stairs can hum.",
    "Go on: We painted the river because",
    "Describe a map that is afraid of its country.",
    "Invent a profession that ended yesterday.",
    "What did the last candle ask of the first lamp?",
    "Write one sentence from a dictionary of gestures.",
    "Go on: In the museum of unfinished things hangs",
    "Choose a fruit to be mayor and defend the choice.",
    "Make up a superstition about elevators.",
    "Go on: The orchard kept its secrets in",
    "What would you find in the pockets of winter?",
    "Invent a unit that measures hesitation.",
    "Write a toast for the wedding of a comma and a storm.",
    "Go on: Nobody had told the ferryman that",
    "Describe music to a stone in two sentences.",
    "Name a ghost that haunts only Tuesdays.",
    "What is the opposite of an umbrella?",
    "Go on: The astronomer's cat had discovered",
    "Invent a spice and the war over it.",
    "Write the shortest ghost story about a bicycle.",
    "Which letter of the alphabet is the most tired?",
    "Go on: Under the theatre there was a second,",
    "Make up a nickname for gravity and its origin.",
    "Describe a colour that is sold by weight.",
    "What does a compass dream of?",
    "Go on: The invoice was made out to the fog, for",
    "Invent an apology in the language of birds, and translate it.",
    "Name three things that a mirror refuses to learn.",
    "Go on: At the end of the salt road stood",
    "Write a recipe for the end of an argument.",
    "What would the alphabet do without its neighbours?",
];

/// The prompts whose first token is observed, those whose start is, and those whose answers are sampled.
///
/// # Errors
/// What is wrong in them; tested to be nothing.
pub fn probes() -> Result<[Arc<Suite>; 3], Diagnostics> {
    let tokens = "temperature = 0\nmax_tokens = 1\nlogprobs = true\n";
    let greedy = "temperature = 0\nmax_tokens = 30\n";
    let samples = "temperature = 1\nmax_tokens = 30\n";
    // Others than those whose first token is observed.
    let last = &PROMPTS[PROMPTS.len() - SAMPLE_PROMPTS..];
    Ok([
        suite(TOKENS, tokens, &PROMPTS[..TOKEN_PROMPTS])?,
        suite(GREEDY, greedy, &PROMPTS)?,
        suite(SAMPLES, samples, last)?,
    ])
}

fn suite(name: &str, request: &str, prompts: &[&str]) -> Result<Arc<Suite>, Diagnostics> {
    // A suite has a scorer; what it says of these answers is not used.
    let header = format!(
        "version = 1\nname = \"{name}\"\nkind = [\"output_quality\"]\nrevision = \"1\"\nlicense = \"CC0-1.0\"\n\
         [request]\n{request}[[scorers]]\ntype = \"regex\"\npattern = \"(?s).*\"\n"
    );
    let line = |(number, prompt): (usize, &&str)| json!({"id": format!("p{number:02}"), "input": prompt}).to_string();
    let cases: Vec<String> = (1..).zip(prompts).map(line).collect();
    parse_suite(Path::new(name), header.as_bytes(), (cases.join("\n") + "\n").as_bytes()).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_prompts_load_and_differ() {
        let [tokens, greedy, samples] = probes().unwrap();
        assert_eq!((tokens.cases.len(), greedy.cases.len(), samples.cases.len()), (24, 60, 24));
        assert_eq!(PROMPTS.iter().collect::<BTreeSet<_>>().len(), PROMPTS.len());
        assert!(tokens.cases.iter().chain(&greedy.cases).chain(&samples.cases).all(|c| !c.is_template()));
    }
}
