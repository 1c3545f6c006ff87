//! Where the storages of a checkpoint lie in its file: entries of a zip archive, or, in the older layout, one
//! after the other behind the pickles.

use super::error::{TorchError, shown};
use super::machine::{Unpickled, unpickle};
use super::value::{Heap, Value};
use super::zip;
use std::collections::BTreeMap;
use std::ops::Range;

/// Largest pickle that is read; one of 100,000 tensors has 20 MB.
const MOST_PICKLE_BYTES: usize = 1 << 26;
/// What the first of the older layout's pickles holds.
const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The version of that layout.
const VERSION: i64 = 1001;
/// The number of elements before each storage of that layout.
const COUNT_BYTES: usize = 8;

/// The main pickle of a file and the bytes of its storages.
pub(super) struct Opened<'a> {
    pub(super) pickle: Unpickled<'a>,
    /// By key.
    pub(super) storages: BTreeMap<&'a str, Range<usize>>,
}

/// Opens a zip archive.
///
/// # Errors
/// An archive without its pickle, with several of them, or of another byte order; storages that are missing
/// or have other sizes than the pickle says.
pub(super) fn open_zip(content: &[u8]) -> Result<Opened<'_>, TorchError> {
    const PICKLE: &str = "/data.pkl";
    let entries = zip::entries(content)?;
    // All entries are in one folder, which is named after the file that was saved.
    let mut pickles = entries
        .keys()
        .filter_map(|name| name.strip_suffix(PICKLE))
        .filter(|folder| !folder.contains('/'));
    let (Some(folder), None) = (pickles.next(), pickles.next()) else {
        return Err(TorchError::Zip {
            what: "expected one entry `data.pkl` in one folder",
        });
    };
    let of = |name: &str| entries.get(format!("{folder}{name}").as_str()).cloned();
    if of("/byteorder").is_some_and(|range| content[range] != *b"little") {
        return Err(TorchError::ByteOrder);
    }
    let range = of(PICKLE).unwrap_or_default();
    if range.len() > MOST_PICKLE_BYTES {
        return Err(TorchError::Limit {
            what: "bytes",
            most: MOST_PICKLE_BYTES,
        });
    }
    let pickle = unpickle(&content[range], 0)?;
    let mut storages = BTreeMap::new();
    for storage in &pickle.heap.storages {
        let Some(range) = of(&format!("/data/{}", storage.key)) else {
            return Err(TorchError::MissingStorage {
                key: shown(storage.key),
            });
        };
        check_size(storage.key, storage.bytes, range.len())?;
        storages.insert(storage.key, range);
    }
    Ok(Opened { pickle, storages })
}

/// Opens a file of the older layout: a magic number, a version, facts of the machine, the tensors, the
/// keys of the storages (a pickle each), then for every key the number of elements and the elements.
///
/// # Errors
/// Another pickle than that of `torch.save`, another version or byte order; storages that are missing, listed
/// twice, or have other sizes than the pickle says.
pub(super) fn open_legacy(content: &[u8]) -> Result<Opened<'_>, TorchError> {
    let next = |start: usize| {
        let end = content.len().min(start.saturating_add(MOST_PICKLE_BYTES));
        unpickle(&content[..end], start)
    };
    let magic = next(0)?;
    if magic.root != Value::Long(MAGIC) {
        return Err(TorchError::Unknown);
    }
    let version = next(magic.end)?;
    if version.root != Value::Int(VERSION) {
        return Err(TorchError::Unknown);
    }
    let machine = next(version.end)?;
    let Value::Dict(facts) = machine.root else {
        return Err(TorchError::Unknown);
    };
    if (machine.heap.pairs(facts))
        .any(|fact| fact == (Value::Text("little_endian"), Value::Bool(false)))
    {
        return Err(TorchError::ByteOrder);
    }
    let pickle = next(machine.end)?;
    let keys = next(pickle.end)?;
    let sizes = sizes(&pickle.heap)?;
    let Value::List(list) = keys.root else {
        return Err(TorchError::Unknown);
    };
    let mut storages = BTreeMap::new();
    let mut at = keys.end;
    for key in keys.heap.items(list) {
        let Value::Text(key) = *key else {
            return Err(TorchError::Unknown);
        };
        let listed = |what| TorchError::ListedStorage {
            key: shown(key),
            what,
        };
        let Some(&(element, bytes)) = sizes.get(key) else {
            return Err(listed("no tensor needs"));
        };
        let cut = || TorchError::Truncated {
            at: content.len(),
            what: "one of its storages",
        };
        let count = content.get(at..).and_then(|rest| rest.first_chunk());
        let found = u64::from_le_bytes(*count.ok_or_else(cut)?).saturating_mul(element as u64);
        if found != bytes as u64 {
            return Err(size_error(key, bytes as u64, found));
        }
        let start = at + COUNT_BYTES;
        let end = start.checked_add(bytes).filter(|end| *end <= content.len());
        let end = end.ok_or_else(cut)?;
        if storages.insert(key, start..end).is_some() {
            return Err(listed("it has before"));
        }
        at = end;
    }
    match sizes.keys().find(|key| !storages.contains_key(*key)) {
        Some(key) => Err(TorchError::MissingStorage { key: shown(key) }),
        None => Ok(Opened { pickle, storages }),
    }
}

/// Bytes of an element and of all of them, for every storage of `heap`.
fn sizes<'a>(heap: &Heap<'a>) -> Result<BTreeMap<&'a str, (usize, usize)>, TorchError> {
    let mut sizes = BTreeMap::new();
    for storage in &heap.storages {
        let element = storage.dtype.map_or(1, |dtype| dtype.bitsize() / 8);
        let (_, before) = *sizes.entry(storage.key).or_insert((element, storage.bytes));
        check_size(storage.key, storage.bytes, before)?;
    }
    Ok(sizes)
}

fn check_size(key: &str, expected: usize, found: usize) -> Result<(), TorchError> {
    if expected == found {
        return Ok(());
    }
    Err(size_error(key, expected as u64, found as u64))
}

fn size_error(key: &str, expected: u64, found: u64) -> TorchError {
    TorchError::StorageSize {
        key: shown(key),
        expected,
        found,
    }
}
