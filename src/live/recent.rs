//! Which ids a source has sent lately.
//!
//! Two generations of hashes: when the younger is full or old enough, it becomes the older and the one before is
//! forgotten. So an id is remembered for at least half of each bound and at most the whole.

use std::collections::HashSet;

use crate::domain::Micros;

/// Most ids remembered of a source; at least half as many always are. About 9 MB.
pub const IDS_PER_SOURCE_MAX: usize = 500_000;
/// How long an id is remembered at most, in microseconds: two hours; at least one, unless too many come.
pub const IDS_KEPT_US: i64 = 2 * 3_600 * 1_000_000;

/// Ids of one source.
#[derive(Debug, Default)]
pub(super) struct Recent {
    young: HashSet<u64>,
    old: HashSet<u64>,
    turned_us: Option<Micros>,
}

impl Recent {
    /// Remembers an id; `false`: it is known.
    pub fn insert(&mut self, id: u64, now_us: Micros) -> bool {
        let turned_us = *self.turned_us.get_or_insert(now_us);
        let aged = now_us.saturating_sub(turned_us);
        if self.young.len() >= IDS_PER_SOURCE_MAX / 2 || aged >= IDS_KEPT_US / 2 {
            self.old = std::mem::take(&mut self.young);
            self.turned_us = Some(now_us);
            if aged >= IDS_KEPT_US {
                self.old.clear();
            }
        }
        !self.old.contains(&id) && self.young.insert(id)
    }

    /// Forgets an id that was not counted in the end.
    pub fn forget(&mut self, id: u64) {
        self.young.remove(&id);
    }

    /// Ids remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
