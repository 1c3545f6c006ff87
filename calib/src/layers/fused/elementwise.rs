//! Long slices cut into tasks.

use rayon::prelude::*;

/// Values one task handles: enough to be worth a task, little enough to stay in a core's cache.
const TASK: usize = 1 << 15;

/// Calls `body(from, part)` in parallel for parts of `out` that are whole rows of `width` values and start at
/// value `from`.
pub(super) fn for_each_part(
    out: &mut [f32],
    width: usize,
    body: impl Fn(usize, &mut [f32]) + Sync,
) {
    let part = (TASK / width).max(1) * width;
    out.par_chunks_mut(part)
        .enumerate()
        .for_each(|(index, out)| body(index * part, out));
}

/// As [`for_each_part`] for two outputs of equal length.
pub(super) fn for_each_part_of_two(
    first: &mut [f32],
    second: &mut [f32],
    body: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    first
        .par_chunks_mut(TASK)
        .zip(second.par_chunks_mut(TASK))
        .enumerate()
        .for_each(|(index, (first, second))| body(index * TASK, first, second));
}
