//! What codes stand for, in the form in which kernels look it up.

/// A table of `2^bits` values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Table<'a> {
    /// One after the other.
    Floats(&'a [f32]),
    /// Those of codes of four bits.
    Bytes(&'a ByteTable),
}

/// Sixteen values that f16 holds, as bytes of f32: a register of sixteen bytes is looked up in one instruction, and is
/// loaded in one.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByteTable {
    /// The second, third and fourth byte of each; the first of an f16 is always 0.
    pub(super) upper: [[u8; 16]; 3],
}

/// Sixteen whole numbers, as bytes; those of narrower codes are zeros where no code points.
#[derive(Debug, Clone, Copy)]
pub(super) struct IntegerTable {
    /// The first and the second byte of each; the first alone is all of a number of 8 bits.
    pub(super) bytes: [[u8; 16]; 2],
}

impl Table<'_> {
    /// Values it has.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Bytes(_) => 16,
        }
    }

    /// What `code` stands for.
    pub(super) fn value(&self, code: usize) -> f32 {
        match self {
            Self::Floats(values) => values[code],
            Self::Bytes(table) => table.value(code),
        }
    }
}

impl ByteTable {
    /// Codes of four bits.
    pub(super) const BITS: u8 = 4;

    /// `values`, which f16 holds.
    pub(super) fn new(values: &[f32; 16]) -> Self {
        let mut upper = [[0; 16]; 3];
        for (at, value) in values.iter().enumerate() {
            let [first, bytes @ ..] = value.to_le_bytes();
            assert_eq!(first, 0, "{value} is no f16");
            for (plane, byte) in upper.iter_mut().zip(bytes) {
                plane[at] = byte;
            }
        }
        Self { upper }
    }

    fn value(&self, code: usize) -> f32 {
        let [second, third, fourth] = self.upper.map(|plane| plane[code]);
        f32::from_le_bytes([0, second, third, fourth])
    }

    /// All of them.
    pub(super) fn values(&self) -> [f32; 16] {
        std::array::from_fn(|code| self.value(code))
    }
}

impl IntegerTable {
    pub(super) fn new(values: [i16; 16]) -> Self {
        let bytes = values.map(i16::to_le_bytes);
        Self {
            bytes: [
                bytes.map(|[first, _]| first),
                bytes.map(|[_, second]| second),
            ],
        }
    }

    /// What `code` stands for.
    pub(super) fn value(&self, code: usize) -> i16 {
        let [first, second] = self.bytes.map(|plane| plane[code]);
        i16::from_le_bytes([first, second])
    }
}
