//! Whether the parts of a quantized matrix belong together.

use super::{Codebook, Csr, Encoding, Granularity, QuantizedTensor, Uniform};
use thiserror::Error;

/// Parts that do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidTensor {
    /// A code width no format here stores.
    #[error("expected codes of 1 to 8 bits, found {0}")]
    Bits(u8),
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

impl QuantizedTensor {
    /// Checks lengths, code ranges, group sizes and the sparse part.
    ///
    /// # Errors
    /// The first part that does not belong.
    pub fn check(&self) -> Result<(), InvalidTensor> {
        let (rows, cols) = (self.rows, self.cols);
        let weights = rows.saturating_mul(cols);
        match &self.encoding {
            Encoding::Uniform(uniform) => uniform.check(rows, cols, weights)?,
            Encoding::Codebook(codebook) => codebook.check(rows, weights)?,
            Encoding::Float { values, .. } => {
                length("weights", weights, values.len())?;
                finite("weights", values.iter().copied())?;
            }
        }
        self.outliers
            .as_ref()
            .map_or(Ok(()), |outliers| outliers.check(rows, cols))
    }
}

impl Uniform {
    fn check(&self, rows: usize, cols: usize, weights: usize) -> Result<(), InvalidTensor> {
        check_bits(self.bits)?;
        if self.granularity == Granularity::Group(0) {
            return Err(InvalidTensor::EmptyGroup);
        }
        length("codes", weights, self.codes.len())?;
        let scales = self.granularity.scale_count(rows, cols);
        length("scales", scales, self.scales.len())?;
        finite("scales", self.scales.iter().copied())?;
        check_signed("codes", self.bits, &self.codes)?;
        if let Some(zero_points) = &self.zero_points {
            length("zero points", scales, zero_points.len())?;
            check_signed("zero points", self.bits, zero_points)?;
        }
        Ok(())
    }
}

impl Codebook {
    fn check(&self, rows: usize, weights: usize) -> Result<(), InvalidTensor> {
        check_bits(self.bits)?;
        length("indices", weights, self.indices.len())?;
        let entries = 1usize << self.bits;
        let tables = self.tables.len() / entries;
        length("table entries", tables * entries, self.tables.len())?;
        if rows > 0 && (tables == 0 || !rows.is_multiple_of(tables)) {
            return Err(InvalidTensor::Tables { rows, tables });
        }
        if let Some(scales) = &self.row_scales {
            length("row scales", rows, scales.len())?;
            finite("row scales", scales.iter().map(|scale| scale.to_f32()))?;
        }
        let outside = self
            .indices
            .iter()
            .position(|index| usize::from(*index) >= entries);
        outside.map_or(Ok(()), |position| {
            let value = i16::from(self.indices[position]);
            Err(InvalidTensor::Code {
                part: "indices",
                bits: self.bits,
                position,
                value,
            })
        })
    }
}

impl Csr {
    fn check(&self, rows: usize, cols: usize) -> Result<(), InvalidTensor> {
        let stored = self.values.len();
        length("sparse columns", stored, self.columns.len())?;
        length("row pointers", rows + 1, self.row_pointers.len())?;
        finite(
            "sparse values",
            self.values.iter().map(|value| value.to_f32()),
        )?;
        let mut low = 0;
        for (row, &found) in self.row_pointers.iter().enumerate() {
            let first_is_zero = row > 0 || found == 0;
            let last_is_all = row < rows || found as usize == stored;
            if found < low || found as usize > stored || !first_is_zero || !last_is_all {
                return Err(InvalidTensor::RowPointer {
                    row,
                    found,
                    low,
                    high: stored,
                });
            }
            low = found;
        }
        for (row, ends) in self.row_pointers.windows(2).enumerate() {
            let mut low = 0;
            for &found in &self.columns[ends[0] as usize..ends[1] as usize] {
                if found < low || found as usize >= cols {
                    let high = cols.saturating_sub(1);
                    return Err(InvalidTensor::Column {
                        row,
                        found,
                        low,
                        high,
                    });
                }
                low = found + 1;
            }
        }
        Ok(())
    }
}

fn check_bits(bits: u8) -> Result<(), InvalidTensor> {
    if (1..=8).contains(&bits) {
        Ok(())
    } else {
        Err(InvalidTensor::Bits(bits))
    }
}

fn length(part: &'static str, expected: usize, found: usize) -> Result<(), InvalidTensor> {
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

fn finite(
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

fn check_signed(part: &'static str, bits: u8, codes: &[i8]) -> Result<(), InvalidTensor> {
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
