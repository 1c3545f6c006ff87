//! 8-bit floats with the scales that multiply them, as DeepSeek-V3 and transformers store them.
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `X` | F8_E4M3 | `[.., out, in]` |
//! | `X_scale_inv` or `X_scale` | F32, BF16, F16, F8_E8M0 | `[.., ceil(out / 128), ceil(in / 128)]`, or one for all |

use super::scaled_floats::{TYPES, scaled};
use super::{DecodedTensor, Source, SourceFiles};
use crate::formats::FormatError;
use serde_json::Value;
use std::collections::BTreeMap;

/// Endings of the scales of a tensor. Both multiply, whatever the first is called.
const SCALES: [&str; 2] = ["_scale_inv", "_scale"];

/// The registry entry.
pub(super) struct Fp8;

impl Source for Fp8 {
    fn quant_method(&self) -> &'static str {
        "fp8"
    }

    fn summary(&self) -> &'static str {
        "8-bit floats with a scale for each tile or tensor, as DeepSeek-V3"
    }

    fn tensors(
        &self,
        files: &SourceFiles<'_>,
    ) -> Result<BTreeMap<String, DecodedTensor>, FormatError> {
        let block = block(files)?;
        let mut found = BTreeMap::new();
        for (name, info) in files.folder.tensors() {
            if !TYPES.contains(&info.dtype) {
                continue;
            }
            let scales = SCALES.map(|end| format!("{name}{end}"));
            let scale = scales
                .into_iter()
                .find(|scale| files.folder.info(scale).is_some());
            let Some(scale) = scale else {
                return Err(missing(files, name));
            };
            let mut tensor = scaled(files.folder, name, Some(scale), block)?;
            tensor.rounds_inputs = true;
            tensor.parts.extend(input_scale(files, name));
            found.insert(name.to_owned(), tensor);
        }
        Ok(found)
    }
}

fn missing(files: &SourceFiles<'_>, name: &str) -> FormatError {
    let scale = format!("{name}{}", SCALES[0]);
    match files.folder.require(&scale) {
        Err(error) => error,
        Ok(_) => FormatError::OneSided {
            layer: name.to_owned(),
            present: "the weight files",
            absent: "the scales",
        },
    }
}

/// The scale of a layer's inputs, which belongs to the layer and to no value of it.
fn input_scale(files: &SourceFiles<'_>, name: &str) -> Option<String> {
    let layer = name.strip_suffix(".weight")?;
    let scales = ["input_scale", "activation_scale"].map(|end| format!("{layer}.{end}"));
    scales
        .into_iter()
        .find(|scale| files.folder.info(scale).is_some())
}

/// Rows and columns of a tile; nothing where there is one scale for a tensor.
fn block(files: &SourceFiles<'_>) -> Result<Option<[usize; 2]>, FormatError> {
    match files.config.get("weight_block_size") {
        None => Ok(Some([128, 128])),
        Some(Value::Null) => Ok(None),
        Some(value) => super::compressed_floats::sides(value)
            .map(Some)
            .ok_or_else(|| files.refuse("weight_block_size", "two sides of a tile", value)),
    }
}
