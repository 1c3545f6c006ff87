//! i-GELU: the error function by a clipped second-degree polynomial.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use crate::integer::kernel::KernelConstants;
use crate::integer::kernels::EvenRequantization;
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// `x/2 (1 + erf(x / sqrt 2))` of 32-bit accumulators with a scale per channel:
///
/// ```text
/// t = min(|q|, -q_b) + q_b            y = floor(sign(q) (t^2 + q_c) / 2^shift)
/// g = q (y + q_one)                   code = requantized g, of the negative scale S S_erf / 2
/// ```
///
/// | intermediate | bits with sign |
/// |---|---|
/// | `t` | 33 |
/// | `t^2 + q_c` | 64 |
/// | `y + q_one` | 64 - `shift`; 18 where the shift follows the rule of 16 bits |
/// | `g` | 64; 50 where the shift follows that rule |
///
/// One entry of every list per channel, or one for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gelu {
    /// `floor(-1.769 / S_e)`, `S_e = S / 1.4142`; negative.
    pub q_b: Vec<i64>,
    /// `floor((1 / -0.2888) / S_e^2)`, negative.
    pub q_c: Vec<i64>,
    /// `floor(1 / S_erf)`, `S_erf = -0.2888 S_e^2 2^shift`; negative.
    pub q_one: Vec<i64>,
    /// Bits of the error function that are dropped.
    pub shift: Vec<u32>,
    /// To output codes.
    pub requantization: EvenRequantization,
}

impl Gelu {
    /// `g` of an accumulator in `channel`.
    #[inline(always)]
    pub fn product<A: Arithmetic>(&self, arithmetic: &A, q: i64, channel: usize) -> i64 {
        let channel = if self.q_b.len() == 1 { 0 } else { channel };
        let q_b = self.q_b[channel];
        let clipped = q.abs().min(arithmetic.sub(0, q_b));
        let t = arithmetic.declared(arithmetic.add(clipped, q_b), 33);
        let polynomial = arithmetic.add(arithmetic.mul(t, t), self.q_c[channel]);
        let signed = arithmetic.mul(q.signum(), polynomial);
        let y = arithmetic.shr(signed, self.shift[channel]);
        let factor = arithmetic.add(y, self.q_one[channel]);
        arithmetic.mul(q, arithmetic.declared(factor, 64 - self.shift[channel]))
    }

    fn channel_bounds(&self, input: Interval, channel: usize) -> Result<Interval, WidthError> {
        let of = |value: i64| Interval::new(value.into(), value.into());
        let t = Interval::new(self.q_b[channel].into(), 0).within(33, "clipped value of i-GELU")?;
        let polynomial = t
            .squared()
            .plus(of(self.q_c[channel]))
            .within(63, "polynomial of i-GELU")?;
        let signs = Interval::symmetric(polynomial.magnitude());
        let shift = self.shift[channel];
        let y = Interval::new(signs.low >> shift, signs.high >> shift);
        let factor = y
            .plus(of(self.q_one[channel]))
            .within(64 - shift, "error function of i-GELU")?;
        let product = input.times(factor).within(64, "product of i-GELU")?;
        self.requantization.bounds(product, channel)
    }
}

impl KernelConstants for Gelu {
    const KIND: &'static str = "gelu.i-bert";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        for (channel, (q, code)) in input.iter().zip(output).enumerate() {
            let product = self.product(arithmetic, i64::from(*q), channel);
            *code = self.requantization.code(arithmetic, product, channel);
        }
    }

    fn bounds(&self, input: Interval, _width: usize) -> Result<Interval, WidthError> {
        let input = input.within(32, "input of i-GELU")?;
        let mut codes = self.channel_bounds(input, 0)?;
        for channel in 1..self.q_b.len() {
            codes = codes.union(self.channel_bounds(input, channel)?);
        }
        Ok(codes)
    }

    fn invalid(&self) -> Option<&'static str> {
        let channels = self.q_b.len();
        if channels == 0
            || self.q_c.len() != channels
            || self.q_one.len() != channels
            || self.shift.len() != channels
        {
            Some("a GELU with lists of different lengths")
        } else if self.q_b.iter().any(|q_b| *q_b >= 0) || self.shift.iter().any(|shift| *shift > 62)
        {
            Some("a GELU with constants out of range")
        } else {
            self.requantization.invalid(channels)
        }
    }
}
