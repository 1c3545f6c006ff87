//! bitsandbytes checkpoints: 4 bits with a table (nf4, fp4), and int8 with a scale for each row.
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `weight`, 4 bits | U8 | `[ceil(n / 2), 1]`: the first value in the upper half |
//! | `weight.quant_state.bitsandbytes__nf4` | U8 | JSON: `shape`, `blocksize`, `dtype`, and `nested_offset`, `nested_blocksize` |
//! | `weight.quant_map` | F32 | `[16]`: values of the codes |
//! | `weight.absmax` | F32 | `[ceil(n / blocksize)]`; U8 where the scales are quantized too |
//! | `weight.nested_quant_map`, `weight.nested_absmax` | F32 | `[256]`, `[ceil(blocks / nested_blocksize)]` |
//! | `weight`, int8 | I8 | `[out, in]` |
//! | `SCB` | F32 | `[out]`: the largest magnitude of a row, which is code 127 |

use super::{DecodedTensor, Source, SourceFiles};
use crate::formats::decoded::Reading;
use crate::formats::layer_files::{LayerFiles, believable};
use crate::formats::{Dtype, FormatError, TensorFolder};
use crate::tensor::FloatType;
use rayon::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

const STATE: &str = "weight.quant_state.bitsandbytes__";
const WEIGHT: &str = "weight";
const WEIGHT_FORMAT: &str = "weight_format";
const QUANT_MAP: &str = "weight.quant_map";
const ABSMAX: &str = "weight.absmax";
const NESTED_MAP: &str = "weight.nested_quant_map";
const NESTED_ABSMAX: &str = "weight.nested_absmax";
const SCB: &str = "SCB";

/// The registry entry.
pub(super) struct BitsAndBytes;

/// What the library keeps beside a 4-bit weight.
#[derive(Debug, Clone, Deserialize)]
struct State {
    shape: Vec<usize>,
    blocksize: usize,
    #[serde(default)]
    dtype: Option<String>,
    #[serde(default)]
    nested_offset: Option<f32>,
    #[serde(default)]
    nested_blocksize: Option<usize>,
}

#[derive(Debug)]
struct FourBits {
    layer: String,
    state: State,
}

#[derive(Debug)]
struct EightBits {
    layer: String,
    shape: [usize; 2],
}

impl Source for BitsAndBytes {
    fn quant_method(&self) -> &'static str {
        "bitsandbytes"
    }

    fn summary(&self) -> &'static str {
        "bitsandbytes nf4, fp4 (scales quantized or not) and int8"
    }

    fn tensors(
        &self,
        files: &SourceFiles<'_>,
    ) -> Result<BTreeMap<String, DecodedTensor>, FormatError> {
        let mut found = BTreeMap::new();
        for name in files.folder.names() {
            if let Some((layer, kind)) = name.split_once(&format!(".{STATE}")) {
                let of_layer = LayerFiles {
                    folder: files.folder,
                    layer,
                };
                found.insert(
                    of_layer.name(WEIGHT),
                    four_bits(files, of_layer, name, kind)?,
                );
            } else if let Some(layer) = name.strip_suffix(&format!(".{SCB}")) {
                let of_layer = LayerFiles {
                    folder: files.folder,
                    layer,
                };
                found.insert(of_layer.name(WEIGHT), eight_bits(of_layer)?);
            }
        }
        Ok(found)
    }
}

fn four_bits(
    source: &SourceFiles<'_>,
    files: LayerFiles<'_>,
    state_name: &str,
    kind: &str,
) -> Result<DecodedTensor, FormatError> {
    let state: State =
        serde_json::from_slice(&files.folder.bytes(state_name)?).map_err(|error| {
            FormatError::Config {
                file: source.file.to_path_buf(),
                place: format!("tensor `{state_name}`"),
                expected: "shape and block size as JSON".to_owned(),
                found: error.to_string(),
            }
        })?;
    let count = state
        .shape
        .iter()
        .try_fold(1_usize, |count, side| count.checked_mul(*side));
    let Some(count) = count.filter(|&count| believable(count, 1) && state.blocksize > 0) else {
        let (name, shape) = (state_name.to_owned(), state.shape);
        return Err(FormatError::BadMatrix { name, shape });
    };
    let info = files.folder.require(&files.name(WEIGHT))?;
    if info.dtype != Dtype::U8 || info.elements() != count.div_ceil(2) {
        return Err(FormatError::TensorShape {
            name: files.name(WEIGHT),
            expected: vec![count.div_ceil(2), 1],
            found: info.shape.clone(),
        });
    }
    files.bytes(QUANT_MAP, Dtype::F32, "F32", &[16])?;
    let blocks = count.div_ceil(state.blocksize);
    let nested = files.info(NESTED_ABSMAX).is_some();
    let mut parts = vec![files.name(WEIGHT), state_name.to_owned()];
    parts.extend([QUANT_MAP, ABSMAX].map(|part| files.name(part)));
    if nested {
        let size = state
            .nested_blocksize
            .filter(|&size| size > 0)
            .unwrap_or(256);
        files.bytes(ABSMAX, Dtype::U8, "U8", &[blocks])?;
        files.bytes(NESTED_MAP, Dtype::F32, "F32", &[256])?;
        files.bytes(NESTED_ABSMAX, Dtype::F32, "F32", &[blocks.div_ceil(size)])?;
        parts.extend([NESTED_MAP, NESTED_ABSMAX].map(|part| files.name(part)));
    } else {
        files.bytes(ABSMAX, Dtype::F32, "F32", &[blocks])?;
    }
    Ok(DecodedTensor {
        shape: state.shape.clone(),
        stored: format!("bitsandbytes {kind}, group {}", state.blocksize),
        quantized: true,
        rounds_inputs: false,
        float_type: state.dtype.as_deref().and_then(FloatType::of_name),
        parts,
        reading: Box::new(FourBits {
            layer: files.layer.to_owned(),
            state,
        }),
    })
}

impl FourBits {
    /// The largest magnitude of every block.
    fn magnitudes(&self, files: LayerFiles<'_>, blocks: usize) -> Result<Vec<f32>, FormatError> {
        if files.info(NESTED_ABSMAX).is_none() {
            return Ok(files.floats(ABSMAX, &[blocks])?.0);
        }
        let size = self
            .state
            .nested_blocksize
            .filter(|&size| size > 0)
            .unwrap_or(256);
        let offset = self.state.nested_offset.unwrap_or(0.0);
        let codes = files.bytes(ABSMAX, Dtype::U8, "U8", &[blocks])?;
        let map = files.floats(NESTED_MAP, &[256])?.0;
        let scales = files.floats(NESTED_ABSMAX, &[blocks.div_ceil(size)])?.0;
        let codes = codes.iter().enumerate();
        Ok(codes
            .map(|(block, code)| map[usize::from(*code)] * scales[block / size] + offset)
            .collect())
    }
}

impl Reading for FourBits {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let files = LayerFiles {
            folder,
            layer: &self.layer,
        };
        let count: usize = self.state.shape.iter().product();
        let bytes = folder.bytes(&files.name(WEIGHT))?;
        let map = files.floats(QUANT_MAP, &[16])?.0;
        let size = self.state.blocksize;
        let magnitudes = self.magnitudes(files, count.div_ceil(size))?;
        let mut values = vec![0.0_f32; count];
        values
            .par_chunks_mut(size)
            .zip(&magnitudes)
            .enumerate()
            .for_each(|(block, (values, magnitude))| {
                for (at, value) in values.iter_mut().enumerate() {
                    let at = block * size + at;
                    let byte = bytes[at / 2];
                    let code = if at.is_multiple_of(2) {
                        byte >> 4
                    } else {
                        byte & 15
                    };
                    *value = map[usize::from(code)] * magnitude;
                }
            });
        Ok(values)
    }
}

fn eight_bits(files: LayerFiles<'_>) -> Result<DecodedTensor, FormatError> {
    let name = files.name(WEIGHT);
    let info = files.folder.require(&name)?;
    let shape = match info.shape[..] {
        _ if info.dtype != Dtype::I8 => {
            let (expected, found) = ("I8", info.dtype);
            return Err(FormatError::TensorType {
                name,
                expected,
                found,
            });
        }
        [rows, cols] if believable(rows, cols) => [rows, cols],
        _ => {
            let shape = info.shape.clone();
            return Err(FormatError::BadMatrix { name, shape });
        }
    };
    let scales = files.folder.require(&files.name(SCB))?;
    if scales.elements() != shape[0] {
        return Err(FormatError::TensorShape {
            name: files.name(SCB),
            expected: vec![shape[0]],
            found: scales.shape.clone(),
        });
    }
    let mut parts = vec![name, files.name(SCB)];
    parts.extend(files.info(WEIGHT_FORMAT).map(|_| files.name(WEIGHT_FORMAT)));
    Ok(DecodedTensor {
        shape: shape.to_vec(),
        stored: "bitsandbytes int8, channel".to_owned(),
        quantized: true,
        rounds_inputs: true,
        float_type: None,
        parts,
        reading: Box::new(EightBits {
            layer: files.layer.to_owned(),
            shape,
        }),
    })
}

impl Reading for EightBits {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let files = LayerFiles {
            folder,
            layer: &self.layer,
        };
        let [rows, cols] = self.shape;
        let codes = files.bytes(WEIGHT, Dtype::I8, "I8", &[rows, cols])?;
        let scales = files.floats(SCB, &[rows])?.0;
        let rows = codes.par_chunks(cols.max(1)).zip(&scales);
        Ok(rows
            .flat_map_iter(|(codes, scale)| {
                let step = scale / 127.0;
                codes
                    .iter()
                    .map(move |code| f32::from(code.cast_signed()) * step)
            })
            .collect())
    }
}
