//! The plan as a table for people.

use super::{Plan, PlannedLayer, estimate};
use eval::report::figures;
use quantizers::Granularity;
use quantizers::tensor::SchemeKind;
use std::fmt::Write;

/// Renders `plan`, one line per layer.
pub fn render(plan: &Plan) -> String {
    let mut text = String::new();
    header(&mut text, plan);
    layers(&mut text, &plan.layers);
    if plan.integer.is_some() {
        let _ = writeln!(
            text,
            "everything else (embeddings, normalisations, biases) becomes tables of the integer program"
        );
    }
    for kept in &plan.kept {
        let [rows, cols] = kept.shape;
        let _ = writeln!(
            text,
            "kept: {} [{rows}, {cols}] ({})",
            kept.name, kept.because
        );
    }
    for note in &plan.notes {
        let _ = writeln!(text, "note: {note}");
    }
    footer(&mut text, plan);
    text
}

fn header(text: &mut String, plan: &Plan) {
    let revision = plan
        .model
        .revision
        .as_ref()
        .map_or_else(String::new, |r| format!("@{r}"));
    let _ = writeln!(
        text,
        "model        {}{revision} ({}, {} parameters)",
        plan.model.name,
        plan.model.architecture,
        figures::count(plan.model.parameters)
    );
    let _ = write!(
        text,
        "recipe       {} ({})",
        plan.recipe.name, plan.recipe.origin
    );
    for change in &plan.recipe.overrides {
        let _ = write!(text, ", {change}");
    }
    let _ = writeln!(text);
    let _ = writeln!(
        text,
        "format       {} ({})",
        plan.format, plan.format_because
    );
    if let Some(integer) = &plan.integer {
        text.push_str(&integer.lines());
    }
    for transform in &plan.transforms {
        let parameters = transform.parameters.to_string().replace('\n', "; ");
        let _ = writeln!(
            text,
            "transform    {} {}",
            transform.method,
            parameters.trim_end_matches("; ")
        );
    }
    if let Some(calibration) = &plan.calibration {
        let _ = write!(
            text,
            "calibration  {} for {}: {} samples",
            calibration.data,
            calibration.statistics.join(", "),
            calibration.samples
        );
        if calibration.sequence_length > 0 {
            let _ = write!(text, " of {} tokens", calibration.sequence_length);
        }
        let _ = writeln!(text);
    }
    for evaluation in &plan.evaluations {
        let spec = &evaluation.spec;
        let _ = writeln!(
            text,
            "evaluation   {} on {} ({})",
            spec.task, spec.data, evaluation.because
        );
    }
    if !plan.gates.is_empty() {
        let _ = writeln!(text, "gates        {}", plan.gates.join(", "));
    }
    let _ = writeln!(text);
}

fn layers(text: &mut String, layers: &[PlannedLayer]) {
    let name_width = layers
        .iter()
        .map(|layer| layer.name.len())
        .max()
        .unwrap_or(0)
        .max(5);
    let method_width = layers
        .iter()
        .map(|layer| layer.method.len())
        .max()
        .unwrap_or(0)
        .max(6);
    let _ = writeln!(
        text,
        "{:<name_width$}  {:>14}  {:<method_width$}  {:>4}  {:<12}  {:>8}  {:>10}  {:>10}",
        "layer", "shape", "method", "bits", "scheme", "bits/w", "original", "quantized"
    );
    for layer in layers {
        let [rows, cols] = layer.shape;
        let _ = writeln!(
            text,
            "{:<name_width$}  {:>14}  {:<method_width$}  {:>4}  {:<12}  {:>8.4}  {:>10}  {:>10}",
            layer.name,
            format!("[{rows}, {cols}]"),
            layer.method,
            layer.plan.scheme.bits,
            scheme(layer),
            layer.bits_per_weight,
            figures::bytes(layer.original_bytes),
            figures::bytes(layer.bytes),
        );
    }
}

/// `group 128`, `channel`, `codebook`, with `+csr` for a sparse part and `a8` for inputs on a grid of 8 bits.
fn scheme(layer: &PlannedLayer) -> String {
    let dense = match (layer.plan.scheme.kind, layer.plan.scheme.granularity) {
        (SchemeKind::Codebook, _) => "codebook".to_owned(),
        (SchemeKind::Uniform, Granularity::Tensor) => "tensor".to_owned(),
        (SchemeKind::Uniform, Granularity::Channel) => "channel".to_owned(),
        (SchemeKind::Uniform, Granularity::Group(size)) => format!("group {size}"),
    };
    let sparse = if layer.plan.scheme.outliers {
        "+csr"
    } else {
        ""
    };
    let inputs = match layer.plan.scheme.inputs {
        Some(inputs) => format!(" a{}", inputs.bits),
        None => String::new(),
    };
    format!("{dense}{sparse}{inputs}")
}

fn footer(text: &mut String, plan: &Plan) {
    let (size, estimate) = (&plan.size, &plan.estimate);
    let _ = writeln!(
        text,
        "\nsize         {} -> {} ({:.2}x smaller), {:.3} bits per weight in {} quantized layers, \
         {:.3} over the whole file",
        figures::bytes(size.original_bytes),
        figures::bytes(size.artifact_bytes),
        size.ratio,
        size.bits_per_weight_linear,
        plan.layers.len(),
        size.bits_per_weight_file,
    );
    let parts: Vec<String> = estimate
        .parts
        .iter()
        .map(|(name, bytes)| format!("{name} {}", figures::bytes(*bytes)))
        .collect();
    let _ = writeln!(
        text,
        "memory       about {}, to {}: {}",
        figures::bytes(estimate.memory_bytes),
        estimate.phase,
        parts.join(", "),
    );
    for (bytes, what) in [
        (estimate.scratch_bytes, "of scratch files while calibrating"),
        (estimate.kept_bytes, "of statistics, kept for the next run"),
    ] {
        if bytes > 0 {
            let _ = writeln!(text, "disk         {} {what}", figures::bytes(bytes));
        }
    }
    let _ = writeln!(
        text,
        "time         about {} on {} thread{}",
        figures::seconds(estimate.seconds),
        estimate.threads,
        if estimate.threads == 1 { "" } else { "s" },
    );
    let _ = writeln!(text, "             {}", estimate::ASSUMPTIONS);
}
