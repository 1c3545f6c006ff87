//! Marking the weights of one matrix that leave its dense part.

use super::order::order_statistics;

/// Marks the `floor(fraction * len)` largest values of `fisher` in `mask`; equal values leave by index,
/// lowest first. Weights of zero Fisher are never sensitive.
pub fn mark_sensitive(fisher: &[f32], fraction: f64, mask: &mut [bool]) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "fraction in 0..=1"
    )]
    let count = ((fraction * fisher.len() as f64).floor() as usize).min(fisher.len());
    if count == 0 {
        return;
    }
    let [limit] = order_statistics(fisher, [fisher.len() - count]);
    let above = fisher.iter().filter(|value| **value > limit).count();
    let mut ties = count - above;
    for (mark, &value) in mask.iter_mut().zip(fisher) {
        if value > limit {
            *mark = true;
        } else if value >= limit && value > 0.0 && ties > 0 {
            *mark = true;
            ties -= 1;
        }
    }
}

/// Marks the weights with `|w| >= threshold` in `mask`.
pub fn mark_magnitude(weight: &[f32], threshold: f64, mask: &mut [bool]) {
    for (mark, value) in mask.iter_mut().zip(weight) {
        *mark |= f64::from(value.abs()) >= threshold;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sensitive(fisher: &[f32], fraction: f64) -> Vec<bool> {
        let mut mask = vec![false; fisher.len()];
        mark_sensitive(fisher, fraction, &mut mask);
        mask
    }

    #[test]
    fn the_largest_fisher_leaves_and_ties_leave_by_index() {
        assert_eq!(
            sensitive(&[1.0, 5.0, 2.0, 9.0], 0.5),
            [false, true, false, true]
        );
        assert_eq!(
            sensitive(&[3.0, 3.0, 1.0, 3.0, 7.0], 0.6),
            [true, true, false, false, true]
        );
        // 0.24 * 4 < 1: nothing to take.
        assert_eq!(sensitive(&[1.0, 5.0, 2.0, 9.0], 0.24), [false; 4]);
        assert_eq!(sensitive(&[0.0, 0.0, 1.0], 1.0), [false, false, true]);
        assert_eq!(sensitive(&[], 0.5), [false; 0]);
    }

    #[test]
    fn magnitude_counts_the_limit_itself_and_keeps_earlier_marks() {
        let mut mask = [true, false, false, false];
        mark_magnitude(&[0.0, -2.0, 1.9, 2.0], 2.0, &mut mask);
        assert_eq!(mask, [true, true, false, true]);
    }
}
