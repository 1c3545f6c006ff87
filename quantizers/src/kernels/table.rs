//! What codes stand for, in the form in which kernels look it up.

use bytemuck::NoUninit;

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
#[derive(Debug, Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct ByteTable {
    /// The second, third and fourth byte of each; the first of an f16 is always 0.
    pub(super) upper: [[u8; 16]; 3],
}

/// Sixteen whole numbers, as bytes; those of narrower codes are zeros where no code points.
#[derive(Debug, Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct IntegerTable {
    /// The first and the second byte of each; the first alone is all of a number of 8 bits.
    pub(super) bytes: [[u8; 16]; 2],
    /// `value = scale · (integer + offset)`.
    pub(super) scale: f32,
    /// 0 for numbers of 16 bits.
    pub(super) offset: f32,
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
    /// Up to 16 `values` as numbers of 16 bits, of which four products with inputs of as many fit a sum of 32.
    pub(super) fn int16(values: &[f32]) -> Self {
        const MOST: f32 = 16383.0;
        let sizes = values.iter().map(|value| value.abs());
        let scale = sizes.fold(0.0, f32::max) / MOST;
        Self::rounded(values, scale, 0.0)
    }

    /// The same as numbers of 7 bits and an offset: two products of numbers without a sign and inputs of 8 bits fit a sum
    /// of 16.
    pub(super) fn int8(values: &[f32]) -> Self {
        const MOST: f32 = 127.0;
        let least = values.iter().copied().fold(f32::INFINITY, f32::min);
        let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = if largest > least {
            (largest - least) / MOST
        } else {
            least.abs()
        };
        Self::rounded(values, scale, least)
    }

    /// `values` above `least`.
    fn rounded(values: &[f32], scale: f32, least: f32) -> Self {
        let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
        let mut integers = [0_i16; 16];
        for (integer, value) in integers.iter_mut().zip(values) {
            #[expect(clippy::cast_possible_truncation, reason = "at most 16,383")]
            let nearest = ((value - least) * inverse).round_ties_even() as i16;
            *integer = nearest;
        }
        let bytes = integers.map(i16::to_le_bytes);
        Self {
            bytes: [
                bytes.map(|[first, _]| first),
                bytes.map(|[_, second]| second),
            ],
            scale,
            offset: least * inverse,
        }
    }

    /// What `code` stands for.
    pub(super) fn value(&self, code: usize) -> i16 {
        let [first, second] = self.bytes.map(|plane| plane[code]);
        i16::from_le_bytes([first, second])
    }
}
