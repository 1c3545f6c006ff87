//! A head that config.json ties to the token table and that is stored all the same, and other weights that
//! are stored once under two names, as PyTorch does.

use super::OpenModel;
use quantizers::graph::{HeadNode, Projection, StageNode};
use std::collections::{BTreeMap, BTreeSet};

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
        let architecture = self.model.architecture();
        let tied = self
            .says_tied()
            .unwrap_or_else(|| calib::is_tied_by_default(architecture));
        let head = self.head_name()?;
        let head = head.as_str();
        let tensors = self.checkpoint.tensors();
        let is_part = |name: &str| self.artifact.reader().is_part(name);
        let info = tensors.info(head).filter(|_| tied && !is_part(head))?;
        // A classifier is no head over tokens, whatever the shape of its matrix.
        let table = self.token_table().filter(|name| {
            let same = |found: &quantizers::formats::TensorInfo| found.shape == info.shape;
            tensors.info(name).is_some_and(same) && !is_part(name)
        })?;
        let same_type = tensors.info(&table)?.dtype == info.dtype;
        let bytes = |name: &str| tensors.bytes(name).ok();
        let same_place = tensors.info(&table)?.is_same_place(info);
        let equal = same_place || same_type && bytes(head)? == bytes(&table)?;
        tensors.release(head);
        tensors.release(&table);
        Some(StoredTiedHead {
            head: head.to_owned(),
            table,
            equal,
        })
    }

    /// Names of tensors that are another tensor under a second name, with the first: both lie in the same bytes of
    /// the same file, config.json ties them (as it does where it says nothing), and only the other is read by
    /// the model, or this one is the head. Loaders tie them again, so they are counted and written under the
    /// first name alone.
    pub(crate) fn second_names(&self) -> BTreeMap<String, String> {
        if self.says_tied() == Some(false) {
            return BTreeMap::new();
        }
        let stages = 0..self.model.stages();
        let names = stages.flat_map(|stage| self.model.tensor_names(stage));
        let head = self.head_name();
        let used: BTreeSet<String> = names.filter(|name| Some(name) != head.as_ref()).collect();
        let tensors = self.checkpoint.tensors();
        let unused = tensors.tensors().filter(|(name, _)| !used.contains(*name));
        let second = unused.filter_map(|(name, info)| {
            let is_first =
                |other: &&String| tensors.info(other).is_some_and(|i| i.is_same_place(info));
            let first = used.iter().find(is_first)?;
            Some((name.to_owned(), first.clone()))
        });
        second.collect()
    }

    /// Tensor of the token vectors.
    fn token_table(&self) -> Option<String> {
        let first = self.model.graph().stages.first()?;
        match first {
            StageNode::Tokens(input) => Some(input.tokens.name.clone()),
            _ => None,
        }
    }

    /// Tensor of the last layer, where that is a layer of its own.
    fn head_name(&self) -> Option<String> {
        match self.model.graph().stages.last() {
            Some(StageNode::Head(HeadNode {
                projection: Some(Projection::Layer(layer)),
                ..
            })) => Some(layer.weight().name),
            _ => None,
        }
    }

    fn says_tied(&self) -> Option<bool> {
        calib::says_tied(self.checkpoint.config())
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
