//! I-ViT (Li, Gu, ICCV 2023), constants and integers of its `PyTorch` code.

pub mod gelu;
pub mod layernorm;
pub mod softmax;

use super::ApproximationError;
use super::precondition::Precondition;
use super::rounding::floor;
use crate::integer::kernels::i_vit::ShiftExponential;

/// `ShiftExp` for inputs of scale `scale`.
pub fn shift_exponential(scale: f64, octaves: u32) -> ShiftExponential {
    ShiftExponential {
        x0: floor(-1.0 / scale),
        octaves,
    }
}

/// That values at 0, `2^octaves / S`, leave a bit of 31 for a sum of two.
fn coarse_enough(
    precondition: &Precondition,
    scale: f64,
    octaves: u32,
) -> Result<(), ApproximationError> {
    let finest = 2.0_f64.powi(octaves.cast_signed() - 30);
    if scale >= finest {
        return Ok(());
    }
    Err(precondition.refuse(
        format!("a scale of at least {finest}, so that 2^{octaves} / S fits 30 bits"),
        scale.to_string(),
    ))
}
