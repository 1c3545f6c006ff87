//! Any function of one code, as the table of its output codes.

use super::Constants;
use crate::integer::kernel::{KernelKind, RowKernel};
use crate::integer::{Arithmetic, Interval, WidthError};
use crate::run_generic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Reads a [`Table`] back.
pub const KIND: KernelKind = KernelKind {
    kind: "table.exact",
    read: super::read::<Table>,
};

/// `codes[q - first]`; codes outside the table take its ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The code of `codes[0]`.
    pub first: i32,
    /// One output code for each input code.
    pub codes: Vec<i32>,
}

impl Table {
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
}

impl RowKernel for Table {
    fn kind(&self) -> &'static str {
        KIND.kind
    }

    fn constants(&self) -> Value {
        json!(self)
    }

    fn bounds(&self, _input: Interval, _width: usize) -> Result<Interval, WidthError> {
        let low = self.codes.iter().copied().min().unwrap_or(0);
        let high = self.codes.iter().copied().max().unwrap_or(0);
        Ok(Interval::new(low.into(), high.into()))
    }

    fn elementwise(&self) -> bool {
        true
    }

    fn table(&self) -> Option<(i32, &[i32])> {
        Some((self.first, &self.codes))
    }

    run_generic!();
}

impl Constants for Table {
    fn flaw(&self) -> Option<&'static str> {
        self.codes.is_empty().then_some("a table without codes")
    }
}
