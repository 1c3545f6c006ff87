//! `QIntLN`: a `LayerNorm` whose factor of a channel is an 8-bit multiplier and a shift, made for each
//! row from its integer statistics.

use crate::integer::dyadic::divide;
use crate::integer::kernel::{KernelConstants, saturate};
use crate::integer::square_root::square_root;
use crate::integer::{Arithmetic, Interval, Rounding, WidthError};
use serde::{Deserialize, Serialize};

/// Fraction bits of offsets.
pub const OFFSET_BITS: u32 = 32;

/// With `q' = (q - zero_point) 2^alpha[c]`, `T` its sum and `D = sqrt(C sum q'^2 - T^2)`, that is `C`
/// times the deviation:
///
/// ```text
/// A = gamma[c] / S_out C / D      N = clip(7 - floor(log2 |A|), 0, 31)     M = min(floor(|A| 2^N), 255)
/// B = round((beta[c] / S_out - T / D gamma[c] / S_out) 2^N)
/// code = clamp(round((sign(A) M q' + B) / 2^N) + zero point), both roundings half to even
/// ```
///
/// The published emulation computes `A` and `B` in floating point. Here the root has 31 bits:
/// `D 2^g = isqrt((C sum q'^2 - T^2) 2^(2g))`, `1 / D` is `R = floor(2^61 / (D 2^g))`, `gamma / S_out`
/// is dyadic and `M` is the leading 8 bits of their product. `A` is off by less than 2^-28 of itself,
/// which can change `M` by one. `D = 0` and `gamma = 0` give `round(beta / S_out)`.
///
/// | intermediate | bits with sign, `C` channels |
/// |---|---|
/// | `q'` | 16 |
/// | `C sum q'^2` | 63 |
/// | `D 2^g`, `R` | 32 |
/// | `T R` | 62 |
/// | that times `gamma / S_out` | 94, the one 128-bit product |
/// | `C R` | 52, cut to 32 |
/// | `A` | 64 |
/// | offset, `M q' + B` | 63 |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// Code of zero of the inputs.
    pub zero_point: i32,
    /// Power of two per channel, 0 to 7.
    pub alpha: Vec<u32>,
    /// `gamma[c] / S_out`, dyadic.
    pub multipliers: Vec<i64>,
    /// Powers of two in its denominators.
    pub shifts: Vec<i32>,
    /// `beta[c] / S_out`, 32 fraction bits.
    pub beta: Vec<i64>,
    /// Code of zero of the outputs.
    pub output_zero_point: i32,
    /// Smallest code.
    pub low: i32,
    /// Largest code.
    pub high: i32,
}

/// Least shift of a factor: products with a mean of 30 fraction bits or more have 32 of them.
pub const LEAST_SHIFT: i32 = 2;

/// Integer statistics of a row; all zero for a row without variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Leading 31 bits of `C / D`.
    pub reciprocal: i64,
    /// Fraction bits of [`Statistics::reciprocal`].
    pub reciprocal_bits: u32,
    /// `T / D`.
    pub mean: i64,
    /// Fraction bits of [`Statistics::mean`].
    pub mean_bits: u32,
}

/// Bits of a radicand, of whose root 31 are kept.
const RADICAND_BITS: u32 = 62;
/// Of the numerator of the reciprocal root.
const NUMERATOR_BITS: u32 = 61;

/// The leading 8 bits of `|value| / 2^bits` as `(M, N)`: about `M / 2^N`.
pub fn leading_eight<A: Arithmetic>(arithmetic: &A, value: i64, bits: i32) -> (i64, u32) {
    if value == 0 {
        return (0, 0);
    }
    let magnitude = value.abs();
    let leading = 63 - magnitude.leading_zeros().cast_signed();
    let shift = (7 - (leading - bits)).clamp(0, 31);
    let drop = bits - shift;
    let mantissa = if drop >= 0 {
        arithmetic.shr(magnitude, drop.unsigned_abs().min(63))
    } else {
        arithmetic.shl(magnitude, drop.unsigned_abs())
    };
    (mantissa.min(255), shift.unsigned_abs())
}

impl LayerNorm {
    fn scaled<A: Arithmetic>(&self, arithmetic: &A, code: i32, channel: usize) -> i64 {
        let centred = arithmetic.sub(i64::from(code), i64::from(self.zero_point));
        let scaled = arithmetic.shl(centred, self.alpha[channel]);
        arithmetic.declared(scaled, 16)
    }

    /// Statistics of a row.
    pub fn statistics<A: Arithmetic>(&self, arithmetic: &A, row: &[i32]) -> Statistics {
        let (mut sum, mut squares) = (0, 0);
        for (channel, code) in row.iter().enumerate() {
            let q = self.scaled(arithmetic, *code, channel);
            sum = arithmetic.add(sum, q);
            squares = arithmetic.add(squares, arithmetic.mul(q, q));
        }
        let count = i64::try_from(row.len()).unwrap_or(i64::MAX);
        let total = arithmetic.declared(arithmetic.mul(count, squares), 63);
        let spread = arithmetic.sub(total, arithmetic.mul(sum, sum));
        if spread <= 0 {
            return Statistics::default();
        }
        let guard = (RADICAND_BITS - (64 - spread.leading_zeros()).min(RADICAND_BITS)) / 2;
        let deviation = square_root(arithmetic, arithmetic.shl(spread, 2 * guard));
        let reciprocal = arithmetic.div_floor(1 << NUMERATOR_BITS, deviation);
        let reciprocal = arithmetic.declared(reciprocal, 33);
        let bits = NUMERATOR_BITS - guard;
        let scaled = arithmetic.declared(arithmetic.mul(count, reciprocal), 53);
        let drop = 33_u32.saturating_sub(scaled.leading_zeros());
        Statistics {
            reciprocal: arithmetic.shr(scaled, drop),
            reciprocal_bits: bits.saturating_sub(drop),
            mean: arithmetic.declared(arithmetic.mul(sum, reciprocal), 62),
            mean_bits: bits,
        }
    }

    fn code<A: Arithmetic>(&self, arithmetic: &A, q: i64, row: Statistics, channel: usize) -> i64 {
        let (multiplier, shift) = (self.multipliers[channel], self.shifts[channel]);
        let product = arithmetic.mul(row.reciprocal, multiplier);
        let bits = row.reciprocal_bits.cast_signed() + shift;
        let (m, n) = leading_eight(arithmetic, product, bits);
        let signed = arithmetic.mul(product.signum(), m);
        let mean = arithmetic.mul_wide(row.mean, multiplier);
        let drop = row.mean_bits.cast_signed() + shift - OFFSET_BITS.cast_signed();
        let mean = arithmetic.narrow(mean >> drop.max(0));
        let offset = arithmetic.sub(self.beta[channel], mean);
        let offset = arithmetic.declared(offset, 63);
        let bits = (OFFSET_BITS - n).cast_signed();
        let b = divide(arithmetic, offset, bits, Rounding::HalfEven);
        let sum = arithmetic.add(arithmetic.mul(signed, q), b);
        let code = divide(
            arithmetic,
            arithmetic.declared(sum, 63),
            n.cast_signed(),
            Rounding::HalfEven,
        );
        arithmetic.add(code, i64::from(self.output_zero_point))
    }
}

impl KernelConstants for LayerNorm {
    const KIND: &'static str = "layernorm.fq-vit";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        let row = self.statistics(arithmetic, input);
        for (channel, (code, out)) in input.iter().zip(output).enumerate() {
            let q = self.scaled(arithmetic, *code, channel);
            let code = self.code(arithmetic, q, row, channel);
            *out = saturate(arithmetic, code, self.low, self.high);
        }
    }

    fn bounds(&self, input: Interval, _width: usize) -> Result<Interval, WidthError> {
        let channels = self.alpha.len() as i128;
        let zero = i128::from(self.zero_point);
        let alpha = self.alpha.iter().copied().max().unwrap_or(0);
        let q = input
            .plus(Interval::new(-zero, -zero))
            .times(Interval::new(1, 1 << alpha))
            .within(16, "scaled code of QIntLN")?;
        let total = q.magnitude().pow(2) * channels * channels;
        Interval::new(0, total).within(63, "squares of QIntLN")?;
        // Unless a row is constant, `D^2 >= C - 1`: one code differs from the others.
        let least = i128::from(square_root(
            &crate::integer::Wrapping,
            i64::try_from(channels - 1).unwrap_or(i64::MAX),
        ))
        .max(1);
        let sum = q.magnitude() * channels;
        Interval::symmetric(sum << 32).within(62, "sum of QIntLN")?;
        for channel in 0..self.alpha.len() {
            let multiplier = i128::from(self.multipliers[channel]).abs();
            // One part in 2^28 more than the quotient covers the rounding of the reciprocal.
            let mean = (sum << OFFSET_BITS) / least + (sum >> 4) + 1;
            let term = (mean * multiplier) >> self.shifts[channel];
            let beta = i128::from(self.beta[channel]).abs();
            Interval::symmetric(term + beta + 1).within(62, "offset of QIntLN")?;
        }
        Ok(Interval::new(self.low.into(), self.high.into()))
    }

    fn invalid(&self) -> Option<&'static str> {
        let channels = self.alpha.len();
        let lengths = [self.multipliers.len(), self.shifts.len(), self.beta.len()];
        if channels == 0 || channels > 1 << 20 || lengths.iter().any(|length| *length != channels) {
            Some("a LayerNorm with lists of different lengths")
        } else if self.alpha.iter().any(|alpha| *alpha > 7) {
            Some("a LayerNorm with a power-of-two factor out of range")
        } else if self.multipliers.iter().any(|b| b.unsigned_abs() > 1 << 31)
            || self
                .shifts
                .iter()
                .any(|shift| !(LEAST_SHIFT..=62).contains(shift))
            || self.beta.iter().any(|beta| beta.unsigned_abs() > 1 << 61)
        {
            Some("a LayerNorm with a factor out of range")
        } else if self.low > self.high {
            Some("a LayerNorm with an empty grid")
        } else {
            None
        }
    }
}
