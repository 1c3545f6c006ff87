//! Tensors waiting for their place in a shard.
//!
//! Layers arrive one at a time, and the place of a tensor in its shard is known only when the shard
//! is full (tensors are ordered by alignment). Until then they lie, in the order of arrival, in one
//! spool file per future shard. At the end each spool is copied into its shard and deleted, so the
//! disk holds at most one shard twice.

use super::shard::{self, TensorHeader};
use super::{Dtype, FormatError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A tensor about to be stored.
pub(super) struct Arrival<'a> {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: &'a [u8],
}

/// All tensors that arrived.
pub(super) struct Spool {
    folder: PathBuf,
    shard_bytes: u64,
    segments: Vec<Segment>,
}

struct Segment {
    path: PathBuf,
    file: fs_err::File,
    tensors: Vec<TensorHeader>,
    starts: Vec<u64>,
    bytes: u64,
}

impl Spool {
    /// Spools into `folder`, for shards of about `shard_bytes`.
    pub(super) fn new(folder: &Path, shard_bytes: u64) -> Self {
        Self {
            folder: folder.to_path_buf(),
            shard_bytes,
            segments: Vec::new(),
        }
    }

    /// Stores tensors that belong together: they end in the same shard.
    pub(super) fn add(&mut self, arrivals: &[Arrival<'_>]) -> Result<(), FormatError> {
        let bytes: u64 = arrivals
            .iter()
            .map(|arrival| arrival.bytes.len() as u64)
            .sum();
        let full = self.segments.last().is_none_or(|segment| {
            segment.bytes > 0 && segment.bytes.saturating_add(bytes) > self.shard_bytes
        });
        if full {
            let name = format!("model-spool-{:05}", self.segments.len() + 1);
            let path = shard::partial(&self.folder.join(name));
            let io = |source| FormatError::io("write", &path, source);
            let options = fs_err::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .clone();
            let file = options.open(&path).map_err(io)?;
            let (tensors, starts) = (Vec::new(), Vec::new());
            self.segments.push(Segment {
                path,
                file,
                tensors,
                starts,
                bytes: 0,
            });
        }
        let Some(segment) = self.segments.last_mut() else {
            return Ok(());
        };
        for arrival in arrivals {
            segment.add(arrival)?;
        }
        Ok(())
    }

    /// Turns every spool into a `.partial` shard. In the order of arrival.
    pub(super) fn into_shards(mut self) -> Result<Vec<Shard>, FormatError> {
        if self.segments.is_empty() {
            // A folder without a weight file is no model, not even of nothing.
            self.add(&[])?;
        }
        let count = self.segments.len();
        let folder = self.folder;
        let shards = self
            .segments
            .into_iter()
            .enumerate()
            .map(|(index, segment)| {
                let name = match count {
                    1 => super::SINGLE_FILE.to_owned(),
                    _ => shard::shard_name(index, count),
                };
                segment.into_shard(&folder, name)
            });
        shards.collect()
    }
}

/// A finished `.partial` shard.
pub(super) struct Shard {
    pub(super) name: String,
    pub(super) tensors: Vec<TensorHeader>,
}

impl Segment {
    fn add(&mut self, arrival: &Arrival<'_>) -> Result<(), FormatError> {
        self.file
            .write_all(arrival.bytes)
            .map_err(|source| FormatError::io("write", &self.path, source))?;
        self.starts.push(self.bytes);
        self.bytes += arrival.bytes.len() as u64;
        self.tensors.push(TensorHeader {
            name: arrival.name.clone(),
            dtype: arrival.dtype,
            shape: arrival.shape.clone(),
            bytes: arrival.bytes.len() as u64,
        });
        Ok(())
    }

    fn into_shard(mut self, folder: &Path, name: String) -> Result<Shard, FormatError> {
        let path = shard::partial(&folder.join(&name));
        let (tensors, starts, spooled) = (&self.tensors, &self.starts, &mut self.file);
        shard::write(&path, tensors, |index, out| {
            spooled.seek(SeekFrom::Start(starts[index]))?;
            let copied = io::copy(&mut spooled.take(tensors[index].bytes), out)?;
            if copied == tensors[index].bytes {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::UnexpectedEof))
            }
        })?;
        fs_err::remove_file(&self.path)
            .map_err(|source| FormatError::io("remove", &self.path, source))?;
        Ok(Shard {
            name,
            tensors: self.tensors,
        })
    }
}
