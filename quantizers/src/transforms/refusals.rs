//! What of a model a scaling transform has to leave as it is, in words.

use super::error::TransformError;
use crate::graph::{Graph, StageNode, Unscalable};

/// One note for each reason, naming its first layers; an error where nothing is left to scale.
pub(super) fn notes(graph: &Graph) -> Result<Vec<String>, TransformError> {
    let mut found: Vec<(Unscalable, usize)> = Vec::new();
    let mut able = 0;
    for result in graph.blocks().flat_map(|block| block.scalings()) {
        match result {
            Ok(_) => able += 1,
            Err(refusal) => match found.iter_mut().find(|(known, _)| alike(known, &refusal)) {
                Some((_, more)) => *more += 1,
                None => found.push((refusal, 0)),
            },
        }
    }
    let mut notes: Vec<String> = found
        .iter()
        .map(|(refusal, more)| match more {
            0 => refusal.to_string(),
            more => format!("{refusal} (and in {more} more blocks)"),
        })
        .collect();
    for stage in &graph.stages {
        if let StageNode::Opaque { name, .. } = stage {
            notes.push(format!("stage `{name}` is of a kind of its own"));
        }
    }
    if able == 0 {
        let reason = notes.first().cloned();
        return Err(TransformError::Nothing {
            architecture: graph.architecture.clone(),
            reason: reason.unwrap_or_else(|| "it has no transformer blocks".to_owned()),
        });
    }
    Ok(notes)
}

/// The same set of layers in another block.
fn alike(a: &Unscalable, b: &Unscalable) -> bool {
    let last = |refusal: &Unscalable| -> Vec<String> {
        let names = refusal.layers.iter();
        names
            .map(|name| name.rsplit('.').next().unwrap_or_default().to_owned())
            .collect()
    };
    a.reason == b.reason && a.layers.len() == b.layers.len() && last(a) == last(b)
}
