//! The shipped suite of the wire contract against the simulator: the sound endpoint passes everything, and every defect
//! that breaks the wire is named by its Fault.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use exactod::domain::{CaseId, Fault};
use exactod::provider::read_answer;
use exactod::runner::wire_bytes;
use exactod::sim::{self, Expected, Injection, Library, Outcome, SimSpec, catalogue};
use exactod::store::{AttemptFilter, Store, StoreOptions};
use exactod::suites::{Drawer, shipped};
use serde_json::{Value, json};

use crate::world::{Ran, Settings, broken, config_text, exactod, good, model};

const SUITE: &str = "wire-contract";
const HEALTHY: &str = "healthy";

fn drawer() -> Arc<Drawer> {
    let suite = shipped().unwrap().into_iter().find(|suite| suite.name.as_str() == SUITE).unwrap();
    Arc::new(Drawer::new(suite).unwrap())
}

/// The case without its way of being asked: the fleet cannot tell the two from each other by what they say.
fn base(case: &CaseId) -> String {
    case.as_str().trim_end_matches("-stream").trim_end_matches("-plain").to_owned()
}

/// Not looked for here: what acts by the time, and what only two answers show together (`the_stream_says_the_same`).
fn is_seen_in_one_answer(id: &str) -> bool {
    !["rate_limit_bursts", "cold_start_empty", "reasoning_missing_in_stream"].contains(&id)
}

/// Compared for one defect alone: cases that are judged by more than the wire, so that what an answer says can fail them
/// as well, and one that asks for no usage, so that nothing can be seen of it.
const COMPARED_BY: &[(&str, &str)] =
    &[("length", "max_tokens_capped"), ("json-schema", "json_schema_downgraded"), ("usage-unasked", "done_missing")];

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_endpoint_passes_and_every_defect_is_named() {
    let drawer = drawer();
    let defects: Vec<&str> = catalogue().iter().map(|d| d.id).filter(|id| is_seen_in_one_answer(id)).collect();
    let mut endpoints = vec![good(HEALTHY)];
    endpoints.extend(defects.iter().map(|id| broken(id, &[(id, 1.0)])));
    // Reasoning comes with the answers where a defect is about it.
    for endpoint in &mut endpoints {
        let needs_reasoning = endpoint.injections.iter().any(|i: &Injection| i.defect.contains("reasoning"));
        if needs_reasoning {
            endpoint.reasoning = sim::spec::Reasoning::Always;
        }
    }
    let spec = SimSpec { model: model(), seed: 5, endpoints };
    let library = Arc::new(Library::new(vec![Arc::clone(&drawer)]));
    let fleet = sim::start(&spec, library, 5, IpAddr::V4(Ipv4Addr::LOCALHOST)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("store.db").display());
    let providers: Vec<(String, String)> = fleet.endpoints().map(|(id, url)| (id.to_string(), url)).collect();
    let provider = "limits = { concurrency = 2 }\nretry = { attempts = 0, over = \"20ms\" }".to_owned();
    let text = config_text(&database, &providers, &Settings { provider, ..Settings::default() });
    let config = folder.path().join("exactod.toml");
    std::fs::write(&config, text.replace("paths = [\"suites\"]", "paths = []")).unwrap();
    let args = ["sweep", "--suite", SUITE, "--full", "--json"];
    let ran = Ran::of(exactod().arg("--config").arg(&config).args(args)).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let judged = judged(&database).await;
    let cases = drawer.suite().cases.len();
    assert_eq!(judged[HEALTHY].values().map(Vec::len).sum::<usize>(), cases);
    let failed: Vec<_> = judged[HEALTHY].iter().filter(|(_, faults)| faults.iter().any(|f| f.0.is_some())).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for id in &defects {
        let truth = by_case(&fleet.log(id).unwrap());
        let is_compared = |case: &str| COMPARED_BY.iter().all(|(c, by)| *c != case || by == id);
        for (case, outcomes) in truth.iter().filter(|(case, _)| is_compared(case)) {
            let found = &judged[*id][case];
            seen.extend(found.iter().filter_map(|(fault, _)| *fault));
            if !agree(outcomes, found) {
                wrong.push(format!("{id} {case}: truth {outcomes:?}, judged {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
    // Every Fault that a defect can show on the wire was named somewhere.
    let possible = catalogue().iter().filter(|d| defects.contains(&d.id)).flat_map(|d| d.wire.iter().copied());
    let missed: BTreeSet<Fault> = possible.filter(|fault| !seen.contains(fault)).collect();
    assert!(missed.is_empty(), "{missed:?}");
    fleet.stop().await;
}

/// What no single answer shows: a stream that says something else than the plain answer, or leaves something out.
#[tokio::test(flavor = "multi_thread")]
async fn the_stream_says_the_same() {
    let drawer = drawer();
    let reasoning =
        |endpoint: sim::EndpointSpec| sim::EndpointSpec { reasoning: sim::spec::Reasoning::Always, ..endpoint };
    let endpoints = vec![
        good(HEALTHY),
        broken("differs", &[("stream_differs", 1.0)]),
        broken("untyped", &[("stream_type_not_coerced", 1.0)]),
        reasoning(broken("silent", &[("reasoning_missing_in_stream", 1.0)])),
        reasoning(good("thinking")),
    ];
    let spec = SimSpec { model: model(), seed: 5, endpoints };
    let library = Arc::new(Library::new(vec![Arc::clone(&drawer)]));
    let fleet = sim::start(&spec, library, 5, IpAddr::V4(Ipv4Addr::LOCALHOST)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("exactod.toml");
    let database = format!("sqlite://{}", folder.path().join("store.db").display());
    let providers: Vec<(String, String)> = fleet.endpoints().map(|(id, url)| (id.to_string(), url)).collect();
    let text = config_text(&database, &providers, &Settings::default());
    std::fs::write(&config, text.replace("paths = [\"suites\"]", "paths = []")).unwrap();
    let run = async |args: &[&str]| Ran::of(exactod().arg("--config").arg(&config).args(args)).await;
    assert_eq!(run(&["sweep", "--suite", SUITE, "--full", "--json"]).await.code, 0);
    let cards = run(&["scorecard", "--json"]).await.json();
    let pairs = |id: &str| {
        let card = cards["items"].as_array().unwrap().iter().find(|card| card["endpoint"] == id).unwrap();
        card["suites"][0]["pairs"].clone()
    };
    let all = drawer.suite().cases.len() / 2;
    let whole = drawer.suite().cases.iter().filter(|c| c.pair.as_ref().is_some_and(|p| p.content));
    let (called, compared): (Vec<_>, Vec<_>) = whole.partition(|case| case.tools.is_some());
    let (called, compared) = (called.len(), compared.len());
    assert!(called >= 7 && compared >= 2);
    for sound in [HEALTHY, "thinking"] {
        assert_eq!((&pairs(sound)["pairs"], &pairs(sound)["differing"]), (&json!(all), &json!(0)), "{}", pairs(sound));
    }
    // Words may differ from draw to draw: only where none are drawn they must not. Calls stay as they are.
    assert_eq!(pairs("differs")["kinds"], json!({"content": compared}), "{}", pairs("differs"));
    assert_eq!(pairs("silent")["kinds"]["reasoning"], json!(all), "{}", pairs("silent"));
    // Every case with a number or a boolean at the top of its arguments; elsewhere there is nothing that could be text.
    assert_eq!(pairs("untyped")["kinds"], json!({"arguments": 4, "content": 4}), "{}", pairs("untyped"));
    let told = run(&["scorecard"]).await.stdout;
    assert!(told.contains(&format!("in {compared} of {all} pairs")) && told.contains("content 2"), "{told}");
    let csv = run(&["scorecard", "--format", "csv", "--out", "-"]).await.stdout;
    assert!(csv.lines().next().unwrap().contains(",stream_pairs,stream_pairs_differing,"), "{csv}");
    fleet.stop().await;
}

type Found = (Option<Fault>, String);

/// The primary Faults of every endpoint's answers, by what was asked.
async fn judged(database: &str) -> BTreeMap<String, BTreeMap<String, Vec<Found>>> {
    let store = Store::open_migrated(database, &StoreOptions::default()).await.unwrap();
    let mut out: BTreeMap<String, BTreeMap<String, Vec<Found>>> = BTreeMap::new();
    let mut cursor = None;
    loop {
        let page = store.attempts(&AttemptFilter::default(), 500, cursor.as_deref()).await.unwrap();
        for listed in page.items {
            let attempt = listed.attempt;
            let of_endpoint = out.entry(attempt.key.endpoint.to_string()).or_default();
            let found = (attempt.judgement.fault, attempt.judgement.explanation);
            of_endpoint.entry(base(&attempt.key.case)).or_default().push(found);
        }
        cursor = page.next;
        if cursor.is_none() {
            store.close().await;
            return out;
        }
    }
}

fn by_case(log: &[Outcome]) -> BTreeMap<String, Vec<Expected>> {
    let mut out: BTreeMap<String, Vec<Expected>> = BTreeMap::new();
    for outcome in log {
        let (_, case) = outcome.case.as_ref().expect("the fleet knows every case");
        out.entry(base(case)).or_default().push(outcome.wire);
    }
    out
}

/// Whether the two answers, in some order, were judged as the truth says.
fn agree(truth: &[Expected], found: &[Found]) -> bool {
    assert_eq!((truth.len(), found.len()), (2, 2));
    let holds = |a: usize, b: usize| truth[0].agrees(found[a].0) && truth[1].agrees(found[b].0);
    holds(0, 1) || holds(1, 0)
}

/// Every point of the checklist (defects, section 14) has an answer that keeps it and one that breaks it.
#[test]
fn every_point_of_the_checklist_is_proved() {
    let drawer = drawer();
    let (mut kept, mut broken) = (0, BTreeMap::<String, usize>::new());
    for case in &drawer.suite().cases {
        let instance = drawer.draw(&case.id, "7", 0).unwrap();
        for answer in instance.answers.iter().flat_map(|answers| answers.items()) {
            match answer["fault"].as_str() {
                None => kept += 1,
                Some(fault) => *broken.entry(fault.to_owned()).or_default() += 1,
            }
            let bytes = wire_bytes(answer.as_object().unwrap()).expect("all of them are wire answers");
            let streamed = read_answer(&bytes, &instance).map(|completion| completion.streamed);
            assert!(streamed.is_err() || answer["fault"] == json!("WireShape") || streamed == Ok(instance.stream()));
        }
    }
    assert!(kept >= 30, "{kept}");
    for fault in [
        "WireShape",
        "BadCallIndex",
        "BadCallId",
        "BadUsage",
        "WrongFinishReason",
        "Truncated",
        "StreamError",
        "MalformedBody",
        "CorruptText",
        "ParameterIgnored",
        "LimitLowered",
        "InvalidJson",
        "EmptyAnswer",
    ] {
        assert!(broken.get(fault).is_some_and(|n| *n >= 1), "{fault}: {broken:?}");
    }
    let malformed = drawer.suite().cases.iter().filter(|case| case.id.as_str().starts_with("history-malformed"));
    let sent: Vec<Value> = malformed.map(|case| case.messages.value()).collect();
    assert_eq!(sent.len(), 2, "history tolerance: an old malformed call is asked both ways");
}
