//! Integer square roots: the exact one of I-BERT, and the ten steps of I-ViT.

use super::arithmetic::Arithmetic;

/// `floor(sqrt(n))`, `n >= 0`, and the steps it took.
///
/// Newton's iteration from `2^ceil(bits(n) / 2)`, which is above the root, until it no longer falls
/// (I-BERT, algorithm 4). At most 6 steps for 32-bit `n`. Width: `x + n / x` 33 bits and sign.
pub fn newton<A: Arithmetic>(arithmetic: &A, n: i64) -> (i64, u32) {
    if n <= 0 {
        return (0, 0);
    }
    let bits = 64 - n.leading_zeros();
    let mut root = arithmetic.shl(1, bits.div_ceil(2));
    let mut steps = 0;
    loop {
        let next = step(arithmetic, root, n);
        steps += 1;
        if next >= root {
            return (root, steps);
        }
        root = next;
    }
}

/// `floor(sqrt(n))`, `n >= 0`.
pub fn square_root<A: Arithmetic>(arithmetic: &A, n: i64) -> i64 {
    newton(arithmetic, n).0
}

/// Exactly ten Newton steps from 2^16, as I-ViT does, `n >= 0`.
///
/// Right from about 2^14 to 2^42 (there at most one above the root); 64 for every `n` below about
/// 2^12, which is a published defect. Never below the root, never 0. Width: `x + n / x` 48 bits and
/// sign.
pub fn ten_steps<A: Arithmetic>(arithmetic: &A, n: i64) -> i64 {
    (0..10).fold(1 << 16, |root, _| step(arithmetic, root, n))
}

fn step<A: Arithmetic>(arithmetic: &A, root: i64, n: i64) -> i64 {
    let sum = arithmetic.add(root, arithmetic.div_floor(n, root));
    arithmetic.shr(arithmetic.declared(sum, 49), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integer::{Checked, Wrapping};
    use proptest::prelude::*;

    fn is_root(root: i64, n: i64) -> bool {
        let (root, n) = (i128::from(root), i128::from(n));
        root * root <= n && (root + 1) * (root + 1) > n
    }

    #[test]
    fn every_small_root_is_exact() {
        for n in 0..200_000 {
            assert!(is_root(square_root(&Wrapping, n), n), "{n}");
        }
    }

    #[test]
    fn the_largest_values_do_not_overflow() {
        for n in [i64::MAX, i64::MAX - 1, 1 << 62, (1 << 62) - 1] {
            let checked = Checked::default();
            assert!(is_root(square_root(&checked, n), n), "{n}");
            ten_steps(&checked, n);
            assert_eq!(checked.outcome(), Ok(()));
        }
    }

    #[test]
    fn ten_steps_are_wrong_for_exactly_the_documented_values() {
        let wrong = (1..1 << 20)
            .filter(|n| !is_root(ten_steps(&Wrapping, *n), *n))
            .count();
        assert_eq!(wrong, 51_157);
    }

    proptest! {
        #[test]
        fn roots_are_exact(n in 0..=i64::MAX) {
            prop_assert!(is_root(square_root(&Wrapping, n), n));
        }

        #[test]
        fn ten_steps_are_never_below(n in 0_i64..1 << 62) {
            let root = i128::from(ten_steps(&Wrapping, n));
            prop_assert!((root + 1) * (root + 1) > i128::from(n));
        }

        #[test]
        fn six_steps_are_enough_for_32_bits(n in 0_i64..1 << 32) {
            prop_assert!(newton(&Wrapping, n).1 <= 6);
        }
    }
}
