//! How wide the windows of a trellis are, and how many of them there are.

use std::ops::RangeInclusive;

/// Bits of a weight that can be stored.
pub const BITS: RangeInclusive<u8> = 1..=8;
/// Bits of a state that can be stored.
pub const STATE_BITS: RangeInclusive<u8> = 12..=16;

/// `K` and `L` of a trellis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// `K`: bits of a weight, 1 to 8.
    pub bits: u8,
    /// `L`: bits of a state, more than `K` and at most 16.
    pub state_bits: u8,
}

impl Geometry {
    /// `2^L`.
    pub fn states(self) -> usize {
        1 << self.state_bits
    }

    /// `2^K`: states that can follow a state, and that can come before it.
    pub fn branches(self) -> usize {
        1 << self.bits
    }

    /// `2^(L - K)`: what two neighbouring states can have in common.
    pub fn overlaps(self) -> usize {
        1 << self.overlap_bits()
    }

    /// `L - K`.
    pub fn overlap_bits(self) -> u8 {
        self.state_bits - self.bits
    }

    /// All ones in the width of a state.
    pub(super) fn mask(self) -> u32 {
        (1 << self.state_bits) - 1
    }
}
