//! How the cache of keys and values is kept: `kv_quant.json` and, where a method was fitted, `kv_quant.safetensors`.
//!
//! The weights stay what they are; whoever runs the model packs keys and values as it says. Tensors are named
//! `layers.{i}.{name}`, in the order of the blocks; the names behind that are the method's own.

use super::run_files::{RunFileError, read_header};
use super::{ArtifactWriter, FormatError};
use crate::caches::{CacheTensor, CacheValues};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The version written.
const VERSION: u32 = 1;
/// Where keys are taken.
const HOOKS: [&str; 3] = ["pre_rope", "post_rope", "by_layer"];
const HEADER: &str = "kv_quant.json";
const TENSORS: &str = "kv_quant.safetensors";

/// The cache of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct KvQuant {
    /// What stands in the JSON file.
    pub header: KvQuantHeader,
    /// What was fitted to each block; empty for blocks that stay as they are, and where the header says it all.
    pub tensors: BTreeMap<usize, Vec<CacheTensor>>,
}

/// The JSON file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvQuantHeader {
    /// Version of the two files.
    pub kv_quant_version: u32,
    /// Name of the method.
    pub method: String,
    /// Its parameters.
    pub parameters: Map<String, Value>,
    /// Where keys are taken: `pre_rope` or `post_rope`, or `by_layer` where blocks differ.
    pub hook: String,
    /// The model the method was fitted to.
    pub model: String,
    /// What it was fitted on; absent where it needs no data.
    pub calib: Option<KvQuantCalibration>,
    /// Bits of one value of a key, over the blocks that are packed.
    pub bits_k: f64,
    /// Bits of one value of a value.
    pub bits_v: f64,
    /// Bytes of one more token, over all blocks.
    pub bytes_per_token: f64,
    /// Newest tokens that stay 16-bit floats.
    pub residual_tokens: usize,
    /// First tokens that stay 16-bit floats.
    pub sink_tokens: usize,
    /// The blocks, in order.
    pub layers: Vec<KvQuantLayer>,
}

/// What a method was fitted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvQuantCalibration {
    /// Where the text came from.
    pub dataset: String,
    /// Sequences.
    pub samples: usize,
    /// Tokens of each.
    pub seqlen: usize,
    /// Seed of the choice.
    pub seed: u64,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvQuantLayer {
    /// Its number.
    pub layer: usize,
    /// Its cache stays 16-bit floats.
    pub kept: bool,
    /// What the method decided for it.
    pub settings: Value,
}

impl KvQuantHeader {
    /// The version this program writes.
    pub const VERSION: u32 = VERSION;
}

impl KvQuant {
    /// Adds the files to an artifact.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, writer: &mut ArtifactWriter) -> Result<(), FormatError> {
        let json =
            serde_json::to_string_pretty(&self.header).map_err(|source| FormatError::Json {
                file: PathBuf::from(HEADER),
                source,
            })?;
        writer.file(HEADER, (json + "\n").as_bytes())?;
        let stored: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .flat_map(|(layer, tensors)| tensors.iter().map(move |tensor| stored(*layer, tensor)))
            .collect();
        if stored.is_empty() {
            return Ok(());
        }
        let failed = |source| FormatError::Header {
            file: PathBuf::from(TENSORS),
            source,
        };
        let views = stored.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(failed)?;
            Ok((name.clone(), view))
        });
        let views: Vec<_> = views.collect::<Result<_, FormatError>>()?;
        let bytes = safetensors::serialize(views, None).map_err(failed)?;
        writer.file(TENSORS, &bytes)
    }

    /// What `folder` says; nothing where it says nothing.
    ///
    /// # Errors
    /// Files that cannot be read or do not say how the caches of `layers` blocks are kept.
    pub fn read(folder: &Path, layers: usize) -> Result<Option<Self>, RunFileError> {
        let found = read_header(folder, HEADER, ("kv_quant_version", VERSION))?;
        let Some((file, header)): Option<(_, KvQuantHeader)> = found else {
            return Ok(None);
        };
        let wrong = |place: &str, expected: String, found: String| RunFileError::Content {
            file: file.clone(),
            place: place.to_owned(),
            expected,
            found,
        };
        let numbers = header.layers.iter().map(|layer| layer.layer);
        if !numbers.clone().eq(0..layers) {
            let found = format!("{:?}", numbers.collect::<Vec<_>>());
            return Err(wrong(
                "layers",
                format!("blocks 0 to {}", layers - 1),
                found,
            ));
        }
        if !HOOKS.contains(&header.hook.as_str()) {
            let found = format!("`{}`", header.hook);
            return Err(wrong("hook", "`pre_rope` or `post_rope`".to_owned(), found));
        }
        let tensors = read_tensors(folder, layers)?;
        Ok(Some(Self { header, tensors }))
    }
}

/// Name, type, shape and bytes of a tensor in the file.
fn stored(layer: usize, tensor: &CacheTensor) -> (String, Dtype, Vec<usize>, Vec<u8>) {
    let (dtype, bytes) = match &tensor.values {
        CacheValues::F16(values) => (
            Dtype::F16,
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        ),
        CacheValues::F32(values) => (
            Dtype::F32,
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        ),
    };
    let name = format!("layers.{layer}.{}", tensor.name);
    (name, dtype, tensor.shape.clone(), bytes)
}

fn read_tensors(
    folder: &Path,
    layers: usize,
) -> Result<BTreeMap<usize, Vec<CacheTensor>>, RunFileError> {
    let file = folder.join(TENSORS);
    let bytes = match fs_err::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(RunFileError::Io { file, source }),
    };
    let parsed = SafeTensors::deserialize(&bytes).map_err(|source| RunFileError::Tensors {
        file: file.clone(),
        source,
    })?;
    let mut found: BTreeMap<usize, Vec<CacheTensor>> = BTreeMap::new();
    for (name, view) in parsed.iter() {
        let wrong = |expected: &str, found: String| RunFileError::Content {
            file: file.clone(),
            place: format!("tensor `{name}`"),
            expected: expected.to_owned(),
            found,
        };
        let parts = name
            .strip_prefix("layers.")
            .and_then(|rest| rest.split_once('.'));
        let layer = parts.and_then(|(layer, part)| Some((layer.parse::<usize>().ok()?, part)));
        let Some((layer, part)) = layer.filter(|(layer, _)| *layer < layers) else {
            return Err(wrong(
                "a name `layers.{block}.{part}`",
                "another".to_owned(),
            ));
        };
        let values = match view.dtype() {
            Dtype::F16 => {
                let (pairs, _) = view.data().as_chunks::<2>();
                CacheValues::F16(pairs.iter().map(|pair| f16::from_le_bytes(*pair)).collect())
            }
            Dtype::F32 => {
                let (words, _) = view.data().as_chunks::<4>();
                CacheValues::F32(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
            }
            other => return Err(wrong("F16 or F32", format!("{other:?}"))),
        };
        found.entry(layer).or_default().push(CacheTensor {
            name: part.to_owned(),
            shape: view.shape().to_vec(),
            values,
        });
    }
    Ok(found)
}
