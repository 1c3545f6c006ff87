//! Buffers of a program: what it declares about one, and the values one holds.

use serde::{Deserialize, Serialize};

/// Type of the values of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// 8 bits.
    U8,
    /// 8 bits with sign.
    I8,
    /// 16 bits with sign.
    I16,
    /// 32 bits with sign.
    I32,
}

impl Element {
    /// The narrowest type that holds codes from `low` to `high`.
    pub fn of(low: i32, high: i32) -> Self {
        if low >= 0 && high <= 255 {
            Self::U8
        } else if low >= -128 && high <= 127 {
            Self::I8
        } else if low >= -32768 && high <= 32767 {
            Self::I16
        } else {
            Self::I32
        }
    }

    /// Smallest and largest value.
    pub fn range(self) -> (i32, i32) {
        match self {
            Self::U8 => (0, 255),
            Self::I8 => (-128, 127),
            Self::I16 => (-32768, 32767),
            Self::I32 => (i32::MIN, i32::MAX),
        }
    }
}

/// What a program declares about a buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// Name, unique in the program.
    pub name: String,
    /// Values in a row.
    pub width: usize,
    /// Their type.
    pub element: Element,
}

/// Values of a buffer, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// 8 bits.
    U8(Vec<u8>),
    /// 8 bits with sign.
    I8(Vec<i8>),
    /// 16 bits with sign.
    I16(Vec<i16>),
    /// 32 bits with sign.
    I32(Vec<i32>),
}

impl Storage {
    /// An empty one.
    pub fn new(element: Element) -> Self {
        match element {
            Element::U8 => Self::U8(Vec::new()),
            Element::I8 => Self::I8(Vec::new()),
            Element::I16 => Self::I16(Vec::new()),
            Element::I32 => Self::I32(Vec::new()),
        }
    }

    /// Makes room for `len` values; keeps what was allocated before.
    pub fn resize(&mut self, len: usize) {
        match self {
            Self::U8(values) => values.resize(len, 0),
            Self::I8(values) => values.resize(len, 0),
            Self::I16(values) => values.resize(len, 0),
            Self::I32(values) => values.resize(len, 0),
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::I16(values) => values.len(),
            Self::I32(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the values from `start` into `row`, widened.
    ///
    /// # Panics
    /// Fewer values than `row` takes.
    pub fn read(&self, start: usize, row: &mut [i32]) {
        let end = start + row.len();
        match self {
            Self::U8(values) => widen(&values[start..end], row),
            Self::I8(values) => widen(&values[start..end], row),
            Self::I16(values) => widen(&values[start..end], row),
            Self::I32(values) => row.copy_from_slice(&values[start..end]),
        }
    }

    /// Stores `row` from `start` on; values are in the range of the type.
    ///
    /// # Panics
    /// No room for `row`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "writers clamp to the type of the buffer"
    )]
    pub fn write(&mut self, start: usize, row: &[i32]) {
        let end = start + row.len();
        match self {
            Self::U8(values) => narrow(row, &mut values[start..end], |v| v as u8),
            Self::I8(values) => narrow(row, &mut values[start..end], |v| v as i8),
            Self::I16(values) => narrow(row, &mut values[start..end], |v| v as i16),
            Self::I32(values) => values[start..end].copy_from_slice(row),
        }
    }

    /// All values, widened.
    pub fn to_i32(&self) -> Vec<i32> {
        let mut all = vec![0; self.len()];
        self.read(0, &mut all);
        all
    }
}

fn widen<T: Copy + Into<i32>>(from: &[T], to: &mut [i32]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from.into();
    }
}

fn narrow<T>(from: &[i32], to: &mut [T], cast: impl Fn(i32) -> T) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = cast(from);
    }
}
