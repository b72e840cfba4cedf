//! Change alarms: found, alarmed, ended; never a verdict.

use super::world::*;
use crate::curation::watch::{Contrast, Found, QUIET_SWEEPS, Watch};
use crate::curation::{AlarmKind, Folded, Form, decode, encode};
use crate::domain::{Outcome, Standing, SweepPlan};

fn admitted(seed: u64) -> World {
    let mut world = World::new(&["a", "b", "c", "d"], &[("tool-use", 190)]);
    ["a", "b", "c", "d"].iter().for_each(|id| world.stand(id, Standing::Admitted));
    world.decide_nothing();
    world.dice = Dice(seed);
    world
}

fn alarmed(folded: &Folded, kind: AlarmKind) -> Vec<&str> {
    folded.alarms.iter().filter(|a| a.kind == kind).filter_map(|a| a.endpoint.as_ref()).map(|e| e.as_str()).collect()
}

/// `d` knows the repeated cases by heart and fails some of the fresh ones; fresh cases are harder for everybody.
fn memorised(fails: f64) -> impl FnMut(&Ask<'_>, &mut Dice) -> Outcome {
    move |ask, dice| {
        let rate = match (ask.endpoint, is_repeated(ask.case)) {
            ("d", true) => 0.0,
            ("d", false) => fails,
            (_, true) => 0.01,
            (_, false) => 0.05,
        };
        scored(dice.unit() >= rate)
    }
}

#[test]
fn answers_that_are_known_by_heart_are_alarmed_and_the_alarm_ends_with_them() {
    let mut world = admitted(1);
    let folded = world.sweep_until(80, memorised(0.4), |_, f| !alarmed(f, AlarmKind::HoldOutGap).is_empty());
    assert_eq!(alarmed(&folded, AlarmKind::HoldOutGap), ["d"]);
    let message = &folded.alarms.iter().find(|a| a.kind == AlarmKind::HoldOutGap).unwrap().message;
    assert!(message.contains("success 100.0% on repeated cases") && message.contains("no verdict"), "{message}");
    assert_eq!(world.standing("d"), Standing::Admitted, "no verdict");
    // As long as it goes on the alarm stays, and it ends some time after.
    for _ in 0..150 {
        let folded = world.sweep(memorised(0.4));
        assert_eq!(alarmed(&folded, AlarmKind::HoldOutGap), ["d"]);
    }
    let quiet = QUIET_SWEEPS as usize + 20;
    world.sweep_until(quiet, memorised(0.05), |_, f| f.alarms.is_empty());
}

#[test]
fn fresh_cases_that_are_harder_for_everybody_are_no_finding() {
    let mut world = admitted(2);
    for _ in 0..200 {
        let folded = world.sweep(|ask, dice| scored(is_repeated(ask.case) || dice.unit() >= 0.3));
        assert!(folded.alarms.is_empty(), "{:?}", folded.alarms);
    }
}

#[test]
fn luck_with_cases_that_are_answered_alike_every_time_is_no_finding() {
    // Repeated cases are answered the same way in every sweep: 38 draws in all, however often they are asked.
    let mut found = 0;
    for seed in 0..150 {
        let mut world = admitted(seed);
        let luck: Vec<bool> = (0..190).map(|_| world.dice.unit() >= 0.2).collect();
        for _ in 0..60 {
            let folded = world.sweep(|ask, dice| {
                let bad = ask.endpoint == "d";
                let repeated = is_repeated(ask.case);
                scored(if bad && repeated { luck[ask.case] } else { !bad || dice.unit() >= 0.2 })
            });
            if !alarmed(&folded, AlarmKind::HoldOutGap).is_empty() {
                found += 1;
                break;
            }
        }
    }
    // Luck of at least 3.09 standard errors has a chance of 0.001, by the binomial distribution 0.0005.
    assert!(found <= 1, "{found} of 150");
}

/// Every tenth case is hard: the others fail it now and then. `d` times out on some of what it would fail.
fn hides(missing_if_hard: f64, missing_anyway: f64) -> impl FnMut(&Ask<'_>, &mut Dice) -> Outcome {
    move |ask, dice| {
        let hard = ask.case % 10 == 3;
        let rate = if ask.endpoint != "d" {
            0.0
        } else if hard {
            missing_if_hard
        } else {
            missing_anyway
        };
        if dice.unit() < rate { Outcome::Missing } else { scored(!hard || dice.unit() >= 0.3) }
    }
}

#[test]
fn errors_that_follow_the_content_are_alarmed_and_the_alarm_ends_with_them() {
    let mut world = admitted(3);
    let folded = world.sweep_until(60, hides(0.8, 0.0), |_, f| !alarmed(f, AlarmKind::ContentLinkedErrors).is_empty());
    assert_eq!(alarmed(&folded, AlarmKind::ContentLinkedErrors), ["d"]);
    assert_eq!(world.standing("d"), Standing::Admitted, "no verdict");
    let quiet = QUIET_SWEEPS as usize + 20;
    world.sweep_until(quiet, hides(0.0, 0.0), |_, f| f.alarms.is_empty());
}

#[test]
fn errors_that_come_at_random_are_no_finding() {
    for seed in 0..20 {
        let mut world = admitted(seed);
        for _ in 0..100 {
            let folded = world.sweep(hides(0.2, 0.2));
            assert!(folded.alarms.is_empty(), "seed {seed}: {:?}", folded.alarms);
        }
    }
}

#[test]
fn without_history_or_differences_between_cases_nothing_is_called_hard() {
    let mut world = admitted(4);
    for _ in 0..5 {
        world.sweep(|ask, dice| if ask.endpoint == "d" && dice.unit() < 0.5 { Outcome::Missing } else { PASS });
    }
    // The anchors pass everything; what `d` misses counts for its own ranking, not as a failure of the case.
    let watch = &world.state.endpoints[&endpoint("d")].watch;
    assert_eq!(watch.linked, Watch::default().linked);
}

/// The same sweeps, folded once with all that they tell and once without what alarms are made of.
#[test]
fn alarms_move_nothing() {
    let new = || World::new(&["a", "b", "c", "d"], &[("tool-use", 190)]);
    let (mut seeing, mut blind) = (new(), new());
    let (mut told, mut told_blind) = (Vec::new(), Vec::new());
    let moves = |folded: Folded| folded.decisions.into_iter().map(|d| (d.endpoint, d.from, d.to, d.reason));
    for _ in 0..60 {
        let mut plan = seeing.plan();
        let rows = seeing.rows(&plan, memorised(0.3));
        told.extend(moves(seeing.fold(&plan, &rows)));
        plan.suites.iter_mut().for_each(|suite| suite.stable = None);
        told_blind.extend(moves(blind.fold(&plan, &rows)));
    }
    assert!(!told.is_empty());
    assert_eq!(told, told_blind);
    for world in [&mut seeing, &mut blind] {
        for endpoint in world.state.endpoints.values_mut() {
            endpoint.watch = Watch::default();
            // How much was asked in bursts is all that an alarm changes.
            (endpoint.tokens_spent, endpoint.tokens_at_us) = (0.0, 0);
        }
    }
    assert_eq!(seeing.state, blind.state);
}

#[test]
fn what_was_found_is_followed_by_a_larger_sweep_as_often_as_it_is_found() {
    let mut world = admitted(1);
    // Evidence against its quality would ask for bursts as well.
    world.policy.burst_at = 1e200;
    let asked = |plan: &SweepPlan| plan.suites[0].endpoints.iter().find(|e| e.id.as_str() == "d").unwrap().cases;
    let (standard, burst) = (world.policy.cases.standard, world.policy.cases.burst);
    assert!(standard < burst);
    let (mut bursts, mut found_before) = (0, false);
    for _ in 0..40 {
        let plan = world.plan();
        assert_eq!(asked(&plan), if found_before { burst } else { standard });
        bursts += u32::from(found_before);
        let rows = world.rows(&plan, memorised(0.4));
        world.fold(&plan, &rows);
        let watch = &world.state.endpoints[&endpoint("d")].watch;
        found_before = watch.hold_out[&suite("tool-use")].found.is_some_and(|found| found.quiet == 0);
        assert_eq!(watch.asks_for_more(), found_before);
    }
    assert!(bursts >= 2, "{bursts}");
    // What it costs comes from the budget of bursts: when that is empty, nothing more is asked.
    let d = world.state.endpoints.get_mut(&endpoint("d")).unwrap();
    d.watch.hold_out.get_mut(&suite("tool-use")).unwrap().found = Some(Found { log_r: 9.0, quiet: 0 });
    (d.tokens_spent, d.tokens_at_us) = (f64::from(world.policy.cases.weekly_burst), world.now_us);
    assert_eq!(asked(&world.plan()), standard);
}

/// The sweep that a finding asks for is one, also where it cannot compare.
#[test]
fn a_finding_asks_once_also_when_the_next_sweeps_are_of_another_suite() {
    let mut world = World::new(&["a", "b", "c", "d"], &[("output-quality", 190), ("tool-use", 190)]);
    ["a", "b", "c", "d"].iter().for_each(|id| world.stand(id, Standing::Admitted));
    world.decide_nothing();
    world.policy.burst_at = 1e200;
    let found = Some(Found { log_r: 9.0, quiet: 0 });
    let watch = &mut world.state.endpoints.get_mut(&endpoint("d")).unwrap().watch;
    watch.hold_out.entry(suite("tool-use")).or_default().found = found;
    watch.linked.found = found;
    let mut asked = Vec::new();
    for _ in 0..3 {
        let mut plan = world.plan();
        plan.suites.retain(|part| part.suite == suite("output-quality"));
        asked.push(plan.suites[0].endpoints.iter().find(|e| e.id.as_str() == "d").unwrap().cases);
        let rows = world.rows(&plan, |_, _| PASS);
        world.fold(&plan, &rows);
    }
    let (standard, burst) = (world.policy.cases.standard, world.policy.cases.burst);
    assert_eq!(asked, [burst, standard, standard]);
    let watch = &world.state.endpoints[&endpoint("d")].watch;
    assert_eq!(watch.hold_out[&suite("tool-use")].found.map(|f| f.quiet), Some(1), "it still stands");
}

#[test]
fn a_state_without_alarms_is_written_as_before_and_one_with_them_survives() {
    let mut world = admitted(5);
    world.state.form = Form::FIRST;
    world.tells_repeated = false;
    world.sweep(hides(0.5, 0.1));
    assert_eq!(encode(&world.state)[4], 2, "steps of earlier versions are made again to the last byte");
    world.tells_repeated = true;
    (0..3).for_each(|_| drop(world.sweep(hides(0.5, 0.1))));
    let bytes = encode(&world.state);
    assert_eq!(bytes[4], 3);
    let back = decode(&bytes).unwrap();
    let watch = &back.endpoints[&endpoint("d")].watch;
    assert!(watch.hold_out[&suite("tool-use")].log_r().is_finite() && watch.linked.log_r().is_finite());
    assert_eq!(back, world.state);
}

#[test]
fn a_restart_forgets_and_a_suite_that_is_gone_takes_its_evidence_with_it() {
    let mut world = admitted(6);
    world.sweep(memorised(0.3));
    let known = |world: &World| world.state.endpoints[&endpoint("d")].watch.hold_out.len();
    assert_eq!(known(&world), 1);
    world.suites.insert(suite("tool-use"), (digest("another"), 190));
    world.sync(None);
    assert_eq!(known(&world), 0);
    world.sweep(memorised(0.3));
    world.suites.clear();
    world.sync(None);
    assert_eq!(known(&world), 0);
}

#[test]
fn a_suite_of_one_kind_of_cases_has_no_contrast() {
    assert_eq!(Contrast::of(&[]), Contrast::default());
    let mut world = admitted(7);
    let mut plan = world.plan();
    plan.suites[0].stable.as_mut().unwrap().places.clear();
    let rows = world.rows(&plan, memorised(0.3));
    world.fold(&plan, &rows);
    assert!(world.state.endpoints[&endpoint("d")].watch.hold_out.is_empty());
}
