//! Measured errors of exponentials, to every digit of the tables.

use crate::golden::both;
use crate::reference::QuantizedFlash;
use crate::reference::bit_exponential::bit_exponential;
use crate::sqnr::{Errors, bytes, scaled};
use quantizers::integer::{Checked, Wrapping};
use quantizers::nonlinear::{i_bert, i_vit};
use std::f64::consts::LOG2_E;

/// `exp` inputs: codes and scale.
fn exponents(name: &str) -> (Vec<i64>, f64) {
    match name {
        "E8a" => ((-255..=0).collect(), 1.0 / 16.0),
        "E8b" => ((-255..=0).collect(), 1.0 / 32.0),
        _ => ((-160_000..=0).step_by(7).collect(), 1e-4),
    }
}

/// Errors of `exp` computed by `op(code, scale)`: raw, or rounded to bytes.
fn exp_errors(name: &str, rounded: bool, op: impl Fn(&[i64], f64) -> Vec<f64>) -> Errors {
    let (codes, scale) = exponents(name);
    let reference: Vec<f64> = codes.iter().map(|q| (*q as f64 * scale).exp()).collect();
    let found = op(&codes, scale);
    Errors::of(&reference, &if rounded { bytes(&found) } else { found })
}

fn exp_rows(op: impl Fn(&[i64], f64) -> Vec<f64>) -> [String; 4] {
    [("E8a", false), ("E8a", true), ("E8b", true), ("E32", false)]
        .map(|(name, rounded)| exp_errors(name, rounded, &op).row())
}

#[test]
fn i_bert_exponential() {
    let found = exp_rows(|q, scale| {
        let op = i_bert::exponential(scale);
        let values = both!(|a| q.iter().map(|q| op.value(a, *q)).collect::<Vec<_>>());
        scaled(&values, i_bert::exponential_scale(scale))
    });
    let expected = [
        "2.709e-2/3.694e-3/27.67",
        "2.785e-2/3.739e-3/27.67",
        "1.391e-2/3.827e-3/33.62",
        "1.914e-3/1.073e-4/54.60",
    ];
    assert_eq!(found, expected);
}

#[test]
fn i_vit_shift_exponential() {
    let found = exp_rows(|q, scale| {
        let op = i_vit::shift_exponential(scale, 15);
        let values = both!(|a| q.iter().map(|q| op.value(a, *q)).collect::<Vec<_>>());
        scaled(&values, scale / 32768.0)
    });
    let expected = [
        "6.495e-2/3.502e-3/24.72",
        "6.434e-2/3.725e-3/24.71",
        "4.878e-2/6.500e-3/26.20",
        "4.393e-2/2.727e-3/27.02",
    ];
    assert_eq!(found, expected);
}

#[test]
fn iptq_bit_exponential() {
    let found = exp_rows(|q, scale| {
        #[expect(clippy::cast_possible_truncation, reason = "a small constant")]
        let fixed = (scale * 65536.0).floor() as i64;
        let values = both!(|a| q
            .iter()
            .map(|q| bit_exponential(a, *q, fixed))
            .collect::<Vec<_>>());
        scaled(&values, 1.0 / 65536.0)
    });
    let expected = [
        "1.368e-1/4.683e-3/20.69",
        "1.353e-1/4.878e-3/20.70",
        "1.695e-1/1.093e-2/19.16",
        "1.551e-1/5.685e-3/20.49",
    ];
    assert_eq!(found, expected);
}

#[test]
fn qflash_exponential() {
    let found = exp_rows(|q, scale| {
        let factor = scale * LOG2_E;
        #[expect(clippy::cast_possible_truncation, reason = "small constants")]
        let (one, reciprocal) = (
            (1.0 / factor).round() as i64,
            (-factor * 65536.0).round() as i64,
        );
        let op = QuantizedFlash {
            one,
            reciprocal,
            to_probability: 0,
            to_factor: 0,
            tile: 1,
            head_dim: 1,
        };
        let values = both!(|a| q.iter().map(|q| op.power(a, *q)).collect::<Vec<_>>());
        scaled(&values, 1.0 / one as f64)
    });
    let expected = [
        "8.208e-2/9.495e-3/19.20",
        "8.208e-2/9.524e-3/19.18",
        "4.259e-2/1.161e-2/23.80",
        "4.302e-2/2.543e-3/27.40",
    ];
    assert_eq!(found, expected);
}
