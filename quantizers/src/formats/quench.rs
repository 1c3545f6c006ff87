//! The format of this project: everything the methods here can make, in one folder.
//!
//! `config.json` gets `quantization_config = { "quant_method": "quench", "version": 1, "layers":
//! { name: scheme } }`, where a scheme is [`Scheme`] as JSON. The tensors of a layer are named as in
//! compressed-tensors and, for uniform grids, are the same bytes; the rest is in the tables of
//! `uniform.rs`, `codebook.rs` and `trellis.rs`. A layer is always `[out, in]`, also where the checkpoint stores
//! `[in, out]` (`transposed` in its scheme).
//!
//! A folder may hold an integer program in place of the checkpoint's other tensors; see
//! [`super::integer_program`].
//!
//! A reader: unpack `weight_packed` (value `i` of a row is bits `[i * bits, (i + 1) * bits)` of the
//! row's little-endian words); a uniform code `u` means `scale * (u - 2^(bits-1) - zero_point)` with
//! the scale of its group (`weight_g_idx[input]` where there is one, else `input / group_size`), an index means `table[index]`, times the scale of its group
//! where the scheme has `scale_bits` (an f16 each, or a code times an f16 of the row); then add the sparse values.
//! Streams of a trellis are decoded as [`crate::tensor::Trellis`] says.
//! A scheme with `inputs` belongs to a layer whose inputs are rounded to such a grid first, with a scale for
//! each token ([`crate::grid::InputQuantizer`]).

use super::entry::Entry;
use super::layer_files::LayerFiles;
use super::{
    Decoder, Format, FormatError, StoredLayer, TensorFolder, Unsupported, codebook, trellis,
    uniform,
};
use crate::tensor::{Encoding, InputGrid, QuantizedTensor, Scheme, SchemeKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Version written, and the only one read.
const VERSION: u32 = 1;

/// The registry entry.
pub(super) struct Quench;

/// `quantization_config`.
#[derive(Serialize, Deserialize)]
struct Config {
    quant_method: String,
    version: u32,
    layers: BTreeMap<String, Scheme>,
}

impl Format for Quench {
    fn name(&self) -> &'static str {
        "quench"
    }

    fn summary(&self) -> &'static str {
        "uniform grids, lookup tables, trellis codes, sparse outliers and integer programs in one folder; read by quench"
    }

    fn accepts(&self, scheme: &Scheme, _rows: usize, _cols: usize) -> Result<(), Unsupported> {
        let refuse = |what, stores| {
            Err(Unsupported {
                format: self.name(),
                what,
                stores,
            })
        };
        match scheme.inputs {
            _ if !(1..=8).contains(&scheme.bits) => {
                refuse(format!("{}-bit codes", scheme.bits), "codes of 1 to 8 bits")
            }
            Some(InputGrid { dynamic: false, .. }) => refuse(
                "a fixed scale for inputs".into(),
                "inputs with a scale for each token",
            ),
            _ => Ok(()),
        }
    }

    fn encode(&self, tensor: &QuantizedTensor, _: &Scheme) -> Result<Vec<Entry>, Unsupported> {
        let (rows, cols) = (tensor.rows, tensor.cols);
        let mut entries = match &tensor.encoding {
            Encoding::Uniform(grid) => uniform::encode(rows, cols, grid),
            Encoding::Codebook(tables) => codebook::encode(rows, cols, tables),
            Encoding::Trellis(streams) => trellis::encode(rows, cols, streams),
        };
        if let Some(sparse) = &tensor.outliers {
            entries.extend(codebook::encode_sparse(cols, sparse));
        }
        Ok(entries)
    }

    fn holds_integer_programs(&self) -> bool {
        true
    }

    fn configure(
        &self,
        config: &mut Map<String, Value>,
        layers: &BTreeMap<String, StoredLayer>,
        _kept: &BTreeSet<String>,
    ) {
        let schemes = layers
            .iter()
            .map(|(name, layer)| (name.clone(), layer.scheme.clone()));
        let written = Config {
            quant_method: self.quant_method().to_owned(),
            version: VERSION,
            layers: schemes.collect(),
        };
        let value = serde_json::to_value(written).unwrap_or_default();
        config.insert("quantization_config".to_owned(), value);
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(self)
    }
}

impl Decoder for Quench {
    fn quant_method(&self) -> &'static str {
        "quench"
    }

    fn layers(
        &self,
        file: &Path,
        config: &Value,
        folder: &TensorFolder,
    ) -> Result<BTreeMap<String, StoredLayer>, FormatError> {
        let version = config.get("version").unwrap_or(&Value::Null);
        if version.as_u64() != Some(u64::from(VERSION)) {
            return Err(FormatError::Config {
                file: file.to_path_buf(),
                place: "version".into(),
                expected: VERSION.to_string(),
                found: version.to_string(),
            });
        }
        let config = Config::deserialize(config).map_err(|source| FormatError::Json {
            file: file.to_path_buf(),
            source,
        })?;
        let mut layers = BTreeMap::new();
        for (layer, scheme) in config.layers {
            let (rows, cols) = LayerFiles {
                folder,
                layer: &layer,
            }
            .matrix_shape()?;
            layers.insert(layer, StoredLayer { scheme, rows, cols });
        }
        Ok(layers)
    }

    fn decode(
        &self,
        folder: &TensorFolder,
        layer: &str,
        stored: &StoredLayer,
    ) -> Result<QuantizedTensor, FormatError> {
        let files = LayerFiles { folder, layer };
        let (scheme, rows, cols) = (&stored.scheme, stored.rows, stored.cols);
        let encoding = match scheme.kind {
            SchemeKind::Uniform => Encoding::Uniform(uniform::decode(files, scheme, rows, cols)?),
            SchemeKind::Codebook => {
                Encoding::Codebook(codebook::decode(files, scheme, rows, cols)?)
            }
            SchemeKind::Trellis { code, state_bits } => {
                let (code, shape) = ((code, state_bits), (rows, cols));
                Encoding::Trellis(trellis::decode(files, scheme, code, shape)?)
            }
        };
        let outliers = scheme
            .outliers
            .then(|| codebook::decode_sparse(files, rows, cols))
            .transpose()?;
        files.checked(QuantizedTensor {
            rows,
            cols,
            encoding,
            outliers,
        })
    }
}
