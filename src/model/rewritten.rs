//! A model whose checkpoint a transform rewrites as a whole before anything else is done with it.

use super::{OpenModel, model_error};
use crate::Error;
use crate::plan::{PlanError, RewriteFacts, dtype_name};
use crate::recipe::{Recipe, TransformRule};
use calib::{WeightSource, open_model};
use eval::report::figures;
use quantizers::transforms::{CheckpointRewrite, ConfiguredTransform};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What has been made of a model.
pub(super) struct RewrittenModel {
    /// The model as it is stored.
    original: Arc<OpenModel>,
    /// The transform, its parameters and the seed, in one text.
    key: String,
    facts: RewriteFacts,
    notes: Vec<String>,
}

impl OpenModel {
    /// The model that `recipe`, of `origin`, plans on: this one, or what a transform makes of its whole checkpoint. It
    /// can be read like any other; nothing of it is computed before it is.
    ///
    /// # Errors
    /// A transform that cannot rewrite the model, or stands behind others.
    pub(crate) fn rewritten(
        self: &Arc<Self>,
        recipe: &Recipe,
        origin: &str,
    ) -> Result<Arc<Self>, Error> {
        let asked = self.asked(recipe).map_err(|source| Error::Plan {
            recipe: origin.to_owned(),
            model: self.name.clone(),
            source,
        })?;
        let Some((rule, rewrite)) = asked else {
            return Ok(Arc::clone(self));
        };
        let bug = |message: &str, source| Error::Bug {
            message: format!("{message} of `{}`", self.name),
            source: Some(source),
        };
        let folder = self.folder.clone();
        let Self {
            checkpoint,
            artifact,
            ..
        } = Self::at(self.name.clone(), self.revision.clone(), folder, None)?;
        let artifact = artifact
            .rewritten(&rewrite, &self.second_names())
            .map_err(|error| bug("a transform rewrites what is no tensor", error.into()))?
            .with_float_inputs();
        let config = serde_json::Value::from(artifact.reader().config().clone());
        let model =
            open_model(&config, &artifact).map_err(|error| model_error(&self.name, error))?;
        let rewritten = RewrittenModel {
            original: Arc::clone(self),
            key: format!("{} {} seed {}", rule.method, rule.parameters, recipe.seed),
            facts: self.rewrite_facts(rule, &rewrite),
            notes: self.rewrite_notes(rule, &rewrite),
        };
        Ok(Arc::new(Self {
            name: self.name.clone(),
            revision: self.revision.clone(),
            folder: self.folder.clone(),
            checkpoint: checkpoint.with_config(config),
            artifact,
            integer: None,
            model,
            rewritten: Some(rewritten),
            _demo: None,
        }))
    }

    /// What transforms `recipe` asks for do to the whole checkpoint.
    fn asked<'r>(
        &self,
        recipe: &'r Recipe,
    ) -> Result<Option<(&'r TransformRule, CheckpointRewrite)>, PlanError> {
        // What integer programs take instead is said when they are planned.
        if recipe.integer.is_some() {
            return Ok(None);
        }
        let mut asked: Option<(&TransformRule, CheckpointRewrite)> = None;
        for (at, rule) in recipe.transforms.iter().enumerate() {
            let refused = |reason: String| PlanError::Transform {
                line: rule.line,
                transform: rule.method.clone(),
                reason,
            };
            let transform = rule.configured()?;
            let found = self.rewrite_by(transform.as_ref(), recipe.seed);
            let Some(rewrite) = found.map_err(refused)? else {
                continue;
            };
            if let Some((first, _)) = &asked {
                return Err(refused(format!(
                    "expected one transform of the whole checkpoint, found another at line {}",
                    first.line
                )));
            }
            if at > 0 {
                return Err(refused(format!(
                    "it rewrites the whole checkpoint, and has to stand before `{}` at line {}, which rewrites blocks",
                    recipe.transforms[0].method, recipe.transforms[0].line
                )));
            }
            asked = Some((rule, rewrite));
        }
        Ok(asked)
    }

    fn rewrite_by(
        &self,
        transform: &dyn ConfiguredTransform,
        seed: u64,
    ) -> Result<Option<CheckpointRewrite>, String> {
        let found = transform.rewrite(self.model.graph(), seed);
        let found = found.map_err(|error| error.to_string())?;
        match self.model.within().filter(|_| found.is_some()) {
            None => Ok(found),
            Some(larger) => Err(format!(
                "what the other towers of this `{}` put into the residual stream would not be rotated",
                larger.model_type
            )),
        }
    }

    fn rewrite_facts(&self, rule: &TransformRule, rewrite: &CheckpointRewrite) -> RewriteFacts {
        let layers = self.model.layers().iter();
        let layers: BTreeSet<String> = layers.map(calib::LayerSpec::weight_name).collect();
        let kept = rewrite
            .tensors
            .iter()
            .filter(|tensor| !layers.contains(&tensor.name));
        let values = kept.map(|tensor| tensor.shape.iter().product::<usize>() as u64);
        RewriteFacts {
            method: rule.method.clone(),
            parameters: rule.parameters.clone(),
            largest_kept: values.max().unwrap_or(0),
        }
    }

    /// What the transform says, and what becomes of the files.
    fn rewrite_notes(&self, rule: &TransformRule, rewrite: &CheckpointRewrite) -> Vec<String> {
        let mut notes = rewrite.notes.clone();
        let originals = self.artifact.reader().originals();
        let added = rewrite
            .tensors
            .iter()
            .filter(|tensor| !self.artifact.contains(&tensor.name));
        for tensor in added {
            let Some(source) = originals.get(&tensor.source) else {
                continue;
            };
            notes.push(format!(
                "`{}` differs from `{}` from now on and becomes a tensor of its own, {} more as {}; config.json says so",
                tensor.name,
                tensor.source,
                figures::bytes(source.kept_bytes()),
                dtype_name(source.dtype),
            ));
        }
        let used = (0..self.model.stages()).flat_map(|stage| self.model.tensor_names(stage));
        let used: BTreeSet<String> = used.collect();
        let second = self.second_names();
        let unused = originals.keys();
        let unused = unused.filter(|name| !used.contains(*name) && !second.contains_key(*name));
        let unused: Vec<&String> = unused.collect();
        if let Some(first) = unused.first() {
            let count = match unused.len() {
                1 => String::new(),
                all => format!(" and {} more", all - 1),
            };
            notes.push(format!(
                "`{first}`{count} stay as they are: the model does not use them, and what may read them from its \
                 residual stream has to know that it is rotated"
            ));
        }
        notes
            .into_iter()
            .map(|note| format!("{}: {note}", rule.method))
            .collect()
    }

    /// The model as it is stored, which results are compared with.
    pub fn original(&self) -> &Self {
        match &self.rewritten {
            Some(rewritten) => &rewritten.original,
            None => self,
        }
    }

    /// What tells this checkpoint from the one that is stored; nothing where it is that one.
    pub(crate) fn rewrite_key(&self) -> Option<&str> {
        self.rewritten.as_ref().map(|found| found.key.as_str())
    }

    /// What planning knows of the transform that rewrote it.
    pub(super) fn rewrite(&self) -> Option<RewriteFacts> {
        self.rewritten.as_ref().map(|found| found.facts.clone())
    }

    /// Values of the model as it is stored; nothing where it is not rewritten.
    pub(super) fn stored_parameters(&self) -> Option<u64> {
        let found = self.rewritten.as_ref();
        found.map(|found| found.original.facts().parameters)
    }

    /// What a reader should know of that.
    pub(super) fn notes_of_rewrite(&self) -> Vec<String> {
        let found = self.rewritten.as_ref();
        found.map_or_else(Vec::new, |found| found.notes.clone())
    }
}
