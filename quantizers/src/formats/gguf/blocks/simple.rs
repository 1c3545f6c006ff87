//! Blocks of 32 values with one scale, and one minimum where the name ends in `_1`.
//!
//! Value `j` of the first half is in the low half-byte `j`, value `j + 16` in the high one; a fifth bit is bit `j`
//! of a little-endian word.

use super::{half, halves};

/// Scale f16, then 16 bytes: `d (q - 8)`.
pub(super) fn q4_0(block: &[u8], values: &mut [f32]) {
    let d = half(block);
    halves(&block[2..18], values, |_, code| {
        d * f32::from(i16::from(code) - 8)
    });
}

/// Scale and minimum f16, then 16 bytes: `d q + m`.
pub(super) fn q4_1(block: &[u8], values: &mut [f32]) {
    let (d, m) = (half(block), half(&block[2..]));
    halves(&block[4..20], values, |_, code| d * f32::from(code) + m);
}

/// Scale f16, the fifth bits, then 16 bytes: `d (q - 16)`.
pub(super) fn q5_0(block: &[u8], values: &mut [f32]) {
    let (d, fifth) = (half(block), word(&block[2..]));
    halves(&block[6..22], values, |at, code| {
        d * f32::from(i16::from(five_bits(fifth, at, code)) - 16)
    });
}

/// Scale and minimum f16, the fifth bits, then 16 bytes: `d q + m`.
pub(super) fn q5_1(block: &[u8], values: &mut [f32]) {
    let (d, m, fifth) = (half(block), half(&block[2..]), word(&block[4..]));
    halves(&block[8..24], values, |at, code| {
        d * f32::from(five_bits(fifth, at, code)) + m
    });
}

/// Scale f16, then 32 signed bytes: `d q`.
pub(super) fn q8_0(block: &[u8], values: &mut [f32]) {
    let d = half(block);
    for (value, code) in values.iter_mut().zip(&block[2..34]) {
        *value = d * f32::from(code.cast_signed());
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn five_bits(fifth: u32, at: usize, code: u8) -> u8 {
    if fifth >> at & 1 == 1 {
        code | 16
    } else {
        code
    }
}
