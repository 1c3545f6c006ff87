//! Functions of one wide integer: a piece of straight line less a piecewise minimax polynomial.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use crate::integer::kernel::{KernelConstants, saturate};
use crate::integer::{Arithmetic, Dyadic, Interval, Rounding, WidthError, dyadic};
use serde::{Deserialize, Serialize};

/// Fraction bits of the position in a segment.
pub const POSITION_BITS: u32 = 20;
/// Fraction bits of values.
pub const VALUE_BITS: u32 = 24;

/// How the function is put together from `g`, the polynomial of `|x|` that vanishes far out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// `max(x, 0) - g(|x|)`: GELU, `SiLU`.
    Ramp,
    /// `sign(x) (1 - g(|x|))`: tanh.
    Step,
}

/// Factors of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factors {
    /// `|q|` to segments, [`POSITION_BITS`] fraction bits.
    pub position: Dyadic,
    /// `q` to the real value, [`VALUE_BITS`] fraction bits.
    pub value: Dyadic,
}

/// `f(S q)` in [`VALUE_BITS`] fraction bits, then one rounding to the output grid.
///
/// `t = |q| b / 2^c` in 20 fraction bits, `i = floor(t)`, `f` its fraction; `g` is the polynomial of
/// segment `i` by Horner, every step rounded half up, and zero after the last segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segments {
    /// How `g` is used.
    pub shape: Shape,
    /// Code of zero.
    pub zero_point: i32,
    /// One for all, or one a channel.
    pub factors: Vec<Factors>,
    /// Coefficients of one polynomial.
    pub terms: usize,
    /// Segment by segment, ascending, [`VALUE_BITS`] fraction bits.
    pub coefficients: Vec<i64>,
    /// Values are clamped to plus or minus this: all outputs are saturated there.
    pub limit: i64,
    /// From [`VALUE_BITS`] fraction bits to output codes.
    pub output: Dyadic,
    /// Code of zero among the outputs.
    pub output_zero_point: i32,
    /// Smallest output code.
    pub low: i32,
    /// Largest output code.
    pub high: i32,
}

impl Segments {
    /// `f(S q)`, [`VALUE_BITS`] fraction bits, before the output grid.
    #[inline(always)]
    pub fn value<A: Arithmetic>(&self, arithmetic: &A, code: i32, channel: usize) -> i64 {
        let factors = self.factors[channel % self.factors.len()];
        let code = arithmetic.sub(i64::from(code), i64::from(self.zero_point));
        let correction = self.correction(arithmetic, factors, code);
        match self.shape {
            Shape::Ramp => {
                let value = factors.value.apply(arithmetic, code, Rounding::HalfUp);
                arithmetic.sub(value.max(0), correction)
            }
            Shape::Step => {
                let one = arithmetic.shl(1, VALUE_BITS);
                arithmetic.mul(code.signum(), arithmetic.sub(one, correction))
            }
        }
    }

    /// `g(|x|)`.
    #[inline(always)]
    fn correction<A: Arithmetic>(&self, arithmetic: &A, factors: Factors, code: i64) -> i64 {
        let position = factors
            .position
            .apply(arithmetic, code.abs(), Rounding::HalfUp);
        let segment = arithmetic.shr(position, POSITION_BITS);
        let whole = arithmetic.shl(segment, POSITION_BITS);
        let fraction = arithmetic.declared(arithmetic.sub(position, whole), POSITION_BITS + 1);
        let start = usize::try_from(segment)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.terms);
        let Some(polynomial) = self
            .coefficients
            .get(start..start.saturating_add(self.terms))
        else {
            return 0;
        };
        let mut value = 0;
        for coefficient in polynomial.iter().rev() {
            let product = arithmetic.declared(arithmetic.mul(value, fraction), 51);
            let step = dyadic::divide(arithmetic, product, 20, Rounding::HalfUp);
            value = arithmetic.declared(arithmetic.add(step, *coefficient), 30);
        }
        value
    }
}

/// The product of `codes` with a factor, and the half that rounds it, in 64 bits.
fn product(codes: Interval, factor: Dyadic, what: &str) -> Result<Interval, WidthError> {
    let half = 1_i128 << (factor.shift.clamp(1, 62) - 1);
    codes
        .times(Interval::new(
            factor.multiplier.into(),
            factor.multiplier.into(),
        ))
        .plus(Interval::new(0, half))
        .within(64, what)
}

impl KernelConstants for Segments {
    const KIND: &'static str = "segments.exact";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        for (channel, (out, code)) in output.iter_mut().zip(input).enumerate() {
            let value = self.value(arithmetic, *code, channel);
            let value = value.clamp(-self.limit, self.limit);
            let code = self.output.apply(arithmetic, value, Rounding::HalfUp);
            let code = arithmetic.add(code, i64::from(self.output_zero_point));
            *out = saturate(arithmetic, code, self.low, self.high);
        }
    }

    fn bounds(&self, input: Interval, _width: usize) -> Result<Interval, WidthError> {
        let zero = i128::from(self.zero_point);
        let codes = input.within(32, "input")?.plus(Interval::new(-zero, -zero));
        for factors in &self.factors {
            let distance = Interval::new(0, codes.magnitude());
            product(distance, factors.position, "position")?;
            product(codes, factors.value, "value")?;
        }
        for polynomial in self.coefficients.chunks(self.terms) {
            let mut value = Interval::new(0, 0);
            for coefficient in polynomial.iter().rev() {
                let scaled = value.times(Interval::new(0, 1 << POSITION_BITS));
                scaled.within(51, "Horner product")?;
                let constant = i128::from(*coefficient);
                value = value
                    .union(Interval::new(0, 0))
                    .plus(Interval::new(constant, constant + 1))
                    .within(30, "Horner value")?;
            }
        }
        let limit = Interval::symmetric(self.limit.into());
        product(limit, self.output, "value at the output grid")?;
        Ok(Interval::new(self.low.into(), self.high.into()))
    }

    fn invalid(&self) -> Option<&'static str> {
        let shifted = |factor: Dyadic| (1..=62).contains(&factor.shift);
        let fit = |factors: &Factors| shifted(factors.position) && shifted(factors.value);
        if self.factors.is_empty() || !self.factors.iter().all(fit) || !shifted(self.output) {
            Some("segments with a factor out of range")
        } else if self.terms == 0 || !self.coefficients.len().is_multiple_of(self.terms) {
            Some("segments with an incomplete polynomial")
        } else if self.low > self.high || self.limit < 0 {
            Some("segments with an empty output grid")
        } else {
            None
        }
    }
}
