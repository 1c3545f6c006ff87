//! The operations of a program, one file each.
//!
//! Adding one is a file here, its `mod` line, and its line in [`OPERATIONS`].

pub mod attention;
pub mod class_token;
pub mod first;
pub mod fused_attention;
pub mod linear;
pub mod mean;
pub mod norm;
pub mod patches;
pub mod tokens;
pub mod unit_length;

use super::operation::OperationKind;

/// Every kind of operation.
pub static OPERATIONS: &[OperationKind] = &[
    tokens::KIND,
    patches::KIND,
    class_token::KIND,
    linear::KIND,
    norm::KIND,
    attention::KIND,
    fused_attention::KIND,
    first::KIND,
    mean::KIND,
    unit_length::KIND,
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
