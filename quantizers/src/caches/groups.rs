//! Values that share a minimum and a scale: `x = min + scale q`, `scale = (max - min) / (2^bits - 1)`.
//!
//! Source: KIVI (Liu et al., ICML 2024), whose values, like those of QJL and of vLLM's `turboquant` types, are stored
//! so. A group is the scale and the minimum as f16, then the codes, in whole bytes.

use super::{codes, halves};
use multiversion::multiversion;

/// Bytes of a group of `count` values.
pub(super) fn bytes(count: usize, bits: u8) -> usize {
    4 + codes::bytes(count, bits)
}

/// Packs `values`, groups of `size` one after the other, into `out`, [`bytes`] for each. A last group may be shorter.
pub(super) fn encode(values: &[f32], size: usize, bits: u8, out: &mut [u8]) {
    let mut room = vec![0; size];
    for (values, out) in values.chunks(size).zip(out.chunks_mut(bytes(size, bits))) {
        let room = &mut room[..values.len()];
        let (low, scale) = round(values, f32::from(u8::MAX >> (8 - bits)), room);
        halves::put(scale, out);
        halves::put(low, &mut out[2..]);
        codes::pack(room, bits, &mut out[4..]);
    }
}

/// Reads back what [`encode`] wrote.
pub(super) fn decode(packed: &[u8], size: usize, bits: u8, out: &mut [f32]) {
    let mut room = vec![0; size];
    for (packed, out) in packed.chunks(bytes(size, bits)).zip(out.chunks_mut(size)) {
        let room = &mut room[..out.len()];
        codes::unpack(&packed[4..], bits, room);
        let (scale, low) = (halves::get(packed), halves::get(&packed[2..]));
        for (value, code) in out.iter_mut().zip(room.iter()) {
            *value = low + scale * f32::from(*code);
        }
    }
}

/// Codes from 0 to `most`, and the minimum and scale they count from, as they are stored.
#[multiversion(targets("x86_64+avx2"))]
fn round(values: &[f32], most: f32, codes: &mut [u8]) -> (f32, f32) {
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for value in values {
        low = low.min(*value);
        high = high.max(*value);
    }
    let low = halves::rounded(low);
    let scale = halves::rounded((high - low) / most);
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    for (code, value) in codes.iter_mut().zip(values) {
        let steps = ((value - low) * inverse).round_ties_even().clamp(0.0, most);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to at most 255"
        )]
        let narrow = steps as i32 as u8;
        *code = narrow;
    }
    (low, scale)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "values that f16 holds come back exactly")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_group_worked_by_hand() {
        let mut out = [0; 5];
        encode(&[-1.0, 0.9, 2.0, 0.4], 4, 2, &mut out);
        // Scale 1 and minimum -1 as f16, then the codes 0, 2, 3, 1.
        assert_eq!(out, [0x00, 0x3c, 0x00, 0xbc, 0b01_11_10_00]);
        let mut back = [0.0; 4];
        decode(&out, 4, 2, &mut back);
        assert_eq!(back, [-1.0, 1.0, 2.0, 0.0]);
    }

    #[test]
    fn equal_values_are_their_minimum() {
        let mut out = vec![0; bytes(3, 4)];
        encode(&[0.5; 3], 3, 4, &mut out);
        let mut back = [9.0; 3];
        decode(&out, 3, 4, &mut back);
        assert_eq!(back, [0.5; 3]);
    }

    proptest! {
        #[test]
        fn errors_are_half_a_step_and_the_rounding_of_the_ends(
            values in proptest::collection::vec(-50.0f32..50.0, 1..70),
            size in 1usize..40,
            bits in 2u8..=8,
        ) {
            let whole = values.len() / size * bytes(size, bits);
            let rest = values.len() % size;
            let mut out = vec![0; whole + if rest > 0 { bytes(rest, bits) } else { 0 }];
            encode(&values, size, bits, &mut out);
            let mut back = vec![0.0; values.len()];
            decode(&out, size, bits, &mut back);
            for (values, back) in values.chunks(size).zip(back.chunks(size)) {
                let ends = values.iter().fold((f32::MAX, f32::MIN), |e, v| (e.0.min(*v), e.1.max(*v)));
                let step = (ends.1 - ends.0) / f32::from(u8::MAX >> (8 - bits));
                // An f16 is off by at most 2^-11 of its value; the last code carries that of the scale.
                let ends = ends.0.abs() + (ends.1 - ends.0);
                for (value, back) in values.iter().zip(back) {
                    prop_assert!((value - back).abs() <= 0.5 * step + ends / 1024.0 + 1e-6);
                }
            }
        }
    }
}
