//! Kong: `PATCH /plugins/{id}` with the weights of the targets of `ai-proxy-advanced`.
//!
//! A target is an endpoint's when it has its URL (`model.options.upstream_url`) and, where several have that, its model's name.
//! Kong takes no weight of 0: a target that is not listed keeps 1 against 10,000, so one request in ten thousand.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Call, Cast, NotPlanned, Plan, array, encoded, form, text};
use crate::publish::exports::base_url;

/// Weights of lists are 1 to 100; a listed target has so many times that.
const LISTED_TIMES: u64 = 100;
/// The weight of a target that is not listed: the least that Kong takes.
const UNLISTED: u64 = 1;
const PLUGIN: &str = "ai-proxy-advanced";
const TARGETS: &str = "/config/targets";

pub(super) fn path(target: &str) -> String {
    format!("/plugins/{}", encoded(target))
}

pub(super) fn plan(cast: &Cast<'_>, target: &str, current: &Value) -> Result<Plan, NotPlanned> {
    let mut weights: BTreeMap<usize, (String, u64)> = BTreeMap::new();
    let mut listed = 0;
    let targets = targets(current)?;
    for (id, weight, endpoint, provider) in cast.everybody() {
        let url = format!("{}/chat/completions", base_url(provider));
        let name = cast.slug(Some(&endpoint.slugs), id).unwrap_or_else(|| endpoint.upstream_model.clone());
        let here = |at: &Value| text(at, "/model/options/upstream_url").is_some_and(|u| u.trim_end_matches('/') == url);
        let mut of_it: Vec<usize> = (0..targets.len()).filter(|n| here(&targets[*n])).collect();
        if of_it.len() > 1 {
            of_it.retain(|n| text(&targets[*n], "/model/name") == Some(name.as_str()));
        }
        for at in of_it {
            let due = weight.map_or(UNLISTED, |weight| u64::from(weight) * LISTED_TIMES);
            let known = weights.entry(at).or_insert_with(|| (id.to_string(), UNLISTED));
            // Of several endpoints that Kong cannot tell apart one that is listed counts.
            if due > known.1 {
                *known = (id.to_string(), due);
            }
            listed += usize::from(weight.is_some());
        }
    }
    if listed == 0 {
        return Err(NotPlanned::Empty(
            ": compare `config.targets[].model.options.upstream_url` with `base_url`".into(),
        ));
    }
    Ok(changed(target, targets, &weights))
}

/// The whole array goes back, as Kong replaces arrays; all but the weights as it was read.
fn changed(target: &str, targets: &[Value], weights: &BTreeMap<usize, (String, u64)>) -> Plan {
    let mut after = targets.to_vec();
    let mut diff = Vec::new();
    for (at, (name, due)) in weights {
        let is = targets[*at].get("weight").and_then(Value::as_u64);
        if is != Some(*due) {
            let before = is.map_or_else(|| "none".to_owned(), |is| is.to_string());
            diff.push(format!("{name}: weight {before} -> {due}"));
            after[*at]["weight"] = json!(due);
        }
    }
    let call = || Call::send("PATCH", path(target), json!({"config": {"targets": after}}));
    let calls = if diff.is_empty() { Vec::new() } else { vec![call()] };
    Plan { diff, calls }
}

/// Weights by URL and name: the order of the targets is the user's.
pub(super) fn memory(current: &Value) -> Result<Value, NotPlanned> {
    let known = targets(current)?.iter().map(|target| (key(target), target["weight"].clone()));
    Ok(Value::Object(known.collect::<Map<_, _>>()))
}

pub(super) fn restore(target: &str, current: &Value, remembered: &Value) -> Result<Plan, NotPlanned> {
    let targets = targets(current)?;
    let known = |at: &Value| remembered.get(key(at)).and_then(Value::as_u64);
    let weights = targets.iter().enumerate().filter_map(|(n, at)| Some((n, (key(at), known(at)?))));
    Ok(changed(target, targets, &weights.collect()))
}

fn targets(current: &Value) -> Result<&Vec<Value>, NotPlanned> {
    match text(current, "/name") {
        Some(PLUGIN) => array(current, TARGETS),
        Some(other) => Err(NotPlanned::Foreign(format!("the plugin is {other:?}, not {PLUGIN}"))),
        None => Err(form("it has no `name`")),
    }
}

fn key(target: &Value) -> String {
    let part = |pointer| text(target, pointer).unwrap_or_default();
    format!("{} {}", part("/model/options/upstream_url"), part("/model/name"))
}
