//! From rows to paired differences: what one sweep says about each endpoint (statistics, 7.2; interfaces, 5).

use std::collections::{BTreeMap, HashMap};

use crate::domain::{CaseId, EndpointId, Outcome, OutcomeRow, Policy, Standing, SuiteName, SuitePlan, SweepPlan};

use super::anchors::comparison;
use super::clusters::{Clusters, key_of};
use super::state::{ModelState, SuiteEvidence};
use super::watch::{Contrast, Dealt, Seen};

/// What one sweep says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tallied {
    /// About each endpoint.
    pub endpoints: BTreeMap<EndpointId, Tally>,
    /// About all together, by suite: the mean score of the Admitted by case, of the cases that all of them were asked.
    pub levels: BTreeMap<SuiteName, Vec<f64>>,
}

/// What one sweep says about one endpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// By suite.
    pub suites: BTreeMap<SuiteName, SuiteTally>,
    /// Whom it was compared with.
    pub anchors: Vec<EndpointId>,
    /// Differences of the `usable` test: anchors' answer rate minus 1 or 0.
    pub usable: Vec<f64>,
    /// Sum of the anchors' answer rates behind `usable`.
    pub usable_anchor_sum: f64,
    /// Attempts that were answered.
    pub answered: u64,
    /// Attempts answered or missing.
    pub asked: u64,
    /// Attempts of any outcome.
    pub rows: u64,
    /// Attempts that could not be attributed.
    pub provenance: u64,
    /// Planned cases of the suite that has most.
    pub planned: u32,
}

/// What one sweep says about one endpoint on one suite.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SuiteTally {
    /// D of the scored attempts: evidence for exclusion, and half of that for admission.
    pub scored: Vec<f64>,
    /// D of the missing attempts, taken as failures: evidence against admission only.
    pub missing: Vec<f64>,
    /// Sum of the anchors' means behind `scored`.
    pub anchor_sum: f64,
    /// The scores, where there is a floor to hold them against.
    pub scores: Vec<f64>,
    /// Scores by cluster of cases.
    pub clusters: Clusters,
    /// Attempts answered or missing.
    pub asked: u64,
    /// Attempts missing.
    pub lost: u64,
    /// Sum of scores; missing counts as 0.
    pub sum: f64,
    /// D on fresh against repeated cases.
    pub hold_out: Contrast,
    /// Repeated cases of the whole suite.
    pub repeated: u32,
    /// Missing answers on hard against easy cases.
    pub linked: Contrast,
}

impl SuiteTally {
    /// Whether any case was held against an anchor's.
    pub fn is_compared(&self) -> bool {
        !self.scored.is_empty() || !self.missing.is_empty()
    }
}

/// What is known of one attempt. Ordered from worst to best: of two rows for one attempt the worse counts, so that
/// neither their order nor their number matters.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cell {
    NotAsked,
    Skipped { provenance: bool },
    Missing,
    Scored(f64),
}

impl Cell {
    /// A score outside \[0, 1\] is a grader's error: it says nothing about the endpoint.
    fn of(outcome: Outcome) -> Cell {
        match outcome {
            Outcome::Scored(y) if (0.0..=1.0).contains(&y) => Cell::Scored(y),
            Outcome::Scored(_) => Cell::Skipped { provenance: false },
            Outcome::Missing => Cell::Missing,
            Outcome::Observed(_) => Cell::Skipped { provenance: false },
            Outcome::Skipped { provenance } => Cell::Skipped { provenance },
        }
    }

    fn severity(self) -> (u8, f64) {
        match self {
            Cell::NotAsked => (4, 0.0),
            Cell::Scored(y) => (3, y),
            Cell::Missing => (2, 0.0),
            Cell::Skipped { provenance: false } => (1, 0.0),
            Cell::Skipped { provenance: true } => (0, 0.0),
        }
    }

    fn worse(self, other: Cell) -> Cell {
        let ((a, x), (b, y)) = (self.severity(), other.severity());
        if a.cmp(&b).then(x.total_cmp(&y)).is_le() { self } else { other }
    }

    fn score(self) -> Option<f64> {
        if let Cell::Scored(y) = self { Some(y) } else { None }
    }

    fn usable(self) -> Option<f64> {
        match self {
            Cell::Scored(_) => Some(1.0),
            Cell::Missing => Some(0.0),
            Cell::Skipped { .. } | Cell::NotAsked => None,
        }
    }
}

/// Outcomes of one suite, by endpoint and by case and epoch.
struct Table<'a> {
    plan: &'a SuitePlan,
    epochs: usize,
    slots: usize,
    cells: Vec<Cell>,
    /// Cluster of each planned case.
    clusters: Vec<u16>,
    /// Whether each planned case asks the same in every sweep.
    repeated: Vec<bool>,
    /// Whether each planned case is one of the harder half, where that is known.
    hard: Vec<Option<bool>>,
    /// There is a floor under the suite.
    has_floor: bool,
}

/// Finds the places of rows in the plan. Rows mostly come in the plan's order, by endpoint or by case: the place after
/// the last one is tried before anything is hashed.
struct Finder<'a> {
    plan: &'a SuitePlan,
    last: (usize, usize),
    maps: Option<(Places<'a, CaseId>, Places<'a, EndpointId>)>,
}

type Places<'a, T> = HashMap<&'a T, usize>;

impl<'a> Finder<'a> {
    fn new(plan: &'a SuitePlan) -> Self {
        Finder { plan, last: (0, 0), maps: None }
    }

    /// Place of the endpoint and of the case.
    fn place(&mut self, row: &OutcomeRow) -> Option<(usize, usize)> {
        let (endpoint, case) = self.last;
        let is_endpoint = |e: usize| self.plan.endpoints.get(e).is_some_and(|share| share.id == row.endpoint);
        let is_case = |c: usize| self.plan.cases.get(c) == Some(&row.case);
        let endpoint = [endpoint, endpoint + 1, 0].into_iter().find(|e| is_endpoint(*e));
        let case = [case + 1, case, 0].into_iter().find(|c| is_case(*c));
        let found = match (endpoint, case) {
            (Some(endpoint), Some(case)) => (endpoint, case),
            _ => self.looked_up(row)?,
        };
        self.last = found;
        Some(found)
    }

    fn looked_up(&mut self, row: &OutcomeRow) -> Option<(usize, usize)> {
        let plan = self.plan;
        let (cases, endpoints) = self.maps.get_or_insert_with(|| {
            let cases = plan.cases.iter().enumerate().map(|(i, c)| (c, i)).collect();
            (cases, plan.endpoints.iter().enumerate().map(|(i, e)| (&e.id, i)).collect())
        });
        Some((*endpoints.get(&row.endpoint)?, *cases.get(&row.case)?))
    }
}

/// What the anchors of an endpoint made of each slot: their mean answer rate and their mean score, where any has one.
type Means = Vec<(Option<f64>, Option<f64>)>;

/// What the anchors made of one slot so far.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    score: f64,
    answered: u32,
    missing: u32,
}

impl Sums {
    fn add(&mut self, cell: Cell) {
        match cell {
            Cell::Scored(y) => {
                self.score += y;
                self.answered += 1;
            }
            Cell::Missing => self.missing += 1,
            Cell::Skipped { .. } | Cell::NotAsked => {}
        }
    }

    fn means(&self) -> (Option<f64>, Option<f64>) {
        let usable = self.answered + self.missing;
        let mean = |sum: f64, count: u32| (count > 0).then(|| sum / f64::from(count));
        (mean(f64::from(self.answered), usable), mean(self.score, self.answered))
    }
}

impl<'a> Table<'a> {
    /// Rows outside the plan (another suite, case, epoch, endpoint, or beyond the endpoint's prefix) are left out.
    fn new(plan: &'a SuitePlan, rows: &[OutcomeRow], anchors: &[&SuiteEvidence], has_floor: bool) -> Self {
        let epochs = plan.epochs as usize;
        let slots = plan.cases.len() * epochs;
        let mut cells = vec![Cell::NotAsked; slots * plan.endpoints.len()];
        let mut finder = Finder::new(plan);
        for row in rows.iter().filter(|row| row.suite == plan.suite && row.epoch < plan.epochs) {
            let Some((endpoint, case)) = finder.place(row) else { continue };
            if case < plan.endpoints[endpoint].cases as usize {
                let cell = &mut cells[endpoint * slots + case * epochs + row.epoch as usize];
                *cell = Cell::of(row.outcome).worse(*cell);
            }
        }
        let clusters: Vec<u16> = plan.cases.iter().map(|case| key_of(case.as_str())).collect();
        let mut repeated = vec![false; plan.cases.len()];
        for place in plan.stable.iter().flat_map(|stable| &stable.places) {
            repeated.get_mut(*place as usize).into_iter().for_each(|is| *is = true);
        }
        let hard = harder_half(&plan.cases, &clusters, anchors);
        Table { plan, epochs, slots, cells, clusters, repeated, hard, has_floor }
    }

    /// The slots of an endpoint's prefix.
    fn cells(&self, endpoint: usize) -> &[Cell] {
        let asked = (self.plan.endpoints[endpoint].cases as usize).saturating_mul(self.epochs);
        &self.cells[endpoint * self.slots..][..asked.min(self.slots)]
    }

    /// Means over the anchors that have a value in the slot, of the first `slots` slots. Anchors are summed in the plan's
    /// order, each over all slots: its outcomes lie side by side.
    fn means(&self, anchors: &[usize], slots: usize) -> Means {
        let mut sums = vec![Sums::default(); slots];
        for anchor in anchors {
            for (sum, cell) in sums.iter_mut().zip(&self.cells[anchor * self.slots..][..slots]) {
                sum.add(*cell);
            }
        }
        sums.iter().map(Sums::means).collect()
    }

    /// Mean scores by case over endpoints and repeats, of the cases that all of these endpoints are asked. A case that
    /// nobody answered is left out.
    fn level(&self, endpoints: &[usize]) -> Vec<f64> {
        let Some(slots) = endpoints.iter().map(|endpoint| self.cells(*endpoint).len()).min() else { return Vec::new() };
        let cases = self.means(endpoints, slots);
        let mean = |repeats: &[(Option<f64>, Option<f64>)]| {
            let answered: Vec<f64> = repeats.iter().filter_map(|(_, score)| *score).collect();
            (!answered.is_empty()).then(|| answered.iter().sum::<f64>() / answered.len() as f64)
        };
        cases.chunks(self.epochs.max(1)).filter_map(mean).collect()
    }

    /// The first repeat of an endpoint's cases: their places, what came of them, and the anchors' means.
    fn first_repeats<'t>(
        &'t self,
        endpoint: usize,
        means: &'t Means,
    ) -> impl Iterator<Item = (usize, Cell, Option<f64>, Option<f64>)> + 't {
        let slots = self.cells(endpoint).iter().zip(means).step_by(self.epochs.max(1)).enumerate();
        slots.map(|(case, (cell, (usable, mean)))| (case, *cell, *usable, *mean))
    }

    fn hold_out(&self, endpoint: usize, means: &Means) -> Contrast {
        let dealt: Vec<Dealt> = self
            .first_repeats(endpoint, means)
            .map(|(case, cell, _, mean)| {
                let seen = |(own, anchors): (f64, f64)| Seen { value: (anchors - own).clamp(-1.0, 1.0), own, anchors };
                Dealt { is_first: !self.repeated[case], seen: cell.score().zip(mean).map(seen) }
            })
            .collect();
        Contrast::of(&dealt)
    }

    fn linked(&self, endpoint: usize, means: &Means) -> Contrast {
        let dealt: Vec<Dealt> = self
            .first_repeats(endpoint, means)
            .filter_map(|(case, cell, usable, _)| {
                let seen = |(answered, anchors): (f64, f64)| {
                    let own = 1.0 - answered;
                    Seen { value: own, own, anchors: 1.0 - anchors }
                };
                // Without an anchor that was asked, its rate is only shown: it counts as having answered.
                let seen = cell.usable().map(|answered| seen((answered, usable.unwrap_or(1.0))));
                Some(Dealt { is_first: self.hard[case]?, seen })
            })
            .collect();
        Contrast::of(&dealt)
    }

    /// Repeats are compared repeat by repeat: a mean over all repeats of an anchor would tie the outcomes of a case
    /// together, and the proof of statistics 3.2 wants them independent given the case.
    fn tally(&self, endpoint: usize, means: &Means, out: &mut Tally) {
        let mut suite = SuiteTally::default();
        for (slot, (cell, (usable_mean, mean))) in self.cells(endpoint).iter().zip(means).enumerate() {
            out.rows += u64::from(*cell != Cell::NotAsked);
            out.provenance += u64::from(*cell == Cell::Skipped { provenance: true });
            let Some(answered) = cell.usable() else { continue };
            suite.asked += 1;
            suite.lost += u64::from(cell.score().is_none());
            if let Some(mean) = usable_mean {
                out.usable.push(mean - answered);
                out.usable_anchor_sum += mean;
            }
            if let Some(y) = cell.score() {
                suite.sum += y;
                suite.clusters.add_key(self.clusters[slot / self.epochs], y);
                suite.scores.extend(self.has_floor.then_some(y));
            }
            match (cell.score(), mean) {
                (Some(y), Some(mean)) => {
                    suite.scored.push((mean - y).clamp(-1.0, 1.0));
                    suite.anchor_sum += mean;
                }
                (None, Some(mean)) => suite.missing.push(*mean),
                (_, None) => {}
            }
        }
        if let Some(stable) = &self.plan.stable {
            suite.hold_out = self.hold_out(endpoint, means);
            suite.repeated = stable.of;
            suite.linked = self.linked(endpoint, means);
        }
        out.asked += suite.asked;
        out.answered += suite.asked - suite.lost;
        out.planned = out.planned.max(self.plan.endpoints[endpoint].cases);
        out.suites.insert(self.plan.suite.clone(), suite);
    }
}

/// The half of the cases on which the anchors did worse before this sweep; `None` for a case that they were never asked,
/// and for all where they did the same on every one.
fn harder_half(cases: &[CaseId], keys: &[u16], anchors: &[&SuiteEvidence]) -> Vec<Option<bool>> {
    let mut known: Vec<(f64, usize)> = Vec::with_capacity(cases.len());
    for (place, key) in keys.iter().enumerate() {
        let (mut sum, mut count) = (0.0, 0);
        for cluster in anchors.iter().map(|anchor| anchor.clusters.of_key(*key)) {
            sum += cluster.sum;
            count += cluster.count;
        }
        if count > 0 {
            known.push((sum / count as f64, place));
        }
    }
    known.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then_with(|| cases[a.1].cmp(&cases[b.1])));
    let mut out = vec![None; cases.len()];
    if known.first().map(|k| k.0) != known.last().map(|k| k.0) {
        let half = known.len() / 2;
        for (rank, (_, place)) in known.into_iter().enumerate() {
            out[place] = Some(rank < half);
        }
    }
    out
}

/// Tallies every planned endpoint. `state` is the one from before the sweep.
#[must_use]
pub fn tally(state: &ModelState, policy: &Policy, plan: &SweepPlan, rows: &[OutcomeRow]) -> Tallied {
    let mut out = Tallied::default();
    let Tallied { endpoints: tallies, levels } = &mut out;
    let is_admitted = |id: &EndpointId| {
        state.endpoints.get(id).is_some_and(|e| e.is_in_service() && e.standing == Standing::Admitted)
    };
    for suite in &plan.suites {
        let anchors: Vec<&SuiteEvidence> =
            plan.anchors.iter().filter_map(|id| state.endpoints.get(id)?.suites.get(&suite.suite)).collect();
        let table = Table::new(suite, rows, &anchors, policy.floor(&suite.suite).is_some());
        let asked: Vec<EndpointId> = suite.endpoints.iter().map(|e| e.id.clone()).collect();
        // Most endpoints are compared with the same anchors: their means are taken once.
        let mut taken: Vec<(Vec<usize>, Means)> = Vec::new();
        for (index, endpoint) in asked.iter().enumerate() {
            let anchors = comparison(state, policy, &plan.anchors, &suite.endpoints, endpoint);
            let places: Vec<usize> =
                anchors.iter().filter_map(|anchor| asked.iter().position(|id| id == anchor)).collect();
            let out = tallies.entry(endpoint.clone()).or_default();
            out.anchors.extend(anchors.into_iter().filter(|a| !out.anchors.contains(a)).collect::<Vec<_>>());
            let slots = table.cells(index).len();
            let fits = |(anchors, means): &(Vec<usize>, Means)| means.len() >= slots && *anchors == places;
            let known = taken.iter().position(fits).unwrap_or_else(|| {
                let means = table.means(&places, slots);
                taken.push((places, means));
                taken.len() - 1
            });
            table.tally(index, &taken[known].1, out);
        }
        let admitted: Vec<usize> = (0..asked.len()).filter(|index| is_admitted(&asked[*index])).collect();
        levels.insert(suite.suite.clone(), table.level(&admitted));
    }
    out
}
