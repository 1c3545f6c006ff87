//! Constants of a kernel as a program stores them, checked before they are used.

use crate::integer::RowKernel;
use serde::de::{DeserializeOwned, Error};
use serde_json::Value;

/// A kernel that is its own stored form.
pub(super) trait Constants: RowKernel + DeserializeOwned + 'static {
    /// What is wrong with the constants, beyond what interval analysis finds.
    fn flaw(&self) -> Option<&'static str>;
}

/// Reads a kernel back and checks its constants.
pub(super) fn read<K: Constants>(value: &Value) -> Result<Box<dyn RowKernel>, serde_json::Error> {
    let kernel: K = serde_json::from_value(value.clone())?;
    match kernel.flaw() {
        Some(flaw) => Err(serde_json::Error::custom(flaw)),
        None => Ok(Box::new(kernel)),
    }
}
