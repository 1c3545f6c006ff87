//! Uniform grids as tensors: the pack-quantized layout of compressed-tensors.
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `weight_packed` | I32 | `[out, ceil(in * bits / 32)]`: `code + 2^(bits-1)`, see [`crate::pack`] |
//! | `weight_scale` | F32, F16, BF16 | `[out, groups]`, per tensor `[1]` |
//! | `weight_zero_point` | I32 | asymmetric only: `[ceil(out * bits / 32), groups]`, packed along out; per tensor I8 `[1]` |
//! | | F16 | those that need not be codes: shape of the scales, relative to signed codes |
//! | `weight_g_idx` | I32 | only where the inputs of a group are not neighbours: `[in]`, the group of each |
//! | `weight_shape` | I64 | `[2]` = out, in |

use super::FormatError;
use super::entry::{Entry, WEIGHT_G_IDX, WEIGHT_PACKED, WEIGHT_SCALE, WEIGHT_ZERO_POINT};
use super::layer_files::LayerFiles;
use crate::pack;
use crate::tensor::{Granularity, InvalidTensor, Scheme, Uniform};
use safetensors::Dtype;

/// The tensors of a `[rows, cols]` layer.
pub(crate) fn encode(rows: usize, cols: usize, uniform: &Uniform) -> Vec<Entry> {
    let bits = uniform.bits;
    let packed = pack::pack_signed(&uniform.codes, cols, bits);
    let mut entries = vec![Entry::words(
        WEIGHT_PACKED,
        vec![rows, pack::words(cols, bits)],
        &packed,
    )];
    entries.push(scales(rows, cols, uniform));
    if let Some(zero_points) = &uniform.zero_points {
        entries.push(match uniform.granularity {
            Granularity::Tensor => Entry::signed_bytes(WEIGHT_ZERO_POINT, vec![1], zero_points),
            granularity => {
                let groups = granularity.groups_per_row(cols);
                let packed = pack::pack_signed_columns(zero_points, rows, groups, bits);
                Entry::words(
                    WEIGHT_ZERO_POINT,
                    vec![pack::words(rows, bits), groups],
                    &packed,
                )
            }
        });
    }
    if let Some(zero_points) = &uniform.float_zero_points {
        let shape = scale_shape(rows, cols, uniform.granularity);
        entries.push(Entry::halves(WEIGHT_ZERO_POINT, shape, zero_points));
    }
    if let Some(of_columns) = &uniform.column_groups {
        entries.push(Entry::words(WEIGHT_G_IDX, vec![cols], of_columns));
    }
    entries.push(Entry::shape(rows, cols));
    entries
}

/// The `weight_scale` of a layer.
pub(crate) fn scales(rows: usize, cols: usize, uniform: &Uniform) -> Entry {
    let shape = scale_shape(rows, cols, uniform.granularity);
    Entry::floats(WEIGHT_SCALE, shape, uniform.scale_type, &uniform.scales)
}

/// Reads a packed layer back.
pub(crate) fn decode(
    files: LayerFiles<'_>,
    scheme: &Scheme,
    rows: usize,
    cols: usize,
) -> Result<Uniform, FormatError> {
    let bits = checked_bits(files, scheme)?;
    let packed = files.words(WEIGHT_PACKED, &[rows, pack::words(cols, bits)])?;
    let codes = pack::unpack_signed(&packed, rows, cols, bits);
    finish(files, scheme, rows, cols, codes)
}

/// Adds scales, zero points and groups to codes read from `files`.
pub(crate) fn finish(
    files: LayerFiles<'_>,
    scheme: &Scheme,
    rows: usize,
    cols: usize,
    codes: Vec<i8>,
) -> Result<Uniform, FormatError> {
    let (bits, granularity) = (checked_bits(files, scheme)?, scheme.granularity);
    let shape = scale_shape(rows, cols, granularity);
    let (scales, scale_type) = files.floats(WEIGHT_SCALE, &shape)?;
    let float_zero_points = scheme
        .float_zero_points
        .then(|| files.halves(WEIGHT_ZERO_POINT, &shape))
        .transpose()?;
    let zero_points = if scheme.symmetric || scheme.float_zero_points {
        None
    } else if files
        .info(WEIGHT_ZERO_POINT)
        .is_some_and(|info| info.dtype == Dtype::I8)
    {
        Some(files.signed_bytes(WEIGHT_ZERO_POINT, &shape)?)
    } else {
        let groups = granularity.groups_per_row(cols);
        let packed = files.words(WEIGHT_ZERO_POINT, &[pack::words(rows, bits), groups])?;
        Some(pack::unpack_signed_columns(&packed, rows, groups, bits))
    };
    let column_groups = scheme
        .column_groups
        .then(|| files.words(WEIGHT_G_IDX, &[cols]))
        .transpose()?;
    Ok(Uniform {
        bits,
        granularity,
        codes,
        scales,
        scale_type,
        zero_points,
        float_zero_points,
        column_groups,
    })
}

/// Refuses widths and groups that nothing below could count with.
fn checked_bits(files: LayerFiles<'_>, scheme: &Scheme) -> Result<u8, FormatError> {
    match (scheme.bits, scheme.granularity) {
        (_, Granularity::Group(0)) => Err(files.invalid(InvalidTensor::EmptyGroup)),
        (bits @ 1..=8, _) => Ok(bits),
        (bits, _) => Err(files.invalid(InvalidTensor::Bits(bits))),
    }
}

fn scale_shape(rows: usize, cols: usize, granularity: Granularity) -> Vec<usize> {
    match granularity {
        Granularity::Tensor => vec![1],
        _ => vec![rows, granularity.groups_per_row(cols)],
    }
}
