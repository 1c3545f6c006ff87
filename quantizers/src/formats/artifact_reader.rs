//! Opening an artifact: which layers are quantized, and what everything holds.

use super::layer_files::LayerFiles;
use super::{
    Decoder, Dtype, FORMATS, FormatError, StoredLayer, TensorFolder, entry, is_lfs_pointer,
    python_json,
};
use crate::grid::{InputQuantizer, Point};
use crate::tensor::{InvalidTensor, QuantizedTensor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest `config.json` that is read; real ones are a few kilobytes.
const CONFIG_LIMIT: u64 = 100_000_000;

/// A tensor as stored: type, shape and bytes in row-major order.
pub type RawTensor<'a> = (Dtype, &'a [usize], Cow<'a, [u8]>);

/// An opened artifact, or a plain checkpoint (which has no quantized layers).
pub struct ArtifactReader {
    folder: TensorFolder,
    config: Map<String, Value>,
    decoder: Option<&'static dyn Decoder>,
    layers: BTreeMap<String, StoredLayer>,
}

impl ArtifactReader {
    /// Opens the folder `dir`: reads `config.json` and the headers of the weight files.
    ///
    /// # Errors
    /// A file that is missing, damaged or not understood; a quantization method that is not read
    /// here; a configuration that disagrees with the tensors.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, FormatError> {
        let dir = dir.as_ref();
        let file = dir.join("config.json");
        let config = read_config(&file)?;
        let folder = TensorFolder::open(dir)?;
        // Old compressed-tensors files called it `compression_config`.
        let quantization = config
            .get("quantization_config")
            .or_else(|| config.get("compression_config"))
            .filter(|value| !value.is_null());
        let (decoder, layers) = match quantization {
            None => (None, BTreeMap::new()),
            Some(quantization) => {
                let decoder = decoder_of(&file, quantization)?;
                (Some(decoder), decoder.layers(&file, quantization, &folder)?)
            }
        };
        Ok(Self {
            folder,
            config,
            decoder,
            layers,
        })
    }

    /// `config.json`.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// `quant_method` of the configuration; nothing for a plain checkpoint.
    pub fn quant_method(&self) -> Option<&'static str> {
        self.decoder.map(Decoder::quant_method)
    }

    /// The quantized layers, by module name.
    pub fn layers(&self) -> &BTreeMap<String, StoredLayer> {
        &self.layers
    }

    /// Decodes a quantized layer and gives its pages back.
    ///
    /// # Errors
    /// No such layer, a missing tensor, one of another type or shape, values that do not belong
    /// together.
    pub fn layer(&self, layer: &str) -> Result<QuantizedTensor, FormatError> {
        let (Some(decoder), Some(stored)) = (self.decoder, self.layers.get(layer)) else {
            return Err(FormatError::OneSided {
                layer: layer.to_owned(),
                present: "the request",
                absent: "the quantized layers",
            });
        };
        let tensor = decoder.decode(&self.folder, layer, stored)?;
        let prefix = format!("{layer}.{}", entry::WEIGHT);
        for name in self.folder.names_from(&prefix) {
            self.folder.release(name);
        }
        Ok(tensor)
    }

    /// How the inputs of `layer` are rounded when the model runs; nothing where they stay floats, or for a
    /// layer that is not quantized.
    ///
    /// # Errors
    /// Codes of another width than 1 to 8; a stored scale that is missing or is not one positive float; a
    /// zero point that is missing or is no code.
    pub fn input_quantizer(&self, layer: &str) -> Result<Option<InputQuantizer>, FormatError> {
        let Some(inputs) = self
            .layers
            .get(layer)
            .and_then(|stored| stored.scheme.inputs)
        else {
            return Ok(None);
        };
        let folder = &self.folder;
        let files = LayerFiles { folder, layer };
        if !(1..=8).contains(&inputs.bits) {
            return Err(files.invalid(InvalidTensor::Bits(inputs.bits)));
        }
        if inputs.dynamic {
            return Ok(Some(InputQuantizer::per_token(inputs)));
        }
        let scale = files.floats(entry::INPUT_SCALE, &[1])?.0[0];
        if !scale.is_finite() || scale <= 0.0 {
            return Err(files.invalid(InvalidTensor::NotFinite {
                part: "input scale above 0",
                position: 0,
                value: scale.to_string(),
            }));
        }
        let zero_point = if inputs.symmetric {
            0
        } else {
            files.signed_bytes(entry::INPUT_ZERO_POINT, &[1])?[0]
        };
        let limit = 1i16 << (inputs.bits - 1);
        if !(-limit..limit).contains(&i16::from(zero_point)) {
            return Err(files.invalid(InvalidTensor::Code {
                part: "an input zero point",
                bits: inputs.bits,
                position: 0,
                value: zero_point.into(),
            }));
        }
        let point = Point { scale, zero_point };
        Ok(Some(InputQuantizer::fixed(inputs, point)))
    }

    /// Names of all tensors as the checkpoint had them: `<layer>.weight` for quantized layers,
    /// everything else as stored. Sorted.
    pub fn names(&self) -> Vec<String> {
        let stored = self
            .folder
            .names()
            .filter(|name| self.layer_of_entry(name).is_none());
        let quantized = self
            .layers
            .keys()
            .map(|layer| format!("{layer}.{}", entry::WEIGHT));
        let mut names: Vec<String> = stored.map(str::to_owned).chain(quantized).collect();
        names.sort();
        names
    }

    /// A tensor as stored: type, shape and bytes.
    ///
    /// # Errors
    /// No such tensor.
    pub fn raw(&self, name: &str) -> Result<RawTensor<'_>, FormatError> {
        let info = self.folder.require(name)?;
        Ok((info.dtype, &info.shape, self.folder.bytes(name)?))
    }

    /// The weight files.
    pub fn folder(&self) -> &TensorFolder {
        &self.folder
    }

    /// The quantized layer that the stored tensor `name` is a part of.
    pub fn layer_of_entry(&self, name: &str) -> Option<&str> {
        let (layer, suffix) = name.rsplit_once('.')?;
        let part = suffix.starts_with(entry::WEIGHT) || suffix.starts_with("input_");
        let (layer, _) = self.layers.get_key_value(layer).filter(|_| part)?;
        Some(layer)
    }
}

fn read_config(file: &Path) -> Result<Map<String, Value>, FormatError> {
    let io = |source| FormatError::io("read", file, source);
    if fs_err::metadata(file).map_err(io)?.len() > CONFIG_LIMIT {
        return Err(io(std::io::ErrorKind::FileTooLarge.into()));
    }
    let text = fs_err::read(file).map_err(io)?;
    if is_lfs_pointer(&text) {
        let file = PathBuf::from(file);
        return Err(FormatError::LfsPointer { file });
    }
    python_json::parse(&text)
        .and_then(serde_json::from_value)
        .map_err(|source| FormatError::Json {
            file: PathBuf::from(file),
            source,
        })
}

fn decoder_of(file: &Path, quantization: &Value) -> Result<&'static dyn Decoder, FormatError> {
    let method = quantization.get("quant_method").unwrap_or(&Value::Null);
    let decoders = || FORMATS.iter().filter_map(|format| format.decoder());
    let known = decoders().find(|decoder| method.as_str() == Some(decoder.quant_method()));
    known.ok_or_else(|| {
        let mut names: Vec<String> = decoders()
            .map(|decoder| format!("`{}`", decoder.quant_method()))
            .collect();
        names.dedup();
        FormatError::Config {
            file: file.to_path_buf(),
            place: "quant_method".into(),
            expected: names.join(" or "),
            found: format!("`{method}`"),
        }
    })
}
