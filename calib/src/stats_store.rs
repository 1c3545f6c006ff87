//! Statistics on disk, one file per stage and kind, found again by what they were computed from.
//!
//! Layout: `<root>/<key>/<kind>-<stage>.safetensors` with f32 entries named by input point (forward
//! statistics) or by layer (Fisher). `key` is a hash of checkpoint, data and observer settings, so a
//! second recipe on the same model and data reads instead of computing. Files appear whole: they are
//! written as `.partial`, synced and renamed.

use fs_err as fs;
use quantizers::formats::TensorFolder;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A statistic of one layer or input point.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// The entries of one stage, by input point or layer name.
pub type Entries = BTreeMap<String, Entry>;

/// Statistics of one (checkpoint, data, settings).
#[derive(Debug, Clone)]
pub struct StatsStore {
    folder: PathBuf,
}

/// Statistics that cannot be written or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Reading, writing or creating a file failed; the message names it.
    #[error("cannot use the statistics cache")]
    Io(#[from] io::Error),
    /// A file of the store is not what this program wrote.
    #[error("`{file}` is damaged: {reason}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl StatsStore {
    /// Opens (and creates) the folder for `key` under `root`.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn open(root: &Path, key: &Key) -> Result<Self, StoreError> {
        let folder = root.join(key.hex());
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    fn file(&self, kind: &str, stage: usize) -> PathBuf {
        self.folder.join(format!("{kind}-{stage:05}.safetensors"))
    }

    /// The entry `name` of `kind` does not have the shape it should.
    pub(crate) fn damaged(&self, kind: &str, stage: usize, name: &str) -> StoreError {
        damaged(
            &self.file(kind, stage),
            &format!("`{name}` has another shape than `{kind}`"),
        )
    }

    /// Whether `kind` of `stage` is complete and covers every name in `names`.
    pub fn covers<'n>(
        &self,
        kind: &str,
        stage: usize,
        names: impl IntoIterator<Item = &'n str>,
    ) -> bool {
        match self.read(kind, stage) {
            Ok(entries) => names.into_iter().all(|name| entries.contains_key(name)),
            Err(_) => false,
        }
    }

    /// Writes `entries` of one stage and keeps the others that are there: what one key holds was
    /// computed from the same things.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&self, kind: &str, stage: usize, entries: Entries) -> Result<(), StoreError> {
        // A file that cannot be read is as good as none.
        let mut all = self.read(kind, stage).unwrap_or_default();
        all.extend(entries);
        self.write(kind, stage, &all)
    }

    /// Writes the entries of one stage.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, kind: &str, stage: usize, entries: &Entries) -> Result<(), StoreError> {
        let path = self.file(kind, stage);
        let bytes: Vec<(&str, Cow<'_, [u8]>)> = entries
            .iter()
            .map(|(name, entry)| (name.as_str(), little_endian(&entry.values)))
            .collect();
        let views = entries
            .values()
            .zip(&bytes)
            .map(|(entry, (name, bytes))| {
                TensorView::new(Dtype::F32, entry.shape.clone(), bytes).map(|view| (*name, view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| damaged(&path, &error))?;
        let partial = path.with_extension("safetensors.partial");
        safetensors::serialize_to_file(views, None, &partial).map_err(|error| match error {
            SafeTensorError::IoError(error) => {
                let named = format!("cannot write `{}`: {error}", partial.display());
                StoreError::Io(io::Error::new(error.kind(), named))
            }
            error => damaged(&path, &error),
        })?;
        fs::File::options().write(true).open(&partial)?.sync_all()?;
        fs::rename(&partial, &path)?;
        Ok(())
    }

    /// Reads the entries of one stage.
    ///
    /// # Errors
    /// An absent or damaged file.
    pub fn read(&self, kind: &str, stage: usize) -> Result<Entries, StoreError> {
        let path = self.file(kind, stage);
        let bytes = fs::read(&path)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(&path, &error))?;
        tensors
            .iter()
            .map(|(name, view)| {
                if view.dtype() != Dtype::F32 {
                    return Err(damaged(&path, &format!("`{name}` is {:?}", view.dtype())));
                }
                let values = view
                    .data()
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&bytes| f32::from_le_bytes(bytes))
                    .collect();
                Ok((
                    name.to_owned(),
                    Entry {
                        shape: view.shape().to_vec(),
                        values,
                    },
                ))
            })
            .collect()
    }
}

/// The bytes of `values` as files hold them; a view where this machine holds them so, too.
fn little_endian(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(values))
    } else {
        Cow::Owned(
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        )
    }
}

fn damaged(file: &Path, reason: &impl ToString) -> StoreError {
    StoreError::Damaged {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}

/// Builds the key of a [`StatsStore`]: every part that changes a statistic goes in.
#[derive(Debug, Clone)]
pub struct Key(blake3::Hasher);

impl Default for Key {
    fn default() -> Self {
        // The version changes whenever the meaning of a stored statistic does.
        Self(blake3::Hasher::new_derive_key(
            "quench statistics version 1",
        ))
    }
}

impl Key {
    /// Adds a named part.
    #[must_use]
    pub fn with(mut self, name: &str, bytes: &[u8]) -> Self {
        for part in [name.as_bytes(), bytes] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds the calibration sequences.
    #[must_use]
    pub fn with_tokens(mut self, sequences: &[Vec<u32>]) -> Self {
        for sequence in sequences {
            self.0.update(&(sequence.len() as u64).to_le_bytes());
            for token in sequence {
                self.0.update(&token.to_le_bytes());
            }
        }
        self
    }

    /// Adds every tensor of a checkpoint: name, type, shape and bytes.
    #[must_use]
    pub fn with_checkpoint(mut self, folder: &TensorFolder) -> Self {
        for name in folder.names() {
            if let (Some(info), Ok(bytes)) = (folder.info(name), folder.bytes(name)) {
                self = self.with(name, format!("{info:?}").as_bytes());
                self.0.update_rayon(bytes);
            }
        }
        self
    }

    fn hex(&self) -> String {
        self.0.finalize().to_hex()[..32].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Entries {
        let entry = Entry {
            shape: vec![2, 2],
            values: vec![1.0, -2.5, 0.0, f32::MIN_POSITIVE],
        };
        Entries::from([("model.layers.0.attn_in".to_owned(), entry)])
    }

    #[test]
    fn what_was_written_is_read_back_and_covered() {
        let root = tempfile::tempdir().unwrap();
        let store = StatsStore::open(root.path(), &Key::default().with("data", b"a")).unwrap();
        assert!(!store.covers("hessian", 1, ["model.layers.0.attn_in"]));
        store.write("hessian", 1, &entries()).unwrap();
        assert_eq!(store.read("hessian", 1).unwrap(), entries());
        assert!(store.covers("hessian", 1, ["model.layers.0.attn_in"]));
        assert!(!store.covers("hessian", 1, ["model.layers.0.mlp_in"]));
    }

    #[test]
    fn entries_added_later_leave_the_others_alone() {
        let root = tempfile::tempdir().unwrap();
        let store = StatsStore::open(root.path(), &Key::default()).unwrap();
        let [first, second] = [1.0, 2.0].map(|value| Entry {
            shape: vec![1],
            values: vec![value],
        });
        let one = |name: &str, entry: &Entry| Entries::from([(name.to_owned(), entry.clone())]);
        store.add("min_max", 0, one("a", &first)).unwrap();
        store.add("min_max", 0, one("b", &first)).unwrap();
        store.add("min_max", 0, one("b", &second)).unwrap();
        let expected = Entries::from([("a".to_owned(), first), ("b".to_owned(), second)]);
        assert_eq!(store.read("min_max", 0).unwrap(), expected);
    }

    #[test]
    fn another_key_is_another_store_and_parts_do_not_run_together() {
        let root = tempfile::tempdir().unwrap();
        let one = Key::default().with("ab", b"c");
        let other = Key::default().with("a", b"bc");
        StatsStore::open(root.path(), &one)
            .unwrap()
            .write("hessian", 0, &entries())
            .unwrap();
        assert!(
            StatsStore::open(root.path(), &other)
                .unwrap()
                .read("hessian", 0)
                .is_err()
        );
    }

    #[test]
    fn a_cut_file_is_not_taken_for_a_statistic() {
        let root = tempfile::tempdir().unwrap();
        let store = StatsStore::open(root.path(), &Key::default()).unwrap();
        store.write("fisher", 0, &entries()).unwrap();
        let path = store.file("fisher", 0);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(matches!(
            store.read("fisher", 0),
            Err(StoreError::Damaged { .. })
        ));
        assert!(!store.covers("fisher", 0, ["model.layers.0.attn_in"]));
    }
}
