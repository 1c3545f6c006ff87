//! Scores as rows of text.

use super::figures::{self, ABSENT};
use crate::score::{Metric, Score, Unit};
use crate::tasks::metric;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct ScoreRow {
    metric: String,
    summary: String,
    /// What it was measured on; paths by their last parts.
    data: String,
    /// The same in full.
    full_data: String,
    original: String,
    quantized: String,
    /// Quantized over original, for perplexities.
    ratio: Option<String>,
    delta: String,
    interval: String,
    samples: String,
}

/// What a score is a figure of, and how it is written.
pub(super) fn unit_of(score: &Score) -> (Option<&'static Metric>, Unit) {
    let known = metric(&score.metric);
    (
        known,
        known.map_or(Unit::Significant(6), |metric| metric.unit),
    )
}

/// One row.
pub(super) fn score_row(score: &Score) -> ScoreRow {
    let (known, unit) = unit_of(score);
    let figure = |value: Option<f64>| {
        value.map_or_else(|| ABSENT.to_owned(), |value| figures::figure(value, unit))
    };
    // The interval bounds the difference, or the comparison itself.
    let end = |value| match score.delta {
        Some(_) => figures::difference(value, unit),
        None => figures::figure(value, unit),
    };
    let mut interval = score.ci95.map_or_else(
        || ABSENT.to_owned(),
        |[low, high]| format!("{} to {}", end(low), end(high)),
    );
    if let Some(p) = score.p_value {
        interval = format!("{interval}; p = {}", figures::significant(p, 2));
    }
    let mut samples = figures::count(score.samples);
    if let Some(tokens) = score.tokens {
        samples = format!("{samples} ({} tokens)", figures::count(tokens));
    }
    ScoreRow {
        metric: known.map_or_else(|| score.metric.clone(), |metric| metric.label.to_owned()),
        summary: known.map_or_else(String::new, |metric| metric.summary.to_owned()),
        data: figures::short_path(&score.data),
        full_data: score.data.clone(),
        original: figure(score.original),
        quantized: figure(score.quantized),
        ratio: ratio(score).map(|ratio| format!("{ratio:.4}")),
        delta: score.delta.map_or_else(
            || ABSENT.to_owned(),
            |delta| figures::difference(delta, unit),
        ),
        interval,
        samples,
    }
}

/// A perplexity is judged by its ratio to the original's.
pub(super) fn ratio(score: &Score) -> Option<f64> {
    score.ratio.filter(|_| score.metric == "perplexity")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn rows_speak_the_units_of_their_metric() {
        let rows: Vec<ScoreRow> = sample::report().scores.iter().map(score_row).collect();
        assert_eq!(rows[0].delta, "+1.2890");
        assert_eq!(rows[0].interval, "+1.1200 to +1.4600");
        assert_eq!(rows[0].samples, "815 (207,825 tokens)");
        assert_eq!(rows[1].original, ABSENT);
        assert_eq!(rows[1].interval, "0.03050 to 0.03200");
        assert_eq!(rows[3].quantized, "91.25 %");
    }
}
