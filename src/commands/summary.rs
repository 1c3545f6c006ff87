//! The result of a run as a short table on stdout; the whole of it is in the report files.

use eval::report::{Report, figures};
use eval::score::Score;
use eval::tasks::metric;
use std::fmt::Write;
use std::path::Path;

/// Scores, size, gates, warnings, and where the rest is.
pub(super) fn render(report: &Report, output: Option<&Path>) -> String {
    let mut text = String::new();
    scores(&mut text, &report.scores);
    if let Some(size) = &report.size {
        let _ = writeln!(
            text,
            "size     {} -> {} ({:.2}x smaller), {:.3} bits per weight in the quantized layers, {:.3} \
             over the whole file",
            figures::bytes(size.original_bytes),
            figures::bytes(size.artifact_bytes),
            size.ratio,
            size.bits_per_weight_linear,
            size.bits_per_weight_file,
        );
    }
    for gate in &report.gates {
        let found = gate
            .found
            .map_or_else(|| "not measured".to_owned(), |v| format!("{v:.5}"));
        let verdict = if gate.passed { "kept" } else { "FAILED" };
        let _ = writeln!(text, "gate     {}: {verdict}, found {found}", gate.gate);
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "warning  {warning}");
    }
    let _ = writeln!(
        text,
        "run      {:.1} s, peak memory {}, {} thread{}, seed {}",
        report.run.seconds,
        figures::bytes(report.run.peak_memory_bytes),
        report.run.threads,
        if report.run.threads == 1 { "" } else { "s" },
        report.run.seed,
    );
    if let Some(output) = output {
        let _ = writeln!(text, "written  {}", output.display());
        let page = output.join(eval::report::HTML_FILE);
        let _ = writeln!(text, "report   {}", page.display());
    }
    text
}

/// One line per score, columns as wide as they must be.
fn scores(text: &mut String, scores: &[Score]) {
    if scores.is_empty() {
        return;
    }
    let head = [
        "metric",
        "data",
        "original",
        "quantized",
        "delta",
        "95 % interval",
        "samples",
    ];
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).into()];
    rows.extend(scores.iter().map(|score| row(score).into()));
    text.push_str(&table(&rows, 2));
    text.push('\n');
}

/// `rows` in columns as wide as they must be, the first `left` of them aligned left.
pub(super) fn table(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells: Vec<String> = cells
            .map(|(column, (cell, width))| {
                if column < left {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

fn row(score: &Score) -> [String; 7] {
    let known = metric(&score.metric);
    let figure = |value: Option<f64>| match (value, known) {
        (Some(value), Some(metric)) => figures::figure(value, metric.unit),
        (Some(value), None) => format!("{value}"),
        (None, _) => "-".to_owned(),
    };
    let difference = |value: f64| match known {
        Some(metric) if metric.per_model => figures::difference(value, metric.unit),
        Some(metric) => figures::figure(value, metric.unit),
        None => format!("{value}"),
    };
    // The interval bounds the difference of two models, or the figure of one.
    let end = |value: f64| match score.delta {
        Some(_) => difference(value),
        None => figure(Some(value)),
    };
    let interval = score.ci95.map_or_else(
        || "-".to_owned(),
        |[low, high]| format!("[{}, {}]", end(low), end(high)),
    );
    [
        known.map_or_else(|| score.metric.clone(), |metric| metric.label.to_owned()),
        short(&score.data),
        figure(score.original),
        figure(score.quantized),
        score.delta.map_or_else(|| "-".to_owned(), difference),
        interval,
        score.samples.to_string(),
    ]
}

/// The last part of a path; other data names as they are.
fn short(data: &str) -> String {
    if data.starts_with("hub:") {
        return data.to_owned();
    }
    Path::new(data).file_name().map_or_else(
        || data.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
