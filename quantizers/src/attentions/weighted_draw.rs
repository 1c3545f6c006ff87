//! Drawing keys with given probabilities, with replacement.

use super::hashed::Sample;
use super::random::Random;
use std::ops::Range;

/// Draws `count` of `keys`; `probabilities` need not sum to 1. A key drawn with probability `p` stands for
/// `1 / (count p)` keys, which makes sums over the sample unbiased.
pub(super) fn draw(
    keys: Range<usize>,
    probabilities: &[f64],
    count: usize,
    random: &mut Random,
) -> Sample {
    let mut ends = Vec::with_capacity(probabilities.len());
    let mut total = 0.0;
    for probability in probabilities {
        total += probability;
        ends.push(total);
    }
    let mut sample = Sample {
        positions: Vec::with_capacity(count),
        log_weights: Vec::with_capacity(count),
        skips_covered: true,
    };
    for _ in 0..count {
        let drawn = random.uniform() * total;
        let at = ends
            .partition_point(|end| *end <= drawn)
            .min(ends.len() - 1);
        let weight = total / (probabilities[at] * count as f64);
        if let Ok(position) = u32::try_from(keys.start + at) {
            #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
            let log_weight = weight.ln() as f32;
            sample.positions.push(position);
            sample.log_weights.push(log_weight);
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_sample_sum_to_the_number_of_keys_on_average() {
        let mut random = Random::new(1, "test", 0, 0);
        let probabilities = [4.0, 1.0, 1.0, 2.0];
        let (mut total, mut third) = (0.0, 0.0);
        let draws = 2000;
        for _ in 0..draws {
            let sample = draw(10..14, &probabilities, 3, &mut random);
            assert_eq!(sample.positions.len(), 3);
            for (position, weight) in sample.positions.iter().zip(&sample.log_weights) {
                total += f64::from(weight.exp()) / f64::from(draws);
                third += f64::from(weight.exp()) * f64::from(u8::from(*position == 12))
                    / f64::from(draws);
            }
        }
        assert!((total - 4.0).abs() < 0.15, "{total}");
        assert!((third - 1.0).abs() < 0.15, "{third}");
    }
}
