//! Conversations over a state, from the command line: a sweep of the shipped worlds against simulated endpoints, killed and
//! resumed; custom scorers and what is wrong in them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use exactod::domain::{AttemptKey, Case, Fault, Suite, UnscoredWhy, Verdict};
use exactod::sim::{self, EndpointSpec, Library, RunningSim, SimSpec};
use exactod::store::StoredAttempt;
use exactod::suites::{Drawer, load_suite, shipped};
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::suites::CASES;
use crate::world::{Ran, Settings, World, broken, eventually, exactod, good, model, weak};

const SEED: u64 = 23;

fn suite() -> Arc<Suite> {
    shipped().unwrap().into_iter().find(|suite| suite.name.as_str() == "worlds").unwrap()
}

/// Endpoints that know the worlds.
async fn fleet(endpoints: Vec<EndpointSpec>) -> RunningSim {
    let library = Arc::new(Library::new(vec![Arc::new(Drawer::new(suite()).unwrap())]));
    let spec = SimSpec { model: model(), seed: SEED, endpoints };
    sim::start(&spec, library, SEED, IpAddr::V4(Ipv4Addr::LOCALHOST)).await.unwrap()
}

fn providers(fleet: &RunningSim) -> Vec<(String, String)> {
    fleet.endpoints().map(|(id, url)| (id.to_string(), url)).collect()
}

fn requests(fleet: &RunningSim, endpoint: &str) -> usize {
    fleet.counts(endpoint).unwrap().requests as usize
}

/// Answers of the right conversation.
fn steps(case: &Case) -> usize {
    let reference = case.reference.as_ref().unwrap().value();
    reference["messages"].as_array().map_or(1, Vec::len)
}

fn steps_of_all(suite: &Suite) -> usize {
    suite.cases.iter().map(|case| steps(case)).sum()
}

fn calls_of(case: &Case) -> usize {
    let reference = case.reference.as_ref().unwrap().value();
    let messages = reference["messages"].as_array().cloned().unwrap_or_else(|| vec![reference]);
    messages.iter().filter_map(|m| m["tool_calls"].as_array()).map(Vec::len).sum()
}

fn by_endpoint<'a>(attempts: &'a [StoredAttempt], endpoint: &str) -> Vec<&'a StoredAttempt> {
    attempts.iter().filter(|stored| stored.attempt.key.endpoint.as_str() == endpoint).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_conversations_are_judged_as_one_answer() {
    let suite = suite();
    let fleet =
        fleet(vec![good("alder"), weak("birch", 0.0), broken("cedar", &[("args_truncated_finish_tool_calls", 1.0)])])
            .await;
    let world = World::new(vec![]).await;
    world.configure_for(&providers(&fleet), &Settings::default());
    let said = world.json(&["sweep", "--suite", "worlds", "--full", "--epochs", "1", "--json"]).await;
    assert!(
        said["endpoints"].as_array().unwrap().iter().all(|row| row["attempts"] == json!(suite.cases.len())),
        "{said}"
    );
    let attempts = world.attempts().await;

    let right = by_endpoint(&attempts, "alder");
    for stored in &right {
        assert_eq!(stored.attempt.judgement.verdict, Verdict::Pass, "{:?}", stored.attempt);
        let case = suite.case(&stored.attempt.key.case).unwrap();
        assert_eq!(stored.attempt.tries.len(), steps(case), "{}", case.id);
        let transcript = stored.attempt.transcript.as_ref().unwrap();
        if case.world.is_some() {
            let answers: Value = serde_json::from_slice(&transcript.response).unwrap();
            assert_eq!(answers["steps"].as_array().unwrap().len(), steps(case), "{}", case.id);
            let request: Value = serde_json::from_slice(&transcript.request).unwrap();
            let assistant = request["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "assistant").count();
            assert_eq!(assistant, steps(case) - 1, "the last request holds all that was said");
        }
        assert!(stored.attempt.cost_nanousd > 0 && stored.attempt.usage.tokens_out.is_some());
    }
    assert_eq!(requests(&fleet, "alder"), steps_of_all(&suite), "one request for each answer");

    // Whoever does nothing passes only where nothing is to be done.
    let passed: Vec<&str> = by_endpoint(&attempts, "birch")
        .into_iter()
        .filter(|stored| stored.attempt.judgement.verdict == Verdict::Pass)
        .map(|stored| stored.attempt.key.case.as_str())
        .collect();
    assert!(passed.iter().all(|id| calls_of(suite.case(&id.parse().unwrap()).unwrap()) == 0), "{passed:?}");
    for stored in by_endpoint(&attempts, "cedar") {
        let case = suite.case(&stored.attempt.key.case).unwrap();
        let wanted = if calls_of(case) == 0 { Verdict::Pass } else { Verdict::Fail(Fault::InvalidJson) };
        assert_eq!(stored.attempt.judgement.verdict, wanted, "{}: {}", case.id, stored.attempt.judgement.explanation);
    }
    offline_judges_the_same(&attempts).await;
    repeats_give_pass_k(&world).await;
}

/// The first answer is somebody else's: what would be said next is no conversation with the endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_ends_with_an_answer_of_somebody_else() {
    let suite = suite();
    let fleet = fleet(vec![broken("alder", &[("served_by_other", 1.0)])]).await;
    let world = World::new(vec![]).await;
    let priced = Settings::default().endpoint;
    let pinned = Settings { endpoint: format!("{priced}\nserved_by = \"Lab\""), ..Settings::default() };
    world.configure_for(&providers(&fleet), &pinned);
    world.json(&["sweep", "--suite", "worlds", "--full", "--epochs", "1", "--json"]).await;
    let attempts = world.attempts().await;
    assert_eq!((attempts.len(), requests(&fleet, "alder")), (suite.cases.len(), suite.cases.len()));
    for stored in &attempts {
        let attempt = &stored.attempt;
        assert_eq!(attempt.judgement.verdict, Verdict::Unscored(UnscoredWhy::Provenance), "{:?}", attempt.judgement);
        assert!(attempt.cost_nanousd > 0 && attempt.transcript.is_some());
    }
}

/// `score --suite` reads the answers of a conversation as its transcript holds them.
async fn offline_judges_the_same(attempts: &[StoredAttempt]) {
    let row = |stored: &StoredAttempt| {
        let attempt = &stored.attempt;
        let body = String::from_utf8(attempt.transcript.as_ref().unwrap().response.to_vec()).unwrap();
        json!({"case_id": attempt.key.case, "draw": attempt.draw, "response": body}).to_string() + "\n"
    };
    let rows: String = attempts.iter().map(row).collect();
    let ran = scored(&Path::new(env!("CARGO_MANIFEST_DIR")).join("eval_suites/worlds"), &rows).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for (line, stored) in ran.stdout.lines().zip(attempts) {
        let judged: Value = serde_json::from_str(line).unwrap();
        assert_eq!(judged["verdict"], stored.attempt.judgement.verdict.to_string(), "{line}");
    }
    assert_eq!(ran.stdout.lines().count(), attempts.len());
}

async fn repeats_give_pass_k(world: &World) {
    world.json(&["sweep", "--suite", "worlds", "--full", "--epochs", "2", "--limit", "10", "--json"]).await;
    let cards = world.json(&["scorecard", "--json"]).await;
    let text = cards.to_string();
    assert!(text.contains("\"pass_k\":[{"), "{text}");
    let find = |name: &str| {
        let card = cards["items"].as_array().unwrap().iter().find(|card| card["endpoint"] == name).unwrap().clone();
        card["suites"][0]["pass_k"][0].clone()
    };
    assert_eq!(find("alder"), json!({"k": 2, "value": 1.0, "cases": 10}));
    assert_eq!(find("birch")["k"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_killed_in_its_middle_goes_on_where_it_was_on_sqlite() {
    killed_and_resumed(World::new(vec![]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_killed_in_its_middle_goes_on_where_it_was_on_postgres() {
    killed_and_resumed(World::on_postgres(vec![]).await).await;
}

async fn killed_and_resumed(world: World) {
    /// Answers that arrive before the kill, and requests in flight then, as configured.
    const ANSWERS: usize = 7;
    const IN_FLIGHT: usize = 2;
    let suite = long_ones(&world);
    // No number of whole conversations makes up the answers: some conversation is in its middle.
    assert!(suite.cases.iter().all(|case| (4..ANSWERS).contains(&steps(case))));
    let fleet = fleet(vec![good("alder")]).await;
    let gate = Gate::before(&fleet, ANSWERS).await;
    world.configure_for(&gate.providers, &Settings::default());
    let store = world.store().await;
    let args = ["sweep", "--suite", "worlds", "--full", "--epochs", "1", "--json"];
    let mut first = world.exactod(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let steps_of = |key: &AttemptKey| steps(suite.case(&key.case).unwrap());
    let in_flight = eventually("the first answers are stored", async || {
        let sweep = store.running_sweeps(None).await.unwrap().first()?.record.id;
        let done: Vec<AttemptKey> = store.done_keys(sweep).await.unwrap().into_iter().collect();
        let open = store.open_exchanges(sweep).await.unwrap();
        let stored = done.iter().map(steps_of).sum::<usize>() + open.values().map(BTreeMap::len).sum::<usize>();
        // A conversation that is over may still wait to be written.
        let begun: BTreeMap<AttemptKey, usize> = open.iter().map(|(key, all)| (key.clone(), all.len())).collect();
        let settled = begun.iter().all(|(key, n)| *n < steps_of(key));
        (stored == ANSWERS && settled && requests(&fleet, "alder") == ANSWERS + IN_FLIGHT).then_some(begun)
    })
    .await;
    assert!(!in_flight.is_empty(), "some conversation is in its middle");
    first.start_kill().unwrap();
    first.wait().await.unwrap();

    gate.open();
    let said = world.json(&args).await;
    assert_eq!(said["endpoints"][0]["attempts"], json!(suite.cases.len()), "{said}");
    let asked = requests(&fleet, "alder");
    assert_eq!(asked, steps_of_all(&suite) + IN_FLIGHT, "only what was in flight is asked again");
    let attempts = world.attempts().await;
    assert_eq!(attempts.len(), suite.cases.len());
    for stored in &attempts {
        assert_eq!(stored.attempt.judgement.verdict, Verdict::Pass, "{:?}", stored.attempt.judgement);
        assert_eq!(stored.attempt.tries.len(), steps_of(&stored.attempt.key));
    }
    let sweep = attempts[0].attempt.key.sweep;
    assert!(store.open_exchanges(sweep).await.unwrap().is_empty());
    let cost: i64 = attempts.iter().map(|stored| stored.attempt.cost_nanousd).sum();
    assert_eq!(store.spend_since(0).await.unwrap().spent_nanousd, cost, "no answer is paid for twice");
    assert_eq!(store.clear_exchanges(sweep).await.unwrap(), 0, "the sweep's end has deleted them");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_conversations_are_judged_again() {
    let world = World::new(vec![]).await;
    let suite = long_ones(&world);
    let fleet = fleet(vec![good("alder")]).await;
    world.configure_for(&providers(&fleet), &Settings::default());
    world.json(&["sweep", "--suite", "worlds", "--full", "--epochs", "1", "--json"]).await;
    let (cases, asked) = (suite.cases.len(), requests(&fleet, "alder"));
    let first: Vec<_> = world.attempts().await.into_iter().map(|stored| stored.attempt.judgement).collect();

    // Now something must be said that nobody has said.
    let file = |name: &str| world.path(&format!("suites/worlds/{name}"));
    let header = std::fs::read_to_string(file("suite.toml")).unwrap();
    std::fs::write(file("suite.toml"), header.replace("revision = \"2026.11.2\"", "revision = \"next\"")).unwrap();
    let text = std::fs::read_to_string(file("cases.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut case: Value = serde_json::from_str(line).unwrap();
        case["world"]["outputs"] = json!(["the fernhill anthem"]);
        case.to_string()
    });
    std::fs::write(file("cases.jsonl"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let report = world.json(&["rescore", "--suite", "worlds", "--json"]).await;
    assert_eq!((&report[0]["rescored"], &report[0]["changed"]), (&json!(cases), &json!(cases)), "{report}");
    let alder = &report[0]["endpoints"]["alder"];
    assert_eq!(
        *alder,
        json!({"answers": cases, "scored_before": cases, "passed_before": cases, "scored_now": cases, "passes_now": 0})
    );
    assert_eq!(requests(&fleet, "alder"), asked, "nobody is asked anything");
    let now: Vec<_> = world.attempts().await.into_iter().map(|stored| stored.attempt.judgement).collect();
    assert_eq!(now, first, "the first verdicts stay");

    // A conversation that begins otherwise now is another one.
    let other = std::fs::read_to_string(file("cases.jsonl"))
        .unwrap()
        .replace("\"messages\":[", "\"messages\":[{\"role\":\"system\",\"content\":\"Hello.\"},");
    std::fs::write(file("cases.jsonl"), other).unwrap();
    std::fs::write(file("suite.toml"), header.replace("revision = \"2026.11.2\"", "revision = \"third\"")).unwrap();
    let report = world.json(&["rescore", "--suite", "worlds", "--json"]).await;
    assert_eq!(report[0]["skipped"], json!({"the case asks something else now": cases}), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn worlds_are_asked_only_where_they_are_named() {
    let world = World::new(vec![good("alder")]).await;
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let all = text.replace("suites = [\"tool-use\", \"output-quality\"]\n", "");
    assert_ne!(all, text);
    std::fs::write(world.config_path(), all).unwrap();
    let said = world.json(&["sweep", "--full", "--json"]).await;
    assert_eq!(said["endpoints"][0]["attempts"], json!(CASES), "{said}");
    // Where a schedule names them they judge the model, and a sweep that names none asks all that judges it.
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let other =
        "[[schedule]]\nname = \"worlds\"\nmodels = [\"*\"]\nsuites = [\"worlds\"]\ncron = \"0 0 1 1 *\"\n\n[[model]]";
    std::fs::write(world.config_path(), text.replacen("[[model]]", other, 1)).unwrap();
    let said = world.json(&["sweep", "--full", "--epochs", "1", "--json"]).await;
    assert_eq!(said["endpoints"][0]["attempts"], json!(CASES + suite().cases.len()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_case_of_a_conversation_is_reserved_before_it_begins() {
    let fleet = fleet(vec![good("alder")]).await;
    let world = World::new(vec![]).await;
    let settings = Settings { budget: "usd_per_sweep = 0.3".to_owned(), ..Settings::default() };
    world.configure_for(&providers(&fleet), &settings);
    let said = world.json(&["sweep", "--suite", "worlds", "--full", "--epochs", "1", "--json"]).await;
    let asked = said["endpoints"][0]["attempts"].as_u64().unwrap();
    // A conversation of eight answers is reserved with nine cents, though it costs less than one; a single answer to a long
    // history, of which there are three, with less than one.
    assert!((1..=3 + 3).contains(&asked), "{said}");
    assert!(said["endpoints"][0]["cost_usd"].as_f64().unwrap() < 0.06, "{said}");
}

/// The shipped suite without its shorter conversations, in the world's folder, where it takes the place of the whole one.
fn long_ones(world: &World) -> Suite {
    let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("eval_suites/worlds"), world.path("suites/worlds"));
    std::fs::create_dir_all(&to).unwrap();
    for name in ["suite.toml", "desk.star", "rooms.star"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let text = std::fs::read_to_string(from.join("cases.jsonl")).unwrap();
    let long = text.lines().filter(|line| line.contains("\"id\": \"desk-return-"));
    std::fs::write(to.join("cases.jsonl"), long.collect::<Vec<_>>().join("\n")).unwrap();
    load_suite(&to).unwrap_or_else(|problems| panic!("{problems}"))
}

async fn run(args: &[&str]) -> Ran {
    Ran::of(exactod().args(args)).await
}

/// `score --suite` on rows.
async fn scored(suite: &Path, rows: &str) -> Ran {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(rows.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    Ran::of(exactod().args(["score", "--suite"]).arg(suite).stdin(file)).await
}

#[tokio::test]
async fn check_and_show_know_worlds() {
    let ran = run(&["suite", "check", "eval_suites/worlds", "--draws", "2", "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["suites"][0]["findings"], 0);
    let ran = run(&["suite", "show", "worlds", "--draw", "7", "--case", "desk-lost", "--json"]).await;
    let shown = ran.json();
    let parcel = &shown[0]["world"]["setup"]["parcels"][0];
    assert_eq!(parcel["status"], "in_transit", "{shown}");
    assert!(parcel["days_since_dispatch"].as_u64().unwrap() > 10, "{shown}");
    assert_eq!(
        run(&["suite", "show", "worlds", "--draw", "7", "--case", "desk-lost", "--json"]).await.stdout,
        ran.stdout
    );
}

fn write_suite(folder: &Path, program: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let header = "version = 1\nname = \"own\"\nkind = [\"output_quality\"]\nrevision = \"1\"\n\
        [[scorers]]\ntype = \"starlark\"\nfile = \"own.star\"\n";
    std::fs::write(folder.join("suite.toml"), header).unwrap();
    let case = |id: &str| json!({"id": id, "input": "Say it.", "expected": {"word": id}}).to_string() + "\n";
    std::fs::write(folder.join("cases.jsonl"), case("calm") + &case("wild")).unwrap();
    std::fs::write(folder.join("own.star"), program).unwrap();
}

#[tokio::test]
async fn a_custom_scorer_that_goes_on_for_ever_harms_its_own_case_alone() {
    let folder = tempfile::tempdir().unwrap();
    let suite = folder.path().join("own");
    write_suite(
        &suite,
        "def score(case, completion):\n    if case['id'] == 'wild':\n        return len('x' * (1 << 40))\n    \
         return {'score': completion['content'] == case['expected']['word'], 'error_type': 'word:other'}\n",
    );
    let answer = |id: &str, text: &str| {
        let message = json!({"role": "assistant", "content": text});
        json!({"case_id": id, "response": {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}})
            .to_string()
            + "\n"
    };
    let rows = answer("wild", "wild") + &answer("calm", "calm") + &answer("calm", "loud");
    let ran = scored(&suite, &rows).await;
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdicts: Vec<&str> = lines.iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["Unscored(ours)", "Pass", "Fail(WrongAnswer)"], "{ran:?}");
    assert!(lines[0]["explanation"].as_str().unwrap().contains("line 3"), "{ran:?}");
    assert_eq!(lines[2]["error_type"], "word:other");
}

#[tokio::test]
async fn what_is_wrong_in_a_program_is_shown_with_a_caret() {
    let folder = tempfile::tempdir().unwrap();
    let suite = folder.path().join("own");
    for (program, message, caret) in [
        ("def score(case, completion)\n    return 1\n", "own.star:1:28", "^"),
        ("def score(case, completion):\n    return lenght(case)\n", "own.star:2:12", "^^^^^^"),
        ("def score(case, completion):\n    f = ''.join\n    return 1\n", "own.star:2:9", "not called"),
        ("def rate(case, completion):\n    return 1\n", "cases.jsonl:1", "score(case, completion)"),
    ] {
        write_suite(&suite, program);
        let ran = run(&["suite", "check", suite.to_str().unwrap()]).await;
        assert_eq!(ran.code, 2, "{program}: {ran:?}");
        assert!(ran.stderr.contains(message) && ran.stderr.contains(caret), "{program}: {}", ran.stderr);
    }
}
