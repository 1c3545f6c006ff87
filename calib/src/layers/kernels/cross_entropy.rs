//! Cross entropy of one position and its gradient.

use super::exponential::exp;
use super::lanes;
use multiversion::multiversion;

/// Values summed in f32 steps of one lane each before they join the f64 sum.
const LANES: usize = 16;

/// Turns `logits` into the gradient of their cross entropy with `target`, divided by `count`:
/// `(softmax - onehot) / count`; returns the cross entropy.
///
/// # Panics
/// `target` is beyond the last logit.
pub fn cross_entropy_gradient(logits: &mut [f32], target: usize, count: usize) -> f64 {
    let score = f64::from(logits[target]);
    let (highest, sum) = exponentials(logits);
    let scale = 1.0 / (sum * count as f64);
    let hit = (f64::from(logits[target]) - sum) * scale;
    scaled(logits, scale);
    logits[target] = narrow(hit);
    sum.ln() + f64::from(highest) - score
}

/// `exp(logit - highest)` in place; returns the highest logit and the sum. The sum is f64: its rounding
/// would be common to all gradients of the position.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn exponentials(logits: &mut [f32]) -> (f32, f64) {
    let highest = lanes::highest(logits);
    let mut sums = [0.0_f64; LANES];
    let (whole, rest) = logits.as_chunks_mut::<LANES>();
    for logits in whole {
        for (logit, sum) in logits.iter_mut().zip(&mut sums) {
            *logit = exponential_of_difference(*logit, highest);
            *sum += f64::from(*logit);
        }
    }
    for logit in rest {
        *logit = exponential_of_difference(*logit, highest);
        sums[0] += f64::from(*logit);
    }
    (highest, sums.iter().sum())
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn scaled(values: &mut [f32], scale: f64) {
    for value in values {
        *value = narrow(f64::from(*value) * scale);
    }
}

/// `exp(a - b)` to f32 precision: what rounding takes from the difference is put back, since an
/// error there is a relative error of the result.
#[inline(always)]
fn exponential_of_difference(a: f32, b: f32) -> f32 {
    let difference = a - b;
    let taken = difference - a;
    let lost = (a - (difference - taken)) - (b + taken);
    exp(difference) * (1.0 + lost)
}

#[expect(clippy::cast_possible_truncation, reason = "gradients are f32")]
#[inline(always)]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_definition_in_f64() {
        let (count, target) = (3, 20);
        for length in [21, 32, 1000] {
            let logits: Vec<f32> = (0..length).map(|i| (i as f32 * 0.7).sin() * 9.0).collect();
            let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
            let mut gradient = logits.clone();
            let loss = cross_entropy_gradient(&mut gradient, target, count);
            assert!((loss - (sum.ln() - f64::from(logits[target]))).abs() < 1e-6);
            for (index, (found, logit)) in gradient.iter().zip(&logits).enumerate() {
                let hit = f64::from(u8::from(index == target));
                let expected = (f64::from(*logit).exp() / sum - hit) / count as f64;
                assert!((f64::from(*found) - expected).abs() < 3e-7 * expected.abs());
            }
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_hidden() {
        let mut logits = [1.0, f32::NAN, 2.0];
        assert!(cross_entropy_gradient(&mut logits, 0, 1).is_nan());
        assert!(logits.iter().all(|x| x.is_nan()));
    }
}
