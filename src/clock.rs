//! The only source of "now". Time is a parameter everywhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use crate::domain::Micros;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since the Unix epoch, UTC.
    fn now_us(&self) -> Micros;

    /// How many microseconds of this clock pass in one second of the machine's; 1e6 for a real clock.
    /// The scheduler divides its waits by it.
    fn rate(&self) -> f64 {
        1e6
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
    fn now_us(&self) -> Micros {
        chrono::Utc::now().timestamp_micros()
    }
}

/// A clock that tests set by hand.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at a time.
    #[must_use]
    pub fn at(now_us: Micros) -> Self {
        ManualClock(Arc::new(AtomicI64::new(now_us)))
    }

    /// Moves it forward (or back, to test that too).
    pub fn advance_us(&self, by_us: i64) {
        self.0.fetch_add(by_us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> Micros {
        self.0.load(Ordering::SeqCst)
    }
}

/// A clock that runs faster than the machine's: the demo's days pass in seconds.
#[derive(Debug, Clone)]
pub struct FastClock {
    epoch_us: Micros,
    started: Instant,
    factor: f64,
}

impl FastClock {
    /// Starts at a time and runs `factor` times as fast as the machine's clock.
    #[must_use]
    pub fn new(epoch_us: Micros, factor: f64) -> Self {
        FastClock { epoch_us, started: Instant::now(), factor }
    }
}

impl Clock for FastClock {
    fn now_us(&self) -> Micros {
        self.epoch_us + (self.started.elapsed().as_micros() as f64 * self.factor) as i64
    }

    fn rate(&self) -> f64 {
        1e6 * self.factor
    }
}

/// RFC 3339 in UTC with `Z`, to the second.
#[must_use]
pub fn rfc3339(at_us: Micros) -> String {
    chrono::DateTime::from_timestamp_micros(at_us)
        .map_or_else(|| "invalid".to_owned(), |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}
