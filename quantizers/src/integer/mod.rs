//! Integer-only execution: no float value and no float instruction at run time.

pub mod matmul;
