//! What is counted of one endpoint, stratum and span of time.

use super::observation::{Class, Invalid, Observation, Outcome};
use super::sketch::Sketch;

/// Widths of the spans that are counted, in seconds: a minute, an hour, a day (of UTC).
pub const WIDTHS_S: [u32; 3] = [60, 3_600, 86_400];
/// Version of the stored form.
const CODEC: u8 = 1;

/// Declares the counts of a cell, in the order in which they are stored: new ones go to the end.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// What is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Count { $($(#[$doc])* $name,)+ }

        impl Count {
            /// All of them, in order.
            pub const ALL: &'static [Count] = &[$(Count::$name,)+];

            /// As shown.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Count::$name => $text,)+ }
            }
        }
    };
}

counts! {
    /// Answers reported.
    Requests = "requests",
    /// Delivered, and not known to be bad.
    Good = "good",
    /// Bad answers.
    BadAnswers = "bad_answers",
    /// Answers that the provider did not deliver.
    Undelivered = "undelivered",
    /// Not scored.
    Unscored = "unscored",
    /// By class.
    RateLimit = "rate_limit",
    /// By class.
    Timeout = "timeout",
    /// By class.
    Network = "network",
    /// By class.
    Server = "server",
    /// By class.
    Malformed = "malformed",
    /// By class.
    Empty = "empty",
    /// By class.
    Auth = "auth",
    /// By class.
    Client = "client",
    /// By class.
    ContextLength = "context_length",
    /// By class.
    ContentFilter = "content_filter",
    /// By class.
    Cancelled = "cancelled",
    /// By class.
    Other = "other",
    /// Answers whose tool calls were judged.
    ToolsJudged = "tools_judged",
    /// Answers with an invalid tool call, by the first reason.
    InvalidJson = "invalid_json",
    /// By reason.
    UnknownTool = "unknown_tool",
    /// By reason.
    Schema = "schema",
    /// By reason.
    LeakedText = "leaked_text",
    /// Invalid, and nobody says why.
    InvalidUnsaid = "invalid_unsaid",
    /// Answers with finish reason `tool_calls`.
    Called = "called",
    /// Of these: tool calls judged.
    CalledJudged = "called_judged",
    /// Of these: arguments that are no JSON.
    CalledInvalidJson = "called_invalid_json",
    /// Of these: a name that was not offered.
    CalledUnknownTool = "called_unknown_tool",
    /// Of these: arguments that the schema refuses.
    CalledSchema = "called_schema",
    /// Streamed answers.
    Streamed = "streamed",
    /// Answers that were not the first try.
    Retried = "retried",
    /// Prompt tokens.
    TokensIn = "tokens_in",
    /// Answer tokens.
    TokensOut = "tokens_out",
    /// Money, in billionths of a US dollar.
    CostNanousd = "cost_nanousd",
    /// Time of the answers whose tokens and time are both known, in microseconds.
    TimedUs = "timed_us",
    /// Tokens of these answers.
    TimedTokens = "timed_tokens",
}

const COUNTS: usize = Count::ALL.len();

/// Whether tools were offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Tools {
    /// Nobody says.
    Unknown,
    /// None.
    None,
    /// At least one.
    Offered,
}

impl Tools {
    /// All of them.
    pub const ALL: [Tools; 3] = [Tools::Unknown, Tools::None, Tools::Offered];

    /// As stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tools::Unknown => "any",
            Tools::None => "plain",
            Tools::Offered => "tools",
        }
    }
}

/// How long the prompt was, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Length {
    /// Nobody says: most failures.
    Unknown,
    /// Below 1,000.
    Short,
    /// Below 8,000.
    Medium,
    /// Below 32,000.
    Long,
    /// More.
    Huge,
}

impl Length {
    /// All of them.
    pub const ALL: [Length; 5] = [Length::Unknown, Length::Short, Length::Medium, Length::Long, Length::Huge];

    /// The bucket of a prompt; 0 tokens are taken for unknown, as gateways write it of failures.
    #[must_use]
    pub fn of(tokens: Option<u64>) -> Length {
        match tokens {
            None | Some(0) => Length::Unknown,
            Some(..1_000) => Length::Short,
            Some(..8_000) => Length::Medium,
            Some(..32_000) => Length::Long,
            Some(_) => Length::Huge,
        }
    }

    /// As stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Length::Unknown => "any",
            Length::Short => "short",
            Length::Medium => "medium",
            Length::Long => "long",
            Length::Huge => "huge",
        }
    }
}

/// What is counted apart of an endpoint: whether tools were offered, and the length of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stratum {
    /// Whether tools were offered.
    pub tools: Tools,
    /// The length of the prompt.
    pub length: Length,
}

impl Stratum {
    /// As stored and shown: `tools-short`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}-{}", self.tools.name(), self.length.name())
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Stratum> {
        let (tools, length) = name.split_once('-')?;
        let tools = Tools::ALL.into_iter().find(|t| t.name() == tools)?;
        Some(Stratum { tools, length: Length::ALL.into_iter().find(|l| l.name() == length)? })
    }
}

/// Counts of one endpoint, stratum and span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    counts: [u64; COUNTS],
    /// Times of delivered answers.
    pub latency: Sketch,
    /// Times to the first token of streamed answers.
    pub ttft: Sketch,
}

impl Default for Cell {
    fn default() -> Self {
        Cell { counts: [0; COUNTS], latency: Sketch::default(), ttft: Sketch::default() }
    }
}

/// Stored bytes that are no cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored counts of live traffic are damaged, or were written by a newer version")]
pub struct CellError;

impl Cell {
    /// One count.
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    fn add(&mut self, count: Count, n: u64) {
        let slot = &mut self.counts[count as usize];
        *slot = slot.saturating_add(n);
    }

    /// Nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.get(Count::Requests) == 0
    }

    /// Counts one observation.
    pub fn observe(&mut self, seen: &Observation) {
        self.add(Count::Requests, 1);
        self.add_outcome(seen.outcome);
        if let Some(judged) = seen.tool_call {
            self.add(Count::ToolsJudged, 1);
            if let Err(why) = judged {
                self.add(of_invalid(why), 1);
            }
        }
        if seen.called {
            self.add_called(seen.tool_call);
        }
        self.add(Count::Streamed, u64::from(seen.stream));
        self.add(Count::Retried, u64::from(seen.retried));
        self.add(Count::TokensIn, seen.tokens_in.unwrap_or(0));
        self.add(Count::TokensOut, seen.tokens_out.unwrap_or(0));
        self.add(Count::CostNanousd, seen.cost_nanousd);
        let delivered = matches!(seen.outcome, Outcome::Good | Outcome::BadAnswer(_));
        if let (true, Some(us)) = (delivered, seen.latency_us) {
            self.latency.add(us);
            if let Some(tokens) = seen.tokens_out {
                self.add(Count::TimedUs, us);
                self.add(Count::TimedTokens, tokens);
            }
        }
        if let (true, Some(us)) = (delivered, seen.ttft_us) {
            self.ttft.add(us);
        }
    }

    fn add_outcome(&mut self, outcome: Outcome) {
        let (sum, class) = match outcome {
            Outcome::Good => (Count::Good, None),
            Outcome::BadAnswer(class) => (Count::BadAnswers, class),
            Outcome::Undelivered(class) => (Count::Undelivered, Some(class)),
            Outcome::Unscored(class) => (Count::Unscored, Some(class)),
        };
        self.add(sum, 1);
        if let Some(class) = class {
            self.add(of_class(class), 1);
        }
    }

    fn add_called(&mut self, tool_call: Option<Result<(), Invalid>>) {
        self.add(Count::Called, 1);
        self.add(Count::CalledJudged, u64::from(tool_call.is_some()));
        match tool_call {
            Some(Err(Invalid::Json)) => self.add(Count::CalledInvalidJson, 1),
            Some(Err(Invalid::UnknownTool)) => self.add(Count::CalledUnknownTool, 1),
            Some(Err(Invalid::Schema)) => self.add(Count::CalledSchema, 1),
            _ => {}
        }
    }

    /// Counts what another cell has counted.
    pub fn merge(&mut self, other: &Cell) {
        for (count, n) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(n);
        }
        self.latency.merge(&other.latency);
        self.ttft.merge(&other.ttft);
    }

    /// Answers that say something about the provider.
    #[must_use]
    pub fn scored(&self) -> u64 {
        self.get(Count::Good) + self.bad()
    }

    /// Scored answers that were bad or did not come.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.get(Count::BadAnswers) + self.get(Count::Undelivered)
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![CODEC];
        put(&mut out, COUNTS as u64);
        self.counts.iter().for_each(|n| put(&mut out, *n));
        for sketch in [&self.latency, &self.ttft] {
            put(&mut out, sketch.buckets().len() as u64);
            let mut last = 0;
            for &(bucket, count) in sketch.buckets() {
                put(&mut out, u64::from(bucket - last));
                put(&mut out, count);
                last = bucket;
            }
        }
        out
    }

    /// Reads the stored form. Counts that later versions may have added are left out.
    ///
    /// # Errors
    /// [`CellError`].
    pub fn decode(bytes: &[u8]) -> Result<Cell, CellError> {
        let (version, mut rest) = bytes.split_first().ok_or(CellError)?;
        if *version != CODEC {
            return Err(CellError);
        }
        let mut cell = Cell::default();
        let counts = take(&mut rest)?;
        for at in 0..counts {
            let n = take(&mut rest)?;
            if let Some(slot) = usize::try_from(at).ok().and_then(|at| cell.counts.get_mut(at)) {
                *slot = n;
            }
        }
        cell.latency = take_sketch(&mut rest)?;
        cell.ttft = take_sketch(&mut rest)?;
        if rest.is_empty() { Ok(cell) } else { Err(CellError) }
    }
}

fn of_class(class: Class) -> Count {
    match class {
        Class::RateLimit => Count::RateLimit,
        Class::Timeout => Count::Timeout,
        Class::Network => Count::Network,
        Class::Server => Count::Server,
        Class::Malformed => Count::Malformed,
        Class::Empty => Count::Empty,
        Class::Auth => Count::Auth,
        Class::Client => Count::Client,
        Class::ContextLength => Count::ContextLength,
        Class::ContentFilter => Count::ContentFilter,
        Class::Cancelled => Count::Cancelled,
        Class::Other => Count::Other,
    }
}

fn of_invalid(why: Invalid) -> Count {
    match why {
        Invalid::Json => Count::InvalidJson,
        Invalid::UnknownTool => Count::UnknownTool,
        Invalid::Schema => Count::Schema,
        Invalid::LeakedText => Count::LeakedText,
        Invalid::Unsaid => Count::InvalidUnsaid,
    }
}

/// A number in groups of seven bits, the lowest first.
fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take(rest: &mut &[u8]) -> Result<u64, CellError> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(CellError)?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        n |= bits.checked_shl(shift).filter(|n| n >> shift == bits).ok_or(CellError)?;
        if byte & 0x80 == 0 {
            return Ok(n);
        }
    }
    Err(CellError)
}

fn take_sketch(rest: &mut &[u8]) -> Result<Sketch, CellError> {
    let len = take(rest)?;
    let mut buckets = Vec::new();
    let mut last = 0u64;
    for at in 0..len {
        let step = take(rest)?;
        if at > 0 && step == 0 {
            return Err(CellError);
        }
        last = last.checked_add(step).ok_or(CellError)?;
        buckets.push((u16::try_from(last).map_err(|_| CellError)?, take(rest)?));
    }
    Sketch::of_buckets(buckets).ok_or(CellError)
}
