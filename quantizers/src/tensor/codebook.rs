//! Lookup tables: an index per weight, and a table per row or for several rows that then have scales.

use super::digest::Parts;
use super::encoding::Dense;
use super::invalid::{InvalidTensor, check_bits, finite, length};
use super::scheme::{Scheme, SchemeKind};
use crate::pack;
use bytemuck::cast_slice;
use half::f16;

/// Non-uniform values: `w = table[code]` (times a row scale where there is one).
#[derive(Debug, Clone, PartialEq)]
pub struct Codebook {
    /// Width of one index, 1..=8.
    pub bits: u8,
    /// Indices, `[rows, cols]`.
    pub indices: Vec<u8>,
    /// Tables, `[tables, 2^bits]`, each ascending; `rows / tables` consecutive rows share one.
    pub tables: Vec<f16>,
    /// Row scales `[rows]`, where a table is shared.
    pub row_scales: Option<Vec<f16>>,
}

/// Bits of packed indices, `entries` table entries and `row_scales` scales.
pub(super) fn storage_bits(
    (rows, cols): (usize, usize),
    bits: u8,
    entries: usize,
    row_scales: usize,
) -> u64 {
    pack::storage_bits(rows, cols, bits) + 16 * (entries + row_scales) as u64
}

impl Dense for Codebook {
    fn check(&self, rows: usize, cols: usize) -> Result<(), InvalidTensor> {
        check_bits(self.bits)?;
        length("indices", rows.saturating_mul(cols), self.indices.len())?;
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

    fn storage_bits(&self, rows: usize, cols: usize) -> u64 {
        let row_scales = self.row_scales.as_ref().map_or(0, Vec::len);
        storage_bits((rows, cols), self.bits, self.tables.len(), row_scales)
    }

    fn decode_row(&self, row: usize, rows: usize, out: &mut [f32]) {
        let cols = out.len();
        let entries = 1usize << self.bits;
        let tables = self.tables.len() / entries;
        let table = row / (rows / tables) * entries;
        let mut values = [0.0f32; 256];
        for (value, entry) in values.iter_mut().zip(&self.tables[table..table + entries]) {
            *value = entry.to_f32();
        }
        if let Some(scale) = self
            .row_scales
            .as_ref()
            .map(|scales| f16::to_f32(scales[row]))
        {
            for value in &mut values {
                *value *= scale;
            }
        }
        for (value, index) in out
            .iter_mut()
            .zip(&self.indices[row * cols..(row + 1) * cols])
        {
            *value = values[usize::from(*index)];
        }
    }

    fn add_to(&self, digest: &mut Parts) {
        digest.add("codebook", &[self.bits]);
        digest.add("indices", &self.indices);
        digest.add("tables", cast_slice(&self.tables));
        if let Some(scales) = &self.row_scales {
            digest.add("row scales", cast_slice(scales));
        }
    }

    fn matches(&self, scheme: &Scheme) -> bool {
        scheme.kind == SchemeKind::Codebook && scheme.bits == self.bits
    }
}
