//! Forms in which other programs store quantized weights: read as values, never written.
//!
//! A checkpoint in one of them can be quantized again or evaluated: every tensor is decoded when a stage
//! asks for it. Adding a form is a new file here plus two lines: the `mod` line and the entry in [`SOURCES`].

mod awq;
mod bitsandbytes;
mod compressed_floats;
mod fp8;
mod gguf;
mod gptq;
mod mxfp4;
mod packed_columns;
pub(super) mod plain;
mod scaled_floats;
mod scales;

use super::decoded::DecodedTensor;
use super::{FormatError, TensorFolder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Every form, in the order messages name them.
pub static SOURCES: &[&dyn Source] = &[
    &compressed_floats::CompressedFloats,
    &fp8::Fp8,
    &gptq::Gptq,
    &awq::Awq,
    &bitsandbytes::BitsAndBytes,
    &mxfp4::Mxfp4,
    &gguf::Gguf,
];

/// A form that is read.
pub trait Source: Sync {
    /// `quant_method` of the configurations it understands.
    fn quant_method(&self) -> &'static str;
    /// What it is, in one line.
    fn summary(&self) -> &'static str;
    /// The tensors of a folder that are stored in this form, by the names the values have in the model. Reads
    /// headers only.
    ///
    /// # Errors
    /// A configuration it does not understand or that disagrees with the tensors.
    fn tensors(
        &self,
        files: &SourceFiles<'_>,
    ) -> Result<BTreeMap<String, DecodedTensor>, FormatError>;
}

/// An opened folder and what its configuration says of quantization.
#[derive(Clone, Copy)]
pub struct SourceFiles<'a> {
    /// The file with the configuration, for messages.
    pub file: &'a Path,
    /// `quantization_config`.
    pub config: &'a Value,
    /// The weights.
    pub folder: &'a TensorFolder,
}

impl<'a> SourceFiles<'a> {
    /// The form whose name the configuration has.
    pub(super) fn source(&self) -> Option<&'static dyn Source> {
        let method = self.config.get("quant_method")?.as_str()?;
        let mut known = SOURCES.iter().copied();
        known.find(|source| source.quant_method() == method)
    }

    /// Modules that have a tensor `suffix`, sorted.
    fn layers_with(&self, suffix: &str) -> impl Iterator<Item = &'a str> {
        let end = format!(".{suffix}");
        let names = self.folder.names();
        names.filter_map(move |name| name.strip_suffix(&end))
    }

    /// The whole number under `key`; nothing where there is none.
    fn number(&self, key: &str) -> Result<Option<i64>, FormatError> {
        match self.config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.refuse(key, "a whole number", value)),
            },
        }
    }

    /// The text under `key`; nothing where there is none.
    fn text(&self, key: &str) -> Option<&'a str> {
        self.config.get(key).and_then(Value::as_str)
    }

    fn refuse(&self, place: &str, expected: &str, found: &Value) -> FormatError {
        FormatError::Config {
            file: self.file.to_path_buf(),
            place: place.to_owned(),
            expected: expected.to_owned(),
            found: format!("`{found}`"),
        }
    }
}
