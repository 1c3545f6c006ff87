//! Gaussian numbers and orthogonal matrices that any program can make again from a seed.
//!
//! The generator is `ChaCha20`: its key is the seed as a little-endian 64-bit integer followed by 24 zero bytes, its
//! stream number is the purpose, and words are read in order from block 0. Two words `a`, `b` give two normal
//! numbers by Box and Muller, in f64: with `u = (a + 1/2) / 2^32` and `v = (b + 1/2) / 2^32`,
//! `sqrt(-2 ln u) cos(2 pi v)` and then `sqrt(-2 ln u) sin(2 pi v)`. A matrix is filled row by row.
//!
//! An orthogonal matrix is the `Q` of the QR decomposition of a square Gaussian matrix whose `R` has a positive
//! diagonal. That makes it unique, and uniform among all orthogonal matrices (Mezzadri, 2007).

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::f64::consts::TAU;

/// What numbers are for; each purpose has a stream of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A rotation of whole heads.
    Rotation = 0,
    /// Projections whose signs are stored.
    Sketch = 1,
}

/// Name of the generator in artifacts.
pub(super) const GENERATOR: &str = "chacha20-box-muller";

/// Normal numbers of mean 0 and variance 1.
pub(super) struct Gaussian {
    words: ChaCha20Rng,
    second: Option<f64>,
}

impl Gaussian {
    pub(super) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut words = ChaCha20Rng::from_seed(key);
        words.set_stream(purpose as u64);
        Self {
            words,
            second: None,
        }
    }

    pub(super) fn next(&mut self) -> f64 {
        if let Some(second) = self.second.take() {
            return second;
        }
        let mut uniform = || (f64::from(self.words.next_u32()) + 0.5) / 4_294_967_296.0;
        let (u, v) = (uniform(), uniform());
        let radius = (-2.0 * u.ln()).sqrt();
        let (sine, cosine) = (TAU * v).sin_cos();
        self.second = Some(radius * sine);
        radius * cosine
    }

    /// An orthogonal matrix, row-major `[dim, dim]`.
    pub(super) fn orthogonal(&mut self, dim: usize) -> Vec<f64> {
        // Column by column: Gram and Schmidt, twice, which is as orthogonal as f64 can be.
        let rows: Vec<f64> = (0..dim * dim).map(|_| self.next()).collect();
        let mut columns = crate::pack::transpose(&rows, dim, dim);
        for at in 0..dim {
            let (before, rest) = columns.split_at_mut(at * dim);
            let own = &mut rest[..dim];
            for _ in 0..2 {
                for other in before.chunks(dim) {
                    let product = dot(own, other);
                    for (own, other) in own.iter_mut().zip(other) {
                        *own -= product * other;
                    }
                }
            }
            let length = dot(own, own).sqrt();
            for own in own {
                *own /= length;
            }
        }
        crate::pack::transpose(&columns, dim, dim)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_normal_and_differ_by_seed_and_purpose() {
        let draw = |seed, purpose| {
            let mut gaussian = Gaussian::new(seed, purpose);
            (0..100_000).map(|_| gaussian.next()).collect::<Vec<_>>()
        };
        let values = draw(42, Purpose::Rotation);
        let moment = |power| values.iter().map(|x| x.powi(power)).sum::<f64>() / 1e5;
        // Three standard errors: the variances of x, x^2 and x^4 are 1, 2 and 96.
        assert!(moment(1).abs() < 0.0095);
        assert!((moment(2) - 1.0).abs() < 0.0134);
        assert!((moment(4) - 3.0).abs() < 0.093);
        assert_ne!(values[..4], draw(42, Purpose::Sketch)[..4]);
        assert_ne!(values[..4], draw(43, Purpose::Rotation)[..4]);
    }

    // Computed in Python, with a ChaCha20 written from RFC 8439, from the description above.
    #[test]
    fn the_first_numbers_of_seed_42_are_those_of_another_program() {
        let mut gaussian = Gaussian::new(42, Purpose::Rotation);
        for expected in EXPECTED {
            assert!((gaussian.next() - expected).abs() < 1e-12);
        }
    }

    const EXPECTED: [f64; 4] = [
        -1.686_416_346_372_410_7,
        0.961_537_728_752_109_4,
        -0.383_174_608_096_300_4,
        -1.374_101_712_436_574_6,
    ];

    #[test]
    fn a_rotation_is_orthogonal_with_a_positive_diagonal_of_r() {
        let dim = 80;
        let matrix = Gaussian::new(7, Purpose::Rotation).orthogonal(dim);
        for (a, first) in matrix.chunks(dim).enumerate() {
            for (b, second) in matrix.chunks(dim).enumerate() {
                let expected = f64::from(u8::from(a == b));
                assert!((dot(first, second) - expected).abs() < 1e-12, "{a} {b}");
            }
        }
        // R = Q^T G, with the Gaussian matrix made again.
        let mut gaussian = Gaussian::new(7, Purpose::Rotation);
        let rows: Vec<f64> = (0..dim * dim).map(|_| gaussian.next()).collect();
        for col in 0..dim {
            let product = |of: usize| -> f64 {
                (0..dim)
                    .map(|row| matrix[row * dim + of] * rows[row * dim + col])
                    .sum()
            };
            assert!(product(col) > 0.0);
            assert!((col + 1..dim).all(|below| product(below).abs() < 1e-11));
        }
    }
}
