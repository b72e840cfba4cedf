//! The alarm for sweeps that do not begin, on a schedule with nights.

use std::sync::Arc;
use std::time::Duration;

use exactod::clock::ManualClock;
use exactod::daemon::{Service, SweepOutcome, SweepRequest, Upkeep, manual_request};

use crate::world::{Settings, World, good, model};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
/// 10:30 on the second of March 2026, UTC.
const START_US: i64 = 1_772_447_400_000_000;

async fn alarms(service: &Service) -> Vec<String> {
    let open = service.sweeper.store.open_alarms().await.unwrap();
    open.into_iter().map(|alarm| alarm.key.kind).filter(|kind| kind == "late_sweep").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_is_no_delay_and_three_missed_ticks_are() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let schedule = "cron = \"0 9-17 * * *\"\nspread = \"0s\"\nonboarding = \"off\"".to_owned();
    world.configure(&Settings { schedule, ..Settings::default() });
    let clock = ManualClock::at(START_US);
    let service = world.service(Arc::new(clock.clone()), "late").await;
    let upkeep = Upkeep::new(Arc::clone(&service.sweeper), Arc::clone(&service.runtime), service.signals.clone());
    let look = async |advance_us: i64| {
        clock.advance_us(advance_us);
        upkeep.look().await;
        alarms(&service).await
    };
    let sweep = async || {
        let runtime = service.runtime.load_full();
        let request = SweepRequest { back_to_back: true, ..manual_request(Duration::from_secs(3600)) };
        let swept = service.sweeper.run(&runtime, &runtime.models[&model()], &request, &service.signals).await;
        assert!(matches!(swept, Ok(SweepOutcome::Done { .. })), "{swept:?}");
    };

    assert_eq!(look(0).await, [""; 0]);
    assert_eq!(look(2 * HOUR).await, [""; 0], "12:30: ticks at 11 and 12");
    assert_eq!(look(31 * MINUTE).await, ["late_sweep"], "13:01: never a sweep, and three ticks");
    sweep().await;
    assert_eq!(look(0).await, [""; 0], "there was one");

    clock.advance_us(4 * HOUR);
    sweep().await;
    assert_eq!(look(15 * HOUR + 58 * MINUTE).await, [""; 0], "08:59: no tick since 17:01");
    assert_eq!(look(2 * HOUR + MINUTE).await, [""; 0], "11:00: the third may just begin");
    assert_eq!(look(MINUTE).await, ["late_sweep"]);
    sweep().await;
    assert_eq!(look(0).await, [""; 0]);
}
