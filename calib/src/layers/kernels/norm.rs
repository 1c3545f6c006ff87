//! `RMSNorm` and `LayerNorm` over rows, one row in cache at a time.

use super::lanes::{sum, sum_of_products};
use multiversion::multiversion;

/// `out = x / sqrt(mean(x²) + epsilon) · weight`, row by row; a row is as wide as `weight`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f64, out: &mut [f32]) {
    let width = weight.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let scale = rms_scale(x, epsilon);
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

/// Gradient of [`rms_norm`] with respect to `x`:
/// `s g - x s³ mean(g x)` with `g = gradient · weight` and `s` the row's scale.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn rms_norm_gradient(
    x: &[f32],
    weight: &[f32],
    epsilon: f64,
    gradient: &[f32],
    out: &mut [f32],
) {
    let width = weight.len();
    let rows = x.chunks_exact(width).zip(gradient.chunks_exact(width));
    for ((x, gradient), out) in rows.zip(out.chunks_exact_mut(width)) {
        let scale = rms_scale(x, epsilon);
        for ((out, gradient), weight) in out.iter_mut().zip(gradient).zip(weight) {
            *out = gradient * weight;
        }
        let dot = sum_of_products(out, x);
        let along = scale * scale * scale * (dot / width as f32);
        for (out, x) in out.iter_mut().zip(x) {
            *out = *out * scale - x * along;
        }
    }
}

/// `out = (x - mean) / sqrt(variance + epsilon) · weight + bias`, row by row, biased variance.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f64, out: &mut [f32]) {
    let width = weight.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let scale = centre(x, epsilon, out);
        for ((out, weight), bias) in out.iter_mut().zip(weight).zip(bias) {
            *out = *out * scale * weight + bias;
        }
    }
}

/// Gradient of [`layer_norm`] with respect to `x`:
/// `s (g - mean(g) - n mean(g n))` with `g = gradient · weight` and `n` the normalised row.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn layer_norm_gradient(
    x: &[f32],
    weight: &[f32],
    epsilon: f64,
    gradient: &[f32],
    out: &mut [f32],
) {
    let width = weight.len();
    let mut weighted = vec![0.0; width];
    let rows = x.chunks_exact(width).zip(gradient.chunks_exact(width));
    for ((x, gradient), out) in rows.zip(out.chunks_exact_mut(width)) {
        let scale = centre(x, epsilon, out);
        for ((weighted, gradient), weight) in weighted.iter_mut().zip(gradient).zip(weight) {
            *weighted = gradient * weight;
        }
        let mean = sum(&weighted) / width as f32;
        let along = sum_of_products(&weighted, out) / width as f32 * scale * scale;
        for (out, weighted) in out.iter_mut().zip(&weighted) {
            *out = (weighted - mean - *out * along) * scale;
        }
    }
}

/// `1 / sqrt(mean(x²) + epsilon)`.
#[inline(always)]
fn rms_scale(x: &[f32], epsilon: f64) -> f32 {
    inverse_root(sum_of_products(x, x), x.len(), epsilon)
}

/// Writes `x - mean` and returns `1 / sqrt(variance + epsilon)`.
#[inline(always)]
fn centre(x: &[f32], epsilon: f64, out: &mut [f32]) -> f32 {
    let mean = sum(x) / x.len() as f32;
    for (out, x) in out.iter_mut().zip(x) {
        *out = x - mean;
    }
    inverse_root(sum_of_products(out, out), x.len(), epsilon)
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the scale is applied in f32"
)]
fn inverse_root(squares: f32, width: usize, epsilon: f64) -> f32 {
    (f64::from(squares) / width as f64 + epsilon).sqrt().recip() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPSILON: f64 = 1e-5;

    /// Both normalisations in f64.
    fn reference(x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f64> {
        let width = weight.len();
        let mut out = Vec::new();
        for row in x.chunks_exact(width) {
            let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
            let mean = bias.map_or(0.0, |_| row.iter().sum::<f64>() / width as f64);
            let square: f64 = row.iter().map(|x| (x - mean).powi(2)).sum();
            let scale = (square / width as f64 + EPSILON).sqrt().recip();
            for (i, x) in row.iter().enumerate() {
                let bias = bias.map_or(0.0, |bias| f64::from(bias[i]));
                out.push((x - mean) * scale * f64::from(weight[i]) + bias);
            }
        }
        out
    }

    fn wave(length: usize, frequency: f32) -> Vec<f32> {
        (0..length)
            .map(|i| (i as f32 * frequency).sin() + 0.3)
            .collect()
    }

    fn worst(found: &[f32], expected: &[f64]) -> f64 {
        let pairs = found.iter().zip(expected);
        pairs.fold(0.0, |worst, (a, b)| (f64::from(*a) - b).abs().max(worst))
    }

    #[test]
    fn values_match_the_definitions_at_any_width() {
        for width in [1, 3, 16, 17, 100] {
            let (x, weight, bias) = (wave(width * 3, 0.7), wave(width, 1.3), wave(width, 2.1));
            let mut out = vec![0.0; x.len()];
            rms_norm(&x, &weight, EPSILON, &mut out);
            assert!(worst(&out, &reference(&x, &weight, None)) < 1e-6);
            layer_norm(&x, &weight, &bias, EPSILON, &mut out);
            assert!(worst(&out, &reference(&x, &weight, Some(&bias))) < 3e-6);
        }
    }

    #[test]
    fn gradients_match_differences() {
        let width = 19;
        let (x, weight, gradient) = (wave(width * 2, 0.7), wave(width, 1.3), wave(width * 2, 0.4));
        let zero = vec![0.0; width];
        for bias in [None, Some(zero.as_slice())] {
            let mut out = vec![0.0; x.len()];
            match bias {
                None => rms_norm_gradient(&x, &weight, EPSILON, &gradient, &mut out),
                Some(_) => layer_norm_gradient(&x, &weight, EPSILON, &gradient, &mut out),
            }
            let loss = |x: &[f32]| -> f64 {
                let out = reference(x, &weight, bias);
                out.iter()
                    .zip(&gradient)
                    .map(|(y, g)| y * f64::from(*g))
                    .sum()
            };
            let step = 2.0_f32.powi(-9);
            let differences: Vec<f64> = (0..x.len())
                .map(|i| {
                    let mut moved = x.clone();
                    moved[i] = x[i] + step;
                    let above = loss(&moved);
                    moved[i] = x[i] - step;
                    (above - loss(&moved)) / f64::from(2.0 * step)
                })
                .collect();
            assert!(worst(&out, &differences) < 1e-4);
        }
    }
}
