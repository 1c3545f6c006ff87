//! Measured errors of GELU, to every digit of the tables.

use crate::golden::{both, identity};
use crate::golden_reference::poly_gelu;
use crate::golden_rows::run;
use crate::sqnr::{Errors, byte_scale, scaled, signed_bytes};
use quantizers::integer::kernels::i_bert::Gelu;
use quantizers::integer::kernels::i_vit::Gelu as ShiftGelu;
use quantizers::integer::{Checked, Wrapping};
use quantizers::nonlinear::i_bert::gelu::Constants;
use quantizers::nonlinear::{Approximation, Grid, Request, i_bert, i_vit};
use std::f64::consts::{PI, SQRT_2};

/// `erf` by its series of positive terms.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > sum.abs() * 1e-18 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

fn gelu(x: f64) -> f64 {
    x / 2.0 * (1.0 + erf(x / SQRT_2))
}

/// GELU inputs and what they should give.
fn gelu_inputs(name: &str) -> (Vec<i32>, f64, Vec<f64>) {
    let (codes, scale): (Vec<i32>, f64) = match name {
        "G8a" => ((-128..128).collect(), 4.0 / 127.0),
        "G8b" => ((-128..128).collect(), 8.0 / 127.0),
        _ => ((-60_000..=60_000).step_by(13).collect(), 1e-4),
    };
    let reference = codes.iter().map(|q| gelu(f64::from(*q) * scale)).collect();
    (codes, scale, reference)
}

/// A request to compile for signed bytes that hold `reference`.
fn gelu_request(scale: f64, codes: &[i32], reference: &[f64]) -> Request {
    let grid = |scale, low, high| Grid {
        scales: vec![scale],
        zero_point: 0,
        low,
        high,
    };
    Request {
        input: grid(scale, codes[0], codes[codes.len() - 1]),
        output: Some(grid(byte_scale(reference), -128, 127)),
        output_bits: 8,
        width: codes.len(),
        gamma: Vec::new(),
        beta: Vec::new(),
        epsilon: 0.0,
        code_variance: None,
    }
}

/// What the compiled operation gives, of 8-bit outputs, as the tables round it.
fn compiled_gelu(name: &str, approximation: &dyn Approximation) -> String {
    let (codes, scale, reference) = gelu_inputs(name);
    let request = gelu_request(scale, &codes, &reference);
    let compiled = approximation.compile(&request).unwrap();
    let found = run(&*compiled.kernel, &codes);
    let values: Vec<f64> = found.iter().map(|q| compiled.output.value(*q, 0)).collect();
    Errors::of(&reference, &values).row()
}

/// Values of i-GELU's product before it is requantized.
fn i_gelu(name: &str, constants: impl Fn(f64) -> Constants) -> Vec<f64> {
    let (codes, scale, _) = gelu_inputs(name);
    let constants = constants(scale);
    let kernel = Gelu {
        q_b: vec![constants.q_b],
        q_c: vec![constants.q_c],
        q_one: vec![constants.q_one],
        shift: vec![constants.shift],
        requantization: identity(),
    };
    let products = both!(|a| {
        let products = codes.iter().map(|q| kernel.product(a, i64::from(*q), 0));
        products.collect::<Vec<_>>()
    });
    scaled(&products, constants.output_scale)
}

/// Values of `ShiftGELU` before they are requantized.
fn shift_gelu(name: &str) -> Vec<f64> {
    let (codes, scale, _) = gelu_inputs(name);
    let kernel = ShiftGelu {
        exponential: i_vit::shift_exponential(1.702 * scale, i_vit::gelu::OCTAVES),
        requantization: identity(),
    };
    let products = both!(|a| {
        let row = kernel.maximum(a, &codes);
        let products = codes.iter().map(|q| kernel.product(a, *q, row));
        products.collect::<Vec<_>>()
    });
    scaled(&products, scale / 128.0)
}

fn fourth_power_gelu(name: &str) -> Vec<f64> {
    let (codes, scale, _) = gelu_inputs(name);
    let kernel = poly_gelu(scale);
    let products = both!(|a| {
        let products = codes.iter().map(|q| kernel.product(a, i64::from(*q)));
        products.collect::<Vec<_>>()
    });
    scaled(&products, scale / 131_072.0)
}

fn raw(name: &str, values: &[f64]) -> String {
    Errors::of(&gelu_inputs(name).2, values).row()
}

/// Errors of real outputs rounded to signed bytes.
fn bytes(name: &str, values: &[f64]) -> Errors {
    let (_, _, reference) = gelu_inputs(name);
    Errors::of(&reference, &signed_bytes(&reference, values))
}

#[test]
fn i_bert() {
    let unshifted = |name| i_gelu(name, |scale| Constants::new(scale, 0));
    let shifted = |name| i_gelu(name, |scale| Constants::new(scale, 14));
    assert_eq!(raw("G8a", &unshifted("G8a")), "1.726e-2/6.658e-3/45.69");
    assert_eq!(
        bytes("G8a", &unshifted("G8a")).row(),
        "3.022e-2/8.151e-3/43.36"
    );
    assert_eq!(
        bytes("G8b", &unshifted("G8b")).row(),
        "3.912e-2/6.891e-3/48.14"
    );
    assert_eq!(raw("G32", &unshifted("G32")), "1.815e-2/4.318e-3/51.25");
    assert_eq!(raw("G32", &shifted("G32")), "1.819e-2/4.340e-3/51.25");
    // Coarse scales, where the published shift leaves nothing of the error function.
    assert_eq!(raw("G8a", &shifted("G8a")), "5.388e0/2.539e0/-5.19");
    assert_eq!(bytes("G8a", &shifted("G8a")).decibels(), "-2.28");
    assert_eq!(bytes("G8b", &shifted("G8b")).decibels(), "-5.34");
}

#[test]
fn compiled_i_bert_gives_the_bytes_of_the_table() {
    let found = ["G8a", "G8b"].map(|name| compiled_gelu(name, &i_bert::gelu::SAFE));
    assert_eq!(
        found,
        ["3.022e-2/8.151e-3/43.36", "3.912e-2/6.891e-3/48.14"]
    );
}

#[test]
fn the_shift_rule_is_the_published_one_at_fine_scales() {
    let rule = Constants::sixteen_bits;
    assert_eq!(rule(1e-4), Constants::new(1e-4, 14));
    assert_eq!(rule(4.0 / 127.0), Constants::new(4.0 / 127.0, 0));
    assert_eq!(raw("G32", &i_gelu("G32", rule)), "1.819e-2/4.340e-3/51.25");
}

#[test]
fn i_vit_of_bytes() {
    assert_eq!(raw("G8a", &shift_gelu("G8a")), "2.479e-1/2.149e-2/32.42");
    assert_eq!(
        bytes("G8a", &shift_gelu("G8a")).row(),
        "2.519e-1/2.357e-2/32.17"
    );
    assert_eq!(
        bytes("G8b", &shift_gelu("G8b")).row(),
        "3.150e-1/8.733e-2/29.08"
    );
    assert_eq!(
        compiled_gelu("G8a", &i_vit::gelu::Gelu),
        "2.519e-1/2.357e-2/32.17"
    );
    // The output scale is so near the input's that products of 64 modulo 128 are ties of the dyadic
    // factor, which go to the even code, while the real quotient is a hair beside them.
    assert_eq!(
        compiled_gelu("G8b", &i_vit::gelu::Gelu),
        "3.150e-1/8.731e-2/29.10"
    );
}

#[test]
fn iptq() {
    let values = fourth_power_gelu;
    assert_eq!(raw("G8a", &values("G8a")), "9.296e-3/3.250e-3/51.28");
    assert_eq!(
        bytes("G8a", &values("G8a")).row(),
        "2.246e-2/6.754e-3/45.32"
    );
    assert_eq!(
        bytes("G8b", &values("G8b")).row(),
        "3.652e-2/6.647e-3/48.56"
    );
    assert_eq!(raw("G32", &values("G32")), "9.302e-3/2.188e-3/56.58");
}
