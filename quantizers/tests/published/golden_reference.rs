//! Golden vectors of third-party formulas.

use crate::golden::{both, cases, integer, list, real, rows, vectors};
use crate::reference::bit_exponential::bit_exponential;
use crate::reference::{PolyGelu, QuantizedFlash};
use quantizers::integer::{Checked, Dyadic, Wrapping};
use std::f64::consts::SQRT_2;

/// Poly-GELU for codes of `scale`.
#[expect(clippy::cast_possible_truncation, reason = "small constants")]
pub(crate) fn poly_gelu(scale: f64) -> PolyGelu {
    PolyGelu {
        argument: Dyadic::of(scale / SQRT_2 * 65536.0),
        a: (-0.019_913_f64 * 65536.0).round() as i64,
        b: (2.698_088_f64 * 65536.0).round() as i64,
    }
}

#[test]
fn iptq_poly_gelu() {
    for case in cases("iptq_polygelu") {
        let kernel = poly_gelu(real(&case["S"]));
        assert_eq!(kernel.argument.multiplier, integer(&case["u_b"]));
        assert_eq!(i64::from(kernel.argument.shift), integer(&case["u_c"]));
        assert_eq!(kernel.a, integer(&case["a_Q16"]));
        assert_eq!(kernel.b, integer(&case["b_Q16"]));
        let q = list(&case["q"]);
        let found = both!(|a| q.iter().map(|q| kernel.product(a, *q)).collect::<Vec<_>>());
        assert_eq!(found, list(&case["out"]));
    }
}

#[test]
fn iptq_bit_exponential() {
    let case = vectors("iptq_bitexp_thirdparty");
    let scale = Dyadic::of(real(&case["S"]) * 65536.0);
    let scale = scale.apply(&Wrapping, 1, quantizers::integer::Rounding::HalfEven);
    let q = list(&case["q"]);
    let found = both!(|a| q
        .iter()
        .map(|q| bit_exponential(a, *q, scale))
        .collect::<Vec<_>>());
    assert_eq!(found, list(&case["out_Q16"]));
}

#[test]
fn qflash_attention() {
    let case = vectors("qflash");
    let (queries, keys, values) = (rows(&case["Q"]), rows(&case["K"]), rows(&case["V"]));
    let kernel = QuantizedFlash {
        one: integer(&case["R"]),
        reciprocal: integer(&case["exp_M"]),
        to_probability: integer(&case["req_M"]),
        to_factor: integer(&case["l_M"]),
        tile: usize::try_from(integer(&case["BLOCK_N"])).unwrap(),
        head_dim: keys[0].len(),
    };
    let (keys, values) = (keys.concat(), values.concat());
    let (acc, out) = (rows(&case["acc"]), rows(&case["out_trunc"]));
    let totals = list(&case["l"]);
    for (index, query) in queries.iter().enumerate() {
        let found = both!(|a| kernel.attend(a, query, &keys, &values));
        let wide = |row: &[i32]| row.iter().map(|v| i64::from(*v)).collect::<Vec<_>>();
        assert_eq!(found.weighted, wide(&acc[index]));
        assert_eq!(found.total, totals[index]);
        assert_eq!(found.codes(), wide(&out[index]));
    }
}
