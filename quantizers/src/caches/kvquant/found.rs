//! Values that are outside of something, with where they stand: masks of 32 comparisons where the machine has AVX2.

/// Values whose comparisons become one mask.
const LANES: usize = 32;

/// Appends the `values` below `low` or above `high` of their own place, `(value, index)`, in order.
pub(super) fn outside(values: &[f32], low: &[f32], high: &[f32], found: &mut Vec<(f32, usize)>) {
    let done = masked::outside(values, low, high, found);
    let rest = values.iter().zip(low.iter().zip(high)).enumerate();
    for (at, (value, (low, high))) in rest.skip(done) {
        if value < low || value > high {
            found.push((*value, at));
        }
    }
}

/// Appends the products of `sign`, 1 or -1, and `values` that are at least `bound`, `(product, index)`, in order.
pub(super) fn reaching(values: &[f32], sign: f32, bound: f32, found: &mut Vec<(f32, usize)>) {
    let done = masked::reaching(values, sign, bound, found);
    for (at, value) in values.iter().enumerate().skip(done) {
        let value = sign * value;
        if value >= bound {
            found.push((value, at));
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod masked {
    /// Nothing is done.
    pub(super) fn outside(_: &[f32], _: &[f32], _: &[f32], _: &mut Vec<(f32, usize)>) -> usize {
        0
    }

    /// Nothing is done.
    pub(super) fn reaching(_: &[f32], _: f32, _: f32, _: &mut Vec<(f32, usize)>) -> usize {
        0
    }
}

#[cfg(target_arch = "x86_64")]
mod masked {
    #![expect(unsafe_code, reason = "instructions found at run time")]

    use super::LANES;
    use std::arch::x86_64::{
        _CMP_GE_OQ, _CMP_GT_OQ, _CMP_LT_OQ, _mm256_cmp_ps, _mm256_loadu_ps, _mm256_movemask_ps,
        _mm256_mul_ps, _mm256_or_ps, _mm256_set1_ps,
    };

    /// Looks through as many values as fill masks and returns how many these are: none on a machine without AVX2.
    pub(super) fn outside(
        values: &[f32],
        low: &[f32],
        high: &[f32],
        found: &mut Vec<(f32, usize)>,
    ) -> usize {
        if !is_x86_feature_detected!("avx2") {
            return 0;
        }
        let (values, low, high) = (values.as_chunks().0, low.as_chunks().0, high.as_chunks().0);
        assert!(low.len() >= values.len() && high.len() >= values.len());
        // SAFETY: the machine has AVX2.
        unsafe { all_outside(values, low, high, found) };
        values.len() * LANES
    }

    /// The same of [`super::reaching`].
    pub(super) fn reaching(
        values: &[f32],
        sign: f32,
        bound: f32,
        found: &mut Vec<(f32, usize)>,
    ) -> usize {
        if !is_x86_feature_detected!("avx2") {
            return 0;
        }
        let values = values.as_chunks().0;
        // SAFETY: the machine has AVX2.
        unsafe { all_reaching(values, sign, bound, found) };
        values.len() * LANES
    }

    #[target_feature(enable = "avx2")]
    fn all_outside(
        values: &[[f32; LANES]],
        low: &[[f32; LANES]],
        high: &[[f32; LANES]],
        found: &mut Vec<(f32, usize)>,
    ) {
        for (block, (own, (low, high))) in values.iter().zip(low.iter().zip(high)).enumerate() {
            let mut mask = 0;
            for at in (0..LANES).step_by(8) {
                // SAFETY: eight values from `at` on.
                let [x, low, high] =
                    [own, low, high].map(|x| unsafe { _mm256_loadu_ps(x.as_ptr().add(at)) });
                let below = _mm256_cmp_ps::<_CMP_LT_OQ>(x, low);
                let above = _mm256_cmp_ps::<_CMP_GT_OQ>(x, high);
                mask |= bits(_mm256_movemask_ps(_mm256_or_ps(below, above)), at);
            }
            push(mask, block, |at| own[at], found);
        }
    }

    #[target_feature(enable = "avx2")]
    fn all_reaching(values: &[[f32; LANES]], sign: f32, bound: f32, found: &mut Vec<(f32, usize)>) {
        let (signs, bounds) = (_mm256_set1_ps(sign), _mm256_set1_ps(bound));
        for (block, own) in values.iter().enumerate() {
            let mut mask = 0;
            for at in (0..LANES).step_by(8) {
                // SAFETY: eight values from `at` on.
                let x = unsafe { _mm256_loadu_ps(own.as_ptr().add(at)) };
                let reaches = _mm256_cmp_ps::<_CMP_GE_OQ>(_mm256_mul_ps(signs, x), bounds);
                mask |= bits(_mm256_movemask_ps(reaches), at);
            }
            push(mask, block, |at| sign * own[at], found);
        }
    }

    /// Eight comparisons at their place in a mask.
    fn bits(eight: i32, at: usize) -> u32 {
        eight.cast_unsigned() << at
    }

    /// Appends the values of a block whose bits are set.
    #[expect(
        clippy::inline_always,
        reason = "part of a loop with instructions found at run time"
    )]
    #[inline(always)]
    fn push(
        mut mask: u32,
        block: usize,
        value: impl Fn(usize) -> f32,
        found: &mut Vec<(f32, usize)>,
    ) {
        while mask != 0 {
            let at = mask.trailing_zeros() as usize;
            found.push((value(at), block * LANES + at));
            mask &= mask - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_are_those_that_comparing_one_by_one_finds(
            values in proptest::collection::vec(-3.0f32..3.0, 0..200),
            bound in 0.0f32..3.0,
        ) {
            let low: Vec<f32> = (0..values.len()).map(|at| -1.0 - (at % 7) as f32 / 7.0).collect();
            let high: Vec<f32> = low.iter().map(|low| 0.5 - low).collect();
            let mut found = Vec::new();
            outside(&values, &low, &high, &mut found);
            let is_outside = |at: usize| values[at] < low[at] || values[at] > high[at];
            let expected = (0..values.len()).filter(|at| is_outside(*at)).map(|at| (values[at], at));
            prop_assert_eq!(found, expected.collect::<Vec<_>>());
            for sign in [-1.0, 1.0] {
                let mut found = Vec::new();
                reaching(&values, sign, bound, &mut found);
                let products = values.iter().map(|value| sign * value).zip(0..);
                let expected = products.filter(|(value, _)| *value >= bound);
                prop_assert_eq!(found, expected.collect::<Vec<_>>());
            }
        }
    }
}
