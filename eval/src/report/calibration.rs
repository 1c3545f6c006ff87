//! The data activations were calibrated on, and how far data made up for the model reaches beside it.

use super::figures::{count, significant};
use serde::{Deserialize, Serialize};

/// What an integer-only run was calibrated on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationFacts {
    /// The data as it was named.
    pub data: String,
    /// Sequences or images taken of it.
    pub samples: u64,
    /// Ranges of synthetic data over its ranges; absent where it is synthetic itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthetic: Option<SyntheticRanges>,
}

/// Largest magnitude on synthetic data over the largest on the calibration data, over the points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyntheticRanges {
    /// Synthetic sequences or images.
    pub samples: u64,
    /// Points compared.
    pub points: u64,
    /// Median of the ratios.
    pub median_ratio: f64,
    /// A tenth of the ratios are below.
    pub p10: f64,
    /// A tenth of the ratios are above.
    pub p90: f64,
    /// The smallest ratio.
    pub narrowest: PointRatio,
    /// The largest.
    pub widest: PointRatio,
}

/// The ratio at one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointRatio {
    /// Name of the point.
    pub point: String,
    /// Synthetic over real.
    pub ratio: f64,
}

impl SyntheticRanges {
    /// Sums up the ratios of `samples` synthetic inputs. Those that are no positive numbers, as at
    /// points where either data is zero throughout, are left out; nothing where none is left.
    pub fn of(samples: u64, mut ratios: Vec<PointRatio>) -> Option<Self> {
        ratios.retain(|at| at.ratio.is_finite() && at.ratio > 0.0);
        ratios.sort_by(|a, b| a.ratio.total_cmp(&b.ratio).then(a.point.cmp(&b.point)));
        let (narrowest, widest) = (ratios.first()?.clone(), ratios.last()?.clone());
        Some(Self {
            samples,
            points: ratios.len() as u64,
            median_ratio: quantile(&ratios, 0.5),
            p10: quantile(&ratios, 0.1),
            p90: quantile(&ratios, 0.9),
            narrowest,
            widest,
        })
    }
}

/// Quantile of sorted ratios, linear between neighbours.
fn quantile(sorted: &[PointRatio], fraction: f64) -> f64 {
    let place = fraction * (sorted.len() - 1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place among the ratios"
    )]
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let (low, high) = (sorted[below].ratio, sorted[above].ratio);
    low + (place - below as f64) * (high - low)
}

/// The comparison in words.
#[derive(Debug, Serialize)]
pub(super) struct CalibrationTable {
    data: String,
    samples: String,
    made: String,
    points: String,
    /// What, ratio, point.
    rows: Vec<[String; 3]>,
}

impl CalibrationTable {
    /// Nothing where nothing was compared.
    pub(super) fn of(facts: Option<&CalibrationFacts>) -> Option<Self> {
        let facts = facts?;
        let ranges = facts.synthetic.as_ref()?;
        let row = |what: &str, ratio: f64, point: &str| {
            let ratio = significant(ratio, 3);
            [what.to_owned(), ratio, point.to_owned()]
        };
        Some(Self {
            data: facts.data.clone(),
            samples: count(facts.samples),
            made: count(ranges.samples),
            points: count(ranges.points),
            rows: vec![
                row("narrowest", ranges.narrowest.ratio, &ranges.narrowest.point),
                row("middle 80 %, from", ranges.p10, ""),
                row("median", ranges.median_ratio, ""),
                row("middle 80 %, to", ranges.p90, ""),
                row("widest", ranges.widest.ratio, &ranges.widest.point),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::report::{html, markdown, to_json};

    fn ratios(values: &[f64]) -> Vec<PointRatio> {
        let named = |(at, &ratio): (usize, &f64)| PointRatio {
            point: format!("p{at}"),
            ratio,
        };
        values.iter().enumerate().map(named).collect()
    }

    #[test]
    fn quantiles_lie_between_neighbours_and_extremes_are_named() {
        let values = [0.5, f64::NAN, 2.0, 1.0, 0.0, f64::INFINITY, 1.5];
        let found = SyntheticRanges::of(7, ratios(&values)).unwrap();
        assert_eq!((found.samples, found.points), (7, 4));
        assert_eq!(found.narrowest.point, "p0");
        assert_eq!(found.widest.point, "p2");
        // Of 0.5, 1, 1.5 and 2.
        for (found, expected) in [
            (found.p10, 0.65),
            (found.median_ratio, 1.25),
            (found.p90, 1.85),
        ] {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn one_ratio_is_all_of_them_and_none_is_nothing() {
        let found = SyntheticRanges::of(1, ratios(&[0.75])).unwrap();
        assert!((found.p10 - 0.75).abs() < 1e-12 && (found.p90 - 0.75).abs() < 1e-12);
        assert_eq!(found.narrowest, found.widest);
        assert_eq!(SyntheticRanges::of(1, ratios(&[0.0, f64::NAN])), None);
    }

    #[test]
    fn the_report_has_the_comparison_in_all_three_forms() {
        let mut report = sample::report();
        let text = markdown(&report).unwrap();
        assert!(
            text.contains("## Synthetic data beside `news.tsv#text`\n\nCalibrated on 512 samples."),
            "{text}"
        );
        for row in [
            "| narrowest | 0.250 | `encoder.layer.0.mlp:out` |",
            "| middle 80 %, from | 0.400 | |",
            "| median | 0.875 | |",
            "| middle 80 %, to | 1.25 | |",
            "| widest | 1.50 | `embeddings:out` |",
        ] {
            assert!(text.contains(row), "{row}: {text}");
        }
        let page = html(&report).unwrap();
        assert!(page.contains("<code>news.tsv#text</code>"), "{page}");
        assert!(page.contains("<td>embeddings:out</td>"), "{page}");
        let value: serde_json::Value = serde_json::from_str(&to_json(&report)).unwrap();
        assert_eq!(
            value["calibration"],
            serde_json::json!({
                "data": "news.tsv#text",
                "samples": 512,
                "synthetic": {
                    "samples": 128,
                    "points": 40,
                    "median_ratio": 0.875,
                    "p10": 0.4,
                    "p90": 1.25,
                    "narrowest": { "point": "encoder.layer.0.mlp:out", "ratio": 0.25 },
                    "widest": { "point": "embeddings:out", "ratio": 1.5 },
                },
            })
        );

        report.calibration.as_mut().unwrap().synthetic = None;
        assert!(!markdown(&report).unwrap().contains("## Synthetic data"));
        assert!(!html(&report).unwrap().contains("Synthetic data beside"));
    }
}
