//! What `[cache]` and `[attention]` do in each block, checked before any weight is read.

use super::{ModelFacts, PlanError};
use crate::recipe::{Recipe, WayRule};
use eval::attention::candidate::{BlockPlan, BlockShape, Candidate, shapes_of};
use serde::{Deserialize, Serialize};

/// Tokens a sparse method is checked for, where a model does not say how many it takes.
const TOKENS: usize = 4096;

/// The attention of a [`Plan`](super::Plan).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedAttention {
    /// Registry name.
    pub method: String,
    /// Its parameters.
    pub parameters: toml::Table,
    /// Blocks whose attention stays exact.
    pub kept: Vec<usize>,
}

/// The attention `recipe` asks for, checked against every block of `model`.
pub(super) fn attention(
    recipe: &Recipe,
    model: &ModelFacts,
    notes: &mut Vec<String>,
) -> Result<Option<PlannedAttention>, PlanError> {
    let Some(rule) = &recipe.attention else {
        return Ok(None);
    };
    let (_, plans) = of_blocks(rule, recipe, model, notes)?;
    let kept = plans.iter().enumerate();
    let kept = kept.filter(|(_, plan)| matches!(plan, BlockPlan::Kept));
    Ok(Some(PlannedAttention {
        method: rule.method.clone(),
        parameters: rule.parameters.clone(),
        kept: kept.map(|(block, _)| block).collect(),
    }))
}

/// What `rule` does in every block of `model`, in order.
pub(super) fn of_blocks(
    rule: &WayRule,
    recipe: &Recipe,
    model: &ModelFacts,
    notes: &mut Vec<String>,
) -> Result<(Vec<BlockShape>, Vec<BlockPlan>), PlanError> {
    let shapes = blocks_of(rule, recipe, model)?;
    let candidate = Candidate {
        method: rule.kind.name(),
        label: rule.method.clone(),
        engines: None,
        way: rule.configured()?,
        kept: rule.kept.clone(),
    };
    let plans = candidate.plans(&shapes);
    let plans = plans.map_err(|error| refused(rule, error.with_causes()))?;
    for note in plans.iter().flat_map(BlockPlan::notes) {
        let note = format!("{}: {note}", rule.method);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    Ok((shapes, plans))
}

/// A table that the model cannot have.
pub(super) fn refused(rule: &WayRule, reason: String) -> PlanError {
    PlanError::Way {
        line: rule.line,
        table: rule.kind.name(),
        method: rule.method.clone(),
        reason,
    }
}

/// The attention of every block of `model`, in order, of which `rule` names no others.
pub(super) fn blocks_of(
    rule: &WayRule,
    recipe: &Recipe,
    model: &ModelFacts,
) -> Result<Vec<BlockShape>, PlanError> {
    let refused = |reason| refused(rule, reason);
    if recipe.integer.is_some() {
        return Err(refused("integer-only programs keep no cache".to_owned()));
    }
    let tokens = model.max_positions.unwrap_or(TOKENS);
    let shapes = shapes_of(&model.graph, tokens);
    let shapes = shapes.map_err(|error| refused(error.to_string()))?;
    if shapes.is_empty() {
        return Err(refused("the model has no blocks".to_owned()));
    }
    if let Some(far) = rule.kept.iter().find(|block| **block >= shapes.len()) {
        let last = shapes.len() - 1;
        return Err(refused(format!(
            "`skip_layers`: expected blocks 0 to {last}, found {far}"
        )));
    }
    Ok(shapes)
}
