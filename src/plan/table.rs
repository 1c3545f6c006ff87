//! The plan as a table for people.

mod layers;

use super::{Plan, PlannedCacheBudget, PlannedCalibration, PlannedLayer, estimate};
use calib::running::expert_calibration::{ExpertCalibration, ExpertTokens};
use eval::report::figures;
use quantizers::statistics::{Pass, Statistic};
use std::fmt::Write;

/// Renders `plan`, equal layers of different blocks on one line.
pub fn render(plan: &Plan) -> String {
    rendered(plan, &layers::grouped)
}

/// Renders `plan`, one line per layer.
pub fn render_all(plan: &Plan) -> String {
    rendered(plan, &layers::each)
}

fn rendered(plan: &Plan, rows: &dyn Fn(&[PlannedLayer]) -> Vec<layers::Row>) -> String {
    let mut text = String::new();
    header(&mut text, plan);
    layers::write(&mut text, &rows(&plan.layers));
    kept(&mut text, plan);
    for note in &plan.notes {
        let _ = writeln!(text, "note: {note}");
    }
    footer(&mut text, plan);
    text
}

/// What stays as it is: the reason why the file has more bits per weight than the layers.
fn kept(text: &mut String, plan: &Plan) {
    if plan.integer.is_some() {
        let _ = writeln!(
            text,
            "everything else (embeddings, normalisations, biases) becomes tables of the integer program"
        );
        return;
    }
    for (name, count, bytes, because) in layers::grouped_kept(&plan.kept) {
        let times = if count == 1 {
            String::new()
        } else {
            format!("{count} x ")
        };
        let bytes = figures::bytes(bytes);
        let _ = writeln!(text, "kept: {times}{name}, {bytes} ({because})");
    }
    for tensors in &plan.kept_tensors {
        if let Some(line) = tensors.tower_line() {
            let _ = writeln!(text, "kept: {line} ({})", tensors.what);
            continue;
        }
        let name = match &tensors.name {
            Some(name) => name.clone(),
            None if tensors.count == 1 => "1 other tensor".to_owned(),
            None => format!("{} other tensors", tensors.count),
        };
        let bytes = figures::bytes(tensors.bytes);
        let _ = writeln!(text, "kept: {name}, {bytes} ({})", tensors.what);
    }
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
    for transform in plan.rewrite.iter().chain(&plan.transforms) {
        let _ = writeln!(
            text,
            "transform    {} {}",
            transform.method,
            on_one_line(&transform.parameters)
        );
    }
    if let Some(cache) = &plan.cache {
        let _ = writeln!(
            text,
            "cache        {} {}: {:.3} bits a key, {:.3} a value, {:.0} bytes a token",
            cache.method,
            on_one_line(&cache.parameters),
            cache.key_bits,
            cache.value_bits,
            cache.bytes_per_token,
        );
        for line in cache.budget.iter().flat_map(PlannedCacheBudget::lines) {
            let _ = writeln!(text, "             {line}");
        }
    }
    if let Some(attention) = &plan.attention {
        let _ = writeln!(
            text,
            "attention    {} {}",
            attention.method,
            on_one_line(&attention.parameters)
        );
    }
    if let Some(calibration) = &plan.calibration {
        let mut measured = calibration.statistics.clone();
        let cache = plan.cache.as_ref().filter(|cache| cache.needs_samples);
        measured.extend(cache.map(|cache| {
            let found = if cache.needs_gradients {
                "keys, values and their gradients"
            } else {
                "keys and values"
            };
            found.to_owned()
        }));
        let _ = write!(
            text,
            "calibration  {} for {}: {}{} samples",
            calibration.data,
            measured.join(", "),
            calibration
                .at_most
                .map_or_else(String::new, |most| format!("at most {most} of ")),
            calibration.samples
        );
        if calibration.sequence_length > 0 {
            let _ = write!(text, " of {} tokens", calibration.sequence_length);
        }
        let _ = writeln!(text);
        if let Some(experts) = calibration.experts {
            let _ = writeln!(text, "experts      {}", expert_line(experts, calibration));
        }
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

/// What the layers of experts are measured on.
fn expert_line(experts: ExpertCalibration, calibration: &PlannedCalibration) -> String {
    let few = format!("with fewer than {} calibration tokens", experts.min_tokens);
    let what = match experts.tokens {
        ExpertTokens::Routed => return format!("{few}: quantized without statistics"),
        ExpertTokens::AllWhereFew => format!("{few}: measured over all of them"),
        ExpertTokens::All => "measured over all tokens".to_owned(),
    };
    if calibration
        .statistics
        .iter()
        .filter_map(|name| Statistic::find(name))
        .any(|statistic| statistic.pass == Pass::Backward)
    {
        return format!("{what}; gradients {few} are not read");
    }
    what
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
    let layers: u64 = plan.kept.iter().map(|layer| layer.bytes).sum();
    let tensors: u64 = plan.kept_tensors.iter().map(|kept| kept.bytes).sum();
    if layers + tensors > 0 {
        let _ = writeln!(
            text,
            "             {} of that stay as they are ({:.0} %)",
            figures::bytes(layers + tensors),
            100.0 * (layers + tensors) as f64 / size.artifact_bytes.max(1) as f64,
        );
    }
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
        "time         about {} on {} thread{}{}",
        figures::seconds(estimate.seconds),
        estimate.threads,
        if estimate.threads == 1 { "" } else { "s" },
        if estimate.evaluation_seconds > 0.0 {
            let evaluation = figures::seconds(estimate.evaluation_seconds);
            format!(", {evaluation} of it for the evaluation")
        } else {
            String::new()
        },
    );
    let _ = writeln!(text, "             {}", estimate::ASSUMPTIONS);
}

/// Parameters as a recipe has them, on one line.
fn on_one_line(parameters: &toml::Table) -> String {
    let text = parameters.to_string().replace('\n', "; ");
    text.trim_end_matches("; ").to_owned()
}
