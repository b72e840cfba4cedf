//! Standings and the published list, by the rules of a policy that decides fast: wide margins, few sweeps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use exactod::clock::ManualClock;
use exactod::daemon::{Service, SweepOutcome, SweepRequest, manual_request, standings};
use exactod::domain::{Allowlist, AllowlistMode, Decision, EndpointId, Standing, SweepKind};
use exactod::sim::Injection;
use serde_json::json;

use crate::suites::CASES;
use crate::world::{Settings, World, broken, endpoint, good, model};

const HOUR: i64 = 3_600_000_000;
/// Far more than any of these decisions takes.
const SWEEPS_MAX: usize = 60;

const FAST_POLICY: &str = "margin = 0.4\nadmission_margin = 0.3\nalpha = 0.2\nexclude_after_sweeps = 20\n\
    readmit_after_sweeps = 10\nsuspect_at = 5\nburst_at = 3\nmin_providers = 1\n\
    cases = { standard = 8, burst = 8, unknown = 8, cap = 1000 }";

fn settings(policy: &str) -> Settings {
    Settings { policy: policy.to_owned(), ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn until_decided_admits_the_good_and_excludes_the_bad() {
    let bad = [("args_python_literal", 1.0), ("reasoning_only", 0.9)];
    let world = World::new(vec![good("alder"), good("birch"), broken("cedar", &bad), good("dogwood")]).await;
    world.configure(&settings(FAST_POLICY));
    let said = world.json(&["sweep", "--until-decided", "--json"]).await;
    assert_eq!(said["decided"], json!(true));
    assert!(said["sweeps"].as_u64().unwrap() > 1, "one sweep cannot be enough: {said}");
    let row = |id: &str| said["endpoints"].as_array().unwrap().iter().find(|r| r["id"] == id).unwrap().clone();
    for id in ["alder", "birch", "dogwood"] {
        assert_eq!(row(id)["standing"], json!("Admitted"), "{said}");
    }
    assert_eq!(row("cedar")["standing"], json!("Excluded"), "{said}");
    // The counts are sums over all sweeps.
    let requests: u64 = said["endpoints"].as_array().unwrap().iter().map(|r| r["attempts"].as_u64().unwrap()).sum();
    assert_eq!(requests, world.requests());

    let list = world.json(&["allowlist", "--json"]).await;
    let ids = |part: &str| -> Vec<String> {
        let mut ids: Vec<String> =
            list[part].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(
        (ids("providers"), ids("excluded")),
        (vec!["alder".into(), "birch".into(), "dogwood".into()], vec!["cedar".into()])
    );
    let decisions = world.json(&["decisions", "--json"]).await;
    for decision in decisions["items"].as_array().unwrap() {
        assert!(decision["reason"].as_str().unwrap().len() > 20, "every decision says why: {decision}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_budget_of_cases_cannot_decide_is_provisional_and_ends_with_1() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    // The default margin of two points cannot be shown with so few cases.
    world.configure(&settings("cases = { standard = 8, burst = 8, unknown = 8, cap = 16 }"));
    let ran = world.run(&["sweep", "--until-decided", "--json"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let said = ran.json();
    assert_eq!(said["decided"], json!(false));
    assert!(said["endpoints"].as_array().unwrap().iter().all(|r| r["standing"] == "Provisional"), "{said}");
    // Without a bad word about them they are listed all the same.
    let list = world.json(&["allowlist", "--json"]).await;
    assert_eq!(list["providers"].as_array().unwrap().len(), 3);
}

/// A model that is swept every six hours, watched after each sweep.
struct Watched {
    service: Arc<Service>,
    clock: ManualClock,
    lists: Vec<Allowlist>,
}

impl Watched {
    async fn sweep(&mut self) -> BTreeMap<EndpointId, Standing> {
        self.clock.advance_us(6 * HOUR);
        let runtime = self.service.runtime.load_full();
        let request = SweepRequest { back_to_back: true, ..manual_request(Duration::from_secs(3600)) };
        let swept =
            self.service.sweeper.run(&runtime, &runtime.models[&model()], &request, &self.service.signals).await;
        assert!(matches!(swept, Ok(SweepOutcome::Done { resumed: false, .. })), "{swept:?}");
        let stored = self.service.sweeper.store.allowlist(&model(), None).await.unwrap().unwrap();
        let list: Allowlist = serde_json::from_str(&stored.list.document).unwrap();
        assert!(!list.providers.is_empty(), "the list is never empty");
        if let Some(before) = self.lists.last() {
            assert!(list.version >= before.version, "{} after {}", list.version, before.version);
            assert!(list.version > before.version || list == *before, "another list has another version");
        }
        let served = self.service.board().get("lab/m").unwrap();
        assert_eq!((served.revision, &served.body[..]), (list.version, stored.list.document.as_bytes()));
        self.lists.push(list);
        standings(&self.service.sweeper, &model()).await.unwrap()
    }

    /// Sweeps until the standings are so.
    async fn until(&mut self, what: &str, holds: impl Fn(&BTreeMap<EndpointId, Standing>) -> bool) {
        let mut last = BTreeMap::new();
        for _ in 0..SWEEPS_MAX {
            last = self.sweep().await;
            if holds(&last) {
                return;
            }
        }
        panic!("{what}: not after {SWEEPS_MAX} sweeps: {last:?}");
    }

    fn is_listed(&self, id: &str) -> bool {
        self.lists.last().unwrap().providers.iter().any(|e| e.id == endpoint(id))
    }

    async fn open_alarms(&self) -> Vec<String> {
        let open = self.service.sweeper.store.open_alarms().await.unwrap();
        open.into_iter().map(|alarm| alarm.key.kind).collect()
    }

    /// A metric of the process, by the beginning of its line.
    fn metric(&self, line: &str) -> Option<f64> {
        let text = self.service.sweeper.metrics.encode().unwrap();
        text.lines().find(|l| l.starts_with(line))?.rsplit(' ').next()?.parse().ok()
    }

    async fn decisions(&self) -> Vec<Decision> {
        let page = self.service.sweeper.store.decisions(Some(&model()), None, 200, None).await.unwrap();
        page.items.into_iter().rev().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_heals_comes_back_and_one_that_breaks_goes() {
    moves(World::new(fleet()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_heals_comes_back_and_one_that_breaks_goes_on_postgres() {
    moves(World::on_postgres(fleet()).await).await;
}

fn fleet() -> Vec<exactod::sim::EndpointSpec> {
    vec![good("alder"), good("birch"), good("cedar"), broken("dogwood", &[("compressed_model", 0.95)])]
}

async fn moves(world: World) {
    world.configure(&settings(FAST_POLICY));
    let clock = ManualClock::at(1_772_447_400_000_000);
    let service = world.service(Arc::new(clock.clone()), "watched").await;
    let mut watched = Watched { service, clock, lists: Vec::new() };
    let stands = |all: &BTreeMap<EndpointId, Standing>, id: &str, standing: Standing| all[&endpoint(id)] == standing;

    watched
        .until("all are decided", |all| {
            ["alder", "birch", "cedar"].iter().all(|id| stands(all, id, Standing::Admitted))
                && stands(all, "dogwood", Standing::Excluded)
        })
        .await;
    assert!(!watched.is_listed("dogwood") && watched.is_listed("alder"));

    world.fleet.set_injections("dogwood", &[]).unwrap();
    watched.until("dogwood is back", |all| stands(all, "dogwood", Standing::Admitted)).await;
    assert!(watched.is_listed("dogwood"));

    world.fleet.set_injections("birch", &[Injection::new("compressed_model", 0.95)]).unwrap();
    watched.until("birch is out", |all| stands(all, "birch", Standing::Excluded)).await;
    assert!(!watched.is_listed("birch") && watched.is_listed("dogwood"));

    // Each step is a decision with its reason, and each decision begins where the one before it ended.
    let decisions = watched.decisions().await;
    let mut at: BTreeMap<EndpointId, Standing> = BTreeMap::new();
    for decision in &decisions {
        assert!(decision.reason.len() > 20, "{decision:?}");
        let before = at.insert(decision.endpoint.clone(), decision.to).unwrap_or(Standing::Unknown);
        assert_eq!(decision.from, before, "{decision:?}");
    }
    let path = |id: &str| -> Vec<Standing> {
        let own = decisions
            .iter()
            .filter(|d| d.endpoint == endpoint(id) && ![Standing::Unknown, Standing::Suspect].contains(&d.to));
        let mut path: Vec<Standing> = own.map(|d| d.to).collect();
        path.dedup();
        path
    };
    assert_eq!(path("dogwood"), [Standing::Excluded, Standing::Admitted]);
    assert_eq!(path("birch"), [Standing::Admitted, Standing::Excluded]);
    assert_eq!(path("alder"), [Standing::Admitted]);
    watched.service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_list_is_told_of_as_long_as_it_is_held() {
    let world = World::new(vec![good("alder"), good("birch"), broken("cedar", &[("compressed_model", 0.95)])]).await;
    world.configure(&settings(&FAST_POLICY.replace("min_providers = 1", "min_providers = 3")));
    let clock = ManualClock::at(1_772_447_400_000_000);
    let service = world.service(Arc::new(clock.clone()), "watched").await;
    let mut watched = Watched { service, clock: clock.clone(), lists: Vec::new() };
    watched
        .until("two of three are admitted", |all| {
            ["alder", "birch"].iter().all(|id| all[&endpoint(id)] == Standing::Admitted)
                && all[&endpoint("cedar")] == Standing::Excluded
        })
        .await;
    let held = "exactod_alarms_open{model=\"lab/m\",kind=\"frozen\"}";
    let out = "exactod_endpoint_standing{model=\"lab/m\",endpoint=\"cedar\",standing=\"Excluded\"}";
    // The second of these sweeps, at least, has no new list to look at.
    for _ in 0..3 {
        watched.sweep().await;
        assert_eq!(watched.lists.last().unwrap().mode, AllowlistMode::Frozen);
        assert_eq!(watched.open_alarms().await, ["frozen"]);
        assert_eq!((watched.metric(held), watched.metric(out)), (Some(1.0), Some(1.0)));
    }
    let versions: Vec<u64> = watched.lists.iter().rev().take(3).map(|list| list.version).collect();
    assert!(versions.windows(2).any(|v| v[0] == v[1]), "a sweep without a new list is part of this test: {versions:?}");
    watched.service.close().await;

    // Another process says the same before any sweep, and what the operator changes ends it.
    world.configure(&settings(FAST_POLICY));
    watched.service = world.service(Arc::new(clock), "heir").await;
    assert_eq!((watched.metric(held), watched.metric(out)), (Some(1.0), Some(1.0)));
    watched.sweep().await;
    assert_eq!(watched.lists.last().unwrap().mode, AllowlistMode::Normal);
    assert!(watched.open_alarms().await.is_empty());
    assert_eq!(watched.metric(held), Some(0.0));
    watched.service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_turn_bad_the_last_list_is_kept_rather_than_an_empty_one() {
    let world = World::new(fleet()).await;
    world.configure(&settings(FAST_POLICY));
    let clock = ManualClock::at(1_772_447_400_000_000);
    let service = world.service(Arc::new(clock.clone()), "watched").await;
    let mut watched = Watched { service, clock, lists: Vec::new() };
    watched
        .until("the good are admitted", |all| {
            ["alder", "birch", "cedar"].iter().all(|id| all[&endpoint(id)] == Standing::Admitted)
        })
        .await;
    // Everything is refused from now on: no anchor is left to compare with, and no answer to judge.
    for (id, _) in world.fleet.endpoints() {
        world.fleet.set_injections(id.as_str(), &[Injection::new("reasoning_only", 1.0)]).unwrap();
    }
    for _ in 0..20 {
        // Every sweep checks that the list is not empty.
        watched.sweep().await;
    }
    assert!(!watched.lists.last().unwrap().providers.is_empty());
    watched.service.close().await;
}

/// Cases that an endpoint is asked in the model's newest sweep.
async fn cases_asked(service: &Service, id: &str) -> u32 {
    let store = &service.sweeper.store;
    let newest = store.sweeps(Some(&model()), None, 1, None).await.unwrap().items.remove(0);
    let plan = store.sweep(newest.id).await.unwrap().unwrap().plan.unwrap();
    let shares = plan.suites.iter().flat_map(|part| &part.endpoints).filter(|e| e.id == endpoint(id));
    shares.map(|share| share.cases).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_excluded_rest_but_for_once_a_day_and_when_they_are_asked_for() {
    let world = World::new(fleet()).await;
    world.configure(&settings(FAST_POLICY));
    let clock = ManualClock::at(1_772_447_400_000_000);
    let service = world.service(Arc::new(clock.clone()), "watched").await;
    let mut watched = Watched { service, clock, lists: Vec::new() };
    watched.until("all are decided", |all| all.values().all(|standing| standing.is_decided()) && all.len() == 4).await;
    let Watched { service, clock, .. } = watched;
    // One o'clock at night of the next day.
    let now_us = exactod::clock::Clock::now_us(&clock);
    clock.advance_us(25 * HOUR - now_us.rem_euclid(24 * HOUR));
    let by_hand = manual_request(Duration::from_secs(3600));
    let sweep = async |request: &SweepRequest| {
        let runtime = service.runtime.load_full();
        let swept = service.sweeper.run(&runtime, &runtime.models[&model()], request, &service.signals).await;
        assert!(matches!(swept, Ok(SweepOutcome::Done { resumed: false, .. })), "{swept:?}");
        clock.advance_us(HOUR);
        cases_asked(&service, "dogwood").await
    };
    let only = |id: &str| SweepRequest { endpoints: vec![endpoint(id)], ..by_hand.clone() };
    assert_eq!(sweep(&only("alder")).await, 0, "without the anchors: no evidence");
    assert!(sweep(&by_hand).await > 0, "the first sweep of the day that gives evidence");
    assert_eq!(sweep(&by_hand).await, 0, "the second");
    assert!(sweep(&only("dogwood")).await > 0, "asked for by name");
    let full = SweepRequest { kind: SweepKind::Full, ..by_hand.clone() };
    assert_eq!(sweep(&full).await as usize, CASES, "every case");
    service.close().await;
}
