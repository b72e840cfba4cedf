//! `latency` and `cost`: what it took to get the answer, as the one who asked says. They judge the run and not the answer:
//! where they are not known (an answer from a file, a model without a price) there is no verdict.

use super::error::ScorerError;
use super::finding::Finding;
use super::options::Options;
use crate::domain::{Fault, Took};

/// Values of `latency.of`.
pub(super) const LATENCIES: &[&str] = &["total", "first_token"];

/// A compiled bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RunFact {
    /// At most so many milliseconds, to the last byte or to the first token.
    Latency { max_ms: f64, of_first_token: bool },
    /// At most so many US dollars.
    Cost { max_usd: f64 },
}

impl RunFact {
    /// Compiles the options of either kind.
    ///
    /// # Errors
    /// The bound is missing or negative.
    pub fn new(options: &Options<'_>) -> Result<Self, ScorerError> {
        let bound = |key: &str| match options.number(key) {
            Some(bound) if bound >= 0.0 => Ok(bound),
            _ => Err(options.error(format!("`{key}` is a number from 0"))),
        };
        match options.kind.name {
            "cost" => Ok(RunFact::Cost { max_usd: bound("max_usd")? }),
            _ => {
                let of_first_token = options.text("of").as_deref() == Some("first_token");
                Ok(RunFact::Latency { max_ms: bound("max_ms")?, of_first_token })
            }
        }
    }

    /// Judges what it took.
    ///
    /// # Errors
    /// It is not known.
    pub fn judge(self, took: Took) -> Result<(f64, Option<Finding>), String> {
        let judged = |holds: bool, error_type, what: String| match holds {
            true => (1.0, None),
            false => (0.0, Some(Finding::fails(Fault::WrongAnswer, error_type, what))),
        };
        match self {
            RunFact::Latency { max_ms, of_first_token } => {
                let (known, what) = match of_first_token {
                    true => (took.ttft_us, "the first token"),
                    false => (took.total_us, "the answer"),
                };
                let ms =
                    known.ok_or_else(|| format!("the scorer latency: how long {what} took is not known"))? as f64 / 1e3;
                Ok(judged(
                    ms <= max_ms,
                    "latency:too_slow",
                    format!("{what} took {ms:.0} ms, at most {max_ms} are due"),
                ))
            }
            RunFact::Cost { max_usd } => {
                let nanousd = took.cost_nanousd.ok_or("the scorer cost: what the answer cost is not known")?;
                let usd = nanousd as f64 / 1e9;
                Ok(judged(
                    usd <= max_usd,
                    "cost:too_high",
                    format!("the answer cost {usd} $, at most {max_usd} are due"),
                ))
            }
        }
    }
}
