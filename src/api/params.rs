//! Query parameters: declared once, read strictly, described in the OpenAPI document.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::config::durations;
use crate::diagnostics::nearest;
use crate::domain::Micros;
use crate::store::PAGE_ITEMS_MAX;

use super::limits::{PAGE_ITEMS_DEFAULT, SINCE_DEFAULT, SINCE_MAX};
use super::problem::{Problem, names};

/// A query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub text: &'static str,
    /// A value that it takes.
    pub example: &'static str,
}

/// Declares parameters.
macro_rules! params {
    ($($(#[$doc:meta])* $constant:ident = $name:literal: $text:expr, $example:literal;)+) => {
        $($(#[$doc])* pub const $constant: Param = Param { name: $name, text: $text, example: $example };)+
    };
}

params! {
    LIMIT = "limit": "Items of the page, 1 to 500; 50 without it", "20";
    CURSOR = "cursor": "`next` of the page before", "01940000-0000-7000-8000-000000000000";
    SINCE = "since": "Start of the window: an age such as `7d`, or a time in RFC 3339; `7d` without it, at most `400d`", "7d";
    STRATUM = "stratum": "Only this stratum of live traffic: tools, plain or any (nobody says whether tools were offered), a dash, and the prompt's length: short, medium, long, huge or any", "tools-short";
    STEP = "step": "Width of a bucket; a 28th of the window without it; at most 1000 buckets", "6h";
    MODEL = "model": "Only this model (id or alias)", "lab/m";
    SUITE = "suite": "Only this suite", "tool-use";
    ENDPOINT = "endpoint": "Only this endpoint", "groq/fp8";
    SWEEP = "sweep": "Only this sweep", "01940000-0000-7000-8000-000000000000";
    FAULT = "fault": "Only attempts with this primary fault", "InvalidJson";
    OF_CAPABILITY = "capability": "Only those about the list of this capability; without it those about every list", "tools";
    KIND = "kind": "Only this kind: entered, left, designated, transition, held, version_change, operator, irregular or quarantine", "transition";
    VERDICT = "verdict": "Only attempts with this verdict: pass, fail or unscored", "fail";
    STATE = "state": "Only sweeps in this state: running, done or closed", "done";
    OPEN = "open": "true: only alarms that are open", "true";
    DETAIL = "detail": "1: adds `evidence` to every endpoint, and the endpoints that are not listed", "1";
    CAPABILITY = "capability": "Of the list of this capability (a tag in the policy's `capabilities`), not of the model's own", "tools";
    FORM = "form": "`allow` (as without it): the endpoints to route to; `exclude`: those not to route to, in the formats names, openrouter and nginx", "exclude";
    GATEWAY = "gateway": "With the format names: the key of `slugs` by which endpoints are named; their ids without it", "litellm";
    WAIT = "wait": "Long-poll: with `If-None-Match`, answer when the list is another one, or 304 after this long; at most `300s`", "30s";
}

/// The parameters of one request.
#[derive(Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query string. Unknown, repeated and empty parameters are refused: each of them would silently mean
    /// something else than what was meant.
    pub fn read(query: Option<&str>, known: &[Param]) -> Result<Params, Problem> {
        let mut read: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.iter().any(|p| p.name == name) {
                return Err(unknown(&name, known));
            }
            if read.iter().any(|(n, _)| *n == name) {
                return Err(bad(&name, "it is given twice").hint("give it once"));
            }
            if value.is_empty() {
                return Err(bad(&name, "it is empty").hint("give it a value or leave it out"));
            }
            read.push((name.into_owned(), value.into_owned()));
        }
        Ok(Params(read))
    }

    /// The text of a parameter.
    pub fn text(&self, param: Param) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == param.name).map(|(_, value)| value.as_str())
    }

    /// A parameter as a value.
    pub fn value<T: FromStr<Err: Display>>(&self, param: Param) -> Result<Option<T>, Problem> {
        self.text(param)
            .map(|text| text.parse().map_err(|error: T::Err| bad(param.name, &error.to_string())))
            .transpose()
            .map_err(|problem: Problem| {
                problem.hint(format!("{}, such as {}={}", param.text, param.name, param.example))
            })
    }

    /// A parameter that is one of a few words.
    pub fn word(&self, param: Param, words: &[&str]) -> Result<Option<&str>, Problem> {
        match self.text(param) {
            Some(text) if !words.contains(&text) => {
                let mut problem = bad(param.name, &format!("{text:?} is not known"));
                let near = nearest(text, words.iter().copied());
                problem = match near {
                    Some(near) => problem.hint(format!("did you mean `{near}`?")),
                    None => problem.hint(format!("one of: {}", words.join(", "))),
                };
                Err(problem)
            }
            found => Ok(found),
        }
    }

    /// Size of the page.
    pub fn limit(&self) -> Result<usize, Problem> {
        match self.value::<usize>(LIMIT)? {
            None => Ok(PAGE_ITEMS_DEFAULT),
            Some(limit) if (1..=PAGE_ITEMS_MAX).contains(&limit) => Ok(limit),
            Some(limit) => Err(bad(LIMIT.name, &format!("{limit} is out of range"))
                .hint(format!("1 to {PAGE_ITEMS_MAX}; take further items by `cursor`"))),
        }
    }

    /// Where the page begins.
    pub fn cursor(&self) -> Option<&str> {
        self.text(CURSOR)
    }

    /// Start of the window.
    pub fn since_us(&self, now_us: Micros) -> Result<Micros, Problem> {
        let Some(text) = self.text(SINCE) else { return Ok(now_us - micros(SINCE_DEFAULT)) };
        let from_us = match durations::parse(text) {
            Ok(age) => now_us.saturating_sub(micros(age)),
            Err(error) => match chrono::DateTime::parse_from_rfc3339(text) {
                Ok(time) => time.timestamp_micros(),
                Err(_) => return Err(bad(SINCE.name, &error.to_string()).hint(SINCE.text)),
            },
        };
        if from_us >= now_us || now_us - from_us > micros(SINCE_MAX) {
            return Err(bad(SINCE.name, "the window is empty or too long").hint(SINCE.text));
        }
        Ok(from_us)
    }

    /// Width of a bucket, in microseconds.
    pub fn step_us(&self) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(STEP) else { return Ok(None) };
        match durations::parse(text) {
            Ok(step) if !step.is_zero() => Ok(Some(micros(step))),
            Ok(_) => Err(bad(STEP.name, "it is zero").hint(STEP.text)),
            Err(error) => Err(bad(STEP.name, &error.to_string()).hint(durations::DURATION_HINT)),
        }
    }
}

/// A duration as the store counts time.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A parameter that cannot be used.
pub fn bad(name: &str, why: &str) -> Problem {
    Problem::bad_request("bad-parameter", "bad parameter", format!("parameter `{name}`: {why}"))
}

fn unknown(name: &str, known: &[Param]) -> Problem {
    let problem =
        Problem::bad_request("unknown-parameter", "unknown parameter", format!("parameter `{name}` is not known here"));
    let known = || known.iter().map(|p| p.name);
    match (nearest(name, known()), known().next()) {
        (Some(near), _) => problem.hint(format!("did you mean `{near}`?")),
        (None, Some(_)) => problem.hint(format!("known: {}", names(known()))),
        (None, None) => problem.hint("this resource takes no parameters"),
    }
}
