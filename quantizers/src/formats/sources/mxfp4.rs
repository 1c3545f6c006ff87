//! The experts of gpt-oss: E2M1 weights in blocks of 32 with a power of two each.
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `X_blocks` | U8 | `[experts, out, in / 32, 16]`, the first value in the lower half |
//! | `X_scales` | U8 | `[experts, out, in / 32]`: exponents plus 127 |
//!
//! The values are the tensor `X` `[experts, in, out]`, as the model multiplies.

use super::{DecodedTensor, Source, SourceFiles};
use crate::formats::decoded::Reading;
use crate::formats::layer_files::type_error;
use crate::formats::minifloat::{E2M1, e8m0};
use crate::formats::{Dtype, FormatError, TensorFolder};
use rayon::prelude::*;
use std::collections::BTreeMap;

const BLOCKS: &str = "_blocks";
const SCALES: &str = "_scales";
/// Values of a block.
const BLOCK: usize = 32;

/// The registry entry.
pub(super) struct Mxfp4;

#[derive(Debug)]
struct Experts {
    blocks: String,
    scales: String,
    outputs: usize,
    groups: usize,
}

impl Source for Mxfp4 {
    fn quant_method(&self) -> &'static str {
        "mxfp4"
    }

    fn summary(&self) -> &'static str {
        "4-bit floats in blocks of 32, as the experts of gpt-oss"
    }

    fn tensors(
        &self,
        files: &SourceFiles<'_>,
    ) -> Result<BTreeMap<String, DecodedTensor>, FormatError> {
        let mut found = BTreeMap::new();
        for (name, info) in files.folder.tensors() {
            let Some(tensor) = name.strip_suffix(BLOCKS) else {
                continue;
            };
            let scales = format!("{tensor}{SCALES}");
            let Some(scale_info) = files.folder.info(&scales) else {
                continue;
            };
            let (blocks, shape) = (name.to_owned(), &info.shape);
            let [experts, outputs, groups, 16] = shape[..] else {
                let shape = shape.clone();
                return Err(FormatError::BadMatrix {
                    name: blocks,
                    shape,
                });
            };
            for (name, info) in [(&blocks, info), (&scales, scale_info)] {
                if info.dtype != Dtype::U8 {
                    return Err(type_error(name.clone(), "U8", info.dtype));
                }
            }
            if scale_info.shape != shape[..3] {
                return Err(FormatError::TensorShape {
                    name: scales,
                    expected: shape[..3].to_vec(),
                    found: scale_info.shape.clone(),
                });
            }
            let decoded = DecodedTensor {
                shape: vec![experts, groups * BLOCK, outputs],
                stored: "mxfp4, group 32".to_owned(),
                quantized: true,
                rounds_inputs: false,
                float_type: None,
                parts: vec![blocks.clone(), scales.clone()],
                reading: Box::new(Experts {
                    blocks,
                    scales,
                    outputs,
                    groups,
                }),
            };
            found.insert(tensor.to_owned(), decoded);
        }
        Ok(found)
    }
}

impl Reading for Experts {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let (blocks, scales) = (folder.bytes(&self.blocks)?, folder.bytes(&self.scales)?);
        Ok(self.decode(&blocks, &scales))
    }

    fn slice(
        &self,
        folder: &TensorFolder,
        index: usize,
        elements: usize,
    ) -> Result<Vec<f32>, FormatError> {
        let (blocks, scales) = (folder.bytes(&self.blocks)?, folder.bytes(&self.scales)?);
        let [blocks, scales] = [(&blocks, elements / 2), (&scales, elements / BLOCK)]
            .map(|(all, size)| &all[index * size..(index + 1) * size]);
        Ok(self.decode(blocks, scales))
    }
}

impl Experts {
    /// The values of whole experts, `[experts, in, out]`.
    fn decode(&self, blocks: &[u8], scales: &[u8]) -> Vec<f32> {
        let (outputs, groups) = (self.outputs, self.groups);
        let mut values = vec![0.0_f32; blocks.len() * 2];
        if values.is_empty() {
            return values;
        }
        // One group of inputs of one expert: 32 rows of outputs.
        values
            .par_chunks_mut(BLOCK * outputs)
            .enumerate()
            .for_each(|(at, rows)| {
                let (expert, group) = (at / groups, at % groups);
                for output in 0..outputs {
                    let block = (expert * outputs + output) * groups + group;
                    let scale = e8m0(scales[block]);
                    let bytes = &blocks[block * BLOCK / 2..(block + 1) * BLOCK / 2];
                    for (pair, byte) in bytes.iter().enumerate() {
                        let [low, high] =
                            [byte & 15, byte >> 4].map(|code| E2M1[usize::from(code)]);
                        rows[2 * pair * outputs + output] = low * scale;
                        rows[(2 * pair + 1) * outputs + output] = high * scale;
                    }
                }
            });
        values
    }
}
