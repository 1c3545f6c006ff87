//! Blocks whose codes are places in a table that is the same for every tensor.

use super::{half, halves};

/// The table of IQ4: denser near zero, as weights are.
const IQ4: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];
/// Twice the values of E2M1.
const E2M1_DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Scale f16, then 16 bytes of half-bytes for 32 values.
pub(super) fn iq4_nl(block: &[u8], values: &mut [f32]) {
    let d = half(block);
    halves(&block[2..18], values, |_, code| {
        d * f32::from(IQ4[usize::from(code)])
    });
}

/// `d`, upper bits of eight 6-bit scales, 4 bytes of their lower ones, then 16 bytes for each 32 values.
pub(super) fn iq4_xs(block: &[u8], values: &mut [f32]) {
    let d = half(block);
    let upper = u16::from_le_bytes([block[2], block[3]]);
    let (lower, codes) = (&block[4..8], &block[8..136]);
    let groups = values.chunks_mut(32).zip(codes.chunks(16)).enumerate();
    for (group, (values, codes)) in groups {
        let low = i16::from(lower[group / 2] >> (4 * (group % 2)) & 15);
        let high = (upper >> (2 * group) & 3).cast_signed();
        let scale = d * f32::from((low | high << 4) - 32);
        halves(codes, values, |_, code| {
            scale * f32::from(IQ4[usize::from(code)])
        });
    }
}

/// An exponent, then 16 bytes of half-bytes: E2M1 times a power of two.
pub(super) fn mxfp4(block: &[u8], values: &mut [f32]) {
    // Half the scale, for twice the values.
    let scale = f32::from_bits(match block[0] {
        exponent @ 0..2 => 0x0020_0000 << exponent,
        exponent => u32::from(exponent - 1) << 23,
    });
    halves(&block[1..17], values, |_, code| {
        scale * f32::from(E2M1_DOUBLED[usize::from(code)])
    });
}
