//! `hqq`: asymmetric uniform groups whose zero points are floats, found without data.
//!
//! The scale of a group spans its weights. Its zero point `z` is moved for `sum |w - w'|^p`, `p = 0.7`, which large
//! errors cost less than squares would, by half-quadratic splitting: with `S` one over the scale and
//! `q = clamp(round(w S + z))`, the errors that stay are `E = shrink(w - (q - z) / S)`, and `z` becomes the mean of
//! `q - (w - E) S` (Badri and Shaji 2023, half-quadratic quantization).

use super::grid_parameters::{Arithmetic, GridParameters, GroupFallback};
use super::parameters::Parameters;
use super::{
    LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer, range, require_finite,
};
use crate::codebook::nearest_f16;
use crate::statistics::LayerStats;
use crate::tensor::{Encoding, QuantizedTensor, Uniform};
use crate::{FloatType, Granularity, MatrixRef};
use half::f16;
use multiversion::multiversion;
use rayon::prelude::*;

/// Weights one thread puts on grids, per second.
const WEIGHTS_PER_SECOND: f64 = 40e6;
/// Inputs that share a scale unless the rule says otherwise.
const GROUP_SIZE: i64 = 64;
/// Times a zero point is moved, at most.
const ITERATIONS: usize = 20;
/// `p` of the errors.
const POWER: f32 = 0.7;
/// Weight of the split at the start, and what it is multiplied by each time.
const BETA: f32 = 10.0;
const KAPPA: f32 = 1.01;
/// Largest inverse scale; f16 holds few smaller scales well.
const MOST_INVERSE_SCALE: f32 = 2e4;

/// The registry entry.
pub(super) struct Hqq;

const PARAMETERS: &[(&str, &str)] = &[
    ("bits", "width of one code, 2 to 8"),
    (
        "group_size",
        "consecutive inputs that share a scale and a zero point; 64 unless given",
    ),
    (
        "group_size_fallback",
        "where group_size does not divide the inputs: `error` (default), `smaller`, `shorter_last_group` or `channel`, as for `rtn`",
    ),
];

impl Method for Hqq {
    fn name(&self) -> &'static str {
        "hqq"
    }

    fn summary(&self) -> &'static str {
        "uniform groups with float zero points found by half-quadratic splitting; needs no data"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), PARAMETERS, table)?;
        let bits = parameters
            .integer("bits", 2..=8)?
            .and_then(|bits| u8::try_from(bits).ok());
        let group_size = parameters.integer("group_size", 1..=i64::from(u32::MAX))?;
        let group_size = usize::try_from(group_size.unwrap_or(GROUP_SIZE))
            .map_err(|_| parameters.refuse("group_size", "a whole number"))?;
        let fallback = parameters.choice("group_size_fallback", &GroupFallback::CHOICES)?;
        Ok(Box::new(HqqQuantizer {
            grid: GridParameters {
                bits: bits
                    .ok_or_else(|| parameters.refuse("bits", "a whole number from 2 to 8"))?,
                granularity: Granularity::Group(group_size),
                symmetric: false,
                fallback: fallback.unwrap_or(GroupFallback::Error),
                scale_type: Some(FloatType::F16),
                arithmetic: Arithmetic::F32,
                activation_bits: None,
            },
        }))
    }
}

#[derive(Debug)]
struct HqqQuantizer {
    grid: GridParameters,
}

impl Quantizer for HqqQuantizer {
    fn plan(
        &self,
        rows: usize,
        cols: usize,
        stored: FloatType,
    ) -> Result<LayerPlan, QuantizeError> {
        let mut plan = self
            .grid
            .plan(Hqq.name(), (rows, cols), stored, WEIGHTS_PER_SECOND)?;
        plan.scheme.float_zero_points = true;
        Ok(plan)
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        plan: &LayerPlan,
        _stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        require_finite(weight)?;
        let (rows, cols) = (weight.rows(), weight.cols());
        let granularity = plan.scheme.granularity;
        let size = match granularity {
            Granularity::Group(size) => size,
            Granularity::Tensor | Granularity::Channel => cols,
        };
        let groups = granularity.groups_per_row(cols);
        let mut codes = vec![0; rows * cols];
        let mut scales = vec![0.0; rows * groups];
        let mut zero_points = vec![f16::ZERO; rows * groups];
        if !codes.is_empty() {
            codes
                .par_chunks_mut(cols)
                .zip(scales.par_chunks_mut(groups))
                .zip(zero_points.par_chunks_mut(groups))
                .zip(weight.data().par_chunks(cols))
                .for_each(|(((codes, scales), zero_points), weights)| {
                    let of_groups = codes.chunks_mut(size).zip(weights.chunks(size));
                    let points = scales.iter_mut().zip(zero_points);
                    for ((codes, weights), (scale, zero)) in of_groups.zip(points) {
                        (*scale, *zero) = fit(self.grid.bits, weights, codes);
                    }
                });
        }
        let uniform = Uniform {
            bits: self.grid.bits,
            granularity,
            codes,
            scales,
            scale_type: FloatType::F16,
            zero_points: None,
            float_zero_points: Some(zero_points),
            column_groups: None,
        };
        range::require_scales(weight, &uniform)?;
        let tensor = QuantizedTensor {
            rows,
            cols,
            encoding: Encoding::Uniform(uniform),
            outliers: None,
        };
        Ok(tensor.into())
    }
}

/// Scale and zero point of one group, rounded as they are stored, and its codes on them.
fn fit(bits: u8, weights: &[f32], codes: &mut [i8]) -> (f32, f16) {
    let largest = f32::from((1_i16 << bits) - 1);
    let low = weights.iter().copied().fold(f32::INFINITY, f32::min);
    let high = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if low >= high {
        return equal(low, codes);
    }
    let scale = ((high - low) / largest).max(1.0 / MOST_INVERSE_SCALE);
    let scale = FloatType::F16.round(scale);
    let inverse = 1.0 / scale;
    let mut zero = -low * inverse;
    let (mut best, mut least) = (zero, f64::INFINITY);
    let mut beta = BETA;
    for _ in 0..ITERATIONS {
        let moved = step(weights, (scale, inverse), zero, largest, beta);
        let error = f64::from(moved.error);
        if error >= least {
            break;
        }
        (best, least) = (zero, error);
        zero = moved.zero;
        beta *= KAPPA;
    }
    let half = 1_i16 << (bits - 1);
    let stored = nearest_f16(f64::from(best) - f64::from(half));
    let (zero, half) = (stored.to_f32(), f32::from(half));
    for (code, weight) in codes.iter_mut().zip(weights) {
        let value = weight.mul_add(inverse, zero).round_ties_even();
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the codes")]
        let clamped = value.clamp(-half, half - 1.0) as i8;
        *code = clamped;
    }
    (scale, stored)
}

/// The grid of a group of weights that are all `value`: one step from zero.
fn equal(value: f32, codes: &mut [i8]) -> (f32, f16) {
    let scale = FloatType::F16.round(value.abs());
    let (code, scale) = match value {
        _ if scale <= 0.0 => (0, 1.0),
        value if value < 0.0 => (-1, scale),
        _ => (1, scale),
    };
    codes.fill(code);
    (scale, f16::ZERO)
}

/// What one step finds.
struct Moved {
    /// Mean error of the zero point before it.
    error: f32,
    /// The zero point after it.
    zero: f32,
}

/// One half-quadratic step.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl+fma", "x86_64+avx2+fma"))]
fn step(
    weights: &[f32],
    (scale, inverse): (f32, f32),
    zero: f32,
    largest: f32,
    beta: f32,
) -> Moved {
    const LANES: usize = 16;
    let (mut errors, mut zeros) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    // Below this error the shrinkage leaves nothing.
    let negligible = beta.recip().powf((2.0 - POWER).recip());
    let mut worst = [0.0_f32; LANES];
    for chunk in weights.chunks(LANES) {
        for (at, weight) in chunk.iter().enumerate() {
            let code = weight.mul_add(inverse, zero).round_ties_even();
            let code = code.clamp(0.0, largest);
            let error = (weight - (code - zero) * scale).abs();
            errors[at] += error;
            worst[at] = worst[at].max(error);
            zeros[at] += weight.mul_add(-inverse, code);
        }
    }
    let mut sum: f32 = zeros.iter().sum();
    if worst.iter().any(|error| *error > negligible) {
        // What is shrunk less than to nothing is taken out of the weight.
        for weight in weights {
            let code = weight.mul_add(inverse, zero).round_ties_even();
            let error = weight - (code.clamp(0.0, largest) - zero) * scale;
            if error.abs() > negligible {
                let kept = error.abs() - error.abs().powf(POWER - 1.0) / beta;
                sum += kept.max(0.0).copysign(error) * inverse;
            }
        }
    }
    let count = weights.len() as f32;
    Moved {
        error: errors.iter().sum::<f32>() / count,
        zero: sum / count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantize(rule: &str, weight: MatrixRef<'_>) -> QuantizedTensor {
        let quantizer = Hqq.configure(&rule.parse().unwrap()).unwrap();
        let plan = quantizer
            .plan(weight.rows(), weight.cols(), FloatType::F32)
            .unwrap();
        let found = quantizer
            .quantize(weight, &plan, &LayerStats::default())
            .unwrap();
        found.tensor.check().unwrap();
        assert!(found.tensor.matches(&plan.scheme));
        let (rows, cols) = (weight.rows(), weight.cols());
        let planned = plan.scheme.storage_bits(rows, cols, plan.scale_type, 0);
        assert_eq!(found.tensor.storage_bits(), planned);
        found.tensor
    }

    fn wave(count: usize) -> Vec<f32> {
        let value = |at: usize| ((at * 37 % 101) as f32 / 50.0 - 0.7).powi(3) * 0.1;
        (0..count).map(value).collect()
    }

    #[test]
    fn weights_on_a_grid_come_back() {
        // 16 steps of 1/8 from -0.5 on: the range and the zero point are exact.
        let data: Vec<f32> = (0..128).map(|at| (at % 16) as f32 / 8.0 - 0.5).collect();
        let weight = MatrixRef::new(&data, 2, 64).unwrap();
        let found = quantize("bits = 4\ngroup_size = 32", weight);
        assert_eq!(found.dequantize(), data);
        // 4 bits, and 16 + 16 for 32 weights, and the shape.
        assert_eq!(found.storage_bits(), 128 * 5 + 128);
    }

    #[test]
    fn a_moved_zero_point_loses_less_than_the_first() {
        let data = wave(64);
        for bits in [2, 3, 4] {
            let mut codes = vec![0; 64];
            let (scale, zero) = fit(bits, &data, &mut codes);
            let found = data.iter().zip(&codes).map(|(weight, code)| {
                let decoded = scale * (f32::from(*code) - zero.to_f32());
                (weight - decoded).abs()
            });
            let largest = f32::from((1_i16 << bits) - 1);
            let low = data.iter().copied().fold(0.0, f32::min);
            let first = data.iter().map(|weight| {
                let code = ((weight - low) / scale).round().clamp(0.0, largest);
                (weight - low - code * scale).abs()
            });
            let (found, first) = (found.sum::<f32>(), first.sum::<f32>());
            assert!(found < first, "{bits} bits: {found} of {first}");
        }
    }

    #[test]
    fn groups_of_equal_weights_and_groups_that_are_shorter_are_no_trouble() {
        let mut data = wave(70);
        data[..64].fill(-0.037);
        let weight = MatrixRef::new(&data, 1, 70).unwrap();
        let rule = "bits = 4\ngroup_size_fallback = 'shorter_last_group'";
        let found = quantize(rule, weight).dequantize();
        assert!(found[..64].iter().all(|value| (value + 0.037).abs() < 2e-5));
        assert!(
            found[64..]
                .iter()
                .zip(&data[64..])
                .all(|(a, b)| (a - b).abs() < 0.05)
        );
        let zeros = vec![0.0; 64];
        let weight = MatrixRef::new(&zeros, 1, 64).unwrap();
        assert_eq!(quantize("bits = 2", weight).dequantize(), zeros);
    }

    #[test]
    fn threads_do_not_change_the_result() {
        let data = wave(64 * 128);
        let weight = MatrixRef::new(&data, 64, 128).unwrap();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| quantize("bits = 3", weight))
        };
        assert_eq!(on(1), on(4));
    }
}
