//! Matrix products on strided views of slices.

use super::scalar::Scalar;
use rayon::prelude::*;

/// Rows of the result computed by one task. Each entry is summed in the same order whatever the
/// split, so this only weighs parallelism against reading the right factor once more per task.
const TASK_ROWS: usize = 512;

/// A matrix inside a slice: entry `(r, c)` is `data[r * row_stride + c * col_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a, T = f32> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T: Scalar> Strided<'a, T> {
    /// A view of `rows` by `cols` entries.
    ///
    /// # Panics
    /// The last entry lies outside `data`.
    pub fn new(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        assert!(
            rows == 0
                || cols == 0
                || (rows - 1) * row_stride + (cols - 1) * col_stride < data.len(),
            "a matrix of {rows} x {cols} with strides {row_stride}, {col_stride} in {} values",
            data.len()
        );
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride,
        }
    }

    /// A contiguous row-major matrix with rows of `cols`.
    ///
    /// # Panics
    /// `cols` does not divide the length of `data`.
    pub fn row_major(data: &'a [T], cols: usize) -> Self {
        assert!(
            data.len().is_multiple_of(cols),
            "rows of {cols} in {} values",
            data.len()
        );
        Self::new(data, data.len() / cols, cols, cols, 1)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The same entries with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Rows `from..to`.
    ///
    /// # Panics
    /// `to` is beyond the last row.
    #[must_use]
    pub fn slice_rows(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.rows);
        Self {
            data: &self.data[(from * self.row_stride).min(self.data.len())..],
            rows: to - from,
            ..self
        }
    }

    /// One row.
    ///
    /// # Panics
    /// The columns are not adjacent, or there is no such row.
    pub fn row(&self, row: usize) -> &'a [T] {
        assert!(self.col_stride == 1 && row < self.rows);
        &self.data[row * self.row_stride..][..self.cols]
    }
}

/// `out = left · right`, or `out += left · right`; `out` is row-major with rows of `right.cols()`
/// every `out_stride` values.
///
/// # Panics
/// The shapes do not fit together.
pub fn multiply<T: Scalar>(
    left: Strided<'_, T>,
    right: Strided<'_, T>,
    out: &mut [T],
    out_stride: usize,
    add: bool,
) {
    into_slice(left, right, T::ONE, out, out_stride, add);
}

/// `out += factor * left · right`, with `out` as in [`multiply`].
///
/// # Panics
/// The shapes do not fit together.
pub fn add_multiple<T: Scalar>(
    factor: T,
    left: Strided<'_, T>,
    right: Strided<'_, T>,
    out: &mut [T],
    out_stride: usize,
) {
    into_slice(left, right, factor, out, out_stride, true);
}

fn into_slice<T: Scalar>(
    left: Strided<'_, T>,
    right: Strided<'_, T>,
    factor: T,
    out: &mut [T],
    out_stride: usize,
    add: bool,
) {
    let (rows, cols) = (left.rows, right.cols);
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(
        cols <= out_stride && (rows - 1) * out_stride + cols <= out.len(),
        "{rows} x {cols} results every {out_stride} in {} values",
        out.len()
    );
    into_pointer(left, right, factor, out.as_mut_ptr(), out_stride, add);
}

/// `factor * left · right` at `out`, or added to it, which the callers checked to have room for its rows every
/// `out_stride` values, and to hold values if `add`.
#[expect(unsafe_code, reason = "gemm takes pointers and strides")]
fn into_pointer<T: Scalar>(
    left: Strided<'_, T>,
    right: Strided<'_, T>,
    factor: T,
    out: *mut T,
    out_stride: usize,
    add: bool,
) {
    let depth = left.cols;
    assert_eq!(depth, right.rows, "the inner dimensions of a product");
    // SAFETY: the views were checked on construction to lie inside their slices and the result by the
    // callers, who borrow it uniquely, so it overlaps neither factor. It is not read unless `add`. A
    // factor without entries (depth 0) is never read.
    unsafe {
        gemm::gemm(
            left.rows,
            right.cols,
            depth,
            out,
            1,
            out_stride.cast_signed(),
            add,
            left.data.as_ptr(),
            left.col_stride.cast_signed(),
            left.row_stride.cast_signed(),
            right.data.as_ptr(),
            right.col_stride.cast_signed(),
            right.row_stride.cast_signed(),
            T::ONE,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `left · right` in contiguous rows, in parallel over blocks of rows.
///
/// # Panics
/// The shapes do not fit together.
#[expect(
    unsafe_code,
    reason = "zeros nobody reads would be a pass over the result"
)]
pub fn product(left: Strided<'_>, right: Strided<'_>) -> Vec<f32> {
    let size = left.rows * right.cols;
    let mut out: Vec<f32> = Vec::with_capacity(size);
    if size > 0 {
        out.spare_capacity_mut()[..size]
            .par_chunks_mut(TASK_ROWS * right.cols)
            .enumerate()
            .for_each(|(task, out)| {
                let from = task * TASK_ROWS;
                let rows = left.slice_rows(from, from + out.len() / right.cols);
                into_pointer(rows, right, 1.0, out.as_mut_ptr().cast(), right.cols, false);
            });
    }
    // SAFETY: the tasks together wrote all `size` values, each its rows.
    unsafe { out.set_len(size) };
    out
}

/// `out += left · right` into contiguous rows, in parallel over blocks of rows.
///
/// # Panics
/// The shapes do not fit together.
pub fn add_product(left: Strided<'_>, right: Strided<'_>, out: &mut [f32]) {
    assert_eq!(out.len(), left.rows * right.cols, "size of the result");
    if right.cols == 0 {
        return;
    }
    out.par_chunks_mut(TASK_ROWS * right.cols)
        .enumerate()
        .for_each(|(task, out)| {
            let from = task * TASK_ROWS;
            let rows = left.slice_rows(from, from + out.len() / right.cols);
            multiply(rows, right, out, right.cols, true);
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(length: usize, frequency: f32) -> Vec<f32> {
        (0..length).map(|i| (i as f32 * frequency).sin()).collect()
    }

    #[test]
    fn every_orientation_equals_the_definition() {
        for (rows, cols, depth) in [(1, 1, 1), (5, 7, 3), (33, 20, 70), (1, 9, 40), (40, 1, 9)] {
            let (a, b) = (wave(rows * depth, 0.37), wave(depth * cols, 0.91));
            let (a_t, b_t): (Vec<f32>, Vec<f32>) = (
                (0..rows * depth)
                    .map(|i| a[i % rows * depth + i / rows])
                    .collect(),
                (0..depth * cols)
                    .map(|i| b[i % depth * cols + i / depth])
                    .collect(),
            );
            let expected: Vec<f64> = (0..rows * cols)
                .map(|i| {
                    (0..depth)
                        .map(|k| {
                            f64::from(a[i / cols * depth + k]) * f64::from(b[k * cols + i % cols])
                        })
                        .sum()
                })
                .collect();
            let lefts = [
                Strided::row_major(&a, depth),
                Strided::row_major(&a_t, rows).transposed(),
            ];
            let rights = [
                Strided::row_major(&b, cols),
                Strided::row_major(&b_t, depth).transposed(),
            ];
            for left in lefts {
                for right in rights {
                    let mut out = vec![2.0; rows * cols];
                    multiply(left, right, &mut out, cols, false);
                    for (found, expected) in out.iter().zip(&expected) {
                        assert!((f64::from(*found) - expected).abs() < 1e-5);
                    }
                    multiply(left, right, &mut out, cols, true);
                    for (found, expected) in out.iter().zip(&expected) {
                        assert!((f64::from(*found) - 2.0 * expected).abs() < 1e-5);
                    }
                }
            }
        }
    }

    // More rows than one task takes.
    #[test]
    fn the_split_over_tasks_changes_no_bit() {
        let (rows, cols, depth) = (2 * TASK_ROWS + 100, 48, 700);
        let (a, b) = (wave(rows * depth, 0.37), wave(depth * cols, 0.91));
        let (left, right) = (Strided::row_major(&a, depth), Strided::row_major(&b, cols));
        let mut whole = vec![0.0; rows * cols];
        multiply(left, right, &mut whole, cols, false);
        assert_eq!(whole, product(left, right));
        let mut added = vec![0.0; rows * cols];
        add_product(left, right, &mut added);
        assert_eq!(whole, added);
        let empty = Strided::row_major(&a[..0], 1);
        assert!(product(empty, Strided::row_major(&b[..3], 3)).is_empty());
    }

    // Compiled without optimisation, the crate that multiplies f64 is right and takes fifty times as long; nothing but a
    // clock notices.
    #[cfg(not(debug_assertions))]
    #[test]
    fn f64_takes_a_few_times_as_long_as_f32() {
        fn fastest<T: Scalar>(values: &[T], side: usize) -> f64 {
            let factor = Strided::row_major(values, side);
            let mut out = values.to_vec();
            let times = (0..7).map(|_| {
                let start = std::time::Instant::now();
                multiply(factor, factor, &mut out, side, false);
                start.elapsed().as_secs_f64()
            });
            times.fold(f64::INFINITY, f64::min)
        }
        let side = 320;
        let single = wave(side * side, 0.37);
        let double: Vec<f64> = single.iter().map(|value| f64::from(*value)).collect();
        let ratio = fastest(&double, side) / fastest(&single, side);
        assert!(ratio < 10.0, "{ratio}");
    }
}
