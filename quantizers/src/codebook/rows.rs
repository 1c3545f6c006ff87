//! One codebook per row of a matrix, rows in parallel.

use super::{Row, Solver, assign};
use crate::MatrixRef;
use crate::methods::QuantizeError;
use crate::tensor::Codebook;
use half::f16;
use rayon::prelude::*;

/// Gives every row of `weight` the codebook of `2^bits` f16 entries with the least weighted squared
/// error, and every weight the index of its nearest entry.
///
/// `importance` `[rows, cols]` weighs the squared errors (absent: equally); weights marked in `removed`
/// `[rows * cols]` do not influence the tables. The result does not depend on the number of threads.
/// `weight` must be finite, `importance` also not negative.
///
/// # Errors
/// A weight outside the range of f16 that has not been removed.
///
/// # Panics
/// When `bits` is not in `1..=8`, or shapes disagree.
pub fn fit_rows(
    weight: MatrixRef<'_>,
    importance: Option<MatrixRef<'_>>,
    removed: Option<&[bool]>,
    bits: u8,
) -> Result<Codebook, QuantizeError> {
    assert!((1..=8).contains(&bits), "an index has 1 to 8 bits");
    let (rows, cols, entries) = (weight.rows(), weight.cols(), 1 << bits);
    let limit = f16::MAX.to_f32();
    let kept = |at: usize| removed.is_none_or(|mask| !mask[at]);
    if let Some(at) = weight
        .data()
        .iter()
        .enumerate()
        .position(|(at, w)| w.abs() > limit && kept(at))
    {
        return Err(QuantizeError::HalfRange {
            row: at / cols,
            col: at % cols,
            value: weight.data()[at],
        });
    }
    let mut indices = vec![0; rows * cols];
    let mut tables = vec![f16::ZERO; rows * entries];
    if cols > 0 {
        let work = indices
            .par_chunks_mut(cols)
            .zip(tables.par_chunks_mut(entries))
            .enumerate();
        work.for_each_init(Solver::default, |solver, (row, (indices, table))| {
            let values = weight.row(row);
            let points = Row {
                values,
                weights: importance.map(|importance| importance.row(row)),
                removed: removed.map(|mask| &mask[row * cols..][..cols]),
            };
            solver.table(points, table);
            assign(values, table, indices);
        });
    }
    Ok(Codebook {
        bits,
        indices,
        tables,
        scales: None,
    })
}
