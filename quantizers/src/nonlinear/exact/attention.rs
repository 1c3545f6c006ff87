//! Scales of a head as the integers of [`Attention`].

use super::softmax::exponential;
use super::{FAMILY, dyadic_of_bits, usable};
use crate::integer::attention::{Attention, Decay, Output, POSITION_BITS};
use crate::integer::kernels::exact::exponential::{DEGREE_3, DEGREE_4};
use crate::nonlinear::{Grid, Nonlinearity, Refusal};
use std::f64::consts::LOG2_E;

/// What a head is compiled for.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Grid of the queries, codes 0 to 255.
    pub query: Grid,
    /// Scale of the keys.
    pub key_scale: f64,
    /// Scale of the values.
    pub value_scale: f64,
    /// Factor on `Q K^T`.
    pub factor: f64,
    /// Grid of the outputs.
    pub output: Grid,
    /// Width.
    pub head_dim: usize,
    /// Most keys of a query.
    pub most_keys: usize,
    /// Bits of a weight, 8 or 15.
    pub weight_bits: u32,
    /// Guard bits of the running sums; 8 for 8-bit weights and 4 for 15-bit ones are plenty.
    pub guard_bits: u32,
}

impl Head {
    /// Integer constants for these scales.
    ///
    /// # Errors
    /// Scales without a shift, and widths that overflow.
    pub fn compile(&self) -> Result<Attention, Refusal> {
        let refuse = |expected: &str, found: String| Refusal {
            approximation: FAMILY,
            function: "attention",
            expected: expected.to_owned(),
            found,
        };
        usable(Nonlinearity::Softmax, &self.query)?;
        usable(Nonlinearity::Softmax, &self.output)?;
        let scales = [self.query.scales.len(), self.output.scales.len()];
        if scales != [1, 1] {
            return Err(refuse(
                "one scale of queries and outputs",
                format!("{scales:?}"),
            ));
        }
        let codes = (self.query.low, self.query.high);
        if codes.0 < 0 || codes.1 > 255 {
            return Err(refuse("query codes from 0 to 255", format!("{codes:?}")));
        }
        let polynomial = if self.weight_bits == 8 {
            &DEGREE_3[..]
        } else {
            &DEGREE_4[..]
        };
        let scale = self.query.scales[0] * self.key_scale * self.factor;
        let exponential = exponential(scale, polynomial)
            .ok_or_else(|| refuse("a score scale between 0 and 22", format!("{scale}")))?;
        let decay = decay(scale)
            .ok_or_else(|| refuse("a score scale between 0 and 10", format!("{scale}")))?;
        let ratio = self.value_scale / self.output.scales[0];
        if !ratio.is_finite() || ratio <= 0.0 || ratio >= f64::from(1 << 20) {
            return Err(refuse(
                "a value scale near the output's",
                format!("{ratio}"),
            ));
        }
        let mut attention = Attention {
            decay,
            exponential,
            query_zero_point: self.query.zero_point,
            head_dim: self.head_dim,
            most_keys: self.most_keys,
            weight_bits: self.weight_bits,
            guard_bits: self.guard_bits,
            wide_rescaling: false,
            output: Output {
                multiplier: 0,
                shift: 1,
                zero_point: self.output.zero_point,
                low: self.output.low,
                high: self.output.high,
            },
        };
        if let Some(flaw) = attention.flaw() {
            return Err(refuse("usable constants", flaw.to_owned()));
        }
        let (_, sums) = attention.sums();
        attention.wide_rescaling = sums.signed_bits() > 32;
        // One bit is left for the half that is added to the product.
        let factor = dyadic_of_bits(ratio, 31.min(61_u32.saturating_sub(sums.signed_bits())));
        attention.output.multiplier = factor.multiplier;
        attention.output.shift = u32::try_from(factor.shift).unwrap_or(0);
        if let Some(flaw) = attention.flaw() {
            return Err(refuse("usable constants", flaw.to_owned()));
        }
        match attention.bounds() {
            Ok(_) => Ok(attention),
            Err(error) => Err(refuse(
                "intermediates of the declared widths",
                error.to_string(),
            )),
        }
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
