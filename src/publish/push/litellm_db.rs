//! LiteLLM with a database: `PATCH /model/{id}/update` with the order and the weight of deployments.
//!
//! The lowest order is used, higher ones are fallbacks: a deployment that is not listed goes to the end, and is never deleted.
//! Deployments that stand in LiteLLM's configuration file cannot be changed so.

use serde_json::{Map, Value, json};

use super::{Call, Cast, NotPlanned, Plan, array, encoded, form, text, wanted};

/// The order of listed deployments.
const LISTED: u64 = 1;
/// The order of those that are not.
const UNLISTED: u64 = 9;

/// A deployment as LiteLLM shows it.
struct Deployment<'a> {
    id: &'a str,
    order: Option<u64>,
    weight: Option<u64>,
    owned: bool,
}

pub(super) fn plan(cast: &Cast<'_>, current: &Value) -> Result<Plan, NotPlanned> {
    let wanted = wanted(cast);
    let known = deployments(current)?;
    let known: Vec<&Deployment<'_>> = known.iter().filter(|d| wanted.contains_key(d.id)).collect();
    if !known.iter().any(|d| wanted.get(d.id).is_some_and(Option::is_some)) {
        return Err(NotPlanned::Empty(": compare `model_info.id` with `slugs.litellm`".to_owned()));
    }
    let mut plan = Plan::default();
    for deployment in known {
        let weight = wanted.get(deployment.id).copied().flatten().map(u64::from);
        let order = if weight.is_some() { LISTED } else { UNLISTED };
        add(&mut plan, deployment, Some(order), weight)?;
    }
    Ok(plan)
}

pub(super) fn memory(cast: &Cast<'_>, current: &Value) -> Result<Value, NotPlanned> {
    let wanted = wanted(cast);
    let known = deployments(current)?;
    let known = known.iter().filter(|d| wanted.contains_key(d.id));
    let one = |d: &Deployment<'_>| (d.id.to_owned(), json!({"order": d.order, "weight": d.weight}));
    Ok(Value::Object(known.map(one).collect::<Map<_, _>>()))
}

pub(super) fn restore(current: &Value, remembered: &Value) -> Result<Plan, NotPlanned> {
    let mut plan = Plan::default();
    for deployment in deployments(current)? {
        let Some(before) = remembered.get(deployment.id) else { continue };
        // What had no order is used like the first: LiteLLM takes none back.
        let order = before.get("order").and_then(Value::as_u64).unwrap_or(LISTED);
        add(&mut plan, &deployment, Some(order), before.get("weight").and_then(Value::as_u64))?;
    }
    Ok(plan)
}

/// A weight that nothing is wanted of stays.
fn add(plan: &mut Plan, is: &Deployment<'_>, order: Option<u64>, weight: Option<u64>) -> Result<(), NotPlanned> {
    let (mut params, mut words) = (Map::new(), Vec::new());
    for (key, is, due) in [("order", is.order, order), ("weight", is.weight, weight)] {
        if let Some(due) = due.filter(|due| is != Some(*due)) {
            let before = is.map_or_else(|| "none".to_owned(), |is| is.to_string());
            words.push(format!("{key} {before} -> {due}"));
            params.insert(key.to_owned(), json!(due));
        }
    }
    if words.is_empty() {
        return Ok(());
    }
    if !is.owned {
        let why = "it stands in LiteLLM's configuration file, which this API cannot change";
        return Err(NotPlanned::Foreign(format!("deployment {}: {why}", is.id)));
    }
    plan.diff.push(format!("{}: {}", is.id, words.join(", ")));
    let path = format!("/model/{}/update", encoded(is.id));
    plan.calls.push(Call::send("PATCH", path, json!({"litellm_params": params})));
    Ok(())
}

fn deployments(current: &Value) -> Result<Vec<Deployment<'_>>, NotPlanned> {
    let rows = array(current, "/data")?;
    rows.iter().map(|row| deployment(row).ok_or_else(|| form("a model has no `model_info.id`"))).collect()
}

fn deployment(row: &Value) -> Option<Deployment<'_>> {
    // Weights may be shown as 50.0.
    let number = |pointer: &str| row.pointer(pointer).and_then(Value::as_f64).map(|n| n.round().max(0.0) as u64);
    Some(Deployment {
        id: text(row, "/model_info/id")?,
        order: number("/litellm_params/order"),
        weight: number("/litellm_params/weight"),
        owned: row.pointer("/model_info/db_model").and_then(Value::as_bool).unwrap_or(false),
    })
}
