//! Compiled nonlinear operations, one file a kind, and how each is read back.

pub mod exact;

use super::kernel::KernelKind;

/// Every kind of kernel a program may name.
pub static KERNELS: &[KernelKind] = &[
    exact::table::KIND,
    exact::segments::KIND,
    exact::table_softmax::KIND,
    exact::softmax::KIND,
    exact::norm::KIND,
];
