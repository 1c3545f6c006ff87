//! Kinds of weight files: from the content of a file to the byte ranges of its tensors.
//!
//! Every kind read here stores its tensors uncompressed, so a tensor is a range of the file, and a
//! mapped file needs no further memory. Adding a kind is a new file here plus two lines: the `mod`
//! line and the entry in [`CONTAINERS`].

mod safetensors_file;
pub(super) mod torch;

pub use safetensors_file::{INDEX_FILE, SINGLE_FILE};

use super::FormatError;
use safetensors::Dtype;
use std::ops::Range;
use std::path::Path;

/// The kinds, in the order in which they are looked for in a folder.
static CONTAINERS: &[&dyn Container] = &[&safetensors_file::SafetensorsFile, &torch::TorchFile];

/// A kind of weight file.
pub(super) trait Container: Sync {
    /// Names of its files in a folder.
    fn files(&self) -> WeightFiles;
    /// Endings of its files, without the dot.
    fn endings(&self) -> &'static [&'static str];
    /// The tensors of `file`, whose bytes are `content`, with ranges that lie inside of it.
    ///
    /// # Errors
    /// Content that is damaged, of another kind, or that holds more than tensors.
    fn tensors(&self, file: &Path, content: &[u8]) -> Result<Vec<TensorPlace>, FormatError>;
}

/// Names under which a model folder holds weights of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightFiles {
    /// All of them in one file.
    pub single: &'static str,
    /// Shards, listed in this file.
    pub index: &'static str,
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorPlace {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Bytes of the file in which all elements lie.
    pub(super) range: Range<usize>,
    /// Elements from one index to the next in every dimension; empty where the elements are in
    /// row-major order without gaps.
    pub(super) strides: Vec<usize>,
}

/// Names under which weights are looked for, in this order.
pub fn weight_files() -> impl Iterator<Item = WeightFiles> {
    CONTAINERS.iter().map(|container| container.files())
}

/// The kind of a file of that name; safetensors for endings that are unknown.
pub(super) fn container_of(name: &str) -> &'static dyn Container {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    CONTAINERS
        .iter()
        .copied()
        .find(|container| container.endings().contains(&ending))
        .unwrap_or(&safetensors_file::SafetensorsFile)
}
