//! Bit-exp of IPTQ-ViT (arXiv 2511.15369), as a third party transcribed it.

use quantizers::integer::Arithmetic;

/// `exp(S q)` for `q <= 0` with 16 fraction bits; `scale` is `floor(S 2^16)`.
///
/// ```text
/// q1 = q + floor(q/2) - floor(q/16)    t = q1 scale    z = floor(-t / 2^16)    r = t + z 2^16, in (-1, 0]
/// e  = floor((2^16 + floor(r/2) + floor(r/8) + floor(r/16)) / 2^z)
/// ```
///
/// The largest error, 0.14 to 0.19, is far above that of its ancestors: `1 + 0.6875 r` is 0.31 at the
/// end of an octave where one half is due. The range of `r` was probably lost in transcription.
///
/// Widths: 34 bits for `q1`, 64 for `t`, 18 for the mantissa.
pub(crate) fn bit_exponential<A: Arithmetic>(arithmetic: &A, q: i64, scale: i64) -> i64 {
    let tail = arithmetic.sub(arithmetic.shr(q, 1), arithmetic.shr(q, 4));
    let q = arithmetic.declared(arithmetic.add(q, tail), 34);
    let t = arithmetic.mul(q, scale);
    let octave = arithmetic.shr(arithmetic.sub(0, t), 16);
    let rest = arithmetic.add(t, arithmetic.shl(octave, 16));
    let mantissa = [1, 3, 4].iter().fold(1 << 16, |sum, bits| {
        arithmetic.add(sum, arithmetic.shr(rest, *bits))
    });
    let mantissa = arithmetic.declared(mantissa, 18);
    arithmetic.shr(mantissa, u32::try_from(octave.clamp(0, 63)).unwrap_or(63))
}
