//! Products of packed matrices with inputs.

use super::chosen::kernel;
use super::compute::Compute;
use super::inputs::{Inputs, ROUNDED_TOGETHER, RoundedInput};
use super::kernel::Kernel;
use super::packed::{Dense, PackedMatrix};
use super::sparse::BLOCK_ROWS;
use crate::linalg::product::{Strided, multiply};
use rayon::prelude::*;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

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
    /// When they are not as wide as one another, or `cols` does not divide the number of values.
    pub fn multiply_each<const N: usize>(matrices: [&Self; N], inputs: &[f32]) -> [Vec<f32>; N] {
        // They share forms of the inputs.
        let cols = |[one, other]: &[&Self; 2]| one.cols() == other.cols();
        assert!(matrices.array_windows().all(cols), "matrices of one width");
        let mut ready = Ready::default();
        let products = matrices.map(|matrix| Product::new(matrix, inputs, kernel(), &mut ready));
        let mut parts = products.each_ref().map(Product::room);
        let mut tasks = Vec::new();
        for (product, parts) in products.iter().zip(&mut parts) {
            tasks.extend(product.tasks_in(parts).map(|task| (product, task)));
        }
        let tasks = tasks.into_par_iter();
        tasks.for_each(|(product, (rows, part))| product.part(rows, part));
        std::array::from_fn(|at| products[at].in_order(mem::take(&mut parts[at])))
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
    prepared: Option<Arc<Inputs<'a>>>,
    /// `[cols, count]`, for the weights that are stored apart; none where there are none, or one input, which is that
    /// already.
    by_column: Option<Arc<Vec<f32>>>,
}

impl<'a> Product<'a> {
    pub(super) fn new(
        matrix: &'a PackedMatrix,
        inputs: &'a [f32],
        kernel: &'a dyn Kernel,
        ready: &mut Ready<'a>,
    ) -> Self {
        let cols = matrix.cols();
        let count = inputs.len() / cols.max(1);
        assert_eq!(inputs.len(), count * cols, "inputs of {cols}");
        let is_many = count >= MANY_INPUTS && !matrix.as_few;
        let few = (!is_many && count > 0).then(|| ready.few(matrix, inputs, kernel));
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

    /// For the sums of all rows, those of each task behind the ones of the task before.
    fn room(&self) -> Vec<f32> {
        vec![0.0; self.count * self.matrix.rows()]
    }

    /// The tasks with the part of the [`Self::room`] `parts` of each.
    fn tasks_in<'p>(
        &self,
        parts: &'p mut [f32],
    ) -> impl Iterator<Item = (Range<usize>, &'p mut [f32])> + use<'p> {
        let (count, mut rest) = (self.count, parts);
        self.tasks().map(move |rows| {
            let part = rest.split_off_mut(..rows.len() * count);
            (rows, part.unwrap_or_default())
        })
    }

    /// The sums of `rows` with each input; [`Self::in_order`] knows in which order.
    fn part(&self, rows: Range<usize>, sums: &mut [f32]) {
        match &self.few {
            Some(few) => self.by_rows(rows, few, sums),
            None => self.by_tiles(rows, sums),
        }
    }

    /// `[count, rows]` of the parts of all tasks.
    fn in_order(&self, parts: Vec<f32>) -> Vec<f32> {
        if self.count == 1 {
            return parts;
        }
        let mut all = self.room();
        let mut rest = parts.as_slice();
        for rows in self.tasks() {
            let (part, behind) = rest.split_at(rows.len() * self.count);
            rest = behind;
            for (n, out) in all.chunks_exact_mut(self.matrix.rows()).enumerate() {
                let out = &mut out[rows.clone()];
                if self.few.is_some() {
                    let sums = part[n..].iter().step_by(self.count);
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = *sum;
                    }
                } else {
                    out.copy_from_slice(&part[n * rows.len()..(n + 1) * rows.len()]);
                }
            }
        }
        all
    }

    /// `[rows, count]`.
    fn by_rows(&self, rows: Range<usize>, few: &Few<'_>, sums: &mut [f32]) {
        match (&self.matrix.dense, few.prepared.as_deref()) {
            (Dense::Halves(halves), _) => {
                let cols = self.matrix.cols();
                halves.sums(self.kernel, rows.clone(), cols, &few.each, sums);
            }
            (Dense::Codes(codes), Some(Inputs::Floats { each, group_sums })) => {
                let each: Vec<&[f32]> = each.iter().map(AsRef::as_ref).collect();
                let group_sums: Vec<&[f32]> = group_sums.iter().map(Vec::as_slice).collect();
                let rows = codes.rows(rows.clone());
                self.kernel.codes(&rows, &each, &group_sums, sums);
            }
            (Dense::Codes(codes), Some(Inputs::Int16(inputs))) => {
                let rows = codes.rows(rows.clone());
                self.kernel.int16(&rows, inputs, sums);
            }
            (Dense::Codes(codes), Some(Inputs::Int8(inputs))) => {
                let rows = codes.rows(rows.clone());
                self.kernel.int8(&rows, inputs, sums);
            }
            (Dense::Codes(_), None) => unreachable!("inputs of codes are prepared"),
        }
        if let Some(outliers) = &self.matrix.outliers {
            let by_column = few.by_column.as_deref();
            let by_column = by_column.map_or(self.inputs, Vec::as_slice);
            outliers.add_products(rows, by_column, self.count, sums);
        }
    }

    /// `[count, rows]`, a few decoded rows at a time.
    fn by_tiles(&self, rows: Range<usize>, sums: &mut [f32]) {
        let (height, cols) = (rows.len(), self.matrix.cols());
        let left = Strided::row_major(self.inputs, cols);
        let mut tile = vec![0.0; TILE_ROWS * cols];
        for from in (0..height).step_by(TILE_ROWS) {
            let here = rows.start + from..rows.start + (from + TILE_ROWS).min(height);
            let tile = &mut tile[..here.len() * cols];
            self.matrix.decode_rows(here, tile);
            let right = Strided::row_major(tile, cols).transposed();
            multiply(left, right, &mut sums[from..], height, false);
        }
    }

    /// All of it with one thread, `[count, rows]`.
    #[cfg(test)]
    pub(super) fn whole(&self) -> Vec<f32> {
        let mut parts = self.room();
        for (rows, part) in self.tasks_in(&mut parts) {
            self.part(rows, part);
        }
        self.in_order(parts)
    }
}

/// Forms of the same inputs that matrices have asked for: what one has had made serves the next.
#[derive(Default)]
pub(super) struct Ready<'a> {
    forms: Vec<(Form, Arc<Inputs<'a>>)>,
    by_column: Option<Arc<Vec<f32>>>,
}

/// How a kernel reads inputs.
#[derive(PartialEq)]
struct Form {
    order: Order,
    /// Inputs that share a scale of the weights.
    group_size: usize,
    group_sums: bool,
}

#[derive(PartialEq)]
enum Order {
    Floats(Option<&'static [usize; 8]>),
    Int16(Option<&'static [usize; ROUNDED_TOGETHER]>),
    Int8(Option<&'static [usize; ROUNDED_TOGETHER]>),
}

impl<'a> Ready<'a> {
    fn few(&mut self, matrix: &PackedMatrix, inputs: &'a [f32], kernel: &dyn Kernel) -> Few<'a> {
        let each: Vec<&[f32]> = inputs.chunks_exact(matrix.cols()).collect();
        let prepared = match &matrix.dense {
            Dense::Codes(codes) => {
                let form = Form {
                    order: match codes.compute() {
                        Compute::F32 => Order::Floats(kernel.order(codes)),
                        Compute::Int16 => Order::Int16(kernel.int16_order(codes)),
                        Compute::Int8 => Order::Int8(kernel.int8_order(codes)),
                    },
                    group_size: codes.group_size,
                    group_sums: codes.has_zeros(),
                };
                Some(self.inputs(&each, form))
            }
            Dense::Halves(_) => None,
        };
        let by_column = (matrix.outliers.is_some() && each.len() > 1).then(|| {
            let by_column = || Arc::new(by_column(&each));
            self.by_column.get_or_insert_with(by_column).clone()
        });
        Few {
            each,
            prepared,
            by_column,
        }
    }

    /// `each` in `form`.
    fn inputs(&mut self, each: &[&'a [f32]], form: Form) -> Arc<Inputs<'a>> {
        if let Some((_, inputs)) = self.forms.iter().find(|(found, _)| *found == form) {
            return inputs.clone();
        }
        let inputs = Arc::new(match form.order {
            Order::Floats(order) => Inputs::floats(each, order, form.group_size, form.group_sums),
            Order::Int16(order) => Inputs::Int16(RoundedInput::each(each, order, form.group_size)),
            Order::Int8(order) => Inputs::Int8(RoundedInput::each(each, order, form.group_size)),
        });
        self.forms.push((form, inputs.clone()));
        inputs
    }
}

/// `[cols, count]` of `[count, cols]`.
fn by_column(each: &[&[f32]]) -> Vec<f32> {
    let count = each.len();
    let mut by_column = vec![0.0; count * each.first().map_or(0, |input| input.len())];
    for (n, input) in each.iter().enumerate() {
        for (out, x) in by_column[n..].iter_mut().step_by(count).zip(*input) {
            *out = *x;
        }
    }
    by_column
}
