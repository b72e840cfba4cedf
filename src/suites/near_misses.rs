//! Request keys that look like known ones mistyped. Providers have keys of their own, so that an unknown one is sent as it
//! is; who writes `max_token` is told.

use std::collections::BTreeMap;

use crate::diagnostics::{distance, nearest};
use crate::domain::{CaseId, Suite};

/// Keys of chat completions, and common ones of servers and routers, which are no mistyped others.
const KNOWN: &[&str] = &[
    "temperature",
    "top_p",
    "top_k",
    "top_a",
    "min_p",
    "typical_p",
    "tfs",
    "n",
    "best_of",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "max_tokens",
    "min_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "length_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "user",
    "metadata",
    "store",
    "service_tier",
    "reasoning",
    "reasoning_effort",
    "reasoning_format",
    "include_reasoning",
    "thinking",
    "verbosity",
    "modalities",
    "audio",
    "prediction",
    "web_search_options",
    "prompt_cache_key",
    "safety_identifier",
    "chat_template",
    "chat_template_kwargs",
    "add_generation_prompt",
    "continue_final_message",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "ignore_eos",
    "skip_special_tokens",
    "stop_token_ids",
    "include_stop_str_in_output",
    "provider",
    "models",
    "route",
    "transforms",
    "plugins",
    "usage",
    "options",
    "format",
    "keep_alive",
    "extra_body",
    "grammar",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "cache_prompt",
    "num_ctx",
];
/// Changed characters that make a known key a mistyped one.
const CHANGED_MAX: usize = 2;
/// Shorter keys are near to too many others.
const KEY_CHARS_MIN: usize = 4;

/// A request key that is nearly a known one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// As it is written.
    pub key: String,
    /// What may be meant.
    pub meant: &'static str,
    /// The first case that sends it.
    pub case: CaseId,
}

/// The request keys of a suite that look mistyped, each once.
#[must_use]
pub fn near_misses(suite: &Suite) -> Vec<NearMiss> {
    let mut found: BTreeMap<&str, NearMiss> = BTreeMap::new();
    for case in suite.cases.iter().chain(&suite.broken) {
        for key in case.request.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
            if let Some(meant) = meant_by(key).filter(|_| !found.contains_key(key.as_str())) {
                found.insert(key, NearMiss { key: key.clone(), meant, case: case.id.clone() });
            }
        }
    }
    found.into_values().collect()
}

fn meant_by(key: &str) -> Option<&'static str> {
    let is_long = key.chars().count() >= KEY_CHARS_MIN;
    let near = nearest(key, KNOWN.iter().copied().filter(|known| known.len() >= KEY_CHARS_MIN))?;
    let meant = *KNOWN.iter().find(|known| **known == near)?;
    (is_long && distance(key, meant) <= CHANGED_MAX).then_some(meant)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::suites::parse_suite;

    #[test]
    fn mistyped_keys_are_told_and_keys_of_providers_are_not() {
        for (key, meant) in [
            ("max_token", Some("max_tokens")),
            ("temperatur", Some("temperature")),
            ("Temperature", Some("temperature")),
            ("tool_choise", Some("tool_choice")),
            ("sede", Some("seed")),
            ("enable_search", None),
            ("quality", None),
            ("xyz", None),
            ("draft_model", None),
        ] {
            assert_eq!(meant_by(key), meant, "{key}");
        }
        let header = "version = 1\nname = \"s\"\nkind = [\"output_quality\"]\nrevision = \"1\"\nlicense = \"CC0-1.0\"\n\
                      [request]\ntemperatur = 0\ntop_k = 3\n[[scorers]]\ntype = \"leak\"\n";
        let cases = concat!(
            r#"{"id": "a", "input": "x"}"#,
            "\n",
            r#"{"id": "b", "input": "x", "request": {"max_token": 5, "min_p": 0.1}}"#
        );
        let suite = parse_suite(Path::new("s"), header.as_bytes(), cases.as_bytes()).unwrap();
        let told: Vec<(String, String)> =
            near_misses(&suite).into_iter().map(|miss| (miss.key, miss.case.to_string())).collect();
        assert_eq!(told, [("max_token".into(), "b".into()), ("temperatur".into(), "a".into())]);
    }
}
