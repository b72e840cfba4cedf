//! The catalogue of Faults: what can be wrong with an answer or its transport.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a Fault enters retries and evidence (interfaces, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// No answer, and openly so; retried except [`Fault::Rejected`]. Leads to `Unscored(provider)`.
    Infra,
    /// Something arrived as a success and is broken or wrong. Leads to `Fail`.
    Quality,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident => $class:ident),+ $(,)?) => {
        /// What is wrong with an answer or its transport. Declared in order of precedence: when several
        /// hold for one Attempt the first declared is primary, the others are secondary.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Fault { $($(#[$doc])* $name),+ }

        impl Fault {
            /// Every Fault, in order of precedence.
            pub const ALL: &'static [Fault] = &[$(Fault::$name),+];

            /// The name used in the store, the API and every report.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Fault::$name => stringify!($name)),+ }
            }

            /// Whether it is a matter of delivery or of the answer.
            #[must_use]
            pub fn class(self) -> FaultClass {
                match self { $(Fault::$name => FaultClass::$class),+ }
            }
        }
    };
}

faults! {
    /// 429, or an explicit rate-limit error.
    RateLimited => Infra,
    /// A connect, first-byte, idle or total time limit was exceeded.
    TimedOut => Infra,
    /// 5xx, or an explicit error object under 200.
    ServerError => Infra,
    /// Refused or reset connection, name resolution or TLS failure.
    Unreachable => Infra,
    /// An error frame inside a 200 stream.
    StreamError => Infra,
    /// 4xx on a valid request.
    Rejected => Infra,
    /// 200 without an error object and without usable `choices`.
    MalformedBody => Quality,
    /// A stream closed without a finish reason.
    Truncated => Quality,
    /// The arguments of a call do not parse as JSON.
    InvalidJson => Quality,
    /// The called name is not among the offered tools.
    UnknownName => Quality,
    /// The arguments parse but break the tool's JSON Schema.
    SchemaMismatch => Quality,
    /// A call id is missing, empty or duplicate.
    BadCallId => Quality,
    /// Call indexes are missing, shared or do not step by one.
    BadCallIndex => Quality,
    /// A forced or named choice was not obeyed.
    ToolChoiceIgnored => Quality,
    /// A call was due and none came.
    MissingCall => Quality,
    /// The finish reason does not fit the answer.
    WrongFinishReason => Quality,
    /// Tool or reasoning markup in the visible text.
    MarkupLeak => Quality,
    /// Neither text nor call.
    EmptyAnswer => Quality,
    /// Reasoning, but neither text nor call.
    ReasoningOnly => Quality,
    /// The requested response format was not obeyed.
    ResponseFormatIgnored => Quality,
    /// A request parameter (stop, effort, sampling) had no effect.
    ParameterIgnored => Quality,
    /// Part of the prompt was cut without an error.
    ContextTruncated => Quality,
    /// Output was cut below the asked limit.
    LimitLowered => Quality,
    /// Token usage is missing or wrong.
    BadUsage => Quality,
    /// U+FFFD, invalid UTF-8 or single characters of a foreign script.
    CorruptText => Quality,
    /// Loops, garbage or an answer in another language than asked.
    Degenerate => Quality,
    /// Any other breach of the wire contract.
    WireShape => Quality,
    /// Well formed, and not what was asked.
    WrongAnswer => Quality,
}

impl Fault {
    /// Whether the client tries again within the Attempt.
    #[must_use]
    pub fn is_retried(self) -> bool {
        self.class() == FaultClass::Infra && self != Fault::Rejected
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no Fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a fault")]
pub struct UnknownFault(pub String);

impl FromStr for Fault {
    type Err = UnknownFault;
    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        Fault::ALL.iter().copied().find(|f| f.name() == text).ok_or_else(|| UnknownFault(text.to_owned()))
    }
}
