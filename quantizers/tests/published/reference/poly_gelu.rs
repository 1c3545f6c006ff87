//! Poly-GELU of IPTQ-ViT (arXiv 2511.15369): the error function by a clipped fourth power.

use quantizers::integer::{Arithmetic, Dyadic, Rounding};

/// `erf(u) = sign(u) (a (min(|u|, b) - b)^4 + 1)` with 16 fraction bits:
///
/// ```text
/// u  = round(|q| S 2^16 / sqrt 2), half up       t = min(u, b) - b
/// z2 = floor(t^2 / 2^16)    z4 = floor(z2^2 / 2^16)    p = floor(z4 a / 2^16) + 2^16
/// g  = q (2^16 + sign(q) p), scale S / 2^17
/// ```
///
/// Widths for 32-bit `q`: 63 bits for `|q| u_b`, 19 for `t`, 39 for `t^2` and `z2^2`, 50 for `g`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolyGelu {
    /// `S 2^16 / sqrt 2`.
    pub(crate) argument: Dyadic,
    /// `round(-0.019913 2^16)`.
    pub(crate) a: i64,
    /// `round(2.698088 2^16)`.
    pub(crate) b: i64,
}

/// Fraction bits.
const FRACTION: u32 = 16;

impl PolyGelu {
    /// `g` of a code.
    pub(crate) fn product<A: Arithmetic>(&self, arithmetic: &A, q: i64) -> i64 {
        let u = self.argument.apply(arithmetic, q.abs(), Rounding::HalfUp);
        let t = arithmetic.declared(arithmetic.sub(u.min(self.b), self.b), 19);
        let square = |value: i64| {
            let product = arithmetic.declared(arithmetic.mul(value, value), 39);
            arithmetic.shr(product, FRACTION)
        };
        let scaled = arithmetic.shr(arithmetic.mul(square(square(t)), self.a), FRACTION);
        let p = arithmetic.add(scaled, 1 << FRACTION);
        let erf = arithmetic.mul(q.signum(), p);
        let product = arithmetic.mul(q, arithmetic.add(1 << FRACTION, erf));
        arithmetic.declared(product, 50)
    }
}
