//! The basis in which a matrix is rounded: signed scales of inputs and outputs, and Hadamard transforms of both sides.
//!
//! `w[o, i] = outputs[o] (H r H)[o, i] inputs[i]` with orthogonal `H` in blocks. What rounding adds to `r` is white
//! noise, so that a scale says how much of it an output or an input gets.

use crate::MatrixRef;
use crate::linalg::hadamard;
use half::f16;
use rayon::prelude::*;

/// The scale of an input grows with the root of the mean square of its weights to this power. With the errors of one
/// input made up for by others, 1 makes the error of the layer least (exllamav3). Small models would rather have less:
/// with 1/2 and 1/4 one of 1.4 M parameters loses 0.0410 instead of 0.0454 nats of KL at 2 bits, but one of 135 M and
/// realistic width loses 0.156 instead of 0.141 at 3.
const INPUT_POWER: f64 = 1.0;
/// The same for outputs, whose errors nothing makes up for: their sum `sum(s^2) sum(rms^2 / s^2)` is least at 1/2.
const OUTPUT_POWER: f64 = 0.5;

/// Signed scales of both sides, as they are stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rotation {
    /// `[cols]`.
    pub(super) inputs: Vec<f16>,
    /// `[rows]`.
    pub(super) outputs: Vec<f16>,
}

impl Rotation {
    /// Scales for `weight` with random signs, under which its rotated values have a root mean square of `target`.
    /// Outputs and inputs without weights get scales of 0.
    pub(super) fn new(weight: MatrixRef<'_>, target: f64, seed: u64) -> Self {
        let (rows, cols) = (weight.rows(), weight.cols());
        let squares = |row| {
            weight
                .row(row)
                .iter()
                .map(|value| f64::from(*value).powi(2))
        };
        let of_rows = (0..rows).map(|row| squares(row).sum::<f64>() / cols as f64);
        let mut outputs: Vec<f64> = of_rows.map(|mean| mean.sqrt().powf(OUTPUT_POWER)).collect();
        let mut of_columns = vec![0.0; cols];
        for (row, scale) in outputs
            .iter()
            .enumerate()
            .filter(|(_, scale)| **scale > 0.0)
        {
            for (sum, square) in of_columns.iter_mut().zip(squares(row)) {
                *sum += square / (scale * scale * rows as f64);
            }
        }
        let mut inputs: Vec<f64> = of_columns
            .iter()
            .map(|mean: &f64| mean.sqrt().powf(INPUT_POWER))
            .collect();
        let left = of_columns
            .iter()
            .zip(&inputs)
            .filter(|(_, scale)| **scale > 0.0);
        let sum: f64 = left.map(|(mean, scale)| mean / (scale * scale)).sum();
        // Both sides get the same mean, so that neither leaves what f16 holds well.
        let mean = |scales: &[f64]| scales.iter().sum::<f64>() / scales.len().max(1) as f64;
        let whole = (sum / cols as f64).sqrt() / target;
        let product = mean(&inputs) * mean(&outputs) * whole;
        for scales in [&mut inputs, &mut outputs] {
            let factor = product.sqrt() / mean(scales);
            for scale in scales.iter_mut().filter(|scale| **scale > 0.0) {
                *scale *= factor;
            }
        }
        Self {
            inputs: signed(&inputs, seed, "inputs"),
            outputs: signed(&outputs, seed, "outputs"),
        }
    }

    /// `weight` in the rotated basis, `[rows, cols]`.
    pub(super) fn rotate(&self, weight: MatrixRef<'_>) -> Vec<f32> {
        let cols = weight.cols();
        let sides = [weight.rows(), cols].map(hadamard::block);
        let norm = 1.0 / ((sides[0] * sides[1]) as f64).sqrt();
        let inverse = |scale: f16| match scale.to_f64() {
            0.0 => 0.0,
            scale => 1.0 / scale,
        };
        let inputs: Vec<f64> = self.inputs.iter().map(|scale| inverse(*scale)).collect();
        let mut rotated = weight.data().to_vec();
        rotated
            .par_chunks_mut(cols)
            .zip(&self.outputs)
            .for_each(|(row, output)| {
                let output = inverse(*output) * norm;
                for (value, input) in row.iter_mut().zip(&inputs) {
                    #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
                    let scaled = (f64::from(*value) * input * output) as f32;
                    *value = scaled;
                }
            });
        hadamard::transform_both(&mut rotated, cols, (sides[0], sides[1]));
        rotated
    }

    /// `X^T X` of the inputs as the rotated weights see them, `[cols, cols]`: `H S hessian S H` with the scales `S`.
    pub(super) fn rotate_hessian(&self, hessian: MatrixRef<'_>) -> Vec<f64> {
        let cols = hessian.cols();
        let side = hadamard::block(cols);
        let scales: Vec<f64> = self.inputs.iter().map(|scale| scale.to_f64()).collect();
        let mut rotated: Vec<f64> = hessian.data().iter().map(|v| f64::from(*v)).collect();
        rotated
            .par_chunks_mut(cols.max(1))
            .zip(&scales)
            .for_each(|(row, scale)| {
                for (value, other) in row.iter_mut().zip(&scales) {
                    *value *= scale * other / side as f64;
                }
            });
        hadamard::transform_both(&mut rotated, cols, (side, side));
        rotated
    }
}

/// Scales with random signs, in the precision they are stored in.
fn signed(scales: &[f64], seed: u64, side: &str) -> Vec<f16> {
    let signs = hadamard::signs(seed, side, scales.len());
    let pairs = scales.iter().zip(signs);
    pairs
        .map(|(scale, minus)| f16::from_f64(if minus { -scale } else { *scale }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Encoding, QuantizedTensor, Trellis};

    fn wave(rows: usize, cols: usize) -> Vec<f32> {
        let wave = |at: usize| ((at * 37 % 101) as f32 / 50.0 - 1.0).sin() * (1 + at % 7) as f32;
        (0..rows * cols).map(|at| wave(at * at)).collect()
    }

    #[test]
    fn rotated_weights_have_the_target_size_and_channels_without_weights_scale_0() {
        let mut data = wave(96, 80);
        data[80..160].fill(0.0);
        data.chunks_mut(80).for_each(|row| row[5] = 0.0);
        let weight = MatrixRef::new(&data, 96, 80).unwrap();
        let rotation = Rotation::new(weight, 1.25, 3);
        let rotated = rotation.rotate(weight);
        let sum: f64 = rotated.iter().map(|value| f64::from(*value).powi(2)).sum();
        let rms = (sum / rotated.len() as f64).sqrt();
        assert!((rms - 1.25).abs() < 0.02, "{rms}");
        assert!(rotation.outputs[1].to_f32().abs() < 1e-9);
        assert!(rotation.inputs[5].to_f32().abs() < 1e-9);
        let zero = [0.0; 32 * 16];
        let zero = MatrixRef::new(&zero, 32, 16).unwrap();
        let nothing = Rotation::new(zero, 1.0, 3);
        assert!(nothing.rotate(zero).iter().all(|value| value.abs() < 1e-9));
        assert!(nothing.inputs.iter().all(|scale| scale.is_finite()));
    }

    #[test]
    fn outputs_do_not_change_under_rotation() {
        // tr(W X^T X W^T) is the same in both bases, but for the scales of outputs.
        let (rows, cols) = (16, 48);
        let (data, inputs) = (wave(rows, cols), wave(60, cols));
        let weight = MatrixRef::new(&data, rows, cols).unwrap();
        let mut hessian = vec![0.0; cols * cols];
        for input in inputs.chunks(cols) {
            for (row, a) in hessian.chunks_mut(cols).zip(input) {
                row.iter_mut().zip(input).for_each(|(sum, b)| *sum += a * b);
            }
        }
        let hessian = MatrixRef::new(&hessian, cols, cols).unwrap();
        let mut rotation = Rotation::new(weight, 1.0, 9);
        rotation.outputs.fill(f16::ONE);
        let energy = |weight: &[f32], hessian: &dyn Fn(usize, usize) -> f64| -> f64 {
            let rows = weight.chunks(cols).map(|row| {
                let pairs = (0..cols * cols).map(|at| (at / cols, at % cols));
                let terms =
                    pairs.map(|(a, b)| f64::from(row[a]) * f64::from(row[b]) * hessian(a, b));
                terms.sum::<f64>()
            });
            rows.sum()
        };
        let rotated = rotation.rotate_hessian(hessian);
        let before = energy(&data, &|a, b| f64::from(hessian.row(a)[b]));
        let after = energy(&rotation.rotate(weight), &|a, b| rotated[a * cols + b]);
        assert!((before - after).abs() < 1e-4 * before, "{before} {after}");
    }

    #[test]
    fn decoding_turns_back_what_was_rotated() {
        // Values that a trellis makes, rotated back and forth.
        let (rows, cols) = (32, 48);
        let mut trellis = Trellis {
            bits: 2,
            state_bits: 12,
            code: crate::trellis::Code::find("3inst").unwrap(),
            streams: (0..6 * 16_u32)
                .map(|at| at.wrapping_mul(0x9e37_79b9))
                .collect(),
            input_scales: vec![f16::from_f32(0.5); cols],
            output_scales: vec![f16::from_f32(-0.25); rows],
        };
        trellis.input_scales[3] = f16::from_f32(-2.0);
        let rotation = Rotation {
            inputs: trellis.input_scales.clone(),
            outputs: trellis.output_scales.clone(),
        };
        let mut values = vec![0.0; rows * cols];
        trellis.rotated(0, cols, &mut values);
        let tensor = QuantizedTensor {
            rows,
            cols,
            encoding: Encoding::Trellis(trellis),
            outliers: None,
        };
        let decoded = tensor.dequantize();
        let rotated = rotation.rotate(MatrixRef::new(&decoded, rows, cols).unwrap());
        for (found, expected) in rotated.iter().zip(&values) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
}
