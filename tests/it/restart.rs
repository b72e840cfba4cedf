//! A sweep that is killed in its middle is finished by the next start: nothing stored is asked again, nothing is lost
//! or counted twice.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use exactod::clock::ManualClock;
use exactod::daemon::{Service, SweepError, SweepOutcome, manual_request};
use exactod::domain::{AttemptKey, SweepState};
use serde_json::json;

use crate::gate::Gate;
use crate::suites::CASES;
use crate::world::{Settings, World, eventually, good, model, weak};

const ENDPOINTS: usize = 3;
/// Answers of each endpoint that arrive before the kill.
const ANSWERS: usize = 4;
/// Requests in flight per endpoint, as configured.
const IN_FLIGHT: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_killed_in_its_middle_is_finished_by_the_next_start_on_sqlite() {
    killed_and_finished(World::new(vec![good("alder"), weak("birch", 0.5), good("cedar")]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_killed_in_its_middle_is_finished_by_the_next_start_on_postgres() {
    killed_and_finished(World::on_postgres(vec![good("alder"), weak("birch", 0.5), good("cedar")]).await).await;
}

async fn killed_and_finished(world: World) {
    let gate = Gate::before(&world.fleet, ANSWERS).await;
    world.configure_for(&gate.providers, &Settings::default());
    let store = world.store().await;
    let mut first = world.exactod(&["sweep", "--full", "--json"]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Every endpoint has given its answers, and all that is in flight has reached the fleet.
    let (sweep, stored) = eventually("the first answers are stored", async || {
        let sweep = store.running_sweeps(None).await.unwrap().first()?.record.id;
        let stored = store.done_keys(sweep).await.unwrap();
        let asked = world.requests() as usize == ENDPOINTS * (ANSWERS + IN_FLIGHT);
        (stored.len() == ENDPOINTS * ANSWERS && asked).then_some((sweep, stored))
    })
    .await;
    first.start_kill().unwrap();
    first.wait().await.unwrap();

    gate.open();
    let said = world.json(&["sweep", "--full", "--json"]).await;
    assert_eq!(said["sweep"], json!(sweep.to_string()), "the same sweep");
    assert_eq!(said["sweeps"], json!(1));

    let planned = ENDPOINTS * CASES;
    assert_eq!(world.requests() as usize, planned + ENDPOINTS * IN_FLIGHT, "only what was in flight is asked again");
    let asked = asked_of_the_fleet(&world);
    for key in &stored {
        assert_eq!(asked[&place(key)], 1, "{key:?} was stored before the kill");
    }
    assert!(asked.values().all(|times| (1..=2).contains(times)), "{asked:?}");

    let attempts = world.attempts().await;
    let keys: BTreeSet<AttemptKey> = attempts.iter().map(|a| a.attempt.key.clone()).collect();
    assert_eq!((attempts.len(), keys.len()), (planned, planned), "every attempt is stored, and once");
    for row in said["endpoints"].as_array().unwrap() {
        assert_eq!(row["attempts"], json!(CASES), "{row}");
        assert_eq!(row["unscored"], json!(0), "{row}");
    }
    let ended = store.sweep(sweep).await.unwrap().unwrap().record;
    assert_eq!(ended.state, SweepState::Done);
    let cost: i64 = attempts.iter().map(|a| a.attempt.cost_nanousd).sum();
    assert_eq!(ended.spent_nanousd, cost, "no money is counted twice");
    assert!(store.running_sweeps(None).await.unwrap().is_empty());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_of_a_living_process_is_not_closed_however_old_it_is() {
    let world = World::new(vec![good("alder")]).await;
    let gate = Gate::before(&world.fleet, 0).await;
    world.configure_for(&gate.providers, &Settings::default());
    let clock = ManualClock::at(1_772_447_400_000_000);
    let one = world.service(Arc::new(clock.clone()), "one").await;
    let two = world.service(Arc::new(clock.clone()), "two").await;
    let sweeping = tokio::spawn({
        let one = Arc::clone(&one);
        async move { sweep(&one, Duration::from_secs(3600)).await }
    });
    eventually("requests are in flight", async || (world.requests() as usize == IN_FLIGHT).then_some(())).await;
    clock.advance_us(10_000_000);
    // For the other one the sweep, ten seconds old, is older than its deadline; its lease still holds.
    let other = sweep(&two, Duration::ZERO).await;
    assert!(matches!(&other, Err(SweepError::Busy { owner, .. }) if owner == "one"), "{other:?}");
    gate.open();
    assert!(matches!(sweeping.await.unwrap(), Ok(SweepOutcome::Done { resumed: false, .. })));
    let sweeps = one.sweeper.store.sweeps(None, None, 10, None).await.unwrap().items;
    assert_eq!(sweeps.len(), 1);
    assert_eq!(sweeps[0].state, SweepState::Done);
    one.close().await;
    two.close().await;
}

async fn sweep(service: &Service, deadline: Duration) -> Result<SweepOutcome, SweepError> {
    let runtime = service.runtime.load_full();
    let request = manual_request(deadline);
    service.sweeper.run(&runtime, &runtime.models[&model()], &request, &service.signals).await
}

/// An endpoint and a case of a suite.
type Place = (String, String, String);

fn place(key: &AttemptKey) -> Place {
    (key.endpoint.to_string(), key.suite.to_string(), key.case.to_string())
}

/// How often each endpoint was asked each case.
fn asked_of_the_fleet(world: &World) -> BTreeMap<Place, u32> {
    let mut asked = BTreeMap::new();
    for (id, _) in world.fleet.endpoints() {
        for outcome in world.fleet.log(id.as_str()).unwrap() {
            let (suite, case) = outcome.case.expect("a known case");
            *asked.entry((id.to_string(), suite.to_string(), case.to_string())).or_default() += 1;
        }
    }
    asked
}
