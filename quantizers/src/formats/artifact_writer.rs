//! Writing an artifact layer by layer.
//!
//! Nothing in the folder looks finished before everything is: weights, index and side files are
//! `.partial` until [`ArtifactWriter::finish`] has synced them all, and `config.json`, without which
//! no engine opens a folder, is renamed last.

use super::finite::first_not_finite;
use super::floats::{encode_as, recode};
use super::model_files::{file_names, index, is_model_file, remove, sync_folder, write_synced};
use super::shard::partial;
use super::spool::{Arrival, Spool};
use super::verification::Expected;
use super::{
    Dtype, Entry, Format, FormatError, INDEX_FILE, StoredLayer, marker, python_json, side_files,
};
use crate::tensor::{QuantizedTensor, Scheme};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How to write.
#[derive(Clone, Copy)]
pub struct WriterOptions {
    /// Layout of the quantized layers.
    pub format: &'static dyn Format,
    /// Bytes of tensors after which a new file is begun.
    pub shard_bytes: u64,
    /// Replace an artifact that is already there.
    pub overwrite: bool,
}

/// What one quantized layer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSize {
    /// Number of weights.
    pub weights: u64,
    /// Bits stored for them: everything the format writes for the layer.
    pub bits: u64,
}

/// An artifact being written.
pub struct ArtifactWriter {
    folder: PathBuf,
    options: WriterOptions,
    spool: Spool,
    /// Places of the layers among the weights, where they are known beforehand.
    ranks: BTreeMap<String, usize>,
    layers: BTreeMap<String, StoredLayer>,
    sizes: BTreeMap<String, StoredSize>,
    names: BTreeSet<String>,
    kept_matrices: BTreeSet<String>,
    /// Files besides the weights that are written as `.partial`, relative to the folder.
    others: BTreeSet<PathBuf>,
    /// Added to `quantization_config`.
    additions: Map<String, Value>,
    expected: Expected,
}

/// A finished artifact.
#[derive(Debug, Clone)]
pub struct Written {
    /// Every file with its size, relative to the folder, sorted.
    pub files: BTreeMap<PathBuf, u64>,
    /// What each quantized layer takes.
    pub layers: BTreeMap<String, StoredSize>,
    /// What [`super::verify`] has to find.
    pub expected: Expected,
}

impl Written {
    /// Size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.values().sum()
    }

    /// Stored bits per weight over all quantized layers; nothing where there are none.
    pub fn bits_per_weight(&self) -> Option<f64> {
        let weights: u64 = self.layers.values().map(|size| size.weights).sum();
        let bits: u64 = self.layers.values().map(|size| size.bits).sum();
        (weights > 0).then(|| bits as f64 / weights as f64)
    }
}

impl ArtifactWriter {
    /// Begins an artifact in `folder`, which is created where it does not exist and marked as ours. What an
    /// unfinished run left there is removed.
    ///
    /// # Errors
    /// A folder that holds a model already, unless `overwrite`; a folder that cannot be written.
    pub fn create(folder: impl AsRef<Path>, options: WriterOptions) -> Result<Self, FormatError> {
        let folder = folder.as_ref();
        fs_err::create_dir_all(folder).map_err(|e| FormatError::io("create", folder, e))?;
        let mut finished = false;
        let marked = marker::is_marked(folder);
        for name in file_names(folder)? {
            // Elsewhere such a file is someone's download.
            if name.ends_with(".partial") && marked {
                remove(&folder.join(name))?;
            } else if is_model_file(&name) {
                finished = true;
            }
        }
        if finished && !options.overwrite {
            return Err(FormatError::Exists {
                dir: folder.to_path_buf(),
            });
        }
        marker::mark(folder, [])?;
        Ok(Self {
            folder: folder.to_path_buf(),
            options,
            spool: Spool::new(folder, options.shard_bytes),
            ranks: BTreeMap::new(),
            layers: BTreeMap::new(),
            sizes: BTreeMap::new(),
            names: BTreeSet::new(),
            kept_matrices: BTreeSet::new(),
            others: BTreeSet::new(),
            additions: Map::new(),
            expected: Expected::default(),
        })
    }

    /// Fixes the order of `layers` in the weight files, whatever the order they are written in. Everything
    /// else follows them in the order it is written.
    #[must_use]
    pub fn in_order<'n>(mut self, layers: impl IntoIterator<Item = &'n str>) -> Self {
        let ranked = layers.into_iter().enumerate();
        self.ranks = ranked
            .map(|(rank, layer)| (layer.to_owned(), rank))
            .collect();
        self
    }

    /// The place of a layer or tensor among all.
    fn rank(&self, name: &str) -> usize {
        self.ranks.get(name).copied().unwrap_or(self.ranks.len())
    }

    /// Writes one quantized layer and says what it takes.
    ///
    /// # Errors
    /// A layer the format has no room for, parts that do not belong together, a scheme that
    /// announced something else, a name written before, a full disk.
    pub fn layer(
        &mut self,
        layer: &str,
        tensor: &QuantizedTensor,
        scheme: &Scheme,
    ) -> Result<StoredSize, FormatError> {
        let (rows, cols) = (tensor.rows, tensor.cols);
        let format = self.options.format;
        tensor.check().map_err(|source| FormatError::Layer {
            layer: layer.to_owned(),
            source,
        })?;
        if !tensor.matches(scheme) {
            return Err(FormatError::Scheme {
                layer: layer.to_owned(),
            });
        }
        let entries = format
            .accepts(scheme, rows, cols)
            .and_then(|()| format.encode(tensor, scheme))
            .map_err(|source| FormatError::Unsupported {
                layer: layer.to_owned(),
                source,
            })?;
        let name = |entry: &Entry| format!("{layer}.{}", entry.suffix);
        for entry in &entries {
            require_finite(&name(entry), entry.dtype, &entry.bytes)?;
            self.claim(name(entry))?;
            self.expected
                .tensor(&name(entry), entry.dtype, &entry.shape, &entry.bytes);
        }
        let arrivals: Vec<Arrival> = entries
            .iter()
            .map(|entry| Arrival {
                name: name(entry),
                dtype: entry.dtype,
                shape: entry.shape.clone(),
                bytes: &entry.bytes,
            })
            .collect();
        self.spool.add(self.rank(layer), &arrivals)?;
        if format.decoder().is_some() {
            self.expected.layer(layer, tensor);
        }
        let size = StoredSize {
            weights: (rows * cols) as u64,
            bits: entries
                .iter()
                .map(|entry| 8 * entry.bytes.len() as u64)
                .sum(),
        };
        self.sizes.insert(layer.to_owned(), size);
        let stored = StoredLayer {
            scheme: scheme.clone(),
            rows,
            cols,
        };
        self.layers.insert(layer.to_owned(), stored);
        Ok(size)
    }

    /// Writes a tensor that is not quantized and has new `values`, as `dtype`.
    ///
    /// # Errors
    /// As [`Self::passthrough`]; a type that is no float.
    pub fn changed(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        values: &[f32],
    ) -> Result<(), FormatError> {
        let Some(bytes) = encode_as(dtype, values) else {
            return Err(FormatError::TensorType {
                name: name.to_owned(),
                found: dtype,
                expected: "F64, F32, F16 or BF16",
            });
        };
        require_finite(name, dtype, &bytes)?;
        self.passthrough(name, dtype, shape, &bytes)
    }

    /// Writes a tensor that is not quantized; dense formats convert floats to their type.
    ///
    /// # Errors
    /// A name written before, a full disk.
    pub fn passthrough(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<(), FormatError> {
        let kept = self.options.format.kept_type(dtype);
        let converted = (kept != dtype)
            .then(|| recode(dtype, bytes, kept))
            .flatten();
        if let Some(converted) = &converted {
            require_finite(name, kept, converted)?;
        }
        let bytes = converted.as_deref().unwrap_or(bytes);
        self.claim(name.to_owned())?;
        if let (Some(module), 2) = (name.strip_suffix(".weight"), shape.len()) {
            self.kept_matrices.insert(module.to_owned());
        }
        self.expected.tensor(name, kept, shape, bytes);
        let shape = shape.to_vec();
        let rank = self.ranks.len();
        let arrival = Arrival {
            name: name.to_owned(),
            dtype: kept,
            shape,
            bytes,
        };
        self.spool.add(rank, &[arrival])
    }

    /// Copies tokenizer, generation settings, chat template, licence, custom code and the files of
    /// sentence-transformers from the checkpoint's folder. Returns their names.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn side_files(&mut self, checkpoint: &Path) -> Result<Vec<PathBuf>, FormatError> {
        let files = side_files::list(checkpoint)?;
        for file in &files {
            let content = fs_err::read(checkpoint.join(file))
                .map_err(|source| FormatError::io("read", checkpoint.join(file), source))?;
            self.file(file, &content)?;
        }
        Ok(files)
    }

    /// Writes another file, `path` being relative to the folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn file(&mut self, path: impl AsRef<Path>, content: &[u8]) -> Result<(), FormatError> {
        let target = self.folder.join(path.as_ref());
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent).map_err(|e| FormatError::io("create", parent, e))?;
        }
        write_synced(&partial(&target), content)?;
        self.expected.file(path.as_ref(), content);
        self.others.insert(path.as_ref().to_path_buf());
        Ok(())
    }

    /// Tells engines how the cache of keys and values is kept: `kv_cache_scheme` of compressed-tensors.
    pub fn cache_scheme(&mut self, scheme: Value) {
        self.additions.insert("kv_cache_scheme".to_owned(), scheme);
    }

    /// Adds `keys` to the `quantization_config` that [`ArtifactWriter::finish`] writes.
    pub(super) fn configure_with(&mut self, keys: Map<String, Value>) {
        self.additions.extend(keys);
    }

    /// Refuses a format that has no room for integer programs.
    pub(super) fn require_integer_programs(&self) -> Result<(), FormatError> {
        let format = self.options.format;
        if format.holds_integer_programs() {
            return Ok(());
        }
        Err(FormatError::NoPrograms {
            format: format.name(),
        })
    }

    /// Assembles the shards, writes `config.json` and gives everything its final name. `config` is
    /// the checkpoint's; `linear_layers` are the names of all linear layers of the model, quantized
    /// or not, so that engines can be told which to leave alone.
    ///
    /// # Errors
    /// A full disk, a folder that cannot be written.
    pub fn finish(
        mut self,
        config: &Map<String, Value>,
        linear_layers: &[String],
    ) -> Result<Written, FormatError> {
        let folder = self.folder.clone();
        let mut config = config.clone();
        let mut kept = std::mem::take(&mut self.kept_matrices);
        kept.extend(linear_layers.iter().cloned());
        kept.retain(|name| !self.layers.contains_key(name));
        self.options
            .format
            .configure(&mut config, &self.layers, &kept);
        if let Some(Value::Object(quantization)) = config.get_mut("quantization_config") {
            quantization.extend(self.additions);
        }
        let shards = self.spool.into_shards()?;
        if shards.len() > 1 {
            write_synced(&partial(&folder.join(INDEX_FILE)), &index(&shards))?;
            self.others.insert(PathBuf::from(INDEX_FILE));
        }
        let text = python_json::to_text(&Value::Object(config)) + "\n";
        write_synced(&partial(&folder.join("config.json")), text.as_bytes())?;

        let weights = shards.iter().map(|shard| PathBuf::from(&shard.name));
        let last = PathBuf::from("config.json");
        let paths: Vec<PathBuf> = weights.chain(self.others).chain([last]).collect();
        marker::mark(&folder, paths.iter().map(PathBuf::as_path))?;

        // From here on only renames. An artifact that is replaced stops looking finished first.
        for name in file_names(&folder)?
            .into_iter()
            .filter(|name| is_model_file(name))
        {
            remove(&folder.join(name))?;
        }
        let mut files = BTreeMap::new();
        for path in paths {
            let target = folder.join(&path);
            fs_err::rename(partial(&target), &target)
                .map_err(|source| FormatError::io("rename", &target, source))?;
            let size = fs_err::metadata(&target)
                .map_err(|source| FormatError::io("read", &target, source))?;
            files.insert(path, size.len());
        }
        sync_folder(&folder)?;
        Ok(Written {
            files,
            layers: self.sizes,
            expected: self.expected,
        })
    }

    fn claim(&mut self, name: String) -> Result<(), FormatError> {
        if self.names.contains(&name) {
            let folder = self.folder.display().to_string();
            return Err(FormatError::Duplicate {
                name,
                first: folder.clone(),
                second: folder,
            });
        }
        self.names.insert(name);
        Ok(())
    }
}

/// Refuses floats that became infinite in the type they are stored in.
fn require_finite(name: &str, dtype: Dtype, bytes: &[u8]) -> Result<(), FormatError> {
    match first_not_finite(dtype, bytes) {
        None => Ok(()),
        Some((position, _)) => Err(FormatError::Range {
            name: name.to_owned(),
            position,
            stored: dtype,
        }),
    }
}
