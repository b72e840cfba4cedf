//! Every key of `exactod.toml`, once: the parser, the JSON Schema and the reference in `docs/config.md`
//! are all made from these tables.

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A text that is not empty.
    Text,
    /// A text such as `"30s"` (see [`super::durations`]); may it be zero?
    Duration {
        /// `"0s"` is allowed.
        zero: bool,
    },
    /// A text such as `"30m"` that is not zero, or [`OFF`] (or `false`).
    DurationOrOff,
    /// An integer between two bounds, both included.
    Count {
        /// Smallest value.
        min: u32,
        /// Largest value.
        max: u32,
    },
    /// A finite number between two bounds, both included.
    Number {
        /// Smallest value.
        min: f64,
        /// Largest value.
        max: f64,
    },
    /// `true` or `false`.
    Flag,
    /// One of a list of words.
    Choice {
        /// The words understood.
        now: &'static [&'static str],
        /// Words of a later version: refused with a message that says so.
        later: &'static [&'static str],
    },
    /// An array of texts.
    Texts,
    /// A secret: `{ env = ".." }`, `{ file = ".." }` or `{ command = [".."] }`, never in the clear.
    Secret,
    /// A text, or a secret for what must not stand in the file.
    TextOrSecret,
    /// A table from free names to texts.
    TextMap,
    /// A table from header names to texts or secrets.
    Headers,
    /// A free table, taken as a JSON object.
    Object,
    /// One table.
    Table(&'static Section),
    /// An array of tables, `[[name]]`.
    Tables(&'static Section),
    /// A table of tables under free names.
    NamedTables(&'static Section),
}

/// Whether a key must be there, and what stands for it when it is not.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// It must be there.
    Required,
    /// It must be there, unless another key is.
    RequiredWithout(&'static str),
    /// Its default, as TOML.
    Default(&'static str),
    /// It may be absent; the phrase says what happens then.
    Optional(&'static str),
    /// It belongs to a later version: refused with a message that names the feature.
    Later(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// Whether it must be there.
    pub need: Need,
    /// What it means, one sentence or two.
    pub meaning: &'static str,
}

/// One table of the file.
#[derive(Debug)]
pub struct Section {
    /// Its path, such as `model.endpoint`; empty for the whole file.
    pub path: &'static str,
    /// As written in messages and headings, such as `[[model.endpoint]]`.
    pub heading: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its keys, in the order of the documentation.
    pub keys: &'static [Key],
}

impl Section {
    /// Finds a key.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }
}

const fn key(name: &'static str, kind: Kind, need: Need, meaning: &'static str) -> Key {
    Key { name, kind, need, meaning }
}

use Kind::{
    Choice, Count, DurationOrOff, Flag, Headers, NamedTables, Number, Object, Secret, Table, Tables, Text, TextMap,
    Texts,
};
use Need::{Default, Later, Optional, Required, RequiredWithout};

/// The word that switches off what has a duration.
pub const OFF: &str = "off";

const TIME: Kind = Kind::Duration { zero: false };
const TIME_OR_ZERO: Kind = Kind::Duration { zero: true };
const COUNT: Kind = Count { min: 1, max: u32::MAX };
const COUNT_OR_ZERO: Kind = Count { min: 0, max: u32::MAX };
const SHARE: Kind = Number { min: 0.0, max: 1.0 };
const SWEEPS: Kind = Number { min: 1.0, max: 1e12 };
const USD: Kind = Number { min: 0.0, max: 1e9 };

/// Most requests in flight at one endpoint.
pub const CONCURRENCY_MAX: u32 = 10_000;
/// Most retries of one attempt.
pub const RETRIES_MAX: u32 = 20;

/// The whole file.
pub static ROOT: Section = Section {
    path: "",
    heading: "the file",
    about: "Relative paths are relative to the folder of this file.",
    keys: &[
        key("server", Table(&SERVER), Optional("its defaults hold"), "The HTTP server."),
        key("store", Table(&STORE), Optional("its defaults hold"), "Where everything measured is kept."),
        key("suites", Table(&SUITES), Optional("the shipped suites only"), "The test suites."),
        key("signing", Table(&SIGNING), Optional("allowlists are not signed"), "Signatures of what is published."),
        key("provider", Tables(&PROVIDER), RequiredWithout("relay"), "Who serves models: one table for each provider."),
        key("model", Tables(&MODEL), RequiredWithout("relay"), "What is served: one table for each model."),
        key(
            "judge",
            Tables(&JUDGE),
            Optional("no judges"),
            "Models that judge answers for suites with the scorer `judge`.",
        ),
        key(
            "exec",
            Tables(&EXEC),
            Optional("no program is run"),
            "Programs that judge answers for suites with the scorer `exec`.",
        ),
        key("schedule", Tables(&SCHEDULE), Optional("sweeps by hand only"), "When sweeps run."),
        key("policy", Table(&POLICY), Optional("its defaults hold"), "The rules of the decision."),
        key("budget", Table(&BUDGET), Optional("no cap"), "How much money sweeps may cost."),
        key("relay", Tables(&RELAY), Optional("none"), "Lists taken over from other daemons."),
        key("sink", Tables(&SINK), Optional("none"), "Files kept as a list says."),
        key("push", Tables(&PUSH), Optional("none"), "Gateways that lists are put into by their admin APIs."),
        key("webhook", Tables(&WEBHOOK), Optional("none"), "Who is told of decisions and alarms."),
    ],
};

/// `[server]`
pub static SERVER: Section = Section {
    path: "server",
    heading: "[server]",
    about: "The HTTP server: API, metrics, dashboard.",
    keys: &[
        key(
            "listen",
            Text,
            Default("\"127.0.0.1:8080\""),
            "Address and port to listen on; port 0 takes a free one. Without a `[[server.token]]` it must be a loopback address.",
        ),
        key(
            "agent_listen",
            Text,
            Optional("there is none"),
            "Address and port of the HAProxy agent-check, which knows no tokens: other addresses than loopback need `public_read = true` (docs/gateways.md).",
        ),
        key(
            "public_read",
            Flag,
            Default("false"),
            "`true`: allowlists, exports and discovery need no token; all else still does.",
        ),
        key(
            "drain_timeout",
            TIME_OR_ZERO,
            Default("\"30s\""),
            "How long a shutdown waits for requests in flight before it parks them for the next start.",
        ),
        key(
            "token",
            Tables(&TOKEN),
            Optional("no token, and loopback only"),
            "Who may call the API: one table for each client.",
        ),
    ],
};

/// `[[server.token]]`
pub static TOKEN: Section = Section {
    path: "server.token",
    heading: "[[server.token]]",
    about: "One API token, made by `exactod token new --role ROLE`. Only its hash stands here.",
    keys: &[
        key("name", Text, Required, "Who uses it; appears in logs and in the audit of decisions. Unique."),
        key(
            "role",
            Choice { now: &["read", "ingest", "admin"], later: &[] },
            Required,
            "`read`: may read everything; `ingest`: may send observations; `admin`: may do both and command.",
        ),
        key("sha256", Text, Required, "SHA-256 of the token, 64 hexadecimal digits. Never the token itself."),
    ],
};

/// `[store]`
pub static STORE: Section = Section {
    path: "store",
    heading: "[store]",
    about: "SQLite in one file by default; PostgreSQL by changing the URL.",
    keys: &[
        key(
            "url",
            Kind::TextOrSecret,
            Default("\"sqlite://data/exactod.db\""),
            "`sqlite://relative/path.db`, `sqlite:///absolute/path.db` or `postgres://user@host/database`. With a password: `{ env = \"DATABASE_URL\" }`.",
        ),
        key(
            "retention",
            Table(&RETENTION),
            Optional("its defaults hold"),
            "How long raw data is kept. Scores, decisions and allowlists are kept for ever.",
        ),
    ],
};

/// `[store] retention`
pub static RETENTION: Section = Section {
    path: "store.retention",
    heading: "[store] retention",
    about: "Ages at which rows are pruned.",
    keys: &[
        key("transcripts", TIME, Default("\"30d\""), "Requests and answers as sent and received."),
        key("attempts", TIME, Default("\"400d\""), "Verdicts, faults, times and costs of single requests."),
        key("observations", TIME, Default("\"400d\""), "Outcomes of live traffic reported by gateways."),
    ],
};

/// `[suites]`
pub static SUITES: Section = Section {
    path: "suites",
    heading: "[suites]",
    about: "The suites in the binary are always there; a loaded suite of the same name replaces the shipped one. A suite with\n\
            `default = false` in its header, such as `worlds`, is asked only where a schedule or command names it.",
    keys: &[key("paths", Texts, Default("[]"), "Folders: each is a suite, or holds suites in folders of their own.")],
};

/// `[signing]`
pub static SIGNING: Section = Section {
    path: "signing",
    heading: "[signing]",
    about: "Ed25519 signatures over the exact bytes of allowlists and exports (docs/allowlist.md).",
    keys: &[key(
        "keys",
        Secret,
        Optional("nothing is signed"),
        "The private keys, one or two, as a JWK set in one line: `{ file = \"signing-keys.json\" }`, `{ env = \"NAME\" }` or a command. `exactod keys new` makes them; a file must be readable by its owner alone.",
    )],
};

/// `[[provider]]`
pub static PROVIDER: Section = Section {
    path: "provider",
    heading: "[[provider]]",
    about: "One provider: where it is, how to talk to it, what it allows.",
    keys: &[
        key("id", Text, Required, "Its id: letters, digits, `-`, `_`, `.`. Unique."),
        key(
            "base_url",
            Text,
            Required,
            "What stands before `/chat/completions`, such as `https://api.groq.com/openai/v1`.",
        ),
        key(
            "protocol",
            Choice { now: &["openai-chat"], later: &["openai-responses", "anthropic-messages", "gemini"] },
            Default("\"openai-chat\""),
            "The wire protocol.",
        ),
        key(
            "api_key",
            Secret,
            Optional("no Authorization header is sent"),
            "The key, sent as `Authorization: Bearer`: `{ env = \"NAME\" }`, `{ file = \"path\" }` or `{ command = [\"program\", \"argument\"] }` (run without a shell, 10 s at most). In the clear it is refused.",
        ),
        key(
            "headers",
            Headers,
            Default("{}"),
            "Further request headers. A value may be a secret as for `api_key`; headers that carry credentials must be.",
        ),
        key("extra_body", Object, Default("{}"), "Keys merged into every request body, under the case's own."),
        key("limits", Table(&LIMITS), Optional("its defaults hold"), "Ceilings on what is sent to one endpoint."),
        key("timeouts", Table(&TIMEOUTS), Optional("its defaults hold"), "Time limits of one try."),
        key("retry", Table(&RETRY), Optional("its defaults hold"), "Retries of failures of delivery."),
        key("proxy", Text, Optional("no proxy"), "HTTP proxy, such as `http://proxy.example:3128`."),
        key("ca_file", Text, Optional("the usual roots only"), "Further root certificates, a PEM file."),
        key("allow_loopback_http", Flag, Default("true"), "Plain http is accepted for loopback addresses."),
        key(
            "allow_http",
            Flag,
            Default("false"),
            "Plain http is accepted everywhere: keys and answers travel in the clear.",
        ),
    ],
};

/// `[[provider]] limits`
pub static LIMITS: Section = Section {
    path: "provider.limits",
    heading: "[[provider]] limits",
    about: "Per endpoint. The daemon waits rather than exceed them.",
    keys: &[
        key("concurrency", Count { min: 1, max: CONCURRENCY_MAX }, Default("8"), "Requests in flight at once."),
        key("requests_per_minute", COUNT, Optional("no limit"), "Requests started per minute."),
        key("tokens_per_minute", COUNT, Optional("no limit"), "Tokens per minute, prompt and answer."),
    ],
};

/// `[[provider]] timeouts`
pub static TIMEOUTS: Section = Section {
    path: "provider.timeouts",
    heading: "[[provider]] timeouts",
    about: "What exceeds them is a `TimedOut`.",
    keys: &[
        key("connect", TIME, Default("\"10s\""), "Until connected, TLS included."),
        key("first_byte", TIME, Default("\"60s\""), "From sending until the first byte of the body."),
        key("idle", TIME, Default("\"60s\""), "Between two pieces of the body."),
        key("total", TIME, Default("\"300s\""), "The whole try."),
    ],
};

/// `[[provider]] retry`
pub static RETRY: Section = Section {
    path: "provider.retry",
    heading: "[[provider]] retry",
    about: "Only failures of delivery are retried, never wrong answers. Every try is recorded.",
    keys: &[
        key("attempts", Count { min: 0, max: RETRIES_MAX }, Default("3"), "Tries after the first; 0: none."),
        key("over", TIME_OR_ZERO, Default("\"10m\""), "The time over which they are spread."),
    ],
};

/// `[[model]]`
pub static MODEL: Section = Section {
    path: "model",
    heading: "[[model]]",
    about: "One model and the endpoints that serve it.",
    keys: &[
        key("id", Text, Required, "Canonical id, such as `moonshotai/kimi-k2-0905`. Unique."),
        key(
            "aliases",
            Texts,
            Default("[]"),
            "Other names under which gateways and logs know it. Unique over all models.",
        ),
        key(
            "public_name",
            Text,
            Optional("the last part of the id and `:exacto`"),
            "The name under which routers offer the curated model. Unique.",
        ),
        key(
            "slugs",
            TextMap,
            Default("{}"),
            "Its name in each gateway where that is not its id, such as `{ openrouter = \"moonshotai/kimi-k2\", hf = \"moonshotai/Kimi-K2\" }` (docs/gateways.md).",
        ),
        key(
            "reference",
            Text,
            Optional("the best admitted endpoints are the anchors"),
            "Id of the first-party endpoint: Admitted by designation.",
        ),
        key("policy", Table(&POLICY), Optional("`[policy]` holds"), "Overrides `[policy]` for this model, key by key."),
        key("endpoint", Tables(&ENDPOINT), Required, "One table for each endpoint."),
        key("discover", Tables(&DISCOVER), Later("discovery of endpoints"), "Endpoints listed by an aggregator."),
    ],
};

/// `[[model.endpoint]]`
pub static ENDPOINT: Section = Section {
    path: "model.endpoint",
    heading: "[[model.endpoint]]",
    about: "One provider's deployment of the model: the thing that is judged.",
    keys: &[
        key("provider", Text, Required, "Id of its `[[provider]]`."),
        key("upstream_model", Text, Optional("the model's id"), "The model's name at the provider."),
        key("tag", Text, Optional("no tag"), "Quantisation, region or another mark, such as `fp8`."),
        key("id", Text, Optional("`provider` or `provider/tag`"), "Id within the model. Unique there."),
        key("price", Table(&PRICE), Optional("requests count as free"), "What it costs."),
        key(
            "slugs",
            TextMap,
            Default("{}"),
            "Its name in each gateway, such as `{ litellm = \"prov1\", openrouter = \"groq\" }`.",
        ),
        key("headers", Headers, Default("{}"), "Further request headers, over those of the provider."),
        key(
            "extra_body",
            Object,
            Default("{}"),
            "Keys merged into every request body, over those of the provider, such as an aggregator's pin.",
        ),
        key(
            "served_by",
            Text,
            Optional("nothing is checked"),
            "Through an aggregator: who the endpoint is pinned to, by the name that the answers give as `provider`, such as \
             `Groq`. Answers of others, from a cache, or repaired on the way are not scored.",
        ),
    ],
};

/// `[[model.endpoint]] price`
pub static PRICE: Section = Section {
    path: "model.endpoint.price",
    heading: "[[model.endpoint]] price",
    about: "US dollars per million tokens; 0 is free.",
    keys: &[
        key("input_per_mtok", USD, Required, "For a million prompt tokens."),
        key("output_per_mtok", USD, Required, "For a million answer tokens."),
    ],
};

/// `[[judge]]`
pub static JUDGE: Section = Section {
    path: "judge",
    heading: "[[judge]]",
    about: "A model that a scorer `judge` of a suite names by `provider`, `model` and `tag`: these say that it may be asked. \
            It judges no endpoint that is itself.",
    keys: &[
        key("provider", Text, Required, "Id of its `[[provider]]`."),
        key("model", Text, Required, "The model's name at the provider."),
        key("tag", Text, Optional("no tag"), "Quantisation, region or another mark."),
        key("price", Table(&JUDGE_PRICE), Optional("requests count as free"), "What it costs."),
        key("extra_body", Object, Default("{}"), "Keys merged into every request body, over those of the provider."),
    ],
};

/// `[[judge]] price`
pub static JUDGE_PRICE: Section = Section {
    path: "judge.price",
    heading: "[[judge]] price",
    about: "US dollars per million tokens; 0 is free.",
    keys: &[
        key("input_per_mtok", USD, Required, "For a million prompt tokens."),
        key("output_per_mtok", USD, Required, "For a million answer tokens."),
    ],
};

/// `[[exec]]`
pub static EXEC: Section = Section {
    path: "exec",
    heading: "[[exec]]",
    about: "A program that a scorer `exec` of a suite names: what stands here may be run, and nothing else. It reads the case \
            and the answer as one line of JSON and prints its verdict (docs/suites.md).",
    keys: &[
        key("name", Text, Required, "Its name, unique; scorers say `program = \"name\"`."),
        key(
            "command",
            Texts,
            Required,
            "The program and its arguments, such as `[\"./judge.py\", \"--strict\"]`, run in the folder of this file. Run without a shell; of the environment it sees `PATH`, `HOME`, `USER`, `LANG`, `TZ` and `TMPDIR`.",
        ),
        key(
            "time_limit",
            TIME,
            Default("\"10s\""),
            "How long it may take for one answer, at most 5m; then it is killed with all that it has started.",
        ),
        key(
            "memory_mb",
            Count { min: 16, max: 1 << 20 },
            Default("512"),
            "Most address space of each of its processes, in MiB; on Linux only.",
        ),
    ],
};

/// `[[model.discover]]`, of a later version.
pub static DISCOVER: Section =
    Section { path: "model.discover", heading: "[[model.discover]]", about: "Not supported yet.", keys: &[] };

/// `[[schedule]]`
pub static SCHEDULE: Section = Section {
    path: "schedule",
    heading: "[[schedule]]",
    about: "One recurring sweep.",
    keys: &[
        key("name", Text, Optional("`schedule-N`, by its place"), "Its name. Unique."),
        key(
            "cron",
            Text,
            Required,
            "Five fields: minute, hour, day of month, month, day of week (0 and 7 are Sunday), such as `17 */6 * * *`.",
        ),
        key("timezone", Text, Default("\"UTC\""), "Time zone of the fields, such as `Europe/Berlin`."),
        key(
            "jitter",
            TIME_OR_ZERO,
            Default("\"0s\""),
            "A start is delayed by up to this much, the same for the same tick everywhere.",
        ),
        key("models", Texts, Default("[\"*\"]"), "Ids or aliases of models; `*` stands for any characters."),
        key(
            "suites",
            Texts,
            Optional("every suite that is asked by default"),
            "Names of suites. Those with `default = false` in their header are asked only where they are named.",
        ),
        key(
            "deadline",
            TIME,
            Default("\"2h\""),
            "An interrupted sweep older than this is closed as it is instead of being resumed.",
        ),
        key(
            "spread",
            TIME_OR_ZERO,
            Default("\"30m\""),
            "The calls of a sweep are spread over this much time, so that a few bad minutes of an endpoint do not fill a sweep: false exclusions stay rare only then. Shorter than `deadline`; when absent at most half of it, and of the time between two ticks; 0: as fast as the limits allow.",
        ),
        key(
            "onboarding",
            DurationOrOff,
            Default("\"30m\""),
            "While an endpoint of the models waits for its first standing, further sweeps follow each other with this pause from the end of one to the start of the next; then the schedule alone holds. At least 1m, and with `spread` shorter than the time between two ticks; when absent at most a quarter of that. `\"off\"` (or `false`): at ticks only. See [Onboarding](#onboarding).",
        ),
    ],
};

/// `[policy]` and `[[model]] policy`
pub static POLICY: Section = Section {
    path: "policy",
    heading: "[policy]",
    about: "Rates and margins are shares: 0.02 is two points.",
    keys: &[
        key(
            "margin",
            SHARE,
            Default("0.02"),
            "An endpoint is worse when it is below the anchors by more than this. In (0, 0.5].",
        ),
        key(
            "admission_margin",
            SHARE,
            Optional("0.88 of `margin`"),
            "Admission must show a gap below this. In (0, margin].",
        ),
        key("alpha", SHARE, Default("0.01"), "Error of the first decision, per direction. In (0, 0.5)."),
        key(
            "exclude_after_sweeps",
            SWEEPS,
            Default("7300"),
            "Exclusion threshold: the mean number of sweeps to a false exclusion is at least this.",
        ),
        key("readmit_after_sweeps", SWEEPS, Default("1460"), "Re-admission threshold, in the same unit."),
        key("suspect_at", SWEEPS, Default("100"), "Detector score at which an endpoint becomes Suspect."),
        key("burst_at", SWEEPS, Default("30"), "Detector score at which more cases are sampled."),
        key(
            "pool",
            Choice { now: &["wide", "anchors"], later: &[] },
            Default("\"wide\""),
            "Anchors that an endpoint is compared with. `wide`: all within a margin of the best. `anchors`: the rule of earlier versions, the best few alone, at more requests.",
        ),
        key(
            "anchors",
            Count { min: 1, max: 100 },
            Default("3"),
            "With `pool = \"anchors\"`: how many. With `wide`: at least so many are asked as much as a decided endpoint that evidence gathers about.",
        ),
        key("cases", Table(&CASES), Optional("its defaults hold"), "How many cases a sweep takes per suite."),
        key("usable_margin", SHARE, Default("0.05"), "Margin of the test on delivery. In (0, 1)."),
        key(
            "min_providers",
            COUNT,
            Default("2"),
            "The list never falls below this many endpoints (or all, if a model has fewer; more than any model has is refused).",
        ),
        key(
            "undecided",
            Choice { now: &["include", "exclude"], later: &[] },
            Default("\"include\""),
            "Whether endpoints that stay undecided are listed, after all others.",
        ),
        key(
            "rank_by",
            Choice { now: &["quality", "price", "latency", "throughput"], later: &[] },
            Default("\"quality\""),
            "Order within a tier.",
        ),
        key("graded", Flag, Default("false"), "`true`: evidence is the weighted score; `false`: 1 or 0 by verdict."),
        key(
            "capabilities",
            Texts,
            Default("[]"),
            "Case tags for which a list of their own is published, at most 16 (docs/decisions.md, \"Lists per capability\").",
        ),
        key(
            "reference_may_fall",
            Flag,
            Default("false"),
            "`true`: the designated reference may leave the list by evidence.",
        ),
        key(
            "fingerprint",
            TIME_OR_ZERO,
            Default("\"0s\""),
            "How often a sweep asks the program's own prompts too, to see whether an endpoint is still the same thing: 180 short requests to each. `0s`: never.",
        ),
        key(
            "fingerprint_samples",
            TIME_OR_ZERO,
            Default("\"0s\""),
            "How often a round of sampled answers begins, `7d` for instance: 600 short requests to each Admitted or Suspect endpoint, 50 in each of twelve sweeps (docs/decisions.md, \"Fingerprints\"). `0s`: never.",
        ),
        key(
            "quarantine",
            Table(&QUARANTINE),
            Optional("off"),
            "Live traffic may take endpoints off the list for a while.",
        ),
        key("suites", NamedTables(&SUITE_POLICY), Default("{}"), "Margin, weight and floor of single suites, by name."),
    ],
};

/// `[policy] cases`
pub static CASES: Section = Section {
    path: "policy.cases",
    heading: "[policy] cases",
    about: "Cases per suite, endpoint and sweep, unless another unit is given.",
    keys: &[
        key("standard", COUNT, Default("25"), "For endpoints that are decided and not suspect."),
        key("burst", COUNT, Default("100"), "While evidence gathers against an endpoint."),
        key("unknown", COUNT, Default("100"), "For endpoints not decided yet."),
        key("cap", COUNT, Default("2500"), "Cases in all after which an undecided endpoint becomes Provisional."),
        key("weekly_burst", COUNT_OR_ZERO, Default("2000"), "Burst cases per endpoint and week."),
    ],
};

/// `[policy] quarantine`
pub static QUARANTINE: Section = Section {
    path: "policy.quarantine",
    heading: "[policy] quarantine",
    about: "Live traffic may take an endpoint off the list for a while, when it fails far more often than before and than its peers; a sweep decides meanwhile (docs/live.md).",
    keys: &[
        key("enabled", Flag, Default("false"), "Whether it may."),
        key("for", TIME, Default("\"30m\""), "How long an endpoint is set aside at most; at most `24h`."),
    ],
};

/// `[policy] suites.NAME`
pub static SUITE_POLICY: Section = Section {
    path: "policy.suites",
    heading: "[policy] suites.NAME",
    about: "One suite's own numbers.",
    keys: &[
        key(
            "margin",
            SHARE,
            Optional("`margin` of the policy"),
            "Exclusion margin; the admission margin scales with it. In (0, 0.5].",
        ),
        key("weight", Number { min: 0.0, max: 1e6 }, Optional("1"), "Weight in the mean over suites."),
        key(
            "floor",
            SHARE,
            Optional("none"),
            "Mean score below which no endpoint is admitted or stays, even if all are as bad. In (0, 1).",
        ),
    ],
};

/// `[budget]`
pub static BUDGET: Section = Section {
    path: "budget",
    heading: "[budget]",
    about: "Caps on what sweeps may cost: the worst case of a sweep is reserved before its first request. What that counts, and what it cannot know: [Money](#money).",
    keys: &[
        key("usd_per_day", USD, Optional("no cap"), "US dollars per UTC day, over all models."),
        key("usd_per_sweep", USD, Optional("no cap"), "US dollars per sweep; at most `usd_per_day`."),
    ],
};

/// `[[relay]]`
pub static RELAY: Section = Section {
    path: "relay",
    heading: "[[relay]]",
    about: "One other daemon whose lists this one takes over, byte for byte with their signatures, and serves on (docs/gateways.md).",
    keys: &[
        key("from", Text, Required, "Its address, such as `https://exactod.internal:8080`."),
        key("models", Texts, Required, "Canonical ids of the models."),
        key("token", Secret, Optional("no Authorization header is sent"), "A token of its role `read`."),
        key(
            "keys_file",
            Text,
            Optional("the first keys that it shows are believed, and kept in `folder`"),
            "Its public keys: the JWK set of `/.well-known/exacto-keys.json`, in a file.",
        ),
        key("signed", Flag, Default("true"), "`false`: lists that are not signed are taken as well."),
        key("folder", Text, Default("\"data/relay\""), "Where the last good documents are kept."),
        key("wait", TIME, Default("\"60s\""), "How long one poll waits for news; at most 300s."),
        key("client", Text, Default("\"exactod\""), "This daemon's name in the acks that it sends."),
        key("allow_http", Flag, Default("false"), "Plain http is accepted for other addresses than loopback as well."),
    ],
};

/// `[[sink]]`
pub static SINK: Section = Section {
    path: "sink",
    heading: "[[sink]]",
    about: "One file that is kept as a list says: written beside and renamed into its place, only when its content changes (docs/gateways.md).",
    keys: &[
        key(
            "format",
            Choice {
                now: &[
                    "json",
                    "names",
                    "openrouter",
                    "vercel",
                    "portkey",
                    "huggingface",
                    "helicone",
                    "litellm-yaml",
                    "nginx",
                    "kong",
                    "envoy",
                ],
                later: &[],
            },
            Required,
            "What it holds: one of the exports.",
        ),
        key("model", Text, Required, "The model, by id or alias."),
        key("path", Text, Required, "The file. The one before stays beside it as `<path>.previous`."),
        key("capability", Text, Optional("the model's own list"), "The list of this capability."),
        key(
            "form",
            Choice { now: &["allow", "exclude"], later: &[] },
            Default("\"allow\""),
            "Which side of the list; `exclude` with names, openrouter and nginx.",
        ),
        key(
            "gateway",
            Text,
            Optional("endpoints go by their ids"),
            "With names: the key of `slugs` that names endpoints.",
        ),
        key(
            "check",
            Texts,
            Default("[]"),
            "A program that judges the new file, such as `[\"nginx\", \"-t\"]`: when it fails, the previous file is put back. Run without a shell.",
        ),
        key(
            "after",
            Texts,
            Default("[]"),
            "A program that takes the new file into use, such as `[\"nginx\", \"-s\", \"reload\"]`: when it fails, it is run again later. Run without a shell.",
        ),
        key("time_limit", TIME, Default("\"30s\""), "How long each of them may run."),
    ],
};

/// `[[push]]`
pub static PUSH: Section = Section {
    path: "push",
    heading: "[[push]]",
    about: "One gateway that a list is put into by its admin API, again whenever it differs (docs/gateways.md).",
    keys: &[
        key("name", Text, Required, "Its name, unique: letters, digits, `-`, `_`."),
        key("adapter", Choice { now: &["kong", "litellm-db", "cloudflare"], later: &[] }, Required, "What it is."),
        key("model", Text, Required, "The model whose own list it gets, by id or alias."),
        key(
            "url",
            Text,
            Optional("with cloudflare its API; else it is required"),
            "The address of the admin API, such as `http://127.0.0.1:8001`.",
        ),
        key(
            "target",
            Text,
            Optional("with litellm-db nothing; else it is required"),
            "What is changed there: with kong the id of the plugin, with cloudflare `account/gateway/route`.",
        ),
        key("token", Secret, Optional("no Authorization header is sent"), "A token that may change it."),
        key("dry_run", Flag, Default("false"), "`true`: differences are logged, and nothing is changed."),
        key("every", TIME, Default("\"5m\""), "How often it is looked at without a new list."),
        key("pause", TIME, Default("\"30s\""), "The least time between two changes."),
        key("timeout", TIME, Default("\"10s\""), "How long one request may take."),
        key("folder", Text, Default("\"data/push\""), "Where it is kept what was there before."),
        key("allow_http", Flag, Default("false"), "Plain http is accepted for other addresses than loopback as well."),
    ],
};

/// `[[webhook]]`
pub static WEBHOOK: Section = Section {
    path: "webhook",
    heading: "[[webhook]]",
    about: "One address that is told of decisions and alarms: in order, signed, at least once, each event with an id (docs/gateways.md).",
    keys: &[
        key("name", Text, Required, "Its name, unique; what it was told is remembered by it."),
        key(
            "url",
            Kind::TextOrSecret,
            Required,
            "The address. One that holds a key is a secret: `{ env = \"SLACK_URL\" }`.",
        ),
        key(
            "form",
            Choice { now: &["json", "slack"], later: &[] },
            Default("\"json\""),
            "`json`: the event as a document; `slack`: `{\"text\": \"..\"}`, which Slack and many others take.",
        ),
        key(
            "secret",
            Secret,
            Optional("unsigned"),
            "The key of the signature (HMAC-SHA256, Standard Webhooks); `whsec_` and base64, or any text.",
        ),
        key("events", Texts, Default("[\"decision\", \"alarm_opened\", \"alarm_closed\"]"), "What it is told of."),
        key("models", Texts, Default("[\"*\"]"), "Ids or aliases of models; `*` stands for any characters."),
        key("timeout", TIME, Default("\"10s\""), "How long one try may take."),
        key("give_up", TIME, Default("\"24h\""), "How old an event may become before it is given up."),
        key("allow_http", Flag, Default("false"), "Plain http is accepted for other addresses than loopback as well."),
    ],
};

/// The keys of a secret's table.
pub const SECRET_KEYS: [&str; 3] = ["env", "file", "command"];
