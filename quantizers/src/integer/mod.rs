//! Integer-only execution: between quantized inputs and integer outputs, nothing but integers.
//!
//! Scales exist only while a program is compiled ([`compile`]); what remains of them are dyadic
//! multipliers `b / 2^c`, tables and shift counts. Sources outside `compile/` do not name a float
//! type, and tests check that of the sources and of the compiled object code.

pub mod arithmetic;
pub mod attention;
pub mod bounds;
pub mod buffer;
pub mod compile;
pub mod dyadic;
pub mod error;
pub mod executor;
pub mod frame;
pub mod interface;
pub mod interval;
pub mod kernel;
pub mod kernels;
pub mod matmul;
pub mod operation;
pub mod ops;
pub mod program;
pub mod requantize;
pub mod square_root;
pub mod tensor;
pub mod weights;

pub use arithmetic::{Arithmetic, ArithmeticError, Checked, Wrapping};
pub use dyadic::{Dyadic, Rounding};
pub use error::{OperationError, ProgramError};
pub use executor::Executor;
pub use interface::{OutputKind, ProgramInput, ProgramOutput};
pub use interval::{Interval, WidthError};
pub use kernel::{Mode, RowKernel};
pub use program::Program;
pub use requantize::Requantization;
pub use tensor::{IntegerData, IntegerTensor};
