//! The tensors of a checkpoint as its model has them, whatever form they are stored in.

use super::floats::{dtype_of, float_type_of};
use super::{ArtifactReader, DecodedTensor, Dtype, entry};
use crate::tensor::{FloatType, Granularity};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A tensor of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Dimensions of the values, outermost first.
    pub shape: Vec<usize>,
    /// The type the values are in where they are kept: as stored, else as the configuration declares.
    pub dtype: Dtype,
    /// Bytes stored for it.
    pub stored_bytes: u64,
    /// Whether it is stored as its values.
    pub is_stored: bool,
}

impl Original {
    /// Bytes of the values where they are kept.
    pub fn kept_bytes(&self) -> u64 {
        let values: usize = self.shape.iter().product();
        values as u64 * self.dtype.bitsize() as u64 / 8
    }
}

impl ArtifactReader {
    /// Every tensor of the model by name.
    pub fn originals(&self) -> BTreeMap<String, Original> {
        let stored = self
            .folder()
            .tensors()
            .filter(|(name, _)| !self.is_part(name));
        let mut all: BTreeMap<String, Original> = stored
            .map(|(name, info)| {
                let original = Original {
                    shape: info.shape.clone(),
                    dtype: info.dtype,
                    stored_bytes: info.bytes as u64,
                    is_stored: true,
                };
                (name.to_owned(), original)
            })
            .collect();
        let kept = |own: Option<FloatType>, quantized: bool| {
            let declared = self.declared_type();
            // A tensor that is rounded no further than its own type stays in it.
            let first = if quantized {
                declared.or(own)
            } else {
                own.or(declared)
            };
            dtype_of(first.unwrap_or(FloatType::F32))
        };
        for (layer, stored) in self.layers() {
            let shape = if stored.scheme.transposed {
                vec![stored.cols, stored.rows]
            } else {
                vec![stored.rows, stored.cols]
            };
            let prefix = format!("{layer}.{}", entry::WEIGHT);
            let parts = self.folder().names_from(&prefix);
            let parts = parts.filter(|part| self.layer_of_entry(part) == Some(layer));
            let bytes = parts.filter_map(|part| self.folder().info(part));
            let scales = self
                .folder()
                .info(&format!("{layer}.{}", entry::WEIGHT_SCALE));
            let original = Original {
                shape,
                dtype: kept(scales.and_then(|info| float_type_of(info.dtype)), true),
                stored_bytes: bytes.map(|info| info.bytes as u64).sum(),
                is_stored: false,
            };
            all.insert(format!("{layer}.{}", entry::WEIGHT), original);
        }
        for (name, decoded) in self.decoded() {
            let original = Original {
                shape: decoded.shape.clone(),
                dtype: kept(decoded.float_type, decoded.quantized),
                stored_bytes: decoded.stored_bytes(self.folder()),
                is_stored: false,
            };
            all.insert(name.clone(), original);
        }
        all
    }

    /// The float type that `config.json` declares for the weights.
    pub fn declared_type(&self) -> Option<FloatType> {
        let mut keys = ["dtype", "torch_dtype"].into_iter();
        keys.find_map(|key| FloatType::of_name(self.config().get(key)?.as_str()?))
    }

    /// `config.json` without what it says of quantization.
    pub fn original_config(&self) -> Map<String, Value> {
        let mut config = self.config().clone();
        config.remove("quantization_config");
        config.remove("compression_config");
        config
    }

    /// How the quantized tensors are stored, each way with how many tensors are: `gptq 4 bit, group 128 (224
    /// tensors)`. Nothing where none is.
    pub fn quantized_forms(&self) -> Option<String> {
        let mut ways: BTreeMap<String, usize> = BTreeMap::new();
        for stored in self.layers().values() {
            let group = match stored.scheme.granularity {
                Granularity::Tensor => "one scale".to_owned(),
                Granularity::Channel => "channel".to_owned(),
                Granularity::Group(size) => format!("group {size}"),
            };
            let way = format!(
                "{} {} bit, {group}",
                stored.scheme.method, stored.scheme.bits
            );
            *ways.entry(way).or_default() += 1;
        }
        for decoded in self.decoded().values().filter(|tensor| tensor.quantized) {
            *ways.entry(decoded.stored.clone()).or_default() += 1;
        }
        let ways: Vec<String> = ways
            .into_iter()
            .map(|(way, count)| {
                let tensors = if count == 1 { "tensor" } else { "tensors" };
                format!("{way} ({count} {tensors})")
            })
            .collect();
        (!ways.is_empty()).then(|| ways.join(", "))
    }

    /// Layers whose inputs engines round as well, which [`ArtifactReader::input_quantizer`] does not tell.
    pub fn unrounded_inputs(&self) -> usize {
        let rounds = |tensor: &&DecodedTensor| tensor.rounds_inputs;
        self.decoded().values().filter(rounds).count()
    }
}
