//! When sweeps are due: cron lines in a time zone, with deterministic jitter.
//!
//! `croner` evaluates; `tests/it/schedule.rs` compares it with the `cron` crate where both agree. A fire is identified by its
//! nominal time; it is due after its jitter, which is a hash of schedule and nominal time: every daemon computes the same.

use std::time::Duration;

use chrono::{DateTime, TimeZone};
use chrono_tz::Tz;
use croner::Cron;

use crate::domain::{Micros, canonical};

/// One tick of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fire {
    /// When it is due: nominal time plus jitter.
    pub due_us: Micros,
    /// What the cron line says: the fire's identity.
    pub nominal_us: Micros,
}

/// A schedule's cron line, ready to be evaluated.
#[derive(Debug, Clone)]
pub struct Timetable {
    name: String,
    cron: Cron,
    timezone: Tz,
    jitter_us: i64,
}

impl Timetable {
    /// A schedule with its evaluator.
    #[must_use]
    pub fn new(name: &str, cron: Cron, timezone: Tz, jitter: Duration) -> Self {
        let jitter_us = i64::try_from(jitter.as_micros()).unwrap_or(i64::MAX);
        Timetable { name: name.to_owned(), cron, timezone, jitter_us }
    }

    /// The schedule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first fire whose nominal time is after a time; `None` when the line never fires again.
    #[must_use]
    pub fn next_after(&self, nominal_us: Micros) -> Option<Fire> {
        let after = self.local(nominal_us)?;
        let next = self.cron.find_next_occurrence(&after, false).ok()?;
        Some(self.fire(next.timestamp_micros()))
    }

    /// The last fire that is due at a time; `None` when none ever was.
    #[must_use]
    pub fn last_due(&self, now_us: Micros) -> Option<Fire> {
        let mut at = self.local(now_us)?;
        let mut inclusive = true;
        loop {
            at = self.cron.find_previous_occurrence(&at, inclusive).ok()?;
            let fire = self.fire(at.timestamp_micros());
            if fire.due_us <= now_us {
                return Some(fire);
            }
            inclusive = false;
        }
    }

    /// How many fires lie strictly between two nominal times (counted up to `limit`).
    #[must_use]
    pub fn between(&self, from_us: Micros, to_us: Micros, limit: usize) -> usize {
        let mut count = 0;
        let mut at = from_us;
        while let Some(fire) = self.next_after(at) {
            if fire.nominal_us >= to_us || count >= limit {
                break;
            }
            count += 1;
            at = fire.nominal_us;
        }
        count
    }

    /// How many fires after one time are due by another, jitter included (counted up to `limit`).
    #[must_use]
    pub fn due_between(&self, from_us: Micros, to_us: Micros, limit: usize) -> usize {
        let fires = std::iter::successors(self.next_after(from_us), |fire| self.next_after(fire.nominal_us));
        fires.take(limit).take_while(|fire| fire.due_us <= to_us).count()
    }

    fn local(&self, at_us: Micros) -> Option<DateTime<Tz>> {
        self.timezone.timestamp_micros(at_us).single()
    }

    fn fire(&self, nominal_us: Micros) -> Fire {
        Fire { nominal_us, due_us: nominal_us + self.jitter_of(nominal_us) }
    }

    fn jitter_of(&self, nominal_us: Micros) -> i64 {
        if self.jitter_us <= 0 {
            return 0;
        }
        let hash = canonical::sha256_parts(&[b"exactod-jitter-v1", self.name.as_bytes(), &nominal_us.to_le_bytes()]);
        let mut word = [0u8; 8];
        word.copy_from_slice(&hash[..8]);
        (u64::from_le_bytes(word) % self.jitter_us as u64) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn at(text: &str) -> Micros {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    fn table(line: &str, tz: Tz, jitter_s: u64) -> Timetable {
        Timetable::new("t", line.parse().unwrap(), tz, Duration::from_secs(jitter_s))
    }

    #[test]
    fn fires_once_in_the_spring_gap_and_once_in_the_autumn_fold() {
        let spring = table("30 2 * * *", chrono_tz::America::New_York, 0);
        let fire = spring.next_after(at("2026-03-08T05:00:00Z")).unwrap();
        assert_eq!(fire.nominal_us, at("2026-03-08T07:00:00Z"), "02:30 does not exist: 03:00 local");
        let autumn = table("30 1 * * *", chrono_tz::America::New_York, 0);
        let first = autumn.next_after(at("2026-11-01T04:00:00Z")).unwrap();
        assert_eq!(first.nominal_us, at("2026-11-01T05:30:00Z"));
        let second = autumn.next_after(first.nominal_us).unwrap();
        assert_eq!(second.nominal_us, at("2026-11-02T06:30:00Z"), "not again at 01:30 standard time");
    }

    #[test]
    fn fires_that_are_due_are_counted_through_uneven_days() {
        let office = table("0 9-17 * * *", chrono_tz::UTC, 0);
        let due = |from: &str, to: &str| office.due_between(at(from), at(to), 100);
        assert_eq!(due("2026-03-02T17:00:30Z", "2026-03-03T08:59:59Z"), 0, "a night is no delay");
        assert_eq!(due("2026-03-02T17:00:30Z", "2026-03-03T11:00:00Z"), 3);
        assert_eq!(due("2026-03-01T00:00:00Z", "2026-12-01T00:00:00Z"), 100);
        let jittered = table("0 * * * *", chrono_tz::UTC, 600);
        let fire = jittered.next_after(at("2026-03-02T00:00:00Z")).unwrap();
        let due = |to_us| jittered.due_between(at("2026-03-02T00:00:00Z"), to_us, 100);
        assert_eq!((due(fire.due_us - 1), due(fire.due_us)), (0, 1));
    }

    #[test]
    fn jitter_is_the_same_every_time_and_inside_its_window() {
        let t = table("0 * * * *", chrono_tz::UTC, 600);
        let mut at_us = at("2026-01-01T00:00:00Z");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..48 {
            let fire = t.next_after(at_us).unwrap();
            assert_eq!(Some(fire), t.next_after(at_us));
            let jitter = fire.due_us - fire.nominal_us;
            assert!((0..10 * MINUTE).contains(&jitter));
            seen.insert(jitter);
            at_us = fire.nominal_us;
        }
        assert!(seen.len() > 40, "jitter differs from fire to fire");
    }

    #[test]
    fn the_last_due_fire_is_found_with_its_jitter() {
        let t = table("0 * * * *", chrono_tz::UTC, 600);
        let now = at("2026-01-01T12:00:00Z");
        let last = t.last_due(now).unwrap();
        assert!(last.due_us <= now);
        assert!(t.next_after(last.nominal_us).unwrap().due_us > now);
    }

    #[test]
    fn missed_fires_are_counted() {
        let t = table("0 * * * *", chrono_tz::UTC, 0);
        assert_eq!(t.between(at("2026-01-01T00:00:00Z"), at("2026-01-01T05:00:00Z"), 100), 4);
        assert_eq!(t.between(at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"), 10), 10);
    }
}
