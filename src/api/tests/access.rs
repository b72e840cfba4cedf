use super::kit::*;
use crate::config::Role;
use crate::domain::base64;

const LIST: &str = "/v1/models/kimi/allowlist";

async fn guarded() -> Kit {
    let kit = Kit::with_tokens(&[(Role::Read, "r-token"), (Role::Ingest, "i-token"), (Role::Admin, "a-token")]).await;
    kit.publish(1);
    kit
}

#[tokio::test]
async fn reading_needs_a_token_of_a_role_that_suffices() {
    let kit = guarded().await;
    for path in
        [LIST, "/v1/models", "/v1/models/kimi/decisions", "/v1/sweeps", "/v1/attempts", "/v1/alarms", "/metrics"]
    {
        let answer = kit.get(path).await;
        answer.is_problem(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="exactod""#, "{path}");
        let wrong = kit.ask("GET", path, &[("authorization", "Bearer x-token")]).await;
        wrong.is_problem(401, "unauthorized");
        assert!(!wrong.text().contains("x-token"));
        let ingest = kit.ask("GET", path, &[("authorization", "Bearer i-token")]).await;
        assert!(ingest.is_problem(403, "forbidden")["detail"].as_str().unwrap().contains("needs the role read"));
        for token in ["bearer r-token", "Bearer a-token"] {
            assert_eq!(kit.ask("GET", path, &[("authorization", token)]).await.status, 200, "{path}");
        }
    }
    for path in ["/healthz", "/readyz", "/openapi.json", "/page/style.css"] {
        assert_eq!(kit.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn public_read_opens_allowlists_and_nothing_else() {
    let kit = guarded().await;
    kit.public_read();
    assert_eq!(kit.get(LIST).await.status, 200);
    assert_eq!(kit.get(&format!("{LIST}?detail=0")).await.status, 200);
    for path in ["/v1/models", "/v1/models/kimi/scorecards", "/", &format!("{LIST}?detail=1")] {
        assert_eq!(kit.get(path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_browser_reads_by_basic_and_commands_nothing_by_it() {
    let kit = guarded().await;
    let asked = kit.get("/").await;
    asked.is_problem(401, "unauthorized");
    assert!(asked.header("www-authenticate").starts_with("Basic "));
    let basic = format!("Basic {}", base64::encode(b"anyone:a-token"));
    assert_eq!(kit.ask("GET", "/", &[("authorization", &basic)]).await.status, 200);
    assert_eq!(kit.ask("HEAD", "/", &[("authorization", &basic)]).await.status, 200);
    kit.post("/v1/sweeps", r#"{"model": "kimi"}"#, &[("authorization", &basic)]).await.is_problem(401, "unauthorized");
    for odd in ["Basic", "Basic !!", "Basic YQ==", "Digest x", ""] {
        assert_eq!(kit.ask("GET", "/", &[("authorization", odd)]).await.status, 401, "{odd}");
    }
}

#[tokio::test]
async fn commands_need_the_admin_role() {
    let kit = guarded().await;
    for token in ["Bearer r-token", "Bearer i-token"] {
        let answer = kit.post("/v1/sweeps", r#"{"model": "kimi"}"#, &[("authorization", token)]).await;
        let problem = answer.is_problem(403, "forbidden");
        assert!(problem["detail"].as_str().unwrap().contains("needs the role admin"));
    }
}

#[tokio::test]
async fn without_tokens_only_this_machine_is_served() {
    let kit = Kit::new().await;
    kit.publish(1);
    for path in [LIST, "/", "/v1/sweeps", "/healthz", "/nowhere"] {
        kit.ask("GET", path, &[("host", "evil.example:8080")]).await.is_problem(403, "foreign-site");
        assert_ne!(kit.ask("GET", path, &[("host", "localhost:8080")]).await.status, 403, "{path}");
    }
    let post = async |headers: &[(&str, &str)]| kit.post("/v1/sweeps", "{}", headers).await;
    let host = ("host", "127.0.0.1:8080");
    for origin in ["http://evil.example", "null", "http://127.0.0.1:9", "https://127.0.0.1:8080"] {
        post(&[host, ("origin", origin)]).await.is_problem(403, "foreign-site");
    }
    post(&[host, ("origin", "http://127.0.0.1:8080")]).await.is_problem(400, "bad-body");
    post(&[host]).await.is_problem(400, "bad-body");
}

#[tokio::test]
async fn a_listener_that_the_network_reaches_serves_nothing_without_tokens() {
    let kit = Kit::new().await.on_the_network();
    kit.publish(1);
    let local = [("host", "localhost")];
    for path in [LIST, "/v1/models", "/v1/attempts", "/metrics", "/", "/healthz"] {
        kit.ask("GET", path, &local).await.is_problem(403, "foreign-site");
    }
    kit.post("/v1/sweeps", r#"{"model": "kimi"}"#, &local).await.is_problem(403, "foreign-site");
    let guarded = guarded().await.on_the_network();
    assert_eq!(guarded.ask("GET", LIST, &[("authorization", "Bearer r-token")]).await.status, 200);
}
