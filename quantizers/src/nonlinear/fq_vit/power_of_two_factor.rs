//! Power-of-two factor: one scale for a `LayerNorm` input, and a power of two of it per channel.

use std::ops::Range;

/// Powers of two between the finest and the coarsest scale.
const POWERS: i32 = 3;
/// Largest code.
const LARGEST: f64 = 255.0;

/// Scales `[width]` and the zero point for 8-bit codes of `rows`, `[samples, width]`.
///
/// `s = (max - min) / 255` and `zero point = round(-min / s)` are those of the whole tensor; each
/// channel takes the one of `s/8`, `s/4`, `s/2`, `s` with the smallest squared error, all with that
/// zero point, and the finest of equals. The range always includes zero, as the grid must.
///
/// # Panics
/// When `width` is zero or does not divide the length of `rows`.
pub fn power_of_two_factors(rows: &[f32], width: usize) -> (Vec<f64>, i32) {
    assert!(
        width > 0 && rows.len().is_multiple_of(width),
        "{} values in rows of {width}",
        rows.len()
    );
    let range = range(rows);
    // A tensor of zeros needs some scale.
    let coarsest = ((range.end - range.start) / LARGEST).max(f64::from(f32::EPSILON));
    let zero_point = (-range.start / coarsest)
        .round_ties_even()
        .clamp(0.0, LARGEST);
    let scales = (0..width)
        .map(|channel| {
            let values = || rows.iter().skip(channel).step_by(width);
            let mut best = (f64::INFINITY, coarsest);
            for power in (0..=POWERS).rev() {
                let scale = coarsest / f64::from(1 << power);
                let error = values()
                    .map(|value| squared_error(f64::from(*value), scale, zero_point))
                    .sum();
                if error < best.0 {
                    best = (error, scale);
                }
            }
            best.1
        })
        .collect();
    #[expect(clippy::cast_possible_truncation, reason = "0 to 255")]
    let zero_point = zero_point as i32;
    (scales, zero_point)
}

fn range(rows: &[f32]) -> Range<f64> {
    let values = rows.iter().map(|value| f64::from(*value));
    values.fold(0.0..0.0, |range, value| {
        range.start.min(value)..range.end.max(value)
    })
}

fn squared_error(value: f64, scale: f64, zero_point: f64) -> f64 {
    let code = (value / scale).round_ties_even() + zero_point;
    let back = (code.clamp(0.0, LARGEST) - zero_point) * scale;
    (value - back).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_channel_takes_the_finest_scale_and_the_widest_the_coarsest() {
        // Columns of magnitude 8, 4, 2, 1 and 0.1.
        let magnitudes = [8.0_f32, 4.0, 2.0, 1.0, 0.1];
        let rows: Vec<f32> = [-1.0, -0.6, -0.21, 0.0, 0.33, 0.7, 1.0]
            .iter()
            .flat_map(|x: &f32| magnitudes.map(|m| m * x))
            .collect();
        let (scales, zero_point) = power_of_two_factors(&rows, 5);
        let coarsest = 16.0 / 255.0;
        assert_eq!(zero_point, 128);
        let powers: Vec<f64> = scales.iter().map(|scale| coarsest / scale).collect();
        assert_eq!(powers, [1.0, 2.0, 4.0, 8.0, 8.0]);
    }

    #[test]
    fn zeros_have_a_scale() {
        let (scales, zero_point) = power_of_two_factors(&[0.0; 6], 3);
        assert_eq!(zero_point, 0);
        assert!(scales.iter().all(|scale| *scale > 0.0));
    }
}
