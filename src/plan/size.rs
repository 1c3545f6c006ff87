//! Predicted sizes: every stored bit of a layer, before the layer is read.

use super::{ModelFacts, PlannedLayer, integer};
use quantizers::formats::Format;
use quantizers::integer::compile::Encoder;
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

/// Fills in the stored bits of one layer as `format` will write it.
///
/// Exact but for the number of sparse values, which follows the asked-for fractions.
pub(super) fn fill(layer: &mut PlannedLayer, format: &dyn Format) {
    let [rows, cols] = layer.shape;
    let plan = &layer.plan;
    let bits = format.planned_bits(&plan.scheme, rows, cols, plan.scale_type, plan.outliers);
    layer.bits_per_weight = bits as f64 / layer.weights().max(1) as f64;
    layer.bytes = bits.div_ceil(8);
}

/// Sizes of the whole model: kept tensors as they are, or as the tables of an integer program.
pub(super) fn predict(
    model: &ModelFacts,
    layers: &[PlannedLayer],
    is_integer: bool,
) -> PredictedSize {
    let weights: u64 = layers.iter().map(PlannedLayer::weights).sum();
    let bytes: u64 = layers.iter().map(|layer| layer.bytes).sum();
    let kept = match Encoder::of(&model.graph) {
        Ok(encoder) if is_integer => integer::table_bytes(&encoder),
        _ => kept_bytes(model, layers.iter()),
    };
    let artifact_bytes = kept + bytes;
    PredictedSize {
        original_bytes: model.tensor_bytes,
        artifact_bytes,
        bits_per_weight_linear: 8.0 * bytes as f64 / weights.max(1) as f64,
        bits_per_weight_file: 8.0 * artifact_bytes as f64 / model.parameters.max(1) as f64,
        ratio: model.tensor_bytes as f64 / artifact_bytes.max(1) as f64,
    }
}

/// Bytes of the tensors that are no weight of `layers`, as the artifact keeps them.
pub(super) fn kept_bytes<'a>(
    model: &ModelFacts,
    layers: impl Iterator<Item = &'a PlannedLayer>,
) -> u64 {
    let replaced = layers.map(|layer| {
        let float_type = model.float_types.get(&layer.name);
        layer.weights() * float_type.map_or(0, |float_type| float_type.bits()) / 8
    });
    model.kept_bytes.saturating_sub(replaced.sum())
}
