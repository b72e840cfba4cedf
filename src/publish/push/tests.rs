//! The documented shapes of the admin APIs, as contracts.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::config::{Config, ModelConfig, SystemEnv};
use crate::domain::Allowlist;
use crate::publish::exports::ModelNames;

const CONFIG: &str = r#"
[[provider]]
id = "groq"
base_url = "https://api.groq.example/openai/v1"
[[provider]]
id = "fire"
base_url = "https://api.fire.example/v1"
[[provider]]
id = "deep"
base_url = "https://api.deep.example/v1"

[[model]]
id = "lab/kimi"
  [[model.endpoint]]
  provider = "groq"
  upstream_model = "kimi-groq"
  slugs = { litellm = "prov1", cloudflare = "groq" }
  [[model.endpoint]]
  provider = "fire"
  upstream_model = "kimi-fire"
  slugs = { litellm = "prov2", cloudflare = "fireworks/accounts/kimi" }
  [[model.endpoint]]
  provider = "deep"
  upstream_model = "kimi-deep"
  slugs = { litellm = "prov3", cloudflare = "deep" }
"#;

fn config() -> ModelConfig {
    Config::parse(CONFIG, std::path::Path::new("exactod.toml"), &SystemEnv).unwrap().models.remove(0)
}

fn list(listed: &[(&str, u32)], excluded: &[&str]) -> Allowlist {
    let entry = |(rank, (id, weight)): (usize, &(&str, u32))| json!({"id": id, "rank": rank + 1, "weight": weight, "tier": "admitted", "slugs": {}});
    let out = |id: &&str| json!({"id": id, "reason": "bad", "since": "2026-01-30T06:00:00Z"});
    serde_json::from_value(json!({
        "schema": "exacto.allowlist/v1", "model": "lab/kimi", "version": 4, "mode": "normal",
        "issued_at": "2026-01-31T12:00:00Z", "expires_at": "2026-02-01T12:00:00Z",
        "providers": listed.iter().enumerate().map(entry).collect::<Vec<_>>(),
        "excluded": excluded.iter().map(out).collect::<Vec<_>>()}))
    .unwrap()
}

fn with<T>(list: &Allowlist, look: impl FnOnce(&Scene<'_>) -> T) -> T {
    let config = config();
    look(&Scene {
        list,
        model: ModelNames {
            id: config.id.as_str(),
            aliases: Vec::new(),
            public_name: (&config.public_name).into(),
            slugs: &config.slugs,
        },
        endpoints: config.endpoints.iter().zip(config.providers.iter().map(Arc::as_ref)).collect(),
    })
}

fn planned(adapter: Adapter, target: &str, list: &Allowlist, current: &Value) -> Result<Plan, NotPlanned> {
    with(list, |scene| plan(adapter, target, scene, current))
}

fn usual() -> Allowlist {
    list(&[("groq", 100), ("deep", 50)], &["fire"])
}

/// As Kong shows a plugin.
fn plugin(weights: [u64; 3]) -> Value {
    let target = |(host, model, weight): (&str, &str, u64)| {
        json!({"route_type": "llm/v1/chat", "weight": weight, "auth": {"header_name": "Authorization", "header_value": "k"},
               "model": {"provider": "openai", "name": model, "options": {"upstream_url": format!("https://{host}/chat/completions")}}})
    };
    let [a, b, c] = weights;
    let targets = [
        ("api.groq.example/openai/v1", "kimi-groq", a),
        ("api.fire.example/v1", "kimi-fire", b),
        ("api.deep.example/v1", "kimi-deep", c),
    ];
    json!({"id": "p1", "name": "ai-proxy-advanced", "enabled": true,
           "config": {"balancer": {"algorithm": "round-robin"}, "targets": targets.map(target)}})
}

#[test]
fn kong_gets_the_weights_and_everything_else_as_it_was() {
    let before = plugin([100, 100, 100]);
    let plan = planned(Adapter::Kong, "p1", &usual(), &before).unwrap();
    assert_eq!(plan.diff, ["groq: weight 100 -> 10000", "fire: weight 100 -> 1", "deep: weight 100 -> 5000"]);
    let after = plugin([10_000, 1, 5_000]);
    let [call] = plan.calls.as_slice() else { panic!("{plan:?}") };
    assert_eq!((call.method, call.path.as_str()), ("PATCH", "/plugins/p1"));
    assert_eq!(call.body, Some(json!({"config": {"targets": after["config"]["targets"]}})));
    assert_eq!(planned(Adapter::Kong, "p1", &usual(), &after).unwrap(), Plan::default());

    let memory = with(&usual(), |scene| memory(Adapter::Kong, scene, &before)).unwrap();
    assert!(!memory.to_string().contains("header_value"), "no credentials are remembered: {memory}");
    let back = restore(Adapter::Kong, "p1", &after, &memory).unwrap();
    assert_eq!(back.calls[0].body, Some(json!({"config": {"targets": before["config"]["targets"]}})));
    assert_eq!(restore(Adapter::Kong, "p1", &before, &memory).unwrap(), Plan::default());
}

#[test]
fn kong_is_not_touched_where_nobody_would_be_left_or_the_plugin_is_another() {
    let only_the_bad =
        json!({"name": "ai-proxy-advanced", "config": {"targets": [plugin([1, 1, 1])["config"]["targets"][1]]}});
    assert!(matches!(planned(Adapter::Kong, "p1", &usual(), &only_the_bad), Err(NotPlanned::Empty(_))));
    let none = json!({"name": "ai-proxy-advanced", "config": {"targets": []}});
    assert!(matches!(planned(Adapter::Kong, "p1", &usual(), &none), Err(NotPlanned::Empty(_))));
    let other = json!({"name": "rate-limiting", "config": {}});
    assert!(matches!(planned(Adapter::Kong, "p1", &usual(), &other), Err(NotPlanned::Foreign(_))));
    for odd in [json!({}), json!(null), json!({"name": "ai-proxy-advanced"})] {
        assert!(matches!(planned(Adapter::Kong, "p1", &usual(), &odd), Err(NotPlanned::Form(_))), "{odd}");
    }
    assert_eq!(read(Adapter::Kong, "a/../b").path, "/plugins/a%2F..%2Fb");
}

fn models(rows: &[(&str, Option<u64>, Option<u64>, bool)]) -> Value {
    let row = |(id, order, weight, owned): &(&str, Option<u64>, Option<u64>, bool)| {
        json!({"model_name": "kimi:exacto", "litellm_params": {"model": "openai/kimi", "order": order, "weight": weight},
               "model_info": {"id": id, "db_model": owned}})
    };
    json!({"data": rows.iter().map(row).collect::<Vec<_>>()})
}

#[test]
fn litellm_demotes_and_never_deletes() {
    let before = models(&[
        ("prov1", None, None, true),
        ("prov2", Some(1), Some(30), true),
        ("prov3", Some(9), Some(50), true),
        ("somebody-elses", None, None, false),
    ]);
    let plan = planned(Adapter::LitellmDb, "", &usual(), &before).unwrap();
    assert_eq!(plan.diff, ["prov1: order none -> 1, weight none -> 100", "prov2: order 1 -> 9", "prov3: order 9 -> 1"]);
    let sent: Vec<(&str, &str, &Value)> =
        plan.calls.iter().map(|c| (c.method, c.path.as_str(), c.body.as_ref().unwrap())).collect();
    assert_eq!(sent[0], ("PATCH", "/model/prov1/update", &json!({"litellm_params": {"order": 1, "weight": 100}})));
    assert_eq!(sent[1], ("PATCH", "/model/prov2/update", &json!({"litellm_params": {"order": 9}})));
    let after = models(&[
        ("prov1", Some(1), Some(100), true),
        ("prov2", Some(9), Some(30), true),
        ("prov3", Some(1), Some(50), true),
    ]);
    assert_eq!(planned(Adapter::LitellmDb, "", &usual(), &after).unwrap(), Plan::default());

    let memory = with(&usual(), |scene| memory(Adapter::LitellmDb, scene, &before)).unwrap();
    assert_eq!(memory.as_object().unwrap().len(), 3);
    let back = restore(Adapter::LitellmDb, "", &after, &memory).unwrap();
    assert_eq!(back.diff, ["prov2: order 9 -> 1", "prov3: order 1 -> 9"]);
}

#[test]
fn litellm_is_not_touched_where_nobody_would_be_left_or_a_deployment_stands_in_its_file() {
    let only_the_bad = models(&[("prov2", None, None, true)]);
    assert!(matches!(planned(Adapter::LitellmDb, "", &usual(), &only_the_bad), Err(NotPlanned::Empty(_))));
    let in_the_file = models(&[("prov1", Some(1), Some(100), true), ("prov2", None, None, false)]);
    let error = planned(Adapter::LitellmDb, "", &usual(), &in_the_file).unwrap_err().to_string();
    assert!(error.contains("prov2") && error.contains("configuration file"), "{error}");
    // Nothing is due of it: it may stand there.
    let right = models(&[("prov1", Some(1), Some(100), false), ("prov2", Some(9), None, true)]);
    assert_eq!(planned(Adapter::LitellmDb, "", &usual(), &right).unwrap(), Plan::default());
    for odd in [json!({}), json!({"data": {}}), json!({"data": [{}]})] {
        assert!(matches!(planned(Adapter::LitellmDb, "", &usual(), &odd), Err(NotPlanned::Form(_))), "{odd}");
    }
}

fn route(version: &str, elements: &Value) -> Value {
    json!({"success": true, "result": {"id": "r", "name": "kimi", "elements": elements, "deployment": {"version_id": version}}})
}

#[test]
fn cloudflare_gets_a_version_that_is_deployed_and_goes_back_by_the_one_before() {
    let target = "acc/gw/r";
    let before = route("v1", &json!([]));
    assert_eq!(read(Adapter::Cloudflare, target).path, "/accounts/acc/ai-gateway/gateways/gw/routes/r");
    let list = list(&[("deep", 100), ("fire", 50)], &["groq"]);
    let plan = planned(Adapter::Cloudflare, target, &list, &before).unwrap();
    assert_eq!(plan.diff, ["route: nobody -> deep/kimi-deep, fireworks/accounts/kimi"]);
    let [version, deploy] = plan.calls.as_slice() else { panic!("{plan:?}") };
    assert_eq!(version.path, "/accounts/acc/ai-gateway/gateways/gw/routes/r/versions");
    assert_eq!(deploy.path, "/accounts/acc/ai-gateway/gateways/gw/routes/r/deployments");
    assert_eq!(deploy.takes, Some(("/result/version_id", "version_id")));
    let elements = &version.body.as_ref().unwrap()["elements"];
    assert_eq!(
        elements,
        &json!([
            {"id": "start", "type": "start", "outputs": {"next": {"elementId": "model-1"}}},
            {"id": "model-1", "type": "model",
             "properties": {"provider": "deep", "model": "kimi-deep", "retries": 0, "timeout": 300_000},
             "outputs": {"success": {"elementId": "end"}, "fallback": {"elementId": "model-2"}}},
            {"id": "model-2", "type": "model",
             "properties": {"provider": "fireworks", "model": "accounts/kimi", "retries": 0, "timeout": 300_000},
             "outputs": {"success": {"elementId": "end"}, "fallback": {"elementId": "end"}}},
            {"id": "end", "type": "end", "outputs": {}},
        ])
    );
    let after = route("v2", elements);
    assert_eq!(planned(Adapter::Cloudflare, target, &list, &after).unwrap(), Plan::default());

    let memory = with(&list, |scene| memory(Adapter::Cloudflare, scene, &before)).unwrap();
    let back = restore(Adapter::Cloudflare, target, &after, &memory).unwrap();
    assert_eq!(back.calls[0].body, Some(json!({"version_id": "v1"})));
    assert_eq!(restore(Adapter::Cloudflare, target, &before, &memory).unwrap(), Plan::default());
    let first = restore(Adapter::Cloudflare, target, &after, &json!({"version_id": null}));
    assert!(matches!(first, Err(NotPlanned::Foreign(_))));
    for odd in [json!({}), json!({"success": false, "result": {}}), json!({"result": {}})] {
        assert!(matches!(planned(Adapter::Cloudflare, target, &list, &odd), Err(NotPlanned::Form(_))), "{odd}");
    }
}

#[test]
fn an_empty_list_is_put_nowhere() {
    let nobody = list(&[], &["groq", "fire", "deep"]);
    let current = [plugin([100, 100, 100]), models(&[("prov1", None, None, true)]), route("v1", &json!([]))];
    for (adapter, current) in Adapter::ALL.into_iter().zip(current) {
        let made = planned(adapter, "a/b/c", &nobody, &current);
        assert!(matches!(made, Err(NotPlanned::Empty(_))), "{adapter:?}: {made:?}");
    }
}
