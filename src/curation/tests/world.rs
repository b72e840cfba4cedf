//! A model whose endpoints behave as a test says: plans and folds real sweeps, without a network.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::curation::{
    Folded, ModelState, Occasion, SweepRecord, anchors, budgets, capability_anchors, fold_sweep, participants,
    sync_endpoints, sync_suites,
};
use crate::domain::{
    CaseId, EndpointId, Micros, ModelId, Outcome, OutcomeRow, Policy, StableCases, Standing, SuiteDigest, SuiteName,
    SuitePlan, SweepId, SweepKind, SweepPlan,
};

pub const HOUR_US: Micros = 3600 * 1_000_000;
pub const DAY_US: Micros = 24 * HOUR_US;
pub const START_US: Micros = 1_769_860_800_000_000; // 2026-01-31T12:00:00Z
pub const PER_YEAR: f64 = 1460.0;

pub fn endpoint(id: &str) -> EndpointId {
    EndpointId::new(id).unwrap()
}

pub fn suite(name: &str) -> SuiteName {
    SuiteName::new(name).unwrap()
}

pub fn case(index: usize) -> CaseId {
    CaseId::new(&format!("case-{index:04}")).unwrap()
}

pub fn index_of(case: &CaseId) -> usize {
    case.as_str()["case-".len()..].parse().unwrap()
}

/// A fifth of every suite asks the same in every sweep.
pub fn is_repeated(index: usize) -> bool {
    index.is_multiple_of(5)
}

pub fn digest(label: &str) -> SuiteDigest {
    let hex: String = label.bytes().map(|b| format!("{b:02x}")).collect();
    SuiteDigest::new(&hex).unwrap()
}

/// SplitMix64: enough randomness for simulated outcomes, and fast without optimisation.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit().max(1e-300), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// One attempt as a test's behaviour sees it.
pub struct Ask<'a> {
    pub endpoint: &'a str,
    pub suite: &'a str,
    pub case: usize,
}

#[derive(Debug, Clone)]
pub struct World {
    pub state: ModelState,
    pub policy: Policy,
    pub endpoints: Vec<EndpointId>,
    pub suites: BTreeMap<SuiteName, (SuiteDigest, u32)>,
    pub now_us: Micros,
    pub every_us: Micros,
    pub back_to_back: bool,
    pub ordinal: u64,
    pub requests: u64,
    pub dice: Dice,
    /// Plans say which cases ask the same in every sweep.
    pub tells_repeated: bool,
    last_day: Option<i64>,
}

impl World {
    pub fn new(endpoints: &[&str], suites: &[(&str, u32)]) -> World {
        let mut world = World {
            state: ModelState::default(),
            policy: Policy::default(),
            endpoints: endpoints.iter().map(|e| endpoint(e)).collect(),
            suites: suites.iter().map(|(name, size)| (suite(name), (digest(name), *size))).collect(),
            now_us: START_US,
            every_us: 6 * HOUR_US,
            back_to_back: false,
            ordinal: 0,
            requests: 0,
            dice: Dice(7),
            tells_repeated: true,
            last_day: None,
        };
        world.sync(None);
        world
    }

    pub fn sync(&mut self, reference: Option<&str>) {
        let reference = reference.map(endpoint);
        self.state = sync_endpoints(&self.state, &self.endpoints, reference.as_ref(), self.now_us).0;
        let digests = self.suites.iter().map(|(name, (digest, _))| (name.clone(), digest.clone())).collect();
        self.state = sync_suites(&self.state, &digests, self.now_us).0;
    }

    /// Sets a standing by hand, as an earlier sweep would have.
    pub fn stand(&mut self, id: &str, standing: Standing) {
        let state = self.state.endpoints.get_mut(&endpoint(id)).unwrap();
        state.standing = standing;
        state.ever_admitted |= matches!(standing, Standing::Admitted | Standing::Suspect);
        // A standing by hand means that the model is past its first sweep.
        self.state.sweeps_folded = self.state.sweeps_folded.max(1);
    }

    /// Thresholds out of reach: evidence gathers and nothing is decided.
    pub fn decide_nothing(&mut self) {
        self.policy.alpha = 1e-200;
        self.policy.exclude_after_sweeps = 1e200;
        self.policy.readmit_after_sweeps = 1e200;
        self.policy.suspect_at = 1e200;
    }

    pub fn standing(&self, id: &str) -> Standing {
        self.state.endpoints[&endpoint(id)].standing
    }

    pub fn plan(&mut self) -> SweepPlan {
        let day = self.now_us.div_euclid(DAY_US);
        let occasion = Occasion {
            now_us: self.now_us,
            first_of_utc_day: self.last_day != Some(day),
            back_to_back: self.back_to_back,
        };
        self.last_day = Some(day);
        let asked = participants(&self.state, &self.policy, &self.endpoints, occasion);
        let chosen = anchors(&self.state, &self.policy, &self.endpoints, &asked);
        let sizes = self.suites.iter().map(|(name, (_, size))| (name.clone(), *size)).collect();
        let shares = budgets(&self.state, &self.policy, &chosen, &sizes, occasion);
        self.ordinal += 1;
        let mut suites = Vec::new();
        for (name, endpoints) in shares {
            let (digest, size) = self.suites[&name].clone();
            let mut cases: Vec<CaseId> = (0..size as usize).map(case).collect();
            self.dice.shuffle(&mut cases);
            let stable = self.tells_repeated.then(|| StableCases {
                places: (0..).zip(&cases).filter(|(_, c)| is_repeated(index_of(c))).map(|(place, _)| place).collect(),
                of: (0..size as usize).filter(|index| is_repeated(*index)).count() as u32,
            });
            suites.push(SuitePlan { suite: name, digest, cases, epochs: 1, endpoints, stable });
        }
        SweepPlan {
            id: SweepId(Uuid::from_u128(u128::from(self.ordinal))),
            model: ModelId::new("lab/m").unwrap(),
            kind: SweepKind::Scheduled,
            ordinal: self.ordinal,
            seed: "00".repeat(16),
            planned_at_us: self.now_us,
            anchors: chosen,
            suites,
            reserved_nanousd: 0,
            gives_evidence: true,
            capabilities: capability_anchors(&self.state, &self.policy, &self.endpoints, &asked),
            aside: Vec::new(),
            probes: Vec::new(),
            goes_on: None,
            samples: None,
            upstreams: Default::default(),
        }
    }

    pub fn rows(
        &mut self,
        plan: &SweepPlan,
        mut answer: impl FnMut(&Ask<'_>, &mut Dice) -> Outcome,
    ) -> Vec<OutcomeRow> {
        let mut rows = Vec::new();
        for s in &plan.suites {
            for share in &s.endpoints {
                for case in &s.cases[..share.cases as usize] {
                    let index = index_of(case);
                    let ask = Ask { endpoint: share.id.as_str(), suite: s.suite.as_str(), case: index };
                    let outcome = answer(&ask, &mut self.dice);
                    rows.push(OutcomeRow {
                        suite: s.suite.clone(),
                        case: case.clone(),
                        endpoint: share.id.clone(),
                        epoch: 0,
                        outcome,
                        sampled: None,
                    });
                }
            }
        }
        self.requests += rows.len() as u64;
        rows
    }

    pub fn fold(&mut self, plan: &SweepPlan, rows: &[OutcomeRow]) -> Folded {
        let record = SweepRecord { plan, rows, ended_at_us: self.now_us, sweeps_per_year: Some(PER_YEAR) };
        let folded = fold_sweep(&self.state, &self.policy, &record);
        self.state = folded.state.clone();
        self.now_us += self.every_us;
        folded
    }

    pub fn sweep(&mut self, answer: impl FnMut(&Ask<'_>, &mut Dice) -> Outcome) -> Folded {
        let plan = self.plan();
        let rows = self.rows(&plan, answer);
        self.fold(&plan, &rows)
    }

    /// Sweeps until a condition holds; fails the test after `most` sweeps.
    pub fn sweep_until(
        &mut self,
        most: usize,
        mut answer: impl FnMut(&Ask<'_>, &mut Dice) -> Outcome,
        mut done: impl FnMut(&World, &Folded) -> bool,
    ) -> Folded {
        for _ in 0..most {
            let folded = self.sweep(&mut answer);
            if done(self, &folded) {
                return folded;
            }
        }
        let standings: Vec<_> = self.state.endpoints.iter().map(|(id, e)| (id.as_str(), e.standing)).collect();
        panic!("not reached within {most} sweeps: {standings:?}")
    }
}

pub const PASS: Outcome = Outcome::Scored(1.0);
pub const FAIL: Outcome = Outcome::Scored(0.0);

pub fn scored(pass: bool) -> Outcome {
    if pass { PASS } else { FAIL }
}

/// Everybody passes but the named one, which fails with a probability.
pub fn fails(who: &'static str, probability: f64) -> impl FnMut(&Ask<'_>, &mut Dice) -> Outcome {
    move |ask, dice| scored(ask.endpoint != who || dice.unit() >= probability)
}
