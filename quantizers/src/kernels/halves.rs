//! Rows of 16-bit floats, as checkpoints store them.

use super::kernel::Kernel;
use crate::tensor::FloatType;
use half::{bf16, f16};
use std::ops::Range;

/// A matrix of 16-bit floats.
#[derive(Debug, Clone)]
pub(super) enum Halves {
    F16(Vec<u16>),
    Bf16(Vec<u16>),
}

impl Halves {
    /// `values` as 16-bit floats, if all of them are such: f16 where that holds them, else bf16.
    pub(super) fn of(values: &[f32]) -> Option<Self> {
        let f16_holds = |value: &f32| f16::from_f32(*value).to_f32().to_bits() == value.to_bits();
        let bf16_holds = |value: &f32| value.to_bits().trailing_zeros() >= 16;
        if values.iter().all(f16_holds) {
            let bits = values.iter().map(|value| f16::from_f32(*value).to_bits());
            Some(Self::F16(bits.collect()))
        } else if values.iter().all(bf16_holds) {
            let bits = values.iter().map(|value| bf16::from_f32(*value).to_bits());
            Some(Self::Bf16(bits.collect()))
        } else {
            None
        }
    }

    /// Floats of `kind` with `bits`; `None` where these are no 16.
    pub(super) fn of_bits(kind: FloatType, bits: Vec<u16>) -> Option<Self> {
        match kind {
            FloatType::F32 => None,
            FloatType::F16 => Some(Self::F16(bits)),
            FloatType::Bf16 => Some(Self::Bf16(bits)),
        }
    }

    /// `sums[r · inputs + n]` of `rows`.
    pub(super) fn sums(
        &self,
        kernel: &dyn Kernel,
        rows: Range<usize>,
        cols: usize,
        inputs: &[&[f32]],
        sums: &mut [f32],
    ) {
        let values = rows.start * cols..rows.end * cols;
        match self {
            Self::F16(all) => kernel.halves(&all[values], inputs, sums),
            Self::Bf16(all) => kernel.brains(&all[values], inputs, sums),
        }
    }

    pub(super) fn decode(&self, row: usize, out: &mut [f32]) {
        let columns = row * out.len()..(row + 1) * out.len();
        match self {
            Self::F16(all) => {
                for (value, bits) in out.iter_mut().zip(&all[columns]) {
                    *value = f16::from_bits(*bits).to_f32();
                }
            }
            Self::Bf16(all) => {
                for (value, bits) in out.iter_mut().zip(&all[columns]) {
                    *value = bf16::from_bits(*bits).to_f32();
                }
            }
        }
    }

    /// What they lie in.
    pub(super) fn memory(&self) -> &[u8] {
        match self {
            Self::F16(all) | Self::Bf16(all) => bytemuck::cast_slice(all),
        }
    }
}
