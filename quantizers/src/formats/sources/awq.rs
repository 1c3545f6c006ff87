//! AWQ checkpoints in the layout `gemm`, 4 bits.
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `qweight` | I32 | `[in, out / 8]`: half-byte `i` of word `c` is output `8 c + ORDER[i]` |
//! | `qzeros` | I32 | `[groups, out / 8]`: zero points in the same order |
//! | `scales` | F16, BF16, F32 | `[groups, out]` |

use super::gptq::{group_size_of, matrix};
use super::packed_columns::Grid;
use super::{DecodedTensor, Source, SourceFiles};
use crate::formats::decoded::Reading;
use crate::formats::floats::float_type_of;
use crate::formats::layer_files::LayerFiles;
use crate::formats::{FormatError, TensorFolder};
use serde_json::Value;
use std::collections::BTreeMap;

const QWEIGHT: &str = "qweight";
const QZEROS: &str = "qzeros";
const SCALES: &str = "scales";

/// The half-byte of a word that holds each of its 8 outputs: the kernel takes even outputs from the low halves.
const HALF_BYTE: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// The registry entry.
pub(super) struct Awq;

#[derive(Debug)]
struct AwqLayer {
    layer: String,
    inputs: usize,
    outputs: usize,
    groups: usize,
    group_size: usize,
}

impl Source for Awq {
    fn quant_method(&self) -> &'static str {
        "awq"
    }

    fn summary(&self) -> &'static str {
        "AWQ of 4 bits in the layout `gemm`"
    }

    fn tensors(
        &self,
        files: &SourceFiles<'_>,
    ) -> Result<BTreeMap<String, DecodedTensor>, FormatError> {
        let version = files.text("version").unwrap_or("gemm");
        if !version.eq_ignore_ascii_case("gemm") {
            return Err(files.refuse("version", "`gemm`", &Value::from(version)));
        }
        let bits = match files.number("bits")? {
            Some(bits) => Some(bits),
            None => files.number("w_bit")?,
        };
        if bits.is_some_and(|bits| bits != 4) {
            let found = bits.map_or(Value::Null, Value::from);
            return Err(files.refuse("bits", "4", &found));
        }
        let group_size = match files.number("group_size")? {
            Some(size) => Some(size),
            None => files.number("q_group_size")?,
        };
        let layers = files.layers_with(QWEIGHT).map(|layer| {
            let of_layer = LayerFiles {
                folder: files.folder,
                layer,
            };
            Ok((of_layer.name("weight"), layer_of(of_layer, group_size)?))
        });
        layers.collect()
    }
}

fn layer_of(files: LayerFiles<'_>, group_size: Option<i64>) -> Result<DecodedTensor, FormatError> {
    let [inputs, words] = matrix(files, QWEIGHT)?;
    let [groups, zero_words] = matrix(files, QZEROS)?;
    let outputs = 8 * words;
    let group_size = group_size_of(inputs, groups, group_size).filter(|_| zero_words == words);
    let Some(group_size) = group_size else {
        return Err(FormatError::TensorShape {
            name: files.name(QZEROS),
            expected: vec![1, words],
            found: vec![groups, zero_words],
        });
    };
    let scales = files.folder.require(&files.name(SCALES))?;
    if scales.shape != [groups, outputs] {
        return Err(FormatError::TensorShape {
            name: files.name(SCALES),
            expected: vec![groups, outputs],
            found: scales.shape.clone(),
        });
    }
    Ok(DecodedTensor {
        shape: vec![outputs, inputs],
        stored: format!("awq 4 bit, group {group_size}"),
        quantized: true,
        rounds_inputs: false,
        float_type: float_type_of(scales.dtype),
        parts: [QWEIGHT, QZEROS, SCALES]
            .map(|part| files.name(part))
            .to_vec(),
        reading: Box::new(AwqLayer {
            layer: files.layer.to_owned(),
            inputs,
            outputs,
            groups,
            group_size,
        }),
    })
}

impl Reading for AwqLayer {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let files = LayerFiles {
            folder,
            layer: &self.layer,
        };
        let (outputs, in_words) = (self.outputs, self.outputs / 8);
        let words = files.words(QWEIGHT, &[self.inputs, in_words])?;
        let stored = files.words(QZEROS, &[self.groups, in_words])?;
        let code = |words: &[u32], row: usize, output: usize| {
            words[row * in_words + output / 8] >> (4 * HALF_BYTE[output % 8]) & 15
        };
        let zero_points: Vec<u16> = (0..self.groups * outputs)
            .map(|at| code(&stored, at / outputs, at % outputs))
            .map(|zero_point| u16::try_from(zero_point).unwrap_or(u16::MAX))
            .collect();
        let groups: Vec<usize> = (0..self.inputs)
            .map(|input| input / self.group_size)
            .collect();
        let scales = folder.floats(&files.name(SCALES))?;
        let grid = Grid {
            scales: &scales,
            zero_points: &zero_points,
            groups: &groups,
        };
        Ok(grid.weights(outputs, |input, output| code(&words, input, output)))
    }
}
