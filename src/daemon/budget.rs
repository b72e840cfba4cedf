//! Money: the worst case of a sweep is reserved before it starts; one that does not fit is shrunk, the same for every
//! endpoint, or not started (interfaces 6.5).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::runtime::ModelRuntime;
use crate::config::Budget;
use crate::domain::{EndpointId, Micros, SuiteName, SuitePlan, SweepPlan};
use crate::runner::{Tariff, WorstCase, shrink_to};
use crate::store::DayBudget;

const DAY_US: i64 = 86_400_000_000;
const NANO: f64 = 1e9;
/// A plan is shrunk to a whole number of so many parts: fine enough for a single case of the largest suites.
const SHARES: u32 = 1 << 20;

/// Start of the UTC day of a time.
#[must_use]
pub fn day_start(now_us: Micros) -> Micros {
    now_us.div_euclid(DAY_US) * DAY_US
}

/// Start of the UTC day after a time.
#[must_use]
pub fn next_day(at_us: Micros) -> Micros {
    day_start(at_us).saturating_add(DAY_US)
}

/// The cap of the day, for the store's transaction that reserves.
#[must_use]
pub fn day_budget(budget: &Budget, now_us: Micros) -> Option<DayBudget> {
    let cap = budget.usd_per_day?;
    Some(DayBudget { since_us: day_start(now_us), cap_nanousd: (cap * NANO) as i64 })
}

/// A plan that may be carried out.
#[derive(Debug)]
pub struct Fitted {
    /// The plan with its reservation.
    pub plan: SweepPlan,
    /// Attempts before it was shrunk, when it was.
    pub shrunk_from: Option<u64>,
    /// The reservation that the whole plan would have taken.
    pub whole_nanousd: i64,
}

impl Fitted {
    /// What the sweep's record says about it; empty when it is whole.
    #[must_use]
    pub fn note(&self) -> String {
        let to = self.plan.attempts();
        self.shrunk_from.map(|from| format!("shrunk from {from} to {to} cases by the budget")).unwrap_or_default()
    }
}

/// What a sweep's record says when it repeats a part of a suite.
const REPEATS_OF_A_PART: &str = "gives no evidence: repeats of a part of a suite, whose spread cannot be told from that of \
                                 the cases; leave --epochs out, or ask every case";

/// Repeats are evidence when every case is asked (docs/statistics.md): of a part of a suite they are answers on record,
/// but no evidence. `sizes`: cases of each suite. What the sweep's record says about it; empty when it is none of these.
pub fn without_repeats_of_a_part(plan: &mut SweepPlan, sizes: impl Fn(&SuiteName) -> usize) -> &'static str {
    let is_part = |part: &SuitePlan| part.endpoints.iter().any(|e| (e.cases as usize) < sizes(&part.suite));
    if !plan.gives_evidence || !plan.suites.iter().any(|part| part.epochs > 1 && is_part(part)) {
        return "";
    }
    plan.gives_evidence = false;
    REPEATS_OF_A_PART
}

/// The plan with its reservation, shrunk to what may be spent: to the largest share that fits, the same for every
/// endpoint. `None`: not even one case per endpoint fits.
#[must_use]
pub fn fit(mut plan: SweepPlan, worst_case: &WorstCase, left_nanousd: Option<i64>) -> Option<Fitted> {
    plan.reserved_nanousd = worst_case.of_shorter(&plan);
    let left = left_nanousd.unwrap_or(i64::MAX);
    if plan.reserved_nanousd <= left {
        return Some(Fitted { whole_nanousd: plan.reserved_nanousd, plan, shrunk_from: None });
    }
    // The cost grows with the share: halve the interval between one that fits and one that does not.
    let (mut fits, mut too_much) = (None, SHARES);
    let mut at_most = 0;
    while too_much - at_most > 1 {
        let share = at_most + (too_much - at_most) / 2;
        match shrink_to(&plan, share, SHARES) {
            Some(mut shrunk) => {
                shrunk.reserved_nanousd = worst_case.of_shorter(&shrunk);
                if shrunk.reserved_nanousd <= left {
                    (fits, at_most) = (Some(shrunk), share);
                } else {
                    too_much = share;
                }
            }
            // Too small a share leaves somebody with nothing.
            None => at_most = share,
        }
    }
    let (from, whole_nanousd) = (plan.attempts(), plan.reserved_nanousd);
    fits.map(|shrunk| Fitted { shrunk_from: Some(from), whole_nanousd, plan: shrunk })
}

/// Whether an onboarding sweep is worth beginning: at least half as large as on a fresh day. What is left beyond that is
/// the schedule's; ever smaller sweeps would use it up for little.
#[must_use]
pub fn is_worth_it(fitted: &Fitted, budget: &Budget, day_left_nanousd: Option<i64>) -> bool {
    let fresh = allowance(budget, budget.usd_per_day.map(|usd| (usd * NANO) as i64)).unwrap_or(i64::MAX);
    let left = allowance(budget, day_left_nanousd).unwrap_or(i64::MAX);
    fitted.shrunk_from.is_none() || left.saturating_mul(2) >= fresh.min(fitted.whole_nanousd)
}

/// What one sweep may cost: the smaller of its own cap and what the day has left.
#[must_use]
pub fn allowance(budget: &Budget, day_left_nanousd: Option<i64>) -> Option<i64> {
    let own = budget.usd_per_sweep.map(|usd| (usd * NANO) as i64);
    match (own, day_left_nanousd) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What asking the endpoints of a model costs; those without a price are free.
#[must_use]
pub fn tariffs(model: &ModelRuntime) -> BTreeMap<EndpointId, Tariff> {
    let tariff = |(endpoint, provider): (&crate::domain::Endpoint, &Arc<crate::domain::Provider>)| {
        let tariff = Tariff { price: endpoint.price?, extra_body: Arc::clone(&provider.extra_body) };
        Some((endpoint.id.clone(), tariff))
    };
    model.config.endpoints.iter().zip(&model.config.providers).filter_map(tariff).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::completion::JsonObject;
    use crate::domain::{BudgetedEndpoint, ModelId, Price, SuiteName, SweepId, SweepKind};
    use crate::provider::chat_completions::request_body;
    use crate::runner::{PlanInput, SuiteBudget, build_plan};
    use crate::suites::{Drawer, shipped};

    const ENDPOINTS: [&str; 3] = ["alder", "birch", "cedar"];
    const SEED: &str = "00000000000000000000000000000007";

    fn drawers() -> BTreeMap<SuiteName, Arc<Drawer>> {
        let drawer = |s: Arc<crate::domain::Suite>| (s.name.clone(), Arc::new(Drawer::new(s).unwrap()));
        shipped().unwrap().into_iter().filter(|suite| suite.by_default).map(drawer).collect()
    }

    /// A plan of some of the suites with as many cases for each of the endpoints.
    fn plan(drawers: &BTreeMap<SuiteName, Arc<Drawer>>, cases: [u32; 3]) -> SweepPlan {
        let budgets = || ENDPOINTS.iter().zip(cases).map(|(id, cases)| BudgetedEndpoint { id: endpoint(id), cases });
        let suite = |d: &Arc<Drawer>| SuiteBudget {
            suite: Arc::clone(d.suite()),
            cases: budgets().collect(),
            only: None,
            epochs: 1,
        };
        build_plan(PlanInput {
            id: SweepId(uuid::Uuid::nil()),
            model: ModelId::new("lab/m").unwrap(),
            kind: SweepKind::Scheduled,
            ordinal: 1,
            seed: SEED.to_owned(),
            planned_at_us: 0,
            anchors: Vec::new(),
            suites: drawers.values().map(suite).collect(),
            aside: Vec::new(),
            gives_evidence: true,
            probes: Vec::new(),
        })
    }

    fn endpoint(id: &str) -> EndpointId {
        EndpointId::new(id).unwrap()
    }

    fn tariffs(price: Price, extra_body: serde_json::Value) -> BTreeMap<EndpointId, Tariff> {
        let extra_body: Arc<JsonObject> = Arc::new(serde_json::from_value(extra_body).unwrap());
        let tariff = || Tariff { price, extra_body: Arc::clone(&extra_body) };
        ENDPOINTS.iter().map(|id| (endpoint(id), tariff())).collect()
    }

    const INPUT: Price = Price { input_per_mtok: 10.0, output_per_mtok: 0.0 };

    #[test]
    fn a_plan_is_shrunk_no_further_than_its_money_asks() {
        let mut drawers = drawers();
        // Its cases cost about the same; a single one of the other's long texts may cost more than all the rest.
        drawers.retain(|name, _| name.as_str() == "tool-use");
        let plan = plan(&drawers, [100, 100, 25]);
        let worst = WorstCase::of(&plan, &drawers, &tariffs(INPUT, json!({})));
        let whole = fit(plan.clone(), &worst, None).unwrap();
        assert_eq!((whole.plan.attempts(), whole.note()), (225, String::new()));
        for share in [0.4, 0.6, 0.9] {
            let cap = (whole.plan.reserved_nanousd as f64 * share) as i64;
            let fitted = fit(plan.clone(), &worst, Some(cap)).unwrap();
            let reserved = fitted.plan.reserved_nanousd;
            assert!(reserved <= cap && reserved as f64 >= 0.8 * cap as f64, "{reserved} of {cap}");
            let note = format!("shrunk from 225 to {} cases by the budget", fitted.plan.attempts());
            assert_eq!(fitted.note(), note);
            let [a, b, c] = [0, 1, 2].map(|i| fitted.plan.suites[0].endpoints[i].cases);
            assert!(a == b && (a / 4..=a / 4 + 1).contains(&c), "the same share for all: {a} {b} {c}");
        }
        assert!(fit(plan, &worst, Some(1000)).is_none(), "a case each does not fit");
    }

    #[test]
    fn no_larger_share_would_fit_however_much_single_cases_cost() {
        let drawers = drawers();
        let plan = plan(&drawers, [100, 60, 25]);
        let worst = WorstCase::of(&plan, &drawers, &tariffs(INPUT, json!({})));
        let shares: Vec<SweepPlan> = (1..=1000).filter_map(|share| shrink_to(&plan, share, 1000)).collect();
        for cap in [0.2, 0.5, 1.0, 1.5].map(|usd| (usd * NANO) as i64) {
            let fitted = fit(plan.clone(), &worst, Some(cap)).unwrap();
            assert!(fitted.plan.reserved_nanousd <= cap);
            let largest = shares.iter().filter(|p| worst.of_shorter(p) <= cap).map(SweepPlan::attempts).max();
            assert!(Some(fitted.plan.attempts()) >= largest, "{} {largest:?}", fitted.plan.attempts());
        }
    }

    #[test]
    fn the_worst_case_counts_what_is_drawn_every_try_and_the_longest_answer() {
        let drawers = drawers();
        let plan = plan(&drawers, [30, 0, 0]);
        let part = &plan.suites[0];
        let drawer = &drawers[&part.suite];
        let bytes = |case| {
            let body = request_body("", &drawer.draw(case, SEED, 0).unwrap(), &JsonObject::new());
            body.len() as i64
        };
        let sent: i64 = plan.suites[0].cases.iter().map(bytes).sum();
        let only = SweepPlan { suites: vec![part.clone()], ..plan.clone() };
        let input = Price { input_per_mtok: 1.0, output_per_mtok: 0.0 };
        let worst = WorstCase::of(&only, &drawers, &tariffs(input, json!({})));
        let once = worst.of_shorter(&only);
        assert!(once >= sent * 500 && once <= (sent + 100) * 500, "two bytes a token: {once} for {sent} bytes");
        assert_eq!(worst.unlimited, 0, "the shipped cases limit their answers");
        let output = Price { input_per_mtok: 0.0, output_per_mtok: 1.0 };
        let limits: u64 =
            part.cases.iter().map(|id| drawer.suite().case(id).unwrap().request["max_tokens"].as_u64().unwrap()).sum();
        let answers = WorstCase::of(&only, &drawers, &tariffs(output, json!({"max_tokens": 9}))).of_shorter(&only);
        assert_eq!(answers, limits as i64 * 1000, "a case's own limit goes before the provider's");
    }
}
