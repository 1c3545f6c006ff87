//! Which option every layer gets within a budget of bits: the multiple-choice knapsack, with a certificate.
//!
//! A group is one layer, or several that have to take the same option; its candidates have exact stored bits and a
//! score, the predicted increase of the loss. One candidate of each group is chosen so that the sum of the bits is
//! within the budget and the sum of the scores is least. Candidates that another one beats in both are dropped, the
//! lower convex hull of the rest gives the linear relaxation, whose optimum no choice can undercut, and a search over
//! what the relaxation leaves open closes the gap.

mod exact;
mod frontier;
mod relaxation;
#[cfg(test)]
mod tests;

use exact::{Found, search};
use frontier::Frontier;
use relaxation::Relaxation;
use thiserror::Error;

/// One way to store a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Everything a file holds for it.
    pub bits: u64,
    /// Predicted increase of the loss; lower is better.
    pub score: f64,
}

/// What was chosen, and how far from the best it can be.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// The position of the chosen candidate of each group.
    pub chosen: Vec<usize>,
    /// Sum of the chosen bits, at most the budget.
    pub bits: u64,
    /// Sum of the chosen scores.
    pub score: f64,
    /// Optimum of the linear relaxation: no choice within the budget has a lower score.
    pub bound: f64,
    /// The search ended by itself: no other choice within the budget has a lower score, up to rounding.
    pub is_optimal: bool,
}

impl Allocation {
    /// How much of the score could be saved at most, as a share of it: `(score - bound) / score`.
    pub fn gap(&self) -> f64 {
        if self.score > self.bound {
            (self.score - self.bound) / self.score.abs()
        } else {
            0.0
        }
    }
}

/// Groups that cannot be allocated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AllocateError {
    /// A group without a candidate.
    #[error("group {group} has no candidate")]
    Empty {
        /// Its position.
        group: usize,
    },
    /// A score that is no number.
    #[error(
        "score of candidate {candidate} of group {group}: expected a finite number, found {score}"
    )]
    Score {
        /// Position of the group.
        group: usize,
        /// Position of the candidate.
        candidate: usize,
        /// The score.
        score: f64,
    },
    /// A budget that nothing fits in.
    #[error(
        "expected a budget of at least {least} bits, the smallest candidates together, found {budget}"
    )]
    Budget {
        /// Sum of the smallest candidates.
        least: u64,
        /// The budget.
        budget: u64,
    },
}

/// Chooses one candidate of every group: least sum of scores, sum of bits at most `budget`.
///
/// The result depends on nothing but the arguments.
///
/// # Errors
/// A group without candidates, a score that is not finite, a budget below the sum of the smallest candidates.
pub fn allocate(groups: &[Vec<Candidate>], budget: u64) -> Result<Allocation, AllocateError> {
    let frontiers = frontiers(groups)?;
    let least = frontiers.iter().map(Frontier::least_bits).sum();
    if least > budget {
        return Err(AllocateError::Budget { least, budget });
    }
    let relaxation = Relaxation::solve(&frontiers, budget);
    let Found {
        positions,
        is_optimal,
    } = search(&frontiers, &relaxation, budget);
    let steps = frontiers.iter().zip(&positions);
    let steps: Vec<_> = steps.map(|(group, &at)| group.steps()[at]).collect();
    let score = steps.iter().map(|step| step.score).sum();
    Ok(Allocation {
        chosen: steps.iter().map(|step| step.candidate).collect(),
        bits: steps.iter().map(|step| step.bits).sum(),
        score,
        // Rounding alone may put the bound above what it bounds.
        bound: relaxation.bound.min(score),
        is_optimal,
    })
}

/// Bits and scores from the smallest candidates to the best ones along the hull: what each budget buys.
///
/// # Errors
/// As [`allocate`] for any budget.
pub fn curve(groups: &[Vec<Candidate>]) -> Result<Vec<Candidate>, AllocateError> {
    Ok(relaxation::curve(&frontiers(groups)?))
}

/// Candidates of several layers that take the same option: sums, position by position, as many as the layer that has
/// fewest.
pub fn tied(layers: &[&[Candidate]]) -> Vec<Candidate> {
    let count = layers.iter().map(|layer| layer.len()).min().unwrap_or(0);
    let sum = |at: usize| {
        let of_layers = layers.iter().map(|layer| layer[at]);
        of_layers.fold(
            Candidate {
                bits: 0,
                score: 0.0,
            },
            |sum, one| Candidate {
                bits: sum.bits + one.bits,
                score: sum.score + one.score,
            },
        )
    };
    (0..count).map(sum).collect()
}

fn frontiers(groups: &[Vec<Candidate>]) -> Result<Vec<Frontier>, AllocateError> {
    let groups = groups.iter().enumerate();
    groups
        .map(|(group, candidates)| {
            let broken = |one: &Candidate| !one.score.is_finite();
            if let Some(candidate) = candidates.iter().position(broken) {
                let score = candidates[candidate].score;
                return Err(AllocateError::Score {
                    group,
                    candidate,
                    score,
                });
            }
            Frontier::of(candidates).ok_or(AllocateError::Empty { group })
        })
        .collect()
}
