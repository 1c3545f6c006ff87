//! Sums to codes: one dyadic factor per channel.

use std::marker::PhantomData;

use super::super::{LANES, Tile};
use super::Code;

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
    pub(super) groups: Vec<ChannelGroup>,
    pub(super) limits: Limits,
    code: PhantomData<T>,
}

/// Constants of the channels, all `[channels]`.
#[derive(Debug, Clone, Copy)]
pub struct Scales<'a> {
    /// Added to the sums; zero points of the left operand are folded in.
    pub bias: &'a [i32],
    /// Numerators.
    pub multipliers: &'a [i32],
    /// Powers of two in the denominators, 1 to 62.
    pub shifts: &'a [u8],
}

/// Constants of 16 channels, the products of even and odd channels apart as `vpmuldq` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct ChannelGroup {
    pub(super) multipliers: [i32; LANES],
    pub(super) shifts: [i32; LANES],
    /// `bias * multiplier + 2^(shift - 1)` of channels 0, 2, ..
    pub(super) even: [i64; LANES / 2],
    /// The same of channels 1, 3, ..
    pub(super) odd: [i64; LANES / 2],
}

/// What happens after the shift, alike for all channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bounds: before the zero point is added for sums alone, after it with a residual.
    pub(super) low: i32,
    pub(super) high: i32,
    pub(super) zero_point: i32,
    /// Whether some shift is under 32.
    pub(super) wide: bool,
}

/// Constants that no [`Requantize`] can be built from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequantizeError {
    /// The three slices belong to different numbers of channels.
    #[error("expected {biases} multipliers and shifts, found {multipliers} and {shifts}")]
    Lengths {
        /// Biases given.
        biases: usize,
        /// Multipliers given.
        multipliers: usize,
        /// Shifts given.
        shifts: usize,
    },
    /// The residual has factors for another number of channels.
    #[error("expected 1 or {channels} factors of the residual, found {found}")]
    Branches {
        /// Output channels.
        channels: usize,
        /// Factors given.
        found: usize,
    },
    /// A shift is outside its range.
    #[error("expected a shift from {least} to 62 in channel {channel}, found {shift}")]
    Shift {
        /// Smallest shift allowed here.
        least: u8,
        /// Channel.
        channel: usize,
        /// Its shift.
        shift: u8,
    },
    /// The range of codes is empty, does not fit the type, or leaves `i32` without the zero point.
    #[error("expected codes from {min} to {max}, found {qmin} to {qmax} around {zero_point}")]
    Range {
        /// Smallest code of the type.
        min: i32,
        /// Largest code of the type.
        max: i32,
        /// Smallest code asked for.
        qmin: i32,
        /// Largest code asked for.
        qmax: i32,
        /// Zero point asked for.
        zero_point: i32,
    },
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
            groups,
            limits: Limits {
                low,
                high,
                zero_point,
                wide,
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
        let scaled = self.groups[channel / LANES].scaled(i64::from(sum), channel % LANES);
        self.limits.clamp(scaled) + self.limits.zero_point
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
            super::avx512::requantize(self, tile, out, stride);
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

impl ChannelGroup {
    /// Channels whose codes are all zero.
    pub(super) const NOTHING: Self = Self {
        multipliers: [0; LANES],
        shifts: [62; LANES],
        even: [0; 8],
        odd: [0; 8],
    };

    /// Sets the constants of one channel.
    pub(super) fn set(&mut self, lane: usize, multiplier: i32, shift: i32, addend: i64) {
        self.multipliers[lane] = multiplier;
        self.shifts[lane] = shift;
        let half = if lane.is_multiple_of(2) {
            &mut self.even
        } else {
            &mut self.odd
        };
        half[lane / 2] = addend;
    }

    /// `(value * multiplier + addend) >> shift` of one channel.
    pub(super) fn scaled(&self, value: i64, lane: usize) -> i64 {
        let half = if lane.is_multiple_of(2) {
            &self.even
        } else {
            &self.odd
        };
        let product = value * i64::from(self.multipliers[lane]);
        product.wrapping_add(half[lane / 2]) >> self.shifts[lane]
    }
}

impl Limits {
    /// The nearest value from `low` to `high`.
    pub(super) fn clamp(&self, value: i64) -> i32 {
        let clamped = value.clamp(i64::from(self.low), i64::from(self.high));
        // Both bounds are 32 bits wide, so what lies between them is.
        i32::try_from(clamped).unwrap_or(self.high)
    }
}
