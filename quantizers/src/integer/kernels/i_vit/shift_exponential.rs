//! `ShiftExp`: `exp` by additions and shifts, linear on each octave.

use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// Most bits a mantissa is shifted to the left.
const LARGEST_SHIFT: u32 = 31;

/// `exp(S q)` in units of `S / 2^octaves`:
///
/// ```text
/// q1 = max(q + floor(q/2) - floor(q/16), n x0)   (q log2 e, about)
/// z  = q1 / x0 (floor)     r = q1 - z x0, in (x0, 0]
/// e  = max(0, floor((r - 2 x0) 2^(n - z - 1)))
/// ```
///
/// | intermediate | bits with sign, inputs of `k` bits |
/// |---|---|
/// | `q1` | `k + 1`, at most 34 |
/// | `r - 2 x0` | 33 |
/// | `e` | `bits(x0) + n + 1` for `q <= 0`, at most 63 above |
///
/// Positive `q`, which are those of rows without a positive value, shift further than `n`. The shift
/// stops at 31: the sums such values enter are clamped to `2^31 - 1`, which they then exceed anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShiftExponential {
    /// `floor(-1 / S)`, negative: one octave.
    pub x0: i64,
    /// Octaves below 1 that are kept, `n`.
    pub octaves: u32,
}

impl ShiftExponential {
    /// `e`.
    pub fn value<A: Arithmetic>(self, arithmetic: &A, q: i64) -> i64 {
        let tail = arithmetic.sub(arithmetic.shr(q, 1), arithmetic.shr(q, 4));
        let q = arithmetic.declared(arithmetic.add(q, tail), 34);
        let q = q.max(arithmetic.mul(self.octaves.into(), self.x0));
        let octave = arithmetic.div_floor(q, self.x0);
        let rest = arithmetic.sub(q, arithmetic.mul(octave, self.x0));
        let mantissa = arithmetic.sub(rest, arithmetic.mul(2, self.x0));
        let mantissa = arithmetic.declared(mantissa, 33);
        let shift = arithmetic.sub(arithmetic.sub(self.octaves.into(), octave), 1);
        let bits = u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX);
        let value = if shift < 0 {
            arithmetic.shr(mantissa, bits)
        } else {
            arithmetic.shl(mantissa, bits.min(LARGEST_SHIFT))
        };
        arithmetic.declared(value, 63).max(0)
    }

    /// The interval of the values for `q` in `differences`.
    ///
    /// # Errors
    /// An intermediate wider than declared.
    pub fn bounds(self, differences: Interval) -> Result<Interval, WidthError> {
        let scaled = |q: i128| q + (q >> 1) - (q >> 4);
        let (low, high) = (differences.low, differences.high);
        // The sum of floors is not monotone by one unit.
        let q =
            Interval::new(scaled(low) - 1, scaled(high) + 1).within(34, "q log2 e of ShiftExp")?;
        let x0 = i128::from(self.x0);
        Interval::new(-x0, -2 * x0).within(33, "mantissa of ShiftExp")?;
        let most = if high <= 0 { 0 } else { q.high };
        // Octaves above 1, rounded up.
        let above = (most - x0 - 1) / -x0;
        let shift = (i128::from(self.octaves) + above - 1).clamp(0, LARGEST_SHIFT.into());
        Interval::new(0, (-2 * x0) << shift).within(63, "value of ShiftExp")
    }

    /// What is wrong with stored constants.
    pub(in crate::integer::kernels) fn invalid(self) -> Option<&'static str> {
        if self.x0 < 0 && self.x0 > -(1 << 31) && self.octaves <= 30 {
            None
        } else {
            Some("a ShiftExp with constants out of range")
        }
    }
}
