//! Lookup tables and the sparse part as tensors.
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `weight_packed` | I32 | `[out, ceil(in * bits / 32)]`: indices, see [`crate::pack`] |
//! | `weight_codebook` | F16 | `[tables, 2^bits]`, each ascending; `out / tables` rows share one |
//! | `weight_codebook_scale` | F16 | `[out, groups]`: scales of the entries, where the scheme has `scale_bits = 16` |
//! | `weight_codebook_scale` | I32 | `[ceil(out * groups * scale_bits / 32)]`: the same as signed codes plus `2^(scale_bits-1)`, packed as one row |
//! | `weight_codebook_row_scale` | F16 | `[out, 1]`: what the codes of scales are multiplied with |
//! | `weight_outlier_rows` | I32 | `[out + 1]`: offsets into the two below |
//! | `weight_outlier_cols` | U16 (I32 for more than 65536 inputs) | `[stored]`, ascending in a row |
//! | `weight_outlier_values` | F16 | `[stored]`, added to the dense part |
//! | `weight_shape` | I64 | `[2]` = out, in |

use super::FormatError;
use super::entry::{
    Entry, WEIGHT_CODEBOOK, WEIGHT_CODEBOOK_ROW_SCALE, WEIGHT_CODEBOOK_SCALE, WEIGHT_OUTLIER_COLS,
    WEIGHT_OUTLIER_ROWS, WEIGHT_OUTLIER_VALUES, WEIGHT_PACKED,
};
use super::layer_files::LayerFiles;
use crate::Granularity;
use crate::pack;
use crate::tensor::{Codebook, Csr, HALF_BITS, InvalidTensor, ScaleValues, Scheme, TableScales};
use safetensors::Dtype;

/// Inputs up to which a column fits 16 bits.
const SHORT_COLUMNS: usize = 1 << 16;

/// The tensors of a `[rows, cols]` layer without its sparse part.
pub(crate) fn encode(rows: usize, cols: usize, codebook: &Codebook) -> Vec<Entry> {
    let bits = codebook.bits;
    let packed = pack::pack(&codebook.indices, cols, bits);
    let mut entries = vec![
        Entry::words(WEIGHT_PACKED, vec![rows, pack::words(cols, bits)], &packed),
        Entry::halves(
            WEIGHT_CODEBOOK,
            vec![codebook.count(), 1 << bits],
            &codebook.tables,
        ),
    ];
    if let Some(scales) = &codebook.scales {
        let groups = scales.granularity.groups_per_row(cols);
        match &scales.values {
            ScaleValues::Half(values) => {
                entries.push(Entry::halves(
                    WEIGHT_CODEBOOK_SCALE,
                    vec![rows, groups],
                    values,
                ));
            }
            ScaleValues::Codes { bits, codes, steps } => {
                let packed = pack::pack_signed(codes, codes.len(), *bits);
                let words = vec![packed.len()];
                entries.push(Entry::words(WEIGHT_CODEBOOK_SCALE, words, &packed));
                entries.push(Entry::halves(
                    WEIGHT_CODEBOOK_ROW_SCALE,
                    vec![rows, 1],
                    steps,
                ));
            }
        }
    }
    entries.push(Entry::shape(rows, cols));
    entries
}

/// Reads a layer back, without its sparse part.
pub(crate) fn decode(
    files: LayerFiles<'_>,
    scheme: &Scheme,
    rows: usize,
    cols: usize,
) -> Result<Codebook, FormatError> {
    let bits = scheme.bits;
    if !(1..=8).contains(&bits) {
        return Err(files.invalid(InvalidTensor::Bits(bits)));
    }
    let packed = files.words(WEIGHT_PACKED, &[rows, pack::words(cols, bits)])?;
    let tables = scheme.tables.map_or(rows, |tables| tables.count);
    let scales = scheme.tables.and_then(|tables| tables.scale_bits);
    Ok(Codebook {
        bits,
        indices: pack::unpack(&packed, rows, cols, bits),
        tables: files.halves(WEIGHT_CODEBOOK, &[tables, 1 << bits])?,
        scales: scales
            .map(|bits| decode_scales(files, scheme, bits, (rows, cols)))
            .transpose()?,
    })
}

/// Reads the scales of `bits` of a `[rows, cols]` layer back.
fn decode_scales(
    files: LayerFiles<'_>,
    scheme: &Scheme,
    bits: u8,
    (rows, cols): (usize, usize),
) -> Result<TableScales, FormatError> {
    let granularity = scheme.granularity;
    match granularity {
        Granularity::Group(0) => return Err(files.invalid(InvalidTensor::EmptyGroup)),
        Granularity::Tensor => return Err(files.invalid(InvalidTensor::SharedScale)),
        Granularity::Channel | Granularity::Group(_) => {}
    }
    let groups = granularity.groups_per_row(cols);
    let values = match bits {
        HALF_BITS => ScaleValues::Half(files.halves(WEIGHT_CODEBOOK_SCALE, &[rows, groups])?),
        1..=8 => {
            let count = rows * groups;
            let packed = files.words(WEIGHT_CODEBOOK_SCALE, &[pack::words(count, bits)])?;
            ScaleValues::Codes {
                bits,
                codes: pack::unpack_signed(&packed, 1, count, bits),
                steps: files.halves(WEIGHT_CODEBOOK_ROW_SCALE, &[rows, 1])?,
            }
        }
        _ => return Err(files.invalid(InvalidTensor::ScaleBits(bits))),
    };
    Ok(TableScales {
        granularity,
        values,
    })
}

/// The three tensors of the sparse part of a layer with `cols` inputs.
pub(crate) fn encode_sparse(cols: usize, sparse: &Csr) -> Vec<Entry> {
    let stored = vec![sparse.columns.len()];
    let columns = if cols > SHORT_COLUMNS {
        Entry::words(WEIGHT_OUTLIER_COLS, stored.clone(), &sparse.columns)
    } else {
        let bytes = sparse.columns.iter().flat_map(|column| {
            let [low, high, ..] = column.to_le_bytes();
            [low, high]
        });
        Entry {
            suffix: WEIGHT_OUTLIER_COLS,
            dtype: Dtype::U16,
            shape: stored.clone(),
            bytes: bytes.collect(),
        }
    };
    let pointers = &sparse.row_pointers;
    vec![
        Entry::words(WEIGHT_OUTLIER_ROWS, vec![pointers.len()], pointers),
        columns,
        Entry::halves(WEIGHT_OUTLIER_VALUES, stored, &sparse.values),
    ]
}

/// Reads the sparse part of a `[rows, cols]` layer back.
pub(crate) fn decode_sparse(
    files: LayerFiles<'_>,
    rows: usize,
    cols: usize,
) -> Result<Csr, FormatError> {
    let info = files.folder.require(&files.name(WEIGHT_OUTLIER_VALUES))?;
    let stored = info.elements();
    let columns = if cols > SHORT_COLUMNS {
        files.words(WEIGHT_OUTLIER_COLS, &[stored])?
    } else {
        let bytes = files.bytes(WEIGHT_OUTLIER_COLS, Dtype::U16, "U16", &[stored])?;
        let columns = bytes.as_chunks::<2>().0.iter();
        columns
            .map(|column| u32::from(u16::from_le_bytes(*column)))
            .collect()
    };
    Ok(Csr {
        row_pointers: files.words(WEIGHT_OUTLIER_ROWS, &[rows + 1])?,
        columns,
        values: files.halves(WEIGHT_OUTLIER_VALUES, &[stored])?,
    })
}
