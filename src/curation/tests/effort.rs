//! Budgets: the table of statistics 6.

use std::collections::BTreeMap;

use super::world::*;
use crate::curation::budgets::tokens_left;
use crate::curation::{Occasion, budgets, participants};
use crate::domain::policy::Pool;
use crate::domain::{Override, Standing};

const LATER: Occasion = Occasion { now_us: START_US, first_of_utc_day: false, back_to_back: false };
const FIRST: Occasion = Occasion { first_of_utc_day: true, ..LATER };
const HASTE: Occasion = Occasion { back_to_back: true, ..LATER };

fn cases(world: &World, anchors: &[&str], size: u32, occasion: Occasion) -> BTreeMap<String, u32> {
    let anchors: Vec<_> = anchors.iter().map(|a| endpoint(a)).collect();
    let sizes = BTreeMap::from([(suite("tool-use"), size)]);
    let shares = budgets(&world.state, &world.policy, &anchors, &sizes, occasion);
    shares[&suite("tool-use")].iter().map(|s| (s.id.to_string(), s.cases)).collect()
}

fn budget(standing: Standing, occasion: Occasion) -> Option<u32> {
    let mut world = World::new(&["x"], &[("tool-use", 200)]);
    world.stand("x", standing);
    cases(&world, &[], 200, occasion).get("x").copied()
}

/// Makes an endpoint's detector read `r` on its only suite.
fn score(world: &mut World, id: &str, exclude: Option<f64>, admit: Option<f64>) {
    if !world.state.endpoints[&endpoint(id)].suites.contains_key(&suite("tool-use")) {
        world.sweep(|_, _| PASS);
    }
    let evidence = world.state.endpoints.get_mut(&endpoint(id)).unwrap().suites.get_mut(&suite("tool-use")).unwrap();
    if let Some(r) = exclude {
        evidence.r_ex = [r.ln(); 6];
    }
    if let Some(r) = admit {
        evidence.r_ad = [r.ln(); 6];
    }
}

#[test]
fn each_standing_has_its_budget() {
    assert_eq!(budget(Standing::Unknown, LATER), Some(100));
    assert_eq!(budget(Standing::Provisional, LATER), Some(100), "by a version change: below the cap");
    assert_eq!(budget(Standing::Admitted, LATER), Some(25));
    assert_eq!(budget(Standing::Suspect, LATER), Some(25));
    assert_eq!(budget(Standing::Excluded, LATER), None);
    assert_eq!(budget(Standing::Excluded, FIRST), Some(25));
    assert_eq!(budget(Standing::Excluded, HASTE), Some(25));
}

#[test]
fn an_undecided_endpoint_beyond_the_cap_gets_the_standard_budget() {
    let mut world = World::new(&["x"], &[("tool-use", 200)]);
    world.sweep(|_, _| PASS);
    world.state.endpoints.get_mut(&endpoint("x")).unwrap().suites.get_mut(&suite("tool-use")).unwrap().cases = 2500;
    assert_eq!(cases(&world, &[], 200, LATER)["x"], 25);
}

#[test]
fn no_endpoint_is_asked_more_cases_than_the_suite_has() {
    let mut world = World::new(&["x", "y"], &[("tool-use", 200)]);
    assert_eq!(cases(&world, &["x"], 15, LATER).values().copied().collect::<Vec<_>>(), [15, 15]);
    world.state.sweeps_folded = 1;
    assert_eq!(cases(&world, &["x"], 40, LATER).values().copied().collect::<Vec<_>>(), [40, 40]);
}

#[test]
fn the_first_sweep_of_a_model_is_small() {
    let mut world = World::new(&["a", "b", "c", "x"], &[("tool-use", 200)]);
    let first = |world: &World| cases(world, &["a"], 200, LATER).into_values().collect::<Vec<_>>();
    assert_eq!(first(&world), [25; 4]);
    world.policy.pool = Pool::Anchors;
    assert_eq!(first(&world), [100; 4], "the rule of earlier versions");
    world.policy.pool = Pool::Wide;
    for id in ["a", "b", "c"] {
        world.state.endpoints.get_mut(&endpoint(id)).unwrap().standing = Standing::Admitted;
    }
    assert_eq!(cases(&world, &["a", "b", "c"], 200, LATER)["x"], 100, "three Admitted: it is known who is good");
}

#[test]
fn anchors_get_the_largest_budget_of_the_sweep() {
    let mut world = World::new(&["a", "b", "c"], &[("tool-use", 200)]);
    world.stand("a", Standing::Admitted);
    world.stand("b", Standing::Admitted);
    let shares = cases(&world, &["a"], 200, LATER);
    assert_eq!((shares["a"], shares["b"], shares["c"]), (100, 25, 100));
    let shares = cases(&world, &["b", "a"], 200, LATER);
    assert_eq!((shares["a"], shares["b"], shares["c"]), (25, 100, 100), "one open endpoint needs one of the pool");
    world.policy.pool = Pool::Anchors;
    let shares = cases(&world, &["b", "a"], 200, LATER);
    assert_eq!((shares["a"], shares["b"], shares["c"]), (100, 100, 100));
}

#[test]
fn the_pool_gives_about_the_square_root_of_the_open_endpoints_and_three_to_a_burst() {
    let ids = ["a", "b", "c", "d", "e", "u", "v", "w", "x"];
    let mut world = World::new(&ids, &[("tool-use", 200)]);
    let pool = &ids[..5];
    pool.iter().for_each(|id| world.stand(id, Standing::Admitted));
    let full = |world: &World, anchors: &[&str]| {
        let shares = cases(world, anchors, 200, LATER);
        ids.iter().filter(|id| shares.get(**id) == Some(&100)).copied().collect::<String>()
    };
    assert_eq!(full(&world, pool), "abuvwx", "four open ones: the two best");
    let everybody = ["x", "a", "b", "c", "d", "e"];
    assert_eq!(full(&world, &everybody), "abuvwx", "one more where an open one is of the pool, and it counts itself");
    ["u", "v", "w", "x"].iter().for_each(|id| world.stand(id, Standing::Admitted));
    assert_eq!(full(&world, pool), "", "nobody is open: everybody is asked alike");
    score(&mut world, "c", Some(31.0), None);
    assert_eq!(full(&world, pool), "abcd", "a burst: three beside itself");
    score(&mut world, "c", Some(1.0), None);
    world.stand("x", Standing::Excluded);
    score(&mut world, "x", None, Some(5.0));
    assert_eq!(full(&world, pool), "abcx", "one that recovers is compared with three");
}

#[test]
fn sweeps_without_pause_ask_of_the_decided_only_who_is_needed() {
    let ids = ["a", "b", "c", "p", "s", "u", "x"];
    let mut world = World::new(&ids, &[("tool-use", 200)]);
    ["a", "b", "c"].iter().for_each(|id| world.stand(id, Standing::Admitted));
    world.stand("s", Standing::Suspect);
    world.stand("x", Standing::Excluded);
    let shares = |world: &World, occasion| {
        let shares = cases(world, &["a", "b", "c"], 200, occasion);
        ids.iter().filter_map(|id| Some(format!("{id}{}", shares.get(*id)?))).collect::<Vec<_>>().join(" ")
    };
    world.stand("p", Standing::Admitted);
    assert_eq!(shares(&world, LATER), "a100 b25 c25 p25 s25 u100", "by the schedule everybody is watched");
    assert_eq!(shares(&world, HASTE), "a100 s25 u100 x25", "Admitted beside the point are spared");
    score(&mut world, "x", None, Some(5.0));
    world.stand("s", Standing::Suspect);
    assert_eq!(shares(&world, HASTE), "a100 s25 u100 x25", "a recovery waits");
    score(&mut world, "b", Some(31.0), None);
    assert_eq!(shares(&world, HASTE), "a100 b100 c100 p100 s25 u100 x25", "a burst does not");
    score(&mut world, "b", Some(1.0), None);
    for (standing, cap) in [(Standing::Admitted, 2500), (Standing::Provisional, 1)] {
        world.stand("u", standing);
        world.policy.cases.cap = cap;
        let everybody = "a100 b100 c100 p25 s25 u25 x100";
        assert_eq!(shares(&world, HASTE), everybody, "nobody waits: a recovery goes on, {standing:?}");
    }
    (world.policy.cases.cap, world.policy.pool) = (2500, Pool::Anchors);
    world.stand("u", Standing::Unknown);
    assert!(shares(&world, HASTE).contains("x100"), "the rule of earlier versions");
}

#[test]
fn a_reference_in_a_burst_is_given_others_to_be_compared_with() {
    let mut world = World::new(&["a", "b", "c", "ref"], &[("tool-use", 200)]);
    ["a", "b", "c", "ref"].iter().for_each(|id| world.stand(id, Standing::Admitted));
    world.sync(Some("ref"));
    assert_eq!(cases(&world, &["ref"], 200, LATER).into_values().collect::<Vec<_>>(), [25; 4]);
    score(&mut world, "ref", Some(31.0), None);
    assert_eq!(cases(&world, &["ref"], 200, LATER).into_values().collect::<Vec<_>>(), [100; 4]);
    score(&mut world, "ref", Some(1.0), None);
    world.stand("a", Standing::Unknown);
    let shares = cases(&world, &["ref"], 200, LATER).into_values().collect::<Vec<_>>();
    assert_eq!(shares, [100, 25, 25, 100], "the others need the reference alone");
}

#[test]
fn an_excluded_endpoint_that_recovers_is_asked_more_in_every_sweep() {
    let mut world = World::new(&["x", "y"], &[("tool-use", 200)]);
    world.stand("x", Standing::Excluded);
    score(&mut world, "x", None, Some(3.9));
    assert_eq!(cases(&world, &[], 200, LATER).get("x"), None);
    score(&mut world, "x", None, Some(4.1));
    assert_eq!(cases(&world, &[], 200, LATER)["x"], 100);
}

#[test]
fn evidence_against_an_admitted_endpoint_bursts_while_tokens_last() {
    let mut world = World::new(&["x", "y"], &[("tool-use", 200)]);
    world.stand("x", Standing::Admitted);
    world.stand("y", Standing::Admitted);
    score(&mut world, "x", Some(29.0), None);
    assert_eq!(cases(&world, &[], 200, LATER)["x"], 25);
    score(&mut world, "x", Some(31.0), None);
    assert_eq!(cases(&world, &[], 200, LATER)["x"], 100);
    let id = endpoint("x");
    let state = world.state.endpoints.get_mut(&id).unwrap();
    state.tokens_spent = 2000.0;
    state.tokens_at_us = START_US;
    assert_eq!(cases(&world, &[], 200, LATER)["x"], 25, "the bucket is empty");
    let state = &world.state.endpoints[&id];
    assert_eq!(tokens_left(state, &world.policy, START_US - DAY_US), 0.0, "a clock that went back refills nothing");
    assert!((tokens_left(state, &world.policy, START_US + 7 * DAY_US / 2) - 1000.0).abs() < 1e-6);
    assert_eq!(tokens_left(state, &world.policy, START_US + 30 * DAY_US), 2000.0, "full is full");
    let next = Occasion { now_us: START_US + HOUR_US, ..LATER };
    assert_eq!(cases(&world, &[], 200, next)["x"], 100, "a burst is allowed while the bucket is positive");
}

#[test]
fn a_sweep_under_suspicion_takes_its_whole_budget_from_the_bucket() {
    let mut world = World::new(&["x", "y"], &[("tool-use", 200)]);
    world.stand("x", Standing::Admitted);
    world.stand("y", Standing::Admitted);
    score(&mut world, "x", Some(50.0), None);
    world.sweep(|_, _| PASS);
    let spent = |world: &World, id: &str| world.state.endpoints[&endpoint(id)].tokens_spent;
    assert_eq!((spent(&world, "x"), spent(&world, "y")), (100.0, 0.0));
}

#[test]
fn overrides_go_before_standings() {
    let mut world = World::new(&["x", "y"], &[("tool-use", 200)]);
    world.state.endpoints.get_mut(&endpoint("x")).unwrap().override_ = Some(Override::Banned);
    world.state.endpoints.get_mut(&endpoint("y")).unwrap().override_ = Some(Override::Pinned);
    let shares = cases(&world, &[], 200, FIRST);
    assert_eq!((shares.get("x"), shares["y"]), (None, 25));
    assert_eq!(participants(&world.state, &world.policy, &world.endpoints, FIRST), [endpoint("y")]);
}

#[test]
fn participants_keep_the_order_of_the_configuration() {
    let mut world = World::new(&["z", "a", "m"], &[("tool-use", 200)]);
    world.stand("a", Standing::Excluded);
    assert_eq!(participants(&world.state, &world.policy, &world.endpoints, LATER), ["z", "m"].map(endpoint));
    assert_eq!(participants(&world.state, &world.policy, &world.endpoints, FIRST), ["z", "a", "m"].map(endpoint));
}
