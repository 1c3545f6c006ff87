//! The largest and smallest values of a token, found without sorting it.

use super::found::reaching;
use multiversion::multiversion;

/// Columns in which a token is folded.
const LANES: usize = 32;

/// Room for the candidates of a tail, kept between tokens.
#[derive(Debug, Default)]
pub(super) struct Extremes {
    folded: Vec<f32>,
    candidates: Vec<(f32, usize)>,
}

impl Extremes {
    /// The `count` largest of `values`, `(value, index)`, the largest first, of equal ones the first first; fewer
    /// where there are fewer.
    pub(super) fn largest(&mut self, values: &[f32], count: usize) -> &[(f32, usize)] {
        self.find(values, count, 1.0)
    }

    /// The `count` smallest, with their signs changed.
    pub(super) fn smallest(&mut self, values: &[f32], count: usize) -> &[(f32, usize)] {
        self.find(values, count, -1.0)
    }

    fn find(&mut self, values: &[f32], count: usize, sign: f32) -> &[(f32, usize)] {
        self.candidates.clear();
        if count == 0 {
            return &self.candidates;
        }
        // The largest of each of at least `count` disjoint parts: the least of the `count` largest of these is
        // reached by `count` values at least, and few others reach it.
        let parts = (4 * count).next_multiple_of(LANES);
        let bound = if parts < values.len() {
            self.folded.clear();
            self.folded.resize(parts, f32::NEG_INFINITY);
            fold(values, sign, &mut self.folded);
            let (_, bound, _) = self
                .folded
                .select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
            *bound
        } else {
            f32::NEG_INFINITY
        };
        reaching(values, sign, bound, &mut self.candidates);
        self.candidates
            .sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.candidates.truncate(count);
        &self.candidates
    }
}

/// The largest value of each residue class of indices.
#[multiversion(targets("x86_64+avx2"))]
fn fold(values: &[f32], sign: f32, largest: &mut [f32]) {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let (parts, _) = largest.as_chunks_mut::<LANES>();
    let count = parts.len();
    for (at, part) in parts.iter_mut().enumerate() {
        let mut most = *part;
        for block in blocks.iter().skip(at).step_by(count) {
            most = std::array::from_fn(|lane| {
                let value = sign * block[lane];
                if value > most[lane] {
                    value
                } else {
                    most[lane]
                }
            });
        }
        *part = most;
    }
    for (largest, value) in parts[blocks.len() % count].iter_mut().zip(rest) {
        *largest = largest.max(sign * value);
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "values are found, not computed")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_are_the_ends_of_the_sorted_values(
            values in proptest::collection::vec((-40i8..40).prop_map(|x| f32::from(x) / 7.0), 0..600),
            count in 0usize..30,
        ) {
            let mut sorted: Vec<(f32, usize)> = values.iter().copied().zip(0..).collect();
            sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut extremes = Extremes::default();
            // +0 and -0 are equal in value, and only values count.
            let count = count.min(values.len());
            let found: Vec<f32> = extremes.largest(&values, count).iter().map(|c| c.0).collect();
            prop_assert_eq!(&found, &sorted[..count].iter().map(|c| c.0).collect::<Vec<_>>());
            for (value, at) in extremes.largest(&values, count) {
                prop_assert_eq!(values[*at], *value);
            }
            let low: Vec<f32> = extremes.smallest(&values, count).iter().map(|c| -c.0).collect();
            prop_assert_eq!(&low, &sorted[values.len() - count..].iter().rev().map(|c| c.0).collect::<Vec<_>>());
        }
    }
}
