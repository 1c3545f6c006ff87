//! From codes back to weights.

use super::{Codebook, Encoding, Granularity, QuantizedTensor, Uniform};
use half::f16;
use rayon::prelude::*;

impl QuantizedTensor {
    /// The weights, `[rows, cols]`.
    ///
    /// # Panics
    /// When [`Self::check`] would fail.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut weights = vec![0.0; self.rows * self.cols];
        self.dequantize_into(&mut weights);
        weights
    }

    /// Writes the weights to `out`, `[rows, cols]`; sparse values are added in f32.
    ///
    /// # Panics
    /// When `out` has another length, or [`Self::check`] would fail.
    pub fn dequantize_into(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.rows * self.cols, "one value per weight");
        if out.is_empty() {
            return;
        }
        out.par_chunks_mut(self.cols)
            .enumerate()
            .for_each(|(row, out)| {
                match &self.encoding {
                    Encoding::Uniform(uniform) => uniform.decode_row(row, out),
                    Encoding::Codebook(codebook) => codebook.decode_row(row, self.rows, out),
                    Encoding::Float { values, .. } => {
                        out.copy_from_slice(&values[row * self.cols..(row + 1) * self.cols]);
                    }
                }
                if let Some(outliers) = &self.outliers {
                    let ends = &outliers.row_pointers[row..row + 2];
                    let stored = ends[0] as usize..ends[1] as usize;
                    let columns = &outliers.columns[stored.clone()];
                    for (column, value) in columns.iter().zip(&outliers.values[stored]) {
                        out[*column as usize] += value.to_f32();
                    }
                }
            });
    }
}

impl Uniform {
    fn decode_row(&self, row: usize, out: &mut [f32]) {
        let cols = out.len();
        let codes = &self.codes[row * cols..(row + 1) * cols];
        let groups = self.granularity.groups_per_row(cols);
        let first = if self.granularity == Granularity::Tensor {
            0
        } else {
            row * groups
        };
        let size = match self.granularity {
            Granularity::Group(size) => size,
            _ => cols,
        };
        let groups = out
            .chunks_mut(size)
            .zip(codes.chunks(size))
            .zip(&self.scales[first..]);
        for (index, ((out, codes), scale)) in groups.enumerate() {
            let zero = self
                .zero_points
                .as_ref()
                .map_or(0, |zeros| i16::from(zeros[first + index]));
            for (value, code) in out.iter_mut().zip(codes) {
                *value = scale * f32::from(i16::from(*code) - zero);
            }
        }
    }
}

impl Codebook {
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
}
