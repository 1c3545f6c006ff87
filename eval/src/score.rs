//! One figure of an evaluation, and what each kind of figure means.

use serde::{Deserialize, Serialize};

/// One figure: of the original, of the quantized model, and their paired difference.
///
/// Absent numbers are `null` in JSON. Figures that compare the two models (KL divergence, agreement)
/// stand in `quantized`. `ci95` is the interval of `delta` where there is one, else of the figure itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Registry name of the task.
    pub task: String,
    /// What it was computed on, as the recipe or the command line names it.
    pub data: String,
    /// Name of one of the metrics of the task.
    pub metric: String,
    /// Of the original.
    pub original: Option<f64>,
    /// Of the quantized model, or of the comparison.
    pub quantized: Option<f64>,
    /// `quantized - original`.
    pub delta: Option<f64>,
    /// Two-sided 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Windows, documents, rows or images.
    pub samples: u64,
    /// Standard error of what `ci95` bounds.
    #[serde(default)]
    pub standard_error: Option<f64>,
    /// Exact `McNemar` p-value of "both are right equally often".
    #[serde(default)]
    pub p_value: Option<f64>,
    /// Scored tokens, for figures per token.
    #[serde(default)]
    pub tokens: Option<u64>,
    /// `quantized / original`.
    #[serde(default)]
    pub ratio: Option<f64>,
    /// Two-sided 95 % interval of `ratio`.
    #[serde(default)]
    pub ratio_ci95: Option<[f64; 2]>,
}

impl Score {
    /// A figure of each model on its own; the difference where both are there.
    pub fn of_models(metric: &str, original: Option<f64>, quantized: Option<f64>) -> Self {
        let both = original.zip(quantized);
        let delta = both.map(|(original, quantized)| quantized - original);
        let ratio = both.map(|(original, quantized)| quantized / original);
        Self {
            original,
            quantized,
            delta,
            ratio,
            ..Self::empty(metric)
        }
    }

    /// A figure that compares the two models.
    pub fn of_comparison(metric: &str, value: f64) -> Self {
        Self {
            quantized: Some(value),
            ..Self::empty(metric)
        }
    }

    fn empty(metric: &str) -> Self {
        Self {
            task: String::new(),
            data: String::new(),
            metric: metric.to_owned(),
            original: None,
            quantized: None,
            delta: None,
            ci95: None,
            samples: 0,
            standard_error: None,
            p_value: None,
            tokens: None,
            ratio: None,
            ratio_ci95: None,
        }
    }

    /// Adds a bootstrap interval.
    #[must_use]
    pub fn with_interval(mut self, interval: Option<crate::intervals::Interval>) -> Self {
        self.ci95 = interval.map(|interval| interval.ci95);
        self.standard_error = interval.map(|interval| interval.standard_error);
        self
    }
}

/// Which way a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Smaller is better.
    Lower,
    /// Larger is better.
    Higher,
}

/// How a metric is written for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Plain number with this many decimals.
    Plain(usize),
    /// Number with this many significant digits.
    Significant(usize),
    /// A share of one, as per cent.
    Share,
}

/// One kind of figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Stable name in reports and gates.
    pub name: &'static str,
    /// For people.
    pub label: &'static str,
    /// One line of meaning.
    pub summary: &'static str,
    /// Which way is better.
    pub better: Better,
    /// How it is written.
    pub unit: Unit,
    /// A figure of each model (it has a delta and a ratio) rather than of the comparison.
    pub per_model: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_numbers_are_null_and_the_keys_keep_their_order() {
        let mut score = Score::of_models("perplexity", Some(4.5), None);
        score.task = "perplexity".into();
        score.data = "a.txt".into();
        score.samples = 3;
        let text = serde_json::to_string(&score).unwrap();
        assert!(
            text.starts_with(
                r#"{"task":"perplexity","data":"a.txt","metric":"perplexity","original":4.5,"quantized":null,"delta":null,"ci95":null,"samples":3"#
            ),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Score>(&text).unwrap(), score);
    }
}
