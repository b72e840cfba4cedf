//! What people read when a schedule, a policy or the whole file is wrong.

use std::collections::BTreeSet;

use insta::assert_snapshot;

use super::{MINIMAL, in_endpoint, in_model, parse, told, with, with_cron, with_zone};
use crate::config::ModelConfig;
use crate::domain::SuiteName;

#[test]
fn a_bad_cron_line() {
    assert_snapshot!(with_cron(r#"0 25 * * *"#), @r#"
    error: `25` cannot be read as the hour of a cron line
      --> exactod.toml:2:11
      |
    2 | cron = "0 25 * * *"
      |           ^^
      hint: hour: 0 to 23; also *, lists 1,2, ranges 1-5 and steps */6

    1 error
    "#);
    assert_snapshot!(with_cron(r#"17 */0 * * *"#), @r#"
    error: `*/0` cannot be read as the hour of a cron line
      --> exactod.toml:2:12
      |
    2 | cron = "17 */0 * * *"
      |            ^^^
      hint: hour: 0 to 23; also *, lists 1,2, ranges 1-5 and steps */6

    1 error
    "#);
    assert_snapshot!(with_cron(r#"0 9 * * moonday"#), @r#"
    error: `moonday` cannot be read as the day of week of a cron line
      --> exactod.toml:2:17
      |
    2 | cron = "0 9 * * moonday"
      |                 ^^^^^^^
      hint: day of week: 0 to 7 (0 and 7 are Sunday), or SUN to SAT; also *, lists 1,2, ranges 1-5 and steps */6

    1 error
    "#);
    assert_snapshot!(with_cron(r#"0 0 9 * * 1-5"#), @r#"
    error: a cron line has five fields, this one has 6
      --> exactod.toml:2:8
      |
    2 | cron = "0 0 9 * * 1-5"
      |        ^^^^^^^^^^^^^^^
      hint: there are no seconds: write cron = "0 9 * * 1-5"

    1 error
    "#);
    assert_snapshot!(with_cron(r#"0 0 * *"#), @r#"
    error: a cron line has five fields, this one has 4
      --> exactod.toml:2:8
      |
    2 | cron = "0 0 * *"
      |        ^^^^^^^^^
      hint: in this order: minute, hour, day of month, month, day of week; such as "17 */6 * * *"

    1 error
    "#);
    assert_snapshot!(with_cron(r#"@daily"#), @r#"
    error: `@daily` is not a cron line of five fields
      --> exactod.toml:2:8
      |
    2 | cron = "@daily"
      |        ^^^^^^^^
      hint: write cron = "0 0 * * *"

    1 error
    "#);
    assert_snapshot!(with_cron(r#"0 0 30 2 *"#), @r#"
    error: `0 0 30 2 *` is never due
      --> exactod.toml:2:8
      |
    2 | cron = "0 0 30 2 *"
      |        ^^^^^^^^^^^^
      hint: there is no such day in that month

    1 error
    "#);
}

#[test]
fn an_unknown_time_zone() {
    assert_snapshot!(with_zone(r#"Europe/Berln"#), @r#"
    error: unknown time zone `Europe/Berln`
      --> exactod.toml:3:12
      |
    3 | timezone = "Europe/Berln"
      |            ^^^^^^^^^^^^^^
      hint: did you mean "Europe/Berlin"?

    1 error
    "#);
    assert_snapshot!(with_zone(r#"Berlin"#), @r#"
    error: unknown time zone `Berlin`
      --> exactod.toml:3:12
      |
    3 | timezone = "Berlin"
      |            ^^^^^^^^
      hint: did you mean "Europe/Berlin"?

    1 error
    "#);
    assert_snapshot!(with_zone(r#"utc"#), @r#"
    error: unknown time zone `utc`
      --> exactod.toml:3:12
      |
    3 | timezone = "utc"
      |            ^^^^^
      hint: did you mean "UTC"?

    1 error
    "#);
    assert_snapshot!(with_zone(r#"Mars"#), @r#"
    error: unknown time zone `Mars`
      --> exactod.toml:3:12
      |
    3 | timezone = "Mars"
      |            ^^^^^^
      hint: a name of the tz database, such as "UTC", "Europe/Berlin" or "America/New_York"

    1 error
    "#);
}

#[test]
fn a_jitter_as_long_as_the_time_between() {
    assert_snapshot!(with(r#"[[schedule]]
cron = "*/30 * * * *"
jitter = "30m""#), @r#"
    error: the jitter is not shorter than the 30m between two ticks
      --> exactod.toml:3:10
      |
    3 | jitter = "30m"
      |          ^^^^^
      hint: choose a shorter one, or sweep less often

    1 error
    "#);
}

#[test]
fn a_spread_as_long_as_the_deadline() {
    assert_snapshot!(with(r#"[[schedule]]
cron = "0 * * * *"
spread = "2h""#), @r#"
    error: the sweep is spread over no less than its deadline
      --> exactod.toml:3:10
      |
    3 | spread = "2h"
      |          ^^^^
      hint: choose a shorter one; the deadline is "2h" when absent

    1 error
    "#);
}

#[test]
fn onboarding_that_would_be_no_use() {
    assert_snapshot!(with(r#"[[schedule]]
name = "onboarding"
cron = "0 */6 * * *"
onboarding = "5h30m""#), @r#"
    error: no schedule may be named `onboarding`
      --> exactod.toml:2:8
      |
    2 | name = "onboarding"
      |        ^^^^^^^^^^^^
      hint: onboarding sweeps go by it in the store: choose another

    error: onboarding is no quicker than the schedule: 30m of `spread` and this pause fill the 6h between two ticks
      --> exactod.toml:4:14
      |
    4 | onboarding = "5h30m"
      |              ^^^^^^^
      hint: choose a shorter one, or "off" to leave new endpoints to the schedule

    2 errors
    "#);
    assert_snapshot!(with(r#"[[schedule]]
cron = "0 */6 * * *"
onboarding = "30s""#), @r#"
    error: the pause between onboarding sweeps is too short
      --> exactod.toml:3:14
      |
    3 | onboarding = "30s"
      |              ^^^^^
      hint: write at least "1m", or "off": sweeps without a pause all meet the same bad minutes of a provider

    1 error
    "#);
    assert_snapshot!(with(r#"[[schedule]]
cron = "0 */6 * * *"
onboarding = "on""#), @r#"
    error: `onboarding` is not a duration: a number is due before `on`
      --> exactod.toml:3:14
      |
    3 | onboarding = "on"
      |              ^^^^
      hint: write an integer with a unit, such as "500ms", "10s", "5m", "2h", "30d" or "1h30m"

    1 error
    "#);
}

#[test]
fn a_schedule_of_unknown_models() {
    assert_snapshot!(with(r#"[[schedule]]
cron = "0 * * * *"
models = ["lab/n", "lab/*", "other/*"]
suites = []"#), @r#"
    error: `lab/n` matches no model
      --> exactod.toml:3:11
      |
    3 | models = ["lab/n", "lab/*", "other/*"]
      |           ^^^^^^^
      hint: did you mean "lab/m"?

    error: `other/*` matches no model
      --> exactod.toml:3:29
      |
    3 | models = ["lab/n", "lab/*", "other/*"]
      |                             ^^^^^^^^^
      hint: configured models: lab/m

    error: the schedule names no suite
      --> exactod.toml:4:10
      |
    4 | suites = []
      |          ^^
      hint: leave `suites` out for every loaded one

    3 errors
    "#);
}

#[test]
fn an_impossible_policy() {
    assert_snapshot!(with(r#"[policy]
margin = 0.02
admission_margin = 0.03
alpha = 0.5
cases = { unknown = 200, cap = 100 }
suites = { tool-use = { weight = 0 } }"#), @r#"
    error: impossible policy: admission_margin: 0.03 is outside (0, margin = 0.02]: the flap bound needs admission_margin <= margin
      --> exactod.toml:3:20
      |
    3 | admission_margin = 0.03
      |                    ^^^^
      hint: Admission must show a gap below this. In (0, margin].

    error: impossible policy: alpha: 0.5 is outside (0, 0.5)
      --> exactod.toml:4:9
      |
    4 | alpha = 0.5
      |         ^^^
      hint: Error of the first decision, per direction. In (0, 0.5). By default 0.01.

    error: impossible policy: cases.cap: 100 is below cases.unknown = 200: no endpoint could ever be decided
      --> exactod.toml:5:32
      |
    5 | cases = { unknown = 200, cap = 100 }
      |                                ^^^
      hint: Cases in all after which an undecided endpoint becomes Provisional. By default 2500.

    error: impossible policy: suites: weight 0 of suite tool-use is not above 0
      --> exactod.toml:6:10
      |
    6 | suites = { tool-use = { weight = 0 } }
      |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: Margin, weight and floor of single suites, by name. By default {}.

    4 errors
    "#);
}

#[test]
fn a_pool_that_does_not_exist() {
    assert_snapshot!(with("[policy]\npool = \"wise\""), @r#"
    error: `wise` is not a pool
      --> exactod.toml:2:8
      |
    2 | pool = "wise"
      |        ^^^^^^
      hint: did you mean "wide"?

    1 error
    "#);
}

#[test]
fn an_impossible_policy_of_a_model() {
    assert_snapshot!({
        let model = MINIMAL.replace("[[model.endpoint]]", "policy = { margin = 0.01 }\n[[model.endpoint]]");
        told(&format!("[policy]\nadmission_margin = 0.02\n{model}"))
    }, @r#"
    error: impossible policy: admission_margin: 0.02 is outside (0, margin = 0.01]: the flap bound needs admission_margin <= margin
       --> exactod.toml:10:10
       |
    10 | policy = { margin = 0.01 }
       |          ^^^^^^^^^^^^^^^^^
      hint: the key itself stands in line 2, in [policy]

    1 error
    "#);
}

#[test]
fn a_text_without_quotes() {
    assert_snapshot!(with(r#"[server]
listen = localhost
[store
url = "x""#), @r#"
    error: this is not TOML: string values must be quoted, expected literal string
      --> exactod.toml:2:10
      |
    2 | listen = localhost
      |          ^^^^^^^^^
      hint: texts stand in quotes: key = "text"

    error: this is not TOML: unclosed table, expected `]`
      --> exactod.toml:3:7
      |
    3 | [store
      |       ^

    2 errors
    "#);
}

#[test]
fn a_key_given_twice() {
    assert_snapshot!(with(r#"[server]
public_read = true
public_read = false"#), @r#"
    error: this is not TOML: duplicate key
      --> exactod.toml:3:1
      |
    3 | public_read = false
      | ^^^^^^^^^^^
      hint: each key stands once in its table

    1 error
    "#);
}

#[test]
fn many_mistakes_at_once() {
    assert_snapshot!(told(r#"
[server]
lissten = "127.0.0.1:8080"

[[provider]]
id = "groq"
base_url = "http://api.groq.com/openai/v1"
api_key = "gsk_9f8e7d6c5b4a3210"

[[provider]]
id = "together"
protocol = "gemini"
base_url = "https://api.together.xyz/v1"
api_key = { env = "TOGETHER_API_KEY" }

[[model]]
id = "lab/m"
reference = "grok"
  [[model.endpoint]]
  provider = "groq"
  [[model.endpoint]]
  provider = "togther"

[[schedule]]
cron = "61 * * * *"
timezone = "Europe/Berln"

[policy]
margin = 0.6
"#), @r#"
    error: unknown key `lissten` in [server]
      --> exactod.toml:3:1
      |
    3 | lissten = "127.0.0.1:8080"
      | ^^^^^^^
      hint: did you mean `listen`?

    error: plain http to `api.groq.com` would send keys and answers in the clear
      --> exactod.toml:7:12
      |
    7 | base_url = "http://api.groq.com/openai/v1"
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: use https, or permit it with allow_http = true

    error: `api_key` holds a secret in the clear
      --> exactod.toml:8:11
      |
    8 | api_key = "********************"
      |           ^^^^^^^^^^^^^^^^^^^^^^
      hint: write api_key = { env = "NAME_OF_A_VARIABLE" }; take it out of this file and revoke it if anybody else can read the file

    error: protocol `gemini` is not supported yet in this version
       --> exactod.toml:12:12
       |
    12 | protocol = "gemini"
       |            ^^^^^^^^
      hint: supported: openai-chat

    error: `api_key`: the environment variable `TOGETHER_API_KEY` is not set
       --> exactod.toml:14:19
       |
    14 | api_key = { env = "TOGETHER_API_KEY" }
       |                   ^^^^^^^^^^^^^^^^^^
      hint: set it where exactod starts: export TOGETHER_API_KEY=...

    error: `reference` names no endpoint: `grok`
       --> exactod.toml:18:13
       |
    18 | reference = "grok"
       |             ^^^^^^
      hint: did you mean `groq`?

    error: unknown provider `togther`
       --> exactod.toml:22:14
       |
    22 |   provider = "togther"
       |              ^^^^^^^^^
      hint: did you mean `together`?

    error: `61` cannot be read as the minute of a cron line
       --> exactod.toml:25:9
       |
    25 | cron = "61 * * * *"
       |         ^^
      hint: minute: 0 to 59; also *, lists 1,2, ranges 1-5 and steps */6

    error: unknown time zone `Europe/Berln`
       --> exactod.toml:26:12
       |
    26 | timezone = "Europe/Berln"
       |            ^^^^^^^^^^^^^^
      hint: did you mean "Europe/Berlin"?

    error: impossible policy: margin: 0.6 is outside (0, 0.5]
       --> exactod.toml:29:10
       |
    29 | margin = 0.6
       |          ^^^
      hint: An endpoint is worse when it is below the anchors by more than this. In (0, 0.5]. By default 0.02.

    10 errors
    "#);
}

#[test]
fn an_unknown_suite() {
    assert_snapshot!({
        let schedule = "[[schedule]]\ncron = \"0 * * * *\"\nsuites = [\"tool-use\", \"tol-use\"]\n";
        let text = format!("[policy]\nsuites = {{ gone = {{ margin = 0.1 }} }}\n{MINIMAL}{schedule}");
        let config = parse(&text).expect("valid but for its suites");
        config.check_suites(&[SuiteName::new("tool-use").expect("a name")]).to_string()
    }, @r#"
    error: unknown suite `gone`
      --> exactod.toml:2:12
      |
    2 | suites = { gone = { margin = 0.1 } }
      |            ^^^^
      hint: loaded suites: tool-use

    error: unknown suite `tol-use`
       --> exactod.toml:14:23
       |
    14 | suites = ["tool-use", "tol-use"]
       |                       ^^^^^^^^^
      hint: did you mean `tool-use`?

    2 errors
    "#);
}

#[test]
fn a_capability_that_no_case_carries() {
    let base = "[policy]\ncapabilities = [\"streaming\", \"tool\"]\n";
    let own = "[[model]]\nid = \"lab/own\"\npolicy = { capabilities = [\"vision\"] }\n\
               [[model.endpoint]]\nprovider = \"p\"\n";
    let config = parse(&format!("{base}{MINIMAL}{own}")).expect("valid but for its suites");
    let tags = |model: &ModelConfig| -> BTreeSet<String> {
        let tags: &[&str] = if model.id.as_str() == "lab/own" { &[] } else { &["streaming", "tools"] };
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    };
    assert_snapshot!(config.check_capabilities(tags).to_string(), @r#"
    error: no case of the suites that judge lab/m has the tag `tool`
      --> exactod.toml:2:30
      |
    2 | capabilities = ["streaming", "tool"]
      |                              ^^^^^^
      hint: did you mean `tools`?

    error: no case of the suites that judge lab/own has the tag `vision`
       --> exactod.toml:14:28
       |
    14 | policy = { capabilities = ["vision"] }
       |                            ^^^^^^^^
      hint: its suites have no tags: see `tags` in docs/suites.md

    2 errors
    "#);
    assert!(config.check_capabilities(|_| ["streaming", "tool", "vision"].map(str::to_owned).into()).0.is_empty());
}

#[test]
fn impossible_capabilities() {
    assert_snapshot!(with("[policy]\ncapabilities = [\"tools\", \"a b\", \"tools\"]"), @r#"
    error: impossible policy: capabilities: `tools` stands there twice
      --> exactod.toml:2:16
      |
    2 | capabilities = ["tools", "a b", "tools"]
      |                ^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: Case tags for which a list of their own is published, at most 16 (docs/decisions.md, "Lists per capability"). By default [].

    error: capability `a b`: character ' ' is not allowed in a capability (allowed: letters, digits, - _ .)
      --> exactod.toml:2:26
      |
    2 | capabilities = ["tools", "a b", "tools"]
      |                          ^^^^^
      hint: name a tag of cases, such as "tools"

    2 errors
    "#);
    let many: Vec<String> = (0..17).map(|n| format!("\"c{n}\"")).collect();
    let problems = with(&format!("[policy]\ncapabilities = [{}]", many.join(", ")));
    assert!(problems.contains("17 are too many: at most 16"), "{problems}");
}

#[test]
fn a_schedule_by_public_name_matches_no_model() {
    let problems = with("[[schedule]]\ncron = \"0 * * * *\"\nmodels = [\"m:exacto\"]");
    assert!(problems.contains("`m:exacto` matches no model"), "{problems}");
}

#[test]
fn more_providers_than_there_are_endpoints() {
    assert_snapshot!(in_model("policy = { min_providers = 3 }"), @r#"
    error: impossible policy: min_providers: 3 endpoints can never be listed: this model has 1
      --> exactod.toml:8:28
      |
    8 | policy = { min_providers = 3 }
      |                            ^
      hint: at most 1; a smaller number lets bad endpoints leave the list

    1 error
    "#);
    assert_snapshot!(with("[policy]\nmin_providers = 3"), @r#"
    error: impossible policy: min_providers: 3 endpoints can never be listed: no model has more than 1
      --> exactod.toml:2:17
      |
    2 | min_providers = 3
      |                 ^
      hint: at most 1; a smaller number lets bad endpoints leave the list

    1 error
    "#);
    // What is not written, or is met by another model, is no mistake.
    let three = ["a", "b", "c"].map(|tag| format!("[[model.endpoint]]\nprovider = \"p\"\ntag = \"{tag}\"\n")).concat();
    assert!(parse(&format!("[policy]\nmin_providers = 3\n{MINIMAL}\n[[model]]\nid = \"lab/n\"\n{three}")).is_ok());
    assert!(parse(&format!("[policy]\nmin_providers = 2\n{MINIMAL}")).is_ok(), "the default, written down");
}

#[test]
fn programs_that_cannot_be_run_so() {
    let table = |lines: &str| told(&format!("{MINIMAL}\n[[exec]]\n{lines}\n"));
    for (lines, what) in [
        ("name = \"a\"\ncommand = []", "`command` names no program"),
        ("name = \"a\"\ncommand = [\"x\"]\ntime_limit = \"6m\"", "`time_limit` is longer than 300 s"),
        ("name = \"a\"\ncommand = [\"x\"]\nmemory_mb = 1", "from 16 to"),
        (
            "name = \"a\"\ncommand = [\"x\"]\n[[exec]]\nname = \"a\"\ncommand = [\"y\"]",
            "the program `a` stands here twice",
        ),
        ("name = \"a\"", "`command`"),
        ("command = [\"x\"]", "`name`"),
        ("name = \"a\"\ncommand = [\"x\"]\nshell = true", "`shell`"),
    ] {
        let problems = table(lines);
        assert!(problems.contains(what), "{lines}: {problems}");
    }
    let text = format!("{MINIMAL}\n[[exec]]\nname = \"a\"\ncommand = [\"./judge.py\", \"-x\"]\n");
    let config = parse(&text).unwrap_or_else(|p| panic!("{p}"));
    assert!(config.programs[0].command[0].ends_with("judge.py") && config.programs[0].command[1] == "-x");
    assert_eq!((config.programs[0].time_limit.as_secs(), config.programs[0].memory_bytes), (10, 512 << 20));
}

#[test]
fn a_wrong_id_of_a_model_hides_no_wrong_pattern() {
    let twice = "[[model]]\nid = \"lab/m\"\n[[model.endpoint]]\nprovider = \"p\"\nupstream_model = \"x\"\n";
    let schedule = "[[schedule]]\ncron = \"0 * * * *\"\nmodels = [\"nothere\", \"b d\"]\n";
    let problems = told(&format!("{schedule}{MINIMAL}{twice}{}", twice.replace("lab/m", "b d")));
    for told in ["duplicate model id `lab/m`", "model id: ", "`nothere` matches no model"] {
        assert!(problems.contains(told), "{told}: {problems}");
    }
    assert!(!problems.contains("`b d` matches"), "{problems}");
    // An alias of it stands in the file as well.
    let aliased = twice.replace("id = \"lab/m\"", "id = \"b d\"\naliases = [\"kimi\"]");
    let problems = told(&format!("{}{MINIMAL}{aliased}", schedule.replace("\"b d\"", "\"kimi\"")));
    assert!(problems.contains("model id: ") && !problems.contains("`kimi` matches"), "{problems}");
}

#[test]
fn a_password_in_the_stores_url_is_refused() {
    for (url, shown) in [
        ("postgres://u:hunter2pass@h/db", "@h/db"),
        ("postgresql://h/db?user=u&password=hunter2pass", "://h/db"),
        ("postgres://u:an'd-hunter2pass@h/db", ""),
        ("postgres://u:an d-hunter2pass@h/db", ""),
        ("postgresql://h/db?password=an'd-hunter2pass", ""),
    ] {
        let problems = with(&format!("[store]\nurl = \"{url}\""));
        assert!(problems.contains("holds a password in the clear") && problems.contains("DATABASE_URL"), "{problems}");
        assert!(!problems.contains("hunter2pass") && problems.contains(shown), "{problems}");
    }
}

#[test]
fn a_secret_where_none_belongs_is_not_sent_into_the_environment() {
    let problems = in_endpoint("tag = \"sk-proj-abcdefghijklmnopqrstuvwxyz0123456789\"");
    assert!(problems.contains("holds a secret in the clear"), "{problems}");
    assert!(problems.contains("keys stand in `api_key`") && !problems.contains("tag = {"), "{problems}");
}
