//! Opening an artifact, or a checkpoint in another program's form: which layers are quantized, and what everything
//! holds.

use super::layer_files::LayerFiles;
use super::sources::{SourceFiles, plain};
use super::{
    DecodedTensor, Decoder, Dtype, FORMATS, FormatError, SOURCES, Source, StoredLayer,
    TensorFolder, entry, gguf, is_lfs_pointer, python_json, trellis,
};
use crate::grid::{InputQuantizer, Point};
use crate::nearest::nearest;
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
    pub(super) config: Map<String, Value>,
    quant_method: Option<&'static str>,
    pub(super) decoder: Option<&'static dyn Decoder>,
    pub(super) layers: BTreeMap<String, StoredLayer>,
    /// Tensors whose values alone are read.
    pub(super) decoded: BTreeMap<String, DecodedTensor>,
    /// The decoded tensor that a stored one is a part of.
    pub(super) owners: BTreeMap<String, String>,
}

impl ArtifactReader {
    /// Opens the folder `dir`: reads `config.json` and the headers of the weight files.
    ///
    /// # Errors
    /// A file that is missing, damaged or not understood; a quantization method that is not read
    /// here; a configuration that disagrees with the tensors.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, FormatError> {
        let dir = dir.as_ref();
        let folder = TensorFolder::open(dir);
        let made = match &folder {
            Ok(folder) => gguf::config(folder)?,
            Err(_) => None,
        };
        let (file, config) = if let Some(config) = made {
            (dir.to_path_buf(), config)
        } else {
            let file = dir.join("config.json");
            let config = read_config(&file)?;
            (file, config)
        };
        let folder = folder?;
        let quantization = quantization_config(dir, &config, &folder)?;
        let files = SourceFiles {
            file: &file,
            config: quantization.as_ref().unwrap_or(&Value::Null),
            folder: &folder,
        };
        let decoder = decoder_of(files.config);
        let source = files.source();
        let quant_method = decoder
            .map(Decoder::quant_method)
            .or(source.map(Source::quant_method));
        if quantization.is_some() && quant_method.is_none() {
            return Err(unknown_method(&files));
        }
        let layers = match decoder {
            Some(decoder) => decoder.layers(&file, files.config, &folder)?,
            None => BTreeMap::new(),
        };
        let mut decoded = match source {
            Some(source) => source.tensors(&files)?,
            None => BTreeMap::new(),
        };
        if let (None, Some(method), true) = (decoder, quant_method, decoded.is_empty()) {
            return Err(FormatError::Config {
                file,
                place: "quant_method".into(),
                expected: format!("tensors stored as `{method}`"),
                found: "none".into(),
            });
        }
        let owners = owners(&decoded);
        let is_part =
            |name: &str| owners.contains_key(name) || layer_of_entry(&layers, name).is_some();
        let plain = plain::tensors(&files, &is_part)?;
        let owners = owners.into_iter().chain(self::owners(&plain)).collect();
        decoded.extend(plain);
        Ok(Self {
            folder,
            config,
            quant_method,
            decoder,
            layers,
            decoded,
            owners,
        })
    }

    /// Shows stacked tensors of a checkpoint matrix by matrix, stored or decoded: see [`TensorFolder::unstack`].
    pub fn unstack(&mut self, modules: &[&str]) {
        self.folder.unstack(modules);
        let decoded = std::mem::take(&mut self.decoded).into_iter();
        let shown = decoded.flat_map(|(name, tensor)| {
            match TensorFolder::slice_names(&name, &tensor.shape, modules) {
                Some(names) => names.into_iter().zip(tensor.slices()).collect(),
                None => vec![(name, tensor)],
            }
        });
        self.decoded = shown.collect();
    }

    /// `config.json`.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// `quant_method` of the configuration; nothing for a plain checkpoint.
    pub fn quant_method(&self) -> Option<&'static str> {
        self.quant_method
    }

    /// The quantized layers, by module name.
    pub fn layers(&self) -> &BTreeMap<String, StoredLayer> {
        &self.layers
    }

    /// The tensors of which values can be had and nothing else, by name.
    pub fn decoded(&self) -> &BTreeMap<String, DecodedTensor> {
        &self.decoded
    }

    /// Decodes the values of one of [`Self::decoded`] and gives its pages back.
    ///
    /// # Errors
    /// No such tensor, or a part that holds what its form does not allow.
    pub fn values(&self, name: &str) -> Result<Vec<f32>, FormatError> {
        let decoded = self.decoded.get(name).ok_or_else(|| {
            let nearest = nearest(name, self.decoded.keys().map(String::as_str));
            FormatError::MissingTensor {
                origin: self.folder.origin().to_path_buf(),
                name: name.to_owned(),
                nearest,
            }
        })?;
        let values = decoded.values(&self.folder)?;
        for part in &decoded.parts {
            self.folder.release(part);
        }
        Ok(values)
    }

    /// Whether every tensor is one that is read as it is stored.
    pub fn is_plain(&self) -> bool {
        self.layers.is_empty() && self.decoded.is_empty()
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

    /// Names of all tensors as the checkpoint had them: `<layer>.weight` for quantized layers, decoded
    /// tensors, everything else as stored. Sorted.
    pub fn names(&self) -> Vec<String> {
        let stored = self.folder.names().filter(|name| !self.is_part(name));
        let quantized = self
            .layers
            .keys()
            .map(|layer| format!("{layer}.{}", entry::WEIGHT));
        let decoded = self.decoded.keys().cloned();
        let mut names: Vec<String> = stored
            .map(str::to_owned)
            .chain(quantized)
            .chain(decoded)
            .collect();
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
        layer_of_entry(&self.layers, name)
    }

    /// Whether the stored tensor `name` is a part of a quantized layer or of a decoded tensor.
    pub fn is_part(&self, name: &str) -> bool {
        self.owners.contains_key(name) || self.layer_of_entry(name).is_some()
    }
}

fn layer_of_entry<'l>(layers: &'l BTreeMap<String, StoredLayer>, name: &str) -> Option<&'l str> {
    let (layer, suffix) = name.rsplit_once('.')?;
    let part = suffix.starts_with(entry::WEIGHT) || suffix.starts_with("input_");
    let (layer, _) = layers
        .get_key_value(layer)
        .filter(|(_, stored)| part || trellis::is_part(&stored.scheme, suffix))?;
    Some(layer)
}

/// Decoded tensors by the names of their parts.
fn owners(decoded: &BTreeMap<String, DecodedTensor>) -> BTreeMap<String, String> {
    let parts = decoded.iter().flat_map(|(name, tensor)| {
        let parts = tensor.parts.iter();
        parts.map(move |part| (part.clone(), name.clone()))
    });
    parts.collect()
}

/// What the folder says of quantization: in `config`, or in a file of its own, where early versions of `AutoGPTQ`
/// and `AutoAWQ` put it.
fn quantization_config(
    dir: &Path,
    config: &Map<String, Value>,
    folder: &TensorFolder,
) -> Result<Option<Value>, FormatError> {
    // Old compressed-tensors files called it `compression_config`.
    let keys = ["quantization_config", "compression_config"];
    let told = keys.iter().find_map(|key| config.get(*key));
    if let Some(told) = told.filter(|value| !value.is_null()) {
        return Ok(Some(told.clone()));
    }
    if !folder.names().any(|name| name.ends_with(".qweight")) {
        return Ok(None);
    }
    for (name, method) in [
        ("quantize_config.json", "gptq"),
        ("quant_config.json", "awq"),
    ] {
        let file = dir.join(name);
        if file.is_file() {
            let mut told = read_config(&file)?;
            told.entry("quant_method").or_insert_with(|| method.into());
            return Ok(Some(Value::Object(told)));
        }
    }
    Ok(None)
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

fn decoder_of(quantization: &Value) -> Option<&'static dyn Decoder> {
    let method = quantization.get("quant_method")?.as_str()?;
    let mut decoders = FORMATS.iter().filter_map(|format| format.decoder());
    decoders.find(|decoder| method == decoder.quant_method())
}

/// The error for a method that nothing here reads.
fn unknown_method(files: &SourceFiles<'_>) -> FormatError {
    let decoders = FORMATS.iter().filter_map(|format| format.decoder());
    let names = decoders
        .map(Decoder::quant_method)
        .chain(SOURCES.iter().map(|source| source.quant_method()));
    let mut known: Vec<String> = Vec::new();
    for name in names.map(|name| format!("`{name}`")) {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    let method = files.config.get("quant_method").unwrap_or(&Value::Null);
    FormatError::Config {
        file: files.file.to_path_buf(),
        place: "quant_method".into(),
        expected: known.join(" or "),
        found: format!("`{method}`"),
    }
}
