//! Sums plus a residual stream of 16 bits.

use std::marker::PhantomData;

use super::super::{Epilogue, LANES, Tile};
use super::Code;
use super::channels::{Branches, ChannelGroup, Limits, RequantizeError, Scales};
use super::requantize::Requantize;

/// `code = clamp(wide + branch + zero_point)`, where `wide` is what [`Requantize`] gives without
/// clamp and zero point, and `branch = ((residual - its zero point) * factor + 2^(shift - 1)) >>
/// shift`: each rounds by itself (half up), the sum is clamped once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residual<T> {
    pub(super) wide: Requantize<i32>,
    pub(super) branches: Branches,
    code: PhantomData<T>,
}

/// How the residual stream joins.
#[derive(Debug, Clone, Copy)]
pub struct Branch<'a> {
    /// Factor and shift of each channel, or one pair for all: `factor / 2^shift`.
    pub factors: &'a [(i32, u8)],
    /// Code of zero.
    pub zero_point: i16,
}

/// Bound of the wide branch: beyond it the sum saturates whatever the residual, whose branch
/// stays under 2^29.
const WIDE: i32 = 1 << 30;
/// Smallest shift of the residual branch that keeps it under 2^29.
const LEAST_SHIFT: u8 = 18;

impl<T: Code> Residual<T> {
    /// Takes the constants of the sums, how the residual joins them, and the codes to write.
    ///
    /// # Errors
    /// As [`Requantize::new`]; and if the zero point is not one of `i16`, `T` is wider than that,
    /// or a shift of the residual is not in 18..=62 once its factor has been doubled as often as
    /// 32 bits hold (a factor of 2^12 or more, which no 16-bit sum could use).
    pub fn new(
        scales: Scales<'_>,
        branch: Branch<'_>,
        zero_point: i32,
        (qmin, qmax): (i32, i32),
    ) -> Result<Self, RequantizeError> {
        let bits = i32::from(i16::MIN)..=i32::from(i16::MAX);
        let inside = T::MIN <= qmin && qmin <= qmax && qmax <= T::MAX;
        if !inside
            || [qmin, qmax, zero_point]
                .iter()
                .any(|code| !bits.contains(code))
        {
            let (min, max) = (T::MIN.max(*bits.start()), T::MAX.min(*bits.end()));
            return Err(RequantizeError::Range {
                min,
                max,
                qmin,
                qmax,
                zero_point,
            });
        }
        let channels = scales.bias.len();
        let factors = branch.factors;
        if factors.len() != 1 && factors.len() != channels {
            let found = factors.len();
            return Err(RequantizeError::Branches { channels, found });
        }
        let nothing = (ChannelGroup::NOTHING, [0; LANES]);
        let mut branches = vec![nothing; channels.div_ceil(LANES)];
        for channel in 0..channels {
            let given = factors[if factors.len() == 1 { 0 } else { channel }];
            let (factor, shift) = normalised(given);
            if !(LEAST_SHIFT..=62).contains(&shift) {
                return Err(RequantizeError::Shift {
                    least: LEAST_SHIFT,
                    channel,
                    shift,
                });
            }
            let (lane, lift) = (channel % LANES, 32_u8.saturating_sub(shift));
            let zero = (i64::from(branch.zero_point) << lift) * i64::from(factor);
            let addend = (1 << (shift + lift - 1)) - zero;
            let (group, lifts) = &mut branches[channel / LANES];
            group.set(lane, factor, i32::from(shift + lift), addend);
            lifts[lane] = u32::from(lift);
        }
        Ok(Self {
            wide: Requantize::new(scales, 0, (-WIDE, WIDE))?,
            branches: Branches {
                groups: branches,
                limits: Limits {
                    low: qmin,
                    high: qmax,
                    zero_point,
                    wide: false,
                },
            },
            code: PhantomData,
        })
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.wide.channels()
    }

    /// The code of one output: the definition of this type.
    ///
    /// # Panics
    /// If there is no such channel.
    pub fn code(&self, sum: i32, channel: usize, residual: i16) -> T {
        let Branches { groups, limits } = &self.branches;
        let (group, lifts) = &groups[channel / LANES];
        let lane = channel % LANES;
        let branch = group.scaled(i64::from(residual) << lifts[lane], lane);
        let both = i64::from(self.wide.value(sum, channel)) + branch;
        T::of(limits.clamp(both + i64::from(limits.zero_point)))
    }

    /// Adds on any processor; `residual` and `out` start at the tile.
    pub(super) fn write_scalar(
        &self,
        tile: &Tile<'_>,
        (residual, residual_stride): (&[i16], usize),
        (out, stride): (&mut [T], usize),
    ) {
        for r in 0..tile.rows {
            let residual = &residual[r * residual_stride..r * residual_stride + tile.cols];
            let out = &mut out[r * stride..r * stride + tile.cols];
            for (c, (out, &sum)) in out.iter_mut().zip(tile.row_values(r)).enumerate() {
                *out = self.code(sum, tile.col + c, residual[c]);
            }
        }
    }
}

/// A factor given in few bits is the same factor with a larger shift: a tie stays a tie.
fn normalised((factor, shift): (i32, u8)) -> (i32, u8) {
    let mut pair = (factor, shift);
    while (1..LEAST_SHIFT).contains(&pair.1) {
        let Some(double) = pair.0.checked_mul(2) else {
            break;
        };
        pair = (double, pair.1 + 1);
    }
    pair
}

/// Writes `sums + residual` of every tile.
#[derive(Debug)]
pub struct AddResidual<'a, T> {
    /// Constants of both branches.
    pub scales: &'a Residual<T>,
    /// Residual stream `[M, N]`.
    pub residual: &'a [i16],
    /// Codes between the starts of two rows of `residual`.
    pub residual_stride: usize,
    /// Codes `[M, N]`.
    pub out: &'a mut [T],
    /// Codes between the starts of two rows of `out`.
    pub stride: usize,
}

impl<T: Code> Epilogue for AddResidual<'_, T> {
    fn finish(&mut self, tile: &Tile<'_>) {
        assert!(
            tile.col + tile.cols <= self.scales.channels(),
            "expected channels of the tile"
        );
        let residual = &self.residual[tile.row * self.residual_stride + tile.col..];
        let residual = (residual, self.residual_stride);
        let out = &mut self.out[tile.row * self.stride + tile.col..];
        let out = (out, self.stride);
        #[cfg(target_arch = "x86_64")]
        if super::avx512::available() {
            let Residual { wide, branches, .. } = self.scales;
            super::avx512::add_residual((&wide.constants, branches), tile, residual, out);
            return;
        }
        self.scales.write_scalar(tile, residual, out);
    }
}
