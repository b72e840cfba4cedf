//! Laws that hold for every input.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::lists::configured;
use super::world::*;
use crate::curation::anchors::comparison;
use crate::curation::outcomes::tally;
use crate::curation::{
    DecodeError, Form, ModelState, SuiteEvidence, SweepRecord, allowlist, decode, encode, fold_sweep, sync_endpoints,
};
use crate::domain::policy::{CaseBudgets, Pool, SuitePolicy};
use crate::domain::{Allowlist, Capability, EndpointId, Outcome, OutcomeRow, Override, Policy, Standing, SweepPlan};

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(PASS),
        2 => Just(FAIL),
        1 => Just(Outcome::Missing),
        1 => any::<bool>().prop_map(|provenance| Outcome::Skipped { provenance }),
        1 => (0.0..=1.0f64).prop_map(Outcome::Scored),
    ]
}

fn standing() -> impl Strategy<Value = Standing> {
    prop::sample::select(Standing::ALL.to_vec())
}

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A model in some state, with a finished sweep. Small thresholds, so that transitions happen.
fn situation() -> impl Strategy<Value = (World, SweepPlan, Vec<OutcomeRow>)> {
    let standings = prop::collection::vec(standing(), IDS.len());
    let floor = prop::option::of((0.05..0.95f64, 0.1..5.0f64));
    (standings, prop::collection::vec(outcome(), 64), 1u64..1000, any::<bool>(), floor).prop_map(
        |(standings, outcomes, seed, easy, floor)| {
            let mut world = World::new(&IDS, &[("one", 20), ("two", 12)]);
            if let Some((floor, weight)) = floor {
                let under = SuitePolicy { floor: Some(floor), weight: Some(weight), ..SuitePolicy::default() };
                world.policy.suites.insert(suite("one"), under);
            }
            world.dice = Dice(seed);
            world.back_to_back = true;
            // Prefixes of several lengths.
            world.policy.cases = CaseBudgets { standard: 6, unknown: 10, burst: 16, ..CaseBudgets::default() };
            if easy {
                world.policy.alpha = 0.3;
                world.policy.exclude_after_sweeps = 20.0;
                world.policy.suspect_at = 3.0;
                world.policy.burst_at = 2.0;
                world.policy.readmit_after_sweeps = 2.0;
            }
            IDS.iter().zip(standings).for_each(|(id, standing)| world.stand(id, standing));
            let pick = |_: &Ask<'_>, dice: &mut Dice| outcomes[dice.below(outcomes.len())];
            world.sweep(pick);
            let plan = world.plan();
            let rows = world.rows(&plan, pick);
            (world, plan, rows)
        },
    )
}

fn record<'a>(world: &World, plan: &'a SweepPlan, rows: &'a [OutcomeRow]) -> SweepRecord<'a> {
    SweepRecord { plan, rows, ended_at_us: world.now_us, sweeps_per_year: Some(PER_YEAR) }
}

fn evidence<'a>(state: &'a ModelState, id: &str, name: &str) -> &'a SuiteEvidence {
    &state.endpoints[&endpoint(id)].suites[&suite(name)]
}

/// Everybody is compared with one set over all of its cases, and never with nobody where there is somebody.
fn one_set(state: &ModelState, policy: &Policy, plan: &SweepPlan, anchors: &[EndpointId]) -> Result<(), TestCaseError> {
    for suite in &plan.suites {
        let cases = |id: &EndpointId| suite.endpoints.iter().find(|e| e.id == *id).map(|e| e.cases);
        for share in &suite.endpoints {
            let chosen = comparison(state, policy, anchors, &suite.endpoints, &share.id);
            prop_assert_eq!(chosen.is_empty(), suite.endpoints.len() < 2, "{} {:?}", share.id, suite);
            for id in &chosen {
                prop_assert!(*id != share.id && cases(id) >= Some(share.cases), "{} with {id}: {suite:?}", share.id);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_fold_is_deterministic_and_free_of_the_rows_order((world, plan, rows) in situation(), seed in any::<u64>()) {
        let folded = fold_sweep(&world.state, &world.policy, &record(&world, &plan, &rows));
        prop_assert_eq!(&folded, &fold_sweep(&world.state, &world.policy, &record(&world, &plan, &rows)));
        let mut shuffled = rows.clone();
        Dice(seed).shuffle(&mut shuffled);
        shuffled.extend(rows.first().cloned()); // the same row twice is the row
        let other = fold_sweep(&world.state, &world.policy, &record(&world, &plan, &shuffled));
        prop_assert_eq!(encode(&folded.state), encode(&other.state));
        prop_assert_eq!(folded.decisions, other.decisions);
    }

    #[test]
    fn at_most_one_transition_per_endpoint_and_each_matches_the_state((world, plan, rows) in situation()) {
        let folded = fold_sweep(&world.state, &world.policy, &record(&world, &plan, &rows));
        let mut seen: Vec<_> = folded.decisions.iter().map(|d| &d.endpoint).collect();
        seen.sort();
        seen.dedup();
        prop_assert_eq!(seen.len(), folded.decisions.len());
        for (id, after) in &folded.state.endpoints {
            let before = world.state.endpoints[id].standing;
            let decided = folded.decisions.iter().find(|d| d.endpoint == *id).map_or(before, |d| d.to);
            prop_assert_eq!(after.standing, decided);
        }
    }

    #[test]
    fn everybody_is_compared_with_one_set_over_all_cases_and_never_with_nobody((world, plan, rows) in situation()) {
        one_set(&world.state, &world.policy, &plan, &plan.anchors)?;
        // Known before the first call: whatever is answered, the comparison is the same.
        let with_whom = |rows: &[OutcomeRow]| tally(&world.state, &world.policy, &plan, rows)
            .endpoints.into_iter().map(|(id, tally)| (id, tally.anchors)).collect::<Vec<_>>();
        prop_assert_eq!(with_whom(&rows), with_whom(&[]));
    }

    #[test]
    fn everybody_is_compared_with_one_set_on_every_list_and_in_every_pool(
        (mut world, _, _) in situation(),
        of_tools in prop::collection::vec(standing(), IDS.len()),
        pool in prop::sample::select(vec![Pool::Wide, Pool::Anchors]),
        few in 1u32..4,
        reference in 0usize..7,
    ) {
        world.policy.pool = pool;
        world.policy.anchors = few;
        world.sync(IDS.get(reference).copied());
        let mut capability = world.state.clone();
        for (id, standing) in IDS.iter().zip(of_tools) {
            capability.endpoints.get_mut(&endpoint(id)).unwrap().standing = standing;
        }
        let tools = Capability::new("tools").unwrap();
        world.state.capabilities.insert(tools.clone(), capability);
        let plan = world.plan();
        one_set(&world.state, &world.policy, &plan, &plan.anchors)?;
        one_set(&world.state.capabilities[&tools], &world.policy, &plan, &plan.capabilities[&tools])?;
    }

    #[test]
    fn a_failure_in_place_of_a_pass_never_helps_the_endpoint(
        (mut world, plan, mut rows) in situation(),
        which in any::<prop::sample::Index>(),
        becomes in prop_oneof![Just(FAIL), Just(Outcome::Missing)],
    ) {
        // Nothing is decided, so that the evidence stays to be compared.
        world.policy.alpha = 1e-12;
        world.policy.exclude_after_sweeps = 1e12;
        world.policy.readmit_after_sweeps = 1e12;
        let i = which.index(rows.len());
        rows[i].outcome = PASS;
        let passed = fold_sweep(&world.state, &world.policy, &record(&world, &plan, &rows)).state;
        rows[i].outcome = becomes;
        let failed = fold_sweep(&world.state, &world.policy, &record(&world, &plan, &rows)).state;
        let (id, name) = (rows[i].endpoint.to_string(), rows[i].suite.to_string());
        let (with_pass, with_fail) = (evidence(&passed, &id, &name), evidence(&failed, &id, &name));
        if becomes == FAIL {
            prop_assert!(with_fail.log_e_ex(&world.policy) >= with_pass.log_e_ex(&world.policy) - 1e-12);
            prop_assert!(with_fail.log_r_ex() >= with_pass.log_r_ex() - 1e-12);
        }
        prop_assert!(with_fail.log_e_ad(&world.policy) <= with_pass.log_e_ad(&world.policy) + 1e-12);
        prop_assert!(with_fail.log_r_ad() <= with_pass.log_r_ad() + 1e-12);
        prop_assert!(with_fail.ranking.estimate() <= with_pass.ranking.estimate());
    }

    #[test]
    fn every_state_survives_its_bytes((world, plan, rows) in situation()) {
        let folded = fold_sweep(&world.state, &world.policy, &record(&world, &plan, &rows));
        let bytes = encode(&folded.state);
        prop_assert_eq!(decode(&bytes), Ok(folded.state));
    }

    #[test]
    fn damaged_bytes_are_refused((world, _, _) in situation(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let bytes = encode(&world.state);
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(decode(&damaged).is_err());
        prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn sync_is_idempotent((world, _, _) in situation(), keep in prop::collection::vec(any::<bool>(), IDS.len()), reference in 0usize..6) {
        let configured: Vec<_> =
            IDS.iter().zip(keep).filter(|(_, keep)| *keep).map(|(id, _)| endpoint(id)).collect();
        let reference = configured.get(reference);
        let (once, _) = sync_endpoints(&world.state, &configured, reference, world.now_us);
        let (twice, decisions) = sync_endpoints(&once, &configured, reference, world.now_us + 1);
        prop_assert_eq!(once, twice);
        prop_assert!(decisions.is_empty());
    }

    #[test]
    fn no_list_is_ever_empty_or_below_its_floor(
        (mut world, plan, rows) in situation(),
        later in prop::collection::vec((standing(), 0u8..8), IDS.len()),
        min_providers in 1u32..7,
    ) {
        world.policy.min_providers = min_providers;
        let endpoints = configured(&world);
        let mut current: Option<Allowlist> = None;
        let mut check = |world: &World| {
            let draft = allowlist(&world.state, &world.policy, &endpoints, current.as_ref(), world.now_us, &BTreeMap::new());
            let in_service: Vec<_> = world.state.endpoints.iter().filter(|(_, e)| e.is_in_service()).map(|(id, _)| id).collect();
            if let Some(draft) = draft {
                let list = &draft.allowlist;
                prop_assert!(list.providers.len() >= in_service.len().min(min_providers as usize));
                prop_assert!(!list.providers.is_empty());
                prop_assert!(list.providers.iter().all(|p| in_service.contains(&&p.id) && (1..=100).contains(&p.weight)));
                prop_assert!(list.providers.iter().zip(1u32..).all(|(p, rank)| p.rank == rank));
                prop_assert!(list.excluded.iter().all(|x| list.providers.iter().all(|p| p.id != x.id)));
                prop_assert_eq!(list.version, current.as_ref().map_or(0, |p| p.version) + 1);
                current = Some(draft.allowlist);
            } else {
                prop_assert!(current.is_some() || in_service.is_empty(), "no list although somebody is in service");
            }
            Ok(())
        };
        check(&world)?;
        world.fold(&plan, &rows);
        check(&world)?;
        for (id, (standing, override_)) in IDS.iter().zip(later) {
            world.stand(id, standing);
            world.state.endpoints.get_mut(&endpoint(id)).unwrap().override_ = match override_ {
                0 => Some(Override::Banned),
                1 => Some(Override::Pinned),
                _ => None,
            };
        }
        check(&world)?;
        world.now_us += DAY_US;
        check(&world)?;
    }

    #[test]
    fn an_unchanged_state_gives_no_new_document((world, _, _) in situation()) {
        let endpoints = configured(&world);
        let first = allowlist(&world.state, &world.policy, &endpoints, None, world.now_us, &BTreeMap::new()).unwrap();
        // A second draft may let the order settle into the document in force, never more.
        let second = allowlist(&world.state, &world.policy, &endpoints, Some(&first.allowlist), world.now_us, &BTreeMap::new());
        prop_assert!(second.is_none(), "{:?}\n{:?}", first.allowlist, second);
    }
}

#[test]
fn a_state_is_small_and_its_infinities_are_exact() {
    let mut world = World::new(&IDS, &[("one", 190), ("two", 2500)]);
    IDS.iter().for_each(|id| world.stand(id, Standing::Admitted));
    for _ in 0..30 {
        world.sweep(|_, dice| scored(dice.unit() < 0.97));
    }
    let per_suite = encode(&world.state).len() / (IDS.len() * 2);
    assert!(per_suite <= 1000, "{per_suite} bytes per endpoint and suite, the `usable` test and the reason included");
    world.stand("a", Standing::Excluded);
    world.state.endpoints.get_mut(&endpoint("a")).unwrap().reset(0);
    let back = decode(&encode(&world.state)).unwrap();
    assert_eq!(back.endpoints[&endpoint("a")].suites[&suite("one")].log_r_ex(), f64::NEG_INFINITY);
    assert_eq!(back, world.state);
}

#[test]
fn foreign_bytes_and_newer_versions_are_told_apart() {
    assert_eq!(decode(b""), Err(DecodeError::Foreign));
    assert_eq!(decode(b"{\"a\":1}"), Err(DecodeError::Foreign));
    let mut newer = encode(&ModelState::default());
    newer[4] = 5;
    assert_eq!(decode(&newer), Err(DecodeError::Version(5)));
    assert_eq!(decode(&encode(&ModelState::default())), Ok(ModelState::default()));
}

#[test]
fn a_state_of_version_1_is_read_on() {
    let mut world = World::new(&IDS[..1], &[("one", 10)]);
    let policy = world.policy.clone();
    let fresh = SuiteEvidence::new(&suite("one"), &policy);
    let suites = &mut world.state.endpoints.get_mut(&endpoint("a")).unwrap().suites;
    suites.insert(suite("one"), fresh);
    world.state.form = Form::FIRST;
    // The last of it is: bits and number of the clusters, then a sum of zero, then the checksum.
    let new = encode(&world.state);
    let (body, tail) = new.split_at(new.len() - 11);
    assert_eq!(tail[..3], [16, 0, 0]);
    let mut old = body.to_vec();
    old[4] = 1;
    // Of 32 clusters the third has one attempt that failed.
    (0..32).for_each(|i| old.extend([0, u8::from(i == 2)]));
    old.push(0);
    let sum = old.iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    old.extend(sum.to_le_bytes());
    let read = decode(&old).unwrap();
    let clusters = &read.endpoints[&endpoint("a")].suites[&suite("one")].clusters;
    assert_eq!((clusters.attempts(), clusters.score_sum(), clusters.iter().count()), (1, 0.0, 1));
    assert_eq!(decode(&encode(&read)), Ok(read));
}
