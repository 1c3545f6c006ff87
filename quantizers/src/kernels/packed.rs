//! A matrix as it is stored, multiplied from where it lies.

use super::chosen::kernel;
use super::codes::PackedCodes;
use super::compute::Compute;
use super::halves::Halves;
use super::inputs::FEW;
use super::sparse::SparseRows;
use crate::tensor::{Encoding, FloatType, QuantizedTensor, Scheme, SchemeKind};
use std::ops::Range;

/// A matrix `[rows, cols]` in its packed form.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    rows: usize,
    cols: usize,
    pub(super) dense: Dense,
    pub(super) outliers: Option<SparseRows>,
    /// Many inputs are multiplied as few are.
    pub(super) as_few: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Dense {
    Codes(PackedCodes),
    Halves(Halves),
}

impl PackedMatrix {
    /// Up to so many inputs that are multiplied together come out bit by bit as each does alone.
    pub const MOST_ALIKE: usize = FEW;

    /// The packed form of `tensor`; `None` for encodings that are not executed packed: trellis codes, and grids whose
    /// groups are no neighbours; and for outliers in columns beyond the 65,536th.
    pub fn of_quantized(tensor: &QuantizedTensor) -> Option<Self> {
        let (rows, cols) = (tensor.rows, tensor.cols);
        let codes = match &tensor.encoding {
            Encoding::Codebook(codebook) => PackedCodes::of_codebook(codebook, rows, cols),
            Encoding::Uniform(uniform) => PackedCodes::of_uniform(uniform, rows, cols)?,
            Encoding::Trellis(_) => return None,
        };
        let outliers = match &tensor.outliers {
            Some(outliers) => Some(SparseRows::of(outliers)?),
            None => None,
        };
        Some(Self {
            rows,
            cols,
            dense: Dense::Codes(codes),
            outliers,
            as_few: false,
        })
    }

    /// Multiplies the way `compute` says from now on, where its codes can be; 16-bit floats are multiplied as f32 always.
    #[must_use]
    pub fn computing(mut self, compute: Compute) -> Self {
        if let Dense::Codes(codes) = &mut self.dense {
            codes.computing(compute);
        }
        self
    }

    /// Multiplies any number of inputs as it does a few from now on: what one token at a time computes can then be judged on
    /// whole texts.
    #[must_use]
    pub fn many_as_few(mut self) -> Self {
        self.as_few = true;
        self
    }

    /// Whether [`Self::of_quantized`] has a packed form for matrices of `scheme`.
    pub fn executes(scheme: &Scheme) -> bool {
        !matches!(scheme.kind, SchemeKind::Trellis { .. }) && !scheme.column_groups
    }

    /// 16-bit floats `[rows, cols]` of which `bits` are the bits; `None` for floats of another size.
    ///
    /// # Panics
    /// When `cols` does not divide the number of values.
    pub fn of_halves(kind: FloatType, bits: Vec<u16>, cols: usize) -> Option<Self> {
        Some(Self::of_dense(
            bits.len(),
            cols,
            Halves::of_bits(kind, bits)?,
        ))
    }

    /// `values` `[rows, cols]` as 16-bit floats; `None` where some of them are none.
    ///
    /// # Panics
    /// When `cols` does not divide the number of values.
    pub fn of_values(values: &[f32], cols: usize) -> Option<Self> {
        Some(Self::of_dense(values.len(), cols, Halves::of(values)?))
    }

    fn of_dense(values: usize, cols: usize, halves: Halves) -> Self {
        assert!(values.is_multiple_of(cols.max(1)), "whole rows");
        Self {
            rows: values / cols.max(1),
            cols,
            dense: Dense::Halves(halves),
            outliers: None,
            as_few: false,
        }
    }

    /// Output channels.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        self.memory().iter().map(|block| block.len()).sum()
    }

    /// The memory that its weights lie in.
    pub fn memory(&self) -> Vec<&[u8]> {
        let mut blocks = match &self.dense {
            Dense::Codes(codes) => codes.memory(),
            Dense::Halves(halves) => vec![halves.memory()],
        };
        blocks.extend(self.outliers.iter().flat_map(SparseRows::memory));
        blocks
    }

    /// The weights of `row`, `[cols]`.
    ///
    /// # Panics
    /// When there is no such row, or `out` is of another length.
    pub fn decode(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        self.decode_dense(row, out);
        if let Some(outliers) = &self.outliers {
            outliers.add_row(row, out);
        }
    }

    /// The same without the weights that are stored apart.
    fn decode_dense(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols, "a row of weights");
        match &self.dense {
            Dense::Codes(codes) => {
                let row = codes.row(row);
                kernel().values(&row, out);
                row.scale_values(out);
            }
            Dense::Halves(halves) => halves.decode(row, out),
        }
    }

    /// The weights of `rows`, `[rows, cols]`.
    pub(super) fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) {
        for (row, values) in rows.clone().zip(out.chunks_exact_mut(self.cols)) {
            self.decode_dense(row, values);
        }
        if let Some(outliers) = &self.outliers {
            outliers.add_to(rows, self.cols, out);
        }
    }
}
