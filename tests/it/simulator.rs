//! The simulator against the project's own client and judge, over real HTTP: every answer is judged as the
//! simulator's truth says it must be.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use exactod::clock::SystemClock;
use exactod::domain::{
    CaseInstance, EndpointId, Fault, Judgement, Limits, ModelId, Protocol, Provider, ProviderId, Retry, Timeouts,
};
use exactod::provider::{Client, EndpointLimiter, Reply};
use exactod::scoring::{Judge, judge_delivery};
use exactod::sim::{EndpointSpec, Expected, Injection, Library, RunningSim, SimError, SimSpec, catalogue, start};
use exactod::suites::{Drawer, load_suite};
use tokio_util::sync::CancellationToken;

const MODEL: &str = "lab/m";
/// Prompts from here on are sent to few endpoints only: the tests are in a hurry.
const LONG_BYTES: usize = 8_000;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn drawers() -> Vec<Arc<Drawer>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval_suites");
    let load = |name: &str| {
        let suite = load_suite(&folder.join(name)).expect("the suite loads");
        Arc::new(Drawer::new(Arc::new(suite)).expect("the suite compiles"))
    };
    ["output-quality", "tool-use"].map(load).into()
}

fn instances(drawers: &[Arc<Drawer>], seed: u32) -> Vec<CaseInstance> {
    let seed = format!("{seed:032x}");
    let cases = drawers.iter().flat_map(|drawer| drawer.suite().cases.iter().map(move |case| (drawer, case)));
    cases.map(|(drawer, case)| drawer.draw(&case.id, &seed, 0).expect("a draw")).collect()
}

fn endpoint(name: &str, injections: Vec<Injection>) -> EndpointSpec {
    EndpointSpec { injections, ..EndpointSpec::healthy(EndpointId::new(name).expect("a name")) }
}

fn fleet(endpoints: Vec<EndpointSpec>) -> SimSpec {
    SimSpec { model: ModelId::new(MODEL).expect("a model"), seed: 1, endpoints }
}

fn client(base_url: &str) -> Client {
    let provider = Provider {
        id: ProviderId::new("sim").expect("an id"),
        base_url: base_url.parse().expect("a URL"),
        protocol: Protocol::OpenAiChat,
        api_key: None,
        headers: BTreeMap::new(),
        extra_body: Arc::default(),
        limits: Limits { concurrency: 64, ..Limits::default() },
        timeouts: Timeouts::default(),
        retry: Retry { attempts: 0, over: Duration::from_secs(1) },
        proxy: None,
        ca_file: None,
    };
    Client::new(Arc::new(provider), Arc::new(SystemClock)).expect("a client")
}

async fn attempt(client: &Client, limiter: &EndpointLimiter, instance: &CaseInstance) -> Reply {
    client.attempt(MODEL, instance, limiter, None, &CancellationToken::new()).await
}

fn judge(scorers: &Judge, instance: &CaseInstance, reply: &Reply) -> Judgement {
    match &reply.outcome {
        Ok(completion) => scorers.prepare(instance).expect("the case compiles").judge(completion),
        Err(delivery) => judge_delivery(delivery.fault, &delivery.detail),
    }
}

/// Asks one endpoint all instances in turn; the judgements, in order.
async fn ask_all(sim: &RunningSim, name: &str, instances: &[CaseInstance], scorers: &Judge) -> Vec<Judgement> {
    let client = client(&sim.base_url(name).expect("it runs"));
    let limiter = EndpointLimiter::new(client.provider().limits);
    let mut judgements = Vec::new();
    for instance in instances {
        let reply = attempt(&client, &limiter, instance).await;
        judgements.push(judge(scorers, instance, &reply));
    }
    judgements
}

fn passes(judgements: &[Judgement]) -> usize {
    judgements.iter().filter(|judgement| judgement.fault.is_none()).count()
}

/// What an endpoint's answers are judged as, where the truth says otherwise.
async fn disagreements(sim: &RunningSim, name: &str, asked: &[CaseInstance], scorers: &Judge) -> (usize, Vec<String>) {
    let judgements = ask_all(sim, name, asked, scorers).await;
    let log = sim.log(name).expect("it runs");
    assert_eq!(log.len(), asked.len(), "one outcome per request");
    let mut found = Vec::new();
    for ((instance, judgement), outcome) in asked.iter().zip(&judgements).zip(&log) {
        let id = &instance.case.id;
        assert_eq!(outcome.case.as_ref().map(|(_, case)| case), Some(id));
        if !outcome.quality.agrees(judgement.fault) {
            let Judgement { fault, error_type, explanation, .. } = judgement;
            let truth = outcome.quality;
            found.push(format!("{name} {id}: truth {truth:?}, judged {fault:?} {error_type:?} {explanation}"));
        }
    }
    (log.iter().filter(|outcome| !outcome.fired.is_empty()).count(), found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_defect_is_judged_as_the_truth_says() {
    let drawers = drawers();
    let library = Arc::new(Library::new(drawers.clone()));
    let all = instances(&drawers, 77);
    let is_short = |i: &CaseInstance| i.messages.text().len() < LONG_BYTES;
    let short: Vec<CaseInstance> = all.iter().filter(|i| is_short(i)).cloned().collect();
    let mut endpoints: Vec<EndpointSpec> =
        catalogue().iter().map(|defect| endpoint(defect.id, vec![Injection::new(defect.id, 1.0)])).collect();
    endpoints.push(endpoint("healthy", vec![]));
    endpoints.push(EndpointSpec { base: 0.0, ..endpoint("always-wrong", vec![]) });
    let names: Vec<String> = endpoints.iter().map(|e| e.name.to_string()).collect();
    let sim = start(&fleet(endpoints), library, 1, LOOPBACK).await.expect("it starts");
    let scorers = Judge::new();
    let (mut fired, mut wrong) = (0, Vec::new());
    for (number, name) in names.iter().enumerate() {
        // Other cases for each defect; all of them for the plain endpoints, and where long prompts are the point.
        let asked = match catalogue().get(number) {
            Some(defect) if defect.id != "context_silently_truncated" => {
                short.iter().skip(number % 7).step_by(7).cloned().collect()
            }
            _ => all.clone(),
        };
        let (count, found) = disagreements(&sim, name, &asked, &scorers).await;
        fired += count;
        wrong.extend(found);
    }
    assert!(fired > 1_000, "{fired}");
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
    let healthy = sim.log("healthy").expect("it runs");
    assert!(healthy.iter().all(|outcome| outcome.quality == Expected::Pass));
    sim.stop().await;
}

#[tokio::test]
async fn endpoints_can_be_broken_and_healed_while_they_run() {
    let drawers = drawers();
    let some: Vec<CaseInstance> = instances(&drawers, 3).into_iter().step_by(20).collect();
    let library = Arc::new(Library::new(drawers));
    let sim = start(&fleet(vec![endpoint("a", vec![])]), library, 1, LOOPBACK).await.expect("it starts");
    let scorers = Judge::new();
    assert_eq!(passes(&ask_all(&sim, "a", &some, &scorers).await), some.len());
    sim.set_injections("a", &[Injection::new("ok_empty_body_for_429", 1.0)]).expect("a known defect");
    let broken = ask_all(&sim, "a", &some, &scorers).await;
    assert!(broken.iter().all(|judgement| judgement.fault == Some(Fault::MalformedBody)));
    sim.set_injections("a", &[]).expect("nothing to know");
    assert_eq!(passes(&ask_all(&sim, "a", &some, &scorers).await), some.len());
    assert!(matches!(sim.set_injections("b", &[]), Err(SimError::UnknownEndpoint(_))));
    let unknown = sim.set_injections("a", &[Injection::new("nothing", 1.0)]);
    assert!(matches!(unknown, Err(SimError::UnknownDefect(_))));
    let counts = sim.counts("a").expect("it runs");
    assert_eq!(counts.requests, 3 * some.len() as u64);
    assert_eq!(counts.fired, [("ok_empty_body_for_429", some.len() as u64)]);
    assert_eq!(counts.unmatched, 0);
    sim.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind((LOOPBACK, 0)).expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let spec = fleet(vec![EndpointSpec { port, ..endpoint("a", vec![]) }]);
    let error = start(&spec, Arc::new(Library::empty()), 1, LOOPBACK).await.expect_err("it is taken").to_string();
    assert!(error.contains(&port.to_string()) && error.contains("`a`"), "{error}");
}

#[tokio::test]
async fn a_concurrency_cap_answers_429_and_lets_the_rest_through() {
    let drawers = drawers();
    let some: Vec<CaseInstance> = instances(&drawers, 3).into_iter().step_by(12).collect();
    // Slow enough that the burst below is in flight together, however slow the machine.
    let mut capped = EndpointSpec { concurrency: Some(2), ..endpoint("a", vec![]) };
    capped.latency.base_ms = 500.0;
    let sim = start(&fleet(vec![capped]), Arc::new(Library::new(drawers)), 1, LOOPBACK).await.expect("it starts");
    let client = Arc::new(client(&sim.base_url("a").expect("it runs")));
    let tasks: Vec<_> = some
        .into_iter()
        .map(|instance| {
            let client = client.clone();
            tokio::spawn(async move {
                let limiter = EndpointLimiter::new(client.provider().limits);
                attempt(&client, &limiter, &instance).await
            })
        })
        .collect();
    let (mut passed, mut limited) = (0, 0);
    for task in tasks {
        let reply = task.await.expect("it ends");
        match reply.outcome.err().map(|delivery| delivery.fault) {
            None => passed += 1,
            Some(Fault::RateLimited) => {
                limited += 1;
                assert!(reply.tries.iter().all(|t| t.status == Some(429) && t.retry_after_us.is_some()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(passed >= 2 && limited > 0, "{passed} passed, {limited} limited");
    assert_eq!(sim.counts("a").expect("it runs").rate_limited, limited);
    sim.stop().await;
}

#[tokio::test]
async fn streams_spread_over_time_arrive_whole() {
    let drawers = drawers();
    let streams: Vec<CaseInstance> = instances(&drawers, 5).into_iter().filter(CaseInstance::stream).take(5).collect();
    assert!(!streams.is_empty());
    let mut slow = endpoint("a", vec![]);
    slow.latency.stream_ms = 30.0;
    let sim = start(&fleet(vec![slow]), Arc::new(Library::new(drawers)), 1, LOOPBACK).await.expect("it starts");
    let judgements = ask_all(&sim, "a", &streams, &Judge::new()).await;
    assert_eq!(passes(&judgements), streams.len(), "{judgements:?}");
    sim.stop().await;
}

#[tokio::test]
async fn the_control_breaks_heals_and_counts_by_who_asks() {
    let drawers = drawers();
    let some: Vec<CaseInstance> = instances(&drawers, 3).into_iter().step_by(40).collect();
    let spec = fleet(vec![endpoint("a", vec![]), endpoint("b", vec![])]);
    let sim = Arc::new(start(&spec, Arc::new(Library::new(drawers)), 1, LOOPBACK).await.expect("it starts"));
    let listener = tokio::net::TcpListener::bind((LOOPBACK, 0)).await.expect("a free port");
    let control = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(exactod::sim::control::control(listener, Arc::clone(&sim)));
    let http = crate::gate::client();
    let post = async |path: &str, body: &str| {
        let sent = http.post(format!("{control}{path}")).body(body.to_owned()).send().await.expect("it answers");
        sent.status().as_u16()
    };
    let counts = async || {
        let answer = http.get(format!("{control}/counts")).send().await.expect("it answers");
        let text = answer.text().await.expect("a text");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    };
    let scorers = Judge::new();
    let asked = some.len();
    assert_eq!(passes(&ask_all(&sim, "a", &some, &scorers).await), asked);
    let url = format!("{}/chat/completions", sim.base_url("b").expect("it runs"));
    http.post(url).header("authorization", "Bearer k1").body("{}").send().await.expect("it answers");
    let seen = counts().await;
    assert_eq!(seen["a"], serde_json::json!({"requests": asked, "by_key": {"": asked}}));
    assert_eq!(seen["b"], serde_json::json!({"requests": 1, "by_key": {"k1": 1}}));

    let broken = r#"[{"defect": "ok_empty_body_for_429", "prevalence": 1.0}]"#;
    assert_eq!(post("/injections/a", broken).await, 200);
    assert_eq!(passes(&ask_all(&sim, "a", &some, &scorers).await), 0);
    assert_eq!((post("/injections/a", "[]").await, post("/reset", "").await), (200, 200));
    assert_eq!(counts().await["a"]["requests"], 0);
    assert_eq!(passes(&ask_all(&sim, "a", &some, &scorers).await), asked);
    for (path, body, status) in [
        ("/injections/nobody", "[]", 404),
        ("/injections/a", r#"[{"defect": "nothing"}]"#, 404),
        ("/injections/a", r#"[{"defect": "args_duplicated", "prevalence": 2}]"#, 400),
        ("/injections/a", "{", 400),
        ("/elsewhere", "", 404),
    ] {
        assert_eq!(post(path, body).await, status, "{path} {body}");
    }
    sim.stop().await;
}
