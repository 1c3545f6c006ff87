//! Scales as they will be stored: f16 each, or codes times an f16 of the row.

use crate::codebook::rounding::nearest_f16;
use crate::tensor::{Granularity, HALF_BITS, ScaleValues, TableScales};
use half::f16;

/// Steps tried for the codes of a row: its largest scale is this many codes below the largest one, or fewer.
const STEPS_TRIED: i8 = 8;

/// What is known about the best scale of a group for given indices: its error is
/// `squares - 2 s cross + s^2 curvature` for the scale `s`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GroupSums {
    /// `sum f w^2`.
    pub(super) squares: f64,
    /// `sum f w t`.
    pub(super) cross: f64,
    /// `sum f t^2`.
    pub(super) curvature: f64,
}

impl GroupSums {
    /// The scale of least error; nothing where all scales are alike.
    pub(super) fn best(self) -> Option<f64> {
        (self.curvature > 0.0).then(|| self.cross / self.curvature)
    }

    pub(super) fn error(self, scale: f32) -> f64 {
        let scale = f64::from(scale);
        self.squares + scale * (scale * self.curvature - 2.0 * self.cross)
    }
}

/// Scales of some rows, always with values that can be stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredScales {
    bits: u8,
    groups: usize,
    /// `[rows, groups]`.
    pub(crate) values: Vec<f32>,
    /// `[rows]`; unused for f16 scales.
    steps: Vec<f16>,
}

impl StoredScales {
    pub(super) fn new(bits: u8, rows: usize, groups: usize) -> Self {
        Self {
            bits,
            groups,
            values: vec![0.0; rows * groups],
            steps: vec![f16::ZERO; rows],
        }
    }

    /// Those that `scales` of a `[rows, cols]` matrix holds.
    pub(crate) fn of(scales: &TableScales, rows: usize, cols: usize) -> Self {
        let groups = scales.granularity.groups_per_row(cols);
        let all = (0..rows).flat_map(|row| (0..groups).map(move |group| (row, group)));
        Self {
            bits: scales.values.bits(),
            groups,
            values: all
                .map(|(row, group)| scales.scale(row, group, groups))
                .collect(),
            steps: match &scales.values {
                ScaleValues::Half(_) => vec![f16::ZERO; rows],
                ScaleValues::Codes { steps, .. } => steps.clone(),
            },
        }
    }

    /// The scale nearest `wanted` that row `row` can store with its step as it is.
    pub(crate) fn nearest(&self, row: usize, wanted: f64) -> f32 {
        nearest(self.bits, self.steps[row], wanted)
    }

    /// Adds the rows of `other`, whose scales are stored alike.
    pub(super) fn append(&mut self, other: Self) {
        self.values.extend(other.values);
        self.steps.extend(other.steps);
    }

    /// Rows of the scales, to be changed.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = ScaleRow<'_>> {
        let bits = self.bits;
        let rows = self.values.chunks_mut(self.groups).zip(&mut self.steps);
        rows.map(move |(values, step)| ScaleRow { bits, values, step })
    }

    /// The scales as a tensor holds them.
    pub(crate) fn into_tensor(self, granularity: Granularity) -> TableScales {
        let values = if self.bits == HALF_BITS {
            ScaleValues::Half(self.values.into_iter().map(f16::from_f32).collect())
        } else {
            let rows = self.values.chunks(self.groups).zip(&self.steps);
            let codes = rows.flat_map(|(values, step)| {
                let step = step.to_f32();
                values.iter().map(move |value| code_of(*value, step))
            });
            ScaleValues::Codes {
                bits: self.bits,
                codes: codes.collect(),
                steps: self.steps,
            }
        };
        TableScales {
            granularity,
            values,
        }
    }
}

/// The code of a value that is `step` times one.
fn code_of(value: f32, step: f32) -> i8 {
    #[expect(clippy::cast_possible_truncation, reason = "made from a code")]
    let code = if step == 0.0 {
        0
    } else {
        (value / step).round() as i8
    };
    code
}

/// The largest code of `bits` bits.
fn most(bits: u8) -> i8 {
    i8::MAX >> (8 - bits)
}

fn nearest(bits: u8, step: f16, wanted: f64) -> f32 {
    if bits == HALF_BITS {
        return nearest_f16(wanted).to_f32();
    }
    let step = step.to_f64();
    if step == 0.0 {
        return 0.0;
    }
    let most = f64::from(most(bits));
    #[expect(clippy::cast_possible_truncation, reason = "11 bits times 8 are exact")]
    let scale = (step * (wanted / step).round().clamp(-most - 1.0, most)) as f32;
    scale
}

/// Scales of one row.
pub(super) struct ScaleRow<'a> {
    bits: u8,
    /// `[groups]`.
    pub(super) values: &'a mut [f32],
    step: &'a mut f16,
}

impl ScaleRow<'_> {
    /// The scale nearest `wanted` with the step as it is.
    pub(super) fn nearest(&self, wanted: f64) -> f32 {
        nearest(self.bits, *self.step, wanted)
    }

    /// Stores scales close to `wanted` for the first time, whatever step suits them best.
    pub(super) fn start(&mut self, wanted: &[f64], sums: &[GroupSums]) {
        let largest = wanted
            .iter()
            .fold(0.0_f64, |most, scale| most.max(scale.abs()));
        let mut best = (f64::INFINITY, f16::ZERO);
        let bits = self.bits;
        if bits != HALF_BITS {
            for code in (1..=most(bits))
                .rev()
                .take(usize::from(STEPS_TRIED.unsigned_abs()))
            {
                let step = nearest_f16(largest / f64::from(code));
                let scales = wanted.iter().map(|scale| nearest(bits, step, *scale));
                let error = sums
                    .iter()
                    .zip(scales)
                    .map(|(sums, scale)| sums.error(scale));
                let error: f64 = error.sum();
                if error < best.0 {
                    best = (error, step);
                }
            }
        }
        *self.step = best.1;
        for (value, wanted) in self.values.iter_mut().zip(wanted) {
            *value = nearest(bits, *self.step, *wanted);
        }
    }

    /// Moves the step to where it serves the codes best, then the codes.
    pub(super) fn refit_step(&mut self, sums: &[GroupSums]) {
        if self.bits == HALF_BITS {
            return;
        }
        let step = self.step.to_f32();
        let (mut cross, mut curvature) = (0.0, 0.0);
        for (value, sums) in self.values.iter().zip(sums) {
            let code = f64::from(code_of(*value, step));
            cross += code * sums.cross;
            curvature += code * code * sums.curvature;
        }
        if curvature > 0.0 {
            let found = nearest_f16(cross / curvature);
            for value in &mut *self.values {
                *value = found.to_f32() * f32::from(code_of(*value, step));
            }
            *self.step = found;
        }
        for (value, sums) in self.values.iter_mut().zip(sums) {
            if let Some(best) = sums.best() {
                *value = nearest(self.bits, *self.step, best);
            }
        }
    }
}
