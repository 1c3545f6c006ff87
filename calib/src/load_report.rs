//! What a model takes from a checkpoint: applied, missing, unused.

use crate::{Model, WeightSource};
use std::collections::BTreeSet;

/// A tensor the model needs and the checkpoint lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingTensor {
    /// Its name.
    pub name: String,
    /// The nearest name the model does not use, else the nearest of all.
    pub nearest: Option<String>,
}

/// The tensors of a checkpoint against those of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Present and used, sorted.
    pub applied: Vec<String>,
    /// Needed and absent, in execution order.
    pub missing: Vec<MissingTensor>,
    /// Present and not used by any stage, sorted. They are copied, never quantized.
    pub unused: Vec<String>,
}

impl LoadReport {
    /// Compares names only; reads no tensor.
    pub fn new(model: &dyn Model, source: &dyn WeightSource) -> Self {
        let present: BTreeSet<String> = source.names().into_iter().collect();
        let mut needed = BTreeSet::new();
        let mut absent: Vec<String> = Vec::new();
        for stage in 0..model.stages() {
            for tensor in model.tensors(stage) {
                if needed.insert(tensor.name.clone()) && !present.contains(&tensor.name) {
                    absent.push(tensor.name.clone());
                }
            }
        }
        let unused: Vec<String> = present.difference(&needed).cloned().collect();
        let missing = absent
            .into_iter()
            .map(|name| MissingTensor {
                nearest: nearest(&name, unused.iter())
                    .or_else(|| nearest(&name, present.iter()))
                    .cloned(),
                name,
            })
            .collect();
        Self {
            applied: present.intersection(&needed).cloned().collect(),
            missing,
            unused,
        }
    }

    /// How many tensors the model needs.
    pub fn needed(&self) -> usize {
        self.applied.len() + self.missing.len()
    }
}

/// The candidate most like `name`, if any is like it at all; the first of equals.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a String>,
) -> Option<&'a String> {
    let mut best: Option<(f64, &String)> = None;
    for candidate in candidates {
        let likeness = strsim::normalized_damerau_levenshtein(name, candidate);
        if likeness > best.map_or(0.5, |(likeness, _)| likeness) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}
