//! Tensors waiting for their place in a shard.
//!
//! Layers arrive one at a time and in any order; the shard of a layer, and the place of a tensor in its
//! shard (tensors are ordered by alignment), are known only at the end. Until then they lie in spool files of
//! about a shard each. At the end the shards are filled in the order of the layers, not of their arrival, and
//! a spool file is deleted when the last of it has been copied: layers that arrive in order, or in the
//! reverse of it, take at most two shards of disk besides the result.

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
    groups: Vec<Group>,
}

/// One spool file.
struct Segment {
    path: PathBuf,
    file: fs_err::File,
    bytes: u64,
    /// Groups in it that no shard has yet.
    waiting: usize,
}

/// Tensors that end in the same shard.
struct Group {
    /// Place among all groups.
    rank: usize,
    segment: usize,
    /// Each with its place in the spool file.
    tensors: Vec<(TensorHeader, u64)>,
    bytes: u64,
}

impl Spool {
    /// Spools into `folder`, for shards of about `shard_bytes`.
    pub(super) fn new(folder: &Path, shard_bytes: u64) -> Self {
        Self {
            folder: folder.to_path_buf(),
            shard_bytes,
            segments: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Stores tensors that belong together: they end in the same shard. Groups of equal `rank` stay in
    /// their order of arrival.
    pub(super) fn add(&mut self, rank: usize, arrivals: &[Arrival<'_>]) -> Result<(), FormatError> {
        let bytes = arrivals
            .iter()
            .map(|arrival| arrival.bytes.len() as u64)
            .sum();
        let open = self.segments.last();
        if open.is_none_or(|segment| self.is_full(segment.bytes, bytes)) {
            let name = format!("model-spool-{:05}", self.segments.len() + 1);
            let path = shard::partial(&self.folder.join(name));
            self.segments.push(Segment::create(path)?);
        }
        let index = self.segments.len() - 1;
        let segment = &mut self.segments[index];
        segment.waiting += 1;
        let tensors = arrivals.iter().map(|arrival| segment.add(arrival));
        self.groups.push(Group {
            rank,
            segment: index,
            tensors: tensors.collect::<Result<_, _>>()?,
            bytes,
        });
        Ok(())
    }

    /// Whether a file of `held` bytes is closed before `more` come.
    fn is_full(&self, held: u64, more: u64) -> bool {
        held > 0 && held.saturating_add(more) > self.shard_bytes
    }

    /// Turns the spool into `.partial` shards, groups by rank.
    pub(super) fn into_shards(mut self) -> Result<Vec<Shard>, FormatError> {
        let mut groups = std::mem::take(&mut self.groups);
        groups.sort_by_key(|group| group.rank);
        // A folder without a weight file is no model, not even of nothing.
        let mut shards: Vec<Vec<Group>> = vec![Vec::new()];
        let mut held = 0;
        for group in groups {
            if self.is_full(held, group.bytes) {
                shards.push(Vec::new());
                held = 0;
            }
            held += group.bytes;
            if let Some(last) = shards.last_mut() {
                last.push(group);
            }
        }
        let count = shards.len();
        let written = shards.into_iter().enumerate().map(|(index, groups)| {
            let name = match count {
                1 => super::SINGLE_FILE.to_owned(),
                _ => shard::shard_name(index, count),
            };
            self.write(name, groups)
        });
        written.collect()
    }

    fn write(&mut self, name: String, groups: Vec<Group>) -> Result<Shard, FormatError> {
        let path = shard::partial(&self.folder.join(&name));
        let mut tensors = Vec::new();
        let mut places = Vec::new();
        for group in &groups {
            for (tensor, start) in &group.tensors {
                tensors.push(tensor.clone());
                places.push((group.segment, *start));
            }
        }
        let segments = &mut self.segments;
        shard::write(&path, &tensors, |index, out| {
            let (segment, start) = places[index];
            let spooled = &mut segments[segment].file;
            spooled.seek(SeekFrom::Start(start))?;
            let copied = io::copy(&mut spooled.take(tensors[index].bytes), out)?;
            if copied == tensors[index].bytes {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::UnexpectedEof))
            }
        })?;
        for group in groups {
            let segment = &mut self.segments[group.segment];
            segment.waiting -= 1;
            if segment.waiting == 0 {
                fs_err::remove_file(&segment.path)
                    .map_err(|source| FormatError::io("remove", &segment.path, source))?;
            }
        }
        Ok(Shard { name, tensors })
    }
}

/// A finished `.partial` shard.
pub(super) struct Shard {
    pub(super) name: String,
    pub(super) tensors: Vec<TensorHeader>,
}

impl Segment {
    fn create(path: PathBuf) -> Result<Self, FormatError> {
        let options = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .clone();
        let file = options
            .open(&path)
            .map_err(|source| FormatError::io("write", &path, source))?;
        Ok(Self {
            path,
            file,
            bytes: 0,
            waiting: 0,
        })
    }

    /// Appends a tensor; returns its header and its place.
    fn add(&mut self, arrival: &Arrival<'_>) -> Result<(TensorHeader, u64), FormatError> {
        self.file
            .write_all(arrival.bytes)
            .map_err(|source| FormatError::io("write", &self.path, source))?;
        let start = self.bytes;
        self.bytes += arrival.bytes.len() as u64;
        let header = TensorHeader {
            name: arrival.name.clone(),
            dtype: arrival.dtype,
            shape: arrival.shape.clone(),
            bytes: arrival.bytes.len() as u64,
        };
        Ok((header, start))
    }
}
