//! The nearest entry of a table, for many values at once.

use half::f16;
use multiversion::multiversion;

/// Values looked up together.
pub(super) const LANES: usize = 32;

/// An ascending table as f32, and the middles between its neighbours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Levels {
    /// `[entries]`.
    pub(crate) entries: Vec<f32>,
    /// `[entries - 1]`: a value above the middle belongs to the entry above, half-way to the one below.
    pub(crate) middles: Vec<f32>,
}

impl Levels {
    pub(crate) fn new(table: &[f16]) -> Self {
        let entries: Vec<f32> = table.iter().map(|entry| entry.to_f32()).collect();
        let middles = entries.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
        Self {
            middles: middles.collect(),
            entries,
        }
    }

    /// The entry farthest from 0 on either side: the lower end, then the upper one.
    pub(super) fn ends(&self) -> [f32; 2] {
        let end = |entry: Option<&f32>| entry.copied().unwrap_or(0.0);
        [end(self.entries.first()), end(self.entries.last())]
    }

    /// Indices of the entries nearest `inverse * values`.
    pub(super) fn indices(&self, values: &[f32], inverse: f32, indices: &mut [u8]) {
        let mut block = Block::default();
        for (values, indices) in values.chunks(LANES).zip(indices.chunks_mut(LANES)) {
            block.load(values, inverse);
            nearest(&mut block, self);
            for (index, found) in indices.iter_mut().zip(&block.indices) {
                #[expect(clippy::cast_possible_truncation, reason = "at most 256 entries")]
                let found = *found as u8;
                *index = found;
            }
        }
    }
}

/// Some values on their way to entries.
pub(super) struct Block {
    values: [f32; LANES],
    /// Places of the entries.
    pub(super) indices: [u32; LANES],
    /// The entries.
    pub(super) entries: [f32; LANES],
}

impl Default for Block {
    fn default() -> Self {
        Self {
            values: [0.0; LANES],
            indices: [0; LANES],
            entries: [0.0; LANES],
        }
    }
}

impl Block {
    /// Takes up to [`LANES`] values times `inverse`.
    pub(super) fn load(&mut self, values: &[f32], inverse: f32) {
        for (own, value) in self.values.iter_mut().zip(values) {
            *own = value * inverse;
        }
    }
}

/// Finds the entries of a block.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
pub(super) fn nearest(block: &mut Block, levels: &Levels) {
    let values = block.values;
    let mut indices = [0u32; LANES];
    let mut entries = [levels.entries[0]; LANES];
    for (middle, above) in levels.middles.iter().zip(&levels.entries[1..]) {
        for lane in 0..LANES {
            let is_above = values[lane] > *middle;
            indices[lane] += u32::from(is_above);
            entries[lane] = if is_above { *above } else { entries[lane] };
        }
    }
    block.indices = indices;
    block.entries = entries;
}

/// Tables of rows that lie side by side: `[entries, rows]`.
#[derive(Debug)]
pub(crate) struct Lookup {
    rows: usize,
    entries: Vec<f32>,
    middles: Vec<f32>,
}

impl Lookup {
    /// `levels` of each of `rows` rows; all tables have as many entries.
    pub(crate) fn new<'a>(rows: usize, levels: impl Fn(usize) -> &'a Levels) -> Self {
        let count = levels(0).entries.len();
        let mut entries = vec![0.0; count * rows];
        let mut middles = vec![0.0; (count - 1) * rows];
        for row in 0..rows {
            let levels = levels(row);
            for (at, entry) in levels.entries.iter().enumerate() {
                entries[at * rows + row] = *entry;
            }
            for (at, middle) in levels.middles.iter().enumerate() {
                middles[at * rows + row] = *middle;
            }
        }
        Self {
            rows,
            entries,
            middles,
        }
    }

    /// Entries nearest `values / scales`, one for each row, and what they are times the scales. `inverses` are
    /// `1 / scales`, 0 where a scale is 0.
    pub(crate) fn round(
        &self,
        values: &[f32],
        (scales, inverses): (&[f32], &[f32]),
        indices: &mut [u8],
        entries: &mut [f32],
    ) {
        nearest_of_each(self, values, inverses, indices, entries);
        for (entry, scale) in entries.iter_mut().zip(scales) {
            *entry *= scale;
        }
    }

    /// The entries with `indices`, one for each row.
    pub(crate) fn entries(&self, indices: &[u8], entries: &mut [f32]) {
        for (row, (entry, index)) in entries.iter_mut().zip(indices).enumerate() {
            *entry = self.entries[usize::from(*index) * self.rows + row];
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
fn nearest_of_each(
    lookup: &Lookup,
    values: &[f32],
    inverses: &[f32],
    indices: &mut [u8],
    entries: &mut [f32],
) {
    const WIDTH: usize = 64;
    let rows = lookup.rows;
    let first = &lookup.entries[..rows];
    for (chunk, (indices, entries)) in indices
        .chunks_mut(WIDTH)
        .zip(entries.chunks_mut(WIDTH))
        .enumerate()
    {
        let (at, count) = (chunk * WIDTH, indices.len());
        let mut scaled = [0.0f32; WIDTH];
        let mut found = [0u32; WIDTH];
        let mut nearest = [0.0f32; WIDTH];
        nearest[..count].copy_from_slice(&first[at..at + count]);
        let pairs = values[at..at + count].iter().zip(&inverses[at..at + count]);
        for (scaled, (value, inverse)) in scaled.iter_mut().zip(pairs) {
            *scaled = value * inverse;
        }
        let steps = lookup.middles.chunks_exact(rows);
        for (middles, above) in steps.zip(lookup.entries[rows..].chunks_exact(rows)) {
            let (middles, above) = (&middles[at..at + count], &above[at..at + count]);
            if let (Some(middles), Some(above)) =
                (middles.first_chunk::<WIDTH>(), above.first_chunk::<WIDTH>())
            {
                for lane in 0..WIDTH {
                    let is_above = scaled[lane] > middles[lane];
                    found[lane] += u32::from(is_above);
                    nearest[lane] = if is_above { above[lane] } else { nearest[lane] };
                }
            } else {
                for lane in 0..count {
                    let is_above = scaled[lane] > middles[lane];
                    found[lane] += u32::from(is_above);
                    nearest[lane] = if is_above { above[lane] } else { nearest[lane] };
                }
            }
        }
        entries.copy_from_slice(&nearest[..count]);
        for (index, found) in indices.iter_mut().zip(found) {
            #[expect(clippy::cast_possible_truncation, reason = "at most 256 entries")]
            let found = found as u8;
            *index = found;
        }
    }
}
