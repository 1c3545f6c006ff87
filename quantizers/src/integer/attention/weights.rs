//! Softmax weights of a row of scores, on vectors.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use super::{Attention, Sums};
use crate::integer::kernels::exact::Exponential;
use multiversion::multiversion;

/// Constants of a row, in the widths of the lanes.
#[derive(Clone, Copy)]
struct Row {
    highest: i32,
    clip: u32,
    multiplier: u32,
    shift: u32,
    quartic: [i64; 5],
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
        self.check(8, scores.len(), out.len());
        match self.row(scores.iter().copied().max()) {
            Some(row) => bytes(scores, row, out),
            None => 0,
        }
    }

    /// Weights of one query of 15 bits, `128 high + low`, `[keys]` each, and their sum: two products
    /// with the values then give the sums of [`Sums::planes`].
    ///
    /// # Panics
    /// When the lengths differ, weights do not have 15 bits or more keys come than declared.
    pub fn weights_wide(&self, scores: &[i32], high: &mut [u8], low: &mut [u8]) -> u32 {
        self.check(15, scores.len(), high.len());
        self.check(15, scores.len(), low.len());
        match self.row(scores.iter().copied().max()) {
            Some(row) => planes(scores, row, high, low),
            None => 0,
        }
    }

    /// As [`Attention::weights`], with zero for every key that is not `seen`, `[keys]`.
    ///
    /// # Panics
    /// As [`Attention::weights`].
    pub fn weights_seen(&self, scores: &[i32], seen: &[bool], out: &mut [u8]) -> u32 {
        assert_eq!(scores.len(), seen.len(), "keys of a mask");
        self.check(8, scores.len(), out.len());
        let visible = scores.iter().zip(seen).filter(|(_, seen)| **seen);
        let highest = visible.map(|(score, _)| *score).max();
        let Some(row) = self.row(highest) else {
            out.fill(0);
            return 0;
        };
        bytes(scores, row, out);
        let mut total = 0;
        for (weight, seen) in out.iter_mut().zip(seen) {
            *weight *= u8::from(*seen);
            total += u32::from(*weight);
        }
        total
    }

    /// Output codes of one query from its weighted values `[head_dim]` and the sum of its 8-bit
    /// weights.
    pub fn bytes(&self, sums: &[i32], total: u32, out: &mut [u8]) {
        self.output.bytes(Sums::plain(sums), total, out);
    }

    fn check(&self, bits: u32, keys: usize, out: usize) {
        assert_eq!(keys, out, "keys of a row");
        assert_eq!(self.weight_bits, bits, "bits of a weight");
        assert!(keys <= self.most_keys, "at most {} keys", self.most_keys);
    }

    fn row(&self, highest: Option<i32>) -> Option<Row> {
        let Exponential {
            position,
            clip,
            coefficients,
        } = &self.exponential;
        let mut quartic = [0; 5];
        for (kept, coefficient) in quartic.iter_mut().zip(coefficients) {
            *kept = *coefficient;
        }
        Some(Row {
            highest: highest?,
            clip: u32::try_from(*clip).unwrap_or(u32::MAX),
            multiplier: u32::try_from(position.multiplier).unwrap_or(u32::MAX),
            shift: position.shift.unsigned_abs() & 63,
            quartic,
        })
    }
}

/// `e` of one score by the steps of [`Exponential::compute`], in 64-bit lanes with 32-bit factors;
/// coefficients above the degree are zero and change nothing.
///
/// Distances of scores are taken without sign, so that those of masked keys above the maximum,
/// whose weight is not used, are clipped as well.
#[inline(always)]
#[expect(
    clippy::cast_sign_loss,
    reason = "a distance and a positive polynomial"
)]
fn exponential(score: i32, row: Row, terms: usize) -> u64 {
    let half = (1_u64 << row.shift) >> 1;
    let distance = (row.highest.wrapping_sub(score) as u32).min(row.clip);
    let position = (u64::from(distance) * u64::from(row.multiplier) + half) >> row.shift;
    // At most 63: factors are below 32 octaves, and distances clipped at 31.
    let octaves = (position >> 24) & 63;
    let fraction = position.cast_signed() & 0x00ff_ffff;
    let mut value = row.quartic[terms - 1];
    for coefficient in row.quartic[..terms - 1].iter().rev() {
        // The coefficient joins before the shift: whole units pass the floor unchanged.
        value = (value * fraction + ((1 << 23) + (coefficient << 24))) >> 24;
    }
    (value.cast_unsigned() + ((1_u64 << octaves) >> 1)) >> octaves
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
#[expect(clippy::cast_possible_truncation, reason = "a weight is at most 255")]
fn bytes(scores: &[i32], row: Row, out: &mut [u8]) -> u32 {
    let mut total = 0_u32;
    for (out, score) in out.iter_mut().zip(scores) {
        let weight = ((exponential(*score, row, 4) * 255 + (1 << 29)) >> 30) as u32;
        *out = weight as u8;
        total += weight;
    }
    total
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
#[expect(clippy::cast_possible_truncation, reason = "a weight is at most 32767")]
fn planes(scores: &[i32], row: Row, high: &mut [u8], low: &mut [u8]) -> u32 {
    let mut total = 0_u32;
    for ((high, low), score) in high.iter_mut().zip(low).zip(scores) {
        let weight = ((exponential(*score, row, 5) * 32_767 + (1 << 29)) >> 30) as u32;
        *high = (weight >> 7) as u8;
        *low = (weight & 127) as u8;
        total += weight;
    }
    total
}
