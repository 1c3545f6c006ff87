//! Every registered published operator on adversarial and random rows: machine arithmetic and checked
//! arithmetic agree, nothing overflows, and outputs are where interval analysis puts them.

use crate::requests::{request, scales};
use proptest::prelude::*;
use quantizers::integer::kernels::KERNELS;
use quantizers::integer::{Interval, Mode};
use quantizers::nonlinear::{APPROXIMATIONS, Approximation, Compiled, Nonlinearity, Request};

fn published() -> impl Iterator<Item = &'static dyn Approximation> {
    APPROXIMATIONS
        .iter()
        .copied()
        .filter(|entry| entry.published())
}

fn codes(request: &Request) -> Interval {
    Interval::new(request.input.low.into(), request.input.high.into())
}

/// Runs a row in both modes and checks it against the intervals; the row's outputs.
fn checked(compiled: &Compiled, request: &Request, row: &[i32]) -> Vec<i32> {
    let mut fast = vec![0; row.len()];
    let mut slow = fast.clone();
    compiled.kernel.run(Mode::Fast, row, &mut fast).unwrap();
    let outcome = compiled.kernel.run(Mode::Checked, row, &mut slow);
    assert_eq!(outcome, Ok(()), "{:?} {row:?}", compiled.kernel);
    assert_eq!(fast, slow);
    let bounds = compiled.kernel.bounds(codes(request), row.len()).unwrap();
    let grid = &compiled.output;
    for code in &fast {
        assert!((grid.low..=grid.high).contains(code), "{code}");
        assert!(
            (bounds.low..=bounds.high).contains(&i128::from(*code)),
            "{code}"
        );
    }
    fast
}

/// All largest, all smallest, all zero, alternating, one hot either way, a ramp, one step.
fn adversarial(low: i32, high: i32, width: usize) -> Vec<Vec<i32>> {
    let row = |code: &dyn Fn(usize) -> i32| (0..width).map(code).collect::<Vec<_>>();
    let zero = 0.clamp(low, high);
    let (first, span) = (i128::from(low), i128::from(high) - i128::from(low));
    let ramp = |i: usize| first + span * i as i128 / (width as i128 - 1).max(1);
    vec![
        row(&|_| high),
        row(&|_| low),
        row(&|_| zero),
        row(&|i| if i % 2 == 0 { high } else { low }),
        row(&|i| if i == width / 2 { high } else { low }),
        row(&|i| if i == 0 { low } else { high }),
        row(&|i| if i + 1 == width { zero + 1 } else { zero }),
        row(&|i| i32::try_from(ramp(i)).unwrap()),
    ]
}

#[test]
fn adversarial_rows_neither_overflow_nor_leave_their_bounds() {
    let mut entries = 0;
    for entry in published() {
        entries += 1;
        for scale in scales(entry) {
            for width in [1, 2, 24, 385] {
                let request = request(entry, scale, width);
                let compiled = match entry.compile(&request) {
                    Ok(compiled) => compiled,
                    Err(refusal) => panic!("{scale} {width}: {refusal}"),
                };
                for row in adversarial(request.input.low, request.input.high, width) {
                    checked(&compiled, &request, &row);
                }
            }
        }
    }
    assert_eq!(entries, 8);
}

#[test]
fn kernels_read_back_from_their_constants_are_the_same() {
    for entry in published() {
        let request = request(entry, scales(entry)[1], 24);
        let compiled = entry.compile(&request).unwrap();
        let constants = compiled.kernel.constants();
        let kinds = KERNELS
            .iter()
            .filter(|kind| kind.kind == compiled.kernel.kind());
        let [kind] = kinds.collect::<Vec<_>>()[..] else {
            panic!("{} is registered once", compiled.kernel.kind());
        };
        let text = serde_json::to_string(&constants).unwrap();
        let read = (kind.read)(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(read.constants(), constants);
        let read = Compiled {
            kernel: read,
            output: compiled.output.clone(),
        };
        for row in adversarial(request.input.low, request.input.high, 24) {
            assert_eq!(
                checked(&read, &request, &row),
                checked(&compiled, &request, &row)
            );
        }
        let damaged = serde_json::json!({"unknown": 1});
        assert!((kind.read)(&damaged).is_err());
    }
}

#[test]
fn rows_without_variance_become_beta() {
    let entries = published().filter(|entry| entry.replaces() == Nonlinearity::LayerNorm);
    for entry in entries {
        let request = request(entry, 0.03, 24);
        let compiled = entry.compile(&request).unwrap();
        for code in [request.input.low, 5, request.input.high] {
            // The factors of FQ-ViT are unequal: only its zero point is a constant row.
            let code = if request.input.scales.len() > 1 {
                117
            } else {
                code
            };
            let found = checked(&compiled, &request, &[code; 24]);
            for (channel, found) in found.iter().enumerate() {
                let beta = request.beta[channel];
                let back = compiled.output.value(*found, channel);
                assert!((back - beta).abs() <= 0.5 * 0.031 + 1e-6, "{back} {beta}");
            }
        }
    }
}

#[test]
fn channels_of_gamma_zero_are_beta_in_every_row() {
    let entries = published().filter(|entry| entry.replaces() == Nonlinearity::LayerNorm);
    for entry in entries {
        let request = request(entry, 0.03, 24);
        let compiled = entry.compile(&request).unwrap();
        for row in adversarial(request.input.low, request.input.high, 24) {
            let found = checked(&compiled, &request, &row);
            for channel in [3, 5, 14, 16] {
                assert!(request.gamma[channel].abs() < f64::MIN_POSITIVE);
                let expected = (request.beta[channel] / 0.031).round_ties_even();
                assert!((f64::from(found[channel]) - expected).abs() < 0.5);
            }
        }
    }
}

#[test]
fn larger_scores_are_never_less_probable() {
    let entries = published().filter(|entry| entry.replaces() == Nonlinearity::Softmax);
    for entry in entries {
        let request = request(entry, 0.0625, 197);
        let compiled = entry.compile(&request).unwrap();
        let row: Vec<i32> = (0..197).map(|i| 100 - i / 2).collect();
        let found = checked(&compiled, &request, &row);
        assert!(found.is_sorted_by(|a, b| a >= b), "{found:?}");
        assert!(found[0] > 0);
    }
}

proptest! {
    #[test]
    fn random_rows_neither_overflow_nor_leave_their_bounds(
        seeds in prop::collection::vec(any::<i32>(), 1..70),
        narrow in any::<bool>(),
        exponent in 0.0_f64..1.0,
    ) {
        for entry in published() {
            let scales = scales(entry);
            let (finest, coarsest) = (scales[0], scales[scales.len() - 1]);
            let scale = finest * (coarsest / finest).powf(exponent);
            let request = request(entry, scale, seeds.len());
            let compiled = entry.compile(&request).unwrap();
            let (low, high) = (i64::from(request.input.low), i64::from(request.input.high));
            let row: Vec<i32> = seeds
                .iter()
                .map(|seed| {
                    let seed = if narrow { seed % 100 } else { *seed };
                    let code = low + (i64::from(seed) - low).rem_euclid(high - low + 1);
                    i32::try_from(code).unwrap()
                })
                .collect();
            checked(&compiled, &request, &row);
        }
    }
}
