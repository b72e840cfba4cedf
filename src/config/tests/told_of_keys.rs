//! What people read when keys, types or secrets are wrong.

use insta::assert_snapshot;

use super::{FakeEnv, MINIMAL, in_model, in_provider, parse, told, with};

#[test]
fn a_file_without_anything() {
    assert_snapshot!(told(r#"# nothing yet"#), @r#"
    error: no [[provider]] is configured
      --> exactod.toml
      hint: Who serves models: one table for each provider.

    error: no [[model]] is configured
      --> exactod.toml
      hint: What is served: one table for each model.

    2 errors
    "#);
}

#[test]
fn an_unknown_key() {
    assert_snapshot!(with(r#"[policy]
margn = 0.02"#), @r#"
    error: unknown key `margn` in [policy]
      --> exactod.toml:2:1
      |
    2 | margn = 0.02
      | ^^^^^
      hint: did you mean `margin`?

    1 error
    "#);
    assert_snapshot!(with(r#"[server]
prt = 80
margin = 0.1"#), @r#"
    error: unknown key `prt` in [server]
      --> exactod.toml:2:1
      |
    2 | prt = 80
      | ^^^
      hint: known keys: listen, agent_listen, public_read, drain_timeout, token

    error: unknown key `margin` in [server]
      --> exactod.toml:3:1
      |
    3 | margin = 0.1
      | ^^^^^^
      hint: `margin` belongs to [policy]

    2 errors
    "#);
    assert_snapshot!(with(r#"[polcy]
margin = 0.02"#), @r#"
    error: unknown key `polcy` in the file
      --> exactod.toml:1:2
      |
    1 | [polcy]
      |  ^^^^^
      hint: did you mean `policy`?

    1 error
    "#);
}

#[test]
fn a_wrong_type() {
    assert_snapshot!(with(r#"[server]
listen = 8080
public_read = "yes"
drain_timeout = 30
[policy]
anchors = 2.5"#), @r#"
    error: `listen` must be a text in quotes, not an integer
      --> exactod.toml:2:10
      |
    2 | listen = 8080
      |          ^^^^
      hint: Address and port to listen on; port 0 takes a free one. Without a `[[server.token]]` it must be a loopback address.

    error: `public_read` must be true or false, not a text
      --> exactod.toml:3:15
      |
    3 | public_read = "yes"
      |               ^^^^^
      hint: `true`: allowlists, exports and discovery need no token; all else still does.

    error: `drain_timeout` must be a duration in quotes, not an integer
      --> exactod.toml:4:17
      |
    4 | drain_timeout = 30
      |                 ^^
      hint: write an integer with a unit, such as "500ms", "10s", "5m", "2h", "30d" or "1h30m"

    error: `anchors` must be an integer, not a number with a point
      --> exactod.toml:6:11
      |
    6 | anchors = 2.5
      |           ^^^
      hint: With `pool = "anchors"`: how many. With `wide`: at least so many are asked as much as a decided endpoint that evidence gathers about.

    4 errors
    "#);
}

#[test]
fn single_and_double_brackets() {
    assert_snapshot!(told(r#"[provider]
id = "p"
[[model]]
id = "m"
[[policy]]
margin = 0.1"#), @r#"
    error: `provider` must be an array of tables, not a table
      --> exactod.toml:1:1
      |
    1 | [provider]
      | ^^^^^^^^^^
      hint: each one is a table of its own, with double brackets: [[provider]]

    error: [[model]] `m` lacks [[model.endpoint]]
      --> exactod.toml:3:1
      |
    3 | [[model]]
      | ^^^^^^^^^
      hint: One table for each endpoint.

    error: `policy` must be a table, not an array
      --> exactod.toml:5:1
      |
    5 | [[policy]]
      | ^^^^^^^^^^
      hint: there is only one, with single brackets: [policy]

    3 errors
    "#);
}

#[test]
fn a_missing_key() {
    assert_snapshot!(told(r#"[[provider]]
id = "groq"
[[model]]
id = "m"
[[schedule]]
name = "nightly""#), @r#"
    error: [[provider]] `groq` lacks the key `base_url`
      --> exactod.toml:1:1
      |
    1 | [[provider]]
      | ^^^^^^^^^^^^
      hint: What stands before `/chat/completions`, such as `https://api.groq.com/openai/v1`.

    error: [[model]] `m` lacks [[model.endpoint]]
      --> exactod.toml:3:1
      |
    3 | [[model]]
      | ^^^^^^^^^
      hint: One table for each endpoint.

    error: [[schedule]] `nightly` lacks the key `cron`
      --> exactod.toml:5:1
      |
    5 | [[schedule]]
      | ^^^^^^^^^^^^
      hint: Five fields: minute, hour, day of month, month, day of week (0 and 7 are Sunday), such as `17 */6 * * *`.

    3 errors
    "#);
}

#[test]
fn durations() {
    assert_snapshot!(in_provider(r#"timeouts = { connect = "10", idle = "5 min", total = "0s", first_byte = "ten" }"#), @r#"
    error: `connect` is not a duration: 10 has no unit
      --> exactod.toml:4:24
      |
    4 | timeouts = { connect = "10", idle = "5 min", total = "0s", first_byte = "ten" }
      |                        ^^^^
      hint: write an integer with a unit, such as "500ms", "10s", "5m", "2h", "30d" or "1h30m"

    error: `idle` is not a duration: unknown unit `min`
      --> exactod.toml:4:37
      |
    4 | timeouts = { connect = "10", idle = "5 min", total = "0s", first_byte = "ten" }
      |                                     ^^^^^^^
      hint: write an integer with a unit, such as "500ms", "10s", "5m", "2h", "30d" or "1h30m"

    error: `total` must be longer than nothing
      --> exactod.toml:4:54
      |
    4 | timeouts = { connect = "10", idle = "5 min", total = "0s", first_byte = "ten" }
      |                                                      ^^^^
      hint: The whole try.

    error: `first_byte` is not a duration: a number is due before `ten`
      --> exactod.toml:4:73
      |
    4 | timeouts = { connect = "10", idle = "5 min", total = "0s", first_byte = "ten" }
      |                                                                         ^^^^^
      hint: write an integer with a unit, such as "500ms", "10s", "5m", "2h", "30d" or "1h30m"

    4 errors
    "#);
}

#[test]
fn numbers_out_of_range() {
    assert_snapshot!(in_provider(r#"limits = { concurrency = 0, requests_per_minute = 99999999999 }
retry = { attempts = 21 }"#), @r#"
    error: `concurrency` must be an integer from 1 to 10000
      --> exactod.toml:4:26
      |
    4 | limits = { concurrency = 0, requests_per_minute = 99999999999 }
      |                          ^
      hint: Requests in flight at once.

    error: `requests_per_minute` must be an integer from 1 to 4294967295
      --> exactod.toml:4:51
      |
    4 | limits = { concurrency = 0, requests_per_minute = 99999999999 }
      |                                                   ^^^^^^^^^^^
      hint: Requests started per minute.

    error: `attempts` must be an integer from 0 to 20
      --> exactod.toml:5:22
      |
    5 | retry = { attempts = 21 }
      |                      ^^
      hint: Tries after the first; 0: none.

    3 errors
    "#);
    assert_snapshot!(with(r#"[budget]
usd_per_day = -1
usd_per_sweep = nan"#), @r#"
    error: `usd_per_day` must be a number from 0 to 1000000000
      --> exactod.toml:2:15
      |
    2 | usd_per_day = -1
      |               ^^
      hint: US dollars per UTC day, over all models.

    error: `usd_per_sweep` must be a number from 0 to 1000000000
      --> exactod.toml:3:17
      |
    3 | usd_per_sweep = nan
      |                 ^^^
      hint: US dollars per sweep; at most `usd_per_day`.

    2 errors
    "#);
}

#[test]
fn a_key_in_the_clear() {
    assert_snapshot!(in_provider(r#"api_key = "9f8e7d6c5b4a3210""#), @r#"
    error: `api_key` holds a secret in the clear
      --> exactod.toml:4:11
      |
    4 | api_key = "****************"
      |           ^^^^^^^^^^^^^^^^^^
      hint: write api_key = { env = "NAME_OF_A_VARIABLE" }; take it out of this file and revoke it if anybody else can read the file

    1 error
    "#);
    assert_snapshot!(in_provider(r#"api_key = sk-proj-9f8e7d6c5b4a3210"#), @r#"
    error: this is not TOML: string values must be quoted, expected literal string
      --> exactod.toml:4:11
      |
    4 | api_key = ************************
      |           ^^^^^^^^^^^^^^^^^^^^^^^^
      hint: texts stand in quotes: key = "text"

    1 error
    "#);
    assert_snapshot!(in_provider(r#"headers = { Authorization = "Bearer 9f8e7d6c", X-Title = "mine" }"#), @r#"
    error: `Authorization` holds a secret in the clear
      --> exactod.toml:4:29
      |
    4 | headers = { Authorization = "***************", X-Title = "****" }
      |                             ^^^^^^^^^^^^^^^^^
      hint: write Authorization = { env = "NAME_OF_A_VARIABLE" }; take it out of this file and revoke it if anybody else can read the file

    1 error
    "#);
    assert_snapshot!(in_provider(r#"extra_body = { user = "sk-9f8e7d6c5b4a3210" }"#), @r#"
    error: `extra_body` holds a secret in the clear
      --> exactod.toml:4:23
      |
    4 | extra_body = { user = "*******************" }
      |                       ^^^^^^^^^^^^^^^^^^^^^
      hint: take it out of this file and revoke it if anybody else can read the file

    1 error
    "#);
}

#[test]
fn a_secret_of_the_wrong_shape() {
    assert_snapshot!(in_provider(r#"api_key = { environment = "KEY" }"#), @r#"
    error: unknown key `environment` in `api_key`
      --> exactod.toml:4:13
      |
    4 | api_key = { environment = "***" }
      |             ^^^^^^^^^^^
      hint: one of: env, file, command; a secret in the clear is refused

    1 error
    "#);
    assert_snapshot!(in_provider(r#"api_key = { env = "KEY", file = "k" }"#), @r#"
    error: `api_key` needs exactly one of env, file, command
      --> exactod.toml:4:11
      |
    4 | api_key = { env = "KEY", file = "k" }
      |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: { env = "NAME" }

    1 error
    "#);
    assert_snapshot!(in_provider(r#"api_key = { command = "cat key" }"#), @r#"
    error: `command` must be an array of texts
      --> exactod.toml:4:23
      |
    4 | api_key = { command = "cat key" }
      |                       ^^^^^^^^^
      hint: command = ["program", "argument"]

    1 error
    "#);
    assert_snapshot!(in_provider(r#"api_key = {}"#), @r#"
    error: `api_key` needs exactly one of env, file, command
      --> exactod.toml:4:11
      |
    4 | api_key = {}
      |           ^^
      hint: { env = "NAME" }

    1 error
    "#);
}

#[test]
fn a_secret_that_is_not_there() {
    assert_snapshot!(in_provider(r#"api_key = { env = "GROQ_API_KEY" }
headers = { X-Org-Key = { env = "ORG_KEY" } }"#), @r#"
    error: `api_key`: the environment variable `GROQ_API_KEY` is not set
      --> exactod.toml:4:19
      |
    4 | api_key = { env = "GROQ_API_KEY" }
      |                   ^^^^^^^^^^^^^^
      hint: set it where exactod starts: export GROQ_API_KEY=...

    error: `X-Org-Key`: the environment variable `ORG_KEY` is not set
      --> exactod.toml:5:33
      |
    5 | headers = { X-Org-Key = { env = "ORG_KEY" } }
      |                                 ^^^^^^^^^
      hint: set it where exactod starts: export ORG_KEY=...

    2 errors
    "#);
    assert_snapshot!(in_provider(r#"api_key = { file = "keys/groq" }"#), @r#"
    error: `api_key`: cannot read the key file `keys/groq`: not there
      --> exactod.toml:4:20
      |
    4 | api_key = { file = "keys/groq" }
      |                    ^^^^^^^^^^^
      hint: the path is relative to the folder of this file; the daemon's user must be able to read it

    1 error
    "#);
    assert_snapshot!(in_provider(r#"api_key = { command = ["vault", "read"] }"#), @r#"
    error: `api_key`: the command `vault` gave no key: not there
      --> exactod.toml:4:23
      |
    4 | api_key = { command = ["vault", "read"] }
      |                       ^^^^^^^^^^^^^^^^^
      hint: run it by hand in the folder of this file to see why; it is run without a shell

    1 error
    "#);
    assert_snapshot!(in_provider(r#"api_key = { env = "gsk_9f8e7d6c5b4a3210" }"#), @r#"
    error: `api_key`: `env` does not hold the name of an environment variable that is set
      --> exactod.toml:4:19
      |
    4 | api_key = { env = "********************" }
      |                   ^^^^^^^^^^^^^^^^^^^^^^
      hint: the name of the variable is due here, not the key itself

    1 error
    "#);
}

#[test]
fn an_empty_secret() {
    assert_snapshot!({
        let text = MINIMAL.replace("id = \"p\"\n", "id = \"p\"\napi_key = { env = \"E\" }\n");
        let env = FakeEnv::with(&[("E", " \n")]);
        crate::config::Config::parse(&text, std::path::Path::new("exactod.toml"), &env).expect_err("refused").to_string()
    }, @r#"
    error: `api_key`: the secret is empty
      --> exactod.toml:4:11
      |
    4 | api_key = { env = "E" }
      |           ^^^^^^^^^^^^^

    1 error
    "#);
}

#[test]
fn a_later_protocol() {
    assert_snapshot!(in_provider(r#"protocol = "anthropic-messages""#), @r#"
    error: protocol `anthropic-messages` is not supported yet in this version
      --> exactod.toml:4:12
      |
    4 | protocol = "anthropic-messages"
      |            ^^^^^^^^^^^^^^^^^^^^
      hint: supported: openai-chat

    1 error
    "#);
    assert_snapshot!(in_provider(r#"protocol = "openai""#), @r#"
    error: `openai` is not a protocol
      --> exactod.toml:4:12
      |
    4 | protocol = "openai"
      |            ^^^^^^^^
      hint: one of: openai-chat

    1 error
    "#);
}

#[test]
fn a_later_feature() {
    assert_snapshot!(with(r#"[policy]
quarantine = { enabled = true, for = "2d" }"#), @r#"
    error: `for` is longer than a quarantine may last: the endpoint is evaluated meanwhile
      --> exactod.toml:2:38
      |
    2 | quarantine = { enabled = true, for = "2d" }
      |                                      ^^^^
      hint: at most "24h"

    1 error
    "#);
    assert_snapshot!(in_model(r#"[[model.discover]]
via = "openrouter""#), @r"
    error: `discover` is not supported yet in this version: discovery of endpoints
      --> exactod.toml:8:9
      |
    8 | [[model.discover]]
      |         ^^^^^^^^
      hint: take it out; [[model]] understands: id, aliases, public_name, slugs, reference, policy, endpoint

    1 error
    ");
}

#[test]
fn a_sweep_that_may_cost_more_than_its_day() {
    assert_snapshot!(with(r#"[budget]
usd_per_day = 2.5
usd_per_sweep = 5"#), @r#"
    error: `usd_per_sweep` is more than `usd_per_day`: no sweep can cost 5 on a day of 2.5
      --> exactod.toml:3:17
      |
    3 | usd_per_sweep = 5
      |                 ^
      hint: a sweep's cap lies within the day's: at most 2.5 here, or a higher `usd_per_day`

    1 error
    "#);
    // A whole day for one sweep is a plan.
    let budget = parse(&format!("{MINIMAL}\n[budget]\nusd_per_day = 5\nusd_per_sweep = 5.0\n")).unwrap().budget;
    assert_eq!(budget.usd_per_day, budget.usd_per_sweep);
}
