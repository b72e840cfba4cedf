//! The cron evaluator against the `cron` crate, where both read a line the same way: fixed times, in UTC.

use std::str::FromStr;

use chrono::{DateTime, TimeZone, Utc};
use proptest::prelude::*;

/// `cron` wants seconds and counts Sunday as 1; lines without weekdays mean the same to both.
fn both(minute: &str, hour: &str, day: &str, month: &str, from: DateTime<Utc>) -> (Vec<i64>, Vec<i64>) {
    let ours: croner::Cron = format!("{minute} {hour} {day} {month} *").parse().unwrap();
    let theirs = cron::Schedule::from_str(&format!("0 {minute} {hour} {day} {month} *")).unwrap();
    let mut at = from;
    let mut found = Vec::new();
    for _ in 0..5 {
        let Ok(next) = ours.find_next_occurrence(&at, false) else { break };
        found.push(next.timestamp());
        at = next;
    }
    let expected = theirs.after(&from).take(found.len()).map(|t| t.timestamp()).collect();
    (found, expected)
}

fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    let one = (min..=max).prop_map(|n| n.to_string());
    let range = (min..=max, min..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let step = (1u32..=7).prop_map(|n| format!("*/{n}"));
    let list = proptest::collection::btree_set(min..=max, 1..4)
        .prop_map(|set| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
    prop_oneof![Just("*".to_owned()), one, range, step, list]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn both_evaluators_agree_on_plain_lines(
        minute in field(0, 59), hour in field(0, 23), day in field(1, 28), month in field(1, 12),
        from in 1_700_000_000i64..1_900_000_000,
    ) {
        let from = Utc.timestamp_opt(from, 0).unwrap();
        let (ours, theirs) = both(&minute, &hour, &day, &month, from);
        prop_assert_eq!(ours, theirs, "{} {} {} {}", minute, hour, day, month);
    }
}
