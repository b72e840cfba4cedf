//! What a daemon does beside sweeps: prunes by retention, and tells of a list that has expired.

use std::sync::Arc;
use std::time::Duration;

use exactod::clock::ManualClock;
use exactod::daemon::{PRUNE_EVERY_LOOKS, Service, SweepOutcome, SweepRequest, Upkeep, manual_request};

use crate::gate::Gate;
use crate::suites::CASES;
use crate::world::{Settings, World, eventually, good, model};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// 10:30 on the second of March 2026, UTC.
const START_US: i64 = 1_772_447_400_000_000;

fn upkeep(service: &Service) -> Upkeep {
    Upkeep::new(Arc::clone(&service.sweeper), Arc::clone(&service.runtime), service.signals.clone())
}

async fn sweep(service: &Service) {
    let runtime = service.runtime.load_full();
    let request = SweepRequest { back_to_back: true, ..manual_request(Duration::from_secs(3600)) };
    let swept = service.sweeper.run(&runtime, &runtime.models[&model()], &request, &service.signals).await;
    assert!(matches!(swept, Ok(SweepOutcome::Done { .. })), "{swept:?}");
}

/// Attempts in the store, and how many of them have their transcript.
async fn kept(world: &World) -> (usize, usize) {
    let attempts = world.attempts().await;
    let transcripts = attempts.iter().filter(|stored| stored.attempt.transcript.is_some()).count();
    (attempts.len(), transcripts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_prunes_by_retention_now_and_then() {
    let world = World::new(vec![good("alder")]).await;
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let kept_for = "[store]\nretention = { transcripts = \"2d\", attempts = \"10d\" }";
    std::fs::write(world.config_path(), text.replace("[store]", kept_for)).unwrap();
    let clock = ManualClock::at(START_US);
    let service = world.service(Arc::new(clock.clone()), "prunes").await;
    let upkeep = upkeep(&service);
    sweep(&service).await;
    clock.advance_us(3 * DAY);
    sweep(&service).await;
    assert_eq!(kept(&world).await, (2 * CASES, 2 * CASES));

    // Not at every look.
    for looks in [1, 2, PRUNE_EVERY_LOOKS - 1] {
        upkeep.turn(looks).await;
    }
    assert_eq!(kept(&world).await, (2 * CASES, 2 * CASES));
    upkeep.turn(PRUNE_EVERY_LOOKS).await;
    assert_eq!(kept(&world).await, (2 * CASES, CASES), "transcripts of two days");
    clock.advance_us(8 * DAY);
    upkeep.turn(PRUNE_EVERY_LOOKS + 1).await;
    assert_eq!(kept(&world).await, (2 * CASES, CASES));
    // A daemon that has just begun does so at once.
    upkeep.turn(0).await;
    assert_eq!(kept(&world).await, (CASES, 0), "attempts of ten days, none of them younger than two");
    // What was decided, and the sweeps themselves, stay.
    assert_eq!(service.sweeper.store.sweeps(None, None, 10, None).await.unwrap().items.len(), 2);
    assert!(service.sweeper.store.allowlist(&model(), None).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_expires_unrenewed_is_an_alarm_until_it_is_renewed() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let gate = Gate::before(&world.fleet, CASES).await;
    world.configure_for(&gate.providers, &Settings::default());
    let clock = ManualClock::at(START_US);
    let service = world.service(Arc::new(clock.clone()), "stale").await;
    let upkeep = upkeep(&service);
    let look = async |advance_us: i64| {
        clock.advance_us(advance_us);
        upkeep.look().await;
        let open = service.sweeper.store.open_alarms().await.unwrap().into_iter();
        open.filter(|alarm| alarm.key.kind == "stale_list").map(|alarm| alarm.text).collect::<Vec<_>>()
    };
    sweep(&service).await;
    let expires_us = || service.board().get(model().as_str()).unwrap().expires_at_us;
    assert_eq!(expires_us(), START_US + DAY);
    assert_eq!(look(0).await, [""; 0]);
    // Beside no sweep it is renewed in time.
    assert_eq!(look(20 * HOUR).await, [""; 0]);
    assert_eq!(expires_us(), START_US + 20 * HOUR + DAY);

    // A sweep that hangs for a day publishes nothing.
    let asked = world.requests();
    let hanging = tokio::spawn({
        let service = Arc::clone(&service);
        async move { sweep(&service).await }
    });
    eventually("it hangs", async || (world.requests() > asked).then_some(())).await;
    assert_eq!(look(DAY).await, [""; 0], "it is good to its last moment");
    assert_eq!(look(1).await, ["the published list has expired and was not renewed"]);
    gate.open();
    hanging.await.unwrap();
    assert_eq!(look(0).await, [""; 0], "renewed by the sweep's end");
    assert!(expires_us() > START_US + 2 * DAY);
}
