//! Constants of 16 channels, as scalar and vector code read them.

use super::super::LANES;

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

/// Constants of all channels of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChannelGroups {
    pub(super) groups: Vec<ChannelGroup>,
    pub(super) limits: Limits,
}

/// Constants of all channels of a residual stream that joins a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branches {
    /// The constants with shifts of at least 32, and how far the codes of the stream move left to
    /// make them so.
    pub(super) groups: Vec<(ChannelGroup, [u32; LANES])>,
    /// Of the sum of both.
    pub(super) limits: Limits,
}

/// Constants that no epilogue can be built from.
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
