//! Recipe and model headers to a [`Plan`].

use super::choose::{Choice, Filling, choose};
use super::estimate::ACTIVATIONS;
use super::experts::ExpertStatistics;
use super::formats::FormatChoice;
use super::integer::{self, PlannedInteger};
use super::{
    BlockOrder, ModelFacts, ModelKind, Plan, PlanError, PlannedCalibration, PlannedLayer,
    PlannedModel, PlannedRecipe, cache, data, estimate, evaluations, formats, size, transforms,
    way,
};
use crate::recipe::{Evaluation, Overrides, Recipe, builtin};
use eval::tasks::{TASKS, TaskSpec, fitting};
use quantizers::integer::compile::Encoder;
use quantizers::statistics::{HESSIAN, INPUT_MEAN_SQUARE, Pass, Statistic};
use quantizers::{Sequential, Stat};
use std::collections::BTreeSet;

/// Tokens of a calibration sequence unless the recipe says otherwise or the model takes fewer.
const DEFAULT_SEQUENCE_LENGTH: usize = 512;
/// The same for encoders, whose inputs are sentences and paragraphs.
const ENCODER_SEQUENCE_LENGTH: usize = 128;
/// Block inputs the backward pass keeps in memory: more of them go to a file, which the system caches as
/// long as it has room.
pub(crate) const KEPT_INPUT_BYTES: u64 = 64 << 20;
/// Memory that is spent on running blocks once instead of twice.
const TAPE_BYTES: u64 = 1 << 30;

impl Recipe {
    /// The recipe used where none is named: `int8-integer-only` for encoders, `q4` for decoders, `q8`
    /// for whatever else.
    pub fn default_for(model: &ModelFacts) -> &'static str {
        match (model.kind, Encoder::of(&model.graph)) {
            (ModelKind::Decoder, _) => "q4",
            (_, Ok(_)) => "int8-integer-only",
            (_, Err(_)) => "q8",
        }
    }

    /// The recipe of the command line: the named one, a single rule for `--method`, or the default
    /// for the model; with what the command line changes.
    ///
    /// # Errors
    /// A change the recipe cannot take.
    pub fn for_model(
        named: Option<Self>,
        overrides: &Overrides,
        model: &ModelFacts,
    ) -> Result<Self, crate::recipe::RecipeError> {
        let base = match (named, &overrides.method) {
            (Some(recipe), _) => recipe,
            (None, Some(method)) => Self::of_method(method, overrides.bits.unwrap_or(4))?,
            (None, None) => match builtin::find(Self::default_for(model)) {
                Some(builtin) => builtin.recipe()?,
                None => return Err(crate::recipe::RecipeError::NoRules),
            },
        };
        let mut recipe = base.with(overrides)?;
        if let (Some(data), Some(task)) = (&recipe.eval_data, fitting(TASKS, model.kind)) {
            recipe.evaluations = vec![Evaluation {
                line: 0,
                spec: TaskSpec::new(task.name(), data),
            }];
        }
        Ok(recipe.hashed())
    }

    /// Decides everything about `model`; reads no tensor and no data.
    ///
    /// # Errors
    /// A pattern that matches nothing, a shape a method cannot take, a format that cannot hold a
    /// layer, data the model cannot read.
    pub fn check(&self, model: &ModelFacts, threads: usize) -> Result<Plan, PlanError> {
        self.check_filled(model, threads, &Filling::Nothing)
    }

    /// As [`Recipe::check`], with what becomes of the layers that rules leave to the budget.
    pub(super) fn check_filled(
        &self,
        model: &ModelFacts,
        threads: usize,
        filling: &Filling<'_>,
    ) -> Result<Plan, PlanError> {
        let mut choice = choose(self, model, filling)?;
        let layers = &mut choice.layers;
        let format = if self.integer.is_some() {
            integer::check_format(self)?;
            formats::for_integers(layers)?
        } else {
            formats::choose(&self.output.format, layers)?
        };
        for layer in layers {
            size::fill(layer, format.format);
        }
        self.assemble(model, threads, choice, format, None)
    }

    /// The plan of measuring `options`, whose sizes in `format` are known; `end_to_end` where the model is run with
    /// each of them.
    pub(super) fn plan_options(
        &self,
        model: &ModelFacts,
        threads: usize,
        options: Vec<PlannedLayer>,
        format: FormatChoice,
        end_to_end: bool,
    ) -> Result<Plan, PlanError> {
        let runs = end_to_end.then_some("measuring KL divergences");
        self.assemble(model, threads, Choice::of(options), format, runs)
    }

    /// Everything that follows from the layers; `runs` says for what the model is run besides their statistics.
    fn assemble(
        &self,
        model: &ModelFacts,
        threads: usize,
        choice: Choice,
        format: FormatChoice,
        runs: Option<&str>,
    ) -> Result<Plan, PlanError> {
        let Choice {
            layers,
            kept,
            needs,
            mut notes,
            ..
        } = choice;
        notes.extend(model.notes.iter().cloned());
        let transforms = transforms::plan(self, model, &needs, &mut notes)?;
        let mut measured = needs;
        measured.extend(
            transforms
                .iter()
                .flat_map(|planned| planned.needs.iter().copied()),
        );
        let rewritten = !transforms.is_empty();
        let cache = cache::plan(self, model, &mut notes)?;
        let attention = way::attention(self, model, &mut notes)?;
        let fitted = cache.as_ref().is_some_and(|cache| cache.needs_samples);
        let runs = runs
            .or(rewritten.then_some("a transform"))
            .or(fitted.then_some("a cache"))
            .or(layers
                .iter()
                .any(|layer| layer.plan.tuning.is_some())
                .then_some("learned rounding"));
        let calibration = self.calibration_plan(model, &layers, &measured, runs)?;
        notes.extend(
            calibration
                .as_ref()
                .and_then(|planned| not_kept(planned, rewritten)),
        );
        notes.extend(calibration.as_ref().and_then(|planned| {
            let experts = ExpertStatistics::of(model, &layers, &planned.report);
            experts.note(planned)
        }));
        if let Some(asked) = &self.integer {
            let encoder = integer::encoder(asked, model)?;
            notes.extend(integer::notes(asked, &encoder, &self.calibration.data));
        }
        let evaluations = evaluations::plan(self, model, &mut notes)?;
        for evaluation in &evaluations {
            data::check("evaluation", &evaluation.spec.data)?;
        }
        evaluations::check_gates(&self.gates, &evaluations, true)?;
        let size = size::predict(model, &layers, self.integer.is_some());
        let overrides: BTreeSet<String> = self
            .rules
            .iter()
            .flat_map(|rule| rule.overridden.iter().cloned())
            .collect();
        Ok(Plan {
            model: PlannedModel {
                name: model.name.clone(),
                revision: model.revision.clone(),
                architecture: model.architecture.clone(),
                parameters: model.parameters,
            },
            recipe: PlannedRecipe {
                name: self.name.clone(),
                origin: self.origin.to_string(),
                sha256: self.sha256.clone(),
                overrides: overrides.into_iter().collect(),
            },
            seed: self.seed,
            size,
            estimate: estimate::Subject {
                facts: model,
                layers: &layers,
                calibration: calibration.as_ref(),
                cache: cache.as_ref(),
                evaluations: &evaluations,
                artifact_bytes: size.artifact_bytes,
                threads,
            }
            .estimate(),
            calibration,
            rewrite: transforms::of_checkpoint(model),
            transforms,
            cache,
            attention,
            budget: None,
            layers,
            kept,
            kept_tensors: if self.integer.is_some() {
                Vec::new()
            } else {
                model.others.clone()
            },
            integer: self.integer.as_ref().map(PlannedInteger::new),
            format: format.format.name().to_owned(),
            format_because: format.because,
            shard_bytes: self.output.shard_bytes,
            evaluations,
            gates: self.gates.iter().map(ToString::to_string).collect(),
            notes,
        })
    }

    /// Statistics only the report reads: for the error that reaches the outputs of layers. By the mean squares
    /// of inputs, which cost nothing to speak of, unless the second moments are there anyway or asked for.
    fn report_needs(&self, layers: &[PlannedLayer]) -> Vec<Stat> {
        let exact = layers.iter().all(|layer| layer.plan.reads(&HESSIAN));
        match self.report.output_sqnr {
            _ if self.integer.is_some() => Vec::new(),
            Some(true) => vec![Stat(&HESSIAN)],
            None if !exact => vec![Stat(&INPUT_MEAN_SQUARE)],
            None | Some(false) => Vec::new(),
        }
    }

    fn calibration_plan(
        &self,
        model: &ModelFacts,
        layers: &[PlannedLayer],
        needs: &BTreeSet<Stat>,
        runs: Option<&str>,
    ) -> Result<Option<PlannedCalibration>, PlanError> {
        if needs.is_empty() && self.integer.is_none() && runs.is_none() {
            return Ok(None);
        }
        let mut statistics: Vec<String> = needs.iter().map(|stat| stat.0.name.to_owned()).collect();
        if self.integer.is_some() {
            // Mean squares of inputs are among what is seen at every point.
            statistics.retain(|name| name != INPUT_MEAN_SQUARE.name);
            statistics.insert(0, ACTIVATIONS.to_owned());
        }
        if model.kind == ModelKind::Unknown {
            let reads = runs.map_or(statistics, |runs| vec![runs.to_owned()]);
            return Err(PlanError::UnknownArchitecture { reads });
        }
        if model.kind == ModelKind::ImageTextEncoder {
            return Err(PlanError::TwoTowers {
                architecture: model.architecture.clone(),
                statistics,
            });
        }
        let calibration = &self.calibration;
        if calibration.data == integer::SYNTHETIC && !model.synthetic {
            return Err(PlanError::NoSampler {
                architecture: model.architecture.clone(),
                statistics,
            });
        }
        data::check("calibration", &calibration.data)?;
        let limit = model.max_positions.unwrap_or(usize::MAX);
        let sequence_length = match calibration.sequence_length {
            _ if model.kind.is_vision() => 0,
            Some(found) if found > limit => {
                return Err(PlanError::SequenceLength { found, limit });
            }
            Some(length) => length,
            None if self.integer.is_some() => ENCODER_SEQUENCE_LENGTH.min(limit),
            None => DEFAULT_SEQUENCE_LENGTH.min(limit),
        };
        let sequential = layers.iter().map(|layer| layer.plan.sequential).max();
        let sequential = sequential.unwrap_or(Sequential::No);
        let gradients = needs.iter().any(|stat| stat.0.pass == Pass::Backward);
        // Blocks can be quantized as the backward pass leaves them where nobody has to wait for the blocks
        // before, and nothing is kept.
        let keeps = calibration.keep_statistics;
        // The backward pass sees the inputs of the layers whose gradients it takes, and of no others.
        let others_read_nothing = layers.iter().all(|layer| {
            let needs = &layer.plan.needs;
            needs.is_empty() || needs.iter().any(|stat| stat.0.pass == Pass::Backward)
        });
        let alone = sequential == Sequential::No && others_read_nothing;
        let order = if gradients && alone && !keeps {
            BlockOrder::LastToFirst
        } else {
            BlockOrder::FirstToLast
        };
        Ok(Some(PlannedCalibration {
            report: self.report_needs(layers),
            order,
            sequential,
            keep_statistics: calibration.keep_statistics,
            experts: layers
                .iter()
                .any(|layer| layer.routed)
                .then_some(calibration.experts),
            kept_input_bytes: KEPT_INPUT_BYTES,
            tape_bytes: TAPE_BYTES,
            data: calibration.data.clone(),
            samples: calibration.samples,
            at_most: data::samples_at_most(&calibration.data, &calibration.mode, sequence_length)
                .filter(|&most| most < calibration.samples),
            sequence_length,
            mode: calibration.mode.clone(),
            selection: calibration.selection,
            template: calibration.template,
            statistics,
        }))
    }
}

/// What `keep_statistics` cannot keep: statistics of weights that change on the way are of no use to another
/// run.
fn not_kept(planned: &PlannedCalibration, rewritten: bool) -> Option<String> {
    let changing = rewritten || planned.sequential != Sequential::No;
    let gradients = planned.statistics.iter().filter(|name| {
        let statistic = Statistic::find(name);
        statistic.is_some_and(|statistic| statistic.pass == Pass::Backward)
    });
    let gradients: Vec<String> = gradients.map(|name| format!("`{name}`")).collect();
    let kept = if gradients.is_empty() {
        "nothing".to_owned()
    } else {
        format!("only {}", gradients.join(", "))
    };
    (planned.keep_statistics && changing).then(|| {
        format!(
            "`keep_statistics` keeps {kept}: the rest is measured with weights that this run changes"
        )
    })
}
