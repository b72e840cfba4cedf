//! Seeded simulation of the ruling on cold start (interfaces, 6.1): wrong first admissions stay within alpha.

use super::world::*;
use crate::domain::{Outcome, Standing};

/// Logit-normal difficulties (spread 2), shifted so that the mean pass rate is `target` (statistics, 14.1).
fn shift_to(logits: &[f64], target: f64) -> Vec<f64> {
    let rate = |shift: f64| logits.iter().map(|z| 1.0 / (1.0 + (-z - shift).exp())).sum::<f64>() / logits.len() as f64;
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if rate(middle) < target { low = middle } else { high = middle }
    }
    logits.iter().map(|z| 1.0 / (1.0 + (-z - low).exp())).collect()
}

struct Fleet {
    /// Pass rate by endpoint and case.
    rates: Vec<Vec<f64>>,
    bad: Vec<bool>,
}

/// Four bad of ten, 5 to 50 points below the rest, in random order.
fn fleet(dice: &mut Dice, cases: usize, base: f64) -> Fleet {
    let logits: Vec<f64> = (0..cases).map(|_| 2.0 * dice.normal()).collect();
    let mut drops = vec![0.0; 6];
    drops.push(0.05);
    drops.extend((0..3).map(|_| 0.05 + 0.45 * dice.unit()));
    dice.shuffle(&mut drops);
    let noisy = |dice: &mut Dice| logits.iter().map(|z| z + 0.3 * dice.normal()).collect::<Vec<f64>>();
    let rates = drops.iter().map(|drop| shift_to(&noisy(dice), base - drop)).collect();
    Fleet { rates, bad: drops.iter().map(|drop| *drop > 0.0).collect() }
}

#[derive(Debug, Default)]
struct Count {
    bad: u32,
    wrongly_admitted: u32,
    good: u32,
    wrongly_excluded: u32,
    admitted: u32,
    open_bad: u32,
    requests: u64,
}

const NAMES: [&str; 10] = ["e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "e9"];

/// First decisions of one fleet, sweeps back to back.
fn cold_start(seed: u64, cases: u32, sweeps: usize, setup: fn(&mut World)) -> Count {
    let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0xabcd);
    let fleet = fleet(&mut dice, cases as usize, 0.97);
    let mut world = World::new(&NAMES, &[("tool-use", cases)]);
    world.back_to_back = true;
    world.dice = dice;
    setup(&mut world);
    let mut first: [Option<Standing>; 10] = [None; 10];
    for _ in 0..sweeps {
        let folded = world.sweep(|ask, dice| {
            let endpoint = usize::from(ask.endpoint.as_bytes()[1] - b'0');
            Outcome::Scored(f64::from(u8::from(dice.unit() < fleet.rates[endpoint][ask.case])))
        });
        for d in folded.decisions.iter().filter(|d| d.to.is_decided()) {
            first[usize::from(d.endpoint.as_str().as_bytes()[1] - b'0')].get_or_insert(d.to);
        }
        if fleet.bad.iter().zip(first).all(|(bad, first)| first.is_some() || !bad) {
            break;
        }
    }
    let mut count = Count { requests: world.requests, ..Count::default() };
    for (bad, first) in fleet.bad.iter().zip(first) {
        match (bad, first) {
            (true, Some(Standing::Admitted)) => count.wrongly_admitted += 1,
            (true, None) => count.open_bad += 1,
            (false, Some(Standing::Excluded)) => count.wrongly_excluded += 1,
            (false, Some(_)) => count.admitted += 1,
            _ => {}
        }
        count.bad += u32::from(*bad);
        count.good += u32::from(!bad);
    }
    count
}

fn total(reps: u64, cases: u32, sweeps: usize, setup: fn(&mut World)) -> Count {
    (0..reps).map(|seed| cold_start(seed, cases, sweeps, setup)).fold(Count::default(), |mut sum, c| {
        sum.bad += c.bad;
        sum.wrongly_admitted += c.wrongly_admitted;
        sum.good += c.good;
        sum.wrongly_excluded += c.wrongly_excluded;
        sum.admitted += c.admitted;
        sum.open_bad += c.open_bad;
        sum.requests += c.requests;
        sum
    })
}

/// alpha, plus three standard errors of a binomial share.
fn tolerated(alpha: f64, n: u32) -> f64 {
    alpha + 3.0 * (alpha * (1.0 - alpha) / f64::from(n)).sqrt()
}

#[test]
fn four_bad_of_ten_in_random_order_are_told_from_the_good() {
    let count = total(16, 200, 40, |_| {});
    assert_eq!(count.bad, 64);
    assert!(f64::from(count.wrongly_admitted) <= tolerated(0.01, count.bad) * f64::from(count.bad), "{count:?}");
    assert_eq!(count.wrongly_excluded, 0, "{count:?}");
    assert_eq!(count.open_bad, 0, "all bad ones are decided: {count:?}");
}
