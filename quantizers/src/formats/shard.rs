//! Safetensors files written from tensors that lie elsewhere, without holding them.
//!
//! The layout is that of the safetensors library: tensors by descending alignment of their type,
//! then by name, a header padded with spaces to 8 bytes. Engines map files and cast slices of them,
//! so the alignment matters.

use super::{Dtype, FormatError};
use serde_json::json;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a header says about a tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorHeader {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: u64,
}

/// Writes `tensors` to `path` and syncs it; `copy` writes the bytes of the tensor at an index.
pub(super) fn write(
    path: &Path,
    tensors: &[TensorHeader],
    mut copy: impl FnMut(usize, &mut fs_err::File) -> io::Result<()>,
) -> Result<(), FormatError> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&tensors[*a], &tensors[*b]);
        b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name))
    });
    let header = header(order.iter().map(|index| &tensors[*index]));
    let io = |source| FormatError::io("write", path, source);
    let mut file = fs_err::File::create(path).map_err(io)?;
    file.write_all(&(header.len() as u64).to_le_bytes())
        .map_err(io)?;
    file.write_all(&header).map_err(io)?;
    for index in order {
        copy(index, &mut file).map_err(io)?;
    }
    file.sync_all().map_err(io)
}

fn header<'a>(tensors: impl Iterator<Item = &'a TensorHeader>) -> Vec<u8> {
    let mut entries = serde_json::Map::new();
    // transformers refuses files that do not say for which framework they are.
    entries.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.bytes;
        let entry = json!({
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [offset, end],
        });
        entries.insert(tensor.name.clone(), entry);
        offset = end;
    }
    let mut header = serde_json::Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// The name of shard `index` (from 0) of `count`.
pub(super) fn shard_name(index: usize, count: usize) -> String {
    format!("model-{:05}-of-{count:05}.safetensors", index + 1)
}

/// The name of a file that is not finished.
pub(super) fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}
