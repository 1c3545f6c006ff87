//! What a report holds: the stable keys of `report.json`, schema 1.

use super::budget::BudgetFacts;
use super::calibration::CalibrationFacts;
use super::slots::SlotFacts;
use crate::gate::GateResult;
use crate::kind::ModelKind;
use crate::score::Score;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the keys below; a reader refuses others.
pub const SCHEMA: u32 = 1;

/// One run: what was made, how good it is, and how it came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The checkpoint.
    pub model: ModelFacts,
    /// The recipe; absent for a bare evaluation.
    pub recipe: Option<RecipeFacts>,
    /// Figures, in the order of the recipe.
    pub scores: Vec<Score>,
    /// Sizes; absent for a bare evaluation of a plain checkpoint.
    pub size: Option<SizeFacts>,
    /// Quantized layers, in execution order.
    pub layers: Vec<LayerFacts>,
    /// How it ran.
    pub run: RunFacts,
    /// What a reader must know.
    pub warnings: Vec<String>,
    /// Conditions and whether they hold.
    #[serde(default)]
    pub gates: Vec<GateResult>,
    /// The files written; absent where none were.
    #[serde(default)]
    pub artifact: Option<ArtifactFacts>,
    /// Weights and levels of the worst layers.
    #[serde(default)]
    pub histograms: Vec<WeightHistogram>,
    /// Which approximation each nonlinear slot of an integer program got, and what each would lose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nonlinear: Vec<SlotFacts>,
    /// What activations were calibrated on; absent where there was no integer-only calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationFacts>,
    /// What the layers might take together, where they were chosen within a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetFacts>,
}

/// The checkpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelFacts {
    /// `org/name` or the folder.
    pub name: String,
    /// Commit or tag, for Hub models.
    pub revision: Option<String>,
    /// Family.
    pub architecture: String,
    /// Number of parameters.
    pub parameters: u64,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ModelKind>,
}

/// The recipe.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RecipeFacts {
    /// Its name.
    pub name: String,
    /// Of its text, hexadecimal.
    pub sha256: String,
}

/// Sizes; every stored bit of a layer counts: codes, scales, zero points, tables, outliers, padding.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SizeFacts {
    /// Weight files of the original.
    pub original_bytes: u64,
    /// Weight files written.
    pub artifact_bytes: u64,
    /// Over the quantized linear layers.
    pub bits_per_weight_linear: f64,
    /// Over the whole file.
    pub bits_per_weight_file: f64,
    /// Original over artifact.
    pub ratio: f64,
}

/// One quantized layer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Module name.
    pub name: String,
    /// `[out, in]`.
    pub shape: [usize; 2],
    /// Registry name of the method.
    pub method: String,
    /// Width of one code.
    pub bits: u8,
    /// True stored bits per weight.
    pub bits_per_weight: f64,
    /// Signal to quantization noise of the weight, decibel; absent where it is exact.
    pub sqnr_db: Option<f64>,
    /// The same of the layer's output on calibration data, with the full Hessian `X^T X` of its inputs.
    pub output_sqnr_db: Option<f64>,
    /// The method's own objective.
    pub weighted_error: Option<f64>,
    /// Share of weights stored apart.
    pub outlier_fraction: f64,
    /// Time it took.
    pub seconds: f64,
    /// Why this choice.
    pub because: String,
    /// What the method had to say.
    pub notes: Vec<String>,
    /// Weights per scale, where grouped.
    #[serde(default)]
    pub group_size: Option<usize>,
    /// Width of the codes of its inputs, where they are quantized too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_bits: Option<u8>,
    /// Share of the whole damage, where it was estimated.
    #[serde(default)]
    pub damage_share: Option<f64>,
    /// As `output_sqnr_db`, with the diagonal of the Hessian only: as if the inputs of the layer were
    /// independent of each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagonal_output_sqnr_db: Option<f64>,
}

/// How it ran.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunFacts {
    /// Of the tool.
    pub version: String,
    /// Of everything random.
    pub seed: u64,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Worker threads.
    pub threads: usize,
    /// Wall time.
    pub seconds: f64,
    /// Largest resident memory.
    pub peak_memory_bytes: u64,
    /// Wall time of each stage of the road, in order of name.
    pub stages: BTreeMap<String, f64>,
    /// The exact command.
    pub command: String,
}

/// The files written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ArtifactFacts {
    /// Registry name of the format.
    pub format: String,
    /// Folder, as given.
    pub path: String,
}

/// Weights of one row in bins, and the levels they were rounded to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightHistogram {
    /// Layer.
    pub name: String,
    /// Output channel shown: the one with the lowest signal to noise ratio.
    pub row: usize,
    /// Lower edge of the first bin.
    pub low: f64,
    /// Upper edge of the last bin.
    pub high: f64,
    /// Weights in each bin, equally wide.
    pub counts: Vec<u64>,
    /// Distinct values of the decoded row, ascending; at most [`WeightHistogram::MAX_LEVELS`].
    pub levels: Vec<f32>,
    /// Distinct values left out of `levels`.
    pub hidden_levels: usize,
}

impl WeightHistogram {
    /// More levels than this are no longer told apart in a plot.
    pub const MAX_LEVELS: usize = 256;

    /// The histogram of the worst row of a layer: `weights` and `decoded` are `[rows, cols]`.
    ///
    /// `None` for an empty matrix, for data that does not fill `rows` equal rows, and where no value
    /// is finite.
    pub fn worst_row(name: &str, weights: &[f32], decoded: &[f32], rows: usize) -> Option<Self> {
        let cols = weights.len().checked_div(rows)?;
        if cols == 0 || cols * rows != weights.len() || decoded.len() != weights.len() {
            return None;
        }
        let rows = weights
            .chunks_exact(cols)
            .zip(decoded.chunks_exact(cols))
            .enumerate();
        let (row, (weights, decoded)) = rows
            .map(|(index, (weights, decoded))| {
                (
                    relative_error(weights, decoded),
                    (index, (weights, decoded)),
                )
            })
            .reduce(|worst, next| if next.0 > worst.0 { next } else { worst })?
            .1;
        let finite = || {
            weights
                .iter()
                .chain(decoded)
                .copied()
                .filter(|value| value.is_finite())
        };
        let low = f64::from(finite().reduce(f32::min)?);
        let high = f64::from(finite().reduce(f32::max)?);
        let bins = bins(cols);
        let width = if high > low {
            (high - low) / bins as f64
        } else {
            1.0
        };
        let mut counts = vec![0; bins];
        for &weight in weights.iter().filter(|weight| weight.is_finite()) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and the number of bins"
            )]
            let bin = ((f64::from(weight) - low) / width) as usize;
            counts[bin.min(bins - 1)] += 1;
        }
        let mut levels = decoded.to_vec();
        levels.retain(|level| level.is_finite());
        levels.sort_by(f32::total_cmp);
        levels.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let hidden_levels = levels.len().saturating_sub(Self::MAX_LEVELS);
        levels.truncate(Self::MAX_LEVELS);
        let name = name.to_owned();
        Some(Self {
            name,
            row,
            low,
            high: low + width * bins as f64,
            counts,
            levels,
            hidden_levels,
        })
    }
}

/// Bins for `values` weights: twice the square root, between 16 and 96.
fn bins(values: usize) -> usize {
    (values.isqrt() * 2).clamp(16, 96)
}

/// Squared error over squared weights; 0 for a row of zeros that stayed so.
fn relative_error(weights: &[f32], decoded: &[f32]) -> f64 {
    let (mut error, mut signal) = (0.0_f64, 0.0_f64);
    for (&weight, &decoded) in weights.iter().zip(decoded) {
        let (weight, decoded) = (f64::from(weight), f64::from(decoded));
        error += (weight - decoded).powi(2);
        signal += weight * weight;
    }
    if error > 0.0 { error / signal } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_row_is_shown_with_its_levels() {
        let weights = [1.0, -1.0, 1.0, -1.0, 0.0, 1.0, 2.0, 3.0];
        let decoded = [1.0, -1.0, 1.0, -1.0, 0.0, 0.0, 3.0, 3.0];
        let histogram = WeightHistogram::worst_row("a", &weights, &decoded, 2).unwrap();
        assert_eq!((histogram.row, histogram.counts.len()), (1, 16));
        assert_eq!(histogram.levels, [0.0, 3.0]);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 4);
        assert!(histogram.counts[0] == 1 && histogram.counts[15] == 1);
        assert!((histogram.low - 0.0).abs() < 1e-12 && (histogram.high - 3.0).abs() < 1e-12);
    }

    #[test]
    fn odd_matrices_give_no_histogram_or_one_bar() {
        assert_eq!(WeightHistogram::worst_row("a", &[], &[], 0), None);
        assert_eq!(
            WeightHistogram::worst_row("a", &[1.0; 3], &[1.0; 3], 2),
            None
        );
        assert_eq!(
            WeightHistogram::worst_row("a", &[f32::NAN; 2], &[f32::NAN; 2], 1),
            None
        );
        let flat = WeightHistogram::worst_row("a", &[2.0; 5], &[2.0; 5], 1).unwrap();
        assert_eq!(flat.counts[0], 5);
        assert_eq!(flat.levels, [2.0]);
    }
}
