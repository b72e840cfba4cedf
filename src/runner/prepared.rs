//! Cases of a sweep, drawn and compiled once and shared by all endpoints, dropped when the last one has used them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::domain::jury::JudgeId;
use crate::domain::{CaseId, CaseInstance, SuiteName};
use crate::scoring::{Judge, PreparedCase, judges_of, programs_of};
use crate::suites::Drawer;
use crate::worlds::World;

/// Suite index in the plan, place in its permutation, epoch.
pub(super) type Slot = (u32, u32, u32);

/// A drawn case and its compiled scorers.
pub(super) struct Prepared {
    pub(super) instance: CaseInstance,
    pub(super) judge: PreparedCase,
    /// The case is a conversation.
    pub(super) world: Option<Arc<World>>,
    /// Judges that its scorers ask.
    pub(super) judges: Vec<JudgeId>,
    /// Programs judge it.
    pub(super) has_programs: bool,
}

type Cell = Arc<OnceLock<Result<Arc<Prepared>, String>>>;

/// The cases in use.
pub(super) struct PreparedCases {
    judge: Arc<Judge>,
    seed: String,
    cells: Mutex<HashMap<Slot, (Cell, u32)>>,
}

impl PreparedCases {
    /// `uses`: by how many attempts each slot will be asked for.
    pub(super) fn new(judge: Arc<Judge>, seed: String, uses: HashMap<Slot, u32>) -> Self {
        let cells = uses.into_iter().map(|(slot, n)| (slot, (Cell::default(), n))).collect();
        PreparedCases { judge, seed, cells: Mutex::new(cells) }
    }

    /// The case of a slot. A case that cannot be drawn or compiled gives the reason.
    pub(super) fn get(&self, slot: Slot, drawer: &Drawer, case: &CaseId) -> Result<Arc<Prepared>, String> {
        let cell = self.take(slot);
        cell.get_or_init(|| self.prepare(slot, drawer, case)).clone()
    }

    fn take(&self, slot: Slot) -> Cell {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        match cells.get_mut(&slot) {
            None => Cell::default(),
            Some((cell, uses)) => {
                let cell = Arc::clone(cell);
                *uses = uses.saturating_sub(1);
                if *uses == 0 {
                    cells.remove(&slot);
                }
                cell
            }
        }
    }

    fn prepare(&self, slot: Slot, drawer: &Drawer, case: &CaseId) -> Result<Arc<Prepared>, String> {
        let instance = drawer.draw(case, &self.seed, slot.2).map_err(|e| describe(drawer, case, &e))?;
        let judge = self.judge.prepare(&instance).map_err(|e| describe(drawer, case, &e))?;
        let judges = judges_of(&instance.scorers).into_iter().map(|used| used.judge).collect();
        let world = instance.world.as_ref().map(|_| World::new(&self.judge, &instance)).transpose();
        let world = world.map_err(|e| describe(drawer, case, &e))?.map(Arc::new);
        let has_programs = !programs_of(&instance.scorers).is_empty();
        Ok(Arc::new(Prepared { instance, judge, world, judges, has_programs }))
    }
}

fn describe(drawer: &Drawer, case: &CaseId, error: &dyn std::fmt::Display) -> String {
    let suite: &SuiteName = &drawer.suite().name;
    format!("broken case {suite}/{case}: {error}")
}
