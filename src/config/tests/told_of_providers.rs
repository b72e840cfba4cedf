//! What people read when a server, a store, a provider or a model is wrong.

use insta::assert_snapshot;

use super::{MINIMAL, in_endpoint, in_model, in_provider, told, with, with_url};

#[test]
fn a_bad_url() {
    assert_snapshot!(with_url(r#"api.example.com/v1"#), @r#"
    error: `base_url` is not a URL: relative URL without a base
      --> exactod.toml:4:12
      |
    4 | base_url = "api.example.com/v1"
      |            ^^^^^^^^^^^^^^^^^^^^
      hint: it begins with https:// and a host, such as https://api.example.com/v1

    1 error
    "#);
    assert_snapshot!(with_url(r#"ftp://api.example.com"#), @r#"
    error: `base_url` must be http or https, not ftp
      --> exactod.toml:4:12
      |
    4 | base_url = "ftp://api.example.com"
      |            ^^^^^^^^^^^^^^^^^^^^^^^
      hint: it begins with https:// and a host, such as https://api.example.com/v1

    1 error
    "#);
    assert_snapshot!(with_url(r#"https://api.example.com/v1/chat/completions"#), @r#"
    error: `base_url` holds the path of the request
      --> exactod.toml:4:12
      |
    4 | base_url = "https://api.example.com/v1/chat/completions"
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: end it with `/v1`

    1 error
    "#);
    assert_snapshot!(with_url(r#"https://api.example.com/v1?key=1"#), @r#"
    error: `base_url` must end with its path
      --> exactod.toml:4:12
      |
    4 | base_url = "https://api.example.com/v1?key=*"
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: leave out what stands from `?` or `#` on

    1 error
    "#);
    assert_snapshot!(with_url(r#"https://user:9f8e7d@api.example.com/v1"#), @r#"
    error: `base_url` holds credentials in the clear
      --> exactod.toml:4:12
      |
    4 | base_url = "https://***********@api.example.com/v1"
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: take out what stands before `@`; keys go into api_key or headers, as { env = "NAME" }

    1 error
    "#);
}

#[test]
fn plain_http() {
    assert_snapshot!(with_url(r#"http://10.1.2.3:8000/v1"#), @r#"
    error: plain http to `10.1.2.3` would send keys and answers in the clear
      --> exactod.toml:4:12
      |
    4 | base_url = "http://10.1.2.3:8000/v1"
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: use https, or permit it with allow_http = true

    1 error
    "#);
}

#[test]
fn duplicates() {
    assert_snapshot!(told(r#"
[[provider]]
id = "p"
base_url = "https://a.example/v1"
[[provider]]
id = "p"
base_url = "https://b.example/v1"
[[model]]
id = "lab/m"
aliases = ["m", "lab/n"]
[[model.endpoint]]
provider = "p"
[[model.endpoint]]
provider = "p"
[[model]]
id = "lab/n"
aliases = ["m"]
[[model.endpoint]]
provider = "p"
[[model]]
id = "lab/m"
[[model.endpoint]]
provider = "p"
[[schedule]]
name = "s"
cron = "0 * * * *"
[[schedule]]
name = "s"
cron = "0 * * * *"
"#), @r#"
    error: duplicate provider id `p`
      --> exactod.toml:6:6
      |
    6 | id = "p"
      |      ^^^
      hint: the first stands in line 3; for a second set of settings choose another id

    error: duplicate alias `lab/n`
       --> exactod.toml:10:17
       |
    10 | aliases = ["m", "lab/n"]
       |                 ^^^^^^^
      hint: the first stands in line 16; ids, aliases and public names are unique over all models

    error: duplicate endpoint id `p` in this model
       --> exactod.toml:14:12
       |
    14 | provider = "p"
       |            ^^^
      hint: the first stands in line 12; tell them apart with `tag` or `id`

    error: duplicate alias `m`
       --> exactod.toml:17:12
       |
    17 | aliases = ["m"]
       |            ^^^
      hint: the first stands in line 10; ids, aliases and public names are unique over all models

    error: duplicate model id `lab/m`
       --> exactod.toml:21:6
       |
    21 | id = "lab/m"
       |      ^^^^^^^
      hint: the first stands in line 9; ids, aliases and public names are unique over all models

    error: duplicate schedule name `s`
       --> exactod.toml:28:8
       |
    28 | name = "s"
       |        ^^^
      hint: the first stands in line 25

    6 errors
    "#);
}

#[test]
fn an_unknown_provider() {
    assert_snapshot!(told(&MINIMAL.replace("provider = \"p\"", "provider = \"q\"")), @r#"
    error: unknown provider `q`
      --> exactod.toml:9:12
      |
    9 | provider = "q"
      |            ^^^
      hint: did you mean `p`?

    1 error
    "#);
    assert_snapshot!(told(&MINIMAL.replace("provider = \"p\"", "provider = \"somebody\"")), @r#"
    error: unknown provider `somebody`
      --> exactod.toml:9:12
      |
    9 | provider = "somebody"
      |            ^^^^^^^^^^
      hint: configured providers: p

    1 error
    "#);
}

#[test]
fn a_reference_to_nothing() {
    assert_snapshot!(in_model(r#"reference = "moonshot""#), @r#"
    error: `reference` names no endpoint: `moonshot`
      --> exactod.toml:8:13
      |
    8 | reference = "moonshot"
      |             ^^^^^^^^^^
      hint: endpoints of this model: p

    1 error
    "#);
}

#[test]
fn a_bad_id() {
    assert_snapshot!(told(&MINIMAL.replace("= \"p\"", "= \"p/q\"")), @r#"
    error: character '/' is not allowed in a provider id (allowed: letters, digits, - _ .)
      --> exactod.toml:3:6
      |
    3 | id = "p/q"
      |      ^^^^^

    1 error
    "#);
    assert_snapshot!(in_endpoint(r#"tag = "fp 8""#), @r#"
    error: endpoint id `p/fp 8`: character ' ' is not allowed in an endpoint id (allowed: letters, digits, - _ . / : @ +)
       --> exactod.toml:10:7
       |
    10 | tag = "fp 8"
       |       ^^^^^^
      hint: such as groq or groq-fp8

    1 error
    "#);
}

#[test]
fn a_price_by_half() {
    assert_snapshot!(in_endpoint(r#"price = { input_per_mtok = 1.0 }"#), @r#"
    error: [[model.endpoint]] price lacks the key `output_per_mtok`
       --> exactod.toml:10:9
       |
    10 | price = { input_per_mtok = 1.0 }
       |         ^^^^^^^^^^^^^^^^^^^^^^^^
      hint: For a million answer tokens.

    1 error
    "#);
}

#[test]
fn a_server_open_to_all() {
    assert_snapshot!(with(r#"[server]
listen = "0.0.0.0:8080""#), @r#"
    error: without a token the server listens on loopback only, not on 0.0.0.0:8080
      --> exactod.toml:2:10
      |
    2 | listen = "0.0.0.0:8080"
      |          ^^^^^^^^^^^^^^
      hint: make one with `exactod token new --role read`, or listen on 127.0.0.1

    1 error
    "#);
    assert_snapshot!(with(r#"[server]
listen = ":8080""#), @r#"
    error: `:8080` is not an address to listen on
      --> exactod.toml:2:10
      |
    2 | listen = ":8080"
      |          ^^^^^^^
      hint: "127.0.0.1:8080" for this machine only, "0.0.0.0:8080" for all

    1 error
    "#);
    assert_snapshot!(with(r#"[server]
listen = "example.com:80""#), @r#"
    error: `example.com:80` is not an address to listen on
      --> exactod.toml:2:10
      |
    2 | listen = "example.com:80"
      |          ^^^^^^^^^^^^^^^^
      hint: an IP address and a port, such as "127.0.0.1:8080" or "[::1]:8080"

    1 error
    "#);
}

#[test]
fn a_bad_token() {
    assert_snapshot!(with(r#"[[server.token]]
name = "a"
role = "reader"
sha256 = "abc"
[[server.token]]
name = "a"
role = "read"
sha256 = "exd_0123456789abcdef""#), @r#"
    error: `reader` is not a role
      --> exactod.toml:3:8
      |
    3 | role = "reader"
      |        ^^^^^^^^
      hint: did you mean "read"?

    error: `sha256` must have 64 hexadecimal digits, this has 3 characters
      --> exactod.toml:4:10
      |
    4 | sha256 = "***"
      |          ^^^^^
      hint: `exactod token new --role ROLE` prints it

    error: duplicate token name `a`
      --> exactod.toml:6:8
      |
    6 | name = "a"
      |        ^^^
      hint: the first stands in line 2

    error: `sha256` holds a token in the clear: its SHA-256 is due
      --> exactod.toml:8:10
      |
    8 | sha256 = "********************"
      |          ^^^^^^^^^^^^^^^^^^^^^^
      hint: make a new one with `exactod token new` and put the sha256 that it prints here

    4 errors
    "#);
}

#[test]
fn a_bad_store() {
    assert_snapshot!(with(r#"[store]
url = "mysql://root:9f8e7d@db/x""#), @r#"
    error: `url` holds a password in the clear
      --> exactod.toml:2:7
      |
    2 | url = "mysql://***********@db/x"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: put the whole URL into the environment and write url = { env = "DATABASE_URL" }

    1 error
    "#);
    assert_snapshot!(with(r#"[store]
url = "sqlite::memory:""#), @r#"
    error: a store in memory would forget every decision
      --> exactod.toml:2:7
      |
    2 | url = "sqlite::memory:"
      |       ^^^^^^^^^^^^^^^^^
      hint: name a file: sqlite://data/exactod.db

    1 error
    "#);
    assert_snapshot!(with(r#"[store]
url = "sqlite://""#), @r#"
    error: the store's URL names no file
      --> exactod.toml:2:7
      |
    2 | url = "sqlite://"
      |       ^^^^^^^^^^^
      hint: sqlite://data/exactod.db, sqlite:///var/lib/exactod/exactod.db or postgres://host/database

    1 error
    "#);
    assert_snapshot!(with(r#"[store]
url = "sqlite://x.db?mode=rwc""#), @r#"
    error: a SQLite URL takes no parameters
      --> exactod.toml:2:7
      |
    2 | url = "sqlite://x.db?mode=rwc"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^
      hint: write the path alone: sqlite://data/exactod.db

    1 error
    "#);
    assert_snapshot!(with(r#"[store]
url = "postgres:db""#), @r#"
    error: this is not a PostgreSQL URL
      --> exactod.toml:2:7
      |
    2 | url = "postgres:db"
      |       ^^^^^^^^^^^^^
      hint: sqlite://data/exactod.db, sqlite:///var/lib/exactod/exactod.db or postgres://host/database

    1 error
    "#);
    assert_snapshot!(with(r#"[store]
retention = { transcripts = "30" }
url = 5"#), @r#"
    error: `transcripts` is not a duration: 30 has no unit
      --> exactod.toml:2:29
      |
    2 | retention = { transcripts = "30" }
      |                             ^^^^
      hint: write an integer with a unit, such as "500ms", "10s", "5m", "2h", "30d" or "1h30m"

    error: `url` must be a text in quotes, or { env = "NAME" }, not an integer
      --> exactod.toml:3:7
      |
    3 | url = 5
      |       ^
      hint: write { env = "NAME" }

    2 errors
    "#);
}

#[test]
fn a_bad_header() {
    assert_snapshot!(in_provider(r#"headers = { "X Y" = "a", Host = "b", X-Line = "a\nb", X-N = 1 }"#), @r#"
    error: `X Y` is not a header name
      --> exactod.toml:4:13
      |
    4 | headers = { "***" = "*", Host = "*", X-Line = "****", X-N = * }
      |             ^^^^^
      hint: letters, digits and `-`

    error: the client itself sets the header `Host`
      --> exactod.toml:4:26
      |
    4 | headers = { "***" = "*", Host = "*", X-Line = "****", X-N = * }
      |                          ^^^^
      hint: take it out

    error: header `X-Line` must be one line of ASCII text
      --> exactod.toml:4:47
      |
    4 | headers = { "***" = "*", Host = "*", X-Line = "****", X-N = * }
      |                                               ^^^^^^

    error: header `X-N` must be a text in quotes, not an integer
      --> exactod.toml:4:61
      |
    4 | headers = { "***" = "*", Host = "*", X-Line = "****", X-N = * }
      |                                                             ^
      hint: or a secret: { env = "NAME" }

    4 errors
    "#);
}

#[test]
fn a_body_key_that_is_not_the_providers() {
    assert_snapshot!(in_provider(r#"extra_body = { model = "x", temperature = 0.2, n = nan }"#), @r#"
    error: `model` must not stand in extra_body
      --> exactod.toml:4:16
      |
    4 | extra_body = { model = "x", temperature = 0.2, n = nan }
      |                ^^^^^
      hint: the endpoint's upstream_model and the cases of the suites set it

    error: a number that JSON cannot hold
      --> exactod.toml:4:52
      |
    4 | extra_body = { model = "x", temperature = 0.2, n = nan }
      |                                                    ^^^
      hint: finite, and below 2^63

    2 errors
    "#);
}

#[test]
fn an_agent_check_open_to_all() {
    assert_snapshot!(with(r#"[server]
agent_listen = "10.0.0.1:8089""#), @r#"
    error: the agent-check knows no tokens, so it listens on loopback only, not on 10.0.0.1:8089
      --> exactod.toml:2:16
      |
    2 | agent_listen = "10.0.0.1:8089"
      |                ^^^^^^^^^^^^^^^
      hint: with public_read = true everybody may read the lists, also there

    1 error
    "#);
    assert_snapshot!(with(r#"[server]
listen = "127.0.0.1:8080"
agent_listen = "127.0.0.1:8080""#), @r#"
    error: `agent_listen` is the address of `listen`
      --> exactod.toml:3:16
      |
    3 | agent_listen = "127.0.0.1:8080"
      |                ^^^^^^^^^^^^^^^^
      hint: give it a port of its own

    1 error
    "#);
    let open = "[server]\nagent_listen = \"0.0.0.0:8089\"\npublic_read = true";
    let server = super::parse(&format!("{open}\n{MINIMAL}")).unwrap().server;
    assert_eq!(server.agent_listen.map(|a| a.to_string()).as_deref(), Some("0.0.0.0:8089"));
}

#[test]
fn an_empty_list_of_tokens_is_none() {
    let problems = with("[server]\nlisten = \"0.0.0.0:80\"\ntoken = []");
    assert!(problems.contains("without a token the server listens on loopback only"), "{problems}");
}

#[test]
fn two_models_under_one_public_name() {
    let second = "[[model]]\nid = \"other/m\"\n[[model.endpoint]]\nprovider = \"p\"\n";
    assert_snapshot!(told(&format!("{MINIMAL}{second}")), @r#"
    error: the public name of this model would be `m:exacto`, which is taken in line 7
       --> exactod.toml:11:6
       |
    11 | id = "other/m"
       |      ^^^^^^^^^
      hint: give one of them a `public_name` of its own

    1 error
    "#);
}
