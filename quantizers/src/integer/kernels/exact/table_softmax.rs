//! Softmax of 8-bit codes: a table of exponentials and one rounded division a value.

use super::softmax::{largest, share};
use crate::integer::kernel::KernelConstants;
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// `e_i = exponentials[max - q_i]`, `p_i = floor((2 e_i (2^k - 1) + sum) / (2 sum))`.
///
/// The zero point cancels in the difference. `k` is 8 or 16: probabilities are `p / (2^k - 1)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSoftmax {
    /// `round(2^bits e^(-d S))` for every distance `d` of two codes of the grid.
    pub exponentials: Vec<i64>,
    /// `2^k - 1`.
    pub most: i64,
}

impl KernelConstants for TableSoftmax {
    const KIND: &'static str = "table-softmax.exact";

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "distances are not negative and clamped to the table"
    )]
    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        let highest = largest(input);
        let last = i64::try_from(self.exponentials.len()).unwrap_or(i64::MAX) - 1;
        let exponential = |value: i32| {
            let distance = arithmetic.sub(highest, i64::from(value));
            self.exponentials[distance.min(last) as usize]
        };
        let sum = input.iter().fold(0, |sum, value| {
            arithmetic.declared(arithmetic.add(sum, exponential(*value)), 62)
        });
        for (code, value) in output.iter_mut().zip(input) {
            *code = share(arithmetic, exponential(*value), sum, self.most);
        }
    }

    fn bounds(&self, _input: Interval, width: usize) -> Result<Interval, WidthError> {
        let highest = self.exponentials.iter().copied().max().unwrap_or(0);
        super::softmax::bounds(Interval::new(0, highest.into()), width, self.most)
    }

    fn invalid(&self) -> Option<&'static str> {
        if self.exponentials.first().is_none_or(|first| *first <= 0) {
            Some("a softmax table that does not begin with a positive value")
        } else if self.exponentials.iter().any(|value| *value < 0) {
            Some("a softmax table with a negative value")
        } else if !(1..=65535).contains(&self.most) {
            Some("a softmax with a largest code out of range")
        } else {
            None
        }
    }
}
