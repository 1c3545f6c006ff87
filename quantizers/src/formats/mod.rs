//! On-disk formats: how a quantized matrix becomes named safetensors entries, and back.
//!
//! An artifact is a folder: `config.json` with a `quantization_config`, one `model.safetensors` or
//! shards with an index, and the side files of the checkpoint. [`ArtifactWriter`] makes it layer by
//! layer, [`ArtifactReader`] opens it, [`verify`] proves that it holds what was quantized.
//!
//! Adding a format is a new file here plus two lines: the `mod` line and the entry in [`FORMATS`].

mod artifact_reader;
mod artifact_writer;
mod codebook;
mod compressed_tensors;
mod containers;
mod decoded;
mod dense;
pub mod entry;
mod error;
pub mod finite;
mod floats;
mod gather;
pub mod gguf;
pub mod integer_program;
pub mod kv_quant;
mod layer_files;
pub mod marker;
mod minifloat;
mod model_files;
mod no_weights;
mod original;
pub mod python_json;
mod quench;
mod rewritten;
pub mod run_files;
mod shard;
mod side_files;
mod sources;
pub mod sparse_attention;
mod spool;
mod tensor_folder;
mod trellis;
mod uniform;
mod verification;

pub use artifact_reader::{ArtifactReader, RawTensor};
pub use artifact_writer::{ArtifactWriter, StoredSize, WriterOptions, Written};
pub use containers::torch::TorchError;
pub use containers::{INDEX_FILE, SINGLE_FILE, WeightFiles, weight_files};
pub use decoded::{DecodedTensor, Reading};
pub use entry::Entry;
pub use error::{FormatError, OUTPUT_EXISTS_HINT, Unsupported};
pub use floats::is_float;
pub(crate) use minifloat::e4m3;
pub use no_weights::{LFS_HINT, is_lfs_pointer};
pub use original::Original;
pub use safetensors::Dtype;
pub use side_files::side_file_bytes;
pub use sources::{SOURCES, Source, SourceFiles};
pub use tensor_folder::{PROGRAM_FILE, TensorFolder, TensorInfo};
pub use verification::{Expected, Verified, verify};

use crate::tensor::{FloatType, QuantizedTensor, Scheme};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[cfg(target_endian = "big")]
compile_error!("files are little-endian, and tensors are written as they lie in memory");

/// Every format, in the order `quench list formats` prints them.
pub static FORMATS: &[&dyn Format] = &[
    &quench::Quench,
    &compressed_tensors::CompressedTensors { plain_int8: false },
    &compressed_tensors::CompressedTensors { plain_int8: true },
    &dense::Dense {
        name: "dense",
        float_type: FloatType::F32,
    },
    &dense::Dense {
        name: "dense-bf16",
        float_type: FloatType::Bf16,
    },
    &dense::Dense {
        name: "dense-f16",
        float_type: FloatType::F16,
    },
];

/// A layer as an artifact lists it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredLayer {
    /// How it is stored.
    pub scheme: Scheme,
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
}

/// What a format writes.
pub trait Format: Sync {
    /// Name in recipes.
    fn name(&self) -> &'static str;
    /// One line for `quench list formats`.
    fn summary(&self) -> &'static str;
    /// Whether a `[rows, cols]` layer of `scheme` can be written; asked while planning.
    ///
    /// # Errors
    /// What there is no room for.
    fn accepts(&self, scheme: &Scheme, rows: usize, cols: usize) -> Result<(), Unsupported>;
    /// The tensors of one layer. The writer has asked [`Format::accepts`] and checked the tensor.
    ///
    /// # Errors
    /// A tensor of another kind than `scheme` says.
    fn encode(&self, tensor: &QuantizedTensor, scheme: &Scheme) -> Result<Vec<Entry>, Unsupported>;
    /// Bits [`Format::encode`] will write for a layer; see [`Scheme::storage_bits`].
    fn planned_bits(
        &self,
        scheme: &Scheme,
        rows: usize,
        cols: usize,
        scale_type: FloatType,
        outliers: usize,
    ) -> u64 {
        scheme.storage_bits(rows, cols, scale_type, outliers)
    }
    /// Type in which tensors that are not quantized are stored.
    fn kept_type(&self, dtype: Dtype) -> Dtype {
        dtype
    }
    /// Whether an artifact can hold an integer program ([`integer_program`]).
    fn holds_integer_programs(&self) -> bool {
        false
    }
    /// Changes `config.json` of the checkpoint into that of the artifact. `kept` are the modules
    /// that are not in `layers` but have a matrix, or are linear layers of the model.
    fn configure(
        &self,
        config: &mut Map<String, Value>,
        layers: &BTreeMap<String, StoredLayer>,
        kept: &BTreeSet<String>,
    );
    /// How to read it back; nothing where a plain checkpoint comes out.
    fn decoder(&self) -> Option<&dyn Decoder> {
        None
    }
}

/// How a format is read.
pub trait Decoder: Sync {
    /// `quant_method` of the configurations it understands.
    fn quant_method(&self) -> &'static str;
    /// The quantized layers of a folder. `config` is the `quantization_config` in `file`.
    ///
    /// # Errors
    /// A configuration it does not understand or that disagrees with the tensors.
    fn layers(
        &self,
        file: &Path,
        config: &Value,
        folder: &TensorFolder,
    ) -> Result<BTreeMap<String, StoredLayer>, FormatError>;
    /// Reads one layer.
    ///
    /// # Errors
    /// A missing tensor, one of another type or shape, values that do not belong together.
    fn decode(
        &self,
        folder: &TensorFolder,
        layer: &str,
        stored: &StoredLayer,
    ) -> Result<QuantizedTensor, FormatError>;
}

/// The format of that name.
pub fn find(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// What `format = "auto"` means: compressed-tensors where it holds every layer, quench otherwise.
pub fn auto<'a>(
    layers: impl IntoIterator<Item = (&'a Scheme, usize, usize)>,
) -> &'static dyn Format {
    let packed = &compressed_tensors::CompressedTensors { plain_int8: false };
    let fits = layers
        .into_iter()
        .all(|(scheme, rows, cols)| packed.accepts(scheme, rows, cols).is_ok());
    if fits { packed } else { &quench::Quench }
}
