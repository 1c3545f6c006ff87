//! Products of packed matrices with inputs.

use super::chosen::kernel;
use super::compute::Compute;
use super::inputs::{Bf16Input, Each, Groups, Inputs, ROUNDED_TOGETHER, RoundedInput};
use super::kernel::Kernel;
use super::order::Order;
use super::packed::{Dense, PackedMatrix};
use super::sparse::BLOCK_ROWS;
use crate::linalg::product::{Strided, multiply};
use crate::scratch::Scratch;
use smallvec::SmallVec;
use std::mem;
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
    pub fn multiply(&self, inputs: &[f32]) -> Scratch<f32> {
        let [out] = Self::multiply_each([self], inputs);
        out
    }

    /// The same with each of several matrices that are as wide as one another. Threads share the rows of all of them, so
    /// that they wait for each other once.
    ///
    /// # Panics
    /// When they are not as wide as one another, or `cols` does not divide the number of values.
    pub fn multiply_each<const N: usize>(
        matrices: [&Self; N],
        inputs: &[f32],
    ) -> [Scratch<f32>; N] {
        let mut ready = Ready::new(inputs, matrices.first().map_or(0, |matrix| matrix.cols()));
        let products = matrices.map(|matrix| Product::new(matrix, inputs, kernel(), &mut ready));
        let mut parts = products.each_ref().map(Product::room);
        share(
            &products,
            &ready,
            products.each_ref().map(|product| 0..product.tasks()),
            parts.each_mut().map(|parts| parts.as_mut_slice()),
        );
        std::array::from_fn(|at| products[at].in_order(mem::take(&mut parts[at])))
    }

    /// [`Self::multiply`] by `kernel` with one thread.
    #[cfg(test)]
    pub(super) fn multiply_by(&self, kernel: &dyn Kernel, inputs: &[f32]) -> Scratch<f32> {
        let mut ready = Ready::new(inputs, self.cols());
        let product = Product::new(self, inputs, kernel, &mut ready);
        let mut parts = product.room();
        let mut rest = parts.as_mut_slice();
        for task in 0..product.tasks() {
            let rows = product.rows_of(task..task + 1);
            let part = rest.split_off_mut(..rows.len() * product.count);
            product.part(rows, &ready, part.unwrap());
        }
        product.in_order(parts)
    }
}

/// Does the given tasks of each product, whose sums `parts` have room for, with all threads.
fn share<const N: usize>(
    products: &[Product<'_>; N],
    ready: &Ready<'_>,
    tasks: [Range<usize>; N],
    mut parts: [&mut [f32]; N],
) {
    let count: usize = tasks.iter().map(Range::len).sum();
    if count <= 1 {
        for ((product, tasks), part) in products.iter().zip(tasks).zip(parts) {
            if !tasks.is_empty() {
                product.part(product.rows_of(tasks), ready, part);
            }
        }
        return;
    }
    let mut left = count / 2;
    let (mut firsts, mut rest) = (tasks.clone(), tasks);
    let mut first_parts: [&mut [f32]; N] = std::array::from_fn(|_| Default::default());
    for at in 0..N {
        let taken = left.min(rest[at].len());
        left -= taken;
        firsts[at].end = firsts[at].start + taken;
        rest[at].start = firsts[at].end;
        let values = products[at].rows_of(firsts[at].clone()).len() * products[at].count;
        first_parts[at] = parts[at].split_off_mut(..values).unwrap_or_default();
    }
    rayon::join(
        || share(products, ready, firsts, first_parts),
        || share(products, ready, rest, parts),
    );
}

/// One matrix with inputs that are ready for it.
pub(super) struct Product<'a> {
    matrix: &'a PackedMatrix,
    kernel: &'a dyn Kernel,
    /// `[count, cols]`.
    inputs: &'a [f32],
    count: usize,
    /// Where they are few.
    few: Option<Few>,
}

/// Inputs that are multiplied with codes as these are looked up.
struct Few {
    /// Which of the forms kernels read; 16-bit floats are multiplied with inputs as they come.
    form: Option<usize>,
    /// Whether they are wanted by column.
    by_column: bool,
}

impl<'a> Product<'a> {
    pub(super) fn new(
        matrix: &'a PackedMatrix,
        inputs: &'a [f32],
        kernel: &'a dyn Kernel,
        ready: &mut Ready<'a>,
    ) -> Self {
        let cols = matrix.cols();
        assert_eq!(ready.cols, cols, "matrices of one width");
        let count = inputs.len() / cols.max(1);
        assert_eq!(inputs.len(), count * cols, "inputs of {cols}");
        let is_many = count >= MANY_INPUTS && !matrix.as_few;
        let few = (!is_many && count > 0).then(|| ready.few(matrix, kernel));
        Self {
            matrix,
            kernel,
            inputs,
            count,
            few,
        }
    }

    /// Rows that one thread takes at a time.
    fn rows_at_once(&self) -> usize {
        let at_once = TASK_WEIGHTS / self.matrix.cols().max(1);
        at_once.max(1).next_multiple_of(TILE_ROWS)
    }

    /// How many tasks there are.
    fn tasks(&self) -> usize {
        if self.count > 0 {
            self.matrix.rows().div_ceil(self.rows_at_once())
        } else {
            0
        }
    }

    /// The rows of consecutive tasks.
    fn rows_of(&self, tasks: Range<usize>) -> Range<usize> {
        let first_of = |task: usize| (task * self.rows_at_once()).min(self.matrix.rows());
        first_of(tasks.start)..first_of(tasks.end)
    }

    /// For the sums of all rows, those of each task behind the ones of the task before.
    fn room(&self) -> Scratch<f32> {
        Scratch::unwritten(self.count * self.matrix.rows())
    }

    /// Writes the sums of the `rows` of a task with each input; [`Self::in_order`] knows in which order.
    fn part(&self, rows: Range<usize>, ready: &Ready<'_>, sums: &mut [f32]) {
        match &self.few {
            Some(few) => self.by_rows(rows, few, ready, sums),
            None => self.by_tiles(rows, sums),
        }
    }

    /// `[count, rows]` of the parts of all tasks.
    fn in_order(&self, parts: Scratch<f32>) -> Scratch<f32> {
        if self.count == 1 {
            return parts;
        }
        let mut all = self.room();
        let mut rest = parts.as_slice();
        for task in 0..self.tasks() {
            let rows = self.rows_of(task..task + 1);
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
    fn by_rows(&self, rows: Range<usize>, few: &Few, ready: &Ready<'_>, sums: &mut [f32]) {
        let form = few.form.map(|form| &ready.forms[form].1);
        match (&self.matrix.dense, form) {
            (Dense::Halves(halves), _) => {
                let cols = self.matrix.cols();
                halves.sums(self.kernel, rows.clone(), cols, &ready.each, sums);
            }
            (Dense::Codes(codes), Some(Inputs::Floats { each, group_sums })) => {
                let each: Each<&[f32]> = each.iter().map(AsRef::as_ref).collect();
                let group_sums: Each<&[f32]> =
                    group_sums.iter().map(|sums| sums.as_slice()).collect();
                let rows = codes.rows(rows.clone());
                self.kernel.codes(&rows, &each, &group_sums, sums);
            }
            (Dense::Codes(codes), Some(Inputs::Bf16(inputs))) => {
                let rows = codes.rows(rows.clone());
                self.kernel.bf16(&rows, inputs, sums);
            }
            (Dense::Codes(codes), Some(Inputs::Int16(inputs))) => {
                let rows = codes.rows(rows.clone());
                self.kernel.int16(&rows, inputs, sums);
            }
            (Dense::Codes(codes), Some(Inputs::Int8(inputs))) => {
                let rows = codes.rows(rows.clone());
                self.kernel.int8(&rows, inputs, sums);
            }
            (Dense::Codes(_), None) => unreachable!("inputs of codes are in some form"),
        }
        if let Some(outliers) = &self.matrix.outliers {
            let inputs = if few.by_column {
                &ready.by_column
            } else {
                self.inputs
            };
            outliers.add_products(rows, inputs, self.count, sums);
        }
    }

    /// `[count, rows]`, a few decoded rows at a time.
    fn by_tiles(&self, rows: Range<usize>, sums: &mut [f32]) {
        let (height, cols) = (rows.len(), self.matrix.cols());
        let left = Strided::row_major(self.inputs, cols);
        let mut tile = Scratch::unwritten(TILE_ROWS * cols);
        for from in (0..height).step_by(TILE_ROWS) {
            let here = rows.start + from..rows.start + (from + TILE_ROWS).min(height);
            let tile = &mut tile[..here.len() * cols];
            self.matrix.decode_rows(here, tile);
            let right = Strided::row_major(tile, cols).transposed();
            multiply(left, right, &mut sums[from..], height, false);
        }
    }
}

/// The inputs of several products in the forms these have asked for: what one has had made serves the next.
pub(super) struct Ready<'a> {
    cols: usize,
    /// As they came, `[cols]` each.
    each: Each<&'a [f32]>,
    forms: SmallVec<[(Form, Inputs<'a>); 2]>,
    /// `[cols, count]`, for the weights that are stored apart; empty where nobody has asked.
    by_column: Scratch<f32>,
}

/// How a kernel reads inputs.
#[derive(PartialEq)]
struct Form {
    numbers: Numbers,
    groups: Groups,
}

#[derive(PartialEq)]
enum Numbers {
    Floats(Order),
    /// Floats that bf16 holds.
    FloatsOfBf16(Order),
    Bf16(Order),
    Int16(Option<&'static [usize; ROUNDED_TOGETHER]>),
    Int8(Option<&'static [usize; ROUNDED_TOGETHER]>),
}

impl<'a> Ready<'a> {
    /// `inputs`, `cols` values each.
    pub(super) fn new(inputs: &'a [f32], cols: usize) -> Self {
        Self {
            cols,
            each: inputs.chunks_exact(cols.max(1)).collect(),
            forms: SmallVec::new(),
            by_column: Scratch::default(),
        }
    }

    fn few(&mut self, matrix: &PackedMatrix, kernel: &dyn Kernel) -> Few {
        let form = match &matrix.dense {
            Dense::Codes(codes) => Some(self.form(Form {
                numbers: match codes.compute() {
                    Compute::F32 => Numbers::Floats(kernel.order(codes)),
                    Compute::Bf16 => match kernel.bf16_order(codes) {
                        Some(order) => Numbers::Bf16(order),
                        None => Numbers::FloatsOfBf16(kernel.order(codes)),
                    },
                    Compute::Int16 => Numbers::Int16(kernel.int16_order(codes)),
                    Compute::Int8 => Numbers::Int8(kernel.int8_order(codes)),
                },
                groups: Groups {
                    size: codes.group_size,
                    sums_are_wanted: codes.has_zeros(),
                },
            })),
            Dense::Halves(_) => None,
        };
        // One input is that already.
        let by_column = matrix.outliers.is_some() && self.each.len() > 1;
        if by_column && self.by_column.is_empty() {
            self.by_column = turned(&self.each);
        }
        Few { form, by_column }
    }

    /// The number of `form`.
    fn form(&mut self, form: Form) -> usize {
        if let Some(at) = self.forms.iter().position(|(found, _)| *found == form) {
            return at;
        }
        let (each, groups) = (&self.each, form.groups);
        let inputs = match form.numbers {
            Numbers::Floats(order) => Inputs::floats(each, order, groups),
            Numbers::FloatsOfBf16(order) => Inputs::floats_of_bf16(each, order, groups),
            Numbers::Bf16(order) => Inputs::Bf16(Bf16Input::each(each, order, groups)),
            Numbers::Int16(order) => Inputs::Int16(RoundedInput::each(each, order, groups.size)),
            Numbers::Int8(order) => Inputs::Int8(RoundedInput::each(each, order, groups.size)),
        };
        self.forms.push((form, inputs));
        self.forms.len() - 1
    }
}

/// `[cols, count]` of `[count, cols]`.
fn turned(each: &[&[f32]]) -> Scratch<f32> {
    let count = each.len();
    let mut turned = Scratch::unwritten(count * each.first().map_or(0, |input| input.len()));
    for (n, input) in each.iter().enumerate() {
        for (out, x) in turned[n..].iter_mut().step_by(count).zip(*input) {
            *out = *x;
        }
    }
    turned
}
