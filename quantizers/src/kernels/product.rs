//! Products of packed matrices with inputs.

use super::chosen::kernel;
use super::inputs::Inputs;
use super::kernel::Kernel;
use super::packed::{Dense, PackedMatrix};
use super::sparse::BLOCK_ROWS;
use crate::linalg::product::{Strided, multiply};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;

/// Weights that a thread takes at a time, at least: fewer are not worth waking it.
const TASK_WEIGHTS: usize = 1 << 16;
/// Inputs from which on rows are decoded and multiplied as a matrix.
const MANY_INPUTS: usize = 12;
const _: () = assert!(PackedMatrix::MOST_ALIKE < MANY_INPUTS);
/// Rows that are decoded at a time.
const TILE_ROWS: usize = BLOCK_ROWS;

impl PackedMatrix {
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
        let products = matrices.map(|matrix| Product::new(matrix, inputs, kernel()));
        let tasks: Vec<(usize, Range<usize>)> = products
            .iter()
            .enumerate()
            .flat_map(|(at, product)| product.tasks().map(move |rows| (at, rows)))
            .collect();
        let parts: Vec<Vec<f32>> = tasks
            .par_iter()
            .map(|(at, rows)| products[*at].part(rows.clone()))
            .collect();
        let mut all = products
            .each_ref()
            .map(|product| vec![0.0; product.count * product.matrix.rows()]);
        for ((at, rows), part) in tasks.into_iter().zip(parts) {
            products[at].place(&part, rows, &mut all[at]);
        }
        all
    }
}

/// One matrix with inputs that are ready for it.
pub(super) struct Product<'a> {
    matrix: &'a PackedMatrix,
    kernel: &'a dyn Kernel,
    /// `[count, cols]`.
    inputs: &'a [f32],
    count: usize,
    /// Where they are few.
    few: Option<Few<'a>>,
}

/// Inputs that are multiplied with codes as these are looked up.
struct Few<'a> {
    each: Vec<&'a [f32]>,
    /// As the kernel reads them; 16-bit floats are multiplied with them as they come.
    prepared: Option<Inputs<'a>>,
    /// `[cols, count]`, for the weights that are stored apart.
    by_column: Cow<'a, [f32]>,
}

impl<'a> Product<'a> {
    pub(super) fn new(matrix: &'a PackedMatrix, inputs: &'a [f32], kernel: &'a dyn Kernel) -> Self {
        let cols = matrix.cols();
        let count = inputs.len() / cols.max(1);
        assert_eq!(inputs.len(), count * cols, "inputs of {cols}");
        let is_many = count >= MANY_INPUTS && !matrix.as_few;
        let few = (!is_many && count > 0).then(|| Few::new(matrix, inputs, kernel));
        Self {
            matrix,
            kernel,
            inputs,
            count,
            few,
        }
    }

    /// Rows that one thread takes at a time.
    fn tasks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = if self.count > 0 {
            self.matrix.rows()
        } else {
            0
        };
        let at_once = TASK_WEIGHTS / self.matrix.cols().max(1);
        let at_once = at_once.max(1).next_multiple_of(TILE_ROWS);
        let starts = (0..rows).step_by(at_once);
        starts.map(move |from| from..(from + at_once).min(rows))
    }

    /// The sums of `rows` with each input; [`Self::place`] knows in which order.
    fn part(&self, rows: Range<usize>) -> Vec<f32> {
        match &self.few {
            Some(few) => self.by_rows(rows, few),
            None => self.by_tiles(rows),
        }
    }

    /// Puts a part into `all`, `[count, rows]`.
    fn place(&self, part: &[f32], rows: Range<usize>, all: &mut [f32]) {
        let height = rows.len();
        let of_all = all.chunks_exact_mut(self.matrix.rows());
        if self.few.is_some() && self.count > 1 {
            for (n, out) in of_all.enumerate() {
                let sums = part[n..].iter().step_by(self.count);
                for (out, sum) in out[rows.clone()].iter_mut().zip(sums) {
                    *out = *sum;
                }
            }
        } else {
            for (part, out) in part.chunks_exact(height).zip(of_all) {
                out[rows.clone()].copy_from_slice(part);
            }
        }
    }

    /// `[rows, count]`.
    fn by_rows(&self, rows: Range<usize>, few: &Few<'_>) -> Vec<f32> {
        let mut sums = vec![0.0; self.count * rows.len()];
        match (&self.matrix.dense, &few.prepared) {
            (Dense::Halves(halves), _) => {
                let cols = self.matrix.cols();
                halves.sums(self.kernel, rows.clone(), cols, &few.each, &mut sums);
            }
            (Dense::Codes(codes), Some(Inputs::Floats { each, group_sums })) => {
                let each: Vec<&[f32]> = each.iter().map(AsRef::as_ref).collect();
                let group_sums: Vec<&[f32]> = group_sums.iter().map(Vec::as_slice).collect();
                let rows = codes.rows(rows.clone());
                self.kernel.codes(&rows, &each, &group_sums, &mut sums);
            }
            (Dense::Codes(codes), Some(Inputs::Rounded(inputs))) => {
                self.kernel
                    .rounded(&codes.rows(rows.clone()), inputs, &mut sums);
            }
            (Dense::Codes(_), None) => unreachable!("inputs of codes are prepared"),
        }
        if let Some(outliers) = &self.matrix.outliers {
            outliers.add_products(rows, &few.by_column, self.count, &mut sums);
        }
        sums
    }

    /// `[count, rows]`, a few decoded rows at a time.
    fn by_tiles(&self, rows: Range<usize>) -> Vec<f32> {
        let (height, cols) = (rows.len(), self.matrix.cols());
        let left = Strided::row_major(self.inputs, cols);
        let mut out = vec![0.0; left.rows() * height];
        let mut tile = vec![0.0; TILE_ROWS * cols];
        for from in (0..height).step_by(TILE_ROWS) {
            let here = rows.start + from..rows.start + (from + TILE_ROWS).min(height);
            let tile = &mut tile[..here.len() * cols];
            self.matrix.decode_rows(here, tile);
            let right = Strided::row_major(tile, cols).transposed();
            multiply(left, right, &mut out[from..], height, false);
        }
        out
    }

    /// All of it with one thread, `[count, rows]`.
    #[cfg(test)]
    pub(super) fn whole(&self) -> Vec<f32> {
        let rows = 0..self.matrix.rows();
        let mut all = vec![0.0; self.count * rows.len()];
        self.place(&self.part(rows.clone()), rows, &mut all);
        all
    }
}

impl<'a> Few<'a> {
    fn new(matrix: &PackedMatrix, inputs: &'a [f32], kernel: &dyn Kernel) -> Self {
        let each: Vec<&[f32]> = inputs.chunks_exact(matrix.cols()).collect();
        let prepared = match &matrix.dense {
            Dense::Codes(codes) if codes.are_integers() => {
                let order = kernel.rounded_order(codes);
                Some(Inputs::rounded(&each, order, codes.group_size))
            }
            Dense::Codes(codes) => {
                let order = kernel.order(codes);
                Some(Inputs::floats(
                    &each,
                    order,
                    codes.group_size,
                    codes.has_zeros(),
                ))
            }
            Dense::Halves(_) => None,
        };
        let by_column = if each.len() == 1 || matrix.outliers.is_none() {
            Cow::Borrowed(inputs)
        } else {
            let columns = 0..matrix.cols();
            let column = |at: usize| each.iter().map(move |input| input[at]);
            Cow::Owned(columns.flat_map(column).collect())
        };
        Self {
            each,
            prepared,
            by_column,
        }
    }
}
