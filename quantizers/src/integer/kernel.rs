//! Nonlinear operations of a program: integers of one row in, integers of one row out.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use super::arithmetic::{Arithmetic, ArithmeticError, Checked, Wrapping};
use super::interval::{Interval, WidthError};
use serde::Serialize;
use serde::de::{DeserializeOwned, Error};
use serde_json::Value;
use std::any::Any;
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
    fn run(&self, mode: Mode, input: &[i32], output: &mut [i32]) -> Result<(), ArithmeticError>;
    /// The interval of the outputs for inputs in `input` and rows of at most `width`.
    ///
    /// # Errors
    /// An intermediate wider than declared.
    fn bounds(&self, input: Interval, width: usize) -> Result<Interval, WidthError>;
    /// The output for each input code, for elementwise kernels of inputs of at most 12 bits:
    /// first the code the table begins at.
    fn table(&self) -> Option<(i32, &[i32])>;
    /// The kernel as itself, for executors that know a faster way to the same integers.
    fn as_any(&self) -> &dyn Any;
}

/// The constants of one kind of kernel, which are its stored form; every such type is a
/// [`RowKernel`].
pub trait KernelConstants: Debug + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// Name in a program.
    const KIND: &'static str;
    /// Computes one row.
    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]);
    /// See [`RowKernel::bounds`].
    ///
    /// # Errors
    /// An intermediate wider than declared.
    fn bounds(&self, input: Interval, width: usize) -> Result<Interval, WidthError>;
    /// What is wrong with the constants, beyond what interval analysis finds.
    fn invalid(&self) -> Option<&'static str>;
    /// See [`RowKernel::table`].
    fn table(&self) -> Option<(i32, &[i32])> {
        None
    }
}

impl<K: KernelConstants> RowKernel for K {
    fn kind(&self) -> &'static str {
        K::KIND
    }

    fn constants(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn run(&self, mode: Mode, input: &[i32], output: &mut [i32]) -> Result<(), ArithmeticError> {
        match mode {
            Mode::Fast => {
                self.compute(&Wrapping, input, output);
                Ok(())
            }
            Mode::Checked => {
                let checked = Checked::default();
                self.compute(&checked, input, output);
                checked.outcome()
            }
        }
    }

    fn bounds(&self, input: Interval, width: usize) -> Result<Interval, WidthError> {
        KernelConstants::bounds(self, input, width)
    }

    fn table(&self) -> Option<(i32, &[i32])> {
        KernelConstants::table(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A way to read kernels of one kind back.
pub struct KernelKind {
    /// Name in a program.
    pub kind: &'static str,
    /// Reads the constants and checks them.
    pub read: fn(&Value) -> Result<Box<dyn RowKernel>, serde_json::Error>,
}

impl KernelKind {
    /// The kind of the kernels that have the constants `K`.
    pub const fn of<K: KernelConstants>() -> Self {
        Self {
            kind: K::KIND,
            read: |constants| {
                let kernel = K::deserialize(constants)?;
                match kernel.invalid() {
                    Some(reason) => Err(serde_json::Error::custom(reason)),
                    None => Ok(Box::new(kernel)),
                }
            },
        }
    }
}

/// Saturates to `low..=high`.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "clamped to 32-bit bounds")]
pub fn saturate<A: Arithmetic>(_arithmetic: &A, value: i64, low: i32, high: i32) -> i32 {
    value.clamp(i64::from(low), i64::from(high)) as i32
}
