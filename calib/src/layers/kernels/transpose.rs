//! Transposition.

use multiversion::multiversion;
use rayon::prelude::*;

/// Side of the squares that are turned in registers.
const TILE: usize = 16;
/// Rows of the result one task writes.
const TASK_ROWS: usize = 4 * TILE;

/// `[rows, cols]`, row-major, as `[cols, rows]`.
///
/// # Panics
/// `cols` does not divide the length of `matrix`.
pub fn transposed(matrix: &[f32], cols: usize) -> Vec<f32> {
    if matrix.is_empty() {
        return Vec::new();
    }
    assert!(
        matrix.len().is_multiple_of(cols),
        "rows of {cols} in {} values",
        matrix.len()
    );
    let rows = matrix.len() / cols;
    let mut out = vec![0.0; matrix.len()];
    out.par_chunks_mut(TASK_ROWS * rows)
        .enumerate()
        .for_each(|(task, out)| columns(matrix, cols, task * TASK_ROWS, out));
    out
}

/// Columns from `first` on become the rows of `out`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn columns(matrix: &[f32], cols: usize, first: usize, out: &mut [f32]) {
    let rows = matrix.len() / cols;
    let count = out.len() / rows;
    for column in (0..count).step_by(TILE) {
        let width = TILE.min(count - column);
        for row in (0..rows).step_by(TILE) {
            let height = TILE.min(rows - row);
            let source = &matrix[row * cols + first + column..];
            let target = &mut out[column * rows + row..];
            if width == TILE && height == TILE {
                square(source, cols, target, rows);
                continue;
            }
            for c in 0..width {
                for r in 0..height {
                    target[c * rows + r] = source[r * cols + c];
                }
            }
        }
    }
}

/// One whole square; the sizes are known, so it is turned by shuffles.
#[inline(always)]
fn square(source: &[f32], source_stride: usize, target: &mut [f32], target_stride: usize) {
    let mut turned = [[0.0_f32; TILE]; TILE];
    for r in 0..TILE {
        let row = &source[r * source_stride..][..TILE];
        for (turned, value) in turned.iter_mut().zip(row) {
            turned[r] = *value;
        }
    }
    for (c, turned) in turned.iter().enumerate() {
        target[c * target_stride..][..TILE].copy_from_slice(turned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_finds_its_place_whatever_the_remainders() {
        for (rows, cols) in [(1, 1), (16, 64), (17, 33), (3, 200), (200, 3), (65, 130)] {
            let matrix: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
            let out = transposed(&matrix, cols);
            let expected: Vec<f32> = (0..rows * cols)
                .map(|index| matrix[index % rows * cols + index / rows])
                .collect();
            assert_eq!(out, expected);
            assert_eq!(transposed(&out, rows), matrix);
        }
        assert!(transposed(&[], 5).is_empty());
    }
}
