//! The sparse part: what is added to the dense part where a weight has left it.

use crate::MatrixRef;
use crate::methods::QuantizeError;
use crate::tensor::{Codebook, Csr};
use half::f16;

/// Takes the marked weights out of `codebook` into compressed sparse rows.
///
/// Decoders add: `w = entry + value`, the entry times the scale of its group where there are scales. A marked
/// position is first given the entry nearest 0; where f16 cannot hold `w - entry` exactly, the entry with the
/// smallest `|entry + value - w|` is taken instead.
///
/// # Errors
/// More outliers, or wider rows, than 32-bit indices can count; a marked weight that no entry and f16
/// add up to.
pub fn extract(
    weight: MatrixRef<'_>,
    mask: &[bool],
    codebook: &mut Codebook,
) -> Result<Csr, QuantizeError> {
    let (rows, cols) = (weight.rows(), weight.cols());
    let index = |count: usize| u32::try_from(count).map_err(|_| QuantizeError::TooLarge { count });
    let mut csr = Csr {
        row_pointers: vec![0],
        ..Csr::default()
    };
    for row in 0..rows {
        let values = weight.row(row);
        let size = codebook.group_size(cols);
        for (group, start) in (0..cols).step_by(size).enumerate() {
            let marked = &mask[row * cols + start..row * cols + (start + size).min(cols)];
            if !marked.contains(&true) {
                continue;
            }
            let table = codebook.values_of(row, group, (rows, cols));
            let zero = nearest_zero(&table);
            for col in (start..)
                .zip(marked)
                .filter_map(|(col, mark)| mark.then_some(col))
            {
                let value = values[col];
                let (entry, rest) = split(value, &table, zero).ok_or(QuantizeError::HalfRange {
                    row,
                    col,
                    value,
                })?;
                codebook.indices[row * cols + col] = entry;
                csr.columns.push(index(col)?);
                csr.values.push(rest);
            }
        }
        csr.row_pointers.push(index(csr.columns.len())?);
    }
    Ok(csr)
}

/// Index of the entry of `table` nearest 0; the lowest of equals.
fn nearest_zero(table: &[f32]) -> u8 {
    let magnitudes = (0_u8..=u8::MAX).zip(table.iter().map(|entry| entry.abs()));
    let nearest = magnitudes.min_by(|a, b| a.1.total_cmp(&b.1));
    nearest.map_or(0, |(index, _)| index)
}

/// `value` as an index into `table` and the f16 to add to its entry; nothing where none is in range.
fn split(value: f32, table: &[f32], preferred: u8) -> Option<(u8, f16)> {
    let part = |index: u8| {
        let entry = table[usize::from(index)];
        let rest = f16::from_f32(value - entry);
        let error = (f64::from(entry + rest.to_f32()) - f64::from(value)).abs();
        (
            index,
            rest,
            if rest.is_finite() {
                error
            } else {
                f64::INFINITY
            },
        )
    };
    let mut best = part(preferred);
    for (index, _) in (0_u8..=u8::MAX).zip(table) {
        if best.2 <= 0.0 {
            break;
        }
        let other = part(index);
        if other.2 < best.2 {
            best = other;
        }
    }
    best.2.is_finite().then_some((best.0, best.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_are_relative_to_the_entry_nearest_zero() {
        let mut codebook = Codebook {
            bits: 1,
            indices: vec![0, 1, 1, 0, 1, 0],
            tables: [-1.0, 0.5, 0.25, 2.0].map(f16::from_f32).to_vec(),
            scales: None,
        };
        let weight = [-1.0, 0.5, 4.0, 8.0, 2.0, 0.25];
        let weight = MatrixRef::new(&weight, 2, 3).unwrap();
        let mask = [false, false, true, true, false, false];
        let csr = extract(weight, &mask, &mut codebook).unwrap();
        assert_eq!(csr.row_pointers, [0, 1, 2]);
        assert_eq!(csr.columns, [2, 0]);
        assert_eq!(csr.values, [3.5, 7.75].map(f16::from_f32));
        assert_eq!(codebook.indices, [0, 1, 1, 0, 1, 0]);
    }

    #[test]
    fn another_entry_is_taken_where_it_is_closer() {
        // 2049 - 0.5 needs 13 significant bits; 2049 - 1 = 2048 is exact.
        let table = [0.5, 1.0];
        assert_eq!(
            split(2049.0, &table, nearest_zero(&table)),
            Some((1, f16::from_f32(2048.0)))
        );
        // The difference to the entry nearest zero does not fit f16.
        let table = [-1.0, 60000.0];
        let fits = Some((1, f16::from_f32(65536.0 - 60000.0)));
        assert_eq!(split(65536.0, &table, nearest_zero(&table)), fits);
        assert_eq!(split(2e5, &table, 0), None);
    }
}
