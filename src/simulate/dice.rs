//! Randomness: one ChaCha8 stream per repetition and lane, so that neither the number of threads nor the choice of
//! policies moves a result.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::stats::num::ln;

/// 2^-53: the spacing of the uniform numbers.
const UNIT: f64 = 1.0 / (1u64 << 53) as f64;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Dice {
    rng: ChaCha8Rng,
    /// The second number of the last pair of normals.
    spare: Option<f64>,
}

impl Dice {
    /// The stream of a repetition. `lane` tells apart what is drawn for different purposes; equal arguments give equal
    /// streams on every machine.
    #[must_use]
    pub fn new(seed: u64, lane: &str, repetition: u64) -> Self {
        let mut key = [0u8; 32];
        let words = [seed, hash(lane.as_bytes()), 0x6578_6163_746f_6431, lane.len() as u64];
        for (slot, word) in key.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(repetition);
        Dice { rng, spare: None }
    }

    /// Uniform in \[0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 * UNIT
    }

    /// True with a probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform below `n`; 0 for `n` 0. The bias of the multiplication is below 2^-32 for the sizes used here.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.rng.next_u64()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Marsaglia's polar method).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (u, v) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let scale = (-2.0 * ln(s) / s).sqrt();
                self.spare = Some(v * scale);
                return u * scale;
            }
        }
    }

    /// Puts a uniformly random choice of `count` items, in random order, to the front.
    pub fn shuffle_front<T>(&mut self, items: &mut [T], count: usize) {
        for i in 0..count.min(items.len().saturating_sub(1)) {
            items.swap(i, i + self.below(items.len() - i));
        }
    }

    /// Successes in `n` trials.
    pub fn binomial(&mut self, n: u32, p: f64) -> u32 {
        (0..n).filter(|_| self.chance(p)).count() as u32
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
