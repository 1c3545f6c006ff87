//! Candidates of one group that no other beats in both bits and score, and their lower convex hull.

use super::Candidate;

/// A candidate of the frontier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    /// Its position among the candidates.
    pub(super) candidate: usize,
    pub(super) bits: u64,
    pub(super) score: f64,
}

/// What is left of the candidates of a group: bits rise and scores fall from each to the next.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frontier {
    steps: Vec<Step>,
    /// Positions of the steps on the hull; slopes flatten from each to the next.
    hull: Vec<usize>,
}

impl Frontier {
    /// Of `candidates` with finite scores; nothing where there are none.
    pub(super) fn of(candidates: &[Candidate]) -> Option<Self> {
        let steps = candidates.iter().enumerate();
        let mut sorted: Vec<Step> = steps
            .map(|(candidate, one)| Step {
                candidate,
                bits: one.bits,
                score: one.score,
            })
            .collect();
        // Of equals the first.
        sorted.sort_by(|a, b| a.bits.cmp(&b.bits).then(a.score.total_cmp(&b.score)));
        let mut steps: Vec<Step> = Vec::new();
        for step in sorted {
            // The running minimum of the scores: more bits that do not help are dropped.
            if steps.last().is_none_or(|last| step.score < last.score) {
                steps.push(step);
            }
        }
        let mut hull: Vec<usize> = Vec::new();
        for at in 0..steps.len() {
            while let [.., before, last] = hull[..] {
                if slope(steps[before], steps[last]) > slope(steps[last], steps[at]) {
                    break;
                }
                hull.pop();
            }
            hull.push(at);
        }
        (!steps.is_empty()).then_some(Self { steps, hull })
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(super) fn hull(&self) -> &[usize] {
        &self.hull
    }

    pub(super) fn least_bits(&self) -> u64 {
        self.steps[0].bits
    }
}

/// What a bit more buys between two steps: fall of the score per bit.
pub(super) fn slope(from: Step, to: Step) -> f64 {
    (from.score - to.score) / (to.bits - from.bits) as f64
}
