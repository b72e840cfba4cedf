//! How many cases of each suite each endpoint is asked (statistics, 6).

use std::collections::BTreeMap;

use crate::domain::policy::Pool;
use crate::domain::{BudgetedEndpoint, EndpointId, Micros, Override, Policy, Standing, SuiteName};
use crate::stats::num::ln;

use super::anchors::is_reference;
use super::reading::{Reading, read};
use super::state::{EndpointState, ModelState};

/// Detector score for re-admission at which an Excluded endpoint counts as recovering.
pub const RECOVERING_R: f64 = 4.0;

/// A week in microseconds: the time in which an empty burst bucket fills.
pub const WEEK_US: f64 = 7.0 * 24.0 * 3600.0 * 1e6;

/// When a sweep is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occasion {
    /// Now.
    pub now_us: Micros,
    /// No sweep of this UTC day has asked the Excluded endpoints for evidence yet.
    pub first_of_utc_day: bool,
    /// Sweeps follow each other without a schedule (onboarding, demo, `--until-decided`).
    pub back_to_back: bool,
}

/// Endpoints with a budget in a sweep of the model's suites, in the order given.
#[must_use]
pub fn participants(
    state: &ModelState,
    policy: &Policy,
    configured: &[EndpointId],
    occasion: Occasion,
) -> Vec<EndpointId> {
    configured
        .iter()
        .filter(|id| {
            let Some(endpoint) = state.endpoints.get(*id) else { return false };
            let reading = read(state, policy, endpoint);
            let wanted = |(cases, _): (u32, Need)| cases.max(own_budget(endpoint, &reading, policy, 0, occasion));
            endpoint.configured && wanted(for_capabilities(state, policy, id, None, occasion)) > 0
        })
        .cloned()
        .collect()
}

/// Cases per suite for every endpoint that is asked, by id. No endpoint is asked more cases than a suite has.
///
/// An endpoint is asked as much as the list that needs most of it asks: the model's own, or that of a capability.
#[must_use]
pub fn budgets(
    state: &ModelState,
    policy: &Policy,
    anchors: &[EndpointId],
    suite_sizes: &BTreeMap<SuiteName, u32>,
    occasion: Occasion,
) -> BTreeMap<SuiteName, Vec<BudgetedEndpoint>> {
    let configured: Vec<(&EndpointId, &EndpointState, Reading)> =
        state.endpoints.iter().filter(|(_, e)| e.configured).map(|(id, e)| (id, e, read(state, policy, e))).collect();
    let cold = state.is_cold();
    let waited_for = policy.pool == Pool::Wide
        && occasion.back_to_back
        && configured.iter().any(|(_, endpoint, reading)| waits(endpoint, reading, policy));
    let one_suite = |(suite, size): (&SuiteName, &u32)| {
        let shares: Vec<Share<'_>> = configured
            .iter()
            .map(|(id, endpoint, reading)| {
                let asked = endpoint.suites.get(suite).map_or(0, |e| e.cases);
                let mut own = own_budget(endpoint, reading, policy, asked, occasion);
                let mut need = Need::of(endpoint, reading, policy);
                if waited_for && endpoint.standing == Standing::Excluded {
                    (need, own) = (Need::None, own.min(policy.cases.standard));
                }
                let (wanted, wanting) = for_capabilities(state, policy, id, Some(suite), occasion);
                let mut cases = own.max(wanted).min(*size);
                // The comparison of a first sweep is not worth much: it is for ranking, and small.
                if cold && policy.pool == Pool::Wide && is_undecided(endpoint.standing) {
                    cases = cases.min(policy.cases.standard);
                }
                Share { id, endpoint, need: need.max(wanting), cases }
            })
            .filter(|share| share.cases > 0)
            .collect();
        let shares = on_duty(shares, state, policy, anchors);
        let shares = if waited_for { without_watch(shares) } else { shares };
        (suite.clone(), shares.into_iter().map(|s| BudgetedEndpoint { id: s.id.clone(), cases: s.cases }).collect())
    };
    suite_sizes.iter().map(one_suite).collect()
}

fn is_undecided(standing: Standing) -> bool {
    matches!(standing, Standing::Unknown | Standing::Provisional)
}

/// An endpoint's part of a suite while budgets are made.
#[derive(Debug, Clone, Copy)]
struct Share<'a> {
    id: &'a EndpointId,
    endpoint: &'a EndpointState,
    need: Need,
    cases: u32,
}

/// What an endpoint wants of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// Nothing but company.
    None,
    /// Comparison: it is open.
    Open,
    /// Comparison in a burst: it is decided, and evidence gathers.
    Burst,
}

impl Need {
    fn of(endpoint: &EndpointState, reading: &Reading, policy: &Policy) -> Need {
        match endpoint.standing {
            Standing::Unknown | Standing::Provisional => Need::Open,
            Standing::Admitted | Standing::Suspect
                if reading.log_r_ex >= ln(policy.burst_at) || endpoint.watch.asks_for_more() =>
            {
                Need::Burst
            }
            Standing::Excluded if reading.log_r_ad >= ln(RECOVERING_R) => Need::Burst,
            Standing::Suspect => Need::Open,
            Standing::Admitted | Standing::Excluded => Need::None,
        }
    }
}

/// Gives as many anchors the largest budget of the sweep as those who are asked so much need to be compared with.
///
/// All of them with [`Pool::Anchors`], and the reference's company in a burst of its own. In the wide pool about the
/// square root of the number of open endpoints, one more where the open ones are of the pool themselves, and at least
/// `policy.anchors` in a burst of a decided endpoint. At least two endpoints end with the largest budget, so that whoever
/// has it is compared with somebody.
fn on_duty<'a>(
    mut shares: Vec<Share<'a>>,
    state: &ModelState,
    policy: &Policy,
    anchors: &[EndpointId],
) -> Vec<Share<'a>> {
    let full = shares.iter().map(|share| share.cases).max().unwrap_or(0);
    let by_reference = is_reference(state, anchors);
    let bursts = |share: &Share<'_>| share.cases == full && share.need == Need::Burst;
    let mut wanted = if by_reference {
        // The others need the reference alone; it needs others in a burst of its own.
        let tested = shares.iter().any(|share| anchors.contains(share.id) && bursts(share));
        if tested { 1 + policy.anchors as usize } else { 1 }
    } else {
        let open = || shares.iter().filter(|share| share.cases == full && share.need != Need::None);
        let own = usize::from(open().any(|share| anchors.contains(share.id)));
        let wanted = ((open().count() as f64).sqrt().round() as usize).max(1) + own;
        if shares.iter().any(bursts) { wanted.max(policy.anchors as usize + own) } else { wanted }
    };
    if by_reference || policy.pool == Pool::Anchors {
        for share in shares.iter_mut().filter(|share| anchors.contains(share.id)) {
            share.cases = full;
        }
    }
    if policy.pool == Pool::Anchors && !by_reference {
        wanted = 0;
    }
    let is_full = |share: &&Share<'_>| share.cases == full;
    wanted = wanted.saturating_sub(shares.iter().filter(is_full).filter(|s| anchors.contains(s.id)).count());
    let least = 2usize.saturating_sub(shares.iter().filter(is_full).count());
    for (place, stand_in) in by_merit(&shares, state, policy, anchors).into_iter().enumerate() {
        if place < least || (place < wanted && stand_in.1 < LAST_RESORT) {
            shares[stand_in.0].cases = full;
        }
    }
    shares
}

/// Whether an endpoint waits for its first decision, below the cap: sweeps without pause are for the sake of those.
///
/// On the model's own list alone, as onboarding and `--until-decided` do: the list of a rare tag takes some ten times the
/// cases, and is left to the schedule. Who is open in a capability only is asked for it all the same, and spared nothing.
fn waits(endpoint: &EndpointState, reading: &Reading, policy: &Policy) -> bool {
    is_undecided(endpoint.standing) && endpoint.override_.is_none() && reading.effort < u64::from(policy.cases.cap)
}

/// The shares of a sweep without pause, while somebody waits for a first decision: without the Admitted who would be asked
/// too few cases to be compared with. To watch them for changes many times an hour tells little; the next sweep of the
/// schedule is soon enough. Excluded ones take part (interfaces, 6.4), in small: no burst for a recovery.
fn without_watch(shares: Vec<Share<'_>>) -> Vec<Share<'_>> {
    let full = shares.iter().map(|share| share.cases).max().unwrap_or(0);
    let spared = |s: &Share<'_>| s.cases < full && s.endpoint.standing == Standing::Admitted && s.need == Need::None;
    shares.into_iter().filter(|share| !spared(share)).collect()
}

/// Class of those who get the largest budget only so that somebody has it.
const LAST_RESORT: u8 = 3;

/// Places of those without the largest budget with their classes, in the order in which they are to get it: the Admitted
/// anchors best first, then the other Admitted, the other undecided, the rest.
fn by_merit(shares: &[Share<'_>], state: &ModelState, policy: &Policy, anchors: &[EndpointId]) -> Vec<(usize, u8)> {
    let full = shares.iter().map(|share| share.cases).max().unwrap_or(0);
    let class = |share: &Share<'_>| match share.endpoint.standing {
        Standing::Admitted if anchors.contains(share.id) => 0,
        Standing::Admitted => 1,
        Standing::Unknown | Standing::Provisional => 2,
        Standing::Suspect | Standing::Excluded => LAST_RESORT,
    };
    let anchored = |share: &Share<'_>| anchors.iter().position(|id| id == share.id).unwrap_or(usize::MAX);
    let mut order: Vec<(usize, u8, usize, f64)> = (shares.iter().enumerate())
        .filter(|(_, share)| share.cases < full)
        .map(|(place, share)| (place, class(share), anchored(share), state.ranking(policy, share.id)))
        .collect();
    order.sort_by(|a, b| a.1.cmp(&b.1).then(a.2.cmp(&b.2)).then(b.3.total_cmp(&a.3)));
    order.into_iter().map(|(place, class, ..)| (place, class)).collect()
}

/// The most that any capability asks of an endpoint: its own budget by where it stands there, in the suites that judge
/// the capability. The cap counts the cases that carry its tag.
fn for_capabilities(
    state: &ModelState,
    policy: &Policy,
    id: &EndpointId,
    suite: Option<&SuiteName>,
    occasion: Occasion,
) -> (u32, Need) {
    let concerned = state.capabilities.values().filter(|c| suite.is_none_or(|suite| c.suites.contains_key(suite)));
    let of = |capability: &ModelState| {
        let endpoint = capability.endpoints.get(id).filter(|e| e.configured)?;
        let reading = read(capability, policy, endpoint);
        let asked = suite.and_then(|suite| endpoint.suites.get(suite)).map_or(0, |e| e.cases);
        Some((own_budget(endpoint, &reading, policy, asked, occasion), Need::of(endpoint, &reading, policy)))
    };
    concerned.filter_map(of).fold((0, Need::None), |a, b| (a.0.max(b.0), a.1.max(b.1)))
}

/// The budget by standing, before anybody is asked more for the sake of others. `asked`: cases of the suite since the
/// reset.
fn own_budget(endpoint: &EndpointState, reading: &Reading, policy: &Policy, asked: u64, occasion: Occasion) -> u32 {
    let cases = &policy.cases;
    match endpoint.override_ {
        Some(Override::Banned) => return 0,
        Some(Override::Pinned) => return cases.standard,
        None => {}
    }
    match endpoint.standing {
        Standing::Unknown | Standing::Provisional if asked < u64::from(cases.cap) => cases.unknown,
        Standing::Unknown | Standing::Provisional => cases.standard,
        Standing::Admitted | Standing::Suspect => {
            // A change alarm asks for more as evidence does (T11).
            let suspicious = reading.log_r_ex >= ln(policy.burst_at) || endpoint.watch.asks_for_more();
            let burst = suspicious && tokens_left(endpoint, policy, occasion.now_us) > 0.0;
            if burst { cases.burst } else { cases.standard }
        }
        Standing::Excluded if reading.log_r_ad >= ln(RECOVERING_R) => cases.burst,
        Standing::Excluded if occasion.first_of_utc_day || occasion.back_to_back => cases.standard,
        Standing::Excluded => 0,
    }
}

/// Burst tokens now, in cases. A clock that went back refills nothing.
#[must_use]
pub fn tokens_left(endpoint: &EndpointState, policy: &Policy, now_us: Micros) -> f64 {
    f64::from(policy.cases.weekly_burst) - tokens_spent(endpoint, policy, now_us)
}

fn tokens_spent(endpoint: &EndpointState, policy: &Policy, now_us: Micros) -> f64 {
    let elapsed_us = now_us.saturating_sub(endpoint.tokens_at_us).max(0) as f64;
    (endpoint.tokens_spent - f64::from(policy.cases.weekly_burst) * elapsed_us / WEEK_US).max(0.0)
}

/// Takes the tokens of a sweep that was asked `cases` cases of its largest suite while evidence gathered.
pub(super) fn spend_tokens(endpoint: &mut EndpointState, policy: &Policy, cases: u32, now_us: Micros) {
    endpoint.tokens_spent = tokens_spent(endpoint, policy, now_us) + f64::from(cases);
    endpoint.tokens_at_us = now_us.max(endpoint.tokens_at_us);
}
