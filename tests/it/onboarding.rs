//! First standings between the ticks: at the stated pace, within the budget, once over all daemons, and not for ever.

use std::collections::{BTreeMap, BTreeSet};

use exactod::clock::{Clock, ManualClock};
use exactod::daemon::{SweepOutcome, SweepRequest, manual_request, standings};
use exactod::domain::{Standing, SweepKind, SweepState};
use exactod::store::{Store, SweepRecord};
use serde_json::json;

use crate::daemon::Daemon;
use crate::history::{fast, raw};
use crate::ticks::{Fire, HALF_PAST_TEN, HOUR, MINUTE, Serving, fires, sweeps};
use crate::world::{MODEL, Settings, World, endpoint, eventually, good, model, weak};

/// Stands still until told, and is looked at often.
#[derive(Clone)]
struct Stepped(ManualClock);

impl Stepped {
    fn new() -> Stepped {
        Stepped(ManualClock::at(HALF_PAST_TEN))
    }

    fn advance(&self, by_us: i64) {
        self.0.advance_us(by_us);
    }
}

impl Clock for Stepped {
    fn now_us(&self) -> i64 {
        self.0.now_us()
    }

    fn rate(&self) -> f64 {
        1e12
    }
}

fn six_hourly(onboarding: &str) -> Settings {
    let schedule = format!("cron = \"0 */6 * * *\"\nspread = \"0s\"\nonboarding = {onboarding}");
    Settings { schedule, ..fast() }
}

/// Once a year, and meanwhile every half hour while somebody waits.
fn yearly() -> Settings {
    Settings { schedule: "cron = \"0 0 1 1 *\"\nspread = \"0s\"\nonboarding = \"30m\"".to_owned(), ..fast() }
}

/// Exactly so many sweeps, all done.
async fn done(store: &Store, n: usize) -> Vec<SweepRecord> {
    let all = eventually("the sweeps are done", async || {
        let all = sweeps(store).await;
        (all.len() >= n && all.iter().all(|s| s.state == SweepState::Done)).then_some(all)
    })
    .await;
    assert_eq!(all.len(), n, "{all:?}");
    all
}

async fn standing_of(serving: &Serving) -> BTreeMap<String, Standing> {
    let found = standings(&serving.service.sweeper, &model()).await.unwrap();
    found.into_iter().map(|(id, standing)| (id.to_string(), standing)).collect()
}

fn is_open(standing: Standing) -> bool {
    standing == Standing::Unknown
}

/// Steps half an hour at a time until nobody is Unknown; how many sweeps there are then.
async fn until_known(serving: &Serving, clock: &Stepped, mut swept: usize) -> usize {
    const SWEEPS_MAX: usize = 60;
    while standing_of(serving).await.into_values().any(is_open) {
        assert!(swept < SWEEPS_MAX, "{:?}", standing_of(serving).await);
        clock.advance(30 * MINUTE);
        swept += 1;
        done(serving.store(), swept).await;
    }
    swept
}

fn kinds(all: &[SweepRecord]) -> Vec<SweepKind> {
    all.iter().rev().map(|s| s.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_daemon_reaches_standings_at_the_stated_pace_and_then_keeps_to_the_schedule() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar"), weak("dogwood", 0.3)]).await;
    world.configure(&six_hourly("\"30m\""));
    let clock = Stepped::new();
    let serving = Serving::start(&world, clock.clone(), "only").await;
    done(serving.store(), 1).await;
    let runtime = serving.service.runtime.load_full();
    let plan = exactod::daemon::plan(Some(serving.store()), &runtime, None, clock.now_us()).await.unwrap();
    let told = plan.models[0].undecided.clone().unwrap().at_pace.unwrap();
    let swept = until_known(&serving, &clock, 1).await;
    let all = done(serving.store(), swept).await;
    // The plan takes dogwood for as good as the others, and them to fail now and then.
    let (sweeps, took) = (told.sweeps.unwrap(), swept as u64 - 1);
    assert!(took <= 2 * sweeps + 2 && sweeps <= 3 * took + 3, "{took} took as many, {told:?}");
    let found = standing_of(&serving).await;
    assert_eq!(found["dogwood"], Standing::Excluded, "{found:?}");
    assert!(["alder", "birch", "cedar"].iter().all(|id| found[*id] == Standing::Admitted), "{found:?}");
    let expected: Vec<SweepKind> =
        (0..swept).map(|n| if n % 12 == 3 || n == 0 { SweepKind::Scheduled } else { SweepKind::Onboarding }).collect();
    assert_eq!(kinds(&all), expected, "the first is that of the tick at six; at twelve the tick serves");
    // On this clock a sweep takes no time: each begins half an hour after the one before.
    let began: Vec<i64> = all.iter().rev().map(|s| s.planned_at_us).collect();
    assert_eq!(began, (0..swept as i64).map(|n| HALF_PAST_TEN + n * 30 * MINUTE).collect::<Vec<_>>());
    assert!(began[swept - 1] < HALF_PAST_TEN + 8 * HOUR, "by ticks alone it takes days: {swept}");
    let fired = fires(&world).await;
    assert_eq!(fired.len(), swept, "each is a row, led to a sweep: {fired:?}");

    // Everybody has a standing: the next sweep is the next tick's.
    let now_us = clock.now_us();
    clock.advance(6 * HOUR - now_us.rem_euclid(6 * HOUR));
    let all = done(serving.store(), swept + 1).await;
    assert_eq!(all[0].kind, SweepKind::Scheduled);
    serving.stop().await;
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_only_ticks_sweep() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    world.configure(&Settings { policy: String::new(), ..six_hourly("\"off\"") });
    let clock = Stepped::new();
    let serving = Serving::start(&world, clock.clone(), "only").await;
    done(serving.store(), 1).await;
    // Ninety minutes to the tick: time for three onboarding sweeps.
    for swept in 2..5 {
        clock.advance(if swept == 2 { 90 * MINUTE } else { 6 * HOUR });
        let all = done(serving.store(), swept).await;
        assert!(kinds(&all).iter().all(|kind| *kind == SweepKind::Scheduled), "{all:?}");
    }
    assert!(standing_of(&serving).await.into_values().any(is_open), "somebody still waits");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_a_reload_adds_is_onboarded() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar"), good("dogwood")]).await;
    let all: Vec<(String, String)> = world.fleet.endpoints().map(|(id, url)| (id.to_string(), url)).collect();
    world.configure_for(&all[..3], &yearly());
    let clock = Stepped::new();
    let serving = Serving::start(&world, clock.clone(), "only").await;
    done(serving.store(), 1).await;
    let swept = until_known(&serving, &clock, 1).await;
    assert!(world.fleet.log("dogwood").unwrap().is_empty());

    clock.advance(24 * HOUR);
    world.configure(&yearly());
    // The pause after the last sweep is long over: it begins at once.
    done(serving.store(), swept + 1).await;
    assert!(!world.fleet.log("dogwood").unwrap().is_empty());
    let more = until_known(&serving, &clock, swept + 1).await;
    let found = standing_of(&serving).await;
    assert_eq!(found["dogwood"], Standing::Admitted, "{found:?}");
    let records = done(serving.store(), more).await;
    assert!(kinds(&records)[1..].iter().all(|kind| *kind == SweepKind::Onboarding), "{records:?}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_days_money_is_used_up_onboarding_waits_for_the_next_day() {
    const DEAR: &str = "price = { input_per_mtok = 100.0, output_per_mtok = 1000.0 }";
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    world.configure(&Settings { endpoint: DEAR.to_owned(), ..fast() });
    let plan = world.json(&["plan", "--json"]).await;
    let worst_usd = plan["models"][0]["next_sweep"]["worst_usd"].as_f64().unwrap();
    // One sweep fits, and less than half of another: what is spent of the first is a part of its worst case.
    let budget = format!("usd_per_day = {}", worst_usd * 1.01);
    // By the default policy three endpoints of two tiny suites stay undecided for long.
    world.configure(&Settings { endpoint: DEAR.to_owned(), budget, policy: String::new(), ..yearly() });
    let clock = Stepped::new();
    let serving = Serving::start(&world, clock.clone(), "only").await;
    let mut swept = 1;
    done(serving.store(), swept).await;
    // Sweep after sweep until the day has no room.
    let (tried, _, note) = loop {
        clock.advance(30 * MINUTE);
        let found = eventually("a sweep, or a note that there is no money", async || {
            let all = sweeps(serving.store()).await;
            let skipped = fires(&world).await.into_iter().find(|(_, sweep, _)| sweep.is_none());
            let ended = all.len() > swept && all.iter().all(|s| s.state == SweepState::Done);
            (ended || skipped.is_some()).then_some(skipped)
        })
        .await;
        match found {
            Some(skipped) => break skipped,
            None => swept += 1,
        }
        assert!(swept < 20, "the day's money does not end");
    };
    assert_eq!((tried, note.as_str()), (clock.now_us(), "budget"));
    let alarms = serving.store().open_alarms().await.unwrap();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(alarms[0].key.kind, "budget");
    assert!(alarms[0].text.contains("next UTC day"), "{alarms:?}");
    let day = 24 * HOUR;
    let midnight = clock.now_us().div_euclid(day) * day + day;
    // Nothing until midnight, and then on.
    clock.advance(midnight - clock.now_us() - 1);
    clock.advance(1);
    let all = done(serving.store(), swept + 1).await;
    assert_eq!((all[0].kind, all[0].planned_at_us), (SweepKind::Onboarding, midnight));
    eventually("the alarm is closed", async || serving.store().open_alarms().await.unwrap().is_empty().then_some(()))
        .await;
    let noted = fires(&world).await.into_iter().filter(|(_, sweep, _)| sweep.is_none()).count();
    assert_eq!(noted, 1, "tried once that day");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn onboarding_of_two_models_leaves_the_days_ticks_their_money() {
    const DEAR: &str = "price = { input_per_mtok = 100.0, output_per_mtok = 1000.0 }\nupstream_model = \"lab/m\"";
    let fleet = || vec![good("alder"), good("birch"), good("cedar")];
    // What a sweep of one model costs, and reserves, found elsewhere: it would count for the day.
    let elsewhere = World::new(fleet()).await;
    elsewhere.configure(&Settings { endpoint: DEAR.to_owned(), ..fast() });
    elsewhere.json(&["sweep", "--json"]).await;
    let store = elsewhere.store().await;
    let whole = sweeps(&store).await.remove(0);
    store.close().await;
    let (spent, reserved) = (whole.spent_nanousd as f64 / 1e9, whole.reserved_nanousd as f64 / 1e9);

    let world = World::new(fleet()).await;
    // Two models: at the start, at twelve and at eighteen, and half a sweep over.
    let budget = format!("usd_per_day = {}", 6.5 * spent + 2.0 * (reserved - spent));
    world.configure(&Settings { endpoint: DEAR.to_owned(), budget, policy: String::new(), ..six_hourly("\"30m\"") });
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let (models, providers) = text.split_at(text.find("[[provider]]").unwrap());
    let first = &models[models.find("[[model]]").unwrap()..];
    let second = first.replacen("id = \"lab/m\"", "id = \"lab/n\"", 1);
    std::fs::write(world.config_path(), format!("{models}{second}\n{providers}")).unwrap();

    let clock = Stepped::new();
    let serving = Serving::start(&world, clock.clone(), "only").await;
    done(serving.store(), 2).await;
    let without = async |n: usize| {
        eventually("there is no money between the ticks", async || {
            let all = fires(&world).await;
            (all.iter().filter(|(_, sweep, _)| sweep.is_none()).count() == n).then_some(())
        })
        .await;
    };
    clock.advance(30 * MINUTE);
    without(2).await;
    clock.advance(HOUR);
    done(serving.store(), 4).await;
    clock.advance(30 * MINUTE);
    without(4).await;
    clock.advance(5 * HOUR + 30 * MINUTE);
    let all = done(serving.store(), 6).await;
    assert!(all.iter().all(|s| s.kind == SweepKind::Scheduled && s.note.is_empty()), "whole: {all:?}");
    // Nothing comes any more today: what is left is onboarding's.
    clock.advance(30 * MINUTE);
    let onboarding = eventually("a sweep between the ticks", async || {
        sweeps(serving.store()).await.into_iter().find(|s| s.kind == SweepKind::Onboarding)
    })
    .await;
    assert_eq!(onboarding.planned_at_us, HALF_PAST_TEN + 8 * HOUR);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_before_another_process_ended_a_sweep_waits_for_its_pause() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let clock = Stepped::new();
    let service = world.service(std::sync::Arc::new(clock.clone()), "late").await;
    let by_hand = manual_request(std::time::Duration::from_secs(3600));
    let sweep = async |request: &SweepRequest| {
        let runtime = service.runtime.load_full();
        service.sweeper.run(&runtime, &runtime.models[&model()], request, &service.signals).await.unwrap()
    };
    assert!(matches!(sweep(&by_hand).await, SweepOutcome::Done { .. }));
    let due = |fire_at_us: i64| {
        let fire = exactod::store::Fire { schedule: "onboarding".to_owned(), fire_at_us, model: model() };
        SweepRequest { kind: SweepKind::Onboarding, fire: Some(fire), ..by_hand.clone() }
    };
    // Handed over before the sweep by hand, which kept it waiting.
    clock.advance(MINUTE);
    let late = sweep(&due(HALF_PAST_TEN - MINUTE)).await;
    assert!(matches!(&late, SweepOutcome::NotStarted { why } if why.contains("another sweep has ended")), "{late:?}");
    assert!(fires(&world).await.is_empty(), "the due time is not used up");
    assert!(matches!(sweep(&due(HALF_PAST_TEN + MINUTE)).await, SweepOutcome::Done { .. }));
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_ran_ahead_and_was_set_back_does_not_stop_it() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    // By the default policy two endpoints of two tiny suites stay undecided for long.
    world.configure(&Settings { policy: String::new(), ..yearly() });
    let ahead = Stepped::new();
    ahead.advance(1000 * HOUR);
    let serving = Serving::start(&world, ahead.clone(), "ahead").await;
    done(serving.store(), 1).await;
    ahead.advance(30 * MINUTE);
    done(serving.store(), 2).await;
    serving.stop().await;

    let clock = Stepped::new();
    let serving = Serving::start(&world, clock.clone(), "right").await;
    // The last sweep has ended in the future: the next begins now, and then the pace is as ever.
    for swept in 3..6 {
        done(serving.store(), swept).await;
        clock.advance(30 * MINUTE);
    }
    let mut all = done(serving.store(), 6).await;
    all.sort_by_key(|s| s.ordinal);
    let began: Vec<i64> = all[2..].iter().map(|s| s.planned_at_us).collect();
    assert_eq!(began, (0..4).map(|n| HALF_PAST_TEN + n * 30 * MINUTE).collect::<Vec<_>>());
    serving.stop().await;
    let log = world.json(&["decisions", "--json"]).await;
    let reasons: Vec<&str> = log["items"].as_array().unwrap().iter().map(|d| d["reason"].as_str().unwrap()).collect();
    assert!(reasons.iter().any(|r| r.contains("the clock went back")), "{reasons:?}");
    assert!(!reasons.iter().any(|r| r.contains("begun later")), "they ended in their order: {reasons:?}");
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_never_answer_are_left_to_the_schedule_with_an_alarm() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    // Nobody listens there.
    let dead: Vec<(String, String)> =
        ["alder", "birch"].map(|id| (id.to_owned(), "http://127.0.0.1:9/v1".to_owned())).to_vec();
    let provider = "limits = { concurrency = 4 }\nretry = { attempts = 1, over = \"1ms\" }".to_owned();
    world.configure_for(&dead, &Settings { provider: provider.clone(), ..six_hourly("\"30m\"") });
    let clock = Stepped::new();
    let serving = Serving::start(&world, clock.clone(), "only").await;
    for swept in 1..=3 {
        done(serving.store(), swept).await;
        clock.advance(if swept < 3 { 30 * MINUTE } else { MINUTE });
    }
    let alarm = eventually("the alarm", async || {
        serving.store().open_alarms().await.unwrap().into_iter().find(|a| a.key.kind == "onboarding")
    })
    .await;
    assert!(alarm.text.contains("alder, birch"), "{}", alarm.text);
    // What it says is what holds: without the one that is taken out of service, and with it again.
    for (order, named) in [("ban", "scored answer of birch:"), ("unban", "scored answer of alder, birch:")] {
        world.json(&[order, MODEL, "alder", "--json"]).await;
        eventually("the alarm is renewed", async || {
            let open = serving.store().open_alarms().await.unwrap();
            let text = &open.iter().find(|a| a.key.kind == "onboarding")?.text;
            text.contains(named).then_some(())
        })
        .await;
    }
    // Half past ten, eleven, half past eleven; the next is that of the tick at twelve.
    clock.advance(HOUR);
    let all = done(serving.store(), 4).await;
    let onboarding = SweepKind::Onboarding;
    assert_eq!(kinds(&all), [SweepKind::Scheduled, onboarding, onboarding, SweepKind::Scheduled]);

    // Once they answer, the schedule's sweep shows it, and onboarding goes on.
    world.configure(&Settings { provider, ..six_hourly("\"30m\"") });
    eventually("the config is taken", async || {
        let runtime = serving.service.runtime.load_full();
        let url = runtime.config.models[0].endpoint(&endpoint("alder")).unwrap().1.base_url.to_string();
        (!url.contains(":9/")).then_some(())
    })
    .await;
    clock.advance(6 * HOUR);
    done(serving.store(), 5).await;
    clock.advance(30 * MINUTE);
    let all = done(serving.store(), 6).await;
    assert_eq!(kinds(&all)[4..], [SweepKind::Scheduled, onboarding]);
    eventually("the alarm is closed", async || {
        let open = serving.store().open_alarms().await.unwrap();
        open.iter().all(|a| a.key.kind != "onboarding").then_some(())
    })
    .await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_on_one_database_begin_each_onboarding_sweep_once() {
    const SWEEPS: usize = 6;
    let world = World::on_postgres(vec![good("alder"), good("birch")]).await;
    // By the default policy two endpoints of two tiny suites stay undecided for long.
    world.configure(&Settings { policy: String::new(), ..yearly() });
    let clock = Stepped::new();
    let (one, two) =
        tokio::join!(Serving::start(&world, clock.clone(), "one"), Serving::start(&world, clock.clone(), "two"));
    for swept in 1..=SWEEPS {
        done(one.store(), swept).await;
        clock.advance(30 * MINUTE);
    }
    done(one.store(), SWEEPS + 1).await;
    tokio::join!(one.stop(), two.stop());

    let fired: Vec<Fire> = fires(&world).await;
    let at: Vec<i64> = fired[1..].iter().map(|(at, ..)| *at).collect();
    assert_eq!(at, (1..=SWEEPS as i64).map(|n| HALF_PAST_TEN + n * 30 * MINUTE).collect::<Vec<_>>(), "{fired:?}");
    let led: BTreeSet<&String> = fired.iter().filter_map(|(_, sweep, _)| sweep.as_ref()).collect();
    assert_eq!(led.len(), SWEEPS + 1, "one row, one sweep");
    let attempts = world.attempts().await;
    assert_eq!(world.requests() as usize, attempts.len(), "no answer was paid for twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemons_onboarding_sweep_is_finished_by_the_next_start() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    world.configure(&yearly());
    let clock = Stepped::new();
    let serving = Serving::start(&world, clock.clone(), "first").await;
    done(serving.store(), 1).await;
    serving.stop().await;
    // The real program by the real clock: its first onboarding sweep is long due. It hangs at the gate, and is killed.
    let gate = crate::gate::Gate::before(&world.fleet, 2).await;
    world.configure_for(&gate.providers, &yearly());
    let mut daemon = Daemon::start(&world).await;
    daemon.says("onboarding: a sweep between the ticks").await;
    let running = eventually("some answers are stored", async || {
        let items = daemon.get("/v1/sweeps?state=running", None).await.json()["items"].take();
        let sweep = items.as_array().unwrap().first().cloned()?;
        let metric = daemon.metric(&format!("exactod_sweep_done_attempts{{model=\"{MODEL}\"}}")).await?;
        (metric >= 6.0).then_some(sweep)
    })
    .await;
    assert_eq!(running["kind"], json!("onboarding"));
    let page = daemon.get("/", None).await.body;
    assert!(page.contains("Onboarding sweep in flight"), "{page}");
    let begun = format!("exactod_sweeps_begun_total{{model=\"{MODEL}\",kind=\"onboarding\"}}");
    assert_eq!(daemon.metric(&begun).await, Some(1.0));
    assert_eq!(daemon.metric(&format!("exactod_onboarding_endpoints{{model=\"{MODEL}\"}}")).await, Some(3.0));
    daemon.signal("KILL").await;
    daemon.ended().await;
    gate.open();
    let daemon = Daemon::start(&world).await;
    let ended = eventually("it is finished", async || {
        let path = format!("/v1/sweeps/{}", running["id"].as_str().unwrap());
        let sweep = daemon.get(&path, None).await.json();
        (sweep["state"] == json!("done")).then_some(sweep)
    })
    .await;
    assert_eq!(ended["kind"], json!("onboarding"));
    daemon.stop().await;
    let store = world.store().await;
    assert_eq!(sweeps(&store).await.len(), 2, "the next is not due before half an hour");
    store.close().await;
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_of_a_model_that_is_gone_are_closed_at_the_start() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let store = world.store().await;
    raw(
        &world,
        "INSERT INTO alarms (id, model, endpoint, kind, text, opened_at_us, closed_at_us) VALUES \
         ('019a0000-0000-7000-8000-000000000001', 'lab/gone', '', 'budget', 'no sweep fits', 1, NULL), \
         ('019a0000-0000-7000-8000-000000000002', 'lab/m', '', 'frozen', 'the list is held', 1, NULL)",
    )
    .await;
    let daemon = Daemon::start(&world).await;
    let open = daemon.get("/v1/alarms?open=true", None).await.json();
    let of: Vec<&serde_json::Value> = open["items"].as_array().unwrap().iter().map(|a| &a["model"]).collect();
    assert!(!of.contains(&&json!("lab/gone")), "{open}");
    let log = daemon.stop().await;
    assert!(log.contains("alarm closed: the model is not configured any more"), "{log}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_while_the_store_is_locked_is_for_later() {
    use sqlx::{Connection, SqliteConnection};
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    world.configure(&fast());
    let daemon = Daemon::start(&world).await;
    eventually("a sweep is done", async || {
        let items = daemon.get("/v1/sweeps?state=done", None).await.json()["items"].take();
        items.get(0).cloned()
    })
    .await;
    let mut holder = SqliteConnection::connect(&world.database).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    let path = format!("/v1/models/{MODEL}/endpoints/birch/ban");
    let refused = daemon.post(&path, &json!({"note": "leaks"})).await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("content-type")),
        (503, "application/problem+json"),
        "{refused:?}"
    );
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let taken = daemon.post(&path, &json!({"note": "leaks"})).await;
    assert_eq!(taken.status.as_u16(), 200, "{taken:?}");
    holder.close().await.unwrap();
    daemon.stop().await;
}
