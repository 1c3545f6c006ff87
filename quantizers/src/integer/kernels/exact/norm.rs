//! `LayerNorm` and `RMSNorm` with exact statistics.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use super::Affine;
use crate::integer::kernel::KernelConstants;
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// Fraction bits of normalised values.
pub const VALUE_BITS: u32 = 16;
/// Most bits of a spread: its root then has 31.
const SPREAD_BITS: u32 = 62;

/// `y = D / sqrt(W)` with `D = C q - sum q` and `W = C sum q^2 - (sum q)^2`, both exact; then one
/// factor, one offset and one rounding per channel.
///
/// `W = sum D^2 / C` is the variance times `C^2`; `epsilon` is added to it in that unit. The root is
/// `sd = isqrt(W 2^(2g))`, with as many guard bits `g` as keep it below 2^31, at most
/// `most_guard_bits`, and `y = floor((D 2^(17+g) + sd) / (2 sd))` has 16 fraction bits. Without
/// centring the sums of `q` are left out: `y = q / sqrt(mean q^2)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norm {
    /// `LayerNorm` if true, `RMSNorm` if not.
    pub centred: bool,
    /// Channels, `C`.
    pub width: usize,
    /// Code of zero.
    pub zero_point: i32,
    /// Left shift per channel of the code without its zero point, or none.
    pub shifts: Vec<u32>,
    /// `round(epsilon C^2 / S^2)`.
    pub epsilon: i64,
    /// Most guard bits of the root.
    pub most_guard_bits: u32,
    /// To output codes.
    pub affine: Affine,
}

/// What a row is normalised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Subtracted from `C q`.
    pub centre: i64,
    /// `isqrt(W 2^(2g))`, at least 1.
    pub root: i64,
    /// `g`.
    pub guard_bits: u32,
}

impl Norm {
    /// `C`.
    #[inline(always)]
    #[expect(clippy::cast_possible_wrap, reason = "at most 2^20")]
    pub(super) fn channels(&self) -> i64 {
        self.width as i64
    }

    /// Whether `other` normalises to the same values, before its own last step.
    pub fn same_values(&self, other: &Self) -> bool {
        let key = |norm: &Self| {
            let grid = (norm.zero_point, norm.epsilon, norm.most_guard_bits);
            (norm.centred, norm.width, grid)
        };
        key(self) == key(other) && self.shifts == other.shifts
    }

    /// The code of a channel without its zero point, on the common scale.
    #[inline(always)]
    fn code<A: Arithmetic>(&self, arithmetic: &A, code: i32, channel: usize) -> i64 {
        let code = arithmetic.sub(i64::from(code), i64::from(self.zero_point));
        match self.shifts.get(channel) {
            Some(shift) => arithmetic.shl(code, *shift),
            None => code,
        }
    }

    /// Centre and root of a row.
    pub fn spread<A: Arithmetic>(&self, arithmetic: &A, row: &[i32]) -> Spread {
        let (mut sum, mut squares) = (0, 0);
        for (channel, code) in row.iter().enumerate() {
            let code = self.code(arithmetic, *code, channel);
            sum = arithmetic.add(sum, code);
            squares = arithmetic.add(squares, arithmetic.mul(code, code));
        }
        self.spread_of_sums(arithmetic, sum, squares)
    }

    /// Centre and root from `sum q` and `sum q^2`, both without the zero point.
    pub fn spread_of_sums<A: Arithmetic>(&self, arithmetic: &A, sum: i64, squares: i64) -> Spread {
        let width = self.channels();
        let centre = if self.centred { sum } else { 0 };
        let total = arithmetic.declared(arithmetic.mul(width, squares), 63);
        let spread = arithmetic.sub(total, arithmetic.mul(centre, centre));
        let spread = arithmetic.add(spread, self.epsilon);
        let spread = arithmetic.declared(spread, SPREAD_BITS + 1).max(0);
        let free = SPREAD_BITS.saturating_sub(64 - spread.leading_zeros());
        let guard_bits = (free / 2).min(self.most_guard_bits);
        let scaled = arithmetic.shl(spread, 2 * guard_bits);
        Spread {
            centre,
            root: scaled.isqrt().max(1),
            guard_bits,
        }
    }

    /// `y` of one code, [`VALUE_BITS`] fraction bits.
    #[inline(always)]
    pub fn value<A: Arithmetic>(
        &self,
        arithmetic: &A,
        code: i32,
        channel: usize,
        spread: Spread,
    ) -> i64 {
        let scaled = arithmetic.mul(self.channels(), self.code(arithmetic, code, channel));
        let distance = arithmetic.sub(scaled, spread.centre);
        let shifted = arithmetic.shl(distance, VALUE_BITS + 1 + spread.guard_bits);
        let doubled = arithmetic.shl(spread.root, 1);
        let numerator = arithmetic.declared(arithmetic.add(shifted, spread.root), 63);
        arithmetic.div_floor(numerator, doubled)
    }

    /// The interval of `C q - sum q` for `codes` without zero point.
    fn distances(&self, codes: Interval) -> Interval {
        let width = self.width as i128;
        if self.centred {
            Interval::symmetric((width - 1) * (codes.high - codes.low))
        } else {
            codes.times(Interval::new(width, width))
        }
    }

    /// The interval of codes without zero point on the common scale.
    fn codes(&self, input: Interval) -> Interval {
        let zero = i128::from(self.zero_point);
        let shift = self.shifts.iter().copied().max().unwrap_or(0);
        let factor = 1_i128 << shift.min(30);
        input
            .plus(Interval::new(-zero, -zero))
            .union(Interval::new(0, 0))
            .times(Interval::new(factor, factor))
    }

    /// The interval of `y`: `|D| <= sqrt(C W)`, and the root is at least half of the real one.
    fn values(&self) -> Interval {
        let root = i128::from((self.width as u64).isqrt()) + 1;
        Interval::symmetric((root << (VALUE_BITS + 1)) + 1)
    }
}

impl KernelConstants for Norm {
    const KIND: &'static str = "norm.exact";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        let spread = self.spread(arithmetic, input);
        for (channel, (out, code)) in output.iter_mut().zip(input).enumerate() {
            let value = self.value(arithmetic, *code, channel, spread);
            *out = self.affine.code(arithmetic, value, channel);
        }
    }

    fn bounds(&self, input: Interval, _width: usize) -> Result<Interval, WidthError> {
        let width = self.width as i128;
        let codes = self.codes(input.within(32, "input")?);
        let squares = codes.squared().times(Interval::new(0, width));
        squares
            .times(Interval::new(0, width))
            .within(63, "squares times the width")?;
        let span = if self.centred {
            (codes.high - codes.low + 1) / 2
        } else {
            codes.magnitude()
        };
        let spread = (width * span).pow(2) + i128::from(self.epsilon);
        Interval::new(0, spread).within(SPREAD_BITS + 1, "spread")?;
        // The root is below 2^31 and adds less than one bit to the numerator.
        let shift = VALUE_BITS + 1 + self.most_guard_bits.min(13);
        self.distances(codes)
            .times(Interval::new(0, 1 << shift))
            .plus(Interval::new(0, 1 << 31))
            .within(63, "numerator")?;
        self.affine.bounds(self.values())
    }

    fn invalid(&self) -> Option<&'static str> {
        if self.width == 0 || self.width > 1 << 20 {
            Some("a normalisation with a width out of range")
        } else if !self.shifts.is_empty()
            && (self.shifts.len() != self.width || self.shifts.iter().any(|shift| *shift > 30))
        {
            Some("a normalisation with shifts out of range")
        } else if self.epsilon < 0 || self.most_guard_bits > 13 {
            Some("a normalisation with an epsilon or guard bits out of range")
        } else {
            self.affine.invalid(self.width)
        }
    }
}
