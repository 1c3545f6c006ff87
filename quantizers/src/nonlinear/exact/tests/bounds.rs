//! Every operator against the best its output grid allows: the real function, rounded.

use super::samples::{
    compiled, generator, largest, normal, normals, quantized, request, run, sqnr_db, symmetric,
    values,
};
use crate::integer::Wrapping;
use crate::integer::kernels::exact::exponential::DEGREE_3;
use crate::integer::kernels::exact::{Norm, Segments};
use crate::nonlinear::exact::exponential::exponential;
use crate::nonlinear::exact::functions::{gelu, gelu_tanh, relu, silu};
use crate::nonlinear::{Grid, Nonlinearity, Request};
use rand::RngExt;

/// An operator is at its bound when it is within this of it.
const WITHIN_DB: f64 = 0.01;

/// SQNR of the best codes.
fn bound_db(reference: &[f64], grid: &Grid) -> f64 {
    sqnr_db(reference, &values(&quantized(reference, grid), grid))
}

#[test]
fn exponentials_of_8_bits() {
    for (steps, expected) in [(16.0, 46.85), (32.0, 46.94)] {
        let kernel = exponential(1.0 / steps, &DEGREE_3).unwrap();
        let reference: Vec<f64> = (0..256).map(|d| (-f64::from(d) / steps).exp()).collect();
        let found: Vec<f64> = (0..256)
            .map(|d| (kernel.compute(&Wrapping, d) * 255 + (1 << 29)) >> 30)
            .map(|code| code as f64 / 255.0)
            .collect();
        let best: Vec<f64> = reference
            .iter()
            .map(|e| (e * 255.0).round() / 255.0)
            .collect();
        let (found, best) = (sqnr_db(&reference, &found), sqnr_db(&reference, &best));
        assert!((found - best).abs() < WITHIN_DB, "{found} {best}");
        assert!((found - expected).abs() < WITHIN_DB, "{found} {expected}");
    }
}

/// A table kernel and a segment kernel of one function on all 8-bit codes.
fn elementwise(function: Nonlinearity, exact: fn(f64) -> f64, reach: f64) -> f64 {
    let input = symmetric(reach, 8);
    let inputs: Vec<i32> = (-128..=127).collect();
    let reference: Vec<f64> = values(&inputs, &input).into_iter().map(exact).collect();
    let output = symmetric(largest(&reference), 8);
    let best = bound_db(&reference, &output);
    // The same scale with more codes than a table has.
    let wide = Grid {
        low: -32768,
        high: 32767,
        ..input.clone()
    };
    for (grid, table) in [(input, true), (wide, false)] {
        let compiled = compiled(function, &request(grid, Some(output.clone()), 1));
        assert_eq!(compiled.kernel.table().is_some(), table);
        let found = values(&run(&compiled, &inputs), &output);
        let found = sqnr_db(&reference, &found);
        assert!(
            (found - best).abs() < WITHIN_DB,
            "{function:?} {found} {best}"
        );
    }
    best
}

#[test]
fn elementwise_functions_of_8_bits() {
    let near = elementwise(Nonlinearity::Gelu, gelu, 4.0);
    let far = elementwise(Nonlinearity::Gelu, gelu, 8.0);
    assert!((near - 46.11).abs() < WITHIN_DB, "{near}");
    assert!((far - 49.01).abs() < WITHIN_DB, "{far}");
    for reach in [2.0, 8.0, 16.0] {
        elementwise(Nonlinearity::Silu, silu, reach);
        elementwise(Nonlinearity::GeluTanh, gelu_tanh, reach);
        elementwise(Nonlinearity::Tanh, f64::tanh, reach);
    }
}

#[test]
fn relu_is_rounded_once() {
    for bits in [8, 12, 16] {
        let input = symmetric(4.0, bits);
        // Coarser by 11/10: no code is halfway between two.
        let output = Grid {
            scales: vec![input.scales[0] * 1.1],
            zero_point: -7,
            ..input.clone()
        };
        let inputs: Vec<i32> = (input.low..=input.high).collect();
        let reference: Vec<f64> = values(&inputs, &input).into_iter().map(relu).collect();
        let request = request(input, Some(output.clone()), 1);
        let compiled = compiled(Nonlinearity::Relu, &request);
        assert_eq!(compiled.kernel.table().is_some(), bits <= 12);
        let found: Vec<i32> = inputs
            .chunks(1)
            .flat_map(|code| run(&compiled, code))
            .collect();
        assert_eq!(found, quantized(&reference, &output), "{bits} bits");
    }
}

#[test]
fn asymmetric_grids_are_rounded_correctly() {
    let input = Grid {
        scales: vec![0.031],
        zero_point: 90,
        low: 0,
        high: 255,
    };
    let output = Grid {
        scales: vec![0.021],
        zero_point: 9,
        low: 0,
        high: 255,
    };
    let inputs: Vec<i32> = (0..=255).collect();
    let reference: Vec<f64> = values(&inputs, &input).into_iter().map(gelu).collect();
    let request = request(input, Some(output.clone()), 1);
    let found = run(&compiled(Nonlinearity::Gelu, &request), &inputs);
    assert_eq!(found, quantized(&reference, &output));
}

#[test]
fn wide_inputs_before_the_output_grid() {
    // Accumulators of a scale per channel: the second is that of the first, doubled.
    let cases = [
        (Nonlinearity::Gelu, gelu as fn(f64) -> f64, 100.0),
        (Nonlinearity::Silu, silu, 100.0),
        (Nonlinearity::Tanh, f64::tanh, 90.0),
    ];
    for (function, exact, least) in cases {
        let input = Grid {
            scales: vec![1e-4, 2e-4],
            zero_point: 0,
            low: i32::MIN,
            high: i32::MAX,
        };
        let request = request(input, Some(symmetric(6.0, 16)), 2);
        let compiled = compiled(function, &request);
        let kernel = compiled.kernel.as_any().downcast_ref::<Segments>().unwrap();
        let inputs: Vec<i32> = (-60_000..=60_000).step_by(13).collect();
        for (channel, scale) in [1e-4, 2e-4].into_iter().enumerate() {
            let real = |q: &i32| exact(f64::from(*q) * scale);
            let reference: Vec<f64> = inputs.iter().map(real).collect();
            let value = |q: &i32| kernel.value(&Wrapping, *q, channel) as f64 / f64::from(1 << 24);
            let found: Vec<f64> = inputs.iter().map(value).collect();
            let found = sqnr_db(&reference, &found);
            assert!(found >= least, "{function:?} {channel} {found}");
        }
    }
}

/// Rows of logits: normal with a deviation, or normal with one peak.
fn logits(set: usize) -> Vec<Vec<f64>> {
    let mut random = generator(set as u64);
    (0..128)
        .map(|_| match set {
            1 => (0..197).map(|_| 2.0 * normal(&mut random)).collect(),
            2 => {
                let mut row = normals(&mut random, 197);
                let peak = random.random_range(0..197);
                row[peak] += random.random_range(3.0..8.0);
                row
            }
            _ => (0..512).map(|_| 3.0 * normal(&mut random)).collect(),
        })
        .collect()
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let highest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = row.iter().map(|x| (x - highest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

#[test]
fn softmax_of_8_bit_and_wide_logits() {
    for set in 1..=3 {
        let rows = logits(set);
        let reach = largest(&rows.concat());
        for (input_bits, output_bits) in [(8, 8), (8, 16), (20, 8), (20, 16)] {
            let input = symmetric(reach, input_bits);
            let request = Request {
                output_bits,
                ..request(input.clone(), None, rows[0].len())
            };
            let compiled = compiled(Nonlinearity::Softmax, &request);
            let (mut reference, mut found) = (Vec::new(), Vec::new());
            for row in &rows {
                let codes = quantized(row, &input);
                reference.extend(softmax(&values(&codes, &input)));
                found.extend(values(&run(&compiled, &codes), &compiled.output));
            }
            let best = bound_db(&reference, &compiled.output);
            let found = sqnr_db(&reference, &found);
            if output_bits == 8 {
                assert!((found - best).abs() < WITHIN_DB, "{set} {found} {best}");
            } else {
                assert!(found >= 70.0, "{set} {input_bits} {found} {best}");
            }
        }
    }
}

/// Largest and mean error and the two SQNRs of a normalisation on 64 rows.
fn normalisation(function: Nonlinearity, width: usize, outliers: usize, bits: u32) {
    let mut random = generator(7);
    let mut inputs = normals(&mut random, 64 * width);
    for row in inputs.chunks_mut(width) {
        row.iter_mut().take(outliers).for_each(|x| *x *= 20.0);
    }
    let gamma: Vec<f64> = (0..width)
        .map(|_| 1.0 + 0.2 * normal(&mut random))
        .collect();
    let beta: Vec<f64> = match function {
        Nonlinearity::RmsNorm => Vec::new(),
        _ => (0..width).map(|_| 0.3 * normal(&mut random)).collect(),
    };
    let input = symmetric(largest(&inputs), bits);
    let codes = quantized(&inputs, &input);
    let reference: Vec<f64> = codes
        .chunks(width)
        .flat_map(|row| real_norm(&values(row, &input), &gamma, &beta, 1e-6))
        .collect();
    let output = symmetric(largest(&reference), 8);
    let request = Request {
        gamma: gamma.clone(),
        beta: beta.clone(),
        epsilon: 1e-6,
        ..request(input, Some(output.clone()), width)
    };
    let compiled = compiled(function, &request);
    let kernel = compiled.kernel.as_any().downcast_ref::<Norm>().unwrap();
    let (mut raw, mut found) = (Vec::new(), Vec::new());
    for row in codes.chunks(width) {
        let spread = kernel.spread(&Wrapping, row);
        raw.extend(row.iter().enumerate().map(|(channel, q)| {
            let value = kernel.value(&Wrapping, *q, channel, spread) as f64 / 65536.0;
            value * gamma[channel] + beta.get(channel).copied().unwrap_or(0.0)
        }));
        found.extend(values(&run(&compiled, row), &output));
    }
    let raw = sqnr_db(&reference, &raw);
    assert!(raw >= 100.0, "{function:?} {width} {bits}: {raw}");
    let (found, best) = (sqnr_db(&reference, &found), bound_db(&reference, &output));
    assert!((found - best).abs() < WITHIN_DB, "{found} {best}");
}

pub(super) fn real_norm(row: &[f64], gamma: &[f64], beta: &[f64], epsilon: f64) -> Vec<f64> {
    let count = row.len() as f64;
    // Offsets come with a mean.
    let mean = if beta.is_empty() {
        0.0
    } else {
        row.iter().sum::<f64>() / count
    };
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let deviation = (variance + epsilon).sqrt();
    row.iter()
        .enumerate()
        .map(|(c, x)| (x - mean) / deviation * gamma[c] + beta.get(c).copied().unwrap_or(0.0))
        .collect()
}

#[test]
fn normalisations_of_8_and_16_bits() {
    for function in [Nonlinearity::LayerNorm, Nonlinearity::RmsNorm] {
        normalisation(function, 384, 0, 8);
        normalisation(function, 768, 4, 8);
        normalisation(function, 768, 4, 16);
        normalisation(function, 384, 0, 22);
    }
}
