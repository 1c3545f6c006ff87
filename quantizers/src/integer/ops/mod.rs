//! The operations of a program, one file each.
//!
//! Adding one is a file here, its `mod` line, and its line in [`OPERATIONS`].

pub mod attention;
pub mod class_token;
pub mod first;
pub mod exact_attention;
pub mod linear;
pub mod mean;
pub mod norm;
pub mod patches;
pub mod rows;
pub mod tokens;
pub mod unit_length;

use super::operation::OperationKind;

/// Every kind of operation.
pub static OPERATIONS: &[OperationKind] = &[
    OperationKind::of::<tokens::Tokens>(),
    OperationKind::of::<patches::Patches>(),
    OperationKind::of::<class_token::ClassToken>(),
    OperationKind::of::<linear::Linear>(),
    OperationKind::of::<norm::Norm>(),
    OperationKind::of::<attention::SoftmaxAttention>(),
    OperationKind::of::<exact_attention::ExactAttention>(),
    OperationKind::of::<first::First>(),
    OperationKind::of::<mean::Mean>(),
    OperationKind::of::<unit_length::UnitLength>(),
];

/// The kind called `name`.
pub fn find(name: &str) -> Option<&'static OperationKind> {
    OPERATIONS.iter().find(|kind| kind.kind == name)
}

/// All names, for messages.
pub fn names() -> String {
    let names: Vec<String> = OPERATIONS
        .iter()
        .map(|kind| format!("`{}`", kind.kind))
        .collect();
    names.join(", ")
}
