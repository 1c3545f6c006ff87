//! Rows of values, one after the other.

/// Adds `row` to each of `rows`, which are as wide.
pub fn add_to_rows(row: &[f32], rows: &mut [f32]) {
    for all in rows.chunks_exact_mut(row.len().max(1)) {
        add(row, all);
    }
}

/// Multiplies each of `rows` by `row`, which is as wide.
pub fn multiply_rows(row: &[f32], rows: &mut [f32]) {
    for all in rows.chunks_exact_mut(row.len().max(1)) {
        for (value, factor) in all.iter_mut().zip(row) {
            *value *= factor;
        }
    }
}

/// Multiplies all values by `factor`.
#[expect(clippy::cast_possible_truncation, reason = "rows are f32")]
pub fn scale_rows(factor: f64, rows: &mut [f32]) {
    let factor = factor as f32;
    for value in rows {
        *value *= factor;
    }
}

/// Adds `more` to `values`, one by one.
pub fn add(more: &[f32], values: &mut [f32]) {
    for (value, more) in values.iter_mut().zip(more) {
        *value += more;
    }
}
