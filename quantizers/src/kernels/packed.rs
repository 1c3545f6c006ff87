//! A matrix as it is stored, multiplied from where it lies.

use super::chosen::kernel;
use super::codes::PackedCodes;
use super::compute::Compute;
use super::halves::Halves;
use super::inputs::Inputs;
use super::kernel::Kernel;
use super::sparse::{BLOCK_ROWS, SparseRows};
use crate::linalg::product::{Strided, multiply};
use crate::tensor::{Encoding, FloatType, QuantizedTensor, Scheme, SchemeKind};
use rayon::prelude::*;
use std::ops::Range;

/// Weights that a thread takes at a time, at least: fewer are not worth waking it.
const TASK_WEIGHTS: usize = 1 << 16;
/// Inputs from which on rows are decoded and multiplied as a matrix.
const MANY_INPUTS: usize = 12;
const _: () = assert!(PackedMatrix::MOST_ALIKE < MANY_INPUTS);
/// Rows that are handed to a kernel at a time.
const ROWS_AT_ONCE: usize = 12;
/// Rows that are decoded at a time.
const TILE_ROWS: usize = BLOCK_ROWS;

/// A matrix `[rows, cols]` in its packed form.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    rows: usize,
    cols: usize,
    dense: Dense,
    outliers: Option<SparseRows>,
    /// Many inputs are multiplied as few are.
    as_few: bool,
}

#[derive(Debug, Clone)]
enum Dense {
    Codes(PackedCodes),
    Halves(Halves),
}

impl PackedMatrix {
    /// Up to so many inputs that are multiplied together come out bit by bit as each does alone.
    pub const MOST_ALIKE: usize = 8;

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
        if let (Compute::Int16, Dense::Codes(codes)) = (compute, &mut self.dense) {
            codes.as_integers();
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
        let dense = match &self.dense {
            Dense::Codes(codes) => codes.bytes(),
            Dense::Halves(halves) => halves.bytes(),
        };
        dense + self.outliers.as_ref().map_or(0, SparseRows::bytes)
    }

    /// `inputs · Wᵀ`: `[n, cols]` to `[n, rows]`, in f32 unless [`Self::computing`] says otherwise and there are few inputs.
    ///
    /// # Panics
    /// When `cols` does not divide the number of values.
    pub fn multiply(&self, inputs: &[f32]) -> Vec<f32> {
        let [out] = Self::multiply_each([self], inputs);
        out
    }

    /// The same with each of several matrices that are as wide as one another. Threads share the rows of all of them, so
    /// that they wait for each other once.
    ///
    /// # Panics
    /// When `cols` of one of them does not divide the number of values.
    pub fn multiply_each<const N: usize>(matrices: [&Self; N], inputs: &[f32]) -> [Vec<f32>; N] {
        let products = matrices.map(|matrix| Product::new(matrix, inputs));
        let tasks: Vec<(usize, Range<usize>)> = products
            .iter()
            .enumerate()
            .flat_map(|(at, product)| product.tasks().map(move |rows| (at, rows)))
            .collect();
        let parts: Vec<Vec<f32>> = tasks
            .par_iter()
            .map(|(at, rows)| products[*at].part(rows.clone()))
            .collect();
        let mut all = products.map(|product| vec![0.0; product.count * product.matrix.rows]);
        for ((at, rows), part) in tasks.into_iter().zip(parts) {
            let of_part = part.chunks_exact(rows.len());
            let of_all = all[at].chunks_exact_mut(matrices[at].rows);
            for (part, out) in of_part.zip(of_all) {
                out[rows.clone()].copy_from_slice(part);
            }
        }
        all
    }

    /// `each` as `kernel` reads them; 16-bit floats are multiplied with them as they come.
    pub(super) fn prepare<'a>(
        &self,
        each: &[&'a [f32]],
        kernel: &dyn Kernel,
    ) -> Option<Inputs<'a>> {
        match &self.dense {
            Dense::Codes(codes) if codes.are_integers() => {
                let order = kernel.rounded_order(codes);
                Some(Inputs::rounded(each, order, codes.group_size))
            }
            Dense::Codes(codes) => {
                let order = kernel.order(codes);
                Some(Inputs::floats(
                    each,
                    order,
                    codes.group_size,
                    codes.has_zeros(),
                ))
            }
            Dense::Halves(_) => None,
        }
    }

    /// `[n, rows]`, row by row, of `each` and what [`Self::prepare`] has made of them.
    pub(super) fn by_rows(
        &self,
        rows: Range<usize>,
        each: &[&[f32]],
        prepared: Option<&Inputs<'_>>,
        kernel: &dyn Kernel,
    ) -> Vec<f32> {
        let (height, count) = (rows.len(), each.len());
        let mut out = vec![0.0; count * height];
        if count == 1 {
            // Its sums are in their places already.
            self.dense_sums(rows.clone(), each, prepared, kernel, &mut out);
        } else {
            let mut sums = vec![0.0; ROWS_AT_ONCE * count];
            for from in (0..height).step_by(ROWS_AT_ONCE) {
                let to = (from + ROWS_AT_ONCE).min(height);
                let sums = &mut sums[..(to - from) * count];
                let here = rows.start + from..rows.start + to;
                self.dense_sums(here, each, prepared, kernel, sums);
                for (row, sums) in (from..to).zip(sums.chunks(count)) {
                    for (at, sum) in sums.iter().enumerate() {
                        out[at * height + row] = *sum;
                    }
                }
            }
        }
        if let Some(outliers) = &self.outliers {
            for (input, out) in each.iter().zip(out.chunks_exact_mut(height)) {
                outliers.add_products(rows.clone(), input, out);
            }
        }
        out
    }

    /// `[rows, n]` without the weights that are stored apart.
    fn dense_sums(
        &self,
        rows: Range<usize>,
        each: &[&[f32]],
        prepared: Option<&Inputs<'_>>,
        kernel: &dyn Kernel,
        sums: &mut [f32],
    ) {
        let count = each.len();
        match (&self.dense, prepared) {
            (Dense::Halves(halves), _) => {
                for (row, sums) in rows.zip(sums.chunks_mut(count)) {
                    halves.sums(kernel, row, self.cols, each, sums);
                }
            }
            (Dense::Codes(codes), Some(Inputs::Floats { each, group_sums })) => {
                let each: Vec<&[f32]> = each.iter().map(AsRef::as_ref).collect();
                let group_sums: Vec<&[f32]> = group_sums.iter().map(Vec::as_slice).collect();
                kernel.codes(&codes.rows(rows), &each, &group_sums, sums);
            }
            (Dense::Codes(codes), Some(Inputs::Rounded(inputs))) => {
                kernel.rounded(&codes.rows(rows), inputs, sums);
            }
            (Dense::Codes(_), None) => unreachable!("inputs of codes are prepared"),
        }
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

    /// `[n, rows]`, a few decoded rows at a time.
    fn by_tiles(&self, rows: Range<usize>, inputs: &[f32]) -> Vec<f32> {
        let height = rows.len();
        let left = Strided::row_major(inputs, self.cols);
        let mut out = vec![0.0; left.rows() * height];
        let mut tile = vec![0.0; TILE_ROWS * self.cols];
        for from in (0..height).step_by(TILE_ROWS) {
            let here = rows.start + from..rows.start + (from + TILE_ROWS).min(height);
            let tile = &mut tile[..here.len() * self.cols];
            for (row, values) in here.clone().zip(tile.chunks_exact_mut(self.cols)) {
                self.decode_dense(row, values);
            }
            if let Some(outliers) = &self.outliers {
                outliers.add_to(here, self.cols, tile);
            }
            let right = Strided::row_major(tile, self.cols).transposed();
            multiply(left, right, &mut out[from..], height, false);
        }
        out
    }
}

/// One matrix with inputs that are ready for it.
struct Product<'a> {
    matrix: &'a PackedMatrix,
    /// `[count, cols]`.
    inputs: &'a [f32],
    count: usize,
    /// Where they are few.
    few: Option<(Vec<&'a [f32]>, Option<Inputs<'a>>)>,
}

impl<'a> Product<'a> {
    fn new(matrix: &'a PackedMatrix, inputs: &'a [f32]) -> Self {
        let cols = matrix.cols;
        let count = inputs.len() / cols.max(1);
        assert_eq!(inputs.len(), count * cols, "inputs of {cols}");
        let is_many = count >= MANY_INPUTS && !matrix.as_few;
        let few = (!is_many && count > 0).then(|| {
            let each: Vec<&[f32]> = inputs.chunks_exact(cols).collect();
            let prepared = matrix.prepare(&each, kernel());
            (each, prepared)
        });
        Self {
            matrix,
            inputs,
            count,
            few,
        }
    }

    /// Rows that one thread takes at a time.
    fn tasks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = if self.count > 0 { self.matrix.rows } else { 0 };
        let at_once = TASK_WEIGHTS / self.matrix.cols.max(1);
        let at_once = at_once.max(1).next_multiple_of(TILE_ROWS);
        let starts = (0..rows).step_by(at_once);
        starts.map(move |from| from..(from + at_once).min(rows))
    }

    /// `[count, rows]`.
    fn part(&self, rows: Range<usize>) -> Vec<f32> {
        match &self.few {
            Some((each, prepared)) => self.matrix.by_rows(rows, each, prepared.as_ref(), kernel()),
            None => self.matrix.by_tiles(rows, self.inputs),
        }
    }
}
