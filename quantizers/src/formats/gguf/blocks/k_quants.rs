//! Blocks of 256 values in sub-blocks of 16 or 32, whose scales are themselves quantized.

use super::half;

/// 16 scales and minima of 4 bits, 64 bytes of 2-bit codes, then `d` and `dmin`: `d s q - dmin m`, 16 values each.
pub(super) fn q2_k(block: &[u8], values: &mut [f32]) {
    let (scales, codes) = (&block[..16], &block[16..80]);
    let (d, dmin) = (half(&block[80..]), half(&block[82..]));
    for (at, value) in values.iter_mut().enumerate() {
        let scale = scales[at / 16];
        let code = two_bits(codes, at);
        *value = d * f32::from(scale & 15) * f32::from(code) - dmin * f32::from(scale >> 4);
    }
}

/// 32 bytes of third bits, 64 of 2-bit codes, 12 of sixteen 6-bit scales, then `d`: `d (s - 32) q`, where a third
/// bit that is not set takes 4 away.
pub(super) fn q3_k(block: &[u8], values: &mut [f32]) {
    let (third, codes, packed) = (&block[..32], &block[32..96], &block[96..108]);
    let d = half(&block[108..]);
    let scale = |group: usize| {
        let low = packed[group % 8] >> (4 * (group / 8)) & 15;
        let high = packed[8 + group % 4] >> (2 * (group / 4)) & 3;
        f32::from(i16::from(low | high << 4) - 32)
    };
    for (at, value) in values.iter_mut().enumerate() {
        let taken = if third[at % 32] >> (at / 32) & 1 == 1 {
            0
        } else {
            4
        };
        let code = i16::from(two_bits(codes, at)) - taken;
        *value = d * scale(at / 16) * f32::from(code);
    }
}

/// `d`, `dmin`, 12 bytes of eight 6-bit scales and minima, 128 bytes of half-bytes: `d s q - dmin m`, 32 values each.
pub(super) fn q4_k(block: &[u8], values: &mut [f32]) {
    let codes = &block[16..144];
    with_minima(block, values, |at| half_byte(codes, at));
}

/// As [`q4_k`], with 32 bytes of fifth bits before the half-bytes.
pub(super) fn q5_k(block: &[u8], values: &mut [f32]) {
    let (fifth, codes) = (&block[16..48], &block[48..176]);
    with_minima(block, values, |at| {
        half_byte(codes, at) | (fifth[at % 32] >> (at / 32) & 1) << 4
    });
}

/// 128 bytes of half-bytes, 64 of upper 2 bits, 16 signed scales, then `d`: `d s (q - 32)`, 16 values each.
pub(super) fn q6_k(block: &[u8], values: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half(&block[208..]);
    for (at, value) in values.iter_mut().enumerate() {
        // 128 values: 64 half-bytes, low ones first, and 32 bytes of upper bits.
        let (part, inside) = (at / 128, at % 128);
        let byte = low[64 * part + inside % 64];
        let four = if inside < 64 { byte & 15 } else { byte >> 4 };
        let upper = high[32 * part + inside % 32] >> (2 * (inside / 32)) & 3;
        let code = i16::from(four | upper << 4) - 32;
        *value = d * f32::from(scales[at / 16].cast_signed()) * f32::from(code);
    }
}

/// Code `at` of 256: 32 bytes hold 128 of them, 32 in each pair of bits.
fn two_bits(codes: &[u8], at: usize) -> u8 {
    codes[32 * (at / 128) + at % 32] >> (2 * (at % 128 / 32)) & 3
}

/// Code `at` of 256: 32 bytes hold 64 of them, the low halves first.
fn half_byte(codes: &[u8], at: usize) -> u8 {
    let byte = codes[32 * (at / 64) + at % 32];
    if at % 64 < 32 { byte & 15 } else { byte >> 4 }
}

fn with_minima(block: &[u8], values: &mut [f32], code: impl Fn(usize) -> u8) {
    let (d, dmin, packed) = (half(block), half(&block[2..]), &block[4..16]);
    for (group, values) in values.chunks_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(packed, group);
        let (scale, minimum) = (d * f32::from(scale), dmin * f32::from(minimum));
        for (at, value) in values.iter_mut().enumerate() {
            *value = scale * f32::from(code(32 * group + at)) - minimum;
        }
    }
}

/// The 6-bit scale and minimum of one of eight sub-blocks. The upper 2 bits of the last four lie above the first
/// four.
fn scale_and_minimum(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (packed[group] & 63, packed[group + 4] & 63);
    }
    let both = packed[group + 4];
    let scale = both & 15 | packed[group - 4] >> 6 << 4;
    let minimum = both >> 4 | packed[group] >> 6 << 4;
    (scale, minimum)
}
