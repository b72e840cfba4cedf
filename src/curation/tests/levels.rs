//! Own history: a fall of all endpoints at once is alarmed, and nothing else is.

use super::replays::Chronicle;
use super::world::*;
use crate::curation::levels::{CASES_MIN, R_MAX};
use crate::curation::{AlarmKind, AlarmNote, Folded, Refused, decode, encode, fold_sweep};
use crate::domain::{DecisionKind, Outcome, OutcomeRow, Standing, Verb};
use crate::stats::bets::K;

const IDS: [&str; 4] = ["a", "b", "c", "d"];

fn admitted(seed: u64) -> World {
    let mut world = World::new(&IDS, &[("tool-use", 190)]);
    IDS.iter().for_each(|id| world.stand(id, Standing::Admitted));
    world.dice = Dice(seed);
    world
}

/// Everybody passes with these rates, by endpoint.
fn passing(rate: impl Fn(&str) -> f64) -> impl FnMut(&Ask<'_>, &mut Dice) -> Outcome {
    move |ask, dice| scored(dice.unit() < rate(ask.endpoint))
}

fn fell(alarms: &[AlarmNote]) -> Option<&AlarmNote> {
    alarms.iter().find(|a| a.kind == AlarmKind::LevelFell)
}

fn sweeps_of(world: &mut World, sweeps: usize, rate: f64) -> Vec<Folded> {
    (0..sweeps).map(|_| world.sweep(passing(|_| rate))).collect()
}

#[test]
fn a_fall_of_all_is_alarmed_moves_nobody_and_ends_when_the_level_is_back() {
    let mut world = admitted(1);
    assert!(sweeps_of(&mut world, 60, 0.97).iter().all(|f| f.alarms.is_empty()));
    let folded = world.sweep_until(40, passing(|_| 0.87), |_, f| fell(&f.alarms).is_some());
    let alarm = fell(&folded.alarms).unwrap();
    assert_eq!(alarm.endpoint, None);
    assert!(alarm.message.starts_with("all endpoints together do worse on tool-use than they did: success "));
    assert!(alarm.message.contains("look at the suite, at its graders"), "{}", alarm.message);
    assert!(IDS.iter().all(|id| world.standing(id) == Standing::Admitted) && folded.decisions.is_empty());
    // As long as it lasts the alarm stays, and the level to compare with is kept.
    let before = world.state.levels[&suite("tool-use")].reference;
    assert!(sweeps_of(&mut world, 100, 0.87).iter().all(|f| fell(&f.alarms).is_some()));
    assert_eq!(world.state.levels[&suite("tool-use")].reference, before);
    world.sweep_until(80, passing(|_| 0.97), |_, f| f.alarms.is_empty());
}

#[test]
fn a_fall_little_deeper_than_the_margin_stays_alarmed_as_long_as_it_lasts() {
    let mut alarmed = 0;
    for seed in 0..6 {
        let mut world = admitted(seed);
        sweeps_of(&mut world, 60, 0.97);
        // Own history alone: nobody is excluded by luck.
        world.decide_nothing();
        world.policy.exclude_after_sweeps = 100.0;
        let first = (0..200).find(|_| fell(&world.sweep(passing(|_| 0.90)).alarms).is_some());
        if first.is_some() {
            alarmed += 1;
            assert!(sweeps_of(&mut world, 300, 0.90).iter().all(|f| fell(&f.alarms).is_some()), "seed {seed}");
            world.sweep_until(200, passing(|_| 0.97), |_, f| fell(&f.alarms).is_none());
        }
    }
    assert!(alarmed >= 4, "{alarmed} of 6");
}

#[test]
fn a_fall_of_one_is_not_a_fall_of_all() {
    for seed in 0..10 {
        let mut world = admitted(seed);
        sweeps_of(&mut world, 60, 0.97);
        for _ in 0..60 {
            let folded = world.sweep(passing(|id| if id == "d" { 0.5 } else { 0.97 }));
            assert!(fell(&folded.alarms).is_none(), "seed {seed}: {:?}", folded.alarms);
        }
        assert_eq!(world.standing("d"), Standing::Excluded);
    }
}

#[test]
fn a_constant_quality_gives_no_alarm() {
    // A hundred years and more: the scenario `common` of `simulate`.
    for (seed, rate) in [(1, 0.97), (2, 0.7), (3, 1.0), (4, 0.0)] {
        let mut world = admitted(seed);
        world.decide_nothing();
        world.policy.exclude_after_sweeps = 7300.0;
        for sweep in 0..300 {
            let folded = world.sweep(passing(|_| rate));
            assert!(fell(&folded.alarms).is_none(), "rate {rate}, sweep {sweep}: {:?}", folded.alarms);
        }
    }
}

#[test]
fn nothing_is_compared_before_there_is_a_level_and_scores_are_capped() {
    let mut world = admitted(6);
    // A fall in the first days is no fall: nobody knows the usual level yet.
    let cases_a_sweep = 25.0;
    sweeps_of(&mut world, (CASES_MIN / cases_a_sweep) as usize - 2, 1.0);
    sweeps_of(&mut world, 1, 0.0);
    let level = &world.state.levels[&suite("tool-use")];
    assert!(!level.is_known() && level.log_r() == f64::NEG_INFINITY, "{level:?}");
    // A threshold out of reach: all the same the alarm comes, and no score grows beyond the cap.
    let mut world = admitted(7);
    sweeps_of(&mut world, 60, 1.0);
    world.decide_nothing();
    let mut alarmed = false;
    for _ in 0..100 {
        let folded = world.sweep(passing(|_| 0.5));
        alarmed |= fell(&folded.alarms).is_some();
        let level = &world.state.levels[&suite("tool-use")];
        assert!(level.r.iter().all(|r| *r <= (2.0 * K as f64 * R_MAX).ln()), "{level:?}");
    }
    assert!(alarmed);
}

#[test]
fn the_level_is_that_of_the_admitted_on_the_cases_that_all_of_them_were_asked() {
    let mut world = admitted(8);
    world.stand("d", Standing::Excluded);
    world.policy.cases.burst = 100;
    let plan = world.plan();
    let asked = |id: &str| plan.suites[0].endpoints.iter().find(|e| e.id == endpoint(id)).map(|e| e.cases).unwrap();
    let common = ["a", "b", "c"].iter().map(|id| asked(id)).min().unwrap() as usize;
    let rows = world.rows(&plan, |ask, dice| match ask.endpoint {
        "a" => scored(dice.unit() < 0.6),
        "b" => Outcome::Missing,
        "c" => PASS,
        _ => FAIL,
    });
    let mut values: Vec<f64> = Vec::new();
    for case in &plan.suites[0].cases[..common] {
        let score = |row: &OutcomeRow| match row.outcome {
            Outcome::Scored(y) if ["a", "c"].contains(&row.endpoint.as_str()) && row.case == *case => Some(y),
            _ => None,
        };
        let of: Vec<f64> = rows.iter().filter_map(score).collect();
        values.push(of.iter().sum::<f64>() / of.len() as f64);
    }
    let folded = world.fold(&plan, &rows);
    let level = &folded.state.levels[&suite("tool-use")];
    assert_eq!((level.reference.cases, level.reference.scores), (common as f64, values.iter().sum::<f64>()));
}

#[test]
fn levels_do_not_depend_on_the_order_of_rows_and_survive_their_bytes() {
    let mut world = admitted(9);
    sweeps_of(&mut world, 40, 0.9);
    for _ in 0..20 {
        let plan = world.plan();
        let mut rows = world.rows(&plan, passing(|_| 0.7));
        let before = world.state.clone();
        let folded = world.fold(&plan, &rows);
        world.dice.shuffle(&mut rows);
        let record = crate::curation::SweepRecord {
            plan: &plan,
            rows: &rows,
            ended_at_us: world.now_us - world.every_us,
            sweeps_per_year: Some(PER_YEAR),
        };
        assert_eq!(encode(&fold_sweep(&before, &world.policy, &record).state), encode(&folded.state));
        assert_eq!(decode(&encode(&folded.state)).as_ref(), Ok(&folded.state));
    }
}

#[test]
fn an_acknowledgement_and_another_suite_begin_the_history_anew() {
    let fallen = || {
        let mut c = Chronicle::new(&IDS);
        c.configure();
        for id in IDS {
            c.base.state.endpoints.get_mut(&endpoint(id)).unwrap().standing = Standing::Admitted;
        }
        c.base.state.sweeps_folded = 1;
        c.configure();
        (0..40).for_each(|_| drop(c.sweep(passing(|_| 0.97))));
        // One suite after the other is found to have fallen.
        let both = |alarm: &AlarmNote| alarm.message.contains(" on one ") && alarm.message.contains(" on two ");
        let made = (0..60).map(|_| c.sweep(passing(|_| 0.5))).find(|made| fell(&made.alarms).is_some_and(both));
        let made = made.expect("alarmed");
        assert!(made.governs.contains(&AlarmKind::LevelFell));
        c
    };
    let mut c = fallen();
    let made = c.order(Verb::Ack, None).unwrap();
    assert!(fell(&made.alarms).is_none() && made.governs.contains(&AlarmKind::LevelFell));
    assert!(made.decisions.iter().all(|d| d.kind == DecisionKind::Operator && d.from == d.to));
    assert_eq!(made.decisions.len(), IDS.len());
    insta::assert_snapshot!(made.decisions[0].reason, @r#"operator ann: fall of all endpoints on one, two acknowledged: the usual level is learned anew ("because")"#);
    assert!(matches!(c.order(Verb::Ack, None), Err(Refused::NothingHeld)));
    // The new level is the usual one by now.
    (0..60).for_each(|_| assert!(fell(&c.sweep(passing(|_| 0.5)).alarms).is_none()));

    let mut c = fallen();
    c.world.suites.insert(suite("one"), (digest("other"), 20));
    c.world.suites.insert(suite("two"), (digest("other"), 12));
    assert!(fell(&c.configure().alarms).is_none());
    assert!(c.base.state.levels.is_empty());
}
