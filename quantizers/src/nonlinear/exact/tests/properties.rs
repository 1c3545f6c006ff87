//! What holds for any row: no faults, both modes alike, and the symmetries of the functions.

use super::bounds::real_norm;
use super::samples::{compiled, generator, request, run, symmetric, values};
use crate::integer::kernel::RowKernel;
use crate::integer::kernels::KERNELS;
use crate::integer::kernels::exact::{Norm, TableSoftmax};
use crate::nonlinear::exact::affine;
use crate::nonlinear::{Approximation, Compiled, Grid, Nonlinearity, Request};
use proptest::prelude::*;
use rand::RngExt;

const WIDTH: usize = 96;

/// A request of every function for inputs of `bits` bits.
fn every(bits: u32) -> Vec<(Nonlinearity, Compiled)> {
    let functions = [
        Nonlinearity::Gelu,
        Nonlinearity::GeluTanh,
        Nonlinearity::Relu,
        Nonlinearity::Silu,
        Nonlinearity::Tanh,
        Nonlinearity::Softmax,
        Nonlinearity::LayerNorm,
        Nonlinearity::RmsNorm,
    ];
    let compile = |function| {
        // A 32-bit accumulator is too wide for the squares of a normalisation.
        let norm = matches!(function, Nonlinearity::LayerNorm | Nonlinearity::RmsNorm);
        let bits = if norm { bits.min(22) } else { bits };
        let request = Request {
            epsilon: 1e-5,
            ..request(symmetric(12.0, bits), Some(symmetric(5.0, 8)), WIDTH)
        };
        (function, compiled(function, &request))
    };
    functions.into_iter().map(compile).collect()
}

/// Largest code of a kernel compiled by [`every`].
fn reach(function: Nonlinearity, bits: u32) -> i32 {
    let norm = matches!(function, Nonlinearity::LayerNorm | Nonlinearity::RmsNorm);
    let bits = if norm { bits.min(22) } else { bits };
    i32::try_from((1_i64 << (bits - 1)) - 1).unwrap()
}

#[test]
fn adversarial_rows_have_no_faults() {
    for bits in [8, 12, 16, 32] {
        for (function, compiled) in every(bits) {
            let high = reach(function, bits);
            let low = -high - 1;
            let mut hot = vec![low; WIDTH];
            hot[5] = high;
            let alternating: Vec<i32> = (0..WIDTH).map(|i| [low, high][i % 2]).collect();
            for row in [
                vec![low; WIDTH],
                vec![high; WIDTH],
                vec![0; WIDTH],
                hot,
                alternating,
            ] {
                run(&compiled, &row);
            }
        }
    }
}

#[test]
fn kernels_are_read_back_as_they_were() {
    for bits in [8, 20] {
        for (_, compiled) in every(bits) {
            let kind = KERNELS
                .iter()
                .find(|kind| kind.kind == compiled.kernel.kind())
                .unwrap();
            let constants = compiled.kernel.constants();
            let text = serde_json::to_string(&constants).unwrap();
            let read = (kind.read)(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(read.constants(), constants);
            let row: Vec<i32> = (0..96).collect();
            let read = Compiled {
                kernel: read,
                output: compiled.output.clone(),
            };
            assert_eq!(run(&read, &row), run(&compiled, &row));
        }
    }
}

#[test]
fn unusable_constants_are_errors() {
    for kind in KERNELS {
        assert!(
            (kind.read)(&serde_json::json!({})).is_err(),
            "{}",
            kind.kind
        );
    }
    let empty = TableSoftmax {
        exponentials: Vec::new(),
        most: 255,
    };
    let kind = KERNELS
        .iter()
        .find(|kind| kind.kind == empty.kind())
        .unwrap();
    assert!((kind.read)(&empty.constants()).is_err());
}

#[test]
fn what_would_overflow_is_refused() {
    let request = request(symmetric(50.0, 22), Some(symmetric(4.0, 8)), 4096);
    let refusal = crate::nonlinear::exact::norm::LAYERNORM
        .compile(&request)
        .unwrap_err();
    assert!(
        refusal.to_string().contains("expected intermediates"),
        "{refusal}"
    );
    let coarse = Grid {
        scales: vec![64.0],
        ..symmetric(1.0, 32)
    };
    let request = Request {
        input: coarse,
        ..request
    };
    assert!(
        crate::nonlinear::exact::softmax::Softmax
            .compile(&request)
            .is_err()
    );
    assert!(
        crate::nonlinear::exact::pointwise::GELU
            .compile(&request)
            .is_err()
    );
}

#[test]
fn epsilon_and_dead_channels_are_honoured() {
    // Variance 1e-4 beside an epsilon of 1e-3; channel 3 has no factor.
    let input = symmetric(0.5, 16);
    let output = symmetric(2.0, 8);
    let mut random = generator(3);
    let row: Vec<i32> = (0..WIDTH)
        .map(|_| random.random_range(-1200..1200))
        .collect();
    let mut gamma = vec![1.0; WIDTH];
    gamma[3] = 0.0;
    let beta: Vec<f64> = (0..WIDTH).map(|c| (c as f64 - 48.0) / 96.0).collect();
    let request = Request {
        gamma: gamma.clone(),
        beta: beta.clone(),
        epsilon: 1e-3,
        ..request(input.clone(), Some(output.clone()), WIDTH)
    };
    let compiled = compiled(Nonlinearity::LayerNorm, &request);
    let half = output.scales[0] * 0.5001;
    let check = |row: &[i32]| {
        let reference = real_norm(&values(row, &input), &gamma, &beta, 1e-3);
        let found = values(&run(&compiled, row), &output);
        for (channel, (a, b)) in reference.iter().zip(&found).enumerate() {
            assert!((a - b).abs() <= half, "{channel}: {a} {b}");
        }
    };
    check(&row);
    check(&[7; WIDTH]);
}

#[test]
fn power_of_two_factors_are_shifts() {
    let common = Grid {
        scales: vec![0.01],
        ..symmetric(1.0, 16)
    };
    let factors: Vec<u32> = (0..WIDTH).map(|c| u32::try_from(c % 4).unwrap()).collect();
    let scaled = Grid {
        scales: factors.iter().map(|f| 0.01 * f64::from(1 << f)).collect(),
        zero_point: 117,
        low: 0,
        high: 255,
    };
    let output = Some(symmetric(4.0, 8));
    let plain = compiled(
        Nonlinearity::LayerNorm,
        &request(common, output.clone(), WIDTH),
    );
    let factored = compiled(Nonlinearity::LayerNorm, &request(scaled, output, WIDTH));
    let mut random = generator(4);
    let row: Vec<i32> = (0..WIDTH).map(|_| random.random_range(0..256)).collect();
    let shifted: Vec<i32> = row
        .iter()
        .zip(&factors)
        .map(|(q, f)| (q - 117) << f)
        .collect();
    assert_eq!(run(&factored, &row), run(&plain, &shifted));
}

/// Every row through the vector form and the generic one, with two outputs.
fn assert_rows_agree(centred: bool, zero_point: i32, row: &[i16]) {
    let width = row.len();
    let function = [Nonlinearity::RmsNorm, Nonlinearity::LayerNorm][usize::from(centred)];
    let input = Grid {
        zero_point,
        ..symmetric(20.0, 16)
    };
    let output = Grid {
        scales: vec![0.03],
        zero_point: 128,
        low: 0,
        high: 255,
    };
    let gamma: Vec<f64> = (0..width).map(|c| 1.0 - (c % 7) as f64 / 3.0).collect();
    let beta: Vec<f64> = (0..width).map(|c| (c % 5) as f64 - 2.0).collect();
    let request = Request {
        gamma,
        beta,
        epsilon: 1e-6,
        ..request(input, Some(output), width)
    };
    let compiled = compiled(function, &request);
    let wide = symmetric(10.0, 16);
    let residual = affine(function, width, &request.gamma, &request.beta, &wide).unwrap();
    let kernel = compiled.kernel.as_any().downcast_ref::<Norm>().unwrap();
    let generic = Compiled {
        kernel: Box::new(Norm {
            affine: residual.clone(),
            ..kernel.clone()
        }),
        output: wide,
    };
    let codes: Vec<i32> = row.iter().copied().map(i32::from).collect();
    let (mut space, mut bytes, mut words) = (vec![0; width], vec![0; width], vec![0; width]);
    kernel.run_both(&residual, row, &mut space, &mut bytes, &mut words);
    let bytes: Vec<i32> = bytes.into_iter().map(i32::from).collect();
    let words: Vec<i32> = words.into_iter().map(i32::from).collect();
    assert_eq!(bytes, run(&compiled, &codes));
    assert_eq!(words, run(&generic, &codes));
}

#[test]
fn vectors_agree_on_extreme_rows() {
    for centred in [true, false] {
        for width in [1, 3, 64, 384] {
            let (low, high) = (i16::MIN, i16::MAX);
            let mut hot = vec![0; width];
            hot[width / 2] = high;
            let alternating: Vec<i16> = (0..width).map(|i| [low, high][i % 2]).collect();
            for row in [
                vec![low; width],
                vec![high; width],
                vec![0; width],
                hot,
                alternating,
            ] {
                assert_rows_agree(centred, 0, &row);
                assert_rows_agree(centred, -31, &row);
            }
        }
    }
}

proptest! {
    #[test]
    fn modes_agree_and_nothing_faults(
        row in prop::collection::vec(any::<i32>(), 1..=WIDTH),
        bits in prop::sample::select(vec![8_u32, 12, 16, 22, 32]),
    ) {
        for (function, compiled) in every(bits) {
            let codes = row.iter().map(|q| q >> (31 - reach(function, bits).ilog2() - 1));
            let mut row: Vec<i32> = codes.collect();
            row.resize(WIDTH, 1);
            run(&compiled, &row);
        }
    }

    #[test]
    fn vectors_agree_on_any_row(
        row in prop::collection::vec(any::<i16>(), 1..400),
        shift in 0_u32..16,
        centred: bool,
        zero_point in -300..300,
    ) {
        let row: Vec<i16> = row.into_iter().map(|q| q >> shift).collect();
        assert_rows_agree(centred, zero_point, &row);
    }

    #[test]
    fn softmax_is_monotone_and_sums_to_one(
        row in prop::collection::vec(-100_000..100_000, 1..300_usize),
        wide: bool,
    ) {
        let bits = if wide { 20 } else { 8 };
        let compiled = compiled(
            Nonlinearity::Softmax,
            &request(symmetric(9.0, bits), None, row.len()),
        );
        let row: Vec<i32> = row.into_iter().map(|q| if wide { q } else { q >> 10 }).collect();
        let found = run(&compiled, &row);
        let mut pairs: Vec<(i32, i32)> = row.iter().copied().zip(found.iter().copied()).collect();
        pairs.sort_unstable();
        prop_assert!(pairs.windows(2).all(|two| two[0].1 <= two[1].1));
        // Within 1 -+ N / (2 255), in units of 1 / 255.
        let sum: i32 = found.iter().sum();
        let slack = i32::try_from(row.len().div_ceil(2)).unwrap();
        prop_assert!((sum - 255).abs() <= slack, "{}", sum);
    }

    #[test]
    fn layer_norm_ignores_a_shift(
        row in prop::collection::vec(-3000..3000, 1..200_usize),
        offset in -20_000..20_000,
    ) {
        let compiled = compiled(
            Nonlinearity::LayerNorm,
            &request(symmetric(9.0, 16), Some(symmetric(4.0, 16)), row.len()),
        );
        let moved: Vec<i32> = row.iter().map(|q| q + offset).collect();
        prop_assert_eq!(run(&compiled, &row), run(&compiled, &moved));
    }

    #[test]
    fn ramps_mirror(code in 0..30_000_i32, wide: bool) {
        for function in [
            Nonlinearity::Gelu,
            Nonlinearity::GeluTanh,
            Nonlinearity::Relu,
            Nonlinearity::Silu,
        ] {
            // One scale on both sides, so that x itself has a code.
            let grid = symmetric(8.0, if wide { 16 } else { 12 });
            let code = code.min(grid.high);
            let compiled = compiled(function, &request(grid.clone(), Some(grid), 1));
            let found = run(&compiled, &[code, -code]);
            prop_assert!((found[0] - found[1] - code).abs() <= 1, "{:?}", found);
        }
    }
}
