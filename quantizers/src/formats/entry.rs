//! One tensor of a layer on its way to a file.

use super::floats::{dtype_of, encode_floats};
use crate::FloatType;
use half::f16;
use safetensors::Dtype;

/// Packed codes or indices, I32 `[out, ceil(in * bits / 32)]`.
pub const WEIGHT_PACKED: &str = "weight_packed";
/// `[out, in]` as I64 `[2]`.
pub const WEIGHT_SHAPE: &str = "weight_shape";
/// Scales: `[out, groups]`, or `[1]` for the tensor.
pub const WEIGHT_SCALE: &str = "weight_scale";
/// Zero points packed along the rows, I32 `[ceil(out * bits / 32), groups]`.
pub const WEIGHT_ZERO_POINT: &str = "weight_zero_point";
/// Group of every input, I32 `[in]`, where the inputs of a group are not neighbours.
pub const WEIGHT_G_IDX: &str = "weight_g_idx";
/// Tables, F16 `[tables, 2^bits]`.
pub const WEIGHT_CODEBOOK: &str = "weight_codebook";
/// Scales of table entries, F16 `[out, groups]` or packed codes.
pub const WEIGHT_CODEBOOK_SCALE: &str = "weight_codebook_scale";
/// What packed codes of scales are multiplied with, F16 `[out, 1]`.
pub const WEIGHT_CODEBOOK_ROW_SCALE: &str = "weight_codebook_row_scale";
/// Row pointers of the sparse part, I32 `[out + 1]`.
pub const WEIGHT_OUTLIER_ROWS: &str = "weight_outlier_rows";
/// Columns of the sparse part, U16 or I32 `[stored]`.
pub const WEIGHT_OUTLIER_COLS: &str = "weight_outlier_cols";
/// Values of the sparse part, F16 `[stored]`.
pub const WEIGHT_OUTLIER_VALUES: &str = "weight_outlier_values";
/// The scale all inputs of a layer share, `[1]`, where it is fixed.
pub const INPUT_SCALE: &str = "input_scale";
/// The code of zero for all inputs of a layer, I8 `[1]`, beside a fixed scale.
pub const INPUT_ZERO_POINT: &str = "input_zero_point";
/// Streams of a trellis code, I16 `[in / 16, out / 16, 16 bits]`.
pub const TRELLIS: &str = "trellis";
/// Signed scales of the inputs of a trellis code, F16 `[in]`.
pub const INPUT_SIGNS: &str = "suh";
/// Signed scales of the outputs of a trellis code, F16 `[out]`.
pub const OUTPUT_SIGNS: &str = "svh";
/// Weights that are not packed: floats, or int8 codes.
pub const WEIGHT: &str = "weight";

/// A tensor of one layer: `<layer>.<suffix>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What follows the layer's name and a dot.
    pub suffix: &'static str,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Little-endian values.
    pub bytes: Vec<u8>,
}

impl Entry {
    pub(crate) fn words(suffix: &'static str, shape: Vec<usize>, words: &[u32]) -> Self {
        Self {
            suffix,
            dtype: Dtype::I32,
            shape,
            bytes: bytemuck::cast_slice(words).to_vec(),
        }
    }

    pub(crate) fn signed_bytes(suffix: &'static str, shape: Vec<usize>, values: &[i8]) -> Self {
        Self {
            suffix,
            dtype: Dtype::I8,
            shape,
            bytes: bytemuck::cast_slice(values).to_vec(),
        }
    }

    pub(crate) fn halves(suffix: &'static str, shape: Vec<usize>, values: &[f16]) -> Self {
        Self {
            suffix,
            dtype: Dtype::F16,
            shape,
            bytes: bytemuck::cast_slice(values).to_vec(),
        }
    }

    pub(crate) fn floats(
        suffix: &'static str,
        shape: Vec<usize>,
        float_type: FloatType,
        values: &[f32],
    ) -> Self {
        Self {
            suffix,
            dtype: dtype_of(float_type),
            shape,
            bytes: encode_floats(float_type, values),
        }
    }

    pub(crate) fn shape(rows: usize, cols: usize) -> Self {
        let bytes = [rows, cols]
            .iter()
            .flat_map(|size| (*size as u64).to_le_bytes())
            .collect();
        Self {
            suffix: WEIGHT_SHAPE,
            dtype: Dtype::I64,
            shape: vec![2],
            bytes,
        }
    }
}
