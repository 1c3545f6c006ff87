//! How much a quantized layer is predicted to cost the model: scores that an allocator can add up over layers.
//!
//! Scores of one kind compare between layers and between options of a layer; those of two kinds do not. All but the
//! last are found from one layer, the statistics of the original model, and nothing that other layers become.

use crate::error_metrics::{Deviation, weighted_error};
use crate::methods::QuantizeError;
use crate::statistics::{FISHER, HESSIAN, LayerStats, Statistic};
use crate::{MatrixRef, ShapeError};

/// A kind of score; compared by name.
#[derive(Debug)]
pub struct Sensitivity {
    /// Name in recipes, on the command line and in files of scores.
    pub name: &'static str,
    /// One line with the formula.
    pub summary: &'static str,
    /// What it cannot see, for a reader who wonders how well it ranks.
    pub limit: Option<&'static str>,
    /// Statistics of the layer that it reads.
    pub reads: &'static [&'static Statistic],
    /// How it is found.
    pub score: Score,
}

/// How a score is found.
#[derive(Debug, Clone, Copy)]
pub enum Score {
    /// From the layer.
    OfLayer(fn(&LayerError<'_>) -> Result<f64, QuantizeError>),
    /// By running the whole model with this layer alone quantized.
    EndToEnd,
}

/// A layer, what it becomes, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct LayerError<'a> {
    /// The weight, `[rows, cols]`.
    pub original: MatrixRef<'a>,
    /// What its quantized form decodes to.
    pub approximation: MatrixRef<'a>,
    /// Statistics of the original model.
    pub stats: &'a LayerStats<'a>,
    /// Tokens over which the loss of a sequence is a mean, over the number of sequences: what turns squares of
    /// gradients of sequences, summed, into those of one token. The gradients of different tokens are taken to be
    /// independent.
    pub per_token: f64,
}

/// Every kind, the default first.
pub static SENSITIVITIES: &[Sensitivity] = &[
    Sensitivity {
        name: "fisher",
        summary: "1/2 sum F (w - w')^2 with the diagonal Fisher of a token: nats per token, weights on their own",
        limit: None,
        reads: &[&FISHER],
        score: Score::OfLayer(fisher),
    },
    Sensitivity {
        name: "guided",
        summary: "1/2 sum over rows of g d H d^T, H the Hessian of the inputs and g the row's share of the Fisher: sees errors that make up for each other",
        limit: None,
        reads: &[&FISHER, &HESSIAN],
        score: Score::OfLayer(guided),
    },
    Sensitivity {
        name: "hawq",
        summary: "1/2 mean(F) sum (w - w')^2: the trace of HAWQ-V2, that of the Fisher matrix, which is exact and needs no sampling",
        limit: None,
        reads: &[&FISHER],
        score: Score::OfLayer(hawq),
    },
    Sensitivity {
        name: "local",
        summary: "geometric mean of squared error and noise over signal, of the weights and of the outputs (QuantuneV2): no gradients, no loss",
        limit: Some(
            "it tells options of a layer apart, not layers with the same option: at equal bits all have about the same noise over signal, and how the loss reacts to a layer is in no local figure",
        ),
        reads: &[&HESSIAN],
        score: Score::OfLayer(local),
    },
    Sensitivity {
        name: "kl",
        summary: "KL divergence from the original with this layer alone quantized, measured end to end: one run of the model for each option",
        limit: None,
        reads: &[],
        score: Score::EndToEnd,
    },
];

impl Sensitivity {
    /// The kind called `name`.
    pub fn find(name: &str) -> Option<&'static Self> {
        SENSITIVITIES.iter().find(|one| one.name == name)
    }
}

impl PartialEq for Sensitivity {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl LayerError<'_> {
    fn matrix(
        &self,
        statistic: &'static Statistic,
        rows: usize,
    ) -> Result<MatrixRef<'_>, QuantizeError> {
        let cols = self.original.cols();
        let values = self.stats.require(statistic, self.original.rows(), cols)?;
        matrix(statistic, values, rows, cols)
    }

    fn fisher(&self) -> Result<MatrixRef<'_>, QuantizeError> {
        self.matrix(&FISHER, self.original.rows())
    }

    fn hessian(&self) -> Result<MatrixRef<'_>, QuantizeError> {
        self.matrix(&HESSIAN, self.original.cols())
    }
}

fn matrix<'v>(
    statistic: &'static Statistic,
    values: &'v [f32],
    rows: usize,
    cols: usize,
) -> Result<MatrixRef<'v>, QuantizeError> {
    let misshapen = |_: ShapeError| QuantizeError::StatShape {
        stat: statistic.name,
        expected: rows * cols,
        found: values.len(),
    };
    MatrixRef::new(values, rows, cols).map_err(misshapen)
}

/// SqueezeLLM's objective, as nats of a token.
fn fisher(layer: &LayerError<'_>) -> Result<f64, QuantizeError> {
    let error = weighted_error(layer.original, layer.approximation, layer.fisher()?);
    Ok(0.5 * layer.per_token * error)
}

/// The loss of a token is moved by `g_i (d_i x)` through output `i`: its square is taken as the product of the mean
/// squares of `g_i` and of `d_i x`. Row sums of the Fisher are `g_i^2 sum_j x_j^2`, so `g_i^2` over the number of
/// tokens is the sum of row `i` over the trace of `H = X^T X`.
fn guided(layer: &LayerError<'_>) -> Result<f64, QuantizeError> {
    let (fisher, hessian) = (layer.fisher()?, layer.hessian()?);
    let cols = layer.original.cols();
    let trace: f64 = (0..cols).map(|at| f64::from(hessian.row(at)[at])).sum();
    if trace <= 0.0 {
        return Ok(0.0);
    }
    let sum = |row: &[f32]| row.iter().map(|&value| f64::from(value)).sum::<f64>();
    // Rows are weighted by scaling them with the square roots of their weights.
    let roots: Vec<f64> = (0..layer.original.rows())
        .map(|row| (sum(fisher.row(row)) / trace).max(0.0).sqrt())
        .collect();
    let largest = roots.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return Ok(0.0);
    }
    let scaled = |matrix: MatrixRef<'_>| -> Vec<f32> {
        let rows = roots.iter().enumerate();
        rows.flat_map(|(row, root)| {
            #[expect(clippy::cast_possible_truncation, reason = "at most 1")]
            let factor = (root / largest) as f32;
            let values = matrix.row(row).to_vec();
            values.into_iter().map(move |value| factor * value)
        })
        .collect()
    };
    let (original, approximation) = (scaled(layer.original), scaled(layer.approximation));
    let rows = layer.original.rows();
    let original = matrix(&HESSIAN, &original, rows, cols)?;
    let approximation = matrix(&HESSIAN, &approximation, rows, cols)?;
    let outputs = Deviation::of_outputs(original, approximation, hessian);
    Ok(0.5 * layer.per_token * largest * largest * outputs.error)
}

/// `Omega = (tr H / n) |w - w'|^2` of HAWQ-V2, halved as in the expansion of the loss.
fn hawq(layer: &LayerError<'_>) -> Result<f64, QuantizeError> {
    let fisher = layer.fisher()?.data();
    let trace: f64 = fisher.iter().map(|&value| f64::from(value)).sum();
    let error = Deviation::between(layer.original, layer.approximation).error;
    Ok(0.5 * layer.per_token * trace / fisher.len().max(1) as f64 * error)
}

/// The four local figures, noise powers all, in one: the mean of their logarithms weights them alike whatever their units.
/// Noise over signal alone is about the same for all layers with an option; squared errors add which layers are large.
/// Over 42 layers of a small decoder, the rank correlation with KL divergence at 2, 3 and 4 bits is 0.46, 0.47 and 0.45 so,
/// 0.15, 0.32 and 0.31 with the sum of both ratios, and at most 0.43 with any of the four or their ranks summed up.
fn local(layer: &LayerError<'_>) -> Result<f64, QuantizeError> {
    let (original, approximation) = (layer.original, layer.approximation);
    let figures = |deviation: Deviation| {
        if deviation.signal > 0.0 {
            deviation.relative() * deviation.error
        } else {
            0.0
        }
    };
    let outputs = Deviation::of_outputs(original, approximation, layer.hessian()?);
    let product = figures(Deviation::between(original, approximation)) * figures(outputs);
    Ok(product.max(0.0).sqrt().sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The score of one row of two weights that is rounded to `approximation`.
    fn score(name: &str, approximation: [f32; 2], fisher: &[f32], hessian: &[f32]) -> f64 {
        let stats = LayerStats::new("layer", 0)
            .with(&FISHER, fisher)
            .with(&HESSIAN, hessian);
        let layer = LayerError {
            original: MatrixRef::new(&[1.0, 2.0], 1, 2).unwrap(),
            approximation: MatrixRef::new(&approximation, 1, 2).unwrap(),
            stats: &stats,
            per_token: 10.0,
        };
        match Sensitivity::find(name).unwrap().score {
            Score::OfLayer(score) => score(&layer).unwrap(),
            Score::EndToEnd => panic!("`{name}` runs the model"),
        }
    }

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-6 * expected.abs().max(1e-6),
            "{found}"
        );
    }

    #[test]
    fn one_row_by_hand() {
        // d = (0.5, -0.5), F = (3, 1), H = [[6, 5], [5, 2]].
        let (rounded, fisher, hessian) = ([0.5, 2.5], [3.0, 1.0], [6.0, 5.0, 5.0, 2.0]);
        let of = |name| score(name, rounded, &fisher, &hessian);
        close(of("fisher"), 0.5 * 10.0 * (3.0 + 1.0) * 0.25);
        close(of("hawq"), 0.5 * 10.0 * 2.0 * 0.5);
        // d H d^T = 0.25 (6 - 10 + 2) < 0 is no Hessian; with 1 in the corners it is 0.25 (6 - 2 + 2).
        let hessian = [6.0, 1.0, 1.0, 2.0];
        let of = |name| score(name, rounded, &fisher, &hessian);
        // The row's gradient is 4 / 8.
        close(of("guided"), 0.5 * 10.0 * 0.5 * 1.5);
        // Weights 0.5 of 5; outputs 1.5 of 6 + 4 + 8.
        close(of("local"), (0.5 * 0.1 * 1.5 * 1.5 / 18.0_f64).powf(0.25));
    }

    #[test]
    fn with_independent_inputs_guided_is_fisher_where_the_fisher_is_a_product() {
        // F_ij = g_i^2 h_j.
        let (rounded, fisher, hessian) = ([0.5, 2.25], [12.0, 4.0], [6.0, 0.0, 0.0, 2.0]);
        close(
            score("guided", rounded, &fisher, &hessian),
            score("fisher", rounded, &fisher, &hessian),
        );
    }

    #[test]
    fn what_is_exact_costs_nothing() {
        for name in ["fisher", "guided", "hawq", "local"] {
            let found = score(name, [1.0, 2.0], &[1.0, 1.0], &[1.0, 0.0, 0.0, 1.0]);
            assert!(found.abs() <= 0.0, "{name}: {found}");
        }
    }

    #[test]
    fn a_layer_that_nothing_reaches_is_not_sensitive() {
        for name in ["fisher", "guided", "hawq"] {
            let found = score(name, [0.0, 0.0], &[0.0, 0.0], &[0.0; 4]);
            assert!(found.abs() <= 0.0, "{name}: {found}");
        }
    }
}
