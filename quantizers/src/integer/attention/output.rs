//! From weighted sums to output codes: one division, rounded once.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use crate::integer::kernel::saturate;
use crate::integer::{Arithmetic, Interval, WidthError, Wrapping};
use multiversion::multiversion;
use serde::{Deserialize, Serialize};

/// `code = clamp(floor(acc b / (2^c l) + 1/2) + zero_point)`.
///
/// As integers: `floor(((acc b + l 2^(c-1)) >> c) / l)`, which is the same number because floors of
/// quotients by positive integers nest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionOutput {
    /// `b`, positive.
    pub multiplier: i64,
    /// `c`, 1 to 62.
    pub shift: u32,
    /// Code of zero.
    pub zero_point: i32,
    /// Smallest code.
    pub low: i32,
    /// Largest code.
    pub high: i32,
}

impl AttentionOutput {
    /// The code of `sum / total`; the zero point where the total is zero.
    #[inline(always)]
    pub fn code<A: Arithmetic>(&self, arithmetic: &A, sum: i64, total: i64) -> i32 {
        if total == 0 {
            return self.zero_point.clamp(self.low, self.high);
        }
        let product = arithmetic.declared(arithmetic.mul(sum, self.multiplier), 63);
        let half = arithmetic.declared(arithmetic.shl(total, self.shift - 1), 63);
        let scaled = arithmetic.shr(arithmetic.add(product, half), self.shift);
        let quotient = arithmetic.div_floor(scaled, total);
        let code = arithmetic.add(quotient, i64::from(self.zero_point));
        saturate(arithmetic, code, self.low, self.high)
    }

    /// The interval of the codes.
    ///
    /// # Errors
    /// A product of more than 63 bits, or one that leaves no room for the half added.
    pub fn bounds(&self, total: Interval, sums: Interval) -> Result<Interval, WidthError> {
        let multiplier = i128::from(self.multiplier);
        let product = sums
            .times(Interval::new(multiplier, multiplier))
            .within(63, "weighted values at the output grid")?;
        let half = total
            .times(Interval::new(0, 1 << (self.shift - 1)))
            .within(63, "half of the total")?;
        product.plus(half).within(63, "numerator of the output")?;
        Ok(Interval::new(self.low.into(), self.high.into()))
    }

    /// What is wrong with the constants.
    pub fn invalid(&self) -> Option<&'static str> {
        if self.multiplier < 0 || !(1..=62).contains(&self.shift) || self.low > self.high {
            Some("an attention output with a factor or grid out of range")
        } else {
            None
        }
    }

    /// The codes of a row of sums with one total, for a grid within 0 to 255.
    pub fn bytes(&self, sums: Sums<'_>, total: u32, out: &mut [u8]) {
        match Reciprocal::of(total) {
            Some(reciprocal) => bytes(self, reciprocal, sums, out),
            None => self.each(sums, total, out),
        }
    }

    /// Value by value; a total of zero needs no sums.
    fn each(&self, sums: Sums<'_>, total: u32, out: &mut [u8]) {
        for (position, code) in out.iter_mut().enumerate() {
            let sum = if total == 0 { 0 } else { sums.at(position) };
            let value = self.code(&Wrapping, sum, total.into());
            *code = u8::try_from(value).unwrap_or(0);
        }
    }
}

/// Weighted values of one query, `high factor + low`.
#[derive(Debug, Clone, Copy)]
pub struct Sums<'a> {
    high: &'a [i32],
    factor: i64,
    low: &'a [i32],
    keep: i64,
}

impl<'a> Sums<'a> {
    /// Of 8-bit weights.
    pub fn plain(sums: &'a [i32]) -> Self {
        Self {
            high: sums,
            factor: 1,
            low: sums,
            keep: 0,
        }
    }

    /// Of 15-bit weights in two planes: `128 high + low`.
    pub fn planes(high: &'a [i32], low: &'a [i32]) -> Self {
        Self {
            high,
            factor: 128,
            low,
            keep: 1,
        }
    }

    fn at(self, position: usize) -> i64 {
        let [high, low] = [self.high[position], self.low[position]];
        i64::from(high) * self.factor + i64::from(low) * self.keep
    }
}

/// Division by one total through `floor(2^k / total)` of 19 bits.
///
/// Quotients are clamped to 17 bits first, so that an estimate is within one, which the remainder
/// then corrects.
#[derive(Clone, Copy)]
struct Reciprocal {
    total: i64,
    factor: i64,
    shift: u32,
}

impl Reciprocal {
    /// None for zero, and for totals of more than 27 bits, whose products have more than 63.
    fn of(total: u32) -> Option<Self> {
        let bits = 32 - total.leading_zeros();
        (1..=27).contains(&bits).then(|| Self {
            total: total.into(),
            factor: (1_i64 << (18 + bits)) / i64::from(total),
            shift: 18 + bits,
        })
    }
}

/// The formula of [`AttentionOutput::code`] on vectors of 64-bit lanes.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a grid of the type"
)]
fn bytes(output: &AttentionOutput, reciprocal: Reciprocal, sums: Sums<'_>, out: &mut [u8]) {
    let Reciprocal {
        total,
        factor,
        shift,
    } = reciprocal;
    let zero = i64::from(output.zero_point);
    let low = i64::from(output.low).max(0) - zero;
    let high = i64::from(output.high).min(255) - zero;
    // Beyond these the code is saturated whatever the quotient.
    let (least, most) = ((low - 1) * total, (high + 1) * total);
    let (shift, scale) = (shift & 63, output.shift & 63);
    let half = total << (scale - 1);
    for ((code, high_part), low_part) in out.iter_mut().zip(sums.high).zip(sums.low) {
        let sum = i64::from(*high_part) * sums.factor + i64::from(*low_part) * sums.keep;
        let scaled = (sum * output.multiplier + half) >> scale;
        let scaled = scaled.max(least).min(most);
        let estimate = (scaled * factor) >> shift;
        let rest = scaled - estimate * total;
        let quotient = estimate + i64::from(rest >= total) - i64::from(rest < 0);
        *code = (quotient.max(low).min(high) + zero) as u8;
    }
}
