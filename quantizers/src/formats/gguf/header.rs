//! The head of a GGUF file, versions 2 and 3: keys with values, then names, shapes, types and places of tensors.
//!
//! A file may have been made by anyone: every count, length and offset is compared with what is left of the file
//! before anything is made of it, and nothing is kept but references into it. The layout is that of `gguf.md` in
//! the ggml repository.

use super::blocks::{self, BlockType};
use super::values::{Array, Cursor, Value};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// How every file begins.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
/// Bytes to which tensors are aligned where the file does not say.
const ALIGNMENT: u64 = 32;
/// Most dimensions of a tensor.
const DIMENSIONS: u32 = 8;

/// Whether `path` has the name of a GGUF file.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
}

/// The name of the GGUF file in `folder`, where there is one and no other.
pub(crate) fn only_gguf(folder: &Path) -> Option<String> {
    let entries = fs_err::read_dir(folder).ok()?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files = files.filter(|file| is_gguf(file) && file.is_file());
    let (first, second) = (files.next()?, files.next());
    second
        .is_none()
        .then(|| first.file_name()?.to_str().map(str::to_owned))?
}

/// A tensor as the head lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    /// Dimensions, outermost first (the file has them the other way round).
    pub(crate) shape: Vec<usize>,
    /// Number of the type.
    pub(crate) type_id: u32,
    /// Its bytes in the file.
    pub(crate) range: Range<usize>,
}

impl Tensor {
    /// Its type, which parsing has found in the table.
    pub(crate) fn kind(&self) -> Option<&'static BlockType> {
        blocks::find(self.type_id)
    }
}

/// The head of a file.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) values: BTreeMap<&'a str, Value<'a>>,
    pub(crate) tensors: BTreeMap<&'a str, Tensor>,
}

impl<'a> Header<'a> {
    /// Reads the head of the file that is `bytes`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(4)? != MAGIC {
            return Err("it does not begin with `GGUF`".to_owned());
        }
        match cursor.u32()? {
            2 | 3 => {}
            version if version.swap_bytes() <= 3 => {
                return Err("it is big-endian, expected little-endian".to_owned());
            }
            version => return Err(format!("expected version 2 or 3, found {version}")),
        }
        let (tensor_count, value_count) = (cursor.u64()?, cursor.u64()?);
        // A name of no letter, two dimensions less than any has, a type and an offset.
        cursor.room_for(tensor_count, 24, "tensors")?;
        cursor.room_for(value_count, 13, "keys")?;
        let mut values = BTreeMap::new();
        for _ in 0..value_count {
            let key = cursor.name("a key")?;
            let kind = cursor.u32()?;
            let value = cursor
                .value(kind, 0)
                .map_err(|error| format!("`{key}`: {error}"))?;
            if values.insert(key, value).is_some() {
                return Err(format!("key `{key}` is there twice"));
            }
        }
        let mut listed = Vec::new();
        for _ in 0..tensor_count {
            let name = cursor.name("the name of a tensor")?;
            let entry = tensor(&mut cursor).map_err(|error| format!("tensor `{name}`: {error}"))?;
            listed.push((name, entry));
        }
        let alignment = match values.get("general.alignment") {
            None => ALIGNMENT,
            Some(Value::Unsigned(alignment)) if alignment.is_power_of_two() => *alignment,
            Some(other) => {
                return Err(format!(
                    "alignment: expected a power of two, found {other:?}"
                ));
            }
        };
        let start = (cursor.place() as u64)
            .checked_next_multiple_of(alignment)
            .ok_or("the alignment is beyond any file")?;
        let mut tensors = BTreeMap::new();
        for (name, (shape, kind, offset)) in listed {
            let range = place(&shape, kind, start, offset, alignment, bytes.len())
                .map_err(|error| format!("tensor `{name}`: {error}"))?;
            let tensor = Tensor {
                shape,
                type_id: kind.id,
                range,
            };
            if tensors.insert(name, tensor).is_some() {
                return Err(format!("tensor `{name}` is there twice"));
            }
        }
        Ok(Self { values, tensors })
    }

    /// The text under `key`.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match self.values.get(key)? {
            Value::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }

    /// The whole number from 0 up under `key`.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.values.get(key)?.number()
    }

    /// The number under `key`.
    pub(crate) fn float(&self, key: &str) -> Option<f64> {
        match *self.values.get(key)? {
            Value::Float(value) => Some(value),
            other => other.number().map(|number| number as f64),
        }
    }

    /// The truth value under `key`.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        match self.values.get(key)? {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The array under `key`.
    pub(crate) fn array(&self, key: &str) -> Option<Array<'a>> {
        match self.values.get(key)? {
            Value::Array(array) => Some(*array),
            _ => None,
        }
    }
}

/// The bytes of a tensor in a file of `length` bytes whose tensors begin at `start`.
fn place(
    shape: &[usize],
    kind: &BlockType,
    start: u64,
    offset: u64,
    alignment: u64,
    length: usize,
) -> Result<Range<usize>, String> {
    let last = shape.last().copied().unwrap_or(1);
    if !last.is_multiple_of(kind.values) {
        return Err(format!(
            "rows of {last} values are no whole blocks of {}",
            kind.name
        ));
    }
    let values = shape
        .iter()
        .try_fold(1_usize, |count, side| count.checked_mul(*side));
    let bytes = values.and_then(|values| (values / kind.values).checked_mul(kind.bytes));
    let bytes = bytes.ok_or_else(|| format!("its shape {shape:?} is beyond any file"))?;
    if !offset.is_multiple_of(alignment) {
        return Err(format!("offset {offset} is no multiple of {alignment}"));
    }
    let end = start.checked_add(offset).and_then(|begin| {
        let begin = usize::try_from(begin).ok()?;
        Some(begin..begin.checked_add(bytes)?)
    });
    match end {
        Some(range) if range.end <= length => Ok(range),
        _ => Err(format!(
            "{bytes} bytes at offset {offset} reach past the end of the file"
        )),
    }
}

/// Shape, type and offset.
fn tensor(cursor: &mut Cursor<'_>) -> Result<(Vec<usize>, &'static BlockType, u64), String> {
    let dimensions = cursor.u32()?;
    if dimensions > DIMENSIONS {
        return Err(format!(
            "expected at most {DIMENSIONS} dimensions, found {dimensions}"
        ));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let side = cursor.u64()?;
        let side = usize::try_from(side).map_err(|_| format!("a side of {side}"))?;
        shape.push(side);
    }
    shape.reverse();
    let id = cursor.u32()?;
    let kind = blocks::find(id).ok_or_else(|| {
        let names = blocks::TYPES.iter().map(|kind| kind.name);
        format!(
            "its type has the number {id}, expected one of {}",
            names.collect::<Vec<_>>().join(", ")
        )
    })?;
    Ok((shape, kind, cursor.u64()?))
}
