//! Finding out, for every quantized module of a folder, which scheme it was stored with.

use super::targets::Targets;
use crate::formats::entry::{WEIGHT, WEIGHT_G_IDX, WEIGHT_PACKED, WEIGHT_SCALE};
use crate::formats::layer_files::{LayerFiles, believable};
use crate::formats::{
    Dtype, FormatError, StoredLayer, TensorFolder, TensorInfo, Unsupported, uniform,
};
use crate::tensor::{Encoding, QuantizedTensor, Scheme, SchemeKind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the method of a layer is called when the files don't tell.
const UNKNOWN_METHOD: &str = "compressed-tensors";

/// Modules with a quantized weight, whatever its type.
pub(in crate::formats) fn modules(folder: &TensorFolder) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for name in folder.names() {
        let packed = name.strip_suffix(&format!(".{WEIGHT_PACKED}"));
        let scaled = name
            .strip_suffix(&format!(".{WEIGHT_SCALE}"))
            .filter(|layer| folder.info(&format!("{layer}.{WEIGHT}")).is_some());
        names.extend(packed.or(scaled));
    }
    names
}

/// The layers of a folder that are quantized to integers.
pub(super) fn layers(
    file: &Path,
    config: &Value,
    folder: &TensorFolder,
) -> Result<BTreeMap<String, StoredLayer>, FormatError> {
    let targets = Targets::parse(file, config)?;
    let mut layers = BTreeMap::new();
    for layer in modules(folder) {
        // Small floats are no codes on a grid: only their values are read.
        if !targets.group_of(layer)?.weights.is_float() {
            let files = LayerFiles { folder, layer };
            layers.insert(layer.to_owned(), stored_layer(&targets, files)?);
        }
    }
    Ok(layers)
}

/// Reads one layer, packed or plain.
pub(super) fn decode(
    folder: &TensorFolder,
    layer: &str,
    stored: &StoredLayer,
) -> Result<QuantizedTensor, FormatError> {
    let files = LayerFiles { folder, layer };
    let (scheme, rows, cols) = (&stored.scheme, stored.rows, stored.cols);
    let grid = if files.info(WEIGHT_PACKED).is_some() {
        uniform::decode(files, scheme, rows, cols)?
    } else {
        let codes = files.signed_bytes(WEIGHT, &[rows, cols])?;
        uniform::finish(files, scheme, rows, cols, codes)?
    };
    files.checked(QuantizedTensor {
        rows,
        cols,
        encoding: Encoding::Uniform(grid),
        outliers: None,
    })
}

fn stored_layer(targets: &Targets, files: LayerFiles<'_>) -> Result<StoredLayer, FormatError> {
    let group = targets.group_of(files.layer)?;
    let unsupported = |what: String| FormatError::Unsupported {
        layer: files.layer.to_owned(),
        source: Unsupported {
            format: "compressed-tensors",
            what,
            stores: "integer grids per tensor, channel or group, and inputs as integers per token or by one stored scale, as far as they are read here",
        },
    };
    let weights = &group.weights;
    if weights.kind != "int" {
        return Err(unsupported(format!(
            "{}-bit {} weights",
            weights.num_bits, weights.kind
        )));
    }
    let granularity = weights
        .granularity()
        .map_err(|what| unsupported(format!("{what} in group `{}`", group.name)))?;
    let (rows, cols) = if files.info(WEIGHT_PACKED).is_some() {
        let (rows, cols) = files.matrix_shape()?;
        check_packing(targets, files, weights.num_bits, cols)?;
        (rows, cols)
    } else {
        plain_shape(files)?
    };
    let scheme = Scheme {
        granularity,
        symmetric: weights.symmetric,
        column_groups: has_column_groups(files, cols)?,
        inputs: match &group.inputs {
            Some(inputs) => Some(inputs.input_grid().map_err(unsupported)?),
            None => None,
        },
        ..Scheme::new(UNKNOWN_METHOD, SchemeKind::Uniform, weights.num_bits)
    };
    Ok(StoredLayer { scheme, rows, cols })
}

/// Until 0.17 a word held whole values only; say so instead of complaining about a shape.
fn check_packing(
    targets: &Targets,
    files: LayerFiles<'_>,
    bits: u8,
    cols: usize,
) -> Result<(), FormatError> {
    let Some(TensorInfo { shape, .. }) = files.info(WEIGHT_PACKED) else {
        return Ok(());
    };
    let (Some(&width), 1..=8) = (shape.last(), bits) else {
        return Ok(());
    };
    let whole_values = cols.div_ceil(usize::from(32 / bits));
    if width == crate::pack::words(cols, bits) || width != whole_values {
        return Ok(());
    }
    Err(FormatError::Config {
        file: targets.file.clone(),
        place: format!("layer `{}`", files.layer),
        expected: "the dense packing of compressed-tensors 0.18 or later".into(),
        found: format!("{} values in each word", 32 / bits),
    })
}

/// Whether the groups of a layer are listed column by column; the library marks a list that is not
/// used with -1.
fn has_column_groups(files: LayerFiles<'_>, cols: usize) -> Result<bool, FormatError> {
    if files.info(WEIGHT_G_IDX).is_none() {
        return Ok(false);
    }
    Ok(!files.words(WEIGHT_G_IDX, &[cols])?.contains(&u32::MAX))
}

/// `[out, in]` of a plain int8 weight.
fn plain_shape(files: LayerFiles<'_>) -> Result<(usize, usize), FormatError> {
    let name = files.name(WEIGHT);
    let info = files.folder.require(&name)?;
    match info.shape[..] {
        _ if info.dtype != Dtype::I8 => Err(FormatError::TensorType {
            name,
            expected: "I8",
            found: info.dtype,
        }),
        [rows, cols] if believable(rows, cols) => Ok((rows, cols)),
        _ => Err(FormatError::BadMatrix {
            name,
            shape: info.shape.clone(),
        }),
    }
}
