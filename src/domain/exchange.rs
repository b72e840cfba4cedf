//! Exchanges: requests of an attempt that are kept by themselves. A step of a conversation and an answer that judges are
//! asked about are kept until their attempt is stored; votes stay beside it. What was paid for is kept as soon as it is there.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::{AttemptKey, Micros, Transcript, Try};

/// What of an attempt an exchange is. The order is that in which the parts are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// An answer of a conversation, from 0.
    Step(u32),
    /// The answer under test, while its judges are asked.
    Answer,
    /// A vote.
    Vote {
        /// Which of the case's judge scorers asked, from 0.
        scorer: u32,
        /// Which of its votes, from 0.
        vote: u32,
    },
}

impl Part {
    /// As written in the store.
    #[must_use]
    pub fn role(self) -> &'static str {
        match self {
            Part::Step(_) => "step",
            Part::Answer => "answer",
            Part::Vote { .. } => "vote",
        }
    }

    /// The scorer (0 for what none asked) and the number among those of its role.
    #[must_use]
    pub fn place(self) -> (u32, u32) {
        match self {
            Part::Step(number) => (0, number),
            Part::Answer => (0, 0),
            Part::Vote { scorer, vote } => (scorer, vote),
        }
    }

    /// The part of a role and place; `None`: there is none such.
    #[must_use]
    pub fn of(role: &str, (scorer, number): (u32, u32)) -> Option<Part> {
        let part = match role {
            "step" => Part::Step(number),
            "answer" => Part::Answer,
            "vote" => Part::Vote { scorer, vote: number },
            _ => return None,
        };
        (part.place() == (scorer, number)).then_some(part)
    }

    /// A vote.
    #[must_use]
    pub fn is_vote(self) -> bool {
        matches!(self, Part::Vote { .. })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Step(number) => write!(f, "step {number}"),
            Part::Answer => f.write_str("answer"),
            Part::Vote { scorer, vote } => write!(f, "vote {vote} of judge scorer {scorer}"),
        }
    }
}

/// One request of an attempt and its answer: what was sent and came back, and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// The attempt.
    pub key: AttemptKey,
    /// What of it.
    pub part: Part,
    /// The transport tries, first to last.
    pub tries: Vec<Try>,
    /// When the first try was sent.
    pub started_at_us: Micros,
    /// From sending the last try to its first content or byte, in microseconds.
    pub ttft_us: Option<i64>,
    /// Duration of the last try, in microseconds.
    pub total_us: i64,
    /// Cost in billionths of a US dollar.
    pub cost_nanousd: i64,
    /// Request and response.
    pub transcript: Transcript,
}

/// Exchanges of attempts, each attempt's in the order of its parts.
pub type Exchanges = HashMap<AttemptKey, BTreeMap<Part, Exchange>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_its_role_and_place_say() {
        let parts = [Part::Step(0), Part::Step(2), Part::Step(11), Part::Answer, Part::Vote { scorer: 2, vote: 11 }];
        assert!(parts.is_sorted(), "steps are in the order of their numbers");
        for part in parts {
            assert_eq!(Part::of(part.role(), part.place()), Some(part));
        }
        for (role, place) in [("", (0, 0)), ("votes", (0, 0)), ("answer", (0, 1)), ("step", (1, 0))] {
            assert_eq!(Part::of(role, place), None, "{role} {place:?}");
        }
    }
}
