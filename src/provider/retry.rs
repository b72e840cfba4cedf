//! When to try again: exponential steps with jitter over a window, and what the provider asks for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use crate::domain::{Micros, Retry};

/// Longest wait that is understood from a provider; longer ones count as this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// A stream of numbers in \[0,1\) for spreading waits: splitmix64 from a seed, shared by the tasks of a client.
#[derive(Debug)]
pub struct Jitter(AtomicU64);

/// Increment of splitmix64 (Steele, Lea, Flood 2014): the odd integer nearest to 2^64 divided by the golden ratio.
const SPLITMIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Jitter {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Jitter(AtomicU64::new(seed))
    }

    /// The next number, in \[0,1\).
    pub fn next_unit(&self) -> f64 {
        let mut z = self.0.fetch_add(SPLITMIX_STEP, Ordering::Relaxed).wrapping_add(SPLITMIX_STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 53 bits fill the mantissa.
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How long to wait after try number `failed` (from 0) before the next one.
///
/// The waits double, and without jitter their sum over `retry.attempts` is exactly `retry.over`:
/// `base_i = over * 2^i / (2^attempts - 1)`. Each is spread evenly over `base_i * [0.5, 1.5)`, so that the mean of the sum
/// stays `over`; jitter down to nothing would let the tries of one incident follow each other at once.
///
/// `asked` is what the provider wants: the wait is never shorter, except that no wait reaches beyond `over` after the
/// first failure (`elapsed` ago) for that reason.
#[must_use]
pub fn wait_before_next(retry: Retry, failed: u32, unit: f64, asked: Option<Duration>, elapsed: Duration) -> Duration {
    // 2^i / (2^n - 1), both divided by 2^n so that no number of tries overflows.
    let tries = f64::from(retry.attempts.max(1));
    let share = 2f64.powf(f64::from(failed).min(tries - 1.0) - tries) / (1.0 - 2f64.powf(-tries));
    let backoff = retry.over.mul_f64((share * (0.5 + unit)).clamp(0.0, 1.5));
    let asked = asked.unwrap_or_default().min(retry.over.saturating_sub(elapsed));
    backoff.max(asked)
}

/// What `retry-after-ms` or `Retry-After` (seconds or an HTTP date) ask for, at most [`RETRY_AFTER_MAX`].
///
/// A date is compared with the answer's own `Date`, so that clocks that differ do no harm; without one, with `now_us`.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now_us: Micros) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(millis) = text(&RETRY_AFTER_MS).and_then(|text| text.parse::<f64>().ok()) {
        return capped(millis / 1e3);
    }
    let asked = text(&RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse::<f64>() {
        return capped(seconds);
    }
    let micros = |text: &str| chrono::DateTime::parse_from_rfc2822(text).ok().map(|at| at.timestamp_micros());
    let until = micros(asked)?;
    let now = text(&DATE).and_then(micros).unwrap_or(now_us);
    capped(until.saturating_sub(now) as f64 / 1e6)
}

fn capped(seconds: f64) -> Option<Duration> {
    let seconds = if seconds.is_nan() { return None } else { seconds.clamp(0.0, RETRY_AFTER_MAX.as_secs_f64()) };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    const RETRY: Retry = Retry { attempts: 3, over: Duration::from_secs(700) };

    #[test]
    fn waits_double_and_fill_the_window() {
        let waits: Vec<u64> = (0..3).map(|i| wait_before_next(RETRY, i, 0.5, None, Duration::ZERO).as_secs()).collect();
        assert_eq!(waits, [100, 200, 400]);
        assert_eq!(wait_before_next(RETRY, 0, 0.0, None, Duration::ZERO), Duration::from_secs(50));
    }

    #[test]
    fn the_provider_is_heard_within_the_window() {
        let wait = |asked: u64, elapsed: u64| {
            wait_before_next(RETRY, 0, 0.5, Some(Duration::from_secs(asked)), Duration::from_secs(elapsed)).as_secs()
        };
        assert_eq!(wait(30, 0), 100, "never shorter than the spread");
        assert_eq!(wait(300, 0), 300);
        assert_eq!(wait(86_400, 100), 600, "never beyond the window");
        assert_eq!(wait(86_400, 900), 100);
    }

    proptest! {
        #[test]
        fn any_settings_give_a_finite_wait(attempts in any::<u32>(), failed in any::<u32>(), unit in 0.0..1.0f64, over in 0u64..100_000) {
            let retry = Retry { attempts, over: Duration::from_secs(over) };
            let wait = wait_before_next(retry, failed, unit, None, Duration::ZERO);
            prop_assert!(wait <= retry.over.mul_f64(1.5));
        }

        #[test]
        fn jitter_stays_in_the_unit_interval(seed in any::<u64>()) {
            let jitter = Jitter::new(seed);
            for _ in 0..100 {
                prop_assert!((0.0..1.0).contains(&jitter.next_unit()));
            }
        }
    }

    fn asked(pairs: &[(&'static str, &'static str)]) -> Option<u64> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect::<HeaderMap>();
        // 2026-11-23 00:00:00 UTC.
        retry_after(&headers, 1_795_392_000_000_000).map(|wait| wait.as_millis() as u64)
    }

    #[test]
    fn every_form_of_retry_after_is_understood() {
        assert_eq!(asked(&[("retry-after", "7")]), Some(7000));
        assert_eq!(asked(&[("retry-after", "1.5")]), Some(1500));
        assert_eq!(asked(&[("retry-after", "7"), ("retry-after-ms", "250")]), Some(250));
        assert_eq!(asked(&[("retry-after", "Mon, 23 Nov 2026 00:00:30 GMT")]), Some(30_000));
        let dates = [("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), ("date", "Wed, 21 Oct 2015 07:27:00 GMT")];
        assert_eq!(asked(&dates), Some(60_000));
        assert_eq!(asked(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]), Some(0), "long past");
        assert_eq!(asked(&[("retry-after", "-5")]), Some(0));
        assert_eq!(asked(&[("retry-after", "1e300")]), Some(RETRY_AFTER_MAX.as_millis() as u64));
        assert_eq!(asked(&[("retry-after", "soon")]), None);
        assert_eq!(asked(&[("retry-after", "NaN")]), None);
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn jitter_is_reproducible_and_spread() {
        let draw = |seed| {
            let jitter = Jitter::new(seed);
            (0..1000).map(|_| jitter.next_unit()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mean = draw(7).iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }
}
