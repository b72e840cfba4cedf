//! Every limit of the API.

use std::time::Duration;

/// Largest request body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest discovery request: Envoy names every extension that it was built with.
pub const DISCOVERY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Resources that one discovery request may name.
pub const DISCOVERY_NAMES_MAX: usize = 64;
/// Sets of routes kept as rendered last, and versions of them whose revision is remembered.
pub const DISCOVERED_MAX: usize = 256;
/// Envoys whose last poll is remembered.
pub const POLLS_MAX: usize = 1_000;
/// An Envoy that goes on polling is noted again after this time.
pub const POLL_NOTED_EVERY: Duration = Duration::from_secs(3_600);
/// Agent-checks answered at once; further ones wait in the system's queue.
pub const AGENT_CONNECTIONS_MAX: usize = 512;
/// Longest line of an agent-check.
pub const AGENT_LINE_BYTES_MAX: usize = 1024;
/// How long an agent-check may take to send its line, and to take the answer.
pub const AGENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest path with query.
pub const TARGET_BYTES_MAX: usize = 4096;
/// Connections open at once; further ones wait in the system's queue. Fewer where the process may not open as many files.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Connections that the system queues until they are accepted; it may allow fewer (`net.core.somaxconn`). What does not fit
/// is sent again by the client's system after a second.
pub const ACCEPT_BACKLOG: u32 = 4_096;
/// Open files that are left to the rest of the process: store, suites, requests to providers.
pub const DESCRIPTORS_RESERVED: usize = 512;
/// Connections that are served however few files the process may open.
pub const CONNECTIONS_MIN: usize = 64;
/// Clients that wait for a list at once, by long-polls and streams; further long-polls are answered at once.
pub const WATCHERS_MAX: usize = 15_000;
/// Longest wait of a long-poll.
pub const WAIT_MAX: Duration = Duration::from_secs(300);
/// A wait is longer by up to one such part of it, so that clients that began together do not return together.
pub const WAIT_JITTER_SHARE: u32 = 16;
/// How often a stream without news shows that it is alive.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How long a client of a stream waits before it connects again, in milliseconds.
pub const RECONNECT_MS: u64 = 2_000;
/// How long a client may take to send a request's head, and how long an idle connection is kept.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest request head.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// How long a client may refuse to take more of an answer.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request may take altogether, its body included.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests worked on at once, allowlists apart.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 64;
/// Scorecards and series computed at once: each may read a whole window.
pub const REPORTS_AT_ONCE: usize = 2;
/// Requests for scorecards and series that wait for their turn; further ones are refused.
pub const REPORTS_WAITING_MAX: usize = 16;
/// How long an answer of theirs is given again.
pub const REPORTS_AGE_MAX: Duration = Duration::from_secs(3);
/// Answers of theirs kept at once.
pub const REPORTS_KEPT_MAX: usize = 64;
/// Bodies of live traffic read at once; further ones are refused with 429.
pub const INGESTS_AT_ONCE: usize = 8;
/// Largest body of live traffic, packed as it comes.
pub const INGEST_BODY_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Largest body of live traffic when unpacked.
pub const INGEST_UNPACKED_BYTES_MAX: u64 = 96 * 1024 * 1024;
/// Largest body of traces when unpacked: it is read as a whole.
pub const TRACES_UNPACKED_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How long a body of live traffic may take to arrive.
pub const INGEST_BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Most spans of one width that a question about live traffic reads of a stratum.
pub const LIVE_SPANS_MAX: i64 = 5_000;
/// What a refused client is told to wait, in seconds.
pub const RETRY_AFTER_S: u64 = 1;
/// How long `/readyz` waits for the store.
pub const READY_STORE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long `POST /v1/sweeps` waits for the daemon's word.
pub const SWEEP_REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed `accept`, so that a lack of file descriptors does not become a busy loop.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Items of a page of a list without `limit`.
pub const PAGE_ITEMS_DEFAULT: usize = 50;
/// Window of scorecards and series without `since`.
pub const SINCE_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
/// Longest window.
pub const SINCE_MAX: Duration = Duration::from_secs(400 * 86_400);
/// Buckets of a series without `step`.
pub const SERIES_BUCKETS_DEFAULT: u64 = 28;
/// Most buckets of a series.
pub const SERIES_BUCKETS_MAX: u64 = 1000;
/// Most repeats that a sweep by hand may ask for.
pub const EPOCHS_MAX: u32 = 100;
/// Exports kept as rendered last.
pub const RENDERED_MAX: usize = 1_000;
/// Longest name of a consumer, in characters.
pub const ACK_CLIENT_CHARS_MAX: usize = 128;
/// Longest reason in an ack, in characters.
pub const ACK_DETAIL_CHARS_MAX: usize = 500;
/// Consumers shown on the page.
pub const PAGE_CONSUMERS: usize = 50;
/// Most names in a hint.
pub const HINT_NAMES_MAX: usize = 12;

/// Decisions shown per model on the page.
pub const PAGE_DECISIONS: usize = 8;
/// Top faults shown per endpoint on the page.
pub const PAGE_FAULTS: usize = 3;
/// Youngest age at which the page's text is made anew.
pub const PAGE_AGE_MIN: Duration = Duration::from_secs(1);
/// Youngest age at which the page's scorecards are computed anew.
pub const CARDS_AGE_MIN: Duration = Duration::from_secs(2);
/// Scorecards are kept at least this many times as long as it took to compute them.
pub const CARDS_AGE_PER_COST: u32 = 20;
