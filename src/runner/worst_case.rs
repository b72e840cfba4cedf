//! The most that a sweep can cost: what is reserved before its first call.
//!
//! Counted are all cases as they will be drawn, the longest answer that each allows, and every try of every attempt in
//! full. Two things are assumed and not known, and `docs/config.md` says so: a prompt token is at least
//! [`BYTES_PER_TOKEN_MIN`] bytes of the request, and a case that limits its answer nowhere is answered with
//! [`ANSWER_TOKENS_DEFAULT`] tokens at most.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::domain::completion::JsonObject;
use crate::domain::jury::JudgeId;
use crate::domain::{CaseInstance, EndpointId, Json, Price, SuiteName, SuitePlan, SweepPlan};
use crate::provider::chat_completions::request_body;
use crate::scoring::{JudgeUse, judges_of};
use crate::suites::Drawer;
use crate::worlds::{RESULT_BYTES_MAX, STEPS_DEFAULT};

/// Answer tokens reserved for a case that limits its answer neither itself nor by the provider's `extra_body`.
pub const ANSWER_TOKENS_DEFAULT: u64 = 4096;
/// Bytes of a request per prompt token, at least. Text has three to four.
pub const BYTES_PER_TOKEN_MIN: u64 = 2;
/// Tokens of what the tools of one step give back, at most: the last of them may begin just below the limit.
const RESULT_TOKENS: u64 = 2 * RESULT_BYTES_MAX as u64 / BYTES_PER_TOKEN_MIN;
/// The request keys that limit an answer.
const LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];

/// What asking an endpoint costs.
#[derive(Debug, Clone)]
pub struct Tariff {
    /// Its price.
    pub price: Price,
    /// Sent with every request, under the case's own keys.
    pub extra_body: Arc<JsonObject>,
}

/// Sizes of one drawn case.
struct Size {
    request_bytes: u64,
    /// `None`: the case does not limit its answer.
    answer_tokens: Option<u64>,
    choices: u64,
    /// Requests of a conversation, at most; 1 for all other cases.
    steps: u64,
    /// What its judges may cost beside it, in billionths of a US dollar.
    judges_nanousd: i64,
}

/// The worst case of a plan and of every plan that is shorter.
#[derive(Debug)]
pub struct WorstCase {
    /// By suite and endpoint of the plan: the cost of its first 0, 1, 2, ... cases, in billionths of a US dollar.
    sums: Vec<Vec<Vec<i64>>>,
    /// Cases whose answer nothing limits for some endpoint, over all suites.
    pub unlimited: usize,
}

impl WorstCase {
    /// Draws the cases of the plan as the sweep will, and adds up what they may cost. Endpoints without a tariff are
    /// free; so are cases that cannot be drawn, since they are not asked.
    #[must_use]
    pub fn of(
        plan: &SweepPlan,
        drawers: &BTreeMap<SuiteName, Arc<Drawer>>,
        tariffs: &BTreeMap<EndpointId, Tariff>,
    ) -> WorstCase {
        WorstCase::with_judges(plan, drawers, tariffs, &BTreeMap::new())
    }

    /// As [`WorstCase::of`], with the votes of judges, by their prices; those without a price are free.
    #[must_use]
    pub fn with_judges(
        plan: &SweepPlan,
        drawers: &BTreeMap<SuiteName, Arc<Drawer>>,
        tariffs: &BTreeMap<EndpointId, Tariff>,
        judges: &BTreeMap<JudgeId, Price>,
    ) -> WorstCase {
        let mut out = WorstCase { sums: Vec::new(), unlimited: 0 };
        for part in plan.parts() {
            let paid = part.endpoints.iter().any(|e| tariffs.contains_key(&e.id)) || !judges.is_empty();
            let drawer = drawers.get(&part.suite).filter(|_| paid);
            let sizes = drawer.map_or_else(Vec::new, |drawer| sizes(part, plan, drawer, judges));
            let limited_by = |t: &Tariff| limit(&t.extra_body).is_some();
            let open = part.endpoints.iter().filter_map(|e| tariffs.get(&e.id)).any(|t| !limited_by(t));
            out.unlimited += sizes.iter().filter(|c| open && c.iter().any(|s| s.answer_tokens.is_none())).count();
            out.sums.push(part.endpoints.iter().map(|e| sums(&sizes, tariffs.get(&e.id))).collect());
        }
        out
    }

    /// What a plan with the same suites and endpoints, and as many cases or fewer, can cost at most.
    #[must_use]
    pub fn of_shorter(&self, plan: &SweepPlan) -> i64 {
        let mut total = 0i64;
        for (part, sums) in plan.parts().zip(&self.sums) {
            for (endpoint, sums) in part.endpoints.iter().zip(sums) {
                let at = (endpoint.cases as usize).min(sums.len().saturating_sub(1));
                total = total.saturating_add(sums.get(at).copied().unwrap_or(0));
            }
        }
        total
    }
}

/// The repeats of every case of a suite's permutation.
fn sizes(part: &SuitePlan, plan: &SweepPlan, drawer: &Drawer, judges: &BTreeMap<JudgeId, Price>) -> Vec<Vec<Size>> {
    let first = plan.first_epoch(&part.suite);
    let drawn = |case| {
        let epochs = first..first.saturating_add(part.epochs);
        epochs.filter_map(move |epoch| drawer.draw(case, &plan.seed, epoch).ok().map(|i| size(&i, judges)))
    };
    part.cases.iter().map(|case| drawn(case).collect()).collect()
}

fn size(instance: &CaseInstance, judges: &BTreeMap<JudgeId, Price>) -> Size {
    let request = &instance.case.request;
    let turns = instance.world.as_ref().map_or(0, |world| world.text().len());
    let request_bytes = (request_body("", instance, &Map::new()).len() + turns) as u64;
    Size {
        request_bytes,
        answer_tokens: limit(request),
        choices: request.get("n").and_then(Value::as_u64).unwrap_or(1).max(1),
        steps: instance.world.as_ref().map_or(1, steps),
        judges_nanousd: if judges.is_empty() { 0 } else { votes_cost(instance, request_bytes, judges) },
    }
}

/// What a conversation asks at most: what the user says later counts as if it were said at once.
fn steps(world: &Json) -> u64 {
    world.value().get("max_steps").and_then(Value::as_u64).unwrap_or(u64::from(STEPS_DEFAULT)).max(1)
}

/// All votes on the longest answer. A judge is shown the case and the answer inside a JSON text, which may double them.
fn votes_cost(instance: &CaseInstance, request_bytes: u64, judges: &BTreeMap<JudgeId, Price>) -> i64 {
    let answer = limit(&instance.case.request).unwrap_or(ANSWER_TOKENS_DEFAULT).saturating_mul(2);
    let of = |used: JudgeUse| {
        let Some(price) = judges.get(&used.judge) else { return 0 };
        let shown = (2 * request_bytes + 2 * used.rubric_bytes).div_ceil(BYTES_PER_TOKEN_MIN);
        let once = price.cost_nanousd(shown.saturating_add(answer), used.max_tokens);
        once.saturating_mul(i64::try_from(used.votes).unwrap_or(i64::MAX))
    };
    judges_of(&instance.scorers).into_iter().map(of).fold(0, i64::saturating_add)
}

/// The limit of an answer; of two the larger, since each provider obeys the one that it knows.
fn limit(request: &JsonObject) -> Option<u64> {
    LIMITS.iter().filter_map(|key| request.get(*key)?.as_u64()).max()
}

fn sums(cases: &[Vec<Size>], tariff: Option<&Tariff>) -> Vec<i64> {
    let Some(tariff) = tariff else { return added_up(cases, |size| size.judges_nanousd) };
    let extra_bytes = serde_json::to_string(&*tariff.extra_body).map_or(0, |text| text.len() as u64);
    let default = limit(&tariff.extra_body).unwrap_or(ANSWER_TOKENS_DEFAULT);
    let cost = |size: &Size| {
        let tokens_in = (size.request_bytes + extra_bytes).div_ceil(BYTES_PER_TOKEN_MIN);
        let tokens_out = size.answer_tokens.unwrap_or(default).saturating_mul(size.choices);
        // Every step sends all that was said before: the answers, and what the tools gave back.
        let said = tokens_out.saturating_add(RESULT_TOKENS).saturating_mul(size.steps * (size.steps - 1) / 2);
        let tokens_in = tokens_in.saturating_mul(size.steps).saturating_add(said);
        let own = tariff.price.cost_nanousd(tokens_in, tokens_out.saturating_mul(size.steps));
        own.saturating_add(size.judges_nanousd)
    };
    added_up(cases, cost)
}

fn added_up(cases: &[Vec<Size>], cost: impl Fn(&Size) -> i64) -> Vec<i64> {
    let mut sum = 0i64;
    let mut out = vec![0];
    for case in cases {
        sum = case.iter().map(&cost).fold(sum, i64::saturating_add);
        out.push(sum);
    }
    out
}
