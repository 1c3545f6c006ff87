//! Any function of one code, as the table of its output codes.

use crate::integer::kernel::KernelConstants;
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// `codes[q - first]`; codes outside the table take its ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The code of `codes[0]`.
    pub first: i32,
    /// One output code for each input code.
    pub codes: Vec<i32>,
}

impl KernelConstants for Table {
    const KIND: &'static str = "table.exact";

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to positions of the table"
    )]
    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        let last = i64::try_from(self.codes.len()).unwrap_or(i64::MAX) - 1;
        for (code, value) in output.iter_mut().zip(input) {
            let position = arithmetic.sub(i64::from(*value), i64::from(self.first));
            *code = self.codes[position.clamp(0, last) as usize];
        }
    }

    fn bounds(&self, _input: Interval, _width: usize) -> Result<Interval, WidthError> {
        let low = self.codes.iter().copied().min().unwrap_or(0);
        let high = self.codes.iter().copied().max().unwrap_or(0);
        Ok(Interval::new(low.into(), high.into()))
    }

    fn table(&self) -> Option<(i32, &[i32])> {
        Some((self.first, &self.codes))
    }

    fn invalid(&self) -> Option<&'static str> {
        self.codes.is_empty().then_some("a table without codes")
    }
}
