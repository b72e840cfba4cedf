//! A provider whose connections do not come about: the connect limit ends the wait, and it counts against its availability.

use std::net::{Ipv4Addr, SocketAddr};

use exactod::domain::{Fault, UnscoredWhy, Verdict};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::world::{Settings, World, good};

/// Reached by nobody who waits in vain; those who wait for it have no other limit within an hour.
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
