//! Randomness of the simulator: a fixed 64-bit hash and ChaCha8 streams that depend on nothing but their seed.
//!
//! The standard hasher and the order of arrival are left aside on purpose: the same seed and the same
//! requests must give the same answers on every machine, whatever the concurrency.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
const START: u64 = 0x2545_F491_4F6C_DD1D;

/// A small fixed hash (folded multiplication, eight bytes a step). Fast, stable for ever, not cryptographic.
#[derive(Debug, Clone, Copy)]
pub struct Hash64(u64);

impl Default for Hash64 {
    fn default() -> Self {
        Hash64(START)
    }
}

impl Hash64 {
    /// Adds a number.
    #[must_use]
    pub fn number(self, value: u64) -> Self {
        let product = u128::from(self.0 ^ value ^ START) * u128::from(MULTIPLIER);
        Hash64(((product as u64) ^ ((product >> 64) as u64)).rotate_left(29) ^ value)
    }

    /// Adds bytes and their length.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut hash = self.number(bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in chunks.by_ref() {
            let mut word = [0u8; 8];
            word.copy_from_slice(chunk);
            hash = hash.number(u64::from_le_bytes(word));
        }
        let mut word = [0u8; 8];
        let rest = chunks.remainder();
        word[..rest.len()].copy_from_slice(rest);
        hash.number(u64::from_le_bytes(word))
    }

    /// The hash.
    #[must_use]
    pub fn value(self) -> u64 {
        self.number(0).0
    }
}

/// Hash of a text.
#[must_use]
pub fn hash_text(text: &str) -> u64 {
    Hash64::default().bytes(text.as_bytes()).value()
}

/// One stream of random values.
#[derive(Debug, Clone)]
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream of four seed words.
    #[must_use]
    pub fn new(words: [u64; 4]) -> Self {
        let mut seed = [0u8; 32];
        for (slot, word) in seed.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        Draw(ChaCha8Rng::from_seed(seed))
    }

    /// An independent stream of the same seed: what is drawn from one lane never shifts another.
    #[must_use]
    pub fn lane(&self, lane: u64) -> Self {
        let mut rng = ChaCha8Rng::from_seed(self.0.get_seed());
        rng.set_stream(lane);
        Draw(rng)
    }

    /// Uniform over all 64-bit numbers.
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in \[0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with a probability; always draws exactly once.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in 0..n; 0 when `n` is 0. The bias is below n / 2^64.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.word()) * n as u128) >> 64) as usize
    }

    /// One of a list; `None` when it is empty.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Puts a list into random order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_for_ever() {
        // These numbers may never change: stored runs are replayed from them.
        let mut draw = Draw::new([1, 2, 3, 4]);
        let first = draw.word();
        assert_eq!(first, Draw::new([1, 2, 3, 4]).word());
        assert_ne!(first, Draw::new([1, 2, 3, 5]).word());
        assert_ne!(first, draw.lane(1).word());
        assert_eq!(draw.lane(7).word(), Draw::new([1, 2, 3, 4]).lane(7).word(), "a lane starts afresh");
    }

    #[test]
    fn the_hash_tells_apart_what_differs() {
        let of = |parts: &[&str]| parts.iter().fold(Hash64::default(), |h, p| h.bytes(p.as_bytes())).value();
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&[""]), of(&["\0"]));
        assert_ne!(of(&["12345678"]), of(&["12345678\0"]));
        let all: std::collections::HashSet<u64> = (0..20_000).map(|i| hash_text(&format!("case {i}"))).collect();
        assert_eq!(all.len(), 20_000);
    }

    #[test]
    fn draws_keep_their_ranges_and_rates() {
        let mut draw = Draw::new([9, 0, 0, 0]);
        let hits = (0..20_000).filter(|_| draw.chance(0.3)).count();
        assert!((5_700..6_300).contains(&hits), "{hits}");
        assert!((0..1_000).all(|_| draw.below(7) < 7));
        assert_eq!(draw.below(0), 0);
        assert_eq!(draw.pick::<u8>(&[]), None);
    }
}
