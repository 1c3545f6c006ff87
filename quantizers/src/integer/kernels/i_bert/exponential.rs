//! i-exp: `exp` of non-positive integers by a polynomial on one octave and a shift.

use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// Octaves below 1 that are kept, `n`.
pub const OCTAVES: u32 = 30;

/// `exp(S q)` for `q <= 0`, in units of `0.35815147 S^2 / 2^30`:
///
/// ```text
/// q' = max(q, 30 q_ln2)       z = q' / q_ln2 (floor)     r = q' - z q_ln2, in (q_ln2, 0]
/// L  = (r + q_b) r + q_c      e = max(0, L 2^(30 - z))
/// ```
///
/// | intermediate | bits with sign |
/// |---|---|
/// | `q'`, `r`, `r + q_b` | 33 |
/// | `L` | 33 |
/// | `e` | 63 |
///
/// `L` rises with `r`, so `e <= q_c 2^30`, the value at 0. At `S = 1/16` the widths are 11 and 41.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// `floor(-0.6931 / S)`, negative.
    pub q_ln2: i64,
    /// `floor((0.96963238 / 0.35815147) / S)`.
    pub q_b: i64,
    /// `floor((1 / 0.35815147) / S^2)`.
    pub q_c: i64,
}

impl Exponential {
    /// `e` for `q <= 0`.
    pub fn value<A: Arithmetic>(self, arithmetic: &A, q: i64) -> i64 {
        let q = q.max(arithmetic.mul(i64::from(OCTAVES), self.q_ln2));
        let octave = arithmetic.div_floor(q, self.q_ln2);
        let rest = arithmetic.sub(q, arithmetic.mul(octave, self.q_ln2));
        let slope = arithmetic.declared(arithmetic.add(rest, self.q_b), 33);
        let polynomial = arithmetic.add(arithmetic.mul(slope, rest), self.q_c);
        let polynomial = arithmetic.declared(polynomial, 33);
        let octave = u32::try_from(octave).unwrap_or(0);
        let value = arithmetic.shl(polynomial, OCTAVES.saturating_sub(octave));
        arithmetic.declared(value, 63).max(0)
    }

    /// The value at 0.
    pub fn largest(self) -> i128 {
        i128::from(self.q_c) << OCTAVES
    }

    /// The interval of the values.
    ///
    /// # Errors
    /// An intermediate wider than declared.
    pub fn bounds(self) -> Result<Interval, WidthError> {
        let rest = Interval::new((i128::from(self.q_ln2) + 1).min(0), 0);
        let (q_b, q_c) = (i128::from(self.q_b), i128::from(self.q_c));
        let floor = i128::from(OCTAVES) * i128::from(self.q_ln2);
        Interval::new(floor, 0).within(33, "clipped difference of i-exp")?;
        let slope = rest.plus(Interval::new(q_b, q_b));
        let product = slope.within(33, "slope of i-exp")?.times(rest);
        // A product that is never positive leaves `q_c` the largest value.
        let polynomial = product.plus(Interval::new(q_c, q_c));
        let polynomial = polynomial.within(33, "polynomial of i-exp")?;
        polynomial
            .times(Interval::new(1, 1 << OCTAVES))
            .within(63, "value of i-exp")?;
        Ok(Interval::new(0, polynomial.high.max(0) << OCTAVES))
    }

    /// What is wrong with stored constants.
    pub(in crate::integer::kernels) fn invalid(self) -> Option<&'static str> {
        let narrow = |value: i64| value.unsigned_abs() < 1 << 33;
        if self.q_ln2 < 0
            && narrow(self.q_ln2)
            && narrow(self.q_b)
            && self.q_c > 0
            && narrow(self.q_c)
        {
            None
        } else {
            Some("an exponential with constants out of range")
        }
    }
}
