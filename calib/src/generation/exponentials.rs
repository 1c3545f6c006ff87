//! From logits to probabilities and their logarithms, a whole vocabulary at a time.

use crate::layers::kernels::exponential::exp;
use multiversion::multiversion;

/// Exponentials that are made before they are added.
const LANES: usize = 64;

/// `ln sum exp` of `logits`, where that is a number.
pub(super) fn log_sum(logits: &[f32]) -> Option<f64> {
    let most = largest(logits);
    let total = f64::from(most) + sum(logits, most).ln();
    total.is_finite().then_some(total)
}

/// The largest of those that are numbers.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn largest(values: &[f32]) -> f32 {
    let larger = |most: f32, value: f32| if value > most { value } else { most };
    let mut most = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (most, value) in most.iter_mut().zip(chunk) {
            *most = larger(*most, *value);
        }
    }
    let all = most.iter().chain(rest);
    all.fold(f32::NEG_INFINITY, |most, value| larger(most, *value))
}

/// `sum exp(logit - most)`, in an order of its own.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn sum(logits: &[f32], most: f32) -> f64 {
    let mut sums = [0.0_f64; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, logit) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(exp(logit - most));
        }
    }
    let rest: f64 = rest.iter().map(|logit| f64::from(exp(logit - most))).sum();
    sums.iter().sum::<f64>() + rest
}

/// Makes of every value its exponential.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn exponentials(values: &mut [f32]) {
    for value in values {
        *value = exp(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_definition() {
        let logits: Vec<f32> = (0..1000_u16)
            .map(|at| f32::from(at * 37 % 101) / 7.0 - 5.0)
            .collect();
        let exact: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        assert!((log_sum(&logits).unwrap() - exact.ln()).abs() < 1e-6);
        assert_eq!(
            largest(&logits).to_bits(),
            (100.0_f32 / 7.0 - 5.0).to_bits()
        );
        assert!(log_sum(&[0.0, f32::NAN]).is_none());
        assert!(log_sum(&[f32::NEG_INFINITY; 3]).is_none());
        assert!((log_sum(&[f32::NEG_INFINITY, 2.0]).unwrap() - 2.0).abs() < 1e-9);
    }
}
