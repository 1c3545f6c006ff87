//! How likely tokens were, by the logits as they came.

use super::exponentials::log_sum;

/// A token and the logarithm of its probability.
pub type Likelihood = (u32, f64);

/// The logarithm of the probability of `token`, and the `count` likeliest tokens, the likeliest first and of equals the lowest.
/// `None` where the logits are not finite, or have no such token.
pub fn likelihoods(logits: &[f32], token: u32, count: usize) -> Option<(f64, Vec<Likelihood>)> {
    let total = log_sum(logits)?;
    let of = |logit: f32| f64::from(logit) - total;
    let own = of(*logits.get(token as usize)?);
    let mut best: Vec<(u32, f32)> = (0_u32..).zip(logits.iter().copied()).collect();
    let order =
        |one: &(u32, f32), other: &(u32, f32)| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0));
    let count = count.min(best.len());
    if count == 0 {
        return Some((own, Vec::new()));
    }
    if count < best.len() {
        best.select_nth_unstable_by(count - 1, order);
        best.truncate(count);
    }
    best.sort_unstable_by(order);
    let best = best.into_iter().map(|(token, logit)| (token, of(logit)));
    Some((own, best.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Probabilities 0.1, 0.4, 0.4, 0.1.
    #[test]
    fn the_likeliest_come_first_and_of_equals_the_lowest() {
        let logits = [0.1_f32.ln(), 0.4_f32.ln(), 0.4_f32.ln(), 0.1_f32.ln()];
        let (own, best) = likelihoods(&logits, 3, 3).unwrap();
        assert!((own - 0.1_f64.ln()).abs() < 1e-6);
        let tokens: Vec<u32> = best.iter().map(|(token, _)| *token).collect();
        assert_eq!(tokens, [1, 2, 0]);
        assert!((best[0].1 - 0.4_f64.ln()).abs() < 1e-6);
        assert_eq!(likelihoods(&logits, 0, 0).unwrap().1, []);
        assert_eq!(likelihoods(&logits, 0, 9).unwrap().1.len(), 4);
        assert!(likelihoods(&logits, 4, 1).is_none());
        assert!(likelihoods(&[f32::NAN, 0.0], 0, 1).is_none());
    }
}
