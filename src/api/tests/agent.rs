use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::kit::*;
use crate::api::{ApiSetup, serve_agent};
use crate::domain::ModelId;
use crate::publish::{Document, Origin};

struct Agent {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Agent {
    async fn of(kit: &Kit) -> Agent {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(serve_agent(Arc::new(listener), kit.state.clone(), stop.clone()));
        Agent { address, stop }
    }

    /// What comes back until the connection is closed.
    async fn sent(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is closed before all was read may end in a reset.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn asked(&self, line: &str) -> String {
        self.sent(format!("{line}\n").as_bytes()).await
    }
}

fn count(kit: &Kit, result: &str) -> u64 {
    let text = kit.state.metrics.encode().unwrap();
    let line = format!("exactod_agent_checks_total{{result=\"{result}\"}} ");
    text.lines().find_map(|l| l.strip_prefix(&line)).map_or(0, |n| n.parse().unwrap())
}

#[tokio::test]
async fn a_server_is_up_with_its_weight_when_listed_and_drained_when_not() {
    let kit = Kit::new().await;
    let agent = Agent::of(&kit).await;
    assert_eq!(agent.asked("kimi/bad").await, "up ready 100%\n", "nobody is left out before the first list");
    let list = kit.publish(1);
    for name in [MODEL, "kimi", "m:free:exacto"] {
        assert_eq!(agent.asked(&format!("{name}/good/fp8")).await, "up ready 100%\n");
        assert_eq!(agent.asked(&format!("{name}/bad")).await, "drain\n");
    }
    let half = String::from_utf8(list.body.to_vec()).unwrap();
    let half = half.replace("\"weight\":100", "\"weight\":50").replace("\"version\":1", "\"version\":2");
    kit.state.board.publish(Document::read(half.into()).unwrap(), Origin::Own);
    assert_eq!(agent.asked("kimi/good/fp8").await, "up ready 50%\n");
    assert_eq!(agent.sent(b"kimi/good/fp8\r\n").await, "up ready 50%\n");
    assert_eq!((count(&kit, "up"), count(&kit, "drain")), (6, 3));
}

#[tokio::test]
async fn an_endpoint_that_stands_on_neither_list_is_drained() {
    let kit = Kit::new().await;
    let agent = Agent::of(&kit).await;
    let list = kit.publish(1);
    let text = String::from_utf8(list.body.to_vec()).unwrap();
    let (before, _) = text.split_once("\"excluded\":").unwrap();
    let nobody = format!("{before}\"excluded\":[]}}").replace("\"version\":1", "\"version\":2");
    kit.state.board.publish(Document::read(nobody.into()).unwrap(), Origin::Own);
    assert_eq!(agent.asked("kimi/bad").await, "drain\n");
}

#[tokio::test]
async fn what_nobody_knows_is_said_to_be_up_and_counted() {
    let kit = Kit::new().await;
    kit.publish(1);
    let agent = Agent::of(&kit).await;
    let lines = ["kimi/worse", "kimi", "kimi/", "nobody/bad", "/bad", "kimi-k2/bad", "\u{fffd}", "kimi/GOOD/fp8"];
    for line in lines {
        assert_eq!(agent.asked(line).await, "up ready 100%\n", "{line}");
    }
    assert_eq!(agent.sent(b"\xff\xfe\n").await, "up ready 100%\n");
    assert_eq!(count(&kit, "unknown"), lines.len() as u64 + 1);
}

#[tokio::test]
async fn names_are_read_from_the_longest_model_on_and_servers_may_have_a_name_of_their_own() {
    let kit = Kit::new().await;
    kit.publish(1);
    let mut setup = ApiSetup::clone(&kit.state.setup.load());
    // `kimi` and `kimi/bad` are both models by now: the longer one counts, and it has no list.
    setup.models[1].aliases.push(ModelId::new("kimi/bad").unwrap());
    setup.models[0].endpoints[1].slugs.insert("haproxy".to_owned(), "srv2".to_owned());
    kit.state.setup.store(Arc::new(setup));
    let agent = Agent::of(&kit).await;
    assert_eq!(agent.asked("kimi/bad").await, "drain\n");
    assert_eq!(agent.asked("kimi/bad/good").await, "up ready 100%\n");
    assert_eq!(agent.asked("kimi/srv2").await, "drain\n");
}

#[tokio::test]
async fn the_list_of_a_relay_is_asked_by_its_own_names() {
    let kit = Kit::new().await;
    kit.publish(1);
    let mut setup = ApiSetup::clone(&kit.state.setup.load());
    setup.models.clear();
    setup.relayed.insert(model(), "https://source.example/".to_owned());
    kit.state.setup.store(Arc::new(setup));
    let agent = Agent::of(&kit).await;
    assert_eq!(agent.asked("lab/m:free/good/fp8").await, "up ready 100%\n");
    assert_eq!(agent.asked("lab/m:free/bad").await, "drain\n");
    assert_eq!(agent.asked("lab/m:free/other").await, "up ready 100%\n");
    assert_eq!(count(&kit, "unknown"), 1);
}

#[tokio::test]
async fn who_sends_no_line_or_an_endless_one_gets_no_answer_and_holds_nobody_up() {
    let kit = Kit::new().await;
    kit.publish(1);
    let agent = Agent::of(&kit).await;
    let silent = TcpStream::connect(agent.address).await.unwrap();
    assert_eq!(agent.sent(&[b'x'; 4096]).await, "");
    assert_eq!(agent.sent(b"\n").await, "");
    assert_eq!(agent.asked("kimi/bad").await, "drain\n");
    drop(silent);
    // A half-closed connection ends the line as well.
    let mut stream = TcpStream::connect(agent.address).await.unwrap();
    stream.write_all(b"kimi/bad").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "drain\n");
}
