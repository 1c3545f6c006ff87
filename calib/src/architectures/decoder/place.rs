//! Where in a checkpoint the tensors of a decoder stand.

use super::flavour::Flavour;
use crate::WeightSource;
use crate::architectures::prefix;

/// What stands in front of the names of a decoder's tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::architectures) struct Place {
    /// In front of everything but the head.
    pub(in crate::architectures) prefix: String,
    /// Module of the head, whether the checkpoint has it or not.
    pub(in crate::architectures) head: String,
}

impl Place {
    /// Of a checkpoint that holds nothing else.
    pub(super) fn alone(flavour: &Flavour, weights: &dyn WeightSource) -> Self {
        let names = &flavour.names;
        let tokens = format!("{}.weight", names.tokens);
        Self {
            prefix: prefix(names.prefix, &tokens, weights).to_owned(),
            head: names.head.to_owned(),
        }
    }

    /// Within a larger model that puts one of `outer` in front of its language model; nothing where none of them
    /// leads to a token table and blocks, or more than one does.
    pub(in crate::architectures) fn within(
        outer: &[&str],
        flavour: &Flavour,
        weights: &dyn WeightSource,
    ) -> Option<Self> {
        let names = &flavour.names;
        let stored = weights.names();
        let mut found: Vec<String> = Vec::new();
        for outer in outer {
            for inner in [names.prefix, ""] {
                let prefix = format!("{outer}{inner}");
                let first_block = format!("{prefix}{}.0.", names.blocks);
                let is_there = weights.contains(&format!("{prefix}{}.weight", names.tokens))
                    && stored.iter().any(|name| name.starts_with(&first_block));
                if is_there && !found.contains(&prefix) {
                    found.push(prefix);
                }
            }
        }
        let [prefix] = <[String; 1]>::try_from(found).ok()?;
        let heads = outer.iter().map(|outer| format!("{outer}{}", names.head));
        let mut heads = heads.filter(|head| weights.contains(&format!("{head}.weight")));
        let head = heads.next();
        if heads.next().is_some() {
            return None;
        }
        Some(Self {
            prefix,
            head: head.unwrap_or_else(|| names.head.to_owned()),
        })
    }
}
