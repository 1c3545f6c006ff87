//! Measured errors of `LayerNorm` over the rows of the tables.

use crate::golden::both;
use crate::golden_rows::run;
use crate::numpy::DefaultRng;
use crate::sqnr::{Errors, byte_scale, codes};
use quantizers::integer::kernels::{i_bert as ibert_kernels, i_vit as ivit_kernels};
use quantizers::integer::{Checked, Wrapping};
use quantizers::nonlinear::i_bert::layernorm::{bias, unit};
use quantizers::nonlinear::{Approximation, Compiled, Grid, Request, fq_vit, i_bert, i_vit};
use std::sync::LazyLock;

/// 64 rows of codes, what to normalise them to, and the result.
struct Rows {
    codes: Vec<i32>,
    gamma: Vec<f64>,
    reference: Vec<f64>,
    request: Request,
}

/// `default_rng(7)`: L1 `normal(0, 1, (64, 384))`, then gamma `normal(1, .2)`, beta `normal(0, .3)`;
/// L2 and L3 the same of width 768, with the channels `choice(768, 4, replace=False)` times 20 before
/// gamma and beta. L3 has 16-bit codes.
static ROWS: LazyLock<[Rows; 3]> = LazyLock::new(|| {
    let mut rng = DefaultRng::new(7);
    [(384, false, 127), (768, true, 127), (768, true, 32767)].map(|(width, outliers, largest)| {
        let mut values = rng.normal(0.0, 1.0, 64 * width);
        if outliers {
            let chosen = rng.choice(768, 4);
            for row in values.chunks_mut(width) {
                for channel in &chosen {
                    row[*channel] *= 20.0;
                }
            }
        }
        let gamma = rng.normal(1.0, 0.2, width);
        let beta = rng.normal(0.0, 0.3, width);
        rows(&values, largest, gamma, beta)
    })
});

fn rows(values: &[f64], largest: i32, gamma: Vec<f64>, beta: Vec<f64>) -> Rows {
    let width = gamma.len();
    let (codes, scale) = codes(values, largest);
    let mut reference = Vec::new();
    for row in codes.chunks(width) {
        let x: Vec<f64> = row.iter().map(|q| f64::from(*q) * scale).collect();
        let mean = x.iter().sum::<f64>() / width as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        let normal = |(c, x): (usize, &f64)| (x - mean) / variance.sqrt() * gamma[c] + beta[c];
        reference.extend(x.iter().enumerate().map(normal));
    }
    let grid = |scale, low, high| Grid {
        scales: vec![scale],
        zero_point: 0,
        low,
        high,
    };
    let request = Request {
        input: grid(scale, -largest - 1, largest),
        output: Some(grid(byte_scale(&reference), -128, 127)),
        output_bits: 8,
        width,
        gamma: gamma.clone(),
        beta,
        epsilon: 0.0,
        code_variance: None,
    };
    Rows {
        codes,
        gamma,
        reference,
        request,
    }
}

/// Decibels of the compiled operation's bytes, on L1, L2, L3.
fn compiled(op: &dyn Approximation) -> [String; 3] {
    ROWS.each_ref().map(|rows| {
        let Compiled { kernel, output } = op.compile(&rows.request).unwrap();
        let width = rows.request.width;
        let found: Vec<f64> = rows
            .codes
            .chunks(width)
            .flat_map(|row| run(&*kernel, row))
            .map(|code| output.value(code, 0))
            .collect();
        Errors::of(&rows.reference, &found).decibels()
    })
}

/// Errors of normalised values plus offsets, before they are requantized.
macro_rules! raw {
    ($make:expr) => {
        ROWS.each_ref().map(|rows| {
            let width = rows.request.width;
            let pairs = rows.gamma.iter().zip(&rows.request.beta);
            let bias: Vec<i64> = pairs.map(|(g, b)| bias(*g, *b, width)).collect();
            let kernel = $make(bias.clone());
            let mut found = Vec::new();
            for row in rows.codes.chunks(width) {
                let values = both!(|a| {
                    let statistics = kernel.statistics(a, row);
                    let values = row.iter().map(|q| statistics.normalised(a, *q));
                    values.collect::<Vec<_>>()
                });
                let values = values.iter().enumerate();
                found.extend(
                    values.map(|(c, n)| (n + bias[c]) as f64 * unit(width) * rows.gamma[c]),
                );
            }
            Errors::of(&rows.reference, &found)
        })
    };
}

#[test]
fn i_bert_layernorm() {
    let [one, two, three] = raw!(|bias| ibert_kernels::LayerNorm {
        shift: 0,
        bias,
        requantization: crate::golden::identity(),
    });
    assert_eq!(one.row(), "2.610e-2/8.461e-3/40.55");
    assert_eq!(two.row(), "3.127e-1/3.131e-2/29.18");
    assert_eq!(three.row(), "1.369e-3/3.211e-4/69.61");
    assert_eq!(
        compiled(&i_bert::layernorm::LayerNorm),
        ["36.60", "22.36", "24.06"]
    );
}

#[test]
fn i_vit_layernorm() {
    let [one, two, three] = raw!(|bias| ivit_kernels::LayerNorm {
        bias,
        requantization: crate::golden::identity(),
    });
    assert_eq!(one.decibels(), "40.55");
    assert_eq!(two.row(), "5.625e0/1.283e-1/13.26");
    assert_eq!(three.decibels(), "69.61");
    assert_eq!(
        compiled(&i_vit::layernorm::LayerNorm),
        ["36.60", "12.84", "24.06"]
    );
}

#[test]
fn fq_vit_layernorm() {
    assert_eq!(
        compiled(&fq_vit::layernorm::LayerNorm),
        ["38.61", "23.34", "24.05"]
    );
}
