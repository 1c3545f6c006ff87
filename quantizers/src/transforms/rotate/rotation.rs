//! A random orthogonal matrix that is fast to multiply with.

use crate::linalg::hadamard::{Hadamard, signs};

/// `R = D H / sqrt(order)` with random signs `D` and a Hadamard matrix `H`; several of them along the diagonal where the
/// width has no such matrix of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rotation {
    hadamard: Hadamard,
    /// Whether a channel is negated first, one for each.
    negated: Vec<bool>,
}

impl Rotation {
    /// The rotation of `width` channels, at least 1, for `purpose`.
    pub(super) fn new(width: usize, seed: u64, purpose: &str) -> Self {
        Self {
            hadamard: Hadamard::largest_in(width),
            negated: signs(seed, purpose, width),
        }
    }

    /// Channels.
    pub(super) fn width(&self) -> usize {
        self.negated.len()
    }

    /// Channels that are mixed with each other.
    pub(super) fn block(&self) -> usize {
        self.hadamard.order()
    }

    /// Replaces the row vector `values`, one for each channel, by `values R`.
    pub(super) fn apply(&self, values: &mut [f64]) {
        for (value, negated) in values.iter_mut().zip(&self.negated) {
            if *negated {
                *value = -*value;
            }
        }
        for block in values.chunks_exact_mut(self.block()) {
            self.hadamard.rotate(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_vectors_stay_and_signs_differ_by_seed() {
        // 50 = 25 blocks of 2.
        for width in [12, 50, 64] {
            let rotation = Rotation::new(width, 3, "test");
            let mut vectors = [0.3, 1.7].map(|phase| -> Vec<f64> {
                (0..width).map(|at| (at as f64 + phase).sin()).collect()
            });
            let product = |[a, b]: &[Vec<f64>; 2]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let before = product(&vectors);
            for vector in &mut vectors {
                rotation.apply(vector);
            }
            assert!((product(&vectors) - before).abs() < 1e-12 * width as f64);
            assert_ne!(rotation, Rotation::new(width, 4, "test"));
        }
    }
}
