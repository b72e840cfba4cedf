//! Sentences and numbers (statistics, 10 and 11).

use super::world::*;
use crate::curation::{NewDecision, explain_now, guarantees};
use crate::domain::{Policy, Standing};

/// Folds one sweep in which the reference and "x" disagree as the counts say, and gives the decision about "x".
fn disagree(plus: usize, minus: usize, total: usize, standing: Standing) -> (World, NewDecision) {
    let mut world = World::new(&["ref", "x"], &[("tool-use", total as u32)]);
    world.sync(Some("ref"));
    world.stand("x", standing);
    world.state.endpoints.get_mut(&endpoint("x")).unwrap().standing = standing;
    let mut plan = world.plan();
    plan.suites[0].endpoints.iter_mut().for_each(|e| e.cases = total as u32);
    let rows = world.rows(&plan, |ask, _| match (ask.endpoint, ask.case) {
        ("ref", c) => scored(!(plus..plus + minus).contains(&c)),
        (_, c) => scored(c >= plus),
    });
    let folded = world.fold(&plan, &rows);
    let decision = folded.decisions.into_iter().find(|d| d.endpoint.as_str() == "x").expect("a decision about x");
    (world, decision)
}

#[test]
fn the_sentence_of_a_later_exclusion_carries_the_check_values() {
    // 85 against 19 discordant of 1000: E = 13809, gap [3.573, 9.943].
    let (world, decision) = disagree(85, 19, 1000, Standing::Admitted);
    assert_eq!(decision.to, Standing::Excluded);
    let log_value = decision.evidence["log_value"].as_f64().unwrap();
    assert!((log_value - 9.533_081_944_492_988).abs() < 1e-9, "{log_value}");
    let text = &decision.reason;
    assert!(text.starts_with("excluded: tool-use success 91.5% ["), "{text}");
    for part in [
        "] vs anchors 98.1%, paired gap 6.6 pts [3.6, 9.9] > 2, evidence R=1.4e4 (threshold 7300), \
         n=1000 since 2026-01-31; false-exclusion guarantee <= 0.2 per provider-year",
        "suite tool-use, anchors ref of sweep 1, policy ",
    ] {
        assert!(text.contains(part), "{text}\nlacks {part}");
    }
    assert!(!text.contains("probability") && !text.contains("p-value"));
    assert_eq!(world.state.endpoints[&endpoint("x")].last_reason, *text);
    let gap = &decision.evidence["suites"]["tool-use"]["gap"]["interval"];
    assert!((gap["lo"].as_f64().unwrap() - 0.03573).abs() < 5e-6);
    assert!((gap["hi"].as_f64().unwrap() - 0.09943).abs() < 5e-6);
}

#[test]
fn the_sentence_of_a_first_exclusion_speaks_of_the_e_value() {
    let (_, decision) = disagree(85, 19, 1000, Standing::Unknown);
    assert!(decision.reason.contains("evidence E=2.5e4 (threshold 100)"), "{}", decision.reason);
    assert!(decision.reason.contains("wrong-exclusion guarantee <= 0.01 at the first decision"));
    assert_eq!(decision.evidence["rule"], "T1");
    // The weighted mixture of the bets, by a calculation apart.
    let log_value = decision.evidence["log_value"].as_f64().unwrap();
    assert!((log_value - 10.131_582_776_179_236).abs() < 1e-9, "{log_value}");
    assert_eq!(decision.evidence["suites"]["tool-use"]["log_e_exclude"].as_f64(), Some(log_value));
}

#[test]
fn evidence_below_the_threshold_is_told_as_it_is() {
    // 34 against 8 of 400: E = 22.73, gap [1.662, 12.010]; suspicious at 20, not excluded.
    let mut world = World::new(&["ref", "x"], &[("tool-use", 400)]);
    world.sync(Some("ref"));
    world.stand("x", Standing::Admitted);
    world.policy.suspect_at = 20.0;
    let mut plan = world.plan();
    plan.suites[0].endpoints.iter_mut().for_each(|e| e.cases = 400);
    let rows = world.rows(&plan, |ask, _| match (ask.endpoint, ask.case) {
        ("ref", c) => scored(!(34..42).contains(&c)),
        (_, c) => scored(c >= 34),
    });
    let folded = world.fold(&plan, &rows);
    let decision = folded.decisions.iter().find(|d| d.endpoint.as_str() == "x").unwrap();
    assert_eq!(decision.to, Standing::Suspect);
    assert!(decision.reason.contains("paired gap 6.5 pts [1.7, 12.0] > 2, evidence R=23 (threshold 20)"));
    assert!((decision.evidence["log_value"].as_f64().unwrap().exp() - 22.73).abs() < 0.005);
    let now = explain_now(&world.state, &world.policy, &endpoint("x")).unwrap();
    assert!(now.ends_with("now: detector score R=23, suspect at 20, excluded at 7300"), "{now}");
}

#[test]
fn an_admission_names_its_weakest_suite_and_its_own_margin() {
    let mut world = World::new(&["a", "b", "c"], &[("one", 150), ("two", 150)]);
    let answer = |ask: &Ask<'_>, dice: &mut Dice| scored(ask.suite != "two" || dice.unit() < 0.98);
    let folded = world.sweep_until(80, answer, |w, _| w.standing("a") == Standing::Admitted);
    let decision = folded.decisions.iter().find(|d| d.endpoint.as_str() == "a").unwrap();
    assert_eq!(decision.suite, Some(suite("two")));
    assert!(decision.reason.starts_with("admitted: two success 9"), "{}", decision.reason);
    assert!(decision.reason.contains("] < 1.76, evidence E="), "{}", decision.reason);
    assert!(decision.reason.contains("wrong-admission guarantee <= 0.01"), "{}", decision.reason);
}

#[test]
fn without_a_schedule_a_guarantee_is_stated_per_sweep() {
    let mut world = World::new(&["a", "b", "c", "d"], &[("tool-use", 200)]);
    ["a", "b", "c", "d"].iter().for_each(|id| world.stand(id, Standing::Admitted));
    for _ in 0..60 {
        let plan = world.plan();
        let rows = world.rows(&plan, fails("d", 0.3));
        let record =
            crate::curation::SweepRecord { plan: &plan, rows: &rows, ended_at_us: world.now_us, sweeps_per_year: None };
        let folded = crate::curation::fold_sweep(&world.state, &world.policy, &record);
        world.state = folded.state;
        if let Some(decision) = folded.decisions.iter().find(|d| d.to == Standing::Excluded) {
            assert!(decision.reason.contains("false-exclusion guarantee <= 1 in 7300 sweeps"), "{}", decision.reason);
            assert!(decision.evidence["guarantees"].is_null());
            return;
        }
    }
    panic!("never excluded");
}

#[test]
fn an_undecided_endpoint_tells_what_it_lacks() {
    let mut world = World::new(&["a", "b", "c"], &[("tool-use", 200)]);
    world.sweep(|_, _| PASS);
    world.sweep(|_, _| PASS);
    let text = explain_now(&world.state, &world.policy, &endpoint("a")).unwrap();
    assert!(text.starts_with("unknown: tool-use success 100.0% ["), "{text}");
    assert!(text.ends_with("either decides at 100; 125 of 2500 cases asked per suite"), "{text}");
    assert!(explain_now(&world.state, &world.policy, &endpoint("nobody")).is_none());
}

#[test]
fn the_guarantees_of_the_defaults() {
    let g = guarantees(&Policy::default(), 1460.0);
    assert_eq!(
        (g.first_wrong_exclusion_quality, g.first_wrong_exclusion_usable, g.first_wrong_admission),
        (0.01, 0.01, 0.01)
    );
    assert!((g.false_exclusions_per_year_quality - 0.2).abs() < 1e-12);
    assert!((g.false_exclusions_per_year - 0.4).abs() < 1e-12);
    assert!((g.false_readmissions_per_year - 1.0).abs() < 1e-12);
    assert!((g.cycles_per_year - 1.0).abs() < 1e-12);
}
