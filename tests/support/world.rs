//! A small world for one test: a folder with suites and a config, a simulated fleet on loopback, a database, and the
//! real program run on them.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use exactod::clock::Clock;
use exactod::config::Config;
use exactod::daemon::{Service, ServiceOptions};
use exactod::domain::{EndpointId, ModelId};
use exactod::runner::Ids;
use exactod::sim::{self, EndpointSpec, Injection, RunningSim, SimSpec};
use exactod::store::{AttemptFilter, Store, StoreOptions, StoredAttempt};
use serde_json::Value;
use tokio::process::Command;

use crate::{postgres, suites};

/// The model of all worlds.
pub const MODEL: &str = "lab/m";
/// How long anything may take on a slow and busy machine. Only a broken program waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Seed of every simulated fleet.
const FLEET_SEED: u64 = 11;

/// An endpoint that answers everything rightly.
pub fn good(name: &str) -> EndpointSpec {
    EndpointSpec::healthy(EndpointId::new(name).unwrap())
}

/// An endpoint with a rate of right answers.
pub fn weak(name: &str, base: f64) -> EndpointSpec {
    EndpointSpec { base, ..good(name) }
}

/// An endpoint with defects.
pub fn broken(name: &str, defects: &[(&str, f64)]) -> EndpointSpec {
    let injections = defects.iter().map(|(defect, prevalence)| Injection::new(defect, *prevalence)).collect();
    EndpointSpec { injections, ..good(name) }
}

/// Parts of a config, as TOML lines, that a test wants different.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Lines of `[server]`.
    pub server: String,
    /// `[[schedule]]` lines after its name, models and suites.
    pub schedule: String,
    /// Lines of `[policy]`.
    pub policy: String,
    /// Lines of `[budget]`.
    pub budget: String,
    /// Lines of every provider.
    pub provider: String,
    /// Lines of the model.
    pub model: String,
    /// Lines of every endpoint.
    pub endpoint: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            server: "listen = \"127.0.0.1:0\"\ndrain_timeout = \"10s\"".to_owned(),
            // Once a year: whatever happens in a test is asked for by the test.
            schedule: "cron = \"0 0 1 1 *\"\nspread = \"0s\"\nonboarding = \"off\"".to_owned(),
            policy: String::new(),
            budget: String::new(),
            provider: "limits = { concurrency = 2 }\nretry = { attempts = 2, over = \"20ms\" }".to_owned(),
            model: String::new(),
            endpoint: "price = { input_per_mtok = 0.5, output_per_mtok = 1.5 }".to_owned(),
        }
    }
}

/// Where things are.
pub struct World {
    folder: tempfile::TempDir,
    /// The providers.
    pub fleet: RunningSim,
    /// The store's URL.
    pub database: String,
}

impl World {
    /// A fleet, and an SQLite file that does not exist yet.
    pub async fn new(endpoints: Vec<EndpointSpec>) -> World {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}", folder.path().join("store.db").display());
        let world = World { fleet: start_fleet(folder.path(), endpoints).await, folder, database };
        world.configure(&Settings::default());
        world
    }

    /// The same on a new PostgreSQL database.
    pub async fn on_postgres(endpoints: Vec<EndpointSpec>) -> World {
        World::on(postgres::migrated_database().await, endpoints).await
    }

    /// The same on a database at a URL.
    pub async fn on(database: String, endpoints: Vec<EndpointSpec>) -> World {
        let world = World { database, ..World::new(endpoints).await };
        world.configure(&Settings::default());
        world
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The config file.
    pub fn config_path(&self) -> PathBuf {
        self.path("exactod.toml")
    }

    /// Writes the config.
    pub fn configure(&self, settings: &Settings) {
        let providers: Vec<(String, String)> = self.fleet.endpoints().map(|(id, url)| (id.to_string(), url)).collect();
        self.configure_for(&providers, settings);
    }

    /// Writes the config with other ways to the endpoints: their names and base URLs.
    pub fn configure_for(&self, providers: &[(String, String)], settings: &Settings) {
        std::fs::write(self.config_path(), config_text(&self.database, providers, settings)).unwrap();
    }

    /// The program with this world's config, not started yet.
    pub fn exactod(&self, args: &[&str]) -> Command {
        let mut command = exactod();
        command.arg("--config").arg(self.config_path()).args(args);
        command
    }

    /// Runs the program to its end.
    pub async fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.exactod(args)).await
    }

    /// Runs the program and reads the one JSON document on its standard output.
    pub async fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(args).await;
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.json()
    }

    /// The store, beside whatever else has it open.
    pub async fn store(&self) -> Store {
        Store::open_migrated(&self.database, &StoreOptions::default()).await.unwrap()
    }

    /// Every stored attempt with its transcript, read through the store.
    pub async fn attempts(&self) -> Vec<StoredAttempt> {
        let store = self.store().await;
        let mut out = Vec::new();
        let mut cursor = None;
        loop {
            let page = store.attempts(&AttemptFilter::default(), 500, cursor.as_deref()).await.unwrap();
            for listed in page.items {
                out.push(store.attempt(listed.attempt.id).await.unwrap().unwrap());
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        store.close().await;
        out
    }

    /// The library's daemon on this world, with a clock of the test's choice.
    pub async fn service(&self, clock: Arc<dyn Clock>, owner: &str) -> Arc<Service> {
        let config = Config::load(&self.config_path()).unwrap_or_else(|problems| panic!("{problems}"));
        let ids = Arc::new(Ids::from_number(owner.bytes().map(u64::from).sum()));
        let options = ServiceOptions { clock, ids, owner: owner.to_owned() };
        Arc::new(Service::open(config, options).await.unwrap())
    }

    /// Chat requests that the whole fleet has received.
    pub fn requests(&self) -> u64 {
        self.fleet.endpoints().filter_map(|(id, _)| self.fleet.counts(id.as_str())).map(|c| c.requests).sum()
    }
}

async fn start_fleet(folder: &Path, endpoints: Vec<EndpointSpec>) -> RunningSim {
    let library = suites::write(&folder.join("suites"));
    let spec = SimSpec { model: model(), seed: FLEET_SEED, endpoints };
    sim::start(&spec, library, FLEET_SEED, IpAddr::V4(Ipv4Addr::LOCALHOST)).await.unwrap()
}

/// The model's id.
pub fn model() -> ModelId {
    ModelId::new(MODEL).unwrap()
}

/// An endpoint's id.
pub fn endpoint(name: &str) -> EndpointId {
    EndpointId::new(name).unwrap()
}

/// A config for providers of given names and base URLs; each is one endpoint of the model.
pub fn config_text(database: &str, providers: &[(String, String)], settings: &Settings) -> String {
    let Settings { server, schedule, policy, budget, provider, model, endpoint } = settings;
    let mut text = format!(
        "[server]\n{server}\n\n[store]\nurl = \"{database}\"\n\n[suites]\npaths = [\"suites\"]\n\n[policy]\n{policy}\n\n\
         [budget]\n{budget}\n\n[[schedule]]\nname = \"yearly\"\nmodels = [\"*\"]\n\
         suites = [\"tool-use\", \"output-quality\"]\n{schedule}\n\n[[model]]\nid = \"{MODEL}\"\n{model}\n"
    );
    for (id, _) in providers {
        let _ =
            write!(text, "\n[[model.endpoint]]\nprovider = \"{id}\"\nslugs = {{ litellm = \"{id}\" }}\n{endpoint}\n");
    }
    for (id, url) in providers {
        let _ = write!(text, "\n[[provider]]\nid = \"{id}\"\nbase_url = \"{url}\"\n{provider}\n");
    }
    text
}

/// The program, with nothing of the tests' environment that could change what it does.
pub fn exactod() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exactod"));
    command.env_remove("EXACTOD_LOG").env_remove("EXACTOD_LOG_FORMAT").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// How a run of the program ended, and what it said.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    pub async fn of(command: &mut Command) -> Ran {
        Ran::within(command, PATIENCE).await
    }

    /// Runs a command to its end, which comes within a time.
    pub async fn within(command: &mut Command, patience: Duration) -> Ran {
        let output = tokio::time::timeout(patience, command.output()).await.expect("the program ends").unwrap();
        Ran::from(output)
    }

    /// The one JSON document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not one JSON document: {error}\n{self:?}"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Waits for a condition: asks until it holds, and gives what it gives.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
