//! Models as judges: verdicts by the truth, no verdict without votes, nothing asked twice, never one's own judge.

use std::process::Stdio;

use exactod::domain::{Exchange, UnscoredWhy, Verdict};
use exactod::sim::EndpointSpec;
use exactod::store::StoredAttempt;
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::suites::TEXT_CASES;
use crate::world::{MODEL, Settings, World, broken, eventually, good, weak};

const SUITE: &str = "output-quality";
const JUDGE: &str = "examiner";
const VOTES: usize = 3;

/// A world in which one member of the fleet is a judge, and judges the texts.
async fn world(endpoints: Vec<EndpointSpec>, judge: EndpointSpec) -> World {
    world_on(None, endpoints, judge).await
}

async fn world_on(database: Option<String>, endpoints: Vec<EndpointSpec>, judge: EndpointSpec) -> World {
    let mut fleet = endpoints;
    fleet.push(EndpointSpec { name: good(JUDGE).name, ..judge });
    let world = match database {
        Some(url) => World::on(url, fleet).await,
        None => World::new(fleet).await,
    };
    judged_by(&world, JUDGE, "The answer is a number or a name, and right.");
    configure(&world, &providers(&world), "price = { input_per_mtok = 2.0, output_per_mtok = 8.0 }");
    world
}

fn providers(world: &World) -> Vec<(String, String)> {
    world.fleet.endpoints().map(|(id, url)| (id.to_string(), url)).collect()
}

/// Everybody but the judge is an endpoint.
fn configure(world: &World, providers: &[(String, String)], judge: &str) {
    let (judges, endpoints): (Vec<_>, Vec<_>) = providers.iter().cloned().partition(|(id, _)| id == JUDGE);
    let settings = Settings { budget: "usd_per_sweep = 5.0".to_owned(), ..Settings::default() };
    world.configure_for(&endpoints, &settings);
    let mut text = std::fs::read_to_string(world.config_path()).unwrap();
    for (id, url) in judges {
        text += &format!(
            "\n[[provider]]\nid = \"{id}\"\nbase_url = \"{url}\"\nlimits = {{ concurrency = 2 }}\n\
             retry = {{ attempts = 1, over = \"20ms\" }}\n"
        );
    }
    if !judge.is_empty() {
        text += &format!("\n[[judge]]\nprovider = \"{JUDGE}\"\nmodel = \"{MODEL}\"\n{judge}\n");
    }
    std::fs::write(world.config_path(), text).unwrap();
}

/// Gives the texts a judge in place of their scorers.
fn judged_by(world: &World, provider: &str, rubric: &str) {
    let (header, cases) = (format!("suites/{SUITE}/suite.toml"), format!("suites/{SUITE}/cases.jsonl"));
    let text = std::fs::read_to_string(world.path(&header)).unwrap();
    let revision = format!("revision = \"{}\"", rubric.len());
    std::fs::write(world.path(&header), text.replace("revision = \"1\"", &revision)).unwrap();
    let text = std::fs::read_to_string(world.path(&cases)).unwrap();
    let lines = text.lines().map(|line| {
        let mut case: Value = serde_json::from_str(line).unwrap();
        case["scorers"] =
            json!([{"type": "judge", "rubric": rubric, "provider": provider, "model": MODEL, "votes": VOTES}]);
        case.to_string()
    });
    std::fs::write(world.path(&cases), lines.collect::<Vec<_>>().join("\n")).unwrap();
}

fn asked_of(world: &World, id: &str) -> usize {
    world.fleet.counts(id).unwrap().requests as usize
}

async fn texts(world: &World) -> Vec<StoredAttempt> {
    world.attempts().await.into_iter().filter(|a| a.attempt.key.suite.as_str() == SUITE).collect()
}

async fn judges_say_what_is_true(world: World) {
    let said = world.json(&["sweep", "--suite", SUITE, "--full", "--json"]).await;
    let row = |id: &str| said["endpoints"].as_array().unwrap().iter().find(|r| r["id"] == id).unwrap().clone();
    assert_eq!((&row("alder")["pass"], &row("alder")["unscored"]), (&json!(TEXT_CASES), &json!(0)), "{said}");
    let wrong = world.fleet.log("birch").unwrap().iter().filter(|outcome| outcome.base_failure).count();
    assert_eq!(
        (&row("birch")["fail"], &row("birch")["faults"]["WrongAnswer"]),
        (&json!(wrong), &json!(wrong)),
        "{said}"
    );
    assert!(wrong > 0, "the draw gives birch a wrong answer");
    assert_eq!(asked_of(&world, JUDGE), 2 * TEXT_CASES * VOTES);
    let store = world.store().await;
    let (mut cost, mut shown) = (0, 0);
    for stored in texts(&world).await {
        let votes = store.votes(&stored.attempt.key).await.unwrap();
        assert_eq!(votes.len(), VOTES);
        assert!(votes.iter().all(|vote| vote.part.is_vote()));
        let of_votes: i64 = votes.iter().map(|vote| vote.cost_nanousd).sum();
        assert!(of_votes > 0 && stored.attempt.cost_nanousd > of_votes, "{}", stored.attempt.cost_nanousd);
        cost += stored.attempt.cost_nanousd;
        for vote in &votes {
            let asked = String::from_utf8(vote.transcript.request.to_vec()).unwrap();
            assert!(!asked.contains("alder") && !asked.contains("birch"), "nobody is named: {asked}");
        }
        if shown == 0 {
            let detail = world.json(&["attempt", &stored.attempt.id.to_string(), "--json"]).await;
            assert_eq!(detail["votes"].as_array().unwrap().len(), VOTES, "{detail}");
            assert!(detail["votes"][0]["transcript"]["response"].as_str().unwrap().contains("verdict"), "{detail}");
            shown = 1;
        }
    }
    let record = store.sweeps(None, None, 1, None).await.unwrap().items.remove(0);
    assert_eq!(record.spent_nanousd, cost, "what judges cost is the sweep's");
    assert!(record.reserved_nanousd >= cost, "and in its reserve: {} {cost}", record.reserved_nanousd);
    assert!(store.open_exchanges(record.id).await.unwrap().is_empty());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn judges_say_what_is_true_on_sqlite() {
    judges_say_what_is_true(world(vec![good("alder"), weak("birch", 0.4)], good(JUDGE)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn judges_say_what_is_true_on_postgres() {
    let database = crate::postgres::migrated_database().await;
    let world = world_on(Some(database), vec![good("alder"), weak("birch", 0.4)], good(JUDGE)).await;
    judges_say_what_is_true(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_judges_an_answer_of_somebody_else() {
    let world = world(vec![good("alder"), broken("birch", &[("served_by_other", 1.0)])], good(JUDGE)).await;
    let pinned = std::fs::read_to_string(world.config_path()).unwrap();
    let pinned = pinned.replace("[[model.endpoint]]\n", "[[model.endpoint]]\nserved_by = \"Lab\"\n");
    std::fs::write(world.config_path(), pinned).unwrap();
    world.json(&["sweep", "--suite", SUITE, "--full", "--json"]).await;
    for stored in texts(&world).await {
        let wanted = match stored.attempt.key.endpoint.as_str() {
            "birch" => Verdict::Unscored(UnscoredWhy::Provenance),
            _ => Verdict::Pass,
        };
        assert_eq!(stored.attempt.judgement.verdict, wanted, "{:?}", stored.attempt.judgement);
    }
    assert_eq!(asked_of(&world, "birch"), TEXT_CASES);
    assert_eq!(asked_of(&world, JUDGE), TEXT_CASES * VOTES, "about alder's answers alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_verdict_of_judges_there_is_none() {
    let failing = [
        EndpointSpec { error_rate: 1.0, ..good(JUDGE) },
        // An answer, and not in the form.
        broken(JUDGE, &[("reasoning_only", 1.0)]),
        broken(JUDGE, &[("finish_unknown", 1.0), ("stream_cut", 1.0), ("ok_empty_body_for_429", 1.0)]),
    ];
    for judge in failing {
        let world = world(vec![good("alder")], judge).await;
        world.json(&["sweep", "--suite", SUITE, "--full", "--json"]).await;
        for stored in texts(&world).await {
            let judgement = &stored.attempt.judgement;
            assert_eq!(judgement.verdict, Verdict::Unscored(UnscoredWhy::Ours), "{judgement:?}");
            assert!(judgement.score.is_none() && judgement.explanation.contains("judge missing"), "{judgement:?}");
        }
        unscored_is_neither_passed_nor_failed(&world).await;
    }
}

/// Answers without a score are in no rate, of quality or of delivery, and do not count as failed where they pass now.
async fn unscored_is_neither_passed_nor_failed(world: &World) {
    let card = &world.json(&["scorecard", "--json"]).await["items"][0]["suites"][0];
    assert_eq!((&card["attempts"], &card["unscored"]), (&json!(TEXT_CASES), &json!(TEXT_CASES)), "{card}");
    assert_eq!((&card["delivered"], &card["asked"]), (&json!(TEXT_CASES), &json!(0)), "{card}");
    assert_eq!((&card["first_try"], &card["delivery"]), (&Value::Null, &Value::Null), "{card}");
    let cases = world.path(&format!("suites/{SUITE}/cases.jsonl"));
    let header = world.path(&format!("suites/{SUITE}/suite.toml"));
    let text = std::fs::read_to_string(&cases).unwrap();
    let lines = text.lines().map(|line| {
        let mut case: Value = serde_json::from_str(line).unwrap();
        case["scorers"] = json!([{"type": "length", "min_chars": 1}]);
        case.to_string()
    });
    std::fs::write(&cases, lines.collect::<Vec<_>>().join("\n")).unwrap();
    // A label stands for one content, here as in a sweep.
    let refused = world.run(&["rescore", "--suite", SUITE]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("give it a new revision"), "{}", refused.stderr);
    let text = std::fs::read_to_string(&header).unwrap();
    let lines = text.lines().map(|line| if line.starts_with("revision") { "revision = \"by form\"" } else { line });
    std::fs::write(&header, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let report = world.json(&["rescore", "--suite", SUITE, "--json"]).await;
    let all = json!({"answers": TEXT_CASES, "scored_before": 0, "passed_before": 0, "scored_now": TEXT_CASES,
                     "passes_now": TEXT_CASES});
    assert_eq!(report[0]["endpoints"]["alder"], all, "{report}");
    let told = world.run(&["rescore", "--suite", SUITE]).await.stdout;
    assert!(told.contains("none scored") && told.contains("(100.0 %)"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_that_is_not_configured_costs_nothing() {
    let world = world(vec![good("alder")], good(JUDGE)).await;
    configure(&world, &providers(&world), "");
    let said = world.json(&["sweep", "--suite", SUITE, "--full", "--json"]).await;
    assert_eq!(
        (&said["endpoints"][0]["unscored"], &said["endpoints"][0]["cost_usd"]),
        (&json!(TEXT_CASES), &json!(0.0))
    );
    assert_eq!(world.requests(), 0, "no answer is asked for that nobody can judge");
    let stored = texts(&world).await;
    assert!(stored.iter().all(|a| a.attempt.judgement.explanation.contains("[[judge]]")), "{stored:?}");
    // Nothing was sent, so nothing was pruned.
    let id = stored[0].attempt.id.to_string();
    for args in [vec!["attempt", &id], vec!["attempt", &id, "--raw"], vec!["attempt", &id, "--curl"]] {
        let told = world.run(&args).await;
        let told = told.stdout + &told.stderr;
        assert!(told.contains("nothing was sent") && !told.contains("pruned"), "{args:?}: {told}");
    }
    let header = world.path(&format!("suites/{SUITE}/suite.toml"));
    let text = std::fs::read_to_string(&header).unwrap();
    std::fs::write(&header, text.replace("revision = \"", "revision = \"next ")).unwrap();
    judged_by(&world, JUDGE, "Another rubric.");
    let report = world.json(&["rescore", "--suite", SUITE, "--json"]).await;
    assert_eq!(report[0]["skipped"], json!({"nobody was asked": TEXT_CASES}), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_judges_himself() {
    let world = world(vec![good("alder")], good(JUDGE)).await;
    judged_by(&world, "alder", "The answer is right, by its own account.");
    let ran = world.run(&["sweep", "--suite", SUITE, "--json"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("alder") && ran.stderr.contains("judge"), "{}", ran.stderr);
    assert_eq!(world.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_for_before_a_kill_is_not_asked_again() {
    const ANSWERS: usize = 4;
    const IN_FLIGHT: usize = 2;
    let world = world(vec![good("alder")], good(JUDGE)).await;
    let gate = Gate::before(&world.fleet, ANSWERS).await;
    configure(&world, &gate.providers, "price = { input_per_mtok = 2.0, output_per_mtok = 8.0 }");
    let store = world.store().await;
    let args = ["sweep", "--suite", SUITE, "--full", "--json"];
    let mut first = world.exactod(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let kept = eventually("some votes are kept, others in flight", async || {
        let sweep = store.running_sweeps(None).await.unwrap().first()?.record.id;
        let open = store.open_exchanges(sweep).await.unwrap();
        let mut kept: Vec<Exchange> = open.into_values().flat_map(|of| of.into_values()).collect();
        for key in store.done_keys(sweep).await.unwrap() {
            kept.extend(store.votes(&key).await.unwrap());
        }
        let votes = kept.iter().filter(|e| e.part.is_vote()).count();
        (votes == ANSWERS && asked_of(&world, JUDGE) == ANSWERS + IN_FLIGHT).then_some(kept)
    })
    .await;
    first.start_kill().unwrap();
    first.wait().await.unwrap();
    gate.open();
    let said = world.json(&args).await;
    assert_eq!((&said["endpoints"][0]["pass"], &said["sweeps"]), (&json!(TEXT_CASES), &json!(1)), "{said}");
    assert_eq!(asked_of(&world, JUDGE), TEXT_CASES * VOTES + IN_FLIGHT, "only the votes in flight are asked again");
    assert_eq!(asked_of(&world, "alder"), TEXT_CASES, "no answer is asked for again");
    for before in kept.iter().filter(|e| e.part.is_vote()) {
        let after = store.votes(&before.key).await.unwrap();
        assert!(after.contains(before), "{} of {:?}", before.part, before.key);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_votes_judge_again_and_nobody_is_asked() {
    let world = world(vec![good("alder"), weak("birch", 0.4)], good(JUDGE)).await;
    world.json(&["sweep", "--suite", SUITE, "--full", "--json"]).await;
    let first: Vec<(String, Verdict)> = verdicts(&world).await;
    let requests = world.requests();
    // The same question, judged with a length limit beside it: another digest, the same votes.
    let cases = format!("suites/{SUITE}/cases.jsonl");
    let header = format!("suites/{SUITE}/suite.toml");
    let text = std::fs::read_to_string(world.path(&cases)).unwrap();
    let lines = text.lines().map(|line| {
        let mut case: Value = serde_json::from_str(line).unwrap();
        case["scorers"].as_array_mut().unwrap().push(json!({"type": "length", "min_chars": 1}));
        case.to_string()
    });
    let longer = lines.collect::<Vec<_>>().join("\n");
    std::fs::write(world.path(&cases), &longer).unwrap();
    let relabel = |to: &str| {
        let text = std::fs::read_to_string(world.path(&header)).unwrap();
        let old = text.lines().find(|l| l.starts_with("revision")).unwrap().to_owned();
        std::fs::write(world.path(&header), text.replace(&old, &format!("revision = \"{to}\""))).unwrap();
    };
    relabel("again");
    let report = &world.json(&["rescore", "--suite", SUITE, "--json"]).await[0];
    assert_eq!((&report["rescored"], &report["changed"]), (&json!(2 * TEXT_CASES), &json!(0)), "{report}");
    // Another rubric is another question.
    std::fs::write(world.path(&cases), longer.replace("and right.", "and right, in words.")).unwrap();
    relabel("other");
    let report = &world.json(&["rescore", "--suite", SUITE, "--json"]).await[0];
    assert_eq!(report["rescored"], json!(0), "{report}");
    assert_eq!(report["skipped"]["its judges were not asked this question"], json!(2 * TEXT_CASES), "{report}");
    assert_eq!((world.requests(), verdicts(&world).await), (requests, first));
    let check = world.json(&["db", "check", "--json"]).await;
    assert_eq!(check["rows"]["exchanges"], json!(2 * TEXT_CASES * VOTES), "{check}");
}

async fn verdicts(world: &World) -> Vec<(String, Verdict)> {
    texts(world).await.into_iter().map(|a| (a.attempt.id.to_string(), a.attempt.judgement.verdict)).collect()
}
