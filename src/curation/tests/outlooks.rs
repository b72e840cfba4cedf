//! How far a change is away: the number told does suffice, and one case less does not.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::*;
use crate::curation::forecast::{FAILING_TYPICAL, Tags, asked, course, settled, total};
use crate::curation::watch::Found;
use crate::curation::{
    Further, Goal, Scene, cases_until, days_text, explain, fold_sweep, outlook, read, reading_after,
};
use crate::domain::{Outcome, Standing, SuiteName};

fn sizes(world: &World) -> BTreeMap<SuiteName, u32> {
    world.suites.iter().map(|(name, (_, size))| (name.clone(), *size)).collect()
}

fn scene<'a>(world: &'a World, sizes: &'a BTreeMap<SuiteName, u32>) -> Scene<'a> {
    Scene {
        tagged: None,
        state: &world.state,
        policy: &world.policy,
        order: &world.endpoints,
        sizes,
        now_us: world.now_us,
        sweeps_per_year: Some(PER_YEAR),
    }
}

/// Three endpoints, of which "x" fails some cases of some sweeps.
fn measured(sweeps: usize, failing: f64) -> World {
    let mut world = World::new(&["a", "b", "x"], &[("one", 300), ("two", 300)]);
    for _ in 0..sweeps {
        world.sweep(fails("x", failing));
    }
    world
}

/// Folds a sweep in which "x" is asked so many cases of each suite and all answer alike.
fn after_clean(world: &mut World, cases: u32) -> Vec<Standing> {
    let mut plan = world.plan();
    let mut rows = Vec::new();
    for part in &mut plan.suites {
        part.cases = (0..cases as usize).map(case).collect();
        part.endpoints.iter_mut().for_each(|e| e.cases = cases);
    }
    rows.extend(world.rows(&plan, |_, _| Outcome::Scored(1.0)));
    let record = crate::curation::SweepRecord {
        plan: &plan,
        rows: &rows,
        ended_at_us: world.now_us,
        sweeps_per_year: Some(PER_YEAR),
    };
    let folded = fold_sweep(&world.state, &world.policy, &record);
    folded.state.endpoints.values().map(|e| e.standing).collect()
}

#[test]
fn so_many_clean_cases_do_admit_and_one_less_does_not() {
    let world = measured(4, 0.01);
    let sizes = sizes(&world);
    let needed = cases_until(&scene(&world, &sizes), &endpoint("x"), Further::Clean, Goal::Admit).unwrap();
    assert!((100..2000).contains(&needed), "{needed}");
    let needed = u32::try_from(needed).unwrap();
    let standing_after = |cases: u32| after_clean(&mut world.clone(), cases)[2];
    assert_eq!(standing_after(needed - 1), Standing::Unknown);
    assert_eq!(standing_after(needed), Standing::Admitted);
}

#[test]
fn an_excluded_endpoint_is_readmitted_in_the_sweeps_told() {
    let mut world = measured(2, 0.0);
    world.stand("a", Standing::Admitted);
    world.stand("b", Standing::Admitted);
    world.stand("x", Standing::Excluded);
    let sizes_ = sizes(&world);
    let told = outlook(&scene(&world, &sizes_), &endpoint("x"), Further::Clean, Goal::Readmit).unwrap();
    let (sweeps, days) = (told.sweeps.unwrap(), told.days.unwrap());
    assert!((days - sweeps as f64 / 4.0).abs() < 0.01, "four a day: {told:?}");
    let mut done = 0u64;
    while world.standing("x") == Standing::Excluded {
        world.sweep(|_, _| PASS);
        done += 1;
        assert!(done < 400);
    }
    // The day may begin anew between the sweeps.
    assert!(done.abs_diff(sweeps) <= 4, "{done} {told:?}");
}

#[test]
fn without_comparisons_nothing_is_told_of_the_gap_so_far() {
    let world = measured(0, 0.0);
    let sizes = sizes(&world);
    let scene = scene(&world, &sizes);
    assert_eq!(outlook(&scene, &endpoint("x"), Further::AsSoFar, Goal::Admit), None);
    assert!(outlook(&scene, &endpoint("x"), Further::Clean, Goal::Admit).unwrap().cases.is_some());
    assert!(explain(&scene, &endpoint("nobody")).is_none());
}

#[test]
fn a_bad_endpoint_goes_at_the_gap_it_has_shown_and_a_good_one_does_not() {
    let mut world = World::new(&["a", "b", "x"], &[("one", 300), ("two", 300)]);
    // So that nobody is decided yet.
    world.policy.alpha = 1e-9;
    (0..3).for_each(|_| drop(world.sweep(fails("x", 0.05))));
    let sizes = sizes(&world);
    let scene = scene(&world, &sizes);
    let told = |id: &str, goal| outlook(&scene, &endpoint(id), Further::AsSoFar, goal).unwrap().cases;
    assert!(told("x", Goal::ExcludeFirst).is_some());
    assert_eq!(told("x", Goal::Admit), None);
    assert_eq!(told("a", Goal::ExcludeFirst), None);
    assert!(told("a", Goal::Admit).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_further_clean_case_brings_admission_nearer_and_a_lost_one_exclusion(
        sweeps in 2usize..5, failing in 0.0..0.04f64, seed in 0u64..1000, cases in 1u64..500,
    ) {
        let mut world = World::new(&["a", "b", "x"], &[("one", 300), ("two", 300)]);
        world.dice = Dice(seed);
        for _ in 0..sweeps {
            world.sweep(fails("x", failing));
        }
        let sizes = sizes(&world);
        let scene = scene(&world, &sizes);
        let id = endpoint("x");
        prop_assume!(world.standing("x") == Standing::Unknown);
        let now = read(&world.state, &world.policy, &world.state.endpoints[&id]);
        let clean = |n| reading_after(&scene, &id, Further::Clean, n).unwrap();
        let lost = |n| reading_after(&scene, &id, Further::Lost, n).unwrap();
        prop_assert!(clean(cases + 1).log_e_ad > clean(cases).log_e_ad && clean(cases).log_e_ad > now.log_e_ad);
        prop_assert!(lost(cases + 1).log_e_ex > lost(cases).log_e_ex && lost(cases).log_e_ex > now.log_e_ex);
        for (further, goal) in [(Further::Clean, Goal::Admit), (Further::Lost, Goal::ExcludeFirst)] {
            let needed = cases_until(&scene, &id, further, goal).unwrap();
            let at = |n| goal.reached(&reading_after(&scene, &id, further, n).unwrap(), &world.policy);
            prop_assert!(at(needed) && at(needed + cases) && (needed == 1 || !at(needed - 1)), "{}", needed);
        }
    }
}

#[test]
fn a_new_model_is_forecast_to_be_decided_before_the_cap_ends_its_effort() {
    let world = World::new(&["a", "b", "c"], &[("one", 300), ("two", 300)]);
    let sizes = sizes(&world);
    let scene = scene(&world, &sizes);
    // A first sweep is small: it tells who is good, and admits nobody.
    assert_eq!(asked(&scene, 0).requests(), 3 * 2 * 25);
    let none = Tags::new();
    let usual = course(&scene, &none, FAILING_TYPICAL);
    let sweeps = usual.own.decided_after.unwrap();
    assert!((5..25).contains(&sweeps), "{sweeps}");
    assert_eq!(total(&usual.cases_of(sweeps)), 150 + (sweeps - 1) * 600, "every later sweep asks all of them for more");
    assert!(usual.state.endpoints.values().all(|e| e.standing == Standing::Admitted));
    // Fewer failures make it shorter; very many, and it is not decided until the cap.
    assert!(course(&scene, &none, 0.0).own.decided_after.unwrap() < sweeps);
    let noisy = course(&scene, &none, 0.15).own;
    assert_eq!((noisy.none_unknown_after, noisy.decided_after.is_none_or(|n| n >= 26)), (Some(26), true));
}

#[test]
fn times_are_rounded_up_to_what_people_say() {
    let told: Vec<String> = [0.01, 0.2502, 1.0, 2.002, 2.3, 9.8, 40.2].into_iter().map(days_text).collect();
    assert_eq!(told, ["1 hour", "6 hours", "24 hours", "2 days", "2.5 days", "10 days", "41 days"]);
}

#[test]
fn alone_nothing_is_ever_decided() {
    let world = World::new(&["a"], &[("one", 300)]);
    let sizes = sizes(&world);
    let told = course(&scene(&world, &sizes), &Tags::new(), FAILING_TYPICAL).own;
    assert_eq!((told.decided_after, told.none_unknown_after), (None, None));
    assert!(explain(&scene(&world, &sizes), &endpoint("a")).unwrap().change.contains("no peer to compare with"));
}

#[test]
fn what_people_read_of_an_undecided_and_of_an_admitted_endpoint() {
    let mut world = measured(3, 0.02);
    world.stand("a", Standing::Admitted);
    let sizes = sizes(&world);
    let scene = scene(&world, &sizes);
    let text = |id: &str| explain(&scene, &endpoint(id)).unwrap().text();
    insta::assert_snapshot!(format!("{}\n\n{}", text("x"), text("a")));
}

#[test]
fn a_rare_tag_is_reached_by_the_cases_of_many_sweeps() {
    let mut world = World::new(&["a", "b", "x"], &[("one", 200)]);
    world.policy.alpha = 0.2;
    world.policy.margin = 0.4;
    world.policy.cases.unknown = 25;
    let sizes = sizes(&world);
    let tagged = BTreeMap::from([(suite("one"), 3)]);
    // Of 25 of 200 cases 0.375 carry the tag: never half of one.
    let rare = Scene { tagged: Some(&tagged), ..scene(&world, &sizes) };
    let told = outlook(&rare, &endpoint("x"), Further::Clean, Goal::Admit).unwrap();
    let (cases, sweeps) = (told.cases.unwrap(), told.sweeps.unwrap());
    let whole = (cases as f64 / 0.375).ceil() as u64;
    // The first sweep of a model is no evidence for admission.
    assert!((whole..=whole + 4).contains(&sweeps), "{told:?}");
}

#[test]
fn a_month_is_not_reckoned_by_the_one_larger_sweep_that_a_finding_asks_for() {
    let mut world = measured(1, 0.0);
    let watch = &mut world.state.endpoints.get_mut(&endpoint("x")).unwrap().watch;
    watch.linked.found = Some(Found { log_r: 9.0, quiet: 0 });
    watch.prints.cases_left = 500;
    assert!(watch.asks_for_more());
    let sizes = sizes(&world);
    assert!(!settled(&scene(&world, &sizes)).endpoints[&endpoint("x")].watch.asks_for_more());
}
