//! 16-bit floats as 32-bit ones, in a loop the compiler can vectorise.

use half::f16;
use multiversion::multiversion;

/// Bits of the fraction that a 32-bit float has more.
const SHIFT: u32 = 13;
/// 2^112: the difference of the two biases of exponents.
const BIAS: f32 = f32::from_bits((127 + 112) << 23);

/// Finite `halves` as they are, subnormal ones too.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn widen(halves: &[f16], out: &mut [f32]) {
    for (half, out) in halves.iter().zip(out) {
        let bits = u32::from(half.to_bits());
        let magnitude = f32::from_bits((bits & 0x7fff) << SHIFT) * BIAS;
        *out = f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_is_what_it_was() {
        let halves: Vec<f16> = (0..=u16::MAX)
            .map(f16::from_bits)
            .filter(|half| half.is_finite())
            .collect();
        let mut wide = vec![0.0; halves.len()];
        widen(&halves, &mut wide);
        for (half, wide) in halves.iter().zip(&wide) {
            assert_eq!(half.to_f32().to_bits(), wide.to_bits(), "{half}");
        }
    }
}
