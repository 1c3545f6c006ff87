//! Real constants as integers; out-of-range values saturate and are then refused by their width.

#![expect(
    clippy::cast_possible_truncation,
    reason = "saturating casts, refused by the interval analysis that follows"
)]

/// The integer below.
pub(super) fn floor(value: f64) -> i64 {
    value.floor() as i64
}

/// The nearest integer, ties to the even one.
pub(super) fn nearest_even(value: f64) -> i64 {
    value.round_ties_even() as i64
}
