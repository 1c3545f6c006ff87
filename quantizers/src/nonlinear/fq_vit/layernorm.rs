//! `QIntLN`.

use crate::integer::kernels::fq_vit::layernorm::{LEAST_SHIFT, LayerNorm as Kernel, OFFSET_BITS};
use crate::nonlinear::precondition::Precondition;
use crate::nonlinear::rounding::nearest_even;
use crate::nonlinear::{
    About, Approximation, ApproximationError, Compiled, InputForm, Nonlinearity, Request,
};

/// A `LayerNorm` of 8-bit codes with a power-of-two factor per channel.
///
/// `epsilon` plays no part; a row of variance zero becomes `beta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerNorm;

/// Largest factor between scales of channels, as a power of two.
const LARGEST_ALPHA: f64 = 7.0;

/// The power of two by which each scale exceeds the smallest.
fn alphas(precondition: &Precondition, request: &Request) -> Result<Vec<u32>, ApproximationError> {
    let scales = precondition.scales(&request.input, request.width)?;
    let smallest = scales.iter().copied().fold(f64::INFINITY, f64::min);
    let alpha = |scale: f64| {
        let alpha = (scale / smallest).log2().round();
        // Scales may have been rounded to 32-bit floats.
        let exact = (smallest * alpha.exp2() / scale - 1.0).abs() < 1e-6;
        if exact && alpha <= LARGEST_ALPHA {
            return Ok(u32::try_from(nearest_even(alpha)).unwrap_or(0));
        }
        Err(precondition.refuse(
            format!("scales of {smallest} times 2^0 to 2^{LARGEST_ALPHA}"),
            scale.to_string(),
        ))
    };
    let found: Result<Vec<u32>, ApproximationError> =
        scales.iter().map(|scale| alpha(*scale)).collect();
    let found = found?;
    Ok(if found.len() == request.width {
        found
    } else {
        vec![0; request.width]
    })
}

impl Approximation for LayerNorm {
    fn about(&self) -> About {
        About {
            family: "fq-vit",
            replaces: Nonlinearity::LayerNorm,
            summary: "an 8-bit multiplier and a shift per channel and row, over power-of-two factors",
            published: true,
            input: InputForm::PowerOfTwoFactor,
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        let precondition = Precondition::of(self);
        precondition.channels(request)?;
        let alpha = alphas(&precondition, request)?;
        let (grid, output_scale) = precondition.output(request)?;
        let factors = request.gamma.iter().map(|gamma| gamma / output_scale);
        // Zero points come after the rounding of the sum: only the factors are of use here.
        let mut factors = precondition.requantization(factors, grid)?;
        for (multiplier, shift) in factors.multipliers.iter().zip(&mut factors.shifts) {
            if *multiplier == 0 {
                *shift = LEAST_SHIFT;
            } else if *shift < LEAST_SHIFT {
                let expected = format!("gamma / output scale below 2^{}", 31 - LEAST_SHIFT);
                return Err(precondition.refuse(expected, format!("at least 2^{}", 30 - *shift)));
            }
        }
        let unit = 2.0_f64.powi(OFFSET_BITS.cast_signed());
        let beta = request.beta.iter();
        let kernel = Kernel {
            zero_point: request.input.zero_point,
            alpha,
            multipliers: factors.multipliers,
            shifts: factors.shifts,
            beta: beta
                .map(|beta| nearest_even(beta / output_scale * unit))
                .collect(),
            output_zero_point: grid.zero_point,
            low: grid.low,
            high: grid.high,
        };
        precondition.proved(kernel, request, grid.clone())
    }
}
