//! Trellis codes as tensors: those that exllamav3 has for a layer, and `weight_shape`.
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `trellis` | I16 | `[in / 16, out / 16, 16 bits]`: streams of tiles, see [`crate::trellis`]; two I16 are a word |
//! | `suh` | F16 | `[in]`: signed scales of the inputs |
//! | `svh` | F16 | `[out]`: signed scales of the outputs |
//! | `mcg` | I32 | `[]`: only for the code of that name, its factor |
//! | `weight_shape` | I64 | `[2]` = out, in |

use super::FormatError;
use super::entry::{Entry, INPUT_SIGNS, OUTPUT_SIGNS, TRELLIS};
use super::layer_files::LayerFiles;
use crate::tensor::{InvalidTensor, Scheme, SchemeKind, Trellis};
use crate::trellis::{BITS, Code, tile};
use safetensors::Dtype;

/// The tensors of a `[rows, cols]` layer.
pub(crate) fn encode(rows: usize, cols: usize, trellis: &Trellis) -> Vec<Entry> {
    let mut entries = vec![
        Entry {
            suffix: TRELLIS,
            dtype: Dtype::I16,
            shape: shape(rows, cols, trellis.bits),
            bytes: bytemuck::cast_slice(&trellis.streams).to_vec(),
        },
        Entry::halves(INPUT_SIGNS, vec![cols], &trellis.input_scales),
        Entry::halves(OUTPUT_SIGNS, vec![rows], &trellis.output_scales),
    ];
    if let Some((name, value)) = trellis.code.0.marker {
        entries.push(Entry::words(name, Vec::new(), &[value]));
    }
    entries.push(Entry::shape(rows, cols));
    entries
}

/// Reads a layer back.
pub(crate) fn decode(
    files: LayerFiles<'_>,
    scheme: &Scheme,
    (code, state_bits): (Code, u8),
    (rows, cols): (usize, usize),
) -> Result<Trellis, FormatError> {
    let bits = scheme.bits;
    if !BITS.contains(&bits) {
        return Err(files.invalid(InvalidTensor::Bits(bits)));
    }
    if let Some((name, value)) = code.0.marker
        && files.words(name, &[])? != [value]
    {
        return Err(FormatError::Scheme {
            layer: files.layer.to_owned(),
        });
    }
    let streams = files.bytes(TRELLIS, Dtype::I16, "I16", &shape(rows, cols, bits))?;
    let words = streams.as_chunks::<4>().0.iter();
    Ok(Trellis {
        bits,
        state_bits,
        code,
        streams: words.map(|word| u32::from_le_bytes(*word)).collect(),
        input_scales: files.halves(INPUT_SIGNS, &[cols])?,
        output_scales: files.halves(OUTPUT_SIGNS, &[rows])?,
    })
}

/// Whether a layer of `scheme` has a tensor called `suffix` that other layers do not have.
pub(crate) fn is_part(scheme: &Scheme, suffix: &str) -> bool {
    let SchemeKind::Trellis { code, .. } = scheme.kind else {
        return false;
    };
    let marker = code.0.marker.map(|(name, _)| name);
    [TRELLIS, INPUT_SIGNS, OUTPUT_SIGNS].contains(&suffix) || marker == Some(suffix)
}

fn shape(rows: usize, cols: usize, bits: u8) -> Vec<usize> {
    let tiles = |side: usize| side / tile::SIDE;
    vec![tiles(cols), tiles(rows), tile::SIDE * usize::from(bits)]
}
