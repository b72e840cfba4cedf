//! The power of sampled answers against a change of all logits, on the toy language model of statistics, 14.10.

use crate::stats::mmd::{Sides, permuted_mmd2};

const TOKENS: usize = 64;
const LENGTH: usize = 30;
const PROMPTS: usize = 20;
const LEVEL: f64 = 0.05;
const SHUFFLES: u32 = 200;
/// Runs behind each figure of the table.
const RUNS: u64 = 60;
/// Runs of the test that is always made: it takes seconds without optimisation.
const FEW_RUNS: u64 = 6;

/// Noise on the logits, and the divergence per token that it makes (statistics, 14.10).
const SIGMAS: [(f64, &str); 5] = [(0.0, "0"), (0.082, "0.0015"), (0.165, "0.006"), (0.368, "0.03"), (0.826, "0.15")];

struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + 1e-300
    }

    fn gumbel(&mut self) -> f64 {
        -(-self.unit().ln()).ln()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// A Markov chain of tokens: by the last token, the cumulated weights of the next.
struct Chain(Vec<[f64; TOKENS]>);

impl Chain {
    fn of(logits: &[f64]) -> Chain {
        let row = |of: &[f64]| {
            let mut sum = 0.0;
            std::array::from_fn(|i| {
                sum += of[i].exp();
                sum
            })
        };
        Chain(logits.chunks(TOKENS).map(row).collect())
    }

    fn say(&self, dice: &mut Dice) -> Vec<u8> {
        let mut at = 0;
        let mut next = || {
            let row = &self.0[at];
            let drawn = dice.unit() * row[TOKENS - 1];
            at = row.partition_point(|sum| *sum < drawn).min(TOKENS - 1);
            at as u8
        };
        (0..LENGTH).map(|_| next()).collect()
    }
}

/// The text of tokens: words of two to eight letters, so that a token that is not the same moves all after it.
fn text(tokens: &[u8]) -> Vec<u8> {
    let word = |t: &u8| {
        let mut dice = Dice(u64::from(*t) + 1000);
        let letters = 2 + (dice.unit() * 7.0) as usize;
        let mut word: Vec<u8> = (0..letters).map(|_| b'a' + (dice.unit() * 26.0) as u8).collect();
        word.push(b' ');
        word
    };
    tokens.iter().flat_map(word).collect()
}

/// The answers of the two sides to one prompt.
type Pair = (Vec<Vec<u8>>, Vec<Vec<u8>>);

/// Share of runs in which a change of this size is found at [`LEVEL`]: by tokens, and by the characters of the text.
fn power(sigma: f64, each: usize, runs: u64) -> [f64; 2] {
    let mut found = [0.0; 2];
    for run in 0..runs {
        let mut dice = Dice(run * 1_000_003 + each as u64);
        let sides: Vec<Pair> = (0..PROMPTS)
            .map(|_| {
                let logits: Vec<f64> = (0..TOKENS * TOKENS).map(|_| 2.2 * dice.gumbel()).collect();
                let own: Vec<f64> = logits.iter().map(|logit| logit + sigma * dice.normal()).collect();
                let (model, own) = (Chain::of(&logits), Chain::of(&own));
                let mut all = |of: &Chain| (0..each).map(|_| of.say(&mut dice)).collect();
                (all(&model), all(&own))
            })
            .collect();
        let texts: Vec<Pair> = sides
            .iter()
            .map(|(x, y)| (x.iter().map(|t| text(t)).collect(), y.iter().map(|t| text(t)).collect()))
            .collect();
        for (found, (sides, length)) in found.iter_mut().zip([(&sides, LENGTH), (&texts, 128)]) {
            let groups: Vec<Sides<'_, u8>> = sides.iter().map(|(x, y)| Sides { x, y }).collect();
            let p = permuted_mmd2(&groups, length, SHUFFLES, run).unwrap().p;
            *found += f64::from(u8::from(p <= LEVEL)) / runs as f64;
        }
    }
    found
}

#[test]
fn a_large_change_of_all_logits_is_found_and_none_is_not() {
    let [tokens, characters] = power(0.826, 25, FEW_RUNS);
    assert!(tokens > 0.99 && characters > 0.99, "{tokens} {characters}");
    // Binomial(6, 0.05): more than two are 2 in a thousand.
    assert!(power(0.0, 10, FEW_RUNS).iter().all(|power| *power <= 0.4));
}

/// The whole table: minutes without optimisation.
#[test]
#[ignore = "slow tier: scripts/test slow"]
fn the_power_of_sampled_answers() {
    let mut table =
        String::from("KL per token | 20 x 10 tokens | 20 x 25 tokens | 20 x 10 characters | 20 x 25 characters\n");
    for (sigma, kl) in SIGMAS {
        let ([few, few_characters], [many, many_characters]) = (power(sigma, 10, RUNS), power(sigma, 25, RUNS));
        table += &format!("{kl} | {few:.2} | {many:.2} | {few_characters:.2} | {many_characters:.2}\n");
    }
    insta::assert_snapshot!("power_of_sampled_answers", table);
}
