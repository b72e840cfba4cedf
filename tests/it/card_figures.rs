//! Scorecards of attempts that are known to the last one, against figures that were reckoned by hand.

use std::fs::File;

use exactod::clock::{Clock, SystemClock};
use exactod::domain::{
    Attempt, AttemptId, AttemptKey, BudgetedEndpoint, CaseId, Fault, Judgement, SuiteDigest, SuiteName, SuitePlan,
    SweepId, SweepKind, SweepPlan, Transcript, Try, Usage,
};
use exactod::scoring::judge_delivery;
use exactod::store::Created;
use polars::prelude::AnyValue;
use polars_io::SerReader;
use polars_io::parquet::read::ParquetReader;
use serde_json::{Value, json};
use uuid::{NoContext, Timestamp, Uuid};

use crate::world::{World, endpoint, good, model};

/// What became of one attempt.
#[derive(Clone, Copy)]
enum Came {
    Pass,
    /// Right, at the second try.
    Late,
    Wrong(Fault),
    /// Broken in two ways.
    Both(Fault, Fault),
    Nothing,
}
use Came::{Both, Late, Nothing, Pass, Wrong};

/// Four cases, three answers each.
const ALDER: [[Came; 3]; 4] =
    [[Pass, Pass, Pass], [Pass, Pass, Pass], [Pass, Wrong(Fault::WrongAnswer), Pass], [Pass, Pass, Pass]];
const BIRCH: [[Came; 3]; 4] = [
    [Pass, Late, Pass],
    [Pass, Pass, Wrong(Fault::WrongAnswer)],
    [Wrong(Fault::InvalidJson), Both(Fault::SchemaMismatch, Fault::WrongAnswer), Wrong(Fault::InvalidJson)],
    [Late, Nothing, Pass],
];
/// Ranks of the durations of what was delivered, so that they do not come in order: 11 answers, shuffled.
const RANKS: [i64; 11] = [7, 2, 11, 4, 9, 1, 6, 10, 3, 8, 5];

fn close_to(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{found} instead of {expected}"));
    assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
}

fn judgement(came: Came) -> Judgement {
    match came {
        Pass | Late => Judgement::pass(1.0),
        Wrong(fault) => Judgement::fail(fault, 0.0, "tool_calls:wrong", "not what was asked for"),
        Both(first, second) => {
            Judgement { secondary: vec![second], ..Judgement::fail(first, 0.0, "tool_calls:wrong", "twice wrong") }
        }
        Nothing => judge_delivery(Fault::TimedOut, "no byte within 60s (first_byte)"),
    }
}

/// The tries of an attempt; those before the last were refused.
fn tries(came: Came, at_us: i64, total_us: i64) -> Vec<Try> {
    let one = |fault: Option<Fault>, took_us: i64| Try {
        started_at_us: at_us,
        took_us,
        status: fault.is_none().then_some(200),
        fault,
        detail: String::new(),
        retry_after_us: None,
    };
    match came {
        Late => vec![one(Some(Fault::RateLimited), 5), one(None, total_us)],
        Nothing => vec![one(Some(Fault::TimedOut), total_us), one(Some(Fault::TimedOut), total_us)],
        _ => vec![one(None, total_us)],
    }
}

/// The sweep of both, with alder as the anchor.
fn plan(at_us: i64) -> SweepPlan {
    let share = |id: &str| BudgetedEndpoint { id: endpoint(id), cases: 4 };
    SweepPlan {
        id: SweepId(id(at_us)),
        model: model(),
        kind: SweepKind::Full,
        ordinal: 1,
        seed: "00112233445566778899aabbccddeeff".to_owned(),
        planned_at_us: at_us,
        anchors: vec![endpoint("alder")],
        suites: vec![SuitePlan {
            suite: SuiteName::new("tool-use").unwrap(),
            digest: SuiteDigest::new("abc").unwrap(),
            cases: (1..=4).map(case).collect(),
            epochs: 3,
            endpoints: vec![share("alder"), share("birch")],
            stable: None,
        }],
        reserved_nanousd: 0,
        gives_evidence: true,
        capabilities: Default::default(),
        aside: Vec::new(),
        probes: Vec::new(),
        goes_on: None,
        samples: None,
        upstreams: Default::default(),
    }
}

fn case(n: usize) -> CaseId {
    CaseId::new(&format!("book-{n}")).unwrap()
}

fn id(at_us: i64) -> Uuid {
    Uuid::new_v7(Timestamp::from_unix(NoContext, (at_us / 1_000_000) as u64, 0))
}

/// The attempts of an endpoint. What was delivered took its rank in hundredths of a second, the first token a tenth of that;
/// what was not, a minute.
fn attempts(plan: &SweepPlan, name: &str, came: &[[Came; 3]; 4]) -> Vec<Attempt> {
    let mut out = Vec::new();
    let mut delivered = 0;
    for (n, came) in came.iter().enumerate() {
        for (epoch, came) in (0..).zip(*came) {
            let is_lost = matches!(came, Nothing);
            let rank = RANKS[delivered % RANKS.len()];
            delivered += usize::from(!is_lost);
            let total_us = if is_lost { 60_000_000 } else { rank * 10_000 };
            let usage = match is_lost {
                true => Usage::default(),
                false => Usage {
                    tokens_in: Some(100 + rank as u64),
                    tokens_out: Some(10 * rank as u64),
                    tokens_reasoning: None,
                },
            };
            out.push(Attempt {
                id: AttemptId(id(plan.planned_at_us)),
                key: AttemptKey {
                    sweep: plan.id,
                    endpoint: endpoint(name),
                    suite: plan.suites[0].suite.clone(),
                    case: case(n + 1),
                    epoch,
                },
                judgement: judgement(came),
                tries: tries(came, plan.planned_at_us, total_us),
                started_at_us: plan.planned_at_us,
                ttft_us: Some(total_us / 10),
                total_us,
                usage,
                cost_nanousd: if is_lost { 0 } else { 1_000_000 * rank },
                finish_reason: None,
                draw: None,
                observed: None,
                sampled: None,
                transcript: Some(Transcript::default()),
            });
        }
    }
    out
}

async fn world_of_known_attempts(world: World) -> World {
    let plan = plan(SystemClock.now_us() - 60_000_000);
    let store = world.store().await;
    assert_eq!(store.create_sweep(&plan, None, None).await.unwrap(), Created::Created);
    let all = [attempts(&plan, "alder", &ALDER), attempts(&plan, "birch", &BIRCH)].concat();
    assert_eq!(store.append_attempts(all).await.unwrap().new, 24);
    store.close().await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_known_attempts_are_those_reckoned_by_hand_on_sqlite() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    figures(&world_of_known_attempts(world).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_known_attempts_are_those_reckoned_by_hand_on_postgres() {
    let world = World::on_postgres(vec![good("alder"), good("birch")]).await;
    figures(&world_of_known_attempts(world).await).await;
}

async fn figures(world: &World) {
    let cards = world.json(&["scorecard", "--since", "1h", "--json"]).await;
    let card = |id: &str| {
        let found = cards["items"].as_array().unwrap().iter().find(|card| card["endpoint"] == id).unwrap();
        assert_eq!(found["suites"].as_array().unwrap().len(), 1, "{found}");
        found["suites"][0].clone()
    };
    let birch = card("birch");
    counts(&birch);
    rates(&birch);
    // The anchor is not compared with itself, and its interval is its own: 11 of 12, design effect 12/11.
    let alder = card("alder");
    assert_eq!((&alder["gap"], &alder["first_try_ok"], &alder["delivered"]), (&Value::Null, &json!(12), &json!(12)));
    close_to(&alder["rate"], 11.0 / 12.0);
    close_to(&alder["interval"]["lo"], 0.631_610_812_976_504_2);
    close_to(&alder["interval"]["hi"], 0.986_028_381_216_802_8);
    in_the_frame(world, &birch).await;
}

/// Counts, sums and quantiles.
fn counts(birch: &Value) {
    let expected = json!({"attempts": 12, "pass": 7, "fail": 4, "unscored": 1, "tokens_in": 1166, "tokens_out": 660});
    for (key, count) in expected.as_object().unwrap() {
        assert_eq!(&birch[key], count, "{key}: {birch}");
    }
    assert_eq!(birch["faults"], json!({"InvalidJson": 2, "SchemaMismatch": 1, "TimedOut": 1, "WrongAnswer": 1}));
    assert_eq!(birch["secondary_faults"], json!({"WrongAnswer": 1}));
    // Two came at the second try only, one never: 9 of 12 at first, 11 of 12 in the end.
    assert_eq!((&birch["first_try_ok"], &birch["delivered"]), (&json!(9), &json!(11)));
    assert_eq!(birch["asked"], 12);
    close_to(&birch["first_try"], 9.0 / 12.0);
    close_to(&birch["delivery"], 11.0 / 12.0);
    // The 6th, the 10th and the 11th of 11: what never came has no part in them.
    assert_eq!(birch["latency"], json!({"p50_us": 60_000, "p90_us": 100_000, "p99_us": 110_000}));
    assert_eq!(birch["ttft"], json!({"p50_us": 6_000, "p90_us": 10_000, "p99_us": 11_000}));
    // A thousandth of a dollar times 1 + 2 + .. + 11.
    close_to(&birch["cost_usd"], 0.066);
}

/// Rates with their intervals.
fn rates(birch: &Value) {
    // 7 of 11. By case (3,3) (2,3) (0,3) (2,2): the sum of (s - n 7/11)^2 is 650/121, and times 4/3, over 11^2 and over the
    // 28/1331 of independent answers it is a design effect of 2.81385; Wilson's formula at 11/2.81385 = 3.90923 answers.
    close_to(&birch["rate"], 7.0 / 11.0);
    close_to(&birch["interval"]["lo"], 0.223_439_619_704_555_23);
    close_to(&birch["interval"]["hi"], 0.914_116_378_866_170_6);
    close_to(&birch["worst_case"]["lo"], 7.0 / 12.0);
    close_to(&birch["worst_case"]["hi"], 8.0 / 12.0);
    // By case 0, 1/3, 2/3, 0: the mean is 1/4, its standard error sqrt(44/144/12) = 0.159571, and Student's t of three
    // degrees of freedom 3.182446.
    close_to(&birch["gap"]["mean"], 0.25);
    close_to(&birch["gap"]["interval"]["lo"], -0.257_826_726_943_026);
    close_to(&birch["gap"]["interval"]["hi"], 0.757_826_726_943_026);
    assert_eq!(birch["gap"]["cases"], json!(4));
    // Of two: 1, 1/3, 0, 1. Of three: 1, 0, 0, and of the last case only two have a score.
    let pass_k = birch["pass_k"].as_array().unwrap();
    assert_eq!(
        pass_k.iter().map(|p| (&p["k"], &p["cases"])).collect::<Vec<_>>(),
        [(&json!(2), &json!(4)), (&json!(3), &json!(3))]
    );
    close_to(&pass_k[0]["value"], 7.0 / 12.0);
    close_to(&pass_k[1]["value"], 1.0 / 3.0);
}

/// The same in the table that polars writes, rounded as it says.
async fn in_the_frame(world: &World, birch: &Value) {
    let out = world.path("cards.parquet").display().to_string();
    let written = world.run(&["scorecard", "--since", "1h", "--format", "parquet", "--out", &out]).await;
    assert_eq!(written.code, 0, "{written:?}");
    let frame = ParquetReader::new(File::open(&out).unwrap()).finish().unwrap();
    let endpoints = frame.column("endpoint").unwrap();
    let row = (0..frame.height()).find(|row| endpoints.get(*row).unwrap().get_str() == Some("birch")).unwrap();
    let value = |column: &str| frame.column(column).unwrap().get(row).unwrap();
    let text = |at: &str| birch.pointer(at).unwrap().as_f64().unwrap();
    for (column, expected, within) in [
        ("rate", text("/rate"), 1e-5),
        ("rate_lo", text("/interval/lo"), 1e-5),
        ("rate_hi", text("/interval/hi"), 1e-5),
        ("gap", 0.25, 1e-5),
        ("gap_lo", text("/gap/interval/lo"), 1e-5),
        ("gap_hi", text("/gap/interval/hi"), 1e-5),
        ("latency_p50_ms", 60.0, 1e-9),
        ("latency_p99_ms", 110.0, 1e-9),
        ("ttft_p50_ms", 6.0, 1e-9),
        ("ttft_p99_ms", 11.0, 1e-9),
        ("first_try_ok", 9.0, 0.0),
        ("delivered", 11.0, 0.0),
        ("asked", 12.0, 0.0),
        ("first_try", 0.75, 1e-5),
        ("delivery", 11.0 / 12.0, 1e-5),
        ("tokens_in", 1166.0, 0.0),
        ("tokens_out", 660.0, 0.0),
        ("cost_usd", 0.066, 1e-9),
        ("pass_k2", 7.0 / 12.0, 1e-5),
    ] {
        let found = value(column).extract::<f64>().unwrap_or_else(|| panic!("{column}: {:?}", value(column)));
        assert!((found - expected).abs() <= within, "{column}: {found} instead of {expected}");
    }
    let faults = "InvalidJson 2; SchemaMismatch 1; TimedOut 1; WrongAnswer 1";
    assert!(matches!(value("faults"), AnyValue::String(text) if text == faults), "{:?}", value("faults"));
}
