//! Parts of a quantized matrix that do not belong together, and the checks that find them.

use thiserror::Error;

/// Parts that do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidTensor {
    /// A code width no format here stores.
    #[error("expected codes of 1 to 8 bits, found {0}")]
    Bits(u8),
    /// States of a trellis that no format here stores.
    #[error("expected states of 12 to 16 bits, found {0}")]
    StateBits(u8),
    /// A matrix that tiles do not fill.
    #[error("expected multiples of 16 rows and columns, found {rows} x {cols}")]
    Tiles {
        /// Rows of the matrix.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// A group of no weights.
    #[error("expected groups of at least one weight")]
    EmptyGroup,
    /// A part of another length than the shape asks for.
    #[error("expected {expected} {part}, found {found}")]
    Length {
        /// Which part.
        part: &'static str,
        /// Length the shape asks for.
        expected: usize,
        /// Length found.
        found: usize,
    },
    /// A code outside the range of its width.
    #[error("expected {part} of {bits} bits, found {value} at position {position}")]
    Code {
        /// Codes, indices or zero points.
        part: &'static str,
        /// Their width.
        bits: u8,
        /// Where.
        position: usize,
        /// The value.
        value: i16,
    },
    /// A scale, table entry or sparse value that is no number.
    #[error("expected finite {part}, found {value} at position {position}")]
    NotFinite {
        /// Scales, table entries, sparse values or weights.
        part: &'static str,
        /// Where.
        position: usize,
        /// The value, as text because NaN equals nothing.
        value: String,
    },
    /// A column of a group that a row does not have.
    #[error("expected groups below {groups}, found {found} for column {column}")]
    ColumnGroup {
        /// Groups of a row.
        groups: usize,
        /// The column.
        column: usize,
        /// Its group.
        found: u32,
    },
    /// Groups listed column by column where scales are not per group.
    #[error("expected a group for each column only beside scales per group")]
    NoGroups,
    /// A width of table scales that no format here stores.
    #[error("expected table scales of 1 to 8 or 16 bits, found {0}")]
    ScaleBits(u8),
    /// Scales of a codebook that all rows share.
    #[error("expected table scales for each row or group, found one for the matrix")]
    SharedScale,
    /// A number of tables that does not divide the rows.
    #[error("expected a number of tables that divides {rows} rows, found {tables}")]
    Tables {
        /// Rows of the matrix.
        rows: usize,
        /// Tables found.
        tables: usize,
    },
    /// Row pointers that do not ascend from 0 to the number of values.
    #[error("row pointer {row} of the sparse part is {found}, expected {low} to {high}")]
    RowPointer {
        /// Which pointer.
        row: usize,
        /// Its value.
        found: u32,
        /// The pointer before it.
        low: u32,
        /// Stored values.
        high: usize,
    },
    /// Columns of a sparse row that do not ascend or are outside the matrix.
    #[error("sparse row {row} has column {found} where one from {low} to {high} was expected")]
    Column {
        /// The row.
        row: usize,
        /// The column.
        found: u32,
        /// Smallest possible.
        low: u32,
        /// Largest possible.
        high: usize,
    },
}

pub(super) fn check_bits(bits: u8) -> Result<(), InvalidTensor> {
    if (1..=8).contains(&bits) {
        Ok(())
    } else {
        Err(InvalidTensor::Bits(bits))
    }
}

pub(super) fn length(
    part: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), InvalidTensor> {
    if expected == found {
        Ok(())
    } else {
        Err(InvalidTensor::Length {
            part,
            expected,
            found,
        })
    }
}

pub(super) fn finite(
    part: &'static str,
    mut values: impl Iterator<Item = f32> + Clone,
) -> Result<(), InvalidTensor> {
    let mut all = values.clone();
    let Some(position) = values.position(|value| !value.is_finite()) else {
        return Ok(());
    };
    let value = all.nth(position).unwrap_or(f32::NAN).to_string();
    Err(InvalidTensor::NotFinite {
        part,
        position,
        value,
    })
}

pub(super) fn check_signed(
    part: &'static str,
    bits: u8,
    codes: &[i8],
) -> Result<(), InvalidTensor> {
    let half = 1i16 << (bits - 1);
    let outside = codes
        .iter()
        .position(|code| !(-half..half).contains(&i16::from(*code)));
    outside.map_or(Ok(()), |position| {
        let value = i16::from(codes[position]);
        Err(InvalidTensor::Code {
            part,
            bits,
            position,
            value,
        })
    })
}
