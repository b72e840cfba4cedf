//! Compiled Starlark programs and their bounded cache.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::canonical::sha256_parts;
use crate::sandbox::Program;

/// Compiled programs kept.
pub const PROGRAMS_MAX: usize = 64;

/// Programs by the hash of their source; the oldest leaves when it is full.
#[derive(Default)]
pub(super) struct Programs {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_hash: HashMap<[u8; 32], Result<Program, String>>,
    oldest_first: VecDeque<[u8; 32]>,
}

impl Programs {
    /// Compiles a source, or takes it from the cache.
    ///
    /// # Errors
    /// The first thing that is wrong in it.
    pub fn get(&self, source: &Arc<str>) -> Result<Program, String> {
        let hash = sha256_parts(&[source.as_bytes()]);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inner.by_hash.get(&hash) {
            return known.clone();
        }
        let first = |all: Vec<crate::sandbox::Problem>| all.into_iter().next().map(|p| p.message).unwrap_or_default();
        let program = Program::compile(source).map_err(first);
        if inner.oldest_first.len() >= PROGRAMS_MAX
            && let Some(oldest) = inner.oldest_first.pop_front()
        {
            inner.by_hash.remove(&oldest);
        }
        inner.oldest_first.push_back(hash);
        inner.by_hash.insert(hash, program.clone());
        program
    }
}
