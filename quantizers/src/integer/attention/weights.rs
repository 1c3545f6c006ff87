//! Softmax weights of a row of scores, on vectors.

use super::Attention;
use crate::integer::kernels::exact::Exponential;
use multiversion::multiversion;

/// Constants of a row, in the widths of the lanes.
#[derive(Clone, Copy)]
struct Row {
    highest: i32,
    clip: u32,
    multiplier: u32,
    shift: u32,
    cubic: [i64; 4],
}

impl Attention {
    /// Weights of one query: 8-bit, `[keys]`, and their sum.
    ///
    /// The same integers as [`Attention::whole`]; masked keys are left out of `scores` (a padded
    /// sequence: a shorter row), or given by [`Attention::weights_seen`].
    ///
    /// # Panics
    /// When the lengths differ, weights do not have 8 bits or more keys come than declared.
    pub fn weights(&self, scores: &[i32], out: &mut [u8]) -> u32 {
        let row = self.row(scores.iter().copied().max(), scores.len(), out.len());
        let Some(row) = row else {
            return 0;
        };
        weights(scores, row, out)
    }

    /// As [`Attention::weights`], with zero for every key that is not `seen`, `[keys]`.
    ///
    /// # Panics
    /// As [`Attention::weights`].
    pub fn weights_seen(&self, scores: &[i32], seen: &[bool], out: &mut [u8]) -> u32 {
        assert_eq!(scores.len(), seen.len(), "keys of a mask");
        let visible = scores.iter().zip(seen).filter(|(_, seen)| **seen);
        let highest = visible.map(|(score, _)| *score).max();
        let Some(row) = self.row(highest, scores.len(), out.len()) else {
            out.fill(0);
            return 0;
        };
        weights(scores, row, out);
        let mut total = 0;
        for (weight, seen) in out.iter_mut().zip(seen) {
            *weight *= u8::from(*seen);
            total += u32::from(*weight);
        }
        total
    }

    /// Output codes of one query from its weighted values `[head_dim]` and the sum of its weights.
    pub fn bytes(&self, sums: &[i32], total: u32, out: &mut [u8]) {
        self.output.bytes(sums, total, out);
    }

    /// As [`Attention::bytes`], 16 bits with sign.
    pub fn words(&self, sums: &[i32], total: u32, out: &mut [i16]) {
        self.output.words(sums, total, out);
    }

    fn row(&self, highest: Option<i32>, keys: usize, out: usize) -> Option<Row> {
        assert_eq!(keys, out, "keys of a row");
        assert!(
            keys <= self.most_keys && self.weight_bits == 8,
            "at most {} keys and 8-bit weights",
            self.most_keys
        );
        let Exponential {
            position,
            clip,
            coefficients,
        } = &self.exponential;
        let mut cubic = [0; 4];
        for (kept, coefficient) in cubic.iter_mut().zip(coefficients) {
            *kept = *coefficient;
        }
        Some(Row {
            highest: highest?,
            clip: u32::try_from(*clip).unwrap_or(u32::MAX),
            multiplier: u32::try_from(position.multiplier).unwrap_or(u32::MAX),
            shift: position.shift.unsigned_abs() & 63,
            cubic,
        })
    }
}

/// `(e 255 + 2^29) >> 30` of every score, by the steps of [`Exponential::compute`] in 64-bit lanes
/// with 32-bit factors.
///
/// Distances of scores are taken without sign, so that those of masked keys above the maximum,
/// whose weight is not used, are clipped as well.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a weight is at most 255"
)]
fn weights(scores: &[i32], row: Row, out: &mut [u8]) -> u32 {
    let Row {
        highest,
        clip,
        multiplier,
        shift,
        cubic,
    } = row;
    let half = (1_u64 << shift) >> 1;
    let mut total = 0_u32;
    for (out, score) in out.iter_mut().zip(scores) {
        let distance = (highest.wrapping_sub(*score) as u32).min(clip);
        let position = (u64::from(distance) * u64::from(multiplier) + half) >> shift;
        let octaves = (position >> 24).min(31);
        let fraction = (position & 0x00ff_ffff) as i64;
        let mut value = cubic[3];
        value = ((value * fraction + (1 << 23)) >> 24) + cubic[2];
        value = ((value * fraction + (1 << 23)) >> 24) + cubic[1];
        value = ((value * fraction + (1 << 23)) >> 24) + cubic[0];
        let exponential = (value as u64 + ((1_u64 << octaves) >> 1)) >> octaves;
        let weight = ((exponential * 255 + (1 << 29)) >> 30) as u32;
        *out = weight as u8;
        total += weight;
    }
    total
}
