//! A fleet whose truth is known, led through the code that decides in production: the same synchronisation, anchors,
//! budgets, fold and list, sweep after sweep, with a clock of its own.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::curation::{
    AlarmKind, Figures, ModelState, Occasion, SweepRecord, allowlist, anchors, budgets, fold_sweep, participants,
    sync_endpoints, sync_suites,
};
use crate::domain::{
    Allowlist, BudgetedEndpoint, CaseId, DecisionKind, Endpoint, EndpointId, IdError, Micros, ModelId, Order, Outcome,
    OutcomeRow, Policy, ProviderId, Standing, SuiteDigest, SuiteName, SuitePlan, SweepId, SweepKind, SweepPlan, Verb,
};

use super::dice::Dice;

/// Microseconds of a day.
pub const DAY_US: Micros = 86_400_000_000;

/// When simulated time begins: 2026-01-01T00:00:00Z.
pub const START_US: Micros = 1_767_225_600_000_000;

/// Sweeps a day of the standard schedule.
pub const SWEEPS_PER_DAY: u32 = 4;

/// Sweeps a year of the standard schedule.
pub const SWEEPS_PER_YEAR: f64 = 1460.0;

/// One attempt, for whoever plays the endpoints.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Place of the endpoint in the fleet.
    pub endpoint: usize,
    /// Place of the suite in the fleet.
    pub suite: usize,
    /// Place of the case in the suite.
    pub case: usize,
    /// When in the sweep the case is asked, from 0 to 1: its place in the permutation, of the largest budget.
    pub when: f64,
}

/// A change of standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Place of the endpoint in the fleet.
    pub endpoint: usize,
    /// Before.
    pub from: Standing,
    /// After.
    pub to: Standing,
    /// A guard held it back: the standing stays.
    pub held: bool,
}

/// What a sweep gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SweepEnd {
    /// Attempts by endpoint.
    pub asked: Vec<u32>,
    /// Places of the anchors.
    pub anchors: Vec<usize>,
    /// Changes of standing.
    pub changes: Vec<Change>,
    /// The common alarm holds the list.
    pub common_alarm: bool,
    /// A new list was published.
    pub published: bool,
}

impl SweepEnd {
    /// Attempts of all endpoints.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.asked.iter().map(|n| u64::from(*n)).sum()
    }
}

/// How sweeps follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// So many a day.
    PerDay(u32),
    /// Without pause, as in `sweep --until-decided`.
    BackToBack,
}

struct Bench {
    name: SuiteName,
    digest: SuiteDigest,
    cases: Vec<CaseId>,
    order: Vec<usize>,
}

/// A model with its endpoints and suites.
pub struct Fleet {
    /// The rules.
    pub policy: Policy,
    /// What curation remembers.
    pub state: ModelState,
    /// Sweeps so far.
    pub sweeps: u64,
    ids: Vec<EndpointId>,
    endpoints: Vec<Endpoint>,
    suites: Vec<Bench>,
    model: ModelId,
    pace: Pace,
    now_us: Micros,
    last_day: Option<i64>,
    list: Option<Allowlist>,
    figures: BTreeMap<EndpointId, Figures>,
    rows: Vec<OutcomeRow>,
}

/// A suite of a fleet: its name and number of cases.
pub type SuiteShape<'a> = (&'a str, usize);

impl Fleet {
    /// Endpoints `e000`, `e001`, .. and the given suites; all Unknown but the reference, which is Admitted by
    /// designation.
    ///
    /// # Errors
    /// When a suite's name is no name.
    pub fn new(
        policy: Policy,
        endpoints: usize,
        suites: &[SuiteShape<'_>],
        reference: Option<usize>,
        pace: Pace,
    ) -> Result<Fleet, IdError> {
        let model = ModelId::new("simulated/model")?;
        let ids = (0..endpoints).map(|i| EndpointId::new(&format!("e{i:03}"))).collect::<Result<Vec<_>, _>>()?;
        let provider = ProviderId::new("simulated")?;
        let endpoint = |id: &EndpointId| Endpoint {
            id: id.clone(),
            model: model.clone(),
            provider: provider.clone(),
            upstream_model: "model".to_owned(),
            tag: None,
            price: None,
            slugs: BTreeMap::new(),
            served_by: None,
        };
        let endpoints: Vec<Endpoint> = ids.iter().map(endpoint).collect();
        let suites = suites.iter().map(|shape| bench(*shape)).collect::<Result<Vec<_>, _>>()?;
        let digests = suites.iter().map(|s| (s.name.clone(), s.digest.clone())).collect();
        let state = ModelState::default();
        let (state, _) = sync_endpoints(&state, &ids, reference.and_then(|i| ids.get(i)), START_US);
        let (state, _) = sync_suites(&state, &digests, START_US);
        Ok(Fleet {
            policy,
            state,
            sweeps: 0,
            ids,
            endpoints,
            suites,
            model,
            pace,
            now_us: START_US,
            last_day: None,
            list: None,
            figures: BTreeMap::new(),
            rows: Vec::new(),
        })
    }

    /// Where an endpoint stands.
    #[must_use]
    pub fn standing(&self, endpoint: usize) -> Standing {
        self.ids.get(endpoint).and_then(|id| self.state.endpoints.get(id)).map_or(Standing::Unknown, |e| e.standing)
    }

    /// The list in force.
    #[must_use]
    pub fn list(&self) -> Option<&Allowlist> {
        self.list.as_ref()
    }

    /// The id of an endpoint.
    #[must_use]
    pub fn id(&self, endpoint: usize) -> Option<&EndpointId> {
        self.ids.get(endpoint)
    }

    /// Number of endpoints.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it has no endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Sets standings by hand, as earlier sweeps would have: for scenarios that begin with a known fleet.
    pub fn settle(&mut self, standing: Standing, endpoints: impl IntoIterator<Item = usize>) {
        for id in endpoints.into_iter().filter_map(|i| self.ids.get(i)) {
            if let Some(endpoint) = self.state.endpoints.get_mut(id) {
                endpoint.standing = standing;
                endpoint.ever_admitted |= matches!(standing, Standing::Admitted | Standing::Suspect);
            }
        }
        self.state.sweeps_folded = self.state.sweeps_folded.max(1);
    }

    /// A new version of a suite (T13). The new digest is made from `label`.
    ///
    /// # Errors
    /// Never for the digests made here.
    pub fn new_version(&mut self, suite: usize, label: u64) -> Result<(), IdError> {
        if let Some(bench) = self.suites.get_mut(suite) {
            bench.digest = SuiteDigest::new(&format!("{label:064x}"))?;
        }
        let digests = self.suites.iter().map(|s| (s.name.clone(), s.digest.clone())).collect();
        self.state = sync_suites(&self.state, &digests, self.now_us).0;
        Ok(())
    }

    /// Ends the hold of a common alarm, as an operator would.
    pub fn acknowledge(&mut self) {
        let order = Order { verb: Verb::Ack, endpoint: None, by: "simulate".to_owned(), note: String::new() };
        // Refused when nothing is held: then there is nothing to end.
        if let Ok((next, _)) = crate::curation::operate(&self.state, &order, self.now_us) {
            self.state = next;
        }
    }

    /// Whether the common alarm holds the list.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.state.frozen.is_some()
    }

    /// Plans a sweep and asks, without folding: what a fold is measured with.
    pub fn capture(
        &mut self,
        dice: &mut Dice,
        mut answer: impl FnMut(Ask, &mut Dice) -> Outcome,
    ) -> (SweepPlan, Vec<OutcomeRow>) {
        let (plan, shares) = self.plan(dice);
        self.ask(&shares, dice, &mut answer);
        (plan, std::mem::take(&mut self.rows))
    }

    /// Asks what is planned: fills the rows, and tells how many requests each endpoint had.
    fn ask(
        &mut self,
        shares: &[Vec<(usize, u32)>],
        dice: &mut Dice,
        answer: &mut impl FnMut(Ask, &mut Dice) -> Outcome,
    ) -> Vec<u32> {
        let mut asked = vec![0u32; self.ids.len()];
        self.rows.clear();
        for (suite, endpoints) in shares.iter().enumerate() {
            let bench = &self.suites[suite];
            let longest = endpoints.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1) as f64;
            for &(endpoint, budget) in endpoints {
                asked[endpoint] += budget;
                for (place, &case) in bench.order.iter().take(budget as usize).enumerate() {
                    let ask = Ask { endpoint, suite, case, when: place as f64 / longest };
                    self.rows.push(OutcomeRow {
                        suite: bench.name.clone(),
                        case: bench.cases[case].clone(),
                        endpoint: self.ids[endpoint].clone(),
                        epoch: 0,
                        outcome: answer(ask, dice),
                        sampled: None,
                    });
                }
            }
        }
        asked
    }

    /// One sweep: plan, ask, fold, publish.
    pub fn sweep(&mut self, dice: &mut Dice, mut answer: impl FnMut(Ask, &mut Dice) -> Outcome) -> SweepEnd {
        let (plan, shares) = self.plan(dice);
        let asked = self.ask(&shares, dice, &mut answer);
        let sweeps_per_year = match self.pace {
            Pace::PerDay(n) => Some(f64::from(n) * 365.0),
            Pace::BackToBack => None,
        };
        let record = SweepRecord { plan: &plan, rows: &self.rows, ended_at_us: self.now_us, sweeps_per_year };
        let folded = fold_sweep(&self.state, &self.policy, &record);
        self.state = folded.state;
        let place = |id: &EndpointId| self.ids.iter().position(|i| i == id);
        let changes = folded
            .decisions
            .iter()
            .filter(|d| matches!(d.kind, DecisionKind::Transition | DecisionKind::Held))
            .filter_map(|d| {
                let held = d.kind == DecisionKind::Held;
                Some(Change { endpoint: place(&d.endpoint)?, from: d.from, to: d.to, held })
            })
            .collect();
        let anchors = plan.anchors.iter().filter_map(place).collect();
        let common_alarm = folded.alarms.iter().any(|a| a.kind == AlarmKind::Common);
        let draft =
            allowlist(&self.state, &self.policy, &self.endpoints, self.list.as_ref(), self.now_us, &self.figures);
        let published = draft.as_ref().is_some_and(|d| d.changed);
        if let Some(draft) = draft {
            self.list = Some(draft.allowlist);
        }
        self.now_us += match self.pace {
            Pace::PerDay(n) => DAY_US / i64::from(n.max(1)),
            // A sweep of a few minutes: time stands still for the weekly tokens, and still goes on.
            Pace::BackToBack => 300_000_000,
        };
        SweepEnd { asked, anchors, changes, common_alarm, published }
    }

    /// The plan, and per suite the (place, budget) of every endpoint that is asked.
    fn plan(&mut self, dice: &mut Dice) -> (SweepPlan, Vec<Vec<(usize, u32)>>) {
        let day = self.now_us.div_euclid(DAY_US);
        let occasion = Occasion {
            now_us: self.now_us,
            first_of_utc_day: self.last_day != Some(day),
            back_to_back: self.pace == Pace::BackToBack,
        };
        self.last_day = Some(day);
        self.sweeps += 1;
        let asked = participants(&self.state, &self.policy, &self.ids, occasion);
        let chosen = anchors(&self.state, &self.policy, &self.ids, &asked);
        let sizes = self.suites.iter().map(|s| (s.name.clone(), s.cases.len() as u32)).collect();
        let mut budgets = budgets(&self.state, &self.policy, &chosen, &sizes, occasion);
        let mut suites = Vec::with_capacity(self.suites.len());
        let mut shares = Vec::with_capacity(self.suites.len());
        for bench in &mut self.suites {
            let endpoints: Vec<BudgetedEndpoint> = budgets.remove(&bench.name).unwrap_or_default();
            let largest = endpoints.iter().map(|e| e.cases as usize).max().unwrap_or(0);
            dice.shuffle_front(&mut bench.order, largest);
            // State and budgets are ordered by id, and the ids here ascend with their places.
            shares.push(
                endpoints
                    .iter()
                    .filter_map(|e| Some((self.ids.binary_search(&e.id).ok()?, e.cases)))
                    .collect::<Vec<_>>(),
            );
            suites.push(SuitePlan {
                suite: bench.name.clone(),
                digest: bench.digest.clone(),
                cases: bench.order.iter().take(largest).map(|i| bench.cases[*i].clone()).collect(),
                epochs: 1,
                endpoints,
                stable: None,
            });
        }
        let plan = SweepPlan {
            id: SweepId(Uuid::from_u128(u128::from(self.sweeps))),
            model: self.model.clone(),
            kind: SweepKind::Scheduled,
            ordinal: self.sweeps,
            seed: String::new(),
            planned_at_us: self.now_us,
            anchors: chosen,
            suites,
            reserved_nanousd: 0,
            gives_evidence: true,
            capabilities: Default::default(),
            aside: Vec::new(),
            probes: Vec::new(),
            goes_on: None,
            samples: None,
            upstreams: Default::default(),
        };
        (plan, shares)
    }
}

fn bench((name, cases): SuiteShape<'_>) -> Result<Bench, IdError> {
    Ok(Bench {
        name: SuiteName::new(name)?,
        digest: SuiteDigest::new(&"0".repeat(64))?,
        cases: (0..cases).map(|i| CaseId::new(&format!("c{i:04}"))).collect::<Result<_, _>>()?,
        order: (0..cases).collect(),
    })
}
