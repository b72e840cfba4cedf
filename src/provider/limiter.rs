//! How much is sent to one endpoint at once and per minute, and the pace learnt from its refusals.
//!
//! Callers queue; the head of the queue waits until all of these hold, then goes (first come, first served; nobody
//! overtakes, so a large request is not starved by small ones):
//!
//! 1. *Slots.* Fewer requests are in flight than the window allows. The window starts at `limits.concurrency` and is
//!    learnt: an answer of status 429 halves it (at most once for the requests that were in flight together), every other
//!    answer adds `1 / window`, so that one window's worth of good answers adds one slot, up to `limits.concurrency`.
//!    A slot is free again only when its whole answer has been read or its try has ended, refused ones included.
//! 2. *Pause.* After [`REFUSALS_BEFORE_PAUSE`] refusals in a row nothing is sent for a while: what `Retry-After` asks
//!    for, or else the mean duration of an answer, doubled with every further refusal; at most [`PAUSE_MAX`] and never
//!    longer than the caller's own window of retries.
//! 3. *Requests per minute*, from a bucket that holds a tenth of them: `burst = max(1, rpm / 10)`, refilled by
//!    `rpm + 1 - burst` per minute, so that no minute, wherever it begins, sees more than `rpm` requests.
//! 4. *Tokens per minute*, from a bucket that holds a tenth of them and is refilled by nine tenths per minute. A request
//!    takes its estimate (at most the whole bucket); when its usage is known the difference is settled, which may leave
//!    the bucket in debt. A refused request gives its tokens back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::Limits;

/// Refusals without any other answer between them before the endpoint is left alone for a while.
pub const REFUSALS_BEFORE_PAUSE: u32 = 3;
/// Longest pause after refusals.
pub const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The mean duration of an answer before one has been seen.
const FIRST_GUESS: Duration = Duration::from_millis(100);
/// Weight of a new duration in the running mean.
const MEAN_WEIGHT: f64 = 0.1;
/// A bucket holds one part in this many of a minute's worth.
const BURST_PARTS: f64 = 10.0;
/// Exponent at which the pause stops doubling; [`PAUSE_MAX`] is reached long before.
const DOUBLINGS_MAX: u32 = 20;

/// Limits of one endpoint; clones share them.
#[derive(Debug, Clone)]
pub struct EndpointLimiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Held by the head of the queue while it waits; its own queue is first come, first served.
    turnstile: tokio::sync::Mutex<()>,
    /// Something may have become possible.
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    in_flight: u32,
    concurrency: f64,
    window: f64,
    /// Number of the permit last given.
    serial: u64,
    /// Refusals of permits up to this number belong to a decrease that has been made.
    decreased_at: u64,
    refusals: u32,
    paused_until: Option<Instant>,
    mean_answer: Option<Duration>,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

/// What became of a request, as far as the pace is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Refused for asking too much (429).
    Refused {
        /// How long the provider asked to wait.
        retry_after: Option<Duration>,
        /// The caller does not want to be held up for longer.
        pause_max: Duration,
    },
    /// Anything else; `tokens` when the answer's usage is known.
    Answered {
        /// Tokens of prompt and answer.
        tokens: Option<u64>,
    },
}

/// Leave to send one request; returning it (or dropping it) frees the slot.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    serial: u64,
    taken: f64,
    started: Instant,
}

impl EndpointLimiter {
    /// Limits as configured; a concurrency of 0 counts as 1.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let concurrency = f64::from(limits.concurrency.max(1));
        let state = State {
            in_flight: 0,
            concurrency,
            window: concurrency,
            serial: 0,
            decreased_at: 0,
            refusals: 0,
            paused_until: None,
            mean_answer: None,
            requests: limits.requests_per_minute.map(Bucket::of_requests),
            tokens: limits.tokens_per_minute.map(Bucket::of_tokens),
        };
        EndpointLimiter(Arc::new(Shared {
            turnstile: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
            state: Mutex::new(state),
        }))
    }

    /// Whether both share one state.
    #[must_use]
    pub fn is_same(&self, other: &EndpointLimiter) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Waits for leave to send a request of about so many tokens (prompt and answer). Dropping the future leaves the
    /// queue.
    pub async fn acquire(&self, tokens: u64) -> Permit {
        let _turn = self.0.turnstile.lock().await;
        loop {
            let changed = self.0.changed.notified();
            let admission = self.0.lock().admit(tokens, Instant::now());
            match admission {
                Admission::Go { serial, taken } => {
                    return Permit { shared: Arc::clone(&self.0), serial, taken, started: Instant::now() };
                }
                Admission::Until(at) => {
                    tokio::select! { () = changed => (), () = tokio::time::sleep_until(at) => () }
                }
                Admission::OnChange => changed.await,
            }
        }
    }

    /// Requests in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.0.lock().in_flight
    }

    /// How many may be in flight, as learnt; between 1 and the configured concurrency.
    #[must_use]
    pub fn window(&self) -> u32 {
        self.0.lock().window as u32
    }
}

impl Permit {
    /// Tells what became of the request and frees the slot.
    pub fn settle(self, outcome: Outcome) {
        let now = Instant::now();
        self.shared.lock().learn(self.serial, self.taken, now - self.started, outcome, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        drop(state);
        // The head of the queue is the only one that waits; a permit for a future one does no harm.
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if something did, the numbers would still be usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Admission {
    Go { serial: u64, taken: f64 },
    Until(Instant),
    OnChange,
}

impl State {
    fn admit(&mut self, tokens: u64, now: Instant) -> Admission {
        if f64::from(self.in_flight) + 1.0 > self.window {
            return Admission::OnChange;
        }
        let taken = self.tokens.as_ref().map_or(0.0, |bucket| (tokens as f64).min(bucket.capacity));
        let pause = self.paused_until.filter(|until| *until > now);
        let requests = self.requests.as_mut().and_then(|bucket| bucket.ready_at(1.0, now));
        let tokens = self.tokens.as_mut().and_then(|bucket| bucket.ready_at(taken, now));
        if let Some(at) = pause.into_iter().chain(requests).chain(tokens).max() {
            return Admission::Until(at);
        }
        for (bucket, amount) in [(&mut self.requests, 1.0), (&mut self.tokens, taken)] {
            if let Some(bucket) = bucket {
                bucket.level -= amount;
            }
        }
        self.in_flight += 1;
        self.serial += 1;
        Admission::Go { serial: self.serial, taken }
    }

    fn learn(&mut self, serial: u64, taken: f64, took: Duration, outcome: Outcome, now: Instant) {
        let mean = self.mean_answer.map_or(took, |mean| mean.mul_f64(1.0 - MEAN_WEIGHT) + took.mul_f64(MEAN_WEIGHT));
        let used = match outcome {
            Outcome::Refused { retry_after, pause_max } => {
                self.refusals = self.refusals.saturating_add(1);
                if serial > self.decreased_at {
                    self.window = (self.window / 2.0).max(1.0);
                    self.decreased_at = self.serial;
                }
                if let Some(further) = self.refusals.checked_sub(REFUSALS_BEFORE_PAUSE) {
                    let own = self.mean_answer.unwrap_or(FIRST_GUESS) * 2u32.pow(further.min(DOUBLINGS_MAX));
                    let until = now + retry_after.unwrap_or(own).min(PAUSE_MAX).min(pause_max);
                    self.paused_until = Some(self.paused_until.map_or(until, |before| before.max(until)));
                }
                0.0
            }
            Outcome::Answered { tokens } => {
                self.refusals = 0;
                self.paused_until = None;
                self.mean_answer = Some(mean);
                self.window = (self.window + 1.0 / self.window).min(self.concurrency);
                tokens.map_or(taken, |tokens| tokens as f64)
            }
        };
        if let Some(bucket) = &mut self.tokens {
            bucket.level = (bucket.level + taken - used).min(bucket.capacity);
        }
    }
}

/// A token bucket; the level may be negative.
#[derive(Debug)]
struct Bucket {
    capacity: f64,
    per_second: f64,
    level: f64,
    filled_at: Option<Instant>,
}

impl Bucket {
    fn of_requests(per_minute: u32) -> Self {
        let per_minute = f64::from(per_minute.max(1));
        let burst = (per_minute / BURST_PARTS).floor().max(1.0);
        Bucket::new(burst, per_minute + 1.0 - burst)
    }

    fn of_tokens(per_minute: u32) -> Self {
        let per_minute = f64::from(per_minute.max(1));
        let burst = per_minute / BURST_PARTS;
        Bucket::new(burst, per_minute - burst)
    }

    fn new(capacity: f64, per_minute: f64) -> Self {
        Bucket { capacity, per_second: per_minute / 60.0, level: capacity, filled_at: None }
    }

    /// `None`: the amount is there. Otherwise when it will be.
    fn ready_at(&mut self, amount: f64, now: Instant) -> Option<Instant> {
        let since = self.filled_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.level = (self.level + since.as_secs_f64() * self.per_second).min(self.capacity);
        self.filled_at = Some(now);
        // The sum of many small steps may fall short of the amount by rounding only.
        let lacking = amount - self.level - 1e-6;
        (lacking > 0.0).then(|| now + Duration::from_secs_f64(lacking / self.per_second) + Duration::from_micros(1))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn limits(concurrency: u32, requests: Option<u32>, tokens: Option<u32>) -> Limits {
        Limits { concurrency, requests_per_minute: requests, tokens_per_minute: tokens }
    }

    fn poll_once<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Option<F::Output> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    const ANSWERED: Outcome = Outcome::Answered { tokens: None };
    const REFUSED: Outcome = Outcome::Refused { retry_after: None, pause_max: PAUSE_MAX };

    #[tokio::test(start_paused = true)]
    async fn concurrency_holds_and_the_queue_is_fair() {
        let limiter = EndpointLimiter::new(limits(2, None, None));
        let first = limiter.acquire(1).await;
        let second = limiter.acquire(1).await;
        let mut third = Box::pin(limiter.acquire(1));
        let mut fourth = Box::pin(limiter.acquire(1));
        assert!(poll_once(&mut third).is_none() && poll_once(&mut fourth).is_none());
        drop(first);
        assert!(poll_once(&mut fourth).is_none(), "nobody overtakes");
        let third = poll_once(&mut third).unwrap();
        assert!(poll_once(&mut fourth).is_none());
        drop((second, third));
        assert!(poll_once(&mut fourth).is_some());
        assert_eq!(limiter.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_leaves_the_queue_blocks_nobody() {
        let limiter = EndpointLimiter::new(limits(1, None, None));
        let first = limiter.acquire(1).await;
        let mut second = Box::pin(limiter.acquire(1));
        let mut third = Box::pin(limiter.acquire(1));
        assert!(poll_once(&mut second).is_none() && poll_once(&mut third).is_none());
        drop(second);
        first.settle(ANSWERED);
        assert!(poll_once(&mut third).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn no_minute_sees_more_requests_than_allowed() {
        for rpm in [1, 7, 60, 600] {
            let limiter = EndpointLimiter::new(limits(1000, Some(rpm), None));
            let mut sent = vec![];
            for _ in 0..rpm * 4 {
                limiter.acquire(1).await.settle(ANSWERED);
                sent.push(Instant::now());
            }
            for (at, start) in sent.iter().enumerate() {
                let within = sent[at..].iter().filter(|t| **t - *start < Duration::from_secs(60)).count();
                assert!(within <= rpm as usize, "{within} of {rpm}");
            }
            let minutes = (sent[sent.len() - 1] - sent[0]).as_secs_f64() / 60.0;
            assert!(minutes < 5.0, "{minutes} minutes for four minutes' worth");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_estimated_settled_and_given_back() {
        let limiter = EndpointLimiter::new(limits(10, None, Some(60_000)));
        let start = Instant::now();
        // 6,000 in the bucket, 900 per second.
        limiter.acquire(6_000).await.settle(Outcome::Answered { tokens: Some(1_500) });
        limiter.acquire(4_500).await.settle(Outcome::Answered { tokens: Some(5_400) });
        assert_eq!(start.elapsed(), Duration::ZERO);
        limiter.acquire(900).await.settle(REFUSED);
        // The runtime's timers tick in milliseconds.
        let near = |expected: u128| (expected..expected + 3).contains(&start.elapsed().as_millis());
        assert!(near(2000), "900 of debt, then 900 more: {:?}", start.elapsed());
        limiter.acquire(900).await.settle(ANSWERED);
        assert!(near(2000), "a refused request costs nothing: {:?}", start.elapsed());
        limiter.acquire(1_000_000).await.settle(ANSWERED);
        assert!(near(8667), "larger than the bucket: the whole bucket: {:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_halve_the_window_once_for_a_flight_and_answers_open_it_again() {
        let limiter = EndpointLimiter::new(limits(8, None, None));
        let mut flight = vec![];
        for _ in 0..8 {
            flight.push(limiter.acquire(1).await);
        }
        flight.pop().unwrap().settle(REFUSED);
        flight.pop().unwrap().settle(REFUSED);
        assert_eq!(limiter.window(), 4);
        assert_eq!(limiter.in_flight(), 6);
        assert!(poll_once(&mut Box::pin(limiter.acquire(1))).is_none(), "a refusal frees no slot for others");
        flight.into_iter().for_each(|permit| permit.settle(ANSWERED));
        limiter.acquire(1).await.settle(REFUSED);
        assert_eq!(limiter.window(), 2);
        for _ in 0..64 {
            limiter.acquire(1).await.settle(ANSWERED);
        }
        assert_eq!(limiter.window(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_in_a_row_pause_the_endpoint() {
        let limiter = EndpointLimiter::new(limits(4, None, None));
        let start = Instant::now();
        let asked = |seconds| Outcome::Refused {
            retry_after: Some(Duration::from_secs(seconds)),
            pause_max: Duration::from_secs(40),
        };
        limiter.acquire(1).await.settle(asked(20));
        limiter.acquire(1).await.settle(asked(20));
        limiter.acquire(1).await.settle(asked(20));
        assert_eq!(start.elapsed(), Duration::ZERO);
        limiter.acquire(1).await.settle(asked(3600));
        assert_eq!(start.elapsed().as_secs(), 20);
        limiter.acquire(1).await.settle(ANSWERED);
        assert_eq!(start.elapsed().as_secs(), 60, "at most as long as the caller's retries last");
        for _ in 0..3 {
            limiter.acquire(1).await.settle(REFUSED);
        }
        let before = Instant::now();
        limiter.acquire(1).await.settle(ANSWERED);
        assert!(before.elapsed() < Duration::from_secs(1), "without a word from the provider, a short one");
    }
}
