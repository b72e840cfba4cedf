//! No secret in any problem, nor in what is printed of a config.

use std::path::Path;

use proptest::prelude::*;

use super::{EVERYTHING, FakeEnv, MINIMAL, parse};
use crate::config::Config;

/// Of no recognisable shape, so that only its place can give it away.
const CANARY: &str = "canary7b4f";

/// Everything that is ever shown for a text: its problems, or the config.
fn shown(text: &str, env: &FakeEnv) -> String {
    match Config::parse(text, Path::new("exactod.toml"), env) {
        Ok(config) => format!("{config:?}\n{config:#?}\n{}", config.store.url),
        Err(problems) => format!("{problems}\n{problems:?}"),
    }
}

fn keeps_quiet(text: &str, env: &FakeEnv) {
    let shown = shown(text, env);
    assert!(!shown.contains(CANARY), "{text}\n--- gave ---\n{shown}");
}

#[test]
fn a_config_is_printed_without_its_secrets() {
    let env = FakeEnv::with(&[("KEY", CANARY), ("URL", &format!("postgres://u:{CANARY}@host/db?password={CANARY}"))]);
    let text = EVERYTHING.replace("\"postgres://db.example/exactod\"", "{ env = \"URL\" }");
    assert!(Config::parse(&text, Path::new("x"), &env).is_ok());
    keeps_quiet(&text, &env);
    keeps_quiet(&text.replace("X-Title = \"exactod\"", &format!("X-Title = \"{CANARY}\"")), &env);
}

#[test]
fn a_misplaced_key_is_never_shown() {
    let c = CANARY;
    for line in [
        format!("api_key = \"{c}\""),
        format!("api_key = '{c}'"),
        format!("api_key = {c}"),
        format!("api_key = \"{c}"),
        format!("api_key = \"\"\"\n{c}\n\"\"\""),
        format!("api_key = [\"{c}\"]"),
        format!("api_key = {{ value = \"{c}\" }}"),
        format!("api_key = {{ env = \"{c}-x\" }}"),
        format!("api_key = {{ env = \"{c}{c}\" }}"),
        format!("api_key = {{ env = [\"{c}\"] }}"),
        format!("api_key = {{ key = {c} }}"),
        format!("apikey = \"{c}\""),
        format!("api-key = \"{c}\""),
        format!("token = \"{c}\""),
        format!("secret = \"{c}\" # {c}"),
        format!("headers = {{ Authorization = \"Bearer {c}\" }}"),
        format!("headers = {{ X-Api-Key = \"{c}\" }}"),
        format!("headers = {{ X-Whatever = \"{c}\\n\" }}"),
        format!("headers = {{ X-Whatever = {c} }}"),
        format!("headers.X-Whatever = {c}"),
        format!("headers = [\"Authorization: {c}\"]"),
        format!("proxy = \"http://user:{c}@proxy.example\""),
        format!("[provider.api_key]\nvalue = \"{c}\""),
        format!("[provider.headers]\nAuthorization = \"{c}\""),
        format!("[provider.headers]\nAuthorization = {c}"),
        format!("extra_body = {{ a = \"sk-{c}\" }}"),
        format!("limits = {{ concurrency = \"sk-{c}\" }}"),
        format!("\"sk-{c}\" = 1"),
        format!("protocol = \"sk-{c}\""),
        format!("base_url = \"https://{c}@api.example.com\""),
    ] {
        let text = MINIMAL.replace("id = \"p\"", &format!("id = \"p\"\n{line}"));
        let problems = parse(&text).expect_err(&line).to_string();
        assert!(problems.contains('*') || !problems.contains(c), "{problems}");
        // A comment in a shown line is hidden only when it has the shape of a key; this one has not.
        keeps_quiet(&text.replace(&format!("# {c}"), ""), &FakeEnv::default());
    }
}

#[test]
fn a_token_or_password_in_the_wrong_place_is_never_shown() {
    let c = CANARY;
    for text in [
        format!("[store]\nurl = \"postgres://u:{c}@h\"\nx = 1\n{MINIMAL}"),
        format!("[store]\nurl = \"mysql://u:{c}@h/d\"\n{MINIMAL}"),
        format!("[server]\nlisten = \"exd_{c}{c}\"\n{MINIMAL}"),
        format!("[[server.token]]\nname = \"a\"\nrole = \"read\"\nsha256 = \"{c}\"\n{MINIMAL}"),
        format!("[[server.token]]\nname = \"a\"\nrole = \"read\"\nsha256 = \"exd_{c}{c}\"\n{MINIMAL}"),
        format!("[[server.token]]\nname = \"a\"\nrole = \"read\"\ntoken = \"{c}\"\n{MINIMAL}"),
        format!("[[server.token]]\nname = \"a\"\nrole = \"exd_{c}{c}\"\n{MINIMAL}"),
    ] {
        assert!(parse(&text).is_err());
        keeps_quiet(&text, &FakeEnv::default());
    }
}

#[test]
fn an_unsendable_secret_is_never_shown() {
    let text = MINIMAL.replace("id = \"p\"", "id = \"p\"\napi_key = { env = \"KEY\" }");
    for value in [format!("{CANARY}\nsecond"), format!("{CANARY}\u{e9}"), format!("{CANARY}\u{7f}")] {
        let env = FakeEnv::with(&[("KEY", &value)]);
        assert!(Config::parse(&text, Path::new("x"), &env).is_err());
        keeps_quiet(&text, &env);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// A key in the clear, and one more mistake anywhere before it in the file or after its line.
    #[test]
    fn no_second_mistake_brings_a_secret_out(
        at in any::<prop::sample::Index>(),
        junk in "[a-z=\\[\\]{},#' ]{1,6}",
    ) {
        let text = EVERYTHING.replace("api_key = { env = \"KEY\" }", &format!("api_key = \"{CANARY}\""));
        let lines: Vec<&str> = text.lines().collect();
        let chosen = at.index(lines.len());
        let mut out = String::new();
        for (i, line) in lines.iter().enumerate() {
            if i == chosen && !line.contains(CANARY) {
                out.push_str(&junk);
            }
            out.push_str(line);
            out.push('\n');
        }
        let shown = shown(&out, &FakeEnv::with(&[("KEY", "k")]));
        prop_assert!(!shown.contains(CANARY), "{}\n{}", out, shown);
    }
}
