//! Scales and shapes that published operators cannot be compiled for, and what they say.

use crate::requests::{request, symmetric, unsigned};
use quantizers::nonlinear::i_bert::gelu::{Gelu, SAFE, ShiftRule};
use quantizers::nonlinear::{Approximation, Nonlinearity, Request, find, fq_vit, i_bert, i_vit};

fn refused(approximation: &dyn Approximation, request: &Request) -> String {
    approximation.compile(request).unwrap_err().to_string()
}

#[test]
fn the_published_shift_needs_a_fine_scale() {
    let published = Gelu {
        rule: ShiftRule::Published,
    };
    let mut fine = request(&published, 1e-4, 1);
    fine.input = symmetric(1e-4, 18);
    assert!(published.compile(&fine).is_ok());
    let mut coarse = fine.clone();
    coarse.input = symmetric(4.0 / 127.0, 8);
    let message = refused(&published, &coarse);
    assert!(
        message.contains("8 bits of erf after the shift by 14, found 0.0314"),
        "{message}"
    );
    assert!(SAFE.compile(&coarse).is_ok());
}

#[test]
fn scales_whose_products_overflow_are_refused() {
    let message = refused(&SAFE, &request(&SAFE, 1e-10, 1));
    assert!(
        message.contains("expected clipped value of i-GELU within 33 bits"),
        "{message}"
    );
    let softmax = i_bert::softmax::Softmax;
    let message = refused(&softmax, &request(&softmax, 2e-5, 8));
    assert!(
        message.contains("polynomial of i-exp within 33 bits"),
        "{message}"
    );
    let message = refused(&softmax, &request(&softmax, 0.7, 8));
    assert!(message.contains("at most 0.6931, found 0.7"), "{message}");
    let lis = fq_vit::softmax::Softmax;
    let message = refused(&lis, &request(&lis, 1e-4, 512));
    assert!(
        message.contains("sum of log-int-softmax within 63 bits"),
        "{message}"
    );
}

#[test]
fn i_vit_needs_coarse_scales() {
    let gelu = i_vit::gelu::Gelu;
    let message = refused(&gelu, &request(&gelu, 1e-4, 24));
    assert!(message.contains("scale of at least 0.0078125"), "{message}");
    let softmax = i_vit::softmax::Softmax;
    let message = refused(&softmax, &request(&softmax, 2e-5, 8));
    assert!(message.contains("2^15 / S fits 30 bits"), "{message}");
    // 66 000 equal scores would sum to more than 2^31 - 1 and be clamped.
    assert!(softmax.compile(&request(&softmax, 0.5, 32_000)).is_ok());
    let message = refused(&softmax, &request(&softmax, 0.5, 33_000));
    assert!(
        message.contains("sum of Shiftmax within 32 bits"),
        "{message}"
    );
}

#[test]
fn wrong_forms_are_refused() {
    let layernorm = i_bert::layernorm::LayerNorm;
    let mut asymmetric = request(&layernorm, 0.01, 8);
    asymmetric.input = unsigned(0.01, 3);
    let message = refused(&layernorm, &asymmetric);
    assert!(
        message.contains("expected an input zero point of 0, found 3"),
        "{message}"
    );
    let mut short = request(&layernorm, 0.01, 8);
    short.gamma.pop();
    let message = refused(&layernorm, &short);
    assert!(
        message.contains("expected 8 values of gamma, found 7"),
        "{message}"
    );
    let mut wide = request(&layernorm, 0.01, 8);
    wide.input = symmetric(0.01, 26);
    let message = refused(&layernorm, &wide);
    assert!(
        message.contains("centred value within 24 bits"),
        "{message}"
    );
    let quantized = fq_vit::layernorm::LayerNorm;
    let mut uneven = request(&quantized, 0.01, 8);
    uneven.input.scales[3] = 0.03;
    let message = refused(&quantized, &uneven);
    assert!(
        message.contains("scales of 0.01 times 2^0 to 2^7, found 0.03"),
        "{message}"
    );
    let softmax = i_vit::softmax::Softmax;
    let mut bits = request(&softmax, 0.0625, 8);
    bits.output_bits = 6;
    let message = refused(&softmax, &bits);
    assert!(
        message.contains("expected 8 or 16 output bits, found 6"),
        "{message}"
    );
}

#[test]
fn families_are_found_by_function() {
    for family in ["i-bert", "i-vit", "fq-vit"] {
        for function in [Nonlinearity::Softmax, Nonlinearity::LayerNorm] {
            assert!(find(function, family).is_some());
        }
    }
    assert!(find(Nonlinearity::Gelu, "i-bert").is_some());
    assert!(find(Nonlinearity::Gelu, "i-vit").is_some());
    assert!(find(Nonlinearity::Gelu, "fq-vit").is_none());
}
