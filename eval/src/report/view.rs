//! A report as rows of text: what both templates print.

use super::budget::BudgetFacts;
use super::calibration::CalibrationTable;
use super::figures::{self, ABSENT};
use super::loading::{self, Loading};
use super::model::{LayerFacts, Report};
use super::scores::{ScoreRow, ratio, score_row, unit_of};
use super::slots::SlotTable;
use crate::gate::GateResult;
use serde::Serialize;

/// Everything the templates print, already in words.
#[derive(Debug, Serialize)]
pub(super) struct View {
    title: String,
    /// For the model card's header: the repository it was made from.
    base_model: Option<String>,
    /// Name and value pairs of the head.
    facts: Vec<[String; 2]>,
    command: String,
    scores: Vec<ScoreRow>,
    has_quantized: bool,
    has_ratio: bool,
    gates: Vec<GateRow>,
    size: Vec<[String; 2]>,
    /// Largest claims first, for the tiles of the page.
    highlights: Vec<[String; 2]>,
    /// Headings of the columns of [`LayerRow::output_sqnr`]: what was measured on any layer.
    output_columns: Vec<&'static str>,
    layers: Vec<LayerRow>,
    /// By what the layers with histograms are the worst.
    worst_by: &'static str,
    /// Nonlinear slots of an integer program.
    slots: Option<SlotTable>,
    /// Ranges of synthetic data beside those of the calibration data.
    calibration: Option<CalibrationTable>,
    stages: Vec<[String; 2]>,
    warnings: Vec<String>,
    loading: Vec<Loading>,
}

#[derive(Debug, Serialize)]
struct GateRow {
    gate: String,
    found: String,
    verdict: &'static str,
    passed: bool,
}

#[derive(Debug, Serialize)]
struct LayerRow {
    name: String,
    shape: String,
    method: String,
    bits: String,
    group: String,
    bits_per_weight: String,
    outliers: String,
    sqnr: String,
    output_sqnr: Vec<String>,
    weighted_error: String,
    share: String,
    seconds: String,
    because: String,
    notes: String,
}

impl View {
    pub(super) fn of(report: &Report) -> Self {
        let recipe = report.recipe.as_ref().map(|recipe| recipe.name.as_str());
        let name = &report.model.name;
        Self {
            title: match recipe {
                Some(recipe) => format!("{} \u{b7} {recipe}", figures::short_path(name)),
                None => figures::short_path(name),
            },
            base_model: report.model.revision.as_ref().map(|_| name.clone()),
            facts: facts(report),
            command: report.run.command.clone(),
            scores: report.scores.iter().map(score_row).collect(),
            has_ratio: report.scores.iter().any(|score| ratio(score).is_some()),
            has_quantized: report.scores.iter().any(|score| score.quantized.is_some()),
            gates: report.gates.iter().map(gate_row).collect(),
            size: size(report),
            highlights: highlights(report),
            output_columns: output_figures(&report.layers)
                .map(|(heading, _)| heading)
                .collect(),
            layers: layer_rows(&report.layers),
            worst_by: if report
                .layers
                .iter()
                .all(|layer| layer.damage_share.is_some())
            {
                "The layers with the largest share of the damage."
            } else {
                "The layers with the lowest signal to noise ratio of their weights."
            },
            slots: SlotTable::of(&report.nonlinear, ABSENT),
            calibration: CalibrationTable::of(report.calibration.as_ref()),
            stages: report
                .run
                .stages
                .iter()
                .map(|(name, &seconds)| [name.clone(), figures::seconds(seconds)])
                .collect(),
            warnings: report.warnings.clone(),
            loading: loading::ways(report),
        }
    }
}

fn facts(report: &Report) -> Vec<[String; 2]> {
    let mut facts: Vec<[String; 2]> = Vec::new();
    let mut add = |name: &str, value: String| facts.push([name.to_owned(), value]);
    let (model, run) = (&report.model, &report.run);
    add("Model", figures::short_path(&model.name));
    if let Some(revision) = &model.revision {
        add("Revision", revision.clone());
    }
    add("Architecture", model.architecture.clone());
    add("Parameters", figures::count(model.parameters));
    if let Some(recipe) = &report.recipe {
        add("Recipe", recipe.name.clone());
        add("Recipe SHA-256", recipe.sha256.clone());
    }
    if let Some(artifact) = &report.artifact {
        add("Format", artifact.format.clone());
    }
    add("quench", run.version.clone());
    add("Seed", run.seed.to_string());
    add("Device", format!("{}, {} threads", run.device, run.threads));
    add("Wall time", figures::seconds(run.seconds));
    add("Peak memory", figures::bytes(run.peak_memory_bytes));
    facts
}

fn gate_row(result: &GateResult) -> GateRow {
    GateRow {
        gate: result.gate.clone(),
        found: result.found.map_or_else(
            || "not computed".to_owned(),
            |found| figures::significant(found, 5),
        ),
        verdict: if result.passed { "passed" } else { "failed" },
        passed: result.passed,
    }
}

fn size(report: &Report) -> Vec<[String; 2]> {
    let Some(size) = &report.size else {
        return Vec::new();
    };
    let mut rows: Vec<[String; 2]> = [
        ("Original files", figures::bytes(size.original_bytes)),
        ("Artifact files", figures::bytes(size.artifact_bytes)),
        ("Ratio", format!("{:.2}x", size.ratio)),
        (
            "Bits per weight, linear layers",
            format!("{:.3}", size.bits_per_weight_linear),
        ),
        (
            "Bits per weight, whole file",
            format!("{:.3}", size.bits_per_weight_file),
        ),
    ]
    .map(|(name, value)| [name.to_owned(), value])
    .into();
    rows.extend(report.budget.iter().flat_map(BudgetFacts::rows));
    rows
}

fn highlights(report: &Report) -> Vec<[String; 2]> {
    let mut tiles = Vec::new();
    if let Some(size) = &report.size {
        tiles.push([format!("{:.2}x", size.ratio), "smaller on disk".to_owned()]);
        let bits = format!("{:.2}", size.bits_per_weight_linear);
        tiles.push([bits, "bits per weight, linear layers".to_owned()]);
    }
    for score in &report.scores {
        let (Some(known), unit) = unit_of(score) else {
            continue;
        };
        let both = score.original.zip(score.quantized);
        if let (Some((from, to)), Some(delta)) = (both, score.delta) {
            let [from, to] = [from, to].map(|value| figures::figure(value, unit));
            let label = format!("{}: {from} \u{2192} {to}", known.label);
            tiles.push([figures::difference(delta, unit), label]);
        } else if let Some(value) = score.quantized.or(score.original) {
            tiles.push([figures::figure(value, unit), known.label.to_owned()]);
        }
    }
    tiles.truncate(6);
    tiles
}

/// A figure of a layer's output, where it was measured.
type OutputFigure = fn(&LayerFacts) -> Option<f64>;

/// The figures of layer outputs that any of `layers` has, with their headings.
fn output_figures(layers: &[LayerFacts]) -> impl Iterator<Item = (&'static str, OutputFigure)> {
    let full: OutputFigure = |layer| layer.output_sqnr_db;
    let diagonal: OutputFigure = |layer| layer.diagonal_output_sqnr_db;
    [
        ("output SQNR dB", full),
        ("output SQNR dB (diagonal Hessian)", diagonal),
    ]
    .into_iter()
    .filter(|(_, figure)| layers.iter().any(|layer| figure(layer).is_some()))
}

fn layer_rows(layers: &[LayerFacts]) -> Vec<LayerRow> {
    let figures: Vec<OutputFigure> = output_figures(layers).map(|(_, figure)| figure).collect();
    layers
        .iter()
        .map(|layer| layer_row(layer, &figures))
        .collect()
}

fn layer_row(layer: &LayerFacts, outputs: &[OutputFigure]) -> LayerRow {
    let decibel =
        |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), |value| format!("{value:.2}"));
    let share = |value: f64| format!("{:.2} %", value * 100.0);
    LayerRow {
        name: layer.name.clone(),
        shape: format!("{} x {}", layer.shape[0], layer.shape[1]),
        method: layer.method.clone(),
        bits: match layer.input_bits {
            Some(inputs) => format!("{}, inputs {inputs}", layer.bits),
            None => layer.bits.to_string(),
        },
        group: layer
            .group_size
            .map_or_else(|| ABSENT.to_owned(), |size| size.to_string()),
        bits_per_weight: format!("{:.3}", layer.bits_per_weight),
        outliers: share(layer.outlier_fraction),
        sqnr: decibel(layer.sqnr_db),
        output_sqnr: outputs
            .iter()
            .map(|figure| decibel(figure(layer)))
            .collect(),
        weighted_error: layer
            .weighted_error
            .map_or_else(|| ABSENT.to_owned(), |error| figures::significant(error, 4)),
        share: layer.damage_share.map_or_else(|| ABSENT.to_owned(), share),
        seconds: format!("{:.2}", layer.seconds),
        because: layer.because.clone(),
        notes: layer.notes.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn gates_say_what_was_found() {
        let view = View::of(&sample::report());
        assert_eq!(view.gates[0].found, "1.0274");
        assert_eq!((view.gates[0].passed, view.gates[1].passed), (true, false));
    }

    #[test]
    fn output_figures_have_a_column_where_any_layer_has_one() {
        let mut report = sample::report();
        assert_eq!(View::of(&report).output_columns, ["output SQNR dB"]);
        for layer in &mut report.layers {
            layer.diagonal_output_sqnr_db = layer.output_sqnr_db.take();
        }
        report.layers[0].diagonal_output_sqnr_db = None;
        let view = View::of(&report);
        assert_eq!(view.output_columns, ["output SQNR dB (diagonal Hessian)"]);
        assert_eq!(view.layers[0].output_sqnr, [ABSENT]);
        assert_eq!(view.layers[4].output_sqnr, ["16.50"]);
    }
}
