//! Lloyd's iteration on prefix sums: a cheap upper bound on the optimum.

use super::moments::{Moments, Runs};

/// More sweeps than this gain less than they cost; the bound stays valid.
const SWEEPS: usize = 40;

/// Moves `breaks` until every point is nearest its own mean, and returns the cost of the split.
/// Breaks stay ascending; runs may be empty.
pub(super) fn descend(moments: &Moments, points: &[f64], breaks: &mut [usize]) -> f64 {
    let count = points.len();
    for _ in 0..SWEEPS {
        let mut moved = false;
        let mut start = 0;
        let mut mean = moments.mean(0, breaks.first().copied().unwrap_or(count));
        for q in 0..breaks.len() {
            let end = breaks.get(q + 1).copied().unwrap_or(count);
            let next = moments.mean(breaks[q], end);
            if let (Some(left), Some(right)) = (mean, next) {
                let middle = 0.5 * (left + right);
                let mut at = breaks[q];
                while at < count && points[at] <= middle {
                    at += 1;
                }
                while at > start && points[at - 1] > middle {
                    at -= 1;
                }
                moved |= at != breaks[q];
                breaks[q] = at;
            }
            breaks[q] = breaks[q].max(start);
            start = breaks[q];
            mean = next.or(mean);
        }
        if !moved {
            break;
        }
    }
    cost(moments, breaks)
}

/// Cost of the split at `breaks`.
fn cost(runs: &Moments, breaks: &[usize]) -> f64 {
    let mut start = 0;
    let ends = breaks.iter().copied().chain([runs.weight.len() - 1]);
    ends.map(|end| runs.cost(std::mem::replace(&mut start, end), end))
        .sum()
}
