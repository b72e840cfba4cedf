//! Waiting by a clock that may run faster than the machine's, or jump.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::Micros;

/// Longest sleep before the clock is looked at again: a clock that was set is noticed within this.
const NAP_MAX: Duration = Duration::from_secs(20);
/// Shortest sleep, so that a clock that stands still does not spin.
const NAP_MIN: Duration = Duration::from_millis(1);

/// Waits until a time of the clock; false when stopped before.
pub async fn until(clock: &dyn Clock, due_us: Micros, stop: &CancellationToken) -> bool {
    loop {
        let left_us = due_us - clock.now_us();
        if left_us <= 0 {
            return !stop.is_cancelled();
        }
        let nap = Duration::from_secs_f64((left_us as f64 / clock.rate()).clamp(0.0, NAP_MAX.as_secs_f64()));
        tokio::select! {
            () = tokio::time::sleep(nap.max(NAP_MIN)) => {}
            () = stop.cancelled() => return false,
        }
    }
}
