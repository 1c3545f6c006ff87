//! Predicted sizes: every stored bit of a layer, before the layer is read.

use super::{ModelFacts, PlannedLayer};
use quantizers::{Granularity, Scheme};
use quantizers::tensor::SchemeKind;
use serde::{Deserialize, Serialize};

/// Predicted sizes of a whole model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictedSize {
    /// Tensors of the original.
    pub original_bytes: u64,
    /// Tensors of the artifact.
    pub artifact_bytes: u64,
    /// Over the quantized linear layers.
    pub bits_per_weight_linear: f64,
    /// Over all parameters.
    pub bits_per_weight_file: f64,
    /// Original over artifact.
    pub ratio: f64,
}

/// Bits of one scale, codebook entry or sparse value.
const FLOAT_BITS: u64 = 16;
/// Entries of one row pointer.
const POINTER_BITS: u64 = 32;

/// Stored bits of one `[rows, cols]` layer: codes padded to 32 bits a row, scales, zero points,
/// codebooks, sparse values, their columns and row pointers.
///
/// Exact but for the number of sparse values, which follows the asked-for fractions.
pub(super) fn layer_bits(
    scheme: &Scheme,
    parameters: &toml::Table,
    rows: usize,
    cols: usize,
) -> u64 {
    let (rows_64, cols_64, width) = (rows as u64, cols as u64, u64::from(scheme.bits));
    let codes = rows_64 * (cols_64 * width).div_ceil(32) * 32;
    let dense = match scheme.kind {
        SchemeKind::Uniform => {
            let scales = scheme.granularity.scale_count(rows, cols) as u64;
            let zero_points = match (scheme.symmetric, scheme.granularity) {
                (true, _) => 0,
                (false, Granularity::Tensor) => 32,
                // Packed along the rows, like the codes.
                (false, granularity) => {
                    granularity.groups_per_row(cols) as u64 * (rows_64 * width).div_ceil(32) * 32
                }
            };
            codes + scales * FLOAT_BITS + zero_points
        }
        SchemeKind::Codebook => codes + rows_64 * (FLOAT_BITS << scheme.bits),
    };
    if !scheme.outliers {
        return dense;
    }
    let share: f64 = ["outlier_fraction", "sensitive_fraction"]
        .iter()
        .filter_map(|key| parameters.get(*key))
        .filter_map(|value| value.as_float().or_else(|| value.as_integer().map(|n| n as f64)))
        .sum();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of weights"
    )]
    let values = (share * rows as f64 * cols as f64).round().max(0.0) as u64;
    let column_bits = if cols > 65_536 { 32 } else { 16 };
    dense + values * (FLOAT_BITS + column_bits) + (rows_64 + 1) * POINTER_BITS
}

/// Sizes of the whole model, kept tensors as they are.
pub(super) fn predict(model: &ModelFacts, layers: &[PlannedLayer]) -> PredictedSize {
    let weights: u64 = layers.iter().map(PlannedLayer::weights).sum();
    let bytes: u64 = layers.iter().map(|layer| layer.bytes).sum();
    let replaced: u64 = layers.iter().map(|layer| layer.original_bytes).sum();
    let artifact_bytes = model.tensor_bytes.saturating_sub(replaced) + bytes;
    PredictedSize {
        original_bytes: model.tensor_bytes,
        artifact_bytes,
        bits_per_weight_linear: 8.0 * bytes as f64 / weights.max(1) as f64,
        bits_per_weight_file: 8.0 * artifact_bytes as f64 / model.parameters.max(1) as f64,
        ratio: model.tensor_bytes as f64 / artifact_bytes.max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(kind: SchemeKind, bits: u8, granularity: Granularity) -> Scheme {
        Scheme {
            method: "any".into(),
            kind,
            bits,
            granularity,
            symmetric: true,
            outliers: false,
            transposed: false,
        }
    }

    #[test]
    fn rows_are_padded_and_scales_counted() {
        // 4 bit x 172 = 688 bits = 21.5 words -> 22 words; 2 groups of 86 a row.
        let scheme = scheme(SchemeKind::Uniform, 4, Granularity::Group(86));
        assert_eq!(layer_bits(&scheme, &toml::Table::new(), 64, 172), 64 * (22 * 32 + 2 * 16));
    }

    #[test]
    fn codebooks_and_sparse_parts_are_counted() {
        let mut scheme = scheme(SchemeKind::Codebook, 3, Granularity::Channel);
        let mut parameters = toml::Table::new();
        assert_eq!(layer_bits(&scheme, &parameters, 10, 128), 10 * (384 + 8 * 16));
        scheme.outliers = true;
        parameters.insert("outlier_fraction".into(), toml::Value::Float(0.01));
        let sparse = 13 * 32 + 11 * 32;
        assert_eq!(layer_bits(&scheme, &parameters, 10, 128), 10 * (384 + 8 * 16) + sparse);
    }
}
