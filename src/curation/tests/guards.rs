//! Cold start, reference, common alarm, provenance.

use super::world::*;
use crate::curation::anchors::comparison;
use crate::curation::state::Ranking;
use crate::curation::{AlarmKind, Refused, SuiteEvidence, SweepRecord, anchors, fold_sweep, operate};
use crate::domain::policy::{Pool, SuitePolicy};
use crate::domain::{BudgetedEndpoint, DecisionKind, Order, Outcome, Standing, Verb};

fn admitted(ids: &[&str]) -> World {
    let mut world = World::new(ids, &[("tool-use", 200)]);
    ids.iter().for_each(|id| world.stand(id, Standing::Admitted));
    world
}

#[test]
fn the_first_sweep_of_a_model_speaks_for_nobody_but_may_speak_against() {
    let mut world = World::new(&["a", "b", "c", "d"], &[("tool-use", 200)]);
    let tenth = |ask: &Ask<'_>, _: &mut Dice| scored(ask.endpoint != "d" || !ask.case.is_multiple_of(10));
    world.sweep(tenth);
    let log_e = |world: &World, id: &str| {
        let evidence = &world.state.endpoints[&endpoint(id)].suites[&suite("tool-use")];
        (evidence.log_e_ex(&world.policy), evidence.log_e_ad(&world.policy))
    };
    assert_eq!(log_e(&world, "a").1, 0.0);
    assert!(log_e(&world, "d").0 > 0.0);
    world.sweep(tenth);
    assert!(log_e(&world, "a").1 > 0.0, "the second sweep has ranked anchors");
}

#[test]
fn a_sweep_that_nobody_answered_ranks_nobody_and_leaves_the_model_cold() {
    let mut world = World::new(&["a", "b", "c", "d"], &[("tool-use", 200)]);
    world.sweep(|_, _| Outcome::Missing);
    world.sweep(|_, _| PASS);
    assert_eq!(world.state.endpoints[&endpoint("a")].suites[&suite("tool-use")].log_e_ad(&world.policy), 0.0);
    world.sweep(|_, _| PASS);
    assert!(world.state.endpoints[&endpoint("a")].suites[&suite("tool-use")].log_e_ad(&world.policy) > 0.0);
}

/// A first look: so many cases of some suites.
fn look(world: &mut World, cases: u32, suites: &[&str]) {
    let mut plan = world.plan();
    plan.suites.retain(|part| suites.contains(&part.suite.as_str()));
    for share in plan.suites.iter_mut().flat_map(|part| &mut part.endpoints) {
        share.cases = share.cases.min(cases);
    }
    let rows = world.rows(&plan, |_, _| PASS);
    world.fold(&plan, &rows);
}

#[test]
fn a_look_at_a_few_cases_leaves_the_model_cold() {
    let log_e_ad = |world: &World| {
        let suites = &world.state.endpoints[&endpoint("a")].suites;
        suites.values().map(|evidence| evidence.log_e_ad(&world.policy)).sum::<f64>()
    };
    let both = [("output-quality", 200), ("tool-use", 200)];
    for (cases, suites) in [(5, &["output-quality", "tool-use"][..]), (25, &["tool-use"])] {
        let mut world = World::new(&["a", "b", "c", "d"], &both);
        look(&mut world, cases, suites);
        assert!(world.state.is_cold(), "{cases} of {suites:?}");
        world.sweep(|_, _| PASS);
        assert_eq!((log_e_ad(&world), world.state.is_cold()), (0.0, false));
        world.sweep(|_, _| PASS);
        assert!(log_e_ad(&world) > 0.0);
    }
    // Looks add up.
    let mut world = World::new(&["a", "b", "c", "d"], &both);
    let mut looks = 0;
    while world.state.is_cold() {
        look(&mut world, 5, &["output-quality", "tool-use"]);
        looks += 1;
        assert!(looks < 5);
    }
    assert!(looks >= 3, "{looks}");
}

#[test]
fn one_endpoint_that_answers_does_not_end_the_cold_start_of_three() {
    let mut world = World::new(&["a", "b", "c", "d"], &[("tool-use", 200)]);
    let mut plan = world.plan();
    plan.suites[0].endpoints.retain(|share| share.id == endpoint("a"));
    let rows = world.rows(&plan, |_, _| PASS);
    world.fold(&plan, &rows);
    assert!(world.state.is_cold());
}

#[test]
fn cases_that_nobody_was_compared_by_are_no_effort() {
    let ids = ["reference", "a", "b"];
    let mut world = World::new(&ids, &[("tool-use", 200)]);
    world.sync(Some("reference"));
    world.policy.cases.cap = 300;
    for _ in 0..20 {
        world.sweep(|ask, _| if ask.endpoint == "reference" { Outcome::Missing } else { PASS });
    }
    for id in ["a", "b"] {
        let state = &world.state.endpoints[&endpoint(id)];
        assert_eq!((state.standing, state.suites[&suite("tool-use")].cases), (Standing::Unknown, 0), "{id}");
    }
    for _ in 0..20 {
        world.sweep(|_, _| PASS);
    }
    assert_ne!(world.state.endpoints[&endpoint("a")].standing, Standing::Unknown, "now they are compared");
}

#[test]
fn anchors_are_ranked_anew_before_each_sweep() {
    // In configuration order the three worst come first.
    let ids = ["bad1", "bad2", "bad3", "good1", "good2", "good3"];
    let mut world = World::new(&ids, &[("tool-use", 200)]);
    let first = world.plan();
    assert_eq!(first.anchors, ids.map(endpoint), "nobody is known to be bad yet");
    let rows = world.rows(&first, |ask, dice| scored(!ask.endpoint.starts_with("bad") || dice.unit() < 0.7));
    world.fold(&first, &rows);
    assert_eq!(world.plan().anchors, ["good1", "good2", "good3"].map(endpoint));
}

#[test]
fn anchors_are_the_best_admitted_then_the_undecided_then_the_rest() {
    let mut world = World::new(&["a", "b", "c", "d", "e"], &[("tool-use", 200)]);
    world.policy.pool = Pool::Anchors;
    world.sweep(|ask, _| scored(ask.endpoint != "b" || ask.case > 40));
    for (id, standing) in [("b", Standing::Admitted), ("c", Standing::Suspect), ("d", Standing::Excluded)] {
        world.stand(id, standing);
    }
    let chosen = |world: &World, asked: &[&str]| {
        let asked: Vec<_> = asked.iter().map(|id| endpoint(id)).collect();
        let chosen = anchors(&world.state, &world.policy, &world.endpoints, &asked);
        chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(chosen(&world, &["a", "b", "c", "d", "e"]), "b a e", "the Admitted first, whatever its rank");
    assert_eq!(chosen(&world, &["b", "c", "d"]), "b c d");
    assert_eq!(chosen(&world, &["c"]), "c");
    assert_eq!(chosen(&world, &[]), "");
    world.sync(Some("e"));
    assert_eq!(chosen(&world, &["a", "b", "e"]), "e", "a designated reference replaces the pool");
    assert_eq!(chosen(&world, &["a", "b"]), "b a", "unless it takes no part");
}

#[test]
fn the_wide_pool_is_everybody_trusted_within_a_margin_of_the_best() {
    let mut world = World::new(&["a", "b", "c", "d", "e"], &[("tool-use", 200)]);
    world.stand("a", Standing::Admitted);
    let rank = |world: &mut World, id: &str, sum: f64| {
        let id = endpoint(id);
        let fresh = SuiteEvidence::new(&suite("tool-use"), &world.policy);
        let suites = &mut world.state.endpoints.get_mut(&id).unwrap().suites;
        suites.entry(suite("tool-use")).or_insert(fresh).ranking = Ranking { sum, count: 995.0 };
    };
    for (id, sum) in [("a", 972.0), ("b", 975.0), ("c", 965.0), ("d", 950.0), ("e", 990.0)] {
        rank(&mut world, id, sum);
    }
    let chosen = |world: &World| {
        let chosen = anchors(&world.state, &world.policy, &world.endpoints, &world.endpoints);
        chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(chosen(&world), "e b a", "c lies 2.5 points below the best");
    world.stand("e", Standing::Suspect);
    assert_eq!(chosen(&world), "b a c", "no Suspect among them, and the best is another then");
    world.policy.margin = 0.006;
    assert_eq!(chosen(&world), "b a");
    world.policy.suites.insert(suite("tool-use"), SuitePolicy { margin: Some(0.03), ..SuitePolicy::default() });
    assert_eq!(chosen(&world), "b a c d", "the window is the smallest margin of the suites");
    ["a", "b", "c", "d"].iter().for_each(|id| world.stand(id, Standing::Excluded));
    assert_eq!(chosen(&world), "e", "better a Suspect than nobody");
}

#[test]
fn the_wide_pool_goes_without_an_endpoint_in_doubt_long_before_it_is_suspect() {
    let mut world = World::new(&["a", "b", "c"], &[("tool-use", 200)]);
    ["a", "b", "c"].iter().for_each(|id| world.stand(id, Standing::Admitted));
    world.sweep(|_, _| PASS);
    world.stand("c", Standing::Unknown);
    let doubt = |world: &mut World, id: &str, r: f64| {
        let suites = &mut world.state.endpoints.get_mut(&endpoint(id)).unwrap().suites;
        suites.get_mut(&suite("tool-use")).unwrap().r_ex = [r.ln(); 6];
    };
    let chosen = |world: &World| {
        let chosen = anchors(&world.state, &world.policy, &world.endpoints, &world.endpoints);
        chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    doubt(&mut world, "a", 9.9);
    assert_eq!(chosen(&world), "a b c");
    doubt(&mut world, "a", 10.1);
    assert_eq!(chosen(&world), "b c");
    doubt(&mut world, "c", 10.1);
    assert_eq!(chosen(&world), "b", "the undecided as well");
    doubt(&mut world, "b", 10.1);
    assert_eq!(chosen(&world), "a b c", "where all are in doubt somebody must stand in");
    world.policy.burst_at = 5.0;
    doubt(&mut world, "b", 4.9);
    doubt(&mut world, "c", 5.1);
    assert_eq!(chosen(&world), "b", "never later than a burst");
    world.policy.pool = Pool::Anchors;
    assert_eq!(chosen(&world), "a b c", "the rule of earlier versions does not look at it");
}

#[test]
fn an_endpoint_is_compared_with_those_who_are_asked_as_much() {
    let mut world = World::new(&["a", "b", "c", "x"], &[("tool-use", 200)]);
    ["a", "b", "c"].iter().for_each(|id| world.stand(id, Standing::Admitted));
    world.stand("c", Standing::Excluded);
    let share = |(id, cases): (&str, u32)| BudgetedEndpoint { id: endpoint(id), cases };
    let of = |world: &World, asked: &[(&str, u32)], id: &str| {
        let asked: Vec<_> = asked.iter().copied().map(share).collect();
        let chosen = comparison(&world.state, &world.policy, &["a", "b"].map(endpoint), &asked, &endpoint(id));
        chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let asked = [("a", 100), ("b", 25), ("c", 25), ("x", 100)];
    assert_eq!(of(&world, &asked, "x"), "a", "b has answered a part of its cases only");
    assert_eq!(of(&world, &asked, "c"), "a b");
    assert_eq!(of(&world, &asked, "a"), "x", "nobody of the pool is asked as much");
    assert_eq!(of(&world, &[("b", 25), ("c", 100), ("x", 100)], "x"), "c", "an Excluded one before nobody");
    assert_eq!(of(&world, &[("b", 25), ("x", 100)], "x"), "", "no evidence without a comparison");
    world.policy.pool = Pool::Anchors;
    assert_eq!(of(&world, &asked, "x"), "a", "anchors of another list may be asked less: one set over all cases");
    assert_eq!(of(&world, &[("a", 100), ("b", 100), ("x", 100)], "x"), "a b");
}

#[test]
fn an_endpoint_is_never_its_own_anchor() {
    let mut world = admitted(&["a", "b"]);
    world.decide_nothing();
    world.sweep(|ask, _| scored(ask.endpoint != "a"));
    let gap = |id: &str| world.state.endpoints[&endpoint(id)].suites[&suite("tool-use")].histogram.clone();
    assert_eq!(gap("a").keys().collect::<Vec<_>>(), [&1_000_000]);
    assert_eq!(gap("b").keys().collect::<Vec<_>>(), [&-1_000_000]);
}

#[test]
fn an_anchor_without_a_score_drops_out_of_the_case() {
    let mut world = admitted(&["a", "b", "c", "d"]);
    world.sweep(|ask, _| match ask.endpoint {
        "a" => Outcome::Missing,
        "b" => FAIL,
        _ => PASS,
    });
    let of_d = &world.state.endpoints[&endpoint("d")].suites[&suite("tool-use")];
    assert_eq!(of_d.histogram.keys().collect::<Vec<_>>(), [&-500_000], "mean of b = 0 and c = 1");
    let nobody = &mut admitted(&["a", "b"]);
    nobody.sweep(|ask, _| if ask.endpoint == "a" { Outcome::Missing } else { PASS });
    let of_b = &nobody.state.endpoints[&endpoint("b")].suites[&suite("tool-use")];
    assert_eq!((of_b.batches, of_b.compared()), (0, 0), "no anchor, no evidence");
}

#[test]
fn a_designated_reference_is_admitted_and_everybody_is_compared_with_it() {
    let mut world = World::new(&["a", "b", "c", "d"], &[("tool-use", 200)]);
    world.decide_nothing();
    world.sync(Some("c"));
    assert_eq!(world.standing("c"), Standing::Admitted);
    assert!(world.state.endpoints[&endpoint("c")].last_reason.starts_with("reference"));
    let plan = world.plan();
    assert_eq!(plan.anchors, [endpoint("c")]);
    let rows = world.rows(&plan, |ask, _| scored(ask.endpoint == "c"));
    world.fold(&plan, &rows);
    let gap = |id: &str| world.state.endpoints[&endpoint(id)].suites[&suite("tool-use")].histogram.clone();
    assert_eq!(gap("a").keys().collect::<Vec<_>>(), [&1_000_000]);
    assert_eq!(gap("c").keys().collect::<Vec<_>>(), [&-1_000_000], "the reference is tested against the others");
    assert!(!world.state.ever_admitted(), "designation is no evidence");
}

#[test]
fn evidence_against_the_reference_is_an_alarm_and_it_stays() {
    let mut world = admitted(&["a", "b", "c", "d"]);
    world.sync(Some("d"));
    let mut held = 0;
    let mut reasons = Vec::new();
    let folded = world.sweep_until(40, fails("d", 0.3), |_, f| {
        reasons.extend(f.decisions.iter().map(|d| d.reason.clone()));
        held += f.decisions.iter().filter(|d| d.kind == DecisionKind::Held).count();
        f.alarms.iter().any(|a| a.kind == AlarmKind::Reference)
    });
    assert_eq!(folded.alarms[0].endpoint, Some(endpoint("d")));
    for _ in 0..3 {
        let folded = world.sweep(fails("d", 0.3));
        held += folded.decisions.len();
        assert_eq!(folded.alarms[0].kind, AlarmKind::Reference, "the alarm stays open");
    }
    assert_eq!(reasons.len(), 1);
    assert!(
        reasons[0].contains("held (the reference stays") && reasons[0].contains("anchors a b c of sweep"),
        "{reasons:?}"
    );
    assert_eq!((held, world.standing("d")), (1, Standing::Admitted), "held once, not at every sweep");
}

#[test]
fn the_reference_falls_where_the_policy_allows_it_and_enough_others_are_listed() {
    for (ids, falls) in [(&["a", "b", "c", "d"][..], true), (&["a", "d"][..], false)] {
        let mut world = admitted(ids);
        world.policy.reference_may_fall = true;
        world.sync(Some("d"));
        for _ in 0..30 {
            world.sweep(fails("d", 0.3));
        }
        assert_eq!(world.standing("d") == Standing::Excluded, falls, "{ids:?}");
        assert!(world.state.endpoints[&endpoint("d")].designated);
    }
}

#[test]
fn the_designation_is_made_once_and_ends_with_the_configuration() {
    let mut world = World::new(&["a", "b"], &[("tool-use", 200)]);
    world.sync(Some("a"));
    let before = world.state.clone();
    world.sync(Some("a"));
    assert_eq!(world.state, before);
    world.sync(None);
    let a = &world.state.endpoints[&endpoint("a")];
    assert!(!a.designated && a.standing == Standing::Admitted);
}

#[test]
fn when_most_admitted_endpoints_alarm_at_once_nothing_moves_until_an_operator_says_so() {
    let mut world = admitted(&["a", "b", "c", "d", "e"]);
    let broken = |ask: &Ask<'_>, _: &mut Dice| scored(["a", "b"].contains(&ask.endpoint));
    // c, d and e break together; a and b show that the suite can be passed.
    let folded = world.sweep_until(5, broken, |w, _| w.state.frozen.is_some());
    assert!(folded.alarms.iter().any(|a| a.kind == AlarmKind::Common));
    assert!(folded.decisions.iter().all(|d| d.kind == DecisionKind::Held && d.from == d.to));
    assert!(!folded.decisions.is_empty());
    for _ in 0..3 {
        let folded = world.sweep(broken);
        assert!(folded.decisions.is_empty() && folded.alarms.iter().any(|a| a.kind == AlarmKind::Common));
    }
    assert_eq!(world.state.count(Standing::Admitted), 5);
    let ack = Order::new(Verb::Ack, None, "ann", "the grader was mended").unwrap();
    let (state, decisions) = operate(&world.state, &ack, world.now_us).unwrap();
    assert!(decisions.len() == 5 && decisions.iter().all(|d| d.from == d.to && d.reason.contains("mended")));
    world.state = state;
    assert_eq!(operate(&world.state, &ack, world.now_us), Err(Refused::NothingHeld));
    let folded = world.sweep(broken);
    assert!(folded.alarms.is_empty());
    assert_eq!(world.state.count(Standing::Excluded), 3, "the evidence was kept");
}

#[test]
fn a_new_version_of_the_suite_ends_the_hold() {
    let mut world = admitted(&["a", "b", "c"]);
    world.sweep_until(5, |ask, _| scored(ask.endpoint == "a"), |w, _| w.state.frozen.is_some());
    world.suites.insert(suite("tool-use"), (digest("repaired"), 200));
    world.sync(None);
    assert!(world.state.frozen.is_none());
}

#[test]
fn one_endpoint_of_two_that_alarms_is_no_common_alarm() {
    let mut world = admitted(&["a", "b"]);
    world.sweep_until(20, |ask, _| scored(ask.endpoint == "a"), |w, _| w.standing("b") == Standing::Excluded);
    assert!(world.state.frozen.is_none());
}

#[test]
fn an_endpoint_whose_answers_cannot_be_attributed_stays_where_it_is() {
    let mut world = World::new(&["a", "b", "c", "d"], &[("tool-use", 200)]);
    let answer = |ask: &Ask<'_>, dice: &mut Dice| match ask.endpoint {
        "d" if dice.unit() < 0.4 => Outcome::Skipped { provenance: true },
        _ => PASS,
    };
    let folded = world.sweep_until(20, answer, |w, _| w.standing("a") == Standing::Admitted);
    let alarm = folded.alarms.iter().find(|a| a.kind == AlarmKind::Provenance).unwrap();
    assert_eq!(alarm.endpoint, Some(endpoint("d")));
    for _ in 0..20 {
        world.sweep(answer);
    }
    assert_eq!(world.standing("d"), Standing::Unknown, "evidence for it is not enough");
    let folded = world.sweep_until(20, |_, _| PASS, |w, _| w.standing("d") == Standing::Admitted);
    assert!(folded.alarms.is_empty());
}

#[test]
fn folding_a_sweep_twice_is_folding_it_once() {
    let mut world = World::new(&["a", "b", "c", "d"], &[("tool-use", 200)]);
    world.sweep(|_, _| PASS);
    let plan = world.plan();
    let rows = world.rows(&plan, fails("d", 0.5));
    let first = world.fold(&plan, &rows);
    let record = SweepRecord { plan: &plan, rows: &rows, ended_at_us: world.now_us, sweeps_per_year: None };
    let second = fold_sweep(&first.state, &world.policy, &record);
    assert_eq!((second.state, second.decisions.len()), (first.state, 0));
}
