//! The tensors of a GGUF file under the names and in the layouts that `transformers` gives them.

use super::{DecodedTensor, Source, SourceFiles};
use crate::formats::decoded::Reading;
use crate::formats::floats::{decode_floats, float_type_of};
use crate::formats::gguf::blocks::{self, BlockType, Form};
use crate::formats::gguf::families::{self, Family};
use crate::formats::gguf::header::{Header, Tensor};
use crate::formats::gguf::{is_setting, is_tied};
use crate::formats::{FormatError, TensorFolder};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Values that one thread decodes in one go, at least.
const PIECE: usize = 1 << 14;

/// The registry entry.
pub(super) struct Gguf;

#[derive(Debug)]
struct GgufTensor {
    name: String,
    type_id: u32,
    shape: Vec<usize>,
    layout: Layout,
    /// Taken from every value.
    offset: f32,
}

/// How the values lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// As in the model.
    Same,
    /// The halves of each rotated pair of rows side by side, for so many heads; in the model half a head apart.
    Pairs(usize),
    /// `[out, in]`, in the model `[in, out]`.
    Transposed,
}

impl Source for Gguf {
    fn quant_method(&self) -> &'static str {
        "gguf"
    }

    fn summary(&self) -> &'static str {
        "GGUF: f32, f16, bf16, Q4_0 to Q8_0, Q2_K to Q6_K, IQ4, MXFP4"
    }

    fn tensors(
        &self,
        files: &SourceFiles<'_>,
    ) -> Result<BTreeMap<String, DecodedTensor>, FormatError> {
        let Some((file, bytes)) = files.folder.gguf() else {
            let found = "safetensors".into();
            return Err(files.refuse("quant_method", "another method beside safetensors", &found));
        };
        let read = |header: &Header<'_>| tensors(header, bytes);
        let found = Header::parse(bytes).and_then(|header| read(&header));
        found.map_err(|problem| FormatError::Gguf { file, problem })
    }
}

fn tensors(header: &Header<'_>, bytes: &[u8]) -> Result<BTreeMap<String, DecodedTensor>, String> {
    let architecture = header.text("general.architecture").unwrap_or_default();
    let family = families::find(&architecture)?;
    let heads = |key: &str| {
        let heads = header.number(&format!("{architecture}.attention.{key}"));
        heads.and_then(|heads| usize::try_from(heads).ok())
    };
    let queries = heads("head_count").unwrap_or(1);
    let keys = heads("head_count_kv").unwrap_or(queries);
    let tied = is_tied(header, bytes);
    let mut found = BTreeMap::new();
    let mut settings = Vec::new();
    for (name, tensor) in &header.tensors {
        if is_setting(name) || tied && *name == "output.weight" {
            settings.push((*name).to_owned());
            continue;
        }
        let here = family.tensor_name(name).ok_or_else(|| {
            format!(
                "tensor `{name}`: a model of the kind `{}` has no place for it",
                family.model_type
            )
        })?;
        let layout = match name.rsplit('.').nth(1) {
            Some("attn_q") if family.pairs_rotated => Layout::Pairs(queries),
            Some("attn_k") if family.pairs_rotated => Layout::Pairs(keys),
            _ if family.transposed && name.starts_with("blk.") && tensor.shape.len() == 2 => {
                Layout::Transposed
            }
            _ => Layout::Same,
        };
        let decoded = decoded(name, tensor, family, layout)
            .map_err(|problem| format!("tensor `{name}`: {problem}"))?;
        found.insert(here, decoded);
    }
    // What is no weight of its own belongs to the table, which every file has.
    if let Some(table) = found
        .values_mut()
        .find(|tensor| tensor.parts[0] == "token_embd.weight")
    {
        table.parts.append(&mut settings);
    }
    Ok(found)
}

fn decoded(
    name: &str,
    tensor: &Tensor,
    family: &Family,
    layout: Layout,
) -> Result<DecodedTensor, String> {
    let kind = tensor.kind().ok_or("its type is not known")?;
    let (float_type, quantized) = match kind.form {
        Form::Plain(dtype) => match float_type_of(dtype) {
            Some(float_type) => (Some(float_type), false),
            None => return Err(format!("expected floats, found {}", kind.name)),
        },
        Form::Blocks(_) => (None, true),
    };
    let mut shape = tensor.shape.clone();
    match layout {
        Layout::Transposed => shape.reverse(),
        Layout::Pairs(heads) => {
            let rows = shape.first().copied().unwrap_or(1);
            if heads == 0 || !rows.is_multiple_of(2 * heads) {
                return Err(format!("{heads} heads do not share {rows} rows in pairs"));
            }
        }
        Layout::Same => {}
    }
    let is_norm = name.ends_with("norm.weight");
    let offset = if is_norm { family.norm_offset } else { 0.0 };
    Ok(DecodedTensor {
        shape,
        stored: kind.name.to_owned(),
        quantized,
        rounds_inputs: false,
        float_type,
        parts: vec![name.to_owned()],
        reading: Box::new(GgufTensor {
            name: name.to_owned(),
            type_id: tensor.type_id,
            shape: tensor.shape.clone(),
            layout,
            offset,
        }),
    })
}

impl Reading for GgufTensor {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let bytes = folder.bytes(&self.name)?;
        let mut values = match blocks::find(self.type_id) {
            Some(kind) => decode(kind, &bytes),
            None => Vec::new(),
        };
        if self.offset != 0.0 {
            for value in &mut values {
                *value -= self.offset;
            }
        }
        Ok(match (self.layout, &self.shape[..]) {
            (Layout::Pairs(heads), [rows, ..]) => apart(&values, heads, *rows),
            (Layout::Transposed, [rows, cols]) => transposed(&values, *rows, *cols),
            _ => values,
        })
    }
}

fn decode(kind: &BlockType, bytes: &[u8]) -> Vec<f32> {
    match kind.form {
        Form::Plain(dtype) => decode_floats(dtype, bytes).unwrap_or_default().into_owned(),
        Form::Blocks(decode) => {
            let count = bytes.len() / kind.bytes;
            let mut values = vec![0.0; count * kind.values];
            values
                .par_chunks_exact_mut(kind.values)
                .zip(bytes.par_chunks_exact(kind.bytes))
                .with_min_len(PIECE / kind.values)
                .for_each(|(values, block)| decode(block, values));
            values
        }
    }
}

/// Rows of pairs, which lie side by side, half a head apart.
fn apart(values: &[f32], heads: usize, rows: usize) -> Vec<f32> {
    let cols = values.len() / rows.max(1);
    let half = rows / heads / 2;
    let mut out = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (head, inside) = (row / (2 * half), row % (2 * half));
        let from = 2 * (head * half + inside % half) + inside / half;
        out.extend_from_slice(&values[from * cols..(from + 1) * cols]);
    }
    out
}

fn transposed(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(cols.max(1)).enumerate() {
        for (col, value) in values.iter().enumerate() {
            out[col * rows + row] = *value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_pairs_move_half_a_head_apart() {
        // Two heads of four rows, one column: pairs (0, 1), (2, 3).
        let values: Vec<f32> = (0..8_u8).map(f32::from).collect();
        assert_eq!(
            apart(&values, 2, 8),
            [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]
        );
        assert_eq!(
            transposed(&values[..6], 2, 3),
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
        );
    }
}
