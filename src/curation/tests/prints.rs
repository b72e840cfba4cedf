//! Fingerprints: a change makes Suspect and asks more; quality decides.

use super::world::*;
use crate::curation::prints::{CASES_AFTER_CHANGE, GREEDY_AT, Prints, are_due};
use crate::curation::{AlarmKind, Folded, decode, encode};
use crate::domain::probes::{GREEDY, TOKENS};
use crate::domain::{BudgetedEndpoint, Outcome, OutcomeRow, Standing, SuitePlan, SweepPlan};

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn admitted(seed: u64) -> World {
    let mut world = World::new(&IDS, &[("tool-use", 190)]);
    IDS.iter().for_each(|id| world.stand(id, Standing::Admitted));
    world.policy.fingerprint_us = Some(DAY_US);
    world.dice = Dice(seed);
    world
}

fn part(name: &str, prompts: usize, repeats: u32) -> SuitePlan {
    SuitePlan {
        suite: suite(name),
        digest: digest("ours"),
        cases: (0..prompts).map(case).collect(),
        epochs: repeats,
        endpoints: IDS.iter().map(|id| BudgetedEndpoint { id: endpoint(id), cases: prompts as u32 }).collect(),
        stable: None,
    }
}

/// How an endpoint speaks: off by so much in its log-probabilities, and other words for this share of the prompts.
#[derive(Clone, Copy)]
struct Voice {
    off: f64,
    drift: f64,
    shows_tokens: bool,
}

const SAME: Voice = Voice { off: 0.0, drift: 0.0, shows_tokens: true };

fn row(name: &str, id: &str, prompt: usize, epoch: u32, outcome: Outcome) -> OutcomeRow {
    OutcomeRow { suite: suite(name), case: case(prompt), endpoint: endpoint(id), epoch, outcome, sampled: None }
}

/// A sweep with fingerprints. Two of a hundred answers leave the model's words anyway.
fn plan_with(world: &mut World, voice: impl Fn(&str) -> Voice) -> (SweepPlan, Vec<OutcomeRow>) {
    let mut plan = world.plan();
    plan.probes = vec![part(TOKENS, 24, 5), part(GREEDY, 60, 1)];
    let mut rows = world.rows(&plan, |_, _| PASS);
    for (number, id) in IDS.iter().enumerate() {
        let Voice { off, drift, shows_tokens } = voice(id);
        for prompt in 0..24 {
            let own = if prompt % 2 == 0 { off } else { -off };
            for epoch in 0..5 {
                let logprob = -1.0 - prompt as f64 / 10.0 + own + 0.03 * world.dice.normal();
                let shown =
                    if shows_tokens { Outcome::Observed(logprob) } else { Outcome::Skipped { provenance: false } };
                rows.push(row(TOKENS, id, prompt, epoch, shown));
            }
        }
        for prompt in 0..60 {
            let drifted = (prompt as f64) < 60.0 * drift;
            let leaves = world.dice.unit() < 0.02;
            let words = match (drifted, leaves) {
                (_, true) => 1000.0 * world.dice.unit(),
                (true, false) => 100.0 + number as f64,
                (false, false) => 1.0,
            };
            rows.push(row(GREEDY, id, prompt, 0, Outcome::Observed(words)));
        }
    }
    (plan, rows)
}

fn asked(world: &mut World, voice: impl Fn(&str) -> Voice) -> Folded {
    let (plan, rows) = plan_with(world, voice);
    world.fold(&plan, &rows)
}

fn changed(folded: &Folded) -> Vec<&str> {
    let of_kind = folded.alarms.iter().filter(|a| a.kind == AlarmKind::FingerprintChanged);
    of_kind.filter_map(|a| a.endpoint.as_ref()).map(|e| e.as_str()).collect()
}

#[test]
fn endpoints_of_one_model_raise_no_alarm_over_many_runs() {
    let mut alarms = 0;
    for seed in 0..2 {
        let mut world = admitted(seed);
        for _ in 0..40 {
            alarms += changed(&asked(&mut world, |_| SAME)).len();
        }
    }
    // 400 tests on first tokens, each against the anchor that is nearest, at a level of 0.001; the detector is far away.
    assert!(alarms <= 2, "{alarms}");
}

#[test]
fn a_quantised_model_becomes_suspect_is_asked_more_and_is_cleared_by_its_quality() {
    let mut world = admitted(9);
    asked(&mut world, |_| SAME);
    let voice = |id: &str| if id == "e" { Voice { off: 0.1, drift: 0.25, ..SAME } } else { SAME };
    let folded = asked(&mut world, voice);
    assert_eq!((changed(&folded), world.standing("e")), (vec!["e"], Standing::Suspect));
    let decision = folded.decisions.iter().find(|d| d.endpoint == endpoint("e")).unwrap();
    assert!(
        decision.reason.starts_with("suspect: fingerprint changed; more sampling for 2000 cases"),
        "{}",
        decision.reason
    );
    assert_eq!(decision.evidence["rule"], "T11");

    let plan = world.plan();
    let share = |id: &str| plan.suites[0].endpoints.iter().find(|e| e.id == endpoint(id)).unwrap().cases;
    assert_eq!(share("e"), world.policy.cases.burst, "asked more");
    assert!(!plan.anchors.contains(&endpoint("e")), "no anchor meanwhile: {:?}", plan.anchors);

    // The difference stands and is alarmed, but the suspicion is not renewed; after its cases quality alone rules.
    let mut sweeps = 0;
    while world.standing("e") == Standing::Suspect {
        sweeps += 1;
        let folded = asked(&mut world, voice);
        assert_eq!(changed(&folded), ["e"]);
        assert!(sweeps <= CASES_AFTER_CHANGE / 25, "it never ends");
    }
    assert!(sweeps >= CASES_AFTER_CHANGE / 100, "{sweeps}");
    assert_eq!(world.standing("e"), Standing::Admitted);
    for _ in 0..5 {
        asked(&mut world, voice);
    }
    assert_eq!(world.standing("e"), Standing::Admitted);
}

#[test]
fn while_transitions_are_held_a_change_is_alarmed_and_makes_nobody_suspect() {
    let mut world = admitted(13);
    asked(&mut world, |_| SAME);
    let broken = |ask: &Ask<'_>, _: &mut Dice| scored(["a", "b"].contains(&ask.endpoint));
    world.sweep_until(5, broken, |w, _| w.state.frozen.is_some());
    let voice = |id: &str| if id == "e" { Voice { off: 0.1, drift: 0.25, ..SAME } } else { SAME };
    let (plan, rows) = plan_with(&mut world, voice);
    let mut rows: Vec<_> = rows.into_iter().filter(|row| row.suite != suite("tool-use")).collect();
    rows.extend(world.rows(&plan, broken));
    let folded = world.fold(&plan, &rows);
    assert_eq!(changed(&folded), ["e"], "the alarm is told");
    assert!(world.state.frozen.is_some());
    assert_eq!(world.standing("e"), Standing::Admitted, "no transition while they are held: {:?}", folded.decisions);
}

/// What somebody else showed, or did not show, says nothing about what the endpoint shows.
#[test]
fn answers_of_somebody_else_switch_nothing_off() {
    let mut world = admitted(14);
    let e = endpoint("e");
    for (provenance, switched_off) in [(true, false), (false, true)] {
        let (plan, mut rows) = plan_with(&mut world, |_| SAME);
        let of_e = |row: &&mut OutcomeRow| row.endpoint == e && row.suite == suite(TOKENS);
        rows.iter_mut().filter(of_e).for_each(|row| row.outcome = Outcome::Skipped { provenance });
        world.fold(&plan, &rows);
        assert_eq!(world.state.endpoints[&e].watch.prints.no_tokens, switched_off);
    }
}

#[test]
fn an_alarm_ends_when_nobody_asks_for_fingerprints_any_more() {
    let mut world = admitted(12);
    let voice = |id: &str| if id == "e" { Voice { off: 0.1, drift: 0.25, ..SAME } } else { SAME };
    assert_eq!(changed(&asked(&mut world, voice)), ["e"]);
    let plain = world.plan();
    let rows = world.rows(&plain, |_, _| PASS);
    assert_eq!(changed(&world.fold(&plain, &rows)), ["e"], "between two askings it stands");
    world.policy.fingerprint_us = None;
    let plain = world.plan();
    let rows = world.rows(&plain, |_, _| PASS);
    let left = world.state.endpoints[&endpoint("e")].watch.prints.cases_left;
    assert!(changed(&world.fold(&plain, &rows)).is_empty());
    let prints = &world.state.endpoints[&endpoint("e")].watch.prints;
    assert!(prints.text().is_none() && prints.asked_at_us == 0, "asked anew when it is switched on again");
    assert!(prints.cases_left > 0 && prints.cases_left < left, "the suspicion runs out as it was told");
}

#[test]
fn a_changed_endpoint_that_is_worse_is_excluded_by_its_quality() {
    let mut world = admitted(10);
    asked(&mut world, |id| if id == "e" { Voice { off: 0.1, ..SAME } } else { SAME });
    assert_eq!(world.standing("e"), Standing::Suspect);
    world.sweep_until(40, fails("e", 0.1), |w, _| w.standing("e") == Standing::Excluded);
    assert_eq!(world.state.endpoints[&endpoint("e")].watch.prints.cases_left, 0);
}

#[test]
fn greedy_starts_alone_are_enough_where_no_log_probabilities_are_shown() {
    let mut world = admitted(11);
    let silent = |id: &str| Voice { shows_tokens: false, drift: if id == "e" { 0.3 } else { 0.0 }, ..SAME };
    let mut runs = 0;
    while changed(&asked(&mut world, silent)).is_empty() {
        runs += 1;
        assert!(runs < 12);
    }
    let prints = &world.state.endpoints[&endpoint("e")].watch.prints;
    assert!(prints.no_tokens && prints.tokens_p.is_none() && prints.greedy_found.is_some());
    assert!(prints.greedy_found.unwrap().log_r >= GREEDY_AT.ln());
    assert_eq!(world.standing("e"), Standing::Suspect);
}

#[test]
fn anchors_that_all_differ_from_each_other_say_nothing_about_anybody() {
    let mut world = admitted(12);
    // Every endpoint runs on hardware of its own: log-probabilities are off by different amounts.
    let own = |id: &str| Voice { off: 0.2 * f64::from(id.as_bytes()[0] - b'a'), ..SAME };
    for _ in 0..5 {
        assert!(changed(&asked(&mut world, own)).is_empty());
    }
}

#[test]
fn whatever_the_order_of_rows_the_fingerprint_is_the_same_and_it_survives_its_bytes() {
    let mut world = admitted(13);
    let (plan, mut rows) =
        plan_with(&mut world, |id| if id == "e" { Voice { off: 0.1, drift: 0.2, ..SAME } } else { SAME });
    let before = world.clone();
    let folded = world.fold(&plan, &rows);
    let mut other = before;
    Dice(1).shuffle(&mut rows);
    assert_eq!(other.fold(&plan, &rows), folded);
    assert_eq!(decode(&encode(&world.state)), Ok(world.state.clone()));
    assert_ne!(world.state.endpoints[&endpoint("e")].watch.prints, Prints::default());
}

#[test]
fn they_are_due_after_their_time_and_for_a_new_endpoint() {
    let mut world = admitted(14);
    let ids = world.endpoints.clone();
    assert!(are_due(&world.state, &ids, DAY_US, world.now_us));
    asked(&mut world, |_| SAME);
    assert!(!are_due(&world.state, &ids, DAY_US, world.now_us));
    assert!(are_due(&world.state, &ids, DAY_US, world.now_us + DAY_US));
    world.endpoints.push(endpoint("f"));
    world.sync(None);
    assert!(are_due(&world.state, &world.endpoints, DAY_US, world.now_us));
    assert!(!are_due(&world.state, &[], DAY_US, world.now_us));
}
