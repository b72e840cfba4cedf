//! A floor under a suite: what is proven below it is not admitted and does not stay, whoever else is as bad.

use std::collections::BTreeMap;

use super::lists::configured;
use super::replays::Chronicle;
use super::world::*;
use crate::curation::{
    AlarmKind, Refused, allowlist, decode, encode, explain_now, explanation, frozen_alarm, guarantees, outlook,
};
use crate::domain::policy::SuitePolicy;
use crate::domain::{AllowlistMode, Outcome, Policy, Standing};
use Standing::{Admitted, Excluded, Provisional, Unknown};

const IDS: [&str; 4] = ["a", "b", "c", "d"];

fn with_floor(policy: &mut Policy, floor: f64) {
    policy.suites.insert(suite("tool-use"), SuitePolicy { floor: Some(floor), ..SuitePolicy::default() });
}

fn floored(standing: Standing, seed: u64) -> World {
    let mut world = World::new(&IDS, &[("tool-use", 190)]);
    IDS.iter().for_each(|id| world.stand(id, standing));
    world.state.sweeps_folded = 1;
    with_floor(&mut world.policy, 0.8);
    world.dice = Dice(seed);
    world
}

fn passing(rate: f64) -> impl FnMut(&Ask<'_>, &mut Dice) -> Outcome {
    move |_, dice| scored(dice.unit() < rate)
}

fn all(world: &World, standing: Standing) -> bool {
    IDS.iter().all(|id| world.standing(id) == standing)
}

#[test]
fn all_that_fall_below_the_floor_are_excluded_and_the_list_is_held_not_empty() {
    let mut world = floored(Admitted, 1);
    world.sweep(passing(0.97));
    let prev = allowlist(&world.state, &world.policy, &configured(&world), None, world.now_us, &BTreeMap::new());
    let prev = prev.unwrap().allowlist;
    let mut decisions = Vec::new();
    world.sweep_until(60, passing(0.6), |w, f| {
        decisions.extend(f.decisions.clone());
        all(w, Excluded)
    });
    let decision = decisions.iter().find(|d| d.to == Excluded).unwrap();
    assert!(decision.reason.starts_with("excluded (below the floor): tool-use success "), "{}", decision.reason);
    assert!(decision.reason.contains("is below the floor 80%, evidence R="), "{}", decision.reason);
    assert!(decision.reason.contains("false-exclusion guarantee <= 0.2 per provider-year"), "{}", decision.reason);
    assert_eq!((decision.evidence["rule"].as_str(), &decision.suite), (Some("floor"), &Some(suite("tool-use"))));
    assert_eq!(decision.evidence["suites"]["tool-use"]["floor"]["floor"], 0.8);
    assert_eq!(decision.evidence["guarantees"]["false_exclusions_per_year_floor"], 0.2);
    // Never empty: the last good list stays, and says why.
    let list = allowlist(&world.state, &world.policy, &configured(&world), Some(&prev), world.now_us, &BTreeMap::new());
    let list = list.unwrap().allowlist;
    assert_eq!((list.mode, list.providers.len()), (AllowlistMode::Frozen, IDS.len()));
    assert!(frozen_alarm(&world.state, &list).is_some());
}

#[test]
fn nobody_below_the_floor_is_admitted_or_comes_back_because_all_are_as_bad() {
    let mut world = floored(Unknown, 2);
    world.sweep_until(60, passing(0.65), |w, _| all(w, Excluded));
    for _ in 0..300 {
        let folded = world.sweep(passing(0.65));
        assert!(folded.decisions.iter().all(|d| d.to != Admitted), "{:?}", folded.decisions);
    }
    // Without a floor they come back: they are as good as their peers.
    let mut without = world.clone();
    without.policy.suites.clear();
    without.sweep_until(300, passing(0.65), |w, _| IDS.iter().any(|id| w.standing(id) == Admitted));
    // With it they do once they are above it.
    world.sweep_until(300, passing(0.97), |w, _| all(w, Admitted));
}

#[test]
fn who_is_neither_below_nor_above_stays_undecided() {
    let mut world = floored(Unknown, 3);
    world.policy.cases.cap = 500;
    // Exactly at the floor, at a level that excludes as good as never.
    world.policy.alpha = 1e-4;
    (0..40).for_each(|_| drop(world.sweep(passing(0.8))));
    assert!(all(&world, Provisional));
    let text = explain_now(&world.state, &world.policy, &endpoint("a")).unwrap();
    assert!(text.contains("; that it is below the floor 80% of tool-use: E="), "{text}");
}

#[test]
fn exactly_at_the_floor_first_decisions_err_as_seldom_as_promised() {
    let (alpha, runs) = (0.05, 400);
    let excluded = |seed: u64| {
        let mut world = World::new(&["a"], &[("tool-use", 190)]);
        with_floor(&mut world.policy, 0.8);
        world.policy.alpha = alpha;
        world.dice = Dice(seed);
        (0..30).any(|_| world.sweep(passing(0.8)).decisions.iter().any(|d| d.to == Excluded))
    };
    let wrong = (0..runs).filter(|seed| excluded(*seed)).count() as f64;
    // Four standard errors above the bound.
    let bound = alpha + 4.0 * (alpha * (1.0 - alpha) / runs as f64).sqrt();
    assert!(wrong / runs as f64 <= bound, "{wrong} of {runs}");
    // And alone, below it: a floor needs no peers.
    let mut world = World::new(&["a"], &[("tool-use", 190)]);
    with_floor(&mut world.policy, 0.8);
    world.sweep_until(30, passing(0.5), |w, _| w.standing("a") == Excluded);
}

#[test]
fn above_the_floor_nothing_changes_but_what_is_told() {
    let run = |floor: Option<f64>| {
        let mut world = World::new(&IDS, &[("tool-use", 190)]);
        floor.into_iter().for_each(|floor| with_floor(&mut world.policy, floor));
        let mut moves = Vec::new();
        for _ in 0..60 {
            let folded = world.sweep(fails("d", 0.2));
            moves.extend(folded.decisions.iter().map(|d| (d.endpoint.clone(), d.from, d.to, d.sweep)));
        }
        (moves, world)
    };
    let ((without, _), (with, world)) = (run(None), run(Some(0.5)));
    assert_eq!(without, with);
    assert_eq!(decode(&encode(&world.state)).as_ref(), Ok(&world.state));
    let numbers = guarantees(&world.policy, PER_YEAR);
    assert_eq!(numbers.first_wrong_exclusion_floor, Some(0.01));
    assert!((numbers.false_exclusions_per_year - 0.6).abs() < 1e-12);
    let sizes = BTreeMap::from([(suite("tool-use"), 190)]);
    let scene = outlook::Scene {
        state: &world.state,
        policy: &world.policy,
        order: &world.endpoints,
        sizes: &sizes,
        now_us: world.now_us,
        sweeps_per_year: Some(PER_YEAR),
        tagged: None,
    };
    let told = explanation::explain(&scene, &endpoint("a")).unwrap();
    assert!(told.text().contains("; floor 50%: below it "), "{}", told.text());
    assert!(
        told.guarantee.contains("by quality, by answering too rarely and by floors together"),
        "{}",
        told.guarantee
    );
}

#[test]
fn the_designated_reference_below_the_floor_is_an_alarm_and_falls_only_where_the_policy_lets_it() {
    for falls in [false, true] {
        let mut world = floored(Admitted, 4);
        world.policy.reference_may_fall = falls;
        world.sync(Some("a"));
        let worst = |ask: &Ask<'_>, dice: &mut Dice| scored(dice.unit() < if ask.endpoint == "a" { 0.6 } else { 0.95 });
        let mut told = Vec::new();
        for _ in 0..30 {
            let folded = world.sweep(worst);
            told.extend(folded.alarms.iter().map(|a| (a.kind, a.endpoint.clone())));
        }
        let stands = if falls { Excluded } else { Admitted };
        assert_eq!(world.standing("a"), stands);
        assert_eq!(told.contains(&(AlarmKind::Reference, Some(endpoint("a")))), !falls, "{told:?}");
        assert!(["b", "c", "d"].iter().all(|id| world.standing(id) == Admitted), "nobody falls with it");
    }
}

#[test]
fn floors_of_several_suites_exclude_by_the_weighted_mean_and_name_the_suite() {
    // Below the floor of the light suite only: the heavier the other is, the more it takes.
    let sweeps_to_fall = |weight_of_other: f64| {
        let mut world = World::new(&["a"], &[("chat", 190), ("tool-use", 190)]);
        with_floor(&mut world.policy, 0.8);
        let other = SuitePolicy { floor: Some(0.8), weight: Some(weight_of_other), ..SuitePolicy::default() };
        world.policy.suites.insert(suite("chat"), other);
        world.stand("a", Admitted);
        world.dice = Dice(5);
        for sweep in 1..200 {
            let folded =
                world.sweep(|ask, dice| scored(dice.unit() < if ask.suite == "tool-use" { 0.7 } else { 0.95 }));
            if let Some(fell) = folded.decisions.iter().find(|d| d.to == Excluded) {
                assert_eq!(fell.suite, Some(suite("tool-use")), "{}", fell.reason);
                return sweep;
            }
        }
        panic!("never excluded")
    };
    let (light, heavy) = (sweeps_to_fall(0.01), sweeps_to_fall(1e6));
    assert!(light < heavy, "{light} {heavy}");
}

#[test]
fn a_policy_without_a_floor_is_stored_as_before_and_an_edited_floor_begins_anew() {
    let none = SuitePolicy { margin: Some(0.03), ..SuitePolicy::default() };
    assert_eq!(serde_json::to_string(&none).unwrap(), r#"{"margin":0.03,"weight":null}"#);
    assert_eq!(serde_json::from_str::<SuitePolicy>(r#"{"margin":0.03,"weight":null}"#).unwrap(), none);
    let mut policy = Policy::default();
    for (floor, sound) in [(0.0, false), (0.8, true), (1.0, false), (f64::NAN, false)] {
        with_floor(&mut policy, floor);
        assert_eq!(policy.problems().is_empty(), sound, "{floor}");
    }

    let mut c = Chronicle::new(&IDS);
    let floor = |floor| BTreeMap::from([(suite("one"), SuitePolicy { floor, ..SuitePolicy::default() })]);
    c.policy.suites = floor(Some(0.9));
    c.configure();
    (0..20).for_each(|_| drop(c.sweep(passing(0.95))));
    let evidence = |c: &Chronicle| c.base.state.endpoints[&endpoint("a")].suites[&suite("one")].clone();
    let before = evidence(&c);
    c.policy.suites = floor(Some(0.7));
    let made = c.configure();
    assert!(made.decisions[0].reason.contains("suites.one.floor 0.9 -> 0.7"), "{}", made.decisions[0].reason);
    c.sweep(passing(0.95));
    let after = evidence(&c);
    assert!(after.cases > before.cases && after.floor.as_ref().map(|f| f.floor) == Some(0.7), "{after:?}");
    assert_ne!(after.floor, before.floor);
    c.policy.suites = floor(None);
    c.sweep(passing(0.95));
    assert_eq!(evidence(&c).floor, None);
    c.check_replay();
    assert!(matches!(c.order(crate::domain::Verb::Ack, None), Err(Refused::NothingHeld)));
}
