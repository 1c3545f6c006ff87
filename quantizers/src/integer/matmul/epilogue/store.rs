//! Epilogues that write codes, as they are or through a table.

use super::super::{Epilogue, TILE_VALUES, Tile};
use super::{Code, Requantize};

/// `table[code]` for all 256 codes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(align(64))]
pub struct ByteTable([u8; 256]);

impl ByteTable {
    /// The function whose value at `code` is `values[code]`.
    pub fn new(values: [u8; 256]) -> Self {
        Self(values)
    }

    /// The value at every code.
    pub fn values(&self) -> &[u8; 256] {
        &self.0
    }

    /// Replaces every code by its value: four registers hold the table where the processor
    /// permutes bytes (AVX-512 VBMI).
    pub fn map(&self, codes: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if super::avx512::permutes_bytes() {
            super::avx512::map_bytes(&self.0, codes);
            return;
        }
        self.map_scalar(codes);
    }

    /// [`map`](Self::map) on any processor.
    pub(super) fn map_scalar(&self, codes: &mut [u8]) {
        for code in codes {
            *code = self.0[usize::from(*code)];
        }
    }
}

/// Writes the codes of every tile.
#[derive(Debug)]
pub struct Store<'a, T> {
    /// Constants of the channels.
    pub requantize: &'a Requantize<T>,
    /// Codes `[M, N]`.
    pub out: &'a mut [T],
    /// Codes between the starts of two rows of `out`.
    pub stride: usize,
}

impl<T: Code> Epilogue for Store<'_, T> {
    fn finish(&mut self, tile: &Tile<'_>) {
        self.requantize.write(tile, self.out, self.stride);
    }
}

/// Writes `table[code]`: an activation function of one byte, fused.
#[derive(Debug)]
pub struct StoreMapped<'a> {
    /// Constants of the channels.
    pub requantize: &'a Requantize<u8>,
    /// The function.
    pub table: &'a ByteTable,
    /// Codes `[M, N]`.
    pub out: &'a mut [u8],
    /// Codes between the starts of two rows of `out`.
    pub stride: usize,
}

impl Epilogue for StoreMapped<'_> {
    fn finish(&mut self, tile: &Tile<'_>) {
        self.requantize.write(tile, self.out, self.stride);
        let out = &mut self.out[tile.row * self.stride + tile.col..];
        for r in 0..tile.rows {
            self.table
                .map(&mut out[r * self.stride..r * self.stride + tile.cols]);
        }
    }
}

/// Writes `table[code]` for codes of more than 8 bits: a finer grid before the function.
#[derive(Debug)]
pub struct StoreLookup<'a> {
    /// Constants of the channels; the smallest code is 0 or more, the largest one an index of
    /// `table`.
    pub requantize: &'a Requantize<i16>,
    /// The function.
    pub table: &'a [u8],
    /// Codes `[M, N]`.
    pub out: &'a mut [u8],
    /// Codes between the starts of two rows of `out`.
    pub stride: usize,
}

impl Epilogue for StoreLookup<'_> {
    /// # Panics
    /// If a code is no index of the table.
    fn finish(&mut self, tile: &Tile<'_>) {
        let mut indices = [0_i16; TILE_VALUES];
        self.requantize.write_at(tile, &mut indices, tile.stride);
        for (r, indices) in indices.chunks(tile.stride).take(tile.rows).enumerate() {
            let start = (tile.row + r) * self.stride + tile.col;
            let out = &mut self.out[start..start + tile.cols];
            for (out, index) in out.iter_mut().zip(indices) {
                // A negative index becomes one past the end of any table.
                *out = self.table[usize::from(index.cast_unsigned())];
            }
        }
    }
}

/// Writes `table[start of its channel + code]`: a function onto a grid that differs by channel.
#[derive(Debug)]
pub struct StoreTables<'a> {
    /// Constants of the channels; the smallest code is 0 or more.
    pub requantize: &'a Requantize<i16>,
    /// The tables, one after the other.
    pub tables: &'a [u8],
    /// Where the table of each channel starts; code plus start is a place in `tables`.
    pub starts: &'a [u32],
    /// Codes `[M, N]`.
    pub out: &'a mut [u8],
    /// Codes between the starts of two rows of `out`.
    pub stride: usize,
}

impl Epilogue for StoreTables<'_> {
    /// # Panics
    /// If a place is outside the tables.
    fn finish(&mut self, tile: &Tile<'_>) {
        let mut indices = [0_i16; TILE_VALUES];
        self.requantize.write_at(tile, &mut indices, tile.stride);
        let starts = &self.starts[tile.col..tile.col + tile.cols];
        for (r, indices) in indices.chunks(tile.stride).take(tile.rows).enumerate() {
            let start = (tile.row + r) * self.stride + tile.col;
            let out = &mut self.out[start..start + tile.cols];
            for ((out, index), start) in out.iter_mut().zip(indices).zip(starts) {
                let place = *start as usize + usize::from(index.cast_unsigned());
                *out = self.tables[place];
            }
        }
    }
}
