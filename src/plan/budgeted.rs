//! Plans of recipes that leave layers to a budget: of measuring their options, and of what is chosen by the scores.

use super::budget::{Chosen, Options, allocate};
use super::choose::{Filling, choose};
use super::{
    MeasuredCalibration, MeasuredOption, ModelFacts, ModelKind, Plan, PlanError,
    PlannedCalibration, PlannedLayer, PlannedTransform, Scores, formats, size,
};
use crate::recipe::{Recipe, TransformRule};
use quantizers::Sequential;
use quantizers::sensitivity::{Score, Sensitivity};
use quantizers::statistics::{Pass, Stat};
use std::collections::BTreeSet;

impl Recipe {
    /// What measuring the options of the layers that the budget decides would do: a plan in which such a layer stands
    /// once for each of its options. All of them are measured on the original weights, whatever a method does when it
    /// quantizes, and statistics that `kinds` of scores read are among those they need.
    ///
    /// # Errors
    /// As [`Recipe::check`]; scores that cannot be found of this model.
    pub fn plan_measuring(
        &self,
        model: &ModelFacts,
        threads: usize,
        kinds: &[&'static Sensitivity],
    ) -> Result<Plan, PlanError> {
        let mut recipe = self.clone();
        recipe.evaluate = false;
        recipe.gates.clear();
        recipe.report.output_sqnr = Some(false);
        self.check_kinds(model, kinds)?;
        let choice = choose(&recipe, model, &Filling::Options)?;
        let chosen = formats::choose(&self.output.format, &choice.layers)?;
        let mut layers = choice.layers;
        for layer in &mut layers {
            size::fill(layer, chosen.format);
        }
        let mut options = Options::of(layers, &choice.open).open;
        let reads: BTreeSet<Stat> = kinds
            .iter()
            .flat_map(|kind| kind.reads.iter().copied().map(Stat))
            .collect();
        let gradients = reads.iter().find(|stat| stat.0.pass == Pass::Backward);
        let outside = options.iter().find(|option| !in_block(model, option));
        if let (Some(stat), Some(option)) = (gradients, outside) {
            let kind = kinds.iter().find(|kind| kind.reads.contains(&stat.0));
            return Err(PlanError::Sensitivity {
                kind: kind.map_or("", |kind| kind.name).to_owned(),
                reason: format!(
                    "gradients are tracked inside the blocks, and `{}` is outside; give it fixed `bits`, or use `kl`",
                    option.name
                ),
            });
        }
        for option in &mut options {
            option.plan.sequential = Sequential::No;
            // Options of one layer exclude each other, so that no block can be tuned; nearest rounding stands for it.
            option.plan.tuning = None;
            let needs: BTreeSet<Stat> = option.plan.needs.iter().copied().collect();
            option.plan.needs = needs.union(&reads).copied().collect();
        }
        let end_to_end = kinds
            .iter()
            .any(|kind| matches!(kind.score, Score::EndToEnd));
        recipe.plan_options(model, threads, options, chosen, end_to_end)
    }

    /// The plan with the options chosen by `scores`.
    ///
    /// # Errors
    /// As [`Recipe::check`]; scores of another model or of other options; a budget that nothing fits in.
    pub fn check_measured(
        &self,
        model: &ModelFacts,
        threads: usize,
        scores: &Scores,
    ) -> Result<Plan, PlanError> {
        let measured = &scores.measured;
        let misfit = |message: String| PlanError::Measured {
            file: scores.file.clone(),
            message,
            hint: Some(
                "`quench measure` with this model and recipe makes a file that fits".to_owned(),
            ),
        };
        if measured.model.fingerprint != scores.fingerprint {
            return Err(misfit(format!(
                "expected those of `{}`, found those of another model (`{}` when it was measured)",
                model.name, measured.model.name
            )));
        }
        let asked = &self.output.format;
        if asked != "auto" && *asked != measured.format {
            return Err(misfit(format!(
                "expected sizes in format `{asked}`, found `{}`",
                measured.format
            )));
        }
        let same = |(rule, planned): (&TransformRule, &PlannedTransform)| {
            rule.method == planned.method && rule.parameters == planned.parameters
        };
        let transforms = self.block_transforms(model);
        let mut pairs = transforms.iter().zip(&measured.transforms);
        if transforms.len() != measured.transforms.len() || !pairs.all(same) {
            return Err(misfit(
                "expected those of blocks rewritten by the recipe's transforms, found others"
                    .to_owned(),
            ));
        }
        let choice = choose(self, model, &Filling::Options)?;
        let format = formats::choose(&measured.format, &choice.layers)?;
        let mut layers = choice.layers;
        for layer in &mut layers {
            size::fill(layer, format.format);
        }
        let options = Options::of(layers, &choice.open);
        // What this run calibrates on depends on what its layers read.
        let wanted: Vec<&'static Sensitivity> = measured
            .sensitivities
            .iter()
            .filter_map(|name| Sensitivity::find(name))
            .collect();
        let planned = self.plan_measuring(model, threads, &wanted)?;
        let calibration = planned.calibration.as_ref().map(MeasuredCalibration::from);
        let Chosen {
            format,
            layers,
            budget,
            notes,
        } = allocate(self, model, &options, scores, calibration.as_ref())?;
        let mut recipe = self.clone();
        recipe.output.format = format;
        let mut plan = recipe.check_filled(model, threads, &Filling::Chosen(&layers))?;
        plan.notes.insert(0, budget.line());
        plan.notes.extend(notes);
        plan.budget = Some(budget);
        Ok(plan)
    }

    /// Whether `kinds` of scores can be found of `model` with this recipe.
    fn check_kinds(
        &self,
        model: &ModelFacts,
        kinds: &[&'static Sensitivity],
    ) -> Result<(), PlanError> {
        let end_to_end = kinds
            .iter()
            .find(|kind| matches!(kind.score, Score::EndToEnd));
        let Some(kind) = end_to_end else {
            return Ok(());
        };
        let refused = |reason: &str| PlanError::Sensitivity {
            kind: kind.name.to_owned(),
            reason: reason.to_owned(),
        };
        if !self.block_transforms(model).is_empty() {
            return Err(refused(
                "layers of rewritten blocks cannot be put into the original one by one",
            ));
        }
        let distributes = [
            ModelKind::Decoder,
            ModelKind::MaskedModel,
            ModelKind::TextClassifier,
            ModelKind::TokenClassifier,
            ModelKind::ImageClassifier,
        ];
        if !distributes.contains(&model.kind) {
            return Err(refused(
                "it compares distributions, and the model returns none",
            ));
        }
        Ok(())
    }
}

fn in_block(model: &ModelFacts, layer: &PlannedLayer) -> bool {
    let spec = model.layers.iter().find(|spec| spec.name == layer.name);
    spec.is_some_and(|spec| spec.in_block)
}

/// What makes two options of a layer the same.
pub(crate) fn option_key(layer: &PlannedLayer) -> MeasuredOption {
    MeasuredOption {
        method: layer.method.clone(),
        parameters: layer.parameters.clone(),
    }
}

impl From<&PlannedCalibration> for MeasuredCalibration {
    fn from(planned: &PlannedCalibration) -> Self {
        Self {
            data: planned.data.clone(),
            samples: planned.samples,
            sequence_length: planned.sequence_length,
            mode: planned.mode.clone(),
            selection: planned.selection,
            template: planned.template,
        }
    }
}
