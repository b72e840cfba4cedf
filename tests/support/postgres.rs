//! A throw-away PostgreSQL for tests: one server per test process, one database per test.
//!
//! The server starts with the first test that needs it, listens on a Unix socket in a temporary folder only, and does
//! not sync to disk. It is stopped, and its folder removed, when the test process ends, however it ends: a small shell
//! waits for the end of a pipe that this process holds open.
//!
//! `EXACTOD_TEST_POSTGRES_URL` (with the right to create databases) uses a running server instead; its databases are
//! named `exactod_test_*` and those of failed tests stay behind.
//! Without any PostgreSQL the tests fail: half of the store's promises would be untested.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use exactod::store::{Store, StoreOptions};
use sqlx::{Connection, PgConnection, Row};

/// Names a running server to use instead of starting one.
const URL_VARIABLE: &str = "EXACTOD_TEST_POSTGRES_URL";
const MISSING: &str = "PostgreSQL is needed by the tests and was not found (no `initdb` in PATH, /usr/lib/postgresql/*/bin \
     or /usr/local/pgsql/bin). Install it (Debian, Ubuntu: `apt-get install -y postgresql`; Fedora: `dnf install \
     postgresql-server`; macOS: `brew install postgresql`), or set EXACTOD_TEST_POSTGRES_URL to a server on which \
     databases may be created";

/// A server, and how to name a database on it.
struct Server {
    /// URL up to and without the database's name.
    base: String,
    /// What follows the database's name.
    tail: String,
    /// Database to connect to for creating others.
    admin: String,
    /// Stops the server when its standard input ends; held for that.
    _keeper: Option<Child>,
}

impl Server {
    fn url(&self, database: &str) -> String {
        format!("{}{database}{}", self.base, self.tail)
    }
}

static SERVER: OnceLock<Server> = OnceLock::new();
static TEMPLATE: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
static NAMES: AtomicU32 = AtomicU32::new(0);

/// URL of a new database with all migrations applied.
pub async fn migrated_database() -> String {
    let template = TEMPLATE.get_or_init(make_template).await;
    create_database(Some(template)).await
}

/// URL of a new, empty database.
pub async fn empty_database() -> String {
    create_database(None).await
}

async fn make_template() -> String {
    let url = create_database(None).await;
    let store = Store::open_migrated(&url, &StoreOptions::default()).await.expect("migrating the template");
    store.close().await;
    let path = url.split('?').next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

async fn create_database(template: Option<&str>) -> String {
    let server = SERVER.get_or_init(start);
    let name = format!("exactod_test_{}_{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&server.url(&server.admin)).await.expect("connecting to PostgreSQL");
    let version: i32 = sqlx::query("SELECT CAST(current_setting('server_version_num') AS INTEGER)")
        .fetch_one(&mut admin)
        .await
        .expect("the server's version")
        .get(0);
    // Copying files takes half as long as writing the copy to the log, which is the default since 15.
    let how = if version >= 150_000 { " STRATEGY FILE_COPY" } else { "" };
    let template = template.unwrap_or("template1");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}{how}"));
    sqlx::raw_sql(create).execute(&mut admin).await.expect("creating a database");
    admin.close().await.expect("closing the connection");
    server.url(&name)
}

fn start() -> Server {
    match std::env::var(URL_VARIABLE) {
        Ok(url) => given(&url),
        Err(_) => own(&binaries().unwrap_or_else(|| panic!("{MISSING}"))),
    }
}

fn given(url: &str) -> Server {
    let (path, tail) = url.split_once('?').map_or((url, String::new()), |(path, query)| (path, format!("?{query}")));
    let at = path.rfind('/').expect("EXACTOD_TEST_POSTGRES_URL names a database: postgres://host/postgres");
    Server { base: path[..=at].to_owned(), tail, admin: path[at + 1..].to_owned(), _keeper: None }
}

/// The folder with `initdb` and `pg_ctl`; the newest when there are several.
fn binaries() -> Option<PathBuf> {
    let from_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort_by_key(|bin| bin.parent().and_then(Path::file_name)?.to_str()?.parse::<u32>().ok());
    let places: Vec<PathBuf> = [from_path, vec![PathBuf::from("/usr/local/pgsql/bin")], debian].concat();
    places.into_iter().rev().find(|bin| bin.join("initdb").is_file() && bin.join("pg_ctl").is_file())
}

fn own(bin: &Path) -> Server {
    let dir = tempfile::Builder::new().prefix("exactod-pg-").tempdir().expect("a temporary folder").keep();
    let as_user = server_user();
    if let Some(user) = &as_user {
        run(Command::new("chown").arg(user).arg(&dir));
    }
    let data = dir.join("data");
    run(program(bin, "initdb", as_user.as_deref())
        .args(["--no-sync", "-A", "trust", "-U", "exactod", "-E", "UTF8", "--locale=C", "-D"])
        .arg(&data));
    // Before the server starts: should this process be killed now, it is still cleaned up.
    let keeper = keep(bin, &dir, &data, as_user.as_deref());
    let settings = format!(
        "-c listen_addresses= -c unix_socket_directories={} -c fsync=off -c synchronous_commit=off \
         -c full_page_writes=off -c max_connections=200 -c wal_level=minimal \
         -c max_wal_senders=0 -c autovacuum=off -c jit=off",
        dir.display()
    );
    run(program(bin, "pg_ctl", as_user.as_deref())
        .args(["start", "-w", "-s", "-o", &settings, "-l"])
        .arg(dir.join("log"))
        .arg("-D")
        .arg(&data));
    Server {
        base: "postgres://exactod@localhost/".to_owned(),
        tail: format!("?host={}", dir.display()),
        admin: "postgres".to_owned(),
        _keeper: Some(keeper),
    }
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package made, or as nobody.
fn server_user() -> Option<String> {
    let id = |args: &[&str]| Command::new("id").args(args).output().ok().filter(|out| out.status.success());
    let me = id(&["-u"]).map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    if me.as_deref() != Some("0") {
        return None;
    }
    let user = if id(&["-u", "postgres"]).is_some() { "postgres" } else { "nobody" };
    Some(user.to_owned())
}

fn program(bin: &Path, name: &str, as_user: Option<&str>) -> Command {
    let program = bin.join(name);
    let mut command = match as_user {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--"]).arg(program);
            command
        }
    };
    // The folder in which the tests run may be closed to that user.
    command.current_dir("/");
    command
}

fn run(command: &mut Command) {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if !out.status.success() {
        let mut said = out.stdout;
        said.extend(out.stderr);
        panic!("{command:?} failed ({}): {}", out.status, String::from_utf8_lossy(&said));
    }
}

/// Starts the shell that stops the server and removes its folder once this process is gone.
fn keep(bin: &Path, dir: &Path, data: &Path, as_user: Option<&str>) -> Child {
    let runner = as_user.map(|user| format!("runuser -u {user} -- ")).unwrap_or_default();
    let script = format!(
        "trap '' INT TERM HUP; cat >/dev/null; {runner}'{}' stop -m immediate -s -D '{}' >/dev/null 2>&1; rm -rf '{}'",
        bin.join("pg_ctl").display(),
        data.display(),
        dir.display()
    );
    let mut keeper = Command::new("sh")
        .args(["-c", &script])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starting sh");
    keeper.stdin.as_mut().expect("its input").flush().expect("an open pipe");
    keeper
}
