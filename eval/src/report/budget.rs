//! What the layers might take together, and what they were given for it.

use super::figures;
use serde::{Deserialize, Serialize};

/// A budget and its certificate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BudgetFacts {
    /// Asked for.
    pub bits_per_weight: f64,
    /// What is counted, in words.
    pub counted: String,
    /// What was given.
    pub taken: f64,
    /// Kind of the scores.
    pub sensitivity: String,
    /// Sum of the scores of what was chosen.
    pub score: f64,
    /// No choice within the budget has a lower sum.
    pub bound: f64,
    /// `(score - bound) / score`.
    pub gap: f64,
    /// No other choice within the budget has a lower sum, up to rounding.
    pub is_optimal: bool,
    /// Bits per weight and the least sum of scores within them, by ascending bits.
    pub curve: Vec<[f64; 2]>,
}

impl BudgetFacts {
    /// Name and value pairs.
    pub(super) fn rows(&self) -> Vec<[String; 2]> {
        let proof = if self.is_optimal {
            "no other choice has less"
        } else {
            "a better choice may exist"
        };
        [
            (
                "Budget",
                format!(
                    "{} bits per weight of {}",
                    self.bits_per_weight, self.counted
                ),
            ),
            ("Taken", format!("{:.4}", self.taken)),
            (
                "Predicted loss",
                format!(
                    "{} ({}), {proof}",
                    figures::significant(self.score, 4),
                    self.sensitivity
                ),
            ),
            (
                "Above the bound of the linear relaxation",
                format!("{:.3} %", 100.0 * self.gap),
            ),
        ]
        .map(|(name, value)| [name.to_owned(), value])
        .into()
    }
}
