//! The command line as people type it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

/// Measures every provider endpoint that serves a model and publishes allowlists for gateways.
///
/// Exit codes: 0 done and yes; 1 done and no, or failed while running; 2 usage, config or suite error; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "exactod", version, max_term_width = 110)]
pub struct Cli {
    /// Config file; relative paths in it are relative to it.
    #[arg(long, short, global = true, value_name = "FILE", default_value = "exactod.toml")]
    pub config: PathBuf,
    /// One JSON document on stdout and nothing else.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole loop: a simulated fleet with known truth, the daemon, the page. No keys, no network, no config.
    Demo(DemoArgs),
    /// Run the provider simulator: real HTTP servers that play good and bad providers from a spec.
    Sim(SimArgs),
    /// Run the daemon: schedules, sweeps, decisions, the HTTP API.
    Serve,
    /// Run one sweep now (or finish an interrupted one).
    Sweep(SweepArgs),
    /// Show rates, intervals, faults, latency and cost per endpoint and suite.
    Scorecard(ScorecardArgs),
    /// Show the current allowlist of a model, or of one of its capabilities.
    Allowlist(AllowlistArgs),
    /// Print a list in the words of a gateway, for its configuration or for the body of a request.
    Export(ExportArgs),
    /// Put a list into a gateway by its admin API (`[[push]]`), show what differs, or go back to what was there.
    Push(PushArgs),
    /// Count live traffic from a file of records.
    Ingest(IngestArgs),
    /// Show which consumer runs which revision, as they have said.
    Consumers,
    /// Show decisions, newest first.
    Decisions(DecisionsArgs),
    /// Say why an endpoint stands where it stands, the counts behind it, what would change it, and what is promised.
    Explain(ExplainArgs),
    /// Say how long it takes and how much it costs until all are decided, and whether the budget suffices.
    Plan(PlanArgs),
    /// List an endpoint whatever its standing; its evidence goes on.
    Pin(OrderArgs),
    /// Let the standing of a pinned endpoint rule again.
    Unpin(OrderArgs),
    /// Neither list nor ask an endpoint, whatever its standing.
    Ban(OrderArgs),
    /// Let the standing of a banned endpoint rule again.
    Unban(OrderArgs),
    /// Forget an endpoint's evidence and measure it afresh; an Excluded one becomes Unknown.
    Reset(OrderArgs),
    /// Put a remark on an endpoint into the decision log (with --note).
    Note(OrderArgs),
    /// Acknowledge a common alarm: the list is no longer held, the evidence is kept.
    Ack(AckArgs),
    /// Recompute states, decisions and allowlists from what is stored and compare them byte for byte.
    Replay(ReplayArgs),
    /// Judge stored answers by the suites as they are now: new verdicts beside the first ones, never over them.
    Rescore(RescoreArgs),
    /// Print attempts as the result files of other tools: JUnit XML, or promptfoo's results.
    Results(ResultsArgs),
    /// List sweeps, newest first.
    Sweeps(SweepsArgs),
    /// List attempts, newest first.
    Attempts(AttemptsArgs),
    /// Show one attempt with its transcript.
    Attempt(AttemptArgs),
    /// Measure what a policy costs and how often it errs, on simulated fleets whose truth is known.
    Simulate(SimulateArgs),
    /// Judge answers from stdin, one JSON row a line, and write a verdict line for each.
    Score(ScoreArgs),
    /// Work with suites.
    #[command(subcommand)]
    Suite(SuiteCommand),
    /// Work with the database.
    #[command(subcommand)]
    Db(DbCommand),
    /// Work with the keys that sign allowlists.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Work with API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Work with the config file.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the API and the page listen (loopback; port 0 picks a free one).
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Seed of the fleet, its answers and the draws.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Stop when every endpoint has a standing; exit 0 only if all match the truth.
    #[arg(long)]
    pub until_decided: bool,
}

/// `sim`.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// Spec file (TOML).
    #[arg(long, value_name = "FILE")]
    pub spec: PathBuf,
    /// Suites whose cases the simulated endpoints can answer.
    #[arg(long, value_name = "DIR")]
    pub suites: PathBuf,
    /// Seed; the spec's own without it.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Address of the first endpoint; the others take the following ports (port 0: free ones).
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Address of a listener that breaks and heals endpoints and counts their requests (docs/simulator.md).
    #[arg(long, value_name = "ADDR")]
    pub control: Option<SocketAddr>,
}

/// `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// A, B, C, type1, drift, flap, year, cold-start and others (docs/statistics.md), or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: String,
    /// Error of the first decision, per direction; that of the policy without it.
    #[arg(long, value_name = "X")]
    pub alpha: Option<f64>,
    /// Repetitions; the scenario's own number without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub reps: Option<u64>,
    /// Seed: the same seed gives the same figures, on any number of processors.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Policy (TOML: the keys of `[policy]`, with or without that header); the defaults without it.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Only this policy of the scenario (repeatable).
    #[arg(long, value_name = "POLICY")]
    pub only: Vec<String>,
}

/// `sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// Only this model; all models without it.
    #[arg(long)]
    pub model: Option<String>,
    /// Only these suites (repeatable); those of the model's schedules without it.
    #[arg(long = "suite", value_name = "SUITE")]
    pub suites: Vec<String>,
    /// Only these endpoints (repeatable). Gives no evidence unless the anchors are among them.
    #[arg(long = "endpoint", value_name = "ENDPOINT")]
    pub endpoints: Vec<String>,
    /// At most this many cases per suite.
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Every case of every suite for every endpoint; of a suite with `[sampling]` those that it takes.
    #[arg(long, group = "repeated")]
    pub full: bool,
    /// Go on with a finished sweep: ask the same cases of the same endpoints until each has been asked --epochs times,
    /// without repeating what was asked. Gives no evidence.
    #[arg(long, value_name = "SWEEP", group = "repeated", requires = "epochs",
          conflicts_with_all = ["suites", "endpoints", "limit", "until_decided", "include_broken"])]
    pub extend: Option<String>,
    /// Repeats per case (with --full or --extend); those of the suite's `[epochs]` without it.
    #[arg(long, value_name = "N", requires = "repeated")]
    pub epochs: Option<u32>,
    /// Ask the cases as well that their suites exclude as broken, for figures that compare with a public leaderboard (with
    /// --full). Such a sweep gives no evidence.
    #[arg(long, requires = "full")]
    pub include_broken: bool,
    /// Sweep back to back until every endpoint has a standing or the budget ends. Not with --endpoint: standings come
    /// from comparing all of them.
    #[arg(long)]
    pub until_decided: bool,
}

/// Output formats of `scorecard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CardFormat {
    /// For a terminal.
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated values.
    Csv,
    /// A Markdown table.
    Md,
    /// A Parquet file.
    Parquet,
}

/// `scorecard`.
#[derive(Debug, Args)]
pub struct ScorecardArgs {
    /// Only this model.
    #[arg(long)]
    pub model: Option<String>,
    /// Only this suite.
    #[arg(long)]
    pub suite: Option<String>,
    /// Window: a duration back from now (`24h`, `7d`).
    #[arg(long, default_value = "7d")]
    pub since: String,
    /// Format; csv, md and parquet are written under reports/ unless --out says otherwise. Parquet has the columns of
    /// csv, as numbers.
    #[arg(long, value_enum, default_value = "table")]
    pub format: CardFormat,
    /// In the table also the figures that suites ask for in `[[metrics]]`, a line each.
    #[arg(long)]
    pub metrics: bool,
    /// With --format parquet: the attempts of the window, one row each, instead of the scorecards.
    #[arg(long)]
    pub attempts: bool,
    /// File to write (`-`: stdout, not for parquet).
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `ingest`.
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// The file: records one a line or in an array; packed with gzip or zstd, or plain. The same file is counted once.
    pub file: PathBuf,
    /// What the records are.
    #[arg(long, value_enum, default_value_t = RecordFormat::Native)]
    pub format: RecordFormat,
    /// The name of their source.
    #[arg(long, default_value = "file")]
    pub source: String,
}

/// Records of live traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RecordFormat {
    /// exactod's own (docs/live.md).
    Native,
    /// LiteLLM's StandardLoggingPayload.
    Litellm,
}

/// `rescore`.
#[derive(Debug, Args)]
pub struct RescoreArgs {
    /// Only this model.
    #[arg(long)]
    pub model: Option<String>,
    /// Only these suites.
    #[arg(long = "suite", value_name = "SUITE")]
    pub suites: Vec<String>,
    /// Window: a duration back from now (`24h`, `7d`). Answers are kept as long as `store.retention.transcripts` says.
    #[arg(long, default_value = "30d")]
    pub since: String,
}

/// Formats of `results`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResultsFormat {
    /// JUnit XML, for build servers: failures are wrong answers, errors what was not delivered.
    Junit,
    /// The result file of promptfoo, for its viewer.
    Promptfoo,
}

/// `results`.
#[derive(Debug, Args)]
pub struct ResultsArgs {
    /// Whose form.
    #[arg(long, value_enum)]
    pub format: ResultsFormat,
    /// Only this sweep, however old.
    #[arg(long)]
    pub sweep: Option<String>,
    /// Only this model, by id or alias.
    #[arg(long)]
    pub model: Option<String>,
    /// Only this endpoint.
    #[arg(long)]
    pub endpoint: Option<String>,
    /// Only this suite.
    #[arg(long)]
    pub suite: Option<String>,
    /// Without --sweep: a duration back from now (`24h`, `7d`).
    #[arg(long, default_value = "7d")]
    pub since: String,
    /// The file to write; stdout without it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `allowlist`.
#[derive(Debug, Args)]
pub struct AllowlistArgs {
    /// The model; may be left out when there is one only.
    #[arg(long)]
    pub model: Option<String>,
    /// The list of this capability, a tag in the policy's `capabilities`; the model's own without it.
    #[arg(long, value_name = "TAG")]
    pub capability: Option<String>,
}

/// `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// json, names, openrouter, vercel, portkey, huggingface, helicone, litellm-yaml, nginx, kong, envoy, or litellm: the index of
    /// all models for the plugin.
    pub format: String,
    /// The model, by id or alias; may be left out when there is one only.
    #[arg(long)]
    pub model: Option<String>,
    /// The list of this capability, a tag in the policy's `capabilities`; the model's own without it.
    #[arg(long, value_name = "TAG")]
    pub capability: Option<String>,
    /// allow: the endpoints to route to; exclude: those not to route to.
    #[arg(long, default_value = "allow")]
    pub form: String,
    /// With names: the key of `slugs` by which endpoints are named.
    #[arg(long, value_name = "KEY")]
    pub gateway: Option<String>,
    /// The file to write, whole or not at all; stdout without it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// Name of the `[[push]]`.
    pub name: String,
    /// Show what differs, and change nothing.
    #[arg(long, conflicts_with_all = ["roll_back", "resume"])]
    pub dry_run: bool,
    /// Go back to what was there before the last change, and let the daemon change nothing there.
    #[arg(long, conflicts_with = "resume")]
    pub roll_back: bool,
    /// Let the daemon change it again.
    #[arg(long)]
    pub resume: bool,
}

/// `decisions`.
#[derive(Debug, Args)]
pub struct DecisionsArgs {
    /// Only this model.
    #[arg(long)]
    pub model: Option<String>,
    /// Only this endpoint.
    #[arg(long)]
    pub endpoint: Option<String>,
    /// Only those about the list of this capability; without it those about every list.
    #[arg(long, value_name = "TAG")]
    pub capability: Option<String>,
    /// Only this kind: entered, left, designated, transition, held, version_change, operator, irregular or quarantine.
    #[arg(long)]
    pub kind: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

/// `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The model, by id or alias.
    pub model: String,
    /// Only this endpoint; all of them without it.
    pub endpoint: Option<String>,
    /// On the list of this capability, a tag in the policy's `capabilities`; on the model's own without it.
    #[arg(long, value_name = "TAG")]
    pub capability: Option<String>,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Only this model, by id or alias; all models without it.
    #[arg(long)]
    pub model: Option<String>,
}

/// `pin`, `unpin`, `ban`, `unban`, `reset`, `note`.
#[derive(Debug, Args)]
pub struct OrderArgs {
    /// The model, by id or alias.
    pub model: String,
    /// The endpoint.
    pub endpoint: String,
    /// Who and why.
    #[command(flatten)]
    pub why: WhyArgs,
}

/// `ack`.
#[derive(Debug, Args)]
pub struct AckArgs {
    /// The model, by id or alias.
    pub model: String,
    /// Who and why.
    #[command(flatten)]
    pub why: WhyArgs,
}

/// Who gives an order, and why: kept with the decision.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Why, in one line.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub note: String,
    /// Who says so; the user of this machine ($USER) without it.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Only this model; all models without it.
    #[arg(long)]
    pub model: Option<String>,
    /// Only up to the step that published this revision.
    #[arg(long, value_name = "N")]
    pub revision: Option<u64>,
    /// What would have been published under the [policy] of this file.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// `sweeps`.
#[derive(Debug, Args)]
pub struct SweepsArgs {
    /// Only this model, by id or alias.
    #[arg(long)]
    pub model: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

/// `attempts`.
#[derive(Debug, Args)]
pub struct AttemptsArgs {
    /// Only this sweep.
    #[arg(long)]
    pub sweep: Option<String>,
    /// Only this endpoint.
    #[arg(long)]
    pub endpoint: Option<String>,
    /// Only this suite.
    #[arg(long)]
    pub suite: Option<String>,
    /// Only attempts with this primary fault.
    #[arg(long)]
    pub fault: Option<String>,
    /// Only this verdict: pass, fail or unscored.
    #[arg(long)]
    pub verdict: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

/// `attempt`.
#[derive(Debug, Args)]
pub struct AttemptArgs {
    /// Its id.
    pub id: String,
    /// Print a curl command that repeats the request (the key stays an environment variable).
    #[arg(long)]
    pub curl: bool,
    /// Print the raw response bytes.
    #[arg(long)]
    pub raw: bool,
}

/// `score`.
///
/// A row that is no JSON, or names a case that is not there, is answered in its place by a line with `"valid":null` and
/// an `error` that names the line; the rows after it are judged all the same, and the exit code is 1.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("rules").required(true).args(["scorer", "suite"])))]
pub struct ScoreArgs {
    /// The rules.
    #[arg(long, value_enum)]
    pub scorer: Option<OfflineScorer>,
    /// In place of --scorer: a suite folder, by whose cases answers are judged as in a sweep. Rows
    /// {"case_id","draw","response"}: the drawn values of a template, else null or nothing; the body as JSON, or as a string
    /// (streams); for the scorers latency and cost also latency_ms, ttft_ms and cost_usd. Answers {"case_id","verdict","score","fault","secondary","error_type","explanation"},
    /// of several scorers also "scorers".
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "strict_abstention"])]
    pub suite: Option<PathBuf>,
    /// With --suite: rows of templates without "draw" answer the instance drawn from this seed, as suite show --draw SEED
    /// prints it.
    #[arg(long, value_name = "SEED", requires = "suite")]
    pub draw: Option<String>,
    /// With --suite: run the programs of scorers `exec`, as `[[exec]]` of the config allows. Without it their cases have no
    /// verdict.
    #[arg(long)]
    pub exec: bool,
    /// With bfcl: the bfcl-eval wheel, its unpacked folder or its data folder.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// With bfcl: where no call is due, a malformed call fails (officially it counts as abstention).
    #[arg(long)]
    pub strict_abstention: bool,
}

/// Rules that judge rows from stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OfflineScorer {
    /// Rows {"id","category","tool_calls":[{"name","arguments"}]|null,"content"}; answers {"id","valid","error_type"}.
    Bfcl,
    /// Rows {"prompt","instruction_id_list","kwargs","response"}; answers {"strict","loose"}, an entry per instruction.
    Ifeval,
}

/// Sources that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportKind {
    /// Berkeley Function-Calling Leaderboard, Python single-turn: the bfcl-eval wheel or its data folder.
    Bfcl,
    /// IFEval: its input_data.jsonl, or the folder with it.
    Ifeval,
    /// IFBench: its prompts, judged by those of their instructions that are implemented.
    Ifbench,
    /// Kimi K2 Vendor Verifier: samples.jsonl.
    K2vv,
    /// promptfoo: a YAML configuration, or its folder.
    Promptfoo,
    /// OpenAI evals: samples as JSON Lines.
    OpenaiEvals,
    /// inspect: samples as JSON Lines or CSV.
    Inspect,
    /// JSONSchemaBench: schemas as JSON Lines.
    Jsonschemabench,
    /// Chat requests that a gateway logged, one JSON a line; secrets and personal data are redacted.
    Requests,
}

/// How answers to IFEval's prompts are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IfEvalMode {
    /// As they are.
    Strict,
    /// By any of the eight variants that the official checker looks at.
    Loose,
}

/// `suite import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What the source is.
    #[arg(value_enum)]
    pub kind: ImportKind,
    /// The source: a file or folder.
    pub source: PathBuf,
    /// The folder under which the suite's folder is made.
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// The suite's name; a name after the source without it.
    #[arg(long)]
    pub name: Option<String>,
    /// With bfcl: only this category (may be repeated); all supported ones without it.
    #[arg(long, value_name = "NAME")]
    pub category: Vec<String>,
    /// With k2vv: results of a reference run, to judge whether a tool is called where the reference calls one.
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// How answers are compared: with openai-evals match (default), includes, fuzzy or json; with inspect includes
    /// (default), match or exact.
    #[arg(long, value_name = "NAME")]
    pub grader: Option<String>,
    /// With promptfoo: leave out the asserts that cannot be taken over, and mark their cases.
    #[arg(long)]
    pub allow_unsupported: bool,
    /// With ifeval: also the prompts with instruction types that are judged nearly, not exactly, as officially.
    #[arg(long)]
    pub approximate: bool,
    /// With ifeval and ifbench: how answers are judged, as they are or with the official checker's loosening.
    #[arg(long, value_enum)]
    pub mode: Option<IfEvalMode>,
}

/// `suite ...`.
#[derive(Debug, Subcommand)]
pub enum SuiteCommand {
    /// Load suites and prove, over several draws, that each reference passes and each counter-example fails.
    Check {
        /// Suite folders, or folders of them; the shipped suites without any.
        dirs: Vec<PathBuf>,
        /// How many draws of every template.
        #[arg(long, default_value_t = 5)]
        draws: u32,
        /// Run the programs of scorers `exec`, as `[[exec]]` of the config allows. Without it what they judge is not proved.
        #[arg(long)]
        exec: bool,
    },
    /// Show a suite's cases.
    Show {
        /// A suite folder, or the name of a shipped suite.
        suite: String,
        /// Print the instances drawn from this seed.
        #[arg(long, value_name = "SEED")]
        draw: Option<String>,
        /// Only this case.
        #[arg(long)]
        case: Option<String>,
    },
    /// Create a small valid suite to start from.
    New {
        /// The folder to create; its last part is the suite's name.
        dir: PathBuf,
    },
    /// Make a suite of another tool's cases. Nothing is downloaded: the source is a path.
    Import(ImportArgs),
    /// Print the OpenAI tools of another data set's cases: {"id","tools"}, a line each.
    Tools {
        /// The bfcl-eval wheel, its unpacked folder or its data folder.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The category.
        #[arg(long, value_name = "NAME")]
        category: String,
    },
    /// Print the JSON Schema of the header and of a case.
    Schema,
}

/// `db ...`.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Create or upgrade the tables.
    Migrate,
    /// Check integrity and print counts.
    Check,
    /// Delete what is older than the retention in the config.
    Prune,
}

/// `token ...`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and the config lines for its hash.
    New {
        /// read, ingest or admin.
        #[arg(long)]
        role: String,
        /// A name for logs.
        #[arg(long, default_value = "token")]
        name: String,
    },
}

/// Where the private keys are.
#[derive(Debug, Args)]
pub struct KeyFileArgs {
    /// The key file, relative to the config's folder: what `[signing] keys = { file = ".." }` names.
    #[arg(long, value_name = "FILE", default_value = "signing-keys.json")]
    pub file: PathBuf,
}

/// `keys ...`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make the first key, in a file that only its owner can read, and print the lines for the config.
    New {
        /// Where to.
        #[command(flatten)]
        at: KeyFileArgs,
        /// Its id; the beginning of its public part's hash without it.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
    /// Take another key into use. First a new one beside the old one: both sign, and consumers learn the new one. Then,
    /// with --finish, the old one is dropped.
    Rotate {
        /// Where it is.
        #[command(flatten)]
        at: KeyFileArgs,
        /// The new key's id; the beginning of its public part's hash without it.
        #[arg(long, value_name = "ID", conflicts_with = "finish")]
        id: Option<String>,
        /// Drop the old key.
        #[arg(long)]
        finish: bool,
    },
    /// Print the public keys: a table, or the JWK set with --json.
    List {
        /// Where they are; what the config names without it.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// `config ...`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the config and its suites and say all that is wrong.
    Check,
    /// Print the JSON Schema of the config.
    Schema,
}
