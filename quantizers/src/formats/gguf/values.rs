//! Values of the metadata, and the place in the file they are read from: never further than the file reaches.

/// Arrays inside arrays.
const DEPTH: usize = 4;

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
        let mut cursor = Cursor::new(self.bytes);
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

/// The number with the fewest digits that is `value` in f32.
pub(crate) fn shortest(value: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "the file stores it as f32")]
    let narrow = value as f32;
    narrow.to_string().parse().unwrap_or(value)
}

/// A place in the file.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes before it.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
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

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut taken = [0; N];
        taken.copy_from_slice(self.take(N)?);
        Ok(taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// Refuses a count of things of which each takes at least `bytes`.
    pub(super) fn room_for(&self, count: u64, bytes: u64, what: &str) -> Result<(), String> {
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

    pub(super) fn name(&mut self, what: &str) -> Result<&'a str, String> {
        let text = self.text()?;
        std::str::from_utf8(text).map_err(|_| format!("{what} is no UTF-8"))
    }

    pub(super) fn value(&mut self, kind: u32, depth: usize) -> Result<Value<'a>, String> {
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
}
