//! Tests of the whole config: what is read, what is told, what is never told.

mod drift;
mod files;
mod fuzz;
mod secrecy;
mod told_of_keys;
mod told_of_providers;
mod told_of_rules;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use super::secrets::{Env, SecretError};
use super::{Config, Diagnostics};

/// An environment of a test's own: variables, files and programs by name.
#[derive(Default)]
struct FakeEnv(BTreeMap<String, String>);

impl FakeEnv {
    fn with(entries: &[(&str, &str)]) -> Self {
        FakeEnv(entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    fn get(&self, name: &str) -> Result<String, SecretError> {
        let missing = || SecretError::Io(std::io::Error::new(std::io::ErrorKind::NotFound, "not there"));
        self.0.get(name).cloned().ok_or_else(missing)
    }
}

impl Env for FakeEnv {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn read(&self, path: &Path) -> Result<String, SecretError> {
        self.get(&path.display().to_string())
    }

    fn run(&self, argv: &[String], folder: &Path) -> Result<String, SecretError> {
        self.get(&format!("{} in {}", argv.join("|"), folder.display()))
    }
}

fn parse(text: &str) -> Result<Config, Diagnostics> {
    Config::parse(text, Path::new("exactod.toml"), &FakeEnv::with(&[("KEY", "k3y")]))
}

/// The smallest valid config.
const MINIMAL: &str = r#"
[[provider]]
id = "p"
base_url = "https://api.example.com/v1"

[[model]]
id = "lab/m"
[[model.endpoint]]
provider = "p"
"#;

/// All problems of a text.
fn told(text: &str) -> String {
    parse(text).expect_err("refused").to_string()
}

/// All problems of the smallest config with more lines in its provider.
fn in_provider(lines: &str) -> String {
    told(&MINIMAL.replace("id = \"p\"\n", &format!("id = \"p\"\n{lines}\n")))
}

/// All problems of the smallest config with more lines in its endpoint.
fn in_endpoint(lines: &str) -> String {
    told(&format!("{MINIMAL}{lines}\n"))
}

/// All problems of the smallest config with more lines in its model.
fn in_model(lines: &str) -> String {
    told(&MINIMAL.replace("[[model.endpoint]]", &format!("{lines}\n[[model.endpoint]]")))
}

/// All problems of the smallest config with sections before it.
fn with(lines: &str) -> String {
    told(&format!("{lines}\n{MINIMAL}"))
}

/// All problems of the smallest config with another base URL.
fn with_url(url: &str) -> String {
    told(&MINIMAL.replace("https://api.example.com/v1", url))
}

/// All problems of the smallest config with a schedule.
fn with_cron(line: &str) -> String {
    with(&format!("[[schedule]]\ncron = \"{line}\""))
}

/// All problems of the smallest config with a schedule in a time zone.
fn with_zone(zone: &str) -> String {
    with(&format!("[[schedule]]\ncron = \"0 * * * *\"\ntimezone = \"{zone}\""))
}

/// Every key of every section, none at its default.
const EVERYTHING: &str = r#"
[signing]
keys = { env = "KEY" }
[server]
listen = "[::1]:9090"
public_read = true
drain_timeout = "5s"
[[server.token]]
name = "gateway"
role = "read"
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
[[server.token]]
name = "operator"
role = "admin"
sha256 = "2C26B46B68FFC68FF99B453C1D30413413422D706483BFA0F98A5E886266E7AE"

[store]
url = "postgres://db.example/exactod"
retention = { transcripts = "1d", attempts = "2d", observations = "3d" }

[suites]
paths = ["my_suites", "/srv/suites"]

[[provider]]
id = "p1"
base_url = "http://10.0.0.1:8000/v1/"
protocol = "openai-chat"
api_key = { env = "KEY" }
headers = { X-Title = "exactod", X-Api-Key = { env = "KEY" } }
extra_body = { a = 1, b = { c = [true, 0.5, "x"] } }
limits = { concurrency = 1, requests_per_minute = 2, tokens_per_minute = 3 }
timeouts = { connect = "1s", first_byte = "2s", idle = "3s", total = "4s" }
retry = { attempts = 0, over = "1m" }
proxy = "http://proxy.example:3128"
ca_file = "ca.pem"
allow_loopback_http = false
allow_http = true

[[model]]
slugs = { openrouter = "lab/m" }
id = "lab/m"
aliases = ["m", "em"]
public_name = "em:best"
reference = "p1/fp8"
policy = { cases = { cap = 3000 }, suites = { one = { weight = 2 } }, alpha = 0.05 }
  [[model.endpoint]]
  provider = "p1"
  upstream_model = "upstream/m"
  tag = "fp8"
  price = { input_per_mtok = 1, output_per_mtok = 3.5 }
  slugs = { litellm = "prov1" }
  headers = { x-title = "other" }
  extra_body = { a = 2 }
  served_by = "Upstream"
  [[model.endpoint]]
  provider = "p1"
  id = "own"

[[exec]]
name = "grader"
command = ["./grade.py", "--strict"]
time_limit = "20s"
memory_mb = 256

[[judge]]
provider = "p1"
model = "lab/judge"
tag = "fp8"
price = { input_per_mtok = 1.5, output_per_mtok = 6.0 }
extra_body = { reasoning = "low" }

[[schedule]]
name = "nightly"
cron = "30  2 * * MON-FRI"
timezone = "Europe/Berlin"
jitter = "10m"
spread = "30m"
onboarding = "45m"
models = ["lab/*"]
suites = ["one"]
deadline = "1h"

[policy]
margin = 0.04
admission_margin = 0.03
alpha = 0.02
exclude_after_sweeps = 5000
readmit_after_sweeps = 1000
suspect_at = 90
burst_at = 20.5
anchors = 2
cases = { standard = 30, burst = 110, unknown = 120, cap = 2600, weekly_burst = 0 }
usable_margin = 0.06
min_providers = 1
undecided = "exclude"
rank_by = "price"
graded = true
capabilities = []
reference_may_fall = true
quarantine = { enabled = false, for = "45m" }
suites = { one = { margin = 0.05, weight = 3 } }

[budget]
usd_per_day = 5
usd_per_sweep = 2.5

[[relay]]
from = "https://exactod.example:8080"
models = ["lab/relayed"]
token = { env = "KEY" }
keys_file = "keys.json"
signed = true
folder = "relayed"
wait = "30s"
client = "edge-1"
allow_http = false

[[sink]]
format = "names"
model = "lab/relayed"
path = "exacto.json"
capability = "tools"
form = "exclude"
gateway = "litellm"
check = ["true"]
after = ["true"]
time_limit = "5s"

[[push]]
name = "kong-eu"
adapter = "kong"
model = "lab/relayed"
url = "https://kong.example:8444"
target = "6f5a"
token = { env = "KEY" }
dry_run = true
every = "1m"
pause = "10s"
timeout = "5s"
folder = "pushed"
allow_http = false

[[webhook]]
name = "ops"
url = "https://hooks.example/x"
form = "slack"
secret = { env = "KEY" }
events = ["decision"]
models = ["lab/*"]
timeout = "5s"
give_up = "1h"
allow_http = true
"#;
