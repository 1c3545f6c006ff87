//! Sums to codes: one dyadic factor per channel.

use std::marker::PhantomData;

use super::super::{LANES, Tile};
use super::Code;
use super::channels::{ChannelGroup, ChannelGroups, Limits, RequantizeError, Scales};

/// `code = clamp(((sum + bias) * multiplier + 2^(shift - 1)) >> shift + zero_point)`, per channel.
///
/// Rounding is half up (a tie goes to the larger code). The product is `i64` and the bias joins it
/// there, multiplied beforehand, so the result is exact while `|sum + bias| <= 3 * 2^30`.
///
/// With every shift at least 32 the vector code keeps the high halves of the products only; a
/// smaller shift, a factor over 1/2, takes a 64-bit path of twice the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requantize<T> {
    channels: usize,
    pub(super) constants: ChannelGroups,
    code: PhantomData<T>,
}

impl<T: Code> Requantize<T> {
    /// Takes the constants of the channels, the code of zero, and the smallest and largest code.
    ///
    /// # Errors
    /// [`RequantizeError`] if the lengths differ, a shift is not in 1..=62, or the range of codes
    /// is empty or wider than `T`.
    pub fn new(
        Scales {
            bias,
            multipliers,
            shifts,
        }: Scales<'_>,
        zero_point: i32,
        (qmin, qmax): (i32, i32),
    ) -> Result<Self, RequantizeError> {
        let channels = bias.len();
        if (multipliers.len(), shifts.len()) != (channels, channels) {
            let (multipliers, shifts) = (multipliers.len(), shifts.len());
            return Err(RequantizeError::Lengths {
                biases: channels,
                multipliers,
                shifts,
            });
        }
        let range = RequantizeError::Range {
            min: T::MIN,
            max: T::MAX,
            qmin,
            qmax,
            zero_point,
        };
        let inside = T::MIN <= qmin && qmin <= qmax && qmax <= T::MAX;
        let without = (qmin.checked_sub(zero_point), qmax.checked_sub(zero_point));
        let (true, (Some(low), Some(high))) = (inside, without) else {
            return Err(range);
        };
        let mut groups = vec![ChannelGroup::NOTHING; channels.div_ceil(LANES)];
        let all = bias.iter().zip(multipliers).zip(shifts).enumerate();
        for (channel, ((&bias, &multiplier), &shift)) in all {
            if !(1..=62).contains(&shift) {
                return Err(RequantizeError::Shift {
                    least: 1,
                    channel,
                    shift,
                });
            }
            let addend = i64::from(bias) * i64::from(multiplier) + (1 << (shift - 1));
            groups[channel / LANES].set(channel % LANES, multiplier, i32::from(shift), addend);
        }
        let wide = shifts.iter().any(|&shift| shift < 32);
        Ok(Self {
            channels,
            constants: ChannelGroups {
                groups,
                limits: Limits {
                    low,
                    high,
                    zero_point,
                    wide,
                },
            },
            code: PhantomData,
        })
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The code of one sum: the definition of this type.
    ///
    /// # Panics
    /// If there is no such channel.
    pub fn code(&self, sum: i32, channel: usize) -> T {
        T::of(self.value(sum, channel))
    }

    /// The code before it takes its type.
    pub(super) fn value(&self, sum: i32, channel: usize) -> i32 {
        let ChannelGroups { groups, limits } = &self.constants;
        let scaled = groups[channel / LANES].scaled(i64::from(sum), channel % LANES);
        limits.clamp(scaled) + limits.zero_point
    }

    /// Writes the codes of `tile` to `out` `[M, channels]`, whose rows start `stride` codes apart.
    ///
    /// # Panics
    /// If the tile lies outside the channels or `out`.
    pub fn write(&self, tile: &Tile<'_>, out: &mut [T], stride: usize) {
        let start = tile.row * stride + tile.col;
        self.write_at(tile, &mut out[start..], stride);
    }

    /// As [`write`](Self::write), with the first code of the tile at the start of `out`.
    pub(super) fn write_at(&self, tile: &Tile<'_>, out: &mut [T], stride: usize) {
        assert!(
            tile.col + tile.cols <= self.channels,
            "expected channels of the tile"
        );
        #[cfg(target_arch = "x86_64")]
        if super::avx512::available() {
            super::avx512::requantize(&self.constants, tile, out, stride);
            return;
        }
        self.write_scalar(tile, out, stride);
    }

    /// [`write_at`](Self::write_at) on any processor.
    pub(super) fn write_scalar(&self, tile: &Tile<'_>, out: &mut [T], stride: usize) {
        for r in 0..tile.rows {
            let out = &mut out[r * stride..r * stride + tile.cols];
            for (c, (out, &sum)) in out.iter_mut().zip(tile.row_values(r)).enumerate() {
                *out = self.code(sum, tile.col + c);
            }
        }
    }
}
