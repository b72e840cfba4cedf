//! Days of a real daemon in fast motion: scheduler, sweeps over HTTP against a simulated fleet, store, curation, board, on a
//! clock that stands while a sweep runs and jumps to the next tick when nothing is in flight. Everything that must hold at
//! all times is looked at after every tick; [`Days::settle`] looks at the whole at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use exactod::clock::{Clock, ManualClock};
use exactod::config::Config;
use exactod::curation;
use exactod::daemon::schedule::Fire;
use exactod::daemon::{ReplayOptions, Replayed, Service, ServiceOptions, cutoffs, operate, replay, standings};
use exactod::domain::{Allowlist, EndpointId, Order, Standing, SweepState, Verb, Verdict};
use exactod::runner::Ids;
use exactod::sim::spec::{TimeProfile, TimeUnit};
use exactod::sim::{self, EndpointSpec, Expected, Injection, RunningSim, SimSpec};
use exactod::store::{Store, SweepRecord};
use sqlx::{Connection, PgConnection, Row, SqliteConnection};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::gate::Gate;
use crate::suites;
use crate::world::{MODEL, endpoint, eventually, good, model};

/// Ticks a day, as the schedule below says.
pub const TICKS_PER_DAY: usize = 4;
/// Requests in flight per endpoint.
const IN_FLIGHT: u64 = 8;
/// Seed of the fleets.
const FLEET_SEED: u64 = 23;
/// 2026-01-01 00:00 UTC. Of every day the first tick is that of midnight.
const START_US: i64 = 1_767_225_600_000_000;
/// The schedule's jitter: when it begins, the first tick has just been due.
const JITTER_US: i64 = 20 * 60_000_000;
const HOUR_US: i64 = 3_600_000_000;
const DAY_S: f64 = 86_400.0;

/// Stands until it is moved, and is looked at every few milliseconds: six of its hours are two milliseconds.
#[derive(Clone)]
struct Stands(ManualClock);

impl Clock for Stands {
    fn now_us(&self) -> i64 {
        self.0.now_us()
    }

    fn rate(&self) -> f64 {
        1e13
    }
}

/// An endpoint whose right answers fall by a share between two days.
pub fn falls(name: &str, base: f64, fall: f64, days: Range<f64>) -> EndpointSpec {
    let injection = Injection {
        time_profile: TimeProfile::Transient { start: days.start * DAY_S, end: days.end * DAY_S },
        time_unit: TimeUnit::Seconds,
        ..Injection::new("compressed_model", fall / base)
    };
    EndpointSpec { base, injections: vec![injection], ..good(name) }
}

/// What befalls the daemon between two ticks.
#[derive(Debug, Clone)]
pub enum Act {
    /// It is stopped and started.
    Restart,
    /// The next tick's sweep is killed in its middle, and the daemon started again.
    Kill,
    /// The config is replaced by one with these endpoints.
    Configure(Vec<String>),
    /// An operator's order.
    Order(Verb, String),
    /// The clock goes back by an hour.
    ClockBack,
    /// An endpoint's truth is replaced: share of right answers that turn wrong.
    Break(String, f64),
    /// The database is copied; the daemon stands still meanwhile.
    Backup,
    /// The last copy is put back in place of the database.
    Restore,
    /// What the upkeep does every hour of the machine.
    Prune,
}

/// What was seen after a tick.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Days since the start.
    pub day: f64,
    /// Where everybody stands.
    pub standings: BTreeMap<EndpointId, Standing>,
    /// Who is listed.
    pub listed: BTreeSet<EndpointId>,
}

struct Serving {
    service: Arc<Service>,
    task: JoinHandle<()>,
}

struct Backup {
    swept: u64,
    ticks: usize,
    requests: BTreeMap<EndpointId, u64>,
}

/// A daemon, its providers and what is known of both.
pub struct Days {
    folder: tempfile::TempDir,
    database: String,
    fleet: RunningSim,
    gate: Gate,
    gated: EndpointId,
    policy: String,
    configured: Vec<String>,
    clock: ManualClock,
    serving: Option<Serving>,
    starts: u8,
    nominal_us: i64,
    /// Sweeps that the store must hold.
    swept: u64,
    /// Nominal times of the ticks that must have led to one sweep each.
    ticks: Vec<i64>,
    requests: BTreeMap<EndpointId, u64>,
    /// Requests whose answers are not in the store, by their numbers, and why is known.
    unstored: BTreeMap<EndpointId, Vec<Range<u64>>>,
    backup: Option<Backup>,
    revision: u64,
    body: bytes::Bytes,
    /// One look after every tick.
    pub seen: Vec<Seen>,
}

/// The end of it, in figures.
#[derive(Debug)]
pub struct Settled {
    /// Requests that the fleet has received.
    pub requests: u64,
    /// Sweeps in the store.
    pub sweeps: u64,
    /// The last revision.
    pub revision: u64,
    /// Most bytes of state by endpoint and suite.
    pub state_bytes: f64,
    /// Bytes of the database by stored attempt.
    pub bytes_per_attempt: f64,
    /// The replay.
    pub replayed: Replayed,
}

impl Days {
    /// A daemon on an empty database (`None`: an SQLite file), its fleet of which the first endpoint can be held, a suite of
    /// some cases and a policy. `configured`: the endpoints of the first config.
    pub async fn begin(
        database: Option<String>,
        endpoints: Vec<EndpointSpec>,
        configured: &[&str],
        cases: usize,
        policy: &str,
    ) -> Days {
        let folder = tempfile::tempdir().unwrap();
        let library = suites::write_long(&folder.path().join("suites"), cases);
        let clock = ManualClock::at(START_US + JITTER_US);
        let gated = endpoints[0].name.clone();
        let spec = SimSpec { model: model(), seed: FLEET_SEED, endpoints };
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let fleet = sim::start_with_clock(&spec, library, FLEET_SEED, local, Arc::new(clock.clone())).await.unwrap();
        let gate = Gate::before(&fleet, 0).await;
        gate.open();
        let database = database.unwrap_or_else(|| format!("sqlite://{}", folder.path().join("store.db").display()));
        let mut days = Days {
            folder,
            database,
            fleet,
            gate,
            gated,
            policy: policy.to_owned(),
            configured: configured.iter().map(|name| (*name).to_owned()).collect(),
            clock,
            serving: None,
            starts: 0,
            nominal_us: START_US - 1,
            swept: 0,
            ticks: Vec::new(),
            requests: BTreeMap::new(),
            unstored: BTreeMap::new(),
            backup: None,
            revision: 0,
            body: bytes::Bytes::new(),
            seen: Vec::new(),
        };
        days.write_config();
        days.start().await;
        days
    }

    /// A tick, the acts before it first.
    pub async fn tick(&mut self, acts: &[Act]) {
        let kill = acts.iter().any(|act| matches!(act, Act::Kill));
        for act in acts {
            self.act(act).await;
        }
        let tick = self.next_tick();
        let before = self.asked();
        if kill {
            self.gate.hold();
        }
        self.clock.advance_us(tick.due_us - self.clock.now_us());
        (self.nominal_us, self.swept) = (tick.nominal_us, self.swept + 1);
        self.ticks.push(tick.nominal_us);
        if kill {
            self.kill_in_the_middle(&before).await;
        }
        self.look().await;
    }

    async fn act(&mut self, act: &Act) {
        match act {
            Act::Restart => {
                self.stop().await;
                self.start().await;
            }
            // Not before its sweep runs.
            Act::Kill => {}
            Act::Configure(endpoints) => self.reconfigure(endpoints).await,
            Act::Order(verb, name) => {
                let order = Order::new(*verb, Some(endpoint(name)), "ann", "as told").unwrap();
                let service = self.service();
                let obeyed = operate(&service.sweeper, &service.runtime.load_full(), &model(), &order).await;
                match obeyed {
                    Ok(_) => assert!(self.configured.contains(name)),
                    Err(refusal) => assert!(!self.configured.contains(name), "{refusal:?}"),
                }
            }
            Act::ClockBack => self.clock.advance_us(-HOUR_US),
            Act::Break(name, share) => {
                let injections = if *share > 0.0 { vec![Injection::new("compressed_model", *share)] } else { vec![] };
                self.fleet.set_injections(name, &injections).unwrap();
            }
            Act::Backup => {
                self.stop().await;
                std::fs::copy(self.file("store.db"), self.file("backup.db")).unwrap();
                self.backup = Some(Backup { swept: self.swept, ticks: self.ticks.len(), requests: self.asked() });
                self.start().await;
            }
            Act::Restore => self.restore().await,
            Act::Prune => {
                let service = self.service();
                let retention = cutoffs(&service.runtime.load(), self.clock.now_us());
                service.sweeper.store.prune(&retention).await.unwrap();
            }
        }
    }

    /// What the copy does not know is lost; of the ticks lost the last is made up for at once.
    async fn restore(&mut self) {
        let backup = self.backup.take().expect("a copy was made");
        self.stop().await;
        for beside in ["store.db-wal", "store.db-shm"] {
            let _ = std::fs::remove_file(self.file(beside));
        }
        std::fs::copy(self.file("backup.db"), self.file("store.db")).unwrap();
        let lost = self.ticks.split_off(backup.ticks);
        let now = self.asked();
        for (id, number) in &now {
            let from = backup.requests.get(id).copied().unwrap_or_default();
            self.unstored.entry(id.clone()).or_default().push(from..*number);
        }
        self.swept = backup.swept;
        self.start().await;
        let (board, known) = (Arc::clone(self.service().board()), self.revision);
        eventually("a revision that nobody has seen is served", async || {
            board.get(MODEL).filter(|served| served.revision > known)
        })
        .await;
        if let Some(last) = lost.last() {
            self.ticks.push(*last);
            self.swept += 1;
            self.look().await;
        }
    }

    /// Every answer of one endpoint is held, so that its sweep does not end.
    async fn kill_in_the_middle(&mut self, before: &BTreeMap<EndpointId, u64>) {
        let serving = self.serving.take().unwrap();
        let service = &serving.service;
        let was: u64 = before.values().sum();
        let held = eventually("all but the held endpoint have answered", async || {
            let progress = service.sweeper.progress.of(&model())?;
            let planned = |id: &EndpointId| {
                progress.endpoints.get(id).map_or(0, |e| e.planned.load(std::sync::atomic::Ordering::Relaxed))
            };
            let others: u64 = progress.endpoints.keys().filter(|id| **id != self.gated).map(planned).sum();
            let held = planned(&self.gated).min(IN_FLIGHT);
            let asked: u64 = self.asked().values().sum();
            (progress.done() == others && asked == was + others + held).then_some(held)
        })
        .await;
        assert!(held > 0, "the held endpoint takes part");
        service.signals.stop.cancel();
        service.signals.abort.cancel();
        serving.task.await.unwrap();
        assert_eq!(serving.service.close().await.lost, 0);
        let number = self.asked()[&self.gated];
        self.unstored.entry(self.gated.clone()).or_default().push(number - held..number);
        self.requests.insert(self.gated.clone(), self.requests.get(&self.gated).copied().unwrap_or_default() + held);
        self.gate.open();
        self.start().await;
    }

    // -------------------------------------------------------------------------------------------------- the daemon

    fn service(&self) -> Arc<Service> {
        Arc::clone(&self.serving.as_ref().expect("it runs").service)
    }

    fn store(&self) -> Store {
        self.service().sweeper.store.clone()
    }

    async fn start(&mut self) {
        self.starts += 1;
        let config = Config::load(&self.file("exactod.toml")).unwrap_or_else(|problems| panic!("{problems}"));
        let options = ServiceOptions {
            clock: Arc::new(Stands(self.clock.clone())),
            ids: Arc::new(Ids::from_number(u64::from(self.starts))),
            owner: format!("start-{}", self.starts),
        };
        let service = Arc::new(Service::open(config, options).await.unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let task = tokio::spawn({
            let service = Arc::clone(&service);
            async move { service.serve(listener, None).await.unwrap() }
        });
        self.serving = Some(Serving { service, task });
        if self.ticks.is_empty() {
            // A model that was never swept is swept for the last tick.
            let service = self.service();
            let runtime = service.runtime.load();
            let last = runtime.schedules[0].timetable.last_due(self.clock.now_us()).unwrap();
            self.nominal_us = last.nominal_us;
            self.ticks.push(last.nominal_us);
            self.swept = 1;
            self.look().await;
        }
    }

    async fn stop(&mut self) {
        let Serving { service, task } = self.serving.take().expect("it runs");
        service.signals.stop.cancel();
        task.await.unwrap();
        assert_eq!(service.close().await.lost, 0);
    }

    async fn reconfigure(&mut self, endpoints: &[String]) {
        if self.configured == endpoints {
            return;
        }
        let service = self.service();
        let before = service.runtime.load().config.digest.clone();
        self.configured = endpoints.to_vec();
        self.write_config();
        eventually("the config is taken", async || (service.runtime.load().config.digest != before).then_some(()))
            .await;
    }

    fn write_config(&self) {
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ndrain_timeout = \"10s\"\n\n[store]\nurl = \"{}\"\n\
             retention = {{ transcripts = \"14d\", attempts = \"400d\" }}\n\n[suites]\npaths = [\"suites\"]\n\n\
             [policy]\n{}\n\n[[schedule]]\nname = \"quarterly\"\ncron = \"0 */6 * * *\"\njitter = \"20m\"\nonboarding = \"off\"\n\
             spread = \"0s\"\nmodels = [\"*\"]\nsuites = [\"tool-use\"]\n\n[[model]]\nid = \"{MODEL}\"\n",
            self.database, self.policy
        );
        for id in &self.configured {
            text += &format!("\n[[model.endpoint]]\nprovider = \"{id}\"\nslugs = {{ litellm = \"{id}\" }}\n");
        }
        let gated = self.gate.providers.iter().find(|(id, _)| *id == self.gated.as_str()).unwrap();
        for id in &self.configured {
            let url = if *id == gated.0 { gated.1.clone() } else { self.fleet.base_url(id).unwrap() };
            text += &format!(
                "\n[[provider]]\nid = \"{id}\"\nbase_url = \"{url}\"\nlimits = {{ concurrency = {IN_FLIGHT} }}\n"
            );
        }
        std::fs::write(self.file("exactod.toml"), text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn next_tick(&self) -> Fire {
        let service = self.service();
        service.runtime.load().schedules[0].timetable.next_after(self.nominal_us).unwrap()
    }

    // ------------------------------------------------------------------------------------------ what must hold always

    /// Requests of every endpoint so far.
    fn asked(&self) -> BTreeMap<EndpointId, u64> {
        self.fleet.endpoints().map(|(id, _)| (id.clone(), self.fleet.counts(id.as_str()).unwrap().requests)).collect()
    }

    /// Waits until the tick's sweep is done, and looks at what it left.
    async fn look(&mut self) {
        let store = self.store();
        let sweep: SweepRecord = eventually("the tick's sweep is done", async || {
            let newest = store.sweeps(Some(&model()), None, 1, None).await.unwrap().items.into_iter().next()?;
            assert!(newest.ordinal <= self.swept, "{} sweeps, {} were due", newest.ordinal, self.swept);
            (newest.ordinal == self.swept && newest.state == SweepState::Done).then_some(newest)
        })
        .await;
        self.look_at_requests(&store, &sweep).await;
        let listed = self.look_at_list().await;
        let standings = standings(&self.service().sweeper, &model()).await.unwrap();
        let day = (self.clock.now_us() - START_US) as f64 / 1e6 / DAY_S;
        self.seen.push(Seen { day, standings, listed });
    }

    /// What was asked is what is stored.
    async fn look_at_requests(&mut self, store: &Store, sweep: &SweepRecord) {
        let now = self.asked();
        let stored = store.progress(sweep.id).await.unwrap();
        for (id, number) in &now {
            let of_sweep = stored.iter().find(|p| p.endpoint == *id).map_or(0, |p| p.pass + p.fail + p.unscored);
            let asked = number - self.requests.get(id).copied().unwrap_or_default();
            assert_eq!(asked, of_sweep, "{id} in sweep {}", sweep.ordinal);
        }
        self.requests = now;
    }

    /// The served list is the stored one, not empty, valid until the next tick; another list has a higher revision.
    async fn look_at_list(&mut self) -> BTreeSet<EndpointId> {
        let service = self.service();
        let stored = service.sweeper.store.allowlist(&model(), None).await.unwrap().expect("a list").list;
        let served = eventually("the stored list is served", async || {
            service.board().get(MODEL).filter(|served| served.revision >= stored.revision)
        })
        .await;
        assert!(served.revision >= self.revision, "revision {} after {}", served.revision, self.revision);
        if served.revision == self.revision {
            assert_eq!(served.body, self.body, "another list has another revision");
        }
        assert!(served.expires_at_us > self.next_tick().due_us, "the list is renewed in time");
        let list: Allowlist = serde_json::from_slice(&served.body).unwrap();
        assert!(!list.providers.is_empty(), "the list is never empty");
        (self.revision, self.body) = (served.revision, served.body.clone());
        list.providers.into_iter().map(|entry| entry.id).collect()
    }

    // ---------------------------------------------------------------------------------------------------- the whole

    /// Looks at the whole: ticks, sweeps, requests and verdicts, revisions, replay, sizes.
    pub async fn settle(mut self) -> (Settled, Vec<Seen>) {
        let store = self.store();
        let sweeps = self.look_at_ticks(&store).await;
        let attempts = self.look_at_verdicts(&store, &sweeps).await;
        let replayed = replay(&store, &model(), &ReplayOptions::default()).await.unwrap();
        assert_eq!((&replayed.difference, &replayed.note), (&None, &None), "{replayed:?}");
        assert_eq!((replayed.from_step, replayed.sweeps), (0, self.swept));
        let state = store.state(&model()).await.unwrap().unwrap().bytes;
        let endpoints = curation::decode(&state).unwrap().endpoints.len();
        let check = store.check().await.unwrap();
        assert!(check.problems.is_empty(), "{check:?}");
        self.stop().await;
        let settled = Settled {
            requests: self.asked().values().sum(),
            sweeps: self.swept,
            revision: self.revision,
            state_bytes: state.len() as f64 / endpoints as f64,
            bytes_per_attempt: check.size_bytes as f64 / attempts as f64,
            replayed,
        };
        (settled, self.seen)
    }

    /// Every tick has one sweep, and every sweep its tick.
    async fn look_at_ticks(&self, store: &Store) -> Vec<SweepRecord> {
        let mut sweeps = Vec::new();
        let mut cursor = None;
        loop {
            let page = store.sweeps(Some(&model()), None, 200, cursor.as_deref()).await.unwrap();
            sweeps.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let ordinals: BTreeSet<u64> = sweeps.iter().map(|s| s.ordinal).collect();
        assert_eq!(ordinals, (1..=self.swept).collect());
        let fires = self.fires().await;
        let times: Vec<i64> = fires.iter().map(|fire| fire.0).collect();
        assert_eq!(times, self.ticks, "no tick is lost, none is there twice");
        let fired: BTreeSet<&str> = fires.iter().filter_map(|fire| fire.1.as_deref()).collect();
        let ids: Vec<String> = sweeps.iter().map(|s| s.id.to_string()).collect();
        assert_eq!(fired, ids.iter().map(String::as_str).collect(), "each tick has a sweep of its own");
        assert_eq!((fires.len(), sweeps.len() as u64), (sweeps.len(), self.swept));
        sweeps
    }

    /// Every noted tick with its sweep, read behind the store's back.
    async fn fires(&self) -> Vec<(i64, Option<String>)> {
        const SQL: &str = "SELECT fire_at_us, sweep FROM fires ORDER BY fire_at_us";
        if self.database.starts_with("sqlite") {
            let mut database = SqliteConnection::connect(&self.database).await.unwrap();
            let rows = sqlx::query(SQL).fetch_all(&mut database).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        } else {
            let mut database = PgConnection::connect(&self.database).await.unwrap();
            let rows = sqlx::query(SQL).fetch_all(&mut database).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        }
    }

    /// By endpoint and case, the answers that the fleet gave and how they must be judged are those that are stored and how
    /// they were judged. Number of attempts.
    async fn look_at_verdicts(&self, store: &Store, sweeps: &[SweepRecord]) -> u64 {
        /// Asked, and right of these.
        type Counts = BTreeMap<(EndpointId, String), (u64, u64)>;
        let mut stored = Counts::new();
        for sweep in sweeps {
            for row in store.sweep_rows(sweep.id).await.unwrap() {
                let counts = stored.entry((row.key.endpoint, row.key.case.to_string())).or_default();
                counts.0 += 1;
                counts.1 += u64::from(row.verdict == Verdict::Pass);
            }
        }
        let mut given = Counts::new();
        for (id, _) in self.fleet.endpoints() {
            let outcomes = self.fleet.log(id.as_str()).unwrap();
            assert_eq!(outcomes.len() as u64, self.requests[id], "the simulator has forgotten nothing");
            let unstored = self.unstored.get(id).map(Vec::as_slice).unwrap_or_default();
            for (number, outcome) in (0u64..).zip(outcomes) {
                if unstored.iter().any(|range| range.contains(&number)) {
                    continue;
                }
                let (_, case) = outcome.case.expect("a known case");
                let counts = given.entry((id.clone(), case.to_string())).or_default();
                counts.0 += 1;
                counts.1 += u64::from(outcome.quality == Expected::Pass);
            }
        }
        let differs = given.iter().find(|(key, counts)| stored.get(key) != Some(counts));
        assert_eq!(differs.map(|(key, counts)| (key, counts, stored.get(key))), None, "asked, right; as stored");
        assert_eq!(given.len(), stored.len());
        stored.values().map(|counts| counts.0).sum()
    }
}
