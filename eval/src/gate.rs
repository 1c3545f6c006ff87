//! Accuracy gates: `perplexity_ratio<=1.03`.

use crate::score::{Better, Metric, Score, Unit};
use crate::tasks::{metric, metrics};
use quantizers::nearest::{did_you_mean, nearest};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A condition on a figure of the evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    figure: String,
    metric: &'static str,
    aspect: Aspect,
    relation: Relation,
    bound: f64,
}

/// Which number of a [`Score`] is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aspect {
    /// The quantized model's figure, or that of the comparison.
    Value,
    /// `<metric>_delta`: quantized minus original.
    Delta,
    /// `<metric>_ratio`: quantized over original.
    Ratio,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    AtMost,
    AtLeast,
}

/// A gate and what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// The condition, as `figure<=bound`.
    pub gate: String,
    /// The found figure; the worst one where several evaluations give it, absent where none does.
    pub found: Option<f64>,
    /// What it was found on.
    pub data: Option<String>,
    /// Whether the condition holds. A figure nobody computed does not pass.
    pub passed: bool,
}

/// A gate that cannot be understood.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum GateError {
    /// No `<=` or `>=` with a number behind it.
    #[error("gate `{found}`: expected `figure<=number` or `figure>=number`")]
    Syntax {
        /// As typed.
        found: String,
    },
    /// No such figure.
    #[error("gate: unknown figure `{found}`")]
    Figure {
        /// As typed.
        found: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
}

impl GateError {
    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Figure { nearest, .. } => nearest.as_deref().map(did_you_mean),
            Self::Syntax { .. } => None,
        }
    }
}

impl Gate {
    /// The gate of a recipe's `[gate]` table: `figure = bound`, an upper bound where lower is better
    /// and a lower bound where higher is better.
    ///
    /// # Errors
    /// An unknown figure.
    pub fn new(figure: &str, bound: f64) -> Result<Self, GateError> {
        let (metric, aspect) = find(figure)?;
        let relation = match metric.better {
            Better::Lower => Relation::AtMost,
            Better::Higher => Relation::AtLeast,
        };
        Ok(Self {
            figure: figure.to_owned(),
            metric: metric.name,
            aspect,
            relation,
            bound,
        })
    }

    /// The figure it bounds, as typed.
    pub fn figure(&self) -> &str {
        &self.figure
    }

    /// The bound.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// The name of the metric it reads.
    pub fn metric(&self) -> &'static str {
        self.metric
    }

    /// Whether it needs both models.
    pub fn compares(&self) -> bool {
        self.aspect != Aspect::Value || metric(self.metric).is_some_and(|metric| !metric.per_model)
    }

    /// Whether the condition holds for every score that gives the figure.
    pub fn check(&self, scores: &[Score]) -> GateResult {
        let found = scores
            .iter()
            .filter(|score| score.metric == self.metric)
            .filter_map(|score| Some((self.figure_of(score)?, &score.data)))
            .reduce(|worst, next| {
                if self.is_worse(next.0, worst.0) {
                    next
                } else {
                    worst
                }
            });
        GateResult {
            gate: self.to_string(),
            found: found.map(|(value, _)| value),
            data: found.map(|(_, data)| data.clone()),
            passed: found.is_some_and(|(value, _)| match self.relation {
                Relation::AtMost => value <= self.bound,
                Relation::AtLeast => value >= self.bound,
            }),
        }
    }

    fn figure_of(&self, score: &Score) -> Option<f64> {
        match self.aspect {
            Aspect::Value => score.quantized,
            Aspect::Delta => score.delta,
            Aspect::Ratio => score.ratio,
        }
    }

    /// A NaN is the worst of all.
    fn is_worse(&self, next: f64, worst: f64) -> bool {
        match self.relation {
            _ if worst.is_nan() || next.is_nan() => next.is_nan(),
            Relation::AtMost => next > worst,
            Relation::AtLeast => next < worst,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::AtMost => "<=",
            Relation::AtLeast => ">=",
        };
        write!(out, "{}{relation}{}", self.figure, self.bound)
    }
}

impl FromStr for Gate {
    type Err = GateError;

    /// Parses `figure<=number` or `figure>=number`, spaces allowed around the relation.
    fn from_str(text: &str) -> Result<Self, GateError> {
        let syntax = || GateError::Syntax {
            found: text.to_owned(),
        };
        let (figure, relation, bound) = if let Some((figure, bound)) = text.split_once("<=") {
            (figure, Relation::AtMost, bound)
        } else if let Some((figure, bound)) = text.split_once(">=") {
            (figure, Relation::AtLeast, bound)
        } else {
            return Err(syntax());
        };
        let bound: f64 = bound.trim().parse().map_err(|_| syntax())?;
        if bound.is_nan() {
            return Err(syntax());
        }
        let figure = figure.trim();
        let (metric, aspect) = find(figure)?;
        Ok(Self {
            figure: figure.to_owned(),
            metric: metric.name,
            aspect,
            relation,
            bound,
        })
    }
}

/// Every figure a gate may name.
pub fn figures() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for metric in metrics() {
        if names.iter().any(|name| name == metric.name) {
            continue;
        }
        names.push(metric.name.to_owned());
        if metric.per_model {
            names.push(format!("{}_delta", metric.name));
            if metric.unit != Unit::Share {
                names.push(format!("{}_ratio", metric.name));
            }
        }
    }
    names
}

fn find(figure: &str) -> Result<(&'static Metric, Aspect), GateError> {
    let known = figures();
    if !known.iter().any(|name| name == figure) {
        return Err(GateError::Figure {
            found: figure.to_owned(),
            nearest: nearest(figure, known.iter().map(String::as_str)),
        });
    }
    let (name, aspect) = match figure.rsplit_once('_') {
        Some((name, "delta")) => (name, Aspect::Delta),
        Some((name, "ratio")) => (name, Aspect::Ratio),
        _ => (figure, Aspect::Value),
    };
    match metric(name) {
        Some(metric) => Ok((metric, aspect)),
        None => Err(GateError::Figure {
            found: figure.to_owned(),
            nearest: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(metric: &str, original: f64, quantized: f64, data: &str) -> Score {
        let mut score = Score::of_models(metric, Some(original), Some(quantized));
        score.data = data.into();
        score
    }

    #[test]
    fn a_ratio_holds_or_not_and_says_what_it_found() {
        let scores = [
            score("perplexity", 10.0, 10.2, "a"),
            score("perplexity", 10.0, 10.4, "b"),
        ];
        let result = "perplexity_ratio <= 1.03"
            .parse::<Gate>()
            .unwrap()
            .check(&scores);
        assert_eq!(result.gate, "perplexity_ratio<=1.03");
        assert_eq!(result.data.as_deref(), Some("b"), "the worst of both");
        assert!(!result.passed && (result.found.unwrap() - 1.04).abs() < 1e-12);
        assert!(
            "perplexity_ratio<=1.05"
                .parse::<Gate>()
                .unwrap()
                .check(&scores)
                .passed
        );
        assert!(
            "perplexity_delta<=0.5"
                .parse::<Gate>()
                .unwrap()
                .check(&scores)
                .passed
        );
        assert!(
            "perplexity<=10.4"
                .parse::<Gate>()
                .unwrap()
                .check(&scores)
                .passed
        );
    }

    #[test]
    fn a_recipe_table_takes_its_direction_from_the_metric() {
        let scores = [score("accuracy", 0.83, 0.82, "a")];
        let gate = Gate::new("accuracy_delta", -0.005).unwrap();
        assert_eq!(gate.to_string(), "accuracy_delta>=-0.005");
        assert!(!gate.check(&scores).passed);
        assert_eq!(
            Gate::new("kl_divergence", 0.1).unwrap().to_string(),
            "kl_divergence<=0.1"
        );
    }

    #[test]
    fn what_was_not_computed_or_is_not_a_number_fails() {
        let gate = Gate::new("perplexity", 9.0).unwrap();
        assert!(!gate.check(&[]).passed);
        assert!(
            !gate
                .check(&[score("perplexity", 1.0, f64::NAN, "a")])
                .passed
        );
        let both = [
            score("perplexity", 1.0, f64::NAN, "a"),
            score("perplexity", 1.0, 1.0, "b"),
        ];
        assert!(!gate.check(&both).passed);
    }

    #[test]
    fn errors_name_the_nearest_figure() {
        let error = "perplexity_rate<=1".parse::<Gate>().unwrap_err();
        assert_eq!(
            error,
            GateError::Figure {
                found: "perplexity_rate".into(),
                nearest: Some("perplexity_ratio".into())
            }
        );
        assert!(matches!(
            "perplexity=1".parse::<Gate>(),
            Err(GateError::Syntax { .. })
        ));
        assert!(matches!(
            "perplexity<=x".parse::<Gate>(),
            Err(GateError::Syntax { .. })
        ));
        assert!("kl_divergence_ratio<=1".parse::<Gate>().is_err());
    }
}
