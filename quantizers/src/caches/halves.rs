//! Scales, norms and outliers as 16-bit floats in bytes.

use half::f16;

/// The nearest f16; beyond its range the largest, as a scale of infinity would spoil its whole group.
pub(super) fn to_half(value: f32) -> f16 {
    let most = f16::MAX.to_f32();
    f16::from_f32(value.clamp(-most, most))
}

/// `value` as it will be read back.
pub(super) fn rounded(value: f32) -> f32 {
    to_half(value).to_f32()
}

/// Writes `value`, which an f16 holds, to the first two bytes.
pub(super) fn put(value: f32, out: &mut [u8]) {
    out[..2].copy_from_slice(&to_half(value).to_le_bytes());
}

/// Reads the first two bytes.
pub(super) fn get(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}
