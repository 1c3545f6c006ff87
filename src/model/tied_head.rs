//! A head that config.json ties to the token table and that is stored all the same.

use super::OpenModel;
use serde_json::Value;

/// Such a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTiedHead {
    /// Tensor of the head.
    pub(crate) head: String,
    /// Tensor of the token table.
    pub(crate) table: String,
    /// Both hold the same bytes: one of them is enough.
    pub(crate) equal: bool,
}

impl OpenModel {
    /// The head, where it is tied by config.json and stored; compares it with the token table.
    pub(crate) fn stored_tied_head(&self) -> Option<StoredTiedHead> {
        let says = self.checkpoint.config().get("tie_word_embeddings");
        // GPT-2 is tied unless its configuration says otherwise.
        let tied = match says {
            Some(Value::Bool(tied)) => *tied,
            _ => self.model.architecture() == "gpt2",
        };
        let head = "lm_head.weight";
        let tensors = self.checkpoint.tensors();
        let is_part = |name: &str| self.artifact.reader().is_part(name);
        let info = tensors.info(head).filter(|_| tied && !is_part(head))?;
        let mut first = self.model.tensor_names(0).into_iter();
        let table = first.find(|name| {
            let same = |found: &quantizers::formats::TensorInfo| found.shape == info.shape;
            tensors.info(name).is_some_and(same) && !is_part(name)
        })?;
        let same_type = tensors.info(&table)?.dtype == info.dtype;
        let bytes = |name: &str| tensors.bytes(name).ok();
        let equal = same_type && bytes(head)? == bytes(&table)?;
        tensors.release(head);
        tensors.release(&table);
        Some(StoredTiedHead {
            head: head.to_owned(),
            table,
            equal,
        })
    }
}

impl StoredTiedHead {
    /// What is done with it.
    pub(crate) fn note(&self) -> String {
        let Self { head, table, equal } = self;
        if *equal {
            format!("`{head}` equals `{table}`, to which config.json ties it: written once")
        } else {
            format!(
                "config.json ties `{head}` to `{table}`, and the two differ: the stored head is used here and kept, \
                 engines that go by config.json ignore it"
            )
        }
    }
}
