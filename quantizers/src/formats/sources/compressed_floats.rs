//! The small floats of compressed-tensors: E4M3 weights, and E2M1 weights with scales of 16 (nvfp4) or 32
//! (mxfp4).
//!
//! | format | tensor | type | shape |
//! |---|---|---|---|
//! | float-quantized, naive-quantized, mxfp8 | `weight` | F8_E4M3 | `[out, in]` |
//! | | `weight_scale` | float, or U8 exponents | `[1]`, `[out, 1]`, `[out, in / group]`, `[ceil(out / b), ceil(in / b)]` |
//! | nvfp4-pack-quantized | `weight_packed` | U8 | `[out, in / 2]`, the even column in the low half |
//! | | `weight_scale` | F8_E4M3 | `[out, in / 16]` |
//! | | `weight_global_scale` | F32 | `[1]`, which divides |
//! | mxfp4-pack-quantized | `weight_packed` | U8 | as above |
//! | | `weight_scale` | U8 | `[out, in / 32]`, exponents |

use super::scaled_floats::scaled;
use super::scales::Scales;
use super::{DecodedTensor, Source, SourceFiles};
use crate::formats::compressed_tensors::reader::modules;
use crate::formats::compressed_tensors::targets::Targets;
use crate::formats::decoded::Reading;
use crate::formats::entry::{INPUT_SCALE, WEIGHT, WEIGHT_PACKED, WEIGHT_SCALE};
use crate::formats::layer_files::LayerFiles;
use crate::formats::minifloat::E2M1;
use crate::formats::{Dtype, FormatError, TensorFolder, Unsupported};
use serde_json::Value;
use std::collections::BTreeMap;

/// The scale of all scales of a layer.
const GLOBAL_SCALE: &str = "weight_global_scale";
/// The same for the inputs, which no value of a weight depends on.
const INPUT_GLOBAL_SCALE: &str = "input_global_scale";

/// The registry entry.
pub(super) struct CompressedFloats;

#[derive(Debug)]
struct PackedFloats {
    layer: String,
    rows: usize,
    cols: usize,
    scales: Scales,
    global: bool,
}

impl Source for CompressedFloats {
    fn quant_method(&self) -> &'static str {
        "compressed-tensors"
    }

    fn summary(&self) -> &'static str {
        "8-bit floats, nvfp4 and mxfp4 (its integers can be written too)"
    }

    fn tensors(
        &self,
        files: &SourceFiles<'_>,
    ) -> Result<BTreeMap<String, DecodedTensor>, FormatError> {
        let targets = Targets::parse(files.file, files.config)?;
        let mut found = BTreeMap::new();
        for layer in modules(files.folder) {
            let group = targets.group_of(layer)?;
            if !group.weights.is_float() {
                continue;
            }
            let of_layer = LayerFiles {
                folder: files.folder,
                layer,
            };
            let weight = of_layer.name(WEIGHT);
            let mut tensor = match group.weights.num_bits {
                8 => scaled(
                    files.folder,
                    &weight,
                    Some(of_layer.name(WEIGHT_SCALE)),
                    sides(&group.weights.block_structure),
                )?,
                4 => packed(of_layer)?,
                bits => {
                    let source = Unsupported {
                        format: "compressed-tensors",
                        what: format!("{bits}-bit float weights in group `{}`", group.name),
                        stores: "floats of 4 and 8 bits",
                    };
                    let layer = layer.to_owned();
                    return Err(FormatError::Unsupported { layer, source });
                }
            };
            tensor.rounds_inputs = group.inputs.is_some();
            let others = [INPUT_SCALE, INPUT_GLOBAL_SCALE].map(|suffix| of_layer.name(suffix));
            let present = |name: &String| files.folder.info(name).is_some();
            tensor.parts.extend(others.into_iter().filter(present));
            found.insert(weight, tensor);
        }
        Ok(found)
    }
}

/// Two sides of a tile, as a list or as `"128x128"`.
pub(super) fn sides(value: &Value) -> Option<[usize; 2]> {
    let sides: Vec<usize> = match value {
        Value::String(text) => text
            .split('x')
            .filter_map(|side| side.parse().ok())
            .collect(),
        Value::Array(sides) => (sides.iter())
            .filter_map(|side| usize::try_from(side.as_u64()?).ok())
            .collect(),
        _ => return None,
    };
    sides.try_into().ok()
}

fn packed(files: LayerFiles<'_>) -> Result<DecodedTensor, FormatError> {
    let name = files.name(WEIGHT_PACKED);
    let info = files.folder.require(&name)?;
    let [rows, bytes] = info.shape[..] else {
        let shape = info.shape.clone();
        return Err(FormatError::BadMatrix { name, shape });
    };
    if info.dtype != Dtype::U8 {
        let (expected, found) = ("U8", info.dtype);
        return Err(FormatError::TensorType {
            name,
            expected,
            found,
        });
    }
    let cols = 2 * bytes;
    let scales = Scales::of(files.folder, files.name(WEIGHT_SCALE), &[rows, cols], None)?;
    let global = files.info(GLOBAL_SCALE).is_some();
    let kind = if global { "nvfp4" } else { "mxfp4" };
    let mut parts = vec![name, files.name(WEIGHT_SCALE)];
    if global {
        parts.push(files.name(GLOBAL_SCALE));
    }
    Ok(DecodedTensor {
        shape: vec![rows, cols],
        stored: format!("{kind}, {}", scales.describe()),
        quantized: true,
        rounds_inputs: false,
        float_type: None,
        parts,
        reading: Box::new(PackedFloats {
            layer: files.layer.to_owned(),
            rows,
            cols,
            scales,
            global,
        }),
    })
}

impl Reading for PackedFloats {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let files = LayerFiles {
            folder,
            layer: &self.layer,
        };
        let bytes = files.bytes(WEIGHT_PACKED, Dtype::U8, "U8", &[self.rows, self.cols / 2])?;
        let halves = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        let mut values: Vec<f32> = halves.map(|code| E2M1[usize::from(code)]).collect();
        let factor = if self.global {
            1.0 / files.floats(GLOBAL_SCALE, &[1])?.0[0]
        } else {
            1.0
        };
        self.scales.apply(folder, &mut values, factor)?;
        Ok(values)
    }
}
