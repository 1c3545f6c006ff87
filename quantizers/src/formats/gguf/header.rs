//! The head of a GGUF file, versions 2 and 3: keys with values, then names, shapes, types and places of tensors.
//!
//! A file may have been made by anyone: every count, length and offset is compared with what is left of the file
//! before anything is made of it, and nothing is kept but references into it. The layout is that of `gguf.md` in
//! the ggml repository.

use super::blocks::{self, BlockType};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// How every file begins.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
/// Bytes to which tensors are aligned where the file does not say.
const ALIGNMENT: u64 = 32;
/// Most dimensions of a tensor.
const DIMENSIONS: u32 = 8;
/// Arrays inside arrays.
const DEPTH: usize = 4;

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

/// A value of the metadata.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(&'a [u8]),
    Array(Array<'a>),
}

/// An array as it lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Array<'a> {
    kind: u32,
    count: u64,
    bytes: &'a [u8],
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
        let mut cursor = Cursor { bytes, at: 0 };
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
            let entry = cursor
                .tensor()
                .map_err(|error| format!("tensor `{name}`: {error}"))?;
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
        let start = (cursor.at as u64)
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

impl Value<'_> {
    /// A whole number from 0 up.
    pub(crate) fn number(&self) -> Option<u64> {
        match *self {
            Value::Unsigned(number) => Some(number),
            Value::Signed(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }
}

impl<'a> Array<'a> {
    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        // There is at least a byte for each.
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// The elements in order.
    pub(crate) fn elements(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (kind, mut left) = (self.kind, self.count);
        let mut cursor = Cursor {
            bytes: self.bytes,
            at: 0,
        };
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            // It was walked through when the head was read.
            cursor.value(kind, 0).ok()
        })
    }

    /// The elements that are texts, in order.
    pub(crate) fn texts(&self) -> impl Iterator<Item = std::borrow::Cow<'a, str>> + use<'a> {
        self.elements().map(|element| match element {
            Value::Text(text) => String::from_utf8_lossy(text),
            _ => std::borrow::Cow::Borrowed(""),
        })
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

/// A place in the file.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self
            .at
            .checked_add(count)
            .filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(format!("it ends within {count} bytes from {}", self.at));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut taken = [0; N];
        taken.copy_from_slice(self.take(N)?);
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// Refuses a count of things of which each takes at least `bytes`.
    fn room_for(&self, count: u64, bytes: u64, what: &str) -> Result<(), String> {
        let left = (self.bytes.len() - self.at) as u64;
        match count.checked_mul(bytes) {
            Some(needed) if needed <= left => Ok(()),
            _ => Err(format!(
                "{count} {what} do not fit into the {left} bytes that are left"
            )),
        }
    }

    fn text(&mut self) -> Result<&'a [u8], String> {
        let length = self.u64()?;
        self.room_for(length, 1, "bytes of text")?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn name(&mut self, what: &str) -> Result<&'a str, String> {
        let text = self.text()?;
        std::str::from_utf8(text).map_err(|_| format!("{what} is no UTF-8"))
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Value<'a>, String> {
        Ok(match kind {
            0 => Value::Unsigned(self.array::<1>()?[0].into()),
            1 => Value::Signed(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            9 => Value::Array(self.array_value(depth)?),
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => {
                return Err(format!(
                    "expected a type of value from 0 to 12, found {other}"
                ));
            }
        })
    }

    /// Walks over an array without keeping its elements.
    fn array_value(&mut self, depth: usize) -> Result<Array<'a>, String> {
        if depth >= DEPTH {
            return Err(format!("arrays are nested more than {DEPTH} deep"));
        }
        let (kind, count) = (self.u32()?, self.u64()?);
        let size: u64 = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            _ => 12,
        };
        self.room_for(count, size, "elements")?;
        let from = self.at;
        if matches!(kind, 8 | 9) {
            for _ in 0..count {
                self.value(kind, depth + 1)?;
            }
        } else if kind <= 12 {
            self.take(usize::try_from(count * size).unwrap_or(usize::MAX))?;
        } else {
            return Err(format!(
                "expected a type of element from 0 to 12, found {kind}"
            ));
        }
        let bytes = &self.bytes[from..self.at];
        Ok(Array { kind, count, bytes })
    }

    /// Shape, type and offset.
    fn tensor(&mut self) -> Result<(Vec<usize>, &'static BlockType, u64), String> {
        let dimensions = self.u32()?;
        if dimensions > DIMENSIONS {
            return Err(format!(
                "expected at most {DIMENSIONS} dimensions, found {dimensions}"
            ));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let side = self.u64()?;
            let side = usize::try_from(side).map_err(|_| format!("a side of {side}"))?;
            shape.push(side);
        }
        shape.reverse();
        let id = self.u32()?;
        let kind = blocks::find(id).ok_or_else(|| {
            let names = blocks::TYPES.iter().map(|kind| kind.name);
            format!(
                "its type has the number {id}, expected one of {}",
                names.collect::<Vec<_>>().join(", ")
            )
        })?;
        Ok((shape, kind, self.u64()?))
    }
}
