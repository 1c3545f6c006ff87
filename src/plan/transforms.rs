//! Which transforms rewrite the checkpoint, and the blocks before their layers are quantized.

use super::{ModelFacts, PlanError};
use crate::recipe::{Recipe, TransformRule};
use quantizers::ParamError;
use quantizers::statistics::{Pass, Stat};
use quantizers::transforms::{ConfiguredTransform, find};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One transform, in the order it is applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTransform {
    /// Registry name.
    pub method: String,
    /// Its parameters.
    pub parameters: toml::Table,
    /// Statistics it reads at the input points of every block.
    pub needs: Vec<Stat>,
}

impl PlannedTransform {
    /// The configured transform.
    ///
    /// # Errors
    /// Parameters it cannot take; never for a plan made by this version.
    pub fn configured(&self) -> Result<Box<dyn ConfiguredTransform>, ParamError> {
        match find(&self.method) {
            Some(transform) => transform.configure(&self.parameters),
            None => Err(ParamError::BadValue {
                method: "plan",
                key: "method".to_owned(),
                expected: "a transform of this version".to_owned(),
                found: format!("`{}`", self.method),
            }),
        }
    }
}

impl Recipe {
    /// The transforms that rewrite single blocks: all but the one that has rewritten the checkpoint of `model`.
    pub(super) fn block_transforms(&self, model: &ModelFacts) -> &[TransformRule] {
        let rewriting = usize::from(model.rewrite.is_some());
        self.transforms.get(rewriting..).unwrap_or_default()
    }
}

/// The transform that has rewritten the checkpoint of `model`.
pub(super) fn of_checkpoint(model: &ModelFacts) -> Option<PlannedTransform> {
    model.rewrite.as_ref().map(|rewrite| PlannedTransform {
        method: rewrite.method.clone(),
        parameters: rewrite.parameters.clone(),
        needs: Vec::new(),
    })
}

/// The transforms of `recipe` that rewrite blocks, each asked what it will leave as it is. `needs` is what the layers
/// read.
pub(super) fn plan(
    recipe: &Recipe,
    model: &ModelFacts,
    needs: &BTreeSet<Stat>,
    notes: &mut Vec<String>,
) -> Result<Vec<PlannedTransform>, PlanError> {
    let gradients = needs.iter().find(|stat| stat.0.pass == Pass::Backward);
    let mut planned = Vec::new();
    for rule in recipe.block_transforms(model) {
        let refused = |reason: String| PlanError::Transform {
            line: rule.line,
            transform: rule.method.clone(),
            reason,
        };
        if recipe.integer.is_some() {
            let reason = "integer-only programs have their own `[activations] equalize`";
            return Err(refused(reason.to_owned()));
        }
        if let Some(stat) = gradients {
            return Err(refused(format!(
                "`{}` is measured before blocks are rewritten and would be of other weights",
                stat.0.name
            )));
        }
        let transform = rule.configured()?;
        let rewrite = transform.rewrite(&model.graph, recipe.seed);
        if rewrite
            .map_err(|error| refused(error.to_string()))?
            .is_some()
        {
            let reason = "it rewrites the whole checkpoint, and that has not been done";
            return Err(refused(reason.to_owned()));
        }
        let left = transform.plan(&model.graph);
        let left = left.map_err(|error| refused(error.to_string()))?;
        notes.extend(
            left.into_iter()
                .map(|note| format!("{}: {note}", rule.method)),
        );
        planned.push(PlannedTransform {
            method: rule.method.clone(),
            parameters: rule.parameters.clone(),
            needs: transform.needs().iter().copied().map(Stat).collect(),
        });
    }
    Ok(planned)
}
