//! Signs of random projections: one bit each, from which inner products are estimated without bias.
//!
//! Source: "QJL: 1-Bit Quantized JL Transform for KV Cache Quantization with Zero Overhead" (Zandieh, Daliri, Han,
//! AAAI 2025). With `S` of `[rows, dim]` normal numbers and `h = sign(S k)`,
//! `sqrt(pi / 2) / rows |k| <S q, h>` has the mean `<q, k>`; equally, `k` is read back as
//! `sqrt(pi / 2) / rows |k| S^T h`. An orthogonal `S`, blocks of `dim` rows that are `sqrt(dim) Q`, varies less.

use super::random::{GENERATOR, Gaussian, Purpose};
use half::f16;
use multiversion::multiversion;
use std::f32::consts::FRAC_PI_2;

/// Help for the key `sketch`.
pub(super) const SKETCH: (&str, &str) = (
    "sketch",
    "`orthogonal` (default): projections on the axes of uniform rotations; `gaussian`: on independent normal vectors",
);

/// Kind of the projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SketchKind {
    /// Blocks of `sqrt(dim)` times an orthogonal matrix.
    Orthogonal,
    /// Independent normal numbers.
    Gaussian,
}

impl SketchKind {
    /// Names in recipes.
    pub(super) const CHOICES: [(&'static str, Self); 2] = [
        ("orthogonal", Self::Orthogonal),
        ("gaussian", Self::Gaussian),
    ];
}

/// The matrix `S`, every entry rounded to f16 as artifacts of other programs hold it.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    dim: usize,
    kind: SketchKind,
    seed: u64,
    /// Row-major `[rows, dim]`.
    matrix: Vec<f32>,
}

impl Sketch {
    pub(super) fn new(kind: SketchKind, rows: usize, dim: usize, seed: u64) -> Self {
        let mut gaussian = Gaussian::new(seed, Purpose::Sketch);
        let stored = |value: f64| f16::from_f64(value).to_f32();
        let mut matrix = Vec::with_capacity(rows.next_multiple_of(dim.max(1)) * dim);
        match kind {
            SketchKind::Gaussian => {
                matrix.extend((0..rows * dim).map(|_| stored(gaussian.next())));
            }
            SketchKind::Orthogonal => {
                let length = (dim as f64).sqrt();
                while matrix.len() < rows * dim {
                    let block = gaussian.orthogonal(dim);
                    matrix.extend(block.into_iter().map(|entry| stored(length * entry)));
                }
                matrix.truncate(rows * dim);
            }
        }
        Self {
            dim,
            kind,
            seed,
            matrix,
        }
    }

    /// What an artifact says of it: how to make it, and how to find out whether one did.
    pub(super) fn settings(&self) -> serde_json::Value {
        let mut hasher = blake3::Hasher::new();
        for entry in &self.matrix {
            hasher.update(&f16::from_f32(*entry).to_le_bytes());
        }
        let kind = match self.kind {
            SketchKind::Orthogonal => "orthogonal",
            SketchKind::Gaussian => "gaussian",
        };
        serde_json::json!({
            "kind": kind,
            "shape": [self.matrix.len() / self.dim, self.dim],
            "seed": self.seed,
            "generator": GENERATOR,
            "blake3_of_f16": hasher.finalize().to_hex().as_str(),
        })
    }

    /// Whether each of the first rows projects `values` above zero; bit `i` of byte `j` is row `8 j + i`. `bits` has
    /// a byte for eight rows.
    pub(super) fn signs(&self, values: &[f32], rows: usize, bits: &mut [u8]) {
        let matrix = self.matrix[..rows * self.dim].chunks(8 * self.dim);
        for (byte, matrix) in bits.iter_mut().zip(matrix) {
            *byte = 0;
            for (at, row) in matrix.chunks(self.dim).enumerate() {
                *byte |= u8::from(dot(row, values) > 0.0) << at;
            }
        }
    }

    /// `sqrt(pi / 2) / rows length S^T h` of the signs `h`: what they say of a vector of that length.
    pub(super) fn read(&self, bits: &[u8], rows: usize, length: f32, out: &mut [f32]) {
        out.fill(0.0);
        let factor = FRAC_PI_2.sqrt() / rows as f32 * length;
        let matrix = self.matrix[..rows * self.dim].chunks(self.dim);
        for (row, entries) in matrix.enumerate() {
            let is_positive = bits[row / 8] >> (row % 8) & 1 == 1;
            add(entries, if is_positive { factor } else { -factor }, out);
        }
    }
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn add(entries: &[f32], factor: f32, out: &mut [f32]) {
    for (out, entry) in out.iter_mut().zip(entries) {
        *out += factor * entry;
    }
}

/// The inner product, in eight sums that a vector register holds.
#[multiversion(targets("x86_64+avx2+fma"))]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    /// Mean and standard deviation of the estimate of an inner product of 0.6 between unit vectors of 128
    /// coordinates, over `draws` matrices.
    fn estimates(kind: SketchKind, rows: usize, draws: u64) -> (f64, f64) {
        const DIM: usize = 128;
        let (mut key, mut query) = (vec![0.0_f32; DIM], vec![0.0_f32; DIM]);
        // Neither on an axis, which f16 would hold better than others.
        for at in 0..DIM {
            let sign = if at % 3 == 0 { -1.0 } else { 1.0 };
            let other = if at % 2 == 0 { 1.0 } else { -1.0 };
            key[at] = sign / (DIM as f32).sqrt();
            query[at] = (0.6 * sign + 0.8 * sign * other) / (DIM as f32).sqrt();
        }
        let found: Vec<f64> = (0..draws)
            .into_par_iter()
            .map(|seed| {
                let sketch = Sketch::new(kind, rows, DIM, seed);
                let mut bits = vec![0; rows.div_ceil(8)];
                sketch.signs(&key, rows, &mut bits);
                let mut back = vec![0.0; DIM];
                sketch.read(&bits, rows, 1.0, &mut back);
                f64::from(dot(&back, &query))
            })
            .collect();
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        let variance = found.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / found.len() as f64;
        (mean, variance.sqrt())
    }

    // Independent rows: the variance is (pi / 2 - 0.6^2) / rows.
    #[test]
    fn gaussian_signs_estimate_without_bias_and_with_the_known_spread() {
        for (rows, table) in [(128, 0.099), (256, 0.074), (512, 0.050)] {
            let (mean, sd) = estimates(SketchKind::Gaussian, rows, 4000);
            let expected = ((f64::from(FRAC_PI_2) - 0.36) / rows as f64).sqrt();
            assert!((mean - 0.6).abs() < 0.01, "{rows}: {mean}");
            assert!(
                (sd / expected - 1.0).abs() < 0.03,
                "{rows}: {sd} {expected}"
            );
            assert!(sd < 1.15 * table, "{rows}: {sd}");
        }
    }

    #[test]
    fn orthogonal_signs_estimate_with_little_bias_and_less_spread() {
        for (rows, draws, table) in [(128, 2000, 0.055), (256, 400, 0.037), (512, 400, 0.025)] {
            let (mean, sd) = estimates(SketchKind::Orthogonal, rows, draws);
            assert!((mean - 0.6).abs() < 0.01, "{rows}: {mean}");
            assert!(sd < 1.15 * table, "{rows}: {sd}");
        }
    }
}
