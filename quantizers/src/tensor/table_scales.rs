//! Scales that the entries of a table are multiplied with: one for each row, or for each group of inputs.

use super::digest::Parts;
use super::invalid::{InvalidTensor, check_bits, check_signed, finite, length};
use super::storage::Granularity;
use crate::pack;
use bytemuck::cast_slice;
use half::f16;

/// Bits of a scale that is an f16 of its own.
pub const HALF_BITS: u8 = 16;

/// Scales of a codebook. They may be negative: a table need not be symmetric, and a negative scale turns it round.
#[derive(Debug, Clone, PartialEq)]
pub struct TableScales {
    /// Scale granularity: [`Granularity::Channel`] or [`Granularity::Group`].
    pub granularity: Granularity,
    /// The scales, `[rows, groups]`.
    pub values: ScaleValues,
}

/// How the scales of a codebook are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum ScaleValues {
    /// One f16 each, `[rows, groups]`.
    Half(Vec<f16>),
    /// `scale = step of the row * code`.
    Codes {
        /// Width of one code, 2 to 8.
        bits: u8,
        /// Signed codes, `[rows, groups]`.
        codes: Vec<i8>,
        /// Steps, `[rows]`.
        steps: Vec<f16>,
    },
}

/// Bits of the scales of a `[rows, cols]` matrix; codes are packed without gaps between rows.
pub(super) fn storage_bits(
    (rows, cols): (usize, usize),
    granularity: Granularity,
    scale_bits: u8,
) -> u64 {
    let scales = rows * granularity.groups_per_row(cols);
    if scale_bits == HALF_BITS {
        16 * scales as u64
    } else {
        pack::storage_bits(1, scales, scale_bits) + 16 * rows as u64
    }
}

impl ScaleValues {
    /// Width of one stored scale.
    pub fn bits(&self) -> u8 {
        match self {
            Self::Half(_) => HALF_BITS,
            Self::Codes { bits, .. } => *bits,
        }
    }
}

impl TableScales {
    /// Scale of `group` of `row`, in rows of `groups`.
    ///
    /// # Panics
    /// There is no such scale.
    pub fn scale(&self, row: usize, group: usize, groups: usize) -> f32 {
        let at = row * groups + group;
        match &self.values {
            ScaleValues::Half(scales) => scales[at].to_f32(),
            // 11 significant bits times 8: exact.
            ScaleValues::Codes { codes, steps, .. } => steps[row].to_f32() * f32::from(codes[at]),
        }
    }

    pub(super) fn check(&self, rows: usize, cols: usize) -> Result<(), InvalidTensor> {
        match self.granularity {
            Granularity::Group(0) => return Err(InvalidTensor::EmptyGroup),
            Granularity::Tensor => return Err(InvalidTensor::SharedScale),
            Granularity::Channel | Granularity::Group(_) => {}
        }
        let scales = rows.saturating_mul(self.granularity.groups_per_row(cols));
        match &self.values {
            ScaleValues::Half(values) => {
                length("table scales", scales, values.len())?;
                finite("table scales", values.iter().map(|scale| scale.to_f32()))
            }
            ScaleValues::Codes { bits, codes, steps } => {
                check_bits(*bits)?;
                length("table scales", scales, codes.len())?;
                length("row scales", rows, steps.len())?;
                check_signed("table scales", *bits, codes)?;
                finite("row scales", steps.iter().map(|step| step.to_f32()))
            }
        }
    }

    pub(super) fn storage_bits(&self, rows: usize, cols: usize) -> u64 {
        storage_bits((rows, cols), self.granularity, self.values.bits())
    }

    pub(super) fn add_to(&self, digest: &mut Parts) {
        digest.granularity(self.granularity);
        match &self.values {
            ScaleValues::Half(scales) => digest.add("row scales", cast_slice(scales)),
            ScaleValues::Codes { bits, codes, steps } => {
                digest.add("scale bits", &[*bits]);
                digest.add("scale codes", cast_slice(codes));
                digest.add("scale steps", cast_slice(steps));
            }
        }
    }
}
