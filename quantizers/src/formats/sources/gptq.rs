//! GPTQ checkpoints as `GPTQModel` and `AutoGPTQ` write them, with 2, 3, 4 or 8 bits.
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `qweight` | I32 | `[in * bits / 32, out]`: a bit stream along the inputs, low bits first |
//! | `qzeros` | I32 | `[groups, out * bits / 32]`: zero points, a bit stream along the outputs; one less in version 1 |
//! | `scales` | F16, BF16, F32 | `[groups, out]` |
//! | `g_idx` | I32 | `[in]`: the group of each input; neighbours share one where it is absent |

use super::packed_columns::{Grid, stream_code};
use super::{DecodedTensor, Source, SourceFiles};
use crate::formats::decoded::Reading;
use crate::formats::floats::float_type_of;
use crate::formats::layer_files::{LayerFiles, believable};
use crate::formats::{Dtype, FormatError, TensorFolder};
use crate::tensor::InvalidTensor;
use serde_json::Value;
use std::collections::BTreeMap;

const QWEIGHT: &str = "qweight";
const QZEROS: &str = "qzeros";
const SCALES: &str = "scales";
const G_IDX: &str = "g_idx";

/// The registry entry.
pub(super) struct Gptq;

#[derive(Debug)]
struct GptqLayer {
    layer: String,
    inputs: usize,
    outputs: usize,
    groups: usize,
    /// Inputs of a group of neighbours; nothing where the groups are listed.
    group_size: Option<usize>,
    bits: u8,
    /// What is added to stored zero points.
    zero_offset: u32,
}

impl Source for Gptq {
    fn quant_method(&self) -> &'static str {
        "gptq"
    }

    fn summary(&self) -> &'static str {
        "GPTQ of 2, 3, 4 and 8 bits, versions 1 and 2 of its files"
    }

    fn tensors(
        &self,
        files: &SourceFiles<'_>,
    ) -> Result<BTreeMap<String, DecodedTensor>, FormatError> {
        let zero_offset = match files.text("checkpoint_format").or(files.text("format")) {
            None | Some("gptq") => 1,
            Some("gptq_v2") => 0,
            Some(other) => {
                let found = Value::from(other);
                return Err(files.refuse("checkpoint_format", "`gptq` or `gptq_v2`", &found));
            }
        };
        let group_size = files.number("group_size")?;
        let declared = files.number("bits")?;
        let layers = files.layers_with(QWEIGHT).map(|layer| {
            let of_layer = LayerFiles {
                folder: files.folder,
                layer,
            };
            let tensor = layer_of(of_layer, declared, group_size, zero_offset)?;
            Ok((of_layer.name("weight"), tensor))
        });
        layers.collect()
    }
}

/// Shapes decide about width and groups; the configuration, which single layers may differ from, where they
/// leave it open.
fn layer_of(
    files: LayerFiles<'_>,
    declared: Option<i64>,
    group_size: Option<i64>,
    zero_offset: u32,
) -> Result<DecodedTensor, FormatError> {
    let [words, outputs] = matrix(files, QWEIGHT)?;
    let [groups, zero_words] = matrix(files, QZEROS)?;
    // The zero points are as wide as the weights.
    let bits = u8::try_from((zero_words * 32).checked_div(outputs).unwrap_or(0)).unwrap_or(0);
    let bits = match (bits, declared) {
        (2 | 3 | 4 | 8, _) => bits,
        (_, declared) => {
            return Err(FormatError::TensorShape {
                name: files.name(QZEROS),
                expected: vec![groups, outputs * usize_of(declared).unwrap_or(4) / 32],
                found: vec![groups, zero_words],
            });
        }
    };
    let width = usize::from(bits);
    let inputs = words * 32 / width;
    if inputs * width != words * 32 || zero_words * 32 != outputs * width {
        return Err(FormatError::TensorShape {
            name: files.name(QWEIGHT),
            expected: vec![inputs * width / 32, zero_words * 32 / width],
            found: vec![words, outputs],
        });
    }
    let listed = files.info(G_IDX).is_some();
    if listed {
        files.bytes(G_IDX, Dtype::I32, "I32", &[inputs])?;
    }
    let group_size = group_size_of(inputs, groups, group_size);
    if !listed && group_size.is_none() {
        return Err(FormatError::TensorShape {
            name: files.name(QZEROS),
            expected: vec![1, zero_words],
            found: vec![groups, zero_words],
        });
    }
    let scales = files.folder.require(&files.name(SCALES))?;
    if scales.shape != [groups, outputs] {
        return Err(FormatError::TensorShape {
            name: files.name(SCALES),
            expected: vec![groups, outputs],
            found: scales.shape.clone(),
        });
    }
    let float_type = float_type_of(scales.dtype);
    let group = match group_size {
        _ if groups <= 1 => "channel".to_owned(),
        Some(size) => format!("group {size}"),
        None => format!("{groups} groups"),
    };
    let mut parts = vec![QWEIGHT, QZEROS, SCALES];
    parts.extend(listed.then_some(G_IDX));
    Ok(DecodedTensor {
        shape: vec![outputs, inputs],
        stored: format!("gptq {bits} bit, {group}"),
        quantized: true,
        rounds_inputs: false,
        float_type,
        parts: parts.into_iter().map(|part| files.name(part)).collect(),
        reading: Box::new(GptqLayer {
            layer: files.layer.to_owned(),
            inputs,
            outputs,
            groups,
            group_size: group_size.filter(|_| !listed),
            bits,
            zero_offset,
        }),
    })
}

fn usize_of(number: Option<i64>) -> Option<usize> {
    number
        .and_then(|number| usize::try_from(number).ok())
        .filter(|&number| number > 0)
}

/// Inputs of a group, where `groups` of neighbours cover all: as the configuration says, else all alike.
pub(super) fn group_size_of(inputs: usize, groups: usize, declared: Option<i64>) -> Option<usize> {
    let declared = usize_of(declared).filter(|size| inputs.div_ceil(*size) == groups);
    let even = groups > 0 && inputs.is_multiple_of(groups);
    declared.or_else(|| even.then(|| (inputs / groups).max(1)))
}

/// The sides of an I32 matrix.
pub(super) fn matrix(files: LayerFiles<'_>, suffix: &str) -> Result<[usize; 2], FormatError> {
    let name = files.name(suffix);
    let info = files.folder.require(&name)?;
    match info.shape[..] {
        _ if info.dtype != Dtype::I32 => Err(FormatError::TensorType {
            name,
            expected: "I32",
            found: info.dtype,
        }),
        [rows, cols] if believable(rows, cols) => Ok([rows, cols]),
        _ => Err(FormatError::BadMatrix {
            name,
            shape: info.shape.clone(),
        }),
    }
}

impl Reading for GptqLayer {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let files = LayerFiles {
            folder,
            layer: &self.layer,
        };
        let (inputs, outputs, bits) = (self.inputs, self.outputs, self.bits);
        let width = usize::from(bits);
        let words = files.words(QWEIGHT, &[inputs * width / 32, outputs])?;
        let zero_words = outputs * width / 32;
        let stored = files.words(QZEROS, &[self.groups, zero_words])?;
        let mut zero_points = Vec::with_capacity(self.groups * outputs);
        for row in stored.chunks(zero_words.max(1)) {
            for output in 0..outputs {
                let stored = stream_code(output, bits, |word| row[word]);
                // A zero point of 0 was stored as the largest code.
                let zero_point = (stored + self.zero_offset) & ((1 << width) - 1);
                zero_points.push(u16::try_from(zero_point).unwrap_or(u16::MAX));
            }
        }
        let groups = self.input_groups(files)?;
        let scales = folder.floats(&files.name(SCALES))?;
        let grid = Grid {
            scales: &scales,
            zero_points: &zero_points,
            groups: &groups,
        };
        Ok(grid.weights(outputs, |input, output| {
            stream_code(input, bits, |word| words[word * outputs + output])
        }))
    }
}

impl GptqLayer {
    /// The group of every input.
    fn input_groups(&self, files: LayerFiles<'_>) -> Result<Vec<usize>, FormatError> {
        if let Some(size) = self.group_size {
            return Ok((0..self.inputs).map(|input| input / size).collect());
        }
        let listed = files.words(G_IDX, &[self.inputs])?;
        let groups: Vec<usize> = listed.iter().map(|&group| group as usize).collect();
        match listed
            .iter()
            .position(|group| *group as usize >= self.groups)
        {
            None => Ok(groups),
            Some(column) => Err(files.invalid(InvalidTensor::ColumnGroup {
                groups: self.groups,
                column,
                found: listed[column],
            })),
        }
    }
}
