//! Floats of 8 and 4 bits as f32: E4M3, E5M2, the power-of-two scales E8M0, and E2M1.
//!
//! Sources: "FP8 Formats for Deep Learning" (Micikevicius et al., 2022) for E4M3 and E5M2, the OCP
//! microscaling specification 1.0 for E8M0 and E2M1.

use half::f16;
use safetensors::Dtype;
use std::sync::LazyLock;

/// Values of the E2M1 codes 0..16; bit 3 is the sign.
pub(super) const E2M1: [f32; 16] = [
    0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
];

/// Sign, 4 bits of exponent (bias 7), 3 of mantissa; no infinities, and one NaN for each sign.
pub(crate) fn e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let magnitude = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * 2.0_f32.powi(exponent - 7),
    };
    if byte & 128 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// The upper half of an f16.
pub(super) fn e5m2(byte: u8) -> f32 {
    f16::from_bits(u16::from(byte) << 8).to_f32()
}

/// `2^(byte - 127)`; 255 is NaN.
pub(super) fn e8m0(byte: u8) -> f32 {
    match byte {
        255 => f32::NAN,
        // 2^-127 is below the smallest normal f32.
        0 => f32::from_bits(1 << 22),
        exponent => f32::from_bits(u32::from(exponent) << 23),
    }
}

/// The values of all 256 bytes.
pub(super) type Table = [f32; 256];

fn table(value: fn(u8) -> f32) -> Table {
    let mut bytes = 0..=u8::MAX;
    std::array::from_fn(|_| bytes.next().map_or(f32::NAN, value))
}

/// The values of a type of 8-bit floats; nothing for other types.
pub(super) fn table_of(dtype: Dtype) -> Option<&'static Table> {
    static E4M3: LazyLock<Table> = LazyLock::new(|| table(e4m3));
    static E5M2: LazyLock<Table> = LazyLock::new(|| table(e5m2));
    static E8M0: LazyLock<Table> = LazyLock::new(|| table(e8m0));
    match dtype {
        Dtype::F8_E4M3 => Some(&E4M3),
        Dtype::F8_E5M2 => Some(&E5M2),
        Dtype::F8_E8M0 => Some(&E8M0),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "tables hold exact values")]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_every_type_are_those_of_its_definition() {
        // The largest, the smallest normal and the smallest of all.
        assert_eq!(
            [e4m3(0x7e), e4m3(0x08), e4m3(0x01)],
            [448.0, 2f32.powi(-6), 2f32.powi(-9)]
        );
        assert_eq!(
            [e5m2(0x7b), e5m2(0x04), e5m2(0x01)],
            [57344.0, 2f32.powi(-14), 2f32.powi(-16)]
        );
        assert_eq!(
            [e8m0(254), e8m0(127), e8m0(0)],
            [2f32.powi(127), 1.0, 2f32.powi(-127)]
        );
        assert_eq!([e4m3(0xb8), e5m2(0xbc)], [-1.0, -1.0]);
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan() && e8m0(255).is_nan());
        assert!(e5m2(0x7c).is_infinite() && e5m2(0x7d).is_nan());
        assert!(e4m3(0x80) == 0.0 && e4m3(0x80).is_sign_negative());
    }
}
