//! Rotations of whole heads, after which the coordinates of any vector are distributed alike.

use super::error::CacheError;
use super::hadamard;
use super::random::{GENERATOR, Gaussian, Purpose};
use super::shape::Part;
use crate::linalg::hadamard::Hadamard;
use crate::pack::transpose;
use multiversion::multiversion;

/// Help for the key `rotation`.
pub(super) const ROTATION: (&str, &str) = (
    "rotation",
    "`hadamard`: random signs and a Hadamard matrix of the head dimension; `qr`: a uniform orthogonal matrix",
);

/// Help for the key `seed`.
pub(super) const SEED: (&str, &str) = ("seed", "seed of random matrices, from 0 (default 42)");

/// Kind of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RotationKind {
    /// Random signs, then a Hadamard matrix.
    Hadamard,
    /// A uniform orthogonal matrix.
    Qr,
}

impl RotationKind {
    /// Names in recipes.
    pub(super) const CHOICES: [(&'static str, Self); 2] =
        [("hadamard", Self::Hadamard), ("qr", Self::Qr)];

    /// What an artifact says of it.
    pub(super) fn settings(self, seed: u64) -> serde_json::Value {
        let kind = match self {
            Self::Hadamard => "hadamard",
            Self::Qr => "qr",
        };
        serde_json::json!({ "kind": kind, "seed": seed, "generator": GENERATOR })
    }
}

/// An orthogonal matrix, fast where it can be.
#[derive(Debug, Clone)]
pub(super) enum Rotation {
    /// `H diag(signs) / sqrt(dim)` of a power of two.
    Signs(Vec<f32>),
    /// Row-major `[dim, dim]`, and its transpose.
    Dense(Vec<f32>, Vec<f32>),
}

impl Rotation {
    /// A rotation of `dim` coordinates. The signs of a Hadamard rotation are those of the first Gaussian numbers of
    /// the seed.
    ///
    /// # Errors
    /// No Hadamard matrix of that order is known.
    pub(super) fn new(
        kind: RotationKind,
        dim: usize,
        seed: u64,
        (method, part): (&'static str, Part),
    ) -> Result<Self, CacheError> {
        let mut gaussian = Gaussian::new(seed, Purpose::Rotation);
        if kind == RotationKind::Qr {
            return Ok(Self::dense(&gaussian.orthogonal(dim), dim));
        }
        let signs: Vec<f64> = (0..dim)
            .map(|_| 1.0_f64.copysign(gaussian.next()))
            .collect();
        if dim.is_power_of_two() {
            return Ok(Self::Signs(signs.into_iter().map(narrow).collect()));
        }
        let hadamard = Hadamard::of_order(dim).ok_or(CacheError::NoHadamard {
            method,
            part,
            order: dim,
        })?;
        let mut matrix = vec![0.0; dim * dim];
        for (at, row) in matrix.chunks_mut(dim).enumerate() {
            row[at] = 1.0;
            hadamard.rotate(row);
            for (entry, sign) in row.iter_mut().zip(&signs) {
                *entry *= sign;
            }
        }
        Ok(Self::dense(&matrix, dim))
    }

    fn dense(matrix: &[f64], dim: usize) -> Self {
        let matrix: Vec<f32> = matrix.iter().copied().map(narrow).collect();
        let transposed = transpose(&matrix, dim, dim);
        Self::Dense(matrix, transposed)
    }

    /// Replaces `values` by the rotated vector; `room` is as long.
    pub(super) fn forward(&self, values: &mut [f32], room: &mut [f32]) {
        match self {
            Self::Signs(signs) => {
                for (value, sign) in values.iter_mut().zip(signs) {
                    *value *= sign;
                }
                hadamard::transform(values);
            }
            Self::Dense(_, transposed) => product(values, transposed, room),
        }
    }

    /// Undoes [`Self::forward`].
    pub(super) fn backward(&self, values: &mut [f32], room: &mut [f32]) {
        match self {
            Self::Signs(signs) => {
                hadamard::transform(values);
                for (value, sign) in values.iter_mut().zip(signs) {
                    *value *= sign;
                }
            }
            Self::Dense(matrix, _) => product(values, matrix, room),
        }
    }
}

/// Replaces the row vector `values` by its product with a row-major matrix.
#[multiversion(targets("x86_64+avx2+fma"))]
fn product(values: &mut [f32], matrix: &[f32], room: &mut [f32]) {
    room.fill(0.0);
    for (value, row) in values.iter().zip(matrix.chunks_exact(values.len())) {
        for (sum, entry) in room.iter_mut().zip(row) {
            *sum += value * entry;
        }
    }
    values.copy_from_slice(room);
}

#[expect(clippy::cast_possible_truncation, reason = "matrices are held as f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn backward_undoes_forward_and_lengths_stay(
            values in proptest::collection::vec(-1.0f32..1.0, 4..140),
            seed in any::<u64>(),
            is_qr in any::<bool>(),
        ) {
            let kind = if is_qr { RotationKind::Qr } else { RotationKind::Hadamard };
            let dim = values.len();
            let Ok(rotation) = Rotation::new(kind, dim, seed, ("turbo", Part::Keys)) else {
                prop_assert!(Hadamard::of_order(dim).is_none() && !is_qr);
                return Ok(());
            };
            let (mut turned, mut room) = (values.clone(), vec![0.0; dim]);
            rotation.forward(&mut turned, &mut room);
            let length = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
            prop_assert!((length(&turned) - length(&values)).abs() <= 1e-4 * length(&values));
            rotation.backward(&mut turned, &mut room);
            for (value, back) in values.iter().zip(&turned) {
                prop_assert!((value - back).abs() < 1e-5);
            }
        }
    }
}
