//! What the normalisations of I-BERT and I-ViT share: rows divided by their deviation through one
//! reciprocal, an offset for each channel, output codes.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use super::EvenRequantization;
use crate::integer::{Arithmetic, Interval, WidthError};

/// What the values of a row are normalised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Rounded mean.
    pub mean: i64,
    /// `f`, 0 for a row without variance.
    pub reciprocal: i64,
}

impl Statistics {
    /// `n` of one value, `floor((q - mean) f / 2)`; the product has at most 34 bits.
    #[inline(always)]
    pub fn normalised<A: Arithmetic>(self, arithmetic: &A, q: i32) -> i64 {
        let y = arithmetic.sub(i64::from(q), self.mean);
        let product = arithmetic.mul(y, self.reciprocal);
        arithmetic.shr(arithmetic.declared(product, 34), 1)
    }

    /// The codes of a row: `n + bias[c]`, requantized.
    #[inline(always)]
    pub(super) fn codes<A: Arithmetic>(
        self,
        arithmetic: &A,
        (bias, requantization): (&[i64], &EvenRequantization),
        input: &[i32],
        output: &mut [i32],
    ) {
        for (channel, (q, code)) in input.iter().zip(output).enumerate() {
            let sum = arithmetic.add(self.normalised(arithmetic, *q), bias[channel]);
            let sum = arithmetic.declared(sum, 62);
            *code = requantization.code(arithmetic, sum, channel);
        }
    }
}

/// `sum floor((q - mean) / 2^shift)^2`.
pub(super) fn centred_squares<A: Arithmetic>(
    arithmetic: &A,
    row: &[i32],
    mean: i64,
    shift: u32,
) -> i64 {
    let sum = row.iter().fold(0, |sum, q| {
        let y = arithmetic.sub(i64::from(*q), mean);
        let y = arithmetic.shr(arithmetic.declared(y, 24), shift);
        arithmetic.add(sum, arithmetic.mul(y, y))
    });
    arithmetic.declared(sum, 63)
}

/// Bounds of the codes, for normalised values of at most `2^31` in magnitude.
pub(super) fn code_bounds(
    bias: &[i64],
    requantization: &EvenRequantization,
) -> Result<Interval, WidthError> {
    let normalised = Interval::symmetric(1 << 31);
    let mut codes: Option<Interval> = None;
    for (channel, bias) in bias.iter().enumerate() {
        let bias = i128::from(*bias);
        let sum = normalised
            .plus(Interval::new(bias, bias))
            .within(62, "normalised value and bias")?;
        let found = requantization.bounds(sum, channel)?;
        codes = Some(codes.map_or(found, |codes| codes.union(found)));
    }
    Ok(codes.unwrap_or(Interval::new(0, 0)))
}

/// What is wrong with the constants of the channels.
pub(super) fn invalid(bias: &[i64], requantization: &EvenRequantization) -> Option<&'static str> {
    if bias.is_empty() {
        return Some("a LayerNorm without channels");
    }
    requantization.invalid(bias.len())
}
