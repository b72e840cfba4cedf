//! Kinds of scorers and keys of suites that only a whole sweep shows: programs and facts of the run, asserts, repeats,
//! samples, broken cases, both numbers of BFCL.

use exactod::domain::{UnscoredWhy, Verdict};
use exactod::store::StoredAttempt;
use serde_json::{Value, json};

use crate::odd_server::{http, serve};
use crate::suites::TEXT_CASES;
use crate::world::{Ran, Settings, World, good, weak};

const SUITE: &str = "output-quality";

fn read(world: &World, file: &str) -> String {
    std::fs::read_to_string(world.path(&format!("suites/{SUITE}/{file}"))).unwrap()
}

fn write(world: &World, file: &str, text: &str) {
    std::fs::write(world.path(&format!("suites/{SUITE}/{file}")), text).unwrap();
}

/// Puts the same scorers (or asserts) into every case, under a new revision.
fn judged_by(world: &World, key: &str, scorers: &Value) {
    let revision = format!("revision = \"{}\"", scorers.to_string().len());
    let header: Vec<String> = read(world, "suite.toml")
        .lines()
        .map(|line| if line.starts_with("revision") { revision.clone() } else { line.to_owned() })
        .collect();
    write(world, "suite.toml", &header.join("\n"));
    let cases: Vec<String> = read(world, "cases.jsonl")
        .lines()
        .map(|line| {
            let mut case: Value = serde_json::from_str(line).unwrap();
            let map = case.as_object_mut().unwrap();
            for gone in ["scorers", "assert", "expected"] {
                map.shift_remove(gone);
            }
            map.insert(key.to_owned(), scorers.clone());
            case.to_string()
        })
        .collect();
    write(world, "cases.jsonl", &cases.join("\n"));
}

/// Adds lines to the config.
fn configure(world: &World, more: &str) {
    world.configure(&Settings::default());
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    std::fs::write(world.config_path(), format!("{text}\n{more}\n")).unwrap();
}

async fn swept(world: &World) -> Vec<StoredAttempt> {
    let before: Vec<_> = world.attempts().await.into_iter().map(|a| a.attempt.id).collect();
    world.json(&["sweep", "--suite", SUITE, "--full", "--json"]).await;
    let mut attempts = world.attempts().await;
    attempts.retain(|a| !before.contains(&a.attempt.id));
    attempts
}

/// A program that is content with answers which begin with a capital letter or a digit.
const GRADER: &str = "[[exec]]\nname = \"grader\"\ncommand = [\"sh\", \"grade.sh\"]\n";
const GRADE: &str = r#"read line
case "$line" in
    *'"version":1'*'"completion":{"content":"'[A-Z0-9]*) echo true ;;
    *) echo '{"score": 0, "reason": "begins small", "error_type": "own:small"}' ;;
esac"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_judges_where_the_operator_allows_it() {
    let world = World::new(vec![good("alder")]).await;
    judged_by(&world, "scorers", &json!([{"type": "exec", "program": "grader", "version": "1"}]));
    for stored in swept(&world).await {
        let judgement = &stored.attempt.judgement;
        assert_eq!(judgement.verdict, Verdict::Unscored(UnscoredWhy::Ours), "nothing is run: {judgement:?}");
        assert!(judgement.explanation.contains("[[exec]]"), "{judgement:?}");
    }
    std::fs::write(world.path("grade.sh"), GRADE).unwrap();
    configure(&world, GRADER);
    let attempts = swept(&world).await;
    assert_eq!(attempts.len(), TEXT_CASES);
    for stored in &attempts {
        // The others answer with a sum: `= 12`.
        let good = stored.attempt.key.case.as_str() == "capital";
        let judgement = &stored.attempt.judgement;
        assert_eq!(judgement.verdict == Verdict::Pass, good, "{}: {judgement:?}", stored.attempt.key.case);
        assert_eq!(judgement.error_type.as_deref(), (!good).then_some("own:small"));
    }

    // Judged again by what the program says now, without asking anybody.
    std::fs::write(world.path("grade.sh"), "cat >/dev/null; echo 0").unwrap();
    judged_by(&world, "scorers", &json!([{"type": "exec", "program": "grader", "version": "2.0"}]));
    let requests = world.requests();
    let report = world.json(&["rescore", "--suite", SUITE, "--json"]).await;
    assert_eq!(report[0]["rescored"], 2 * TEXT_CASES, "{report}");
    assert_eq!(report[0]["endpoints"]["alder"]["passes_now"], 0);
    std::fs::write(world.path("grade.sh"), "exit 3").unwrap();
    judged_by(&world, "scorers", &json!([{"type": "exec", "program": "grader", "version": "3.00"}]));
    let report = world.json(&["rescore", "--suite", SUITE, "--json"]).await;
    assert_eq!(report[0]["skipped"]["a program that judges it gave no verdict"], 2 * TEXT_CASES, "{report}");
    assert_eq!(world.requests(), requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_prove_and_score_when_they_are_told_to() {
    let world = World::new(vec![good("alder")]).await;
    judged_by(&world, "scorers", &json!([{"type": "exec", "program": "grader", "version": "1"}]));
    std::fs::write(world.path("grade.sh"), "cat >/dev/null; echo false").unwrap();
    configure(&world, GRADER);
    let folder = world.path(&format!("suites/{SUITE}"));
    let folder = folder.to_str().unwrap();
    let check = |more: &'static [&str]| {
        let args: Vec<&str> = [&["suite", "check", folder, "--draws", "1"], more].concat();
        let mut command = world.exactod(&args);
        async move { Ran::of(&mut command).await }
    };
    assert_eq!(check(&[]).await.code, 0, "without programs nothing is proved, and nothing is wrong");
    let Ran { code, stderr, .. } = check(&["--exec"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("the reference answer must pass") && stderr.contains("the program gives 0"), "{stderr}");

    let row = json!({"case_id": "capital", "response": {"content": "Lima"}}).to_string() + "\n";
    let score = |more: &'static [&str]| {
        let args = [&["score", "--suite", folder], more].concat();
        let row = row.clone();
        let mut command = world.exactod(&args);
        async move {
            let folder = tempfile::tempdir().unwrap();
            let input = folder.path().join("rows");
            std::fs::write(&input, row).unwrap();
            command.stdin(std::fs::File::open(&input).unwrap());
            Ran::of(&mut command).await
        }
    };
    let verdict = |ran: Ran| serde_json::from_str::<Value>(&ran.stdout).unwrap()["verdict"].clone();
    assert_eq!(verdict(score(&[]).await), "Unscored(ours)");
    assert_eq!(verdict(score(&["--exec"]).await), "Fail(WrongAnswer)");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_took_is_judged_in_sweeps_and_again() {
    let world = World::new(vec![good("alder")]).await;
    judged_by(&world, "scorers", &json!([{"type": "latency", "max_ms": 3_600_000}, {"type": "cost", "max_usd": 0}]));
    let dear = swept(&world).await;
    assert_eq!(dear.len(), TEXT_CASES);
    for stored in &dear {
        let judgement = &stored.attempt.judgement;
        assert_eq!((judgement.score, judgement.error_type.as_deref()), (Some(0.5), Some("cost:too_high")));
    }
    judged_by(&world, "assert", &json!([{"type": "latency", "threshold": 0}, {"type": "cost", "threshold": 1}]));
    let report = world.json(&["rescore", "--suite", SUITE, "--json"]).await;
    assert_eq!(report[0]["rescored"], TEXT_CASES, "{report}");
    let why = report[0]["examples"].as_array().unwrap();
    assert!(why.is_empty(), "all fail, as before: {report}");
    for stored in swept(&world).await {
        assert_eq!(stored.attempt.judgement.error_type.as_deref(), Some("latency:too_slow"));
    }
    // Without a price nobody knows what an answer cost.
    world.configure(&Settings { endpoint: String::new(), ..Settings::default() });
    judged_by(&world, "scorers", &json!([{"type": "cost", "max_usd": 1}]));
    for stored in swept(&world).await {
        assert_eq!(stored.attempt.judgement.verdict, Verdict::Unscored(UnscoredWhy::Ours));
    }
}

/// The header with lines before its first table and at its end.
fn header(world: &World, top: &str, end: &str) {
    let text = read(world, "suite.toml").replace("[request]", &format!("{top}\n[request]"));
    write(world, "suite.toml", &format!("{text}\n{end}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_says_how_often_and_which_of_its_cases_are_asked() {
    let world = World::new(vec![good("alder"), weak("birch", 0.5)]).await;
    let ids: Vec<String> = read(&world, "cases.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    let out = ids.last().unwrap();
    header(
        &world,
        &format!("exclude = [\"{out}\"]"),
        "[epochs]\ncount = 3\nreducer = \"at_least(2)\"\n\
         [sampling]\nlimit = 3\nstrategy = \"stratified\"\nby = \"category\"\nseed = 5\n\
         [[metrics]]\nname = \"accuracy\"\n[[metrics]]\nname = \"delivery\"\ngroup_by = \"category\"",
    );
    let asked = |attempts: &[StoredAttempt]| {
        let mut cases: Vec<(String, u32)> =
            attempts.iter().map(|a| (a.attempt.key.case.to_string(), a.attempt.key.epoch)).collect();
        cases.sort();
        cases
    };
    let first = swept(&world).await;
    assert_eq!(first.len(), 2 * 3 * 3, "two endpoints, three cases, three repeats");
    assert!(asked(&first).iter().all(|(case, _)| case != out));
    assert_eq!(asked(&swept(&world).await), asked(&first), "a seed takes the same cases every time");
    let stored = world.store().await.sweep(first[0].attempt.key.sweep).await.unwrap().unwrap();
    assert!(!stored.plan.unwrap().gives_evidence, "a chosen sample decides nothing");

    let whole = ["sweep", "--suite", SUITE, "--full", "--epochs", "1", "--limit", "99", "--include-broken", "--json"];
    let said = world.json(&whole).await;
    assert!(said["endpoints"].as_array().unwrap().iter().all(|row| row["attempts"] == TEXT_CASES), "{said}");

    let cards = world.json(&["scorecard", "--json"]).await;
    let card = |name: &str| {
        let cards = cards["items"].as_array().unwrap();
        cards.iter().find(|card| card["endpoint"] == name).unwrap()["suites"][0].clone()
    };
    let alder = card("alder");
    let reduced = json!({"reducer": "at_least(2)", "value": 1.0, "cases": 6, "unscored": TEXT_CASES - 1});
    assert_eq!(alder["reduced"], reduced, "one repeat is too few: {alder}");
    assert_eq!(alder["broken"], json!({"pass": 1, "fail": 0, "unscored": 0, "rate_with": 1.0}));
    assert_eq!(alder["attempts"], 18 + TEXT_CASES - 1, "broken cases are in no other figure");
    assert_eq!(alder["metrics"][0], json!({"name": "accuracy", "value": 1.0, "count": 6}));
    let by_category: Vec<&Value> = alder["metrics"].as_array().unwrap()[1..].iter().collect();
    assert!(!by_category.is_empty() && by_category.iter().all(|m| m["value"] == 1.0), "{alder}");
    let counted: u64 = by_category.iter().map(|m| m["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, 18 + TEXT_CASES as u64 - 1);

    let table = world.run(&["scorecard", "--metrics"]).await.stdout;
    for line in ["at_least(2) 100.0 %", "excluded as broken: 1 of 1 passed", "accuracy 100.0 %"] {
        assert!(table.contains(line), "{table}");
    }
    let csv = world.run(&["scorecard", "--format", "csv", "--out", "-"]).await.stdout;
    let mut rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = rows.next().unwrap();
    let alder = rows.find(|row| row.contains(&"alder")).unwrap();
    let cell = |name: &str| alder[names.iter().position(|n| *n == name).unwrap()];
    assert_eq!((cell("pass_k2"), cell("pass_k3"), cell("pass_k4")), ("1.00000", "1.00000", ""));
    assert_eq!((cell("reducer"), cell("reduced"), cell("reduced_cases")), ("at_least(2)", "1.00000", "6"));
    assert!(cell("metrics").starts_with("accuracy 1.00000; delivery["), "{csv}");
    let markdown = world.run(&["scorecard", "--format", "md", "--out", "-"]).await.stdout;
    assert!(markdown.contains("| pass_k2 |") && markdown.contains("at_least(2)"), "{markdown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_numbers_of_bfcl_are_told() {
    // A malformed call, whatever is asked.
    let url = serve(|_| {
        let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\": "}});
        let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18});
        let choice = json!({"index": 0, "message": message, "finish_reason": "tool_calls"});
        let body = json!({"id": "a", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage});
        http("200 OK", "application/json", body.to_string().as_bytes())
    })
    .await;
    let world = World::new(vec![]).await;
    world.configure_for(&[("alder".to_owned(), url)], &Settings::default());
    let folder = world.path("suites/mini");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |strict: bool| {
        let header = format!(
            "version = 1\nname = \"mini\"\nkind = [\"tool_use\"]\nrevision = \"{strict}\"\ndefault = false\n\
             [[scorers]]\ntype = \"bfcl\"\nstrict_abstention = {strict}\n\
             [[metrics]]\nname = \"bad_json\"\nof = \"calls\"\n[[metrics]]\nname = \"schema_accuracy\"\nof = \"calls\"\n"
        );
        std::fs::write(folder.join("suite.toml"), header).unwrap();
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}});
        let case = |id: &str, category: &str| {
            json!({"id": id, "input": id, "category": category, "tools": [tool], "expected": {"category": category}})
                .to_string()
        };
        let cases = [case("a", "irrelevance"), case("b", "live_irrelevance"), case("c", "live_relevance")];
        std::fs::write(folder.join("cases.jsonl"), cases.join("\n")).unwrap();
    };
    for strict in [false, true] {
        write(strict);
        let said = world.json(&["sweep", "--suite", "mini", "--full", "--json"]).await;
        let passed = if strict { 0 } else { 2 };
        assert_eq!(said["endpoints"][0]["pass"], passed, "{said}");
        let cards = world.json(&["scorecard", "--json"]).await;
        let card = &cards["items"][0]["suites"][0];
        let both = json!({"cases": 2, "malformed": 2, "official": 2.0 / 3.0, "strict": 0.0});
        assert_eq!(card["abstention"], both, "whichever of the two the suite gives: {card}");
        let share = |name: &str, value: f64| json!({"name": name, "of": "calls", "value": value, "count": 3});
        assert_eq!(card["metrics"], json!([share("bad_json", 1.0), share("schema_accuracy", 0.0)]));
    }
    let table = world.run(&["scorecard"]).await.stdout;
    assert!(table.contains("66.7 % as the official checker counts, 0.0 % when malformed calls fail"), "{table}");
    let csv = world.run(&["scorecard", "--format", "csv", "--out", "-"]).await.stdout;
    assert!(csv.contains("official_rate,strict_rate,malformed_calls") && csv.contains(",0.66667,0.00000,2,"), "{csv}");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_go_out_in_the_forms_of_other_tools() {
    let world = World::new(vec![good("alder"), weak("birch", 0.0)]).await;
    let said = world.json(&["sweep", "--suite", SUITE, "--full", "--json"]).await;
    let sweep = said["sweep"].as_str().unwrap().to_owned();
    let wrong = said["endpoints"].as_array().unwrap().iter().map(|row| row["fail"].as_u64().unwrap()).sum::<u64>();
    assert!(wrong > 0, "{said}");

    let xml = world.run(&["results", "--format", "junit", "--sweep", &sweep]).await.stdout;
    let all = format!("<testsuites name=\"exactod\" tests=\"{}\" failures=\"{wrong}\" errors=\"0\"", 2 * TEXT_CASES);
    assert!(xml.starts_with("<?xml") && xml.contains(&all), "{xml}");
    assert_eq!(xml.matches("<testcase ").count(), 2 * TEXT_CASES);
    assert_eq!(xml.matches("<failure type=\"WrongAnswer\"").count() as u64, wrong);

    let file = world.path("results.json");
    let path = file.to_str().unwrap();
    let args = ["results", "--format", "promptfoo", "--suite", SUITE, "--endpoint", "birch", "--out", path];
    let ran = world.run(&args).await;
    assert_eq!((ran.code, ran.stdout.trim()), (0, path));
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let results = told["results"]["results"].as_array().unwrap();
    assert_eq!((results.len(), &told["results"]["stats"]["failures"]), (TEXT_CASES, &json!(wrong)));
    for result in results {
        let output = result["response"]["output"].as_str().unwrap();
        let asked = result["prompt"]["raw"].as_str().unwrap();
        assert!(!output.is_empty() && asked.contains("\"role\":\"user\""), "streams, too: {result}");
        assert_eq!(result["success"] == true, result["failureReason"] == 0);
    }
    let none = world.run(&["results", "--format", "promptfoo", "--endpoint", "cedar"]).await;
    assert_eq!(none.code, 0);
    assert!(none.stderr.contains("no attempts"), "{}", none.stderr);
    let unknown = world.run(&["results", "--format", "junit", "--sweep", "x"]).await;
    assert_eq!(unknown.code, 2);
    let help = world.run(&["results", "--help"]).await.stdout;
    assert!(help.contains("junit") && help.contains("promptfoo"), "{help}");
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_added_to_a_finished_sweep() {
    let world = World::new(vec![good("alder"), weak("birch", 0.5)]).await;
    header(&world, "", "[epochs]\ncount = 2\nreducer = \"pass_k(2)\"");
    let first = swept(&world).await;
    let sweep = first[0].attempt.key.sweep.to_string();
    assert_eq!(first.len(), 2 * TEXT_CASES * 2);
    let said = world.json(&["sweep", "--extend", &sweep, "--epochs", "5", "--json"]).await;
    assert!(said["endpoints"].as_array().unwrap().iter().all(|row| row["attempts"] == 3 * TEXT_CASES), "{said}");
    let mut all = world.attempts().await;
    assert_eq!(world.requests() as usize, all.len(), "nothing is asked twice");
    all.retain(|stored| stored.attempt.key.endpoint.as_str() == "alder");
    let mut asked: Vec<(String, u32)> =
        all.iter().map(|a| (a.attempt.key.case.to_string(), a.attempt.key.epoch)).collect();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 5 * TEXT_CASES, "every repeat once");
    let draws = |case: &str| {
        let of = all.iter().filter(|a| a.attempt.key.case.as_str() == case);
        of.map(|a| a.attempt.draw.as_ref().map(Value::to_string)).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!((draws("sum-1") > 1, draws("capital")), (true, 1), "each is a draw of its own");

    let cards = world.json(&["scorecard", "--json"]).await;
    let card = |name: &str| {
        let cards = cards["items"].as_array().unwrap();
        cards.iter().find(|card| card["endpoint"] == name).unwrap()["suites"][0].clone()
    };
    let whole = json!({"reducer": "pass_k(2)", "value": 1.0, "cases": TEXT_CASES, "unscored": 0});
    assert_eq!(card("alder")["reduced"], whole, "repeats of both sweeps are repeats of one case");
    assert_eq!(card("alder")["pass_k"].as_array().unwrap().len(), 4, "up to pass^5");
    assert!(card("birch")["reduced"]["value"].as_f64().unwrap() < 1.0);

    let second = said["sweep"].as_str().unwrap();
    let again = world.run(&["sweep", "--extend", second, "--epochs", "5"]).await;
    assert_eq!(again.code, 1);
    assert!(format!("{}{}", again.stdout, again.stderr).contains("5 times already"), "{again:?}");
    let more = world.json(&["sweep", "--extend", second, "--epochs", "6", "--json"]).await;
    assert!(more["endpoints"].as_array().unwrap().iter().all(|row| row["attempts"] == TEXT_CASES), "{more}");
    for args in [&["sweep", "--extend", &sweep][..], &["sweep", "--extend", "x", "--epochs", "9"]] {
        assert_eq!(world.run(args).await.code, 2, "{args:?}");
    }
}
