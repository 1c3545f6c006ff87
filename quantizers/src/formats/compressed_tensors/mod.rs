//! compressed-tensors, as vLLM and transformers read it: integer weights.
//!
//! Written: symmetric grids of 2 to 8 bits per channel, group or tensor as `pack-quantized`; 8-bit
//! layers whose inputs are quantized too as `int-quantized`; weight-only 8-bit layers as
//! `naive-quantized` on request. Read: the same, asymmetric grids, presets, class and regex targets.
//! The tensors are those of `uniform.rs`, or plain I8 `weight` with `weight_scale`. Checked against
//! version 0.20.0 of the library.

mod arguments;
mod groups;
mod ignore;
mod parts;
mod presets;
pub(in crate::formats) mod reader;
pub(in crate::formats) mod targets;

use super::entry::{Entry, WEIGHT};
use super::{Decoder, Format, StoredLayer, TensorFolder, Unsupported, uniform};
use crate::tensor::{
    Encoding, FloatType, Granularity, InputGrid, QuantizedTensor, Scheme, SchemeKind,
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The registry entry.
pub(super) struct CompressedTensors {
    /// Weight-only 8-bit layers as one byte per weight instead of packed words.
    pub(super) plain_int8: bool,
}

/// How the codes of a layer are stored; the `format` of its config group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Storage {
    Packed,
    Int,
    Naive,
}

impl Storage {
    fn name(self) -> &'static str {
        match self {
            Self::Packed => "pack-quantized",
            Self::Int => "int-quantized",
            Self::Naive => "naive-quantized",
        }
    }
}

impl CompressedTensors {
    fn storage(&self, scheme: &Scheme) -> Storage {
        let grouped = matches!(scheme.granularity, Granularity::Group(_));
        match scheme {
            Scheme {
                inputs: Some(_), ..
            } => Storage::Int,
            Scheme { bits: 8, .. } if self.plain_int8 && !grouped => Storage::Naive,
            _ => Storage::Packed,
        }
    }

    fn refuse(&self, what: String, stores: &'static str) -> Unsupported {
        Unsupported {
            format: self.name(),
            what,
            stores,
        }
    }
}

impl Format for CompressedTensors {
    fn name(&self) -> &'static str {
        if self.plain_int8 {
            "compressed-tensors-int8"
        } else {
            "compressed-tensors"
        }
    }

    fn summary(&self) -> &'static str {
        if self.plain_int8 {
            "compressed-tensors with weight-only 8-bit layers as plain int8"
        } else {
            "symmetric uniform grids of 2 to 8 bits; read by vLLM and transformers"
        }
    }

    fn accepts(&self, scheme: &Scheme, _rows: usize, cols: usize) -> Result<(), Unsupported> {
        let refuse = |what: String, stores| Err(self.refuse(what, stores));
        match scheme {
            Scheme {
                kind: SchemeKind::Codebook,
                bits,
                ..
            } => refuse(format!("a {bits}-bit lookup table"), "uniform grids only"),
            Scheme {
                kind: SchemeKind::Trellis { .. },
                bits,
                ..
            } => refuse(format!("a {bits}-bit trellis code"), "uniform grids only"),
            Scheme { outliers: true, .. } => refuse("a sparse part".into(), "uniform grids only"),
            Scheme {
                transposed: true, ..
            } => refuse(
                "a weight the model keeps as [in, out]".into(),
                "weights as [out, in] only",
            ),
            Scheme {
                symmetric: false, ..
            } => refuse(
                "zero points".into(),
                "symmetric grids, because transformers refuses its zero points",
            ),
            Scheme {
                granularity: Granularity::Group(size),
                ..
            } if *size == 0 || !cols.is_multiple_of(*size) => refuse(
                format!("groups of {size} in rows of {cols}"),
                "groups that divide the rows",
            ),
            Scheme {
                inputs: Some(_),
                column_groups: true,
                ..
            } => refuse(
                "groups in activation order beside quantized inputs".into(),
                "groups of neighbours there",
            ),
            Scheme {
                inputs: Some(_),
                bits,
                ..
            } if *bits != 8 => refuse(
                format!("{bits}-bit weights with quantized inputs"),
                "8-bit ones",
            ),
            Scheme {
                inputs: Some(inputs),
                ..
            } if inputs.bits != 8 => refuse(
                format!("inputs of {} bits", inputs.bits),
                "8-bit ones beside 8-bit weights",
            ),
            Scheme {
                inputs: Some(InputGrid { dynamic: false, .. }),
                ..
            } => refuse(
                "a fixed scale for inputs".into(),
                "inputs with a scale for each token",
            ),
            Scheme { bits, .. } if !(2..=8).contains(bits) => {
                refuse(format!("{bits}-bit codes"), "codes of 2 to 8 bits")
            }
            _ => Ok(()),
        }
    }

    fn encode(&self, tensor: &QuantizedTensor, scheme: &Scheme) -> Result<Vec<Entry>, Unsupported> {
        let (rows, cols) = (tensor.rows, tensor.cols);
        let grid = match &tensor.encoding {
            Encoding::Uniform(grid) => grid,
            Encoding::Codebook(_) => {
                return Err(self.refuse("a lookup table".into(), "uniform grids only"));
            }
            Encoding::Trellis(_) => {
                return Err(self.refuse("a trellis code".into(), "uniform grids only"));
            }
        };
        Ok(match self.storage(scheme) {
            Storage::Packed => uniform::encode(rows, cols, grid),
            Storage::Int | Storage::Naive => vec![
                Entry::signed_bytes(WEIGHT, vec![rows, cols], &grid.codes),
                uniform::scales(rows, cols, grid),
            ],
        })
    }

    fn planned_bits(
        &self,
        scheme: &Scheme,
        rows: usize,
        cols: usize,
        scale_type: FloatType,
        outliers: usize,
    ) -> u64 {
        match self.storage(scheme) {
            Storage::Packed => scheme.storage_bits(rows, cols, scale_type, outliers),
            Storage::Int | Storage::Naive => {
                let scales = scheme.granularity.scale_count(rows, cols) as u64;
                8 * (rows * cols) as u64 + scales * scale_type.bits()
            }
        }
    }

    fn configure(
        &self,
        config: &mut Map<String, Value>,
        layers: &BTreeMap<String, StoredLayer>,
        kept: &BTreeSet<String>,
    ) {
        let ignore = ignore::list(config, layers, kept);
        let has_parts = parts::has_parts(config);
        let class_name = |name: &str| has_parts.then(|| parts::name_in_class(name)).flatten();
        let groups = groups::write(layers, &ignore, class_name, |scheme| self.storage(scheme));
        config.insert("quantization_config".to_owned(), groups);
        // The library writes every configuration with sorted keys.
        config.sort_keys();
        config.values_mut().for_each(Value::sort_all_objects);
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(self)
    }
}

impl Decoder for CompressedTensors {
    fn quant_method(&self) -> &'static str {
        "compressed-tensors"
    }

    fn layers(
        &self,
        file: &Path,
        config: &Value,
        folder: &TensorFolder,
    ) -> Result<BTreeMap<String, StoredLayer>, super::FormatError> {
        reader::layers(file, config, folder)
    }

    fn decode(
        &self,
        folder: &TensorFolder,
        layer: &str,
        stored: &StoredLayer,
    ) -> Result<QuantizedTensor, super::FormatError> {
        reader::decode(folder, layer, stored)
    }
}
