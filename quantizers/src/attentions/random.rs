//! Random numbers that are the same on every machine: ChaCha20, seeded by what they are for.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A stream of random numbers.
pub(super) struct Random(ChaCha20Rng);

impl Random {
    /// The stream of one key-value head of one layer, for one `purpose`.
    pub(super) fn new(seed: u64, purpose: &str, layer: usize, head: usize) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("quench random attention");
        for number in [seed, layer as u64, head as u64] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(purpose.as_bytes());
        Self(ChaCha20Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// Uniform in `0..1`, with 53 bits.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `0..count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let at = (u128::from(self.0.next_u64()) * count as u128) >> 64;
        usize::try_from(at).unwrap_or(0)
    }

    /// Standard normal, by the transform of Box and Muller.
    pub(super) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "f32 is what projections are made of"
        )]
        let value = (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_purpose_layer_and_head_and_nothing_else() {
        let first =
            |seed, purpose: &str, layer, head| Random::new(seed, purpose, layer, head).0.next_u64();
        assert_eq!(first(1, "a", 2, 3), first(1, "a", 2, 3));
        let all = [
            first(1, "a", 2, 3),
            first(2, "a", 2, 3),
            first(1, "b", 2, 3),
            first(1, "a", 3, 3),
            first(1, "a", 2, 2),
        ];
        for (at, value) in all.iter().enumerate() {
            assert!(!all[..at].contains(value));
        }
    }

    #[test]
    fn moments_of_uniform_and_normal_numbers() {
        let mut random = Random::new(0, "moments", 0, 0);
        let count = 20_000;
        let uniform: f64 = (0..count).map(|_| random.uniform()).sum::<f64>() / f64::from(count);
        let square: f64 = (0..count)
            .map(|_| f64::from(random.normal()).powi(2))
            .sum::<f64>()
            / f64::from(count);
        // Five standard errors.
        assert!((uniform - 0.5).abs() < 0.0103, "{uniform}");
        assert!((square - 1.0).abs() < 0.05, "{square}");
        assert!((0..1000).all(|_| random.below(3) < 3));
    }
}
