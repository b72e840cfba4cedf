//! What a valid config becomes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeZone as _;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{EVERYTHING, FakeEnv, MINIMAL, parse};
use crate::config::{Config, Role};
use crate::domain::policy::{RankBy, Undecided};
use crate::domain::{EndpointId, Policy, SuiteName};

fn read(text: &str) -> Config {
    parse(text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_key_arrives() {
    let c = read(EVERYTHING);
    assert_eq!(c.server.listen, "[::1]:9090".parse::<SocketAddr>().expect("an address"));
    assert!(c.server.public_read);
    assert_eq!(c.server.drain_timeout, Duration::from_secs(5));
    let tokens: Vec<_> = c.server.tokens.iter().map(|t| (t.name.as_str(), t.role, t.sha256[0])).collect();
    assert_eq!(tokens, [("gateway", Role::Read, 0xba), ("operator", Role::Admin, 0x2c)]);
    assert_eq!(c.store.url.expose(), "postgres://db.example/exactod");
    let day = Duration::from_secs(86_400);
    let keep = c.store.retention;
    assert_eq!((keep.transcripts, keep.attempts, keep.observations), (day, 2 * day, 3 * day));
    assert_eq!(c.suites, [PathBuf::from("my_suites"), PathBuf::from("/srv/suites")]);
    assert_eq!((c.budget.usd_per_day, c.budget.usd_per_sweep), (Some(5.0), Some(2.5)));
    assert_eq!(c.digest.len(), 64);
}

#[test]
fn a_provider_arrives() {
    let c = read(EVERYTHING);
    let p = &c.providers[0];
    assert_eq!(p.base_url.as_str(), "http://10.0.0.1:8000/v1");
    assert_eq!(p.api_key.as_ref().map(|k| k.expose_secret()), Some("k3y"));
    let headers: Vec<_> = p.headers.iter().map(|(k, v)| (k.as_str(), v.expose_secret())).collect();
    assert_eq!(headers, [("x-api-key", "k3y"), ("x-title", "exactod")]);
    assert_eq!(serde_json::Value::Object((*p.extra_body).clone()), json!({"a": 1, "b": {"c": [true, 0.5, "x"]}}));
    assert_eq!(p.limits.concurrency, 1);
    assert_eq!((p.limits.requests_per_minute, p.limits.tokens_per_minute), (Some(2), Some(3)));
    let s = |d: Duration| d.as_secs();
    let t = p.timeouts;
    assert_eq!((s(t.connect), s(t.first_byte), s(t.idle), s(t.total)), (1, 2, 3, 4));
    assert_eq!((p.retry.attempts, s(p.retry.over)), (0, 60));
    assert_eq!(p.proxy.as_ref().map(url::Url::as_str), Some("http://proxy.example:3128/"));
    assert_eq!(p.ca_file.as_deref(), Some(Path::new("ca.pem")));
}

#[test]
fn a_model_arrives_with_its_endpoints() {
    let c = read(EVERYTHING);
    let m = c.model("em").expect("found by its alias");
    assert_eq!((m.id.as_str(), m.public_name.as_str()), ("lab/m", "em:best"));
    assert_eq!(m.reference.as_ref().map(EndpointId::as_str), Some("p1/fp8"));
    let e = &m.endpoints[0];
    assert_eq!((e.id.as_str(), e.upstream_model.as_str(), e.tag.as_deref()), ("p1/fp8", "upstream/m", Some("fp8")));
    assert_eq!(e.price.map(|p| (p.input_per_mtok, p.output_per_mtok)), Some((1.0, 3.5)));
    assert_eq!(e.slugs.get("litellm").map(String::as_str), Some("prov1"));
    assert_eq!(e.served_by.as_deref(), Some("Upstream"));
    let (own, provider) = m.endpoint(&EndpointId::new("own").expect("an id")).expect("found");
    assert_eq!((own.upstream_model.as_str(), &own.tag, own.price), ("lab/m", &None, None));
    assert_eq!(own.served_by, None);
    assert!(std::sync::Arc::ptr_eq(provider, &c.providers[0]));
}

#[test]
fn an_endpoints_own_headers_and_body_go_over_its_providers() {
    let c = read(EVERYTHING);
    let p = &c.models[0].providers[0];
    assert_eq!(p.id, c.providers[0].id);
    assert_eq!(p.headers["x-title"].expose_secret(), "other");
    assert_eq!(p.headers["x-api-key"].expose_secret(), "k3y");
    assert_eq!(p.extra_body["a"], json!(2));
    assert_eq!(p.extra_body["b"], json!({"c": [true, 0.5, "x"]}));
    assert_eq!(c.providers[0].extra_body["a"], json!(1));
}

#[test]
fn a_policy_is_merged_key_by_key() {
    let c = read(EVERYTHING);
    let one = SuiteName::new("one").expect("a name");
    let p = &c.policy;
    assert_eq!((p.margin, p.admission_margin, p.alpha), (0.04, Some(0.03), 0.02));
    assert_eq!((p.exclude_after_sweeps, p.readmit_after_sweeps, p.suspect_at, p.burst_at), (5e3, 1e3, 90.0, 20.5));
    assert_eq!((p.anchors, p.usable_margin, p.min_providers), (2, 0.06, 1));
    let cases = &p.cases;
    assert_eq!((cases.standard, cases.burst, cases.unknown, cases.cap, cases.weekly_burst), (30, 110, 120, 2600, 0));
    assert_eq!(
        (p.undecided, p.rank_by, p.graded, p.reference_may_fall),
        (Undecided::Exclude, RankBy::Price, true, true)
    );
    assert_eq!((p.quarantine.enabled, p.quarantine.for_.as_str()), (false, "45m"));
    assert_eq!((p.delta(&one), p.weight(&one)), (0.05, 3.0));

    let mut expected = p.clone();
    expected.alpha = 0.05;
    expected.cases.cap = 3000;
    expected.suites.get_mut(&one).expect("there").weight = Some(2.0);
    assert_eq!(c.models[0].policy, expected);
}

#[test]
fn a_schedule_arrives_and_covers_what_it_names() {
    let c = read(EVERYTHING);
    let s = &c.schedules[0];
    assert_eq!((s.name.as_str(), s.cron.as_str()), ("nightly", "30 2 * * MON-FRI"));
    assert_eq!(s.timezone, chrono_tz::Europe::Berlin);
    assert_eq!([s.jitter, s.spread, s.deadline].map(|d| d.as_secs()), [600, 1800, 3600]);
    assert_eq!(s.onboarding, Some(Duration::from_secs(2700)));
    assert!(s.covers_model(&c.models[0]));
    assert!(s.covers_suite(&SuiteName::new("one").expect("a name"), false), "it is named");
    assert!(!s.covers_suite(&SuiteName::new("two").expect("a name"), true));
    let friday = s.timezone.with_ymd_and_hms(2026, 1, 2, 12, 0, 0).single().expect("a time");
    let next = s.evaluator().expect("valid").find_next_occurrence(&friday, false).expect("due");
    assert_eq!(next.to_rfc3339(), "2026-01-05T02:30:00+01:00");
}

#[test]
fn a_minimal_config_has_the_documented_defaults() {
    let c = read(&format!("{MINIMAL}[[schedule]]\ncron = '0 0 * * *'\n"));
    assert_eq!(c.server.listen.to_string(), "127.0.0.1:8080");
    assert!(!c.server.public_read && c.server.tokens.is_empty() && c.server.agent_listen.is_none());
    assert_eq!(c.store.url.expose(), "sqlite://data/exactod.db");
    assert!(c.suites.is_empty() && c.providers[0].api_key.is_none());
    let m = &c.models[0];
    assert_eq!((m.public_name.as_str(), m.endpoints[0].id.as_str()), ("m:exacto", "p"));
    assert_eq!(m.endpoints[0].upstream_model, "lab/m");
    assert_eq!((&c.policy, &m.policy), (&Policy::default(), &Policy::default()));
    let s = &c.schedules[0];
    assert_eq!((s.name.as_str(), s.timezone, s.jitter), ("schedule-1", chrono_tz::UTC, Duration::ZERO));
    let any = SuiteName::new("any").expect("a name");
    assert!(s.covers_model(m) && s.covers_suite(&any, true) && !s.covers_suite(&any, false));
    assert_eq!(s.spread, Duration::from_secs(1800));
    let short = read(&format!("{MINIMAL}[[schedule]]\ncron = '0 0 * * *'\ndeadline = '1m'\n"));
    assert_eq!(short.schedules[0].spread, Duration::from_secs(30));
    let often = read(&format!("{MINIMAL}[[schedule]]\ncron = '*/10 * * * *'\n"));
    assert_eq!(often.schedules[0].spread, Duration::from_secs(300));
    let pause = |c: &Config| c.schedules[0].onboarding.map(|pause| pause.as_secs());
    assert_eq!([&c, &short, &often].map(pause), [Some(1800), Some(1800), Some(150)]);
    for off in ["'off'", "false"] {
        let c = read(&format!("{MINIMAL}[[schedule]]\ncron = '0 0 * * *'\nonboarding = {off}\n"));
        assert_eq!(pause(&c), None, "{off}");
    }
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let text = format!("[store]\nurl = 'sqlite://data/x.db'\n[suites]\npaths = ['s']\n{MINIMAL}ca_file = 'ca.pem'\n")
        .replace("ca_file = 'ca.pem'\n", "")
        .replace("id = \"p\"\n", "id = \"p\"\nca_file = 'ca.pem'\napi_key = { file = 'keys/p' }\n");
    let env = FakeEnv::with(&[("/etc/ex#1/keys/p", "k\n")]);
    let c = Config::parse(&text, Path::new("/etc/ex#1/exactod.toml"), &env).expect("valid");
    assert_eq!(c.store.url.expose(), "sqlite:///etc/ex#1/data/x.db");
    assert_eq!(c.suites, [PathBuf::from("/etc/ex#1/s")]);
    assert_eq!(c.providers[0].ca_file.as_deref(), Some(Path::new("/etc/ex#1/ca.pem")));
    assert_eq!(c.providers[0].api_key.as_ref().map(|k| k.expose_secret()), Some("k"));

    let absolute = text.replace("sqlite://data/x.db", "sqlite:///srv/x.db");
    let c = Config::parse(&absolute, Path::new("/etc/ex#1/exactod.toml"), &env).expect("valid");
    assert_eq!(c.store.url.expose(), "sqlite:///srv/x.db");
}

#[test]
fn a_key_command_runs_in_the_files_folder() {
    let text = MINIMAL.replace("id = \"p\"\n", "id = \"p\"\napi_key = { command = ['vault', 'read', 'p'] }\n");
    let env = FakeEnv::with(&[("vault|read|p in /etc/exactod", "from-vault\n")]);
    let c = Config::parse(&text, Path::new("/etc/exactod/exactod.toml"), &env).expect("valid");
    assert_eq!(c.providers[0].api_key.as_ref().map(|k| k.expose_secret()), Some("from-vault"));
}

#[test]
fn plain_http_is_for_loopback_unless_allowed() {
    let with = |url: &str, more: &str| {
        parse(&MINIMAL.replace("https://api.example.com/v1\"", &format!("{url}\"\n{more}"))).map(|_| ())
    };
    for url in ["http://127.0.0.1:1/v1", "http://localhost:1", "http://[::1]:1/v1", "http://a.localhost/v1"] {
        assert!(with(url, "").is_ok(), "{url}");
        assert!(with(url, "allow_loopback_http = false").is_err(), "{url}");
        assert!(with(url, "allow_loopback_http = false\nallow_http = true").is_ok(), "{url}");
    }
    for url in ["http://10.0.0.1/v1", "http://localhost.example.com/v1", "http://127.0.0.1.example.com/v1"] {
        assert!(with(url, "").is_err(), "{url}");
        assert!(with(url, "allow_http = true").is_ok(), "{url}");
    }
}

#[test]
fn the_whole_config_of_the_documentation_is_understood() {
    // The example file itself, with a fake environment.
    let env = FakeEnv::with(&[
        ("GROQ_API_KEY", "k1"),
        ("TOGETHER_API_KEY", "k2"),
        ("FIREWORKS_API_KEY", "k3"),
        ("MOONSHOT_API_KEY", "k4"),
        ("OPENROUTER_API_KEY", "k5"),
    ]);
    let text = include_str!("../../../examples/exactod.toml");
    let c = Config::parse(text, Path::new("exactod.toml"), &env).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(c.providers.len(), 5);
    let m = &c.models[0];
    assert_eq!(m.endpoints.len(), 5);
    assert_eq!(m.endpoints[4].id.as_str(), "openrouter/novita");
    assert_eq!(m.providers[4].extra_body["provider"], json!({"only": ["novita"], "allow_fallbacks": false}));
    assert_eq!(m.public_name, "kimi-k2-0905:exacto");
    let known = ["tool-use", "output-quality"].map(|n| SuiteName::new(n).expect("a name"));
    assert_eq!(c.check_suites(&known).0, []);
    // Without the environment, every missing key is told at once.
    let problems = Config::parse(text, Path::new("exactod.toml"), &FakeEnv::default()).expect_err("no keys");
    assert_eq!(problems.0.len(), 5);
}
