//! Softmax weights of a row of scores, on vectors.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use super::decay::{FALL_ROUNDING, FIRST, SECOND};
use super::scores::{Row, Scores};
use super::{Decay, HeadAttention};
use multiversion::multiversion;

#[cfg(target_arch = "x86_64")]
use super::avx512;

impl HeadAttention {
    /// Weights of one query: 8-bit, `[keys]`, and their sum.
    ///
    /// The same integers as [`HeadAttention::whole`]; masked keys are left out of `scores` (a padded
    /// sequence: a shorter row).
    ///
    /// # Panics
    /// When the lengths differ, weights do not have 8 bits or more keys come than declared.
    pub fn weights(&self, scores: Scores<'_>, out: &mut [u8]) -> u32 {
        self.check(8, scores.keys(), out.len());
        bytes(self.row(scores), out)
    }

    /// Weights of one query of 15 bits, `128 high + low`, `[keys]` each, and their sum: two products
    /// with the values then give the sums of `Sums::planes`.
    ///
    /// # Panics
    /// When the lengths differ, weights do not have 15 bits or more keys come than declared.
    pub fn weights_wide(&self, scores: Scores<'_>, high: &mut [u8], low: &mut [u8]) -> u32 {
        self.check(15, scores.keys(), high.len());
        self.check(15, scores.keys(), low.len());
        planes(self.row(scores), high, low)
    }

    fn check(&self, bits: u32, keys: usize, out: usize) {
        assert_eq!(keys, out, "keys of a row");
        assert_eq!(self.weight_bits, bits, "bits of a weight");
        assert!(keys <= self.most_keys, "at most {} keys", self.most_keys);
    }

    fn row<'a>(&self, scores: Scores<'a>) -> Row<'a> {
        Row {
            scores,
            decay: self.decay,
        }
    }
}

/// The largest score.
#[multiversion(targets("x86_64+avx2"))]
fn largest(scores: Scores<'_>) -> i32 {
    let mut highest = i32::MIN;
    for (product, offset) in scores.products.iter().zip(scores.offsets) {
        highest = highest.max(product.wrapping_sub(*offset));
    }
    highest
}

fn bytes(row: Row<'_>, out: &mut [u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(total) = avx512::bytes(row, out) {
        return total;
    }
    plain_bytes(row, out)
}

fn planes(row: Row<'_>, high: &mut [u8], low: &mut [u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(total) = avx512::planes(row, high, low) {
        return total;
    }
    plain_planes(row, high, low)
}

/// [`Decay::weight`] of one distance in 32-bit steps.
#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "a distance")]
fn weight(table: &[u16; 32], bits: u32, distance: i32, decay: Decay) -> u32 {
    let distance = (distance as u32).min(decay.clip);
    let distance = u64::from(distance << (decay.shift & 31));
    let position = ((distance * u64::from(decay.multiplier)) >> 32) as u32;
    let within = (position >> 5) & 0xfffe;
    let entry = u32::from(table[((position >> 21) & 31) as usize]);
    let slope = u32::from(FIRST) - ((within * u32::from(SECOND)) >> 16);
    let fall = (entry * ((within * slope) >> 16)) >> 16;
    let value = entry - ((fall + u32::from(FALL_ROUNDING)) >> 5);
    ((value >> ((position >> 26) & 31)) + (1 << (15 - bits))) >> (16 - bits)
}

#[multiversion(targets("x86_64+avx2"))]
#[expect(clippy::cast_possible_truncation, reason = "a weight is at most 255")]
fn plain_bytes(row: Row<'_>, out: &mut [u8]) -> u32 {
    let table = Decay::table(8);
    let highest = largest(row.scores);
    let mut total = 0_u32;
    let scores = row.scores.products.iter().zip(row.scores.offsets);
    for (out, (product, offset)) in out.iter_mut().zip(scores) {
        let distance = highest.wrapping_sub(product.wrapping_sub(*offset));
        let weight = weight(table, 8, distance, row.decay);
        *out = weight as u8;
        total += weight;
    }
    total
}

#[multiversion(targets("x86_64+avx2"))]
#[expect(clippy::cast_possible_truncation, reason = "a weight is at most 32767")]
fn plain_planes(row: Row<'_>, high: &mut [u8], low: &mut [u8]) -> u32 {
    let table = Decay::table(15);
    let highest = largest(row.scores);
    let mut total = 0_u32;
    let scores = row.scores.products.iter().zip(row.scores.offsets);
    for ((high, low), (product, offset)) in high.iter_mut().zip(low).zip(scores) {
        let distance = highest.wrapping_sub(product.wrapping_sub(*offset));
        let weight = weight(table, 15, distance, row.decay);
        *high = (weight >> 7) as u8;
        *low = (weight & 127) as u8;
        total += weight;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integer::Wrapping;

    /// Vector and plain steps against the specification, rows of every length to three registers.
    #[test]
    fn every_form_gives_the_specified_weights() {
        let decay = Decay {
            clip: 60_000,
            shift: 16,
            multiplier: 1_173_000_000,
        };
        for keys in 1..100_usize {
            let mut state = u32::try_from(keys).unwrap();
            let mut next = |bits: u32| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.cast_signed() >> (32 - bits)
            };
            let products: Vec<i32> = (0..keys).map(|_| next(17)).collect();
            let offsets: Vec<i32> = (0..keys).map(|_| next(10)).collect();
            let scores = Scores {
                products: &products,
                offsets: &offsets,
            };
            let highest = largest(scores);
            let row = Row { scores, decay };
            let expected = |bits: u32| -> Vec<u32> {
                let weight = |score| {
                    let distance = i64::from(highest) - i64::from(score);
                    decay.weight(&Wrapping, bits, distance)
                };
                let weights = scores.each().map(weight);
                weights.map(|p| u32::try_from(p).unwrap()).collect()
            };
            let (wide, narrow) = (expected(15), expected(8));
            let (mut high, mut low) = (vec![0; keys], vec![0; keys]);
            for form in [planes, plain_planes] {
                assert_eq!(form(row, &mut high, &mut low), wide.iter().sum::<u32>());
                let pairs = high.iter().zip(&low);
                let found = pairs.map(|(h, l)| u32::from(*h) * 128 + u32::from(*l));
                assert_eq!(found.collect::<Vec<_>>(), wide);
                high.fill(7);
                low.fill(7);
            }
            for form in [bytes, plain_bytes] {
                assert_eq!(form(row, &mut high), narrow.iter().sum::<u32>());
                let found = high.iter().map(|p| u32::from(*p));
                assert_eq!(found.collect::<Vec<_>>(), narrow);
                high.fill(7);
            }
        }
    }
}
