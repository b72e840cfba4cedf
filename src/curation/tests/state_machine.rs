//! Every transition of statistics 7.3, as a sentence.

use std::collections::BTreeMap;

use super::world::*;
use crate::curation::{Folded, NewDecision, operate, read, sync_endpoints, sync_suites};
use crate::domain::policy::SuitePolicy;
use crate::domain::{DecisionKind, Order, Outcome, Standing, Verb};

fn of<'a>(folded: &'a Folded, id: &str) -> &'a NewDecision {
    folded.decisions.iter().find(|d| d.endpoint.as_str() == id).expect("a decision about the endpoint")
}

fn rule(decision: &NewDecision) -> &str {
    decision.evidence["rule"].as_str().expect("a rule")
}

fn four() -> World {
    World::new(&["a", "b", "c", "d"], &[("tool-use", 200)])
}

/// Four endpoints that have been Admitted.
fn four_admitted() -> World {
    let mut world = four();
    ["a", "b", "c", "d"].iter().for_each(|id| world.stand(id, Standing::Admitted));
    world
}

#[test]
fn t14_a_new_endpoint_is_unknown_and_enters_once() {
    let world = four();
    let (same, decisions) = sync_endpoints(&world.state, &world.endpoints, None, START_US + 5);
    assert_eq!((same, decisions.len()), (world.state.clone(), 0));
    let mut more = world.endpoints.clone();
    more.push(endpoint("e"));
    let (state, decisions) = sync_endpoints(&world.state, &more, None, START_US + 5);
    assert_eq!(decisions.len(), 1);
    assert_eq!((decisions[0].kind, decisions[0].to), (DecisionKind::Entered, Standing::Unknown));
    assert_eq!(state.endpoints[&endpoint("e")].standing, Standing::Unknown);
}

#[test]
fn an_endpoint_that_leaves_keeps_its_state_and_comes_back_with_it() {
    let mut world = four_admitted();
    world.stand("d", Standing::Excluded);
    let fewer = &world.endpoints[..3];
    let (state, decisions) = sync_endpoints(&world.state, fewer, None, START_US);
    assert_eq!((decisions.len(), decisions[0].kind), (1, DecisionKind::Left));
    assert!(!state.endpoints[&endpoint("d")].configured);
    let (state, decisions) = sync_endpoints(&state, &world.endpoints, None, START_US);
    assert_eq!((decisions.len(), state.endpoints[&endpoint("d")].standing), (1, Standing::Excluded));
}

#[test]
fn t1_an_unknown_endpoint_that_fails_is_excluded_and_its_evidence_forgotten() {
    let mut world = four();
    let folded = world.sweep_until(20, fails("d", 0.3), |w, _| w.standing("d") == Standing::Excluded);
    let decision = of(&folded, "d");
    assert_eq!((rule(decision), decision.from, decision.to), ("T1", Standing::Unknown, Standing::Excluded));
    assert_eq!(decision.suite, Some(suite("tool-use")));
    let state = &world.state.endpoints[&endpoint("d")];
    let evidence = &state.suites[&suite("tool-use")];
    assert_eq!((evidence.cases, evidence.log_e_ex(&world.policy), evidence.log_r_ad()), (0, 0.0, f64::NEG_INFINITY));
    assert!(evidence.ranking.count > 0.0, "the ranking survives a reset");
    assert_eq!(state.last_reason, decision.reason);
}

#[test]
fn t2_a_good_endpoint_is_admitted() {
    let mut world = four();
    let folded = world.sweep_until(10, |_, _| PASS, |w, _| w.standing("a") == Standing::Admitted);
    let decision = of(&folded, "a");
    assert_eq!((rule(decision), decision.from), ("T2", Standing::Unknown));
    assert!(world.state.endpoints[&endpoint("a")].ever_admitted);
    assert!(decision.evidence["log_value"].as_f64().unwrap() >= 100f64.ln());
}

#[test]
fn t3_t4_the_cap_makes_provisional_and_the_tests_go_on_to_admission() {
    let mut world = four();
    world.policy.cases.cap = 200;
    world.sweep_until(4, |_, _| PASS, |w, _| w.standing("a") == Standing::Provisional);
    assert!(world.state.endpoints[&endpoint("a")].suites[&suite("tool-use")].cases >= 200, "T3 does not reset");
    let folded = world.sweep_until(30, |_, _| PASS, |w, _| w.standing("a") == Standing::Admitted);
    assert_eq!(rule(of(&folded, "a")), "T4");
}

#[test]
fn t5_a_provisional_endpoint_is_excluded_by_the_first_test_or_by_the_detector() {
    let mut world = four();
    world.stand("d", Standing::Provisional);
    let folded = world.sweep_until(20, fails("d", 0.3), |w, _| w.standing("d") == Standing::Excluded);
    assert_eq!(rule(of(&folded, "d")), "T5");

    // After a long good run the e-process is far below 1: only the detector, which starts afresh, sees the fall.
    let mut world = four();
    world.policy.alpha = 1e-9; // keeps the first decision away
    world.policy.cases.cap = 500;
    world.policy.exclude_after_sweeps = 200.0;
    world.sweep_until(60, |_, _| PASS, |w, _| w.standing("d") == Standing::Provisional);
    let folded = world.sweep_until(60, fails("d", 0.2), |w, _| w.standing("d") == Standing::Excluded);
    let decision = of(&folded, "d");
    assert_eq!((rule(decision), decision.evidence["statistic"].as_str()), ("T5", Some("detector_score")));
}

#[test]
fn t6_t7_suspicion_comes_and_goes_without_forgetting() {
    let mut world = four_admitted();
    world.policy.suspect_at = 40.0; // an equal endpoint settles near 10 at 25 cases a sweep
    let folded = world.sweep_until(60, fails("d", 0.12), |w, _| w.standing("d") == Standing::Suspect);
    assert_eq!(rule(of(&folded, "d")), "T6");
    let batches = world.state.endpoints[&endpoint("d")].suites[&suite("tool-use")].batches;
    assert!(batches > 0, "T6 does not reset");
    let folded = world.sweep_until(200, |_, _| PASS, |w, _| w.standing("d") == Standing::Admitted);
    assert_eq!(rule(of(&folded, "d")), "T7");
    assert!(world.state.endpoints[&endpoint("d")].suites[&suite("tool-use")].batches > batches, "nor does T7");
}

#[test]
fn t8_an_admitted_endpoint_that_breaks_becomes_suspect_then_excluded() {
    let mut world = four_admitted();
    let mut path = Vec::new();
    world.sweep_until(60, fails("d", 0.2), |w, folded| {
        path.extend(folded.decisions.iter().map(|d| (d.from, d.to)));
        w.standing("d") == Standing::Excluded
    });
    assert_eq!(path.last().unwrap().1, Standing::Excluded);
    assert!(path.iter().all(|(from, _)| matches!(from, Standing::Admitted | Standing::Suspect)));
    assert!(["a", "b", "c"].iter().all(|id| world.standing(id) == Standing::Admitted));
}

#[test]
fn t9_a_repaired_endpoint_is_admitted_again() {
    let mut world = four_admitted();
    world.stand("d", Standing::Excluded);
    let folded = world.sweep_until(60, |_, _| PASS, |w, _| w.standing("d") == Standing::Admitted);
    assert_eq!(rule(of(&folded, "d")), "T9");
    let days = (world.now_us - START_US) / DAY_US;
    assert!((1..=9).contains(&days), "{days} days");
}

#[test]
fn t10_an_endpoint_that_does_not_answer_times_out_of_the_list_whatever_its_quality() {
    let times_out = |ask: &Ask<'_>, dice: &mut Dice| {
        if ask.endpoint == "d" && dice.unit() < 0.3 { Outcome::Missing } else { PASS }
    };
    let mut world = four_admitted();
    let folded = world.sweep_until(60, times_out, |w, _| w.standing("d") == Standing::Excluded);
    let decision = of(&folded, "d");
    assert_eq!((rule(decision), decision.suite.as_ref()), ("T10", None));
    assert!(decision.reason.contains("times out"), "{}", decision.reason);
    assert_eq!(decision.evidence["suites"]["tool-use"]["log_e_exclude"].as_f64().map(|e| e < 0.0), Some(true));

    let mut world = four();
    let folded = world.sweep_until(20, times_out, |w, _| w.standing("d") == Standing::Excluded);
    assert_eq!(of(&folded, "d").evidence["statistic"], "e_value");
}

#[test]
fn t12_an_operator_asks_for_an_early_return() {
    let mut world = four_admitted();
    world.stand("d", Standing::Excluded);
    let order = Order::new(Verb::Reset, Some(endpoint("d")), "ann", "fixed upstream").unwrap();
    let (state, decisions) = operate(&world.state, &order, START_US).unwrap();
    let decision = &decisions[0];
    assert_eq!(state.endpoints[&endpoint("d")].standing, Standing::Unknown);
    assert_eq!((decision.kind, decision.to), (DecisionKind::Operator, Standing::Unknown));
    assert!(decision.reason.contains("fixed upstream") && decision.reason.contains("ann"));
}

#[test]
fn t13_a_changed_suite_makes_listed_endpoints_provisional_and_the_rest_unknown() {
    let mut world = World::new(&["a", "b", "c", "d", "e"], &[("tool-use", 200)]);
    for (id, standing) in [
        ("a", Standing::Admitted),
        ("b", Standing::Suspect),
        ("c", Standing::Provisional),
        ("d", Standing::Excluded),
        ("e", Standing::Unknown),
    ] {
        world.stand(id, standing);
    }
    world.sweep(|_, _| PASS);
    let changed = BTreeMap::from([(suite("tool-use"), digest("other"))]);
    let (state, decisions) = sync_suites(&world.state, &changed, START_US);
    let standings: Vec<Standing> = state.endpoints.values().map(|e| e.standing).collect();
    use Standing::{Provisional, Unknown};
    assert_eq!(standings, [Provisional, Provisional, Provisional, Unknown, Unknown]);
    assert!(decisions.iter().all(|d| d.kind == DecisionKind::VersionChange) && decisions.len() == 5);
    assert!(state.endpoints.values().all(|e| e.suites[&suite("tool-use")].cases == 0));
    let kept: Vec<bool> = state.endpoints.values().map(|e| e.listed_through_change).collect();
    assert_eq!(kept, [true, true, false, false, false]);
    let (again, decisions) = sync_suites(&state, &changed, START_US);
    assert_eq!((again, decisions.len()), (state, 0));
}

#[test]
fn a_suite_that_joins_only_adds_a_condition_and_one_that_leaves_takes_its_evidence() {
    let mut world = four_admitted();
    world.sweep(|_, _| PASS);
    let two = BTreeMap::from([(suite("tool-use"), digest("tool-use")), (suite("more"), digest("more"))]);
    let (state, decisions) = sync_suites(&world.state, &two, START_US);
    assert!(decisions.is_empty() && state.endpoints == world.state.endpoints);
    let one = BTreeMap::from([(suite("more"), digest("more"))]);
    let (state, decisions) = sync_suites(&state, &one, START_US);
    assert!(decisions.is_empty() && state.endpoints.values().all(|e| e.suites.is_empty()));
}

#[test]
fn a_suite_that_changed_between_plan_and_end_is_a_version_change_at_the_fold() {
    let mut world = four_admitted();
    world.sweep(|_, _| PASS);
    world.suites.insert(suite("tool-use"), (digest("other"), 200));
    let folded = world.sweep(|_, _| PASS);
    assert_eq!(of(&folded, "a").kind, DecisionKind::VersionChange);
    assert_eq!(world.standing("a"), Standing::Provisional);
    assert_eq!(world.state.endpoints[&endpoint("a")].suites[&suite("tool-use")].batches, 1);
}

#[test]
fn other_margins_restart_the_evidence_that_was_gathered_under_the_old_ones() {
    let mut world = four();
    world.sweep(|_, _| PASS);
    world.policy.margin = 0.05;
    let folded = world.sweep(|_, _| PASS);
    assert!(of(&folded, "a").reason.contains("policy change"), "{}", of(&folded, "a").reason);
    let evidence = &world.state.endpoints[&endpoint("a")].suites[&suite("tool-use")];
    assert_eq!((evidence.batches, evidence.delta), (1, 0.05));
    let folded = world.sweep(|_, _| PASS);
    assert!(folded.decisions.iter().all(|d| d.kind == DecisionKind::Transition), "told once");
}

#[test]
fn a_failure_in_one_suite_cannot_hide_behind_the_others() {
    let mut world = World::new(&["a", "b", "c", "d"], &[("one", 150), ("three", 150), ("two", 150)]);
    let answer =
        |ask: &Ask<'_>, dice: &mut Dice| scored(ask.endpoint != "d" || ask.suite != "two" || dice.unit() >= 0.15);
    let folded = world.sweep_until(40, answer, |w, _| w.standing("d") != Standing::Unknown);
    let decision = of(&folded, "d");
    assert_eq!((decision.to, decision.suite.as_ref()), (Standing::Excluded, Some(&suite("two"))));
}

#[test]
fn several_suites_speak_against_an_endpoint_by_the_weighted_mean_of_their_scores() {
    let mut world = World::new(&["a", "b", "c", "d"], &[("one", 100), ("two", 100)]);
    world.decide_nothing();
    world.sweep(fails("d", 0.3));
    let alone = |world: &World, name: &str| {
        let evidence = &world.state.endpoints[&endpoint("d")].suites[&suite(name)];
        (evidence.log_e_ex(&world.policy).exp(), evidence.log_e_ad(&world.policy))
    };
    let together = |world: &World| read(&world.state, &world.policy, &world.state.endpoints[&endpoint("d")]);
    let (one, two) = (alone(&world, "one"), alone(&world, "two"));
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
    assert!(close(together(&world).log_e_ex.exp(), (one.0 + two.0) / 2.0));
    assert_eq!(together(&world).log_e_ad, one.1.min(two.1));
    world.policy.suites.insert(suite("one"), SuitePolicy { weight: Some(3.0), ..SuitePolicy::default() });
    assert!(close(together(&world).log_e_ex.exp(), (3.0 * one.0 + two.0) / 4.0));
}

#[test]
fn admission_needs_every_suite_of_the_model_also_those_not_asked() {
    let mut world = World::new(&["a", "b", "c"], &[("one", 200), ("two", 200)]);
    let second = world.suites.remove(&suite("two")).unwrap();
    for _ in 0..20 {
        world.sweep(|_, _| PASS);
    }
    assert_eq!(world.standing("a"), Standing::Unknown);
    world.suites.insert(suite("two"), second);
    world.sweep_until(12, |_, _| PASS, |w, _| w.standing("a") == Standing::Admitted);
}

#[test]
fn exclusion_wins_when_both_directions_hold() {
    // Perfect for long, then broken: with thresholds this low both detectors hold at the same sweep end.
    let mut world = four();
    world.stand("d", Standing::Provisional);
    world.policy.alpha = 0.49;
    world.policy.exclude_after_sweeps = 1.01;
    world.policy.suspect_at = 1.001;
    world.policy.burst_at = 1.001;
    let folded = world.sweep(|ask, _| scored(ask.endpoint != "d" || ask.case % 3 != 0));
    assert_eq!(of(&folded, "d").to, Standing::Excluded);
    assert_eq!(folded.decisions.iter().filter(|d| d.endpoint.as_str() == "d").count(), 1);
}

#[test]
fn a_lonely_endpoint_stays_unknown_then_provisional_without_a_peer_to_compare_with() {
    let mut world = World::new(&["a"], &[("tool-use", 200)]);
    world.policy.cases.cap = 300;
    world.sweep(|_, _| PASS);
    assert_eq!(world.standing("a"), Standing::Unknown);
    let folded = world.sweep_until(5, |_, _| PASS, |w, _| w.standing("a") == Standing::Provisional);
    assert!(of(&folded, "a").reason.contains("no peer to compare with"));
}

#[test]
fn missing_counts_as_a_failure_for_admission_and_as_nothing_for_exclusion() {
    let mut answered = four();
    let mut lost = four();
    let mut skipped = four();
    for world in [&mut answered, &mut lost, &mut skipped] {
        world.stand("a", Standing::Unknown); // past the cold start
    }
    answered.sweep(|ask, _| scored(!(ask.endpoint == "d" && ask.case < 20)));
    lost.sweep(|ask, _| if ask.endpoint == "d" && ask.case < 20 { Outcome::Missing } else { PASS });
    skipped.sweep(
        |ask, _| {
            if ask.endpoint == "d" && ask.case < 20 { Outcome::Skipped { provenance: false } } else { PASS }
        },
    );
    let log = |world: &World| {
        let evidence = &world.state.endpoints[&endpoint("d")].suites[&suite("tool-use")];
        (
            evidence.log_e_ex(&world.policy),
            evidence.log_e_ad(&world.policy),
            world.state.endpoints[&endpoint("d")].usable.asked,
        )
    };
    let ((fail_ex, fail_ad, fail_asked), (lost_ex, lost_ad, lost_asked)) = (log(&answered), log(&lost));
    let (skip_ex, skip_ad, skip_asked) = log(&skipped);
    assert!(fail_ex > 0.0 && lost_ex < 0.0);
    assert_eq!(lost_ex, skip_ex, "missing adds nothing to exclusion");
    assert_eq!(fail_ad, lost_ad, "missing is a failure for admission");
    assert!(skip_ad > 0.0 && lost_ad < skip_ad);
    assert_eq!(fail_asked, lost_asked);
    assert!(skip_asked < lost_asked, "skipped is not counted as usable or not");
}

#[test]
fn a_score_that_is_no_score_is_skipped() {
    for bad in [f64::NAN, -0.5, 1.5, f64::INFINITY] {
        let mut world = four();
        world.stand("a", Standing::Unknown);
        world.sweep(|ask, _| if ask.endpoint == "d" { Outcome::Scored(bad) } else { PASS });
        let state = &world.state.endpoints[&endpoint("d")];
        assert_eq!((state.usable.asked, state.suites[&suite("tool-use")].cases), (0, 0));
        assert!(state.suites[&suite("tool-use")].log_e_ad(&world.policy) == 0.0);
    }
}

#[test]
fn graded_scores_are_evidence_by_their_size() {
    let mut world = four();
    world.policy.graded = true;
    let mild = |ask: &Ask<'_>, _: &mut Dice| if ask.endpoint == "d" { Outcome::Scored(0.8) } else { PASS };
    let folded = world.sweep_until(20, mild, |w, _| w.standing("d") == Standing::Excluded);
    let histogram = &of(&folded, "d").evidence["suites"]["tool-use"]["histogram"];
    assert_eq!(histogram.as_array().unwrap().len(), 1);
    assert!((histogram[0][0].as_f64().unwrap() - 0.2).abs() < 1e-9);
}

#[test]
fn repeats_of_a_full_sweep_are_compared_repeat_by_repeat() {
    let mut world = four_admitted();
    let mut plan = world.plan();
    let all = plan.suites[0].cases.len() as u32;
    plan.suites[0].epochs = 2;
    plan.suites[0].endpoints.iter_mut().for_each(|e| e.cases = all);
    // Only the second repeat fails, for everybody: nobody is worse than anybody.
    let first = world.rows(&plan, |_, _| PASS);
    let second = first.iter().cloned().map(|mut row| {
        row.epoch = 1;
        row.outcome = FAIL;
        row
    });
    let rows: Vec<_> = first.iter().cloned().chain(second).collect();
    world.fold(&plan, &rows);
    let evidence = &world.state.endpoints[&endpoint("d")].suites[&suite("tool-use")];
    assert_eq!(evidence.histogram, BTreeMap::from([(0, 2 * u64::from(all))]));
    assert_eq!(evidence.cases, 2 * u64::from(all));
}

#[test]
fn a_sweep_without_evidence_moves_the_ranking_only() {
    let mut world = four();
    let mut plan = world.plan();
    plan.gives_evidence = false;
    let rows = world.rows(&plan, fails("d", 1.0));
    let folded = world.fold(&plan, &rows);
    assert!(folded.decisions.is_empty());
    assert_eq!(world.state.sweeps_folded, 0);
    let evidence = &world.state.endpoints[&endpoint("d")].suites[&suite("tool-use")];
    assert_eq!((evidence.cases, evidence.batches, evidence.log_e_ex(&world.policy)), (0, 0, 0.0));
    assert!(world.state.ranking(&world.policy, &endpoint("d")) < 0.2);
}

#[test]
fn an_endpoint_that_took_no_part_is_not_touched() {
    let mut world = four_admitted();
    world.stand("d", Standing::Excluded);
    world.sweep(|_, _| PASS); // the first of the day: d takes part
    let before = world.state.endpoints[&endpoint("d")].clone();
    assert_eq!(before.suites[&suite("tool-use")].batches, 1);
    world.sweep(|_, _| PASS); // 18:00 of the same day
    assert_eq!(world.state.endpoints[&endpoint("d")], before);
}
