//! Limits of time as they end attempts: a connection that does not come about, and a first byte that is awaited for as long
//! as the anchors lately took.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use exactod::domain::{Fault, SuiteName, UnscoredWhy, Verdict};
use exactod::sim::EndpointSpec;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::interrupted::silent;
use crate::world::{Settings, World, good, model};

/// Of all limits only that of connecting is ever reached.
const PROVIDER: &str = "limits = { concurrency = 2 }\nretry = { attempts = 2, over = \"20ms\" }\n\
    timeouts = { connect = \"50ms\", first_byte = \"3000s\", idle = \"3000s\", total = \"3000s\" }";
const CONNECT_US: i64 = 50_000;
const TRIES: usize = 3;

/// A port with a full queue, of which nobody takes: the system leaves further connections without an answer.
struct FullPort {
    base: String,
    _queue: (TcpListener, TcpStream),
}

impl FullPort {
    async fn open() -> FullPort {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        // A backlog of none still holds one.
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let first = TcpStream::connect(address).await.unwrap();
        FullPort { base: format!("http://{address}/v1"), _queue: (listener, first) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_come_about_is_a_fault_of_delivery() {
    let world = World::new(vec![good("alder")]).await;
    let port = FullPort::open().await;
    let settings = Settings { provider: PROVIDER.to_owned(), ..Settings::default() };
    world.configure_for(&[("alder".to_owned(), port.base.clone())], &settings);
    let said = world.json(&["sweep", "--limit", "2", "--json"]).await;
    let row = &said["endpoints"][0];
    let count = |key: &str| row[key].as_u64().unwrap();
    assert_eq!((count("attempts"), count("unscored"), count("pass"), count("fail")), (4, 4, 0, 0), "{row}");
    assert_eq!((count("first_try_ok"), &row["faults"]), (0, &json!({"TimedOut": 4})), "{row}");
    assert_eq!(row["cost_usd"], json!(0.0), "nothing was delivered: {row}");

    // Every try is on record, as often as the policy says, each with the limit that ended it.
    let attempts = world.attempts().await;
    assert_eq!(attempts.len(), 4);
    for attempt in attempts.iter().map(|stored| &stored.attempt) {
        assert_eq!(attempt.judgement.verdict, Verdict::Unscored(UnscoredWhy::Provider));
        assert_eq!((attempt.judgement.fault, attempt.tries.len()), (Some(Fault::TimedOut), TRIES));
        for one in &attempt.tries {
            assert_eq!((one.status, one.fault), (None, Some(Fault::TimedOut)), "{one:?}");
            assert_eq!(one.detail, "not connected within 50ms (connect)");
            assert!(one.took_us >= CONNECT_US, "{one:?}");
        }
    }
    let listed = world.json(&["attempts", "--fault", "TimedOut", "--json"]).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 4, "{listed}");

    // It was not there: neither at first nor in the end. Of its quality nothing is known.
    let cards = world.json(&["scorecard", "--since", "1h", "--json"]).await;
    let suites = cards["items"][0]["suites"].as_array().unwrap();
    assert_eq!(suites.len(), 2, "{cards}");
    for card in suites {
        assert_eq!((&card["attempts"], &card["first_try_ok"], &card["delivered"]), (&json!(2), &json!(0), &json!(0)));
        assert_eq!((&card["rate"], &card["latency"], &card["ttft"]), (&Value::Null, &Value::Null, &Value::Null));
        assert_eq!(card["worst_case"], json!({"lo": 0.0, "hi": 1.0}), "{card}");
    }
}

/// A share of the simulated providers' time that no machine undercuts.
const BASE_MS: u64 = 5;
/// Answers of each endpoint to each case: enough of the smaller suite for a 99th percentile.
const EPOCHS: &str = "6";

/// Three times the 99th percentile of what the anchors' answers took in the newest sweep, by suite.
async fn slowest(world: &World) -> BTreeMap<SuiteName, Duration> {
    let store = world.store().await;
    let newest = store.newest_sweeps(&model(), 1).await.unwrap().remove(0).id;
    let anchors = store.sweep(newest).await.unwrap().unwrap().plan.unwrap().anchors;
    store.close().await;
    assert!(!anchors.is_empty());
    let mut took: BTreeMap<SuiteName, Vec<i64>> = BTreeMap::new();
    for attempt in world.attempts().await.into_iter().map(|stored| stored.attempt) {
        assert_eq!(attempt.judgement.verdict, Verdict::Pass);
        if anchors.contains(&attempt.key.endpoint) {
            took.entry(attempt.key.suite).or_default().push(attempt.total_us);
        }
    }
    let of_suite = |(suite, mut took): (SuiteName, Vec<i64>)| {
        assert!(took.len() >= 100, "{suite}: {}", took.len());
        took.sort_unstable();
        // The smallest that at least 99 of 100 do not exceed.
        let p99 = took.iter().find(|us| took.iter().filter(|other| other <= us).count() * 100 >= took.len() * 99);
        (suite, Duration::from_micros(3 * u64::try_from(*p99.unwrap()).unwrap()))
    };
    took.into_iter().map(of_suite).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_byte_is_awaited_three_times_as_long_as_the_anchors_took() {
    let mut fleet: Vec<EndpointSpec> = ["alder", "birch", "cedar"].map(good).into();
    for endpoint in &mut fleet {
        endpoint.latency.base_ms = BASE_MS as f64;
    }
    let world = World::new(fleet).await;
    let limited = |first_byte: &str| {
        let timeouts = format!("timeouts = {{ first_byte = \"{first_byte}\" }}");
        let provider =
            format!("limits = {{ concurrency = 8 }}\nretry = {{ attempts = 1, over = \"20ms\" }}\n{timeouts}");
        Settings { provider, ..Settings::default() }
    };
    world.configure(&limited("3000s"));
    world.json(&["sweep", "--full", "--epochs", EPOCHS, "--json"]).await;
    let limits = slowest(&world).await;
    assert_eq!(limits.len(), 2);

    // Nobody answers any more. The configured limit is far below what answers need.
    let (base, _) = silent().await;
    let providers = ["alder", "birch", "cedar"].map(|id| (id.to_owned(), base.clone()));
    world.configure_for(&providers, &limited("1ms"));
    let said = world.json(&["sweep", "--limit", "2", "--json"]).await;
    let sweep = said["sweep"].as_str().unwrap();
    let attempts: Vec<_> = world.attempts().await.into_iter().map(|stored| stored.attempt).collect();
    let late: Vec<_> = attempts.iter().filter(|attempt| attempt.key.sweep.to_string() == sweep).collect();
    assert_eq!(late.len(), 3 * 2 * 2);
    for attempt in late {
        let limit = limits[&attempt.key.suite];
        assert!(limit >= Duration::from_millis(3 * BASE_MS), "{limit:?}");
        for one in &attempt.tries {
            assert_eq!(one.fault, Some(Fault::TimedOut));
            assert_eq!(one.detail, format!("no byte within {limit:?} (first_byte)"), "{}", attempt.key.suite);
        }
    }
    // A configured limit above that is what counts.
    world.configure_for(&providers, &limited("400ms"));
    let said = world.json(&["sweep", "--limit", "1", "--suite", "tool-use", "--endpoint", "alder", "--json"]).await;
    let sweep = said["sweep"].as_str().unwrap();
    let last = world.attempts().await.into_iter().map(|stored| stored.attempt);
    let last: Vec<_> = last.filter(|attempt| attempt.key.sweep.to_string() == sweep).collect();
    assert_eq!(last.len(), 1);
    // On a machine so slow that the anchors took longer, theirs still counts.
    let expected = limits[&last[0].key.suite].max(Duration::from_millis(400));
    assert_eq!(last[0].tries[0].detail, format!("no byte within {expected:?} (first_byte)"));
}
