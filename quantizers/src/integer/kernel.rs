//! Nonlinear operations of a program: integers of one row in, integers of one row out.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use super::arithmetic::{Arithmetic, Fault};
use super::interval::{Interval, WidthError};
use serde_json::Value;
use std::fmt::Debug;

/// Which arithmetic a run uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Machine arithmetic.
    #[default]
    Fast,
    /// The same formulas with every step checked.
    Checked,
}

/// One compiled nonlinear operation over the last axis of a tensor.
///
/// Inputs and outputs are codes of the grids it was compiled for. It holds integers only and is
/// stored as JSON; long arrays in it become integer tensors of the artifact.
pub trait RowKernel: Debug + Send + Sync {
    /// Name of its kind in a program, `softmax.i-bert`.
    fn kind(&self) -> &'static str;
    /// Its constants: an object of integers, arrays of integers and names.
    fn constants(&self) -> Value;
    /// Computes one row.
    ///
    /// # Errors
    /// In [`Mode::Checked`], the first fault.
    fn run(&self, mode: Mode, input: &[i32], output: &mut [i32]) -> Result<(), Fault>;
    /// The interval of the outputs for inputs in `input` and rows of at most `width`.
    ///
    /// # Errors
    /// An intermediate wider than declared.
    fn bounds(&self, input: Interval, width: usize) -> Result<Interval, WidthError>;
    /// Whether it works value by value, wherever in a row.
    fn elementwise(&self) -> bool {
        false
    }
    /// The output for each input code, for elementwise kernels of inputs of at most 12 bits:
    /// first the code the table begins at.
    fn table(&self) -> Option<(i32, &[i32])> {
        None
    }
    /// The kernel as itself, for executors that know a faster way to the same integers.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// Implements [`RowKernel::run`] through a generic method
/// `compute<A: Arithmetic>(&self, &A, &[i32], &mut [i32])`.
#[macro_export]
macro_rules! run_generic {
    () => {
        fn run(
            &self,
            mode: $crate::integer::Mode,
            input: &[i32],
            output: &mut [i32],
        ) -> Result<(), $crate::integer::Fault> {
            match mode {
                $crate::integer::Mode::Fast => {
                    self.compute(&$crate::integer::Wrapping, input, output);
                    Ok(())
                }
                $crate::integer::Mode::Checked => {
                    let checked = $crate::integer::Checked::default();
                    self.compute(&checked, input, output);
                    checked.outcome()
                }
            }
        }

        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    };
}

/// A way to read kernels of one kind back.
pub struct KernelKind {
    /// Name in a program.
    pub kind: &'static str,
    /// Reads the constants.
    pub read: fn(&Value) -> Result<Box<dyn RowKernel>, serde_json::Error>,
}

/// Saturates to `low..=high`.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "clamped to 32-bit bounds")]
pub fn saturate<A: Arithmetic>(_arithmetic: &A, value: i64, low: i32, high: i32) -> i32 {
    value.clamp(i64::from(low), i64::from(high)) as i32
}
