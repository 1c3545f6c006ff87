//! Compiled nonlinear operations, a folder for each family, and how each is read back.
//!
//! Adding one is its file, its `mod` line, and its line in [`KERNELS`].

pub mod even_requantization;
pub mod exact;
pub mod fq_vit;
pub mod i_bert;
pub mod i_vit;
pub mod rounded_quotient;
pub mod row_norm;

pub use even_requantization::EvenRequantization;

use super::kernel::{KernelKind, RowKernel};
use serde_json::Value;

/// Every kind of kernel a program may name.
pub static KERNELS: &[KernelKind] = &[
    KernelKind::of::<exact::table::Table>(),
    KernelKind::of::<exact::channel_tables::ChannelTables>(),
    KernelKind::of::<exact::segments::Segments>(),
    KernelKind::of::<exact::table_softmax::TableSoftmax>(),
    KernelKind::of::<exact::softmax::Softmax>(),
    KernelKind::of::<exact::norm::Norm>(),
    KernelKind::of::<i_bert::gelu::Gelu>(),
    KernelKind::of::<i_bert::softmax::Softmax>(),
    KernelKind::of::<i_bert::layernorm::LayerNorm>(),
    KernelKind::of::<i_vit::gelu::Gelu>(),
    KernelKind::of::<i_vit::softmax::Softmax>(),
    KernelKind::of::<i_vit::layernorm::LayerNorm>(),
    KernelKind::of::<fq_vit::softmax::Softmax>(),
    KernelKind::of::<fq_vit::layernorm::LayerNorm>(),
];

/// Reads a kernel of kind `kind` from its constants.
///
/// # Errors
/// An unknown kind, or constants of another shape.
pub fn read(kind: &str, constants: &Value) -> Result<Box<dyn RowKernel>, serde_json::Error> {
    let entry = KERNELS.iter().find(|entry| entry.kind == kind);
    let entry = entry.ok_or_else(|| {
        let known: Vec<&str> = KERNELS.iter().map(|entry| entry.kind).collect();
        let known = known.join("`, `");
        serde::de::Error::custom(format!("kernel: expected `{known}`, found `{kind}`"))
    })?;
    (entry.read)(constants)
}
