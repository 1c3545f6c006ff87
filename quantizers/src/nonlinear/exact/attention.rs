//! Scales of a head as the integers of [`HeadAttention`].

use super::checks::{FAMILY, dyadic_of_bits, usable};
use super::exponential::exponential;
use crate::integer::attention::{AttentionOutput, Decay, HeadAttention, POSITION_BITS};
use crate::integer::kernels::exact::exponential::{DEGREE_3, DEGREE_4};
use crate::nonlinear::{ApproximationError, AttentionRequest, Nonlinearity};
use std::f64::consts::LOG2_E;

/// Integer constants for the scales of `request`.
///
/// # Errors
/// Scales without a shift, and widths that overflow.
pub fn compile(request: &AttentionRequest) -> Result<HeadAttention, ApproximationError> {
    let refuse = |expected: &str, found: String| ApproximationError {
        approximation: FAMILY,
        function: "attention",
        expected: expected.to_owned(),
        found,
    };
    usable(Nonlinearity::Softmax, &request.query)?;
    usable(Nonlinearity::Softmax, &request.output)?;
    let scales = [request.query.scales.len(), request.output.scales.len()];
    if scales != [1, 1] {
        return Err(refuse(
            "one scale of queries and outputs",
            format!("{scales:?}"),
        ));
    }
    let codes = (request.query.low, request.query.high);
    if codes.0 < 0 || codes.1 > 255 {
        return Err(refuse("query codes from 0 to 255", format!("{codes:?}")));
    }
    let polynomial = if request.weight_bits == 8 {
        &DEGREE_3[..]
    } else {
        &DEGREE_4[..]
    };
    let scale = request.query.scales[0] * request.key_scale * request.factor;
    let exponential = exponential(scale, polynomial)
        .ok_or_else(|| refuse("a score scale between 0 and 22", format!("{scale}")))?;
    let decay =
        decay(scale).ok_or_else(|| refuse("a score scale between 0 and 10", format!("{scale}")))?;
    let ratio = request.value_scale / request.output.scales[0];
    if !ratio.is_finite() || ratio <= 0.0 || ratio >= f64::from(1 << 20) {
        return Err(refuse(
            "a value scale near the output's",
            format!("{ratio}"),
        ));
    }
    let mut attention = HeadAttention {
        decay,
        exponential,
        query_zero_point: request.query.zero_point,
        head_dim: request.head_dim,
        most_keys: request.most_keys,
        weight_bits: request.weight_bits,
        guard_bits: request.guard_bits,
        wide_rescaling: false,
        output: AttentionOutput {
            multiplier: 0,
            shift: 1,
            zero_point: request.output.zero_point,
            low: request.output.low,
            high: request.output.high,
        },
    };
    if let Some(invalid) = attention.invalid() {
        return Err(refuse("usable constants", invalid.to_owned()));
    }
    let (_, sums) = attention.sums();
    attention.wide_rescaling = sums.signed_bits() > 32;
    // One bit is left for the half that is added to the product.
    let factor = dyadic_of_bits(ratio, 31.min(61_u32.saturating_sub(sums.signed_bits())));
    attention.output.multiplier = factor.multiplier;
    attention.output.shift = u32::try_from(factor.shift).unwrap_or(0);
    if let Some(invalid) = attention.invalid() {
        return Err(refuse("usable constants", invalid.to_owned()));
    }
    match attention.bounds() {
        Ok(_) => Ok(attention),
        Err(error) => Err(refuse(
            "intermediates of the declared widths",
            error.to_string(),
        )),
    }
}

/// Octaves after which a weight of 15 bits, rounded, is zero.
const OCTAVES: f64 = 16.0;

/// Weights by distance for a scale of the scores; none for scales that reach 32 octaves in a step.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive and checked or saturated"
)]
pub fn decay(scale: f64) -> Option<Decay> {
    let factor = scale * LOG2_E;
    if !factor.is_finite() || factor <= 0.0 || factor >= OCTAVES - 1.0 {
        return None;
    }
    // One more than the least, whatever the rounding of the multiplier.
    let clip = ((OCTAVES / factor).floor() + 1.0) as u32;
    let shift = clip.leading_zeros();
    let bits = POSITION_BITS + 32 - shift;
    let multiplier = (factor * 2.0_f64.powi(bits.cast_signed())).round() as u32;
    Some(Decay {
        clip,
        shift,
        multiplier,
    })
}
