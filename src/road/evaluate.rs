//! Evaluating: tasks over one model, or over two on the same samples.

use super::watch::{Watch, failed};
use super::{Clock, data, early, report};
use crate::Error;
use crate::machine::Machine;
use crate::model::OpenModel;
use crate::plan::{
    EvaluateRequest, PlannedEvaluation, QuantizeRequest, RESIDENT_BYTES, SYNTHETIC_SAMPLES,
};
use crate::progress::Progress;
use calib::cache_policy::Protocol;
use calib::hub::FetchOptions;
use calib::packed_weights::PackedWeights;
use calib::{Forward, StageError, WeightSource};
use eval::integer_model::IntegerModel;
use eval::pruned::Pruned;
use eval::report::{ArtifactFacts, Report, RunFacts, SCHEMA};
use eval::runner::Runner;
use eval::score::Score;
use eval::subject::Subject;
use eval::tasks::{self, TASKS};
use quantizers::kernels::Compute;

/// Runs the tasks of `request` on `model` and, for the differences, on `baseline`.
///
/// # Errors
/// Data that cannot be read, or a model that cannot be run.
pub fn run(
    model: &OpenModel,
    baseline: Option<&OpenModel>,
    request: &EvaluateRequest,
    progress: &Progress,
) -> Result<Report, Error> {
    let mut clock = Clock::start();
    let (evaluations, machine) = (&request.evaluations, &request.machine);
    early::check(model, evaluations, machine, &request.fetch, progress)?;
    for subject in [Some(model), baseline].into_iter().flatten() {
        clock.stage("check", || subject.check_values(progress))?;
    }
    // A plain checkpoint alone is an original; beside a baseline, or quantized, it is the result.
    let (original, quantized) = match baseline {
        Some(baseline) => (Some(baseline), Some(model)),
        // With fewer tokens it is compared with itself.
        None if request.keep_tokens.is_some() => (Some(model), Some(model)),
        None if model.is_quantized() => (None, Some(model)),
        None => (Some(model), None),
    };
    let run = Run {
        original,
        quantized,
        keep_tokens: request.keep_tokens,
        machine: &request.machine,
        fetch: &request.fetch,
        seed: request.seed,
        compute: request.compute,
        progress,
    };
    let scores = clock.stage("evaluate", || run.scores(&request.evaluations))?;
    let artifact = model.is_quantized().then(|| ArtifactFacts {
        format: model.format_name().to_owned(),
        path: model.folder.display().to_string(),
    });
    let mut made = Report {
        schema: SCHEMA,
        model: report::model_facts(baseline.unwrap_or(model)),
        recipe: None,
        scores,
        size: report::size_of_folder(model, baseline),
        layers: Vec::new(),
        run: RunFacts::default(),
        warnings: progress.warnings(),
        gates: Vec::new(),
        artifact,
        histograms: Vec::new(),
        nonlinear: Vec::new(),
        calibration: None,
        budget: None,
    };
    report::finish(
        &mut made,
        &request.gates,
        &request.machine,
        &request.command,
        request.seed,
        &clock,
    );
    Ok(made)
}

/// Evaluates the folder that was just written, beside the model it was made from.
///
/// # Errors
/// As [`run`]; a folder that does not open again.
pub(super) fn of_output(
    model: &OpenModel,
    request: &QuantizeRequest,
    progress: &Progress,
) -> Result<Vec<Score>, Error> {
    let quantized = OpenModel::written(model, &request.output)?;
    let run = Run {
        original: Some(model),
        quantized: Some(&quantized),
        keep_tokens: None,
        machine: &request.machine,
        fetch: &request.fetch,
        seed: request.plan.seed,
        compute: None,
        progress,
    };
    run.scores(&request.plan.evaluations)
}

/// One evaluation of one or two models.
struct Run<'a> {
    original: Option<&'a OpenModel>,
    quantized: Option<&'a OpenModel>,
    /// Share of the tokens that blocks of the result compute.
    keep_tokens: Option<f64>,
    machine: &'a Machine,
    fetch: &'a FetchOptions,
    seed: u64,
    /// How the packed weights of the model that is judged are multiplied, if they are.
    compute: Option<Compute>,
    progress: &'a Progress,
}

impl Run<'_> {
    fn scores(&self, evaluations: &[PlannedEvaluation]) -> Result<Vec<Score>, Error> {
        let Some(model) = self.original.or(self.quantized) else {
            return Ok(Vec::new());
        };
        let inputs = data::input_files(&model.name, &model.folder)?;
        // Unless asked for: over whole texts decoded weights are as fast (1.0x to 1.1x), and the figures alike to 8 digits.
        let packed = self.compute.map(|compute| {
            let judged = self.quantized.unwrap_or(model);
            PackedWeights::new(judged.weights(), &judged.artifact, compute).many_as_few()
        });
        let of_original = packed.as_ref().filter(|_| self.quantized.is_none());
        let original = self.original;
        let original = original.map(|model| self.runner(model, of_original));
        let original = original.transpose()?;
        let (quantized, computed) = match (self.quantized, self.keep_tokens) {
            (Some(model), Some(keep)) => {
                let pruned = self.pruned(model, keep)?;
                let computed = pruned.computed();
                let pruned: Box<dyn Runner> = Box::new(pruned);
                (Some(pruned), Some(computed))
            }
            (Some(model), None) => (Some(self.runner(model, packed.as_ref())?), None),
            (None, _) => (None, None),
        };
        let subject = Subject {
            original,
            quantized,
            inputs,
        };
        let mut scores = Vec::new();
        for planned in evaluations {
            let spec = &planned.spec;
            let failed = |error| failed(spec, error);
            let (_, configured) = spec.configure(TASKS).map_err(failed)?;
            let runner = subject.original.as_ref().or(subject.quantized.as_ref());
            let forward = runner.and_then(|runner| runner.stages());
            let content = data::load(
                &spec.data,
                &data::Wanted {
                    samples: spec.limit.unwrap_or(SYNTHETIC_SAMPLES),
                    sequence_length: configured
                        .sequence_length()
                        .unwrap_or_else(|| data::synthetic_length(model.model.as_ref())),
                    // Not the sequences the model was calibrated on.
                    seed: self.seed.wrapping_add(1),
                },
                forward,
                subject.inputs.tokenizer.as_ref(),
                self.fetch,
                self.progress,
            )?;
            let watch = Watch::new(self.progress, &spec.task);
            let found = tasks::evaluate(TASKS, &subject, spec, &content, self.seed, &watch);
            scores.extend(found.map_err(failed)?);
        }
        if let Some(computed) = computed {
            let share = 100.0 * computed.share();
            let said = format!("blocks computed {share:.1} % of the tokens");
            self.progress.say(&said);
        }
        Ok(scores)
    }

    /// The model with blocks that compute the share `keep` of the tokens.
    fn pruned<'m>(&self, model: &'m OpenModel, keep: f64) -> Result<Pruned<'m>, Error> {
        let message = || {
            format!(
                "`--keep-tokens`: cannot leave out tokens of `{}`",
                model.name
            )
        };
        if model.is_quantized() {
            return Err(Error::Mismatch {
                message: format!("{}: it is quantized", message()),
                source: None,
                hint: Some("name the original checkpoint".to_owned()),
            });
        }
        let device = self.machine.device.open()?;
        let pruned = Pruned::new(model.model.as_ref(), model.weights(), device, keep);
        let mut pruned = pruned.map_err(|error| {
            let hint = "BERT and ViT with a class token can be tried".to_owned();
            Error::mismatch(message(), error).hinted(Some(hint))
        })?;
        if is_small(model) {
            pruned
                .keep_resident()
                .map_err(|error| unbuilt(model, error))?;
        }
        Ok(pruned)
    }

    /// The model ready to run: the integer program of a folder that has one, else its stages.
    fn runner<'m>(
        &self,
        model: &'m OpenModel,
        packed: Option<&'m PackedWeights<'m>>,
    ) -> Result<Box<dyn Runner + 'm>, Error> {
        let program = model.artifact.reader().integer_program();
        let program = program.map_err(|error| {
            Error::io(
                format!("cannot read the integer program of `{}`", model.name),
                error,
            )
        })?;
        Ok(match program {
            Some(_) if packed.is_some() => {
                return Err(Error::usage(format!(
                    "`--compute` says how packed weights are multiplied, and `{}` is an integer-only program",
                    model.name
                )));
            }
            Some(program) => Box::new(IntegerModel::new(program, model.model.as_ref())),
            None => Box::new(self.forward(model, packed)?),
        })
    }

    /// The stages of a model; all at once where they take little of the free memory.
    fn forward<'m>(
        &self,
        model: &'m OpenModel,
        packed: Option<&'m PackedWeights<'m>>,
    ) -> Result<Forward<'m>, Error> {
        let weights = packed.map_or_else(|| model.weights(), |packed| packed as &dyn WeightSource);
        let device = self.machine.device.open()?;
        let mut forward = Forward::new(model.model.as_ref(), weights, device);
        if let Some(policy) = model.attention_policy(Protocol::Strict)? {
            forward = forward.attending_by(policy);
        }
        if is_small(model) {
            forward
                .keep_resident()
                .map_err(|error| unbuilt(model, error))?;
            // What the weights were decoded and turned in, up to the size of the token table.
            calib::heap::give_back_freed_memory();
        }
        Ok(forward)
    }
}

/// Whether all stages together take little of the memory.
fn is_small(model: &OpenModel) -> bool {
    4 * model.facts().parameters <= RESIDENT_BYTES
}

fn unbuilt(model: &OpenModel, error: StageError) -> Error {
    Error::mismatch(
        format!("cannot build the stages of `{}`", model.name),
        error,
    )
}
