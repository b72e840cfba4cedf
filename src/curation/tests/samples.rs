//! Sampled answers: a round over several sweeps, compared at its end.

use std::sync::Arc;

use super::world::*;
use crate::curation::prints::CASES_AFTER_CHANGE;
use crate::curation::samples::{SAMPLES_LEVEL, is_asked, share};
use crate::curation::{AlarmKind, Folded, SweepRecord, decode, encode, fold_sweep};
use crate::domain::probes::{ROUND_MAX_US, SAMPLE_PROMPTS, SAMPLE_REPEATS, SAMPLES};
use crate::domain::{BudgetedEndpoint, Outcome, OutcomeRow, Standing, SuitePlan};

const IDS: [&str; 4] = ["a", "b", "c", "d"];
const WEEK_US: i64 = 7 * DAY_US;

fn admitted(seed: u64) -> World {
    let mut world = World::new(&IDS, &[("tool-use", 190)]);
    IDS.iter().for_each(|id| world.stand(id, Standing::Admitted));
    world.policy.fingerprint_samples_us = Some(WEEK_US);
    world.dice = Dice(seed);
    world
}

/// How often an endpoint chooses the first of two words, at each of twenty places.
type Habit = fn(&str) -> f64;

const SAME: Habit = |_| 0.5;
const OTHER: Habit = |id| if id == "d" { 0.65 } else { 0.5 };

fn says(world: &mut World, first: f64) -> Arc<str> {
    (0..20).map(|_| if world.dice.unit() < first { "amber " } else { "flint " }).collect::<String>().into()
}

/// A sweep with its share of a round, `repeats` answers to each prompt, folded with what the round asked before.
fn swept(world: &mut World, habit: Habit, repeats: u32, kept: &mut Vec<OutcomeRow>) -> Folded {
    let mut plan = world.plan();
    let due = share(&world.state, WEEK_US, (plan.ordinal, world.now_us));
    let mut rows = world.rows(&plan, |_, _| PASS);
    if let Some((prompts, share)) = due {
        let asked: Vec<&str> = IDS.into_iter().filter(|id| is_asked(&world.state, &endpoint(id))).collect();
        plan.samples = Some(share);
        plan.probes = vec![SuitePlan {
            suite: suite(SAMPLES),
            digest: digest("ours"),
            cases: prompts.clone().map(|prompt| case(prompt as usize)).collect(),
            epochs: repeats,
            endpoints: asked
                .iter()
                .map(|id| BudgetedEndpoint { id: endpoint(id), cases: prompts.len() as u32 })
                .collect(),
            stable: None,
        }];
        if share.from == plan.ordinal {
            kept.clear();
        }
        for prompt in prompts {
            for id in &asked {
                for epoch in 0..repeats {
                    kept.push(OutcomeRow {
                        suite: suite(SAMPLES),
                        case: case(prompt as usize),
                        endpoint: endpoint(id),
                        epoch,
                        outcome: Outcome::Skipped { provenance: false },
                        sampled: Some(says(world, habit(id))),
                    });
                }
            }
        }
        rows.extend(kept.iter().cloned());
    }
    let before = world.state.clone();
    let folded = world.fold(&plan, &rows);
    rows.reverse();
    let record = SweepRecord { plan: &plan, rows: &rows, ended_at_us: world.now_us, sweeps_per_year: Some(PER_YEAR) };
    let again = fold_sweep(&before, &world.policy, &record);
    assert_eq!(again.state.sampling, folded.state.sampling);
    for id in IDS {
        let of = |folded: &Folded| folded.state.endpoints[&endpoint(id)].watch.prints.samples;
        assert_eq!(of(&again), of(&folded), "the order of the rows is nothing");
    }
    assert_eq!(decode(&encode(&world.state)), Ok(world.state.clone()));
    folded
}

/// Sweeps until a round has ended; the endpoints that it alarmed.
fn round(world: &mut World, habit: Habit, repeats: u32) -> (Folded, u32) {
    let mut kept = Vec::new();
    let mut sweeps = 0;
    loop {
        let folded = swept(world, habit, repeats, &mut kept);
        sweeps += 1;
        world.now_us += world.every_us;
        if world.state.sampling.asked == SAMPLE_PROMPTS as u32 {
            return (folded, sweeps);
        }
        assert!(sweeps < 50, "it never ends");
    }
}

fn alarmed(folded: &Folded) -> Vec<&str> {
    let of_kind = folded.alarms.iter().filter(|a| a.kind == AlarmKind::FingerprintChanged);
    of_kind.filter_map(|a| a.endpoint.as_ref()).map(|e| e.as_str()).collect()
}

#[test]
fn another_distribution_makes_suspect_at_the_end_of_the_round_and_only_then() {
    let mut world = admitted(1);
    let (folded, sweeps) = round(&mut world, OTHER, SAMPLE_REPEATS);
    assert_eq!((sweeps, alarmed(&folded), world.standing("d")), (12, vec!["d"], Standing::Suspect));
    let prints = &world.state.endpoints[&endpoint("d")].watch.prints;
    let test = prints.samples.unwrap();
    assert_eq!((test.answers, test.differs, prints.cases_left), (600, true, CASES_AFTER_CHANGE));
    assert!(test.p <= SAMPLES_LEVEL && test.mmd2 > 0.01, "{test:?}");
    let decision = folded.decisions.iter().find(|d| d.endpoint == endpoint("d")).unwrap();
    assert!(decision.reason.contains("its sampled answers differ from those of every anchor"), "{}", decision.reason);
    assert_eq!(
        (&decision.evidence["rule"], &decision.evidence["change_alarms"]["fingerprint"]["samples"]["differ"]),
        (&"T11".into(), &true.into())
    );

    // It stands: alarmed, but suspected once.
    world.now_us += WEEK_US;
    let (folded, _) = round(&mut world, OTHER, SAMPLE_REPEATS);
    assert_eq!(alarmed(&folded), ["d"]);
    assert!(folded.decisions.iter().all(|d| d.evidence["rule"] != "T11"), "{:?}", folded.decisions);
    // It ends with the difference.
    world.now_us += WEEK_US;
    let (folded, _) = round(&mut world, SAME, SAMPLE_REPEATS);
    assert!(alarmed(&folded).is_empty());
}

#[test]
fn endpoints_of_one_model_raise_no_alarm() {
    for seed in 2..6 {
        let (folded, _) = round(&mut admitted(seed), SAME, SAMPLE_REPEATS);
        assert!(alarmed(&folded).is_empty(), "{:?}", folded.alarms);
    }
}

#[test]
fn anchors_that_all_differ_from_each_other_say_nothing() {
    let own: Habit = |id| 0.2 + 0.2 * f64::from(id.as_bytes()[0] - b'a');
    let mut world = admitted(7);
    let (folded, _) = round(&mut world, own, SAMPLE_REPEATS);
    assert!(alarmed(&folded).is_empty());
    let test = world.state.endpoints[&endpoint("d")].watch.prints.samples.unwrap();
    assert!(test.p <= SAMPLES_LEVEL && !test.differs, "{test:?}");
}

#[test]
fn fewer_than_five_hundred_answers_are_no_test() {
    let mut world = admitted(8);
    round(&mut world, OTHER, 20);
    assert!(world.state.endpoints.values().all(|e| e.watch.prints.samples.is_none()));
}

#[test]
fn a_round_that_lasts_too_long_is_begun_anew_and_the_next_one_waits_its_time() {
    let mut world = admitted(9);
    let mut kept = Vec::new();
    swept(&mut world, SAME, SAMPLE_REPEATS, &mut kept);
    assert_eq!((world.state.sampling.from, world.state.sampling.asked), (1, 2));
    let (now_us, state) = (world.state.sampling.began_at_us, &world.state);
    let (prompts, next) = share(state, WEEK_US, (9, now_us + ROUND_MAX_US - 1)).unwrap();
    assert_eq!((prompts, next.from, next.closes), (2..4, 1, false));
    let (prompts, next) = share(state, WEEK_US, (9, now_us + ROUND_MAX_US)).unwrap();
    assert_eq!((prompts, next.from, next.closes), (0..2, 9, false));
    round(&mut world, SAME, SAMPLE_REPEATS);
    let began = world.state.sampling.began_at_us;
    assert_eq!(share(&world.state, WEEK_US, (40, began + WEEK_US - 1)), None);
    assert_eq!(share(&world.state, WEEK_US, (40, began + WEEK_US)).unwrap().0, 0..2);
}
