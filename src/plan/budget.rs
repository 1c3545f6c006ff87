//! Layers that a recipe leaves to its budget: what they choose from, the file of scores, and the choice.

mod allocation;
mod measured;
mod options;

pub(super) use allocation::{Chosen, allocate};
pub use measured::{
    Correlation, MEASURED_VERSION, Measured, MeasuredCalibration, MeasuredLayer, MeasuredModel,
    MeasuredOption, OptionScore, Scores,
};
pub(super) use options::Options;

use super::PlannedLayer;
use crate::recipe::Scope;
use serde::{Deserialize, Serialize};

/// What a budget came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedBudget {
    /// Asked for.
    pub bits_per_weight: f64,
    /// What is counted.
    pub scope: Scope,
    /// Weights or parameters that are counted.
    pub weights: u64,
    /// Most bits that may be stored for what is counted.
    pub budget_bits: u64,
    /// Bits that will be stored for it.
    pub bits: u64,
    /// Kind of the scores.
    pub sensitivity: String,
    /// Where they were read from.
    pub measured: String,
    /// Sum of the scores of what was chosen.
    pub score: f64,
    /// No choice within the budget has a lower sum.
    pub bound: f64,
    /// `(score - bound) / score`.
    pub gap: f64,
    /// No other choice within the budget has a lower sum, up to rounding.
    pub is_optimal: bool,
    /// Bits per weight and the least sum of scores within them, from the least bits to the least sum.
    pub curve: Vec<[f64; 2]>,
}

/// An option in words, `3 bits` or `squeezellm, 3 bits, group_size = 64`: what tells it from its `siblings`, or
/// everything where there are none.
pub(super) fn options_label(option: &PlannedLayer, siblings: &[&PlannedLayer]) -> String {
    let differs = |same: &dyn Fn(&PlannedLayer) -> bool| {
        siblings.is_empty() || siblings.iter().any(|other| !same(other))
    };
    let mut words = Vec::new();
    if differs(&|other| other.method == option.method) {
        words.push(option.method.clone());
    }
    for (key, value) in &option.parameters {
        match value.as_integer() {
            Some(bits) if key == "bits" => words.push(format!("{bits} bits")),
            _ if differs(&|other| other.parameters.get(key) == Some(value)) => {
                words.push(format!("{key} = {value}"));
            }
            _ => {}
        }
    }
    words.join(", ")
}

impl PlannedBudget {
    /// Bits per weight of what is counted.
    pub fn taken(&self) -> f64 {
        self.bits as f64 / self.weights.max(1) as f64
    }

    /// The certificate in a line.
    pub fn line(&self) -> String {
        let counted = self.scope.words();
        let proof = if self.is_optimal {
            "no other choice has less".to_owned()
        } else {
            format!("at most {:.2} % above the least possible", 100.0 * self.gap)
        };
        format!(
            "budget {}: {:.4} bits per weight of {counted}, predicted loss {:.4e} ({}), {proof}; \
             {:.3} % above the bound of the linear relaxation",
            self.bits_per_weight,
            self.taken(),
            self.score,
            self.sensitivity,
            100.0 * self.gap,
        )
    }
}

#[cfg(test)]
mod tests;
