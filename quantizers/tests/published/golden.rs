//! Scalar golden vectors: dyadic factors, requantization, square roots, GELU, exponentials.

use quantizers::integer::dyadic::Rounding;
use quantizers::integer::kernels::fq_vit::layernorm::leading_eight;
use quantizers::integer::kernels::i_bert::Gelu;
use quantizers::integer::kernels::i_vit::ShiftExponential;
use quantizers::integer::kernels::{EvenRequantization, i_vit};
use quantizers::integer::square_root::{newton, ten_steps};
use quantizers::integer::{Checked, Dyadic, Wrapping};
use quantizers::nonlinear::{i_bert, i_vit as compile_i_vit};
use serde_json::Value;
use std::sync::LazyLock;

static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../golden/integer-ops.json");
    serde_json::from_str(text).unwrap()
});

/// The vectors of one operation.
pub(crate) fn vectors(operation: &str) -> &'static Value {
    &VECTORS["ops"][operation]
}

/// Its cases, of which there must be some.
pub(crate) fn cases(operation: &str) -> &'static [Value] {
    let cases = vectors(operation)["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    cases
}

pub(crate) fn list(value: &Value) -> Vec<i64> {
    let list: Vec<i64> = serde_json::from_value(value.clone()).unwrap();
    assert!(!list.is_empty());
    list
}

pub(crate) fn row(value: &Value) -> Vec<i32> {
    serde_json::from_value(value.clone()).unwrap()
}

pub(crate) fn rows(value: &Value) -> Vec<Vec<i32>> {
    let rows: Vec<Vec<i32>> = serde_json::from_value(value.clone()).unwrap();
    assert!(!rows.is_empty());
    rows
}

pub(crate) fn integer(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

/// A real constant, written with as many digits as it needs.
pub(crate) fn real(value: &Value) -> f64 {
    value["dec"].as_str().unwrap().parse().unwrap()
}

/// What an expression gives in both arithmetics, which must agree without a fault.
macro_rules! both {
    (|$arithmetic:ident| $body:expr) => {{
        let fast = {
            let $arithmetic = &Wrapping;
            $body
        };
        let checked = Checked::default();
        let slow = {
            let $arithmetic = &checked;
            $body
        };
        assert_eq!(fast, slow);
        assert_eq!(checked.outcome(), Ok(()));
        fast
    }};
}
pub(crate) use both;

/// A last step that changes nothing.
pub(crate) fn identity() -> EvenRequantization {
    EvenRequantization {
        multipliers: vec![1 << 30],
        shifts: vec![30],
        offsets: vec![0],
        wide: true,
        low: i32::MIN,
        high: i32::MAX,
    }
}

fn stored(case: &Value, multiplier: &str, shift: &str) -> Dyadic {
    Dyadic {
        multiplier: integer(&case[multiplier]),
        shift: i32::try_from(integer(&case[shift])).unwrap(),
    }
}

#[test]
fn dyadic() {
    for case in cases("dyadic") {
        assert_eq!(Dyadic::of(real(&case["m"])), stored(case, "b", "c"));
        assert_eq!(Dyadic::of_wide(real(&case["m"])), stored(case, "b", "c"));
    }
}

#[test]
fn requantization() {
    for case in cases("requant_half_even") {
        let factor = stored(case, "b", "c");
        assert_eq!(Dyadic::of(real(&case["m"])), factor);
        for wide in [false, true] {
            for (bits, expected) in [(8, "out"), (16, "out16")] {
                let Some(expected) = case.get(expected) else {
                    continue;
                };
                let last = EvenRequantization {
                    multipliers: vec![factor.multiplier],
                    shifts: vec![factor.shift],
                    wide,
                    low: -(1 << (bits - 1)),
                    high: (1 << (bits - 1)) - 1,
                    ..identity()
                };
                let q = list(&case["q"]);
                let found = both!(|a| q.iter().map(|q| last.code(a, *q, 0)).collect::<Vec<_>>());
                assert_eq!(found, row(expected), "{bits} bits");
            }
        }
    }
}

#[test]
fn residual_addition() {
    let case = vectors("residual_add");
    let output = real(&case["S_out"]);
    let factors = ["S1", "S2"].map(|scale| Dyadic::of(real(&case[scale]) / output));
    assert_eq!(
        factors,
        [stored(case, "b1", "c1"), stored(case, "b2", "c2")]
    );
    let (first, second) = (list(&case["q1"]), list(&case["q2"]));
    let sums = both!(|a| {
        let pairs = first.iter().zip(&second);
        let sums = pairs.map(|(q1, q2)| {
            let branches = [(factors[0], *q1), (factors[1], *q2)];
            let rounded = branches.map(|(factor, q)| factor.apply(a, q, Rounding::HalfEven));
            (rounded[0] + rounded[1]).clamp(-128, 127)
        });
        sums.collect::<Vec<_>>()
    });
    assert_eq!(sums, list(&case["out8"]));
}

#[test]
fn square_roots_and_their_steps() {
    let case = vectors("isqrt");
    let n = list(&case["n"]);
    let found = both!(|a| n.iter().map(|n| newton(a, *n)).collect::<Vec<_>>());
    let (roots, steps): (Vec<i64>, Vec<i64>) = found
        .into_iter()
        .map(|(root, steps)| (root, i64::from(steps)))
        .unzip();
    assert_eq!(roots, list(&case["out"]));
    assert_eq!(steps, list(&case["iters"]));
    let ten = both!(|a| n.iter().map(|n| ten_steps(a, *n)).collect::<Vec<_>>());
    assert_eq!(ten, list(&case["ivit_10iter"]));
}

#[test]
#[expect(clippy::float_cmp, reason = "the same operations in the same order")]
fn i_bert_gelu() {
    for case in cases("ibert_gelu") {
        let shift = u32::try_from(integer(&case["shift"])).unwrap();
        let constants = i_bert::gelu::Constants::new(real(&case["S"]), shift);
        for (found, name) in [
            (constants.q_b, "q_b"),
            (constants.q_c, "q_c"),
            (constants.q_one, "q_one"),
        ] {
            assert_eq!(found, integer(&case[name]), "{name}");
        }
        assert_eq!(constants.output_scale, real(&case["S_out"]));
        let kernel = Gelu {
            q_b: vec![constants.q_b],
            q_c: vec![constants.q_c],
            q_one: vec![constants.q_one],
            shift: vec![shift],
            requantization: identity(),
        };
        let q = list(&case["q"]);
        let found = both!(|a| q
            .iter()
            .map(|q| kernel.product(a, *q, 0))
            .collect::<Vec<_>>());
        assert_eq!(found, list(&case["out"]));
    }
}

#[test]
#[expect(clippy::float_cmp, reason = "the same operations in the same order")]
fn i_bert_exponential() {
    for case in cases("ibert_exp") {
        let scale = real(&case["S"]);
        let exponential = i_bert::exponential(scale);
        assert_eq!(exponential.q_ln2, integer(&case["q_ln2"]));
        assert_eq!(exponential.q_b, integer(&case["q_b"]));
        assert_eq!(exponential.q_c, integer(&case["q_c"]));
        assert_eq!(i_bert::exponential_scale(scale), real(&case["S_out"]));
        let q = list(&case["q"]);
        let found = both!(|a| q
            .iter()
            .map(|q| exponential.value(a, *q))
            .collect::<Vec<_>>());
        assert_eq!(found, list(&case["out"]));
    }
}

#[test]
fn i_vit_shift_exponential() {
    for case in cases("ivit_shiftexp") {
        for (octaves, expected) in [(15, "n15"), (23, "n23")] {
            let exponential = compile_i_vit::shift_exponential(real(&case["S"]), octaves);
            assert_eq!(exponential.x0, integer(&case["x0"]));
            let q = list(&case["q"]);
            let found = both!(|a| q
                .iter()
                .map(|q| exponential.value(a, *q))
                .collect::<Vec<_>>());
            assert_eq!(found, list(&case[expected]));
        }
    }
}

#[test]
fn i_vit_gelu() {
    for case in cases("ivit_shiftgelu") {
        let octaves = u32::try_from(integer(&vectors("ivit_shiftgelu")["n"])).unwrap();
        assert_eq!(octaves, compile_i_vit::gelu::OCTAVES);
        let exponential = compile_i_vit::shift_exponential(1.702 * real(&case["S"]), octaves);
        let x0 = integer(&case["x0_sig"]);
        assert_eq!(exponential, ShiftExponential { x0, octaves });
        let kernel = i_vit::Gelu {
            exponential,
            requantization: identity(),
        };
        for (input, expected) in rows(&case["rows"]).iter().zip(rows(&case["out8"])) {
            let found = both!(|a| {
                let row = kernel.maximum(a, input);
                let products = input.iter().map(|q| kernel.product(a, *q, row));
                products.collect::<Vec<_>>()
            });
            let expected: Vec<i64> = expected.into_iter().map(i64::from).collect();
            assert_eq!(found, expected);
        }
        let output = real(&case["S"]) / 128.0;
        assert!((output - real(&case["S_out8"])).abs() < 1e-18);
    }
}

#[test]
fn fq_vit_leading_eight_bits() {
    let case = vectors("fqvit_MN");
    let x: Vec<f64> = serde_json::from_value(case["x"].clone()).unwrap();
    let found = both!(|a| {
        let factors = x.iter().map(|x| Dyadic::of(*x));
        let pairs = factors.map(|f| leading_eight(a, f.multiplier, f.shift));
        pairs.map(|(m, n)| (m, i64::from(n))).collect::<Vec<_>>()
    });
    let expected: Vec<(i64, i64)> = list(&case["M"]).into_iter().zip(list(&case["N"])).collect();
    assert_eq!(found, expected);
}
