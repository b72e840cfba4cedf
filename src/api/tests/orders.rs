use super::kit::*;
use crate::api::Refusal;
use crate::config::Role;
use crate::domain::{Order, Verb};

const ENDPOINT: &str = "/v1/models/lab/m:free/endpoints/good/fp8";

fn given(kit: &Kit) -> Vec<Order> {
    kit.daemon.orders.lock().unwrap().clone()
}

#[tokio::test]
async fn an_order_is_carried_out_as_asked_and_signed() {
    let kit = Kit::new().await;
    for verb in Verb::ALL.into_iter().filter(|v| v.takes_endpoint()) {
        let answer = kit.post(&format!("{ENDPOINT}/{verb}"), r#"{"note": "ticket 12", "by": "ann"}"#, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!((&answer.json()["verb"], &answer.json()["changed"]), (&verb.name().into(), &true.into()));
        let order = given(&kit).pop().unwrap();
        assert_eq!((order.verb, order.endpoint, order.by.as_str()), (verb, Some(endpoint(0)), "ann"));
        assert_eq!(order.note, "ticket 12");
    }
    assert_eq!(kit.post("/v1/models/kimi/ack", "{}", &[]).await.status, 200);
    let order = given(&kit).pop().unwrap();
    assert_eq!((order.verb, order.endpoint, order.by.as_str()), (Verb::Ack, None, "api"));
}

#[tokio::test]
async fn orders_need_the_admin_role_and_carry_the_tokens_name() {
    let kit = Kit::with_tokens(&[(Role::Read, "r-token"), (Role::Admin, "a-token")]).await;
    let pin = format!("{ENDPOINT}/pin");
    kit.post(&pin, "{}", &[]).await.is_problem(401, "unauthorized");
    kit.post(&pin, "{}", &[("authorization", "Bearer r-token")]).await.is_problem(403, "forbidden");
    assert!(given(&kit).is_empty());
    let admin = [("authorization", "Bearer a-token")];
    assert_eq!(kit.post(&pin, "{}", &admin).await.status, 200);
    assert_eq!(kit.post(&pin, r#"{"by": "ann"}"#, &admin).await.status, 200);
    let signed: Vec<String> = given(&kit).into_iter().map(|o| o.by).collect();
    assert_eq!(signed, ["admin", "ann (token admin)"]);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let kit = Kit::new().await;
    let pin = format!("{ENDPOINT}/pin");
    for (path, body) in [
        (pin.as_str(), ""),
        (pin.as_str(), r#"{"nota": "x"}"#),
        (pin.as_str(), r#"{"note": "two\nlines"}"#),
        (&format!("{ENDPOINT}/note"), "{}"),
    ] {
        kit.post(path, body, &[]).await.is_problem(400, "bad-body");
    }
    kit.post("/v1/models/kimi/endpoints/worse/pin", "{}", &[]).await.is_problem(404, "unknown-endpoint");
    kit.post("/v1/models/who/ack", "{}", &[]).await.is_problem(404, "unknown-model");
    kit.post(&format!("{pin}?force=1"), "{}", &[]).await.is_problem(400, "unknown-parameter");
    kit.ask("POST", &pin, &[("content-type", "text/plain")]).await.is_problem(415, "not-json");
    kit.get(&pin).await.is_problem(405, "method-not-allowed");
    kit.post(&format!("{ENDPOINT}/series"), "{}", &[]).await.is_problem(405, "method-not-allowed");
    kit.post(&pin, &" ".repeat(70_000), &[]).await.is_problem(413, "body-too-large");
    assert!(given(&kit).is_empty());
}

#[tokio::test]
async fn a_refusal_is_told_as_what_it_is() {
    let kit = Kit::new().await;
    let refuse = |refusal| *kit.daemon.refusal.lock().unwrap() = Some(refusal);
    refuse(Refusal::NothingHeld("no common alarm holds the list".to_owned()));
    kit.post("/v1/models/kimi/ack", "{}", &[]).await.is_problem(409, "nothing-held");
    refuse(Refusal::UnknownEndpoint);
    kit.post(&format!("{ENDPOINT}/ban"), "{}", &[]).await.is_problem(404, "unknown-endpoint");
    refuse(Refusal::NotNow("the database is locked: secret path".to_owned()));
    let later = kit.post(&format!("{ENDPOINT}/ban"), "{}", &[]).await;
    assert!(!later.header("retry-after").is_empty());
    let problem = later.is_problem(503, "store-unavailable");
    assert!(!problem.to_string().contains("secret path"));
    refuse(Refusal::Failed("the disk says: secret path".to_owned()));
    let problem = kit.post(&format!("{ENDPOINT}/ban"), "{}", &[]).await.is_problem(500, "internal");
    assert!(!problem.to_string().contains("secret path"));
}
