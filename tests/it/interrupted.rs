//! `sweep` ends when it is told to, whatever the providers and the store do.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use exactod::clock::{Clock, SystemClock};
use exactod::domain::{SweepId, SweepState};
use sqlx::{Connection, SqliteConnection};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::gate::Gate;
use crate::suites::CASES;
use crate::world::{PATIENCE, Ran, Settings, World, eventually, good};

const NEVER: &str = "retry = { attempts = 1, over = \"1s\" }\nlimits = { concurrency = 2 }\n\
    timeouts = { first_byte = \"3000s\", idle = \"3000s\", total = \"3000s\" }";

/// A server that takes connections and never says a word; how many it has taken.
pub async fn silent() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    (base, taken)
}

fn settings(drain: &str) -> Settings {
    let server = format!("listen = \"127.0.0.1:0\"\ndrain_timeout = \"{drain}\"");
    Settings { server, provider: NEVER.to_owned(), ..Settings::default() }
}

fn start(world: &World, args: &[&str]) -> Child {
    world.exactod(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn interrupt(child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().await.unwrap().success());
}

async fn end(child: Child) -> Ran {
    Ran::from(tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("the program ends").unwrap())
}

/// A sweep that waits for answers that will never come.
async fn hanging(drain: &str) -> (World, Child) {
    let world = World::new(vec![good("alder")]).await;
    let (base, taken) = silent().await;
    world.configure_for(&[("alder".to_owned(), base)], &settings(drain));
    let child = start(&world, &["sweep", "--json"]);
    eventually("both requests are in flight", async || (taken.load(Ordering::SeqCst) == 2).then_some(())).await;
    (world, child)
}

async fn is_parked(world: &World) {
    let store = world.store().await;
    let running = store.running_sweeps(None).await.unwrap();
    assert_eq!(running.len(), 1);
    assert_eq!(running[0].record.state, SweepState::Running);
    let held = running[0].record.lease_until_us.is_some_and(|until| until > SystemClock.now_us());
    assert!(!held, "the next start need not wait: {running:?}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_of_the_drain_time_a_sweep_gives_up_a_provider_that_hangs() {
    let (world, child) = hanging("100ms").await;
    interrupt(&child).await;
    let ran = end(child).await;
    assert_eq!(ran.code, 130, "{ran:?}");
    assert_eq!(ran.json()["endpoints"][0]["attempts"], 0, "{ran:?}");
    is_parked(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let (world, mut child) = hanging("10h").await;
    let mut stderr = tokio::io::BufReader::new(child.stderr.take().unwrap());
    interrupt(&child).await;
    let mut line = String::new();
    while !line.contains("once more") {
        assert!(tokio::io::AsyncBufReadExt::read_line(&mut stderr, &mut line).await.unwrap() > 0, "{line}");
    }
    interrupt(&child).await;
    let ran = end(child).await;
    assert_eq!(ran.code, 130, "{ran:?}");
    is_parked(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_program_locks_does_not_keep_it_alive() {
    let world = World::new(vec![good("alder")]).await;
    let gate = Gate::before(&world.fleet, 0).await;
    world.configure_for(&gate.providers, &settings("100ms"));
    let child = start(&world, &["sweep", "--full"]);
    eventually("requests are in flight", async || (world.requests() == 2).then_some(())).await;
    let mut other = SqliteConnection::connect(&world.database).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    gate.open();
    eventually("all is answered", async || (world.requests() as usize == CASES).then_some(())).await;
    interrupt(&child).await;
    let ran = end(child).await;
    assert_eq!(ran.code, 130, "{ran:?}");
    assert!(ran.stderr.contains("could not be stored and will be asked again"), "{ran:?}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    // Nothing is lost for good.
    let said = world.json(&["sweep", "--full", "--json"]).await;
    assert_eq!(said["endpoints"][0]["attempts"], CASES);
    assert_eq!(said["endpoints"][0]["unscored"], 0);
}

/// Another process claims the running sweep, as if this one's lease had ended.
async fn take_over(world: &World) -> SweepId {
    let store = world.store().await;
    let sweep = store.running_sweeps(None).await.unwrap()[0].record.id;
    let later_us = SystemClock.now_us() + 3_600_000_000;
    let fence = store.claim_sweep(sweep, "another", later_us + 3_600_000_000, later_us).await.unwrap();
    assert!(fence.is_some());
    store.close().await;
    sweep
}

/// It failed, said why, and left the sweep to the other one.
async fn was_taken_over(world: &World, sweep: SweepId, ran: &Ran) {
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    let told = format!("error: another process (another) has taken over sweep {sweep} of lab/m");
    assert!(ran.stderr.contains(&told) && ran.stderr.contains("`exactod sweep`"), "{ran:?}");
    let store = world.store().await;
    let record = store.sweep(sweep).await.unwrap().unwrap().record;
    assert_eq!((record.state, record.lease_owner.as_deref()), (SweepState::Running, Some("another")));
    store.close().await;
}

/// Noticed at the next renewal, in its midst.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_another_process_has_taken_over_is_given_up_and_is_no_interruption() {
    let (world, child) = hanging("10h").await;
    let sweep = take_over(&world).await;
    was_taken_over(&world, sweep, &end(child).await).await;
}

/// Noticed at its end: it must not count.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_sweep_that_was_taken_over_is_the_other_ones() {
    let world = World::new(vec![good("alder")]).await;
    let gate = Gate::before(&world.fleet, 0).await;
    world.configure_for(&gate.providers, &settings("10h"));
    let child = start(&world, &["sweep", "--json"]);
    eventually("requests are in flight", async || (world.requests() == 2).then_some(())).await;
    let sweep = take_over(&world).await;
    gate.open();
    was_taken_over(&world, sweep, &end(child).await).await;
    assert_eq!(world.attempts().await.len(), CASES, "what was answered is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_the_sweep_of_another_process_can_be_interrupted() {
    let (world, first) = hanging("100ms").await;
    let mut second = start(&world, &["sweep"]);
    let mut stderr = tokio::io::BufReader::new(second.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("another process holds") {
        assert!(tokio::io::AsyncBufReadExt::read_line(&mut stderr, &mut line).await.unwrap() > 0, "{line}");
    }
    interrupt(&second).await;
    assert_eq!(end(second).await.code, 130);
    interrupt(&first).await;
    assert_eq!(end(first).await.code, 130);
}
