//! Quotients rounded to the nearest integer, ties to the even one, as the published code rounds
//! means and ratios.

use crate::integer::Arithmetic;

/// `numerator / denominator`, half to even; `denominator > 0`.
pub fn rounded_quotient<A: Arithmetic>(arithmetic: &A, numerator: i64, denominator: i64) -> i64 {
    let floor = arithmetic.div_floor(numerator, denominator);
    let rest = arithmetic.sub(numerator, arithmetic.mul(floor, denominator));
    // `rest` against `denominator - rest`: twice the rest could need a 65th bit.
    let other = arithmetic.sub(denominator, rest);
    let up = rest > other || (rest == other && floor & 1 == 1);
    arithmetic.add(floor, i64::from(up))
}

/// The mean of a row, half to even.
pub fn rounded_mean<A: Arithmetic>(arithmetic: &A, row: &[i32]) -> i64 {
    let sum = row
        .iter()
        .fold(0, |sum, code| arithmetic.add(sum, i64::from(*code)));
    let count = i64::try_from(row.len()).unwrap_or(i64::MAX);
    rounded_quotient(arithmetic, sum, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integer::Wrapping;

    #[test]
    fn ties_go_to_the_even_quotient() {
        for (n, d, expected) in [
            (5, 2, 2),
            (7, 2, 4),
            (-5, 2, -2),
            (-7, 2, -4),
            (-1, 3, 0),
            (8, 3, 3),
        ] {
            assert_eq!(rounded_quotient(&Wrapping, n, d), expected, "{n}/{d}");
        }
        assert_eq!(rounded_mean(&Wrapping, &[1, 2, 2, 5]), 2);
    }
}
