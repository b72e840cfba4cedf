use super::kit::*;
use crate::api::{SweepCommand, SweepReply};

const SWEEPS: &str = "/v1/sweeps";

/// Answers every command; gives the last one.
fn daemon(kit: &Kit, reply: SweepReply) -> tokio::task::JoinHandle<Option<SweepCommand>> {
    let mut commands = kit.commands.lock().unwrap().take().unwrap();
    tokio::spawn(async move {
        let mut command = commands.recv().await?;
        let (unused, _) = tokio::sync::oneshot::channel();
        std::mem::replace(&mut command.reply, unused).send(reply).ok()?;
        Some(command)
    })
}

#[tokio::test]
async fn a_sweep_is_handed_to_the_daemon_as_asked() {
    let kit = Kit::new().await;
    let handed = daemon(&kit, SweepReply::Queued);
    let body =
        r#"{"model": "kimi", "suites": ["tool-use"], "endpoints": ["bad"], "limit": 5, "full": true, "epochs": 2}"#;
    let answer = kit.post(SWEEPS, body, &[]).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["status"], "queued");
    assert_eq!(answer.json()["after"], serde_json::Value::Null, "nothing is in flight here");
    assert_eq!(answer.json()["watch"], "/v1/sweeps?model=lab%2Fm%3Afree");
    let command = handed.await.unwrap().unwrap();
    assert_eq!((command.model, command.suites, command.endpoints), (model(), vec![suite()], vec![endpoint(1)]));
    assert_eq!((command.limit, command.full, command.epochs), (Some(5), true, Some(2)));
}

#[tokio::test]
async fn what_begins_at_once_is_called_started() {
    let kit = Kit::new().await;
    daemon(&kit, SweepReply::Started);
    let answer = kit.post(SWEEPS, r#"{"model": "kimi"}"#, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.json()["status"].as_str()), (202, Some("started")));
}

#[tokio::test]
async fn an_overlap_is_a_conflict() {
    let kit = Kit::new().await;
    daemon(&kit, SweepReply::Overlaps);
    kit.post(SWEEPS, r#"{"model": "kimi"}"#, &[]).await.is_problem(409, "sweep-overlaps");
}

#[tokio::test]
async fn a_stopping_daemon_takes_no_commands() {
    let kit = Kit::new().await;
    drop(kit.commands.lock().unwrap().take());
    let answer = kit.post(SWEEPS, r#"{"model": "kimi"}"#, &[]).await;
    answer.is_problem(503, "stopping");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_its_place() {
    let kit = Kit::new().await;
    let cases = [
        ("", "bad-body", ""),
        ("[]", "bad-body", ""),
        (r#"{"model": "kimi"} x"#, "bad-body", "trailing"),
        (r#"{"model": "kimi", "sweet": 1}"#, "bad-body", "unknown field `sweet`"),
        (r#"{"model": "kimi", "endpoints": ["bad", 3]}"#, "bad-body", "endpoints[1]"),
        (r#"{"model": "kimi", "endpoints": ["worse"]}"#, "unknown-name", "worse"),
        (r#"{"model": "kimi", "suites": ["tool"]}"#, "unknown-name", "tool"),
        (r#"{"model": "kimi", "limit": 0}"#, "bad-body", "limit"),
        (r#"{"model": "kimi", "epochs": 2}"#, "bad-body", "epochs"),
        (r#"{"model": "kimi", "full": true, "epochs": 1000}"#, "bad-body", "epochs"),
    ];
    for (body, kind, part) in cases {
        let problem = kit.post(SWEEPS, body, &[]).await.is_problem(400, kind);
        assert!(problem["detail"].as_str().unwrap().contains(part), "{body}: {problem}");
    }
    kit.post(SWEEPS, r#"{"model": "who"}"#, &[]).await.is_problem(404, "unknown-model");
    kit.post(SWEEPS, &" ".repeat(70_000), &[]).await.is_problem(413, "body-too-large");
    let plain = kit.ask("POST", SWEEPS, &[("content-type", "text/plain")]).await;
    plain.is_problem(415, "not-json");
}
