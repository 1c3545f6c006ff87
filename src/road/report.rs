//! From what happened to the report.

use super::Clock;
use super::job::LayerResult;
use crate::Error;
use crate::machine::Machine;
use crate::model::OpenModel;
use crate::plan::{PlannedBudget, PlannedLayer, QuantizeRequest};
use crate::progress::{Progress, memory};
use eval::gate::Gate;
use eval::report::{
    ArtifactFacts, BudgetFacts, LayerFacts, ModelFacts, RecipeFacts, Report, RunFacts, SCHEMA,
    SizeFacts, WeightHistogram,
};
use eval::score::Score;
use quantizers::formats::Written;

/// Layers whose histograms the report shows.
const SHOWN: usize = 3;

/// The layers that lost most, worst first: by share of the damage where every layer has one, else by the
/// SQNR of the weight.
#[derive(Default)]
pub(super) struct WorstLayers {
    /// By weighted error.
    damage: Worst,
    /// By SQNR.
    noise: Worst,
    /// A layer without a weighted error came by.
    incomplete: bool,
}

/// The layers of the lowest figures.
#[derive(Default)]
struct Worst(Vec<(f64, WeightHistogram)>);

impl WorstLayers {
    /// Takes a layer in if it is among the worst.
    pub(super) fn offer(&mut self, planned: &PlannedLayer, done: &LayerResult) {
        self.incomplete |= done.weighted_error.is_none();
        if let Some(error) = done.weighted_error {
            self.damage.offer(-error, planned, done);
        }
        if let Some(sqnr) = done.sqnr_db {
            self.noise.offer(sqnr, planned, done);
        }
    }

    /// The histograms, worst first.
    pub(super) fn into_inner(self) -> Vec<WeightHistogram> {
        let worst = if self.incomplete {
            self.noise
        } else {
            self.damage
        };
        worst
            .0
            .into_iter()
            .map(|(_, histogram)| histogram)
            .collect()
    }
}

impl Worst {
    fn offer(&mut self, figure: f64, planned: &PlannedLayer, done: &LayerResult) {
        let place = self.0.partition_point(|(other, _)| *other <= figure);
        if place >= SHOWN {
            return;
        }
        let [rows, _] = planned.shape;
        if let Some(histogram) =
            WeightHistogram::worst_row(&planned.name, &done.weight, &done.decoded, rows)
        {
            self.0.insert(place, (figure, histogram));
            self.0.truncate(SHOWN);
        }
    }
}

/// What a report says of a model.
pub(super) fn model_facts(model: &OpenModel) -> ModelFacts {
    let facts = model.facts();
    ModelFacts {
        name: model.name.clone(),
        revision: model.revision.clone(),
        architecture: facts.architecture,
        parameters: facts.parameters,
        kind: Some(facts.kind),
    }
}

/// The report of a quantization, but for gates, histograms and the run.
pub(super) fn of_quantize(
    model: &OpenModel,
    request: &QuantizeRequest,
    written: &Written,
    layers: Vec<LayerFacts>,
    scores: Vec<Score>,
    progress: &Progress,
) -> Report {
    let plan = &request.plan;
    let original_bytes = model.checkpoint.tensors().file_bytes();
    let artifact_bytes: u64 = written
        .files
        .iter()
        .filter(|(path, _)| {
            path.extension()
                .is_some_and(|ending| ending == "safetensors")
        })
        .map(|(_, bytes)| bytes)
        .sum();
    let mut warnings = plan.notes.clone();
    let towers = plan.kept_tensors.iter().filter_map(|kept| {
        let line = kept.tower_line()?;
        Some(format!("left as it is: {line} ({})", kept.what))
    });
    warnings.extend(towers);
    warnings.extend(progress.warnings());
    if !request.evaluate {
        warnings.push("not evaluated: `--no-eval` was given".to_owned());
    }
    let layers = with_damage(layers);
    Report {
        schema: SCHEMA,
        model: model_facts(model),
        recipe: Some(RecipeFacts {
            name: plan.recipe.name.clone(),
            sha256: plan.recipe.sha256.clone(),
        }),
        scores,
        size: Some(SizeFacts {
            original_bytes,
            artifact_bytes,
            bits_per_weight_linear: written.bits_per_weight().unwrap_or(0.0),
            bits_per_weight_file: 8.0 * artifact_bytes as f64 / plan.model.parameters.max(1) as f64,
            ratio: original_bytes as f64 / artifact_bytes.max(1) as f64,
        }),
        layers,
        run: RunFacts::default(),
        warnings,
        gates: Vec::new(),
        artifact: Some(ArtifactFacts {
            format: plan.format.clone(),
            path: request.output.display().to_string(),
        }),
        histograms: Vec::new(),
        nonlinear: Vec::new(),
        calibration: None,
        budget: plan.budget.as_ref().map(budget_facts),
    }
}

fn budget_facts(budget: &PlannedBudget) -> BudgetFacts {
    BudgetFacts {
        bits_per_weight: budget.bits_per_weight,
        counted: budget.scope.words().to_owned(),
        taken: budget.taken(),
        sensitivity: budget.sensitivity.clone(),
        score: budget.score,
        bound: budget.bound,
        gap: budget.gap,
        is_optimal: budget.is_optimal,
        curve: budget.curve.clone(),
    }
}

/// Sizes of an evaluated folder; nothing where no layer of it is quantized.
pub(super) fn size_of_folder(model: &OpenModel, baseline: Option<&OpenModel>) -> Option<SizeFacts> {
    let reader = model.artifact.reader();
    let decoded = reader.decoded().values().filter(|tensor| tensor.quantized);
    let decoded: Vec<_> = decoded.collect();
    if reader.layers().is_empty() && decoded.is_empty() {
        return None;
    }
    let artifact_bytes = reader.folder().file_bytes();
    let (mut bits, mut weights) = (0_u64, 0_u64);
    for (name, layer) in reader.layers() {
        let prefix = format!("{name}.weight");
        let stored = reader.folder().names_from(&prefix);
        bits += stored
            .filter_map(|entry| reader.folder().info(entry))
            .map(|info| 8 * info.bytes as u64)
            .sum::<u64>();
        weights += (layer.rows * layer.cols) as u64;
    }
    for tensor in decoded {
        bits += 8 * tensor.stored_bytes(reader.folder());
        weights += tensor.elements() as u64;
    }
    let original_bytes = baseline.map_or(0, |baseline| baseline.checkpoint.tensors().file_bytes());
    let parameters = baseline.unwrap_or(model).facts().parameters;
    Some(SizeFacts {
        original_bytes,
        artifact_bytes,
        bits_per_weight_linear: bits as f64 / weights.max(1) as f64,
        bits_per_weight_file: 8.0 * artifact_bytes as f64 / parameters.max(1) as f64,
        ratio: original_bytes as f64 / artifact_bytes.max(1) as f64,
    })
}

/// Each layer's share of the summed weighted error, where every layer has one.
fn with_damage(mut layers: Vec<LayerFacts>) -> Vec<LayerFacts> {
    let total: Option<f64> = layers.iter().map(|layer| layer.weighted_error).sum();
    if let Some(total) = total.filter(|total| *total > 0.0) {
        for layer in &mut layers {
            layer.damage_share = layer.weighted_error.map(|error| error / total);
        }
    }
    layers
}

/// Finishes the report of a quantization and writes it beside the model.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn complete(
    mut report: Report,
    request: &QuantizeRequest,
    clock: &Clock,
) -> Result<Report, Error> {
    finish(
        &mut report,
        &request.gates,
        &request.machine,
        &request.command,
        request.plan.seed,
        clock,
    );
    eval::report::write(&report, &request.output).map_err(|error| {
        Error::io(
            format!(
                "cannot write the report into `{}`",
                request.output.display()
            ),
            error,
        )
    })?;
    Ok(report)
}

/// Adds gates and the run.
pub(super) fn finish(
    report: &mut Report,
    gates: &[Gate],
    machine: &Machine,
    command: &str,
    seed: u64,
    clock: &Clock,
) {
    report.gates = gates
        .iter()
        .map(|gate| gate.check(&report.scores))
        .collect();
    report.run = RunFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seed,
        device: machine.device.to_string(),
        threads: machine.threads,
        seconds: clock.seconds(),
        peak_memory_bytes: memory::peak_bytes().unwrap_or(0),
        stages: clock.stages(),
        command: command.to_owned(),
    };
}
