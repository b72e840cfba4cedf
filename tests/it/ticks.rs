//! Ticks of schedules: those missed while nobody ran, those that come too early, those that two daemons see.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use exactod::clock::{Clock, FastClock, ManualClock};
use exactod::daemon::{Service, manual_request};
use exactod::domain::{SweepKind, SweepState};
use exactod::store::{Store, SweepRecord};
use sqlx::{Connection, PgConnection, Row, SqliteConnection};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::gate::Gate;
use crate::suites::CASES;
use crate::world::{Settings, World, eventually, good, model};

pub const MINUTE: i64 = 60_000_000;
pub const HOUR: i64 = 60 * MINUTE;
/// 2026-03-02 10:30 UTC: half an hour after a tick.
pub const HALF_PAST_TEN: i64 = 1_772_447_400_000_000;

fn hourly() -> Settings {
    Settings {
        schedule: "cron = \"0 * * * *\"\nspread = \"0s\"\ndeadline = \"1000h\"\nonboarding = \"off\"".to_owned(),
        ..Settings::default()
    }
}

/// A service that serves, and its end.
pub struct Serving {
    pub service: Arc<Service>,
    task: JoinHandle<()>,
}

impl Serving {
    pub async fn start(world: &World, clock: impl Clock, owner: &str) -> Serving {
        let service = world.service(Arc::new(clock), owner).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let task = tokio::spawn({
            let service = Arc::clone(&service);
            async move { service.serve(listener, None).await.unwrap() }
        });
        Serving { service, task }
    }

    pub fn store(&self) -> &Store {
        &self.service.sweeper.store
    }

    pub async fn stop(self) {
        self.service.signals.stop.cancel();
        self.task.await.unwrap();
        assert_eq!(self.service.close().await.lost, 0);
    }
}

pub async fn sweeps(store: &Store) -> Vec<SweepRecord> {
    let page = store.sweeps(None, None, 200, None).await.unwrap();
    assert!(page.next.is_none());
    page.items
}

async fn done(store: &Store, n: usize) -> Vec<SweepRecord> {
    eventually("sweeps are done", async || {
        let all = sweeps(store).await;
        (all.len() >= n && all.iter().all(|s| s.state == SweepState::Done)).then_some(all)
    })
    .await
}

/// A noted tick: its time, its sweep if it led to one, and what was noted.
pub type Fire = (i64, Option<String>, String);

/// Every noted tick, read behind the store's back.
pub async fn fires(world: &World) -> Vec<Fire> {
    const SQL: &str = "SELECT fire_at_us, sweep, note FROM fires ORDER BY fire_at_us";
    if world.database.starts_with("sqlite") {
        let mut database = SqliteConnection::connect(&world.database).await.unwrap();
        let rows = sqlx::query(SQL).fetch_all(&mut database).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    } else {
        let mut database = PgConnection::connect(&world.database).await.unwrap();
        let rows = sqlx::query(SQL).fetch_all(&mut database).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_ticks_missed_while_nobody_ran_the_last_is_made_up_for_and_only_once() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    world.configure(&hourly());
    let clock = ManualClock::at(HALF_PAST_TEN);
    let serving = Serving::start(&world, clock.clone(), "first").await;
    // A model that was never swept is swept at once, for the tick of 10:00.
    done(serving.store(), 1).await;
    serving.stop().await;

    clock.advance_us(5 * HOUR + 10 * MINUTE);
    let serving = Serving::start(&world, clock.clone(), "second").await;
    done(serving.store(), 2).await;
    serving.stop().await;
    // A start between two ticks has nothing to make up for: the next sweep is that of the next tick, ten minutes later.
    clock.advance_us(10 * MINUTE);
    let serving = Serving::start(&world, Suspended(clock.clone()), "third").await;
    clock.advance_us(10 * MINUTE);
    let all = done(serving.store(), 3).await;
    serving.stop().await;

    assert!(all.iter().all(|s| s.kind == SweepKind::Scheduled));
    let ten = HALF_PAST_TEN - 30 * MINUTE;
    let ticks: Vec<(i64, bool)> = fires(&world).await.into_iter().map(|(at, sweep, _)| (at, sweep.is_some())).collect();
    let expected = [(ten, true), (ten + 5 * HOUR, true), (ten + 6 * HOUR, true)];
    assert_eq!(ticks, expected, "10:00; 15:00 for five that were missed; 16:00 as it came");
}

/// Stands still, jumps when told to, and is looked at often: so looks a suspend of the machine.
#[derive(Clone)]
struct Suspended(ManualClock);

impl Clock for Suspended {
    fn now_us(&self) -> i64 {
        self.0.now_us()
    }

    fn rate(&self) -> f64 {
        1e9
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_ticks_slept_through_the_last_is_made_up_for() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    world.configure(&hourly());
    let clock = ManualClock::at(HALF_PAST_TEN);
    let serving = Serving::start(&world, Suspended(clock.clone()), "only").await;
    done(serving.store(), 1).await;
    // Two thousand hours: at this clock's rate two hours of the machine.
    clock.advance_us(2000 * HOUR);
    done(serving.store(), 2).await;
    clock.advance_us(HOUR);
    done(serving.store(), 3).await;
    serving.stop().await;
    let ten = HALF_PAST_TEN - 30 * MINUTE;
    let ticks: Vec<i64> = fires(&world).await.into_iter().map(|(at, ..)| at).collect();
    assert_eq!(ticks, [ten, ten + 2000 * HOUR, ten + 2001 * HOUR]);
}

/// A sweep in flight that waits for its answers: that of the tick of ten.
async fn held(world: &World, clock: &ManualClock) -> (Gate, Serving) {
    let gate = Gate::before(&world.fleet, 3).await;
    world.configure_for(&gate.providers, &hourly());
    let serving = Serving::start(world, Suspended(clock.clone()), "only").await;
    eventually("a sweep is in flight", async || {
        let all = sweeps(serving.store()).await;
        (all.len() == 1 && all[0].state == SweepState::Running).then_some(())
    })
    .await;
    (gate, serving)
}

async fn overlapping(world: &World, n: usize) {
    eventually("ticks are noted as overlapping", async || {
        let noted = fires(world).await.into_iter().filter(|(_, _, note)| note == "overlapping").count();
        (noted == n).then_some(())
    })
    .await;
}

/// Hour of the clock, whether it led to a sweep, and what was noted.
async fn noted(world: &World) -> Vec<(i64, bool, String)> {
    let all = fires(world).await.into_iter();
    all.map(|(at, sweep, note)| ((at - HALF_PAST_TEN + 30 * MINUTE) / HOUR + 10, sweep.is_some(), note)).collect()
}

fn tick(hour: i64, swept: bool, note: &str) -> (i64, bool, String) {
    (hour, swept, note.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tick_waits_for_the_sweep_in_flight_and_those_after_it_are_noted_as_overlapping() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let clock = ManualClock::at(HALF_PAST_TEN);
    let (gate, serving) = held(&world, &clock).await;
    clock.advance_us(3 * HOUR + 30 * MINUTE);
    overlapping(&world, 3).await;
    assert_eq!(sweeps(serving.store()).await.len(), 1, "one sweep at a time");
    gate.open();
    done(serving.store(), 2).await;
    serving.stop().await;
    let over = |hour| tick(hour, false, "overlapping");
    let expected = [tick(10, true, ""), tick(11, true, ""), over(12), over(13), over(14)];
    assert_eq!(noted(&world).await, expected, "the early one waited, and only that one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_waits_when_the_daemon_stops_is_noted_or_made_up_for() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let clock = ManualClock::at(HALF_PAST_TEN);
    let (gate, serving) = held(&world, &clock).await;
    // Eleven waits, and twelve is noted after it: nobody would come back to eleven.
    clock.advance_us(HOUR + 30 * MINUTE);
    overlapping(&world, 1).await;
    serving.service.signals.stop.cancel();
    gate.open();
    serving.stop().await;
    let until_noon = [tick(10, true, ""), tick(11, false, "stopped"), tick(12, false, "overlapping")];
    assert_eq!(noted(&world).await, until_noon);

    // The sweep of ten is finished, at one comes the next. It is held as well; two o'clock waits and is the last.
    gate.hold();
    let serving = Serving::start(&world, Suspended(clock.clone()), "next").await;
    clock.advance_us(HOUR);
    gate.open();
    done(serving.store(), 2).await;
    gate.hold();
    clock.advance_us(HOUR);
    eventually("the sweep of two is in flight", async || (sweeps(serving.store()).await.len() == 3).then_some(()))
        .await;
    clock.advance_us(HOUR);
    serving.service.signals.stop.cancel();
    gate.open();
    serving.stop().await;
    let mut expected = until_noon.to_vec();
    expected.extend([tick(13, true, ""), tick(14, true, "")]);
    assert_eq!(noted(&world).await, expected, "three o'clock is left to the next start");
    let serving = Serving::start(&world, Suspended(clock.clone()), "last").await;
    done(serving.store(), 4).await;
    serving.stop().await;
    expected.push(tick(15, true, ""));
    assert_eq!(noted(&world).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_on_one_database_share_the_ticks_and_run_none_twice() {
    const SWEEPS: usize = 4;
    let world = World::on_postgres(vec![good("alder"), good("birch")]).await;
    world.configure(&hourly());
    // Both see every tick at the same moment; an hour takes a second.
    let clock = FastClock::new(HALF_PAST_TEN, 3600.0);
    let (one, two) =
        tokio::join!(Serving::start(&world, clock.clone(), "one"), Serving::start(&world, clock.clone(), "two"));
    eventually("some sweeps are done", async || {
        let all = sweeps(one.store()).await;
        (all.iter().filter(|s| s.state == SweepState::Done).count() >= SWEEPS).then_some(())
    })
    .await;
    tokio::join!(one.stop(), two.stop());
    // What the stop has parked is finished by one of them.
    let rest = world.service(Arc::new(clock), "rest").await;
    let runtime = rest.runtime.load_full();
    let request = exactod::daemon::SweepRequest { resume_only: true, ..manual_request(Duration::from_secs(1 << 30)) };
    rest.sweeper.run(&runtime, &runtime.models[&model()], &request, &rest.signals).await.unwrap();
    let all = done(&rest.sweeper.store, SWEEPS).await;
    rest.close().await;

    let ordinals: Vec<u64> = all.iter().rev().map(|s| s.ordinal).collect();
    assert_eq!(ordinals, (1..=all.len() as u64).collect::<Vec<_>>());
    let fired: Vec<Fire> = fires(&world).await.into_iter().filter(|(_, sweep, _)| sweep.is_some()).collect();
    let by_fire: BTreeSet<&String> = fired.iter().filter_map(|(_, sweep, _)| sweep.as_ref()).collect();
    assert_eq!((fired.len(), by_fire.len()), (all.len(), all.len()), "one tick, one sweep");
    // Each planned attempt was asked once, but for those in flight when the daemons stopped.
    let attempts = world.attempts().await;
    let keys: BTreeSet<_> = attempts.iter().map(|a| a.attempt.key.clone()).collect();
    assert_eq!(keys.len(), attempts.len());
    assert_eq!(attempts.len(), all.len() * 2 * CASES, "every sweep is whole");
    assert_eq!(world.requests() as usize, attempts.len(), "no answer was paid for twice");
}
