//! Compiled nonlinear operations, a folder for each family, and how each is read back.
//!
//! Adding one is its file, its `mod` line, and its line in [`KERNELS`].

pub mod constants;
pub mod even_requantization;
pub mod exact;
pub mod fq_vit;
pub mod i_bert;
pub mod i_vit;
pub mod reference;
pub mod rounded_quotient;

pub use even_requantization::EvenRequantization;

use super::kernel::{KernelKind, RowKernel};
use serde_json::Value;

/// Every kind of kernel a program may name.
pub static KERNELS: &[KernelKind] = &[
    exact::table::KIND,
    exact::channel_tables::KIND,
    exact::segments::KIND,
    exact::table_softmax::KIND,
    exact::softmax::KIND,
    exact::norm::KIND,
    i_bert::gelu::KIND,
    i_bert::softmax::KIND,
    i_bert::layernorm::KIND,
    i_vit::gelu::KIND,
    i_vit::softmax::KIND,
    i_vit::layernorm::KIND,
    fq_vit::softmax::KIND,
    fq_vit::layernorm::KIND,
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
