//! Makes ids (UUIDv7) and seeds. The only source of randomness besides the seeds themselves.

use std::sync::Mutex;

use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};
use uuid::{Builder, Uuid};

use crate::domain::{AttemptId, Micros, SweepId, canonical};

/// Why the system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("failed to get random bytes from the system: {0}")]
pub struct NoEntropy(String);

/// Makes ids that sort by time, and seeds.
#[derive(Debug)]
pub struct Ids {
    rng: Mutex<ChaCha8Rng>,
}

impl Ids {
    /// Seeded by the system.
    ///
    /// # Errors
    /// [`NoEntropy`] when the system gives no random bytes.
    pub fn from_system() -> Result<Self, NoEntropy> {
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed).map_err(|e| NoEntropy(e.to_string()))?;
        Ok(Self::from_seed(seed))
    }

    /// The same ids and seeds for the same seed (demo, tests).
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Ids { rng: Mutex::new(ChaCha8Rng::from_seed(seed)) }
    }

    /// A generator from a number (demo `--seed N`).
    #[must_use]
    pub fn from_number(seed: u64) -> Self {
        Self::from_seed(canonical::sha256_parts(&[b"exactod-ids-v1", &seed.to_le_bytes()]))
    }

    /// Fills with random bytes.
    pub fn fill(&self, bytes: &mut [u8]) {
        let mut rng = self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        rng.fill_bytes(bytes);
    }

    /// A generator of its own for secrets, seeded from this one.
    #[must_use]
    pub fn secret_rng(&self) -> ChaCha20Rng {
        let mut seed = [0u8; 32];
        self.fill(&mut seed);
        ChaCha20Rng::from_seed(seed)
    }

    /// A UUIDv7 of a time.
    #[must_use]
    pub fn uuid(&self, now_us: Micros) -> Uuid {
        let mut tail = [0u8; 10];
        self.fill(&mut tail);
        // The sub-millisecond part goes first, so that ids made within one millisecond still sort by time.
        let fraction = (now_us.rem_euclid(1000) * 4096 / 1000) as u16;
        tail[0] = (fraction >> 8) as u8;
        tail[1] = (fraction & 0xff) as u8;
        Builder::from_unix_timestamp_millis(now_us.div_euclid(1000).max(0) as u64, &tail).into_uuid()
    }

    /// A sweep id.
    #[must_use]
    pub fn sweep(&self, now_us: Micros) -> SweepId {
        SweepId(self.uuid(now_us))
    }

    /// An attempt id.
    #[must_use]
    pub fn attempt(&self, now_us: Micros) -> AttemptId {
        AttemptId(self.uuid(now_us))
    }

    /// A sweep's seed: 32 hexadecimal digits.
    #[must_use]
    pub fn seed(&self) -> String {
        let mut bytes = [0u8; 16];
        self.fill(&mut bytes);
        canonical::hex(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_within_a_millisecond_and_differ() {
        let ids = Ids::from_number(1);
        let early = ids.uuid(1_700_000_000_000_100);
        let late = ids.uuid(1_700_000_000_000_900);
        assert!(early < late);
        assert_eq!(early.get_version_num(), 7);
        assert_ne!(ids.uuid(5), ids.uuid(5));
        assert_eq!(ids.seed().len(), 32);
    }
}
