//! One row as sorted distinct points: the form in which 1-D clustering is a question about runs.

/// One row to cluster.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Values, `[cols]`.
    pub values: &'a [f32],
    /// Weight of each value, at least 0; absent: one each.
    pub weights: Option<&'a [f32]>,
    /// Which values are not in the row any more; absent: none.
    pub removed: Option<&'a [bool]>,
}

impl<'a> Row<'a> {
    /// A row of equal weights.
    pub fn new(values: &'a [f32]) -> Self {
        Self {
            values,
            weights: None,
            removed: None,
        }
    }

    fn keeps(&self, at: usize) -> bool {
        self.removed.is_none_or(|mask| !mask[at])
    }
}

/// Sorted distinct values of a row with their summed weights; buffers are reused between rows.
#[derive(Debug, Default)]
pub(super) struct SortedRow {
    /// Distinct values, ascending.
    pub(super) values: Vec<f32>,
    /// Weight of each distinct value, all positive.
    pub(super) weights: Vec<f64>,
    pairs: Vec<u64>,
    swap: Vec<u64>,
    /// One table of bucket counts per digit.
    counts: [Vec<u32>; 3],
}

/// Digit widths of the radix sort, from the lowest key bit: 11 + 11 + 10 = 32.
const DIGITS: [(u32, u32); 3] = [(32, 11), (43, 11), (54, 10)];
const BUCKETS: usize = 1 << 11;

/// Order-preserving map from finite floats to integers.
fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    bits ^ (bits.cast_signed() >> 31).cast_unsigned() | (!bits & 0x8000_0000)
}

/// Inverse of [`ordered`].
fn unordered(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 {
        key & 0x7fff_ffff
    } else {
        !key
    })
}

impl SortedRow {
    /// Sorts the points of `row`, merges equal ones (their weights add) and drops those of zero weight.
    /// Where every weight is zero, all weights count as one.
    pub(super) fn load(&mut self, row: Row<'_>) {
        let count = row.values.len();
        self.pairs.resize(count, 0);
        let mut kept = 0;
        if let Some(weights) = row.weights {
            assert_eq!(count, weights.len(), "one weight per value");
            for (at, (&value, &weight)) in row.values.iter().zip(weights).enumerate() {
                // Written in any case and overwritten if not kept: no branch to mispredict.
                self.pairs[kept] = pair(value, weight);
                kept += usize::from(weight > 0.0 && row.keeps(at));
            }
        }
        if kept == 0 {
            for (at, &value) in row.values.iter().enumerate() {
                self.pairs[kept] = pair(value, 1.0);
                kept += usize::from(row.keeps(at));
            }
        }
        self.pairs.truncate(kept);
        self.sort();
        self.merge();
    }

    /// Least-significant-digit radix sort of the pairs by key; passes that would move nothing are skipped.
    fn sort(&mut self) {
        let count = self.pairs.len();
        if count < 256 {
            self.pairs.sort_unstable_by_key(|pair| pair >> 32);
            return;
        }
        self.swap.resize(count, 0);
        for table in &mut self.counts {
            table.clear();
            table.resize(BUCKETS, 0);
        }
        for pair in &self.pairs {
            for (table, (shift, width)) in self.counts.iter_mut().zip(DIGITS) {
                table[digit(*pair, shift, width)] += 1;
            }
        }
        for (table, (shift, width)) in self.counts.iter_mut().zip(DIGITS) {
            if table[digit(self.pairs[0], shift, width)] as usize == count {
                continue;
            }
            let mut next = 0;
            for bucket in table.iter_mut() {
                next += std::mem::replace(bucket, next);
            }
            for pair in &self.pairs {
                let bucket = &mut table[digit(*pair, shift, width)];
                self.swap[*bucket as usize] = *pair;
                *bucket += 1;
            }
            std::mem::swap(&mut self.pairs, &mut self.swap);
        }
    }

    fn merge(&mut self) {
        self.values.clear();
        self.weights.clear();
        self.values.resize(self.pairs.len(), 0.0);
        self.weights.resize(self.pairs.len(), 0.0);
        let mut count = 0;
        let mut previous = None;
        for pair in &self.pairs {
            let key = high(*pair);
            let weight = f64::from(f32::from_bits(low(*pair)));
            if previous == Some(key) {
                self.weights[count - 1] += weight;
            } else {
                self.values[count] = unordered(key);
                self.weights[count] = weight;
                count += 1;
                previous = Some(key);
            }
        }
        self.values.truncate(count);
        self.weights.truncate(count);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "at most 11 bits are left")]
fn digit(pair: u64, shift: u32, width: u32) -> usize {
    ((pair >> shift) & ((1 << width) - 1)) as usize
}

/// Key above weight. Adding zero turns -0 into +0, so that the two merge.
fn pair(value: f32, weight: f32) -> u64 {
    u64::from(ordered(value + 0.0)) << 32 | u64::from(weight.to_bits())
}

fn high(pair: u64) -> u32 {
    (pair >> 32) as u32
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is what is asked for"
)]
fn low(pair: u64) -> u32 {
    pair as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(values: &[f32], weights: Option<&[f32]>) -> (Vec<f32>, Vec<f64>) {
        let mut row = SortedRow::default();
        row.load(Row {
            values,
            weights,
            removed: None,
        });
        (row.values, row.weights)
    }

    #[test]
    fn equal_values_merge_and_zero_weights_vanish() {
        let values = [2.0, -0.0, 0.0, -1.0, 2.0, 7.0];
        let weights = [1.0, 2.0, 3.0, 4.0, 5.0, 0.0];
        let (values, weights) = load(&values, Some(&weights));
        assert_eq!(values, [-1.0, 0.0, 2.0]);
        assert_eq!(weights, [4.0, 5.0, 6.0]);
    }

    #[test]
    fn removed_points_are_gone_even_when_no_weight_is_left() {
        let mut row = SortedRow::default();
        let (values, removed) = ([0.0, 5.0, 1.0], [false, true, false]);
        row.load(Row {
            values: &values,
            weights: Some(&[0.0; 3]),
            removed: Some(&removed),
        });
        assert_eq!(row.values, [0.0, 1.0]);
    }

    #[test]
    fn all_zero_weights_count_as_ones() {
        let (values, weights) = load(&[3.0, 1.0, 3.0], Some(&[0.0; 3]));
        assert_eq!((values, weights), (vec![1.0, 3.0], vec![1.0, 2.0]));
        assert_eq!(load(&[], None), (vec![], vec![]));
    }

    proptest! {
        #[test]
        fn sorts_like_the_standard_library(
            seed in prop::collection::vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 0..700),
            digits in 0_u32..24,
        ) {
            // Coarser mantissas give ties and digits that do not vary.
            let values: Vec<f32> =
                seed.iter().map(|v| f32::from_bits(v.to_bits() >> digits << digits)).collect();
            let mut expected: Vec<f32> = values.iter().map(|v| v + 0.0).collect();
            expected.sort_by(f32::total_cmp);
            let total = expected.len();
            expected.dedup();
            let (found, weights) = load(&values, None);
            prop_assert_eq!(found, expected);
            prop_assert!((weights.iter().sum::<f64>() - total as f64).abs() < 0.5);
        }
    }
}
