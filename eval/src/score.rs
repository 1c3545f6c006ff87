//! One figure of an evaluation, and the table of what each figure means.

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
    /// Name in [`METRICS`].
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
#[derive(Debug, Clone, Copy)]
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

/// Every metric a task may return.
pub static METRICS: &[Metric] = &[
    Metric {
        name: "perplexity",
        label: "perplexity",
        summary: "exp of the mean loss per scored token",
        better: Better::Lower,
        unit: Unit::Plain(4),
        per_model: true,
    },
    Metric {
        name: "kl_divergence",
        label: "KL divergence (mean)",
        summary: "mean over scored tokens or rows of sum p_original log(p_original / p_quantized), nats",
        better: Better::Lower,
        unit: Unit::Significant(4),
        per_model: false,
    },
    Metric {
        name: "kl_divergence_p99",
        label: "KL divergence (99th percentile)",
        summary: "99th percentile over scored tokens of the same",
        better: Better::Lower,
        unit: Unit::Significant(4),
        per_model: false,
    },
    Metric {
        name: "top1_agreement",
        label: "top-1 agreement",
        summary: "share of scored tokens or rows where both models prefer the same",
        better: Better::Higher,
        unit: Unit::Share,
        per_model: false,
    },
    Metric {
        name: "accuracy",
        label: "accuracy",
        summary: "share of rows whose largest logit is the label",
        better: Better::Higher,
        unit: Unit::Share,
        per_model: true,
    },
    Metric {
        name: "cross_entropy",
        label: "cross-entropy",
        summary: "mean loss per row, nats",
        better: Better::Lower,
        unit: Unit::Plain(4),
        per_model: true,
    },
    Metric {
        name: "spearman",
        label: "Spearman x100",
        summary: "100 times the rank correlation of cosine and score",
        better: Better::Higher,
        unit: Unit::Plain(3),
        per_model: true,
    },
    Metric {
        name: "embedding_cosine",
        label: "cosine to the original",
        summary: "mean cosine of a sentence's quantized and original embedding",
        better: Better::Higher,
        unit: Unit::Plain(5),
        per_model: false,
    },
];

/// The metric called `name`.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
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

    #[test]
    fn metric_names_are_unique() {
        for (at, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..at].iter().all(|other| other.name != metric.name));
        }
    }
}
