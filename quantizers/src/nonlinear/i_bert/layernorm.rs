//! I-LayerNorm of I-BERT.

use crate::integer::kernels::EvenRequantization;
use crate::integer::kernels::i_bert::LayerNorm as Kernel;
use crate::nonlinear::precondition::Precondition;
use crate::nonlinear::rounding::{floor, nearest_even};
use crate::nonlinear::{
    About, Approximation, ApproximationError, Compiled, InputForm, Nonlinearity, Request,
};

/// Rounded mean, Newton's root, one division a row. `epsilon` plays no part, as published: a row of
/// variance zero becomes `beta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerNorm;

/// Offsets above this would hide any normalised value: such channels are constants.
const LARGEST_BIAS: f64 = (1_u64 << 55) as f64;

/// Scale of normalised values: `sqrt(C) / 2^30`.
pub fn unit(channels: usize) -> f64 {
    (channels as f64).sqrt() / 2.0_f64.powi(30)
}

/// `floor((beta / gamma) / (sqrt(C) / 2^30))`.
pub fn bias(gamma: f64, beta: f64, channels: usize) -> i64 {
    floor(beta / gamma / unit(channels))
}

/// Offsets and last step of a request, which I-BERT and I-ViT share.
///
/// `beta / gamma` does not exist for `gamma` zero, of either sign, and where it is beyond `2^55` units
/// the normalised value, at most `2^31` units, is below `2^-24` of `beta`. Those channels become the
/// code of `beta`: a factor of zero and an offset.
pub(in crate::nonlinear) fn affine(
    precondition: &Precondition,
    request: &Request,
) -> Result<(Vec<i64>, EvenRequantization), ApproximationError> {
    precondition.channels(request)?;
    let (grid, output_scale) = precondition.output(request)?;
    let unit = unit(request.width);
    let constant =
        |gamma: f64, beta: f64| gamma == 0.0 || (beta / gamma / unit).abs() >= LARGEST_BIAS;
    let factors = request.gamma.iter().zip(&request.beta);
    let factors = factors.map(|(gamma, beta)| {
        if constant(*gamma, *beta) {
            0.0
        } else {
            unit * gamma / output_scale
        }
    });
    let mut requantization = precondition.requantization(factors, grid)?;
    let mut offsets = Vec::with_capacity(request.width);
    for (channel, (gamma, beta)) in request.gamma.iter().zip(&request.beta).enumerate() {
        if constant(*gamma, *beta) {
            let code = nearest_even(beta / output_scale).saturating_add(grid.zero_point.into());
            let code = code.clamp(grid.low.into(), grid.high.into());
            requantization.offsets[channel] = i32::try_from(code).unwrap_or(grid.zero_point);
            offsets.push(0);
        } else {
            offsets.push(bias(*gamma, *beta, request.width));
        }
    }
    Ok((offsets, requantization))
}

/// Bits dropped before squaring so that a sum of squares of `variance * channels` fits 32 bits:
/// `ceil(log2(sqrt(V / 2^32)))`, as training fixes it.
pub fn shift(variance: f64, channels: usize) -> u32 {
    let excess = variance * channels as f64 / 2.0_f64.powi(32);
    if excess <= 1.0 {
        return 0;
    }
    let bits = floor(excess.sqrt().log2().ceil());
    u32::try_from(bits).unwrap_or(u32::MAX).min(30)
}

impl Approximation for LayerNorm {
    fn about(&self) -> About {
        About {
            family: "i-bert",
            replaces: Nonlinearity::LayerNorm,
            summary: "rounded mean, integer square root by Newton's iteration, 2^31 / deviation",
            published: true,
            input: InputForm::Codes {
                bits: 22,
                symmetric: true,
            },
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        let precondition = Precondition::of(self);
        precondition.symmetric_scale(&request.input)?;
        let (bias, requantization) = affine(&precondition, request)?;
        let (grid, _) = precondition.output(request)?;
        let kernel = Kernel {
            shift: shift(request.code_variance.unwrap_or(0.0), request.width),
            bias,
            requantization,
        };
        precondition.proved_narrow_or_wide(kernel, |k| &mut k.requantization, request, grid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shift_is_half_the_bits_above_32() {
        let of_bits = |bits: i32| shift(2.0_f64.powi(bits - 8), 256);
        assert_eq!([30, 32, 33, 34, 35, 44].map(of_bits), [0, 0, 1, 1, 2, 6]);
    }
}
