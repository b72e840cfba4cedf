//! Judging an Attempt that brought no Completion.

use super::finding::{EXPLANATION_CHARS_MAX, shorten};
use crate::domain::{Fault, FaultClass, Judgement};

/// The Judgement of a failed delivery.
///
/// An open error (class `Infra`) is `Unscored(provider)` with the Fault as its cause. A broken success, `MalformedBody`
/// or `Truncated`, and any other Fault of an answer is `Fail` with score 0.
#[must_use]
pub fn judge_delivery(fault: Fault, detail: &str) -> Judgement {
    let what = match fault {
        Fault::RateLimited => "the provider limited the rate",
        Fault::TimedOut => "a time limit was exceeded",
        Fault::ServerError => "the provider reported an error of its own",
        Fault::Unreachable => "the provider could not be reached",
        Fault::StreamError => "the stream brought an error",
        Fault::Rejected => "the provider rejected a valid request",
        Fault::MalformedBody => "a success without a usable body came",
        Fault::Truncated => "the answer ended without a finish reason",
        _ => "the answer was unusable",
    };
    let explanation = if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") };
    let explanation = shorten(&explanation, EXPLANATION_CHARS_MAX);
    match fault.class() {
        FaultClass::Infra => Judgement::undelivered(fault, explanation),
        FaultClass::Quality => {
            let error_type = match fault {
                Fault::MalformedBody => "delivery:malformed_body",
                Fault::Truncated => "delivery:truncated",
                _ => "delivery:unusable",
            };
            Judgement::fail(fault, 0.0, error_type, explanation)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{UnscoredWhy, Verdict};

    #[test]
    fn open_errors_are_unscored_and_broken_successes_fail() {
        for &fault in Fault::ALL {
            let judgement = judge_delivery(fault, "detail");
            assert_eq!(judgement.fault, Some(fault));
            assert!(judgement.explanation.ends_with("detail"));
            match fault.class() {
                FaultClass::Infra => {
                    assert_eq!(judgement.verdict, Verdict::Unscored(UnscoredWhy::Provider));
                    assert_eq!(judgement.score, None);
                }
                FaultClass::Quality => {
                    assert_eq!(judgement.verdict, Verdict::Fail(fault));
                    assert_eq!(judgement.score, Some(0.0));
                }
            }
        }
    }
}
