//! Figures of merit on plain slices: ranks, correlations, quantiles, cosine, perplexity.
//!
//! Every sum is f64 and in index order.

/// `exp(nll / tokens)`: perplexity per token, from a summed negative log-likelihood in nats.
///
/// NaN when no token was scored.
pub fn perplexity(nll: f64, tokens: f64) -> f64 {
    (nll / tokens).exp()
}

/// Mean of `values`; NaN for none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Ranks from 1, ties share the mean of the ranks they cover (`scipy.stats.rankdata`, `average`).
pub fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let value = values[order[start]];
        let same = order[start..]
            .iter()
            .take_while(|&&at| values[at] <= value)
            .count()
            .max(1);
        // The mean of the ranks start+1 ..= start+same.
        let rank = start as f64 + f64::midpoint(1.0, same as f64);
        for &at in &order[start..start + same] {
            ranks[at] = rank;
        }
        start += same;
    }
    ranks
}

/// Pearson correlation; `None` where either side is constant or has fewer than two values.
///
/// # Panics
/// When the lengths differ.
pub fn pearson(left: &[f64], right: &[f64]) -> Option<f64> {
    assert_eq!(left.len(), right.len(), "paired samples");
    let (left_mean, right_mean) = (mean(left), mean(right));
    let (mut cross, mut left_square, mut right_square) = (0.0, 0.0, 0.0);
    for (l, r) in left.iter().zip(right) {
        let (l, r) = (l - left_mean, r - right_mean);
        cross += l * r;
        left_square += l * l;
        right_square += r * r;
    }
    let norm = left_square.sqrt() * right_square.sqrt();
    (norm > 0.0).then(|| cross / norm)
}

/// Spearman rank correlation with average ranks for ties, in `-1..=1`; `None` as [`pearson`].
///
/// # Panics
/// When the lengths differ.
pub fn spearman(left: &[f64], right: &[f64]) -> Option<f64> {
    pearson(&average_ranks(left), &average_ranks(right))
}

/// Quantile `q` in `0..=1` of ascending `sorted`, linear between neighbours (numpy's default).
///
/// NaN for no values.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position inside the slice"
)]
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let share = position - below as f64;
    sorted[below] + share * (sorted[above] - sorted[below])
}

/// Cosine of the angle between two vectors; 0 when either is zero.
///
/// # Panics
/// When the lengths differ.
pub fn cosine(left: &[f32], right: &[f32]) -> f64 {
    assert_eq!(left.len(), right.len(), "vectors of one space");
    let (mut dot, mut left_square, mut right_square) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (&l, &r) in left.iter().zip(right) {
        let (l, r) = (f64::from(l), f64::from(r));
        dot += l * r;
        left_square += l * l;
        right_square += r * r;
    }
    let norm = left_square.sqrt() * right_square.sqrt();
    if norm > 0.0 { dot / norm } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64, tolerance: f64) -> bool {
        (a - b).abs() <= tolerance
    }

    #[test]
    fn ties_share_their_mean_rank() {
        // sorted: 1 (rank 1), 2 2 (2, 3 -> 2.5), 5 5 5 (4, 5, 6 -> 5)
        let ranks = average_ranks(&[5.0, 2.0, 5.0, 1.0, 2.0, 5.0]);
        assert!(
            ranks
                .iter()
                .zip([5.0, 2.5, 5.0, 1.0, 2.5, 5.0])
                .all(|(a, b)| close(*a, b, 0.0))
        );
        assert!(average_ranks(&[]).is_empty());
    }

    #[test]
    fn spearman_with_ties_equals_the_value_worked_by_hand() {
        // x = 1 2 3 4 5 (ranks the same), y = 5 6 7 8 7 -> ranks 1 2 3.5 5 3.5.
        // dx = -2 -1 0 1 2; dy = -2 -1 .5 2 .5; cross = 4+1+0+2+1 = 8
        // sum dx^2 = 10; sum dy^2 = 4+1+.25+4+.25 = 9.5; rho = 8 / sqrt(95)
        let rho = spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5.0, 6.0, 7.0, 8.0, 7.0]).unwrap();
        assert!(close(rho, 8.0 / 95.0_f64.sqrt(), 1e-15));
        assert_eq!(spearman(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(spearman(&[1.0], &[2.0]), None);
    }

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        // numpy.quantile([1, 2, 3, 4], .99) = 3.97
        let values = [1.0, 2.0, 3.0, 4.0];
        assert!(close(quantile(&values, 0.99), 3.97, 1e-12));
        assert!(close(quantile(&values, 0.0), 1.0, 0.0));
        assert!(close(quantile(&values, 1.0), 4.0, 0.0));
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn cosine_and_perplexity_by_hand() {
        assert!(close(cosine(&[3.0, 4.0], &[4.0, 3.0]), 24.0 / 25.0, 1e-15));
        assert!(close(cosine(&[0.0, 0.0], &[4.0, 3.0]), 0.0, 0.0));
        // Two tokens of probability 1/4: perplexity 4.
        assert!(close(perplexity(2.0 * 4.0_f64.ln(), 2.0), 4.0, 1e-12));
    }

    proptest! {
        #[test]
        fn ranks_sum_to_n_n_plus_1_over_2(values in prop::collection::vec(0_u8..9, 0..60)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let n = values.len() as f64;
            prop_assert!(close(average_ranks(&values).iter().sum(), n * (n + 1.0) / 2.0, 1e-9));
        }

        #[test]
        fn spearman_sees_order_only(values in prop::collection::vec(-8_i16..8, 3..40)) {
            let left: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            let monotone: Vec<f64> = left.iter().map(|v| (v / 4.0).exp()).collect();
            if let Some(rho) = spearman(&left, &monotone) {
                prop_assert!(close(rho, 1.0, 1e-12));
            }
        }
    }
}
