//! Cloudflare AI Gateway: a dynamic route, as a new version that is then deployed.
//!
//! The listed endpoints are asked in the list's order, each the fallback of the one before. An endpoint is called by
//! `slugs.cloudflare`: a provider of the gateway, or `provider/model`. The route is exactod's alone: its elements are replaced.
//! Versions stay at Cloudflare, so going back is a deployment of the one before.

use serde_json::{Value, json};

use super::{Call, Cast, NotPlanned, Plan, encoded, form, text};

/// How long one endpoint may take, in milliseconds, where its own limit is not known.
const TIMEOUT_MS: u64 = 300_000;

pub(super) fn path(target: &str) -> String {
    let mut parts = target.split('/').map(encoded);
    let mut part = || parts.next().unwrap_or_default();
    format!("/accounts/{}/ai-gateway/gateways/{}/routes/{}", part(), part(), part())
}

pub(super) fn plan(cast: &Cast<'_>, target: &str, current: &Value) -> Result<Plan, NotPlanned> {
    let due = elements(cast);
    if due.len() < 3 {
        return Err(NotPlanned::Empty(String::new()));
    }
    let route = route(current)?;
    let is = route.get("elements").and_then(Value::as_array).ok_or_else(|| form("`result.elements` is no array"))?;
    let (before, after) = (models(is), models(&due));
    // Only what is shown to routers counts: Cloudflare may add fields of its own.
    if before == after && deployed(route).is_some() {
        return Ok(Plan::default());
    }
    let said = |models: &[String]| if models.is_empty() { "nobody".to_owned() } else { models.join(", ") };
    let diff = vec![format!("route: {} -> {}", said(&before), said(&after))];
    let version = Call::send("POST", format!("{}/versions", path(target)), json!({"elements": due}));
    let deploy = Call {
        takes: Some(("/result/version_id", "version_id")),
        ..Call::send("POST", format!("{}/deployments", path(target)), json!({}))
    };
    Ok(Plan { diff, calls: vec![version, deploy] })
}

pub(super) fn memory(current: &Value) -> Result<Value, NotPlanned> {
    Ok(json!({"version_id": deployed(route(current)?)}))
}

pub(super) fn restore(target: &str, current: &Value, remembered: &Value) -> Result<Plan, NotPlanned> {
    let Some(before) = text(remembered, "/version_id") else {
        return Err(NotPlanned::Foreign("no version was deployed before: there is nothing to go back to".to_owned()));
    };
    let is = deployed(route(current)?);
    if is == Some(before) {
        return Ok(Plan::default());
    }
    let diff = vec![format!("deployed version: {} -> {before}", is.unwrap_or("none"))];
    let call = Call::send("POST", format!("{}/deployments", path(target)), json!({"version_id": before}));
    Ok(Plan { diff, calls: vec![call] })
}

fn route(current: &Value) -> Result<&Value, NotPlanned> {
    let success = current.get("success").and_then(Value::as_bool);
    match current.get("result") {
        Some(route) if route.is_object() && success != Some(false) => Ok(route),
        _ => Err(form("it has no `result`")),
    }
}

fn deployed(route: &Value) -> Option<&str> {
    text(route, "/deployment/version_id")
}

/// `provider/model` of the elements that ask one, in their order.
fn models(elements: &[Value]) -> Vec<String> {
    let of_models = elements.iter().filter(|element| text(element, "/type") == Some("model"));
    let part = |element: &Value, pointer| text(element, pointer).unwrap_or_default().to_owned();
    of_models.map(|e| format!("{}/{}", part(e, "/properties/provider"), part(e, "/properties/model"))).collect()
}

fn elements(cast: &Cast<'_>) -> Vec<Value> {
    let listed = cast.listed();
    let node = |n: usize| if n < listed.len() { format!("model-{}", n + 1) } else { "end".to_owned() };
    let to = |id: String| json!({"elementId": id});
    let mut out = vec![json!({"id": "start", "type": "start", "outputs": {"next": to(node(0))}})];
    for (n, player) in listed.iter().enumerate() {
        let upstream = player.place.map_or(cast.scene.model.id, |(endpoint, _)| endpoint.upstream_model.as_str());
        let (provider, model) = player.name.split_once('/').unwrap_or((player.name.as_str(), upstream));
        let total = player.place.map(|(_, provider)| provider.timeouts.total.as_millis());
        let timeout = total.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(TIMEOUT_MS);
        out.push(json!({
            "id": node(n), "type": "model",
            "properties": {"provider": provider, "model": model, "retries": 0, "timeout": timeout},
            "outputs": {"success": to("end".to_owned()), "fallback": to(node(n + 1))},
        }));
    }
    out.push(json!({"id": "end", "type": "end", "outputs": {}}));
    out
}
