//! A folder of weight files, memory-mapped: one file, or shards with an index; or one GGUF file.
//!
//! Nothing is read but headers until a tensor is asked for; [`TensorFolder::release`] gives the
//! pages of a tensor back, so that a walk over a model never holds more than what it is looking at.

mod opening;
mod unstack;

use super::containers::{TensorPlace, WeightFiles, container_of, weight_files};
use super::floats::decode_floats;
use super::gather::gather;
use super::gguf::blocks::Form;
use super::gguf::header;
use super::{FormatError, no_weights, python_json};
use crate::nearest::nearest;
use crate::tensor::FloatType;
use memmap2::Mmap;
use opening::{map, no_weights_in};
use safetensors::Dtype;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};

/// Name of the integer program of an artifact that has one.
pub const PROGRAM_FILE: &str = "integer_program.json";

/// What a header says about one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Stored bytes.
    pub bytes: usize,
    file: usize,
    range: Range<usize>,
    /// Empty where the elements are in row-major order without gaps.
    strides: Vec<usize>,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether `other` lies in the very same bytes of the same file: one weight under two names.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self == other && !self.range.is_empty()
    }
}

/// The tensors of one folder.
#[derive(Debug)]
pub struct TensorFolder {
    origin: PathBuf,
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, TensorInfo>,
}

#[derive(Debug)]
struct MappedFile {
    name: String,
    map: Mmap,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl TensorFolder {
    /// Opens `path`: a weight file, or a folder with `model.safetensors`, with
    /// `model.safetensors.index.json` and its shards, with `pytorch_model.bin`, with
    /// `pytorch_model.bin.index.json` and its shards, or else with one `.gguf` file; the first of these that is
    /// there. Headers are checked (size limits, offsets inside the file, lengths that agree with type and
    /// shape).
    ///
    /// The files must not be changed or truncated while they are open.
    ///
    /// # Errors
    /// No weights, a file that cannot be read, a damaged header, an index that disagrees with its
    /// shards, a name in two shards.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        let path = path.as_ref();
        let mut folder = Self {
            origin: path.to_path_buf(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        if path.is_file() {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if header::is_gguf(path) {
                folder.add_gguf(path, name)?;
            } else {
                folder.add_file(path, name)?;
            }
        } else {
            folder.add_folder(path)?;
        }
        Ok(folder)
    }

    /// The path given to [`Self::open`].
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// All tensor names, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// All tensors with what their headers say, sorted by name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, &TensorInfo)> {
        self.tensors
            .iter()
            .map(|(name, info)| (name.as_str(), info))
    }

    /// Names that begin with `prefix`, sorted.
    pub fn names_from<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let from = self
            .tensors
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map(|(name, _)| name.as_str())
            .take_while(move |name| name.starts_with(prefix))
    }

    /// What the header says about `name`.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// [`Self::info`], or an error that names the nearest tensor.
    ///
    /// # Errors
    /// No such tensor.
    pub fn require(&self, name: &str) -> Result<&TensorInfo, FormatError> {
        self.tensors
            .get(name)
            .ok_or_else(|| FormatError::MissingTensor {
                origin: self.origin.clone(),
                name: name.to_owned(),
                nearest: self.nearest(name),
            })
    }

    /// The elements of `name` in row-major order: straight from the mapped file, or gathered from it
    /// where the file has them in another order.
    ///
    /// # Errors
    /// No such tensor.
    pub fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, FormatError> {
        let info = self.require(name)?;
        let mapped = &self.files[info.file].map[info.range.clone()];
        if info.strides.is_empty() {
            return Ok(Cow::Borrowed(mapped));
        }
        let size = info.dtype.bitsize() / 8;
        Ok(Cow::Owned(gather(mapped, size, &info.shape, &info.strides)))
    }

    /// The values of a float tensor (F64, F32, F16, BF16) as f32, F64 rounded to nearest; borrowed where
    /// the file already holds aligned f32.
    ///
    /// # Errors
    /// No such tensor, or one whose type is no float.
    pub fn floats(&self, name: &str) -> Result<Cow<'_, [f32]>, FormatError> {
        let info = self.require(name)?;
        let values = match self.bytes(name)? {
            Cow::Borrowed(bytes) => decode_floats(info.dtype, bytes),
            Cow::Owned(bytes) => {
                decode_floats(info.dtype, &bytes).map(|values| Cow::Owned(values.into_owned()))
            }
        };
        values.ok_or_else(|| FormatError::TensorType {
            name: name.to_owned(),
            expected: "F64, F32, F16 or BF16",
            found: info.dtype,
        })
    }

    /// The bits of a tensor of 16-bit floats, row-major, and of which kind they are; nothing for other types.
    ///
    /// # Errors
    /// No such tensor.
    pub fn halves(&self, name: &str) -> Result<Option<(FloatType, Vec<u16>)>, FormatError> {
        let kind = match self.require(name)?.dtype {
            Dtype::F16 => FloatType::F16,
            Dtype::BF16 => FloatType::Bf16,
            _ => return Ok(None),
        };
        let bytes = self.bytes(name)?;
        let pairs = bytes.as_chunks::<2>().0.iter();
        let bits = pairs.map(|pair| u16::from_le_bytes(*pair));
        Ok(Some((kind, bits.collect())))
    }

    /// Lets the operating system take the pages of `name` back; reading it again is valid and
    /// fetches them anew.
    pub fn release(&self, name: &str) {
        const PAGE: usize = 4096;
        let Some(info) = self.tensors.get(name) else {
            return;
        };
        // Neighbours share the first and the last page: keep those.
        let start = info.range.start.next_multiple_of(PAGE);
        let end = info.range.end / PAGE * PAGE;
        #[cfg(unix)]
        if start < end {
            #[expect(unsafe_code, reason = "the only way to hand pages of a mapping back")]
            // SAFETY: the mapping is a read-only view of a file, so dropped pages come back from
            // the file with the same content.
            let advised = unsafe {
                self.files[info.file].map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    start,
                    end - start,
                )
            };
            // Advice only: a system that declines keeps the pages, and nothing is wrong.
            drop(advised);
        }
    }

    /// Size of all files together.
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.map.len() as u64).sum()
    }

    /// The name most like `name`, if any is alike.
    pub fn nearest(&self, name: &str) -> Option<String> {
        nearest(name, self.names())
    }

    fn add_folder(&mut self, path: &Path) -> Result<(), FormatError> {
        for WeightFiles { single, index } in weight_files() {
            if path.join(single).is_file() {
                return self.add_file(&path.join(single), single.to_owned());
            }
            if path.join(index).is_file() {
                return self.add_shards(&path.join(index));
            }
        }
        match header::only_gguf(path) {
            Some(name) => self.add_gguf(&path.join(&name), name),
            None => Err(no_weights_in(path)),
        }
    }

    fn add_shards(&mut self, index: &Path) -> Result<(), FormatError> {
        let text = fs_err::read(index).map_err(|source| FormatError::io("read", index, source))?;
        if no_weights::is_lfs_pointer(&text) {
            return Err(FormatError::LfsPointer {
                file: index.to_path_buf(),
            });
        }
        let Index { weight_map } = python_json::parse(&text)
            .and_then(serde_json::from_value)
            .map_err(|source| FormatError::Json {
                file: index.to_path_buf(),
                source,
            })?;
        let folder = index.parent().unwrap_or(Path::new("."));
        for (name, file) in &weight_map {
            if file.contains(['/', '\\']) || file == ".." {
                let (name, file) = (name.clone(), file.clone());
                return Err(FormatError::ShardName {
                    index: index.to_path_buf(),
                    name,
                    file,
                });
            }
        }
        let files: BTreeSet<&String> = weight_map.values().collect();
        let missing: Vec<String> = files
            .iter()
            .filter(|file| !folder.join(file.as_str()).exists())
            .map(|file| (*file).clone())
            .collect();
        if !missing.is_empty() {
            return Err(FormatError::MissingShards {
                index: index.to_path_buf(),
                all: files.len(),
                missing,
            });
        }
        for file in weight_map.values() {
            if !self.files.iter().any(|known| known.name == *file) {
                self.add_file(&folder.join(file), file.clone())?;
            }
        }
        for (name, file) in &weight_map {
            let found = self
                .tensors
                .get(name)
                .map(|info| &self.files[info.file].name);
            if found != Some(file) {
                let (name, file) = (name.clone(), file.clone());
                return Err(FormatError::ShardContent {
                    index: index.to_path_buf(),
                    name,
                    file,
                });
            }
        }
        Ok(())
    }

    /// Path and bytes of the file, where it is a GGUF file.
    pub(super) fn gguf(&self) -> Option<(PathBuf, &[u8])> {
        let [file] = &self.files[..] else {
            return None;
        };
        let path = if self.origin.is_file() {
            self.origin.clone()
        } else {
            self.origin.join(&file.name)
        };
        file.map
            .starts_with(header::MAGIC)
            .then_some((path, &file.map))
    }

    /// Adds the tensors of a GGUF file under their own names. Those in blocks are bytes here.
    fn add_gguf(&mut self, path: &Path, name: String) -> Result<(), FormatError> {
        let map = map(path)?;
        let header = header::Header::parse(&map).map_err(|problem| FormatError::Gguf {
            file: path.to_path_buf(),
            problem,
        })?;
        for (tensor, found) in &header.tensors {
            let bytes = found.range.len();
            let (dtype, shape) = match found.kind().map(|kind| kind.form) {
                Some(Form::Plain(dtype)) => (dtype, found.shape.clone()),
                _ => (Dtype::U8, vec![bytes]),
            };
            let info = TensorInfo {
                dtype,
                shape,
                bytes,
                file: self.files.len(),
                range: found.range.clone(),
                strides: Vec::new(),
            };
            self.tensors.insert((*tensor).to_owned(), info);
        }
        self.files.push(MappedFile { name, map });
        Ok(())
    }

    fn add_file(&mut self, path: &Path, name: String) -> Result<(), FormatError> {
        let map = map(path)?;
        let index = self.files.len();
        for place in container_of(&name).tensors(path, &map)? {
            let TensorPlace {
                name: name_in_file,
                dtype,
                shape,
                range,
                strides,
            } = place;
            let info = TensorInfo {
                bytes: shape.iter().product::<usize>() * dtype.bitsize() / 8,
                dtype,
                shape,
                file: index,
                range,
                strides,
            };
            if let Some(first) = self.tensors.insert(name_in_file.clone(), info) {
                let first = match self.files.get(first.file) {
                    Some(file) => file.name.clone(),
                    None => name.clone(),
                };
                return Err(FormatError::Duplicate {
                    name: name_in_file,
                    first,
                    second: name,
                });
            }
        }
        self.files.push(MappedFile { name, map });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
