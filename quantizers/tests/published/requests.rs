//! Requests that operators can be compiled for.

use quantizers::nonlinear::{Approximation, Grid, InputForm, Nonlinearity, Request};

/// One scale and no zero point.
pub(crate) fn symmetric(scale: f64, bits: u32) -> Grid {
    Grid {
        scales: vec![scale],
        zero_point: 0,
        low: i32::MIN >> (32 - bits),
        high: i32::MAX >> (32 - bits),
    }
}

/// Codes of 0 to 255.
pub(crate) fn unsigned(scale: f64, zero_point: i32) -> Grid {
    Grid {
        scales: vec![scale],
        zero_point,
        low: 0,
        high: 255,
    }
}

/// What `approximation` is compiled for at input scale `scale`, its input in the form it wants;
/// parameters of channels vary and some are zero.
pub(crate) fn request(approximation: &dyn Approximation, scale: f64, width: usize) -> Request {
    let function = approximation.replaces();
    let mut input = match approximation.input() {
        InputForm::Accumulator => symmetric(scale, 32),
        InputForm::Codes {
            bits,
            symmetric: true,
        } => symmetric(scale, bits),
        InputForm::Codes { .. } | InputForm::PowerOfTwoFactor => unsigned(scale, 117),
    };
    let channels = 0..width;
    match (function, approximation.input()) {
        (Nonlinearity::Gelu, InputForm::Accumulator) => {
            let factor = |channel: usize| 1.0 + (channel % 7) as f64 / 3.0;
            input.scales = channels.map(|channel| scale * factor(channel)).collect();
        }
        (_, InputForm::PowerOfTwoFactor) => {
            let factor = |channel: usize| f64::from(1 << (channel % 4));
            input.scales = channels.map(|channel| scale * factor(channel)).collect();
        }
        _ => {}
    }
    let affine = function == Nonlinearity::LayerNorm;
    let channels = if affine { width } else { 0 };
    let gamma = |channel: usize| match channel % 11 {
        3 => 0.0,
        5 => -0.0,
        7 => -0.8,
        channel => 0.5 + channel as f64 / 8.0,
    };
    Request {
        input,
        output: (function != Nonlinearity::Softmax).then(|| symmetric(0.031, 8)),
        output_bits: 8,
        width,
        gamma: (0..channels).map(gamma).collect(),
        beta: (0..channels)
            .map(|channel| (channel % 5) as f64 / 4.0 - 0.5)
            .collect(),
        epsilon: 1e-5,
        code_variance: affine.then_some(1e10),
    }
}

/// Input scales from the finest to the coarsest a calibrated model has.
pub(crate) fn scales(approximation: &dyn Approximation) -> Vec<f64> {
    match (approximation.replaces(), approximation.input()) {
        (Nonlinearity::Gelu, InputForm::Accumulator) => vec![1e-7, 1e-5, 1e-4, 1e-3, 0.031],
        (Nonlinearity::Softmax, InputForm::Accumulator) => vec![3e-5, 1e-4, 1e-3, 0.0625, 0.4],
        (Nonlinearity::Gelu, _) => vec![0.0046, 0.01, 0.031, 0.063, 0.2],
        (Nonlinearity::Softmax, _) => vec![0.0123, 0.03, 0.065, 0.3],
        _ => vec![1e-4, 0.03],
    }
}
