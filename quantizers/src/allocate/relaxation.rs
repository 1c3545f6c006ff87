//! The linear relaxation, in which a group may take a mixture of two candidates: solved by taking the steps of all
//! hulls in the order of what a bit buys.

use super::Candidate;
use super::frontier::{Frontier, slope};

/// Optimum of the relaxation, and the choices next to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Relaxation {
    /// Score of the optimum: a lower bound.
    pub(super) bound: f64,
    /// What a bit is worth there: the slope of the step that no longer fits, 0 where everything does.
    pub(super) price: f64,
    /// Position of each group before that step: its score plus the price of its bits is least.
    pub(super) base: Vec<usize>,
    /// A choice within the budget: the base and every later step that still fits.
    pub(super) greedy: Vec<usize>,
}

/// One step along the hull of a group.
struct Move {
    group: usize,
    /// Along the hull, before the step.
    from: usize,
    slope: f64,
    bits: u64,
}

impl Relaxation {
    /// Solves it for a `budget` in which the smallest candidates fit.
    pub(super) fn solve(groups: &[Frontier], budget: u64) -> Self {
        let mut at = vec![0; groups.len()];
        let least: u64 = groups.iter().map(Frontier::least_bits).sum();
        let mut left = budget - least;
        let moves = moves(groups);
        let mut taken = moves.iter();
        let mut breaking = None;
        for step in taken.by_ref() {
            if step.bits > left {
                breaking = Some(step);
                break;
            }
            left -= step.bits;
            at[step.group] = step.from + 1;
        }
        let positions = |at: &[usize]| -> Vec<usize> {
            let pairs = groups.iter().zip(at);
            pairs.map(|(group, &along)| group.hull()[along]).collect()
        };
        let base = positions(&at);
        let chosen = groups.iter().zip(&base);
        let score: f64 = chosen.map(|(group, &at)| group.steps()[at].score).sum();
        let price = breaking.map_or(0.0, |step| step.slope);
        let bound = score - price * left as f64;
        for step in taken {
            // The group is where the step begins unless an earlier step of it did not fit.
            if step.bits <= left && at[step.group] == step.from {
                left -= step.bits;
                at[step.group] = step.from + 1;
            }
        }
        Self {
            bound,
            price,
            base,
            greedy: positions(&at),
        }
    }
}

/// Every hull step of every group, the one that buys most first.
fn moves(groups: &[Frontier]) -> Vec<Move> {
    let mut moves = Vec::new();
    for (group, frontier) in groups.iter().enumerate() {
        for (from, pair) in frontier.hull().windows(2).enumerate() {
            let [before, after] = [pair[0], pair[1]].map(|at| frontier.steps()[at]);
            moves.push(Move {
                group,
                from,
                slope: slope(before, after),
                bits: after.bits - before.bits,
            });
        }
    }
    // Stable: equal slopes stay in the order of groups, and those of one group in the order of its hull.
    moves.sort_by(|a, b| b.slope.total_cmp(&a.slope));
    moves
}

/// Bits and scores after every step, from the smallest candidates on.
pub(super) fn curve(groups: &[Frontier]) -> Vec<Candidate> {
    let first = groups.iter().map(|group| group.steps()[0]);
    let mut sum = first.fold(
        Candidate {
            bits: 0,
            score: 0.0,
        },
        |sum, step| Candidate {
            bits: sum.bits + step.bits,
            score: sum.score + step.score,
        },
    );
    let mut points = vec![sum];
    for step in moves(groups) {
        sum.bits += step.bits;
        sum.score -= step.slope * step.bits as f64;
        points.push(sum);
    }
    points
}
