//! From exact centroids to what the file holds: an ascending f16 table, and one index per weight.

use super::moments::Moments;
use half::f16;

/// Rounding sweeps at most; each never raises the error, and two or three settle it.
const SWEEPS: usize = 8;

/// The f16 nearest `value` (ties to even). The conversions of the `half` crate go through f32 on some
/// machines, which rounds twice.
pub(crate) fn nearest_f16(value: f64) -> f16 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a first guess, corrected below"
    )]
    let guess = f16::from_f32(value as f32).to_bits();
    let (sign, magnitude) = (guess & 0x8000, guess & 0x7fff);
    let largest = f16::MAX.to_bits();
    let magnitude = magnitude.min(largest);
    let mut best = f16::from_bits(sign | magnitude);
    let distance = |candidate: f16| (candidate.to_f64() - value).abs();
    for near in [magnitude.saturating_sub(1), (magnitude + 1).min(largest)] {
        let near = f16::from_bits(sign | near);
        let closer = distance(near).total_cmp(&distance(best));
        if closer.is_lt() || (closer.is_eq() && near.to_bits() & 1 == 0) {
            best = near;
        }
    }
    if best.to_bits() == 0x8000 {
        f16::ZERO
    } else {
        best
    }
}

/// Rounds `centroids` (ascending) to f16, then moves each entry to the f16 nearest the mean of the
/// points nearest it, as long as one moves. For given points the weighted error of an entry is a
/// parabola around their mean, so no step raises the error of the row.
/// `points` and `moments` are relative to `shift`. Surplus entries repeat the last one.
pub(super) fn round_table(
    centroids: &[f64],
    moments: &Moments,
    points: &[f64],
    shift: f64,
    table: &mut [f16],
) {
    let mut last = f16::ZERO;
    for (q, entry) in table.iter_mut().enumerate() {
        last = centroids
            .get(q)
            .map_or(last, |&centroid| nearest_f16(centroid));
        *entry = last;
    }
    for _ in 0..SWEEPS {
        let mut moved = false;
        let mut start = 0;
        for q in 0..table.len() {
            let end = table.get(q + 1).map_or(points.len(), |next| {
                let middle = 0.5 * (table[q].to_f64() + next.to_f64()) - shift;
                start + points[start..].partition_point(|&x| x <= middle)
            });
            if let Some(mean) = moments.mean(start, end) {
                let entry = nearest_f16(mean + shift);
                // Means of ascending runs ascend, so the table stays sorted.
                moved |= entry != table[q];
                table[q] = entry;
            }
            start = end;
        }
        if !moved {
            break;
        }
    }
}

/// Index of the entry of `table` (ascending) nearest each value; half-way between two, the lower one.
pub fn assign(values: &[f32], table: &[f16], indices: &mut [u8]) {
    const BLOCK: usize = 64;
    let mut room = [0.0; 255];
    let thresholds = &mut room[..table.len() - 1];
    set_thresholds(table, thresholds);
    for (values, indices) in values.chunks(BLOCK).zip(indices.chunks_mut(BLOCK)) {
        indices.fill(0);
        for &threshold in thresholds.iter() {
            for (index, &value) in indices.iter_mut().zip(values) {
                *index += u8::from(value > threshold);
            }
        }
    }
}

/// The values above which the next entry of `table` (ascending) is nearer, one fewer than entries.
pub(crate) fn set_thresholds(table: &[f16], thresholds: &mut [f32]) {
    for (threshold, pair) in thresholds.iter_mut().zip(table.windows(2)) {
        *threshold = floor_f32(0.5 * (pair[0].to_f64() + pair[1].to_f64()));
    }
}

/// The largest f32 not above `value`; an f32 exceeds one exactly when it exceeds the other.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
fn floor_f32(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value {
        near.next_down()
    } else {
        near
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Row, Solver};
    use super::*;
    use crate::codebook::tests::squared_error;
    use proptest::prelude::*;

    #[test]
    fn values_half_way_take_the_lower_entry() {
        let table = [-1.0, 0.0, 0.5, 0.5].map(f16::from_f32);
        let mut indices = [9; 5];
        assign(&[-7.0, -0.5, 0.25, 0.250_001, 9.0], &table, &mut indices);
        // Above the middle of two equal entries the second one counts.
        assert_eq!(indices, [0, 0, 1, 2, 3]);
    }

    #[test]
    fn out_of_range_saturates_and_zero_has_no_sign() {
        assert_eq!(nearest_f16(1e9), f16::MAX);
        assert_eq!(nearest_f16(-1e9), f16::MIN);
        assert_eq!(nearest_f16(-1e-12).to_bits(), 0);
    }

    proptest! {
        #[test]
        fn nearest_f16_has_no_nearer_neighbour(value in -70000.0_f64..70000.0, scale in -30..1_i32) {
            let value = value * f64::from(scale).exp2();
            let found = nearest_f16(value);
            for bits in (0..=0x7bff_u16).flat_map(|bits| [bits, bits | 0x8000]) {
                let other = f16::from_bits(bits).to_f64();
                prop_assert!((found.to_f64() - value).abs() <= (other - value).abs());
            }
        }

        #[test]
        fn assigned_entries_are_nearest(
            mut table in prop::collection::vec(-2.0_f32..2.0, 1..40),
            values in prop::collection::vec(-3.0_f32..3.0, 0..200),
        ) {
            table.sort_by(f32::total_cmp);
            let table: Vec<f16> = table.into_iter().map(f16::from_f32).collect();
            let mut indices = vec![0; values.len()];
            assign(&values, &table, &mut indices);
            for (&value, &index) in values.iter().zip(&indices) {
                let distance = |entry: &f16| (entry.to_f64() - f64::from(value)).abs();
                let best = table.iter().map(distance).fold(f64::INFINITY, f64::min);
                prop_assert!(distance(&table[usize::from(index)]) <= best);
            }
        }

        #[test]
        fn tables_are_ascending_and_no_worse_than_plain_rounding(
            points in prop::collection::vec((-1.0_f32..1.0, 0.0_f32..4.0), 1..200),
            bits in 1_u32..5,
            scale in prop_oneof![Just(1.0_f32), Just(1e-6), Just(30000.0)],
        ) {
            let (values, weights): (Vec<f32>, Vec<f32>) =
                points.into_iter().map(|(v, w)| (v * scale, w)).unzip();
            let row = Row { values: &values, weights: Some(&weights), removed: None };
            let mut solver = Solver::default();
            let rounded: Vec<f64> =
                solver.solve(row, 1 << bits).centroids.iter().map(|c| nearest_f16(*c).to_f64()).collect();
            let mut table = vec![f16::ZERO; 1 << bits];
            solver.table(row, &mut table);
            let table: Vec<f64> = table.into_iter().map(f16::to_f64).collect();
            prop_assert!(table.is_sorted());
            let (plain, found) =
                (squared_error(&values, &weights, &rounded), squared_error(&values, &weights, &table));
            prop_assert!(found <= plain * (1.0 + 1e-12), "{} {}", found, plain);
        }
    }
}
