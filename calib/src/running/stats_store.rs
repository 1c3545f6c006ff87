//! Statistics on disk, one file per stage and statistic, found again by what they were computed from.
//!
//! Layout: `<root>/<key>/<statistic>-<stage>.safetensors` with f32 entries named by input point (forward
//! statistics) or by layer (Fisher). `key` is a hash of checkpoint, data and observer settings, so a
//! second recipe on the same model and data reads instead of computing. Files appear whole: they are
//! written as `.partial`, synced and renamed.

use super::error::StoreError;
use super::measured::{Entries, Entry};
use fs_err as fs;
use quantizers::Statistic;
use quantizers::formats::TensorFolder;
use quantizers::statistics::TOKEN_COUNT;
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::borrow::Cow;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A longer header is no file of ours.
const MAX_HEADER_BYTES: u64 = 100 << 20;

/// Statistics of one (checkpoint, data, settings).
#[derive(Debug, Clone)]
pub struct StatsStore {
    folder: PathBuf,
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

    fn file(&self, statistic: &Statistic, stage: usize) -> PathBuf {
        self.folder
            .join(format!("{}-{stage:05}.safetensors", statistic.name))
    }

    /// Whether there is a file of `statistic` for `stage`.
    pub fn has(&self, statistic: &Statistic, stage: usize) -> bool {
        self.file(statistic, stage).is_file()
    }

    /// The entry `name` of `statistic` does not have the shape it should.
    pub(crate) fn damaged(&self, statistic: &Statistic, stage: usize, name: &str) -> StoreError {
        damaged(
            &self.file(statistic, stage),
            &format!("`{name}` has another shape than `{}`", statistic.name),
        )
    }

    /// Whether `statistic` of `stage` is complete and covers every name in `names`.
    pub fn covers<'n>(
        &self,
        statistic: &Statistic,
        stage: usize,
        names: impl IntoIterator<Item = &'n str>,
    ) -> bool {
        let path = self.file(statistic, stage);
        let stored = header(&path).and_then(|metadata| {
            let expected = fs::metadata(&path)?.len();
            Ok((metadata, expected))
        });
        let Ok(((header_bytes, metadata), file_bytes)) = stored else {
            return false;
        };
        // A file that was cut is shorter than its header says.
        let data_bytes = metadata.data_len() as u64;
        let whole = header_bytes + data_bytes == file_bytes;
        whole && names.into_iter().all(|name| metadata.info(name).is_some())
    }

    /// Whether it is known that `point` of `stage` saw no token, so that nothing else is stored of it.
    pub fn saw_nothing(&self, stage: usize, point: &str) -> bool {
        let counts = self.read(&TOKEN_COUNT, stage).unwrap_or_default();
        let count = counts.get(point);
        count.is_some_and(|entry| entry.values.iter().all(|&tokens| tokens <= 0.0))
    }

    /// Writes `entries` of one stage and keeps the others that are there: what one key holds was
    /// computed from the same things.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(
        &self,
        statistic: &Statistic,
        stage: usize,
        entries: Entries,
    ) -> Result<(), StoreError> {
        // A file that cannot be read is as good as none.
        let mut all = self.read(statistic, stage).unwrap_or_default();
        all.extend(entries);
        self.write(statistic, stage, &all)
    }

    /// Writes the entries of one stage.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(
        &self,
        statistic: &Statistic,
        stage: usize,
        entries: &Entries,
    ) -> Result<(), StoreError> {
        let path = self.file(statistic, stage);
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
    pub fn read(&self, statistic: &Statistic, stage: usize) -> Result<Entries, StoreError> {
        let path = self.file(statistic, stage);
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

/// Bytes and content of the header of a safetensors file, the values unread.
fn header(path: &Path) -> io::Result<(u64, Metadata)> {
    let mut file = fs::File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact(&mut text)?;
    let metadata = serde_json::from_slice(&text)?;
    Ok((8 + length, metadata))
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
                self.0.update_rayon(&bytes);
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
    use quantizers::statistics::{FISHER, HESSIAN, MIN_MAX};

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
        assert!(!store.covers(&HESSIAN, 1, ["model.layers.0.attn_in"]));
        store.write(&HESSIAN, 1, &entries()).unwrap();
        assert_eq!(store.read(&HESSIAN, 1).unwrap(), entries());
        assert!(store.covers(&HESSIAN, 1, ["model.layers.0.attn_in"]));
        assert!(!store.covers(&HESSIAN, 1, ["model.layers.0.mlp_in"]));
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
        store.add(&MIN_MAX, 0, one("a", &first)).unwrap();
        store.add(&MIN_MAX, 0, one("b", &first)).unwrap();
        store.add(&MIN_MAX, 0, one("b", &second)).unwrap();
        let expected = Entries::from([("a".to_owned(), first), ("b".to_owned(), second)]);
        assert_eq!(store.read(&MIN_MAX, 0).unwrap(), expected);
    }

    #[test]
    fn another_key_is_another_store_and_parts_do_not_run_together() {
        let root = tempfile::tempdir().unwrap();
        let one = Key::default().with("ab", b"c");
        let other = Key::default().with("a", b"bc");
        StatsStore::open(root.path(), &one)
            .unwrap()
            .write(&HESSIAN, 0, &entries())
            .unwrap();
        assert!(
            StatsStore::open(root.path(), &other)
                .unwrap()
                .read(&HESSIAN, 0)
                .is_err()
        );
    }

    #[test]
    fn a_cut_file_is_not_taken_for_a_statistic() {
        let root = tempfile::tempdir().unwrap();
        let store = StatsStore::open(root.path(), &Key::default()).unwrap();
        store.write(&FISHER, 0, &entries()).unwrap();
        let path = store.file(&FISHER, 0);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(matches!(
            store.read(&FISHER, 0),
            Err(StoreError::Damaged { .. })
        ));
        assert!(!store.covers(&FISHER, 0, ["model.layers.0.attn_in"]));
    }
}
