//! Uniform grids: scale and zero point of a group of weights, and the codes on it.
//!
//! The arithmetic is that of the compressed-tensors library, step for step, so that its files and
//! ours are the same bytes:
//!
//! * zero is always representable: `lo = min(min w, 0)`, `hi = max(max w, 0)`;
//! * symmetric: `scale = max(|lo|, |hi|) / ((2^b - 1) / 2)`;
//! * asymmetric: `scale = (hi - lo) / (2^b - 1)`,
//!   `zero_point = round(clamp(qmin - lo / scale, qmin, qmax))`;
//! * a scale of zero becomes the machine epsilon of the scale's type;
//! * `code = round(clamp(w / scale + zero_point, qmin, qmax))`, half to even;
//! * `w' = scale * (code - zero_point)`, with `qmin = -2^(b-1)`, `qmax = 2^(b-1) - 1`.
//!
//! The library computes in the model's own type: for a bf16 model the result of EVERY step above is
//! rounded to bf16, which moves codes of 8-bit grids. [`Grid::arithmetic`] says which type it is.

mod inputs;

pub use inputs::InputQuantizer;

use crate::{FloatType, Granularity, MatrixRef, Uniform};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

/// Weights that are rounded together, in registers and on the stack.
const LANES: usize = 64;

/// How groups of weights become codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Width of one code, 1..=8.
    pub bits: u8,
    /// Zero point fixed at 0.
    pub symmetric: bool,
    /// How scales are stored.
    pub scale_type: FloatType,
    /// Type each step is rounded to.
    pub arithmetic: FloatType,
}

/// Scale and zero point of one group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Step between two codes; positive and exact in the grid's `scale_type`.
    pub scale: f32,
    /// The code of zero.
    pub zero_point: i8,
}

impl Point {
    /// The weight that `code` stands for.
    pub fn value(self, code: i8) -> f32 {
        self.scale * f32::from(i16::from(code) - i16::from(self.zero_point))
    }
}

/// One value for all weights, or one for each.
#[derive(Clone, Copy)]
enum Lanes<'a> {
    Same(f32),
    Each(&'a [f32]),
}

impl Lanes<'_> {
    /// Combines each of `values` with its own; `from` is the place of the first.
    fn apply(self, from: usize, values: &mut [f32], combine: impl Fn(f32, f32) -> f32) {
        match self {
            Self::Same(own) => {
                for value in values {
                    *value = combine(*value, own);
                }
            }
            Self::Each(own) => {
                for (value, own) in values.iter_mut().zip(&own[from..]) {
                    *value = combine(*value, *own);
                }
            }
        }
    }
}

impl Grid {
    /// Smallest and largest code.
    pub fn code_range(self) -> (i8, i8) {
        let half = 1i16 << (self.bits - 1);
        (narrow(-half), narrow(half - 1))
    }

    /// Scale and zero point for weights between `lowest` and `highest`.
    pub fn fit(self, lowest: f32, highest: f32) -> Point {
        let step = |value| self.arithmetic.round(value);
        let (lowest, highest) = (step(lowest.min(0.0)), step(highest.max(0.0)));
        let range = f32::from((1i16 << self.bits) - 1);
        if self.symmetric {
            let largest = lowest.abs().max(highest.abs());
            let scale = self.stored_scale(step(largest / (range / 2.0)));
            return Point {
                scale: self.or_epsilon(scale),
                zero_point: 0,
            };
        }
        let scale = self.stored_scale(step(step(highest - lowest) / range));
        let (qmin, qmax) = self.code_range();
        let (qmin, qmax) = (f32::from(qmin), f32::from(qmax));
        let zero = step(qmin - step(lowest / scale));
        // 0 / 0 for a group of zeros: any code does, and 0 is the one a symmetric grid has.
        let zero = if zero.is_nan() {
            0.0
        } else {
            zero.clamp(qmin, qmax)
        };
        Point {
            scale: self.or_epsilon(scale),
            zero_point: round_to_code(zero),
        }
    }

    /// [`Self::fit`] of the smallest and largest of `values`.
    pub fn fit_values(self, values: &[f32]) -> Point {
        let (lowest, highest) = extremes(values);
        self.fit(lowest, highest)
    }

    /// The code of `weight` on the grid of `point`.
    pub fn code(self, weight: f32, point: Point) -> i8 {
        let mut code = [0];
        self.codes(&[weight], point, &mut code);
        code[0]
    }

    /// The codes of `weights`, which share `point`.
    ///
    /// # Panics
    /// When `codes` is not as long as `weights`.
    pub fn codes(self, weights: &[f32], point: Point, codes: &mut [i8]) {
        let zero = (point.zero_point != 0).then_some(Lanes::Same(f32::from(point.zero_point)));
        self.codes_on(weights, Lanes::Same(point.scale), zero, codes);
    }

    /// The codes of `weights`, each on the grid of the scale and zero point at its place; without
    /// `zero_points` they are 0.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn codes_each(
        self,
        weights: &[f32],
        scales: &[f32],
        zero_points: Option<&[f32]>,
        codes: &mut [i8],
    ) {
        assert_eq!(weights.len(), scales.len(), "one scale per weight");
        if let Some(zero_points) = zero_points {
            assert_eq!(
                weights.len(),
                zero_points.len(),
                "one zero point per weight"
            );
        }
        self.codes_on(
            weights,
            Lanes::Each(scales),
            zero_points.map(Lanes::Each),
            codes,
        );
    }

    fn codes_on(
        self,
        weights: &[f32],
        scales: Lanes<'_>,
        zero_points: Option<Lanes<'_>>,
        codes: &mut [i8],
    ) {
        assert_eq!(weights.len(), codes.len(), "one code per weight");
        let (qmin, qmax) = self.code_range();
        let (qmin, qmax) = (f32::from(qmin), f32::from(qmax));
        let mut scaled = [0.0f32; LANES];
        let chunks = codes.chunks_mut(LANES).zip(weights.chunks(LANES));
        for (chunk, (codes, weights)) in chunks.enumerate() {
            let from = chunk * LANES;
            let scaled = &mut scaled[..weights.len()];
            scaled.copy_from_slice(weights);
            self.step(scaled);
            scales.apply(from, scaled, |value, scale| value / scale);
            self.step(scaled);
            if let Some(zero_points) = zero_points {
                zero_points.apply(from, scaled, |value, zero| value + zero);
                self.step(scaled);
            }
            for (code, value) in codes.iter_mut().zip(scaled) {
                *code = round_to_code(value.clamp(qmin, qmax));
            }
        }
    }

    /// Quantizes every group of `weight` on its own grid.
    pub fn quantize(self, weight: MatrixRef<'_>, granularity: Granularity) -> Uniform {
        let (rows, cols) = (weight.rows(), weight.cols());
        let groups = granularity.groups_per_row(cols);
        let whole = match granularity {
            Granularity::Tensor => Some(self.fit_values(weight.data())),
            _ => None,
        };
        let group_size = match granularity {
            Granularity::Group(size) => size,
            _ => cols,
        };
        let mut codes = vec![0i8; rows * cols];
        let mut points = vec![
            Point {
                scale: 0.0,
                zero_point: 0
            };
            rows * groups
        ];
        if rows * cols > 0 {
            codes
                .par_chunks_mut(cols)
                .zip(points.par_chunks_mut(groups))
                .zip(weight.data().par_chunks(cols))
                .for_each(|((codes, points), row)| {
                    let groups = row.chunks(group_size).zip(codes.chunks_mut(group_size));
                    for ((group, codes), point) in groups.zip(points) {
                        *point = whole.unwrap_or_else(|| self.fit_values(group));
                        self.codes(group, *point, codes);
                    }
                });
        }
        if let Some(point) = whole {
            points = vec![point];
        }
        Uniform {
            bits: self.bits,
            granularity,
            codes,
            scales: points.iter().map(|point| point.scale).collect(),
            scale_type: self.scale_type,
            zero_points: (!self.symmetric)
                .then(|| points.iter().map(|point| point.zero_point).collect()),
            float_zero_points: None,
            column_groups: None,
        }
    }

    /// Rounds finite or infinite `values` to the type of the arithmetic.
    fn step(self, values: &mut [f32]) {
        match self.arithmetic {
            FloatType::F32 => {}
            FloatType::F16 => {
                let mut halves = [f16::ZERO; LANES];
                let halves = &mut halves[..values.len()];
                halves.convert_from_f32_slice(values);
                halves.convert_to_f32_slice(values);
            }
            FloatType::Bf16 => {
                for value in values {
                    // Half to even on the upper 16 bits; unlike the crate's, this loop has no
                    // branch for NaN and becomes vector code.
                    let bits = value.to_bits();
                    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
                    *value = f32::from_bits(rounded);
                }
            }
        }
    }

    /// `scale` as the file will hold it. Where the file's type is narrower than the arithmetic, a
    /// scale too small or too large for it becomes the nearest positive finite one.
    fn stored_scale(self, scale: f32) -> f32 {
        if self.arithmetic == self.scale_type || scale == 0.0 {
            return scale;
        }
        let (least, most) = match self.scale_type {
            FloatType::F32 => (f32::from_bits(1), f32::MAX),
            FloatType::F16 => (f16::from_bits(1).to_f32(), f16::MAX.to_f32()),
            FloatType::Bf16 => (bf16::from_bits(1).to_f32(), bf16::MAX.to_f32()),
        };
        self.scale_type.round(scale).clamp(least, most)
    }

    fn or_epsilon(self, scale: f32) -> f32 {
        match self.scale_type {
            _ if scale != 0.0 => scale,
            FloatType::F32 => f32::EPSILON,
            FloatType::F16 => f16::EPSILON.to_f32(),
            FloatType::Bf16 => bf16::EPSILON.to_f32(),
        }
    }
}

/// Smallest and largest of `values`; zeros when there are none.
fn extremes(values: &[f32]) -> (f32, f32) {
    values
        .iter()
        .fold((0.0, 0.0), |(low, high): (f32, f32), value| {
            (low.min(*value), high.max(*value))
        })
}

/// `value` in -128..=127 to the nearest integer, half to even.
fn round_to_code(value: f32) -> i8 {
    // Adding 1.5 * 2^23 leaves no fraction bits, so the addition itself rounds half to even.
    const SHIFT: f32 = 12_582_912.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the caller clamped to -128..=127"
    )]
    let code = ((value + SHIFT) - SHIFT) as i8;
    code
}

fn narrow(value: i16) -> i8 {
    i8::try_from(value).unwrap_or(if value < 0 { i8::MIN } else { i8::MAX })
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the arithmetic is specified bit for bit")]
mod tests;
