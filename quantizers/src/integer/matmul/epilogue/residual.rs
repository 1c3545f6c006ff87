//! Sums plus a residual stream of 16 bits.

use super::super::{Epilogue, Tile};
use super::requantize::{ChannelGroup, Requantize, RequantizeError};

/// `out = clamp16(wide + ((residual * factor + 2^(shift - 1)) >> shift))`, where `wide` is what
/// [`Requantize`] gives without clamp and zero point: each branch rounds by itself (half up), the
/// sum is clamped once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residual {
    pub(super) wide: Requantize<i32>,
    factor: i32,
    shift: u8,
    /// Left shift of the residual and constants of its branch with a shift of at least 32.
    pub(super) lift: u32,
    pub(super) branch: ChannelGroup,
}

/// Bound of the wide branch: beyond it the sum saturates whatever the residual, whose branch
/// stays under 2^29.
const WIDE: i32 = 1 << 30;
/// Smallest shift of the residual branch that keeps it under 2^29.
const LEAST_SHIFT: u8 = 17;

impl Residual {
    /// Takes the constants `[channels]` of the sums and the factor `factor / 2^shift` of the
    /// residual.
    ///
    /// # Errors
    /// As [`Requantize::new`], and if `shift` is not in 17..=62 once `factor` has been doubled as
    /// often as 32 bits hold (a factor of 2^13 or more, which no 16-bit sum could use).
    pub fn new(
        bias: &[i32],
        multiplier: &[i32],
        shifts: &[u8],
        (factor, shift): (i32, u8),
    ) -> Result<Self, RequantizeError> {
        // A factor given in few bits is the same factor with a larger shift: the tie stays a tie.
        let spare = factor.unsigned_abs().leading_zeros().saturating_sub(1);
        let spare = u8::try_from(spare).unwrap_or(0);
        let raise = if shift == 0 {
            0
        } else {
            LEAST_SHIFT.saturating_sub(shift).min(spare)
        };
        let (factor, shift) = (factor << raise, shift + raise);
        if !(LEAST_SHIFT..=62).contains(&shift) {
            return Err(RequantizeError::Shift {
                least: LEAST_SHIFT,
                channel: 0,
                shift,
            });
        }
        let lift = 32_u8.saturating_sub(shift);
        let lifted = shift + lift;
        Ok(Self {
            wide: Requantize::new(bias, multiplier, shifts, 0, (-WIDE, WIDE))?,
            factor,
            shift,
            lift: u32::from(lift),
            branch: ChannelGroup::uniform(factor, i32::from(lifted), 1 << (lifted - 1)),
        })
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.wide.channels()
    }

    /// The sum of one output: the definition of this type.
    ///
    /// # Panics
    /// If there is no such channel.
    pub fn code(&self, sum: i32, channel: usize, residual: i16) -> i16 {
        let product = i64::from(residual) * i64::from(self.factor);
        let branch = (product + (1 << (self.shift - 1))) >> self.shift;
        let both = i64::from(self.wide.value(sum, channel)) + branch;
        let clamped = both.clamp(i64::from(i16::MIN), i64::from(i16::MAX));
        i16::try_from(clamped).unwrap_or(i16::MAX)
    }

    /// Adds on any processor; `residual` and `out` start at the tile.
    pub(super) fn write_scalar(
        &self,
        tile: &Tile<'_>,
        (residual, residual_stride): (&[i16], usize),
        (out, stride): (&mut [i16], usize),
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

/// Writes `sums + residual` of every tile.
#[derive(Debug)]
pub struct AddResidual<'a> {
    /// Constants of both branches.
    pub scales: &'a Residual,
    /// Residual stream `[M, N]`.
    pub residual: &'a [i16],
    /// Codes between the starts of two rows of `residual`.
    pub residual_stride: usize,
    /// Outputs `[M, N]`.
    pub out: &'a mut [i16],
    /// Codes between the starts of two rows of `out`.
    pub stride: usize,
}

impl Epilogue for AddResidual<'_> {
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
            super::avx512::add_residual(self.scales, tile, residual, out);
            return;
        }
        self.scales.write_scalar(tile, residual, out);
    }
}
