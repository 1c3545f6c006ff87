//! Integer square root.

use super::arithmetic::Arithmetic;

/// `floor(sqrt(n))` for `n >= 0` by Newton's iteration from above (I-BERT, algorithm 4).
pub fn square_root<A: Arithmetic>(arithmetic: &A, n: i64) -> i64 {
    if n <= 0 {
        return 0;
    }
    let bits = 64 - n.leading_zeros();
    let mut root = arithmetic.shl(1, bits.div_ceil(2));
    loop {
        let next = arithmetic.shr(arithmetic.add(root, arithmetic.div_floor(n, root)), 1);
        if next >= root {
            return root;
        }
        root = next;
    }
}
