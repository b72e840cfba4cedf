use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kit::*;
use crate::api::openapi::path_params;
use crate::api::routes::TABLE;
use crate::domain::{Fault, Standing, SweepKind, Verdict};
use crate::progress::SweepProgress;

/// A real path for a documented one.
fn filled(path: &str, attempt: &str, sweep: &str) -> String {
    let id = if path.contains("attempts") { attempt } else { sweep };
    let values =
        [("{model}", "kimi"), ("{endpoint}", "bad"), ("{asset}", "page.js"), ("{id}", id), ("{format}", "names")];
    values.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
}

#[tokio::test]
async fn every_documented_path_is_routed_and_every_route_is_documented() {
    let kit = Kit::new().await;
    kit.publish(1);
    kit.sign_with(&["k1"]);
    let sweep = kit.sweep(1).await;
    let stored = attempt(sweep, 0);
    kit.store(vec![stored.clone()]).await;
    let document = kit.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    let mut documented = BTreeSet::new();
    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let filled = filled(path, &stored.id.to_string(), &sweep.to_string());
            // A stream has no end.
            let method = if path.ends_with("/watch") { "head" } else { method };
            let answer = kit.ask(&method.to_uppercase(), &filled, &[]).await;
            let method = if path.ends_with("/watch") { "get" } else { method };
            // Without a body.
            let refused = [415, 400].contains(&answer.status.as_u16());
            let took_nothing = path == "/v1/observations" && answer.status == 202;
            let reached = answer.status == 200 || (method == "post" && refused) || took_nothing;
            assert!(reached, "{method} {path}: {} {}", answer.status, answer.text());
            documented.insert((method.to_uppercase(), path.clone()));
        }
    }
    let routed: BTreeSet<_> =
        TABLE.iter().flat_map(|r| r.operations).map(|o| (o.method.to_owned(), o.path.to_owned())).collect();
    assert_eq!(documented, routed);
    for route in TABLE {
        assert!(!route.operations.is_empty(), "{} is not documented", route.mount);
        let mounted = |path: &str| {
            path == route.mount || route.mount.strip_suffix("{*path}").is_some_and(|prefix| path.starts_with(prefix))
        };
        assert!(route.operations.iter().all(|o| mounted(o.path)), "{}", route.mount);
    }
    let list: Vec<String> = documented.into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    insta::assert_snapshot!(list.join("\n"), @r"
    GET /
    GET /.well-known/exacto-keys.json
    GET /healthz
    GET /metrics
    GET /openapi.json
    GET /page/fragment
    GET /page/{asset}
    GET /readyz
    GET /v1/acks
    GET /v1/alarms
    GET /v1/attempts
    GET /v1/attempts/{id}
    GET /v1/export/litellm
    GET /v1/export/{format}/{model}
    GET /v1/models
    GET /v1/models/{model}/allowlist
    GET /v1/models/{model}/allowlist.sig
    GET /v1/models/{model}/allowlist/watch
    GET /v1/models/{model}/decisions
    GET /v1/models/{model}/endpoints/{endpoint}
    GET /v1/models/{model}/endpoints/{endpoint}/live
    GET /v1/models/{model}/endpoints/{endpoint}/series
    GET /v1/models/{model}/live
    GET /v1/models/{model}/scorecards
    GET /v1/observations
    GET /v1/sweeps
    GET /v1/sweeps/{id}
    POST /v1/acks
    POST /v1/ingest/litellm
    POST /v1/models/{model}/ack
    POST /v1/models/{model}/endpoints/{endpoint}/ban
    POST /v1/models/{model}/endpoints/{endpoint}/note
    POST /v1/models/{model}/endpoints/{endpoint}/pin
    POST /v1/models/{model}/endpoints/{endpoint}/reset
    POST /v1/models/{model}/endpoints/{endpoint}/unban
    POST /v1/models/{model}/endpoints/{endpoint}/unpin
    POST /v1/observations
    POST /v1/sweeps
    POST /v1/traces
    POST /v3/discovery:routes
    PUT /v1/traces
    ");
}

#[tokio::test]
async fn the_document_names_every_parameter_and_every_schema_it_refers_to() {
    let kit = Kit::new().await;
    let document = kit.get("/openapi.json").await.json();
    for operation in TABLE.iter().flat_map(|r| r.operations) {
        let described = &document["paths"][operation.path][operation.method.to_lowercase()];
        let names: Vec<&str> =
            described["parameters"].as_array().into_iter().flatten().map(|p| p["name"].as_str().unwrap()).collect();
        let expected: Vec<&str> = path_params(operation.path).chain(operation.params.iter().map(|p| p.name)).collect();
        assert_eq!(names, expected, "{}", operation.path);
        // What the document shows as an example, the parser takes.
        for param in operation.params.iter().filter(|p| !["capability", "wait", "cursor", "open"].contains(&p.name)) {
            let path = filled(operation.path, "", "");
            if path.ends_with("/watch") {
                continue;
            }
            let model = if param.name == "model" { MODEL } else { param.example };
            let query: String = url::form_urlencoded::byte_serialize(model.as_bytes()).collect();
            let answer = kit.get(&format!("{path}?{}={query}", param.name)).await;
            assert_ne!(answer.status, 400, "{path} {}: {}", param.name, answer.text());
        }
    }
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(schemas.contains_key(name), "{name}");
    }
    let ids: Vec<&str> = text.split("\"operationId\":\"").skip(1).map(|r| r.split('"').next().unwrap()).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len());
}

#[tokio::test]
async fn every_metric_is_in_the_docs_and_every_documented_one_exists() {
    let kit = Kit::new().await;
    let metrics = &kit.state.metrics;
    // Families show with their first labels.
    let mut ended = attempt(kit.sweep(1).await, 1);
    ended.judgement.fault = Some(Fault::RateLimited);
    ended.tries.push(ended.tries[0].clone());
    metrics.attempt_ended(&model(), &ended);
    metrics.set_standing(&model(), &endpoint(0), Standing::Admitted);
    let exposed = kit.get("/metrics").await;
    assert!(exposed.header("content-type").starts_with("application/openmetrics-text"));
    let docs = include_str!("../../../docs/metrics.md");
    let documented: BTreeSet<&str> = docs
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("exactod_"))
        .map(|name| name.strip_suffix("_total").unwrap_or(name))
        .collect();
    for line in exposed.text().lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffix = if kind == "counter" { "_total" } else { "" };
        let row = docs.lines().find(|l| l.starts_with(&format!("| `{name}{suffix}` | {kind} |")));
        assert!(row.is_some(), "docs/metrics.md lacks {name}{suffix}, a {kind}");
    }
    // A family without labels yet is not exposed, so the names are taken from where they are registered.
    let source = include_str!("../../metrics.rs");
    let mut registered = BTreeSet::new();
    for (call, unit) in [("family!(", ""), (".register(", ""), (".register_with_unit(", "_seconds")] {
        for after in source.split(call).skip(1) {
            if let Some(name) = after.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) {
                registered.insert(format!("exactod_{name}{unit}"));
            }
        }
    }
    assert_eq!(documented, registered.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn gauges_follow_the_sweep_in_flight_and_the_writer() {
    let kit = Kit::new().await;
    let sweep = kit.sweep(1).await;
    let value = async |name: &str| -> f64 {
        let exposed = kit.get("/metrics").await;
        let line = exposed.text().lines().find(|l| l.starts_with(name) && !l.starts_with('#')).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("exactod_sweep_planned_attempts{model=\"lab/m:free\"}").await, 0.0);
    let progress = SweepProgress {
        sweep,
        model: model(),
        kind: SweepKind::Onboarding,
        planned_at_us: 0,
        planned: 40,
        done: 7.into(),
        endpoints: BTreeMap::new(),
    };
    let progress = Arc::new(progress);
    kit.state.progress.begin(Arc::clone(&progress));
    assert_eq!(value("exactod_sweep_planned_attempts{model=\"lab/m:free\"}").await, 40.0);
    assert_eq!(value("exactod_sweep_done_attempts{model=\"lab/m:free\"}").await, 7.0);
    progress.ended(&endpoint(0), Verdict::Pass);
    assert_eq!(value("exactod_sweep_done_attempts{model=\"lab/m:free\"}").await, 8.0);
    kit.state.progress.end(&model());
    assert_eq!(value("exactod_sweep_planned_attempts{model=\"lab/m:free\"}").await, 0.0);

    kit.state.writer.append(attempt(sweep, 1)).await.unwrap();
    assert_eq!(value("exactod_store_pending_attempts ").await, 1.0);
    kit.state.writer.flush().await.unwrap();
    assert_eq!(value("exactod_store_pending_attempts ").await, 0.0);
    assert_eq!(value("exactod_store_write_failures_total ").await, 0.0);
    kit.state.store.close().await;
    kit.state.writer.append(attempt(sweep, 2)).await.unwrap();
    let writer = kit.state.writer.clone();
    let flush = tokio::spawn(async move { writer.flush().await });
    kit.state.writer.subscribe().wait_for(|status| status.failures > 0).await.unwrap();
    assert!(value("exactod_store_write_failures_total ").await >= 1.0);
    assert_eq!(value("exactod_store_pending_attempts ").await, 1.0);
    flush.abort();
}

#[tokio::test]
async fn every_route_and_problem_is_in_the_docs() {
    let docs = include_str!("../../../docs/api.md");
    for operation in TABLE.iter().flat_map(|r| r.operations) {
        assert!(
            docs.contains(&format!("`{} {}`", operation.method, operation.path)),
            "{} {}",
            operation.method,
            operation.path
        );
        for param in operation.params {
            assert!(docs.contains(&format!("`{}", param.name)), "{}", param.name);
        }
    }
    let sources = [
        include_str!("../access.rs"),
        include_str!("../acks.rs"),
        include_str!("../allowlist.rs"),
        include_str!("../attempts.rs"),
        include_str!("../body.rs"),
        include_str!("../exports.rs"),
        include_str!("../guard.rs"),
        include_str!("../health.rs"),
        include_str!("../ingest.rs"),
        include_str!("../live.rs"),
        include_str!("../models.rs"),
        include_str!("../orders.rs"),
        include_str!("../params.rs"),
        include_str!("../problem.rs"),
        include_str!("../series.rs"),
        include_str!("../sweeps.rs"),
        include_str!("../watch.rs"),
    ];
    let is_kind = |word: &&str| word.contains('-') && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let mut kinds = BTreeSet::new();
    for source in sources {
        for call in ["Problem::new(", "Problem::bad_request(", "Problem::not_found(", "Problem::unavailable("] {
            for after in source.split(call).skip(1) {
                kinds.extend(after.split('"').skip(1).step_by(2).take(1).filter(is_kind));
            }
        }
    }
    assert!(kinds.len() > 10, "{kinds:?}");
    for kind in kinds {
        assert!(docs.contains(&format!("`{kind}`")), "docs/api.md lacks the problem `{kind}`");
    }
}
