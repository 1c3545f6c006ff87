//! Lookup tables: an index per weight, a table per row or for several rows, and scales of its entries.

use super::digest::Parts;
use super::encoding::Dense;
use super::invalid::{InvalidTensor, check_bits, finite, length};
use super::scheme::{Scheme, SchemeKind, TableScheme};
use super::storage::Granularity;
use super::table_scales::{self, TableScales};
use crate::pack;
use bytemuck::cast_slice;
use half::f16;

/// Non-uniform values: `w = table[code]`, times the scale of its row or group where there are scales.
#[derive(Debug, Clone, PartialEq)]
pub struct Codebook {
    /// Width of one index, 1..=8.
    pub bits: u8,
    /// Indices, `[rows, cols]`.
    pub indices: Vec<u8>,
    /// Tables, `[tables, 2^bits]`, each ascending; `rows / tables` consecutive rows share one.
    pub tables: Vec<f16>,
    /// What the entries are multiplied with, where a table is shared or groups have scales.
    pub scales: Option<TableScales>,
}

/// Bits of packed indices, tables and scales; without a [`TableScheme`], of a table per row.
pub(super) fn storage_bits(
    (rows, cols): (usize, usize),
    bits: u8,
    granularity: Granularity,
    scheme: Option<TableScheme>,
) -> u64 {
    let tables = scheme.map_or(rows, |scheme| scheme.count);
    let scales = scheme.and_then(|scheme| scheme.scale_bits);
    let scales = scales.map_or(0, |bits| {
        table_scales::storage_bits((rows, cols), granularity, bits)
    });
    pack::storage_bits(rows, cols, bits) + 16 * (tables << bits) as u64 + scales
}

impl Codebook {
    /// Number of tables.
    pub fn count(&self) -> usize {
        self.tables.len() >> self.bits
    }

    /// Entries of the table of `row` of `rows`.
    fn table_of(&self, row: usize, rows: usize) -> &[f16] {
        let entries = 1usize << self.bits;
        let table = row / (rows / self.count()) * entries;
        &self.tables[table..table + entries]
    }

    /// Consecutive inputs of a row of `cols` whose entries have the same scale; all where there are no scales.
    pub fn group_size(&self, cols: usize) -> usize {
        let scales = self.scales.as_ref();
        scales.map_or(cols.max(1), |scales| scales.granularity.group_size(cols))
    }

    /// What each index means in `group` of `row` of a `[rows, cols]` matrix, `[2^bits]`.
    ///
    /// # Panics
    /// The matrix has another shape or no such group.
    pub fn values_of(&self, row: usize, group: usize, (rows, cols): (usize, usize)) -> Vec<f32> {
        let table = self.table_of(row, rows).iter();
        match &self.scales {
            None => table.map(|entry| entry.to_f32()).collect(),
            Some(scales) => {
                let scale = scales.scale(row, group, scales.granularity.groups_per_row(cols));
                table.map(|entry| entry.to_f32() * scale).collect()
            }
        }
    }
}

impl Dense for Codebook {
    fn check(&self, rows: usize, cols: usize) -> Result<(), InvalidTensor> {
        check_bits(self.bits)?;
        length("indices", rows.saturating_mul(cols), self.indices.len())?;
        let entries = 1usize << self.bits;
        let tables = self.count();
        length("table entries", tables * entries, self.tables.len())?;
        finite(
            "table entries",
            self.tables.iter().map(|entry| entry.to_f32()),
        )?;
        if rows > 0 && (tables == 0 || !rows.is_multiple_of(tables)) {
            return Err(InvalidTensor::Tables { rows, tables });
        }
        if let Some(scales) = &self.scales {
            scales.check(rows, cols)?;
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
        let scales = self.scales.as_ref();
        pack::storage_bits(rows, cols, self.bits)
            + 16 * self.tables.len() as u64
            + scales.map_or(0, |scales| scales.storage_bits(rows, cols))
    }

    fn decode_row(&self, row: usize, rows: usize, out: &mut [f32]) {
        let cols = out.len();
        let indices = &self.indices[row * cols..(row + 1) * cols];
        // 256 entries, so that every index is in range and none is checked.
        let mut table = [0.0f32; 256];
        for (value, entry) in table.iter_mut().zip(self.table_of(row, rows)) {
            *value = entry.to_f32();
        }
        let Some(scales) = &self.scales else {
            for (value, index) in out.iter_mut().zip(indices) {
                *value = table[usize::from(*index)];
            }
            return;
        };
        let (size, groups) = (
            self.group_size(cols),
            scales.granularity.groups_per_row(cols),
        );
        for (group, (out, indices)) in out.chunks_mut(size).zip(indices.chunks(size)).enumerate() {
            let scale = scales.scale(row, group, groups);
            for (value, index) in out.iter_mut().zip(indices) {
                *value = table[usize::from(*index)] * scale;
            }
        }
    }

    fn add_to(&self, digest: &mut Parts) {
        digest.add("codebook", &[self.bits]);
        digest.add("indices", &self.indices);
        digest.add("tables", cast_slice(&self.tables));
        if let Some(scales) = &self.scales {
            scales.add_to(digest);
        }
    }

    fn matches(&self, scheme: &Scheme) -> bool {
        let stored = self.scales.as_ref().map(|scales| scales.values.bits());
        let same_scales = match (scheme.tables, &self.scales) {
            (None, scales) => scales.is_none(),
            (Some(tables), scales) => {
                tables.count == self.count()
                    && tables.scale_bits == stored
                    && scales
                        .as_ref()
                        .is_none_or(|scales| scales.granularity == scheme.granularity)
            }
        };
        scheme.kind == SchemeKind::Codebook && scheme.bits == self.bits && same_scales
    }
}
