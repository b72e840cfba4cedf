//! `suite check | show | new | schema`, `config check | schema`, `token new`: commands on files, without a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::args::{Cli, SuiteCommand};
use super::import;
use super::output::{self, CliError, Exit};
use super::programs::AllowedPrograms;
use crate::domain::{
    CaseId, CaseInstance, Completion, Fault, Json, Judgement, ProgramRun, Suite, SuiteName, Took, Verdict,
};
use crate::provider::chat_completions::request_body;
use crate::provider::completion_from_message;
use crate::runner::{Ids, Proof, prove_with};
use crate::scoring::Judge;
use crate::suites::{self, Drawer, NearMiss, ScaffoldError};
use crate::worlds::{self, World};

/// Runs a `suite` command.
pub fn run(cli: &Cli, command: &SuiteCommand, as_json: bool) -> Result<Exit, CliError> {
    match command {
        SuiteCommand::Check { dirs, draws, exec } => {
            let programs = AllowedPrograms::new(cli, *exec)?;
            check(dirs, *draws, (*exec).then_some(&programs), as_json)
        }
        SuiteCommand::Show { suite, draw, case } => show(suite, draw.as_deref(), case.as_deref(), as_json),
        SuiteCommand::New { dir } => new(dir, as_json),
        SuiteCommand::Import(args) => import::run(args, as_json),
        SuiteCommand::Tools { data, category } => import::tools(data, category),
        SuiteCommand::Schema => output::json(&suites::schema()).map(|()| Exit::Yes),
    }
}

fn load(dirs: &[PathBuf]) -> Result<Vec<Arc<Suite>>, CliError> {
    if dirs.is_empty() {
        return Ok(suites::shipped()?);
    }
    let loaded = suites::load_given(dirs)?;
    Ok(loaded)
}

/// One thing that a suite promises and does not keep.
#[derive(Debug, Serialize)]
struct Finding {
    suite: String,
    case: String,
    seed: String,
    what: String,
}

fn check(dirs: &[PathBuf], draws: u32, programs: Option<&AllowedPrograms>, as_json: bool) -> Result<Exit, CliError> {
    let suites = load(dirs)?;
    let (mut findings, mut warnings) = (Vec::new(), Vec::new());
    let mut report = Vec::new();
    let judge = Judge::new();
    let ids = Ids::from_system().map_err(CliError::failed)?;
    for suite in &suites {
        let drawer = Drawer::new(Arc::clone(suite)).map_err(CliError::failed)?;
        let before = findings.len();
        let misses = suites::near_misses(suite);
        warnings.extend(misses.into_iter().map(|NearMiss { key, meant, case }| {
            format!("{}/{case}: the request sends `{key}` as it is; did you mean `{meant}`?", suite.name)
        }));
        let mut proved = 0u64;
        for case in &suite.cases {
            // A case that draws nothing is the same under every seed.
            let rounds = if case.is_template() && !case.fixed { draws.max(1) } else { 1 };
            for _ in 0..rounds {
                let seed = ids.seed();
                let (checked, wrong) = check_case(&drawer, &judge, programs, &case.id, &seed);
                proved += checked;
                findings.extend(wrong.into_iter().map(|what| Finding {
                    suite: suite.name.to_string(),
                    case: case.id.to_string(),
                    seed: seed.clone(),
                    what,
                }));
            }
        }
        report.push(json!({
            "suite": suite.name, "revision": suite.revision, "digest": suite.digest, "cases": suite.cases.len(),
            "excluded": suite.excluded.len(), "templates": suite.cases.iter().filter(|c| c.is_template()).count(),
            "proved": proved, "findings": findings.len() - before,
        }));
    }
    if as_json {
        output::json(&json!({ "suites": report, "findings": findings, "warnings": warnings }))?;
    } else {
        warnings.iter().for_each(|warning| output::note(&format!("warning: {warning}")));
        print_check(&report, &findings)?;
    }
    Ok(if findings.is_empty() { Exit::Yes } else { Exit::No })
}

fn print_check(report: &[Value], findings: &[Finding]) -> Result<(), CliError> {
    for f in findings {
        output::note(&format!("{}/{} (seed {}): {}", f.suite, f.case, f.seed, f.what));
    }
    let mut table = output::table(&["suite", "revision", "cases", "templates", "proved", "findings", "digest"]);
    for r in report {
        let text = |key: &str| match &r[key] {
            Value::String(s) => s.chars().take(12).collect(),
            other => other.to_string(),
        };
        table.add_row([
            r["suite"].as_str().unwrap_or_default().to_owned(),
            text("revision"),
            text("cases"),
            text("templates"),
            text("proved"),
            text("findings"),
            text("digest"),
        ]);
    }
    output::line(&table.to_string())
}

/// Draws one instance and proves the answers that it brings along. Gives how many were proved and what was wrong.
fn check_case(
    drawer: &Drawer,
    judge: &Judge,
    programs: Option<&AllowedPrograms>,
    case: &CaseId,
    seed: &str,
) -> (u64, Vec<String>) {
    let instance = match drawer.draw(case, seed, 0) {
        Ok(instance) => instance,
        Err(e) => return (0, vec![format!("cannot be drawn: {e}")]),
    };
    let prepared = match judge.prepare(&instance) {
        Ok(prepared) => prepared,
        Err(e) => return (0, vec![format!("cannot be scored: {e}")]),
    };
    if instance.world.is_some() {
        return check_world(&instance, judge);
    }
    let run = |runs: &[ProgramRun]| programs.map(|programs| programs.run(runs));
    let Proof { proved, wrong, .. } = prove_with(&instance, &prepared, &run);
    (proved, wrong)
}

/// Plays a conversation's reference and counter-example to their ends.
fn check_world(instance: &CaseInstance, judge: &Judge) -> (u64, Vec<String>) {
    let world = match World::new(judge, instance) {
        Ok(world) => Arc::new(world),
        Err(e) => return (0, vec![format!("its world is broken: {e}")]),
    };
    let completion = |message: &Value| Completion { took: Took::NOTHING, ..completion_from_message(message) };
    let verdict = |messages: Vec<Value>| worlds::play(&world, messages.iter().map(completion));
    let mut proved = 0;
    let mut wrong = Vec::new();
    if instance.reference.is_some() {
        proved += 1;
        match World::reference(instance).map(verdict) {
            Ok(judgement) if judgement.verdict == Verdict::Pass => {}
            Ok(judgement) => wrong.push(format!("the reference must pass and is {}", told(&judgement))),
            Err(e) => wrong.push(e.to_string()),
        }
    }
    if let Some(counter) = &instance.counterexample {
        proved += 1;
        match World::counterexample(instance).map(verdict) {
            Ok(judgement) if judgement.verdict == Verdict::Fail(counter.fault) => {}
            Ok(judgement) => {
                wrong.push(format!("the counter-example must be Fail({}) and is {}", counter.fault, told(&judgement)));
            }
            Err(e) => wrong.push(e.to_string()),
        }
    }
    (proved, wrong)
}

fn told(judgement: &Judgement) -> String {
    let secondary: Vec<&str> = judgement.secondary.iter().map(|f| Fault::name(*f)).collect();
    format!("{} [{}]: {}", judgement.verdict, secondary.join(", "), judgement.explanation)
}

/// A suite by folder or by the name of a shipped one.
fn find(name: &str) -> Result<Arc<Suite>, CliError> {
    let dir = Path::new(name);
    if dir.join("suite.toml").is_file() {
        return Ok(Arc::new(suites::load_suite(dir)?));
    }
    let shipped = suites::shipped()?;
    let names: Vec<String> = shipped.iter().map(|s| s.name.to_string()).collect();
    shipped.into_iter().find(|s| s.name.as_str() == name).ok_or_else(|| {
        CliError::Usage(format!(
            "{name:?} is neither a folder with a suite.toml nor a shipped suite (shipped: {})",
            names.join(", ")
        ))
    })
}

fn show(name: &str, seed: Option<&str>, case: Option<&str>, as_json: bool) -> Result<Exit, CliError> {
    let suite = find(name)?;
    let cases: Vec<CaseId> =
        suite.cases.iter().map(|c| c.id.clone()).filter(|id| case.is_none_or(|c| c == id.as_str())).collect();
    if cases.is_empty() {
        return Err(CliError::Usage(format!("suite {} has no case {:?}", suite.name, case.unwrap_or_default())));
    }
    match seed {
        Some(seed) => show_instances(suite, &cases, seed, as_json),
        None => show_cases(&suite, &cases, as_json),
    }
}

fn show_cases(suite: &Suite, cases: &[CaseId], as_json: bool) -> Result<Exit, CliError> {
    let rows: Vec<&Arc<crate::domain::Case>> = cases.iter().filter_map(|id| suite.case(id)).collect();
    if as_json {
        let cases: Vec<Value> = rows
            .iter()
            .map(|c| json!({"id": c.id, "category": c.category, "tags": c.tags, "template": c.is_template(), "fixed": c.fixed, "hash": c.hash}))
            .collect();
        output::json(&json!({"suite": suite.name, "revision": suite.revision, "digest": suite.digest, "cases": cases,
                    "excluded": suite.excluded}))?;
        return Ok(Exit::Yes);
    }
    let mut table = output::table(&["case", "category", "tags", "drawn"]);
    for c in rows {
        let drawn = match (c.is_template(), c.fixed) {
            (false, _) => "no",
            (true, true) => "once (hold-out)",
            (true, false) => "every sweep",
        };
        table.add_row([c.id.as_str(), c.category.as_deref().unwrap_or(""), &c.tags.join(" "), drawn]);
    }
    for case in &suite.broken {
        let category = case.category.as_deref().unwrap_or("");
        table.add_row([case.id.as_str(), category, &case.tags.join(" "), "excluded as broken"]);
    }
    output::line(&format!("{}\n{} {} ({})", table, suite.name, suite.revision, suite.digest))?;
    Ok(Exit::Yes)
}

fn show_instances(suite: Arc<Suite>, cases: &[CaseId], seed: &str, as_json: bool) -> Result<Exit, CliError> {
    let seed = seed_text(seed);
    let drawer = Drawer::new(suite).map_err(CliError::failed)?;
    let mut shown = Vec::new();
    for id in cases {
        let instance = drawer.draw(id, &seed, 0).map_err(CliError::failed)?;
        shown.push(instance_json(&instance));
    }
    if as_json {
        output::json(&shown)?;
    } else {
        for value in &shown {
            output::line(&serde_json::to_string_pretty(value).map_err(CliError::failed)?)?;
        }
    }
    Ok(Exit::Yes)
}

/// A seed as people type it: 32 hexadecimal digits are taken as they are, anything else is a number or a word.
pub(super) fn seed_text(seed: &str) -> String {
    let is_seed = seed.len() == 32 && seed.bytes().all(|b| b.is_ascii_hexdigit());
    if is_seed {
        return seed.to_ascii_lowercase();
    }
    crate::domain::canonical::sha256_hex(seed.as_bytes()).chars().take(32).collect()
}

fn instance_json(instance: &CaseInstance) -> Value {
    let tree = |json: &Option<Json>| json.as_ref().map(Json::value);
    json!({
        "id": instance.case.id, "draw": instance.draw, "messages": instance.messages.value(),
        "tools": tree(&instance.tools), "response_format": tree(&instance.response_format),
        "request": sent_keys(instance), "expected": tree(&instance.expected),
        "world": tree(&instance.world), "reference": tree(&instance.reference),
        "pair": instance.case.pair.as_ref().map(|pair| pair.with.as_str()),
    })
}

/// The request keys as they are sent: with what the client adds by itself.
fn sent_keys(instance: &CaseInstance) -> Map<String, Value> {
    let mut keys = Map::clone(&instance.case.request);
    let body = request_body("", instance, &Map::new());
    let sent: Map<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
    for (key, value) in sent {
        if !["model", "messages", "tools", "response_format"].contains(&key.as_str()) {
            keys.insert(key, value);
        }
    }
    keys
}

fn new(dir: &Path, as_json: bool) -> Result<Exit, CliError> {
    let name = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let name = SuiteName::new(name).map_err(|e| CliError::Usage(format!("{}: {e}", dir.display())))?;
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = suites::new_suite(parent, &name).map_err(|error| match error {
        // As with `suite import`: what is asked for cannot be meant.
        ScaffoldError::Exists(_) => CliError::Usage(error.to_string()),
        ScaffoldError::Write { .. } => CliError::failed(error),
    })?;
    if as_json {
        output::json(&json!({"created": dir}))?;
    } else {
        output::line(&format!("created {0}: edit cases.jsonl, then run `exactod suite check {0}`", dir.display()))?;
    }
    Ok(Exit::Yes)
}
