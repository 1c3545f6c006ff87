//! Size against accuracy: the original, this artifact, and other measured points.

use super::Plot;
use super::canvas::Canvas;
use crate::report::figures;
use crate::report::model::{FrontierPoint, Report};
use crate::score::{Metric, Score, metric};

/// One point with its interval.
struct Point<'a> {
    class: &'static str,
    label: &'a str,
    bits: f64,
    value: f64,
    interval: Option<[f64; 2]>,
}

/// Bits per weight of the linear layers against the first figure both models have.
pub(in crate::report) fn size_and_accuracy(report: &Report) -> Option<Plot> {
    let size = report.size.as_ref()?;
    let (score, meaning, original, quantized) = report.scores.iter().find_map(|score| {
        Some((
            score,
            metric(&score.metric)?,
            score.original?,
            score.quantized?,
        ))
    })?;
    if report.model.parameters == 0 {
        return None;
    }
    let mut points = vec![
        Point {
            class: "s7",
            label: "original",
            bits: size.original_bytes as f64 * 8.0 / report.model.parameters as f64,
            value: original,
            interval: None,
        },
        Point {
            class: "s0",
            label: report
                .recipe
                .as_ref()
                .map_or("this artifact", |recipe| recipe.name.as_str()),
            bits: size.bits_per_weight_linear,
            value: quantized,
            interval: score.ci95.map(|ends| ends.map(|end| original + end)),
        },
    ];
    points.extend(others(&report.frontier, score));
    points.retain(|point| point.bits.is_finite() && point.value.is_finite());
    draw(&points, meaning)
}

fn others<'a>(frontier: &'a [FrontierPoint], score: &Score) -> Vec<Point<'a>> {
    let same = frontier.iter().filter(|point| point.metric == score.metric);
    same.map(|point| Point {
        class: "ring s1",
        label: &point.label,
        bits: point.bits_per_weight,
        value: point.value,
        interval: None,
    })
    .collect()
}

fn draw(points: &[Point<'_>], meaning: &Metric) -> Option<Plot> {
    let values = || {
        points.iter().flat_map(|point| {
            std::iter::once(point.value).chain(point.interval.into_iter().flatten())
        })
    };
    let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    let margin = ((high - low) * 0.15).max(low.abs() * 0.002).max(1e-6);
    let widest = points.iter().map(|point| point.bits).reduce(f64::max)?;
    let mut canvas = Canvas::new(
        1040.0,
        300.0,
        [0.0, widest * 1.06],
        [low - margin, high + margin],
    );
    canvas.y_axis(meaning.label);
    canvas.x_base("bits per weight, linear layers");
    canvas.x_ticks(8);
    for point in points {
        if let Some([low, high]) = point.interval {
            canvas.segment("interval", [point.bits, low], [point.bits, high]);
        }
        let figure = figures::figure(point.value, meaning.unit);
        let text = format!(
            "{}: {:.2} bits, {} {figure}",
            point.label, point.bits, meaning.label
        );
        canvas.dot(point.class, point.bits, point.value, 5.0, &text);
        canvas.label(
            point.bits,
            point.value,
            &format!("{} ({figure})", point.label),
        );
    }
    Some(Plot {
        title: "Size and accuracy".into(),
        caption: format!(
            "{}: {}. The bar is the 95 % interval of the paired difference.",
            meaning.label, meaning.summary
        ),
        svg: canvas.finish("size and accuracy"),
        legend: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn original_artifact_and_frontier_are_points() {
        let report = sample::report();
        let plot = size_and_accuracy(&report).unwrap();
        assert_eq!(plot.svg.matches("<circle").count(), 3);
        assert!(
            plot.svg
                .contains("original: 16.01 bits, perplexity 47.0220"),
            "{}",
            plot.svg
        );
        assert!(plot.svg.contains("class=\"interval\""));
    }

    #[test]
    fn nothing_to_compare_means_no_plot() {
        let mut report = sample::report();
        report.size = None;
        assert!(size_and_accuracy(&report).is_none());
        let mut report = sample::report();
        report
            .scores
            .iter_mut()
            .for_each(|score| score.original = None);
        assert!(size_and_accuracy(&report).is_none());
    }
}
