//! One answer as a gateway saw it: what it says about the endpoint that gave it.

use super::cell::{Length, Stratum, Tools};
use super::directory::PlaceId;
use crate::domain::Micros;

/// What kind of failure a gateway tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The provider refused for now (429).
    RateLimit,
    /// It took too long.
    Timeout,
    /// No connection, or it broke.
    Network,
    /// The provider failed (5xx).
    Server,
    /// The answer cannot be read.
    Malformed,
    /// The answer says nothing.
    Empty,
    /// Credentials (401, 403).
    Auth,
    /// The request was wrong (other 4xx).
    Client,
    /// The prompt was too long.
    ContextLength,
    /// A filter refused.
    ContentFilter,
    /// Whoever asked hung up.
    Cancelled,
    /// A failure that nobody can place.
    Other,
}

/// Whom a failure is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Delivery,
    Answer,
    NotTheirs,
}

impl Class {
    /// As gateways write it; anything else is [`Class::Other`].
    #[must_use]
    pub fn of_name(name: &str) -> Class {
        let is = |known: &[&str]| known.iter().any(|k| name.eq_ignore_ascii_case(k));
        if is(&["rate_limit", "rate_limit_exceeded", "ratelimiterror"]) {
            Class::RateLimit
        } else if is(&["timeout", "apitimeouterror"]) {
            Class::Timeout
        } else if is(&["network", "connection", "apiconnectionerror"]) {
            Class::Network
        } else if is(&["server", "server_error", "internalservererror", "serviceunavailableerror", "badgatewayerror"]) {
            Class::Server
        } else if is(&["malformed", "invalid_answer", "apiresponsevalidationerror", "jsonschemavalidationerror"]) {
            Class::Malformed
        } else if is(&["empty", "empty_answer"]) {
            Class::Empty
        } else if is(&["auth", "authenticationerror", "permissiondeniederror"]) {
            Class::Auth
        } else if is(&["client", "invalid_request", "badrequesterror", "notfounderror", "unprocessableentityerror"]) {
            Class::Client
        } else if is(&["context_length", "context_length_exceeded", "contextwindowexceedederror"]) {
            Class::ContextLength
        } else if is(&["content_filter", "contentpolicyviolationerror"]) {
            Class::ContentFilter
        } else if is(&["cancelled", "canceled"]) {
            Class::Cancelled
        } else {
            Class::Other
        }
    }

    /// By an HTTP status of a failure.
    #[must_use]
    pub fn of_status(status: u16) -> Class {
        match status {
            429 => Class::RateLimit,
            408 | 504 | 524 => Class::Timeout,
            401 | 403 => Class::Auth,
            499 => Class::Cancelled,
            400..=498 => Class::Client,
            500..=599 => Class::Server,
            _ => Class::Other,
        }
    }

    fn whose(self) -> Whose {
        match self {
            Class::RateLimit | Class::Timeout | Class::Network | Class::Server => Whose::Delivery,
            Class::Malformed | Class::Empty => Whose::Answer,
            Class::Auth
            | Class::Client
            | Class::ContextLength
            | Class::ContentFilter
            | Class::Cancelled
            | Class::Other => Whose::NotTheirs,
        }
    }
}

/// What is wrong with a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invalid {
    /// Arguments that are no JSON object.
    Json,
    /// A name that was not offered.
    UnknownTool,
    /// Arguments that the schema refuses.
    Schema,
    /// The call stands in the text.
    LeakedText,
    /// Nobody says what.
    Unsaid,
}

impl Invalid {
    /// As gateways write it.
    #[must_use]
    pub fn of_name(name: Option<&str>) -> Invalid {
        match name {
            Some("json") => Invalid::Json,
            Some("unknown_tool") => Invalid::UnknownTool,
            Some("schema") => Invalid::Schema,
            Some("leaked_text") => Invalid::LeakedText,
            _ => Invalid::Unsaid,
        }
    }

    /// As written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Invalid::Json => "json",
            Invalid::UnknownTool => "unknown_tool",
            Invalid::Schema => "schema",
            Invalid::LeakedText => "leaked_text",
            Invalid::Unsaid => "unsaid",
        }
    }
}

/// What an answer says about its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Delivered, and not known to be bad.
    Good,
    /// Delivered and bad: an invalid tool call (`None`), or a class of answers.
    BadAnswer(Option<Class>),
    /// Not delivered by the provider.
    Undelivered(Class),
    /// Says nothing about the provider.
    Unscored(Class),
}

impl Outcome {
    /// What follows from what a gateway says. An invalid tool call is bad whatever else is said; a failure that nobody
    /// can place is not held against anybody.
    #[must_use]
    pub fn of(
        ok: Option<bool>,
        class: Option<Class>,
        status: Option<u16>,
        tool_call: Option<Result<(), Invalid>>,
    ) -> Outcome {
        if matches!(tool_call, Some(Err(_))) {
            return Outcome::BadAnswer(None);
        }
        let succeeded = ok.unwrap_or_else(|| class.is_none() && status.is_none_or(|s| (200..300).contains(&s)));
        if succeeded {
            return Outcome::Good;
        }
        // A class that nobody knows may come with a status that everybody knows.
        let by_status = || status.map_or(Class::Other, Class::of_status);
        let class = class.filter(|class| *class != Class::Other).unwrap_or_else(by_status);
        match class.whose() {
            Whose::Delivery => Outcome::Undelivered(class),
            Whose::Answer => Outcome::BadAnswer(Some(class)),
            Whose::NotTheirs => Outcome::Unscored(class),
        }
    }

    /// Whether it is held against the provider; `None`: it is not scored.
    #[must_use]
    pub fn is_bad(self) -> Option<bool> {
        match self {
            Outcome::Good => Some(false),
            Outcome::BadAnswer(_) | Outcome::Undelivered(_) => Some(true),
            Outcome::Unscored(_) => None,
        }
    }
}

/// One answer, attributed: all that is left of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Hash of the record's id.
    pub id: u64,
    /// When.
    pub at_us: Micros,
    /// Whose answer.
    pub place: PlaceId,
    /// Counted apart by.
    pub stratum: Stratum,
    /// What it says about the endpoint.
    pub outcome: Outcome,
    /// Whether its tool calls are valid; `None`: not judged.
    pub tool_call: Option<Result<(), Invalid>>,
    /// Finish reason `tool_calls`.
    pub called: bool,
    /// Streamed.
    pub stream: bool,
    /// Not the first try.
    pub retried: bool,
    /// Time to the first token, in microseconds.
    pub ttft_us: Option<u64>,
    /// Time of the whole answer, in microseconds.
    pub latency_us: Option<u64>,
    /// Prompt tokens.
    pub tokens_in: Option<u64>,
    /// Answer tokens.
    pub tokens_out: Option<u64>,
    /// Money, in billionths of a US dollar.
    pub cost_nanousd: u64,
}

impl Observation {
    /// The stratum of an answer.
    #[must_use]
    pub fn stratum_of(tools_offered: Option<u64>, tokens_in: Option<u64>) -> Stratum {
        let tools = match tools_offered {
            None => Tools::Unknown,
            Some(0) => Tools::None,
            Some(_) => Tools::Offered,
        };
        Stratum { tools, length: Length::of(tokens_in) }
    }
}

/// Why a record is not taken: the words of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, in one word.
    pub code: &'static str,
    /// Which field.
    pub field: Option<&'static str>,
}

impl Refusal {
    /// The record as a whole.
    #[must_use]
    pub const fn of(code: &'static str) -> Refusal {
        Refusal { code, field: None }
    }

    /// One of its fields.
    #[must_use]
    pub const fn in_field(code: &'static str, field: &'static str) -> Refusal {
        Refusal { code, field: Some(field) }
    }
}

/// Which times are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    /// Now.
    pub now_us: Micros,
    /// How far back, in microseconds.
    pub back_us: i64,
    /// How far ahead, in microseconds.
    pub ahead_us: i64,
}

impl TimeWindow {
    /// How far back reports of live traffic may reach, in microseconds: 24 hours.
    pub const BACK_US: i64 = 24 * 3_600 * 1_000_000;
    /// How far a reporter's clock may be ahead, in microseconds: 5 minutes.
    pub const AHEAD_US: i64 = 5 * 60 * 1_000_000;

    /// The window of live traffic.
    #[must_use]
    pub fn live(now_us: Micros) -> TimeWindow {
        TimeWindow { now_us, back_us: Self::BACK_US, ahead_us: Self::AHEAD_US }
    }

    /// Whether a time lies in it.
    ///
    /// # Errors
    /// `too_old` or `too_new`.
    pub fn check(&self, at_us: Micros) -> Result<(), Refusal> {
        if at_us < self.now_us.saturating_sub(self.back_us) {
            Err(Refusal::in_field("too_old", "ts"))
        } else if at_us > self.now_us.saturating_add(self.ahead_us) {
            Err(Refusal::in_field("too_new", "ts"))
        } else {
            Ok(())
        }
    }
}
