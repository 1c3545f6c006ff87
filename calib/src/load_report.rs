//! What a model takes from a checkpoint: applied, missing, unused.

use crate::{Model, WeightSource};
use quantizers::nearest::nearest;
use std::collections::BTreeSet;

/// Ends of the names of buffers that old checkpoints carry and every implementation computes itself:
/// causal masks, position counters, rotary frequencies; and what is for engines alone.
const BUFFERS: &[&str] = &[
    ".attn.bias",
    ".attn.masked_bias",
    "embeddings.position_ids",
    ".rotary_emb.inv_freq",
    // Scales of a cache, for engines that keep one.
    ".k_scale",
    ".v_scale",
];

/// The tensors of a checkpoint against those of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Present and used, sorted.
    pub applied: Vec<String>,
    /// Needed and absent, in execution order.
    pub missing: Vec<String>,
    /// Present and not used by any stage, sorted.
    pub unused: Vec<String>,
    /// Present, but constants that are computed instead; sorted. Nothing is lost without them.
    pub buffers: Vec<String>,
}

impl LoadReport {
    /// Compares names only; reads no tensor.
    pub fn new(model: &dyn Model, source: &dyn WeightSource) -> Self {
        let present: BTreeSet<String> = source.names().into_iter().collect();
        let mut needed = BTreeSet::new();
        let mut missing: Vec<String> = Vec::new();
        for tensor in (0..model.stages()).flat_map(|stage| model.tensors(stage)) {
            if needed.insert(tensor.name.clone()) && !present.contains(&tensor.name) {
                missing.push(tensor.name.clone());
            }
        }
        let is_buffer = |name: &String| BUFFERS.iter().any(|end| name.ends_with(end));
        let (buffers, unused) = present.difference(&needed).cloned().partition(is_buffer);
        Self {
            applied: present.intersection(&needed).cloned().collect(),
            missing,
            unused,
            buffers,
        }
    }

    /// How many tensors the model needs.
    pub fn needed(&self) -> usize {
        self.applied.len() + self.missing.len()
    }

    /// The unused tensor most like the missing `name`, else the most like it of all.
    pub fn nearest(&self, name: &str) -> Option<String> {
        let among = |names: &[String]| nearest(name, names.iter().map(String::as_str));
        among(&self.unused).or_else(|| among(&self.applied))
    }
}
